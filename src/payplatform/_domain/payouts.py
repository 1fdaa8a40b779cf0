"""What a merchant is paid out, when, and what of it has to stay. Pure.

A payout is one operation at the bank, so it stands where its operation stands, and what it does to
the books follows from that alone. While its outcome is open the amount is set aside.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from attrs import evolve, field, frozen

from payplatform._domain.declines import Decline
from payplatform._domain.money import Money
from payplatform._domain.operations import (
    UNRESOLVED_STATES,
    OpenOperation,
    OperationKind,
    OperationState,
)
from payplatform._domain.payments import NO_CHANGE, Facts


class PayoutStatus(StrEnum):
    """Where a payout stands."""

    UNKNOWN = "unknown"
    PROCESSING = "processing"
    PAID = "paid"
    FAILED = "failed"
    RETURNED = "returned"


_OVER = {
    OperationState.SUCCEEDED: PayoutStatus.PAID,
    OperationState.DECLINED: PayoutStatus.FAILED,
    OperationState.ABORTED: PayoutStatus.FAILED,
    OperationState.REVERSED: PayoutStatus.RETURNED,
    **dict.fromkeys(UNRESOLVED_STATES, PayoutStatus.UNKNOWN),
}


@frozen(kw_only=True)
class Payout:
    """Money on its way from the platform to a merchant's own bank, as it was when it was read.

    Attributes:
        version: raised by one with every committed change; also the number of its latest event.
        operation_id: the one request to the bank.
        state: where that operation stands.
        reference: what the merchant finds on the statement of its own bank.
        decline: why the bank said no, when it did.
        replayed: whether this is an earlier outcome told again. Never stored, never compared.
    """

    id: str
    merchant_id: str
    version: int
    amount: Money
    operation_id: str
    state: OperationState
    reference: str | None = None
    decline: Decline | None = None
    created_at: datetime
    updated_at: datetime
    replayed: bool = field(default=False, eq=False)

    @property
    def status(self) -> PayoutStatus:
        """What its operation's state means for the money."""
        return _OVER.get(self.state, PayoutStatus.PROCESSING)

    @property
    def facts(self) -> Facts:
        """What it has done to the books in all."""
        amount = self.amount.amount_minor
        if self.status in (PayoutStatus.FAILED, PayoutStatus.RETURNED):
            return NO_CHANGE
        return Facts(reserved=amount, paid_out=amount if self.status is PayoutStatus.PAID else 0)

    @property
    def open_operations(self) -> tuple[OpenOperation, ...]:
        """Its operation, until that is final."""
        if self.state.is_final:
            return ()
        entry = OpenOperation(
            id=self.operation_id,
            kind=OperationKind.PAYOUT,
            state=self.state,
            amount_minor=self.amount.amount_minor,
        )
        return (entry,)


class PayoutInterval(StrEnum):
    """How often a merchant is paid out without being asked."""

    MANUAL = "manual"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


LAST_DAY = 28
"""The latest day of a month that a monthly payout may fall on: every month has it."""


@frozen(kw_only=True)
class PayoutPlan:
    """When a merchant is paid out in one currency, and how much of its balance stays.

    Every payout in the currency raises its version, so that two at once never pay the same money.

    Attributes:
        id: the currency.
        minimum_minor: less than that is not paid out, in minor units.
        reserve_minor: so much of the balance always stays, in minor units.
        next_at: when the next payout is due; None when only asked for.
    """

    id: str
    merchant_id: str
    version: int
    interval: PayoutInterval = PayoutInterval.MANUAL
    minimum_minor: int = 1
    reserve_minor: int = 0
    next_at: datetime | None = None
    created_at: datetime
    updated_at: datetime

    @property
    def currency(self) -> str:
        """The one that it is for."""
        return self.id

    @property
    def minimum(self) -> Money:
        """Less than that is not paid out."""
        return Money.minor(self.minimum_minor, self.id)

    @property
    def reserve(self) -> Money:
        """So much of the balance always stays."""
        return Money.minor(self.reserve_minor, self.id)

    def is_due(self, now: datetime) -> bool:
        """Whether a payout is to be made now without being asked for."""
        return self.next_at is not None and self.next_at <= now

    def after(self, now: datetime) -> PayoutPlan:
        """The plan with the first time after now that it comes round; what was missed is over."""
        due = self.next_at
        while due is not None and due <= now:
            due = _following(due, self.interval)
        return evolve(self, version=self.version + 1, next_at=due, updated_at=now)


def _following(due: datetime, interval: PayoutInterval) -> datetime | None:
    match interval:
        case PayoutInterval.DAILY:
            return due + timedelta(days=1)
        case PayoutInterval.WEEKLY:
            return due + timedelta(days=7)
        case PayoutInterval.MONTHLY:
            year, month = divmod(due.year * 12 + due.month, 12)
            return due.replace(year=year, month=month + 1)
        case PayoutInterval.MANUAL:
            return None
