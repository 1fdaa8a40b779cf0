"""The store in an SQLite file: the contract, its settings, its schema, its file."""

# ruff: noqa: S608  # what is put into a statement's text here is ours

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from elsewhere import (
    MERCHANT,
    PATIENT_S,
    customers_in,
    elsewhere,
    files_of,
    open_and_write,
    open_files_of,
    write_customer,
)
from sqlite_utils import Database

from payplatform._domain.audit import Chain
from payplatform._domain.changes import Changes
from payplatform._domain.ledger import PlaceInBooks
from payplatform._domain.operations import Operation, OperationState
from payplatform._domain.payments import Facts, Payment, PaymentStatus
from payplatform._domain.records import Customer, PaymentMethod, SealedCard, WrappedKey
from payplatform.errors import Conflict, ErrorCode, StorageUnavailable
from payplatform.ports import Filter, LineFilter, Storage
from payplatform.storage import _opening, _schema, _statements
from payplatform.storage._rows import RECORDS
from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing._records import (
    EXAMPLES,
    NOW,
    a_customer,
    a_method,
    a_payment,
    a_posting,
    a_sealed_card,
    a_wrapped_key,
    an_event,
    an_operation,
)
from payplatform.testing._storage_talk import at_once
from payplatform.testing.storage_contract import StorageContract


class TestSQLiteStorage(StorageContract):
    def make_storage(self, folder: Path) -> Storage:
        return SQLiteStorage(folder / "books.db")

    def reopen(self, storage: Storage, folder: Path) -> Storage:
        storage.close()
        return SQLiteStorage(folder / "books.db")


class TestSQLiteStorageWithoutALog(StorageContract):
    def make_storage(self, folder: Path) -> Storage:
        return SQLiteStorage(folder / "books.db", journal_mode="delete")

    def reopen(self, storage: Storage, folder: Path) -> Storage:
        storage.close()
        return SQLiteStorage(folder / "books.db", journal_mode="delete")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "books.db"


@pytest.fixture
def storage(path: Path) -> Iterator[SQLiteStorage]:
    storage = SQLiteStorage(path)
    yield storage
    storage.close()


@pytest.fixture
def by_hand(storage: SQLiteStorage) -> Iterator[sqlite3.Connection]:
    """A connection of somebody who goes around the library, to a file with something in it."""
    storage.commit(
        Changes(
            merchant_id=MERCHANT,
            records=(
                a_payment(MERCHANT, facts=Facts(requested=9, authorized=9, captured=9)),
                an_operation(MERCHANT),
                a_method(MERCHANT),
            ),
            events=(an_event(MERCHANT),),
            postings=(a_posting(MERCHANT),),
        )
    )
    connection = sqlite3.connect(storage.describe()["path"], isolation_level=None)
    yield connection
    connection.close()


def refused(path: Any, **settings: Any) -> ErrorCode:
    with pytest.raises(StorageUnavailable) as caught:
        SQLiteStorage(path, **settings)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value.code


# -- settings --------------------------------------------------------------------------------------

SETTINGS = {
    "foreign_keys": 1,
    "trusted_schema": 0,
    "cell_size_check": 1,
    "mmap_size": 0,
    "temp_store": 2,
    "secure_delete": 1,
    "recursive_triggers": 1,
    "fullfsync": 1,
    "checkpoint_fullfsync": 1,
    "busy_timeout": 5000,
}


@pytest.mark.parametrize(("journal_mode", "synchronous"), [("wal", 2), ("delete", 3)])
def test_every_thread_has_every_setting(path: Path, journal_mode: Any, synchronous: int) -> None:
    storage = SQLiteStorage(path, journal_mode=journal_mode)
    found: list[dict[str, Any]] = []

    def ask() -> None:
        with storage._connections.mine() as connection:
            names = (*SETTINGS, "journal_mode", "synchronous")
            found.append({n: connection.execute(f"PRAGMA {n}").fetchone()[0] for n in names})

    for thread in [threading.Thread(target=ask) for _ in range(2)]:
        thread.start()
        thread.join()
    ask()
    storage.close()
    expected = SETTINGS | {"journal_mode": journal_mode, "synchronous": synchronous}
    assert found == [expected] * 3


