"""How the tests of the simulated bank speak to it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve

from payplatform._domain.messages import BankReply, BankRequest, RequestKind
from payplatform._domain.money import Money
from payplatform.banks.simulated import FULL_CAPABILITIES, SimulatedBank
from payplatform.testing.bank_contract import card_details

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
GOOD = "4242424242424242"
CHALLENGE = "4000000000003220"
DAY_S = 86_400
HELD = [("authorize", "a", 100)]
SOLD = [("sale", "a", 100)]
WITH_CARD = ("sale", "authorize", "verify")


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time

    def forward(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Counter:
    """A merchant at the bank's counter: one short line per request."""

    def __init__(self, bank: SimulatedBank, merchant_id: str = "mer_1") -> None:
        self.bank = bank
        self.merchant_id = merchant_id

    def send(
        self,
        kind: str,
        operation_id: str,
        amount_minor: int = 100,
        *,
        currency: str = "EUR",
        card: str | None = None,
        code: str | None = "123",
        timeout_s: float = 5.0,
        **more: Any,
    ) -> BankReply:
        if kind in WITH_CARD:
            more["card"] = card_details(card or GOOD, code=code)
        request = BankRequest(
            kind=RequestKind(kind),
            operation_id=operation_id,
            merchant_id=self.merchant_id,
            amount=Money.minor(amount_minor, currency),
            **more,
        )
        return self.bank.send(request, timeout_s=timeout_s)

    def outcome(self, kind: str, operation_id: str, amount_minor: int = 100, **more: Any) -> str:
        """What came of it in a word: the outcome, or `code/bank_code` of the decline."""
        reply = self.send(kind, operation_id, amount_minor, **more)
        if reply.decline is None:
            return str(reply.outcome)
        return f"{reply.decline.code}/{reply.decline.bank_code}"

    def inquire(self, operation_id: str) -> BankReply:
        return self.bank.inquire(self.merchant_id, operation_id, timeout_s=5.0)

    def effects(self, operation_id: str) -> int:
        return self.bank.effects(self.merchant_id, operation_id)


def modest(clock: Clock, **changes: Any) -> Counter:
    """A merchant at a bank that offers everything but what is said here."""
    return Counter(SimulatedBank(now=clock, capabilities=evolve(FULL_CAPABILITIES, **changes)))


def do(counter: Counter, history: list[tuple[str, str, int]]) -> None:
    """Let this have happened: kind, operation id and amount; all of it to operation `a`."""
    for kind, operation_id, amount_minor in history:
        target = None if kind in ("sale", "authorize") else "a"
        outcome = counter.outcome(kind, operation_id, amount_minor, target_id=target)
        assert outcome in ("approved", "pending")
