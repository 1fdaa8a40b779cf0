"""A call on a disk that remembers, and the same world once more after each power cut.

The bank is another company: its books stand as they stood at that moment, whatever our disk lost.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from attrs import evolve, frozen
from mortal import START, World, agree
from verbs import KEY, Act, Prepare

from payplatform import BankUnavailable, Payment, PaymentMethod, Payout
from payplatform.banks.simulated import SimulatedBank
from payplatform.ports import BankRequest
from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing.disk import Disk, Image, recording_disk

Told: TypeAlias = Payment | PaymentMethod | Payout
FILE = "books.db"


@frozen
class BankBooks:
    """A mark: the bank's books, as they have stood since this moment."""

    copy: sqlite3.Connection


@frozen
class Outcome:
    """A mark: the caller was told this."""

    told: Told


@frozen
class Story:
    """One call, as it was recorded."""

    world: World
    subject: str
    act: Act
    disk: Disk


def record(
    folder: Path,
    prepare: Prepare,
    act: Act,
    *,
    planted: Callable[[SQLiteStorage], object] = lambda _: None,
) -> Story:
    """Prepare, record one call in a new process until that process has closed the file, and tell.

    Args:
        planted: what is done to the store before the call.
    """
    folder.mkdir()
    world = World(folder / FILE)
    subject = prepare(world)
    world.storage.close()
    with recording_disk(folder) as disk:

        def bank_has_booked(_: BankRequest | None = None) -> None:
            disk.mark(BankBooks(_copied(_connection(world.bank))))

        bank_has_booked()
        world.wire.after = bank_has_booked
        world.start()
        assert isinstance(world.storage, SQLiteStorage)
        planted(world.storage)
        disk.mark(Outcome(act(world.shop, subject)))
        world.storage.close()
    world.wire.after = lambda _: None
    return Story(world, subject, act, disk)


@contextmanager
def after(story: Story, image: Image, folder: Path) -> Iterator[World]:
    """The world when the power is back: our files as they were left, the bank as it was then."""
    image.write_to(folder)
    world = story.world
    world.now = START
    world.bank = SimulatedBank(now=world.clock)
    *_, books = (mark.copy for mark in image.marks if isinstance(mark, BankBooks))
    books.backup(_connection(world.bank))
    world._file = folder / FILE
    world._stores.clear()
    world.start()
    try:
        yield world
    finally:
        world.storage.close()
        world.bank.close()


def require_nothing_lost(story: Story, image: Image, world: World) -> None:
    """The file is whole, and what was told before the power cut is told again."""
    assert integrity(world) == "ok"
    assert world.pay.doctor().ok
    for mark in image.marks:
        if isinstance(mark, Outcome):
            assert stored_outcome(world) == mark.told
            asked = world.wire.calls
            assert story.act(world.shop, story.subject) == evolve(mark.told, replayed=True)
            assert world.wire.calls == asked, "the bank was not asked again"


def require_recovery(story: Story, world: World) -> None:
    """Everything comes to an end that both books agree on, and the key has one effect at most."""
    world.advance(seconds=61)
    world.pay.recover()
    world.recover_all()
    assert not list(world.shop.operations.list_unresolved())
    agree(world)
    known = world.shop.operations.find(idempotency_key=KEY)
    try:
        told = story.act(world.shop, story.subject)
    except BankUnavailable:
        assert known is not None
        assert known.state == "aborted"
    else:
        assert told.replayed is (known is not None)
    agree(world)
    require_one_effect(world)


def require_one_effect(world: World) -> None:
    operation = world.shop.operations.find(idempotency_key=KEY)
    assert operation is not None
    if operation.target_id is not None and operation.kind == "resume":
        operation = world.shop.operations.get(operation.target_id)
    moves_money = operation.state == "succeeded" and operation.kind != "verify"
    assert world.bank.effects(world.merchant_id, operation.id) == int(moves_money)


def stored_outcome(world: World) -> Told | None:
    operation = world.storage.operation_with_key(world.merchant_id, KEY)
    if operation is None:
        return None
    return world.storage.receipt(world.merchant_id, operation.id)


def integrity(world: World) -> str:
    assert isinstance(world.storage, SQLiteStorage)
    with world.storage._connections.mine() as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def _connection(bank: SimulatedBank) -> sqlite3.Connection:
    assert bank._books._connection is not None
    return bank._books._connection


def _copied(connection: sqlite3.Connection) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:")
    connection.backup(copy)
    return copy
