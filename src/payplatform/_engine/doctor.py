"""Checks every invariant on live data, a page at a time, and names each row that breaks one.

Law of this file: nothing is written, and nothing is kept in memory but a page, counts and findings.
Others write meanwhile, so a finding counts only if what it is about was the same before and after
the look. What cannot be read is a finding, too, and never the end of the run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from attrs import frozen

from payplatform._domain.audit import Chain, ChainHead, ChainReport
from payplatform._domain.changes import Record, Subject
from payplatform._domain.disputes import Dispute
from payplatform._domain.events import Event
from payplatform._domain.invariants import (
    Finding,
    broken_in_customer,
    broken_in_merchant,
    broken_in_method,
    broken_in_operation,
    broken_in_payment,
    broken_in_payout,
    broken_in_settlement,
    dangling,
    row_of,
)
from payplatform._domain.operations import Operation
from payplatform._domain.payments import Payment
from payplatform._domain.payouts import Payout
from payplatform._domain.records import Customer, Merchant, PaymentMethod, SealedCard, WrappedKey
from payplatform._domain.settlements import Settlement
from payplatform._engine.pages import PAGE, all_records
from payplatform.errors import ErrorCode, InvalidRequest, StorageUnavailable
from payplatform.ports import Filter, Place, Storage

Progress = Callable[[int, int | None, str], object]
"""Told after each record: how many were looked at in this run, of how many if that is known, and
what kind of record it is."""

_READINGS: Final = 100

_POSITION: Final = re.compile(r"(?P<kind>\w+) (?P<merchant>[!-~]*) (?P<record>[!-~]*)")

_KINDS: Final[dict[str, type]] = {
    "merchants": Merchant,
    "customers": Customer,
    "payment_methods": PaymentMethod,
    "payments": Payment,
    "payouts": Payout,
    "settlements": Settlement,
}
"""What is walked through, in this order; everything else belongs to one of these."""

_REFERENCES: Final[dict[type, dict[str, type]]] = {
    Merchant: {},
    Customer: {"merchant_id": Merchant},
    PaymentMethod: {"merchant_id": Merchant, "customer_id": Customer},
    Payment: {
        "merchant_id": Merchant,
        "customer_id": Customer,
        "payment_method_id": PaymentMethod,
    },
    Settlement: {"merchant_id": Merchant},
    Payout: {"merchant_id": Merchant, "operation_id": Operation},
}
"""Fields that name another record, each with its kind."""


@frozen(kw_only=True)
class DoctorReport:
    """What was looked at, and every broken rule that was found.

    Attributes:
        archived: payments whose events are in an archive that is not here: they were not compared
            with the events.
        position: where to go on, as the next call's `after`; None when all has been looked at.
    """

    merchants: int
    customers: int
    payment_methods: int
    payments: int
    payouts: int
    settlements: int
    archived: int = 0
    findings: tuple[Finding, ...]
    position: str | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing that was looked at is broken."""
        return not self.findings

    @property
    def is_complete(self) -> bool:
        """Whether this was all there is, or the last part of it."""
        return self.position is None


