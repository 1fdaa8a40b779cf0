"""payplatform: take card payments from inside your own code, and stay right when anything fails."""

from importlib import import_module
from typing import TYPE_CHECKING

from payplatform._domain.archives import ArchiveReport
from payplatform._domain.audit import AuditEntry, AuditKind, AuditOutcome, ChainHead, ChainReport
from payplatform._domain.cards import Brand, Card
from payplatform._domain.declines import Advice, Decline, DeclineCode, DeclineKind
from payplatform._domain.dispute_reasons import DisputeReason
from payplatform._domain.disputes import Dispute, DisputeState
from payplatform._domain.events import Event
from payplatform._domain.fees import FeeKind, FeeRate, FeeSchedule
from payplatform._domain.ledger import Account, Entry, Posting
from payplatform._domain.limits import Limit, RetryRule
from payplatform._domain.money import Money
from payplatform._domain.notices import Notice, NoticeState
from payplatform._domain.operations import Initiator, Operation, OperationKind, OperationState
from payplatform._domain.payments import Action, Payment, PaymentStatus
from payplatform._domain.payouts import Payout, PayoutInterval, PayoutPlan, PayoutStatus
from payplatform._domain.records import Customer, Merchant, PaymentMethod, Verification
from payplatform._domain.settlements import Difference, DifferenceKind, Reconciliation
from payplatform._domain.statements import CurrencyStatement, Month, Statement
from payplatform._engine.disputes import DisputeLooks
from payplatform._engine.doctor import DoctorReport
from payplatform._engine.due import DueReport
from payplatform._engine.payouts import PayoutLooks
from payplatform._engine.recovery import RecoveryReport
from payplatform._engine.settings import Settings
from payplatform._engine.vault_reports import ImportReport, RotationReport, VaultStatus
from payplatform._version import __version__
from payplatform.client import MerchantClient, PayPlatform
from payplatform.errors import (
    BankUnavailable,
    Conflict,
    Declined,
    ErrorCode,
    InvalidRequest,
    LimitExceeded,
    NotAllowed,
    NotAuthentic,
    NotFound,
    OutcomeUnknown,
    PayPlatformError,
    StorageUnavailable,
    VaultError,
)

if TYPE_CHECKING:
    from payplatform.aio import AsyncMerchantClient as AsyncMerchantClient
    from payplatform.aio import AsyncPayPlatform as AsyncPayPlatform

__all__ = [
    "Account",
    "Action",
    "Advice",
    "ArchiveReport",
    "AuditEntry",
    "AuditKind",
    "AuditOutcome",
    "BankUnavailable",
    "Brand",
    "Card",
    "ChainHead",
    "ChainReport",
    "Conflict",
    "CurrencyStatement",
    "Customer",
    "Decline",
    "DeclineCode",
    "DeclineKind",
    "Declined",
    "Difference",
    "DifferenceKind",
    "Dispute",
    "DisputeLooks",
    "DisputeReason",
    "DisputeState",
    "DoctorReport",
    "DueReport",
    "Entry",
    "ErrorCode",
    "Event",
    "FeeKind",
    "FeeRate",
    "FeeSchedule",
    "ImportReport",
    "Initiator",
    "InvalidRequest",
    "Limit",
    "LimitExceeded",
    "Merchant",
    "MerchantClient",
    "Money",
    "Month",
    "NotAllowed",
    "NotAuthentic",
    "NotFound",
    "Notice",
    "NoticeState",
    "Operation",
    "OperationKind",
    "OperationState",
    "OutcomeUnknown",
    "PayPlatform",
    "PayPlatformError",
    "Payment",
    "PaymentMethod",
    "PaymentStatus",
    "Payout",
    "PayoutInterval",
    "PayoutLooks",
    "PayoutPlan",
    "PayoutStatus",
    "Posting",
    "Reconciliation",
    "RecoveryReport",
    "RetryRule",
    "RotationReport",
    "Settings",
    "Statement",
    "StorageUnavailable",
    "VaultError",
    "VaultStatus",
    "Verification",
    "__version__",
]


def __getattr__(name: str) -> object:
    """The async face, which is loaded when it is first named: its extra need not be installed."""
    if name in {"AsyncMerchantClient", "AsyncPayPlatform"}:
        return getattr(import_module("payplatform.aio"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
