"""One face for the other: what is written for the blocking face runs on the async one, too.

A test that is written once can so be run on both, a bank that is awaited be held to `BankContract`,
and a blocking bank, the simulated one for example, be awaited by the code under test.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any, Self, TypeVar, cast

from payplatform.aio import AsyncPayPlatform
from payplatform.aio._verbs import AsyncRoom
from payplatform.client import PayPlatform
from payplatform.ports import AsyncBank, Bank, BankCapabilities, BankNotice, BankReply, BankRequest

R = TypeVar("R")

_MOST_AT_ONCE = 64


def blocking(pay: AsyncPayPlatform) -> PayPlatform:
    """A platform that makes every call on an async one, and waits for it.

    Args:
        pay: used by nobody else. It is closed with what is returned.

    Returns:
        What has the methods of a `PayPlatform`, without being one; from any thread.
    """
    return cast("PayPlatform", _Blocking(pay))


class AwaitedBank:
    """A blocking bank as an `AsyncBank`: each call of it is made in a thread of its own.

    Args:
        bank: closed with this one.
        latency_s: how long each call is awaited before it reaches the bank, in seconds.
    """

    def __init__(self, bank: Bank, *, latency_s: float = 0.0) -> None:
        self._bank = bank
        self._latency_s = latency_s

    @property
    def capabilities(self) -> BankCapabilities:
        """Those of the bank."""
        return self._bank.capabilities

    async def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
        """Send one request, once."""
        await asyncio.sleep(self._latency_s)
        return await asyncio.to_thread(self._bank.send, request, timeout_s=timeout_s)

    async def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> BankReply:
        """What the bank knows of our operation."""
        await asyncio.sleep(self._latency_s)
        return await asyncio.to_thread(
            self._bank.inquire, merchant_id, operation_id, timeout_s=timeout_s
        )

    def read_notice(self, raw: bytes, headers: Mapping[str, str]) -> BankNotice:
        """What a message of the bank tells."""
        return self._bank.read_notice(raw, headers)

    def describe(self) -> Mapping[str, str]:
        """What the bank is."""
        return self._bank.describe()

    async def close(self) -> None:
        """Close the bank."""
        await asyncio.to_thread(self._bank.close)


class BlockingBank:
    """An `AsyncBank` as a `Bank`, so that `BankContract` can hold it to its port.

    Args:
        bank: closed with this one. What it is made of has to be made in its calls, for they are
            made on another event loop.
    """

    def __init__(self, bank: AsyncBank) -> None:
        self._bank = bank

    @property
    def capabilities(self) -> BankCapabilities:
        """Those of the bank."""
        return self._bank.capabilities

    def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
        """Send one request, once."""
        return _wait_for(self._bank.send(request, timeout_s=timeout_s))

    def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> BankReply:
        """What the bank knows of our operation."""
        ask = self._bank.inquire(merchant_id, operation_id, timeout_s=timeout_s)
        return _wait_for(ask)

    def read_notice(self, raw: bytes, headers: Mapping[str, str]) -> BankNotice:
        """What a message of the bank tells."""
        return self._bank.read_notice(raw, headers)

    def describe(self) -> Mapping[str, str]:
        """What the bank is."""
        return self._bank.describe()

    def close(self) -> None:
        """Close the bank."""
        _wait_for(self._bank.close())


@cache
def _loop(process: int) -> asyncio.AbstractEventLoop:
    """The event loop of a process, on a thread of its own. It ends with the process."""
    del process
    loop = asyncio.new_event_loop()
    # A caller of a simulated history may stand still in one of these threads.
    loop.set_default_executor(ThreadPoolExecutor(_MOST_AT_ONCE))

    def run() -> None:
        while True:
            # What is meant to stop a program goes to whoever waits for it, and also comes here.
            with suppress(BaseException):
                loop.run_forever()

    threading.Thread(target=run, name="event loop", daemon=True).start()
    return loop


def _wait_for(awaited: Coroutine[Any, Any, R]) -> R:
    """What came of it."""
    try:
        return asyncio.run_coroutine_threadsafe(awaited, _loop(os.getpid())).result()
    except concurrent.futures.CancelledError:
        # Of the two exceptions of that name, this is the one that stops a program.
        raise asyncio.CancelledError from None


def _go_through(stream: AsyncIterator[R]) -> Iterator[R]:
    """Everything that comes of it."""
    with suppress(StopAsyncIteration):
        while True:
            yield _wait_for(_next(stream))


async def _next(stream: AsyncIterator[R]) -> R:
    return await anext(stream)


class _Blocking:
    """A room of the async face, or its front door, as the blocking face has it."""

    def __init__(self, room: AsyncRoom[Any]) -> None:
        self._room = room

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._room, name)
        if isinstance(value, AsyncRoom):
            return _Blocking(value)
        return partial(_call, value) if callable(value) else value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _call(verb: Any, *args: Any, **kwargs: Any) -> Any:
    made = verb(*args, **kwargs)
    if isasyncgenfunction(verb):
        return _go_through(made)
    if iscoroutinefunction(verb):
        made = _wait_for(made)
    return _Blocking(made) if isinstance(made, AsyncRoom) else made
