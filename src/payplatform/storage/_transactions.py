"""What a commit writes, and how: one transaction, whose guards are looked at while others wait.

Law of this file: rows are made before a transaction begins, and nothing else happens inside. It
begins IMMEDIATE, so that what its guards and its links are compared with cannot change before it
commits. Of several changes in one transaction each stands or falls for itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from attrs import frozen

from payplatform._domain.audit import Chain, ChainHead
from payplatform._domain.changes import Changes, Record
from payplatform.errors import CommitUncertain, Conflict, PayPlatformError, StorageBusy
from payplatform.storage import _statements as sql
from payplatform.storage._chains import NO_LINK, Mark, bodies, marked, marked_receipt, next_link
from payplatform.storage._connections import Connections
from payplatform.storage._failures import RAISED, failure_of, is_busy
from payplatform.storage._opening import Settings
from payplatform.storage._rows import (
    AUDIT_ENTRIES,
    EVENTS,
    POSTINGS,
    RECORDS,
    Layout,
    Row,
    receipt_row,
)


@frozen
class Step:
    """One statement. Where `guarded` says of what, it has to change, or find, exactly one row.

    Attributes:
        mark: what the chain is to know of it, where it writes or removes something.
    """

    statement: str
    row: Row
    guarded: str | None = None
    mark: Mark | None = None


@frozen(kw_only=True)
class Work:
    """All that one caller wants written, or none of it.

    Attributes:
        steps: the statements, in their order.
        links: what is added to which of the merchant's chains.
        must_scrub: whether something has to be gone from the disk once this is committed.
    """

    merchant_id: str = ""
    steps: Sequence[Step]
    links: Sequence[tuple[Chain, bytes]] = ()
    must_scrub: bool = False


def work_of(changes: Changes) -> Work:
    """What it takes to write changes."""
    steps = tuple(_steps(changes))
    return linked(changes.merchant_id, steps, must_scrub=changes.destroys)


def linked(merchant_id: str, steps: Sequence[Step], *, must_scrub: bool = False) -> Work:
    """A merchant's steps, and the links that name what they write and remove."""
    links = tuple(bodies(step.mark for step in steps if step.mark is not None))
    return Work(merchant_id=merchant_id, steps=steps, links=links, must_scrub=must_scrub)


