"""A month's statement: what the merchant had coming, what was added and taken off, what is left.

Law of this file: everything follows from the entries of the month and from what the accounts showed
when it began. So for each currency what there was, and what has moved, come to what there is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from attrs import frozen

from payplatform._domain.ledger import Account, Entry, movements
from payplatform._domain.money import Money
from payplatform.errors import ErrorCode, InvalidRequest

_MONTH: Final = re.compile(r"(?P<year>[1-9][0-9]{3})-(?P<month>0[1-9]|1[0-2])")


@frozen(kw_only=True)
class Month:
    """A calendar month in UTC.

    Attributes:
        since: its first moment.
        until: the first moment of the next one.
    """

    since: datetime
    until: datetime

    @classmethod
    def of(cls, text: object) -> Month:
        """The month that is written like `2030-01`.

        Raises:
            InvalidRequest: it is not: `type_invalid`, `value_invalid`.
        """
        if not isinstance(text, str):
            raise InvalidRequest("month must be a str", code=ErrorCode.TYPE_INVALID, field="month")
        found = _MONTH.fullmatch(text)
        if found is None or text == "9999-12":
            raise InvalidRequest(
                "month must be a year and a month, such as 2030-01",
                code=ErrorCode.VALUE_INVALID,
                field="month",
            )
        year, month = int(found["year"]), int(found["month"])
        following = (year + 1, 1) if month == 12 else (year, month + 1)
        return cls(
            since=datetime(year, month, 1, tzinfo=UTC), until=datetime(*following, 1, tzinfo=UTC)
        )

    def __str__(self) -> str:
        return f"{self.since:%Y-%m}"


@frozen(kw_only=True)
class CurrencyStatement:
    """A month in one currency.

    Attributes:
        opening: what the merchant had coming when it began; negative where it owed.
        captured: what was taken from cardholders, less what the bank took back of it.
        refunded: what was given back to them, less what came back of it.
        disputes_lost: what cardholders' banks took back for good.
        fees: what the merchant was charged.
        set_aside: what was set aside for payouts, less what came back.
        closing: what it has coming now: the opening and captured, less the others.
        settled: what the acquirer settled, before its own fees.
        acquirer_fees: what the acquirer kept of it.
        paid_out: what left for the merchant's bank.
        balances: what every account showed at the end.
    """

    currency: str
    opening: Money
    captured: Money
    refunded: Money
    disputes_lost: Money
    fees: Money
    set_aside: Money
    closing: Money
    settled: Money
    acquirer_fees: Money
    paid_out: Money
    balances: Mapping[Account, Money]


@frozen(kw_only=True)
class Statement:
    """What a merchant is told of a month, for each currency in its books."""

    merchant_id: str
    merchant_name: str
    month: Month
    currencies: tuple[CurrencyStatement, ...]


def statement(
    *,
    merchant_id: str,
    merchant_name: str,
    month: Month,
    opening: Mapping[str, Mapping[Account, Money]],
    entries: Iterable[Entry],
) -> Statement:
    """A statement of a month.

    Args:
        merchant_id: whose.
        merchant_name: what it is called.
        month: which.
        opening: what all accounts showed before it, for each currency.
        entries: whole ones, all of the month.
    """
    moved: Counter[tuple[str, str]] = Counter()
    shown = Counter(
        {(c, a): money.amount_minor for c, all_ in opening.items() for a, money in all_.items()}
    )
    for entry in entries:
        for fact, amount_minor in movements(entry):
            moved[entry.currency, fact] += amount_minor
        for line in entry.lines:
            shown[line.currency, line.account] += line.amount_minor
    return Statement(
        merchant_id=merchant_id,
        merchant_name=merchant_name,
        month=month,
        currencies=tuple(
            _in_currency(currency, opening.get(currency, {}), moved, shown)
            for currency in sorted({currency for currency, _ in shown})
        ),
    )


def _in_currency(
    currency: str,
    opening: Mapping[Account, Money],
    moved: Mapping[tuple[str, str], int],
    shown: Mapping[tuple[str, Account], int],
) -> CurrencyStatement:
    def moved_by(fact: str) -> Money:
        return Money.minor(moved[currency, fact], currency)

    closing = {account: Money.minor(shown[currency, account], currency) for account in Account}
    return CurrencyStatement(
        currency=currency,
        # What is owed to somebody is a credit, and that is negative in the books.
        opening=-opening.get(Account.MERCHANT_BALANCE, Money.zero(currency)),
        captured=moved_by("captured"),
        refunded=moved_by("refunded"),
        disputes_lost=moved_by("dispute_lost"),
        fees=moved_by("fees"),
        set_aside=moved_by("reserved"),
        closing=-closing[Account.MERCHANT_BALANCE],
        settled=moved_by("settled"),
        acquirer_fees=moved_by("acquirer_fees"),
        paid_out=moved_by("paid_out"),
        balances=closing,
    )
