"""The power fails while a file is made, and again once it is used: nothing committed is lost."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from payplatform import Merchant
from payplatform._domain.changes import Changes
from payplatform.errors import StorageUnavailable
from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing._records import a_merchant
from payplatform.testing.disk import Loss, recording_disk


@pytest.mark.parametrize("cut_at", range(1, 25))
@pytest.mark.parametrize("seed", range(3))
def test_what_is_committed_after_a_birth_that_the_power_cut_short_is_there(
    tmp_path: Path, cut_at: int, seed: int
) -> None:
    """What the first cut has left behind must not come back after the second one."""
    merchant = a_merchant("m")
    with recording_disk(tmp_path) as disk:
        disk.power_off(cut_at)
        with suppress(StorageUnavailable):
            SQLiteStorage(tmp_path / "shop.db").close()
        disk.power_off()
        disk.power_on(Loss.SCATTERED, seed=seed)
        storage = SQLiteStorage(tmp_path / "shop.db")
        storage.commit(Changes(merchant_id="m", records=(merchant,)))
        disk.power_off()
        storage.close()
        disk.power_on(Loss.DROPPED)

        storage = SQLiteStorage(tmp_path / "shop.db")
        assert storage.get("m", Merchant, merchant.id) == merchant
        storage.close()
