"""The tables of the first schema of an SQLite file, from which every later one has grown.

Law of this file: it has been released, and is never edited. What came later is in `_schema`.
"""

from __future__ import annotations

from typing import Final

RECORDS: Final = (
    """
    CREATE TABLE merchants (
        id TEXT NOT NULL,
        merchant_id TEXT NOT NULL CHECK (merchant_id = id),
        version INTEGER NOT NULL CHECK (version >= 1),
        name TEXT NOT NULL,
        metadata TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        erased_at INTEGER,
        PRIMARY KEY (merchant_id, id)
    ) STRICT
    """,
    """
    CREATE TABLE customers (
        id TEXT NOT NULL,
        merchant_id TEXT NOT NULL,
        version INTEGER NOT NULL CHECK (version >= 1),
        name TEXT,
        email TEXT,
        metadata TEXT NOT NULL,
        default_payment_method_id TEXT,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        erased_at INTEGER,
        PRIMARY KEY (merchant_id, id)
    ) STRICT
    """,
    # A card number has at least 12 digits (shortest in use: Maestro): it fits neither column.
    """
    CREATE TABLE payment_methods (
        id TEXT NOT NULL,
        merchant_id TEXT NOT NULL,
        version INTEGER NOT NULL CHECK (version >= 1),
        token TEXT NOT NULL,
        customer_id TEXT,
        brand TEXT NOT NULL,
        bin TEXT NOT NULL CHECK (length(bin) <= 8),
        last4 TEXT NOT NULL CHECK (length(last4) <= 4),
        expiry_month INTEGER NOT NULL CHECK (expiry_month BETWEEN 1 AND 12),
        expiry_year INTEGER NOT NULL,
        fingerprint BLOB,
        network_transaction_id TEXT,
        verification TEXT,
        open_operations TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        deleted_at INTEGER,
        PRIMARY KEY (merchant_id, id)
    ) STRICT
    """,
    """
    CREATE UNIQUE INDEX payment_methods_fingerprint
    ON payment_methods (merchant_id, customer_id, fingerprint)
    WHERE customer_id IS NOT NULL AND fingerprint IS NOT NULL
    """,
    """
    CREATE INDEX payment_methods_customer ON payment_methods (merchant_id, customer_id, id)
    WHERE customer_id IS NOT NULL
    """,
    # Each bound takes off what the bounds before it have shown to fit, so none can overflow.
    """
    CREATE TABLE payments (
        id TEXT NOT NULL,
        merchant_id TEXT NOT NULL,
        version INTEGER NOT NULL CHECK (version >= 1),
        currency TEXT NOT NULL CHECK (length(currency) = 3),
        requested INTEGER NOT NULL CHECK (requested >= 0),
        authorized INTEGER NOT NULL CHECK (authorized >= 0),
        captured INTEGER NOT NULL CHECK (captured BETWEEN 0 AND authorized),
        voided INTEGER NOT NULL CHECK (voided BETWEEN 0 AND authorized - captured),
        expired INTEGER NOT NULL CHECK (expired BETWEEN 0 AND authorized - captured - voided),
        refunded INTEGER NOT NULL CHECK (refunded BETWEEN 0 AND captured),
        disputed INTEGER NOT NULL CHECK (disputed BETWEEN 0 AND captured - refunded),
        status TEXT NOT NULL,
        intent TEXT NOT NULL,
        payment_method_id TEXT NOT NULL,
        customer_id TEXT,
        brand TEXT NOT NULL,
        last4 TEXT NOT NULL CHECK (length(last4) <= 4),
        initiator TEXT NOT NULL,
        reference TEXT,
        metadata TEXT NOT NULL,
        open_operations TEXT NOT NULL,
        latest_operation_id TEXT,
        authorization_id TEXT,
        expires_at INTEGER,
        lapses_at INTEGER,
        action TEXT,
        decline TEXT,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        PRIMARY KEY (merchant_id, id)
    ) STRICT
    """,
    "CREATE INDEX payments_status ON payments (merchant_id, status, id)",
    """
    CREATE INDEX payments_customer ON payments (merchant_id, customer_id, id)
    WHERE customer_id IS NOT NULL
    """,
    """
    CREATE INDEX payments_reference ON payments (merchant_id, reference, id)
    WHERE reference IS NOT NULL
    """,
    "CREATE INDEX payments_lapse ON payments (lapses_at, id) WHERE lapses_at IS NOT NULL",
    """
    CREATE TABLE operations (
        id TEXT NOT NULL,
        merchant_id TEXT NOT NULL,
        subject_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        state TEXT NOT NULL,
        amount_minor INTEGER NOT NULL CHECK (amount_minor >= 0),
        currency TEXT NOT NULL CHECK (length(currency) = 3),
        epoch INTEGER NOT NULL CHECK (epoch >= 1),
        idempotency_key TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        target_id TEXT,
        final INTEGER NOT NULL CHECK (final IN (0, 1)),
        stored_credential TEXT,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        lease_until INTEGER NOT NULL,
        next_try_at INTEGER,
        attempts INTEGER NOT NULL CHECK (attempts >= 0),
        bank_reference TEXT,
        decline TEXT,
        reason TEXT,
        PRIMARY KEY (merchant_id, id)
    ) STRICT
    """,
    "CREATE UNIQUE INDEX operations_key ON operations (merchant_id, idempotency_key)",
    "CREATE INDEX operations_subject ON operations (merchant_id, subject_id, id)",
    "CREATE INDEX operations_due ON operations (next_try_at, id) WHERE next_try_at IS NOT NULL",
    """
    CREATE INDEX operations_open ON operations (merchant_id, id)
    WHERE state NOT IN ('succeeded', 'declined', 'aborted', 'reversed')
    """,
    """
    CREATE TABLE sealed_cards (
        id TEXT NOT NULL,
        merchant_id TEXT NOT NULL,
        version INTEGER NOT NULL CHECK (version >= 1),
        key_version INTEGER NOT NULL,
        number BLOB NOT NULL,
        details BLOB NOT NULL,
        PRIMARY KEY (merchant_id, id)
    ) STRICT
    """,
    """
    CREATE TABLE wrapped_keys (
        id TEXT NOT NULL,
        merchant_id TEXT NOT NULL,
        version INTEGER NOT NULL CHECK (version >= 1),
        purpose TEXT NOT NULL,
        key_version INTEGER NOT NULL,
        wrapped BLOB NOT NULL,
        created_at INTEGER NOT NULL,
        PRIMARY KEY (merchant_id, id)
    ) STRICT
    """,
)

