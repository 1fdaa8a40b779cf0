"""What one commit writes: all of it or nothing, guarded by versions.

`decide` and `settle` return this and a store takes it. There is no other way to write.
"""

from __future__ import annotations

from attrs import frozen

from payplatform._domain.audit import AuditEntry
from payplatform._domain.disputes import Dispute
from payplatform._domain.events import Event
from payplatform._domain.fees import FeeSchedule
from payplatform._domain.ledger import Posting
from payplatform._domain.notices import Notice
from payplatform._domain.operations import Operation
from payplatform._domain.payments import Payment
from payplatform._domain.payouts import Payout, PayoutPlan
from payplatform._domain.records import (
    Customer,
    Merchant,
    PaymentMethod,
    SealedCard,
    WrappedKey,
)
from payplatform._domain.settlements import Settlement

Record = (
    Merchant
    | Customer
    | PaymentMethod
    | Payment
    | Operation
    | Dispute
    | Notice
    | Payout
    | PayoutPlan
    | Settlement
    | SealedCard
    | WrappedKey
    | FeeSchedule
)
"""What has an id, a merchant and a version."""

Subject = Payment | PaymentMethod | Payout
"""What an operation is about."""


@frozen(kw_only=True)
class Receipt:
    """What a caller was told of an operation, kept as it was then, for replays."""

    merchant_id: str
    operation_id: str
    subject: Subject


@frozen(kw_only=True)
class Changes:
    """One commit of one merchant.

    Attributes:
        records: each is written if the stored version is one less than its own (1: none stored).
        removed: each is deleted if the stored version equals its own.
        needed: each has to be there, its stored version equal to its own, and stays as it is.
        events: appended, and put into the outbox; (subject, number) is unique.
        postings: appended.
        receipts: at most one for each operation; a later one replaces it.
        audit: appended to the merchant's audit trail.
    """

    merchant_id: str
    records: tuple[Record, ...] = ()
    removed: tuple[Record, ...] = ()
    needed: tuple[Record, ...] = ()
    events: tuple[Event, ...] = ()
    postings: tuple[Posting, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    audit: tuple[AuditEntry, ...] = ()

    @property
    def destroys(self) -> bool:
        """Whether something has to be gone to the last trace once this is committed."""
        erased = (getattr(record, "erased_at", None) for record in self.records)
        return bool(self.removed) or any(at is not None for at in erased)
