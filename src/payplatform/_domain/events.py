"""What we tell the merchant: one event for each committed change, numbered without a gap.

The type is the operation's kind and what became of it, so the closed set is the product of the two
plus what happens to a payment or a payment method outside of any operation. Types are API.
"""

from __future__ import annotations

from datetime import datetime
from itertools import product

from attrs import field, fields_dict, frozen

from payplatform._domain.money import Money, plain
from payplatform._domain.operations import OperationKind, OperationState
from payplatform._domain.payments import NO_CHANGE, Facts

_STEPS = {
    "started": "was started; the amount is reserved",
    "succeeded": "succeeded",
    "declined": "was declined by the bank",
    "requires_action": "waits for the cardholder to prove who they are",
    "pending": "was accepted; the bank will tell the outcome later",
    "in_doubt": "got no clear answer; money may have moved",
    "reversing": "is being reversed at the bank",
    "aborted": "came to nothing; no money moved, or it was given back",
    "needs_review": "needs a person to decide",
    "reversed": "was taken back by the bank",
    "late_answer": "was answered after somebody else had taken it over; nothing was changed",
    "contradicted": "was contradicted by the bank, too late to be followed; nothing was changed, "
    "and a person has to look",
}

_OTHERS = {
    "payment.expired": "the authorization expired; what was not captured is released",
    "payment.settled": "the bank has settled it, less what the bank keeps",
    "payment.settlement_reversed": "the bank has settled that it took it back",
    "settlement.opened": "the bank's settlement report was taken, and is being booked",
    "settlement.suspended": "a line matches nothing here; its money is in suspense",
    "settlement.explained": "what a line is for is known; its money has left suspense",
    "dispute.settled": "the bank has settled what the dispute holds, or gives back",
    "dispute.opened": "the cardholder's bank disputes it and has taken the amount back, for now",
    "dispute.updated": "the bank told of the dispute anew",
    "dispute.answer_started": "an answer to the dispute is on its way to the bank",
    "dispute.answer_repeated": "the answer to the dispute is sent again; nobody knows of the first",
    "dispute.answer_refused": "the bank does not take the answer to the dispute",
    "dispute.submitted": "the bank has the evidence in the dispute",
    "dispute.accepted": "the dispute was accepted; the amount is lost",
    "dispute.evidence_due": "the deadline for evidence in the dispute is near",
    "dispute.evidence_overdue": "the deadline for evidence in the dispute has passed",
    "dispute.won": "the dispute was won; the amount comes back",
    "dispute.lost": "the dispute was lost, and so is the amount",
    "dispute.reversed": "the dispute was taken back; the amount comes back",
    "payment_method.created": "the card was stored",
    "payment_method.updated": "the card's details were updated",
    "payment_method.agreed": "the first payment with the stored card went through",
    "payment_method.rekeyed": "the card is recognised by a new key; nothing else changed",
    "payment_method.allowed_again": "a person allowed the card again in spite of its declines",
    "payment_method.deleted": "the card was deleted",
}

EVENT_TYPES: dict[str, str] = {
    f"{kind}.{step}": f"the {kind.noun} {text}"
    for kind, (step, text) in product(OperationKind, _STEPS.items())
} | _OTHERS
"""Every event type there is, each with what it says in words."""


@frozen(kw_only=True)
class Totals:
    """What a payment's amounts had come to when an event had happened.

    Attributes:
        capturable: what was left to capture, less what was under way.
        refundable: what was left to refund, less what was under way.
    """

    authorized: Money
    captured: Money
    voided: Money
    expired: Money
    refunded: Money
    disputed: Money
    capturable: Money
    refundable: Money


@frozen(kw_only=True)
class Event:
    """What happened, to which payment or payment method, and what it changed.

    Attributes:
        number: 1, 2, 3 ... for each subject, without a gap; equals the subject's version then.
        type: one of `EVENT_TYPES`.
        change: what it added to the payment's facts, in minor units; all zero for most.
        details: what else is worth knowing, as text: a decline's code, a reviewer and a reason.
        totals: what the payment's amounts came to; in a timeline. Never stored, never compared.
    """

    id: str
    merchant_id: str
    subject_id: str
    number: int
    type: str
    at: datetime
    operation_id: str | None = None
    amount: Money | None = None
    change: Facts = NO_CHANGE
    details: tuple[tuple[str, str], ...] = ()
    totals: Totals | None = field(default=None, eq=False)

    @property
    def effects(self) -> tuple[tuple[str, Money], ...]:
        """Each amount of the payment that it changed, and by how much."""
        if self.amount is None:
            return ()
        changes = ((name, getattr(self.change, name)) for name in fields_dict(Facts))
        currency = self.amount.currency
        return tuple((name, Money.minor(by, currency)) for name, by in changes if by)

    @property
    def state(self) -> OperationState | None:
        """Where its operation was after it; None where it moved none."""
        kind, _, step = self.type.partition(".")
        return _STATES.get(step) if kind in _KINDS else None

    @property
    def words(self) -> str:
        """What happened, with its amount and details, in words."""
        return self._told("")

    def __str__(self) -> str:
        effects = ", ".join(f"{name} {signed(money)}" for name, money in self.effects)
        return self._told(f": {effects}" if effects else "")

    def _told(self, effects: str) -> str:
        amount = f" ({self.amount})" if self.amount else ""
        details = "".join(f"; {name}: {value}" for name, value in self.details)
        return f"{EVENT_TYPES[self.type]}{amount}{effects}{details}"


def signed(change: Money) -> str:
    """A change of an amount, such as `+5.00`."""
    return ("+" if change.amount_minor > 0 else "") + plain(change)


_KINDS = frozenset(OperationKind)
_STATES = {"started": OperationState.IN_FLIGHT, **{str(state): state for state in OperationState}}
