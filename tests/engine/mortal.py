"""The world that outlives a platform, which may die at any port call."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from faces import platform
from watched_bank import WatchedBank

from payplatform import MerchantClient, Payment, PayPlatform, Settings
from payplatform.banks.simulated import FULL_CAPABILITIES, Position, SimulatedBank
from payplatform.keys.local import LocalKeyService
from payplatform.ports import BankCapabilities, Storage
from payplatform.storage.memory import MemoryStorage
from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing.mortal import Fate, Mortal

START = datetime(2030, 1, 1, 12, tzinfo=UTC)


class World:
    """What is there whatever happens to our process. One merchant, with one client at a time.

    Attributes:
        bank: the bank itself.
        wire: the bank as our process sees it, where a test may meddle.
        through: what our process sees of a store, where a test may meddle too.
    """

    def __init__(
        self,
        file: Path | None = None,
        *,
        capabilities: BankCapabilities = FULL_CAPABILITIES,
        settings: Settings | None = None,
    ) -> None:
        self.now = START
        self.bank = SimulatedBank(now=self.clock, capabilities=capabilities)
        self.wire = WatchedBank(self.bank)
        self.through: Callable[[Storage], Any] = lambda storage: storage
        self._settings = settings
        self.keys = LocalKeyService.ephemeral()
        self._file = file
        self._memory = MemoryStorage()
        self._stores: list[Storage] = []
        self.merchant_id = ""
        self.fate = Fate()
        self.pay = self.start()
        self.merchant_id = self.pay.merchants.create(name="Acme").id

    def clock(self) -> datetime:
        return self.now

    def start(self, fate: Fate | None = None) -> PayPlatform:
        """A new process: what the last one held in memory is gone."""
        self.fate = fate or Fate()
        self.wire.bank = self.bank
        storage: Storage = SQLiteStorage(self._file) if self._file else self._memory
        self._stores.append(storage)
        self.pay = platform(
            storage=Mortal(self.through(storage), self.fate, "storage"),
            bank=Mortal(self.wire, self.fate, "bank"),
            keys=Mortal(self.keys, self.fate, "keys"),
            now=self.clock,
            settings=self._settings,
        )
        return self.pay

    @property
    def storage(self) -> Storage:
        """The store itself, as nobody meddles with it."""
        return self._stores[-1]

    @property
    def shop(self) -> MerchantClient:
        return self.pay.merchant(self.merchant_id)

    def advance(self, **time: float) -> None:
        self.now += timedelta(**time)

    def recover_all(self) -> None:
        """Run recovery as it would be run over a week, until nothing is left that it can do."""
        for step in (60, 80, 400, 2_200, 8_700, 26_000, *(104_000,) * 6):
            self.advance(seconds=step)
            self.pay.recover()
            if not any(True for _ in self.shop.operations.list_unresolved()):
                return

    def close(self) -> None:
        for storage in self._stores:
            storage.close()
        self.bank.close()


def agree(world: World) -> None:
    """Our books and the bank's say the same, payment by payment, and nothing is broken."""
    report = world.pay.doctor()
    assert report.ok, report.findings
    for payment in world.shop.payments.list():
        ours, theirs = payment.facts, banks_position(world, payment)
        for fact in ("authorized", "captured", "voided", "expired", "refunded"):
            assert getattr(ours, fact) == getattr(theirs, fact), (fact, payment)


def banks_position(world: World, payment: Payment) -> Position:
    """What the bank has booked for a payment, whichever of its attempts it took."""
    starts = [
        world.bank.position(world.merchant_id, operation.id)
        for operation in world.shop.payments.operations(payment.id)
        if operation.kind in ("sale", "authorize")
    ]
    taken = [position for position in starts if position.authorized]
    assert len(taken) <= 1, "one payment, one authorization"
    return taken[0] if taken else Position()
