"""Two platforms that live the same life: one in memory, one in a SQLite file.

They have the same time and the same ids, and two simulated banks that are given the same faults.
So they must say the same, to the letter, whatever is asked of them: `Twins.both` asks both and sees
to it. After each step the books of whatever was touched are checked on both sides.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen
from sides import Side, Trouble

from payplatform import Operation, OperationKind, Payment, PaymentMethod, PayPlatformError
from payplatform._domain.events import Event
from payplatform._domain.messages import BankCapabilities, reversal_of
from payplatform.banks.simulated import LineState, SimulatedBank
from payplatform.testing.mortal import Died


@frozen
class Told:
    """What a caller got: a value, or an error as a value; `Died` if the process did not live."""

    value: Any

    @property
    def is_death(self) -> bool:
        return isinstance(self.value, Died)

    @property
    def error(self) -> PayPlatformError | None:
        return self.value if isinstance(self.value, PayPlatformError) else None

    @property
    def code(self) -> str | None:
        return None if self.error is None else str(self.error.code)

    @property
    def payment(self) -> Payment | None:
        return self.value if isinstance(self.value, Payment) else None


Ask = Callable[[Side], Any]

_FACTS = ("authorized", "captured", "voided", "expired", "refunded")


class Twins:
    """Both sides, and what they must have in common.

    Args:
        bank: what their banks can do.
        secrets: digits that nothing that comes back may hold.
    """

    def __init__(self, bank: BankCapabilities, secrets: Iterable[str]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.memory = Side(bank)
        self.sqlite = Side(bank, Path(self._folder.name, "twin.db"))
        # By itself: the three digits of a security code are in many a longer number.
        self._secret = re.compile(rf"(?<![\w.#])({'|'.join(secrets)})(?![\w.])")
        self.events: dict[str, list[Event]] = {}
        self.erased: set[str] = set()

    def close(self) -> None:
        for side in self._sides:
            side.close()
        self._folder.cleanup()

    @property
    def _sides(self) -> tuple[Side, Side]:
        return self.memory, self.sqlite

    @property
    def written(self) -> int:
        """How many events there are by now."""
        return sum(map(len, self.events.values()))

    def challenge(self, operation_id: str, *, succeed: bool) -> None:
        """Be the cardholder, if the banks still wait for one: on both sides, or on neither."""
        waited = [_challenged(side.bank, operation_id, succeed=succeed) for side in self._sides]
        assert waited[0] is waited[1]

    def set_down(self, *, down: bool) -> None:
        for side in self._sides:
            if down:
                side.bank.down()
            else:
                side.bank.up()

    def make_well(self) -> None:
        """Nothing goes wrong any more, and what was on its way has arrived."""
        for side in self._sides:
            side.await_trouble(None)
            side.bank.set_faults(None)
            side.bank.deliver_late()

    def effects(self, operation: Operation) -> int:
        """How often the bank did it."""
        done = [side.bank.effects(operation.merchant_id, operation.id) for side in self._sides]
        assert done[0] == done[1]
        return done[0]

    def look_up(self, operation: Operation) -> str:
        """Be the person who reviews an operation: look into the bank's books, and say what is so.

        Where the bank has done something else than was asked, have it undo that first.
        """
        outcomes = [_looked_up(side.bank, operation) for side in self._sides]
        assert outcomes[0] == outcomes[1]
        return outcomes[0]

    def agree_with_the_bank(self, merchant_id: str, payment_id: str) -> None:
        """Our books of a payment say what the bank's say."""
        for side in self._sides:
            payments = side.shop(merchant_id).payments
            facts = payments.get(payment_id).facts
            theirs = [
                side.bank.position(merchant_id, operation.id)
                for operation in payments.operations(payment_id)
                if operation.kind in (OperationKind.SALE, OperationKind.AUTHORIZE)
            ]
            ours = {name: getattr(facts, name) for name in _FACTS}
            booked = {name: sum(getattr(p, name) for p in theirs) for name in _FACTS}
            assert ours == booked, _story(side, merchant_id, payment_id)
            assert all(position.is_sound for position in theirs)
            assert sum(position.pending_refund for position in theirs) == 0

    def wait(self, *, seconds: float = 0, hours: float = 0, days: float = 0) -> None:
        """Let time pass."""
        for side in self._sides:
            side.clock.advance(seconds=seconds, hours=hours, days=days)

    def both(self, ask: Ask, trouble: Trouble = None) -> Told:
        """Ask both the same: they must tell the same, and leave the same behind.

        Args:
            ask: what is asked.
            trouble: what goes wrong meanwhile, or, of a fault, as soon as it can.
        """
        for side in self._sides:
            side.await_trouble(trouble)
        told = [_told(ask, side) for side in self._sides]
        said = [self._said(each) for each in told]
        _alike(said, "tell different things")
        if any(side.fate.is_dead for side in self._sides):
            self.restart()
        for side in self._sides:
            side.await_trouble(None)
        assert self.memory.clock() == self.sqlite.clock()
        self.check()
        return told[0]

    def restart(self) -> None:
        for side in self._sides:
            side.restart()

    def check(self) -> None:
        """Both have written the same events since the last check, and what they touch is sound."""
        written = [side.pay.events.pending(limit=10_000) for side in self._sides]
        said = [self._said(Told(events)) for events in written]
        _alike(said, "have written different events")
        for side, events in zip(self._sides, written, strict=True):
            side.pay.events.mark_published(events)
        for event in written[0]:
            self.events.setdefault(event.subject_id, []).append(event)
        touched = {(event.merchant_id, event.subject_id) for event in written[0]}
        for merchant_id, subject_id in sorted(touched):
            if subject_id.startswith("pay_") and merchant_id not in self.erased:
                self._check_payment(merchant_id, subject_id)
            for before, after in pairwise(self.events[subject_id]):
                assert after.number == before.number + 1, "an event's number was skipped or used"

    def _check_payment(self, merchant_id: str, payment_id: str) -> None:
        said = []
        for side in self._sides:
            payments = side.shop(merchant_id).payments
            payment = payments.get(payment_id)
            assert side.findings(payment) == []
            story = (payment, payments.operations(payment_id), payments.timeline(payment_id))
            said.append(self._said(Told(story)))
        _alike(said, "keep different things")

    def _said(self, told: Told) -> str:
        """What was told, to the letter, once it is known to give no secret away."""
        text = canonical(told.value)
        assert not self._secret.search(text), "what came back holds a secret"
        assert not self._secret.search(repr(told.value)), "the repr of what came back holds one"
        return text


