"""The master key in the transit engine of OpenBao or HashiCorp Vault. Needs the extra `vault`.

Law of this file: a wrapped key has one form. Transit's own text has many for the same thing (it
reads past line breaks, and takes version 0 for 1), so it is kept as bytes and rebuilt from them:
format u8 (1), the version of the master key u32 (big-endian), nonce, ciphertext and tag.

The context is bound as associated data, which transit knows since Vault 1.9 and in every OpenBao.
"""

# ruff: noqa: D102  # what a method promises stands at the port

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import hvac
import hvac.exceptions
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from payplatform._domain.secret import Guarded
from payplatform.errors import VaultIntegrityError, VaultUnavailable
from payplatform.keys import _apart

T = TypeVar("T")

_SERVICE: Final = "the transit engine"
_FORMAT: Final = b"\x01"
_VERSION_BYTES: Final = 4
_HEADER_BYTES: Final = len(_FORMAT) + _VERSION_BYTES
# Nonce (12), the key and the tag (16), whatever AEAD the master key is for.
_WRAPPED_BYTES: Final = _HEADER_BYTES + 12 + _apart.KEY_BYTES + 16
_TEXT: Final = re.compile(r"vault:v([1-9][0-9]{0,8}):([A-Za-z0-9+/]+={0,2})")
# What a refusal with status 400 says, in OpenBao 2 and Vault 1.
_SAYS_ALTERED: Final = ("message authentication failed", "invalid ciphertext", "too new")
_SAYS_REFUSED: Final = ("too old", "soft-deleted")
_SAYS_MISSING: Final = ("key not found",)


class TransitKeyService(Guarded):
    """Wraps keys with a key of a transit engine. See `ports.KeyService`.

    Args:
        address: of the server, such as "https://vault.example.com:8200".
        key: the name of the master key, of a type with authenticated encryption (aes256-gcm96, the
            default of transit, or chacha20-poly1305) and not derived.
        token: gives the token, and is asked anew for each call, so that a renewed one counts at
            once. It needs the capability `update` on encrypt/KEY and decrypt/KEY, and no other.
        mount: where the engine is mounted.
        namespace: of the server, where it has some.
        ca_file: the certificates to trust, in PEM; those of the system by default.
        timeout_s: how long to wait for a connection, and for an answer, in seconds. A call that
            gets no answer is made twice.

    Raises:
        InvalidRequest: the address is neither https nor on loopback.
    """

    __slots__ = (
        "_address",
        "_ca_file",
        "_key",
        "_mount",
        "_namespace",
        "_session",
        "_timeout_s",
        "_token",
    )
    _address: str
    _ca_file: str | None
    _key: str
    _mount: str
    _namespace: str | None
    _session: _apart.PerProcess[requests.Session]
    _timeout_s: float
    _token: Callable[[], str]

    def __init__(
        self,
        address: str,
        *,
        key: str,
        token: Callable[[], str],
        mount: str = "transit",
        namespace: str | None = None,
        ca_file: str | None = None,
        timeout_s: float = 3.0,
    ) -> None:
        _apart.require_private(address, field="address")
        object.__setattr__(self, "_address", address)
        object.__setattr__(self, "_key", key)
        object.__setattr__(self, "_token", token)
        object.__setattr__(self, "_mount", mount)
        object.__setattr__(self, "_namespace", namespace)
        object.__setattr__(self, "_ca_file", ca_file)
        object.__setattr__(self, "_timeout_s", timeout_s)
        object.__setattr__(self, "_session", _apart.PerProcess(self._new_session))

    def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
        return _asked(
            lambda: _bytes_of(
                self._transit().encrypt_data(
                    self._key,
                    _base64(key),
                    associated_data=_bound_to(context),
                    mount_point=self._mount,
                )["data"]["ciphertext"]
            )
        )

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        text = _text_of(wrapped)
        return _asked(
            lambda: _key_in(
                self._transit().decrypt_data(
                    self._key,
                    text,
                    associated_data=_bound_to(context),
                    mount_point=self._mount,
                )["data"]["plaintext"]
            )
        )

    def rewrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        # Transit's own rewrap takes no associated data (hashicorp/vault#29532).
        return self.wrap(self.unwrap(wrapped, context), context)

    def describe(self) -> Mapping[str, str]:
        return {
            "adapter": "transit",
            "address": self._address,
            "current_master_key": f"{self._mount}/{self._key}",
        }

    def close(self) -> None:
        session = self._session.take()
        if session is not None:
            session.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._address}, {self._mount}/{self._key})"

    def _transit(self) -> Any:
        client = hvac.Client(
            url=self._address,
            token=self._token(),
            session=self._session.get(),
            namespace=self._namespace,
            timeout=self._timeout_s,  # type: ignore[arg-type]  # for requests, which takes parts of seconds
            # Who answers in the server's place could send the token elsewhere.
            allow_redirects=False,
        )
        return client.secrets.transit

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.verify = self._ca_file or True
        # Neither verb changes anything at the server, so each may be asked again.
        again = Retry(total=1, redirect=0, status=0, allowed_methods=None)
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(max_retries=again))
        return session


def _asked(call: Callable[[], T]) -> T:
    return _apart.asked(call, service=_SERVICE, meaning=_meaning)


def _meaning(error: Exception) -> VaultUnavailable | VaultIntegrityError | None:
    if isinstance(error, hvac.exceptions.Forbidden):
        return _apart.refused(_SERVICE)
    if isinstance(error, hvac.exceptions.InvalidPath):
        return _apart.missing(_SERVICE)
    said = str(error.args) if isinstance(error, hvac.exceptions.InvalidRequest) else ""
    if any(words in said for words in _SAYS_REFUSED):
        return _apart.refused(_SERVICE)
    if any(words in said for words in _SAYS_MISSING):
        return _apart.missing(_SERVICE)
    return _apart.altered() if any(words in said for words in _SAYS_ALTERED) else None


def _bytes_of(text: str) -> bytes:
    parts = _TEXT.fullmatch(text)
    if parts is None:
        raise _apart.nonsense(_SERVICE)
    version, sealed = int(parts[1]), b64decode(parts[2], validate=True)
    wrapped = _FORMAT + version.to_bytes(_VERSION_BYTES, "big") + sealed
    if len(wrapped) != _WRAPPED_BYTES:
        raise _apart.nonsense(_SERVICE)
    return wrapped


def _text_of(wrapped: bytes) -> str:
    version = int.from_bytes(wrapped[len(_FORMAT) : _HEADER_BYTES], "big")
    if len(wrapped) != _WRAPPED_BYTES or not wrapped.startswith(_FORMAT) or not version:
        raise _apart.altered()
    return f"vault:v{version}:{_base64(wrapped[_HEADER_BYTES:])}"


def _key_in(plaintext: str) -> bytes:
    return _apart.require_key(b64decode(plaintext, validate=True), service=_SERVICE)


def _bound_to(context: Mapping[str, str]) -> str:
    return _base64(_apart.associated(_FORMAT, context))


def _base64(content: bytes) -> str:
    return b64encode(content).decode()
