"""What is written for a verdict. Pure: values in, `Step` out.

The same `settle` serves the first answer, recovery, a person's resolution: one way to book an
outcome. It never reads a state machine of its own; `operations.TRANSITIONS` is the law.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from attrs import evolve

from payplatform._domain.changes import Changes, Receipt, Record, Subject
from payplatform._domain.decisions import Step, World, happened, open_entry
from payplatform._domain.declines import Decline
from payplatform._domain.events import Event
from payplatform._domain.fees import FeeSchedule, fees_charged, fees_for
from payplatform._domain.ledger import postings_of
from payplatform._domain.money import Money
from payplatform._domain.operations import (
    ANSWERED_STATES,
    STARTING_KINDS,
    OpenOperation,
    Operation,
    OperationKind,
    OperationState,
    Trigger,
    next_state,
)
from payplatform._domain.payments import NO_CHANGE, Action, Facts, Payment
from payplatform._domain.payouts import Payout
from payplatform._domain.records import PaymentMethod, Verification
from payplatform._domain.replies import Verdict


def settle(
    operation: Operation,
    subject: Subject,
    verdict: Verdict,
    *,
    target: Operation | None = None,
    method: PaymentMethod | None = None,
    others: Sequence[Operation] = (),
    history: Sequence[Event] = (),
    fees: FeeSchedule | None = None,
    world: World,
) -> Step | None:
    """Book what became of an operation.

    Args:
        operation: as stored, with the epoch that the writer holds.
        subject: its payment, or payment method, as stored.
        verdict: what is known now.
        target: for a resume, the operation that waits for the cardholder.
        method: the stored card, where its first use by its customer may be agreed by this.
        others: all operations of the payment, where something is taken back.
        history: all its events, likewise.
        fees: the schedule that counts now, if the merchant has one.
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
    elif isinstance(subject, Payout):
        step = _settled_payout(operation, subject, verdict, world)
    else:
        waiting = _settled_target(target, verdict, world)
        step = _settled_payment(
            operation,
            subject,
            verdict,
            waiting=waiting,
            method=method,
            others=others,
            history=history,
            fees=fees,
            world=world,
        )
    if state is was and _action_of(step.subject) == _action_of(subject):
        # Nothing new to tell: a repeat goes on telling what was told when it was new.
        return evolve(step, changes=evolve(step.changes, receipts=()))
    return step


def late_answer(operation: Operation, subject: Subject, verdict: Verdict, world: World) -> Changes:
    """Note an answer that came after somebody else had taken the operation over."""
    return _noted(operation, subject, "late_answer", verdict, world)


def contradicted(operation: Operation, subject: Subject, verdict: Verdict, world: World) -> Changes:
    """Note what the bank says against its own word, where what came after rests on that word."""
    return _noted(operation, subject, "contradicted", verdict, world)


def _noted(
    operation: Operation, subject: Subject, step: str, verdict: Verdict, world: World
) -> Changes:
    """An event that tells a person something, and changes nothing else."""
    subject = evolve(subject, version=subject.version + 1, updated_at=world.now)
    said = (("answer", str(verdict.trigger)), ("state", str(operation.state)))
    event = _event(operation, subject, step, world, details=(*said, *verdict.details))
    return Changes(merchant_id=operation.merchant_id, records=(subject,), events=(event,))


def expire(
    payment: Payment,
    world: World,
    *,
    amount_minor: int | None = None,
    details: tuple[tuple[str, str], ...] = (),
) -> Changes:
    """Book that the bank has let go of what was not captured in time.

    Args:
        payment: as stored.
        world: the time and ids.
        amount_minor: how much more than before, in minor units; None for all that is uncaptured.
        details: what else the event is to tell.
    """
    facts = payment.facts
    by = facts.uncaptured if amount_minor is None else amount_minor
    return happened(
        payment,
        "payment.expired",
        world,
        amount=Money.minor(facts.expired + by, payment.currency),
        change=Facts(expired=by),
        details=details,
    )


