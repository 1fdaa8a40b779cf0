"""What goes wrong on the wire goes wrong where its row says, and the books stay right."""

from collections import Counter as Tally

import pytest
from attrs import evolve
from bank_requests import DAY_S, START, Clock, Counter, modest
from hypothesis import given
from hypothesis import strategies as st

from payplatform._domain.money import MAX_MINOR, Money
from payplatform.banks._faults import FaultPlan
from payplatform.banks.simulated import (
    FAULTS,
    FULL_CAPABILITIES,
    WIRE_FAULTS,
    Call,
    Fault,
    Faults,
    Moment,
    ServerError,
    SimulatedBank,
)
from payplatform.errors import ErrorCode, InvalidRequest, NotSent
from payplatform.ports import BankReply, ReplyOutcome

RAISES = {
    Fault.DOWN: NotSent,
    Fault.LOSE_REQUEST: TimeoutError,
    Fault.DELAY_REQUEST: TimeoutError,
    Fault.DELAY_PAST_INQUIRY: TimeoutError,
    Fault.DELAY_PAST_PROMISE: TimeoutError,
    Fault.FAIL_BEFORE: ServerError,
    Fault.LOSE_REPLY: TimeoutError,
    Fault.FAIL_AFTER: ServerError,
}
ALTERS = [Fault.GARBLE_REPLY, Fault.OTHER_ID, Fault.OTHER_AMOUNT, Fault.OTHER_CURRENCY]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bank(clock: Clock) -> SimulatedBank:
    return SimulatedBank(now=clock)


@pytest.fixture
def counter(bank: SimulatedBank) -> Counter:
    return Counter(bank)


def ask(counter: Counter, call: Call) -> object:
    """Make a call of this sort about the operation `op_1`."""
    if call is Call.INQUIRY:
        return counter.inquire("op_1")
    return counter.send("sale" if call is Call.SEND else "reversal", "op_1")


def test_every_fault_has_a_row() -> None:
    assert set(FAULTS) == set(Fault)
    assert all(rule.calls and rule.words.endswith(".") for rule in FAULTS.values())


def test_what_breaks_a_promise_says_which_harm_it_can_do() -> None:
    assert {fault for fault, rule in FAULTS.items() if rule.breaks_promise} == {
        Fault.DELAY_PAST_PROMISE,
        Fault.FORGET_ID,
        Fault.FORGET_REVERSAL,
        Fault.CONTRADICT,
    }
    assert all((rule.harm or "x.").endswith(".") for rule in FAULTS.values())


@pytest.mark.parametrize(
    ("fault", "call"), [(fault, call) for fault in RAISES for call in sorted(FAULTS[fault].calls)]
)
def test_a_fault_raises_what_its_row_says(counter: Counter, fault: Fault, call: Call) -> None:
    counter.bank.next(fault)

    with pytest.raises(RAISES[fault]):
        ask(counter, call)


@pytest.mark.parametrize("fault", RAISES)
def test_the_bank_has_done_it_or_not_as_the_moment_says(counter: Counter, fault: Fault) -> None:
    """Before: it has seen nothing. After: it has done it, and an inquiry tells."""
    counter.bank.next(fault)
    with pytest.raises(RAISES[fault]):
        counter.send("sale", "op_1")

    done = FAULTS[fault].moment is Moment.AFTER
    assert counter.effects("op_1") == int(done)
    expected = ReplyOutcome.APPROVED if done else ReplyOutcome.NOT_FOUND
    assert counter.inquire("op_1").outcome is expected


@pytest.mark.parametrize("fault", [f for f in RAISES if FAULTS[f].moment is Moment.AFTER])
def test_a_lost_answer_is_had_by_asking_again(counter: Counter, fault: Fault) -> None:
    """The same id again tells what would have been answered, and does nothing."""
    counter.bank.next(fault)
    with pytest.raises(RAISES[fault]):
        counter.send("sale", "op_1")

    reply = counter.send("sale", "op_1")

    assert reply.outcome is ReplyOutcome.APPROVED
    assert reply == counter.inquire("op_1")
    assert counter.effects("op_1") == 1


