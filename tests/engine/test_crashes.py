"""Stop every verb before and after every port call, then recover: the books agree with the bank's.

How: the same story is played again and again. In round n the process dies at its n-th port call,
once just before it and once just after. What it has not written is lost. Then a new process starts
on the same store and the same bank, time passes, recovery runs, and the two sets of books are laid
side by side. At last the call is repeated with its key, as a caller would who never got an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from mortal import World, agree
from verbs import KEY, VERBS, Act

from payplatform import BankUnavailable, OutcomeUnknown
from payplatform.banks.simulated import Fault
from payplatform.testing.mortal import Death, Died, Fate, Moment

FAULTS = (Fault.LOSE_REQUEST, Fault.LOSE_REPLY, Fault.DELAY_REQUEST, Fault.FAIL_AFTER)


@pytest.fixture(params=["memory", "sqlite"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return None if request.param == "memory" else tmp_path


def deaths(moment: Moment, play: Callable[[Fate], World]) -> int:
    """Play a story with a death at each port call in turn; tell how many calls it has."""
    at_call = 1
    while True:
        fate = Fate(Death(at_call, moment))
        world = play(fate)
        world.close()
        if not fate.is_dead:
            return len(fate.calls)
        at_call += 1
        assert at_call < 200, "the story never ends"  # a bound


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_death_at_any_port_call_loses_and_takes_nothing(
    verb: str, moment: Moment, file: Path | None
) -> None:
    """Whatever the call dies at, both books agree after recovery, with one effect at most."""
    prepare, act = VERBS[verb]
    rounds = 0

    def play(fate: Fate) -> World:
        nonlocal rounds
        rounds += 1
        world = World(file / f"{rounds}.db" if file else None)
        subject = prepare(world)
        world.start(fate)
        with suppress(Died):
            act(world.shop, subject)
        finish(world)
        repeat(world, act, subject)
        return world

    assert deaths(moment, play) >= 5, "the story has at least two commits, a bank call and reads"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("verb", VERBS)
def test_a_death_during_recovery_loses_and_takes_nothing(verb: str, fault: Fault) -> None:
    """Recovery may die too, at any call, while the bank goes on failing: the next one finishes."""
    prepare, act = VERBS[verb]

    def play(fate: Fate) -> World:
        world = World()
        subject = prepare(world)
        world.bank.next(fault)
        with pytest.raises(OutcomeUnknown):
            act(world.shop, subject)
        world.start(fate)
        with suppress(Died):
            world.pay.recover()
            world.bank.next(Fault.LOSE_REPLY)
            for _ in range(2):
                world.advance(seconds=200)
                world.pay.recover()
        finish(world)
        repeat(world, act, subject)
        return world

    for moment in ("before", "after"):
        deaths(moment, play)


def finish(world: World) -> None:
    """Start again, let time pass, and see that everything comes to an end that both agree on."""
    world.start()
    world.advance(seconds=61)
    world.pay.recover()
    world.recover_all()
    agree(world)


def repeat(world: World, act: Act, subject: str) -> None:
    """The caller asks again with the same key: told the truth, and nothing happens twice."""
    known = world.shop.operations.find(idempotency_key=KEY)
    try:
        result = act(world.shop, subject)
    except BankUnavailable:
        assert known is not None
        assert known.state == "aborted"
    else:
        assert result.replayed is (known is not None)
        assert known is None or known.state in ("succeeded", "declined")
    agree(world)
    operation = world.shop.operations.find(idempotency_key=KEY)
    assert operation is not None
    if operation.kind == "resume":
        assert operation.target_id is not None
        operation = world.shop.operations.get(operation.target_id)
    expected = 1 if operation.state == "succeeded" and operation.kind != "verify" else 0
    assert world.bank.effects(world.merchant_id, operation.id) == expected
