"""Operations as the merchant sees them: found, listed while unclear, and decided by a person.

How: an operation of each kind is brought to where it needs review, by a bank that answers nothing.
Each outcome that a person may find out is then booked, and the books must show it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import evolve
from between import watched
from till import CHALLENGED, NO_FUNDS, Till, eur

from payplatform import (
    BankUnavailable,
    ErrorCode,
    InvalidRequest,
    NotAllowed,
    NotFound,
    Operation,
    OutcomeUnknown,
    Payment,
    PaymentMethod,
    PayPlatformError,
    Settings,
)
from payplatform._domain.operations import LATE_APPROVALS, Doubt
from payplatform.banks.simulated import FULL_CAPABILITIES, Call, Fault

KEY = "the-call"

Act = Callable[[Till], Payment | PaymentMethod]


def capture(till: Till) -> Payment:
    return till.shop.payments.capture(held_before(till), eur("60"), idempotency_key=KEY)


def final_capture(till: Till) -> Payment:
    payments = till.shop.payments
    return payments.capture(held_before(till), eur("60"), final=True, idempotency_key=KEY)


def void(till: Till) -> Payment:
    return till.shop.payments.void(held_before(till), eur("60"), idempotency_key=KEY)


def increment(till: Till) -> Payment:
    return till.shop.payments.increment(held_before(till), eur("60"), idempotency_key=KEY)


def refund(till: Till) -> Payment:
    return till.shop.payments.refund(sold_before(till), eur("60"), idempotency_key=KEY)


def retry(till: Till) -> Payment:
    (declined,) = till.shop.payments.list(status="declined")
    method = till.card().id
    return till.shop.payments.retry(declined.id, payment_method=method, idempotency_key=KEY)


def verify(till: Till) -> PaymentMethod:
    return till.shop.payment_methods.verify(till.card().id, idempotency_key=KEY)


def held_before(till: Till) -> str:
    return next(iter(till.shop.payments.list(status="authorized"))).id


def sold_before(till: Till) -> str:
    return next(iter(till.shop.payments.list(status="captured"))).id


ACTS: dict[str, tuple[Act, str, dict[str, str]]] = {
    "charge": (
        lambda till: till.sold(idempotency_key=KEY),
        "captured",
        {"authorized": "100", "captured": "100"},
    ),
    "authorize": (
        lambda till: till.held(idempotency_key=KEY),
        "authorized",
        {"authorized": "100"},
    ),
    "capture": (capture, "partially_captured", {"captured": "60"}),
    "final capture": (final_capture, "captured", {"captured": "60", "voided": "40"}),
    "void": (void, "authorized", {"voided": "60"}),
    "increment": (increment, "authorized", {"authorized": "60"}),
    "refund": (refund, "partially_refunded", {"refunded": "60"}),
    "retry": (retry, "captured", {"authorized": "100", "captured": "100"}),
    "verify": (verify, "", {}),
}
"""Each call, what its payment comes to if it succeeded, and what that adds to the facts."""


def in_review(act: Act, file: Path | None = None) -> tuple[Till, Operation, Payment | None]:
    """The call's operation, which a bank that answers nothing has brought to review."""
    till = Till(
        file,
        settings=Settings(recovery_schedule_s=(0,)),
        capabilities=evolve(FULL_CAPABILITIES, dedups_operation_id_s=0.0),
    )
    till.held()
    till.sold()
    till.sold(number=NO_FUNDS)
    before = {payment.id: payment for payment in till.shop.payments.list()}
    till.bank.next(Fault.LOSE_REQUEST, on=Call.SEND)
    till.bank.next(Fault.LOSE_REQUEST, on=Call.INQUIRY)
    with pytest.raises(OutcomeUnknown):
        act(till)
    till.advance(minutes=2)
    assert till.pay.recover().needs_review == 1
    operation = till.shop.operations.find(idempotency_key=KEY)
    assert operation is not None
    assert operation.state == "needs_review"
    return till, operation, before.get(operation.subject_id)


def resolve(till: Till, operation: Operation, outcome: str) -> Operation:
    return till.shop.operations.resolve(
        operation.id,
        outcome=outcome,
        actor="Grace, finance",
        reason="statement of 2 January, line 7",
        evidence="ticket 4711",
    )


