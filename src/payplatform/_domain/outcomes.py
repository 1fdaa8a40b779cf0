"""What an answer means, and what is written for it. Pure: values in, `Step` out.

The same `settle` serves the first answer, recovery, a person's resolution: one way to book an
outcome. It never reads a state machine of its own; `operations.TRANSITIONS` is the law.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from attrs import evolve, frozen

from payplatform._domain.changes import Changes, Receipt, Record, Subject
from payplatform._domain.decisions import Step, World, open_entry
from payplatform._domain.declines import Decline, DeclineCode
from payplatform._domain.events import Event
from payplatform._domain.ledger import postings_of
from payplatform._domain.messages import BankReply, ReplyOutcome
from payplatform._domain.operations import (
    OpenOperation,
    Operation,
    OperationKind,
    OperationState,
    Trigger,
    next_state,
)
from payplatform._domain.payments import NO_CHANGE, Action, Facts, Payment
from payplatform._domain.records import Check, PaymentMethod, Verification
from payplatform._domain.text import looks_like_card_number

_TEXT_LIMIT = 255


class Doubt(StrEnum):
    """Why an answer proves nothing."""

    NO_REPLY = "the bank's answer is not a reply"
    OTHER_OPERATION = "the bank's answer names another operation"
    OTHER_AMOUNT = "the bank's answer is about another amount"
    MALFORMED = "the bank's answer is malformed"
    ACTION_OUT_OF_PLACE = "the bank asks for an action where none is possible"
    ACTION_MISSING = "the bank asks for an action and does not say which"
    NOT_FOUND = "the bank does not know the operation"
    NOT_REVERSED = "the bank did not confirm the reversal"


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
    """What a bank's answer to an operation, or to an inquiry about it, means.

    An answer that does not echo the operation and its amount, or is malformed, is unclear: it may
    be meant for another request, and proves nothing about this one.
    """
    if not isinstance(reply, BankReply):
        return _unclear(Doubt.NO_REPLY)
    doubt = _doubt(operation, reply)
    if doubt is not None:
        return _unclear(doubt)
    if reply.outcome is ReplyOutcome.DECLINED:
        decline = reply.decline or Decline(code=DeclineCode.GENERIC_DECLINE)
        return Verdict(trigger=Trigger.DECLINED, reply=reply, decline=decline)
    if reply.outcome is ReplyOutcome.REQUIRES_ACTION and operation.kind is OperationKind.RESUME:
        # The cardholder has not finished yet: this attempt is over, the payment goes on waiting.
        decline = Decline(code=DeclineCode.AUTHENTICATION_REQUIRED)
        return Verdict(trigger=Trigger.DECLINED, decline=decline)
    trigger = _TRIGGERS.get(reply.outcome)
    if trigger is None:
        return _unclear(Doubt.NOT_FOUND)
    return Verdict(trigger=trigger, reply=reply)


def read_reversal(operation: Operation, reply: object) -> Verdict:
    """What a bank's answer to the reversal of an operation means.

    A bank that declines a reversal will not undo it by being asked again: a person has to decide.
    """
    if not isinstance(reply, BankReply):
        return _unclear(Doubt.NO_REPLY)
    if reply.operation_id != operation.id:
        return _unclear(Doubt.OTHER_OPERATION)
    if reply.outcome is ReplyOutcome.APPROVED:
        return Verdict(trigger=Trigger.REVERSAL_CONFIRMED)
    if reply.outcome is ReplyOutcome.DECLINED:
        return Verdict(trigger=Trigger.GIVEN_UP, reason="the bank declined the reversal")
    return _unclear(Doubt.NOT_REVERSED)


def settle(
    operation: Operation,
    subject: Subject,
    verdict: Verdict,
    *,
    target: Operation | None = None,
    method: PaymentMethod | None = None,
    world: World,
) -> Step | None:
    """Book what became of an operation.

    Args:
        operation: as stored, with the epoch that the writer holds.
        subject: its payment, or payment method, as stored.
        verdict: what is known now.
        target: for a resume, the operation that waits for the cardholder.
        method: the stored card, where its first use by its customer may be agreed by this.
        world: the time and ids.

    Returns:
        The step to commit, or None where the state machine does not list it.
    """
    state = next_state(operation.state, verdict.trigger)
    if state is None:
        return None
    was, operation = operation.state, _moved(operation, state, verdict, world)
    if isinstance(subject, PaymentMethod):
        step = _settled_method(operation, subject, verdict, world)
    else:
        waiting = _settled_target(target, verdict, world)
        step = _settled_payment(
            operation, subject, verdict, waiting=waiting, method=method, world=world
        )
    if state is was and _action_of(step.subject) == _action_of(subject):
        # Nothing new to tell: a repeat goes on telling what was told when it was new.
        return evolve(step, changes=evolve(step.changes, receipts=()))
    return step


def late_answer(operation: Operation, subject: Subject, verdict: Verdict, world: World) -> Changes:
    """Note an answer that came after somebody else had taken the operation over."""
    subject = evolve(subject, version=subject.version + 1, updated_at=world.now)
    details = (("answer", str(verdict.trigger)), ("state", str(operation.state)))
    event = _event(operation, subject, "late_answer", world, details=details)
    return Changes(merchant_id=operation.merchant_id, records=(subject,), events=(event,))


def expire(payment: Payment, world: World) -> Changes:
    """Book that the bank has let go of what was not captured in time."""
    change = Facts(expired=payment.facts.uncaptured)
    payment = evolve(
        payment,
        version=payment.version + 1,
        facts=payment.facts + change,
        expires_at=None,
        updated_at=world.now,
    )
    event = Event(
        id=world.new_id("evt"),
        merchant_id=payment.merchant_id,
        subject_id=payment.id,
        number=payment.version,
        type="payment.expired",
        at=world.now,
        amount=payment.expired,
        change=change,
    )
    return Changes(
        merchant_id=payment.merchant_id,
        records=(payment,),
        events=(event,),
        postings=postings_of(event, payment.currency),
    )


_TRIGGERS = {
    ReplyOutcome.APPROVED: Trigger.APPROVED,
    ReplyOutcome.REQUIRES_ACTION: Trigger.ACTION_REQUIRED,
    ReplyOutcome.PENDING: Trigger.LEFT_PENDING,
}

_STARTING = (OperationKind.SALE, OperationKind.AUTHORIZE)

_APPROVALS = frozenset({Trigger.APPROVED, Trigger.RESOLVED_SUCCEEDED})

_TOLD = frozenset(
    {
        OperationState.SUCCEEDED,
        OperationState.DECLINED,
        OperationState.REQUIRES_ACTION,
        OperationState.PENDING,
    }
)
"""States of which a caller is told, and told the same again: the rest raise."""


def _doubt(operation: Operation, reply: BankReply) -> Doubt | None:
    """What keeps a reply from being believed, or None. The first two are the echo."""
    if reply.operation_id != operation.id:
        return Doubt.OTHER_OPERATION
    amount_matters = reply.outcome in (ReplyOutcome.APPROVED, ReplyOutcome.PENDING)
    if (amount_matters or reply.amount is not None) and reply.amount != operation.amount:
        return Doubt.OTHER_AMOUNT
    if not _is_well_formed(reply):
        return Doubt.MALFORMED
    if reply.outcome is not ReplyOutcome.REQUIRES_ACTION or operation.kind is OperationKind.RESUME:
        return None
    if operation.kind not in _STARTING:
        return Doubt.ACTION_OUT_OF_PLACE
    return None if isinstance(reply.action, Action) else Doubt.ACTION_MISSING


def _is_well_formed(reply: BankReply) -> bool:
    """Whether what an adapter put into a reply is what its types promise, and fit to be stored."""
    texts = (reply.reference, reply.network_transaction_id)
    times = (
        reply.expires_at,
        reply.action.expires_at if isinstance(reply.action, Action) else None,
    )
    return (
        all(map(_is_plain, texts))
        and all(map(_is_time, times))
        and isinstance(reply.decline, Decline | None)
        and isinstance(reply.security_code, Check)
        and isinstance(reply.postal_code, Check)
    )


def _is_time(value: object) -> bool:
    return value is None or (isinstance(value, datetime) and value.tzinfo is not None)


def _is_plain(text: object) -> bool:
    return text is None or (
        isinstance(text, str)
        and 0 < len(text) <= _TEXT_LIMIT
        and text.isprintable()
        and not looks_like_card_number(text)
    )


def _unclear(doubt: Doubt) -> Verdict:
    return Verdict(trigger=Trigger.UNCLEAR, reason=doubt)


def _moved(
    operation: Operation, state: OperationState, verdict: Verdict, world: World
) -> Operation:
    reply = verdict.reply
    return evolve(
        operation,
        state=state,
        epoch=operation.epoch + 1,
        lease_until=world.now,
        next_try_at=None if state.is_final else verdict.next_try_at,
        bank_reference=reply.reference if reply else operation.bank_reference,
        decline=verdict.decline,
        # Plain text, though it may come as one of an enum's: what a store gives back is plain.
        reason=None if verdict.reason is None else str(verdict.reason),
        updated_at=world.now,
    )


def _settled_target(target: Operation | None, verdict: Verdict, world: World) -> Operation | None:
    """The operation that waited for the cardholder, if this verdict decides it; else None."""
    if target is None or target.state is not OperationState.REQUIRES_ACTION:
        return None
    decided = verdict.trigger in _APPROVALS or (
        verdict.trigger is Trigger.DECLINED and verdict.reply is not None
    )
    if not decided:
        return None
    approved = verdict.trigger in _APPROVALS
    state = OperationState.SUCCEEDED if approved else OperationState.DECLINED
    return _moved(target, state, evolve(verdict, reply=None), world)


def _settled_payment(
    operation: Operation,
    payment: Payment,
    verdict: Verdict,
    *,
    waiting: Operation | None,
    method: PaymentMethod | None,
    world: World,
) -> Step:
    moved = tuple(o for o in (waiting, operation) if o is not None)
    authorizing = _authorizing(moved)
    change = _change(operation, payment) if authorizing is None else _change(authorizing, payment)
    payment = evolve(payment, open_operations=_still_open(payment, moved))
    payment = evolve(
        payment,
        version=payment.version + 1,
        facts=payment.facts + change,
        authorization_id=authorizing.id if authorizing else payment.authorization_id,
        expires_at=_held_until(verdict) or payment.expires_at,
        action=_action(payment, operation, verdict),
        decline=_latest_decline(payment, operation, verdict),
        updated_at=world.now,
    )
    event = _event(operation, payment, operation.state, world, change=change, verdict=verdict)
    agreed = _agreed(method, verdict, world) if authorizing else None
    records: tuple[Record, ...] = (payment, *moved)
    events: tuple[Event, ...] = (event,)
    if agreed is not None:
        records = (*records, agreed)
        events = (*events, _agreed_event(agreed, operation, world))
    changes = Changes(
        merchant_id=payment.merchant_id,
        records=records,
        events=events,
        postings=postings_of(event, payment.currency),
        receipts=tuple(_receipt(o, payment) for o in moved if o.state in _TOLD),
    )
    return Step(operation=operation, subject=payment, changes=changes)


def _settled_method(
    operation: Operation, method: PaymentMethod, verdict: Verdict, world: World
) -> Step:
    reply = verdict.reply
    verification = method.verification
    if operation.state in (OperationState.SUCCEEDED, OperationState.DECLINED):
        verification = Verification(
            succeeded=operation.state is OperationState.SUCCEEDED,
            checked_at=world.now,
            decline=verdict.decline,
        )
        if reply is not None:
            verification = evolve(
                verification, security_code=reply.security_code, postal_code=reply.postal_code
            )
    method = evolve(
        _with_agreement(method, verdict) or method,
        version=method.version + 1,
        open_operations=_still_open(method, (operation,)),
        verification=verification,
        updated_at=world.now,
    )
    event = _event(operation, method, operation.state, world, verdict=verdict)
    receipts = (_receipt(operation, method),) if operation.state in _TOLD else ()
    changes = Changes(
        merchant_id=method.merchant_id,
        records=(method, operation),
        events=(event,),
        receipts=receipts,
    )
    return Step(operation=operation, subject=method, changes=changes)


def _authorizing(moved: tuple[Operation, ...]) -> Operation | None:
    succeeded = (o for o in moved if o.state is OperationState.SUCCEEDED and o.kind in _STARTING)
    return next(succeeded, None)


def _change(operation: Operation, payment: Payment) -> Facts:
    """What the operation's new state adds to the payment's facts."""
    if operation.state is OperationState.REVERSED:
        return -_effect(operation, payment)
    if operation.state is OperationState.SUCCEEDED:
        return _effect(operation, payment)
    return NO_CHANGE


def _effect(operation: Operation, payment: Payment) -> Facts:
    amount = operation.amount.amount_minor
    match operation.kind:
        case OperationKind.SALE:
            return Facts(authorized=amount, captured=amount)
        case OperationKind.AUTHORIZE:
            return Facts(authorized=amount)
        case OperationKind.INCREMENT:
            return Facts(requested=amount, authorized=amount)
        case OperationKind.CAPTURE:
            rest = payment.facts.uncaptured - amount if operation.final else 0
            return Facts(captured=amount, voided=rest)
        case OperationKind.VOID:
            return Facts(voided=amount)
        case OperationKind.REFUND:
            return Facts(refunded=amount)
        case _:
            return NO_CHANGE


def _still_open(subject: Subject, moved: tuple[Operation, ...]) -> tuple[OpenOperation, ...]:
    now = {o.id: o for o in moved}
    return tuple(
        open_entry(now[entry.id]) if entry.id in now else entry
        for entry in subject.open_operations
        if entry.id not in now or not now[entry.id].state.is_final
    )


def _held_until(verdict: Verdict) -> datetime | None:
    """Until when the bank holds what it has just approved, where it says so."""
    if verdict.reply is None or verdict.trigger is not Trigger.APPROVED:
        return None
    return verdict.reply.expires_at


def _action(payment: Payment, operation: Operation, verdict: Verdict) -> Action | None:
    """What the cardholder is asked to do, after this step."""
    if operation.state is OperationState.REQUIRES_ACTION:
        return verdict.reply.action if verdict.reply else payment.action
    if any(o.state is OperationState.REQUIRES_ACTION for o in payment.open_operations):
        return payment.action
    return None


def _action_of(subject: Subject) -> Action | None:
    return subject.action if isinstance(subject, Payment) else None


def _latest_decline(payment: Payment, operation: Operation, verdict: Verdict) -> Decline | None:
    if operation.id == payment.latest_operation_id or operation.kind in _STARTING:
        return verdict.decline
    return payment.decline


def _with_agreement(method: PaymentMethod | None, verdict: Verdict) -> PaymentMethod | None:
    """The stored card with the network's id of its first payment, where this verdict brings it."""
    reply = verdict.reply
    if method is None or reply is None or verdict.trigger is not Trigger.APPROVED:
        return None
    if method.customer_id is None or method.network_transaction_id is not None:
        return None
    if reply.network_transaction_id is None or method.deleted_at is not None:
        return None
    return evolve(method, network_transaction_id=reply.network_transaction_id)


