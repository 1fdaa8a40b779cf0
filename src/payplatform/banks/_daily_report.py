"""What the simulated bank settles in a day, and what it keeps of it.

Of captures it keeps interchange, 0.30 % (the cap for consumer credit cards: Regulation (EU)
2015/751, article 4), a scheme fee of 0.10 %, and 0.20 % of its own; each rounded to the minor unit,
a half to the even one. Of refunds and reversals it keeps nothing, and gives no fee back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from typing import Final

from payplatform._domain.money import Money
from payplatform.banks._books import Movement
from payplatform.banks._settlement_csv import written
from payplatform.ports import AcquirerFees, SettlementLine, SettlementReport

_INTERCHANGE: Final = Fraction(30, 10_000)
_SCHEME: Final = Fraction(10, 10_000)
_ACQUIRER: Final = Fraction(20, 10_000)


def daily_report(
    merchant_id: str, moved: Sequence[Movement], since: datetime, until: datetime
) -> bytes:
    """The report on what moved in that time, without what came to nothing in it."""
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
        operation_id=movement.operation_id,
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
