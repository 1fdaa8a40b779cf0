"""Merchants, who come and go, and the events of all of them on their way out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from till import NO_FUNDS, Till, eur

from payplatform import ErrorCode, Event, NotAllowed, NotFound, OutcomeUnknown
from payplatform.banks.simulated import Fault
from payplatform.ports import SealedCard, WrappedKey


@pytest.fixture(params=["memory", "sqlite"])
def till(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Till]:
    till = Till(None if request.param == "memory" else tmp_path / "shop.db")
    yield till
    till.close()


def test_a_merchant_is_what_was_given(till: Till) -> None:
    merchant = till.pay.merchants.create(name="  Bolt & Co \U0001f529", metadata={"plan": "b"})

    assert merchant.id.startswith("mer_")
    assert merchant.name == "  Bolt & Co \U0001f529"
    assert dict(merchant.metadata) == {"plan": "b"}
    assert till.pay.merchants.get(merchant.id) == merchant
    assert till.pay.merchant(merchant.id).id == merchant.id


def test_merchants_are_listed_newest_first_page_by_page(till: Till) -> None:
    ids = [till.merchant_id]
    ids += [till.pay.merchants.create(name=f"Shop {n}").id for n in range(120)]
    till.pay.merchants.erase(ids[60])

    expected = [id_ for id_ in ids[::-1] if id_ != ids[60]]
    assert [merchant.id for merchant in till.pay.merchants.list()] == expected


def test_an_erased_merchant_leaves_its_books_and_nothing_else(till: Till) -> None:
    """Keys, cards and people are gone in one commit; payments and postings stay as they were."""
    customer = till.shop.customers.create(name="Ada", email="ada@example.com")
    method = till.card(customer=customer.id)
    till.card()
    sold = till.sold(payment_method=method.id)
    books = list(till.storage.postings(till.merchant_id, sold.id))
    till.pay.merchants.erase(till.merchant_id)

    for call in (
        lambda: till.pay.merchants.get(till.merchant_id),
        lambda: till.pay.merchants.erase(till.merchant_id),
        lambda: till.pay.merchant(till.merchant_id),
    ):
        with pytest.raises(NotFound) as caught:
            call()
        assert caught.value.field == "merchant_id"
    assert list(till.pay.merchants.list()) == []
    assert not till.storage.page(till.merchant_id, WrappedKey, limit=9)
    assert not till.storage.page(till.merchant_id, SealedCard, limit=9)
    assert list(till.storage.postings(till.merchant_id, sold.id)) == books
    assert till.shop.payments.get(sold.id) == sold
    assert not any(text in repr(till.stored()) for text in ("Ada", "ada@example.com", "Acme"))
    till.books_agree()


def test_a_client_of_an_erased_merchant_can_add_nothing(till: Till) -> None:
    """It was opened before; no person and no card gets in through it afterwards."""
    method = till.card(customer=till.customer())
    till.pay.merchants.erase(till.merchant_id)
    stored = till.stored()

    for call in (
        till.customer,
        till.card,
        lambda: till.sold(payment_method=method.id),
        lambda: till.shop.payment_methods.verify(method.id, idempotency_key="v"),
    ):
        with pytest.raises(NotFound):
            call()
    assert till.stored() == stored


def test_a_merchant_with_money_under_way_is_not_erased(till: Till) -> None:
    """Not before recovery has found out what became of it."""
    till.bank.next(Fault.LOSE_REPLY)
    with suppress(OutcomeUnknown):
        till.sold()
    stored = till.stored()
    with pytest.raises(NotAllowed) as caught:
        till.pay.merchants.erase(till.merchant_id)
    assert caught.value.code is ErrorCode.OPERATION_OPEN
    assert till.stored() == stored

    till.pay.recover()
    till.pay.merchants.erase(till.merchant_id)
    till.books_agree()


def test_erasing_one_merchant_leaves_the_others_alone(till: Till) -> None:
    other = till.pay.merchants.create(name="Bolt")
    method = till.card(customer=till.customer())
    till.pay.merchants.erase(other.id)

    assert till.sold(payment_method=method.id).status == "captured"
    assert [merchant.id for merchant in till.pay.merchants.list()] == [till.merchant_id]


def test_events_wait_until_they_are_marked_in_the_order_of_their_commits(till: Till) -> None:
    """Of all merchants; each once, also when it is marked twice; they stay in their timeline."""
    first = till.sold()
    other = till.pay.merchant(till.pay.merchants.create(name="Bolt").id)
    customer = other.customers.create()
    second = till.sold(number=NO_FUNDS)
    pending = till.pay.events.pending()
    assert [(event.subject_id, event.type) for event in pending if "." in event.type] == [
        (first.payment_method_id, "payment_method.created"),
        (first.id, "sale.started"),
        (first.id, "sale.succeeded"),
        (second.payment_method_id, "payment_method.created"),
        (second.id, "sale.started"),
        (second.id, "sale.declined"),
    ]
    assert {event.merchant_id for event in pending} == {till.merchant_id}
    assert customer.id not in {event.subject_id for event in pending}

    assert till.pay.events.pending(limit=2) == pending[:2]
    till.pay.events.mark_published([pending[0], pending[2].id])
    assert till.pay.events.pending() == (pending[1], *pending[3:])
    again: list[Event | str] = [pending[0].id, pending[1]]
    till.pay.events.mark_published(iter(again))
    till.pay.events.mark_published([])
    assert till.pay.events.pending() == pending[3:]
    assert till.shop.payments.timeline(first.id) == pending[1:3]
    till.shop.payments.refund(first.id, eur("1"), idempotency_key="r")
    assert [event.type for event in till.pay.events.pending()[-2:]] == [
        "refund.started",
        "refund.succeeded",
    ]


def test_marking_what_nobody_has_heard_of_does_no_harm(till: Till) -> None:
    till.sold()
    pending = till.pay.events.pending()
    till.pay.events.mark_published(["evt_" + "0" * 26])

    assert till.pay.events.pending() == pending
