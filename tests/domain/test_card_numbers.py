"""The check digit, and text that holds a card number."""

import time
import uuid
from datetime import UTC, datetime

import pytest
from card_digits import card_digits, spaced
from hypothesis import assume, given
from hypothesis import strategies as st

from payplatform._domain.brands import RULES, Brand, brand_of
from payplatform._domain.card_numbers import looks_like_card_number, luhn_check_digit, luhn_valid

digits_texts = st.text("0123456789", min_size=1, max_size=30)
long_cards = card_digits().filter(
    lambda digits: len(digits) >= (16 if brand_of(digits) is Brand.MAESTRO else 14)
)


def naive_luhn(digits: str) -> bool:
    """Double every second digit from the right, add the digits of the results, look at the sum."""
    doubled = [int(d) * (1 + place % 2) for place, d in enumerate(reversed(digits))]
    return sum(sum(map(int, str(number))) for number in doubled) % 10 == 0


@given(digits_texts)
def test_the_check_agrees_with_the_textbook(digits: str) -> None:
    assert luhn_valid(digits) is naive_luhn(digits)


@given(digits_texts)
def test_exactly_one_digit_completes_a_number(partial: str) -> None:
    valid = [digit for digit in "0123456789" if luhn_valid(partial + digit)]

    assert valid == [luhn_check_digit(partial)]


@given(card_digits(), st.data())
def test_every_single_wrong_digit_is_caught(digits: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(digits) - 1))
    wrong = data.draw(st.sampled_from("0123456789").filter(lambda d: d != digits[place]))

    assert not luhn_valid(digits[:place] + wrong + digits[place + 1 :])


@given(card_digits(), st.data())
def test_every_swap_of_unlike_neighbours_is_caught_but_09_and_90(
    digits: str, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(digits) - 2))
    pair = digits[place : place + 2]
    assume(pair[0] != pair[1])
    swapped = digits[:place] + pair[::-1] + digits[place + 2 :]

    assert luhn_valid(swapped) is (pair in {"09", "90"})


@pytest.mark.parametrize("text", ["", " ", "4242 4242", "\uff14\uff12", "²", "-18", "1_8", "abc"])
def test_only_ascii_digits_have_a_check_digit(text: str) -> None:
    assert not luhn_valid(text)
    with pytest.raises(ValueError, match="ASCII digits only"):
        luhn_check_digit(text)


def test_the_error_about_what_is_no_digits_does_not_repeat_it() -> None:
    with pytest.raises(ValueError, match="ASCII digits") as caught:
        luhn_check_digit("4242 4242 4242 424")

    assert "4242" not in repr(caught.value)


around = st.sampled_from(["", " ", "card ", "PAN:", "(", "\n", "=", '"', "€", "卡"])
gaps = st.sampled_from(
    ["", " ", "-", "_", "/", "\u00a0", "\u2009", "\u200b", "\u2013", " - ", "\t"]
)


@given(long_cards, around, around)
def test_a_card_number_in_text_is_seen(digits: str, before: str, after: str) -> None:
    assert looks_like_card_number(before + digits + after)


@given(long_cards.flatmap(lambda digits: spaced(digits, gaps=gaps)), around, around)
def test_a_card_number_is_seen_however_it_is_parted(text: str, before: str, after: str) -> None:
    assert looks_like_card_number(before + text + after)


@given(long_cards, st.sampled_from([".", "\u00b7"]), st.integers(1, 6))
def test_a_card_number_is_seen_when_dots_part_it(digits: str, dot: str, size: int) -> None:
    groups = [digits[i : i + size] for i in range(0, len(digits), size)]

    assert looks_like_card_number(dot.join(groups))


@given(long_cards, st.sampled_from([0x0660, 0x0966, 0xFF10, 0x1D7CE]))
def test_a_card_number_is_seen_in_the_digits_of_any_script(digits: str, zero: int) -> None:
    assert looks_like_card_number("".join(chr(zero + int(digit)) for digit in digits))


