"""The master key in a hardware security module, by PKCS#11. Needs the extra `hsm`.

Law of this file: one thread at a time uses a session, and a master key is tried on something of its
own before it is used. Modules tell a wrong tag in many words, some as if they were broken; of a key
that has just worked, a refusal has one meaning.

A wrapped key is: format u8 (1), the length of the master key's label u8, the label, nonce (12),
ciphertext and tag of AES-256-GCM. Its associated data are all that stands before the nonce, then
the context. AES key wrap (RFC 3394) would bind no context: one merchant's key could pass for
another's.
"""

# ruff: noqa: D102  # what a method promises stands at the port

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any, Final, NamedTuple, TypeVar

import pkcs11
from pkcs11 import GCMParams, KeyType, Mechanism, ObjectClass, PKCS11Error

from payplatform._domain.secret import Guarded, Secret
from payplatform.errors import ErrorCode, InvalidRequest, VaultIntegrityError, VaultUnavailable
from payplatform.keys import _apart

T = TypeVar("T")

_SERVICE: Final = "the hardware security module"
_FORMAT: Final = b"\x01"
_LABEL_AT: Final = len(_FORMAT) + 1
_MOST_LABEL_BYTES: Final = 255
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_SEALED_BYTES: Final = _apart.KEY_BYTES + _TAG_BYTES

_MISSING: Final = (pkcs11.NoSuchKey, pkcs11.NoSuchToken)
_REFUSED: Final = (
    pkcs11.PinExpired,
    pkcs11.PinIncorrect,
    pkcs11.PinInvalid,
    pkcs11.PinLenRange,
    pkcs11.PinLocked,
    pkcs11.UserPinNotInitialized,
)


class Pkcs11KeyService(Guarded):
    """Wraps keys with an AES key that stays in a token. See `ports.KeyService`.

    Nothing is asked of the module before the first use. PKCS#11 knows no time limit: a call that
    hangs is the module's to end, and the others' wait for it is bounded here.

    Args:
        module: path of the vendor's PKCS#11 library.
        token_label: which token.
        key_label: label (CKA_LABEL) of the current master key.
        older_key_labels: of earlier ones, which still unwrap until everything is rewrapped.
        pin: gives the user's PIN. It is asked at each login, and one that was refused is not tried
            a second time, since tokens lock after a few.
        timeout_s: how long a thread may wait for another to be done, in seconds.

    Raises:
        InvalidRequest: a label is empty, or longer than 255 bytes.
    """

    __slots__ = ("_desk", "_labels", "_source")
    _desk: _apart.PerProcess[_Desk]
    _labels: tuple[str, ...]
    _source: str

    def __init__(
        self,
        module: str | os.PathLike[str],
        *,
        token_label: str,
        key_label: str,
        older_key_labels: Sequence[str] = (),
        pin: Callable[[], str],
        timeout_s: float = 3.0,
    ) -> None:
        labels = (key_label, *older_key_labels)
        if not all(0 < len(label.encode()) <= _MOST_LABEL_BYTES for label in labels):
            raise InvalidRequest("a label has 1 to 255 bytes", field="key_label")
        desk = _apart.PerProcess(
            lambda: _Desk(os.fspath(module), token_label, pin=pin, timeout_s=timeout_s)
        )
        object.__setattr__(self, "_desk", desk)
        object.__setattr__(self, "_labels", labels)
        object.__setattr__(self, "_source", f"token {token_label} of {os.fspath(module)}")

    def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
        label = self._labels[0].encode()
        header = _FORMAT + bytes((len(label),)) + label
        nonce = os.urandom(_NONCE_BYTES)

        def encrypt(master: Any) -> bytes:
            sealed = master.encrypt(key, **_gcm(nonce, _apart.associated(header, context)))
            if not isinstance(sealed, bytes) or len(sealed) != _SEALED_BYTES:
                raise _apart.nonsense(_SERVICE)
            return header + nonce + sealed

        return self._with_master(self._labels[0], encrypt)

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        parts = _parts_of(wrapped)
        if parts.label not in self._labels:
            raise VaultIntegrityError(
                "a wrapped key is under a master key that is not among the named ones",
                code=ErrorCode.VAULT_KEY_MISSING,
            )

        def decrypt(master: Any) -> bytes:
            with suppress(PKCS11Error):
                bound = _apart.associated(parts.header, context)
                key = master.decrypt(parts.sealed, **_gcm(parts.nonce, bound))
                return _apart.require_key(key, service=_SERVICE)
            raise _apart.altered()

        return self._with_master(parts.label, decrypt)

    def rewrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        return self.wrap(self.unwrap(wrapped, context), context)

    def describe(self) -> Mapping[str, str]:
        return {
            "adapter": "pkcs11",
            "source": self._source,
            "current_master_key": self._labels[0],
            "master_keys": " ".join(self._labels),
        }

    def close(self) -> None:
        desk = self._desk.take()
        if desk is not None:
            desk.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._source}, {self._labels[0]})"

    def _with_master(self, label: str, use: Callable[[Any], bytes]) -> bytes:
        return _apart.asked(
            lambda: self._desk.get().with_master(label, use), service=_SERVICE, meaning=_meaning
        )


