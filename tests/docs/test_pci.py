"""The page on PCI DSS names every requirement it must, and tests that are there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "explanation" / "pci.md").read_text()
HEAD = "| requirement | what the library does | which test proves it | what stays with you |"
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def rows() -> Iterator[list[str]]:
    _, _, below = PAGE.partition(f"{HEAD}\n|---|---|---|---|\n")
    table, _, _ = below.partition("\n\n")
    for line in table.splitlines():
        yield [cell.strip() for cell in line.strip("|").split("|")]


ROWS = list(rows())
NAMED = sorted({named for row in ROWS for named in TEST.findall(row[2])})


@pytest.mark.parametrize(("file", "test"), NAMED, ids=str)
def test_each_test_that_the_table_names_is_there(file: str, test: str) -> None:
    tree = ast.parse((ROOT / "tests" / file).read_text())

    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(
    "requirement",
    ["3.2", "3.3", "3.4", "3.5", "3.6", "3.7", "4.2", "6.2", "7.2", "8.2", "10.2", "10.3"],
)
def test_each_requirement_that_code_can_help_with_has_a_row_and_a_test(requirement: str) -> None:
    about = [row for row in ROWS if row[0].startswith(requirement)]

    assert about
    assert any(TEST.search(row[2]) for row in about)


def test_every_row_says_what_stays_with_the_merchant_and_names_a_test_for_what_it_claims() -> None:
    for requirement, does, tests, yours in ROWS:
        assert requirement
        assert yours
        assert bool(TEST.search(tests)) is (does != "nothing"), requirement
        assert re.sub(TEST, "", tests).strip(", ") in {"", "none"}, requirement
