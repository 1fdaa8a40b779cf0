"""`pay.merchants`: the tenants. Whoever holds the platform may see them all; a merchant may not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from payplatform._domain.fees import FeeRate, FeeSchedule
from payplatform._domain.records import Merchant
from payplatform._domain.text import clean_id, clean_text
from payplatform.client._room import NAME_LENGTH, a_caller, a_time, optional_metadata
from payplatform.errors import ErrorCode, InvalidRequest

if TYPE_CHECKING:
    from payplatform._engine.engine import Engine


class Merchants:
    """The merchants of a platform."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    def create(self, *, name: str, metadata: Mapping[str, str] | None = None) -> Merchant:
        """Add a merchant, with keys of its own in the vault.

        Args:
            name: at most 200 characters.
            metadata: at most 50 texts; keys to 40, values to 500 characters.

        Returns:
            The merchant, with a new id.

        Raises:
            InvalidRequest: an argument breaks its rule, or looks like a card number.
            VaultError: the key service failed; nothing was written.
            StorageUnavailable: the store failed; nothing was written.
        """
        return self._engine().registry.create_merchant(
            name=clean_text(name, field="name", max_length=NAME_LENGTH),
            metadata=optional_metadata(metadata),
        )

    def get(self, merchant_id: str) -> Merchant:
        """Read a merchant.

        Args:
            merchant_id: `mer_...`.

        Returns:
            The merchant.

        Raises:
            InvalidRequest: that is no merchant's id.
            NotFound: there is no such merchant.
            StorageUnavailable: the store failed.
        """
        return self._engine().registry.merchant(a_merchant_id(merchant_id))

    def list(self) -> Iterator[Merchant]:
        """All merchants, newest first, read page by page as you go.

        Returns:
            A lazy iterator.

        Raises:
            StorageUnavailable: the store failed, while iterating.
        """
        return self._engine().registry.merchants()

    def set_fees(
        self,
        merchant_id: str,
        *,
        rates: Iterable[FeeRate],
        counts_from: datetime | None = None,
    ) -> FeeSchedule:
        """Say what a merchant is charged from a time on.

        Each fee is booked with what it is for, in the same commit. What a schedule charged stays
        when the next one begins to count.

        Args:
            merchant_id: `mer_...`.
            rates: its prices; the first that fits a charge is the one. None at all ends the fees.
            counts_from: since when, with a time zone, and not in the past; now by default.

        Returns:
            The schedule.

        Raises:
            InvalidRequest: an argument breaks its rule, or the time is over.
            NotFound: there is no such merchant.
            StorageUnavailable: the store failed.
        """
        return self._engine().pricing.set(
            a_merchant_id(merchant_id), _rates(rates), a_time(counts_from, field="counts_from")
        )

    def fees(self, merchant_id: str) -> Iterator[FeeSchedule]:
        """Every schedule of fees that a merchant has had, newest first.

        Args:
            merchant_id: `mer_...`.

        Returns:
            A lazy iterator.

        Raises:
            InvalidRequest: that is no merchant's id.
            NotFound: there is no such merchant.
            StorageUnavailable: the store failed.
        """
        return self._engine().pricing.schedules(a_merchant_id(merchant_id))

    def erase(
        self, merchant_id: str, *, actor: str | None = None, origin: str | None = None
    ) -> None:
        """Destroy a merchant's keys, and with them every card; blank its customers. Books stay.

        Copies of the database made before still hold the wrapped keys, until the master key that
        they are wrapped with is destroyed.

        Args:
            merchant_id: `mer_...`.
            actor: who does this, for the audit trail, at most 200 characters.
            origin: from where, at most 200 characters.

        Raises:
            InvalidRequest: an argument breaks its rule.
            NotFound: there is no such merchant.
            NotAllowed: it has operations that are not finished: `recover()` first.
            StorageUnavailable: the store failed; nothing was erased.
        """
        self._engine().registry.erase_merchant(
            a_merchant_id(merchant_id), caller=a_caller(actor, origin)
        )


def _rates(rates: object) -> tuple[FeeRate, ...]:
    given = tuple(rates) if isinstance(rates, Iterable) else None
    if given is None or not all(isinstance(rate, FeeRate) for rate in given):
        raise InvalidRequest(
            "rates must be several of FeeRate", code=ErrorCode.TYPE_INVALID, field="rates"
        )
    return given


def a_merchant_id(merchant_id: str) -> str:
    """`merchant_id` if it is one.

    Raises:
        InvalidRequest: it is not: `id_malformed`, `id_wrong_kind`.
    """
    return clean_id(merchant_id, prefix="mer", field="merchant_id")