class _Desk:
    """Where this process asks the token: one session, one thread at a time."""

    def __init__(
        self, module: str, token_label: str, *, pin: Callable[[], str], timeout_s: float
    ) -> None:
        self._module = module
        self._token_label = token_label
        self._pin = pin
        self._refused_pin: Secret | None = None
        self._timeout_s = timeout_s
        self._lock = Lock()
        self._session: pkcs11.Session | None = None

    def with_master(self, label: str, use: Callable[[Any], T]) -> T:
        if not self._lock.acquire(timeout=self._timeout_s):
            raise VaultUnavailable(f"{_SERVICE} is busy with another call")
        try:
            return use(self._master(label))
        finally:
            self._lock.release()

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with suppress(PKCS11Error):
                session.close()

    def _master(self, label: str) -> Any:
        """The master key, which has just worked."""
        if self._session is not None:
            with suppress(PKCS11Error):
                # python-pkcs11 grumbles on stderr of a search in a session that is gone.
                self._session.generate_random(64)
                return _tried(self._session, label)
            # The token was pulled, or somebody else in this process has logged out.
            self.close()
        self._session = self._log_in()
        return _tried(self._session, label)

    def _log_in(self) -> pkcs11.Session:
        token: pkcs11.Token = _module_at(self._module).get_token(token_label=self._token_label)
        pin = Secret(self._pin())
        if self._refused_pin is not None and self._refused_pin.same_as(pin):
            raise _apart.refused(_SERVICE)
        try:
            return token.open(user_pin=pin.reveal())
        except pkcs11.UserAlreadyLoggedIn:
            return token.open()  # a login is the whole process's
        except pkcs11.PinIncorrect:
            self._refused_pin = pin
            raise


class _Parts(NamedTuple):
    header: bytes
    label: str
    nonce: bytes
    sealed: bytes


def _parts_of(wrapped: bytes) -> _Parts:
    nonce_at = _LABEL_AT + (wrapped[len(_FORMAT)] if len(wrapped) > len(_FORMAT) else 0)
    sealed_at = nonce_at + _NONCE_BYTES
    if not wrapped.startswith(_FORMAT) or len(wrapped) != sealed_at + _SEALED_BYTES:
        raise _apart.altered()
    return _Parts(
        header=wrapped[:nonce_at],
        label=wrapped[_LABEL_AT:nonce_at].decode(errors="replace"),
        nonce=wrapped[nonce_at:sealed_at],
        sealed=wrapped[sealed_at:],
    )


def _tried(session: pkcs11.Session, label: str) -> Any:
    master: Any = session.get_key(
        object_class=ObjectClass.SECRET_KEY, key_type=KeyType.AES, label=label
    )
    how = _gcm(os.urandom(_NONCE_BYTES), b"payplatform/trial")
    if master.decrypt(master.encrypt(bytes(_apart.KEY_BYTES), **how), **how) != bytes(
        _apart.KEY_BYTES
    ):
        raise _apart.nonsense(_SERVICE)
    return master


def _gcm(nonce: bytes, bound: bytes) -> dict[str, Any]:
    return {
        "mechanism": Mechanism.AES_GCM,
        "mechanism_param": GCMParams(nonce, bound, _TAG_BYTES * 8),
    }


def _meaning(error: Exception) -> VaultUnavailable | None:
    if isinstance(error, _MISSING):
        return _apart.missing(_SERVICE)
    return _apart.refused(_SERVICE) if isinstance(error, _REFUSED) else None


# Which process initialised a module: a forked child has to do it again for itself.
_initialised_by: dict[str, int] = {}


def _module_at(path: str) -> Any:
    module = pkcs11.lib(path)
    if _initialised_by.setdefault(path, os.getpid()) != os.getpid():
        with suppress(PKCS11Error):
            module.finalize()
        module.initialize()
        _initialised_by[path] = os.getpid()
    return module
