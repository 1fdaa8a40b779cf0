"""The SQLite store when things go wrong: others at the file, forks, disks, kills, damage.

Whatever happens, what was acknowledged is there, and what was refused is not.
"""

# ruff: noqa: S608  # what is put into a statement's text here is ours

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from elsewhere import (
    FRESH,
    MERCHANT,
    as_nobody,
    customers_in,
    elsewhere,
    fork_behind_pythons_back,
    fork_while_writing,
    open_files_of,
    raise_versions,
    write_customer,
    write_until_full,
    write_until_killed,
)

from payplatform._domain.changes import Changes
from payplatform._domain.payments import Payment
from payplatform._domain.records import Customer
from payplatform.errors import (
    CommitUncertain,
    Conflict,
    ErrorCode,
    PayPlatformError,
    StorageBusy,
    StorageUnavailable,
)
from payplatform.storage._failures import failure_of
from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing._records import a_customer, a_method, a_payment, an_id, an_operation


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "books.db"


@pytest.fixture
def storage(path: Path) -> Iterator[SQLiteStorage]:
    storage = SQLiteStorage(path)
    yield storage
    storage.close()


def raised_by(call: Callable[[], Any]) -> PayPlatformError:
    """What a call raises; whatever it is, it tells nothing of another exception."""
    with pytest.raises(PayPlatformError) as caught:
        call()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


# -- others at the file ----------------------------------------------------------------------------


def test_no_update_is_lost_between_threads_and_processes(path: Path) -> None:
    storage = SQLiteStorage(path)
    storage.commit(Changes(merchant_id=MERCHANT, records=(a_payment(MERCHANT),)))
    threads = [threading.Thread(target=raise_versions, args=(path, 25)) for _ in range(3)]
    for thread in threads:
        thread.start()
    elsewhere(raise_versions, path, 25, times=3)
    for thread in threads:
        thread.join()
    payment = storage.get(MERCHANT, Payment, an_id(Payment, 1))
    assert payment is not None
    assert payment.version == 1 + 6 * 25
    storage.close()


def test_a_writer_waits_no_longer_than_its_timeout_and_writes_nothing(path: Path) -> None:
    storage = SQLiteStorage(path, busy_timeout_s=0.2)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    start = time.monotonic()
    error = raised_by(lambda: write_customer(storage, 1))
    assert isinstance(error, StorageBusy)
    assert error.retryable
    assert 0.1 < time.monotonic() - start < 5
    assert storage.page(MERCHANT, Customer, limit=1) == []
    other.execute("ROLLBACK")
    other.close()
    write_customer(storage, 1)
    storage.close()


def test_a_reader_that_holds_up_a_file_without_a_log_makes_it_busy(path: Path) -> None:
    storage = SQLiteStorage(path, busy_timeout_s=0.1, journal_mode="delete")
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM customers").fetchall()
    assert isinstance(raised_by(lambda: write_customer(storage, 1)), StorageBusy)
    reader.close()
    assert storage.page(MERCHANT, Customer, limit=1) == []
    write_customer(storage, 1)
    storage.close()


