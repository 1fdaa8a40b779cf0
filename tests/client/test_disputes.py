"""What cardholders dispute is held, answered in time, and ends as the bank says, once.

How: the simulated bank disputes, decides and reverses in its own books, and tells by notices; the
tests are the post, which is late, twice and out of order. In the end both sets of books agree.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from sealed_again import seal_again
from till import AMEX, MASTERCARD, REFUND_PENDS_THEN_FAILS, START, VISA, Till, eur

from payplatform import (
    Conflict,
    Dispute,
    DisputeLooks,
    ErrorCode,
    InvalidRequest,
    Money,
    NotAllowed,
    NotFound,
    OutcomeUnknown,
    Payment,
)
from payplatform._domain.disputes import HOLDINGS
from payplatform._domain.payments import Facts
from payplatform.banks.simulated import FULL_CAPABILITIES, Call, Fault
from payplatform.ports import BankNotice, BankReply, DisputeNews, DisputeState, ReplyOutcome

EVIDENCE = {"tracking_number": "1Z-999", "explanation": "It was signed for by the cardholder."}


@pytest.fixture(params=["memory", "sqlite"])
def till(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Till]:
    till = Till(None if request.param == "memory" else tmp_path / "shop.db")
    yield till
    till.close()


def deliver(till: Till) -> None:
    """The post as it should be."""
    for notice in till.bank.notices():
        till.pay.notices.apply(notice)
        till.bank.acknowledge(notice.id)


def disputed(till: Till, amount: str | None = None, **more: Any) -> tuple[Payment, Dispute, str]:
    """A payment of a hundred that is disputed, its dispute, and the bank's id of that."""
    payment = till.sold(number=more.pop("number", VISA))
    assert payment.latest_operation_id is not None
    money = None if amount is None else eur(amount)
    case = till.bank.disputes.open(till.merchant_id, payment.latest_operation_id, money, **more)
    deliver(till)
    [dispute] = till.shop.disputes.list(payment=payment.id)
    return payment, dispute, case


def facts(till: Till, payment: Payment) -> Facts:
    return till.shop.payments.get(payment.id).facts


def both_agree(till: Till) -> None:
    """As `books_agree`, and the bank has taken back for disputes what we hold for them."""
    till.books_agree()
    for payment in till.shop.payments.list():
        start = payment.authorization_id or ""
        theirs = till.bank.position(till.merchant_id, start)
        assert payment.facts.disputed == theirs.disputed


# From opened to the end.


def test_a_dispute_holds_its_amount_and_says_why_and_until_when(till: Till) -> None:
    payment, dispute, case = disputed(till, "60", reason_code="13.1", evidence_s=86_400)

    assert dispute.state == "opened"
    assert (dispute.amount, dispute.held) == (eur("60"), eur("60"))
    assert (dispute.reason, dispute.reason_code) == ("not_received", "13.1")
    assert dispute.evidence_due_at == START + timedelta(days=1)
    assert dispute.bank_dispute_id == case
    assert till.shop.disputes.get(dispute.id) == dispute
    after = till.shop.payments.get(payment.id)
    assert (after.status, after.disputed, after.refundable) == ("disputed", eur("60"), eur("40"))
    assert till.events(payment)[-1] == "dispute.opened"
    both_agree(till)


@pytest.mark.parametrize(
    ("wins", "state", "lost", "status"),
    [(True, "won", 0, "captured"), (False, "lost", 10_000, "disputed")],
)
def test_evidence_is_submitted_and_the_bank_decides(
    till: Till, wins: bool, state: str, lost: int, status: str
) -> None:
    payment, dispute, case = disputed(till)

    submitted = till.shop.disputes.submit_evidence(dispute.id, EVIDENCE)

    assert submitted.state == "submitted"
    [at_bank] = till.bank.disputes.list()
    assert at_bank.state == "submitted"
    assert "1Z-999" in (at_bank.evidence or "")
    till.advance(days=9)
    till.bank.disputes.decide(case, merchant_wins=wins)
    deliver(till)
    assert till.shop.disputes.get(dispute.id).state == state
    assert facts(till, payment).dispute_lost == lost
    assert till.shop.payments.get(payment.id).status == status
    assert till.events(payment)[-4:] == [
        "dispute.opened",
        "dispute.answer_started",
        "dispute.submitted",
        f"dispute.{state}",
    ]
    both_agree(till)


