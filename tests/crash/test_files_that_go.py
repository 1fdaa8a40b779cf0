"""Somebody removes or replaces the file of a running shop, or forks it: nothing is told in vain."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from doomed import PROCESSES, open_shop
from mortal import World, agree
from verbs import a_card, eur

from payplatform import Card, Conflict, MerchantClient, OutcomeUnknown, Payment, PayPlatform
from payplatform.banks.simulated import SimulatedBank
from payplatform.cli._bank_books import differences
from payplatform.errors import StorageUnavailable
from payplatform.storage.sqlite import SQLiteStorage

KEY = "the-call"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "here").mkdir()
    world = World(tmp_path / "here" / "books.db")
    yield world
    world.close()


def charge(world: World, card: str, key: str = KEY) -> Payment:
    return world.shop.payments.charge(eur("10"), payment_method=card, idempotency_key=key)


def test_nothing_is_sent_while_the_file_is_gone(world: World, tmp_path: Path) -> None:
    card = a_card(world)
    shop = world.shop
    (tmp_path / "here").rename(tmp_path / "elsewhere")
    with pytest.raises(StorageUnavailable):
        shop.payments.charge(eur("10"), payment_method=card, idempotency_key=KEY)
    assert not world.wire.sent
    (tmp_path / "elsewhere").rename(tmp_path / "here")
    assert not charge(world, card).replayed
    agree(world)


def test_a_file_that_goes_while_the_bank_is_asked_leaves_the_outcome_unknown(
    world: World, tmp_path: Path
) -> None:
    """The bank has done it and nothing can be written: nobody is told that it came to nothing."""
    card = a_card(world)
    world.wire.after = lambda _: (tmp_path / "here").rename(tmp_path / "elsewhere")
    with pytest.raises(OutcomeUnknown):
        charge(world, card)
    world.wire.after = lambda _: None
    (tmp_path / "elsewhere").rename(tmp_path / "here")
    world.advance(seconds=61)
    assert charge(world, card).status == "captured"
    agree(world)
    assert len(world.bank.statement(world.merchant_id)) == 1


def test_a_file_put_in_the_place_of_another_is_the_one_that_is_written(
    world: World, tmp_path: Path
) -> None:
    """A running shop goes on with the file that is there: what it is told now is in that one."""
    card = a_card(world)
    assert isinstance(world.storage, SQLiteStorage)
    world.storage.backup(tmp_path / "copy.db")
    (tmp_path / "here").rename(tmp_path / "elsewhere")
    (tmp_path / "here").mkdir()
    shutil.copy(tmp_path / "copy.db", tmp_path / "here" / "books.db")
    told = charge(world, card)
    world.start()
    assert world.shop.payments.get(told.id) == told
    agree(world)


def test_parent_and_child_of_a_fork_both_take_payments(tmp_path: Path) -> None:
    """With one client, opened before the fork, and the same keys: each key is charged once."""
    process = PROCESSES.Process(target=fork_and_charge, args=(tmp_path / "shop.db",))
    process.start()
    process.join(timeout=60)
    assert process.exitcode == 0


def fork_and_charge(path: Path) -> None:
    with PayPlatform.open(path) as pay:
        pay.merchants.create(name="Acme")
        shop = open_shop(pay)
        card = shop.payment_methods.create(card=Card("4242424242424242", "12/40")).id
        for number in range(3):
            take(shop, card, f"before-{number}")
        child = os.fork()
        mine = "child" if child == 0 else "parent"
        for number in range(8):
            take(shop, card, f"{mine}-{number}")
            take(shop, card, f"both-{number}")
        if child == 0:
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status == 0
        keys = [f"{who}-{n}" for who in ("parent", "child", "both") for n in range(8)]
        found = [shop.operations.find(idempotency_key=key) for key in keys]
        assert all(operation and operation.state == "succeeded" for operation in found)
        assert pay.doctor().ok
        bank = SimulatedBank(f"{path}.bank")
        assert len(bank.statement(shop.id)) == 3 + len(keys)
        assert differences(pay, bank) == (3 + len(keys), [])
        bank.close()


def take(shop: MerchantClient, card: str, key: str) -> None:
    """Take ten euros, however often the other one is in the middle of it."""
    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at:
        try:
            payment = shop.payments.charge(eur("10"), payment_method=card, idempotency_key=key)
        except Conflict:
            time.sleep(0.001)
            continue
        assert payment.status == "captured"
        return
    raise TimeoutError(key)