def test_opening_waits_no_longer_than_its_timeout(path: Path) -> None:
    SQLiteStorage(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN IMMEDIATE")
    other.execute("CREATE TABLE x (y)")
    error = raised_by(lambda: SQLiteStorage(path, busy_timeout_s=0.1))
    assert isinstance(error, StorageBusy)
    other.close()


# -- forks -----------------------------------------------------------------------------------------


def test_a_fork_amid_writes_loses_no_commit_of_parent_or_child(path: Path) -> None:
    for _ in range(2):
        before = len(customers_in(path)) if path.exists() else 0
        ((mine, childs),) = elsewhere(fork_while_writing, path)
        assert mine > 0
        assert len(customers_in(path)) == before + mine + childs
        for file in path.parent.iterdir():
            file.unlink()


def test_nothing_is_open_while_a_process_forks(storage: SQLiteStorage, path: Path) -> None:
    write_customer(storage, 1)
    assert open_files_of(path) > 0
    told = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(told[1], bytes([open_files_of(path)]))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(told[0], 1) == b"\x00"
    write_customer(storage, 2)


def test_a_child_forked_past_the_hooks_is_refused_and_the_parent_goes_on(path: Path) -> None:
    assert elsewhere(fork_behind_pythons_back, path) == ["refused refused "]
    assert customers_in(path) == {an_id(Customer, 1), an_id(Customer, 3)}


# -- disks -----------------------------------------------------------------------------------------


def test_a_full_disk_loses_nothing_that_was_acknowledged(path: Path) -> None:
    ((acknowledged, raised),) = elsewhere(write_until_full, path, 300_000)
    assert acknowledged
    assert raised
    assert {name for name, _ in raised} <= {"StorageUnavailable", "CommitUncertain"}
    assert customers_in(path) >= set(acknowledged)
    storage = SQLiteStorage(path)
    write_customer(storage, 1000)
    storage.close()


def test_a_file_that_may_not_be_written_is_refused(path: Path) -> None:
    SQLiteStorage(path).close()
    path.chmod(0o444)
    make_way(path)
    assert elsewhere(as_nobody, path) == ["storage_read_only"]


def test_a_folder_that_may_not_be_written_is_refused(path: Path) -> None:
    path.parent.chmod(0o555)
    make_way(path)
    assert elsewhere(as_nobody, path) == ["storage_read_only"]
    assert elsewhere(as_nobody, path.parent / "new" / "books.db") == ["storage_read_only"]


def test_a_folder_without_room_for_the_log_is_refused(path: Path) -> None:
    SQLiteStorage(path).close()
    path.chmod(0o666)
    path.parent.chmod(0o555)
    make_way(path)
    assert elsewhere(as_nobody, path) == ["storage_read_only"]
    path.parent.chmod(0o700)


def make_way(path: Path) -> None:
    """Let everybody come as far as the folder of a test."""
    for folder in path.parent.parents:
        if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)


def test_a_file_that_becomes_read_only_is_reported_as_such(storage: SQLiteStorage) -> None:
    with storage._connections.mine() as connection:
        connection.execute("PRAGMA query_only = 1")
    error = raised_by(lambda: write_customer(storage, 1))
    assert error.code is ErrorCode.STORAGE_READ_ONLY
    write_customer(storage, 1)


@pytest.mark.parametrize("first", [1, 100_001, 200_001])
def test_a_killed_writer_loses_nothing_that_was_acknowledged(path: Path, first: int) -> None:
    acknowledged: set[str] = set()
    for _ in range(3):
        mine, its = FRESH.Pipe(duplex=False)
        writer = FRESH.Process(target=write_until_killed, args=(path, its, first))
        writer.start()
        its.close()
        assert mine.poll(60)
        time.sleep(0.02 + first % 7 / 100)
        os.kill(writer.pid or 0, signal.SIGKILL)
        first += 1_000_000
        try:
            while True:
                acknowledged.add(mine.recv())
        except EOFError:
            writer.join(timeout=60)
        assert writer.exitcode == -signal.SIGKILL
        assert customers_in(path) >= acknowledged
    assert acknowledged


def test_a_log_that_was_cut_keeps_what_came_before(path: Path) -> None:
    """A crash of the machine may leave half a log: what is whole in it is kept, the file opens."""
    storage = SQLiteStorage(path)
    for number in range(1, 11):
        write_customer(storage, number)
    whole, log = path.read_bytes(), path.with_name("books.db-wal").read_bytes()
    storage.close()
    path.write_bytes(whole)
    path.with_name("books.db-wal").write_bytes(log[:-6000])
    again = SQLiteStorage(path)
    found = [customer.id for customer in again.page(MERCHANT, Customer, limit=99)]
    assert found == [an_id(Customer, number) for number in range(len(found), 0, -1)]
    assert 0 < len(found) < 10
    again.close()


def connect_by(kind: type[sqlite3.Connection], monkeypatch: pytest.MonkeyPatch) -> None:
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: real(*a, **{"factory": kind} | k))


# -- a commit that fails ---------------------------------------------------------------------------


class FailingCommits(sqlite3.Connection):
    """Commits fail, once `how` is set: before they take place, or after."""

    how = ""

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        if statement != "COMMIT" or not FailingCommits.how:
            return super().execute(statement, *parameters)
        how, FailingCommits.how = FailingCommits.how, ""
        if how == "after":
            super().execute("COMMIT")
        error = sqlite3.OperationalError("disk I/O error while writing 4242424242424242")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        raise error


