"""Text comes back in its normal form, or is refused by field and rule and never by its content."""

import time
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from card_digits import card_digits
from hypothesis import given
from hypothesis import strategies as st
from no_leak import held, told

from payplatform._domain.brands import Brand
from payplatform._domain.text import (
    ID_PREFIXES,
    clean_email,
    clean_id,
    clean_metadata,
    clean_postal_code,
    clean_text,
    idempotency_key,
    looks_like_card_number,
)
from payplatform.errors import ErrorCode, InvalidRequest

CARD = "4242 4242 4242 4242"
SUFFIX = "01h455vb4pex5vsknk084sn02q"

FORBIDDEN = (
    [chr(c) for c in range(0x20)]
    + [chr(c) for c in range(0x7F, 0xA0)]
    + [chr(c) for c in range(0x2028, 0x202F)]
    + [chr(c) for c in range(0x2066, 0x206A)]
    + ["\ud800", "\udbff", "\udc00", "\udfff"]
)
visible = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Nd", "Zl", "Zp"]), max_size=60
).filter(lambda text: not set(text) & set(FORBIDDEN))
cards = card_digits(Brand.VISA).filter(lambda digits: len(digits) > 13)


def refused(call: Callable[[], object]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        call()
    assert caught.value.__cause__ is caught.value.__context__ is None
    return caught.value


def cleaned(value: Any, max_length: int = 60) -> str:
    return clean_text(value, field="name", max_length=max_length)


# Any text


@given(visible)
def test_text_comes_back_in_normal_form_c(text: str) -> None:
    normal = clean_text(text, field="name", max_length=200, allow_empty=True)

    assert normal == unicodedata.normalize("NFC", text)
    assert clean_text(normal, field="name", max_length=200, allow_empty=True) == normal


@pytest.mark.parametrize(
    "text",
    [
        "Ada",
        "  Ada ",
        "Zoë",
        "Zoe\u0308",
        "李小龍",
        "עדה",
        "عائشة",
        "👩‍💻",
        "O'Neil; DROP TABLE x--",
        "e\u200f",
    ],
)
def test_names_of_the_world_are_welcome(text: str) -> None:
    assert cleaned(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("character", FORBIDDEN, ids=lambda c: f"U+{ord(c):04X}")
def test_what_cannot_be_printed_is_refused(character: str) -> None:
    error = refused(lambda: cleaned(f"Ada{character}"))

    assert (error.code, error.field) == (ErrorCode.TEXT_NOT_PRINTABLE, "name")


def test_every_control_and_surrogate_of_unicode_is_among_the_refused() -> None:
    unprintable = {
        chr(code)
        for code in range(0x110000)
        if unicodedata.category(chr(code)) in {"Cc", "Zl", "Zp"}
        or unicodedata.bidirectional(chr(code)) in {"LRE", "RLE", "PDF", "LRO", "RLO"}
        or unicodedata.bidirectional(chr(code)) in {"LRI", "RLI", "FSI", "PDI"}
    }

    assert unprintable == {c for c in FORBIDDEN if not "\ud800" <= c <= "\udfff"}


@pytest.mark.parametrize("text", ["", " ", "\u3000"])
def test_nothing_but_white_space_is_empty(text: str) -> None:
    error = refused(lambda: cleaned(text))

    assert (error.code, error.field) == (ErrorCode.TEXT_EMPTY, "name")
    assert clean_text(text, field="name", max_length=5, allow_empty=True) == text


def test_length_is_counted_in_normal_form() -> None:
    assert cleaned("e\u0308" * 10, max_length=10) == "ë" * 10
    assert cleaned("\u0390", max_length=1) == "\u0390"
    assert cleaned("\u0399\u0308\u0301".lower(), max_length=1) == "\u0390"


@pytest.mark.parametrize("text", ["x" * 11, "x" * 41, "x" * 10_000_000, "\u0958" * 10])
def test_text_too_long_is_refused(text: str) -> None:
    error = refused(lambda: cleaned(text, max_length=10))

    assert (error.code, error.field) == (ErrorCode.TEXT_TOO_LONG, "name")


def test_a_flood_of_combining_marks_is_refused_without_sorting_it() -> None:
    started = time.process_time()
    error = refused(lambda: cleaned("a" + "\u0301\u0316" * 40_000))

    assert error.code is ErrorCode.TEXT_TOO_LONG
    assert time.process_time() - started < 1


@pytest.mark.parametrize("value", [None, 5, b"Ada", ["Ada"], object()])
def test_text_is_a_str(value: Any) -> None:
    error = refused(lambda: cleaned(value))

    assert (error.code, error.field) == (ErrorCode.TYPE_INVALID, "name")


EVERY_TEXT: list[Callable[[str], object]] = [
    lambda text: clean_text(text, field="name", max_length=200),
    lambda text: clean_metadata({"note": text}),
    lambda text: clean_metadata({text[:40]: "note"}),
    lambda text: idempotency_key(text.replace(" ", "-")),
    lambda text: clean_email(f"{text.replace(' ', '-')}@example.com"),
    clean_postal_code,
]


@pytest.mark.parametrize("clean", EVERY_TEXT, ids=range(6))
@given(cards, st.sampled_from(["", "ref "]))
def test_no_text_takes_a_card_number_or_tells_it(
    clean: Callable[[str], object], digits: str, before: str
) -> None:
    error = refused(lambda: clean(before + digits))

    assert error.code is ErrorCode.LOOKS_LIKE_CARD_NUMBER
    assert error.field is not None
    assert told(digits, error) == []


@pytest.mark.parametrize(
    "attempt",
    [
        lambda text: clean_text(text, field="name", max_length=200),
        lambda text: clean_text(text, field="name", max_length=5),
        lambda text: clean_text(text + "\x00", field="name", max_length=200),
        lambda text: clean_metadata({"note": text}),
        lambda text: clean_metadata({text: "note"}),
        lambda text: clean_metadata({"note": int(text.replace(" ", ""))}),  # type: ignore[dict-item]  # wrong on purpose
        clean_metadata,
        idempotency_key,
        lambda text: idempotency_key(text.replace(" ", "-")),
        lambda text: clean_id(text, prefix="pay", field="payment"),
        lambda text: clean_id("pay_" + text, prefix="pay", field="payment"),
        clean_email,
        clean_postal_code,
    ],
    ids=range(13),
)
def test_refused_text_is_neither_told_nor_kept(attempt: Callable[[str], object]) -> None:
    error = refused(lambda: attempt(CARD))

    assert told("4242", error) == []
    assert held("4242", error) == []


# Metadata


@given(
    st.dictionaries(
        visible.filter(lambda text: bool(text.strip()))
        .map(lambda text: text.strip()[:20])
        .filter(bool),
        visible,
        max_size=10,
    )
)
def test_metadata_is_sorted_pairs_in_normal_form(mapping: dict[str, str]) -> None:
    expected = {
        unicodedata.normalize("NFC", key): unicodedata.normalize("NFC", value)
        for key, value in mapping.items()
    }
    if len(expected) < len(mapping):
        assert refused(lambda: clean_metadata(mapping)).code is ErrorCode.VALUE_INVALID
        return
    metadata = clean_metadata(mapping)

    assert dict(metadata) == expected
    assert list(metadata) == sorted(metadata)
    assert hash(metadata) == hash(clean_metadata(dict(reversed(mapping.items()))))
    assert clean_metadata(dict(metadata)) == metadata


def test_no_metadata_is_empty_metadata() -> None:
    assert clean_metadata(None) == clean_metadata({}) == ()


def test_metadata_may_be_as_large_as_the_rule_says() -> None:
    largest = {"k" * 38 + f"{i:02}": "v" * 500 for i in range(50)}

    assert dict(clean_metadata(largest)) == largest


@pytest.mark.parametrize(
    ("mapping", "code"),
    [
        ({f"k{i}": "" for i in range(51)}, ErrorCode.METADATA_TOO_LARGE),
        ({"x" * 41: ""}, ErrorCode.TEXT_TOO_LONG),
        ({"k": "x" * 501}, ErrorCode.TEXT_TOO_LONG),
        ({"": "v"}, ErrorCode.TEXT_EMPTY),
        ({" ": "v"}, ErrorCode.TEXT_EMPTY),
        ({"k": 5}, ErrorCode.TYPE_INVALID),
        ({"k": None}, ErrorCode.TYPE_INVALID),
        ({"k": {"nested": "v"}}, ErrorCode.TYPE_INVALID),
        ({5: "v"}, ErrorCode.TYPE_INVALID),
        ({"k\x00": "v"}, ErrorCode.TEXT_NOT_PRINTABLE),
        ({"k": "line\nbreak"}, ErrorCode.TEXT_NOT_PRINTABLE),
        ({"e\u0308": "1", "\u00eb": "2"}, ErrorCode.VALUE_INVALID),
        ([("k", "v")], ErrorCode.TYPE_INVALID),
        ("k=v", ErrorCode.TYPE_INVALID),
        (5, ErrorCode.TYPE_INVALID),
    ],
    ids=range(15),
)
def test_other_metadata_is_refused(mapping: Any, code: ErrorCode) -> None:
    error = refused(lambda: clean_metadata(mapping))

    assert (error.code, error.field) == (code, "metadata")


def test_any_mapping_will_do() -> None:
    class Settings(Mapping[str, str]):
        def __getitem__(self, key: str) -> str:
            return "v"

        def __iter__(self) -> Any:
            return iter(["b", "a"])

        def __len__(self) -> int:
            return 2

    assert clean_metadata(Settings()) == (("a", "v"), ("b", "v"))


# Idempotency keys


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255))
def test_a_key_of_visible_ascii_comes_back_as_it_is(key: str) -> None:
    if not looks_like_card_number(key):
        assert idempotency_key(key) == key


