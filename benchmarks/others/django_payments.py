"""django-payments with its dummy provider."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Final

from benchmarks.others._django import create_tables, set_up
from benchmarks.others.till import CURRENCY, PRICE, Pay

PACKAGES: Final = ("django-payments", "Django")
DOES_NOT: Final = """\
- It stores nothing of a capture before the provider is asked. When the answer is lost, the row
  still says `preauth`, and capturing once more asks once more.
- It has no idempotency keys, and locks nothing: two captures, or two whole refunds, of one payment
  at once both reach the provider.
- `capture` does not store how much was captured, nor refuse more than the total: that is left to
  its caller.
- It has no recovery: no command, and no list of what is in doubt.
- It keeps one row for a payment, and overwrites it: no ledger, no history.
- It has no vault for cards, and knows of no merchants.
"""


@contextmanager
def opened(folder: Path) -> Iterator[Pay]:
    """A payment model as its documentation has it."""
    set_up(
        folder,
        "payments",
        PAYMENT_HOST="localhost",
        PAYMENT_VARIANTS={"default": ("payments.dummy.DummyProvider", {})},
    )
    from django.db import connection
    from payments import PaymentStatus
    from payments.models import BasePayment

    class Payment(BasePayment):
        class Meta:
            app_label = "payments"

    create_tables(Payment)

    def pay(number: int) -> Decimal:
        payment = Payment.objects.create(
            variant="default", description=str(number), total=PRICE, currency=CURRENCY
        )
        # As its providers do when they are told; the form of the dummy would take two commits more.
        payment.change_status(PaymentStatus.PREAUTH)
        payment.capture(PRICE)
        payment.save()  # capture() leaves what was captured to be saved by its caller
        captured: Decimal = Payment.objects.get(pk=payment.pk).captured_amount
        return captured

    yield pay
    connection.close()
