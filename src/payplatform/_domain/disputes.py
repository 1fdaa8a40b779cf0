"""A dispute: the cardholder's bank takes money back, for now or for good.

What it holds follows from where it stands, by one table: so what the bank tells is set and never
added, and a story that is told twice or in another order ends the same. Where it stands is what the
bank told last by the bank's own time; only its first word, `opened`, yields to an answer of ours
that the bank has taken since.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from attrs import frozen

from payplatform._domain.brands import Brand
from payplatform._domain.dispute_reasons import DisputeReason, reason_of
from payplatform._domain.money import Money
from payplatform._domain.payments import Facts


class DisputeState(StrEnum):
    """Where a dispute stands. Of two that the bank tells for one moment, the later here counts."""

    OPENED = "opened"
    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    WON = "won"
    LOST = "lost"
    REVERSED = "reversed"


class _Holding(NamedTuple):
    """Whether the amount is held from the merchant, and whether for good."""

    held: bool
    lost: bool


HOLDINGS: Final[Mapping[DisputeState, _Holding]] = MappingProxyType(
    {
        DisputeState.OPENED: _Holding(held=True, lost=False),
        DisputeState.SUBMITTED: _Holding(held=True, lost=False),
        DisputeState.ACCEPTED: _Holding(held=True, lost=True),
        DisputeState.LOST: _Holding(held=True, lost=True),
        # Decided for the merchant, or given up by the cardholder: all of it comes back.
        DisputeState.WON: _Holding(held=False, lost=False),
        DisputeState.REVERSED: _Holding(held=False, lost=False),
    }
)
"""What each state means for the money."""


@frozen(kw_only=True)
class DisputeNews:
    """What the bank tells of a dispute, as the part of a notice about the disputed operation.

    Attributes:
        dispute_id: the bank's own id of it. One that could be a card number is refused, for none
            may be stored: an adapter writes digits alone in another form.
        state: where the dispute stands at the bank.
        amount: what is disputed in all, not what is added to it now.
        reason_code: the card scheme's own.
        evidence_due_at: until when the bank takes evidence; None where it takes none.
    """

    dispute_id: str
    state: DisputeState
    amount: Money
    reason_code: str
    evidence_due_at: datetime | None = None


class DisputeAnswerKind(StrEnum):
    """What a merchant may do about a dispute."""

    EVIDENCE = "evidence"
    ACCEPTANCE = "acceptance"


@frozen(kw_only=True)
class DisputeAnswer:
    """What the merchant has decided, stored before the bank is told.

    Attributes:
        id: ours, `op_...`; the bank takes one answer of that id once.
        evidence: what is submitted, as pairs of name and text; none for an acceptance.
        next_try_at: when it is sent again, while nobody knows whether the bank has it.
        attempts: how often it was sent again.
        taken_at: when the bank took it.
    """

    id: str
    kind: DisputeAnswerKind
    evidence: tuple[tuple[str, str], ...] = ()
    created_at: datetime
    next_try_at: datetime | None = None
    attempts: int = 0
    taken_at: datetime | None = None


@frozen(kw_only=True)
class Dispute:
    """What the cardholder's bank disputes of a payment.

    Attributes:
        operation_id: the sale or the capture that is disputed.
        bank_dispute_id: the bank's own id of it.
        amount: what is disputed.
        held_minor: what is held for it, in minor units: `amount`, or less where less is left of the
            payment, for money never goes back twice.
        reason_code: the card scheme's own; `reason` says what it comes down to.
        evidence_due_at: until when the bank takes evidence.
        told_state: what the bank told last, for `told_at`, by its own time.
        answer: the merchant's, while it counts.
        next_look_at: when `run_due` looks at it again; None when nothing is due.
        reminded_at: when its deadline was last reminded of.
    """

    id: str
    merchant_id: str
    version: int
    payment_id: str
    operation_id: str
    bank_dispute_id: str
    state: DisputeState
    amount: Money
    held_minor: int
    brand: Brand
    reason_code: str
    evidence_due_at: datetime | None = None
    told_state: DisputeState
    told_at: datetime
    answer: DisputeAnswer | None = None
    next_look_at: datetime | None = None
    reminded_at: datetime | None = None
    created_at: datetime
    updated_at: datetime

    @property
    def reason(self) -> DisputeReason:
        """What the scheme's code comes down to."""
        return reason_of(self.brand, self.reason_code)

    @property
    def held(self) -> Money:
        """What is held for it now."""
        return Money.minor(self.held_minor, self.amount.currency)

    @property
    def facts(self) -> Facts:
        """What it adds to its payment's facts, for as long as it stands where it stands."""
        lost = self.held_minor if HOLDINGS[self.state].lost else 0
        return Facts(disputed=self.held_minor, dispute_lost=lost)

    def is_overdue(self, now: datetime) -> bool:
        """Whether the bank takes no evidence any more."""
        return self.evidence_due_at is not None and now >= self.evidence_due_at
