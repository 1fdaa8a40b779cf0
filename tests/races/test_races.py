"""Many at once on one SQLite file and one bank: nobody takes a cent more than there is.

How: a race has from 2 to 16 threads, which share one client, or from 2 to 4 processes, each with a
client of its own. All start at the same moment, 200 times for each contest and each kind of caller,
and ask together for one cent too much. Who wins is chance. How many win is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from contests import (
    CONTESTS,
    HUNDRED,
    RACES,
    Callers,
    Clock,
    Contest,
    Where,
    a_platform,
    contend,
    one_call,
    processes,
    read_the_post,
    sleep_or_recover,
    threads,
    told_by,
)

from payplatform import Card, MerchantClient, Operation, PayPlatform
from payplatform.banks.simulated import SimulatedBank
from payplatform.cli._bank_books import differences

KINDS = {
    "threads": lambda: threads(2, 3, 4, 2, 8, 2, 3, 4, 2, 16),
    "processes": lambda: processes(2, 3, 4),
}


@pytest.fixture(scope="module", params=KINDS)
def callers(request: pytest.FixtureRequest) -> Iterator[Callers]:
    with KINDS[request.param]() as callers:
        yield callers


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


def a_shop(pay: PayPlatform) -> tuple[MerchantClient, str]:
    """A new merchant's client, and the id of a card that is stored there."""
    shop = pay.merchant(pay.merchants.create(name="Acme").id)
    return shop, shop.payment_methods.create(card=Card("4242424242424242", "12/40")).id


def started(shop: MerchantClient, method_id: str, verb: str | None) -> Sequence[str]:
    """What the races are about: a payment of a hundred for each, or the card itself."""
    if verb is None:
        return [method_id] * RACES
    start = getattr(shop.payments, verb)
    keys = (f"{verb}-{race}" for race in range(RACES))
    return [start(HUNDRED, payment_method=method_id, idempotency_key=key).id for key in keys]


def require_right_books(pay: PayPlatform, path: Path, clock: Clock) -> None:
    """Nothing is broken, and the bank has booked what we have."""
    report = pay.doctor()
    assert report.ok, report.findings
    bank = SimulatedBank(f"{path}.bank", now=clock)
    assert differences(pay, bank) == (RACES, [])
    bank.close()


def taken(shop: MerchantClient) -> list[int]:
    """How much was asked for and done after each payment was started, oldest first."""
    facts = [payment.facts for payment in shop.payments.list()]
    return [f.refunded + f.disputed or f.voided + f.captured for f in reversed(facts)]


def winners_takings(contest: Contest, told: list[str]) -> int:
    return sum(contest.takes(p, len(told)) for p, word in enumerate(told) if word == "done")


@pytest.mark.parametrize("contest", CONTESTS)
def test_of_all_who_ask_for_a_cent_too_much_as_many_win_as_can(
    contest: str, callers: Callers, path: Path
) -> None:
    """Exactly so many, for exactly what they asked; the others are told why not."""
    rules, clock = CONTESTS[contest], callers.meeting.clock
    with a_platform(path, clock) as pay:
        shop, method_id = a_shop(pay)
        about = started(shop, method_id, rules.starts)
        shared = None if callers.are_processes else pay
        where = Where(path=path, merchant_id=shop.id, shared=shared)
        told = callers.take_part(contend, contest, where, about)
        read_the_post(pay._engine())

        amounts = taken(shop)
        for race in range(RACES):
            words = [each[race] for each in told if race in each]
            assert words.count("done") == rules.winners(len(words)), words
            assert {*words} - {"done"} <= rules.losers
            if rules.starts is not None:
                assert amounts[race] == winners_takings(rules, words) <= HUNDRED.amount_minor
        require_right_books(pay, path, clock)


ENDS = {"succeeded": "replayed", "aborted": "aborted"}
ASK_AGAIN = {"outcome_unknown", "operation_in_progress"}


@pytest.mark.parametrize("verb", ["charge", "capture", "refund"])
def test_a_sleeper_who_wakes_up_among_recoveries_hears_what_everybody_hears(
    verb: str, callers: Callers, path: Path
) -> None:
    """Its lease is over; it, recovery and repeats of its call start at once. One outcome is told.

    It slept before the bank had heard of it, or after the bank had done it, in turn.
    """
    clock = callers.meeting.clock
    with a_platform(path, clock) as pay:
        shop, method_id = a_shop(pay)
        starts = {"charge": None, "capture": "authorize", "refund": "charge"}[verb]
        about = started(shop, method_id, starts)
        where = Where(path=path, merchant_id=shop.id)
        told = callers.take_part(sleep_or_recover, verb, where, about)
        for _ in range(5):
            clock.advance(seconds=120)
            pay.recover()

        for race, subject in enumerate(about):
            operation = the_operation(shop, verb, race)
            end = told_by(lambda: one_call(shop, verb, subject, race))  # noqa: B023
            assert end == ENDS[operation.state]
            assert race % 2 or operation.state == "succeeded", "the bank had done it"
            words = [each[race] for each in told if race in each]
            right = {"done", "replayed"} if end == "replayed" else {"aborted"}
            assert {*words} <= right | ASK_AGAIN
            assert words.count("done") <= 1
        require_right_books(pay, path, clock)


def the_operation(shop: MerchantClient, verb: str, race: int) -> Operation:
    key = f"race-{race}" if verb == "charge" else f"{race}-0"
    operation = shop.operations.find(idempotency_key=key)
    assert operation is not None
    return operation
