"""What can go wrong between us and a bank, as data: one row per fault, and who decides when.

Law of this file: a fault is a value that says where on the way it strikes and on which calls. It
does nothing by itself; the simulated bank plays it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from threading import Lock
from types import MappingProxyType
from typing import Self

from attrs import field, frozen

from payplatform.errors import ErrorCode, InvalidRequest


class Call(StrEnum):
    """What was asked when a fault strikes."""

    SEND = "send"
    REVERSAL = "reversal"
    INQUIRY = "inquiry"


class Moment(StrEnum):
    """Where on the way a fault strikes.

    `before`: the bank has not seen the request. `during`: it does something else than was asked.
    `after`: it has done what was asked, and its answer suffers. `later`: it has answered, and goes
    back on its word in time.
    """

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"
    LATER = "later"


class Fault(StrEnum):
    """What goes wrong; `FAULTS` says where, on which calls, and what the caller sees."""

    DOWN = "down"
    LOSE_REQUEST = "lose_request"
    DELAY_REQUEST = "delay_request"
    DELAY_PAST_INQUIRY = "delay_past_inquiry"
    DELAY_PAST_PROMISE = "delay_past_promise"
    FAIL_BEFORE = "fail_before"
    DELIVER_TWICE = "deliver_twice"
    APPROVE_IN_PART = "approve_in_part"
    FORGET_ID = "forget_id"
    FORGET_REVERSAL = "forget_reversal"
    LOSE_REPLY = "lose_reply"
    FAIL_AFTER = "fail_after"
    GARBLE_REPLY = "garble_reply"
    OTHER_ID = "other_id"
    OTHER_AMOUNT = "other_amount"
    OTHER_CURRENCY = "other_currency"
    CONTRADICT = "contradict"
    TAKE_BACK = "take_back"


@frozen(kw_only=True)
class FaultRule:
    """One row.

    Attributes:
        moment: where it strikes.
        calls: on which calls it can.
        words: what happens, and what the caller sees of it.
        harm: of a fault that breaks what the bank has declared or answered: which harm it can do
            and which it cannot, since no protocol stays right whatever a bank does; else None.
    """

    moment: Moment
    calls: frozenset[Call]
    words: str
    harm: str | None = None

    @property
    def breaks_promise(self) -> bool:
        """Whether the bank goes back on what its capabilities declare, or on its own answer."""
        return self.harm is not None


_ANY = frozenset(Call)
_SENT = frozenset({Call.SEND, Call.REVERSAL})
_SEND = frozenset({Call.SEND})
_REVERSAL = frozenset({Call.REVERSAL})
_TOLD = frozenset({Call.SEND, Call.INQUIRY})


def _rule(moment: Moment, calls: frozenset[Call], words: str, harm: str | None = None) -> FaultRule:
    return FaultRule(moment=moment, calls=calls, words=words, harm=harm)


FAULTS: Mapping[Fault, FaultRule] = MappingProxyType(
    {
        Fault.DOWN: _rule(
            Moment.BEFORE, _ANY, "The connection is refused: NotSent, since not one byte left."
        ),
        Fault.LOSE_REQUEST: _rule(
            Moment.BEFORE, _ANY, "The request is lost; the bank never sees it: TimeoutError."
        ),
        Fault.DELAY_REQUEST: _rule(
            Moment.BEFORE,
            _SENT,
            "The request is held up, and arrives after the caller has given up: TimeoutError.",
        ),
        Fault.DELAY_PAST_INQUIRY: _rule(
            Moment.BEFORE,
            _SENT,
            "The request is held up until the last moment of max_in_flight_s, when recovery has "
            "asked about it already: TimeoutError.",
        ),
        Fault.DELAY_PAST_PROMISE: _rule(
            Moment.BEFORE,
            _SENT,
            "The request is held up, and arrives after max_in_flight_s: TimeoutError.",
            "None where the bank remembers ids and reversals: what arrives is a repetition, or is "
            "declined. Elsewhere it may be done though a person has decided that it was not; a "
            "notice tells. It is never done twice for that alone.",
        ),
        Fault.FAIL_BEFORE: _rule(
            Moment.BEFORE, _ANY, "The bank fails before it has done anything: ServerError."
        ),
        Fault.DELIVER_TWICE: _rule(
            Moment.DURING,
            _SENT,
            "The wire delivers the request twice; the caller gets the first answer.",
        ),
        Fault.APPROVE_IN_PART: _rule(
            Moment.DURING, _SEND, "A sale or authorization is approved for half the amount."
        ),
        Fault.FORGET_ID: _rule(
            Moment.DURING,
            _SEND,
            "The bank has forgotten this operation id, and takes the request for a new one.",
            "What is sent again may be done twice, as far as the books allow it. Where the bank "
            "can be asked, only what arrives in the moment between the question and the request.",
        ),
        Fault.FORGET_REVERSAL: _rule(
            Moment.DURING,
            _REVERSAL,
            "The bank confirms the reversal of an id that it never saw, and does not remember it.",
            "What arrives after its reversal is done, though we have told that it came to nothing; "
            "a notice tells, and a person decides. What the bank has seen is undone for good.",
        ),
        Fault.LOSE_REPLY: _rule(
            Moment.AFTER, _ANY, "The bank has done it; its answer is lost: TimeoutError."
        ),
        Fault.FAIL_AFTER: _rule(
            Moment.AFTER, _ANY, "The bank has done it, and then fails: ServerError."
        ),
        Fault.GARBLE_REPLY: _rule(Moment.AFTER, _ANY, "The answer is not a BankReply at all."),
        Fault.OTHER_ID: _rule(Moment.AFTER, _ANY, "The answer names another operation."),
        Fault.OTHER_AMOUNT: _rule(Moment.AFTER, _ANY, "The answer is about another amount."),
        Fault.OTHER_CURRENCY: _rule(Moment.AFTER, _ANY, "The answer is about another currency."),
        Fault.CONTRADICT: _rule(
            Moment.AFTER,
            _TOLD,
            "The answer says declined of what is approved, and approved of what is declined; a "
            "notice tells the truth.",
            "Until the notice comes our books are wrong, and who tries again after the decline may "
            "pay twice. Then the payment is corrected, a person decides, or an event tells what "
            "cannot be corrected any more. It is never silently wrong for good.",
        ),
        Fault.TAKE_BACK: _rule(
            Moment.LATER,
            _SEND,
            "A capture or refund is approved, and after a while taken back, if the bank's books "
            "allow it; a notice tells.",
        ),
    }
)
"""Every fault's row. Total: a fault without a row is a defect that a test finds."""

