"""Callers who want more of one payment than there is, all at once, in threads or in processes.

A `Contest` says what is fought over. `Callers` start it: each caller has a place in the races of
two, of three and so on, and waits at the gate until everybody with a place in that race is there.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, cast

from attrs import evolve, frozen

from payplatform import (
    Conflict,
    ErrorCode,
    MerchantClient,
    Money,
    NotAllowed,
    Payment,
    PayPlatform,
    PayPlatformError,
)
from payplatform._domain.notices import NoticeState
from payplatform._engine.engine import Engine
from payplatform.banks.simulated import SimulatedBank
from payplatform.keys.local import LocalKeyService
from payplatform.ports import Bank, BankReply, BankRequest
from payplatform.storage.sqlite import SQLiteStorage

RACES = 200
LONGEST_S = 30.0
HUNDRED = Money("100.00", "EUR")
_FRESH = multiprocessing.get_context("spawn")


class Gate(Protocol):
    """Where callers wait for each other; that of a thread or that of a process."""

    def wait(self, timeout: float | None = None) -> int: ...

    def abort(self) -> None: ...

    def reset(self) -> None: ...


class Clock:
    """A clock that all callers see, and any of them may move."""

    def __init__(self) -> None:
        self._seconds = _FRESH.Value("d", 0.0)

    def __call__(self) -> datetime:
        return datetime(2030, 1, 1, 12, tzinfo=UTC) + timedelta(seconds=self._seconds.value)

    def advance(self, seconds: float) -> None:
        with self._seconds.get_lock():
            self._seconds.value += seconds


@frozen(kw_only=True)
class Meeting:
    """Where the callers of one kind meet: a gate for each size of race, and one clock.

    Attributes:
        sizes: how many callers the races have, one after the other and over again.
    """

    sizes: Sequence[int]
    gates: Mapping[int, Gate]
    clock: Clock

    def size(self, race: int) -> int:
        return self.sizes[race % len(self.sizes)]


_meeting: Meeting | None = None


def _come_to(meeting: Meeting) -> None:
    """Tell a process where to meet: only what starts it may hand such things over."""
    global _meeting  # noqa: PLW0603  # one for each process
    _meeting = meeting


Part = Callable[..., dict[int, str]]
"""One caller's part: given the meeting and its place there, what it was told in each race."""


@frozen(kw_only=True)
class Callers:
    """So many threads or processes, and where they meet."""

    executor: Executor
    meeting: Meeting
    are_processes: bool

    def take_part(self, part: Part, *about: Any) -> list[dict[int, str]]:
        """What each caller was told in each race that it had a place in."""
        for gate in self.meeting.gates.values():
            gate.reset()
        places = range(max(self.meeting.sizes))
        meeting = None if self.are_processes else self.meeting
        told = [self.executor.submit(_play, meeting, part, place, *about) for place in places]
        return [each.result(timeout=4 * LONGEST_S) for each in told]


def _play(meeting: Meeting | None, part: Part, place: int, *about: Any) -> dict[int, str]:
    there = meeting or _meeting
    assert there is not None
    try:
        return part(there, place, *about)
    except BaseException:
        for gate in there.gates.values():
            gate.abort()  # nobody is to wait for a caller who comes no more
        raise


@contextmanager
def threads(*sizes: int) -> Iterator[Callers]:
    gates = {size: threading.Barrier(size) for size in sizes}
    meeting = Meeting(sizes=sizes, gates=gates, clock=Clock())
    with ThreadPoolExecutor(max(sizes)) as executor:
        yield Callers(executor=executor, meeting=meeting, are_processes=False)


@contextmanager
def processes(*sizes: int) -> Iterator[Callers]:
    gates = {size: _FRESH.Barrier(size) for size in sizes}
    meeting = Meeting(sizes=sizes, gates=gates, clock=Clock())
    with ProcessPoolExecutor(
        max(sizes), mp_context=_FRESH, initializer=_come_to, initargs=(meeting,)
    ) as executor:
        yield Callers(executor=executor, meeting=meeting, are_processes=True)


