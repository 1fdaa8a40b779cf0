"""A disk that remembers: what SQLite asked of it, and what a power cut would have left of it.

Law of this file: a model of a disk, in which only what was synced is sure. A write, a name or the
end of a name that was not synced may be there after a power cut, or not, or in part, and in any
order. What a sync that failed was to make sure never becomes sure by a later one: that is how Linux
does it. The real files are written too, for SQLite to read, but no sync waits for the real disk.

It can also fail while it is used, see `fail_sync`, `fail_write` and `full_after`; and the power can
be cut in place: `power_off`, close or forget whatever is open, `power_on`.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from threading import RLock
from types import MappingProxyType
from typing import Any, Final

from attrs import evolve, field, frozen

from payplatform.testing._system_calls import (
    OK,
    Deleted,
    Opened,
    Synced,
    SystemCall,
    Truncated,
    Written,
    unwatch,
    watch,
)

__all__ = ["Disk", "Image", "Loss", "recording_disk"]

SECTOR_BYTES: Final = 512
"""What a disk writes whole or not at all."""

_FIRST_BYTES: Final = b"SQLite format 3\0"

_BESIDE: Final = ("-wal", "-journal", "-shm")
"""What SQLite keeps beside a file; the last is memory that processes share, and is made anew."""


class Loss(StrEnum):
    """What becomes of what was not synced when the power is cut."""

    NOTHING = "nothing"  # all of it had reached the disk: as when only the process is killed
    DROPPED = "dropped"  # none of it
    HALVED = "halved"  # the earlier half is there, the later is not
    SCATTERED = "scattered"  # each write is there or not, by chance
    TORN = "torn"  # each sector of each write is there or not, by chance


@frozen(kw_only=True)
class Image:
    """What a power cut left in the folder.

    Attributes:
        files: the content of each file by its name.
        marks: what had been marked by then, oldest first.
        calls: after how many recorded calls the power was cut.
        loss: what became of what was not synced.
        seed: of the chance in it.
    """

    files: Mapping[str, bytes] = field(repr=False)
    marks: tuple[object, ...]
    calls: int
    loss: Loss
    seed: int

    def write_to(self, folder: Path) -> None:
        """Make the folder's SQLite files what the image says. Nobody may have them open.

        Args:
            folder: where; other files in it are left alone.
        """
        _clear(folder, self.files)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


@contextmanager
def recording_disk(folder: Path) -> Iterator[Disk]:
    """Record what SQLite asks of the system about the files in a folder.

    What is there already counts as safely on the disk. Open stores inside of the block, and close
    them inside.

    Example:
        ```python
        with recording_disk(folder) as disk:
            told = take_a_payment(folder / "shop.db")
            disk.mark(told)
        for image in disk.images():
            image.write_to(another_folder)
            assert what_is_known(another_folder / "shop.db") >= set(image.marks)
        ```

    Args:
        folder: the one that the SQLite file is in.

    Yields:
        The disk.

    Raises:
        RuntimeError: this build of Python keeps SQLite's functions to itself, or the folder is
            being recorded already.
    """
    folder = folder.resolve()
    disk = Disk(folder)
    watch(folder, disk)
    try:
        yield disk
    finally:
        unwatch(folder)


class Disk:
    """What one folder's disk was asked, in order, and what it does about it.

    Made by `recording_disk`. Safe to use from many threads.

    Args:
        folder: without links.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = RLock()
        self._made = 0
        self._trouble: Callable[[SystemCall], int] = _no_trouble
        self._begin()

    @property
    def calls(self) -> int:
        """How many calls have changed something, or made it sure, since the power was last cut."""
        return sum(_is_call(entry) for entry in self._log)

    def mark(self, what: object) -> None:
        """Write down, between the calls, that something has happened: that somebody was told."""
        with self._lock:
            self._log.append(_Mark(what))

    # What can go wrong.

    def fail_sync(self, at: int = 1, *, for_good: bool = False) -> None:
        """Fail the n-th sync from now. What it was to make sure may be lost for ever.

        Args:
            at: 1 for the next one.
            for_good: fail at everything from there on, as if the power were off.
        """
        self._fail(Synced, at, for_good=for_good)

    def fail_write(self, at: int = 1, *, for_good: bool = False) -> None:
        """Fail the n-th write from now.

        Args:
            at: 1 for the next one.
            for_good: as of `fail_sync`.
        """
        self._fail(Written, at, for_good=for_good)

    def full_after(self, size: int) -> None:
        """Let so many bytes be written, and no more until `mend`.

        Args:
            size: in bytes.
        """
        left = size

        def trouble(call: SystemCall) -> int:
            nonlocal left
            if isinstance(call, Written):
                left -= len(call.data)
            return sqlite3.SQLITE_FULL if left < 0 and isinstance(call, Written) else OK

        self._trouble = trouble

    def power_off(self, at: int = 1) -> None:
        """Cut the power at the n-th call from now: it and all that follow fail and do nothing.

        Args:
            at: 1 for the next one.
        """
        self._fail(object, at, for_good=True)

    def power_on(self, loss: Loss = Loss.TORN, *, seed: int = 0) -> Image:
        """Come back after a power cut: the files become what it has left, and are sure.

        Every connection has to be closed by then, which is safe while the power is off.

        Args:
            loss: what becomes of what was not synced.
            seed: of the chance in it.

        Returns:
            What was left. The record begins anew.
        """
        with self._lock:
            platter = _Platter()
            for entry in self._log:
                platter.take(entry)
            image = _image(platter, self.calls, loss, seed)
            _clear(self._folder, self._files)
            image.write_to(self._folder)
            self._begin()
        return image

    def mend(self) -> None:
        """Do everything again that is asked."""
        self._trouble = _no_trouble

    # What would be left.

    def images(
        self, losses: Iterable[Loss] = Loss, *, seeds: Iterable[int] = (0,)
    ) -> Iterator[Image]:
        """Every folder that a power cut could have left, each different one once.

        The power is cut after each recorded call, and after each mark that follows one.

        Args:
            losses: what becomes of what was not synced.
            seeds: of the chance in it; each is tried.
        """
        losses, seeds = tuple(losses), tuple(seeds)
        platter, calls, seen = _Platter(), 0, set[bytes]()
        for entry in tuple(self._log):
            platter.take(entry)
            calls += _is_call(entry)
            for loss in losses if calls else ():
                for seed in seeds if loss in _BY_CHANCE else seeds[:1]:
                    image = _image(platter, calls, loss, seed)
                    if (digest := _digest(image)) not in seen:
                        seen.add(digest)
                        yield image

    # What the system is asked.

    def perform(self, call: SystemCall, do: Callable[[], int]) -> int:
        """Do what SQLite asks, or fail at it, and write down what is left of it."""
        with self._lock:
            failure = self._trouble(call)
            if failure != OK:
                if isinstance(call, Synced):
                    self._log.append(_Adrift(self._files[call.name]))
                return failure
            result = OK if isinstance(call, Synced) else do()
            if result == OK:
                self._log.extend(self._entries(call))
            return result

    def _begin(self) -> None:
        """Record from here, as if what is there had always been there."""
        self.mend()
        self._log: list[_Entry] = []
        self._files: dict[str, int] = {}
        self._must_sync_folder: set[int] = set()
        for name in _sqlite_files(self._folder):
            self._log.append(self._found(name))

    def _fail(self, kind: type, at: int, *, for_good: bool) -> None:
        seen = 0

        def trouble(call: SystemCall) -> int:
            nonlocal seen
            is_meant = isinstance(call, kind)
            seen += is_meant
            strikes = seen == at and is_meant
            return _FAILURES[type(call)] if strikes or (for_good and seen >= at) else OK

        self._trouble = trouble

    def _entries(self, call: SystemCall) -> Iterator[_Entry]:
        match call:
            case Opened():
                yield from self._opened(call)
            case Deleted(name, syncs_folder):
                self._files.pop(name, None)
                yield _Unnamed(name)
                if syncs_folder:
                    yield _FolderSynced()
            case Written(name, offset, data):
                yield _Data(self._files[name], offset, data)
            case Truncated(name, size):
                yield _Size(self._files[name], size)
            case Synced(name):
                file = self._files[name]
                yield _Safe(file)
                if file in self._must_sync_folder:
                    self._must_sync_folder.discard(file)
                    yield _FolderSynced()

    def _opened(self, call: Opened) -> Iterator[_Entry]:
        if call.was_there and call.name in self._files:
            return
        if call.was_there:
            yield self._found(call.name)
            return
        file = self._number(call.name)
        yield _Named(call.name, file)
        if call.syncs_folder:
            self._must_sync_folder.add(file)

    def _found(self, name: str) -> _Found:
        return _Found(name, self._number(name), (self._folder / name).read_bytes())

    def _number(self, name: str) -> int:
        self._made += 1
        self._files[name] = self._made
        return self._made


