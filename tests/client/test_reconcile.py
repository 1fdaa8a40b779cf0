"""`shop.reconcile`: what the bank has settled is booked, and what differs is listed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from attrs import evolve
from between import watched
from hypothesis import given, settings
from hypothesis import strategies as st
from till import REFUND_PENDS_THEN_FAILS, REFUND_PENDS_THEN_SUCCEEDS, START, VISA, Till, eur

from payplatform import (
    Account,
    DifferenceKind,
    ErrorCode,
    InvalidRequest,
    Money,
    OutcomeUnknown,
    Payment,
    PayPlatform,
    Reconciliation,
    StorageUnavailable,
)
from payplatform._domain.matching import Look, Suspense, booking, fit, opening
from payplatform.banks.settlement_files import read_report
from payplatform.banks.simulated import Fault
from payplatform.ports import AcquirerFees, Settlement, SettlementLine, SettlementReport
from payplatform.storage.memory import MemoryStorage
from payplatform.storage.sqlite import SQLiteStorage

TAKES_CAPTURES_BACK = "4000000000010332"
TAKES_REFUNDS_BACK = "4000000000010324"


@pytest.fixture(params=["memory", "file"])
def till(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Till]:
    till = Till(tmp_path / "books.db" if request.param == "file" else None)
    yield till
    till.close()


def reported(till: Till, day: datetime | None = None) -> SettlementReport:
    """The bank's report on a day, or on this one, once it is over."""
    of = (day or till.now).date()
    if till.now.date() == of:
        till.advance(days=1)
    return read_report(till.bank.settlement_report(till.merchant_id, of))


def refund(till: Till, payment: Payment, amount: str) -> Payment:
    return till.shop.payments.refund(payment.id, eur(amount), idempotency_key=till.key())


def captured(till: Till, amount: str, number: str) -> Payment:
    held = till.held(amount, number)
    return till.shop.payments.capture(held.id, idempotency_key=till.key())


def shown(till: Till, account: str, currency: str = "EUR") -> Money:
    return till.shop.ledger.balance(account=account, currency=currency)


def found(result: Reconciliation) -> list[tuple[str, int | None, str | None]]:
    return [(one.kind, one.line, one.operation_id) for one in result.differences]


def with_lines(report: SettlementReport, *lines: SettlementLine) -> SettlementReport:
    return evolve(report, lines=lines)


def test_what_the_bank_has_settled_is_booked_with_the_fees_that_it_keeps(till: Till) -> None:
    sale = till.sold("20")
    refund(till, sale, "5")

    result = till.shop.reconcile(reported(till))

    assert (result.ok, result.line_count, result.matched, result.booked) == (True, 2, 2, 2)
    assert shown(till, "acquirer_receivable") == eur("0")
    assert shown(till, "acquirer_fees") == eur("0.12")
    assert shown(till, "bank_cash") == eur("14.88")
    assert shown(till, "suspense") == eur("0")
    assert till.events(sale)[-2:] == ["payment.settled", "payment.settled"]
    assert till.shop.payments.get(sale.id).status == "partially_refunded"
    till.books_agree()


def test_the_same_report_again_changes_nothing_and_says_the_same(till: Till) -> None:
    till.sold("20")
    report = reported(till)
    strange = evolve(report.lines[0], number=9, operation_id=None)
    report = with_lines(report, *report.lines, strange)
    first = till.shop.reconcile(report)
    before = till.stored()

    again = till.shop.reconcile(report)

    assert again == evolve(first, booked=0)
    assert till.stored() == before


def test_a_report_of_the_same_name_with_other_content_is_refused(till: Till) -> None:
    till.sold("20")
    report = reported(till)
    till.shop.reconcile(report)
    before = till.stored()

    with pytest.raises(InvalidRequest) as caught:
        till.shop.reconcile(evolve(report, digest=bytes(32), lines=()))

    assert caught.value.code is ErrorCode.REPORT_CHANGED
    assert till.stored() == before


def test_a_report_of_another_merchant_is_refused(till: Till) -> None:
    other = till.pay.merchant(till.pay.merchants.create(name="Other").id)
    before = till.stored()

    with pytest.raises(InvalidRequest) as caught:
        other.reconcile(reported(till))

    assert caught.value.code is ErrorCode.REPORT_OF_ANOTHER
    assert till.stored() == before


