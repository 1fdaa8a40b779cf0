"""What time and the cardholder do: expiry, 3-D Secure challenges, pending refunds."""

import pytest
from attrs import evolve
from bank_requests import CHALLENGE, DAY_S, HELD, SOLD, START, Clock, Counter, do, modest

from payplatform._domain.money import Money
from payplatform._domain.operations import Initiator, StoredCredential
from payplatform.banks.simulated import (
    Position,
    SimulatedBank,
)
from payplatform.ports import ReplyOutcome

FIRST_USE = StoredCredential(initiator=Initiator.CUSTOMER, first_use=True)


# Time.


def test_an_authorization_expires_to_the_moment(counter: Counter, clock: Clock) -> None:
    """Captured a microsecond before, it holds; at the moment itself it is gone."""
    do(counter, [("authorize", "a", 100), ("authorize", "b", 100)])
    expires_at = counter.inquire("a").expires_at
    assert expires_at is not None
    assert (expires_at - START).total_seconds() == 7 * DAY_S

    clock.forward(7 * DAY_S - 0.000001)
    assert counter.outcome("capture", "c", 40, target_id="a") == "approved"
    clock.forward(0.000001)

    for kind in ("capture", "void", "increment"):
        outcome = counter.outcome(kind, f"{kind}-late", 1, target_id="a")
        assert outcome == "transaction_not_allowed/authorization_expired"
    position = counter.bank.position("mer_1", "a")
    assert position == Position(authorized=100, captured=40, expired=60)
    expiries = [line for line in counter.bank.statement() if str(line.kind) == "expiry"]
    assert [(line.operation_id, line.amount.amount_minor) for line in expiries] == [
        ("a", 60),
        ("b", 100),
    ]
    assert {line.at for line in expiries} == {expires_at}


def test_what_was_captured_in_time_can_be_refunded_after_expiry(
    counter: Counter, clock: Clock
) -> None:
    do(counter, [*HELD, ("capture", "c", 40)])
    clock.forward(30 * DAY_S)

    assert counter.outcome("refund", "r", 40, target_id="a") == "approved"


def test_without_a_lifetime_an_authorization_holds_for_ever(clock: Clock) -> None:
    counter = modest(clock, authorization_lifetime_s=None)
    do(counter, HELD)
    clock.forward(3650 * DAY_S)

    assert counter.inquire("a").expires_at is None
    assert counter.outcome("capture", "c", target_id="a") == "approved"


def test_a_sale_does_not_expire(counter: Counter, clock: Clock) -> None:
    do(counter, SOLD)
    clock.forward(30 * DAY_S)

    assert counter.inquire("a").expires_at is None
    assert counter.bank.position("mer_1", "a") == Position(authorized=100, captured=100)


def test_a_card_past_its_last_month_is_declined(counter: Counter, clock: Clock) -> None:
    clock.time = clock.time.replace(year=2031, month=1, day=1, hour=11, minute=59)
    assert counter.outcome("sale", "a") == "approved"
    clock.forward(60)

    assert counter.outcome("sale", "b") == "expired_card/54"


# 3-D Secure.


def test_a_challenge_waits_for_its_cardholder(counter: Counter, clock: Clock) -> None:
    reply = counter.send("authorize", "a", card=CHALLENGE)

    assert reply.outcome is ReplyOutcome.REQUIRES_ACTION
    assert reply.action is not None
    assert reply.action.type == "three_d_secure"
    assert reply.action.url.startswith("https://three-d-secure.example.test/")
    assert reply.action.expires_at is not None
    assert (reply.action.expires_at - clock.time).total_seconds() == 900
    assert reply.expires_at is None
    assert counter.effects("a") == 0
    for kind in ("capture", "void"):
        outcome = counter.outcome(kind, kind, target_id="a")
        assert outcome == "transaction_not_allowed/no_such_operation"


@pytest.mark.parametrize("by", ["operation", "address"])
def test_a_passed_challenge_is_approved_by_its_resume(
    counter: Counter, clock: Clock, by: str
) -> None:
    """The lifetime begins then, and the first operation is what may be captured."""
    asked = counter.send("authorize", "a", card=CHALLENGE, stored_credential=FIRST_USE)
    assert asked.action is not None
    counter.bank.complete_challenge("a" if by == "operation" else asked.action.url)
    assert counter.inquire("a") == asked
    clock.forward(600)

    resumed = counter.send("resume", "r", target_id="a")

    assert resumed.outcome is ReplyOutcome.APPROVED
    assert resumed.operation_id == "r"
    assert resumed.network_transaction_id is not None
    assert resumed.expires_at is not None
    assert (resumed.expires_at - clock.time).total_seconds() == 7 * DAY_S
    assert counter.inquire("r") == resumed
    assert counter.inquire("a") == evolve(resumed, operation_id="a")
    assert counter.send("resume", "r", target_id="a") == resumed
    assert counter.outcome("capture", "c", target_id="a") == "approved"
    assert counter.effects("a") == 1
    assert counter.outcome("resume", "r2", target_id="a") == "approved"
    assert counter.effects("a") == 1


def test_a_resume_that_comes_too_early_waits_on(counter: Counter) -> None:
    asked = counter.send("sale", "a", card=CHALLENGE)

    early = counter.send("resume", "r", target_id="a")

    assert early.outcome is ReplyOutcome.REQUIRES_ACTION
    assert early.action == asked.action
    counter.bank.complete_challenge("a")
    assert counter.send("resume", "r", target_id="a") == early
    assert counter.outcome("resume", "r2", target_id="a") == "approved"


