"""The archives of a file: other files, with events and links that were moved out of it.

Law of this file: an archive has the same schema, bears a mark of its own, and holds nothing else.
What is copied to it is on the disk there and was read back before anything is let go of. It has no
log beside it, so that the one file is all of it. The file whose events it has knows it by its mark;
its name only says where to look.

No thread asks for its first connection to an archive while it holds another one: who asks first may
wait for a fork, and a fork waits for those who hold one.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from attrs import frozen

from payplatform._domain.archives import ArchivedEvents
from payplatform._domain.audit import Chain
from payplatform._domain.events import Event
from payplatform.errors import ErrorCode, PayPlatformError, StorageUnavailable
from payplatform.storage import _statements as sql
from payplatform.storage._chains import Away, Gap, Link, Seen, seen
from payplatform.storage._checks import DAMAGE
from payplatform.storage._connections import Connections
from payplatform.storage._failures import RAISED, failure_of
from payplatform.storage._opening import Settings, connect, opened, prepared
from payplatform.storage._rows import ARCHIVED, EVENTS, Row, unreadable
from payplatform.storage._schema import version_of
from payplatform.storage._transactions import roll_back

T = TypeVar("T")

_UNREACHED: Final = "what is archived cannot be reached"
_STAMP_BYTES: Final = 16


@frozen
class Sort:
    """A sort of rows that an archive keeps.

    Attributes:
        table: where they lie.
        keep: takes a row.
        between: takes all of a place but the number, and two numbers; gives rows.
        place: of a row: the merchant, whose it is, and the number.
    """

    table: str
    keep: str
    between: str
    place: Callable[[Row], Row]


OLD_EVENTS: Final = Sort(
    EVENTS.table,
    sql.KEEP_EVENT,
    sql.EVENTS_BETWEEN,
    itemgetter(*map(EVENTS.columns.index, ("merchant_id", "subject_id", "number"))),
)
OLD_LINKS: Final = Sort("links", sql.KEEP_LINK, sql.LINKS_BETWEEN, itemgetter(0, 1, 2))


class Archive(NamedTuple):
    """An archive as the file knows it that its events are from.

    Attributes:
        number: what it is called in that file's rows.
        stamp: the mark that it bears.
        name: where it lay when it was last written, from that file's folder on.
    """

    number: int
    stamp: bytes
    name: str


@frozen
class View:
    """What of the archives can be looked at, for as long as it is open.

    Attributes:
        here: those that are within reach, by their numbers.
        absent: the names of the others.
    """

    here: Mapping[int, sqlite3.Connection]
    absent: tuple[str, ...]

    def links(self, merchant_id: str, chain: Chain, note: Row) -> Iterator[Link | Gap]:
        """The links that a row of `LINK_NOTES` speaks of, as they lie."""
        first, last, digest, archive = note
        connection = self.here.get(archive)
        if connection is None:
            yield Gap(first, last, digest)
            return
        asked = (merchant_id, chain, first, last)
        yield from (Link(*row[2:]) for row in connection.execute(sql.LINKS_BETWEEN, asked))

    def rows(self, merchant_id: str, note: Row) -> Iterator[Seen | Away]:
        """The events that a row of `NOTES` speaks of, as they lie."""
        subject_id, first, last, archive = note
        connection = self.here.get(archive)
        if connection is None:
            yield Away(subject_id, range(first, last + 1))
            return
        for row in connection.execute(sql.EVENTS_BETWEEN, (merchant_id, subject_id, first, last)):
            yield seen(EVENTS, row)


class Archives:
    """The archives of one file, each opened when it is first needed.

    Args:
        main: to that file.
        path: of that file.
        busy_timeout_s: how long to wait for others who hold an archive, in seconds.
        moved: where archives lie now that are not where they were written.
    """

    def __init__(
        self,
        main: Connections,
        path: str,
        busy_timeout_s: float,
        moved: Sequence[str | os.PathLike[str]],
    ) -> None:
        self._main = main
        self._folder, self._path = Path(path).parent, Path(path)
        self._busy_timeout_s = busy_timeout_s
        self._moved = [Path(os.path.abspath(os.fspath(name))) for name in moved]  # noqa: PTH100  # as for the file itself
        self._opened: dict[Path, Connections] = {}

    def require_own(self) -> None:
        """Pass where every archive that is said to have been moved is there, and is this file's.

        Raises:
            StorageUnavailable: `storage_settings`: one is not; or it cannot be opened.
        """
        stamps = {archive.stamp for archive in self.known()}
        for file in self._moved:
            if not file.is_file() or _stamp_of(self._at(file)) not in stamps:
                raise _refused(f"{file.name} is no archive of this file")

    def known(self) -> list[Archive]:
        """Every archive that the file has events in, or is to have."""
        rows = _asked(self._main, lambda c: c.execute(sql.ARCHIVES).fetchall())
        return [Archive(*row) for row in rows]

    def begun(self, path: str | os.PathLike[str]) -> Archive:
        """The archive in a file, which is made where it is missing.

        Raises:
            StorageUnavailable: `storage_settings`: the file is a store, or the archive of another
                one; or it cannot be used.
        """
        file = Path(prepared(path, "delete"))
        if file.samefile(self._path):
            raise _refused("a file cannot be its own archive")
        at = self._at(file)
        _asked(at, lambda c: c.execute(sql.MAKE_ARCHIVE, (secrets.token_bytes(_STAMP_BYTES),)))
        stamp, known = _stamp_of(at), self.known()
        if stamp is None:
            raise _no_archive()
        is_known = any(archive.stamp == stamp for archive in known)
        if not is_known and _asked(at, lambda c: c.execute(sql.IS_IN_USE).fetchone()):
            raise _refused("the file is the archive of another one")
        is_inside = file.is_relative_to(self._folder)
        name = str(file.relative_to(self._folder) if is_inside else file)
        if not any((archive.stamp, archive.name) == (stamp, name) for archive in known):
            _asked(self._main, lambda c: c.execute(sql.ADD_ARCHIVE, (stamp, name)))
        return next(archive for archive in self.known() if archive.stamp == stamp)

    def keep(self, archive: Archive, sort: Sort, rows: Sequence[Row]) -> None:
        """Have rows on the disk in an archive. What is there already stays.

        Raises:
            StorageUnavailable: `storage_corrupt`: it has something else in the place of one; or it
                could not be written.
        """
        at = self._at_hand(archive)
        if at is None:
            raise _out_of_reach(archive, "what is archived")
        _asked(at, partial(_write, sort, rows))
        for row, there in zip(rows, _asked(at, partial(_read_back, sort, rows)), strict=True):
            if there != [row]:
                how = "has something else in its place"
                raise _damaged(archive, sort.table, *sort.place(row)[1:], how=how)

    def events(self, notes: Iterable[ArchivedEvents]) -> Iterator[Event]:
        """The events that these notes speak of.

        Raises:
            StorageUnavailable: `events_archived`: an archive is not here, the message says which;
                `storage_corrupt`: it is not the one that it was, or has not all of them as they
                were.
        """
        known = {archive.number: archive for archive in self.known()}
        for note in notes:
            archive = known.get(note.archive)
            if archive is None:
                raise unreadable(ARCHIVED.table, note.subject_id)
            at = self._at_hand(archive)
            if at is None:
                raise _out_of_reach(archive, f"the events of {note.subject_id}")
            asked = (note.merchant_id, note.subject_id, note.first, note.last)
            rows = _asked(at, partial(_between, asked))
            events = [EVENTS.value_of(row) for row in rows]
            there = {event.number for event in events}
            for number in range(note.first, note.last + 1):
                if number not in there:
                    how = "had it, and it is gone"
                    raise _damaged(archive, EVENTS.table, note.subject_id, number, how=how)
            yield from events

    @contextmanager
    def view(self) -> Iterator[View]:
        """Have those that are here at hand for as long as the block lasts.

        Raises:
            StorageUnavailable: one is not the archive that it was, or cannot be read.
        """
        found = [(archive, self._at_hand(archive)) for archive in self.known()]
        absent = tuple(archive.name for archive, at in found if at is None)
        with ExitStack() as held:
            here = {
                archive.number: held.enter_context(at.mine())
                for archive, at in found
                if at is not None
            }
            yield View(here, absent)

    def damage(self) -> Iterator[tuple[str, str]]:
        """What is wrong with those that are here: the name of each, and what it is in words."""
        for archive in self.known():
            try:
                at = self._at_hand(archive)
                rows = [] if at is None else _asked(at, lambda c: c.execute(DAMAGE).fetchall())
            except StorageUnavailable as error:
                if error.code is not ErrorCode.STORAGE_CORRUPT:
                    raise
                rows = [(error.message,)]
            yield from ((archive.name, said) for (said,) in rows if said != "ok")

    def close(self) -> None:
        """Let go of them all."""
        for at in self._opened.values():
            at.close()

    def _at_hand(self, archive: Archive) -> Connections | None:
        """Connections to an archive; None if it is not here."""
        for file in self._moved:
            if _stamp_of(self._at(file)) == archive.stamp:
                return self._at(file)
        file = self._folder / archive.name
        if not file.is_file():
            return None
        try:
            stamp = _stamp_of(self._at(file))
        except StorageUnavailable as error:
            if error.code is not ErrorCode.STORAGE_SETTINGS:
                raise
            stamp = None
        if stamp == archive.stamp:
            return self._at(file)
        raise StorageUnavailable(
            f"{archive.name} is not the archive that was there", code=ErrorCode.STORAGE_CORRUPT
        )

    def _at(self, file: Path) -> Connections:
        """Connections to a file; without a lock, which a process might fork under."""
        if file not in self._opened:
            settings = Settings(
                path=str(file), busy_timeout_s=self._busy_timeout_s, journal_mode="delete"
            )
            self._opened.setdefault(file, Connections(str(file), partial(_connect, settings)))
        return self._opened[file]


def stamp_of(connection: sqlite3.Connection) -> bytes | None:
    """The mark that a file bears; None for one that is no archive."""
    row = connection.execute(sql.STAMP).fetchone()
    return None if row is None else bytes(row[0])


def _stamp_of(at: Connections) -> bytes | None:
    return _asked(at, stamp_of)


def _connect(settings: Settings, is_first: bool) -> sqlite3.Connection:
    """A connection to a file that is an archive, or may become one."""
    if is_first:
        _require_archive(settings)
    return connect(settings, is_first)


def _require_archive(settings: Settings) -> None:
    """Pass before anything is set in a file: whatever else it is has to stay as it is."""
    failure: PayPlatformError | None
    try:
        with closing(opened(settings.path, settings.busy_timeout_s)) as connection:
            failure = _no_archive() if _is_store(connection) else None
    except RAISED as error:
        failure = failure_of(error, _UNREACHED)
    if failure is not None:
        raise failure


def _is_store(connection: sqlite3.Connection) -> bool:
    """Whether a file is a store in use; one that is new, or about to be an archive, is none."""
    if not version_of(connection):
        return False
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    if "archives" in tables and stamp_of(connection) is not None:
        return False
    ((mode,),) = connection.execute("PRAGMA journal_mode").fetchall()
    has_merchants = connection.execute("SELECT 1 FROM merchants LIMIT 1").fetchall()
    return mode != "delete" or bool(has_merchants)


def _asked(at: Connections, ask: Callable[[sqlite3.Connection], T]) -> T:
    with at.mine() as connection:
        try:
            return ask(connection)
        except RAISED as error:
            failure = failure_of(error, _UNREACHED)
        finally:
            roll_back(connection)
    at.discard()
    raise failure


def _write(sort: Sort, rows: Sequence[Row], connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(sort.keep, rows)
    connection.execute("COMMIT")


def _read_back(sort: Sort, rows: Sequence[Row], connection: sqlite3.Connection) -> list[list[Row]]:
    places = map(sort.place, rows)
    return [connection.execute(sort.between, (*place, place[-1])).fetchall() for place in places]


def _between(asked: Row, connection: sqlite3.Connection) -> list[Row]:
    return connection.execute(sql.EVENTS_BETWEEN, asked).fetchall()


def _refused(why: str) -> StorageUnavailable:
    return StorageUnavailable(why, code=ErrorCode.STORAGE_SETTINGS)


def _no_archive() -> StorageUnavailable:
    return _refused("the file is a store, and no archive")


def _out_of_reach(archive: Archive, what: str) -> StorageUnavailable:
    return StorageUnavailable(
        f"{what} are in the archive {archive.name}, which is not here",
        code=ErrorCode.EVENTS_ARCHIVED,
    )


def _damaged(archive: Archive, table: str, *place: object, how: str) -> StorageUnavailable:
    row = " ".join(map(str, (table, *place)))
    return StorageUnavailable(f"{row}: {archive.name} {how}", code=ErrorCode.STORAGE_CORRUPT)