@pytest.mark.parametrize("pragma", ["synchronous", "secure_delete", "trusted_schema"])
def test_a_setting_that_cannot_be_had_refuses_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, pragma: str
) -> None:
    read_back = _opening._read_back
    monkeypatch.setattr(
        _opening, "_read_back", lambda c, name: 7 if name == pragma else read_back(c, name)
    )
    assert refused(path) is ErrorCode.STORAGE_SETTINGS


def test_a_log_that_cannot_be_had_refuses_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_back = _opening._read_back
    monkeypatch.setattr(
        _opening, "_read_back", lambda c, n: "memory" if n == "journal_mode" else read_back(c, n)
    )
    assert refused(path) is ErrorCode.STORAGE_SETTINGS


def test_it_describes_how_it_is_set(path: Path) -> None:
    storage = SQLiteStorage(path, journal_mode="delete")
    assert storage.describe() == {
        "adapter": "sqlite",
        "path": str(path),
        "schema": str(_schema.LATEST),
        "journal_mode": "delete",
        "synchronous": "extra",
        "sqlite": sqlite3.sqlite_version,
    }
    storage.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"journal_mode": "off"},
        {"busy_timeout_s": -1},
        {"busy_timeout_s": float("nan")},
        {"busy_timeout_s": float("inf")},
    ],
)
def test_a_setting_that_would_lose_commits_is_refused(path: Path, settings: Any) -> None:
    assert refused(path, **settings) is ErrorCode.STORAGE_SETTINGS
    assert not path.exists()


# -- the file --------------------------------------------------------------------------------------


def test_all_its_files_and_its_folder_are_their_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "books.db"
    mask = os.umask(0)
    try:
        storage = SQLiteStorage(path)
        write_customer(storage, 1)
    finally:
        os.umask(mask)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"books.db": 0o600, "books.db-wal": 0o600, "books.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    storage.close()


def test_a_relative_path_stays_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = SQLiteStorage("file:books.db?mode=memory")
    write_customer(storage, 1)
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    thread = threading.Thread(target=write_customer, args=(storage, 2))
    thread.start()
    thread.join()
    storage.close()
    assert len(customers_in(tmp_path / "file:books.db?mode=memory")) == 2


def test_two_stores_on_one_file_see_each_others_commits(path: Path) -> None:
    one, two = SQLiteStorage(path), SQLiteStorage(str(path))
    written = write_customer(one, 1)
    assert two.get(MERCHANT, Customer, written) is not None
    one.close()
    write_customer(two, 2)
    two.close()
    assert len(customers_in(path)) == 2


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    SQLiteStorage(path).close()
    assert customers_in(path) == set()


