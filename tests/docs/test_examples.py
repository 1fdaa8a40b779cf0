"""Each example runs as a reader would run it, tells its story, and leaves nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from payplatform.banks.simulated import TEST_CARDS

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
# What an example may take on a machine that has other things to do, too; alone, each takes one.
LONGEST_S = 30
NUMBERS = {card.number for card in TEST_CARDS}


def run(example: Path, folder: Path, *arguments: str) -> str:
    temporary = folder / "tmp"
    temporary.mkdir()
    told = subprocess.run(
        [sys.executable, "-W", "error", str(example), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stderr == ""
    assert list(temporary.iterdir()) == []
    assert [path.name for path in folder.iterdir() if path != temporary] == [*arguments]
    return told.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_an_example_runs_and_tells_a_story_without_card_numbers(
    example: Path, tmp_path: Path
) -> None:
    story = run(example, tmp_path)

    assert len(story.splitlines()) >= 5
    digits = "".join(filter(str.isdigit, story))
    assert not [number for number in NUMBERS if number in digits]


def test_the_month_leaves_its_statement_and_its_report_where_it_is_asked_to(tmp_path: Path) -> None:
    story = run(ROOT / "examples" / "month_end.py", tmp_path, "may")

    assert {path.name for path in (tmp_path / "may").iterdir()} == {"2026-05.md", "2026-05.html"}
    statement = (tmp_path / "may" / "2026-05.md").read_text()
    assert statement in story
    assert "| Lost in disputes | -89.00 |" in statement
    page = (tmp_path / "may" / "2026-05.html").read_text()
    assert "<svg" in page
    for words in ("dispute lost", "refund declined", "paid, "):
        assert words in story


def test_the_examples_are_those_that_the_docs_speak_of() -> None:
    assert {example.stem for example in EXAMPLES} == {
        "async_shop",
        "checkout",
        "marketplace",
        "month_end",
        "nightly",
        "quickstart",
        "subscriptions",
    }