WIRE_FAULTS: tuple[Fault, ...] = tuple(
    fault
    for fault, rule in FAULTS.items()
    if not rule.breaks_promise and rule.moment is not Moment.LATER
)
"""Those whose truth comes out by asking again: no promise is broken, and no notice is needed."""


class ServerError(Exception):
    """The bank failed and says nothing of what it has done, like an HTTP status of 500."""


def _is_share(_faults: object, _attribute: object, rates: Mapping[Fault, float]) -> None:
    known = all(isinstance(fault, Fault) and 0 <= rate <= 1 for fault, rate in rates.items())
    if not known or sum(rates.values()) > 1:
        raise InvalidRequest(
            "rates must map a Fault to its share of the calls: 0 to 1 each, and 1 together",
            code=ErrorCode.VALUE_INVALID,
            field="rates",
        )


@frozen(kw_only=True)
class Faults:
    """Faults at random, the same ones each time for the same seed and sequence of calls.

    Attributes:
        seed: where the sequence starts.
        rates: which share of the calls each fault strikes, from 0 to 1; together at most 1. A
            fault that is drawn for a call that it cannot strike does nothing.

    Raises:
        InvalidRequest: `value_invalid`, field `rates`.
    """

    seed: int
    rates: Mapping[Fault, float] = field(validator=_is_share)

    @classmethod
    def mixed(cls, seed: int, *, share: float = 0.2) -> Self:
        """All of `WIRE_FAULTS`, each as often as the others.

        Args:
            seed: where the sequence starts.
            share: on which share of the calls anything strikes: one in five unless given, so each
                of the 13 strikes one call in 65.

        Raises:
            InvalidRequest: `value_invalid`, field `rates`: the share is not from 0 to 1.
        """
        return cls(seed=seed, rates=dict.fromkeys(WIRE_FAULTS, share / len(WIRE_FAULTS)))


class FaultPlan:
    """Tells of each call what goes wrong with it. Safe to use from many threads at once.

    A bank that is down comes first, then the script, then the card's own fault, then chance.
    """

    def __init__(self, faults: Faults | None = None) -> None:
        self._lock = Lock()
        self.begin(faults)

    def begin(self, faults: Faults | None) -> None:
        """Forget what was to go wrong; from here on it is these at random, or nothing."""
        with self._lock:
            self._script: list[tuple[Fault | None, Call | None]] = []
            self._down_until: datetime | None = None
            self._rates = {} if faults is None else dict(faults.rates)
            # S311: nothing here is to be unguessable; it is to be repeatable.
            self._random = random.Random(0 if faults is None else faults.seed)  # noqa: S311

    def add(self, faults: tuple[Fault | None, ...], on: Call | None) -> None:
        """Queue these for the calls to come, one for each; None lets a call pass."""
        with self._lock:
            self._script.extend((fault, on) for fault in faults)

    def set_down(self, until: datetime | None) -> None:
        """Say until when the bank is down; None for not at all."""
        with self._lock:
            self._down_until = until

    def draw(self, call: Call, now: datetime, card_fault: Fault | None = None) -> Fault | None:
        """What goes wrong with this call, made now; None when nothing does."""
        with self._lock:
            if self._down_until is not None and now < self._down_until:
                return Fault.DOWN
            for place, (fault, on) in enumerate(self._script):
                if (on is None or on is call) and _can_strike(fault, call):
                    del self._script[place]
                    return fault
            fault = card_fault or self._by_chance()
            return fault if _can_strike(fault, call) else None

    def _by_chance(self) -> Fault | None:
        if not self._rates:
            return None
        place = self._random.random()
        for fault, rate in self._rates.items():
            place -= rate
            if place < 0:
                return fault
        return None


def _can_strike(fault: Fault | None, call: Call) -> bool:
    return fault is None or call in FAULTS[fault].calls
