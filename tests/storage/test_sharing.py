"""Commits of many threads under one: each is whole or not there, and told of its own.

How: what stands in a queue is held back by a writer that waits, so that nothing here depends on
which thread is faster.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

import pytest
from attrs import evolve
from elsewhere import MERCHANT, write_customer
from hypothesis import given, settings
from hypothesis import strategies as st

from payplatform._domain.audit import Chain
from payplatform._domain.changes import Changes
from payplatform._domain.records import Customer
from payplatform.errors import (
    CommitUncertain,
    Conflict,
    ErrorCode,
    PayPlatformError,
    StorageBusy,
)
from payplatform.storage import _sharing
from payplatform.storage._sharing import Sharing
from payplatform.storage._transactions import Work, work_of
from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing._records import a_customer, a_payment, an_event, an_id
from payplatform.testing.disk import recording_disk

LONGEST_S = 60

Write: TypeAlias = Callable[[Sequence[Work]], Sequence[PayPlatformError | None]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "books.db"


class HeldBack:
    """A writer that begins when it is let, and remembers how many works came together."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self.together: list[int] = []
        self.begun = threading.Semaphore(0)
        self.may_go_on = threading.Semaphore(0)

    def __call__(self, works: Sequence[Work]) -> Sequence[PayPlatformError | None]:
        self.together.append(len(works))
        self.begun.release()
        assert self.may_go_on.acquire(timeout=LONGEST_S)
        return self._write(works)

    def wait_until_it_has_begun(self) -> None:
        assert self.begun.acquire(timeout=LONGEST_S)


def wait_for(waiting: int, sharing: Sharing, *, unless: Future[None] | None = None) -> None:
    """Until so many are in the queue, but for those that are being written.

    Args:
        waiting: how many.
        sharing: whose queue.
        unless: one that may have ended before it came there.
    """
    for _ in range(LONGEST_S * 1_000):
        has_ended = unless is not None and unless.done()
        if has_ended or len(sharing._waiting) - len(sharing._together) == waiting:
            return
        threading.Event().wait(0.001)
    raise AssertionError("they never came")


@contextmanager
def together(write: Write, works: Sequence[Work]) -> Iterator[tuple[HeldBack, list[Future[None]]]]:
    """The first work is being written, alone, and all others wait in their order."""
    held = HeldBack(write)
    sharing = Sharing(held)
    with ThreadPoolExecutor(len(works)) as threads:
        told = [threads.submit(sharing.write, works[0])]
        held.wait_until_it_has_begun()
        for number, work in enumerate(works[1:], start=1):
            told.append(threads.submit(sharing.write, work))
            wait_for(number, sharing)
        yield held, told
        for _ in works:
            held.may_go_on.release()


def a_work(number: int, version: int = 1) -> Work:
    customer = a_customer(MERCHANT, number, version=version)
    return work_of(Changes(merchant_id=MERCHANT, records=(customer,)))


def customers_of(path: Path) -> dict[str, int]:
    with closing(SQLiteStorage(path)) as storage:
        found = storage.page(MERCHANT, Customer, limit=999)
        return {customer.id: customer.version for customer in found}


def test_who_comes_while_one_is_writing_goes_with_the_next(path: Path) -> None:
    with closing(SQLiteStorage(path)) as storage:
        works = [a_work(number) for number in range(1, 33)]
        with together(storage._writer.write, works) as (held, told):
            pass
        assert [each.result(LONGEST_S) for each in told] == [None] * 32
    assert held.together == [1, 31]
    assert len(customers_of(path)) == 32


def test_who_is_alone_writes_alone_and_at_once(path: Path) -> None:
    with closing(SQLiteStorage(path)) as storage:
        held = HeldBack(storage._writer.write)
        sharing = Sharing(held)
        for number in range(1, 4):
            held.may_go_on.release()
            sharing.write(a_work(number))
    assert held.together == [1, 1, 1]


def test_a_stale_guard_fails_its_own_work_and_no_other(path: Path) -> None:
    with closing(SQLiteStorage(path)) as storage:
        works = [a_work(1), a_work(2), a_work(1, version=7), a_work(3), a_work(2), a_work(1, 2)]
        with together(storage._writer.write, works) as (_, told):
            pass
        failures = [each.exception(LONGEST_S) for each in told]
        assert [type(failure) for failure in failures] == [
            *(type(None), type(None), Conflict),
            *(type(None), Conflict, type(None)),
        ]
        assert storage.verify(MERCHANT, Chain.JOURNAL).ok
    versions = {1: 2, 2: 1, 3: 1}
    assert customers_of(path) == {an_id(Customer, n): version for n, version in versions.items()}


