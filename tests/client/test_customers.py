"""Customers: added, read, changed, listed, and forgotten when they ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from till import MASTERCARD, VISA, Till, eur

from payplatform import Card, NotFound


@pytest.fixture(params=["memory", "sqlite"])
def till(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Till]:
    till = Till(None if request.param == "memory" else tmp_path / "shop.db")
    yield till
    till.close()


def test_a_customer_is_what_was_given(till: Till) -> None:
    """In normal form; what was not given is absent."""
    full = till.shop.customers.create(
        name="Ada Byro\u0308n", email="ada@example.com", metadata={"b": "2", "a": "1"}
    )
    empty = till.shop.customers.create()

    assert full.id.startswith("cus_")
    assert (full.name, full.email) == ("Ada Byr\u00f6n", "ada@example.com")
    assert full.metadata == (("a", "1"), ("b", "2"))
    assert full.created_at == full.updated_at == till.now
    assert (empty.name, empty.email, empty.metadata) == (None, None, ())
    assert till.shop.customers.get(full.id) == full
    assert till.shop.customers.get(empty.id) == empty


def test_an_update_changes_what_is_given_and_nothing_else(till: Till) -> None:
    """Metadata is replaced as a whole, and may be emptied."""
    customer = till.shop.customers.create(name="Ada", email="ada@example.com", metadata={"a": "1"})
    till.advance(hours=1)

    renamed = till.shop.customers.update(customer.id, name="Countess")
    assert (renamed.name, renamed.email, renamed.metadata) == (
        "Countess",
        customer.email,
        customer.metadata,
    )
    assert renamed.updated_at == till.now
    assert renamed.created_at == customer.created_at
    assert renamed.version == customer.version + 1
    replaced = till.shop.customers.update(customer.id, email="c@example.com", metadata={"b": "2"})
    assert (replaced.name, replaced.email) == ("Countess", "c@example.com")
    assert replaced.metadata == (("b", "2"),)
    emptied = till.shop.customers.update(customer.id, metadata={})
    assert emptied.metadata == ()
    assert till.shop.customers.get(customer.id) == emptied


def test_a_list_has_all_of_them_newest_first_while_more_are_added(till: Till) -> None:
    """More than two pages; each once; those that come meanwhile do not disturb it."""
    ids = [till.customer() for _ in range(230)]
    seen = []
    for n, customer in enumerate(till.shop.customers.list()):
        seen.append(customer.id)
        if n % 50 == 0:
            till.customer()

    assert seen == ids[::-1]


def test_an_erased_customer_is_gone_and_their_payments_stay(till: Till) -> None:
    """Name, address, metadata and cards go in one commit; the books are as they were."""
    customer = till.shop.customers.create(
        name="Ada", email="ada@example.com", metadata={"hat": "blue"}
    )
    method = till.card(customer=customer.id)
    other = till.card(MASTERCARD, customer=customer.id)
    guest = till.card()
    sold = till.sold(payment_method=method.id)
    till.shop.customers.erase(customer.id)

    for call in (
        lambda: till.shop.customers.get(customer.id),
        lambda: till.shop.customers.update(customer.id, name="Eve"),
        lambda: till.shop.customers.erase(customer.id),
        lambda: till.shop.payment_methods.get(method.id),
        lambda: till.shop.payment_methods.get(other.id),
        lambda: till.shop.payment_methods.list(customer=customer.id),
        lambda: till.shop.payment_methods.create(card=Card(VISA, "12/40"), customer=customer.id),
        lambda: till.shop.payments.charge(eur("1"), customer=customer.id, idempotency_key="k"),
        lambda: till.shop.payments.charge(eur("1"), payment_method=method.id, idempotency_key="k"),
    ):
        with pytest.raises(NotFound):
            call()
    assert list(till.shop.customers.list()) == []
    assert [kept.id for kept in till.shop.payment_methods.list()] == [guest.id]
    assert till.shop.payments.get(sold.id) == sold
    assert [payment.id for payment in till.shop.payments.list(customer=customer.id)] == [sold.id]
    refunded = till.shop.payments.refund(sold.id, idempotency_key="back")
    assert refunded.status == "refunded"
    assert not any(text in repr(till.stored()) for text in ("Ada", "ada@example.com", "blue"))
    till.books_agree()


def test_erasing_while_a_payment_is_unclear_does_not_lose_it(till: Till) -> None:
    """Recovery needs no card: the outcome is found out all the same."""
    customer = till.customer()
    method = till.card(customer=customer)
    till.watched.before = lambda _: till.shop.customers.erase(customer)
    sold = till.sold(payment_method=method.id)

    assert sold.status == "captured"
    assert till.shop.payments.get(sold.id).status == "captured"
    till.books_agree()


def test_a_customer_is_charged_by_the_default_card(till: Till) -> None:
    """The first card is the default until another is made it; without one there is none."""
    customer = till.customer()
    with pytest.raises(NotFound) as caught:
        till.shop.payments.charge(eur("1"), customer=customer, idempotency_key="none-yet")
    assert caught.value.field == "customer"
    first = till.card(VISA, customer=customer)
    second = till.card(MASTERCARD, customer=customer)

    def charged(key: str) -> str:
        payment = till.shop.payments.charge(eur("1"), customer=customer, idempotency_key=key)
        return payment.payment_method_id

    assert charged("a") == first.id
    changed = till.shop.payment_methods.set_default(second.id)
    assert (changed.id, changed.default_payment_method_id) == (customer, second.id)
    assert charged("b") == second.id
    till.shop.payment_methods.delete(second.id)
    assert till.shop.customers.get(customer).default_payment_method_id is None
    with pytest.raises(NotFound):
        charged("c")
    till.shop.payment_methods.set_default(first.id)
    assert charged("d") == first.id
    assert charged("a") == first.id, "a repeat tells which card it was then"
