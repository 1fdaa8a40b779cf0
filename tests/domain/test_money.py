"""Money is exact, or refused."""

import copy
import pickle
from decimal import ROUND_UP, Decimal, localcontext
from fractions import Fraction
from typing import Any

import iso4217
import pytest
from hypothesis import given
from hypothesis import strategies as st
from no_leak import told

from payplatform._domain._iso4217 import EXPONENTS, WITHOUT_EXPONENT
from payplatform._domain.money import MAX_MINOR, Money, currency_code, require_positive
from payplatform.errors import ErrorCode, InvalidRequest

currencies = st.sampled_from(sorted(EXPONENTS))
units = st.integers(-MAX_MINOR, MAX_MINOR)
small_units = st.integers(-(10**12), 10**12)
moneys = st.builds(Money.minor, units, currencies)
euros = st.builds(Money.minor, small_units, st.just("EUR"))


def refused(amount: Any, currency: Any = "EUR") -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        Money(amount, currency)
    return caught.value


def test_the_table_is_iso_4217_code_by_code() -> None:
    listed = {code: row["CcyMnrUnts"] for code, row in iso4217.raw_table.items() if code}

    assert {code: str(exponent) for code, exponent in EXPONENTS.items()} == {
        code: places for code, places in listed.items() if places != "N.A."
    }
    assert {code for code, places in listed.items() if places == "N.A."} == WITHOUT_EXPONENT


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        EXPONENTS["EUR"] = 3  # type: ignore[index]  # that it is read-only is the point


@pytest.mark.parametrize(
    ("amount", "currency", "amount_minor", "text"),
    [
        ("19.99", "EUR", 1999, "19.99 EUR"),
        ("19.990", "EUR", 1999, "19.99 EUR"),
        ("19.9", "EUR", 1990, "19.90 EUR"),
        ("0019.99", "EUR", 1999, "19.99 EUR"),
        ("0.05", "EUR", 5, "0.05 EUR"),
        ("-0.05", "EUR", -5, "-0.05 EUR"),
        ("-0", "EUR", 0, "0.00 EUR"),
        (20, "EUR", 2000, "20.00 EUR"),
        (1000, "JPY", 1000, "1000 JPY"),
        ("1000.00", "JPY", 1000, "1000 JPY"),
        (Decimal("1E+3"), "KWD", 1_000_000, "1000.000 KWD"),
        (Decimal("-1.5"), "CLF", -15000, "-1.5000 CLF"),
        (Decimal("0E-400"), "EUR", 0, "0.00 EUR"),
        (Decimal("0E+400"), "EUR", 0, "0.00 EUR"),
        ("92233720368547758.07", "EUR", MAX_MINOR, "92233720368547758.07 EUR"),
        (-MAX_MINOR, "JPY", -MAX_MINOR, f"-{MAX_MINOR} JPY"),
    ],
)
def test_amounts_are_read_in_major_units(
    amount: Any, currency: str, amount_minor: int, text: str
) -> None:
    money = Money(amount, currency)

    assert (money.amount_minor, str(money)) == (amount_minor, text)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "1 ", " 1", "1\n", "+1", "--1", "1.", ".5", "-.5", "1,50", "1,000.00", "1_000",
        "1e3", "1E3", "NaN", "nan", "sNaN", "Infinity", "-inf", "0x10", "\u0663", "\uff11\uff19",
        "1.2.3", "\u22121", "1\x00", "1" * 65, "€5", "5 EUR",
    ],
)  # fmt: skip
def test_text_is_plain_decimal_notation_and_nothing_else(text: str) -> None:
    error = refused(text)

    assert (error.code, error.field) == (ErrorCode.AMOUNT_INVALID, "amount")


@pytest.mark.parametrize(
    "amount", [1.0, float("nan"), True, False, None, b"1", 1j, [1], Money(1, "EUR"), object()]
)
def test_what_is_no_str_int_or_decimal_is_refused(amount: Any) -> None:
    error = refused(amount)

    assert (error.code, error.field) == (ErrorCode.TYPE_INVALID, "amount")


@pytest.mark.parametrize("text", ["NaN", "sNaN", "-NaN123", "Infinity", "-Infinity"])
def test_a_decimal_that_is_no_number_is_refused(text: str) -> None:
    assert refused(Decimal(text)).code is ErrorCode.AMOUNT_INVALID


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("92233720368547758.08", "EUR"),
        ("-92233720368547758.08", "EUR"),
        (2**63, "JPY"),
        (10**5000, "EUR"),
        (Decimal("1E+999999"), "EUR"),
        (Decimal("9" * 6000), "EUR"),
        ("9" * 64, "JPY"),
    ],
    ids=range(7),
)
def test_an_amount_beyond_64_bits_of_minor_units_is_refused(amount: Any, currency: str) -> None:
    error = refused(amount, currency)

    assert (error.code, error.field) == (ErrorCode.AMOUNT_TOO_LARGE, "amount")


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("0.001", "EUR"),
        ("1000.5", "JPY"),
        ("0.0001", "KWD"),
        ("0.00001", "CLF"),
        (Decimal("1E-6000"), "EUR"),
        (Decimal("0." + "9" * 6000), "EUR"),
    ],
    ids=range(6),
)
def test_what_would_need_rounding_is_refused(amount: Any, currency: str) -> None:
    error = refused(amount, currency)

    assert (error.code, error.field) == (ErrorCode.AMOUNT_TOO_PRECISE, "amount")


