"""2,000 tamperings with a file behind the platform's back: each is reported or refused.

How: a story is told on a file, and the heads of its chains are kept, as one would keep them
elsewhere. Then, again and again, a copy of the file is changed in one way that is drawn, with every
wall of the schema taken down. Half of the time the rows get the digests of what they hold then, as
somebody who knows the stored form would give them. What is drawn is a seed, so that each can be
repeated. The outbox is not among it: it is what is still to be done, and no part of what happened.
"""

# ruff: noqa: S608  # table and column names are our own

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import frozen
from sealed_again import TABLES, place_of, seal_again
from till import NO_FUNDS, REFUND_PENDS_THEN_SUCCEEDS, Till, eur

from payplatform import ErrorCode, Payment, PayPlatformError, StorageUnavailable
from payplatform._domain.audit import Chain, ChainHead
from payplatform.storage._chains import bodies, head_at, marks_in, next_link
from payplatform.storage.sqlite import SQLiteStorage

TAMPERINGS = 250
"""Of each of the eight ways."""

CHAINED = {
    **TABLES,
    "links": ("merchant_id", "chain", "number", "body", "digest"),
    "chain_heads": ("merchant_id", "chain", "number", "digest"),
}
PERSONAL = ("customers", "merchants")
"""Of these a chain knows the version alone, so that nothing is left when somebody is erased: who
knows how digests are made can change a name, and the documentation says so."""


