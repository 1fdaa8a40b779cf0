"""Takes the figures, and shows them as tables and as JSON."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import FIGURES, OURS, Figure, bytes_of_a_payment, taken
from benchmarks.measuring import machine
from benchmarks.picture import draw


def main(words: Sequence[str] | None = None) -> None:
    """Take what is asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=[*FIGURES, "size"], help="repeatable")
    parser.add_argument("--rounds", type=int, default=9, help="how many of each, in turns")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write them there, too")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw them there, too")
    parser.add_argument("--folder", type=Path, help="on the disk that is to be measured")
    asked = parser.parse_args(words)
    wanted = asked.only or [*FIGURES, "size"]
    out = Console()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        figures = []
        for each in wanted:
            if each != "size":
                figures.append(taken(each, folder, asked.rounds))
                out.print(_table(figures[-1]))
        size = bytes_of_a_payment(folder) if "size" in wanted else {}
        facts = machine(folder)
    if size:
        out.print(_size_table(size))
    out.print(*(f"{fact}: {value}" for fact, value in facts.items()), sep="\n")
    if asked.json is not None:
        document = {"machine": facts, "figures": list(map(_form, figures)), "bytes": size}
        asked.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if asked.svg is not None:
        draw(figures, asked.svg)


def _table(figure: Figure) -> Table:
    table = Table(title=figure.name, title_justify="left", min_width=100)
    for head in (
        "",
        "a second",
        "slowest to fastest",
        "p99 ms",
        "processor µs",
        "payplatform to it",
        "wanted",
    ):
        table.add_column(head, justify="right" if head else "left")
    ours, wanted = figure.results.get(OURS), {each.floor: each.part for each in figure.targets}
    for name, result in figure.results.items():
        slowest, fastest = result.spread
        part = "" if ours is None or name == OURS else f"{ours.of(result):.0%}"
        table.add_row(
            name,
            f"{result.rate:,.0f}",
            f"{slowest:,.0f} to {fastest:,.0f}",
            f"{result.p99_s * 1000:,.1f}",
            f"{result.processor_s * 1e6:,.0f}",
            part,
            f"{wanted[name]:.0%}" if name in wanted else "",
        )
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
    ours = figure.results.get(OURS)
    return {
        "name": figure.name,
        "results": {
            name: {
                "per_second": result.rate,
                "slowest_and_fastest": result.spread,
                "p99_ms": result.p99_s * 1000,
                "processor_us": result.processor_s * 1e6,
                "payplatform_to_it": None if ours is None else ours.of(result),
            }
            for name, result in figure.results.items()
        },
        "wanted": {target.floor: target.part for target in figure.targets},
    }


if __name__ == "__main__":
    main()
