"""One request to the bank, and the state machine it goes through.

The table is the machine: what `TRANSITIONS` does not list is illegal and changes nothing. The
diagram in the docs is drawn from it. A rule that hides in an `if` elsewhere is a defect: split the
trigger instead.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from attrs import field, frozen

from payplatform._domain.declines import Decline
from payplatform._domain.money import Money


class OperationKind(StrEnum):
    """What the bank is asked to do. Also the names of what may follow: `allowed_operations`."""

    SALE = "sale"
    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    INCREMENT = "increment"
    VERIFY = "verify"
    RESUME = "resume"
    PAYOUT = "payout"

    @property
    def noun(self) -> str:
        """What a sentence calls it: the authorization, the refund."""
        return _NOUNS.get(self, self.value)

    @property
    def carries_card(self) -> bool:
        """Whether the request holds the card and, maybe, its security code."""
        return self in _CARRIES_CARD

    @property
    def may_be_resent(self) -> bool:
        """Whether the same request may be sent again after an unclear answer.

        Never what carries a card: PCI DSS v4.0.1 3.3.1 forbids keeping the security code that the
        same request would need. An increment is treated alike. They are inquired about, else
        reversed.
        """
        return self in _MAY_BE_RESENT


STARTING_KINDS = (OperationKind.SALE, OperationKind.AUTHORIZE)
"""The kinds that start a payment; the bank knows the rest by the one that started it."""

_NOUNS = {
    OperationKind.AUTHORIZE: "authorization",
    OperationKind.VERIFY: "verification",
    OperationKind.RESUME: "resumption",
}
_CARRIES_CARD = frozenset({*STARTING_KINDS, OperationKind.VERIFY})
_MAY_BE_RESENT = frozenset(
    {
        OperationKind.CAPTURE,
        OperationKind.VOID,
        OperationKind.REFUND,
        OperationKind.RESUME,
        OperationKind.PAYOUT,
    }
)
_WITHOUT_PAYMENT = frozenset({OperationKind.VERIFY, OperationKind.PAYOUT})


class OperationState(StrEnum):
    """Where an operation stands."""

    IN_FLIGHT = "in_flight"
    IN_DOUBT = "in_doubt"
    REQUIRES_ACTION = "requires_action"
    PENDING = "pending"
    REVERSING = "reversing"
    NEEDS_REVIEW = "needs_review"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    ABORTED = "aborted"
    REVERSED = "reversed"

    @property
    def is_final(self) -> bool:
        """Whether nothing is left to find out: no money is reserved by it any more."""
        return self in FINAL_STATES


ANSWERED_STATES = frozenset(
    {
        OperationState.SUCCEEDED,
        OperationState.DECLINED,
        OperationState.REVERSED,
        OperationState.REQUIRES_ACTION,
        OperationState.PENDING,
    }
)
"""States in which the caller has been told something, and is told the same again."""

UNRESOLVED_STATES = frozenset(
    {OperationState.IN_DOUBT, OperationState.REVERSING, OperationState.NEEDS_REVIEW}
)
"""States in which nobody knows whether money has moved."""

FINAL_STATES = frozenset(
    {
        OperationState.SUCCEEDED,
        OperationState.DECLINED,
        OperationState.ABORTED,
        OperationState.REVERSED,
    }
)


class Trigger(StrEnum):
    """What can happen to an operation."""

    APPROVED = "approved"
    DECLINED = "declined"
    ACTION_REQUIRED = "action_required"
    LEFT_PENDING = "left_pending"
    NOT_SENT = "not_sent"
    UNCLEAR = "unclear"
    REVERSAL_DECIDED = "reversal_decided"
    REVERSAL_CONFIRMED = "reversal_confirmed"
    GIVEN_UP = "given_up"
    RESOLVED_SUCCEEDED = "resolved_succeeded"
    RESOLVED_DECLINED = "resolved_declined"
    RESOLVED_ABORTED = "resolved_aborted"
    TAKEN_BACK = "taken_back"
    LATE_APPROVAL = "late_approval"


_S, _T = OperationState, Trigger

TRANSITIONS: dict[tuple[OperationState, Trigger], OperationState] = {
    # The first answer. Only here can "not sent" prove that no money moved.
    (_S.IN_FLIGHT, _T.APPROVED): _S.SUCCEEDED,
    (_S.IN_FLIGHT, _T.DECLINED): _S.DECLINED,
    (_S.IN_FLIGHT, _T.ACTION_REQUIRED): _S.REQUIRES_ACTION,
    (_S.IN_FLIGHT, _T.LEFT_PENDING): _S.PENDING,
    (_S.IN_FLIGHT, _T.NOT_SENT): _S.ABORTED,
    (_S.IN_FLIGHT, _T.UNCLEAR): _S.IN_DOUBT,
    (_S.IN_FLIGHT, _T.REVERSAL_DECIDED): _S.REVERSING,
    (_S.IN_FLIGHT, _T.GIVEN_UP): _S.NEEDS_REVIEW,
    # Money may have moved.
    (_S.IN_DOUBT, _T.APPROVED): _S.SUCCEEDED,
    (_S.IN_DOUBT, _T.DECLINED): _S.DECLINED,
    (_S.IN_DOUBT, _T.ACTION_REQUIRED): _S.REQUIRES_ACTION,
    (_S.IN_DOUBT, _T.LEFT_PENDING): _S.PENDING,
    (_S.IN_DOUBT, _T.UNCLEAR): _S.IN_DOUBT,
    (_S.IN_DOUBT, _T.REVERSAL_DECIDED): _S.REVERSING,
    (_S.IN_DOUBT, _T.GIVEN_UP): _S.NEEDS_REVIEW,
    # The cardholder has to prove who they are.
    (_S.REQUIRES_ACTION, _T.APPROVED): _S.SUCCEEDED,
    (_S.REQUIRES_ACTION, _T.DECLINED): _S.DECLINED,
    (_S.REQUIRES_ACTION, _T.ACTION_REQUIRED): _S.REQUIRES_ACTION,
    (_S.REQUIRES_ACTION, _T.LEFT_PENDING): _S.PENDING,
    (_S.REQUIRES_ACTION, _T.UNCLEAR): _S.REQUIRES_ACTION,
    (_S.REQUIRES_ACTION, _T.GIVEN_UP): _S.NEEDS_REVIEW,
    # The bank will tell later.
    (_S.PENDING, _T.APPROVED): _S.SUCCEEDED,
    (_S.PENDING, _T.DECLINED): _S.DECLINED,
    (_S.PENDING, _T.LEFT_PENDING): _S.PENDING,
    (_S.PENDING, _T.UNCLEAR): _S.PENDING,
    (_S.PENDING, _T.GIVEN_UP): _S.NEEDS_REVIEW,
    # Decided and stored before the reversal is sent: from here no answer leads back to success.
    (_S.REVERSING, _T.REVERSAL_CONFIRMED): _S.ABORTED,
    (_S.REVERSING, _T.UNCLEAR): _S.REVERSING,
    (_S.REVERSING, _T.GIVEN_UP): _S.NEEDS_REVIEW,
    # A person decides, and says why.
    (_S.NEEDS_REVIEW, _T.RESOLVED_SUCCEEDED): _S.SUCCEEDED,
    (_S.NEEDS_REVIEW, _T.RESOLVED_DECLINED): _S.DECLINED,
    (_S.NEEDS_REVIEW, _T.RESOLVED_ABORTED): _S.ABORTED,
    # The bank takes it back after all: a refund that bounces, a capture that fails late.
    (_S.SUCCEEDED, _T.TAKEN_BACK): _S.REVERSED,
    # The bank's approval comes in when the operation was long taken for void: both can't be true.
    (_S.DECLINED, _T.LATE_APPROVAL): _S.NEEDS_REVIEW,
    (_S.ABORTED, _T.LATE_APPROVAL): _S.NEEDS_REVIEW,
}


def next_state(state: OperationState, trigger: Trigger) -> OperationState | None:
    """The state that `trigger` leads to from `state`, or None where the table does not list it."""
    return TRANSITIONS.get((state, trigger))


class Doubt(StrEnum):
    """Why it is not known what became of an operation: an answer that proves nothing, or too much.

    An operation's `reason` is one of these, or says in what a call of the bank ended.
    """

    TOO_LATE = "the lease had run out before it was to be sent"
    OUT_OF_PLACE = "the bank's answer does not fit what it said before"
    NO_REPLY = "the bank's answer is not a reply"
    OTHER_OPERATION = "the bank's answer names another operation"
    OTHER_AMOUNT = "the bank's answer is about another amount"
    MALFORMED = "the bank's answer is malformed"
    ACTION_OUT_OF_PLACE = "the bank asks for an action where none is possible"
    ACTION_MISSING = "the bank asks for an action and does not say which"
    NOT_FOUND = "the bank does not know the operation"
    NOT_REVERSED = "the bank did not confirm the reversal"
    REVERSAL_DECLINED = "the bank declined the reversal"
    APPROVED_AFTER_DECLINE = "the bank approved it after it was declined"
    APPROVED_AFTER_ABORT = "the bank approved it after it was aborted"


LATE_APPROVALS = {
    OperationState.DECLINED: Doubt.APPROVED_AFTER_DECLINE,
    OperationState.ABORTED: Doubt.APPROVED_AFTER_ABORT,
}
"""What is contradicted when the bank approves an operation that was in this state."""


_NEXT_STEPS = {
    OperationState.IN_FLIGHT: "Nothing: its caller is at it. Should that one have died, recover() "
    "looks at it {when}.",
    OperationState.IN_DOUBT: "Nothing by hand: recover() asks the bank {when}, and so does the "
    "same call with the same key. Never ask with a new key.",
    OperationState.REQUIRES_ACTION: "Have the cardholder open the page that the payment's action "
    "names, then call resume().",
    OperationState.PENDING: "Nothing: the bank tells the outcome later; recover() asks {when}.",
    OperationState.REVERSING: "Nothing by hand: recover() asks the bank to undo it {when}. Until "
    "that is confirmed, money may have moved.",
}

_REVIEWS: dict[str | None, str] = {
    **dict.fromkeys(
        LATE_APPROVALS.values(),
        "The bank has said two things, and one is true: have it look at {id}, and answer in "
        "writing. It moved the money: resolve it as succeeded. It did not, or gives it back, as it "
        "must if this was paid for in another way since: as aborted.",
    ),
    Doubt.REVERSAL_DECLINED: "The bank has it and does not undo it: ask why, and name {id}. The "
    "money stays moved: resolve it as succeeded, then give back what nobody wants. The bank undoes "
    "it after all: as aborted.",
    Doubt.OTHER_AMOUNT: "The bank has {id} under another amount than {amount}: have it put that "
    "right. It does: resolve it as succeeded. It takes it back instead: as aborted.",
}
_REVIEW = (
    "Look for {id}, the {noun} of {amount}, in the bank's statement from {day} on, or ask the "
    "bank. It is there: resolve it as succeeded. The bank has refused it: as declined. It is not "
    "there, and the bank says that it cannot come any more: as aborted."
)


class Initiator(StrEnum):
    """Who starts a payment with a stored card: the cardholder, or the merchant on an agreement."""

    CUSTOMER = "customer"
    MERCHANT = "merchant"


@frozen(kw_only=True)
class StoredCredential:
    """What the card schemes ask to be told about a card on file.

    Source: Visa and Mastercard stored-credential frameworks: who initiates, first or later use, and
    for a later one the network's id of the first transaction.
    """

    initiator: Initiator
    first_use: bool
    network_transaction_id: str | None = None


@frozen(kw_only=True)
class Operation:
    """One request to the bank: ours to name, to send, to find again.

    `id` is also the bank's idempotency key and the handle for inquiry and reversal; the merchant's
    own key never leaves us, so merchants cannot collide. `epoch` is the fencing number: every
    committed change raises it by one, and a writer whose number is stale writes nothing.

    Attributes:
        subject_id: the payment; the payment method for a verification, the payout for a payout.
        target_id: the operation at the bank that this one works on; None for one that starts.
        lease_until: until then the caller who claimed it is presumed alive.
        next_try_at: when recovery looks at it again; None when nothing is due.
        attempts: how often recovery has asked the bank since the first send.
        reason: why it is in doubt or in review, in words without secrets.
        card_fingerprint: of the card it carries, while it is open and once it is declined: the
            card networks count declines. None for one that carries none, or that went through.
        settlement_id: the bank's report that has told of it last; None while none has.
    """

    id: str
    merchant_id: str
    subject_id: str
    kind: OperationKind
    state: OperationState
    amount: Money
    epoch: int
    idempotency_key: str
    fingerprint: bytes = field(repr=False)
    target_id: str | None = None
    final: bool = False
    stored_credential: StoredCredential | None = None
    created_at: datetime
    updated_at: datetime
    lease_until: datetime
    next_try_at: datetime | None = None
    attempts: int = 0
    bank_reference: str | None = None
    decline: Decline | None = None
    reason: str | None = None
    card_fingerprint: bytes | None = field(default=None, repr=False)
    settlement_id: str | None = None

    @property
    def payment_id(self) -> str | None:
        """The payment that it is about; a verification and a payout are about none."""
        return None if self.kind in _WITHOUT_PAYMENT else self.subject_id

    @property
    def version(self) -> int:
        """The guard that every stored record has; an operation's is its epoch."""
        return self.epoch

    def is_held(self, now: datetime) -> bool:
        """Whether the caller who claimed it is presumed alive."""
        is_claimed = self.state is OperationState.IN_FLIGHT and self.lease_until > now
        return is_claimed and not self.is_ahead_of(now)

    def is_due(self, now: datetime) -> bool:
        """Whether recovery may look at it now."""
        if self.next_try_at is None:
            return False
        return self.next_try_at <= now or self.is_ahead_of(now)

    def is_ahead_of(self, now: datetime) -> bool:
        """Whether it was written under a clock that was wrong: then its times count for nothing.

        Nobody is waited for until that time comes; whoever is still at it is fenced off.
        """
        return self.updated_at > now + _CLOCKS_PART

    @property
    def known(self) -> tuple[str, ...]:
        """What is known, a sentence each: what was asked, when, and what the bank said last."""
        reference = self.bank_reference or "unknown"
        return (
            f"A {self.kind.noun} of {self.amount} for {self.subject_id}, {self.state}.",
            f"First asked for on {_moment(self.created_at)}, with the key {self.idempotency_key}.",
            f"Asked again by recovery: {self.attempts}; last {_moment(self.updated_at)}.",
            f"Its name at the bank is {self.id}; the bank's own reference is {reference}.",
            f"Last of all: {self.reason or 'nothing was heard'}.",
        )

    @property
    def next_step(self) -> str:
        """What is to be done about it, and by whom; for review, which finding is which outcome."""
        if self.state is OperationState.NEEDS_REVIEW:
            step = _REVIEWS.get(self.reason, _REVIEW)
        else:
            step = _NEXT_STEPS.get(self.state, "Nothing: it is settled.")
        return step.format(
            id=self.id,
            noun=self.kind.noun,
            amount=self.amount,
            day=f"{self.created_at:%Y-%m-%d}",
            when=f"on {_moment(self.next_try_at)}" if self.next_try_at else "when it is due",
        )


_CLOCKS_PART = timedelta(hours=1)
"""By how much two clocks that are right may differ: far more than a lease, in case of doubt."""


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


@frozen(kw_only=True)
class OpenOperation:
    """What a payment needs to know of an operation that is not final: it counts as spent."""

    id: str
    kind: OperationKind
    state: OperationState
    amount_minor: int
    final: bool = False
