"""The master key in a hardware security module: the contract on SoftHSM, and what it refuses.

Not collected by name, since pip brings no SoftHSM: `make test-services` runs it.
"""

# ruff: noqa: ARG001, ARG002  # a hook or a fixture need not heed all it is given

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pkcs11
import pytest
from softhsm_token import PIN, Token, module, use_folder

from payplatform.errors import ErrorCode, VaultIntegrityError, VaultUnavailable
from payplatform.keys.pkcs11 import Pkcs11KeyService
from payplatform.ports import KeyService
from payplatform.testing.keys_contract import CONTEXT, KeyServiceContract, a_key

MASTER = "master-2026"


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    use_folder(tmp_path_factory.mktemp("softhsm"))


@pytest.fixture(scope="module")
def token(folder: None) -> Token:
    token = Token()
    token.new_master(MASTER)
    return token


def service(token: Token, label: str = MASTER, *older: str, pin: str = PIN) -> Pkcs11KeyService:
    return Pkcs11KeyService(
        module(),
        token_label=token.label,
        key_label=label,
        older_key_labels=older,
        pin=lambda: pin,
        timeout_s=10.0,
    )


class TestSoftHsmKeepsTheContract(KeyServiceContract):
    @pytest.fixture(autouse=True)
    def hsm(self, token: Token) -> None:
        self.token = token

    def make_keys(self, folder: Path) -> KeyService:
        return service(self.token)

    def reopen(self, keys: KeyService, folder: Path) -> KeyService:
        keys.close()
        return service(self.token)

    def make_strangers(self, folder: Path) -> Sequence[KeyService]:
        other = f"master-{os.urandom(6).hex()}"
        self.token.new_master(other)
        return [service(self.token, other)]

    def master_secrets(self, folder: Path) -> Sequence[bytes]:
        return [PIN.encode()]


def test_the_master_key_cannot_leave_the_token(token: Token) -> None:
    assert not token.may_leave(MASTER)


def test_an_older_master_key_unwraps_until_all_is_rewrapped(token: Token) -> None:
    key = a_key()
    token.new_master("master-2027")
    wrapped = service(token).wrap(key, CONTEXT)

    both = service(token, "master-2027", MASTER)
    rewrapped = both.rewrap(wrapped, CONTEXT)
    assert both.unwrap(wrapped, CONTEXT) == both.unwrap(rewrapped, CONTEXT) == key

    after = service(token, "master-2027")
    assert after.unwrap(rewrapped, CONTEXT) == key
    with pytest.raises(VaultIntegrityError) as caught:
        after.unwrap(wrapped, CONTEXT)
    assert caught.value.code is ErrorCode.VAULT_KEY_MISSING


def test_a_destroyed_master_key_is_missing_and_reveals_nothing(token: Token) -> None:
    token.new_master("master-lost")
    keys = service(token, "master-lost")
    wrapped = keys.wrap(a_key(), CONTEXT)
    token.destroy_master("master-lost")

    for refuse in (keys.unwrap, keys.rewrap):
        with pytest.raises(VaultUnavailable) as caught:
            refuse(wrapped, CONTEXT)
        assert (caught.value.code, caught.value.retryable) == (ErrorCode.VAULT_KEY_MISSING, False)


def test_a_token_that_is_not_there_is_missing(token: Token) -> None:
    keys = service(token)
    token_elsewhere = Pkcs11KeyService(
        module(), token_label="no-such-token", key_label=MASTER, pin=lambda: PIN
    )

    with pytest.raises(VaultUnavailable) as caught:
        token_elsewhere.unwrap(keys.wrap(a_key(), CONTEXT), CONTEXT)

    assert caught.value.code is ErrorCode.VAULT_KEY_MISSING


def test_a_token_that_was_pulled_works_once_it_is_back(token: Token) -> None:
    keys, key = service(token), a_key()
    wrapped = keys.wrap(key, CONTEXT)
    token.pull_and_put_back()

    assert keys.unwrap(wrapped, CONTEXT) == key


def test_a_service_outlasts_the_logout_of_another_on_the_same_token(token: Token) -> None:
    token.pull_and_put_back()
    first, second, key = service(token), service(token), a_key()
    wrapped = first.wrap(key, CONTEXT)
    assert second.unwrap(wrapped, CONTEXT) == key
    first.close()

    assert second.unwrap(wrapped, CONTEXT) == key


def test_a_refused_pin_is_not_tried_again_since_tokens_lock(folder: None) -> None:
    token = Token()
    token.new_master(MASTER)
    pins = ["a-wrong-pin"]
    keys = Pkcs11KeyService(
        module(), token_label=token.label, key_label=MASTER, pin=lambda: pins[0]
    )
    for _ in range(20):
        with pytest.raises(VaultUnavailable) as caught:
            keys.wrap(a_key(), CONTEXT)
        assert caught.value.code is ErrorCode.VAULT_KEY_REFUSED

    # The token's owner makes it the right one: it would be taken now, if it were tried.
    change_pin(token, "a-wrong-pin")
    with pytest.raises(VaultUnavailable):
        keys.wrap(a_key(), CONTEXT)

    change_pin(token, "another-pin", old="a-wrong-pin")
    pins[0] = "another-pin"
    assert keys.wrap(a_key(), CONTEXT)


def change_pin(token: Token, new: str, *, old: str = PIN) -> None:
    found = pkcs11.lib(module()).get_token(token_label=token.label)
    session = found.open(rw=True, user_pin=old)
    session.set_pin(old, new)
    session.close()


def test_a_thread_waits_for_another_only_so_long(token: Token) -> None:
    keys = Pkcs11KeyService(
        module(), token_label=token.label, key_label=MASTER, pin=lambda: PIN, timeout_s=0.01
    )
    keys.wrap(a_key(), CONTEXT)
    with keys._desk.get()._lock, pytest.raises(VaultUnavailable) as caught:
        keys.wrap(a_key(), CONTEXT)

    assert caught.value.code is ErrorCode.VAULT_UNAVAILABLE


FORKING = """
import os, sys
from pkcs11 import UserType
from payplatform.keys.pkcs11 import Pkcs11KeyService

module, token, label, pin = sys.argv[1:]
keys = Pkcs11KeyService(module, token_label=token, key_label=label, pin=lambda: pin)
key = os.urandom(32)
wrapped = keys.wrap(key, {})
keys._desk.get()._lock.acquire()  # as another thread may, at the moment of the fork
child = os.fork()
if child == 0:
    assert keys.unwrap(wrapped, {}) == key
    # SoftHSM would also let a child go on with its parent's login; other modules do not.
    assert keys._desk.get()._session.user_type == UserType.USER
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
keys._desk.get()._lock.release()
assert keys.unwrap(wrapped, {}) == key
print("both")
"""


def test_a_forked_child_logs_in_for_itself(token: Token) -> None:
    told = subprocess.run(
        [sys.executable, "-c", FORKING, module(), token.label, MASTER, PIN],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (told.stdout.split(), told.stderr) == (["both"], "")
