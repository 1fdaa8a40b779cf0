"""Plays many histories, on as many cores as there are, and tells what came of them.

Law of this file: what a history does depends on its seed and its number alone, never on which
process plays it or on what was played before.
"""

from __future__ import annotations

import hashlib
import importlib
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from attrs import frozen

from payplatform.banks.simulated import Fault
from payplatform.ports import Storage
from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing.simulate.drawing import HONEST_FAULTS, draw
from payplatform.testing.simulate.planting import Mutant, planted
from payplatform.testing.simulate.play import Outcome, play
from payplatform.testing.simulate.shrinking import shrink
from payplatform.testing.simulate.steps import History
from payplatform.testing.simulate.world import Face, FileShelf, MemoryShelf, Shelf

_AT_ONCE: Final = 25
"""How many histories a process is given at a time: few enough for progress to be seen."""

_SHRINKING_TRIES: Final = 600


@frozen(kw_only=True)
class Stage:
    """What histories are played on.

    Attributes:
        storage: "memory", "sqlite", or "module:function" for one of your own: the function is
            called with a folder, and opens the store that is kept there.
        face: "blocking" or "async": through which face everything is called.
    """

    storage: str = "memory"
    face: Face = "blocking"


@frozen(kw_only=True)
class Failure:
    """A history that broke a rule.

    Attributes:
        number: which history of its seed.
        rule: the name of the rule.
        text: what was found.
        history: the shortest one that breaks the same rule.
        story: what happens in it, a line each, in words.
    """

    number: int
    rule: str
    text: str
    history: History
    story: tuple[str, ...]


@frozen(kw_only=True)
class Report:
    """What came of many histories.

    Attributes:
        seed: from which they were drawn.
        histories: how many were played.
        steps: of how many steps, all together.
        struck: how often each fault struck, by name.
        excused: payments whose books were not compared, since the bank had broken a promise.
        violations: how many histories broke a rule.
        failure: the first of them, cut down.
        digest: a hash of every event of every history, in order.
        seconds: how long it took.
    """

    seed: int
    histories: int
    steps: int
    struck: dict[str, int]
    excused: int
    violations: int
    failure: Failure | None
    digest: str
    seconds: float

    def __str__(self) -> str:
        faults = ", ".join(f"{name} {count:,}" for name, count in sorted(self.struck.items()))
        return (
            f"{self.histories:,} histories, {self.steps:,} steps, {self.violations} violations, "
            f"seed {self.seed}, {self.seconds:.1f} s; events {self.digest[:16]}; "
            f"faults: {faults or 'none'}"
        )


@frozen(kw_only=True)
class _Part:
    """What came of some histories: of each, in order, its digest and the rule it broke, if any."""

    first: int
    steps: int
    struck: Counter[str]
    excused: int
    digests: tuple[bytes, ...]
    broken: tuple[int, ...]


