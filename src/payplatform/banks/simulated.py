"""The simulated bank: an acquirer with books of its own, that takes the known test cards.

Law of this file: a card is read at the door and forgotten there. What goes on from here, to the
rules, the books or the wire, knows its brand and last four digits and nothing else of it; a
security code only as match or mismatch.

It is no mock: what it approved it has booked, whatever became of the answer, and its statement is
what our own books are compared with. What goes wrong on the wire is data: see `Fault`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final, NoReturn, cast

from attrs import evolve, frozen

from payplatform._domain.declines import Decline, DeclineCode
from payplatform._domain.messages import (
    BankCapabilities,
    BankNotice,
    BankReply,
    BankRequest,
    ReplyOutcome,
    RequestKind,
)
from payplatform._domain.money import MAX_MINOR, Money
from payplatform.banks._acquirer import REVERSED, Desk, Terms
from payplatform.banks._books import Books
from payplatform.banks._daily_report import daily_report
from payplatform.banks._disputes import SimulatedDisputes, let_lapse
from payplatform.banks._door import card_of, order_of
from payplatform.banks._faults import (
    FAULTS,
    WIRE_FAULTS,
    Call,
    Fault,
    FaultPlan,
    FaultRule,
    Faults,
    Moment,
    ServerError,
)
from payplatform.banks._positions import Position
from payplatform.banks._post import NOTICE, Delivery, delivered, noticed, reply_of
from payplatform.banks._rows import Answer, Line, LineKind, LineState, Order
from payplatform.banks._signatures import verify
from payplatform.banks._test_cards import (
    TEST_CARDS,
    Challenge,
    Refunds,
    TestCard,
    test_cards_table,
)
from payplatform.banks._wire import read
from payplatform.errors import ErrorCode, InvalidRequest, NotSent

__all__ = [
    "FAULTS",
    "FULL_CAPABILITIES",
    "TEST_CARDS",
    "WIRE_FAULTS",
    "Call",
    "Challenge",
    "Delivery",
    "Fault",
    "FaultRule",
    "Faults",
    "InquiryNotOffered",
    "LineKind",
    "LineState",
    "Moment",
    "Position",
    "Refunds",
    "ServerError",
    "SimulatedBank",
    "SimulatedDisputes",
    "StatementLine",
    "TestCard",
    "test_cards_table",
]

_DAY_S: Final = 86_400.0
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_TAKEN_BACK: Final = frozenset({RequestKind.CAPTURE, RequestKind.REFUND, RequestKind.PAYOUT})

FULL_CAPABILITIES: Final = BankCapabilities(
    name="simulated",
    dedups_operation_id_s=7 * _DAY_S,
    inquiry_by_operation_id=True,
    reversal_remembers_unknown=True,
    max_in_flight_s=60.0,
    multi_capture=True,
    partial_refund=True,
    partial_void=True,
    increments=True,
    zero_amount_verification=True,
    answers_disputes=True,
    payouts=True,
    signed_notices=True,
    authorization_lifetime_s=7 * _DAY_S,
)
"""Everything a bank can offer. Switch off with `attrs.evolve(FULL_CAPABILITIES, increments=False)`.