@pytest.mark.parametrize("outcome", ["succeeded", "declined", "aborted"])
@pytest.mark.parametrize("name", ACTS)
def test_a_person_decides_and_the_books_follow(name: str, outcome: str) -> None:
    """Facts, status and list of open operations are as if the bank had said so; doctor agrees."""
    act, status, added = ACTS[name]
    till, operation, before = in_review(act)
    till.advance(days=1)

    decided = resolve(till, operation, outcome)

    assert decided.state == outcome
    assert decided == till.shop.operations.get(operation.id)
    assert till.pay.doctor().ok
    assert list(till.shop.operations.list_unresolved()) == []
    if name != "verify":
        payment = till.shop.payments.get(operation.subject_id)
        expected = dict.fromkeys(("authorized", "captured", "voided", "refunded"), eur("0"))
        for fact in expected:
            expected[fact] = getattr(before, fact, eur("0"))
            if outcome == "succeeded":
                expected[fact] += eur(added.get(fact, "0"))
        assert {fact: getattr(payment, fact) for fact in expected} == expected
        if outcome == "succeeded":
            assert payment.status == status
        elif before is not None and name != "retry":
            assert payment.status == before.status
        else:
            assert payment.status == ("declined" if outcome == "declined" else "failed")
    till.close()


@pytest.mark.parametrize("outcome", ["succeeded", "declined", "aborted"])
def test_who_decided_and_why_goes_into_the_history(outcome: str) -> None:
    till, operation, _ = in_review(capture)
    till.advance(days=1)
    resolve(till, operation, outcome)
    event = till.shop.payments.timeline(operation.subject_id)[-1]

    assert event.type == f"capture.{outcome}"
    assert event.at == till.now
    assert event.operation_id == operation.id
    assert (
        dict(event.details).items()
        >= {
            "actor": "Grace, finance",
            "reason": "statement of 2 January, line 7",
            "evidence": "ticket 4711",
        }.items()
    )
    assert "actor: Grace, finance" in str(event)
    till.close()


@pytest.mark.parametrize(
    ("outcome", "told"),
    [("succeeded", None), ("declined", None), ("aborted", BankUnavailable)],
)
def test_a_repeat_of_the_call_is_told_what_was_decided(
    outcome: str, told: type[PayPlatformError] | None
) -> None:
    """Until then: that a person has to. The bank is not asked again."""
    act = ACTS["charge"][0]
    till, operation, _ = in_review(act)
    payment = till.shop.payments.get(operation.subject_id)
    calls = till.watched.calls

    def repeat() -> Payment:
        return till.sold(payment_method=payment.payment_method_id, idempotency_key=KEY)

    with pytest.raises(OutcomeUnknown) as unclear:
        repeat()
    assert unclear.value.code is ErrorCode.NEEDS_REVIEW
    resolve(till, operation, outcome)

    if told is None:
        again = repeat()
        assert again.replayed
        assert again.status == ("captured" if outcome == "succeeded" else "declined")
        assert (again.decline is None) is (outcome == "succeeded")
    else:
        with pytest.raises(told):
            repeat()
    assert till.watched.calls == calls
    till.close()


@pytest.mark.parametrize("name", ["charge", "refund", "capture"])
def test_what_was_decided_against_may_be_asked_for_again(name: str) -> None:
    """With a new key: nothing is reserved any more."""
    till, operation, _ = in_review(ACTS[name][0])
    resolve(till, operation, "aborted")
    payment_id = operation.subject_id
    if name == "charge":
        done = till.shop.payments.retry(payment_id, idempotency_key="new")
        assert done.status == "captured"
    else:
        verb = getattr(till.shop.payments, name)
        done = verb(payment_id, eur("100"), idempotency_key="new")
        assert done.status in ("captured", "refunded")
    till.close()


def a_decided_one(till: Till) -> Operation:
    return till.latest(till.sold())


def a_declined_one(till: Till) -> Operation:
    return till.latest(till.sold(number=NO_FUNDS))


def one_in_doubt(till: Till) -> Operation:
    till.bank.next(Fault.LOSE_REPLY)
    with suppress(OutcomeUnknown):
        till.sold(idempotency_key="lost")
    operation = till.shop.operations.find(idempotency_key="lost")
    assert operation is not None
    return operation


def an_aborted_one(till: Till) -> Operation:
    till.bank.next(Fault.DOWN)
    with suppress(BankUnavailable):
        till.sold(idempotency_key="down")
    operation = till.shop.operations.find(idempotency_key="down")
    assert operation is not None
    return operation


def a_waiting_one(till: Till) -> Operation:
    return till.latest(till.sold(number=CHALLENGED))


def a_pending_one(till: Till) -> Operation:
    sold = till.sold(number="4000000000007726")
    return till.latest(till.shop.payments.refund(sold.id, idempotency_key=till.key()))


@pytest.mark.parametrize(
    "an_operation",
    [a_decided_one, a_declined_one, one_in_doubt, an_aborted_one, a_waiting_one, a_pending_one],
)
@pytest.mark.parametrize("outcome", ["succeeded", "declined", "aborted"])
def test_only_what_needs_review_is_for_a_person_to_decide(
    outcome: str, an_operation: Callable[[Till], Operation]
) -> None:
    """What the bank has said, or may still say, stands."""
    till = Till()
    operation = an_operation(till)
    stored = till.stored()
    with pytest.raises(NotAllowed) as caught:
        resolve(till, operation, outcome)

    assert caught.value.code is ErrorCode.NOT_IN_REVIEW
    assert caught.value.operation_id == operation.id
    assert till.stored() == stored
    till.close()