@contextmanager
def a_platform(
    path: Path, clock: Clock, through: Callable[[Bank], Bank] = lambda bank: bank
) -> Iterator[PayPlatform]:
    """A client of the file, and of the bank's file beside it, who has more patience than most."""
    pay = PayPlatform(
        storage=SQLiteStorage(path, busy_timeout_s=LONGEST_S),
        bank=through(SimulatedBank(f"{path}.bank", now=clock)),
        keys=LocalKeyService.open(Path(f"{path}.key"), create=not Path(f"{path}.key").exists()),
        now=clock,
    )
    with pay:
        yield pay


def told_by(call: Callable[[], Payment]) -> str:
    """What a caller is told, in a word."""
    try:
        payment = call()
    except PayPlatformError as error:
        return str(error.code)
    return "replayed" if payment.replayed else "done"


# -- contests --------------------------------------------------------------------------------------

Call = Callable[[MerchantClient, str, int, int, int], Payment]
"""A call, given the shop, what it is about, the race, the caller's place and how many race."""


@frozen(kw_only=True)
class Contest:
    """What is fought over.

    Attributes:
        starts: the verb that makes the payment; None where the callers make it themselves.
        call: what each of them does.
        winners: of so many callers, how many get what they ask for.
        losers: what the others may be told.
        takes: of the caller in a place among so many, how much it asks for, in minor units.
    """

    starts: str | None
    call: Call
    winners: Callable[[int], int]
    losers: frozenset[str]
    takes: Callable[[int, int], int]


def all_but_one(place: int, of: int) -> int:
    """Shares of which all but one fit into a hundred: together they are a cent too much."""
    share = 10_001 // of
    return share if place else 10_001 - share * (of - 1)


def any_one(place: int, _: int) -> int:
    """Shares of which no two fit; the first with any other by a cent."""
    return 5_001 if place else 5_000


def the_whole(_: int, __: int) -> int:
    return 10_000


def asking(takes: Callable[[int, int], int], *verbs: str) -> Call:
    """Ask for a share of a payment; the places take turns with the verbs."""

    def call(shop: MerchantClient, payment_id: str, race: int, place: int, of: int) -> Payment:
        verb = getattr(shop.payments, verbs[place % len(verbs)])
        share = Money.minor(takes(place, of), "EUR")
        result = verb(payment_id, share, idempotency_key=f"{race}-{place}")
        assert isinstance(result, Payment)
        return result

    return call


def charge_with_one_key(
    shop: MerchantClient, method_id: str, race: int, _: int, __: int
) -> Payment:
    return shop.payments.charge(HUNDRED, payment_method=method_id, idempotency_key=f"race-{race}")


def refund_or_dispute(
    shop: MerchantClient, payment_id: str, race: int, place: int, of: int
) -> Payment:
    """Ask for a share back, as the merchant or as the cardholder's bank; the places take turns."""
    share = Money.minor(all_but_one(place, of), "EUR")
    payment = shop.payments.get(payment_id)
    if place % 2 == 0:
        key = f"{race}-{place}"
        return shop.payments.refund(payment_id, share, idempotency_key=key).raise_for_decline()
    engine = shop.payments._engine
    bank = cast("SimulatedBank", engine.bank)
    try:
        bank.disputes.open(shop.id, str(payment.authorization_id), share)
    except LookupError:
        refused = NotAllowed("the bank refuses", code=ErrorCode.AMOUNT_EXCEEDS_REFUNDABLE)
    else:
        read_the_post(engine)
        return payment
    raise refused


def read_the_post(engine: Engine) -> None:
    """Take what the bank sends, signed as it is; what has to wait is delivered again."""
    bank = cast("SimulatedBank", engine.bank)
    for raw, headers in bank.deliveries():
        with suppress(Conflict):
            notice = engine.inbox.take(engine.inbox.read(raw, headers))
            if notice.state is NoticeState.APPLIED:
                bank.acknowledge(notice.told.id)


def _among_equals(verb: str, starts: str, refused: str) -> Contest:
    return Contest(
        starts=starts,
        call=asking(all_but_one, verb),
        winners=lambda of: of - 1,
        losers=frozenset({refused}),
        takes=all_but_one,
    )


