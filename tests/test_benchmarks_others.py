"""The contest is held without the others, too. No time is judged, and nothing is downloaded."""

from __future__ import annotations

import json
import resource
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from sqlite3 import dbapi2

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

# From the root, where they are no part of a wheel.
from benchmarks.measuring import Result, in_turns  # noqa: E402  # as above
from benchmarks.others import contest, environments, workers  # noqa: E402  # as above
from benchmarks.others.at_work import Counted  # noqa: E402  # as above
from benchmarks.others.contest import FLOOR, OURS, RIVALS, hold  # noqa: E402  # as above
from benchmarks.others.environments import NotInstalled, python_for  # noqa: E402  # as above
from benchmarks.others.till import PRICE  # noqa: E402  # as above
from benchmarks.others.workers import NotMeasured, Rival, Worker, at_work  # noqa: E402  # as above

Told = tuple[str, dict[str, dict[str, object]]]
HERE = Path(sys.executable)
MUCH = 50_000
ABROAD = [rival for rival in RIVALS if rival.group is not None]
GROUPS = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
PAGE = (ROOT / "docs" / "explanation" / "performance.md").read_text()


@pytest.fixture
def floor(tmp_path: Path) -> Iterator[Worker]:
    with at_work(FLOOR, HERE, tmp_path, at_once=5) as worker:
        yield worker


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What is printed where no rival is installed, and the figures by name."""
    folder = tmp_path_factory.mktemp("contest")
    words = ["--here", "--rounds", "2", "--at-once", "5", "--json", str(folder / "figures.json")]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.others", *words, "--folder", str(folder)],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'src'}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads((folder / "figures.json").read_text())
    assert document["machine"]["sqlite"] == sqlite3.sqlite_version
    return done.stdout, {each["name"]: each for each in document["rivals"]}


def test_payplatform_takes_part_and_reads_back_what_it_captured(
    told: Told,
) -> None:
    ours = told[1][OURS.name]

    assert Decimal(str(ours["read_back"])) == PRICE
    assert ours["commits"] == 4, "two for each of two verbs"
    assert all(float(str(ours[figure])) > 0 for figure in ("per_second", "p99_ms", "peak_bytes"))


def test_the_floor_makes_three_writes_in_three_commits(
    told: Told,
) -> None:
    floor = told[1][FLOOR.name]

    assert (floor["commits"], floor["writes"]) == (3, 3)
    assert Decimal(str(floor["read_back"])) == PRICE


@pytest.mark.parametrize("rival", ABROAD, ids=lambda rival: rival.name)
def test_a_rival_that_cannot_be_imported_is_told_with_the_reason(rival: Rival, told: Told) -> None:
    why = str(told[1][rival.name]["not_measured"])

    assert why.startswith("ModuleNotFoundError: No module named")
    assert f"{rival.name}: not measured. {why}" in told[0]


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_what_a_rival_does_not_do_is_printed_and_stands_in_the_docs(
    rival: Rival, told: Told
) -> None:
    assert rival.does_not in told[0]
    assert rival == FLOOR or rival.does_not in PAGE


def test_the_memory_of_a_process_is_its_own(floor: Worker) -> None:
    """That of whoever started it is not counted, which here is larger."""
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours *= 1 if sys.platform == "darwin" else 1024

    assert 1e6 < floor.end()["peak_bytes"] < ours


def test_a_process_that_fails_is_told_by_its_last_word(floor: Worker) -> None:
    assert len(floor.round(range(1, 6)).took_s) == 5

    with pytest.raises(NotMeasured, match="IntegrityError: UNIQUE constraint failed") as failed:
        floor.round(range(5, 10))
    assert failed.value.rival == FLOOR
    with pytest.raises(NotMeasured):
        floor.round(range(10, 15))


def test_an_answer_is_not_waited_for_without_end(
    floor: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_AT_MOST_S", 0.5)

    with pytest.raises(NotMeasured, match="no answer within"):
        floor.round(range(1, 1_000_000_000))


def test_who_is_left_at_work_is_stopped(tmp_path: Path) -> None:
    with at_work(FLOOR, HERE, tmp_path, at_once=5) as worker:
        print(1, MUCH, file=worker._process.stdin, flush=True)

    with closing(sqlite3.connect(tmp_path / "least.db")) as kept:
        assert kept.execute("SELECT count(*) FROM payments").fetchone()[0] < MUCH


def test_who_fails_in_the_contest_leaves_it_and_the_others_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Rival("sqlite3 again", "least")
    real = in_turns

    def with_a_failure(racers: list[Worker], *, rounds: int) -> dict[str, Result]:
        results = dict(real(racers, rounds=rounds))
        if other in {racer.rival for racer in racers}:
            raise NotMeasured(other, "it fell over")
        return results

    monkeypatch.setattr(contest, "in_turns", with_a_failure)
    outcome = hold([FLOOR, other], tmp_path, None, rounds=2, at_once=3)

    assert [each.rival for each in outcome.measured] == [FLOOR]
    assert [len(each.result.rounds) for each in outcome.measured] == [2]
    assert [(why.rival, why.why) for why in outcome.not_measured] == [(other, "it fell over")]


def test_a_rival_that_cannot_be_installed_is_told_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "kept").mkdir()
    outcome = hold([FLOOR, ABROAD[0]], tmp_path / "kept", tmp_path / "made", rounds=1, at_once=2)

    assert [each.rival for each in outcome.measured] == [FLOOR]
    (why,) = outcome.not_measured
    assert why.rival == ABROAD[0]
    assert why.why.startswith("cannot be installed: No matching distribution found for ")


def test_an_environment_is_made_once_and_again_when_something_else_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ["something>=1"]
    installed: list[list[str]] = []
    monkeypatch.setattr(environments, "_requirements", lambda _: list(wanted))
    monkeypatch.setattr(environments, "_install", lambda _, these: installed.append(these))

    python = python_for("a-group", tmp_path)
    assert python_for("a-group", tmp_path) == python
    assert installed == [["something>=1"]]
    assert subprocess.run([python, "-c", ""], timeout=60, check=True).returncode == 0

    wanted.append("more")
    python_for("a-group", tmp_path)
    assert installed[1:] == [["something>=1", "more"]]


def test_an_environment_that_could_not_be_made_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise NotInstalled("no way")

    monkeypatch.setattr(environments, "_install", fail)
    for _ in range(2):
        with pytest.raises(NotInstalled, match="no way"):
            python_for(str(ABROAD[0].group), tmp_path)


@pytest.mark.parametrize("rival", ABROAD, ids=lambda rival: rival.name)
def test_what_brings_a_rival_is_bounded_and_no_part_of_the_environment_for_work(
    rival: Rival,
) -> None:
    requirements = [Requirement(text) for text in GROUPS[rival.group]]
    pinned = (ROOT / "requirements" / "dev.txt").read_text()

    assert all(requirement.specifier for requirement in requirements)
    assert not [each.name for each in requirements if f"\n{each.name}==" in pinned]


Written = st.lists(
    st.tuples(st.sampled_from(["by itself", "COMMIT", "ROLLBACK"]), st.integers(0, 3)), max_size=8
)


@given(Written)
def test_commits_are_counted_where_they_write(transactions: list[tuple[str, int]]) -> None:
    """Each is a few writes: those by themselves are a commit each, those together one or none."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (sqlite3, dbapi2):
            patch.setattr(module, "connect", module.connect)
        counted = Counted()
        with closing(dbapi2.connect(":memory:", isolation_level=None)) as connection:
            connection.execute("CREATE TABLE kept (it)")
            for end, many in transactions:
                if end != "by itself":
                    connection.execute("begin immediate")
                for _ in range(many):
                    connection.execute("\n  INSERT INTO kept VALUES (';')")
                    connection.execute("SELECT count(*) FROM kept")
                if end != "by itself":
                    connection.execute(end)

    assert counted.writes == sum(many for _, many in transactions)
    assert counted.commits == sum(
        many if end == "by itself" else end == "COMMIT" and many > 0 for end, many in transactions
    )
