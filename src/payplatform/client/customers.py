"""`shop.customers`: who pays the merchant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from payplatform._domain.records import Customer
from payplatform._domain.text import clean_email, clean_id
from payplatform.client._room import NAME_LENGTH, Room, optional_metadata, optional_text
from payplatform.errors import ErrorCode, InvalidRequest


class Customers(Room):
    """The merchant's customers."""

    def create(
        self,
        *,
        name: str | None = None,
        email: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Customer:
        """Add a customer.

        Args:
            name: at most 200 characters.
            email: one address.
            metadata: at most 50 texts of the merchant's own; keys to 40, values to 500 characters.

        Returns:
            The customer, with a new id.

        Raises:
            InvalidRequest: an argument breaks its rule, or looks like a card number.
            StorageUnavailable: the store failed; nothing was added.
        """
        return self._engine.registry.create_customer(
            self._merchant_id,
            name=optional_text(name, field="name", max_length=NAME_LENGTH),
            email=None if email is None else clean_email(email),
            metadata=optional_metadata(metadata),
        )

    def get(self, customer_id: str) -> Customer:
        """Read a customer.

        Args:
            customer_id: `cus_...`.

        Returns:
            The customer as stored.

        Raises:
            InvalidRequest: that is no customer's id.
            NotFound: this merchant has no such customer.
            StorageUnavailable: the store failed.
        """
        return self._engine.registry.customer(self._merchant_id, _id(customer_id))

    def update(
        self,
        customer_id: str,
        *,
        name: str | None = None,
        email: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Customer:
        """Change what is given; what is None stays as it is.

        Args:
            customer_id: `cus_...`.
            name: at most 200 characters.
            email: one address.
            metadata: replaces all of it.

        Returns:
            The customer as it is now.

        Raises:
            InvalidRequest: an argument breaks its rule, or none is given.
            NotFound: this merchant has no such customer.
            StorageUnavailable: the store failed; nothing was changed.
        """
        customer_id = _id(customer_id)
        fields: dict[str, object] = {}
        if name is not None:
            fields["name"] = optional_text(name, field="name", max_length=NAME_LENGTH)
        if email is not None:
            fields["email"] = clean_email(email)
        if metadata is not None:
            fields["metadata"] = optional_metadata(metadata)
        if not fields:
            raise InvalidRequest(
                "one of name, email and metadata must be given",
                code=ErrorCode.VALUE_INVALID,
                field="name",
            )
        return self._engine.registry.update_customer(self._merchant_id, customer_id, **fields)

    def list(self) -> Iterator[Customer]:
        """All customers, newest first, read page by page as you go.

        Returns:
            A lazy iterator; customers added meanwhile do not disturb it.

        Raises:
            StorageUnavailable: the store failed, while iterating.
        """
        return self._engine.registry.customers(self._merchant_id)

    def erase(self, customer_id: str) -> None:
        """Blank the customer's data and destroy their cards, in one commit. Payments stay.

        Args:
            customer_id: `cus_...`.

        Raises:
            InvalidRequest: that is no customer's id.
            NotFound: this merchant has no such customer.
            StorageUnavailable: the store failed; nothing was erased.
        """
        self._engine.registry.erase_customer(
            self._merchant_id, _id(customer_id), caller=self._caller
        )


def _id(customer_id: str) -> str:
    return clean_id(customer_id, prefix="cus", field="customer_id")