@given(
    st.decimals(-(10**18), 10**18, places=4) | st.decimals(allow_nan=False, allow_infinity=False),
    currencies,
)
def test_a_decimal_is_kept_exactly_or_refused_for_the_right_reason(
    amount: Decimal, currency: str
) -> None:
    minor = Fraction(amount) * 10 ** EXPONENTS[currency]

    if abs(minor) > MAX_MINOR:
        assert refused(amount, currency).code is ErrorCode.AMOUNT_TOO_LARGE
    elif minor.denominator != 1:
        assert refused(amount, currency).code is ErrorCode.AMOUNT_TOO_PRECISE
    else:
        assert Money(amount, currency).amount == amount


@given(units, currencies)
def test_money_comes_back_from_its_own_text(amount_minor: int, currency: str) -> None:
    money = Money.minor(amount_minor, currency)
    amount, code = str(money).split(" ")

    assert Money(amount, code) == money
    assert Money(money.amount, money.currency) == money
    assert eval(repr(money)) == money  # noqa: S307  # our own repr, and what it promises


@given(units, currencies, st.integers(1, 9))
def test_a_tight_decimal_context_changes_nothing(
    amount_minor: int, currency: str, precision: int
) -> None:
    with localcontext(prec=precision, rounding=ROUND_UP):
        money = Money.minor(amount_minor, currency)
        again = Money(money.amount, currency)

    assert again.amount_minor == amount_minor


@given(moneys)
def test_the_amount_is_scaled_by_the_exponent_of_the_currency(money: Money) -> None:
    assert money.amount * 10**money.exponent == money.amount_minor
    assert money.exponent == EXPONENTS[money.currency]


@given(euros, euros, euros)
def test_addition_keeps_its_laws(a: Money, b: Money, c: Money) -> None:
    zero = Money.zero("EUR")

    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + zero == a
    assert a - b == a + -b
    assert a + -a == zero
    assert sum([a, b, c], zero) == a + b + c


@given(euros, st.integers(-1000, 1000))
def test_multiplication_is_repeated_addition(money: Money, times: int) -> None:
    assert (money * times).amount_minor == money.amount_minor * times
    assert times * money == money * times


@given(euros, euros)
def test_money_of_one_currency_is_ordered_by_its_amount(a: Money, b: Money) -> None:
    by_amount = (a.amount_minor, b.amount_minor)

    assert (a < b) is (by_amount[0] < by_amount[1])
    assert (a <= b) is (by_amount[0] <= by_amount[1])
    assert (a > b) is (by_amount[0] > by_amount[1])
    assert (a >= b) is (by_amount[0] >= by_amount[1])
    assert (a == b) is (by_amount[0] == by_amount[1])


