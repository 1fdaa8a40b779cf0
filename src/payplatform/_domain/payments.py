"""A payment is facts: integers in minor units. Its status is computed from them, never set.

Pending counts as spent: an operation reserves its amount before the bank is asked, so that two
refunds at once can never exceed one capture.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from attrs import field, fields_dict, frozen

from payplatform._domain.cards import Brand
from payplatform._domain.declines import Decline
from payplatform._domain.money import Money
from payplatform._domain.operations import (
    UNRESOLVED_STATES,
    Initiator,
    OpenOperation,
    OperationKind,
    OperationState,
)
from payplatform.errors import Declined


class PaymentStatus(StrEnum):
    """Where a payment stands; the first that matches, in this order, wins."""

    UNKNOWN = "unknown"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    DISPUTED = "disputed"
    REFUNDED = "refunded"
    PARTIALLY_REFUNDED = "partially_refunded"
    CAPTURED = "captured"
    PARTIALLY_CAPTURED = "partially_captured"
    AUTHORIZED = "authorized"
    VOIDED = "voided"
    EXPIRED = "expired"
    DECLINED = "declined"
    FAILED = "failed"
    CREATED = "created"


@frozen(kw_only=True)
class Facts:
    """Amounts in minor units. Also the change an event made to them: facts are the sum of changes.

    The last three are of what belongs to no payment: payouts and settlement reports.

    Attributes:
        disputed: what the cardholder's bank has taken back, for now or for good.
        fees: what the merchant is charged by its fee schedule.
        settled: what the acquirer has settled, before its own fees: captures less what went back.
        acquirer_fees: what the acquirer kept of it: interchange, scheme fees and its own.
        dispute_lost: how much of `disputed` is taken back for good.
        reserved: what is set aside to be paid out, and what of it was.
        paid_out: how much of `reserved` has left for the merchant's own bank.
        suspended: what the acquirer has settled and nobody knows yet what for.
    """

    requested: int = 0
    authorized: int = 0
    captured: int = 0
    voided: int = 0
    expired: int = 0
    refunded: int = 0
    disputed: int = 0
    fees: int = 0
    settled: int = 0
    acquirer_fees: int = 0
    dispute_lost: int = 0
    reserved: int = 0
    paid_out: int = 0
    suspended: int = 0

    def __add__(self, change: Facts) -> Facts:
        return Facts(**{name: getattr(self, name) + getattr(change, name) for name in _FACTS})

    def __neg__(self) -> Facts:
        return Facts(**{name: -getattr(self, name) for name in _FACTS})

    @property
    def uncaptured(self) -> int:
        """What the issuer still holds for us: authorized, and not captured, voided or expired."""
        return self.authorized - self.captured - self.voided - self.expired

    @property
    def unreturned(self) -> int:
        """What was captured and has not gone back by refund or dispute."""
        return self.captured - self.refunded - self.disputed


_FACTS = tuple(fields_dict(Facts))

NO_CHANGE = Facts()


def rebuild(changes: Iterable[Facts]) -> Facts:
    """The facts that a payment's events add up to."""
    return sum(changes, NO_CHANGE)


@frozen(kw_only=True)
class Action:
    """What the cardholder has to do before the bank decides: open `url`, then `resume`."""

    type: str
    url: str
    expires_at: datetime | None = None


