"""A rival at work, in a process of its own: `python -m benchmarks.others.at_work MODULE FOLDER`.

It takes one payment, and tells what it read back. Then each line that it is sent is a first and a
last number: it takes a payment for each, and tells how long they took. When no more come, it tells
its memory. With `--count` it counts commits and writes meanwhile; that takes time of its own.

It runs where the rival is installed and payplatform is not: here is nothing but Python.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import sys
import time
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from sqlite3 import dbapi2
from typing import Any, Final

from benchmarks.others.till import Pay

_WRITES: Final = ("INSERT", "UPDATE", "DELETE", "REPLACE")
_FIRST: Final = 0
"""The number of the payment by which a rival shows that it works."""


class Counted:
    """What the connections that are opened from now on do: commits that write, and their writes."""

    def __init__(self) -> None:
        self.commits = self.writes = 0
        connect = sqlite3.connect

        def connect_and_count(*given: Any, **more: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*given, **more)
            connection.set_trace_callback(_Reader(self).read)
            return connection

        # Two names for one thing, and Django goes by the second.
        for module in (sqlite3, dbapi2):
            vars(module)["connect"] = connect_and_count


class _Reader:
    """Reads the statements of one connection."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted
        self._is_in_transaction = self._has_written = False

    def read(self, statement: str) -> None:
        word = statement.split(None, 1)[0].upper().rstrip(";")
        if word == "BEGIN":
            self._is_in_transaction, self._has_written = True, False
        elif word in _WRITES:
            self._counted.writes += 1
            self._has_written = True
            # Outside of a transaction a statement is one by itself.
            self._counted.commits += not self._is_in_transaction
        elif word in {"COMMIT", "END"}:
            self._counted.commits += self._is_in_transaction and self._has_written
            self._is_in_transaction = False
        elif word == "ROLLBACK" and " TO " not in statement.upper():
            self._is_in_transaction = False


def main() -> None:
    """Open the rival, and do as the lines say."""
    module, folder, *more = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr  # what a rival prints is no answer

    def tell(answer: Mapping[str, Any]) -> None:
        answers.write(f"{json.dumps(answer)}\n")
        answers.flush()

    counted = Counted() if more == ["--count"] else None
    rival = import_module(f"benchmarks.others.{module}")
    with rival.opened(Path(folder)) as pay:
        versions = {package: version(package) for package in rival.PACKAGES}
        tell({"versions": versions, "read_back": str(pay(_FIRST))})
        for line in sys.stdin:
            first, last = map(int, line.split())
            before = counted and (counted.commits, counted.writes)
            answer = taken(pay, range(first, last + 1))
            if counted and before:
                answer["commits"] = counted.commits - before[0]
                answer["writes"] = counted.writes - before[1]
            tell(answer)
    tell({"peak_bytes": peak_bytes()})


def taken(pay: Pay, numbers: range) -> dict[str, Any]:
    """Take a payment for each number: how long each took, and all of them, in seconds."""
    took_s = []
    began, worked = time.perf_counter(), time.process_time()
    for number in numbers:
        before = time.perf_counter()
        pay(number)
        took_s.append(time.perf_counter() - before)
    return {
        "took_s": sorted(took_s),
        "in_all_s": time.perf_counter() - began,
        "processor_s": time.process_time() - worked,
    }


def peak_bytes() -> int:
    """The most memory that this process ever held, and what the largest that it started held."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    status = Path("/proc/self/status")
    if status.is_file():
        # Linux counts into ru_maxrss what the process held that started this one.
        (line,) = (each for each in status.read_text().splitlines() if each.startswith("VmHWM"))
        own = int(line.split()[1])
    started = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return (own + started) * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