HISTORY: Final = (
    # These two are read a subject at a time, and their rows are short: they lie in key order.
    """
    CREATE TABLE events (
        merchant_id TEXT NOT NULL,
        subject_id TEXT NOT NULL,
        number INTEGER NOT NULL CHECK (number >= 1),
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        at INTEGER NOT NULL,
        operation_id TEXT,
        amount_minor INTEGER,
        currency TEXT,
        change_requested INTEGER NOT NULL,
        change_authorized INTEGER NOT NULL,
        change_captured INTEGER NOT NULL,
        change_voided INTEGER NOT NULL,
        change_expired INTEGER NOT NULL,
        change_refunded INTEGER NOT NULL,
        change_disputed INTEGER NOT NULL,
        details TEXT NOT NULL,
        PRIMARY KEY (merchant_id, subject_id, number),
        CHECK ((amount_minor IS NULL) = (currency IS NULL))
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE postings (
        merchant_id TEXT NOT NULL,
        payment_id TEXT NOT NULL,
        event_number INTEGER NOT NULL CHECK (event_number >= 1),
        line INTEGER NOT NULL CHECK (line >= 1),
        account TEXT NOT NULL,
        amount_minor INTEGER NOT NULL,
        currency TEXT NOT NULL CHECK (length(currency) = 3),
        at INTEGER NOT NULL,
        PRIMARY KEY (merchant_id, payment_id, event_number, line)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE receipts (
        merchant_id TEXT NOT NULL,
        operation_id TEXT NOT NULL,
        subject TEXT NOT NULL,
        format INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (merchant_id, operation_id)
    ) STRICT
    """,
    # One writer at a time, so positions are in the order of the commits.
    """
    CREATE TABLE outbox (
        position INTEGER NOT NULL PRIMARY KEY,
        event_id TEXT NOT NULL,
        merchant_id TEXT NOT NULL,
        subject_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        FOREIGN KEY (merchant_id, subject_id, number)
            REFERENCES events (merchant_id, subject_id, number)
    ) STRICT
    """,
    "CREATE INDEX outbox_event ON outbox (event_id)",
)
