"""What is written for a dispute: for the bank's news, for the merchant's answer, for its deadline.

Pure: values in, `DisputeStep` out. Every step is an event of the payment, with what it changes, so
that refunds and disputes meet at the one guard that the payment has.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, frozen

from payplatform._domain.changes import Changes
from payplatform._domain.decisions import World, happened
from payplatform._domain.disputes import (
    HOLDINGS,
    Dispute,
    DisputeAnswer,
    DisputeAnswerKind,
    DisputeNews,
    DisputeState,
)
from payplatform._domain.fees import FeeSchedule, dispute_fee
from payplatform._domain.messages import BankNotice
from payplatform._domain.payments import Facts, Payment
from payplatform.errors import Conflict, ErrorCode, InvalidRequest, NotAllowed

_STATES_IN_ORDER: Final = tuple(DisputeState)

_TAKEN: Final = {
    DisputeAnswerKind.EVIDENCE: DisputeState.SUBMITTED,
    DisputeAnswerKind.ACCEPTANCE: DisputeState.ACCEPTED,
}
"""Where a dispute stands once the bank has taken an answer."""


@frozen(kw_only=True)
class DisputeStep:
    """What was decided: the dispute as it is once the changes are committed, and the changes."""

    dispute: Dispute
    changes: Changes


def heed(
    notice: BankNotice,
    news: DisputeNews,
    payment: Payment,
    dispute: Dispute | None,
    *,
    fees: FeeSchedule | None,
    remind_before: timedelta,
    world: World,
) -> DisputeStep | None:
    """Book what the bank tells of a dispute; None where nothing of it is news.

    Args:
        notice: the notice, about the operation that is disputed.
        news: its part about the dispute.
        payment: the operation's, as stored.
        dispute: as stored; None where this is the first that is heard of it.
        fees: the schedule that counts now, if the merchant has one.
        remind_before: how long before its deadline a dispute is reminded of.
        world: the time and ids.

    Raises:
        InvalidRequest: the amount is in another currency than the payment.
        Conflict: `operation_in_progress`: what is under way has to show how much is left to hold.
    """
    if news.amount.currency != payment.currency:
        raise InvalidRequest(
            f"notice.dispute.amount must be in {payment.currency}, the currency of the payment",
            code=ErrorCode.CURRENCY_MISMATCH,
            field="notice.dispute.amount",
            payment_id=payment.id,
        )
    if dispute is not None:
        told, known = _order(notice.at, news.state), _order(dispute.told_at, dispute.told_state)
        if told <= known:
            return _topped_up(payment, dispute, world) if told == known else None
    before = _unheard_of(notice, news, payment, world) if dispute is None else dispute
    after = _told(before, news, notice.at)
    after = evolve(after, held_minor=_held(after, before, payment))
    moved = dispute is None or after.state is not before.state
    type_ = f"dispute.{after.state}" if moved else "dispute.updated"
    fee = dispute_fee(payment, fees) if dispute is None else 0
    return _step(payment, before, _scheduled(after, remind_before), type_, world, fee=fee)


def is_short(dispute: Dispute) -> bool:
    """Whether less is held for it than is disputed: for more went back when it was told of."""
    return HOLDINGS[dispute.state].held and dispute.held_minor < dispute.amount.amount_minor


def _topped_up(payment: Payment, dispute: Dispute, world: World) -> DisputeStep | None:
    """Hold what is lacking, where a refund that did not stand has made room; None where none has.

    So it ends the same whichever of the two the bank told first.
    """
    held_minor = _held(dispute, dispute, payment)
    if held_minor <= dispute.held_minor:
        return None
    return _step(payment, dispute, evolve(dispute, held_minor=held_minor), "dispute.updated", world)


def start_answer(
    payment: Payment,
    dispute: Dispute,
    kind: DisputeAnswerKind,
    evidence: tuple[tuple[str, str], ...],
    world: World,
) -> DisputeStep | None:
    """Decide on an answer; it is stored before the bank is told.

    Returns:
        The step; None where that very answer has been given already.

    Raises:
        NotAllowed: the bank takes no answers, no evidence any more, or no answer to this dispute;
            or another one has been given.
    """
    given = dispute.answer
    if given is not None and (given.kind, given.evidence) == (kind, evidence):
        return None
    if not world.bank.answers_disputes:
        raise NotAllowed(
            "this bank takes no answers to disputes", code=ErrorCode.NOT_SUPPORTED_BY_BANK
        )
    if dispute.state is not DisputeState.OPENED:
        raise _refused(dispute, ErrorCode.DISPUTE_NOT_OPEN, f"it is {dispute.state}")
    if given is not None:
        raise _refused(dispute, ErrorCode.DISPUTE_ANSWERED, "another answer is on its way")
    if kind is DisputeAnswerKind.EVIDENCE and dispute.is_overdue(world.now):
        raise _refused(dispute, ErrorCode.EVIDENCE_OVERDUE, "its deadline has passed")
    again_at = world.now + world.lease
    answer = DisputeAnswer(
        id=world.new_id("op"),
        kind=kind,
        evidence=evidence,
        created_at=world.now,
        next_try_at=again_at,
    )
    started = evolve(dispute, answer=answer, next_look_at=again_at)
    return _step(payment, dispute, started, "dispute.answer_started", world)


def try_again_at(
    payment: Payment, dispute: Dispute, answer: DisputeAnswer, again_at: datetime, world: World
) -> DisputeStep:
    """Claim an answer that nobody knows the fate of, to send it again."""
    again = evolve(answer, attempts=answer.attempts + 1, next_try_at=again_at)
    claimed = evolve(dispute, answer=again, next_look_at=again_at)
    return _step(payment, dispute, claimed, "dispute.answer_repeated", world)


def end_answer(
    payment: Payment,
    dispute: Dispute,
    answer: DisputeAnswer,
    *,
    taken: bool,
    remind_before: timedelta,
    world: World,
) -> DisputeStep | None:
    """Book that the bank has taken an answer, or will not; None where that is known already."""
    given = dispute.answer
    if given is None or given.id != answer.id or given.next_try_at is None:
        return None
    if not taken:
        refused = _scheduled(evolve(dispute, answer=None), remind_before)
        return _step(payment, dispute, refused, "dispute.answer_refused", world)
    done = evolve(given, taken_at=world.now, next_try_at=None)
    if dispute.state is not DisputeState.OPENED:
        # The bank has gone on meanwhile: its word stands.
        after = _scheduled(evolve(dispute, answer=done), remind_before)
        return _step(payment, dispute, after, "dispute.updated", world)
    state = _TAKEN[given.kind]
    after = _scheduled(evolve(dispute, state=state, answer=done), remind_before)
    return _step(payment, dispute, after, f"dispute.{state}", world)


def remind(
    payment: Payment, dispute: Dispute, *, remind_before: timedelta, world: World
) -> DisputeStep:
    """Tell that a deadline for evidence is near, or has passed. No money moves by it."""
    overdue = dispute.is_overdue(world.now)
    reminded = _scheduled(evolve(dispute, reminded_at=world.now), remind_before)
    type_ = "dispute.evidence_overdue" if overdue else "dispute.evidence_due"
    return _step(payment, dispute, reminded, type_, world)


def _order(at: datetime, state: DisputeState) -> tuple[datetime, int]:
    return at, _STATES_IN_ORDER.index(state)


def _unheard_of(notice: BankNotice, news: DisputeNews, payment: Payment, world: World) -> Dispute:
    return Dispute(
        id=world.new_id("dsp"),
        merchant_id=payment.merchant_id,
        version=0,
        payment_id=payment.id,
        operation_id=notice.reply.operation_id,
        bank_dispute_id=news.dispute_id,
        state=news.state,
        amount=news.amount,
        held_minor=0,
        brand=payment.brand,
        reason_code=news.reason_code,
        told_state=news.state,
        told_at=notice.at,
        created_at=world.now,
        updated_at=world.now,
    )


def _told(dispute: Dispute, news: DisputeNews, at: datetime) -> Dispute:
    """The dispute as the bank's latest word leaves it; what is held for it is not counted yet."""
    is_moved = news.evidence_due_at != dispute.evidence_due_at
    told = evolve(
        dispute,
        amount=news.amount,
        reason_code=news.reason_code,
        evidence_due_at=news.evidence_due_at,
        reminded_at=None if is_moved else dispute.reminded_at,
        told_state=news.state,
        told_at=at,
    )
    answer = dispute.answer
    if news.state is not DisputeState.OPENED or answer is None or answer.taken_at is None:
        return evolve(told, state=news.state)
    if at <= answer.taken_at:
        return evolve(told, state=_TAKEN[answer.kind])
    # Opened once more after it had our answer: it wants another one.
    return evolve(told, state=news.state, answer=None)


