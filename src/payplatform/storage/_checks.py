"""What an SQLite file is asked about itself: damage, and what belongs to nothing.

Law of this file: only what cannot be found from a merchant's own records is looked for here; what
can is a rule of the domain. Each query gives a merchant, what the row ought to belong to, and which
row it is, and stops at a thousand.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

DAMAGE: Final = "PRAGMA integrity_check(1000)"
"""Gives one row that says `ok`, or one for each thing that is damaged, in words without values."""


@frozen
class Lost:
    """Rows of one kind that belong to nothing: which rule they break, and what is found."""

    kind: str
    rule: str
    text: str
    query: str


def _homeless(kind: str, table: str, row: str, *homes: str, by: str = "subject_id") -> Lost:
    """Rows of a table that name by a column what is in none of these tables."""
    names = [home.removesuffix("s").replace("_", " ") for home in homes]
    told = " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    absent = " AND ".join(
        f"NOT EXISTS (SELECT 1 FROM {home} AS h WHERE h.merchant_id = t.merchant_id"  # noqa: S608  # our own names
        f" AND h.id = t.{by})"
        for home in homes
    )
    query = f"SELECT merchant_id, {by}, {row} FROM {table} AS t WHERE {absent} LIMIT 1000"  # noqa: S608  # as above
    return Lost(kind, "references", f"its {told} is not there", query)


LOST: Final = (
    _homeless("operation", "operations", "id", "payments", "payment_methods", "payouts"),
    _homeless("event", "events", "number", "payments", "payment_methods", "settlements", "payouts"),
    _homeless(
        "posting",
        "postings",
        "event_number || '.' || line",
        "payments",
        "settlements",
        "payouts",
    ),
    _homeless("dispute", "disputes", "id", "payments", by="payment_id"),
    _homeless("receipt of", "receipts", "operation_id", "operations", by="operation_id"),
    Lost(
        "outbox",
        "references",
        "the event that it is to pass on is not there",
        """
        SELECT merchant_id, subject_id, position FROM outbox AS w
        WHERE NOT EXISTS (SELECT 1 FROM events AS e
                          WHERE e.merchant_id = w.merchant_id AND e.subject_id = w.subject_id
                          AND e.number = w.number AND e.id = w.event_id)
        LIMIT 1000
        """,
    ),
    Lost(
        "sealed card",
        "vault",
        "it is the card of no payment method",
        """
        SELECT merchant_id, id, id FROM sealed_cards AS s
        WHERE NOT EXISTS (SELECT 1 FROM payment_methods AS m
                          WHERE m.merchant_id = s.merchant_id AND m.token = s.id)
        LIMIT 1000
        """,
    ),
    Lost(
        "wrapped key",
        "vault",
        "it is the key of no merchant, or of one that was erased",
        """
        SELECT merchant_id, merchant_id, id FROM wrapped_keys AS k
        WHERE NOT EXISTS (SELECT 1 FROM merchants AS m
                          WHERE m.merchant_id = k.merchant_id AND m.erased_at IS NULL)
        LIMIT 1000
        """,
    ),
)
