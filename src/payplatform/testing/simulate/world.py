"""The world that a history happens in: time, a bank, a store, and the processes that use them.

Law of this file: the store and the bank outlive every process, and are what they are shipped as;
what goes wrong goes wrong on the way to them, at the calls of the caller that it was drawn for.
Nothing here judges.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from attrs import evolve

from payplatform._domain.cards import Card
from payplatform._domain.fees import FeeRate
from payplatform.banks.settlement_files import read_report
from payplatform.banks.simulated import FAULTS, FULL_CAPABILITIES, Call, Fault, SimulatedBank
from payplatform.client import PayPlatform
from payplatform.errors import CommitUncertain, Conflict, StorageBusy, StorageUnavailable
from payplatform.keys.local import LocalKeyService
from payplatform.ports import (
    Bank,
    BankCapabilities,
    BankReply,
    BankRequest,
    Changes,
    KeyService,
    RequestKind,
    SettlementReport,
    Storage,
)
from payplatform.storage.memory import MemoryStorage
from payplatform.testing.cards import NamedCards
from payplatform.testing.disk import Loss, recording_disk
from payplatform.testing.repeatable import START, FakeClock, SeededIds
from payplatform.testing.simulate.callers import Caller
from payplatform.testing.simulate.steps import StoreFault

BANKS: Final[Mapping[str, BankCapabilities]] = {
    "that can everything": FULL_CAPABILITIES,
    "that captures once and does all or nothing": evolve(
        FULL_CAPABILITIES,
        multi_capture=False,
        partial_refund=False,
        partial_void=False,
        increments=False,
        zero_amount_verification=False,
    ),
    "that forgets ids within an hour": evolve(FULL_CAPABILITIES, dedups_operation_id_s=3_600.0),
    "that does not know an id again": evolve(FULL_CAPABILITIES, dedups_operation_id_s=0.0),
    "that cannot be asked": evolve(FULL_CAPABILITIES, inquiry_by_operation_id=False),
    "that forgets reversals of what it never saw": evolve(
        FULL_CAPABILITIES, reversal_remembers_unknown=False
    ),
}
"""The banks that a history may have; each does what it declares."""


Face = Literal["blocking", "async"]
"""Through which face a process calls the platform."""


def remembers(bank: BankCapabilities) -> bool:
    """Whether a bank knows an id again whenever it comes, also one that was reversed unseen."""
    week_s = FULL_CAPABILITIES.dedups_operation_id_s
    return bank.reversal_remembers_unknown and bank.dedups_operation_id_s >= week_s


def is_harmless(fault: Fault, bank: BankCapabilities) -> bool:
    """Whether a bank that does this keeps every promise that our books rest on.

    What arrives later than promised is only a repetition, or is declined, at one that remembers.
    """
    if fault is Fault.DELAY_PAST_PROMISE:
        return remembers(bank)
    return not FAULTS[fault].breaks_promise


_TICK: Final = timedelta(milliseconds=1)
# Nobody asks a bank for more than six days, and a bank remembers for seven at least.
_LONGEST_SLEEP: Final = timedelta(hours=20)
_CARDS: Final = NamedCards.from_table()


class Shelf(Protocol):
    """What is left of a store when every process has gone."""

    def open(self) -> Storage:
        """Open it, as a new process does: with all that was committed so far."""
        ...

    def cut_power(self, seed: int) -> None:
        """The machine stops: nothing has it open any more, and what was not synced may be lost."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class MemoryShelf:
    """A store in memory, which is taken for one that loses nothing."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()

    def open(self) -> Storage:
        """The one and only."""
        return self._storage

    def cut_power(self, seed: int) -> None:
        """Nothing is lost: whatever was committed is taken to be on the disk."""

    def close(self) -> None:
        """Nothing to do."""


class FileShelf:
    """A store in files, which every process opens for itself, on a disk that can lose its power.

    Args:
        folder: where the files are.
        open_store: opens what is there, or makes it.

    Raises:
        RuntimeError: this build of Python does not let the disk be watched.
    """

    def __init__(self, folder: Path, open_store: Callable[[Path], Storage]) -> None:
        self._folder = folder
        self._open_store = open_store
        self._open: list[Storage] = []
        self._ending = ExitStack()
        self._disk = self._ending.enter_context(recording_disk(folder))

    def open(self) -> Storage:
        """One more store on the same files."""
        storage = self._open_store(self._folder)
        self._open.append(storage)
        return storage

    def cut_power(self, seed: int) -> None:
        """What was not synced is there or not, whole or in part, by chance."""
        self._disk.power_off()
        self._close_all()
        self._disk.power_on(_LOSSES[seed % len(_LOSSES)], seed=seed)

    def close(self) -> None:
        """Close every store that was opened."""
        self._close_all()
        self._ending.close()

    def _close_all(self) -> None:
        while self._open:
            self._open.pop().close()


_RATES: Final = (
    FeeRate(kind="capture", share_ppm=14_000),
    FeeRate(kind="refund", share_ppm=1_500),
)
_LOSSES: Final = (Loss.DROPPED, Loss.HALVED, Loss.SCATTERED, Loss.TORN)


class Process:
    """One running program: a platform of its own on the common store and bank.

    Attributes:
        skew: how wrong its clock is.
    """

    def __init__(self, world: World) -> None:
        self.skew = timedelta(0)
        self._world = world
        self.start()

    def start(self) -> None:
        """Begin anew: what the last one held in memory is gone, and so are its callers."""
        world = self._world
        # Each life has a flag of its own, which its callers keep: they never come back to life.
        self.life = Life()
        self.pay = _platform(
            world.face,
            _BankPort(world.bank, world),
            storage=_StorePort(world.shelf.open(), world),
            keys=_Port(world.keys, world),
            now=self._clock,
            new_id=world.new_id,
        )

    def die(self) -> None:
        """Stop at once; what it had open stays open, as nobody closes it."""
        self.life.is_over = True

    def _clock(self) -> datetime:
        return self._world.clock() + self.skew


def _platform(face: Face, bank: Bank, **parts: Any) -> PayPlatform:
    """A platform of that face, to be called as a blocking one."""
    if face == "blocking":
        return PayPlatform(bank=bank, **parts)
    # This face has an extra of its own, without which the other one can be simulated.
    from payplatform.aio import AsyncPayPlatform  # noqa: PLC0415
    from payplatform.testing.faces import AwaitedBank, blocking  # noqa: PLC0415

    return blocking(AsyncPayPlatform(bank=AwaitedBank(bank), **parts))


class Life:
    """One life of a process."""

    def __init__(self) -> None:
        self.is_over = False

    def __call__(self) -> bool:
        """Whether it is over."""
        return self.is_over


class World:
    """Everything there is.

    Args:
        shelf: where the store is.
        face: through which face everything is called.
        bank: what the bank can do; a name of `BANKS`.
        merchants: how many there are.
        seed: what ids are made from.

    Attributes:
        is_bank_down: whether the bank refuses connections.
        storage: the store as nobody meddles with it, to look at.
        running: the caller whose turn it is; None while the world is set up or looked at.
        struck: how often each fault has struck.
        commits: each is called with whatever is committed, once it is.
        asked: called with each operation id that the bank is asked about, and what goes wrong.
    """

    def __init__(
        self, shelf: Shelf, *, face: Face = "blocking", bank: str, merchants: int, seed: int
    ) -> None:
        self.face = face
        self.clock = FakeClock()
        self.shelf = shelf
        self.bank = SimulatedBank(now=self.clock, capabilities=BANKS[bank])
        self.keys = LocalKeyService.ephemeral()
        self.new_id = SeededIds(seed)
        self.is_bank_down = False
        self.running: Caller | None = None
        self.struck: Counter[str] = Counter()
        self.commits: list[Callable[[Changes], None]] = []
        self.asked: Callable[[str, Fault | None], None] = _nothing
        self.storage = shelf.open()
        self.processes = [Process(self), Process(self)]
        pay = self.processes[0].pay
        self.merchants = [pay.merchants.create(name=f"M{n}").id for n in range(merchants)]
        for merchant_id in self.merchants:
            pay.merchants.set_fees(merchant_id, rates=_RATES)
        self._reports: dict[str, list[SettlementReport]] = defaultdict(list)
        self._reported_until: dict[str, date] = {}
        self._methods: dict[tuple[str, str, bool], str] = {}
        self._customers: dict[str, str] = {}

    def method(self, merchant_id: str, card: str, *, of_guest: bool) -> str:
        """The payment method of this card: of the merchant's customer, or of a guest."""
        place = (merchant_id, card, of_guest)
        if place not in self._methods:
            with self.turn_of(None):
                self._methods[place] = self._new_method(merchant_id, card, of_guest=of_guest)
        return self._methods[place]

    def reports(self, merchant_id: str) -> Sequence[SettlementReport]:
        """The bank's reports on the days that are over, but for empty ones, oldest first."""
        day, found = self._reported_until.get(merchant_id, START.date()), self._reports[merchant_id]
        while day < self.clock().date():
            report = read_report(self.bank.settlement_report(merchant_id, day))
            if report.lines:
                found.append(report)
            day += timedelta(days=1)
        self._reported_until[merchant_id] = day
        return found

    def set_door(self, *, is_open: bool) -> None:
        """Let the bank take connections, or refuse them."""
        self.is_bank_down = not is_open
        if is_open:
            self.bank.up()
        else:
            self.bank.down()

    def restart(self, process: int) -> None:
        """One process dies, and another takes its place."""
        self.processes[process].die()
        with self.turn_of(None):
            self.processes[process].start()

    def cut_power(self, seed: int) -> None:
        """All processes die, and the disk keeps what it was told to."""
        for process in self.processes:
            process.die()
        self.shelf.cut_power(seed)
        with self.turn_of(None):
            self.storage = self.shelf.open()
            for process in self.processes:
                process.start()

    @contextmanager
    def turn_of(self, caller: Caller | None) -> Iterator[None]:
        """Let port calls be this caller's, or nobody's."""
        before, self.running = self.running, caller
        try:
            yield
        finally:
            self.running = before

    def meet(self) -> Caller | None:
        """Whoever runs comes to a port call, which takes a little time."""
        if self.running is not None:
            self.running.meet()
            self.tick()
        return self.running

    def tick(self) -> None:
        """Let so little time pass that nothing falls due, for no two things happen at once."""
        self.clock.advance(_TICK)

    def strike(self, fault: Fault | StoreFault) -> None:
        """Count a fault that strikes."""
        self.struck[str(fault)] += 1

    def close(self) -> None:
        """Let go of the store and the bank."""
        self.shelf.close()
        self.bank.close()

    def _new_method(self, merchant_id: str, card: str, *, of_guest: bool) -> str:
        shop = self.processes[0].pay.merchant(merchant_id)
        if not of_guest and merchant_id not in self._customers:
            self._customers[merchant_id] = shop.customers.create(name="Ada").id
        customer_id = None if of_guest else self._customers[merchant_id]
        return shop.payment_methods.create(customer=customer_id, card=card_named(card)).id