@frozen(kw_only=True)
class Payment:
    """The facts about one purchase, as they were when this value was read.

    Attributes:
        version: raised by one with every committed change; also the number of its latest event.
        intent: SALE for `charge`, AUTHORIZE for `authorize`; what a retry asks for again.
        authorization_id: the operation that authorized it, which later ones name to the bank.
        expires_at: when the bank lets go of what is not captured; None if it never said.
        decline: why the bank said no, when the latest operation was declined; else None.
        card_country: where the card was issued, as the bank said when it approved (ISO 3166-1
            alpha-2); None where it did not say.
        replayed: whether this is an earlier outcome told again. Never stored, never compared.
    """

    id: str
    merchant_id: str
    version: int
    currency: str
    facts: Facts
    intent: OperationKind
    payment_method_id: str
    customer_id: str | None = None
    brand: Brand
    last4: str
    card_country: str | None = None
    initiator: Initiator = Initiator.CUSTOMER
    reference: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    open_operations: tuple[OpenOperation, ...] = ()
    latest_operation_id: str | None = None
    authorization_id: str | None = None
    expires_at: datetime | None = None
    action: Action | None = None
    decline: Decline | None = None
    created_at: datetime
    updated_at: datetime
    replayed: bool = field(default=False, eq=False)

    @property
    def status(self) -> PaymentStatus:
        """The first line of `PaymentStatus` that the facts and the open operations match."""
        return _status(self)

    @property
    def allowed_operations(self) -> frozenset[OperationKind]:
        """What may follow now, by the facts alone; the bank and the clock may still refuse."""
        return frozenset(_allowed(self))

    @property
    def amount(self) -> Money:
        """What was asked for."""
        return self._money(self.facts.requested)

    @property
    def authorized(self) -> Money:
        """What the issuer has promised in all."""
        return self._money(self.facts.authorized)

    @property
    def captured(self) -> Money:
        """What has been taken."""
        return self._money(self.facts.captured)

    @property
    def voided(self) -> Money:
        """What was let go on our word."""
        return self._money(self.facts.voided)

    @property
    def expired(self) -> Money:
        """What was let go because its time had passed."""
        return self._money(self.facts.expired)

    @property
    def refunded(self) -> Money:
        """What was given back."""
        return self._money(self.facts.refunded)

    @property
    def disputed(self) -> Money:
        """What the cardholder's bank has taken back."""
        return self._money(self.facts.disputed)

    @property
    def fees(self) -> Money:
        """What the merchant was charged for it."""
        return self._money(self.facts.fees)

    @property
    def capturable(self) -> Money:
        """What may be captured now: uncaptured, less what is under way."""
        return self._money(self.capturable_minor)

    @property
    def voidable(self) -> Money:
        """What may be voided now; nothing while a capture is under way."""
        return self._money(self.voidable_minor)

    @property
    def refundable(self) -> Money:
        """What may be refunded now: captured, less refunds made and under way, less disputes."""
        return self._money(self.refundable_minor)

    @property
    def capturable_minor(self) -> int:
        """`capturable` in minor units. A final capture under way leaves nothing."""
        if any(o.final for o in self.open_operations):
            return 0
        return self.facts.uncaptured - self.reserved_uncaptured_minor

    @property
    def voidable_minor(self) -> int:
        """`voidable` in minor units."""
        return 0 if self.has_open(OperationKind.CAPTURE) else self.capturable_minor

    @property
    def refundable_minor(self) -> int:
        """`refundable` in minor units."""
        return max(0, self.facts.unreturned - self.reserved_refunds_minor)

    @property
    def reserved_uncaptured_minor(self) -> int:
        """What captures and voids under way have reserved, in minor units."""
        return self._reserved(OperationKind.CAPTURE, OperationKind.VOID)

    @property
    def reserved_refunds_minor(self) -> int:
        """What refunds under way have reserved, in minor units."""
        return self._reserved(OperationKind.REFUND)

    def has_open(self, kind: OperationKind) -> bool:
        """Whether an operation of this kind is under way."""
        return bool(self._open(kind))

    def is_expired(self, now: datetime) -> bool:
        """Whether the bank has let go of what is still uncaptured."""
        over = self.expires_at is not None and now >= self.expires_at
        return over and self.facts.uncaptured > 0

    @property
    def lapses_at(self) -> datetime | None:
        """When what is uncaptured is to be booked as expired; None while something is under way."""
        idle = self.facts.uncaptured > 0 and not self.open_operations
        return self.expires_at if idle else None

    def raise_for_decline(self) -> Payment:
        """Return this payment, or raise where its latest operation was declined.

        Raises:
            Declined: the bank said no; `.decline` has the code, the kind and the advice.
        """
        if self.decline is not None:
            raise Declined(self.decline.message, decline=self.decline, payment_id=self.id)
        return self

    def _money(self, amount_minor: int) -> Money:
        return Money.minor(amount_minor, self.currency)

    def _open(self, *kinds: OperationKind) -> list[OpenOperation]:
        return [o for o in self.open_operations if o.kind in kinds]

    def _reserved(self, *kinds: OperationKind) -> int:
        return sum(o.amount_minor for o in self._open(*kinds))


def _status(payment: Payment) -> PaymentStatus:  # noqa: C901  # a table in order
    facts = payment.facts
    states = {o.state for o in payment.open_operations}
    if states & UNRESOLVED_STATES:
        return PaymentStatus.UNKNOWN
    if states == {OperationState.REQUIRES_ACTION}:
        return PaymentStatus.REQUIRES_ACTION
    if states:
        return PaymentStatus.PROCESSING
    if facts.disputed:
        return PaymentStatus.DISPUTED
    if facts.refunded:
        whole = facts.refunded == facts.captured
        return PaymentStatus.REFUNDED if whole else PaymentStatus.PARTIALLY_REFUNDED
    if facts.captured:
        rest = facts.uncaptured
        return PaymentStatus.PARTIALLY_CAPTURED if rest else PaymentStatus.CAPTURED
    if facts.uncaptured:
        return PaymentStatus.AUTHORIZED
    if facts.voided:
        return PaymentStatus.VOIDED
    if facts.expired:
        return PaymentStatus.EXPIRED
    if payment.decline is not None:
        return PaymentStatus.DECLINED
    return PaymentStatus.FAILED if payment.latest_operation_id else PaymentStatus.CREATED


def _allowed(payment: Payment) -> Iterable[OperationKind]:
    idle = not payment.open_operations
    if idle and not payment.facts.authorized:
        yield payment.intent
    if idle and payment.facts.uncaptured and not payment.facts.captured:
        yield OperationKind.INCREMENT
    if payment.capturable_minor > 0 and not payment.has_open(OperationKind.VOID):
        yield OperationKind.CAPTURE
    if payment.voidable_minor > 0:
        yield OperationKind.VOID
    if payment.refundable_minor > 0:
        yield OperationKind.REFUND
    if payment.status is PaymentStatus.REQUIRES_ACTION:
        yield OperationKind.RESUME
