"""The ports: what payplatform needs of a store, of a bank and of a key service.

The comment on each method is the contract; `payplatform.testing` has the suites that hold an
adapter to it. Adapters know this file, the domain's values and the errors, never the engine and
never each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from attrs import frozen

from payplatform._domain.archives import ArchiveReport
from payplatform._domain.audit import AuditEntry, Chain, ChainHead, ChainReport
from payplatform._domain.changes import (
    Changes,
    Receipt,
    Record,
    Subject,
)
from payplatform._domain.disputes import Dispute, DisputeNews, DisputeState
from payplatform._domain.events import Event
from payplatform._domain.fees import FeeSchedule
from payplatform._domain.filters import EVERY_LINE, EVERYTHING, EXACTLY, Filter, LineFilter
from payplatform._domain.invariants import Finding
from payplatform._domain.ledger import Account, PlaceInBooks, Posting
from payplatform._domain.messages import (
    BankCapabilities,
    BankNotice,
    BankReply,
    BankRequest,
    CardDetails,
    ReplyOutcome,
    RequestKind,
)
from payplatform._domain.notices import Notice, NoticeState
from payplatform._domain.operations import Initiator, Operation, OperationState, StoredCredential
from payplatform._domain.payments import Action, Payment, PaymentStatus
from payplatform._domain.payouts import Payout, PayoutPlan
from payplatform._domain.records import (
    Check,
    Customer,
    Merchant,
    PaymentMethod,
    SealedCard,
    WrappedKey,
)
from payplatform._domain.settlements import (
    AcquirerFees,
    Settlement,
    SettlementLine,
    SettlementReport,
)

R = TypeVar(
    "R",
    Merchant,
    Customer,
    PaymentMethod,
    Payment,
    Operation,
    Notice,
    Dispute,
    Settlement,
    Payout,
    PayoutPlan,
    SealedCard,
    WrappedKey,
    FeeSchedule,
)


@frozen(kw_only=True)
class Place:
    """Where a record is stored.

    Attributes:
        record: what is there; None where it cannot be read.
        damage: what is wrong with the way it is stored, in words without values; else None.
    """

    merchant_id: str
    record_id: str
    record: Record | None
    damage: str | None = None


class Storage(Protocol):
    """A few reads and one write. Safe to use from many threads at once.

    Every read sees every commit that returned before it began. Every method of one merchant takes
    the merchant first, and another merchant's things are absent: same answer, same work. Records
    come back equal to what was committed. No session, cursor or transaction leaves an adapter.

    All methods may raise StorageUnavailable (StorageBusy when nothing but patience is missing).
    """

    def get(self, merchant_id: str, kind: type[R], record_id: str) -> R | None:
        """The record of that kind and id, or None."""
        ...

    def page(
        self,
        merchant_id: str,
        kind: type[R],
        where: Filter = EVERYTHING,
        *,
        before: str | None = None,
        limit: int,
    ) -> Sequence[R]:
        """At most `limit` records that match, by id, largest first, all smaller than `before`.

        Ids carry their time, so this is newest first. What is added while somebody pages changes
        neither the pages that follow nor their order.
        """
        ...

    def operation_with_key(self, merchant_id: str, idempotency_key: str) -> Operation | None:
        """The operation that claimed this idempotency key, or None."""
        ...

    def payment_method_with(
        self, merchant_id: str, customer_id: str, fingerprints: Sequence[bytes]
    ) -> PaymentMethod | None:
        """The customer's payment method whose fingerprint is one of these, or None."""
        ...

    def receipt(self, merchant_id: str, operation_id: str) -> Subject | None:
        """The payment or payment method of the operation's latest receipt, or None."""
        ...

    def events(self, merchant_id: str, subject_id: str) -> Sequence[Event]:
        """The subject's events, in the order of their numbers."""
        ...

    def postings(self, merchant_id: str, subject_id: str) -> Sequence[Posting]:
        """The subject's postings, in the order of event number and line."""
        ...

    def ledger(
        self,
        merchant_id: str,
        where: LineFilter = EVERY_LINE,
        *,
        after: PlaceInBooks | None = None,
        limit: int,
    ) -> Sequence[Posting]:
        """At most `limit` lines that match, by their place in the books, all after that place."""
        ...

    def totals(
        self, merchant_id: str, *, at: datetime | None = None
    ) -> Mapping[tuple[str, Account], int]:
        """What lines posted until then, that moment counting, add up to, however large that is.

        Returns:
            The sum in minor units for each currency and account that has a line.
        """
        ...

    def merchants(self, *, before: str | None = None, limit: int) -> Sequence[Merchant]:
        """At most `limit` merchants by id, largest first, all smaller than `before`."""
        ...

    def due_operations(self, now: datetime, *, limit: int) -> Sequence[Operation]:
        """Operations of all merchants whose `next_try_at` is `now` or earlier, longest due first.

        One without `next_try_at` is never due.
        """
        ...

    def lapsed_payments(self, now: datetime, *, limit: int) -> Sequence[Payment]:
        """Payments of all merchants whose `lapses_at` is `now` or earlier, longest due first."""
        ...

    def due_notices(self, now: datetime, *, limit: int) -> Sequence[Notice]:
        """Notices of all merchants whose `next_try_at` is `now` or earlier, longest due first."""
        ...

    def due_disputes(self, now: datetime, *, limit: int) -> Sequence[Dispute]:
        """Disputes of all merchants whose `next_look_at` is `now` or earlier, longest due first."""
        ...

    def due_payouts(self, now: datetime, *, limit: int) -> Sequence[PayoutPlan]:
        """Plans of all merchants whose `next_at` is `now` or earlier, longest due first."""
        ...

    def outbox(self, *, limit: int) -> Sequence[Event]:
        """Events of all merchants that were committed and not yet marked, oldest commit first."""
        ...

    def mark_published(self, event_ids: Sequence[str]) -> None:
        """Take these events out of the outbox. They stay in their subject's history."""
        ...

    def audit_entries(
        self, merchant_id: str, *, before: str | None = None, limit: int
    ) -> Sequence[AuditEntry]:
        """At most `limit` of the merchant's entries by id, largest first, smaller than `before`."""
        ...

    def head(self, merchant_id: str, chain: Chain) -> ChainHead:
        """Where the chain ends. Every commit moves the chains that it adds to by one link."""
        ...

    def verify(
        self, merchant_id: str, chain: Chain, expected_head: ChainHead | None = None
    ) -> ChainReport:
        """Go along the chain, then along the rows it vouches for, all as they were at one moment.

        The journal vouches for all rows of the merchant but audit entries, the audit chain for
        those. Of a row that is changed, gone, or was never committed, the report names the first,
        by the number of the link that vouches for it.

        Args:
            merchant_id: whose chain.
            chain: which.
            expected_head: where the chain ended once: it has to be in the chain still.
        """
        ...

    def count(self, kind: type[R]) -> int:
        """How many records of that kind there are, of all merchants."""
        ...

    def count_of(self, merchant_id: str, kind: type[R], where: Filter = EVERYTHING) -> int:
        """How many records of that kind the merchant has that match."""
        ...

    def survey(
        self, kind: type[R], *, after: tuple[str, str] = ("", ""), limit: int
    ) -> Sequence[Place]:
        """At most `limit` records of that kind of all merchants, with where they are stored.

        By merchant and id, smallest first, all after the pair `after`. One that is damaged is among
        them and said to be, and keeps none of the others from being read.
        """
        ...

    def self_check(self) -> Sequence[Finding]:
        """What the store itself finds wrong with what it keeps.

        Rows that belong to nothing, and damage to the medium; at most a thousand of each sort.
        """
        ...

    def commit(self, changes: Changes) -> None:
        """Write all of it or nothing, durably before it returns.

        A record is written if the stored version is exactly one less than its own; version 1 needs
        that none is stored. A removed record is deleted if the stored version equals its own. One
        that is needed is left alone, and has to be there with the stored version equal to its own.
        Unique are: (merchant, kind, id); an operation's (merchant, idempotency key); a payment
        method's (merchant, customer, fingerprint) where both are given; a dispute's (merchant,
        bank_dispute_id); an event's (merchant, subject, number); a posting's (merchant, subject,
        event number, line); an audit entry's (merchant, id). Each event also enters the outbox.

        Raises:
            Conflict: a guard was stale or a unique thing was there; nothing was written.
            StorageBusy: others held the store for too long; nothing was written.
            CommitUncertain: it may or may not have been written: read again.
            StorageUnavailable: the store failed; nothing was written.
        """
        ...

    def describe(self) -> Mapping[str, str]:
        """What it is and how it is set, for `PayPlatform.describe()`; no secrets."""
        ...

    def close(self) -> None:
        """Let go of everything. Nothing is called afterwards; a second close does nothing."""
        ...


