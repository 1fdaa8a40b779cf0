"""Every SQL statement there is, but for those that set up a connection, make the schema, or check.

Law of this file: a statement is put together from the names in our own layouts and nothing else;
every value is bound. So each is written once, and prepared once for each connection.
"""

# ruff: noqa: S608  # as said above: no value is ever part of a statement's text

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from attrs import evolve, frozen

from payplatform._domain.ledger import PlaceInBooks
from payplatform._domain.operations import FINAL_STATES, OperationState
from payplatform.ports import EXACTLY, Filter, LineFilter
from payplatform.storage._rows import (
    ARCHIVED,
    ARCHIVED_LINKS,
    AUDIT_ENTRIES,
    DISPUTES,
    EVENTS,
    MERCHANTS,
    NOTICES,
    OPERATIONS,
    PAYMENT_METHODS,
    PAYMENTS,
    PAYOUT_PLANS,
    POSTINGS,
    RECEIPT_COLUMNS,
    RECORDS,
    Layout,
    Row,
    line_of,
    stored_time,
)


def _insert(layout: Layout[Any]) -> str:
    places = ", ".join("?" * len(layout.columns))
    return f"INSERT INTO {layout.table} ({', '.join(layout.columns)}) VALUES ({places})"


def _select(layout: Layout[Any]) -> str:
    """The columns of a layout; for payments, after them, the number of the latest event."""
    latest = ", " + _LATEST_EVENT if layout is PAYMENTS else ""
    return f"SELECT {', '.join(layout.columns)}{latest} FROM {layout.table}"


_THEIRS: Final = "merchant_id = payments.merchant_id AND subject_id = payments.id"
# Every version of a payment has an event. A row that lies behind was put back from another time.
# What is archived is older than what is here, and is asked for only where nothing is here.
_LATEST_EVENT: Final = (
    f"coalesce((SELECT max(number) FROM events AS e WHERE e.{_THEIRS}),"
    f" (SELECT max(last) FROM archived AS e WHERE e.{_THEIRS}))"
)


# -- of each kind of record ------------------------------------------------------------------------


@frozen(kw_only=True)
class ForRecords:
    """What is done with one kind of record.

    Attributes:
        get: takes merchant and id.
        keys: merchant and id of the next so many; takes those that they come after.
        insert: takes a row.
        update: takes the changing part of a row; then merchant, id and version of what it replaces.
        delete: takes merchant, id and version.
        stands: the same; gives a row if that version is there.
    """

    get: str
    keys: str
    count: str
    insert: str
    update: str
    delete: str
    stands: str


def _for_records(layout: Layout[Any]) -> ForRecords:
    changed = ", ".join(f"{column} = ?" for column in layout.changing)
    one = "WHERE merchant_id = ? AND id = ?"
    one_version = f"{one} AND {layout.guard} = ?"
    return ForRecords(
        get=f"{_select(layout)} {one}",
        keys=f"SELECT merchant_id, id FROM {layout.table}"
        " WHERE (merchant_id, id) > (?, ?) ORDER BY merchant_id, id LIMIT ?",
        count=f"SELECT count(*) FROM {layout.table}",
        insert=_insert(layout),
        update=f"UPDATE {layout.table} SET {changed} {one_version}",
        delete=f"DELETE FROM {layout.table} {one_version}",
        stands=f"SELECT 1 FROM {layout.table} {one_version}",
    )


OF: Final[Mapping[type, ForRecords]] = MappingProxyType(
    {kind: _for_records(layout) for kind, layout in RECORDS.items()}
)

# -- of what is only added -------------------------------------------------------------------------

ADD_EVENT: Final = _insert(EVENTS)
ADD_POSTING: Final = _insert(POSTINGS)
ADD_TO_OUTBOX: Final = (
    "INSERT INTO outbox (event_id, merchant_id, subject_id, number) VALUES (?, ?, ?, ?)"
)
TAKE_FROM_OUTBOX: Final = "DELETE FROM outbox WHERE event_id = ?"
KEEP_RECEIPT: Final = (
    f"INSERT INTO receipts ({', '.join(RECEIPT_COLUMNS)})"
    f" VALUES ({', '.join('?' * len(RECEIPT_COLUMNS))})"
    " ON CONFLICT (merchant_id, operation_id) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in RECEIPT_COLUMNS[2:])
)
ADD_AUDIT_ENTRY: Final = _insert(AUDIT_ENTRIES)
ADD_LINK: Final = (
    "INSERT INTO links (merchant_id, chain, number, body, digest) VALUES (?, ?, ?, ?, ?)"
)
KEEP_LINK: Final = f"{ADD_LINK} ON CONFLICT (merchant_id, chain, number) DO NOTHING"
KEEP_HEAD: Final = (
    "INSERT INTO chain_heads (merchant_id, chain, number, digest) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (merchant_id, chain) DO UPDATE"
    " SET number = excluded.number, digest = excluded.digest"
)

