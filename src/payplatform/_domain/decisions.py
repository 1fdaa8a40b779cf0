"""May it be done, and what is written before the bank is asked? Pure: values in, `Step` out.

Every rule on what may follow what is here and in `payments`. The flow holds none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from attrs import evolve, frozen

from payplatform._domain.cards import expiry_moment
from payplatform._domain.changes import Changes, Record, Subject
from payplatform._domain.commands import Command, Verb
from payplatform._domain.events import Event
from payplatform._domain.ledger import Account, payable_minor, postings_of
from payplatform._domain.messages import BankCapabilities
from payplatform._domain.money import MAX_MINOR, Money
from payplatform._domain.operations import (
    STARTING_KINDS,
    Initiator,
    OpenOperation,
    Operation,
    OperationKind,
    OperationState,
    StoredCredential,
)
from payplatform._domain.payments import NO_CHANGE, Facts, Payment, PaymentStatus
from payplatform._domain.payouts import Payout, PayoutPlan
from payplatform._domain.records import PaymentMethod
from payplatform.errors import ErrorCode, InvalidRequest, NotAllowed

S = TypeVar("S", Payment, PaymentMethod)


@frozen(kw_only=True)
class World:
    """What a decision may know of the world: the time, fresh ids, the lease, the bank's limits."""

    now: datetime
    new_id: Callable[[str], str]
    lease: timedelta
    bank: BankCapabilities


@frozen(kw_only=True)
class Step:
    """What was decided: the changes to commit, and the values as they are once committed."""

    operation: Operation
    subject: Subject
    changes: Changes


def start_payment(command: Command, method: PaymentMethod, world: World) -> Step:
    """Decide on `charge` and `authorize`: a new payment with its first operation.

    Args:
        command: what is asked; its amount is given and positive.
        method: the card it is to be paid with.
        world: the time, ids, the lease and the bank's capabilities.

    Returns:
        The step to commit before the bank is asked.

    Raises:
        InvalidRequest: the card has expired.
        NotAllowed: the merchant initiates and the customer never agreed with this card.
    """
    _require_unexpired(method, world)
    kind = OperationKind.SALE if command.verb is Verb.CHARGE else OperationKind.AUTHORIZE
    amount = _given(command)
    operation = _operation(command, kind, amount, world, subject="pay", method=method)
    change = Facts(requested=amount.amount_minor)
    payment = Payment(
        id=operation.subject_id,
        merchant_id=command.merchant_id,
        version=1,
        currency=amount.currency,
        facts=change,
        intent=kind,
        payment_method_id=method.id,
        customer_id=method.customer_id,
        brand=method.brand,
        last4=method.last4,
        initiator=command.initiator,
        reference=command.reference,
        metadata=command.metadata,
        open_operations=(open_entry(operation),),
        latest_operation_id=operation.id,
        created_at=world.now,
        updated_at=world.now,
    )
    return _started(operation, payment, world, change=change)


def retry_payment(command: Command, payment: Payment, method: PaymentMethod, world: World) -> Step:
    """Decide on `retry`: a new attempt after a decline, or after one that never got through.

    Raises:
        InvalidRequest: the card has expired.
        NotAllowed: something is authorized or under way, or the customer never agreed.
    """
    _require_idle(payment)
    if payment.facts.authorized:
        raise _refused(payment, ErrorCode.ALREADY_AUTHORIZED, "it has been authorized already")
    _require_unexpired(method, world)
    again = evolve(command, initiator=payment.initiator)
    operation = _operation(
        again, payment.intent, payment.amount, world, subject=payment, method=method
    )
    # Known again by what was asked, which says nothing of who initiates.
    operation = evolve(operation, fingerprint=command.fingerprint)
    payment = evolve(
        payment,
        payment_method_id=method.id,
        customer_id=method.customer_id,
        brand=method.brand,
        last4=method.last4,
    )
    return _started(operation, _with_open(payment, operation, world), world)


