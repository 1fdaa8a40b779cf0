"""No statement scans or sorts what grows, and every index earns what it costs each write.

How: a store is asked whatever can be asked of it, on connections that remember each statement as it
was put to them; those that are written down and were not asked join them. SQLite then tells of each
how it would find the rows, in a file of many merchants, also once it has counted them.
"""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from itertools import chain, combinations
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import asdict, evolve, frozen

from payplatform import PaymentStatus
from payplatform._domain.audit import Chain
from payplatform._domain.changes import Changes, Receipt
from payplatform._domain.disputes import Dispute, DisputeState
from payplatform._domain.ledger import Account, PlaceInBooks
from payplatform._domain.notices import Notice, NoticeState
from payplatform._domain.operations import Operation, OperationState
from payplatform._domain.payments import Payment
from payplatform._domain.payouts import Payout
from payplatform._domain.records import Merchant, PaymentMethod
from payplatform.ports import Filter, LineFilter
from payplatform.storage import _statements
from payplatform.storage._checks import LOST
from payplatform.storage._rows import RECORDS
from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing._records import (
    EXAMPLES,
    NOW,
    SECOND,
    a_merchant,
    a_payment,
    a_posting,
    an_entry,
    an_event,
    an_id,
)

MERCHANTS = [an_id(Merchant, number) for number in range(1, 21)]
MANY = 48
FEW = 9

CONDITIONS = (
    *({"customer_id": "c"}, {"payment_method_id": "m"}, {"subject_id": "s"}, {"payment_id": "p"}),
    *({"bank_dispute_id": "d"}, {"operation_id": "o"}, {"reference": "r"}, {"key_version": 1}),
    *({"fingerprint_version": 1}, {"card_fingerprint": b"f"}, {"metadata": (("a", "b"),)}),
    *({"created_from": NOW}, {"created_before": NOW}),
    {"statuses": frozenset({PaymentStatus.UNKNOWN})},
    {"statuses": frozenset({PaymentStatus.UNKNOWN, PaymentStatus.CAPTURED})},
)
STATES = {
    Operation: OperationState,
    Payout: OperationState,
    Notice: NoticeState,
    Dispute: DisputeState,
}
LINES = (
    *({"account": Account.FEES}, {"subject_id": "s"}),
    *({"since": NOW}, {"until": NOW}),
)
PLACE = PlaceInBooks(NOW, "pay_1", 1, 1)

BESIDES = re.compile(r"\s*(PRAGMA|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b|.*\bsqlite_schema\b")


class Listening(sqlite3.Connection):
    """A connection that remembers what it was asked."""

    heard: ClassVar[dict[str, Any]] = {}

    def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if not BESIDES.match(statement):
            self.heard.setdefault(statement, parameters)
        return super().execute(statement, parameters)


# -- what there is ---------------------------------------------------------------------------------


def a_record(kind: type, merchant_id: str, number: int) -> Any:
    """An example that shares with two or three others whatever it can be found by."""
    some = f"{number // 3}"
    apart: dict[type, dict[str, Any]] = {
        PaymentMethod: {"customer_id": some},
        Payment: {"customer_id": some, "payment_method_id": some, "reference": some},
        Operation: {
            "subject_id": some,
            "card_fingerprint": bytes([number % 2]),
            "state": list(OperationState)[number % len(OperationState)],
        },
        Notice: {"operation_id": some},
        Dispute: {"payment_id": some},
    }
    return evolve(EXAMPLES[kind](merchant_id, number), **apart.get(kind, {}))


def everything_of(merchant_id: str) -> Changes:
    numbers = range(1, MANY + 1)
    kinds = [kind for kind in EXAMPLES if kind is not Merchant]
    events, postings = [], []
    for number in numbers:
        subject_id = an_id(Payment, number)
        for at in (1, 2):
            id_ = f"{subject_id}.{at}"
            line = a_posting(merchant_id, at, subject_id=subject_id, at=NOW + number * SECOND)
            events.append(an_event(merchant_id, at, id=id_, subject_id=subject_id))
            postings += [line, evolve(line, line=2, account=Account.FEES)]
    return Changes(
        merchant_id=merchant_id,
        records=(
            a_merchant(merchant_id),
            *(a_record(kind, merchant_id, number) for kind in kinds for number in numbers),
        ),
        events=tuple(events),
        postings=tuple(postings),
        receipts=tuple(
            Receipt(
                merchant_id=merchant_id,
                operation_id=an_id(Operation, number),
                subject=a_payment(merchant_id, number),
            )
            for number in numbers
        ),
        audit=tuple(an_entry(merchant_id, number) for number in numbers),
    )


