"""Many at once on one SQLite file: one effect for one key, and never more back than was taken."""

from __future__ import annotations

import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from payplatform import (
    Card,
    Conflict,
    MerchantClient,
    Money,
    NotAllowed,
    Payment,
    PayPlatform,
    PayPlatformError,
)
from payplatform.banks.simulated import SimulatedBank

PROCESSES = 8
CALLS = 25
HUNDRED = Money("100.00", "EUR")
TYPED = (Conflict, NotAllowed)


def a_shop(pay: PayPlatform) -> tuple[str, str]:
    """A new merchant's id and the id of a card stored there."""
    merchant = pay.merchants.create(name="Acme")
    shop = pay.merchant(merchant.id)
    customer = shop.customers.create(name="Ada")
    card = Card("4242424242424242", "12/40")
    return merchant.id, shop.payment_methods.create(customer=customer.id, card=card).id


def charge_again_and_again(path: str, merchant_id: str, method_id: str) -> list[tuple[str, str]]:
    """In a process of its own: the same call with the same key; tells what it was told."""
    told = []
    with PayPlatform.open(path) as pay:
        shop = pay.merchant(merchant_id)
        for _ in range(CALLS):
            try:
                payment = shop.payments.charge(
                    HUNDRED, payment_method=method_id, idempotency_key="one-key"
                )
            except Conflict as error:
                told.append(("conflict", str(error.code)))
            else:
                told.append((payment.status, payment.id))
    return told


def test_eight_processes_with_one_key_have_one_effect(tmp_path: Path) -> None:
    """200 calls from 8 processes: one charge; everyone is told the same, or to ask again."""
    path = str(tmp_path / "shop.db")
    with PayPlatform.open(path) as pay:
        merchant_id, method_id = a_shop(pay)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=spawn) as pool:
        calls = [
            pool.submit(charge_again_and_again, path, merchant_id, method_id)
            for _ in range(PROCESSES)
        ]
        told = Counter(line for call in calls for line in call.result(timeout=120))
    assert sum(told.values()) == PROCESSES * CALLS
    conflicts = told.pop(("conflict", "operation_in_progress"), 0)
    assert len(told) == 1, told
    ((status, payment_id),) = told
    assert status == "captured"
    assert conflicts < PROCESSES * CALLS
    with PayPlatform.open(path) as pay:
        shop = pay.merchant(merchant_id)
        assert [payment.id for payment in shop.payments.list()] == [payment_id]
        bank = SimulatedBank(f"{path}.bank")
        assert len(bank.statement()) == 1
        bank.close()
        assert pay.doctor().ok


def race(calls: list[Callable[[], Payment]]) -> list[Payment | PayPlatformError]:
    """Make the calls at once, each in a thread; tell what each was told."""
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], Payment]) -> Payment | PayPlatformError:
        gate.wait(timeout=60)
        try:
            return call()
        except TYPED as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def sold(shop: MerchantClient, method_id: str, n: int) -> str:
    return shop.payments.charge(HUNDRED, payment_method=method_id, idempotency_key=f"sale-{n}").id


def held(shop: MerchantClient, method_id: str, n: int) -> str:
    return shop.payments.authorize(
        HUNDRED, payment_method=method_id, idempotency_key=f"auth-{n}"
    ).id


def sixty(verb: str) -> Callable[[MerchantClient, str, str], Payment]:
    def call(shop: MerchantClient, payment_id: str, key: str) -> Payment:
        result = getattr(shop.payments, verb)(
            payment_id, Money("60.00", "EUR"), idempotency_key=key
        )
        assert isinstance(result, Payment)
        return result

    return call


CONTESTS = {
    "refund against refund": (sold, sixty("refund"), sixty("refund"), "refunded"),
    "capture against capture": (held, sixty("capture"), sixty("capture"), "captured"),
    "void against void": (held, sixty("void"), sixty("void"), "voided"),
    "capture against void": (held, sixty("capture"), sixty("void"), None),
}


@pytest.mark.parametrize("contest", CONTESTS)
def test_of_two_that_exceed_the_amount_exactly_one_succeeds(contest: str, tmp_path: Path) -> None:
    """Two of 60 on 100, at once, 200 times: one goes through, the other is told why not."""
    prepare, one, other, fact = CONTESTS[contest]
    with PayPlatform.open(tmp_path / "shop.db") as pay:
        merchant_id, method_id = a_shop(pay)
        shop = pay.merchant(merchant_id)
        for n in range(200):
            payment_id = prepare(shop, method_id, n)
            told = race(
                [
                    lambda: one(shop, payment_id, f"one-{n}"),  # noqa: B023
                    lambda: other(shop, payment_id, f"other-{n}"),  # noqa: B023
                ]
            )
            refused = [answer for answer in told if isinstance(answer, PayPlatformError)]
            assert len(refused) == 1, told
            assert isinstance(refused[0], NotAllowed)
            payment = shop.payments.get(payment_id)
            assert payment.facts.voided + payment.facts.captured + payment.facts.refunded in (
                6_000,
                16_000,
            )
            if fact is not None:
                assert getattr(payment.facts, fact) == 6_000
        assert pay.doctor().ok


def test_a_key_used_by_many_threads_at_once_has_one_effect(tmp_path: Path) -> None:
    """16 threads, one key: one charge, and everyone is told it or to ask again."""
    with PayPlatform.open(tmp_path / "shop.db") as pay:
        merchant_id, method_id = a_shop(pay)
        shop = pay.merchant(merchant_id)
        for n in range(20):
            told = race(
                [
                    lambda: shop.payments.charge(
                        HUNDRED,
                        payment_method=method_id,
                        idempotency_key=f"key-{n}",  # noqa: B023
                    )
                ]
                * 16
            )
            payments = [answer for answer in told if isinstance(answer, Payment)]
            assert len({payment.id for payment in payments}) == 1
            assert sum(not payment.replayed for payment in payments) == 1
            others = [answer for answer in told if isinstance(answer, PayPlatformError)]
            assert {str(error.code) for error in others} <= {"operation_in_progress"}
        assert len(list(shop.payments.list())) == 20
        assert pay.doctor().ok
