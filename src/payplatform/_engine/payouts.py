"""What a payout is decided on, and the payouts that nobody has to ask for.

Law of this file: the plan is read before the balances. Every payout raises its plan's version, so
where another payout has changed the balances since, this one's commit finds that out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final

from attrs import evolve, frozen

from payplatform._domain.changes import Changes, Subject
from payplatform._domain.commands import Command, Verb
from payplatform._domain.decisions import payable_of
from payplatform._domain.ledger import Account
from payplatform._domain.money import Money
from payplatform._domain.payouts import Payout, PayoutInterval, PayoutPlan
from payplatform._engine.exchange import TRIES
from payplatform._engine.pages import all_records
from payplatform.errors import (
    BankUnavailable,
    CommitUncertain,
    Conflict,
    ErrorCode,
    NotAllowed,
    OutcomeUnknown,
)
from payplatform.ports import EVERYTHING, Bank, Storage


def plan_and_balances(
    storage: Storage, merchant_id: str, currency: str, now: datetime
) -> tuple[PayoutPlan, Mapping[Account, int]]:
    """The merchant's plan for a currency, of version 0 where there is none, and its accounts."""
    plan = storage.get(merchant_id, PayoutPlan, currency) or PayoutPlan(
        id=currency, merchant_id=merchant_id, version=0, created_at=now, updated_at=now
    )
    totals = storage.totals(merchant_id)
    return plan, {account: sum_ for (known, account), sum_ in totals.items() if known == currency}


_COMES_UP_AGAIN: Final = (Conflict, CommitUncertain)
"""Somebody else is at it just now, or it could not be stored."""


@frozen(kw_only=True)
class PayoutLooks:
    """What came of the payouts that were due by plan.

    Attributes:
        made: the bank has them, or has refused them.
        unclear: it is not known whether the bank has them: `recover()` finds out.
        carried: less than the plan's minimum was payable, or the bank could not be reached; the
            plan's next time comes.
    """

    made: int = 0
    unclear: int = 0
    carried: int = 0


class Payouts:
    """Plans, and what is due by them."""

    def __init__(
        self,
        *,
        storage: Storage,
        bank: Bank,
        run: Callable[[Command], Subject],
        now: Callable[[], datetime],
    ) -> None:
        self._storage = storage
        self._bank = bank
        self._run = run
        self._now = now

    def plan(self, merchant_id: str, currency: str) -> PayoutPlan:
        """The plan for a currency: by hand, and all there is, until it is set otherwise."""
        return plan_and_balances(self._storage, merchant_id, currency, self._now())[0]

    def payable(self, merchant_id: str, currency: str) -> Money:
        """What may be paid out now; less than nothing if the merchant owes."""
        known = plan_and_balances(self._storage, merchant_id, currency, self._now())
        return Money.minor(payable_of(*known), currency)

    def set_plan(
        self,
        merchant_id: str,
        *,
        minimum: Money,
        reserve_minor: int,
        interval: PayoutInterval,
        first_at: datetime | None,
    ) -> PayoutPlan:
        """Put a plan in the place of what there is for its currency.

        Raises:
            Conflict: others kept changing it.
            StorageUnavailable: the store failed.
        """
        for _ in range(TRIES):
            was = self.plan(merchant_id, minimum.currency)
            plan = evolve(
                was,
                version=was.version + 1,
                interval=interval,
                minimum_minor=minimum.amount_minor,
                reserve_minor=reserve_minor,
                next_at=first_at,
                updated_at=self._now(),
            )
            if self._is_committed(plan):
                return plan
        raise Conflict("others kept changing the same plan; nothing was done")

    def run_due(self, merchant_id: str) -> Iterator[Payout]:
        """Make each of a merchant's payouts that is due, whoever else is at it."""
        plans = list(all_records(self._storage, merchant_id, PayoutPlan, EVERYTHING))
        for plan in plans:
            if plan.is_due(self._now()):
                payout = None
                with suppress(*_COMES_UP_AGAIN):
                    _, payout = self._made(plan)
                if payout is not None:
                    yield payout

    def look(self, now: datetime, *, limit: int) -> PayoutLooks:
        """Make the payouts of all merchants that are due, longest due first: at most `limit`."""
        if not self._bank.capabilities.payouts:
            return PayoutLooks()
        counts: Counter[str] = Counter()
        for plan in self._storage.due_payouts(now, limit=limit):
            with suppress(*_COMES_UP_AGAIN):
                became, _ = self._made(plan)
                counts[became] += 1
        return PayoutLooks(**counts)

    def _made(self, plan: PayoutPlan) -> tuple[str, Payout | None]:
        """Make a payout that is due, and what became of it.

        Its key follows from its plan. No caller can have taken it: theirs have no spaces.
        """
        command = Command(
            verb=Verb.PAYOUT,
            merchant_id=plan.merchant_id,
            idempotency_key=f"scheduled payout {plan.currency} {plan.next_at:%Y-%m-%dT%H:%M:%S.%f}",
            currency=plan.currency,
        )
        became, payout = "made", None
        try:
            payout = self._run(command)
        except OutcomeUnknown:
            became = "unclear"  # It is on record, and recovery looks after it.
        except BankUnavailable:
            became = "carried"
        except NotAllowed as error:
            if error.code is not ErrorCode.AMOUNT_BELOW_MINIMUM:
                raise
            became = "carried"
        assert payout is None or isinstance(payout, Payout)  # noqa: S101  # what the verb is about
        self._move_on(plan)
        return became, payout

    def _move_on(self, due: PayoutPlan) -> None:
        """Let the plan wait for its next time, unless somebody else did, or it was set anew."""
        for _ in range(TRIES):
            plan = self.plan(due.merchant_id, due.currency)
            if plan.next_at != due.next_at or self._is_committed(plan.after(self._now())):
                return

    def _is_committed(self, plan: PayoutPlan) -> bool:
        try:
            self._storage.commit(Changes(merchant_id=plan.merchant_id, records=(plan,)))
        except Conflict:
            return False
        return True
