"""The order of things, and workers who wake up late: the epoch decides, and the books stay right.

How: the worker is stopped inside its bank call, two minutes pass, and recovery through another
client finishes the operation. Then the worker goes on as if nothing had happened.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from mortal import World, agree
from verbs import KEY, VERBS, Act

from payplatform import (
    BankUnavailable,
    ErrorCode,
    Event,
    MerchantClient,
    Operation,
    OutcomeUnknown,
    Payment,
    PayPlatformError,
)
from payplatform.banks.simulated import FULL_CAPABILITIES, Fault
from payplatform.ports import BankReply, BankRequest, Changes, ReplyOutcome, Storage


def the_operation(world: World) -> Operation:
    operation = world.shop.operations.find(idempotency_key=KEY)
    assert operation is not None
    return operation


def events_of(world: World, operation: Operation) -> list[Event]:
    return list(world.storage.events(world.merchant_id, operation.subject_id))


class Logbook:
    """Writes down, in one list, what is committed of operations and what the bank is asked."""

    def __init__(self, world: World) -> None:
        self.lines: list[str] = []
        self._world = world
        world.through = self._watched
        world.wire.before = lambda request: self.lines.append(f"send {request.kind}")
        world.wire.heard = self._heard

    def _watched(self, storage: Storage) -> Any:
        return Watched(storage, self.lines)

    def _heard(self, reply: BankReply) -> BankReply:
        self.lines.append("answer")
        return reply


class Watched:
    """A store whose commits are written down."""

    def __init__(self, storage: Storage, lines: list[str]) -> None:
        self._storage, self._lines = storage, lines

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def commit(self, changes: Changes) -> None:
        self._storage.commit(changes)
        states = [str(r.state) for r in changes.records if isinstance(r, Operation)]
        self._lines.append("commit " + " ".join(states))


@pytest.mark.parametrize("verb", VERBS)
def test_the_intent_is_stored_before_and_the_outcome_after_the_bank_is_asked(verb: str) -> None:
    """Two commits and one call, in this order, whatever the verb."""
    prepare, act = VERBS[verb]
    world = World()
    subject = prepare(world)
    log = Logbook(world)
    world.start()
    act(world.shop, subject)
    kind = the_operation(world).kind

    last = "commit succeeded succeeded" if verb == "resume" else "commit succeeded"
    assert log.lines == ["commit in_flight", f"send {kind}", "answer", last]
    world.close()


@pytest.mark.parametrize("verb", ["charge", "authorize", "retry", "verify", "increment"])
def test_the_decision_to_reverse_is_stored_before_the_reversal_is_sent(verb: str) -> None:
    """From then on no answer leads back to success; and the same for every reversal after it."""
    prepare, act = VERBS[verb]
    world = World()
    subject = prepare(world)
    world.bank.next(Fault.LOSE_REQUEST)
    with pytest.raises(OutcomeUnknown):
        act(world.shop, subject)
    log = Logbook(world)
    world.start()
    world.advance(seconds=61)
    world.bank.next(None, Fault.LOSE_REPLY)
    world.pay.recover()
    assert log.lines == [
        "commit in_doubt",
        "answer",
        "commit reversing",
        "send reversal",
        "commit reversing",
    ]

    log.lines.clear()
    world.recover_all()
    assert log.lines == ["commit reversing", "send reversal", "answer", "commit aborted"]
    agree(world)
    world.close()


def test_what_the_bank_is_asked_is_in_flight_in_the_store() -> None:
    """With a lease that outlives the call, and its amount already spent."""
    for verb, (prepare, act) in VERBS.items():
        world = World()
        subject = prepare(world)
        seen: list[Operation] = []
        world.wire.before = lambda _: seen.append(the_operation(world))  # noqa: B023
        act(world.shop, subject)

        (operation,) = seen
        assert (operation.state, operation.epoch) == ("in_flight", 1), verb
        assert (operation.lease_until - world.now).total_seconds() == 45
        world.close()


@pytest.mark.parametrize("call", ["send", "inquiry", "reversal"])
def test_no_transaction_is_open_while_the_bank_is_asked(call: str, tmp_path: Path) -> None:
    """Anybody may write to the file meanwhile, without waiting."""
    prepare, act = VERBS["charge"]
    world = World(tmp_path / "shop.db")
    subject = prepare(world)
    wrote: list[str] = []

    def write(_: object) -> None:
        with closing(
            sqlite3.connect(tmp_path / "shop.db", timeout=0, isolation_level=None)
        ) as file:
            file.execute("BEGIN IMMEDIATE")
            file.execute("UPDATE payment_methods SET updated_at = updated_at")
            file.execute("COMMIT")
            wrote.append(call)

    if call != "send":
        world.bank.next(Fault.LOSE_REPLY if call == "inquiry" else Fault.LOSE_REQUEST)
        with pytest.raises(OutcomeUnknown):
            act(world.shop, subject)
        world.advance(seconds=61)

    def heard(reply: BankReply) -> BankReply:
        write(reply)
        return reply

    world.wire.heard = heard
    if call == "send":
        act(world.shop, subject)
    else:
        world.pay.recover()
    assert wrote
    world.close()


def finish_elsewhere(world: World) -> None:
    """Two minutes later another process runs recovery, until nothing is left to do."""
    world.wire.before = world.wire.after = lambda _: None
    world.advance(minutes=2)
    world.start()
    world.recover_all()


SLEEPERS = 10
"""Of each of ten verbs, before the bank had heard of it and after it had done it: 200 in all."""


def tell(act: Act, shop: MerchantClient, subject: str) -> object:
    """What a caller is told: an answer, or the class and the code of an error."""
    try:
        return act(shop, subject)
    except PayPlatformError as error:
        return type(error), error.code


class Sleeper:
    """A worker in a thread of its own, who has fallen asleep in its bank call."""

    def __init__(self, world: World, pause: str, act: Act, subject: str) -> None:
        self._asleep, self._awake = threading.Event(), threading.Event()
        self._told: list[object] = []
        setattr(world.wire, pause, self._sleep)
        shop = world.shop
        self._thread = threading.Thread(
            target=lambda: self._told.append(tell(act, shop, subject)), daemon=True
        )
        self._thread.start()
        assert self._asleep.wait(60)

    def woken(self) -> object:
        """What it is told, once it is woken."""
        self._awake.set()
        self._thread.join(60)
        (told,) = self._told
        return told

    def _sleep(self, _: BankRequest) -> None:
        self._asleep.set()
        self._awake.wait(60)


@pytest.mark.parametrize("pause", ["before", "after"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_worker_asleep_past_its_lease_hears_what_everybody_hears(
    verb: str, pause: str, tmp_path: Path
) -> None:
    """The operation was finished without it; it notes a late answer, and writes nothing else."""
    prepare, act = VERBS[verb]
    world = World(tmp_path / "shop.db")
    for _ in range(SLEEPERS):
        world.merchant_id = world.pay.merchants.create(name="Acme").id
        subject = prepare(world)
        sleeper = Sleeper(world, pause, act, subject)
        finish_elsewhere(world)
        operation, told = the_operation(world), tell(act, world.shop, subject)
        events = len(events_of(world, operation))

        assert sleeper.woken() == told
        assert tell(act, world.shop, subject) == told
        is_reversed = pause == "before" and not operation.kind.may_be_resent
        assert operation.state == ("aborted" if is_reversed else "succeeded")
        assert the_operation(world) == operation, "not a letter of it has changed"
        late = events_of(world, operation)[events:]
        assert [event.type for event in late] == [f"{operation.kind}.late_answer"]
        assert dict(late[0].details) == {
            "answer": "declined" if is_reversed else "approved",
            "state": operation.state,
        }
        if is_reversed:
            assert told == (BankUnavailable, ErrorCode.ABORTED)
        agree(world)
    world.close()


@pytest.mark.parametrize("verb", VERBS)
def test_a_worker_who_was_stalled_before_it_could_send_sends_nothing(verb: str) -> None:
    """Its lease is over: others may have the operation, so it leaves it to them."""
    prepare, act = VERBS[verb]
    world = World()
    subject = prepare(world)
    sent = len(world.wire.sent)

    class Slow(Watched):
        def commit(self, changes: Changes) -> None:
            super().commit(changes)
            world.through = lambda storage: storage
            self.commit = self._storage.commit  # type: ignore[method-assign]  # slow but once
            world.advance(seconds=46)

    world.through = lambda storage: Slow(storage, [])
    world.start()
    with pytest.raises(OutcomeUnknown):
        act(world.shop, subject)
    assert len(world.wire.sent) == sent

    world.start()
    world.recover_all()
    operation = the_operation(world)
    assert operation.state == ("succeeded" if operation.kind.may_be_resent else "aborted")
    agree(world)
    world.close()


def test_recovery_leaves_alone_what_another_recovery_has_taken_over() -> None:
    """The lease of who is at it counts for everybody."""
    prepare, act = VERBS["charge"]
    world = World()
    subject = prepare(world)
    world.bank.next(Fault.LOSE_REPLY)
    with pytest.raises(OutcomeUnknown):
        act(world.shop, subject)
    first = world.pay
    examined: list[int] = []

    def meanwhile(reply: BankReply) -> BankReply:
        world.wire.heard = lambda reply: reply
        examined.append(world.start().recover().examined)
        return reply

    world.wire.heard = meanwhile
    assert first.recover().succeeded == 1
    assert examined == [0]
    assert len(world.wire.inquired) == 1
    agree(world)
    world.close()


def test_a_recovery_that_stalls_is_overtaken_and_changes_nothing_any_more() -> None:
    """Both have asked the bank; one books it, the other notes what it has heard."""
    prepare, act = VERBS["charge"]
    world = World()
    subject = prepare(world)
    world.bank.next(Fault.LOSE_REPLY)
    with pytest.raises(OutcomeUnknown):
        act(world.shop, subject)
    first = world.pay
    booked: list[Operation] = []

    def stall(reply: BankReply) -> BankReply:
        world.wire.heard = lambda reply: reply
        finish_elsewhere(world)
        booked.append(the_operation(world))
        return reply

    world.wire.heard = stall
    assert first.recover().succeeded == 0
    assert [the_operation(world)] == booked
    types = [event.type for event in events_of(world, booked[0])]
    assert types[-2:] == ["sale.succeeded", "sale.late_answer"]
    agree(world)
    world.close()


@pytest.mark.parametrize("decided", ["aborted", "declined"])
def test_an_approval_that_contradicts_what_was_decided_is_for_a_person(decided: str) -> None:
    """The bank forgets reversals, so a person decided; then the worker comes back with a yes."""
    prepare, act = VERBS["charge"]
    world = World(capabilities=evolve(FULL_CAPABILITIES, reversal_remembers_unknown=False))
    subject = prepare(world)

    def stall(_: BankRequest) -> None:
        finish_elsewhere(world)
        assert the_operation(world).state == "needs_review"
        world.shop.operations.resolve(
            the_operation(world).id, outcome=decided, actor="Grace", reason="not on the statement"
        )
        agree(world)

    world.wire.before = stall
    with pytest.raises(OutcomeUnknown) as caught:
        act(world.shop, subject)

    operation = the_operation(world)
    assert caught.value.code is ErrorCode.NEEDS_REVIEW
    assert operation.state == "needs_review"
    assert operation.reason == f"the bank approved it after it was {decided}"
    assert world.shop.payments.get(operation.subject_id).status == "unknown"
    assert world.pay.doctor().ok
    world.shop.operations.resolve(
        operation.id, outcome="succeeded", actor="Grace", reason="it is there now"
    )
    agree(world)
    world.close()


def test_a_late_no_contradicts_nothing_that_was_found_out() -> None:
    """The bank said yes when it was asked; a stale no is only noted."""
    prepare, act = VERBS["capture"]
    world = World()
    subject = prepare(world)
    world.wire.after = lambda _: finish_elsewhere(world)
    told_at_last: list[BankReply] = []

    def heard(reply: BankReply) -> BankReply:
        told_at_last.append(evolve(reply, outcome=ReplyOutcome.DECLINED))
        return reply if len(told_at_last) == 1 else told_at_last[-1]

    world.wire.heard = heard
    told = act(world.shop, subject)

    assert len(told_at_last) == 2, "recovery heard a yes, and then the worker a no"
    assert the_operation(world).state == "succeeded"
    assert isinstance(told, Payment)
    assert (told.status, told.decline) == ("partially_captured", None)
    assert dict(events_of(world, the_operation(world))[-1].details)["answer"] == "declined"
    agree(world)
    world.close()