_APPROVALS = frozenset({Trigger.APPROVED, Trigger.RESOLVED_SUCCEEDED})


def _moved(
    operation: Operation, state: OperationState, verdict: Verdict, world: World
) -> Operation:
    reply, counts = verdict.reply, state is OperationState.DECLINED
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
        # Declines are counted by card; what went through needs no more to tell its card.
        card_fingerprint=operation.card_fingerprint if counts or not state.is_final else None,
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
    others: Sequence[Operation],
    history: Sequence[Event],
    fees: FeeSchedule | None,
    world: World,
) -> Step:
    moved = tuple(o for o in (waiting, operation) if o is not None)
    authorizing = _authorizing(moved)
    payment = _with_card_country(payment, authorizing, verdict)
    open_operations = _still_open(payment, moved)
    change = _change(authorizing or operation, payment, others)
    if operation.state is OperationState.REVERSED:
        charged = -fees_charged(operation, others, history)
    else:
        charged = fees_for(change, payment, fees)
    if charged:
        change = evolve(change, fees=charged)
    payment = evolve(
        payment,
        version=payment.version + 1,
        facts=payment.facts + change,
        open_operations=open_operations,
        authorization_id=authorizing.id if authorizing else payment.authorization_id,
        expires_at=_held_until(operation, authorizing, verdict, world) or payment.expires_at,
        action=_action(payment, open_operations, operation, verdict),
        decline=_latest_decline(payment, operation, verdict),
        updated_at=world.now,
    )
    event = _event(operation, payment, operation.state, world, change=change, verdict=verdict)
    agreed = _agreed(method, verdict, world) if authorizing else None
    # Operations first: a writer that was overtaken is to fail at their guards, and not because the
    # payment, which it has just read anew, cannot take the same change twice.
    records: tuple[Record, ...] = (*moved, payment)
    events: tuple[Event, ...] = (event,)
    if agreed is not None:
        records = (*records, agreed)
        events = (*events, _agreed_event(agreed, operation, world))
    changes = Changes(
        merchant_id=payment.merchant_id,
        records=records,
        events=events,
        postings=postings_of(event, payment.currency),
        receipts=tuple(_receipt(o, payment) for o in moved if _is_answer(o)),
    )
    return Step(operation=operation, subject=payment, changes=changes)


def _settled_method(
    operation: Operation, method: PaymentMethod, verdict: Verdict, world: World
) -> Step:
    reply = verdict.reply
    verification = method.verification
    if operation.state in _VERIFIED_STATES:
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
    receipts = (_receipt(operation, method),) if _is_answer(operation) else ()
    changes = Changes(
        merchant_id=method.merchant_id,
        records=(operation, method),
        events=(event,),
        receipts=receipts,
    )
    return Step(operation=operation, subject=method, changes=changes)


def _settled_payout(operation: Operation, payout: Payout, verdict: Verdict, world: World) -> Step:
    was = payout.facts
    payout = evolve(
        payout,
        version=payout.version + 1,
        state=operation.state,
        decline=verdict.decline,
        updated_at=world.now,
    )
    change = payout.facts + -was
    event = _event(operation, payout, operation.state, world, change=change, verdict=verdict)
    changes = Changes(
        merchant_id=payout.merchant_id,
        records=(operation, payout),
        events=(event,),
        postings=postings_of(event, payout.amount.currency),
        receipts=(_receipt(operation, payout),) if _is_answer(operation) else (),
    )
    return Step(operation=operation, subject=payout, changes=changes)


_VERIFIED_STATES = frozenset(
    {OperationState.SUCCEEDED, OperationState.DECLINED, OperationState.REVERSED}
)


def _authorizing(moved: tuple[Operation, ...]) -> Operation | None:
    succeeded = (
        o for o in moved if o.state is OperationState.SUCCEEDED and o.kind in STARTING_KINDS
    )
    return next(succeeded, None)


