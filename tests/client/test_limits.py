"""Limits before the bank is asked: what is refused, what is not, and what a refusal leaves."""

# ruff: noqa: ARG002  # a limiter that is down heeds nothing that it is given

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from till import MASTERCARD, NO_FUNDS, START, VISA, Till, eur

from payplatform import (
    BankUnavailable,
    Card,
    ErrorCode,
    Limit,
    LimitExceeded,
    OutcomeUnknown,
    Payment,
    PayPlatform,
    RetryRule,
    Settings,
    StorageUnavailable,
)
from payplatform._domain.limits import LIMITS
from payplatform._engine.limits import _name
from payplatform.banks.simulated import Fault
from payplatform.ports import Quota, UsedUp
from payplatform.storage.memory_limiter import MemoryLimiter

LOST = "4000000000009987"
MINUTE = timedelta(minutes=1)
ADDRESS = "203.0.113.77"


def till_with(*limits: Limit) -> Till:
    """A till that counts in memory, by these limits."""
    return Till(settings=Settings(limits=limits), limiter=MemoryLimiter())


def refusal(call: Callable[[], object]) -> tuple[ErrorCode, timedelta | None]:
    with pytest.raises(LimitExceeded) as caught:
        call()
    return caught.value.code, caught.value.retry_after


class Down:
    """A limiter that does not answer."""

    def take(self, attempt: str, quotas: Sequence[Quota], now: datetime) -> UsedUp | None:
        raise StorageUnavailable("down")

    def give_back(self, attempt: str, counters: Sequence[str]) -> None:
        raise StorageUnavailable("down")

    def describe(self) -> dict[str, str]:
        return {"adapter": "down"}

    def close(self) -> None:
        pass


# -- card testing ----------------------------------------------------------------------------------


def two_shoppers(till: Till) -> list[dict[str, str]]:
    """Two customers with a card each, who come from two places."""
    return [
        {
            "payment_method": till.card(number, customer=till.customer()).id,
            "origin": f"203.0.113.{n}",
        }
        for n, number in enumerate((NO_FUNDS, VISA))
    ]


@pytest.mark.parametrize("per", ["card", "customer", "origin", "merchant"])
@pytest.mark.parametrize("counted", ["attempts", "declines"])
def test_beyond_its_number_an_attempt_is_refused_until_the_first_is_over(
    per: str, counted: str
) -> None:
    till = till_with(Limit(per=per, counted=counted, most=2, period_s=60))
    one, other = two_shoppers(till)
    till.sold(**one)
    till.advance(seconds=20)
    till.sold(**one)
    asked, stored = till.watched.calls, till.stored()

    code = ErrorCode(f"too_many_{counted}")
    assert refusal(lambda: till.sold(idempotency_key="later", **one)) == (code, 40 * MINUTE / 60)
    assert (till.watched.calls, till.stored()) == (asked, stored)

    if per == "merchant":
        assert refusal(lambda: till.sold(**other))[0] is code
    else:
        assert till.sold(**other).status == "captured"
    till.advance(seconds=40)
    assert till.sold(idempotency_key="later", **one).status == "declined"


def test_what_went_through_is_no_decline() -> None:
    till = till_with(Limit(per="merchant", counted="declines", most=1, period_s=60))
    for _ in range(5):
        assert till.sold().status == "captured"
    assert till.sold(number=NO_FUNDS).status == "declined"
    assert refusal(till.sold)[0] is ErrorCode.TOO_MANY_DECLINES


def test_what_never_reached_the_bank_is_no_decline() -> None:
    till = till_with(Limit(per="merchant", counted="declines", most=1, period_s=60))
    till.bank.next(Fault.DOWN)
    with pytest.raises(BankUnavailable):
        till.sold()
    assert till.sold().status == "captured"


def test_what_may_yet_be_a_decline_counts_as_one() -> None:
    """So that a thief gains nothing by many attempts at once, or by outages."""
    till = till_with(Limit(per="merchant", counted="declines", most=1, period_s=60))
    till.bank.next(Fault.LOSE_REPLY)
    with pytest.raises(OutcomeUnknown):
        till.sold()
    assert refusal(till.sold)[0] is ErrorCode.TOO_MANY_DECLINES