def follow_up(command: Command, payment: Payment, world: World) -> Step:
    """Decide on `capture`, `void`, `refund`, `increment` and `resume`.

    Raises:
        InvalidRequest: the amount is in another currency than the payment.
        NotAllowed: the payment's state, its age, or the bank does not allow it.
    """
    if command.amount is not None and command.amount.currency != payment.currency:
        raise InvalidRequest(
            f"amount must be in {payment.currency}, the currency of the payment",
            code=ErrorCode.CURRENCY_MISMATCH,
            field="amount",
            payment_id=payment.id,
        )
    kind = OperationKind(command.verb)
    amount_minor = _AMOUNT_RULES[kind](command, payment, world)
    amount = Money.minor(amount_minor, payment.currency)
    operation = _operation(command, kind, amount, world, subject=payment)
    return _started(operation, _with_open(payment, operation, world), world)


def verify_method(command: Command, method: PaymentMethod, world: World) -> Step:
    """Decide on `verify`: ask the bank about a card with an amount of zero.

    Raises:
        InvalidRequest: the card has expired.
        NotAllowed: a verification is under way, or the bank cannot.
    """
    _require_unexpired(method, world)
    _require_bank(world.bank.zero_amount_verification, OperationKind.VERIFY)
    if method.open_operations:
        raise NotAllowed(
            "a verification of this payment method is under way",
            code=ErrorCode.OPERATION_OPEN,
            operation_id=method.open_operations[0].id,
        )
    operation = _operation(
        command, OperationKind.VERIFY, _given(command), world, subject=method, method=method
    )
    return _started(operation, _with_open(method, operation, world), world)


def start_payout(
    command: Command, plan: PayoutPlan, balances: Mapping[Account, int], world: World
) -> Step:
    """Decide on `payout`: set money of the merchant's balance aside, and have the bank pay it.

    Args:
        command: what is asked; its amount, or for all there is its currency, is given.
        plan: the merchant's for that currency, as stored; of version 0 where there is none.
        balances: what the merchant's accounts show in that currency, read after the plan.
        world: the time, ids, the lease and the bank's capabilities.

    Returns:
        The step to commit before the bank is asked. It raises the plan's version, so of two that
        were decided on the same balance only one is committed.

    Raises:
        NotAllowed: that much is not there, is less than the minimum, or the bank cannot.
    """
    _require_bank(world.bank.payouts, OperationKind.PAYOUT)
    amount = Money.minor(_payout_amount(command, plan, balances), plan.currency)
    operation = _operation(command, OperationKind.PAYOUT, amount, world, subject="po")
    payout = Payout(
        id=operation.subject_id,
        merchant_id=command.merchant_id,
        version=1,
        amount=amount,
        operation_id=operation.id,
        state=operation.state,
        reference=command.reference,
        created_at=world.now,
        updated_at=world.now,
    )
    event = _started_event(operation, payout, world, change=payout.facts)
    changes = Changes(
        merchant_id=command.merchant_id,
        records=(evolve(plan, version=plan.version + 1, updated_at=world.now), payout, operation),
        events=(event,),
        postings=postings_of(event, plan.currency),
    )
    return Step(operation=operation, subject=payout, changes=changes)


def _payout_amount(command: Command, plan: PayoutPlan, balances: Mapping[Account, int]) -> int:
    payable_minor = payable_of(plan, balances)
    amount_minor = payable_minor if command.amount is None else command.amount.amount_minor
    if amount_minor < plan.minimum_minor:
        raise NotAllowed(
            f"{Money.minor(amount_minor, plan.currency)} is less than {plan.minimum}, the least "
            "that is paid out",
            code=ErrorCode.AMOUNT_BELOW_MINIMUM,
        )
    if amount_minor > payable_minor:
        raise NotAllowed(
            f"at most {Money.minor(max(0, payable_minor), plan.currency)} may be paid out now",
            code=ErrorCode.AMOUNT_EXCEEDS_PAYABLE,
        )
    return amount_minor


