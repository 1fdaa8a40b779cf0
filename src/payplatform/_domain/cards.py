"""Cards: a number that reads like one, an expiry, and what may be shown of them.

Law of this file: the number is sealed in a `Secret` before anything else happens, and no repr,
error, traceback, copy or pickle of anything here holds more of it than BIN and last four digits
(PCI DSS 3.4.1). Errors are made first and raised last, when the value they refuse is gone from
every local variable of ours. The clock is not known here: who asks about expiry says when it is.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol, final

from payplatform._domain.brands import LONGEST, RULES, SHORTEST, Brand, brand_of
from payplatform._domain.card_numbers import (
    looks_like_card_number,
    luhn_check_digit,
    luhn_valid,
)
from payplatform._domain.moments import is_moment
from payplatform._domain.secret import Guarded, Secret
from payplatform._domain.text import cleaned
from payplatform.errors import ErrorCode, InvalidRequest

__all__ = [
    "Brand",
    "Card",
    "Expiring",
    "Expiry",
    "card_expiry",
    "expiry_moment",
    "looks_like_card_number",
    "luhn_check_digit",
    "luhn_valid",
    "require_not_expired",
    "security_code",
]

_MAX_HOLDER: Final = 100
# Nineteen digits, each with a space or dash around it, and some air.
_MAX_NUMBER_TEXT: Final = 64
_FIRST_YEAR: Final = 2000
_LAST_YEAR: Final = 2099

_MONTH_YEAR: Final = re.compile(r"([0-9]{1,2}) ?[/-] ?([0-9]{4}|[0-9]{2})|([0-9]{2})([0-9]{2})")
_YEAR_MONTH: Final = re.compile(r"([0-9]{4})-([0-9]{2})")


class Expiry(NamedTuple):
    """The last month in which a card is good: month 1 to 12, year with four digits."""

    month: int
    year: int


class Expiring(Protocol):
    """Whatever has an expiry: a card, or a stored payment method."""

    @property
    def expiry_month(self) -> int:
        """1 to 12."""

    @property
    def expiry_year(self) -> int:
        """Four digits."""


@final
class Card(Guarded):
    """A payment card as its holder reads it out.

    Cards compare by identity, can't be changed, and refuse pickling and copying with TypeError.
    repr and str are `visa ****4242`.

    Args:
        number: the card number as text: ASCII digits, with single or several spaces and dashes
            between them. Its length must suit its brand, and its check digit must be right (but see
            `brands.RULES` for UnionPay). A number of 12 to 19 digits that no range of
            `brands.RANGES` knows is of brand `unknown`, and left to the bank.
        expiry: `MM/YY`, `MM/YYYY`, `MM-YY`, `MM-YYYY` (the month's leading zero may be missing, one
            space may stand on either side of the mark), `MMYY`, `YYYY-MM`, or a tuple
            `(month, year)`. Two-digit years mean 20YY. Years 2000 to 2099. A card that has expired
            already is a card too: see `require_not_expired`.
        holder: the name on the card, 1 to 100 characters.

    Attributes:
        number: the digits, guarded.
        brand: the brand its leading digits tell.
        bin: its first six digits.
        last4: its last four digits.
        expiry_month: 1 to 12.
        expiry_year: four digits.
        holder: the name on the card, in Unicode normal form C.

    Raises:
        InvalidRequest: field `number`, code `type_invalid` (not text), `card_number_invalid` (other
            characters), `card_number_length`, `card_number_check_digit`; field `expiry`, code
            `type_invalid` or `card_expiry_invalid`; field `holder`, codes as `text.clean_text`.
    """

    __slots__ = ("bin", "brand", "expiry_month", "expiry_year", "holder", "last4", "number")

    number: Secret
    brand: Brand
    bin: str
    last4: str
    expiry_month: int
    expiry_year: int
    holder: str | None

    def __init__(
        self, number: str, expiry: str | tuple[int, int], holder: str | None = None
    ) -> None:
        facts = _number_facts(number)
        until = _expiry(expiry)
        name = None if holder is None else cleaned(holder, field="holder", max_length=_MAX_HOLDER)
        del number, expiry, holder
        if isinstance(facts, InvalidRequest):
            raise facts
        if isinstance(until, InvalidRequest):
            del facts  # crash reporters print the locals of each frame
            raise until
        if isinstance(name, InvalidRequest):
            del facts
            raise name
        keep = object.__setattr__
        keep(self, "number", facts.number)
        keep(self, "brand", facts.brand)
        keep(self, "bin", facts.bin)
        keep(self, "last4", facts.last4)
        keep(self, "expiry_month", until.month)
        keep(self, "expiry_year", until.year)
        keep(self, "holder", name)

    @property
    def masked(self) -> str:
        """The number with its middle hidden, `424242******4242` (PCI DSS 3.4.1)."""
        hidden = len(self.number.reveal()) - len(self.bin) - len(self.last4)
        return f"{self.bin}{'*' * hidden}{self.last4}"

    @property
    def expires_after(self) -> datetime:
        """The end of its last month, where on earth that comes last. See `expiry_moment`."""
        return expiry_moment(self.expiry_year, self.expiry_month)

    def is_expired(self, now: datetime) -> bool:
        """Whether its last month is over everywhere on earth at `now` (an aware datetime).

        Raises:
            InvalidRequest: `value_invalid`, field `now`, when `now` has no time zone.
        """
        return _is_over(self, now)

    def __repr__(self) -> str:
        # A refused card stands half made in tracebacks that show local variables.
        return f"{self.brand} ****{self.last4}" if hasattr(self, "last4") else "card ****"


def card_expiry(value: str | tuple[int, int], *, field: str = "expiry") -> Expiry:
    """Read an expiry, in one of the forms that `Card` takes.

    Raises:
        InvalidRequest: `type_invalid` or `card_expiry_invalid`; the field is `field`.
    """
    expiry = _expiry(value, field)
    del value
    if isinstance(expiry, InvalidRequest):
        raise expiry
    return expiry


def expiry_moment(year: int, month: int) -> datetime:
    """Give the first instant, in UTC, at which a card good until that month counts as expired.

    It is good through the month's last day, and the day is the merchant's where that helps him: the
    last place on earth to leave a month is twelve hours behind UTC (as ISO/IEC 7813's date carries
    no time zone), so that is the first of the next month, at noon.

    Args:
        year: with four digits, 2000 to 2099.
        month: 1 to 12.

    Raises:
        InvalidRequest: `card_expiry_invalid`, field `expiry`.
    """
    if not (_FIRST_YEAR <= year <= _LAST_YEAR and 1 <= month <= 12):
        raise _no_expiry("expiry")
    return datetime(year + month // 12, month % 12 + 1, 1, 12, tzinfo=UTC)


def require_not_expired(card: Expiring, now: datetime) -> None:
    """Pass when the card's last month is not over yet, everywhere on earth.

    Args:
        card: a card, or whatever else has `expiry_month` and `expiry_year`.
        now: an aware datetime.

    Raises:
        InvalidRequest: `card_expired`, field `expiry`; `value_invalid`, field `now`, when `now` has
            no time zone.
    """
    if _is_over(card, now):
        raise _refused("expiry is past: the card has expired", ErrorCode.CARD_EXPIRED, "expiry")


def security_code(text: str, brand: Brand) -> Secret:
    """Guard a security code: ASCII digits, four for amex, three for others, either for unknown.

    Raises:
        InvalidRequest: field `security_code`, code `type_invalid` (not text) or
            `security_code_invalid`.
    """
    problem = _security_code_problem(text, brand)
    if problem is not None:
        del text
        raise problem
    return Secret(text)


class _NumberFacts(NamedTuple):
    number: Secret
    brand: Brand
    bin: str
    last4: str


def _number_facts(number: object) -> _NumberFacts | InvalidRequest:
    if not isinstance(number, str):
        rule = "number must be a str: an int drops leading zeros and shows up in tracebacks"
        return _refused(rule, ErrorCode.TYPE_INVALID, "number")
    digits = number.replace(" ", "").replace("-", "") if len(number) <= _MAX_NUMBER_TEXT else ""
    trimmed = number.strip(" ")
    if not (digits.isascii() and digits.isdigit()) or "-" in (trimmed[0], trimmed[-1]):
        rule = "number must be ASCII digits, with nothing but spaces and dashes between them"
        return _refused(rule, ErrorCode.CARD_NUMBER_INVALID, "number")
    if digits.startswith("0"):
        # ISO/IEC 7812-1 keeps 0 for other industries; in a card form it is a placeholder.
        rule = "number must be a payment card's, and none starts with 0"
        return _refused(rule, ErrorCode.CARD_NUMBER_INVALID, "number")
    brand = brand_of(digits)
    problem = _digits_problem(digits, brand)
    return problem or _NumberFacts(Secret(digits), brand, digits[:6], digits[-4:])


def _digits_problem(digits: str, brand: Brand) -> InvalidRequest | None:
    if not SHORTEST <= len(digits) <= LONGEST:
        rule = f"number must have {SHORTEST} to {LONGEST} digits"
        return _refused(rule, ErrorCode.CARD_NUMBER_LENGTH, "number")
    rules = RULES[brand]
    if len(digits) not in rules.lengths:
        lengths = ", ".join(map(str, sorted(rules.lengths)))
        rule = f"number must have as many digits as {brand} numbers have: {lengths}"
        return _refused(rule, ErrorCode.CARD_NUMBER_LENGTH, "number")
    if rules.has_check_digit and not luhn_valid(digits):
        rule = "number has a wrong check digit: some digit is mistyped, missing or swapped"
        return _refused(rule, ErrorCode.CARD_NUMBER_CHECK_DIGIT, "number")
    return None


def _expiry(value: object, field: str = "expiry") -> Expiry | InvalidRequest:
    if isinstance(value, str):
        month, year = _from_text(value.strip(" "))
    elif isinstance(value, tuple):
        month, year = _from_pair(value)
    else:
        rule = f'{field} must be text such as "12/30", or a tuple (month, year)'
        return _refused(rule, ErrorCode.TYPE_INVALID, field)
    year = year + 2000 if 0 <= year <= 99 else year
    if not (1 <= month <= 12 and _FIRST_YEAR <= year <= _LAST_YEAR):
        return _no_expiry(field)
    return Expiry(month, year)


_NO_DATE: Final = (0, -1)


def _from_text(text: str) -> tuple[int, int]:
    if found := _MONTH_YEAR.fullmatch(text):
        return int(found[1] or found[3]), int(found[2] or found[4])
    if found := _YEAR_MONTH.fullmatch(text):
        return int(found[2]), int(found[1])
    return _NO_DATE


def _from_pair(pair: tuple[object, ...]) -> tuple[int, int]:
    if len(pair) != 2:
        return _NO_DATE
    month, year = pair
    if isinstance(month, bool) or isinstance(year, bool):
        return _NO_DATE
    return (month, year) if isinstance(month, int) and isinstance(year, int) else _NO_DATE


def _is_over(card: Expiring, now: datetime) -> bool:
    if not is_moment(now):
        raise _refused("now must have a time zone", ErrorCode.VALUE_INVALID, "now")
    return now >= expiry_moment(card.expiry_year, card.expiry_month)


def _security_code_problem(text: object, brand: Brand) -> InvalidRequest | None:
    field = "security_code"
    if not isinstance(text, str):
        return _refused(f"{field} must be a str of digits", ErrorCode.TYPE_INVALID, field)
    # get(), since the KeyError of a brand that is none would show what was given for one.
    lengths = RULES.get(brand, RULES[Brand.UNKNOWN]).security_code_lengths
    if len(text) in lengths and text.isascii() and text.isdigit():
        return None
    expected = " or ".join(map(str, sorted(lengths)))
    rule = f"{field} must be {expected} ASCII digits for a card of this brand"
    return _refused(rule, ErrorCode.SECURITY_CODE_INVALID, field)


def _no_expiry(field: str) -> InvalidRequest:
    rule = f'{field} must be a month 1 to 12 and a year {_FIRST_YEAR} to {_LAST_YEAR}: "12/30"'
    return _refused(rule, ErrorCode.CARD_EXPIRY_INVALID, field)


def _refused(rule: str, code: ErrorCode, field: str) -> InvalidRequest:
    return InvalidRequest(rule, code=code, field=field)
