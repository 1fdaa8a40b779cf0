"""Measures payplatform beside what a Python user would pick instead, at the same work."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measuring import Result, machine
from benchmarks.others.contest import FLOOR, RIVALS, Measured, Outcome, hold
from benchmarks.others.environments import ROOT

_WIDTH = 115
"""What the table needs; a pipe would have 80 columns."""


def main(words: Sequence[str] | None = None) -> None:
    """Hold the contest that is asked for."""
    names = {rival.name: rival for rival in RIVALS}
    parser = argparse.ArgumentParser(prog="benchmarks.others", description=__doc__)
    parser.add_argument("--only", action="append", choices=names, help="repeatable")
    parser.add_argument("--rounds", type=int, default=5, help="how many of each, in turns")
    parser.add_argument("--at-once", type=int, default=200, help="payments in a round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--folder", type=Path, help="on the disk that is to be measured")
    parser.add_argument(
        "--environments", type=Path, default=ROOT / ".venv-bench", help="where pip installs them"
    )
    parser.add_argument("--here", action="store_true", help="install nothing: take what is here")
    asked = parser.parse_args(words)
    rivals = [names[name] for name in asked.only or names]
    environments = None if asked.here else asked.environments
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        outcome = hold(rivals, folder, environments, rounds=asked.rounds, at_once=asked.at_once)
        facts = machine(folder)
    out = Console(width=max(Console().width, _WIDTH))
    out.print(_table(outcome))
    for why in outcome.not_measured:
        out.print(f"{why.rival.name}: not measured. {why.why}", markup=False, highlight=False)
    for rival in rivals:
        out.print(f"\nWhat {rival.name} does not do", style="bold")
        out.print(rival.does_not, markup=False, highlight=False)
    out.print(*(f"{fact}: {value}" for fact, value in facts.items()), sep="\n")
    if asked.json is not None:
        document = {"machine": facts, "rivals": _form(outcome)}
        asked.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _table(outcome: Outcome) -> Table:
    table = Table(title="create, authorize, capture, read back; one thread", title_justify="left")
    heads = ("", "a second", "slowest to fastest", "p99 ms", "peak MB", "commits", "writes")
    for head in (*heads, "reads back", "to the floor"):
        table.add_column(head, justify="right" if head else "left")
    floor = _floor(outcome)
    for each in outcome.measured:
        result, work = each.result, each.work
        slowest, fastest = result.spread
        table.add_row(
            " ".join((each.rival.name, *work.versions.values())[:2]),
            f"{result.rate:,.0f}",
            f"{slowest:,.0f} to {fastest:,.0f}",
            f"{result.p99_s * 1000:,.1f}",
            f"{each.peak_bytes / 1e6:,.0f}",
            f"{work.commits:g}",
            f"{work.writes:g}",
            str(work.read_back),
            "" if floor is None else f"{result.of(floor):.0%}",
        )
    return table


def _floor(outcome: Outcome) -> Result | None:
    return next((each.result for each in outcome.measured if each.rival == FLOOR), None)


def _form(outcome: Outcome) -> list[dict[str, Any]]:
    def form(each: Measured) -> dict[str, Any]:
        return {
            "name": each.rival.name,
            "versions": dict(each.work.versions),
            "per_second": each.result.rate,
            "slowest_and_fastest": each.result.spread,
            "p99_ms": each.result.p99_s * 1000,
            "peak_bytes": each.peak_bytes,
            "commits": each.work.commits,
            "writes": each.work.writes,
            "read_back": str(each.work.read_back),
            "does_not": each.rival.does_not,
        }

    return [
        *map(form, outcome.measured),
        *({"name": why.rival.name, "not_measured": why.why} for why in outcome.not_measured),
    ]


if __name__ == "__main__":
    main()