def _agreed(method: PaymentMethod | None, verdict: Verdict, world: World) -> PaymentMethod | None:
    agreed = _with_agreement(method, verdict)
    if agreed is None:
        return None
    return evolve(agreed, version=agreed.version + 1, updated_at=world.now)


def _agreed_event(method: PaymentMethod, operation: Operation, world: World) -> Event:
    return Event(
        id=world.new_id("evt"),
        merchant_id=method.merchant_id,
        subject_id=method.id,
        number=method.version,
        type="payment_method.agreed",
        at=world.now,
        operation_id=operation.id,
    )


def _receipt(operation: Operation, subject: Subject) -> Receipt:
    return Receipt(merchant_id=operation.merchant_id, operation_id=operation.id, subject=subject)


def _event(
    operation: Operation,
    subject: Subject,
    step: str,
    world: World,
    *,
    change: Facts = NO_CHANGE,
    verdict: Verdict | None = None,
    details: tuple[tuple[str, str], ...] = (),
) -> Event:
    if verdict is not None:
        told = (
            ("decline", verdict.decline.code if verdict.decline else None),
            ("reason", verdict.reason),
        )
        details = (*((name, str(text)) for name, text in told if text), *verdict.details)
    return Event(
        id=world.new_id("evt"),
        merchant_id=operation.merchant_id,
        subject_id=subject.id,
        number=subject.version,
        type=f"{operation.kind}.{step}",
        at=world.now,
        operation_id=operation.id,
        amount=operation.amount,
        change=change,
        details=details,
    )