def _change(operation: Operation, payment: Payment, others: Sequence[Operation]) -> Facts:
    """What the operation's new state adds to the payment's facts."""
    if operation.state is OperationState.REVERSED:
        return _undone(operation, payment, others)
    if operation.state is OperationState.SUCCEEDED:
        return _effect(operation, payment)
    return NO_CHANGE


def _undone(operation: Operation, payment: Payment, others: Sequence[Operation]) -> Facts:
    """What taking it back adds.

    A final capture lets go of the rest for as long as it stands, also of what comes back later; so
    in whatever order the bank and we hear of both, the same is let go in the end.
    """
    if operation.kind is not OperationKind.CAPTURE:
        return -_effect(operation, payment)
    facts, amount = payment.facts, operation.amount.amount_minor
    standing = [o for o in others if o.state is OperationState.SUCCEEDED and o.id != operation.id]
    voided = sum(o.amount.amount_minor for o in standing if o.kind is OperationKind.VOID)
    if any(o.final for o in standing):
        voided = facts.authorized - (facts.captured - amount) - facts.expired
    return Facts(captured=-amount, voided=voided - facts.voided)


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
    """What is under way after this; a late approval brings back what was not any more."""
    now = {o.id: o for o in moved}
    listed = {entry.id for entry in subject.open_operations}
    entries = (
        open_entry(now[entry.id]) if entry.id in now else entry for entry in subject.open_operations
    )
    left = (e for e in entries if not e.state.is_final)
    back = (open_entry(o) for o in moved if o.id not in listed and not o.state.is_final)
    return (*left, *back)


def _held_until(
    operation: Operation, authorizing: Operation | None, verdict: Verdict, world: World
) -> datetime | None:
    """Until when the bank holds what it approved: as it says, else as it declares for all."""
    if verdict.trigger is Trigger.APPROVED and verdict.reply is not None:
        return verdict.reply.expires_at
    lifetime_s = world.bank.authorization_lifetime_s
    if authorizing is None or authorizing.kind is not OperationKind.AUTHORIZE or lifetime_s is None:
        return None
    return operation.created_at + timedelta(seconds=lifetime_s)


def _with_card_country(
    payment: Payment, authorizing: Operation | None, verdict: Verdict
) -> Payment:
    """The payment with where the card is from that this verdict approves."""
    if authorizing is None:
        return payment
    country = None if verdict.reply is None else verdict.reply.card_country
    return payment if country == payment.card_country else evolve(payment, card_country=country)


def _action(
    payment: Payment,
    open_operations: tuple[OpenOperation, ...],
    operation: Operation,
    verdict: Verdict,
) -> Action | None:
    """What the cardholder is asked to do, after this step."""
    if operation.state is OperationState.REQUIRES_ACTION:
        return verdict.reply.action if verdict.reply else payment.action
    if any(o.state is OperationState.REQUIRES_ACTION for o in open_operations):
        return payment.action
    return None


def _action_of(subject: Subject) -> Action | None:
    return subject.action if isinstance(subject, Payment) else None


def _latest_decline(payment: Payment, operation: Operation, verdict: Verdict) -> Decline | None:
    if operation.id == payment.latest_operation_id or operation.kind in STARTING_KINDS:
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


def _is_answer(operation: Operation) -> bool:
    """Whether its caller is told of this; what is taken back later changes nothing told."""
    return operation.state in ANSWERED_STATES and operation.state is not OperationState.REVERSED


def as_told(operation: Operation, subject: Subject) -> Subject:
    """The subject as this operation's caller is told of it: with its own decline, or none."""
    if isinstance(subject, PaymentMethod) or subject.decline == operation.decline:
        return subject
    return evolve(subject, decline=operation.decline)


def _receipt(operation: Operation, subject: Subject) -> Receipt:
    return Receipt(
        merchant_id=operation.merchant_id,
        operation_id=operation.id,
        subject=as_told(operation, subject),
    )


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
