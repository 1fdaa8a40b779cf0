"""The figures as a picture: each floor as a line to reach, and how far the library comes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure as Drawing

from benchmarks.figures import Figure

_REACHED, _MISSED = "#2a9d5c", "#c8553d"


def draw(figures: Sequence[Figure], file: Path) -> None:
    """Draw a bar for each figure and each of its floors, as an SVG.

    Args:
        figures: those that were taken; what has no floor is left out.
        file: where to.
    """
    bars = [
        (
            f"{figure.name}\nagainst {target.floor}",
            figure.results[figure.ours],
            figure.results[target.floor],
        )
        for figure in figures
        for target in figure.targets
    ]
    wanted = [target.part for figure in figures for target in figure.targets]
    parts = [ours.of(floor) for _, ours, floor in bars]
    with rc_context({"svg.hashsalt": "payplatform", "font.size": 9}):
        drawing = Drawing(figsize=(8, 0.6 + 0.62 * len(bars)), layout="constrained")
        panel = drawing.subplots()
        places = range(len(bars))
        reached = [part >= least for part, least in zip(parts, wanted, strict=True)]
        drawn = panel.barh(places, parts, color=[_REACHED if each else _MISSED for each in reached])
        panel.scatter(wanted, places, marker="|", s=300, color="black", label="wanted")
        panel.bar_label(
            drawn, [f"{part:.0%}" for part in parts], label_type="center", color="white"
        )
        panel.set_yticks(places, [name for name, _, _ in bars])
        panel.invert_yaxis()
        panel.set_xlim(0, max(*parts, *wanted) * 1.15)
        panel.xaxis.set_major_formatter("{x:.0%}")
        panel.set_xlabel("payplatform's rate, as a part of the floor's")
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(loc="lower right", frameon=False)
        drawing.savefig(file, format="svg", metadata={"Date": None})
