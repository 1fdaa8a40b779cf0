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

from benchmarks import growth  # noqa: E402  # from the root, where it is no part of a wheel
from benchmarks.figures import (  # noqa: E402  # as above
    OURS,
    OneFile,
    slow_bank_async,
)
from benchmarks.floors import Template  # noqa: E402  # as above
from benchmarks.measuring import Result, Round  # noqa: E402  # as above

MANY = 6
SOME = 40


def rows_of(file: Path) -> dict[str, int]:
    with closing(sqlite3.connect(file)) as opened:
        tables = opened.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        counts = "SELECT count(*) FROM {}"
        return {name: opened.execute(counts.format(name)).fetchone()[0] for (name,) in tables}


def grown_by(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {name: count - before[name] for name, count in after.items()}


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

    ours = grown_by(rows_of(library), before[0])
    assert ours["payments"] == MANY
    assert grown_by(rows_of(copy), before[1]) == ours


def test_a_floor_names_anew_whatever_was_not_there_before() -> None:
    known, method, dispute = (f"{prefix}_{'7' * 26}" for prefix in ("mer", "pm", "dsp"))
    row = (known, method, f"[{dispute!r}]", "the-key-2", 7)
    template = Template([[("INSERT", row)]], key="the-key", known={known})

    ((_, again),) = template.again(1)[0]

    assert again[0] == known
    assert again[1] != method
    assert len(again[1]) == len(method)
    assert dispute not in again[2]
    assert again[3:] == ("0000001-2", 7)


def test_the_slowest_are_looked_for_in_all_rounds_together() -> None:
    quick, slow = Round([0.001] * 60, 1, 1), Round([0.001] * 56 + [9.0] * 4, 1, 1)
    assert Result("one slow round of three", [quick, slow, quick]).p99_s == 9
    assert Result("none", [quick, quick, quick]).p99_s == 0.001


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> list[growth.Grown]:
    return growth.files(tmp_path_factory.mktemp("growth") / "files", SOME)


def test_a_file_grows_by_what_a_charge_adds_to_it(grown: list[growth.Grown]) -> None:
    small, large = (rows_of(each.file) for each in grown)
    shop = growth.GrownShop(grown[0])
    shop.charge("one-more")
    shop.pay.close()

    more = grown[1].payments - grown[0].payments
    one = grown_by(rows_of(grown[0].file), small)
    assert {table: rows / more for table, rows in grown_by(large, small).items()} == one


def test_a_grown_file_is_as_its_shop_would_have_left_it_but_for_the_chains(
    grown: list[growth.Grown],
) -> None:
    shop = growth.GrownShop(grown[-1])
    newest = shop.charge("the-newest")
    ids = [payment.id for payment in shop.client.payments.list()]
    found = shop.pay.doctor().findings
    shop.pay.close()

    assert len(ids) > SOME
    assert ids[0] == newest.id
    assert ids == sorted(ids, reverse=True)
    assert {finding.rule for finding in found} == {"chain"}


def test_a_page_of_a_grown_file_is_where_it_is_said_to_be(grown: list[growth.Grown]) -> None:
    shop = growth.GrownShop(grown[-1])
    oldest = grown[-1].id_of(1)
    events, lines = shop.history(0), shop.last_lines(0)
    first, last, due = shop.first_page(0), shop.last_page(0), shop.due(0)
    shop.pay.close()

    assert [event.subject_id for event in events] == [oldest] * 2
    assert lines[-1].subject_id >= grown[-1].id_of(SOME)
    assert first[0].id >= grown[-1].id_of(SOME)
    assert oldest in [payment.id for payment in last]
    assert 0 < len(due) < SOME


def test_tasks_are_measured_beside_the_lower_of_two_limits(tmp_path: Path) -> None:
    """Behind a bank that takes long it is the latency, behind one that does not the processor."""
    for latency_s, limit in ((1.0, "latency alone"), (0.0, "the processor alone")):
        folder = tmp_path / limit
        folder.mkdir()
        figure = slow_bank_async(folder, 1, tasks=4, latency_s=latency_s, waves=1)

        assert set(figure.results) == {"latency alone", "the processor alone", OURS}
        assert [target.floor for target in figure.targets] == [limit]
        assert len(figure.results[OURS].rounds[0].took_s) == 4


def test_figures_are_shown_and_written(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    words = ["--only", "charge", "--only", "tokenize", "--only", "growth", "--only", "size"]
    words += ["--rounds", "1", "--payments", f"{SOME}", "--json", str(file)]
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
    charge, tokenize, *growing = figures["figures"]
    assert set(charge["results"]) == {"one commit each", "payplatform"}
    assert set(tokenize["results"]) == {"a seal, a fingerprint", "payplatform"}
    assert len(growing) == len(growth.DOINGS)
    assert {each["compared"] for each in growing} == {f"{SOME} payments"}
    assert {each["what"] for each in figures["memory"]} == set(growth.PROCESSES)
    assert all(each["peak_mib"] > 1 for each in figures["memory"])
    assert figures["memory"][-1]["done"] > SOME
    assert figures["bytes"]["payments"] > 0
    assert "<svg" in (tmp_path / "figures.svg").read_text()
