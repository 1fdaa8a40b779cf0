"""What the bank tells later is booked once, whenever and however often it is told.

How: the bank makes its notices by itself, from what it has really done, and the tests are the post:
they deliver late, twice and in any order. In the end both sets of books say the same, or a person
has been asked. What no bank of ours would say is written by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from mortal import World, agree
from shaky import (
    Fails,
    Shaky,
    done_but_uncertain,
    named,
    not_done_and_uncertain,
    stale,
    unavailable,
)
from test_crashes import deaths
from verbs import KEY, VERBS, a_card, a_challenge, eur

from payplatform import (
    Conflict,
    ErrorCode,
    Money,
    NotAllowed,
    NotFound,
    Operation,
    OutcomeUnknown,
    Payment,
    PayPlatformError,
    StorageUnavailable,
)
from payplatform._domain.payments import Facts
from payplatform.banks.simulated import FULL_CAPABILITIES, Fault
from payplatform.ports import BankNotice, BankReply, ReplyOutcome, Storage
from payplatform.testing.mortal import Died, Fate, Moment

CAPTURES_TAKEN_BACK, REFUNDS_TAKEN_BACK = "4000000000010332", "4000000000010324"
PENDING_THEN_APPROVED, PENDING_THEN_DECLINED = "4000000000007726", "4000000000010308"


@pytest.fixture(params=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(None if request.param == "memory" else tmp_path / "shop.db")


def the_operation(world: World, key: str = KEY) -> Operation:
    operation = world.shop.operations.find(idempotency_key=key)
    assert operation is not None
    return operation


def the_payment(world: World) -> Payment:
    [payment] = world.shop.payments.list()
    return payment


def history(world: World) -> list[str]:
    return [event.type for event in world.shop.payments.timeline(the_payment(world).id)]


def deliver(world: World) -> None:
    """The post as it should be: in order, again until taken, and then acknowledged."""
    for notice in world.bank.notices():
        world.pay.notices.apply(notice)
        world.bank.acknowledge(notice.id)


def written(
    world: World, operation: Operation, outcome: ReplyOutcome, notice_id: str = "by hand", **at: int
) -> BankNotice:
    """A notice that the bank did not send."""
    reply = BankReply(operation_id=operation.id, outcome=outcome, amount=operation.amount)
    at_time = world.now + timedelta(**at)
    return BankNotice(id=notice_id, merchant_id=operation.merchant_id, reply=reply, at=at_time)


def authorized(world: World, number: str = "4242424242424242") -> str:
    method = a_card(world, number)
    payments = world.shop.payments
    return payments.authorize(eur("100"), payment_method=method, idempotency_key="auth").id


# Taken back.


@pytest.mark.parametrize("final", [False, True])
def test_a_capture_taken_back_leaves_what_was_there_before(world: World, final: bool) -> None:
    """Also the rest that a final one had released, and whatever was voided on the way."""
    payments = world.shop.payments
    payment_id = authorized(world, CAPTURES_TAKEN_BACK)
    payments.void(payment_id, eur("5"), idempotency_key="void")
    before = payments.get(payment_id).facts
    told = payments.capture(payment_id, eur("60"), final=final, idempotency_key=KEY)
    world.advance(hours=1)
    deliver(world)

    payment = payments.get(payment_id)
    assert the_operation(world).state == "reversed"
    assert payment.facts == before
    assert history(world)[-1] == "capture.reversed"
    agree(world)
    again = payments.capture(payment_id, eur("60"), final=final, idempotency_key=KEY)
    assert again == told, "what was told is told again"
    payments.capture(payment_id, eur("95"), idempotency_key="another")
    agree(world)
    world.close()


@pytest.mark.parametrize("closes_first", [True, False])
@pytest.mark.parametrize("hears_first", [True, False])
def test_a_final_capture_lets_go_of_what_comes_back_later_too(
    closes_first: bool, hears_first: bool, world: World
) -> None:
    """Whichever comes first, at the bank and here: the final capture, or the other's end."""
    payments, payment_id = world.shop.payments, authorized(world)
    world.bank.next(Fault.TAKE_BACK)
    payments.capture(payment_id, eur("50"), idempotency_key="first")
    if not closes_first:
        world.advance(hours=2)
        assert world.bank.notices()
    world.bank.next(Fault.LOSE_REPLY)
    with pytest.raises(OutcomeUnknown):
        payments.capture(payment_id, eur("30"), final=True, idempotency_key="last")
    if closes_first:
        world.advance(hours=2)
    for hear in (deliver, lambda world: world.pay.recover())[:: 1 if hears_first else -1]:
        hear(world)

    payment = the_payment(world)
    assert (payment.captured, payment.voided, payment.capturable) == (
        eur("30"),
        eur("70"),
        eur("0"),
    )
    assert the_operation(world, "first").state == "reversed"
    agree(world)
    world.close()


