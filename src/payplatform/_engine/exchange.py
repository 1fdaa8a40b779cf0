"""One exchange with the bank: ask once, then book what came of it under the epoch that was held.

The caller, a repeat of the call and recovery all come through here, so there is one way to ask and
one way to book. No storage transaction is open while the bank is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from attrs import evolve

from payplatform._domain.audit import AuditEntry
from payplatform._domain.changes import Changes, Subject
from payplatform._domain.decisions import Step, World
from payplatform._domain.events import Event
from payplatform._domain.fees import CHARGED_KINDS, FeeSchedule, schedule_at
from payplatform._domain.invariants import has_room, subject_kind
from payplatform._domain.messages import BankReply, CardDetails, request_for, reversal_of
from payplatform._domain.operations import (
    LATE_APPROVALS,
    Doubt,
    Operation,
    OperationKind,
    OperationState,
    Trigger,
    next_state,
)
from payplatform._domain.outcomes import contradicted, late_answer, settle
from payplatform._domain.payments import Payment
from payplatform._domain.records import PaymentMethod
from payplatform._domain.replies import Verdict, read_reply, read_reversal, unclear, was_reversed
from payplatform._engine.pages import all_records
from payplatform._engine.settings import Settings
from payplatform.errors import (
    CommitUncertain,
    Conflict,
    ErrorCode,
    NotSent,
    OutcomeUnknown,
    StorageUnavailable,
)
from payplatform.ports import Bank, Filter, Storage

TRIES = 100
"""How often a stale guard is read and decided again. Each round that we lose, somebody else wins,
so only as many callers at once on one payment could use this up."""


class Exchange:
    """Asks the bank and books the outcome."""

    def __init__(
        self,
        *,
        storage: Storage,
        bank: Bank,
        now: Callable[[], datetime],
        new_id: Callable[[str], str],
        settings: Settings,
    ) -> None:
        self.storage = storage
        self.bank = bank
        self.now = now
        self.settings = settings
        self._new_id = new_id

    def world(self, timeout_s: float | None = None) -> World:
        """What a decision made now may know."""
        timeout_s = self.settings.timeout_s if timeout_s is None else timeout_s
        return World(
            now=self.now(),
            new_id=self._new_id,
            lease=timedelta(seconds=timeout_s + self.settings.lease_margin_s),
            bank=self.bank.capabilities,
        )

    def subject(self, operation: Operation) -> Subject:
        """The payment, payment method or payout that an operation is about."""
        kind = subject_kind(operation)
        subject: Subject | None = self.storage.get(
            operation.merchant_id, kind, operation.subject_id
        )
        if subject is None:
            raise StorageUnavailable(
                f"the subject of operation {operation.id} is missing: run doctor()",
                code=ErrorCode.STORAGE_CORRUPT,
                operation_id=operation.id,
            )
        return subject

    def send(
        self,
        operation: Operation,
        subject: Subject,
        *,
        target: Operation | None,
        card: CardDetails | None = None,
        timeout_s: float | None = None,
    ) -> Verdict:
        """Send an operation's request, once, and tell what the answer means.

        Args:
            operation: as claimed by the caller.
            subject: its payment or payment method.
            target: the operation that it works on, if any.
            card: for the kinds that carry one.
            timeout_s: how long the bank may take, in seconds.
        """
        if self.now() >= operation.lease_until:
            # We were stalled. Others may have it by now, and the bank may have forgotten its id.
            return unclear(Doubt.TOO_LATE)
        reference = None if isinstance(subject, PaymentMethod) else subject.reference
        request = request_for(operation, target=target, card=card, reference=reference)
        return self._ask(operation, lambda s: self.bank.send(request, timeout_s=s), timeout_s)

    def inquire(self, operation: Operation) -> Verdict:
        """Ask what the bank knows of an operation. A bank that cannot tell knows nothing."""
        if not self.bank.capabilities.inquiry_by_operation_id:
            return unclear(Doubt.NOT_FOUND)
        merchant_id, id_ = operation.merchant_id, operation.id
        return self._ask(operation, lambda s: self.bank.inquire(merchant_id, id_, timeout_s=s))

    def reverse(self, operation: Operation) -> Verdict:
        """Ask the bank to undo an operation, seen or unseen."""
        request = reversal_of(operation)
        return self._ask(
            operation, lambda s: self.bank.send(request, timeout_s=s), read=read_reversal
        )

    def _ask(
        self,
        operation: Operation,
        call: Callable[[float], BankReply],
        timeout_s: float | None = None,
        read: Callable[[Operation, object], Verdict] = read_reply,
    ) -> Verdict:
        """Make one bank call. Whatever it raises is an answer too: an unclear one.

        Of an exception only its class is kept, since its text may hold what was sent. What is meant
        to stop the program (Ctrl-C, a cancelled task) goes on doing so once the doubt is on record.
        """
        try:
            reply = call(self.settings.timeout_s if timeout_s is None else timeout_s)
        except NotSent:
            return Verdict(trigger=Trigger.NOT_SENT, reason=ErrorCode.NOT_SENT)
        except Exception as error:  # noqa: BLE001  # any failure of a bank call is ambiguous
            return unclear(_ended_in(error))
        except BaseException as stop:
            with suppress(OutcomeUnknown):
                self.book(operation, unclear(_ended_in(stop)))
            raise
        return read(operation, reply)

    def book(
        self,
        operation: Operation,
        verdict: Verdict,
        subject: Subject | None = None,
        *,
        audit: tuple[AuditEntry, ...] = (),
    ) -> Step | None:
        """Commit what became of an operation, under the epoch that the caller holds.

        Args:
            operation: as the caller claimed it.
            verdict: what is known now.
            subject: its payment or payment method if just read; else it is read here.
            audit: what goes into the audit trail with it.

        Returns:
            The committed step, or None when somebody else has taken the operation over: then the
            answer is on record as a late one, and what is stored counts.

        Raises:
            OutcomeUnknown: the outcome could not be stored; recovery will find it out again.
        """
        try:
            return self._book(operation, verdict, subject, audit)
        except StorageUnavailable as error:
            code = error.code
        raise not_told(operation, code)

    def _book(
        self,
        operation: Operation,
        verdict: Verdict,
        subject: Subject | None,
        audit: tuple[AuditEntry, ...],
    ) -> Step | None:
        for _ in range(TRIES):
            step = self.settled(operation, verdict, subject)
            if step is None:
                return None
            subject = None
            try:
                self.storage.commit(evolve(step.changes, audit=audit) if audit else step.changes)
            except (Conflict, CommitUncertain):
                stored = self.stored(operation)
                if stored == step.operation:
                    return step
                if stored.epoch != operation.epoch:
                    self._note_late(stored, verdict)
                    return None
            else:
                return step
        raise StorageUnavailable("others kept changing the same payment")

    def settled(
        self, operation: Operation, verdict: Verdict, subject: Subject | None
    ) -> Step | None:
        """What is to be committed for a verdict, with the time of the next look.

        Args:
            operation: as the writer holds it.
            verdict: what is known now; one that is out of place in its state is taken for unclear.
            subject: its payment or payment method if just read; else it is read here.

        Returns:
            The step, or None where the state machine lists nothing for it.
        """
        world = self.world()
        subject = self.subject(operation) if subject is None else subject
        if next_state(operation.state, verdict.trigger) is None:
            verdict = unclear(Doubt.OUT_OF_PLACE)
        waiting = self.target(operation) if operation.kind is OperationKind.RESUME else None
        is_taken_back = verdict.trigger is Trigger.TAKEN_BACK
        return settle(
            operation,
            subject,
            self._scheduled(operation, verdict, world.now),
            target=waiting,
            method=self._agreeing_method(waiting or operation, subject),
            others=self._operations(subject) if is_taken_back else (),
            history=self.history(subject) if is_taken_back else (),
            fees=self._fees(operation, verdict, world.now),
            world=world,
        )

    def _agreeing_method(self, starting: Operation, subject: Subject) -> PaymentMethod | None:
        """The stored card, where this may be the first use of it that its customer agrees to."""
        credential = starting.stored_credential
        if credential is None or not credential.first_use or not isinstance(subject, Payment):
            return None
        return self.storage.get(subject.merchant_id, PaymentMethod, subject.payment_method_id)

    def _fees(self, operation: Operation, verdict: Verdict, now: datetime) -> FeeSchedule | None:
        """The schedule that counts now, where something may be charged for by it."""
        if operation.kind not in CHARGED_KINDS:
            return None
        if next_state(operation.state, verdict.trigger) is not OperationState.SUCCEEDED:
            return None
        return self.schedule(operation.merchant_id, now)

    def schedule(self, merchant_id: str, now: datetime) -> FeeSchedule | None:
        """The merchant's fee schedule that counts at a time."""
        return schedule_at(all_records(self.storage, merchant_id, FeeSchedule), now)

    def _note_late(self, stored: Operation, verdict: Verdict) -> None:
        """Put a late answer on record, and a contradiction before a person."""
        for _ in range(TRIES):
            try:
                self.storage.commit(self._late(stored, verdict))
            except Conflict:
                continue
            return

    def _late(self, operation: Operation, verdict: Verdict) -> Changes:
        subject = self.subject(operation)
        # Read after its subject: no older, so that the subject's guard keeps both.
        stored = self.stored(operation)
        if not self._is_contradicted(stored, subject, verdict):
            return late_answer(stored, subject, verdict, self.world())
        reason = LATE_APPROVALS[stored.state]
        late = Verdict(trigger=Trigger.LATE_APPROVAL, reason=reason)
        step = self.settled(stored, late, subject)
        if step is not None and has_room(step.subject):
            return step.changes
        return contradicted(stored, subject, late, self.world())

    def _is_contradicted(self, stored: Operation, subject: Subject, verdict: Verdict) -> bool:
        """Whether a late answer cannot be true together with what is stored.

        A bank that remembers reversals has undone what it approved before one: no contradiction.
        """
        if verdict.trigger is not Trigger.APPROVED:
            return False
        if stored.state is OperationState.DECLINED:
            return True
        history, bank = self.history(subject), self.bank.capabilities
        return stored.state is OperationState.ABORTED and not was_reversed(stored, history, bank)

    def history(self, subject: Subject) -> Sequence[Event]:
        """The events of a payment, or of a payment method."""
        return self.storage.events(subject.merchant_id, subject.id)

    def _operations(self, subject: Subject) -> Sequence[Operation]:
        """All operations of a payment, or of a payment method."""
        where = Filter(subject_id=subject.id)
        return tuple(all_records(self.storage, subject.merchant_id, Operation, where))

    def target(self, operation: Operation) -> Operation | None:
        """The operation that this one works on at the bank, if any."""
        if operation.target_id is None:
            return None
        return self.storage.get(operation.merchant_id, Operation, operation.target_id)

    def stored(self, operation: Operation) -> Operation:
        """The operation as it is in the store now."""
        stored = self.storage.get(operation.merchant_id, Operation, operation.id)
        if stored is None:
            raise StorageUnavailable(
                f"operation {operation.id} is missing: run doctor()",
                code=ErrorCode.STORAGE_CORRUPT,
                operation_id=operation.id,
            )
        return stored

    def _scheduled(self, operation: Operation, verdict: Verdict, now: datetime) -> Verdict:
        """The verdict with the time of the next look, or the end of patience."""
        if verdict.next_try_at is not None or verdict.trigger not in _LEAVES_OPEN:
            return verdict
        waits = self.settings.recovery_schedule_s
        if operation.attempts >= len(waits):
            reason = f"no clear answer after {operation.attempts} attempts"
            return evolve(verdict, trigger=Trigger.GIVEN_UP, reason=verdict.reason or reason)
        wait = timedelta(seconds=waits[operation.attempts] * self._jittered(operation))
        action = verdict.reply.action if verdict.reply else None
        action_over = action.expires_at if action else None
        return evolve(verdict, next_try_at=max(now + wait, action_over or now))

    def _jittered(self, operation: Operation) -> float:
        """A factor around 1, drawn from the operation's own id: a history replays to the byte."""
        seed = f"{operation.id}/{operation.attempts}".encode()
        share = int.from_bytes(hashlib.sha256(seed).digest()[:4], "big") / 2**32
        return 1 + self.settings.jitter * (2 * share - 1)


_LEAVES_OPEN = frozenset({Trigger.UNCLEAR, Trigger.LEFT_PENDING, Trigger.ACTION_REQUIRED})


def _ended_in(error: BaseException) -> str:
    return f"the bank call ended in {type(error).__name__}"


def not_told(operation: Operation, code: ErrorCode) -> OutcomeUnknown:
    """The error for an operation that the bank was asked about, when the store fails us then."""
    return OutcomeUnknown(
        f"the bank was asked, and the store failed ({code}): money may have moved. "
        "Call again with the same key, or recover(); never with a new key",
        operation_id=operation.id,
        payment_id=operation.payment_id,
    )
