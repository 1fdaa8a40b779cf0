"""`pay.merchants`: the tenants. Whoever holds the platform may see them all; a merchant may not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from payplatform._domain.records import Merchant
from payplatform._domain.text import clean_id, clean_text
from payplatform.client._room import NAME_LENGTH, a_caller, optional_metadata

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


def a_merchant_id(merchant_id: str) -> str:
    """`merchant_id` if it is one.

    Raises:
        InvalidRequest: it is not: `id_malformed`, `id_wrong_kind`.
    """
    return clean_id(merchant_id, prefix="mer", field="merchant_id")
