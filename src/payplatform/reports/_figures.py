"""The figures behind a chart: what was taken, how often the bank said yes, and why it said no.

Law of this file: a payment counts on the day on which it was made, in UTC, whatever became of it
later. Approved is one that the issuer has promised money for; declined one that it never has, and
that was declined last. What never reached the bank, or is not decided, counts for neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta

from attrs import Factory, define, frozen

from payplatform._domain.declines import DeclineCode
from payplatform._domain.money import Money
from payplatform._domain.payments import Payment
from payplatform.client import MerchantClient
from payplatform.errors import ErrorCode, InvalidRequest

_MOST_DAYS = 3_660


@frozen(kw_only=True)
class Day:
    """One day.

    Attributes:
        captured: what was taken for payments of that day, for each currency.
        approved: how many payments the issuer approved.
        declined: how many it declined.
    """

    date: date
    captured: Mapping[str, Money]
    approved: int
    declined: int

    @property
    def approval_rate(self) -> float | None:
        """Which part of what was decided was approved, from 0 to 1; None where nothing was."""
        return _rate(self.approved, self.declined)


@frozen(kw_only=True)
class Figures:
    """Every day of a span, also those on which nothing happened.

    Attributes:
        declines: how many payments were declined for each reason, the commonest first.
        captured: what was taken in all, for each currency, by its code.
        refunded: what of it was given back by now, likewise.
        fees: what was charged for it, likewise.
    """

    merchant_id: str
    days: tuple[Day, ...]
    declines: Mapping[DeclineCode, int]
    captured: Mapping[str, Money]
    refunded: Mapping[str, Money]
    fees: Mapping[str, Money]

    @property
    def approved(self) -> int:
        """How many payments were approved."""
        return sum(day.approved for day in self.days)

    @property
    def declined(self) -> int:
        """How many payments were declined."""
        return sum(day.declined for day in self.days)

    @property
    def approval_rate(self) -> float | None:
        """Which part of what was decided was approved, from 0 to 1; None where nothing was."""
        return _rate(self.approved, self.declined)


def figures(shop: MerchantClient, *, since: datetime, until: datetime) -> Figures:
    """Look at a merchant's payments of some days.

    Args:
        shop: whose.
        since: created then or later, with a time zone.
        until: created before then, with a time zone.

    Returns:
        The figures of each of these days.

    Raises:
        InvalidRequest: a time breaks its rule, or it is not from 1 day to ten years.
        StorageUnavailable: the store failed.
    """
    payments = shop.payments.list(created_from=since, created_before=until)
    first, last = since.astimezone(UTC), until.astimezone(UTC)
    count = (last - timedelta(microseconds=1)).date().toordinal() - first.date().toordinal() + 1
    if not 1 <= count <= _MOST_DAYS:
        raise InvalidRequest(
            "until must be after since, and at most ten years",
            code=ErrorCode.VALUE_INVALID,
            field="until",
        )
    tally = _tallied(payments)
    dates = [first.date() + timedelta(days=n) for n in range(count)]
    return Figures(
        merchant_id=shop.id,
        days=tuple(
            Day(
                date=day,
                captured=_per_currency(tally.captured_on.get(day, Counter())),
                approved=tally.approved_on[day],
                declined=tally.declined_on[day],
            )
            for day in dates
        ),
        declines=dict(sorted(tally.declines.items(), key=lambda pair: (-pair[1], pair[0]))),
        captured=_per_currency(tally.captured),
        refunded=_per_currency(tally.refunded),
        fees=_per_currency(tally.fees),
    )


@define
class _Tally:
    captured_on: dict[date, Counter[str]] = Factory(dict)
    approved_on: Counter[date] = Factory(Counter)
    declined_on: Counter[date] = Factory(Counter)
    declines: Counter[DeclineCode] = Factory(Counter)
    captured: Counter[str] = Factory(Counter)
    refunded: Counter[str] = Factory(Counter)
    fees: Counter[str] = Factory(Counter)


def _tallied(payments: Iterable[Payment]) -> _Tally:
    tally = _Tally()
    for payment in payments:
        day, facts = payment.created_at.astimezone(UTC).date(), payment.facts
        tally.captured_on.setdefault(day, Counter())[payment.currency] += facts.captured
        tally.captured[payment.currency] += facts.captured
        tally.refunded[payment.currency] += facts.refunded
        tally.fees[payment.currency] += facts.fees
        if facts.authorized:
            tally.approved_on[day] += 1
        elif payment.decline is not None:
            tally.declined_on[day] += 1
            tally.declines[payment.decline.code] += 1
    return tally


def _per_currency(minor: Mapping[str, int]) -> Mapping[str, Money]:
    return {
        currency: Money.minor(amount_minor, currency)
        for currency, amount_minor in sorted(minor.items())
        if amount_minor
    }


def _rate(approved: int, declined: int) -> float | None:
    decided = approved + declined
    return approved / decided if decided else None