`reversal_remembers_unknown` also means that reversed ids are declined for ever; without it only
for as long as ids are remembered at all.
"""


class InquiryNotOffered(Exception):
    """This bank does not tell about an operation by its id; it declared so."""


@frozen(kw_only=True)
class StatementLine:
    """One movement of money, as the acquirer tells it.

    Attributes:
        authorization_id: the sale or authorization that it belongs to, by our operation id.
        kind: what it was; `release` is the rest that a final capture let go, `expiry` the rest that
            time let go.
        state: `booked`; `pending`, which counts as spent; `reversed`, which counts no more.
        at: when it was booked, in UTC.
    """

    merchant_id: str
    authorization_id: str
    operation_id: str
    kind: LineKind
    amount: Money
    state: LineState
    card_brand: str | None
    card_last4: str | None
    at: datetime


def _real_clock() -> datetime:
    # The clock is handed in everywhere; this is what is handed in when nobody does.
    return datetime.now(UTC)  # noqa: TID251


class SimulatedBank:
    """A bank for tests, demos and development. See `TEST_CARDS` for what makes it do what.

    Safe to use from many threads, and after a fork; with a file, by several processes at once.

    Args:
        path: the file that holds its books, made when it is not there; None keeps them in memory,
            where a fork gives the child a copy of its own.
        now: the clock, telling aware UTC times; the real one unless given.
        capabilities: what it offers, and really does; switched off means declined.
        latency_s: how long each call really takes, in seconds. A call whose `timeout_s` is shorter
            ends in TimeoutError, though the bank does what was asked.
        late_by_s: how long a delayed request is on its way; not longer than `max_in_flight_s`.
        challenge_s: for how long a cardholder may take up a 3-D Secure challenge.
        pending_s: after how long a pending refund is decided, or what is to be taken back is.
        faults: what goes wrong at random, by a seed.

    Attributes:
        disputes: to be the cardholder's bank: open a dispute, decide it, take it back.

    Raises:
        InvalidRequest: `value_invalid`, field `late_by_s`, or `path` where the file is not a
            simulated bank's.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        now: Callable[[], datetime] | None = None,
        capabilities: BankCapabilities = FULL_CAPABILITIES,
        latency_s: float = 0.0,
        late_by_s: float = 30.0,
        challenge_s: float = 900.0,
        pending_s: float = 3_600.0,
        faults: Faults | None = None,
    ) -> None:
        if not 0 <= late_by_s <= capabilities.max_in_flight_s:
            raise InvalidRequest(
                "late_by_s must be within 0 and the capabilities' max_in_flight_s",
                code=ErrorCode.VALUE_INVALID,
                field="late_by_s",
            )
        self._now = now or _real_clock
        self._latency_s = latency_s
        self._late_by = timedelta(seconds=late_by_s)
        self._plan = FaultPlan(faults)
        self._terms = Terms(
            capabilities=capabilities,
            challenge=timedelta(seconds=challenge_s),
            pending=timedelta(seconds=pending_s),
            challenge_url="https://three-d-secure.example.test/",
        )
        self._books = Books(None if path is None else Path(path))
        self.disputes = SimulatedDisputes(self._desk)

    # The port.

    @property
    def capabilities(self) -> BankCapabilities:
        """What it offers."""
        return self._terms.capabilities

    def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
        """Send one request and return the bank's answer to it.

        The same operation id again is answered as before, and done once, for as long as
        `dedups_operation_id_s` says; with other content (kind, amount, target, finality, card) it
        is declined as `duplicate_transaction` and changes nothing.

        Args:
            request: what is asked. Its card is read here and not kept.
            timeout_s: how long the caller waits, in seconds; matters when there is a latency.

        Raises:
            NotSent: the bank is down or closed: not one byte left.
            TimeoutError: no answer came in time; it may have been done.
            ServerError: the bank failed; it may have been done.
        """
        fault, order = self._at_the_door(request)
        del request
        if fault is not None and FAULTS[fault].moment is Moment.BEFORE:
            self._stop(fault, order)
        self._wait(min(self._latency_s, timeout_s))
        order = evolve(
            order,
            taken_back=order.taken_back or (fault is Fault.TAKE_BACK and order.kind in _TAKEN_BACK),
            in_part=fault is Fault.APPROVE_IN_PART,
            forgets=fault in (Fault.FORGET_ID, Fault.FORGET_REVERSAL),
        )
        reply = self._do(order, fault)
        if fault is Fault.DELIVER_TWICE:
            self._do(order)
        self._require_in_time(timeout_s)
        return _carried(reply, fault)

    def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> BankReply:
        """Tell what was answered to an operation, or NOT_FOUND if the bank has not seen it.

        What was reversed, seen or unseen, is told as declined.

        Args:
            merchant_id: whose operation; another merchant's is not found.
            operation_id: ours.
            timeout_s: as for `send`.

        Raises:
            InquiryNotOffered: the capabilities say so.
            NotSent: the bank is down or closed.
            TimeoutError: no answer came in time.
            ServerError: the bank failed.
        """
        if not self.capabilities.inquiry_by_operation_id:
            raise InquiryNotOffered("this bank offers no inquiry by operation id")
        fault = self._plan.draw(Call.INQUIRY, self._now())
        if fault is not None and FAULTS[fault].moment is Moment.BEFORE:
            self._stop(fault, None)
        self._wait(min(self._latency_s, timeout_s))
        with self._desk() as desk:
            reply = _known(desk, merchant_id, operation_id, fault)
        self._require_in_time(timeout_s)
        return _carried(reply, fault)

    def read_notice(self, raw: bytes, headers: Mapping[str, str]) -> BankNotice:
        """What one of its `deliveries` tells.

        Args:
            raw: its body.
            headers: those that came with it.

        Raises:
            NotAuthentic: it is not signed with this bank's key, or not within 300 s of now.
            InvalidRequest: `notice_malformed`: it tells nothing.
        """
        with self._books.transaction() as books:
            key = books.signing_key()
        verify(raw, headers, key=key, now=self._now())
        return read(BankNotice, raw)

    def describe(self) -> Mapping[str, str]:
        """What it is; no secrets."""
        offers = self.capabilities
        return {
            "bank": "simulated: no money moves",
            "books": "memory" if self._books.path is None else "file",
            "unlisted_cards": "approved",
            "dedups_operation_id_s": f"{offers.dedups_operation_id_s:g}",
            "inquiry_by_operation_id": str(offers.inquiry_by_operation_id),
            "reversal_remembers_unknown": str(offers.reversal_remembers_unknown),
        }

    def close(self) -> None:
        """Close the books. A second close does nothing."""
        self._books.close()

    # What the cardholder, the issuer and time do.

    def complete_challenge(self, handle: str, *, succeed: bool = True) -> None:
        """Be the cardholder: pass the 3-D Secure challenge, or fail it. Then `resume`.

        Args:
            handle: the operation that asked for it, or the address of its action.
            succeed: whether the challenge is passed.

        Raises:
            LookupError: no challenge waits under this handle, or more than one.
        """
        with self._desk() as desk:
            waiting = _the_one(desk, ReplyOutcome.REQUIRES_ACTION, handle)
            desk.books.save(evolve(waiting, passed=succeed))

    def finish_pending(self, operation_id: str, *, succeed: bool = True) -> None:
        """Be the issuer: decide a pending refund now, and not when its time has come.

        Raises:
            LookupError: nothing is pending under this operation id, or more than one.
        """
        with self._desk() as desk:
            pending = _the_one(desk, ReplyOutcome.PENDING, operation_id)
            desk.end_pending(pending, succeed=succeed)

    # What goes wrong on the wire.

    def next(self, *faults: Fault | None, on: Call | None = None) -> None:
        """Say what goes wrong with the calls to come, one for each; None lets one pass.

        A fault waits for the first call that it can strike: see `FAULTS`.

        Args:
            faults: in the order of the calls.
            on: wait for this sort of call.
        """
        self._plan.add(faults, on)

    def set_faults(self, faults: Faults | None) -> None:
        """Say what goes wrong at random from here on; all that was to go wrong is forgotten.

        What a test card does, it goes on doing.

        Args:
            faults: None for nothing: all is well again.
        """
        self._plan.begin(faults)

    def down(self, *, for_s: float | None = None) -> None:
        """Refuse every connection until `up()`.

        Args:
            for_s: or until so many seconds have passed by the bank's clock.
        """
        over_at = _NEVER if for_s is None else self._now() + timedelta(seconds=for_s)
        self._plan.set_down(over_at)

    def up(self) -> None:
        """Take connections again."""
        self._plan.set_down(None)

    def deliver_late(self) -> int:
        """Let every delayed request arrive now, and tell how many did."""
        with self._desk() as desk:
            arriving = desk.books.late()
            for late in arriving:
                desk.deliver(late)
        return len(arriving)

    # What it tells of its own accord.

    def notices(self) -> Sequence[BankNotice]:
        """What it has to tell, in the order it happened, each until it is acknowledged.

        It tells of a request that arrived when nobody waited for its answer any more, of a pending
        refund that was decided, of a challenge whose time is over, of what was taken back, and the
        truth of what it has contradicted; and of what is left of an authorization when its time is
        over. Hand them to `pay.notices.apply`: late, twice, in any order, as notices do come.
        """
        with self._desk() as desk:
            return [noticed(notice) for notice in desk.books.notices()]

    def deliveries(self) -> Sequence[Delivery]:
        """The same as messages, signed now: each body with its headers, as they come by a webhook.

        Hand them to `pay.notices.receive`. Who has this bank's books can sign as it does.
        """
        with self._desk() as desk:
            key = desk.books.signing_key()
            return [delivered(notice, key=key, at=desk.now) for notice in desk.books.notices()]

    def acknowledge(self, notice_id: str) -> None:
        """Tell a notice no more. A second time does nothing.

        Args:
            notice_id: its `id`.

        Raises:
            LookupError: there is no such notice.
        """
        number = notice_id.removeprefix(NOTICE)
        with self._desk() as desk:
            if not (number.isdecimal() and desk.books.acknowledge(int(number))):
                raise LookupError("the simulated bank has no such notice")

    # What the acquirer's books say.

    def statement(self, merchant_id: str | None = None) -> Sequence[StatementLine]:
        """Every movement of money, in the order it was booked; expiries last.

        Args:
            merchant_id: whose; None for all.
        """
        with self._desk() as desk:
            lines = list(desk.books.lines(merchant_id))
            for authorization in desk.books.expired(desk.now):
                if merchant_id in (None, authorization.merchant_id):
                    lines += desk.expiry(authorization)
        return [_told(line) for line in lines]

    def settlement_report(self, merchant_id: str, day: date | None = None) -> bytes:
        """What the bank has settled on a day, as CSV: see `settlement_files.read_report`.

        A day's report is always the same. What was booked and undone on one day is not in it.

        Args:
            merchant_id: whose.
            day: of UTC; it has to be over. None for the last that is.

        Raises:
            LookupError: the day is not over yet.
        """
        with self._desk() as desk:
            return daily_report(desk, merchant_id, day)

    def position(self, merchant_id: str, authorization_id: str) -> Position:
        """Where a sale or authorization stands, in minor units; all zeros if there is none.

        Args:
            merchant_id: whose.
            authorization_id: our id of the operation that started it.
        """
        with self._desk() as desk:
            return desk.position(merchant_id, authorization_id)

    def effects(self, merchant_id: str, operation_id: str) -> int:
        """How many times money moved for an operation and has not been put back: 0 or 1, or worse.

        Args:
            merchant_id: whose.
            operation_id: ours.
        """
        with self._desk() as desk:
            lines = desk.books.lines_by(merchant_id, operation_id)
        standing = (line for line in lines if line.state is not LineState.REVERSED)
        return sum(line.kind is not LineKind.RELEASE for line in standing)

    def __repr__(self) -> str:
        return f"SimulatedBank({'memory' if self._books.path is None else str(self._books.path)})"

    @contextmanager
    def _desk(self) -> Iterator[Desk]:
        """The desk, with everything done that was due."""
        now = self._now()
        with self._books.transaction() as books:
            desk = Desk(terms=self._terms, books=books, now=now)
            desk.fall_due()
            let_lapse(desk)
            yield desk

    def _at_the_door(self, request: BankRequest) -> tuple[Fault | None, Order]:
        card = card_of(request)
        call = Call.REVERSAL if request.kind is RequestKind.REVERSAL else Call.SEND
        now = self._now()
        return self._plan.draw(call, now, card.fault), order_of(request, card, now)

    def _do(self, order: Order, fault: Fault | None = None) -> BankReply:
        with self._desk() as desk:
            return _said(desk, desk.handle(order), fault)

    def _stop(self, fault: Fault, order: Order | None) -> NoReturn:
        """Play a fault that strikes before the bank has seen anything."""
        if fault is Fault.DOWN:
            raise NotSent("the simulated bank refuses the connection")
        if fault is Fault.FAIL_BEFORE:
            raise ServerError("the simulated bank has failed")
        if fault is not Fault.LOSE_REQUEST and order is not None:
            with self._desk() as desk:
                desk.books.hold(order, desk.now + self._on_its_way(fault))
        raise _no_answer()

    def _on_its_way(self, fault: Fault) -> timedelta:
        """How long a delayed request takes; where nobody promises anything, a day is long."""
        if fault is Fault.DELAY_REQUEST:
            return self._late_by
        promised = timedelta(seconds=min(self.capabilities.max_in_flight_s, _DAY_S))
        if fault is Fault.DELAY_PAST_PROMISE:
            return promised + self._late_by
        return max(promised - timedelta.resolution, timedelta())

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)

    def _require_in_time(self, timeout_s: float) -> None:
        if self._latency_s > timeout_s:
            raise _no_answer()


