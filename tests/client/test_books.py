"""The books in any history: they sum to zero, follow from the events, and say what the bank says.

How: a seeded shop sells, captures, refunds, is disputed, settled and paid out, the bank loses
answers and takes back what it had approved. Settlements are booked as plain changes.
After each step the books must balance in each currency, and be those that the events make. In the
end everything is settled: then the acquirer owes nothing, and what came in is what its statement
says. For a longer run, say how many steps:

    PAYPLATFORM_BOOK_STEPS=200000 .venv/bin/pytest -o faulthandler_timeout=0 \\
        tests/client/test_books.py
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random

import pytest
from till import Till, book

from payplatform import (
    Account,
    Conflict,
    Money,
    NotAllowed,
    Operation,
    Payment,
    PayPlatformError,
)
from payplatform._domain.ledger import postings_of
from payplatform.banks.simulated import Fault
from payplatform.testing import SeededIds

STEPS = int(os.environ.get("PAYPLATFORM_BOOK_STEPS", "600"))
STEPS_OF_ONE = 60
CURRENCIES = ("EUR", "JPY", "KWD")


class Shop:
    """A till whose customers, bank and acquirer are drawn."""

    def __init__(self, seed: int) -> None:
        self.draw = Random(seed)  # noqa: S311  # a history to be repeated, not a secret
        self.till = Till(new_id=SeededIds(seed))
        self.card = self.till.card().id
        self.steps: tuple[Callable[[], object], ...] = (
            self.sell,
            self.sell,
            self.follow,
            self.follow,
            self.settle,
            self.dispute,
            self.pay_out,
            self.pay_out,
            self.wait,
        )
        self.sell()

    def step(self) -> None:
        if self.draw.random() < 0.3:
            self.till.bank.next(
                self.draw.choice([Fault.LOSE_REPLY, Fault.LOSE_REQUEST, Fault.TAKE_BACK])
            )
        # The bank knows nothing of some, or has given it back.
        with suppress(PayPlatformError, LookupError):
            self.draw.choice(self.steps)()

    def money(self, most_minor: int = 5_000) -> Money:
        return Money.minor(self.draw.randint(1, most_minor), self.draw.choice(CURRENCIES))

    def some(self) -> Payment:
        return self.draw.choice(list(self.till.shop.payments.list()))

    def sell(self) -> None:
        start = self.draw.choice(
            [self.till.shop.payments.charge, self.till.shop.payments.authorize]
        )
        start(self.money(), payment_method=self.card, idempotency_key=self.till.key())

    def follow(self) -> None:
        payments, payment = self.till.shop.payments, self.some()
        follow = self.draw.choice([payments.capture, payments.refund, payments.void])
        amount = Money.minor(self.draw.randint(1, 5_000), payment.currency)
        follow(payment.id, self.draw.choice([None, amount]), idempotency_key=self.till.key())

    def settle(self) -> None:
        self.settle_one(self.some())

    def settle_one(self, payment: Payment) -> None:
        owed = payment.facts.unreturned - payment.facts.settled
        if owed:
            book(
                self.till,
                payment,
                settled=owed,
                acquirer_fees=abs(owed) // 50,
                fees=abs(owed) // 30,
            )

    def dispute(self) -> None:
        """The cardholder's bank disputes what was taken, or decides, and tells of it."""
        bank, payment = self.till.bank.disputes, self.some()
        open_now = [case.dispute_id for case in bank.list() if case.state == "opened"]
        if open_now and self.draw.random() < 0.5:  # as often as not
            bank.decide(self.draw.choice(open_now), merchant_wins=self.draw.choice([True, False]))
        else:
            taken = self.draw.choice(list(self.till.shop.payments.operations(payment.id)))
            amount = Money.minor(self.draw.randint(1, 5_000), payment.currency)
            bank.open(self.till.merchant_id, taken.id, self.draw.choice([None, amount]))
        self.hear()

    def pay_out(self) -> None:
        payouts, currency = self.till.shop.payouts, self.draw.choice(CURRENCIES)
        payouts.sweep(currency, idempotency_key=self.till.key())

    def wait(self) -> None:
        self.till.advance(seconds=self.draw.choice([60, 3_600, 8 * 86_400]))
        self.till.pay.recover()
        self.hear()

    def hear(self) -> None:
        for notice in self.till.bank.notices():
            with suppress(Conflict):
                self.till.pay.notices.apply(notice)
                self.till.bank.acknowledge(notice.id)

    def come_to_rest(self) -> None:
        """Nothing is left to find out, and the acquirer has settled all there is."""
        self.till.bank.set_faults(None)
        for _ in range(12):
            self.till.advance(days=8)
            self.till.pay.recover()
            for operation in list(self.till.shop.operations.list_unresolved()):
                self.look_up(operation)
            self.hear()
        for payment in self.till.shop.payments.list():
            self.settle_one(payment)

    def look_up(self, operation: Operation) -> None:
        """A person asks the bank, and decides what only a person can."""
        if operation.state != "needs_review":
            return
        reply = self.till.bank.inquire(operation.merchant_id, operation.id, timeout_s=1)
        outcome = "succeeded" if reply.outcome == "approved" else "aborted"
        with suppress(NotAllowed):
            self.till.shop.operations.resolve(
                operation.id, outcome=outcome, actor="Ada", reason="the bank says so"
            )

    def in_dispute_with_the_bank(self) -> set[str]:
        """Currencies in which the bank goes against its word, and only a person can go on."""
        return {
            payment.currency
            for payment in self.till.shop.payments.list()
            if payment.status == "unknown"
            or any(
                e.type.endswith(".contradicted")
                for e in self.till.shop.payments.timeline(payment.id)
            )
        }

    def totals(self) -> Counter[tuple[str, Account]]:
        return Counter(self.till.storage.totals(self.till.merchant_id))

    def rebuilt(self) -> Counter[tuple[str, Account]]:
        """What the accounts show when every line is made anew from its event."""
        shop, sums = self.till.shop, Counter[tuple[str, Account]]()
        subjects = [(payment.id, payment.currency) for payment in shop.payments.list()]
        subjects += [(payout.id, payout.amount.currency) for payout in shop.payouts.list()]
        for subject_id, currency in subjects:
            for event in self.till.storage.events(self.till.merchant_id, subject_id):
                for line in postings_of(event, currency):
                    sums[currency, line.account] += line.amount_minor
        return sums


