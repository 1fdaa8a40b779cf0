"""A store in one SQLite file: many threads and processes of one machine may use it at once.

Law of this file: a read is one statement; a write is one transaction that begins IMMEDIATE, so that
what it reads under its guards cannot have changed when it writes; rows are made before it begins
and nothing else happens inside. Every statement names the merchant, but for the few that the port
gives to all of them. Whatever SQLite says goes through `_failures`, and no further.
"""

# ruff: noqa: D102  # what a method promises stands at the port

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any, Final, TypeVar

from attrs import evolve

from payplatform._domain.archives import ArchiveReport
from payplatform._domain.audit import AuditEntry, Chain, ChainHead, ChainReport
from payplatform._domain.changes import Changes, Subject
from payplatform._domain.disputes import Dispute
from payplatform._domain.events import Event
from payplatform._domain.ledger import Account, PlaceInBooks, Posting
from payplatform._domain.notices import Notice
from payplatform._domain.operations import Operation
from payplatform._domain.payments import Payment
from payplatform._domain.payouts import PayoutPlan
from payplatform._domain.records import Merchant, PaymentMethod
from payplatform.errors import Conflict, ErrorCode, PayPlatformError, StorageUnavailable
from payplatform.ports import EVERY_LINE, EVERYTHING, Filter, Finding, LineFilter, Place, R
from payplatform.storage import _statements as sql
from payplatform.storage._archives import OLD_EVENTS, OLD_LINKS, Archives, View, stamp_of
from payplatform.storage._chains import (
    LAYOUTS,
    Away,
    Gap,
    Link,
    Seen,
    key_check,
    look_through,
    seen,
    seen_receipt,
)
from payplatform.storage._checks import DAMAGE, LOST, Lost
from payplatform.storage._connections import Connections
from payplatform.storage._failures import RAISED, failure_of
from payplatform.storage._moves import Move, move_of, old_links, removal, removal_of_links
from payplatform.storage._opening import JournalMode, Settings, connect, new_file, prepared
from payplatform.storage._rows import (
    ARCHIVED,
    AUDIT_ENTRIES,
    EVENTS,
    MERCHANTS,
    OPERATIONS,
    PAYMENT_METHODS,
    PAYMENTS,
    POSTINGS,
    RECEIPT_COLUMNS,
    RECORDS,
    Layout,
    Row,
    stored_time,
    subject_of,
    unreadable,
)
from payplatform.storage._schema import LATEST
from payplatform.storage._sharing import Sharing
from payplatform.storage._transactions import Step, Work, Writer, head, roll_back, work_of

_LONGEST_WAIT_S: Final = 3600.0
_LINKS_AT_ONCE: Final = 500
_ACCOUNTS: Final = frozenset(map(str, Account))

V = TypeVar("V")


