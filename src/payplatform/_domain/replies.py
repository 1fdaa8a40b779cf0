"""What a bank's answer proves, if anything. Pure: a reply in, a `Verdict` out.

An answer that does not echo the operation and its amount, or is not made as its types promise, is
unclear: it may be meant for another request, and proves nothing about this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from attrs import evolve, frozen

from payplatform._domain.declines import Decline, DeclineCode
from payplatform._domain.events import Event
from payplatform._domain.fees import is_country
from payplatform._domain.messages import BankCapabilities, BankNotice, BankReply, ReplyOutcome
from payplatform._domain.moments import is_dated
from payplatform._domain.money import Money
from payplatform._domain.operations import (
    LATE_APPROVALS,
    STARTING_KINDS,
    Doubt,
    Operation,
    OperationKind,
    OperationState,
    Trigger,
    next_state,
)
from payplatform._domain.payments import Action
from payplatform._domain.records import Check
from payplatform._domain.text import looks_like_card_number

_TEXT_LIMIT = 255
_URL_LIMIT = 2_048


@frozen(kw_only=True)
class Verdict:
    """What is known now of an operation.

    Attributes:
        trigger: what it does to the operation's state.
        reply: the bank's answer, where a trustworthy one is at hand.
        decline: why the bank said no.
        reason: why it is unclear, or given up; words without secrets.
        next_try_at: when recovery is to look again, if it is not final.
        details: what else the event is to tell.
    """

    trigger: Trigger
    reply: BankReply | None = None
    decline: Decline | None = None
    reason: str | None = None
    next_try_at: datetime | None = None
    details: tuple[tuple[str, str], ...] = ()


def read_reply(operation: Operation, reply: object) -> Verdict:
    """What a bank's answer to an operation, or to an inquiry about it, means."""
    if not isinstance(reply, BankReply):
        return unclear(Doubt.NO_REPLY)
    doubt = _doubt(operation, reply)
    if doubt is not None:
        return unclear(doubt)
    reply, details = without_card_numbers(reply)
    if reply.outcome is ReplyOutcome.DECLINED:
        decline = reply.decline or Decline(code=DeclineCode.GENERIC_DECLINE)
        return Verdict(trigger=Trigger.DECLINED, reply=reply, decline=decline, details=details)
    if reply.outcome is ReplyOutcome.REQUIRES_ACTION and operation.kind is OperationKind.RESUME:
        # The cardholder has not finished yet: this attempt is over, the payment goes on waiting.
        decline = Decline(code=DeclineCode.AUTHENTICATION_REQUIRED)
        return Verdict(trigger=Trigger.DECLINED, decline=decline)
    return Verdict(trigger=_TRIGGERS[reply.outcome], reply=reply, details=details)


def read_reversal(operation: Operation, reply: object) -> Verdict:
    """What a bank's answer to the reversal of an operation means.

    A bank that declines a reversal will not undo it by being asked again: a person has to decide.
    """
    if not isinstance(reply, BankReply):
        return unclear(Doubt.NO_REPLY)
    if reply.operation_id != operation.id:
        return unclear(Doubt.OTHER_OPERATION)
    if reply.outcome is ReplyOutcome.APPROVED:
        return Verdict(trigger=Trigger.REVERSAL_CONFIRMED)
    if reply.outcome is ReplyOutcome.DECLINED:
        return Verdict(trigger=Trigger.GIVEN_UP, reason=Doubt.REVERSAL_DECLINED)
    return unclear(Doubt.NOT_REVERSED)


def read_notice(
    operation: Operation, notice: BankNotice, *, history: Sequence[Event], bank: BankCapabilities
) -> Verdict | None:
    """What a notice adds to what is known of an operation; None where it adds nothing.

    What is open is settled as by an inquiry. What is final moves only where the bank goes back on
    its word: it takes a success back, or has approved what was taken for void.

    Args:
        operation: the one that it is about, as stored.
        notice: what the bank tells.
        history: the events of the operation's subject, which name the notices that were heeded.
        bank: what it declares.
    """
    verdict = read_reply(operation, notice.reply)
    trigger = _AGAINST_ITS_WORD.get((operation.state, verdict.trigger), verdict.trigger)
    moves = next_state(operation.state, trigger) not in (None, operation.state)
    if verdict.trigger is Trigger.UNCLEAR or not moves or _is_old(operation, notice, history):
        return None
    details = (*verdict.details, *as_heeded(notice))
    if trigger is not Trigger.LATE_APPROVAL:
        return evolve(verdict, trigger=trigger, details=details)
    if notice.at <= operation.updated_at and was_reversed(operation, history, bank):
        return None
    return evolve(verdict, trigger=trigger, reason=LATE_APPROVALS[operation.state], details=details)


_NOTICE, _NOTICE_AT = "notice", "notice_at"

_AGAINST_ITS_WORD = {
    (OperationState.SUCCEEDED, Trigger.DECLINED): Trigger.TAKEN_BACK,
    (OperationState.DECLINED, Trigger.APPROVED): Trigger.LATE_APPROVAL,
    (OperationState.ABORTED, Trigger.APPROVED): Trigger.LATE_APPROVAL,
}


