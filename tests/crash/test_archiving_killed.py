"""A process that archives is killed at each statement in turn, and at any moment while others sell.

How: a hook tells of each statement that SQLite is about to run, in the database or in an archive;
at the one that is drawn the process ends itself with SIGKILL. Then the files are looked at, and
another process archives to the end. Nothing may be lost, and nothing told twice.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from crash_size import FIGURES, how_many
from doomed import LONGEST_S, PROCESSES, open_shop, prepare, take_payments

from payplatform import Money, PayPlatform
from payplatform._domain.audit import Chain
from payplatform.storage import _archives, _opening
from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing.disk import recording_disk

PAYMENTS = 4
LATER = timedelta(days=400)
EVERY = how_many(full=6, sample=9)
FIRST = range(1, 1 + how_many(full=6, sample=1))
"""Which statements to begin with: with all six of them, each statement has its turn."""
KILLS = how_many(full=30, sample=3)


def kill_at(statement: int) -> None:
    """Have this process killed just before the statement of that number, counted from now on."""
    numbers = count(1)

    def told(_: str) -> None:
        if next(numbers) == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    opened = _opening.opened

    def watched(path: str, busy_timeout_s: float) -> sqlite3.Connection:
        connection = opened(path, busy_timeout_s)
        connection.set_trace_callback(told)
        return connection

    for module in (_opening, _archives):
        vars(module)["opened"] = watched


def archive(path: Path, statement: int) -> None:
    """Archive everything, or be killed."""
    signal.alarm(LONGEST_S)
    kill_at(statement)
    with PayPlatform.open(path) as pay:
        pay.archive(path.with_name("old.db"), before=datetime.now(UTC) + LATER)


def archive_for_ever(path: Path, parent: Connection) -> None:
    """Archive whatever there is again and again, once it was passed on."""
    signal.alarm(LONGEST_S)
    with PayPlatform.open(path) as pay:
        while True:
            pay.events.mark_published(pay.events.pending(limit=1000))
            report = pay.archive(path.with_name("old.db"), before=datetime.now(UTC))
            parent.send(report.events)


def sold_out(path: Path, payments: int = PAYMENTS) -> None:
    """A file with payments at rest, of which every event was passed on."""
    prepare(path)
    with PayPlatform.open(path) as pay:
        shop = open_shop(pay)
        card = next(iter(shop.payment_methods.list())).id
        for number in range(payments):
            shop.payments.charge(
                Money("5", "EUR"), payment_method=card, idempotency_key=f"sale-{number}"
            )
        pay.events.mark_published(pay.events.pending(limit=1000))


def told(path: Path) -> dict[str, Any]:
    """Every payment's timeline, of a file in which nothing is broken."""
    with PayPlatform.open(path) as pay:
        shop = open_shop(pay)
        assert shop.journal.verify().ok
        report = pay.doctor()
        assert report.ok, report.findings
        assert report.archived == 0
        return {payment.id: shop.payments.timeline(payment.id) for payment in shop.payments.list()}


def events_in(path: Path) -> list[Any]:
    """The rows of payments' events; none of a file that is not there, or has no tables yet."""
    return [row for row in rows_in(path, "events") if row[1].startswith("pay_")]


def links_in(path: Path) -> list[Any]:
    return rows_in(path, "links")


def rows_in(path: Path, table: str) -> list[Any]:
    if not path.is_file():
        return []
    with closing(sqlite3.connect(path)) as database:
        tables = database.execute("SELECT name FROM sqlite_schema").fetchall()
        if (table,) not in tables:
            return []
        return database.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608  # our own names


