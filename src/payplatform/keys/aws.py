"""The master key in AWS KMS, which it never leaves. Needs the extra `kms`.

Law of this file: every call names the keys that it may use. Else KMS opens whatever was wrapped
under any key that the caller's credentials reach, an attacker's own among them.

A wrapped key is the ciphertext blob of KMS as it came, and the context its encryption context,
which CloudTrail shows: it names the merchant's id and no more. A key is wrapped with Encrypt, not
with GenerateDataKey, because the port hands in the key. ReEncrypt keeps it inside KMS when the
master key is replaced.
"""

# ruff: noqa: D102  # what a method promises stands at the port

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from payplatform._domain.secret import Guarded
from payplatform.errors import VaultIntegrityError, VaultUnavailable
from payplatform.keys import _apart

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

T = TypeVar("T")

_SERVICE: Final = "AWS KMS"
# The longest ciphertext blob that Decrypt takes.
_MOST_BYTES: Final = 6144
_TRIES: Final = 2
_WRONG_KEY: Final = "IncorrectKeyException"
_MEANINGS: Final[Mapping[str, Callable[[], VaultUnavailable | VaultIntegrityError]]] = {
    "InvalidCiphertextException": _apart.altered,
    _WRONG_KEY: _apart.altered,
    "NotFoundException": partial(_apart.missing, _SERVICE),
    "AccessDeniedException": partial(_apart.refused, _SERVICE),
    "DisabledException": partial(_apart.refused, _SERVICE),
    "KMSInvalidStateException": partial(_apart.refused, _SERVICE),
}


class AwsKmsKeyService(Guarded):
    """Wraps keys with a symmetric key in AWS KMS. See `ports.KeyService`.

    Credentials are found as boto3 finds them, and are neither taken nor kept here. They need
    kms:Encrypt, kms:Decrypt and kms:ReEncrypt*.

    Args:
        key_id: id, ARN or alias of the current master key.
        older_key_ids: of earlier ones, which still unwrap until everything is rewrapped.
        region: where it is; as boto3 is configured, by default.
        endpoint_url: of KMS, where it is not the region's own.
        timeout_s: how long to wait for a connection, and for an answer, in seconds. A call that
            fails in passing is made twice.

    Raises:
        InvalidRequest: the endpoint is neither https nor on loopback.
        VaultUnavailable: boto3 is not configured for it.
    """

    __slots__ = ("_client", "_endpoint_url", "_key_ids", "_region", "_timeout_s")
    _client: _apart.PerProcess[KMSClient]
    _endpoint_url: str | None
    _key_ids: tuple[str, ...]
    _region: str | None
    _timeout_s: float

    def __init__(
        self,
        key_id: str,
        *,
        older_key_ids: Sequence[str] = (),
        region: str | None = None,
        endpoint_url: str | None = None,
        timeout_s: float = 3.0,
    ) -> None:
        object.__setattr__(self, "_key_ids", (key_id, *older_key_ids))
        object.__setattr__(self, "_region", region)
        object.__setattr__(self, "_endpoint_url", endpoint_url)
        object.__setattr__(self, "_timeout_s", timeout_s)
        object.__setattr__(self, "_client", _apart.PerProcess(self._connect))
        client = _asked(self._client.get)
        # The endpoint may also be from the environment.
        _apart.require_private(client.meta.endpoint_url, field="endpoint_url")

    def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
        return _asked(
            lambda: _blob_in(
                self._client.get().encrypt(
                    KeyId=self._key_ids[0], Plaintext=key, EncryptionContext=context
                )
            )
        )

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        def decrypt(key_id: str) -> bytes:
            told = self._client.get().decrypt(
                KeyId=key_id, CiphertextBlob=wrapped, EncryptionContext=context
            )
            return _apart.require_key(told.get("Plaintext"), service=_SERVICE)

        return self._with_the_right_key(wrapped, decrypt)

    def rewrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        def re_encrypt(key_id: str) -> bytes:
            told = self._client.get().re_encrypt(
                CiphertextBlob=wrapped,
                SourceKeyId=key_id,
                SourceEncryptionContext=context,
                DestinationKeyId=self._key_ids[0],
                DestinationEncryptionContext=context,
            )
            return _blob_in(told)

        return self._with_the_right_key(wrapped, re_encrypt)

    def describe(self) -> Mapping[str, str]:
        return {
            "adapter": "aws",
            "current_master_key": self._key_ids[0],
            "master_keys": " ".join(self._key_ids),
        }

    def close(self) -> None:
        client = self._client.take()
        if client is not None:
            client.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._key_ids[0]})"

    def _connect(self) -> KMSClient:
        config = Config(
            connect_timeout=self._timeout_s,
            read_timeout=self._timeout_s,
            retries={"mode": "standard", "total_max_attempts": _TRIES},
        )
        # boto3's own session is shared by all of the process, and is not for several threads.
        return boto3.session.Session().client(
            "kms", region_name=self._region, endpoint_url=self._endpoint_url, config=config
        )

    def _with_the_right_key(self, wrapped: bytes, ask: Callable[[str], T]) -> T:
        """Ask under each master key until one is that of the wrapped key."""
        if not 0 < len(wrapped) <= _MOST_BYTES:
            raise _apart.altered()

        def under_one_of(key_id: str, *others: str) -> T:
            try:
                return ask(key_id)
            except ClientError as error:
                if not others or _code_of(error) != _WRONG_KEY:
                    raise
            return under_one_of(*others)

        return _asked(lambda: under_one_of(*self._key_ids))


def _asked(call: Callable[[], T]) -> T:
    with _no_bodies_in_the_log():
        return _apart.asked(call, service=_SERVICE, meaning=_meaning)


def _meaning(error: Exception) -> VaultUnavailable | VaultIntegrityError | None:
    known = _MEANINGS.get(_code_of(error)) if isinstance(error, ClientError) else None
    return known() if known else None


def _code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code"))


def _blob_in(told: Mapping[str, object]) -> bytes:
    blob = told.get("CiphertextBlob")
    if not isinstance(blob, bytes) or not 0 < len(blob) <= _MOST_BYTES:
        raise _apart.nonsense(_SERVICE)
    return blob


# botocore logs what it sends and receives at the level DEBUG, and here that is a key in clear.
_ASKING: Final[ContextVar[bool]] = ContextVar("asking", default=False)
_LOGS_BODIES: Final = (
    "botocore.endpoint",
    "botocore.hooks",
    "botocore.parsers",
    "botocore.retryhandler",
    "botocore.auth",
)


def _is_not_of_ours(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG or not _ASKING.get()


@contextmanager
def _no_bodies_in_the_log() -> Iterator[None]:
    for name in _LOGS_BODIES:
        logging.getLogger(name).addFilter(_is_not_of_ours)  # a second time changes nothing
    asking = _ASKING.set(True)
    try:
        yield
    finally:
        _ASKING.reset(asking)
