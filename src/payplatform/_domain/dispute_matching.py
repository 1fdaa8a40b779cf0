"""Lays a line about a dispute beside what is held for it.

What a dispute holds may go and come several times, and the bank settles each in its turn: so a line
is right where it is the next that has moved and no report has told of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

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


def told_of(dispute: Dispute, history: Sequence[Event]) -> list[tuple[str, str]]:
    """The reports and lines that have told of a dispute, in the order that they were booked in."""
    settled = (event for event in _about(dispute, history) if event.type == DISPUTE_SETTLED)
    return [(details["report"], details["line"]) for details in (dict(e.details) for e in settled)]


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
        place: the report and the line, as `told_of` has them.
    """
    if line.amount.currency != dispute.amount.currency:
        return DifferenceKind.CURRENCY_DIFFERS, dispute.amount * (1 if line.is_reversal else -1)
    told = told_of(dispute, history)
    moved = [Money.minor(minor, dispute.amount.currency) for _, minor in _moved(dispute, history)]
    at = told.index(place) if place in told else len(told)
    ours = moved[at] if at < len(moved) else None
    if ours is None or ours.is_positive is not line.amount.is_positive:
        is_known = line.amount in moved[:at]
        kind = DifferenceKind.DUPLICATE if is_known else DifferenceKind.MISSING_HERE
        return kind, line.amount if is_known else None
    if ours != line.amount:
        return DifferenceKind.AMOUNT_DIFFERS, ours
    return (DifferenceKind.LATE if line.booked_at < report.since else None), ours


def missing_of(
    dispute: Dispute, history: Sequence[Event], report: SettlementReport
) -> Difference | None:
    """What is to be said of a dispute that a report does not name.

    What went and came back in the time of the report need not be in it.
    """
    untold = _moved(dispute, history)[len(told_of(dispute, history)) :]
    minor = sum(minor for event, minor in untold if report.since <= event.at < report.until)
    if not minor:
        return None
    return Difference(
        kind=DifferenceKind.MISSING_AT_BANK,
        operation_id=dispute.operation_id,
        payment_id=dispute.payment_id,
        ours=Money.minor(minor, dispute.amount.currency),
    )


def _moved(dispute: Dispute, history: Sequence[Event]) -> list[tuple[Event, int]]:
    """All that has moved for a dispute: less than nothing where it was taken."""
    return [(e, -e.change.disputed) for e in _about(dispute, history) if e.change.disputed]


def _about(dispute: Dispute, history: Sequence[Event]) -> Iterator[Event]:
    return (event for event in history if ("dispute", dispute.id) in event.details)
