"""Commits of many threads under one: who comes while one is under way goes with the next.

What a commit costs is mostly the wait for the disk, and one wait does for as many as there are.
The first to come leads: it writes what is waiting, its own with it, in one transaction, and tells
each what became of its own. Who came meanwhile has one among them to lead the next. There is no
thread for this and no waiting for company: who is alone writes at once.

Law of this file: nobody is told before it is so, and nobody waits for ever, whatever is
raised where. A thread may be interrupted between any two steps, so none of them is relied on. What
is waiting, and what is being written, stand here and not with a thread; who leads holds a lock,
which is let go of however its thread leaves; who waits looks from time to time whether anybody
still leads. Of what a leader had taken up and not told, nobody knows what became.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from itertools import islice
from typing import Final
from weakref import WeakSet

from attrs import define, field

from payplatform.errors import CommitUncertain, PayPlatformError
from payplatform.storage._transactions import Work

_MOST: Final = 128
"""How many works at most are written at once: nobody waits for more than these and the next."""


_LOOKS_EVERY_S: Final = 1.0
"""How often who waits looks whether anybody leads."""


@define(eq=False)
class _Waiting:
    """A work on its way.

    Attributes:
        is_done: whether what became of it is known: it failed, if there is a failure.
        told: held, until its thread is to look what there is for it.
    """

    work: Work
    is_done: bool = False
    failure: PayPlatformError | None = None
    told: threading.Lock = field(factory=threading.Lock)

    def ends(self, failure: PayPlatformError | None) -> None:
        """Tell what became of it, unless it is told. Each thread raises a failure of its own."""
        if not self.is_done:
            self.failure, self.is_done = copy(failure), True
        self.wake()

    def wake(self) -> None:
        """Let its thread look."""
        if self.told.locked():
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
        self._leading = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._together: Sequence[_Waiting] = ()

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
            self._see_it_done(mine)
        except BaseException:
            self._withdraw(mine)
            raise
        if mine.failure is not None:
            raise mine.failure

    def _see_it_done(self, mine: _Waiting) -> None:
        """Wait for whoever leads, or lead."""
        while not mine.is_done:
            if self._leading.locked():
                mine.told.acquire(timeout=_LOOKS_EVERY_S)
            if mine.is_done:
                return
            try:
                with self._leading:
                    if not mine.is_done:
                        self._lead()
            finally:
                self._wake_the_next()

    def _lead(self) -> None:
        """Write what is waiting, and tell each what became of its own."""
        # There is something to settle only if whoever led before could not do it.
        self._settle()
        try:
            with self._lock:
                self._together = tuple(islice(self._waiting, _MOST))
            for each, failure in zip(self._together, self._written(), strict=True):
                each.ends(failure)
        finally:
            self._settle()

    def _written(self) -> Sequence[PayPlatformError | None]:
        if not self._together:
            return ()
        try:
            return self._write([each.work for each in self._together])
        except PayPlatformError as error:
            return [error] * len(self._together)

    def _settle(self) -> None:
        """Have nobody being written. Who was has come first, and stands first among the waiting."""
        with self._lock:
            for each in self._together:
                if not each.is_done:
                    each.ends(CommitUncertain("whoever was writing it was interrupted"))
            while self._waiting and self._waiting[0].is_done:
                self._waiting.popleft()
            self._together = ()

    def _wake_the_next(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting[0].wake()

    def _withdraw(self, mine: _Waiting) -> None:
        """Take back what nobody has taken up."""
        with self._lock:
            if mine in self._waiting and mine not in self._together:
                self._waiting.remove(mine)


_all: WeakSet[Sharing] = WeakSet()


def _after_fork() -> None:
    """In the child there is nobody who waits, and nobody who leads."""
    for sharing in _all:
        sharing.start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
