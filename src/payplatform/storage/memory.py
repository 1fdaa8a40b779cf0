"""A store in memory: for tests, for trying things out, and the plainest form of the contract.

Law of this file: every read and every commit holds the one lock, and a commit that fails takes back
each of its steps before it lets go of it. Values are immutable, so they go in and out as they are.
"""

# ruff: noqa: D102  # what a method promises stands at the port

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from threading import Lock
from typing import Any, Self, TypeVar, cast

from attrs import evolve

from payplatform._domain.audit import AuditEntry, Chain, ChainHead, ChainReport
from payplatform._domain.changes import Changes, Receipt, Record, Subject
from payplatform._domain.disputes import Dispute
from payplatform._domain.events import Event
from payplatform._domain.ledger import Account, PlaceInBooks, Posting
from payplatform._domain.notices import Notice
from payplatform._domain.operations import Operation
from payplatform._domain.payments import Payment
from payplatform._domain.payouts import PayoutPlan
from payplatform._domain.records import Merchant, PaymentMethod
from payplatform.errors import Conflict
from payplatform.ports import (
    EVERY_LINE,
    EVERYTHING,
    EXACTLY,
    Filter,
    Finding,
    LineFilter,
    Place,
    R,
)
from payplatform.storage._chains import (
    NO_LINK,
    Link,
    Seen,
    bodies,
    chain_of,
    head_at,
    look_through,
    marks_of,
    next_link,
)

K = TypeVar("K")
V = TypeVar("V")


class Undo:
    """Takes back what a commit has done so far, the last of it first, unless it is to stay.

    An `ExitStack` would do the same, and take longer than what is to be taken back.
    """

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def callback(self, step: Callable[..., object], *given: Any) -> None:
        """Note what takes back something that is done next, or was done just now."""
        self._steps.append((step, given))

    def pop_all(self) -> None:
        """Let all of it stay."""
        self._steps.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        while self._steps:
            step, given = self._steps.pop()
            step(*given)


class _Ids:
    """Ids of one kind. Those that come at random, as tokens do, are sorted once they are asked for.

    To put each into its place would take the longer the more there are.
    """

    __slots__ = ("_are_sorted", "_ids")

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._are_sorted = True

    def add(self, record_id: str) -> None:
        self._are_sorted = self._are_sorted and (not self._ids or self._ids[-1] < record_id)
        self._ids.append(record_id)

    def remove(self, record_id: str) -> None:
        self._ids.remove(record_id)

    def in_order(self) -> Sequence[str]:
        if not self._are_sorted:
            self._ids.sort()
            self._are_sorted = True
        return self._ids


