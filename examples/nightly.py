"""What runs every night: find out what is unclear, hand events on, check everything, exit loudly.

The function `nightly` is what you would put into a cron job. The rest makes a day's mess first.

    python examples/nightly.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta

from attrs import evolve

from payplatform import Card, Event, MerchantClient, Money, OutcomeUnknown, PayPlatform
from payplatform.banks.simulated import FULL_CAPABILITIES, Fault, SimulatedBank
from payplatform.testing import FakeClock

ALL_WELL, LOOK_AT_IT, BROKEN = 0, 1, 2


def nightly(pay: PayPlatform, hand_on: Callable[[Event], None]) -> int:
    """One night's work; returns the exit code for whoever watches the job."""
    report = pay.recover()
    print(
        f"recovered: {report.examined} looked at, {report.succeeded} had succeeded, "
        f"{report.aborted} aborted, {report.needs_review} for a person"
    )

    # Send first, then mark: a crash in between sends an event twice, never not at all.
    handed_on = 0
    while waiting := pay.events.pending(limit=50):
        for event in waiting:
            hand_on(event)
        pay.events.mark_published(waiting)
        handed_on += len(waiting)
    print(f"handed on: {handed_on} events")

    doctor = pay.doctor()
    print(f"doctor:    {doctor.payments} payments, {len(doctor.findings)} findings")
    for finding in doctor.findings:
        print(f"    {finding.row}: {finding.rule}: {finding.text}")
        print(f"        {finding.cause}")

    unresolved = [
        operation
        for merchant in pay.merchants.list()
        for operation in pay.merchant(merchant.id).operations.list_unresolved()
    ]
    for operation in unresolved:
        print(f"    {operation.kind} of {operation.amount}: {operation.state}, {operation.reason}")
        print(f"        {operation.next_step}")

    if not doctor.ok:
        return BROKEN
    return LOOK_AT_IT if unresolved else ALL_WELL


def a_bad_day(shop: MerchantClient, bank: SimulatedBank) -> None:
    """Three charges: one is fine, one loses its answer, one never gets to the bank."""
    card = shop.payment_methods.create(card=Card("4242 4242 4242 4242", "12/30"))
    for number, fault in enumerate((None, Fault.LOSE_REPLY, Fault.LOSE_REQUEST), start=1):
        bank.next(fault)
        try:
            shop.payments.charge(
                Money(10 * number, "EUR"),
                payment_method=card.id,
                security_code="123",
                idempotency_key=f"order-{number}",
            )
        except OutcomeUnknown:
            print(f"order {number}: no clear answer")
        else:
            print(f"order {number}: paid")


class Receiver:
    """Whoever the events are for. It drops what it has seen."""

    def __init__(self) -> None:
        self.seen: dict[str, Event] = {}

    def __call__(self, event: Event) -> None:
        self.seen.setdefault(event.id, event)

    def types(self) -> list[str]:
        return [event.type for event in self.seen.values()]


def main() -> None:
    clock = FakeClock()

    print("== A bank that remembers what we reverse")
    bank = SimulatedBank(now=clock)
    with PayPlatform.sandbox(bank=bank, now=clock) as pay:
        shop = pay.merchant(pay.merchants.create(name="Acme Books").id)
        a_bad_day(shop, bank)
        clock.advance(timedelta(hours=8))
        receiver = Receiver()
        assert nightly(pay, receiver) == ALL_WELL
        assert receiver.types().count("sale.succeeded") == 2
        assert receiver.types().count("sale.aborted") == 1
        assert sorted(payment.status for payment in shop.payments.list()) == [
            "captured",
            "captured",
            "failed",
        ]

        print("== The next night: nothing to do")
        seen = len(receiver.seen)
        assert nightly(pay, receiver) == ALL_WELL
        assert len(receiver.seen) == seen

    print("== A bank that cannot tell: a person has to look")
    bank = SimulatedBank(
        now=clock, capabilities=evolve(FULL_CAPABILITIES, reversal_remembers_unknown=False)
    )
    with PayPlatform.sandbox(bank=bank, now=clock) as pay:
        shop = pay.merchant(pay.merchants.create(name="Acme Books").id)
        a_bad_day(shop, bank)
        clock.advance(timedelta(hours=8))
        code = nightly(pay, Receiver())
        assert code == LOOK_AT_IT
        print(f"exit code: {code}")

        (operation,) = shop.operations.list_unresolved()
        shop.operations.resolve(
            operation.id,
            outcome="aborted",
            actor="bea@acme.example",
            reason="the bank's statement does not have it",
        )
        code = nightly(pay, Receiver())
        assert code == ALL_WELL
        print(f"exit code: {code}")
    sys.exit(code)


if __name__ == "__main__":
    main()
