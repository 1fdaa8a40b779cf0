"""The stores that come along. Each is one module, loaded by whoever uses it.

`memory.MemoryStorage` forgets when the process ends. `sqlite.SQLiteStorage` keeps everything in one
file. Both pass `payplatform.testing.storage_contract.StorageContract`, as any other store must.
"""