def test_a_refund_taken_back_can_be_made_again(world: World) -> None:
    payments = world.shop.payments
    payment_id = authorized(world, REFUNDS_TAKEN_BACK)
    payments.capture(payment_id, idempotency_key="capture")
    payments.refund(payment_id, eur("60"), idempotency_key=KEY)
    world.advance(hours=1)
    deliver(world)

    assert the_operation(world).state == "reversed"
    assert payments.get(payment_id).status == "captured"
    agree(world)
    payments.refund(payment_id, eur("100"), idempotency_key="again")
    agree(world)
    world.close()


def test_what_comes_back_after_the_authorization_expired_lapses_too(world: World) -> None:
    """At the bank it is gone at once: neither side may capture it again."""
    payments = world.shop.payments
    payment_id = authorized(world)
    world.advance(days=6, hours=23, minutes=30)
    world.bank.next(Fault.TAKE_BACK)
    payments.capture(payment_id, eur("60"), idempotency_key=KEY)
    world.advance(hours=1)
    world.pay.recover()
    assert payments.get(payment_id).expired == eur("40")
    for notice in world.bank.notices():
        if notice.expired is None:  # that it has expired is found out without being told
            world.pay.notices.apply(notice)

    with pytest.raises(NotAllowed) as refused:
        payments.capture(payment_id, idempotency_key="another")
    assert refused.value.code is ErrorCode.AUTHORIZATION_EXPIRED
    world.pay.recover()
    assert payments.get(payment_id).expired == eur("100")
    agree(world)
    world.close()


def test_a_capture_is_not_taken_back_from_under_a_refund(world: World) -> None:
    """The refund is in doubt: the notice has to come again when it is not."""
    payments = world.shop.payments
    payment_id = authorized(world, CAPTURES_TAKEN_BACK)
    payments.capture(payment_id, eur("60"), idempotency_key=KEY)
    world.bank.next(Fault.LOSE_REQUEST)
    with pytest.raises(OutcomeUnknown):
        payments.refund(payment_id, eur("50"), idempotency_key="refund")
    world.advance(hours=1)
    before = history(world)
    [notice] = world.bank.notices()

    with pytest.raises(Conflict) as refused:
        world.pay.notices.apply(notice)

    assert refused.value.code is ErrorCode.OPERATION_IN_PROGRESS
    assert refused.value.retryable
    assert refused.value.operation_id == the_operation(world).id
    assert history(world) == before
    world.pay.recover()
    assert the_operation(world, "refund").state == "declined"
    assert world.pay.notices.apply(notice).state == "reversed"
    agree(world)
    world.close()


def test_what_can_not_be_taken_back_any_more_is_told(world: World) -> None:
    """The money was given back already: nothing is changed, and an event says what was told."""
    payments = world.shop.payments
    payment_id = authorized(world)
    payments.capture(payment_id, eur("60"), idempotency_key=KEY)
    payments.refund(payment_id, eur("50"), idempotency_key="refund")
    before = payments.get(payment_id)
    notice = written(world, the_operation(world), ReplyOutcome.DECLINED)

    for _ in range(2):
        assert world.pay.notices.apply(notice).state == "succeeded"

        assert history(world)[-2:] == ["refund.succeeded", "capture.contradicted"], "told once"
    event = payments.timeline(payment_id)[-1]
    assert dict(event.details)["answer"] == "taken_back"
    assert dict(event.details)["notice"] == notice.id
    assert payments.get(payment_id).facts == before.facts
    agree(world)
    world.close()


