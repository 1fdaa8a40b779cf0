"""What comes back from a bank call, in its oddest forms: garbled, raised, interrupted, too late.

How: a real bank does what it is asked, and what it says is changed on the way, or never said. Each
is as good as no answer, nothing of it is kept, and recovery finds out what the bank has done.
"""

from __future__ import annotations

import asyncio
import re
import traceback
from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Any

import pytest
from attrs import evolve
from mortal import World, agree
from verbs import KEY, VERBS

from payplatform import (
    Action,
    BankUnavailable,
    Card,
    Conflict,
    Decline,
    DeclineCode,
    ErrorCode,
    InvalidRequest,
    Money,
    NotAllowed,
    Operation,
    OutcomeUnknown,
    Payment,
    StorageUnavailable,
)
from payplatform.banks.simulated import Fault
from payplatform.errors import NotSent
from payplatform.ports import BankReply, BankRequest, ReplyOutcome

NUMBER = "4242424242424242"


def charge(world: World, key: str = KEY) -> Payment:
    (method,) = world.shop.payment_methods.list()
    return world.shop.payments.charge(
        Money("100", "EUR"), payment_method=method.id, security_code="973", idempotency_key=key
    )


def a_world(**more: Any) -> World:
    world = World(**more)
    card = Card(NUMBER, "12/40")
    world.shop.payment_methods.create(customer=world.shop.customers.create().id, card=card)
    return world


def the_operation(world: World) -> Operation:
    operation = world.shop.operations.find(idempotency_key=KEY)
    assert operation is not None
    return operation


class Unsettled(tzinfo):
    """A time zone that does not know its offset."""

    def utcoffset(self, _: datetime | None) -> None:
        return None

    dst = utcoffset

    def tzname(self, _: datetime | None) -> str:
        return "unsettled"


NAIVE = datetime(2031, 1, 1)  # noqa: DTZ001  # what an adapter must not hand over
URL = "https://bank.example.test/challenge"
NO_REPLIES: dict[str, Any] = {
    "nothing": None,
    "text": "<html>",
    "a dict": {"outcome": "approved"},
    "the class": BankReply,
}
GARBLED: dict[str, dict[str, Any]] = {
    "another operation": {"operation_id": "op_" + "0" * 26},
    "no operation": {"operation_id": None},
    "an outcome in plain text": {"outcome": "approved"},
    "no outcome": {"outcome": None},
    "an outcome that is a list": {"outcome": ["approved"]},
    "not found, by who was to do it": {"outcome": ReplyOutcome.NOT_FOUND},
    "no amount": {"amount": None},
    "a number for an amount": {"amount": 10_000},
    "a cent less": {"amount": Money("99.99", "EUR")},
    "another currency": {"amount": Money("100", "USD")},
    "a number for a reference": {"reference": 4711},
    "an empty reference": {"reference": ""},
    "a reference of two lines": {"reference": "ref\n1"},
    "a reference with NUL": {"reference": "ref\0"},
    "a huge reference": {"reference": "r" * 256},
    "a surrogate in a reference": {"reference": "ref\ud800"},
    "bytes for the network's id": {"network_transaction_id": b"net"},
    "a country in three letters": {"card_country": "DEU"},
    "a number for a country": {"card_country": 276},
    "a decline in plain text": {"outcome": ReplyOutcome.DECLINED, "decline": "05"},
    "a check in plain text": {"security_code": "match"},
    "no check": {"postal_code": None},
    "a time without a zone": {"expires_at": NAIVE},
    "a time without an offset": {"expires_at": NAIVE.replace(tzinfo=Unsettled())},
    "a time in plain text": {"expires_at": "2031-01-01"},
    "an action that is none": {"outcome": ReplyOutcome.REQUIRES_ACTION, "action": URL},
    "an action without an address": {
        "outcome": ReplyOutcome.REQUIRES_ACTION,
        "action": Action(type="three_d_secure", url=""),
    },
    "an action that ends at no time": {
        "outcome": ReplyOutcome.REQUIRES_ACTION,
        "action": Action(type="three_d_secure", url=URL, expires_at=NAIVE),
    },
    "an action that nobody described": {"outcome": ReplyOutcome.REQUIRES_ACTION},
}
"""What arrives instead of the bank's answer; and what may be changed in it."""


def odd_answers() -> dict[str, Callable[[BankReply], Any]]:
    """Each way in which an answer may be spoilt."""
    whole = {name: lambda _, value=value: value for name, value in NO_REPLIES.items()}
    parts = {
        name: lambda reply, change=change: evolve(reply, **change)
        for name, change in GARBLED.items()
    }
    return {**whole, **parts}