def simulate(
    *,
    seed: int = 1,
    histories: int = 1_000,
    storage: str = "memory",
    face: Face = "blocking",
    faults: Collection[Fault] = HONEST_FAULTS,
    jobs: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Report:
    """Play histories of several merchants and callers, with everything going wrong that can.

    After each step the invariants are checked, and what each caller was told; in the end, when
    nothing goes wrong any more and recovery has run, our books are compared with the bank's.

    Args:
        seed: which histories; the same seed plays the same ones, to the byte, on every store.
        histories: how many.
        storage: "memory", "sqlite", or "module:function" for one of your own: the function is
            called with a folder, and opens the store that is kept there.
        face: "blocking" or "async": through which face everything is called.
        faults: what may go wrong at the bank; all that break no promise of it by default.
        jobs: how many processes play; one for each core by default. With 1 this process does.
        on_progress: called with the number of histories that were played since the last time.

    Returns:
        The report; `violations` is 0 if all is well.

    Raises:
        ValueError: there is no such storage.
        RuntimeError: this build of Python does not let the disk be watched.
    """
    started = time.perf_counter()
    opened(storage)
    stage = Stage(storage=storage, face=face)
    chosen = tuple(sorted(faults))
    parts = []
    for part in _parts(seed, histories, stage, chosen, jobs or os.cpu_count() or 1):
        parts.append(part)
        if on_progress is not None:
            on_progress(len(part.digests))
    parts.sort(key=lambda part: part.first)
    broken = [number for part in parts for number in part.broken]
    failure = cut_down(seed, broken[0], stage, chosen) if broken else None
    digest = hashlib.sha256(b"".join(each for part in parts for each in part.digests))
    return Report(
        seed=seed,
        histories=histories,
        steps=sum(part.steps for part in parts),
        struck=dict(sum((part.struck for part in parts), Counter[str]())),
        excused=sum(part.excused for part in parts),
        violations=len(broken),
        failure=failure,
        digest=digest.hexdigest(),
        seconds=time.perf_counter() - started,
    )


def cut_down(seed: int, number: int, stage: Stage, faults: Collection[Fault]) -> Failure:
    """The shortest story of a history that fails.

    Args:
        seed: of the histories.
        number: which of them.
        stage: what they are played on.
        faults: as for `simulate`.

    Raises:
        ValueError: it does not fail.
    """
    history = draw(seed, number, faults)
    violation = _played(history, stage).violation
    if violation is None:
        raise ValueError(f"history {number} of seed {seed} breaks no rule")
    rule = violation.rule

    def fails(shorter: History) -> bool:
        found = _played(shorter, stage).violation
        return found is not None and found.rule == rule

    history = shrink(history, fails, tries=_SHRINKING_TRIES)
    outcome = _played(history, stage)
    return Failure(
        number=number,
        rule=rule,
        text="" if outcome.violation is None else outcome.violation.text,
        history=history,
        story=(
            f"a bank {history.bank}, {history.merchants} merchants",
            *outcome.journal,
            f"broken: {outcome.violation}",
        ),
    )


def opened(storage: str) -> Callable[[Path], Storage] | None:
    """What opens a store of that name in a folder; None for the one in memory.

    Raises:
        ValueError: there is no such storage.
    """
    if storage == "memory":
        return None
    if storage == "sqlite":
        return lambda folder: SQLiteStorage(folder / "books.db")
    module, _, name = storage.partition(":")
    try:
        found: Callable[[Path], Storage] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f'storage is "memory", "sqlite" or "module:function": {error}') from error
    return found


@frozen(kw_only=True)
class Caught:
    """How a mutant was caught.

    Attributes:
        mutant: which.
        histories: how many it took; None if that many did not catch it.
        broken: the rule that was broken, and what was found.
    """

    mutant: Mutant
    histories: int | None
    broken: str


def catch(mutant: Mutant, *, seed: int = 1, histories: int = 5_000) -> Caught:
    """Plant a defect, and play histories until one breaks a rule.

    Args:
        mutant: the defect.
        seed: which histories.
        histories: how many at most.
    """
    with planted(mutant):
        for number in range(histories):
            violation = _played(draw(seed, number), Stage(storage=mutant.storage)).violation
            if violation is not None:
                return Caught(mutant=mutant, histories=number + 1, broken=str(violation))
    return Caught(mutant=mutant, histories=None, broken="")


def _parts(
    seed: int, histories: int, stage: Stage, faults: Sequence[Fault], jobs: int
) -> Iterator[_Part]:
    """The histories in parts, in the order in which they are ready."""
    starts = range(0, histories, _AT_ONCE)
    pieces = [range(start, min(start + _AT_ONCE, histories)) for start in starts]
    if jobs == 1:
        for numbers in pieces:
            yield _part(seed, numbers, stage, faults)
        return
    # Spawned, since a history may have threads that a fork would leave behind.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        ready = [pool.submit(_part, seed, numbers, stage, faults) for numbers in pieces]
        for each in as_completed(ready):
            yield each.result()


def _part(seed: int, numbers: range, stage: Stage, faults: Sequence[Fault]) -> _Part:
    outcomes = [_played(draw(seed, number, faults), stage) for number in numbers]
    return _Part(
        first=numbers.start,
        steps=sum(outcome.steps for outcome in outcomes),
        struck=sum((Counter(outcome.struck) for outcome in outcomes), Counter[str]()),
        excused=sum(outcome.excused for outcome in outcomes),
        digests=tuple(outcome.digest for outcome in outcomes),
        broken=tuple(
            number
            for number, outcome in zip(numbers, outcomes, strict=True)
            if outcome.violation is not None
        ),
    )


def _played(history: History, stage: Stage) -> Outcome:
    with _shelf(stage.storage) as shelf:
        return play(history, shelf, stage.face)


@contextmanager
def _shelf(storage: str) -> Iterator[Shelf]:
    open_store = opened(storage)
    with ExitStack() as ending:
        if open_store is None:
            yield MemoryShelf()
            return
        folder = ending.enter_context(tempfile.TemporaryDirectory(prefix="payplatform-"))
        yield FileShelf(Path(folder), open_store)
