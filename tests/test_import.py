"""`import payplatform` costs little, and brings in nothing that not everybody needs."""

import subprocess
import sys

NOT_AT_IMPORT = [
    # optional: whoever lacks the extra can still import payplatform
    "boto3",
    "botocore",
    "click",
    "hvac",
    "hypothesis",
    "matplotlib",
    "pkcs11",
    "pytest",
    "requests",
    "rich",
    # heavy: an adapter loads them when it is used
    "cattrs",
    "cryptography",
    "sqlite3",
    "sqlite_utils",
]
# Importing payplatform takes about 90 ms where importing attrs, on which all of it stands, takes 35
# ms of processor time. Five times attrs is past the 150 ms allowed there, with room for noise.
MOST_TIMES_ATTRS = 5


def run(program: str) -> str:
    """Runs a program in a fresh interpreter, blind to the environment; returns what it prints."""
    found = subprocess.run(
        [sys.executable, "-I", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return found.stdout


def test_import_loads_no_optional_and_no_heavy_package() -> None:
    loaded = run("import sys, payplatform; print(*sys.modules)").split()

    assert "payplatform.errors" in loaded
    assert not set(NOT_AT_IMPORT) & set(loaded)


def test_what_must_not_be_loaded_can_be_loaded() -> None:
    """Else the test above could not fail for it."""
    loaded = run(f"import sys, {', '.join(NOT_AT_IMPORT)}; print(*sys.modules)").split()

    assert set(NOT_AT_IMPORT) <= set(loaded)


def test_import_stays_under_its_budget() -> None:
    """Measured against a floor in the same run: the machine may be slow, the library may not."""
    costs = [(cost("payplatform"), cost("attrs")) for _ in range(7)]

    assert min(ours for ours, _ in costs) < MOST_TIMES_ATTRS * min(floor for _, floor in costs)


def cost(module: str) -> float:
    """The processor time of an import, in seconds."""
    clock = "from time import process_time as t"
    return float(run(f"{clock}; a = t(); import {module}; print(t() - a)"))
