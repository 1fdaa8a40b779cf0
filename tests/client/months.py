"""A shop that has had a month: what the tests of reports read."""

from __future__ import annotations

from datetime import UTC, datetime

from till import AMEX, NO_FUNDS, Till, eur

from payplatform import FeeRate, Money

RATES = (
    FeeRate(kind="capture", currency="EUR", share_ppm=14_000, fixed_minor=25),
    FeeRate(kind="refund", currency="EUR", fixed_minor=10),
)


def a_till() -> Till:
    till = Till()
    till.now = datetime(2030, 1, 30, 12, tzinfo=UTC)
    till.pay.merchants.set_fees(till.merchant_id, rates=RATES)
    return till


def a_month(till: Till) -> None:
    """Something in January; in February three sales, a refund and two declines; one in March."""
    before = till.sold("10")
    till.now = datetime(2030, 2, 1, tzinfo=UTC)
    sold = till.sold("100", reference="order-1")
    till.shop.payments.refund(sold.id, eur("40"), idempotency_key="back")
    till.shop.payments.refund(before.id, eur("5"), idempotency_key="back-too")
    till.advance(days=3)
    till.sold("20", AMEX, reference="=2+3")
    till.sold("30", NO_FUNDS)
    till.sold("30", "4000000000009979")
    yen = till.card()
    till.shop.payments.charge(
        Money("5000", "JPY"), payment_method=yen.id, idempotency_key="in-yen", reference="@home"
    )
    till.now = datetime(2030, 3, 1, tzinfo=UTC)
    till.sold("70")
