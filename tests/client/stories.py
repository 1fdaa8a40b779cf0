"""Every status that a payment can come to, told as the calls that lead there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from till import (
    CHALLENGED,
    NO_FUNDS,
    REFUND_DECLINED,
    REFUND_PENDS_THEN_SUCCEEDS,
    Till,
    eur,
)

from payplatform import BankUnavailable, OperationKind, OutcomeUnknown, Payment, PaymentStatus
from payplatform.banks.simulated import Call, Fault
from payplatform.ports import BankRequest

Story = Callable[[Till], Payment]


def the_only(till: Till) -> Payment:
    (payment,) = till.shop.payments.list()
    return payment


def with_fault(fault: Fault, story: Story) -> Story:
    """The payment as it is once a story's last call has met a fault."""

    def told(till: Till) -> Payment:
        till.bank.next(fault)
        with suppress(OutcomeUnknown, BankUnavailable):
            story(till)
        return the_only(till)

    return told


def then(story: Story, verb: str, amount: str | None = None, **more: object) -> Story:
    """A story, and one more call about its payment."""

    def told(till: Till) -> Payment:
        payment = story(till)
        function = getattr(till.shop.payments, verb)
        money = () if amount is None else (eur(amount),)
        result = function(payment.id, *money, idempotency_key=till.key(), **more)
        assert isinstance(result, Payment)
        return result

    return told


def after(story: Story, **time: float) -> Story:
    """A story, and what recovery makes of it some time later."""

    def told(till: Till) -> Payment:
        payment = story(till)
        till.advance(**time)
        till.pay.recover()
        return till.shop.payments.get(payment.id)

    return told


def lost(story: Story, verb: str, amount: str) -> Story:
    """A story whose last call never gets an answer."""

    def told(till: Till) -> Payment:
        payment = story(till)
        till.bank.next(Fault.LOSE_REPLY)
        with suppress(OutcomeUnknown):
            then(lambda _: payment, verb, amount)(till)
        return till.shop.payments.get(payment.id)

    return told


def while_asked(story: Story) -> Story:
    """The payment as others see it while the bank is being asked."""

    def told(till: Till) -> Payment:
        seen: list[Payment] = []

        def look(_: BankRequest) -> None:
            seen[:] = till.shop.payments.list()

        till.watched.before = look
        story(till)
        return seen[0]

    return told


def reversing(till: Till) -> Payment:
    """The bank has not heard of it, and does not answer to the reversal."""
    payment = with_fault(Fault.LOSE_REQUEST, sale)(till)
    till.pay.recover()
    till.advance(seconds=61)
    till.bank.next(Fault.LOSE_REQUEST, on=Call.REVERSAL)
    till.pay.recover()
    return till.shop.payments.get(payment.id)


def sale(till: Till) -> Payment:
    return till.sold()


def hold(till: Till) -> Payment:
    return till.held()


def challenge(till: Till) -> Payment:
    return till.sold(number=CHALLENGED)


def pending_refund(till: Till) -> Payment:
    return till.sold(number=REFUND_PENDS_THEN_SUCCEEDS)


SALE, HOLD = OperationKind.SALE, OperationKind.AUTHORIZE
CAPTURE, VOID = OperationKind.CAPTURE, OperationKind.VOID
REFUND, INCREMENT = OperationKind.REFUND, OperationKind.INCREMENT
RESUME = OperationKind.RESUME

part_captured = then(hold, "capture", "60")
part_refunded = then(sale, "refund", "30")

