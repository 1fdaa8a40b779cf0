"""A card is read generously, checked strictly, and never shown."""

import copy
import inspect
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import cattrs
import pytest
from card_digits import card_digits, spaced
from hypothesis import assume, given
from hypothesis import strategies as st
from no_leak import held, told

from payplatform._domain.brands import RULES, Brand, brand_of
from payplatform._domain.cards import (
    Card,
    Expiry,
    card_expiry,
    expiry_moment,
    require_not_expired,
    security_code,
)
from payplatform._domain.secret import Secret
from payplatform.errors import ErrorCode, InvalidRequest

VISA = "4242424242424242"

months = st.integers(1, 12)
years = st.integers(2000, 2099)


def refused(call: Callable[[], object]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        call()
    return caught.value


# Reading a number


@pytest.mark.parametrize("brand", sorted(set(Brand) - {Brand.UNKNOWN}))
@given(data=st.data())
def test_a_valid_number_of_every_brand_is_read_however_it_is_spaced(
    brand: Brand, data: st.DataObject
) -> None:
    digits = data.draw(card_digits(brand))
    card = Card(data.draw(spaced(digits)), "12/30")

    assert card.brand is brand
    assert card.number.reveal() == digits
    assert (card.bin, card.last4) == (digits[:6], digits[-4:])


@given(card_digits())
def test_what_is_shown_is_bin_and_last_four_and_stars(digits: str) -> None:
    card = Card(digits, "12/30")

    assert card.masked == digits[:6] + "*" * (len(digits) - 10) + digits[-4:]
    assert repr(card) == str(card) == f"{card} "[:-1] == f"{card.brand} ****{digits[-4:]}"


def test_a_number_no_range_knows_is_left_to_the_bank() -> None:
    card = Card("9999 9999 9999 9995", "12/30")

    assert card.brand is Brand.UNKNOWN
    assert repr(card) == "unknown ****9995"


@pytest.mark.parametrize(
    "number",
    [
        "",
        " ",
        "-",
        "4242.4242.4242.4242",
        "4242_4242_4242_4242",
        "4242/4242/4242/4242",
        "4242\u00a04242\u00a04242\u00a04242",
        "4242 4242 4242 4242\n",
        "4242\t4242 4242 4242",
        "-4242424242424242",
        "4242424242424242-",
        " - 4242424242424242",
        "+4242424242424242",
        "4242424242424242x",
        "\uff14\uff12" * 8,
        "\u0664\u0662" * 8,
        "4242424242424242\x00",
        "4" + " " * 64 + "242424242424242",
        "0000 0000 0000 0000",
        "0604000000000000",
    ],
)
def test_other_characters_are_no_number(number: str) -> None:
    error = refused(lambda: Card(number, "12/30"))

    assert (error.code, error.field) == (ErrorCode.CARD_NUMBER_INVALID, "number")


@pytest.mark.parametrize(
    "number", [4242424242424242, None, b"4242424242424242", 4.2, ["4242"], Secret(VISA)]
)
def test_a_number_is_text(number: Any) -> None:
    error = refused(lambda: Card(number, "12/30"))

    assert (error.code, error.field) == (ErrorCode.TYPE_INVALID, "number")


@pytest.mark.parametrize(
    "number",
    [
        "4242",
        "42424242424",
        "42424242424242424242",
        "4242 4242 4242 424",
        "42424242424242424",
        "5555 5555 5555 444",
        "3782 822463 1000",
        "3782 822463 100055",
        "6200 0000 0000 005",
        "9999999999",
    ],
)
def test_a_number_is_as_long_as_its_brand_says(number: str) -> None:
    error = refused(lambda: Card(number, "12/30"))

    assert (error.code, error.field) == (ErrorCode.CARD_NUMBER_LENGTH, "number")


@given(card_digits(), st.data())
def test_one_mistyped_digit_is_caught(digits: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(digits) - 1))
    wrong = data.draw(st.sampled_from("0123456789").filter(lambda d: d != digits[place]))
    mistyped = digits[:place] + wrong + digits[place + 1 :]
    assume(RULES[brand_of(mistyped)].has_check_digit)

    error = refused(lambda: Card(mistyped, "12/30"))

    assert error.field == "number"


def test_unionpay_numbers_need_no_check_digit() -> None:
    assert Card("6200 0000 0000 0001", "12/30").brand is Brand.UNIONPAY


# Nothing leaks