class SQLiteStorage:
    """Keeps everything in one file. See `ports.Storage` for what each method promises.

    A commit is on the disk before it returns: the file uses a write-ahead log and waits for the
    disk at every commit. What is removed is overwritten, in the file and in the log. The file and
    its folder are created for their owner alone. To copy the file use `backup`, never `cp`: a copy
    of the file alone lacks what is still in the log.

    A process may fork while a store is open: all of its connections are closed first, and both
    processes open new ones when they need them.

    Args:
        path: the file; created, with its folder, where it is missing.
        busy_timeout_s: how long a transaction waits for other processes that hold the file, in
            seconds. Of many threads that commit at once, each also waits for the one before.
        journal_mode: `wal`, for a local disk. `delete` does without a log and without memory that
            is shared between processes, and is several times slower.
        chain_key: 32 random bytes that the links of the chains are made with from the first one
            on, so that nobody without it can make a chain anew. A file that was begun with a key
            is opened with that key alone, and one that was begun without is opened without.
        archives: where archives of this file lie now, if they are not where they were written.

    Raises:
        StorageUnavailable: `storage_settings` (not a regular file, an archive, another program's
            database, a network file system, another chain key, no archive of this file, or SQLite
            lacks a setting),
            `storage_schema_newer`, `storage_corrupt`, `storage_read_only`, `storage_full` or
            `storage_unavailable`.
        StorageBusy: others held the file for longer than the timeout.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        busy_timeout_s: float = 5.0,
        journal_mode: JournalMode = "wal",
        chain_key: bytes | None = None,
        archives: Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        if chain_key is not None and not (isinstance(chain_key, bytes) and len(chain_key) == 32):
            raise _wrong("chain_key is 32 bytes")
        if journal_mode not in ("wal", "delete"):
            raise _wrong('journal_mode is "wal" or "delete"')
        if not (math.isfinite(busy_timeout_s) and 0 <= busy_timeout_s <= _LONGEST_WAIT_S):
            raise _wrong(f"busy_timeout_s is 0 to {_LONGEST_WAIT_S} seconds")
        self._settings = Settings(
            path=prepared(path, journal_mode),
            busy_timeout_s=busy_timeout_s,
            journal_mode=journal_mode,
        )
        self._connections = Connections(self._settings.path, partial(connect, self._settings))
        self._writer = Writer(self._connections, self._settings, chain_key)
        self._sharing = Sharing(self._writer.write)
        self._chain_key = chain_key
        self._archives = Archives(self._connections, self._settings.path, busy_timeout_s, archives)
        self._is_open = True
        with self._connections.mine() as connection:
            refusal = _key_refusal(connection, chain_key) or _archive_refusal(connection)
        try:
            if refusal is not None:
                raise refusal
            self._archives.require_own()
        except PayPlatformError:
            self._let_go()
            raise

    def get(self, merchant_id: str, kind: type[R], record_id: str) -> R | None:
        return _only(self._read(RECORDS[kind], sql.OF[kind].get, (merchant_id, record_id)))

    def page(
        self,
        merchant_id: str,
        kind: type[R],
        where: Filter = EVERYTHING,
        *,
        before: str | None = None,
        limit: int,
    ) -> Sequence[R]:
        layout = RECORDS[kind]
        asked = sql.page(layout, merchant_id, where, before, limit)
        return () if asked is None else self._read(layout, *asked)

    def operation_with_key(self, merchant_id: str, idempotency_key: str) -> Operation | None:
        claim = (merchant_id, idempotency_key)
        return _only(self._read(OPERATIONS, sql.OPERATION_WITH_KEY, claim))

    def payment_method_with(
        self, merchant_id: str, customer_id: str, fingerprints: Sequence[bytes]
    ) -> PaymentMethod | None:
        statement = sql.payment_method_with(len(fingerprints))
        claims = (merchant_id, customer_id, *fingerprints)
        return _only(self._read(PAYMENT_METHODS, statement, claims))

    def receipt(self, merchant_id: str, operation_id: str) -> Subject | None:
        row = _only(self._rows(sql.RECEIPT, (merchant_id, operation_id)))
        return None if row is None else subject_of(row)

    def events(self, merchant_id: str, subject_id: str) -> Sequence[Event]:
        subject = (merchant_id, subject_id)
        here: list[Event] = self._read(EVENTS, sql.EVENTS_OF, subject)
        if here and here[0].number == 1:
            return here
        notes = self._read(ARCHIVED, sql.ARCHIVED_OF, subject)
        # Read later: what was here a moment ago may be there by now, too.
        numbered = {event.number: event for event in (*self._archives.events(notes), *here)}
        return [numbered[number] for number in sorted(numbered)]

    def postings(self, merchant_id: str, subject_id: str) -> Sequence[Posting]:
        return self._read(POSTINGS, sql.POSTINGS_OF, (merchant_id, subject_id))

    def ledger(
        self,
        merchant_id: str,
        where: LineFilter = EVERY_LINE,
        *,
        after: PlaceInBooks | None = None,
        limit: int,
    ) -> Sequence[Posting]:
        return self._read(POSTINGS, *sql.ledger(merchant_id, where, after, limit))

    def totals(
        self, merchant_id: str, *, at: datetime | None = None
    ) -> Mapping[tuple[str, Account], int]:
        asked: tuple[str, Row] = (sql.TOTALS, (merchant_id,))
        if at is not None:
            asked = (sql.TOTALS_AT, (merchant_id, stored_time(at)))
        rows = self._rows(*asked)
        if not all(account in _ACCOUNTS for _, account, *_ in rows):
            raise unreadable("postings", merchant_id)
        return {(currency, Account(a)): (high << 32) + low for currency, a, high, low in rows}

    def merchants(self, *, before: str | None = None, limit: int) -> Sequence[Merchant]:
        if before is None:
            return self._read(MERCHANTS, sql.NEWEST_MERCHANTS, (limit,))
        return self._read(MERCHANTS, sql.MERCHANTS_BEFORE, (before, limit))

    def due_operations(self, now: datetime, *, limit: int) -> Sequence[Operation]:
        return self._read(OPERATIONS, sql.DUE_OPERATIONS, (stored_time(now), limit))

    def lapsed_payments(self, now: datetime, *, limit: int) -> Sequence[Payment]:
        return self._read(PAYMENTS, sql.LAPSED_PAYMENTS, (stored_time(now), limit))

    def due_notices(self, now: datetime, *, limit: int) -> Sequence[Notice]:
        return self._read(RECORDS[Notice], sql.DUE_NOTICES, (stored_time(now), limit))

    def due_disputes(self, now: datetime, *, limit: int) -> Sequence[Dispute]:
        return self._read(RECORDS[Dispute], sql.DUE_DISPUTES, (stored_time(now), limit))

    def due_payouts(self, now: datetime, *, limit: int) -> Sequence[PayoutPlan]:
        return self._read(RECORDS[PayoutPlan], sql.DUE_PAYOUTS, (stored_time(now), limit))

    def outbox(self, *, limit: int) -> Sequence[Event]:
        return self._read(EVENTS, sql.OUTBOX, (limit,))

    def mark_published(self, event_ids: Sequence[str]) -> None:
        if event_ids:
            steps = [Step(sql.TAKE_FROM_OUTBOX, (event_id,)) for event_id in event_ids]
            self._sharing.write(Work(steps=steps))

    def audit_entries(
        self, merchant_id: str, *, before: str | None = None, limit: int
    ) -> Sequence[AuditEntry]:
        if before is None:
            return self._read(AUDIT_ENTRIES, sql.NEWEST_AUDIT_ENTRIES, (merchant_id, limit))
        return self._read(AUDIT_ENTRIES, sql.AUDIT_ENTRIES_BEFORE, (merchant_id, before, limit))

    def head(self, merchant_id: str, chain: Chain) -> ChainHead:
        with self._connections.mine() as connection:
            try:
                return head(connection, merchant_id, chain)
            except RAISED as error:
                failure = failure_of(error, "nothing could be read")
        raise failure

    def verify(
        self, merchant_id: str, chain: Chain, expected_head: ChainHead | None = None
    ) -> ChainReport:
        with self._archives.view() as view, self._connections.mine() as connection:
            try:
                connection.execute("BEGIN")
                report = look_through(
                    chain,
                    merchant_id,
                    links=_links(connection, merchant_id, chain, view),
                    rows=_seen(connection, merchant_id, chain, view),
                    kept=head(connection, merchant_id, chain),
                    expected=expected_head,
                    key=self._chain_key,
                )
                return _with_names(connection, merchant_id, report, view)
            except RAISED as error:
                failure = failure_of(error, "nothing could be read")
            finally:
                roll_back(connection)
        raise failure

    def count(self, kind: type[R]) -> int:
        ((count,),) = self._rows(sql.OF[kind].count, ())
        return int(count)

    def count_of(self, merchant_id: str, kind: type[R], where: Filter = EVERYTHING) -> int:
        asked = sql.count_of(RECORDS[kind], merchant_id, where)
        if asked is None:
            return 0
        ((count,),) = self._rows(*asked)
        return int(count)

    def survey(
        self, kind: type[R], *, after: tuple[str, str] = ("", ""), limit: int
    ) -> Sequence[Place]:
        keys = self._rows(sql.OF[kind].keys, (*after, limit))
        places = (self._place(kind, merchant_id, record_id) for merchant_id, record_id in keys)
        return [place for place in places if place is not None]

    def self_check(self) -> Sequence[Finding]:
        return [*self._damage(), *(finding for lost in LOST for finding in self._lost(lost))]

    def commit(self, changes: Changes) -> None:
        self._sharing.write(work_of(changes))

    def describe(self) -> Mapping[str, str]:
        return {
            "adapter": "sqlite",
            "path": self._settings.path,
            "schema": str(LATEST),
            "journal_mode": self._settings.journal_mode,
            "synchronous": self._settings.synchronous,
            "sqlite": sqlite3.sqlite_version,
        }

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy everything, as it is at one moment, into a new file that only its owner may read.

        Others go on reading and writing meanwhile. The copy can be opened as any store.

        Args:
            path: the new file; nothing may be there yet.

        Raises:
            StorageUnavailable: there is something already, or it cannot be written, or read here.
        """
        file = new_file(path)
        failure: PayPlatformError | None = None
        with self._connections.mine() as connection:
            try:
                with closing(sqlite3.connect(file, isolation_level=None)) as copy:
                    connection.backup(copy)
            except RAISED as error:
                failure = failure_of(error, "no copy could be made")
        if failure is not None:
            with suppress(OSError):
                file.unlink()
            raise failure

    def unarchived(
        self, before: datetime, *, after: tuple[str, str] = ("", ""), limit: int
    ) -> Sequence[Payment]:
        return self._read(PAYMENTS, sql.UNARCHIVED, (*after, stored_time(before), limit))

    def archive(self, path: str | os.PathLike[str], payments: Sequence[Payment]) -> ArchiveReport:
        archive = self._archives.begun(path)
        read = (self._move(payment, archive.number) for payment in payments)
        moves = [move for move in read if move is not None]
        free = [move for move in moves if self._is_published(move)]
        self._archives.keep(archive, OLD_EVENTS, [row for move in free for row in move.rows])
        gone = self._let_go_of(free)
        return ArchiveReport(
            payments=len(gone),
            events=sum(len(move.rows) for move in gone),
            unpublished=len(moves) - len(free),
        )

    def archive_links(
        self, path: str | os.PathLike[str], merchant_id: str, chain: Chain, before: datetime
    ) -> int:
        archive = self._archives.begun(path)
        old = old_links(self._rows, merchant_id, chain, before)
        moved = 0
        while some := old[moved : moved + _LINKS_AT_ONCE]:
            rows = self._rows(sql.LINKS_BETWEEN, (merchant_id, chain, some[0], some[-1]))
            if len(rows) != len(some):
                break  # somebody else is at it
            self._archives.keep(archive, OLD_LINKS, rows)
            try:
                self._sharing.write(removal_of_links(rows, archive.number))
            except Conflict:
                break
            moved += len(rows)
        return moved

    def close(self) -> None:
        if not self._is_open:
            return
        with suppress(StorageUnavailable), self._connections.mine() as connection:
            self._writer.scrub(connection, patiently=False)
        self._let_go()

    def _let_go(self) -> None:
        self._is_open = False
        self._archives.close()
        self._connections.close()

    def _move(self, payment: Payment, archive: int) -> Move | None:
        """All events of a payment that are here; None if it is not what it was any more."""
        rows = self._rows(sql.EVENTS_OF, (payment.merchant_id, payment.id))
        return move_of(payment, rows, archive)

    def _is_published(self, move: Move) -> bool:
        return not any(self._rows(sql.IN_OUTBOX, (event_id,)) for event_id in move.event_ids)

    def _let_go_of(self, moves: Sequence[Move]) -> list[Move]:
        """Have events here no more; those of a payment that has changed meanwhile stay."""
        gone: list[Move] = []
        for _, group in groupby(moves, lambda move: move.payment.merchant_id):
            theirs = list(group)
            try:
                self._sharing.write(removal(theirs))
            except Conflict:
                alone = ([move] for move in theirs if len(theirs) > 1)
                gone += (move for one in alone for move in self._let_go_of(one))
            else:
                gone += theirs
        return gone

    def _place(self, kind: type[R], merchant_id: str, record_id: str) -> Place | None:
        """One row, read by itself so that it spoils no other; None if it was removed meanwhile."""
        try:
            row = _only(self._rows(sql.OF[kind].get, (merchant_id, record_id)))
        except StorageUnavailable as error:
            if error.code is not ErrorCode.STORAGE_CORRUPT:
                raise
            damage: str | None = error.message
            record = None
        else:
            if row is None:
                return None
            record, damage = RECORDS[kind].looked_at(row[: len(RECORDS[kind].columns)])
        return Place(merchant_id=merchant_id, record_id=record_id, record=record, damage=damage)

    def _damage(self) -> Iterator[Finding]:
        for (said,) in self._rows(DAMAGE, ()):
            if said != "ok":
                yield Finding(merchant_id="", record_id="", row="file", rule="store", text=said)
        for name, said in self._archives.damage():
            row = f"archive {name}"
            yield Finding(merchant_id="", record_id="", row=row, rule="store", text=said)

    def _lost(self, lost: Lost) -> Iterator[Finding]:
        for merchant_id, owner, which in self._rows(lost.query, ()):
            yield Finding(
                merchant_id=merchant_id,
                record_id=owner,
                row=f"{lost.kind} {which}",
                rule=lost.rule,
                text=lost.text,
            )

    def _read(self, layout: Layout[Any], statement: str, parameters: Row) -> list[Any]:
        end = len(layout.columns)
        rows = self._rows(statement, parameters)
        return [layout.value_of(row[:end], *(latest or 0 for latest in row[end:])) for row in rows]

    def _rows(self, statement: str, parameters: Row) -> list[Row]:
        with self._connections.mine() as connection:
            try:
                return connection.execute(statement, parameters).fetchall()
            except RAISED as error:
                failure = failure_of(error, "nothing could be read")
        raise failure


