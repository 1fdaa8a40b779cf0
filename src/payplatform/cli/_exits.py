"""How the command line ends: one exit code for each class of outcome, and what to do about each.

Law of this file: a code says what the caller does next, as the error's class does. Codes are API:
never renamed, never given a second meaning. The docs render this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

from payplatform.errors import (
    BankUnavailable,
    Conflict,
    Declined,
    ErrorCode,
    InvalidRequest,
    NotAllowed,
    NotFound,
    OutcomeUnknown,
    PayPlatformError,
    StorageUnavailable,
    VaultError,
)


class Exit(IntEnum):
    """What the process tells its caller."""

    OK = 0
    DECLINED = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_ALLOWED = 4
    CONFLICT = 5
    OUTCOME_UNKNOWN = 6
    BANK_UNAVAILABLE = 7
    STORAGE_UNAVAILABLE = 8
    VAULT_ERROR = 9
    DOCTOR_FOUND = 10
    DIFFERENCES = 11
    DEFECT = 70
    INTERRUPTED = 130
    PIPE_CLOSED = 141


EXIT_CODES: Mapping[Exit, str] = MappingProxyType(
    {
        Exit.OK: "done; also when the cardholder has to act first, or the bank will tell later",
        Exit.DECLINED: "the bank declined",
        Exit.USAGE: "the command line, or the request, breaks a rule (InvalidRequest)",
        Exit.NOT_FOUND: "this merchant has no such thing (NotFound)",
        Exit.NOT_ALLOWED: "not in this state, or not at this bank (NotAllowed)",
        Exit.CONFLICT: "somebody else is at it, or the key was used before (Conflict)",
        Exit.OUTCOME_UNKNOWN: "money may have moved: same key again, or recover (OutcomeUnknown)",
        Exit.BANK_UNAVAILABLE: "no money moved: a new key is safe (BankUnavailable)",
        Exit.STORAGE_UNAVAILABLE: "the database failed; nothing was sent (StorageUnavailable)",
        Exit.VAULT_ERROR: "a card could not be sealed or opened (VaultError)",
        Exit.DOCTOR_FOUND: "doctor found something",
        Exit.DIFFERENCES: "reconcile found what the bank and the books do not agree on",
        Exit.DEFECT: "a defect of payplatform itself: look at the payment before going on",
        Exit.INTERRUPTED: "interrupted with Ctrl-C",
        Exit.PIPE_CLOSED: "whoever read the output stopped reading",
    }
)
"""Every exit code, and what it says."""

_BY_CLASS: tuple[tuple[type[PayPlatformError], Exit, str], ...] = (
    (Declined, Exit.DECLINED, "Ask for another card, or follow the advice of the decline."),
    (InvalidRequest, Exit.USAGE, "Correct it and run the command again; nothing was stored."),
    (NotFound, Exit.NOT_FOUND, "Check the id, and whose it is: payplatform list."),
    (
        NotAllowed,
        Exit.NOT_ALLOWED,
        "Nothing was done. payplatform show PAYMENT tells what may follow now.",
    ),
    (Conflict, Exit.CONFLICT, "Nothing was done. Run it again, with the same key."),
    (
        OutcomeUnknown,
        Exit.OUTCOME_UNKNOWN,
        "Repeat it with the same key, or run payplatform recover. Never with a new key.",
    ),
    (
        BankUnavailable,
        Exit.BANK_UNAVAILABLE,
        "No money moved. Try again with a new key: payplatform retry, or leave the key out.",
    ),
    (
        StorageUnavailable,
        Exit.STORAGE_UNAVAILABLE,
        "Nothing was sent to the bank. See to the database file; then again, with the same key.",
    ),
    (
        VaultError,
        Exit.VAULT_ERROR,
        "Nothing was sent to the bank. See to the key file, or to PAYPLATFORM_MASTER_KEY.",
    ),
)

_BY_CODE: Mapping[ErrorCode, str] = MappingProxyType(
    {
        ErrorCode.IDEMPOTENCY_KEY_REUSED: (
            "Nothing was done. For something new leave --idempotency-key out; for a repeat give "
            "exactly what the first one was given."
        ),
        ErrorCode.OPERATION_IN_PROGRESS: (
            "It is being done elsewhere. Run it again in a while, with the same key."
        ),
        ErrorCode.NEEDS_REVIEW: (
            "Neither time nor a repeat will tell: payplatform unresolved says what to ask the "
            "bank, payplatform resolve records what became of it."
        ),
        ErrorCode.CARD_EXPIRED: "Ask for a card that is still good; nothing was stored.",
    }
)


def exit_of(error: PayPlatformError) -> Exit:
    """The exit code for an error: its class decides."""
    return next((code for kind, code, _ in _BY_CLASS if isinstance(error, kind)), Exit.DEFECT)


def hint_of(error: PayPlatformError) -> str:
    """What to do next about an error: its code decides where it has advice of its own."""
    by_class = next((hint for kind, _, hint in _BY_CLASS if isinstance(error, kind)), "")
    return _BY_CODE.get(error.code, by_class)
