"""Card brands: which digits a card number starts with, how long it is, what else its scheme rules.

Law of this file: data, and the one way to look it up. Every range says where it comes from. There
is no public register: ISO/IEC 7812's list of issuer identification numbers (IINs) is sold to
issuers only, so what stands here is what the schemes and the large acquirers publish. It goes
stale. Therefore a number that no range knows is `unknown`, not wrong, and the bank decides.

Ranges overlap, since schemes lend each other numbers. The narrowest range wins: Elo's 401178 lies
inside Visa's 4, and says more. A test proves that two brands never claim equally narrow ranges.
"""

from __future__ import annotations

from bisect import bisect_right
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple


class Brand(StrEnum):
    """Whose card it is. `unknown` passes every check that holds for all cards."""

    VISA = "visa"
    MASTERCARD = "mastercard"
    MAESTRO = "maestro"
    AMEX = "amex"
    DINERS = "diners"
    DISCOVER = "discover"
    JCB = "jcb"
    UNIONPAY = "unionpay"
    MIR = "mir"
    ELO = "elo"
    HIPERCARD = "hipercard"
    TROY = "troy"
    RUPAY = "rupay"
    VERVE = "verve"
    UNKNOWN = "unknown"


class BrandRule(NamedTuple):
    """What all cards of a brand have in common.

    Attributes:
        lengths: how many digits a card number has.
        security_code_lengths: how many digits a security code has.
        has_check_digit: whether every number of the brand ends in a Luhn check digit.
    """

    lengths: frozenset[int]
    security_code_lengths: frozenset[int] = frozenset({3})
    has_check_digit: bool = True


class IinRange(NamedTuple):
    """Numbers that start with `first` to `last` (equally many digits) belong to `brand`."""

    first: str
    last: str
    brand: Brand
    source: str

    @property
    def low(self) -> int:
        """The first number of the range, as the eight leading digits of a card number."""
        return int(self.first.ljust(_SPAN, "0"))

    @property
    def high(self) -> int:
        """The last number of the range, as the eight leading digits of a card number."""
        return int(self.last.ljust(_SPAN, "9"))

    @property
    def width(self) -> int:
        """How many eight-digit prefixes it covers: the fewer, the more it says."""
        return self.high - self.low + 1


_SPAN: Final = 8

SHORTEST: Final = 12
LONGEST: Final = 19
_ANY_LENGTH: Final = frozenset(range(SHORTEST, LONGEST + 1))
_16_TO_19: Final = frozenset({16, 17, 18, 19})
_16: Final = frozenset({16})

# Lengths: Wikipedia, "Payment card number" (2024-04), checked against the tables that Braintree
# (credit-card-type, 2026-06) and ActiveMerchant (credit_card_methods) keep. Where they differ, the
# wider one stands: a refused good card is a lost sale, an accepted bad one a decline.
# Security codes: three digits on the back, four on the front of American Express.
# Check digit: some UnionPay numbers in use have none that holds (braintree/card-validator issue
# 112, 2023-04; before 2018 Braintree's own forms did not check them at all), so it is not demanded.
RULES: Final = MappingProxyType(
    {
        Brand.VISA: BrandRule(frozenset({13, 16, 18, 19})),
        Brand.MASTERCARD: BrandRule(_16),
        Brand.MAESTRO: BrandRule(_ANY_LENGTH),
        Brand.AMEX: BrandRule(frozenset({15}), security_code_lengths=frozenset({4})),
        Brand.DINERS: BrandRule(frozenset({14, 15, 16, 17, 18, 19})),
        Brand.DISCOVER: BrandRule(_16_TO_19),
        Brand.JCB: BrandRule(_16_TO_19),
        Brand.UNIONPAY: BrandRule(_16_TO_19, has_check_digit=False),
        Brand.MIR: BrandRule(_16_TO_19),
        Brand.ELO: BrandRule(_16),
        Brand.HIPERCARD: BrandRule(frozenset({13, 16, 19})),
        Brand.TROY: BrandRule(_16),
        Brand.RUPAY: BrandRule(_16),
        Brand.VERVE: BrandRule(frozenset({16, 18, 19})),
        Brand.UNKNOWN: BrandRule(_ANY_LENGTH, security_code_lengths=frozenset({3, 4})),
    }
)


def _ranges(brand: Brand, source: str, prefixes: str) -> tuple[IinRange, ...]:
    """Read "4 51-55 222100-272099": single prefixes and inclusive ranges."""
    pairs = (prefix.partition("-") for prefix in prefixes.split())
    return tuple(IinRange(first, last or first, brand, source) for first, _, last in pairs)


