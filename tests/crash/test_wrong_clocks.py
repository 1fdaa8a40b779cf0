"""Our clock goes back a day, or forward ten years, and is set right again; the bank's never moves.

How: a call is left behind under one clock, without an answer or by a process that died, and is
looked at again under another. Whatever the clock says, the epoch fences and the bank's word counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from mortal import START, World, agree
from verbs import KEY, VERBS, Act, a_card, an_authorization, eur

from payplatform import BankUnavailable, NotAllowed, OutcomeUnknown
from payplatform.banks.simulated import Fault, SimulatedBank

DAY = timedelta(days=1)
TEN_YEARS = timedelta(days=3_653)
JUMPS = {"back a day": -DAY, "forward ten years": TEN_YEARS}

# Under a clock ten years ahead every authorization has ended; five days ahead they have not.
OF_AN_AUTHORIZATION = ("capture", "final capture", "void", "increment")
BEGUN_UNDER = [
    pytest.param(verb, jump, id=f"{verb} {jump.days} days")
    for verb in VERBS
    for jump in (-DAY, 5 * DAY, TEN_YEARS)
    if not (verb in OF_AN_AUTHORIZATION and jump == TEN_YEARS)
]


class TwoClocks(World):
    """A world whose bank has a clock of its own, which is right."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.true_time = START
        self.bank.close()
        self.bank = SimulatedBank(now=lambda: self.true_time)
        self.start()

    def pass_time(self, **time: float) -> None:
        self.true_time += timedelta(**time)
        self.now += timedelta(**time)

    def recover_within_a_week(self) -> None:
        for _ in range(10):
            self.pass_time(hours=17)
            self.pay.recover()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[TwoClocks]:
    world = TwoClocks(tmp_path / "books.db")
    yield world
    world.close()


def end_of(world: World, act: Act, subject: str) -> str:
    """Ask again with the key, and tell how it ended; the bank has done it once, or not at all."""
    with suppress(BankUnavailable):
        act(world.shop, subject)
    operation = world.shop.operations.find(idempotency_key=KEY)
    assert operation is not None
    at_bank = operation.target_id if operation.kind == "resume" else operation.id
    moves_money = operation.state == "succeeded" and operation.kind != "verify"
    assert world.bank.effects(world.merchant_id, at_bank or "") == int(moves_money)
    return operation.state


@pytest.mark.parametrize("fault", [Fault.LOSE_REQUEST, Fault.LOSE_REPLY])
@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("verb", VERBS)
def test_a_clock_that_jumps_after_a_call_was_left_unclear_holds_nothing_up(
    verb: str, jump: str, fault: Fault, world: TwoClocks
) -> None:
    """Recovery runs under the wrong clock, then under the right one: all comes to an end."""
    prepare, act = VERBS[verb]
    subject = prepare(world)
    world.bank.next(fault)
    with pytest.raises(OutcomeUnknown):
        act(world.shop, subject)
    world.now += JUMPS[jump]
    world.pay.recover()
    world.now -= JUMPS[jump]
    require_an_end(world, act, subject)


@pytest.mark.parametrize("fault", [Fault.LOSE_REQUEST, Fault.LOSE_REPLY])
@pytest.mark.parametrize(("verb", "jump"), BEGUN_UNDER)
def test_what_was_begun_under_a_wrong_clock_is_not_put_off_until_its_time(
    verb: str, jump: timedelta, fault: Fault, world: TwoClocks
) -> None:
    """Begun ten years ahead, and left behind: it ends this week, and not in ten years."""
    prepare, act = VERBS[verb]
    world.now += jump
    subject = prepare(world)
    world.bank.next(fault)
    with pytest.raises(OutcomeUnknown):
        act(world.shop, subject)
    world.now -= jump
    require_an_end(world, act, subject)


@pytest.mark.parametrize("verb", OF_AN_AUTHORIZATION)
def test_nothing_is_sent_about_an_authorization_that_a_wrong_clock_holds_for_ended(
    verb: str, world: TwoClocks
) -> None:
    prepare, act = VERBS[verb]
    held = prepare(world)
    asked = world.wire.calls
    world.now += TEN_YEARS
    with pytest.raises(NotAllowed):
        act(world.shop, held)
    assert world.wire.calls == asked
    world.now -= TEN_YEARS
    assert not act(world.shop, held).replayed
    agree(world)


def require_an_end(world: TwoClocks, act: Act, subject: str) -> None:
    world.recover_within_a_week()
    for operation in world.shop.operations.list_unresolved():
        assert operation.state == "needs_review"
        assert operation.reason
        with pytest.raises(OutcomeUnknown):
            act(world.shop, subject)
        return
    assert end_of(world, act, subject) in ("succeeded", "declined", "aborted")
    assert world.pay.doctor().ok


@pytest.mark.parametrize("jump", JUMPS)
def test_a_caller_who_is_thought_to_be_alive_is_not_waited_for_until_a_wrong_time(
    jump: str, world: TwoClocks
) -> None:
    """A process dies in mid-call under a wrong clock; the same key soon tells what came of it."""
    card = a_card(world)
    world.now += JUMPS[jump]

    def die(_: object) -> None:
        raise KeyboardInterrupt

    world.wire.after = die
    with pytest.raises(KeyboardInterrupt):
        charge(world, card)
    world.wire.after = lambda _: None
    world.now -= JUMPS[jump]
    world.pass_time(seconds=61)
    assert charge(world, card) == "captured"
    assert len(world.bank.statement(world.merchant_id)) == 1
    agree(world)


def test_a_caller_who_is_fenced_off_by_a_clock_that_went_back_is_told_the_one_outcome(
    world: TwoClocks,
) -> None:
    """While it waits for the bank, the clock goes back and recovery takes over: charged once."""
    card = a_card(world)

    def meanwhile(_: object) -> None:
        world.wire.after = lambda _: None
        world.now -= DAY
        world.pay.recover()

    world.wire.after = meanwhile
    assert charge(world, card) == "captured"
    assert len(world.bank.statement(world.merchant_id)) == 1
    agree(world)


def test_an_authorization_that_a_wrong_clock_has_ended_takes_no_money_and_ends_at_the_bank_too(
    world: TwoClocks,
) -> None:
    """We book it as expired too early; it can't be captured, and a week later the bank agrees."""
    held = an_authorization(world)
    world.now += TEN_YEARS
    assert world.pay.recover().expired == 1
    world.now -= TEN_YEARS
    with pytest.raises(NotAllowed):
        world.shop.payments.capture(held, eur("60"), idempotency_key=KEY)
    world.pass_time(days=8)
    agree(world)


def charge(world: World, card: str) -> str:
    payment = world.shop.payments.charge(eur("10"), payment_method=card, idempotency_key=KEY)
    return str(payment.status)