@pytest.mark.parametrize(
    "text",
    [
        "order 12 4242 4242 4242 4242",
        "4242 4242 4242 4242 12/30 123",
        "4242-4242-4242-4242",
        "3782 822463 10005",
        "3056 930902 5904",
        "tok_4242_4242_4242_4242",
        "5555.5555.5555.4444",
        "card4242424242424242",
        "4242424242424242VISA",
        "4222222222222",
        "2026-11-23 4242 4242 4242 4242",
        "+4242424242424242",
        "4915123456001",
        "4006 3813 3302 3",
        "0.5 4242424242424242",
        "4242424242424242.50",
        "4242424242424242.",
        "1.4242424242424242.1",
        "6205500000000000004",
    ],
)
def test_what_people_paste_is_seen(text: str) -> None:
    assert looks_like_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "order-1001",
        "4242424242424241",
        "4242 4242 4242 424",
        "424242******4242",
        "visa ****4242",
        "2026-11-23T20:00:00.123456+00:00",
        "2026-11-23 20:00:00.123456",
        "20261123200000",
        "1795464000000000000",
        "42424242424242424242",
        "4242424242424242123",
        "14242424242424242",
        "0x4242424242424242ab12",
        "a4242424242424242b1",
        "deadbeef42424242424242420000",
        "42424242-4242-4242-8242-424242424242",
        "pay_4242424242424242ab1234567x",
        "0.4242424242424242",
        "4006381333023",
        "+49 1512 3456 001",
        "+4915123456001",
        "42.42.42.42 42.42.42.42",
        "4242, 4242, 4242, 4242",
        "42:42:42:42:42:42:42:42",
        "DE89 3704 0044 0532 0130 00",
        "DE89370400440532013000",
        "356938035643809",
        "8944500102198304826",
        "6304000000000",
        "48.208174 16.373819",
        "48.2081741637381",
        "-0.4242424242424242.",
        "4.242424242424242",
        "9999999999999995",
    ],
)
def test_what_shops_write_is_let_through(text: str) -> None:
    assert not looks_like_card_number(text)


@given(st.uuids(version=4), st.sampled_from(["", "order-", "key:", "v1_"]))
def test_a_uuid_is_never_taken_for_a_card(value: uuid.UUID, before: str) -> None:
    assert not looks_like_card_number(before + str(value))
    assert not looks_like_card_number(before + str(value).upper())


digit_uuids = st.text("0123456789", min_size=32, max_size=32).map(lambda h: str(uuid.UUID(hex=h)))


@given(digit_uuids)
def test_not_even_a_uuid_that_happens_to_have_no_letters(value: str) -> None:
    assert not looks_like_card_number(value)


# From September 2039 on, microseconds since 1970 start with 22, as Mir's and Mastercard's cards do.
@given(st.integers(946_684_800 * 10**6, 2_200_000_000 * 10**6 - 1))
def test_a_time_is_never_taken_for_a_card(microseconds: int) -> None:
    moment = datetime.fromtimestamp(microseconds // 10**6, UTC).replace(
        microsecond=microseconds % 10**6
    )

    for text in (
        moment.isoformat(),
        moment.isoformat(" "),
        moment.strftime("%Y%m%d%H%M%S"),
        moment.strftime("%Y%m%d-%H%M%S-%f"),
        str(microseconds // 1000),
        str(microseconds),
        str(microseconds * 1000),
    ):
        assert not looks_like_card_number(text)


@given(st.floats(-1e7, 1e7))
def test_a_decimal_number_is_never_taken_for_a_card(number: float) -> None:
    assert not looks_like_card_number(str(number))
    assert not looks_like_card_number(f"{number:.9f},{number:.9f}")


@given(card_digits())
def test_only_the_whole_run_counts_not_a_part_of_it(digits: str) -> None:
    run = digits + "1" * (20 - len(digits))

    assert not looks_like_card_number(run)
    assert not looks_like_card_number("1" + run)


@given(st.text("0123456789", min_size=13, max_size=19))
def test_digits_are_refused_only_when_a_known_brand_could_have_issued_them(digits: str) -> None:
    brand = brand_of(digits)
    possible = (
        luhn_valid(digits) and brand is not Brand.UNKNOWN and len(digits) in RULES[brand].lengths
    )

    assert looks_like_card_number(digits) <= possible


@pytest.mark.parametrize(
    "text",
    ["4 " * 5_000, "4" * 10_000, "4a" * 5_000, "4   " * 2_500, "a" * 10_000, "0." * 5_000],
    ids=range(6),
)
def test_long_text_is_read_quickly(text: str) -> None:
    started = time.process_time()
    looks_like_card_number(text)

    assert time.process_time() - started < 2
