"""A marketplace: two merchants on one platform, and the wall between them.

Both use the same order numbers and the same customer's card, and neither can see, touch or even
find out about what is the other's: a foreign id behaves exactly as one that does not exist.

    python examples/marketplace.py
"""

from __future__ import annotations

from collections.abc import Callable

from payplatform import Card, MerchantClient, Money, NotFound, Payment, PayPlatform
from payplatform.banks.simulated import SimulatedBank

ABSENT = "pay_00000000000000000000000000"  # well formed, and nobody's


def sell(shop: MerchantClient, amount: str) -> Payment:
    """One sale, to the customer who shops everywhere with the same card."""
    ada = shop.customers.create(name="Ada", email="ada@example.com")
    card = shop.payment_methods.create(customer=ada.id, card=Card("5555 5555 5555 4444", "12/30"))
    payment = shop.payments.charge(
        Money(amount, "EUR"),
        payment_method=card.id,
        security_code="123",
        idempotency_key="order-1",  # a key belongs to one merchant: no clash
        reference="Order 1",
    )
    return payment.raise_for_decline()


def answer_to(call: Callable[[str], object], payment_id: str) -> tuple[str, str, str]:
    """All that a caller learns of an id that is not theirs."""
    try:
        call(payment_id)
    except NotFound as error:
        return type(error).__name__, error.code, str(error)
    raise AssertionError("that was somebody else's payment")


def the_wall_holds(shop: MerchantClient, foreign: Payment) -> None:
    """Whatever is asked, a foreign id and an absent one are told the same."""
    attempts: dict[str, Callable[[str], object]] = {
        "read": shop.payments.get,
        "look at its history": shop.payments.timeline,
        "refund": lambda id_: shop.payments.refund(id_, idempotency_key="not-mine"),
        "capture": lambda id_: shop.payments.capture(id_, idempotency_key="not-mine"),
        "void": lambda id_: shop.payments.void(id_, idempotency_key="not-mine"),
    }
    for what, call in attempts.items():
        told = answer_to(call, foreign.id)
        assert told == answer_to(call, ABSENT)
        print(f"  {what:20} -> {told[0]}: {told[2]}")


def earned(shop: MerchantClient) -> Money:
    """What a merchant has taken and not given back."""
    kept = (payment.captured - payment.refunded for payment in shop.payments.list())
    return sum(kept, Money.zero("EUR"))


def main() -> None:
    bank = SimulatedBank()
    with PayPlatform.sandbox(bank=bank) as pay:
        books = pay.merchant(pay.merchants.create(name="Acme Books").id)
        bread = pay.merchant(pay.merchants.create(name="Bea's Bread").id)

        sold_book, sold_bread = sell(books, "42.00"), sell(bread, "6.50")
        bread.payments.refund(sold_bread.id, Money("1.50", "EUR"), idempotency_key="return-1")
        print(f"Acme Books:  {earned(books)}")
        print(f"Bea's Bread: {earned(bread)}")
        assert earned(books) == Money("42.00", "EUR")
        assert earned(bread) == Money("5.00", "EUR")

        print("Bea tries to get at a payment of Acme's:")
        the_wall_holds(bread, sold_book)
        assert books.payments.get(sold_book.id) == sold_book  # and nothing has happened to it

        # The same card is stored under other keys, and known by another fingerprint.
        (card_of_books,) = books.payment_methods.list()
        (card_of_bread,) = bread.payment_methods.list()
        assert card_of_books.last4 == card_of_bread.last4
        assert card_of_books.fingerprint != card_of_bread.fingerprint
        print("The same card has two fingerprints: the two cannot compare their customers")

        # The bank keeps them apart, too.
        assert {line.merchant_id for line in bank.statement(books.id)} == {books.id}
        assert len(bank.statement(books.id)) == 1
        assert len(bank.statement(bread.id)) == 2

        # One of them leaves: its cards can never be read again, and the other notices nothing.
        pay.merchants.erase(bread.id)
        assert [merchant.name for merchant in pay.merchants.list()] == ["Acme Books"]
        assert earned(books) == Money("42.00", "EUR")
        assert pay.doctor().ok
        print("Bea has left; Acme's books are as they were")


if __name__ == "__main__":
    main()
