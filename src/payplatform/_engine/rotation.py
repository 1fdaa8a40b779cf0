"""Rotation of keys: new ones at once, then everything brought to them, then the old ones destroyed.

Law of this file: every step is one commit that leaves every card readable, so that it may end
between any two, and begin again from what is stored. A new data or fingerprint key retires the one
before it in the same commit; the retired one still reads. What is left under it is found by index
and written anew by compare-and-set, some cards at a time. When nothing is left the retired key is
destroyed. Nothing can come to be under it later: see the law of `vault`.

A new master key rewraps the merchants' keys and touches no card.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from attrs import evolve

from payplatform._domain.audit import AuditEntry, AuditKind, Caller
from payplatform._domain.changes import Changes, Record
from payplatform._domain.events import Event
from payplatform._domain.operations import Operation, OperationState
from payplatform._domain.records import KeyPurpose, PaymentMethod, SealedCard, WrappedKey
from payplatform._engine.auditing import Auditing
from payplatform._engine.exchange import TRIES
from payplatform._engine.pages import all_records
from payplatform._engine.settings import Settings
from payplatform._engine.vault import Vault
from payplatform._engine.vault_reports import KeyStatus, Progress, RotationReport, VaultStatus
from payplatform.errors import (
    CommitUncertain,
    Conflict,
    ErrorCode,
    VaultError,
)
from payplatform.ports import Filter, Storage

BATCH: Final = 50
"""How many cards one commit seals anew: enough to share its wait for the disk, few enough that
others who write hardly wait for it."""


class Rotation:
    """Gives merchants new keys, and brings their cards to them."""

    def __init__(
        self,
        *,
        storage: Storage,
        vault: Vault,
        auditing: Auditing,
        now: Callable[[], datetime],
        new_id: Callable[[str], str],
        settings: Settings,
    ) -> None:
        self._storage = storage
        self._vault = vault
        self._auditing = auditing
        self._now = now
        self._new_id = new_id
        self._settings = settings

    # -- new keys ----------------------------------------------------------------------------------

    def rotate(
        self, merchant_id: str, purpose: KeyPurpose, *, made_before: datetime, caller: Caller
    ) -> bool:
        """Give a merchant a new key and retire the one before it.

        Returns:
            Whether it was done: not where the newest is not older than that, by whomever it was
            made, so that this may be asked for again after it was interrupted.
        """
        for _ in range(TRIES):
            retired = self._newest(merchant_id, purpose)
            if retired.created_at > made_before:
                return False
            new = self._vault.new_key(merchant_id, purpose, retired.key_version + 1)
            retired = evolve(retired, version=retired.version + 1, retired_at=self._now())
            if self._is_written(retired, new, said=self._said(new, caller, "made")):
                self._vault.forget(merchant_id)
                return True
        raise Conflict("others kept changing the merchant's keys; nothing was done")

    def rewrap(
        self, merchant_ids: Iterable[str], *, wrapped_before: datetime | None, caller: Caller
    ) -> int:
        """Wrap keys under the current master key; tells how many.

        Those that another master key wraps, and those that were wrapped before that time.
        """
        master = self._vault.master_key
        keys = (key for one in merchant_ids for key in self._keys(one))
        due = (
            key
            for key in keys
            if key.wrapped_by != master
            or (wrapped_before is not None and _wrapped_at(key) < wrapped_before)
        )
        return sum(self._is_rewrapped(key, caller) for key in due)

    def _is_rewrapped(self, key: WrappedKey, caller: Caller) -> bool:
        rewrapped = self._vault.rewrap(key)
        is_written = self._is_written(rewrapped, said=self._said(rewrapped, caller, "wrapped"))
        self._vault.forget(key.merchant_id)
        return is_written

    def _newest(self, merchant_id: str, purpose: KeyPurpose) -> WrappedKey:
        keys = [key for key in self._keys(merchant_id) if key.purpose is purpose]
        if not keys:
            raise VaultError(
                f"merchant {merchant_id} has no keys: they never were stored, or erased",
                code=ErrorCode.VAULT_KEY_MISSING,
            )
        return max(keys, key=lambda key: key.key_version)

    def _keys(self, merchant_id: str) -> list[WrappedKey]:
        return list(all_records(self._storage, merchant_id, WrappedKey))

    # -- what is under retired ones ----------------------------------------------------------------

    def run(
        self,
        merchant_ids: Sequence[str],
        *,
        limit: int | None,
        progress: Progress | None,
        caller: Caller,
    ) -> RotationReport:
        """Bring cards to the newest keys, at most so many, and destroy what nothing needs."""
        work = _Work(total=self._left(merchant_ids), limit=limit, progress=progress, caller=caller)
        for merchant_id in merchant_ids:
            for key in self._retired(merchant_id):
                self._empty(key, work)
                if not self._under(key) and self._is_destroyed(key, caller):
                    work.destroyed += 1
        return RotationReport(
            resealed=work.done[KeyPurpose.DATA],
            refingerprinted=work.done[KeyPurpose.FINGERPRINT],
            destroyed=work.destroyed,
            left=self._left(merchant_ids),
            damaged=tuple(work.damaged),
        )

    def _retired(self, merchant_id: str) -> list[WrappedKey]:
        return [key for key in self._keys(merchant_id) if key.retired_at is not None]

    def _left(self, merchant_ids: Iterable[str]) -> int:
        return sum(self._under(key) for one in merchant_ids for key in self._retired(one))

    def _under(self, key: WrappedKey) -> int:
        """How many cards are under a key."""
        if key.purpose is KeyPurpose.DATA:
            where = Filter(key_version=key.key_version)
            return self._storage.count_of(key.merchant_id, SealedCard, where)
        where = Filter(fingerprint_version=key.key_version)
        return self._storage.count_of(key.merchant_id, PaymentMethod, where)

    def _empty(self, key: WrappedKey, work: _Work) -> None:
        """Write anew what is under a key, some at a time."""
        is_data = key.purpose is KeyPurpose.DATA
        batches = self._resealed(key, work) if is_data else self._refingerprinted(key, work)
        for batch in batches:
            work.count(key.purpose, sum(self._written(batch, key, work)))

    def _resealed(self, key: WrappedKey, work: _Work) -> Iterator[list[Changes]]:
        where, before = Filter(key_version=key.key_version), None
        while at_most := work.next_batch:
            page = self._storage.page(
                key.merchant_id, SealedCard, where, before=before, limit=at_most
            )
            if not page:
                return
            before = page[-1].id
            yield [changes for card in page for changes in self._sound(card, self._reseal, work)]

    def _refingerprinted(self, key: WrappedKey, work: _Work) -> Iterator[list[Changes]]:
        where, before = Filter(fingerprint_version=key.key_version), None
        while at_most := work.next_batch:
            page = self._storage.page(
                key.merchant_id, PaymentMethod, where, before=before, limit=at_most
            )
            if not page:
                return
            before = page[-1].id
            cards = [self._storage.get(key.merchant_id, SealedCard, m.token) for m in page]
            batch = [
                (method, changes)
                for method, card in zip(page, cards, strict=True)
                if card is not None
                for changes in self._sound(card, partial(self._refingerprint, method), work)
            ]
            for method, changes in batch:
                self._carry_declines(method, changes)
            yield [changes for _, changes in batch]

    def _carry_declines(self, method: PaymentMethod, changes: Changes) -> None:
        """Have a card's declines known by its new fingerprint, before the card itself is.

        They are settled, so nobody holds them; one that somebody else has carried is a conflict.
        """
        (rekeyed,) = changes.records
        assert isinstance(rekeyed, PaymentMethod)  # noqa: S101  # as `_refingerprint` makes them
        where = Filter(
            card_fingerprint=method.fingerprint, states=frozenset({OperationState.DECLINED})
        )
        for operation in all_records(self._storage, method.merchant_id, Operation, where):
            carried = evolve(
                operation, epoch=operation.epoch + 1, card_fingerprint=rekeyed.fingerprint
            )
            with suppress(Conflict):
                self._storage.commit(Changes(merchant_id=method.merchant_id, records=(carried,)))

    def _sound(
        self, card: SealedCard, change: Callable[[SealedCard], Changes], work: _Work
    ) -> Iterator[Changes]:
        """What is to be written of a card; nothing where it is damaged, or somebody was faster."""
        try:
            yield change(card)
        except VaultError as error:
            if error.code is ErrorCode.VAULT_INTEGRITY:
                self._note_damage(card, work)
            elif error.code is not ErrorCode.VAULT_KEY_MISSING or self._is_stored(card):
                raise

    def _note_damage(self, card: SealedCard, work: _Work) -> None:
        if card.id not in work.damaged:
            work.damaged[card.id] = True
            used = self._auditing.entry(
                card.merchant_id, AuditKind.KEY_USED, work.caller, object_id=card.id
            )
            self._auditing.note_failure(used, ErrorCode.VAULT_INTEGRITY)

    def _is_stored(self, card: SealedCard) -> bool:
        return self._storage.get(card.merchant_id, SealedCard, card.id) == card

    def _reseal(self, card: SealedCard) -> Changes:
        resealed, key = self._vault.reseal(card)
        return Changes(merchant_id=card.merchant_id, records=(resealed,), needed=(key,))

    def _refingerprint(self, method: PaymentMethod, card: SealedCard) -> Changes:
        fingerprint, key = self._vault.refingerprint(card)
        rekeyed = evolve(
            method,
            version=method.version + 1,
            fingerprint=fingerprint,
            fingerprint_version=key.key_version,
        )
        event = Event(
            id=self._new_id("evt"),
            merchant_id=method.merchant_id,
            subject_id=method.id,
            number=rekeyed.version,
            type="payment_method.rekeyed",
            at=self._now(),
        )
        return Changes(
            merchant_id=method.merchant_id, records=(rekeyed,), events=(event,), needed=(key,)
        )

    # -- commits -----------------------------------------------------------------------------------

    def _written(self, batch: Sequence[Changes], key: WrappedKey, work: _Work) -> Iterator[int]:
        """How many of these were written: all at once, or else each by itself.

        What somebody else has changed meanwhile is left: the next run finds what is still to do.
        """
        if not batch:
            return
        said = self._said(key, work.caller, "left", ("cards", str(len(batch))))
        try:
            self._storage.commit(evolve(_together(batch), audit=(said,)))
        except Conflict:
            if len(batch) == 1:
                self._vault.forget(batch[0].merchant_id)
                return
        except CommitUncertain:
            return
        else:
            yield len(batch)
            return
        for changes in batch:
            yield from self._written([changes], key, work)

    def _is_written(self, *keys: WrappedKey, said: AuditEntry) -> bool:
        try:
            self._storage.commit(Changes(merchant_id=said.merchant_id, records=keys, audit=(said,)))
        except Conflict:
            return False
        except CommitUncertain:
            last = keys[-1]
            return self._storage.get(last.merchant_id, WrappedKey, last.id) == last
        return True

    def _is_destroyed(self, key: WrappedKey, caller: Caller) -> bool:
        said = self._said(key, caller, "destroyed")
        try:
            self._storage.commit(
                Changes(merchant_id=key.merchant_id, removed=(key,), audit=(said,))
            )
        except (Conflict, CommitUncertain):
            return False
        self._vault.forget(key.merchant_id)
        return True

    def _said(
        self, key: WrappedKey, caller: Caller, step: str, *more: tuple[str, str]
    ) -> AuditEntry:
        """What is done with a key: it is made, wrapped, left by its cards, and destroyed."""
        return self._auditing.entry(
            key.merchant_id,
            AuditKind.ROTATE,
            caller,
            object_id=key.id,
            details=(("step", step), ("purpose", str(key.purpose)), *more),
        )

    # -- status ------------------------------------------------------------------------------------

    def status(self, merchant_ids: Iterable[str]) -> VaultStatus:
        """How old the keys are, what is under each, and what is overdue."""
        now, master = self._now(), self._vault.master_key
        keys = [key for merchant_id in merchant_ids for key in self._keys(merchant_id)]
        since = [_wrapped_at(key) for key in keys if key.wrapped_by == master]
        age_s = max(((now - at).total_seconds() for at in since), default=None)
        told = tuple(self._status_of(key, now) for key in keys)
        return VaultStatus(
            master_key=master,
            master_key_age_s=age_s,
            wrapped_by_others=len(keys) - len(since),
            master_key_is_overdue=age_s is not None and age_s > self._settings.master_key_period_s,
            cards=sum(key.records for key in told if key.purpose is KeyPurpose.DATA),
            keys=told,
        )

    def _status_of(self, key: WrappedKey, now: datetime) -> KeyStatus:
        age_s, records = (now - key.created_at).total_seconds(), self._under(key)
        return KeyStatus(
            merchant_id=key.merchant_id,
            purpose=key.purpose,
            key_version=key.key_version,
            created_at=key.created_at,
            retired_at=key.retired_at,
            age_s=age_s,
            records=records,
            is_overdue=self._is_overdue(key, now, records),
        )

    def _is_overdue(self, key: WrappedKey, now: datetime, records: int) -> bool:
        settings = self._settings
        if key.retired_at is not None:
            return now - key.retired_at > timedelta(seconds=settings.retired_key_period_s)
        is_data = key.purpose is KeyPurpose.DATA
        period_s = settings.data_key_period_s if is_data else settings.fingerprint_key_period_s
        is_old = now - key.created_at > timedelta(seconds=period_s)
        return is_old or (is_data and records > settings.data_key_records)


class _Work:
    """What a run has done, and how much more it may do."""

    def __init__(
        self, *, total: int, limit: int | None, progress: Progress | None, caller: Caller
    ) -> None:
        self._total = total
        self._limit = limit
        self._progress = progress
        self.caller = caller
        self.done = dict.fromkeys(KeyPurpose, 0)
        self.destroyed = 0
        self.damaged: dict[str, bool] = {}

    @property
    def next_batch(self) -> int:
        """How many cards the next commit may write."""
        done = sum(self.done.values())
        return BATCH if self._limit is None else min(BATCH, self._limit - done)

    def count(self, purpose: KeyPurpose, written: int) -> None:
        self.done[purpose] += written
        if self._progress is not None:
            self._progress(sum(self.done.values()), self._total)


def _wrapped_at(key: WrappedKey) -> datetime:
    return key.wrapped_at or key.created_at


def _together(batch: Sequence[Changes]) -> Changes:
    records: tuple[Record, ...] = tuple(record for one in batch for record in one.records)
    needed = {(key.id, key.version): key for one in batch for key in one.needed}
    return Changes(
        merchant_id=batch[0].merchant_id,
        records=records,
        needed=tuple(needed.values()),
        events=tuple(event for one in batch for event in one.events),
    )
