"""Fees: which price is the one, how a share is rounded, and which schedule counts when."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from payplatform import Brand, ErrorCode, FeeKind, FeeRate, FeeSchedule, InvalidRequest
from payplatform._domain.fees import dispute_fee, fees_for, schedule_at
from payplatform._domain.money import MAX_MINOR
from payplatform._domain.payments import Facts
from payplatform.testing._records import a_payment

START = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)

amounts = st.integers(0, 10**12)
shares = st.integers(0, 1_000_000)


def rate(**given: Any) -> FeeRate:
    return FeeRate(**{"kind": FeeKind.CAPTURE, "share_ppm": 10_000, **given})


def schedule(*rates: FeeRate, counts_from: datetime = START, number: int = 1) -> FeeSchedule:
    return FeeSchedule(
        id=f"fee_{number}",
        merchant_id="m",
        counts_from=counts_from,
        rates=rates,
        created_at=START,
    )


@given(amount=amounts, share=shares, fixed=st.integers(0, 10**6))
def test_a_fee_is_the_share_rounded_half_to_even_and_the_fixed_part(
    amount: int, share: int, fixed: int
) -> None:
    exact = Decimal(amount * share) / 1_000_000
    rounded = int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))

    price = rate(currency="EUR", share_ppm=share, fixed_minor=fixed)

    assert price.fee_minor(amount) == rounded + fixed


@pytest.mark.parametrize(
    ("amount", "fee"), [(49, 0), (50, 0), (51, 1), (149, 1), (150, 2), (250, 2), (251, 3)]
)
def test_half_a_cent_goes_to_the_even_neighbour(amount: int, fee: int) -> None:
    assert rate(share_ppm=10_000).fee_minor(amount) == fee


@given(one=amounts, other=amounts, share=shares)
def test_to_capture_in_parts_moves_the_share_by_a_minor_unit_at_most(
    one: int, other: int, share: int
) -> None:
    price = rate(share_ppm=share)

    assert abs(price.fee_minor(one) + price.fee_minor(other) - price.fee_minor(one + other)) <= 1


PAYMENT = a_payment("m", brand=Brand.VISA, currency="EUR", card_country="DE")


@pytest.mark.parametrize(
    ("conditions", "fits"),
    [
        ({}, True),
        ({"kind": "refund"}, False),
        ({"brand": "visa"}, True),
        ({"brand": "amex"}, False),
        ({"currency": "eur"}, True),
        ({"currency": "JPY"}, False),
        ({"countries": ["FR", "DE"]}, True),
        ({"countries": ["FR"]}, False),
    ],
)
def test_a_price_is_for_what_meets_all_of_its_conditions(
    conditions: dict[str, Any], fits: bool
) -> None:
    assert rate(**conditions).is_for(FeeKind.CAPTURE, PAYMENT) is fits


def test_a_card_from_nobody_knows_where_is_of_no_region() -> None:
    elsewhere = evolve(PAYMENT, card_country=None)

    assert not rate(countries=["DE"]).is_for(FeeKind.CAPTURE, elsewhere)
    assert rate().is_for(FeeKind.CAPTURE, elsewhere)


def test_of_several_prices_that_fit_the_first_is_the_one() -> None:
    prices = schedule(
        rate(brand="amex", share_ppm=30_000),
        rate(countries=["DE"], share_ppm=5_000),
        rate(share_ppm=20_000),
    )

    assert prices.fee_minor(FeeKind.CAPTURE, 10_000, PAYMENT) == 50
    assert prices.fee_minor(FeeKind.CAPTURE, 10_000, evolve(PAYMENT, brand=Brand.AMEX)) == 300
    assert prices.fee_minor(FeeKind.CAPTURE, 10_000, evolve(PAYMENT, card_country="US")) == 200
    assert prices.fee_minor(FeeKind.REFUND, 10_000, PAYMENT) == 0


def test_each_amount_that_grows_is_charged_for_and_none_that_shrinks() -> None:
    prices = schedule(
        rate(share_ppm=10_000), rate(kind="refund", currency="EUR", share_ppm=0, fixed_minor=15)
    )

    assert fees_for(Facts(authorized=5_000, captured=5_000), PAYMENT, prices) == 50
    assert fees_for(Facts(refunded=1_000), PAYMENT, prices) == 15
    assert fees_for(Facts(captured=1_000, refunded=1_000), PAYMENT, prices) == 25
    assert fees_for(Facts(captured=-5_000, refunded=-1_000), PAYMENT, prices) == 0
    assert fees_for(Facts(authorized=5_000), PAYMENT, prices) == 0
    assert fees_for(Facts(captured=5_000), PAYMENT, None) == 0


def test_what_is_charged_for_a_payment_fits_into_every_store() -> None:
    """A bank that was paid cannot be told that the fee was too large to be booked."""
    prices = schedule(rate(currency="EUR", share_ppm=1_000_000, fixed_minor=MAX_MINOR))
    charged = evolve(PAYMENT, facts=Facts(fees=7))

    assert fees_for(Facts(captured=MAX_MINOR), charged, prices) == MAX_MINOR - 7
    prices = schedule(rate(kind="dispute", currency="EUR", share_ppm=0, fixed_minor=MAX_MINOR))
    assert dispute_fee(charged, prices) == MAX_MINOR - 7


@given(
    begins=st.lists(st.integers(0, 30), max_size=6),
    day=st.integers(-1, 31),
)
def test_the_schedule_that_began_last_counts_and_of_two_at_once_the_newer(
    begins: list[int], day: int
) -> None:
    schedules = [
        schedule(counts_from=START + begin * DAY, number=number)
        for number, begin in enumerate(begins)
    ]
    expected = None
    for one in schedules:
        begun = one.counts_from <= START + day * DAY
        if begun and (expected is None or one.counts_from >= expected.counts_from):
            expected = one

    for told in (schedules, list(reversed(schedules))):
        assert schedule_at(told, START + day * DAY) == expected


@pytest.mark.parametrize(
    ("given", "field", "code"),
    [
        ({"kind": "gift"}, "kind", ErrorCode.VALUE_INVALID),
        ({"kind": None}, "kind", ErrorCode.VALUE_INVALID),
        ({"brand": "store card"}, "brand", ErrorCode.VALUE_INVALID),
        ({"currency": "EUX"}, "currency", ErrorCode.CURRENCY_UNKNOWN),
        ({"currency": 5}, "currency", ErrorCode.TYPE_INVALID),
        ({"countries": "DE"}, "countries", ErrorCode.TYPE_INVALID),
        ({"countries": 7}, "countries", ErrorCode.TYPE_INVALID),
        ({"countries": ["de"]}, "countries", ErrorCode.VALUE_INVALID),
        ({"countries": ["DEU"]}, "countries", ErrorCode.VALUE_INVALID),
        ({"countries": [49]}, "countries", ErrorCode.VALUE_INVALID),
        ({"share_ppm": -1}, "share_ppm", ErrorCode.VALUE_INVALID),
        ({"share_ppm": 1_000_001}, "share_ppm", ErrorCode.VALUE_INVALID),
        ({"kind": "dispute", "share_ppm": 1}, "share_ppm", ErrorCode.VALUE_INVALID),
        ({"share_ppm": 0.5}, "share_ppm", ErrorCode.TYPE_INVALID),
        ({"share_ppm": True}, "share_ppm", ErrorCode.TYPE_INVALID),
        ({"currency": "EUR", "fixed_minor": -1}, "fixed_minor", ErrorCode.VALUE_INVALID),
        ({"currency": "EUR", "fixed_minor": "25"}, "fixed_minor", ErrorCode.TYPE_INVALID),
        ({"fixed_minor": 25}, "currency", ErrorCode.VALUE_INVALID),
    ],
)
def test_a_price_that_breaks_its_rule_is_refused(
    given: dict[str, Any], field: str, code: ErrorCode
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        rate(**given)

    assert (caught.value.field, caught.value.code) == (field, code)
