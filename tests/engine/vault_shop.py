"""A vault with everything around it, to test it in."""

import os
from collections.abc import Callable, Mapping

import pytest

from payplatform._domain.cards import Brand
from payplatform._domain.changes import Changes
from payplatform._domain.messages import CardDetails
from payplatform._domain.records import KeyPurpose, SealedCard, WrappedKey
from payplatform._engine.vault import Vault
from payplatform.errors import VaultError
from payplatform.keys.local import LocalKeyService
from payplatform.storage.memory import MemoryStorage
from payplatform.testing.repeatable import START, FakeClock

ACME, BOOKS = "mer_acme", "mer_books"
NUMBER = "4000001234567899"
DEK, FPK = bytes(range(1, 33)), bytes(range(33, 65))


class CountingKeys:
    """A key service that counts what it is asked, and does or fails as it is told."""

    def __init__(self) -> None:
        self.inner = LocalKeyService.ephemeral()
        self.wraps: list[Mapping[str, str]] = []
        self.unwraps: list[Mapping[str, str]] = []
        self.failure: BaseException | None = None

    def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
        self.wraps.append(dict(context))
        self.fail()
        return self.inner.wrap(key, context)

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        self.unwraps.append(dict(context))
        self.fail()
        return self.inner.unwrap(wrapped, context)

    def rewrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        return self.inner.rewrap(wrapped, context)

    def describe(self) -> Mapping[str, str]:
        return self.inner.describe()

    def close(self) -> None:
        self.inner.close()

    def fail(self) -> None:
        if self.failure is not None:
            raise self.failure from KeyError(NUMBER)


class KnownKeys(CountingKeys):
    """Gives every merchant the same two keys, which are no secret."""

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        super().unwrap(wrapped, context)
        return DEK if context["purpose"] == "dek" else FPK


class Shop:
    """A vault with everything around it, and a second look at it as another process has."""

    def __init__(self, keys: CountingKeys | None = None, *merchants: str) -> None:
        self.keys = keys or CountingKeys()
        self.storage = MemoryStorage()
        self.clock = FakeClock()
        self.vault = self.another_vault()
        for merchant_id in merchants or (ACME, BOOKS):
            self.commit(*self.vault.new_merchant_keys(merchant_id))

    def another_vault(
        self,
        *,
        random_bytes: Callable[[int], bytes] = os.urandom,
        max_merchants: int = 1_000,
        ttl_s: float = 300.0,
    ) -> Vault:
        return Vault(
            keys=self.keys,
            storage=self.storage,
            now=self.clock,
            random_bytes=random_bytes,
            max_merchants=max_merchants,
            ttl_s=ttl_s,
        )

    def commit(self, *records: WrappedKey) -> None:
        self.storage.commit(Changes(merchant_id=records[0].merchant_id, records=records))

    def add_key(self, merchant_id: str, purpose: KeyPurpose, version: int) -> None:
        """What a rotation will commit: one more version of a key."""
        context = {
            "app": "payplatform",
            "purpose": purpose.value,
            "tenant": merchant_id,
            "version": str(version),
        }
        key = WrappedKey(
            id=f"{purpose}-{version}",
            merchant_id=merchant_id,
            purpose=purpose,
            key_version=version,
            wrapped=self.keys.inner.wrap(os.urandom(32), context),
            created_at=START,
        )
        self.commit(key)


def can_open(vault: Vault, sealed: SealedCard, merchant_id: str = ACME) -> bool:
    """Whether it opens as the card of these tests; a refusal is an error."""
    return opens(vault, sealed, merchant_id).number.reveal() == NUMBER


def opens(vault: Vault, sealed: SealedCard, merchant_id: str = ACME) -> CardDetails:
    return vault.open(merchant_id, sealed, brand=Brand.VISA)


def refusal(call: Callable[[], object]) -> VaultError:
    with pytest.raises(VaultError) as caught:
        call()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value
