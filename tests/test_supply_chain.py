"""Whoever installs payplatform gets exactly what is declared, all of it listed and licensed."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "payplatform"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
DISTRIBUTIONS = packages_distributions()

# The rooms that only an extra opens; everything else is the core.
BEHIND_EXTRAS = (
    *("aio/", "cli/", "testing/"),
    "banks/_camt053.py",
    *("keys/aws.py", "keys/pkcs11.py", "keys/transit.py"),
    "reports/_page.py",
    "storage/redis_limiter.py",
)


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


CORE = names(PROJECT["dependencies"])
ALL_EXTRAS = {name for texts in EXTRAS.values() for name in names(texts)}


def with_what_they_need(packages: set[str]) -> set[str]:
    """These packages and all that they need without extras of their own."""
    found: set[str] = set()
    to_visit = list(packages)
    while to_visit:
        name = to_visit.pop()
        if name not in found:
            found.add(name)
            below = [Requirement(text) for text in requires(name) or ()]
            to_visit += [
                canonicalize_name(each.name)
                for each in below
                if each.marker is None or each.marker.evaluate({"extra": ""})
            ]
    return found


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Everything in it but what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield child
            yield from statements(child)


def imported(path: Path) -> Iterator[str]:
    """The packages that a file imports, at its top or later, that are neither Python's nor ours."""
    for node in statements(ast.parse(path.read_text())):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules = [node.module or ""]
        for module in modules:
            top = module.partition(".")[0]
            if top not in sys.stdlib_module_names and top != "payplatform":
                yield canonicalize_name(DISTRIBUTIONS.get(top, [top])[0])


def is_behind_an_extra(path: Path) -> bool:
    return path.relative_to(SOURCE).as_posix().startswith(BEHIND_EXTRAS)


def test_the_core_imports_exactly_what_it_declares() -> None:
    """No package that is not asked for, and none asked for that is not used."""
    core = [path for path in SOURCE.rglob("*.py") if not is_behind_an_extra(path)]

    assert {name for path in core for name in imported(path)} == CORE


def test_what_is_behind_an_extra_imports_what_extras_bring() -> None:
    behind = [path for path in SOURCE.rglob("*.py") if is_behind_an_extra(path)]
    used = {name for path in behind for name in imported(path)}

    assert used >= ALL_EXTRAS
    assert used - CORE <= with_what_they_need(ALL_EXTRAS)


def test_the_core_at_work_loads_exactly_what_it_declares(tmp_path: Path) -> None:
    """A fresh process that keeps a card, charges it, rotates keys and examines everything."""
    program = """
        import sys
        sys.modules["numpy"] = None  # sqlite-utils takes it along where it is, and needs it not
        already = set(sys.modules)
        from payplatform import Card, Money, PayPlatform
        pay = PayPlatform.open("shop.db")
        shop = pay.merchant(pay.merchants.create(name="Acme").id)
        card = shop.payment_methods.create(card=Card("4242424242424242", "12/40"))
        paid = shop.payments.charge(
            Money("9", "EUR"), payment_method=card.id, idempotency_key="k"
        )
        shop.payments.refund(paid.id, idempotency_key="r")
        pay.vault.rotate_data_key()
        pay.vault.run()
        assert pay.doctor().ok
        pay.close()
        print(*{name.partition(".")[0] for name in set(sys.modules) - already})
    """
    done = subprocess.run(
        [sys.executable, "-c", re.sub(r"^ {8}", "", program, flags=re.MULTILINE)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    third_party = set(done.stdout.split()) - sys.stdlib_module_names - {"payplatform"}
    loaded = {
        canonicalize_name(name) for top in third_party for name in DISTRIBUTIONS.get(top, [])
    } - {"payplatform"}

    assert loaded >= CORE
    assert loaded <= with_what_they_need(CORE)


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict[str, object]], str]:
    """The parts of the bill of materials by name, and what was printed."""
    file = tmp_path_factory.mktemp("sbom") / "sbom.cdx.json"
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "sbom.py"), str(file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    document = json.loads(file.read_text())
    assert document["bomFormat"] == "CycloneDX"
    return {canonicalize_name(part["name"]): part for part in document["components"]}, done.stdout


def test_the_bill_of_materials_has_all_that_is_shipped_and_no_tool_of_ours(
    bill: tuple[dict[str, dict[str, object]], str],
) -> None:
    parts, _ = bill

    assert set(parts) >= with_what_they_need(CORE | ALL_EXTRAS)
    assert not {"ruff", "mypy", "mkdocs", "cyclonedx-bom", "import-linter"} & set(parts)


def test_every_part_has_a_version_and_a_licence_and_is_listed(
    bill: tuple[dict[str, dict[str, object]], str],
) -> None:
    parts, printed = bill

    for name, part in parts.items():
        assert part["version"], name
        assert part["licenses"], name
        assert re.search(rf"^{re.escape(str(part['name']))} +\S+ +\S", printed, re.MULTILINE), name
    assert "NOT KNOWN" not in printed