class Archiver(Protocol):
    """What a store has besides if it can keep the events of payments at rest in another file.

    To its callers nothing is changed by that: `events` gives all of them, and `verify` looks at all
    of them. Where an archive is not within reach, `events` raises StorageUnavailable with
    `events_archived`, and `verify` counts what it could not look at.
    """

    def unarchived(
        self, before: datetime, *, after: tuple[str, str] = ("", ""), limit: int
    ) -> Sequence[Payment]:
        """At most `limit` payments of all merchants that have events in the store itself.

        Last changed before that time. By merchant and id, smallest first, all after the pair
        `after`.
        """
        ...

    def archive(self, path: str, payments: Sequence[Payment]) -> ArchiveReport:
        """Move all events of these payments to the archive in a file; it is made if missing.

        They are durable there before the store lets go of the first one. What was broken off is
        taken up by doing it again, and many may do it at once. The events stay of a payment that
        has changed since it was read, and of one that has an event in the outbox.

        Raises:
            StorageUnavailable: `storage_settings`: the file is no archive of this store;
                `storage_corrupt`: an event is not what was written.
        """
        ...

    def archive_links(self, path: str, merchant_id: str, chain: Chain, before: datetime) -> int:
        """Move the links of a chain that are from before a time, oldest first, to that archive.

        Returns:
            How many were moved; fewer where somebody else is moving them.

        Raises:
            StorageUnavailable: as `archive`.
        """
        ...


