"""Reports that are taken days after, as on a Monday: what each lacks is seen all the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from attrs import evolve
from till import Till, eur

from payplatform import DifferenceKind, Payment
from payplatform.banks.settlement_files import read_report
from payplatform.ports import SettlementReport

TAKES_CAPTURES_BACK = "4000000000010332"


@pytest.fixture
def till() -> Iterator[Till]:
    till = Till()
    yield till
    till.close()


@pytest.fixture
def sale(till: Till) -> Payment:
    """Captured half an hour before midnight, and taken back by the bank before the next."""
    till.advance(hours=11, minutes=30)
    held = till.held("20", TAKES_CAPTURES_BACK)
    sale = till.shop.payments.capture(held.id, idempotency_key=till.key())
    till.advance(hours=2)
    for notice in till.bank.notices():
        till.pay.notices.apply(notice)
    return sale


@pytest.fixture
def reports(till: Till, sale: Payment) -> tuple[SettlementReport, SettlementReport]:
    """The reports of both days, a few days after."""
    captured_on = sale.updated_at.date()
    till.advance(days=3)
    first, second = (
        read_report(till.bank.settlement_report(till.merchant_id, day))
        for day in (captured_on, captured_on + timedelta(days=1))
    )
    return first, second


def test_both_directions_are_settled(
    till: Till, reports: tuple[SettlementReport, SettlementReport]
) -> None:
    assert [till.shop.reconcile(report).ok for report in reports] == [True, True]
    assert till.shop.ledger.balance(account="acquirer_receivable", currency="EUR") == eur("0")


def test_a_reversal_that_the_bank_owes_is_missing_there_also_days_after(
    till: Till, sale: Payment, reports: tuple[SettlementReport, SettlementReport]
) -> None:
    first, second = reports
    assert till.shop.reconcile(first).ok

    (difference,) = till.shop.reconcile(evolve(second, lines=())).differences

    assert (difference.kind, difference.payment_id) == (DifferenceKind.MISSING_AT_BANK, sale.id)


def test_what_is_taken_back_and_was_never_settled_is_missing_at_the_bank(
    till: Till, sale: Payment, reports: tuple[SettlementReport, SettlementReport]
) -> None:
    first, second = reports
    till.shop.reconcile(evolve(first, lines=()))

    (difference,) = till.shop.reconcile(second).differences

    assert (difference.kind, difference.payment_id) == (DifferenceKind.MISSING_AT_BANK, sale.id)
    assert (difference.line, difference.banks) == (second.lines[0].number, -eur("20"))
    assert till.shop.reconcile(second).differences == (difference,)
    assert till.shop.ledger.balance(account="bank_cash", currency="EUR") == -eur("20")


def test_nothing_differs_once_reports_that_came_in_the_wrong_order_are_all_there(
    till: Till, reports: tuple[SettlementReport, SettlementReport]
) -> None:
    first, second = reports
    till.shop.reconcile(second)
    assert till.shop.reconcile(first).ok
    assert till.shop.reconcile(second).ok
