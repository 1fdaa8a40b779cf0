"""Values as SQLite keeps them: what is stored, what comes back, what is told when nothing does."""

import hashlib
import json
import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from payplatform._domain.changes import Receipt
from payplatform._domain.declines import Decline, DeclineCode
from payplatform._domain.operations import (
    Initiator,
    OpenOperation,
    OperationKind,
    OperationState,
    StoredCredential,
)
from payplatform._domain.payments import Action, Payment
from payplatform._domain.records import Check, PaymentMethod, Verification
from payplatform.errors import ErrorCode, StorageUnavailable
from payplatform.storage._rows import (
    AUDIT_ENTRIES,
    EVENTS,
    OPERATIONS,
    PAYMENT_METHODS,
    PAYMENTS,
    POSTINGS,
    RECEIPT_COLUMNS,
    RECEIPT_FORMAT,
    RECORDS,
    Layout,
    digester,
    line_of,
    receipt_row,
    stored_time,
    subject_of,
)
from payplatform.storage._schema import migrate
from payplatform.testing._records import (
    EXAMPLES,
    NOW,
    a_method,
    a_payment,
    a_posting,
    an_event,
    an_operation,
    any_of,
)

LAYOUTS = [*RECORDS.values(), EVENTS, POSTINGS, AUDIT_ENTRIES]
EACH_LAYOUT = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.table)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JUNK = "4242 4242 4242 4242"


def read_back(layout: Layout[Any], row: tuple[Any, ...]) -> Any:
    return layout.value_of(row)


def told_by(subject: Any, operation_id: str = "op_1") -> tuple[Any, ...]:
    """The row of a receipt."""
    return receipt_row(Receipt(merchant_id="m", operation_id=operation_id, subject=subject))


def with_digest(table: str, columns: Any, row: Any) -> tuple[Any, ...]:
    """A row of which it cannot be seen that it is not what was written."""
    return (*row[:-1], digester(table, columns[:-1])(row))


@EACH_LAYOUT
@given(data=st.data())
def test_a_value_comes_back_equal_from_plain_items(
    layout: Layout[Any], data: st.DataObject
) -> None:
    kind: Any = layout.kind
    value = data.draw(any_of(kind))
    row = layout.row_of(value)
    assert read_back(layout, row) == value
    assert len(row) == len(layout.columns)
    assert {type(item) for item in row} <= {str, int, bytes, type(None)}


@given(ANY_TEXT, ANY_TEXT)
def test_any_text_that_is_text_comes_back(name: str, value: str) -> None:
    payment = a_payment("m", reference=value, metadata=((name, value), (value, name)))
    assert read_back(PAYMENTS, PAYMENTS.row_of(payment)) == payment
    assert subject_of(told_by(payment)) == payment


@EACH_LAYOUT
def test_the_schema_has_a_column_for_each_item_of_a_row(layout: Layout[Any]) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    columns = connection.execute(f"PRAGMA table_info({layout.table})").fetchall()
    assert {name for _, name, *_ in columns} == set(layout.columns)
    connection.close()


# -- times -----------------------------------------------------------------------------------------


@given(st.datetimes(timezones=st.timezones()), st.datetimes(timezones=st.timezones()))
def test_times_are_stored_in_their_order_whatever_their_zone(one: datetime, two: datetime) -> None:
    assert (stored_time(one) < stored_time(two)) is (one.astimezone(UTC) < two.astimezone(UTC))