class Acquirer(Protocol):
    """What every bank tells without being asked over the wire, be its answers awaited or not."""

    @property
    def capabilities(self) -> BankCapabilities:
        """What the bank can do; the same for as long as the adapter lives."""
        ...

    def read_notice(self, raw: bytes, headers: Mapping[str, str]) -> BankNotice:
        """What a message tells that the bank has sent on its own, once it is sure that it has.

        The signature is verified over the bytes as they came, in a time that does not tell where it
        differs, and how old it is with it, before anything is made of them. Names in `headers` may
        be in any case. A bank without `signed_notices` is never asked.

        Raises:
            NotAuthentic: it is not proved to be the bank's, or not from now.
            InvalidRequest: `notice_malformed`: it is the bank's, and tells nothing that is known.
        """
        ...

    def describe(self) -> Mapping[str, str]:
        """What it is, for `PayPlatform.describe()`; no secrets."""
        ...


class Bank(Acquirer, Protocol):
    """An acquiring bank. Safe to use from many threads at once."""

    def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
        """Send one request, once, and return the bank's answer to it.

        An adapter never sends twice on its own account, never later than `timeout_s` after it was
        called, and never keeps what it sent: the card in a request is not stored, not logged and
        not put into an error. The answer to a RESUME is the outcome of what it resumes, however
        often it is asked for.

        Raises:
            NotSent: it is proved that not one byte left.
            Exception: anything else means that nobody knows.
        """
        ...

    def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> BankReply:
        """What the bank knows of our operation: its answer then, or NOT_FOUND.

        Raises:
            Exception: it could not be asked; nothing is known.
        """
        ...

    def close(self) -> None:
        """Let go of everything. A second close does nothing."""
        ...


class AsyncBank(Acquirer, Protocol):
    """An acquiring bank whose answers are awaited, for `AsyncPayPlatform`.

    It promises what a `Bank` promises, and is awaited on the event loop of whoever calls.
    """

    async def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
        """As `Bank.send`. It is cancelled when its time is over, and sends nothing from then on."""
        ...

    async def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> BankReply:
        """As `Bank.inquire`."""
        ...

    async def close(self) -> None:
        """As `Bank.close`."""
        ...