@pytest.mark.parametrize("verb", VERBS)
def test_whatever_is_taken_back_is_undone_exactly(verb: str, world: World) -> None:
    """Amounts and books are as before; a repeat of the call goes on telling what it told."""
    prepare, act = VERBS[verb]
    subject = prepare(world)
    before = [payment.facts for payment in world.shop.payments.list()]
    told = act(world.shop, subject)
    operation = the_operation(world)

    applied = world.pay.notices.apply(written(world, operation, ReplyOutcome.DECLINED))

    assert applied.state == "reversed"
    assert applied.id == (operation.target_id if verb == "resume" else operation.id)
    requested = [Facts(requested=10_000)] if verb in ("charge", "authorize") else []
    assert [payment.facts for payment in world.shop.payments.list()] == (before or requested)
    assert act(world.shop, subject) == told
    assert world.pay.doctor().ok
    world.close()


def test_a_verification_taken_back_verifies_nothing(world: World) -> None:
    prepare, act = VERBS["verify"]
    method_id = prepare(world)
    act(world.shop, method_id)
    world.pay.notices.apply(written(world, the_operation(world), ReplyOutcome.DECLINED))

    verification = world.shop.payment_methods.get(method_id).verification
    assert verification is not None
    assert not verification.succeeded
    world.close()


# Against its word.


@pytest.mark.parametrize("verb", VERBS)
def test_a_decline_that_was_none_goes_to_a_person(verb: str, world: World) -> None:
    """The bank has done it and said declined; its notice tells, and a person finds both alike."""
    prepare, act = VERBS[verb]
    subject = prepare(world)
    world.bank.next(Fault.CONTRADICT)
    act(world.shop, subject)
    assert the_operation(world).state == "declined"

    deliver(world)

    [operation] = world.shop.operations.list_unresolved()
    assert operation.state == "needs_review"
    assert operation.reason
    decide(world)
    agree(world)
    world.close()


def decide(world: World) -> None:
    """A person looks at the bank's statement, and says what it says."""
    for operation in list(world.shop.operations.list_unresolved()):
        truth = world.bank.inquire(world.merchant_id, operation.id, timeout_s=1).outcome
        outcome = "succeeded" if truth is ReplyOutcome.APPROVED else "declined"
        world.shop.operations.resolve(
            operation.id, outcome=outcome, actor="Grace", reason="on the statement"
        )


@pytest.mark.parametrize("call", ["charge", "authorize", "verify", "resume"])
def test_an_approval_that_was_none_is_reversed(call: str, world: World) -> None:
    """The bank has declined and said approved; its notice tells, and nothing is left of it."""
    _, act = VERBS[call]
    if call == "resume":
        subject = a_challenge(world)
        world.bank.complete_challenge(the_operation(world, "sale").id, succeed=False)
    else:
        subject = a_card(world, "4000000000009995")
    world.bank.next(Fault.CONTRADICT)
    act(world.shop, subject)
    assert the_operation(world).state == "succeeded"

    deliver(world)

    reversed_ = the_operation(world, "sale" if call == "resume" else KEY)
    assert reversed_.state == "reversed"
    assert reversed_.decline is not None
    assert reversed_.decline.code in ("insufficient_funds", "authentication_failed")
    agree(world)
    if call != "verify":
        assert the_payment(world).status == "declined"
        assert the_payment(world).allowed_operations == {the_payment(world).intent}
    world.close()


def test_what_is_contradicted_by_an_inquiry_goes_to_a_person(world: World) -> None:
    """Recovery has asked, and booked a decline that was none."""
    prepare, act = VERBS["charge"]
    subject = prepare(world)
    world.bank.next(Fault.LOSE_REPLY, Fault.CONTRADICT)
    with pytest.raises(OutcomeUnknown):
        act(world.shop, subject)
    world.advance(minutes=1)
    world.pay.recover()
    assert the_operation(world).state == "declined"

    deliver(world)

    assert the_operation(world).state == "needs_review"
    decide(world)
    agree(world)
    world.close()


