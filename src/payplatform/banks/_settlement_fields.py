"""What the values of a settlement report have to be, whatever its form, and how it is said if not.

Law of this file: an error names the place and the rule, and never what stands there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TypeVar

from payplatform._domain.money import Money
from payplatform._domain.settlements import settlement_id
from payplatform._domain.text import clean_text, looks_like_card_number
from payplatform.errors import ErrorCode, InvalidRequest
from payplatform.ports import SettlementReport

T = TypeVar("T")

_OPERATION: Final = re.compile(r"op_[0-7][0-9a-hjkmnp-tv-z]{25}")
_REFERENCE_LENGTH: Final = 100
_DISPUTE_LENGTH: Final = 255

MOST_MINOR: Final = 10**15
"""No amount of one line is larger, so that what a report adds up to never fails half way."""


def malformed(place: str, rule: str) -> InvalidRequest:
    """The error for a file that holds no report; `place` is such as `line 3`."""
    return InvalidRequest(
        f"{place} of the report: {rule}. Nothing was booked",
        code=ErrorCode.REPORT_MALFORMED,
        field="report",
    )


def named_operation(text: str) -> str | None:
    """The operation of ours that a text names, if it can be one."""
    return text if _OPERATION.fullmatch(text) else None


def named_dispute(text: str) -> str | None:
    """The bank's id of a dispute that a text names, if it can be one that we have been told."""
    is_told = 0 < len(text) <= _DISPUTE_LENGTH and text.isprintable()
    return text if is_told and not looks_like_card_number(text) else None


def a_reference(text: str, place: str) -> str:
    """The bank's name for a report; of one that could be a card number, what follows from it."""
    if looks_like_card_number(text):
        return settlement_id(text)
    return _kept_to(lambda: clean_text(text, field="its name", max_length=_REFERENCE_LENGTH), place)


def amount_of(text: str, currency: str, place: str) -> Money:
    """An amount that is more than nothing."""
    money = fee_of(text, currency, place)
    if not money.is_positive:
        raise malformed(place, "the amount must be more than zero")
    return money


def fee_of(text: str, currency: str, place: str) -> Money:
    """An amount that is not less than nothing."""
    money = _kept_to(lambda: Money(text, currency), place)
    if money < Money.zero(money.currency):
        raise malformed(place, "an amount must not be negative")
    if money.amount_minor > MOST_MINOR:
        raise malformed(place, f"an amount may have at most {MOST_MINOR} minor units")
    return money


def a_moment(text: str, place: str) -> datetime:
    """A time with a time zone, in UTC."""
    try:
        at = datetime.fromisoformat(text)
        return _in_utc(at)
    except (ValueError, OverflowError):
        pass
    raise malformed(place, "a time must be as in 2026-11-25T08:30:00+00:00")


def _in_utc(at: datetime) -> datetime:
    if at.utcoffset() is None:
        raise ValueError
    return at.astimezone(UTC)


def plausible(report: SettlementReport) -> SettlementReport:
    """The report, if its time is one."""
    if report.since >= report.until:
        raise malformed("line 1", "the report ends before it begins")
    return report


def _kept_to(read: Callable[[], T], place: str) -> T:
    try:
        return read()
    except InvalidRequest as error:
        rule = error.message
    raise malformed(place, rule)