STORIES: dict[str, tuple[Story, PaymentStatus, set[OperationKind]]] = {
    "a lost answer": (with_fault(Fault.LOSE_REPLY, sale), PaymentStatus.UNKNOWN, set()),
    "a reversal without an answer": (reversing, PaymentStatus.UNKNOWN, set()),
    "unknown before refunded": (
        lost(part_refunded, "refund", "30"),
        PaymentStatus.UNKNOWN,
        {REFUND},
    ),
    "unknown before processing": (
        lost(then(pending_refund, "refund", "30"), "refund", "30"),
        PaymentStatus.UNKNOWN,
        {REFUND},
    ),
    "unknown before partially captured": (
        lost(part_captured, "capture", "10"),
        PaymentStatus.UNKNOWN,
        {CAPTURE, REFUND},
    ),
    "a challenge": (challenge, PaymentStatus.REQUIRES_ACTION, {RESUME}),
    "a challenge that is not finished": (
        then(challenge, "resume"),
        PaymentStatus.REQUIRES_ACTION,
        {RESUME},
    ),
    "a sale that is running": (while_asked(sale), PaymentStatus.PROCESSING, set()),
    "processing before requires action": (
        while_asked(then(challenge, "resume")),
        PaymentStatus.PROCESSING,
        set(),
    ),
    "processing before captured": (
        then(pending_refund, "refund", "30"),
        PaymentStatus.PROCESSING,
        {REFUND},
    ),
    "processing before authorized": (
        while_asked(then(hold, "capture", "60")),
        PaymentStatus.PROCESSING,
        {CAPTURE},
    ),
    "a void that is running": (
        while_asked(then(hold, "void", "60")),
        PaymentStatus.PROCESSING,
        {VOID},
    ),
    "refunded": (then(sale, "refund"), PaymentStatus.REFUNDED, set()),
    "refunded in parts": (then(part_refunded, "refund"), PaymentStatus.REFUNDED, set()),
    "refunded as far as captured": (
        then(part_captured, "refund"),
        PaymentStatus.REFUNDED,
        {CAPTURE, VOID},
    ),
    "a pending refund that came through": (
        after(then(pending_refund, "refund"), hours=2),
        PaymentStatus.REFUNDED,
        set(),
    ),
    "partially refunded": (part_refunded, PaymentStatus.PARTIALLY_REFUNDED, {REFUND}),
    "partially refunded before partially captured": (
        then(part_captured, "refund", "1"),
        PaymentStatus.PARTIALLY_REFUNDED,
        {CAPTURE, VOID, REFUND},
    ),
    "captured": (sale, PaymentStatus.CAPTURED, {REFUND}),
    "captured by the last part": (
        then(part_captured, "capture"),
        PaymentStatus.CAPTURED,
        {REFUND},
    ),
    "captured before voided": (
        then(hold, "capture", "60", final=True),
        PaymentStatus.CAPTURED,
        {REFUND},
    ),
    "captured, and the rest voided": (
        then(part_captured, "void"),
        PaymentStatus.CAPTURED,
        {REFUND},
    ),
    "captured before expired": (
        after(part_captured, days=8),
        PaymentStatus.CAPTURED,
        {REFUND},
    ),
    "captured, though a refund was declined": (
        then(lambda till: till.sold(number=REFUND_DECLINED), "refund"),
        PaymentStatus.CAPTURED,
        {REFUND},
    ),
    "partially captured": (
        part_captured,
        PaymentStatus.PARTIALLY_CAPTURED,
        {CAPTURE, VOID, REFUND},
    ),
    "authorized": (hold, PaymentStatus.AUTHORIZED, {CAPTURE, VOID, INCREMENT}),
    "authorized before voided": (
        then(hold, "void", "40"),
        PaymentStatus.AUTHORIZED,
        {CAPTURE, VOID, INCREMENT},
    ),
    "raised": (
        then(hold, "increment", "20"),
        PaymentStatus.AUTHORIZED,
        {CAPTURE, VOID, INCREMENT},
    ),
    "voided": (then(hold, "void"), PaymentStatus.VOIDED, set()),
    "voided before expired": (
        after(then(hold, "void", "40"), days=8),
        PaymentStatus.VOIDED,
        set(),
    ),
    "expired": (after(hold, days=8), PaymentStatus.EXPIRED, set()),
    "declined": (lambda till: till.sold(number=NO_FUNDS), PaymentStatus.DECLINED, {SALE}),
    "a hold declined": (lambda till: till.held(number=NO_FUNDS), PaymentStatus.DECLINED, {HOLD}),
    "declined after a challenge": (
        then(
            lambda till: passed(till, till.sold(number=CHALLENGED), succeed=False),
            "resume",
        ),
        PaymentStatus.DECLINED,
        {SALE},
    ),
    "never sent": (with_fault(Fault.DOWN, sale), PaymentStatus.FAILED, {SALE}),
    "a hold never sent": (with_fault(Fault.DOWN, hold), PaymentStatus.FAILED, {HOLD}),
    "reversed": (after(reversing, hours=1), PaymentStatus.FAILED, {SALE}),
    "failed after it was declined": (
        lambda till: retried_in_vain(till, till.sold(number=NO_FUNDS)),
        PaymentStatus.FAILED,
        {SALE},
    ),
}
"""What happens to a payment; the status that it has then; what may follow."""


def passed(till: Till, payment: Payment, *, succeed: bool) -> Payment:
    till.bank.complete_challenge(till.latest(payment).id, succeed=succeed)
    return payment


def retried_in_vain(till: Till, payment: Payment) -> Payment:
    till.bank.next(Fault.DOWN)
    with suppress(BankUnavailable):
        till.shop.payments.retry(payment.id, idempotency_key=till.key())
    return till.shop.payments.get(payment.id)
