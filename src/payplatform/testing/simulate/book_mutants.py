"""Defects about the books, to see that the simulator finds them.

Law of this file: each is one that a person could make: about payouts, reports, disputes, notices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from payplatform._domain import decisions, dispute_steps, matching
from payplatform._domain.disputes import HOLDINGS, Dispute
from payplatform._domain.ledger import Account
from payplatform._domain.payments import Facts
from payplatform._domain.payouts import Payout, PayoutPlan, PayoutStatus
from payplatform._domain.settlements import Settlement
from payplatform._engine import disputes
from payplatform.banks import simulated
from payplatform.storage.memory import MemoryStorage, Undo, _put
from payplatform.testing.simulate.planting import Mutant

_write = MemoryStorage._write  # noqa: SLF001  # a defect is planted where it would be made


def _write_any(kind: type[Any]) -> Callable[[Any, Any, Undo], None]:
    """A store that takes records of a kind whatever version their writer has read."""

    def write(self: Any, record: Any, undo: Undo) -> None:
        if isinstance(record, kind):
            _put(self._all(kind), (record.merchant_id, record.id), record, undo)
        else:
            _write(self, record, undo)

    return write


def _earned_alone(balances: Mapping[Account, int]) -> int:
    return -balances.get(Account.MERCHANT_BALANCE, 0)


def _facts_of_any_payout(payout: Payout) -> Facts:
    amount = payout.amount.amount_minor
    return Facts(reserved=amount, paid_out=amount if payout.status is PayoutStatus.PAID else 0)


def _told_by_nothing(look: matching.Look) -> frozenset[tuple[str, str]]:
    del look
    return frozenset()


def _explained_by_nothing(*_: object, **__: object) -> Iterator[Any]:
    return iter(())


def _held_whatever_is_left(after: Dispute, *_: object) -> int:
    return after.amount.amount_minor if HOLDINGS[after.state].held else 0


def _refused_if_unclear(*given: Any) -> bool:
    return bool(_tell(*given))


_tell = disputes.Disputes._tell  # noqa: SLF001  # as above


BOOK_MUTANTS: Final = (
    Mutant(
        name="one-balance-twice",
        words="the store takes a payout whatever has been paid out since its balance was read",
        swaps=((MemoryStorage, "_write", _write_any(PayoutPlan)),),
    ),
    Mutant(
        name="unsettled-paid-out",
        words="what the acquirer has not settled yet is paid out",
        swaps=((decisions, "payable_minor", _earned_alone),),
    ),
    Mutant(
        name="failed-payout-kept-aside",
        words="what was set aside for a payout that failed stays aside",
        swaps=((Payout, "facts", property(_facts_of_any_payout)),),
    ),
    Mutant(
        name="line-booked-twice",
        words="a line of a report is booked again when the report is",
        swaps=((matching, "_told", _told_by_nothing),),
    ),
    Mutant(
        name="suspense-kept",
        words="what is in suspense stays there when it is known what it is for",
        swaps=((matching, "_explained", _explained_by_nothing),),
    ),
    Mutant(
        name="report-unguarded",
        words="two who reconcile a report at once do not look at each other",
        swaps=((MemoryStorage, "_write", _write_any(Settlement)),),
    ),
    Mutant(
        name="dispute-beside-refund",
        words="a dispute holds its amount whatever has gone back already",
        swaps=((dispute_steps, "_held", _held_whatever_is_left),),
    ),
    Mutant(
        name="lost-answer-is-refused",
        words="an answer to a dispute that got lost counts as refused",
        swaps=((disputes.Disputes, "_tell", _refused_if_unclear),),
    ),
    Mutant(
        name="forgery-heard",
        words="a notice is heeded whoever has signed it",
        swaps=((simulated, "verify", lambda *_, **__: None),),
    ),
)
"""Every planted defect of the books."""
