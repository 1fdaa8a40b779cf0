"""A bank that disputes whatever it likes, refunds or not: our own bound is the only one.

How: the simulated bank keeps a bound of its own, so here a dispute is told that it knows nothing
of, while a refund that leaves no room for all of it is on its way. 200 times, both at once.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier

from contests import HUNDRED, RACES, Clock, a_platform

from payplatform import Card, Conflict, Money, NotAllowed, Payment, PayPlatform
from payplatform.banks.simulated import SimulatedBank
from payplatform.ports import BankNotice, BankReply, DisputeNews, DisputeState, ReplyOutcome

REFUND, DISPUTE = Money("60", "EUR"), Money("70", "EUR")


def news_of(payment: Payment, clock: Clock) -> BankNotice:
    """The cardholder disputes seventy of the hundred."""
    assert payment.latest_operation_id is not None
    return BankNotice(
        id=f"dispute of {payment.id}",
        merchant_id=payment.merchant_id,
        reply=BankReply(
            operation_id=payment.latest_operation_id,
            outcome=ReplyOutcome.APPROVED,
            amount=payment.amount,
        ),
        at=clock(),
        dispute=DisputeNews(
            dispute_id=f"case of {payment.id}",
            state=DisputeState.OPENED,
            amount=DISPUTE,
            reason_code="10.4",
        ),
    )


def both_at_once(pay: PayPlatform, payment: Payment, notice: BankNotice, gate: Barrier) -> None:
    """A refund and the news of a dispute, started at the same moment."""

    def refund() -> None:
        shop = pay.merchant(payment.merchant_id)
        shop.payments.refund(payment.id, REFUND, idempotency_key=f"refund-{payment.id}")

    def hear() -> None:
        pay.notices.apply(notice)

    def start(call: Callable[[], None]) -> None:
        gate.wait()
        # Whoever is too late is told so, and the news comes again.
        with suppress(Conflict, NotAllowed):
            call()

    with ThreadPoolExecutor(2) as executor:
        for _ in executor.map(start, (refund, hear)):
            pass


def test_never_more_than_the_capture_goes_back_whatever_a_bank_disputes(tmp_path: Path) -> None:
    """The one who is first has all that it asks for, and the other what is left, or nothing."""
    clock, gate, path = Clock(), Barrier(2), tmp_path / "shop.db"
    ends = set()
    with a_platform(path, clock) as pay:
        shop = pay.merchant(pay.merchants.create(name="Acme").id)
        card = shop.payment_methods.create(card=Card("4242424242424242", "12/40")).id
        for race in range(RACES):
            key = f"sale-{race}"
            payment = shop.payments.charge(HUNDRED, payment_method=card, idempotency_key=key)
            notice = news_of(payment, clock)
            both_at_once(pay, payment, notice, gate)
            pay.notices.apply(notice)

            facts = shop.payments.get(payment.id).facts
            ends.add((facts.refunded, facts.disputed))
            bank = pay._engine().bank
            assert isinstance(bank, SimulatedBank)
            theirs = bank.position(shop.id, payment.authorization_id or "")
            assert theirs.refunded == facts.refunded
        report = pay.doctor()
        assert report.ok, report.findings
    assert ends <= {(6_000, 4_000), (0, 7_000)}