def test_every_call_with_a_card_is_counted_and_no_other_is() -> None:
    till = till_with(Limit(per="merchant", counted="attempts", most=4, period_s=60))
    method = till.card().id
    held = till.held(payment_method=method)
    sold = till.sold(payment_method=method)
    declined = till.sold(number=NO_FUNDS)
    till.shop.payment_methods.verify(method, idempotency_key=till.key())

    tries: list[Callable[[], object]] = [
        lambda: till.held(payment_method=method),
        lambda: till.sold(payment_method=method),
        lambda: till.shop.payments.retry(declined.id, idempotency_key=till.key()),
        lambda: till.shop.payment_methods.verify(method, idempotency_key=till.key()),
    ]
    for attempt in tries:
        assert refusal(attempt) == (ErrorCode.TOO_MANY_ATTEMPTS, MINUTE)
    till.shop.payments.increment(held.id, eur("1"), idempotency_key=till.key())
    till.shop.payments.capture(held.id, idempotency_key=till.key())
    till.shop.payments.refund(sold.id, idempotency_key=till.key())
    till.advance(minutes=1)
    till.shop.payments.void(till.held(payment_method=method).id, idempotency_key=till.key())


def test_a_replay_is_never_refused_and_never_counted() -> None:
    till = till_with(Limit(per="merchant", counted="attempts", most=2, period_s=60))
    first = till.sold(idempotency_key="order-1", payment_method=(method := till.card().id))
    for _ in range(5):
        again = till.sold(idempotency_key="order-1", payment_method=method)
        assert again == first
        assert again.replayed
    till.sold()
    assert till.sold(idempotency_key="order-1", payment_method=method) == first
    assert refusal(till.sold)[0] is ErrorCode.TOO_MANY_ATTEMPTS


def test_a_call_that_died_after_it_was_counted_takes_no_second_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    till = till_with(Limit(per="merchant", counted="attempts", most=1, period_s=60))
    method = till.card().id

    def fail(_: object) -> None:
        raise StorageUnavailable("no room")

    monkeypatch.setattr(till.storage, "commit", fail)
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            till.sold(idempotency_key="order-1", payment_method=method)
    monkeypatch.undo()
    assert till.sold(idempotency_key="order-1", payment_method=method).status == "captured"
    assert refusal(till.sold)[0] is ErrorCode.TOO_MANY_ATTEMPTS


def test_however_many_ask_at_once_the_bank_hears_of_as_many_as_may_be() -> None:
    till = till_with(Limit(per="card", counted="attempts", most=7, period_s=60))
    method, before = till.card().id, till.watched.calls

    def ask(number: int) -> Payment | None:
        with suppress(LimitExceeded):
            return till.sold(idempotency_key=f"k{number}", payment_method=method)
        return None

    with ThreadPoolExecutor(8) as threads:
        sold = [payment for payment in threads.map(ask, range(40)) if payment]
    assert (len(sold), till.watched.calls - before) == (7, 7)


@pytest.mark.parametrize("per", ["customer", "origin", "merchant"])
def test_so_many_different_cards_may_be_stored_and_the_same_one_counts_once(per: str) -> None:
    till = till_with(Limit(per=per, counted="cards", most=2, period_s=60))
    customer = till.customer()

    def store(number: str) -> object:
        return till.shop.payment_methods.create(
            card=Card(number, "12/40"), customer=customer, origin=ADDRESS
        )

    store(VISA)
    for _ in range(4):
        store(VISA)
    store(MASTERCARD)
    stored = till.stored()
    assert refusal(lambda: store(NO_FUNDS)) == (ErrorCode.TOO_MANY_CARDS, MINUTE)
    assert till.stored() == stored
    store(VISA)
    till.advance(minutes=1)
    store(NO_FUNDS)


def test_an_origin_may_be_any_text_since_it_is_stored_nowhere() -> None:
    till = Till()
    assert till.sold(origin="4242424242424242").status == "captured"
    till.close()


def test_an_origin_that_is_not_told_is_not_counted() -> None:
    till = till_with(Limit(per="origin", counted="attempts", most=1, period_s=60))
    for _ in range(3):
        till.sold()
    till.sold(origin=ADDRESS)
    assert refusal(lambda: till.sold(origin=ADDRESS))[0] is ErrorCode.TOO_MANY_ATTEMPTS
    till.sold(origin="203.0.113.78")


def test_merchants_are_counted_apart() -> None:
    till = till_with(Limit(per="origin", counted="attempts", most=1, period_s=60))
    till.sold(origin=ADDRESS)
    other = till.pay.merchant(till.pay.merchants.create(name="Bolt").id)
    method = other.payment_methods.create(card=Card(VISA, "12/40"))
    paid = other.payments.charge(
        eur("5"), payment_method=method.id, idempotency_key="k", origin=ADDRESS
    )
    assert paid.status == "captured"


