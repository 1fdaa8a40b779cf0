"""`shop.ledger`: what accounts show, when, and the entries that it comes from."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from till import START, Till, eur

from payplatform import Account, ErrorCode, InvalidRequest, Money

MINUTE = {"minutes": 1}


@pytest.fixture(params=["memory", "file"])
def till(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Till]:
    till = Till(tmp_path / "books.db" if request.param == "file" else None)
    yield till
    till.close()


def amounts(till: Till, **at: Any) -> dict[str, str]:
    """What the accounts show in euros, without those that show nothing."""
    shown = till.shop.ledger.trial_balance(**at).get("EUR", {})
    return {str(account): str(money.amount) for account, money in shown.items() if money}


def test_a_sale_and_a_refund_show_in_the_accounts_that_they_concern(till: Till) -> None:
    sold = till.sold("20")
    till.shop.payments.refund(sold.id, eur("5"), idempotency_key=till.key())

    assert amounts(till) == {"acquirer_receivable": "15.00", "merchant_balance": "-15.00"}
    owed = till.shop.ledger.balance(account="acquirer_receivable", currency="eur")
    assert owed == eur("15")
    assert till.shop.ledger.balance(account=Account.FEES, currency="JPY") == Money.zero("JPY")


def test_books_can_be_read_as_they_were(till: Till) -> None:
    sold = till.sold("20")
    till.advance(**MINUTE)
    till.shop.payments.refund(sold.id, eur("5"), idempotency_key=till.key())

    def at(when: datetime) -> Money:
        return till.shop.ledger.balance(account="merchant_balance", currency="EUR", at=when)

    assert amounts(till, at=START) == {"acquirer_receivable": "20.00", "merchant_balance": "-20.00"}
    assert at(START) == -eur("20")
    assert at(till.now) == -eur("15")
    assert amounts(till, at=START.replace(year=2029)) == {}


def test_every_currency_and_every_account_is_in_a_trial_balance_that_sums_to_zero(
    till: Till,
) -> None:
    till.sold("20")
    till.shop.payments.charge(
        Money("300", "JPY"), payment_method=till.card().id, idempotency_key=till.key()
    )

    shown = till.shop.ledger.trial_balance()
    assert list(shown) == ["EUR", "JPY"]
    for currency, accounts in shown.items():
        assert set(accounts) == set(Account)
        assert sum(accounts.values(), Money.zero(currency)) == Money.zero(currency)


def test_an_entry_is_what_one_event_did_to_the_books(till: Till) -> None:
    sold = till.sold("20")
    till.advance(**MINUTE)
    till.shop.payments.refund(sold.id, eur("5"), idempotency_key=till.key())

    sale, refund = till.shop.ledger.entries()
    assert (sale.subject_id, sale.event_number, sale.at) == (sold.id, 2, START)
    assert (refund.event_number, refund.at, refund.currency) == (4, till.now, "EUR")
    assert [(line.account, line.amount_minor) for line in refund.lines] == [
        (Account.MERCHANT_BALANCE, 500),
        (Account.ACQUIRER_RECEIVABLE, -500),
    ]


def test_entries_are_found_by_time_account_and_subject(till: Till) -> None:
    first = till.sold("20")
    till.advance(**MINUTE)
    second = till.held("30")

    def found(**where: Any) -> list[str]:
        return [entry.subject_id for entry in till.shop.ledger.entries(**where)]

    assert found() == [first.id, second.id]
    assert found(since=till.now) == found(subject=second.id) == [second.id]
    assert found(until=till.now) == found(account="merchant_balance") == [first.id]
    (only,) = till.shop.ledger.entries(account=Account.UNCAPTURED, subject=second.id)
    assert [line.amount_minor for line in only.lines] == [-3000]


def test_entries_are_read_page_by_page_and_none_is_cut_in_two(till: Till) -> None:
    """A sale has six lines, and a page holds a hundred."""
    for _ in range(40):
        till.sold("1")

    entries = list(till.shop.ledger.entries())
    assert [len(entry.lines) for entry in entries] == [6] * 40
    assert len({entry.subject_id for entry in entries}) == 40


def test_another_merchants_books_are_not_seen(till: Till) -> None:
    till.sold("20")
    other = till.pay.merchant(till.pay.merchants.create(name="Other").id)

    assert other.ledger.trial_balance() == {}
    assert not list(other.ledger.entries())


@pytest.mark.parametrize(
    ("asked", "field", "code"),
    [
        ({"account": "cash", "currency": "EUR"}, "account", ErrorCode.VALUE_INVALID),
        ({"account": 3, "currency": "EUR"}, "account", ErrorCode.VALUE_INVALID),
        ({"account": "fees", "currency": "EURO"}, "currency", ErrorCode.CURRENCY_UNKNOWN),
        (
            {"account": "fees", "currency": "EUR", "at": datetime(2030, 1, 1)},  # noqa: DTZ001  # what is refused
            "at",
            ErrorCode.TYPE_INVALID,
        ),
    ],
)
def test_a_balance_of_nothing_that_exists_is_refused(
    till: Till, asked: dict[str, Any], field: str, code: ErrorCode
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        till.shop.ledger.balance(**asked)
    assert (refused.value.field, refused.value.code) == (field, code)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"subject": "cus_01h455vb4pex5vsknk084sn02q"}, ErrorCode.ID_WRONG_KIND),
        ({"subject": "pay_1"}, ErrorCode.ID_MALFORMED),
        ({"subject": 7}, ErrorCode.TYPE_INVALID),
        ({"account": "cash"}, ErrorCode.VALUE_INVALID),
        ({"since": "yesterday"}, ErrorCode.TYPE_INVALID),
        ({"until": "today"}, ErrorCode.TYPE_INVALID),
    ],
)
def test_entries_of_nothing_that_exists_are_refused_at_once(
    till: Till, asked: dict[str, Any], code: ErrorCode
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        till.shop.ledger.entries(**asked)
    assert (refused.value.field, refused.value.code) == (next(iter(asked)), code)
