"""Lays a bank's report beside the books, and books what it says.

Law of this file: a stretch of lines is one commit, and a line that is booked is never booked again,
so a run that was broken off is taken up by running it again, and two runs at once do no harm.
Nothing is asked of the bank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from payplatform._domain.dispute_matching import missing_of
from payplatform._domain.disputes import Dispute
from payplatform._domain.matching import (
    Fit,
    Look,
    Suspense,
    booking,
    fit,
    missing,
    moves,
    opening,
    suspense_of,
)
from payplatform._domain.operations import Operation, OperationState
from payplatform._domain.payments import Payment
from payplatform._domain.settlements import (
    Difference,
    Reconciliation,
    Settlement,
    SettlementLine,
    SettlementReport,
    settlement_id,
)
from payplatform._engine.exchange import TRIES
from payplatform._engine.pages import all_records
from payplatform.errors import CommitUncertain, Conflict, ErrorCode, InvalidRequest
from payplatform.ports import Filter, Storage

Progress = Callable[[int, int], object]
"""Told after each stretch: how many lines were looked at, of how many."""

_STRETCH: Final = 500

_LONGEST_UNCLEAR: Final = timedelta(days=31)
"""How old an operation may be when its outcome is known: what is older is not looked for."""

_MOVED: Final = frozenset({OperationState.SUCCEEDED, OperationState.REVERSED})


class Reconciling:
    """Takes reports to the books."""

    def __init__(
        self, *, storage: Storage, now: Callable[[], datetime], new_id: Callable[[str], str]
    ) -> None:
        self._storage = storage
        self._now = now
        self._new_id = new_id

    def run(
        self, merchant_id: str, report: SettlementReport, progress: Progress | None
    ) -> Reconciliation:
        """Book what a report says, and list what it and the books do not agree on.

        Args:
            merchant_id: whose books.
            report: as it was read.
            progress: told after each stretch of lines.

        Raises:
            InvalidRequest: `report_changed`: a report of that name has said something else before.
            Conflict: others kept changing the same payments. Run it again.
            StorageUnavailable: the store failed. Run it again.
        """
        suspense = self._opened(merchant_id, report)
        differences: list[Difference] = []
        matched = booked = 0
        for start in range(0, len(report.lines), _STRETCH):
            stretch = report.lines[start : start + _STRETCH]
            suspense, fits = self._taken(report, suspense, stretch)
            differences += [one.difference for one in fits if one.difference is not None]
            matched += sum(not one.is_suspense for one in fits)
            booked += sum(not (one.is_suspense or one.is_booked) for one in fits)
            if progress is not None:
                progress(start + len(stretch), len(report.lines))
        return Reconciliation(
            settlement_id=suspense.settlement.id,
            reference=report.reference,
            line_count=len(report.lines),
            matched=matched,
            booked=booked,
            differences=(*differences, *self._missing(merchant_id, report)),
        )

    def _opened(self, merchant_id: str, report: SettlementReport) -> Suspense:
        """The report as it is kept; kept from here on if it was not."""
        for _ in range(TRIES):
            stored = self._storage.get(merchant_id, Settlement, settlement_id(report.reference))
            if stored is not None:
                _require_same(stored, report)
                return self._suspense(stored)
            _, changes = opening(report, merchant_id, now=self._now(), new_id=self._new_id)
            # Whether it was written, by us or by others, is seen by reading again.
            with suppress(Conflict, CommitUncertain):
                self._storage.commit(changes)
        raise _too_busy()

    def _suspense(self, settlement: Settlement) -> Suspense:
        """What is in suspense: read after the record, whose guard keeps both."""
        events = self._storage.events(settlement.merchant_id, settlement.id)
        return suspense_of(settlement, events)

    def _taken(
        self, report: SettlementReport, suspense: Suspense, lines: Sequence[SettlementLine]
    ) -> tuple[Suspense, list[Fit]]:
        """Book a stretch of lines: one commit, and one more for each that shares a payment."""
        done: dict[int, Fit] = {}
        waiting, tries = list(lines), TRIES
        while waiting:
            fits = self._looked_at(report, suspense, waiting)
            changes, after = booking(fits, suspense, now=self._now(), new_id=self._new_id)
            try:
                if changes is not None:
                    self._storage.commit(changes)
            except (Conflict, CommitUncertain):
                tries -= 1
                if not tries:
                    raise _too_busy() from None
                suspense = self._suspense(self._again(suspense.settlement))
                continue
            suspense = after
            done |= {one.look.line.number: one for one in fits}
            waiting = [line for line in waiting if line.number not in done]
        return suspense, [done[line.number] for line in lines]

    def _looked_at(
        self, report: SettlementReport, suspense: Suspense, lines: Sequence[SettlementLine]
    ) -> list[Fit]:
        """Of these lines, those whose payment no earlier one of them is about."""
        fits: list[Fit] = []
        taken: set[str] = set()
        merchant_id = suspense.settlement.merchant_id
        for line in lines:
            dispute = self._dispute(merchant_id, line)
            operation = self._operation(merchant_id, line, dispute)
            if operation is not None and operation.subject_id in taken:
                continue
            if operation is not None:
                taken.add(operation.subject_id)
            fits.append(fit(self._look(line, operation, dispute), report, suspense))
        return fits

    def _dispute(self, merchant_id: str, line: SettlementLine) -> Dispute | None:
        if line.dispute_id is None:
            return None
        where = Filter(bank_dispute_id=line.dispute_id)
        return next(iter(self._storage.page(merchant_id, Dispute, where, limit=1)), None)

    def _operation(
        self, merchant_id: str, line: SettlementLine, dispute: Dispute | None
    ) -> Operation | None:
        named = line.operation_id if dispute is None else dispute.operation_id
        return None if named is None else self._storage.get(merchant_id, Operation, named)

    def _look(
        self, line: SettlementLine, operation: Operation | None, dispute: Dispute | None
    ) -> Look:
        if operation is None or not moves(operation):
            return Look(line=line, operation=operation, payment=None)
        merchant_id, payment_id = operation.merchant_id, operation.subject_id
        payment = self._storage.get(merchant_id, Payment, payment_id)
        has_history = dispute is not None or operation.settlement_id is not None
        history = self._storage.events(merchant_id, payment_id) if has_history else ()
        return Look(
            line=line, operation=operation, payment=payment, history=history, dispute=dispute
        )

    def _again(self, settlement: Settlement) -> Settlement:
        stored = self._storage.get(settlement.merchant_id, Settlement, settlement.id)
        return settlement if stored is None else stored

    def _missing(self, merchant_id: str, report: SettlementReport) -> Iterator[Difference]:
        """What the report ought to name, oldest first."""
        named = {line.operation_id for line in report.lines}
        where = Filter(
            states=_MOVED,
            created_from=report.since - _LONGEST_UNCLEAR,
            created_before=report.until,
        )
        found = []
        for operation in all_records(self._storage, merchant_id, Operation, where):
            if operation.id in named:
                continue
            was_told = operation.settlement_id is not None
            asked = was_told and operation.state is OperationState.REVERSED
            history = self._storage.events(merchant_id, operation.subject_id) if asked else ()
            found.append(missing(operation, history, report))
        found += self._missing_disputes(merchant_id, report)
        return (one for one in reversed(found) if one is not None)

    def _missing_disputes(
        self, merchant_id: str, report: SettlementReport
    ) -> Iterator[Difference | None]:
        named = {line.dispute_id for line in report.lines}
        where = Filter(created_before=report.until)
        for dispute in all_records(self._storage, merchant_id, Dispute, where):
            if dispute.bank_dispute_id not in named and dispute.updated_at >= report.since:
                history = self._storage.events(merchant_id, dispute.payment_id)
                yield missing_of(dispute, history, report)


def _require_same(stored: Settlement, report: SettlementReport) -> None:
    if stored.digest != report.digest:
        raise InvalidRequest(
            f"the bank's report {stored.id} has said something else before: ask the bank which "
            "counts. Nothing was booked",
            code=ErrorCode.REPORT_CHANGED,
            field="report",
        )


def _too_busy() -> Conflict:
    return Conflict("others kept changing the same payments; reconcile the report again")
