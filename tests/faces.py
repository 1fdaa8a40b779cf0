"""Both faces of the platform, for tests that are written once.

A module that is named here runs twice: on the blocking face, and on the async one in front of a
bank that is awaited.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from payplatform import PayPlatform
from payplatform.aio import AsyncPayPlatform
from payplatform.ports import Bank
from payplatform.testing import AwaitedBank, blocking

FACES = ("blocking", "async")

ON_BOTH = frozenset(
    {
        *("test_challenges", "test_declined", "test_idempotency", "test_payments"),
        *("test_payment_methods", "test_operations", "test_timeline", "test_lists"),
        *("test_disputes", "test_payouts", "test_stored_credentials", "test_capabilities"),
        *("test_isolation", "test_customers", "test_merchants"),
        *("test_ambiguity", "test_answers", "test_crashes", "test_takeovers", "test_told_truly"),
        *("test_notices", "test_storage_faults"),
    }
)

_face = FACES[0]


@contextmanager
def facing(face: str) -> Iterator[None]:
    """Let the platforms of tests be of this face."""
    global _face  # noqa: PLW0603  # the helpers that make platforms are called without a fixture
    before, _face = _face, face
    try:
        yield
    finally:
        _face = before


def platform(*, bank: Bank, **ports: Any) -> PayPlatform:
    """A platform of the face whose turn it is."""
    if _face == "blocking":
        return PayPlatform(bank=bank, **ports)
    return blocking(AsyncPayPlatform(bank=AwaitedBank(bank), **ports))