@given(st.uuids())
def test_every_uuid_is_a_key(key: Any) -> None:
    assert idempotency_key(str(key)) == str(key)


@pytest.mark.parametrize(
    "key", ["", "x" * 256, "a b", " a", "a\n", "a\x00", "a\x7f", "clé", "\ud800", "键", "\uff01"]
)
def test_another_key_is_refused(key: str) -> None:
    error = refused(lambda: idempotency_key(key))

    assert (error.code, error.field) == (ErrorCode.IDEMPOTENCY_KEY_INVALID, "idempotency_key")


@pytest.mark.parametrize("key", [None, 5, b"key"])
def test_a_key_is_text(key: Any) -> None:
    assert refused(lambda: idempotency_key(key)).code is ErrorCode.TYPE_INVALID


# Ids


@pytest.mark.parametrize("prefix", sorted(ID_PREFIXES))
def test_an_id_of_the_right_kind_comes_back_as_it_is(prefix: str) -> None:
    value = f"{prefix}_{SUFFIX}"

    assert clean_id(value, prefix=prefix, field="id") == value


@pytest.mark.parametrize("kind", sorted(ID_PREFIXES - {"pay"}))
def test_an_id_of_another_kind_is_told_so(kind: str) -> None:
    error = refused(lambda: clean_id(f"{kind}_{SUFFIX}", prefix="pay", field="payment"))

    assert (error.code, error.field) == (ErrorCode.ID_WRONG_KIND, "payment")
    assert SUFFIX not in str(error)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "pay",
        "pay_",
        SUFFIX,
        f"_{SUFFIX}",
        f"pay{SUFFIX}",
        f"pay-{SUFFIX}",
        f"pay__{SUFFIX}",
        f"pay_{SUFFIX}x",
        f"pay_{SUFFIX[:-1]}",
        f"pay_{SUFFIX}\n",
        f" pay_{SUFFIX}",
        f"PAY_{SUFFIX}",
        f"pay_{SUFFIX.upper()}",
        f"pay_8{SUFFIX[1:]}",
        *(f"pay_{SUFFIX[:-1]}{letter}" for letter in "iloué-_"),
        f"foo_{SUFFIX}",
        "cus_short",
        f"pay_{SUFFIX}" * 1000,
    ],
    ids=range(25),
)
def test_what_is_no_id_is_malformed(value: str) -> None:
    error = refused(lambda: clean_id(value, prefix="pay", field="payment"))

    assert (error.code, error.field) == (ErrorCode.ID_MALFORMED, "payment")
    assert SUFFIX not in str(error)