def card_named(name: str) -> Card:
    """The test card of that name."""
    card: Card = getattr(_CARDS, name)
    return card


def _nothing(*_: object) -> None:
    """Take no notice."""


class _Port:
    """A port as a process sees it: each call is the caller's, who may stand still or die before."""

    def __init__(self, port: Storage | Bank | KeyService, world: World) -> None:
        self._port = port
        self._world = world

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        if not callable(value):
            return value

        def met(*args: Any, **kwargs: Any) -> Any:
            self._world.meet()
            return value(*args, **kwargs)

        # From here on it is found without coming here.
        setattr(self, name, met)
        return met

    def close(self) -> None:
        """It outlives whoever uses it."""


class _StorePort(_Port):
    """The store: its commits may fail."""

    def commit(self, changes: Changes) -> None:
        caller = self._world.meet()
        fault = None if caller is None else caller.commit_fault()
        if fault is None:
            self._keep(changes)
            return
        self._world.strike(fault)
        match fault:
            case StoreFault.CONFLICT:
                raise Conflict("somebody else was first")
            case StoreFault.BUSY:
                raise StorageBusy("others held the store for too long")
            case StoreFault.FAILED:
                raise StorageUnavailable("the store failed; nothing was written")
            case StoreFault.UNCERTAIN_KEPT:
                self._keep(changes)
        raise CommitUncertain("the disk failed while it was told to keep it")

    def _keep(self, changes: Changes) -> None:
        self._port.commit(changes)  # type: ignore[union-attr]  # this port is a store
        for note in self._world.commits:
            note(changes)


