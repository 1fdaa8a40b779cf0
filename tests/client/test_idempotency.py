"""One key, one effect: what a repeat is told, what takes a key, and what leaves it free.

Rule by rule what is promised of idempotency keys. That two merchants' keys do not meet is proved in
`test_isolation`, that many callers at once have one effect in `test_races`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from counter import KEY, Counter
from till import MASTERCARD, NO_FUNDS, REFUND_DECLINED, Till, eur

from payplatform import (
    BankUnavailable,
    Conflict,
    Decline,
    DeclineCode,
    ErrorCode,
    Initiator,
    Money,
    NotAllowed,
    NotFound,
    OutcomeUnknown,
    PayPlatformError,
    StorageUnavailable,
)
from payplatform.banks.simulated import Fault
from payplatform.errors import StorageBusy
from payplatform.ports import BankReply, BankRequest, ReplyOutcome

Change = Callable[[Counter], dict[str, Any]]


def to(**arguments: Any) -> Change:
    return lambda _: arguments


CHANGES: dict[str, dict[str, Change]] = {
    "shop.payments.charge": {
        "amount": to(amount=eur("5.01")),
        "currency": to(amount=Money("5", "USD")),
        "card": lambda desk: {"payment_method": desk.till.card(MASTERCARD).id},
        "customer": lambda desk: {"payment_method": None, "customer": desk.customer},
        "initiator": to(initiated_by="merchant"),
        "reference": to(reference="order-2"),
        "metadata": to(metadata={"a": "b"}),
    },
    "shop.payments.authorize": {
        "amount": to(amount=eur("0.05")),
        "reference": to(reference="order-2"),
    },
    "shop.payments.retry": {
        "payment": lambda desk: {"payment_id": desk.till.sold(number=NO_FUNDS).id},
        "card": lambda desk: {"payment_method": desk.till.card(MASTERCARD).id},
        "the same card again": to(payment_method=None),
    },
    "shop.payments.resume": {"payment": lambda desk: {"payment_id": desk.held}},
    "shop.payments.capture": {
        "payment": lambda desk: {"payment_id": desk.till.held().id},
        "amount": to(amount=eur("1")),
        "all of it, said aloud": to(amount=eur("100")),
        "final": to(final=True),
    },
    "shop.payments.void": {
        "payment": lambda desk: {"payment_id": desk.till.held().id},
        "amount": to(amount=eur("1")),
    },
    "shop.payments.refund": {
        "payment": lambda desk: {"payment_id": desk.till.sold().id},
        "amount": to(amount=eur("1")),
    },
    "shop.payments.increment": {"amount": to(amount=eur("6"))},
    "shop.payment_methods.verify": {
        "card": lambda desk: {"payment_method_id": desk.till.card(MASTERCARD).id},
        "currency": to(currency="USD"),
    },
}
"""Every money-moving call, and what makes of it another request."""

VERBS = tuple(CHANGES)


@pytest.fixture
def desk() -> Iterator[Counter]:
    desk = Counter()
    yield desk
    desk.till.close()


def refused(call: Callable[[], object]) -> PayPlatformError:
    with pytest.raises(PayPlatformError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_repeat_is_told_the_same_and_nothing_is_done(
    verb: str, store: str, tmp_path: Path
) -> None:
    """An equal object, marked as replayed: no bank call, no event, no posting, no row at all."""
    desk = Counter(None if store == "memory" else tmp_path / "shop.db")
    first = desk.call(verb)
    stored, calls = desk.till.stored(), desk.till.watched.calls

    again = desk.call(verb)

    assert again == first
    assert (first.replayed, again.replayed) == (False, True)
    assert desk.till.stored() == stored
    assert desk.till.watched.calls == calls
    desk.till.close()


@pytest.mark.parametrize("verb", VERBS)
def test_a_decline_is_told_again_and_the_bank_is_not_asked_again(verb: str, desk: Counter) -> None:
    """A decline is an outcome as good as any: another try is another key."""
    desk.till.watched.instead = no
    first = desk.call(verb)
    desk.till.watched.instead = lambda _: None
    calls = desk.till.watched.calls

    again = desk.call(verb)

    assert again == first
    assert again.replayed
    assert desk.till.watched.calls == calls
    operation = desk.till.shop.operations.find(idempotency_key=KEY)
    assert operation is not None
    assert operation.state == "declined"


def no(request: BankRequest) -> BankReply:
    return BankReply(
        operation_id=request.operation_id,
        outcome=ReplyOutcome.DECLINED,
        amount=request.amount,
        decline=Decline(code=DeclineCode.DO_NOT_HONOR),
    )


@pytest.mark.parametrize(
    ("verb", "change"), [(verb, change) for verb, changes in CHANGES.items() for change in changes]
)
def test_another_request_under_a_used_key_is_refused_and_learns_nothing(
    verb: str, change: str, desk: Counter
) -> None:
    """Whatever was changed: the same words for all, and no detail of the first request."""
    first = desk.call(verb)
    changed = CHANGES[verb][change](desk)
    stored, calls = desk.till.stored(), desk.till.watched.calls

    error = refused(lambda: desk.call(verb, **changed))

    assert isinstance(error, Conflict)
    assert error.code is ErrorCode.IDEMPOTENCY_KEY_REUSED
    assert error.field == "idempotency_key"
    assert not error.retryable
    assert (error.payment_id, error.operation_id) == (None, None)
    assert (
        str(error) == "idempotency_key belongs to another request: use a new key for a new intent"
    )
    assert first.id not in repr(vars(error))
    assert desk.till.stored() == stored
    assert desk.till.watched.calls == calls


@pytest.mark.parametrize("verb", VERBS)
def test_all_verbs_share_one_namespace_of_keys(verb: str, desk: Counter) -> None:
    """A key that was used for one verb is used for all of them."""
    desk.call(verb)
    for other in VERBS:
        if other != verb:
            error = refused(lambda: desk.call(other))  # noqa: B023
            assert error.code is ErrorCode.IDEMPOTENCY_KEY_REUSED, other


@pytest.mark.parametrize("verb", VERBS)
def test_a_repeat_while_the_call_is_running_is_refused_at_once(verb: str, desk: Counter) -> None:
    """It neither waits nor asks the bank; it may simply be made again."""
    told: list[PayPlatformError] = []

    def meanwhile(_: BankRequest) -> None:
        desk.till.watched.before = lambda _: None
        told.append(refused(lambda: desk.call(verb)))
        for change in CHANGES[verb].values():
            told.append(refused(lambda: desk.call(verb, **change(desk))))  # noqa: B023
            break

    desk.till.watched.before = meanwhile
    calls = desk.till.watched.calls
    desk.call(verb)

    running, other = told
    assert isinstance(running, Conflict)
    assert running.code is ErrorCode.OPERATION_IN_PROGRESS
    assert running.retryable
    assert other.code is ErrorCode.IDEMPOTENCY_KEY_REUSED
    assert desk.call(verb).replayed
    assert desk.till.watched.calls - calls <= 2, "the card for the other request may be new"


class Died(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("verb", VERBS)
def test_a_repeat_after_a_crash_waits_for_the_lease_and_then_learns_the_outcome(
    verb: str, desk: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bank did it, and nobody wrote it down: in progress to the last moment, then the truth."""

    def die(_: object) -> None:
        raise Died

    desk.till.watched.after = lambda _: monkeypatch.setattr(desk.till.storage, "commit", die)
    with pytest.raises(Died):
        desk.call(verb)
    monkeypatch.undo()
    desk.till.watched.after = lambda _: None
    operation = desk.till.shop.operations.find(idempotency_key=KEY)
    assert operation is not None
    assert operation.state == "in_flight"

    desk.till.now = operation.lease_until.replace(microsecond=0)
    desk.till.advance(seconds=-1)
    assert refused(lambda: desk.call(verb)).code is ErrorCode.OPERATION_IN_PROGRESS
    desk.till.advance(seconds=1)
    told = desk.call(verb)

    assert told.replayed
    assert desk.call(verb) == told
    desk.call("shop.operations.resolve", outcome="succeeded")
    desk.till.books_agree()


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_outcome_is_never_told_as_a_result(verb: str, desk: Counter) -> None:
    """A repeat looks again: still unknown while the bank is silent, the truth once it speaks."""
    desk.till.bank.next(Fault.LOSE_REPLY)
    first = refused(lambda: desk.call(verb))
    desk.till.bank.next(Fault.LOSE_REPLY)
    second = refused(lambda: desk.call(verb))
    for error in (first, second):
        assert isinstance(error, OutcomeUnknown)
        assert error.retryable
        assert error.operation_id is not None

    desk.till.advance(hours=1)
    told = desk.call(verb)

    assert told.replayed
    operation = desk.till.shop.operations.find(idempotency_key=KEY)
    assert operation is not None
    assert operation.state == "succeeded"
    desk.call("shop.operations.resolve", outcome="succeeded")
    desk.till.books_agree()