def test_a_decision_stands(tmp_path: Path) -> None:
    """A second one is refused, whatever it says, and changes nothing."""
    till, operation, _ = in_review(ACTS["charge"][0], tmp_path / "shop.db")
    resolve(till, operation, "succeeded")
    stored = till.stored()
    for outcome in ("aborted", "succeeded"):
        with pytest.raises(NotAllowed) as caught:
            resolve(till, operation, outcome)
        assert caught.value.code is ErrorCode.NOT_IN_REVIEW

    assert till.stored() == stored
    till.close()


@pytest.mark.parametrize("first", ["succeeded", "declined", "aborted"])
def test_of_two_who_decide_at_once_one_wins_and_the_other_is_told(first: str) -> None:
    """What the other wanted, and who that was, is on record, and changes nothing."""
    till, operation, _ = in_review(ACTS["charge"][0])
    decided: list[Operation] = []

    def decide_first(*_: object) -> None:
        if not decided:
            decided.append(resolve(till, operation, first))

    slower = watched(till, "commit", decide_first).merchant(till.merchant_id)
    with pytest.raises(NotAllowed) as caught:
        slower.operations.resolve(
            operation.id, outcome="aborted", actor="Hopper", reason="not on the statement"
        )

    assert caught.value.code is ErrorCode.NOT_IN_REVIEW
    assert [till.shop.operations.get(operation.id)] == decided
    events = till.shop.payments.timeline(operation.subject_id)
    assert [event.type for event in events[-2:]] == [f"sale.{first}", "sale.late_answer"]
    assert dict(events[-1].details).items() >= {"actor": "Hopper", "state": first}.items()
    assert till.pay.doctor().ok
    till.close()


def test_what_a_person_says_holds_no_card_number() -> None:
    till, operation, _ = in_review(ACTS["charge"][0])
    good = {"actor": "Grace", "reason": "not there", "evidence": "ticket"}
    for name in good:
        with pytest.raises(InvalidRequest) as caught:
            till.shop.operations.resolve(
                operation.id, outcome="aborted", **{**good, name: "4242 4242 4242 4242"}
            )
        assert caught.value.field == name
    assert till.shop.operations.get(operation.id) == operation
    till.close()


def test_a_resolved_hold_can_be_captured_and_lapses_like_any() -> None:
    """The bank's time for it is counted from when it was asked for."""
    act = ACTS["authorize"][0]
    till, operation, _ = in_review(act)
    till.bank.deliver_late()
    resolve(till, operation, "succeeded")
    held = till.shop.payments.get(operation.subject_id)

    assert held.expires_at == operation.created_at + timedelta(days=7)
    till.advance(days=8)
    assert till.pay.recover().expired >= 1
    assert till.shop.payments.get(held.id).status == "expired"
    till.close()


def test_an_operation_is_read_by_its_id_and_found_by_its_key() -> None:
    till = Till()
    sold = till.sold(idempotency_key="k")
    operation = till.latest(sold)

    assert till.shop.operations.get(operation.id) == operation
    assert till.shop.operations.find(idempotency_key="k") == operation
    assert till.shop.operations.find(idempotency_key="never-used") is None
    assert (operation.kind, operation.state) == ("sale", "succeeded")
    assert (operation.amount, operation.payment_id) == (eur("100"), sold.id)
    assert operation.bank_reference
    with pytest.raises(NotFound):
        till.shop.operations.get(operation.id[:-1] + ("0" if operation.id[-1] != "0" else "1"))
    till.close()


def test_what_is_unclear_is_listed_newest_first_and_nothing_else() -> None:
    """In doubt, reversing, in need of review; not what runs, waits, pends or is decided."""
    till, review, _ = in_review(ACTS["charge"][0])
    for number in (CHALLENGED, "4000000000007726", NO_FUNDS):
        till.sold(number=number)
    doubt = one_in_doubt(till)
    running: list[list[str]] = []
    till.watched.before = lambda _: running.append(unresolved(till))
    till.sold()

    assert running == [[doubt.id, review.id]]
    assert unresolved(till) == [doubt.id, review.id]
    till.close()


def unresolved(till: Till) -> list[str]:
    return [operation.id for operation in till.shop.operations.list_unresolved()]


def test_another_merchants_unclear_operations_are_not_listed() -> None:
    till, review, _ = in_review(ACTS["charge"][0])
    other = till.pay.merchant(till.pay.merchants.create(name="Bolt").id)

    assert list(other.operations.list_unresolved()) == []
    assert other.operations.find(idempotency_key=KEY) is None
    assert unresolved(till) == [review.id]
    till.close()


