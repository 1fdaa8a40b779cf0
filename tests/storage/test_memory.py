"""The store in memory keeps the contract of every store."""

from pathlib import Path

from payplatform.ports import Storage
from payplatform.storage.memory import MemoryStorage
from payplatform.testing.storage_contract import StorageContract


class TestMemoryStorage(StorageContract):
    def make_storage(self, folder: Path) -> Storage:  # noqa: ARG002  # it keeps no files
        return MemoryStorage()


def test_two_stores_share_nothing() -> None:
    one, two = MemoryStorage(), MemoryStorage()
    StorageContract().test_a_merchant_is_its_own_and_nobody_elses(one)
    StorageContract().test_what_is_not_there_is_none_or_empty(two)
