"""The migrations that bring the books: fees, settlement and payouts, disputes, settlement reports.

Law of this file: as of `_schema`, which puts them in their order. What they add to rows that were
there is NULL, so every row keeps the digest that it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sqlite_utils import Database

_BOOKS: Final = (
    "ALTER TABLE payments ADD COLUMN fees INTEGER CHECK (fees >= 0)",
    "ALTER TABLE payments ADD COLUMN settled INTEGER",
    "ALTER TABLE payments ADD COLUMN acquirer_fees INTEGER",
    """
    ALTER TABLE payments
    ADD COLUMN dispute_lost INTEGER CHECK (dispute_lost BETWEEN 0 AND disputed)
    """,
    # No payment is paid out, or in suspense.
    "ALTER TABLE payments ADD COLUMN reserved INTEGER CHECK (reserved IS NULL)",
    "ALTER TABLE payments ADD COLUMN paid_out INTEGER CHECK (paid_out IS NULL)",
    "ALTER TABLE payments ADD COLUMN suspended INTEGER CHECK (suspended IS NULL)",
    "ALTER TABLE events ADD COLUMN change_fees INTEGER",
    "ALTER TABLE events ADD COLUMN change_settled INTEGER",
    "ALTER TABLE events ADD COLUMN change_acquirer_fees INTEGER",
    "ALTER TABLE events ADD COLUMN change_dispute_lost INTEGER",
    "ALTER TABLE events ADD COLUMN change_reserved INTEGER",
    "ALTER TABLE events ADD COLUMN change_paid_out INTEGER",
    "ALTER TABLE events ADD COLUMN change_suspended INTEGER",
    "ALTER TABLE postings RENAME COLUMN payment_id TO subject_id",
    # The books as they are read: in the order of time.
    "CREATE INDEX postings_at ON postings (merchant_id, at, subject_id, event_number, line)",
    """
    CREATE TABLE payouts (
        id TEXT NOT NULL,
        merchant_id TEXT NOT NULL,
        version INTEGER NOT NULL CHECK (version >= 1),
        amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
        currency TEXT NOT NULL CHECK (length(currency) = 3),
        status TEXT NOT NULL,
        operation_id TEXT NOT NULL,
        state TEXT NOT NULL,
        reference TEXT,
        decline TEXT,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        row_digest BLOB,
        PRIMARY KEY (merchant_id, id)
    ) STRICT
    """,
    """
    CREATE TABLE payout_plans (
        id TEXT NOT NULL CHECK (length(id) = 3),
        merchant_id TEXT NOT NULL,
        version INTEGER NOT NULL CHECK (version >= 1),
        interval TEXT NOT NULL,
        minimum_minor INTEGER NOT NULL CHECK (minimum_minor >= 1),
        reserve_minor INTEGER NOT NULL CHECK (reserve_minor >= 0),
        next_at INTEGER,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        row_digest BLOB,
        PRIMARY KEY (merchant_id, id)
    ) STRICT
    """,
    # What accounts show is added up from this index alone.
    """
    CREATE INDEX postings_account
    ON postings (merchant_id, currency, account, at, amount_minor)
    """,
)


def books(db: Database) -> None:
    """What this schema adds is NULL where it is 0, so every row keeps the digest that it has."""
    for statement in _BOOKS:
        db.execute(statement)


_DISPUTES: Final = (
    """
    CREATE TABLE disputes (
        id TEXT NOT NULL,
        merchant_id TEXT NOT NULL,
        version INTEGER NOT NULL CHECK (version >= 1),
        payment_id TEXT NOT NULL,
        operation_id TEXT NOT NULL,
        bank_dispute_id TEXT NOT NULL,
        state TEXT NOT NULL,
        amount_minor INTEGER NOT NULL CHECK (amount_minor >= 0),
        currency TEXT NOT NULL CHECK (length(currency) = 3),
        held_minor INTEGER NOT NULL CHECK (held_minor BETWEEN 0 AND amount_minor),
        brand TEXT NOT NULL,
        reason_code TEXT NOT NULL,
        evidence_due_at INTEGER,
        told_state TEXT NOT NULL,
        told_at INTEGER NOT NULL,
        answer TEXT,
        next_look_at INTEGER,
        reminded_at INTEGER,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        row_digest BLOB,
        PRIMARY KEY (merchant_id, id)
    ) STRICT
    """,
    "CREATE UNIQUE INDEX disputes_at_bank ON disputes (merchant_id, bank_dispute_id)",
    "CREATE INDEX disputes_payment ON disputes (merchant_id, payment_id, id)",
    """
    CREATE INDEX disputes_due ON disputes (next_look_at, id) WHERE next_look_at IS NOT NULL
    """,
)


def disputes(db: Database) -> None:
    """Until this schema nobody heard of disputes."""
    for statement in _DISPUTES:
        db.execute(statement)


_SETTLEMENTS: Final = (
    """
    CREATE TABLE settlements (
        id TEXT NOT NULL,
        merchant_id TEXT NOT NULL,
        version INTEGER NOT NULL CHECK (version >= 1),
        reference TEXT NOT NULL,
        digest BLOB NOT NULL CHECK (length(digest) = 32),
        since INTEGER NOT NULL,
        until INTEGER NOT NULL,
        line_count INTEGER NOT NULL CHECK (line_count >= 0),
        latest_event INTEGER NOT NULL CHECK (latest_event >= 1),
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        row_digest BLOB,
        PRIMARY KEY (merchant_id, id)
    ) STRICT
    """,
    "ALTER TABLE operations ADD COLUMN settlement_id TEXT",
)


def settlements(db: Database) -> None:
    """Until this schema no operation was told of in a report: NULL, so digests stay as they are."""
    for statement in _SETTLEMENTS:
        db.execute(statement)
