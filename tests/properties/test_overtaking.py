"""A process that was overtaken while it asked the bank writes nothing but that it came too late.

How: it stands still just before or just after its request; its lease runs out; another process
recovers what was left behind. Then the first wakes up. Memory and SQLite side by side, each verb.
"""

from collections.abc import Iterator

import pytest
from sides import Overtaking, Side
from twins import Twins

from payplatform import Card, Money, Payment
from payplatform.banks.simulated import FULL_CAPABILITIES, Fault
from payplatform.testing.mortal import Moment

PAST_THE_LEASE_S = 46
PAST_THE_LAST_ARRIVAL_S = 107
MONEY = Money("10.00", "EUR")


@pytest.fixture
def twins() -> Iterator[Twins]:
    twins = Twins(FULL_CAPABILITIES, secrets=["4242424242424242"])
    yield twins
    twins.close()


def a_merchant(twins: Twins) -> str:
    return str(twins.both(lambda side: side.pay.merchants.create(name="Acme")).value.id)


def start(twins: Twins, merchant_id: str, verb: str, trouble: Overtaking | None = None) -> Payment:
    """Starts a payment with a card on file, and reads it again whatever the caller was told."""

    def ask(side: Side) -> Payment:
        shop = side.shop(merchant_id)
        card = shop.payment_methods.create(card=Card("4242424242424242", "12/40"))
        method = getattr(shop.payments, verb)
        payment: Payment = method(MONEY, payment_method=card.id, idempotency_key=verb)
        return payment

    twins.both(ask, trouble)
    [payment] = twins.both(lambda side: side.shop(merchant_id).payments.list()).value
    assert isinstance(payment, Payment)
    return payment


def types(twins: Twins, payment: Payment) -> list[str]:
    return [event.type for event in twins.events[payment.id]]


def follow_up(side: Side, payment: Payment, verb: str) -> Payment:
    payments = side.shop(payment.merchant_id).payments
    amount = [MONEY] if verb == "increment" else []
    told: Payment = getattr(payments, verb)(payment.id, *amount, idempotency_key="follow-up")
    return told


@pytest.mark.parametrize("verb", ["charge", "authorize"])
def test_what_another_found_approved_is_told_by_both(verb: str, twins: Twins) -> None:
    payment = start(twins, a_merchant(twins), verb, Overtaking(PAST_THE_LEASE_S, "after"))

    kind = "sale" if verb == "charge" else verb
    assert types(twins, payment) == [f"{kind}.started", f"{kind}.succeeded", f"{kind}.late_answer"]
    assert payment.authorized == MONEY


@pytest.mark.parametrize("verb", ["charge", "authorize"])
def test_a_request_that_leaves_after_it_was_reversed_is_never_done(verb: str, twins: Twins) -> None:
    """The other process has had it reversed, unseen, and the bank remembers."""
    overtaking = Overtaking(PAST_THE_LAST_ARRIVAL_S, "before")
    payment = start(twins, a_merchant(twins), verb, overtaking)

    kind = "sale" if verb == "charge" else verb
    assert types(twins, payment) == [
        f"{kind}.started",
        f"{kind}.reversing",
        f"{kind}.aborted",
        f"{kind}.late_answer",
    ]
    assert payment.status == "failed"
    twins.agree_with_the_bank(payment.merchant_id, payment.id)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("verb", ["capture", "void", "refund", "increment"])
def test_a_follow_up_is_done_once_whoever_asks(verb: str, moment: Moment, twins: Twins) -> None:
    first = "charge" if verb == "refund" else "authorize"
    payment = start(twins, a_merchant(twins), first)
    told = twins.both(
        lambda side: follow_up(side, payment, verb), Overtaking(PAST_THE_LEASE_S, moment)
    )

    assert types(twins, payment)[-1] == f"{verb}.late_answer"
    if (verb, moment) != ("increment", "before"):  # not resent, so it is inquired about later
        assert told.payment is not None
        assert types(twins, payment)[-2] == f"{verb}.succeeded"
    twins.wait(seconds=600)
    twins.both(lambda side: side.pay.recover())
    twins.agree_with_the_bank(payment.merchant_id, payment.id)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_recovery_may_be_overtaken_too(moment: Moment, twins: Twins) -> None:
    payment = start(twins, a_merchant(twins), "authorize")
    twins.both(lambda side: follow_up(side, payment, "capture"), Fault.LOSE_REQUEST)
    told = twins.both(lambda side: side.pay.recover(), Overtaking(PAST_THE_LEASE_S, moment))

    assert told.value.examined == 0, "the other process has examined it, and counts it"
    assert types(twins, payment)[-2:] == ["capture.succeeded", "capture.late_answer"]
    twins.agree_with_the_bank(payment.merchant_id, payment.id)
