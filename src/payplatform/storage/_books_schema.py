"""What the books have added to the schema of an SQLite file: statements, in the order they are run.

Law of this file: as that of `_schema`, which runs them. What was once released is never edited.
"""

from __future__ import annotations

from typing import Final

BOOKS: Final = (
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


DISPUTES: Final = (
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


FEES: Final = (
    """
    CREATE TABLE fee_schedules (
        id TEXT NOT NULL,
        merchant_id TEXT NOT NULL,
        version INTEGER NOT NULL CHECK (version >= 1),
        counts_from INTEGER NOT NULL,
        rates TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        row_digest BLOB,
        PRIMARY KEY (merchant_id, id)
    ) STRICT
    """,
    "ALTER TABLE payments ADD COLUMN card_country TEXT CHECK (length(card_country) = 2)",
)


NOTICES: Final = (
    """
    CREATE TABLE notices (
        id TEXT NOT NULL,
        merchant_id TEXT NOT NULL,
        version INTEGER NOT NULL CHECK (version >= 1),
        bank TEXT NOT NULL,
        operation_id TEXT NOT NULL,
        told TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT,
        next_try_at INTEGER,
        attempts INTEGER NOT NULL CHECK (attempts >= 0),
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        row_digest BLOB,
        PRIMARY KEY (merchant_id, id)
    ) STRICT
    """,
    "CREATE INDEX notices_operation ON notices (merchant_id, operation_id, id)",
    "CREATE INDEX notices_state ON notices (merchant_id, state, id)",
    "CREATE INDEX notices_due ON notices (next_try_at, id) WHERE next_try_at IS NOT NULL",
)


SETTLEMENTS: Final = (
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
