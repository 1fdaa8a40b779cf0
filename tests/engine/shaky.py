"""A store that fails when it is told to, and the ways in which a commit can fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from payplatform import Conflict, ErrorCode, StorageUnavailable
from payplatform.errors import CommitUncertain, StorageBusy
from payplatform.ports import Changes, Storage

Commit = Callable[[Changes], None]
Fails = Callable[[Commit, Changes], None]
"""What becomes of a commit, given the real one and its changes."""


def done_but_uncertain(commit: Commit, changes: Changes) -> None:
    commit(changes)
    raise CommitUncertain("the disk failed while it was told to keep it")


def not_done_and_uncertain(_: Commit, __: Changes) -> None:
    raise CommitUncertain("the disk failed while it was told to keep it")


def busy(_: Commit, __: Changes) -> None:
    raise StorageBusy("others were at it for too long")


def unavailable(_: Commit, __: Changes) -> None:
    raise StorageUnavailable("the disk is full", code=ErrorCode.STORAGE_FULL)


def stale(_: Commit, __: Changes) -> None:
    raise Conflict("somebody else was first")


class Shaky:
    """A store one of whose commits meets a fault; counted from 1, from when it was told so."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._plan: dict[int, Fails] = {}
        self._commits = 0
        self._goes_blind = False
        self._is_blind = False

    def fail(
        self,
        at: int,
        fault: Fails,
        *,
        times: int = 1,
        goes_blind: bool = False,
    ) -> None:
        """Meet a fault at that commit and the next ones; and then, maybe, read nothing any more."""
        self._plan = dict.fromkeys(range(at, at + times), fault)
        self._commits = 0
        self._goes_blind = goes_blind

    def get_well(self) -> None:
        self._plan, self._goes_blind, self._is_blind = {}, False, False

    def commit(self, changes: Changes) -> None:
        self._commits += 1
        fault = self._plan.get(self._commits)
        if fault is None:
            self._storage.commit(changes)
            return
        self._is_blind = self._goes_blind
        fault(self._storage.commit, changes)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._storage, name)

        def read(*args: Any, **kwargs: Any) -> Any:
            if self._is_blind:
                raise StorageUnavailable("nothing can be read")
            return method(*args, **kwargs)

        return read


def named(value: object) -> str | None:
    """What pytest is to call a fault."""
    return getattr(value, "__name__", None)
