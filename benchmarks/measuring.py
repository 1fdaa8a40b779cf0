"""Measures things in turns, so that a busy moment of the machine falls on all of them alike."""

from __future__ import annotations

import asyncio
import os
import platform
import sqlite3
import statistics
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Protocol

from attrs import evolve, frozen

Do = Callable[[int], object]
"""Does one thing; it is told its number, which is never the same twice."""

AwaitedDo = Callable[[int], Awaitable[object]]
"""The same, to be awaited."""


@frozen
class Round:
    """What was done in one go.

    Attributes:
        took_s: how long each thing took, in seconds.
        in_all_s: how long all of them took together, in seconds.
        processor_s: how long the processor worked for them, in seconds.
    """

    took_s: Sequence[float]
    in_all_s: float
    processor_s: float

    @property
    def rate(self) -> float:
        """How many were done in a second."""
        return len(self.took_s) / self.in_all_s


class Racer(Protocol):
    """What has rounds in turns with others."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def at_once(self) -> int:
        """How many things are done in a round."""

    def round(self, numbers: range) -> Round:
        """Do as many as there are numbers, and measure each."""


@frozen
class Contestant:
    """Something to be measured.

    Attributes:
        begin: is told the numbers of a round before it begins, and gives what is to be measured.
        threads: how many do it at once.
        at_once: how many things are done in a round.
    """

    name: str
    begin: Callable[[range], Do]
    threads: int
    at_once: int

    def round(self, numbers: range) -> Round:
        """Do as many as there are numbers, and measure each."""
        do = self.begin(numbers)
        took_s: list[float] = []
        shares = [numbers[at :: self.threads] for at in range(self.threads)]
        ready = threading.Barrier(self.threads + 1)

        def work(mine: range) -> None:
            ready.wait()
            for number in mine:
                began = time.perf_counter()
                do(number)
                took_s.append(time.perf_counter() - began)

        workers = [threading.Thread(target=work, args=(mine,)) for mine in shares]
        for worker in workers:
            worker.start()
        # Before they are let go: when this thread comes to its turn again is chance.
        began, worked = time.perf_counter(), time.process_time()
        ready.wait()
        for worker in workers:
            worker.join()
        in_all_s, processor_s = time.perf_counter() - began, time.process_time() - worked
        if len(took_s) != len(numbers):
            raise RuntimeError(f"{self.name}: a thread has failed")
        return Round(took_s, in_all_s, processor_s)


@frozen
class AsyncContestant:
    """Something to be measured that is awaited, by many tasks of one event loop.

    Attributes:
        begin: is told the numbers of a round before it begins, and gives what is to be measured.
        tasks: how many do it at once.
        at_once: how many things are done in a round.
    """

    name: str
    begin: Callable[[range], AwaitedDo]
    tasks: int
    at_once: int

    def round(self, numbers: range) -> Round:
        """Do as many as there are numbers, and measure each."""
        return asyncio.run(self._round(numbers))

    async def _round(self, numbers: range) -> Round:
        do = self.begin(numbers)
        took_s: list[float] = []

        async def work(mine: range) -> None:
            for number in mine:
                began = time.perf_counter()
                await do(number)
                took_s.append(time.perf_counter() - began)

        began, worked = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for at in range(self.tasks):
                group.create_task(work(numbers[at :: self.tasks]))
        in_all_s, processor_s = time.perf_counter() - began, time.process_time() - worked
        return Round(took_s, in_all_s, processor_s)


@frozen
class ProcessorOf:
    """What another would do if it never waited: its rounds last as long as the processor works."""

    name: str
    other: Racer

    @property
    def at_once(self) -> int:
        """As many as the other."""
        return self.other.at_once

    def round(self, numbers: range) -> Round:
        """A round of the other, without its waits."""
        done = self.other.round(numbers)
        return evolve(done, in_all_s=done.processor_s)


@frozen
class Result:
    """What came of measuring one contestant: its rounds, in their order."""

    name: str
    rounds: Sequence[Round]

    @property
    def rate(self) -> float:
        """Things in a second: the median of the rounds."""
        return statistics.median(each.rate for each in self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """The slowest round and the fastest, in things in a second."""
        rates = [each.rate for each in self.rounds]
        return min(rates), max(rates)

    @property
    def processor_s(self) -> float:
        """How long the processor worked for one thing, in seconds: the median of the rounds."""
        return statistics.median(each.processor_s / len(each.took_s) for each in self.rounds)

    @property
    def p99_s(self) -> float:
        """What 99 of 100 took at most, in seconds, of all rounds together: one has too few."""
        took_s = sorted(took_s for each in self.rounds for took_s in each.took_s)
        return took_s[int(len(took_s) * 0.99)]

    def of(self, floor: Result) -> float:
        """The part of a floor's rate that this one has: the median of the rounds, side by side."""
        pairs = zip(self.rounds, floor.rounds, strict=True)
        return statistics.median(mine.rate / its.rate for mine, its in pairs)


def in_turns(contestants: Sequence[Racer], *, rounds: int) -> Mapping[str, Result]:
    """Let all of them have their rounds, one after the other, after one that does not count."""
    numbers = count(1)
    done: dict[str, list[Round]] = {each.name: [] for each in contestants}
    for turn in range(rounds + 1):
        for each in contestants:
            mine = _some(numbers, each.at_once)
            result = each.round(mine)
            if turn:
                done[each.name].append(result)
    return {name: Result(name, each) for name, each in done.items()}


def _some(numbers: Iterator[int], many: int) -> range:
    first = next(numbers)
    for _ in range(many - 1):
        next(numbers)
    return range(first, first + many)


def machine(folder: Path) -> Mapping[str, str]:
    """What the figures were taken on."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "file system": _file_system(folder),
        "load at the end": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def _processor() -> str:
    cpus = Path("/proc/cpuinfo")
    if cpus.is_file():
        for line in cpus.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or sys.platform


def _file_system(folder: Path) -> str:
    mounts = Path("/proc/self/mounts")
    if not mounts.is_file():
        return "unknown"
    lines = [line.split() for line in mounts.read_text(encoding="utf-8").splitlines()]
    holding = [line for line in lines if folder.resolve().is_relative_to(line[1])]
    return max(holding, key=lambda line: len(line[1]))[2]