def test_by_default_ten_declines_of_a_card_in_a_day_are_enough() -> None:
    pay = PayPlatform.sandbox(now=lambda: START)
    shop = pay.merchant(pay.merchants.create(name="Acme").id)
    method = shop.payment_methods.create(card=Card(NO_FUNDS, "12/40")).id

    def charge(number: int) -> Payment:
        return shop.payments.charge(
            eur(f"{number + 1}"), payment_method=method, idempotency_key=f"k{number}"
        )

    for number in range(10):
        assert charge(number).status == "declined"
    assert refusal(lambda: charge(10)) == (ErrorCode.TOO_MANY_DECLINES, timedelta(days=1))
    pay.close()


def test_a_platform_put_together_without_a_limiter_counts_nothing() -> None:
    till = Till(settings=Settings(retry_rules=()))
    for _ in range(30):
        assert till.sold(number=NO_FUNDS).status == "declined"


# -- a limiter that fails --------------------------------------------------------------------------


def test_a_limiter_that_fails_stops_no_sale() -> None:
    till = Till(limiter=Down())
    assert till.sold().status == "captured"
    assert till.sold(number=NO_FUNDS).status == "declined"


def test_or_it_stops_every_sale_where_the_settings_say_so() -> None:
    till = Till(limiter=Down(), settings=Settings(refuse_uncounted=True))
    method = till.card().id
    asked = till.watched.calls
    with pytest.raises(StorageUnavailable) as caught:
        till.sold(idempotency_key="order-1", payment_method=method)
    assert caught.value.code is ErrorCode.LIMITER_UNAVAILABLE
    assert caught.value.retryable
    assert till.watched.calls == asked
    assert till.shop.operations.find(idempotency_key="order-1") is None


# -- what is kept ----------------------------------------------------------------------------------


def test_neither_an_address_nor_a_fingerprint_can_be_found_in_the_files(tmp_path: Path) -> None:
    with PayPlatform.open(tmp_path / "shop.db") as pay:
        shop = pay.merchant(pay.merchants.create(name="Acme").id)
        method = shop.payment_methods.create(card=Card(NO_FUNDS, "12/40"), origin=ADDRESS)
        shop.payments.charge(
            eur("5"), payment_method=method.id, idempotency_key="k", origin=ADDRESS
        )
        counts = (tmp_path / "shop.db.limits-wal").read_bytes()
    everything = counts + b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert method.fingerprint is not None
    assert method.fingerprint not in counts
    assert method.fingerprint.hex().encode() not in counts
    unkeyed = hashlib.sha256(ADDRESS.encode())
    for trace in (ADDRESS.encode(), unkeyed.digest(), unkeyed.hexdigest().encode()):
        assert trace not in everything
    # Nor by whoever knows how a counter is named, and tries every address there is.
    for limit in LIMITS:
        name = _name(shop.id, limit.per, limit.counted, str(limit.period_s), ADDRESS)
        assert name.encode() not in everything
    assert b"until" in counts, "there is something to be found"


def test_platforms_on_one_file_count_together_and_after_they_are_opened_again(
    tmp_path: Path,
) -> None:
    limits = (Limit(per="merchant", counted="attempts", most=3, period_s=60),)

    def opened() -> PayPlatform:
        settings = Settings(limits=limits)
        return PayPlatform.open(tmp_path / "shop.db", now=lambda: START, settings=settings)

    with opened() as pay:
        merchant = pay.merchants.create(name="Acme").id
        method = pay.merchant(merchant).payment_methods.create(card=Card(VISA, "12/40")).id

    def charge(pay: PayPlatform, key: str) -> Payment:
        return pay.merchant(merchant).payments.charge(
            eur("5"), payment_method=method, idempotency_key=key
        )

    with opened() as one, opened() as two:
        charge(one, "a")
        charge(two, "b")
    with opened() as three:
        charge(three, "c")
        assert refusal(lambda: charge(three, "d"))[0] is ErrorCode.TOO_MANY_ATTEMPTS
        assert charge(three, "a").replayed


def test_an_operation_that_went_through_keeps_nothing_that_tells_its_card() -> None:
    till = Till()
    declined, sold, held = till.sold(number=NO_FUNDS), till.sold(), till.held()
    assert till.latest(declined).card_fingerprint is not None
    assert till.latest(sold).card_fingerprint is None
    assert till.latest(held).card_fingerprint is None
    assert "card_fingerprint" not in repr(till.latest(declined))


# -- what the card networks allow ------------------------------------------------------------------


def retried(till: Till, times: int) -> Payment:
    """A payment that was declined so many times."""
    payment = till.sold(number=NO_FUNDS)
    for _ in range(times - 1):
        payment = till.shop.payments.retry(payment.id, idempotency_key=till.key())
    return payment