@pytest.mark.parametrize("operator", ["__add__", "__sub__", "__lt__", "__le__", "__gt__", "__ge__"])
def test_two_currencies_do_not_mix(operator: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        getattr(Money(1, "EUR"), operator)(Money(1, "USD"))

    assert (caught.value.code, caught.value.field) == (ErrorCode.CURRENCY_MISMATCH, "currency")


@pytest.mark.parametrize("other", [1, 1.5, "1", None, Decimal(1)])
def test_money_mixes_with_nothing_but_money(other: Any) -> None:
    money = Money(1, "EUR")

    assert money != other
    with pytest.raises(TypeError):
        money + other
    with pytest.raises(TypeError):
        other - money
    with pytest.raises(TypeError):
        money < other  # noqa: B015  # asking is the point


@pytest.mark.parametrize("times", [1.5, True, "2", Decimal(2), Money(1, "EUR")])
def test_money_is_multiplied_by_whole_numbers_only(times: Any) -> None:
    with pytest.raises(TypeError):
        Money(1, "EUR") * times


@pytest.mark.parametrize(
    "attempt",
    [
        lambda most: most + Money.minor(1, "EUR"),
        lambda most: -most - Money.minor(1, "EUR"),
        lambda most: most * 2,
    ],
)
def test_arithmetic_does_not_leave_64_bits(attempt: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        attempt(Money.minor(MAX_MINOR, "EUR"))

    assert caught.value.code is ErrorCode.AMOUNT_TOO_LARGE


def test_equal_money_is_equal_in_sets_and_other_currencies_are_not() -> None:
    assert {Money("1.00", "EUR"), Money(1, "eur"), Money.minor(100, "EUR")} == {Money(1, "EUR")}
    assert Money(1, "EUR") != Money(1, "USD")
    assert Money(0, "EUR") != Money(0, "USD")


def test_only_zero_is_false() -> None:
    assert not Money.zero("EUR")
    assert Money.minor(-1, "EUR")
    assert Money.minor(1, "EUR")


@given(moneys)
def test_money_survives_copies_and_pickles(money: Money) -> None:
    assert copy.copy(money) == copy.deepcopy(money) == pickle.loads(pickle.dumps(money)) == money  # noqa: S301


def test_money_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Money(1, "EUR").amount_minor = 5  # type: ignore[misc]  # that it is read-only is the point


@pytest.mark.parametrize("amount_minor", [True, 1.0, "1", Decimal(1), None])
def test_minor_units_are_an_int(amount_minor: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Money.minor(amount_minor, "EUR")

    assert (caught.value.code, caught.value.field) == (ErrorCode.TYPE_INVALID, "amount_minor")


@pytest.mark.parametrize("amount_minor", [MAX_MINOR + 1, -MAX_MINOR - 1])
def test_minor_units_fit_64_bits(amount_minor: int) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Money.minor(amount_minor, "EUR")

    assert (caught.value.code, caught.value.field) == (ErrorCode.AMOUNT_TOO_LARGE, "amount_minor")


@given(currencies, st.randoms())
def test_a_currency_is_known_in_either_case(currency: str, random: Any) -> None:
    spelled = "".join(random.choice([c.lower(), c]) for c in currency)

    assert currency_code(spelled) == currency
    assert Money(1, spelled).currency == currency


@pytest.mark.parametrize(
    "currency",
    [
        "",
        "EU",
        "EURO",
        "ZZZ",
        " EUR",
        "EUR ",
        "EUR\n",
        "€",
        "978",
        "\u0131nr",
        "u\u017fd",
        "\ua4f0UR",
        "DEM",
    ],
)
def test_an_unknown_currency_is_refused(currency: str) -> None:
    error = refused("1", currency)

    assert (error.code, error.field) == (ErrorCode.CURRENCY_UNKNOWN, "currency")


@pytest.mark.parametrize("currency", sorted(WITHOUT_EXPONENT))
def test_a_code_without_decimal_places_is_refused_by_name(currency: str) -> None:
    error = refused("1", currency.lower())

    assert error.code is ErrorCode.CURRENCY_UNKNOWN
    assert f"{currency} has no decimal places" in str(error)


@pytest.mark.parametrize("currency", [None, 978, b"EUR", ["EUR"]])
def test_a_currency_is_text(currency: Any) -> None:
    error = refused("1", currency)

    assert (error.code, error.field) == (ErrorCode.TYPE_INVALID, "currency")


def test_what_a_caller_asks_for_is_more_than_nothing() -> None:
    one_cent = Money.minor(1, "EUR")

    assert require_positive(one_cent) is one_cent
    for money in (Money.zero("EUR"), -one_cent):
        with pytest.raises(InvalidRequest) as caught:
            require_positive(money, field="tip")
        assert (caught.value.code, caught.value.field) == (ErrorCode.AMOUNT_NOT_POSITIVE, "tip")


@pytest.mark.parametrize("amount", ["5.00", 500, None, 1.5])
def test_a_bare_number_is_no_money(amount: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        require_positive(amount)

    assert (caught.value.code, caught.value.field) == (ErrorCode.TYPE_INVALID, "amount")


@pytest.mark.parametrize(
    "attempt",
    [
        lambda digits: Money(digits, "EUR") * 10**9,
        lambda digits: Money(int(digits) * 10**9, "EUR"),
        lambda digits: Money(f"{digits}.001", "EUR"),
        lambda digits: Money(f"{digits} ", "EUR"),
        lambda digits: Money(float(digits), "EUR"),  # type: ignore[arg-type]  # wrong on purpose
        lambda digits: Money(Decimal(f"{digits}.001"), "EUR"),
        lambda digits: Money("1", digits),
        lambda digits: Money("1", int(digits)),  # type: ignore[arg-type]  # wrong on purpose
        lambda digits: Money.minor(digits, "EUR"),
        lambda digits: Money.minor(int(digits) * 10**9, "EUR"),
        require_positive,
    ],
)
def test_a_card_number_in_the_wrong_place_is_not_repeated(attempt: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        attempt("4242424242424242")

    assert told("4242424242424242", caught.value) == []
