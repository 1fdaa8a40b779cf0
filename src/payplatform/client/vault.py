"""`pay.vault` and `shop.vault`: the keys that cards are under, and how long cards are kept.

`pay.vault` is about all merchants, `shop.vault` about one, with the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from payplatform._domain.records import KeyPurpose
from payplatform._engine.rotation import Progress, RotationReport, VaultStatus
from payplatform.client._room import a_count
from payplatform.errors import ErrorCode, InvalidRequest

if TYPE_CHECKING:
    from payplatform._engine.engine import Engine

_MOST_CARDS = 1_000_000_000
_AT_ONCE = timedelta(0)


class Vault:
    """The vault of all merchants. Each call may be interrupted at any moment and made again."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._open_engine = engine

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

    def rotate_master_key(self) -> int:
        """Wrap the merchants' keys under the master key that is current at the key service.

        No card is touched, and no key is seen in clear. Only keys that another master key wraps are
        wrapped anew, so a call that was interrupted may be made again.

        Returns:
            How many keys were wrapped anew.

        Raises:
            NotFound: the merchant has been erased.
            VaultError: the key service failed; what is wrapped by then stays so.
            StorageUnavailable: the store failed; likewise.
        """
        return self._engine.rotation.rewrap(self._merchant_ids())

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
        return self._engine.rotation.run(merchant_ids, limit=limit, progress=progress)

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
            raise InvalidRequest(
                "unused_for must be more than nothing",
                code=ErrorCode.VALUE_INVALID,
                field="unused_for",
            )
        engine, limit = self._engine, _a_limit(limit)
        since = engine.now() - unused_for
        return sum(
            engine.registry.retire(merchant_id, unused_since=since, limit=limit)
            for merchant_id in self._merchant_ids()
        )

    @property
    def _engine(self) -> Engine:
        return self._open_engine()

    def _merchant_ids(self) -> Iterator[str]:
        return (merchant.id for merchant in self._engine.registry.merchants())

    def _rotate(self, purpose: KeyPurpose, older_than: timedelta) -> int:
        engine = self._engine
        made_before = engine.now() - _an_age(older_than, field="older_than")
        return sum(
            engine.rotation.rotate(merchant_id, purpose, made_before=made_before)
            for merchant_id in self._merchant_ids()
        )


class MerchantVault(Vault):
    """The vault of one merchant."""

    def __init__(self, engine: Callable[[], Engine], merchant_id: str) -> None:
        super().__init__(engine)
        self._merchant_id = merchant_id

    def _merchant_ids(self) -> Iterator[str]:
        yield self._engine.registry.merchant(self._merchant_id).id


def _a_limit(limit: int | None) -> int | None:
    return None if limit is None else a_count(limit, field="limit", most=_MOST_CARDS)


def _an_age(age: object, *, field: str) -> timedelta:
    if not isinstance(age, timedelta):
        raise _wrong(field, "must be a timedelta")
    if age < _AT_ONCE:
        raise InvalidRequest(
            f"{field} must not be less than nothing", code=ErrorCode.VALUE_INVALID, field=field
        )
    return age


def _wrong(field: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {rule}", code=ErrorCode.TYPE_INVALID, field=field)
