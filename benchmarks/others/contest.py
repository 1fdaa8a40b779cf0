"""The contest: all rivals in turns, and whoever cannot take part is told with the reason."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Final

from attrs import frozen

from benchmarks.measuring import Result, in_turns
from benchmarks.others.environments import NotInstalled, python_for
from benchmarks.others.workers import NotMeasured, Rival, at_work

FLOOR: Final = Rival("sqlite3 alone", "least")
OURS: Final = Rival("payplatform", "ours")
RIVALS: Final = (
    FLOOR,
    OURS,
    Rival("django-payments", "django_payments", "bench-django-payments"),
    Rival("django-getpaid", "django_getpaid", "bench-django-getpaid"),
    Rival("localstripe", "localstripe", "bench-localstripe"),
)
_COUNTED: Final = range(1, 21)


@frozen(kw_only=True)
class Work:
    """What one payment is to a rival.

    Attributes:
        python: the interpreter that it runs on.
        versions: of the packages that are at work.
        read_back: what it says was captured.
        commits: those that write something.
        writes: statements that insert, update or delete.
    """

    python: Path
    versions: Mapping[str, str]
    read_back: Decimal
    commits: float
    writes: float


@frozen(kw_only=True)
class Measured:
    """What came of one rival.

    Attributes:
        rival: which.
        work: what it does for a payment.
        result: its rounds.
        peak_bytes: the most memory that it held, with what it had started.
    """

    rival: Rival
    work: Work
    result: Result
    peak_bytes: int


@frozen
class Outcome:
    """Figures for some, and for the others why there are none."""

    measured: Sequence[Measured]
    not_measured: Sequence[NotMeasured]


def hold(
    rivals: Sequence[Rival], folder: Path, environments: Path | None, *, rounds: int, at_once: int
) -> Outcome:
    """Measure them side by side.

    Args:
        rivals: those that are to take part.
        folder: for what they keep, on the disk that is to be measured.
        environments: where those of the rivals stand, or are made; None takes what is here.
        rounds: how many each has, after one that does not count.
        at_once: how many payments make a round.
    """
    able: dict[Rival, Work] = {}
    not_measured: list[NotMeasured] = []
    for rival in rivals:
        try:
            able[rival] = _work_of(rival, folder, environments)
        except NotMeasured as why:
            not_measured.append(why)
    while able:
        try:
            return Outcome(_race(able, folder, rounds=rounds, at_once=at_once), not_measured)
        except NotMeasured as why:
            # Its turns are in the others' rounds: they begin anew without it.
            not_measured.append(why)
            del able[why.rival]
    return Outcome((), not_measured)


def _work_of(rival: Rival, folder: Path, environments: Path | None) -> Work:
    python = Path(sys.executable)
    if rival.group is not None and environments is not None:
        try:
            python = python_for(rival.group, environments)
        except NotInstalled as why:
            raise NotMeasured(rival, f"cannot be installed: {why}") from why
    mine = Path(tempfile.mkdtemp(dir=folder))
    with at_work(rival, python, mine, at_once=len(_COUNTED), counts=True) as worker:
        counted = worker.ask(_COUNTED)
        return Work(
            python=python,
            versions=worker.began["versions"],
            read_back=Decimal(worker.began["read_back"]),
            commits=counted["commits"] / len(_COUNTED),
            writes=counted["writes"] / len(_COUNTED),
        )


def _race(
    able: Mapping[Rival, Work], folder: Path, *, rounds: int, at_once: int
) -> Sequence[Measured]:
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                at_work(rival, work.python, Path(tempfile.mkdtemp(dir=folder)), at_once=at_once)
            )
            for rival, work in able.items()
        ]
        results = in_turns(workers, rounds=rounds)
        return [
            Measured(
                rival=each.rival,
                work=able[each.rival],
                result=results[each.name],
                peak_bytes=each.end()["peak_bytes"],
            )
            for each in workers
        ]
