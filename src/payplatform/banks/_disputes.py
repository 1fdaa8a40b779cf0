"""The cardholder's bank: it disputes what was captured, and decides.

Law of this file: what a dispute takes back is a line in the books like any other, and shares the
bound of refunds: more than was captured never goes back. Every step leaves a notice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, frozen

from payplatform._domain.disputes import HOLDINGS, DisputeNews, DisputeState
from payplatform._domain.messages import ReplyOutcome, RequestKind
from payplatform._domain.money import Money
from payplatform.banks._acquirer import Desk
from payplatform.banks._rows import Answer, Case, Line, LineKind, LineState, Notice

_TAKES_MONEY: Final = frozenset({RequestKind.SALE, RequestKind.CAPTURE})
_TWO_WEEKS_S: Final = 14 * 86_400.0


@frozen(kw_only=True)
class BankDispute:
    """A dispute, as the bank has it.

    Attributes:
        evidence: what the merchant has submitted, as the JSON that came; None for nothing.
    """

    dispute_id: str
    merchant_id: str
    operation_id: str
    amount: Money
    reason_code: str
    state: DisputeState
    evidence: str | None
    evidence_due_at: datetime


class SimulatedDisputes:
    """What the cardholder's bank may do. `SimulatedBank.disputes`.

    A dispute that nobody has answered when its deadline passes is lost.
    """

    def __init__(self, desk: Callable[[], AbstractContextManager[Desk]]) -> None:
        self._desk = desk

    def open(
        self,
        merchant_id: str,
        operation_id: str,
        amount: Money | None = None,
        *,
        reason_code: str = "10.4",
        evidence_s: float = _TWO_WEEKS_S,
    ) -> str:
        """Dispute a sale or a capture: take its money back, for now.

        Args:
            merchant_id: whose.
            operation_id: our id of the sale or capture.
            amount: how much; by default all of it that has not gone back yet.
            reason_code: the card scheme's own.
            evidence_s: how long the bank takes evidence, in seconds.

        Returns:
            The bank's id of the dispute.

        Raises:
            LookupError: it took no such money, or not so much of it is left.
        """
        with self._desk() as desk:
            disputed = desk.books.answer(merchant_id, operation_id)
            if disputed is None or disputed.kind not in _TAKES_MONEY or not _stands(desk, disputed):
                raise LookupError("the simulated bank took no money for that operation")
            authorization_id = disputed.target_id or operation_id
            left = desk.position(merchant_id, authorization_id).refundable
            most = min(left, disputed.approved_minor)
            amount_minor = most if amount is None else amount.amount_minor
            if not 0 < amount_minor <= most:
                raise LookupError(f"{most} minor units of that operation are left to dispute")
            case = Case(
                dispute_id=f"case_{len(desk.books.cases()) + 1}",
                merchant_id=merchant_id,
                operation_id=operation_id,
                authorization_id=authorization_id,
                amount_minor=amount_minor,
                currency=disputed.currency,
                reason_code=reason_code,
                evidence_due_at=desk.now + timedelta(seconds=evidence_s),
            )
            desk.books.append(_line(desk, case, disputed))
            _keep(desk, case)
        return case.dispute_id

    def decide(self, dispute_id: str, *, merchant_wins: bool) -> None:
        """Decide a dispute, answered or not; also one that was decided otherwise before.

        Raises:
            LookupError: there is no such dispute, or the money is not there any more.
        """
        self._move(dispute_id, DisputeState.WON if merchant_wins else DisputeState.LOST)

    def reverse(self, dispute_id: str) -> None:
        """Take a dispute back: its money is the merchant's again.

        Raises:
            LookupError: there is no such dispute.
        """
        self._move(dispute_id, DisputeState.REVERSED)

    def list(self) -> Sequence[BankDispute]:
        """Every dispute there is, in the order they were opened."""
        with self._desk() as desk:
            return [_as_told(case) for case in desk.books.cases()]

    def _move(self, dispute_id: str, state: DisputeState) -> None:
        with self._desk() as desk:
            case = desk.books.case(dispute_id)
            if case is None:
                raise LookupError("the simulated bank has no such dispute")
            if HOLDINGS[state].held and not HOLDINGS[case.state].held:
                left = desk.position(case.merchant_id, case.authorization_id).refundable
                if left < case.amount_minor:
                    raise LookupError("what was disputed has gone back already")
            _keep(desk, evolve(case, state=state))


def let_lapse(desk: Desk) -> None:
    """Let every dispute that nobody has answered in time be lost, at its deadline."""
    for case in desk.books.unanswered_cases(desk.now):
        at = evolve(desk, now=case.evidence_due_at)
        _keep(at, evolve(case, state=DisputeState.LOST))


def news_of(notice: Notice) -> DisputeNews | None:
    """What a notice tells of a dispute, if it tells of one."""
    if notice.case_state is None or notice.dispute_id is None or notice.reason_code is None:
        return None
    return DisputeNews(
        dispute_id=notice.dispute_id,
        state=notice.case_state,
        amount=Money.minor(notice.case_minor or 0, notice.currency),
        reason_code=notice.reason_code,
        evidence_due_at=notice.evidence_due_at,
    )


def _keep(desk: Desk, case: Case) -> None:
    """Write a case, let its line count or not, and tell of it."""
    held = HOLDINGS[case.state].held
    state = LineState.BOOKED if held else LineState.REVERSED
    desk.books.mark_lines(case.merchant_id, case.dispute_id, state, desk.now)
    desk.books.save(case)
    disputed = desk.books.answer(case.merchant_id, case.operation_id)
    if disputed is not None:
        desk.books.tell(disputed, desk.now, case=case)


def _stands(desk: Desk, answer: Answer) -> bool:
    lines = desk.books.lines_by(answer.merchant_id, answer.operation_id)
    return answer.outcome is ReplyOutcome.APPROVED and any(
        line.state is LineState.BOOKED for line in lines
    )


def _line(desk: Desk, case: Case, disputed: Answer) -> Line:
    return Line(
        merchant_id=case.merchant_id,
        authorization_id=case.authorization_id,
        operation_id=case.dispute_id,
        kind=LineKind.DISPUTE,
        amount_minor=case.amount_minor,
        currency=case.currency,
        brand=disputed.brand,
        last4=disputed.last4,
        at=desk.now,
    )


def _as_told(case: Case) -> BankDispute:
    return BankDispute(
        dispute_id=case.dispute_id,
        merchant_id=case.merchant_id,
        operation_id=case.operation_id,
        amount=Money.minor(case.amount_minor, case.currency),
        reason_code=case.reason_code,
        state=case.state,
        evidence=case.evidence,
        evidence_due_at=case.evidence_due_at,
    )