@pytest.mark.parametrize("bad", [{"report": b"end,0"}, {"progress": 7}])
def test_what_is_no_report_is_refused(bad: dict[str, Any]) -> None:
    till = Till()
    call = {"report": reported(till), **bad}
    with pytest.raises(InvalidRequest) as caught:
        till.shop.reconcile(call.pop("report"), **call)

    assert caught.value.code is ErrorCode.TYPE_INVALID
    till.close()


def test_lines_are_told_apart_by_their_numbers(till: Till) -> None:
    till.sold("20")
    report = reported(till)
    with pytest.raises(InvalidRequest) as caught:
        till.shop.reconcile(with_lines(report, *report.lines, *report.lines))

    assert caught.value.code is ErrorCode.VALUE_INVALID


LARGEST = Money.minor(10**15, "EUR")
BEYOND = Money.minor(10**15 + 1, "EUR")
UNSOUND_LINES: list[dict[str, Any]] = [
    {"number": 0},
    {"number": "3"},
    {"operation_id": "4242424242424242"},
    {"operation_id": 7},
    {"dispute_id": "4242 4242 4242 4242"},
    {"dispute_id": ""},
    {"amount": eur("0")},
    {"amount": BEYOND},
    {"amount": -BEYOND},
    {"amount": 20},
    {"amount": Money("20", "USD")},
    {"fees": None},
    {"fees": AcquirerFees(interchange=BEYOND, scheme=eur("0"), acquirer=eur("0"))},
    {"fees": AcquirerFees(interchange=eur("0"), scheme=Money("0", "USD"), acquirer=eur("0"))},
    {"fees": AcquirerFees(interchange=eur("0"), scheme=eur("0"), acquirer=0)},  # type: ignore[arg-type]  # that is what is tested
    {"is_reversal": 1},
    {"booked_at": START.replace(tzinfo=None)},
    {"booked_at": "2030-01-01"},
    {"booked_at": START.replace(year=9999)},
]
UNSOUND_HEADS: list[dict[str, Any]] = [
    {"digest": b""},
    {"digest": "0" * 32},
    {"since": START.replace(tzinfo=None)},
    {"since": START.replace(year=1)},
    {"until": START.replace(year=9999)},
    {"until": START - timedelta(days=9)},
    {"lines": []},
    {"lines": (7,)},
]


@pytest.mark.parametrize("wrong", UNSOUND_LINES, ids=str)
def test_one_line_that_is_not_what_it_has_to_be_keeps_all_from_being_booked(
    till: Till, wrong: dict[str, Any]
) -> None:
    """Whoever has made the report: it is refused before anything is stored, with the line."""
    till.sold("20")
    till.sold("30")
    report = reported(till)
    first, second = report.lines
    before = till.stored()

    with pytest.raises(InvalidRequest) as caught:
        till.shop.reconcile(with_lines(report, first, evolve(second, **wrong)))

    assert caught.value.code is ErrorCode.REPORT_MALFORMED
    assert "4242" not in str(caught.value)
    assert str(caught.value).startswith(f"line {wrong.get('number', second.number)} of")
    assert till.stored() == before


@pytest.mark.parametrize("wrong", UNSOUND_HEADS, ids=str)
def test_a_report_that_could_not_be_booked_whole_is_not_begun(
    till: Till, wrong: dict[str, Any]
) -> None:
    till.sold("20")
    report = reported(till)
    before = till.stored()

    with pytest.raises(InvalidRequest) as caught:
        till.shop.reconcile(evolve(report, **wrong))

    assert caught.value.code is ErrorCode.REPORT_MALFORMED
    assert till.stored() == before


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", ErrorCode.TEXT_EMPTY),
        (7, ErrorCode.TYPE_INVALID),
        ("4242424242424242", ErrorCode.LOOKS_LIKE_CARD_NUMBER),
    ],
)
def test_the_name_of_a_report_is_text_that_may_be_kept(
    till: Till, name: Any, code: ErrorCode
) -> None:
    report = reported(till)
    before = till.stored()

    with pytest.raises(InvalidRequest) as caught:
        till.shop.reconcile(evolve(report, reference=name))

    assert caught.value.code is code
    assert till.stored() == before


