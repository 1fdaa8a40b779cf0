"""The front door: open a platform, pick a merchant, take payments."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from payplatform._domain.archives import ArchiveReport
from payplatform._domain.audit import UNNAMED, Caller
from payplatform._domain.events import Event
from payplatform._domain.moments import is_moment
from payplatform._domain.settlements import Reconciliation, require_sound
from payplatform._domain.text import clean_id
from payplatform._engine.archiving import archive
from payplatform._engine.doctor import DoctorReport, Progress, examine
from payplatform._engine.due import DueReport
from payplatform._engine.reconciling import Progress as LinesTold
from payplatform._engine.recovery import RecoveryReport
from payplatform._engine.settings import Settings
from payplatform._version import __version__
from payplatform.client._room import a_caller, a_count, a_time
from payplatform.client.audit import Audit, Journal
from payplatform.client.customers import Customers
from payplatform.client.disputes import Disputes
from payplatform.client.ledger import Ledger
from payplatform.client.merchants import Merchants, a_merchant_id
from payplatform.client.notices import MerchantNotices, Notices
from payplatform.client.operations import Operations
from payplatform.client.payment_methods import PaymentMethods
from payplatform.client.payments import Payments
from payplatform.client.payouts import Payouts
from payplatform.client.vault import MerchantVault, Vault
from payplatform.errors import ErrorCode, InvalidRequest, NotAllowed
from payplatform.ports import Bank, KeyService, Limiter, SettlementReport, Storage

if TYPE_CHECKING:
    from payplatform._engine.engine import Engine

MASTER_KEY_VARIABLE = "PAYPLATFORM_MASTER_KEY"
_MOST_RECORDS = 1_000_000_000


class PayPlatform:
    """Takes card payments for many merchants, none of whom sees another's data.

    Safe to use from many threads, and from many processes on one file. Use it as a context manager,
    or `close()` it.
    """

    def __init__(
        self,
        *,
        storage: Storage,
        bank: Bank,
        keys: KeyService,
        limiter: Limiter | None = None,
        now: Callable[[], datetime] | None = None,
        new_id: Callable[[str], str] | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Put a platform together from adapters; `open` and `sandbox` do it for the usual ones.

        Args:
            storage: where everything is kept.
            bank: who moves the money.
            keys: who keeps the master key.
            limiter: who counts attempts for the limits on card testing; None to count none.
            now: the clock, giving times with a time zone; the system's by default.
            new_id: makes an id from its prefix; TypeIDs by default.
            settings: how long things may take, and how often is too often.

        Raises:
            InvalidRequest: one of them is not what it has to be; a clock, for one, that gives no
                times with a time zone.
        """
        from payplatform._engine.engine import Engine

        require_ports(storage=storage, bank=bank, keys=keys)
        require_ports(are_optional=True, limiter=limiter)
        _require_options(now=now, new_id=new_id, settings=settings)
        self._opened: Engine | None = Engine(
            storage=storage,
            bank=bank,
            keys=keys,
            limiter=limiter,
            now=_utc_now if now is None else _in_utc(now),
            new_id=new_id or _typeid_maker(),
            settings=settings or Settings(),
        )
        self.merchants = Merchants(self._engine)
        self.events = Outbox(self._engine)
        self.notices = Notices(self._engine)
        self.vault = Vault(self._engine)

    @classmethod
    def open(
        cls,
        path_or_url: str | os.PathLike[str],
        *,
        bank: Bank | None = None,
        keys: KeyService | None = None,
        limiter: Limiter | None = None,
        now: Callable[[], datetime] | None = None,
        new_id: Callable[[str], str] | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Open a platform on a SQLite file, which is created if it is not there.

        Args:
            path_or_url: the file. Beside it, unless told otherwise, are the master key in
                `<file>.key` (or in the variable PAYPLATFORM_MASTER_KEY) and the books of the
                simulated bank in `<file>.bank`.
            bank: the acquiring bank; a simulated one by default, and only for a file that has
                never been used with another.
            keys: who keeps the master key; a local file by default, which is made with the database
                and never again: without it the cards in the database cannot be opened.
            limiter: who counts attempts for the limits on card testing; by default `<file>.limits`,
                which every process on this file shares.
            now: the clock; the system's by default.
            new_id: makes an id from its prefix; TypeIDs by default.
            settings: how long things may take, and how often is too often.

        Returns:
            The platform.

        Raises:
            InvalidRequest: the path is no path, or a URL of a kind that is not supported; or an
                argument is not what it has to be. Nothing was created.
            StorageUnavailable: the file cannot be opened, is damaged, or is a newer release's.
            VaultError: the key file is gone, cannot be read, or is open to others.
        """
        path = _a_path(path_or_url)
        require_ports(are_optional=True, bank=bank, keys=keys, limiter=limiter)
        _require_options(now=now, new_id=new_id, settings=settings)
        from payplatform.banks.simulated import SimulatedBank
        from payplatform.keys.local import LocalKeyService
        from payplatform.storage.sqlite import SQLiteStorage
        from payplatform.storage.sqlite_limiter import SQLiteLimiter

        with ExitStack() as opened:
            storage = SQLiteStorage(path)
            opened.callback(storage.close)
            is_new = not storage.merchants(limit=1)
            if keys is None and MASTER_KEY_VARIABLE in os.environ:
                keys = LocalKeyService.from_env(MASTER_KEY_VARIABLE)
            elif keys is None:
                keys = LocalKeyService.open(Path(f"{path}.key"), create=is_new)
            if bank is None:
                books = Path(f"{path}.bank")
                _require_own_bank(is_new or books.exists())
                bank = SimulatedBank(books, now=now)
                opened.callback(bank.close)
            platform = cls(
                storage=storage,
                bank=bank,
                keys=keys,
                limiter=SQLiteLimiter(f"{path}.limits") if limiter is None else limiter,
                now=now,
                new_id=new_id,
                settings=settings,
            )
            opened.pop_all()
        return platform

    @classmethod
    def sandbox(
        cls,
        *,
        bank: Bank | None = None,
        keys: KeyService | None = None,
        limiter: Limiter | None = None,
        now: Callable[[], datetime] | None = None,
        new_id: Callable[[str], str] | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """A platform that keeps everything in memory and forgets it when closed: to try and test.

        Args:
            bank: a simulated one by default.
            keys: a master key of its own by default.
            limiter: who counts attempts; in memory by default.
            now: the clock; the system's by default.
            new_id: makes an id from its prefix; TypeIDs by default.
            settings: how long things may take, and how often is too often.

        Returns:
            The platform.

        Raises:
            InvalidRequest: an argument is not what it has to be.
        """
        _require_options(now=now, new_id=new_id, settings=settings)
        from payplatform.banks.simulated import SimulatedBank
        from payplatform.keys.local import LocalKeyService
        from payplatform.storage.memory import MemoryStorage
        from payplatform.storage.memory_limiter import MemoryLimiter

        return cls(
            storage=MemoryStorage(),
            bank=SimulatedBank(now=now) if bank is None else bank,
            keys=LocalKeyService.ephemeral() if keys is None else keys,
            limiter=MemoryLimiter() if limiter is None else limiter,
            now=now,
            new_id=new_id,
            settings=settings,
        )

    def merchant(
        self, merchant_id: str, *, actor: str | None = None, origin: str | None = None
    ) -> MerchantClient:
        """All that is one merchant's, and nothing else.

        Args:
            merchant_id: `mer_...`.
            actor: on whose behalf the client is used, for the audit trail, at most 200 characters.
            origin: where from: an address, a host, a screen; at most 200 characters.

        Returns:
            The merchant's client.

        Raises:
            InvalidRequest: that is no merchant's id, or an argument breaks its rule.
            NotFound: there is no such merchant.
            StorageUnavailable: the store failed.
        """
        caller = a_caller(actor, origin)
        merchant = self._engine().registry.merchant(a_merchant_id(merchant_id))
        return MerchantClient(self._engine, merchant.id, caller)

    def recover(self, limit: int = 1_000) -> RecoveryReport:
        """Find out what became of operations that were left unclear, as far as is due.

        Run it every minute or so, from as many places as you like: each operation is taken by one.

        What the bank has told too early is looked at again as well.

        Args:
            limit: how many operations to look at, at most; and as many payments, and notices.

        Returns:
            What was found out.

        Raises:
            InvalidRequest: the limit is not from 1 to 10,000.
            StorageUnavailable: the store failed; what was done until then is done.
        """
        return self._engine().recovery.run(limit=a_count(limit, field="limit"))

    def run_due(self, now: datetime | None = None, *, limit: int = 1_000) -> DueReport:
        """Do whatever is due: nothing here has a thread of its own.

        It recovers unclear operations and books expiries, as `recover()` does; sends again answers
        to disputes that may not have arrived; tells, as events, of evidence that is soon due; and
        makes the payouts that are due by the plans of all merchants.

        Args:
            now: do what has come due by then; by default, by now.
            limit: how many of each sort to look at, at most.

        Returns:
            What was done.

        Raises:
            InvalidRequest: the limit is not from 1 to 10,000, or `now` is no time, or to come.
            StorageUnavailable: the store failed; what was done until then is done.
        """
        most = a_count(limit, field="limit")
        engine = self._engine()
        by = _a_moment(now, engine.now())
        return engine.due.run(by, limit=most)

    def doctor(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> DoctorReport:
        """Check every invariant on what is stored, and name each row that breaks one.

        Others may read and write meanwhile. What is stored is read a page at a time; a large file
        can be looked at in parts, each run going on where the one before ended.

        Args:
            after: the `position` of the report that this one follows; None to begin.
            limit: how many records to look at, at most; by default all.
            progress: called after each record with how many were looked at in this run, of how
                many (None where that is not known), and of which kind it was.

        Returns:
            The report; `ok` tells whether all is well, `position` where to go on.

        Raises:
            InvalidRequest: an argument breaks its rule.
            StorageUnavailable: the store failed. Damage is no failure: it is in the report.
        """
        if limit is not None:
            a_count(limit, field="limit", most=_MOST_RECORDS)
        if progress is not None and not callable(progress):
            raise _wrong("progress", "must be a callable that takes done, total and kind")
        storage = self._engine().storage
        return examine(storage, after=after, limit=limit, progress=progress)

    def archive(self, path: str | os.PathLike[str], *, before: datetime) -> ArchiveReport:
        """Move what happened to payments that are long at rest to another file.

        Links of the chains from before that time go with it. Timelines and `verify` go on having
        all of it for as long as the file stays where it is. A payment is at rest when nothing is
        under way, held or disputed. An event that is still in `events.pending()` stays. Others may
        work meanwhile. What was broken off is taken up by calling it again.

        Args:
            path: the archive, which is made if it is not there. One may be written to many times.
            before: move what is older: events of payments that were last changed before then, and
                links from before then.

        Returns:
            What was moved, and what was old enough and stays.

        Raises:
            InvalidRequest: the path is no path, or `before` is no time.
            StorageUnavailable: `storage_settings`: the store cannot archive, or the file is no
                archive of this store; or the store failed, and what was moved until then is moved.
        """
        file, until = _a_path(path, field="path"), a_time(before, field="before")
        if until is None:
            raise _wrong("before", "must be a datetime with a time zone")
        return archive(self._engine().storage, file, until)

    def describe(self) -> dict[str, dict[str, str]]:
        """What this platform is made of and how it is set; no secrets.

        Returns:
            For each of "payplatform", "storage", "bank", "keys" and "limiter", names and values.
        """
        engine = self._engine()
        return {
            "payplatform": {"version": __version__},
            "storage": dict(engine.storage.describe()),
            "bank": dict(engine.bank.describe()),
            "keys": dict(engine.keys.describe()),
            "limiter": {} if engine.limiter is None else dict(engine.limiter.describe()),
        }

    def close(self) -> None:
        """Let go of files and keys. A second close does nothing; any other call is refused."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _engine(self) -> Engine:
        if self._opened is None:
            raise NotAllowed("the platform is closed", code=ErrorCode.CLIENT_CLOSED)
        return self._opened


class MerchantClient:
    """One merchant's part of the platform. From `PayPlatform.merchant`.

    Attributes:
        id: the merchant's, `mer_...`.
        customers: who pays.
        payment_methods: the cards they keep.
        payments: taking money and giving it back.
        operations: the requests to the bank.
        notices: what the bank has told of them on its own.
        vault: the keys that its cards are under, and taking the cards elsewhere.
        disputes: what cardholders dispute, and what to say to it.
        payouts: the merchant's own money on its way to the merchant's own bank.
        ledger: the books: what every account shows, and why.
        journal: whether what is stored is what was written.
        audit: who did what with cards and books.
    """

    def __init__(
        self, engine: Callable[[], Engine], merchant_id: str, caller: Caller = UNNAMED
    ) -> None:
        self.id = merchant_id
        self._engine = engine
        self.customers = Customers(engine, merchant_id, caller)
        self.payment_methods = PaymentMethods(engine, merchant_id, caller)
        self.payments = Payments(engine, merchant_id, caller)
        self.operations = Operations(engine, merchant_id, caller)
        self.notices = MerchantNotices(engine, merchant_id, caller)
        self.disputes = Disputes(engine, merchant_id, caller)
        self.vault = MerchantVault(engine, merchant_id, caller)
        self.payouts = Payouts(engine, merchant_id, caller)
        self.ledger = Ledger(engine, merchant_id)
        self.journal = Journal(engine, merchant_id)
        self.audit = Audit(engine, merchant_id)

    def reconcile(
        self, report: SettlementReport, *, progress: LinesTold | None = None
    ) -> Reconciliation:
        """Book what the bank has settled, and list what it and the books do not agree on.

        A line is matched by the operation that it names. What the bank has settled is booked to
        its payment, with the fees that the bank keeps; where that is not known it is in suspense.
        To reconcile the same report again changes nothing, or takes up what was broken off, and
        books what was in suspense and is known by now. Reports are best taken in their order.

        Args:
            report: from `payplatform.banks.settlement_files.read_report`, or another adapter.
            progress: called after each stretch of lines with how many were looked at, of how many.

        Returns:
            What was matched, and every difference.

        Raises:
            InvalidRequest: `type_invalid`: that is no report; `report_malformed`: a part of it is
                not what it has to be, and the message names the line; `value_invalid`: two of its
                lines have one number; `report_of_another`: it says that it is another merchant's;
                `report_changed`: a report of that name has said something else before. Nothing was
                booked.
            Conflict: others kept changing the same payments. Reconcile it again.
            StorageUnavailable: the store failed. Reconcile it again.
        """
        if not isinstance(report, SettlementReport):
            raise _wrong("report", "must be a SettlementReport as in payplatform.ports")
        if progress is not None and not callable(progress):
            raise _wrong("progress", "must be a callable that takes done and total")
        if report.merchant_id not in (None, self.id):
            raise InvalidRequest(
                "report is another merchant's", code=ErrorCode.REPORT_OF_ANOTHER, field="report"
            )
        require_sound(report)
        return self._engine().reconciling.run(self.id, report, progress)


class Outbox:
    """Events of all merchants that nobody has passed on yet: at least once, in order of commit."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    def pending(self, *, limit: int = 100) -> tuple[Event, ...]:
        """Read what is waiting, oldest commit first.

        Args:
            limit: how many at most, from 1 to 10,000.

        Returns:
            The events. Several readers may get the same ones: receivers drop an id seen before.

        Raises:
            InvalidRequest: the limit is out of its range.
            StorageUnavailable: the store failed.
        """
        return tuple(self._engine().storage.outbox(limit=a_count(limit, field="limit")))

    def mark_published(self, events: Iterable[Event | str]) -> None:
        """Say that these have been passed on. They stay in their payment's timeline.

        Args:
            events: several events, or their ids. One that is marked already does no harm.

        Raises:
            InvalidRequest: that is not several, or one is no event and no event's id.
            StorageUnavailable: the store failed.
        """
        if isinstance(events, str | bytes) or not isinstance(events, Iterable):
            raise InvalidRequest(
                "events must be a list of events, or of their ids",
                code=ErrorCode.TYPE_INVALID,
                field="events",
            )
        ids = [event.id if isinstance(event, Event) else event for event in events]
        checked = [clean_id(event_id, prefix="evt", field="events") for event_id in ids]
        self._engine().storage.mark_published(checked)


def _require_own_bank(is_simulated: bool) -> None:
    if not is_simulated:
        raise InvalidRequest(
            "bank must be given: this file has been used with a bank of yours, and the simulated "
            "one would be asked about payments that it has never seen",
            code=ErrorCode.VALUE_INVALID,
            field="bank",
        )


def _utc_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  # the one place where the clock comes from


def _in_utc(now: Callable[[], datetime]) -> Callable[[], datetime]:
    """The same clock in UTC: elsewhere, adding a wait to a time is wrong when summer begins."""
    return lambda: now().astimezone(UTC)


_PORTS: dict[str, type] = {
    "storage": Storage,
    "bank": Bank,
    "keys": KeyService,
    "limiter": Limiter,
}


def require_ports(*, are_optional: bool = False, **ports: object) -> None:
    """Pass when each port is an object with all that its protocol promises.

    Raises:
        InvalidRequest: `type_invalid`: one is not.
    """
    for field, port in ports.items():
        if port is None and are_optional:
            continue
        rule = f"must be a {_PORTS[field].__name__} as in payplatform.ports"
        if isinstance(port, type):
            raise _wrong(field, f"{rule}, not a class of them")
        for promised in dir(_PORTS[field]):
            if not promised.startswith("_") and not hasattr(port, promised):
                raise _wrong(field, f"{rule}: it has no {promised}")


def _require_options(*, now: object, new_id: object, settings: object) -> None:
    if now is not None and not _is_clock(now):
        raise _wrong("now", "must be a callable that gives times with a time zone")
    if new_id is not None and not callable(new_id):
        raise _wrong("new_id", "must be a callable that makes an id from its prefix")
    if settings is not None and not isinstance(settings, Settings):
        raise _wrong("settings", "must be Settings")


def _is_clock(now: object) -> bool:
    return callable(now) and is_moment(now())


def _a_moment(value: object, now: datetime) -> datetime:
    """`value`, or `now` for None: it is in the past, for what is to come is not due.

    Raises:
        InvalidRequest: it is not: `type_invalid`, `value_invalid`.
    """
    by = a_time(value, field="now")
    if by is None:
        return now
    if by > now:
        raise InvalidRequest(
            "now must not be later than the platform's clock",
            code=ErrorCode.VALUE_INVALID,
            field="now",
        )
    return by.astimezone(UTC)


def _wrong(field: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {rule}", code=ErrorCode.TYPE_INVALID, field=field)


def _typeid_maker() -> Callable[[str], str]:
    from typeid.base32 import encode
    from uuid_utils import uuid7

    # What `TypeID(prefix)` gives as text, which makes three times as much work of it.
    return lambda prefix: f"{prefix}_{encode(uuid7().bytes)}"


def _a_path(path_or_url: object, *, field: str = "path_or_url") -> str:
    if not isinstance(path_or_url, str | os.PathLike):
        raise InvalidRequest(f"{field} must be a path", code=ErrorCode.TYPE_INVALID, field=field)
    path = os.fsdecode(path_or_url)
    if not path or "\0" in path:
        raise InvalidRequest(
            f"{field} must be a path as text", code=ErrorCode.VALUE_INVALID, field=field
        )
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", path) or path == ":memory:":
        raise InvalidRequest(
            f"{field} must be the path of a file; for memory use PayPlatform.sandbox()",
            code=ErrorCode.VALUE_INVALID,
            field=field,
        )
    return path
