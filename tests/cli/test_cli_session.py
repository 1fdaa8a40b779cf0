"""Which database, which merchant, and how a run ends when the command line itself is at fault."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import GOOD, PROGRAM, Shell, environment, in_own_process, typed

from payplatform import PayPlatform
from payplatform.banks.simulated import SimulatedBank
from payplatform.cli import EXIT_CODES, Exit

NOBODYS = "mer_01h455vb4pex5vsknk084sn02q"
COMMANDS = [
    "charge 1 EUR",
    "capture pay_1",
    "list",
    "show pay_1",
    "recover",
    "unresolved",
    "doctor",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_that_is_not_there_is_named_and_not_made(empty: Shell, command: str) -> None:
    words = command.split()
    said = empty(*words)
    document = empty(*words, "--json")

    assert said.code == document.code == 2
    assert f"there is no database at {empty.db}" in " ".join(said.err.split())
    assert "payplatform init" in said.err
    assert (document.error["code"], document.error["field"]) == ("database_missing", "db")
    assert empty.files() == []


def test_the_option_wins_over_the_variable_before_and_after_the_command(
    shell: Shell, tmp_path: Path
) -> None:
    elsewhere = {"PAYPLATFORM_DB": str(tmp_path / "no.db")}

    assert shell("list", env=elsewhere).code == 2
    assert shell("list", "--db", str(shell.db), env=elsewhere).code == 0
    assert shell("--db", str(shell.db), "list", env=elsewhere).code == 0


def test_without_option_and_variable_it_is_the_database_in_this_folder(
    empty: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(empty.db.parent)
    nowhere = {"PAYPLATFORM_DB": None}

    assert empty("init", env=nowhere).code == 0
    assert Path("payplatform.db").is_file()
    assert empty("list", env=nowhere).code == 0


def test_json_may_stand_before_the_command_too(shell: Shell) -> None:
    assert shell("--json", "list").document == {"payments": [], "has_more": False}


def test_with_two_merchants_one_has_to_be_named(shell: Shell) -> None:
    payment = shell.payment()["id"]
    first = shell.json("init")["merchant"]["id"]
    second = shell.json("init", "--name", "Other shop")["merchant"]["id"]

    said = shell("list")
    document = shell("list", "--json")

    assert said.code == document.code == 2
    assert document.error["code"] == "merchant_ambiguous"
    assert f"{second} (Other shop)" in said.err
    assert first in said.err
    assert payment in shell("list", "--merchant", first).out
    assert payment in shell("list", env={"PAYPLATFORM_MERCHANT": first}).out
    assert payment not in shell("list", "--merchant", second).out
    assert shell("show", payment, "--merchant", second).code == 3


def test_without_a_merchant_it_says_how_to_make_one(empty: Shell) -> None:
    PayPlatform.open(empty.db).close()

    said = empty("list", "--json")

    assert (said.code, said.error["code"]) == (2, "merchant_missing")
    assert "payplatform init" in said.error["hint"]


def test_a_merchant_that_is_not_there_is_exit_code_3(shell: Shell) -> None:
    assert shell("list", "--merchant", NOBODYS).code == 3
    assert shell("list", "--merchant", "mer_1").code == 2


def test_a_damaged_database_is_exit_code_8(shell: Shell) -> None:
    shell.db.write_bytes(b"this is no database" * 100)

    said = shell("list", "--json")

    assert (said.code, said.error["class"]) == (8, "StorageUnavailable")
    assert "error (storage_" in shell("list").err


def test_a_key_file_that_is_gone_is_exit_code_9_and_no_other_is_made(shell: Shell) -> None:
    key = Path(f"{shell.db}.key")
    key.unlink()

    for words in (["list"], ["charge", "1", "EUR"], ["init"]):
        said = shell(*words, "--json")
        assert (said.code, said.error["code"]) == (9, "vault_key_missing"), words
    assert not key.exists()


def test_the_master_key_may_come_from_the_environment(empty: Shell) -> None:
    from payplatform.keys.local import LocalKeyService

    variable = {"PAYPLATFORM_MASTER_KEY": LocalKeyService.generate_text()}

    assert empty("init", env=variable).code == 0
    assert empty("charge", "1", "EUR", "--card-stdin", typing=typed(GOOD), env=variable).code == 0
    assert [file.name for file in empty.files()] == ["shop.db", "shop.db.bank", "shop.db.limits"]
    assert empty("list").code == 9


def test_a_database_of_another_bank_is_read_and_never_asked_about(empty: Shell) -> None:
    with PayPlatform.open(empty.db, bank=SimulatedBank()) as pay:
        pay.merchants.create(name="Acme")

    for words in (["charge", "1", "EUR"], ["recover"]):
        said = empty(*words, "--json")
        assert (said.code, said.error["code"]) == (2, "bank_missing")
    assert empty("list").code == 0
    assert "not compared" in empty("doctor").out
    assert not Path(f"{empty.db}.bank").exists()


@pytest.mark.parametrize("words", [["no-such"], ["list", "--no-such"], ["list", "--limit", "0"]])
def test_a_mistyped_command_line_is_exit_code_2_with_a_hint(shell: Shell, words: list[str]) -> None:
    said = shell(*words)
    document = shell(*words, "--json")

    assert said.code == document.code == 2
    assert said.err.startswith("error (usage): ")
    assert "--help tells how" in said.err
    assert document.error["class"] == "UsageError"
    assert document.err == ""


def test_every_exit_code_is_documented() -> None:
    assert set(EXIT_CODES) == set(Exit)


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_the_extra_one_line_says_what_to_install(package: str) -> None:
    """A package that is not installed, simulated by forbidding its import."""
    program = f"import sys; sys.modules[{package!r}] = None\n"
    program += "from payplatform.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "list"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert package in done.stderr
    assert 'pip install "payplatform[cli]"' in done.stderr


@pytest.mark.parametrize("words", [["cards"], ["list", "--json"]])
def test_a_reader_who_stops_reading_is_no_failure_of_the_command(
    shell: Shell, words: list[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*PROGRAM, *words],
        env=environment({"PAYPLATFORM_DB": str(shell.db)}),
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writing)

    assert done.returncode == 141
    assert done.stderr == b""


def test_a_terminal_without_a_letter_shows_a_question_mark(shell: Shell) -> None:
    reference = shell(
        "charge", "1", "EUR", "--card-stdin", "--reference", "Bücher", typing=typed(GOOD)
    )
    assert "Bücher" in reference.out
    ascii_only = {"PAYPLATFORM_DB": str(shell.db), "PYTHONIOENCODING": "ascii"}

    text = in_own_process(["list"], env=ascii_only)
    document = in_own_process(["list", "--json"], env=ascii_only)

    assert (text.code, document.code) == (0, 0)
    assert "B?cher" in text.out
    assert document.document["payments"][0]["reference"] == "Bücher"


def test_in_a_pipe_there_is_no_colour_and_no_line_is_broken(shell: Shell) -> None:
    reference = "a reference that is rather long, as references go, but not too long at all"
    shell("charge", "1", "EUR", "--card-stdin", "--reference", reference, typing=typed(GOOD))

    said = in_own_process(["list"], env={"PAYPLATFORM_DB": str(shell.db), "TERM": "xterm"})

    assert "\x1b" not in said.out
    assert reference in said.out
    assert len(said.out.splitlines()) == 2
