"""Walks through pages by key, one page in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from payplatform._domain.audit import AuditEntry
from payplatform._domain.records import Merchant
from payplatform.ports import EVERYTHING, Filter, R, Storage

T = TypeVar("T")

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


def _walk(read: Callable[[str | None], Sequence[T]], id_of: Callable[[T], str]) -> Iterator[T]:
    page = read(None)
    while page:
        yield from page
        page = read(id_of(page[-1])) if len(page) == PAGE else ()
