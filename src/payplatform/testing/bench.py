"""A shop on a bench: commands as small data, played on a sandbox whose bank and time are ours.

Law of this file: a command is a value that means the same on any shop, so that hypothesis can draw
and shrink it (`strategies.commands`), and so that your own code can be driven by it too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from attrs import Factory, define, field, frozen

from payplatform._domain.cards import Brand, Card
from payplatform._domain.messages import (
    BankCapabilities,
    BankNotice,
    BankReply,
    BankRequest,
    RequestKind,
)
from payplatform._domain.money import Money
from payplatform._domain.operations import STARTING_KINDS, OperationState
from payplatform._domain.payments import Payment
from payplatform.banks.simulated import FAULTS, Call, Fault, SimulatedBank
from payplatform.client import MerchantClient, PayPlatform
from payplatform.errors import Conflict, PayPlatformError
from payplatform.testing.cards import NamedCards
from payplatform.testing.repeatable import FakeClock, SeededIds

STARTING_VERBS: Final = ("charge", "authorize")
FOLLOWING_VERBS: Final = ("capture", "void", "refund", "increment", "retry", "resume", "repeat")
OTHER_VERBS: Final = ("advance", "recover")
_FACTS: Final = ("authorized", "captured", "voided", "expired", "refunded")


@frozen(kw_only=True)
class Command:
    """One thing that happens to a shop.

    Attributes:
        verb: a money-moving method of `shop.payments`; `repeat` makes the latest call once more
            with its key; `advance` lets time pass; `recover` runs recovery.
        amount_minor: how much, in minor units; None for all there is, where the verb allows it.
        payment: which payment, counted back from the newest: 0 is the newest.
        card: of what starts a payment, and of a retry: a name of `NamedCards`.
        final: of a capture: release the rest.
        passes: of a resume: whether the cardholder passed the challenge; None: not come back yet.
        seconds: of advance.
        fault: what goes wrong with the first call to the bank that it can strike.
    """

    verb: str
    amount_minor: int | None = None
    payment: int = 0
    card: str = "approves"
    final: bool = False
    passes: bool | None = True
    seconds: int = 0
    fault: Fault | None = None


@frozen(kw_only=True)
class Told:
    """What came of a command: a payment, an error, or neither where there was nothing to do."""

    payment: Payment | None = None
    error: PayPlatformError | None = None


class _Wire:
    """The bank as the platform reaches it: a fault strikes the next call that it can, or none."""

    def __init__(self, bank: SimulatedBank) -> None:
        self._bank = bank
        self.fault: Fault | None = None

    @property
    def capabilities(self) -> BankCapabilities:
        return self._bank.capabilities

    def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
        is_reversal = request.kind is RequestKind.REVERSAL
        self._strike(Call.REVERSAL if is_reversal else Call.SEND)
        return self._bank.send(request, timeout_s=timeout_s)

    def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> BankReply:
        self._strike(Call.INQUIRY)
        return self._bank.inquire(merchant_id, operation_id, timeout_s=timeout_s)

    def read_notice(self, raw: bytes, headers: Mapping[str, str]) -> BankNotice:
        return self._bank.read_notice(raw, headers)

    def describe(self) -> Mapping[str, str]:
        return self._bank.describe()

    def close(self) -> None:
        self._bank.close()

    def _strike(self, call: Call) -> None:
        if self.fault is not None and call in FAULTS[self.fault].calls:
            self._bank.next(self.fault, on=call)
            self.fault = None


@define(kw_only=True)
class Bench:
    """A sandbox with one shop, and everything around it in hand.

    Use it as a context manager, or `close()` it.

    Example:
        ```python
        @given(strategies.commands())
        def test_my_books_agree_with_the_banks(commands):
            with Bench() as bench:
                for command in commands:
                    bench.play(command)
                bench.settle()
                assert bench.differences() == []
        ```

    Attributes:
        clock: the time; a `FakeClock` of its own by default.
        bank: the simulated bank; one of its own, on that clock, by default.
        currency: that all amounts are in; EUR by default.
        pay: the platform, a sandbox.
        shop: its only merchant.
        payments: the ids of all that was started, oldest first.
    """

    clock: FakeClock = Factory(FakeClock)
    bank: SimulatedBank = field()
    currency: str = "EUR"
    payments: list[str] = field(factory=list, init=False)
    pay: PayPlatform = field(init=False)
    shop: MerchantClient = field(init=False)
    _wire: _Wire = field(init=False)
    _calls: int = field(default=0, init=False)
    _latest: Callable[[], Payment] | None = field(default=None, init=False)

    @bank.default
    def _new_bank(self) -> SimulatedBank:
        return SimulatedBank(now=self.clock)

    def __attrs_post_init__(self) -> None:
        self._wire = _Wire(self.bank)
        self.pay = PayPlatform.sandbox(bank=self._wire, now=self.clock, new_id=SeededIds())
        self.shop = self.pay.merchant(self.pay.merchants.create(name="Bench").id)

    def play(self, command: Command) -> Told:
        """Have it happen. What is refused, declined or unclear is told, not raised.

        Args:
            command: what happens. A follow-up without any payment does nothing.

        Returns:
            What the shop was told.

        Raises:
            ValueError: there is no such verb.
        """
        self._wire.fault = command.fault
        verb = command.verb
        if verb == "advance":
            self.clock.advance(seconds=command.seconds)
            return Told()
        if verb == "recover":
            return self._told(self.pay.recover)
        if verb in STARTING_VERBS:
            return self._start(command)
        if verb not in FOLLOWING_VERBS:
            raise ValueError(f"there is no verb {verb!r}")
        if verb == "repeat":
            return Told() if self._latest is None else self._told(self._latest)
        return self._follow(command) if self.payments else Told()

    def settle(self) -> None:
        """Let time pass, recovery run and notices come, until nothing is left to find out.

        What needs a person is left to you: see `shop.operations.list_unresolved()`.
        """
        self._wire.fault = None
        settle(self.pay, self.clock, self._goes_on, bank=self.bank)

    def differences(self) -> list[str]:
        """Where our books and the bank's part, and every broken invariant, in words; none: well."""
        return differences(self.pay, self.bank)

    def close(self) -> None:
        """Close platform and bank. A second close does nothing."""
        self.pay.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _goes_on(self) -> bool:
        """Whether recovery, or time, still has something to do."""
        return any(is_open(p) or p.lapses_at is not None for p in self.shop.payments.list())

    def _start(self, command: Command) -> Told:
        amount = Money.minor(command.amount_minor or 1, self.currency)
        card = self._card(command)
        method = self.shop.payment_methods.create(card=card)
        told = self._call(
            command.verb,
            amount,
            payment_method=method.id,
            security_code=_code_of(card),
        )
        newest = next(self.shop.payments.list(), None)
        if newest is not None and newest.id not in self.payments:
            self.payments.append(newest.id)
        return told

    def _follow(self, command: Command) -> Told:
        payment_id = self.payments[-1 - command.payment % len(self.payments)]
        amount = command.amount_minor and Money.minor(command.amount_minor, self.currency)
        match command.verb:
            case "capture":
                return self._call("capture", payment_id, amount, final=command.final)
            case "increment":
                return self._call("increment", payment_id, amount or Money.minor(1, self.currency))
            case "retry":
                method = self.shop.payment_methods.create(card=self._card(command))
                return self._call("retry", payment_id, payment_method=method.id)
            case "resume":
                self._answer_challenge(payment_id, passes=command.passes)
                return self._call("resume", payment_id)
            case verb:
                return self._call(verb, payment_id, amount)

    def _answer_challenge(self, payment_id: str, *, passes: bool | None) -> None:
        action = self.shop.payments.get(payment_id).action
        if action is None or passes is None:
            return
        try:
            self.bank.complete_challenge(action.url, succeed=passes)
        except LookupError:
            return  # it came too late

    def _call(self, verb: str, *subject: Any, **given: Any) -> Told:
        self._calls += 1
        key = f"bench-{self._calls}"
        method: Callable[..., Payment] = getattr(self.shop.payments, verb)
        self._latest = lambda: method(*subject, **given, idempotency_key=key)
        return self._told(self._latest)

    def _told(self, call: Callable[[], object]) -> Told:
        try:
            result = call()
        except PayPlatformError as error:
            return Told(error=error)
        return Told(payment=result) if isinstance(result, Payment) else Told()

    def _card(self, command: Command) -> Card:
        card: Card = getattr(NamedCards.from_table(), command.card)
        return card