@pytest.mark.parametrize("seed", range(max(1, STEPS // STEPS_OF_ONE)))
def test_books_balance_after_each_step_and_follow_from_the_events(seed: int) -> None:
    shop = Shop(seed)
    for _ in range(STEPS_OF_ONE):
        shop.step()
        totals = shop.totals()
        for currency in CURRENCIES:
            assert sum(sum_ for (known, _), sum_ in totals.items() if known == currency) == 0
        assert totals == shop.rebuilt()

    shop.come_to_rest()
    agrees_with_the_bank(shop)
    shop.till.close()


def agrees_with_the_bank(shop: Shop) -> None:
    """What came in is what the bank's books say, less disputes, its fees and what it paid out."""
    till, totals = shop.till, shop.totals()
    came_in: Counter[str] = Counter()
    for payment in till.shop.payments.list():
        starts = (
            o for o in till.shop.payments.operations(payment.id) if o.kind in ("sale", "authorize")
        )
        for start in starts:
            position = till.bank.position(till.merchant_id, start.id)
            came_in[payment.currency] += position.captured - position.refunded
        came_in[payment.currency] -= payment.facts.disputed + payment.facts.acquirer_fees
    for line in till.bank.statement(till.merchant_id):
        if line.kind == "payout" and line.state == "booked":
            came_in[line.amount.currency] -= line.amount.amount_minor
    for currency in set(CURRENCIES) - shop.in_dispute_with_the_bank():
        assert totals[currency, Account.BANK_CASH] == came_in[currency]
        assert totals[currency, Account.ACQUIRER_RECEIVABLE] == 0
        assert totals[currency, Account.RESERVES] == 0
    assert till.pay.doctor().ok
