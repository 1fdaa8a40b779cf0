"""`doctor()` names what is broken: each rule is broken once, behind the platform's back.

How: a story with a capture, a refund and a verification is told on each store. Then one thing is
changed where it lies, in the file or in memory, and the doctor must name the record and the rule.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from till import Till, eur

from payplatform import (
    ErrorCode,
    Operation,
    OperationKind,
    OperationState,
    Payment,
    PaymentMethod,
    StorageUnavailable,
)
from payplatform._domain.operations import OpenOperation
from payplatform._domain.payments import Facts
from payplatform.storage.memory import MemoryStorage


class Patient:
    """A till with a story, and ways to change what it has stored that no caller has."""

    def __init__(self, file: Path | None) -> None:
        self.till = till = Till(file)
        customer = till.customer()
        method = till.card(customer=customer)
        self.method_id = method.id
        till.shop.payment_methods.verify(method.id, idempotency_key=till.key())
        held = till.held("100", payment_method=method.id)
        till.shop.payments.capture(held.id, eur("60"), idempotency_key=till.key())
        payment = till.shop.payments.refund(held.id, eur("10"), idempotency_key=till.key())
        self.payment_id = payment.id
        self.token = method.token

    def sql(self, *statements: str) -> None:
        """Run statements on the file, with every wall of the schema taken down first."""
        with closing(sqlite3.connect(str(self.till.file))) as database:
            database.execute("PRAGMA ignore_check_constraints = ON")
            triggers = database.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            for (name,) in triggers.fetchall():
                database.execute(f"DROP TRIGGER {name}")
            for statement in statements:
                changed = database.execute(
                    statement,
                    {"payment": self.payment_id, "method": self.method_id, "token": self.token},
                )
                assert changed.rowcount > 0, "a plant that changes nothing proves nothing"
            database.commit()

    @property
    def memory(self) -> MemoryStorage:
        assert isinstance(self.till.storage, MemoryStorage)
        return self.till.storage

    def put(self, kind: type, record_id: str, **fields: Any) -> None:
        """Change a record in memory as it lies there."""
        place = (self.till.merchant_id, record_id)
        self.memory._records[kind][place] = evolve(self.memory._records[kind][place], **fields)

    def history(self) -> dict[int, Any]:
        return self.memory._events[self.till.merchant_id, self.payment_id]

    def book(self) -> dict[tuple[int, int], Any]:
        return self.memory._postings[self.till.merchant_id, self.payment_id]

    def payment(self) -> Payment:
        return self.till.shop.payments.get(self.payment_id)

    def operation(self, kind: OperationKind) -> Operation:
        operations = self.till.shop.payments.operations(self.payment_id)
        return next(operation for operation in operations if operation.kind is kind)


Plant = Callable[[Patient], None]


def on_file(*statements: str) -> Plant:
    return lambda patient: patient.sql(*statements)


def in_memory_facts(**amounts: int) -> Plant:
    return lambda patient: patient.put(
        Payment, patient.payment_id, facts=evolve(patient.payment().facts, **amounts)
    )


def without_an_event(patient: Patient) -> None:
    del patient.history()[2]


def an_event_that_changed_more(patient: Patient) -> None:
    patient.history()[2] = evolve(patient.history()[2], change=Facts(requested=1))


def a_posting_of_more(patient: Patient) -> None:
    place = next(iter(patient.book()))
    line = patient.book()[place]
    patient.book()[place] = evolve(line, amount_minor=line.amount_minor + 1)


def a_cent_moved_between_two_events(patient: Patient) -> None:
    holds = sorted(
        place for place, line in patient.book().items() if line.account == "issuer_holds"
    )
    for place, cents in zip(holds, (1, -1), strict=True):
        line = patient.book()[place]
        patient.book()[place] = evolve(line, amount_minor=line.amount_minor + cents)


def postings_in_dollars(patient: Patient) -> None:
    for place, line in list(patient.book().items()):
        patient.book()[place] = evolve(line, currency="USD")


def without_the_refunds_postings(patient: Patient) -> None:
    latest = max(number for number, _ in patient.book())
    for place in [place for place in patient.book() if place[0] == latest]:
        del patient.book()[place]


def more_reserved_than_there_is(patient: Patient) -> None:
    capture = patient.operation(OperationKind.CAPTURE)
    refund = patient.operation(OperationKind.REFUND)
    for operation in (capture, refund):
        patient.put(Operation, operation.id, state=OperationState.PENDING)
    entries = tuple(
        OpenOperation(
            id=operation.id,
            kind=operation.kind,
            state=OperationState.PENDING,
            amount_minor=operation.amount.amount_minor,
        )
        for operation in (capture, refund)
    )
    patient.put(Payment, patient.payment_id, open_operations=entries)


def an_operation_open_again(patient: Patient) -> None:
    patient.put(Operation, patient.operation(OperationKind.REFUND).id, state=OperationState.PENDING)


def a_verification_open_again(patient: Patient) -> None:
    operations = patient.memory._records[Operation].values()
    (verify,) = (o for o in operations if getattr(o, "kind", None) == "verify")
    patient.put(Operation, verify.id, state=OperationState.PENDING)


def without_a_methods_event(patient: Patient) -> None:
    del patient.memory._events[patient.till.merchant_id, patient.method_id][1]


def without_the_sealed_card(patient: Patient) -> None:
    for kind, records in patient.memory._records.items():
        if kind.__name__ == "SealedCard":
            del records[patient.till.merchant_id, patient.token]


def deleted_with_its_card(patient: Patient) -> None:
    patient.put(PaymentMethod, patient.method_id, deleted_at=patient.till.now)


PLANTS: dict[str, tuple[str, str, Plant, Plant]] = {
    "more captured than authorized": (
        "payment",
        "bounds",
        in_memory_facts(captured=10_001),
        on_file("UPDATE payments SET captured = 10001 WHERE id = :payment"),
    ),
    "more refunded than captured": (
        "payment",
        "bounds",
        in_memory_facts(refunded=6_001),
        on_file("UPDATE payments SET refunded = 6001 WHERE id = :payment"),
    ),
    "a negative amount": (
        "payment",
        "bounds",
        in_memory_facts(expired=-1),
        on_file("UPDATE payments SET expired = -1 WHERE id = :payment"),
    ),
    "more let go than authorized": (
        "payment",
        "bounds",
        in_memory_facts(voided=4_001),
        on_file("UPDATE payments SET voided = 4001 WHERE id = :payment"),
    ),
    "more under way than there is": (
        "payment",
        "reservations",
        more_reserved_than_there_is,
        on_file(
            "UPDATE operations SET state = 'pending' WHERE subject_id = :payment"
            " AND kind IN ('capture', 'refund')",
            "UPDATE payments SET open_operations = (SELECT json_group_array(json_object("
            "'id', id, 'kind', kind, 'state', state, 'amount_minor', amount_minor,"
            " 'final', json('false'))) FROM operations WHERE subject_id = :payment"
            " AND state = 'pending') WHERE id = :payment",
        ),
    ),
    "an event is missing": (
        "payment",
        "events",
        without_an_event,
        on_file(
            "DELETE FROM outbox WHERE subject_id = :payment AND number = 2",
            "DELETE FROM events WHERE subject_id = :payment AND number = 2",
        ),
    ),
    "an event of a card is missing": (
        "method",
        "events",
        without_a_methods_event,
        on_file(
            "DELETE FROM outbox WHERE subject_id = :method AND number = 1",
            "DELETE FROM events WHERE subject_id = :method AND number = 1",
        ),
    ),
    "an event was altered": (
        "payment",
        "facts",
        an_event_that_changed_more,
        on_file(
            "UPDATE events SET change_requested = 1 WHERE subject_id = :payment AND number = 2"
        ),
    ),
    "facts that no event made": (
        "payment",
        "facts",
        in_memory_facts(captured=7_000),
        on_file("UPDATE payments SET captured = 7000 WHERE id = :payment"),
    ),
    "a posting was altered": (
        "payment",
        "postings",
        a_posting_of_more,
        on_file(
            "UPDATE postings SET amount_minor = amount_minor + 1"
            " WHERE payment_id = :payment AND line = 1"
        ),
    ),
    "a cent moved from one event's postings to another's": (
        "payment",
        "postings",
        a_cent_moved_between_two_events,
        on_file(
            "UPDATE postings SET amount_minor = amount_minor + 1"
            " WHERE payment_id = :payment AND account = 'issuer_holds' AND event_number = 2",
            "UPDATE postings SET amount_minor = amount_minor - 1"
            " WHERE payment_id = :payment AND account = 'issuer_holds' AND event_number = 4",
        ),
    ),
    "postings in another currency": (
        "payment",
        "postings",
        postings_in_dollars,
        on_file("UPDATE postings SET currency = 'USD' WHERE payment_id = :payment"),
    ),
    "postings are missing": (
        "payment",
        "postings",
        without_the_refunds_postings,
        on_file(
            "DELETE FROM postings WHERE payment_id = :payment AND event_number ="
            " (SELECT max(event_number) FROM postings WHERE payment_id = :payment)"
        ),
    ),
    "an operation that its payment does not know of": (
        "payment",
        "operations",
        an_operation_open_again,
        on_file(
            "UPDATE operations SET state = 'pending'"
            " WHERE subject_id = :payment AND kind = 'refund'"
        ),
    ),
    "an operation that its card does not know of": (
        "method",
        "operations",
        a_verification_open_again,
        on_file("UPDATE operations SET state = 'pending' WHERE subject_id = :method"),
    ),
    "a card without its sealed record": (
        "method",
        "vault",
        without_the_sealed_card,
        on_file("DELETE FROM sealed_cards WHERE id = :token"),
    ),
    "a deleted card that is still sealed there": (
        "method",
        "vault",
        deleted_with_its_card,
        on_file("UPDATE payment_methods SET deleted_at = 1 WHERE id = :method"),
    ),
}
"""What is broken: of which record, which rule, and how it is done on either store."""


@pytest.fixture(params=["memory", "sqlite"])
def patient(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Patient]:
    patient = Patient(None if request.param == "memory" else tmp_path / "shop.db")
    yield patient
    patient.till.close()


def test_a_healthy_platform_is_told_so(patient: Patient) -> None:
    report = patient.till.pay.doctor()

    assert report.ok
    assert report.findings == ()
    assert (report.merchants, report.payments, report.payment_methods) == (1, 1, 1)


@pytest.mark.parametrize("plant", PLANTS)
def test_each_broken_rule_is_named_with_its_record(plant: str, patient: Patient) -> None:
    """The doctor looks and changes nothing."""
    whose, rule, in_memory, in_file = PLANTS[plant]
    (in_memory if patient.till.file is None else in_file)(patient)
    before = patient.till.stored()

    report = patient.till.pay.doctor()

    record_id = patient.payment_id if whose == "payment" else patient.method_id
    assert not report.ok
    assert (record_id, rule) in {(finding.record_id, finding.rule) for finding in report.findings}
    assert {finding.record_id for finding in report.findings} == {record_id}
    assert {finding.merchant_id for finding in report.findings} == {patient.till.merchant_id}
    assert all(len(finding.text) > 15 for finding in report.findings)
    assert patient.till.stored() == before


def test_every_rule_that_can_be_broken_is_broken_above() -> None:
    rules = {(whose, rule) for whose, rule, *_ in PLANTS.values()}

    assert rules == {
        ("payment", "bounds"),
        ("payment", "reservations"),
        ("payment", "events"),
        ("payment", "facts"),
        ("payment", "postings"),
        ("payment", "operations"),
        ("method", "events"),
        ("method", "operations"),
        ("method", "vault"),
    }


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE payments SET open_operations = '[{' WHERE id = :payment",
        "UPDATE payments SET intent = 'gift' WHERE id = :payment",
        "UPDATE events SET details = '7' WHERE subject_id = :payment AND number = 1",
        "UPDATE payment_methods SET brand = 'bling' WHERE id = :method",
    ],
)
def test_a_row_that_is_no_value_is_a_damaged_store(statement: str, tmp_path: Path) -> None:
    """Told as such, by table and id, and nothing of what is in it."""
    patient = Patient(tmp_path / "shop.db")
    patient.sql(statement)
    with pytest.raises(StorageUnavailable) as caught:
        patient.till.pay.doctor()

    assert caught.value.code is ErrorCode.STORAGE_CORRUPT
    assert statement.split()[1] in str(caught.value)
    assert not any(word in str(caught.value) for word in ("gift", "bling", "[{"))
    assert caught.value.__context__ is None
    patient.till.close()


def test_the_doctor_sees_every_merchant_and_page(tmp_path: Path) -> None:
    """Also the erased, and what lies beyond the first page."""
    till = Till(tmp_path / "shop.db")
    method = till.card().id
    for _ in range(130):
        till.sold("1", payment_method=method)
    gone = till.pay.merchants.create(name="Gone").id
    till.pay.merchants.erase(gone)
    report = till.pay.doctor()
    assert (report.merchants, report.payments, report.payment_methods) == (2, 130, 1)

    with closing(sqlite3.connect(str(till.file))) as database:
        (oldest,) = database.execute("SELECT min(id) FROM payments").fetchone()
        database.execute("UPDATE payments SET requested = 99 WHERE id = ?", (oldest,))
        database.commit()

    assert [finding.record_id for finding in till.pay.doctor().findings] == [oldest]
    till.close()
