"""The floor: the rows that the library wrote, written again with nothing but sqlite3.

How: while the library makes one payment, every statement that it writes is recorded, transaction by
transaction. The floor then writes as many payments as it likes with the same prepared statements
and the same bytes; only what names a payment is new each time. So it has the same tables, indexes,
commits and durability by construction, and does nothing else: it checks nothing, computes nothing
and reads nothing. What the library costs on top of that is the library's own.
"""

from __future__ import annotations

import hmac
import os
import re
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Step = tuple[str, tuple[Any, ...]]
"""A statement and what it takes."""
Transaction = list[Step]

_WRITES: Final = ("INSERT", "UPDATE", "DELETE")
ID: Final = re.compile(r"\b[a-z]+_[0-9a-z]{26}\b")
DIGITS: Final = 13
"""How many an id has room for, after the millisecond that it begins with."""
_CHAINED: Final = re.compile(r"INTO (links|chain_heads)\b")


class _Recorder(sqlite3.Connection):
    """A connection that remembers what it wrote."""

    def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """As any connection does it."""
        if statement.lstrip().startswith(_WRITES):
            _written[-1].append((statement, tuple(parameters)))
        elif statement == "COMMIT":
            _written.append([])
        return super().execute(statement, parameters)


_written: list[Transaction] = [[]]


class Recorded:
    """What connections wrote that were opened while it was recorded.

    Attributes:
        known: the ids in what was written before the recording that counts.
    """

    def __init__(self) -> None:
        self.known: frozenset[str] = frozenset()

    def forget(self) -> None:
        """Begin anew."""
        self.known |= _ids_in(self.transactions())
        _written[:] = [[]]

    def transactions(self) -> list[Transaction]:
        """Each that was committed, with its statements in their order."""
        return [steps for steps in _written if steps]


@contextmanager
def recording() -> Iterator[Recorded]:
    """Record what is written by connections that are opened meanwhile."""
    connect = sqlite3.connect

    def connect_and_record(*given: Any, **more: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*given, **{**more, "factory": _Recorder})
        return connection

    sqlite3.connect = connect_and_record  # type: ignore[assignment]  # for as long as the block
    try:
        yield Recorded()
    finally:
        sqlite3.connect = connect


class Template:
    """The transactions of one payment, to be written again under other names.

    Args:
        transactions: as they were recorded.
        key: what all of its idempotency keys begin with.
        known: the ids that were there before; all others are its own.
    """

    def __init__(
        self, transactions: list[Transaction], *, key: str, known: AbstractSet[str]
    ) -> None:
        self._transactions = transactions
        self._key = key
        self._ids = sorted(_ids_in(transactions) - known)
        self._links = Counter(
            row[1]
            for steps in transactions
            for statement, row in steps
            if (chained := _CHAINED.search(statement)) and chained[1] == "links"
        )

    def again(self, number: int) -> list[Transaction]:
        """The same for another payment, the `number`th after it, from 1."""
        digits = f"{number:0{DIGITS}}"
        names = {id_: another(id_, digits, at) for at, id_ in enumerate(self._ids)}
        names[self._key] = f"{number:0{len(self._key)}}"
        pattern = re.compile("|".join(map(re.escape, names)))

        def renamed(value: Any) -> Any:
            if isinstance(value, str):
                return pattern.sub(lambda found: names[found[0]], value)
            return value

        def step(statement: str, row: tuple[Any, ...]) -> Step:
            row = tuple(map(renamed, row))
            if _CHAINED.search(statement):
                row = (*row[:2], row[2] + number * self._links[row[1]], *row[3:])
            return statement, row

        return [[step(*recorded) for recorded in steps] for steps in self._transactions]


def connect(file: Path) -> sqlite3.Connection:
    """A connection that is as durable as the library's."""
    connection = sqlite3.connect(
        file, isolation_level=None, timeout=60, cached_statements=256, check_same_thread=False
    )
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("PRAGMA synchronous = full")
    return connection


def write(connection: sqlite3.Connection, steps: Transaction) -> None:
    """One transaction."""
    connection.execute("BEGIN IMMEDIATE")
    for statement, row in steps:
        connection.execute(statement, row)
    connection.execute("COMMIT")


class Shared:
    """Transactions of many threads with one commit: the first to come writes what is waiting.

    Args:
        connection: on which all of them are written.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._waiting: list[tuple[Transaction, threading.Lock]] = []
        self._is_led = False

    def write(self, steps: Transaction) -> None:
        """Write a transaction; it is on the disk when this returns."""
        told = threading.Lock()
        told.acquire()
        with self._lock:
            self._waiting.append((steps, told))
            leads, self._is_led = not self._is_led, True
        while leads:
            with self._lock:
                together, self._waiting = self._waiting, []
                self._is_led = leads = bool(together)
            if together:
                self._write_all(together)
        told.acquire()

    def _write_all(self, together: list[tuple[Transaction, threading.Lock]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for steps, _ in together:
            for statement, row in steps:
                self._connection.execute(statement, row)
        self._connection.execute("COMMIT")
        for _, told in together:
            told.release()


def _ids_in(transactions: list[Transaction]) -> frozenset[str]:
    items = (item for steps in transactions for _, row in steps for item in row)
    return frozenset(id_ for item in items if isinstance(item, str) for id_ in ID.findall(item))


def another(id_: str, digits: str, at: int) -> str:
    """An id of the same length, later in order, and the later the greater its digits."""
    prefix, _, suffix = id_.partition("_")
    return f"{prefix}_{suffix[: len(suffix) - DIGITS - 3]}z{digits}{at:02}"


# -- the floor of a token --------------------------------------------------------------------------


def tokenizing(number: bytes) -> Callable[[int], object]:
    """What tokenizes a card at the least.

    It is sealed with a nonce of its own, bound to its token; its fingerprint is made; both are kept
    in a dictionary.
    """
    cipher, secret = AESGCM(os.urandom(32)), os.urandom(32)
    kept: dict[bytes, tuple[bytes, bytes, bytes]] = {}

    def tokenize(_: int) -> None:
        token, nonce = os.urandom(16), os.urandom(12)
        sealed = cipher.encrypt(nonce, number, token)
        kept[token] = (nonce, sealed, hmac.digest(secret, number, "sha256"))

    return tokenize
