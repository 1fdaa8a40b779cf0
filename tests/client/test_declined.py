"""The bank says no, or is not there: what the caller learns, and how another try goes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from till import MASTERCARD, NO_FUNDS, REFUND_DECLINED, VISA, Till, eur

from payplatform import (
    Advice,
    BankUnavailable,
    Conflict,
    Declined,
    DeclineKind,
    ErrorCode,
    NotAllowed,
    NotFound,
    Payment,
)
from payplatform._domain.declines import CARD_DECLINED, DECLINE_RULES
from payplatform.banks.simulated import TEST_CARDS, Fault, TestCard

DECLINING = [card for card in TEST_CARDS if card.decline is not None]


@pytest.mark.parametrize("card", DECLINING, ids=lambda card: str(card.decline))
def test_a_decline_is_a_value_that_says_what_to_do(card: TestCard) -> None:
    """Of each kind: the code, its kind, the advice, the wait, and what the customer may read."""
    till = Till()
    payment = till.sold(number=card.number)
    assert card.decline is not None
    rule = DECLINE_RULES[card.decline]

    assert payment.status == "declined"
    assert payment.decline is not None
    assert payment.decline.code is card.decline
    assert payment.decline.kind is rule.kind
    assert payment.decline.customer_message == rule.customer_message
    assert payment.decline.bank_code != card.number
    if card.advice_code is None:
        assert (payment.decline.advice, payment.decline.retry_after) == (
            rule.advice,
            rule.retry_after,
        )
    assert payment.captured == eur("0")
    assert till.bank.statement() == []
    till.close()


def test_declines_of_every_kind_are_tried_above() -> None:
    assert {DECLINE_RULES[card.decline].kind for card in DECLINING if card.decline} == set(
        DeclineKind
    )


@pytest.mark.parametrize("number", ["4000000000009987", "4000000000009979", "4000000000010076"])
def test_a_thief_learns_nothing(number: str) -> None:
    """Lost, stolen and fraud: the merchant knows, the customer reads what everybody reads."""
    till = Till()
    decline = till.sold(number=number).decline

    assert decline is not None
    assert decline.customer_message == CARD_DECLINED
    assert decline.advice is Advice.DO_NOT_RETRY
    assert not decline.code_may_be_shown
    till.close()


def test_a_caller_may_have_an_exception_instead() -> None:
    """It carries the decline; a payment that went through comes back as it is."""
    till = Till()
    declined, taken = till.sold(number=NO_FUNDS), till.sold()
    with pytest.raises(Declined) as caught:
        declined.raise_for_decline()

    assert caught.value.decline == declined.decline
    assert caught.value.code is ErrorCode.DECLINED
    assert caught.value.payment_id == declined.id
    assert not caught.value.retryable
    assert taken.raise_for_decline() is taken
    till.close()


def test_another_card_may_be_tried_for_the_same_payment() -> None:
    """The payment stays, its card changes, its decline is gone, and money moves once."""
    till = Till()
    declined = till.sold(number=NO_FUNDS, reference="order 7")
    other = till.card(MASTERCARD)
    till.advance(minutes=1)

    taken = till.shop.payments.retry(
        declined.id, payment_method=other.id, idempotency_key=till.key(), security_code="973"
    )

    assert (taken.id, taken.reference, taken.created_at) == (
        declined.id,
        "order 7",
        declined.created_at,
    )
    assert (taken.status, taken.last4, taken.payment_method_id) == ("captured", "4444", other.id)
    assert taken.decline is None
    assert taken.amount == eur("100"), "asked for once, however often it is tried"
    assert till.events(taken) == ["sale.started", "sale.declined", "sale.started", "sale.succeeded"]
    assert [o.state for o in till.shop.payments.operations(taken.id)] == ["declined", "succeeded"]
    assert [code and code.reveal() for code in till.watched.codes] == [None, "973"]
    assert len(till.bank.statement()) == 1
    till.books_agree()
    till.close()


def test_a_retry_asks_for_what_was_asked_for_first() -> None:
    """A hold is tried again as a hold, and with the card it was tried with."""
    till = Till()
    held = till.held(number=NO_FUNDS)
    till.watched.before = lambda request: seen.append(request.kind)
    seen: list[str] = []
    again = till.shop.payments.retry(held.id, idempotency_key=till.key())

    assert seen == ["authorize"]
    assert (again.status, again.last4) == ("declined", NO_FUNDS[-4:])
    till.close()


def test_what_never_left_may_be_tried_again_with_a_new_key() -> None:
    """The bank was down: the old key says so for ever, a new one takes the money once."""
    till = Till()
    method = till.card()
    till.bank.down()
    with pytest.raises(BankUnavailable) as caught:
        till.sold(payment_method=method.id, idempotency_key="first")
    assert caught.value.code is ErrorCode.NOT_SENT
    payment_id = caught.value.payment_id
    assert payment_id is not None
    till.bank.up()
    with pytest.raises(BankUnavailable):
        till.sold(payment_method=method.id, idempotency_key="first")
    with pytest.raises(Conflict) as reused:
        till.shop.payments.retry(payment_id, idempotency_key="first")
    assert reused.value.code is ErrorCode.IDEMPOTENCY_KEY_REUSED

    taken = till.shop.payments.retry(payment_id, idempotency_key="second")

    assert (taken.id, taken.status) == (payment_id, "captured")
    assert len(till.bank.statement()) == 1
    till.books_agree()
    till.close()


@pytest.mark.parametrize("verb", ["capture", "void", "refund", "increment"])
def test_a_follow_up_that_never_left_leaves_the_payment_as_it_was(verb: str) -> None:
    """Nothing is reserved any more, and a new key does it."""
    till = Till()
    payment = till.sold() if verb == "refund" else till.held()
    call = getattr(till.shop.payments, verb)
    till.bank.next(Fault.DOWN)
    with pytest.raises(BankUnavailable) as caught:
        call(payment.id, eur("60"), idempotency_key=till.key())
    assert caught.value.payment_id == payment.id
    after = till.shop.payments.get(payment.id)
    assert (after.status, after.facts) == (payment.status, payment.facts)
    assert after.allowed_operations == payment.allowed_operations

    done = call(payment.id, eur("60"), idempotency_key=till.key())

    assert done.decline is None
    assert till.events(payment)[-4:] == [
        f"{verb}.{step}" for step in ("started", "aborted", "started", "succeeded")
    ]
    till.books_agree()
    till.close()


def test_a_declined_follow_up_is_told_with_the_payment_as_it_was() -> None:
    """The decline is that of the refund; the money stays where it was, and can be asked for."""
    till = Till()
    sold = till.sold(number=REFUND_DECLINED)
    told = till.shop.payments.refund(sold.id, eur("60"), idempotency_key=till.key())

    assert (told.status, told.refunded, told.refundable) == ("captured", eur("0"), eur("100"))
    assert told.decline is not None
    assert told.decline.code == "closed_account"
    with pytest.raises(Declined):
        told.raise_for_decline()
    till.books_agree()
    till.close()


@pytest.mark.parametrize("way", ["declined", "failed"])
def test_an_erased_card_cannot_be_tried_again(way: str) -> None:
    """Another one can, and a security code was stored nowhere, so it is asked for again."""
    till = Till()
    method = till.card(NO_FUNDS if way == "declined" else VISA)
    if way == "failed":
        till.bank.next(Fault.DOWN)
    with suppress(BankUnavailable):
        till.sold(payment_method=method.id, security_code="973")
    (payment,) = till.shop.payments.list()
    till.shop.payment_methods.delete(method.id)

    with pytest.raises(NotFound) as caught:
        till.shop.payments.retry(payment.id, idempotency_key="again")
    assert caught.value.field == "payment_method"
    with pytest.raises(NotFound):
        till.shop.payments.retry(payment.id, payment_method=method.id, idempotency_key="again")
    taken = till.shop.payments.retry(
        payment.id, payment_method=till.card().id, idempotency_key="again"
    )
    assert taken.status == "captured"
    assert till.watched.codes[-1] is None
    till.close()


def test_a_payment_that_went_through_is_not_tried_again() -> None:
    """Whatever became of it since."""
    till = Till()
    sold = till.sold()
    till.shop.payments.refund(sold.id, idempotency_key=till.key())
    with pytest.raises(NotAllowed) as caught:
        till.shop.payments.retry(sold.id, idempotency_key=till.key())

    assert caught.value.code is ErrorCode.ALREADY_AUTHORIZED
    till.close()


def test_a_decline_belongs_to_the_call_it_answers() -> None:
    """A refund that came through is told without the decline of one that had been before it."""
    till = Till()
    sold = till.sold(number=REFUND_DECLINED)
    declined = till.shop.payments.refund(sold.id, eur("1"), idempotency_key="one")
    seen: list[Payment] = [till.shop.payments.get(sold.id)]
    till.bank.next(Fault.DOWN)
    with suppress(BankUnavailable):
        till.shop.payments.refund(sold.id, eur("1"), idempotency_key="two")
    seen.append(till.shop.payments.get(sold.id))

    assert declined.decline is not None
    assert [payment.decline is None for payment in seen] == [False, True]
    assert till.sold().decline is None
    till.close()
