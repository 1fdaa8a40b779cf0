"""What a page of records, or of lines of the books, is to hold."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from payplatform._domain.disputes import DisputeState
from payplatform._domain.ledger import Account
from payplatform._domain.notices import NoticeState
from payplatform._domain.operations import OperationState
from payplatform._domain.payments import PaymentStatus


@frozen(kw_only=True)
class Filter:
    """Which records a page is to hold; every condition that is given must be met.

    Attributes:
        customer_id: of payments and payment methods.
        payment_method_id: of payments.
        subject_id: of operations: those whose subject it is, be it a payment or a payment method.
        payment_id: of disputes.
        bank_dispute_id: of disputes.
        statuses: of payments; empty means any.
        operation_id: of notices.
        states: of operations, notices and disputes; empty means any.
        created_from: created at this time or later.
        created_before: created before this time.
        reference: of payments, exactly.
        key_version: of sealed cards and wrapped keys.
        fingerprint_version: of payment methods.
        card_fingerprint: of operations.
        metadata: of payments: each of these pairs is among the payment's own.
    """

    customer_id: str | None = None
    payment_method_id: str | None = None
    subject_id: str | None = None
    payment_id: str | None = None
    bank_dispute_id: str | None = None
    statuses: frozenset[PaymentStatus] = frozenset()
    operation_id: str | None = None
    states: frozenset[OperationState] | frozenset[NoticeState] | frozenset[DisputeState] = (
        frozenset()
    )
    created_from: datetime | None = None
    created_before: datetime | None = None
    reference: str | None = None
    key_version: int | None = None
    fingerprint_version: int | None = None
    card_fingerprint: bytes | None = None
    metadata: tuple[tuple[str, str], ...] = ()


EVERYTHING = Filter()


@frozen(kw_only=True)
class LineFilter:
    """Which lines of the books a page is to hold; every condition that is given must be met.

    Attributes:
        account: in this account.
        subject_id: of this payment, payout or settlement report.
        since: posted at this time or later.
        until: posted before this time.
    """

    account: Account | None = None
    subject_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


EVERY_LINE = LineFilter()

EXACTLY = (
    *("customer_id", "payment_method_id", "subject_id", "operation_id", "reference"),
    *("payment_id", "bank_dispute_id"),
    *("key_version", "fingerprint_version", "card_fingerprint"),
)
"""The conditions of a filter that a record meets when its attribute of that name is equal."""
