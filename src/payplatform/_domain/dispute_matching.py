"""Lays a line about a dispute beside what is held for it.

What a dispute holds may go and come several times, and the bank settles each movement, but for
those that came to nothing within the time of one report. So a line is right where there is a
movement of its amount that no other line has told of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from payplatform._domain.disputes import Dispute
from payplatform._domain.events import Event
from payplatform._domain.money import Money
from payplatform._domain.settlements import (
    Difference,
    DifferenceKind,
    SettlementLine,
    SettlementReport,
)

DISPUTE_SETTLED: Final = "dispute.settled"


class Told(NamedTuple):
    """A line about a dispute that was booked: of which report, which line, and what it said."""

    report: str
    line: str
    amount_minor: int


def told_of(dispute: Dispute, history: Sequence[Event]) -> list[Told]:
    """The lines that have told of a dispute, from the events of its payment."""
    return [
        Told(details["report"], details["line"], event.change.settled)
        for event in _about(dispute, history)
        if event.type == DISPUTE_SETTLED
        for details in (dict(event.details),)
    ]


def fits_dispute(
    line: SettlementLine,
    dispute: Dispute,
    history: Sequence[Event],
    report: SettlementReport,
    place: tuple[str, str],
) -> tuple[DifferenceKind | None, Money | None]:
    """What is wrong with a line about a dispute, and what has moved by our books.

    Args:
        line: what the bank says.
        dispute: the one that it names.
        history: the events of the dispute's payment.
        report: what the line is of.
        place: the report as it is kept, and the line's number.
    """
    currency, wanted = dispute.amount.currency, line.amount.amount_minor
    others = Counter(told.amount_minor for told in told_of(dispute, history) if told[:2] != place)
    moved = Counter(minor for _, minor in _moved(dispute, history))
    alike = [minor for minor in moved - others if (minor > 0) is (wanted > 0)]
    ours = (
        Money.minor(min(alike, key=lambda minor: abs(minor - wanted)), currency) if alike else None
    )
    if line.amount.currency != currency:
        return DifferenceKind.CURRENCY_DIFFERS, ours
    if ours is None and wanted in moved:
        return DifferenceKind.DUPLICATE, line.amount
    if ours is None:
        return DifferenceKind.MISSING_HERE, None
    if ours != line.amount:
        return DifferenceKind.AMOUNT_DIFFERS, ours
    return (DifferenceKind.LATE if line.booked_at < report.since else None), ours


def missing_of(
    dispute: Dispute, history: Sequence[Event], report: SettlementReport
) -> Difference | None:
    """What is to be said of a dispute that a report does not name.

    What went and came back in the time of the report need not be in it; and what we have heard of
    after that time may have come back within it.
    """
    moved = _moved(dispute, history)
    within = sum(minor for at, minor in moved if report.since <= at < report.until)
    told = sum(told.amount_minor for told in told_of(dispute, history))
    untold = sum(minor for _, minor in moved) - told
    if not (within and untold):
        return None
    return Difference(
        kind=DifferenceKind.MISSING_AT_BANK,
        operation_id=dispute.operation_id,
        payment_id=dispute.payment_id,
        ours=Money.minor(untold, dispute.amount.currency),
    )


def _moved(dispute: Dispute, history: Sequence[Event]) -> list[tuple[datetime, int]]:
    """All that has moved for a dispute, with when: less than nothing where it was taken."""
    return [(e.at, -e.change.disputed) for e in _about(dispute, history) if e.change.disputed]


def _about(dispute: Dispute, history: Sequence[Event]) -> Iterator[Event]:
    return (event for event in history if ("dispute", dispute.id) in event.details)