@pytest.mark.parametrize("fault", ALTERS)
@pytest.mark.parametrize("call", Call)
def test_an_altered_answer_is_altered_and_the_books_are_right(
    counter: Counter, fault: Fault, call: Call
) -> None:
    """Exactly what the fault names is wrong: the whole, the id, the amount or the currency."""
    if call is not Call.SEND:
        counter.send("sale", "op_1")
    counter.bank.next(fault)

    altered = ask(counter, call)

    assert (
        wrong_parts(altered)
        == {
            Fault.GARBLE_REPLY: {"type"},
            Fault.OTHER_ID: {"id"},
            Fault.OTHER_AMOUNT: {"amount"},
            Fault.OTHER_CURRENCY: {"currency"},
        }[fault]
    )
    assert counter.effects("op_1") == (0 if call is Call.REVERSAL else 1)


def wrong_parts(reply: object) -> set[str]:
    """What of an answer is not as an answer about one euro for `op_1` has to be."""
    if not isinstance(reply, BankReply):
        return {"type"}
    assert reply.amount is not None
    parts = {
        "id": reply.operation_id == "op_1",
        "amount": reply.amount.amount_minor == 100,
        "currency": reply.amount.currency == "EUR",
    }
    return {part for part, is_right in parts.items() if not is_right}


@pytest.mark.parametrize("fault", [Fault.OTHER_AMOUNT, Fault.OTHER_CURRENCY])
def test_even_not_found_can_come_with_an_amount(counter: Counter, fault: Fault) -> None:
    counter.bank.next(fault)

    assert counter.inquire("op_1").amount == Money.minor(1, "EUR")


@pytest.mark.parametrize("fault", [Fault.OTHER_AMOUNT, Fault.OTHER_CURRENCY])
def test_the_greatest_amount_is_altered_too(counter: Counter, fault: Fault) -> None:
    counter.bank.next(fault)

    reply = counter.send("sale", "op_1", MAX_MINOR, currency="USD")

    assert reply.amount not in (None, Money.minor(MAX_MINOR, "USD"))


@pytest.mark.parametrize("dedups", [True, False])
def test_a_request_delivered_twice_is_done_once_where_ids_are_remembered(
    clock: Clock, dedups: bool
) -> None:
    offers = evolve(FULL_CAPABILITIES, dedups_operation_id_s=60.0 if dedups else 0.0)
    counter = Counter(SimulatedBank(now=clock, capabilities=offers))
    counter.bank.next(Fault.DELIVER_TWICE)

    assert counter.outcome("sale", "op_1") == "approved"
    assert counter.effects("op_1") == (1 if dedups else 2)


def test_an_approval_in_part_books_the_part(counter: Counter) -> None:
    """Half is approved, half is booked, told again, and undone by a reversal of the whole."""
    counter.bank.next(Fault.APPROVE_IN_PART)

    reply = counter.send("authorize", "op_1", 101)

    assert reply.outcome is ReplyOutcome.APPROVED
    assert reply.amount == Money.minor(50, "EUR")
    assert reply == counter.inquire("op_1") == counter.send("authorize", "op_1", 101)
    assert counter.bank.position("mer_1", "op_1").authorized == 50
    assert counter.outcome("capture", "op_2", 51, target_id="op_1").startswith("invalid_amount")
    assert counter.outcome("reversal", "op_1", 101) == "approved"
    assert counter.bank.position("mer_1", "op_1").authorized == 0


def test_a_delayed_request_arrives_when_it_is_let(counter: Counter) -> None:
    counter.bank.next(Fault.DELAY_REQUEST)
    with pytest.raises(TimeoutError):
        counter.send("sale", "op_1")
    assert counter.effects("op_1") == 0

    assert counter.bank.deliver_late() == 1

    assert counter.effects("op_1") == 1
    assert counter.inquire("op_1").outcome is ReplyOutcome.APPROVED
    assert counter.bank.deliver_late() == 0