_ISO_LISTED: Final = 'ISO/IEC 7812 ranges as listed by Wikipedia, "Payment card number" (2024-04)'
_DISCOVER: Final = (
    "Discover Global Network, IIN range summary, North America compliance update 3Q2021 (2021-08)"
)
_MASTERCARD_RULES: Final = "Mastercard Rules, account ranges, as transcribed by ActiveMerchant"
_ELO_TABLE: Final = (
    "Elo's BIN table (dev.elo.com.br), as transcribed by ActiveMerchant, and the older blocks that "
    "Braintree's credit-card-type lists (2026-06)"
)
_NPCI: Final = (
    "NPCI's RuPay ranges, as transcribed in juspay/card-validator PR 4 (2017-04) and "
    "nosir/cleave.js issue 464 (2019-04)"
)
_TROY_LIST: Final = "dLocal's Troy BIN list, by way of braintree/credit-card-type PR 202 (2026-06)"

RANGES: Final[tuple[IinRange, ...]] = (
    *_ranges(Brand.VISA, _ISO_LISTED, "4"),
    *_ranges(Brand.MASTERCARD, _MASTERCARD_RULES, "51-55 222100-272099"),
    # What nobody else claims in the blocks where Mastercard lists its Maestro accounts.
    *_ranges(Brand.MAESTRO, _MASTERCARD_RULES, "50 56-59 60 63 67 690032"),
    *_ranges(Brand.AMEX, _ISO_LISTED, "34 37"),
    *_ranges(Brand.DINERS, _DISCOVER, "300-305 3095 36 38-39"),
    *_ranges(Brand.DISCOVER, _DISCOVER, "6011 644-649 65"),
    *_ranges(Brand.JCB, _ISO_LISTED, "3528-3589"),
    *_ranges(Brand.JCB, _DISCOVER, "3088-3094 3096-3102 3112-3120 3158-3159 3337-3349"),
    *_ranges(Brand.UNIONPAY, _ISO_LISTED, "62"),
    # Discover's network carries these, and older tables call them Discover. The card says UnionPay,
    # and so does Discover's own summary.
    *_ranges(Brand.UNIONPAY, _DISCOVER, "622126-622925 624-626 6282-6288 8100-8171"),
    *_ranges(Brand.MIR, _ISO_LISTED, "2200-2204"),
    *_ranges(
        Brand.ELO,
        _ELO_TABLE,
        "401178-401179 431274 438935 451416 457393 457631-457632 504175 506699-506778 "
        "509000-509999 627780 636297-636298 636368 650031-650033 650035-650051 650057-650081 "
        "650405-650439 650485-650538 650541-650598 650700-650718 650720-650727 650901-650978 "
        "651652-651704 655000-655019 655021-655058",
    ),
    *_ranges(
        Brand.HIPERCARD,
        _MASTERCARD_RULES,
        "384100 384140 384160 606282 637095 637568 637599-637600 637609 637612",
    ),
    *_ranges(Brand.TROY, _ISO_LISTED, "9792"),
    # Further Troy cards share Discover's 65 by six and eight digits; this one is in public tests.
    *_ranges(Brand.TROY, _TROY_LIST, "650274"),
    # RuPay cards that carry JCB's mark too (353, 356) stay with JCB, whose numbers they are.
    *_ranges(
        Brand.RUPAY,
        _NPCI,
        "508500-508999 606985-607984 608001-608500 652150-653149 817200-820199",
    ),
    *_ranges(Brand.RUPAY, _ISO_LISTED, "6521-6522 82"),
    *_ranges(Brand.VERVE, _ISO_LISTED, "506099-506198 507865-507964 650002-650027"),
)


def brand_of(digits: str) -> Brand:
    """Tell the brand from the leading digits; eight say all there is to say.

    Args:
        digits: a card number, or its beginning, as ASCII digits. Anything else is `unknown`.
    """
    if not (digits.isascii() and digits.isdigit()):
        return Brand.UNKNOWN
    return _BRANDS[bisect_right(_STARTS, int(digits[:_SPAN].ljust(_SPAN, "0"))) - 1]


# The ranges laid flat: from each start up to the next, one brand, that of the narrowest range.
_BY_WIDTH: Final = sorted((r.width, r.low, r.high, r.brand) for r in RANGES)


def _narrowest(prefix: int) -> Brand:
    claims = (brand for _, low, high, brand in _BY_WIDTH if low <= prefix <= high)
    return next(claims, Brand.UNKNOWN)


_STARTS: Final = sorted({0, *(row[1] for row in _BY_WIDTH), *(row[2] + 1 for row in _BY_WIDTH)})
_BRANDS: Final = tuple(_narrowest(start) for start in _STARTS)