def make_folder(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_text(path: Path) -> None:
    path.write_text("The quick brown fox jumps over the lazy dog, again and again. " * 99)


def make_damaged(path: Path) -> None:
    SQLiteStorage(path).close()
    data = bytearray(path.read_bytes())
    data[100:3000] = b"\xff" * 2900
    path.write_bytes(data)


def make_cut(path: Path) -> None:
    SQLiteStorage(path).close()
    os.truncate(path, 5000)


def make_another_programs(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE customers (id TEXT)")
    connection.commit()
    connection.close()


def make_another_programs_by_id(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA application_id = 42")
    connection.close()


def make_newer(path: Path) -> None:
    SQLiteStorage(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {_schema.LATEST + 1}")
    connection.close()


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (make_folder, ErrorCode.STORAGE_SETTINGS),
        (make_pipe, ErrorCode.STORAGE_SETTINGS),
        (make_text, ErrorCode.STORAGE_CORRUPT),
        (make_damaged, ErrorCode.STORAGE_CORRUPT),
        (make_cut, ErrorCode.STORAGE_CORRUPT),
        (make_another_programs, ErrorCode.STORAGE_SETTINGS),
        (make_another_programs_by_id, ErrorCode.STORAGE_SETTINGS),
        (make_newer, ErrorCode.STORAGE_SCHEMA_NEWER),
    ],
)
def test_what_is_not_its_file_is_refused_and_left_alone(
    path: Path, make: Any, code: ErrorCode
) -> None:
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    assert refused(path) is code
    assert (path.read_bytes() if path.is_file() else b"") == before
    assert open_files_of(path) == 0


@pytest.mark.parametrize("name", ["", ":memory:", "nul\0"])
def test_what_is_no_path_is_refused(name: str) -> None:
    assert refused(name) is ErrorCode.STORAGE_SETTINGS


def test_a_folder_that_is_a_file_is_refused(path: Path) -> None:
    path.touch()
    assert refused(path / "books.db") is ErrorCode.STORAGE_UNAVAILABLE


def test_a_file_that_is_taken_away_does_not_come_back_empty(
    storage: SQLiteStorage, path: Path
) -> None:
    for file in path.parent.glob("books.db*"):
        file.unlink()
    storage._connections.discard()
    with pytest.raises(StorageUnavailable):
        storage.merchants(limit=1)
    assert not path.exists()


def test_a_file_that_is_swapped_for_an_empty_one_is_noticed(
    storage: SQLiteStorage, path: Path
) -> None:
    for file in path.parent.glob("books.db*"):
        file.unlink()
    path.touch()
    storage._connections.discard()
    with pytest.raises(StorageUnavailable) as caught:
        storage.merchants(limit=1)
    assert caught.value.code is ErrorCode.STORAGE_CORRUPT


def test_a_log_is_refused_on_a_network_and_a_journal_is_not(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_opening, "_file_system", lambda _: "nfs4")
    assert refused(path) is ErrorCode.STORAGE_SETTINGS
    SQLiteStorage(path, journal_mode="delete").close()


def test_the_file_system_is_the_one_mounted_last_and_deepest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    mounts = "".join(
        f"device {place} {kind} rw 0 0\n"
        for place, kind in (
            ("/", "ext4"),
            (str(folder).replace(" ", "\\040"), "xfs"),
            (str(folder).replace(" ", "\\040"), "nfs4"),
            (f"{tmp_path}/a", "cifs"),
        )
    )
    monkeypatch.setattr(Path, "read_text", lambda _: mounts)
    assert _opening._file_system(folder / "books.db") == "nfs4"
    assert _opening._file_system(tmp_path / "books.db") == "ext4"


def test_an_old_sqlite_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    assert refused(path) is ErrorCode.STORAGE_SETTINGS


# -- the schema ------------------------------------------------------------------------------------


def test_processes_that_make_the_same_file_at_once_all_succeed(path: Path) -> None:
    written = elsewhere(open_and_write, path, 1, times=4)
    assert customers_in(path) == set(written)


def open_and_close(path: Path) -> None:
    SQLiteStorage(path, busy_timeout_s=PATIENT_S).close()


def test_threads_that_make_the_same_file_at_once_all_succeed(tmp_path: Path) -> None:
    for round_ in range(5):
        path = tmp_path / str(round_) / "books.db"
        at_once([partial(open_and_close, path)] * 8)
        assert customers_in(path) == set()


def test_stores_come_and_go_in_many_threads_at_once(path: Path) -> None:
    others = [SQLiteStorage(path) for _ in range(50)]

    def come_and_go() -> None:
        for _ in range(10):
            open_and_close(path)

    at_once([come_and_go] * 8)
    for other in others:
        other.close()


def test_a_file_of_an_older_release_is_brought_up_to_date_and_keeps_everything(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = SQLiteStorage(path)
    written = write_customer(storage, 1)
    storage.close()
    add_column = lambda db: db.execute("ALTER TABLE customers ADD COLUMN phone TEXT")  # noqa: E731  # one line
    monkeypatch.setattr(_schema, "MIGRATIONS", (*_schema.MIGRATIONS, add_column))
    newer = _schema.LATEST + 1
    for module in (_schema, _opening):
        monkeypatch.setattr(module, "LATEST", newer)
    storage = SQLiteStorage(path)
    assert storage.get(MERCHANT, Customer, written) == a_customer(MERCHANT)
    storage.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchall() == [(newer,)]
    assert connection.execute("SELECT phone FROM customers").fetchall() == [(None,)]
    connection.close()


def test_a_file_from_before_rotation_gets_what_rotation_needs(path: Path) -> None:
    """Then a merchant had one key of each purpose, and every fingerprint was made by the first."""
    path.touch(mode=0o600)
    connection = sqlite3.connect(path)
    _schema.MIGRATIONS[0](Database(connection, execute_plugins=False))
    connection.execute("PRAGMA user_version = 1")
    method = evolve(a_method(MERCHANT), fingerprint_version=1)
    deleted = a_method(MERCHANT, 2, fingerprint=None)
    key = a_wrapped_key(MERCHANT)
    for record in (method, deleted, key):
        layout = RECORDS[type(record)]
        stored = dict(zip(layout.columns, layout.row_of(record), strict=True))
        since = {
            *("fingerprint_version", "allowed_again_at", "row_digest"),
            *("wrapped_by", "wrapped_at", "retired_at"),
        }
        columns = [column for column in stored if column not in since]
        connection.execute(
            f"INSERT INTO {layout.table} ({', '.join(columns)}) "
            f"VALUES ({', '.join('?' * len(columns))})",
            [stored[column] for column in columns],
        )
    connection.commit()
    connection.close()

    storage = SQLiteStorage(path)
    for old in (method, deleted):
        assert storage.get(MERCHANT, PaymentMethod, old.id) == old
    assert storage.get(MERCHANT, WrappedKey, key.id) == key
    assert storage.count_of(MERCHANT, PaymentMethod, Filter(fingerprint_version=1)) == 1
    report = storage.verify(MERCHANT, Chain.JOURNAL)
    assert (report.ok, report.rows, report.head.number) == (True, 3, 1)
    write_customer(storage, 1)
    assert storage.verify(MERCHANT, Chain.JOURNAL, report.head).ok
    storage.close()


@pytest.mark.parametrize("chain_key", [None, bytes(32)])
def test_a_file_from_before_the_books_keeps_every_row_and_its_chain(
    path: Path, chain_key: bytes | None
) -> None:
    """What it lacks is 0, and so no part of a digest: a keyed chain needs no key to be kept."""
    storage = SQLiteStorage(path, chain_key=chain_key)
    payment, event, line = a_payment(MERCHANT), an_event(MERCHANT), a_posting(MERCHANT)
    storage.commit(
        Changes(merchant_id=MERCHANT, records=(payment,), events=(event,), postings=(line,))
    )
    head = storage.head(MERCHANT, Chain.JOURNAL)
    storage.close()
    as_before_the_books(path)

    storage = SQLiteStorage(path, chain_key=chain_key)
    assert storage.get(MERCHANT, Payment, payment.id) == payment
    assert list(storage.events(MERCHANT, payment.id)) == [event]
    assert list(storage.outbox(limit=9)) == [event]
    assert list(storage.postings(MERCHANT, payment.id)) == [line]
    assert storage.verify(MERCHANT, Chain.JOURNAL, head).ok
    settled = evolve(payment, version=2, facts=payment.facts + Facts(settled=1, acquirer_fees=2))
    storage.commit(Changes(merchant_id=MERCHANT, records=(settled,)))
    assert storage.get(MERCHANT, Payment, payment.id) == settled
    assert storage.verify(MERCHANT, Chain.JOURNAL, head).ok
    storage.close()


def as_before_the_books(path: Path) -> None:
    """Put the rows of a file into one that ends with the schema before."""
    newer = path.rename(path.with_name("newer.db"))
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, isolation_level=None)
    for migration in _schema.MIGRATIONS[:4]:
        migration(Database(connection, execute_plugins=False))
    connection.execute("PRAGMA user_version = 4")
    connection.execute("ATTACH ? AS newer", (str(newer),))
    tables = connection.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'")
    for (table,) in tables.fetchall():
        columns = [name for _, name, *_ in connection.execute(f"PRAGMA main.table_info({table})")]
        now = ["subject_id" if name == "payment_id" else name for name in columns]
        connection.execute(
            f"INSERT INTO main.{table} ({', '.join(columns)})"
            f" SELECT {', '.join(now)} FROM newer.{table}"
        )
    connection.close()


@pytest.mark.parametrize(
    ("kind", "where", "index"),
    [
        (SealedCard, Filter(key_version=1), "sealed_cards_key"),
        (PaymentMethod, Filter(fingerprint_version=1), "payment_methods_fingerprint_key"),
        (Payment, Filter(payment_method_id="pm"), "payments_method"),
    ],
)
def test_what_matches_is_counted_by_an_index_alone(
    by_hand: sqlite3.Connection, kind: type, where: Filter, index: str
) -> None:
    asked = _statements.count_of(RECORDS[kind], MERCHANT, where)
    assert asked is not None
    (step,) = plan_of(by_hand, *asked)
    assert step.startswith(f"SEARCH {RECORDS[kind].table} USING COVERING INDEX {index} (merchant")


def test_a_migration_that_fails_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SQLiteStorage(path).close()

    def fail(db: Any) -> None:
        db.execute("CREATE TABLE half (x)")
        db.execute("CREATE TABLE customers (x)")

    monkeypatch.setattr(_schema, "MIGRATIONS", (*_schema.MIGRATIONS, fail))
    newer = _schema.LATEST + 1
    for module in (_schema, _opening):
        monkeypatch.setattr(module, "LATEST", newer)
    assert refused(path) is ErrorCode.STORAGE_UNAVAILABLE
    monkeypatch.undo()
    SQLiteStorage(path).close()
    connection = sqlite3.connect(path)
    names = connection.execute("SELECT name FROM sqlite_schema WHERE name = 'half'").fetchall()
    connection.close()
    assert names == []


LARGEST = 2**63 - 1


@pytest.mark.parametrize(
    "change",
    [
        "requested = -1",
        "authorized = -1, captured = 0",
        "captured = -1",
        "captured = 10",
        "voided = 1",
        "expired = 1",
        "captured = 5, voided = 2, expired = 3",
        f"captured = {LARGEST}, voided = {LARGEST}, expired = {LARGEST}",
        f"authorized = {LARGEST}, captured = {LARGEST}, voided = {LARGEST}",
        "refunded = 10",
        "refunded = -1",
        "fees = -1",
        "dispute_lost = 1",
        "reserved = 1",
        "paid_out = 1",
        "suspended = 1",
        "refunded = 5, disputed = 5",
        f"refunded = {LARGEST}, disputed = {LARGEST}",
        "captured = 8.5",
        "captured = 'nine'",
        "captured = NULL",
        "captured = x'09'",
        "currency = 'EURO'",
        "version = 0",
        "last4 = '4242424242424242'",
    ],
)
def test_a_payment_that_breaks_the_books_is_refused_even_by_hand(
    by_hand: sqlite3.Connection, change: str
) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        by_hand.execute(f"UPDATE payments SET {change}")
    by_hand.execute("UPDATE payments SET refunded = 4, disputed = 5")


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("operations", "amount_minor = -1"),
        ("operations", "amount_minor = 1.5"),
        ("operations", "epoch = 0"),
        ("operations", "final = 2"),
        ("payment_methods", "bin = '4242424242424242'"),
        ("payment_methods", "expiry_month = 13"),
        ("postings", "amount_minor = 'nine'"),
    ],
)
def test_other_tables_have_their_second_wall_too(
    by_hand: sqlite3.Connection, table: str, change: str
) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        by_hand.execute(f"UPDATE {table} SET {change}")


