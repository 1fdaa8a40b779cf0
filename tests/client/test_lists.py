"""Lists of payments: every filter, several together, and pages that stay right while rows come."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from till import MASTERCARD, NO_FUNDS, START, VISA, Till, eur

from payplatform import Payment, PaymentStatus, PayPlatform


@pytest.fixture(params=["memory", "sqlite"])
def till(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Till]:
    till = Till(None if request.param == "memory" else tmp_path / "shop.db")
    yield till
    till.close()


class Shelf:
    """Four payments, a day apart."""

    def __init__(self, till: Till) -> None:
        self.till = till
        self.ada, self.eve = till.customer(), till.customer()
        ada, eve = till.card(VISA, customer=self.ada), till.card(NO_FUNDS, customer=self.eve)
        self.first = till.sold(
            payment_method=ada.id, reference="A", metadata={"seat": "12", "row": "c"}
        )
        till.advance(days=1)
        self.second = till.sold(payment_method=eve.id, reference="A", metadata={"seat": "12"})
        till.advance(days=1)
        self.third = till.held(payment_method=ada.id, metadata={"seat": "1", "row": "12"})
        till.advance(days=1)
        self.fourth = till.sold(number=MASTERCARD, reference="a")

    def numbers(self, **filters: Any) -> list[int]:
        """Which of the payments a list has, by their number."""
        ids = [payment.id for payment in (self.first, self.second, self.third, self.fourth)]
        return [ids.index(payment.id) + 1 for payment in self.till.shop.payments.list(**filters)]


@pytest.fixture
def shelf(till: Till) -> Shelf:
    return Shelf(till)


def day(number: int, offset: timedelta = timedelta(0)) -> datetime:
    return (START + timedelta(days=number - 1)).astimezone(timezone(offset))


FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [4, 3, 2, 1]),
    ({"customer": "ada"}, [3, 1]),
    ({"customer": "eve"}, [2]),
    ({"status": "captured"}, [4, 1]),
    ({"status": PaymentStatus.DECLINED}, [2]),
    ({"status": ["declined", PaymentStatus.AUTHORIZED]}, [3, 2]),
    ({"status": {"voided"}}, []),
    ({"created_from": day(2)}, [4, 3, 2]),
    ({"created_from": day(2) + timedelta(microseconds=1)}, [4, 3]),
    ({"created_from": day(2, timedelta(hours=9))}, [4, 3, 2]),
    ({"created_before": day(2)}, [1]),
    ({"created_before": day(2) + timedelta(microseconds=1)}, [2, 1]),
    ({"created_from": day(2), "created_before": day(4)}, [3, 2]),
    ({"created_from": day(4), "created_before": day(2)}, []),
    ({"reference": "A"}, [2, 1]),
    ({"reference": "a"}, [4]),
    ({"reference": "%"}, []),
    ({"reference": "_"}, []),
    ({"metadata": {"seat": "12"}}, [2, 1]),
    ({"metadata": {"row": "12"}}, [3]),
    ({"metadata": {"seat": "12", "row": "c"}}, [1]),
    ({"metadata": {"seat": "12", "row": "12"}}, []),
    ({"metadata": {"seat": ""}}, []),
    ({"metadata": {}}, [4, 3, 2, 1]),
    ({"customer": "ada", "status": "captured", "reference": "A", "metadata": {"row": "c"}}, [1]),
    ({"customer": "eve", "status": "captured"}, []),
]


@pytest.mark.parametrize(("filters", "expected"), FILTERS, ids=str)
def test_a_list_has_what_meets_every_condition_newest_first(
    filters: dict[str, Any], expected: list[int], shelf: Shelf
) -> None:
    if "customer" in filters:
        filters = {**filters, "customer": getattr(shelf, filters["customer"])}

    assert shelf.numbers(**filters) == expected


def test_a_filter_by_status_follows_what_happens(shelf: Shelf) -> None:
    """The stored status is the computed one, after every step."""
    payments = shelf.till.shop.payments
    payments.refund(shelf.first.id, eur("1"), idempotency_key="a")
    payments.void(shelf.third.id, idempotency_key="b")

    assert shelf.numbers(status="captured") == [4]
    assert shelf.numbers(status="partially_refunded") == [1]
    assert shelf.numbers(status="authorized") == []
    assert shelf.numbers(status="voided") == [3]


def test_a_customer_nobody_has_heard_of_has_no_payments(shelf: Shelf) -> None:
    other = shelf.till.customer()

    assert shelf.numbers(customer=other) == []


def test_pages_have_each_payment_once_while_payments_are_added(till: Till) -> None:
    """More than two pages: none twice, none left out, and newcomers do not show up halfway."""
    method = till.card().id
    ids = [till.sold("1", payment_method=method).id for _ in range(260)]
    seen: list[str] = []
    added: list[str] = []
    for n, payment in enumerate(till.shop.payments.list()):
        seen.append(payment.id)
        if n % 20 == 0:
            added.append(till.sold("1", payment_method=method).id)

    assert seen == ids[::-1]
    assert len(added) == 13
    assert [payment.id for payment in till.shop.payments.list()] == [*added[::-1], *ids[::-1]]


def test_pages_of_a_filter_have_each_match_once_while_statuses_change(till: Till) -> None:
    """A payment that is refunded behind the reader's back does not shift the rest."""
    method = till.card().id
    ids = [till.sold("1", payment_method=method).id for _ in range(210)]
    seen: list[str] = []
    for n, payment in enumerate(till.shop.payments.list(status="captured")):
        seen.append(payment.id)
        if n == 50:
            for refunded in (ids[0], ids[200], ids[100]):
                till.shop.payments.refund(refunded, idempotency_key=till.key())

    assert seen == [id_ for id_ in ids[::-1] if id_ not in (ids[0], ids[100])]


def test_a_list_is_read_as_it_is_used(till: Till) -> None:
    """Page by page: who takes one payment does not read three hundred."""
    method = till.card().id
    for _ in range(110):
        till.sold("1", payment_method=method)
    reads: list[int] = []
    page = till.storage.page

    def counted(*args: Any, **kwargs: Any) -> Any:
        found = page(*args, **kwargs)
        reads.append(len(found))
        return found

    till.storage.page = counted  # type: ignore[method-assign]  # to see what is read
    payments = till.shop.payments.list()
    assert reads == []
    assert isinstance(next(payments), Payment)
    assert reads == [100]
    assert len(list(payments)) == 109
    assert reads == [100, 10]


def test_ids_ascend_in_the_order_in_which_they_are_made() -> None:
    """So a list is in order, and whatever is new is written at the end of each index."""
    with PayPlatform.sandbox() as pay:
        customers = pay.merchant(pay.merchants.create(name="Acme").id).customers
        ids = [customers.create().id for _ in range(50)]
    assert ids == sorted(set(ids))