class MemoryStorage:
    """Keeps everything in this process and nothing beyond it. See `ports.Storage`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._records: dict[type, dict[tuple[str, str], Any]] = {}
        self._ids: dict[tuple[type, str], _Ids] = {}
        self._claims: dict[tuple[Any, ...], str] = {}
        self._events: dict[tuple[str, str], dict[int, Event]] = {}
        self._postings: dict[tuple[str, str], dict[tuple[int, int], Posting]] = {}
        self._in_time: dict[str, list[PlaceInBooks]] = {}
        self._receipts: dict[tuple[str, str], Subject] = {}
        self._outbox: dict[tuple[str, str, int], Event] = {}
        self._audit: dict[str, dict[str, AuditEntry]] = {}
        self._links: dict[tuple[str, Chain], list[Link]] = {}
        self._unlinked: dict[str, deque[Changes]] = {}

    def get(self, merchant_id: str, kind: type[R], record_id: str) -> R | None:
        with self._lock:
            return self._all(kind).get((merchant_id, record_id))

    def page(
        self,
        merchant_id: str,
        kind: type[R],
        where: Filter = EVERYTHING,
        *,
        before: str | None = None,
        limit: int,
    ) -> Sequence[R]:
        with self._lock:
            found = self._newest_first(merchant_id, kind, before)
            return tuple(islice((record for record in found if _matches(record, where)), limit))

    def operation_with_key(self, merchant_id: str, idempotency_key: str) -> Operation | None:
        with self._lock:
            return self._claimant(Operation, merchant_id, idempotency_key)

    def payment_method_with(
        self, merchant_id: str, customer_id: str, fingerprints: Sequence[bytes]
    ) -> PaymentMethod | None:
        with self._lock:
            known = (
                self._claimant(PaymentMethod, merchant_id, customer_id, fingerprint)
                for fingerprint in fingerprints
            )
            return next((method for method in known if method is not None), None)

    def receipt(self, merchant_id: str, operation_id: str) -> Subject | None:
        with self._lock:
            return self._receipts.get((merchant_id, operation_id))

    def events(self, merchant_id: str, subject_id: str) -> Sequence[Event]:
        with self._lock:
            return _in_order(self._events.get((merchant_id, subject_id), {}))

    def postings(self, merchant_id: str, subject_id: str) -> Sequence[Posting]:
        with self._lock:
            return _in_order(self._postings.get((merchant_id, subject_id), {}))

    def ledger(
        self,
        merchant_id: str,
        where: LineFilter = EVERY_LINE,
        *,
        after: PlaceInBooks | None = None,
        limit: int,
    ) -> Sequence[Posting]:
        with self._lock:
            places = self._in_time.get(merchant_id, [])
            start = 0 if after is None else bisect_right(places, after)
            later = (places[at] for at in range(start, len(places)))
            lines = (self._postings[merchant_id, place.subject_id][place[2:]] for place in later)
            return tuple(islice((line for line in lines if _is_among(line, where)), limit))

    def totals(
        self, merchant_id: str, *, at: datetime | None = None
    ) -> Mapping[tuple[str, Account], int]:
        sums: Counter[tuple[str, Account]] = Counter()
        with self._lock:
            for place in self._in_time.get(merchant_id, []):
                if at is not None and place.at > at:
                    break
                line = self._postings[merchant_id, place.subject_id][place[2:]]
                sums[line.currency, line.account] += line.amount_minor
        return dict(sums)

    def merchants(self, *, before: str | None = None, limit: int) -> Sequence[Merchant]:
        with self._lock:
            everybody = self._all(Merchant).values()
            older = (m for m in everybody if before is None or m.id < before)
            return sorted(older, key=lambda merchant: merchant.id, reverse=True)[:limit]

    def due_operations(self, now: datetime, *, limit: int) -> Sequence[Operation]:
        return self._longest_due(Operation, lambda operation: operation.next_try_at, now, limit)

    def due_notices(self, now: datetime, *, limit: int) -> Sequence[Notice]:
        return self._longest_due(Notice, lambda notice: notice.next_try_at, now, limit)

    def lapsed_payments(self, now: datetime, *, limit: int) -> Sequence[Payment]:
        return self._longest_due(Payment, lambda payment: payment.lapses_at, now, limit)

    def due_disputes(self, now: datetime, *, limit: int) -> Sequence[Dispute]:
        return self._longest_due(Dispute, lambda dispute: dispute.next_look_at, now, limit)

    def due_payouts(self, now: datetime, *, limit: int) -> Sequence[PayoutPlan]:
        return self._longest_due(PayoutPlan, lambda plan: plan.next_at, now, limit)

    def outbox(self, *, limit: int) -> Sequence[Event]:
        with self._lock:
            return tuple(islice(self._outbox.values(), limit))

    def mark_published(self, event_ids: Sequence[str]) -> None:
        marked = frozenset(event_ids)
        with self._lock:
            left = {key: event for key, event in self._outbox.items() if event.id not in marked}
            self._outbox = left

    def audit_entries(
        self, merchant_id: str, *, before: str | None = None, limit: int
    ) -> Sequence[AuditEntry]:
        with self._lock:
            entries = self._audit.get(merchant_id, {})
            older = (key for key in entries if before is None or key < before)
            return [entries[key] for key in sorted(older, reverse=True)[:limit]]

    def head(self, merchant_id: str, chain: Chain) -> ChainHead:
        with self._lock:
            self._link_what_waits(merchant_id)
            return self._head(merchant_id, chain)

    def verify(
        self, merchant_id: str, chain: Chain, expected_head: ChainHead | None = None
    ) -> ChainReport:
        with self._lock:
            self._link_what_waits(merchant_id)
            return look_through(
                chain,
                merchant_id,
                links=self._links.get((merchant_id, chain), []),
                rows=self._seen(merchant_id, chain),
                kept=self._head(merchant_id, chain),
                expected=expected_head,
            )

    def count(self, kind: type[R]) -> int:
        with self._lock:
            return len(self._all(kind))

    def count_of(self, merchant_id: str, kind: type[R], where: Filter = EVERYTHING) -> int:
        with self._lock:
            found = self._newest_first(merchant_id, kind, None)
            return sum(_matches(record, where) for record in found)

    def survey(
        self, kind: type[R], *, after: tuple[str, str] = ("", ""), limit: int
    ) -> Sequence[Place]:
        with self._lock:
            later = sorted((key, record) for key, record in self._all(kind).items() if key > after)
        return [
            Place(merchant_id=merchant_id, record_id=record_id, record=record)
            for (merchant_id, record_id), record in later[:limit]
        ]

    def self_check(self) -> Sequence[Finding]:
        return ()

    def commit(self, changes: Changes) -> None:
        with self._lock, Undo() as undo:
            for record in changes.needed:
                self._stored(record)
            for record in changes.removed:
                self._remove(record, undo)
            for record in changes.records:
                self._write(record, undo)
            for event in changes.events:
                self._append(event, undo)
            for posting in changes.postings:
                self._post(posting, undo)
            for receipt in changes.receipts:
                self._keep(receipt, undo)
            for entry in changes.audit:
                self._note(entry, undo)
            self._join(changes, undo)
            undo.pop_all()

    def describe(self) -> Mapping[str, str]:
        return {"adapter": "memory"}

    def close(self) -> None:
        """Do nothing: what is kept ends with the object."""

    def _all(self, kind: type[V]) -> dict[tuple[str, str], V]:
        return self._records.setdefault(kind, {})

    def _longest_due(
        self, kind: type[R], due_at: Callable[[R], datetime | None], now: datetime, limit: int
    ) -> list[R]:
        """At most so many records whose time has come, by that time, id and merchant."""
        with self._lock:
            told = [(due_at(record), record) for record in self._all(kind).values()]
        due = [(at, r.id, r.merchant_id, r) for at, r in told if at is not None and at <= now]
        return [record for *_, record in sorted(due, key=lambda row: row[:3])[:limit]]

    def _newest_first(self, merchant_id: str, kind: type[R], before: str | None) -> Iterator[R]:
        known = self._ids.get((kind, merchant_id))
        ids = () if known is None else known.in_order()
        end = len(ids) if before is None else bisect_left(ids, before)
        records = self._all(kind)
        for at in range(end - 1, -1, -1):
            yield records[merchant_id, ids[at]]

    def _claimant(self, kind: type[R], *claim: object) -> R | None:
        merchant_id = str(claim[0])
        record_id = self._claims.get((kind, *claim))
        return None if record_id is None else self._all(kind)[merchant_id, record_id]

    def _write(self, record: Record, undo: Undo) -> None:
        kind, key = type(record), (record.merchant_id, record.id)
        stored = self._all(kind).get(key)
        if record.version != (1 if stored is None else stored.version + 1):
            raise Conflict(f"{kind.__name__} {record.id} has been changed by somebody else")
        self._release(stored, undo)
        self._claim(record, undo)
        if stored is None:
            ids = self._ids.setdefault((kind, record.merchant_id), _Ids())
            ids.add(record.id)
            undo.callback(ids.remove, record.id)
        _put(self._all(kind), key, _as_stored(record), undo)

    def _remove(self, record: Record, undo: Undo) -> None:
        kind, key = type(record), (record.merchant_id, record.id)
        self._release(self._stored(record), undo)
        ids = self._ids[kind, record.merchant_id]
        ids.remove(record.id)
        undo.callback(ids.add, record.id)
        _take(self._all(kind), key, undo)

    def _stored(self, record: Record) -> Record:
        """The record of that version."""
        kind = type(record)
        stored = self._all(kind).get((record.merchant_id, record.id))
        if stored is None or stored.version != record.version:
            raise Conflict(f"{kind.__name__} {record.id} has been changed by somebody else")
        return stored

    def _claim(self, record: Record, undo: Undo) -> None:
        for claim in _claims_of(record):
            if claim in self._claims:
                raise Conflict(f"{type(record).__name__} {record.id}: another one has its place")
            _put(self._claims, claim, record.id, undo)

    def _release(self, stored: Record | None, undo: Undo) -> None:
        for claim in () if stored is None else _claims_of(stored):
            _take(self._claims, claim, undo)

    def _append(self, event: Event, undo: Undo) -> None:
        history = self._events.setdefault((event.merchant_id, event.subject_id), {})
        if event.number in history:
            raise Conflict(f"{event.subject_id} has an event {event.number} already")
        _put(history, event.number, event, undo)
        place = (event.merchant_id, event.subject_id, event.number)
        _put(self._outbox, place, event, undo)

    def _post(self, posting: Posting, undo: Undo) -> None:
        book = self._postings.setdefault((posting.merchant_id, posting.subject_id), {})
        place = (posting.event_number, posting.line)
        if place in book:
            raise Conflict(f"{posting.subject_id} has this posting already")
        _put(book, place, posting, undo)
        places = self._in_time.setdefault(posting.merchant_id, [])
        insort(places, posting.place)
        undo.callback(places.remove, posting.place)

    def _keep(self, receipt: Receipt, undo: Undo) -> None:
        place = (receipt.merchant_id, receipt.operation_id)
        _put(self._receipts, place, _as_stored(receipt.subject), undo)

    def _note(self, entry: AuditEntry, undo: Undo) -> None:
        trail = self._audit.setdefault(entry.merchant_id, {})
        if entry.id in trail:
            raise Conflict(f"there is an audit entry {entry.id} already")
        _put(trail, entry.id, entry, undo)

    def _join(self, changes: Changes, undo: Undo) -> None:
        """Have the chains know of a commit: once they are asked for, for it will be the same then.

        What is destroyed may not wait with the commits that wrote it: then all are linked at once.
        """
        if changes.destroys:
            self._link_what_waits(changes.merchant_id)
            self._link_all(changes, undo)
        else:
            waiting = self._unlinked.setdefault(changes.merchant_id, deque())
            waiting.append(changes)
            undo.callback(waiting.pop)

    def _link_what_waits(self, merchant_id: str) -> None:
        waiting = self._unlinked.get(merchant_id)
        while waiting:
            with Undo() as undo:
                self._link_all(waiting[0], undo)
                waiting.popleft()
                undo.pop_all()

    def _link_all(self, changes: Changes, undo: Undo) -> None:
        for chain, body in bodies(marks_of(changes)):
            self._link(changes.merchant_id, chain, body, undo)

    def _link(self, merchant_id: str, chain: Chain, body: bytes, undo: Undo) -> None:
        links = self._links.setdefault((merchant_id, chain), [])
        links.append(next_link(chain, merchant_id, self._head(merchant_id, chain), body))
        undo.callback(links.pop)

    def _head(self, merchant_id: str, chain: Chain) -> ChainHead:
        links = self._links.get((merchant_id, chain))
        return head_at(links[-1]) if links else NO_LINK

    def _seen(self, merchant_id: str, chain: Chain) -> Iterator[Seen]:
        """What the rows would be, were there any: here nothing is changed but by a commit."""
        marks = (mark for mark in marks_of(self._all_of(merchant_id)) if chain_of(mark) is chain)
        return (Seen(mark, is_as_written=True) for mark in marks)

    def _all_of(self, merchant_id: str) -> Changes:
        """Everything of one merchant, as if it were to be committed."""

        def mine(kept: Iterable[Mapping[Any, Any]]) -> tuple[Any, ...]:
            everything = (value for values in kept for value in values.values())
            return tuple(value for value in everything if value.merchant_id == merchant_id)

        receipts = {
            key: Receipt(merchant_id=key[0], operation_id=key[1], subject=subject)
            for key, subject in self._receipts.items()
        }
        return Changes(
            merchant_id=merchant_id,
            records=mine(self._records.values()),
            events=mine(self._events.values()),
            postings=mine(self._postings.values()),
            receipts=mine([receipts]),
            audit=mine(self._audit.values()),
        )


def _put(mapping: dict[K, V], key: K, value: V, undo: Undo) -> None:
    if key in mapping:
        undo.callback(mapping.__setitem__, key, mapping[key])
    else:
        undo.callback(mapping.pop, key)
    mapping[key] = value


def _take(mapping: dict[K, V], key: K, undo: Undo) -> None:
    undo.callback(mapping.__setitem__, key, mapping[key])
    del mapping[key]


def _as_stored(record: V) -> V:
    if getattr(record, "replayed", False):
        return cast("V", evolve(cast("Any", record), replayed=False))
    return record


def _claims_of(record: Record) -> Iterator[tuple[Any, ...]]:
    """The places that only one record may hold."""
    if isinstance(record, Operation):
        yield Operation, record.merchant_id, record.idempotency_key
    if isinstance(record, PaymentMethod) and None not in (record.customer_id, record.fingerprint):
        yield PaymentMethod, record.merchant_id, record.customer_id, record.fingerprint
    if isinstance(record, Dispute):
        yield Dispute, record.merchant_id, record.bank_dispute_id


def _matches(record: Record, where: Filter) -> bool:
    """Whether a record meets every condition; what lacks the attribute does not meet it."""
    return all(_conditions(record, where))


def _conditions(record: Record, where: Filter) -> Iterator[bool]:
    created_at = getattr(record, "created_at", None)
    for name in EXACTLY:
        wanted = getattr(where, name)
        yield wanted is None or getattr(record, name, None) == wanted
    yield not where.statuses or getattr(record, "status", None) in where.statuses
    yield not where.states or getattr(record, "state", None) in where.states
    if where.created_from is not None:
        yield created_at is not None and created_at >= where.created_from
    if where.created_before is not None:
        yield created_at is not None and created_at < where.created_before
    yield set(where.metadata) <= set(getattr(record, "metadata", ()))


def _is_among(line: Posting, where: LineFilter) -> bool:
    return (
        where.account in (None, line.account)
        and where.subject_id in (None, line.subject_id)
        and (where.since is None or line.at >= where.since)
        and (where.until is None or line.at < where.until)
    )


def _in_order(numbered: Mapping[Any, V]) -> Sequence[V]:
    return [numbered[number] for number in sorted(numbered)]
