"""Stored cards: what may be shown of them, the same one twice, verified, made default, deleted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from till import AMEX, MASTERCARD, NO_FUNDS, VISA, Till, eur

from payplatform import (
    BankUnavailable,
    Card,
    ErrorCode,
    InvalidRequest,
    NotAllowed,
    NotFound,
    OutcomeUnknown,
)
from payplatform._domain.records import Check
from payplatform.banks.simulated import Fault
from payplatform.ports import BankRequest, SealedCard

CODE_MISMATCH = "4000000000000101"
POSTAL_MISMATCH = "4000000000000036"
NOTHING_CHECKED = "4000000000000044"


@pytest.fixture(params=["memory", "sqlite"])
def till(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Till]:
    till = Till(None if request.param == "memory" else tmp_path / "shop.db")
    yield till
    till.close()


def sealed(till: Till) -> int:
    return len(till.storage.page(till.merchant_id, SealedCard, limit=1_000))


def test_a_stored_card_shows_the_brand_and_the_last_four(till: Till) -> None:
    method = till.shop.payment_methods.create(card=Card(AMEX, "12/40", holder="Ada Byron"))

    assert method.id.startswith("pm_")
    assert (method.brand, method.bin, method.last4) == ("amex", "378282", "0005")
    assert (method.expiry_month, method.expiry_year) == (12, 2040)
    assert str(method) == "amex ****0005"
    assert method.masked == "378282******0005"
    assert not any(text in repr(method) for text in (AMEX, "Ada", method.token))
    assert till.shop.payment_methods.get(method.id) == method


def test_the_bank_gets_the_card_as_it_was_given(till: Till) -> None:
    """Number, expiry, holder, postal code; and the security code of this one call."""
    method = till.shop.payment_methods.create(
        card=Card("4242-4242 42424242", "2040-03", holder="Ada Byron"), postal_code=" sw1a 1aa"
    )
    till.sold(payment_method=method.id, security_code="973")
    card = till.watched.sent[-1].card
    assert card is not None

    assert card.number.reveal() == VISA
    assert (card.expiry_month, card.expiry_year) == (3, 2040)
    assert (card.holder, card.postal_code) == ("Ada Byron", "SW1A 1AA")
    assert card.security_code is not None
    assert card.security_code.reveal() == "973"


def test_a_customers_same_card_is_there_once(till: Till) -> None:
    """Added again it is the payment method that is there, brought up to date and sealed anew."""
    customer = till.customer()
    method = till.card(customer=customer)
    again = till.card(customer=customer)
    assert again == method
    assert sealed(till) == 1

    till.advance(hours=1)
    renewed = till.shop.payment_methods.create(
        card=Card(VISA, "03/44", holder="Ada"), customer=customer, postal_code="20095"
    )
    assert renewed.id == method.id
    assert (renewed.expiry_month, renewed.expiry_year) == (3, 2044)
    assert renewed.updated_at == till.now
    assert renewed.token != method.token
    assert sealed(till) == 1, "the old details are gone"
    till.sold(payment_method=method.id)
    card = till.watched.sent[-1].card
    assert card is not None
    assert (card.expiry_year, card.holder, card.postal_code) == (2044, "Ada", "20095")
    assert [m.id for m in till.shop.payment_methods.list(customer=customer)] == [method.id]
    assert till.pay.doctor().ok


@pytest.mark.parametrize("what", ["holder", "postal code", "holder taken away"])
def test_each_detail_that_changes_is_brought_up_to_date(what: str, till: Till) -> None:
    """Also where the expiry is as it was."""
    customer = till.customer()
    create = till.shop.payment_methods.create
    method = create(card=Card(VISA, "12/40", holder="Ada"), customer=customer, postal_code="10115")
    holder = {"holder": "Eve", "holder taken away": None}.get(what, "Ada")
    postal = "20095" if what == "postal code" else "10115"
    renewed = create(card=Card(VISA, "12/40", holder=holder), customer=customer, postal_code=postal)

    assert (renewed.id, renewed.version) == (method.id, method.version + 1)
    till.sold(payment_method=method.id)
    card = till.watched.sent[-1].card
    assert card is not None
    assert (card.holder, card.postal_code) == (holder, postal)


def test_the_same_card_of_others_is_another_payment_method(till: Till) -> None:
    """Another customer's, a guest's, another guest's: nobody learns that it is known."""
    ids = {
        till.card(customer=till.customer()).id,
        till.card(customer=till.customer()).id,
        till.card().id,
        till.card().id,
    }

    assert len(ids) == 4
    assert sealed(till) == 4


def test_a_list_is_one_customers_or_everybodys(till: Till) -> None:
    """Newest first, without the deleted."""
    customer = till.customer()
    first, second = till.card(VISA, customer=customer), till.card(MASTERCARD, customer=customer)
    gone = till.card(AMEX, customer=customer)
    guest = till.card()
    till.shop.payment_methods.delete(gone.id)

    def ids(customer: str | None = None) -> list[str]:
        return [method.id for method in till.shop.payment_methods.list(customer=customer)]

    assert ids(customer) == [second.id, first.id]
    assert ids() == [guest.id, second.id, first.id]
    assert ids(till.customer()) == []


