"""Disputes: what the bank tells of them, what the merchant answers, what is due.

Law of this file: an answer is stored before the bank is told, and is sent again under the same id
until it is known whether the bank has it. A deadline moves no money; only the bank's word does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, frozen

from payplatform._domain.audit import AuditKind, Caller
from payplatform._domain.dispute_steps import (
    DisputeStep,
    end_answer,
    heed,
    is_short,
    remind,
    start_answer,
    try_again_at,
)
from payplatform._domain.disputes import Dispute, DisputeAnswer, DisputeAnswerKind, DisputeNews
from payplatform._domain.messages import BankNotice, BankReply, ReplyOutcome, answer_to
from payplatform._domain.operations import Operation, OperationKind
from payplatform._domain.payments import Payment
from payplatform._engine.auditing import Auditing
from payplatform._engine.exchange import TRIES, Exchange
from payplatform._engine.pages import all_records
from payplatform.errors import (
    CommitUncertain,
    Conflict,
    ErrorCode,
    InvalidRequest,
    NotAllowed,
    NotFound,
    OutcomeUnknown,
    StorageUnavailable,
)
from payplatform.ports import Filter

_DISPUTABLE: Final = frozenset({OperationKind.SALE, OperationKind.CAPTURE, OperationKind.AUTHORIZE})


@frozen(kw_only=True)
class DisputeLooks:
    """What came of looking at the disputes that were due.

    Attributes:
        reminded: deadlines that were told to be near, or to have passed.
        answered: answers that the bank has now, or has refused.
        unanswered: answers of which it is still not known.
    """

    reminded: int = 0
    answered: int = 0
    unanswered: int = 0


class Disputes:
    """Keeps a merchant's disputes."""

    def __init__(self, exchange: Exchange, auditing: Auditing) -> None:
        self._exchange = exchange
        self._auditing = auditing
        self._storage = exchange.storage

    def get(self, merchant_id: str, dispute_id: str) -> Dispute:
        """The dispute.

        Raises:
            NotFound: the merchant has none of that id.
        """
        dispute = self._storage.get(merchant_id, Dispute, dispute_id)
        if dispute is None:
            raise NotFound("no such dispute", field="dispute_id")
        return dispute

    def list(self, merchant_id: str, where: Filter) -> Iterator[Dispute]:
        """The disputes that match, newest first."""
        return all_records(self._storage, merchant_id, Dispute, where)

    def apply(self, notice: BankNotice, news: DisputeNews) -> Operation:
        """Book what a notice tells of a dispute, if it is news.

        Returns:
            The operation that is disputed.

        Raises:
            NotFound: the merchant has no such operation: have it delivered again later.
            InvalidRequest: no such operation can be disputed, or another payment is.
            Conflict: what is under way has to end first, or others kept changing the payment.
            StorageUnavailable: the store failed.
        """
        merchant_id, operation_id = notice.merchant_id, notice.reply.operation_id
        operation = self._storage.get(merchant_id, Operation, operation_id)
        if operation is None:
            raise NotFound("no such operation", field="notice")
        if operation.kind not in _DISPUTABLE:
            raise _misplaced("notice.reply.operation_id", "is nothing that took money")

        def attempt() -> DisputeStep | None:
            payment = self._payment(merchant_id, operation.subject_id)
            dispute = self._at_bank(merchant_id, news.dispute_id)
            if dispute is not None and dispute.payment_id != payment.id:
                raise _misplaced("notice.dispute.dispute_id", "is of another payment")
            world = self._exchange.world()
            return heed(
                notice,
                news,
                payment,
                dispute,
                fees=None if dispute else self._exchange.schedule(merchant_id, world.now),
                remind_before=self._remind_before,
                world=world,
            )

        self._written(attempt)
        return operation

    def is_followed(self, notice: BankNotice, news: DisputeNews) -> bool:
        """Whether what a notice tells of a dispute is so here, or was told anew since.

        Where more of the payment had gone back, less is held than is disputed. It may have to be
        more, once a refund turns out not to stand.
        """
        dispute = self._at_bank(notice.merchant_id, news.dispute_id)
        return dispute is None or dispute.told_at != notice.at or not is_short(dispute)

    def answer(
        self,
        merchant_id: str,
        dispute_id: str,
        kind: DisputeAnswerKind,
        evidence: tuple[tuple[str, str], ...] = (),
        *,
        caller: Caller,
        timeout_s: float | None,
    ) -> Dispute:
        """Answer a dispute: store the answer, tell the bank, store what it said.

        Who gave it goes onto the audit trail with it.

        Raises:
            NotFound: the merchant has no such dispute.
            NotAllowed: it takes no answer, or not this one; or the bank has refused it.
            OutcomeUnknown: nobody knows whether the bank has it; it is sent again when due.
        """
        world = self._exchange.world(timeout_s)
        said = self._auditing.entry(
            merchant_id,
            AuditKind.DISPUTE_ANSWERED,
            caller,
            object_id=dispute_id,
            details=(("with", kind),),
        )

        def attempt() -> DisputeStep | None:
            dispute = self.get(merchant_id, dispute_id)
            payment = self._payment(merchant_id, dispute.payment_id)
            # Read after its payment: no older, so that the payment's guard keeps both.
            dispute = self.get(merchant_id, dispute_id)
            step = start_answer(payment, dispute, kind, evidence, world)
            return step and evolve(step, changes=evolve(step.changes, audit=(said,)))

        with self._auditing.refusals(said):
            self._written(attempt)
        dispute = self.get(merchant_id, dispute_id)
        answer = dispute.answer
        if answer is None or answer.next_try_at is None:
            return dispute
        taken = self._tell(dispute, answer, timeout_s)
        if taken is None:
            raise _not_known(dispute, answer)
        dispute = self._ended(dispute, answer, taken=taken)
        if not taken:
            raise NotAllowed(
                f"dispute {dispute.id}: the bank does not take the answer",
                code=ErrorCode.DISPUTE_ANSWER_REFUSED,
                payment_id=dispute.payment_id,
            )
        return dispute

    def look(self, now: datetime, *, limit: int) -> DisputeLooks:
        """Send again what may not have arrived, and tell of deadlines: at most `limit` disputes."""
        counts: Counter[str] = Counter()
        for dispute in self._storage.due_disputes(now, limit=limit):
            # What somebody else is at, or cannot be stored now, comes up again.
            with suppress(Conflict, CommitUncertain):
                counts[self._looked_at(dispute)] += 1
        return DisputeLooks(**counts)

    def _looked_at(self, dispute: Dispute) -> str:
        answer = dispute.answer
        payment = self._payment(dispute.merchant_id, dispute.payment_id)
        world = self._exchange.world()
        if answer is None or answer.next_try_at is None:
            step = remind(payment, dispute, remind_before=self._remind_before, world=world)
            self._storage.commit(step.changes)
            return "reminded"
        waits = self._exchange.settings.recovery_schedule_s
        wait = timedelta(seconds=waits[min(answer.attempts, len(waits) - 1)])
        again_at = world.now + max(wait, world.lease)
        claimed = try_again_at(payment, dispute, answer, again_at, world)
        self._storage.commit(claimed.changes)
        taken = self._tell(dispute, answer, None)
        if taken is None:
            return "unanswered"
        try:
            self._ended(dispute, answer, taken=taken)
        except OutcomeUnknown:
            return "unanswered"
        return "answered"

    def _tell(
        self, dispute: Dispute, answer: DisputeAnswer, timeout_s: float | None
    ) -> bool | None:
        """Whether the bank takes an answer; None where nobody knows.

        A bank that has forgotten the id declines what it has already: so of one that it declines it
        is asked, where it can be, what it has said to it before.
        """
        bank = self._exchange.bank
        within_s = self._exchange.settings.timeout_s if timeout_s is None else timeout_s
        request = answer_to(dispute, answer)
        said = _said(answer, lambda: bank.send(request, timeout_s=within_s))
        if said is not ReplyOutcome.DECLINED or not bank.capabilities.inquiry_by_operation_id:
            return _TAKEN.get(said)
        whose = dispute.merchant_id
        known = _said(answer, lambda: bank.inquire(whose, answer.id, timeout_s=within_s))
        return False if known is ReplyOutcome.NOT_FOUND else _TAKEN.get(known)

    def _ended(self, dispute: Dispute, answer: DisputeAnswer, *, taken: bool) -> Dispute:
        """The dispute, once it is stored what the bank said to an answer."""
        merchant_id = dispute.merchant_id

        def attempt() -> DisputeStep | None:
            payment = self._payment(merchant_id, dispute.payment_id)
            return end_answer(
                payment,
                self.get(merchant_id, dispute.id),
                answer,
                taken=taken,
                remind_before=self._remind_before,
                world=self._exchange.world(),
            )

        try:
            self._written(attempt)
        except (StorageUnavailable, Conflict):
            failed = True
        else:
            failed = False
        if failed:
            raise _not_known(dispute, answer)
        return self.get(merchant_id, dispute.id)

    def _written(self, attempt: Callable[[], DisputeStep | None]) -> None:
        """Commit what is decided, deciding again where somebody else was first."""
        for _ in range(TRIES):
            step = attempt()
            if step is None:
                return
            # Whether it was written is seen by deciding again: a second time it is no news.
            try:
                self._storage.commit(step.changes)
            except (Conflict, CommitUncertain):
                continue
            return
        raise Conflict("others kept changing the same payment: try again")

    def _payment(self, merchant_id: str, payment_id: str) -> Payment:
        payment = self._storage.get(merchant_id, Payment, payment_id)
        if payment is None:
            raise StorageUnavailable(
                f"payment {payment_id} is missing: run doctor()",
                code=ErrorCode.STORAGE_CORRUPT,
                payment_id=payment_id,
            )
        return payment

    def _at_bank(self, merchant_id: str, bank_dispute_id: str) -> Dispute | None:
        where = Filter(bank_dispute_id=bank_dispute_id)
        return next(iter(self._storage.page(merchant_id, Dispute, where, limit=1)), None)

    @property
    def _remind_before(self) -> timedelta:
        return timedelta(seconds=self._exchange.settings.evidence_reminder_s)


_TAKEN: Final[Mapping[ReplyOutcome | None, bool]] = {
    ReplyOutcome.APPROVED: True,
    ReplyOutcome.DECLINED: False,
}


def _said(answer: DisputeAnswer, ask: Callable[[], BankReply]) -> ReplyOutcome | None:
    """What the bank says to an answer; None where that is not clear.

    An answer that was sent twice is taken once, and what never left is sent when it is due: so
    whatever the call raises means the same here.
    """
    try:
        reply = ask()
    except Exception:  # noqa: BLE001  # any failure of a bank call is ambiguous
        return None
    is_about_it = isinstance(reply, BankReply) and reply.operation_id == answer.id
    return reply.outcome if is_about_it else None


def _misplaced(field: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {rule}", code=ErrorCode.VALUE_INVALID, field=field)


def _not_known(dispute: Dispute, answer: DisputeAnswer) -> OutcomeUnknown:
    return OutcomeUnknown(
        "the bank may have the answer to the dispute: give the same answer again, or run_due(); "
        "never another one",
        operation_id=answer.id,
        payment_id=dispute.payment_id,
    )
