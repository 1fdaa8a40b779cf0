"""`doctor()` names what is broken: each rule is broken once, behind the platform's back.

How: a story with a verification, a capture, a refund that pends, and a declined sale is told on a
file. Then something is changed where it lies, with every wall of the schema taken down, and the
doctor must name the row, the rule and what may have been at work.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from between import watched
from sealed_again import seal_again
from till import NO_FUNDS, REFUND_PENDS_THEN_SUCCEEDS, Till, eur

from payplatform import ErrorCode, InvalidRequest, StorageUnavailable
from payplatform._domain.invariants import CAUSES
from payplatform._domain.records import Customer


class Patient:
    """A till with a story, and a way to change what it has stored that no caller has."""

    def __init__(self, file: Path | None) -> None:
        self.till = till = Till(file)
        self.names = {"nothing": "nothing", "file": "", "merchant": till.merchant_id}
        self.names["customer"] = till.customer()
        method = till.card(REFUND_PENDS_THEN_SUCCEEDS, customer=self.names["customer"])
        till.shop.payment_methods.verify(method.id, idempotency_key="verify")
        held = till.held("100", payment_method=method.id, idempotency_key="authorize")
        till.shop.payments.capture(held.id, eur("60"), idempotency_key="capture")
        till.shop.payments.refund(held.id, eur("10"), idempotency_key="refund")
        declined = till.sold("7", number=NO_FUNDS, idempotency_key="sale")
        self.names |= {
            "method": method.id,
            "token": method.token,
            "payment": held.id,
            "declined": declined.id,
        }
        self.names["entry"] = next(till.shop.audit.entries()).id
        for key in ("verify", "authorize", "capture", "refund", "sale"):
            operation = till.shop.operations.find(idempotency_key=key)
            assert operation is not None
            self.names[key] = operation.id

    def sql(self, *statements: str) -> None:
        """Run statements on the file, with every wall of the schema taken down first.

        Each row then has the digest of what it holds: what is planted is a fault of a writer.
        """
        with closing(sqlite3.connect(str(self.till.file))) as database:
            database.execute("PRAGMA ignore_check_constraints = ON")
            triggers = database.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            for (name,) in triggers.fetchall():
                database.execute(f"DROP TRIGGER {name}")
            for statement in statements:
                changed = database.execute(statement, self.names).rowcount
                assert changed, "a plant that changes nothing proves nothing"
            seal_again(database)
            database.commit()


@frozen
class Plant:
    """What is broken: statements on the file, the rule, and each row that must be named.

    Attributes:
        record: the name of what the rows belong to.
    """

    rule: str
    rows: tuple[str, ...]
    statements: tuple[str, ...]
    record: str = "payment"


def plant(rule: str, *rows: str, by: str | tuple[str, ...], record: str = "payment") -> Plant:
    return Plant(rule, rows, (by,) if isinstance(by, str) else by, record)


_OPEN_LIST = (
    "UPDATE payments SET open_operations = (SELECT json_group_array(json_object('id', id,"
    " 'kind', kind, 'state', state, 'amount_minor', amount_minor, 'final', json('false')))"
    " FROM operations WHERE subject_id = :payment AND state = 'pending') WHERE id = :payment"
)

_CENT = (
    "UPDATE postings SET amount_minor = amount_minor {} WHERE subject_id = :payment"
    " AND event_number = {} AND line = {}"
)

A_DISPUTE = (
    "INSERT INTO disputes (id, merchant_id, version, payment_id, operation_id, bank_dispute_id,"
    " state, amount_minor, currency, held_minor, brand, reason_code, told_state, told_at,"
    " created_at, updated_at) SELECT 'dsp_x', merchant_id, 1, {1}, {2}, 'case', '{0}', 1, currency,"
    " 1, brand, '10.4', 'opened', 0, 0, 0 FROM payments WHERE id = :payment"
)
"""A dispute in some state, of some payment, about some operation."""

PLANTS = {
    "more captured than authorized": plant(
        "bounds",
        "payment {payment}",
        by="UPDATE payments SET captured = 10001 WHERE id = :payment",
    ),
    "more refunded than captured": plant(
        "bounds",
        "payment {payment}",
        by="UPDATE payments SET refunded = 6001 WHERE id = :payment",
    ),
    "a negative amount": plant(
        "bounds", "payment {payment}", by="UPDATE payments SET expired = -1 WHERE id = :payment"
    ),
    "more let go than authorized": plant(
        "bounds", "payment {payment}", by="UPDATE payments SET voided = 4001 WHERE id = :payment"
    ),
    "more under way than there is": plant(
        "reservations",
        "payment {payment}",
        by=(
            "UPDATE operations SET amount_minor = 6001 WHERE id = :refund",
            _OPEN_LIST,
        ),
    ),
    "an event is missing": plant(
        "events",
        "event 2",
        by="DELETE FROM events WHERE subject_id = :payment AND number = 2",
    ),
    "the latest events are missing": plant(
        "events",
        "events 5 to 6",
        by="DELETE FROM events WHERE subject_id = :payment AND number >= 5",
    ),
    "an event that came after the payment was written": plant(
        "events",
        "event 6",
        by="UPDATE payments SET version = 5 WHERE id = :payment",
    ),
    "an event of a card is missing": plant(
        "events",
        "event 1",
        by="DELETE FROM events WHERE subject_id = :method AND number = 1",
        record="method",
    ),
    "an event of a type that nobody knows": plant(
        "events",
        "event 2",
        by="UPDATE events SET type = 'payment.sung' WHERE subject_id = :payment AND number = 2",
    ),
    "an event was altered": plant(
        "facts",
        "payment {payment}",
        by="UPDATE events SET change_requested = 1 WHERE subject_id = :payment AND number = 2",
    ),
    "amounts that no event made": plant(
        "facts",
        "payment {payment}",
        by="UPDATE payments SET captured = 7000 WHERE id = :payment",
    ),
    "a posting was altered": plant(
        "postings",
        "posting 2.1",
        by="UPDATE postings SET amount_minor = 9999 WHERE subject_id = :payment"
        " AND event_number = 2 AND line = 1",
    ),
    "a cent moved from one event's postings to another's": plant(
        "postings",
        "posting 2.1",
        "posting 4.2",
        by=(
            _CENT.format("+ 1", 2, 1),
            _CENT.format("- 1", 4, 2),
        ),
    ),
    "postings in another currency": plant(
        "postings",
        *("posting 2.1", "posting 2.2", "posting 4.1", "posting 4.4"),
        by="UPDATE postings SET currency = 'USD' WHERE subject_id = :payment",
    ),
    "a posting is missing": plant(
        "postings",
        "posting 4.3",
        by="DELETE FROM postings WHERE subject_id = :payment AND event_number = 4 AND line = 3",
    ),
    "a posting of no event": plant(
        "postings",
        "posting 3.1",
        by="INSERT INTO postings SELECT merchant_id, subject_id, 3, 1, account, amount_minor,"
        " currency, at, NULL FROM postings WHERE subject_id = :payment AND event_number = 2"
        " AND line = 1",
    ),
    "an operation that its payment takes for open": plant(
        "operations",
        "operation {refund}",
        by="UPDATE operations SET state = 'succeeded', next_try_at = NULL WHERE id = :refund",
    ),
    "an operation that its payment does not know of": plant(
        "operations",
        "operation {refund}",
        by="UPDATE payments SET open_operations = '[]' WHERE id = :payment",
    ),
    "an operation that its card does not know of": plant(
        "operations",
        "operation {verify}",
        by="UPDATE operations SET state = 'pending' WHERE id = :verify",
        record="method",
    ),
    "an open operation that nobody will look at": plant(
        "operations",
        "operation {refund}",
        by="UPDATE operations SET next_try_at = NULL WHERE id = :refund",
    ),
    "an operation whose last event says something else": plant(
        "operations",
        "operation {capture}",
        by="UPDATE operations SET state = 'aborted' WHERE id = :capture",
    ),
    "an operation is missing": plant(
        "operations",
        *("event 3", "event 4"),
        by="DELETE FROM operations WHERE id = :capture",
    ),
    "an operation that is declined, and not said why": plant(
        "operation",
        "operation {sale}",
        by="UPDATE operations SET decline = NULL WHERE id = :sale",
        record="declined",
    ),
    "a success with a decline": plant(
        "operation",
        "operation {capture}",
        by="UPDATE operations SET decline = (SELECT decline FROM operations WHERE id = :sale)"
        " WHERE id = :capture",
    ),
    "a final operation that is to be looked at again": plant(
        "operation",
        "operation {capture}",
        by="UPDATE operations SET next_try_at = 1 WHERE id = :capture",
    ),
    "a refund that is final": plant(
        "operation",
        "operation {refund}",
        by="UPDATE operations SET final = 1 WHERE id = :refund",
    ),
    "an operation in another currency": plant(
        "operation",
        "operation {capture}",
        by="UPDATE operations SET currency = 'USD' WHERE id = :capture",
    ),
    "a capture of a card": plant(
        "operation",
        "operation {verify}",
        by="UPDATE operations SET kind = 'capture' WHERE id = :verify",
        record="method",
    ),
    "a receipt is missing": plant(
        "receipts",
        "receipt of {capture}",
        by="DELETE FROM receipts WHERE operation_id = :capture",
    ),
    "a receipt that says captured of a declined sale": plant(
        "receipts",
        "receipt of {sale}",
        by="UPDATE operations SET state = 'succeeded', decline = NULL WHERE id = :sale",
        record="declined",
    ),
    "a receipt of another operation": plant(
        "receipts",
        "receipt of {sale}",
        by="UPDATE receipts SET body = (SELECT body FROM receipts WHERE operation_id = :capture)"
        " WHERE operation_id = :sale",
        record="declined",
    ),
    "a receipt with other amounts than there were": plant(
        "receipts",
        "receipt of {capture}",
        by="UPDATE receipts SET body = CAST(replace(body, '\"captured\":6000', '\"captured\":600')"
        " AS BLOB) WHERE operation_id = :capture",
    ),
    "one key for two operations": plant(
        "keys",
        "operation {capture}",
        by=(
            "DROP INDEX operations_key",
            "UPDATE operations SET idempotency_key = 'authorize' WHERE id = :capture",
        ),
    ),
    "an operation of no payment": plant(
        "references",
        "operation {capture}",
        by="UPDATE operations SET subject_id = :nothing WHERE id = :capture",
        record="nothing",
    ),
    "an event of no payment": plant(
        "references",
        "event 9",
        by="INSERT INTO events SELECT merchant_id, :nothing, 9, 'evt_x', type, at, operation_id,"
        " amount_minor, currency, 0, 0, 0, 0, 0, 0, 0, details, NULL,"
        " NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM events"
        " WHERE subject_id = :payment AND number = 1",
        record="nothing",
    ),
    "a posting of no payment": plant(
        "references",
        "posting 9.1",
        by="INSERT INTO postings SELECT merchant_id, :nothing, 9, line, account, amount_minor,"
        " currency, at, NULL FROM postings WHERE subject_id = :payment AND event_number = 2",
        record="nothing",
    ),
    "a receipt of no operation": plant(
        "references",
        "receipt of {nothing}",
        by="INSERT INTO receipts SELECT merchant_id, :nothing, subject, format, body, NULL"
        " FROM receipts WHERE operation_id = :capture",
        record="nothing",
    ),
    "something in the outbox that is no event": plant(
        "references",
        "outbox 99",
        by="INSERT INTO outbox VALUES (99, 'evt_x', :merchant, :payment, 99)",
    ),
    "a payment by a card that is not there": plant(
        "references",
        "payment {payment}",
        by="UPDATE payments SET payment_method_id = :nothing WHERE id = :payment",
    ),
    "a payment of a customer who is not there": plant(
        "references",
        "payment {payment}",
        by="UPDATE payments SET customer_id = :nothing WHERE id = :payment",
    ),
    "a payment of a merchant who is not there": plant(
        "references",
        "payment {payment}",
        by=(
            "UPDATE payments SET merchant_id = :nothing WHERE id = :payment",
            "UPDATE operations SET merchant_id = :nothing WHERE subject_id = :payment",
            "UPDATE events SET merchant_id = :nothing WHERE subject_id = :payment",
            "UPDATE outbox SET merchant_id = :nothing WHERE subject_id = :payment",
            "UPDATE postings SET merchant_id = :nothing WHERE subject_id = :payment",
            "UPDATE receipts SET merchant_id = :nothing WHERE operation_id = :authorize",
            "UPDATE receipts SET merchant_id = :nothing WHERE operation_id = :capture",
        ),
    ),
    "an authorization that is not there": plant(
        "references",
        "payment {payment}",
        by="UPDATE payments SET authorization_id = :nothing WHERE id = :payment",
    ),
    "a capture of nothing": plant(
        "references",
        "operation {capture}",
        by="UPDATE operations SET target_id = :nothing WHERE id = :capture",
    ),
    "a card of a customer who is not there": plant(
        "references",
        "payment method {method}",
        by="UPDATE payment_methods SET customer_id = :nothing WHERE id = :method",
        record="method",
    ),
    "a default card that is not there": plant(
        "references",
        "customer {customer}",
        by="UPDATE customers SET default_payment_method_id = :nothing WHERE id = :customer",
        record="customer",
    ),
    "a default card that is somebody else's": plant(
        "references",
        "customer {customer}",
        by="UPDATE customers SET default_payment_method_id = (SELECT payment_method_id"
        " FROM payments WHERE id = :declined) WHERE id = :customer",
        record="customer",
    ),
    "a card without its sealed record": plant(
        "vault",
        "payment method {method}",
        by="DELETE FROM sealed_cards WHERE id = :token",
        record="method",
    ),
    "a deleted card that is still sealed there": plant(
        "vault",
        "payment method {method}",
        by="UPDATE payment_methods SET deleted_at = 1 WHERE id = :method",
        record="method",
    ),
    "a sealed card of no card": plant(
        "vault",
        "sealed card {nothing}",
        by="INSERT INTO sealed_cards SELECT :nothing, merchant_id, version, key_version, number,"
        " details, row_digest FROM sealed_cards WHERE id = :token",
        record="nothing",
    ),
    "a merchant without keys": plant(
        "vault",
        "merchant {merchant}",
        by="DELETE FROM wrapped_keys WHERE purpose = 'dek'",
        record="merchant",
    ),
    "a key of no merchant": plant(
        "vault",
        "wrapped key dek_1",
        by="INSERT INTO wrapped_keys SELECT 'dek_1', :nothing, version, purpose, key_version,"
        " wrapped, created_at, wrapped_by, wrapped_at, retired_at, row_digest"
        " FROM wrapped_keys LIMIT 1",
        record="nothing",
    ),
    "an entry of the audit trail that is missing": plant(
        "chain",
        "audit audit_entries {entry}",
        by="DELETE FROM audit_entries WHERE id = :entry",
        record="merchant",
    ),
    "a payment that follows from its events, and is not what was committed": plant(
        "chain",
        "journal payments {payment}",
        by="UPDATE payments SET reference = 'another' WHERE id = :payment",
        record="merchant",
    ),
    "a dispute that its payment does not know of": plant(
        "disputes", "payment {payment}", by=A_DISPUTE.format("opened", ":payment", ":capture")
    ),
    "a dispute that was won and holds something": plant(
        "disputes", "dispute dsp_x", by=A_DISPUTE.format("won", ":payment", ":capture")
    ),
    "a dispute of an operation that is not there": plant(
        "references", "dispute dsp_x", by=A_DISPUTE.format("opened", ":payment", ":nothing")
    ),
    "a dispute of no payment": plant(
        "references",
        "dispute dsp_x",
        by=A_DISPUTE.format("opened", ":nothing", ":capture"),
        record="nothing",
    ),
    "a status that the facts do not lead to": plant(
        "stored_form",
        "payment {payment}",
        by="UPDATE payments SET status = 'refunded' WHERE id = :payment",
    ),
    "a time of lapse that nothing leads to": plant(
        "stored_form",
        "payment {payment}",
        by="UPDATE payments SET lapses_at = 1 WHERE id = :payment",
    ),
    "a payment that is none": plant(
        "unreadable",
        "payment {payment}",
        by="UPDATE payments SET intent = 'gift' WHERE id = :payment",
    ),
    "a payment that is not even text": plant(
        "unreadable",
        "payment {payment}",
        by="UPDATE payments SET reference = CAST(x'ff' AS TEXT) WHERE id = :payment",
    ),
    "an event that is none": plant(
        "unreadable",
        "payment {payment}",
        by="UPDATE events SET details = '7' WHERE subject_id = :payment AND number = 1",
    ),
    "an operation that is none": plant(
        "unreadable",
        "payment {payment}",
        by="UPDATE operations SET state = 'gift' WHERE id = :capture",
    ),
    "a receipt that is none": plant(
        "unreadable",
        "payment {payment}",
        by="UPDATE receipts SET body = x'00' WHERE operation_id = :capture",
    ),
    "a card that is none": plant(
        "unreadable",
        "payment method {method}",
        by="UPDATE payment_methods SET brand = 'bling' WHERE id = :method",
        record="method",
    ),
    "a file with a row that its index lacks": plant(
        "store",
        "file",
        by=(
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_schema SET sql = replace(sql, 'NOT ', '') WHERE name = 'operations_due'",
            "PRAGMA schema_version = 99",
        ),
        record="file",
    ),
}
"""What may have happened to a file, each as the doctor must name it."""


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Patient]:
    patient = Patient(tmp_path / "shop.db")
    yield patient
    patient.till.close()


@pytest.mark.parametrize("name", [None, "shop.db"])
def test_a_healthy_platform_is_told_so(name: str | None, tmp_path: Path) -> None:
    """Whatever it keeps, and with a merchant that was erased."""
    till = Patient(tmp_path / name if name else None).till
    till.pay.merchants.erase(till.pay.merchants.create(name="Gone").id)
    report = till.pay.doctor()

    assert report.findings == ()
    assert report.ok
    assert report.is_complete
    assert (report.merchants, report.customers) == (2, 1)
    assert (report.payment_methods, report.payments) == (2, 2)
    till.close()


@pytest.mark.parametrize("name", PLANTS)
def test_each_broken_rule_is_named_with_its_row_and_a_cause(name: str, patient: Patient) -> None:
    """The doctor looks and changes nothing, and what was not touched is not blamed."""
    plant = PLANTS[name]
    patient.sql(*plant.statements)
    with closing(sqlite3.connect(str(patient.till.file))) as witness:
        commits = witness.execute("PRAGMA data_version").fetchone()
        report = patient.till.pay.doctor()
        assert witness.execute("PRAGMA data_version").fetchone() == commits

    named = {(f.record_id, f.row) for f in report.findings if f.rule == plant.rule}
    rows = {row.format(**patient.names) for row in plant.rows}
    assert {(patient.names[plant.record], row) for row in rows} <= named
    assert not report.ok
    assert report.is_complete
    untouched = patient.names["payment" if plant.record == "declined" else "declined"]
    assert untouched not in {finding.record_id for finding in report.findings}
    for finding in report.findings:
        assert len(finding.text) > 15
        assert finding.cause == CAUSES[finding.rule]
    assert not any(word in repr(report) for word in ("gift", "bling", "sung"))


def test_every_rule_is_broken_above() -> None:
    assert {plant.rule for plant in PLANTS.values()} == set(CAUSES)


def test_what_cannot_be_read_is_named_and_the_rest_is_looked_at(patient: Patient) -> None:
    """By table and id."""
    patient.sql(
        "UPDATE payment_methods SET brand = 'bling' WHERE id = :method",
        "UPDATE events SET details = '7' WHERE subject_id = :payment AND number = 1",
        "UPDATE payments SET requested = 701 WHERE id = :declined",
    )
    report = patient.till.pay.doctor()

    found = {(finding.rule, finding.record_id) for finding in report.findings}
    assert found >= {
        ("unreadable", patient.names["method"]),
        ("unreadable", patient.names["payment"]),
        ("facts", patient.names["declined"]),
    }
    (event,) = (f for f in report.findings if f.record_id == patient.names["payment"])
    assert event.text.startswith("events evt_")


@pytest.mark.parametrize("asked", ["page", "events", "postings", "receipt", "operation_with_key"])
def test_what_is_written_during_the_look_is_not_taken_for_broken(
    asked: str, patient: Patient
) -> None:
    """And what is broken all the same is found all the same."""
    till, payment_id, left = patient.till, patient.names["payment"], list(range(40))

    def refund(*_: object) -> None:
        if left and left.pop():
            till.shop.payments.refund(payment_id, eur("1"), idempotency_key=till.key())

    assert watched(till, asked, refund).doctor().findings == ()
    assert len(left) < 40

    patient.sql("UPDATE payments SET requested = 10001 WHERE id = :payment")
    left[:] = range(5)
    report = watched(till, asked, refund).doctor()
    assert ("facts", payment_id) in {(f.rule, f.record_id) for f in report.findings}


def test_the_doctor_looks_while_threads_write(patient: Patient) -> None:
    till, enough = patient.till, threading.Event()

    def trade() -> None:
        while not enough.is_set():
            method = till.card(customer=patient.names["customer"]).id
            sold = till.sold("9", payment_method=method)
            till.shop.payments.refund(sold.id, eur("4"), idempotency_key=till.key())
            till.shop.payment_methods.delete(method)

    trader = threading.Thread(target=trade)
    trader.start()
    try:
        reports = [till.pay.doctor()]
        while reports[-1].payments < 20 and len(reports) < 1_000:
            reports.append(till.pay.doctor())
    finally:
        enough.set()
        trader.join()
    assert [finding for report in reports for finding in report.findings] == []
    assert reports[-1].payments >= 20


@pytest.mark.parametrize("limit", [1, 3, 1_000])
def test_a_large_file_can_be_looked_at_in_parts(limit: int, patient: Patient) -> None:
    """Together they are the whole; each tells where the next one begins."""
    patient.sql(
        "UPDATE customers SET default_payment_method_id = 'nothing'",
        "UPDATE payments SET requested = 1",
        "INSERT INTO outbox VALUES (99, 'evt_x', :merchant, :payment, 99)",
    )
    whole = patient.till.pay.doctor()
    parts = [patient.till.pay.doctor(limit=limit)]
    while not parts[-1].is_complete:
        parts.append(patient.till.pay.doctor(after=parts[-1].position, limit=limit))

    assert [f for part in parts for f in part.findings] == list(whole.findings)
    for count in ("merchants", "customers", "payment_methods", "payments", "settlements"):
        each = [getattr(part, count) for part in parts]
        assert sum(each) == getattr(whole, count)
        assert max(each) <= limit
    assert len(parts) == -(-6 // limit)


@pytest.mark.parametrize("position", ["", "payments", "payments x", "cards x y", "a b c d", 7])
def test_only_a_position_is_gone_on_from(position: Any) -> None:
    till = Till()
    with pytest.raises(InvalidRequest) as caught:
        till.pay.doctor(after=position)

    assert caught.value.field == "after"
    till.close()


def test_progress_is_told_after_each_record(patient: Patient) -> None:
    """Of how many, unless only a part is looked at."""
    told: list[tuple[int, int | None, str]] = []
    patient.till.pay.doctor(progress=lambda *step: told.append(step))
    kinds = ["merchants", "customers", *["payment_methods"] * 2, *["payments"] * 2]
    assert told == [(done, 6, kind) for done, kind in enumerate(kinds, start=1)]

    told.clear()
    patient.till.pay.doctor(limit=2, progress=lambda *step: told.append(step))
    assert told == [(1, None, "merchants"), (2, None, "customers")]


def test_a_list_that_is_damaged_is_named_and_the_others_are_looked_at(patient: Patient) -> None:
    def fail(kind: type) -> None:
        if kind is Customer:
            raise StorageUnavailable("no", code=ErrorCode.STORAGE_CORRUPT)

    doctor = watched(patient.till, "survey", fail).doctor
    report, parts = doctor(), [doctor(limit=1)]

    (finding,) = report.findings
    assert (finding.rule, finding.row.strip()) == ("unreadable", "customer")
    assert (report.merchants, report.payments) == (1, 2)
    while not parts[-1].is_complete and len(parts) < 10:
        parts.append(doctor(after=parts[-1].position, limit=1))
    assert [part.findings for part in parts if part.findings] == [(finding,)]
    assert sum(part.payments for part in parts) == 2


@pytest.mark.parametrize("asked", ["survey", "events", "self_check"])
def test_a_store_that_does_not_answer_ends_the_run(asked: str, patient: Patient) -> None:
    """Nothing is known then, and nothing is said to be broken."""

    def fail(*_: object) -> None:
        raise StorageUnavailable("no")

    with pytest.raises(StorageUnavailable):
        watched(patient.till, asked, fail).doctor()


def test_the_doctor_sees_every_page(tmp_path: Path) -> None:
    till = Till(tmp_path / "shop.db")
    method = till.card().id
    for _ in range(130):
        till.sold("1", payment_method=method)
    with closing(sqlite3.connect(str(till.file))) as database:
        (newest,) = database.execute("SELECT max(id) FROM payments").fetchone()
        database.execute("UPDATE payments SET requested = 99 WHERE id = ?", (newest,))
        database.commit()

    report = till.pay.doctor()
    assert report.payments == 130
    assert {finding.record_id for finding in report.findings} == {newest, till.merchant_id}
    till.close()
