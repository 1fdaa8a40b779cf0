"""The way of a request: replay? → decide → admit → commit intent → ask the bank → book → answer.

The order is the safety. Nothing is sent before the intent is durable; nothing is told before the
outcome is; nothing that has gone to the bank is ever tried again from here. No business rule lives
in this file: `decisions` and `outcomes` have them all.
"""

from __future__ import annotations

from attrs import evolve

from payplatform._domain.audit import UNNAMED, AuditEntry, AuditKind, Caller
from payplatform._domain.cards import security_code
from payplatform._domain.changes import Subject
from payplatform._domain.commands import Command, Verb
from payplatform._domain.decisions import (
    Step,
    World,
    follow_up,
    is_second_start,
    require_code_allowed,
    retry_payment,
    start_payment,
    start_payout,
    verify_method,
)
from payplatform._domain.invariants import has_room
from payplatform._domain.messages import CardDetails
from payplatform._domain.operations import ANSWERED_STATES, Operation, OperationState, Trigger
from payplatform._domain.outcomes import as_told
from payplatform._domain.payments import Payment
from payplatform._domain.records import PaymentMethod
from payplatform._domain.replies import Verdict
from payplatform._domain.secret import Secret
from payplatform._engine.auditing import Auditing
from payplatform._engine.exchange import TRIES, Exchange, not_told
from payplatform._engine.limits import Held, Limits
from payplatform._engine.payouts import plan_and_balances
from payplatform._engine.recovery import Recovery
from payplatform._engine.registry import Registry
from payplatform._engine.vault import Vault
from payplatform.errors import (
    BankUnavailable,
    CommitUncertain,
    Conflict,
    ErrorCode,
    InvalidRequest,
    LimitExceeded,
    NotAllowed,
    NotFound,
    OutcomeUnknown,
    PayPlatformError,
    StorageUnavailable,
    VaultError,
)