def as_heeded(notice: BankNotice) -> tuple[tuple[str, str], ...]:
    """What its event says of a notice, for the next time; an id like a card number is left out."""
    at = (_NOTICE_AT, notice.at.isoformat())
    return (at,) if looks_like_card_number(notice.id) else ((_NOTICE, notice.id), at)


def is_contradiction(operation: Operation, event: Event) -> bool:
    """Whether an event tells that the bank was not followed: what it said may be followed yet."""
    return event.operation_id == operation.id and event.type == f"{operation.kind}.contradicted"


def was_contradicted(operation: Operation, notice: BankNotice, history: Sequence[Event]) -> bool:
    """Whether an event tells that this notice was not followed."""
    heeded = set(as_heeded(notice))
    return any(heeded <= set(e.details) for e in history if is_contradiction(operation, e))


def _is_old(operation: Operation, notice: BankNotice, history: Sequence[Event]) -> bool:
    """Whether it was heeded before, or a later one about the same operation was."""
    for event in history:
        if is_contradiction(operation, event):
            continue
        said = dict(event.details)
        if said.get(_NOTICE) == notice.id:
            return True
        later = _NOTICE_AT in said and datetime.fromisoformat(said[_NOTICE_AT]) > notice.at
        if later and event.operation_id == operation.id:
            return True
    return False


def was_reversed(operation: Operation, history: Sequence[Event], bank: BankCapabilities) -> bool:
    """Whether the bank has undone an operation, so that its approval from before counts no more.

    Only a confirmed reversal does that, at a bank that remembers it: not that nothing was sent, and
    not a person who called it void.
    """
    steps = (e.type.partition(".")[2] for e in history if e.operation_id == operation.id)
    states = [step for step in steps if step in _STATES]
    return bank.reversal_remembers_unknown and states[-2:] == _UNDONE


_STATES = frozenset(OperationState)
_UNDONE = [OperationState.REVERSING, OperationState.ABORTED]


def unclear(reason: str) -> Verdict:
    """Nothing is proved."""
    return Verdict(trigger=Trigger.UNCLEAR, reason=reason)


_TRIGGERS = {
    ReplyOutcome.APPROVED: Trigger.APPROVED,
    ReplyOutcome.REQUIRES_ACTION: Trigger.ACTION_REQUIRED,
    ReplyOutcome.PENDING: Trigger.LEFT_PENDING,
}


def _doubt(operation: Operation, reply: BankReply) -> Doubt | None:
    """What keeps a reply from being believed, or None."""
    if reply.operation_id != operation.id:
        return Doubt.OTHER_OPERATION
    if not is_well_formed(reply):
        return Doubt.MALFORMED
    if reply.outcome is ReplyOutcome.NOT_FOUND:
        return Doubt.NOT_FOUND
    amount_matters = reply.outcome in (ReplyOutcome.APPROVED, ReplyOutcome.PENDING)
    if (amount_matters or reply.amount is not None) and reply.amount != operation.amount:
        return Doubt.OTHER_AMOUNT
    if reply.outcome is not ReplyOutcome.REQUIRES_ACTION or operation.kind is OperationKind.RESUME:
        return None
    if operation.kind not in STARTING_KINDS:
        return Doubt.ACTION_OUT_OF_PLACE
    return Doubt.ACTION_MISSING if reply.action is None else None


def is_well_formed(reply: BankReply) -> bool:
    """Whether what an adapter put into a reply is what its types promise, and fit to be stored."""
    action = reply.action
    return (
        isinstance(reply.outcome, ReplyOutcome)
        and isinstance(reply.amount, Money | None)
        and isinstance(reply.decline, Decline | None)
        and isinstance(reply.security_code, Check)
        and isinstance(reply.postal_code, Check)
        and _is_time(reply.expires_at)
        and (reply.card_country is None or is_country(reply.card_country))
        and all(_is_text(t, _TEXT_LIMIT) for t in (reply.reference, reply.network_transaction_id))
        and (action is None or (isinstance(action, Action) and _is_sound(action)))
    )


def _is_sound(action: Action) -> bool:
    texts = ((action.type, _TEXT_LIMIT), (action.url, _URL_LIMIT))
    given = all(text is not None and _is_text(text, limit) for text, limit in texts)
    return given and _is_time(action.expires_at)


def _is_text(value: object, limit: int) -> bool:
    return value is None or (
        isinstance(value, str) and 0 < len(value) <= limit and value.isprintable()
    )


def _is_time(value: object) -> bool:
    return value is None or is_dated(value)


def without_card_numbers(reply: BankReply) -> tuple[BankReply, tuple[tuple[str, str], ...]]:
    """The reply without what could be a card number, and what to say of it.

    A reference that happens to look like one is no reason to doubt an answer, and none to store it:
    our own operation id finds the operation at the bank as well.
    """
    note = "looks like a card number"
    details: tuple[tuple[str, str], ...] = ()
    if looks_like_card_number(reply.reference or ""):
        reply, details = evolve(reply, reference=None), (*details, ("reference", note))
    if looks_like_card_number(reply.network_transaction_id or ""):
        reply = evolve(reply, network_transaction_id=None)
        details = (*details, ("network_transaction_id", note))
    return reply, details
