"""A card number comes in at a hidden prompt or on standard input, and goes out nowhere."""

import base64
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import CHALLENGED, GOOD, POOR, PROGRAM, Said, Shell, environment, typed

GROUPED = "4242 4242 4242 4242"
PATIENCE_S = 20


@pytest.mark.parametrize(
    "words",
    [
        ["charge", "19.99", "EUR", GOOD],
        ["charge", "19.99", "EUR", GROUPED],
        ["charge", "19.99", "EUR", *GROUPED.split()],
        ["charge", "19.99", "EUR", "4242-4242-4242-4242"],
        ["charge", "19.99", "EUR", "--payment-method", GOOD],
        ["charge", "19.99", "EUR", f"--card={GOOD}"],
        ["charge", "19.99", "EUR", "--reference", f"card {GROUPED}"],
        ["--db", GOOD, "list"],
        ["no-such-command", "378282246310005"],
        [GOOD],
        ["--help", GOOD],
        ["charge", "--metadata", f"card={GOOD}", "--help"],
    ],
)
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_an_argument_that_looks_like_a_card_number_is_refused_unseen(
    empty: Shell, words: list[str], more: list[str]
) -> None:
    said = empty(*words, *more)

    assert said.code == 2
    assert "history" in said.out + said.err
    assert "card_number_in_arguments" in said.out + said.err
    assert not_told(said, GOOD)
    assert not_told(said, "378282246310005")
    assert empty.files() == []


def test_a_mistyped_card_number_in_an_argument_is_not_echoed_either(shell: Shell) -> None:
    for words in (["charge", "1", "EUR", GOOD[:-1] + "1"], ["list", "--limit", GOOD[:-1] + "1"]):
        said = shell(*words)

        assert said.code == 2
        assert "****" in said.err
        assert "42424242" not in said.out + said.err


@pytest.mark.parametrize("word", ["order-2024010100001234", "0.00001", "1234567890123.45"])
def test_what_is_no_card_number_is_let_through(shell: Shell, word: str) -> None:
    assert shell("list", "--reference", word).code == 0


@pytest.mark.parametrize(
    "typing",
    [
        f"{GROUPED}\n12/30\n123\n",
        f"{GOOD}\r\n2030-12\r\n123\r\n",
        f"  {GOOD}  \n 12/2030 ",
        f"{GOOD}\n1230\n\n",
        f"{GOOD}\n12/30\n123\nand more that nobody asked for\n",
    ],
)
def test_a_card_is_read_from_standard_input_line_by_line(shell: Shell, typing: str) -> None:
    assert shell("charge", "1", "EUR", "--card-stdin", typing=typing).code == 0


@pytest.mark.parametrize(
    ("typing", "code"),
    [
        ("", "card_number_invalid"),
        ("\n12/30\n", "card_number_invalid"),
        (f"{GOOD}\n", "card_expiry_invalid"),
        (f"{GOOD}\n13/30\n", "card_expiry_invalid"),
        (f"{GOOD}\n01/20\n", "card_expired"),
        (f"{GOOD[:-1]}1\n12/30\n", "card_number_check_digit"),
        (f"{GOOD}\n12/30\n12345\n", "security_code_invalid"),
        (f"{GOOD}\n12/30\n12x\n", "security_code_invalid"),
        (f"12/30\n{GOOD}\n", "card_number_invalid"),
        (f"{GOOD}\n12/30\n".encode("utf-16"), "card_number_invalid"),
        (f"{GOOD}".encode() + b"\xff\xfe\n12/30\n", "card_number_invalid"),
    ],
)
def test_what_is_no_card_is_refused_unseen_and_not_stored(
    shell: Shell, typing: str | bytes, code: str
) -> None:
    said = shell("charge", "1", "EUR", "--card-stdin", "--json", typing=typing)

    assert (said.code, said.error["code"]) == (2, code)
    assert not_told(said, GOOD)
    assert "12345" not in said.out + said.err
    with shell.platform() as pay:
        assert list(shell.shop(pay).payment_methods.list()) == []


def test_a_card_is_never_asked_of_a_pipe_by_surprise(shell: Shell) -> None:
    said = shell("charge", "1", "EUR", "--json", typing=typed(GOOD))

    assert (said.code, said.error["code"]) == (2, "no_terminal")
    assert "--card-stdin" in said.error["hint"]


def test_a_stored_cards_security_code_is_read_from_a_pipe(shell: Shell) -> None:
    method = shell.payment()["payment_method"]
    words = ("charge", "1", "EUR", "--payment-method", method, "--ask-security-code")

    assert shell(*words, typing="123\n").code == 0
    assert shell(*words, typing="\n").code == 0
    said = shell(*words, "--json", typing="98765\n")

    assert (said.code, said.error["code"]) == (2, "security_code_invalid")
    assert "98765" not in said.out + said.err


