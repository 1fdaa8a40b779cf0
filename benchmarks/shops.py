"""A shop on a real file, behind a bank that costs nothing but the time it is told to take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Self

from payplatform import (
    AsyncMerchantClient,
    AsyncPayPlatform,
    Card,
    MerchantClient,
    Money,
    Payment,
    PayPlatform,
)
from payplatform.errors import NotSent, OutcomeUnknown
from payplatform.keys.local import LocalKeyService
from payplatform.ports import (
    BankCapabilities,
    BankNotice,
    BankReply,
    BankRequest,
    KeyService,
    ReplyOutcome,
    Storage,
)

PRICE = Money("19.99", "EUR")
_GOOD = "4242 4242 4242 4242"


class QuickBank:
    """Approves whatever it is sent, after `latency_s` seconds. It keeps no books.

    Attributes:
        is_silent: whether it leaves everybody without an answer for now.
    """

    capabilities = BankCapabilities(
        dedups_operation_id_s=86_400,
        inquiry_by_operation_id=True,
        reversal_remembers_unknown=True,
        max_in_flight_s=60,
        multi_capture=True,
        partial_refund=True,
    )

    def __init__(self, latency_s: float = 0) -> None:
        self._latency_s = latency_s
        self.is_silent = False

    def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
        """Approve all of it."""
        if self._latency_s > timeout_s:
            raise NotSent("the bank would take too long")
        if self.is_silent:
            raise TimeoutError
        if self._latency_s:
            time.sleep(self._latency_s)
        return BankReply(
            operation_id=request.operation_id,
            outcome=ReplyOutcome.APPROVED,
            amount=request.amount,
            reference=f"ref-{request.operation_id[-12:]}",
        )

    def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> BankReply:
        """It knows of nothing."""
        del merchant_id, timeout_s
        return BankReply(operation_id=operation_id, outcome=ReplyOutcome.NOT_FOUND)

    def read_notice(self, raw: bytes, headers: Mapping[str, str]) -> BankNotice:
        """It never sends any."""
        raise NotImplementedError

    def describe(self) -> Mapping[str, str]:
        """Its name."""
        return {"bank": "quick"}

    def close(self) -> None:
        """Nothing is open."""


class AwaitedQuickBank:
    """A quick bank whose answers are awaited, for `latency_s` seconds."""

    def __init__(self, latency_s: float) -> None:
        self._bank = QuickBank()
        self._latency_s = latency_s
        self.capabilities = self._bank.capabilities
        self.read_notice = self._bank.read_notice
        self.describe = self._bank.describe

    async def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
        """Approve all of it."""
        await asyncio.sleep(self._latency_s)
        return self._bank.send(request, timeout_s=timeout_s)

    async def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> BankReply:
        """It knows of nothing."""
        return self._bank.inquire(merchant_id, operation_id, timeout_s=timeout_s)

    async def close(self) -> None:
        """Nothing is open."""


class Shop:
    """A merchant with one card on file: those that the store has, or new ones."""

    def __init__(
        self, storage: Storage, *, latency_s: float = 0, keys: KeyService | None = None
    ) -> None:
        self.bank = QuickBank(latency_s)
        self.pay = PayPlatform(
            storage=storage, bank=self.bank, keys=keys or LocalKeyService.ephemeral()
        )
        merchants = self.pay.merchants
        merchant = next(merchants.list(), None) or merchants.create(name="Acme")
        self.client: MerchantClient = self.pay.merchant(merchant.id)
        methods = self.client.payment_methods
        card = next(methods.list(), None) or methods.create(card=Card(_GOOD, "12/40"))
        self.card = card.id

    def charge(self, key: str) -> Payment:
        """One sale under a key of its own."""
        return self.client.payments.charge(PRICE, payment_method=self.card, idempotency_key=key)

    def whole_life(self, key: str) -> Payment:
        """Authorize, capture, refund and read one payment."""
        payments = self.client.payments
        held = payments.authorize(PRICE, payment_method=self.card, idempotency_key=f"{key}-a")
        payments.capture(held.id, idempotency_key=f"{key}-c")
        payments.refund(held.id, idempotency_key=f"{key}-r")
        return payments.get(held.id)

    def left_open(self, key: str) -> None:
        """A sale of which nobody knows how it ended: it is left to recovery."""
        self.bank.is_silent = True
        with suppress(OutcomeUnknown):
            self.charge(key)
        self.bank.is_silent = False


class AsyncShop:
    """The same shop on asyncio, behind a bank that is awaited. From `opened`."""

    def __init__(self, pay: AsyncPayPlatform, client: AsyncMerchantClient, card: str) -> None:
        self.pay = pay
        self._client = client
        self._card = card

    @classmethod
    async def opened(cls, storage: Storage, *, latency_s: float) -> Self:
        """A merchant with one card on file."""
        pay = AsyncPayPlatform(
            storage=storage, bank=AwaitedQuickBank(latency_s), keys=LocalKeyService.ephemeral()
        )
        client = await pay.merchant((await pay.merchants.create(name="Acme")).id)
        card = await client.payment_methods.create(card=Card(_GOOD, "12/40"))
        return cls(pay, client, card.id)

    async def charge(self, key: str) -> Payment:
        """One sale under a key of its own."""
        return await self._client.payments.charge(
            PRICE, payment_method=self._card, idempotency_key=key
        )
