"""Payments that await their bank: as many as there are, cut short by anybody, on any event loop."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from harbour import PRICE, VISA, Gate, Quay, moored, quay, truth
from hypothesis import given
from hypothesis import strategies as st

from payplatform import (
    AsyncPayPlatform,
    BankUnavailable,
    Card,
    Customer,
    ErrorCode,
    InvalidRequest,
    NotAllowed,
    Operation,
    OutcomeUnknown,
    Payment,
    Settings,
)
from payplatform.aio._threads import Threads, awaited
from payplatform.banks.simulated import SimulatedBank
from payplatform.errors import NotSent, StorageUnavailable
from payplatform.keys.local import LocalKeyService
from payplatform.ports import BankReply, BankRequest, Changes
from payplatform.storage.memory import MemoryStorage
from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing import FakeClock


async def the_operation(quay: Quay, key: str) -> Operation:
    operation = await quay.shop.operations.find(idempotency_key=key)
    assert operation is not None
    return operation


class Slow(MemoryStorage):
    """A store whose commits wait, for ten seconds at most, until they may go on.

    Attributes:
        is_committing: set when a commit has come.
        may_commit: set to let them go on, as it is at first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_committing, self.may_commit = threading.Event(), threading.Event()
        self.may_commit.set()

    def commit(self, changes: Changes) -> None:
        self.is_committing.set()
        self.may_commit.wait(10)
        super().commit(changes)


# -- many at once ----------------------------------------------------------------------------------


def test_a_thousand_payments_await_the_bank_in_one_process(tmp_path: Path) -> None:
    """All of them are there at the same time, by a few threads, and each is paid once."""

    others = set(threading.enumerate())

    async def main() -> None:
        gate = Gate(is_open=False)
        async with quay(gate, tmp_path / "shop.db") as shop:
            charging = [asyncio.create_task(shop.charge(f"key-{n}")) for n in range(1_000)]
            await gate.at_the_gate(1_000)
            assert len(set(threading.enumerate()) - others) <= 16
            gate.open()
            paid = await asyncio.gather(*charging)
            assert {payment.status for payment in paid} == {"captured"}
            assert len({payment.id for payment in paid}) == 1_000
            assert gate.most == 1_000
            await truth(shop, gate)

    asyncio.run(main())


def test_the_event_loop_runs_while_a_store_is_slow() -> None:
    async def main() -> None:
        storage = Slow()
        async with quay(Gate(), storage=storage) as shop:
            storage.may_commit.clear()
            charging = asyncio.create_task(shop.charge("key"))
            # Were the loop held up by the commit, this line would never come to let it go.
            await asyncio.sleep(0.05)
            assert not charging.done()
            storage.may_commit.set()
            assert (await charging).status == "captured"

    asyncio.run(main())


def test_what_the_bank_has_answered_goes_on_before_what_is_new() -> None:
    """Its lease is running. A thousand new ones are in line when the answer comes."""

    async def main() -> None:
        gate = Gate(is_open=False)
        ended: list[str] = []

        async def charge(key: str) -> None:
            await shop.charge(key)
            ended.append(key)

        async with quay(gate) as shop:
            first = asyncio.create_task(charge("first"))
            await gate.at_the_gate(1)
            later = [asyncio.create_task(charge(f"later-{n}")) for n in range(1_000)]
            gate.open()
            await asyncio.gather(first, *later)
        assert ended.index("first") < 100

    asyncio.run(main())


def test_several_event_loops_share_one_platform(tmp_path: Path) -> None:
    async def make() -> tuple[AsyncPayPlatform, str, str]:
        pay = AsyncPayPlatform(
            storage=SQLiteStorage(tmp_path / "shop.db"),
            bank=SimulatedBank(),
            keys=LocalKeyService.ephemeral(),
        )
        shop = await pay.merchant((await pay.merchants.create(name="Acme")).id)
        card = await shop.payment_methods.create(card=Card(VISA, "12/40"))
        return pay, shop.id, card.id

    pay, merchant_id, card = asyncio.run(make())

    async def charge(loop: int) -> None:
        shop = await pay.merchant(merchant_id)
        keys = [f"{loop}-{n}" for n in range(20)]
        await asyncio.gather(
            *(shop.payments.charge(PRICE, payment_method=card, idempotency_key=key) for key in keys)
        )

    loops = [threading.Thread(target=asyncio.run, args=(charge(n),)) for n in range(4)]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join(60)

    async def count() -> int:
        async with pay:
            shop = await pay.merchant(merchant_id)
            assert (await pay.doctor()).ok
            return len([payment async for payment in shop.payments.list(status="captured")])

    assert asyncio.run(count()) == 80


