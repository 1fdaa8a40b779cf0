"""The file that the simulated bank keeps its books in: made, known for what it is, and opened."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from payplatform.errors import ErrorCode, InvalidRequest

# Marks a file as a simulated bank's: "PaSB".
_APPLICATION_ID: Final = 0x50615342
_BUSY_S: Final = 30.0


def opened(path: Path | None, *, version: int, schema: Iterable[str]) -> sqlite3.Connection:
    """A connection to the books, which are made where there are none.

    Args:
        path: the file; None for books in memory.
        version: which the file has to have, if it is there.
        schema: what makes the tables where they are not there.

    Raises:
        InvalidRequest: `value_invalid`, field `path`: the file is something else, or of another
            version, or cannot be made.
    """
    if path is not None:
        _create(path)
    connection = sqlite3.connect(
        ":memory:" if path is None else path,
        timeout=_BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        _prepare(connection, version, schema)
    except sqlite3.DatabaseError as error:
        connection.close()
        if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
            raise
    except BaseException:
        connection.close()
        raise
    else:
        return connection
    raise _not_ours()


def _create(path: Path) -> None:
    """Make the file where there is none, for its owner alone: it tells who paid how much.

    Raises:
        InvalidRequest: there is no such folder, or it cannot be written.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    try:
        os.close(os.open(path, flags, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "unknown")
    else:
        return
    raise InvalidRequest(
        f"path must be in a folder that can be written ({name})",
        code=ErrorCode.VALUE_INVALID,
        field="path",
    )


def _prepare(connection: sqlite3.Connection, version: int, schema: Iterable[str]) -> None:
    """Make the tables where there are none, once it is sure that the file is one of ours."""
    _require_ours(connection, version)
    _write_ahead(connection)
    # Enough against a killed process; nothing that is simulated needs to survive a power cut.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("BEGIN IMMEDIATE")
    for statement in schema:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.commit()


def _require_ours(connection: sqlite3.Connection, wanted: int) -> None:
    tables, owner, version = connection.execute(
        "SELECT (SELECT count(*) FROM sqlite_master), application_id, user_version "
        "FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if tables and (owner, version) != (_APPLICATION_ID, wanted):
        raise _not_ours()


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to WAL. SQLite does not wait for its turn here as it does elsewhere; so we do."""
    give_up_at = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)
        else:
            return


def _not_ours() -> InvalidRequest:
    return InvalidRequest(
        "path must be a new file, or one that this version of the simulated bank has made",
        code=ErrorCode.VALUE_INVALID,
        field="path",
    )