def test_a_repeat_asks_the_bank_no_more_often_than_recovery_would(desk: Counter) -> None:
    """Repeats in a hurry are told what is known, and do not use up the attempts there are."""
    desk.till.bank.next(*[Fault.LOSE_REPLY] * 9)
    for _ in range(9):
        error = refused(lambda: desk.call("shop.payments.charge"))
        assert error.code is ErrorCode.OUTCOME_UNKNOWN
    operation = desk.till.shop.operations.find(idempotency_key=KEY)
    assert operation is not None

    assert operation.attempts == 1, "at once; the next one is due in a minute"


def test_what_waits_for_a_person_is_told_so_and_no_bank_is_asked(desk: Counter) -> None:
    operation = desk.till.shop.operations.get(desk.in_review)
    method = desk.till.shop.payments.get(operation.subject_id).payment_method_id
    calls = desk.till.watched.calls
    error = refused(
        lambda: desk.till.sold(payment_method=method, idempotency_key=operation.idempotency_key)
    )

    assert (type(error), error.code) == (OutcomeUnknown, ErrorCode.NEEDS_REVIEW)
    assert (error.operation_id, error.retryable) == (desk.in_review, False)
    assert desk.till.watched.calls == calls


def test_what_is_refused_before_anything_is_done_leaves_the_key_free(
    desk: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not found, not allowed, a busy store: after each, the same key does what is asked."""
    elsewhere = Till()
    strange = elsewhere.sold().id
    elsewhere.close()

    def busy(_: object) -> None:
        raise StorageBusy("busy")

    def refund(**more: Any) -> Any:
        return desk.call("shop.payments.refund", **more)

    assert isinstance(refused(lambda: refund(payment_id=strange)), NotFound)
    assert isinstance(refused(lambda: refund(amount=eur("100.01"))), NotAllowed)
    assert isinstance(refused(lambda: refund(payment_id=desk.held)), NotAllowed)
    monkeypatch.setattr(desk.till.storage, "commit", busy)
    assert isinstance(refused(refund), StorageUnavailable)
    monkeypatch.undo()
    assert desk.till.shop.operations.find(idempotency_key=KEY) is None

    assert refund().status == "refunded"


@pytest.mark.parametrize(
    ("fault", "code"),
    [(Fault.DOWN, ErrorCode.NOT_SENT), (Fault.LOSE_REQUEST, ErrorCode.ABORTED)],
)
def test_what_came_to_nothing_is_told_for_ever(
    fault: Fault, code: ErrorCode, desk: Counter
) -> None:
    """The key is spent on a call that moved no money; a new key is what it takes."""
    desk.till.bank.next(fault)
    with suppress(OutcomeUnknown, BankUnavailable):
        desk.call("shop.payments.charge")
    for _ in range(2):
        desk.till.advance(minutes=2)
        desk.till.pay.recover()
    calls = desk.till.watched.calls
    for days in (0, 1, 1_000):
        desk.till.advance(days=days)
        error = refused(lambda: desk.call("shop.payments.charge"))
        assert (type(error), error.code) == (BankUnavailable, code)
        assert not error.retryable
        assert "new key" in str(error)

    assert desk.till.watched.calls == calls
    assert desk.call("shop.payments.charge", idempotency_key="another").status == "captured"


def test_a_repeat_tells_the_outcome_as_it_was_then() -> None:
    """Not as the payment is today, be it captured, refunded, expired, or its card deleted."""
    till = Till()
    card = till.card()
    held = till.held(payment_method=card.id, idempotency_key="held")
    part = till.shop.payments.capture(held.id, eur("60"), idempotency_key="part")
    back = till.shop.payments.refund(held.id, eur("10"), idempotency_key="back")
    till.shop.payment_methods.delete(card.id)
    till.advance(days=400)
    till.pay.recover()
    assert till.shop.payments.get(held.id).expired == eur("40")

    payments = till.shop.payments
    assert till.held(payment_method=card.id, idempotency_key="held") == held
    assert payments.capture(held.id, eur("60"), idempotency_key="part") == part
    assert payments.refund(held.id, eur("10"), idempotency_key="back") == back
    assert [held.status, part.status, back.status] == [
        "authorized",
        "partially_captured",
        "partially_refunded",
    ]
    till.close()


def test_a_repeat_tells_what_became_of_a_challenge_and_of_a_pending_refund() -> None:
    """While it is open, what was told; once it has ended, how."""
    till = Till()
    charge = till.card("4000000000003220").id
    waiting = till.sold(payment_method=charge, idempotency_key="k")
    assert till.sold(payment_method=charge, idempotency_key="k") == waiting
    till.bank.complete_challenge(till.latest(waiting).id)
    till.shop.payments.resume(waiting.id, idempotency_key="r")
    assert till.sold(payment_method=charge, idempotency_key="k").status == "captured"

    sold = till.sold(number="4000000000007726")
    pending = till.shop.payments.refund(sold.id, idempotency_key="f")
    assert pending.status == "processing"
    assert till.shop.payments.refund(sold.id, idempotency_key="f") == pending
    till.advance(hours=2)
    till.pay.recover()
    assert till.shop.payments.refund(sold.id, idempotency_key="f").status == "refunded"
    till.close()


def test_a_declined_refund_is_told_again_though_another_has_succeeded() -> None:
    till = Till()
    sold = till.sold(number=REFUND_DECLINED)
    first = till.shop.payments.refund(sold.id, idempotency_key="f")
    till.watched.instead = lambda request: evolve(no(request), outcome=ReplyOutcome.APPROVED)
    assert till.shop.payments.refund(sold.id, idempotency_key="g").status == "refunded"

    again = till.shop.payments.refund(sold.id, idempotency_key="f")
    assert again == first
    assert again.status == "captured"
    assert again.decline is not None
    till.close()


@pytest.mark.parametrize(
    "again",
    [
        {"security_code": "999"},
        {"security_code": None},
        {"timeout_s": 5},
        {"amount": Money("5.000", "eur")},
        {"amount": Money.minor(500, "EUR")},
        {"initiated_by": Initiator.CUSTOMER},
        {"reference": "cafe\u0301"},
        {"metadata": {"b": "2", "a": "1"}},
    ],
)
def test_what_is_the_same_request_in_other_words_is_the_same_request(
    again: dict[str, Any], desk: Counter
) -> None:
    """Security code and timeout are no part of it, and everything else is in normal form."""
    base = {
        "security_code": "123",
        "reference": "caf\u00e9",
        "metadata": {"a": "1", "b": "2"},
        "initiated_by": "customer",
    }
    first = desk.call("shop.payments.charge", **base)

    told = desk.call("shop.payments.charge", **{**base, **again})

    assert told == first
    assert told.replayed


@pytest.mark.parametrize("verb", VERBS)
def test_the_bank_never_sees_the_merchants_key(verb: str, desk: Counter) -> None:
    """It knows our operation's id, so that merchants cannot collide there."""
    desk.call(verb)
    operation = desk.till.shop.operations.find(idempotency_key=KEY)
    assert operation is not None
    request = desk.till.watched.sent[-1]

    assert request.operation_id == operation.id
    assert KEY not in repr(request)


def test_each_key_finds_its_own_operation_letter_by_letter() -> None:
    """The case counts, and no character means anything."""
    till = Till()
    payments = {key: till.sold(idempotency_key=key) for key in ("!", "~" * 255, "a/b?c=d&e", "'--")}
    for key, payment in payments.items():
        operation = till.shop.operations.find(idempotency_key=key)
        assert operation is not None
        assert operation.subject_id == payment.id
    assert till.shop.operations.find(idempotency_key="A/B?C=D&E") is None
    till.close()
