"""What key services that live outside this process have in common.

Law of this file: nothing that such a service says reaches a caller, since it may hold a key: of its
errors only the meaning is told, by one of the errors below. Whatever it raises or answers that has
no known meaning is `VaultUnavailable`, as is silence.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from threading import Lock
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

from payplatform.errors import ErrorCode, InvalidRequest, VaultIntegrityError, VaultUnavailable

T = TypeVar("T")

KEY_BYTES: Final = 32

Meaning = Callable[[Exception], VaultUnavailable | VaultIntegrityError | None]


def asked(call: Callable[[], T], *, service: str, meaning: Meaning) -> T:
    """Ask the service, and tell its errors anew, without their chains.

    Args:
        call: what is asked.
        service: its name, for people.
        meaning: of an error that it raises; None where it has none that is known.

    Raises:
        VaultUnavailable: it failed, or refuses.
        VaultIntegrityError: it says that a wrapped key is not what it made.
    """
    try:
        return call()
    except (VaultUnavailable, VaultIntegrityError) as error:
        told = type(error)(error.message, code=error.code)
    except Exception as error:  # noqa: BLE001  # whatever it raises, it did not do what it was asked
        told = meaning(error) or VaultUnavailable(f"{service} failed with {type(error).__name__}")
    raise told


def altered() -> VaultIntegrityError:
    """A wrapped key that the service did not make so."""
    return VaultIntegrityError("a wrapped key was altered, or is of another context or master key")


def refused(service: str) -> VaultUnavailable:
    """The service is there, and the master key may not be used."""
    return VaultUnavailable(
        f"{service} refuses the use of the master key: it was disabled or revoked, or the "
        "permission is missing",
        code=ErrorCode.VAULT_KEY_REFUSED,
    )


def missing(service: str) -> VaultUnavailable:
    """The service is there, and the master key is not."""
    return VaultUnavailable(f"{service} has no such master key", code=ErrorCode.VAULT_KEY_MISSING)


def nonsense(service: str) -> VaultUnavailable:
    """The service answered, and not what was asked."""
    return VaultUnavailable(f"{service} answered what makes no sense")


def require_key(key: object, *, service: str) -> bytes:
    """The unwrapped key, if it can be one.

    Raises:
        VaultUnavailable: it is none.
    """
    if not isinstance(key, bytes) or len(key) != KEY_BYTES:
        del key
        raise nonsense(service)
    return key


def require_private(address: str, *, field: str) -> None:
    """See that nobody on the way reads what is sent there (PCI DSS v4.0.1, 4.2.1).

    Raises:
        InvalidRequest: neither https nor this machine; or it holds a user name or password.
    """
    parts = urlsplit(address)
    if parts.username is not None or parts.password is not None:
        raise InvalidRequest("an address holds no user name and no password", field=field)
    if not parts.hostname or not (
        parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname))
    ):
        raise InvalidRequest("an address begins with https://, but on loopback", field=field)


def associated(header: bytes, context: Mapping[str, str]) -> bytes:
    """A header and a context as one text that no other gives: what a wrapped key is bound to.

    The header, then the context in the order of its names, each part with its length before it as
    u32 (big-endian).
    """
    texts = (text for item in sorted(context.items()) for text in item)
    parts = (header, *(text.encode() for text in texts))
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


class PerProcess(Generic[T]):
    """Something to ask through that a forked child must not share: made anew there on first use.

    Two processes on one connection read each other's answers.

    Args:
        make: makes one.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: T | None = None
        self._closed = False
        self._lock = Lock()
        self._pid = os.getpid()

    def get(self) -> T:
        """This process's own.

        Raises:
            VaultUnavailable: it is closed.
        """
        if self._pid != os.getpid():
            # A lock that was held during a fork is held in the child for ever, so it goes too.
            self._lock, self._made, self._pid = Lock(), None, os.getpid()
        with self._lock:
            if self._closed:
                raise VaultUnavailable("the key service is closed")
            if self._made is None:
                self._made = self._make()
            return self._made

    def take(self) -> T | None:
        """Close it: what is given back, if anything was made here, is for the caller to end."""
        made, self._made, self._closed = self._made, None, True
        return made if self._pid == os.getpid() else None


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