@pytest.mark.parametrize("table", ["events", "postings"])
@pytest.mark.parametrize("change", ["UPDATE {} SET at = 0", "DELETE FROM {}"])
def test_history_can_only_be_added_even_by_hand(
    by_hand: sqlite3.Connection, table: str, change: str
) -> None:
    with pytest.raises(sqlite3.IntegrityError, match=f"{table} can only be added"):
        by_hand.execute(change.format(table))
    assert by_hand.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)


def test_facts_that_break_the_books_are_refused_by_the_store(storage: SQLiteStorage) -> None:
    broken = a_payment(MERCHANT, facts=Facts(requested=9, authorized=9, captured=9, refunded=10))
    changes = Changes(merchant_id=MERCHANT, records=(a_customer(MERCHANT), broken))
    with pytest.raises(StorageUnavailable) as caught:
        storage.commit(changes)
    assert caught.value.code is ErrorCode.STORAGE_REFUSED
    assert not caught.value.retryable
    assert not storage.page(MERCHANT, Customer, limit=1)


@pytest.mark.parametrize("stale_first", [True, False])
def test_a_stale_writer_is_told_so_even_where_its_facts_break_the_books(
    storage: SQLiteStorage, stale_first: bool
) -> None:
    payment, operation = a_payment(MERCHANT), an_operation(MERCHANT)
    storage.commit(Changes(merchant_id=MERCHANT, records=(payment, operation)))
    storage.commit(Changes(merchant_id=MERCHANT, records=(evolve(operation, epoch=2),)))
    broken = evolve(payment, version=2, facts=Facts(authorized=9, captured=10))
    records = (evolve(operation, epoch=2), broken)
    with pytest.raises(Conflict):
        storage.commit(
            Changes(merchant_id=MERCHANT, records=records if stale_first else records[::-1])
        )
    assert storage.get(MERCHANT, Payment, payment.id) == payment


