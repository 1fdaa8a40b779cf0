"""ledger, statement, chart, report and export."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import pytest
from command_line import GOOD, POOR, Shell, typed

MONTH = f"{datetime.now(UTC):%Y-%m}"


@pytest.fixture
def sold(shell: Shell) -> Shell:
    """A shop with a sale of 20.00 EUR, 5.00 of it given back, and a payment that was declined."""
    words = ("20.00", "EUR", "--card-stdin", "--reference", "=1+1")
    payment = shell.json("charge", *words, typing=typed(GOOD))["payment"]["id"]
    shell("refund", payment, "5.00")
    shell("charge", "7", "EUR", "--card-stdin", typing=typed(POOR))
    return shell


def test_the_ledger_shows_every_account_and_sums_to_zero(sold: Shell) -> None:
    balances = sold.json("ledger")["balances"]["EUR"]

    assert balances["merchant_balance"]["minor"] == -1500
    assert sum(shown["minor"] for shown in balances.values()) == 0
    said = sold("ledger")
    assert "merchant_balance" in said.out
    assert "-15.00" in said.out


def test_a_ledger_without_an_entry_says_so(shell: Shell) -> None:
    assert shell.json("ledger") == {"balances": {}}
    assert "nothing has moved yet" in shell("ledger").out


def test_the_entries_of_an_account_are_told_oldest_first(sold: Shell) -> None:
    listed = sold.json("ledger", "--account", "merchant_balance")

    amounts = [line["amount"]["minor"] for entry in listed["entries"] for line in entry["lines"]]
    assert amounts == [-2000, 500]
    assert not listed["has_more"]
    assert sold.json("ledger", "--account", "merchant_balance", "--limit", "1")["has_more"]
    assert "there are more" in sold("ledger", "--account", "merchant_balance", "--limit", "1").err


def test_the_entries_of_a_payment_are_told_with_all_their_lines(sold: Shell) -> None:
    payment = sold.json("list", "--status", "partially_refunded")["payments"][0]["id"]
    entries = sold.json("ledger", "--subject", payment)["entries"]

    assert {entry["subject"] for entry in entries} == {payment}
    assert all(sum(line["amount"]["minor"] for line in e["lines"]) == 0 for e in entries)
    assert payment in sold("ledger", "--subject", payment).out


def test_a_statement_comes_as_markdown_csv_and_json(sold: Shell) -> None:
    markdown = sold("statement", "--month", MONTH)
    form = sold.json("statement", "--month", MONTH)["statement"]
    rows = list(csv.DictReader(sold("statement", "--month", MONTH, "--format", "csv").out.split()))

    assert "| Coming to you at the end | 15.00 |" in markdown.out
    assert form["currencies"][0]["closing"]["minor"] == 1500
    assert {row["line"]: row["amount"] for row in rows if row["line"] == "closing"}
    spelled = sold("statement", "--month", MONTH, "--format", "json").document
    assert spelled["statement"] == form


def test_an_export_is_csv_that_does_nothing_in_a_spreadsheet(sold: Shell) -> None:
    payments = list(csv.DictReader(sold("export", "payments").out.splitlines()))
    entries = list(csv.DictReader(sold("export", "entries", "--month", MONTH).out.splitlines()))

    assert [row["reference"] for row in payments] == ["", "'=1+1"]
    assert sum(float(row["amount"]) for row in entries) == 0
    assert len(sold("export", "entries", "--month", "2001-01").out.splitlines()) == 1
    assert [p["reference"] for p in sold.json("export", "payments")["payments"]] == [None, "=1+1"]
    assert len(sold.json("export", "entries")["entries"]) == 2


def test_a_chart_shows_each_day_and_each_reason(sold: Shell) -> None:
    said = sold("chart", "--month", MONTH)
    form = sold.json("chart", "--month", MONTH)["figures"]

    assert "Taken each day: 20.00 EUR" in said.out
    assert "50.0% approved" in said.out
    assert "insufficient_funds" in said.out
    assert (form["approved"], form["declined"], form["approval_rate"]) == (1, 1, 0.5)
    assert form["declines"] == {"insufficient_funds": 1}
    assert len(form["days"]) >= 28


def test_a_chart_of_nothing_says_so(shell: Shell) -> None:
    assert "no payment of this month was decided" in shell("chart", "--month", "2001-02").out


def test_a_report_is_one_file_that_can_be_opened(sold: Shell, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    said = sold("report", "--month", MONTH, "--output", str(page))

    assert said.code == 0
    assert str(page) in said.out
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_without_the_extra_a_report_says_what_to_install(
    sold: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    said = sold("report", "--month", MONTH, "--output", str(tmp_path / "page.html"), "--json")

    assert said.error["code"] == "extra_missing"
    assert "payplatform[report]" in said.error["hint"]
    assert not list(tmp_path.glob("page.html"))


@pytest.mark.parametrize("command", ["statement", "chart"])
def test_what_is_no_month_is_refused(shell: Shell, command: str) -> None:
    said = shell(command, "--month", "2030-13", "--json")

    assert (said.code, said.error["field"]) == (2, "month")
