"""`pay.vault` and `shop.vault`: the keys that cards are under, and how long cards are kept.

`pay.vault` is about all merchants, `shop.vault` about one, with the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from attrs import evolve

from payplatform._domain.audit import UNNAMED, Caller
from payplatform._domain.records import KeyPurpose
from payplatform._domain.text import clean_text
from payplatform._engine.vault_reports import (
    ImportReport,
    Progress,
    RotationReport,
    VaultStatus,
)
from payplatform.client._room import EXPLANATION_LENGTH, NAME_LENGTH, a_caller, a_count
from payplatform.errors import ErrorCode, InvalidRequest

if TYPE_CHECKING:
    from payplatform._engine.engine import Engine

_MOST_CARDS = 1_000_000_000
_AT_ONCE = timedelta(0)
_LONGEST = timedelta(days=365_000)


class Vault:
    """The vault of all merchants. Each call may be interrupted at any moment and made again."""

    def __init__(self, engine: Callable[[], Engine], caller: Caller = UNNAMED) -> None:
        self._open_engine = engine
        self._caller = caller

    def on_behalf_of(self, actor: str, *, origin: str | None = None) -> Vault:
        """The same vault, for somebody whom the audit trails are to name.

        `pay.merchant(..., actor=...)` does this for one merchant.

        Args:
            actor: who calls, at most 200 characters.
            origin: from where: an address, a host, a screen; at most 200 characters.

        Returns:
            The vault of all merchants.

        Raises:
            InvalidRequest: an argument breaks its rule, or looks like a card number.
            NotAllowed: the platform is closed.
        """
        self._open_engine()
        return Vault(self._open_engine, _a_named(actor, origin))

    def status(self) -> VaultStatus:
        """How old the keys are, how many cards are under each, and what is overdue.

        Returns:
            The status, by the periods in `Settings`.

        Raises:
            NotFound: the merchant has been erased.
            StorageUnavailable: the store failed.
        """
        return self._engine.rotation.status(self._merchant_ids())

    def rotate_data_key(self, *, older_than: timedelta = _AT_ONCE) -> int:
        """Seal new cards under a new key from now on; `run()` then brings the others to it.

        Args:
            older_than: only where the newest key is older. With the same age a call that was
                interrupted may be made again, and goes on where it ended.

        Returns:
            How many merchants were given a new key.

        Raises:
            InvalidRequest: the age is no time, or less than nothing.
            NotFound: the merchant has been erased.
            VaultError: the key service failed; those who have a new key by then keep it.
            StorageUnavailable: the store failed; likewise.
        """
        return self._rotate(KeyPurpose.DATA, older_than)

    def rotate_fingerprint_key(self, *, older_than: timedelta = _AT_ONCE) -> int:
        """Recognise cards by a new key from now on; by the old one too, until `run()` is done.

        Args:
            older_than: only where the newest key is older.

        Returns:
            How many merchants were given a new key.

        Raises:
            InvalidRequest: the age is no time, or less than nothing.
            NotFound: the merchant has been erased.
            VaultError: the key service failed; those who have a new key by then keep it.
            StorageUnavailable: the store failed; likewise.
        """
        return self._rotate(KeyPurpose.FINGERPRINT, older_than)

    def rotate_master_key(self, *, older_than: timedelta | None = None) -> int:
        """Wrap the merchants' keys under the master key that is current at the key service.

        No card is touched. Keys that another master key wraps are wrapped anew, so a call that was
        interrupted may be made again. Where the key service has renewed a master key under its old
        name, as a transit engine does, nothing tells which keys are still under the old one but
        when they were wrapped.

        Args:
            older_than: also keys that were wrapped longer ago than this.

        Returns:
            How many keys were wrapped anew.

        Raises:
            InvalidRequest: the age is no time, or less than nothing.
            NotFound: the merchant has been erased.
            VaultError: the key service failed; what is wrapped by then stays so.
            StorageUnavailable: the store failed; likewise.
        """
        engine, wrapped_before = self._engine, None
        if older_than is not None:
            age = _an_age(older_than, field="older_than")
            wrapped_before = _before(engine.now(), age, field="older_than")
        return engine.rotation.rewrap(
            self._merchant_ids(), wrapped_before=wrapped_before, caller=self._caller
        )

    def run(self, *, limit: int | None = None, progress: Progress | None = None) -> RotationReport:
        """Bring cards to the newest keys, and destroy each old key that nothing needs any more.

        Others may read and write meanwhile, and run this too. A card is readable at every moment.

        Args:
            limit: how many cards at most; by default all. A seal and a fingerprint count one each.
            progress: called after each commit with how many were done in this run, of how many.

        Returns:
            What was done, and what is left.

        Raises:
            InvalidRequest: the limit is out of its range, or the progress cannot be called.
            NotFound: the merchant has been erased.
            VaultError: the key service failed; what is done by then is done.
            StorageUnavailable: the store failed; likewise.
        """
        if progress is not None and not callable(progress):
            raise _wrong("progress", "must be a callable that takes done and total")
        merchant_ids, limit = list(self._merchant_ids()), _a_limit(limit)
        return self._engine.rotation.run(
            merchant_ids, limit=limit, progress=progress, caller=self._caller
        )

    def retire(self, *, unused_for: timedelta, limit: int | None = None) -> int:
        """Delete the cards that nobody has used for so long (PCI DSS v4.0.1, 3.2.1).

        A card is used when it is stored or changed, and when a payment with it changes.

        Args:
            unused_for: for how long; more than nothing.
            limit: how many cards at most, of each merchant; by default all.

        Returns:
            How many cards were deleted.

        Raises:
            InvalidRequest: an argument breaks its rule.
            NotFound: the merchant has been erased.
            StorageUnavailable: the store failed; what is deleted by then is deleted.
        """
        if _an_age(unused_for, field="unused_for") == _AT_ONCE:
            raise _invalid("unused_for", "must be more than nothing")
        engine, limit = self._engine, _a_limit(limit)
        since = _before(engine.now(), unused_for, field="unused_for")
        return sum(
            engine.registry.retire(
                merchant_id, unused_since=since, limit=limit, caller=self._caller
            )
            for merchant_id in self._merchant_ids()
        )

    @property
    def _engine(self) -> Engine:
        return self._open_engine()

    def _merchant_ids(self) -> Iterator[str]:
        return (merchant.id for merchant in self._engine.registry.merchants())

    def _rotate(self, purpose: KeyPurpose, older_than: timedelta) -> int:
        engine = self._engine
        age = _an_age(older_than, field="older_than")
        made_before = _before(engine.now(), age, field="older_than")
        return sum(
            engine.rotation.rotate(
                merchant_id, purpose, made_before=made_before, caller=self._caller
            )
            for merchant_id in self._merchant_ids()
        )


class MerchantVault(Vault):
    """The vault of one merchant."""

    def __init__(
        self, engine: Callable[[], Engine], merchant_id: str, caller: Caller = UNNAMED
    ) -> None:
        super().__init__(engine, caller)
        self._merchant_id = merchant_id

    def on_behalf_of(self, actor: str, *, origin: str | None = None) -> MerchantVault:
        """The same vault, for somebody whom the audit trail is to name.

        Args:
            actor: who calls, at most 200 characters.
            origin: from where: an address, a host, a screen; at most 200 characters.

        Returns:
            The merchant's vault.

        Raises:
            InvalidRequest: an argument breaks its rule, or looks like a card number.
            NotFound: the merchant has been erased.
            StorageUnavailable: the store failed.
        """
        caller = _a_named(actor, origin)
        (merchant_id,) = self._merchant_ids()
        return MerchantVault(self._open_engine, merchant_id, caller)

    def _merchant_ids(self) -> Iterator[str]:
        yield self._engine.registry.merchant(self._merchant_id).id

    def export(self, *, public_key: bytes, actor: str, purpose: str) -> bytes:
        """All customers and cards of the merchant, encrypted to a receiver's public key.

        Only the receiver can read it, with `import_` or with any implementation of HPKE (RFC 9180).
        Make sure by another way that the key is really the receiver's.

        Args:
            public_key: the receiver's, X25519 or P-256, as PEM.
            actor: who does this, at most 200 characters.
            purpose: what for, at most 500 characters. The receiver can read both.

        Returns:
            The export, to be sent or kept as it is.

        Raises:
            InvalidRequest: an argument breaks its rule.
            NotFound: the merchant has been erased.
            VaultError: a card could not be opened; nothing left.
            StorageUnavailable: the store failed; nothing left.
        """
        from payplatform._engine.portability import public_key_in  # noqa: PLC0415  # seldom needed

        actor = clean_text(actor, field="actor", max_length=NAME_LENGTH)
        purpose = clean_text(purpose, field="purpose", max_length=EXPLANATION_LENGTH)
        receiver = public_key_in(_a_pem(public_key, field="public_key"))
        if receiver is None:
            raise _invalid("public_key", "must be an X25519 or P-256 public key as PEM")
        (merchant_id,) = self._merchant_ids()
        portability = self._engine.portability
        return portability.export(
            merchant_id,
            public_key=receiver,
            caller=evolve(self._caller, actor=actor),
            purpose=purpose,
        )

    def import_(
        self, data: bytes, *, private_key: bytes, password: bytes | None = None
    ) -> ImportReport:
        """Take in the customers and cards of an export, under the ids that they had.

        What is here already stays as it is and is reported, with what of it differs. An import that
        was interrupted may be made again: what was added by then is reported as a duplicate.

        Args:
            data: the export.
            private_key: the one that belongs to the public key it was made for, as PEM.
            password: of the private key, where it is encrypted.

        Returns:
            What was added, and what was here.

        Raises:
            InvalidRequest: the data or the key is not what it has to be; nothing was added.
            NotFound: the merchant has been erased.
            VaultError: a card could not be sealed; what is added by then stays.
            StorageUnavailable: the store failed; likewise.
        """
        from payplatform._engine.portability import private_key_in  # noqa: PLC0415  # seldom needed

        if password is not None and not isinstance(password, bytes):
            raise _wrong("password", "must be bytes")
        key = private_key_in(_a_pem(private_key, field="private_key"), password)
        if key is None:
            raise _invalid("private_key", "must be an X25519 or P-256 private key as PEM")
        if not isinstance(data, bytes):
            raise _wrong("data", "must be bytes")
        (merchant_id,) = self._merchant_ids()
        return self._engine.portability.take_in(
            merchant_id, data, private_key=key, caller=self._caller
        )


def _a_named(actor: str, origin: str | None) -> Caller:
    name = clean_text(actor, field="actor", max_length=NAME_LENGTH)
    return evolve(a_caller(None, origin), actor=name)


def _a_limit(limit: int | None) -> int | None:
    return None if limit is None else a_count(limit, field="limit", most=_MOST_CARDS)


def _an_age(age: object, *, field: str) -> timedelta:
    if not isinstance(age, timedelta):
        raise _wrong(field, "must be a timedelta")
    if age < _AT_ONCE:
        raise _invalid(field, "must not be less than nothing")
    return age


def _before(now: datetime, age: timedelta, *, field: str) -> datetime:
    if age > _LONGEST:
        raise _invalid(field, "must be at most a thousand years")
    return now - age


def _a_pem(pem: object, *, field: str) -> bytes:
    if not isinstance(pem, bytes):
        raise _wrong(field, "must be PEM as bytes")
    return pem


def _invalid(field: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {rule}", code=ErrorCode.VALUE_INVALID, field=field)


def _wrong(field: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {rule}", code=ErrorCode.TYPE_INVALID, field=field)