# -- of archives -----------------------------------------------------------------------------------

ARCHIVED_OF: Final = f"{_select(ARCHIVED)} WHERE merchant_id = ? AND subject_id = ? ORDER BY last"
NOTES: Final = "SELECT subject_id, first, last, archive FROM archived WHERE merchant_id = ?"
NAME_OF_ARCHIVE: Final = (
    "SELECT name FROM archived JOIN archives ON archives.number = archived.archive"
    " WHERE merchant_id = ? AND subject_id = ? AND ? BETWEEN first AND last"
)
EVENTS_BETWEEN: Final = (
    f"{_select(EVENTS)} WHERE merchant_id = ? AND subject_id = ? AND number BETWEEN ? AND ?"
    " ORDER BY number"
)
UNARCHIVED: Final = (
    f"{_select(PAYMENTS)} WHERE (merchant_id, id) > (?, ?) AND updated_at < ?"
    f" AND EXISTS (SELECT 1 FROM events AS e WHERE e.{_THEIRS})"
    " ORDER BY merchant_id, id LIMIT ?"
)
IN_OUTBOX: Final = "SELECT 1 FROM outbox WHERE event_id = ?"
NOTE_ARCHIVED: Final = _insert(ARCHIVED)
# Lets go of exactly what was copied, and of nothing that came in its place.
LET_GO: Final = (
    "DELETE FROM events WHERE merchant_id = ? AND subject_id = ? AND number = ? AND row_digest = ?"
)
KEEP_EVENT: Final = f"{ADD_EVENT} ON CONFLICT (merchant_id, subject_id, number) DO NOTHING"
ARCHIVES: Final = "SELECT number, stamp, name FROM archives ORDER BY number"
ADD_ARCHIVE: Final = (
    "INSERT INTO archives (number, stamp, name)"
    " SELECT coalesce(max(number), 0) + 1, ?, ? FROM archives WHERE true"
    " ON CONFLICT (stamp) DO UPDATE SET name = excluded.name"
)
STAMP: Final = "SELECT stamp FROM archives WHERE number = 0"
# Nothing that holds anything becomes an archive.
MAKE_ARCHIVE: Final = (
    "INSERT INTO archives (number, stamp, name) SELECT 0, ?, ''"
    " WHERE NOT EXISTS (SELECT 1 FROM archives) AND NOT EXISTS (SELECT 1 FROM chain_heads)"
)
IS_IN_USE: Final = "SELECT 1 WHERE EXISTS (SELECT 1 FROM events) OR EXISTS (SELECT 1 FROM links)"
LINK_NOTES: Final = (
    "SELECT first, last, digest, archive FROM archived_links WHERE merchant_id = ? AND chain = ?"
    " ORDER BY last"
)
NOTE_ARCHIVED_LINKS: Final = _insert(ARCHIVED_LINKS)
LET_GO_OF_LINK: Final = (
    "DELETE FROM links WHERE merchant_id = ? AND chain = ? AND number = ? AND digest = ?"
)
LINKS_BETWEEN: Final = (
    "SELECT merchant_id, chain, number, body, digest FROM links WHERE merchant_id = ?"
    " AND chain = ? AND number BETWEEN ? AND ? ORDER BY number"
)
OLDEST_LINK: Final = "SELECT min(number) FROM links WHERE merchant_id = ? AND chain = ?"
TIME_OF_EVENT: Final = (
    "SELECT at FROM events WHERE merchant_id = ? AND subject_id = ? AND number = ?"
)
TIME_OF_AUDIT_ENTRY: Final = "SELECT at FROM audit_entries WHERE merchant_id = ? AND id = ?"

# -- reads, each by an index -----------------------------------------------------------------------