@pytest.mark.parametrize("bank_forgets", [True, False])
def test_what_arrives_after_its_reversal(bank_forgets: bool, world: World) -> None:
    """Told as declined by a bank that remembers; done by one that forgot, and a person decides."""
    prepare, act = VERBS["charge"]
    subject = prepare(world)
    world.bank.next(Fault.DELAY_PAST_PROMISE)
    if bank_forgets:
        world.bank.next(Fault.FORGET_REVERSAL)
    with pytest.raises(OutcomeUnknown):
        act(world.shop, subject)
    world.advance(seconds=61)
    world.pay.recover()
    assert the_operation(world).state == "aborted"
    world.advance(minutes=1)

    deliver(world)

    assert the_operation(world).state == ("needs_review" if bank_forgets else "aborted")
    decide(world)
    agree(world)
    world.close()


@pytest.mark.parametrize(("at", "state"), [(-1, "aborted"), (0, "aborted"), (1, "needs_review")])
def test_what_was_approved_before_it_was_reversed_is_no_contradiction(
    at: int, state: str, world: World
) -> None:
    """Where the bank remembers reversals, what it did before one is undone, and after it none."""
    prepare, act = VERBS["charge"]
    subject = prepare(world)
    world.bank.next(Fault.LOSE_REQUEST)
    with pytest.raises(OutcomeUnknown):
        act(world.shop, subject)
    world.advance(seconds=61)
    world.pay.recover()
    assert the_operation(world).state == "aborted"

    notice = written(world, the_operation(world), ReplyOutcome.APPROVED, seconds=at)

    assert world.pay.notices.apply(notice).state == state
    world.close()


def test_what_was_never_sent_was_never_reversed(world: World) -> None:
    """An approval of it is a contradiction, whenever it was given."""
    prepare, act = VERBS["charge"]
    subject = prepare(world)
    world.bank.next(Fault.DOWN)
    with pytest.raises(PayPlatformError):
        act(world.shop, subject)

    notice = written(world, the_operation(world), ReplyOutcome.APPROVED, seconds=-1)

    assert world.pay.notices.apply(notice).state == "needs_review"
    world.close()


# A bank that forgets.


@pytest.mark.parametrize("verb", ["capture", "final capture", "void", "refund", "resume"])
def test_a_bank_that_forgot_the_id_does_nothing_twice(verb: str, world: World) -> None:
    """It has done it, and can be asked: so it is asked, and nothing is sent again."""
    prepare, act = VERBS[verb]
    subject = prepare(world)
    world.bank.next(Fault.LOSE_REPLY, Fault.FORGET_ID)
    with pytest.raises(OutcomeUnknown):
        act(world.shop, subject)
    sent = len(world.wire.sent)
    world.recover_all()

    assert the_operation(world).state == "succeeded"
    assert len(world.wire.sent) == sent
    agree(world)
    world.close()


def test_a_bank_that_cannot_be_asked_is_trusted_to_remember() -> None:
    """What is sent again is done twice if it did not: the promise that nothing can replace."""
    world = World(capabilities=evolve(FULL_CAPABILITIES, inquiry_by_operation_id=False))
    prepare, _ = VERBS["refund"]
    subject = prepare(world)
    world.bank.next(Fault.LOSE_REPLY, Fault.FORGET_ID)
    with pytest.raises(OutcomeUnknown):
        world.shop.payments.refund(subject, eur("40"), idempotency_key=KEY)
    world.recover_all()

    assert world.bank.effects(world.merchant_id, the_operation(world).id) == 2
    world.close()


# Open operations.


@pytest.mark.parametrize("verb", VERBS)
def test_what_arrives_late_is_settled_by_its_notice(verb: str, world: World) -> None:
    """Nobody has to ask: the caller who comes again is told."""
    prepare, act = VERBS[verb]
    subject = prepare(world)
    world.bank.next(Fault.DELAY_PAST_INQUIRY)
    with pytest.raises(OutcomeUnknown):
        act(world.shop, subject)
    world.advance(minutes=2)
    asked = world.wire.calls

    deliver(world)

    assert the_operation(world).state == "succeeded"
    assert act(world.shop, subject).replayed
    assert world.wire.calls == asked
    agree(world)
    world.close()


@pytest.mark.parametrize(
    ("card", "state"), [(PENDING_THEN_APPROVED, "succeeded"), (PENDING_THEN_DECLINED, "declined")]
)
def test_a_pending_refund_is_settled_by_its_notice(card: str, state: str, world: World) -> None:
    payments = world.shop.payments
    payment_id = authorized(world, card)
    payments.capture(payment_id, idempotency_key="capture")
    payments.refund(payment_id, eur("60"), idempotency_key=KEY)
    assert the_operation(world).state == "pending"
    world.advance(hours=1)

    deliver(world)

    assert the_operation(world).state == state
    agree(world)
    world.close()