def test_a_delayed_request_arrives_when_its_time_has_come(clock: Clock) -> None:
    """After `late_by_s`, to the microsecond, dated with the time of its arrival."""
    counter = Counter(SimulatedBank(now=clock, late_by_s=20))
    counter.bank.next(Fault.DELAY_REQUEST)
    with pytest.raises(TimeoutError):
        counter.send("sale", "op_1")
    sent_at = clock.time

    clock.forward(19.999999)
    assert counter.effects("op_1") == 0
    clock.forward(100)

    assert counter.effects("op_1") == 1
    [line] = counter.bank.statement()
    assert (line.at - sent_at).total_seconds() == 20


@pytest.mark.parametrize(
    ("fault", "after_s"), [(Fault.DELAY_PAST_INQUIRY, 59.999999), (Fault.DELAY_PAST_PROMISE, 80)]
)
def test_a_request_may_arrive_at_the_last_moment_or_after_it(
    clock: Clock, fault: Fault, after_s: float
) -> None:
    """The bank says that none arrives after 60 s: the one keeps to it by a microsecond."""
    counter = Counter(SimulatedBank(now=clock, late_by_s=20))
    counter.bank.next(fault)
    with pytest.raises(TimeoutError):
        counter.send("sale", "op_1")

    clock.forward(after_s - 0.000001)
    assert counter.effects("op_1") == 0
    clock.forward(0.000001)
    assert counter.effects("op_1") == 1


def test_requests_on_their_way_are_kept_apart(counter: Counter, clock: Clock) -> None:
    """One arrives while another is still held up, and a third sets out."""
    for operation_id, fault, passes_s in (
        ("op_1", Fault.DELAY_REQUEST, 0),
        ("op_2", Fault.DELAY_PAST_PROMISE, 31),
        ("op_3", Fault.DELAY_PAST_PROMISE, 90),
    ):
        counter.bank.next(fault)
        with pytest.raises(TimeoutError):
            counter.send("sale", operation_id)
        clock.forward(passes_s)

    assert [counter.effects(f"op_{n}") for n in (1, 2, 3)] == [1, 1, 1]


@pytest.mark.parametrize("fault", [Fault.DELAY_PAST_INQUIRY, Fault.DELAY_PAST_PROMISE])
def test_without_a_promise_a_request_is_a_day_on_its_way(clock: Clock, fault: Fault) -> None:
    counter = modest(clock, max_in_flight_s=float("inf"))
    counter.bank.next(fault)
    with pytest.raises(TimeoutError):
        counter.send("sale", "op_1")
    clock.forward(DAY_S - 1)
    assert counter.effects("op_1") == 0
    clock.forward(31)
    assert counter.effects("op_1") == 1


def test_delayed_requests_arrive_in_order_among_what_falls_due(clock: Clock) -> None:
    """A resume on its way is in time for a challenge that ends after it arrives."""
    counter = Counter(SimulatedBank(now=clock, late_by_s=30, challenge_s=60))
    for operation_id, forward_s in (("op_1", 40), ("op_2", 10)):
        counter.send("sale", operation_id, card="4000000000003220")
        counter.bank.complete_challenge(operation_id)
        clock.forward(forward_s)
        counter.bank.next(Fault.DELAY_REQUEST)
        with pytest.raises(TimeoutError):
            counter.send("resume", f"{operation_id}r", target_id=operation_id)
    clock.forward(3_600)

    # The first resume arrives 70 s after its challenge was asked for, the second after 40 s.
    assert counter.effects("op_1") == 0
    assert counter.effects("op_2") == 1


def test_a_delayed_request_is_declined_after_its_reversal(counter: Counter) -> None:
    """The bank remembers that it must never do what it has not seen yet."""
    counter.bank.next(Fault.DELAY_REQUEST)
    with pytest.raises(TimeoutError):
        counter.send("sale", "op_1")
    assert counter.outcome("reversal", "op_1") == "approved"

    counter.bank.deliver_late()

    assert counter.effects("op_1") == 0
    assert counter.inquire("op_1").outcome is ReplyOutcome.DECLINED


