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


LOST: Final = (
    Lost(
        "operation",
        "references",
        "its payment, payment method or payout is not there",
        """
        SELECT merchant_id, subject_id, id FROM operations AS o
        WHERE NOT EXISTS (SELECT 1 FROM payments AS p
                          WHERE p.merchant_id = o.merchant_id AND p.id = o.subject_id)
        AND NOT EXISTS (SELECT 1 FROM payment_methods AS m
                        WHERE m.merchant_id = o.merchant_id AND m.id = o.subject_id)
        AND NOT EXISTS (SELECT 1 FROM payouts AS q
                        WHERE q.merchant_id = o.merchant_id AND q.id = o.subject_id)
        LIMIT 1000
        """,
    ),
    Lost(
        "event",
        "references",
        "what it is about is not there",
        """
        SELECT merchant_id, subject_id, number FROM events AS e
        WHERE NOT EXISTS (SELECT 1 FROM payments AS p
                          WHERE p.merchant_id = e.merchant_id AND p.id = e.subject_id)
        AND NOT EXISTS (SELECT 1 FROM payment_methods AS m
                        WHERE m.merchant_id = e.merchant_id AND m.id = e.subject_id)
        AND NOT EXISTS (SELECT 1 FROM settlements AS s
                        WHERE s.merchant_id = e.merchant_id AND s.id = e.subject_id)
        AND NOT EXISTS (SELECT 1 FROM payouts AS q
                        WHERE q.merchant_id = e.merchant_id AND q.id = e.subject_id)
        LIMIT 1000
        """,
    ),
    Lost(
        "posting",
        "references",
        "what it is about is not there",
        """
        SELECT merchant_id, subject_id, event_number || '.' || line FROM postings AS l
        WHERE NOT EXISTS (SELECT 1 FROM payments AS p
                          WHERE p.merchant_id = l.merchant_id AND p.id = l.subject_id)
        AND NOT EXISTS (SELECT 1 FROM settlements AS s
                        WHERE s.merchant_id = l.merchant_id AND s.id = l.subject_id)
        AND NOT EXISTS (SELECT 1 FROM payouts AS q
                        WHERE q.merchant_id = l.merchant_id AND q.id = l.subject_id)
        LIMIT 1000
        """,
    ),
    Lost(
        "dispute",
        "references",
        "its payment is not there",
        """
        SELECT merchant_id, payment_id, id FROM disputes AS d
        WHERE NOT EXISTS (SELECT 1 FROM payments AS p
                          WHERE p.merchant_id = d.merchant_id AND p.id = d.payment_id)
        LIMIT 1000
        """,
    ),
    Lost(
        "receipt of",
        "references",
        "its operation is not there",
        """
        SELECT merchant_id, operation_id, operation_id FROM receipts AS r
        WHERE NOT EXISTS (SELECT 1 FROM operations AS o
                          WHERE o.merchant_id = r.merchant_id AND o.id = r.operation_id)
        LIMIT 1000
        """,
    ),
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
        SELECT merchant_id, id, id FROM sealed_cards
        WHERE (merchant_id, id) NOT IN (SELECT merchant_id, token FROM payment_methods)
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