def test_amounts_as_large_as_a_line_may_have_are_booked_and_added_up(till: Till) -> None:
    """So many of them in suspense, and nothing overflows on the way."""
    report = reported(till)
    nothing = eur("0")
    fees = AcquirerFees(interchange=nothing, scheme=nothing, acquirer=nothing)
    line = SettlementLine(number=1, operation_id=None, amount=LARGEST, fees=fees, booked_at=START)

    till.shop.reconcile(with_lines(report, *(evolve(line, number=at) for at in range(1, 1_001))))

    assert shown(till, "bank_cash") == LARGEST * 1_000
    assert till.pay.doctor().ok


PLANTED: dict[str, tuple[DifferenceKind, Callable[[SettlementLine], list[SettlementLine]]]] = {
    "left out": (DifferenceKind.MISSING_AT_BANK, lambda _line: []),
    "of nobody": (
        DifferenceKind.MISSING_HERE,
        lambda line: [line, evolve(line, number=99, operation_id="op_" + "0" * 26)],
    ),
    "of nothing": (
        DifferenceKind.MISSING_HERE,
        lambda line: [line, evolve(line, number=99, operation_id=None)],
    ),
    "of another amount": (
        DifferenceKind.AMOUNT_DIFFERS,
        lambda line: [evolve(line, amount=line.amount + eur("0.01"))],
    ),
    "in the other direction": (
        DifferenceKind.AMOUNT_DIFFERS,
        lambda line: [evolve(line, amount=-line.amount)],
    ),
    "of another currency": (
        DifferenceKind.CURRENCY_DIFFERS,
        lambda line: [
            evolve(
                line,
                amount=Money.minor(line.amount.amount_minor, "USD"),
                fees=evolve(
                    line.fees,
                    interchange=Money.zero("USD"),
                    scheme=Money.zero("USD"),
                    acquirer=Money.zero("USD"),
                ),
            )
        ],
    ),
    "twice": (DifferenceKind.DUPLICATE, lambda line: [line, evolve(line, number=99)]),
    "late": (
        DifferenceKind.LATE,
        lambda line: [evolve(line, booked_at=line.booked_at - timedelta(days=1))],
    ),
    "taken back without a word": (
        DifferenceKind.MISSING_HERE,
        lambda line: [line, evolve(line, number=99, amount=-line.amount, is_reversal=True)],
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_fault_is_listed_and_nothing_else(till: Till, planted: str) -> None:
    """Cash is what the bank says in any case, and what nobody can explain is in suspense."""
    kind, change = PLANTED[planted]
    sales = [till.sold("20"), till.sold("30"), till.sold("40")]
    report = reported(till)
    first, second, third = report.lines
    changed = change(second)
    report = with_lines(report, first, *changed, third)

    result = till.shop.reconcile(report)

    assert [one.kind for one in result.differences] == [kind]
    (difference,) = result.differences
    is_named = kind is not DifferenceKind.MISSING_HERE
    named = till.latest(sales[1]).id if is_named else changed[-1].operation_id
    assert difference.operation_id == named
    assert difference.line == (changed[-1].number if changed else None)
    for currency in ("EUR", "USD"):
        lines = [line for line in report.lines if line.amount.currency == currency]
        cash = sum((line.amount - line.fees.total for line in lines), Money.zero(currency))
        assert shown(till, "bank_cash", currency) == cash
        unclear = changed[-1:] if kind.is_suspense else []
        suspended = (line.amount for line in unclear if line.amount.currency == currency)
        assert -shown(till, "suspense", currency) == sum(suspended, Money.zero(currency))
    assert till.pay.doctor().ok
    assert till.shop.reconcile(report) == evolve(result, booked=0)


def test_what_an_earlier_report_has_settled_is_a_duplicate(till: Till) -> None:
    till.sold("20")
    report = reported(till)
    till.shop.reconcile(report)

    again = evolve(report, reference="another", digest=bytes(32))
    assert [kind for kind, *_ in found(till.shop.reconcile(again))] == ["duplicate"]
    assert -shown(till, "suspense") == eur("20")


def test_a_backup_that_is_older_than_the_bank_is_seen_by_what_is_missing_here(
    tmp_path: Path,
) -> None:
    till = Till(tmp_path / "books.db")
    assert isinstance(till.storage, SQLiteStorage)
    till.sold("20")
    till.storage.backup(tmp_path / "backup.db")
    lost = till.latest(till.sold("30"))
    report = reported(till)

    restored = PayPlatform(
        storage=SQLiteStorage(tmp_path / "backup.db"),
        bank=till.bank,
        keys=till.keys,
        now=till.clock,
    )
    result = restored.merchant(till.merchant_id).reconcile(report)

    assert [(one.kind, one.operation_id) for one in result.differences] == [
        (DifferenceKind.MISSING_HERE, lost.id)
    ]
    restored.close()
    till.close()


def test_what_was_unclear_leaves_suspense_when_the_report_comes_again(till: Till) -> None:
    card = till.card()
    till.bank.next(Fault.LOSE_REPLY)
    with pytest.raises(OutcomeUnknown):
        till.sold("20", payment_method=card.id)
    report = reported(till)
    assert [kind for kind, *_ in found(till.shop.reconcile(report))] == ["missing_here"]
    assert -shown(till, "suspense") == eur("20")

    till.pay.recover()
    result = till.shop.reconcile(report)

    assert (result.ok, result.booked) == (True, 1)
    assert shown(till, "suspense") == eur("0")
    assert shown(till, "bank_cash") == eur("19.88")
    assert shown(till, "acquirer_receivable") == eur("0")
    assert till.pay.doctor().ok


def apply_notices(till: Till) -> None:
    for notice in till.bank.notices():
        till.pay.notices.apply(notice)
        till.bank.acknowledge(notice.id)


def test_a_capture_that_is_taken_back_later_is_settled_in_both_directions(till: Till) -> None:
    till.advance(hours=11, minutes=30)
    captured(till, "20", TAKES_CAPTURES_BACK)
    day = till.now
    till.advance(hours=2)
    apply_notices(till)
    first, second = reported(till, day), reported(till)

    assert till.shop.reconcile(first).ok
    assert shown(till, "acquirer_receivable") == -eur("20")
    assert till.shop.reconcile(second).ok
    assert [line.is_reversal for line in second.lines] == [True]
    assert shown(till, "acquirer_receivable") == eur("0")
    assert shown(till, "bank_cash") == -eur("0.12")
    assert till.pay.doctor().ok


def test_a_reversal_that_the_bank_owes_is_missing_there(till: Till) -> None:
    till.advance(hours=11, minutes=30)
    sale = captured(till, "20", TAKES_CAPTURES_BACK)
    day = till.now
    till.advance(hours=2)
    apply_notices(till)
    till.shop.reconcile(reported(till, day))
    second = with_lines(reported(till))

    (difference,) = till.shop.reconcile(second).differences
    assert (difference.kind, difference.payment_id) == (DifferenceKind.MISSING_AT_BANK, sale.id)
    assert difference.ours == -eur("20")


def test_what_is_missing_is_listed_in_the_report_of_its_time_alone(till: Till) -> None:
    till.sold("20")
    first = reported(till)
    till.sold("30")
    second = reported(till)

    assert [kind for kind, *_ in found(till.shop.reconcile(with_lines(first)))] == [
        "missing_at_bank"
    ]
    assert till.shop.reconcile(second).ok


def test_what_was_reversed_and_reported_is_not_missing_on_the_day_it_was_booked(
    till: Till,
) -> None:
    """Each report is reconciled on the day after, as a shop does."""
    till.advance(hours=11, minutes=30)
    captured(till, "20", TAKES_CAPTURES_BACK)
    day = till.now
    till.advance(hours=2)
    apply_notices(till)
    assert till.shop.reconcile(reported(till, day)).ok
    assert till.shop.reconcile(reported(till)).ok
    assert till.shop.reconcile(reported(till)).ok


def test_a_refund_that_is_decided_on_the_next_day_is_in_the_next_report(till: Till) -> None:
    sale = till.sold("20", REFUND_PENDS_THEN_SUCCEEDS)
    till.advance(hours=11, minutes=30)
    refund(till, sale, "5")
    day = till.now
    till.advance(hours=2)
    apply_notices(till)

    assert till.shop.reconcile(reported(till, day)).ok
    assert till.shop.reconcile(reported(till)).ok


class Breaks(MemoryStorage):
    """A store that fails for good once it has taken so many commits."""

    left: int | None = None

    def commit(self, changes: Any) -> None:
        if self.left is not None:
            if not self.left:
                raise StorageUnavailable("the disk is gone")
            self.left -= 1
        super().commit(changes)


def several_days(till: Till) -> list[SettlementReport]:
    sale = till.sold("20")
    refund(till, sale, "5")
    refund(till, sale, "6")
    till.sold("30")
    report = reported(till)
    strange = evolve(report.lines[0], number=99, operation_id=None)
    return [with_lines(report, *report.lines, strange)]


def settled(till: Till) -> dict[Account, Money]:
    return till.shop.ledger.trial_balance()["EUR"]


@pytest.mark.parametrize("commits", range(4))
def test_a_run_that_was_broken_off_is_taken_up(commits: int) -> None:
    whole = Till()
    (report,) = several_days(whole)
    wanted = whole.shop.reconcile(report)
    till = Till()
    store = Breaks()
    till.pay = PayPlatform(storage=store, bank=till.bank, keys=till.keys, now=till.clock)
    till.merchant_id = till.pay.merchants.create(name="Acme").id
    till.shop = till.pay.merchant(till.merchant_id)
    (report,) = several_days(till)

    store.left = commits
    with pytest.raises(StorageUnavailable):
        till.shop.reconcile(report)
    store.left = None
    result = till.shop.reconcile(report)

    assert len(result.differences) == len(wanted.differences)
    assert settled(till) == settled(whole)
    assert till.pay.doctor().ok
    whole.close()
    till.close()


class Outrun(MemoryStorage):
    """A store in which something else happens just before the next commit but one."""

    meanwhile: Callable[[], object] | None = None
    passing = 1

    def commit(self, changes: Any) -> None:
        if self.meanwhile is not None and not self.passing:
            act, self.meanwhile = self.meanwhile, None
            act()
        elif self.meanwhile is not None:
            self.passing -= 1
        super().commit(changes)


def test_a_line_is_never_both_booked_and_in_suspense() -> None:
    """Another run puts it into suspense after this one has seen what it is for."""
    till = Till()
    store = Outrun()
    till.pay = PayPlatform(storage=store, bank=till.bank, keys=till.keys, now=till.clock)
    till.merchant_id = till.pay.merchants.create(name="Acme").id
    till.shop = till.pay.merchant(till.merchant_id)
    till.sold("20")
    report = reported(till)
    opened, _ = opening(report, till.merchant_id, now=till.now, new_id=lambda kind: kind)
    line = report.lines[0]
    unclear = Look(line=line, operation=None, payment=None)
    slow = Suspense(settlement=opened, lines={})
    ids = iter(f"evt_{number:026d}" for number in range(9))
    changes, _ = booking(
        [fit(unclear, report, slow)], slow, now=till.now, new_id=lambda _kind: next(ids)
    )
    assert changes is not None

    store.meanwhile = lambda: store.commit(changes)
    assert till.shop.reconcile(report).ok
    assert shown(till, "suspense") == eur("0")
    assert shown(till, "bank_cash") == eur("19.88")
    assert till.pay.doctor().ok
    till.close()


def is_booked_by_another(till: Till, report: SettlementReport) -> None:
    till.pay.recover()
    assert till.shop.reconcile(report).ok


def test_who_has_looked_before_it_was_known_does_not_book_it_beside_the_one_who_knew(
    till: Till,
) -> None:
    """Not even for a while: what the bank has settled once is in the books once at any time."""
    till.bank.next(Fault.LOSE_REPLY)
    with pytest.raises(OutcomeUnknown):
        till.sold("20")
    report = reported(till)
    before_it_writes = iter((lambda: None, lambda: is_booked_by_another(till, report)))

    def somebody_is_faster(*_: object) -> None:
        next(before_it_writes, lambda: None)()

    slow = watched(till, "commit", somebody_is_faster).merchant(till.merchant_id)
    assert slow.reconcile(report).ok
    assert shown(till, "suspense") == eur("0")
    assert shown(till, "bank_cash") == eur("19.88")
    [kept] = till.storage.page(till.merchant_id, Settlement, limit=2)
    told = till.storage.events(till.merchant_id, kept.id)
    assert [event.type for event in told] == ["settlement.opened"]
    till.books_agree()


def test_what_an_event_says_of_suspense_is_plain_text_in_every_store(till: Till) -> None:
    till.sold("20")
    report = reported(till)
    strange = evolve(report.lines[0], operation_id=None)
    result = till.shop.reconcile(with_lines(report, strange))

    told = till.storage.events(till.merchant_id, result.settlement_id)
    [why] = [dict(e.details)["why"] for e in told if e.type == "settlement.suspended"]
    assert (type(why), why) == (str, "missing_here")


def test_two_at_once_book_each_line_once(till: Till) -> None:
    (report,) = several_days(till)
    threads = [Thread(target=till.shop.reconcile, args=(report,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert shown(till, "bank_cash") == eur("58.70") - report.lines[0].fees.total
    assert till.pay.doctor().ok


def test_progress_tells_how_many_lines_were_looked_at() -> None:
    till = Till()
    (report,) = several_days(till)
    told: list[tuple[int, int]] = []
    till.shop.reconcile(report, progress=lambda *step: told.append(step))

    assert told == [(5, 5)]
    till.close()


_CARDS = {
    "sell what is taken back": TAKES_CAPTURES_BACK,
    "sell what is refunded for a while": TAKES_REFUNDS_BACK,
    "sell what cannot be refunded": REFUND_PENDS_THEN_FAILS,
    "sell what is refunded later": REFUND_PENDS_THEN_SUCCEEDS,
}
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["sell", "refund", "wait", *_CARDS]),
        st.integers(1, 5000),
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(steps=_STEPS)
def test_after_any_days_cash_is_what_the_bank_has_paid_and_nothing_is_owed(
    steps: list[tuple[str, int]],
) -> None:
    till = Till()
    sold: list[str] = []
    days, cash = {START.date()}, eur("0")
    for step, minor in steps:
        amount = str(Money.minor(minor, "EUR").amount)
        if step == "wait":
            till.advance(hours=minor % 40)
        elif step == "refund" and sold:
            payment = till.shop.payments.get(sold[minor % len(sold)])
            if payment.refundable:
                refund(till, payment, str(payment.refundable.amount))
        elif step != "refund":
            sold.append(captured(till, amount, _CARDS.get(step, VISA)).id)
        apply_notices(till)
        days.add(till.now.date())
    till.advance(hours=2)
    apply_notices(till)
    till.advance(days=1)
    last = till.now.date()
    days |= {START.date() + timedelta(days=at) for at in range((last - START.date()).days)}
    for day in sorted(day for day in days if day < last):
        report = read_report(till.bank.settlement_report(till.merchant_id, day))
        result = till.shop.reconcile(report)
        assert result.ok, result.differences
        cash += sum((line.amount - line.fees.total for line in report.lines), eur("0"))

    assert shown(till, "bank_cash") == cash
    assert shown(till, "acquirer_receivable") == eur("0")
    assert shown(till, "suspense") == eur("0")
    assert till.pay.doctor().ok
    till.close()


@pytest.mark.parametrize(("kept", "rule"), [("_postings", "postings"), ("_events", "events")])
def test_the_doctor_sees_when_something_of_suspense_is_gone(kept: str, rule: str) -> None:
    till = Till()
    (report,) = several_days(till)
    settlement = till.shop.reconcile(report).settlement_id
    assert till.pay.doctor().ok
    rows = getattr(till.storage, kept)[till.merchant_id, settlement]
    rows.pop(max(rows))

    findings = till.pay.doctor().findings
    found_here = [(one.rule, one.row) for one in findings if one.record_id == settlement]
    assert rule in [rule_ for rule_, _ in found_here]
    till.close()
