"""What is measured: each figure with its floors, what it is to reach, and why that is the floor."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from attrs import field, frozen

from benchmarks import floors
from benchmarks.measuring import (
    AsyncContestant,
    Contestant,
    Do,
    ProcessorOf,
    Racer,
    Result,
    in_turns,
)
from benchmarks.shops import AsyncShop, Shop
from payplatform import Card
from payplatform.storage.memory import MemoryStorage
from payplatform.storage.sqlite import SQLiteStorage

OURS = "payplatform"
_KEY = "template-key"
_BUSY_S = 60.0


@frozen(kw_only=True)
class Target:
    """What is to be reached beside a floor.

    Attributes:
        part: of its rate, at least.
        p99_times: its p99, at most so many times; None where nothing is said of that.
    """

    floor: str
    part: float
    p99_times: float | None = None


@frozen(kw_only=True)
class Figure:
    """What came of one comparison.

    Attributes:
        ours: which of the results is compared with the others.
    """

    name: str
    results: Mapping[str, Result]
    targets: Sequence[Target] = field(default=())
    ours: str = OURS


class OneFile:
    """A shop on a file, and the floor on a copy of it, with the rows of one thing to do.

    Args:
        folder: for both files.
        what: the name of what the shop does.
        at_once: how many of it make a round.
    """

    def __init__(self, folder: Path, what: str, *, at_once: int) -> None:
        self._at_once = at_once
        file, copy = folder / f"{what}.db", folder / f"{what}-floor.db"
        with floors.recording() as recorded:
            shop = Shop(SQLiteStorage(file))
            recorded.forget()
            getattr(shop, what)(_KEY)
            self._template = floors.Template(
                recorded.transactions(), key=_KEY, known=recorded.known
            )
            shop.pay.close()
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        self.copy = copy
        ours = Shop(SQLiteStorage(folder / f"{what}-ours.db", busy_timeout_s=_BUSY_S))
        self._do: Callable[[str], object] = getattr(ours, what)
        self._do("the-first-one")

    def ours(self, threads: int = 1) -> Contestant:
        """The library."""
        return Contestant(
            OURS, lambda _: lambda number: self._do(f"key-{number}"), threads, self._at_once
        )

    def one_commit_each(self, threads: int = 1) -> Contestant:
        """The floor: the same rows, in as many transactions, each with a commit of its own.

        Threads take their turns by a lock: SQLite would have them sleep, and wait for longer.
        """
        connection, turn = floors.connect(self.copy), threading.Lock()

        def write(steps: floors.Transaction) -> None:
            with turn:
                floors.write(connection, steps)

        return Contestant("one commit each", self._replay(write), threads, self._at_once)

    def shared_commits(self, threads: int) -> Contestant:
        """The floor of those who share: the same, with one commit for all who are waiting."""
        shared = floors.Shared(floors.connect(self.copy))
        return Contestant("shared commits", self._replay(shared.write), threads, self._at_once)

    def _replay(self, write: Callable[[floors.Transaction], object]) -> Callable[[range], Do]:
        def begin(numbers: range) -> Do:
            prepared = {number: self._template.again(number) for number in numbers}

            def do(number: int) -> None:
                for steps in prepared[number]:
                    write(steps)

            return do

        return begin


def one_thread(folder: Path, rounds: int) -> Figure:
    """A charge with everything on, one after the other."""
    file = OneFile(folder, "charge", at_once=100)
    return Figure(
        name="charge, one thread",
        results=in_turns([file.one_commit_each(), file.ours()], rounds=rounds),
        targets=[Target(floor="one commit each", part=0.8)],
    )


def whole_life(folder: Path, rounds: int) -> Figure:
    """Authorize, capture, refund and read one payment."""
    file = OneFile(folder, "whole_life", at_once=40)
    return Figure(
        name="authorize, capture, refund, get; one thread",
        results=in_turns([file.one_commit_each(), file.ours()], rounds=rounds),
        targets=[Target(floor="one commit each", part=0.7)],
    )


def many_threads(folder: Path, rounds: int, *, threads: int) -> Figure:
    """Charges of many threads at once, which share the wait for the disk."""
    file = OneFile(folder, "charge", at_once=threads * 6)
    contestants = [
        file.one_commit_each(threads),
        file.shared_commits(threads),
        file.ours(threads),
    ]
    return Figure(
        name=f"charge, {threads} threads",
        results=in_turns(contestants, rounds=rounds),
        targets=[
            Target(floor="one commit each", part=1.8, p99_times=3),
            Target(floor="shared commits", part=0.6, p99_times=3),
        ],
    )


def slow_bank(folder: Path, rounds: int, *, threads: int, latency_s: float) -> Figure:
    """Charges of many threads behind a slow bank: what its latency allows is the limit."""
    shop = Shop(SQLiteStorage(folder / "slow.db", busy_timeout_s=_BUSY_S), latency_s=latency_s)
    pause = threading.Event()
    contestants = [
        Contestant(
            "latency alone", lambda _: lambda _: pause.wait(latency_s), threads, threads * 4
        ),
        Contestant(OURS, lambda _: lambda n: shop.charge(f"key-{n}"), threads, threads * 4),
    ]
    return Figure(
        name=f"charge, {threads} threads, a bank of {latency_s * 1000:.0f} ms",
        results=in_turns(contestants, rounds=rounds),
        targets=[Target(floor="latency alone", part=0.9)],
    )


def slow_bank_async(
    folder: Path, rounds: int, *, tasks: int, latency_s: float, waves: int = 4
) -> Figure:
    """Charges of many tasks of one event loop behind a slow bank.

    So many could wait that the processor is the limit and not the latency: the lower one counts. It
    is what a charge costs a single thread that waits for nobody and shares its commits with nobody.
    """
    shop = asyncio.run(AsyncShop.opened(_store(folder / "async.db"), latency_s=latency_s))
    alone = Shop(_store(folder / "alone.db"))
    charges: Do = lambda number: alone.charge(f"key-{number}")  # noqa: E731  # one of a row
    at_once = tasks * waves
    contestants: list[Racer] = [
        AsyncContestant(
            "latency alone", lambda _: lambda _: asyncio.sleep(latency_s), tasks, at_once
        ),
        ProcessorOf(
            "the processor alone",
            Contestant("one thread", lambda _: charges, 1, max(tasks // 4, 1)),
        ),
        AsyncContestant(OURS, lambda _: lambda n: shop.charge(f"key-{n}"), tasks, at_once),
    ]
    results = in_turns(contestants, rounds=rounds)
    limit = min(results.values(), key=lambda result: (result.name == OURS, result.rate))
    return Figure(
        name=f"charge, {tasks:,} tasks, a bank of {latency_s * 1000:.0f} ms",
        results=results,
        targets=[Target(floor=limit.name, part=0.9)],
    )


def _store(file: Path) -> SQLiteStorage:
    return SQLiteStorage(file, busy_timeout_s=_BUSY_S)


def tokenize(folder: Path, rounds: int) -> Figure:
    """Cards replaced by tokens, in memory."""
    del folder
    shop, number = Shop(MemoryStorage()), "4242 4242 4242 4242"
    create, card = shop.client.payment_methods.create, Card(number, "12/40")
    floor = floors.tokenizing(number.encode())
    contestants = [
        Contestant("a seal, a fingerprint", lambda _: floor, 1, 1_000),
        Contestant(OURS, lambda _: lambda _: create(card=card), 1, 1_000),
    ]
    return Figure(
        name="tokenize, in memory; 20,000 a second are wanted",
        results=in_turns(contestants, rounds=rounds),
    )


def imported(folder: Path, rounds: int) -> Figure:
    """How long an import takes, in a process of its own."""

    def importing(module: str) -> Contestant:
        command = [sys.executable, "-c", f"import {module}"]
        do: Do = lambda _: subprocess.run(command, check=True, cwd=folder)  # noqa: E731, S603  # ours
        return Contestant(f"import {module}", lambda _: do, 1, 3)

    return Figure(
        name="import, with the start of Python",
        results=in_turns([importing("attrs"), importing("payplatform")], rounds=rounds),
        ours="import payplatform",
    )


def bytes_of_a_payment(folder: Path) -> Mapping[str, float]:
    """What one charge adds to the file, in bytes, by table and index."""
    charges = 2_000
    shop = Shop(SQLiteStorage(folder / "size.db"))
    before = _sizes(folder / "size.db")
    for number in range(charges):
        shop.charge(f"key-{number}")
    shop.pay.close()
    after = _sizes(folder / "size.db")
    grown = {name: (after[name] - before.get(name, 0)) / charges for name in after}
    return dict(sorted(grown.items(), key=lambda item: -item[1]))


def _sizes(file: Path) -> dict[str, int]:
    """The bytes of the pages of each table and index."""
    copy = file.with_suffix(".copy")
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        names = target.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name")
        sizes = {str(name): int(size) for name, size in names}
    copy.unlink()
    return sizes


FIGURES: Mapping[str, Callable[[Path, int], Figure]] = {
    "charge": one_thread,
    "life": whole_life,
    "threads-32": partial(many_threads, threads=32),
    "threads-64": partial(many_threads, threads=64),
    "slow-bank": partial(slow_bank, threads=64, latency_s=0.05),
    "async-1000": partial(slow_bank_async, tasks=1_000, latency_s=0.05),
    "tokenize": tokenize,
    "import": imported,
}
"""Each figure by the name that it is asked for."""


def taken(name: str, folder: Path, rounds: int) -> Figure:
    """Take one figure, in a folder of its own that is removed."""
    own = folder / name
    own.mkdir()
    try:
        return FIGURES[name](own, rounds)
    finally:
        shutil.rmtree(own, ignore_errors=True)
