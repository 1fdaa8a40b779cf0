"""The acquirer's own books: what it was asked, what it answered, which money moved.

Law of this file: SQLite and nothing else, in memory or in a file of its own, and one transaction at
a time. Its rows are those of `_rows`: a column is an attribute, and nothing is translated twice.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Final, TypeVar
from weakref import WeakSet

import attrs
from attrs import evolve

from payplatform._domain.disputes import DisputeState
from payplatform._domain.messages import ReplyOutcome
from payplatform.banks._book_file import opened
from payplatform.banks._rows import (
    Answer,
    Case,
    Late,
    Line,
    LineKind,
    LineState,
    Movement,
    Notice,
    Order,
    Reversal,
    SigningKey,
)
from payplatform.errors import NotSent

_MOVES: Final = {
    LineKind.SALE: 1,
    LineKind.CAPTURE: 1,
    LineKind.REFUND: -1,
    LineKind.DISPUTE: -1,
}

R = TypeVar("R", Answer, Line, Reversal, Case, Late, Notice, SigningKey, Movement)

_TABLES: Final[dict[type, tuple[str, str]]] = {
    Answer: ("answers", ", PRIMARY KEY (merchant_id, operation_id)"),
    Line: ("lines", ""),
    Reversal: ("reversals", ", PRIMARY KEY (merchant_id, operation_id)"),
    Case: ("cases", ", PRIMARY KEY (dispute_id)"),
    Late: ("late", ", PRIMARY KEY (number)"),
    Notice: ("notices", ", PRIMARY KEY (number)"),
    SigningKey: ("signing_keys", ", PRIMARY KEY (number)"),
    Movement: ("movements", ""),
}
_INDEXES: Final = (
    "CREATE INDEX IF NOT EXISTS answers_due ON answers (due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS lines_of ON lines (merchant_id, authorization_id)",
    "CREATE INDEX IF NOT EXISTS lines_by ON lines (merchant_id, operation_id)",
    "CREATE INDEX IF NOT EXISTS movements_at ON movements (merchant_id, at)",
)
# Raised when a column changes.
_VERSION: Final = 4


_COLUMNS: Final[dict[type, list[str]]] = {kind: list(attrs.fields_dict(kind)) for kind in _TABLES}


def _stored(value: object) -> object:
    """Times as text of one width in UTC, so that they sort; everything else as it is."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return value


