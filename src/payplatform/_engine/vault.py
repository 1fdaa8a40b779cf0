"""The vault: seals cards, opens them for one bank call, and recognises one that is here already.

Law of this file: a card number leaves it only in a `Secret`, and no error of it holds one, nor a
key. It makes records and commits none: the caller writes what it returns in the same commit as
everything else. The security code never comes in here at all (PCI DSS v4.0.1, 3.3.1).

The master key is with the key service. Under it each merchant has keys of its own, stored wrapped:
one seals cards (`dek`), one makes fingerprints (`fpk`). Destroying a merchant's wrapped keys
destroys every card of it. Under the data key each record has a key of its own (`sealing`).

No storage transaction may be open while the vault is called: it may have to ask the key service.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock
from typing import Final, NamedTuple, NoReturn

from payplatform._domain.cards import Brand, Card
from payplatform._domain.messages import CardDetails
from payplatform._domain.records import KeyPurpose, SealedCard, WrappedKey
from payplatform._domain.secret import Guarded, Secret
from payplatform._engine.pages import all_records
from payplatform._engine.sealing import KEY_BYTES, Place, length_prefixed, seal, unseal
from payplatform.errors import ErrorCode, VaultError, VaultIntegrityError, VaultUnavailable
from payplatform.ports import KeyService, Storage

_NUMBER: Final = "number"
_DETAILS: Final = "details"

# Long enough for every card number, so that no record tells how many digits it holds.
_NUMBER_BYTES: Final = 23
# A name of up to 26 letters, as many as a card's stripe holds (ISO/IEC 7813), fits one step with a
# postal code of any length; a longer one takes two. More than that the record's length never tells.
_DETAILS_STEP: Final = 64

# Crockford's base 32, as ids have it.
_LETTERS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_LONG_RUN_OF_DIGITS: Final = re.compile(r"[0-9]{12}")


class Vault:
    """Seals, opens and fingerprints cards. Safe to use from many threads at once.

    Merchants' keys are kept in memory, in clear, and used for at most `ttl_s`: a key that was
    destroyed by another process works here for that much longer. A forked child starts without any.

    Args:
        keys: who wraps the merchants' keys.
        storage: where the wrapped keys are kept; only read.
        now: the clock, in UTC.
        random_bytes: a source fit for keys; takes how many.
        max_merchants: how many merchants' keys may be in memory at once.
        ttl_s: for how many seconds they may be.
    """

    def __init__(
        self,
        *,
        keys: KeyService,
        storage: Storage,
        now: Callable[[], datetime],
        random_bytes: Callable[[int], bytes] = os.urandom,
        max_merchants: int = 1_000,
        ttl_s: float = 300.0,
    ) -> None:
        self._keys = keys
        self._storage = storage
        self._now = now
        self._random_bytes = random_bytes
        self._cache = _Cache(now=now, max_merchants=max_merchants, ttl_s=ttl_s)

    def new_merchant_keys(self, merchant_id: str) -> tuple[WrappedKey, WrappedKey]:
        """The first keys of a new merchant, wrapped: for data, and for fingerprints.

        They are not remembered in clear: the first use unwraps what was stored, so that a key
        service that cannot give a key back is found out before a card is sealed under it.

        Raises:
            VaultUnavailable: the key service failed.
        """
        return (
            self._new_key(merchant_id, KeyPurpose.DATA),
            self._new_key(merchant_id, KeyPurpose.FINGERPRINT),
        )

    def seal(self, merchant_id: str, card: Card, *, postal_code: str | None = None) -> SealedCard:
        """Encrypt a card under a new token.

        Args:
            merchant_id: whose it is.
            card: the card.
            postal_code: of the billing address, in its normal form.

        Returns:
            What to store. Its id is the token: random, and read by nobody for a card number.

        Raises:
            VaultError: `vault_key_missing` when the merchant has no keys, as after its erasure.
            VaultUnavailable: the key service failed.
            VaultIntegrityError: the merchant's key was altered.
        """
        ring = self._ring(merchant_id)
        wrapped = ring.of(KeyPurpose.DATA)[0]
        key = self._in_clear(wrapped, ring)
        token = self._new_token()

        def sealed(field: str, plaintext: Callable[[], bytes]) -> bytes:
            return seal(
                plaintext,
                Place(merchant_id=merchant_id, token=token, field=field),
                key=key,
                key_version=wrapped.key_version,
                random_bytes=self._random_bytes,
            )

        return SealedCard(
            id=token,
            merchant_id=merchant_id,
            key_version=wrapped.key_version,
            number=sealed(_NUMBER, lambda: _number_bytes(card.number)),
            details=sealed(_DETAILS, lambda: _details_bytes(card, postal_code)),
        )

    def open(self, merchant_id: str, sealed: SealedCard, *, brand: Brand) -> CardDetails:
        """Decrypt a card, for the length of one bank call.

        Args:
            merchant_id: whose it has to be.
            sealed: as stored.
            brand: the card's, which is kept in clear beside it.

        Returns:
            The card without a security code.

        Raises:
            VaultError: `vault_key_missing` when its key is gone, as after the merchant's erasure.
            VaultUnavailable: the key service failed.
            VaultIntegrityError: the record, or its key, is not what was stored for this merchant
                under this token.
        """
        key = self._data_key(merchant_id, sealed.key_version)

        def opened(field: str, record: bytes) -> bytes | None:
            place = Place(merchant_id=merchant_id, token=sealed.id, field=field)
            return unseal(record, place, key=key, key_version=sealed.key_version)

        # The number comes last, so that nothing can fail while it is in clear.
        details = _details_in(opened(_DETAILS, sealed.details))
        number = None if details is None else _number_in(opened(_NUMBER, sealed.number))
        if details is None or number is None:
            raise VaultIntegrityError(f"the sealed card {sealed.id} is not what was stored")
        return CardDetails(
            number=number,
            brand=brand,
            expiry_month=details.expiry_month,
            expiry_year=details.expiry_year,
            holder=details.holder,
            postal_code=details.postal_code,
        )

    def fingerprints(self, merchant_id: str, card: Card) -> tuple[bytes, ...]:
        """What the card is recognised by at this merchant: 32 bytes, from its number alone.

        Returns:
            The one to store, then those that it may be stored under from before.

        Raises:
            VaultError: `vault_key_missing` when the merchant has no keys, as after its erasure.
            VaultUnavailable: the key service failed.
            VaultIntegrityError: the merchant's key was altered.
        """
        ring = self._ring(merchant_id)
        keys = [self._in_clear(wrapped, ring) for wrapped in ring.of(KeyPurpose.FINGERPRINT)]
        return tuple(_fingerprint(key, merchant_id, card.number) for key in keys)

    def forget(self, merchant_id: str) -> None:
        """Drop the merchant's keys from memory."""
        self._cache.forget(merchant_id)

    def close(self) -> None:
        """Drop every key from memory. The ports are left to whoever opened them."""
        self._cache.clear()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Vault refuses pickling and copying")

    def _new_key(self, merchant_id: str, purpose: KeyPurpose) -> WrappedKey:
        version = 1
        context = _context(merchant_id, purpose, version)
        wrapped = _asked(lambda: self._keys.wrap(self._random_bytes(KEY_BYTES), context))
        return WrappedKey(
            id=f"{purpose}-{version}",
            merchant_id=merchant_id,
            purpose=purpose,
            key_version=version,
            wrapped=wrapped,
            created_at=self._now(),
        )

    def _new_token(self) -> str:
        while True:
            number = int.from_bytes(self._random_bytes(16), "big")
            # 128 bits: one letter for the first three, twenty-five for the rest.
            letters = (_LETTERS[number >> shift & 31] for shift in range(125, -1, -5))
            token = f"tok_{''.join(letters)}"
            # About once in a hundred thousand tokens, chance makes so many digits in a row.
            if not _LONG_RUN_OF_DIGITS.search(token):
                return token

    def _ring(self, merchant_id: str) -> _Keyring:
        ring = self._cache.get(merchant_id)
        if ring is None:
            ring = self._read_ring(merchant_id)
            self._cache.put(merchant_id, ring)
        return ring

    def _read_ring(self, merchant_id: str) -> _Keyring:
        read_at = self._now()
        stored = tuple(all_records(self._storage, merchant_id, WrappedKey))
        ring = _Keyring(stored, read_at)
        if not (ring.of(KeyPurpose.DATA) and ring.of(KeyPurpose.FINGERPRINT)):
            raise _no_key(f"merchant {merchant_id} has no keys: it was erased, or never committed")
        return ring

    def _data_key(self, merchant_id: str, version: int) -> bytes:
        ring = self._ring(merchant_id)
        if not ring.of(KeyPurpose.DATA, version):
            # Another process may have made this version since we last looked.
            self._cache.forget(merchant_id)
            ring = self._ring(merchant_id)
        for wrapped in ring.of(KeyPurpose.DATA, version):
            return self._in_clear(wrapped, ring)
        raise _no_key(f"merchant {merchant_id} has no data key of version {version}")

    def _in_clear(self, wrapped: WrappedKey, ring: _Keyring) -> bytes:
        key = ring.clear.get(wrapped.id)
        if key is None:
            context = _context(wrapped.merchant_id, wrapped.purpose, wrapped.key_version)
            key = _asked(lambda: self._keys.unwrap(wrapped.wrapped, context))
            if len(key) != KEY_BYTES:
                raise VaultIntegrityError(
                    f"key {wrapped.id} of merchant {wrapped.merchant_id} has a wrong length"
                )
            ring.clear[wrapped.id] = key
        return key


