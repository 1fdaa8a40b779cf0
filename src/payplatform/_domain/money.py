"""Money: a whole number of minor units, and a currency.

Law of this file: an amount is an integer from the moment it enters. Nothing is rounded, no float is
taken, no two currencies mix, and no amount leaves the range that every store can hold (signed 64
bits). An error never repeats the value it refuses: people do put card numbers in the wrong place.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

import attrs

from payplatform._domain._iso4217 import EXPONENTS, WITHOUT_EXPONENT
from payplatform.errors import ErrorCode, InvalidRequest

MAX_MINOR: Final = 2**63 - 1

_PLAIN_DECIMAL: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_MAX_TEXT: Final = 64


@attrs.frozen(init=False, repr=False, order=False)
class Money:
    """An amount in a currency, exact to the last minor unit.

    `Money("19.99", "EUR")` and `Money.minor(1999, "EUR")` are equal. An int counts whole major
    units: `Money(20, "EUR")` is twenty euros, `Money(20, "JPY")` twenty yen. Negative money exists,
    because a ledger needs it; what a caller asks for is checked by `require_positive`.

    Text is plain decimal notation and nothing else: an optional minus, ASCII digits, and, if
    wanted, one dot with digits on both sides. No plus, exponent, separator, space, NaN or Infinity.
    Places beyond the currency's own are accepted when they are zeros ("19.990" EUR), since nothing
    is lost; otherwise they are refused, never rounded.

    Args:
        amount: the amount in major units, as str, int or Decimal.
        currency: an ISO 4217 code in either case; kept in upper case.

    Attributes:
        amount_minor: the amount in the currency's minor unit (cents; yen; thousandths of a dinar).
        currency: the ISO 4217 code.

    Raises:
        InvalidRequest: field `amount`, code `type_invalid` (float, bool, anything else),
            `amount_invalid` (not plain decimal notation, NaN, Infinity), `amount_too_precise`
            (would need rounding) or `amount_too_large` (beyond 2**63 - 1 minor units); field
            `currency`, code `type_invalid` or `currency_unknown` (no such code, or a code such as
            XAU for which ISO 4217 has no decimal places).
    """

    amount_minor: int
    currency: str

    def __init__(self, amount: str | int | Decimal, currency: str) -> None:
        code = currency_code(currency)
        object.__setattr__(self, "amount_minor", _in_minor_units(amount, EXPONENTS[code]))
        object.__setattr__(self, "currency", code)

    @classmethod
    def minor(cls, amount_minor: int, currency: str) -> Money:
        """Money from a whole number of minor units: `Money.minor(1999, "EUR")` is 19.99 EUR.

        Raises:
            InvalidRequest: as `Money`, with field `amount_minor` for the amount.
        """
        code = currency_code(currency)
        if isinstance(amount_minor, bool) or not isinstance(amount_minor, int):
            raise _refused("amount_minor must be an int", ErrorCode.TYPE_INVALID, "amount_minor")
        return _money(int(amount_minor), code, "amount_minor")

    @classmethod
    def zero(cls, currency: str) -> Money:
        """No money, in a currency: where a sum begins."""
        return cls.minor(0, currency)

    @property
    def exponent(self) -> int:
        """How many decimal places the currency's minor unit has: 0, 2, 3 or 4."""
        return EXPONENTS[self.currency]

    @property
    def amount(self) -> Decimal:
        """The amount in major units, exact whatever the decimal context."""
        # Arithmetic on Decimal would round to the context's precision; building from digits cannot.
        digits = tuple(int(digit) for digit in str(abs(self.amount_minor)))
        return Decimal((int(self.amount_minor < 0), digits, -self.exponent))

    @property
    def is_positive(self) -> bool:
        """Whether it is more than nothing."""
        return self.amount_minor > 0

    def __bool__(self) -> bool:
        return self.amount_minor != 0

    def __str__(self) -> str:
        return f"{plain(self)} {self.currency}"

    def __repr__(self) -> str:
        return f"Money({plain(self)!r}, {self.currency!r})"

    def __add__(self, other: Money) -> Money:
        if not isinstance(other, Money):
            return NotImplemented
        return _money(self.amount_minor + _alike(self, other), self.currency)

    def __sub__(self, other: Money) -> Money:
        if not isinstance(other, Money):
            return NotImplemented
        return _money(self.amount_minor - _alike(self, other), self.currency)

    def __mul__(self, times: int) -> Money:
        if isinstance(times, bool) or not isinstance(times, int):
            return NotImplemented
        return _money(self.amount_minor * times, self.currency)

    __rmul__ = __mul__

    def __neg__(self) -> Money:
        return _money(-self.amount_minor, self.currency)

    def __lt__(self, other: Money) -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        return self.amount_minor < _alike(self, other)

    def __le__(self, other: Money) -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        return self.amount_minor <= _alike(self, other)

    def __gt__(self, other: Money) -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        return self.amount_minor > _alike(self, other)

    def __ge__(self, other: Money) -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        return self.amount_minor >= _alike(self, other)