def changes_of(drawn: tuple[int, int, int]) -> Changes:
    """A payment with its event: some fit and some do not, and some break a rule of the schema."""
    number, version, amount = drawn
    payment = a_payment(MERCHANT, number, version=version)
    event_id = f"evt_{number}_{version}_{amount}"
    event = an_event(MERCHANT, version, subject_id=payment.id, id=event_id)
    customer = a_customer(MERCHANT, 10 * number + amount)
    return Changes(merchant_id=MERCHANT, records=(customer, payment), events=(event,))


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(0, 2)), min_size=2, max_size=12
    )
)
@settings(max_examples=60)
def test_together_they_end_as_one_after_the_other(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[int, int, int]]
) -> None:
    """The same failures for the same works, and the same rows, links and heads in the file."""
    folder = tmp_path_factory.mktemp("ends")
    works = [work_of(changes_of(each)) for each in drawn]
    dumps, failures = [], []
    for name, batches in (("one", [works]), ("many", [[work] for work in works])):
        with closing(SQLiteStorage(folder / name)) as storage:
            told = [failure for batch in batches for failure in storage._writer.write(batch)]
            failures.append([failure and (type(failure), failure.message) for failure in told])
            assert storage.verify(MERCHANT, Chain.JOURNAL).ok
        with closing(sqlite3.connect(folder / name)) as file:
            dumps.append(list(file.iterdump()))
    assert failures[0] == failures[1]
    assert dumps[0] == dumps[1]


def some_big_works() -> list[Work]:
    big = [a_customer(MERCHANT, number, name="x" * 50_000) for number in range(1, 6)]
    return [work_of(Changes(merchant_id=MERCHANT, records=(each,))) for each in big]


@pytest.mark.parametrize("at", range(1, 12, 2))
def test_a_disk_that_fails_fails_all_that_were_written_together(tmp_path: Path, at: int) -> None:
    """All of them are there, or each is told that it may not be, and the next ones are written."""
    path = tmp_path / "books.db"
    with recording_disk(tmp_path) as disk, closing(SQLiteStorage(path)) as storage:
        write_customer(storage, 99)
        disk.fail_write(at)
        failures = storage._writer.write(some_big_works())
        disk.mend()
        if None in failures:
            assert failures == [None] * 5
            assert len(storage.page(MERCHANT, Customer, limit=99)) == 6
        assert storage._writer.write([a_work(77)]) == [None]
        assert storage.verify(MERCHANT, Chain.JOURNAL).ok


@pytest.mark.parametrize("room", range(5, 65, 15))
def test_a_disk_that_fills_up_between_two_loses_nothing_that_was_told(
    path: Path, room: int
) -> None:
    with closing(SQLiteStorage(path)) as storage:
        write_customer(storage, 99)
        with storage._connections.mine() as connection:
            ((pages,),) = connection.execute("PRAGMA page_count").fetchall()
            connection.execute(f"PRAGMA max_page_count = {pages + room}")
        failures = storage._writer.write(some_big_works())
        told = {an_id(Customer, at) for at, failure in enumerate(failures, 1) if failure is None}
        full = [failure.code for failure in failures if failure is not None]
        assert set(full) == {ErrorCode.STORAGE_FULL}
    assert set(customers_of(path)) == told | {an_id(Customer, 99)}


def test_after_a_power_cut_each_is_whole_or_not_there_and_what_was_told_is(tmp_path: Path) -> None:
    path = tmp_path / "before" / "books.db"
    path.parent.mkdir()
    with recording_disk(path.parent) as disk:
        storage = SQLiteStorage(path)
        stale = a_work(500, version=5)
        for batch in range(2):
            numbers = [batch * 4 + at for at in range(1, 5)]
            works = [work_of(changes_of((number, 1, 0))) for number in numbers]
            failures = storage._writer.write([*works[:2], stale, *works[2:]])
            assert [failure is None for failure in failures] == [True, True, False, True, True]
            disk.mark(numbers)
        storage.close()
    after = tmp_path / "after"
    after.mkdir()
    images = list(disk.images())
    assert len(images) > 50
    for image in images:
        image.write_to(after)
        told = [number for mark in image.marks if isinstance(mark, list) for number in mark]
        with closing(SQLiteStorage(after / "books.db")) as storage:
            for number in range(1, 9):
                payment_id = a_payment(MERCHANT, number).id
                parts = [
                    storage.get(MERCHANT, Customer, an_id(Customer, 10 * number)) is not None,
                    bool(storage.events(MERCHANT, payment_id)),
                ]
                assert len(set(parts)) == 1
                assert parts[0] or number not in told
            assert storage.verify(MERCHANT, Chain.JOURNAL).ok


def test_who_was_written_by_somebody_interrupted_is_told_that_nobody_knows() -> None:
    written: list[int] = []

    def write(works: Sequence[Work]) -> Sequence[None]:
        written.append(len(works))
        if len(written) == 2:
            raise KeyboardInterrupt
        return [None] * len(works)

    works = [a_work(number) for number in range(1, 6)]
    with together(write, works) as (held, told):
        held.may_go_on.release()
        held.wait_until_it_has_begun()
    failures = [each.exception(LONGEST_S) for each in told]
    assert failures[0] is None
    assert isinstance(failures[1], KeyboardInterrupt)
    assert [type(failure) for failure in failures[2:]] == [CommitUncertain] * 3
    assert len({id(failure) for failure in failures[2:]}) == 3
    assert held.together == [1, 4]


