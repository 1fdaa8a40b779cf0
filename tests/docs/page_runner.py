"""Runs the code on a page of the docs as a reader would: from top to bottom, in one empty folder.

- ```python blocks share one namespace, which is the page's.
- A ```text block shows what the python block above it printed.
- Each line of a ```console block that starts with `$ ` is run by a shell that knows `payplatform`;
  the lines below it show what it printed.
- A page that defines tests is a test file: all its python is handed to pytest.

What is shown is compared with what is printed, but for ids, times and durations, and `...` stands
for anything. Nothing else is fenced but ```sh: commands for a shell that no test can run.
"""

import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

from sybil import Document, Example, Sybil
from sybil.parsers.markdown import CodeBlockParser

import payplatform
from payplatform import PayPlatform

LANGUAGES = {"python", "text", "console", "sh"}
FENCE = re.compile(r"^```(.*)$", re.MULTILINE)
DEFINES_TESTS = re.compile(r"^(def test_|class Test)", re.MULTILINE)

# What differs from one run to the next, and the word that stands for it when outputs are compared.
VARIES = [
    (re.compile(r"\b(mer|cus|pm|pay|op|evt|tok)_[0-7][0-9a-hjkmnp-tv-z]{25}\b"), r"<\1>"),
    (re.compile(r"\bcli-[0-9a-f]{32}\b"), "<key>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(\+00:00|Z| UTC)?"), "<time>"),
    (re.compile(r"\b\d+(\.\d+)? ?(ms|s|seconds)\b"), "<duration>"),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
]


def tests_are_on(page: Path) -> bool:
    """Whether the page's python defines tests."""
    return any(DEFINES_TESTS.search(e.parsed) for e in _examples(page) if _language(e) == "python")


def run(page: Path, folder: Path) -> None:
    """Runs every block, with `folder` as the current directory.

    Raises:
        AssertionError: a block shows something else than what it prints, or a command fails.
    """
    shell = _shell(folder)
    printed = ""
    namespace: dict[str, object] = {"__name__": page.stem}
    try:
        for example in _examples(page):
            if _language(example) == "python":
                with contextlib.redirect_stdout(io.StringIO()) as output:
                    exec(_compiled(example), namespace)  # noqa: S102  # that is what a page is for
                printed = output.getvalue()
            elif _language(example) == "text":
                _assert_shown(example.parsed, printed, example)
            elif _language(example) == "console":
                _run_console(example, shell)
    finally:
        for thing in namespace.values():
            if isinstance(thing, PayPlatform):
                thing.close()


def run_tests(page: Path, folder: Path) -> None:
    """Hands the page's python to pytest, each line at its own number."""
    lines: list[str] = []
    for example in _examples(page):
        if _language(example) == "python":
            lines += [""] * (example.line + example.parsed.line_offset - len(lines))
            lines += example.parsed.splitlines()
    file = folder / f"test_{page.stem.replace('-', '_')}.py"
    file.write_text("\n".join(lines) + "\n")
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "payplatform.testing.plugin", file.name],
        cwd=folder,
        env=_environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert " passed" in told.stdout


def fences(page: Path) -> list[str]:
    """The language of every fenced block, in order."""
    return FENCE.findall(page.read_text())[::2]


def _examples(page: Path) -> Iterator[Example]:
    return _document(page).examples()


def _document(page: Path) -> Document:
    def unevaluated(_: Example) -> None:
        raise NotImplementedError

    parsers = [CodeBlockParser(language, unevaluated) for language in LANGUAGES]
    return Sybil(parsers).parse(page)


def _language(example: Example) -> str:
    return str(example.region.lexemes["arguments"])


def _compiled(example: Example) -> CodeType:
    above = "\n" * (example.line + example.parsed.line_offset)
    return compile(above + example.parsed, example.path, "exec", dont_inherit=True)


def _shell(folder: Path) -> dict[str, str]:
    """An environment in which `payplatform` is the one under test."""
    commands = folder / ".commands"
    commands.mkdir()
    program = commands / "payplatform"
    start = "from payplatform.cli import main; main()"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{start}' \"$@\"\n")
    program.chmod(0o755)
    path = f"{commands}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return _environment(PATH=path, COLUMNS="110", NO_COLOR="1", TERM="dumb")


def _environment(**variables: str) -> dict[str, str]:
    """That of this process, where what is under test is found from every folder."""
    return {**os.environ, "PYTHONPATH": str(Path(payplatform.__file__).parents[1]), **variables}


def _run_console(example: Example, shell: dict[str, str]) -> None:
    for entry in re.split(r"^\$ ", example.parsed, flags=re.MULTILINE)[1:]:
        command, _, shown = entry.partition("\n")
        told = subprocess.run(
            ["sh", "-c", command],
            env=shell,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert told.returncode == 0, f"{example.path}: {command}: {told.stderr}"
        _assert_shown(shown, told.stdout + told.stderr, example)


def _assert_shown(shown: str, printed: str, example: Example) -> None:
    want, got = (_normal(text) for text in (shown, printed))
    alike = doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS)
    assert alike, f"{example.path}:{example.line} prints\n{printed}\nand shows\n{shown}"


def _normal(text: str) -> str:
    for pattern, word in VARIES:
        text = pattern.sub(word, text)
    return text.strip("\n") + "\n"
