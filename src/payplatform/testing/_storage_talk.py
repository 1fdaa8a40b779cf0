"""Talking to a store in tests: who asks, what is written, how everything is read back.

Law of this file: nothing here knows one store from another.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from typing import Any, Final

import pytest
from attrs import evolve
from hypothesis import HealthCheck, settings

from payplatform._domain.audit import Chain
from payplatform._domain.changes import Changes
from payplatform._domain.events import Event
from payplatform._domain.ledger import PlaceInBooks, Posting
from payplatform._domain.operations import Operation
from payplatform._domain.payments import Facts, Payment
from payplatform._domain.records import Customer, Merchant, PaymentMethod
from payplatform.errors import Conflict, ErrorCode
from payplatform.ports import Filter, LineFilter, Storage
from payplatform.testing._records import EXAMPLES, NOW, SECOND, a_method, an_id

MINE: Final = an_id(Merchant, 1)
OTHER: Final = an_id(Merchant, 2)
KINDS: Final = tuple(EXAMPLES)
EACH_KIND: Final = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
EXPIRING: Final = Facts(requested=10, authorized=10)

# One store serves all examples of a test: each uses a merchant of its own.
examples: Final = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.differing_executors,
        HealthCheck.too_slow,
    ],
)
_fresh: Final = count(1)


def a_fresh_merchant_id() -> str:
    """The id of a merchant that no test has used yet."""
    return f"mer_fresh{next(_fresh):021d}"


def write(storage: Storage, *records: Any, **rest: Any) -> None:
    """Commit records of one merchant, and what else `Changes` may hold."""
    storage.commit(Changes(merchant_id=records[0].merchant_id, records=records, **rest))


def refuse(storage: Storage, changes: Changes) -> None:
    """Commit what must be refused because something is stale or taken."""
    with pytest.raises(Conflict) as refused:
        storage.commit(changes)
    assert refused.value.code is ErrorCode.VERSION_CONFLICT


def walk(storage: Storage, kind: type, where: Filter, size: int) -> Iterator[Any]:
    """All that matches, a page at a time."""
    before: str | None = None
    for _ in range(100):
        page = storage.page(MINE, kind, where, before=before, limit=size)
        assert len(page) <= size
        if not page:
            return
        yield from page
        before = page[-1].id
    raise AssertionError("a hundred pages, and still no end")


def walk_books(storage: Storage, where: LineFilter, size: int) -> Iterator[Posting]:
    """All lines that match, a page at a time."""
    after: PlaceInBooks | None = None
    for _ in range(100):
        page = storage.ledger(MINE, where, after=after, limit=size)
        assert len(page) <= size
        if not page:
            return
        yield from page
        after = page[-1].place
    raise AssertionError("a hundred pages, and still no end")


def changes_of(*records: Any) -> Changes:
    return Changes(merchant_id=MINE, records=records)


def tell(storage: Storage, *events: Event) -> None:
    storage.commit(Changes(merchant_id=events[0].merchant_id, events=events))


def guard_of(kind: type) -> str:
    return "epoch" if kind is Operation else "version"


def method_with(
    storage: Storage, *fingerprints: bytes | None, customer: int = 1, merchant_id: str = MINE
) -> PaymentMethod | None:
    given = [fingerprint for fingerprint in fingerprints if fingerprint is not None]
    return storage.payment_method_with(merchant_id, an_id(Customer, customer), given)


def all_of_mine(storage: Storage) -> list[Any]:
    """Everything there may be of the first merchant in these tests, by every way to it."""
    fingerprints = [a_method(MINE, number).fingerprint for number in (1, 2, 3)]
    return [
        *(list(storage.page(MINE, kind, limit=99)) for kind in KINDS),
        *(storage.operation_with_key(MINE, f"key-{number}") for number in (1, 2, 3)),
        *(method_with(storage, fingerprint) for fingerprint in fingerprints),
        *(storage.receipt(MINE, key) for key in ("op_1", an_id(Operation, 1))),
        list(storage.events(MINE, an_id(Payment, 1))),
        list(storage.postings(MINE, an_id(Payment, 1))),
        list(storage.ledger(MINE, limit=99)),
        dict(storage.totals(MINE)),
        list(storage.outbox(limit=99)),
        list(storage.audit_entries(MINE, limit=99)),
        *(storage.head(MINE, chain) for chain in Chain),
        list(storage.due_operations(NOW + 99 * SECOND, limit=99)),
        list(storage.due_notices(NOW + 99 * SECOND, limit=99)),
        list(storage.due_disputes(NOW + 99 * SECOND, limit=99)),
        list(storage.due_payouts(NOW + 99 * SECOND, limit=99)),
    ]


def raise_version(storage: Storage) -> None:
    payment = storage.get(MINE, Payment, an_id(Payment, 1))
    assert payment is not None
    write(storage, evolve(payment, version=payment.version + 1))


def until_it_fits(change: Callable[[], None]) -> None:
    for _ in range(1000):
        with suppress(Conflict):
            change()
            return
    raise AssertionError("a thousand tries, and others were always first")


def at_once(tasks: Sequence[Callable[[], None]]) -> None:
    """Run each in a thread of its own, from the same moment on, with as many switches as can be."""
    start = threading.Barrier(len(tasks))

    def run(task: Callable[[], None]) -> None:
        start.wait(timeout=30)
        task()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(tasks)) as threads:
            for done in [threads.submit(run, task) for task in tasks]:
                done.result(timeout=60)
    finally:
        sys.setswitchinterval(interval)
