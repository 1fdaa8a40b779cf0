"""What we say to an acquiring bank, what it says back, and what it declares it can do.

A request that carries a card is never stored, and its repr shows neither number nor security code.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from attrs import field, frozen

from payplatform._domain.cards import Brand
from payplatform._domain.declines import Decline
from payplatform._domain.disputes import (
    Dispute,
    DisputeAnswer,
    DisputeAnswerKind,
    DisputeNews,
)
from payplatform._domain.money import Money
from payplatform._domain.operations import Operation, StoredCredential
from payplatform._domain.payments import Action
from payplatform._domain.records import Check
from payplatform._domain.secret import Secret


class RequestKind(StrEnum):
    """The verbs of the bank port: each operation kind, the reversal that undoes one, and answers.

    The last two answer a dispute.
    """

    SALE = "sale"
    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    INCREMENT = "increment"
    VERIFY = "verify"
    RESUME = "resume"
    PAYOUT = "payout"
    REVERSAL = "reversal"
    SUBMIT_EVIDENCE = "submit_evidence"
    ACCEPT_DISPUTE = "accept_dispute"


@frozen(kw_only=True)
class CardDetails:
    """A card in clear, for the length of one bank call."""

    number: Secret
    brand: Brand
    expiry_month: int
    expiry_year: int
    holder: str | None = field(default=None, repr=False)
    postal_code: str | None = field(default=None, repr=False)
    security_code: Secret | None = None


@frozen(kw_only=True)
class BankRequest:
    """One message to the bank.

    Attributes:
        operation_id: ours; the bank does one `operation_id` once. A REVERSAL names the operation
            that it undoes, whether or not the bank has ever seen it.
        target_id: the authorizing operation that a capture, void, refund, increment or resume
            works on, with the bank's own reference for it in `target_reference`.
        final: of a capture: release the rest of the authorization.
        dispute_id: of an answer to a dispute: the bank's own id of it; `target_id` is then the
            operation that is disputed.
        evidence: of evidence: pairs of name and text.
    """

    kind: RequestKind
    operation_id: str
    merchant_id: str
    amount: Money
    target_id: str | None = None
    target_reference: str | None = None
    final: bool = False
    card: CardDetails | None = None
    stored_credential: StoredCredential | None = None
    reference: str | None = None
    dispute_id: str | None = None
    evidence: tuple[tuple[str, str], ...] = ()


class ReplyOutcome(StrEnum):
    """What the bank says of one operation.

    Of a REVERSAL, APPROVED means: undone, or remembered so that it will never be done.
    NOT_FOUND comes from an inquiry alone, and is not proof that nothing will happen.
    """

    APPROVED = "approved"
    DECLINED = "declined"
    REQUIRES_ACTION = "requires_action"
    PENDING = "pending"
    NOT_FOUND = "not_found"


@frozen(kw_only=True)
class BankReply:
    """The bank's answer; `operation_id` and `amount` are its echo and are compared with ours."""

    operation_id: str
    outcome: ReplyOutcome
    amount: Money | None = None
    reference: str | None = None
    decline: Decline | None = None
    action: Action | None = None
    expires_at: datetime | None = None
    network_transaction_id: str | None = None
    security_code: Check = Check.NOT_CHECKED
    postal_code: Check = Check.NOT_CHECKED


@frozen(kw_only=True)
class BankNotice:
    """What the bank tells of its own accord about one of our operations.

    Attributes:
        id: the bank's; the same when it is delivered again.
        reply: what became of the operation, as an answer to it or to an inquiry would say it.
        at: when it became so, by the bank.
        dispute: where a dispute of the operation stands. What the notice tells is then this and
            nothing else: `reply` names the operation, which stands.
    """

    id: str
    merchant_id: str
    reply: BankReply
    at: datetime
    dispute: DisputeNews | None = None


@frozen(kw_only=True)
class BankCapabilities:
    """What a bank declares. What it cannot do is refused before it is asked.

    Attributes:
        dedups_operation_id_s: for how many seconds sending one operation id again has no second
            effect and tells the same; 0 when it never does, `math.inf` for ever.
        inquiry_by_operation_id: whether `inquire` finds an operation by our id.
        reversal_remembers_unknown: whether reversing an id that it has never seen makes it decline
            that id if it arrives later.
        max_in_flight_s: after so many seconds a request that was sent can no longer arrive;
            `math.inf` where nobody can promise that.
        multi_capture: whether one authorization may be captured in several parts.
        partial_refund: whether less than all that was captured may be refunded.
        partial_void: whether less than all that is uncaptured may be voided.
        increments: whether an authorization may be raised.
        zero_amount_verification: whether it verifies a card without moving money.
        answers_disputes: whether it takes evidence in a dispute, or that the merchant accepts it.
        payouts: whether it pays merchants out, to the bank account that it knows of each.
        authorization_lifetime_s: how long it holds an authorization; its replies say until when.
        currency_exponents: currencies that it counts differently from ISO 4217, which its adapter
            translates; for information.
    """

    dedups_operation_id_s: float = 0.0
    inquiry_by_operation_id: bool = False
    reversal_remembers_unknown: bool = False
    max_in_flight_s: float = 60.0
    multi_capture: bool = False
    partial_refund: bool = False
    partial_void: bool = False
    increments: bool = False
    zero_amount_verification: bool = False
    answers_disputes: bool = False
    payouts: bool = False
    authorization_lifetime_s: float | None = None
    currency_exponents: tuple[tuple[str, int], ...] = ()


def request_for(
    operation: Operation,
    *,
    target: Operation | None,
    card: CardDetails | None = None,
    reference: str | None = None,
) -> BankRequest:
    """The message for an operation: the same bytes each time it is built from the same values."""
    return BankRequest(
        kind=RequestKind(operation.kind),
        operation_id=operation.id,
        merchant_id=operation.merchant_id,
        amount=operation.amount,
        target_id=operation.target_id,
        target_reference=None if target is None else target.bank_reference,
        final=operation.final,
        card=card,
        stored_credential=operation.stored_credential,
        reference=reference,
    )


def reversal_of(operation: Operation) -> BankRequest:
    """The message that undoes an operation, seen or unseen by the bank."""
    return BankRequest(
        kind=RequestKind.REVERSAL,
        operation_id=operation.id,
        merchant_id=operation.merchant_id,
        amount=operation.amount,
        target_id=operation.target_id,
    )


def answer_to(dispute: Dispute, answer: DisputeAnswer) -> BankRequest:
    """The message for an answer to a dispute: the same bytes each time."""
    return BankRequest(
        kind=_ANSWERS[answer.kind],
        operation_id=answer.id,
        merchant_id=dispute.merchant_id,
        amount=dispute.amount,
        target_id=dispute.operation_id,
        dispute_id=dispute.bank_dispute_id,
        evidence=answer.evidence,
    )


_ANSWERS = {
    DisputeAnswerKind.EVIDENCE: RequestKind.SUBMIT_EVIDENCE,
    DisputeAnswerKind.ACCEPTANCE: RequestKind.ACCEPT_DISPUTE,
}