LINES = Path(_sharing.__file__).read_text().splitlines()


@pytest.mark.parametrize(
    "line",
    [at for at, text in enumerate(LINES, 1) if text.startswith("        ") and '"""' not in text],
)
def test_wherever_a_leader_is_interrupted_nobody_waits_for_ever(line: int) -> None:
    """Each is told: that it was written only if it was, and who comes later is written."""
    written: list[Work] = []

    def write(works: Sequence[Work]) -> Sequence[None]:
        written.extend(works)
        return [None] * len(works)

    held = HeldBack(write)
    sharing = Sharing(held)
    works = [a_work(number) for number in range(1, 6)]

    def lead_and_be_interrupted() -> None:
        sys.settrace(interrupt_at(line))
        try:
            sharing.write(works[1])
        finally:
            sys.settrace(None)

    with ThreadPoolExecutor(5) as threads:
        told = [threads.submit(sharing.write, works[0])]
        held.wait_until_it_has_begun()
        told.append(threads.submit(lead_and_be_interrupted))
        wait_for(1, sharing, unless=told[1])
        for work in works[2:]:
            before = len(sharing._waiting)
            told.append(threads.submit(sharing.write, work))
            wait_for(before + 1 - len(sharing._together), sharing)
        held.may_go_on.release(9)
        for work, each in zip(works, told, strict=True):
            failure = each.exception(LONGEST_S)
            assert failure is not None or work in written
        last = threads.submit(sharing.write, a_work(9))
        assert last.result(LONGEST_S) is None


def interrupt_at(line: int) -> Callable[..., Any]:
    """A trace that raises once, at a line of the module."""
    is_armed = True

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal is_armed
        if frame.f_code.co_filename != _sharing.__file__:
            return None
        if event == "line" and frame.f_lineno == line and is_armed:
            is_armed = False
            raise KeyboardInterrupt
        return trace

    return trace


def test_what_the_writer_raises_is_the_failure_of_each() -> None:
    def write(_: Sequence[Work]) -> Sequence[None]:
        raise StorageBusy("others held it")

    with together(write, [a_work(1), a_work(2), a_work(3)]) as (_, told):
        pass
    failures = [each.exception(LONGEST_S) for each in told]
    assert [type(failure) for failure in failures] == [StorageBusy] * 3
    assert len({id(failure) for failure in failures}) == 3


def test_somebody_who_is_interrupted_while_waiting_is_not_written_and_holds_nobody_up() -> None:
    written: list[int] = []

    def write(works: Sequence[Work]) -> Sequence[None]:
        written.append(len(works))
        return [None] * len(works)

    held = HeldBack(write)
    sharing = Sharing(held)
    main = threading.main_thread().ident or 0
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(sharing.write, a_work(1))
        held.wait_until_it_has_begun()

        def interrupt_main() -> None:
            wait_for(1, sharing)
            signal.pthread_kill(main, signal.SIGINT)

        interruption = threads.submit(interrupt_main)
        with pytest.raises(KeyboardInterrupt):
            sharing.write(a_work(2))
        interruption.result(LONGEST_S)
        last = threads.submit(sharing.write, a_work(3))
        wait_for(1, sharing)
        held.may_go_on.release(2)
        assert (first.result(LONGEST_S), last.result(LONGEST_S)) == (None, None)
    assert written == [1, 1]


def test_a_child_that_was_forked_while_others_waited_writes_for_itself(path: Path) -> None:
    with closing(SQLiteStorage(path)) as storage:
        held = HeldBack(lambda works: [None] * len(works))
        sharing = Sharing(held)
        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(sharing.write, a_work(1))
            held.wait_until_it_has_begun()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # it is what this is about
                child = os.fork()
            if child == 0:
                signal.alarm(LONGEST_S)
                held.may_go_on.release()
                sharing.write(a_work(2))
                os._exit(7)
            held.may_go_on.release()
            assert first.result(LONGEST_S) is None
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        write_customer(storage, 3)
    assert customers_of(path) == {an_id(Customer, 3): 1}


def test_threads_that_all_change_one_payment_lose_nothing(path: Path) -> None:
    """Every thread adds one to the same payment, as often as it takes."""
    with closing(SQLiteStorage(path, busy_timeout_s=LONGEST_S)) as storage:
        storage.commit(Changes(merchant_id=MERCHANT, records=(a_payment(MERCHANT),)))

        def raise_one(_: Any) -> int:
            tries = 0
            while True:
                tries += 1
                payment = storage.get(MERCHANT, type(a_payment(MERCHANT)), a_payment(MERCHANT).id)
                assert payment is not None
                following = evolve(payment, version=payment.version + 1)
                try:
                    storage.commit(Changes(merchant_id=MERCHANT, records=(following,)))
                except Conflict:
                    continue
                return tries

        with ThreadPoolExecutor(16) as threads:
            list(threads.map(raise_one, range(64)))
        payment = storage.get(MERCHANT, type(a_payment(MERCHANT)), a_payment(MERCHANT).id)
        assert payment is not None
        assert payment.version == 65
