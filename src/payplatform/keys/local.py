"""The master key in a file of its own, in an environment variable, or in memory alone.

Law of this file: the key file is complete, on disk and readable by its owner alone before anything
is wrapped with it, and no error, repr or pickle shows a master key. A file that is not exactly what
was written is refused: a wrong master key would be found out only when a card cannot be opened.

Whoever has this file and the database can read every card, and whoever loses it can read none.

The file is ASCII text; lines that start with # are for people:

    payplatform master keys, version 1
    mk-<12 hexadecimal digits> <32 bytes in base64>     the current master key
    mk-...                                              older ones, which still unwrap
    end of master keys

A master key's name is the beginning of its SHA-256 hash, so that a mistyped key is noticed at once.

A wrapped key is: format u8 (1), the master key's name (6 bytes), nonce (12), ciphertext and tag of
AES-256-GCM. Its associated data are the format and the name, then the context in the order of its
names, each part with its length before it as u32 (big-endian).
"""

# ruff: noqa: D102  # what a method promises stands at the port

from __future__ import annotations

import binascii
import hashlib
import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from payplatform._domain.secret import Guarded
from payplatform.errors import ErrorCode, VaultError, VaultIntegrityError, VaultUnavailable
from payplatform.keys._apart import KEY_BYTES, associated

T = TypeVar("T")

_NAME_BYTES: Final = 6
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_FORMAT: Final = b"\x01"
_WRAPPED_BYTES: Final = len(_FORMAT) + _NAME_BYTES + _NONCE_BYTES + KEY_BYTES + _TAG_BYTES

_FIRST_LINE: Final = "payplatform master keys, version 1"
_LAST_LINE: Final = "end of master keys"
_FOR_PEOPLE: Final = (
    "# With this file and the database every stored card can be read; without it, none.",
    "# Keep a copy of it in a safe place, never beside the database or its backups.",
)
_MOST_BYTES: Final = 65_536
# 32 random bytes hold about 30 different ones; fewer than 16 have never been drawn.
_FEWEST_DIFFERENT_BYTES: Final = 16
# Elsewhere a mode says little, and a folder cannot be opened.
_HAS_MODES: Final = os.name == "posix"
_OTHERS_MAY: Final = stat.S_IRWXG | stat.S_IRWXO

DEFAULT_VARIABLE: Final = "PAYPLATFORM_MASTER_KEY"


class LocalKeyService(Guarded):
    """Wraps keys with a master key that this process holds. See `ports.KeyService`.

    Made by `open`, `from_env` or `ephemeral`.

    Args:
        masters: master keys of 32 random bytes: the current one, then older ones.
        source: where they are from, for people.
        random_bytes: a source fit for keys; takes how many.

    Raises:
        VaultError: `vault_key_invalid`: there is none, or one is no random key of 32 bytes.
    """

    __slots__ = ("_ciphers", "_current", "_random_bytes", "_source")
    _ciphers: dict[bytes, AESGCM]
    _current: bytes
    _source: str
    _random_bytes: Callable[[int], bytes]

    def __init__(
        self,
        masters: Sequence[bytes],
        *,
        source: str,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        problem = _problem_with(masters)
        ciphers = {} if problem else {_name_of(master): AESGCM(master) for master in masters}
        del masters
        # All is set before anything is raised, so that a crash reporter can print this object.
        object.__setattr__(self, "_ciphers", ciphers)
        object.__setattr__(self, "_current", next(iter(ciphers), b""))
        object.__setattr__(self, "_source", source)
        object.__setattr__(self, "_random_bytes", random_bytes)
        if problem:
            raise _invalid(f"{source}: {problem}")

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, create: bool = True) -> LocalKeyService:
        """Take the master keys from a key file, which is made first if it is not there.

        Processes that race to make it all get the same one. It is for its owner alone (mode 0600);
        folders that are missing are made for the owner alone too (0700).

        Args:
            path: of the key file. Keep it apart from the database, and keep a copy of it.
            create: whether to make it. With False, a missing file is an error.

        Raises:
            VaultError: `vault_key_missing` (not there, and not to be made), `vault_key_invalid`
                (no key file, damaged, or others may read or write it).
            VaultUnavailable: it could not be read or made.
        """
        file = Path(path)
        if create and not file.exists():
            _create(file)
        if create:
            # Also where another process was faster: it may not have come as far as this yet.
            _told_plainly(lambda: _sync(file.parent), f"key file {file} cannot be kept")
        return cls(_masters_in(_read(file), file), source=f"key file {file}")

    @classmethod
    def from_env(cls, name: str = DEFAULT_VARIABLE) -> LocalKeyService:
        """Take the master keys from an environment variable.

        Args:
            name: of the variable. It holds one key as `generate_text` makes them; or several, with
                spaces or commas between them: the current one, then older ones.

        Raises:
            VaultError: `vault_key_missing` (not set, or empty), `vault_key_invalid`.
        """
        source = f"environment variable {name}"
        if not _words_in(name):
            raise _missing(f"{source} holds no master key")
        return cls([_decoded(word) for word in _words_in(name)], source=source)

    @classmethod
    def ephemeral(cls, *, random_bytes: Callable[[int], bytes] = os.urandom) -> LocalKeyService:
        """Make a master key that ends with this object, and everything sealed under it."""
        return cls([random_bytes(KEY_BYTES)], source="memory", random_bytes=random_bytes)

    @staticmethod
    def generate_text() -> str:
        """A new master key as text (32 random bytes in base64), for an environment variable."""
        return b64encode(os.urandom(KEY_BYTES)).decode()

    def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
        cipher = self._cipher(self._current)
        if len(key) != KEY_BYTES:
            raise _invalid(f"a key to wrap has {KEY_BYTES} bytes")
        header = _FORMAT + self._current
        nonce = self._random_bytes(_NONCE_BYTES)
        return header + nonce + cipher.encrypt(nonce, bytes(key), associated(header, context))

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        if len(wrapped) != _WRAPPED_BYTES or not wrapped.startswith(_FORMAT):
            raise VaultIntegrityError("a wrapped key is not what this key service made")
        nonce_at = len(_FORMAT) + _NAME_BYTES
        sealed_at = nonce_at + _NONCE_BYTES
        header, nonce, sealed = wrapped[:nonce_at], wrapped[nonce_at:sealed_at], wrapped[sealed_at:]
        cipher = self._cipher(header[len(_FORMAT) :])
        with suppress(InvalidTag):
            return cipher.decrypt(nonce, sealed, associated(header, context))
        raise VaultIntegrityError("a wrapped key was altered, or belongs to another context")

    def rewrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        return self.wrap(self.unwrap(wrapped, context), context)

    def describe(self) -> Mapping[str, str]:
        return {
            "adapter": "local",
            "source": self._source,
            "current_master_key": _text_of(self._current),
            "master_keys": " ".join(map(_text_of, self._ciphers)),
        }

    def close(self) -> None:
        self._ciphers.clear()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._source}, {_text_of(self._current)})"

    def _cipher(self, name: bytes) -> AESGCM:
        cipher = self._ciphers.get(name)
        if cipher is not None:
            return cipher
        if not self._ciphers:
            raise VaultUnavailable("the key service is closed")
        held = " ".join(map(_text_of, self._ciphers))
        raise VaultIntegrityError(
            f"master key {_text_of(name)} is not in {self._source}, which holds {held}: put back "
            "the key file, or the variable, that the stored keys were wrapped with",
            code=ErrorCode.VAULT_KEY_MISSING,
        )


