"""Whatever was left behind is finished here, by the same door as everything else.

The lease saves effort; the epoch keeps it safe. `in_flight`, `in_doubt`: first the bank is asked,
where it can be, so that one which has forgotten an id, against its promise, is not sent again what
it has done. Where it has not heard of the operation, what may be sent again is sent again with the
same id, for the bank does one id once. What carried a card is reversed when it could not arrive any
more, and the bank remembers that. "Not found" alone is never taken for "failed", and time never
turns unknown into failed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from attrs import evolve, frozen

from payplatform._domain.changes import Changes
from payplatform._domain.decisions import take_over
from payplatform._domain.operations import Doubt, Operation, OperationState, Trigger
from payplatform._domain.outcomes import expire
from payplatform._domain.replies import Verdict, unclear
from payplatform._engine.exchange import Exchange
from payplatform.errors import CommitUncertain, Conflict, OutcomeUnknown


@frozen(kw_only=True)
class RecoveryReport:
    """What one run of `recover()` did.

    Attributes:
        examined: operations that it took over.
        succeeded: of these, found to have succeeded.
        declined: found to have been declined.
        aborted: reversed, with the bank's confirmation.
        needs_review: left to a person.
        unresolved: still open; looked at again when they are due.
        expired: payments whose authorization was booked as expired.
    """

    examined: int = 0
    succeeded: int = 0
    declined: int = 0
    aborted: int = 0
    needs_review: int = 0
    unresolved: int = 0
    expired: int = 0


class Recovery:
    """Finds out what became of operations that nobody looks after any more."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def run(self, *, limit: int, now: datetime | None = None) -> RecoveryReport:
        """Look at what is due: at most `limit` operations, and as many lapsed payments.

        Args:
            limit: how many of each.
            now: what has come due by then; by default, by now.
        """
        storage, now = self._exchange.storage, self._exchange.now() if now is None else now
        counts: Counter[str] = Counter()
        for operation in self._due(now, limit):
            counts.update(self._looked_at(operation))
        for payment in storage.lapsed_payments(now, limit=limit):
            try:
                storage.commit(expire(payment, self._exchange.world()))
            except (Conflict, CommitUncertain):
                continue
            counts["expired"] += 1
        return RecoveryReport(**counts)

    def _due(self, now: datetime, limit: int) -> Sequence[Operation]:
        """What has come due; then what a clock that was wrong has put off, maybe for years."""
        due = self._exchange.storage.due_operations(now, limit=limit)
        if len(due) == limit:
            return due
        put_off = self._exchange.storage.due_operations(_ANY_TIME, limit=limit)
        return [*due, *(o for o in put_off if o.is_ahead_of(now) and o not in due)][:limit]

    def _looked_at(self, operation: Operation) -> tuple[str, ...]:
        """What to count for an operation. One that cannot be booked now does not end the run."""
        try:
            finished = self.finish(operation)
        except OutcomeUnknown:
            return ("examined", "unresolved")
        if finished is None:
            return ()
        return ("examined", finished.state if finished.state in _REPORTED else "unresolved")

    def finish(self, operation: Operation) -> Operation | None:
        """Take an operation over and get as far with it as the bank allows.

        Returns:
            The operation as it is now; None when somebody else has it.

        Raises:
            OutcomeUnknown: the bank was asked, and what it said could not be stored.
            StorageUnavailable: the store failed before the bank was asked.
        """
        taken = take_over(operation, self._exchange.world())
        try:
            self._exchange.storage.commit(Changes(merchant_id=taken.merchant_id, records=(taken,)))
        except (Conflict, CommitUncertain):
            # After an uncertain commit nobody can say whose epoch is stored: let the lease run out.
            return None
        return self._book(taken, self._ask(taken))

    def _ask(self, taken: Operation) -> Verdict:
        if taken.state is OperationState.REVERSING:
            return _no_proof(self._exchange.reverse(taken))
        if taken.state in _WAITING:
            return _no_proof(self._exchange.inquire(taken))
        verdict = _no_proof(self._exchange.inquire(taken))
        if verdict.reason == Doubt.NOT_FOUND:
            is_safe = taken.kind.may_be_resent and self._bank_dedups(taken)
            return self._resend(taken) if is_safe else self._not_found(taken)
        if verdict.reason == taken.reason == Doubt.OTHER_AMOUNT and not taken.kind.may_be_resent:
            # Two answers in a row say so: the bank took what nobody has asked for.
            return self._reversal(Doubt.OTHER_AMOUNT)
        return verdict

    def _resend(self, taken: Operation) -> Verdict:
        subject, target = self._exchange.subject(taken), self._exchange.target(taken)
        return _no_proof(self._exchange.send(taken, subject, target=target))

    def _bank_dedups(self, taken: Operation) -> bool:
        """Whether what is sent now arrives while the bank still remembers the first one."""
        bank = self._exchange.bank.capabilities
        return self._age_s(taken) < bank.dedups_operation_id_s - bank.max_in_flight_s

    def _age_s(self, taken: Operation) -> float:
        """Seconds since the first send. Compared as a number: a bank may say "for ever".

        What was begun later than now was begun under a clock that was wrong, at any time.
        """
        age_s = (self._exchange.now() - taken.created_at).total_seconds()
        return age_s if age_s >= 0 else math.inf

    def _not_found(self, taken: Operation) -> Verdict:
        """It may be on its way: only a bank that remembers the reversal can end it for sure."""
        in_flight_s = self._exchange.bank.capabilities.max_in_flight_s
        if math.isinf(in_flight_s):
            return unclear(Doubt.NOT_FOUND)
        if self._age_s(taken) < in_flight_s:
            arrives_until = taken.created_at + timedelta(seconds=in_flight_s)
            return Verdict(
                trigger=Trigger.UNCLEAR, reason=Doubt.NOT_FOUND, next_try_at=arrives_until
            )
        if taken.kind.may_be_resent:
            return Verdict(trigger=Trigger.GIVEN_UP, reason=Doubt.NOT_FOUND)
        return self._reversal(Doubt.NOT_FOUND)

    def _reversal(self, reason: Doubt) -> Verdict:
        """Undo it, where the bank's memory makes that final; else a person has to decide."""
        if not self._exchange.bank.capabilities.reversal_remembers_unknown:
            return Verdict(trigger=Trigger.GIVEN_UP, reason=reason)
        world = self._exchange.world()
        return Verdict(
            trigger=Trigger.REVERSAL_DECIDED, reason=reason, next_try_at=world.now + world.lease
        )

    def _book(self, taken: Operation, verdict: Verdict) -> Operation | None:
        step = self._exchange.book(taken, verdict)
        if step is None:
            return None
        if verdict.trigger is Trigger.REVERSAL_DECIDED:
            # The decision is stored: from here no answer leads back to success. Now it may be sent.
            return self._book(step.operation, self._ask(step.operation))
        return step.operation


_ANY_TIME = datetime.max.replace(tzinfo=UTC)

_WAITING = frozenset({OperationState.REQUIRES_ACTION, OperationState.PENDING})

_REPORTED = frozenset(
    {
        OperationState.SUCCEEDED,
        OperationState.DECLINED,
        OperationState.ABORTED,
        OperationState.NEEDS_REVIEW,
    }
)


def _no_proof(verdict: Verdict) -> Verdict:
    """That recovery's own message never left proves nothing about the one before it."""
    if verdict.trigger is not Trigger.NOT_SENT:
        return verdict
    return evolve(verdict, trigger=Trigger.UNCLEAR)
