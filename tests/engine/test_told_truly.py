"""Ways in which a caller could be told what is not so, or money be moved on a bad answer.

Each was found by a simulation once, and is told here as the shortest story of it. The bank is the
simulated one behind a hand that meddles with what it answers, or with what happens meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import evolve
from mortal import World, agree

from payplatform import (
    BankUnavailable,
    Card,
    Decline,
    DeclineCode,
    Money,
    NotAllowed,
    NotFound,
    OutcomeUnknown,
    PayPlatform,
)
from payplatform._domain.messages import reversal_of
from payplatform.banks.simulated import FULL_CAPABILITIES, Fault, SimulatedBank
from payplatform.errors import ErrorCode, StorageUnavailable
from payplatform.ports import BankReply, BankRequest, ReplyOutcome, RequestKind

EUR_100 = Money("100.00", "EUR")


def _untouched(reply: BankReply) -> BankReply:
    return reply


class Meddler:
    """A bank whose calls pass through a hand; by default the hand does nothing."""

    def __init__(self, bank: SimulatedBank) -> None:
        self.inner = bank
        self.sent: list[RequestKind] = []
        self.on_send: Callable[[BankRequest, BankReply], Any] = lambda _request, reply: reply
        self.on_inquire: Callable[[BankReply], Any] = _untouched

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def send(self, request: BankRequest, *, timeout_s: float) -> Any:
        self.sent.append(request.kind)
        return self.on_send(request, self.inner.send(request, timeout_s=timeout_s))

    def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> Any:
        return self.on_inquire(self.inner.inquire(merchant_id, operation_id, timeout_s=timeout_s))


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.bank = Meddler(world.bank)  # type: ignore[assignment]  # it answers for all of the bank
    world.start()
    yield world
    world.close()


def meddler(world: World) -> Meddler:
    assert isinstance(world.bank, Meddler)
    return world.bank


def stored_card(world: World, number: str = "4242424242424242") -> str:
    return world.shop.payment_methods.create(card=Card(number, "12/40")).id


def sale(world: World, key: str = "sale") -> str:
    payments = world.shop.payments
    return payments.charge(EUR_100, payment_method=stored_card(world), idempotency_key=key).id


def test_a_caller_is_told_the_decline_of_its_own_operation_and_of_no_other(world: World) -> None:
    """One refund waits at the bank while a second is declined; then the first is approved."""
    payment_id = sale(world)
    refund, hand = world.shop.payments.refund, meddler(world)
    amounts = {"first": Money("30.00", "EUR"), "second": Money("60.00", "EUR")}
    hand.on_send = lambda _request, reply: evolve(reply, outcome=ReplyOutcome.PENDING)
    first = refund(payment_id, amounts["first"], idempotency_key="first")
    assert first.status == "processing"

    decline = Decline(code=DeclineCode.GENERIC_DECLINE)
    hand.on_send = lambda _request, reply: evolve(
        reply, outcome=ReplyOutcome.DECLINED, decline=decline
    )
    second = refund(payment_id, amounts["second"], idempotency_key="second")
    assert second.decline == decline

    hand.on_inquire = lambda reply: evolve(reply, outcome=ReplyOutcome.APPROVED)
    world.advance(seconds=120)
    world.pay.recover()
    told = refund(payment_id, amounts["first"], idempotency_key="first")
    assert told.raise_for_decline().refunded == amounts["first"]
    assert refund(payment_id, amounts["second"], idempotency_key="second").decline == decline


def test_a_worker_that_stalled_past_its_lease_sends_nothing(world: World) -> None:
    """Somebody else may have taken it over by then, and the bank may have forgotten its id."""
    method_id = stored_card(world)
    engine = world.pay._engine()
    commit = engine.storage.commit

    def commit_and_stall(changes: Any) -> None:
        commit(changes)
        world.advance(hours=1)

    engine.storage.commit = commit_and_stall  # type: ignore[method-assign]  # the stall
    with pytest.raises(OutcomeUnknown):
        world.shop.payments.charge(EUR_100, payment_method=method_id, idempotency_key="k")
    assert meddler(world).sent == []


@pytest.mark.parametrize("verb", ["charge", "capture", "void", "refund"])
def test_a_store_that_fails_once_the_bank_was_asked_is_never_told_as_nothing_sent(
    verb: str, world: World
) -> None:
    """The money may have moved: that is what the caller hears, whatever the store does."""
    payments, method_id = world.shop.payments, stored_card(world)
    sold = payments.charge(EUR_100, payment_method=method_id, idempotency_key="sale")
    held = payments.authorize(EUR_100, payment_method=method_id, idempotency_key="auth")
    subject = {"charge": method_id, "refund": sold.id}.get(verb, held.id)
    engine = world.pay._engine()

    def fails(*_args: Any, **_kwargs: Any) -> Any:
        raise StorageUnavailable("the disk is gone")

    def breaks_the_store(_request: BankRequest, reply: BankReply) -> BankReply:
        for method in ("get", "commit", "receipt", "operation_with_key"):
            setattr(engine.storage, method, fails)
        return reply

    meddler(world).on_send = breaks_the_store
    about = {"amount": EUR_100, "payment_method": subject} if verb == "charge" else {}
    place = () if about else (subject,)
    with pytest.raises(OutcomeUnknown):
        getattr(payments, verb)(*place, **about, idempotency_key="k")


def _with(reply: BankReply, **wrong: Any) -> BankReply:
    """A reply that breaks what its types promise, as an adapter without a type checker may."""
    return evolve(reply, **wrong)


GARBLED: dict[str, Callable[[BankReply], Any]] = {
    "an outcome that is plain text": lambda reply: _with(reply, outcome="declined"),
    "an outcome that is a list": lambda reply: _with(reply, outcome=["approved"]),
    "another amount": lambda reply: evolve(reply, amount=Money("1.00", "EUR")),
    "not found, with an amount": lambda reply: evolve(
        reply, outcome=ReplyOutcome.NOT_FOUND, amount=Money("1.00", "EUR")
    ),
    "a time without a zone": lambda reply: _with(reply, expires_at="tomorrow"),
    "nothing": lambda _reply: None,
}


@pytest.mark.parametrize("garbled", GARBLED)
def test_one_garbled_answer_compensates_nothing(garbled: str, world: World) -> None:
    """A good sale is not reversed because a single inquiry about it was garbled."""
    method_id = stored_card(world)
    meddler(world).inner.next(Fault.LOSE_REPLY)
    with pytest.raises(OutcomeUnknown):
        world.shop.payments.charge(EUR_100, payment_method=method_id, idempotency_key="k")
    answers = iter([GARBLED[garbled]])
    meddler(world).on_inquire = lambda reply: next(answers, _untouched)(reply)  # noqa: PLW0108  # one answer a call
    world.pay.recover()
    assert RequestKind.REVERSAL not in meddler(world).sent
    world.recover_all()
    payment = world.shop.payments.charge(EUR_100, payment_method=method_id, idempotency_key="k")
    assert payment.status == "captured"
    agree(world)


def test_what_the_bank_says_twice_to_have_taken_otherwise_is_given_back(world: World) -> None:
    """A partial approval that nobody asked for is reversed, and the books show nothing."""
    method_id = stored_card(world)
    meddler(world).inner.next(Fault.APPROVE_IN_PART)
    with pytest.raises(OutcomeUnknown):
        world.shop.payments.charge(EUR_100, payment_method=method_id, idempotency_key="k")
    world.recover_all()
    with pytest.raises(BankUnavailable):
        world.shop.payments.charge(EUR_100, payment_method=method_id, idempotency_key="k")
    agree(world)


def test_an_approval_that_comes_after_a_person_called_it_void_needs_a_person_again() -> None:
    """The bank cannot remember reversals here, so nothing has undone what it now approves."""
    world = World()
    forgetful = evolve(FULL_CAPABILITIES, reversal_remembers_unknown=False)
    hand = Meddler(SimulatedBank(now=world.clock, capabilities=forgetful))
    world.bank = hand  # type: ignore[assignment]  # it answers for all of the bank
    world.start()
    method_id = stored_card(world)
    colleague = PayPlatform(storage=world._memory, bank=hand, keys=world.keys, now=world.clock)

    def while_the_answer_is_on_its_way(_request: BankRequest, reply: BankReply) -> BankReply:
        hand.on_inquire = lambda r: evolve(r, outcome=ReplyOutcome.NOT_FOUND)
        world.advance(minutes=5)
        colleague.recover()
        operations = colleague.merchant(world.merchant_id).operations
        (stuck,) = operations.list_unresolved()
        operations.resolve(stuck.id, outcome="aborted", actor="Ada", reason="not at the bank")
        return reply

    hand.on_send = while_the_answer_is_on_its_way
    with pytest.raises(OutcomeUnknown) as told:
        world.shop.payments.charge(EUR_100, payment_method=method_id, idempotency_key="k")
    assert told.value.code is ErrorCode.NEEDS_REVIEW
    (stuck,) = world.shop.operations.list_unresolved()
    world.shop.operations.resolve(stuck.id, outcome="succeeded", actor="Ada", reason="it is there")
    assert next(iter(world.shop.payments.list())).captured == EUR_100
    agree(world)
    world.close()


def test_what_a_person_called_void_was_not_reversed_and_its_approval_counts() -> None:
    """The bank remembers reversals here, but nobody has sent it one."""
    world = World()
    payment = world.shop.payments.charge(
        EUR_100, payment_method=stored_card(world), idempotency_key="sale"
    )
    colleague = PayPlatform(
        storage=world._memory, bank=world.bank, keys=world.keys, now=world.clock
    )

    def while_it_stands_still_before_the_bank(_: BankRequest) -> None:
        world.bank.down()
        for _day in range(30):
            world.advance(days=1)
            colleague.recover()
        world.bank.up()
        operations = colleague.merchant(world.merchant_id).operations
        (stuck,) = operations.list_unresolved()
        operations.resolve(stuck.id, outcome="aborted", actor="Ada", reason="not at the bank")

    world.wire.before = while_it_stands_still_before_the_bank
    with pytest.raises(OutcomeUnknown) as told:
        world.shop.payments.refund(payment.id, idempotency_key="return")

    assert told.value.code is ErrorCode.NEEDS_REVIEW
    (stuck,) = world.shop.operations.list_unresolved()
    world.shop.operations.resolve(stuck.id, outcome="succeeded", actor="Ada", reason="it is there")
    assert world.shop.payments.get(payment.id).refunded == EUR_100
    agree(world)
    world.close()


def test_a_payment_is_not_started_twice_by_a_person_either() -> None:
    """The first charge, said to be declined, was approved; by then a retry has paid."""
    world = World()
    world.bank.next(Fault.CONTRADICT)
    card = stored_card(world)
    payments, operations = world.shop.payments, world.shop.operations
    first = payments.charge(EUR_100, payment_method=card, idempotency_key="sale")
    assert first.status == "declined"
    payments.retry(first.id, payment_method=card, idempotency_key="again")
    for notice in world.bank.notices():
        world.pay.notices.apply(notice)
    (stuck,) = operations.list_unresolved()

    with pytest.raises(NotAllowed) as refused:
        operations.resolve(stuck.id, outcome="succeeded", actor="Ada", reason="it is there")
    assert refused.value.code is ErrorCode.CONTRADICTS_BOOKS
    world.bank.send(reversal_of(stuck), timeout_s=1)
    operations.resolve(stuck.id, outcome="aborted", actor="Ada", reason="reversed by phone")
    assert payments.get(first.id).captured == EUR_100
    agree(world)
    world.close()


def test_a_late_approval_that_has_no_room_any_more_is_written_down_and_changes_nothing() -> None:
    """The bank says no of a capture, then yes of another that takes all, then yes of the first."""
    world = World()
    payment = world.shop.payments.authorize(
        EUR_100, payment_method=stored_card(world), idempotency_key="hold"
    )
    colleague = PayPlatform(
        storage=world._memory, bank=world.wire, keys=world.keys, now=world.clock
    )
    no = Decline(code=DeclineCode.GENERIC_DECLINE)

    def while_the_answer_is_on_its_way(_: BankRequest) -> None:
        world.wire.after = lambda _: None
        world.advance(minutes=5)
        world.wire.heard = lambda reply: evolve(reply, outcome=ReplyOutcome.DECLINED, decline=no)
        colleague.recover()
        world.wire.heard = lambda reply: evolve(reply, outcome=ReplyOutcome.APPROVED, decline=None)
        shop = colleague.merchant(world.merchant_id)
        shop.payments.capture(payment.id, idempotency_key="all")
        world.wire.heard = lambda reply: reply

    world.wire.after = while_the_answer_is_on_its_way
    told = world.shop.payments.capture(payment.id, Money("60", "EUR"), idempotency_key="part")

    assert told.decline is not None
    assert told.replayed is False
    assert world.shop.payments.timeline(payment.id)[-1].type == "capture.contradicted"
    assert world.shop.payments.get(payment.id).captured == EUR_100
    assert world.pay.doctor().ok
    world.close()


def test_a_person_who_says_declined_makes_a_decline(world: World) -> None:
    """Whoever asks again is told of it, and `raise_for_decline` raises."""
    method_id = stored_card(world)
    hand = meddler(world)
    hand.on_send = lambda _request, _reply: None
    hand.on_inquire = lambda _reply: None
    with pytest.raises(OutcomeUnknown):
        world.shop.payments.charge(EUR_100, payment_method=method_id, idempotency_key="k")
    world.recover_all()
    (stuck,) = world.shop.operations.list_unresolved()
    assert stuck.state == "needs_review"
    world.shop.operations.resolve(stuck.id, outcome="declined", actor="Ada", reason="bank says no")
    payment = world.shop.payments.charge(EUR_100, payment_method=method_id, idempotency_key="k")
    assert payment.status == "declined"
    assert payment.decline is not None


def test_an_erased_merchant_gets_no_new_data(world: World) -> None:
    """A client that was made before the erasure stores nobody and no card any more."""
    shop = world.shop
    world.pay.merchants.erase(world.merchant_id)
    with pytest.raises(NotFound):
        shop.customers.create(name="Ada")
    with pytest.raises(NotFound):
        shop.payment_methods.create(card=Card("4242424242424242", "12/40"))


def test_who_comes_second_with_a_key_is_told_of_the_first_and_not_that_it_may_not(
    world: World,
) -> None:
    """Both look for the key before either has claimed it; the second then finds nothing left."""
    card = world.shop.payment_methods.create(card=Card("4242424242424242", "12/40"))
    payment = world.shop.payments.authorize(EUR_100, payment_method=card.id, idempotency_key="hold")
    first = world.shop

    class Overtaken:
        """A store whose reader of keys is overtaken once, between reading and deciding."""

        def __init__(self, storage: Any) -> None:
            self._storage = storage
            self.is_overtaken = False

        def __getattr__(self, name: str) -> Any:
            return getattr(self._storage, name)

        def operation_with_key(self, merchant_id: str, key: str) -> Any:
            known = self._storage.operation_with_key(merchant_id, key)
            if not self.is_overtaken:
                self.is_overtaken = True
                first.payments.capture(payment.id, idempotency_key="take")
            return known

    world.through = Overtaken
    world.start()
    second = world.shop.payments.capture(payment.id, idempotency_key="take")

    assert (second.status, second.captured, second.replayed) == ("captured", EUR_100, True)
    agree(world)
