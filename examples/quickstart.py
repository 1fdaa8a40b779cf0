"""Quickstart: the lines of the README, in a folder of their own, and a look at what they left.

python examples/quickstart.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from payplatform import Card, Money, PayPlatform


def main(folder: Path) -> None:
    # SQLite in shop.db, a master key in shop.db.key, a simulated bank in shop.db.bank.
    with PayPlatform.open(folder / "shop.db") as pay:
        acme = pay.merchants.create(name="Acme Books")
        shop = pay.merchant(acme.id)

        ada = shop.customers.create(name="Ada", email="ada@example.com")
        card = shop.payment_methods.create(
            customer=ada.id, card=Card("4242 4242 4242 4242", "12/30")
        )
        print(f"{ada.name} pays with {card}")

        payment = shop.payments.charge(
            Money("19.99", "EUR"),
            payment_method=card.id,
            security_code="123",
            idempotency_key="order-1001",
        )
        print(f"charged:  {payment.captured}, {payment.status}")

        payment = shop.payments.refund(
            payment.id, Money("5.00", "EUR"), idempotency_key="return-77"
        )
        print(f"refunded: {payment.refunded}, {payment.status}, {payment.refundable} left")
        assert payment.status == "partially_refunded"
        assert payment.refundable == Money("14.99", "EUR")

        print("what happened:")
        for event in shop.payments.timeline(payment.id):
            print(f"  {event.number}. {event}")

    # Another process, another day: it is all still there.
    with PayPlatform.open(folder / "shop.db") as pay:
        again = pay.merchant(acme.id).payments.get(payment.id)
        assert again == payment
        assert pay.doctor().ok
        print(f"after a restart: {again.status}, and the doctor finds nothing wrong")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary))
