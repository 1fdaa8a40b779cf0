"""Cards on file: the customer starts, the merchant renews, and declines are followed as advised.

Every subscriber signs up themselves, with the security code: that payment is what they agreed to.
Later ones are started by the merchant. A soft decline is tried again when its time has come, a
bounded number of times; a hard one never; one that asks for the cardholder asks the cardholder.

    python examples/subscriptions.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from payplatform import (
    Advice,
    Card,
    Decline,
    DeclineCode,
    MerchantClient,
    Money,
    Payment,
    PayPlatform,
)
from payplatform.banks.simulated import SimulatedBank
from payplatform.ports import (
    BankCapabilities,
    BankNotice,
    BankReply,
    BankRequest,
    ReplyOutcome,
    RequestKind,
)
from payplatform.testing import FakeClock

PRICE = Money("9.00", "EUR")
MOST_TRIES = 4
ACTIVE, PAST_DUE, ENDED, ASKED = "active", "past due", "ended", "asked to confirm"


class Issuers:
    """The simulated bank, with issuers who change their minds: last four digits to decline."""

    def __init__(self, bank: SimulatedBank) -> None:
        self._bank = bank
        self.minds: dict[str, DeclineCode] = {}

    @property
    def capabilities(self) -> BankCapabilities:
        return self._bank.capabilities

    def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
        last4 = request.card.number.reveal()[-4:] if request.card else ""
        if request.kind is RequestKind.SALE and last4 in self.minds:
            return BankReply(
                operation_id=request.operation_id,
                outcome=ReplyOutcome.DECLINED,
                amount=request.amount,
                decline=Decline(code=self.minds[last4]),
            )
        return self._bank.send(request, timeout_s=timeout_s)

    def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> BankReply:
        return self._bank.inquire(merchant_id, operation_id, timeout_s=timeout_s)

    def read_notice(self, raw: bytes, headers: Mapping[str, str]) -> BankNotice:
        return self._bank.read_notice(raw, headers)

    def describe(self) -> Mapping[str, str]:
        return self._bank.describe()

    def close(self) -> None:
        self._bank.close()


@dataclass
class Subscription:
    """What the shop keeps of a subscriber."""

    name: str
    customer_id: str
    renews_at: datetime
    state: str = ACTIVE
    payment_id: str | None = None
    tries: int = 0

    @property
    def key(self) -> str:
        """One name for each period and try: a job that runs twice charges once."""
        return f"{self.customer_id}-{self.renews_at:%Y-%m}-{self.tries}"


class Club:
    """A magazine with subscribers."""

    def __init__(self, shop: MerchantClient, clock: FakeClock) -> None:
        self.shop = shop
        self.clock = clock
        self.members: list[Subscription] = []

    def sign_up(self, name: str, number: str) -> Subscription:
        """The customer is here: they type the card and start the first payment."""
        customer = self.shop.customers.create(name=name)
        self.shop.payment_methods.create(customer=customer.id, card=Card(number, "12/30", name))
        payment = self.shop.payments.charge(
            PRICE,
            customer=customer.id,
            security_code="123",
            initiated_by="customer",
            idempotency_key=f"{customer.id}-signs-up",
        )
        payment.raise_for_decline()
        member = Subscription(name, customer.id, renews_at=self.clock() + timedelta(days=30))
        self.members.append(member)
        print(f"{self.clock():%d %b}  {name} signs up: {payment.status}")
        return member

    def run_daily(self) -> None:
        """The job that renews whatever is due. To run it twice a day would do no harm."""
        for member in self.members:
            if member.state in (ACTIVE, PAST_DUE) and member.renews_at <= self.clock():
                self._follow(member, self._charge(member))

    def _charge(self, member: Subscription) -> Payment:
        member.tries += 1
        if member.payment_id is None:
            return self.shop.payments.charge(
                PRICE,
                customer=member.customer_id,
                initiated_by="merchant",  # no security code: nobody is there to type it
                idempotency_key=member.key,
            )
        return self.shop.payments.retry(member.payment_id, idempotency_key=member.key)

    def _follow(self, member: Subscription, payment: Payment) -> None:
        member.payment_id = payment.id
        if payment.decline is None:
            self._renewed(member)
            return
        decline = payment.decline
        match decline.advice:
            case Advice.RETRY_LATER | Advice.CONTACT_ISSUER if member.tries < MOST_TRIES:
                assert decline.retry_after is not None
                member.state = PAST_DUE
                member.renews_at = self.clock() + decline.retry_after
            case Advice.AUTHENTICATE_AND_RETRY:
                member.state = ASKED  # write to them: only the cardholder can do this
            case _:
                member.state = ENDED
        print(
            f"{self.clock():%d %b}  {member.name}: {decline.code} ({decline.kind}), {member.state}"
        )

    def _renewed(self, member: Subscription) -> None:
        again = f", at the {member.tries}. try" if member.tries > 1 else ""
        print(f"{self.clock():%d %b}  {member.name} renews{again}")
        member.state, member.payment_id, member.tries = ACTIVE, None, 0
        member.renews_at = self.clock() + timedelta(days=30)


def main() -> None:
    clock = FakeClock(datetime(2026, 1, 1, 9, tzinfo=UTC))
    bank = SimulatedBank(now=clock)
    issuers = Issuers(bank)
    with PayPlatform.sandbox(bank=issuers, now=clock) as pay:
        shop = pay.merchant(pay.merchants.create(name="Acme Weekly").id)
        club = Club(shop, clock)
        ada = club.sign_up("Ada", "4242 4242 4242 4242")
        bob = club.sign_up("Bob", "5555 5555 5555 4444")
        eve = club.sign_up("Eve", "6011 1111 1111 1117")

        for day in range(100):
            clock.advance(days=1)
            if day == 20:
                issuers.minds["4444"] = DeclineCode.INSUFFICIENT_FUNDS  # Bob is short of money
            if day == 31:
                del issuers.minds["4444"]  # and then is paid
            if day == 50:
                issuers.minds["1117"] = DeclineCode.STOP_RECURRING  # Eve tells her bank to stop
            if day == 80:
                issuers.minds["4242"] = DeclineCode.AUTHENTICATION_REQUIRED
            club.run_daily()

        assert (ada.state, bob.state, eve.state) == (ASKED, ACTIVE, ENDED)
        print("what the networks were told of Bob's card:")
        for payment in reversed(list(shop.payments.list(customer=bob.customer_id))):
            for operation in shop.payments.operations(payment.id):
                said = operation.stored_credential
                assert said is not None
                first = "first use" if said.first_use else "names the first"
                print(f"  {operation.created_at:%d %b}  by the {said.initiator}, {first}")

        hard = [p for p in shop.payments.list(status="declined") if p.decline]
        tries = [len(shop.payments.operations(p.id)) for p in hard]
        assert tries == [1] * len(tries)  # what is final was never tried twice
        assert pay.doctor().ok


if __name__ == "__main__":
    main()