def test_after_all_of_it_no_file_and_no_output_holds_a_card_number(shell: Shell) -> None:
    """Charges, declines, challenges, refunds, errors and reports, in words and in JSON."""
    numbers = [GOOD, POOR, CHALLENGED]
    said = []
    for number in numbers:
        said.append(shell("charge", "9", "EUR", "--card-stdin", typing=typed(number)))
        said.append(shell("authorize", "9", "EUR", "--card-stdin", "--json", typing=typed(number)))
    payment = shell.json("list", "--status", "captured")["payments"][0]["id"]
    for words in (["refund", payment, "5"], ["show", payment], ["list"], ["doctor"], ["recover"]):
        said += [shell(*words), shell(*words, "--json")]

    for number in numbers:
        for each in said:
            assert not_told(each, number)
        for file in shell.files():
            content = file.read_bytes()
            assert [form for form in forms(number) if form in content] == [], file.name


def test_the_search_for_numbers_finds_one(tmp_path: Path) -> None:
    """Else the test above could not fail."""
    file = tmp_path / "leak"
    for form in forms(GOOD):
        file.write_bytes(b"x" + form + b"y")

        assert form in file.read_bytes()
    assert not not_told(Said(0, "", f"card {GROUPED}"), GOOD)


def forms(number: str) -> Iterator[bytes]:
    """A card number in the forms in which it might be found."""
    grouped = [number[start : start + 4] for start in range(0, len(number), 4)]
    yield number.encode()
    yield " ".join(grouped).encode()
    yield "-".join(grouped).encode()
    yield number.encode().hex().encode()
    yield number.encode("utf-16-le")
    yield int(number).to_bytes(8, "big")
    yield base64.b64encode(number.encode())[:20]


def not_told(said: Said, number: str) -> bool:
    output = (said.out + said.err).encode()
    return not any(form in output for form in forms(number))


class Terminal:
    """The command line on a terminal of its own, and somebody who types."""

    def __init__(self, *words: str, db: Path) -> None:
        play = f"import pty, sys; sys.exit(pty.spawn({[*PROGRAM, *words]!r}) >> 8)"
        self.process = subprocess.Popen(
            [sys.executable, "-c", play],
            env=environment({"PAYPLATFORM_DB": str(db), "TERM": "dumb"}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.shown = b""
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)

    def wait_for(self, text: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while text.encode() not in self.shown:
            assert time.monotonic() < until, self.shown
            self._read()

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        # The prompt is written before the echo is switched off, a moment later.
        time.sleep(0.2)
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def end(self) -> int:
        code = self.process.wait(PATIENCE_S)
        self._read()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.shown += self.process.stdout.read() or b""
        time.sleep(0.01)


def test_at_a_terminal_the_card_is_asked_for_and_number_and_code_are_not_shown(
    shell: Shell,
) -> None:
    terminal = Terminal("charge", "19.99", "EUR", db=shell.db)
    for prompt, answer in (
        ("Card number: ", GOOD),
        ("Expiry (MM/YY): ", "12/30"),
        ("Security code (Enter for none): ", "7351"[:3]),
    ):
        terminal.wait_for(prompt)
        terminal.type(answer)
    terminal.wait_for("captured")

    assert terminal.end() == 0
    assert b"12/30" in terminal.shown
    assert b"735" not in terminal.shown.partition(b"payment")[0]
    assert GOOD.encode() not in terminal.shown


def test_at_a_terminal_ctrl_c_at_the_prompt_ends_it_before_anything_is_stored(
    shell: Shell,
) -> None:
    terminal = Terminal("charge", "19.99", "EUR", db=shell.db)
    terminal.wait_for("Card number: ")
    terminal.type("\x03")

    assert terminal.end() == 130
    assert b"error (interrupted)" in terminal.shown
    assert b"repeat" not in terminal.shown
    with shell.platform() as pay:
        assert list(shell.shop(pay).payment_methods.list()) == []


def test_at_a_terminal_another_card_can_be_typed_for_a_retry(shell: Shell) -> None:
    declined = shell.payment(number=POOR)["id"]
    terminal = Terminal("retry", declined, "--ask-card", db=shell.db)
    for prompt, answer in (("Card number: ", GOOD), ("(MM/YY): ", "12/30"), ("none): ", "")):
        terminal.wait_for(prompt)
        terminal.type(answer)
    terminal.wait_for("captured")

    assert terminal.end() == 0