def _key_refusal(connection: sqlite3.Connection, key: bytes | None) -> PayPlatformError | None:
    """Why a file may not be opened with this chain key, or without one; None where it may."""
    wanted = None if key is None else key_check(key)
    try:
        if wanted is not None:
            connection.execute(sql.KEEP_KEY_CHECK, (wanted,))
        row = connection.execute(sql.KEY_CHECK).fetchone()
    except RAISED as error:
        return failure_of(error, "the chain key could not be compared")
    kept = None if row is None else row[0]
    if kept == wanted:
        return None
    return _wrong("the file was begun with another chain key, or one of the two is without")


def _archive_refusal(connection: sqlite3.Connection) -> PayPlatformError | None:
    """Why a file may not be opened if it is an archive; None where it is not."""
    try:
        stamp = stamp_of(connection)
    except RAISED as error:
        return failure_of(error, "the file cannot be read")
    if stamp is None:
        return None
    return _wrong("the file is an archive: open the store that its events are from")


def _links(
    connection: sqlite3.Connection, merchant_id: str, chain: Chain, view: View
) -> Iterator[Link | Gap]:
    """Every link of a chain, here or in an archive."""
    whose = (merchant_id, chain)
    for note in connection.execute(sql.LINK_NOTES, whose).fetchall():
        yield from view.links(merchant_id, chain, note)
    yield from (Link(*row) for row in connection.execute(sql.LINKS, whose))


