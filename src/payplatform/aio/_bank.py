"""A bank whose answers are awaited, for an engine that waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from inspect import iscoroutinefunction, unwrap
from typing import cast

from attrs import frozen

from payplatform.aio._threads import awaited
from payplatform.client.platform import require_ports
from payplatform.ports import AsyncBank, Bank, BankCapabilities, BankNotice, BankReply, BankRequest


def for_the_engine(bank: AsyncBank | Bank) -> Bank:
    """The bank as the engine knows banks. A blocking one stays what it is.

    Raises:
        InvalidRequest: `type_invalid`: it is neither.
    """
    require_ports(bank=bank)
    send = unwrap(bank.send)
    if iscoroutinefunction(send) or iscoroutinefunction(getattr(send, "__call__", None)):  # noqa: B004  # whether it is callable is no question
        return _AwaitedBank(cast("AsyncBank", bank))
    return cast("Bank", bank)


@frozen
class _AwaitedBank:
    """An async bank that keeps its time: what takes longer than it may is cancelled."""

    _bank: AsyncBank

    @property
    def capabilities(self) -> BankCapabilities:
        return self._bank.capabilities

    def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
        ask = partial(self._bank.send, request, timeout_s=timeout_s)
        return awaited(partial(_in_time, ask, timeout_s))

    def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> BankReply:
        ask = partial(self._bank.inquire, merchant_id, operation_id, timeout_s=timeout_s)
        return awaited(partial(_in_time, ask, timeout_s))

    def read_notice(self, raw: bytes, headers: Mapping[str, str]) -> BankNotice:
        return self._bank.read_notice(raw, headers)

    def describe(self) -> Mapping[str, str]:
        return self._bank.describe()

    def close(self) -> None:
        awaited(self._bank.close)


async def _in_time(ask: Callable[[], Awaitable[BankReply]], timeout_s: float) -> BankReply:
    async with asyncio.timeout(timeout_s):
        return await ask()
