"""The books in a file: several processes, forks, kills, and files that are none of ours."""

import multiprocessing
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from bank_requests import CHALLENGE, Clock, Counter

from payplatform.banks.simulated import (
    SimulatedBank,
)
from payplatform.errors import ErrorCode, InvalidRequest, NotSent
from payplatform.ports import ReplyOutcome


def test_a_file_keeps_the_books(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "bank.db"
    bank = SimulatedBank(path, now=clock)
    reply = Counter(bank).send("authorize", "a", card=CHALLENGE)
    bank.close()

    again = SimulatedBank(str(path), now=clock)
    assert Counter(again).inquire("a") == reply
    again.complete_challenge("a")
    assert Counter(again).outcome("resume", "r", target_id="a") == "approved"
    again.close()


def test_no_column_could_hold_a_card_number(clock: Clock, tmp_path: Path) -> None:
    """After every sort of call no stored text has more than the last four digits."""
    bank = SimulatedBank(tmp_path / "bank.db", now=clock)
    Counter(bank).send("sale", "a", card="4929119344365414", code="739")
    bank.close()

    with sqlite3.connect(tmp_path / "bank.db") as connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    assert "5414" in dump
    assert "492911" not in dump
    assert "739" not in dump


@pytest.mark.parametrize("kind", ["text", "foreign", "newer"])
def test_a_file_that_is_none_of_ours_is_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "shop.db"
    if kind == "text":
        path.write_text("not a database at all, but long enough to look at" * 20)
    elif kind == "foreign":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE payments (id)")
        connection.close()
    else:
        SimulatedBank(path).close()
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 999")
        connection.close()
    before = path.read_bytes()

    with pytest.raises(InvalidRequest) as refused:
        SimulatedBank(path)

    assert (refused.value.code, refused.value.field) == (ErrorCode.VALUE_INVALID, "path")
    if kind == "text":
        assert path.read_bytes() == before
    else:
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA user_version").fetchone()[0] in (0, 999)
        connection.close()


def test_a_closed_bank_sends_nothing(bank: SimulatedBank) -> None:
    bank.close()
    bank.close()

    with pytest.raises(NotSent):
        Counter(bank).send("sale", "a")
    with pytest.raises(NotSent):
        bank.statement()


# From Python 3.12 on a fork among threads warns; that it works all the same is what is tested.
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def try_together(path: Path, count: int) -> None:
    """One of several processes: the same sales under the same ids."""
    counter = Counter(SimulatedBank(path))
    for number in range(count):
        assert counter.outcome("sale", f"op_{number}") == "approved"
    counter.bank.close()


def run(*targets: Callable[[], object]) -> None:
    """Each in a forked process of its own, all at once; fails when one of them fails."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=target) for target in targets]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * len(processes)


@forks
def test_several_processes_use_one_file(tmp_path: Path) -> None:
    """Four open it at once, and send the same thirty operations: each has one effect."""
    path = tmp_path / "bank.db"

    run(*[lambda: try_together(path, 30)] * 4)

    bank = SimulatedBank(path)
    assert [bank.effects("mer_1", f"op_{number}") for number in range(30)] == [1] * 30
    assert len(bank.statement()) == 30
    bank.close()


@forks
def test_a_bank_works_on_in_both_after_a_fork(counter: Counter) -> None:
    """A file is shared with the child; books in memory are copied."""
    counter.send("sale", "before")

    def child() -> None:
        assert counter.effects("before") == 1
        assert counter.outcome("sale", "in_child") == "approved"
        counter.bank.close()

    run(child, child)

    in_memory = counter.bank.describe()["books"] == "memory"
    assert counter.effects("in_child") == (0 if in_memory else 1)
    assert counter.outcome("sale", "after") == "approved"


@forks
def test_a_fork_while_others_are_at_it_does_not_stop_the_child(counter: Counter) -> None:
    """No child is born into the middle of somebody's transaction."""
    at_it = True

    def keep_at_it(thread: int) -> None:
        for number in range(100_000):
            if not at_it:
                return
            counter.send("sale", f"op_{thread}_{number}")

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(keep_at_it, thread) for thread in range(2)]
        for number in range(5):
            run(partial(counter.send, "sale", f"child_{number}"))
        at_it = False
        assert [future.result() for future in running] == [None, None]


def send_on(path: Path) -> None:
    """Until it is killed, and not for ever should nobody kill it."""
    counter = Counter(SimulatedBank(path))
    for number in range(20_000):
        counter.send("sale", f"op_{number}")


@forks
def test_what_runs_when_a_process_is_killed_is_done_or_not(tmp_path: Path) -> None:
    """After a kill the books are whole: a line for each answer, an answer for each line."""
    path = tmp_path / "bank.db"
    SimulatedBank(path).close()
    victim = multiprocessing.get_context("fork").Process(target=send_on, args=(path,))
    victim.start()
    time.sleep(0.3)
    victim.kill()
    victim.join(timeout=60)

    counter = Counter(SimulatedBank(path))
    lines = counter.bank.statement()
    assert lines
    last = f"op_{len(lines) - 1}"
    assert [line.operation_id for line in lines[-1:]] == [last]
    assert counter.inquire(last).outcome is ReplyOutcome.APPROVED
    assert counter.inquire(f"op_{len(lines)}").outcome is ReplyOutcome.NOT_FOUND
    counter.bank.close()