@frozen(kw_only=True)
class Quota:
    """At most so many attempts of one counter in any stretch of that length.

    Attributes:
        counter: the name of what is counted; nothing about a card or a person can be read from it.
        most: how many attempts there may be, from 1.
        period_s: for how long an attempt counts, in seconds, from the time it was counted.
    """

    counter: str
    most: int
    period_s: float


@frozen(kw_only=True)
class UsedUp:
    """A quota that has no room.

    Attributes:
        quota: of several, the one that has room last.
        room_at: when it has, provided that nothing else is counted until then.
    """

    quota: Quota
    room_at: datetime


class Limiter(Protocol):
    """Counts attempts. Safe to use from many threads at once, and exact among all who share it.

    An attempt has a name, and is counted once under it however often it is asked for: a call that
    died after it was counted, and comes again, takes no second place.

    `take` and `give_back` may raise StorageUnavailable, and nothing else: then nobody knows whether
    the attempt was counted, and to ask again is harmless.
    """

    def take(self, attempt: str, quotas: Sequence[Quota], now: datetime) -> UsedUp | None:
        """Count an attempt in every one of these counters, or in none.

        One that is counted already keeps its time, and its place is not asked for again. No counter
        stands there twice.

        Returns:
            None: it is counted. Otherwise which quota is used up, and for how long; nothing was
            counted.
        """
        ...

    def give_back(self, attempt: str, counters: Sequence[str]) -> None:
        """Count the attempt in these counters no more; one that is not there does no harm."""
        ...

    def describe(self) -> Mapping[str, str]:
        """What it is, for `PayPlatform.describe()`; no secrets."""
        ...

    def close(self) -> None:
        """Let go of everything. A second close does nothing."""
        ...


class KeyService(Protocol):
    """Keeps the master key, and wraps other keys with it. Safe to use from many threads at once.

    The context is authenticated, not secret: a key unwraps only with the context it was wrapped
    with, so that one merchant's key can never be passed off as another's.
    """

    def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
        """Encrypt a key of 32 bytes under the master key, bound to `context`.

        Raises:
            VaultUnavailable: the service does not answer.
        """
        ...

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The key that was wrapped.

        Raises:
            VaultUnavailable: the service does not answer.
            VaultIntegrityError: altered, another context, or another master key.
        """
        ...

    def rewrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The same key under the current master key, bound to the same context.

        Raises:
            VaultUnavailable: the service does not answer.
            VaultIntegrityError: altered, another context, or another master key.
        """
        ...

    def describe(self) -> Mapping[str, str]:
        """What it is; no secrets. `current_master_key` is the name of the one that wraps now."""
        ...

    def close(self) -> None:
        """Let go of everything. A second close does nothing."""
        ...


__all__ = [
    "EVERYTHING",
    "EVERY_LINE",
    "EXACTLY",
    "Account",
    "AcquirerFees",
    "Action",
    "ArchiveReport",
    "Archiver",
    "AuditEntry",
    "Bank",
    "BankCapabilities",
    "BankNotice",
    "BankReply",
    "BankRequest",
    "CardDetails",
    "Chain",
    "ChainHead",
    "ChainReport",
    "Changes",
    "Check",
    "Customer",
    "Dispute",
    "DisputeNews",
    "DisputeState",
    "Event",
    "FeeSchedule",
    "Filter",
    "Finding",
    "Initiator",
    "KeyService",
    "Limiter",
    "LineFilter",
    "Merchant",
    "Notice",
    "NoticeState",
    "Operation",
    "OperationState",
    "Payment",
    "PaymentMethod",
    "PaymentStatus",
    "Payout",
    "PayoutPlan",
    "Place",
    "PlaceInBooks",
    "Posting",
    "Quota",
    "R",
    "Receipt",
    "Record",
    "ReplyOutcome",
    "RequestKind",
    "SealedCard",
    "Settlement",
    "SettlementLine",
    "SettlementReport",
    "Storage",
    "StoredCredential",
    "Subject",
    "UsedUp",
    "WrappedKey",
]
