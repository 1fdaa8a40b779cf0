"""The vault: seals cards, opens them for one bank call, and recognises one that is here already.

Law of this file: a card number leaves it only in a `Secret`, and no error of it holds one, nor a
key. It makes records and commits none: the caller writes what it returns in the same commit as
everything else. The security code never comes in here at all (PCI DSS v4.0.1, 3.3.1).

The master key is with the key service. Under it each merchant has keys of its own, stored wrapped:
one seals cards (`dek`), one makes fingerprints (`fpk`). Destroying a merchant's wrapped keys
destroys every card of it. Under the data key each card has a key of its own (`sealing`).

Of several versions the newest makes everything new, and the older ones only read. Who commits what
was made here names the keys it was made with as needed (`Changes.needed`): a key that has been
retired meanwhile, by whatever process, is then a conflict, and `forget` makes the next try read the
keys anew. So nothing is ever made under a retired key, and one that nothing needs may be destroyed.

No storage transaction may be open while the vault is called: it may have to ask the key service.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock
from typing import Final, NamedTuple, NoReturn

from attrs import evolve, field, frozen

from payplatform._domain.cards import Brand, Card
from payplatform._domain.messages import CardDetails
from payplatform._domain.records import KeyPurpose, SealedCard, WrappedKey
from payplatform._domain.secret import Secret
from payplatform._engine.pages import all_records
from payplatform._engine.sealing import KEY_BYTES, DataKey, FingerprintKey, length_prefixed
from payplatform.errors import ErrorCode, VaultError, VaultIntegrityError, VaultUnavailable
from payplatform.ports import KeyService, Storage

_NUMBER: Final = "number"
_DETAILS: Final = "details"

# Long enough for every card number, so that no record tells how many digits it holds.
_NUMBER_BYTES: Final = 23
_EXPIRY: Final = struct.Struct(">HB")
# A name of up to 26 letters, as many as a card's stripe holds (ISO/IEC 7813), fits one step with a
# postal code of any length; a longer one takes two. More than that the record's length never tells.
_DETAILS_STEP: Final = 64

# Crockford's base 32, as ids have it: for each byte the letter of its last five bits.
_LETTERS: Final = b"0123456789abcdefghjkmnpqrstvwxyz" * 8
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
            self.new_key(merchant_id, KeyPurpose.DATA, 1),
            self.new_key(merchant_id, KeyPurpose.FINGERPRINT, 1),
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
        return self._sealed(self._ring(merchant_id), card, postal_code)

    def prepare(self, merchant_id: str, card: Card, *, postal_code: str | None = None) -> Prepared:
        """Make a card ready to be stored, all of it with the keys of one moment.

        Args:
            merchant_id: whose it is.
            card: the card.
            postal_code: of the billing address, in its normal form.

        Returns:
            The sealed card, its fingerprints, and the keys that the commit needs.

        Raises:
            VaultError: as `seal`.
        """
        ring = self._ring(merchant_id)
        fingerprint_key = ring.newest(KeyPurpose.FINGERPRINT)
        return Prepared(
            sealed=self._sealed(ring, card, postal_code),
            fingerprints=self._fingerprints(ring, card.number),
            fingerprint_version=fingerprint_key.key_version,
            keys=(ring.newest(KeyPurpose.DATA), fingerprint_key),
        )

    def reseal(self, sealed: SealedCard) -> tuple[SealedCard, WrappedKey]:
        """The same card under the same token and the newest data key, and the key this needs.

        Raises:
            VaultError: as `open`.
        """
        ring = self._ring(sealed.merchant_id)
        newest = ring.newest(KeyPurpose.DATA)
        old = self._data_key(sealed.merchant_id, sealed.key_version)
        stored = {_NUMBER: sealed.number, _DETAILS: sealed.details}
        opened = old.unseal(stored, token=sealed.id)
        records = self._data_key_in(ring, newest.key_version).seal(
            dict.fromkeys(stored, lambda: _required(next(opened), sealed)),
            token=sealed.id,
            random_bytes=self._random_bytes,
        )
        resealed = evolve(
            sealed,
            version=sealed.version + 1,
            key_version=newest.key_version,
            number=records[_NUMBER],
            details=records[_DETAILS],
        )
        return resealed, newest

    def refingerprint(self, sealed: SealedCard) -> tuple[bytes, WrappedKey]:
        """The fingerprint of a sealed card by the newest key, and that key, which this needs.

        Raises:
            VaultError: as `open`.
        """
        ring = self._ring(sealed.merchant_id)
        newest = ring.newest(KeyPurpose.FINGERPRINT)
        maker = self._fingerprint_key_in(ring, newest.key_version)
        key = self._data_key(sealed.merchant_id, sealed.key_version)
        number = _number_in(next(key.unseal({_NUMBER: sealed.number}, token=sealed.id)))
        if number is None:
            raise _not_what_was_stored(sealed)
        return maker.fingerprint(number), newest

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
        # The number comes last, so that nothing can fail while it is in clear.
        stored = {_DETAILS: sealed.details, _NUMBER: sealed.number}
        opened = key.unseal(stored, token=sealed.id)
        details = _details_in(next(opened))
        number = details and _number_in(next(opened))
        if details is None or number is None:
            raise _not_what_was_stored(sealed)
        return CardDetails(
            number=number,
            brand=brand,
            expiry_month=details.expiry_month,
            expiry_year=details.expiry_year,
            holder=details.holder,
            postal_code=details.postal_code,
        )

    def open_stored(self, merchant_id: str, token: str, *, brand: Brand) -> CardDetails | None:
        """Decrypt the card that is stored under a token, for the length of one bank call.

        Between reading the record and opening it a rotation may seal the card anew and destroy the
        key that the record was read under: then it is read again.

        Returns:
            The card without a security code; None when there is none under that token.

        Raises:
            VaultError: as `open`.
        """
        sealed = self._storage.get(merchant_id, SealedCard, token)
        while sealed is not None:
            try:
                return self.open(merchant_id, sealed, brand=brand)
            except VaultError as error:
                if error.code is not ErrorCode.VAULT_KEY_MISSING:
                    raise
                read, sealed = sealed, self._storage.get(merchant_id, SealedCard, token)
                if sealed == read:
                    raise
        return None

    def fingerprints(self, merchant_id: str, card: Card) -> tuple[bytes, ...]:
        """What the card is recognised by at this merchant: 32 bytes, from its number alone.

        Returns:
            The one to store, then those that it may be stored under from before.

        Raises:
            VaultError: `vault_key_missing` when the merchant has no keys, as after its erasure.
            VaultUnavailable: the key service failed.
            VaultIntegrityError: the merchant's key was altered.
        """
        return self._fingerprints(self._ring(merchant_id), card.number)

    def mark(self, merchant_id: str, text: str) -> bytes:
        """What tells a text from others at this merchant, and nothing of it without the key.

        A new fingerprint key makes new marks: it is for what is counted for a while.
        """
        ring = self._ring(merchant_id)
        maker = self._fingerprint_key_in(ring, ring.newest(KeyPurpose.FINGERPRINT).key_version)
        return maker.fingerprint(Secret(f"mark {text}"))

    def new_key(self, merchant_id: str, purpose: KeyPurpose, version: int) -> WrappedKey:
        """One more version of a merchant's key, drawn and wrapped; nobody has it yet.

        Raises:
            VaultUnavailable: the key service failed.
        """
        context = _context(merchant_id, purpose, version)
        master = self.master_key
        wrapped = _asked(lambda: self._keys.wrap(self._random_bytes(KEY_BYTES), context))
        now = self._now()
        return WrappedKey(
            id=f"{purpose}-{version}",
            merchant_id=merchant_id,
            purpose=purpose,
            key_version=version,
            wrapped=wrapped,
            wrapped_by=master,
            wrapped_at=now,
            created_at=now,
        )

    def rewrap(self, key: WrappedKey) -> WrappedKey:
        """The same key under the master key that is current now. It is never in clear here.

        Raises:
            VaultUnavailable: the key service failed.
            VaultIntegrityError: the key was altered, or its master key is not there.
        """
        context = _context(key.merchant_id, key.purpose, key.key_version)
        master = self.master_key
        return evolve(
            key,
            version=key.version + 1,
            wrapped=_asked(lambda: self._keys.rewrap(key.wrapped, context)),
            wrapped_by=master,
            wrapped_at=self._now(),
        )

    @property
    def master_key(self) -> str:
        """The name of the master key that wraps now; empty where the key service tells none."""
        return self._keys.describe().get("current_master_key", "")

    def forget(self, merchant_id: str) -> None:
        """Drop the merchant's keys from memory."""
        self._cache.forget(merchant_id)

    def close(self) -> None:
        """Drop every key from memory. The ports are left to whoever opened them."""
        self._cache.clear()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Vault refuses pickling and copying")

    def _sealed(self, ring: _Keyring, card: Card, postal_code: str | None) -> SealedCard:
        newest = ring.newest(KeyPurpose.DATA)
        token = self._new_token()
        records = self._data_key_in(ring, newest.key_version).seal(
            {
                _NUMBER: lambda: _number_bytes(card.number),
                _DETAILS: lambda: _details_bytes(card, postal_code),
            },
            token=token,
            random_bytes=self._random_bytes,
        )
        return SealedCard(
            id=token,
            merchant_id=newest.merchant_id,
            key_version=newest.key_version,
            number=records[_NUMBER],
            details=records[_DETAILS],
        )

    def _fingerprints(self, ring: _Keyring, number: Secret) -> tuple[bytes, ...]:
        keys = [self._fingerprint_key_in(ring, version) for version in ring.fingerprint_versions]
        return tuple([key.fingerprint(number) for key in keys])

    def _new_token(self) -> str:
        while True:
            drawn = self._random_bytes(26)
            # A TypeID's text is 128 bits: three in its first letter, five in each of the others.
            token = "tok_" + (bytes((drawn[0] & 7,)) + drawn[1:]).translate(_LETTERS).decode()
            # About once in a hundred thousand tokens, chance makes so many digits in a row.
            if not _LONG_RUN_OF_DIGITS.search(token):
                return token

    def _data_key(self, merchant_id: str, version: int) -> DataKey:
        """The merchant's data key of that version."""
        ring = self._ring(merchant_id)
        if version not in ring.wrapped_data_keys:
            # Another process may have made this version since we last looked.
            self._cache.forget(merchant_id)
            ring = self._ring(merchant_id)
        if version not in ring.wrapped_data_keys:
            raise _no_key(f"merchant {merchant_id} has no data key of version {version}")
        return self._data_key_in(ring, version)

    def _data_key_in(self, ring: _Keyring, version: int) -> DataKey:
        key = ring.data_keys.get(version)
        if key is None:
            wrapped = ring.wrapped_data_keys[version]
            key = DataKey(self._unwrapped(wrapped), version, wrapped.merchant_id)
            ring.data_keys[version] = key
        return key

    def _fingerprint_key_in(self, ring: _Keyring, version: int) -> FingerprintKey:
        key = ring.fingerprint_keys.get(version)
        if key is None:
            wrapped = ring.wrapped_fingerprint_keys[version]
            key = FingerprintKey(self._unwrapped(wrapped), wrapped.merchant_id)
            ring.fingerprint_keys[version] = key
        return key

    def _ring(self, merchant_id: str) -> _Keyring:
        ring = self._cache.get(merchant_id)
        if ring is None:
            ring = self._stored_ring(merchant_id)
            self._cache.put(merchant_id, ring)
        return ring

    def _stored_ring(self, merchant_id: str) -> _Keyring:
        read_at = self._now()
        stored = list(all_records(self._storage, merchant_id, WrappedKey))
        data_keys = _by_version(stored, KeyPurpose.DATA)
        fingerprint_keys = _by_version(stored, KeyPurpose.FINGERPRINT)
        if not (data_keys and fingerprint_keys):
            raise _no_key(f"merchant {merchant_id} has no keys: they never were stored, or erased")
        return _Keyring(read_at, data_keys, fingerprint_keys)

    def _unwrapped(self, wrapped: WrappedKey) -> bytes:
        context = _context(wrapped.merchant_id, wrapped.purpose, wrapped.key_version)
        key = _asked(lambda: self._keys.unwrap(wrapped.wrapped, context))
        if len(key) != KEY_BYTES:
            raise VaultIntegrityError(
                f"key {wrapped.id} of {wrapped.merchant_id} has a wrong length"
            )
        return key


