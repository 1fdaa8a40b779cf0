"""Your checkout, dying at every port call in turn: its customers must be charged as if it had not.

Law of this file: what is right is never said here. A life in which nothing goes wrong shows it:
what the checkout answers then, and what the bank's statement says. Each other life has to end so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, Final

from attrs import Factory, frozen

from payplatform._domain.operations import UNRESOLVED_STATES, Operation, OperationState
from payplatform._domain.payments import Payment
from payplatform.banks.simulated import LineState, StatementLine
from payplatform.client import MerchantClient, PayPlatform
from payplatform.ports import Bank, Filter, KeyService, Storage
from payplatform.testing.bench import settle
from payplatform.testing.mortal import Death, Died, Fate, Mortal, PortCall
from payplatform.testing.repeatable import FakeClock, SeededIds

Act = Callable[[MerchantClient], object]
"""What a process does with its shop, such as checking out; it returns what the customer reads."""

Prepare = Callable[[MerchantClient], Act]
"""Makes all that is there before, such as a card and an order, and returns what is to be done."""

_LEFT_OPEN: Final = frozenset(
    {OperationState.IN_FLIGHT, OperationState.IN_DOUBT, OperationState.REVERSING}
)
_WAITS_MIN: Final = (0, 2, 4, 8, 16, 32)
_USE_YOURS: Final = "The function has to use the shop that it is handed."


@frozen(kw_only=True)
class World:
    """What is there whatever happens to a process.

    Attributes:
        storage: the store.
        bank: the bank.
        keys: who keeps the master key.
        clock: the time of all of them.
        statement: the bank's statement of a merchant, by the merchant's id.
        new_id: makes ids.
    """

    storage: Storage
    bank: Bank
    keys: KeyService
    clock: FakeClock
    statement: Callable[[str], Sequence[StatementLine]]
    # Not the first seed: a sandbox on the same store makes its ids by that.
    new_id: Callable[[str], str] = Factory(lambda: SeededIds(1))

    def process(self, fate: Fate | None = None) -> PayPlatform:
        """Start a process; nothing of an earlier one is in its memory.

        Args:
            fate: where it dies; it lives unless told otherwise.
        """
        fate = fate or Fate()
        return PayPlatform(
            storage=Mortal(self.storage, fate, "storage"),
            bank=Mortal(self.bank, fate, "bank"),
            keys=Mortal(self.keys, fate, "keys"),
            now=self.clock,
            new_id=self.new_id,
        )


def pay_crash_everywhere(test: Callable[..., Act]) -> Callable[..., None]:
    """Turn a test of your checkout into one that lets it die at each of its port calls in turn.

    The test prepares what is there before, and returns the function that a process runs. Both take
    a `shop`; each process has one of its own. What else the test takes are pytest's fixtures, made
    once for the test. What the test itself makes is made anew for each death, and survives the
    process as it was when it died: what your shop keeps of an order belongs there.

    After each death the function is run again by a new process: at once, 2 minutes later, or 2
    minutes and a recovery later. It is run until it answers what it answers when nothing goes wrong
    (of a `Payment`, its status); an exception, or another answer, is "not yet". Then the bank's
    statement has to be as it is when nothing goes wrong, nothing may be left open, and the doctor
    has to find nothing.

    The store, the bank, the key service and the time are the fixtures `pay_storage`, `pay_bank`,
    `pay_keys` and `pay_clock`: override one, and it is yours that is under test. The statement is
    `pay_bank.statement`, or what your own fixture `pay_statement` says: lines that have `kind`,
    `amount`, `state` and `operation_id`, as `StatementLine` has.

    Example:
        ```python
        @pay_crash_everywhere
        def test_a_customer_pays_once(shop, pay_cards):
            card = shop.payment_methods.create(card=pay_cards.approves)
            order = Order(number=1, card_id=card.id)
            return lambda shop: check_out(shop, order)
        ```

    Args:
        test: takes `shop` and fixtures; returns a function that takes a shop.

    Returns:
        A test for pytest. It raises AssertionError with the whole story: where the process died,
        what was tried under which keys, what was answered, and the bank's statement.

    Raises:
        TypeError: the test takes no `shop`.
    """
    parameters = signature(test).parameters
    if "shop" not in parameters:
        raise TypeError("a test that dies everywhere takes `shop`, and returns what is to be done")

    @wraps(test)
    def everywhere(*args: Any, pay_world: World, **fixtures: Any) -> None:
        __tracebackhide__ = True  # the story says it all
        crash_everywhere(lambda shop: test(*args, shop=shop, **fixtures), world=pay_world)

    taken = [parameter for name, parameter in parameters.items() if name != "shop"]
    taken.append(Parameter("pay_world", Parameter.KEYWORD_ONLY))
    everywhere.__signature__ = Signature(taken)  # type: ignore[attr-defined]  # pytest reads it
    return everywhere


def crash_everywhere(prepare: Prepare, *, world: World) -> None:
    """What `pay_crash_everywhere` does, for those who do without pytest.

    Args:
        prepare: makes what is there before, for a merchant that is new each time.
        world: where it all happens.

    Raises:
        AssertionError: a life ended otherwise than the one in which nothing went wrong.
    """
    __tracebackhide__ = True
    calm = _Story(world, prepare)
    run = calm.run()
    if run.error is not None:
        raise run.error
    if not any(call.name == "bank.send" for call in run.calls):
        raise AssertionError(f"No bank was asked. {_USE_YOURS}")
    moved = calm.moved()
    for death in _deaths(run.calls):
        for sequel in _Sequel:
            story = _Story(world, prepare)
            story.live(death, sequel, expected=run.answer)
            story.end(moved)


def _deaths(calls: Sequence[PortCall]) -> Iterator[Death]:
    for at_call in range(1, len(calls) + 1):
        yield Death(at_call, "before")
        yield Death(at_call, "after")


class _Sequel(StrEnum):
    """What comes between a death and the next try."""

    AT_ONCE = "At once"
    LATER = "2 minutes later"
    RECOVERED = "2 minutes and a recovery later"


@frozen(kw_only=True)
class _Run:
    """What a process did, and how it ended: it died, raised or answered."""

    calls: Sequence[PortCall]
    death: Death | None
    error: Exception | None
    answer: object

    def answers(self, expected: object) -> bool:
        return self.error is None and self.answer == expected

    def __str__(self) -> str:
        keys = dict.fromkeys(c.about for c in self.calls if c.name == "storage.operation_with_key")
        return f"used {' and '.join(keys) or 'no key'}, and {self._ending()}"

    def _ending(self) -> str:
        if self.death is not None:
            place, moment = len(self.calls), self.death.moment
            return f"died just {moment} {self.calls[-1]}, its port call {place}"
        if self.error is not None:
            return f"raised {type(self.error).__name__}: {self.error}"
        return f"answered {self.answer!r}"


class _Story:
    """What happens to one merchant, written down for whoever has to find out what went wrong."""

    def __init__(self, world: World, prepare: Prepare) -> None:
        self._world = world
        self._lines: list[str] = []
        fate = Fate()
        pay = world.process(fate)
        self._merchant_id = pay.merchants.create(name="Acme").id
        self._act = prepare(pay.merchant(self._merchant_id))
        fate.is_dead = True

    def live(self, death: Death, sequel: _Sequel, *, expected: object) -> None:
        """Die, and after that try again until the answer is the expected one."""
        __tracebackhide__ = True
        self._lines.append(f"A process {self.run(death)}.")
        self._pass(sequel)
        for wait_min in _WAITS_MIN:
            self._world.clock.advance(seconds=60 * wait_min)
            run = self.run()
            when = f"{wait_min} minutes later" if wait_min else sequel
            self._lines.append(f"{when} another {run}.")
            if run.answers(expected):
                return
        raise self._failure(f"It never answered {expected!r} again.") from run.error

    def run(self, death: Death | None = None) -> _Run:
        """Have a new process do what is to be done."""
        fate = Fate()
        shop = self._world.process(fate).merchant(self._merchant_id)
        fate.await_death(death)
        answer: object = None
        error: Exception | None = None
        try:
            answer = _answer(self._act(shop))
        except Died:
            if not fate.is_dead:
                raise AssertionError(f"That process is over. {_USE_YOURS}") from None
        except Exception as raised:  # noqa: BLE001  # whatever it is, the customer tries again
            error = raised
        struck = death if fate.is_dead else None
        return _Run(calls=fate.calls, death=struck, error=error, answer=answer)

    def end(self, moved: Counter[str]) -> None:
        """See that all is known in the end, and that this is what the bank has moved."""
        __tracebackhide__ = True
        pay = self._world.process()
        if self._operations(_LEFT_OPEN):
            settle(pay, self._world.clock, lambda: bool(self._operations(_LEFT_OPEN)))
        mine = self.moved()
        if mine - moved:
            raise self._failure(f"Too much money moved: {_in_words(mine - moved)}.")
        if moved - mine:
            raise self._failure(f"Money did not move: {_in_words(moved - mine)}.")
        for operation in self._operations(UNRESOLVED_STATES | _LEFT_OPEN):
            raise self._failure(
                f"The {operation.kind.noun} is {operation.state}: {operation.reason}."
            )
        for finding in pay.doctor().findings:
            raise self._failure(f"The doctor found: {finding.text}.")

    def moved(self) -> Counter[str]:
        """What the bank has moved for this merchant, and not put back."""
        standing = (line for line in self._statement() if line.state != LineState.REVERSED)
        return Counter(map(_movement, standing))

    def _pass(self, sequel: _Sequel) -> None:
        if sequel is not _Sequel.AT_ONCE:
            self._world.clock.advance(seconds=120)
        if sequel is _Sequel.RECOVERED:
            self._world.process().recover(limit=10_000)

    def _operations(self, states: frozenset[OperationState]) -> Sequence[Operation]:
        return self._world.storage.page(
            self._merchant_id, Operation, Filter(states=states), limit=100
        )

    def _statement(self) -> Sequence[StatementLine]:
        return self._world.statement(self._merchant_id)

    def _failure(self, what: str) -> AssertionError:
        story = [f"{number}. {line}" for number, line in enumerate(self._lines, start=1)]
        statement = [f"- {self._in_words(line)}" for line in self._statement()] or ["- nothing"]
        return AssertionError("\n".join([what, *story, "The bank's statement:", *statement]))

    def _in_words(self, line: StatementLine) -> str:
        operation = self._world.storage.get(self._merchant_id, Operation, line.operation_id)
        key = f"key {operation.idempotency_key}" if operation else "of an unknown operation"
        return f"{_movement(line)}, {line.state}, {key}"


def _answer(value: object) -> object:
    """A payment differs each time, in its id if nothing else; its status need not."""
    return str(value.status) if isinstance(value, Payment) else value


def _movement(line: StatementLine) -> str:
    return f"{line.kind} of {line.amount}"


def _in_words(moved: Counter[str]) -> str:
    return ", ".join(f"{count} x {movement}" for movement, count in moved.items())
