"""SQLite's own calls to the system, as they happen: write, truncate, sync, create, delete.

Law of this file: it knows how SQLite is built and nothing of disks. In the very library that
Python's `sqlite3` uses, it puts a layer over SQLite's way to the system (a "VFS", see sqlite3.h).
The layer hands each call that changes a file to whoever watches the file's folder, who may have it
done, or not, or answer in its place. Reads, locks and shared memory stay as they are. Each of these
calls is one system call: pwrite, ftruncate, fsync, open, unlink.

The layer stays for as long as the process; files that nobody watches are opened as without it.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, Protocol, TypeVar

from attrs import frozen

OK: Final = sqlite3.SQLITE_OK


@frozen
class Written:
    """Bytes were written into a file, from `offset` on."""

    name: str
    offset: int
    data: bytes


@frozen
class Truncated:
    """A file was cut, or extended with zeros, to `size` bytes."""

    name: str
    size: int


@frozen
class Synced:
    """Whatever was written into a file has to be on the disk now."""

    name: str


@frozen
class Opened:
    """A file was opened.

    Attributes:
        was_there: False if it was created by being opened.
        syncs_folder: whether SQLite, at the first sync of a file it has created, syncs its folder.
    """

    name: str
    was_there: bool
    syncs_folder: bool


@frozen
class Deleted:
    """A file was deleted, and its folder synced then if `syncs_folder`."""

    name: str
    syncs_folder: bool


SystemCall = Written | Truncated | Synced | Opened | Deleted


class Watcher(Protocol):
    """Who is asked about every call to the files of one folder."""

    def perform(self, call: SystemCall, do: Callable[[], int]) -> int:
        """Have a call done by `do`, or not, and give SQLite its result.

        Args:
            call: what SQLite asks of the system.
            do: asks the system, and returns SQLite's result code: 0 when it was done.

        Returns:
            The result code that SQLite is to see.
        """
        ...


def watch(folder: Path, watcher: Watcher) -> None:
    """Ask `watcher` about the files of this folder that SQLite opens from now on.

    Args:
        folder: as SQLite names it: absolute, without links.
        watcher: who is asked.

    Raises:
        RuntimeError: the folder is watched already; or this build of Python keeps SQLite's
            functions to itself, so that no layer can be put over them.
    """
    watchers = _layer().watchers
    if os.fspath(folder) in watchers:
        raise RuntimeError("this folder is watched already")
    watchers[os.fspath(folder)] = watcher


def unwatch(folder: Path) -> None:
    """Ask no more. Files of the folder that are still open go on asking until they are closed.

    Raises:
        BaseException: what a watcher has raised meanwhile.
    """
    layer = _layer()
    layer.watchers.pop(os.fspath(folder), None)
    failures, layer.failures = layer.failures, []
    if failures:
        raise failures[0]


# -- the layer: structures and flags as in sqlite3.h -----------------------------------------------

_Address = ctypes.c_void_p
_Int = ctypes.c_int
_Offset = ctypes.c_int64

_OPEN = ctypes.CFUNCTYPE(_Int, _Address, _Address, _Address, _Int, _Address)
_DELETE = ctypes.CFUNCTYPE(_Int, _Address, _Address, _Int)
_WRITE = ctypes.CFUNCTYPE(_Int, _Address, _Address, _Int, _Offset)
_TRUNCATE = ctypes.CFUNCTYPE(_Int, _Address, _Offset)
_SYNC = ctypes.CFUNCTYPE(_Int, _Address, _Int)

_IS_JOURNAL: Final = 0x800 | 0x4000 | 0x80000  # SQLITE_OPEN_MAIN_JOURNAL, _SUPER_JOURNAL, _WAL
_SYNC_FOLDER: Final = 1
_NEWEST_KNOWN: Final = 3


class _Vfs(ctypes.Structure):
    """`sqlite3_vfs`, version 3: how SQLite opens and deletes files."""

    _fields_ = (
        ("version", _Int),
        ("file_bytes", _Int),
        ("longest_path", _Int),
        ("next", _Address),
        ("name", ctypes.c_char_p),
        ("data", _Address),
        ("open", _OPEN),
        ("delete", _DELETE),
        ("others", _Address * 14),
    )


class _Methods(ctypes.Structure):
    """`sqlite3_io_methods`, version 3: what SQLite does with an open file."""

    _fields_ = (
        ("version", _Int),
        ("close", _Address),
        ("read", _Address),
        ("write", _WRITE),
        ("truncate", _TRUNCATE),
        ("sync", _SYNC),
        ("others", _Address * 13),
    )


_Structure = TypeVar("_Structure", _Vfs, _Methods)


def _copy(kind: type[_Structure], address: int) -> _Structure:
    version = _Int.from_address(address).value
    if version != _NEWEST_KNOWN:
        raise RuntimeError(f"SQLite's {kind.__name__} is of version {version}, not 3")
    return kind.from_buffer_copy(ctypes.string_at(address, ctypes.sizeof(kind)))


class _Layer:
    """The one layer of this process, which everything hands its calls to."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.watchers: dict[str, Watcher] = {}
        self.failures: list[BaseException] = []
        self.opened = 0
        self._files: dict[int, tuple[Watcher, str]] = {}
        self._watched: dict[int, tuple[_Methods, _Methods]] = {}
        library.sqlite3_vfs_find.restype = _Address
        self._below_at: int = library.sqlite3_vfs_find(None)
        self._below = _copy(_Vfs, self._below_at)
        self._vfs = _copy(_Vfs, self._below_at)
        self._vfs.next = None
        self._vfs.name = b"payplatform"
        self._vfs.open = _OPEN(self._open)
        self._vfs.delete = _DELETE(self._delete)
        library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1)

    def _open(self, _: int, path: int | None, file: int, flags: int, flags_out: int | None) -> int:
        self.opened += 1

        def do() -> int:
            return int(self._below.open(self._below_at, path, file, flags, flags_out))

        watcher, name = self._watcher_of(path)
        if watcher is None or path is None:
            return do()
        was_there = Path(_text(path)).exists()
        call = Opened(name, was_there=was_there, syncs_folder=bool(flags & _IS_JOURNAL))
        result = self._ask(watcher, call, do)
        if result == OK:
            self._files[file] = watcher, name
            methods_at = _Address.from_address(file)
            methods_at.value = ctypes.addressof(self._watching(methods_at.value or 0))
        return result

    def _delete(self, _: int, path: int, flags: int) -> int:
        def do() -> int:
            return int(self._below.delete(self._below_at, path, flags))

        watcher, name = self._watcher_of(path)
        if watcher is None:
            return do()
        return self._ask(watcher, Deleted(name, syncs_folder=bool(flags & _SYNC_FOLDER)), do)

    def _ask(self, watcher: Watcher, call: SystemCall, do: Callable[[], int]) -> int:
        """SQLite can't be told of an exception: it sees a failed call, and `unwatch` raises it."""
        try:
            return watcher.perform(call, do)
        except BaseException as error:  # noqa: BLE001  # Ctrl-C may strike here as anywhere
            self.failures.append(error)
            return sqlite3.SQLITE_IOERR

    def _watcher_of(self, path: int | None) -> tuple[Watcher | None, str]:
        folder, name = os.path.split(_text(path)) if path else ("", "")
        return self.watchers.get(folder), name

    def _watching(self, below_at: int) -> _Methods:
        """The methods of an open file, with those that change it replaced by ours."""
        if below_at not in self._watched:
            below, ours = _copy(_Methods, below_at), _copy(_Methods, below_at)
            ours.write = _WRITE(lambda *given: self._write(below, *given))
            ours.truncate = _TRUNCATE(lambda *given: self._truncate(below, *given))
            ours.sync = _SYNC(lambda *given: self._sync(below, *given))
            self._watched[below_at] = below, ours
        return self._watched[below_at][1]

    def _write(self, below: _Methods, file: int, data: int, size: int, offset: int) -> int:
        watcher, name = self._files[file]
        call = Written(name, offset, ctypes.string_at(data, size))
        return self._ask(watcher, call, lambda: below.write(file, data, size, offset))

    def _truncate(self, below: _Methods, file: int, size: int) -> int:
        watcher, name = self._files[file]
        return self._ask(watcher, Truncated(name, size), lambda: below.truncate(file, size))

    def _sync(self, below: _Methods, file: int, flags: int) -> int:
        watcher, name = self._files[file]
        return self._ask(watcher, Synced(name), lambda: below.sync(file, flags))


def _text(path: int) -> str:
    return os.fsdecode(ctypes.string_at(path))


@cache
def _layer() -> _Layer:
    library = _library()
    if library is None:
        raise _out_of_reach()
    layer = _Layer(library)
    # Whether it is the library that `sqlite3` uses, and not another copy of it, shows when used.
    with suppress(sqlite3.OperationalError):
        sqlite3.connect("file:/payplatform/not/there?mode=ro", uri=True).close()
    if not layer.opened:
        raise _out_of_reach()
    return layer


def _library() -> ctypes.CDLL | None:
    """The library that Python's `sqlite3` uses, if its functions can be seen from outside."""
    library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
    names = ("sqlite3_vfs_find", "sqlite3_vfs_register")
    return library if all(hasattr(library, name) for name in names) else None


def _out_of_reach() -> RuntimeError:
    return RuntimeError(
        "this build of Python keeps SQLite's functions to itself: use one whose _sqlite3 is linked "
        "to a shared SQLite library, as those of Linux distributions are"
    )
