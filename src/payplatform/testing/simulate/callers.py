"""Callers that can stand still between any two port calls.

Law of this file: one caller runs at a time, and where it stands still is data. So the order of
everything that happens is decided by the history alone, and a seed replays it. A caller that never
stands still runs where it is started; the others have a thread each, which hand the turn to one
another.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from attrs import frozen

from payplatform.banks.simulated import FAULTS, Call, Fault
from payplatform.testing.simulate.steps import StoreFault, Trouble


class Died(BaseException):
    """The process is gone: nothing that it has not written is left, and nothing more happens."""


@frozen
class Told:
    """What a caller got in the end: a value, an error, or `Died`."""

    value: object

    @property
    def is_death(self) -> bool:
        """Whether the caller did not live to be told anything."""
        return isinstance(self.value, Died)


class Caller:
    """One call, from its start to its end.

    Args:
        number: what a story calls it.
        is_dead: whether the process that it runs in is gone.
        call: what it does.
        trouble: what goes wrong meanwhile.

    Attributes:
        told: what it got, once it has ended.
        sent: how many requests of its own it has handed to the bank.
    """

    def __init__(
        self, number: int, is_dead: Callable[[], bool], call: Callable[[], object], trouble: Trouble
    ) -> None:
        self.number = number
        self.told: Told | None = None
        self.sent = 0
        self._is_dead = is_dead
        self._call = call
        self._stops = frozenset(trouble.stops)
        self._bank_faults = deque(trouble.bank)
        self._commit_faults = dict(trouble.commits)
        self._calls = 0
        self._commits = 0
        self._thread: threading.Thread | None = None
        self._may_go = threading.Semaphore(0)
        self._has_stopped = threading.Semaphore(0)

    def run(self) -> bool:
        """Run until it stands still or ends; tell whether it has ended."""
        if self._thread is not None:
            self._may_go.release()
        elif not self._stops:
            self._play()
            return True
        else:
            self._thread = threading.Thread(target=self._play_and_tell, daemon=True)
            self._thread.start()
        self._has_stopped.acquire()
        if self.told is None:
            return False
        # What the thread had open is closed when it has ended, and not some time later.
        self._thread.join()
        return True

    def go_on(self, calls: int | None) -> bool:
        """Run for so many port calls more, or to the end; tell whether it has ended."""
        self._stops = frozenset() if calls is None else frozenset({self._calls + calls})
        return self.run()

    @property
    def is_doomed(self) -> bool:
        """Whether its process is gone, so that it has nothing more to do than to end."""
        return self._is_dead()

    def meet(self) -> None:
        """Come to a port call: stand still where it is time to, and die with the process."""
        self._calls += 1
        if self._calls in self._stops:
            self._has_stopped.release()
            self._may_go.acquire()
        if self._is_dead():
            raise Died

    def bank_fault(self, call: Call) -> Fault | None:
        """What goes wrong with this call to the bank."""
        if not self._bank_faults or call not in FAULTS[self._bank_faults[0]].calls:
            return None
        return self._bank_faults.popleft()

    def commit_fault(self) -> StoreFault | None:
        """What becomes of this commit."""
        self._commits += 1
        return self._commit_faults.get(self._commits)

    def _play_and_tell(self) -> None:
        self._play()
        self._has_stopped.release()

    def _play(self) -> None:
        try:
            value = self._call()
            self.meet()
        except BaseException as error:  # noqa: BLE001  # whatever it is, the caller was told it
            value = error
        self.told = Told(value)
