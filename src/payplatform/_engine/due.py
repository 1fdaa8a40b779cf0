"""Whatever has come due, in one run: nothing here has a thread of its own."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from payplatform._engine.disputes import DisputeLooks, Disputes
from payplatform._engine.payouts import PayoutLooks, Payouts
from payplatform._engine.recovery import Recovery, RecoveryReport


@frozen(kw_only=True)
class DueReport:
    """What one run of `run_due()` did.

    Attributes:
        recovered: what was found out of unclear operations, and what was booked as expired.
        disputes: what came of the disputes that were due.
        payouts: what came of the payouts that were due by plan.
    """

    recovered: RecoveryReport
    disputes: DisputeLooks
    payouts: PayoutLooks


@frozen
class Due:
    """Does what is due, of all merchants."""

    _recovery: Recovery
    _disputes: Disputes
    _payouts: Payouts

    def run(self, by: datetime, *, limit: int) -> DueReport:
        """Do what has come due by then: first what is unclear, for money may hang on it."""
        return DueReport(
            recovered=self._recovery.run(limit=limit, now=by),
            disputes=self._disputes.look(by, limit=limit),
            payouts=self._payouts.look(by, limit=limit),
        )