ODD = odd_answers()


@pytest.mark.parametrize("odd", ODD)
def test_an_answer_that_is_not_what_it_should_be_proves_nothing(odd: str) -> None:
    """Unknown to the caller, nothing of it stored; an inquiry then tells what the bank has done."""
    world = a_world()
    world.wire.heard = ODD[odd]
    with pytest.raises(OutcomeUnknown) as caught:
        charge(world)
    assert caught.value.__context__ is None

    operation = the_operation(world)
    payment = world.shop.payments.get(operation.subject_id)
    assert (operation.state, payment.status) == ("in_doubt", "unknown")
    assert operation.reason
    assert (operation.bank_reference, operation.decline) == (None, None)
    assert (payment.expires_at, payment.action, payment.decline) == (None, None, None)
    world.wire.heard = lambda reply: reply
    world.recover_all()
    assert the_operation(world).state == "succeeded"
    agree(world)
    world.close()


@pytest.mark.parametrize("odd", ODD)
def test_an_inquiry_that_is_answered_oddly_decides_nothing(odd: str) -> None:
    """One garbled answer neither fails nor reverses a good sale; recovery just asks again."""
    world = a_world()
    world.bank.next(Fault.LOSE_REPLY)
    with pytest.raises(OutcomeUnknown):
        charge(world)
    world.wire.heard = ODD[odd]
    world.pay.recover()
    assert the_operation(world).state == "in_doubt"
    assert [request.kind for request in world.wire.sent] == ["sale"]

    world.wire.heard = lambda reply: reply
    world.recover_all()
    assert the_operation(world).state == "succeeded"
    agree(world)
    world.close()


@pytest.mark.parametrize("odd", ODD)
def test_a_resent_capture_that_is_answered_oddly_decides_nothing(odd: str) -> None:
    prepare, act = VERBS["capture"]
    world = World()
    subject = prepare(world)
    world.wire.heard = ODD[odd]
    with pytest.raises(OutcomeUnknown):
        act(world.shop, subject)
    world.pay.recover()
    assert the_operation(world).state == "in_doubt"

    world.wire.heard = lambda reply: reply
    world.recover_all()
    assert the_operation(world).state == "succeeded"
    agree(world)
    world.close()


def test_an_amount_that_is_told_twice_is_what_the_bank_took() -> None:
    """Then it is given back: nobody asked for half of it. Never is a part booked as the whole."""
    world = a_world()
    world.bank.next(Fault.APPROVE_IN_PART)
    with pytest.raises(OutcomeUnknown):
        charge(world)
    world.recover_all()

    operation = the_operation(world)
    (line,) = world.bank.statement()
    assert operation.state == "aborted"
    assert (line.amount, line.state) == (Money("50", "EUR"), "reversed")
    assert world.shop.payments.get(operation.subject_id).status == "failed"
    with pytest.raises(BankUnavailable):
        charge(world)
    agree(world)
    world.close()


def test_a_reference_that_could_be_a_card_number_is_not_kept() -> None:
    """It is no reason to doubt the answer: our own id finds the operation as well."""
    world = a_world()
    world.wire.heard = lambda reply: evolve(
        reply, reference=f"ref {NUMBER}", network_transaction_id=NUMBER
    )
    payment = charge(world)

    assert payment.status == "captured"
    assert the_operation(world).bank_reference is None
    (method,) = world.shop.payment_methods.list()
    assert method.network_transaction_id is None
    events = world.shop.payments.timeline(payment.id)
    assert dict(events[-1].details)["reference"] == "looks like a card number"
    assert NUMBER not in repr((events, world.shop.payments.operations(payment.id)))
    agree(world)
    world.close()


def test_a_decline_without_a_reason_is_a_decline() -> None:
    world = a_world()
    world.wire.instead = lambda request: BankReply(
        operation_id=request.operation_id, outcome=ReplyOutcome.DECLINED
    )
    payment = charge(world)

    assert payment.status == "declined"
    assert payment.decline == Decline(code=DeclineCode.GENERIC_DECLINE)
    world.close()


class Pasted(Exception):
    """What a careless adapter raises: its text has all that was sent."""


