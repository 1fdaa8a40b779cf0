"""One payment, decided and settled with no port at all: the store is a few dicts.

What the engine does with a store and a bank is done here by hand, as little as will do: apply a
step's changes if their guards hold. Hypothesis makes the histories: `shops()` is a payment after
any sequence of commands, answers and waiting.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

from attrs import Factory, define, field, fields_dict
from hypothesis import strategies as st

from payplatform._domain.cards import Brand
from payplatform._domain.changes import Changes
from payplatform._domain.commands import Command, Verb
from payplatform._domain.decisions import Step, World, follow_up, retry_payment, start_payment
from payplatform._domain.declines import Decline, DeclineCode
from payplatform._domain.events import Event
from payplatform._domain.invariants import Finding, broken_in_payment
from payplatform._domain.ledger import Posting
from payplatform._domain.messages import BankCapabilities, BankReply, ReplyOutcome
from payplatform._domain.money import Money
from payplatform._domain.operations import (
    STARTING_KINDS,
    TRANSITIONS,
    Operation,
    OperationKind,
    OperationState,
    Trigger,
)
from payplatform._domain.outcomes import expire, settle
from payplatform._domain.payments import Action, Facts, Payment
from payplatform._domain.records import PaymentMethod
from payplatform._domain.replies import Verdict
from payplatform.errors import InvalidRequest, NotAllowed

START = datetime(2030, 1, 1, tzinfo=UTC)
LIFETIME = timedelta(days=7)
MERCHANT = "mer_1"

CAN_ALL = BankCapabilities(
    dedups_operation_id_s=86_400.0,
    inquiry_by_operation_id=True,
    reversal_remembers_unknown=True,
    multi_capture=True,
    partial_refund=True,
    partial_void=True,
    increments=True,
    zero_amount_verification=True,
)

FOLLOW_UPS = (Verb.CAPTURE, Verb.VOID, Verb.REFUND, Verb.INCREMENT, Verb.RESUME)

METHOD = PaymentMethod(
    id="pm_1",
    merchant_id=MERCHANT,
    version=1,
    token="tok_1",
    customer_id="cus_1",
    brand=Brand.VISA,
    bin="424242",
    last4="4242",
    expiry_month=12,
    expiry_year=2060,
    fingerprint=b"f",
    created_at=START,
    updated_at=START,
)


@define
class PureShop:
    """A payment with everything that was committed about it."""

    bank: BankCapabilities = CAN_ALL
    now: datetime = START
    payment: Payment = field(init=False)
    operations: dict[str, Operation] = Factory(dict)
    events: list[Event] = Factory(list)
    postings: list[Posting] = Factory(list)
    _numbers: Iterator[int] = Factory(lambda: count(1))

    def world(self) -> World:
        return World(
            now=self.now,
            new_id=lambda prefix: f"{prefix}_{next(self._numbers):06}",
            lease=timedelta(seconds=45),
            bank=self.bank,
        )

    def command(
        self, verb: Verb, amount_minor: int | None = None, *, final: bool = False
    ) -> Command:
        amount = None if amount_minor is None else Money.minor(amount_minor, "EUR")
        return Command(
            verb=verb,
            merchant_id=MERCHANT,
            idempotency_key=f"key-{next(self._numbers)}",
            payment_id=None if verb in (Verb.CHARGE, Verb.AUTHORIZE) else self.payment.id,
            amount=amount,
            final=final,
        )

    def decide(self, command: Command, world: World | None = None) -> Step:
        """What the domain decides; nothing is written."""
        world = world or self.world()
        if command.verb in (Verb.CHARGE, Verb.AUTHORIZE):
            return start_payment(command, METHOD, world)
        if command.verb is Verb.RETRY:
            return retry_payment(command, self.payment, METHOD, world)
        return follow_up(command, self.payment, world)

    def ask(self, verb: Verb, amount_minor: int | None = None, *, final: bool = False) -> bool:
        """Decide on a command and write the intent; False when it is refused."""
        try:
            step = self.decide(self.command(verb, amount_minor, final=final))
        except (NotAllowed, InvalidRequest):
            return False
        self.commit(step.changes)
        return True

    def settle(self, operation: Operation, verdict: Verdict) -> Step | None:
        """What the domain books for a verdict; nothing is written."""
        target = self.operations.get(operation.target_id or "")
        is_resume = operation.kind is OperationKind.RESUME
        return settle(
            operation,
            self.payment,
            verdict,
            target=target if is_resume else None,
            world=self.world(),
        )

    def answer(self, operation_id: str, trigger: Trigger) -> bool:
        """Settle an operation and write it; False when the table does not list it."""
        operation = self.operations[operation_id]
        step = self.settle(operation, self.verdict(operation, trigger))
        if step is None:
            return False
        self.commit(step.changes)
        return True

    def verdict(self, operation: Operation, trigger: Trigger) -> Verdict:
        """A verdict with that trigger, and what a bank would send with it."""
        later = self.now + timedelta(minutes=1)
        if trigger is Trigger.DECLINED:
            decline = Decline(code=DeclineCode.DO_NOT_HONOR)
            reply = self._reply(operation, ReplyOutcome.DECLINED)
            return Verdict(trigger=trigger, decline=decline, reply=reply)
        if trigger is Trigger.APPROVED:
            return Verdict(trigger=trigger, reply=self._reply(operation, ReplyOutcome.APPROVED))
        if trigger is Trigger.ACTION_REQUIRED:
            reply = self._reply(operation, ReplyOutcome.REQUIRES_ACTION)
            return Verdict(trigger=trigger, reply=reply, next_try_at=later)
        return Verdict(trigger=trigger, next_try_at=later)

    def _reply(self, operation: Operation, outcome: ReplyOutcome) -> BankReply:
        needs_action = outcome is ReplyOutcome.REQUIRES_ACTION
        return BankReply(
            operation_id=operation.id,
            outcome=outcome,
            amount=operation.amount,
            reference=f"ref-{operation.id}",
            action=Action(type="redirect", url="https://bank.example/") if needs_action else None,
            expires_at=START + LIFETIME if operation.kind is OperationKind.AUTHORIZE else None,
        )

    def wait(self, time: timedelta) -> None:
        """Let time pass, and book what it lets go of."""
        self.now += time
        lapses_at = self.payment.lapses_at
        if lapses_at is not None and lapses_at <= self.now:
            self.commit(expire(self.payment, self.world()))

    def commit(self, changes: Changes) -> None:
        """Write all of it, or fail the test: nobody else writes here, so no guard is ever stale."""
        for record in changes.records:
            if isinstance(record, Payment):
                stored = self.payment.version if self.events else 0
                assert record.version == stored + 1
                self.payment = record
            if isinstance(record, Operation):
                known = self.operations.get(record.id)
                assert record.epoch == (known.epoch + 1 if known else 1)
                self.operations[record.id] = record
        self.events += changes.events
        self.postings += changes.postings

    @property
    def open(self) -> list[Operation]:
        return [o for o in self.operations.values() if not o.state.is_final]

    def findings(self) -> list[Finding]:
        """Every invariant that is broken now."""
        broken = broken_in_payment(
            self.payment,
            operations=list(self.operations.values()),
            events=self.events,
            postings=self.postings,
            disputes=(),
        )
        return list(broken)


FIRST_ANSWERS = (
    *(Trigger.APPROVED,) * 6,
    Trigger.DECLINED,
    Trigger.ACTION_REQUIRED,
    Trigger.LEFT_PENDING,
    Trigger.UNCLEAR,
    Trigger.NOT_SENT,
    None,
    None,
)


def makes_sense(operation: Operation, trigger: Trigger) -> bool:
    """Whether a bank can say so: only what starts a payment asks the cardholder for something."""
    return trigger is not Trigger.ACTION_REQUIRED or operation.kind in STARTING_KINDS


@st.composite
def capabilities(draw: st.DrawFn) -> BankCapabilities:
    can = st.booleans()
    return BankCapabilities(
        multi_capture=draw(can),
        partial_refund=draw(can),
        partial_void=draw(can),
        increments=draw(can),
    )


CAPABLE = st.just(CAN_ALL)
WAITS = (timedelta(minutes=2), timedelta(days=3), LIFETIME)


@st.composite
def shops(draw: st.DrawFn, *, banks: st.SearchStrategy[BankCapabilities] = CAPABLE) -> PureShop:
    """A payment after any history: commands of any amount, answers of any kind, waiting."""
    shop = PureShop(bank=draw(banks))
    verb = draw(st.sampled_from([Verb.AUTHORIZE, Verb.AUTHORIZE, Verb.CHARGE]))
    assert shop.ask(verb, draw(st.integers(1, 100)))
    _answer_first(draw, shop)
    moves = st.sampled_from([_ask, _ask, _ask, _answer, _answer, _wait])
    for move in draw(st.lists(moves, max_size=14)):
        move(draw, shop)
        assert shop.findings() == []
    return shop


def _ask(draw: st.DrawFn, shop: PureShop) -> None:
    """Mostly what is allowed, so that a history gets somewhere; now and then anything."""
    allowed = [Verb(kind) for kind in sorted(shop.payment.allowed_operations - {*STARTING_KINDS})]
    verb = draw(st.sampled_from([*(allowed * 3), Verb.RETRY, *FOLLOW_UPS]))
    amount = draw(st.sampled_from([None, 1, 1, 2, 5, 30, 100]))
    final = verb is Verb.CAPTURE and draw(st.booleans())
    if shop.ask(verb, None if verb is Verb.RETRY else amount, final=final):
        _answer_first(draw, shop)


def _answer_first(draw: st.DrawFn, shop: PureShop) -> None:
    """The first answer to the latest operation, most often yes; or none yet."""
    operation = list(shop.operations.values())[-1]
    trigger = draw(st.sampled_from(FIRST_ANSWERS))
    if trigger is not None and makes_sense(operation, trigger):
        shop.answer(operation.id, trigger)


def _answer(draw: st.DrawFn, shop: PureShop) -> None:
    """What comes later to one that is open, whatever the table lists."""
    if not shop.open:
        return
    operation = draw(st.sampled_from(shop.open))
    trigger = draw(st.sampled_from(_listed(operation.state)))
    if makes_sense(operation, trigger):
        shop.answer(operation.id, trigger)


def _wait(draw: st.DrawFn, shop: PureShop) -> None:
    shop.wait(draw(st.sampled_from(WAITS)))


def _listed(state: OperationState) -> list[Trigger]:
    return [trigger for (start, trigger) in TRANSITIONS if start is state]


FACTS = tuple(fields_dict(Facts))
