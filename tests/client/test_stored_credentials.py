"""A card on file: who starts a payment with it, and what the network is told of the first one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from till import NO_FUNDS, VISA, Till

from payplatform import (
    BankUnavailable,
    Card,
    ErrorCode,
    InvalidRequest,
    NotAllowed,
    OutcomeUnknown,
    Payment,
)
from payplatform._domain.operations import Initiator, StoredCredential
from payplatform.banks.simulated import Fault


def told(till: Till) -> StoredCredential | None:
    """What the bank was told last."""
    return till.watched.sent[-1].stored_credential


def agreed(till: Till, method_id: str) -> str | None:
    return till.shop.payment_methods.get(method_id).network_transaction_id


def a_charge_of_the_merchants_that_failed(till: Till) -> Payment:
    """It never reached the bank."""
    method = till.card(customer=till.customer())
    till.sold(payment_method=method.id)
    till.bank.next(Fault.DOWN)
    with suppress(BankUnavailable):
        till.sold(payment_method=method.id, initiated_by="merchant", reference="r")
    (failed,) = till.shop.payments.list(reference="r")
    return failed


def test_a_guests_card_is_no_card_on_file() -> None:
    till = Till()
    method = till.card()
    till.sold(payment_method=method.id)

    assert told(till) is None
    assert agreed(till, method.id) is None
    till.close()


def test_the_first_payment_is_named_by_every_later_one() -> None:
    """First use; then the customer again, then the merchant, each with the id of the first."""
    till = Till()
    method = till.card(customer=till.customer())
    till.sold(payment_method=method.id, security_code="973")
    assert told(till) == StoredCredential(initiator=Initiator.CUSTOMER, first_use=True)
    network_id = agreed(till, method.id)
    assert network_id

    till.sold(payment_method=method.id)
    assert told(till) == StoredCredential(
        initiator=Initiator.CUSTOMER, first_use=False, network_transaction_id=network_id
    )
    later = till.sold(payment_method=method.id, initiated_by="merchant")
    assert told(till) == StoredCredential(
        initiator=Initiator.MERCHANT, first_use=False, network_transaction_id=network_id
    )
    assert (later.status, later.initiator) == ("captured", "merchant")
    assert till.shop.payments.get(later.id).initiator is Initiator.MERCHANT
    assert agreed(till, method.id) == network_id, "kept for good"
    assert till.watched.codes[-1] is None
    till.books_agree()
    till.close()


def test_the_agreement_is_an_event_of_the_card() -> None:
    till = Till()
    method = till.card(customer=till.customer())
    first = till.sold(payment_method=method.id)
    till.sold(payment_method=method.id)

    events = [e for e in till.pay.events.pending() if e.subject_id == method.id]
    assert [event.type for event in events] == ["payment_method.created", "payment_method.agreed"]
    assert [event.number for event in events] == [1, 2]
    assert events[1].operation_id == first.latest_operation_id
    till.close()


@pytest.mark.parametrize("verb", ["charge", "authorize"])
@pytest.mark.parametrize("before", ["nothing", "a decline", "a fault", "a guest's payment"])
def test_without_an_agreement_the_merchant_may_not_charge(before: str, verb: str) -> None:
    """Nothing is sent: a payment that did not go through, or a guest's, is no agreement."""
    till = Till()
    customer = None if before == "a guest's payment" else till.customer()
    method = till.card(NO_FUNDS if before == "a decline" else VISA, customer=customer)
    if before == "a fault":
        till.bank.next(Fault.DOWN)
    if before != "nothing":
        with suppress(BankUnavailable):
            till.sold(payment_method=method.id)
    calls, stored = till.watched.calls, till.stored()

    with pytest.raises(NotAllowed) as caught:
        (till.sold if verb == "charge" else till.held)(
            payment_method=method.id, initiated_by="merchant", idempotency_key="k"
        )

    assert caught.value.code is ErrorCode.NO_STORED_CREDENTIAL
    assert caught.value.field == "payment_method"
    assert till.watched.calls == calls
    assert till.stored() == stored
    till.close()


