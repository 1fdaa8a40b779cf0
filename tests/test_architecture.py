"""The house keeps its shape: imports point down only, and each contract is shown to bite.

A contract that never breaks may be one that never looks. So each is also run on a copy of the
package with one forbidden line planted, under the configuration of the real tree, and must break.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
CONTRACTS: dict[str, dict[str, Any]] = {
    contract["name"]: contract for contract in CONFIG["contracts"]
}

HOUSE = "Imports point down only"
DOMAIN = "Within the domain too"
ADAPTERS = "Adapters do not know each other"
PURE = "The domain is pure: no I/O, no clock, no randomness, no stored form"
STORED_FORM = "Only the storage rooms know the stored form"
KEY_PACKAGES = "What a key service needs is loaded with it alone"
LIMITER_PACKAGES = "What a limiter needs is loaded with it alone"
OPTIONAL = "Optional packages stay with the extra that brings them"
XML = "What reads XML is loaded with a report in it alone"

# contract, the module that gets the line, the line
PLANTED = [
    (HOUSE, "errors", "from payplatform._domain import money"),
    (HOUSE, "_domain.money", "from payplatform import ports"),
    (HOUSE, "ports", "from payplatform.storage import memory"),
    (HOUSE, "ports", "from payplatform._engine import flow"),
    (HOUSE, "_engine.flow", "from payplatform import client"),
    (HOUSE, "_engine.flow", "from payplatform.storage import sqlite"),
    (HOUSE, "storage.memory", "from payplatform._engine import flow"),
    (HOUSE, "storage.memory", "from payplatform.banks import simulated"),
    (HOUSE, "banks.simulated", "from payplatform.keys import local"),
    (HOUSE, "keys.local", "from payplatform._engine import vault"),
    (HOUSE, "client", "from payplatform import cli"),
    (HOUSE, "client", "def late() -> None:\n    import payplatform.testing"),
    (HOUSE, "client", "from payplatform import reports"),
    (HOUSE, "reports", "import payplatform.cli"),
    (HOUSE, "cli", "import payplatform.testing"),
    (HOUSE, "testing", "import payplatform.cli"),
    (HOUSE, "storage.memory", "import payplatform"),
    (HOUSE, "redaction", "from payplatform.storage import memory"),
    (HOUSE, "_domain.card_numbers", "from payplatform import redaction"),
    (HOUSE, "a_new_room", "'''Nobody gave it a place.'''"),
    (DOMAIN, "_domain.money", "from payplatform._domain import payments"),
    (DOMAIN, "_domain.operations", "from payplatform._domain import decisions"),
    (DOMAIN, "_domain.cards", "from payplatform._domain import money"),
    (DOMAIN, "_domain.a_new_law", "'''Nobody gave it a place.'''"),
    (ADAPTERS, "storage.memory", "from payplatform.storage import sqlite"),
    (ADAPTERS, "storage.sqlite", "def late() -> None:\n    import payplatform.storage.memory"),
    (PURE, "_domain.decisions", "import sqlite3"),
    (PURE, "_domain.decisions", "def now() -> None:\n    import time"),
    (PURE, "errors", "import json"),
    (PURE, "ports", "import logging"),
    (STORED_FORM, "_engine.flow", "import cattrs"),
    (STORED_FORM, "client", "from cattrs import structure"),
    (ADAPTERS, "keys.aws", "from payplatform.keys import transit"),
    (KEY_PACKAGES, "keys.local", "import boto3"),
    (KEY_PACKAGES, "_engine.vault", "import hvac"),
    (KEY_PACKAGES, "client", "def late() -> None:\n    import pkcs11"),
    (ADAPTERS, "storage.redis_limiter", "from payplatform.storage import memory_limiter"),
    (LIMITER_PACKAGES, "storage.sqlite_limiter", "import redis"),
    (LIMITER_PACKAGES, "client", "def late() -> None:\n    import redis"),
    (OPTIONAL, "client", "import rich"),
    (OPTIONAL, "_engine.flow", "def late() -> None:\n    import matplotlib"),
    (OPTIONAL, "storage.sqlite", "import click"),
    (OPTIONAL, "banks.simulated", "import hypothesis"),
    (XML, "banks._settlement_csv", "import defusedxml.ElementTree"),
    (XML, "banks.simulated", "def late() -> None:\n    from payplatform.banks import _camt053"),
    (XML, "client", "from payplatform.banks import settlement_files"),
]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs import-linter on `folder`/src/payplatform with the configuration in `folder`."""
    program = "from importlinter.cli import lint_imports_command as run; run()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-logo", "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder / "src"), "COLUMNS": "500"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def broken_contracts(output: str) -> set[str]:
    return {
        name for name in CONTRACTS if re.search(rf"^{re.escape(name)} BROKEN", output, re.MULTILINE)
    }


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def plant(folder: Path, module: str, line: str) -> None:
    """Adds a line to a module; one that starts with `a_new_` is made for it."""
    path = folder.joinpath("src", "payplatform", *module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    assert file.exists() or file.name.startswith("a_new_"), f"{module} has moved"
    with file.open("a") as source:
        source.write(f"\n\n{line}\n")


def test_every_contract_holds_in_the_real_tree() -> None:
    found = lint_imports(ROOT)

    assert found.returncode == 0, found.stdout + found.stderr
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in found.stdout


@pytest.mark.parametrize(("contract", "module", "line"), PLANTED)
def test_a_planted_violation_breaks_its_contract(
    copy: Path, contract: str, module: str, line: str
) -> None:
    plant(copy, module, line)

    found = lint_imports(copy)

    assert found.returncode != 0
    assert contract in broken_contracts(found.stdout), found.stdout + found.stderr


def test_every_contract_has_a_planted_violation() -> None:
    assert {contract for contract, _, _ in PLANTED} == set(CONTRACTS)


def test_every_layered_contract_is_exhaustive() -> None:
    layered = [contract for contract in CONTRACTS.values() if contract["type"] == "layers"]

    assert layered
    assert all(contract["exhaustive"] for contract in layered)
    assert not any("exhaustive_ignores" in contract for contract in layered)


def test_every_adapter_is_kept_from_knowing_the_others() -> None:
    rooms = [
        path.relative_to(ROOT / "src").with_suffix("")
        for folder in ["banks", "keys", "storage"]
        for path in (ROOT / "src" / "payplatform" / folder).iterdir()
        if not path.name.startswith(("_", "."))
    ]

    assert {".".join(room.parts) for room in rooms} == set(CONTRACTS[ADAPTERS]["modules"])


def test_no_contract_makes_an_exception() -> None:
    assert not any("ignore_imports" in contract for contract in CONTRACTS.values())


def test_every_module_forbidden_to_the_domain_is_noticed(copy: Path) -> None:
    forbidden = CONTRACTS[PURE]["forbidden_modules"]
    plant(copy, "_domain.decisions", "\n".join(f"import {module}" for module in forbidden))

    found = lint_imports(copy)

    named = set(re.findall(r"payplatform\._domain is not allowed to import (\w+):", found.stdout))
    assert named == set(forbidden)