class Unspeakable(Exception):
    """One that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


RAISED: dict[str, BaseException] = {
    "careless": Pasted(f"could not send {NUMBER} with code 973"),
    "unspeakable": Unspeakable(),
    "timeout": TimeoutError("no answer"),
    "refused": ConnectionRefusedError("refused"),
    "reset": ConnectionResetError("reset"),
    "memory": MemoryError(),
    "recursion": RecursionError(),
    "assertion": AssertionError(NUMBER),
    "stop iteration": StopIteration(NUMBER),
    "a group": ExceptionGroup(NUMBER, [ValueError(NUMBER)]),
    "ours: invalid": InvalidRequest("amount", code=ErrorCode.AMOUNT_INVALID),
    "ours: conflict": Conflict("stale"),
    "ours: store": StorageUnavailable("gone"),
    "ours: not allowed": NotAllowed("no"),
    "ours: unavailable": BankUnavailable("never left, it says"),
}


@pytest.mark.parametrize("name", RAISED)
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("verb", ["charge", "capture", "verify"])
def test_whatever_an_adapter_raises_is_no_answer(verb: str, moment: str, name: str) -> None:
    """Only NotSent is proof. Of the rest the class is kept, and not one word."""
    prepare, act = VERBS[verb]
    world = World()
    subject = prepare(world)

    def fail(_: BankRequest) -> None:
        raise RAISED[name]

    setattr(world.wire, moment, fail)
    with pytest.raises(OutcomeUnknown) as caught:
        act(world.shop, subject)
    told = "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None

    operation = the_operation(world)
    assert operation.state == "in_doubt"
    assert operation.reason == f"the bank call ended in {type(RAISED[name]).__name__}"
    events = world.storage.events(world.merchant_id, operation.subject_id)
    # Ids are long and random: the code counts only where it stands alone.
    assert not re.search(rf"{NUMBER}|(?<!\w)973(?!\w)", repr((told, operation, events)))
    setattr(world.wire, moment, lambda _: None)
    world.recover_all()
    done = moment == "after" or operation.kind.may_be_resent
    assert the_operation(world).state == ("succeeded" if done else "aborted")
    agree(world)
    world.close()


def test_proof_that_nothing_left_proves_nothing_of_what_left_before() -> None:
    """A resend and an inquiry that could not be sent leave the first request in doubt."""
    for verb in ("charge", "capture"):
        prepare, act = VERBS[verb]
        world = World()
        subject = prepare(world)
        world.bank.next(Fault.LOSE_REPLY)
        with pytest.raises(OutcomeUnknown):
            act(world.shop, subject)
        world.bank.down()
        world.advance(minutes=2)
        world.pay.recover()
        assert the_operation(world).state == "in_doubt"
        world.bank.up()
        world.recover_all()
        assert the_operation(world).state == "succeeded"
        agree(world)
        world.close()


class NotSentAtAll(NotSent):
    """An adapter's own kind of proof."""


def test_an_adapters_own_kind_of_proof_is_proof() -> None:
    world = a_world()

    def refuse(_: BankRequest) -> None:
        raise NotSentAtAll(f"no line for {NUMBER}")

    world.wire.before = refuse
    with pytest.raises(BankUnavailable) as caught:
        charge(world)
    assert caught.value.code is ErrorCode.NOT_SENT
    assert NUMBER not in repr(vars(caught.value))
    assert caught.value.__context__ is None
    assert the_operation(world).state == "aborted"
    agree(world)
    world.close()


STOPS = [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("verb", ["charge", "capture"])
def test_what_is_meant_to_stop_the_program_stops_it(
    verb: str, moment: str, stop: type[BaseException]
) -> None:
    """And leaves on record that money may have moved, for recovery to find out."""
    prepare, act = VERBS[verb]
    world = World()
    subject = prepare(world)

    def interrupt(_: BankRequest) -> None:
        raise stop

    setattr(world.wire, moment, interrupt)
    with pytest.raises(stop):
        act(world.shop, subject)
    assert the_operation(world).state == "in_doubt"

    setattr(world.wire, moment, lambda _: None)
    world.recover_all()
    done = moment == "after" or verb == "capture"
    assert the_operation(world).state == ("succeeded" if done else "aborted")
    agree(world)
    world.close()


def test_an_interrupted_recovery_leaves_the_doubt_as_it_was() -> None:
    world = a_world()
    world.bank.next(Fault.LOSE_REPLY)
    with pytest.raises(OutcomeUnknown):
        charge(world)

    def interrupt(_: BankReply) -> None:
        raise KeyboardInterrupt

    world.wire.heard = interrupt
    with pytest.raises(KeyboardInterrupt):
        world.pay.recover()
    assert the_operation(world).state == "in_doubt"
    world.wire.heard = lambda reply: reply
    world.recover_all()
    assert the_operation(world).state == "succeeded"
    agree(world)
    world.close()