@frozen(kw_only=True)
class Prepared:
    """A card that is ready to be stored.

    Attributes:
        fingerprints: the one to store, then those that it may be stored under from before.
        fingerprint_version: of the key that made the first.
        keys: what the commit needs, so that neither key is retired by then.
    """

    sealed: SealedCard
    fingerprints: tuple[bytes, ...]
    fingerprint_version: int
    keys: tuple[WrappedKey, ...]


@frozen(eq=False)
class _Keyring:
    """A merchant's keys: as stored, by version, newest first; and in clear those in use."""

    read_at: datetime
    wrapped_data_keys: dict[int, WrappedKey]
    wrapped_fingerprint_keys: dict[int, WrappedKey]
    data_keys: dict[int, DataKey] = field(init=False, factory=dict)
    fingerprint_keys: dict[int, FingerprintKey] = field(init=False, factory=dict)

    @property
    def fingerprint_versions(self) -> tuple[int, ...]:
        """Newest first."""
        return tuple(self.wrapped_fingerprint_keys)

    def newest(self, purpose: KeyPurpose) -> WrappedKey:
        """The key that makes everything new."""
        is_data = purpose is KeyPurpose.DATA
        return next(
            iter((self.wrapped_data_keys if is_data else self.wrapped_fingerprint_keys).values())
        )


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
        # Before it was read, by a clock that was set back, is no reason to trust it for longer.
        return ring.read_at <= self._now() < ring.read_at + self._ttl

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
    """Year, month, then the texts, each after its length; then zeros. No text is an empty one."""
    holder, postal = (card.holder or "").encode(), (postal_code or "").encode()
    unpadded = _EXPIRY.pack(card.expiry_year, card.expiry_month) + length_prefixed(holder, postal)
    return unpadded + bytes(-len(unpadded) % _DETAILS_STEP)


def _details_in(plaintext: bytes | None) -> _Details | None:
    if plaintext is None:
        return None
    year, month = _EXPIRY.unpack_from(plaintext)
    holder, rest = _first_text(plaintext[_EXPIRY.size :])
    postal_code, _ = _first_text(rest)
    return _Details(month, year, holder or None, postal_code or None)


def _required(plaintext: bytes | None, sealed: SealedCard) -> bytes:
    if plaintext is None:
        raise _not_what_was_stored(sealed)
    return plaintext


def _not_what_was_stored(sealed: SealedCard) -> VaultIntegrityError:
    return VaultIntegrityError(f"the sealed card {sealed.id} is not what was stored")


def _first_text(content: bytes) -> tuple[str, bytes]:
    end = 4 + int.from_bytes(content[:4], "big")
    return content[4:end].decode(), content[end:]


def _by_version(stored: list[WrappedKey], purpose: KeyPurpose) -> dict[int, WrappedKey]:
    wanted = [wrapped for wrapped in stored if wrapped.purpose is purpose]
    wanted.sort(key=lambda wrapped: wrapped.key_version, reverse=True)
    return {wrapped.key_version: wrapped for wrapped in wanted}


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
