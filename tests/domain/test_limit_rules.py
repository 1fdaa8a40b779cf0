"""What the card networks forbid, and what a rule may be."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from payplatform._domain.brands import Brand
from payplatform._domain.declines import DECLINE_RULES, Decline, DeclineCode, DeclineKind
from payplatform._domain.limits import (
    LIMITS,
    RETRY_RULES,
    Counted,
    Limit,
    Per,
    Refusal,
    RetryRule,
    forbidden_by_network,
)
from payplatform._domain.money import Money
from payplatform._domain.operations import Operation, OperationKind, OperationState
from payplatform.errors import ErrorCode, InvalidRequest

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
EUR_5 = Money("5.00", "EUR")
SOFT = DeclineCode.INSUFFICIENT_FUNDS

ATTEMPT = Operation(
    id="op_0",
    merchant_id="m",
    subject_id="p",
    kind=OperationKind.SALE,
    state=OperationState.IN_FLIGHT,
    amount=EUR_5,
    epoch=1,
    idempotency_key="k",
    fingerprint=b"f",
    created_at=NOW,
    updated_at=NOW,
    lease_until=NOW,
)


def declined(
    age: timedelta = DAY, code: DeclineCode = SOFT, amount: Money = EUR_5, number: int = 1
) -> Operation:
    return evolve(
        ATTEMPT,
        id=f"op_{number}",
        state=OperationState.DECLINED,
        amount=amount,
        decline=Decline(code=code),
        created_at=NOW - age,
    )


def verdict(
    *before: Operation, brand: Brand = Brand.VISA, hard_is_final: bool = True
) -> Refusal | None:
    return forbidden_by_network(ATTEMPT, brand, before, RETRY_RULES, hard_is_final=hard_is_final)


@pytest.mark.parametrize("code", DeclineCode)
def test_a_hard_decline_forbids_the_card_for_good_and_no_other_decline_does(
    code: DeclineCode,
) -> None:
    refusal = verdict(declined(2_000 * DAY, code, Money("1.00", "USD")))
    if DECLINE_RULES[code].kind is DeclineKind.HARD:
        assert refusal is not None
        assert (refusal.code, refusal.retry_after) == (ErrorCode.CARD_REFUSED_FOR_GOOD, None)
        assert verdict(declined(DAY, code), hard_is_final=False) is None
    else:
        assert refusal is None


@pytest.mark.parametrize(("brand", "most"), [(Brand.VISA, 15), (Brand.MASTERCARD, 35)])
def test_the_networks_number_is_the_last_that_may_be_declined(brand: Brand, most: int) -> None:
    before = [declined(n * timedelta(hours=1), number=n) for n in range(most)]
    assert verdict(*before[1:], brand=brand) is None
    refusal = verdict(*before, brand=brand)
    assert refusal is not None
    assert refusal.code is ErrorCode.RETRIES_EXHAUSTED
    assert refusal.retry_after == 30 * DAY - timedelta(hours=most - 1)


def test_other_amounts_other_currencies_and_other_brands_do_not_count() -> None:
    others = [declined(amount=Money("5.01", "EUR"), number=n) for n in range(20)]
    others += [declined(amount=Money("5.00", "USD"), number=n) for n in range(20)]
    assert verdict(*others) is None
    assert verdict(*[declined(number=n) for n in range(100)], brand=Brand.AMEX) is None


@given(st.lists(st.integers(0, 60 * 24), max_size=60), st.integers(1, 20))
def test_who_waits_as_long_as_told_may_try_and_a_moment_earlier_may_not(
    ages_h: list[int], most: int
) -> None:
    rules = (RetryRule(brand=Brand.VISA, most=most),)
    before = [declined(timedelta(hours=age), number=n) for n, age in enumerate(ages_h)]

    def at(wait: timedelta) -> Refusal | None:
        later = evolve(ATTEMPT, created_at=NOW + wait)
        return forbidden_by_network(later, Brand.VISA, before, rules, hard_is_final=True)

    recent = sum(age < 30 * 24 for age in ages_h)
    refusal = at(timedelta())
    assert (refusal is not None) is (recent >= most)
    if refusal is not None:
        assert refusal.retry_after is not None
        assert at(refusal.retry_after) is None
        assert at(refusal.retry_after - timedelta(microseconds=1)) is not None


@pytest.mark.parametrize(
    ("changed", "field", "code"),
    [
        ({"per": "shop"}, "per", ErrorCode.VALUE_INVALID),
        ({"per": None}, "per", ErrorCode.VALUE_INVALID),
        ({"counted": "approvals"}, "counted", ErrorCode.VALUE_INVALID),
        ({"counted": "cards"}, "counted", ErrorCode.VALUE_INVALID),
        ({"most": 0}, "most", ErrorCode.VALUE_INVALID),
        ({"most": 1_000_001}, "most", ErrorCode.VALUE_INVALID),
        ({"most": 1.0}, "most", ErrorCode.TYPE_INVALID),
        ({"most": True}, "most", ErrorCode.TYPE_INVALID),
        ({"period_s": 0.9}, "period_s", ErrorCode.VALUE_INVALID),
        ({"period_s": float("nan")}, "period_s", ErrorCode.VALUE_INVALID),
        ({"period_s": 367 * 86_400}, "period_s", ErrorCode.VALUE_INVALID),
        ({"period_s": "60"}, "period_s", ErrorCode.TYPE_INVALID),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(
    changed: dict[str, Any], field: str, code: ErrorCode
) -> None:
    good: dict[str, Any] = {"per": "card", "counted": "declines", "most": 5, "period_s": 60}
    limit = Limit(**good)
    assert (limit.per, limit.counted) == (Per.CARD, Counted.DECLINES)
    with pytest.raises(InvalidRequest) as caught:
        Limit(**good | changed)
    assert (caught.value.code, caught.value.field) == (code, field)


def test_a_retry_rule_of_no_brand_is_refused() -> None:
    assert RetryRule(brand="visa", most=20).brand is Brand.VISA
    with pytest.raises(InvalidRequest) as caught:
        RetryRule(brand="vista", most=20)
    assert caught.value.field == "brand"


def test_no_default_counts_attempts_or_a_whole_merchant() -> None:
    """So that no busy day is refused, and nobody can close a shop by being declined there."""
    assert all(limit.counted is not Counted.ATTEMPTS for limit in LIMITS)
    assert all(limit.per is not Per.MERCHANT for limit in LIMITS)
