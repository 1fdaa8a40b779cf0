"""The runner of the pages sees what it is there to see: each planted untruth fails."""

from pathlib import Path

import page_runner
import pytest

TRUE = [
    pytest.param("```python\nprint(1 + 1)\n```\n\n```text\n2\n```\n", id="output"),
    pytest.param("```python\na = 1\n```\n\n```python\nassert a == 1\n```\n", id="shared names"),
    pytest.param("```python\nprint('x\\ny\\nz')\n```\n\n```text\nx\n...\nz\n```\n", id="dots"),
    pytest.param(
        "```python\nprint('pay_01m852q69aeazvmyf86ervcak2')\n```\n\n"
        "```text\npay_01m853ry3ned2b3zex2ztdd47a\n```\n",
        id="other id",
    ),
    pytest.param(
        "```python\nprint('2026-11-23 21:07:44.5+00:00')\n```\n\n"
        "```text\n2026-01-01 00:00:00+00:00\n```\n",
        id="other time",
    ),
    pytest.param(
        "```console\n$ echo one; echo two\none\ntwo\n$ echo three\nthree\n```\n", id="shell"
    ),
    pytest.param("```sh\nmake it so\n```\n", id="not run"),
]

UNTRUE = [
    pytest.param("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n", id="other output"),
    pytest.param("```python\nprint(1)\n```\n\n```text\n1\n2\n```\n", id="output missing"),
    pytest.param("```python\nassert False\n```\n", id="failing block"),
    pytest.param(
        "```python\nprint('pay_01m852q69aeazvmyf86ervcak2')\n```\n\n"
        "```text\ncus_01m853ry3ned2b3zex2ztdd47a\n```\n",
        id="id of another kind",
    ),
    pytest.param("```console\n$ echo one\ntwo\n```\n", id="other answer"),
    pytest.param("```console\n$ echo one\n```\n", id="answer not shown"),
    pytest.param("```console\n$ false\n```\n", id="failing command"),
]


@pytest.fixture
def page(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    page = tmp_path / "page.md"
    page.write_text(request.param)
    monkeypatch.chdir(tmp_path)
    return page


@pytest.mark.parametrize("page", TRUE, indirect=True)
def test_a_page_that_tells_the_truth_passes(page: Path, tmp_path: Path) -> None:
    page_runner.run(page, tmp_path)


@pytest.mark.parametrize("page", UNTRUE, indirect=True)
def test_a_page_that_does_not_fails(page: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        page_runner.run(page, tmp_path)


def test_a_page_with_a_failing_test_fails(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nA = 1\n```\n\n```python\ndef test_a():\n    assert A == 2\n```\n")

    assert page_runner.tests_are_on(page)
    with pytest.raises(AssertionError, match=r"test_page\.py:7: AssertionError"):
        page_runner.run_tests(page, tmp_path)


def test_every_kind_of_block_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\n1\n```\n\n```\nplain\n```\n\n```json\n{}\n```\n")

    assert page_runner.fences(page) == ["python", "", "json"]
