"""The rows of the acquirer's books: flat values, a column for each attribute.

Law of this file: what is kept of a card is its brand and last four digits; no column could hold
more. Nothing is translated twice: a row is read back by its own constructor.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from attrs import field, frozen
from attrs.converters import optional

from payplatform._domain.declines import Decline, DeclineCode
from payplatform._domain.disputes import DisputeState
from payplatform._domain.messages import ReplyOutcome, RequestKind
from payplatform._domain.records import Check
from payplatform.banks._test_cards import Refunds


def _moment(value: datetime | str) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


@frozen(kw_only=True)
class Order:
    """A request as it is once the card was read: what the issuer thinks of it, and no number.

    Attributes:
        decline_code: why the card is declined, whatever else is asked; `advice_code` with it.
        challenged: whether the cardholder has to prove who they are first.
        after_challenge: why it is declined even then.
        refunds: what becomes of refunds to this card.
        taken_back: of a card: whether its captures are; of a capture or a refund: whether it is.
        dispute_id: of an answer to a dispute: which one; `evidence` as JSON with it.
        in_part: whether only half is approved.
        forgets: whether the bank has forgotten the operation id, or will forget its reversal.
    """

    kind: RequestKind = field(converter=RequestKind)
    merchant_id: str
    operation_id: str
    amount_minor: int
    currency: str
    target_id: str | None = None
    final: bool = field(default=False, converter=bool)
    brand: str | None = None
    last4: str | None = None
    country: str | None = None
    decline_code: DeclineCode | None = field(default=None, converter=optional(DeclineCode))
    bank_code: str | None = None
    advice_code: str | None = None
    challenged: bool = field(default=False, converter=bool)
    after_challenge: DeclineCode | None = field(default=None, converter=optional(DeclineCode))
    security_code: Check = field(default=Check.NOT_CHECKED, converter=Check)
    postal_code: Check = field(default=Check.NOT_CHECKED, converter=Check)
    dispute_id: str | None = None
    evidence: str | None = None
    refunds: Refunds = field(default=Refunds.APPROVED, converter=Refunds)
    taken_back: bool = field(default=False, converter=bool)
    in_part: bool = field(default=False, converter=bool)
    forgets: bool = field(default=False, converter=bool)

    @property
    def content(self) -> tuple[object, ...]:
        """What must be the same when the same operation id comes again."""
        return tuple(getattr(self, name) for name in ASKED)


# What an order asks, as opposed to what the issuer thinks of its card.
ASKED: Final = (
    "merchant_id",
    "operation_id",
    "kind",
    "amount_minor",
    "currency",
    "target_id",
    "final",
    "brand",
    "last4",
    "dispute_id",
    "evidence",
)


@frozen(kw_only=True)
class Answer(Order):
    """What the bank said to an order, and what is still to come of it.

    Attributes:
        approved_minor: the amount that the answer is about; less than asked if approved in part.
        passed: of a challenge: True, False, or None while nobody has taken it.
        expires_at: until when an authorization holds.
        due_at: when a challenge or a pending refund is decided by itself, what was approved is
            taken back, or what is left of an authorization expires.
    """

    outcome: ReplyOutcome = field(converter=ReplyOutcome)
    approved_minor: int
    reference: str | None = None
    network_transaction_id: str | None = None
    action_url: str | None = None
    passed: bool | None = field(default=None, converter=optional(bool))
    expires_at: datetime | None = field(default=None, converter=optional(_moment))
    due_at: datetime | None = field(default=None, converter=optional(_moment))
    answered_at: datetime = field(converter=_moment)

    @property
    def decline(self) -> Decline | None:
        """Why it was declined, if it was."""
        if self.decline_code is None:
            return None
        return Decline(
            code=self.decline_code, bank_code=self.bank_code, advice_code=self.advice_code
        )


class LineKind(StrEnum):
    """What a line of the books is about.

    `release` is the rest of an authorization that a final capture lets go.
    """

    SALE = "sale"
    AUTHORIZE = "authorize"
    INCREMENT = "increment"
    CAPTURE = "capture"
    RELEASE = "release"
    VOID = "void"
    REFUND = "refund"
    EXPIRY = "expiry"
    PAYOUT = "payout"
    DISPUTE = "dispute"


class LineState(StrEnum):
    """Whether a line counts: `booked`, `pending` (it counts as spent), or `reversed`."""

    BOOKED = "booked"
    PENDING = "pending"
    REVERSED = "reversed"


@frozen(kw_only=True)
class Line:
    """One movement of money, as it stands in the books."""

    merchant_id: str
    authorization_id: str
    operation_id: str
    kind: LineKind = field(converter=LineKind)
    amount_minor: int
    currency: str
    state: LineState = field(default=LineState.BOOKED, converter=LineState)
    brand: str | None
    last4: str | None
    at: datetime = field(converter=_moment)


@frozen(kw_only=True)
class Reversal:
    """An operation id that was reversed, seen or unseen: it will not be done."""

    merchant_id: str
    operation_id: str
    amount_minor: int
    currency: str
    at: datetime = field(converter=_moment)


@frozen(kw_only=True)
class Case:
    """A dispute, as the bank keeps it; its line has the `dispute_id` for an operation id."""

    dispute_id: str
    merchant_id: str
    operation_id: str
    authorization_id: str
    amount_minor: int
    currency: str
    reason_code: str
    state: DisputeState = field(default=DisputeState.OPENED, converter=DisputeState)
    evidence: str | None = None
    evidence_due_at: datetime = field(converter=_moment)


@frozen(kw_only=True)
class Late(Order):
    """An order that is still on its way."""

    number: int
    arrives_at: datetime = field(converter=_moment)


@frozen(kw_only=True)
class Notice(Answer):
    """An answer that the merchant is to be told of, as it was then.

    The fields of a case are those of the dispute that it tells of, if it tells of one.

    Attributes:
        expired_minor: how much of what it approved had expired, where it is told for that.
    """

    number: int
    told_at: datetime = field(converter=_moment)
    expired_minor: int | None = None
    case_state: DisputeState | None = field(default=None, converter=optional(DisputeState))
    case_minor: int | None = None
    reason_code: str | None = None
    evidence_due_at: datetime | None = field(default=None, converter=optional(_moment))
    acknowledged: bool = field(default=False, converter=bool)


@frozen(kw_only=True)
class SigningKey:
    """The secret that notices are signed with; it moves no money, and is worth nothing."""

    number: int = 1
    secret: str = field(repr=False)


@frozen(kw_only=True)
class Movement:
    """Money that has moved for good, or has moved back; never changed, so that reports are not.

    That of a dispute has the `dispute_id` for an operation id, as its line has.
    """

    merchant_id: str
    operation_id: str
    amount_minor: int
    currency: str
    is_reversal: bool = field(default=False, converter=bool)
    is_dispute: bool = field(default=False, converter=bool)
    at: datetime = field(converter=_moment)
