"""Walks through pages by key, one page in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from payplatform._domain.audit import AuditEntry
from payplatform._domain.ledger import PlaceInBooks, Posting
from payplatform._domain.records import Merchant
from payplatform.ports import EVERY_LINE, EVERYTHING, Filter, LineFilter, R, Storage

T = TypeVar("T")
K = TypeVar("K")

PAGE = 100


def all_records(
    storage: Storage, merchant_id: str, kind: type[R], where: Filter = EVERYTHING
) -> Iterator[R]:
    """A merchant's records of a kind that match, newest first."""
    return _walk(
        lambda before: storage.page(merchant_id, kind, where, before=before, limit=PAGE),
        lambda record: record.id,
    )


def all_merchants(storage: Storage) -> Iterator[Merchant]:
    """Every merchant, newest first."""
    return _walk(
        lambda before: storage.merchants(before=before, limit=PAGE), lambda merchant: merchant.id
    )


def all_entries(storage: Storage, merchant_id: str) -> Iterator[AuditEntry]:
    """A merchant's audit trail, newest first."""
    return _walk(
        lambda before: storage.audit_entries(merchant_id, before=before, limit=PAGE),
        lambda entry: entry.id,
    )


def all_lines(
    storage: Storage, merchant_id: str, where: LineFilter = EVERY_LINE
) -> Iterator[Posting]:
    """The lines of a merchant's books that match, in the order of time."""

    def read(after: PlaceInBooks | None) -> Sequence[Posting]:
        return storage.ledger(merchant_id, where, after=after, limit=PAGE)

    return _walk(read, lambda line: line.place)


def _walk(read: Callable[[K | None], Sequence[T]], key_of: Callable[[T], K]) -> Iterator[T]:
    page = read(None)
    while page:
        yield from page
        page = read(key_of(page[-1])) if len(page) == PAGE else ()
