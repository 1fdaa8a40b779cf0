"""The disk fails while payments are taken: callers are told the truth, and it all ends well.

How: a shop takes one payment after another on a disk that fails at a moment of our choice. What it
was told is written down. Then the disk is mended, or the power goes off and comes back; a new
process starts, recovers, and asks again with every key. What was told before is told again, what
was not has come to an end, and the bank has one effect for each key that succeeded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from crash_size import FIGURES, IS_FULL, how_many
from mortal import World, agree
from powerless import integrity
from verbs import a_card, eur

from payplatform import BankUnavailable, OutcomeUnknown, Payment, PayPlatformError
from payplatform.errors import StorageUnavailable
from payplatform.testing.disk import Disk, Loss, recording_disk

FILE = "books.db"
SALES = 18


class Shop:
    """Takes payments, and remembers what it was told under each key."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE
        self.world = World(self.file)
        self.card = a_card(self.world)
        self.told: dict[str, Payment] = {}
        self.failed: dict[str, PayPlatformError] = {}

    def sell(self, key: str) -> Payment:
        payments = self.world.shop.payments
        return payments.charge(eur("10"), payment_method=self.card, idempotency_key=key)

    def sell_all(self) -> None:
        """Go on whatever happens, as a shop would."""
        for number in range(SALES):
            key = f"sale-{number}"
            try:
                self.told[key] = self.sell(key)
            except (StorageUnavailable, OutcomeUnknown) as error:
                self.failed[key] = error

    def require_all_is_well(self) -> None:
        """In a new process, on a disk that works."""
        world = self.world
        world.start()
        assert integrity(world) == "ok"
        self.require_told_again()
        world.advance(seconds=61)
        world.pay.recover()
        world.recover_all()
        assert not list(world.shop.operations.list_unresolved())
        agree(world)
        for key in self.failed:
            self.require_end_of(key)
        self.require_told_again()
        agree(world)

    def require_told_again(self) -> None:
        for key, payment in self.told.items():
            operation = self.world.shop.operations.find(idempotency_key=key)
            assert operation is not None, key
            assert self.world.storage.receipt(self.world.merchant_id, operation.id) == payment

    def require_end_of(self, key: str) -> None:
        """Asked again with its key, it is done once, or has come to nothing."""
        try:
            payment = self.sell(key)
        except BankUnavailable:
            expected = 0
        else:
            assert payment.status == "captured"
            expected = 1
        operation = self.world.shop.operations.find(idempotency_key=key)
        assert operation is not None
        assert self.world.bank.effects(self.world.merchant_id, operation.id) == expected


def play(folder: Path, fail: Callable[[Disk], None], *, power: Loss | None, seed: int = 0) -> Shop:
    """Sell on a disk that fails; then mend it, or cut the power with this loss; all has to be well.

    Args:
        fail: how the disk is made to fail, once the shop is there.
        power: None if the power stays on.
    """
    folder.mkdir()
    with recording_disk(folder) as disk:
        shop = Shop(folder)
        fail(disk)
        shop.sell_all()
        if power is not None:
            disk.power_off()
        shop.world.storage.close()
        if power is None:
            disk.mend()
        else:
            disk.power_on(power, seed=seed)
        shop.require_all_is_well()
        shop.world.close()
    return shop


@pytest.mark.parametrize("dies", [False, True], ids=["goes on", "dies right then"])
@pytest.mark.parametrize("at", range(1, 41, how_many(full=1, sample=5)))
def test_a_sync_that_fails_loses_nothing_that_was_told(at: int, dies: bool, tmp_path: Path) -> None:
    """Whether the process goes on or dies right then, and whatever the power takes afterwards."""
    for power in (None, *Loss) if IS_FULL else (None, Loss.TORN):
        shop = play(
            tmp_path / f"{power}",
            lambda disk: disk.fail_sync(at, for_good=dies),
            power=power,
            seed=at,
        )
        assert all(is_storages(error) for error in shop.failed.values())
        FIGURES["failing syncs"].update(stories=1, told=len(shop.told), failed=len(shop.failed))


def is_storages(error: PayPlatformError) -> bool:
    """Nothing was sent, or nobody knows: never that it came to nothing."""
    return isinstance(error, OutcomeUnknown | StorageUnavailable)


@pytest.mark.parametrize("room", range(0, 1_000_000, how_many(full=12_500, sample=150_000)))
def test_a_full_disk_loses_nothing_that_was_told(room: int, tmp_path: Path) -> None:
    shop = play(tmp_path / "shop", lambda disk: disk.full_after(room), power=None)
    assert all(is_storages(error) for error in shop.failed.values())
    assert shop.failed.keys() | shop.told.keys() == {f"sale-{n}" for n in range(SALES)}
    assert shop.failed
    FIGURES["full disks"].update(stories=1, told=len(shop.told), failed=len(shop.failed))


@pytest.mark.parametrize("at", range(1, 400, how_many(full=3, sample=50)))
def test_a_write_that_fails_loses_nothing_that_was_told(at: int, tmp_path: Path) -> None:
    shop = play(tmp_path / "shop", lambda disk: disk.fail_write(at), power=Loss.SCATTERED, seed=at)
    assert all(is_storages(error) for error in shop.failed.values())
    FIGURES["failing writes"].update(stories=1, told=len(shop.told), failed=len(shop.failed))