def test_an_accepted_dispute_is_lost_at_once(till: Till) -> None:
    payment, dispute, _ = disputed(till, "60")

    accepted = till.shop.disputes.accept(dispute.id)

    assert accepted.state == "accepted"
    assert facts(till, payment).dispute_lost == 6_000
    with pytest.raises(NotAllowed):
        till.shop.payments.refund(payment.id, eur("41"), idempotency_key="refund")
    both_agree(till)


@pytest.mark.parametrize("before", [None, False, True])
def test_a_reversed_dispute_gives_all_back_wherever_it_stood(
    till: Till, before: bool | None
) -> None:
    payment, dispute, case = disputed(till)
    if before is not None:
        till.bank.disputes.decide(case, merchant_wins=before)
    till.advance(days=1)
    till.bank.disputes.reverse(case)
    deliver(till)

    assert till.shop.disputes.get(dispute.id).state == "reversed"
    assert till.shop.payments.get(payment.id).refundable == eur("100")
    assert facts(till, payment).dispute_lost == 0
    both_agree(till)


def test_a_decision_may_be_turned_round(till: Till) -> None:
    """Won, then lost in arbitration: the amount is taken again."""
    payment, dispute, case = disputed(till)
    till.bank.disputes.decide(case, merchant_wins=True)
    deliver(till)
    till.advance(days=30)
    till.bank.disputes.decide(case, merchant_wins=False)
    deliver(till)

    assert till.shop.disputes.get(dispute.id).state == "lost"
    assert facts(till, payment).dispute_lost == 10_000
    both_agree(till)


def test_a_capture_can_be_disputed_and_twice(till: Till) -> None:
    payment = till.held()
    payment = till.shop.payments.capture(payment.id, eur("60"), idempotency_key="capture")
    capture = till.latest(payment).id
    for amount in ("20", "40"):
        till.bank.disputes.open(till.merchant_id, capture, eur(amount))
    deliver(till)

    first, second = till.shop.disputes.list(payment=payment.id)
    assert {first.amount, second.amount} == {eur("20"), eur("40")}
    assert facts(till, payment).disputed == 6_000
    both_agree(till)


@pytest.mark.parametrize(
    ("number", "code", "reason"),
    [(VISA, "10.4", "fraud"), (MASTERCARD, "4837", "fraud"), (AMEX, "C08", "not_received")],
)
def test_reasons_are_the_schemes_own_and_ours(
    till: Till, number: str, code: str, reason: str
) -> None:
    _, dispute, _ = disputed(till, number=number, reason_code=code)
    assert (dispute.reason_code, dispute.reason) == (code, reason)


# Refunds and disputes share one bound.


def test_what_was_refunded_is_not_held_once_more(till: Till) -> None:
    """A bank of somebody else's may dispute it all the same; evidence is what it waits for."""
    payment = till.sold()
    till.shop.payments.refund(payment.id, eur("70"), idempotency_key="refund")
    till.pay.notices.apply(written(payment, "opened", till))

    [dispute] = till.shop.disputes.list()

    assert (dispute.amount, dispute.held) == (eur("100"), eur("30"))
    event = till.shop.payments.timeline(payment.id)[-1]
    assert dict(event.details)["not_held"] == "70.00 EUR"
    assert till.pay.doctor().ok


def test_a_dispute_waits_for_the_refund_that_is_under_way(till: Till) -> None:
    """Only its end shows how much is left to be held."""
    payment = till.sold(number=REFUND_PENDS_THEN_FAILS)
    till.shop.payments.refund(payment.id, eur("70"), idempotency_key="refund")
    notice = written(payment, "opened", till)

    with pytest.raises(Conflict) as refused:
        till.pay.notices.apply(notice)

    assert refused.value.code is ErrorCode.OPERATION_IN_PROGRESS
    assert not list(till.shop.disputes.list())
    till.advance(hours=2)
    deliver(till)
    till.pay.notices.apply(notice)
    assert facts(till, payment).disputed == 10_000
    assert till.pay.doctor().ok


