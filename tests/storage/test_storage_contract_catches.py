"""The contract notices every kind of fault that a store of somebody else's may have."""

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from faulty_stores import FAULTS

from payplatform.testing.storage_contract import StorageContract

PROMISES = {name for name in dir(StorageContract) if name.startswith("test_")}

# A third party's test of its own store, once for each store: it is these few lines that one writes.
TESTS = """
from hypothesis import Phase, settings

# That an example fails is enough here; the smallest one that does is not looked for.
settings.register_profile("quick", phases=[Phase.generate], database=None, derandomize=True)
settings.load_profile("quick")

from faulty_stores import FAULTS, MemoryStorage
from payplatform.testing.storage_contract import StorageContract


class Contract(StorageContract):
    def make_storage(self, folder):
        return self.kind()

    def reopen(self, storage, folder):
        return storage.reopened(folder) if hasattr(storage, "reopened") else storage


for kind in (MemoryStorage, *FAULTS):
    name = f"Test{kind.__name__}"
    globals()[name] = type(name, (Contract,), {"kind": kind, "__module__": __name__})
"""


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """For each store, the tests that failed, when each was asked for the promise it breaks."""
    folder = tmp_path_factory.mktemp("third_party")
    (folder / "test_stores.py").write_text(TESTS)
    sound = [f"test_stores.py::TestMemoryStorage::{test}" for test in sorted(set(FAULTS.values()))]
    faulty = [f"test_stores.py::Test{kind.__name__}::{test}" for kind, test in FAULTS.items()]
    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--tb=no", "--junitxml=found.xml"),
            *("-p", "no:cacheprovider", "-p", "no:payplatform"),
            *sound,
            *faulty,
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        capture_output=True,
        timeout=180,
        check=False,
    )
    found: dict[str, set[str]] = {}
    for case in ET.parse(folder / "found.xml").iter("testcase"):  # noqa: S314  # our own file
        failed = found.setdefault(case.attrib["classname"].rpartition(".Test")[2], set())
        assert case.find("error") is None, case.attrib
        if case.find("failure") is not None:
            failed.add(re.sub(r"\[.*", "", case.attrib["name"], flags=re.DOTALL))
    return found


def test_a_sound_store_keeps_every_promise(red: dict[str, set[str]]) -> None:
    assert red["MemoryStorage"] == set()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_caught(red: dict[str, set[str]], fault: type) -> None:
    assert red[fault.__name__] == {FAULTS[fault]}


def test_every_promise_has_a_fault_that_breaks_it() -> None:
    assert PROMISES - set(FAULTS.values()) == set()