def _name_of(master: bytes) -> bytes:
    return hashlib.sha256(b"payplatform/master-key-name/v1" + master).digest()[:_NAME_BYTES]


def _text_of(name: bytes) -> str:
    return f"mk-{name.hex()}"


def _problem_with(masters: Sequence[bytes]) -> str | None:
    if not masters:
        return "there is no master key"
    if any(len(master) != KEY_BYTES for master in masters):
        return f"a master key is {KEY_BYTES} bytes in base64"
    if any(len(set(master)) < _FEWEST_DIFFERENT_BYTES for master in masters):
        return "a master key must be random: make one with LocalKeyService.generate_text()"
    return None


def _words_in(variable: str) -> list[str]:
    return os.environ.get(variable, "").replace(",", " ").split()


def _decoded(text: str) -> bytes:
    """The bytes, or none: so that what was wrong with the text is never in an error."""
    with suppress(ValueError, binascii.Error):
        return b64decode(text, validate=True)
    return b""


def _file_text(master: bytes) -> str:
    line = f"{_text_of(_name_of(master))} {b64encode(master).decode()}"
    return "\n".join((_FIRST_LINE, *_FOR_PEOPLE, line, _LAST_LINE, ""))


def _masters_in(content: bytes, file: Path) -> list[bytes]:
    """The master keys of a key file; empty when the file is not what was written."""
    lines = content.decode("ascii", "replace").splitlines()
    lines = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    whole = lines[:1] == [_FIRST_LINE] and lines[-1:] == [_LAST_LINE]
    masters = [_master_in(line) for line in lines[1:-1]]
    del content, lines
    if not whole or b"" in masters:
        del masters
        raise _invalid(f"{file} is no key file of version 1, or is damaged: restore it from a copy")
    return masters


def _master_in(line: str) -> bytes:
    name, _, text = line.partition(" ")
    master = _decoded(text)
    return master if name == _text_of(_name_of(master)) else b""


def _read(file: Path) -> bytes:
    def read() -> tuple[bytes, int]:
        with open(file, "rb", opener=_without_waiting) as opened:
            # A pipe with nothing in it yet gives None.
            return opened.read(_MOST_BYTES) or b"", os.fstat(opened.fileno()).st_mode

    content, mode = _told_plainly(read, f"key file {file} cannot be read")
    if _HAS_MODES and mode & _OTHERS_MAY:
        del content
        raise _invalid(f"others may read or write key file {file}: run chmod 600 on it")
    return content


def _without_waiting(file: str, flags: int) -> int:
    """Open what may turn out to be a pipe that nobody writes to."""
    return os.open(file, flags | getattr(os, "O_NONBLOCK", 0))


def _create(file: Path) -> None:
    """Write a new key file under another name, then give it its name if nobody was faster."""
    draft = file.with_name(f".{file.name}.{os.urandom(8).hex()}.new")

    def create() -> None:
        _make_folder(file.parent)
        try:
            _write(draft, _file_text(os.urandom(KEY_BYTES)).encode())
            with suppress(FileExistsError):
                os.link(draft, file)
        finally:
            draft.unlink(missing_ok=True)

    _told_plainly(create, f"key file {file} cannot be made")


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    _sync(folder.parent)


def _write(draft: Path, content: bytes) -> None:
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(handle)


def _sync(folder: Path) -> None:
    """Make the names in a folder last through a power cut, where the system has a way to."""
    if not _HAS_MODES:
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _told_plainly(act: Callable[[], T], what: str) -> T:
    """Turn the system's error into ours, without the frames of its traceback and what they hold."""
    try:
        return act()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        reason = f"{what}: {error.strerror or type(error).__name__}"
    raise _missing(reason) if missing else VaultUnavailable(reason)


def _missing(rule: str) -> VaultError:
    return VaultError(rule, code=ErrorCode.VAULT_KEY_MISSING)


def _invalid(rule: str) -> VaultError:
    return VaultError(rule, code=ErrorCode.VAULT_KEY_INVALID)
