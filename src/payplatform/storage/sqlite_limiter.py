"""Attempts counted in one SQLite file, which threads and processes of one machine may share.

Law of this file: to look and to count is one transaction that begins IMMEDIATE, so that what was
looked at cannot have changed. The file is one of its own: a count waits for no payment, and no
payment for a count. It holds names from which nothing can be read, and times. A process that dies
loses none of it; a power cut may take the last moments, since a count does not wait for the disk.
"""

# ruff: noqa: D102  # what a method promises stands at the port

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

from payplatform.ports import Quota, UsedUp
from payplatform.storage._connections import Connections
from payplatform.storage._failures import RAISED, failure_of
from payplatform.storage._opening import opened, prepared, set_journal_mode
from payplatform.storage._rows import stored_time, time_of

V = TypeVar("V")

_SETTINGS: Final = (
    "PRAGMA synchronous = normal",
    "PRAGMA trusted_schema = off",
)
_SCHEMA: Final = (
    """
    CREATE TABLE IF NOT EXISTS places (
        counter TEXT NOT NULL,
        attempt TEXT NOT NULL,
        until INTEGER NOT NULL,
        PRIMARY KEY (counter, attempt)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS places_of ON places (counter, until)",
    "CREATE INDEX IF NOT EXISTS places_until ON places (until)",
)
_FREE: Final = "DELETE FROM places WHERE until <= ?"
_IS_TAKEN: Final = "SELECT 1 FROM places WHERE counter = ? AND attempt = ?"
# Of as many places as there are at most, the one that is free first; no row while there are fewer.
_FREE_FIRST: Final = (
    "SELECT until FROM places WHERE counter = ? ORDER BY until DESC LIMIT 1 OFFSET ?"
)
_TAKE: Final = "INSERT OR IGNORE INTO places (counter, attempt, until) VALUES (?, ?, ?)"
_GIVE_BACK: Final = "DELETE FROM places WHERE counter = ? AND attempt = ?"


class SQLiteLimiter:
    """Counts in one file, exactly for all who share it. See `ports.Limiter`.

    Args:
        path: the file; made for its owner alone, with its folder, when something is first counted.
        busy_timeout_s: how long a call waits for others who hold the file, in seconds.
    """

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout_s: float = 5.0) -> None:
        self._path = os.path.abspath(os.fspath(path))  # noqa: PTH100  # resolve() would follow links
        self._busy_timeout_s = busy_timeout_s
        self._connections = Connections(self._path, self._connect)

    def take(self, attempt: str, quotas: Sequence[Quota], now: datetime) -> UsedUp | None:
        return self._in_one(lambda db: _taken(db, attempt, quotas, now))

    def give_back(self, attempt: str, counters: Sequence[str]) -> None:
        self._in_one(lambda db: _given_back(db, attempt, counters))

    def describe(self) -> Mapping[str, str]:
        return {"adapter": "sqlite", "path": self._path}

    def close(self) -> None:
        self._connections.close()

    def _connect(self, is_first: bool) -> sqlite3.Connection:  # noqa: ARG002  # the schema is made where it is missing
        connection = opened(self._path, self._busy_timeout_s)
        try:
            set_journal_mode(connection, "wal", self._busy_timeout_s)
            for statement in (*_SETTINGS, *_SCHEMA):
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def _in_one(self, work: Callable[[sqlite3.Connection], V]) -> V:
        """Do the work in one transaction that excludes other writers."""
        try:
            if not os.path.exists(self._path):  # noqa: PTH110  # asked at every call: no Path is made for it
                prepared(self._path, "wal")
            with self._connections.mine() as connection:
                return _transacted(connection, work)
        except RAISED as error:
            failure = failure_of(error, "the attempt cannot be counted")
        self._connections.discard()
        raise failure


def _transacted(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], V]) -> V:
    connection.execute("BEGIN IMMEDIATE")
    try:
        done = work(connection)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return done


def _taken(
    db: sqlite3.Connection, attempt: str, quotas: Sequence[Quota], now: datetime
) -> UsedUp | None:
    db.execute(_FREE, (stored_time(now),))
    new = [q for q in quotas if db.execute(_IS_TAKEN, (q.counter, attempt)).fetchone() is None]
    full = [used for quota in new if (used := _used_up(db, quota)) is not None]
    if full:
        return max(full, key=lambda used: used.room_at)
    for quota in new:
        until = stored_time(now + timedelta(seconds=quota.period_s))
        db.execute(_TAKE, (quota.counter, attempt, until))
    return None


def _used_up(db: sqlite3.Connection, quota: Quota) -> UsedUp | None:
    row = db.execute(_FREE_FIRST, (quota.counter, quota.most - 1)).fetchone()
    return None if row is None else UsedUp(quota=quota, room_at=time_of(row[0]))


def _given_back(db: sqlite3.Connection, attempt: str, counters: Sequence[str]) -> None:
    db.executemany(_GIVE_BACK, [(counter, attempt) for counter in counters])
