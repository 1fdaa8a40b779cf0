"""What counts as a moment: a time with a time zone. Pure.

Law of this file: a time without a zone is no moment, wherever it comes from.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, TypeGuard

FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
END: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""What a bank may date lies between: years away from both, any sum with a delay is a time too."""


def is_moment(value: object) -> TypeGuard[datetime]:
    """Whether it is a time with a time zone."""
    return isinstance(value, datetime) and value.utcoffset() is not None


def is_dated(value: object) -> bool:
    """Whether it is a moment at which a bank may have booked something."""
    return is_moment(value) and FIRST <= value < END