def test_a_delayed_reversal_undoes_when_it_arrives(counter: Counter) -> None:
    counter.send("sale", "op_1")
    counter.bank.next(Fault.DELAY_REQUEST, on=Call.REVERSAL)
    with pytest.raises(TimeoutError):
        counter.send("reversal", "op_1")
    assert counter.effects("op_1") == 1

    counter.bank.deliver_late()

    assert counter.effects("op_1") == 0


def test_a_delayed_copy_of_what_was_done_changes_nothing(counter: Counter) -> None:
    counter.bank.next(Fault.DELAY_REQUEST)
    with pytest.raises(TimeoutError):
        counter.send("sale", "op_1")
    reply = counter.send("sale", "op_1")

    counter.bank.deliver_late()

    assert counter.effects("op_1") == 1
    assert counter.inquire("op_1") == reply


def test_a_request_may_not_be_later_than_the_bank_declares(clock: Clock) -> None:
    """Recovery waits `max_in_flight_s` and no longer: a bank that breaks that is another bank."""
    with pytest.raises(InvalidRequest) as refused:
        SimulatedBank(now=clock, late_by_s=60.1)

    assert (refused.value.code, refused.value.field) == (ErrorCode.VALUE_INVALID, "late_by_s")


def test_down_until_up(counter: Counter) -> None:
    counter.bank.down()
    for call in Call:
        with pytest.raises(NotSent):
            ask(counter, call)
    counter.bank.up()

    assert counter.outcome("sale", "op_1") == "approved"


def test_down_for_days(counter: Counter, clock: Clock) -> None:
    """By the bank's clock, to the microsecond, and over at once when it is said to be up."""
    counter.bank.down(for_s=3 * DAY_S)
    clock.forward(3 * DAY_S - 0.000001)
    with pytest.raises(NotSent):
        counter.inquire("op_1")
    clock.forward(0.000001)
    assert counter.outcome("sale", "op_1") == "approved"
    counter.bank.down(for_s=3 * DAY_S)
    counter.bank.up()
    assert counter.outcome("sale", "op_2") == "approved"


def test_the_script_goes_in_order_and_none_lets_a_call_pass(counter: Counter) -> None:
    counter.bank.next(None, Fault.LOSE_REPLY, Fault.FAIL_BEFORE)

    assert counter.outcome("sale", "op_1") == "approved"
    with pytest.raises(TimeoutError):
        counter.send("sale", "op_2")
    with pytest.raises(ServerError):
        counter.send("sale", "op_3")
    assert counter.outcome("sale", "op_4") == "approved"


def test_a_fault_waits_for_its_sort_of_call(counter: Counter) -> None:
    counter.bank.next(Fault.LOSE_REPLY, on=Call.INQUIRY)

    assert counter.outcome("sale", "op_1") == "approved"
    assert counter.outcome("reversal", "op_1") == "approved"
    with pytest.raises(TimeoutError):
        counter.inquire("op_1")
    assert counter.inquire("op_1").outcome is ReplyOutcome.DECLINED


def test_a_fault_that_cannot_strike_an_inquiry_waits_for_a_request(counter: Counter) -> None:
    counter.bank.next(Fault.DELAY_REQUEST)

    assert counter.inquire("op_1").outcome is ReplyOutcome.NOT_FOUND
    with pytest.raises(TimeoutError):
        counter.send("sale", "op_1")


@pytest.mark.parametrize(
    ("number", "raised", "effects"),
    [
        ("4000000000010407", TimeoutError, 0),
        ("4000000000010415", TimeoutError, 1),
        ("4000000000010423", TimeoutError, 0),
        ("4000000000010431", NotSent, 0),
    ],
)
def test_a_card_may_bring_its_own_fault(
    counter: Counter, number: str, raised: type[Exception], effects: int
) -> None:
    """Each time it is sent; what follows without the card goes well."""
    for _ in range(2):
        with pytest.raises(raised):
            counter.send("authorize", "op_1", card=number)

    assert counter.effects("op_1") == effects
    assert counter.outcome("reversal", "op_1") == "approved"


