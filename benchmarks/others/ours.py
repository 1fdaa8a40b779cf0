"""payplatform with everything on: card in the vault, ledger, events, chains, idempotency."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Final

from benchmarks.others.till import Pay
from benchmarks.shops import PRICE, Shop
from payplatform.storage.sqlite import SQLiteStorage

PACKAGES: Final = ("payplatform",)
DOES_NOT: Final = """\
- It speaks to no real bank yet: the bank that comes with it is simulated.
- It shows no form and no page of payment, and has no admin's site.
- It keeps its books in one SQLite file; there is no other database yet.
"""


@contextmanager
def opened(folder: Path) -> Iterator[Pay]:
    """A shop with one card on file, behind a bank that answers at once."""
    shop = Shop(SQLiteStorage(folder / "shop.db"))
    payments = shop.client.payments
    with closing(shop.pay):

        def pay(number: int) -> Decimal:
            held = payments.authorize(
                PRICE, payment_method=shop.card, idempotency_key=f"authorize-{number}"
            )
            payments.capture(held.id, idempotency_key=f"capture-{number}")
            return payments.get(held.id).captured.amount

        yield pay