def test_a_fork_has_threads_of_its_own() -> None:
    async def main() -> None:
        async with quay(Gate()) as shop:
            await shop.charge("before")
            pay, merchant_id = shop.pay, shop.shop.id
            child = os.fork()
            if child == 0:
                # The child of a running event loop has none.
                asyncio._set_running_loop(None)
                name = asyncio.run(pay.merchants.get(merchant_id)).name
                os._exit(0 if name == "Acme" else 1)
            _, status = await asyncio.to_thread(os.waitpid, child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
            await shop.charge("after")

    asyncio.run(main())


def test_a_platform_that_is_forgotten_leaves_no_threads_behind() -> None:
    def running() -> int:
        return sum(each.name == "payplatform" for each in threading.enumerate())

    async def main() -> None:
        pay = AsyncPayPlatform.sandbox()
        await asyncio.gather(*(pay.merchants.create(name=f"M{n}") for n in range(20)))

    gc.collect()
    before = running()
    asyncio.run(main())
    gc.collect()
    for _ in range(1_000):
        if running() <= before:
            break
        time.sleep(0.01)
    assert running() <= before


# -- cut short -------------------------------------------------------------------------------------


@pytest.mark.parametrize("takes_them_first", [True, False], ids=["done", "not done"])
def test_a_cancelled_call_is_an_unclear_answer_that_is_on_record(
    takes_them_first: bool, tmp_path: Path
) -> None:
    """When the caller is let go, it is booked; the same call again finds out what became of it."""

    async def main() -> None:
        gate, clock = Gate(is_open=False, takes_them_first=takes_them_first), FakeClock()
        async with quay(gate, tmp_path / "shop.db", now=clock) as shop:
            charging = asyncio.create_task(shop.charge("key"))
            await gate.at_the_gate(1)
            charging.cancel()
            with pytest.raises(asyncio.CancelledError):
                await charging
            operation = await the_operation(shop, "key")
            assert operation.state == "in_doubt"
            assert gate.waiting == 0
            gate.open()
            clock.advance(seconds=60)
            if takes_them_first:
                assert (await shop.charge("key")).status == "captured"
            else:
                with pytest.raises(BankUnavailable):
                    await shop.charge("key")
            await truth(shop, gate)

    asyncio.run(main())


def test_whoever_is_cancelled_often_is_let_go_once_it_is_booked() -> None:
    async def main() -> None:
        gate, storage = Gate(is_open=False), Slow()
        async with quay(gate, storage=storage) as shop:
            charging = asyncio.create_task(shop.charge("key"))
            await gate.at_the_gate(1)
            storage.may_commit.clear()
            for _ in range(5):
                charging.cancel()
                await asyncio.sleep(0.01)
            assert not charging.done()
            storage.may_commit.set()
            with pytest.raises(asyncio.CancelledError):
                await charging
            assert (await the_operation(shop, "key")).state == "in_doubt"

    asyncio.run(main())


def test_what_is_cancelled_before_it_begins_never_begins() -> None:
    async def main() -> None:
        gate = Gate()
        async with quay(gate) as shop:
            charging = asyncio.create_task(shop.charge("key"))
            await asyncio.sleep(0)  # it is in line; no thread can have asked the bank before we do
            charging.cancel()
            with pytest.raises(asyncio.CancelledError):
                await charging
            assert gate.asked == 0
            await truth(shop, gate)

    asyncio.run(main())


def test_a_store_that_fails_after_a_cancel_does_not_swallow_it() -> None:
    class Failing(MemoryStorage):
        fails = False

        def commit(self, changes: Changes) -> None:
            if self.fails:
                raise StorageUnavailable("the disk is gone")
            super().commit(changes)

    async def main() -> None:
        gate, storage = Gate(is_open=False), Failing()
        async with quay(gate, storage=storage) as shop:
            charging = asyncio.create_task(shop.charge("key"))
            await gate.at_the_gate(1)
            storage.fails = True
            charging.cancel()
            with pytest.raises(asyncio.CancelledError):
                await charging
            storage.fails = False
            assert (await the_operation(shop, "key")).state == "in_flight"

    asyncio.run(main())


@given(
    steps=st.lists(st.integers(0, 60), min_size=1, max_size=12),
    takes_them_first=st.booleans(),
    is_open=st.booleans(),
)
def test_wherever_calls_are_cut_short_the_books_agree_with_the_bank(
    steps: Sequence[int], takes_them_first: bool, is_open: bool
) -> None:
    """Each is cancelled after so many turns of the event loop; then time passes and all is told."""

    async def main() -> None:
        gate, clock = Gate(is_open=is_open, takes_them_first=takes_them_first), FakeClock()
        async with quay(gate, now=clock) as shop:

            async def cut_short(number: int, turns: int) -> None:
                charging = asyncio.create_task(shop.charge(f"key-{number}"))
                for _ in range(turns):
                    await asyncio.sleep(0)
                charging.cancel()
                await asyncio.wait([charging])

            await asyncio.gather(*(cut_short(n, turns) for n, turns in enumerate(steps)))
            gate.open()
            for wait_s in (60, 300, 3_600, 86_400):
                clock.advance(seconds=wait_s)
                await shop.pay.recover()
            unresolved = [each async for each in shop.shop.operations.list_unresolved()]
            assert not unresolved
            await truth(shop, gate)

    asyncio.run(main())


def test_a_bank_that_never_answers_is_cut_off_when_its_time_is_over() -> None:
    async def main() -> None:
        gate = Gate(is_open=False)
        async with quay(gate) as shop:
            with pytest.raises(OutcomeUnknown):
                await shop.charge("key", timeout_s=0.05)
            assert gate.waiting == 0
            assert (await the_operation(shop, "key")).state == "in_doubt"

    asyncio.run(main())


def test_recovery_that_is_cancelled_can_be_run_again() -> None:
    async def main() -> None:
        gate, clock = Gate(is_open=False), FakeClock()
        async with quay(gate, now=clock) as shop:
            charging = [asyncio.create_task(shop.charge(f"key-{n}")) for n in range(5)]
            await gate.at_the_gate(5)
            for each in charging:
                each.cancel()
            await asyncio.wait(charging)
            clock.advance(seconds=60)
            recovering = asyncio.create_task(shop.pay.recover())
            await gate.at_the_gate(1)
            recovering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await recovering
            gate.open()
            clock.advance(seconds=3_600)
            await shop.pay.recover()
            await truth(shop, gate)

    asyncio.run(main())


def test_nothing_of_a_call_stays_with_the_thread_that_made_it() -> None:
    """What was handed in is forgotten with the call, be it a card, though the thread is there."""

    class Noted(dict[str, str]):
        pass

    async def main() -> None:
        async with quay(Gate()) as shop:
            metadata = Noted(aisle="7")
            handed = weakref.ref(metadata)
            await shop.shop.customers.create(name="Ada", metadata=metadata)
            del metadata
            for _ in range(1_000):
                if handed() is None:
                    break
                gc.collect()
                await asyncio.sleep(0.001)
            assert handed() is None

    asyncio.run(main())


# -- the end ---------------------------------------------------------------------------------------


def test_close_waits_for_what_is_under_way() -> None:
    async def main() -> None:
        gate = Gate(is_open=False)
        async with quay(gate) as shop:
            charging = asyncio.create_task(shop.charge("key"))
            await gate.at_the_gate(1)
            closing = asyncio.create_task(shop.pay.close())
            await asyncio.sleep(0.02)
            assert not gate.is_closed
            gate.open()
            assert (await charging).status == "captured"
            await closing
            assert gate.is_closed

    asyncio.run(main())


def test_what_is_closed_takes_no_calls() -> None:
    async def main() -> None:
        async with quay(Gate()) as shop:
            await shop.pay.close()
            await shop.pay.close()
            with pytest.raises(NotAllowed) as told:
                await shop.charge("key")
            assert told.value.code == ErrorCode.CLIENT_CLOSED
            with pytest.raises(NotAllowed):
                async for _ in shop.shop.payments.list():
                    pass

    asyncio.run(main())


class Shut(MemoryStorage):
    """A store that knows how often it was closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1
        super().close()


def test_a_bank_that_cannot_be_awaited_is_told_and_all_else_is_closed() -> None:
    class Halfway(Gate):
        def close(self) -> None:  # type: ignore[override]  # it forgot the `async`
            self.is_closed = True

    async def main() -> None:
        storage = Shut()
        async with asyncio.timeout(60):
            shop = await moored(Halfway(), storage=storage)
            with pytest.raises(TypeError):
                await shop.pay.close()
        assert storage.closed == 1

    asyncio.run(main())


def test_a_close_that_is_cancelled_while_it_waits_can_be_made_again() -> None:
    async def main() -> None:
        gate, storage = Gate(is_open=False), Shut()
        shop = await moored(gate, storage=storage)
        charging = asyncio.create_task(shop.charge("key"))
        await gate.at_the_gate(1)
        closing = asyncio.create_task(shop.pay.close())
        await asyncio.sleep(0.01)
        closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled()
        assert storage.closed == 0
        gate.open()
        assert (await charging).status == "captured"
        await shop.pay.close()
        assert storage.closed == 1

    asyncio.run(main())


def test_two_who_close_at_once_are_both_told_that_it_is_closed() -> None:
    async def main() -> None:
        storage = Shut()
        shop = await moored(Gate(), storage=storage)
        await asyncio.gather(shop.pay.close(), shop.pay.close())
        assert storage.closed == 1

    asyncio.run(main())


def test_where_no_thread_can_begin_a_call_says_so_and_close_waits_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_more(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        pay = AsyncPayPlatform.sandbox()
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", no_more)
            with pytest.raises(RuntimeError, match="new thread"):
                await pay.merchants.create(name="Acme")
        async with asyncio.timeout(60):
            await pay.close()

    asyncio.run(main())


def test_what_a_bank_raised_is_forgotten_with_the_call() -> None:
    """Its traceback has the request, and with it the card: no collector is to be waited for."""
    raised: list[weakref.ref[Exception]] = []

    class Broken(Exception):
        pass

    class Breaking(Gate):
        async def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            await super().inquire("", request.operation_id, timeout_s=timeout_s)
            error = Broken()
            raised.append(weakref.ref(error))
            try:
                raise error
            finally:
                del error

    async def main() -> None:
        async with quay(Breaking()) as shop:
            with suppress(OutcomeUnknown):
                await shop.charge("key")
            for _ in range(1_000):
                if raised[0]() is None:
                    break
                await asyncio.sleep(0.001)
            assert raised[0]() is None

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def decorated(send: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(send)
    def sending(*args: Any, **kwargs: Any) -> Any:
        return send(*args, **kwargs)

    return sending


class Sending:
    """A bank's `send`, as an object."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def __call__(self, request: BankRequest, *, timeout_s: float) -> BankReply:
        return await Gate.send(self._gate, request, timeout_s=timeout_s)


@pytest.mark.parametrize(
    "send", [lambda gate: decorated(gate.send), Sending], ids=["decorated", "an object"]
)
def test_a_bank_is_awaited_whatever_its_send_is_made_of(send: Callable[[Gate], Any]) -> None:
    async def main() -> None:
        gate = Gate()
        gate.send = send(gate)  # type: ignore[method-assign]  # that is what this is about
        async with quay(gate) as shop:
            assert (await shop.charge("key")).status == "captured"

    asyncio.run(main())


def test_the_first_calls_of_several_event_loops_find_the_same_threads() -> None:
    gate = threading.Barrier(4)

    def find(threads: Threads) -> int:
        gate.wait(60)
        return id(threads._crew())

    with ThreadPoolExecutor(4) as loops:
        for _ in range(50):
            assert len(set(loops.map(find, [Threads(1)] * 4))) == 1


def test_a_program_that_ends_meanwhile_has_booked_what_is_unclear(tmp_path: Path) -> None:
    """`asyncio.run` cancels what is left over; nobody awaits the payment or closes the platform."""
    left_over: list[asyncio.Task[Payment]] = []

    async def main() -> Quay:
        gate = Gate(is_open=False)
        shop = await moored(gate, tmp_path / "shop.db")
        left_over.append(asyncio.create_task(shop.charge("key")))
        await gate.at_the_gate(1)
        return shop

    shop = asyncio.run(main())
    assert asyncio.run(the_operation(shop, "key")).state == "in_doubt"
    asyncio.run(shop.pay.close())


def test_a_call_whose_event_loop_is_gone_has_sent_nothing() -> None:
    """The loop is closed while the claim is being stored: the bank cannot be asked any more."""

    gate, storage = Gate(), Slow()
    loop = asyncio.new_event_loop()

    async def begin() -> Quay:
        shop = await moored(gate, storage=storage)
        storage.is_committing.clear()
        storage.may_commit.clear()
        return shop

    shop = loop.run_until_complete(begin())
    charging = loop.create_task(shop.charge("key"))
    while not storage.is_committing.is_set():
        loop.run_until_complete(asyncio.sleep(0.001))
    charging._log_destroy_pending = False  # type: ignore[attr-defined]  # it is what this is about
    loop.close()
    storage.may_commit.set()
    for _ in range(1_000):
        operation = asyncio.run(the_operation(shop, "key"))
        if operation.state != "in_flight":
            break
        time.sleep(0.01)
    assert (operation.state, gate.asked) == ("aborted", 0)
    asyncio.run(shop.pay.close())


def test_nobody_but_a_call_awaits_a_bank() -> None:
    async def nothing() -> None:
        """Never awaited, as it is never made."""

    with pytest.raises(NotSent):
        awaited(nothing)


# -- what else it is given -------------------------------------------------------------------------


def test_a_blocking_bank_is_asked_on_a_thread() -> None:
    asked_on: list[str] = []

    class Noting(SimulatedBank):
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            asked_on.append(threading.current_thread().name)
            return super().send(request, timeout_s=timeout_s)

    async def main() -> None:
        async with quay(Noting()) as shop:
            assert (await shop.charge("key")).status == "captured"

    asyncio.run(main())
    assert asked_on == ["payplatform"]


def test_the_bank_sees_the_context_of_whoever_pays() -> None:
    """So that a trace or a log knows which request of the shop's it is about."""
    request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id")
    seen: list[str] = []

    class Noting(Gate):
        async def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            seen.append(request_id.get())
            return await super().send(request, timeout_s=timeout_s)

    async def main() -> None:
        async with quay(Noting()) as shop:

            async def charge(number: int) -> None:
                request_id.set(f"request-{number}")
                await shop.charge(f"key-{number}")

            await asyncio.gather(*(charge(number) for number in range(50)))

    asyncio.run(main())
    assert sorted(seen) == sorted(f"request-{number}" for number in range(50))


@pytest.mark.parametrize(
    "make",
    [
        lambda bank: AsyncPayPlatform.sandbox(bank=bank),
        lambda bank: AsyncPayPlatform(storage=MemoryStorage(), bank=bank, keys=bank),
    ],
    ids=["sandbox", "parts"],
)
@pytest.mark.parametrize("bank", ["a bank", Gate, object()], ids=["text", "class", "object"])
def test_what_is_no_bank_is_refused_by_its_name(make: Callable[[Any], Any], bank: Any) -> None:
    with pytest.raises(InvalidRequest) as told:
        make(bank)
    assert (told.value.field, told.value.code) == ("bank", ErrorCode.TYPE_INVALID)


def test_a_list_is_read_as_it_is_gone_through_and_fails_where_it_fails() -> None:
    """All that was read before the store failed has been given."""

    class Failing(MemoryStorage):
        pages = 0

        def page(self, *args: Any, **kwargs: Any) -> Any:
            Failing.pages += 1
            if Failing.pages > 2:
                raise StorageUnavailable("the disk is gone")
            return super().page(*args, **kwargs)

    given: list[Customer] = []

    async def main() -> None:
        async with quay(Gate(), storage=Failing()) as shop:
            for number in range(250):
                await shop.shop.customers.create(name=f"C{number}")
            Failing.pages = 0
            async for customer in shop.shop.customers.list():
                given.append(customer)  # noqa: PERF401  # what came before the failure is kept

    with pytest.raises(StorageUnavailable):
        asyncio.run(main())
    assert len(given) == 200


def test_settings_are_those_of_the_blocking_face() -> None:
    async def main() -> None:
        async with quay(Gate(), settings=Settings(timeout_s=7)) as shop:
            assert (await shop.pay.describe())["bank"]["bank"].startswith("simulated")

    asyncio.run(main())
