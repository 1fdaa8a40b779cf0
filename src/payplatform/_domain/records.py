"""Who and what is on file: merchants, customers, payment methods, and the sealed things.

Every record has its merchant, an id, and a version that each committed change raises by one.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from attrs import field, frozen

from payplatform._domain.cards import Brand
from payplatform._domain.declines import Decline
from payplatform._domain.operations import OpenOperation


@frozen(kw_only=True)
class Merchant:
    """The tenant: everything else belongs to exactly one."""

    id: str
    version: int
    name: str
    metadata: tuple[tuple[str, str], ...] = ()
    created_at: datetime
    updated_at: datetime
    erased_at: datetime | None = None

    @property
    def merchant_id(self) -> str:
        """Its own: a merchant belongs to itself."""
        return self.id


@frozen(kw_only=True)
class Customer:
    """Who pays the merchant. Once erased only the id and the times are left."""

    id: str
    merchant_id: str
    version: int
    name: str | None = None
    email: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    default_payment_method_id: str | None = None
    created_at: datetime
    updated_at: datetime
    erased_at: datetime | None = None


class Check(StrEnum):
    """What the issuer said of a security code or a postal code."""

    MATCH = "match"
    MISMATCH = "mismatch"
    NOT_CHECKED = "not_checked"


@frozen(kw_only=True)
class Verification:
    """What the bank said when it was asked about a card without moving money."""

    succeeded: bool
    checked_at: datetime
    security_code: Check = Check.NOT_CHECKED
    postal_code: Check = Check.NOT_CHECKED
    decline: Decline | None = None


@frozen(kw_only=True)
class PaymentMethod:
    """A stored card behind a token. It shows the brand and the last four digits, never more.

    Attributes:
        token: names the sealed card in the vault; nothing about the card can be read from it.
        fingerprint: the same card at the same merchant has the same one; None once deleted.
        fingerprint_version: of the merchant's key that made the fingerprint; None once deleted.
        network_transaction_id: the card network's id of the first payment with this stored card,
            which every later one has to name.
        allowed_again_at: declines until that time no longer stand in its way; a person said so.
    """

    id: str
    merchant_id: str
    version: int
    token: str = field(repr=False)
    customer_id: str | None = None
    brand: Brand
    bin: str
    last4: str
    expiry_month: int
    expiry_year: int
    fingerprint: bytes | None = field(default=None, repr=False)
    fingerprint_version: int | None = field(default=None, repr=False)
    network_transaction_id: str | None = None
    verification: Verification | None = None
    open_operations: tuple[OpenOperation, ...] = ()
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    allowed_again_at: datetime | None = None
    replayed: bool = field(default=False, eq=False)

    @property
    def masked(self) -> str:
        """The most that may be displayed: first six, last four (PCI DSS v4.0.1, 3.4.1)."""
        return f"{self.bin}******{self.last4}"

    def __str__(self) -> str:
        return f"{self.brand} ****{self.last4}"


@frozen(kw_only=True)
class SealedCard:
    """A card as the vault wrote it: two sealed records under one token."""

    id: str
    merchant_id: str
    version: int = 1
    key_version: int
    number: bytes = field(repr=False)
    details: bytes = field(repr=False)


class KeyPurpose(StrEnum):
    """What a merchant's key is for: sealing cards, or recognising one that is here already."""

    DATA = "dek"
    FINGERPRINT = "fpk"


@frozen(kw_only=True)
class WrappedKey:
    """One of a merchant's keys, wrapped by the key service. `id` is purpose and key version.

    Attributes:
        wrapped_by: the name of the master key that wraps it; empty where that is not known.
        wrapped_at: when that master key wrapped it; None means when it was made.
        retired_at: since when a newer one is there, and nothing new is made under this one; None
            for the newest.
    """

    id: str
    merchant_id: str
    version: int = 1
    purpose: KeyPurpose
    key_version: int
    wrapped: bytes = field(repr=False)
    wrapped_by: str = ""
    wrapped_at: datetime | None = None
    retired_at: datetime | None = None
    created_at: datetime
