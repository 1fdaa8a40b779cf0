"""Text that merchants hand in: names, references, metadata, keys, ids, words of a closed set.

Law of this file: each function gives back the normal form of what it was given, or raises an error
that names the field and the rule and never the value, for people do paste card numbers anywhere.
What looks like a card number is refused in every text (PCI DSS 3.2.1: keep no card data that is not
needed; in free text it never is).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, TypeVar

from payplatform._domain.card_numbers import looks_like_card_number
from payplatform.errors import ErrorCode, InvalidRequest

__all__ = [
    "ID_PREFIXES",
    "Metadata",
    "clean_email",
    "clean_id",
    "clean_metadata",
    "clean_postal_code",
    "clean_text",
    "cleaned",
    "derived_id",
    "idempotency_key",
    "looks_like_card_number",
    "one_of",
    "some_of",
]

_T = TypeVar("_T")
_W = TypeVar("_W", bound=StrEnum)

Metadata = tuple[tuple[str, str], ...]
"""Metadata in its normal form: pairs of key and value, sorted by key. `dict(metadata)` reads it."""

ID_PREFIXES: Final = frozenset(
    {"mer", "cus", "pm", "pay", "op", "evt", "tok", "dsp", "po", "stl", "ntc"}
)

_MAX_METADATA_ENTRIES: Final = 50
_MAX_METADATA_KEY: Final = 40
_MAX_METADATA_VALUE: Final = 500

# Controls (Cc), line and paragraph separators, bidirectional overrides and isolates, lone
# surrogates: they break lines, hide text or cannot be stored.
_NOT_PRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_ID_PREFIX: Final = re.compile(r"([a-z]{1,8})_")
# TypeID text form: 128 bits in 26 characters of Crockford's base 32, so the first is at most 7.
_BASE_32: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_DIGITS: Final = 26
_ID_SUFFIX: Final = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{25}")
_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)*")
_POSTAL_CODE: Final = re.compile(r" *[0-9A-Za-z](?:[0-9A-Za-z -]{0,14}[0-9A-Za-z])? *")


def clean_text(value: str, *, field: str, max_length: int, allow_empty: bool = False) -> str:
    """Return `value` in Unicode normal form C.

    Args:
        value: any text a person may read.
        field: the argument's name, for the error.
        max_length: the most characters it may have, counted in normal form.
        allow_empty: whether it may be empty, or nothing but white space.

    Raises:
        InvalidRequest: `type_invalid` (not a str), `text_too_long`, `text_not_printable` (control
            characters, line separators, bidirectional overrides, lone surrogates), `text_empty`,
            `looks_like_card_number`.
    """
    text = cleaned(value, field=field, max_length=max_length, allow_empty=allow_empty)
    del value
    return _passed(text)


def cleaned(
    value: object, *, field: str, max_length: int, allow_empty: bool = False
) -> str | InvalidRequest:
    """As `clean_text`, but hands the error back, so that a caller can drop `value` and then raise.

    A traceback that shows local variables would show the value of every frame it passed through.
    """
    if not isinstance(value, str):
        return _refused(f"{field} must be a str", ErrorCode.TYPE_INVALID, field)
    too_long = _refused(
        f"{field} may have at most {max_length} characters", ErrorCode.TEXT_TOO_LONG, field
    )
    # No text shrinks to less than a quarter in normal form C, so this can be told without the work,
    # which a long row of combining marks makes quadratic: seconds for 80,000 of them.
    if len(value) > 4 * max_length:
        return too_long
    if _NOT_PRINTABLE.search(value):
        rule = f"{field} may have no control, direction or line-breaking characters"
        return _refused(rule, ErrorCode.TEXT_NOT_PRINTABLE, field)
    text = unicodedata.normalize("NFC", value)
    if len(text) > max_length:
        return too_long
    if not (allow_empty or text.strip()):
        return _refused(f"{field} may not be empty", ErrorCode.TEXT_EMPTY, field)
    if looks_like_card_number(text):
        return _card_like(field)
    return text


def clean_metadata(mapping: Mapping[str, str] | None, *, field: str = "metadata") -> Metadata:
    """Return metadata in its normal form: pairs of key and value, sorted by key.

    Args:
        mapping: at most 50 entries; keys of 1 to 40 characters, values of 0 to 500. None is none.
        field: the argument's name, for the error.

    Raises:
        InvalidRequest: `metadata_too_large`, `value_invalid` (two keys with one normal form), and
            all that `clean_text` raises, for a key or a value; the field is `field`.
    """
    if mapping is None:
        return ()
    pairs = _cleaned_pairs(mapping, field)
    del mapping
    return _passed(pairs)


def idempotency_key(value: str, *, field: str = "idempotency_key") -> str:
    """Return `value`, a key of 1 to 255 visible ASCII characters (! to ~).

    Raises:
        InvalidRequest: `type_invalid`, `idempotency_key_invalid` or `looks_like_card_number`.
    """
    key = _key(value, field)
    del value
    return _passed(key)


def one_of(words: type[_W], value: object, *, field: str) -> _W:
    """Return the one of `words` that `value` is.

    Raises:
        InvalidRequest: `value_invalid`: it is none of them.
    """
    if isinstance(value, str) and value in tuple(words):
        return words(value)
    raise _refused(f"{field} must be one of " + ", ".join(words), ErrorCode.VALUE_INVALID, field)


def some_of(words: type[_W], value: object, *, field: str) -> frozenset[_W]:
    """Return those of `words` that `value` is, be it one or several; for None none.

    Raises:
        InvalidRequest: `value_invalid`: it is nothing, or something that is none of them.
    """
    if value is None:
        return frozenset()
    given = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    if not given or not all(isinstance(word, str) and word in tuple(words) for word in given):
        raise _refused(
            f"{field} must be one or more of " + ", ".join(words), ErrorCode.VALUE_INVALID, field
        )
    return frozenset(map(words, given))


def clean_id(value: str, *, prefix: str, field: str) -> str:
    """Return `value`, an id of the kind that `prefix` names, such as `pay`.

    Args:
        value: a TypeID as text: the prefix, an underscore, 26 characters of base 32.
        prefix: the kind it has to be, one of `ID_PREFIXES`.
        field: the argument's name, for the error.

    Raises:
        InvalidRequest: `type_invalid` (not a str), `id_wrong_kind` (an id of another kind),
            `id_malformed` (no id at all).
    """
    checked = _id(value, prefix, field)
    del value
    return _passed(checked)


def derived_id(prefix: str, known_by: str) -> str:
    """An id in the form of every id, which is the same for whatever is known by the same name.

    Args:
        prefix: the kind, one of `ID_PREFIXES`.
        known_by: the name, with what keeps it apart from names of other kinds.
    """
    digest = hashlib.sha256(known_by.encode("utf-8", "surrogatepass")).digest()
    number = int.from_bytes(digest[:16], "big")
    digits = (_BASE_32[number >> 5 * at & 31] for at in reversed(range(_ID_DIGITS)))
    return f"{prefix}_" + "".join(digits)


def clean_email(value: str, *, field: str = "email") -> str:
    """Return an e-mail address: one @, something on both sides, no space, at most 254 characters.

    More is not checked: only a message sent tells whether an address is one.

    Raises:
        InvalidRequest: as `clean_text`, and `value_invalid`.
    """
    rule = f"{field} must look like name@example.com"
    address = _shaped(cleaned(value, field=field, max_length=254), _EMAIL, rule, field)
    del value
    return _passed(address)


def clean_postal_code(value: str, *, field: str = "postal_code") -> str:
    """Return a postal code in upper case: 1 to 16 ASCII letters and digits, spaces, dashes inside.

    Raises:
        InvalidRequest: as `clean_text`, and `value_invalid`.
    """
    rule = f"{field} must be 1 to 16 ASCII letters, digits, and spaces or dashes between them"
    code = _shaped(cleaned(value, field=field, max_length=64), _POSTAL_CODE, rule, field)
    del value
    # Upper case after the check: some letters beyond ASCII become ASCII ones by it.
    return _passed(code).strip().upper()


def _cleaned_pairs(mapping: object, field: str) -> Metadata | InvalidRequest:
    if not isinstance(mapping, Mapping):
        rule = f"{field} must be a mapping of str to str"
        return _refused(rule, ErrorCode.TYPE_INVALID, field)
    if len(mapping) > _MAX_METADATA_ENTRIES:
        rule = f"{field} may have at most {_MAX_METADATA_ENTRIES} entries"
        return _refused(rule, ErrorCode.METADATA_TOO_LARGE, field)
    pairs: dict[str, str] = {}
    for raw_key, raw_value in mapping.items():
        pair = _cleaned_pair(raw_key, raw_value, field)
        if isinstance(pair, InvalidRequest):
            return pair
        key, value = pair
        if key in pairs:
            rule = f"{field} has two keys that are the same text in Unicode normal form C"
            return _refused(rule, ErrorCode.VALUE_INVALID, field)
        pairs[key] = value
    return tuple(sorted(pairs.items()))


def _cleaned_pair(
    raw_key: object, raw_value: object, field: str
) -> tuple[str, str] | InvalidRequest:
    key = cleaned(raw_key, field=f"a key of {field}", max_length=_MAX_METADATA_KEY)
    value = cleaned(
        raw_value, field=f"a value of {field}", max_length=_MAX_METADATA_VALUE, allow_empty=True
    )
    for text in (key, value):
        if isinstance(text, InvalidRequest):
            return _refused(text.message, text.code, field)
    return str(key), str(value)


def _key(value: object, field: str) -> str | InvalidRequest:
    if not isinstance(value, str):
        return _refused(f"{field} must be a str", ErrorCode.TYPE_INVALID, field)
    if not _KEY.fullmatch(value):
        rule = f"{field} must be 1 to 255 visible ASCII characters, without spaces"
        return _refused(rule, ErrorCode.IDEMPOTENCY_KEY_INVALID, field)
    return _card_like(field) if looks_like_card_number(value) else value


def _id(value: object, prefix: str, field: str) -> str | InvalidRequest:
    if not isinstance(value, str):
        return _refused(f"{field} must be a str", ErrorCode.TYPE_INVALID, field)
    found = _ID_PREFIX.match(value)
    kind = found[1] if found else ""
    if kind not in ID_PREFIXES or not _ID_SUFFIX.fullmatch(value, len(kind) + 1):
        rule = f"{field} must be an id: {prefix}_ and 26 characters"
        return _refused(rule, ErrorCode.ID_MALFORMED, field)
    if kind != prefix:
        rule = f"{field} must be a {prefix}_ id, not a {kind}_ id"
        return _refused(rule, ErrorCode.ID_WRONG_KIND, field)
    return value


def _shaped(
    text: str | InvalidRequest, shape: re.Pattern[str], rule: str, field: str
) -> str | InvalidRequest:
    if isinstance(text, InvalidRequest) or shape.fullmatch(text):
        return text
    return _refused(rule, ErrorCode.VALUE_INVALID, field)


def _passed(result: _T | InvalidRequest) -> _T:
    """Raise the error, if it is one: here, where nothing of the refused value is left."""
    if isinstance(result, InvalidRequest):
        raise result
    return result


def _card_like(field: str) -> InvalidRequest:
    rule = f"{field} looks like it holds a card number, and no card data may be kept there"
    return _refused(rule, ErrorCode.LOOKS_LIKE_CARD_NUMBER, field)


def _refused(rule: str, code: ErrorCode, field: str) -> InvalidRequest:
    return InvalidRequest(rule, code=code, field=field)
