"""Commits of many threads under one: who comes while one is under way goes with the next.

What a commit costs is mostly the wait for the disk, and one wait does for as many as there are.
The first to come leads: it writes what is waiting, its own with it, in one transaction, and tells
each what became of its own. Who came meanwhile has one among them to lead the next. There is no
thread for this and no waiting for company: who is alone writes at once.

Law of this file: nobody is told before it is so, and nobody is left without being told, whatever
is raised where. Who waited for a leader that was interrupted is told that nobody knows.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from itertools import chain, repeat
from typing import Final
from weakref import WeakSet

from attrs import define, field

from payplatform.errors import CommitUncertain, PayPlatformError
from payplatform.storage._transactions import Work

_MOST: Final = 128
"""How many works at most are written at once: nobody waits for more than these and the next."""


@define(eq=False)
class _Waiting:
    """A work on its way.

    Attributes:
        leads: whether its thread is to write what is waiting.
        is_done: whether what became of it is known: it failed, if there is a failure.
        told: held until one of the two is so.
    """

    work: Work
    leads: bool = False
    is_done: bool = False
    failure: PayPlatformError | None = None
    told: threading.Lock = field(factory=threading.Lock)

    def ends(self, failure: PayPlatformError | None) -> None:
        """Tell what became of it. Each thread raises an exception of its own."""
        self.failure, self.is_done = copy(failure), True
        self.told.release()


_Write = Callable[[Sequence[Work]], Sequence[PayPlatformError | None]]
"""Writes works in one transaction, and says for each why it was not written, or None."""


class Sharing:
    """The writers of one store, in one process.

    Args:
        write: does the writing. What it raises is the failure of all that it was given.
    """

    def __init__(self, write: _Write) -> None:
        self._write = write
        self.start()
        _all.add(self)

    def start(self) -> None:
        """With nobody waiting, and nobody leading."""
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._has_leader = False

    def write(self, work: Work) -> None:
        """Write a work, alone or with others'. It is on the disk when this returns.

        Raises:
            PayPlatformError: it was not written, or may not have been.
        """
        mine = _Waiting(work)
        mine.told.acquire()
        try:
            with self._lock:
                self._waiting.append(mine)
                mine.leads, self._has_leader = not self._has_leader, True
            if not mine.leads:
                mine.told.acquire()
            if mine.leads:
                self._lead()
        finally:
            self._leave(mine)
        if mine.failure is not None:
            raise mine.failure

    def _lead(self) -> None:
        """Write what is waiting, which the leader's own is the first of."""
        with self._lock:
            together = [self._waiting.popleft() for _ in range(min(_MOST, len(self._waiting)))]
        failures: Sequence[PayPlatformError | None] = ()
        try:
            failures = self._write([each.work for each in together])
        except PayPlatformError as error:
            failures = [error] * len(together)
        finally:
            unknown = CommitUncertain("whoever was writing it was interrupted")
            for each, failure in zip(together, chain(failures, repeat(unknown)), strict=False):
                each.ends(failure)

    def _leave(self, mine: _Waiting) -> None:
        """Let the next one lead, if this one did; be waiting no more, if it was interrupted."""
        with self._lock:
            if not mine.is_done and mine in self._waiting:
                self._waiting.remove(mine)
            if not mine.leads:
                return
            self._has_leader = bool(self._waiting)
            if self._has_leader:
                following = self._waiting[0]
                following.leads = True
                following.told.release()


_all: WeakSet[Sharing] = WeakSet()


def _after_fork() -> None:
    """In the child there is nobody who waits, and nobody who leads."""
    for sharing in _all:
        sharing.start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
