"""The brand table: data that agrees with itself, and a lookup that agrees with the data."""

from itertools import combinations

import pytest
from card_digits import starts_of
from hypothesis import given
from hypothesis import strategies as st

from payplatform._domain.brands import LONGEST, RANGES, RULES, SHORTEST, Brand, IinRange, brand_of

any_digits = st.text("0123456789", min_size=8, max_size=19)


def naive_brand(digits: str) -> Brand:
    """The narrowest range that holds the number, found by reading the table from top to bottom."""
    narrowest: IinRange | None = None
    for known in RANGES:
        inside = known.first <= digits[: len(known.first)] <= known.last
        if inside and (narrowest is None or known.width < narrowest.width):
            narrowest = known
    return narrowest.brand if narrowest else Brand.UNKNOWN


@given(any_digits | st.sampled_from(RANGES).flatmap(starts_of).map(lambda s: s.ljust(16, "7")))
def test_the_lookup_agrees_with_a_plain_reading_of_the_table(digits: str) -> None:
    assert brand_of(digits) is naive_brand(digits)


@pytest.mark.parametrize("known", RANGES, ids=lambda r: f"{r.brand}-{r.first}-{r.last}")
def test_both_ends_of_every_range_and_their_outer_neighbours_are_read_as_the_table_says(
    known: IinRange,
) -> None:
    for prefix in (known.low, known.high, known.low - 1, known.high + 1):
        digits = str(prefix).zfill(8) + "00000000"
        assert brand_of(digits) is naive_brand(digits)


def test_two_brands_never_claim_a_number_by_equally_narrow_ranges() -> None:
    ties = [
        (one, other)
        for one, other in combinations(RANGES, 2)
        if one.brand is not other.brand
        and one.low <= other.high
        and other.low <= one.high
        and one.width == other.width
    ]

    assert ties == []


def test_ranges_of_two_brands_lie_one_inside_the_other_or_apart() -> None:
    crossing = [
        (one, other)
        for one, other in combinations(RANGES, 2)
        if one.brand is not other.brand
        and (one.low < other.low <= one.high < other.high)
        | (other.low < one.low <= other.high < one.high)
    ]

    assert crossing == []


@pytest.mark.parametrize("known", RANGES, ids=lambda r: f"{r.brand}-{r.first}-{r.last}")
def test_every_range_is_well_formed_and_says_where_it_comes_from(known: IinRange) -> None:
    assert (known.first + known.last).isdigit()
    assert len(known.first) == len(known.last) <= 8
    assert known.first <= known.last
    assert len(known.source) > 20


def test_every_brand_has_ranges_and_rules_and_unknown_has_none() -> None:
    assert {known.brand for known in RANGES} == set(Brand) - {Brand.UNKNOWN}
    assert set(RULES) == set(Brand)


@pytest.mark.parametrize("brand", Brand)
def test_every_brand_keeps_within_the_lengths_of_card_numbers(brand: Brand) -> None:
    assert RULES[brand].lengths <= set(range(SHORTEST, LONGEST + 1))
    assert RULES[brand].security_code_lengths <= {3, 4}


# Numbers from the test pages of Stripe, Adyen, Braintree, Authorize.Net, Razorpay, Craftgate and
# Interswitch, and prefixes that the schemes publish.
@pytest.mark.parametrize(
    ("digits", "brand"),
    [
        ("4242424242424242", Brand.VISA),
        ("4222222222222", Brand.VISA),
        ("5555555555554444", Brand.MASTERCARD),
        ("2223003122003222", Brand.MASTERCARD),
        ("2221000000000009", Brand.MASTERCARD),
        ("2720990000000007", Brand.MASTERCARD),
        ("6759649826438453", Brand.MAESTRO),
        ("6304000000000000", Brand.MAESTRO),
        ("5000000000000000005", Brand.MAESTRO),
        ("378282246310005", Brand.AMEX),
        ("341111111111111", Brand.AMEX),
        ("30569309025904", Brand.DINERS),
        ("36259600000004", Brand.DINERS),
        ("38520000023237", Brand.DINERS),
        ("30950000000000", Brand.DINERS),
        ("6011111111111117", Brand.DISCOVER),
        ("6445644564456445", Brand.DISCOVER),
        ("6500000000000002", Brand.DISCOVER),
        ("3566002020360505", Brand.JCB),
        ("3088000000000017", Brand.JCB),
        ("6200000000000005", Brand.UNIONPAY),
        ("6205500000000000004", Brand.UNIONPAY),
        ("6221261111117766", Brand.UNIONPAY),
        ("8171999927660000", Brand.UNIONPAY),
        ("2200000000000004", Brand.MIR),
        ("2204999999999999", Brand.MIR),
        ("6362970000457013", Brand.ELO),
        ("4011780000000000", Brand.ELO),
        ("6550000000000001", Brand.ELO),
        ("6062828888666688", Brand.HIPERCARD),
        ("6370950000000005", Brand.HIPERCARD),
        ("9792100000000001", Brand.TROY),
        ("6502740000000001", Brand.TROY),
        ("6073849700004947", Brand.RUPAY),
        ("5085000000000000", Brand.RUPAY),
        ("6521500000000000", Brand.RUPAY),
        ("8201990000000000", Brand.RUPAY),
        ("5060990580000217499", Brand.VERVE),
        ("6500020000000000", Brand.VERVE),
        ("5078650000000000", Brand.VERVE),
        ("2721000000000004", Brand.UNKNOWN),
        ("2220990000000000", Brand.UNKNOWN),
        ("2205000000000000", Brand.UNKNOWN),
        ("9791000000000000", Brand.UNKNOWN),
        ("1000000000000000", Brand.UNKNOWN),
        ("7000000000000000", Brand.UNKNOWN),
    ],
)
def test_known_numbers_have_the_brand_their_scheme_says(digits: str, brand: Brand) -> None:
    assert brand_of(digits) is brand


@pytest.mark.parametrize("text", ["", "4242x", "\uff14\uff12" * 4, "4242 4242", "-4242424"])
def test_what_is_no_digits_has_no_brand(text: str) -> None:
    assert brand_of(text) is Brand.UNKNOWN


def test_six_digits_tell_what_eight_with_zeros_would() -> None:
    assert brand_of("424242") is Brand.VISA
    assert brand_of("4") is Brand.VISA
