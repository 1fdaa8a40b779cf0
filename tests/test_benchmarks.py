"""The benchmarks run, and their floors write what the library writes. No time is judged."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.figures import OneFile  # noqa: E402  # from the root, where it is no part of a wheel

MANY = 6


def rows_of(file: Path) -> dict[str, int]:
    with closing(sqlite3.connect(file)) as opened:
        tables = opened.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        counts = "SELECT count(*) FROM {}"
        return {name: opened.execute(counts.format(name)).fetchone()[0] for (name,) in tables}


def grown(file: Path, before: dict[str, int]) -> dict[str, int]:
    return {name: count - before[name] for name, count in rows_of(file).items()}


@pytest.mark.parametrize("what", ["charge", "whole_life"])
@pytest.mark.parametrize("floor", ["one commit each", "shared commits"])
def test_a_floor_writes_as_many_rows_as_the_library(what: str, floor: str, tmp_path: Path) -> None:
    file = OneFile(tmp_path, what, at_once=MANY)
    contestants = [file.one_commit_each(2), file.shared_commits(2)]
    (raw,) = (each for each in contestants if each.name == floor)
    library, copy = tmp_path / f"{what}-ours.db", tmp_path / f"{what}-floor.db"
    before = rows_of(library), rows_of(copy)

    for contestant in (file.ours(2), raw):
        assert len(contestant.round(range(1, MANY + 1)).took_s) == MANY

    ours = grown(library, before[0])
    assert ours["payments"] == MANY
    assert grown(copy, before[1]) == ours


def test_figures_are_shown_and_written(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    words = ["--only", "charge", "--only", "size", "--rounds", "1", "--json", str(file)]
    words += ["--svg", str(tmp_path / "figures.svg")]
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words, "--folder", str(tmp_path)],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'src'}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert "charge, one thread" in told.stdout
    figures = json.loads(file.read_text())
    assert figures["machine"]["sqlite"] == sqlite3.sqlite_version
    assert set(figures["figures"][0]["results"]) == {"one commit each", "payplatform"}
    assert figures["bytes"]["payments"] > 0
    assert "<svg" in (tmp_path / "figures.svg").read_text()
