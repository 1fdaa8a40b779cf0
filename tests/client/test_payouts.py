"""`shop.payouts`: what a merchant has earned goes to the merchant's own bank, once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from till import START, Till, book, eur

from payplatform import (
    BankUnavailable,
    Conflict,
    ErrorCode,
    InvalidRequest,
    Money,
    NotAllowed,
    NotFound,
    OutcomeUnknown,
    Payment,
    Payout,
    PayoutLooks,
    PayoutPlan,
)
from payplatform._domain.changes import Changes
from payplatform._domain.payments import Facts
from payplatform.banks.simulated import FULL_CAPABILITIES, Fault


@pytest.fixture(params=["memory", "file"])
def till(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Till]:
    till = Till(tmp_path / "books.db" if request.param == "file" else None)
    yield till
    till.books_agree()
    till.close()


def settled(till: Till, amount: str, **change: int) -> Payment:
    """A sale that the acquirer has settled."""
    sold = till.sold(amount)
    book(till, sold, settled=sold.facts.captured, **change)
    return sold


def shown(till: Till) -> dict[str, str]:
    accounts = till.shop.ledger.trial_balance()["EUR"]
    assert sum(accounts.values(), Money.zero("EUR")) == Money.zero("EUR")
    return {str(account): str(money.amount) for account, money in accounts.items() if money}


def pay(till: Till, amount: str | None = None, **more: Any) -> Any:
    key = more.pop("idempotency_key", None) or till.key()
    if amount is None:
        return till.shop.payouts.sweep("EUR", idempotency_key=key, **more)
    return till.shop.payouts.create(eur(amount), idempotency_key=key, **more)


def refusal(till: Till, amount: str | None = None) -> ErrorCode:
    with pytest.raises(NotAllowed) as refused:
        pay(till, amount)
    return refused.value.code


def test_what_the_acquirer_has_settled_is_paid_out(till: Till) -> None:
    settled(till, "100", fees=250)
    till.sold("50")

    payout = pay(till, reference="week 1")
    assert (payout.status, payout.amount, payout.reference) == ("paid", eur("97.50"), "week 1")
    assert till.shop.payouts.get(payout.id) == payout
    assert list(till.shop.payouts.list()) == [payout]
    assert till.shop.payouts.payable("EUR") == eur("0")
    assert shown(till) == {
        "acquirer_receivable": "50.00",
        "merchant_balance": "-50.00",
        "fees": "-2.50",
        "bank_cash": "2.50",
    }
    steps = till.shop.payouts.timeline(payout.id)
    assert [event.type for event in steps] == ["payout.started", "payout.succeeded"]


def test_a_payout_is_asked_for_once_and_told_again(till: Till) -> None:
    settled(till, "100")
    first = pay(till, "40", idempotency_key="week-1")
    again = pay(till, "40", idempotency_key="week-1")

    assert again == first
    assert again.replayed
    assert not first.replayed
    with pytest.raises(Conflict) as refused:
        pay(till, "41", idempotency_key="week-1")
    assert refused.value.code is ErrorCode.IDEMPOTENCY_KEY_REUSED
    assert till.shop.payouts.payable("EUR") == eur("60")


def test_no_more_is_paid_out_than_is_earned_and_settled(till: Till) -> None:
    till.sold("50")
    assert refusal(till, "0.01") is ErrorCode.AMOUNT_EXCEEDS_PAYABLE
    assert refusal(till) is ErrorCode.AMOUNT_BELOW_MINIMUM
    settled(till, "100")
    assert refusal(till, "100.01") is ErrorCode.AMOUNT_EXCEEDS_PAYABLE
    assert pay(till, "100").status == "paid"


def test_what_is_to_go_back_is_not_paid_out_though_it_was_settled(till: Till) -> None:
    """The acquirer takes a refund or a dispute off a later settlement."""
    refunded, disputed = settled(till, "100"), settled(till, "30")
    till.shop.payments.refund(refunded.id, eur("20"), idempotency_key=till.key())
    book(till, disputed, disputed=3_000)
    assert till.shop.payouts.payable("EUR") == eur("80")

    book(till, refunded, settled=-2_000)
    book(till, disputed, settled=-3_000)
    assert till.shop.payouts.payable("EUR") == eur("80")
    book(till, disputed, disputed=-3_000, settled=3_000)
    assert till.shop.payouts.payable("EUR") == eur("110")


def test_a_merchant_that_owes_is_paid_nothing_until_it_has_earned_more(till: Till) -> None:
    sold = settled(till, "100")
    pay(till)
    till.shop.payments.refund(sold.id, eur("60"), idempotency_key=till.key())

    assert till.shop.payouts.payable("EUR") == -eur("60")
    assert refusal(till) is ErrorCode.AMOUNT_BELOW_MINIMUM
    settled(till, "61")
    assert pay(till).amount == eur("1")


def test_a_reserve_stays_and_less_than_the_minimum_waits(till: Till) -> None:
    till.shop.payouts.set_plan(minimum=eur("20"), reserve=eur("50"))
    settled(till, "69.99")
    assert refusal(till) is ErrorCode.AMOUNT_BELOW_MINIMUM
    assert refusal(till, "19") is ErrorCode.AMOUNT_BELOW_MINIMUM
    settled(till, "0.01")
    assert pay(till).amount == eur("20")
    assert till.shop.payouts.payable("EUR") == eur("0")


@pytest.mark.parametrize("fault", [Fault.LOSE_REPLY, Fault.LOSE_REQUEST])
def test_a_payout_without_an_answer_is_set_aside_until_it_is_known(
    till: Till, fault: Fault
) -> None:
    settled(till, "100")
    till.bank.next(fault)
    with pytest.raises(OutcomeUnknown):
        pay(till, "70", idempotency_key="week-1")

    (payout,) = till.shop.payouts.list()
    assert payout.status == "unknown"
    assert shown(till)["reserves"] == "-70.00"
    assert till.shop.payouts.payable("EUR") == eur("30")
    till.advance(hours=1)
    assert till.pay.recover().succeeded == 1
    assert till.shop.payouts.get(payout.id).status == "paid"
    assert till.bank.effects(till.merchant_id, payout.operation_id) == 1
    assert pay(till, "70", idempotency_key="week-1").status == "paid"


def test_a_payout_that_never_left_sets_nothing_aside(till: Till) -> None:
    settled(till, "100")
    till.bank.next(Fault.DOWN)
    with pytest.raises(BankUnavailable):
        pay(till)

    (payout,) = till.shop.payouts.list()
    assert (payout.status, payout.facts) == ("failed", Facts())
    assert till.shop.payouts.payable("EUR") == eur("100")


def test_a_payout_that_comes_back_is_the_merchants_again(till: Till) -> None:
    settled(till, "100")
    till.bank.next(Fault.TAKE_BACK)
    payout = pay(till)
    till.advance(days=7)
    for notice in till.bank.notices():
        till.pay.notices.apply(notice)

    assert till.shop.payouts.get(payout.id).status == "returned"
    assert till.shop.payouts.payable("EUR") == eur("100")
    assert shown(till) == {"merchant_balance": "-100.00", "bank_cash": "100.00"}


def test_two_payouts_at_once_never_pay_the_same_money(till: Till) -> None:
    settled(till, "100")

    def try_it(number: int) -> None:
        with suppress(NotAllowed):
            till.shop.payouts.create(eur("60"), idempotency_key=f"at-once-{number}")

    for _ in range(10):
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(try_it, range(4)))
    assert [payout.status for payout in till.shop.payouts.list()] == ["paid"]


def test_payouts_are_made_when_they_are_due_and_once(till: Till) -> None:
    till.shop.payouts.set_plan(
        minimum=eur("10"), interval="weekly", first_at=START + timedelta(days=1)
    )
    settled(till, "100")
    assert till.shop.payouts.run_due() == ()
    till.advance(days=1)
    (first,) = till.shop.payouts.run_due()
    assert (first.amount, first.status) == (eur("100"), "paid")
    assert till.shop.payouts.run_due() == ()

    settled(till, "5")
    till.advance(days=7)
    assert till.shop.payouts.run_due() == ()
    settled(till, "5")
    till.advance(days=20)
    (second,) = till.shop.payouts.run_due()
    assert second.amount == eur("10")
    assert till.shop.payouts.plan("EUR").next_at == START + timedelta(days=29)


def test_what_is_due_of_all_merchants_is_paid_by_the_platforms_own_run(till: Till) -> None:
    """Once, and as much as the limit says; who is owed too little waits for the next time."""
    other = till.pay.merchant(till.pay.merchants.create(name="Other").id)
    till.shop.payouts.set_plan(minimum=eur("10"), interval="daily", first_at=START)
    other.payouts.set_plan(minimum=eur("10"), interval="daily", first_at=START - timedelta(hours=1))
    settled(till, "100")

    assert till.pay.run_due(limit=1).payouts == PayoutLooks(carried=1)
    assert till.pay.run_due().payouts == PayoutLooks(made=1)
    assert till.pay.run_due().payouts == PayoutLooks()
    assert [payout.amount for payout in till.shop.payouts.list()] == [eur("100")]
    assert list(other.payouts.list()) == []
    assert other.payouts.plan("EUR").next_at == START + timedelta(hours=23)


@pytest.mark.parametrize("form", ["scheduled-payout/{}/{}", "scheduled_payout_{}_{}"])
def test_no_key_of_the_merchants_own_holds_up_what_is_due(till: Till, form: str) -> None:
    till.shop.payouts.set_plan(minimum=eur("1"), interval="daily", first_at=START)
    settled(till, "100")
    key = form.format("EUR", f"{START:%Y-%m-%dT%H:%M:%S.%f}")
    till.sold("5", idempotency_key=key)

    assert till.pay.run_due().payouts == PayoutLooks(made=1)
    assert till.shop.operations.find(idempotency_key=key) is not None


def test_the_key_of_what_is_due_is_none_that_a_caller_could_give(till: Till) -> None:
    till.shop.payouts.set_plan(minimum=eur("1"), interval="daily", first_at=START)
    settled(till, "100")
    (payout,) = till.shop.payouts.run_due()
    key = till.shop.operations.get(payout.operation_id).idempotency_key
    with pytest.raises(InvalidRequest) as refused:
        till.shop.operations.find(idempotency_key=key)
    assert refused.value.field == "idempotency_key"


def test_what_came_due_later_than_asked_about_is_not_paid(till: Till) -> None:
    till.shop.payouts.set_plan(minimum=eur("1"), interval="daily", first_at=START)
    settled(till, "100")
    assert till.pay.run_due(START - timedelta(seconds=1)).payouts == PayoutLooks()
    assert till.pay.run_due(START).payouts == PayoutLooks(made=1)


def test_the_platforms_own_run_tells_of_payouts_that_nobody_knows_of(till: Till) -> None:
    till.shop.payouts.set_plan(minimum=eur("1"), interval="daily", first_at=START)
    settled(till, "100")
    till.bank.next(Fault.LOSE_REPLY)
    assert till.pay.run_due().payouts == PayoutLooks(unclear=1)
    till.advance(days=1)
    report = till.pay.run_due()
    assert (report.recovered.succeeded, report.payouts) == (1, PayoutLooks(carried=1))
    assert [payout.amount for payout in till.shop.payouts.list()] == [eur("100")]


def test_a_run_that_died_before_its_plan_moved_on_pays_nothing_twice(till: Till) -> None:
    due = till.shop.payouts.set_plan(minimum=eur("1"), interval="daily", first_at=START)
    settled(till, "100")
    (first,) = till.shop.payouts.run_due()
    moved = till.shop.payouts.plan("EUR")
    back = evolve(moved, version=moved.version + 1, next_at=due.next_at)
    till.storage.commit(Changes(merchant_id=till.merchant_id, records=(back,)))
    settled(till, "50")

    assert till.shop.payouts.run_due() == (first,)
    assert till.shop.payouts.payable("EUR") == eur("50")


def test_a_due_payout_without_an_answer_is_not_made_again(till: Till) -> None:
    till.shop.payouts.set_plan(minimum=eur("1"), interval="daily", first_at=START)
    settled(till, "100")
    till.bank.next(Fault.LOSE_REPLY)
    assert till.shop.payouts.run_due() == ()
    till.advance(days=1)
    assert till.pay.recover().succeeded == 1
    assert till.shop.payouts.run_due() == ()
    assert [payout.amount for payout in till.shop.payouts.list()] == [eur("100")]


@pytest.mark.parametrize(
    ("interval", "first", "following"),
    [
        ("daily", datetime(2030, 2, 28, 6, tzinfo=UTC), datetime(2030, 3, 1, 6, tzinfo=UTC)),
        ("weekly", datetime(2030, 12, 28, tzinfo=UTC), datetime(2031, 1, 4, tzinfo=UTC)),
        ("monthly", datetime(2030, 1, 28, tzinfo=UTC), datetime(2030, 2, 28, tzinfo=UTC)),
        ("monthly", datetime(2030, 12, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)),
        ("monthly", datetime(2030, 11, 1, tzinfo=UTC), datetime(2030, 12, 1, tzinfo=UTC)),
    ],
)
def test_a_plan_comes_round(
    till: Till, interval: str, first: datetime, following: datetime
) -> None:
    till.shop.payouts.set_plan(minimum=eur("1"), interval=interval, first_at=first)
    till.now = first
    till.shop.payouts.run_due()
    assert till.shop.payouts.plan("EUR").next_at == following


def test_a_plan_that_was_never_set_pays_when_asked_and_keeps_nothing(till: Till) -> None:
    plan = till.shop.payouts.plan("jpy")
    assert (plan.currency, plan.version, plan.interval) == ("JPY", 0, "manual")
    assert (plan.minimum, plan.reserve, plan.next_at) == (Money(1, "JPY"), Money(0, "JPY"), None)
    assert isinstance(plan, PayoutPlan)


def test_another_merchant_sees_no_payout(till: Till) -> None:
    settled(till, "100")
    payout = pay(till)
    other = till.pay.merchant(till.pay.merchants.create(name="Other").id)
    with pytest.raises(NotFound):
        other.payouts.get(payout.id)
    assert list(other.payouts.list()) == []
    assert other.payouts.payable("EUR") == eur("0")


def test_a_bank_that_pays_nobody_out_is_not_asked() -> None:
    till = Till(capabilities=evolve(FULL_CAPABILITIES, payouts=False))
    settled(till, "100")
    assert refusal(till) is ErrorCode.NOT_SUPPORTED_BY_BANK

    plan = till.shop.payouts.set_plan(minimum=eur("1"), interval="daily", first_at=START)
    assert till.pay.run_due().payouts == PayoutLooks()
    assert till.shop.payouts.plan("EUR") == plan
    till.close()


def test_the_doctor_names_a_payout_whose_events_say_otherwise() -> None:
    till = Till()
    settled(till, "100")
    payout = pay(till, "40")
    kept: Any = vars(till.storage)["_records"][Payout]
    kept[payout.merchant_id, payout.id] = evolve(payout, amount=eur("41"))

    report = till.pay.doctor()
    assert report.payouts == 1
    found = {(f.rule, f.row) for f in report.findings if f.record_id == payout.id}
    assert ("facts", f"payout {payout.id}") in found
    till.close()
