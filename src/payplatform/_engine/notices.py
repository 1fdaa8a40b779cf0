"""What the bank tells of its own accord: booked by the rules that a reply is booked by.

Notices come late, twice and in any order, so what they change is decided by what is stored when
they come, under the same guards as everything else, and a second time they change nothing. Nothing
is asked of the bank here.
"""

from __future__ import annotations

from contextlib import suppress

from attrs import evolve, frozen

from payplatform._domain.changes import Changes, Subject
from payplatform._domain.invariants import has_room
from payplatform._domain.messages import BankNotice
from payplatform._domain.operations import Operation, OperationKind
from payplatform._domain.outcomes import contradicted, expire
from payplatform._domain.payments import Payment
from payplatform._domain.replies import as_heeded, read_notice, was_contradicted
from payplatform._engine.disputes import Disputes
from payplatform._engine.exchange import TRIES, Exchange
from payplatform.errors import CommitUncertain, Conflict, ErrorCode, InvalidRequest, NotFound


@frozen(kw_only=True)
class Heard:
    """What a notice comes to, by what is stored now.

    Attributes:
        operation: the one that it is about, as it is.
        changes: what is to be written of it; None where nothing is news.
        is_followed: whether what it says is so here; not where it contradicts what stands.
    """

    operation: Operation
    changes: Changes | None = None
    is_followed: bool = True


class Notices:
    """Takes notices to what they change."""

    def __init__(self, exchange: Exchange, disputes: Disputes) -> None:
        self._exchange = exchange
        self._disputes = disputes

    def apply(self, notice: BankNotice) -> Heard:
        """Book what a notice tells, if it is news.

        Args:
            notice: as the bank's adapter has read it, and known to be the bank's.

        Returns:
            What came of it, with the operation that it is about: for a resume that is over, the
            one that it resumed.

        Raises:
            NotFound: the merchant has no such operation: have it delivered again later.
            InvalidRequest: its amount cannot be one of that operation.
            Conflict: `operation_in_progress`: what is under way on the payment has to end first;
                `version_conflict`: others kept changing it. Have it delivered again.
            StorageUnavailable: the store failed. Have it delivered again.
        """
        if notice.dispute is not None:
            operation = self._disputes.apply(notice, notice.dispute)
            is_followed = self._disputes.is_followed(notice, notice.dispute)
            return Heard(operation=operation, is_followed=is_followed)
        for _ in range(TRIES):
            heard = self._read(notice)
            if heard.changes is None:
                return heard
            # Whether it was written, by us or before us, is seen by reading again.
            with suppress(Conflict, CommitUncertain):
                self._exchange.storage.commit(heard.changes)
        raise Conflict("others kept changing the same payment; have the notice delivered again")

    def _read(self, notice: BankNotice) -> Heard:
        """What a notice comes to: first what became of the operation, then what expired of it."""
        exchange = self._exchange
        operation, notice = self._meant(notice)
        subject = exchange.subject(operation)
        history = exchange.history(subject)
        # Read after its subject: no older, so that the subject's guard keeps both.
        operation = exchange.stored(operation)
        bank = exchange.bank.capabilities
        verdict = read_notice(operation, notice, history=history, bank=bank)
        step = None if verdict is None else exchange.settled(operation, verdict, subject)
        if verdict is None or step is None:
            return self._expiry(notice, operation, subject)
        if has_room(step.subject):
            return Heard(operation=operation, changes=step.changes)
        if subject.open_operations:
            raise _too_early(operation)
        if was_contradicted(operation, notice, history):
            return Heard(operation=operation, is_followed=False)
        changes = contradicted(operation, subject, verdict, exchange.world())
        return Heard(operation=operation, changes=changes, is_followed=False)

    def _expiry(self, notice: BankNotice, operation: Operation, subject: Subject) -> Heard:
        """What a notice tells of an expiry: how much it is in all, and so never too much."""
        nothing = Heard(operation=operation)
        if notice.expired is None or not isinstance(subject, Payment):
            return nothing
        if notice.expired.currency != subject.currency:
            raise _not_its_currency(subject)
        if operation.id != subject.authorization_id:
            if operation.state.is_final:
                return nothing
            raise _too_early(operation)
        by = notice.expired.amount_minor - subject.facts.expired
        if by <= 0:
            return nothing
        if by > subject.facts.uncaptured - subject.reserved_uncaptured_minor:
            raise _too_early(operation)
        details, world = as_heeded(notice), self._exchange.world()
        changes = expire(subject, world, amount_minor=by, details=details)
        return Heard(operation=operation, changes=changes)

    def _meant(self, notice: BankNotice) -> tuple[Operation, BankNotice]:
        """The operation, and the notice as it is about it.

        The outcome of a resume is that of what it resumed: once it is over, nothing else is left
        that the bank could tell of it.
        """
        reply = notice.reply
        operation = self._exchange.storage.get(notice.merchant_id, Operation, reply.operation_id)
        if operation is None:
            raise NotFound("no such operation", field="notice")
        is_over = operation.kind is OperationKind.RESUME and operation.state.is_final
        resumed = self._exchange.target(operation) if is_over else None
        if resumed is None:
            return operation, notice
        return resumed, evolve(notice, reply=evolve(reply, operation_id=resumed.id))


def _too_early(operation: Operation) -> Conflict:
    return Conflict(
        "what is under way on the payment, or still to be told of it, comes first: "
        "have the notice delivered again later",
        code=ErrorCode.OPERATION_IN_PROGRESS,
        operation_id=operation.id,
        payment_id=operation.payment_id,
    )


def _not_its_currency(payment: Payment) -> InvalidRequest:
    return InvalidRequest(
        f"notice.expired must be in {payment.currency}, the currency of the payment",
        code=ErrorCode.CURRENCY_MISMATCH,
        field="notice.expired",
        payment_id=payment.id,
    )