class _Keyring(Guarded):
    """A merchant's keys as stored, and in clear those that have been used."""

    __slots__ = ("clear", "read_at", "stored")
    stored: tuple[WrappedKey, ...]
    read_at: datetime
    clear: dict[str, bytes]

    def __init__(self, stored: tuple[WrappedKey, ...], read_at: datetime) -> None:
        newest_first = sorted(stored, key=lambda wrapped: -wrapped.key_version)
        object.__setattr__(self, "stored", tuple(newest_first))
        object.__setattr__(self, "read_at", read_at)
        object.__setattr__(self, "clear", {})

    def of(self, purpose: KeyPurpose, version: int | None = None) -> list[WrappedKey]:
        """The stored keys for that purpose, and of that version if one is asked for."""
        return [
            wrapped
            for wrapped in self.stored
            if wrapped.purpose is purpose and version in (None, wrapped.key_version)
        ]


class _Cache:
    """Keyrings by merchant: so many at most, so long at most, and never another process's."""

    _lock: Lock
    _rings: dict[str, _Keyring]
    _pid: int

    def __init__(self, *, now: Callable[[], datetime], max_merchants: int, ttl_s: float) -> None:
        self._now = now
        self._max_merchants = max_merchants
        self._ttl = timedelta(seconds=ttl_s)
        self._start_over()

    def get(self, merchant_id: str) -> _Keyring | None:
        self._leave_the_parents_behind()
        with self._lock:
            ring = self._rings.pop(merchant_id, None)
            if ring is None or not self._is_fresh(ring):
                return None
            self._rings[merchant_id] = ring
            return ring

    def put(self, merchant_id: str, ring: _Keyring) -> None:
        self._leave_the_parents_behind()
        with self._lock:
            self._rings = {key: kept for key, kept in self._rings.items() if self._is_fresh(kept)}
            self._rings[merchant_id] = ring
            while len(self._rings) > self._max_merchants:
                del self._rings[next(iter(self._rings))]

    def forget(self, merchant_id: str) -> None:
        self._leave_the_parents_behind()
        with self._lock:
            self._rings.pop(merchant_id, None)

    def clear(self) -> None:
        self._start_over()

    def _is_fresh(self, ring: _Keyring) -> bool:
        # A clock that was set back makes an age negative; that is no reason to trust it longer.
        return timedelta(0) <= self._now() - ring.read_at < self._ttl

    def _leave_the_parents_behind(self) -> None:
        # A lock that was held during a fork is held in the child for ever, so it goes too.
        if self._pid != os.getpid():
            self._start_over()

    def _start_over(self) -> None:
        self._lock = Lock()
        self._rings = {}
        self._pid = os.getpid()


