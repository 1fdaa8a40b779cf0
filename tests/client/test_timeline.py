"""A timeline tells why each amount is what it is.

How: payments are taken through every kind of operation and outcome. What the timeline says that the
amounts had come to after an event must be what the caller was told when that event was written.
"""

from __future__ import annotations

from contextlib import suppress

from till import (
    CHALLENGED,
    NO_FUNDS,
    REFUND_DECLINED,
    REFUND_PENDS_THEN_FAILS,
    REFUND_PENDS_THEN_SUCCEEDS,
    Till,
    eur,
)

from payplatform import Event, OutcomeUnknown, Payment
from payplatform._domain.events import Totals
from payplatform.banks.simulated import Fault

AMOUNTS = tuple(Totals.__annotations__)


def a_busy_day(till: Till) -> None:
    """Payments that between them see every kind of operation, and most ends of each."""
    payments, key = till.shop.payments, till.key
    held = till.held("100")
    payments.increment(held.id, eur("20"), idempotency_key=key())
    payments.void(held.id, eur("10"), idempotency_key=key())
    payments.capture(held.id, eur("50"), idempotency_key=key())
    payments.capture(held.id, eur("30"), final=True, idempotency_key=key())
    till.bank.next(Fault.LOSE_REPLY)
    with suppress(OutcomeUnknown):
        payments.refund(held.id, eur("5"), idempotency_key=key())
    payments.refund(held.id, eur("7"), idempotency_key=key())
    till.sold(number=NO_FUNDS)
    for number in (REFUND_PENDS_THEN_SUCCEEDS, REFUND_PENDS_THEN_FAILS, REFUND_DECLINED):
        sold = till.sold(number=number)
        payments.refund(sold.id, eur("40"), idempotency_key=key())
    challenged = till.held(number=CHALLENGED)
    assert challenged.action is not None
    till.bank.complete_challenge(challenged.action.url)
    payments.resume(challenged.id, idempotency_key=key())
    till.held("9")
    till.advance(days=8)
    till.pay.recover()


def told(till: Till, payment: Payment) -> list[Payment]:
    """The payment as its callers were told of it, at one event or another, and as it is now."""
    receipts = (
        till.storage.receipt(till.merchant_id, operation.id)
        for operation in till.shop.payments.operations(payment.id)
    )
    return [payment, *(receipt for receipt in receipts if isinstance(receipt, Payment))]


def test_the_totals_are_what_callers_were_told_at_the_time() -> None:
    till = Till()
    a_busy_day(till)
    seen: set[str] = set()
    for payment in till.shop.payments.list():
        timeline = till.shop.payments.timeline(payment.id)
        for then in told(till, payment):
            event = timeline[then.version - 1]
            assert event.number == then.version
            assert {name: getattr(event.totals, name) for name in AMOUNTS} == {
                name: getattr(then, name) for name in AMOUNTS
            }, event
        seen |= {event.type for event in timeline}
    assert seen >= {"void.succeeded", "capture.succeeded", "refund.in_doubt", "payment.expired"}
    assert seen >= {"increment.succeeded", "resume.succeeded", "refund.declined", "refund.pending"}
    till.close()


def test_the_effects_add_up_to_the_amounts() -> None:
    till = Till()
    a_busy_day(till)
    for payment in till.shop.payments.list():
        for name in ("authorized", "captured", "voided", "expired", "refunded"):
            sum_ = eur("0")
            for event in till.shop.payments.timeline(payment.id):
                sum_ += dict(event.effects).get(name, eur("0"))
            assert sum_ == getattr(payment, name)
    till.close()


def test_it_says_in_words_which_amounts_changed_and_why() -> None:
    till = Till()
    payments = till.shop.payments
    held = till.held("100")
    payments.capture(held.id, eur("60"), final=True, idempotency_key=till.key())
    till.bank.next(Fault.LOSE_REPLY)
    with suppress(OutcomeUnknown):
        payments.refund(held.id, eur("14.99"), idempotency_key=till.key())

    said = [(str(event), refundable(event)) for event in payments.timeline(held.id)][:5]

    assert said == [
        (
            "the authorization was started; the amount is reserved (100.00 EUR): requested +100.00",
            "0.00 EUR",
        ),
        ("the authorization succeeded (100.00 EUR): authorized +100.00", "0.00 EUR"),
        ("the capture was started; the amount is reserved (60.00 EUR)", "0.00 EUR"),
        ("the capture succeeded (60.00 EUR): captured +60.00, voided +40.00", "60.00 EUR"),
        ("the refund was started; the amount is reserved (14.99 EUR)", "45.01 EUR"),
    ]
    till.close()


def refundable(event: Event) -> str:
    assert event.totals is not None
    return str(event.totals.refundable)


def test_what_waits_to_be_passed_on_has_no_totals() -> None:
    """They are the timeline's: nothing of them is stored, and an event equals itself without."""
    till = Till()
    sold = till.sold()
    timeline = till.shop.payments.timeline(sold.id)
    waiting = [event for event in till.pay.events.pending() if event.subject_id == sold.id]

    assert waiting == list(timeline)
    assert all(event.totals is None for event in waiting)
    till.close()
