"""The store in an SQLite file."""

from pathlib import Path

from payplatform.ports import Storage
from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing.storage_contract import StorageContract


class TestSQLiteStorage(StorageContract):
    def make_storage(self, folder: Path) -> Storage:
        return SQLiteStorage(folder / "books.db")

    def reopen(self, storage: Storage, folder: Path) -> Storage:
        storage.close()
        return SQLiteStorage(folder / "books.db")