@pytest.mark.parametrize("first", FIRST)
def test_killed_at_each_statement_it_loses_nothing_and_is_taken_up(
    first: int, tmp_path: Path
) -> None:
    sold_out(tmp_path / "shop.db")
    wanted, rows = told(tmp_path / "shop.db"), set(events_in(tmp_path / "shop.db"))
    links = set(links_in(tmp_path / "shop.db"))
    kills = 0
    for statement in count(first, EVERY):
        folder = tmp_path / str(statement)
        folder.mkdir()
        path, old = folder / "shop.db", folder / "old.db"
        for file in tmp_path.glob("shop.db*"):
            shutil.copy(file, folder)
        process = PROCESSES.Process(target=archive, args=(path, statement))
        process.start()
        process.join(LONGEST_S)
        was_killed = process.exitcode == -signal.SIGKILL
        kills += was_killed

        assert rows <= {*events_in(path), *events_in(old)}
        assert links <= {*links_in(path), *links_in(old)}
        assert told(path) == wanted
        again = PROCESSES.Process(target=archive, args=(path, 0))
        again.start()
        again.join(LONGEST_S)
        assert again.exitcode == 0
        assert events_in(path) == []
        assert set(events_in(old)) == rows
        assert len(events_in(old)) == len(rows)
        assert links <= {*links_in(path), *links_in(old)}
        assert not links & {*links_in(path)}
        assert told(path) == wanted
        if not was_killed:
            break
        shutil.rmtree(folder)
    FIGURES["SIGKILL while archiving"].update(statements=kills)
    assert kills > 200 // EVERY


def test_killed_while_others_sell_it_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    sold_out(path)
    chance = random.Random(6)  # noqa: S311  # repeatable, not unguessable
    moved = 0
    for life in range(KILLS):
        lives = []
        for run, more in ((archive_for_ever, ()), (take_payments, (life * 10_000, 2))):
            mine, its = PROCESSES.Pipe(duplex=False)
            process = PROCESSES.Process(target=run, args=(path, its, *more))
            process.start()
            its.close()
            lives.append((process, mine))
        for _, pipe in lives:
            assert pipe.poll(LONGEST_S)
        time.sleep(chance.uniform(0, 0.3))
        for process, pipe in lives:
            process.kill()
            process.join(LONGEST_S)
            pipe.close()
        shown = told_of(path)
        moved = len(events_in(path.with_name("old.db")))
        assert all([e.number for e in events] == [*range(1, len(events) + 1)] for events in shown)
    FIGURES["SIGKILL while archiving"].update(kills=KILLS, events=moved)
    assert moved > PAYMENTS


def test_a_power_cut_loses_nothing_that_is_archived(tmp_path: Path) -> None:
    """The archive is sure before the database lets go, whatever a disk does with the rest."""
    before, after = tmp_path / "before", tmp_path / "after"
    after.mkdir()
    sold_out(before / "shop.db", payments=1)
    wanted = told(before / "shop.db")
    (merchant_id, payment_id), events = next(
        ((events[0].merchant_id, payment), list(events)) for payment, events in wanted.items()
    )
    with recording_disk(before) as disk, closing(SQLiteStorage(before / "shop.db")) as storage:
        archive_all(storage, before / "old.db")
    images = list(disk.images())[:: how_many(full=1, sample=4)]
    there = 0
    for image in images:
        image.write_to(after)
        with closing(SQLiteStorage(after / "shop.db")) as storage:
            assert storage.events(merchant_id, payment_id) == events
            assert all(storage.verify(merchant_id, chain).ok for chain in Chain)
            there += not storage.unarchived(datetime.now(UTC) + LATER, limit=1)
    FIGURES["power cuts while archiving"].update(images=len(images), archived=there)
    assert 0 < there < len(images)


def archive_all(storage: SQLiteStorage, old: Path) -> None:
    before = datetime.now(UTC) + LATER
    payments = storage.unarchived(before, limit=10)
    storage.archive(old, payments)
    for chain in Chain:
        storage.archive_links(old, payments[0].merchant_id, chain, before)


def told_of(path: Path) -> list[Any]:
    with PayPlatform.open(path, now=lambda: datetime.now(UTC) + timedelta(hours=1)) as pay:
        pay.recover()
    return list(told(path).values())