@frozen
class Story:
    """A file, what it truly holds, and what was kept elsewhere.

    Attributes:
        amounts: each payment, with all that tells of its amounts.
        before: the payments' and receipts' rows as they lay before the last changes.
    """

    file: Path
    heads: dict[tuple[str, Chain], ChainHead]
    amounts: list[tuple[Payment, list[Any]]]
    before: dict[str, list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    till = Till(tmp_path_factory.mktemp("tampering") / "shop.db")
    customer = till.customer()
    card = till.card(REFUND_PENDS_THEN_SUCCEEDS, customer=customer).id
    held = [till.held("100", payment_method=card) for _ in range(3)]
    sold = [till.sold(amount) for amount in ("1", "20", "300")]
    till.sold("7", number=NO_FUNDS)
    before = {table: rows_of(till.file, table) for table in ("payments", "operations", "receipts")}
    for payment in held:
        till.shop.payments.capture(payment.id, eur("60"), idempotency_key=till.key())
    for payment in sold:
        till.shop.payments.refund(payment.id, eur("1"), idempotency_key=till.key())
    till.shop.payment_methods.delete(till.card().id)
    till.shop.customers.erase(till.customer())
    other = till.pay.merchant(till.pay.merchants.create(name="Other").id)
    other.customers.create(name="Eve")

    shops = (till.shop, other)
    heads = {
        (shop.id, chain): till.storage.head(shop.id, chain) for shop in shops for chain in Chain
    }
    amounts = [
        (payment, [value for read in readings(till.storage, payment) for value in read()])
        for payment in till.shop.payments.list()
    ]
    till.close()
    assert till.file is not None
    return Story(till.file, heads, amounts, before)


def rows_of(file: Path | None, table: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(str(file))) as database:
        return database.execute(f"SELECT {', '.join(CHAINED[table])} FROM {table}").fetchall()


def readings(storage: Any, payment: Payment) -> list[Callable[[], Sequence[Any]]]:
    """All that tells of a payment's amounts."""
    subject, operation = (payment.merchant_id, payment.id), payment.latest_operation_id
    return [
        lambda: [storage.get(payment.merchant_id, Payment, payment.id)],
        lambda: storage.events(*subject),
        lambda: storage.postings(*subject),
        lambda: [storage.receipt(payment.merchant_id, operation)],
    ]


# -- ways to tamper: each changes something, or leaves it as it is and is drawn again --------------


def a_row(database: sqlite3.Connection, rng: Random, table: str) -> tuple[Any, ...] | None:
    rows = database.execute(f"SELECT {', '.join(CHAINED[table])} FROM {table}").fetchall()
    return rng.choice(rows) if rows else None


def one(table: str, row: tuple[Any, ...]) -> tuple[str, list[Any]]:
    """The condition that finds a row, and what it takes."""
    keys = {
        "links": ("merchant_id", "chain", "number"),
        "chain_heads": ("merchant_id", "chain"),
    }.get(table) or place_of(table)
    where = " AND ".join(f"{column} = ?" for column in keys)
    return where, [row[CHAINED[table].index(column)] for column in keys]


def another_value(rng: Random, value: Any) -> Any:
    match value:
        case int():
            return rng.choice([value + 1, -value, value * 10, 0, 1])
        case str():
            return rng.choice([value + "x", value[1:], value.upper(), value.swapcase(), ""])
        case bytes():
            return rng.choice([value[:-1], value + b"x", bytes(len(value)), value[::-1]])
        case _:
            return rng.choice([1, "x"])


def with_one_bit_flipped(rng: Random, value: Any) -> Any:
    if isinstance(value, int):
        return value ^ (1 << rng.randrange(40))
    data = bytearray(value.encode() if isinstance(value, str) else value or b"")
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(7)
    return data.decode() if isinstance(value, str) else bytes(data) if value is not None else None


def set_value(
    database: sqlite3.Connection, rng: Random, change: Callable[[Random, Any], Any]
) -> None:
    table = rng.choice(sorted(CHAINED))
    row = a_row(database, rng, table)
    if row is not None:
        at = rng.randrange(len(row))
        where, found = one(table, row)
        statement = f"UPDATE {table} SET {CHAINED[table][at]} = ? WHERE {where}"
        database.execute(statement, (change(rng, row[at]), *found))


def edit(database: sqlite3.Connection, rng: Random, _: Story) -> None:
    set_value(database, rng, another_value)


def flip_a_bit(database: sqlite3.Connection, rng: Random, _: Story) -> None:
    set_value(database, rng, with_one_bit_flipped)


def delete(database: sqlite3.Connection, rng: Random, _: Story) -> None:
    table = rng.choice(sorted(CHAINED))
    row = a_row(database, rng, table)
    if row is not None:
        where, found = one(table, row)
        database.execute(f"DELETE FROM {table} WHERE {where}", found)


def swap(database: sqlite3.Connection, rng: Random, _: Story) -> None:
    """Two rows of a table change places, or one column of them does."""
    table = rng.choice(sorted(CHAINED))
    rows = [a_row(database, rng, table) for _ in range(2)]
    if None in rows or rows[0] == rows[1]:
        return
    columns = CHAINED[table]
    free = [c for c in columns if c not in ("merchant_id", *place_of(table), "chain", "number")]
    moved = free if rng.random() < 0.5 else [rng.choice(free)]
    for row, other in (rows, rows[::-1]):
        assert row is not None
        assert other is not None
        where, found = one(table, row)
        taken = [other[columns.index(column)] for column in moved]
        sets = ", ".join(f"{column} = ?" for column in moved)
        database.execute(f"UPDATE {table} SET {sets} WHERE {where}", (*taken, *found))


def insert(database: sqlite3.Connection, rng: Random, _: Story) -> None:
    """A copy of a row under another name, or of another merchant."""
    table = rng.choice(sorted(TABLES))
    row = a_row(database, rng, table)
    if row is not None:
        named = dict(zip(CHAINED[table], row, strict=True))
        column = rng.choice(place_of(table))
        owners = [o for (o,) in database.execute("SELECT DISTINCT merchant_id FROM links")]
        if column == "merchant_id":
            named[column] = rng.choice(owners)
        else:
            named[column] = named[column] + (99 if isinstance(named[column], int) else "x")
        if table == "merchants":
            named["merchant_id"] = rng.choice(owners)
        places = ", ".join("?" * len(named))
        database.execute(
            f"INSERT INTO {table} ({', '.join(named)}) VALUES ({places})", [*named.values()]
        )


def cut_the_tail(database: sqlite3.Connection, rng: Random, _: Story) -> None:
    """The last of a chain goes: rows, links, or both with the head set back to what is left."""
    merchant_id, chain = rng.choice(
        database.execute("SELECT merchant_id, chain FROM chain_heads").fetchall()
    )
    mine = (merchant_id, chain)
    last = database.execute(
        "SELECT max(number) FROM links WHERE (merchant_id, chain) = (?, ?)", mine
    )
    left = last.fetchone()[0] - rng.randint(1, 3)
    way = rng.randrange(3)
    if way:
        database.execute(
            "DELETE FROM links WHERE (merchant_id, chain) = (?, ?) AND number > ?", (*mine, left)
        )
    if way == 2:
        database.execute("DELETE FROM chain_heads WHERE (merchant_id, chain) = (?, ?)", mine)
        database.execute(
            "INSERT INTO chain_heads SELECT merchant_id, chain, number, digest FROM links"
            " WHERE (merchant_id, chain) = (?, ?) AND number = ?",
            (*mine, left),
        )
    if way != 1:
        table = "audit_entries" if chain == "audit" else rng.choice(["events", "postings"])
        newest = "id" if chain == "audit" else "at"
        database.execute(
            f"DELETE FROM {table} WHERE merchant_id = ? AND {newest} >="
            f" (SELECT max({newest}) FROM {table} WHERE merchant_id = ?)",
            (merchant_id, merchant_id),
        )


def put_back_an_earlier_row(database: sqlite3.Connection, rng: Random, story: Story) -> None:
    """A row as it really was once, with the digest that it had."""
    table = rng.choice(sorted(story.before))
    row = rng.choice(story.before[table])
    where, found = one(table, row)
    sets = ", ".join(f"{column} = ?" for column in CHAINED[table])
    database.execute(f"UPDATE {table} SET {sets} WHERE {where}", (*row, *found))


def make_the_chain_anew(database: sqlite3.Connection, rng: Random, _: Story) -> None:
    """A payment is changed, and then every digest and every link, as if it had always been so."""
    payment = a_row(database, rng, "payments")
    assert payment is not None
    where, (merchant_id, payment_id) = one("payments", payment)
    change = rng.choice(["requested = requested + 1", "reference = 'x'", "last4 = '0000'"])
    database.execute(f"UPDATE payments SET {change} WHERE {where}", (merchant_id, payment_id))
    seal_again(database)
    (digest,) = database.execute(
        f"SELECT row_digest FROM payments WHERE {where}", (merchant_id, payment_id)
    ).fetchone()
    head = ChainHead()
    for number, body in database.execute(
        "SELECT number, body FROM links WHERE merchant_id = ? AND chain = 'journal'"
        " ORDER BY number",
        (merchant_id,),
    ).fetchall():
        marks = [
            (table, place, digest if (table, place) == ("payments", payment_id) else mark)
            for table, place, mark in marks_in(body)
        ]
        again = dict(bodies(marks))[Chain.JOURNAL]
        link = next_link(Chain.JOURNAL, merchant_id, head, again)
        head = head_at(link)
        named = (merchant_id, number)
        database.execute(
            "UPDATE links SET body = ?, digest = ? WHERE chain = 'journal'"
            " AND merchant_id = ? AND number = ?",
            (link.body, link.digest, *named),
        )
    database.execute(
        "UPDATE chain_heads SET digest = ? WHERE chain = 'journal' AND merchant_id = ?",
        (bytes.fromhex(head.digest), merchant_id),
    )


WAYS = (
    edit,
    flip_a_bit,
    delete,
    swap,
    insert,
    cut_the_tail,
    put_back_an_earlier_row,
    make_the_chain_anew,
)

# -- what is told of it ----------------------------------------------------------------------------


def tampered(
    story: Story, file: Path, way: Callable[..., None], seed: str, *, is_skilled: bool
) -> None:
    """Make the copy, and change it; what turns out to change nothing is drawn again."""
    rng = Random(seed)  # noqa: S311  # repeatable is what it has to be
    while True:
        shutil.copy(story.file, file)
        with closing(sqlite3.connect(str(file))) as database:
            database.execute("PRAGMA ignore_check_constraints = ON")
            names = database.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            for (name,) in names.fetchall():
                database.execute(f"DROP TRIGGER {name}")
            database.commit()
            was = contents(database)
            with suppress(sqlite3.IntegrityError, sqlite3.OperationalError, OverflowError):
                way(database, rng, story)
            if is_skilled:
                seal_again(database, but=PERSONAL)
            database.commit()
            if contents(database) != was:
                return


def contents(database: sqlite3.Connection) -> list[Any]:
    database.text_factory = bytes
    found = [
        sorted(database.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall(), key=repr)
        for table, columns in CHAINED.items()
    ]
    database.text_factory = str
    return found


def is_reported(story: Story, file: Path) -> bool:
    try:
        storage = SQLiteStorage(file)
    except PayPlatformError:
        return True
    with closing(storage):
        try:
            return not all(storage.verify(*key, head).ok for key, head in story.heads.items())
        except StorageUnavailable as error:
            return error.code is ErrorCode.STORAGE_CORRUPT


def wrong_amounts(story: Story, file: Path) -> list[Any]:
    """What is served of the payments that is not what was written; what is gone is not wrong."""
    wrong = []
    with closing(SQLiteStorage(file)) as storage:
        for payment, true in story.amounts:
            for read in readings(storage, payment):
                with suppress(StorageUnavailable):
                    wrong += [value for value in read() if value not in [None, *true]]
    return wrong


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_whatever_is_changed_behind_the_platforms_back_is_reported(
    way: Callable[..., None], story: Story, tmp_path: Path
) -> None:
    """And unless whoever did it knows how digests are made, no wrong amount is served either."""
    file = tmp_path / "shop.db"
    missed, wrong = [], []
    for number in range(TAMPERINGS):
        seed, is_skilled = f"{way.__name__} {number}", bool(number % 2)
        tampered(story, file, way, seed, is_skilled=is_skilled)
        if not is_reported(story, file):
            missed.append(seed)
        if not is_skilled and way is not make_the_chain_anew:
            wrong += [(seed, value) for value in wrong_amounts(story, file)]
    assert missed == []
    assert wrong == []


def test_what_nobody_has_touched_is_sound(story: Story, tmp_path: Path) -> None:
    shutil.copy(story.file, tmp_path / "shop.db")
    assert not is_reported(story, tmp_path / "shop.db")
    assert wrong_amounts(story, tmp_path / "shop.db") == []


def test_only_a_head_that_was_kept_elsewhere_shows_that_a_whole_chain_was_made_anew(
    story: Story, tmp_path: Path
) -> None:
    """That is the limit of a chain that whoever can write the file can compute."""
    file = tmp_path / "shop.db"
    tampered(story, file, make_the_chain_anew, "once", is_skilled=True)
    assert is_reported(story, file)
    with closing(SQLiteStorage(file)) as storage:
        assert all(storage.verify(*key).ok for key in story.heads)
