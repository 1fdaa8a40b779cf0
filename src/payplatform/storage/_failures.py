"""What SQLite, or the file system, says when something fails, as our errors.

Law of this file: an error tells which kind of failure it was and never what was being stored.
SQLite's own texts, and the exceptions of its Python module, hold values now and then; none of them
is passed on, not even as a cause. So what is made here is raised outside of the `except` block.
"""

from __future__ import annotations

import errno
import sqlite3
from types import MappingProxyType
from typing import Final

from payplatform.errors import (
    Conflict,
    ErrorCode,
    PayPlatformError,
    StorageBusy,
    StorageUnavailable,
)

RAISED: Final = (sqlite3.Error, OverflowError, UnicodeError)
"""What a call of the SQLite module may raise that is about the file or about what is stored.

Without an SQLite code come: OverflowError for a whole number beyond 64 bits; UnicodeEncodeError for
a lone surrogate; OperationalError for a stored text that is not UTF-8; and UnicodeDecodeError when
SQLite's own message quotes such a text.
"""

_BUSY: Final = frozenset(
    # PROTOCOL: several processes began to use the write-ahead log at once, and none won in time.
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
)

_CODES: Final = MappingProxyType(
    {
        sqlite3.SQLITE_FULL: ErrorCode.STORAGE_FULL,
        sqlite3.SQLITE_CORRUPT: ErrorCode.STORAGE_CORRUPT,
        sqlite3.SQLITE_NOTADB: ErrorCode.STORAGE_CORRUPT,
        sqlite3.SQLITE_READONLY: ErrorCode.STORAGE_READ_ONLY,
        sqlite3.SQLITE_PERM: ErrorCode.STORAGE_READ_ONLY,
        sqlite3.SQLITE_CONSTRAINT: ErrorCode.STORAGE_REFUSED,
        sqlite3.SQLITE_MISMATCH: ErrorCode.STORAGE_REFUSED,
        sqlite3.SQLITE_TOOBIG: ErrorCode.STORAGE_REFUSED,
    }
)
"""By SQLite's primary result code; what is not listed is `storage_unavailable`."""

_TAKEN: Final = frozenset({sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY})

_SYSTEM_CODES: Final = MappingProxyType(
    {
        errno.ENOSPC: ErrorCode.STORAGE_FULL,
        errno.EDQUOT: ErrorCode.STORAGE_FULL,
        errno.EACCES: ErrorCode.STORAGE_READ_ONLY,
        errno.EPERM: ErrorCode.STORAGE_READ_ONLY,
        errno.EROFS: ErrorCode.STORAGE_READ_ONLY,
    }
)


def failure_of(error: BaseException, what: str) -> PayPlatformError:
    """Our error for what SQLite's module raised; `what` says what could not be done.

    Returns:
        Conflict: something that is to be unique was there already.
        StorageBusy: others held the file for longer than the timeout.
        StorageUnavailable: anything else, with the code that says what to look into.
    """
    extended = getattr(error, "sqlite_errorcode", None)
    if extended in _TAKEN:
        return Conflict(f"{what}: something that has to be unique is there already")
    if extended is None:
        return _without_code(error, what)
    primary = extended & 0xFF
    name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
    if primary in _BUSY:
        return StorageBusy(f"{what}: others held the file for too long ({name})")
    code = _CODES.get(primary, ErrorCode.STORAGE_UNAVAILABLE)
    return StorageUnavailable(f"{what} ({name})", code=code)


def system_failure_of(error: OSError, what: str) -> StorageUnavailable:
    """Our error for what the file system said; `what` says what could not be done."""
    code = _SYSTEM_CODES.get(error.errno or 0, ErrorCode.STORAGE_UNAVAILABLE)
    name = errno.errorcode.get(error.errno or 0, "unknown")
    return StorageUnavailable(f"{what} ({name})", code=code)


def is_busy(error: BaseException) -> bool:
    """Whether nothing but patience was missing."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY


def _without_code(error: BaseException, what: str) -> StorageUnavailable:
    if isinstance(error, sqlite3.OperationalError | UnicodeDecodeError):
        return StorageUnavailable(
            f"{what}: a stored text is not UTF-8", code=ErrorCode.STORAGE_CORRUPT
        )
    return StorageUnavailable(
        f"{what}: a value is of a kind that cannot be stored", code=ErrorCode.STORAGE_REFUSED
    )
