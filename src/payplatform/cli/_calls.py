"""The calls of the public API that `payplatform demo` makes, and shows.

Law of this file: a function's body is what the reader sees, so it has nothing in it but the call,
under the names that a shop would use, in lines of at most 72 characters.
"""

# a docstring would be shown with the rest; the tour says what each is about
# ruff: noqa: RET504  # the name that a result gets is for the reader

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from attrs import define

from payplatform._domain.cards import Card
from payplatform._domain.events import Event
from payplatform._domain.money import Money
from payplatform._domain.payments import Payment
from payplatform._domain.records import Customer, PaymentMethod
from payplatform._engine.doctor import DoctorReport
from payplatform._engine.recovery import RecoveryReport
from payplatform.banks.simulated import SimulatedBank, StatementLine
from payplatform.client.platform import MerchantClient, PayPlatform


@define
class Clock:
    """A clock that stands still until it is moved on."""

    time: datetime

    def __call__(self) -> datetime:
        return self.time

    def move_on(self, **span: float) -> None:
        """Let time pass."""
        self.time += timedelta(**span)


def open_shop(
    database: Path, bank: SimulatedBank, clock: Clock
) -> tuple[PayPlatform, MerchantClient, Customer]:
    pay = PayPlatform.open(database, bank=bank, now=clock)
    acme = pay.merchants.create(name="Acme Books")
    shop = pay.merchant(acme.id)
    ada = shop.customers.create(name="Ada", email="ada@example.com")
    return pay, shop, ada


def keep_card(shop: MerchantClient, customer: Customer, number: str, expiry: str) -> PaymentMethod:
    card = shop.payment_methods.create(
        customer=customer.id,
        card=Card(number, expiry),
    )
    return card


def charge(shop: MerchantClient, card: PaymentMethod, code: str) -> Payment:
    payment = shop.payments.charge(
        Money("19.99", "EUR"),
        payment_method=card.id,
        security_code=code,
        idempotency_key="order-1001",
    )
    return payment


def charge_poor_card(shop: MerchantClient, card: PaymentMethod) -> Payment:
    payment = shop.payments.charge(
        Money("45.00", "EUR"),
        payment_method=card.id,
        idempotency_key="order-1002",
    )
    return payment


def try_other_card(shop: MerchantClient, payment: Payment, other_card: PaymentMethod) -> Payment:
    payment = shop.payments.retry(
        payment.id,
        payment_method=other_card.id,
        idempotency_key="order-1002-again",
    )
    return payment


def charge_challenged_card(shop: MerchantClient, card: PaymentMethod) -> Payment:
    payment = shop.payments.charge(
        Money("250.00", "EUR"),
        payment_method=card.id,
        idempotency_key="order-1003",
    )
    return payment


def resume(shop: MerchantClient, payment: Payment) -> Payment:
    payment = shop.payments.resume(
        payment.id,
        idempotency_key="order-1003-back",
    )
    return payment


def authorize(shop: MerchantClient, card: PaymentMethod) -> Payment:
    payment = shop.payments.authorize(
        Money("120.00", "EUR"),
        payment_method=card.id,
        idempotency_key="order-1004",
    )
    return payment


def capture(shop: MerchantClient, payment: Payment) -> Payment:
    payment = shop.payments.capture(
        payment.id,
        Money("80.00", "EUR"),
        final=True,
        idempotency_key="parcel-1004",
    )
    return payment


def refund(shop: MerchantClient, payment: Payment) -> Payment:
    payment = shop.payments.refund(
        payment.id,
        Money("15.00", "EUR"),
        idempotency_key="return-1004",
    )
    return payment


def charge_on_bad_line(shop: MerchantClient, card: PaymentMethod) -> Payment:
    payment = shop.payments.charge(
        Money("64.00", "EUR"),
        payment_method=card.id,
        idempotency_key="order-1005",
    )
    return payment


def charge_on_dead_line(shop: MerchantClient, card: PaymentMethod) -> Payment:
    payment = shop.payments.charge(
        Money("33.00", "EUR"),
        payment_method=card.id,
        idempotency_key="order-1006",
    )
    return payment


def recover(pay: PayPlatform) -> RecoveryReport:
    report = pay.recover()
    return report


def read_timeline(shop: MerchantClient, payment: Payment) -> Sequence[Event]:
    timeline = shop.payments.timeline(payment.id)
    return timeline


def read_books(
    shop: MerchantClient, bank: SimulatedBank, pay: PayPlatform
) -> tuple[list[Payment], Sequence[StatementLine], DoctorReport]:
    payments = list(shop.payments.list())
    statement = bank.statement(shop.id)
    report = pay.doctor()
    return payments, statement, report
