"""The cardholder's bank takes back what was captured and not given back, and no more.

How: the bank's own books alone, and what it tells of every step.
"""

from __future__ import annotations

from typing import Any

import pytest
from bank_requests import DAY_S, HELD, SOLD, START, Clock, Counter, do, modest

from payplatform._domain.money import Money
from payplatform.banks.simulated import LineKind, LineState
from payplatform.ports import DisputeNews

OURS = "mer_1"


def eur(amount_minor: int) -> Money:
    return Money.minor(amount_minor, "EUR")


def told(counter: Counter) -> list[tuple[str, int]]:
    """State and amount of each dispute that the bank tells of, in order."""
    news = [notice.dispute for notice in counter.bank.notices()]
    return [(str(n.state), n.amount.amount_minor) for n in news if isinstance(n, DisputeNews)]


def disputed(counter: Counter) -> tuple[int, int]:
    """What is taken back by disputes, and what may still be refunded."""
    position = counter.bank.position(OURS, "a")
    return position.disputed, position.refundable


def answer(counter: Counter, operation_id: str, dispute_id: str, **more: Any) -> str:
    kind = more.pop("kind", "submit_evidence")
    evidence = (("receipt", "7"),) if kind == "submit_evidence" else ()
    return counter.outcome(
        kind, operation_id, target_id="a", dispute_id=dispute_id, evidence=evidence, **more
    )


@pytest.mark.parametrize(
    ("history", "operation_id", "amount_minor", "most"),
    [
        (SOLD, "a", None, 100),
        (SOLD, "a", 100, 100),
        ([*SOLD, ("refund", "r", 30)], "a", None, 70),
        ([*HELD, ("capture", "c", 60), ("capture", "d", 30)], "c", None, 60),
        ([*HELD, ("capture", "c", 60), ("refund", "r", 20)], "c", None, 40),
    ],
)
def test_a_dispute_takes_what_is_left_of_what_it_is_about(
    counter: Counter,
    history: list[tuple[str, str, int]],
    operation_id: str,
    amount_minor: int | None,
    most: int,
) -> None:
    """And not a cent more; it is a line like any other, and told with its deadline."""
    do(counter, history)
    before = counter.bank.position(OURS, "a").refundable
    for too_much in (eur(most + 1), eur(0), eur(-1)):
        with pytest.raises(LookupError):
            counter.bank.disputes.open(OURS, operation_id, too_much)

    name = counter.bank.disputes.open(
        OURS, operation_id, None if amount_minor is None else eur(amount_minor)
    )

    assert disputed(counter) == (most, before - most)
    line = counter.bank.statement(OURS)[-1]
    assert (line.kind, line.state, line.operation_id) == (LineKind.DISPUTE, "booked", name)
    assert told(counter) == [("opened", most)]
    assert counter.effects(name) == 1


@pytest.mark.parametrize(
    ("history", "operation_id"),
    [(HELD, "a"), ([*SOLD, ("refund", "r", 30)], "r"), (SOLD, "nothing"), ([], "a")],
)
def test_what_took_no_money_cannot_be_disputed(
    counter: Counter, history: list[tuple[str, str, int]], operation_id: str
) -> None:
    do(counter, history)
    with pytest.raises(LookupError):
        counter.bank.disputes.open(OURS, operation_id)
    assert counter.bank.disputes.list() == []


def test_what_is_disputed_is_neither_refunded_nor_reversed(counter: Counter) -> None:
    do(counter, SOLD)
    counter.bank.disputes.open(OURS, "a", eur(60))
    assert counter.outcome("refund", "r", 41, target_id="a").startswith("invalid_amount")
    assert counter.outcome("reversal", "a").endswith("already_used")
    assert counter.outcome("refund", "q", 40, target_id="a") == "approved"


def test_the_end_decides_whether_its_line_counts(counter: Counter, clock: Clock) -> None:
    """Won, lost after all, and taken back at last."""
    do(counter, SOLD)
    name = counter.bank.disputes.open(OURS, "a")
    held = []
    for wins in (True, False):
        clock.forward(DAY_S)
        counter.bank.disputes.decide(name, merchant_wins=wins)
        held.append(disputed(counter)[0])
    counter.bank.disputes.reverse(name)

    assert held == [0, 100]
    assert disputed(counter) == (0, 100)
    assert [state for state, _ in told(counter)] == ["opened", "won", "lost", "reversed"]
    assert counter.bank.statement(OURS)[-1].state is LineState.REVERSED


def test_what_has_gone_back_meanwhile_cannot_be_taken_again(counter: Counter) -> None:
    do(counter, SOLD)
    name = counter.bank.disputes.open(OURS, "a")
    counter.bank.disputes.decide(name, merchant_wins=True)
    do(counter, [("refund", "r", 1)])

    with pytest.raises(LookupError):
        counter.bank.disputes.decide(name, merchant_wins=False)

    assert disputed(counter) == (0, 99)


@pytest.mark.parametrize(
    ("kind", "state"), [("submit_evidence", "submitted"), ("accept_dispute", "accepted")]
)
def test_an_answer_is_taken_once(counter: Counter, kind: str, state: str) -> None:
    """The same id tells the same again; another one comes too late."""
    do(counter, SOLD)
    name = counter.bank.disputes.open(OURS, "a")

    assert answer(counter, "e", name, kind=kind) == "approved"
    assert answer(counter, "e", name, kind=kind) == "approved"
    assert answer(counter, "f", name, kind=kind).endswith("dispute_not_open")

    [there] = counter.bank.disputes.list()
    assert there.state == state
    assert there.evidence == ('[["receipt", "7"]]' if kind == "submit_evidence" else None)
    assert counter.outcome("reversal", "e").endswith("already_used")


def test_an_answer_to_anothers_dispute_is_as_one_to_none(counter: Counter) -> None:
    do(counter, SOLD)
    name = counter.bank.disputes.open(OURS, "a")
    other = Counter(counter.bank, "mer_2")
    assert answer(other, "e", name) == answer(other, "f", "case_99")
    assert answer(other, "g", name).endswith("no_such_dispute")


def test_a_bank_that_takes_no_answers_declines_them(clock: Clock) -> None:
    counter = modest(clock, answers_disputes=False)
    do(counter, SOLD)
    name = counter.bank.disputes.open(OURS, "a")
    assert answer(counter, "e", name).endswith("not_offered")
    counter.bank.close()


@pytest.mark.parametrize("is_answered", [False, True])
def test_what_nobody_answers_is_lost_at_its_deadline(
    counter: Counter, clock: Clock, is_answered: bool
) -> None:
    do(counter, SOLD)
    name = counter.bank.disputes.open(OURS, "a", evidence_s=DAY_S)
    if is_answered:
        answer(counter, "e", name)
    clock.forward(DAY_S - 1)
    assert told(counter) == [("opened", 100)]
    clock.forward(DAY_S)

    [*_, last] = counter.bank.notices()

    assert told(counter)[1:] == ([] if is_answered else [("lost", 100)])
    assert (last.at - START).total_seconds() == (0 if is_answered else DAY_S)
    assert answer(counter, "f", name).endswith("dispute_not_open")


def test_there_is_no_such_dispute(counter: Counter) -> None:
    with pytest.raises(LookupError):
        counter.bank.disputes.decide("case_1", merchant_wins=True)
    with pytest.raises(LookupError):
        counter.bank.disputes.reverse("case_1")
