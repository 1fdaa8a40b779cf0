"""The figures behind the charts: each payment on its day, each decline under its reason."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from months import a_month, a_till
from till import Till, eur

from payplatform import DeclineCode, ErrorCode, InvalidRequest, Money
from payplatform.reports import figures

FEBRUARY = datetime(2030, 2, 1, tzinfo=UTC)
MARCH = datetime(2030, 3, 1, tzinfo=UTC)


@pytest.fixture
def till() -> Iterator[Till]:
    till = a_till()
    a_month(till)
    yield till
    till.close()


def test_every_day_of_the_span_is_there_with_what_happened_on_it(till: Till) -> None:
    told = figures(till.shop, since=FEBRUARY, until=MARCH)

    assert [day.date for day in told.days] == [date(2030, 2, n) for n in range(1, 29)]
    first, fourth = told.days[0], told.days[3]
    assert (first.captured, first.approved, first.declined) == ({"EUR": eur("100")}, 1, 0)
    assert fourth.captured == {"EUR": eur("20"), "JPY": Money("5000", "JPY")}
    assert (fourth.approved, fourth.declined, fourth.approval_rate) == (2, 2, 0.5)
    quiet = [day for day in told.days if day not in (first, fourth)]
    assert all(not day.captured and day.approval_rate is None for day in quiet)


def test_the_totals_are_those_of_the_days(till: Till) -> None:
    told = figures(till.shop, since=FEBRUARY, until=MARCH)

    assert (told.approved, told.declined, told.approval_rate) == (3, 2, 0.6)
    assert told.captured == {"EUR": eur("120"), "JPY": Money("5000", "JPY")}
    assert told.refunded == {"EUR": eur("40")}
    assert told.fees == {"EUR": eur("2.28")}
    assert told.declines == {DeclineCode.INSUFFICIENT_FUNDS: 1, DeclineCode.STOLEN_CARD: 1}


def test_the_commonest_reason_comes_first(till: Till) -> None:
    till.now = MARCH + timedelta(hours=1)
    for number in ("4000000000009995", "4000000000000002", "4000000000000002"):
        till.sold("1", number)

    told = figures(till.shop, since=FEBRUARY, until=MARCH + timedelta(days=1))

    assert list(told.declines.items()) == [
        (DeclineCode.GENERIC_DECLINE, 2),
        (DeclineCode.INSUFFICIENT_FUNDS, 2),
        (DeclineCode.STOLEN_CARD, 1),
    ]


def test_a_refund_that_is_declined_is_no_declined_payment(till: Till) -> None:
    till.now = MARCH + timedelta(days=1)
    sold = till.sold("10", "4000000000010316")
    declined = till.shop.payments.refund(sold.id, idempotency_key="no")
    assert declined.decline is not None

    told = figures(till.shop, since=till.now, until=till.now + timedelta(days=1))
    assert (told.approved, told.declined) == (1, 0)


def test_days_are_those_of_utc_wherever_the_span_is_said(till: Till) -> None:
    there = datetime.fromisoformat("2030-02-01T01:00:00+01:00")
    told = figures(till.shop, since=there, until=MARCH)

    assert len(told.days) == 28


@pytest.mark.parametrize("until", [FEBRUARY, FEBRUARY - timedelta(days=1), FEBRUARY.replace(2041)])
def test_a_span_is_from_a_day_to_ten_years(till: Till, until: datetime) -> None:
    with pytest.raises(InvalidRequest) as caught:
        figures(till.shop, since=FEBRUARY, until=until)

    assert (caught.value.field, caught.value.code) == ("until", ErrorCode.VALUE_INVALID)
