"""Plays a history, step by step, and has it judged after each.

Law of this file: what a step points at is looked up when its turn comes, and a step that finds
nothing to do does nothing. So a history means the same wherever it is played, whole or in part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

from attrs import frozen

from payplatform._domain.cards import Brand
from payplatform._domain.money import Money
from payplatform._domain.operations import OperationKind, OperationState
from payplatform._domain.payments import Payment
from payplatform.errors import PayPlatformError
from payplatform.ports import BankNotice
from payplatform.testing.simulate.accountant import Accountant
from payplatform.testing.simulate.bookkeeping import Bookkeeping
from payplatform.testing.simulate.callers import Caller
from payplatform.testing.simulate.crowd import Crowd
from payplatform.testing.simulate.judge import Ask, Judge, Violation, require_orderly
from payplatform.testing.simulate.people import decide, take_challenge
from payplatform.testing.simulate.steps import (
    NO_TROUBLE,
    AnswerDispute,
    Crash,
    Decide,
    DecideDispute,
    Door,
    FollowUp,
    GoOn,
    Hear,
    History,
    OpenDispute,
    Pay,
    PayOut,
    Plan,
    PowerCut,
    Publish,
    Reconcile,
    Recover,
    Repeat,
    Skew,
    Step,
    Trouble,
    Verify,
    Wait,
)
from payplatform.testing.simulate.world import Face, MemoryShelf, Shelf, World, card_named

T = TypeVar("T")

_MOST_ROUNDS: Final = 40
_ROUND: Final = timedelta(hours=29)


@frozen(kw_only=True)
class Outcome:
    """What came of a history.

    Attributes:
        violation: the rule that was broken, if one was.
        steps: how many steps were played.
        struck: how often each fault struck, by name.
        excused: payments whose books were not compared, since the bank broke a promise.
        digest: a hash of every event that was written, to the byte.
        journal: what happened, a line each.
    """

    violation: Violation | None
    steps: int
    struck: dict[str, int]
    excused: int
    digest: bytes
    journal: tuple[str, ...]


def play_in_memory(history: History) -> Outcome:
    """Play a history of your own on a store in memory.

    Args:
        history: what happens.

    Returns:
        What came of it; `violation` is None if no rule was broken.
    """
    return play(history, MemoryShelf())


def play(history: History, shelf: Shelf, face: Face = "blocking") -> Outcome:
    """Play a history to its end, and tell what came of it.

    Args:
        history: what happens.
        shelf: where the store is; closed in the end.
        face: through which face everything is called.
    """
    world = World(
        shelf, face=face, bank=history.bank, merchants=history.merchants, seed=history.seed
    )
    game = _Game(world)
    violation = None
    try:
        for step in history.steps:
            game.take(step)
        game.finish(wakes=history.wakes)
        digest = game.judge.digest()
    except Violation as broken:
        violation, digest = broken, b""
    except PayPlatformError as error:
        # Where nothing goes wrong nothing may fail.
        violation, digest = Violation("lost", f"undisturbed, it was told {error!r}"), b""
    finally:
        game.end_all()
        world.close()
    return Outcome(
        violation=violation,
        steps=game.steps,
        struck=dict(world.struck),
        excused=game.excused,
        digest=digest,
        journal=tuple(game.journal),
    )


class _Game:
    """A history under way."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.judge = Judge(world)
        self.steps = 0
        self.excused = 0
        self.journal: list[str] = []
        self._accountant = Accountant(world)
        self._crowd = Crowd(world, self.journal)
        self._books = Bookkeeping(world, self._crowd, self._accountant)
        self._asks: list[Ask] = []
        self._heard: list[BankNotice] = []

    def take(self, step: Step) -> None:
        """Let one thing happen, and look at what came of it.

        Raises:
            Violation: a rule was broken.
        """
        self.steps += 1
        self.journal.append(f"{self.steps}. {step}")
        self._act(step)
        self.check()

    def check(self) -> None:
        """Look at all that was touched since the last time.

        Raises:
            Violation: a rule is broken.
        """
        self.judge.check()
        self._accountant.check()

    def finish(self, *, wakes: bool) -> None:
        """Let everything come to its end, fairly: nothing goes wrong any more.

        Raises:
            Violation: a rule was broken.
        """
        self.journal.append("from here on nothing goes wrong any more")
        for process in self.world.processes:
            process.skew = timedelta(0)
        self.world.set_door(is_open=True)
        if wakes:
            self._crowd.wake_all(self.check)
        else:
            for number in range(len(self.world.processes)):
                self._crowd.crash(number)
        self._settle()
        self.judge.require_settled()
        self._decide(0)
        self._settle()
        self._decide(0)
        # What was captured too late, or never, lapses at the bank and here.
        self.world.clock.advance(days=8)
        self._settle()
        self._require_nothing_open()
        self.judge.require_known()
        self.excused = self.judge.require_agreement()
        self._books.close()
        self._accountant.require_agreement(self.judge.excused)
        self._repeat_all()
        self._publish_all()
        report = self.world.processes[0].pay.doctor()
        for finding in report.findings:
            raise Violation(finding.rule, f"{finding.record_id}: {finding.text}")
        self.judge.check()

    def end_all(self) -> None:
        """End every caller that still stands still, whatever it would do."""
        self._crowd.end_all()

    # -- the steps

    def _act(self, step: Step) -> None:  # noqa: C901, PLR0912  # a table
        match step:
            case Pay():
                self._pay(step)
            case FollowUp():
                self._follow_up(step)
            case Verify():
                self._verify(step)
            case Repeat():
                self._repeat(step)
            case Recover():
                self._recover(step.process, step.trouble)
            case Hear():
                self._hear(step)
            case Publish():
                self._publish(step)
            case GoOn():
                self._crowd.go_on(step.caller, step.calls)
            case Crash():
                self._crowd.crash(step.process)
            case PowerCut():
                self._crowd.cut_power(step.seed)
            case Wait():
                self.world.clock.advance(seconds=step.seconds)
            case Skew():
                self.world.processes[step.process].skew = timedelta(seconds=step.seconds)
            case Door():
                self.world.set_door(is_open=step.is_open)
            case Decide():
                self._decide(step.process)
            case PayOut():
                self._pay_out(step)
            case Plan():
                self._books.plan(step)
            case Reconcile():
                self._books.reconcile(step)
            case OpenDispute():
                self._books.open_dispute(step, self._payments())
            case DecideDispute():
                self._books.decide_dispute(step)
            case AnswerDispute():
                self._books.answer_dispute(step)

    def _pay(self, step: Pay) -> None:
        merchant_id = _pick(self.world.merchants, step.merchant)
        method_id = self.world.method(merchant_id, step.card, of_guest=step.payer == "guest")
        given: dict[str, Any] = {"payment_method": method_id}
        if step.payer == "merchant":
            given["initiated_by"] = "merchant"
        else:
            given["security_code"] = _code_of(step.card)
        amount = Money.minor(step.amount_minor, step.currency)
        more = Money.minor(step.amount_minor + 1, step.currency)
        verb = ("payments", step.verb)
        self._ask(step, merchant_id, verb=verb, about=(amount,), other=(more,), given=given)

    def _follow_up(self, step: FollowUp) -> None:
        payments = self._payments()
        if not payments:
            return
        payment = payments[-1 - step.payment % len(payments)]
        merchant_id = payment.merchant_id
        if step.stranger:
            others = [id_ for id_ in self.world.merchants if id_ != merchant_id]
            merchant_id = others[0] if others else merchant_id
        verb = _verb(step, payment)
        if verb != step.verb:
            self.journal.append(f"   it asks for {verb}")
        given = self._given(step, verb, payment, merchant_id)
        if given is None:
            return
        amount = step.amount_minor
        about: tuple[object, ...] = (payment.id,)
        other: tuple[object, ...] = (_another_id(payment.id),)
        if amount is not None and verb not in ("retry", "resume"):
            other = (payment.id, Money.minor(amount + 1, payment.currency))
            about = (payment.id, Money.minor(amount, payment.currency))
        room_and_verb = ("payments", verb)
        self._ask(step, merchant_id, verb=room_and_verb, about=about, other=other, given=given)

    def _given(
        self, step: FollowUp, verb: str, payment: Payment, merchant_id: str
    ) -> dict[str, Any] | None:
        """What goes along with a verb; None where it would have nothing to say."""
        if verb == "capture":
            return {"final": step.final}
        if verb == "retry":
            return {"payment_method": self.world.method(merchant_id, step.card, of_guest=False)}
        if verb == "increment" and step.amount_minor is None:
            return None
        if verb == "resume" and payment.action is not None and step.passes is not None:
            take_challenge(self.world.bank, payment.action.url, passes=step.passes)
        return {}

    def _pay_out(self, step: PayOut) -> None:
        merchant_id = _pick(self.world.merchants, step.merchant)
        about: tuple[object, ...] = (step.currency,)
        other: tuple[object, ...] = ("USD",)
        if step.amount_minor is not None:
            about = (Money.minor(step.amount_minor, step.currency),)
            other = (Money.minor(step.amount_minor + 1, step.currency),)
        verb = ("payouts", "sweep" if step.amount_minor is None else "create")
        self._ask(step, merchant_id, verb=verb, about=about, other=other, given={})

    def _verify(self, step: Verify) -> None:
        merchant_id = _pick(self.world.merchants, step.merchant)
        method_id = self.world.method(merchant_id, step.card, of_guest=False)
        self._ask(
            step,
            merchant_id,
            verb=("payment_methods", "verify"),
            about=(method_id,),
            other=(_another_id(method_id),),
            given={"security_code": _code_of(step.card)},
        )

    def _ask(
        self,
        step: Pay | FollowUp | Verify | PayOut,
        merchant_id: str,
        *,
        verb: tuple[str, str],
        about: tuple[object, ...],
        other: tuple[object, ...],
        given: dict[str, Any],
    ) -> None:
        """Make a money-moving call, with a new key, which may be made again."""
        key = f"key-{len(self._asks)}"
        room, name = verb

        def call(process: int, about: tuple[object, ...]) -> object:
            shop = self.world.processes[process].pay.merchant(merchant_id)
            return getattr(getattr(shop, room), name)(*about, **given, idempotency_key=key)

        ask = Ask(
            merchant_id=merchant_id,
            key=key,
            make=lambda process: call(process, about),
            otherwise=lambda process: call(process, other),
        )
        self._asks.append(ask)
        self._crowd.start(
            step.process, lambda: ask.make(step.process), step.trouble, self._judging(ask, step)
        )

    def _judging(
        self, ask: Ask, step: Pay | FollowUp | Verify | PayOut
    ) -> Callable[[Caller], None]:
        """How to look at what is told: a stranger to the payment is to be told nothing of it."""
        is_strange = isinstance(step, FollowUp) and step.stranger and len(self.world.merchants) > 1
        return self.judge.told_stranger if is_strange else partial(self.judge.told, ask)

    def _repeat(self, step: Repeat) -> None:
        if not self._asks:
            return
        ask = self._asks[-1 - step.call % len(self._asks)]
        known = self.world.storage.operation_with_key(ask.merchant_id, ask.key)
        if step.otherwise and known is None:
            return
        make = ask.otherwise if step.otherwise else ask.make
        self._crowd.start(
            step.process,
            lambda: make(step.process),
            step.trouble,
            lambda caller: self.judge.told(ask, caller, otherwise=step.otherwise),
        )

    def _recover(self, process: int, trouble: Trouble) -> None:
        def recover() -> object:
            return self.world.processes[process].pay.run_due(limit=10_000)

        self._crowd.start(process, recover, trouble, require_orderly)

    def _hear(self, step: Hear) -> None:
        """The bank's post comes: signed where it is new, and as read before where it is not."""
        signed = dict(zip(self.world.bank.notices(), self.world.bank.deliveries(), strict=True))
        notices = [*self._heard, *signed] if step.again else [*signed]
        if not notices:
            return
        notice = _pick(notices, step.notice)
        if step.forged:
            if signed:
                self._books.hear_forged(step, *_pick(list(signed.values()), step.notice))
            return

        def hear() -> None:
            door = self.world.processes[step.process].pay.notices
            if notice not in signed:
                door.apply(notice)
                return
            door.receive(*signed[notice])
            self._heard.append(notice)
            self.world.bank.acknowledge(notice.id)

        self._crowd.start(step.process, hear, step.trouble, require_orderly)

    def _publish(self, step: Publish) -> None:
        def publish() -> None:
            events = self.world.processes[step.process].pay.events
            waiting = events.pending(limit=100)
            self.judge.published.update(event.id for event in waiting)
            events.mark_published(waiting)

        self._crowd.start(step.process, publish, step.trouble, require_orderly)

    def _decide(self, process: int) -> None:
        """A person needs the bank, and decides when nothing can be on its way any more.

        Nor may anybody stand still in front of the bank: what they send after a person has called
        it void is done, and if they die then nobody is told. Only the bank's statement shows it.
        """
        if self.world.is_bank_down:
            return
        self._crowd.wake_all(self.check)
        self.world.clock.advance(hours=1)
        self.world.bank.deliver_late()
        pay = self.world.processes[process].pay
        for operation in self.judge.unresolved():
            if operation.state is not OperationState.NEEDS_REVIEW:
                continue
            operations = pay.merchant(operation.merchant_id).operations
            resolve = partial(
                operations.resolve, operation.id, actor="Ada", reason="the bank's statement"
            )
            outcome = decide(self.world.bank, operation, resolve)
            self.journal.append(f"   resolved: the {operation.kind.noun} {outcome}")

    # -- the end

    def _settle(self) -> None:
        """Let time pass, hear what the bank has to tell, and recover, until nothing moves."""
        for _ in range(_MOST_ROUNDS):
            self.world.clock.advance(_ROUND)
            self._hear_all()
            self._recover(0, NO_TROUBLE)
            self.check()
            if not (self.world.bank.notices() or self._is_recoverable() or self._waits()):
                return

    def _hear_all(self) -> None:
        for _ in self.world.bank.notices():
            self._hear(Hear(process=0, notice=0))

    def _is_recoverable(self) -> bool:
        return any(o.state is not OperationState.NEEDS_REVIEW for o in self.judge.unresolved())

    def _waits(self) -> bool:
        """Whether a notice or a dispute is looked at again before the last round is over."""
        storage, over_at = self.world.storage, self.world.clock() + _ROUND
        return bool(storage.due_notices(over_at, limit=1) or storage.due_disputes(over_at, limit=1))

    def _require_nothing_open(self) -> None:
        for operation in self.judge.unresolved():
            raise Violation("unresolved", f"{operation.kind} {operation.id} is still open")

    def _repeat_all(self) -> None:
        for place in range(len(self._asks)):
            self._repeat(Repeat(process=0, call=place))

    def _publish_all(self) -> None:
        while True:
            known = len(self.judge.published)
            self._publish(Publish(process=0))
            if len(self.judge.published) == known:
                break
        self.judge.require_published()

    # -- what there is

    def _payments(self) -> list[Payment]:
        """Every payment, oldest first."""
        found = [
            payment
            for merchant_id in self.world.merchants
            for payment in self.world.storage.page(merchant_id, Payment, limit=1_000)
        ]
        return sorted(found, key=lambda payment: payment.id)


def _verb(step: FollowUp, payment: Payment) -> str:
    """What is asked: as drawn, or the first thing that the payment allows."""
    allowed = sorted(_VERBS.get(kind, kind.value) for kind in payment.allowed_operations)
    if not step.willing or step.verb in allowed or not allowed:
        return step.verb
    return allowed[0]


_VERBS: Final = {OperationKind.SALE: "retry", OperationKind.AUTHORIZE: "retry"}


def _another_id(id_: str) -> str:
    """An id of the same kind that nothing has."""
    return f"{id_.partition('_')[0]}_{'0' * 26}"


def _pick(things: Sequence[T], place: int) -> T:
    return things[place % len(things)]


def _code_of(card: str) -> str:
    return "1234" if card_named(card).brand is Brand.AMEX else "123"