def _no_answer() -> TimeoutError:
    return TimeoutError("the simulated bank did not answer in time")


def _the_one(desk: Desk, outcome: ReplyOutcome, handle: str) -> Answer:
    found = desk.books.undecided(outcome, handle)
    if len(found) != 1:
        raise LookupError(f"{len(found)} operations wait like this under that handle, not one")
    return found[0]


def _known(desk: Desk, merchant_id: str, operation_id: str, fault: Fault | None) -> BankReply:
    answer = desk.books.answer(merchant_id, operation_id)
    if answer is not None:
        return _said(desk, answer, fault)
    reversal = desk.books.reversal(merchant_id, operation_id)
    if reversal is None:
        return BankReply(operation_id=operation_id, outcome=ReplyOutcome.NOT_FOUND)
    return BankReply(
        operation_id=operation_id,
        outcome=ReplyOutcome.DECLINED,
        amount=Money.minor(reversal.amount_minor, reversal.currency),
        decline=Decline(code=REVERSED[0], bank_code=REVERSED[1]),
    )


def _said(desk: Desk, answer: Answer, fault: Fault | None) -> BankReply:
    """What the bank says of an answer: the same, or the contrary and the truth in a notice."""
    reply = reply_of(answer)
    if fault is not Fault.CONTRADICT:
        return reply
    desk.tell(answer)
    return _contrary(reply)


