"""reconcile: the simulated bank's report on a day, or a bank's file."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from command_line import GOOD, Shell

from payplatform import Card, Money, PayPlatform
from payplatform.banks.settlement_files import read_report
from payplatform.banks.simulated import SimulatedBank
from payplatform.cli._screen import Screen
from payplatform.cli._session import Session
from payplatform.cli._settlements import _bar

BEFORE = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def sold(shell: Shell) -> str:
    """A sale of yesterday, by its operation."""
    with (
        closing(SimulatedBank(f"{shell.db}.bank", now=lambda: BEFORE)) as bank,
        PayPlatform.open(shell.db, bank=bank, now=lambda: BEFORE) as pay,
    ):
        shop = shell.shop(pay)
        card = shop.payment_methods.create(card=Card(GOOD, "12/40"))
        payment = shop.payments.charge(
            Money("20", "EUR"), payment_method=card.id, idempotency_key="yesterday"
        )
        assert payment.latest_operation_id is not None
        return payment.latest_operation_id


def report_of(shell: Shell) -> bytes:
    with closing(SimulatedBank(f"{shell.db}.bank")) as bank, shell.platform() as pay:
        return bank.settlement_report(shell.shop(pay).id, BEFORE.date())


@pytest.mark.usefixtures("sold")
def test_yesterdays_report_is_booked_and_agrees(shell: Shell) -> None:
    said = shell("reconcile")

    assert (said.code, said.err) == (0, "")
    assert "1 line, 1 matched, 1 of them new" in said.out
    assert "agree" in said.out
    assert shell.json("reconcile", "--day", f"{BEFORE:%Y-%m-%d}")["booked"] == 0


def test_a_file_that_differs_ends_in_a_code_of_its_own(
    shell: Shell, sold: str, tmp_path: Path
) -> None:
    file = tmp_path / "report.csv"
    file.write_bytes(report_of(shell).replace(b"20.00", b"19.00"))
    said = shell("reconcile", str(file))

    assert said.code == 11
    assert "another amount" in said.out
    assert sold in said.out
    assert "19.00 EUR" in said.out
    (difference,) = shell("reconcile", str(file), "--json").document["differences"]
    assert (difference["kind"], difference["operation"]) == ("amount_differs", sold)
    assert (difference["line"], difference["banks"]["amount"]) == (3, "19.00")


@pytest.mark.usefixtures("sold")
def test_a_report_is_read_from_standard_input(shell: Shell) -> None:
    said = shell("reconcile", "-", typing=report_of(shell))

    assert (said.code, "agree" in said.out) == (0, True)


def test_a_file_that_is_no_report_is_refused_with_its_line(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "report.csv"
    file.write_bytes(b"hello\n")
    said = shell("reconcile", str(file))

    assert said.code == 2
    assert "line 1 of the report" in said.err


def test_a_day_that_is_not_over_has_no_report(shell: Shell) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    said = shell("reconcile", "--day", f"{tomorrow:%Y-%m-%d}")

    assert said.code == 2
    assert "not over yet" in said.err


@pytest.mark.usefixtures("sold")
def test_a_bar_is_shown_to_a_person_while_lines_are_looked_at(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = read_report(report_of(shell))
    monkeypatch.setattr(Screen, "is_terminal", True)
    screen = Screen(stderr=True, width=80)
    screen.file = StringIO()
    with shell.platform() as pay, _bar(Session(err=screen), report) as show:
        shell.shop(pay).reconcile(report, progress=show)

    assert "lines" in screen.file.getvalue()
    assert "1/1" in screen.file.getvalue()


def test_who_asks_for_json_is_shown_no_bar(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    report = read_report(report_of(shell))
    monkeypatch.setattr(Screen, "is_terminal", True)
    with _bar(Session(json=True), report) as show:
        assert show is None
