"""Checks every invariant on live data, merchant by merchant, and names what is broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attrs import frozen

from payplatform._domain.invariants import Finding, broken_in_method, broken_in_payment
from payplatform._domain.operations import Operation
from payplatform._domain.payments import Payment
from payplatform._domain.records import PaymentMethod, SealedCard
from payplatform._engine.pages import all_merchants, all_records
from payplatform.ports import Filter, Storage

_READINGS = 10


@frozen(kw_only=True)
class DoctorReport:
    """What was looked at, and every broken rule that was found."""

    merchants: int
    payments: int
    payment_methods: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is broken."""
        return not self.findings


def examine(storage: Storage) -> DoctorReport:
    """Check all there is.

    Args:
        storage: where to look; nothing is written.

    Returns:
        The report; `ok` tells whether all is well.

    Raises:
        StorageUnavailable: the store failed.
    """
    seen: Counter[str] = Counter()
    findings: list[Finding] = []
    for merchant in all_merchants(storage):
        seen["merchants"] += 1
        for payment in all_records(storage, merchant.id, Payment):
            seen["payments"] += 1
            findings += _of_payment(storage, payment)
        for method in all_records(storage, merchant.id, PaymentMethod):
            seen["payment_methods"] += 1
            findings += _of_method(storage, method)
    return DoctorReport(
        merchants=seen["merchants"],
        payments=seen["payments"],
        payment_methods=seen["payment_methods"],
        findings=tuple(findings),
    )


def _of_payment(storage: Storage, payment: Payment) -> Sequence[Finding]:
    found: Sequence[Finding] = ()
    for _ in range(_READINGS):
        found = tuple(
            broken_in_payment(
                payment,
                operations=_operations(storage, payment),
                events=storage.events(payment.merchant_id, payment.id),
                postings=storage.postings(payment.merchant_id, payment.id),
            )
        )
        # What was changed while it was being read is not broken: read it again.
        latest = storage.get(payment.merchant_id, Payment, payment.id)
        if not found or latest is None or latest.version == payment.version:
            break
        payment = latest
    return found


def _of_method(storage: Storage, method: PaymentMethod) -> Sequence[Finding]:
    found: Sequence[Finding] = ()
    for _ in range(_READINGS):
        sealed = storage.get(method.merchant_id, SealedCard, method.token)
        found = tuple(
            broken_in_method(
                method,
                operations=_operations(storage, method),
                events=storage.events(method.merchant_id, method.id),
                is_sealed=sealed is not None,
            )
        )
        latest = storage.get(method.merchant_id, PaymentMethod, method.id)
        if not found or latest is None or latest.version == method.version:
            break
        method = latest
    return found


def _operations(storage: Storage, subject: Payment | PaymentMethod) -> list[Operation]:
    where = Filter(subject_id=subject.id)
    return list(all_records(storage, subject.merchant_id, Operation, where))