@pytest.mark.parametrize("way", ["authorize", "verify", "retry"])
def test_a_hold_a_verification_and_a_retry_are_first_uses_too(way: str) -> None:
    """The customer was there, and the bank said yes: the merchant may charge from then on."""
    till = Till()
    customer = till.customer()
    method = till.card(customer=customer)
    if way == "authorize":
        till.held(payment_method=method.id)
    elif way == "verify":
        till.shop.payment_methods.verify(method.id, idempotency_key=till.key())
    else:
        declined = till.sold(number=NO_FUNDS)
        till.shop.payments.retry(declined.id, payment_method=method.id, idempotency_key=till.key())
    assert agreed(till, method.id)

    later = till.sold(payment_method=method.id, initiated_by=Initiator.MERCHANT)
    assert later.status == "captured"
    till.close()


def test_a_recovered_first_payment_is_an_agreement() -> None:
    """What the bank tells on inquiry counts as what it tells at once."""
    till = Till()
    method = till.card(customer=till.customer())
    till.bank.next(Fault.LOSE_REPLY)
    with suppress(OutcomeUnknown):
        till.sold(payment_method=method.id)
    assert agreed(till, method.id) is None
    till.pay.recover()

    assert agreed(till, method.id)
    assert till.sold(payment_method=method.id, initiated_by="merchant").status == "captured"
    till.close()


def test_the_first_payment_stays_the_first() -> None:
    """A verification after it, or one that began at the same time, does not take its place."""
    till = Till()
    method = till.card(customer=till.customer())

    def meanwhile(_: object) -> None:
        till.watched.before = lambda _: None
        till.sold(payment_method=method.id)
        kept.append(agreed(till, method.id))

    kept: list[str | None] = []
    till.watched.before = meanwhile
    till.sold(payment_method=method.id)
    till.shop.payment_methods.verify(method.id, idempotency_key=till.key())

    assert kept[0]
    assert agreed(till, method.id) == kept[0]
    till.close()


def test_the_customers_default_card_may_be_charged_by_the_merchant() -> None:
    till = Till()
    customer = till.customer()
    method = till.card(customer=customer)
    till.sold(payment_method=method.id)

    payment = till.shop.payments.charge(
        till.sold().amount, customer=customer, initiated_by="merchant", idempotency_key="k"
    )
    assert (payment.payment_method_id, payment.status) == (method.id, "captured")
    till.close()


def test_the_security_code_is_not_the_merchants_to_give() -> None:
    """Nobody may have kept it: neither in a charge nor in its retry."""
    till = Till()
    failed = a_charge_of_the_merchants_that_failed(till)
    calls = till.watched.calls
    refused: tuple[Callable[[], Payment], ...] = (
        lambda: till.sold(
            payment_method=failed.payment_method_id, initiated_by="merchant", security_code="973"
        ),
        lambda: till.shop.payments.retry(failed.id, idempotency_key="k", security_code="973"),
    )
    for call in refused:
        with pytest.raises(InvalidRequest) as caught:
            call()
        assert caught.value.code is ErrorCode.SECURITY_CODE_NOT_ALLOWED
    assert till.watched.calls == calls

    again = till.shop.payments.retry(failed.id, idempotency_key="k")
    assert (again.status, again.initiator) == ("captured", "merchant")
    credential = told(till)
    assert credential is not None
    assert credential.initiator is Initiator.MERCHANT
    till.close()


def test_the_retry_of_a_merchants_charge_is_known_again_by_its_key() -> None:
    """Who initiates is the payment's affair: whoever asks for the retry does not say it."""
    till = Till()
    failed = a_charge_of_the_merchants_that_failed(till)

    first = till.shop.payments.retry(failed.id, idempotency_key="again")
    second = till.shop.payments.retry(failed.id, idempotency_key="again")

    assert second == first
    assert (first.replayed, second.replayed) == (False, True)
    till.close()


def test_new_details_keep_the_agreement_and_a_new_card_needs_its_own() -> None:
    """The same card with a new expiry is the same card; deleted and added again it is a new one."""
    till = Till()
    customer = till.customer()
    method = till.card(customer=customer)
    till.sold(payment_method=method.id)
    network_id = agreed(till, method.id)
    same = till.shop.payment_methods.create(card=Card(VISA, "01/41"), customer=customer)
    assert (same.id, same.network_transaction_id) == (method.id, network_id)

    till.shop.payment_methods.delete(method.id)
    new = till.card(customer=customer)
    assert new.id != method.id
    assert new.network_transaction_id is None
    with pytest.raises(NotAllowed):
        till.sold(payment_method=new.id, initiated_by="merchant")
    till.close()
