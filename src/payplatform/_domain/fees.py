"""What a merchant is charged for what happens to its payments: schedules and rates, as data.

Law of this file: a fee follows from the change of a payment's facts, and from the schedule that
counts when the change is booked. A share is rounded once for each charge, half to even, to the
minor unit; no float enters. What was charged stays as it is when another schedule begins to count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from attrs import field, frozen

from payplatform._domain.brands import Brand
from payplatform._domain.events import Event
from payplatform._domain.money import MAX_MINOR, currency_code
from payplatform._domain.operations import Operation, OperationKind
from payplatform._domain.payments import Facts, Payment
from payplatform._domain.text import one_of
from payplatform.errors import ErrorCode, InvalidRequest

_WHOLE_PPM: Final = 1_000_000
_COUNTRY: Final = re.compile(r"[A-Z]{2}")


class FeeKind(StrEnum):
    """What is charged for: each amount that is captured or refunded, and each dispute."""

    CAPTURE = "capture"
    REFUND = "refund"
    DISPUTE = "dispute"


CHARGED_FOR: Final[Mapping[FeeKind, str]] = MappingProxyType(
    {FeeKind.CAPTURE: "captured", FeeKind.REFUND: "refunded"}
)
"""The fact whose growth a kind of fee is charged for; a dispute is charged for once, by itself."""

CHARGED_KINDS: Final = frozenset(
    {OperationKind.SALE, OperationKind.CAPTURE, OperationKind.REFUND, OperationKind.RESUME}
)
"""The operations that make such a fact grow, or may: what is resumed may be a sale."""


def _a_kind(value: Any) -> FeeKind:
    return one_of(FeeKind, value, field="kind")


def _a_brand(value: Any) -> Brand | None:
    return None if value is None else one_of(Brand, value, field="brand")


def _a_currency(value: Any) -> str | None:
    return None if value is None else currency_code(value)


def _countries(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise _wrong("countries", "must be several codes of ISO 3166", ErrorCode.TYPE_INVALID)
    given = tuple(value)
    if not all(is_country(code) for code in given):
        rule = 'must be codes of ISO 3166 with two capital letters, such as "DE"'
        raise _wrong("countries", rule, ErrorCode.VALUE_INVALID)
    return given


def is_country(value: object) -> bool:
    """Whether it has the form of a country's two-letter code (ISO 3166-1 alpha-2)."""
    return isinstance(value, str) and _COUNTRY.fullmatch(value) is not None


@frozen(kw_only=True)
class FeeRate:
    """A price: a share of the amount and a fixed part, and which charges it is for.

    Attributes:
        kind: what is charged for: "capture", "refund" or "dispute".
        brand: of the card; None for every brand.
        countries: where the card was issued, as the bank says: the codes (ISO 3166-1 alpha-2) of
            one region; empty for everywhere, also where the bank does not say.
        currency: of the payment; None for every currency, where nothing is fixed.
        share_ppm: the part of the amount, in parts per million: 1.4 % is 14,000. None for disputes,
            whose amount may change with each notice.
        fixed_minor: what is charged besides, in minor units of the currency.

    Raises:
        InvalidRequest: `type_invalid`, `value_invalid` or `currency_unknown`: an attribute breaks
            its rule; a share above the whole, or of a dispute, or a fixed part without its
            currency.
    """

    kind: FeeKind = field(converter=_a_kind)
    brand: Brand | None = field(default=None, converter=_a_brand)
    countries: tuple[str, ...] = field(default=(), converter=_countries)
    currency: str | None = field(default=None, converter=_a_currency)
    share_ppm: int = 0
    fixed_minor: int = 0

    def __attrs_post_init__(self) -> None:
        is_fixed = self.kind is FeeKind.DISPUTE
        _require_within("share_ppm", self.share_ppm, 0 if is_fixed else _WHOLE_PPM)
        _require_within("fixed_minor", self.fixed_minor, MAX_MINOR)
        if self.fixed_minor and self.currency is None:
            raise _wrong(
                "currency", "must be given where something is fixed", ErrorCode.VALUE_INVALID
            )

    def is_for(self, kind: FeeKind, payment: Payment) -> bool:
        """Whether a charge of this kind on this payment has this price."""
        return (
            self.kind is kind
            and self.brand in (None, payment.brand)
            and self.currency in (None, payment.currency)
            and (not self.countries or payment.card_country in self.countries)
        )

    def fee_minor(self, amount_minor: int) -> int:
        """The fee for an amount: its share, rounded half to even, and the fixed part.

        Args:
            amount_minor: zero or more, in minor units.

        Returns:
            The fee in the same minor units.
        """
        return _half_even(amount_minor * self.share_ppm, _WHOLE_PPM) + self.fixed_minor


