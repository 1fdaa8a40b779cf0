"""What a merchant is charged: by which schedule, in which commit, and what is given back.

The prices here: 1.4 % and 0.25 EUR for a capture, less in Germany, more for a card of Amex, and
0.10 EUR for a refund, and 15 EUR for a dispute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from till import AMEX, CHALLENGED, START, Till, eur

from payplatform import ErrorCode, FeeRate, InvalidRequest, NotFound, Payment
from payplatform.banks.simulated import Fault
from payplatform.ports import Account, BankNotice, BankReply, ReplyOutcome

GERMAN = "4000002760000016"
FRENCH = "4000002500000003"
UNLISTED = "4242424242424259"
CAPTURES_TAKEN_BACK, REFUNDS_TAKEN_BACK = "4000000000010332", "4000000000010324"

RATES = (
    FeeRate(kind="capture", brand="amex", currency="EUR", share_ppm=29_000, fixed_minor=25),
    FeeRate(kind="capture", countries=["DE", "FR"], currency="EUR", share_ppm=4_000),
    FeeRate(kind="capture", currency="EUR", share_ppm=14_000, fixed_minor=25),
    FeeRate(kind="refund", currency="EUR", fixed_minor=10),
    FeeRate(kind="dispute", currency="EUR", fixed_minor=1_500),
)


@pytest.fixture(params=["memory", "sqlite"])
def till(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Till]:
    till = Till(None if request.param == "memory" else tmp_path / "shop.db")
    till.pay.merchants.set_fees(till.merchant_id, rates=RATES)
    yield till
    till.books_agree()
    till.close()


def again(till: Till, payment: Payment) -> Payment:
    return till.shop.payments.get(payment.id)


def deliver(till: Till) -> None:
    for notice in till.bank.notices():
        till.pay.notices.apply(notice)
        till.bank.acknowledge(notice.id)


def booked(till: Till, payment: Payment) -> int:
    """What the account of fees shows for a payment; a credit is negative."""
    lines = till.storage.postings(till.merchant_id, payment.id)
    return sum(line.amount_minor for line in lines if line.account is Account.FEES)


def test_a_sale_is_charged_for_in_the_commit_that_books_it(till: Till) -> None:
    payment = till.sold("100")

    assert payment.fees == eur("1.65")
    assert payment.captured == payment.refundable == eur("100")
    sold = till.shop.payments.timeline(payment.id)[-1]
    assert sold.type == "sale.succeeded"
    assert dict(sold.effects)["fees"] == eur("1.65")
    assert booked(till, payment) == -165


@pytest.mark.parametrize(
    ("number", "country", "fee"),
    [
        (GERMAN, "DE", "0.40"),
        (FRENCH, "FR", "0.40"),
        (AMEX, "US", "3.15"),
        (UNLISTED, None, "1.65"),
    ],
)
def test_the_price_depends_on_the_card_and_where_the_bank_says_it_is_from(
    till: Till, number: str, country: str | None, fee: str
) -> None:
    payment = till.sold("100", number)

    assert payment.card_country == country
    assert payment.fees == eur(fee)


def test_where_a_card_is_from_is_known_for_every_later_capture(till: Till) -> None:
    """The bank says it when it approves, and need not say it again."""
    payment = till.held("100", GERMAN)
    till.shop.payments.capture(payment.id, eur("60"), idempotency_key="one")
    payment = till.shop.payments.capture(payment.id, eur("40"), idempotency_key="two")

    assert payment.card_country == "DE"
    assert payment.fees == eur("0.40")


def test_each_capture_is_charged_for_and_holding_money_is_not(till: Till) -> None:
    payment = till.held("100")
    assert not payment.fees

    till.shop.payments.capture(payment.id, eur("60"), idempotency_key="one")
    payment = till.shop.payments.capture(payment.id, eur("40"), idempotency_key="two")

    assert payment.fees == eur("1.09") + eur("0.81")


def test_a_refund_is_charged_for_and_gives_no_fee_back(till: Till) -> None:
    payment = till.sold("100")

    payment = till.shop.payments.refund(payment.id, eur("100"), idempotency_key="back")

    assert payment.fees == eur("1.75")


def test_a_dispute_is_charged_for_once_whatever_becomes_of_it(till: Till) -> None:
    """When it is first heard of; won, taken again, or lost, it costs no more and no less."""
    sale = till.sold("100")
    case = till.bank.disputes.open(till.merchant_id, till.latest(sale).id, eur("40"))
    deliver(till)
    assert again(till, sale).fees == eur("1.65") + eur("15")
    opened = till.shop.payments.timeline(sale.id)[-1]
    assert (opened.type, dict(opened.effects)["fees"]) == ("dispute.opened", eur("15"))

    for merchant_wins in (True, False):
        till.advance(days=1)
        till.bank.disputes.decide(case, merchant_wins=merchant_wins)
        deliver(till)
    assert again(till, sale).fees == eur("1.65") + eur("15")
    assert booked(till, sale) == -16_65


def test_a_dispute_is_charged_for_though_the_capture_is_taken_back(till: Till) -> None:
    """What was charged for the capture goes back, and that alone."""
    held = till.held("100", CAPTURES_TAKEN_BACK)
    sale = till.shop.payments.capture(held.id, idempotency_key=till.key())
    told = till.bank.disputes.open(till.merchant_id, till.latest(sale).id)
    till.bank.disputes.reverse(told)
    till.advance(hours=2)
    deliver(till)
    assert again(till, sale).captured == eur("0")
    assert again(till, sale).fees == eur("15")


def test_what_comes_to_nothing_is_not_charged_for(till: Till) -> None:
    held = till.held("100")
    assert not till.shop.payments.void(held.id, idempotency_key="void").fees
    assert not till.sold("100", "4000000000000002").fees


def test_a_challenge_that_was_passed_is_charged_for_once(till: Till) -> None:
    payment = till.sold("100", CHALLENGED)
    assert not payment.fees
    assert payment.action is not None
    till.bank.complete_challenge(payment.action.url)

    payment = till.shop.payments.resume(payment.id, idempotency_key="resume")

    assert payment.fees == eur("1.65")
    assert payment.card_country == "US"


def a_capture(till: Till) -> Payment:
    payment = till.held("100", CAPTURES_TAKEN_BACK)
    return till.shop.payments.capture(payment.id, eur("60"), idempotency_key="capture")


def a_refund(till: Till) -> Payment:
    payment = till.sold("100", REFUNDS_TAKEN_BACK)
    return till.shop.payments.refund(payment.id, eur("60"), idempotency_key="refund")


@pytest.mark.parametrize(("story", "left"), [(a_capture, "0"), (a_refund, "1.65")])
def test_what_the_bank_takes_back_is_not_charged_for_whatever_counts_by_then(
    till: Till, story: Callable[[Till], Payment], left: str
) -> None:
    """As much as was charged, though another schedule counts now."""
    payment = story(till)
    till.advance(minutes=1)
    dearer = (FeeRate(kind="capture", share_ppm=500_000), FeeRate(kind="refund", share_ppm=500_000))
    till.pay.merchants.set_fees(till.merchant_id, rates=dearer)
    till.advance(hours=1)
    deliver(till)

    payment = again(till, payment)
    assert payment.fees == eur(left)
    assert booked(till, payment) == -payment.fees.amount_minor


def test_a_sale_that_was_resumed_and_taken_back_is_not_charged_for() -> None:
    """The resumption brought the approval and so the fee; the sale is what is taken back."""
    till = Till()
    till.pay.merchants.set_fees(till.merchant_id, rates=RATES)
    payment = till.sold("100", CHALLENGED)
    sale = till.latest(payment)
    assert payment.action is not None
    till.bank.complete_challenge(payment.action.url)
    till.shop.payments.resume(payment.id, idempotency_key="resume")
    no = BankReply(operation_id=sale.id, outcome=ReplyOutcome.DECLINED, amount=sale.amount)
    notice = BankNotice(id="by hand", merchant_id=till.merchant_id, reply=no, at=till.now)
    till.pay.notices.apply(notice)

    payment = again(till, payment)
    assert (payment.captured, payment.fees) == (eur("0"), eur("0"))
    assert booked(till, payment) == 0
    assert till.pay.doctor().ok
    till.close()


def test_an_answer_that_was_lost_is_charged_for_by_what_counts_when_it_is_found_out(
    till: Till,
) -> None:
    till.bank.next(Fault.LOSE_REPLY)
    with pytest.raises(Exception, match="no clear answer"):
        till.sold("100", idempotency_key="lost")
    till.advance(minutes=10)
    till.pay.recover()

    (payment,) = till.shop.payments.list()
    assert payment.fees == eur("1.65")


def test_a_schedule_counts_from_its_date_on(till: Till) -> None:
    half = FeeRate(kind="capture", share_ppm=500_000)
    till.pay.merchants.set_fees(
        till.merchant_id, rates=[half], counts_from=START + timedelta(days=1)
    )
    assert till.sold("100").fees == eur("1.65")
    till.advance(days=1, microseconds=-1)
    assert till.sold("100").fees == eur("1.65")
    till.advance(microseconds=1)
    assert till.sold("100").fees == eur("50")


def test_a_schedule_of_no_prices_ends_the_fees(till: Till) -> None:
    till.pay.merchants.set_fees(till.merchant_id, rates=[])

    assert not till.sold("100").fees


def test_every_schedule_is_kept_and_is_its_merchants_alone(till: Till) -> None:
    (first,) = till.pay.merchants.fees(till.merchant_id)
    till.advance(days=1)
    second = till.pay.merchants.set_fees(till.merchant_id, rates=RATES[:1])
    other = till.pay.merchants.create(name="Other")

    assert list(till.pay.merchants.fees(till.merchant_id)) == [second, first]
    assert (first.rates, first.counts_from) == (RATES, START)
    assert list(till.pay.merchants.fees(other.id)) == []


@pytest.mark.parametrize(
    ("given", "field", "code"),
    [
        ({"rates": None}, "rates", ErrorCode.TYPE_INVALID),
        ({"rates": ["1.4 %"]}, "rates", ErrorCode.TYPE_INVALID),
        ({"counts_from": "2031-01-01"}, "counts_from", ErrorCode.TYPE_INVALID),
        ({"counts_from": datetime(2031, 1, 1)}, "counts_from", ErrorCode.TYPE_INVALID),  # noqa: DTZ001  # that is what is refused
        ({"counts_from": START - timedelta(seconds=1)}, "counts_from", ErrorCode.VALUE_INVALID),
    ],
)
def test_a_schedule_that_breaks_a_rule_is_refused_and_nothing_is_kept(
    till: Till, given: dict[str, Any], field: str, code: ErrorCode
) -> None:
    before = list(till.pay.merchants.fees(till.merchant_id))
    with pytest.raises(InvalidRequest) as caught:
        till.pay.merchants.set_fees(till.merchant_id, **{"rates": RATES, **given})

    assert (caught.value.field, caught.value.code) == (field, code)
    assert list(till.pay.merchants.fees(till.merchant_id)) == before


def test_nobody_is_charged_who_is_not_there(till: Till) -> None:
    with pytest.raises(NotFound):
        till.pay.merchants.set_fees("mer_00000000000000000000000009", rates=RATES)
    with pytest.raises(NotFound):
        till.pay.merchants.fees("mer_00000000000000000000000009")
