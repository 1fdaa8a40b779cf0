"""What a merchant is charged: its fee schedules, each kept for ever, one of which counts now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from payplatform._domain.changes import Changes
from payplatform._domain.fees import FeeRate, FeeSchedule
from payplatform._engine.pages import all_records
from payplatform._engine.registry import Registry
from payplatform.errors import CommitUncertain, ErrorCode, InvalidRequest
from payplatform.ports import Storage


class Pricing:
    """Keeps the fee schedules of merchants."""

    def __init__(
        self,
        *,
        storage: Storage,
        registry: Registry,
        now: Callable[[], datetime],
        new_id: Callable[[str], str],
    ) -> None:
        self._storage = storage
        self._registry = registry
        self._now = now
        self._new_id = new_id

    def set(
        self, merchant_id: str, rates: tuple[FeeRate, ...], counts_from: datetime | None
    ) -> FeeSchedule:
        """Add a schedule; those before it stay, and count until it begins to.

        Raises:
            NotFound: there is no such merchant.
            InvalidRequest: it is to count from a time that is over.
            StorageUnavailable: the store failed.
        """
        self._registry.merchant(merchant_id)
        now = self._now()
        if counts_from is not None and counts_from < now:
            raise InvalidRequest(
                "counts_from must not be over: what has been charged since stays as it is",
                code=ErrorCode.VALUE_INVALID,
                field="counts_from",
            )
        schedule = FeeSchedule(
            id=self._new_id("fee"),
            merchant_id=merchant_id,
            counts_from=counts_from or now,
            rates=rates,
            created_at=now,
        )
        try:
            self._storage.commit(Changes(merchant_id=merchant_id, records=(schedule,)))
        except CommitUncertain:
            if self._storage.get(merchant_id, FeeSchedule, schedule.id) is None:
                raise
        return schedule

    def schedules(self, merchant_id: str) -> Iterator[FeeSchedule]:
        """The merchant's schedules, newest first.

        Raises:
            NotFound: there is no such merchant.
        """
        self._registry.merchant(merchant_id)
        return all_records(self._storage, merchant_id, FeeSchedule)
