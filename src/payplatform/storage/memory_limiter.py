"""Attempts counted in memory: for tests, and where one process is the whole shop.

Law of this file: a place is kept with the moment from which it is free again. Every call holds the
one lock.
"""

# ruff: noqa: D102  # what a method promises stands at the port

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from payplatform.ports import Quota, UsedUp

_SWEPT_AT_LEAST: Final = 1_000

_Places = dict[str, datetime]


class MemoryLimiter:
    """Counts in this process, and forgets with it. See `ports.Limiter`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counters: dict[str, _Places] = {}
        self._sweep_beyond = _SWEPT_AT_LEAST

    def take(self, attempt: str, quotas: Sequence[Quota], now: datetime) -> UsedUp | None:
        with self._lock:
            self._sweep(now)
            full = [used for q in quotas if (used := self._used_up(attempt, q, now)) is not None]
            if full:
                return max(full, key=lambda used: used.room_at)
            for quota in quotas:
                until = now + timedelta(seconds=quota.period_s)
                self._counters[quota.counter].setdefault(attempt, until)
        return None

    def give_back(self, attempt: str, counters: Sequence[str]) -> None:
        with self._lock:
            for counter in counters:
                self._counters.get(counter, {}).pop(attempt, None)

    def describe(self) -> Mapping[str, str]:
        return {"adapter": "memory"}

    def close(self) -> None:
        """Do nothing: what is counted ends with the object."""

    def _used_up(self, attempt: str, quota: Quota, now: datetime) -> UsedUp | None:
        places = _still_taken(self._counters.get(quota.counter, {}), now)
        self._counters[quota.counter] = places
        if attempt in places or len(places) < quota.most:
            return None
        return UsedUp(quota=quota, room_at=sorted(places.values())[-quota.most])

    def _sweep(self, now: datetime) -> None:
        """Drop the counters that nobody asks for any more, now and then."""
        if len(self._counters) <= self._sweep_beyond:
            return
        kept = {name: _still_taken(places, now) for name, places in self._counters.items()}
        self._counters = {name: places for name, places in kept.items() if places}
        self._sweep_beyond = max(_SWEPT_AT_LEAST, 2 * len(self._counters))


def _still_taken(places: _Places, now: datetime) -> _Places:
    return {attempt: until for attempt, until in places.items() if until > now}
