"""A month of a small bookshop, up to the day on which its books are closed.

The function `morning` is what you would put into a cron job: hear the bank, compare its report on
yesterday with the books, and do what is due. The rest makes a month to look at: one customer
disputes a payment and wins, one refund fails after all, and every Monday the shop is paid out.

    python examples/month_end.py [folder]

With a folder, the statement and an HTML report with charts are left there.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random

from payplatform import Card, FeeRate, MerchantClient, Money, PayPlatform, Reconciliation
from payplatform.banks.settlement_files import read_report
from payplatform.banks.simulated import SimulatedBank
from payplatform.reports import report_html, statement_markdown
from payplatform.testing import FakeClock

MONTH = "2026-05"
GOOD = ("4242 4242 4242 4242", "5555 5555 5555 4444", "4000 0027 6000 0016", "3782 822463 10005")
WITHOUT_MONEY = "4000 0000 0000 9995"
OVER_ITS_LIMIT = "4000 0000 0001 0092"
REFUND_FAILS = "4000 0000 0001 0324"


def morning(pay: PayPlatform, shop: MerchantClient, bank: SimulatedBank) -> Reconciliation:
    """One morning's work; returns what the bank settled yesterday, and what differs."""
    # In a real shop these arrive at a webhook, one by one.
    for body, headers in bank.deliveries():
        pay.notices.receive(body, headers)
    settled = shop.reconcile(read_report(bank.settlement_report(shop.id)))
    pay.run_due()
    return settled


class Bookshop:
    """What the shop's customers do."""

    def __init__(self, shop: MerchantClient, random: Random) -> None:
        self.shop = shop
        self.random = random
        self._numbers = count(1)

    def sell(self, amount: str, card: str) -> str:
        """Take an order to its payment, and tell the payment's id."""
        number = next(self._numbers)
        method = self.shop.payment_methods.create(card=Card(card, "12/30"))
        payment = self.shop.payments.charge(
            Money(amount, "EUR"),
            payment_method=method.id,
            idempotency_key=f"order-{number}",
            reference=f"Order {number}",
        )
        return payment.id

    def take_back(self, payment_id: str) -> None:
        """A book comes back, and the customer gets the money."""
        self.shop.payments.refund(payment_id, idempotency_key=f"return-{payment_id}")

    def open_for_a_day(self) -> None:
        """Some buy, some of their cards are declined, and now and then a book comes back."""
        for _ in range(self.random.randint(4, 14)):
            amount = f"{self.random.randint(8, 60)}.{self.random.choice(('00', '50', '90'))}"
            luck = self.random.random()
            if luck < 0.1:
                self.sell(amount, self.random.choice((WITHOUT_MONEY, OVER_ITS_LIMIT)))
                continue
            payment_id = self.sell(amount, self.random.choice(GOOD))
            if luck > 0.95:
                self.take_back(payment_id)


def a_month(pay: PayPlatform, shop: MerchantClient, bank: SimulatedBank, clock: FakeClock) -> None:
    """Live through May. Whatever the morning finds is printed."""
    customers = Bookshop(shop, Random(5))  # noqa: S311  # a story, the same every time
    unhappy_id = ""
    for day in range(1, 32):
        customers.open_for_a_day()
        match day:
            case 4:
                unhappy_id = customers.sell("89.00", GOOD[0])
            case 9:
                sale_id = shop.payments.get(unhappy_id).latest_operation_id or ""
                bank.disputes.open(shop.id, sale_id, reason_code="13.1")
            case 12:
                customers.take_back(customers.sell("35.00", REFUND_FAILS))
            case 14:
                (dispute,) = shop.disputes.list(state="opened")
                print(f"day {day}: {dispute.held} are disputed, {dispute.reason}")
                shop.disputes.submit_evidence(dispute.id, {"tracking_number": "1Z-999"})
            case 21:
                (case,) = bank.disputes.list()
                bank.disputes.decide(case.dispute_id, merchant_wins=False)
        clock.set(datetime(2026, 5, day, 6, tzinfo=UTC) + timedelta(days=1))
        settled = morning(pay, shop, bank)
        for difference in settled.differences:
            print(f"day {day}: {difference.kind} in line {difference.line} of the bank's report")
        clock.advance(hours=3)


def keep(folder: Path, statement: str, shop: MerchantClient) -> None:
    """Leave the statement and the report where somebody will look for them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{MONTH}.md").write_text(statement, encoding="utf-8")
    try:
        page = report_html(shop, month=MONTH)
    except ModuleNotFoundError:
        print("The HTML report takes one thing more: pip install 'payplatform[report]'")
    else:
        (folder / f"{MONTH}.html").write_text(page, encoding="utf-8")


def main(folder: Path | None) -> int:
    """Tell the month, and close its books; the exit code says whether they add up."""
    clock = FakeClock(datetime(2026, 5, 1, 9, tzinfo=UTC))
    bank = SimulatedBank(now=clock)
    with PayPlatform.sandbox(bank=bank, now=clock) as pay:
        merchant = pay.merchants.create(name="Acme Books")
        pay.merchants.set_fees(
            merchant.id,
            rates=[
                FeeRate(kind="capture", brand="amex", share_ppm=29_000),
                FeeRate(kind="capture", currency="EUR", share_ppm=14_000, fixed_minor=25),
            ],
        )
        shop = pay.merchant(merchant.id)
        shop.payouts.set_plan(
            minimum=Money("10.00", "EUR"),
            reserve=Money("100.00", "EUR"),
            interval="weekly",
            first_at=datetime(2026, 5, 4, 6, tzinfo=UTC),
        )
        a_month(pay, shop, bank, clock)

        for payout in shop.payouts.list():
            print(f"{payout.created_at:%d %B}: {payout.status}, {payout.amount}")
        for notice in shop.notices.list():
            told = notice.told
            words = f"refund {told.reply.outcome}"
            if told.dispute is not None:
                words = f"dispute {told.dispute.state}"
            print(f"{notice.created_at:%d %B}: the bank tells: {words}")
        print(f"still payable: {shop.payouts.payable('EUR')}")
        print()
        statement = statement_markdown(shop.ledger.statement(month=MONTH))
        print(statement)
        if folder is not None:
            keep(folder, statement, shop)

        balances = shop.ledger.trial_balance()["EUR"]
        adds_up = sum(balances.values(), Money.zero("EUR")) == Money.zero("EUR")
        return 0 if adds_up and pay.doctor().ok else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