def _sqlite_files(folder: Path) -> Iterator[str]:
    """The SQLite files of a folder, and what lies beside them, but for shared memory."""
    for file in sorted(folder.iterdir()):
        if file.is_file() and _starts_as_sqlites(file):
            beside = (f"{file.name}{suffix}" for suffix in ("-wal", "-journal"))
            yield file.name
            yield from (name for name in beside if (folder / name).exists())


def _starts_as_sqlites(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(_FIRST_BYTES)) == _FIRST_BYTES


def _no_trouble(_: SystemCall) -> int:
    return OK


_FAILURES: Final[Mapping[type, int]] = MappingProxyType(
    {
        Opened: sqlite3.SQLITE_CANTOPEN,
        Written: sqlite3.SQLITE_IOERR_WRITE,
        Truncated: sqlite3.SQLITE_IOERR_TRUNCATE,
        Synced: sqlite3.SQLITE_IOERR_FSYNC,
        Deleted: sqlite3.SQLITE_IOERR_DELETE,
    }
)


# -- what is written down: files by number, since a name may be given to another one ---------------


@frozen
class _Mark:
    what: object


@frozen
class _Found:
    """A file was there, safely, when the record began, or when it was first opened."""

    name: str
    file: int
    data: bytes


@frozen
class _Named:
    """A file was created under this name."""

    name: str
    file: int


