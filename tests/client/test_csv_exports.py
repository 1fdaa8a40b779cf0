"""Exports: every payment and every line, one at a time, and safe in a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from months import a_month, a_till
from till import Till

from payplatform import ErrorCode, InvalidRequest, Money
from payplatform.reports import entries_csv, payments_csv
from payplatform.reports._cells import csv_lines, harmless

FEBRUARY = datetime(2030, 2, 1, tzinfo=UTC)
MARCH = datetime(2030, 3, 1, tzinfo=UTC)

hostile = st.builds(
    "{}{}".format, st.sampled_from(["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"]), st.text()
)


@pytest.fixture
def till() -> Iterator[Till]:
    till = a_till()
    a_month(till)
    yield till
    till.close()


@given(text=hostile | st.builds(" {}".format, hostile))
def test_what_a_spreadsheet_takes_for_a_formula_gets_an_apostrophe(text: str) -> None:
    digits = text.removeprefix("-").replace(".", "", 1)
    is_number = text.startswith("-") and digits.isdecimal() and digits.isascii()

    assert harmless(text) == f"'{text}" or is_number


@given(amount=st.integers(-(2**63) + 1, 2**63 - 1), currency=st.sampled_from(["EUR", "JPY", "KWD"]))
def test_an_amount_stays_a_number_also_when_it_is_negative(amount: int, currency: str) -> None:
    text = str(Money.minor(amount, currency)).split()[0]

    assert harmless(text) == text


@pytest.mark.parametrize("text", ["-1-1", "-1+cmd|' /C calc'!A0", "-", "-.", "-1e5", "-1 2", "--1"])
def test_what_only_begins_like_a_number_is_none(text: str) -> None:
    assert harmless(text) == f"'{text}"


@given(rows=st.lists(st.tuples(st.text(), st.none() | st.text(), st.integers()), max_size=5))
def test_what_goes_in_is_what_a_reader_finds(rows: list[tuple[str, str | None, int]]) -> None:
    lines = list(csv_lines(("a", "b", "c"), rows))

    read = list(csv.reader(lines))
    assert read[0] == ["a", "b", "c"]
    assert read[1:] == [[harmless(a), harmless(b or ""), str(c)] for a, b, c in rows]
    assert len(lines) == len(rows) + 1


def test_every_payment_is_a_line_with_what_it_came_to(till: Till) -> None:
    rows = list(csv.DictReader(payments_csv(till.shop)))
    payments = list(till.shop.payments.list())

    assert [row["id"] for row in rows] == [payment.id for payment in payments]
    for row, payment in zip(rows, payments, strict=True):
        assert row["status"] == payment.status
        for name in ("amount", "captured", "refunded", "fees"):
            assert Money(row[name], row["currency"]) == getattr(payment, name)
    assert {row["decline"] for row in rows} == {"", "insufficient_funds", "stolen_card"}


def test_a_reference_that_is_a_formula_does_nothing(till: Till) -> None:
    references = {row["reference"] for row in csv.DictReader(payments_csv(till.shop))}

    assert {"'=2+3", "'@home", "order-1"} <= references
    assert not {"=2+3", "@home"} & references


def test_a_span_is_from_its_beginning_to_before_its_end(till: Till) -> None:
    within = list(csv.DictReader(payments_csv(till.shop, since=FEBRUARY, until=MARCH)))

    assert len(within) == 5
    assert all(row["created_at"].startswith("2030-02") for row in within)


def test_every_line_of_the_books_is_there_and_each_currency_sums_to_zero(till: Till) -> None:
    rows = list(csv.DictReader(entries_csv(till.shop)))

    assert len(rows) == sum(len(entry.lines) for entry in till.shop.ledger.entries())
    for currency in ("EUR", "JPY"):
        amounts = [Money(r["amount"], currency) for r in rows if r["currency"] == currency]
        assert sum(amounts, Money.zero(currency)) == Money.zero(currency)
    fees = list(csv.DictReader(entries_csv(till.shop, account="fees", since=MARCH)))
    assert [row["amount"] for row in fees] == ["-1.23"]


def test_lines_are_made_as_they_are_asked_for(till: Till) -> None:
    """So what is read is what there is when it is read, and no more is in memory than a page."""
    lines = payments_csv(till.shop)
    next(lines)
    later = till.sold("1")

    assert next(lines).startswith(later.id)


def test_what_breaks_a_rule_is_refused_before_a_line_is_made(till: Till) -> None:
    with pytest.raises(InvalidRequest) as caught:
        payments_csv(till.shop, since="2030")  # type: ignore[arg-type]  # that is what is refused
    assert (caught.value.field, caught.value.code) == ("created_from", ErrorCode.TYPE_INVALID)
    with pytest.raises(InvalidRequest) as caught:
        entries_csv(till.shop, account="tips")
    assert (caught.value.field, caught.value.code) == ("account", ErrorCode.VALUE_INVALID)
