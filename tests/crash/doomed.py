"""What is run in processes that are killed: a till that says what it asks, and what it was told."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock, Thread

from attrs import frozen

from payplatform import (
    AsyncPayPlatform,
    Card,
    MerchantClient,
    Money,
    Payment,
    PayPlatform,
    Settings,
)
from payplatform.banks.simulated import SimulatedBank
from payplatform.testing import AwaitedBank, blocking

LONGEST_S = 60

PROCESSES = multiprocessing.get_context("forkserver")
# What takes long to import is imported once, in the process that all others are forked from.
PROCESSES.set_forkserver_preload(["doomed", "payplatform.storage.sqlite"])


@frozen
class Asked:
    """The call with this key is about to be made."""

    key: str


@frozen
class Told:
    """The call with this key has returned."""

    key: str
    payment: Payment


def open_shop(pay: PayPlatform) -> MerchantClient:
    return pay.merchant(next(iter(pay.merchants.list())).id)


def prepare(path: Path) -> None:
    """A file with one merchant, who has one card on file."""
    with PayPlatform.open(path) as pay:
        shop = pay.merchant(pay.merchants.create(name="Acme").id)
        shop.payment_methods.create(card=Card("4242424242424242", "12/40"))


def opened(path: Path, face: str) -> PayPlatform:
    """A platform of that face, to be called as a blocking one."""
    # What is cut off counts as declined until its fate is known, and all of it is with one card.
    settings = Settings(limits=())
    if face == "blocking":
        return PayPlatform.open(path, settings=settings)
    bank = AwaitedBank(SimulatedBank(f"{path}.bank"))
    return blocking(AsyncPayPlatform.open(path, bank=bank, settings=settings))


def take_payments(
    path: Path, parent: Connection, first: int, tills: int, face: str = "blocking"
) -> None:
    """Take payments until killed, and say before and after each call which one it is.

    Each till is a thread, so that what they commit at the same time is committed together; on the
    async face each call is a task of one event loop.
    """
    signal.alarm(LONGEST_S)
    speaking = Lock()

    def say(message: Asked | Told) -> None:
        with speaking:
            parent.send(message)

    with opened(path, face) as pay:
        shop = open_shop(pay)
        card = next(iter(shop.payment_methods.list())).id

        def take(till: int) -> None:
            for number in count(first + till, tills):
                for key, call in _calls(shop, card, number):
                    say(Asked(key))
                    say(Told(key, call()))

        threads = [Thread(target=take, args=(till,)) for till in range(tills)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _calls(
    shop: MerchantClient, card: str, number: int
) -> Iterator[tuple[str, Callable[[], Payment]]]:
    """A sale and its refund; an authorization, of which a part is captured and the rest let go."""
    payments = shop.payments
    sale, refund, auth, part, rest = (f"{verb}-{number}" for verb in ("sale", "refund", *_REST))
    yield (
        sale,
        lambda: payments.charge(_eur("10"), payment_method=card, idempotency_key=sale),
    )
    sold = _payment(shop, sale)
    yield refund, lambda: payments.refund(sold, _eur("4"), idempotency_key=refund)
    yield (
        auth,
        lambda: payments.authorize(_eur("10"), payment_method=card, idempotency_key=auth),
    )
    held = _payment(shop, auth)
    yield part, lambda: payments.capture(held, _eur("6"), idempotency_key=part)
    yield rest, lambda: payments.void(held, idempotency_key=rest)


_REST = ("auth", "capture", "void")


def _payment(shop: MerchantClient, key: str) -> str:
    operation = shop.operations.find(idempotency_key=key)
    assert operation is not None
    assert operation.payment_id is not None
    return operation.payment_id


def _eur(amount: str) -> Money:
    return Money(amount, "EUR")
