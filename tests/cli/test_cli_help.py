"""Every command explains itself, with an example that runs as it stands."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
from command_line import CHALLENGED, POOR, Said, Shell, in_own_process

import payplatform
from payplatform.cli import EXIT_CODES
from payplatform.cli._app import app

COMMANDS = list(app.commands)
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def help_of(command: str) -> str:
    said = Shell(Path("unused.db"))(command, "--help")
    assert said.code == 0
    return said.out


def examples_of(help_text: str) -> list[str]:
    """The lines below "Example:", each a command for the shell."""
    below = re.split(r"^ +Examples?:\n", help_text, flags=re.MULTILINE)[1]
    return [line.strip() for line in below.splitlines() if line.strip()]


def test_there_are_all_the_commands() -> None:
    assert [
        *("demo", "init", "cards"),
        *("charge", "authorize", "capture", "void", "refund", "retry", "resume"),
        *(
            "list",
            "show",
            "disputes",
            "recover",
            "due",
            "unresolved",
            "resolve",
            "reconcile",
            "doctor",
            "archive",
        ),
        *("vault", "ledger", "payouts", "statement", "chart", "report", "export"),
    ] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example_of_itself(command: str) -> None:
    text = help_of(command)

    assert examples_of(text) != []
    assert all(f"payplatform {command}" in example for example in examples_of(text))
    assert "--json" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_each_commands_first_sentence_fits_the_list_of_commands(command: str) -> None:
    said = Shell(Path("unused.db"))("--help")

    (line,) = (line for line in said.out.splitlines() if line.startswith(f"  {command} "))
    assert line.endswith(".")
    assert not line.endswith("...")


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_the_help_has_every_exit_code(words: list[str]) -> None:
    said = Shell(Path("unused.db"))(*words)

    assert said.code == 0
    for code, meaning in EXIT_CODES.items():
        assert f"{code:>3}  {meaning}" in said.out


def test_the_version_is_the_librarys() -> None:
    said = Shell(Path("unused.db"))("--version")

    assert said.out == f"payplatform {payplatform.__version__}\n"


def payment_for(command: str, shell: Shell) -> str:
    """What the command's example can work on; $PAYMENT or $OPERATION stands for it."""
    match command:
        case "capture" | "void":
            payment = shell.payment("authorize", amount="120")
        case "refund" | "show":
            payment = shell.payment(amount="120")
        case "retry":
            payment = shell.payment(number=POOR)
        case "resume":
            payment = shell.payment(number=CHALLENGED)
        case "resolve":
            return shell.in_review()
        case _:
            return ""
    return str(payment["id"])


def run_example(shell: Shell, line: str, payment: str) -> Said:
    """One line of a shell: what stands left of a pipe is run by one, the rest in this process."""
    *before, command = line.split(" | ")
    typing = ""
    for producer in before:
        done = subprocess.run(["sh", "-ec", producer], capture_output=True, text=True, check=True)
        typing = done.stdout
    program, *words = shlex.split(re.sub(r"\$[A-Z]+", payment, command))
    assert program == "payplatform"
    return shell(*words, typing=typing)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_example_runs_as_it_stands(
    shell: Shell, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where one writes a file
    payment = payment_for(command, shell)

    for example in examples_of(help_of(command)):
        said = run_example(shell, example, payment)
        assert said.code == 0, (example, said)


def test_the_program_that_is_installed_is_this_one(shell: Shell) -> None:
    scripts = tomllib.loads(PYPROJECT.read_text())["project"]["scripts"]

    assert scripts == {"payplatform": "payplatform.cli:main"}
    said = in_own_process(["--json", "list"], env={"PAYPLATFORM_DB": str(shell.db)})
    assert (said.code, said.document) == (0, {"payments": [], "has_more": False})