class _Details(NamedTuple):
    expiry_month: int
    expiry_year: int
    holder: str | None
    postal_code: str | None


def _number_bytes(number: Secret) -> bytes:
    digits = number.reveal().encode()
    return bytes((len(digits),)) + digits.ljust(_NUMBER_BYTES, b"\0")


def _number_in(plaintext: bytes | None) -> Secret | None:
    return None if plaintext is None else Secret(plaintext[1 : 1 + plaintext[0]].decode())


def _details_bytes(card: Card, postal_code: str | None) -> bytes:
    expiry = f"{card.expiry_year:04}-{card.expiry_month:02}"
    texts = (expiry, card.holder or "", postal_code or "")
    content = length_prefixed(*(text.encode() for text in texts))
    unpadded = len(content).to_bytes(2, "big") + content
    return unpadded + bytes(-len(unpadded) % _DETAILS_STEP)


def _details_in(plaintext: bytes | None) -> _Details | None:
    if plaintext is None:
        return None
    expiry, holder, postal_code = _texts_in(plaintext[2:], 3)
    return _Details(int(expiry[5:]), int(expiry[:4]), holder or None, postal_code or None)


def _texts_in(content: bytes, count: int) -> list[str]:
    texts: list[str] = []
    for _ in range(count):
        end = 4 + int.from_bytes(content[:4], "big")
        texts.append(content[4:end].decode())
        content = content[end:]
    return texts


def _fingerprint(key: bytes, merchant_id: str, number: Secret) -> bytes:
    purpose, merchant = b"pan-fp/v1", merchant_id.encode()
    return hmac.digest(key, length_prefixed(purpose, merchant, number.reveal().encode()), "sha256")


def _context(merchant_id: str, purpose: KeyPurpose, version: int) -> dict[str, str]:
    """What a merchant's key is bound to when it is wrapped."""
    return {
        "app": "payplatform",
        "purpose": str(purpose),
        "tenant": merchant_id,
        "version": str(version),
    }


def _asked(call: Callable[[], bytes]) -> bytes:
    """Ask the key service. Its errors are told anew, since their chains may hold what it held."""
    try:
        return call()
    except VaultError as error:
        kinds = (VaultUnavailable, VaultIntegrityError, VaultError)
        kind = next(kind for kind in kinds if isinstance(error, kind))
        told = kind(error.message, code=error.code)
    except Exception as error:  # noqa: BLE001  # whatever it raises, it did not do what it was asked
        told = VaultUnavailable(f"the key service failed with {type(error).__name__}")
    raise told


def _no_key(rule: str) -> VaultError:
    return VaultError(rule, code=ErrorCode.VAULT_KEY_MISSING)
