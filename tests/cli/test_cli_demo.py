"""The guided tour: true, short, tidy, and readable in a terminal, in a pipe and by a program."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
from command_line import PROGRAM, Said, Shell, environment, in_own_process

from payplatform.cli import _calls, _demo, _tour

LONGEST_S = 60
NUMBERS = [_tour.GOOD_CARD, _tour.POOR_CARD, _tour.CHALLENGED_CARD]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo makes its own folder."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def told(folder: Path) -> Said:
    """The demo in a process of its own, in a pipe, as narrow as a terminal."""
    started = time.monotonic()
    said = in_own_process(["demo"], env={"TMPDIR": str(folder), "COLUMNS": "80"})
    assert time.monotonic() - started < LONGEST_S
    return said


def test_the_demo_ends_well_and_leaves_nothing_behind(told: Said, folder: Path) -> None:
    assert told.code == 0, told
    assert told.err == ""
    assert "What we have is what the bank has." in told.out
    assert str(folder) in told.out.replace("│", "").replace("\n", "").replace(" ", "")
    assert list(folder.iterdir()) == []


def test_the_demo_tells_every_part_of_the_story(told: Said) -> None:
    for words in (
        "Keep the card, and not its number",
        "424242******4242",
        "There is not enough money on this card",
        "requires_action",
        "partially_refunded",
        "OutcomeUnknown",
        "charges at the bank  1",
        "BankUnavailable",
        "the capture succeeded (80.00 EUR)",
        "doctor finds all well  yes",
        "pay = PayPlatform.open(database, bank=bank, now=clock)",
        "report = pay.recover()",
    ):
        assert words in told.out, words


def test_in_a_pipe_the_demo_has_no_colours_and_keeps_its_width(told: Said) -> None:
    assert "\x1b" not in told.out
    assert max(map(len, told.out.splitlines())) <= 80


@pytest.mark.parametrize("width", ["40", "120"])
def test_the_demo_fits_other_widths(width: str) -> None:
    said = Shell(Path("unused.db"))("demo", env={"COLUMNS": width})

    assert said.code == 0
    assert max(map(len, said.out.splitlines())) <= int(width)


def test_the_demo_shows_no_card_number(told: Said) -> None:
    for number in NUMBERS:
        for form in (number, number.replace(" ", ""), number.replace(" ", "-")):
            assert form not in told.out


@pytest.fixture(scope="module")
def document() -> object:
    """The demo with --json, in this process."""
    said = Shell(Path("unused.db"))("demo", "--json")
    assert said.code == 0
    assert said.err == ""
    return said.document


def test_the_story_is_data_too(document: dict[str, object]) -> None:
    scenes = document["scenes"]
    assert isinstance(scenes, list)
    assert document["ok"] is True
    assert not Path(str(document["folder"])).exists()
    assert [scene["number"] for scene in scenes] == list(range(1, 9))
    parts = [part for scene in scenes for part in scene["parts"]]
    euros = {"amount": "19.99", "currency": "EUR", "minor": 1999}
    assert {"status": "captured", "captured": euros, "refundable": euros} in [
        part["facts"] for part in parts
    ]
    books = parts[-1]["table"]
    assert [row["status"] for row in books] == [
        *("captured", "captured", "captured", "partially_refunded", "captured", "failed"),
    ]
    assert all(row["equal"] is True for row in books)
    searched = next(part["table"] for part in parts if "searched" in part["said"])
    assert {row["file"] for row in searched} >= {"shop.db", "shop.db.bank"}
    assert all(row["number found"] is False for row in searched)


def test_the_code_that_is_shown_is_python_and_short_enough(document: dict[str, object]) -> None:
    scenes = document["scenes"]
    assert isinstance(scenes, list)
    shown = [part["code"] for scene in scenes for part in scene["parts"] if part["code"]]

    assert len(shown) >= 12
    for code in shown:
        compile(code, "demo", "exec")
        assert max(map(len, code.splitlines())) <= 72
        assert "return " not in code


def test_the_code_that_is_shown_is_the_call_that_is_made() -> None:
    assert _demo.shown_code(_calls.refund).splitlines() == [
        "payment = shop.payments.refund(",
        "    payment.id,",
        '    Money("15.00", "EUR"),',
        '    idempotency_key="return-1004",',
        ")",
    ]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"..4242424242424242..", True),
        (b"..4242 4242 4242 4242..", True),
        (b"..NDI0MjQyNDI0MjQyNDI0Mg==..", True),
        (b"..xNDI0MjQyNDI0MjQyNDI0Mg..", True),
        (b"..34323432343234323432343234323432..", True),
        (b"..424242******4242..", False),
    ],
)
def test_the_search_that_is_shown_finds_what_it_looks_for(content: bytes, found: bool) -> None:
    assert _tour._found(_tour.GOOD_CARD, content) is found


def test_a_demo_that_is_interrupted_removes_its_folder_too(tmp_path: Path) -> None:
    playing = subprocess.Popen(
        [*PROGRAM, "demo"],
        env=environment({"TMPDIR": str(tmp_path), "COLUMNS": "80", "PYTHONUNBUFFERED": "1"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert playing.stdout is not None
    while "Charge it" not in playing.stdout.readline():
        assert playing.poll() is None
    assert list(tmp_path.iterdir()) != []
    playing.send_signal(signal.SIGINT)
    _, err = playing.communicate(timeout=20)

    assert playing.returncode == 130
    assert "error (interrupted)" in err
    assert list(tmp_path.iterdir()) == []
