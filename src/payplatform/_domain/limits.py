"""How often is too often: limits against card testing, and what the card networks allow. Pure.

Law of this file: a rule is data, made and checked here; who counts is somebody else's business.

**Limits** keep a thief from trying stolen cards at a shop. The defaults count what an honest shop
has little of, declines and different cards, and never attempts, so that no busy day is refused.
None of them is for a whole merchant: whoever could use that one up could close the shop.

**Retry rules** are the card networks' own, for attempts after a decline. A network counts the same
card, amount and currency at one merchant, and charges a fee for each attempt beyond. Read on
2026-11-25:

- Visa, 15 in 30 days, and none after a response of its category 1 (Checkout.com, "When can I retry
  a declined transaction"; Payway, "Visa Excessive Reattempts Rule & Fees"). Since 2025-05-19 it is
  20 (the former; Cielo, "New limit for Visa retries"): the lower one stands until you raise it.
- Mastercard, 35 in 30 days, and none after advice 03 or 21 (Braintree, "Mastercard Networks", 2023;
  TabaPay, "Excessive Retry Rules"). Some acquirers tell of 10 in 24 hours besides, whatever the
  amount: the limit on a card's declines below says the same, for every brand.

Visa speaks of attempts after the first one. Here the first decline counts too: one fewer, never one
too many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from attrs import field, frozen

from payplatform._domain.brands import Brand
from payplatform._domain.declines import DeclineKind
from payplatform._domain.operations import Operation
from payplatform._domain.text import one_of
from payplatform.errors import ErrorCode, InvalidRequest

DAY_S: Final = 86_400.0
_LONGEST_PERIOD_S: Final = 366 * DAY_S
_MOST: Final = 1_000_000


class Per(StrEnum):
    """Whose attempts are counted together, at one merchant."""

    MERCHANT = "merchant"
    CARD = "card"
    CUSTOMER = "customer"
    ORIGIN = "origin"


class Counted(StrEnum):
    """What is counted.

    `attempts`: calls of `charge`, `authorize`, `retry` and `verify`. `declines`: those of them that
    were declined, or may yet be: under way, or without a clear answer. `cards`: different cards
    that were stored.
    """

    ATTEMPTS = "attempts"
    DECLINES = "declines"
    CARDS = "cards"


def _a_per(value: Any) -> Per:
    return one_of(Per, value, field="per")


def _a_counted(value: Any) -> Counted:
    return one_of(Counted, value, field="counted")


def _a_brand(value: Any) -> Brand:
    return one_of(Brand, value, field="brand")


def _require_count(most: object, period_s: object) -> None:
    if isinstance(most, bool) or not isinstance(most, int):
        raise _wrong("most", "must be a whole number", ErrorCode.TYPE_INVALID)
    if not 1 <= most <= _MOST:
        raise _wrong("most", f"must be from 1 to {_MOST}", ErrorCode.VALUE_INVALID)
    if isinstance(period_s, bool) or not isinstance(period_s, int | float):
        raise _wrong("period_s", "must be a number of seconds", ErrorCode.TYPE_INVALID)
    if not 1 <= period_s <= _LONGEST_PERIOD_S:
        raise _wrong("period_s", "must be from 1 second to 366 days", ErrorCode.VALUE_INVALID)


def _wrong(name: str, rule: str, code: ErrorCode) -> InvalidRequest:
    return InvalidRequest(f"{name} {rule}", code=code, field=name)


@frozen(kw_only=True)
class Limit:
    """At most so many in any stretch of that length; beyond, the bank is not asked.

    Attributes:
        per: whose are counted together: "merchant", "card", "customer" or "origin".
        counted: "attempts", "declines" or "cards".
        most: how many there may be, from 1 to 1,000,000.
        period_s: for how long each counts, in seconds, at most 366 days.

    Raises:
        InvalidRequest: `type_invalid` or `value_invalid`: an attribute breaks its rule, or it is
            about how many cards one card is.
    """

    per: Per = field(converter=_a_per)
    counted: Counted = field(converter=_a_counted)
    most: int
    period_s: float

    def __attrs_post_init__(self) -> None:
        _require_count(self.most, self.period_s)
        if (self.per, self.counted) == (Per.CARD, Counted.CARDS):
            raise _wrong("counted", "must not be cards where per is card", ErrorCode.VALUE_INVALID)


@frozen(kw_only=True)
class RetryRule:
    """How often a card network lets a declined payment be tried: same card, amount and currency.

    Attributes:
        brand: of the cards that it is about.
        most: how many declined attempts there may be.
        period_s: for how long each counts, in seconds.

    Raises:
        InvalidRequest: `type_invalid` or `value_invalid`: an attribute breaks its rule.
    """

    brand: Brand = field(converter=_a_brand)
    most: int
    period_s: float = 30 * DAY_S

    def __attrs_post_init__(self) -> None:
        _require_count(self.most, self.period_s)


LIMITS: Final = (
    Limit(per=Per.CARD, counted=Counted.DECLINES, most=10, period_s=DAY_S),
    Limit(per=Per.CUSTOMER, counted=Counted.DECLINES, most=20, period_s=DAY_S),
    Limit(per=Per.CUSTOMER, counted=Counted.CARDS, most=20, period_s=DAY_S),
    Limit(per=Per.ORIGIN, counted=Counted.DECLINES, most=20, period_s=3_600.0),
    Limit(per=Per.ORIGIN, counted=Counted.CARDS, most=20, period_s=3_600.0),
)
"""What counts unless the settings say otherwise."""

RETRY_RULES: Final = (
    RetryRule(brand=Brand.VISA, most=15),
    RetryRule(brand=Brand.MASTERCARD, most=35),
)
"""What the networks allow; sources and date are above."""


@frozen(kw_only=True)
class Refusal:
    """Why an attempt is not made, and how long that will be so; None where no waiting helps."""

    code: ErrorCode
    why: str
    retry_after: timedelta | None = None


_HARD: Final = Refusal(
    code=ErrorCode.CARD_REFUSED_FOR_GOOD,
    why="the bank has said that this card is never to be tried again",
)


def forbidden_by_network(
    attempt: Operation,
    brand: Brand,
    declined: Iterable[Operation],
    rules: Sequence[RetryRule],
    *,
    hard_is_final: bool,
) -> Refusal | None:
    """Why the card network does not want this attempt, if it does not.

    Args:
        attempt: what is about to be asked.
        brand: of its card.
        declined: the declined operations with the same card.
        rules: how many of them there may be.
        hard_is_final: whether a hard decline ends it for good.
    """
    before = tuple(declined)
    if not before:
        return None
    if hard_is_final and any(o.decline and o.decline.kind is DeclineKind.HARD for o in before):
        return _HARD
    newest_first = sorted(
        (o.created_at for o in before if o.amount == attempt.amount), reverse=True
    )
    waits = [
        newest_first[rule.most - 1] + timedelta(seconds=rule.period_s) - attempt.created_at
        for rule in rules
        if rule.brand == brand and len(newest_first) >= rule.most
    ]
    wait = max(waits, default=timedelta())
    if wait <= timedelta():
        return None
    return Refusal(
        code=ErrorCode.RETRIES_EXHAUSTED,
        why=f"{brand} allows no more attempts with this card and amount yet",
        retry_after=wait,
    )


_USED_UP: Final = {
    Counted.ATTEMPTS: (ErrorCode.TOO_MANY_ATTEMPTS, "too many attempts"),
    Counted.DECLINES: (ErrorCode.TOO_MANY_DECLINES, "too many declines"),
    Counted.CARDS: (ErrorCode.TOO_MANY_CARDS, "too many different cards"),
}


def used_up(limit: Limit, room_at: datetime, now: datetime) -> Refusal:
    """The refusal where a limit has no room until `room_at`."""
    code, what = _USED_UP[limit.counted]
    return Refusal(code=code, why=f"{what} of this {limit.per}", retry_after=room_at - now)