def test_a_time_is_whole_microseconds_of_utc() -> None:
    elsewhere = datetime(1970, 1, 1, 2, 0, 0, 7, tzinfo=timezone(timedelta(hours=2)))
    assert stored_time(elsewhere) == 7
    assert stored_time(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == -1


def test_a_time_without_a_zone_is_refused_before_anything_is_stored() -> None:
    with pytest.raises(TypeError):
        PAYMENTS.row_of(a_payment("m", created_at=datetime(2026, 1, 1)))  # noqa: DTZ001  # the point


# -- metadata --------------------------------------------------------------------------------------

MARKS = st.text('ab,[]"\\\n\t\x00\x01', max_size=4)


@given(st.lists(st.tuples(MARKS, MARKS), max_size=4), st.tuples(MARKS, MARKS))
def test_a_pair_is_found_in_the_stored_text_exactly_when_it_is_there(
    pairs: list[tuple[str, str]], wanted: tuple[str, str]
) -> None:
    stored = PAYMENTS.row_of(a_payment("m", metadata=tuple(pairs)))
    text = stored[PAYMENTS.columns.index("metadata")]
    assert (line_of(wanted) in text) is (wanted in pairs)
    assert all(line_of(pair) in text for pair in pairs)


# -- what cannot be read ---------------------------------------------------------------------------


def assert_tells_nothing(error: StorageUnavailable) -> None:
    assert error.code is ErrorCode.STORAGE_CORRUPT
    assert error.__cause__ is None
    assert error.__context__ is None
    told = f"{error!r} {error} {error.args} {vars(error)}"
    assert "4242 4242" not in told


@pytest.mark.parametrize(
    ("layout", "column", "junk"),
    [
        (PAYMENTS, "created_at", JUNK),
        (PAYMENTS, "intent", JUNK),
        (PAYMENTS, "metadata", JUNK),
        (PAYMENTS, "metadata", f'[["{JUNK}"]]'),
        (PAYMENTS, "metadata", f'[["{JUNK}", 5]]'),
        (PAYMENTS, "open_operations", f'[{{"{JUNK}": 1}}]'),
        (PAYMENTS, "open_operations", f'{{"{JUNK}": 1}}'),
        (PAYMENTS, "action", f'{{"type": 5, "url": "{JUNK}", "expires_at": null}}'),
        (PAYMENTS, "action", f'{{"type": "{JUNK}", "url": "x", "expires_at": "{JUNK}"}}'),
        (PAYMENTS, "action", f'{{"type": "x", "url": "x", "expires_at": null, "more": "{JUNK}"}}'),
        (PAYMENTS, "decline", f'{{"code": "{JUNK}", "bank_code": null, "advice_code": null}}'),
        (PAYMENTS, "decline", f'{{"code": "lost_card", "bank_code": "{JUNK}"}}'),
        (PAYMENTS, "expires_at", 10**18),
        (OPERATIONS, "currency", JUNK),
        (OPERATIONS, "amount_minor", JUNK),
        (OPERATIONS, "state", JUNK),
        (OPERATIONS, "stored_credential", "null" + JUNK),
        (PAYMENT_METHODS, "brand", JUNK),
        (PAYMENT_METHODS, "verification", "[" * 100_000),
        (EVENTS, "details", f'"{JUNK}"'),
        (EVENTS, "currency", "XXX"),
        (POSTINGS, "account", JUNK),
    ],
)
def test_a_row_that_is_not_what_was_written_is_named_and_not_shown(
    layout: Layout[Any], column: str, junk: object
) -> None:
    makers = {EVENTS: an_event, POSTINGS: a_posting}
    value = makers.get(layout) or EXAMPLES[layout.kind]
    row = list(layout.row_of(value("m")))
    row[layout.columns.index(column)] = junk
    for damaged in (tuple(row), with_digest(layout.table, layout.columns, row)):
        with pytest.raises(StorageUnavailable) as caught:
            read_back(layout, damaged)
        assert_tells_nothing(caught.value)
        assert layout.table in caught.value.message
        assert "000001" in caught.value.message


# -- receipts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Payment, PaymentMethod])
@given(data=st.data())
def test_a_receipt_comes_back_equal_and_is_json(kind: Any, data: st.DataObject) -> None:
    subject = data.draw(any_of(kind))
    row = told_by(subject)
    assert subject_of(row) == subject
    assert "replayed" not in json.loads(row[4])


@pytest.mark.parametrize(
    ("name", "receipt_format", "body"),
    [
        ("payment", RECEIPT_FORMAT + 1, told_by(a_payment("m"))[4]),
        ("payment_method", RECEIPT_FORMAT, told_by(a_payment("m"))[4]),
        (JUNK, RECEIPT_FORMAT, b"{}"),
        ("payment", RECEIPT_FORMAT, JUNK.encode()),
        ("payment", RECEIPT_FORMAT, b"\xff"),
        ("payment_method", RECEIPT_FORMAT, told_by(a_method("m"))[4].replace(b"AAAA", b"!!!!")),
    ],
)
def test_a_receipt_that_cannot_be_read_is_named_and_not_shown(
    name: str, receipt_format: int, body: bytes
) -> None:
    row = ("m", "op_1", name, receipt_format, body, bytes(32))
    for damaged in (row, with_digest("receipts", RECEIPT_COLUMNS, row)):
        with pytest.raises(StorageUnavailable) as caught:
            subject_of(damaged)
        assert_tells_nothing(caught.value)
        assert "op_1" in caught.value.message


# -- the stored form is not ours to change ---------------------------------------------------------
# Files of earlier releases hold it. Where one of these tests must change, a migration is missing.

OPEN = OpenOperation(
    id="op_2", kind=OperationKind.CAPTURE, state=OperationState.IN_FLIGHT, amount_minor=5
)
DECLINE = Decline(code=DeclineCode.LOST_CARD, bank_code="41")


def test_the_stored_form_of_a_payment() -> None:
    payment = a_payment(
        "m",
        metadata=(("a", "é"), ("b", '"')),
        open_operations=(OPEN,),
        action=Action(type="redirect", url="https://bank.example/3ds", expires_at=NOW),
        decline=DECLINE,
    )
    assert dict(zip(PAYMENTS.columns, PAYMENTS.row_of(payment), strict=True)) == {
        "id": "pay_00000000000000000000000001",
        "merchant_id": "m",
        "version": 1,
        "currency": "EUR",
        "intent": "authorize",
        "payment_method_id": "pm_00000000000000000000000001",
        "customer_id": "cus_00000000000000000000000001",
        "brand": "visa",
        "last4": "4242",
        "card_country": None,
        "initiator": "customer",
        "reference": "order-1001",
        "metadata": '[\n["a","é"]\n,\n["b","\\""]\n]',
        "open_operations": '[{"id":"op_2","kind":"capture","state":"in_flight",'
        '"amount_minor":5,"final":false}]',
        "latest_operation_id": None,
        "authorization_id": None,
        "expires_at": None,
        "action": '{"type":"redirect","url":"https://bank.example/3ds",'
        '"expires_at":1772368200123456}',
        "decline": '{"code":"lost_card","bank_code":"41","advice_code":null}',
        "created_at": 1772368200123456,
        "updated_at": 1772368200123456,
        "requested": 1999,
        "authorized": 1999,
        "captured": 0,
        "voided": 0,
        "expired": 0,
        "refunded": 0,
        "disputed": 0,
        "fees": None,
        "settled": None,
        "acquirer_fees": None,
        "dispute_lost": None,
        "reserved": None,
        "paid_out": None,
        "suspended": None,
        "status": "processing",
        "lapses_at": None,
        "row_digest": bytes.fromhex(
            "2ab901ecbefe7eb08a407de01411d5ae8d6ac20cf67fabb0a266d8a447b31ef6"
        ),
    }


def test_the_stored_form_of_an_operation() -> None:
    credential = StoredCredential(initiator=Initiator.MERCHANT, first_use=False)
    operation = an_operation("m", final=True, stored_credential=credential, decline=DECLINE)
    row = dict(zip(OPERATIONS.columns, OPERATIONS.row_of(operation), strict=True))
    assert row["stored_credential"] == (
        '{"initiator":"merchant","first_use":false,"network_transaction_id":null}'
    )
    assert (row["state"], row["final"], row["epoch"]) == ("in_flight", 1, 1)
    assert (row["amount_minor"], row["currency"]) == (1999, "EUR")
    assert row["fingerprint"] == bytes(31) + b"\x01"


def test_the_stored_form_of_a_payment_method() -> None:
    verification = Verification(succeeded=True, checked_at=NOW, security_code=Check.MATCH)
    row = PAYMENT_METHODS.row_of(a_method("m", verification=verification))
    assert row[PAYMENT_METHODS.columns.index("verification")] == (
        '{"succeeded":true,"checked_at":1772368200123456,"security_code":"match",'
        '"postal_code":"not_checked","decline":null}'
    )


def test_the_stored_form_of_an_event() -> None:
    row = dict(zip(EVENTS.columns, EVENTS.row_of(an_event("m")), strict=True))
    assert (row["amount_minor"], row["currency"], row["change_authorized"]) == (1999, "EUR", 1999)
    assert row["details"] == '[\n["reason","said so"]\n]'
    empty = EVENTS.row_of(evolve(an_event("m"), amount=None, details=()))
    assert dict(zip(EVENTS.columns, empty, strict=True))["details"] == "[]"


def test_what_came_to_the_books_later_leaves_the_digests_of_older_rows_as_they_were() -> None:
    """These two were made by the release before settlement and payouts."""
    assert EVENTS.row_of(an_event("m"))[-1].hex() == (
        "343206a1ca0502ce80449b6dcf2a3b31c1512d5bf1cff8a3706b7d7ba9356d30"
    )
    assert POSTINGS.row_of(a_posting("m"))[-1].hex() == (
        "ca010c402b8046fa251d81c8f1499ff0ccef63ba5ddeac86f4061dc8a0823db3"
    )


def test_the_stored_form_of_a_receipt() -> None:
    _, _, name, receipt_format, body, _ = told_by(a_method("m", 1, open_operations=(OPEN,)))
    assert (name, receipt_format) == ("payment_method", 4)
    assert body.decode() == (
        '{"id":"pm_00000000000000000000000001","merchant_id":"m","version":1,'
        '"token":"tok_00000000000000000000000001","customer_id":"cus_00000000000000000000000001",'
        '"brand":"visa","bin":"424242","last4":"4242","expiry_month":12,"expiry_year":2030,'
        '"fingerprint":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=","fingerprint_version":null,'
        '"network_transaction_id":null,"verification":null,'
        '"open_operations":[{"id":"op_2","kind":"capture","state":"in_flight","amount_minor":5,'
        '"final":false}],"created_at":1772368200123456,"updated_at":1772368200123456,'
        '"deleted_at":null,"allowed_again_at":null}'
    )


@pytest.mark.parametrize(
    ("older_format", "unknown"),
    [
        (1, (b'"fingerprint_version":null,', b',"allowed_again_at":null')),
        (2, (b',"allowed_again_at":null',)),
    ],
)
def test_a_receipt_of_an_older_format_is_still_read(
    older_format: int, unknown: tuple[bytes, ...]
) -> None:
    """First a fingerprint had no version, then no card could be allowed again."""
    row = list(told_by(a_method("m")))
    row[3] = older_format
    for part in unknown:
        assert part in row[4]
        row[4] = row[4].replace(part, b"")
    assert subject_of(with_digest("receipts", RECEIPT_COLUMNS, row)) == a_method("m")


def test_the_digest_of_a_row_is_not_changed_by_a_column_that_it_does_not_use() -> None:
    """So a later schema may add one, and what is linked stays as it is."""
    row = PAYMENTS.row_of(a_payment("m"))
    later = digester("payments", (*PAYMENTS.columns[:-1], "column_of_tomorrow"))
    assert later((*row[:-1], None)) == row[-1]
    assert later((*row[:-1], "")) != row[-1]


@EACH_LAYOUT
@given(data=st.data())
def test_no_item_of_a_row_can_change_without_its_digest(
    layout: Layout[Any], data: st.DataObject
) -> None:
    kind: Any = layout.kind
    one, other = (layout.row_of(data.draw(any_of(kind))) for _ in range(2))
    at = data.draw(st.integers(0, len(one) - 2))
    mixed = (*one[:at], other[at], *one[at + 1 :])
    assert layout.is_as_written(mixed) is (one[at] == other[at])


@given(
    st.dictionaries(
        st.text(),
        st.none() | st.text() | st.integers() | st.binary() | st.booleans() | st.floats(),
        min_size=2,
    )
)
def test_the_digest_of_a_row_is_that_of_plain_json(row: dict[str, Any]) -> None:
    """Anybody can make it anew, with no more than this."""
    named = {name: row[name] for name in sorted(row) if row[name] is not None}
    told = json.dumps(["t", named], separators=(",", ":"), default=lambda data: {"hex": data.hex()})
    assert digester("t", list(row))(list(row.values())) == hashlib.sha256(told.encode()).digest()
