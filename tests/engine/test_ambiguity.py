"""An answer that proves nothing is taken for none: whatever the wire does, the truth comes out.

How: each fault meets each verb once. The caller is told that the outcome is unknown, and nothing is
booked as declined or failed on the way. Then time passes, recovery runs, and both sets of books say
the same: done once, or not done at all.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from mortal import World, agree
from verbs import KEY, VERBS

from payplatform import (
    BankUnavailable,
    Operation,
    OutcomeUnknown,
    PayPlatformError,
    Settings,
)
from payplatform.banks.simulated import FULL_CAPABILITIES, Fault
from payplatform.ports import BankCapabilities

CARRYING = ("charge", "authorize", "retry", "verify", "increment")
"""What is never sent again: it is inquired about, and reversed if the bank has not heard of it."""

RESENT = tuple(verb for verb in VERBS if verb not in CARRYING)


class End(NamedTuple):
    """What the caller is told at first, and what it comes to: if never sent again, and if so."""

    told: type[PayPlatformError] | None
    carrying: str
    resent: str


UNKNOWN = OutcomeUnknown
ENDS: dict[Fault, End] = {
    # The bank did not do it.
    Fault.DOWN: End(BankUnavailable, "aborted", "aborted"),
    Fault.LOSE_REQUEST: End(UNKNOWN, "aborted", "succeeded"),
    Fault.FAIL_BEFORE: End(UNKNOWN, "aborted", "succeeded"),
    # It does it late.
    Fault.DELAY_REQUEST: End(UNKNOWN, "succeeded", "succeeded"),
    # It did it, or did something else.
    Fault.DELIVER_TWICE: End(None, "succeeded", "succeeded"),
    Fault.APPROVE_IN_PART: End(UNKNOWN, "aborted", "succeeded"),
    Fault.LOSE_REPLY: End(UNKNOWN, "succeeded", "succeeded"),
    Fault.FAIL_AFTER: End(UNKNOWN, "succeeded", "succeeded"),
    Fault.GARBLE_REPLY: End(UNKNOWN, "succeeded", "succeeded"),
    Fault.OTHER_ID: End(UNKNOWN, "succeeded", "succeeded"),
    Fault.OTHER_AMOUNT: End(UNKNOWN, "succeeded", "succeeded"),
    Fault.OTHER_CURRENCY: End(UNKNOWN, "succeeded", "succeeded"),
}


def end_of(fault: Fault, verb: str) -> End:
    """The row for a fault; only what starts a payment can be approved in part."""
    if fault is Fault.APPROVE_IN_PART and verb not in ("charge", "authorize", "retry"):
        return End(None, "succeeded", "succeeded")
    return ENDS[fault]


def the_operation(world: World) -> Operation:
    operation = world.shop.operations.find(idempotency_key=KEY)
    assert operation is not None
    return operation


def history(world: World, operation: Operation) -> list[str]:
    """What was written of an operation, in order."""
    events = world.storage.events(world.merchant_id, operation.subject_id)
    return [event.type for event in events if event.operation_id == operation.id]


def effects(world: World, operation: Operation) -> int:
    """How often money moved for it at the bank, by the name that the bank knows it under."""
    name = operation.target_id if operation.kind == "resume" else operation.id
    return world.bank.effects(world.merchant_id, name or "")


def moves_money(operation: Operation) -> bool:
    return operation.kind != "verify"


def test_every_fault_has_its_row() -> None:
    assert set(ENDS) == set(Fault)


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("verb", VERBS)
def test_whatever_happens_on_the_wire_the_truth_comes_out(verb: str, fault: Fault) -> None:
    """Unknown on the way, never declined and never failed; then what the bank did, once."""
    prepare, act = VERBS[verb]
    told, *ends = end_of(fault, verb)
    end = ends[verb in RESENT]
    world = World()
    subject = prepare(world)
    world.bank.next(fault)

    error = None
    try:
        act(world.shop, subject)
    except PayPlatformError as raised:
        error = raised
    assert type(error) is (told or type(None))
    if told is UNKNOWN:
        assert error is not None
        assert error.retryable
        assert error.operation_id == the_operation(world).id
        assert the_operation(world).state == "in_doubt"
        if moves_money(the_operation(world)):
            assert world.shop.payments.get(error.payment_id or "").status == "unknown"
    world.recover_all()

    operation = the_operation(world)
    assert operation.state == end
    assert not [event for event in history(world, operation) if event.endswith(".declined")]
    agree(world)
    if moves_money(operation):
        assert effects(world, operation) == (end == "succeeded")
    world.close()


@pytest.mark.parametrize("when", ["before the first look", "between two looks", "after the end"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_request_that_is_held_up_has_one_effect_or_none(verb: str, when: str) -> None:
    """Also one that the bank swore could not arrive any more, and that was reversed meanwhile."""
    prepare, act = VERBS[verb]
    world = World()
    if when == "after the end":
        world.wire.declares = evolve(FULL_CAPABILITIES, max_in_flight_s=1.0)
        world.start()
    subject = prepare(world)
    world.bank.next(Fault.DELAY_REQUEST)
    with pytest.raises(OutcomeUnknown):
        act(world.shop, subject)
    if when == "between two looks":
        world.pay.recover()
    if when == "after the end":
        world.advance(seconds=2)
        world.pay.recover()
        decided = "succeeded" if verb in RESENT else "aborted"
        assert the_operation(world).state == decided
    assert world.bank.deliver_late() == 1
    world.recover_all()

    operation = the_operation(world)
    expected = "aborted" if when == "after the end" and verb in CARRYING else "succeeded"
    assert operation.state == expected
    if moves_money(operation):
        assert effects(world, operation) == (expected == "succeeded")
    agree(world)
    world.close()


@given(
    verb=st.sampled_from(sorted(VERBS)),
    script=st.lists(st.none() | st.sampled_from(Fault), min_size=1, max_size=7),
)
@settings(max_examples=40)
def test_any_sequence_of_faults_ends_in_the_truth(verb: str, script: list[Fault | None]) -> None:
    """Whatever meets the call and recovery after it, in whatever order."""
    prepare, act = VERBS[verb]
    world = World()
    subject = prepare(world)
    world.bank.next(*script)
    try:
        act(world.shop, subject)
    except PayPlatformError as error:
        assert isinstance(error, OutcomeUnknown | BankUnavailable)  # noqa: PT017
    world.recover_all()

    operation = the_operation(world)
    assert operation.state in ("succeeded", "aborted")
    if moves_money(operation):
        assert effects(world, operation) == (operation.state == "succeeded")
    agree(world)
    world.close()


@pytest.mark.parametrize("verb", VERBS)
def test_time_alone_proves_nothing(verb: str) -> None:
    """A bank that stays silent: in the end a person has to decide, and nothing is before."""
    prepare, act = VERBS[verb]
    world = World()
    subject = prepare(world)
    world.bank.next(Fault.LOSE_REPLY)
    with pytest.raises(OutcomeUnknown):
        act(world.shop, subject)
    world.bank.down()
    states: set[str] = set()
    for _ in range(40):
        world.advance(hours=12)
        world.pay.recover()
        states.add(the_operation(world).state)

    operation = the_operation(world)
    assert operation.state == "needs_review"
    assert states == {"in_doubt", "needs_review"}
    assert operation.attempts == len(Settings().recovery_schedule_s)
    assert operation.reason
    assert operation.id in [o.id for o in world.shop.operations.list_unresolved()]
    world.bank.up()
    assert world.pay.recover().examined == 0, "it waits for a person, not for the bank"
    decide(world, "succeeded")
    agree(world)
    world.close()


def decide(world: World, truth: str) -> None:
    """A person asks the bank, and books its answer; then what has lapsed meanwhile is booked."""
    for operation in list(world.shop.operations.list_unresolved()):
        world.shop.operations.resolve(
            operation.id, outcome=truth, actor="Grace", reason="asked the bank"
        )
    world.pay.recover()


REVIEW, DONE, VOID = "needs_review", "succeeded", "aborted"


class Lacking(NamedTuple):
    """What a bank lacks, and how it ends: for what carries a card, and for what could be resent.

    Each as a pair: where the bank had done it, and where it had not.
    """

    missing: dict[str, bool | float]
    carrying: tuple[str, str]
    resent: tuple[str, str]


BANKS: dict[str, Lacking] = {
    "does not dedup": Lacking({"dedups_operation_id_s": 0.0}, (DONE, VOID), (DONE, REVIEW)),
    "forgets too soon": Lacking({"dedups_operation_id_s": 60.0}, (DONE, VOID), (DONE, REVIEW)),
    "cannot be asked": Lacking({"inquiry_by_operation_id": False}, (VOID, VOID), (DONE, DONE)),
    "forgets reversals": Lacking(
        {"reversal_remembers_unknown": False}, (DONE, REVIEW), (DONE, DONE)
    ),
    "neither dedups nor can be asked": Lacking(
        {"dedups_operation_id_s": 0.0, "inquiry_by_operation_id": False},
        (VOID, VOID),
        (REVIEW, REVIEW),
    ),
    "cannot be asked and forgets reversals": Lacking(
        {"inquiry_by_operation_id": False, "reversal_remembers_unknown": False},
        (REVIEW, REVIEW),
        (DONE, DONE),
    ),
    "can do nothing of it": Lacking(
        {
            "dedups_operation_id_s": 0.0,
            "inquiry_by_operation_id": False,
            "reversal_remembers_unknown": False,
        },
        (REVIEW, REVIEW),
        (REVIEW, REVIEW),
    ),
}


@pytest.mark.parametrize("bank_did_it", [True, False])
@pytest.mark.parametrize("bank", BANKS)
@pytest.mark.parametrize("verb", VERBS)
def test_what_a_bank_cannot_prove_a_person_decides(verb: str, bank: str, bank_did_it: bool) -> None:
    """Never failed by itself; what it can prove is found out; and after review the books agree."""
    prepare, act = VERBS[verb]
    lacking = BANKS[bank]
    world = World(capabilities=with_changes(FULL_CAPABILITIES, lacking.missing))
    subject = prepare(world)
    world.bank.next(Fault.LOSE_REPLY if bank_did_it else Fault.LOSE_REQUEST)
    with pytest.raises(OutcomeUnknown):
        act(world.shop, subject)
    world.recover_all()

    operation = the_operation(world)
    ends = lacking.resent if verb in RESENT else lacking.carrying
    assert operation.state == ends[not bank_did_it]
    if operation.state == "needs_review":
        decide(world, "succeeded" if bank_did_it else "aborted")
        operation = the_operation(world)
    if moves_money(operation):
        assert effects(world, operation) == (operation.state == "succeeded")
    agree(world)
    world.close()


def with_changes(
    capabilities: BankCapabilities, changes: dict[str, bool | float]
) -> BankCapabilities:
    return evolve(capabilities, **changes)  # type: ignore[arg-type]  # any capability, by its name


@pytest.mark.parametrize("bank_did_it", [True, False])
@pytest.mark.parametrize("verb", RESENT)
def test_what_the_bank_has_forgotten_is_not_sent_again(verb: str, bank_did_it: bool) -> None:
    """Recovery that comes after the bank's memory of ids asks, and sends nothing."""
    prepare, act = VERBS[verb]
    world = World(capabilities=evolve(FULL_CAPABILITIES, dedups_operation_id_s=3_600.0))
    subject = prepare(world)
    world.bank.next(Fault.LOSE_REPLY if bank_did_it else Fault.LOSE_REQUEST)
    with pytest.raises(OutcomeUnknown):
        act(world.shop, subject)
    sent = len(world.wire.sent)
    world.advance(seconds=3_600 - 60)
    world.recover_all()

    operation = the_operation(world)
    assert operation.state == ("succeeded" if bank_did_it else "needs_review")
    assert len(world.wire.sent) == sent
    world.close()


