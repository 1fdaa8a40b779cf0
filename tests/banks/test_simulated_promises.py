"""A bank that goes back on its word: it forgets, contradicts itself, or takes back what it did.

Whatever it says, its books are sound, and tell what it has really done.
"""

import pytest
from bank_requests import HELD, SOLD, Clock, Counter, do, modest

from payplatform.banks.simulated import Call, Fault, Position, SimulatedBank
from payplatform.ports import ReplyOutcome

APPROVED, DECLINED = ReplyOutcome.APPROVED, ReplyOutcome.DECLINED

BEFORE: dict[str, list[tuple[str, str, int]]] = {
    "sale": [],
    "authorize": [],
    "verify": [],
    "increment": HELD,
    "capture": HELD,
    "void": HELD,
    "refund": SOLD,
}
"""What each kind of operation needs to have happened; a resume stands for what it resumes."""
AMOUNTS = {"verify": 0}
BRIEFLY_KEPT = ("capture", "refund")
HOUR_S = 3_600


@pytest.fixture
def bank(clock: Clock) -> SimulatedBank:
    """Books in memory: what is kept in a file is tested with the notices."""
    return SimulatedBank(now=clock)


def send(counter: Counter, kind: str, operation_id: str = "op_1") -> ReplyOutcome:
    target = "a" if BEFORE[kind] else None
    reply = counter.send(kind, operation_id, AMOUNTS.get(kind, 60), target_id=target)
    return reply.outcome


@pytest.mark.parametrize("fault", [Fault.FORGET_ID, Fault.CONTRADICT, Fault.TAKE_BACK])
@pytest.mark.parametrize("kind", BEFORE)
def test_each_kind_of_operation_is_done_all_the_same(
    counter: Counter, kind: str, fault: Fault
) -> None:
    """Once, and the same as without the fault; only what is said of it may differ."""
    do(counter, BEFORE[kind])
    counter.bank.next(fault)

    said = send(counter, kind)

    assert said is (DECLINED if fault is Fault.CONTRADICT else APPROVED)
    assert counter.inquire("op_1").outcome is APPROVED
    assert counter.effects("op_1") == (kind != "verify")


# It forgets.


@pytest.mark.parametrize("kind", BEFORE)
def test_what_is_sent_again_under_a_forgotten_id_is_new(counter: Counter, kind: str) -> None:
    """Done a second time as far as the books allow it; the first answer goes on being told."""
    do(counter, BEFORE[kind])
    send(counter, kind)
    first = counter.inquire("op_1")
    counter.bank.next(Fault.FORGET_ID)

    again = send(counter, kind)

    fits_twice = kind in ("sale", "authorize", "verify", "increment")
    assert again is (APPROVED if fits_twice else DECLINED)
    assert counter.effects("op_1") == (0 if kind == "verify" else 1 + fits_twice)
    assert counter.inquire("op_1") == first


def test_a_forgotten_id_may_be_one_that_was_reversed(counter: Counter) -> None:
    counter.send("reversal", "op_1")
    counter.bank.next(None, Fault.FORGET_ID)

    assert send(counter, "sale") is DECLINED
    assert send(counter, "sale") is APPROVED


def test_a_reversal_that_is_confirmed_may_be_forgotten(counter: Counter) -> None:
    """What has not been seen yet is done when it arrives, and a second reversal undoes it."""
    counter.bank.next(Fault.FORGET_REVERSAL)
    assert counter.outcome("reversal", "op_1") == "approved"
    assert counter.inquire("op_1").outcome is ReplyOutcome.NOT_FOUND

    assert send(counter, "sale") is APPROVED

    assert counter.outcome("reversal", "op_1") == "approved"
    assert counter.effects("op_1") == 0


@pytest.mark.parametrize("kind", BEFORE)
def test_what_was_seen_is_undone_though_the_reversal_is_forgotten(
    counter: Counter, kind: str
) -> None:
    do(counter, BEFORE[kind])
    send(counter, kind)
    counter.bank.next(Fault.FORGET_REVERSAL)

    assert counter.outcome("reversal", "op_1") == "approved"

    assert counter.effects("op_1") == 0
    assert counter.inquire("op_1").outcome is DECLINED


def test_only_a_reversal_can_be_forgotten_as_one(counter: Counter) -> None:
    counter.bank.next(Fault.FORGET_REVERSAL)

    assert send(counter, "sale") is APPROVED
    assert counter.outcome("reversal", "op_2") == "approved"
    assert send(counter, "sale", "op_2") is APPROVED


# It contradicts itself.


@pytest.mark.parametrize("call", [Call.SEND, Call.INQUIRY])
@pytest.mark.parametrize("card", ["4242424242424242", "4000000000000002"])
def test_the_contrary_is_said_and_the_truth_is_noticed(
    counter: Counter, call: Call, card: str
) -> None:
    """Complete in itself: an approval has its amount and no reason, a decline has its reason."""
    if call is Call.INQUIRY:
        counter.send("sale", "op_1", card=card)
    counter.bank.next(Fault.CONTRADICT, on=call)

    said = counter.send("sale", "op_1", card=card) if call is Call.SEND else counter.inquire("op_1")

    truth = counter.inquire("op_1")
    assert {said.outcome, truth.outcome} == {APPROVED, DECLINED}
    assert said.amount == truth.amount
    assert (said.decline is None) is (said.outcome is APPROVED)
    [notice] = counter.bank.notices()
    assert notice.reply == truth


