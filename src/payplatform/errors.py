"""Every error payplatform raises, and the code each one carries.

The class says what the caller does about it; `.code` says why; `.retryable` says whether the very
same call may simply be made again. A decline is not here: the bank saying no is an outcome, a value
(`Declined` exists for those who ask for it with `raise_for_decline()`).

    PayPlatformError
    ├── InvalidRequest         the call breaks a rule: correct the named field. Nothing was stored.
    ├── NotFound               no such thing for this merchant. Another merchant's looks the same.
    ├── NotAllowed             the payment's state, or the bank, does not allow it now.
    │   └── LimitExceeded      asked too often, or of a card that is refused: see `.retry_after`.
    ├── Conflict               somebody else is at it: see the code for what to do.
    ├── Declined               the bank said no, and the caller asked for an exception.
    ├── OutcomeUnknown         money may have moved: same key again, or recover(). Never a new key.
    ├── BankUnavailable        no money moved, or it was given back: a new key is safe.
    ├── StorageUnavailable     the store failed.
    │   ├── StorageBusy        it was busy; nothing was done.
    │   └── CommitUncertain    a commit failed so that nobody knows whether it took place.
    ├── VaultError             card data could not be sealed or opened.
    │   ├── VaultUnavailable   the key service does not answer; nothing was written.
    │   └── VaultIntegrityError  a sealed record, or a key, is not what was stored.
    ├── NotAuthentic           what came in is not proved to be the bank's: nothing was read.
    └── NotSent                for bank adapters alone: proof that not one byte left.

No message holds a card number, a security code or a value the caller handed in for one.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar


class ErrorCode(StrEnum):
    """Why a call failed. Codes are API: never renamed, never given a second meaning."""

    # of InvalidRequest, any argument
    TYPE_INVALID = "type_invalid"
    VALUE_INVALID = "value_invalid"
    TEXT_EMPTY = "text_empty"
    TEXT_TOO_LONG = "text_too_long"
    TEXT_NOT_PRINTABLE = "text_not_printable"
    LOOKS_LIKE_CARD_NUMBER = "looks_like_card_number"
    METADATA_TOO_LARGE = "metadata_too_large"
    ID_MALFORMED = "id_malformed"
    ID_WRONG_KIND = "id_wrong_kind"
    IDEMPOTENCY_KEY_INVALID = "idempotency_key_invalid"
    # of InvalidRequest, money
    AMOUNT_INVALID = "amount_invalid"
    AMOUNT_NOT_POSITIVE = "amount_not_positive"
    AMOUNT_TOO_LARGE = "amount_too_large"
    AMOUNT_TOO_PRECISE = "amount_too_precise"
    CURRENCY_UNKNOWN = "currency_unknown"
    CURRENCY_MISMATCH = "currency_mismatch"
    # of InvalidRequest, notices
    NOTICE_MALFORMED = "notice_malformed"
    NOTICE_TOO_LARGE = "notice_too_large"
    # of InvalidRequest, settlement reports
    REPORT_MALFORMED = "report_malformed"
    REPORT_CHANGED = "report_changed"
    REPORT_OF_ANOTHER = "report_of_another"
    # of InvalidRequest, cards
    CARD_NUMBER_INVALID = "card_number_invalid"
    CARD_NUMBER_LENGTH = "card_number_length"
    CARD_NUMBER_CHECK_DIGIT = "card_number_check_digit"
    CARD_EXPIRY_INVALID = "card_expiry_invalid"
    CARD_EXPIRED = "card_expired"
    SECURITY_CODE_INVALID = "security_code_invalid"
    SECURITY_CODE_NOT_ALLOWED = "security_code_not_allowed"
    # of NotFound
    NOT_FOUND = "not_found"
    # of NotAllowed
    OPERATION_OPEN = "operation_open"
    ALREADY_AUTHORIZED = "already_authorized"
    NOT_AUTHORIZED = "not_authorized"
    NOTHING_TO_VOID = "nothing_to_void"
    NOT_CAPTURED = "not_captured"
    NO_ACTION_REQUIRED = "no_action_required"
    AUTHORIZATION_EXPIRED = "authorization_expired"
    AMOUNT_EXCEEDS_CAPTURABLE = "amount_exceeds_capturable"
    AMOUNT_EXCEEDS_VOIDABLE = "amount_exceeds_voidable"
    AMOUNT_EXCEEDS_REFUNDABLE = "amount_exceeds_refundable"
    AMOUNT_EXCEEDS_PAYABLE = "amount_exceeds_payable"
    AMOUNT_BELOW_MINIMUM = "amount_below_minimum"
    NOT_SUPPORTED_BY_BANK = "not_supported_by_bank"
    NO_STORED_CREDENTIAL = "no_stored_credential"
    NOT_IN_REVIEW = "not_in_review"
    CONTRADICTS_BOOKS = "contradicts_books"
    DISPUTE_NOT_OPEN = "dispute_not_open"
    DISPUTE_ANSWERED = "dispute_answered"
    DISPUTE_ANSWER_REFUSED = "dispute_answer_refused"
    EVIDENCE_OVERDUE = "evidence_overdue"
    REVEAL_NOT_ALLOWED = "reveal_not_allowed"
    CLIENT_CLOSED = "client_closed"
    # of LimitExceeded
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    TOO_MANY_DECLINES = "too_many_declines"
    TOO_MANY_CARDS = "too_many_cards"
    RETRIES_EXHAUSTED = "retries_exhausted"
    CARD_REFUSED_FOR_GOOD = "card_refused_for_good"
    # of Conflict
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    OPERATION_IN_PROGRESS = "operation_in_progress"
    VERSION_CONFLICT = "version_conflict"
    # of Declined
    DECLINED = "declined"
    # of OutcomeUnknown
    OUTCOME_UNKNOWN = "outcome_unknown"
    NEEDS_REVIEW = "needs_review"
    # of BankUnavailable
    NOT_SENT = "not_sent"
    ABORTED = "aborted"
    # of StorageUnavailable
    STORAGE_UNAVAILABLE = "storage_unavailable"
    STORAGE_BUSY = "storage_busy"
    STORAGE_FULL = "storage_full"
    STORAGE_READ_ONLY = "storage_read_only"
    STORAGE_CORRUPT = "storage_corrupt"
    STORAGE_REFUSED = "storage_refused"
    STORAGE_SCHEMA_NEWER = "storage_schema_newer"
    STORAGE_SETTINGS = "storage_settings"
    COMMIT_UNCERTAIN = "commit_uncertain"
    EVENTS_ARCHIVED = "events_archived"
    LIMITER_UNAVAILABLE = "limiter_unavailable"
    # of VaultError
    VAULT_UNAVAILABLE = "vault_unavailable"
    VAULT_INTEGRITY = "vault_integrity"
    VAULT_KEY_MISSING = "vault_key_missing"
    VAULT_KEY_INVALID = "vault_key_invalid"
    VAULT_KEY_REFUSED = "vault_key_refused"
    # of NotAuthentic
    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_INVALID = "signature_invalid"
    SIGNATURE_STALE = "signature_stale"


_RETRYABLE = frozenset(
    {
        ErrorCode.OPERATION_IN_PROGRESS,
        ErrorCode.VERSION_CONFLICT,
        ErrorCode.OUTCOME_UNKNOWN,
        ErrorCode.STORAGE_UNAVAILABLE,
        ErrorCode.STORAGE_BUSY,
        ErrorCode.STORAGE_FULL,
        ErrorCode.COMMIT_UNCERTAIN,
        ErrorCode.LIMITER_UNAVAILABLE,
        ErrorCode.VAULT_UNAVAILABLE,
    }
)


class PayPlatformError(Exception):
    """The root of the tree.

    Args:
        message: one sentence for a developer's log; holds no secret.
        code: why, for programs; each class has one it falls back to.
        field: the argument that broke a rule, where there is one.
        operation_id: the operation it is about, where there is one.
        payment_id: the payment it is about, where there is one.
    """

    default_code: ClassVar[ErrorCode] = ErrorCode.VALUE_INVALID

    def __init__(
        self,
        message: str,
        *,
        code: ErrorCode | None = None,
        field: str | None = None,
        operation_id: str | None = None,
        payment_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = self.default_code if code is None else code
        self.field = field
        self.operation_id = operation_id
        self.payment_id = payment_id

    @property
    def retryable(self) -> bool:
        """Whether the very same call, with the same key, may simply be made again."""
        return self.code in _RETRYABLE

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, code={self.code.value!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own way back calls the class with positional arguments alone.
        return _restored, (type(self), dict(self.__dict__))


def _restored(kind: type[PayPlatformError], state: dict[str, Any]) -> PayPlatformError:
    error = kind.__new__(kind, state["message"])
    error.__dict__.update(state)
    return error


class InvalidRequest(PayPlatformError):
    """The call breaks a rule that no state can change. Correct `.field`. Nothing was stored."""


class NotFound(PayPlatformError):
    """No such thing for this merchant; whether another merchant has it is never told."""

    default_code = ErrorCode.NOT_FOUND


class NotAllowed(PayPlatformError):
    """Not in this state, or not at this bank. `payment.allowed_operations` tells what is."""

    default_code = ErrorCode.OPERATION_OPEN


class LimitExceeded(NotAllowed):
    """Asked too often, or of a card that is refused. Nothing was sent, and nothing was stored.

    `.retry_after` is how long to wait before the same call, with the same key, may be made again;
    None where no waiting helps.
    """

    default_code = ErrorCode.TOO_MANY_ATTEMPTS

    def __init__(
        self,
        message: str,
        *,
        code: ErrorCode,
        retry_after: timedelta | None,
        payment_id: str | None = None,
    ) -> None:
        super().__init__(message, code=code, payment_id=payment_id)
        self.retry_after = retry_after


class Conflict(PayPlatformError):
    """Somebody else is at it.

    `idempotency_key_reused`: this key belongs to another request; use a new key for a new intent.
    `operation_in_progress`: this very request is running; ask again later with the same key.
    `version_conflict`: others kept changing the same record; nothing was done, call again.
    """

    default_code = ErrorCode.VERSION_CONFLICT


class Declined(PayPlatformError):
    """The bank said no; raised by `raise_for_decline()` and nothing else.

    `.decline` is the decline itself, with its code, kind and advice.
    """

    default_code = ErrorCode.DECLINED

    def __init__(self, message: str, *, decline: Any, payment_id: str | None = None) -> None:
        super().__init__(message, payment_id=payment_id)
        self.decline = decline


class OutcomeUnknown(PayPlatformError):
    """Money may have moved: call again with the same key, or `recover()`; never with a new key."""

    default_code = ErrorCode.OUTCOME_UNKNOWN


class BankUnavailable(PayPlatformError):
    """The operation came to nothing: no money moved, or it was given back. A new key is safe.

    `not_sent`: not one byte reached the bank. `aborted`: the answer never came, and the bank has
    confirmed the reversal. `.retryable` is false because the same key tells the same for ever.
    """

    default_code = ErrorCode.NOT_SENT


class StorageUnavailable(PayPlatformError):
    """The store failed. Nothing was sent to the bank by the call that raises this."""

    default_code = ErrorCode.STORAGE_UNAVAILABLE


class StorageBusy(StorageUnavailable):
    """The store was busy for longer than its timeout. Nothing was done; call again."""

    default_code = ErrorCode.STORAGE_BUSY


class CommitUncertain(StorageUnavailable):
    """A commit failed so that nobody knows whether it took place. Read again to find out."""

    default_code = ErrorCode.COMMIT_UNCERTAIN


class VaultError(PayPlatformError):
    """Card data could not be sealed or opened. Nothing was written and nothing was revealed."""

    default_code = ErrorCode.VAULT_INTEGRITY


class VaultUnavailable(VaultError):
    """The key service does not answer, has no key, or refuses its use. Nothing was written."""

    default_code = ErrorCode.VAULT_UNAVAILABLE


class VaultIntegrityError(VaultError):
    """A sealed record or a wrapped key is not what was stored: altered, moved, or another key's."""

    default_code = ErrorCode.VAULT_INTEGRITY


class NotAuthentic(PayPlatformError):
    """What came in is not proved to be the bank's, or not from now. Nothing was made of it.

    Answer it as a refusal. `signature_stale`: the bank signs each delivery anew, so that one which
    is kept from it and sent later is not taken; and a clock that is wrong shows here first.
    """

    default_code = ErrorCode.SIGNATURE_INVALID


class NotSent(PayPlatformError):
    """Raised by a bank adapter that can prove that not one byte of the request left.

    Anything else an adapter raises is ambiguous. When in doubt, do not raise this.
    """

    default_code = ErrorCode.NOT_SENT
