"""What the docs show is true: every block runs, every link leads somewhere, nothing is left out."""

import re
from pathlib import Path

import page_runner
import pytest

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
WITH_TESTS = [page for page in PAGES if page_runner.tests_are_on(page)]
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#]+)(?:#[^)]*)?\)")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PAYPLATFORM_MASTER_KEY", raising=False)
    return tmp_path


@pytest.mark.parametrize("page", [README, *sorted({*PAGES} - {*WITH_TESTS})], ids=name_of)
def test_every_block_of_a_page_runs_and_prints_what_it_shows(
    page: Path, empty_folder: Path
) -> None:
    page_runner.run(page, empty_folder)


@pytest.mark.parametrize("page", WITH_TESTS, ids=name_of)
def test_the_tests_on_a_page_pass(page: Path, empty_folder: Path) -> None:
    page_runner.run_tests(page, empty_folder)


@pytest.mark.parametrize("page", [README, *PAGES], ids=name_of)
def test_every_fenced_block_is_of_a_kind_that_is_run(page: Path) -> None:
    assert set(page_runner.fences(page)) <= page_runner.LANGUAGES


def test_the_readme_begins_with_ten_lines_that_take_a_payment() -> None:
    fenced = re.search(r"^```python\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)

    assert fenced is not None
    assert page_runner.fences(README)[0] == "python"
    assert len([line for line in fenced[1].splitlines() if line.strip()]) == 11
    assert "PayPlatform.open(" in fenced[1]


@pytest.mark.parametrize("page", [README, *PAGES], ids=name_of)
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    targets = LINK.findall(page.read_text())

    assert [t for t in targets if not (page.parent / t).exists()] == []


def test_the_navigation_shows_every_page() -> None:
    shown = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text()))

    assert shown == {page.relative_to(ROOT / "docs").as_posix() for page in PAGES}
