"""An async bank where a test decides who is let through, and a platform in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from payplatform import AsyncMerchantClient, AsyncPayPlatform, Card, Money, Payment
from payplatform.banks.simulated import SimulatedBank
from payplatform.keys.local import LocalKeyService
from payplatform.ports import BankCapabilities, BankNotice, BankReply, BankRequest, Storage
from payplatform.storage.memory import MemoryStorage
from payplatform.storage.sqlite import SQLiteStorage

VISA = "4242424242424242"
PRICE = Money("10.00", "EUR")


class Gate:
    """A simulated bank behind a gate, on the event loop itself: nobody but it waits.

    Attributes:
        is_open: whether requests go through at once.
        takes_them_first: whether the bank does what it is asked before the answer has to wait.
        waiting: how many are at the gate, and how many there have been at most.
    """

    def __init__(self, *, is_open: bool = True, takes_them_first: bool = False) -> None:
        self.bank = SimulatedBank()
        self.is_open = is_open
        self.takes_them_first = takes_them_first
        self.waiting = self.most = self.asked = 0
        self.is_closed = False
        self._opens = asyncio.Event()
        self._more_wait = asyncio.Condition()

    @property
    def capabilities(self) -> BankCapabilities:
        return self.bank.capabilities

    def open(self) -> None:
        self.is_open = True
        self._opens.set()

    async def at_the_gate(self, many: int) -> None:
        """Wait until so many are there."""
        async with asyncio.timeout(60), self._more_wait:
            await self._more_wait.wait_for(lambda: self.waiting >= many)

    async def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
        self.asked += 1
        if not self.takes_them_first:
            await self._wait()
            return self.bank.send(request, timeout_s=timeout_s)
        reply = self.bank.send(request, timeout_s=timeout_s)
        await self._wait()
        return reply

    async def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> BankReply:
        await asyncio.sleep(0)
        return self.bank.inquire(merchant_id, operation_id, timeout_s=timeout_s)

    def read_notice(self, raw: bytes, headers: Mapping[str, str]) -> BankNotice:
        return self.bank.read_notice(raw, headers)

    def describe(self) -> Mapping[str, str]:
        return self.bank.describe()

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.is_closed = True

    async def _wait(self) -> None:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            async with self._more_wait:
                self._more_wait.notify_all()
            if not self.is_open:
                await self._opens.wait()
        finally:
            self.waiting -= 1


class Quay:
    """A merchant with a card on file."""

    def __init__(self, pay: AsyncPayPlatform, shop: AsyncMerchantClient, card: str) -> None:
        self.pay = pay
        self.shop = shop
        self.card = card

    async def charge(self, key: str, **more: Any) -> Payment:
        return await self.shop.payments.charge(
            PRICE, payment_method=self.card, idempotency_key=key, **more
        )


async def moored(
    gate: Any, file: Path | None = None, *, storage: Storage | None = None, **more: Any
) -> Quay:
    """A platform on a file, or in memory, to be closed by whoever has it."""
    kept = storage or (MemoryStorage() if file is None else SQLiteStorage(file))
    keys = LocalKeyService.ephemeral()
    pay = AsyncPayPlatform(storage=kept, bank=gate, keys=keys, **more)
    shop = await pay.merchant((await pay.merchants.create(name="Acme")).id)
    method = await shop.payment_methods.create(card=Card(VISA, "12/40"))
    return Quay(pay, shop, method.id)


@asynccontextmanager
async def quay(gate: Any, file: Path | None = None, **more: Any) -> AsyncIterator[Quay]:
    """The same, closed in the end."""
    quay = await moored(gate, file, **more)
    async with quay.pay:
        yield quay


async def truth(quay: Quay, gate: Gate) -> None:
    """Our books and the bank's say the same of every payment, and nothing is broken."""
    report = await quay.pay.doctor()
    assert report.ok, report.findings
    async for payment in quay.shop.payments.list():
        started = [
            gate.bank.position(quay.shop.id, operation.id)
            for operation in await quay.shop.payments.operations(payment.id)
            if operation.kind in ("sale", "authorize")
        ]
        for fact in ("authorized", "captured", "voided", "refunded"):
            theirs = sum(getattr(position, fact) for position in started)
            assert getattr(payment.facts, fact) == theirs, (fact, payment)
