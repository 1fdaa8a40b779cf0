"""Stop the news and the answers of a dispute at every port call: nothing is lost, or done twice.

How: as in `test_crashes`. A new process starts on the same store and the same bank, the post comes
again, what is due is done, and the two sets of books are laid side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from mortal import World, agree, banks_position
from shaky import (
    Fails,
    Shaky,
    done_but_uncertain,
    named,
    not_done_and_uncertain,
    stale,
    unavailable,
)
from test_crashes import deaths
from verbs import a_card, eur

from payplatform import Dispute, OutcomeUnknown, StorageUnavailable
from payplatform.banks.simulated import Fault
from payplatform.testing.mortal import Died, Fate, Moment

ANSWERS: dict[str, Callable[[World, str], Dispute]] = {
    "submitted": lambda world, name: world.shop.disputes.submit_evidence(name, {"receipt": "7"}),
    "accepted": lambda world, name: world.shop.disputes.accept(name),
}


@pytest.fixture(params=["memory", "sqlite"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return None if request.param == "memory" else tmp_path


def a_world(file: Path | None, number: int = 1) -> World:
    """A world in which the cardholder's bank disputes a payment, and nobody has heard of it."""
    world = World(file / f"{number}.db" if file else None)
    payment = world.shop.payments.charge(
        eur("100"), payment_method=a_card(world), idempotency_key="sale"
    )
    assert payment.latest_operation_id is not None
    world.bank.disputes.open(world.merchant_id, payment.latest_operation_id, eur("60"))
    return world


def deliver(world: World) -> None:
    for notice in world.bank.notices():
        world.pay.notices.apply(notice)
        world.bank.acknowledge(notice.id)


def the_dispute(world: World) -> Dispute:
    [dispute] = world.shop.disputes.list()
    return dispute


def history(world: World) -> list[str]:
    [payment] = world.shop.payments.list()
    types = [event.type for event in world.shop.payments.timeline(payment.id)]
    return [name for name in types if name.startswith("dispute.")]


def finish(world: World, lost: int) -> None:
    """Start again and do what is due; then both books say the same."""
    world.start()
    deliver(world)
    for _ in range(3):
        world.advance(minutes=5)
        world.pay.run_due()
    agree(world)
    [payment] = world.shop.payments.list()
    assert payment.facts.disputed == banks_position(world, payment).disputed == 6_000
    assert payment.facts.dispute_lost == lost


@pytest.mark.parametrize("moment", ["before", "after"])
def test_news_that_a_death_interrupts_is_booked_once(moment: Moment, file: Path | None) -> None:
    rounds = 0

    def play(fate: Fate) -> World:
        nonlocal rounds
        rounds += 1
        world = a_world(file, rounds)
        world.start(fate)
        with suppress(Died):
            deliver(world)
        finish(world, lost=0)
        assert history(world) == ["dispute.opened"]
        return world

    assert deaths(moment, play) >= 4, "reads, and a commit"


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("state", ANSWERS)
def test_an_answer_that_a_death_interrupts_is_given_once_or_not_at_all(
    state: str, moment: Moment, file: Path | None
) -> None:
    """Once it is stored it goes out, whoever dies; and the bank takes one answer of that id."""
    rounds = 0

    def play(fate: Fate) -> World:
        nonlocal rounds
        rounds += 1
        world = a_world(file, rounds)
        deliver(world)
        name = the_dispute(world).id
        world.start(fate)
        with suppress(Died):
            ANSWERS[state](world, name)
        was_decided = the_answer_is_stored(world)
        finish(world, lost=6_000 if was_decided and state == "accepted" else 0)
        assert the_dispute(world).state == (state if was_decided else "opened")
        assert [d.state for d in world.bank.disputes.list()] == [the_dispute(world).state]
        assert history(world).count(f"dispute.{state}") == int(was_decided)
        assert ANSWERS[state](world, name).state == state
        return world

    assert deaths(moment, play) >= 6, "reads, a commit, the bank, and a commit"


def the_answer_is_stored(world: World) -> bool:
    stored = next(iter(world.storage.page(world.merchant_id, Dispute, limit=1)))
    return stored.answer is not None


@pytest.mark.parametrize("commit", [1, 2])
@pytest.mark.parametrize("fault", [stale, done_but_uncertain, not_done_and_uncertain], ids=named)
@pytest.mark.parametrize("state", ANSWERS)
def test_a_commit_that_fails_for_once_is_made_again(state: str, fault: Fails, commit: int) -> None:
    world = a_world(None)
    deliver(world)
    store = Shaky(world.storage)
    world.through = lambda _: store
    world.start()
    store.fail(commit, fault)

    assert ANSWERS[state](world, the_dispute(world).id).state == state

    assert history(world) == ["dispute.opened", "dispute.answer_started", f"dispute.{state}"]
    assert len({r.operation_id for r in world.wire.sent if r.dispute_id}) == 1
    agree(world)
    world.close()


@pytest.mark.parametrize(
    ("commit", "error"), [(1, StorageUnavailable), (2, OutcomeUnknown)], ids=["before", "after"]
)
def test_a_store_that_fails_for_good_is_told_and_the_answer_goes_on(
    commit: int, error: type[Exception]
) -> None:
    """Before the bank was told nothing has happened; after it, nobody says so yet."""
    world = a_world(None)
    deliver(world)
    store = Shaky(world.storage)
    world.through = lambda _: store
    world.start()
    store.fail(commit, unavailable, times=1_000)
    with pytest.raises(error):
        ANSWERS["accepted"](world, the_dispute(world).id)
    store.get_well()

    finish(world, lost=0 if error is StorageUnavailable else 6_000)

    world.close()


def test_a_store_that_fails_while_what_is_due_is_done_does_not_end_the_run() -> None:
    """The bank has the answer, which could not be stored: it is found out the next time."""
    world = a_world(None)
    deliver(world)
    world.bank.next(Fault.LOSE_REQUEST)
    with pytest.raises(OutcomeUnknown):
        ANSWERS["accepted"](world, the_dispute(world).id)
    store = Shaky(world.storage)
    world.through = lambda _: store
    world.start()
    world.advance(minutes=1)
    store.fail(2, unavailable)

    assert world.pay.run_due().disputes.unanswered == 1

    finish(world, lost=6_000)
    assert the_dispute(world).state == "accepted"
    world.close()


def test_two_who_do_what_is_due_at_once_remind_once() -> None:
    """The one whose guard is stale has nothing left to tell."""
    world = a_world(None)
    deliver(world)
    world.advance(days=12)
    store = Shaky(world.storage)
    world.through = lambda _: store
    world.start()
    store.fail(1, stale)
    assert world.pay.run_due().disputes.reminded == 0
    assert world.pay.run_due().disputes.reminded == 1
    assert history(world) == ["dispute.opened", "dispute.evidence_due"]
    world.close()
