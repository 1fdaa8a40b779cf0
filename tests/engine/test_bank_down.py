"""The bank is down for three days, with a thousand operations open: nobody's patience is lost.

How: each verb is left open a hundred times, in four ways: its request was lost, or its answer; or
the process died before it could send, or before it could hear. Then a cron job runs recovery every
five minutes; those in which nothing is due are passed over. Then the bank is up again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

import pytest
from mortal import START, World
from verbs import KEY, VERBS

from payplatform import Operation, OutcomeUnknown, Settings
from payplatform.banks.simulated import Fault
from payplatform.cli._bank_books import differences
from payplatform.ports import ReplyOutcome
from payplatform.testing.mortal import Died

THREE_DAYS = timedelta(days=3)
MINUTE = timedelta(minutes=1)
WAYS = ("request lost", "answer lost", "died before", "died after")
DONE = ("answer lost", "died after")


class Left(NamedTuple):
    """An operation that was left open, and how."""

    merchant_id: str
    verb: str
    way: str
    since: datetime


class Outage:
    """A bank that is down, the operations that it left open, and when somebody looked at each."""

    def __init__(self, count: int, *, every: timedelta, settings: Settings | None = None) -> None:
        self.world = World(settings=settings)
        self.every = every
        self.left = [self._leave(n) for n in range(count)]
        self.looks: dict[str, list[datetime]] = defaultdict(list)
        self.world.bank.down()

    def operations(self) -> Iterator[tuple[Left, Operation]]:
        for left in self.left:
            operation = self.world.storage.operation_with_key(left.merchant_id, KEY)
            assert operation is not None
            yield left, operation

    def run_cron_until(self, end: datetime) -> None:
        """Recovery, each time that the cron job would run and something is due."""
        world = self.world
        while (due := self._next_due()) is not None and due < end:
            world.now = due
            before = len(world.wire.inquired), len(world.wire.sent)
            world.pay.recover()
            asked = {*world.wire.inquired[before[0] :]}
            asked |= {request.operation_id for request in world.wire.sent[before[1] :]}
            for operation_id in asked:
                self.looks[operation_id].append(world.now)
        world.now = max(world.now, end)

    def _next_due(self) -> datetime | None:
        """When the cron job runs next and something is due, if anything ever is."""
        world = self.world
        due = world.storage.due_operations(world.now + 99 * THREE_DAYS, limit=1)
        tries = [o.next_try_at for o in due if o.next_try_at is not None]
        if not tries:
            return None
        runs = (max(*tries, world.now) - START) // self.every
        return START + (runs + 1) * self.every

    def _leave(self, n: int) -> Left:
        world = self.world
        world.merchant_id = world.pay.merchants.create(name="Acme").id
        verb, way = list(VERBS)[n % len(VERBS)], WAYS[n // len(VERBS) % len(WAYS)]
        prepare, act = VERBS[verb]
        subject = prepare(world)
        if way in ("request lost", "answer lost"):
            world.bank.next(Fault.LOSE_REPLY if way in DONE else Fault.LOSE_REQUEST)
            with pytest.raises(OutcomeUnknown):
                act(world.shop, subject)
        else:
            when = "after" if way in DONE else "before"
            setattr(world.wire, when, lambda _: world.fate.strike())
            with suppress(Died):
                act(world.shop, subject)
            world.wire.before = world.wire.after = lambda _: None
            world.start()
        return Left(world.merchant_id, verb, way, world.now)


def require_on_schedule(outage: Outage, settings: Settings) -> None:
    """Each look comes when its wait is over, more or less the jitter, at the job's next run."""
    for left, operation in outage.operations():
        looks = outage.looks[operation.id]
        assert operation.attempts == len(looks)
        lease_s = settings.timeout_s + settings.lease_margin_s if "died" in left.way else 0
        first_s, *rest_s = settings.recovery_schedule_s
        waits_s = [lease_s or first_s, *rest_s]
        for since, look, wait_s in zip([left.since, *looks], looks, waits_s, strict=False):
            wait, spread = timedelta(seconds=wait_s), 0 if wait_s == lease_s else settings.jitter
            assert wait * (1 - spread) <= look - since <= wait * (1 + spread) + outage.every


def test_after_three_days_without_a_bank_a_thousand_operations_end_in_the_truth() -> None:
    """Eight looks or nine at each, none resolved by time alone; then the bank decides them all."""
    outage = Outage(1_000, every=5 * MINUTE)
    world = outage.world
    up_at = world.now + THREE_DAYS
    outage.run_cron_until(up_at)
    require_on_schedule(outage, Settings())
    assert {operation.state for _, operation in outage.operations()} == {"in_doubt"}
    assert {operation.attempts for _, operation in outage.operations()} == {8, 9}

    world.bank.up()
    outage.run_cron_until(up_at + THREE_DAYS)
    ends: dict[tuple[str, bool], set[str]] = defaultdict(set)
    for left, operation in outage.operations():
        ends[left.verb, left.way in DONE].add(operation.state)
    for verb in VERBS:
        assert ends[verb, True] == {"succeeded"}
        assert ends[verb, False] <= {"succeeded", "aborted", "declined"}
    require_same_books(outage)


def test_a_schedule_of_ones_own_is_kept_and_ends_with_a_person() -> None:
    """Three looks in half a day, to the minute; then each waits for a person, who asks the bank."""
    settings = Settings(recovery_schedule_s=(30.0, 600.0, 43_200.0), jitter=0)
    outage = Outage(100, every=MINUTE, settings=settings)
    world = outage.world
    outage.run_cron_until(world.now + THREE_DAYS)
    require_on_schedule(outage, settings)

    world.bank.up()
    for left, operation in outage.operations():
        assert (operation.state, operation.attempts) == ("needs_review", 3)
        assert operation.reason
        known = world.bank.inquire(left.merchant_id, operation.id, timeout_s=30)
        world.pay.merchant(left.merchant_id).operations.resolve(
            operation.id,
            outcome="succeeded" if known.outcome is ReplyOutcome.APPROVED else "aborted",
            actor="Grace",
            reason="asked the bank",
        )
    require_same_books(outage)


def require_same_books(outage: Outage) -> None:
    """Both say the same of every payment, and nothing is broken."""
    world = outage.world
    assert world.pay.doctor().ok
    compared, differing = differences(world.pay, world.bank)
    assert compared >= len(outage.left) * 7 // 10
    assert differing == []
    world.close()
