"""A contract that passes everything proves nothing: each planted fault must be caught by name."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import planted_keys
import pytest
from planted_keys import Planted

from payplatform.testing.keys_contract import KeyServiceContract

FILE = Path(planted_keys.__file__)
ROOT = FILE.parents[2]
CONTROL = "TestNothingPlanted"
PLANTED = [
    planted
    for planted in vars(planted_keys).values()
    if isinstance(planted, type) and issubclass(planted, Planted) and planted.caught_by
]
TESTS = {name for name in dir(KeyServiceContract) if name.startswith("test_")}

Results = Mapping[tuple[str, str], set[str]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What became of each test of each planted service: all run once, in a process of their own."""
    report = tmp_path_factory.mktemp("planted") / "report.xml"
    wanted = [f"{FILE}::{CONTROL}"]
    wanted += [f"{FILE}::{keys.__name__}::{test}" for keys in PLANTED for test in keys.caught_by]
    options = ["-q", "--tb=no", "-pno:cacheprovider", f"--junitxml={report}"]
    subprocess.run(
        [sys.executable, "-m", "pytest", *options, *wanted],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    found: dict[tuple[str, str], set[str]] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  # pytest has just written it
        keys = case.attrib["classname"].rpartition(".")[2]
        test = case.attrib["name"].partition("[")[0]
        outcomes = {part.tag for part in case} & {"failure", "error", "skipped"}
        found.setdefault((keys, test), set()).update(outcomes or {"passed"})
    return found


@pytest.mark.parametrize(
    ("keys", "test"), [(keys.__name__, test) for keys in PLANTED for test in keys.caught_by]
)
def test_a_planted_fault_is_caught(results: Results, keys: str, test: str) -> None:
    assert "failure" in results[keys, test]


def test_a_key_service_that_keeps_its_promises_passes_every_test(results: Results) -> None:
    outcomes = {test: result for (keys, test), result in results.items() if keys == CONTROL}

    assert outcomes == {test: {"passed"} for test in TESTS}


def test_every_test_of_the_contract_has_caught_something() -> None:
    """A test that no planted fault needs may be one that cannot fail."""
    assert {test for keys in PLANTED for test in keys.caught_by} == TESTS
