"""The sealed record: how one field of one card is encrypted, and what it is bound to.

Law of this file: the format is final. A record opens only under the key, the merchant, the token
and the field that it was sealed for, and any altered bit refuses it. A change is a new format
number beside this one; tests hold known records against it.

    suite      u8    1: AES-256-GCM under a key of the record's own, from HKDF-SHA512
    format     u16   1
    version    u32   of the merchant's data key
    salt       32    random
    commitment 32    from the same HKDF: no record opens under two keys (GCM alone allows it)
    nonce      12    random
    sealed     n+16  ciphertext and tag

Integers are big-endian. The associated data is everything before the ciphertext, then merchant,
token and field name, each with its length, so that no two places run together to the same bytes.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable
from typing import Final

from attrs import frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES: Final = 32
_COMMITMENT_BYTES: Final = 32
_SALT_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16

_SUITE: Final = 1
_FORMAT: Final = 1
_PREFIX: Final = struct.Struct(f">BHI{_SALT_BYTES}s{_COMMITMENT_BYTES}s{_NONCE_BYTES}s")
_PURPOSE: Final = b"payplatform/vault/v1"
_SHA512: Final = SHA512()


@frozen(kw_only=True)
class Place:
    """Where a record belongs. It opens nowhere else."""

    merchant_id: str
    token: str
    field: str


def length_prefixed(*parts: bytes) -> bytes:
    """Join the parts so that they can be told apart: each after its length as u32."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def seal(
    plaintext: Callable[[], bytes],
    place: Place,
    *,
    key: bytes,
    key_version: int,
    random_bytes: Callable[[int], bytes],
) -> bytes:
    """Encrypt one field.

    Args:
        plaintext: gives what to seal; called last, and kept in no variable, so that no traceback
            of what may fail before can show it.
        place: where the record will be kept.
        key: the merchant's data key, 32 bytes.
        key_version: that key's version.
        random_bytes: a source fit for keys.

    Returns:
        The record: 99 bytes more than the plaintext.
    """
    salt, nonce = random_bytes(_SALT_BYTES), random_bytes(_NONCE_BYTES)
    record_key, commitment = _derived(key, salt, place)
    prefix = _PREFIX.pack(_SUITE, _FORMAT, key_version, salt, commitment, nonce)
    cipher, bound = AESGCM(record_key), _associated(prefix, place)
    return prefix + cipher.encrypt(nonce, plaintext(), bound)


def unseal(record: bytes, place: Place, *, key: bytes, key_version: int) -> bytes | None:
    """Decrypt one field, or None when the record is not what was sealed for this place."""
    if len(record) < _PREFIX.size + _TAG_BYTES:
        return None
    suite, format_, version, salt, stored_commitment, nonce = _PREFIX.unpack_from(record)
    if (suite, format_, version) != (_SUITE, _FORMAT, key_version):
        return None
    record_key, commitment = _derived(key, salt, place)
    if not hmac.compare_digest(commitment, stored_commitment):
        return None
    prefix, sealed = record[: _PREFIX.size], record[_PREFIX.size :]
    try:
        return AESGCM(record_key).decrypt(nonce, sealed, _associated(prefix, place))
    except InvalidTag:
        return None


def _derived(key: bytes, salt: bytes, place: Place) -> tuple[bytes, bytes]:
    """The record's own key, and the commitment to it."""
    info = length_prefixed(_PURPOSE, place.merchant_id.encode())
    length = KEY_BYTES + _COMMITMENT_BYTES
    derived = HKDF(algorithm=_SHA512, length=length, salt=salt, info=info).derive(key)
    return derived[:KEY_BYTES], derived[KEY_BYTES:]


def _associated(prefix: bytes, place: Place) -> bytes:
    return length_prefixed(
        prefix, place.merchant_id.encode(), place.token.encode(), place.field.encode()
    )
