"""django-getpaid behind a paywall that answers at once. From 3.0 on it needs Python 3.12."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from benchmarks.others._django import create_tables, set_up
from benchmarks.others.till import CURRENCY, PRICE, Pay

PACKAGES: Final = ("django-getpaid", "Django")
DOES_NOT: Final = """\
- It stores nothing of a charge before the paywall is asked, and holds a transaction open meanwhile.
  When the answer is lost, the row still says `pre-auth`, and charging once more asks once more.
- It has no idempotency keys, and locks nothing before it asks: two charges of one payment at once
  both reach the paywall. Version 2.3 then tells the second that it came too late; 3.2 does not.
- Version 2.3 counts a charge that is answered at once twice, and takes a refund of as much.
- It has no recovery but to ask for the status of one payment: no command, and no list of what is
  in doubt.
- It keeps one row for a payment, and overwrites it: no ledger, no history.
- It has no vault for cards, and knows of no merchants.
"""

_ITS_DUMMY: Final = "getpaid.backends.dummy.processor"


@contextmanager
def opened(folder: Path) -> Iterator[Pay]:
    """An order model as its documentation has it."""
    set_up(
        folder,
        "getpaid",
        GETPAID_ORDER_MODEL="getpaid.Order",
        GETPAID_BACKEND_SETTINGS={_ITS_DUMMY: {"confirmation_status": "pre_auth"}},
    )
    from django.db import connection, models
    from getpaid.models import AbstractOrder, Payment

    class Order(AbstractOrder):
        total = models.DecimalField(max_digits=9, decimal_places=2)

        class Meta:
            app_label = "getpaid"

    create_tables(Order, Payment)
    paywall = _paywall()

    def pay(number: int) -> Decimal:
        payment = Payment.objects.create(
            order=Order.objects.create(total=PRICE),
            amount_required=PRICE,
            currency=CURRENCY,
            backend=paywall,
            description=str(number),
        )
        payment.fetch_and_update_status()
        payment.charge(PRICE)
        captured: Decimal = Payment.objects.get(pk=payment.pk).amount_paid
        return captured

    yield pay
    connection.close()


def _paywall() -> str:
    """The name of one that approves all: its own dummy or, where that is a site to ask, ours."""
    if find_spec("getpaid_core"):
        return _ITS_DUMMY
    from getpaid.processor import BaseProcessor
    from getpaid.registry import registry

    class Paywall(BaseProcessor):
        slug = "paywall"

        def prepare_transaction(self, *_: Any, **__: Any) -> None:
            """Nobody is sent anywhere."""

        def fetch_payment_status(self, **_: Any) -> dict[str, str]:
            return {"callback": "confirm_lock"}

        def charge(self, amount: Decimal, **_: Any) -> dict[str, Any]:
            return {"amount_charged": amount, "success": True}

    registry.register(Paywall)
    return Paywall.slug
