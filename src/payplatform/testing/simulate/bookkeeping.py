"""The merchant at its books: its disputes, its plans for payouts, and the bank's reports.

Law of this file: it asks what a merchant's program would ask, and hands what was told to whoever
judges it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from payplatform._domain.disputes import Dispute
from payplatform._domain.money import Money
from payplatform._domain.operations import Operation
from payplatform._domain.payments import Payment
from payplatform._engine.pages import all_records
from payplatform.ports import Filter, SettlementReport
from payplatform.testing.simulate.accountant import Accountant
from payplatform.testing.simulate.callers import Caller
from payplatform.testing.simulate.crowd import Crowd
from payplatform.testing.simulate.judge import require_orderly
from payplatform.testing.simulate.people import decide_dispute, dispute, forged
from payplatform.testing.simulate.steps import (
    NO_TROUBLE,
    AnswerDispute,
    DecideDispute,
    Hear,
    OpenDispute,
    Plan,
    Reconcile,
    Trouble,
)
from payplatform.testing.simulate.world import World

_EXHIBITS = {"explanation": "it was delivered"}


class Bookkeeping:
    """What is done about the books in one world."""

    def __init__(self, world: World, crowd: Crowd, accountant: Accountant) -> None:
        self._world = world
        self._crowd = crowd
        self._accountant = accountant

    def plan(self, step: Plan) -> None:
        """Have a merchant paid out every day."""
        merchant_id = self._world.merchants[step.merchant % len(self._world.merchants)]

        def plan() -> None:
            self._world.processes[step.process].pay.merchant(merchant_id).payouts.set_plan(
                minimum=Money.minor(1, step.currency),
                interval="daily",
                first_at=self._world.clock() + timedelta(seconds=step.seconds),
            )

        self._crowd.start(step.process, plan, step.trouble, require_orderly)

    def open_dispute(self, step: OpenDispute, payments: Sequence[Payment]) -> None:
        """Have the cardholder's bank dispute one of these payments, counted back from the last."""
        if payments:
            payment = payments[-1 - step.payment % len(payments)]
            taken = all_records(
                self._world.storage,
                payment.merchant_id,
                Operation,
                Filter(subject_id=payment.id),
            )
            dispute(self._world.bank, taken, step.amount_minor)

    def decide_dispute(self, step: DecideDispute) -> None:
        """Have the cardholder's bank decide one of its disputes."""
        cases = self._world.bank.disputes.list()
        # Of two decisions at one moment nobody could tell which is the later.
        self._world.tick()
        if cases:
            case = cases[-1 - step.dispute % len(cases)]
            decide_dispute(self._world.bank, case.dispute_id, step.outcome)

    def answer_dispute(self, step: AnswerDispute) -> None:
        """Have the merchant say something to one of the disputes that it has heard of."""
        found = [
            each
            for merchant_id in self._world.merchants
            for each in all_records(self._world.storage, merchant_id, Dispute)
        ]
        if not found:
            return
        found.sort(key=lambda each: each.id)
        one = found[-1 - step.dispute % len(found)]

        def answer() -> Dispute:
            shop = self._world.processes[step.process].pay.merchant(one.merchant_id)
            if step.accepts:
                return shop.disputes.accept(one.id)
            return shop.disputes.submit_evidence(one.id, _EXHIBITS)

        self._crowd.start(step.process, answer, step.trouble, self._accountant.told_of_dispute)

    def hear_forged(self, step: Hear, raw: bytes, headers: dict[str, str]) -> None:
        """Hand in a message that is not the bank's: it is to be refused, and changes nothing."""

        def hear() -> None:
            self._world.processes[step.process].pay.notices.receive(*forged(raw, headers))

        self._crowd.start(step.process, hear, step.trouble, self._accountant.told_of_forgery)

    def reconcile(self, step: Reconcile) -> None:
        """Lay one of the bank's reports beside a merchant's books."""
        merchant_id = self._world.merchants[step.merchant % len(self._world.merchants)]
        reports = self._world.reports(merchant_id)
        if reports:
            report = reports[-1 - step.report % len(reports)]
            self._lay(step.process, merchant_id, report, step.trouble)

    def close(self) -> None:
        """Lay all reports beside the books, in the wrong order and then in theirs; and see.

        Raises:
            Violation: a rule was broken.
        """
        for merchant_id in self._world.merchants:
            reports = self._world.reports(merchant_id)
            for report in (*reversed(reports), *reports):
                self._lay(0, merchant_id, report, NO_TROUBLE)

    def _lay(
        self, process: int, merchant_id: str, report: SettlementReport, trouble: Trouble
    ) -> None:
        """Reconcile a report, and see that to do it again changes nothing."""

        def reconcile() -> object:
            shop = self._world.processes[process].pay.merchant(merchant_id)
            return shop.reconcile(report)

        def ended(caller: Caller) -> None:
            if self._accountant.told_of_report(caller):
                self._require_same_again(reconcile)

        self._crowd.start(process, reconcile, trouble, ended)

    def _require_same_again(self, reconcile: Callable[[], object]) -> None:
        """Do it again, for whoever did it may have stood still meanwhile; and then again."""
        with self._world.turn_of(None):
            reconcile()
            with self._accountant.nothing_is_written():
                reconcile()