def _contrary(reply: BankReply) -> BankReply:
    if reply.outcome is ReplyOutcome.DECLINED:
        return evolve(reply, outcome=ReplyOutcome.APPROVED, decline=None)
    if reply.outcome is not ReplyOutcome.APPROVED:
        return reply
    decline = Decline(code=DeclineCode.GENERIC_DECLINE)
    return evolve(reply, outcome=ReplyOutcome.DECLINED, decline=decline, expires_at=None)


def _carried(reply: BankReply, fault: Fault | None) -> BankReply:
    """The answer as it comes through the wire."""
    match fault:
        case Fault.LOSE_REPLY:
            raise _no_answer()
        case Fault.FAIL_AFTER:
            raise ServerError("the simulated bank has failed")
        case Fault.GARBLE_REPLY:
            # An adapter that parses badly may return anything, and so this one does on demand.
            return cast("BankReply", "<html>502 Bad Gateway</html>")
        case Fault.OTHER_ID:
            return evolve(reply, operation_id=f"{reply.operation_id}x")
        case Fault.OTHER_AMOUNT:
            return evolve(reply, amount=_other_amount(reply.amount))
        case Fault.OTHER_CURRENCY:
            return evolve(reply, amount=_other_currency(reply.amount))
        case _:
            return reply


def _other_amount(amount: Money | None) -> Money:
    if amount is None:
        return Money.minor(1, "EUR")
    step = -1 if amount.amount_minor == MAX_MINOR else 1
    return Money.minor(amount.amount_minor + step, amount.currency)


def _other_currency(amount: Money | None) -> Money:
    if amount is None:
        return Money.minor(1, "EUR")
    return Money.minor(amount.amount_minor, "USD" if amount.currency == "EUR" else "EUR")


def _told(line: Line) -> StatementLine:
    return StatementLine(
        merchant_id=line.merchant_id,
        authorization_id=line.authorization_id,
        operation_id=line.operation_id,
        kind=line.kind,
        amount=Money.minor(line.amount_minor, line.currency),
        state=line.state,
        card_brand=line.brand,
        card_last4=line.last4,
        at=line.at,
    )
