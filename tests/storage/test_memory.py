"""The store in memory keeps the contract of every store."""

import weakref
from pathlib import Path

import pytest
from attrs import evolve

from payplatform._domain.audit import Chain
from payplatform._domain.changes import Changes
from payplatform.ports import Storage
from payplatform.storage.memory import MemoryStorage
from payplatform.testing._records import NOW, a_customer, a_sealed_card, an_entry
from payplatform.testing._storage_talk import MINE, write
from payplatform.testing.storage_contract import StorageContract


class TestMemoryStorage(StorageContract):
    def make_storage(self, folder: Path) -> Storage:  # noqa: ARG002  # it keeps no files
        return MemoryStorage()


def test_two_stores_share_nothing() -> None:
    one, two = MemoryStorage(), MemoryStorage()
    StorageContract().test_a_merchant_is_its_own_and_nobody_elses(one)
    StorageContract().test_what_is_not_there_is_none_or_empty(two)


@pytest.mark.parametrize("erased", [False, True])
def test_what_is_destroyed_is_kept_by_no_commit_that_wrote_it(erased: bool) -> None:
    """Commits wait until their chains are asked for: those that wrote it may not."""
    storage = MemoryStorage()
    ada, sealed = a_customer(MINE), a_sealed_card(MINE)
    written = weakref.ref(ada if erased else sealed)
    write(storage, ada, sealed)
    if erased:
        write(storage, evolve(ada, version=2, name=None, email=None, erased_at=NOW))
    else:
        storage.commit(Changes(merchant_id=MINE, removed=(sealed,)))
    del ada, sealed

    assert written() is None
    assert storage.head(MINE, Chain.JOURNAL).number == 2
    assert storage.verify(MINE, Chain.JOURNAL).ok


def test_a_link_is_the_same_whenever_it_is_made() -> None:
    asked, unasked = MemoryStorage(), MemoryStorage()
    for number in range(1, 4):
        for storage in (asked, unasked):
            write(storage, a_customer(MINE, number), audit=(an_entry(MINE, number),))
        asked.head(MINE, Chain.AUDIT)

    assert all(asked.head(MINE, chain) == unasked.head(MINE, chain) for chain in Chain)
