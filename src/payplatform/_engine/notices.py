"""What the bank tells of its own accord: booked by the rules that a reply is booked by.

Notices come late, twice and in any order, so what they change is decided by what is stored when
they come, under the same guards as everything else, and a second time they change nothing. Nothing
is asked of the bank here.
"""

from __future__ import annotations

from contextlib import suppress

from attrs import evolve

from payplatform._domain.changes import Changes
from payplatform._domain.invariants import has_room
from payplatform._domain.messages import BankNotice
from payplatform._domain.operations import Operation, OperationKind
from payplatform._domain.outcomes import contradicted
from payplatform._domain.replies import read_notice
from payplatform._engine.disputes import Disputes
from payplatform._engine.exchange import TRIES, Exchange
from payplatform.errors import CommitUncertain, Conflict, ErrorCode, NotFound


class Notices:
    """Takes notices to what they change."""

    def __init__(self, exchange: Exchange, disputes: Disputes) -> None:
        self._exchange = exchange
        self._disputes = disputes

    def apply(self, notice: BankNotice) -> Operation:
        """Book what a notice tells, if it is news.

        Args:
            notice: as the bank's adapter has read it, and known to be the bank's.

        Returns:
            The operation that it is about, as it is now: for a resume that is over, the one
            that it resumed.

        Raises:
            NotFound: the merchant has no such operation: have it delivered again later.
            Conflict: `operation_in_progress`: what is under way on the payment has to end first;
                `version_conflict`: others kept changing it. Have it delivered again.
            StorageUnavailable: the store failed. Have it delivered again.
        """
        if notice.dispute is not None:
            return self._disputes.apply(notice, notice.dispute)
        for _ in range(TRIES):
            operation, changes = self._read(notice)
            if changes is None:
                return operation
            # Whether it was written, by us or before us, is seen by reading again.
            with suppress(Conflict, CommitUncertain):
                self._exchange.storage.commit(changes)
        raise Conflict("others kept changing the same payment; have the notice delivered again")

    def _read(self, notice: BankNotice) -> tuple[Operation, Changes | None]:
        """The operation that a notice is about, and what is to be written of it."""
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
            return operation, None
        if has_room(step.subject):
            return operation, step.changes
        if subject.open_operations:
            raise _too_early(operation)
        return operation, contradicted(operation, subject, verdict, exchange.world())

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
        "what is under way on the payment rests on what the bank takes back now: "
        "have the notice delivered again later",
        code=ErrorCode.OPERATION_IN_PROGRESS,
        operation_id=operation.id,
        payment_id=operation.payment_id,
    )
