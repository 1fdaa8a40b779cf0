"""A statement of a month: it follows from the books, adds up, and says the same in each form."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from months import a_month, a_till
from till import Till, eur

from payplatform import ErrorCode, InvalidRequest, Money, Month
from payplatform._domain.events import Event
from payplatform._domain.ledger import Account, balances, entries_of, movements, postings_of
from payplatform._domain.payments import NO_CHANGE, Facts, rebuild
from payplatform._domain.statements import statement
from payplatform.reports import statement_csv, statement_form, statement_markdown

AT = datetime(2030, 2, 1, tzinfo=UTC)

minor = st.integers(-(10**9), 10**9)
MONEY_FACTS = (
    *("captured", "refunded", "disputed", "dispute_lost", "fees", "settled", "acquirer_fees"),
    *("reserved", "paid_out", "suspended"),
)
changes = st.builds(Facts, authorized=minor, voided=minor, **dict.fromkeys(MONEY_FACTS, minor))


@pytest.fixture
def till() -> Iterator[Till]:
    till = a_till()
    a_month(till)
    yield till
    till.close()


def entries(history: list[Facts]) -> Any:
    lines = (
        line
        for number, change in enumerate(history, start=1)
        for line in postings_of(
            Event(
                id="evt",
                merchant_id="mer",
                subject_id="pay",
                number=number,
                type="capture.succeeded",
                at=AT,
                change=change,
            ),
            "EUR",
        )
    )
    return entries_of(lines)


def shown(facts: Facts) -> dict[str, dict[Account, Money]]:
    return {"EUR": {a: Money.minor(by, "EUR") for a, by in balances(facts).items()}}


@given(change=changes)
def test_an_entry_tells_the_facts_that_made_it(change: Facts) -> None:
    told = [pair for entry in entries([change]) for pair in movements(entry)]

    assert dict(told) == {name: by for name in MONEY_FACTS if (by := getattr(change, name))}
    assert len(told) == len(dict(told))


@given(earlier=st.lists(changes, max_size=3), month=st.lists(changes, max_size=6))
def test_what_there_was_and_what_moved_come_to_what_there_is(
    earlier: list[Facts], month: list[Facts]
) -> None:
    told = statement(
        merchant_id="mer",
        merchant_name="Acme",
        month=Month.of("2030-02"),
        opening=shown(rebuild(earlier)),
        entries=entries(month),
    )

    [euros] = told.currencies
    taken_off = euros.refunded + euros.disputes_lost + euros.fees + euros.set_aside
    assert euros.closing == euros.opening + euros.captured - taken_off
    assert euros.balances == shown(rebuild([*earlier, *month]))["EUR"]
    assert euros.closing == -euros.balances[Account.MERCHANT_BALANCE]
    moved = rebuild([NO_CHANGE, *month])
    assert euros.settled.amount_minor == moved.settled
    assert euros.paid_out.amount_minor == moved.paid_out


def test_a_month_is_told_from_its_first_moment_to_its_last(till: Till) -> None:
    february = till.shop.ledger.statement(month="2030-02")

    euros, yen = february.currencies
    assert (euros.currency, yen.currency) == ("EUR", "JPY")
    assert euros.opening == eur("10") - eur("0.39")
    assert euros.captured == eur("120")
    assert euros.refunded == eur("45")
    assert euros.fees == eur("1.65") + eur("0.53") + 2 * eur("0.10")
    assert euros.closing == euros.opening + eur("120") - eur("45") - eur("2.38")
    assert (yen.opening, yen.closing) == (Money("0", "JPY"), Money("5000", "JPY"))
    at_the_end = till.shop.ledger.trial_balance(at=february.month.until - timedelta(microseconds=1))
    assert {part.currency: part.balances for part in february.currencies} == at_the_end


def test_one_month_goes_on_where_the_one_before_ended(till: Till) -> None:
    for earlier, later in (("2030-01", "2030-02"), ("2030-02", "2030-03")):
        ended = till.shop.ledger.statement(month=earlier).currencies
        begun = till.shop.ledger.statement(month=later).currencies
        assert {p.currency: p.closing for p in ended}.items() <= {
            p.currency: p.opening for p in begun
        }.items()


def test_the_month_before_the_first_payment_is_empty(till: Till) -> None:
    told = till.shop.ledger.statement(month="2029-12")

    assert told.currencies == ()
    assert "Nothing has moved yet." in statement_markdown(told)


def test_all_three_forms_tell_the_same_amounts(till: Till) -> None:
    told = till.shop.ledger.statement(month="2030-02")
    form = json.loads(json.dumps(statement_form(told)))
    rows = list(csv.DictReader(statement_csv(told)))
    text = statement_markdown(told)

    assert form["month"] == "2030-02"
    for part in form["currencies"]:
        lines = {r["line"]: r["amount"] for r in rows if r["currency"] == part["currency"]}
        for name in ("opening", "captured", "closing", "settled", "paid_out"):
            assert lines[name] == part[name]["amount"]
        assert lines["fees"].lstrip("-") == part["fees"]["amount"]
        assert lines["balance of fees"] == part["balances"]["fees"]["amount"]
        assert f"| Coming to you at the end | {part['closing']['amount']} |" in text
    assert sum(int(part["balances"]["fees"]["minor"]) for part in form["currencies"]) == -277


def test_what_is_taken_off_is_negative_where_it_is_to_be_added_up(till: Till) -> None:
    rows = list(csv.DictReader(statement_csv(till.shop.ledger.statement(month="2030-02"))))
    euros = {r["line"]: Money(r["amount"], "EUR") for r in rows if r["currency"] == "EUR"}

    names = ("opening", "captured", "refunded", "disputes_lost", "fees", "set_aside")
    assert sum((euros[name] for name in names), Money.zero("EUR")) == euros["closing"]


def test_a_merchants_name_is_no_markup(till: Till) -> None:
    merchant = till.pay.merchants.create(name="<b>*Acme* [x](http://e.example)|")
    told = till.pay.merchant(merchant.id).ledger.statement(month="2030-02")

    heading = statement_markdown(told).splitlines()[0]
    assert heading.startswith("# \\<b\\>\\*Acme\\* \\[x\\]\\(http://e\\.example\\)\\|: statement")


@pytest.mark.parametrize(
    ("month", "code"),
    [
        (None, ErrorCode.TYPE_INVALID),
        (203001, ErrorCode.TYPE_INVALID),
        *((text, ErrorCode.VALUE_INVALID) for text in ("", "2030", "2030-13", "2030-1", "30-01")),
        ("0000-01", ErrorCode.VALUE_INVALID),
        ("9999-12", ErrorCode.VALUE_INVALID),
        ("2030-01\n", ErrorCode.VALUE_INVALID),
    ],
)
def test_what_is_no_month_is_refused(till: Till, month: Any, code: ErrorCode) -> None:
    with pytest.raises(InvalidRequest) as caught:
        till.shop.ledger.statement(month=month)

    assert (caught.value.field, caught.value.code) == ("month", code)
