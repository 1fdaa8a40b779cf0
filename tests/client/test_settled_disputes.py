"""What disputes take and give back is settled by the bank's reports, each movement once.

How: the bank disputes and decides, its notices are applied, and its reports are reconciled days
after; the property does all of it at random, and adds up what the reports say.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st
from till import Till, eur

from payplatform import DifferenceKind, Money, Payment, Reconciliation
from payplatform.banks._settlement_csv import written
from payplatform.banks.settlement_files import read_report
from payplatform.ports import SettlementReport


@pytest.fixture
def till() -> Iterator[Till]:
    till = Till()
    yield till
    till.close()


def opened(till: Till, payment: Payment, amount: str | None = None) -> str:
    assert payment.latest_operation_id is not None
    money = None if amount is None else eur(amount)
    return till.bank.disputes.open(till.merchant_id, payment.latest_operation_id, money)


def hear(till: Till) -> None:
    for notice in till.bank.notices():
        till.pay.notices.apply(notice)
        till.bank.acknowledge(notice.id)


def report_on(till: Till, day: date) -> SettlementReport:
    return read_report(till.bank.settlement_report(till.merchant_id, day))


def reported(till: Till) -> SettlementReport:
    """The report on today, once today is over."""
    day = till.now.date()
    till.advance(days=1)
    return report_on(till, day)


def shown(till: Till, account: str) -> Money:
    return till.shop.ledger.balance(account=account, currency="EUR")


def kinds(result: Reconciliation) -> list[DifferenceKind]:
    return [difference.kind for difference in result.differences]


def test_a_dispute_is_settled_when_it_takes_and_when_it_gives_back(till: Till) -> None:
    sale = till.sold("100")
    till.shop.reconcile(reported(till))
    case = opened(till, sale, "40")
    hear(till)
    assert shown(till, "acquirer_receivable") == -eur("40")

    assert till.shop.reconcile(reported(till)).ok
    assert shown(till, "acquirer_receivable") == eur("0")
    assert shown(till, "bank_cash") == eur("59.40")

    till.bank.disputes.decide(case, merchant_wins=True)
    hear(till)
    assert till.shop.reconcile(reported(till)).ok
    assert shown(till, "acquirer_receivable") == eur("0")
    assert shown(till, "bank_cash") == eur("99.40")
    assert till.events(sale).count("dispute.settled") == 2
    assert till.pay.doctor().ok


def test_the_same_report_of_a_dispute_again_changes_nothing(till: Till) -> None:
    sale = till.sold("100")
    opened(till, sale)
    hear(till)
    report = reported(till)
    first = till.shop.reconcile(report)
    before = till.stored()

    assert till.shop.reconcile(report) == evolve(first, booked=0)
    assert till.stored() == before


def test_a_dispute_that_nobody_has_heard_of_is_in_suspense_until_its_notice_comes(
    till: Till,
) -> None:
    sale = till.sold("100")
    opened(till, sale, "40")
    report = reported(till)

    assert kinds(till.shop.reconcile(report)) == [DifferenceKind.MISSING_HERE]
    assert shown(till, "suspense") == eur("40")

    hear(till)
    assert till.shop.reconcile(report).ok
    assert shown(till, "suspense") == eur("0")
    assert shown(till, "acquirer_receivable") == eur("0")


@pytest.mark.parametrize(
    ("amount", "currency", "kind"),
    [
        ("-39.00", "EUR", DifferenceKind.AMOUNT_DIFFERS),
        ("-40.00", "USD", DifferenceKind.CURRENCY_DIFFERS),
    ],
)
def test_a_dispute_that_is_settled_otherwise_is_listed(
    till: Till, amount: str, currency: str, kind: DifferenceKind
) -> None:
    opened(till, till.sold("100"), "40")
    hear(till)
    report = reported(till)
    sale, dispute = report.lines
    nothing = Money.zero(currency)
    fees = evolve(dispute.fees, interchange=nothing, scheme=nothing, acquirer=nothing)
    other = evolve(dispute, amount=Money(amount, currency), fees=fees)

    (difference,) = till.shop.reconcile(evolve(report, lines=(sale, other))).differences

    assert (difference.kind, difference.line) == (kind, dispute.number)
    assert (difference.ours, difference.banks) == (-eur("40"), other.amount)


def test_a_dispute_that_is_settled_twice_is_a_duplicate(till: Till) -> None:
    opened(till, till.sold("100"), "40")
    hear(till)
    report = reported(till)
    twice = evolve(report.lines[1], number=9)

    (difference,) = till.shop.reconcile(evolve(report, lines=(*report.lines, twice))).differences

    assert (difference.kind, difference.line) == (DifferenceKind.DUPLICATE, 9)
    assert shown(till, "suspense") == eur("40")


def test_a_dispute_that_the_bank_does_not_settle_is_missing_there(till: Till) -> None:
    sale = till.sold("100")
    opened(till, sale, "40")
    hear(till)
    report = reported(till)
    only_sale = evolve(report, lines=report.lines[:1])

    (difference,) = till.shop.reconcile(only_sale).differences

    assert (difference.kind, difference.payment_id) == (DifferenceKind.MISSING_AT_BANK, sale.id)
    assert difference.ours == -eur("40")


def test_a_dispute_is_missing_in_the_report_of_its_day_and_in_no_later_one(till: Till) -> None:
    case = opened(till, till.sold("100"), "40")
    hear(till)
    report = reported(till)
    till.shop.reconcile(evolve(report, lines=report.lines[:1]))

    till.bank.disputes.decide(case, merchant_wins=False)
    hear(till)

    assert till.shop.reconcile(reported(till)).ok


def test_reports_of_a_dispute_may_come_in_any_order(till: Till) -> None:
    case = opened(till, till.sold("100"), "40")
    hear(till)
    first = reported(till)
    till.bank.disputes.reverse(case)
    hear(till)
    second = reported(till)

    assert [till.shop.reconcile(report).ok for report in (second, first, second)] == [True] * 3
    assert (shown(till, "suspense"), shown(till, "acquirer_receivable")) == (eur("0"), eur("0"))


def test_what_is_given_back_before_we_know_that_it_is_waits_in_suspense(till: Till) -> None:
    case = opened(till, till.sold("100"), "40")
    hear(till)
    till.advance(days=1)
    till.bank.disputes.reverse(case)
    second = reported(till)

    assert kinds(till.shop.reconcile(second)) == [DifferenceKind.MISSING_HERE]
    hear(till)
    assert till.shop.reconcile(second).ok
    assert shown(till, "suspense") == eur("0")


def test_a_dispute_is_settled_though_its_sale_is_not(till: Till) -> None:
    sale = till.sold("100")
    opened(till, sale, "40")
    hear(till)
    report = reported(till)

    result = till.shop.reconcile(evolve(report, lines=report.lines[1:]))

    assert (kinds(result), result.matched) == ([DifferenceKind.MISSING_AT_BANK], 1)
    assert shown(till, "bank_cash") == -eur("40")


def test_a_dispute_that_was_booked_before_the_time_of_the_report_is_late(till: Till) -> None:
    opened(till, till.sold("100"), "40")
    hear(till)
    report = reported(till)
    sale, dispute = report.lines
    late = evolve(dispute, booked_at=report.since - timedelta(seconds=1))

    assert kinds(till.shop.reconcile(evolve(report, lines=(sale, late)))) == [DifferenceKind.LATE]
    assert shown(till, "acquirer_receivable") == eur("0")


def test_what_a_dispute_takes_and_gives_back_on_one_day_need_not_be_settled(till: Till) -> None:
    case = opened(till, till.sold("100"), "40")
    till.bank.disputes.reverse(case)
    hear(till)
    report = reported(till)

    assert len(report.lines) == 1
    assert till.shop.reconcile(report).ok
    assert shown(till, "acquirer_receivable") == eur("0")


def test_a_report_of_disputes_reads_as_it_was_written(till: Till) -> None:
    case = opened(till, till.sold("100"), "40")
    report = reported(till)

    assert report.lines[1].dispute_id == case
    assert read_report(written(report)) == evolve(report, digest=report.digest)


@pytest.mark.parametrize("named", ["", "4242424242424242", "x" * 256, "a\u202eb"])
def test_what_can_be_no_dispute_that_we_were_told_of_is_not_looked_for(
    till: Till, named: str
) -> None:
    case = opened(till, till.sold("100"), "40")
    day = till.now.date()
    till.advance(days=1)
    raw = till.bank.settlement_report(till.merchant_id, day)

    line = read_report(raw.replace(case.encode(), named.encode())).lines[1]

    assert (line.dispute_id, line.operation_id) == (None, None)


_steps = st.sampled_from(["sell", "open", "win", "lose", "reverse", "hear", "pass", "reconcile"])


@given(steps=st.lists(_steps, max_size=30))
@example(steps=["open", "win", "hear", "pass", "lose"])
@example(steps=["open", "hear", "win", "pass"])
def test_whatever_is_disputed_and_decided_the_books_come_to_what_the_bank_has_paid(
    steps: list[str],
) -> None:
    till = Till()
    first_day, sales, cases = till.now.date(), [till.sold("100")], list[str]()
    for at, step in enumerate(steps):
        till.advance(seconds=1)  # Of what happens in one moment nobody knows the order.
        case = cases[at % len(cases)] if cases else None
        match step:
            case "sell":
                sales.append(till.sold("50"))
            case "open" if (
                till.bank.position(till.merchant_id, sales[-1].authorization_id or "").refundable
                > 1_000
            ):
                cases.append(opened(till, sales[-1], "10"))
            case "win" | "lose" if case:
                till.bank.disputes.decide(case, merchant_wins=step == "win")
            case "reverse" if case:
                till.bank.disputes.reverse(case)
            case "hear":
                hear(till)
            case "pass":
                till.advance(hours=13)
            case "reconcile" if till.now.date() > first_day:
                till.shop.reconcile(report_on(till, till.now.date() - timedelta(days=1)))
    hear(till)
    till.advance(days=1)
    days = [first_day + timedelta(days=n) for n in range((till.now.date() - first_day).days)]
    reports = [report_on(till, day) for day in days]
    for report in reports:
        till.shop.reconcile(report)

    paid = sum(
        (line.amount - line.fees.total for report in reports for line in report.lines), eur("0")
    )
    assert shown(till, "bank_cash") == paid
    assert [till.shop.reconcile(report).differences for report in reports] == [()] * len(reports)
    assert (shown(till, "suspense"), shown(till, "acquirer_receivable")) == (eur("0"), eur("0"))
    assert till.pay.doctor().ok
    till.close()
