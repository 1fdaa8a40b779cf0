"""Lays a line of a bank's report beside our operation: what differs, and what is to be booked.

Law of this file: what the bank has settled is booked whatever we think of it, for the money is
there: to its payment where that is known, else in suspense. Nothing is booked twice for one line,
so the same report may be laid beside the books as often as anybody likes, and what was in suspense
leaves it once its operation is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

from attrs import evolve, frozen

from payplatform._domain.changes import Changes
from payplatform._domain.dispute_matching import DISPUTE_SETTLED, fits_dispute, told_of
from payplatform._domain.disputes import Dispute
from payplatform._domain.events import Event
from payplatform._domain.ledger import own_postings
from payplatform._domain.money import Money
from payplatform._domain.operations import Operation, OperationKind, OperationState
from payplatform._domain.payments import Facts, Payment
from payplatform._domain.settlements import (
    Difference,
    DifferenceKind,
    Settlement,
    SettlementLine,
    SettlementReport,
    settlement_id,
)

SETTLED: Final = "payment.settled"
UNSETTLED: Final = "payment.settlement_reversed"
OPENED: Final = "settlement.opened"
SUSPENDED: Final = "settlement.suspended"
EXPLAINED: Final = "settlement.explained"

_SIGNS: Final[Mapping[OperationKind, int]] = MappingProxyType(
    {OperationKind.SALE: 1, OperationKind.CAPTURE: 1, OperationKind.REFUND: -1}
)
"""The kinds that a bank settles, each with the direction of its money."""

_HAS_MOVED: Final = frozenset({OperationState.SUCCEEDED, OperationState.REVERSED})


@frozen(kw_only=True)
class Look:
    """A line, with what is here of what it names, all as it was read.

    Attributes:
        operation: the one that it names, if it is here.
        payment: that one's payment, if it is about one.
        history: the payment's events, where an earlier report has told of the operation, or it is
            about a dispute.
        dispute: the one that it names, if it is here; then `operation` is what is disputed.
    """

    line: SettlementLine
    operation: Operation | None
    payment: Payment | None
    history: Sequence[Event] = ()
    dispute: Dispute | None = None


@frozen(kw_only=True)
class Suspense:
    """A report as it is kept, and which of its lines are in suspense now, by their numbers."""

    settlement: Settlement
    lines: Mapping[int, Event]


@frozen(kw_only=True)
class Fit:
    """What came of a look.

    Attributes:
        is_booked: whether the line is booked to its payment already.
        difference: what is wrong; None if nothing is.
    """

    look: Look
    is_booked: bool
    difference: Difference | None

    @property
    def is_suspense(self) -> bool:
        """Whether nobody can say yet what the money is for."""
        return self.difference is not None and self.difference.kind.is_suspense


def moves(operation: Operation) -> bool:
    """Whether a bank settles operations of this kind."""
    return operation.kind in _SIGNS


def expected(operation: Operation, *, is_reversal: bool = False) -> Money:
    """What a bank is to settle of an operation, signed."""
    sign = _SIGNS[operation.kind]
    return operation.amount * (-sign if is_reversal else sign)


def fit(look: Look, report: SettlementReport, suspense: Suspense) -> Fit:
    """Lay a line beside what it names; of several things that are wrong, the first counts."""
    line, operation = look.line, look.operation
    told, place = _told(look), (suspense.settlement.id, str(line.number))
    is_booked = place in told
    ours = None
    if look.dispute is not None:
        kind, ours = fits_dispute(line, look.dispute, look.history, report, place)
    else:
        kind = _kind(look, report, is_told=bool(told) and not is_booked)
        if operation is not None and moves(operation):
            ours = expected(operation, is_reversal=line.is_reversal)
    if kind is None:
        return Fit(look=look, is_booked=is_booked, difference=None)
    difference = Difference(
        kind=kind,
        line=line.number,
        operation_id=look.dispute.operation_id if look.dispute else line.operation_id,
        payment_id=None if look.payment is None else look.payment.id,
        ours=ours,
        banks=line.amount,
    )
    return Fit(look=look, is_booked=is_booked, difference=difference)


def _kind(look: Look, report: SettlementReport, *, is_told: bool) -> DifferenceKind | None:
    line, operation = look.line, look.operation
    if operation is None or look.payment is None or not _has_moved(operation, line):
        return DifferenceKind.MISSING_HERE
    if line.amount.currency != operation.amount.currency:
        return DifferenceKind.CURRENCY_DIFFERS
    if is_told:
        return DifferenceKind.DUPLICATE
    if line.amount != expected(operation, is_reversal=line.is_reversal):
        return DifferenceKind.AMOUNT_DIFFERS
    if line.is_reversal and not _was_settled(look):
        return DifferenceKind.MISSING_AT_BANK
    return DifferenceKind.LATE if line.booked_at < report.since else None


def _has_moved(operation: Operation, line: SettlementLine) -> bool:
    """Whether we know of the movement: of a reversal, that the bank has taken it back."""
    if line.is_reversal and operation.state is not OperationState.REVERSED:
        return False
    return moves(operation) and operation.state in _HAS_MOVED


def _was_settled(look: Look) -> bool:
    """Whether a report has told of the movement that a reversal takes back."""
    named = look.line.operation_id
    return any(event.type == SETTLED and event.operation_id == named for event in look.history)


def _told(look: Look) -> frozenset[tuple[str, str]]:
    """The reports and lines that have told of this movement."""
    if look.dispute is not None:
        return frozenset(told[:2] for told in told_of(look.dispute, look.history))
    type_ = UNSETTLED if look.line.is_reversal else SETTLED
    return frozenset(
        (details["report"], details["line"])
        for event in look.history
        if event.type == type_ and event.operation_id == look.line.operation_id
        for details in (dict(event.details),)
    )


def missing(
    operation: Operation, history: Sequence[Event], report: SettlementReport
) -> Difference | None:
    """What is to be said of an operation that a report does not name.

    Args:
        operation: which became what it is in the time that the report is about, or not.
        history: its payment's events, where an earlier report has told of it.
        report: the one that is laid beside our books.
    """
    if not (moves(operation) and report.since <= operation.updated_at < report.until):
        return None
    was_settled = operation.settlement_id is not None
    is_reversal = operation.state is OperationState.REVERSED
    if was_settled is not is_reversal or operation.state not in _HAS_MOVED:
        return None
    if any(e.type == UNSETTLED and e.operation_id == operation.id for e in history):
        return None
    return Difference(
        kind=DifferenceKind.MISSING_AT_BANK,
        operation_id=operation.id,
        payment_id=operation.payment_id,
        ours=expected(operation, is_reversal=is_reversal),
    )


def opening(
    report: SettlementReport, merchant_id: str, *, now: datetime, new_id: Callable[[str], str]
) -> tuple[Settlement, Changes]:
    """What is kept of a report from before its first line is booked."""
    settlement = Settlement(
        id=settlement_id(report.reference),
        merchant_id=merchant_id,
        version=1,
        reference=report.reference,
        digest=report.digest,
        since=report.since,
        until=report.until,
        line_count=len(report.lines),
        latest_event=1,
        created_at=now,
        updated_at=now,
    )
    opened = Event(
        id=new_id("evt"),
        merchant_id=merchant_id,
        subject_id=settlement.id,
        number=1,
        type=OPENED,
        at=now,
        details=(("reference", report.reference), ("lines", str(len(report.lines)))),
    )
    return settlement, Changes(merchant_id=merchant_id, records=(settlement,), events=(opened,))


def suspense_of(settlement: Settlement, events: Iterable[Event]) -> Suspense:
    """Which lines of a report are in suspense, by its events in their order."""
    return Suspense(settlement=settlement, lines=_following({}, events))


def _following(before: Mapping[int, Event], events: Iterable[Event]) -> dict[int, Event]:
    lines = dict(before)
    for event in events:
        number = int(dict(event.details).get("line", "0"))
        if event.type == SUSPENDED:
            lines[number] = event
        elif event.type == EXPLAINED:
            lines.pop(number, None)
    return lines


def booking(
    fits: Sequence[Fit], suspense: Suspense, *, now: datetime, new_id: Callable[[str], str]
) -> tuple[Changes | None, Suspense]:
    """What is to be written for lines, no two of which belong to one payment.

    Args:
        fits: what came of looking at them.
        suspense: as it is stored.
        now: the time.
        new_id: makes an id from its prefix.

    Returns:
        The changes, or None where there is nothing to write; and what is in suspense after them.
    """
    settlement = suspense.settlement
    explained = _explained(fits, suspense, now=now, new_id=new_id)
    suspended = _suspended(fits, suspense, now=now, new_id=new_id)
    own = _numbered([*explained, *suspended], settlement.latest_event)
    to_book = [fit for fit in fits if not (fit.is_suspense or fit.is_booked)]
    booked = [_booked(fit.look, settlement, now=now, new_id=new_id) for fit in to_book]
    if not (own or booked):
        return None, suspense
    records = [record for records, _ in booked for record in records]
    events = [*own, *(event for _, event in booked)]
    # Raised even where no event of its own is added: of two who reconcile it at once, the one who
    # has looked earlier finds out that the other has booked something since.
    settlement = evolve(
        settlement,
        version=settlement.version + 1,
        latest_event=settlement.latest_event + len(own),
        updated_at=now,
    )
    changes = Changes(
        merchant_id=settlement.merchant_id,
        records=(*records, settlement),
        events=tuple(events),
        postings=tuple(posting for event in events for posting in own_postings(event)),
    )
    lines = _following(suspense.lines, own)
    return changes, Suspense(settlement=settlement, lines=lines)


def _numbered(events: Iterable[Event], after: int) -> list[Event]:
    return [evolve(event, number=number) for number, event in enumerate(events, start=after + 1)]


def _suspended(
    fits: Iterable[Fit], suspense: Suspense, *, now: datetime, new_id: Callable[[str], str]
) -> list[Event]:
    """The events of lines that go into suspense now."""
    new = (fit for fit in fits if fit.is_suspense and fit.look.line.number not in suspense.lines)
    return [
        Event(
            id=new_id("evt"),
            merchant_id=suspense.settlement.merchant_id,
            subject_id=suspense.settlement.id,
            number=0,
            type=SUSPENDED,
            at=now,
            operation_id=fit.look.line.operation_id,
            amount=fit.look.line.amount,
            change=Facts(
                suspended=fit.look.line.amount.amount_minor,
                acquirer_fees=fit.look.line.fees.total.amount_minor,
            ),
            details=(("line", str(fit.look.line.number)), ("why", str(fit.difference.kind))),
        )
        for fit in new
        if fit.difference is not None
    ]


def _explained(
    fits: Iterable[Fit], suspense: Suspense, *, now: datetime, new_id: Callable[[str], str]
) -> Iterator[Event]:
    """The events of lines that leave suspense now: what they are for is known."""
    for fit in fits:
        event = suspense.lines.get(fit.look.line.number)
        if event is not None and not fit.is_suspense:
            yield evolve(
                event,
                id=new_id("evt"),
                type=EXPLAINED,
                at=now,
                amount=None if event.amount is None else -event.amount,
                change=-event.change,
                details=(("line", str(fit.look.line.number)),),
            )


def _booked(
    look: Look, settlement: Settlement, *, now: datetime, new_id: Callable[[str], str]
) -> tuple[tuple[Payment | Operation, ...], Event]:
    """A line as it is booked to its payment."""
    line, payment, operation = look.line, look.payment, look.operation
    if payment is None or operation is None:
        raise ValueError("only what has a payment is booked to it")
    fees, dispute = line.fees, look.dispute
    change = Facts(settled=line.amount.amount_minor, acquirer_fees=fees.total.amount_minor)
    event = Event(
        id=new_id("evt"),
        merchant_id=payment.merchant_id,
        subject_id=payment.id,
        number=payment.version + 1,
        type=DISPUTE_SETTLED if dispute else UNSETTLED if line.is_reversal else SETTLED,
        at=now,
        operation_id=operation.id,
        amount=line.amount,
        change=change,
        details=(
            ("report", settlement.id),
            ("line", str(line.number)),
            ("interchange", str(fees.interchange)),
            ("scheme", str(fees.scheme)),
            ("acquirer", str(fees.acquirer)),
            *((("dispute", dispute.id),) if dispute else ()),
        ),
    )
    after = evolve(payment, version=event.number, facts=payment.facts + change, updated_at=now)
    if dispute:
        return (after,), event
    # Its time stays: it says when the operation became what it is, which a report is searched by.
    told = evolve(operation, epoch=operation.epoch + 1, settlement_id=settlement.id)
    return (after, told), event
