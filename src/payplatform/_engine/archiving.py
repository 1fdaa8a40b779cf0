"""Moves what happened to payments that are long at rest, and what vouches for it, to an archive.

Law of this file: which payments are at rest is the domain's to say, and how their events are moved
the store's. Between the two nothing is kept but a page, so it may be broken off at any point.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Protocol, cast

from attrs import evolve

from payplatform._domain.archives import ArchiveReport, is_at_rest
from payplatform._domain.audit import Chain
from payplatform._domain.disputes import Dispute
from payplatform._domain.notices import Notice
from payplatform._domain.operations import Operation
from payplatform._domain.payments import Payment
from payplatform._engine.pages import PAGE, all_merchants, all_records
from payplatform.errors import ErrorCode, StorageUnavailable
from payplatform.ports import Archiver, Filter, Storage


class _Both(Storage, Archiver, Protocol):
    """A store that can archive."""


_PROMISED: Final = ("unarchived", "archive", "archive_links")


def archive(storage: Storage, path: str, before: datetime) -> ArchiveReport:
    """Move the events of each payment that is at rest since before a time, and links from then.

    Raises:
        StorageUnavailable: `storage_settings`: the store cannot archive, or not to that file; or it
            failed, and what was moved until then is moved.
    """
    if not all(hasattr(storage, promised) for promised in _PROMISED):
        raise StorageUnavailable(
            "this store keeps everything in one place", code=ErrorCode.STORAGE_SETTINGS
        )
    archiver = cast("_Both", storage)
    # With nothing to move the file is still found to be one that can be moved to.
    done, after = archiver.archive(path, ()), ("", "")
    while page := archiver.unarchived(before, after=after, limit=PAGE):
        at_rest = [payment for payment in page if _is_at_rest(storage, payment)]
        moved = archiver.archive(path, at_rest)
        done = ArchiveReport(
            payments=done.payments + moved.payments,
            events=done.events + moved.events,
            unpublished=done.unpublished + moved.unpublished,
            at_work=done.at_work + len(page) - len(at_rest),
        )
        after = (page[-1].merchant_id, page[-1].id)
    return evolve(done, links=_archived_links(archiver, path, before))


def _archived_links(archiver: _Both, path: str, before: datetime) -> int:
    return sum(
        archiver.archive_links(path, merchant.id, chain, before)
        for merchant in all_merchants(archiver)
        for chain in Chain
    )


def _is_at_rest(storage: Storage, payment: Payment) -> bool:
    merchant_id = payment.merchant_id
    disputes = all_records(storage, merchant_id, Dispute, Filter(payment_id=payment.id))
    operations = all_records(storage, merchant_id, Operation, Filter(subject_id=payment.id))
    notices = (
        notice
        for operation in operations
        for notice in all_records(storage, merchant_id, Notice, Filter(operation_id=operation.id))
    )
    return is_at_rest(payment, disputes, notices)