def test_the_script_comes_before_the_card(counter: Counter) -> None:
    counter.bank.next(None)

    assert counter.outcome("sale", "op_1", card="4000000000010415") == "approved"


def outcomes_of(faults: Faults, calls: int) -> list[str]:
    counter = Counter(SimulatedBank(now=Clock(), faults=faults))
    seen = []
    for number in range(calls):
        try:
            seen.append(counter.outcome("sale", f"op_{number}"))
        except (TimeoutError, ServerError, NotSent) as error:
            seen.append(type(error).__name__)
    return seen


@given(seed=st.integers())
def test_a_seed_repeats_its_faults(seed: int) -> None:
    faults = Faults(seed=seed, rates={Fault.LOSE_REPLY: 0.3, Fault.DOWN: 0.2})

    assert outcomes_of(faults, 20) == outcomes_of(faults, 20)


def test_rates_are_shares_of_the_calls() -> None:
    faults = Faults(seed=7, rates={Fault.LOSE_REPLY: 0.3, Fault.DOWN: 0.2, Fault.FAIL_AFTER: 0.0})

    tally = Tally(outcomes_of(faults, 1_000))

    assert 250 < tally["TimeoutError"] < 350
    assert 150 < tally["NotSent"] < 250
    assert tally["approved"] == 1_000 - tally["TimeoutError"] - tally["NotSent"]


def test_a_mix_has_all_that_asking_again_makes_good() -> None:
    """Each as often as the others, and none that breaks a promise or that a notice has to tell."""
    rates = Faults.mixed(7).rates

    assert set(rates) == set(WIRE_FAULTS)
    assert set(Fault) - set(rates) == {
        *(fault for fault, rule in FAULTS.items() if rule.breaks_promise),
        Fault.TAKE_BACK,
    }
    assert {round(1 / rate) for rate in rates.values()} == {65}


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_a_mix_strikes_as_often_as_said(share: float) -> None:
    plan = FaultPlan(Faults.mixed(7, share=share))

    struck = sum(plan.draw(Call.SEND, START) is not None for _ in range(1_000))

    assert abs(struck - 1_000 * share) < 50


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Faults.mixed(7, share=share)

    assert (refused.value.code, refused.value.field) == (ErrorCode.VALUE_INVALID, "rates")


def test_seeds_differ() -> None:
    rates = {Fault.LOSE_REPLY: 0.5}

    assert outcomes_of(Faults(seed=1, rates=rates), 30) != outcomes_of(
        Faults(seed=2, rates=rates), 30
    )


@pytest.mark.parametrize(
    "rates",
    [
        {Fault.DOWN: -0.1},
        {Fault.DOWN: 1.1},
        {Fault.DOWN: 0.6, Fault.LOSE_REPLY: 0.6},
        {"down": 0.1},
        {Fault.DOWN: float("nan")},
    ],
)
def test_rates_that_are_none_are_refused(rates: dict[Fault, float]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Faults(seed=1, rates=rates)

    assert (refused.value.code, refused.value.field) == (ErrorCode.VALUE_INVALID, "rates")


def test_new_faults_take_the_place_of_all_that_was_to_go_wrong(counter: Counter) -> None:
    """The script, chance and an outage are over; None: all is well from here on."""
    bank = counter.bank
    bank.next(Fault.LOSE_REPLY)
    bank.down()
    bank.set_faults(Faults(seed=1, rates={Fault.FAIL_AFTER: 1.0}))
    with pytest.raises(ServerError):
        counter.send("sale", "op_1")

    bank.set_faults(None)

    assert counter.send("sale", "op_2").outcome is ReplyOutcome.APPROVED
