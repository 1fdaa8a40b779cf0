"""A contract that passes everything proves nothing: each planted fault must be caught by name."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import planted_banks
import pytest
from planted_banks import Planted, TestModest, TestNothingPlanted

from payplatform.testing.bank_contract import BankContract

FILE = Path(planted_banks.__file__)
ROOT = FILE.parents[2]
CONTROLS = (TestNothingPlanted, TestModest)
PLANTED = [
    planted
    for planted in vars(planted_banks).values()
    if isinstance(planted, type) and issubclass(planted, Planted) and planted.caught_by
]
# The names are pytest's own; imported here they would be collected.
del TestModest, TestNothingPlanted

Results = Mapping[tuple[str, str], set[str]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What became of each test of each planted bank: all run once, in one process of their own."""
    report = tmp_path_factory.mktemp("planted") / "report.xml"
    wanted = [f"{FILE}::{control.__name__}" for control in CONTROLS]
    wanted += [f"{FILE}::{bank.__name__}::{test}" for bank in PLANTED for test in bank.caught_by]
    subprocess.run(
        [sys.executable, "-m", "pytest", "-pno:cacheprovider", f"--junitxml={report}", *wanted],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    found: dict[tuple[str, str], set[str]] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  # pytest has just written it
        bank = case.attrib["classname"].rpartition(".")[2]
        test = case.attrib["name"].partition("[")[0]
        outcomes = {part.tag for part in case} & {"failure", "error", "skipped"}
        found.setdefault((bank, test), set()).update(outcomes or {"passed"})
    return found


@pytest.mark.parametrize(
    ("bank", "test"),
    [(bank.__name__, test) for bank in PLANTED for test in bank.caught_by],
)
def test_a_planted_fault_is_caught(results: Results, bank: str, test: str) -> None:
    assert "failure" in results[bank, test]
    assert "error" not in results[bank, test]


@pytest.mark.parametrize("control", [control.__name__ for control in CONTROLS])
def test_a_bank_that_keeps_its_promises_is_not_accused(results: Results, control: str) -> None:
    outcomes = {test: result for (bank, test), result in results.items() if bank == control}

    assert len(outcomes) > 40
    assert {test for test, result in outcomes.items() if result & {"failure", "error"}} == set()


def test_a_bank_that_offers_everything_is_asked_everything(results: Results) -> None:
    outcomes = [result for (bank, _), result in results.items() if bank == "TestNothingPlanted"]

    assert not any("skipped" in result for result in outcomes)


def test_every_test_of_the_contract_has_caught_something() -> None:
    """A test that no planted fault needs may be one that cannot fail."""
    tests = {name for name in dir(BankContract) if name.startswith("test_")}

    assert tests == {test for bank in PLANTED for test in bank.caught_by}
