"""What the docs take from the code is what the code says now."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import payplatform
from payplatform import errors
from payplatform._domain.operations import TRANSITIONS, OperationState, Trigger
from payplatform._domain.payments import PaymentStatus

ROOT = Path(__file__).parent.parent.parent
REFERENCE = ROOT / "docs" / "reference"

sys.path.insert(0, str(ROOT / "tools"))

import error_words  # noqa: E402  # from tools, which is no package
import generate_docs  # noqa: E402  # as above
import state_diagram  # noqa: E402  # as above


def test_no_page_is_stale() -> None:
    stale = [path.name for path in generate_docs.stale()]

    assert stale == [], "run: python tools/generate_docs.py"


def test_every_section_that_can_be_generated_is_shown() -> None:
    assert generate_docs.unused() == set()


def test_the_check_fails_on_a_stale_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And writing mends it."""
    page = tmp_path / "page.md"
    page.write_text(
        "Codes:\n\n<!-- generated: exit-codes -->\noutdated\n<!-- /generated -->\n\nEnd.\n"
    )
    monkeypatch.setattr(generate_docs, "DOCS", tmp_path)
    monkeypatch.setattr(generate_docs, "ROOT", tmp_path)
    monkeypatch.setattr(generate_docs, "DIAGRAM", tmp_path / "operations.svg")

    assert generate_docs.main(["--check"]) == 1
    assert "outdated" in page.read_text()
    assert generate_docs.main([]) == 0
    assert generate_docs.main(["--check"]) == 0
    assert page.read_text().startswith("Codes:\n")
    assert page.read_text().endswith("\n\nEnd.\n")
    assert "outdated" not in page.read_text()


def test_a_page_cannot_ask_for_a_section_that_nobody_writes() -> None:
    with pytest.raises(KeyError, match="no such region"):
        generate_docs.fresh("<!-- generated: nonsense -->\n<!-- /generated -->", "page.md")


def test_every_error_code_has_words() -> None:
    assert set(error_words.ERROR_WORDS) == set(errors.ErrorCode)


def test_the_diagram_shows_every_state_and_every_transition() -> None:
    drawn = re.findall(r">(\w+)</text>", state_diagram.state_diagram(TRANSITIONS))

    assert sorted(drawn) == sorted([*OperationState, *(trigger for _, trigger in TRANSITIONS)])


def test_the_diagram_refuses_what_it_cannot_draw() -> None:
    back = {(OperationState.ABORTED, Trigger.APPROVED): OperationState.SUCCEEDED}

    with pytest.raises(ValueError, match="more than this can draw"):
        state_diagram.state_diagram(TRANSITIONS | back)


def test_every_status_and_state_is_explained() -> None:
    page = (REFERENCE / "operations.md").read_text()

    for name in (*PaymentStatus, *OperationState):
        assert f"| `{name}` |" in page


def test_every_public_name_is_in_the_api_reference() -> None:
    shown = set(re.findall(r"^::: payplatform\.(\w+)$", _api(), re.MULTILINE))

    assert set(payplatform.__all__) - shown - set(dir(errors)) - {"__version__"} == set()


def test_every_public_module_is_in_the_api_reference() -> None:
    for module in ("errors", "ports", "testing", "banks.simulated"):
        assert re.search(rf"^::: payplatform\.{re.escape(module)}\b", _api(), re.MULTILINE), module


def test_the_script_runs_as_the_docs_say() -> None:
    told = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "generate_docs.py"), "--check"],
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (told.returncode, told.stdout) == (0, "")


def _api() -> str:
    return (REFERENCE / "api.md").read_text()