SOME_STATUSES = frozenset({PaymentStatus.UNKNOWN, PaymentStatus.PROCESSING})
OPEN_STATES = frozenset({OperationState.IN_DOUBT, OperationState.NEEDS_REVIEW})
DECLINED = frozenset({OperationState.DECLINED})


@pytest.mark.parametrize(
    ("kind", "where", "index"),
    [
        *((kind, Filter(), f"sqlite_autoindex_{RECORDS[kind].table}_1") for kind in EXAMPLES),
        (Payment, Filter(customer_id="c"), "payments_customer"),
        (Payment, Filter(reference="r"), "payments_reference"),
        (Payment, Filter(statuses=frozenset({PaymentStatus.UNKNOWN})), "payments_status"),
        (Payment, Filter(created_from=NOW), "sqlite_autoindex_payments_1"),
        (Payment, Filter(metadata=(("a", "b"),)), "sqlite_autoindex_payments_1"),
        (PaymentMethod, Filter(customer_id="c"), "payment_methods_customer"),
        (PaymentMethod, Filter(fingerprint_version=1), "payment_methods_fingerprint_key"),
        (SealedCard, Filter(key_version=1), "sealed_cards_key"),
        (Payment, Filter(payment_method_id="m"), "payments_method"),
        (Operation, Filter(subject_id="s"), "operations_subject"),
        (Operation, Filter(states=OPEN_STATES), "operations_open"),
        (Operation, Filter(card_fingerprint=b"c", states=DECLINED), "operations_declined"),
    ],
)
@pytest.mark.parametrize("before", [None, "x"])
def test_a_page_is_read_in_the_order_of_an_index(
    by_hand: sqlite3.Connection, kind: type, where: Filter, index: str, before: str | None
) -> None:
    asked = _statements.page(RECORDS[kind], MERCHANT, where, before, 10)
    assert asked is not None
    (step,) = plan_of(by_hand, *asked)
    assert step.startswith(f"SEARCH {RECORDS[kind].table} USING INDEX {index} (merchant_id=?")