@frozen(kw_only=True)
class FeeSchedule:
    """The prices that a merchant is charged from a time on, until a later schedule counts.

    It is never changed: what comes after it is another schedule.

    Attributes:
        counts_from: the time from which it counts, that moment included.
        rates: the first that fits is the price; where none fits, nothing is charged.
    """

    id: str
    merchant_id: str
    version: int = 1
    counts_from: datetime
    rates: tuple[FeeRate, ...]
    created_at: datetime

    def fee_minor(self, kind: FeeKind, amount_minor: int, payment: Payment) -> int:
        """The fee for one charge on a payment, in minor units of its currency."""
        fitting = (rate for rate in self.rates if rate.is_for(kind, payment))
        rate = next(fitting, None)
        return 0 if rate is None else rate.fee_minor(amount_minor)


def schedule_at(schedules: Iterable[FeeSchedule], at: datetime) -> FeeSchedule | None:
    """The schedule that counts at a time: the latest to begin; of two at once the newer one."""
    begun = [schedule for schedule in schedules if schedule.counts_from <= at]
    return max(begun, key=lambda schedule: (schedule.counts_from, schedule.id), default=None)


def fees_for(change: Facts, payment: Payment, schedule: FeeSchedule | None) -> int:
    """What a change of a payment's facts is charged with, in minor units of its currency.

    Args:
        change: what was booked; only what has grown is charged for.
        payment: as it was before, but with what is known of its card.
        schedule: the one that counts now; None where the merchant has none.
    """
    if schedule is None:
        return 0
    grown = ((kind, getattr(change, fact)) for kind, fact in CHARGED_FOR.items())
    fees = sum(schedule.fee_minor(kind, by, payment) for kind, by in grown if by > 0)
    return _at_most(fees, payment)


def dispute_fee(payment: Payment, schedule: FeeSchedule | None) -> int:
    """What a dispute is charged with when it is first heard of, whatever becomes of it.

    Args:
        payment: the one that is disputed, as it was before.
        schedule: the one that counts now; None where the merchant has none.
    """
    fee = 0 if schedule is None else schedule.fee_minor(FeeKind.DISPUTE, 0, payment)
    return _at_most(fee, payment)


def _at_most(fee: int, payment: Payment) -> int:
    """A fee that a store can hold: for what was done at the bank has to be booked."""
    return min(fee, MAX_MINOR - payment.facts.fees)


def fees_charged(
    operation: Operation, others: Sequence[Operation], history: Sequence[Event]
) -> int:
    """What was charged for an operation, by its events or those of what resumed it."""
    resumed_by = {
        o.id for o in others if o.kind is OperationKind.RESUME and o.target_id == operation.id
    }
    about = {operation.id} | resumed_by
    return sum(event.change.fees for event in history if event.operation_id in about)


def _half_even(dividend: int, divisor: int) -> int:
    """The nearest whole quotient; halfway between two, the even one."""
    whole, rest = divmod(dividend, divisor)
    is_up = 2 * rest > divisor or (2 * rest == divisor and whole % 2 == 1)
    return whole + is_up


def _require_within(name: str, value: object, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(name, "must be a whole number", ErrorCode.TYPE_INVALID)
    if not 0 <= value <= most:
        raise _wrong(name, f"must be from 0 to {most}", ErrorCode.VALUE_INVALID)


def _wrong(name: str, rule: str, code: ErrorCode) -> InvalidRequest:
    return InvalidRequest(f"{name} {rule}", code=code, field=name)
