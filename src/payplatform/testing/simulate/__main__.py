"""`python -m payplatform.testing.simulate`: play histories, or see that planted defects are caught.

Law of this file: it reads arguments and prints; what is played is decided elsewhere.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import get_args

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from payplatform.banks.simulated import Fault
from payplatform.testing.simulate.drawing import HONEST_FAULTS
from payplatform.testing.simulate.mutants import MUTANTS
from payplatform.testing.simulate.running import Report, Stage, catch, cut_down, opened, simulate
from payplatform.testing.simulate.world import Face

_GROUPS = {
    "honest": HONEST_FAULTS,
    "all": frozenset(Fault),
    "none": frozenset[Fault](),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: of the command line; those of this program by default.

    Returns:
        The exit code: 0 if no rule was broken, or every mutant was caught; else 1.
    """
    given = _parser().parse_args(arguments)
    seed = secrets.randbelow(1_000_000_000) if given.seed is None else given.seed
    if given.mutants:
        return _catch_all(seed, given.histories)
    faults = frozenset().union(*(_GROUPS.get(name) or {Fault(name)} for name in given.faults))
    stage = Stage(storage=given.storage, face=given.face)
    print(
        f"seed {seed}, {given.histories:,} histories, storage {stage.storage}, {stage.face} face",
        flush=True,
    )
    if given.history is not None:
        return _tell(cut_down(seed, given.history, stage, faults).story)
    with _progress(given.histories) as on_progress:
        report = simulate(
            seed=seed,
            histories=given.histories,
            storage=stage.storage,
            face=stage.face,
            faults=faults,
            jobs=given.jobs,
            on_progress=on_progress,
        )
    return _tell_report(report, stage)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m payplatform.testing.simulate",
        description="Play histories in which everything goes wrong that can, and judge them.",
    )
    parser.add_argument("--seed", type=int, help="which histories; a fresh one, printed, if absent")
    parser.add_argument("--histories", type=_count, default=1_000, help="how many (1000)")
    parser.add_argument(
        "--storage",
        type=_storage,
        default="memory",
        metavar="memory|sqlite|MODULE:FUNCTION",
        help="where they are kept; a function of yours opens a store in the folder it is given",
    )
    parser.add_argument(
        "--face",
        choices=get_args(Face),
        default="blocking",
        help="how everything is called: blocking (the default), or awaited (needs the extra async)",
    )
    parser.add_argument(
        "--faults",
        nargs="+",
        default=["honest"],
        choices=[*_GROUPS, *map(str, Fault)],
        metavar="FAULT",
        help="what may go wrong at the bank: honest (the default), all, none, or faults by name",
    )
    parser.add_argument("--jobs", type=_count, help="how many processes play (one for each core)")
    parser.add_argument("--history", type=int, help="tell only the story of this failing history")
    parser.add_argument("--mutants", action="store_true", help="see that each mutant is caught")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _storage(text: str) -> str:
    try:
        opened(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


@contextmanager
def _progress(histories: int) -> Iterator[Callable[[int], None] | None]:
    """A bar, where somebody is there to see it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=histories)
        yield lambda played: bar.advance(task, played)


def _tell_report(report: Report, stage: Stage) -> int:
    print(report)
    if report.failure is None:
        return 0
    _tell(report.failure.story)
    print(
        "again: python -m payplatform.testing.simulate "
        f"--seed {report.seed} --storage {stage.storage} --face {stage.face} "
        f"--history {report.failure.number}"
    )
    return 1


def _tell(story: Sequence[str]) -> int:
    print("\n".join(("", *story)))
    return 1


def _catch_all(seed: int, histories: int) -> int:
    """Plant each defect in turn, and tell how many histories it took to catch it."""
    print(f"seed {seed}, at most {histories:,} histories for each mutant")
    missed = 0
    for mutant in MUTANTS:
        caught = catch(mutant, seed=seed, histories=histories)
        took = "NOT CAUGHT" if caught.histories is None else f"{caught.histories:,}"
        missed += caught.histories is None
        print(f"{mutant.name:26} {took:>10}  {caught.broken[:90]}", flush=True)
    print(f"{len(MUTANTS) - missed} of {len(MUTANTS)} mutants caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