def _looked_up(bank: SimulatedBank, operation: Operation) -> str:
    """`succeeded` or `aborted`, of a resume by what has become of the operation it resumed."""
    merchant_id = operation.merchant_id
    resumed = operation.target_id if operation.kind is OperationKind.RESUME else None
    id_ = resumed or operation.id
    if not bank.effects(merchant_id, id_):
        return "aborted"
    moved = [line for line in bank.statement(merchant_id) if line.operation_id == id_]
    done = sum(
        line.amount.amount_minor
        for line in moved
        if line.state is LineState.BOOKED and line.kind not in ("release", "expiry")
    )
    if done == operation.amount.amount_minor:
        return "succeeded"
    bank.send(reversal_of(attrs.evolve(operation, id=id_)), timeout_s=1)
    assert not bank.effects(merchant_id, id_)
    return "aborted"


def _story(side: Side, merchant_id: str, payment_id: str) -> str:
    """What both books tell of a payment, for whoever has to find out where they parted."""
    payments = side.shop(merchant_id).payments
    ids = {operation.id for operation in payments.operations(payment_id)}
    lines = [line for line in side.bank.statement(merchant_id) if line.operation_id in ids]
    ours = [
        f"{e.number} {e.at} {e.operation_id} {e.type}: {e}" for e in payments.timeline(payment_id)
    ]
    theirs = [f"{at.at} {at.operation_id} {at.kind} {at.amount} {at.state}" for at in lines]
    return "\n".join(["ours and the bank's differ", *ours, "the bank's statement:", *theirs])


def _alike(said: list[str], otherwise: str) -> None:
    if said[0] != said[1]:
        at = next(at for at, pair in enumerate(zip(*said, strict=False)) if len({*pair}) > 1)
        places = (text[max(0, at - 80) : at + 80] for text in said)
        raise AssertionError(f"memory and SQLite {otherwise}: " + " <-> ".join(places))


def _told(ask: Ask, side: Side) -> Told:
    try:
        value = ask(side)
        return Told(tuple(value) if isinstance(value, Iterator) else value)
    except PayPlatformError as error:
        return Told(error)
    except Died as death:
        return Told(death)


def _challenged(bank: SimulatedBank, operation_id: str, *, succeed: bool) -> bool:
    try:
        bank.complete_challenge(operation_id, succeed=succeed)
    except LookupError:
        return False
    return True


# What is random on purpose, so that no seed can repeat it: tokens, and keyed fingerprints.
_RANDOM = {
    *((PaymentMethod, name) for name in ("token", "fingerprint")),
    (Operation, "card_fingerprint"),
}


def canonical(value: object) -> str:
    """All that a value says, as text: equal texts mean equal values, `replayed` included."""
    kind = type(value)
    if value is None or kind in (str, bytes):
        return repr(value)
    if kind in (int, bool, timedelta):
        return f"#{value}"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return str(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(canonical, value))}]"
    if isinstance(value, PayPlatformError):
        chained = (value.__cause__, value.__context__)
        return f"{kind.__name__}{_pairs({**vars(value), 'chained': chained})}"
    if attrs.has(kind):
        status = getattr(value, "status", None)
        said = {name: getattr(value, name) for name in _names(kind)}
        return f"{kind.__name__}{_pairs({**said, 'status': status})}"
    if isinstance(value, BaseException):
        return repr(value)
    raise AssertionError(f"say how to write down a {kind.__name__}")


def _pairs(said: Mapping[str, object]) -> str:
    return f"({', '.join(f'{name}={canonical(value)}' for name, value in said.items())})"


@cache
def _names(kind: type[attrs.AttrsInstance]) -> list[str]:
    return [field.name for field in attrs.fields(kind) if (kind, field.name) not in _RANDOM]


def challenge_of(payment: Payment) -> str | None:
    """The operation of a payment that waits for its cardholder."""
    waiting = (o.id for o in payment.open_operations if o.state == "requires_action")
    return next(waiting, None)
