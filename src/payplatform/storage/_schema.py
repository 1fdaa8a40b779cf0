"""The tables of an SQLite file, and how a file of an older release becomes one of this one.

Law of this file: the schema is the second wall. What the domain promises of money is said here once
more as a CHECK, every unique thing has its merchant in front, and events and postings can only be
added; an event, or a link, leaves only once it is noted which archive has it. A migration is never
edited once it has been released: the next one is added below it.

Times are whole microseconds since 1970 UTC, amounts whole minor units, nested values JSON text (see
`_rows`). The file says whose it is by its application id, and how far it is by its user version.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from payplatform.errors import ErrorCode, StorageUnavailable
from payplatform.storage._books_schema import BOOKS, DISPUTES, FEES, NOTICES, SETTLEMENTS
from payplatform.storage._chains import NO_LINK, Mark, bodies, head_at, next_link
from payplatform.storage._first_schema import HISTORY, RECORDS
from payplatform.storage._rows import DIGEST, as_mark, digester

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION_ID: Final = 0x70617970  # "payp", where the `file` command and others look for it


def _append_only(table: str) -> Iterable[str]:
    for change in ("UPDATE", "DELETE"):
        yield f"""
            CREATE TRIGGER {table}_refuse_{change.lower()} BEFORE {change} ON {table}
            BEGIN SELECT RAISE(ABORT, '{table} can only be added'); END
        """


def _first(db: Database) -> None:
    for statement in (*RECORDS, *HISTORY, *_append_only("events"), *_append_only("postings")):
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
        yield table, " ".join(map(str, at)), as_mark(mark)


def _books(db: Database) -> None:
    """What this schema adds is NULL where it is 0, so every row keeps the digest that it has."""
    for statement in BOOKS:
        db.execute(statement)


def _disputes(db: Database) -> None:
    """Until this schema nobody heard of disputes."""
    for statement in DISPUTES:
        db.execute(statement)


def _fees(db: Database) -> None:
    """Of the payments before this schema nobody knows where their cards were issued."""
    for statement in FEES:
        db.execute(statement)


def _notices(db: Database) -> None:
    """Until this schema a notice was heeded or came again, and none was kept."""
    for statement in NOTICES:
        db.execute(statement)


def _settlements(db: Database) -> None:
    """Until this schema no operation was told of in a report: NULL, so digests stay as they are."""
    for statement in SETTLEMENTS:
        db.execute(statement)


def _due_payouts(db: Database) -> None:
    """Until this schema each merchant's plans were looked at one by one."""
    db.execute(
        "CREATE INDEX payout_plans_due ON payout_plans (next_at, id, merchant_id)"
        " WHERE next_at IS NOT NULL"
    )


def _tokens(db: Database) -> None:
    """Until this schema the check kept every token in memory, to tell whose card each one is."""
    db.execute("CREATE INDEX payment_methods_token ON payment_methods (merchant_id, token)")


_ARCHIVES: Final = (
    # It named events by a foreign key: SQLite would look through it for each event that goes.
    """
    CREATE TABLE outbox_by_id (
        position INTEGER NOT NULL PRIMARY KEY,
        event_id TEXT NOT NULL,
        merchant_id TEXT NOT NULL,
        subject_id TEXT NOT NULL,
        number INTEGER NOT NULL
    ) STRICT
    """,
    "INSERT INTO outbox_by_id SELECT * FROM outbox",
    "DROP TABLE outbox",
    "ALTER TABLE outbox_by_id RENAME TO outbox",
    "CREATE INDEX outbox_event ON outbox (event_id)",
    # The archives of this file, by their own marks; in an archive, itself as number 0.
    """
    CREATE TABLE archives (
        number INTEGER NOT NULL PRIMARY KEY CHECK (number >= 0),
        stamp BLOB NOT NULL UNIQUE CHECK (length(stamp) = 16),
        name TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE archived (
        merchant_id TEXT NOT NULL,
        subject_id TEXT NOT NULL,
        first INTEGER NOT NULL CHECK (first >= 1),
        last INTEGER NOT NULL CHECK (last >= first),
        archive INTEGER NOT NULL REFERENCES archives (number),
        row_digest BLOB NOT NULL,
        PRIMARY KEY (merchant_id, subject_id, last)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE archived_links (
        merchant_id TEXT NOT NULL,
        chain TEXT NOT NULL,
        first INTEGER NOT NULL CHECK (first >= 1),
        last INTEGER NOT NULL CHECK (last >= first),
        digest BLOB NOT NULL CHECK (length(digest) = 32),
        archive INTEGER NOT NULL REFERENCES archives (number),
        row_digest BLOB NOT NULL,
        PRIMARY KEY (merchant_id, chain, last)
    ) STRICT, WITHOUT ROWID
    """,
    *_append_only("archived"),
    *_append_only("archived_links"),
    "DROP TRIGGER links_refuse_delete",
    """
    CREATE TRIGGER links_refuse_delete BEFORE DELETE ON links
    WHEN NOT EXISTS (SELECT 1 FROM archived_links AS a WHERE a.merchant_id = OLD.merchant_id
                     AND a.chain = OLD.chain AND OLD.number BETWEEN a.first AND a.last)
    BEGIN SELECT RAISE(ABORT, 'links can only be added'); END
    """,
    "DROP TRIGGER events_refuse_delete",
    """
    CREATE TRIGGER events_refuse_delete BEFORE DELETE ON events
    WHEN EXISTS (SELECT 1 FROM outbox AS o WHERE o.event_id = OLD.id)
    OR NOT EXISTS (SELECT 1 FROM archived AS a WHERE a.merchant_id = OLD.merchant_id
                   AND a.subject_id = OLD.subject_id AND OLD.number BETWEEN a.first AND a.last)
    BEGIN SELECT RAISE(ABORT, 'events can only be added'); END
    """,
)


def _archives(db: Database) -> None:
    """Until this schema every event and every link stayed where it was."""
    for statement in _ARCHIVES:
        db.execute(statement)


MIGRATIONS: Final[tuple[Callable[[Database], None], ...]] = (
    *(_first, _rotation, _limits, _audit),
    _books,
    _disputes,
    _fees,
    _notices,
    _settlements,
    _due_payouts,
    _tokens,
    _archives,
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
