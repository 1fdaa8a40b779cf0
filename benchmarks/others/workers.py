"""A rival in a process of its own: its memory is its own, and what it needs disturbs nobody."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from benchmarks.measuring import Round
from benchmarks.others.environments import ROOT

_AT_MOST_S: Final = 600.0
"""How long an answer is waited for: that of a round, at its slowest."""


@frozen
class Rival:
    """What is measured.

    Attributes:
        name: what it is called.
        module: the one of this package that drives it.
        group: the dependency group that brings it; None where payplatform's environment will do.
    """

    name: str
    module: str
    group: str | None = None

    @property
    def does_not(self) -> str:
        """What it leaves to its user, as a list."""
        told: str = import_module(f"benchmarks.others.{self.module}").DOES_NOT
        return told


class NotMeasured(Exception):
    """A rival could not be installed, or did not do what it was told.

    Args:
        rival: which.
        why: in a line.
    """

    def __init__(self, rival: Rival, why: str) -> None:
        super().__init__(f"{rival.name}: {why}")
        self.rival = rival
        self.why = why


class Worker:
    """A rival's process, which `at_work` started; whatever goes wrong in it is `NotMeasured`."""

    def __init__(
        self, rival: Rival, process: subprocess.Popen[str], errors: Path, at_once: int
    ) -> None:
        self.rival = rival
        self.name = rival.name
        self.at_once = at_once
        self._process = process
        self._errors = errors
        self.began = self._answer()

    def ask(self, numbers: range) -> dict[str, Any]:
        """Have it take a payment for each number."""
        # One that has ended already has no ear, and its answer says why.
        with suppress(BrokenPipeError):
            print(numbers[0], numbers[-1], file=self._process.stdin, flush=True)
        return self._answer()

    def round(self, numbers: range) -> Round:
        """As many payments as there are numbers."""
        answer = self.ask(numbers)
        return Round(answer["took_s"], answer["in_all_s"], answer["processor_s"])

    def end(self) -> dict[str, Any]:
        """Let it close what it holds, and tell what it held."""
        _hang_up(self._process)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        is_late = threading.Event()

        def give_up() -> None:
            is_late.set()
            stop(self._process)

        last_moment = threading.Timer(_AT_MOST_S, give_up)
        last_moment.start()
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        last_moment.cancel()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        if is_late.is_set():
            raise NotMeasured(self.rival, f"no answer within {_AT_MOST_S:.0f} seconds")
        told = self._errors.read_text(encoding="utf-8").split("\n")
        last = next((line for line in reversed(told) if line.strip()), "it ended without a word")
        raise NotMeasured(self.rival, last)


@contextmanager
def at_work(
    rival: Rival, python: Path, folder: Path, *, at_once: int, counts: bool = False
) -> Iterator[Worker]:
    """Start a rival, and see that nothing of it is left behind.

    Args:
        rival: which.
        python: the interpreter that has what it needs.
        folder: for all that it keeps; it must be empty.
        at_once: how many payments make a round.
        counts: whether it counts commits and writes, which takes time.
    """
    words = [rival.module, str(folder), *["--count"] * counts]
    environment = dict(os.environ)
    if rival.group is not None:
        # What helps payplatform to be found would bring along what is installed beside it.
        environment.pop("PYTHONPATH", None)
    errors = folder / "errors"
    with errors.open("w", encoding="utf-8") as told:
        process = subprocess.Popen(
            [str(python), "-m", "benchmarks.others.at_work", *words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=told,
            text=True,
            start_new_session=True,
        )
    with process:
        try:
            yield Worker(rival, process, errors, at_once)
        finally:
            stop(process)
            _hang_up(process)


def stop(process: subprocess.Popen[str]) -> None:
    """End a process and what it started, at once."""
    # Where it has ended, there is nothing to end, or on macOS nothing that one may.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _hang_up(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.close()