def test_a_visa_card_is_tried_fifteen_times_in_thirty_days_with_one_amount() -> None:
    till = Till()
    payment = retried(till, 15)
    stored, asked = till.stored(), till.watched.calls

    def again() -> Payment:
        return till.shop.payments.retry(payment.id, idempotency_key="again")

    assert refusal(again) == (ErrorCode.RETRIES_EXHAUSTED, timedelta(days=30))
    assert refusal(lambda: till.sold(number=NO_FUNDS))[0] is ErrorCode.RETRIES_EXHAUSTED
    assert till.watched.calls == asked
    assert till.shop.operations.find(idempotency_key="again") is None
    assert stored != till.stored(), "the second one's card has been stored"
    assert till.sold(amount="99", number=NO_FUNDS).status == "declined"
    till.advance(days=30)
    assert again().status == "declined"


def test_the_networks_numbers_can_be_set() -> None:
    till = Till(settings=Settings(retry_rules=(RetryRule(brand="visa", most=2),)))
    payment = retried(till, 2)
    assert (
        refusal(lambda: till.shop.payments.retry(payment.id, idempotency_key="k"))[0]
        is ErrorCode.RETRIES_EXHAUSTED
    )


def test_a_card_that_had_a_hard_decline_is_never_tried_again_at_that_merchant() -> None:
    """Whoever stores it, whichever call asks, after any time; another merchant may try."""
    till = Till()
    payment = till.sold(number=LOST)
    till.advance(days=400)
    asked = till.watched.calls

    def another() -> str:
        return till.card(LOST, customer=till.customer()).id

    tries: list[Callable[[], object]] = [
        lambda: till.sold(amount="1", payment_method=another()),
        lambda: till.held(payment_method=another()),
        lambda: till.shop.payments.retry(payment.id, idempotency_key=till.key()),
        lambda: till.shop.payment_methods.verify(another(), idempotency_key=till.key()),
    ]
    for attempt in tries:
        assert refusal(attempt) == (ErrorCode.CARD_REFUSED_FOR_GOOD, None)
    assert till.watched.calls == asked
    assert (
        till.shop.payments.retry(
            payment.id, payment_method=till.card().id, idempotency_key=till.key()
        ).status
        == "captured"
    )

    other = till.pay.merchant(till.pay.merchants.create(name="Bolt").id)
    method = other.payment_methods.create(card=Card(LOST, "12/40"))
    tried = other.payments.charge(eur("5"), payment_method=method.id, idempotency_key="k")
    assert tried.status == "declined"


def test_a_card_that_is_deleted_and_stored_again_is_still_refused() -> None:
    till = Till()
    payment = till.sold(number=LOST)
    till.shop.payment_methods.delete(payment.payment_method_id)
    assert refusal(lambda: till.sold(number=LOST))[0] is ErrorCode.CARD_REFUSED_FOR_GOOD


def test_a_new_fingerprint_key_forgets_no_decline() -> None:
    till = Till()
    hard, soft = till.sold(number=LOST), retried(till, 15)
    till.pay.vault.rotate_fingerprint_key()
    till.pay.vault.run()
    for payment in (hard, soft):
        refusal(lambda: till.shop.payments.retry(payment.id, idempotency_key="k"))  # noqa: B023
    assert refusal(lambda: till.sold(number=LOST))[0] is ErrorCode.CARD_REFUSED_FOR_GOOD
    till.books_agree()


def test_a_person_may_allow_a_card_again_and_it_goes_into_its_history() -> None:
    till = Till()
    payment = till.sold(number=LOST)
    method = till.shop.payment_methods.allow_again(
        payment.payment_method_id, actor="Ada", reason="the bank lifted it"
    )
    assert method.allowed_again_at == START
    (event,) = [
        event
        for event in till.pay.events.pending(limit=100)
        if event.type == "payment_method.allowed_again"
    ]
    assert dict(event.details) == {"actor": "Ada", "reason": "the bank lifted it"}

    till.advance(seconds=1)
    again = till.shop.payments.retry(payment.id, idempotency_key="again")
    assert again.decline is not None
    assert refusal(lambda: till.shop.payments.retry(payment.id, idempotency_key="once-more")) == (
        ErrorCode.CARD_REFUSED_FOR_GOOD,
        None,
    )


def test_hard_declines_can_be_let_be_mere_declines() -> None:
    till = Till(settings=Settings(hard_declines_are_final=False))
    payment = till.sold(number=LOST)
    assert till.shop.payments.retry(payment.id, idempotency_key="k").status == "declined"