@given(
    st.text("0123456789", min_size=1, max_size=25),
    st.sampled_from(["", " ", "-", ".", "x", "\n", "\u0664"]),
    st.sampled_from(["12/30", "13/30", "", "4242424242424242", None]),
    st.sampled_from([None, "Ada", "", "4242424242424242", "4111 1111 1111 1111", 5]),
)
def test_no_failing_card_tells_or_keeps_a_digit_of_its_number(
    digits: str, odd: str, expiry: Any, holder: Any
) -> None:
    number = digits[: len(digits) // 2] + odd + digits[len(digits) // 2 :]
    try:
        Card(number, expiry, holder)
    except InvalidRequest as error:
        refusal = error
    else:
        return

    for secret in {digits, number, str(expiry), str(holder)} - {"", "None", "Ada", "12/30"}:
        if len(secret) >= 5:
            assert told(secret, refusal) == []
            assert held(secret, refusal) == []
    assert refusal.__cause__ is refusal.__context__ is None


@pytest.mark.parametrize(
    "text", ["4242", "12", "", "12345", "1 3", "12x", "\u0661\u0662\u0663", "42424242"]
)
def test_no_refused_security_code_is_told_or_kept(text: str) -> None:
    error = refused(lambda: security_code(text, Brand.VISA))

    assert (error.code, error.field) == (ErrorCode.SECURITY_CODE_INVALID, "security_code")
    assert not text or told(text, error) == []
    assert not text or text not in repr(held(text, error))
    assert error.__cause__ is error.__context__ is None


@attrs.frozen
class Order:
    card: Card


@pytest.mark.parametrize(
    "attempt",
    [
        copy.copy,
        copy.deepcopy,
        pickle.dumps,
        vars,
        dict,
        list,
        lambda card: pickle.dumps(card, 0),
        lambda card: pickle.dumps(Order(card)),
        lambda card: copy.deepcopy(Order(card)),
        lambda card: card.__getstate__(),
        lambda card: setattr(card, "last4", "0000"),
        lambda card: setattr(card, "note", "x"),
        lambda card: delattr(card, "number"),
        lambda card: str(card.number),
    ],
)
def test_a_card_is_neither_copied_nor_pickled_nor_changed(attempt: Callable[[Card], Any]) -> None:
    with pytest.raises(TypeError) as caught:
        attempt(Card(VISA, "12/30"))

    assert told(VISA, caught.value) == []


def test_a_card_is_no_attrs_class() -> None:
    with pytest.raises(attrs.exceptions.NotAnAttrsClassError) as caught:
        attrs.asdict(Card(VISA, "12/30"))  # type: ignore[arg-type]  # wrong on purpose

    assert told(VISA, caught.value) == []


@pytest.mark.parametrize(
    "look",
    [
        repr,
        str,
        ascii,
        format,
        dir,
        inspect.getmembers,
        lambda card: repr(attrs.asdict(Order(card))),
        lambda card: repr(attrs.astuple(Order(card))),
        lambda card: repr(cattrs.unstructure(Order(card))),
        lambda card: repr([card, {"card": card}]),
        lambda card: [getattr(card, slot) for slot in card.__slots__],
    ],
)
def test_no_way_of_looking_shows_the_number(look: Callable[[Card], Any]) -> None:
    assert VISA not in repr(look(Card(VISA, "12/30", "Ada")))


def test_cards_compare_by_identity() -> None:
    card, twin = Card(VISA, "12/30"), Card(VISA, "12/30")

    assert card == card  # noqa: PLR0124  # with itself is the point
    assert card != twin
    assert len({card, twin}) == 2


# The holder


def test_a_holder_is_optional_and_kept_in_normal_form() -> None:
    assert Card(VISA, "12/30").holder is None
    assert Card(VISA, "12/30", "Zoe\u0308").holder == "Zo\u00eb"


@pytest.mark.parametrize(
    ("holder", "code"),
    [
        ("", ErrorCode.TEXT_EMPTY),
        ("x" * 101, ErrorCode.TEXT_TOO_LONG),
        ("Ada\n", ErrorCode.TEXT_NOT_PRINTABLE),
        (VISA, ErrorCode.LOOKS_LIKE_CARD_NUMBER),
        (5, ErrorCode.TYPE_INVALID),
    ],
)
def test_a_holder_is_a_name(holder: Any, code: ErrorCode) -> None:
    error = refused(lambda: Card(VISA, "12/30", holder))

    assert (error.code, error.field) == (code, "holder")


# Expiry


@pytest.mark.parametrize(
    "expiry",
    [
        "12/30", "12/2030", "12-30", "12-2030", "12 / 30", "12/ 30", " 12/30 ", "1230", "2030-12",
        (12, 30), (12, 2030), Expiry(12, 2030),
    ],
)  # fmt: skip
def test_an_expiry_is_read_in_many_forms(expiry: Any) -> None:
    card = Card(VISA, expiry)

    assert (card.expiry_month, card.expiry_year) == (12, 2030)
    assert card_expiry(expiry) == Expiry(month=12, year=2030)


@given(months, years)
def test_every_form_of_every_month_says_the_same(month: int, year: int) -> None:
    short = year % 100
    forms: list[Any] = [
        f"{month}/{short:02}",
        f"{month:02}/{year}",
        f"{month:02}-{short:02}",
        f"{month:02}{short:02}",
        f"{year}-{month:02}",
        (month, short),
        (month, year),
    ]

    assert {card_expiry(form) for form in forms} == {Expiry(month, year)}


@pytest.mark.parametrize(
    "expiry",
    [
        "", " ", "12", "123", "12345", "122030", "203012", "2030/12", "12.30", "12  / 30", "12//30",
        "13/30", "0/30", "00/30", "0030", "1330", "12/3", "12/030", "12/1999", "12/2100", "2030-13",
        "2030-1", "-1/30", "12/-30", "Dec 30", "12/30\n", "\u0661\u0662/\u0663\u0660", "12/3o",
        (13, 30), (0, 30), (12, 1999), (12, 2100), (12, -1), (12,), (1, 12, 30), (), ("12", "30"),
        (True, 30), (12, True), (12.0, 30), (None, None), (10**5000, 30),
    ],
    ids=range(42),
)  # fmt: skip
def test_what_is_no_month_of_this_century_is_refused(expiry: Any) -> None:
    error = refused(lambda: Card(VISA, expiry))

    assert (error.code, error.field) == (ErrorCode.CARD_EXPIRY_INVALID, "expiry")


@pytest.mark.parametrize("expiry", [None, 1230, 12.30, [12, 30], datetime(2030, 12, 1, tzinfo=UTC)])
def test_an_expiry_is_text_or_a_tuple(expiry: Any) -> None:
    error = refused(lambda: card_expiry(expiry, field="until"))

    assert (error.code, error.field) == (ErrorCode.TYPE_INVALID, "until")


def test_a_card_is_good_until_its_last_month_is_over_everywhere_on_earth() -> None:
    card = Card(VISA, "12/30")
    last_place = timezone(timedelta(hours=-12))
    midnight = datetime(2031, 1, 1, tzinfo=last_place)

    assert card.expires_after == midnight
    assert not card.is_expired(midnight - timedelta(microseconds=1))
    assert card.is_expired(midnight)


@given(months, years, st.integers(-12, 14), st.timedeltas(timedelta(0), timedelta(days=27)))
def test_nowhere_on_earth_does_a_card_expire_within_its_month(
    month: int, year: int, offset: int, into: timedelta
) -> None:
    somewhere = timezone(timedelta(hours=offset))

    assert datetime(year, month, 1, tzinfo=somewhere) + into < expiry_moment(year, month)


@given(months, years)
def test_a_card_expires_within_a_day_of_its_month_by_any_clock(month: int, year: int) -> None:
    moment = expiry_moment(year, month)

    assert moment.tzinfo is UTC
    assert (moment - timedelta(days=1)).month == month
    assert (moment.day, moment.hour) == (1, 12)


def test_an_expired_card_is_refused_when_asked_for() -> None:
    card = Card(VISA, "11/26")
    require_not_expired(card, datetime(2026, 12, 1, 11, 59, tzinfo=UTC))

    error = refused(lambda: require_not_expired(card, datetime(2026, 12, 1, 12, tzinfo=UTC)))

    assert (error.code, error.field) == (ErrorCode.CARD_EXPIRED, "expiry")


def test_whatever_has_an_expiry_can_be_asked() -> None:
    @attrs.frozen
    class Method:
        expiry_month: int
        expiry_year: int

    now = datetime(2026, 11, 23, tzinfo=UTC)
    require_not_expired(Method(11, 2026), now)

    assert (
        refused(lambda: require_not_expired(Method(10, 2026), now)).code is ErrorCode.CARD_EXPIRED
    )


def test_a_time_without_a_zone_is_refused() -> None:
    naive = datetime(2026, 11, 23)  # noqa: DTZ001  # naive on purpose

    error = refused(lambda: Card(VISA, "12/30").is_expired(naive))

    assert (error.code, error.field) == (ErrorCode.VALUE_INVALID, "now")


@pytest.mark.parametrize(
    ("year", "month"), [(2030, 0), (2030, 13), (30, 12), (1999, 12), (2100, 1)]
)
def test_only_a_month_of_this_century_has_a_moment(year: int, month: int) -> None:
    assert refused(lambda: expiry_moment(year, month)).code is ErrorCode.CARD_EXPIRY_INVALID


# Security codes


@pytest.mark.parametrize(
    ("text", "brand"),
    [
        ("007", Brand.VISA),
        ("1234", Brand.AMEX),
        ("123", Brand.UNKNOWN),
        ("1234", Brand.UNKNOWN),
        *(("123", brand) for brand in Brand if brand is not Brand.AMEX),
    ],
)
def test_a_security_code_is_as_long_as_the_brand_says(text: str, brand: Brand) -> None:
    assert security_code(text, brand).reveal() == text


@pytest.mark.parametrize(
    ("text", "brand"),
    [("123", Brand.AMEX), ("1234", Brand.VISA), ("12", Brand.UNKNOWN), ("12345", Brand.UNKNOWN)],
)
def test_a_security_code_of_another_length_is_refused(text: str, brand: Brand) -> None:
    assert refused(lambda: security_code(text, brand)).code is ErrorCode.SECURITY_CODE_INVALID


@pytest.mark.parametrize("text", [123, None, b"123", ["1", "2", "3"], Secret("123")])
def test_a_security_code_is_text(text: Any) -> None:
    error = refused(lambda: security_code(text, Brand.VISA))

    assert (error.code, error.field) == (ErrorCode.TYPE_INVALID, "security_code")


def test_a_brand_that_is_none_is_not_told_either() -> None:
    brand: Any = VISA

    error = refused(lambda: security_code("12", brand))

    assert told(VISA, error) == []
