"""The front door for programs on asyncio: the same platform, whose verbs are awaited."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Self

from payplatform._engine.settings import Settings
from payplatform.aio._bank import for_the_engine
from payplatform.aio._threads import Threads
from payplatform.aio._verbs import AsyncRoom, awaited_verb
from payplatform.aio.rooms import (
    AsyncAudit,
    AsyncCustomers,
    AsyncDisputes,
    AsyncJournal,
    AsyncLedger,
    AsyncMerchantNotices,
    AsyncMerchants,
    AsyncMerchantVault,
    AsyncNotices,
    AsyncOperations,
    AsyncOutbox,
    AsyncPaymentMethods,
    AsyncPayments,
    AsyncPayouts,
    AsyncVault,
)
from payplatform.client.platform import MerchantClient, PayPlatform
from payplatform.ports import AsyncBank, Bank, KeyService, Limiter, Storage

_THREADS = 16
"""More of them take from each other what one processor core can do; fewer share fewer commits."""


class AsyncPayPlatform(AsyncRoom[PayPlatform]):
    """`PayPlatform` for asyncio: thousands of payments may await the bank in one process.

    It is the same engine. A call is made on one of a few threads, which goes on with others while
    the bank is awaited; the event loop never waits for a disk or a key. A call that is cancelled is
    an unclear answer of the bank, if the bank was asked: it is booked as such before the caller is
    let go, and `recover()`, or the same call again, finds out what became of it.

    Use it as an async context manager, or `await close()`. It needs the extra `async`.
    """

    def __init__(
        self,
        *,
        storage: Storage,
        bank: AsyncBank | Bank,
        keys: KeyService,
        limiter: Limiter | None = None,
        now: Callable[[], datetime] | None = None,
        new_id: Callable[[str], str] | None = None,
        settings: Settings | None = None,
    ) -> None:
        """As `PayPlatform`, but for the bank.

        Args:
            storage: where everything is kept.
            bank: who moves the money. A blocking one holds up a thread for as long as it takes.
            keys: who keeps the master key.
            limiter: who counts attempts; None to count none.
            now: the clock.
            new_id: makes an id from its prefix.
            settings: how long things may take, and how often is too often.

        Raises:
            InvalidRequest: one of them is not what it has to be.
        """
        self._begin(
            PayPlatform(
                storage=storage,
                bank=for_the_engine(bank),
                keys=keys,
                limiter=limiter,
                now=now,
                new_id=new_id,
                settings=settings,
            )
        )

    def _begin(self, pay: PayPlatform) -> None:
        super().__init__(pay, Threads(_THREADS))
        self.merchants = AsyncMerchants(pay.merchants, self._threads)
        self.events = AsyncOutbox(pay.events, self._threads)
        self.notices = AsyncNotices(pay.notices, self._threads)
        self.vault = AsyncVault(pay.vault, self._threads)

    @classmethod
    def open(
        cls,
        path_or_url: str | os.PathLike[str],
        *,
        bank: AsyncBank | Bank | None = None,
        keys: KeyService | None = None,
        limiter: Limiter | None = None,
        now: Callable[[], datetime] | None = None,
        new_id: Callable[[str], str] | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """As `PayPlatform.open`. It opens its files before it returns: call it at the start."""
        return cls._around(
            PayPlatform.open(
                path_or_url,
                bank=_optional(bank),
                keys=keys,
                limiter=limiter,
                now=now,
                new_id=new_id,
                settings=settings,
            )
        )

    @classmethod
    def sandbox(
        cls,
        *,
        bank: AsyncBank | Bank | None = None,
        keys: KeyService | None = None,
        limiter: Limiter | None = None,
        now: Callable[[], datetime] | None = None,
        new_id: Callable[[str], str] | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """As `PayPlatform.sandbox`: everything in memory."""
        return cls._around(
            PayPlatform.sandbox(
                bank=_optional(bank),
                keys=keys,
                limiter=limiter,
                now=now,
                new_id=new_id,
                settings=settings,
            )
        )

    @classmethod
    def _around(cls, pay: PayPlatform) -> Self:
        platform = cls.__new__(cls)
        platform._begin(pay)  # noqa: SLF001  # one of its own
        return platform

    async def merchant(
        self, merchant_id: str, *, actor: str | None = None, origin: str | None = None
    ) -> AsyncMerchantClient:
        """As `PayPlatform.merchant`."""
        find = partial(self._room.merchant, merchant_id, actor=actor, origin=origin)
        return AsyncMerchantClient(await self._threads.run(find), self._threads)

    recover = awaited_verb(PayPlatform.recover)
    run_due = awaited_verb(PayPlatform.run_due)
    doctor = awaited_verb(PayPlatform.doctor)
    archive = awaited_verb(PayPlatform.archive)
    describe = awaited_verb(PayPlatform.describe)

    async def close(self) -> None:
        """Wait for the calls of this event loop, then let go of files and keys.

        A second close does nothing; any other call is refused.
        """
        await self._threads.close(self._room.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


class AsyncMerchantClient(AsyncRoom[MerchantClient]):
    """One merchant's part of the platform: the rooms of `MerchantClient`, each awaited."""

    def __init__(self, client: MerchantClient, threads: Threads) -> None:
        super().__init__(client, threads)
        self.id = client.id
        self.customers = AsyncCustomers(client.customers, threads)
        self.payment_methods = AsyncPaymentMethods(client.payment_methods, threads)
        self.payments = AsyncPayments(client.payments, threads)
        self.operations = AsyncOperations(client.operations, threads)
        self.notices = AsyncMerchantNotices(client.notices, threads)
        self.disputes = AsyncDisputes(client.disputes, threads)
        self.vault = AsyncMerchantVault(client.vault, threads)
        self.payouts = AsyncPayouts(client.payouts, threads)
        self.ledger = AsyncLedger(client.ledger, threads)
        self.journal = AsyncJournal(client.journal, threads)
        self.audit = AsyncAudit(client.audit, threads)

    reconcile = awaited_verb(MerchantClient.reconcile)


def _optional(bank: AsyncBank | Bank | None) -> Bank | None:
    return None if bank is None else for_the_engine(bank)