def test_a_challenge_that_is_over_is_settled_by_its_notice(world: World) -> None:
    a_challenge(world)
    world.advance(minutes=15)

    deliver(world)

    assert the_operation(world, "sale").state == "declined"
    assert the_payment(world).action is None
    agree(world)
    world.close()


def test_a_notice_comes_between_a_question_and_its_answer(world: World) -> None:
    """Recovery holds the operation, the notice is faster, and both tell the same."""
    prepare, act = VERBS["capture"]
    subject = prepare(world)
    world.bank.next(Fault.DELAY_REQUEST)
    with pytest.raises(OutcomeUnknown):
        act(world.shop, subject)
    world.advance(minutes=1)

    def overtaken(reply: BankReply) -> BankReply:
        deliver(world)
        return reply

    world.wire.heard = overtaken
    world.pay.recover()

    assert the_operation(world).state == "succeeded"
    assert history(world)[-2:] == ["capture.in_doubt", "capture.succeeded"]
    agree(world)
    world.close()


def test_a_notice_comes_before_the_answer_does(world: World) -> None:
    """Its caller still waits, and is told the outcome that the notice has brought."""
    prepare, act = VERBS["capture"]
    subject = prepare(world)

    def noticed(_: object) -> None:
        world.wire.after = lambda _: None
        world.pay.notices.apply(written(world, the_operation(world), ReplyOutcome.APPROVED))

    world.wire.after = noticed
    told = act(world.shop, subject)

    assert isinstance(told, Payment)
    assert told.captured == eur("60")
    assert history(world).count("capture.succeeded") == 1
    agree(world)
    world.close()


# What changes nothing.


@pytest.mark.parametrize(
    "altered",
    [
        {"amount": Money("59.99", "EUR")},
        {"amount": Money("60.00", "USD")},
        {"amount": None},
        {"outcome": ReplyOutcome.NOT_FOUND},
        {"outcome": "approved"},
        {"reference": "x" * 256},
    ],
    ids=str,
)
@pytest.mark.parametrize("told", ["succeeded", "in_doubt"])
def test_a_notice_that_does_not_fit_proves_nothing(
    altered: dict[str, object], told: str, world: World
) -> None:
    prepare, act = VERBS["capture"]
    subject = prepare(world)
    if told == "in_doubt":
        world.bank.next(Fault.LOSE_REPLY)
        with pytest.raises(OutcomeUnknown):
            act(world.shop, subject)
    else:
        act(world.shop, subject)
    before = history(world)
    notice = written(world, the_operation(world), ReplyOutcome.APPROVED)

    world.pay.notices.apply(evolve(notice, reply=evolve(notice.reply, **altered)))  # type: ignore[arg-type]  # any attribute, by its name

    assert the_operation(world).state == told
    assert history(world) == before
    world.close()


def test_nobody_elses_operation_is_found(world: World) -> None:
    """Nor one that nobody has: told alike, so that the bank delivers it again."""
    prepare, act = VERBS["charge"]
    act(world.shop, prepare(world))
    theirs = world.pay.merchants.create(name="Other").id
    notice = written(world, the_operation(world), ReplyOutcome.DECLINED)
    reply = evolve(notice.reply, operation_id="op_" + "0" * 26)

    errors = []
    for unknown in (evolve(notice, merchant_id=theirs), evolve(notice, reply=reply)):
        with pytest.raises(NotFound) as refused:
            world.pay.notices.apply(unknown)
        errors.append((refused.value.code, refused.value.field, str(refused.value)))

    assert len(set(errors)) == 1
    assert the_operation(world).state == "succeeded"
    world.close()


def test_a_notice_that_a_person_has_answered_is_not_asked_again(world: World) -> None:
    """Decided once, whatever the post does; what the bank says anew is asked anew."""
    prepare, act = VERBS["charge"]
    subject = prepare(world)
    world.bank.next(Fault.CONTRADICT)
    act(world.shop, subject)
    [notice] = world.bank.notices()
    world.pay.notices.apply(notice)
    world.shop.operations.resolve(
        the_operation(world).id, outcome="declined", actor="Grace", reason="a mistake of theirs"
    )

    assert world.pay.notices.apply(notice).state == "declined"
    assert world.pay.notices.apply(evolve(notice, id="another")).state == "needs_review"
    world.close()