def payable_of(plan: PayoutPlan, balances: Mapping[Account, int]) -> int:
    """What a plan lets out of these balances, in minor units; less than nothing if some is owed."""
    return payable_minor(balances) - plan.reserve_minor


def happened(
    payment: Payment,
    type_: str,
    world: World,
    *,
    amount: Money,
    change: Facts = NO_CHANGE,
    details: tuple[tuple[str, str], ...] = (),
    besides: tuple[Record, ...] = (),
) -> Changes:
    """What is written for what happens to a payment outside of any operation of ours.

    Args:
        payment: as stored.
        type_: of the event.
        world: the time and ids.
        amount: what it is about.
        change: what it adds to the payment's facts, and so to the books.
        details: what else is worth knowing, as text.
        besides: what is written with it.
    """
    payment = evolve(
        payment,
        version=payment.version + 1,
        facts=payment.facts + change,
        updated_at=world.now,
    )
    event = Event(
        id=world.new_id("evt"),
        merchant_id=payment.merchant_id,
        subject_id=payment.id,
        number=payment.version,
        type=type_,
        at=world.now,
        amount=amount,
        change=change,
        details=details,
    )
    return Changes(
        merchant_id=payment.merchant_id,
        records=(*besides, payment),
        events=(event,),
        postings=postings_of(event, payment.currency),
    )


def require_code_allowed(operation: Operation) -> None:
    """Pass when a security code may come with an operation: whoever knows it is there.

    Raises:
        InvalidRequest: the merchant initiates: `security_code_not_allowed`.
    """
    credential = operation.stored_credential
    if credential is not None and credential.initiator is Initiator.MERCHANT:
        raise security_code_not_allowed()


def security_code_not_allowed() -> InvalidRequest:
    """The error for a security code where the merchant initiates: he may not have kept one."""
    return InvalidRequest(
        "security_code is the cardholder's to give: leave it out of a merchant's charge",
        code=ErrorCode.SECURITY_CODE_NOT_ALLOWED,
        field="security_code",
    )


def is_second_start(operation: Operation, subject: Subject) -> bool:
    """Whether an operation would start a payment that another one has started already."""
    if operation.kind not in STARTING_KINDS or not isinstance(subject, Payment):
        return False
    return subject.authorization_id not in (None, operation.id)


def take_over(operation: Operation, world: World) -> Operation:
    """The operation as whoever recovers it claims it: a higher epoch, which fences off the rest."""
    lease_until = world.now + world.lease
    return evolve(
        operation,
        epoch=operation.epoch + 1,
        lease_until=lease_until,
        next_try_at=lease_until,
        attempts=operation.attempts + 1,
        updated_at=world.now,
    )


def _operation(
    command: Command,
    kind: OperationKind,
    amount: Money,
    world: World,
    *,
    subject: Payment | PaymentMethod | str,
    method: PaymentMethod | None = None,
) -> Operation:
    """The operation as it is sent; `subject` is what it is about, or the prefix of a new one."""
    lease_until = world.now + world.lease
    return Operation(
        id=world.new_id("op"),
        merchant_id=command.merchant_id,
        kind=kind,
        state=OperationState.IN_FLIGHT,
        amount=amount,
        epoch=1,
        idempotency_key=command.idempotency_key,
        fingerprint=command.fingerprint,
        target_id=_target(kind, subject) if isinstance(subject, Payment) else None,
        final=kind is OperationKind.CAPTURE and (command.final or not world.bank.multi_capture),
        stored_credential=None if method is None else _stored_credential(command, method),
        card_fingerprint=None if method is None else method.fingerprint,
        subject_id=world.new_id(subject) if isinstance(subject, str) else subject.id,
        created_at=world.now,
        updated_at=world.now,
        lease_until=lease_until,
        next_try_at=lease_until,
    )


