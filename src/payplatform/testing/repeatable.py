"""A clock that a test sets and ids that a test can foretell: same seed, same history, same bytes.

Law of this file: nothing here reads the real time or real chance.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Lock
from typing import Final

from typeid.base32 import encode

START: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)


class FakeClock:
    """A clock that stands still until it is told otherwise. Hand it in as `now=`.

    Safe to use from many threads at once.

    Example:
        ```python
        clock = FakeClock()
        pay = PayPlatform.sandbox(bank=SimulatedBank(now=clock), now=clock)
        clock.advance(days=8)  # the authorization has expired
        ```

    Args:
        at: the time it shows first, with a time zone; noon of 1 January 2026, UTC, by default.

    Raises:
        ValueError: `at` has no time zone.
    """

    def __init__(self, at: datetime = START) -> None:
        self._lock = Lock()
        self._at = _utc(at)

    def __call__(self) -> datetime:
        """The time it shows, in UTC."""
        return self._at

    def advance(
        self, by: timedelta = timedelta(0), *, seconds: float = 0, hours: float = 0, days: float = 0
    ) -> datetime:
        """Let time pass. It never goes back here: for that there is `set`.

        Args:
            by: how long, and added to it:
            seconds: so many seconds,
            hours: so many hours,
            days: so many days.

        Returns:
            The time it shows now.

        Raises:
            ValueError: time would go back.
        """
        passed = by + timedelta(seconds=seconds, hours=hours, days=days)
        if passed < timedelta(0):
            raise ValueError("advance() goes forward; set() may go back")
        with self._lock:
            self._at += passed
            return self._at

    def set(self, at: datetime) -> None:
        """Show another time, an earlier one too: clocks of real machines do go back.

        Args:
            at: with a time zone.

        Raises:
            ValueError: `at` has no time zone.
        """
        moment = _utc(at)
        with self._lock:
            self._at = moment

    def __repr__(self) -> str:
        return f"FakeClock({self._at.isoformat()})"


class SeededIds:
    """Ids as good as real ones, and the same again for the same seed. Hand it in as `new_id=`.

    Each is a TypeID over a UUID of version 7 and larger than all before it, whatever the prefix.
    Safe to use from many threads at once.

    Args:
        seed: which sequence.
    """

    def __init__(self, seed: int = 0) -> None:
        self._lock = Lock()
        # S311: nothing here is to be unguessable; it is to be repeatable.
        self._random = random.Random(seed)  # noqa: S311
        self._made = 0

    def __call__(self, prefix: str) -> str:
        """The next id with this prefix, such as `pay`."""
        with self._lock:
            self._made += 1
            number, tail = self._made, self._random.getrandbits(74)
        return f"{prefix}_{encode(_uuid7(number, tail))}"


def sequential_ids() -> Callable[[str], str]:
    """Ids for people to read: `mer_00000000000000000000000001`, then `..02`, whatever the prefix.

    Returns:
        A maker to hand in as `new_id=`. Its ids are TypeIDs by their form, each larger than all
        before it. Safe to use from many threads at once.
    """
    numbers = count(1)
    return lambda prefix: f"{prefix}_{next(numbers):026d}"


def _uuid7(number: int, tail: int) -> bytes:
    """A UUID of version 7 (RFC 9562, 5.7): milliseconds, then 12 and 62 bits that are free."""
    milliseconds = int(START.timestamp() * 1_000) + number
    bits = milliseconds << 80 | 0x7 << 76 | (tail >> 62) << 64 | 0b10 << 62 | tail & (1 << 62) - 1
    return bits.to_bytes(16, "big")


def _utc(at: datetime) -> datetime:
    if at.utcoffset() is None:
        raise ValueError("a clock shows times with a time zone")
    return at.astimezone(UTC)