def test_an_id_that_looks_like_a_card_number_is_left_out(world: World) -> None:
    """The notice is heeded all the same: a bank's ids are not ours to choose."""
    prepare, act = VERBS["charge"]
    act(world.shop, prepare(world))
    notice = written(world, the_operation(world), ReplyOutcome.DECLINED, "4242424242424242")

    for _ in range(2):
        assert world.pay.notices.apply(notice).state == "reversed"
    event = world.shop.payments.timeline(the_payment(world).id)[-1]
    assert "notice_at" in dict(event.details)
    assert "4242424242424242" not in repr(event)
    world.close()


def test_an_older_notice_does_not_undo_a_later_one(world: World) -> None:
    """Captured late, then taken back, and told the other way round: it came to nothing."""
    payments = world.shop.payments
    payment_id = authorized(world, CAPTURES_TAKEN_BACK)
    world.bank.next(Fault.DELAY_REQUEST)
    with pytest.raises(OutcomeUnknown):
        payments.capture(payment_id, eur("60"), idempotency_key=KEY)
    world.advance(hours=2)
    captured, taken_back = world.bank.notices()

    for notice in (taken_back, captured, taken_back):
        assert world.pay.notices.apply(notice).state == "declined"
    agree(world)
    world.close()


# Whatever happens.


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("scene", ["taken back", "settled", "contradicted"])
def test_a_death_at_any_port_call_takes_nothing(scene: str, moment: Moment) -> None:
    """The bank delivers it again, and then it is as if nothing had happened."""

    def play(fate: Fate) -> World:
        world = World()
        payments = world.shop.payments
        payment_id = authorized(world, CAPTURES_TAKEN_BACK)
        if scene == "settled":
            world.bank.next(Fault.DELAY_REQUEST)
            with pytest.raises(OutcomeUnknown):
                payments.void(payment_id, idempotency_key=KEY)
        elif scene == "contradicted":
            world.bank.next(Fault.CONTRADICT)
            payments.capture(payment_id, idempotency_key=KEY)
        else:
            payments.capture(payment_id, final=True, idempotency_key=KEY)
        world.advance(hours=scene == "taken back", minutes=1)
        world.start(fate)
        with suppress(Died):
            deliver(world)
        world.start()
        deliver(world)
        decide(world)
        agree(world)
        end = {"settled": "void.succeeded", "taken back": "capture.reversed"}
        assert history(world).count(end.get(scene, "capture.needs_review")) == 1
        return world

    assert deaths(moment, play) >= 6, "reads, a commit, and the look at what came of it"


@pytest.mark.parametrize("fault", [stale, done_but_uncertain, not_done_and_uncertain], ids=named)
def test_a_commit_that_fails_for_once_is_made_again(fault: Fails) -> None:
    """What came of it is read, and it is written once."""
    world = World()
    payment_id = authorized(world, CAPTURES_TAKEN_BACK)
    world.shop.payments.capture(payment_id, idempotency_key=KEY)
    world.advance(hours=1)
    store = Shaky(world.storage)
    world.through = lambda _: store
    world.start()
    store.fail(1, fault)

    deliver(world)

    assert the_operation(world).state == "reversed"
    assert history(world).count("capture.reversed") == 1
    agree(world)
    world.close()


def test_a_commit_that_fails_for_good_is_told() -> None:
    """The bank has to deliver it again, and then it is booked."""
    world = World()
    payment_id = authorized(world, CAPTURES_TAKEN_BACK)
    world.shop.payments.capture(payment_id, idempotency_key=KEY)
    world.advance(hours=1)
    store = Shaky(world.storage)
    world.through = lambda _: store
    world.start()
    for fault, error in ((stale, Conflict), (unavailable, StorageUnavailable)):
        store.fail(1, fault, times=1_000)
        with pytest.raises(error) as refused:
            deliver(world)
        assert isinstance(refused.value, PayPlatformError)
        assert refused.value.retryable
    assert the_operation(world).state == "succeeded"
    store.get_well()

    deliver(world)

    assert the_operation(world).state == "reversed"
    agree(world)
    world.close()