def _started(
    operation: Operation,
    subject: Payment | PaymentMethod,
    world: World,
    *,
    change: Facts = NO_CHANGE,
) -> Step:
    event = _started_event(operation, subject, world, change=change)
    changes = Changes(
        merchant_id=operation.merchant_id, records=(subject, operation), events=(event,)
    )
    return Step(operation=operation, subject=subject, changes=changes)


def _with_open(subject: S, operation: Operation, world: World) -> S:
    """What is on file already, with one more operation under way."""
    changed: dict[str, Any] = {
        "version": subject.version + 1,
        "open_operations": (*subject.open_operations, open_entry(operation)),
        "updated_at": world.now,
    }
    if isinstance(subject, Payment):
        changed |= {"latest_operation_id": operation.id, "decline": None}
    return evolve(subject, **changed)


def _started_event(operation: Operation, subject: Subject, world: World, *, change: Facts) -> Event:
    return Event(
        id=world.new_id("evt"),
        merchant_id=operation.merchant_id,
        subject_id=subject.id,
        number=subject.version,
        type=f"{operation.kind}.started",
        at=world.now,
        operation_id=operation.id,
        amount=operation.amount,
        change=change,
    )


def open_entry(operation: Operation) -> OpenOperation:
    """What its payment keeps of an operation while it is not final."""
    return OpenOperation(
        id=operation.id,
        kind=operation.kind,
        state=operation.state,
        amount_minor=operation.amount.amount_minor,
        final=operation.final,
    )


def _stored_credential(command: Command, method: PaymentMethod) -> StoredCredential | None:
    agreed = method.network_transaction_id
    if command.initiator is Initiator.MERCHANT and agreed is None:
        raise NotAllowed(
            "a merchant may charge a stored card only after a payment with it, "
            "started by its customer, has succeeded",
            code=ErrorCode.NO_STORED_CREDENTIAL,
            field="payment_method",
        )
    if method.customer_id is None:
        return None
    return StoredCredential(
        initiator=command.initiator, first_use=agreed is None, network_transaction_id=agreed
    )


def _target(kind: OperationKind, payment: Payment) -> str | None:
    if kind in STARTING_KINDS:
        return None
    if kind is not OperationKind.RESUME:
        return payment.authorization_id
    return next(o.id for o in payment.open_operations if o.state is OperationState.REQUIRES_ACTION)


def _capture_amount(command: Command, payment: Payment, world: World) -> int:
    if payment.has_open(OperationKind.VOID):
        raise _refused(payment, ErrorCode.OPERATION_OPEN, "a void of it is under way")
    final = command.final or not world.bank.multi_capture
    if final and payment.has_open(OperationKind.CAPTURE):
        raise _refused(payment, ErrorCode.OPERATION_OPEN, "a capture of it is under way")
    if final and payment.has_open(OperationKind.INCREMENT):
        # The bank would release what the increment holds, and nobody knows yet what that is.
        raise _refused(payment, ErrorCode.OPERATION_OPEN, "an increment of it is under way")
    _require_not_expired(payment, world)
    limit = payment.capturable_minor
    if limit <= 0:
        raise _refused(payment, ErrorCode.NOT_AUTHORIZED, "nothing of it is left to capture")
    return _within(command, payment, limit, ErrorCode.AMOUNT_EXCEEDS_CAPTURABLE)


def _void_amount(command: Command, payment: Payment, world: World) -> int:
    if payment.has_open(OperationKind.CAPTURE):
        raise _refused(payment, ErrorCode.OPERATION_OPEN, "a capture of it is under way")
    _require_not_expired(payment, world)
    limit = payment.voidable_minor
    if limit <= 0:
        raise _refused(payment, ErrorCode.NOTHING_TO_VOID, "nothing of it is left to void")
    amount_minor = _within(command, payment, limit, ErrorCode.AMOUNT_EXCEEDS_VOIDABLE)
    _require_bank(amount_minor == limit or world.bank.partial_void, OperationKind.VOID, "partial ")
    return amount_minor


