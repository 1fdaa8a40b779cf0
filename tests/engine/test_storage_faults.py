"""A store that fails at the worst moments: at each commit of a call, of recovery, of the registry.

How: one commit of the story meets a fault; where the fault leaves it open whether the commit took
place, both are tried. What the caller is told must be true, and the bank is asked once at most.
Once the store is well again, everything comes to an end that both sets of books agree on.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mortal import World, agree
from shaky import (
    Fails,
    Shaky,
    busy,
    done_but_uncertain,
    named,
    not_done_and_uncertain,
    stale,
    unavailable,
)
from verbs import KEY, VERBS

from payplatform import (
    Card,
    Conflict,
    ErrorCode,
    Operation,
    OutcomeUnknown,
    PayPlatformError,
    StorageUnavailable,
)
from payplatform.banks.simulated import Fault
from payplatform.errors import CommitUncertain, StorageBusy
from payplatform.ports import BankRequest, Changes, Storage


class Story:
    """A verb, about to be called, on a store that will fail."""

    def __init__(self, verb: str) -> None:
        self.prepare, self._act = VERBS[verb]
        self.world = World()
        self.world.through = self._shaky
        self.world.start()
        self._subject = self.prepare(self.world)
        self._sent = len(self.world.wire.sent)

    def _shaky(self, storage: Storage) -> Shaky:
        self.store = Shaky(storage)
        return self.store

    def act(self) -> object:
        """Make the call; the error that it raises, or what it returns."""
        shop = self.world.shop
        try:
            return self._act(shop, self._subject)
        except PayPlatformError as error:
            return error

    @property
    def sent(self) -> int:
        """How many requests have gone to the bank since."""
        return len(self.world.wire.sent) - self._sent

    @property
    def operation(self) -> Operation | None:
        return self.world.storage.operation_with_key(self.world.merchant_id, KEY)

    def ends(self) -> str:
        """The store gets well, recovery runs; what has become of it, on which both agree."""
        self.store.get_well()
        self.world.recover_all()
        agree(self.world)
        operation = self.operation
        assert operation is not None
        name = operation.target_id if operation.kind == "resume" else operation.id
        effects = self.world.bank.effects(self.world.merchant_id, name or "")
        if operation.kind != "verify":
            assert effects == (operation.state == "succeeded")
        self.world.close()
        return operation.state


ONCE = [
    (done_but_uncertain, 1),
    (not_done_and_uncertain, 1),
    (busy, 1),
    (unavailable, 1),
    (stale, 1),
    (stale, 99),
    (stale, 100),
]


@pytest.mark.parametrize(("fault", "times"), ONCE, ids=named)
@pytest.mark.parametrize("verb", VERBS)
def test_the_intent_that_could_not_be_stored_is_not_sent(
    verb: str, fault: Fails, times: int
) -> None:
    """The caller is told so, the key is free, and the same call again is a first call."""
    story = Story(verb)
    story.store.fail(1, fault, times=times)
    told = story.act()

    goes_on = fault is done_but_uncertain or (fault is stale and times < 100)
    assert story.sent == goes_on
    if goes_on:
        assert not isinstance(told, PayPlatformError)
    else:
        kinds = {"busy": StorageBusy, "stale": Conflict}
        assert isinstance(told, PayPlatformError)
        assert type(told) is kinds.get(fault.__name__, StorageUnavailable)
        assert told.retryable
        assert story.operation is None
        story.store.get_well()
        assert not isinstance(story.act(), PayPlatformError)
    assert story.ends() == "succeeded"


@pytest.mark.parametrize("fault", [done_but_uncertain, not_done_and_uncertain])
@pytest.mark.parametrize("verb", VERBS)
def test_an_intent_of_which_nobody_knows_is_not_sent(verb: str, fault: Fails) -> None:
    """The commit is uncertain and nothing can be read: nothing was sent, and that is told."""
    story = Story(verb)
    story.store.fail(1, fault, goes_blind=True)
    told = story.act()

    assert isinstance(told, StorageUnavailable)
    assert story.sent == 0
    story.store.get_well()
    if fault is not_done_and_uncertain:
        assert story.operation is None
        assert not isinstance(story.act(), PayPlatformError)
        assert story.ends() == "succeeded"
        return
    in_progress = story.act()
    assert isinstance(in_progress, Conflict)
    assert in_progress.code is ErrorCode.OPERATION_IN_PROGRESS
    story.world.advance(minutes=2)
    operation = story.operation
    assert operation is not None
    assert story.ends() == ("succeeded" if operation.kind.may_be_resent else "aborted")


@pytest.mark.parametrize("verb", VERBS)
def test_an_intent_that_somebody_else_has_taken_over_is_not_sent(verb: str) -> None:
    """The uncertain commit took so long that recovery was faster: it is told to be running."""
    story = Story(verb)
    world = story.world
    first = world.shop

    def overtaken(commit: Callable[[Changes], None], changes: Changes) -> None:
        commit(changes)
        story.store.get_well()
        world.advance(seconds=46)
        world.start().recover()
        raise CommitUncertain("it took its time")

    story.store.fail(1, overtaken)
    with pytest.raises(Conflict) as caught:
        VERBS[verb][1](first, story._subject)
    assert caught.value.code is ErrorCode.OPERATION_IN_PROGRESS
    operation = story.operation
    assert operation is not None
    assert story.sent == operation.kind.may_be_resent, "by recovery, and not by us"
    world.advance(minutes=2)
    assert story.ends() == ("succeeded" if operation.kind.may_be_resent else "aborted")


@pytest.mark.parametrize(("fault", "times"), ONCE, ids=named)
@pytest.mark.parametrize("verb", VERBS)
def test_an_outcome_that_could_not_be_stored_is_unknown_and_never_failed(
    verb: str, fault: Fails, times: int
) -> None:
    """What can be settled by reading again is; the bank is not asked a second time."""
    story = Story(verb)
    story.store.fail(2, fault, times=times)
    told = story.act()

    assert story.sent == 1
    is_told = fault in (done_but_uncertain, not_done_and_uncertain) or times in range(2, 100)
    if is_told or (fault is stale and times == 1):
        assert not isinstance(told, PayPlatformError)
        story.store.get_well()
        assert story.act() == told, "a repeat is told the same"
    else:
        assert isinstance(told, OutcomeUnknown)
        assert told.retryable
        assert told.__context__ is None
        assert told.operation_id == getattr(story.operation, "id", None)
        story.store.get_well()
        in_progress = story.act()
        assert isinstance(in_progress, Conflict), "until the lease is over"
        story.world.advance(minutes=2)
        assert not isinstance(story.act(), PayPlatformError)
    assert story.ends() == "succeeded"


@pytest.mark.parametrize("fault", [done_but_uncertain, not_done_and_uncertain, stale])
@pytest.mark.parametrize("verb", VERBS)
def test_an_outcome_of_which_nobody_knows_is_unknown(verb: str, fault: Fails) -> None:
    """The commit is uncertain and nothing can be read: the bank was asked, and that is told."""
    story = Story(verb)
    story.store.fail(2, fault, goes_blind=True)
    told = story.act()

    assert isinstance(told, OutcomeUnknown)
    assert story.sent == 1
    story.world.advance(minutes=2)
    assert story.ends() == "succeeded"


def test_a_decline_that_could_not_be_stored_is_unknown_too() -> None:
    """And is found out to be a decline: what the store cannot keep nobody was told."""
    story = Story("charge")
    story.world.wire.bank = story.world.bank
    method = next(iter(story.world.shop.payment_methods.list()))
    card = story.world.shop.payment_methods.create(
        card=Card("4000000000009995", "12/40"), customer=method.customer_id
    )
    story._subject = card.id
    story.store.fail(2, unavailable)
    assert isinstance(story.act(), OutcomeUnknown)
    story.world.advance(minutes=2)
    assert story.ends() == "declined"


def in_doubt(verb: str, fault: Fault) -> Story:
    """A story whose call has got no answer, old enough for recovery to act on."""
    story = Story(verb)
    story.world.bank.next(fault)
    assert isinstance(story.act(), OutcomeUnknown)
    story.world.advance(seconds=61)
    return story


@pytest.mark.parametrize("fault", [done_but_uncertain, not_done_and_uncertain, stale])
@pytest.mark.parametrize("verb", VERBS)
def test_recovery_asks_nothing_about_what_it_could_not_take_over_for_sure(
    verb: str, fault: Fails
) -> None:
    """It leaves it to the lease, and looks again later."""
    story = in_doubt(verb, Fault.LOSE_REPLY)
    calls = story.world.wire.calls
    story.store.fail(1, fault)

    assert story.world.pay.recover().examined == 0
    assert story.world.wire.calls == calls
    assert story.ends() == "succeeded"


@pytest.mark.parametrize("fault", [busy, unavailable])
def test_recovery_says_that_the_store_failed_and_asks_nothing(
    fault: Fails,
) -> None:
    story = in_doubt("charge", Fault.LOSE_REPLY)
    calls = story.world.wire.calls
    story.store.fail(1, fault)

    with pytest.raises(StorageUnavailable):
        story.world.pay.recover()
    assert story.world.wire.calls == calls
    assert isinstance(story.operation, Operation)
    assert story.operation.state == "in_doubt"
    assert story.ends() == "succeeded"


@pytest.mark.parametrize("fault", [done_but_uncertain, not_done_and_uncertain, busy, unavailable])
@pytest.mark.parametrize("verb", VERBS)
def test_what_recovery_could_not_book_it_finds_out_again(verb: str, fault: Fails) -> None:
    """And it does not stop the run: the other operation that is due is finished in it."""
    story = in_doubt(verb, Fault.LOSE_REPLY)
    world = story.world
    other = world.shop.payment_methods.create(card=Card("5555555555554444", "12/40"))
    world.bank.next(Fault.LOSE_REPLY)
    with pytest.raises(OutcomeUnknown):
        world.shop.payment_methods.verify(other.id, idempotency_key="other")
    story.store.fail(2, fault)
    report = world.pay.recover()

    settled = fault in (done_but_uncertain, not_done_and_uncertain)
    assert report.examined == 2
    assert report.succeeded == (2 if settled else 1)
    assert report.unresolved == (0 if settled else 1)
    assert world.shop.payment_methods.get(other.id).verification is not None
    assert story.ends() == "succeeded"


@pytest.mark.parametrize("fault", [done_but_uncertain, not_done_and_uncertain, busy, unavailable])
@pytest.mark.parametrize("verb", ["charge", "authorize", "retry", "verify", "increment"])
def test_a_reversal_that_could_not_be_decided_on_is_not_sent(verb: str, fault: Fails) -> None:
    """Nor is one sent that was: not before the store has the decision for sure."""
    story = in_doubt(verb, Fault.LOSE_REQUEST)
    reversals: list[str] = []

    def note(request: BankRequest) -> None:
        if request.kind == "reversal":
            operation = story.operation
            reversals.append("none" if operation is None else operation.state)

    story.world.wire.before = note
    story.store.fail(2, fault)
    story.world.pay.recover()
    settled = fault in (done_but_uncertain, not_done_and_uncertain)
    assert reversals == (["reversing"] if settled else [])
    assert story.ends() == "aborted"
    assert reversals == ["reversing"]


@pytest.mark.parametrize("fault", [done_but_uncertain, not_done_and_uncertain, busy, unavailable])
def test_a_reversal_whose_confirmation_could_not_be_stored_is_sent_again(
    fault: Fails,
) -> None:
    """The bank undoes one operation once, however often it is asked to."""
    story = in_doubt("charge", Fault.LOSE_REQUEST)
    story.store.fail(3, fault)
    story.world.pay.recover()
    operation = story.operation
    assert operation is not None
    settled = fault in (done_but_uncertain, not_done_and_uncertain)
    assert operation.state == ("aborted" if settled else "reversing")
    assert story.ends() == "aborted"


@pytest.mark.parametrize("fault", [done_but_uncertain, not_done_and_uncertain, stale])
def test_an_expiry_is_booked_once(fault: Fails) -> None:
    story = Story("capture")
    story.world.advance(days=8)
    story.store.fail(1, fault)
    assert story.world.pay.recover().expired == 0
    story.store.get_well()
    story.world.pay.recover()
    (payment,) = story.world.shop.payments.list()
    assert payment.status == "expired"
    assert [e.type for e in story.world.shop.payments.timeline(payment.id)].count(
        "payment.expired"
    ) == 1
    agree(story.world)
    story.world.close()


def test_a_late_answer_that_cannot_be_noted_is_unknown_and_changes_nothing() -> None:
    """The operation was finished by others; that the note of it failed undoes nothing."""
    story = Story("charge")
    world = story.world
    act, first, subject = VERBS["charge"][1], world.shop, story._subject
    store = story.store

    def stall(_: BankRequest) -> None:
        world.wire.after = lambda _: None
        world.advance(minutes=2)
        world.start().recover()
        store.fail(2, unavailable)

    world.wire.after = stall
    with pytest.raises(OutcomeUnknown):
        act(first, subject)
    assert isinstance(story.operation, Operation)
    assert story.operation.state == "succeeded"
    assert story.ends() == "succeeded"