# -- what is asked ---------------------------------------------------------------------------------


def filters(kind: type) -> Iterator[Filter]:
    """Every condition by itself, and any two together."""
    states = list(STATES.get(kind, ()))
    some = [*((state,) for state in states), tuple(states[:2]), tuple(states)]
    by_state = [{"states": frozenset(each)} for each in some if each]
    conditions: list[dict[str, Any]] = [*CONDITIONS, *by_state]
    for several in chain(*(combinations(conditions, many) for many in range(3))):
        yield Filter(**{name: wanted for one in several for name, wanted in one.items()})


def line_filters() -> Iterator[LineFilter]:
    conditions: list[dict[str, Any]] = [*LINES]
    for several in chain(*(combinations(conditions, many) for many in range(len(LINES) + 1))):
        yield LineFilter(**{name: wanted for one in several for name, wanted in one.items()})


def read_all(storage: SQLiteStorage, merchant_id: str) -> None:
    for kind in RECORDS:
        storage.get(merchant_id, kind, "x")
        storage.count(kind)
        storage.survey(kind, limit=FEW)
        # Of merchants there is one with the id of a merchant: nobody asks for a page of it.
        for where in filters(kind) if kind is not Merchant else ():
            storage.count_of(merchant_id, kind, where)
            storage.page(merchant_id, kind, where, limit=FEW)
            storage.page(merchant_id, kind, where, before="x", limit=FEW)
    for lines in line_filters():
        storage.ledger(merchant_id, lines, limit=FEW)
        storage.ledger(merchant_id, lines, after=PLACE, limit=FEW)
    storage.operation_with_key(merchant_id, "k")
    storage.payment_method_with(merchant_id, "c", [b"1", b"2"])
    storage.receipt(merchant_id, "o")
    storage.events(merchant_id, "s")
    storage.postings(merchant_id, "s")
    storage.totals(merchant_id)
    storage.totals(merchant_id, at=NOW)
    storage.merchants(limit=FEW)
    storage.merchants(before="x", limit=FEW)
    storage.audit_entries(merchant_id, limit=FEW)
    storage.audit_entries(merchant_id, before="x", limit=FEW)
    storage.due_operations(NOW, limit=FEW)
    storage.lapsed_payments(NOW, limit=FEW)
    storage.due_notices(NOW, limit=FEW)
    storage.due_disputes(NOW, limit=FEW)
    storage.due_payouts(NOW, limit=FEW)
    storage.outbox(limit=FEW)
    for each in Chain:
        storage.head(merchant_id, each)
        storage.verify(merchant_id, each)
    storage.self_check()


def write_all(storage: SQLiteStorage, merchant_id: str) -> None:
    storage.mark_published(["x"])
    for make in EXAMPLES.values():
        first, second = make(merchant_id), make(merchant_id, version=2)
        told = Receipt(merchant_id=merchant_id, operation_id="o", subject=a_payment(merchant_id))
        storage.commit(Changes(merchant_id=merchant_id, records=(first,)))
        storage.commit(Changes(merchant_id=merchant_id, needed=(first,), receipts=(told,)))
        storage.commit(Changes(merchant_id=merchant_id, records=(second,)))
        storage.commit(Changes(merchant_id=merchant_id, removed=(second,)))


