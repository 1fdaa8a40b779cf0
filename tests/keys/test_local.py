"""The master key in a file, a variable or memory: made once, told to nobody, refused if damaged."""

# ruff: noqa: ARG001, ARG002  # a hook, and what stands in for one, need not heed all it is given

import os
import pickle
import re
import stat
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from payplatform.errors import (
    ErrorCode,
    PayPlatformError,
    VaultError,
    VaultIntegrityError,
    VaultUnavailable,
)
from payplatform.keys.local import LocalKeyService
from payplatform.ports import KeyService
from payplatform.testing.keys_contract import CONTEXT, KeyServiceContract, shown

MASTER = bytes(range(100, 132))
OLDER = bytes(range(32))
KEY = bytes(range(200, 232))
VARIABLE = "PAYPLATFORM_MASTER_KEY"


def b64(data: bytes) -> str:
    return b64encode(data).decode()


def name_of(master: bytes) -> str:
    return "mk-" + sha256(b"payplatform/master-key-name/v1" + master).hexdigest()[:12]


def file_text(*masters: bytes) -> str:
    lines = [f"{name_of(master)} {b64(master)}" for master in masters]
    return "\n".join(["payplatform master keys, version 1", *lines, "end of master keys", ""])


def write_private(path: Path, text: str | bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def masters_of(path: Path) -> list[bytes]:
    lines = [line for line in path.read_text().splitlines() if line.startswith("mk-")]
    return [b64decode(line.split()[1]) for line in lines]


def refusal(call: Callable[[], object]) -> PayPlatformError:
    with pytest.raises(VaultError) as caught:
        call()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "shop.key"


class TestKeyFileKeepsTheContract(KeyServiceContract):
    def make_keys(self, folder: Path) -> KeyService:
        return LocalKeyService.open(folder / "shop.key")

    def reopen(self, keys: KeyService, folder: Path) -> KeyService:
        keys.close()
        return LocalKeyService.open(folder / "shop.key", create=False)

    def make_strangers(self, folder: Path) -> Sequence[KeyService]:
        return [LocalKeyService.open(folder / "other.key"), LocalKeyService.ephemeral()]

    def master_secrets(self, folder: Path) -> Sequence[bytes]:
        return masters_of(folder / "shop.key")


class TestVariableKeepsTheContract(KeyServiceContract):
    @pytest.fixture(autouse=True)
    def variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(VARIABLE, b64(MASTER))

    def make_keys(self, folder: Path) -> KeyService:
        return LocalKeyService.from_env()

    def reopen(self, keys: KeyService, folder: Path) -> KeyService:
        keys.close()
        return LocalKeyService.from_env()

    def master_secrets(self, folder: Path) -> Sequence[bytes]:
        return [MASTER]


class TestEphemeralKeepsTheContract(KeyServiceContract):
    def make_keys(self, folder: Path) -> KeyService:
        return LocalKeyService.ephemeral()

    def make_strangers(self, folder: Path) -> Sequence[KeyService]:
        return [LocalKeyService.ephemeral()]


# -- the wrapped form is for ever ------------------------------------------------------------------

WRAPPED = (
    "01"
    "574c385b3387"
    "000102030405060708090a0b"
    "5762f28771800f264dc24c1b424f5e6531cee74bf1de0efa27f30be8b709a707"
    "e9685c7bbe74a994459dba29cce22395"
)


def test_a_wrapped_key_of_the_first_version_still_unwraps() -> None:
    """A known wrapped key, to the byte: who changes the form loses every stored key."""
    keys = LocalKeyService([MASTER], source="a test", random_bytes=lambda size: bytes(range(size)))

    assert keys.wrap(KEY, CONTEXT).hex() == WRAPPED
    assert keys.unwrap(bytes.fromhex(WRAPPED), CONTEXT) == KEY


def test_the_wrapped_form_is_as_documented() -> None:
    """Written down anew from the module's docstring, it comes out the same."""
    name = bytes.fromhex(name_of(MASTER)[3:])
    texts = [b"\x01" + name]
    for item in sorted(CONTEXT.items()):
        texts += [text.encode() for text in item]
    associated = b"".join(len(text).to_bytes(4, "big") + text for text in texts)
    nonce = os.urandom(12)
    wrapped = b"\x01" + name + nonce + AESGCM(MASTER).encrypt(nonce, KEY, associated)

    assert LocalKeyService([MASTER], source="a test").unwrap(wrapped, CONTEXT) == KEY


# -- the key file ----------------------------------------------------------------------------------


def test_a_new_key_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    key_file = tmp_path / "new" / "folders" / "shop.key"
    LocalKeyService.open(key_file)

    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(key_file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(key_file.parent.parent.stat().st_mode) == 0o700


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    LocalKeyService.open(tmp_path / "shop.key")

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_no_other_file_is_left_beside_it(key_file: Path) -> None:
    LocalKeyService.open(key_file)
    LocalKeyService.open(key_file)

    assert [path.name for path in key_file.parent.iterdir()] == ["shop.key"]


def test_nobody_else_can_read_it_at_any_moment(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file in the folder is looked at before and after each step of the making."""
    modes: set[int] = set()

    def watched(step: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*args: object, **kwargs: object) -> object:
            look()
            result = step(*args, **kwargs)
            look()
            return result

        return wrapper

    def look() -> None:
        modes.update(stat.S_IMODE(path.stat().st_mode) for path in key_file.parent.iterdir())

    for step in ("open", "fdopen", "fsync", "link", "close"):
        monkeypatch.setattr(os, step, watched(getattr(os, step)))
    old = os.umask(0)
    try:
        LocalKeyService.open(key_file)
    finally:
        os.umask(old)

    assert modes == {0o600}


def test_the_key_is_on_disk_before_the_file_has_its_name(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, link = os.fsync, os.link

    def noted_fsync(handle: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def noted_link(source: Path, target: Path) -> None:
        assert source.read_text().endswith("end of master keys\n")
        steps.append("link")
        link(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "link", noted_link)
    LocalKeyService.open(key_file)

    assert steps == ["file", "link", "folder"]


def test_processes_that_race_to_make_it_all_get_the_same_key(tmp_path: Path) -> None:
    program = (
        "import sys, time; from payplatform.keys.local import LocalKeyService\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "keys = [LocalKeyService.open(f'{sys.argv[1]}/{n}/shop.key') for n in range(20)]\n"
        "print(' '.join(key.describe()['current_master_key'] for key in keys))\n"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        told = [racer.communicate(timeout=30)[0].split() for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()

    assert all(len(names) == 20 for names in told)
    assert len(set(map(tuple, told))) == 1
    assert len(set(told[0])) == 20


def test_who_is_faster_wins_and_the_other_takes_his_key(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking and making, another process makes it."""
    link = os.link

    def beaten(source: Path, target: Path) -> None:
        write_private(key_file, file_text(MASTER))
        link(source, target)

    monkeypatch.setattr(os, "link", beaten)

    assert LocalKeyService.open(key_file).describe()["current_master_key"] == name_of(MASTER)
    assert [path.name for path in key_file.parent.iterdir()] == ["shop.key"]


def test_a_missing_file_is_not_made_unless_asked_for(key_file: Path) -> None:
    error = refusal(lambda: LocalKeyService.open(key_file, create=False))

    assert error.code is ErrorCode.VAULT_KEY_MISSING
    assert str(key_file) in str(error)
    assert not key_file.exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = refusal(lambda: LocalKeyService.open(tmp_path / "file" / "shop.key"))

    assert isinstance(error, VaultUnavailable)


def test_a_disk_that_fails_leaves_nothing_behind(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    error = refusal(lambda: LocalKeyService.open(key_file))

    assert isinstance(error, VaultUnavailable)
    assert "No space left" in str(error)
    assert list(key_file.parent.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o620, 0o601, 0o777])
def test_a_file_that_others_may_read_or_write_is_refused(key_file: Path, mode: int) -> None:
    write_private(key_file, file_text(MASTER)).chmod(mode)
    error = refusal(lambda: LocalKeyService.open(key_file))

    assert error.code is ErrorCode.VAULT_KEY_INVALID
    assert "chmod 600" in str(error)
    assert not shown(MASTER, texts_of(error))


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_that_is_the_owners_alone_is_taken(key_file: Path, mode: int) -> None:
    write_private(key_file, file_text(MASTER)).chmod(mode)

    assert LocalKeyService.open(key_file).describe()["current_master_key"] == name_of(MASTER)


def test_where_files_have_no_such_modes_they_are_not_asked(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_private(key_file, file_text(MASTER)).chmod(0o644)
    monkeypatch.setattr("payplatform.keys.local._HAS_MODES", False)

    assert LocalKeyService.open(key_file).describe()["current_master_key"] == name_of(MASTER)


def test_people_may_add_comments_blank_lines_and_another_line_end(key_file: Path) -> None:
    text = file_text(MASTER).replace("\n", "\r\n# the shop's\r\n \r\n")
    write_private(key_file, text)

    assert LocalKeyService.open(key_file).describe()["current_master_key"] == name_of(MASTER)


def test_older_master_keys_unwrap_and_rewrap_moves_to_the_current_one(key_file: Path) -> None:
    write_private(key_file, file_text(MASTER, OLDER))
    keys = LocalKeyService.open(key_file)
    wrapped = LocalKeyService([OLDER], source="a test").wrap(KEY, CONTEXT)

    rewrapped = keys.rewrap(wrapped, CONTEXT)

    assert keys.unwrap(wrapped, CONTEXT) == KEY
    assert LocalKeyService([MASTER], source="a test").unwrap(rewrapped, CONTEXT) == KEY
    assert keys.describe()["master_keys"] == f"{name_of(MASTER)} {name_of(OLDER)}"


WHOLE = file_text(MASTER, OLDER).encode()
DAMAGED = {
    "empty": b"",
    "blank": b"\n",
    "of a later version": WHOLE.replace(b"version 1", b"version 2"),
    "without its end": WHOLE.replace(b"end of master keys", b""),
    "without a key": file_text().encode(),
    "a key too short": WHOLE.replace(b64(OLDER).encode(), b64(OLDER[:-1]).encode()),
    "a key too long": WHOLE.replace(b64(OLDER).encode(), b64(OLDER + b"x").encode()),
    "a key with another's name": WHOLE.replace(name_of(MASTER).encode(), name_of(OLDER).encode()),
    "twice": WHOLE + WHOLE,
    "a key alone": b64(MASTER).encode(),
    "a database": b"SQLite format 3\0" + bytes(5_000),
    "a megabyte": b"x" * 1_000_000,
    "random bytes": bytes(range(256)) * 9,
    "another encoding": WHOLE.decode().encode("utf-16"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_what_is_no_key_file_is_refused_and_not_shown(key_file: Path, damage: str) -> None:
    write_private(key_file, DAMAGED[damage])
    error = refusal(lambda: LocalKeyService.open(key_file))

    assert error.code is ErrorCode.VAULT_KEY_INVALID
    assert str(key_file) in str(error)
    assert not any(shown(master, [repr(error), *texts_of(error)]) for master in (MASTER, OLDER))
    assert key_file.read_bytes() == DAMAGED[damage]


def test_every_truncation_is_refused(key_file: Path) -> None:
    """Also one that would lose no more than an older key."""
    for size in range(len(WHOLE) - 1):
        write_private(key_file, WHOLE[:size])
        assert refusal(lambda: LocalKeyService.open(key_file)).code is ErrorCode.VAULT_KEY_INVALID


def test_every_mistyped_letter_of_a_key_is_noticed(key_file: Path) -> None:
    """A wrong master key is found out on opening, not when a card cannot be read."""
    whole = file_text(MASTER).encode()
    line = whole.index(b"mk-")
    for at in range(line, whole.index(b"\nend")):
        mistyped = b"A" if whole[at : at + 1] != b"A" else b"B"
        write_private(key_file, whole[:at] + mistyped + whole[at + 1 :])
        assert refusal(lambda: LocalKeyService.open(key_file)).code is ErrorCode.VAULT_KEY_INVALID


def test_a_folder_or_a_pipe_is_no_key_file(tmp_path: Path) -> None:
    """And a pipe is not waited on."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    pipe = refusal(lambda: LocalKeyService.open(tmp_path / "pipe"))
    folder = refusal(lambda: LocalKeyService.open(tmp_path))

    assert pipe.code is ErrorCode.VAULT_KEY_INVALID
    assert folder.code in {ErrorCode.VAULT_KEY_INVALID, ErrorCode.VAULT_UNAVAILABLE}


# -- a lost key file -------------------------------------------------------------------------------


def test_a_key_of_a_lost_file_is_refused_with_its_name_and_where_we_looked(key_file: Path) -> None:
    lost = LocalKeyService.open(key_file)
    wrapped = lost.wrap(KEY, CONTEXT)
    lost_name = lost.describe()["current_master_key"]
    key_file.unlink()
    keys = LocalKeyService.open(key_file)
    error = refusal(lambda: keys.unwrap(wrapped, CONTEXT))

    assert isinstance(error, VaultIntegrityError)
    assert error.code is ErrorCode.VAULT_KEY_MISSING
    assert not error.retryable
    for told in (lost_name, str(key_file), keys.describe()["current_master_key"]):
        assert told in str(error)


# -- the environment variable ----------------------------------------------------------------------


def test_a_generated_text_makes_a_key_service(monkeypatch: pytest.MonkeyPatch) -> None:
    text = LocalKeyService.generate_text()
    monkeypatch.setenv("SHOP_KEY", f" {text}\n")
    wrapped = LocalKeyService.from_env("SHOP_KEY").wrap(KEY, CONTEXT)

    assert LocalKeyService([b64decode(text)], source="a test").unwrap(wrapped, CONTEXT) == KEY
    assert LocalKeyService.generate_text() != text


def test_the_first_of_several_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"{b64(MASTER)},{b64(OLDER)}")
    told = LocalKeyService.from_env().describe()

    assert told["current_master_key"] == name_of(MASTER)
    assert told["master_keys"] == f"{name_of(MASTER)} {name_of(OLDER)}"
    assert VARIABLE in told["source"]


@pytest.mark.parametrize("text", [None, "", "  ", ","])
def test_a_variable_that_is_not_set_is_named(
    monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if text is not None:
        monkeypatch.setenv(VARIABLE, text)
    error = refusal(LocalKeyService.from_env)

    assert error.code is ErrorCode.VAULT_KEY_MISSING
    assert VARIABLE in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "hunter2hunter2",
        b64(MASTER[:-1]),
        b64(MASTER + b"x"),
        b64(MASTER)[:-1],
        b64(MASTER).replace("g", "*"),
        f"{b64(MASTER)[:9]}*{b64(MASTER)[9:]}",
        f"{b64(MASTER)} {b64(OLDER)[:-5]}",
        MASTER.hex(),
        "ключ" * 11,
    ],
)
def test_a_text_that_is_no_key_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    error = refusal(LocalKeyService.from_env)

    assert error.code is ErrorCode.VAULT_KEY_INVALID
    assert VARIABLE in str(error)
    assert not any(text[:8] in place for place in texts_of(error))
    assert not shown(MASTER, texts_of(error))


@pytest.mark.parametrize("master", [bytes(32), b"\xff" * 32, b"0123456789abcdef"[:8] * 4])
def test_a_key_that_was_not_drawn_at_random_is_refused(master: bytes) -> None:
    error = refusal(lambda: LocalKeyService([master], source="a test"))

    assert error.code is ErrorCode.VAULT_KEY_INVALID
    assert "random" in str(error)


# -- leaks and the end -----------------------------------------------------------------------------


def texts_of(error: BaseException) -> Iterator[str]:
    """What a crash reporter shows: the error, and the local variables of the library's frames."""
    yield str(error)
    yield repr(vars(error))
    trace = error.__traceback__
    while trace is not None:
        if "payplatform" in re.split(r"[/\\]", trace.tb_frame.f_code.co_filename):
            yield repr(trace.tb_frame.f_locals)
        trace = trace.tb_next


def test_it_refuses_pickling_copying_and_showing_its_key() -> None:
    keys = LocalKeyService([MASTER, OLDER], source="a test")

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(keys, protocol)
    slots = [repr(getattr(keys, slot)) for slot in type(keys).__slots__]
    for master in (MASTER, OLDER):
        assert not shown(master, [repr(keys), *slots])
    assert repr(keys) == f"LocalKeyService(a test, {name_of(MASTER)})"


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_only_keys_of_32_bytes_are_wrapped(size: int) -> None:
    error = refusal(lambda: LocalKeyService.ephemeral().wrap(bytes(size), CONTEXT))

    assert error.code is ErrorCode.VAULT_KEY_INVALID


def test_once_closed_it_wraps_and_unwraps_nothing() -> None:
    keys = LocalKeyService.ephemeral()
    wrapped = keys.wrap(KEY, CONTEXT)
    keys.close()

    assert isinstance(refusal(lambda: keys.wrap(KEY, CONTEXT)), VaultUnavailable)
    assert isinstance(refusal(lambda: keys.unwrap(wrapped, CONTEXT)), VaultUnavailable)
    assert keys._ciphers == {}


def test_an_ephemeral_key_can_be_drawn_from_a_seed() -> None:
    """A history that is to repeat to the byte hands in where its keys come from."""
    keys = LocalKeyService.ephemeral(random_bytes=lambda size: bytes(range(size)))

    assert keys.describe()["current_master_key"] == name_of(bytes(range(32)))