class _BankPort(_Port):
    """The bank: its answers may go wrong.

    A bank that remembers can be reached by whoever wakes up while it does. To one that does not, no
    adapter may send later than it promises to its caller.
    """

    def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
        world = self._world
        is_kept = remembers(world.bank.capabilities)
        latest = world.clock() + (_LONGEST_SLEEP if is_kept else timedelta(seconds=timeout_s))
        caller = world.meet()
        if world.clock() > latest:
            raise TimeoutError("it is too late to send this")
        is_reversal = request.kind is RequestKind.REVERSAL
        self._strike(caller, Call.REVERSAL if is_reversal else Call.SEND, request.operation_id)
        return world.bank.send(request, timeout_s=timeout_s)

    def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> BankReply:
        self._strike(self._world.meet(), Call.INQUIRY, operation_id)
        return self._world.bank.inquire(merchant_id, operation_id, timeout_s=timeout_s)

    def _strike(self, caller: Caller | None, call: Call, operation_id: str) -> None:
        """Have the bank fail at this call, if it was drawn to."""
        if caller is None:
            return
        caller.sent += call is Call.SEND
        # While the bank is down nothing else can go wrong with it.
        fault = None if self._world.is_bank_down else caller.bank_fault(call)
        self._world.asked(operation_id, fault)
        if fault is not None:
            self._world.strike(fault)
            self._world.bank.next(fault, on=call)
