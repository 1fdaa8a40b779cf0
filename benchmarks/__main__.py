"""Takes the figures, and shows them as tables and as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict
from rich.console import Console
from rich.table import Table

from benchmarks import growth
from benchmarks.figures import FIGURES, Figure, bytes_of_a_payment, taken
from benchmarks.measuring import machine
from benchmarks.picture import draw

EVERYTHING = [*FIGURES, "growth", "size"]


def main(words: Sequence[str] | None = None) -> None:
    """Take what is asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=EVERYTHING, help="repeatable")
    parser.add_argument("--rounds", type=int, default=9, help="how many of each, in turns")
    parser.add_argument(
        "--payments", type=int, default=growth.MOST, help="in the largest file that has grown"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write them there, too")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw them there, too")
    parser.add_argument("--folder", type=Path, help="on the disk that is to be measured")
    asked = parser.parse_args(words)
    wanted = asked.only or EVERYTHING
    out = Console(width=None if sys.stdout.isatty() else 120)
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        figures = []
        for each in wanted:
            if each in FIGURES:
                figures.append(taken(each, folder, asked.rounds))
                out.print(_table(figures[-1]))
        peaks = []
        if "growth" in wanted:
            grown = growth.files(folder / "growth", asked.payments)
            for figure in growth.figures(grown, asked.rounds):
                figures.append(figure)
                out.print(_table(figure))
            peaks = list(growth.peaks(grown))
            out.print(_peaks_table(peaks))
        size = bytes_of_a_payment(folder) if "size" in wanted else {}
        facts = machine(folder)
    if size:
        out.print(_size_table(size))
    out.print(*(f"{fact}: {value}" for fact, value in facts.items()), sep="\n")
    if asked.json is not None:
        document = {
            "machine": facts,
            "figures": list(map(_form, figures)),
            "memory": list(map(asdict, peaks)),
            "bytes": size,
        }
        asked.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if asked.svg is not None:
        draw(figures, asked.svg)


def _table(figure: Figure) -> Table:
    table = Table(title=figure.name, title_justify="left", min_width=100)
    for head in (
        "",
        "a second",
        "slowest to fastest",
        "processor µs",
        "part",
        "wanted",
        "p99 ms",
        "times",
        "at most",
    ):
        table.add_column(head, justify="right" if head else "left")
    ours, wanted = figure.results[figure.ours], {each.floor: each for each in figure.targets}
    for name, result in figure.results.items():
        slowest, fastest = result.spread
        is_floor = name != figure.ours
        target = wanted.get(name)
        table.add_row(
            name,
            f"{result.rate:,.0f}",
            f"{slowest:,.0f} to {fastest:,.0f}",
            f"{result.processor_s * 1e6:,.0f}",
            f"{ours.of(result):.0%}" if is_floor else "",
            f"{target.part:.0%}" if target else "",
            f"{result.p99_s * 1000:,.1f}",
            f"{ours.p99_s / result.p99_s:.1f}" if is_floor else "",
            f"{target.p99_times:.0f}" if target and target.p99_times else "",
        )
    return table


def _peaks_table(peaks: Sequence[growth.Peak]) -> Table:
    table = Table(title="memory of a process, as the file grows", title_justify="left")
    for head in ("", "payments", "done", "seconds", "MiB at most"):
        table.add_column(head, justify="right" if head else "left")
    for peak in peaks:
        numbers = f"{peak.payments:,}", f"{peak.done:,}", f"{peak.took_s:,.1f}"
        table.add_row(peak.what, *numbers, f"{peak.peak_mib:,.1f}")
    return table


def _size_table(size: Mapping[str, float]) -> Table:
    table = Table(title="bytes that a charge adds to the file", title_justify="left")
    table.add_column("table or index")
    table.add_column("bytes", justify="right")
    for name, grown in (*_worth_telling(size), ("all", sum(size.values()))):
        table.add_row(name, f"{grown:,.0f}")
    return table


def _worth_telling(size: Mapping[str, float]) -> Iterable[tuple[str, float]]:
    return ((name, grown) for name, grown in size.items() if grown >= 1)


def _form(figure: Figure) -> dict[str, Any]:
    ours = figure.results[figure.ours]
    return {
        "name": figure.name,
        "compared": figure.ours,
        "results": {
            name: {
                "per_second": result.rate,
                "slowest_and_fastest": result.spread,
                "p99_ms": result.p99_s * 1000,
                "processor_us": result.processor_s * 1e6,
                "part_of_its_rate": ours.of(result),
                "times_its_p99": ours.p99_s / result.p99_s,
            }
            for name, result in figure.results.items()
        },
        "wanted": {
            target.floor: {"part_of_its_rate": target.part, "times_its_p99": target.p99_times}
            for target in figure.targets
        },
    }


if __name__ == "__main__":
    main()