@pytest.mark.parametrize("value", [None, 5, b"pay_", {}])
def test_an_id_is_text(value: Any) -> None:
    assert refused(lambda: clean_id(value, prefix="pay", field="id")).code is ErrorCode.TYPE_INVALID


# E-mail addresses and postal codes


@pytest.mark.parametrize(
    "value",
    ["ada@example.com", "a@b", "ada+books@sub.example.co.uk", "ädå@exämple.com", "o'neil@x.ie"],
)
def test_an_address_comes_back_as_it_is(value: str) -> None:
    assert clean_email(value) == value


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", ErrorCode.TEXT_EMPTY),
        ("ada", ErrorCode.VALUE_INVALID),
        ("@example.com", ErrorCode.VALUE_INVALID),
        ("ada@", ErrorCode.VALUE_INVALID),
        ("ada@@example.com", ErrorCode.VALUE_INVALID),
        ("ada@b@c", ErrorCode.VALUE_INVALID),
        ("ada @example.com", ErrorCode.VALUE_INVALID),
        ("ada@example..com", ErrorCode.VALUE_INVALID),
        ("ada@.com", ErrorCode.VALUE_INVALID),
        ("ada@example.com.", ErrorCode.VALUE_INVALID),
        ("a" * 65 + "@example.com", ErrorCode.VALUE_INVALID),
        ("ada@" + "a" * 251, ErrorCode.TEXT_TOO_LONG),
        ("ada@example.com\n", ErrorCode.TEXT_NOT_PRINTABLE),
        (None, ErrorCode.TYPE_INVALID),
    ],
)
def test_what_is_no_address_is_refused(value: Any, code: ErrorCode) -> None:
    error = refused(lambda: clean_email(value))

    assert (error.code, error.field) == (code, "email")


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        ("10115", "10115"),
        ("sw1a 1aa", "SW1A 1AA"),
        (" 75008 ", "75008"),
        ("12345-6789", "12345-6789"),
    ],
)
def test_a_postal_code_comes_back_in_upper_case(value: str, normal: str) -> None:
    assert clean_postal_code(value) == normal


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", ErrorCode.TEXT_EMPTY),
        ("-123", ErrorCode.VALUE_INVALID),
        ("123-", ErrorCode.VALUE_INVALID),
        ("1" * 17, ErrorCode.VALUE_INVALID),
        ("1234é", ErrorCode.VALUE_INVALID),
        ("\u0661\u0662\u0663", ErrorCode.VALUE_INVALID),
        ("straße", ErrorCode.VALUE_INVALID),
        ("12_34", ErrorCode.VALUE_INVALID),
        (12345, ErrorCode.TYPE_INVALID),
    ],
)
def test_what_is_no_postal_code_is_refused(value: Any, code: ErrorCode) -> None:
    error = refused(lambda: clean_postal_code(value))

    assert (error.code, error.field) == (code, "postal_code")