@pytest.mark.parametrize(("how", "is_there"), [("before", False), ("after", True)])
def test_a_commit_that_raises_is_uncertain_and_the_next_read_tells(
    path: Path, monkeypatch: pytest.MonkeyPatch, how: str, is_there: bool
) -> None:
    connect_by(FailingCommits, monkeypatch)
    storage = SQLiteStorage(path)
    with storage._connections.mine() as before:
        pass
    monkeypatch.setattr(FailingCommits, "how", how)
    error = raised_by(lambda: write_customer(storage, 1))
    assert isinstance(error, CommitUncertain)
    assert error.retryable
    assert "4242" not in f"{error!r}{error.args}"
    assert (storage.get(MERCHANT, Customer, an_id(Customer, 1)) is not None) is is_there
    with storage._connections.mine() as after:
        assert after is not before
    write_customer(storage, 2)
    storage.close()


class Interrupted(sqlite3.Connection):
    """Somebody presses Ctrl-C in the middle of a transaction, once `at` is set."""

    at = ""

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        if Interrupted.at and statement.startswith(Interrupted.at):
            Interrupted.at = ""
            raise KeyboardInterrupt
        return super().execute(statement, *parameters)


@pytest.mark.parametrize("at", ["BEGIN", "INSERT INTO customers", "COMMIT"])
def test_an_interrupted_commit_leaves_nothing_and_holds_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    connect_by(Interrupted, monkeypatch)
    storage, other = SQLiteStorage(path), SQLiteStorage(path, busy_timeout_s=0.1)
    monkeypatch.setattr(Interrupted, "at", at)
    with pytest.raises(KeyboardInterrupt):
        write_customer(storage, 1)
    assert other.page(MERCHANT, Customer, limit=1) == []
    write_customer(other, 2)
    write_customer(storage, 1)
    storage.close()
    other.close()


# -- what errors tell ------------------------------------------------------------------------------

CODES = {
    sqlite3.SQLITE_FULL: ErrorCode.STORAGE_FULL,
    sqlite3.SQLITE_IOERR_WRITE: ErrorCode.STORAGE_UNAVAILABLE,
    sqlite3.SQLITE_CANTOPEN: ErrorCode.STORAGE_UNAVAILABLE,
    sqlite3.SQLITE_NOMEM: ErrorCode.STORAGE_UNAVAILABLE,
    sqlite3.SQLITE_CORRUPT: ErrorCode.STORAGE_CORRUPT,
    sqlite3.SQLITE_CORRUPT_INDEX: ErrorCode.STORAGE_CORRUPT,
    sqlite3.SQLITE_NOTADB: ErrorCode.STORAGE_CORRUPT,
    sqlite3.SQLITE_READONLY: ErrorCode.STORAGE_READ_ONLY,
    sqlite3.SQLITE_READONLY_DBMOVED: ErrorCode.STORAGE_READ_ONLY,
    sqlite3.SQLITE_BUSY: ErrorCode.STORAGE_BUSY,
    sqlite3.SQLITE_BUSY_SNAPSHOT: ErrorCode.STORAGE_BUSY,
    sqlite3.SQLITE_LOCKED: ErrorCode.STORAGE_BUSY,
    sqlite3.SQLITE_PROTOCOL: ErrorCode.STORAGE_BUSY,
    sqlite3.SQLITE_CONSTRAINT_CHECK: ErrorCode.STORAGE_REFUSED,
    sqlite3.SQLITE_CONSTRAINT_NOTNULL: ErrorCode.STORAGE_REFUSED,
    sqlite3.SQLITE_CONSTRAINT_TRIGGER: ErrorCode.STORAGE_REFUSED,
    sqlite3.SQLITE_TOOBIG: ErrorCode.STORAGE_REFUSED,
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: ErrorCode.VERSION_CONFLICT,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: ErrorCode.VERSION_CONFLICT,
}


@pytest.mark.parametrize("result", CODES)
def test_what_sqlite_says_becomes_our_code_without_its_text(result: int) -> None:
    error = sqlite3.OperationalError("about 4242424242424242")
    error.sqlite_errorcode = result
    error.sqlite_errorname = "SQLITE_SOMETHING"
    failure = failure_of(error, "nothing was written")
    assert failure.code is CODES[result]
    assert "4242" not in f"{failure!r}{failure.args}"
    assert isinstance(failure, StorageUnavailable | Conflict)
    assert isinstance(failure, StorageBusy) is (failure.code is ErrorCode.STORAGE_BUSY)