@pytest.mark.parametrize("verb", RESENT)
def test_a_bank_may_remember_ids_for_ever(verb: str) -> None:
    """A time without an end, from which no time can be computed."""
    prepare, act = VERBS[verb]
    for_ever = evolve(FULL_CAPABILITIES, dedups_operation_id_s=float("inf"))
    world = World(capabilities=for_ever)
    subject = prepare(world)
    world.bank.next(Fault.LOSE_REQUEST)
    with pytest.raises(OutcomeUnknown):
        act(world.shop, subject)
    world.recover_all()
    assert the_operation(world).state == "succeeded"
    world.close()


@pytest.mark.parametrize("verb", CARRYING)
def test_without_a_promise_about_the_wire_nothing_is_reversed(verb: str) -> None:
    """It may still be on its way, whenever that is: a person decides."""
    prepare, act = VERBS[verb]
    world = World()
    world.wire.declares = evolve(FULL_CAPABILITIES, max_in_flight_s=float("inf"))
    world.start()
    subject = prepare(world)
    world.bank.next(Fault.LOSE_REQUEST)
    with pytest.raises(OutcomeUnknown):
        act(world.shop, subject)
    world.recover_all()

    assert the_operation(world).state == "needs_review"
    assert "reversal" not in [request.kind for request in world.wire.sent]
    world.close()