class Books:
    """The books, in memory or in a file. Safe to use from many threads, processes and after fork.

    Everything is done in one transaction at a time: SQLite has one writer anyway, and so a lock and
    one connection are enough.

    Args:
        path: the file, made when it is not there; None keeps the books in memory.

    Raises:
        InvalidRequest: `value_invalid`, field `path`: the file is something else, or of another
            version.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = RLock()
        self._closed = False
        self._connection: sqlite3.Connection | None = self._opened()
        _OPEN_BOOKS.add(self)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All that is done inside is kept, or nothing if an exception ends it.

        Raises:
            NotSent: the books are closed.
        """
        with self._lock:
            connection = self._usable()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(connection)
                connection.commit()
            except BaseException:
                connection.rollback()
                raise

    def close(self) -> None:
        """Close the file. A second close does nothing."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __del__(self) -> None:
        # Books that were forgotten, as in a test or a notebook, are closed rather than warned of.
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()

    def _usable(self) -> sqlite3.Connection:
        if self._closed:
            raise NotSent("the simulated bank is closed")
        if self._connection is None:
            self._connection = self._opened()
        return self._connection

    def _opened(self) -> sqlite3.Connection:
        return opened(self.path, version=_VERSION, schema=_schema())

    def hold_for_fork(self) -> None:
        """Let no transaction be open while the process forks: the child would own half of it."""
        self._lock.acquire()

    def release_after_fork(self, *, in_child: bool) -> None:
        """Go on; a child drops its parent's connection without closing it, and opens its own.

        Closing would give up the parent's locks on the file (sqlite.org/howtocorrupt.html, 2.6).
        Books in memory were copied with everything else, and are the child's own from here.
        """
        if in_child and self.path is not None and self._connection is not None:
            _INHERITED.append(self._connection)
            self._connection = None
        self._lock.release()


def _schema() -> Iterator[str]:
    for kind, (table, constraint) in _TABLES.items():
        columns = ", ".join(_COLUMNS[kind])
        yield f"CREATE TABLE IF NOT EXISTS {table} ({columns}{constraint})"
    yield from _INDEXES


_OPEN_BOOKS: WeakSet[Books] = WeakSet()
_INHERITED: list[sqlite3.Connection] = []  # kept, since to forget one is to close it


def _on_all(act: Callable[[Books], None]) -> Callable[[], None]:
    def on_all() -> None:
        for books in sorted(_OPEN_BOOKS, key=id):
            act(books)

    return on_all


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_on_all(Books.hold_for_fork),
        after_in_parent=_on_all(lambda books: books.release_after_fork(in_child=False)),
        after_in_child=_on_all(lambda books: books.release_after_fork(in_child=True)),
    )


class Transaction:
    """Reads and writes of one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def answer(self, merchant_id: str, operation_id: str) -> Answer | None:
        """What this operation was answered."""
        where = "merchant_id = ? AND operation_id = ?"
        return next(iter(self._read(Answer, where, merchant_id, operation_id)), None)

    def undecided(self, outcome: ReplyOutcome, handle: str) -> Sequence[Answer]:
        """What any merchant has waiting like this, by operation id or by action's address."""
        where = "outcome = ? AND due_at IS NOT NULL AND (operation_id = ? OR action_url = ?)"
        return self._read(Answer, where, outcome, handle, handle)

    def due_answers(self, now: datetime) -> Sequence[Answer]:
        """Answers that are decided by themselves at `now` or earlier, longest due first."""
        return self._read(Answer, "due_at <= ? ORDER BY due_at, rowid", now)

    def cases(self) -> Sequence[Case]:
        """Every dispute there is, in the order they were opened."""
        return self._read(Case, "1 ORDER BY rowid")

    def case(self, dispute_id: str) -> Case | None:
        """The dispute of that id."""
        return next(iter(self._read(Case, "dispute_id = ?", dispute_id)), None)

    def unanswered_cases(self, now: datetime) -> Sequence[Case]:
        """Disputes whose deadline has passed, and nobody has answered."""
        where = "state = ? AND evidence_due_at <= ? ORDER BY evidence_due_at, rowid"
        return self._read(Case, where, DisputeState.OPENED, now)

    def save(self, row: Answer | Reversal | Case) -> None:
        """Write it in the place of what was there."""
        self._write("REPLACE", row)

    def append(self, line: Line) -> None:
        """Add a line."""
        self._write("INSERT", line)
        if line.state is LineState.BOOKED:
            self._move(line, line.at)

    def lines(
        self, merchant_id: str | None = None, authorization_id: str | None = None
    ) -> Sequence[Line]:
        """Lines in the order they were booked: all, a merchant's, or an authorization's."""
        where, values = "1", list[object]()
        for column, value in (("merchant_id", merchant_id), ("authorization_id", authorization_id)):
            if value is not None:
                where += f" AND {column} = ?"
                values.append(value)
        return self._read(Line, f"{where} ORDER BY rowid", *values)

    def lines_by(self, merchant_id: str, operation_id: str) -> Sequence[Line]:
        """Lines that one operation has made."""
        where = "merchant_id = ? AND operation_id = ? ORDER BY rowid"
        return self._read(Line, where, merchant_id, operation_id)

    def mark_lines(
        self, merchant_id: str, operation_id: str, state: LineState, at: datetime
    ) -> None:
        """Set the state of every line that one operation has made."""
        for line in self.lines_by(merchant_id, operation_id):
            if line.state is not state and LineState.BOOKED in (line.state, state):
                self._move(line, at, back=state is LineState.REVERSED)
        self._connection.execute(
            "UPDATE lines SET state = ? WHERE merchant_id = ? AND operation_id = ?",
            (state, merchant_id, operation_id),
        )

    def movements(self, merchant_id: str, since: datetime, until: datetime) -> Sequence[Movement]:
        """What moved from then until before then, in that order."""
        where = "merchant_id = ? AND at >= ? AND at < ? ORDER BY at, rowid"
        return self._read(Movement, where, merchant_id, since, until)

    def _move(self, line: Line, at: datetime, *, back: bool = False) -> None:
        sign = _MOVES.get(line.kind, 0)
        if sign:
            movement = Movement(
                merchant_id=line.merchant_id,
                operation_id=line.operation_id,
                amount_minor=line.amount_minor * (-sign if back else sign),
                currency=line.currency,
                is_reversal=back,
                is_dispute=line.kind is LineKind.DISPUTE,
                at=at,
            )
            self._write("INSERT", movement)

    def expired(self, now: datetime) -> Sequence[Answer]:
        """Approved authorizations whose time has passed, longest passed first."""
        where = "expires_at <= ? AND outcome = ? ORDER BY expires_at, rowid"
        return self._read(Answer, where, now, ReplyOutcome.APPROVED)

    def reversal(self, merchant_id: str, operation_id: str) -> Reversal | None:
        """The reversal of this operation, seen or unseen."""
        where = "merchant_id = ? AND operation_id = ?"
        return next(iter(self._read(Reversal, where, merchant_id, operation_id)), None)

    def forget_reversal(self, merchant_id: str, operation_id: str) -> None:
        """Take it that this operation was never reversed."""
        self._connection.execute(
            "DELETE FROM reversals WHERE merchant_id = ? AND operation_id = ?",
            (merchant_id, operation_id),
        )

    def hold(self, order: Order, arrives_at: datetime) -> None:
        """Let an order be on its way until then."""
        values = attrs.asdict(order, recurse=False)
        self._write("INSERT", Late(number=self._next("late"), arrives_at=arrives_at, **values))

    def late(self, until: datetime | None = None) -> Sequence[Late]:
        """Orders that are on their way, all or those that arrive by then, in that order."""
        if until is None:
            return self._read(Late, "1 ORDER BY arrives_at, number")
        return self._read(Late, "arrives_at <= ? ORDER BY arrives_at, number", until)

    def arrived(self, late: Late) -> None:
        """Take an order off the way."""
        self._connection.execute("DELETE FROM late WHERE number = ?", (late.number,))

    def tell(
        self,
        answer: Answer,
        at: datetime,
        *,
        case: Case | None = None,
        expired_minor: int | None = None,
    ) -> None:
        """Leave a notice of this answer, or of a dispute or an expiry of what it approved."""
        values = attrs.asdict(answer, recurse=False)
        notice = Notice(number=self._next("notices"), told_at=at, **values)
        notice = evolve(notice, expired_minor=expired_minor)
        if case is not None:
            notice = evolve(
                notice,
                dispute_id=case.dispute_id,
                case_state=case.state,
                case_minor=case.amount_minor,
                reason_code=case.reason_code,
                evidence_due_at=case.evidence_due_at,
            )
        self._write("INSERT", notice)

    def notices(self) -> Sequence[Notice]:
        """Notices that nobody has acknowledged, in the order they were left."""
        return self._read(Notice, "acknowledged = 0 ORDER BY number")

    def acknowledge(self, number: int) -> int:
        """Tell this notice no more; how many there were of that number."""
        changed = self._connection.execute(
            "UPDATE notices SET acknowledged = 1 WHERE number = ?", (number,)
        )
        return changed.rowcount

    def signing_key(self) -> bytes:
        """The secret that these books' notices are signed with; made when it is first asked for."""
        if not self._read(SigningKey, "1"):
            self._write("INSERT", SigningKey(secret=secrets.token_hex(32)))
        (key,) = self._read(SigningKey, "1")
        return bytes.fromhex(key.secret)

    def _next(self, table: str) -> int:
        # S608: the only text that is put together here is our own table's name.
        query = f"SELECT coalesce(max(number), 0) + 1 FROM {table}"  # noqa: S608
        [number] = self._connection.execute(query).fetchone()
        return int(number)

    def _read(self, kind: type[R], where: str, *values: object) -> list[R]:
        names = _COLUMNS[kind]
        # S608: the only text that is put together here is our own column names.
        query = f"SELECT {', '.join(names)} FROM {_TABLES[kind][0]} WHERE {where}"  # noqa: S608
        rows = self._connection.execute(query, [_stored(value) for value in values])
        return [kind(**dict(zip(names, row, strict=True))) for row in rows]

    def _write(self, verb: str, row: attrs.AttrsInstance) -> None:
        names = _COLUMNS[type(row)]
        marks = ", ".join("?" * len(names))
        # S608: as above.
        query = f"{verb} INTO {_TABLES[type(row)][0]} ({', '.join(names)}) VALUES ({marks})"
        self._connection.execute(query, [_stored(getattr(row, name)) for name in names])
