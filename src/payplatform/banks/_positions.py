"""Where an authorization stands: what the acquirer's lines of it add up to.

Law of this file: it follows from the lines alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import attrs
from attrs import frozen

from payplatform.banks._rows import Line, LineKind, LineState


@frozen(kw_only=True)
class Position:
    """Where an authorization stands, in minor units, as the bank counts.

    `pending_refund` is spent already, though it may come back.
    """

    authorized: int = 0
    captured: int = 0
    voided: int = 0
    expired: int = 0
    refunded: int = 0
    pending_refund: int = 0
    disputed: int = 0

    @property
    def uncaptured(self) -> int:
        """What is still held for the merchant."""
        return self.authorized - self.captured - self.voided - self.expired

    @property
    def refundable(self) -> int:
        """What may still be given back."""
        return self.captured - self.refunded - self.pending_refund - self.disputed

    @property
    def is_sound(self) -> bool:
        """Whether nothing was taken that was not held, or given back that was not taken."""
        amounts: tuple[int, ...] = attrs.astuple(self)
        return min(*amounts, self.uncaptured, self.refundable) >= 0


_COUNTS_AS: Final[Mapping[LineKind, tuple[str, ...]]] = MappingProxyType(
    {
        LineKind.SALE: ("authorized", "captured"),
        LineKind.AUTHORIZE: ("authorized",),
        LineKind.INCREMENT: ("authorized",),
        LineKind.CAPTURE: ("captured",),
        LineKind.RELEASE: ("voided",),
        LineKind.VOID: ("voided",),
        LineKind.EXPIRY: ("expired",),
        LineKind.REFUND: ("refunded",),
        LineKind.PAYOUT: (),
        LineKind.DISPUTE: ("disputed",),
    }
)


def position_of(lines: Iterable[Line]) -> Position:
    """Add up the lines of one authorization."""
    sums = dict.fromkeys(attrs.fields_dict(Position), 0)
    for line in lines:
        if line.state is LineState.PENDING:
            sums["pending_refund"] += line.amount_minor
        elif line.state is LineState.BOOKED:
            for name in _COUNTS_AS[line.kind]:
                sums[name] += line.amount_minor
    return Position(**sums)