def examine(
    storage: Storage,
    *,
    after: str | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> DoctorReport:
    """Check all there is, or the next part of it.

    Args:
        storage: where to look; nothing is written.
        after: the position that an earlier report ended at; None to begin, also with what the
            store finds wrong with itself.
        limit: how many records to look at, at most; None for all.
        progress: told after each record.

    Returns:
        The report.

    Raises:
        InvalidRequest: `after` is no report's position.
        StorageUnavailable: the store failed.
    """
    start = ("merchants", "", "") if after is None else _parsed(after)
    findings = [] if after else list(storage.self_check())
    known = after is None and limit is None and progress is not None
    total = sum(storage.count(kind) for kind in _KINDS.values()) if known else None
    seen: Counter[str] = Counter()
    position = after or ""
    walk = _walk(storage, *start)
    for done, step in enumerate(islice(walk, limit), start=1):
        name, place, position = step
        seen[name] += bool(place.record_id)
        try:
            for finding in _findings_at(storage, name, place):
                findings.append(finding)
        except StorageUnavailable as error:
            if error.code is not ErrorCode.EVENTS_ARCHIVED:
                raise
            seen["archived"] += 1
        if progress is not None:
            progress(done, total, name)
    return DoctorReport(
        **{name: seen[name] for name in (*_KINDS, "archived")},
        findings=tuple(findings),
        position=None if next(walk, None) is None else position,
    )


def _parsed(position: str) -> tuple[str, str, str]:
    if not isinstance(position, str):
        raise InvalidRequest(
            "after must be text, the position of a report",
            code=ErrorCode.TYPE_INVALID,
            field="after",
        )
    found = _POSITION.fullmatch(position)
    if found is None or found["kind"] not in _KINDS:
        raise InvalidRequest(
            "after must be the position of a report", code=ErrorCode.VALUE_INVALID, field="after"
        )
    return found["kind"], found["merchant"], found["record"]


def _walk(
    storage: Storage, first: str, merchant_id: str, record_id: str
) -> Iterator[tuple[str, Place, str]]:
    """Every place of every kind, each with the position after it.

    A list that cannot be read is a place, too, and after it comes the next list.
    """
    after = (merchant_id, record_id)
    names = list(_KINDS)
    for at in range(names.index(first), len(names)):
        name = names[at]
        try:
            while page := storage.survey(_KINDS[name], after=after, limit=PAGE):
                for place in page:
                    after = (place.merchant_id, place.record_id)
                    yield name, place, " ".join((name, *after))
        except StorageUnavailable as error:
            following = names[at + 1 :] or [name]
            yield name, _unreadable_list(error), f"{following[0]}  "
        after = ("", "")


def _require_damage(error: StorageUnavailable) -> None:
    """Pass where what is stored cannot be read; a store that fails otherwise ends the run."""
    if error.code is not ErrorCode.STORAGE_CORRUPT:
        raise error


def _unreadable_list(error: StorageUnavailable) -> Place:
    _require_damage(error)
    damage = f"the rest of these cannot be listed: {error.message}"
    return Place(merchant_id="", record_id="", record=None, damage=damage)


def _findings_at(storage: Storage, name: str, place: Place) -> Iterator[Finding]:
    def found(rule: str, text: str) -> Finding:
        return Finding(
            merchant_id=place.merchant_id,
            record_id=place.record_id,
            row=row_of(_KINDS[name], place.record_id),
            rule=rule,
            text=text,
        )

    if place.damage is not None:
        yield found("unreadable" if place.record is None else "stored_form", place.damage)
    if place.record is None:
        return
    try:
        yield from _settled(storage, place.record)
    except StorageUnavailable as error:
        _require_damage(error)
        yield found("unreadable", error.message)


def _settled(storage: Storage, record: Any) -> Iterable[Finding]:
    """What is broken in a record that was the same before and after it was looked at.

    One that changes at every look, a hundred times in a row, is left to the next run.
    """
    for _ in range(_READINGS):
        found = tuple(_broken(storage, record))
        try:
            latest = storage.get(record.merchant_id, type(record), record.id) if found else record
        except StorageUnavailable as error:
            # A row that is not what was written is shown in a survey, and nowhere else.
            _require_damage(error)
            return found
        if latest == record or latest is None:
            return found
        record = latest
    return ()


def _broken(storage: Storage, record: Record) -> Iterator[Finding]:
    yield from dangling(record, _dangling_fields(storage, record))
    match record:
        case Merchant():
            keys = list(all_records(storage, record.id, WrappedKey))
            yield from broken_in_merchant(record, keys)
            for chain in Chain:
                yield from _broken_chain(storage, record.id, chain)
        case Customer():
            default_id = record.default_payment_method_id or ""
            default = storage.get(record.merchant_id, PaymentMethod, default_id)
            yield from broken_in_customer(record, default)
        case PaymentMethod():
            yield from _broken_in_method(storage, record)
        case Payment() | Payout():
            yield from _broken_in_books(storage, record)
        case Settlement():
            events = storage.events(record.merchant_id, record.id)
            postings = storage.postings(record.merchant_id, record.id)
            yield from broken_in_settlement(record, events=events, postings=postings)


def _broken_chain(storage: Storage, merchant_id: str, chain: Chain) -> Iterator[Finding]:
    try:
        report = storage.verify(merchant_id, chain)
    except StorageUnavailable as error:
        _require_damage(error)
        report = ChainReport(
            head=ChainHead(), row="chain", text=f"it cannot be read to its end: {error.message}"
        )
    if report.text is not None:
        yield Finding(
            merchant_id=merchant_id,
            record_id=merchant_id,
            row=f"{chain} {report.row}",
            rule="chain",
            text=report.text,
        )


def _dangling_fields(storage: Storage, record: Record) -> Iterator[str]:
    for field, kind in _REFERENCES[type(record)].items():
        named = getattr(record, field)
        if named is not None and not _is_there(storage, record.merchant_id, kind, named):
            yield field


def _is_there(storage: Storage, merchant_id: str, kind: type, record_id: str) -> bool:
    """What is there and cannot be read is a finding of its own, and none of each that names it."""
    try:
        return storage.get(merchant_id, kind, record_id) is not None
    except StorageUnavailable as error:
        _require_damage(error)
    return True


def _broken_in_method(storage: Storage, method: PaymentMethod) -> Iterator[Finding]:
    sealed = storage.get(method.merchant_id, SealedCard, method.token)
    operations = _operations(storage, method)
    events = storage.events(method.merchant_id, method.id)
    yield from broken_in_method(
        method, operations=operations, events=events, is_sealed=sealed is not None
    )
    yield from _broken_in_operations(storage, method, operations, events)


def _broken_in_books(storage: Storage, subject: Payment | Payout) -> Iterator[Finding]:
    """What is broken in something whose events have postings: they are made anew and compared."""
    operations = _operations(storage, subject)
    events = storage.events(subject.merchant_id, subject.id)
    postings = storage.postings(subject.merchant_id, subject.id)
    if isinstance(subject, Payment):
        disputes = _disputes(storage, subject)
        found = broken_in_payment(
            subject, operations=operations, events=events, postings=postings, disputes=disputes
        )
    else:
        found = broken_in_payout(subject, operations=operations, events=events, postings=postings)
    yield from found
    yield from _broken_in_operations(storage, subject, operations, events)


def _disputes(storage: Storage, payment: Payment) -> list[Dispute]:
    where = Filter(payment_id=payment.id)
    return list(all_records(storage, payment.merchant_id, Dispute, where))


def _broken_in_operations(
    storage: Storage, subject: Subject, operations: Sequence[Operation], events: Sequence[Event]
) -> Iterator[Finding]:
    for operation in operations:
        merchant_id, key = operation.merchant_id, operation.idempotency_key
        yield from broken_in_operation(
            operation,
            subject,
            events=events,
            receipt=storage.receipt(merchant_id, operation.id),
            claimant=storage.operation_with_key(merchant_id, key),
        )


def _operations(storage: Storage, subject: Subject) -> list[Operation]:
    where = Filter(subject_id=subject.id)
    return list(all_records(storage, subject.merchant_id, Operation, where))