@pytest.mark.parametrize("card", ["4000000000003220", "4000000000007726"])
def test_what_is_neither_approved_nor_declined_is_told_as_it_is(
    counter: Counter, card: str
) -> None:
    counter.send("sale", "a", card=card)
    waiting = "a" if card.endswith("3220") else "r"
    if waiting == "r":
        counter.send("refund", "r", 60, target_id="a")
    truth = counter.inquire(waiting)
    counter.bank.next(Fault.CONTRADICT)

    assert counter.inquire(waiting) == truth


def test_what_was_never_seen_cannot_be_contradicted(counter: Counter) -> None:
    counter.send("reversal", "op_2")
    counter.bank.next(Fault.CONTRADICT, Fault.CONTRADICT)

    assert counter.inquire("op_1").outcome is ReplyOutcome.NOT_FOUND
    assert counter.inquire("op_2").outcome is DECLINED
    assert counter.bank.notices() == []


# It takes back.


def test_a_payment_is_not_what_is_taken_back(counter: Counter, clock: Clock) -> None:
    """The fault strikes one capture or refund, and none that follows what it struck in vain."""
    counter.bank.next(Fault.TAKE_BACK)
    do(counter, [*HELD, ("capture", "c", 60)])
    clock.forward(HOUR_S)

    assert counter.bank.position("mer_1", "a") == Position(authorized=100, captured=60)


@pytest.mark.parametrize("kind", BEFORE)
def test_captures_and_refunds_are_taken_back_when_their_time_has_come(
    counter: Counter, clock: Clock, kind: str
) -> None:
    """To the microsecond, dated then, as if they had been declined; nothing else is."""
    do(counter, BEFORE[kind])
    counter.bank.next(Fault.TAKE_BACK)
    send(counter, kind)
    clock.forward(HOUR_S - 0.000001)
    assert counter.inquire("op_1").outcome is APPROVED
    clock.forward(0.000001)
    due_at = clock.time
    clock.forward(9)

    taken_back = kind in BRIEFLY_KEPT
    assert counter.inquire("op_1").outcome is (DECLINED if taken_back else APPROVED)
    assert counter.effects("op_1") == (not taken_back and kind != "verify")
    assert [notice.at for notice in counter.bank.notices()] == [due_at] * taken_back


def test_a_capture_stands_whose_money_was_given_back(counter: Counter, clock: Clock) -> None:
    do(counter, HELD)
    counter.bank.next(Fault.TAKE_BACK)
    do(counter, [("capture", "op_1", 60), ("refund", "r", 60)])
    for _ in range(2):  # its time comes once
        clock.forward(HOUR_S)

        assert counter.inquire("op_1").outcome is APPROVED
        assert counter.effects("op_1") == 1
        assert counter.bank.notices() == []
    assert counter.outcome("reversal", "r", 60) == "approved"
    clock.forward(HOUR_S)
    assert counter.effects("op_1") == 1, "not even when nothing rests on it any more"


def test_nothing_rests_on_a_refund(counter: Counter, clock: Clock) -> None:
    """What was given back comes back, whatever else was given back."""
    do(counter, SOLD)
    counter.bank.next(Fault.TAKE_BACK)
    do(counter, [("refund", "op_1", 60), ("refund", "r", 40)])
    clock.forward(HOUR_S)

    assert counter.bank.position("mer_1", "a") == Position(
        authorized=100, captured=100, refunded=40
    )


def test_a_final_capture_taken_back_gives_back_what_it_had_released(
    counter: Counter, clock: Clock
) -> None:
    do(counter, [*HELD, ("capture", "c", 10), ("void", "v", 5)])
    counter.bank.next(Fault.TAKE_BACK)
    counter.send("capture", "op_1", 60, target_id="a", final=True)
    assert counter.bank.position("mer_1", "a").voided == 30
    clock.forward(HOUR_S)

    position = counter.bank.position("mer_1", "a")

    assert position == Position(authorized=100, captured=10, voided=5)
    assert counter.outcome("capture", "op_2", 85, target_id="a") == "approved"


def test_what_is_reversed_is_not_taken_back_as_well(counter: Counter, clock: Clock) -> None:
    do(counter, HELD)
    counter.bank.next(Fault.TAKE_BACK)
    send(counter, "capture")
    assert counter.outcome("reversal", "op_1") == "approved"
    clock.forward(HOUR_S)

    assert counter.bank.notices() == []
    assert counter.bank.position("mer_1", "a") == Position(authorized=100)


@pytest.mark.parametrize("delivery", ["once", "twice"])
def test_a_repetition_tells_that_it_was_taken_back(clock: Clock, delivery: str) -> None:
    """And does nothing, for as long as the bank remembers the id."""
    counter = modest(clock, dedups_operation_id_s=2 * HOUR_S)
    do(counter, HELD)
    counter.bank.next(Fault.TAKE_BACK)
    send(counter, "capture")
    if delivery == "twice":
        assert send(counter, "capture") is APPROVED
    clock.forward(HOUR_S)

    assert send(counter, "capture") is DECLINED
    assert counter.effects("op_1") == 0


@pytest.mark.parametrize(
    ("number", "kind"), [("4000000000010324", "refund"), ("4000000000010332", "capture")]
)
def test_a_card_has_its_captures_or_its_refunds_taken_back(
    counter: Counter, clock: Clock, number: str, kind: str
) -> None:
    """Each of them, and not the payment that they belong to."""
    counter.send("authorize", "a", card=number)
    do(counter, [("capture", "c1", 40), ("capture", "c2", 50)])
    if kind == "refund":
        do(counter, [("refund", "r1", 20), ("refund", "r2", 30)])
    clock.forward(HOUR_S)

    captured = 0 if kind == "capture" else 90
    assert counter.bank.position("mer_1", "a") == Position(authorized=100, captured=captured)
    assert len(counter.bank.notices()) == 2
