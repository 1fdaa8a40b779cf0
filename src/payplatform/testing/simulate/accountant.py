"""What must hold of the books of merchants, whatever happens, and what must hold in the end.

Law of this file: it adds up anew what was committed, and lays it beside the bank's own books and
reports. Of how the engine came to it, it knows nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final

from payplatform._domain.dispute_matching import DISPUTE_SETTLED
from payplatform._domain.disputes import HOLDINGS, Dispute, DisputeState
from payplatform._domain.events import Event
from payplatform._domain.ledger import Account
from payplatform._domain.matching import EXPLAINED, SETTLED, SUSPENDED, UNSETTLED
from payplatform._domain.payouts import Payout, PayoutStatus
from payplatform._domain.settlements import Reconciliation
from payplatform._engine.pages import all_records
from payplatform.banks.simulated import LineKind, LineState
from payplatform.errors import NotAuthentic
from payplatform.ports import Changes
from payplatform.testing.simulate.callers import Caller
from payplatform.testing.simulate.judge import Violation, require_orderly
from payplatform.testing.simulate.world import World

_Place = tuple[str, str]
"""A merchant, and a currency."""

_EMPTY_IN_THE_END: Final = (Account.ACQUIRER_RECEIVABLE, Account.SUSPENSE, Account.RESERVES)
_COUNTS: Final = {SETTLED: 1, UNSETTLED: 1, DISPUTE_SETTLED: 1, SUSPENDED: 1, EXPLAINED: -1}
"""What events say of a line of a report: that it is booked, or is no more."""


_ANSWERED: Final = frozenset({DisputeState.SUBMITTED, DisputeState.ACCEPTED})


class Accountant:
    """Watches the books of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._balances: dict[_Place, Counter[Account]] = defaultdict(Counter)
        self._most_payable: Counter[_Place] = Counter()
        self._payouts: dict[str, Payout] = {}
        self._booked: Counter[tuple[str, str, str]] = Counter()
        self._commits = 0
        self._problem: Violation | None = None
        world.commits.append(self._note)

    # -- after each step

    def check(self) -> None:
        """Look at all that was committed since the last time.

        Raises:
            Violation: a rule is broken.
        """
        if self._problem is not None:
            raise self._problem
        for payout in self._payouts.values():
            times = self._world.bank.effects(payout.merchant_id, payout.operation_id)
            if times > 1:
                raise Violation("effects", f"the bank did one payout {times} times")

    def _note(self, changes: Changes) -> None:
        """What was committed: no more is paid out than may be, and each currency sums to zero."""
        self._commits += 1
        for record in changes.records:
            if isinstance(record, Payout):
                if record.id not in self._payouts:
                    self._note_payout(record)
                self._payouts[record.id] = record
        for event in changes.events:
            self._note_line(event)
        touched = {(changes.merchant_id, line.currency) for line in changes.postings}
        for line in changes.postings:
            self._balances[line.merchant_id, line.currency][line.account] += line.amount_minor
        for place in touched:
            balances = self._balances[place]
            if balances.total():
                self._blame("books", f"the accounts in {place[1]} sum to {balances.total()}")
            self._most_payable[place] = max(self._most_payable[place], _payable(balances))

    def _note_payout(self, payout: Payout) -> None:
        """Whoever decides on it may have looked some time ago, but not before the last one."""
        place, amount_minor = (
            (payout.merchant_id, payout.amount.currency),
            payout.amount.amount_minor,
        )
        most = self._most_payable[place]
        if amount_minor > most:
            self._blame("payouts", f"{payout.amount} is paid out, and {most} was payable at most")
        self._most_payable[place] = _payable(self._balances[place]) - amount_minor

    def _note_line(self, event: Event) -> None:
        """A line of a report is booked once: to what it is for, or in suspense."""
        counts = _COUNTS.get(event.type)
        if counts is None:
            return
        details = dict(event.details)
        report = details.get("report", event.subject_id)
        line = (event.merchant_id, report, details["line"])
        self._booked[line] += counts
        if self._booked[line] not in (0, 1):
            text = f"line {line[2]} of {report} is booked {self._booked[line]} times"
            self._blame("settlements", text)

    def _blame(self, rule: str, text: str) -> None:
        self._problem = self._problem or Violation(rule, text)

    # -- what callers are told

    def told_of_dispute(self, caller: Caller) -> None:
        """Whoever is told that a dispute is answered can rely on the bank having the answer.

        Raises:
            Violation: the bank has none.
        """
        require_orderly(caller)
        value = caller.told.value if caller.told else None
        if not isinstance(value, Dispute):
            return
        cases = {case.dispute_id: case for case in self._world.bank.disputes.list()}
        if cases[value.bank_dispute_id].state is DisputeState.OPENED:
            raise Violation("disputes", f"told {value.state}, and the bank has no answer")

    def told_of_forgery(self, caller: Caller) -> None:
        """Whoever hands in what is not the bank's is told so.

        Raises:
            Violation: it was taken for the bank's.
        """
        told = caller.told
        if told is not None and not told.is_death and not isinstance(told.value, NotAuthentic):
            raise Violation("notices", f"a forged notice ended in {told.value!r}")

    def told_of_report(self, caller: Caller) -> bool:
        """Whether a report was reconciled to its end.

        Raises:
            Violation: it ended in what no report of the bank may end in.
        """
        require_orderly(caller)
        return caller.told is not None and isinstance(caller.told.value, Reconciliation)

    @contextmanager
    def nothing_is_written(self) -> Iterator[None]:
        """See that what is done meanwhile changes nothing.

        Raises:
            Violation: something was written.
        """
        before = self._commits
        yield
        if self._commits != before:
            raise Violation("settlements", "the same report once more has changed the books")

    # -- in the end

    def require_agreement(self, excused: Collection[str]) -> None:
        """The books say what the bank's reports, its payouts and its disputes say, to the cent.

        Args:
            excused: payments and payouts about which the bank broke a promise.

        Raises:
            Violation: they do not.
        """
        for payout in self._payouts.values():
            if payout.id not in excused:
                self._require_paid(payout)
        if not excused:
            self._require_disputes()
            for merchant_id in self._world.merchants:
                self._require_balances(merchant_id)

    def _require_paid(self, payout: Payout) -> None:
        times = self._world.bank.effects(payout.merchant_id, payout.operation_id)
        if times != (payout.status is PayoutStatus.PAID):
            text = f"the payout {payout.id} is {payout.status}, and the bank did it {times} times"
            raise Violation("books", text)

    def _require_disputes(self) -> None:
        """Each dispute at the bank is here, in the same state, and holds the same."""
        storage = self._world.storage
        ours = {
            dispute.bank_dispute_id: dispute
            for merchant_id in self._world.merchants
            for dispute in all_records(storage, merchant_id, Dispute)
        }
        for case in self._world.bank.disputes.list():
            dispute = ours.pop(case.dispute_id, None)
            if dispute is None:
                raise Violation("disputes", f"{case.dispute_id} at the bank is not here")
            held = case.amount.amount_minor if HOLDINGS[case.state].held else 0
            if self._may_be_unheard_of(dispute, case.state):
                continue
            if (dispute.state, dispute.held_minor) != (case.state, held):
                here = f"{dispute.state} and holds {dispute.held_minor}"
                there = f"{case.state} and holds {held}"
                raise Violation("disputes", f"{case.dispute_id} is {here}, at the bank {there}")
        if ours:
            raise Violation("disputes", f"{sorted(ours)} are here, and not at the bank")

    def _may_be_unheard_of(self, dispute: Dispute, at_bank: DisputeState) -> bool:
        """Whether the bank has an answer that it declined when it came again.

        It has forgotten the id, and cannot be asked what it had said first: nobody here can know,
        until it tells how the dispute has ended.
        """
        can_be_asked = self._world.bank.capabilities.inquiry_by_operation_id
        is_open_here = dispute.state is DisputeState.OPENED
        return not can_be_asked and is_open_here and at_bank in _ANSWERED

    def _require_balances(self, merchant_id: str) -> None:
        """What came in is what the reports say, less what went out; and nothing is on its way."""
        cash: Counter[str] = Counter()
        for report in self._world.reports(merchant_id):
            for line in report.lines:
                cash[line.amount.currency] += (line.amount - line.fees.total).amount_minor
        for moved in self._world.bank.statement(merchant_id):
            if moved.kind is LineKind.PAYOUT and moved.state is LineState.BOOKED:
                cash[moved.amount.currency] -= moved.amount.amount_minor
        for (whose, currency), balances in self._balances.items():
            if whose != merchant_id:
                continue
            wanted = {Account.BANK_CASH: cash[currency]} | dict.fromkeys(_EMPTY_IN_THE_END, 0)
            for account, amount_minor in wanted.items():
                if balances[account] != amount_minor:
                    text = f"{account} shows {balances[account]} {currency}, not {amount_minor}"
                    raise Violation("settlements", text)


def _payable(balances: Counter[Account]) -> int:
    """What has been earned and has come in: added up here anew, not as a payout does it."""
    to_come = balances[Account.ACQUIRER_RECEIVABLE]
    earned = -balances[Account.MERCHANT_BALANCE] - balances[Account.DISPUTES_HELD]
    return min(earned, earned - to_come)
