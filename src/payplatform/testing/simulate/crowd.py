"""Everybody who is in the middle of a call: those who stand still, and what ends them.

Law of this file: it starts callers, wakes them and lets them die, and says so in the journal. What
they do, and what is thought of what they are told, comes with them.
"""

from __future__ import annotations

from collections.abc import Callable

from payplatform._domain.disputes import Dispute
from payplatform._domain.payments import Payment
from payplatform._domain.payouts import Payout
from payplatform._domain.records import PaymentMethod
from payplatform.errors import PayPlatformError
from payplatform.testing.simulate.callers import Caller
from payplatform.testing.simulate.steps import Trouble
from payplatform.testing.simulate.world import World

Ended = Callable[[Caller], None]
"""Looks at what a caller was told, once it was."""


class Crowd:
    """The callers of a world.

    Args:
        world: in which they are.
        journal: where it is written what happens to them.
    """

    def __init__(self, world: World, journal: list[str]) -> None:
        self._world = world
        self._journal = journal
        self._started = 0
        self._asleep: list[tuple[Caller, Ended]] = []

    def start(
        self, process: int, call: Callable[[], object], trouble: Trouble, ended: Ended
    ) -> None:
        """Make a call in a process, as far as it gets."""
        self._started += 1
        caller = Caller(self._started, self._world.processes[process].life, call, trouble)
        with self._world.turn_of(caller):
            has_ended = caller.run()
        self._after(caller, ended, has_ended=has_ended)

    def go_on(self, place: int, calls: int | None) -> None:
        """Wake one of those who stand still: for so many port calls, or to its end."""
        if not self._asleep:
            return
        caller, ended = self._asleep.pop(place % len(self._asleep))
        with self._world.turn_of(caller):
            has_ended = caller.go_on(calls)
        self._after(caller, ended, has_ended=has_ended)

    def wake_all(self, check: Callable[[], None]) -> None:
        """Let everybody come to an end, one by one, and look at what came of each."""
        while self._asleep:
            self.go_on(0, None)
            check()

    def crash(self, process: int) -> None:
        """One process dies, with all who are in it, and another takes its place."""
        self._world.processes[process].die()
        self._end_the_dead()
        self._world.restart(process)

    def cut_power(self, seed: int) -> None:
        """All processes die."""
        for process in self._world.processes:
            process.die()
        self._end_the_dead()
        self._world.cut_power(seed)

    def end_all(self) -> None:
        """End every caller that still stands still, whatever it would do."""
        for process in self._world.processes:
            process.die()
        for caller, _ in self._asleep:
            caller.go_on(None)

    def _after(self, caller: Caller, ended: Ended, *, has_ended: bool) -> None:
        if not has_ended:
            self._journal.append(f"   caller {caller.number} stands still")
            self._asleep.append((caller, ended))
            return
        self._journal.append(f"   caller {caller.number} was told: {_said(caller)}")
        ended(caller)

    def _end_the_dead(self) -> None:
        """Let those who have died with their process come to their end."""
        asleep, self._asleep = self._asleep, []
        for caller, ended in asleep:
            if not caller.is_doomed:
                self._asleep.append((caller, ended))
                continue
            with self._world.turn_of(caller):
                caller.go_on(None)
            self._after(caller, ended, has_ended=True)


def _said(caller: Caller) -> str:
    """What a caller was told, in a few words."""
    value = caller.told.value if caller.told else None
    match value:
        case Payment() | Payout():
            replayed = " (replayed)" if value.replayed else ""
            return f"{value.status}{replayed}"
        case PaymentMethod():
            return "verified"
        case Dispute():
            return str(value.state)
        case PayPlatformError():
            return f"{type(value).__name__} ({value.code})"
        case BaseException():
            return type(value).__name__
        case _:
            return "done"