def test_a_page_of_several_statuses_is_merged_from_theirs(by_hand: sqlite3.Connection) -> None:
    asked = _statements.page(RECORDS[Payment], MERCHANT, Filter(statuses=SOME_STATUSES), "x", 10)
    assert asked is not None
    steps = plan_of(by_hand, *asked)
    by_status = "SEARCH payments USING INDEX payments_status (merchant_id=? AND status=? AND id<?)"
    assert steps[0] == "MERGE (UNION ALL)"
    assert steps.count(by_status) == len(SOME_STATUSES)


@pytest.mark.parametrize(
    ("statement", "steps"),
    [
        (_statements.OPERATION_WITH_KEY, ["SEARCH operations USING INDEX operations_key"]),
        (_statements.RECEIPT, ["SEARCH receipts USING INDEX sqlite_autoindex_receipts_1"]),
        (_statements.EVENTS_OF, ["SEARCH events USING PRIMARY KEY"]),
        (_statements.TOTALS, ["SEARCH postings USING COVERING INDEX postings_account"]),
        (_statements.TOTALS_AT, ["SEARCH postings USING COVERING INDEX postings_account"]),
        (_statements.POSTINGS_OF, ["SEARCH postings USING PRIMARY KEY"]),
        (_statements.MERCHANTS_BEFORE, ["SEARCH merchants USING INDEX"]),
        # As many as are asked for, in the index's order: a scan that stops.
        (_statements.NEWEST_MERCHANTS, ["SCAN merchants USING INDEX"]),
        (_statements.OUTBOX, ["SCAN outbox", "SEARCH events USING PRIMARY KEY"]),
        (_statements.DUE_OPERATIONS, ["SEARCH operations USING INDEX operations_due"]),
        (_statements.DUE_PAYOUTS, ["SEARCH payout_plans USING INDEX payout_plans_due"]),
        # It goes along all payments; it runs once a night.
        (_statements.UNARCHIVED, ["SEARCH payments USING INDEX", "CORRELATED", "SEARCH e USING"]),
        (_statements.ARCHIVED_OF, ["SEARCH archived USING PRIMARY KEY"]),
        (_statements.EVENTS_BETWEEN, ["SEARCH events USING PRIMARY KEY"]),
        (_statements.IN_OUTBOX, ["SEARCH outbox USING COVERING INDEX outbox_event"]),
        (_statements.NOTES, ["SEARCH archived USING PRIMARY KEY"]),
        (_statements.LINK_NOTES, ["SEARCH archived_links USING PRIMARY KEY"]),
        (_statements.LINKS_BETWEEN, ["SEARCH links USING INDEX"]),
        (_statements.OLDEST_LINK, ["SEARCH links USING COVERING INDEX"]),
        (_statements.LET_GO_OF_LINK, ["SEARCH links USING INDEX"]),
        (_statements.LET_GO, ["SEARCH events USING PRIMARY KEY"]),
        (_statements.LAPSED_PAYMENTS, ["SEARCH payments USING INDEX payments_lapse"]),
        (_statements.TAKE_FROM_OUTBOX, ["SEARCH outbox USING INDEX outbox_event"]),
        (
            _statements.payment_method_with(2),
            ["SEARCH payment_methods USING INDEX payment_methods_fingerprint"],
        ),
    ],
)
def test_every_other_statement_uses_an_index_and_sorts_nothing(
    by_hand: sqlite3.Connection, statement: str, steps: list[str]
) -> None:
    found = plan_of(by_hand, statement, (None,) * statement.count("?"))
    assert len(found) == len(steps)
    assert all(step.startswith(start) for step, start in zip(found, steps, strict=True))