def test_a_deleted_card_is_destroyed(till: Till) -> None:
    """Neither read nor charged again; its payments stay, and the vault has nothing of it."""
    customer = till.customer()
    method = till.card(customer=customer)
    sold = till.sold(payment_method=method.id)
    till.shop.payment_methods.delete(method.id)

    for call in (
        lambda: till.shop.payment_methods.get(method.id),
        lambda: till.shop.payment_methods.delete(method.id),
        lambda: till.shop.payment_methods.set_default(method.id),
        lambda: till.shop.payment_methods.verify(method.id, idempotency_key="k"),
        lambda: till.shop.payments.charge(eur("1"), payment_method=method.id, idempotency_key="k"),
    ):
        with pytest.raises(NotFound) as caught:
            call()
        assert caught.value.field == "payment_method"
    assert sealed(till) == 0
    assert till.shop.payments.get(sold.id).last4 == "4242"
    assert till.shop.payments.refund(sold.id, idempotency_key="r").status == "refunded"
    assert till.card(customer=customer).id != method.id
    assert till.pay.doctor().ok


def test_only_a_customers_card_can_be_their_default(till: Till) -> None:
    guest = till.card()
    with pytest.raises(NotFound) as caught:
        till.shop.payment_methods.set_default(guest.id)

    assert caught.value.field == "customer"


@pytest.mark.parametrize(
    ("number", "code", "postal"),
    [
        (VISA, Check.MATCH, Check.MATCH),
        (CODE_MISMATCH, Check.MISMATCH, Check.MATCH),
        (POSTAL_MISMATCH, Check.MATCH, Check.MISMATCH),
        (NOTHING_CHECKED, Check.NOT_CHECKED, Check.NOT_CHECKED),
    ],
)
def test_a_verification_tells_what_was_checked(
    number: str, code: Check, postal: Check, till: Till
) -> None:
    """No money moves, and the result stays with the card."""
    method = till.card(number)
    assert method.verification is None
    seen = till.shop.payment_methods.verify(method.id, security_code="973", idempotency_key="v")

    assert seen.verification is not None
    assert seen.verification.succeeded
    assert seen.verification.checked_at == till.now
    assert (seen.verification.security_code, seen.verification.postal_code) == (code, postal)
    assert seen.verification.decline is None
    assert till.shop.payment_methods.get(method.id) == seen
    assert till.bank.statement() == []
    assert till.watched.sent[-1].amount == eur("0")
    assert till.pay.doctor().ok


def test_a_verification_may_be_declined_and_made_again(till: Till) -> None:
    """With a new key; in the currency that the bank verifies in."""
    method = till.card(NO_FUNDS)
    seen = till.shop.payment_methods.verify(method.id, currency="usd", idempotency_key="v")
    assert seen.verification is not None
    assert not seen.verification.succeeded
    assert seen.verification.decline is not None
    assert seen.verification.decline.code == "insufficient_funds"
    assert till.watched.sent[-1].amount.currency == "USD"

    till.advance(days=1)
    again = till.shop.payment_methods.verify(method.id, idempotency_key="w")
    assert again.verification is not None
    assert again.verification.checked_at == till.now
    events = [e.type for e in till.pay.events.pending() if e.subject_id == method.id]
    assert events == ["payment_method.created"] + ["verify.started", "verify.declined"] * 2


def test_one_verification_at_a_time(till: Till) -> None:
    """While the outcome of one is not known, another is refused."""
    method = till.card()
    till.bank.next(Fault.LOSE_REPLY)
    with pytest.raises(OutcomeUnknown) as lost:
        till.shop.payment_methods.verify(method.id, idempotency_key="v")
    assert lost.value.payment_id is None
    with pytest.raises(NotAllowed) as caught:
        till.shop.payment_methods.verify(method.id, idempotency_key="w")
    assert caught.value.code is ErrorCode.OPERATION_OPEN
    assert caught.value.operation_id == lost.value.operation_id

    till.pay.recover()
    seen = till.shop.payment_methods.verify(method.id, idempotency_key="v")
    assert seen.replayed
    assert seen.verification is not None
    assert till.shop.payment_methods.verify(method.id, idempotency_key="w").verification


def test_a_verification_that_never_left_leaves_the_card_as_it_was(till: Till) -> None:
    method = till.card()
    till.bank.next(Fault.DOWN)
    with pytest.raises(BankUnavailable):
        till.shop.payment_methods.verify(method.id, idempotency_key="v")

    after = till.shop.payment_methods.get(method.id)
    assert (after.verification, after.open_operations) == (None, ())


def test_a_card_deleted_while_it_is_verified_stays_deleted(till: Till) -> None:
    """The answer is booked, and the card does not come back."""
    method = till.card(customer=till.customer())

    def meanwhile(_: BankRequest) -> None:
        till.shop.payment_methods.delete(method.id)

    till.watched.before = meanwhile
    with suppress(NotFound):
        till.shop.payment_methods.verify(method.id, idempotency_key="v")
    with pytest.raises(NotFound):
        till.shop.payment_methods.get(method.id)
    assert sealed(till) == 0
    assert till.pay.doctor().ok


def test_a_card_is_good_until_its_month_has_ended_everywhere(till: Till) -> None:
    """It can be stored, charged and verified to the last moment, and not after it."""
    till.now = datetime(2030, 4, 1, 11, 59, 59, tzinfo=UTC)
    method = till.card(expiry="03/30")
    assert till.sold(payment_method=method.id).status == "captured"

    till.advance(seconds=1)
    calls = till.watched.calls
    for call in (
        lambda: till.sold(payment_method=method.id),
        lambda: till.held(payment_method=method.id),
        lambda: till.shop.payment_methods.verify(method.id, idempotency_key="v"),
        lambda: till.card(MASTERCARD, expiry="03/30"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            call()
        assert caught.value.code is ErrorCode.CARD_EXPIRED
    assert till.watched.calls == calls
    assert till.shop.payment_methods.get(method.id).id == method.id, "it may still be looked at"