PAN = "4242424242424242"


@pytest.mark.parametrize(
    "records",
    [
        pytest.param((a_customer(MERCHANT, 1, name=PAN),), id="a record that is there"),
        pytest.param((an_operation(MERCHANT, 2, idempotency_key=PAN),), id="a key that is there"),
        pytest.param((a_method(MERCHANT, 2, bin=PAN),), id="a check"),
        pytest.param((a_customer(MERCHANT, 2, name=f"{PAN}\ud800"),), id="a lone surrogate"),
        pytest.param((a_customer(MERCHANT, 2, version=2**63, name=PAN),), id="65 bits"),
        pytest.param((a_customer(MERCHANT, 2, name=[PAN]),), id="no text at all"),
    ],
)
def test_an_error_never_repeats_what_was_to_be_stored(
    storage: SQLiteStorage, records: tuple[Any, ...]
) -> None:
    stored = (a_customer(MERCHANT, 1), an_operation(MERCHANT, 1, idempotency_key=PAN))
    storage.commit(Changes(merchant_id=MERCHANT, records=stored))
    error = raised_by(lambda: storage.commit(Changes(merchant_id=MERCHANT, records=records)))
    assert PAN not in f"{error!r} {error} {error.args} {vars(error)}"
    assert len(storage.page(MERCHANT, Customer, limit=9)) == 1


@pytest.mark.parametrize(
    "damage",
    [
        f"UPDATE payments SET reference = CAST(x'ff' || '{PAN}' AS TEXT)",
        f"UPDATE payments SET decline = '{PAN}'",
        f"UPDATE payments SET intent = '{PAN}'",
        f"UPDATE payments SET merchant_id = merchant_id, created_at = {10**18}",
    ],
)
def test_a_damaged_row_is_reported_and_not_shown(
    storage: SQLiteStorage, path: Path, damage: str
) -> None:
    storage.commit(Changes(merchant_id=MERCHANT, records=(a_payment(MERCHANT),)))
    by_hand = sqlite3.connect(path)
    by_hand.execute(damage)
    by_hand.commit()
    by_hand.close()
    error = raised_by(lambda: storage.get(MERCHANT, Payment, an_id(Payment, 1)))
    assert error.code is ErrorCode.STORAGE_CORRUPT
    assert PAN not in f"{error!r} {error} {error.args}"


def test_a_damaged_page_is_reported(storage: SQLiteStorage, path: Path) -> None:
    for number in range(1, 200):
        write_customer(storage, number, name="x" * 200)
    storage.close()
    data = bytearray(path.read_bytes())
    for start in range(0, len(data), 4096):
        if b"x" * 200 in data[start : start + 4096]:
            data[start : start + 16] = b"\xff" * 16
    path.write_bytes(data)
    again = SQLiteStorage(path)
    error = raised_by(lambda: again.page(MERCHANT, Customer, limit=1000))
    assert error.code is ErrorCode.STORAGE_CORRUPT
    again.close()


def test_a_schema_that_is_damaged_is_reported(storage: SQLiteStorage, path: Path) -> None:
    storage.close()
    data = path.read_bytes()
    path.write_bytes(data.replace(b"CREATE TABLE customers", b"CREATE \xff\xff\xffLE customers"))
    assert raised_by(lambda: SQLiteStorage(path)).code is ErrorCode.STORAGE_CORRUPT


class FailingBackups(sqlite3.Connection):
    def backup(self, *_: Any, **__: Any) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error


def test_a_backup_that_fails_leaves_no_file(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_by(FailingBackups, monkeypatch)
    storage = SQLiteStorage(path)
    error = raised_by(lambda: storage.backup(tmp_path / "copy.db"))
    assert error.code is ErrorCode.STORAGE_FULL
    assert not (tmp_path / "copy.db").exists()
    error = raised_by(lambda: storage.backup(tmp_path / "no" / "copy.db"))
    assert error.code is ErrorCode.STORAGE_UNAVAILABLE
    storage.close()
