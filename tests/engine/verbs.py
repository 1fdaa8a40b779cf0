"""Every money-moving call, with what has to be there before it. The key is always the same one."""

from __future__ import annotations

from collections.abc import Callable

from mortal import World

from payplatform import Card, MerchantClient, Money, Payment, PaymentMethod

KEY = "the-call"

Prepare = Callable[[World], str]
Act = Callable[[MerchantClient, str], Payment | PaymentMethod]


def eur(amount: str) -> Money:
    return Money(amount, "EUR")


def a_card(world: World, number: str = "4242424242424242") -> str:
    shop = world.shop
    customer = shop.customers.create(name="Ada")
    card = Card(number, "12/40", holder="Ada")
    return shop.payment_methods.create(customer=customer.id, card=card).id


def an_authorization(world: World) -> str:
    method = a_card(world)
    payments = world.shop.payments
    return payments.authorize(eur("100"), payment_method=method, idempotency_key="auth").id


def a_capture(world: World) -> str:
    method = a_card(world)
    payments = world.shop.payments
    return payments.charge(eur("100"), payment_method=method, idempotency_key="sale").id


def a_decline(world: World) -> str:
    method = world.shop.payment_methods.get(a_card(world, "4000000000009995"))
    another = Card("5555555555554444", "12/40")
    world.shop.payment_methods.create(customer=method.customer_id, card=another)
    payments = world.shop.payments
    declined = payments.charge(eur("100"), payment_method=method.id, idempotency_key="sale")
    assert declined.status == "declined"
    return declined.id


def a_challenge(world: World) -> str:
    method = a_card(world, "4000000000003220")
    payments = world.shop.payments
    waiting = payments.charge(eur("100"), payment_method=method, idempotency_key="sale")
    assert waiting.latest_operation_id is not None
    world.bank.complete_challenge(waiting.latest_operation_id)
    return waiting.id


def retry_with_another_card(shop: MerchantClient, payment_id: str) -> Payment:
    customer = shop.payments.get(payment_id).customer_id
    other = next(shop.payment_methods.list(customer=customer))
    return shop.payments.retry(payment_id, payment_method=other.id, idempotency_key=KEY)


VERBS: dict[str, tuple[Prepare, Act]] = {
    "charge": (
        a_card,
        lambda shop, id_: shop.payments.charge(
            eur("100"), payment_method=id_, security_code="123", idempotency_key=KEY
        ),
    ),
    "authorize": (
        a_card,
        lambda shop, id_: shop.payments.authorize(
            eur("100"), payment_method=id_, security_code="123", idempotency_key=KEY
        ),
    ),
    "capture": (
        an_authorization,
        lambda shop, id_: shop.payments.capture(id_, eur("60"), idempotency_key=KEY),
    ),
    "final capture": (
        an_authorization,
        lambda shop, id_: shop.payments.capture(id_, eur("60"), final=True, idempotency_key=KEY),
    ),
    "void": (
        an_authorization,
        lambda shop, id_: shop.payments.void(id_, idempotency_key=KEY),
    ),
    "refund": (
        a_capture,
        lambda shop, id_: shop.payments.refund(id_, eur("60"), idempotency_key=KEY),
    ),
    "increment": (
        an_authorization,
        lambda shop, id_: shop.payments.increment(id_, eur("20"), idempotency_key=KEY),
    ),
    "retry": (a_decline, retry_with_another_card),
    "resume": (
        a_challenge,
        lambda shop, id_: shop.payments.resume(id_, idempotency_key=KEY),
    ),
    "verify": (
        a_card,
        lambda shop, id_: shop.payment_methods.verify(id_, idempotency_key=KEY),
    ),
}
