"""What digits tell by themselves: is the check digit right, and where does text hold a card number.

Law of this file: digits in, yes or no out. Nothing here keeps, shows or raises a digit it is given.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from payplatform._domain.brands import LONGEST, RULES, SHORTEST, Brand, brand_of

_PLAIN: Final = bytes.maketrans(b"0123456789", bytes(range(10)))
_DOUBLED: Final = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))


def luhn_valid(digits: str) -> bool:
    """Whether the last digit is the Luhn check digit of the others (ISO/IEC 7812-1, annex B).

    It catches every single wrong digit and every swap of two neighbours but 09 and 90. Anything
    but ASCII digits, and the empty text, is not valid.
    """
    return digits.isascii() and digits.isdigit() and _luhn_sum(digits) % 10 == 0


def luhn_check_digit(partial: str) -> str:
    """Give the digit that completes `partial` to a Luhn-valid number.

    Raises:
        ValueError: `partial` is anything but ASCII digits.
    """
    if not (partial.isascii() and partial.isdigit()):
        del partial
        raise ValueError("a check digit completes ASCII digits only")
    return str(-_luhn_sum(partial + "0") % 10)


def _luhn_sum(digits: str) -> int:
    raw = digits.encode("ascii")
    return sum(raw[-1::-2].translate(_PLAIN)) + sum(raw[-2::-2].translate(_DOUBLED))


# One digit may follow another directly, or across this: up to three spaces, dashes, underscores,
# slashes or invisible characters, or one dot.
_SPACE: Final = r"\s_/\-\u00ad\u200b-\u200d\u2010-\u2015\u2060\u2212\ufe58\ufe63\uff0d\ufeff"
_POINT: Final = r".\u00b7\u2024\uff0e"
_SPACES: Final = re.compile(f"[{_SPACE}]{{1,3}}")
_DOT: Final = re.compile(f"[{_POINT}]")
_FEWEST: Final = 13
_ENOUGH_DIGITS: Final = re.compile(r"\d(?:\D{0,3}\d){12}")
_DIGIT: Final = re.compile(r"\d")
_DIGITS: Final = re.compile(r"[0-9]+")
_WORD: Final = re.compile(r"[^\W_]+")
_LETTERS_AMONG_DIGITS: Final = re.compile(r"[0-9][^\W\d_]+[0-9]")
_UUID: Final = re.compile(
    r"(?<![0-9A-Za-z])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9A-Za-z])"
)
_DECIMAL: Final = re.compile(r"(?<![0-9.])[0-9]{1,8}\.[0-9]+(?![0-9]|\.[0-9])")


def looks_like_card_number(text: str) -> bool:
    """Whether `text` holds what is most likely a card number.

    Likely means: 13 to 19 digits, together or parted by spaces, dashes, dots and the like, that
    start and end where a group of digits does, are Luhn-valid, and start and measure like a card of
    a known brand. Decimal digits of every script count, full-width ones too.

    Text that is refused here is somebody's order that cannot be placed, so what is common and never
    a card is let through, at a price that is written down:

    - UUIDs, and digits mixed into letters as in hexadecimal or base-32 tokens. Price: a card number
      with letters among its digits is not seen.
    - More than 19 digits in a row, since a window sliding along them would refuse most long numbers
      by chance. Price: a card number glued to other digits, such as its expiry, is not seen.
    - Decimal numbers such as 48.2081741637381, and phone numbers with a leading plus. Price: a card
      number parted by one dot alone is not seen; by several, it is.
    - Thirteen digits that are a valid EAN-13 barcode. Price: one 13-digit Visa number in ten, a
      length that is hardly in use any more.
    - Maestro numbers of fewer than 16 digits, which hardly exist, while shops' order numbers look
      like them every day.
    - Commas and colons part digits for good: lists and times have them, card numbers do not.

    What is left is chance: of random 16-digit numbers, about one in twenty-seven is refused, since
    it could be a card number in every respect. A letter between the digits helps.
    """
    if not _ENOUGH_DIGITS.search(text):
        return False
    return any(_could_be_card(digits, parts) for digits, parts in _candidates(_readable(text)))


def _could_be_card(digits: str, parts: int) -> bool:
    brand = brand_of(digits)
    if brand is Brand.UNKNOWN or len(digits) not in RULES[brand].lengths:
        return False
    if brand is Brand.MAESTRO and len(digits) < 16:
        return False
    if parts == 1 and _is_ean_13(digits):
        return False
    return luhn_valid(digits)


def _readable(text: str) -> str:
    """Digits of every script as ASCII, and what is never a card number struck out."""
    text = _DECIMAL.sub("x", _UUID.sub("x", _with_ascii_digits(text)))
    return _WORD.sub(_without_token, text)


def _with_ascii_digits(text: str) -> str:
    if text.isascii():
        return text
    return _DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), text)


def _without_token(word: re.Match[str]) -> str:
    return "x" if _LETTERS_AMONG_DIGITS.search(word[0]) else word[0]


def _candidates(text: str) -> Iterator[tuple[str, int]]:
    """Every run of whole groups of digits that is as long as a card number, and its group count."""
    groups = list(_DIGITS.finditer(text))
    for start, group in enumerate(groups):
        fewest = 16 if text[group.start() - 1 : group.start()] == "+" else _FEWEST
        for parts, digits in _growing(text, groups[start : start + LONGEST]):
            if len(digits) > LONGEST:
                break
            if len(digits) >= fewest:
                yield digits, parts


def _growing(text: str, groups: list[re.Match[str]]) -> Iterator[tuple[int, str]]:
    """The first group, then with the second, and so on while the same kind of gap parts them."""
    digits = groups[0][0]
    yield 1, digits
    gap: re.Pattern[str] | None = None
    for parts in range(2, len(groups) + 1):
        left, right = groups[parts - 2], groups[parts - 1]
        between = text[left.end() : right.start()]
        gap = gap or (_DOT if _DOT.fullmatch(between) else _SPACES)
        if not gap.fullmatch(between):
            return
        digits += right[0]
        yield parts, digits


def _is_ean_13(digits: str) -> bool:
    """Whether it is a GS1 barcode number: weights 1 and 3 in turn, sum a multiple of ten."""
    if len(digits) != 13:
        return False
    return (sum(map(int, digits[::2])) + 3 * sum(map(int, digits[1::2]))) % 10 == 0


# What reprs and JSON, and what URLs, write for one character. Struck out by a character that nobody
# has, one for one, so that its own digits count for none and places stay what they are.
_ESCAPED: Final = re.compile(r"\\+(?:[nrt]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4})")
_IN_URL: Final = re.compile(r"%[0-9a-fA-F]{2}")
_STRUCK_OUT: Final = "\ue000"
_GAP: Final = f"(?:[{_SPACE}{_POINT}+]|{_STRUCK_OUT}+){{1,3}}"
_CHAIN: Final = re.compile(rf"[0-9](?:(?:{_GAP})?[0-9]){{{SHORTEST - 1},}}")


def card_number_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where text that is written already holds what may be a card number: starts and ends.

    In no order, and they may overlap.

    The rule is plain, since a number masked for nothing costs little and a number left costs much:
    12 to 19 digits with no further digit beside them, that are Luhn-valid and start and measure
    like a card of a known brand. Between any two of them there may be up to three spaces, line
    ends, dashes, dots, slashes, underscores, plus signs or invisible characters, also as URLs, JSON
    and reprs escape them. Decimal digits of every script count.

    So an order number, a timestamp or a phone number is found exactly if it could be a card number
    in every respect. Let through for what they are: UUIDs; decimal numbers such as
    48.2081741637381; single digits in a longer row of groups, as in a list of small numbers.
    """
    for readable in _readings(_UUID.sub(_struck_out, _with_ascii_digits(text))):
        for chain in _CHAIN.finditer(readable):
            groups = list(_DIGITS.finditer(readable, chain.start(), chain.end()))
            for first, group in enumerate(groups):
                for last in _lasts_of_numbers(groups, first, readable):
                    yield group.start(), groups[last].end()


def _readings(text: str) -> set[str]:
    """As it stands, and without what may be escapes: `100%4242...`, but also `%224242...`."""
    readings = {text, _ESCAPED.sub(_struck_out, text)}
    return readings | {_IN_URL.sub(_struck_out, reading) for reading in readings}


def _struck_out(found: re.Match[str]) -> str:
    return _STRUCK_OUT * len(found[0])


def _lasts_of_numbers(groups: list[re.Match[str]], first: int, text: str) -> Iterator[int]:
    """The last groups of what may be card numbers beginning at the first group."""
    digits = ""
    for last in range(first, len(groups)):
        digits += groups[last][0]
        if len(digits) > LONGEST:
            return
        if len(digits) >= SHORTEST and _may_be_card(digits, groups, first, last, text):
            yield last


def _may_be_card(
    digits: str, groups: list[re.Match[str]], first: int, last: int, text: str
) -> bool:
    parts = last - first + 1
    if parts == 2 and text[groups[first].end() : groups[last].start()] == ".":
        return False
    if len(digits) < 2 * parts < 2 * len(groups):
        return False
    brand = brand_of(digits)
    return brand is not Brand.UNKNOWN and len(digits) in RULES[brand].lengths and luhn_valid(digits)
