"""The table of operation states is the machine, and the machine keeps the protocol's promises.

These tests walk the table as data: what it lists, where one can get to, and where never.
"""

from collections.abc import Callable, Iterable
from itertools import product

import pytest

from payplatform._domain.events import EVENT_TYPES
from payplatform._domain.operations import (
    FINAL_STATES,
    TRANSITIONS,
    OperationKind,
    OperationState,
    Trigger,
    next_state,
)

BY_A_PERSON = frozenset(
    {Trigger.RESOLVED_SUCCEEDED, Trigger.RESOLVED_DECLINED, Trigger.RESOLVED_ABORTED}
)

OPEN_STATES = [state for state in OperationState if not state.is_final]

Move = tuple[OperationState, Trigger, OperationState]
MOVES: list[Move] = [(state, trigger, end) for (state, trigger), end in TRANSITIONS.items()]


def reachable(
    start: OperationState, allowed: Callable[[Trigger], bool] = lambda _: True
) -> frozenset[OperationState]:
    """Every state that some sequence of allowed triggers leads to, `start` included."""
    seen, frontier = {start}, [start]
    while frontier:
        here = frontier.pop()
        found = {end for state, trigger, end in MOVES if state is here and allowed(trigger)}
        frontier += found - seen
        seen |= found
    return frozenset(seen)


def ends(*, of: OperationState) -> frozenset[OperationState]:
    return frozenset(end for state, _, end in MOVES if state is of)


def causes(moves: Iterable[Move]) -> frozenset[Trigger]:
    return frozenset(trigger for _, trigger, _ in moves)


@pytest.mark.parametrize(("state", "trigger"), list(product(OperationState, Trigger)))
def test_what_the_table_does_not_list_leads_nowhere(
    state: OperationState, trigger: Trigger
) -> None:
    assert next_state(state, trigger) is TRANSITIONS.get((state, trigger))


def test_every_trigger_means_something_and_most_pairs_are_illegal() -> None:
    assert causes(MOVES) == frozenset(Trigger)
    assert len(MOVES) < len(OperationState) * len(Trigger) / 3


def test_every_state_is_reachable_from_the_first_send() -> None:
    assert reachable(OperationState.IN_FLIGHT) == frozenset(OperationState)


@pytest.mark.parametrize("state", OPEN_STATES)
def test_no_state_is_a_dead_end_unless_it_is_final(state: OperationState) -> None:
    assert reachable(state) & FINAL_STATES


def test_nothing_leads_out_of_a_final_state_but_the_bank_going_back_on_its_word() -> None:
    """It takes a success back, or approves late what it had declined: that, a person sees."""
    out = {(state, trigger, end) for state, trigger, end in MOVES if state.is_final}

    assert out == {
        (OperationState.SUCCEEDED, Trigger.TAKEN_BACK, OperationState.REVERSED),
        (OperationState.DECLINED, Trigger.LATE_APPROVAL, OperationState.NEEDS_REVIEW),
        (OperationState.ABORTED, Trigger.LATE_APPROVAL, OperationState.NEEDS_REVIEW),
    }


def test_doubt_never_becomes_a_failure_at_once() -> None:
    """Only a stored decision to reverse, confirmed by the bank, or a person ends in `aborted`."""
    assert OperationState.ABORTED not in ends(of=OperationState.IN_DOUBT)
    ways_to_aborted = {(state, trigger) for state, trigger, end in MOVES if end == "aborted"}
    assert ways_to_aborted == {
        (OperationState.IN_FLIGHT, Trigger.NOT_SENT),
        (OperationState.REVERSING, Trigger.REVERSAL_CONFIRMED),
        (OperationState.NEEDS_REVIEW, Trigger.RESOLVED_ABORTED),
    }


def test_from_reversing_no_answer_of_the_bank_leads_back_to_success() -> None:
    without_a_person = reachable(OperationState.REVERSING, lambda t: t not in BY_A_PERSON)

    assert without_a_person == {
        OperationState.REVERSING,
        OperationState.NEEDS_REVIEW,
        OperationState.ABORTED,
    }


def test_not_sent_proves_something_only_of_the_first_send() -> None:
    assert [state for state, trigger, _ in MOVES if trigger is Trigger.NOT_SENT] == ["in_flight"]


def test_no_lack_of_an_answer_ever_decides_an_operation() -> None:
    """Time never turns unknown into failed: silence keeps it open, and its end asks a person."""
    for state, trigger, end in MOVES:
        if trigger is Trigger.UNCLEAR:
            assert end is (OperationState.IN_DOUBT if state == "in_flight" else state)
        if trigger is Trigger.GIVEN_UP:
            assert end is OperationState.NEEDS_REVIEW


def test_every_open_state_can_be_given_up_and_hears_silence() -> None:
    """So that recovery always has a move, whatever it is told."""
    for state in set(OPEN_STATES) - {OperationState.NEEDS_REVIEW}:
        assert next_state(state, Trigger.UNCLEAR) is not None
        assert next_state(state, Trigger.GIVEN_UP) is OperationState.NEEDS_REVIEW


def test_only_a_person_leads_out_of_review_and_only_out_of_review() -> None:
    assert causes(m for m in MOVES if m[0] is OperationState.NEEDS_REVIEW) == BY_A_PERSON
    assert {state for state, trigger, _ in MOVES if trigger in BY_A_PERSON} == {"needs_review"}


def test_what_carries_a_card_is_never_sent_twice() -> None:
    """PCI DSS v4.0.1 3.3.1: the security code of the first request was not kept."""
    both = [kind for kind in OperationKind if kind.carries_card and kind.may_be_resent]

    assert both == []
    assert {kind for kind in OperationKind if kind.carries_card} == {"sale", "authorize", "verify"}
    assert not OperationKind.INCREMENT.may_be_resent


@pytest.mark.parametrize(
    ("kind", "state"),
    [pair for pair in product(OperationKind, OperationState) if pair[1] != "in_flight"],
)
def test_every_state_that_an_operation_comes_to_has_an_event_type(
    kind: OperationKind, state: OperationState
) -> None:
    assert f"{kind}.{state}" in EVENT_TYPES
