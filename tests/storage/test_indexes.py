"""Every index earns what it costs each write: some statement of the store is answered by it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from payplatform import PaymentStatus
from payplatform._domain.disputes import DisputeState
from payplatform._domain.ledger import Account
from payplatform._domain.notices import NoticeState
from payplatform._domain.operations import OperationState
from payplatform.ports import EVERY_LINE, EVERYTHING, Filter, LineFilter
from payplatform.storage import _statements
from payplatform.storage._checks import LOST
from payplatform.storage._rows import RECORDS
from payplatform.storage.sqlite import SQLiteStorage

NOW = datetime(2030, 1, 1, tzinfo=UTC)
FILTERS = (
    EVERYTHING,
    Filter(customer_id="c"),
    Filter(payment_method_id="m"),
    Filter(subject_id="s"),
    Filter(payment_id="p"),
    Filter(bank_dispute_id="d"),
    Filter(statuses=frozenset({PaymentStatus.UNKNOWN})),
    Filter(operation_id="o"),
    Filter(states=frozenset({OperationState.IN_DOUBT, OperationState.NEEDS_REVIEW})),
    Filter(states=frozenset({OperationState.DECLINED}), card_fingerprint=b"f"),
    Filter(states=frozenset({NoticeState.WAITING})),
    Filter(states=frozenset({DisputeState.OPENED})),
    Filter(reference="r"),
    Filter(key_version=1),
    Filter(fingerprint_version=1),
)
LINES = (EVERY_LINE, LineFilter(account=Account.FEES), LineFilter(subject_id="s", since=NOW))


def statements() -> Iterator[tuple[str, Any]]:
    """Whatever the store asks, each with something to ask for."""
    for name, text in vars(_statements).items():
        if (
            not name.startswith("_")
            and isinstance(text, str)
            and re.match("SELECT|DELETE|UPDATE", text)
        ):
            yield text, (None,) * text.count("?")
    for of_kind in _statements.OF.values():
        for text in (of_kind.get, of_kind.keys, of_kind.delete, of_kind.update):
            yield text, (None,) * text.count("?")
    yield (text := _statements.payment_method_with(2)), (None,) * text.count("?")
    for layout in RECORDS.values():
        for where in FILTERS:
            asked = _statements.page(layout, "m", where, None, 10)
            if asked is not None:
                yield asked
    for lines in LINES:
        yield _statements.ledger("m", lines, None, 10)
    for lost in LOST:
        yield lost.query, ()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    SQLiteStorage(tmp_path / "books.db").close()
    with closing(sqlite3.connect(tmp_path / "books.db")) as connection:
        yield connection


def test_every_index_answers_a_statement(file: sqlite3.Connection) -> None:
    # What SQLite makes by itself guards what has to be unique.
    made = "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql NOT NULL"
    ours = {name for (name,) in file.execute(made)}
    used = set()
    for text, taken in statements():
        for row in file.execute(f"EXPLAIN QUERY PLAN {text}", taken):
            used |= set(re.findall(r"INDEX (\w+)", row[3]))

    assert ours - used == set()
