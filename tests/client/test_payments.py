"""A payment's story from the first call to the last cent: its status, and what may follow.

How: `STORIES` has every status that can be reached, and every pair of them that could be mistaken
for each other. What `allowed_operations` promises is then tried out, operation by operation.
"""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta

import pytest
from stories import (
    CAPTURE,
    INCREMENT,
    REFUND,
    RESUME,
    STORIES,
    VOID,
    Story,
    after,
    hold,
    lost,
    part_captured,
    part_refunded,
    pending_refund,
    sale,
    then,
    with_fault,
)
from till import MASTERCARD, Till, eur

from payplatform import ErrorCode, Money, NotAllowed, OperationKind, PaymentStatus
from payplatform.banks.simulated import Fault

CALLS: dict[str, OperationKind | None] = {
    "retry": None,
    "capture": CAPTURE,
    "void": VOID,
    "refund": REFUND,
    "increment": INCREMENT,
    "resume": RESUME,
}
"""What may be asked of a payment, and which operation it is; a retry is whatever was intended."""


@pytest.mark.parametrize("name", STORIES)
def test_a_status_follows_from_what_happened(name: str) -> None:
    """The first line of the table that matches; and the books agree with the bank's."""
    story, status, allowed = STORIES[name]
    till = Till()

    payment = story(till)

    assert payment.status is status
    assert payment.allowed_operations == allowed
    if status not in (PaymentStatus.UNKNOWN, PaymentStatus.PROCESSING):
        till.books_agree()
        assert [listed.id for listed in till.shop.payments.list(status=status)] == [payment.id]
    till.close()


def test_every_status_that_can_be_reached_is_reached() -> None:
    """Nothing disputes a payment yet, and none is stored before its first operation is."""
    unreachable = {PaymentStatus.DISPUTED, PaymentStatus.CREATED}

    assert {status for _, status, _ in STORIES.values()} == set(PaymentStatus) - unreachable


SETTLED = [name for name in STORIES if "running" not in name and "before" not in name]


@pytest.mark.parametrize("verb", CALLS)
@pytest.mark.parametrize("name", SETTLED)
def test_what_is_allowed_is_what_is_accepted(name: str, verb: str) -> None:
    """And what is not is refused before the bank is asked, and changes nothing."""
    story, _, allowed = STORIES[name]
    till = Till()
    payment = story(till)
    stored, calls = till.stored(), till.watched.calls
    amount = None if verb in ("retry", "resume") else "1"
    is_allowed = (CALLS[verb] or payment.intent) in allowed
    expected = nullcontext() if is_allowed else pytest.raises(NotAllowed)
    with expected as caught:
        then(lambda _: payment, verb, amount)(till)
    if caught is not None:
        assert caught.value.payment_id == payment.id
        assert payment.id in str(caught.value)
        assert till.stored() == stored
        assert till.watched.calls == calls
    till.close()


