"""Hypothesis strategies for what a shop hands in: money, cards, texts, keys, sequences of commands.

Law of this file: what a strategy draws is valid where its name does not say otherwise, small and
plain things come first, and no card is drawn for which the simulated bank does anything but
approve it, unless a card is asked for by what the bank does.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

from hypothesis import strategies as st

from payplatform._domain._iso4217 import EXPONENTS
from payplatform._domain.brands import RANGES, RULES, Brand, brand_of
from payplatform._domain.card_numbers import luhn_check_digit
from payplatform._domain.cards import Card, looks_like_card_number
from payplatform._domain.money import MAX_MINOR, Money
from payplatform.banks.simulated import TEST_CARDS, WIRE_FAULTS, Fault
from payplatform.testing.bench import FOLLOWING_VERBS, STARTING_VERBS, Command

__all__ = [
    "card_numbers",
    "cards",
    "commands",
    "currencies",
    "expiries",
    "hostile_text",
    "idempotency_keys",
    "metadata",
    "money",
    "plain_text",
    "security_codes",
]

_COMMON_FIRST: Final = ("EUR", "USD", "GBP", "JPY", "KWD", "CLF")
_SPECIAL: Final = frozenset(card.number for card in TEST_CARDS)


def currencies(exponents: Iterable[int] = (0, 2, 3, 4)) -> st.SearchStrategy[str]:
    """ISO 4217 codes that money can be in, common ones first.

    Args:
        exponents: how many decimal places they may have.
    """
    wanted = frozenset(exponents)
    common = [code for code in _COMMON_FIRST if EXPONENTS[code] in wanted]
    rest = sorted(code for code in EXPONENTS if EXPONENTS[code] in wanted)
    return st.sampled_from(list(dict.fromkeys([*common, *rest])))


def money(
    currencies: st.SearchStrategy[str] | None = None,
    *,
    min_minor: int = 1,
    max_minor: int = 1_000_000,
) -> st.SearchStrategy[Money]:
    """Money; more than nothing, and little enough to be added up, unless told otherwise.

    Args:
        currencies: which; any by default.
        min_minor: the least, in minor units; may be negative.
        max_minor: the most, in minor units; `2**63 - 1` is the most there can be.
    """
    codes = _currencies() if currencies is None else currencies
    amounts = st.integers(max(min_minor, -MAX_MINOR), min(max_minor, MAX_MINOR))
    return st.builds(Money.minor, amounts, codes)


# `money` has a parameter of this name.
_currencies: Final = currencies


@st.composite
def card_numbers(draw: st.DrawFn, brand: Brand | str | None = None) -> str:
    """Card numbers as plain digits: of a brand's own ranges and lengths, with a right check digit.

    None is one of the simulated bank's test cards, so that bank approves each of them.

    Args:
        draw: given by hypothesis.
        brand: whose; any brand's by default.
    """
    wanted = None if brand is None else Brand(brand)
    known = draw(st.sampled_from([r for r in RANGES if wanted in (None, r.brand)]))
    length = draw(st.sampled_from(sorted(RULES[known.brand].lengths)))
    first = draw(st.integers(int(known.first), int(known.last)))
    start = str(first).zfill(len(known.first))
    rest = draw(st.text("0123456789", min_size=length, max_size=length))
    for partial in (start + rest, known.first.ljust(8, "0") + rest, known.first.ljust(8, "0")):
        # A narrower range of another brand may lie inside; a range's own first number never does.
        digits = _completed(partial.ljust(length, "5")[: length - 1])
        if brand_of(digits) is known.brand and digits not in _SPECIAL:
            break
    return digits


def _completed(partial: str) -> str:
    return partial + luhn_check_digit(partial)


def security_codes(brand: Brand | str = Brand.VISA) -> st.SearchStrategy[str]:
    """Security codes as long as the brand's are.

    Args:
        brand: whose.
    """
    lengths = sorted(RULES[Brand(brand)].security_code_lengths)
    return st.one_of(*(st.text("0123456789", min_size=n, max_size=n) for n in lengths))


@st.composite
def expiries(draw: st.DrawFn, first_year: int = 2030, last_year: int = 2099) -> str:
    """Expiries in each form that people write: 12/30, 1/2030, 0130, 2030-01 and so on.

    Args:
        draw: given by hypothesis.
        first_year: the first, with four digits; later than a `FakeClock` starts, by default.
        last_year: the last, with four digits.
    """
    month = draw(st.integers(1, 12))
    year = draw(st.integers(first_year, last_year))
    forms = (
        f"{month:02}/{year % 100:02}",
        f"{month:02}/{year}",
        f"{month}/{year % 100:02}",
        f"{month:02} - {year}",
        f"{month:02}{year % 100:02}",
        f"{year}-{month:02}",
    )
    return draw(st.sampled_from(forms))


def cards(
    brand: Brand | str | None = None, *, holders: st.SearchStrategy[str | None] | None = None
) -> st.SearchStrategy[Card]:
    """Cards that are good for years, with or without a holder's name.

    Args:
        brand: whose; any brand's by default.
        holders: the names on them.
    """
    names = st.none() | plain_text(max_size=26) if holders is None else holders
    return st.builds(Card, card_numbers(brand), expiries(), names)


def idempotency_keys() -> st.SearchStrategy[str]:
    """Idempotency keys: 1 to 255 visible ASCII characters, and no card number among them."""
    visible = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
    keys = st.text(visible, min_size=1, max_size=255)
    return keys.filter(lambda key: not looks_like_card_number(key))


def plain_text(*, min_size: int = 1, max_size: int = 40) -> st.SearchStrategy[str]:
    """Text as people write it in any script, that every text argument takes.

    Args:
        min_size: the fewest characters.
        max_size: the most, in Unicode normal form C as well.
    """
    letters = st.characters(codec="utf-8", categories=["L", "Nd", "P", "S", "Zs"])
    texts = st.text(letters, min_size=min_size, max_size=max_size)
    return texts.filter(lambda text: _is_plain(text, min_size, max_size))


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _is_plain(text: str, min_size: int, max_size: int) -> bool:
    normal = _normal(text)
    in_size = min_size <= len(normal) <= max_size
    return in_size and bool(normal.strip()) and not looks_like_card_number(normal)


def metadata(*, max_size: int = 5) -> st.SearchStrategy[dict[str, str]]:
    """Metadata that a payment or a customer takes.

    Args:
        max_size: the most entries; 50 is the most there can be.
    """
    keys = plain_text(max_size=20)
    values = st.just("") | plain_text(max_size=60)
    entries = st.dictionaries(keys, values, max_size=max_size)
    return entries.filter(lambda drawn: len({_normal(key) for key in drawn}) == len(drawn))


def hostile_text() -> st.SearchStrategy[str]:
    """Text that breaks things: each is to be refused by name, or kept exactly and harmlessly."""
    return st.one_of(
        st.sampled_from(_HOSTILE),
        st.text(max_size=80),
        st.text(st.characters(categories=["Cc", "Cf", "Cs", "Co", "Mn"]), max_size=20),
        st.builds("{}{}".format, plain_text(), st.sampled_from(_HOSTILE)),
        st.integers(1_000, 20_000).map(lambda size: "x" * size),
        card_numbers(),
    )


_HOSTILE: Final = (
    "",
    " ",
    "\0",
    "a\0b",
    "\n",
    "\r\nSet-Cookie: a=b",
    "\x1b[2J",
    "\ud800",
    "\u202etxt.exe",
    "\u2028",
    "\ufeff",
    "e\u0301",
    "\u0130",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "Z\u0351\u036b\u0343\u036a\u0302\u036b",
    "'; DROP TABLE payments; --",
    '" OR 1=1 --',
    "%s%n%x{0}{}${7*7}{{7*7}}",
    "../../../etc/passwd",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "None",
    "null",
    "NaN",
    "true",
    "0",
    "-1",
    "1e309",
    "9" * 400,
    "4242 4242 4242 4242",
    "4242-4242-4242-4242",
    "card 5555555555554444 exp 12/30",
)


USUAL_CARDS: Final = (
    *("approves",) * 6,
    *("needs_challenge",) * 2,
    "declines",
    "lost",
    "needs_challenge_once",
    "declines_after_challenge",
    "refunds_later",
    "refunds_fail_later",
    "refuses_refunds",
)
"""For `commands`: what goes wrong on the wire is drawn apart from the card."""


def commands(
    *,
    max_size: int = 20,
    cards: Iterable[str] = USUAL_CARDS,
    faults: Iterable[Fault] = WIRE_FAULTS,
) -> st.SearchStrategy[list[Command]]:
    """Sequences of commands for a shop, played by `Bench` or by your own code.

    The first starts a payment; each later one may start another, go on with one of them, repeat
    the latest call, let time pass or recover. Amounts are small, so that they meet their limits.

    Args:
        max_size: the most commands.
        cards: names of `NamedCards`; one that is named twice is drawn twice as often.
        faults: what may go wrong on the wire; none if empty.
    """
    names = st.sampled_from(list(cards))
    wire = list(faults)
    trouble = st.none() | st.none() | st.sampled_from(wire) if wire else st.none()
    start = st.builds(
        Command,
        verb=st.sampled_from(STARTING_VERBS),
        amount_minor=st.sampled_from([100, 1, 2, 99]),
        card=names,
        fault=trouble,
    )
    follow = st.builds(
        Command,
        verb=st.sampled_from(["refund", "capture", *FOLLOWING_VERBS]),
        amount_minor=st.sampled_from([None, 1, 2, 50, 100]),
        payment=st.sampled_from([0, 0, 0, 1, 2]),
        card=names,
        final=st.booleans(),
        passes=st.sampled_from([True, False, None]),
        fault=trouble,
    )
    advance = st.builds(Command, verb=st.just("advance"), seconds=st.sampled_from(_WAITS))
    recover = st.builds(Command, verb=st.just("recover"), fault=trouble)
    later = st.lists(st.one_of(follow, follow, follow, start, advance, recover), max_size=max_size)
    return st.builds(lambda first, rest: [first, *rest][:max_size], start, later)


_WAITS: Final = (1, 46, 61, 600, 3_600, 86_400, 6 * 86_400, 8 * 86_400)