def test_an_unclear_operation_tells_what_is_known_and_that_nothing_is_to_be_done() -> None:
    """But to wait, or to repeat the call: when the bank is asked next is said."""
    till = Till()
    doubt = one_in_doubt(till)

    assert doubt.known == (
        f"A sale of 100.00 EUR for {doubt.subject_id}, in_doubt.",
        "First asked for on 2030-01-01 12:00:00 UTC, with the key lost.",
        "Asked again by recovery: 0; last 2030-01-01 12:00:00 UTC.",
        f"Its name at the bank is {doubt.id}; the bank's own reference is unknown.",
        "Last of all: the bank call ended in TimeoutError.",
    )
    assert doubt.next_step == (
        "Nothing by hand: recover() asks the bank on 2030-01-01 12:00:00 UTC, and so does the "
        "same call with the same key. Never ask with a new key."
    )
    till.bank.next(Fault.LOSE_REPLY, on=Call.INQUIRY)
    till.pay.recover()
    (again,) = till.shop.operations.list_unresolved()
    assert again.known[2].startswith("Asked again by recovery: 1; last 2030-01-01")
    till.close()


def test_an_operation_in_review_tells_what_to_look_for_and_what_each_finding_means() -> None:
    till, review, _ = in_review(ACTS["refund"][0])

    assert review.next_step == (
        f"Look for {review.id}, the refund of 60.00 EUR, in the bank's statement from 2030-01-01 "
        "on, or ask the bank. It is there: resolve it as succeeded. The bank has refused it: as "
        "declined. It is not there, and the bank says that it cannot come any more: as aborted."
    )
    assert "Last of all: the bank call ended in TimeoutError." in review.known
    till.close()


def test_a_bank_that_contradicts_itself_reads_unlike_one_that_is_silent() -> None:
    """As does one that will not undo what it did, or did more than it was asked for."""
    till, silent, _ = in_review(ACTS["charge"][0])
    reasons = [*LATE_APPROVALS.values(), Doubt.REVERSAL_DECLINED, Doubt.OTHER_AMOUNT]
    steps = {evolve(silent, reason=str(reason)).next_step for reason in reasons}

    assert len(steps | {silent.next_step}) == 4
    assert sum("two things" in step for step in steps) == 1
    assert all(silent.id in step and "as aborted" in step for step in steps)
    till.close()


@pytest.mark.parametrize(
    ("an_operation", "said"),
    [
        (a_decided_one, "it is settled"),
        (a_declined_one, "it is settled"),
        (an_aborted_one, "it is settled"),
        (a_waiting_one, "resume()"),
        (a_pending_one, "the bank tells the outcome later"),
    ],
)
def test_every_other_operation_tells_its_next_step_too(
    an_operation: Callable[[Till], Operation], said: str
) -> None:
    till = Till()
    operation = an_operation(till)

    assert said in operation.next_step
    assert operation.id in "".join(operation.known)
    till.close()


def test_recovery_looks_at_so_many_and_no_more() -> None:
    """The longest due first; the rest stays for the next run, and none is looked at twice."""
    till = Till()
    ids = []
    for n in range(5):
        till.bank.next(Fault.LOSE_REPLY)
        with suppress(OutcomeUnknown):
            till.sold(idempotency_key=f"k{n}")
        operation = till.shop.operations.find(idempotency_key=f"k{n}")
        assert operation is not None
        ids.append(operation.id)
        till.advance(seconds=1)

    assert till.pay.recover(limit=2).succeeded == 2
    assert till.watched.inquired == ids[:2]
    assert unresolved(till) == ids[:1:-1]
    assert till.pay.recover(limit=10_000).succeeded == 3
    assert till.pay.recover().examined == 0
    assert till.watched.inquired == ids
    till.books_agree()
    till.close()


def test_recovery_reports_what_it_found_out() -> None:
    """Succeeded, declined, aborted, still unclear, and expired, each counted once."""
    till = Till()
    till.held("7")
    till.advance(days=6, hours=23, minutes=58)
    for fault, number in (
        (Fault.LOSE_REPLY, "4242424242424242"),
        (Fault.LOSE_REPLY, NO_FUNDS),
        (Fault.LOSE_REQUEST, "4242424242424242"),
        (Fault.LOSE_REPLY, "5555555555554444"),
    ):
        till.bank.next(fault)
        with suppress(OutcomeUnknown):
            till.sold(number=number)
    till.advance(minutes=2)
    till.bank.next(None, None, None, Fault.LOSE_REPLY, on=Call.INQUIRY)
    report = till.pay.recover()

    assert report.examined == 4
    assert (report.succeeded, report.declined, report.aborted) == (1, 1, 1)
    assert (report.unresolved, report.needs_review, report.expired) == (1, 0, 1)
    till.close()
