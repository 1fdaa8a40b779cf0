"""Merchants, customers and cards on a store that fails: a change takes place once, or not at all.

How: the one commit of each change meets a fault. An uncertain commit is read again; a stale one is
decided again. Whatever the caller is told, the store must show it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from mortal import World, agree
from shaky import (
    Fails,
    Shaky,
    busy,
    done_but_uncertain,
    named,
    not_done_and_uncertain,
    stale,
    unavailable,
)

from payplatform import (
    Card,
    Conflict,
    Money,
    OutcomeUnknown,
    PayPlatformError,
    StorageUnavailable,
)
from payplatform.banks.simulated import Fault
from payplatform.errors import StorageBusy
from payplatform.ports import Changes, Customer, PaymentMethod, SealedCard, Storage, WrappedKey

VISA = "4242424242424242"


class Office:
    """A merchant with a customer and two cards, on a store that will fail."""

    def __init__(self) -> None:
        self.world = World()
        self.world.through = self._shaky
        self.pay = self.world.start()
        self.shop = self.world.shop
        self.customer = self.shop.customers.create(name="Ada").id
        create = self.shop.payment_methods.create
        self.first = create(card=Card(VISA, "12/40"), customer=self.customer).id
        self.second = create(card=Card("5555555555554444", "12/40"), customer=self.customer).id
        self.before = self.seen()

    def _shaky(self, storage: Storage) -> Shaky:
        self.store = Shaky(storage)
        return self.store

    def seen(self) -> dict[str, Any]:
        """What there is, without ids that are new each time."""
        id_, storage = self.world.merchant_id, self.world.storage
        customers = storage.page(id_, Customer, limit=9)
        methods = storage.page(id_, PaymentMethod, limit=9)
        return {
            "merchants": len(storage.merchants(limit=9)),
            "erased": [m.erased_at is not None for m in storage.merchants(limit=9)],
            "customers": [(c.name, c.erased_at is not None) for c in customers],
            "default": [c.default_payment_method_id == self.first for c in customers],
            "cards": [(m.last4, m.expiry_year, m.deleted_at is not None) for m in methods],
            "sealed": len(storage.page(id_, SealedCard, limit=9)),
            "keys": len(storage.page(id_, WrappedKey, limit=9)),
            "events": len(storage.outbox(limit=99)),
        }


CHANGES: dict[str, Callable[[Office], object]] = {
    "create a merchant": lambda office: office.pay.merchants.create(name="Bolt"),
    "erase a merchant": lambda office: office.pay.merchants.erase(office.world.merchant_id),
    "create a customer": lambda office: office.shop.customers.create(name="Eve"),
    "update a customer": lambda office: office.shop.customers.update(office.customer, name="Eve"),
    "erase a customer": lambda office: office.shop.customers.erase(office.customer),
    "add a customer's card": lambda office: office.shop.payment_methods.create(
        card=Card("378282246310005", "12/40"), customer=office.customer
    ),
    "add a guest's card": lambda office: office.shop.payment_methods.create(
        card=Card(VISA, "12/40")
    ),
    "renew a card": lambda office: office.shop.payment_methods.create(
        card=Card(VISA, "12/41"), customer=office.customer
    ),
    "set the default": lambda office: office.shop.payment_methods.set_default(office.second),
    "delete a card": lambda office: office.shop.payment_methods.delete(office.first),
}


def after(change: str) -> dict[str, Any]:
    """What there is once a change has taken place on a store that is well."""
    office = Office()
    CHANGES[change](office)
    seen = office.seen()
    assert seen != office.before
    office.world.close()
    return seen


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("fault", [done_but_uncertain, not_done_and_uncertain, stale], ids=named)
@pytest.mark.parametrize("change", CHANGES)
def test_what_can_be_settled_by_reading_again_takes_place_once(
    change: str, fault: Fails, times: int
) -> None:
    """The caller is told of success, and there is nothing twice."""
    office = Office()
    office.store.fail(1, fault, times=times)
    CHANGES[change](office)

    assert office.seen() == after(change)
    office.store.get_well()
    agree_if_there(office)


def agree_if_there(office: Office) -> None:
    assert office.world.pay.doctor().ok
    if not any(office.seen()["erased"]):
        agree(office.world)
    office.world.close()


@pytest.mark.parametrize(
    ("fault", "times", "error"),
    [
        (busy, 1, StorageBusy),
        (unavailable, 1, StorageUnavailable),
        (stale, 100, Conflict),
    ],
    ids=named,
)
@pytest.mark.parametrize("change", CHANGES)
def test_what_the_store_refuses_does_not_take_place(
    change: str, fault: Fails, times: int, error: type[PayPlatformError]
) -> None:
    """The caller is told so, may try again, and then it takes place once."""
    office = Office()
    office.store.fail(1, fault, times=times)
    with pytest.raises(error) as caught:
        CHANGES[change](office)
    assert type(caught.value) is error
    assert caught.value.retryable
    assert office.seen() == office.before

    office.store.get_well()
    CHANGES[change](office)
    assert office.seen() == after(change)
    agree_if_there(office)


@pytest.mark.parametrize("fault", [done_but_uncertain, not_done_and_uncertain], ids=named)
@pytest.mark.parametrize("change", CHANGES)
def test_what_nobody_can_read_is_told_as_a_failing_store(change: str, fault: Fails) -> None:
    """It took place or it did not, as a whole; reading tells when the store is well again."""
    office = Office()
    office.store.fail(1, fault, goes_blind=True)
    with pytest.raises(StorageUnavailable):
        CHANGES[change](office)

    assert office.seen() == (after(change) if fault is done_but_uncertain else office.before)
    office.store.get_well()
    agree_if_there(office)


def test_a_payment_that_began_while_its_merchant_was_erased_is_found_out() -> None:
    """No key and no card is needed for it: the bank is asked, and the books come to agree."""
    office = Office()
    world = office.world

    def meanwhile(commit: Callable[[Changes], None], changes: Changes) -> None:
        world.bank.next(Fault.LOSE_REPLY)
        with pytest.raises(OutcomeUnknown):
            office.shop.payments.charge(
                Money("5", "EUR"), payment_method=office.first, idempotency_key="k"
            )
        commit(changes)

    office.store.fail(1, meanwhile)
    shop = office.shop
    with suppress(PayPlatformError):
        office.pay.merchants.erase(world.merchant_id)
    world.pay.recover()

    operation = shop.operations.find(idempotency_key="k")
    assert operation is not None
    assert operation.state == "succeeded"
    assert shop.payments.get(operation.subject_id).captured == Money("5", "EUR")
    assert world.bank.effects(world.merchant_id, operation.id) == 1
    assert world.pay.doctor().ok
    world.close()
