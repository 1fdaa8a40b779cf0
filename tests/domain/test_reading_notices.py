"""What a notice means in each state: it settles what is open; of what is final, little is news."""

from datetime import UTC, datetime
from itertools import product

import pytest
from attrs import evolve

from payplatform._domain.events import Event
from payplatform._domain.messages import BankCapabilities, BankNotice, BankReply, ReplyOutcome
from payplatform._domain.money import Money
from payplatform._domain.operations import Operation, OperationKind, OperationState, Trigger
from payplatform._domain.replies import Verdict, read_notice

S, T, R = OperationState, Trigger, ReplyOutcome

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
REMEMBERS = BankCapabilities(reversal_remembers_unknown=True)
FORGETS = BankCapabilities()

CAPTURE = Operation(
    id="op_1",
    merchant_id="mer_1",
    subject_id="pay_1",
    kind=OperationKind.CAPTURE,
    state=S.IN_FLIGHT,
    amount=Money("60", "EUR"),
    epoch=1,
    idempotency_key="key",
    fingerprint=b"",
    created_at=NOW,
    updated_at=NOW,
    lease_until=NOW,
)

NEWS: dict[OperationState, dict[ReplyOutcome, Trigger]] = {
    S.IN_FLIGHT: {R.APPROVED: T.APPROVED, R.DECLINED: T.DECLINED, R.PENDING: T.LEFT_PENDING},
    S.IN_DOUBT: {R.APPROVED: T.APPROVED, R.DECLINED: T.DECLINED, R.PENDING: T.LEFT_PENDING},
    S.REQUIRES_ACTION: {R.APPROVED: T.APPROVED, R.DECLINED: T.DECLINED, R.PENDING: T.LEFT_PENDING},
    S.PENDING: {R.APPROVED: T.APPROVED, R.DECLINED: T.DECLINED},
    S.SUCCEEDED: {R.DECLINED: T.TAKEN_BACK},
    S.DECLINED: {R.APPROVED: T.LATE_APPROVAL},
    S.ABORTED: {R.APPROVED: T.LATE_APPROVAL},
    # It was decided to undo it, a person decides, or it is undone: no answer changes that.
    S.REVERSING: {},
    S.NEEDS_REVIEW: {},
    S.REVERSED: {},
}
"""What is news in each state; all else, and what proves nothing, is none."""


def told(outcome: ReplyOutcome, *, at: datetime = NOW, notice_id: str = "n1") -> BankNotice:
    reply = BankReply(operation_id="op_1", outcome=outcome, amount=CAPTURE.amount)
    return BankNotice(id=notice_id, merchant_id="mer_1", reply=reply, at=at)


def heeded(notice: BankNotice, verdict: Verdict, operation_id: str = "op_1") -> Event:
    """The event that was written for a notice."""
    return Event(
        id="evt_1",
        merchant_id=notice.merchant_id,
        subject_id="pay_1",
        number=1,
        type="capture.succeeded",
        at=NOW,
        operation_id=operation_id,
        details=verdict.details,
    )


@pytest.mark.parametrize(("state", "outcome"), list(product(OperationState, ReplyOutcome)))
def test_what_is_news(state: OperationState, outcome: ReplyOutcome) -> None:
    operation = evolve(CAPTURE, state=state)

    verdict = read_notice(operation, told(outcome), history=(), bank=FORGETS)

    assert (verdict.trigger if verdict else None) is NEWS[state].get(outcome)


@pytest.mark.parametrize(("state", "outcome"), [(s, o) for s, news in NEWS.items() for o in news])
def test_news_is_none_the_second_time(state: OperationState, outcome: ReplyOutcome) -> None:
    """Told again, or told later than what was told after it; the event keeps which it was."""
    operation, notice = evolve(CAPTURE, state=state), told(outcome)
    verdict = read_notice(operation, notice, history=(), bank=FORGETS)
    assert verdict is not None
    earlier = told(outcome, at=NOW.replace(second=0, hour=11), notice_id="n0")
    later = told(outcome, at=NOW.replace(hour=13), notice_id="n2")

    history = [heeded(notice, verdict)]

    assert read_notice(operation, notice, history=history, bank=FORGETS) is None
    assert read_notice(operation, earlier, history=history, bank=FORGETS) is None
    assert read_notice(operation, later, history=history, bank=FORGETS) is not None


def test_what_was_told_of_another_operation_makes_nothing_old() -> None:
    verdict = read_notice(CAPTURE, told(R.APPROVED), history=(), bank=FORGETS)
    assert verdict is not None
    history = [heeded(told(R.APPROVED), verdict, operation_id="op_2")]
    earlier = told(R.APPROVED, at=NOW.replace(hour=11), notice_id="n0")

    assert read_notice(CAPTURE, earlier, history=history, bank=FORGETS) is not None


REVERSED = ("in_doubt", "reversing", "aborted")


@pytest.mark.parametrize(
    ("bank", "states", "hour", "is_news"),
    [
        (REMEMBERS, REVERSED, 11, False),
        (REMEMBERS, REVERSED, 12, False),
        (REMEMBERS, REVERSED, 13, True),
        (REMEMBERS, (*REVERSED, "late_answer"), 11, False),
        (REMEMBERS, ("aborted",), 11, True),
        (REMEMBERS, ("in_doubt", "reversing", "needs_review", "aborted"), 11, True),
        (FORGETS, REVERSED, 11, True),
    ],
)
def test_what_was_approved_before_its_reversal_is_no_news_where_that_is_remembered(
    bank: BankCapabilities, states: tuple[str, ...], hour: int, is_news: bool
) -> None:
    """Not where nothing was sent, or a person called it void: then nothing was reversed."""
    aborted = evolve(CAPTURE, state=S.ABORTED)
    history = [
        Event(
            id=f"evt_{number}",
            merchant_id=aborted.merchant_id,
            subject_id=aborted.subject_id,
            number=number,
            type=f"capture.{state}",
            at=NOW,
            operation_id=aborted.id,
        )
        for number, state in enumerate(states, start=1)
    ]
    notice = told(R.APPROVED, at=NOW.replace(hour=hour))

    verdict = read_notice(aborted, notice, history=history, bank=bank)

    assert (verdict is not None) is is_news