class Writer:
    """Writes to one file, and empties its log of what was removed.

    Args:
        connections: to the file.
        settings: how it is used.
        chain_key: what links are made with, if with any.
    """

    def __init__(
        self, connections: Connections, settings: Settings, chain_key: bytes | None
    ) -> None:
        self._connections = connections
        self._settings = settings
        self._chain_key = chain_key
        self._must_scrub = False

    def write(self, works: Sequence[Work]) -> Sequence[PayPlatformError | None]:
        """Write works in one transaction; for each the failure, or None."""
        with self._connections.mine() as connection:
            try:
                failures = _written_together(connection, works, self._chain_key)
                must_scrub = any(work.must_scrub for work in works)
                if None in failures and (must_scrub or self._must_scrub):
                    self.scrub(connection, patiently=must_scrub)
            finally:
                is_sound = roll_back(connection)
        are_sound = all(isinstance(failure, Conflict | StorageBusy | None) for failure in failures)
        if not (is_sound and are_sound):
            self._connections.discard()
        return failures

    def scrub(self, connection: sqlite3.Connection, *, patiently: bool) -> None:
        """Empty the log, which still has what was removed from the file.

        The commit stands whatever becomes of this. While others read, the log stays; then the next
        write of this store tries again, but does not wait.
        """
        timeout_ms = int(self._settings.busy_timeout_s * 1000)
        self._must_scrub = True
        with suppress(*RAISED):
            connection.execute(f"PRAGMA busy_timeout = {timeout_ms if patiently else 0}")
            ((is_busy_now, *_),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._must_scrub = bool(is_busy_now)
        with suppress(*RAISED):
            connection.execute(f"PRAGMA busy_timeout = {timeout_ms}")


def _written_together(
    connection: sqlite3.Connection, works: Sequence[Work], key: bytes | None
) -> list[PayPlatformError | None]:
    """Write works in one transaction.

    Where a failure takes the whole transaction with it, as that of a disk does, all of them have
    that failure, and nothing was written.

    Args:
        connection: with no transaction open; there may be one when this returns or raises.
        works: each is written whole, or not at all and for a reason of its own.
        key: what links are made with, if with any.

    Returns:
        For each work why it was not written, or may not have been; None where it was.
    """
    do = _apart if len(works) > 1 else _done
    failures: list[PayPlatformError | None] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for work in works:
            failures.append(do(connection, work, key))
            if not connection.in_transaction:
                return [failures[-1]] * len(works)
    except RAISED as error:
        return [failure_of(error, "nothing was written")] * len(works)
    if None not in failures:
        return failures
    failure = _committed(connection)
    return [before or failure for before in failures]


def _apart(
    connection: sqlite3.Connection, work: Work, key: bytes | None
) -> PayPlatformError | None:
    """Do a work so that it can be undone by itself."""
    connection.execute("SAVEPOINT work")
    failure = _done(connection, work, key)
    if failure is not None and connection.in_transaction:
        connection.execute("ROLLBACK TO work")
    if connection.in_transaction:
        connection.execute("RELEASE work")
    return failure


def _done(connection: sqlite3.Connection, work: Work, key: bytes | None) -> PayPlatformError | None:
    return _taken(connection, work.steps) or _linked(connection, work, key)


def _taken(connection: sqlite3.Connection, steps: Iterable[Step]) -> PayPlatformError | None:
    """Take every step, in the transaction that is open; the failure if one of them fails.

    A writer whose guard is stale is told of that, though the schema may have refused another of its
    steps first: amounts that are computed from stale facts break the books more often than not.
    """
    refusal: PayPlatformError | None = None
    try:
        for step in steps:
            failure = _failure_at(connection, step)
            if isinstance(failure, Conflict):
                return failure
            refusal = refusal or failure
    except RAISED as error:
        return failure_of(error, "nothing was written")
    return refusal


def _failure_at(connection: sqlite3.Connection, step: Step) -> PayPlatformError | None:
    try:
        cursor = connection.execute(step.statement, step.row)
        rows = len(cursor.fetchall()) if cursor.description else cursor.rowcount
    except sqlite3.IntegrityError as error:
        return failure_of(error, "nothing was written")
    if rows != 1 and step.guarded is not None:
        return Conflict(f"{step.guarded} has been changed by somebody else")
    return None


def _linked(
    connection: sqlite3.Connection, work: Work, key: bytes | None
) -> PayPlatformError | None:
    """Add to the merchant's chains, in the transaction that is open; the failure if it fails.

    Other writers wait until it is over, so the head that is read here is the last one.
    """
    try:
        for chain, body in work.links:
            before = head(connection, work.merchant_id, chain)
            link = next_link(chain, work.merchant_id, before, body, key)
            connection.execute(sql.ADD_LINK, (work.merchant_id, chain, *link))
            connection.execute(sql.KEEP_HEAD, (work.merchant_id, chain, link.number, link.digest))
    except RAISED as error:
        return failure_of(error, "nothing was written")
    return None


def head(connection: sqlite3.Connection, merchant_id: str, chain: Chain) -> ChainHead:
    """Where a chain ends."""
    row = connection.execute(sql.HEAD, (merchant_id, chain)).fetchone()
    return NO_LINK if row is None else ChainHead(number=row[0], digest=row[1].hex())


def _committed(connection: sqlite3.Connection) -> PayPlatformError | None:
    """Commit; the failure if it fails.

    Only one kind of failure proves that nothing was written: readers held up a file without a log,
    and the transaction, still open, could be rolled back. After any other, the disk may have it.
    """
    try:
        connection.execute("COMMIT")
    except RAISED as error:
        failure = failure_of(error, "it may or may not have been written")
        was_busy = is_busy(error)
    else:
        return None
    if was_busy and connection.in_transaction and roll_back(connection):
        return StorageBusy("others were reading for too long; nothing was written")
    return CommitUncertain(failure.message)


def roll_back(connection: sqlite3.Connection) -> bool:
    """Whether no transaction is open any more."""
    with suppress(*RAISED):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return not connection.in_transaction


def _steps(changes: Changes) -> Iterator[Step]:
    """What is removed comes before what is written, so that its place may be taken."""
    for record in changes.needed:
        stored = (record.merchant_id, record.id, record.version)
        yield Step(sql.OF[type(record)].stands, stored, _name(record))
    for record in changes.removed:
        stored = (record.merchant_id, record.id, record.version)
        gone = (RECORDS[type(record)].table, record.id, None)
        yield Step(sql.OF[type(record)].delete, stored, _name(record), gone)
    for record in changes.records:
        yield _written(record)
    for event in changes.events:
        place = (event.id, event.merchant_id, event.subject_id, event.number)
        yield _added(EVENTS, sql.ADD_EVENT, event)
        yield Step(sql.ADD_TO_OUTBOX, place)
    for posting in changes.postings:
        yield _added(POSTINGS, sql.ADD_POSTING, posting)
    for receipt in changes.receipts:
        row = receipt_row(receipt)
        yield Step(sql.KEEP_RECEIPT, row, mark=marked_receipt(row))
    for entry in changes.audit:
        yield _added(AUDIT_ENTRIES, sql.ADD_AUDIT_ENTRY, entry)


def _written(record: Record) -> Step:
    layout, statements = RECORDS[type(record)], sql.OF[type(record)]
    row = layout.row_of(record)
    mark = marked(layout, row)
    if record.version == 1:
        return Step(statements.insert, row, _name(record), mark)
    replaced = (record.merchant_id, record.id, record.version - 1)
    return Step(statements.update, layout.changing_of(row) + replaced, _name(record), mark)


def _added(layout: Layout[Any], statement: str, value: Any) -> Step:
    row = layout.row_of(value)
    return Step(statement, row, mark=marked(layout, row))


def _name(record: Record) -> str:
    return f"{RECORDS[type(record)].table} {record.id}"