def test_a_failed_challenge_is_declined_by_its_resume(counter: Counter) -> None:
    counter.send("sale", "a", card=CHALLENGE)
    counter.bank.complete_challenge("a", succeed=False)

    assert counter.outcome("resume", "r", target_id="a") == "authentication_failed/88"
    assert counter.inquire("a").outcome is ReplyOutcome.DECLINED
    assert counter.outcome("resume", "r2", target_id="a") == "authentication_failed/88"
    assert counter.effects("a") == 0


@pytest.mark.parametrize("passed", [False, True])
def test_a_challenge_that_is_not_resumed_in_time_is_declined(
    counter: Counter, clock: Clock, passed: bool
) -> None:
    asked = counter.send("sale", "a", card=CHALLENGE)
    if passed:
        counter.bank.complete_challenge("a")
    clock.forward(899.999999)
    assert counter.inquire("a") == asked
    clock.forward(0.000001)

    decline = counter.inquire("a").decline

    assert decline is not None
    assert decline.code == "authentication_failed"
    assert counter.outcome("resume", "r", target_id="a") == "authentication_failed/88"
    with pytest.raises(LookupError):
        counter.bank.complete_challenge("a")


def test_a_reversed_challenge_cannot_be_taken_up(counter: Counter) -> None:
    counter.send("sale", "a", card=CHALLENGE)
    assert counter.outcome("reversal", "a") == "approved"

    with pytest.raises(LookupError):
        counter.bank.complete_challenge("a")
    assert counter.outcome("resume", "r", target_id="a") == "generic_decline/reversed"


def test_a_resume_is_reversed_by_the_name_of_what_it_resumed(counter: Counter) -> None:
    counter.send("sale", "a", card=CHALLENGE)
    counter.bank.complete_challenge("a")
    counter.send("resume", "r", target_id="a")

    assert counter.outcome("reversal", "r").endswith("reverse_the_resumed_operation")
    assert counter.outcome("reversal", "a") == "approved"
    assert counter.effects("a") == 0


@pytest.mark.parametrize(
    ("amount_minor", "target_id", "bank_code"),
    [(99, "a", "other_amount"), (100, "b", "no_such_operation"), (100, None, "no_such_operation")],
)
def test_a_resume_is_about_what_waits(
    counter: Counter, amount_minor: int, target_id: str | None, bank_code: str
) -> None:
    counter.send("sale", "a", card=CHALLENGE)

    assert counter.outcome("resume", "r", amount_minor, target_id=target_id).endswith(bank_code)


def test_addresses_are_one_operations_own(bank: SimulatedBank) -> None:
    replies = [
        Counter(bank, merchant_id).send("sale", operation_id, card=CHALLENGE)
        for merchant_id in ("mer_1", "mer_2")
        for operation_id in ("a", "b")
    ]

    urls = {reply.action.url for reply in replies if reply.action}
    assert len(urls) == 4
    with pytest.raises(LookupError):
        bank.complete_challenge("a")
    bank.complete_challenge(min(urls))


def test_a_verification_is_not_challenged(counter: Counter) -> None:
    assert counter.outcome("verify", "a", 0, card=CHALLENGE) == "approved"


# Pending refunds.

PENDING = "4000000000007726"
PENDING_THEN_DECLINED = "4000000000010308"


def test_a_pending_refund_counts_as_spent(counter: Counter) -> None:
    counter.send("sale", "a", card=PENDING)

    reply = counter.send("refund", "r", 60, target_id="a")

    assert reply.outcome is ReplyOutcome.PENDING
    assert reply.amount == Money.minor(60, "EUR")
    position = counter.bank.position("mer_1", "a")
    assert (position.refunded, position.pending_refund, position.refundable) == (0, 60, 40)
    assert counter.outcome("refund", "r2", 41, target_id="a").startswith("invalid_amount")
    assert counter.effects("r") == 1


@pytest.mark.parametrize(("number", "succeeds"), [(PENDING, True), (PENDING_THEN_DECLINED, False)])
@pytest.mark.parametrize("by", ["time", "test"])
def test_a_pending_refund_is_decided(
    counter: Counter, clock: Clock, number: str, succeeds: bool, by: str
) -> None:
    counter.send("sale", "a", card=number)
    asked = counter.send("refund", "r", 60, target_id="a")
    if by == "test":
        counter.bank.finish_pending("r", succeed=succeeds)
    else:
        clock.forward(3_599)
        assert counter.inquire("r") == asked
        clock.forward(1)

    told = counter.inquire("r")

    assert told.outcome is (ReplyOutcome.APPROVED if succeeds else ReplyOutcome.DECLINED)
    assert counter.send("refund", "r", 60, target_id="a") == told
    position = counter.bank.position("mer_1", "a")
    assert (position.refunded, position.pending_refund) == ((60 if succeeds else 0), 0)
    with pytest.raises(LookupError):
        counter.bank.finish_pending("r")


def test_a_pending_refund_can_be_reversed(counter: Counter, clock: Clock) -> None:
    counter.send("sale", "a", card=PENDING)
    counter.send("refund", "r", 60, target_id="a")
    assert counter.outcome("reversal", "r") == "approved"
    clock.forward(DAY_S)

    assert counter.inquire("r").outcome is ReplyOutcome.DECLINED
    assert counter.bank.position("mer_1", "a").refundable == 100
