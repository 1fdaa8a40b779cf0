"""The tables of an SQLite file, and how a file of an older release becomes one of this one.

Law of this file: the schema is the second wall. What the domain promises of money is said here once
more as a CHECK, every unique thing has its merchant in front, and events and postings can only be
added. A migration is never edited once it has been released: the next one is added below it.

Times are whole microseconds since 1970 UTC, amounts whole minor units, nested values JSON text (see
`_rows`). The file says whose it is by its application id, and how far it is by its user version.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from payplatform.errors import ErrorCode, StorageUnavailable
from payplatform.storage._chains import NO_LINK, Mark, bodies, head_at, next_link
from payplatform.storage._rows import DIGEST, digester, shown
from payplatform.storage._schema_books import books, disputes, settlements

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION_ID: Final = 0x70617970  # "payp", where the `file` command and others look for it

_RECORDS: Final = (
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

_HISTORY: Final = (
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


def _append_only(table: str) -> Iterable[str]:
    for change in ("UPDATE", "DELETE"):
        yield f"""
            CREATE TRIGGER {table}_refuse_{change.lower()} BEFORE {change} ON {table}
            BEGIN SELECT RAISE(ABORT, '{table} can only be added'); END
        """


def _first(db: Database) -> None:
    for statement in (*_RECORDS, *_HISTORY, *_append_only("events"), *_append_only("postings")):
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")


_ROTATION: Final = (
    "ALTER TABLE payment_methods ADD COLUMN fingerprint_version INTEGER",
    "UPDATE payment_methods SET fingerprint_version = 1 WHERE fingerprint IS NOT NULL",
    "ALTER TABLE wrapped_keys ADD COLUMN wrapped_by TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE wrapped_keys ADD COLUMN wrapped_at INTEGER",
    "ALTER TABLE wrapped_keys ADD COLUMN retired_at INTEGER",
    "CREATE INDEX sealed_cards_key ON sealed_cards (merchant_id, key_version, id)",
    """
    CREATE INDEX payment_methods_fingerprint_key
    ON payment_methods (merchant_id, fingerprint_version, id)
    WHERE fingerprint_version IS NOT NULL
    """,
    # What a card was last used for, when it is asked whether it is still needed.
    "CREATE INDEX payments_method ON payments (merchant_id, payment_method_id, id)",
)


def _rotation(db: Database) -> None:
    """Until this schema there was one key of each purpose, and so one version of it."""
    for statement in _ROTATION:
        db.execute(statement)


_LIMITS: Final = (
    "ALTER TABLE operations ADD COLUMN card_fingerprint BLOB",
    "ALTER TABLE payment_methods ADD COLUMN allowed_again_at INTEGER",
    # What the card networks count: asked for before each attempt with a card.
    """
    CREATE INDEX operations_declined ON operations (merchant_id, card_fingerprint, id)
    WHERE state = 'declined' AND card_fingerprint IS NOT NULL
    """,
)


def _limits(db: Database) -> None:
    """Of the operations before this schema nobody knows any more which card they were with."""
    for statement in _LIMITS:
        db.execute(statement)


_AUDIT: Final = (
    """
    CREATE TABLE audit_entries (
        id TEXT NOT NULL,
        merchant_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        at INTEGER NOT NULL,
        actor TEXT NOT NULL,
        outcome TEXT NOT NULL,
        origin TEXT,
        object_id TEXT,
        purpose TEXT,
        details TEXT NOT NULL,
        row_digest BLOB,
        PRIMARY KEY (merchant_id, id)
    ) STRICT
    """,
    """
    CREATE TABLE links (
        merchant_id TEXT NOT NULL,
        chain TEXT NOT NULL,
        number INTEGER NOT NULL CHECK (number >= 1),
        body BLOB NOT NULL,
        digest BLOB NOT NULL CHECK (length(digest) = 32),
        PRIMARY KEY (merchant_id, chain, number)
    ) STRICT
    """,
    # What the last link is stands here once more, so that a tail that is cut off is missed.
    """
    CREATE TABLE chain_heads (
        merchant_id TEXT NOT NULL,
        chain TEXT NOT NULL,
        number INTEGER NOT NULL CHECK (number >= 1),
        digest BLOB NOT NULL CHECK (length(digest) = 32),
        PRIMARY KEY (merchant_id, chain)
    ) STRICT, WITHOUT ROWID
    """,
)

# Each table whose rows get a digest, with what names one of them among the merchant's, and what the
# chain is to know it by. Both have been the same since, and stay so: they are in links.
_DIGESTED: Final = {
    "merchants": (("id",), "version"),
    "customers": (("id",), "version"),
    "payment_methods": (("id",), None),
    "payments": (("id",), None),
    "operations": (("id",), None),
    "sealed_cards": (("id",), None),
    "wrapped_keys": (("id",), None),
    "events": (("subject_id", "number"), None),
    "postings": (("payment_id", "event_number", "line"), None),
    "receipts": (("operation_id",), None),
}

_ROWS_IN_A_LINK: Final = 1_000


def _audit(db: Database) -> None:
    """Until this schema no row had a digest, and nothing was chained: now all that is there is."""
    for change in ("UPDATE", "DELETE"):
        for table in ("events", "postings"):
            db.execute(f"DROP TRIGGER {table}_refuse_{change.lower()}")
    for statement in _AUDIT:
        db.execute(statement)
    for table in _DIGESTED:
        db.execute(f"ALTER TABLE {table} ADD COLUMN row_digest BLOB")
    merchants = [merchant_id for (merchant_id,) in db.execute(_OWNERS).fetchall()]
    for merchant_id in merchants:
        head = NO_LINK
        marks = (mark for table in _DIGESTED for mark in _digested(db, table, merchant_id))
        while some := list(islice(marks, _ROWS_IN_A_LINK)):
            ((chain, body),) = bodies(some)
            link = next_link(chain, merchant_id, head, body)
            db.execute("INSERT INTO links VALUES (?, ?, ?, ?, ?)", (merchant_id, chain, *link))
            head = head_at(link)
        db.execute(
            "INSERT INTO chain_heads SELECT merchant_id, chain, number, digest FROM links"
            " WHERE merchant_id = ? AND number = ?",
            (merchant_id, head.number),
        )
    for table in ("events", "postings", "audit_entries", "links"):
        for statement in _append_only(table):
            db.execute(statement)


_OWNERS: Final = " UNION ".join(f"SELECT merchant_id FROM {table}" for table in _DIGESTED)  # noqa: S608  # our own names


def _digested(db: Database, table: str, merchant_id: str) -> Iterator[Mark]:
    """Give each row its digest, as it lies; what a link is to know of it."""
    place, known_by = _DIGESTED[table]
    columns = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})").fetchall()]
    told = [name for name in columns if name != DIGEST]
    digest = digester(table, told)
    where = " AND ".join(f"{column} = ?" for column in ("merchant_id", *place))
    rows = db.execute(
        f"SELECT {', '.join(told)} FROM {table} WHERE merchant_id = ?",  # noqa: S608  # as above
        (merchant_id,),
    ).fetchall()
    for row in rows:
        named = dict(zip(told, row, strict=True))
        at = tuple(named[column] for column in place)
        made = digest(row)
        db.execute(
            f"UPDATE {table} SET {DIGEST} = ? WHERE {where}",  # noqa: S608  # as above
            (made, merchant_id, *at),
        )
        mark = made if known_by is None else named[known_by]
        yield table, " ".join(map(str, at)), shown(mark)


MIGRATIONS: Final[tuple[Callable[[Database], None], ...]] = (
    *(_first, _rotation, _limits, _audit),
    books,
    disputes,
    settlements,
)
"""Each brings a file from the user version that is its place here to the next one."""

LATEST: Final = len(MIGRATIONS)


def version_of(connection: sqlite3.Connection) -> int:
    """How far the schema of a file is; 0 for one that holds nothing yet.

    Raises:
        StorageUnavailable: `storage_schema_newer`: a newer release has written the file.
            `storage_settings`: the file belongs to another program.
        sqlite3.Error: it cannot be read, or is no database.
    """
    application, version, tables = connection.execute(
        "SELECT a.application_id, u.user_version, (SELECT count(*) FROM sqlite_schema)"
        " FROM pragma_application_id AS a, pragma_user_version AS u"
    ).fetchall()[0]
    if application != APPLICATION_ID and (application or version or tables):
        raise StorageUnavailable(
            "the file is the database of another program", code=ErrorCode.STORAGE_SETTINGS
        )
    if version > LATEST:
        raise StorageUnavailable(
            f"the file has schema {version}, and this release knows schemas up to {LATEST}",
            code=ErrorCode.STORAGE_SCHEMA_NEWER,
        )
    return int(version)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file to the latest schema. Each step is one transaction that excludes other writers.

    Raises:
        StorageUnavailable: as `version_of`.
        sqlite3.Error: a step failed, and nothing of it was written.
    """
    # Loaded for a file that needs it: most openings find the schema as it should be.
    from sqlite_utils import Database  # noqa: PLC0415

    db = Database(connection, execute_plugins=False)
    while _one_step(connection, db):
        pass


def _one_step(connection: sqlite3.Connection, db: Database) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
        # Asked again inside: another process may have taken the same step in the meantime.
        version = version_of(connection)
        if version < LATEST:
            MIGRATIONS[version](db)
            db.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return version + 1 < LATEST