CONTESTS: dict[str, Contest] = {
    "capture against capture": _among_equals("capture", "authorize", "amount_exceeds_capturable"),
    "refund against refund": _among_equals("refund", "charge", "amount_exceeds_refundable"),
    "dispute against refund": Contest(
        starts="charge",
        call=refund_or_dispute,
        winners=lambda of: of - 1,
        losers=frozenset({"amount_exceeds_refundable", "declined"}),
        takes=all_but_one,
    ),
    "capture against void": Contest(
        starts="authorize",
        call=asking(any_one, "capture", "void"),
        winners=lambda _: 1,
        losers=frozenset(
            {"operation_open", "amount_exceeds_capturable", "amount_exceeds_voidable"}
        ),
        takes=any_one,
    ),
    "the same key": Contest(
        starts=None,
        call=charge_with_one_key,
        winners=lambda _: 1,
        losers=frozenset({"operation_in_progress", "replayed"}),
        takes=the_whole,
    ),
}


@frozen(kw_only=True)
class Where:
    """A merchant on a file; and the client that callers share, if they do."""

    path: Path
    merchant_id: str
    shared: PayPlatform | None = None


def contend(
    meeting: Meeting, place: int, contest: str, where: Where, about: Sequence[str]
) -> dict[int, str]:
    """One caller's part in every race that it has a place in."""
    if where.shared is None:
        with a_platform(where.path, meeting.clock) as pay:
            return contend(meeting, place, contest, evolve(where, shared=pay), about)
    shop, told = where.shared.merchant(where.merchant_id), dict[int, str]()
    for race, subject in enumerate(about):
        of = meeting.size(race)
        if place < of:
            meeting.gates[of].wait(LONGEST_S)
            call = CONTESTS[contest].call
            told[race] = told_by(lambda: call(shop, subject, race, place, of))  # noqa: B023
    return told


# -- a caller who falls asleep ---------------------------------------------------------------------


class Drowsy:
    """A bank whose caller falls asleep at the gate: before the bank hears of it, or after."""

    def __init__(self, bank: Bank, meeting: Meeting) -> None:
        self._bank = bank
        self._meeting = meeting
        self.race = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bank, name)

    def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
        if self.race % 2:
            self._sleep()
            return self._bank.send(request, timeout_s=timeout_s)
        reply = self._bank.send(request, timeout_s=timeout_s)
        self._sleep()
        return reply

    def _sleep(self) -> None:
        gate = self._meeting.gates[self._meeting.size(self.race)]
        gate.wait(LONGEST_S)  # asleep
        gate.wait(LONGEST_S)  # its lease has run out, and everybody starts at once


def one_call(shop: MerchantClient, verb: str, subject: str, race: int) -> Payment:
    """The call of which only one outcome may ever be told."""
    if verb == "charge":
        return charge_with_one_key(shop, subject, race, 0, 0)
    return asking(the_whole, verb)(shop, subject, race, 0, 0)


def sleep_or_recover(
    meeting: Meeting, place: int, verb: str, where: Where, about: Sequence[str]
) -> dict[int, str]:
    """The first place sleeps; of the others every second one recovers, and the rest repeat."""
    drowsy: list[Drowsy] = []

    def through(bank: Bank) -> Bank:
        drowsy.append(Drowsy(bank, meeting))
        return drowsy[0] if place == 0 else bank

    told: dict[int, str] = {}
    with a_platform(where.path, meeting.clock, through) as pay:
        shop = pay.merchant(where.merchant_id)
        for race, subject in enumerate(about):
            of = meeting.size(race)
            drowsy[0].race = race
            if place >= of:
                continue
            if place:
                meeting.gates[of].wait(LONGEST_S)
                if place == 1:
                    meeting.clock.advance(seconds=120)
                meeting.gates[of].wait(LONGEST_S)
            if place % 2:
                pay.recover()
            else:
                told[race] = told_by(lambda: one_call(shop, verb, subject, race))  # noqa: B023
    return told