@frozen
class _Unnamed:
    name: str


@frozen
class _Data:
    file: int
    offset: int
    data: bytes


@frozen
class _Size:
    file: int
    size: int


@frozen
class _Safe:
    """A file was synced."""

    file: int


@frozen
class _Adrift:
    """The sync of a file failed: nobody will ever know what became of its data."""

    file: int


@frozen
class _FolderSynced:
    """All names, and ends of names, are sure."""


_Change = _Named | _Unnamed | _Data | _Size
_Entry = _Mark | _Found | _Change | _Safe | _Adrift | _FolderSynced


def _is_call(entry: _Entry) -> bool:
    return not isinstance(entry, _Mark | _Found)


@frozen
class _Waiting:
    """A change in the order it was asked for, and whether it is sure."""

    change: _Change
    is_safe: bool = False
    is_adrift: bool = False

    @property
    def place(self) -> int | str:
        """Changes of one place happen in their order; the folder is one, and each file is one."""
        return "folder" if isinstance(self.change, _Named | _Unnamed) else self.change.file


@frozen
class _State:
    """Names and contents."""

    names: dict[str, int] = field(factory=dict)
    contents: dict[int, bytearray] = field(factory=dict)

    def copied(self) -> _State:
        contents = {file: bytearray(data) for file, data in self.contents.items()}
        return _State(dict(self.names), contents)

    def apply(self, change: _Change) -> None:
        match change:
            case _Named(name, file):
                self.names[name] = file
            case _Unnamed(name):
                self.names.pop(name, None)
            case _Data(file, offset, data):
                content = self._extended(file, offset)
                content[offset : offset + len(data)] = data
            case _Size(file, size):
                del self._extended(file, size)[size:]

    def _extended(self, file: int, size: int) -> bytearray:
        content = self.contents.setdefault(file, bytearray())
        content.extend(bytes(max(0, size - len(content))))
        return content


_Lose = Callable[[Sequence[_Change]], Iterable[Sequence[_Change]]]
"""For each change that is not sure, in their order: what of it is there after the power cut."""


