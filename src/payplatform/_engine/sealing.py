"""What a merchant's keys do: one seals the fields of cards, one makes fingerprints of numbers.

Law of this file: both formats are final. A record opens only under the key, the merchant, the token
and the field that it was sealed for, and any altered bit refuses it. A change is a new format
number beside this one; tests hold known records and fingerprints against it. A record is:

    suite      u8    1: AES-256-GCM under a key of the card's own, from HKDF-SHA512
    format     u16   1
    version    u32   of the merchant's data key
    salt       32    random, of that card; with the merchant it makes the key
    commitment 32    from the same HKDF: no record opens under two keys (GCM alone allows it)
    nonce      12    random, of that record
    sealed     n+16  ciphertext and tag

A record says all that is needed to open it. Fields that are sealed together share salt and key,
since deriving the key is most of the work. Integers are big-endian. The associated data is all
before the ciphertext, then merchant, token and field name, each after its length as u32, so that no
two places run together to the same bytes.

A fingerprint is HMAC-SHA256 of the merchant and the number alone (with the expiry one card would be
two). Whoever has its key and the digits that are shown finds a number in 100 000 guesses, so that
key is guarded like the other.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from payplatform._domain.secret import Guarded, Secret

KEY_BYTES: Final = 32
_COMMITMENT_BYTES: Final = 32
_SALT_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16

_SUITE: Final = 1
_FORMAT: Final = 1
_PREFIX: Final = struct.Struct(f">BHI{_SALT_BYTES}s{_COMMITMENT_BYTES}s{_NONCE_BYTES}s")
_SEALING: Final = b"payplatform/vault/v1"
_FINGERPRINTING: Final = b"pan-fp/v1"
_SHA512: Final = SHA512()

_Derived = tuple[AESGCM, bytes]


def length_prefixed(*parts: bytes) -> bytes:
    """Join the parts so that they can be told apart: each after its length as u32."""
    return b"".join([len(part).to_bytes(4, "big") + part for part in parts])


class DataKey(Guarded):
    """A merchant's data key in clear: seals the merchant's fields and opens them.

    Args:
        key: 32 bytes.
        version: the key's, by which a record names it.
        merchant_id: whose it is.
    """

    __slots__ = ("_info", "_key", "_merchant", "version")
    version: int
    _key: bytes
    _merchant: bytes
    _info: bytes

    def __init__(self, key: bytes, version: int, merchant_id: str) -> None:
        merchant = merchant_id.encode()
        object.__setattr__(self, "version", version)
        object.__setattr__(self, "_key", key)
        object.__setattr__(self, "_merchant", merchant)
        object.__setattr__(self, "_info", length_prefixed(_SEALING, merchant))

    def seal(
        self,
        plaintexts: Mapping[str, Callable[[], bytes]],
        *,
        token: str,
        random_bytes: Callable[[int], bytes],
    ) -> dict[str, bytes]:
        """Encrypt the fields of one card.

        Args:
            plaintexts: by the name of the field, what gives its content. It is called last and its
                result kept in no variable, so that no traceback of what may fail can show it.
            token: under which the records will be kept.
            random_bytes: a source fit for keys; takes how many.

        Returns:
            By the name of the field, its record: 99 bytes more than its content.
        """
        salt = random_bytes(_SALT_BYTES)
        cipher, commitment = self._derived(salt)
        records: dict[str, bytes] = {}
        for field, plaintext in plaintexts.items():
            nonce = random_bytes(_NONCE_BYTES)
            prefix = _PREFIX.pack(_SUITE, _FORMAT, self.version, salt, commitment, nonce)
            bound = self._associated(prefix, token, field)
            records[field] = prefix + cipher.encrypt(nonce, plaintext(), bound)
        return records

    def unseal(self, records: Mapping[str, bytes], *, token: str) -> Iterator[bytes | None]:
        """Decrypt the fields of one card, each only when it is asked for.

        Args:
            records: by the name of the field.
            token: under which they were kept.

        Yields:
            The content of each in turn, or None when the record is not what was sealed.
        """
        by_salt: dict[bytes, _Derived] = {}  # what was sealed together shares one
        for field, record in records.items():
            yield self._unsealed(record, token, field, by_salt)

    def _unsealed(
        self, record: bytes, token: str, field: str, by_salt: dict[bytes, _Derived]
    ) -> bytes | None:
        if len(record) < _PREFIX.size + _TAG_BYTES:
            return None
        suite, format_, version, salt, stored_commitment, nonce = _PREFIX.unpack_from(record)
        if (suite, format_, version) != (_SUITE, _FORMAT, self.version):
            return None
        if salt not in by_salt:
            by_salt[salt] = self._derived(salt)
        cipher, commitment = by_salt[salt]
        if not hmac.compare_digest(commitment, stored_commitment):
            return None
        prefix, sealed = record[: _PREFIX.size], record[_PREFIX.size :]
        try:
            return cipher.decrypt(nonce, sealed, self._associated(prefix, token, field))
        except InvalidTag:
            return None

    def _derived(self, salt: bytes) -> _Derived:
        """The card's own key, ready for use, and the commitment to it."""
        length = KEY_BYTES + _COMMITMENT_BYTES
        kdf = HKDF(algorithm=_SHA512, length=length, salt=salt, info=self._info)
        derived = kdf.derive(self._key)
        return AESGCM(derived[:KEY_BYTES]), derived[KEY_BYTES:]

    def _associated(self, prefix: bytes, token: str, field: str) -> bytes:
        return length_prefixed(prefix, self._merchant, token.encode(), field.encode())


class FingerprintKey(Guarded):
    """A merchant's fingerprint key in clear: the same number gives the same bytes, at one merchant.

    Args:
        key: 32 bytes.
        merchant_id: whose it is.
    """

    __slots__ = ("_key", "_merchant")
    _key: bytes
    _merchant: bytes

    def __init__(self, key: bytes, merchant_id: str) -> None:
        object.__setattr__(self, "_key", key)
        object.__setattr__(
            self, "_merchant", length_prefixed(_FINGERPRINTING, merchant_id.encode())
        )

    def fingerprint(self, number: Secret) -> bytes:
        """32 bytes that tell the number from others, and nothing else of it without the key."""
        text = self._merchant + length_prefixed(number.reveal().encode())
        return hmac.digest(self._key, text, "sha256")