OPERATION_WITH_KEY: Final = f"{_select(OPERATIONS)} WHERE merchant_id = ? AND idempotency_key = ?"
RECEIPT: Final = (
    f"SELECT {', '.join(RECEIPT_COLUMNS)} FROM receipts WHERE merchant_id = ? AND operation_id = ?"
)
NEWEST_AUDIT_ENTRIES: Final = (
    f"{_select(AUDIT_ENTRIES)} WHERE merchant_id = ? ORDER BY id DESC LIMIT ?"
)
AUDIT_ENTRIES_BEFORE: Final = (
    f"{_select(AUDIT_ENTRIES)} WHERE merchant_id = ? AND id < ? ORDER BY id DESC LIMIT ?"
)
KEY_CHECK: Final = "SELECT digest FROM chain_heads WHERE merchant_id = '' AND chain = 'key'"
KEEP_KEY_CHECK: Final = (
    "INSERT INTO chain_heads (merchant_id, chain, number, digest)"
    " SELECT '', 'key', 1, ? WHERE NOT EXISTS (SELECT 1 FROM links)"
    " ON CONFLICT (merchant_id, chain) DO NOTHING"
)
HEAD: Final = "SELECT number, digest FROM chain_heads WHERE merchant_id = ? AND chain = ?"
LINKS: Final = (
    "SELECT number, body, digest FROM links WHERE merchant_id = ? AND chain = ? ORDER BY number"
)
EVENTS_OF: Final = f"{_select(EVENTS)} WHERE merchant_id = ? AND subject_id = ? ORDER BY number"
POSTINGS_OF: Final = (
    f"{_select(POSTINGS)} WHERE merchant_id = ? AND subject_id = ? ORDER BY event_number, line"
)
# Two halves of 32 bits: what amounts add up to may be larger than a column can hold.
_TOTALS: Final = (
    "SELECT currency, account, SUM(amount_minor >> 32), SUM(amount_minor & 4294967295)"
    " FROM postings WHERE merchant_id = ?{} GROUP BY currency, account"
)
TOTALS: Final = _TOTALS.format("")
TOTALS_AT: Final = _TOTALS.format(" AND at <= ?")
# A merchant is its own merchant, and it is the latter's order that the primary key has.
NEWEST_MERCHANTS: Final = f"{_select(MERCHANTS)} ORDER BY merchant_id DESC LIMIT ?"
MERCHANTS_BEFORE: Final = (
    f"{_select(MERCHANTS)} WHERE merchant_id < ? ORDER BY merchant_id DESC LIMIT ?"
)
DUE_OPERATIONS: Final = (
    f"{_select(OPERATIONS)} WHERE next_try_at <= ? ORDER BY next_try_at, id LIMIT ?"
)
LAPSED_PAYMENTS: Final = f"{_select(PAYMENTS)} WHERE lapses_at <= ? ORDER BY lapses_at, id LIMIT ?"
DUE_NOTICES: Final = f"{_select(NOTICES)} WHERE next_try_at <= ? ORDER BY next_try_at, id LIMIT ?"
DUE_DISPUTES: Final = (
    f"{_select(DISPUTES)} WHERE next_look_at <= ? ORDER BY next_look_at, id LIMIT ?"
)
# A plan's id is its currency: of two merchants' it is the same.
DUE_PAYOUTS: Final = (
    f"{_select(PAYOUT_PLANS)} WHERE next_at <= ? ORDER BY next_at, id, merchant_id LIMIT ?"
)
OUTBOX: Final = (
    f"SELECT {', '.join(f'events.{column}' for column in EVENTS.columns)}"
    " FROM outbox JOIN events ON events.merchant_id = outbox.merchant_id"
    " AND events.subject_id = outbox.subject_id AND events.number = outbox.number"
    " ORDER BY outbox.position LIMIT ?"
)


def all_of(table: str, columns: Sequence[str]) -> str:
    """Takes a merchant; gives its rows of a table in any order."""
    return f"SELECT {', '.join(columns)} FROM {table} WHERE merchant_id = ?"


def ledger(
    merchant_id: str, where: LineFilter, after: PlaceInBooks | None, limit: int
) -> tuple[str, Row]:
    """A page of the books, and what it takes.

    What one subject has is found by its subject, and then put in order. To SQLite the index in the
    order of time looks cheaper, for it knows not how few lines a subject has: `+` hides it.
    """
    at = "at" if where.subject_id is None else "+at"
    tests, taken = ["merchant_id = ?"], [merchant_id]
    for condition in _line_conditions(where, after, at):
        tests.append(condition.sql)
        taken.extend(condition.parameters)
    statement = (
        f"{_select(POSTINGS)} WHERE {' AND '.join(tests)}"
        f" ORDER BY {at}, subject_id, event_number, line LIMIT ?"
    )
    return statement, (*taken, limit)


