"""The schemes' codes come down to a few reasons, and what no table knows is general."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payplatform._domain.brands import Brand
from payplatform._domain.dispute_reasons import DISPUTE_REASONS, DisputeReason, reason_of

SHAPES = {
    Brand.VISA: r"1[0-3]\.\d(\.\d)?",
    Brand.MASTERCARD: r"4\d{3}",
    Brand.AMEX: r"[ACFMPR]\d{2}|FR\d",
    Brand.DISCOVER: r"[A-Z]{2}\d?|UA0\d",
}
"""How each scheme writes its codes."""


@pytest.mark.parametrize(("brand", "code"), list(DISPUTE_REASONS))
def test_every_code_is_written_as_its_scheme_writes_it(brand: Brand, code: str) -> None:
    assert re.fullmatch(SHAPES[brand], code)


def test_every_reason_has_words_and_a_code_of_some_scheme() -> None:
    assert set(DISPUTE_REASONS.values()) == set(DisputeReason)
    assert all(reason.words for reason in DisputeReason)


@pytest.mark.parametrize(
    ("brand", "code", "reason"),
    [
        (Brand.VISA, "10.4", "fraud"),
        (Brand.VISA, "13.1", "not_received"),
        (Brand.VISA, "12.6.1", "duplicate"),
        (Brand.MASTERCARD, "4837", "fraud"),
        (Brand.MASTERCARD, "4860", "credit_not_processed"),
        (Brand.AMEX, "F29", "fraud"),
        (Brand.AMEX, "C08", "not_received"),
        (Brand.DISCOVER, "UA02", "fraud"),
        (Brand.DISCOVER, "RM", "not_as_described"),
        (Brand.DISCOVER, " rm ", "not_as_described"),
    ],
)
def test_codes_that_everybody_knows(brand: Brand, code: str, reason: str) -> None:
    assert reason_of(brand, code) == reason


@given(brand=st.sampled_from(Brand), code=st.text(max_size=20))
def test_any_code_has_a_reason(brand: Brand, code: str) -> None:
    known = (brand, code.strip().upper()) in DISPUTE_REASONS
    assert known or reason_of(brand, code) is DisputeReason.GENERAL


def test_a_code_of_another_scheme_is_not_this_ones() -> None:
    assert reason_of(Brand.AMEX, "10.4") is DisputeReason.GENERAL