REFUSALS: dict[str, tuple[Story, str, str | None, ErrorCode]] = {
    "more than captured": (sale, "refund", "100.01", ErrorCode.AMOUNT_EXCEEDS_REFUNDABLE),
    "more than is left": (part_refunded, "refund", "70.01", ErrorCode.AMOUNT_EXCEEDS_REFUNDABLE),
    "more than a pending refund leaves": (
        then(pending_refund, "refund", "30"),
        "refund",
        "70.01",
        ErrorCode.AMOUNT_EXCEEDS_REFUNDABLE,
    ),
    "more than a lost refund leaves": (
        lost(sale, "refund", "30"),
        "refund",
        "70.01",
        ErrorCode.AMOUNT_EXCEEDS_REFUNDABLE,
    ),
    "all again": (
        then(sale, "refund"),
        "refund",
        None,
        ErrorCode.AMOUNT_EXCEEDS_REFUNDABLE,
    ),
    "a refund of what is only held": (hold, "refund", None, ErrorCode.NOT_CAPTURED),
    "a capture beyond the hold": (hold, "capture", "100.01", ErrorCode.AMOUNT_EXCEEDS_CAPTURABLE),
    "a capture beyond the rest": (
        part_captured,
        "capture",
        "40.01",
        ErrorCode.AMOUNT_EXCEEDS_CAPTURABLE,
    ),
    "a capture beyond what a lost one leaves": (
        lost(hold, "capture", "60"),
        "capture",
        "40.01",
        ErrorCode.AMOUNT_EXCEEDS_CAPTURABLE,
    ),
    "a capture of a sale": (sale, "capture", None, ErrorCode.NOT_AUTHORIZED),
    "a capture after a final one": (
        then(hold, "capture", "1", final=True),
        "capture",
        "1",
        ErrorCode.NOT_AUTHORIZED,
    ),
    "a capture during a void": (lost(hold, "void", "1"), "capture", "1", ErrorCode.OPERATION_OPEN),
    "a void during a capture": (lost(hold, "capture", "1"), "void", "1", ErrorCode.OPERATION_OPEN),
    "a void beyond the hold": (hold, "void", "100.01", ErrorCode.AMOUNT_EXCEEDS_VOIDABLE),
    "a void beyond the rest": (part_captured, "void", "40.01", ErrorCode.AMOUNT_EXCEEDS_VOIDABLE),
    "a void of a sale": (sale, "void", None, ErrorCode.NOTHING_TO_VOID),
    "an increment after a capture": (part_captured, "increment", "1", ErrorCode.NOT_AUTHORIZED),
    "an increment of a sale": (sale, "increment", "1", ErrorCode.NOT_AUTHORIZED),
    "an increment during a void": (
        lost(hold, "void", "1"),
        "increment",
        "1",
        ErrorCode.OPERATION_OPEN,
    ),
    "an increment of what was voided": (
        then(hold, "void"),
        "increment",
        "1",
        ErrorCode.NOT_AUTHORIZED,
    ),
    "a resumption of nothing": (sale, "resume", None, ErrorCode.NO_ACTION_REQUIRED),
    "a retry of what is authorized": (hold, "retry", None, ErrorCode.ALREADY_AUTHORIZED),
    "a retry of what is unknown": (
        with_fault(Fault.LOSE_REPLY, sale),
        "retry",
        None,
        ErrorCode.OPERATION_OPEN,
    ),
    "a retry of what was voided": (then(hold, "void"), "retry", None, ErrorCode.ALREADY_AUTHORIZED),
    "a retry of what has expired": (
        after(hold, days=8),
        "retry",
        None,
        ErrorCode.ALREADY_AUTHORIZED,
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_has_its_own_code(name: str) -> None:
    """One row, one call, one code; one cent less is taken where an amount was the matter."""
    story, verb, amount, code = REFUSALS[name]
    till = Till()
    payment = story(till)
    stored, calls = till.stored(), till.watched.calls

    with pytest.raises(NotAllowed) as caught:
        then(lambda _: payment, verb, amount)(till)

    assert caught.value.code is code
    assert not caught.value.retryable
    assert till.stored() == stored
    assert till.watched.calls == calls
    if amount is not None and amount.endswith(".01"):
        assert "at most" in str(caught.value)
        then(lambda _: payment, verb, amount.removesuffix(".01"))(till)
    till.close()


def test_every_amount_adds_up_at_every_step() -> None:
    """Authorized 100, raised by 20, captured 50 and 30, voided 10, expired 30, refunded 70."""
    till = Till()
    payments = till.shop.payments
    held = till.held("100")
    payments.increment(held.id, eur("20"), idempotency_key=till.key())
    payments.capture(held.id, eur("50"), idempotency_key=till.key())
    payments.capture(held.id, eur("30"), idempotency_key=till.key())
    payments.void(held.id, eur("10"), idempotency_key=till.key())
    payments.refund(held.id, eur("45"), idempotency_key=till.key())
    seen = payments.refund(held.id, eur("25"), idempotency_key=till.key())
    assert (seen.capturable, seen.voidable, seen.refundable) == (eur("30"), eur("30"), eur("10"))
    till.advance(days=8)
    assert till.pay.recover().expired == 1
    payment = payments.get(held.id)

    assert payment.amount == payment.authorized == eur("120")
    assert payment.captured == eur("80")
    assert payment.voided == eur("10")
    assert payment.expired == eur("30")
    assert payment.refunded == eur("70")
    assert (payment.capturable, payment.voidable) == (eur("0"), eur("0"))
    assert payment.refundable == eur("10")
    assert payment.disputed == eur("0")
    till.books_agree()
    till.close()


@pytest.mark.parametrize(
    ("money", "minor"),
    [
        (Money(500, "JPY"), 500),
        (Money("1.234", "KWD"), 1_234),
        (Money("0.01", "USD"), 1),
        (Money.minor(2**63 - 1, "EUR"), 2**63 - 1),
    ],
)
def test_the_bank_is_asked_for_exactly_the_amount(money: Money, minor: int) -> None:
    """Yen are not counted in cents, nor dinars; and the largest amount there is goes through."""
    till = Till()
    payment = till.shop.payments.charge(
        money, payment_method=till.card().id, idempotency_key=till.key()
    )
    (line,) = till.bank.statement()
    assert (line.amount, line.amount.amount_minor) == (money, minor)
    assert payment.captured == money

    assert till.shop.payments.refund(payment.id, idempotency_key=till.key()).refunded == money
    till.close()


def test_an_expired_authorization_is_neither_captured_nor_voided_nor_raised() -> None:
    """From the bank's own moment on, whether or not recovery has booked it."""
    till = Till()
    held = till.held()
    assert held.expires_at == till.now + timedelta(days=7)
    till.advance(days=7, microseconds=-1)
    part = till.shop.payments.capture(held.id, eur("1"), idempotency_key=till.key())
    assert part.capturable == eur("99")

    till.advance(microseconds=1)
    for verb in ("capture", "void"):
        with pytest.raises(NotAllowed) as caught:
            then(lambda _: held, verb, "1")(till)
        assert caught.value.code is ErrorCode.AUTHORIZATION_EXPIRED
    other = till.held()
    till.advance(days=7)
    with pytest.raises(NotAllowed) as caught:
        then(lambda _: other, "increment", "1")(till)
    assert caught.value.code is ErrorCode.AUTHORIZATION_EXPIRED

    report = till.pay.recover()
    assert report.expired == 2
    assert till.pay.recover().expired == 0
    assert till.events(held)[-1] == "payment.expired"
    assert till.shop.payments.refund(held.id, idempotency_key=till.key()).refunded == eur("1")
    till.books_agree()
    till.close()


def test_recovery_books_no_expiry_while_something_is_under_way() -> None:
    """A capture that may have taken the money is found out first."""
    till = Till()
    held = lost(hold, "capture", "60")(till)
    till.advance(days=8)
    first = till.pay.recover()
    assert (first.succeeded, first.expired) == (1, 1)
    payment = till.shop.payments.get(held.id)
    assert (payment.captured, payment.expired) == (eur("60"), eur("40"))
    till.books_agree()
    till.close()


def test_a_charge_keeps_what_it_was_given_and_says_what_it_used() -> None:
    """Reference, metadata, customer and card; the reference goes to the bank, metadata never."""
    till = Till()
    customer = till.customer()
    method = till.card(MASTERCARD, customer=customer)
    payment = till.sold(
        payment_method=method.id, reference="order 7/a", metadata={"seat": "12", "gate": ""}
    )

    assert payment.reference == "order 7/a"
    assert dict(payment.metadata) == {"seat": "12", "gate": ""}
    assert (payment.customer_id, payment.payment_method_id) == (customer, method.id)
    assert (payment.brand, payment.last4) == ("mastercard", "4444")
    assert payment.created_at == till.now
    assert till.shop.payments.get(payment.id) == payment
    assert till.watched.sent[-1].reference == "order 7/a"
    assert "seat" not in repr(till.watched.sent[-1])
    refunded = till.shop.payments.refund(payment.id, idempotency_key=till.key())
    assert refunded.metadata == payment.metadata
    till.close()


def test_the_timeline_tells_the_story_in_order_and_in_words() -> None:
    """Numbered without a gap, each with its time, its amount and its operation."""
    till = Till()
    held = till.held("100")
    till.advance(minutes=1)
    till.shop.payments.capture(held.id, eur("60"), idempotency_key=till.key())
    events = till.shop.payments.timeline(held.id)

    assert [event.type for event in events] == [
        "authorize.started",
        "authorize.succeeded",
        "capture.started",
        "capture.succeeded",
    ]
    assert [event.number for event in events] == [1, 2, 3, 4]
    assert [str(event.amount) for event in events] == ["100.00 EUR"] * 2 + ["60.00 EUR"] * 2
    assert events[3].at - events[1].at == timedelta(minutes=1)
    assert "capture succeeded (60.00 EUR)" in str(events[3])
    operations = till.shop.payments.operations(held.id)
    assert [operation.kind for operation in operations] == ["authorize", "capture"]
    assert [events[0].operation_id, events[2].operation_id] == [o.id for o in operations]
    till.close()