def _line_conditions(
    where: LineFilter, after: PlaceInBooks | None, at: str
) -> Iterator[_Condition]:
    if after is not None:
        place = (stored_time(after.at), *after[1:])
        sql = f"({at}, subject_id, event_number, line) > (?, ?, ?, ?)"
        yield _Condition("at", sql, place)
    if where.account is not None:
        yield _Condition("account", "account = ?", (str(where.account),))
    if where.subject_id is not None:
        yield _Condition("subject_id", "subject_id = ?", (where.subject_id,))
    if where.since is not None:
        yield _Condition("at", f"{at} >= ?", (stored_time(where.since),))
    if where.until is not None:
        yield _Condition("at", f"{at} < ?", (stored_time(where.until),))


def payment_method_with(fingerprints: int) -> str:
    """Takes merchant, customer, and so many fingerprints."""
    places = ", ".join("?" * fingerprints)
    return (
        f"{_select(PAYMENT_METHODS)}"
        f" WHERE merchant_id = ? AND customer_id = ? AND fingerprint IN ({places})"
    )


# -- pages -----------------------------------------------------------------------------------------

# In the words of the indexes on operations: only then does SQLite see that the index will do.
_IS_OPEN: Final = "state NOT IN ('succeeded', 'declined', 'aborted', 'reversed')"
_IS_DECLINED: Final = "state = 'declined'"


@frozen
class _Condition:
    column: str
    sql: str
    parameters: Row


def page(
    layout: Layout[Any], merchant_id: str, where: Filter, before: str | None, limit: int
) -> tuple[str, Row] | None:
    """A page's statement and what it takes; None where nothing of this kind can match.

    What lacks the column does not meet the condition. What no index knows of (time, metadata) is
    looked for from the newest record down, until the page is full.
    """
    selects: list[str] = []
    taken: list[Any] = []
    for one in _apart(layout, where):
        matching = _matching(layout, merchant_id, one, before)
        if matching is None:
            return None
        selects.append(f"{_select(layout)} WHERE {matching[0]}")
        taken.extend(matching[1])
    return f"{' UNION ALL '.join(selects)} ORDER BY id DESC LIMIT ?", (*taken, limit)


def _apart(layout: Layout[Any], where: Filter) -> Sequence[Filter]:
    """The filter as one for each of its statuses: an index has the payments of each in order.

    SQLite merges what they find, and reads no further than the page goes. For several at once it
    would go through all payments.
    """
    statuses = sorted(where.statuses) if layout is PAYMENTS else ()
    return [evolve(where, statuses=frozenset({each})) for each in statuses] or [where]


def count_of(layout: Layout[Any], merchant_id: str, where: Filter) -> tuple[str, Row] | None:
    """The statement that counts what matches, and what it takes; None where nothing can match."""
    matching = _matching(layout, merchant_id, where, None)
    if matching is None:
        return None
    tests, taken = matching
    return f"SELECT count(*) FROM {layout.table} WHERE {tests}", taken


def _matching(
    layout: Layout[Any], merchant_id: str, where: Filter, before: str | None
) -> tuple[str, Row] | None:
    conditions = list(_conditions(where, before))
    if any(condition.column not in layout.columns for condition in conditions):
        return None
    tests = " AND ".join(("merchant_id = ?", *(condition.sql for condition in conditions)))
    taken = (item for condition in conditions for item in condition.parameters)
    return tests, (merchant_id, *taken)


def _conditions(where: Filter, before: str | None) -> Iterator[_Condition]:
    if before is not None:
        yield _Condition("id", "id < ?", (before,))
    for column in EXACTLY:
        wanted = getattr(where, column)
        if wanted is not None:
            yield _Condition(column, f"{column} = ?", (wanted,))
    if where.statuses:
        yield _among("status", where.statuses)
    if where.states:
        yield _among("state", where.states)
        yield from _by_index(where.states)
    if where.created_from is not None:
        yield _Condition("created_at", "created_at >= ?", (stored_time(where.created_from),))
    if where.created_before is not None:
        yield _Condition("created_at", "created_at < ?", (stored_time(where.created_before),))
    for pair in where.metadata:
        yield _Condition("metadata", "instr(metadata, ?)", (line_of(pair),))


def _by_index(states: frozenset[str]) -> Iterator[_Condition]:
    if not states & FINAL_STATES:
        yield _Condition("state", _IS_OPEN, ())
    if states == {OperationState.DECLINED}:
        yield _Condition("state", _IS_DECLINED, ())


def _among(column: str, wanted: frozenset[Any]) -> _Condition:
    places = ", ".join("?" * len(wanted))
    return _Condition(column, f"{column} IN ({places})", tuple(map(str, sorted(wanted))))
