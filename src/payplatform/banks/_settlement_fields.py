"""What the values of a settlement report have to be, whatever its form, and how it is said if not.

Law of this file: an error names the place and the rule, and never what stands there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from typing import Final, TypeVar

from payplatform._domain.moments import is_dated
from payplatform._domain.money import Money
from payplatform._domain.settlements import MOST_MINOR, malformed, settlement_id
from payplatform._domain.text import clean_text, looks_like_card_number
from payplatform.errors import InvalidRequest
from payplatform.ports import SettlementReport

T = TypeVar("T")

_REFERENCE_LENGTH: Final = 100


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


def a_moment(text: str, place: str, *, otherwise: tzinfo | None = None) -> datetime:
    """A time, in UTC; `otherwise` is its zone where it names none, if that is allowed."""
    with suppress(ValueError):
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=at.tzinfo or otherwise)
        if is_dated(at):
            return at.astimezone(UTC)
    raise malformed(place, "a time must be as in 2026-11-25T08:30:00+00:00, and not before 1970")


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