def test_two_notices_that_say_the_same_at_once_say_it_once() -> None:
    """The second is read while the first is booked: nothing is contradicted that was not."""
    world = World()
    payment_id = authorized(world)
    world.shop.payments.capture(payment_id, idempotency_key=KEY)
    first, second = (
        written(world, the_operation(world), ReplyOutcome.DECLINED, name) for name in ("1", "2")
    )
    other = world.pay
    gap = Gap(world.storage, lambda: other.notices.apply(first))
    world.through = lambda _: gap
    world.start().notices.apply(second)

    assert gap.was_used
    assert history(world)[-1] == "capture.reversed"
    assert history(world).count("capture.reversed") == 1
    world.close()


class Gap:
    """A store on which something happens between the reads of an operation and its payment."""

    def __init__(self, storage: Storage, happens: Callable[[], object]) -> None:
        self._storage, self._happens = storage, happens
        self.was_used = False

    def get(self, merchant_id: str, kind: type[Any], record_id: str) -> Any:
        if kind is Payment and not self.was_used:
            self.was_used = True
            self._happens()
        return self._storage.get(merchant_id, kind, record_id)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


STEPS: dict[str, Callable[[World, str, str], object]] = {
    "capture": lambda world, id_, key: world.shop.payments.capture(
        id_, eur("30"), idempotency_key=key
    ),
    "final capture": lambda world, id_, key: world.shop.payments.capture(
        id_, eur("20"), final=True, idempotency_key=key
    ),
    "void": lambda world, id_, key: world.shop.payments.void(id_, eur("10"), idempotency_key=key),
    "refund": lambda world, id_, key: world.shop.payments.refund(
        id_, eur("15"), idempotency_key=key
    ),
    "time": lambda world, *_: world.advance(hours=1),
    "a week": lambda world, *_: world.advance(days=7),
    "recover": lambda world, *_: world.pay.recover(),
}
TROUBLES = (
    Fault.DELAY_REQUEST,
    Fault.DELAY_PAST_INQUIRY,
    Fault.TAKE_BACK,
    Fault.LOSE_REPLY,
    Fault.LOSE_REQUEST,
)


@given(
    card=st.sampled_from(
        [
            "4242424242424242",
            CAPTURES_TAKEN_BACK,
            REFUNDS_TAKEN_BACK,
            PENDING_THEN_APPROVED,
            PENDING_THEN_DECLINED,
        ]
    ),
    steps=st.lists(
        st.tuples(st.sampled_from(sorted(STEPS)), st.none() | st.sampled_from(TROUBLES)),
        min_size=1,
        max_size=8,
    ),
    post=st.randoms(use_true_random=False),
)
@settings(max_examples=60)
def test_whatever_comes_of_a_payment_both_books_agree_in_the_end(
    card: str, steps: list[tuple[str, Fault | None]], post: Random
) -> None:
    """In any order, more than once, between any two calls; a person is asked of contradictions."""
    world = World()
    payment_id = authorized(world, card)
    for number, (step, trouble) in enumerate(steps):
        world.bank.next(trouble)
        try:
            STEPS[step](world, payment_id, f"step-{number}")
        except PayPlatformError as refusal:
            assert isinstance(refusal, OutcomeUnknown | NotAllowed)  # noqa: PT017
        world.bank.set_faults(None)
        misdeliver(world, post)
        assert world.pay.doctor().ok
    for _ in range(12):
        world.advance(days=2)
        world.pay.recover()
        misdeliver(world, post)
    decide(world)
    for notice in world.bank.notices():
        world.pay.notices.apply(notice)
    decide(world)
    world.pay.recover()

    agree(world)
    assert world.shop.payments.get(payment_id).open_operations == ()
    world.close()


def misdeliver(world: World, post: Random) -> None:
    """The post at its worst: some of it, in any order, and some of it twice."""
    notices = list(world.bank.notices())
    for notice in post.choices(notices, k=len(notices)) if notices else ():
        try:
            world.pay.notices.apply(notice)
        except Conflict as refusal:
            assert refusal.code is ErrorCode.OPERATION_IN_PROGRESS  # noqa: PT017