class Flow:
    """Takes commands to their outcome."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        recovery: Recovery,
        registry: Registry,
        vault: Vault,
        limits: Limits,
        auditing: Auditing,
    ) -> None:
        self._exchange = exchange
        self._recovery = recovery
        self._registry = registry
        self._vault = vault
        self._limits = limits
        self._auditing = auditing
        self._storage = exchange.storage

    def run(
        self,
        command: Command,
        *,
        caller: Caller = UNNAMED,
        code: Secret | None = None,
        timeout_s: float | None = None,
    ) -> Subject:
        """Take one command to its outcome, or tell the outcome it has had.

        Args:
            command: what is asked, validated.
            caller: on whose behalf; where the card has to be opened, it is on the audit trail.
            code: the security code; dropped when this returns, and stored nowhere.
            timeout_s: how long the bank may take, in seconds; None for the default.

        Returns:
            The payment, for `verify` the payment method, for `payout` the payout, with `replayed`
            set if it was told before.

        Raises:
            NotFound: the payment or the payment method is not there.
            NotAllowed: the state, or the bank, does not allow it.
            LimitExceeded: it has been tried too often, or the card is refused.
            InvalidRequest: the amount's currency, or an expired card.
            Conflict: the key belongs to another request, or to one that is running.
            BankUnavailable: it came to nothing; no money moved, or it was given back.
            OutcomeUnknown: money may have moved.
            StorageUnavailable: nothing was sent.
            VaultError: the card could not be opened; nothing was sent.
        """
        for _ in range(TRIES):
            known = self._storage.operation_with_key(command.merchant_id, command.idempotency_key)
            if known is not None:
                return self._replay(command, known)
            try:
                step, method = self._decide(command, self._exchange.world(timeout_s))
                held = self._limits.admit(command, step.operation, method) if method else None
            except (InvalidRequest, NotAllowed, NotFound) as error:
                # What refuses it may be this very request, made by somebody else since we looked.
                if self._key_is_free(command):
                    self._note_refusal(command, error, caller)
                    raise
                continue
            used = self._use_of_card(command, step.operation, method, caller)
            card = self._open_card(step.operation, method, code, used)
            target = self._exchange.target(step.operation)
            try:
                self._storage.commit(evolve(step.changes, audit=used))
            except Conflict:
                continue
            except CommitUncertain:
                self._require_stored(step)
            return self._ask(step, target, card, timeout_s, held)
        raise Conflict("others kept changing the same payment; nothing was done")

    def resolve(self, operation: Operation, verdict: Verdict, caller: Caller) -> Operation:
        """Book what a person has found out about an operation that needs review.

        Raises:
            NotAllowed: it is not in review; or what they say cannot be beside what is booked.
            OutcomeUnknown: it could not be stored.
            StorageUnavailable: it was not allowed, and even that could not be stored.
        """
        said = self._auditing.entry(
            operation.merchant_id,
            AuditKind.RESOLVE,
            caller,
            object_id=operation.id,
            purpose=dict(verdict.details).get("reason"),
            details=(("as", verdict.trigger.removeprefix("resolved_")),),
        )
        with self._auditing.refusals(said):
            return self._resolved(operation, verdict, said)

    def _resolved(self, operation: Operation, verdict: Verdict, said: AuditEntry) -> Operation:
        if operation.state is not OperationState.NEEDS_REVIEW:
            raise _not_in_review(operation)
        self._require_room(operation, verdict)
        step = self._exchange.book(operation, verdict, audit=(said,))
        if step is None:
            raise _not_in_review(operation)
        return step.operation

    def _require_room(self, operation: Operation, verdict: Verdict) -> None:
        """What was done at the bank beside all that is booked since is for the bank to undo."""
        subject = self._exchange.subject(operation)
        step = self._exchange.settled(operation, verdict, subject)
        if step is None or verdict.trigger is not Trigger.RESOLVED_SUCCEEDED:
            return
        if is_second_start(operation, subject) or not has_room(step.subject):
            raise NotAllowed(
                f"the {operation.kind.noun} cannot stand beside what has been booked since: have "
                "the bank reverse it, then resolve it as aborted",
                code=ErrorCode.CONTRADICTS_BOOKS,
                operation_id=operation.id,
                payment_id=operation.payment_id,
            )

    def _key_is_free(self, command: Command) -> bool:
        key = command.idempotency_key
        return self._storage.operation_with_key(command.merchant_id, key) is None

    def _note_refusal(self, command: Command, error: PayPlatformError, caller: Caller) -> None:
        """What was tried too often, or with what is not there or not theirs, is on the trail."""
        if not isinstance(error, LimitExceeded | NotFound):
            return
        is_limit = isinstance(error, LimitExceeded)
        said = self._auditing.entry(
            command.merchant_id,
            AuditKind.LIMIT_REACHED if is_limit else AuditKind.ACCESS_REFUSED,
            caller,
            object_id=command.payment_id or command.payment_method_id or command.customer_id,
            purpose=str(command.verb),
        )
        self._auditing.note_refusal(said, error.code)

    def _decide(self, command: Command, world: World) -> tuple[Step, PaymentMethod | None]:
        if command.verb in (Verb.CHARGE, Verb.AUTHORIZE):
            method = self._method(command)
            return start_payment(command, method, world), method
        if command.verb is Verb.VERIFY:
            method = self._method(command)
            return verify_method(command, method, world), method
        if command.verb is Verb.PAYOUT:
            return self._payout(command, world), None
        payment = self._payment(command)
        if command.verb is Verb.RETRY:
            method = self._method(command, otherwise=payment.payment_method_id)
            return retry_payment(command, payment, method, world), method
        return follow_up(command, payment, world), None

    def _payout(self, command: Command, world: World) -> Step:
        currency = command.currency if command.amount is None else command.amount.currency
        plan, balances = plan_and_balances(
            self._storage, command.merchant_id, currency or "", world.now
        )
        return start_payout(command, plan, balances, world)

    def _payment(self, command: Command) -> Payment:
        payment = self._storage.get(command.merchant_id, Payment, command.payment_id or "")
        if payment is None:
            raise NotFound("no such payment", field="payment_id")
        return payment

    def _method(self, command: Command, otherwise: str | None = None) -> PaymentMethod:
        method_id = command.payment_method_id or self._default(command) or otherwise
        return self._registry.method(command.merchant_id, method_id or "")

    def _default(self, command: Command) -> str | None:
        if command.customer_id is None:
            return None
        customer = self._registry.customer(command.merchant_id, command.customer_id)
        if customer.default_payment_method_id is None:
            raise NotFound("the customer has no payment method", field="customer")
        return customer.default_payment_method_id

    def _use_of_card(
        self, command: Command, operation: Operation, method: PaymentMethod | None, caller: Caller
    ) -> tuple[AuditEntry, ...]:
        if method is None:
            return ()
        use = self._auditing.entry(
            command.merchant_id,
            AuditKind.KEY_USED,
            caller,
            object_id=method.id,
            purpose=str(command.verb),
            details=(("operation", operation.id),),
        )
        return (use,)

    def _open_card(
        self,
        operation: Operation,
        method: PaymentMethod | None,
        code: Secret | None,
        used: tuple[AuditEntry, ...] = (),
    ) -> CardDetails | None:
        """The card in clear, before the intent is stored: a vault that fails leaves no intent."""
        if method is None:
            return None
        try:
            card = self._vault.open_stored(operation.merchant_id, method.token, brand=method.brand)
        except VaultError as error:
            for use in used:
                self._auditing.note_failure(use, error.code)
            raise
        if card is None:
            raise NotFound("no such payment method", field="payment_method")
        if code is None:
            return card
        require_code_allowed(operation)
        return evolve(card, security_code=security_code(code.reveal(), method.brand))

    def _ask(
        self,
        step: Step,
        target: Operation | None,
        card: CardDetails | None,
        timeout_s: float | None,
        held: Held | None,
    ) -> Subject:
        verdict = self._exchange.send(
            step.operation, step.subject, target=target, card=card, timeout_s=timeout_s
        )
        booked = self._exchange.book(step.operation, verdict, step.subject)
        if booked is None:
            return self._tell_after_asking(step.operation)
        if held is not None and booked.operation.state in _NO_DECLINE:
            self._limits.let_go(held)
        if booked.operation.state in ANSWERED_STATES:
            return as_told(booked.operation, booked.subject)
        raise _trouble(booked.operation)

    def _replay(self, command: Command, known: Operation) -> Subject:
        if known.fingerprint != command.fingerprint:
            raise Conflict(
                "idempotency_key belongs to another request: use a new key for a new intent",
                code=ErrorCode.IDEMPOTENCY_KEY_REUSED,
                field="idempotency_key",
            )
        now = self._exchange.now()
        if known.is_held(now):
            raise _in_progress(known)
        if known.is_due(now) and known.state not in ANSWERED_STATES:
            self._recovery.finish(known)
            return evolve(self._tell_after_asking(known), replayed=True)
        return evolve(self._tell(known), replayed=True)

    def _tell_after_asking(self, operation: Operation) -> Subject:
        """What is stored now. If it can't be read, the bank has been asked all the same."""
        try:
            return self._tell(self._exchange.stored(operation))
        except StorageUnavailable as error:
            code = error.code
        raise not_told(operation, code)

    def _tell(self, operation: Operation) -> Subject:
        """The outcome as it was told when it was new, or the trouble that it is in."""
        if operation.state not in ANSWERED_STATES:
            raise _trouble(operation)
        subject = self._storage.receipt(operation.merchant_id, operation.id)
        if subject is None:
            raise StorageUnavailable(
                f"the receipt of operation {operation.id} is missing: run doctor()",
                code=ErrorCode.STORAGE_CORRUPT,
                operation_id=operation.id,
            )
        return subject

    def _require_stored(self, step: Step) -> None:
        """After an uncertain commit: go on only if the intent is there and is still ours."""
        operation = step.operation
        stored = self._storage.get(operation.merchant_id, Operation, operation.id)
        if stored is None:
            raise StorageUnavailable("the request could not be stored; nothing was sent")
        if stored.epoch != operation.epoch:
            raise _in_progress(stored)


