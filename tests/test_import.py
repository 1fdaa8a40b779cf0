"""`import payplatform` costs little, and brings in nothing that not everybody needs."""

import subprocess
import sys

NOT_AT_IMPORT = [
    # optional: whoever lacks the extra can still import payplatform
    "click",
    "hypothesis",
    "pytest",
    "rich",
    # heavy: an adapter loads them when it is used
    "cattrs",
    "cryptography",
    "sqlite3",
    "sqlite_utils",
]
BUDGET_S = 0.150


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
    """The best of several tries: the machine may be busy, the library may not be slow."""
    program = "from time import perf_counter as t; a = t(); import payplatform; print(t() - a)"

    assert min(float(run(program)) for _ in range(7)) < BUDGET_S