# Recovery gives up after six days, and an authorization ends after seven.
_MOST_DAYS: Final = 30


def settle(
    pay: PayPlatform,
    clock: FakeClock,
    goes_on: Callable[[], bool],
    *,
    bank: SimulatedBank | None = None,
) -> None:
    """Let time pass and recovery run.

    Args:
        pay: whose recovery.
        clock: the time of everything.
        goes_on: whether there is more to find out; asked each day.
        bank: whose notices are delivered.
    """
    for _ in range(_MOST_DAYS):
        clock.advance(days=1, hours=5)
        pay.recover(limit=10_000)
        if bank is not None:
            _deliver_notices(pay, bank)
        if not goes_on():
            return


def _deliver_notices(pay: PayPlatform, bank: SimulatedBank) -> None:
    for notice in bank.notices():
        with suppress(Conflict):  # something is under way, so it is delivered again tomorrow
            pay.notices.apply(notice)
            bank.acknowledge(notice.id)


def is_open(payment: Payment) -> bool:
    """Whether recovery still has something to find out about it."""
    return any(o.state != OperationState.NEEDS_REVIEW for o in payment.open_operations)


def differences(pay: PayPlatform, bank: SimulatedBank) -> list[str]:
    """Where the books of all merchants and the bank's part, and every broken invariant, in words.

    Args:
        pay: whose books.
        bank: the bank that it uses.
    """
    broken = [f"{finding.record_id}: {finding.text}" for finding in pay.doctor().findings]
    for merchant in pay.merchants.list():
        shop = pay.merchant(merchant.id)
        for payment in shop.payments.list():
            ours, theirs = payment.facts, _banks_facts(bank, shop, payment)
            broken += [
                f"{payment.id}: {name} is {getattr(ours, name)}, at the bank {theirs[name]}"
                for name in _FACTS
                if getattr(ours, name) != theirs[name]
            ]
    return broken


def _banks_facts(bank: SimulatedBank, shop: MerchantClient, payment: Payment) -> dict[str, int]:
    positions = [
        bank.position(shop.id, operation.id)
        for operation in shop.payments.operations(payment.id)
        if operation.kind in STARTING_KINDS
    ]
    return {name: sum(getattr(p, name) for p in positions) for name in _FACTS}


def _code_of(card: Card) -> str:
    return "1234" if card.brand is Brand.AMEX else "123"
