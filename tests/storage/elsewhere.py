"""Running things in other processes, which share nothing with a test but the files it names."""

import multiprocessing
import os
import resource
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from payplatform._domain.changes import Changes
from payplatform._domain.payments import Payment
from payplatform.errors import Conflict, StorageUnavailable
from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing._records import a_customer, a_payment, an_id

MERCHANT = "mer_1"
LONGEST_S = 60
PATIENT_S = 30.0  # a busy machine may let others go first for longer than the five seconds we ask
FRESH = multiprocessing.get_context("spawn")


def elsewhere(work: Callable[..., Any], *arguments: Any, times: int = 1) -> list[Any]:
    """What `work` returns, or raises, in each of so many fresh processes at once."""
    with ProcessPoolExecutor(times, mp_context=FRESH) as processes:
        running = [processes.submit(within_time, work, *arguments) for _ in range(times)]
        return [each.result(timeout=LONGEST_S) for each in running]


def within_time(work: Callable[..., Any], *arguments: Any) -> Any:
    """Do it, in a process that ends itself should it hang."""
    signal.alarm(LONGEST_S)
    return work(*arguments)


def files_of(path: Path) -> bytes:
    """All that is on the disk of an SQLite file: itself, its log, its index, its journal."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")))


def open_files_of(path: Path) -> int:
    """How many of this process's open files are the SQLite file or its log."""
    count = 0
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            count += str(handle.readlink()).startswith(str(path))
    return count


def customers_in(path: Path) -> set[str]:
    """The customers that a fresh process finds in a file, in which nothing is damaged."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    found = {row[0] for row in connection.execute("SELECT id FROM customers").fetchall()}
    connection.close()
    return found


def write_customer(storage: SQLiteStorage, number: int, **otherwise: Any) -> str:
    customer = a_customer(MERCHANT, number, **otherwise)
    storage.commit(Changes(merchant_id=MERCHANT, records=(customer,)))
    return customer.id


# -- what is run there -----------------------------------------------------------------------------


def open_and_write(path: Path, number: int) -> str:
    storage = SQLiteStorage(path, busy_timeout_s=PATIENT_S)
    written = write_customer(storage, number + os.getpid())
    storage.close()
    return written


def raise_versions(path: Path, times: int) -> int:
    """Raise the version of a payment so many times; how many others were faster, on the way."""
    storage = SQLiteStorage(path, busy_timeout_s=PATIENT_S)
    conflicts = 0
    for _ in range(times):
        while True:
            payment = storage.get(MERCHANT, Payment, an_id(Payment, 1))
            assert payment is not None
            raised = a_payment(MERCHANT, version=payment.version + 1)
            try:
                storage.commit(Changes(merchant_id=MERCHANT, records=(raised,)))
            except Conflict:
                conflicts += 1
            else:
                break
    storage.close()
    return conflicts


def write_until_full(path: Path, most_bytes: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Write to a disk that ends there; what was acknowledged, and what was raised."""
    storage = SQLiteStorage(path)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    acknowledged, raised = [], []
    for number in range(1, 400):
        try:
            acknowledged.append(write_customer(storage, number, name="x" * 2000))
        except StorageUnavailable as error:
            raised.append((type(error).__name__, error.code.value))
    readable = [len(storage.page(MERCHANT, type(a_customer("m")), limit=1000))]
    storage.close()
    assert readable[0] >= len(acknowledged)
    return acknowledged, raised


def as_nobody(path: Path) -> str:
    """What a user who owns nothing is told who opens a file."""
    with tempfile.TemporaryDirectory() as folder:
        # Loads what is loaded late: nobody may not be able to read this Python either.
        SQLiteStorage(Path(folder) / "books.db").close()
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    try:
        SQLiteStorage(path).close()
    except StorageUnavailable as error:
        return error.code.value
    return "opened"


def write_until_killed(path: Path, told: Connection, first: int) -> None:
    storage = SQLiteStorage(path)
    for number in range(first, first + 100_000):
        told.send(write_customer(storage, number))


def fork_while_writing(path: Path) -> tuple[int, int]:
    """Fork a store that a thread is writing to; then both write, and the parent closes first.

    Returns how many were acknowledged to the parent, and how many to the child.
    """
    import threading

    storage = SQLiteStorage(path)
    stop, written = threading.Event(), []

    def write_on() -> None:
        number = 1000
        while not stop.is_set():
            number += 1
            written.append(write_customer(storage, number))

    writer = threading.Thread(target=write_on)
    writer.start()
    time.sleep(0.05)
    to_child, to_parent = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(LONGEST_S // 2)
        write_customer(storage, 1)
        os.write(to_parent[1], b".")
        os.read(to_child[0], 1)
        for number in range(2, 7):
            write_customer(storage, number)
        os._exit(0)
    os.read(to_parent[0], 1)
    time.sleep(0.05)
    stop.set()
    writer.join()
    storage.close()
    os.write(to_child[1], b".")
    _, status = os.waitpid(child, 0)
    assert status == 0
    return len(written), 6


def fork_behind_pythons_back(path: Path) -> str:
    """What a child is told that was forked past the hooks, with a connection it inherited."""
    import ctypes

    storage = SQLiteStorage(path)
    write_customer(storage, 1)
    from_child = os.pipe()
    child = ctypes.CDLL(None).fork()
    if child == 0:
        told = ""
        for attempt in (lambda: write_customer(storage, 2), lambda: SQLiteStorage(path)):
            try:
                attempt()
                told += "nothing "
            except StorageUnavailable as error:
                told += "refused " if "inherited" in error.message else "otherwise "
        os.write(from_child[1], told.encode())
        os._exit(0)
    told = os.read(from_child[0], 100).decode()
    os.waitpid(child, 0)
    write_customer(storage, 3)
    storage.close()
    return told