@pytest.mark.parametrize("after", [None, PlaceInBooks(NOW, "pay_1", 1, 1)])
def test_the_books_are_read_in_the_order_of_an_index(
    by_hand: sqlite3.Connection, after: PlaceInBooks | None
) -> None:
    asked = _statements.ledger(MERCHANT, LineFilter(since=NOW), after, 10)
    (step,) = plan_of(by_hand, *asked)
    assert step.startswith("SEARCH postings USING INDEX postings_at (merchant_id=? AND ")


def plan_of(connection: sqlite3.Connection, statement: str, parameters: Any) -> list[str]:
    """The steps, but for the looks by key at the latest event of each payment."""
    rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    steps = [row[3] for row in rows]
    by_key = "SEARCH e USING PRIMARY KEY (merchant_id=? AND subject_id=?)"
    here, archived = (f"CORRELATED SCALAR SUBQUERY {number}" for number in (1, 2))
    return steps[:-4] if steps[-4:] == [here, by_key, archived, by_key] else steps


# -- what is removed -------------------------------------------------------------------------------

SECRET = bytes(range(1, 200)) * 3


def seal(storage: SQLiteStorage) -> SealedCard:
    sealed = evolve(a_sealed_card(MERCHANT), number=SECRET)
    storage.commit(Changes(merchant_id=MERCHANT, records=(sealed,)))
    return sealed


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_a_removed_card_is_in_no_file_any_more(path: Path, journal_mode: Any) -> None:
    storage = SQLiteStorage(path, journal_mode=journal_mode)
    sealed = seal(storage)
    assert SECRET[:50] in files_of(path)
    storage.commit(Changes(merchant_id=MERCHANT, removed=(sealed,)))
    assert SECRET[:50] not in files_of(path)
    storage.close()


