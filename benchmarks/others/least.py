"""The floor: one row for a payment, three commits and a read, with nothing but sqlite3."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Final

from benchmarks.others.till import CURRENCY, PRICE, Pay

PACKAGES: Final = ()
DOES_NOT: Final = """\
- It does nothing else: this is what three durable commits and a read cost.
"""


@contextmanager
def opened(folder: Path) -> Iterator[Pay]:
    """One table in one file."""
    with closing(sqlite3.connect(folder / "least.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("PRAGMA synchronous = full")
        connection.execute(
            "CREATE TABLE payments (id INTEGER PRIMARY KEY, price TEXT NOT NULL,"
            " currency TEXT NOT NULL, status TEXT NOT NULL, captured TEXT NOT NULL)"
        )

        def pay(number: int) -> Decimal:
            connection.execute(
                "INSERT INTO payments VALUES (?, ?, ?, 'created', '0')",
                (number, str(PRICE), CURRENCY),
            )
            connection.execute("UPDATE payments SET status = 'authorized' WHERE id = ?", (number,))
            connection.execute(
                "UPDATE payments SET status = 'captured', captured = price WHERE id = ?", (number,)
            )
            (captured,) = connection.execute(
                "SELECT captured FROM payments WHERE id = ?", (number,)
            ).fetchone()
            return Decimal(captured)

        yield pay