def _refund_amount(command: Command, payment: Payment, world: World) -> int:
    if not payment.facts.captured:
        raise _refused(payment, ErrorCode.NOT_CAPTURED, "nothing of it has been captured")
    limit = payment.refundable_minor
    if limit <= 0:
        raise _refused(
            payment, ErrorCode.AMOUNT_EXCEEDS_REFUNDABLE, "nothing of it is left to refund"
        )
    amount_minor = _within(command, payment, limit, ErrorCode.AMOUNT_EXCEEDS_REFUNDABLE)
    whole = amount_minor == payment.facts.captured
    _require_bank(whole or world.bank.partial_refund, OperationKind.REFUND, "partial ")
    return amount_minor


def _increment_amount(command: Command, payment: Payment, world: World) -> int:
    _require_bank(world.bank.increments, OperationKind.INCREMENT)
    _require_idle(payment)
    if not payment.facts.uncaptured or payment.facts.captured:
        raise _refused(
            payment, ErrorCode.NOT_AUTHORIZED, "it is not authorized, or captured already"
        )
    _require_not_expired(payment, world)
    amount_minor = _given(command).amount_minor
    if payment.facts.authorized + amount_minor > MAX_MINOR:
        raise InvalidRequest(
            "amount and what is authorized together are beyond 2^63 - 1 minor units",
            code=ErrorCode.AMOUNT_TOO_LARGE,
            field="amount",
        )
    return amount_minor


def _resume_amount(command: Command, payment: Payment, world: World) -> int:  # noqa: ARG001
    if payment.status is not PaymentStatus.REQUIRES_ACTION:
        raise _refused(payment, ErrorCode.NO_ACTION_REQUIRED, "it waits for no action")
    return sum(
        o.amount_minor for o in payment.open_operations if o.state is OperationState.REQUIRES_ACTION
    )


_AMOUNT_RULES: dict[OperationKind, Callable[[Command, Payment, World], int]] = {
    OperationKind.CAPTURE: _capture_amount,
    OperationKind.VOID: _void_amount,
    OperationKind.REFUND: _refund_amount,
    OperationKind.INCREMENT: _increment_amount,
    OperationKind.RESUME: _resume_amount,
}


def _given(command: Command) -> Money:
    if command.amount is None:
        raise InvalidRequest("amount is missing", code=ErrorCode.AMOUNT_INVALID, field="amount")
    return command.amount


def _within(command: Command, payment: Payment, limit: int, code: ErrorCode) -> int:
    amount_minor = limit if command.amount is None else command.amount.amount_minor
    if amount_minor > limit:
        most = Money.minor(limit, payment.currency)
        raise _refused(payment, code, f"at most {most} is left for a {command.verb}")
    return amount_minor


def _require_idle(payment: Payment) -> None:
    if payment.open_operations:
        noun = payment.open_operations[0].kind.noun
        raise _refused(payment, ErrorCode.OPERATION_OPEN, f"its {noun} is under way")


def _require_unexpired(method: PaymentMethod, world: World) -> None:
    if world.now >= expiry_moment(method.expiry_year, method.expiry_month):
        raise InvalidRequest(
            "payment_method is a card that has expired",
            code=ErrorCode.CARD_EXPIRED,
            field="payment_method",
        )


def _require_not_expired(payment: Payment, world: World) -> None:
    if payment.is_expired(world.now):
        raise _refused(payment, ErrorCode.AUTHORIZATION_EXPIRED, "its authorization has expired")


def _require_bank(can: bool, kind: OperationKind, qualifier: str = "") -> None:
    if not can:
        raise NotAllowed(
            f"this bank offers no {qualifier}{kind.noun}", code=ErrorCode.NOT_SUPPORTED_BY_BANK
        )


def _refused(payment: Payment, code: ErrorCode, why: str) -> NotAllowed:
    return NotAllowed(f"payment {payment.id}: {why}", code=code, payment_id=payment.id)
