"""What is told of the vault: the age of its keys, what a rotation did, what an import found.

Law of this file: values and nothing else, so that `import payplatform` has them without the vault.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from attrs import field, frozen

from payplatform._domain.records import KeyPurpose

Progress = Callable[[int, int], object]
"""Told after each step how many cards were brought to new keys in this run, of how many."""


@frozen(kw_only=True)
class RotationReport:
    """What one run did.

    Attributes:
        resealed: cards that were sealed anew under a newer data key.
        refingerprinted: cards that were given a fingerprint by a newer key.
        destroyed: retired keys that nothing needed any more.
        left: what is still under a retired key: of each card its seal, and its fingerprint.
        damaged: sealed cards that are not what was stored, by token; they keep their key.
    """

    resealed: int = 0
    refingerprinted: int = 0
    destroyed: int = 0
    left: int = 0
    damaged: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether everything is under the newest keys."""
        return not self.left


@frozen(kw_only=True)
class KeyStatus:
    """One of a merchant's keys.

    Attributes:
        purpose: whether it seals cards or makes fingerprints.
        records: how many cards are under it.
        retired_at: since when it only reads; None for the newest.
        is_overdue: the newest is older, or has more records, than the settings allow; or a retired
            one has been waiting for `run()` for longer than `retired_key_period_s`.
    """

    merchant_id: str
    purpose: KeyPurpose
    key_version: int
    created_at: datetime
    retired_at: datetime | None
    age_s: float
    records: int
    is_overdue: bool


@frozen(kw_only=True)
class VaultStatus:
    """How old the keys are, what is under each, and what is overdue (PCI DSS v4.0.1, 3.7.4).

    Attributes:
        master_key: the name of the one that wraps now.
        master_key_age_s: how long it has been wrapping; None when it wraps nothing yet.
        wrapped_by_others: how many keys another master key still wraps: `rotate_master_key()`.
        master_key_is_overdue: it is older than the settings allow.
        cards: how many cards are stored.
        keys: every merchant's, newest first.
    """

    master_key: str
    master_key_age_s: float | None
    wrapped_by_others: int
    master_key_is_overdue: bool
    cards: int
    keys: tuple[KeyStatus, ...] = field(repr=False)

    @property
    def overdue(self) -> tuple[KeyStatus, ...]:
        """The keys that should have been rotated, or destroyed, by now."""
        return tuple(key for key in self.keys if key.is_overdue)

    @property
    def left(self) -> int:
        """What is still under a retired key, as in `RotationReport`."""
        return sum(key.records for key in self.keys if key.retired_at is not None)


@frozen(kw_only=True)
class Difference:
    """Something in an export that is here already, which is left as it is.

    Attributes:
        id: of the customer or payment method in the export.
        existing_id: of the one that is here: the same, or that of another method with this card.
        changed: what differs here, by name; empty when nothing does. `deleted`: it was here once.
    """

    id: str
    existing_id: str
    changed: tuple[str, ...] = ()


@frozen(kw_only=True)
class ImportReport:
    """What one import did.

    Attributes:
        exported_at: when the export was made.
        exported_by: the actor who made it.
        purpose: what for.
        customers: how many customers were added.
        payment_methods: how many cards were added.
        duplicates: what was here already, and what of it differs.
    """

    exported_at: str
    exported_by: str
    purpose: str
    customers: int
    payment_methods: int
    duplicates: tuple[Difference, ...]
