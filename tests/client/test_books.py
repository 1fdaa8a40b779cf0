"""The books in any history: they sum to zero, follow from the events, and say what the bank says.

How: a seeded shop sells, captures, refunds, is charged fees, is disputed, and is paid out; the bank
loses requests and answers, and takes back what it had approved. Its notices come signed, late, in
any order and again; its daily reports are reconciled in any order and again.
After each step the books must balance in each currency, and be those that the events make. In the
end every notice is heard and every report reconciled: then the acquirer owes nothing, nothing is in
suspense, and what came in is what the bank's statement says. For a longer run, say how many steps:

    PAYPLATFORM_BOOK_STEPS=200000 .venv/bin/pytest -o faulthandler_timeout=0 \\
        tests/client/test_books.py
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date, timedelta
from random import Random

import pytest
from till import START, Till

from payplatform import (
    Account,
    Event,
    FeeRate,
    Money,
    NotAllowed,
    Operation,
    Payment,
    PayPlatformError,
    Reconciliation,
)
from payplatform._domain.ledger import own_postings, postings_of
from payplatform.banks.settlement_files import read_report
from payplatform.banks.simulated import Fault
from payplatform.ports import Posting, Settlement, SettlementReport
from payplatform.testing import SeededIds

STEPS = int(os.environ.get("PAYPLATFORM_BOOK_STEPS", "600"))
STEPS_OF_ONE = 60
CURRENCIES = ("EUR", "JPY", "KWD")
FEES = (
    FeeRate(kind="capture", currency="EUR", share_ppm=14_000, fixed_minor=25),
    FeeRate(kind="capture", share_ppm=29_000),
    FeeRate(kind="refund", currency="JPY", fixed_minor=30),
)


SIGNS = {"sale": 1, "capture": 1, "refund": -1, "dispute": -1, "payout": 1}
"""Which way money goes for the lines of the bank's statement that move any."""


class Shop:
    """A till whose customers, bank and acquirer are drawn."""

    def __init__(self, seed: int) -> None:
        self.draw = Random(seed)  # noqa: S311  # a history to be repeated, not a secret
        self.till = Till(new_id=SeededIds(seed))
        self.till.pay.merchants.set_fees(self.till.merchant_id, rates=FEES)
        self.card = self.till.card().id
        self.busy: set[date] = set()
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
        self.busy.add(self.till.now.date())
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
        """A day on which something was done and that is over, reconciled before or not."""
        over = sorted(self.busy - {self.till.now.date()})
        if over:
            self.reconcile(self.draw.choice(over))

    def reconcile(self, day: date) -> Reconciliation:
        return self.till.shop.reconcile(self.report(day))

    def report(self, day: date) -> SettlementReport:
        return read_report(self.till.bank.settlement_report(self.till.merchant_id, day))

    def days(self) -> list[date]:
        """All that are over."""
        since = START.date()
        return [since + timedelta(days=day) for day in range((self.till.now.date() - since).days)]

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
        self.till.advance(seconds=self.draw.choice([3_600, 86_400, 8 * 86_400]))
        ways: tuple[Callable[[], object], ...] = (self.till.pay.recover, self.hear, self.settle)
        self.draw.choice(ways)()

    def hear(self) -> None:
        """The post: some of it, in any order, and some of it twice."""
        post = self.till.bank.deliveries()
        for body, headers in self.draw.choices(post, k=len(post)) if post else ():
            self.till.pay.notices.receive(body, headers)

    def come_to_rest(self) -> None:
        """Nothing is left to find out or to hear, and the acquirer has settled all there is."""
        self.till.bank.set_faults(None)
        for _ in range(12):
            self.till.advance(days=8)
            self.till.pay.recover()
            for operation in list(self.till.shop.operations.list_unresolved()):
                self.look_up(operation)
            for body, headers in self.till.bank.deliveries():
                self.till.pay.notices.receive(body, headers)
        for day in self.days():
            self.reconcile(day)
        at_rest = self.totals()
        again = [self.reconcile(day) for day in self.days()]
        assert not any(result.booked for result in again)
        assert self.totals() == at_rest

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

    def totals(self) -> Counter[tuple[str, Account]]:
        return Counter(self.till.storage.totals(self.till.merchant_id))

    def rebuilt(self) -> Counter[tuple[str, Account]]:
        """What the accounts show when every line is made anew from its event."""
        shop, sums = self.till.shop, Counter[tuple[str, Account]]()
        for payment in shop.payments.list():
            for event in self.events(payment.id):
                _add(sums, postings_of(event, payment.currency))
        for payout in shop.payouts.list():
            for event in self.events(payout.id):
                _add(sums, postings_of(event, payout.amount.currency))
        for settlement in self.till.storage.page(self.till.merchant_id, Settlement, limit=10_000):
            for event in self.events(settlement.id):
                _add(sums, own_postings(event))
        return sums

    def events(self, subject_id: str) -> Iterable[Event]:
        return self.till.storage.events(self.till.merchant_id, subject_id)


def _add(sums: Counter[tuple[str, Account]], lines: Iterable[Posting]) -> None:
    for line in lines:
        sums[line.currency, line.account] += line.amount_minor


@pytest.mark.parametrize("seed", range(max(1, STEPS // STEPS_OF_ONE)))
def test_books_balance_after_each_step_and_follow_from_the_events(seed: int) -> None:
    shop = Shop(seed)
    for _ in range(STEPS_OF_ONE):
        shop.step()
        totals = shop.totals()
        for currency in CURRENCIES:
            assert sum(sum_ for (known, _), sum_ in totals.items() if known == currency) == 0
        assert totals == shop.rebuilt()
        set_aside = Counter[str]()
        for payout in shop.till.shop.payouts.list():
            if payout.status in ("processing", "unknown"):
                set_aside[payout.amount.currency] += payout.amount.amount_minor
        for currency in CURRENCIES:
            assert totals[currency, Account.RESERVES] == -set_aside[currency]

    shop.come_to_rest()
    agrees_with_the_bank(shop)
    shop.till.close()


def agrees_with_the_bank(shop: Shop) -> None:
    """What came in is what the bank's reports and its books say, less its fees and what it paid."""
    till, totals = shop.till, shop.totals()
    settled, kept, paid_out, moved = (Counter[str]() for _ in range(4))
    for day in shop.days():
        for line in shop.report(day).lines:
            settled[line.amount.currency] += line.amount.amount_minor
            kept[line.amount.currency] += line.fees.total.amount_minor
    for booked in till.bank.statement(till.merchant_id):
        if booked.state == "booked" and booked.kind in SIGNS:
            sums = paid_out if booked.kind == "payout" else moved
            sums[booked.amount.currency] += SIGNS[booked.kind] * booked.amount.amount_minor
    for currency in CURRENCIES:
        came_in = settled[currency] - kept[currency] - paid_out[currency]
        assert settled[currency] == moved[currency]
        assert totals[currency, Account.BANK_CASH] == came_in
        assert totals[currency, Account.ACQUIRER_FEES] == kept[currency]
        assert totals[currency, Account.ACQUIRER_RECEIVABLE] == 0
        assert totals[currency, Account.SUSPENSE] == 0
        assert totals[currency, Account.RESERVES] == 0
    assert till.pay.doctor().ok