def statements() -> Iterator[str]:
    """Those that are written down, whoever puts them to a file."""
    for of_kind in _statements.OF.values():
        yield from asdict(of_kind).values()
    yield from (lost.query for lost in LOST)
    for name, value in vars(_statements).items():
        if name.isupper() and not name.startswith("_") and isinstance(value, str):
            yield value


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of many merchants, after whatever can be asked of it was asked."""
    path = tmp_path_factory.mktemp("indexes") / "books.db"
    key = bytes(32)
    SQLiteStorage(path, chain_key=key).close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Listening))
        storage = SQLiteStorage(path, chain_key=key)
        for merchant_id in MERCHANTS:
            storage.commit(everything_of(merchant_id))
        read_all(storage, "nobody")
        write_all(storage, an_id(Merchant, MANY))
        storage.close()
    for statement in statements():
        Listening.heard.setdefault(statement, (None,) * statement.count("?"))
    return path


@pytest.fixture(params=["as it is", "counted"])
def books(
    request: pytest.FixtureRequest, file: Path, tmp_path: Path
) -> Iterator[sqlite3.Connection]:
    """A copy of it; once more after SQLite has counted what there is, and plans by that."""
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        with closing(sqlite3.connect(file)) as source:
            source.backup(copy)
        if request.param == "counted":
            copy.execute("ANALYZE")
        yield copy


# -- how it is answered ----------------------------------------------------------------------------

GROWS = re.compile(
    r"SCAN (?!CONSTANT ROW)|TEMP B-TREE|AUTOMATIC|LIST SUBQUERY|MATERIALIZE|CO-ROUTINE"
)


@frozen
class Excuse:
    """Steps that cost more the more there is, the statements that may have them, and why."""

    why: str
    steps: str
    statements: frozenset[str]


EXCUSES = (
    Excuse("a file has few archives", r"SCAN archives", frozenset({_statements.ARCHIVES})),
    Excuse(
        "it stops at the first",
        r"SCAN archives USING COVERING INDEX \w+, SCAN chain_heads",
        frozenset({_statements.MAKE_ARCHIVE}),
    ),
    Excuse(
        "it stops at the first",
        r"SCAN events(, SCAN links.*)?",
        frozenset({_statements.IS_IN_USE}),
    ),
    Excuse(
        "what is asked of all there is looks at each row, once, in the order in which it lies",
        r"SCAN \w+( USING COVERING INDEX \w+)?",
        frozenset(of_kind.count for of_kind in _statements.OF.values())
        | frozenset(lost.query for lost in LOST),
    ),
    Excuse(
        "it comes in the order that is wanted, and stops at as many as are asked for",
        r"SCAN (merchants USING INDEX \w+|outbox)",
        frozenset({_statements.NEWEST_MERCHANTS, _statements.OUTBOX}),
    ),
    Excuse(
        "it stops at the first",
        r"SCAN links USING COVERING INDEX \w+",
        frozenset({_statements.KEEP_KEY_CHECK}),
    ),
    Excuse(
        "what is sorted is found by its subject, and a subject has few lines",
        r"USE TEMP B-TREE FOR ORDER BY",
        frozenset(
            _statements.ledger("m", lines, after, FEW)[0]
            for lines in line_filters()
            for after in (None, PLACE)
            if lines.subject_id is not None
        ),
    ),
)


def plan_of(connection: sqlite3.Connection, statement: str) -> list[str]:
    asked = connection.execute(f"EXPLAIN QUERY PLAN {statement}", Listening.heard[statement])
    return [row[3] for row in asked]


def is_excused(statement: str, steps: list[str]) -> bool:
    excuses = (each for each in EXCUSES if statement in each.statements)
    return any(re.fullmatch(each.steps, ", ".join(steps)) for each in excuses)


def growing(connection: sqlite3.Connection) -> Mapping[str, list[str]]:
    """The steps that cost more the more there is, by the statement that takes them."""
    plans = {statement: plan_of(connection, statement) for statement in Listening.heard}
    steps = {statement: list(filter(GROWS.search, plan)) for statement, plan in plans.items()}
    return {statement: found for statement, found in steps.items() if found}


def test_no_statement_scans_or_sorts_what_grows(books: sqlite3.Connection) -> None:
    found = growing(books)
    assert {each: steps for each, steps in found.items() if not is_excused(each, steps)} == {}


def test_no_excuse_is_out_of_date(books: sqlite3.Connection) -> None:
    excused = frozenset().union(*(each.statements for each in EXCUSES))
    assert excused == growing(books).keys()


def test_the_books_of_one_subject_are_found_by_it(books: sqlite3.Connection) -> None:
    by_subject = EXCUSES[-1].statements
    for statement in by_subject:
        search, _ = plan_of(books, statement)
        assert search.startswith(
            "SEARCH postings USING PRIMARY KEY (merchant_id=? AND subject_id=?"
        )


def test_every_index_answers_a_statement(books: sqlite3.Connection) -> None:
    # What SQLite makes by itself guards what has to be unique.
    made = "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql NOT NULL"
    ours = {name for (name,) in books.execute(made)}
    plans = (step for statement in Listening.heard for step in plan_of(books, statement))
    used = {name for step in plans for name in re.findall(r"INDEX (\w+)", step)}

    assert ours - used == set()