def _seen(
    connection: sqlite3.Connection, merchant_id: str, chain: Chain, view: View
) -> Iterator[Seen | Away]:
    """Every row of the merchant's that the chain vouches for, as it lies, here or in an archive."""
    for layout in LAYOUTS[chain]:
        asked = sql.all_of(layout.table, layout.columns)
        for row in connection.execute(asked, (merchant_id,)):
            yield seen(layout, row)
    if chain is Chain.JOURNAL:
        asked = sql.all_of("receipts", RECEIPT_COLUMNS)
        for row in connection.execute(asked, (merchant_id,)):
            yield seen_receipt(row)
        for note in connection.execute(sql.NOTES, (merchant_id,)):
            yield from view.rows(merchant_id, note)


def _with_names(
    connection: sqlite3.Connection, merchant_id: str, report: ChainReport, view: View
) -> ChainReport:
    """A report that names the archives it speaks of."""
    if report.archived or report.unvouched:
        return evolve(report, archives=view.absent)
    table, _, place = (report.row or "").partition(" ")
    if table != EVENTS.table:
        return report
    asked = (merchant_id, *place.rsplit(" ", 1))
    names = connection.execute(sql.NAME_OF_ARCHIVE, asked).fetchall()
    return evolve(report, text="".join(f"in {name}, " for (name,) in names) + str(report.text))


def _only(found: Sequence[V]) -> V | None:
    return found[0] if found else None


def _wrong(rule: str) -> StorageUnavailable:
    return StorageUnavailable(rule, code=ErrorCode.STORAGE_SETTINGS)