class _Platter:
    """What is surely on the disk, and what may be."""

    def __init__(self) -> None:
        self.marks: list[object] = []
        self._sure = _State()
        self._waiting: list[_Waiting] = []

    def take(self, entry: _Entry) -> None:
        """Go on by one entry of the record."""
        match entry:
            case _Mark(what):
                self.marks.append(what)
            case _Found(name, file, data):
                self._sure.names[name], self._sure.contents[file] = file, bytearray(data)
            case _Safe(file):
                self._secure(file)
            case _FolderSynced():
                self._secure("folder")
            case _Adrift(file):
                self._waiting = [
                    evolve(w, is_adrift=True) if w.place == file and not w.is_safe else w
                    for w in self._waiting
                ]
            case change:
                self._waiting.append(_Waiting(change))

    def after(self, lose: _Lose) -> dict[str, bytes]:
        """The files as a power cut leaves them, if it does this to what is not sure."""
        left = self._sure.copied()
        unsure = [w.change for w in self._waiting if not w.is_safe]
        parts = iter(lose(unsure))
        for waiting in self._waiting:
            for change in (waiting.change,) if waiting.is_safe else next(parts):
                left.apply(change)
        return {name: bytes(left.contents.get(file, b"")) for name, file in left.names.items()}

    def _secure(self, place: int | str) -> None:
        """Take for sure what is at a place, and forget the order of what need not be known."""
        blocked = set[int | str]()
        waiting: list[_Waiting] = []
        for w in self._waiting:
            is_safe = w.is_safe or (w.place == place and not w.is_adrift)
            if is_safe and w.place not in blocked:
                self._sure.apply(w.change)
            else:
                blocked.add(w.place)
                waiting.append(evolve(w, is_safe=is_safe))
        self._waiting = waiting


# -- what a power cut takes ------------------------------------------------------------------------


def _image(platter: _Platter, calls: int, loss: Loss, seed: int) -> Image:
    # S311: chance that is to be repeatable, not unguessable.
    chance = random.Random(f"{seed}/{calls}")  # noqa: S311
    files = platter.after(lambda unsure: _LOSSES[loss](unsure, chance))
    return Image(files=files, marks=tuple(platter.marks), calls=calls, loss=loss, seed=seed)


def _half(unsure: Sequence[_Change], _: random.Random) -> Iterable[Sequence[_Change]]:
    return [(change,) if n < len(unsure) // 2 else () for n, change in enumerate(unsure)]


def _some(unsure: Sequence[_Change], chance: random.Random) -> Iterable[Sequence[_Change]]:
    return [(change,) if chance.random() < _EVEN else () for change in unsure]


def _torn(unsure: Sequence[_Change], chance: random.Random) -> Iterable[Sequence[_Change]]:
    return [[part for part in _sectors(change) if chance.random() < _EVEN] for change in unsure]


def _sectors(change: _Change) -> Iterator[_Change]:
    """A change in the parts that a disk does whole or not at all."""
    if not isinstance(change, _Data):
        yield change
        return
    start, end = change.offset, change.offset + len(change.data)
    edges = [start, *range(start - start % SECTOR_BYTES + SECTOR_BYTES, end, SECTOR_BYTES), end]
    for first, last in pairwise(edges):
        yield _Data(change.file, first, change.data[first - start : last - start])


_EVEN: Final = 0.5

_LOSSES: Final[Mapping[Loss, Callable[[Sequence[_Change], random.Random], Any]]] = MappingProxyType(
    {
        Loss.NOTHING: lambda unsure, _: [(change,) for change in unsure],
        Loss.DROPPED: lambda unsure, _: [() for _ in unsure],
        Loss.HALVED: _half,
        Loss.SCATTERED: _some,
        Loss.TORN: _torn,
    }
)

_BY_CHANCE: Final = frozenset({Loss.SCATTERED, Loss.TORN})


def _digest(image: Image) -> bytes:
    digest = sha256(len(image.marks).to_bytes(8, "big"))
    for name, content in sorted(image.files.items()):
        digest.update(sha256(name.encode()).digest() + sha256(content).digest())
    return digest.digest()


def _clear(folder: Path, names: Iterable[str]) -> None:
    """Remove SQLite files, and all that lies beside them."""
    for main in {_main_file(name) for name in names}:
        for suffix in ("", *_BESIDE):
            (folder / f"{main}{suffix}").unlink(missing_ok=True)


def _main_file(name: str) -> str:
    for suffix in _BESIDE:
        name = name.removesuffix(suffix)
    return name