def test_an_erased_customers_name_is_in_no_file_any_more(
    storage: SQLiteStorage, path: Path
) -> None:
    customer = a_customer(MERCHANT, name="Ada King, Countess of Lovelace")
    storage.commit(Changes(merchant_id=MERCHANT, records=(customer,)))
    assert b"Countess" in files_of(path)
    erased = evolve(customer, version=2, name=None, erased_at=NOW)
    storage.commit(Changes(merchant_id=MERCHANT, records=(erased,)))
    assert b"Countess" not in files_of(path)


def test_what_a_reader_keeps_in_the_log_is_gone_once_it_has_read(path: Path) -> None:
    storage = SQLiteStorage(path, busy_timeout_s=0.1)
    sealed = seal(storage)
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM customers").fetchall()
    storage.commit(Changes(merchant_id=MERCHANT, removed=(sealed,)))
    assert storage.get(MERCHANT, SealedCard, sealed.id) is None
    assert SECRET[:50] in files_of(path)
    write_customer(storage, 1)
    reader.close()
    write_customer(storage, 2)
    assert SECRET[:50] not in files_of(path)
    with storage._connections.mine() as connection:
        assert connection.execute("PRAGMA busy_timeout").fetchone() == (100,)
    storage.close()


# -- copies, threads, the end ----------------------------------------------------------------------


def test_a_backup_is_a_store_with_everything_as_it_was(
    storage: SQLiteStorage, tmp_path: Path
) -> None:
    everything = [EXAMPLES[kind](MERCHANT) for kind in EXAMPLES]
    storage.commit(Changes(merchant_id=MERCHANT, records=tuple(everything)))
    copy = tmp_path / "copy.db"
    storage.backup(copy)
    write_customer(storage, 2)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    again = SQLiteStorage(copy)
    assert [again.get(MERCHANT, type(r), r.id) for r in everything] == everything
    assert len(again.page(MERCHANT, Customer, limit=9)) == 1
    again.close()


def test_a_backup_replaces_nothing(storage: SQLiteStorage, path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(StorageUnavailable):
        storage.backup(path)
    assert path.read_bytes() == before


def test_backups_made_while_others_write_hold_all_that_was_acknowledged(
    storage: SQLiteStorage, tmp_path: Path
) -> None:
    acknowledged: list[str] = []
    stop = threading.Event()

    def write_on() -> None:
        while not stop.is_set():
            acknowledged.append(write_customer(storage, len(acknowledged) + 1))

    writer = threading.Thread(target=write_on)
    writer.start()
    for number in range(5):
        before = set(acknowledged)
        storage.backup(tmp_path / f"copy{number}.db")
        assert customers_in(tmp_path / f"copy{number}.db") >= before
    stop.set()
    writer.join()


def test_connections_end_with_their_threads(storage: SQLiteStorage, path: Path) -> None:
    before = open_files_of(path)
    for number in range(1, 21):
        thread = threading.Thread(target=write_customer, args=(storage, number))
        thread.start()
        thread.join()
    # SQLite keeps one for the next to come, while others have locks on the file.
    assert open_files_of(path) <= before + 1


def test_closing_lets_go_of_every_file_and_leaves_no_log(path: Path) -> None:
    storage = SQLiteStorage(path)
    ready, done = threading.Barrier(2), threading.Event()

    def use() -> None:
        write_customer(storage, 1)
        ready.wait(timeout=30)
        done.wait(timeout=30)

    thread = threading.Thread(target=use)
    thread.start()
    ready.wait(timeout=30)
    storage.close()
    assert open_files_of(path) == 0
    assert [file.name for file in path.parent.iterdir()] == ["books.db"]
    done.set()
    thread.join()


def test_a_store_that_is_dropped_lets_go_of_its_files(path: Path) -> None:
    storage = SQLiteStorage(path)
    write_customer(storage, 1)
    del storage
    assert open_files_of(path) == 0


def test_a_closed_store_says_so(path: Path) -> None:
    storage = SQLiteStorage(path)
    storage.close()
    with pytest.raises(StorageUnavailable, match="closed"):
        storage.merchants(limit=1)
    with pytest.raises(StorageUnavailable, match="closed"):
        write_customer(storage, 1)