def _held(after: Dispute, before: Dispute, payment: Payment) -> int:
    """What is held in the new state: all that is disputed, or what is left of the payment."""
    if not HOLDINGS[after.state].held:
        return 0
    left = payment.facts.unreturned + before.held_minor - payment.reserved_refunds_minor
    wanted = after.amount.amount_minor
    if wanted > left and payment.open_operations:
        raise Conflict(
            "what is under way on the payment shows how much is left to be held: "
            "have the notice delivered again later",
            code=ErrorCode.OPERATION_IN_PROGRESS,
            operation_id=payment.open_operations[0].id,
            payment_id=payment.id,
        )
    return max(0, min(wanted, left))


def _scheduled(dispute: Dispute, remind_before: timedelta) -> Dispute:
    """The dispute with the time of the next look at it."""
    return evolve(dispute, next_look_at=_next_look(dispute, remind_before))


def _next_look(dispute: Dispute, remind_before: timedelta) -> datetime | None:
    answer, due_at, reminded_at = dispute.answer, dispute.evidence_due_at, dispute.reminded_at
    if answer is not None and answer.next_try_at is not None:
        return answer.next_try_at
    if dispute.state is not DisputeState.OPENED or due_at is None:
        return None
    if reminded_at is None:
        return due_at - remind_before
    return due_at if reminded_at < due_at else None


def _step(
    payment: Payment, before: Dispute, after: Dispute, type_: str, world: World, *, fee: int = 0
) -> DisputeStep:
    change = after.facts + -before.facts + Facts(fees=fee)
    after = evolve(after, version=after.version + 1, updated_at=world.now)
    changes = happened(
        payment,
        type_,
        world,
        amount=after.amount,
        change=change,
        details=_details(after),
        besides=(after,),
    )
    return DisputeStep(dispute=after, changes=changes)


def _details(dispute: Dispute) -> tuple[tuple[str, str], ...]:
    due_at, short = dispute.evidence_due_at, dispute.amount.amount_minor - dispute.held_minor
    told = [("dispute", dispute.id), ("reason", f"{dispute.reason} ({dispute.reason_code})")]
    if dispute.state is DisputeState.OPENED and due_at is not None:
        told.append(("evidence_due_at", due_at.isoformat()))
    if HOLDINGS[dispute.state].held and short:
        told.append(("not_held", str(dispute.amount - dispute.held)))
    return tuple(told)


def _refused(dispute: Dispute, code: ErrorCode, why: str) -> NotAllowed:
    return NotAllowed(f"dispute {dispute.id}: {why}", code=code, payment_id=dispute.payment_id)
