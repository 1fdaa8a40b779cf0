"""One platform of two, whose process may die, or be overtaken, in the middle of a call.

The store, the bank and the master key outlive the process that uses them. It all happens in one
thread: another process is a second platform on the same store, which is given a turn while the
first one waits for the bank.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen
from faces import platform

from payplatform import MerchantClient, Payment, PayPlatform
from payplatform._domain.invariants import broken_in_payment
from payplatform._domain.messages import BankCapabilities, BankReply, BankRequest
from payplatform.banks.simulated import Fault, SimulatedBank
from payplatform.keys.local import LocalKeyService
from payplatform.storage.memory import MemoryStorage
from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing import FakeClock, SeededIds
from payplatform.testing.mortal import Death, Fate, Moment, Mortal


@frozen
class Overtaking:
    """The process stands still at its next request to the bank, just before it or just after it.

    When so many seconds have passed, another process recovers what was left behind. Then the first
    one wakes up and goes on as if nothing had happened.
    """

    seconds: int
    moment: Moment


Trouble = Fault | Death | Overtaking | None
"""What may go wrong with a call."""


class Wire:
    """The way to the bank, on which a process may stand still."""

    def __init__(self, bank: SimulatedBank, meanwhile: Callable[[Overtaking], None]) -> None:
        self._bank, self._meanwhile = bank, meanwhile
        self.overtaking: Overtaking | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bank, name)

    def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
        overtaking, self.overtaking = self.overtaking, None
        if overtaking is not None and overtaking.moment == "before":
            self._meanwhile(overtaking)
        reply = self._bank.send(request, timeout_s=timeout_s)
        if overtaking is not None and overtaking.moment == "after":
            self._meanwhile(overtaking)
        return reply


class Side:
    """A store, a bank, a master key, a clock, and the process that uses them.

    Args:
        bank: what the bank can do.
        file: where a SQLite store is; None keeps it in memory.
    """

    def __init__(self, bank: BankCapabilities, file: Path | None = None) -> None:
        self.clock = FakeClock()
        self.bank = SimulatedBank(now=self.clock, capabilities=bank)
        self.fate = Fate()
        self._wire = Wire(self.bank, self._overtake)
        self._file = file
        self._ids = SeededIds(7)
        self._keys = LocalKeyService.ephemeral()
        self._storage: MemoryStorage | SQLiteStorage = MemoryStorage()
        self.restart()

    def restart(self) -> None:
        """A new process: what the old one held in memory is gone, and its file is opened anew."""
        self.await_trouble(None)
        if self._file is not None:
            self._storage.close()
            self._storage = SQLiteStorage(self._file)
        self.pay = self._process(self.fate, self._wire)

    def await_trouble(self, trouble: Trouble) -> None:
        """Have this happen as soon as it can. A fault waits for its call; the rest does not."""
        if isinstance(trouble, Fault):
            self.bank.next(trouble)
        self.fate.await_death(trouble if isinstance(trouble, Death) else None)
        self._wire.overtaking = trouble if isinstance(trouble, Overtaking) else None

    def _process(self, fate: Fate, bank: SimulatedBank | Wire) -> PayPlatform:
        return platform(
            storage=Mortal(self._storage, fate, "storage"),
            bank=Mortal(bank, fate, "bank"),
            keys=Mortal(self._keys, fate, "keys"),
            now=self.clock,
            new_id=self._ids,
        )

    def _overtake(self, overtaking: Overtaking) -> None:
        self.clock.advance(seconds=overtaking.seconds)
        self._process(Fate(), self.bank).recover()

    def shop(self, merchant_id: str) -> MerchantClient:
        """What one merchant may do."""
        return self.pay.merchant(merchant_id)

    def close(self) -> None:
        """Let go of the store and the bank."""
        self._storage.close()
        self.bank.close()

    def findings(self, payment: Payment) -> list[str]:
        """Every invariant that a payment breaks now, in words."""
        operations = self.shop(payment.merchant_id).payments.operations(payment.id)
        findings = broken_in_payment(
            payment,
            operations=operations,
            events=self._storage.events(payment.merchant_id, payment.id),
            postings=self._storage.postings(payment.merchant_id, payment.id),
            disputes=list(self.shop(payment.merchant_id).disputes.list(payment=payment.id)),
        )
        twice = [o.id for o in operations if self.bank.effects(o.merchant_id, o.id) > 1]
        return [
            *(f"{finding.rule}: {finding.text}" for finding in findings),
            *(f"the bank did {operation_id} more than once" for operation_id in twice),
        ]
