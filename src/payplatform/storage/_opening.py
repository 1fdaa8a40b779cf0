"""Opening an SQLite file: what may be opened, who may read it, and under which settings.

Law of this file: every connection is made here. Each setting is set and then read back, and a file
for which one of them cannot be had is refused, for they are what keeps an acknowledged commit. Why
each has the value it has is measured in the project's notes on reliability, and said beside it.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, TypeVar

from attrs import frozen

from payplatform.errors import ErrorCode, PayPlatformError, StorageUnavailable
from payplatform.storage._failures import RAISED, failure_of, is_busy, system_failure_of
from payplatform.storage._schema import LATEST, migrate, version_of

T = TypeVar("T")

JournalMode = Literal["wal", "delete"]

_OLDEST: Final = (3, 37, 0)  # the first with STRICT tables

# Loses no acknowledged commit at a power failure: with a write-ahead log from FULL on, with a
# rollback journal only with EXTRA, which also syncs the folder the journal is deleted from.
_SYNCHRONOUS: Final[MappingProxyType[JournalMode, tuple[int, str]]] = MappingProxyType(
    {"wal": (2, "full"), "delete": (3, "extra")}
)

_PRAGMAS: Final = (
    # macOS alone needs these two: there a plain fsync leaves the data in the drive's cache.
    ("fullfsync", 1),
    ("checkpoint_fullfsync", 1),
    # REPLACE would otherwise delete a row without asking the triggers that refuse it.
    ("recursive_triggers", 1),
    ("foreign_keys", 1),
    # A file somebody else has prepared must not run functions of its choice.
    ("trusted_schema", 0),
    ("cell_size_check", 1),
    # A stray pointer in the process must not be able to write into the file.
    ("mmap_size", 0),
    ("temp_store", 2),
    # What is deleted is overwritten with zeros, in the file at once, in the log at a checkpoint.
    ("secure_delete", 1),
)

_NETWORK: Final = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "davfs", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs",
        "fuse.sshfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2",
        "orangefs", "smb3", "smbfs",
    }
)  # fmt: skip
"""Types of file system that several machines share, or that do not share memory as a log needs."""

_PATIENCE_S: Final = 0.005


def prepared(path: str | os.PathLike[str], journal_mode: JournalMode) -> str:
    """The absolute path of a file that may be opened; it is there, and ours alone if it was not.

    Raises:
        StorageUnavailable: `storage_settings` (no regular file; a network file system; SQLite is
            too old); `storage_read_only`, `storage_full` or `storage_unavailable` (the file is not
            there and cannot be created).
    """
    if sqlite3.sqlite_version_info < _OLDEST:
        raise _refused(
            f"SQLite {sqlite3.sqlite_version} is too old; 3.37 is the oldest that will do"
        )
    name = os.fspath(path)
    if not name or name == ":memory:":
        raise _refused("a path is needed; MemoryStorage keeps things in memory")
    file = Path(os.path.abspath(name))  # noqa: PTH100  # resolve() would follow links
    _asking(lambda: _create(file), "the file cannot be created")
    if not _asking(lambda: stat.S_ISREG(file.stat().st_mode), "the file cannot be seen"):
        raise _refused("the path names something that is not a regular file")
    # SQLite opens a file that its owner may only read, and fails at the first write.
    if not os.access(file, os.R_OK | os.W_OK):
        raise StorageUnavailable("the file may not be written", code=ErrorCode.STORAGE_READ_ONLY)
    if journal_mode == "wal" and (kind := _file_system(file)) in _NETWORK:
        raise _refused(
            f"a write-ahead log needs a local disk, and the file is on {kind}; "
            'journal_mode="delete" does without, slowly'
        )
    return str(file)


@frozen(kw_only=True)
class Settings:
    """What the user of a file may choose.

    Attributes:
        path: absolute, as `prepared` has made it.
        busy_timeout_s: how long to wait for others who hold the file, in seconds.
        journal_mode: `wal`, or `delete` where there is no local disk.
    """

    path: str
    busy_timeout_s: float
    journal_mode: JournalMode

    @property
    def synchronous(self) -> str:
        """How SQLite is told to wait for the disk."""
        return _SYNCHRONOUS[self.journal_mode][1]


def connect(settings: Settings, is_first: bool) -> sqlite3.Connection:
    """A connection with every setting in place, to a file whose schema is the latest.

    Args:
        settings: the file, and how to use it.
        is_first: whether the schema may be made or brought up to date; a later connection that
            finds another one has been given another file.

    Raises:
        StorageUnavailable: `storage_settings`, `storage_schema_newer`, `storage_corrupt`,
            `storage_read_only`, `storage_full` or `storage_unavailable`: it cannot be used.
        StorageBusy: others held the file for longer than the timeout.
    """
    connection: sqlite3.Connection | None = None
    failure: PayPlatformError
    try:
        connection = opened(settings.path, settings.busy_timeout_s)
        _settle(connection, settings, is_first=is_first)
    except RAISED as error:
        failure = failure_of(error, "the file cannot be opened")
    except StorageUnavailable as refusal:
        failure = refusal
    else:
        return connection
    if connection is not None:
        connection.close()
    raise failure


def opened(path: str, busy_timeout_s: float) -> sqlite3.Connection:
    """A connection as it comes, with transactions left to who uses it.

    Args:
        path: absolute; of a file that is there.
        busy_timeout_s: how long to wait for others who hold the file, in seconds.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    # mode=rw: a file that has been taken away must not come back empty. Each connection is used by
    # one thread, but may be closed by another.
    return sqlite3.connect(
        f"{Path(path).as_uri()}?mode=rw",
        uri=True,
        timeout=busy_timeout_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )


def _settle(connection: sqlite3.Connection, settings: Settings, *, is_first: bool) -> None:
    # Before anything is set: another program's file must stay as it is.
    version = version_of(connection)
    if version < LATEST and not is_first:
        raise StorageUnavailable(
            "the file is not the one that was opened", code=ErrorCode.STORAGE_CORRUPT
        )
    set_journal_mode(connection, settings.journal_mode, settings.busy_timeout_s)
    level, _ = _SYNCHRONOUS[settings.journal_mode]
    for pragma, wanted in (("synchronous", level), *_PRAGMAS):
        connection.execute(f"PRAGMA {pragma} = {wanted}")
        if _read_back(connection, pragma) not in (wanted, None):
            raise _refused(f"SQLite does not do {pragma} = {wanted}")
    if version < LATEST:
        migrate(connection)


def set_journal_mode(
    connection: sqlite3.Connection, journal_mode: JournalMode, busy_timeout_s: float
) -> None:
    """Have it, or wait for those who stand in the way; how to wait for the disk is to be set after.

    Raises:
        StorageUnavailable: `storage_settings`: the file cannot have it.
        sqlite3.Error: others held the file for longer than the timeout.
    """
    if _read_back(connection, "journal_mode") == journal_mode:
        return
    # What ends the journal of this change has to be sure, too: a log that an earlier cut has left
    # behind is no new name, so no later commit syncs the folder, and the journal would come back.
    connection.execute("PRAGMA synchronous = extra")
    # SQLite does not wait for others here, whatever the timeout says.
    give_up_at = time.monotonic() + busy_timeout_s
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {journal_mode}")
        except sqlite3.Error as error:
            if not is_busy(error) or time.monotonic() > give_up_at:
                raise
            time.sleep(_PATIENCE_S)
            continue
        break
    if _read_back(connection, "journal_mode") != journal_mode:
        raise _refused(f"SQLite cannot use journal_mode = {journal_mode} on this file")


def _read_back(connection: sqlite3.Connection, pragma: str) -> object:
    """The setting's value; None where this build of SQLite does not have it."""
    rows = connection.execute(f"PRAGMA {pragma}").fetchall()
    return rows[0][0] if rows else None


def _create(file: Path) -> None:
    """Create the file and its folder where they are missing, for their owner alone.

    SQLite gives the log and its index the permissions that the file has.
    """
    if not file.parent.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync_folder(file.parent.parent)
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        _sync_folder(file.parent)


def _sync_folder(folder: Path) -> None:
    """Make the new names in it last; where a folder cannot be opened, the system does so itself."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _file_system(file: Path) -> str | None:
    """The type of the file system that holds the file, where the system tells (Linux)."""
    if not sys.platform.startswith("linux"):
        return None
    with suppress(OSError, ValueError):
        real = file.resolve()
        mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
        # Of several mounted at one place the last one is on top.
        holding = [
            (mount[1], mount[2]) for mount in mounts if real.is_relative_to(_spaces(mount[1]))
        ]
        return max(reversed(holding), key=lambda mount: len(mount[0]))[1]
    return None


def _spaces(name: str) -> str:
    return name.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")


def new_file(path: str | os.PathLike[str]) -> Path:
    """Create a file that was not there, for its owner alone.

    Raises:
        StorageUnavailable: it was there, or cannot be created.
    """
    file = Path(os.path.abspath(os.fspath(path)))  # noqa: PTH100  # as above
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    _asking(lambda: os.close(os.open(file, flags, 0o600)), "the file cannot be created")
    return file


def _asking(ask: Callable[[], T], what: str) -> T:
    try:
        return ask()
    except OSError as error:
        failure = system_failure_of(error, what)
    except ValueError:
        failure = _refused("the path holds a NUL")
    raise failure


def _refused(why: str) -> StorageUnavailable:
    return StorageUnavailable(why, code=ErrorCode.STORAGE_SETTINGS)
