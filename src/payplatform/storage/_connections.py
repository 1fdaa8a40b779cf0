"""Connections: one for each thread, none across a fork, and none to a file that is gone.

Law of this file: no connection is open while a process forks. A child that has inherited one must
not use it, since its COMMIT would commit the parent's transaction; must not close it; and must not
even open another one, since SQLite counts the locks of a file once for each process and would take
the parent's for its own: when the parent then closes, the log vanishes under the child's commits.
So a fork waits until no thread is at the store, all connections are closed, and each thread opens
its own again when it needs one. It took an experiment to learn this: six commits were acknowledged
to such a child, and five were gone.

And no connection is used once another file, or none, is found under the path: what is committed to
a file without a name is lost with the process, and SQLite would not say so.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, Generic, TypeVar
from weakref import ref

from payplatform.errors import StorageUnavailable

T = TypeVar("T")

_FORK_WAIT_S: Final = 30.0

_gate = threading.RLock()
"""Held while a process forks, and while a thread comes to a store for the first time."""


class _Living(Generic[T]):
    """Things for as long as they are there.

    Adding makes the list anew, so that it can be walked through without a lock. Who adds holds the
    gate.
    """

    def __init__(self) -> None:
        self._references: tuple[ref[T], ...] = ()

    def add(self, thing: T) -> None:
        living = (reference for reference in self._references if reference() is not None)
        self._references = (*living, ref(thing))

    def __iter__(self) -> Iterator[T]:
        for reference in self._references:
            thing = reference()
            if thing is not None:
                yield thing


_File = tuple[int, int]
"""Which file it is, whatever it is called: device and number on it."""


class _Held:
    """One thread's connection. Whoever uses or closes it holds the lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.connection: sqlite3.Connection | None = None
        self.file: _File | None = None
        self._process = os.getpid()

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def __del__(self) -> None:
        # The thread has ended. What was inherited stays open until the process ends.
        if self.connection is not None and self._process != os.getpid():
            _inherited.append(self.connection)
        else:
            self.close()


_inherited: list[sqlite3.Connection] = []


class Connections:
    """The connections of one store, each opened when its thread first needs it.

    Args:
        path: of the file.
        open_one: opens one; it is told whether it is the store's first.
    """

    def __init__(self, path: str, open_one: Callable[[bool], sqlite3.Connection]) -> None:
        self._path = path
        self._open_one = open_one
        self._is_first = True
        self._local = threading.local()
        self._held: _Living[_Held] = _Living()
        self._process = os.getpid()
        self._closed = False
        with _gate:
            _stores.add(self)

    @contextmanager
    def mine(self) -> Iterator[sqlite3.Connection]:
        """The calling thread's connection, and nobody else's until the block ends.

        Raises:
            StorageUnavailable: the store is closed, or open connections were inherited; and
                whatever opening raises.
        """
        held = self._of_this_thread()
        with held.lock:
            file = self._file()
            is_own = self._process == os.getpid()
            if is_own and held.file != file:
                held.close()
            if held.connection is None or not is_own:
                held.connection, held.file = self._opened(), file
            yield held.connection

    def discard(self) -> None:
        """Close the calling thread's connection; the next use opens another one."""
        held = self._of_this_thread()
        with held.lock:
            held.close()

    def close(self) -> None:
        """Close every connection, once nobody uses it any more. A second time does nothing."""
        self._closed = True
        with _gate:
            for held in self._held:
                with held.lock:
                    held.close()

    def _of_this_thread(self) -> _Held:
        try:
            held: _Held = self._local.held
        except AttributeError:
            held = _Held()
            with _gate:
                self._held.add(held)
            self._local.held = held
        return held

    def _file(self) -> _File | None:
        """The file that is under the path now; None if there is none, or it can't be seen."""
        try:
            found = os.stat(self._path)  # noqa: PTH116  # asked at every use: no Path is made for it
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _opened(self) -> sqlite3.Connection:
        if self._closed:
            raise StorageUnavailable("the store is closed")
        if any(store.is_inherited for store in _stores):
            raise StorageUnavailable(
                "this process inherited open connections, from a fork that Python was not told of; "
                "open stores after such a fork, never before"
            )
        self._process = os.getpid()
        connection = self._open_one(self._is_first)
        self._is_first = False
        return connection

    @property
    def is_inherited(self) -> bool:
        """Whether another process, a parent of this one, had connections open when it forked."""
        inherited = self._process != os.getpid()
        return inherited and any(held.connection is not None for held in self._held)

    def pause(self) -> list[_Held]:
        """Close everything and keep it closed; what is in use for too long is left alone."""
        at_rest = [held for held in self._held if held.lock.acquire(timeout=_FORK_WAIT_S)]
        for held in at_rest:
            held.close()
        return at_rest


_stores: _Living[Connections] = _Living()
_paused: list[_Held] = []


def _before_fork() -> None:
    _gate.acquire()
    for store in _stores:
        _paused.extend(store.pause())


def _after_fork() -> None:
    while _paused:
        _paused.pop().lock.release()
    _gate.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
