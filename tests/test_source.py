"""House rules that no linter knows, kept on every line of our own."""

import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ["src", "tests", "examples"]
MOST_LINES = 600

IGNORE = re.compile(r"#\s*type:\s*ignore")
IGNORE_WITH_REASON = re.compile(r"#\s*type:\s*ignore\[[\w, -]+\]\s+#\s*\w+")


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def comments(path: Path) -> Iterator[tuple[int, str]]:
    with tokenize.open(path) as source:
        for token in tokenize.generate_tokens(source.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def lacks_a_reason(comment: str) -> bool:
    return bool(IGNORE.search(comment)) and not IGNORE_WITH_REASON.search(comment)


def test_every_type_ignore_names_its_code_and_its_reason() -> None:
    unexplained = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in files(*FOLDERS)
        for line, comment in comments(path)
        if lacks_a_reason(comment)
    ]

    assert unexplained == []


@pytest.mark.parametrize(
    ("comment", "lacking"),
    [
        ("# type: ignore", True),
        ("# type: ignore[arg-type]", True),
        ("# type: ignore # a reason without a code", True),
        ("# type: ignore[arg-type] #", True),
        ("# type: ignore[arg-type]  # the caller is wrong on purpose", False),
        ("# an ordinary comment", False),
    ],
)
def test_a_reason_is_told_from_its_absence(comment: str, lacking: bool) -> None:
    assert lacks_a_reason(comment) is lacking


def test_no_file_of_the_library_is_longer_than_one_concept() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in files("src")}

    assert {path.name: length for path, length in lengths.items() if length > MOST_LINES} == {}


def test_every_file_of_the_library_says_first_what_it_is_for() -> None:
    silent = [
        path.relative_to(ROOT) for path in files("src") if not path.read_text().startswith('"""')
    ]

    assert silent == []
