"""An answer that proves nothing is taken for none: whatever the wire does, the truth comes out.

How: a table. Each kind of ambiguous answer meets each verb, while the bank has done it, has not, or
does it late. The caller is told that the outcome is unknown, and nothing is booked as declined or
failed on the way. Then time passes, recovery runs, and both sets of books say the same: done once,
or not done at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

import pytest
from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mortal import World, agree
from verbs import KEY, VERBS, Act

from payplatform import (
    BankUnavailable,
    Money,
    Operation,
    OutcomeUnknown,
    PayPlatformError,
    Settings,
)
from payplatform.banks.simulated import FULL_CAPABILITIES, WIRE_FAULTS, Fault, ServerError
from payplatform.ports import BankCapabilities, BankReply, BankRequest, ReplyOutcome

CARRYING = ("charge", "authorize", "retry", "verify", "increment")
"""What is never sent again: it is inquired about, and reversed if the bank has not heard of it."""

RESENT = tuple(verb for verb in VERBS if verb not in CARRYING)

STARTING = ("charge", "authorize", "retry")
"""What a bank may approve in part."""

TRUTHS = {
    "the bank did it": Fault.LOSE_REPLY,
    "the bank did not": Fault.LOSE_REQUEST,
    "the bank does it late": Fault.DELAY_REQUEST,
}


class Unheard(Exception):
    """An adapter's own, of which nobody here has heard."""


Answer = Callable[[World, BankReply], Any]
"""What comes back: made of an approval that is well formed, or raised."""


def raising(error: BaseException) -> Answer:
    def answer(_: World, __: BankReply) -> NoReturn:
        raise error

    return answer


def saying(**otherwise: Any) -> Answer:
    return lambda _, reply: evolve(reply, **otherwise)


def after_the_caller_gave_up(world: World, _: BankReply) -> NoReturn:
    """Somebody waited for longer than the call may take; the answer finds nobody at home."""
    world.advance(seconds=31)
    raise TimeoutError


def after_recovery_asked(world: World, reply: BankReply) -> BankReply:
    """The lease is over, and a colleague has looked into it once, when the answer comes at last."""
    world.advance(seconds=46)
    world.start().recover()
    return reply


AMBIGUOUS: dict[str, Answer] = {
    "a timeout": raising(TimeoutError()),
    "a connection that was reset": raising(ConnectionResetError()),
    "a server error": raising(ServerError()),
    "an exception of a class that nobody knows": raising(Unheard()),
    "an interrupt from the keyboard": raising(KeyboardInterrupt()),
    "a task that was cancelled": raising(asyncio.CancelledError()),
    "no reply, but a page of text": lambda _, __: "<html>",
    "an outcome that is plain text": saying(outcome="approved"),
    "a field that is malformed": saying(reference=4_711),
    "not found, by whom it was sent to": saying(outcome=ReplyOutcome.NOT_FOUND),
    "the id of another operation": saying(operation_id="op_" + "0" * 26),
    "another amount": saying(amount=Money("1.00", "EUR")),
    "another currency": saying(amount=Money("1.00", "USD")),
    "no amount": saying(amount=None),
    "an approval in part": saying(amount=Money("50.00", "EUR")),
    "an answer after the caller gave up": after_the_caller_gave_up,
    "an answer after recovery asked": after_recovery_asked,
}

STOPPING = (KeyboardInterrupt, asyncio.CancelledError)


def play(world: World, kind: str, truth: str) -> None:
    """Let the next request meet one line of the table; what is asked after it is answered well."""
    in_part = kind == "an approval in part" and truth == "the bank did it"

    def instead(request: BankRequest) -> Any:
        world.wire.instead = lambda _: None
        world.bank.next(Fault.APPROVE_IN_PART if in_part else TRUTHS[truth])
        with suppress(TimeoutError):
            world.bank.send(request, timeout_s=30)
        approval = BankReply(
            operation_id=request.operation_id,
            outcome=ReplyOutcome.APPROVED,
            amount=request.amount,
            reference="ref",
        )
        return AMBIGUOUS[kind](world, approval)

    world.wire.instead = instead


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


def told(act: Act, world: World, subject: str) -> BaseException | None:
    """The error that the caller gets, if any."""
    try:
        act(world.shop, subject)
    except (PayPlatformError, *STOPPING) as error:
        return error
    return None


@pytest.mark.parametrize("truth", TRUTHS)
@pytest.mark.parametrize("kind", AMBIGUOUS)
@pytest.mark.parametrize("verb", VERBS)
def test_an_ambiguous_answer_is_unknown_on_the_way_and_ends_in_the_truth(
    verb: str, kind: str, truth: str
) -> None:
    """Never declined, never failed; then what the bank has done, once, for everybody who asks."""
    prepare, act = VERBS[verb]
    world = World()
    subject = prepare(world)
    play(world, kind, truth)
    error = told(act, world, subject)
    require_doubt(world, error, kind)
    world.recover_all()

    operation = the_operation(world)
    assert operation.state == end_of(verb, kind, truth)
    assert not [event for event in history(world, operation) if event.endswith(".declined")]
    if moves_money(operation):
        assert effects(world, operation) == (operation.state == "succeeded")
    at_last = told(act, world, subject)
    assert type(at_last) is (type(None) if operation.state == "succeeded" else BankUnavailable)
    agree(world)
    world.close()


def require_doubt(world: World, error: BaseException | None, kind: str) -> None:
    """The caller, the operation and the payment say that nobody knows, unless recovery does."""
    operation = the_operation(world)
    if kind == "an answer after recovery asked" and operation.state == "succeeded":
        assert error is None
        return
    if not isinstance(error, STOPPING):
        assert isinstance(error, OutcomeUnknown)
        assert error.retryable
        assert error.operation_id == operation.id
    assert operation.state == "in_doubt"
    if moves_money(operation):
        assert world.shop.payments.get(operation.subject_id).status == "unknown"


def end_of(verb: str, kind: str, truth: str) -> str:
    """What was not done, or not as it was asked for, is sent again where that is possible."""
    in_part = kind == "an approval in part" and verb in STARTING
    is_done = truth != "the bank did not" and not (in_part and truth == "the bank did it")
    return "succeeded" if is_done or verb in RESENT else "aborted"


@pytest.mark.parametrize("verb", VERBS)
def test_what_never_left_is_no_doubt(verb: str) -> None:
    """The bank refuses the connection: nothing happened, and the caller hears so at once."""
    prepare, act = VERBS[verb]
    world = World()
    subject = prepare(world)
    world.bank.next(Fault.DOWN)
    assert isinstance(told(act, world, subject), BankUnavailable)
    assert the_operation(world).state == "aborted"
    agree(world)
    world.close()


@pytest.mark.parametrize("verb", VERBS)
def test_a_request_that_the_wire_delivers_twice_is_done_once(verb: str) -> None:
    prepare, act = VERBS[verb]
    world = World()
    subject = prepare(world)
    world.bank.next(Fault.DELIVER_TWICE)
    assert told(act, world, subject) is None
    operation = the_operation(world)
    assert operation.state == "succeeded"
    if moves_money(operation):
        assert effects(world, operation) == 1
    agree(world)
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
    script=st.lists(st.none() | st.sampled_from(WIRE_FAULTS), min_size=1, max_size=7),
)
@example(verb="resume", script=[Fault.LOSE_REQUEST, Fault.DOWN, Fault.DOWN, Fault.DOWN])
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
    # A challenge does not wait: whoever gets through to the bank too late is declined.
    assert operation.state in {"succeeded", "aborted", *(["declined"] if verb == "resume" else [])}
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
