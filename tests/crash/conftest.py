"""The figures of a run, at its end; and the way to the helpers of the engine's tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The world that outlives a process, and every money-moving call, are told of there.
sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))

from crash_size import FIGURES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, figures in sorted(FIGURES.items()):
        told = ", ".join(f"{count:,} {what}" for what, count in figures.items())
        terminalreporter.write_line(f"{name}: {told}")