def require_positive(money: Money, field: str = "amount") -> Money:
    """Return `money` when it is more than nothing.

    Raises:
        InvalidRequest: `type_invalid` when it is not Money, `amount_not_positive` when it is zero
            or less; the field is `field`.
    """
    if not isinstance(money, Money):
        del money
        hint = f'{field} must be Money, such as Money("19.99", "EUR")'
        raise _refused(hint, ErrorCode.TYPE_INVALID, field)
    if not money.is_positive:
        raise _refused(f"{field} must be more than zero", ErrorCode.AMOUNT_NOT_POSITIVE, field)
    return money


def currency_code(value: str, field: str = "currency") -> str:
    """Return the ISO 4217 code that `value` is in either case, in upper case.

    Raises:
        InvalidRequest: `type_invalid` when it is not text; `currency_unknown` when ISO 4217 has no
            such code, or gives it no decimal places.
    """
    if not isinstance(value, str):
        del value
        raise _refused(f"{field} must be a str", ErrorCode.TYPE_INVALID, field)
    code = value.upper() if value.isascii() else ""
    if code in EXPONENTS:
        return code
    if code in WITHOUT_EXPONENT:
        rule = f"{code} has no decimal places in ISO 4217, so nothing can be priced in it"
        raise _refused(f"{field}: {rule}", ErrorCode.CURRENCY_UNKNOWN, field)
    del value, code
    raise _refused(f"{field} is not a code of ISO 4217", ErrorCode.CURRENCY_UNKNOWN, field)


def _in_minor_units(amount: object, exponent: int) -> int:
    if isinstance(amount, bool | float):
        rule = 'amount is a str, an int or a Decimal, never a float or a bool: write "19.99"'
        raise _refused(rule, ErrorCode.TYPE_INVALID)
    if isinstance(amount, int):
        return _bounded(int(amount) * 10**exponent)
    if isinstance(amount, Decimal):
        return _shifted(amount, exponent)
    if isinstance(amount, str):
        return _shifted(_parsed(amount), exponent)
    raise _refused("amount must be a str, an int or a Decimal", ErrorCode.TYPE_INVALID)


def _parsed(text: str) -> Decimal:
    if len(text) > _MAX_TEXT or not _PLAIN_DECIMAL.fullmatch(text):
        rule = f'amount must be plain decimal text such as "19.99", at most {_MAX_TEXT} characters'
        raise _refused(rule, ErrorCode.AMOUNT_INVALID)
    return Decimal(text)


def _shifted(amount: Decimal, exponent: int) -> int:
    """Move the point by moving digits: exact, whatever the decimal context says of precision."""
    if not amount.is_finite():
        raise _refused("amount must be a finite number", ErrorCode.AMOUNT_INVALID)
    if not amount:
        return 0
    if amount.adjusted() + exponent >= len(str(MAX_MINOR)):
        raise _too_large()
    sign, digits, point = amount.as_tuple()
    shift = int(point) + exponent
    whole, beyond = (digits[:shift], digits[shift:]) if shift < 0 else (digits, ())
    if any(beyond):
        rule = f"amount has more decimal places than the currency's {exponent}"
        raise _refused(rule, ErrorCode.AMOUNT_TOO_PRECISE)
    units = int("".join(map(str, whole)) or "0") * 10 ** max(shift, 0)
    return _bounded(-units if sign else units)


def _bounded(amount_minor: int, field: str = "amount") -> int:
    if not -MAX_MINOR <= amount_minor <= MAX_MINOR:
        raise _too_large(field)
    return amount_minor


def _money(amount_minor: int, currency: str, field: str = "amount") -> Money:
    money = object.__new__(Money)
    object.__setattr__(money, "amount_minor", _bounded(amount_minor, field))
    object.__setattr__(money, "currency", currency)
    return money


def _alike(one: Money, other: Money) -> int:
    if one.currency != other.currency:
        rule = f"{one.currency} and {other.currency} do not mix"
        raise _refused(rule, ErrorCode.CURRENCY_MISMATCH, "currency")
    return other.amount_minor


def plain(money: Money) -> str:
    """An amount without its currency, such as `19.99`."""
    sign = "-" if money.amount_minor < 0 else ""
    digits = str(abs(money.amount_minor)).zfill(money.exponent + 1)
    if not money.exponent:
        return sign + digits
    return f"{sign}{digits[: -money.exponent]}.{digits[-money.exponent :]}"


def as_form(money: Money) -> dict[str, str | int]:
    """An amount as plain values, ready for JSON: in major units as text, and in minor units."""
    return {"amount": plain(money), "currency": money.currency, "minor": money.amount_minor}


def _too_large(field: str = "amount") -> InvalidRequest:
    rule = f"{field} must stay within 2**63 - 1 minor units"
    return _refused(rule, ErrorCode.AMOUNT_TOO_LARGE, field)


def _refused(rule: str, code: ErrorCode, field: str = "amount") -> InvalidRequest:
    return InvalidRequest(rule, code=code, field=field)