def test_the_bank_refuses_the_refund_that_comes_after_a_dispute_nobody_heard_of(
    till: Till,
) -> None:
    payment = till.sold()
    assert payment.latest_operation_id is not None
    till.bank.disputes.open(till.merchant_id, payment.latest_operation_id, eur("60"))

    till.shop.payments.refund(payment.id, eur("50"), idempotency_key="refund")
    deliver(till)

    after = till.shop.payments.get(payment.id)
    assert (after.refunded, after.disputed) == (eur("0"), eur("60"))
    both_agree(till)


# Told late, twice, in any order.


def written(
    payment: Payment, state: str, till: Till, *, hours: float = 0, **news: Any
) -> BankNotice:
    """A notice that no bank of ours has sent."""
    assert payment.latest_operation_id is not None
    told = {"dispute_id": "case", "amount": payment.amount, "reason_code": "10.4", **news}
    return BankNotice(
        id=f"{state}-{hours}",
        merchant_id=payment.merchant_id,
        reply=BankReply(
            operation_id=payment.latest_operation_id,
            outcome=ReplyOutcome.APPROVED,
            amount=payment.amount,
        ),
        at=till.now + timedelta(hours=hours),
        dispute=DisputeNews(state=DisputeState(state), **told),
    )


def story(till: Till, payment: Payment) -> list[BankNotice]:
    """Five notices: opened, smaller, won, opened again, lost."""
    less = eur("80")
    return [
        written(payment, "opened", till),
        written(payment, "opened", till, hours=1, amount=less),
        written(payment, "won", till, hours=2, amount=less),
        written(payment, "opened", till, hours=3, amount=less),
        written(payment, "lost", till, hours=4, amount=less),
    ]


def test_every_order_of_five_notices_ends_the_same() -> None:
    till = Till()
    ends = set()
    for number, order in enumerate(permutations(range(5))):
        payment = till.sold()
        notices = [
            evolve(notice, dispute=evolve(notice.dispute, dispute_id=f"case-{number}"))
            for notice in story(till, payment)
            if notice.dispute is not None
        ]
        for at in (*order, *order):
            till.pay.notices.apply(notices[at])
        [dispute] = till.shop.disputes.list(payment=payment.id)
        ends.add((dispute.state, dispute.amount, dispute.held, facts(till, payment)))
    assert len(ends) == 1
    [(state, _, held, end)] = ends
    assert (state, held, end.dispute_lost) == ("lost", eur("80"), 8_000)
    assert till.pay.doctor().ok


@settings(max_examples=60, deadline=None)
@given(
    told=st.lists(
        st.tuples(st.sampled_from(DisputeState), st.integers(1, 10_000)), min_size=1, max_size=6
    ),
    data=st.data(),
)
def test_whatever_is_told_what_counts_is_the_last_word_by_the_banks_time(
    told: list[tuple[DisputeState, int]], data: st.DataObject
) -> None:
    till = Till()
    payment = till.sold()
    notices = [
        written(payment, state, till, hours=at, amount=eur(f"{minor / 100:.2f}"))
        for at, (state, minor) in enumerate(told)
    ]
    for notice in data.draw(st.permutations([*notices, *notices])):
        till.pay.notices.apply(notice)
        assert till.pay.doctor().ok

    state, minor = told[-1]
    [dispute] = till.shop.disputes.list()
    assert dispute.state is state
    assert dispute.amount.amount_minor == minor
    assert dispute.held_minor == (minor if HOLDINGS[state].held else 0)


def test_late_news_of_the_opening_does_not_undo_what_was_submitted(till: Till) -> None:
    payment, dispute, case = disputed(till)
    first = written(payment, "opened", till, dispute_id=case)
    till.advance(hours=2)
    till.shop.disputes.submit_evidence(dispute.id, EVIDENCE)
    for told_at in (first.at, first.at + timedelta(hours=1), till.now):
        till.pay.notices.apply(evolve(first, at=told_at))

    assert till.shop.disputes.get(dispute.id).state == "submitted"


