"""A shop at a till: a platform whose clock and bank are the test's, and whose store can be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from attrs import evolve
from faces import platform
from watched_bank import WatchedBank

from payplatform import Card, Money, Operation, Payment, PaymentMethod, Settings
from payplatform._domain.changes import Changes
from payplatform._domain.events import Event
from payplatform._domain.ledger import postings_of
from payplatform._domain.payments import Facts
from payplatform.banks.simulated import FULL_CAPABILITIES, SimulatedBank
from payplatform.keys.local import LocalKeyService
from payplatform.ports import BankCapabilities, Limiter, Storage
from payplatform.storage.memory import MemoryStorage
from payplatform.storage.sqlite import SQLiteStorage

START = datetime(2030, 1, 1, 12, tzinfo=UTC)

VISA = "4242424242424242"
MASTERCARD = "5555555555554444"
AMEX = "378282246310005"
NO_FUNDS = "4000000000009995"
CHALLENGED = "4000000000003220"
REFUND_PENDS_THEN_SUCCEEDS = "4000000000007726"
REFUND_PENDS_THEN_FAILS = "4000000000010308"
REFUND_DECLINED = "4000000000010316"


def eur(amount: str) -> Money:
    return Money(amount, "EUR")


INSERTS = tuple(f'INSERT INTO "{table}"' for table in ("audit_entries", "links", "chain_heads"))


class Till:
    """One merchant's shop, with a clock that stands still, and the bank behind it."""

    def __init__(
        self,
        file: Path | None = None,
        *,
        capabilities: BankCapabilities = FULL_CAPABILITIES,
        settings: Settings | None = None,
        limiter: Limiter | None = None,
        new_id: Callable[[str], str] | None = None,
    ) -> None:
        self.now = START
        self.bank = SimulatedBank(now=self.clock, capabilities=capabilities)
        self.watched = WatchedBank(self.bank)
        self.file = file
        self.storage: Storage = MemoryStorage() if file is None else SQLiteStorage(file)
        self.keys = LocalKeyService.ephemeral()
        self.pay = platform(
            storage=self.storage,
            bank=self.watched,
            keys=self.keys,
            limiter=limiter,
            now=self.clock,
            new_id=new_id,
            settings=settings,
        )
        self.merchant_id = self.pay.merchants.create(name="Acme").id
        self.shop = self.pay.merchant(self.merchant_id)
        self._keys = count(1)

    def clock(self) -> datetime:
        return self.now

    def advance(self, **time: float) -> None:
        self.now += timedelta(**time)

    def key(self) -> str:
        """An idempotency key that was never used."""
        return f"key-{next(self._keys)}"

    def customer(self) -> str:
        return self.shop.customers.create(name="Ada").id

    def card(
        self, number: str = VISA, *, customer: str | None = None, expiry: str = "12/40"
    ) -> PaymentMethod:
        """A stored card; a guest's unless a customer is named."""
        card = Card(number, expiry)
        return self.shop.payment_methods.create(card=card, customer=customer, postal_code="10115")

    def sold(self, amount: str = "100", number: str = VISA, **more: Any) -> Payment:
        """A payment charged to a new guest's card."""
        method = more.pop("payment_method", None) or self.card(number).id
        key = more.pop("idempotency_key", None) or self.key()
        return self.shop.payments.charge(
            eur(amount), payment_method=method, idempotency_key=key, **more
        )

    def held(self, amount: str = "100", number: str = VISA, **more: Any) -> Payment:
        """A payment authorized on a new guest's card."""
        method = more.pop("payment_method", None) or self.card(number).id
        key = more.pop("idempotency_key", None) or self.key()
        return self.shop.payments.authorize(
            eur(amount), payment_method=method, idempotency_key=key, **more
        )

    def latest(self, payment: Payment) -> Operation:
        """The operation that a payment heard of last."""
        assert payment.latest_operation_id is not None
        return self.shop.operations.get(payment.latest_operation_id)

    def events(self, payment: Payment) -> list[str]:
        """The types of what happened to a payment, in order."""
        return [event.type for event in self.shop.payments.timeline(payment.id)]

    def stored(self) -> Any:
        """All that the store holds, as a value that equals itself as long as nothing changes.

        But for the audit trail: what is refused changes nothing else, and is noted there.
        """
        if self.file is None:
            return {
                name: contents(value)
                for name, value in vars(self.storage).items()
                if name not in ("_lock", "_audit", "_links")
            }
        with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as database:
            return [line for line in database.iterdump() if not line.startswith(INSERTS)]

    def books_agree(self) -> None:
        """Nothing is broken, and the bank's books say of each payment what ours say."""
        report = self.pay.doctor()
        assert report.ok, report.findings
        for payment in self.shop.payments.list():
            starts = [
                self.bank.position(self.merchant_id, operation.id)
                for operation in self.shop.payments.operations(payment.id)
                if operation.kind in ("sale", "authorize")
            ]
            for fact in ("authorized", "captured", "voided", "expired", "refunded"):
                theirs = sum(getattr(position, fact) for position in starts)
                assert getattr(payment.facts, fact) == theirs, (fact, payment)

    def close(self) -> None:
        self.pay.close()


def book(till: Till, payment: Payment, **change: int) -> None:
    """Commit a change of a payment's facts, as a settlement or a dispute would."""
    now = till.shop.payments.get(payment.id)
    changed = evolve(now, version=now.version + 1, facts=now.facts + Facts(**change))
    event = Event(
        id=f"evt_{payment.id}_{changed.version}",
        merchant_id=payment.merchant_id,
        subject_id=payment.id,
        number=changed.version,
        type="payment.expired",
        at=till.now,
        change=Facts(**change),
    )
    till.storage.commit(
        Changes(
            merchant_id=payment.merchant_id,
            records=(changed,),
            events=(event,),
            postings=postings_of(event, payment.currency),
        )
    )


def contents(value: Any) -> Any:
    """A copy without empty dicts and lists: a store in memory makes room where it looks."""
    if isinstance(value, dict):
        return {key: contents(item) for key, item in value.items() if item not in ({}, [])}
    return list(value) if isinstance(value, list) else value