_NO_DECLINE = (ANSWERED_STATES | {OperationState.ABORTED}) - {OperationState.DECLINED}


def _trouble(operation: Operation) -> Exception:
    if operation.state is OperationState.IN_FLIGHT:
        return _in_progress(operation)
    if operation.state is OperationState.ABORTED:
        sent = operation.reason != ErrorCode.NOT_SENT
        what = "came to nothing" if sent else "never reached the bank"
        code = ErrorCode.ABORTED if sent else ErrorCode.NOT_SENT
        return BankUnavailable(
            f"the {operation.kind.noun} {what}: no money moved, or it was given back. "
            "Try again with a new key",
            code=code,
            operation_id=operation.id,
            payment_id=operation.payment_id,
        )
    if operation.state is OperationState.NEEDS_REVIEW:
        return OutcomeUnknown(
            f"the {operation.kind.noun} needs a person to decide: see operations.list_unresolved()",
            code=ErrorCode.NEEDS_REVIEW,
            operation_id=operation.id,
            payment_id=operation.payment_id,
        )
    return OutcomeUnknown(
        f"the {operation.kind.noun} got no clear answer: money may have moved. "
        "Call again with the same key, or recover(); never with a new key",
        operation_id=operation.id,
        payment_id=operation.payment_id,
    )


def _in_progress(operation: Operation) -> Conflict:
    return Conflict(
        "this request is running: ask again later with the same key",
        code=ErrorCode.OPERATION_IN_PROGRESS,
        operation_id=operation.id,
        payment_id=operation.payment_id,
    )


def _not_in_review(operation: Operation) -> NotAllowed:
    return NotAllowed(
        f"operation {operation.id} needs no review, or not any more",
        code=ErrorCode.NOT_IN_REVIEW,
        operation_id=operation.id,
    )