def test_a_dispute_that_is_opened_again_takes_another_answer(till: Till) -> None:
    payment, dispute, case = disputed(till)
    till.shop.disputes.submit_evidence(dispute.id, EVIDENCE)
    till.pay.notices.apply(written(payment, "won", till, hours=1, dispute_id=case))
    till.pay.notices.apply(written(payment, "opened", till, hours=2, dispute_id=case))

    again = till.shop.disputes.get(dispute.id)

    assert (again.state, again.answer) == ("opened", None)
    assert facts(till, payment).disputed == 10_000


# Answers.


def test_the_same_answer_again_changes_nothing(till: Till) -> None:
    _, dispute, _ = disputed(till)
    told = till.shop.disputes.submit_evidence(dispute.id, EVIDENCE)
    before, sent = till.stored(), len(till.watched.sent)

    assert till.shop.disputes.submit_evidence(dispute.id, EVIDENCE) == told
    assert till.stored() == before
    assert len(till.watched.sent) == sent


ANSWERS: dict[str, Callable[[Till, str], object]] = {
    "evidence": lambda till, name: till.shop.disputes.submit_evidence(name, EVIDENCE),
    "acceptance": lambda till, name: till.shop.disputes.accept(name),
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize(
    "fault",
    [Fault.LOSE_REPLY, Fault.LOSE_REQUEST, Fault.DOWN, Fault.OTHER_ID, Fault.GARBLE_REPLY],
)
def test_an_answer_of_which_nobody_knows_is_sent_again_when_it_is_due(
    till: Till, answer: str, fault: Fault
) -> None:
    payment, dispute, _ = disputed(till)
    till.bank.next(fault)
    with pytest.raises(OutcomeUnknown):
        ANSWERS[answer](till, dispute.id)
    assert till.pay.run_due().disputes.answered == 0
    till.advance(minutes=1)

    report = till.pay.run_due()

    assert report.disputes.answered == 1
    done = till.shop.disputes.get(dispute.id)
    assert done.state == ("submitted" if answer == "evidence" else "accepted")
    ids = {r.operation_id for r in till.watched.sent if r.dispute_id is not None}
    assert len(ids) == 1, "one answer, one id"
    assert till.pay.run_due().disputes.answered == 0
    assert facts(till, payment).dispute_lost == (0 if answer == "evidence" else 10_000)
    both_agree(till)


def test_a_bank_that_goes_on_losing_it_is_asked_less_and_less_often(till: Till) -> None:
    """As recovery does with everything else; and each time is in the payment's history."""
    payment, dispute, _ = disputed(till)
    till.bank.next(*[Fault.LOSE_REQUEST] * 4)
    with pytest.raises(OutcomeUnknown):
        till.shop.disputes.submit_evidence(dispute.id, EVIDENCE)
    for waited, seconds in enumerate((45, 45, 60), start=1):
        till.advance(seconds=seconds - 1)
        assert till.pay.run_due().disputes == DisputeLooks()
        till.advance(seconds=1)
        assert till.pay.run_due().disputes == DisputeLooks(unanswered=1)
        assert till.events(payment).count("dispute.answer_repeated") == waited
    till.advance(seconds=300)
    assert till.pay.run_due().disputes == DisputeLooks(answered=1)
    answer = till.shop.disputes.get(dispute.id).answer
    assert answer is not None
    assert answer.attempts == 4


def test_the_caller_may_send_it_again_too(till: Till) -> None:
    _, dispute, _ = disputed(till)
    till.bank.next(Fault.LOSE_REQUEST)
    with pytest.raises(OutcomeUnknown):
        till.shop.disputes.submit_evidence(dispute.id, EVIDENCE)
    with pytest.raises(NotAllowed) as refused:
        till.shop.disputes.accept(dispute.id)
    assert refused.value.code is ErrorCode.DISPUTE_ANSWERED

    assert till.shop.disputes.submit_evidence(dispute.id, EVIDENCE).state == "submitted"


def test_what_the_bank_has_decided_meanwhile_stands(till: Till) -> None:
    """It had the evidence, lost its reply, and decided; then we hear that it had the evidence."""
    _, dispute, case = disputed(till)
    till.bank.next(Fault.LOSE_REPLY)
    with pytest.raises(OutcomeUnknown):
        till.shop.disputes.submit_evidence(dispute.id, EVIDENCE)
    till.bank.disputes.decide(case, merchant_wins=True)
    deliver(till)
    till.advance(minutes=1)

    assert till.pay.run_due().disputes.answered == 1

    won = till.shop.disputes.get(dispute.id)
    assert won.state == "won"
    assert won.answer is not None
    assert won.answer.taken_at == till.now
    assert till.pay.run_due().disputes.answered == 0
    both_agree(till)


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_bank_that_has_forgotten_an_answer_is_asked_before_it_counts_as_refused(
    answer: str,
) -> None:
    """It takes no second one, and says so; what it was asked for first is what counts."""
    till = Till(capabilities=evolve(FULL_CAPABILITIES, dedups_operation_id_s=0.0))
    _, dispute, _ = disputed(till)
    till.bank.next(Fault.LOSE_REPLY, on=Call.SEND)
    with pytest.raises(OutcomeUnknown):
        ANSWERS[answer](till, dispute.id)
    till.advance(minutes=1)
    till.bank.next(Fault.LOSE_REPLY, on=Call.INQUIRY)
    assert till.pay.run_due().disputes == DisputeLooks(unanswered=1)
    till.advance(minutes=1)

    assert till.pay.run_due().disputes == DisputeLooks(answered=1)

    done = till.shop.disputes.get(dispute.id)
    assert done.state == ("submitted" if answer == "evidence" else "accepted")
    both_agree(till)
    till.close()


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_bank_that_says_it_knows_of_no_answer_has_not_refused_it(answer: str, till: Till) -> None:
    """It was sent one just now: what it says proves nothing, and it is sent again."""
    _, dispute, _ = disputed(till)
    till.watched.instead = lambda request: BankReply(
        operation_id=request.operation_id, outcome=ReplyOutcome.NOT_FOUND
    )
    with pytest.raises(OutcomeUnknown):
        ANSWERS[answer](till, dispute.id)
    till.watched.instead = lambda _: None
    till.advance(minutes=1)

    assert till.pay.run_due().disputes == DisputeLooks(answered=1)
    both_agree(till)


def test_an_answer_that_the_bank_refuses_leaves_the_dispute_open(till: Till) -> None:
    """It was decided at the bank, and the notice of it is on its way."""
    payment, dispute, case = disputed(till)
    till.bank.disputes.decide(case, merchant_wins=True)

    with pytest.raises(NotAllowed) as refused:
        till.shop.disputes.accept(dispute.id)

    assert refused.value.code is ErrorCode.DISPUTE_ANSWER_REFUSED
    still = till.shop.disputes.get(dispute.id)
    assert (still.state, still.answer) == ("opened", None)
    assert till.events(payment)[-1] == "dispute.answer_refused"
    deliver(till)
    both_agree(till)


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("state", [s for s in DisputeState if s != "opened"])
def test_only_an_open_dispute_takes_an_answer(till: Till, state: str, answer: str) -> None:
    payment = till.sold()
    till.pay.notices.apply(written(payment, state, till))
    [dispute] = till.shop.disputes.list()
    before = till.stored()

    with pytest.raises(NotAllowed) as refused:
        ANSWERS[answer](till, dispute.id)

    assert refused.value.code is ErrorCode.DISPUTE_NOT_OPEN
    assert till.stored() == before


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_bank_that_takes_no_answers_is_not_asked(answer: str) -> None:
    till = Till(capabilities=evolve(FULL_CAPABILITIES, answers_disputes=False))
    _, dispute, _ = disputed(till)
    sent = len(till.watched.sent)
    with pytest.raises(NotAllowed) as refused:
        ANSWERS[answer](till, dispute.id)
    assert refused.value.code is ErrorCode.NOT_SUPPORTED_BY_BANK
    assert len(till.watched.sent) == sent


# Deadlines.


def test_a_deadline_is_reminded_of_once_and_told_when_it_has_passed(till: Till) -> None:
    payment, dispute, _ = disputed(till, evidence_s=14 * 86_400)
    till.advance(days=11, seconds=-1)
    assert till.pay.run_due().disputes.reminded == 0
    till.advance(seconds=1)
    assert till.pay.run_due().disputes.reminded == 1
    assert till.events(payment)[-1] == "dispute.evidence_due"
    assert till.pay.run_due().disputes.reminded == 0
    till.advance(days=3, seconds=-1)
    assert till.pay.run_due().disputes.reminded == 0
    till.advance(seconds=1)
    assert till.pay.run_due().disputes.reminded == 1
    assert till.events(payment)[-1] == "dispute.evidence_overdue"
    assert till.pay.run_due().disputes.reminded == 0

    with pytest.raises(NotAllowed) as refused:
        till.shop.disputes.submit_evidence(dispute.id, EVIDENCE)

    assert refused.value.code is ErrorCode.EVIDENCE_OVERDUE
    assert till.shop.disputes.get(dispute.id).state == "opened", "only the bank's word moves it"


def test_evidence_is_taken_until_the_last_moment(till: Till) -> None:
    _, dispute, _ = disputed(till, evidence_s=60)
    till.advance(seconds=59.999999)
    assert till.shop.disputes.submit_evidence(dispute.id, EVIDENCE).state == "submitted"


def test_what_nobody_answers_is_lost_at_the_bank_and_then_here(till: Till) -> None:
    payment, dispute, _ = disputed(till, evidence_s=60)
    till.advance(days=1)
    deliver(till)
    lost = till.shop.disputes.get(dispute.id)
    assert (lost.state, lost.told_at) == ("lost", START + timedelta(seconds=60))
    assert till.pay.run_due().disputes.reminded == 0
    assert facts(till, payment).dispute_lost == 10_000
    both_agree(till)


def test_a_deadline_that_was_moved_is_reminded_of_anew(till: Till) -> None:
    payment = till.sold()
    for day in (4, 8):
        due_at = START + timedelta(days=day)
        till.pay.notices.apply(written(payment, "opened", till, hours=day, evidence_due_at=due_at))
        till.now = due_at - timedelta(days=3)
        assert till.pay.run_due().disputes.reminded == 1
    assert till.events(payment)[-3:] == [
        "dispute.evidence_due",
        "dispute.updated",
        "dispute.evidence_due",
    ]


def test_run_due_does_what_recover_does(till: Till) -> None:
    payment = till.held()
    till.advance(days=8)
    assert till.pay.run_due(till.now - timedelta(days=7)).recovered.expired == 0
    assert till.pay.run_due().recovered.expired == 1
    assert till.shop.payments.get(payment.id).status == "expired"


@pytest.mark.parametrize(
    ("now", "code"),
    [
        (START + timedelta(days=1), ErrorCode.VALUE_INVALID),
        (START.replace(tzinfo=None), ErrorCode.TYPE_INVALID),
        ("tomorrow", ErrorCode.TYPE_INVALID),
    ],
)
def test_what_is_to_come_is_not_due(till: Till, now: Any, code: ErrorCode) -> None:
    with pytest.raises(InvalidRequest) as refused:
        till.pay.run_due(now)
    assert (refused.value.code, refused.value.field) == (code, "now")


# Bad input.


@pytest.mark.parametrize(
    ("part", "value", "code"),
    [
        ("amount", eur("0"), ErrorCode.AMOUNT_NOT_POSITIVE),
        ("amount", "100 EUR", ErrorCode.TYPE_INVALID),
        ("dispute_id", "", ErrorCode.TEXT_EMPTY),
        ("dispute_id", "c" * 256, ErrorCode.TEXT_TOO_LONG),
        ("dispute_id", VISA, ErrorCode.LOOKS_LIKE_CARD_NUMBER),
        ("reason_code", None, ErrorCode.TYPE_INVALID),
        ("reason_code", "10.4\n", ErrorCode.TEXT_NOT_PRINTABLE),
        ("evidence_due_at", START.replace(tzinfo=None), ErrorCode.TYPE_INVALID),
        ("evidence_due_at", START.replace(year=1), ErrorCode.VALUE_INVALID),
        ("evidence_due_at", START.replace(year=9999), ErrorCode.VALUE_INVALID),
        ("state", "opened", ErrorCode.TYPE_INVALID),
    ],
)
def test_news_that_is_not_what_it_has_to_be_is_refused_and_nothing_is_stored(
    till: Till, part: str, value: Any, code: ErrorCode
) -> None:
    notice = written(till.sold(), "opened", till)
    assert notice.dispute is not None
    before = till.stored()
    with pytest.raises(InvalidRequest) as refused:
        till.pay.notices.apply(evolve(notice, dispute=evolve(notice.dispute, **{part: value})))
    assert (refused.value.code, refused.value.field) == (code, f"notice.dispute.{part}")
    assert till.stored() == before


def test_a_dispute_in_another_currency_is_refused(till: Till) -> None:
    notice = written(till.sold(), "opened", till, amount=Money("100", "USD"))
    with pytest.raises(InvalidRequest) as refused:
        till.pay.notices.apply(notice)
    assert refused.value.code is ErrorCode.CURRENCY_MISMATCH


def test_one_dispute_is_of_one_payment(till: Till) -> None:
    till.pay.notices.apply(written(till.sold(), "opened", till))
    with pytest.raises(InvalidRequest) as refused:
        till.pay.notices.apply(written(till.sold(), "opened", till, hours=1))
    assert refused.value.field == "notice.dispute.dispute_id"


def test_only_what_took_money_can_be_disputed(till: Till) -> None:
    payment = till.sold()
    refunded = till.shop.payments.refund(payment.id, eur("1"), idempotency_key="refund")
    with pytest.raises(InvalidRequest) as refused:
        till.pay.notices.apply(written(refunded, "opened", till))
    assert refused.value.field == "notice.reply.operation_id"


@pytest.mark.parametrize(
    ("evidence", "code"),
    [
        ({}, ErrorCode.VALUE_INVALID),
        ({"card": VISA}, ErrorCode.LOOKS_LIKE_CARD_NUMBER),
        ({"explanation": "x" * 501}, ErrorCode.TEXT_TOO_LONG),
        ({"explanation": 1}, ErrorCode.TYPE_INVALID),
    ],
)
def test_evidence_that_breaks_a_rule_is_refused(till: Till, evidence: Any, code: ErrorCode) -> None:
    _, dispute, _ = disputed(till)
    with pytest.raises(InvalidRequest) as refused:
        till.shop.disputes.submit_evidence(dispute.id, evidence)
    assert (refused.value.code, refused.value.field) == (code, "exhibits")


def test_another_merchants_dispute_is_not_there(till: Till) -> None:
    _, dispute, _ = disputed(till)
    other = till.pay.merchant(till.pay.merchants.create(name="Other").id)
    absent = f"dsp_{'0' * 26}"
    for name in (dispute.id, absent):
        for act in (
            other.disputes.get,
            other.disputes.accept,
            lambda name: other.disputes.submit_evidence(name, EVIDENCE),
        ):
            with pytest.raises(NotFound) as refused:
                act(name)
            assert refused.value.message == "no such dispute"
    assert not list(other.disputes.list())


def test_disputes_are_listed_by_payment_and_state(till: Till) -> None:
    first, one, _ = disputed(till)
    _, two, _ = disputed(till)
    till.shop.disputes.accept(one.id)
    assert [d.id for d in till.shop.disputes.list()] == [two.id, one.id]
    assert [d.id for d in till.shop.disputes.list(payment=first.id)] == [one.id]
    assert [d.id for d in till.shop.disputes.list(state="opened")] == [two.id]
    with pytest.raises(InvalidRequest):
        till.shop.disputes.list(state="closed")


# What the doctor sees.


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("UPDATE disputes SET held_minor = 1", "disputes"),
        ("UPDATE disputes SET state = 'won'", "disputes"),
        ("UPDATE disputes SET operation_id = 'op_none'", "references"),
        ("DELETE FROM disputes", "disputes"),
        ("UPDATE disputes SET payment_id = 'pay_none'", "references"),
    ],
)
def test_a_dispute_that_was_changed_by_hand_is_found(
    tmp_path: Path, change: str, rule: str
) -> None:
    till = Till(tmp_path / "shop.db")
    disputed(till)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        database.execute(change)
        seal_again(database, but=("events", "postings", "audit_entries"))
        database.commit()
    assert rule in {finding.rule for finding in till.pay.doctor().findings}
    till.close()
