"""Gives each row of a file the digest of what it holds now, as a writer of our own would have.

So a test can plant what a fault of ours, or somebody who knows the stored form, would leave behind.
"""

# ruff: noqa: S608  # table and column names are our own

import sqlite3
from typing import Any

from payplatform.storage._rows import (
    ARCHIVED,
    ARCHIVED_LINKS,
    AUDIT_ENTRIES,
    DIGEST,
    EVENTS,
    POSTINGS,
    RECEIPT_COLUMNS,
    RECORDS,
    digester,
)

TABLES = {
    **{
        layout.table: layout.columns
        for layout in (*RECORDS.values(), EVENTS, POSTINGS, ARCHIVED, ARCHIVED_LINKS)
    },
    AUDIT_ENTRIES.table: AUDIT_ENTRIES.columns,
    "receipts": RECEIPT_COLUMNS,
}
"""Every table whose rows have a digest, with its columns, the digest last."""

PLACES = {
    "events": ("subject_id", "number"),
    "postings": ("subject_id", "event_number", "line"),
    "receipts": ("operation_id",),
    "archived": ("subject_id", "last"),
    "archived_links": ("chain", "last"),
}
"""What names a row among the merchant's, where that is not its id."""


def place_of(table: str) -> tuple[str, ...]:
    return ("merchant_id", *PLACES.get(table, ("id",)))


def seal_again(database: sqlite3.Connection, *, but: tuple[str, ...] = ()) -> None:
    """All tables but some. Needs that nothing keeps rows from being changed."""
    database.text_factory = lambda data: data.decode(errors="surrogateescape")
    for table, columns in TABLES.items():
        if table in but:
            continue
        digest = digester(table, columns[:-1])
        where = " AND ".join(f"{column} = ?" for column in place_of(table))
        rows: list[tuple[Any, ...]] = database.execute(
            f"SELECT {', '.join(columns)} FROM {table}"
        ).fetchall()
        for row in rows:
            place = [row[columns.index(column)] for column in place_of(table)]
            made = digest(row[:-1])
            database.execute(f"UPDATE {table} SET {DIGEST} = ? WHERE {where}", (made, *place))
