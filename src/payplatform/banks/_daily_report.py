"""What the simulated bank settles in a day, and what it keeps of it.

Of captures it keeps interchange, 0.30 % (the cap for consumer credit cards: Regulation (EU)
2015/751, article 4), a scheme fee of 0.10 %, and 0.20 % of its own; each rounded to the minor unit,
a half to the even one. Of refunds and reversals it keeps nothing, and gives no fee back.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from typing import Final

from payplatform._domain.money import Money
from payplatform.banks._acquirer import Desk
from payplatform.banks._rows import Movement
from payplatform.banks._settlement_csv import written
from payplatform.ports import AcquirerFees, SettlementLine, SettlementReport

_INTERCHANGE: Final = Fraction(30, 10_000)
_SCHEME: Final = Fraction(10, 10_000)
_ACQUIRER: Final = Fraction(20, 10_000)
_DAY: Final = timedelta(days=1)


def daily_report(desk: Desk, merchant_id: str, day: date | None) -> bytes:
    """The report on what moved on a day of UTC, without what came to nothing in it.

    Raises:
        LookupError: the day is not over.
    """
    yesterday = (desk.now - _DAY).astimezone(UTC).date()
    since = datetime.combine(day or yesterday, time(), UTC)
    until = since + _DAY
    if desk.now < until:
        raise LookupError("the simulated bank reports on a day when it is over")
    moved = desk.books.movements(merchant_id, since, until)
    sums: Counter[str] = Counter()
    for movement in moved:
        sums[movement.operation_id] += movement.amount_minor
    standing = [movement for movement in moved if sums[movement.operation_id]]
    return written(
        SettlementReport(
            reference=f"settlement {since:%Y-%m-%d}",
            merchant_id=merchant_id,
            since=since,
            until=until,
            lines=tuple(_line(at, movement) for at, movement in enumerate(standing, start=1)),
            digest=b"",
        )
    )


def _line(number: int, movement: Movement) -> SettlementLine:
    amount = Money.minor(movement.amount_minor, movement.currency)
    is_capture = amount.is_positive and not movement.is_reversal
    charged = amount if is_capture else Money.zero(amount.currency)
    return SettlementLine(
        number=number,
        operation_id=None if movement.is_dispute else movement.operation_id,
        dispute_id=movement.operation_id if movement.is_dispute else None,
        amount=amount,
        is_reversal=movement.is_reversal,
        fees=AcquirerFees(
            interchange=_share(charged, _INTERCHANGE),
            scheme=_share(charged, _SCHEME),
            acquirer=_share(charged, _ACQUIRER),
        ),
        booked_at=movement.at,
    )


def _share(amount: Money, share: Fraction) -> Money:
    return Money.minor(round(amount.amount_minor * share), amount.currency)
