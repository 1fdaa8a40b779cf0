"""The master key in a transit engine: the contract on a real OpenBao, and what it refuses."""

# ruff: noqa: ARG001, ARG002  # a hook need not heed all it is given

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from bao_server import Bao, running
from loopback import Answer, LoopbackServer

from payplatform.errors import ErrorCode, InvalidRequest, VaultIntegrityError, VaultUnavailable
from payplatform.keys.transit import TransitKeyService
from payplatform.ports import KeyService
from payplatform.testing.keys_contract import CONTEXT, KeyServiceContract, a_key


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    with running(tmp_path_factory.mktemp("bao")) as bao:
        yield bao


def service(bao: Bao, key: str, token: str | None = None) -> TransitKeyService:
    held = token or bao.new_token(f"transit/encrypt/{key}", f"transit/decrypt/{key}")
    return TransitKeyService(bao.url, key=key, token=lambda: held)


class TestOpenBaoKeepsTheContract(KeyServiceContract):
    @pytest.fixture(autouse=True)
    def server(self, bao: Bao) -> None:
        self.bao, self.key = bao, bao.new_key()
        self.token = bao.new_token(f"transit/encrypt/{self.key}", f"transit/decrypt/{self.key}")

    def make_keys(self, folder: Path) -> KeyService:
        return service(self.bao, self.key, self.token)

    def reopen(self, keys: KeyService, folder: Path) -> KeyService:
        keys.close()
        return self.make_keys(folder)

    def make_strangers(self, folder: Path) -> Sequence[KeyService]:
        return [service(self.bao, self.bao.new_key())]

    def master_secrets(self, folder: Path) -> Sequence[bytes]:
        return [self.token.encode()]


class TestChaChaKeepsTheContract(TestOpenBaoKeepsTheContract):
    most_flips = 100

    @pytest.fixture(autouse=True)
    def chacha(self, server: None) -> None:
        self.key = self.bao.new_key(key_type="chacha20-poly1305")
        self.token = self.bao.new_token(
            f"transit/encrypt/{self.key}", f"transit/decrypt/{self.key}"
        )


# -- replacing and revoking the master key ---------------------------------------------------------


def test_after_a_rotation_the_older_version_unwraps_until_it_is_switched_off(bao: Bao) -> None:
    name, key = bao.new_key(), a_key()
    keys = service(bao, name)
    wrapped = keys.wrap(key, CONTEXT)
    bao.transit.rotate_key(name)
    rewrapped = keys.rewrap(wrapped, CONTEXT)
    assert keys.unwrap(wrapped, CONTEXT) == keys.unwrap(rewrapped, CONTEXT) == key

    bao.transit.update_key_configuration(name, min_decryption_version=2)

    assert keys.unwrap(rewrapped, CONTEXT) == key
    for refuse in (keys.unwrap, keys.rewrap):
        with pytest.raises(VaultUnavailable) as caught:
            refuse(wrapped, CONTEXT)
        assert caught.value.code is ErrorCode.VAULT_KEY_REFUSED


def soft_delete(bao: Bao, name: str, token: str) -> None:
    bao.client.adapter.delete(f"/v1/transit/keys/{name}/soft-delete")


def delete(bao: Bao, name: str, token: str) -> None:
    bao.transit.update_key_configuration(name, deletion_allowed=True)
    bao.transit.delete_key(name)


def revoke_token(bao: Bao, name: str, token: str) -> None:
    bao.client.auth.token.revoke(token)


@pytest.mark.parametrize(
    ("revoke", "code"),
    [
        (soft_delete, ErrorCode.VAULT_KEY_REFUSED),
        (revoke_token, ErrorCode.VAULT_KEY_REFUSED),
        (delete, ErrorCode.VAULT_KEY_MISSING),
    ],
)
def test_a_revoked_master_key_is_refused_and_reveals_nothing(
    bao: Bao, revoke: Callable[[Bao, str, str], None], code: ErrorCode
) -> None:
    name = bao.new_key()
    token = bao.new_token(f"transit/encrypt/{name}", f"transit/decrypt/{name}")
    keys = service(bao, name, token)
    wrapped = keys.wrap(a_key(), CONTEXT)
    revoke(bao, name, token)

    for refuse in (keys.unwrap, keys.rewrap):
        with pytest.raises(VaultUnavailable) as caught:
            refuse(wrapped, CONTEXT)
        assert (caught.value.code, caught.value.retryable) == (code, False)


def test_a_master_key_that_is_gone_is_not_made_anew_by_wrapping(bao: Bao) -> None:
    """Transit makes it for a token that may create, and the one to use may not."""
    keys = service(bao, "was-never-made")

    with pytest.raises(VaultUnavailable) as caught:
        keys.wrap(a_key(), CONTEXT)

    assert caught.value.code in {ErrorCode.VAULT_KEY_MISSING, ErrorCode.VAULT_KEY_REFUSED}
    assert "was-never-made" not in bao.transit.list_keys()["data"]["keys"]


def test_an_engine_that_is_not_mounted_has_no_key(bao: Bao) -> None:
    token = bao.new_token("elsewhere/encrypt/master")
    keys = TransitKeyService(bao.url, key="master", mount="elsewhere", token=lambda: token)

    with pytest.raises(VaultUnavailable) as caught:
        keys.wrap(a_key(), CONTEXT)

    assert caught.value.code is ErrorCode.VAULT_KEY_MISSING


@pytest.mark.parametrize("options", [{"key_type": "rsa-2048"}, {"derived": True}])
def test_a_master_key_that_cannot_bind_the_context_wraps_nothing(
    bao: Bao, options: dict[str, object]
) -> None:
    keys = service(bao, bao.new_key(**options))

    with pytest.raises(VaultUnavailable):
        keys.wrap(a_key(), CONTEXT)


def test_a_renewed_token_counts_at_once(bao: Bao) -> None:
    name, key = bao.new_key(), a_key()
    paths = (f"transit/encrypt/{name}", f"transit/decrypt/{name}")
    tokens = [bao.new_token(*paths), bao.new_token(*paths)]
    keys = TransitKeyService(bao.url, key=name, token=lambda: tokens[0])
    wrapped = keys.wrap(key, CONTEXT)
    bao.client.auth.token.revoke(tokens.pop(0))

    assert keys.unwrap(wrapped, CONTEXT) == key


# -- the wrapped form is for ever ------------------------------------------------------------------


def test_the_wrapped_form_is_the_text_of_transit_in_bytes() -> None:
    nonce_key_and_tag = bytes(range(60))
    text = "vault:v258:" + b64encode(nonce_key_and_tag).decode()
    told: dict[str, dict[str, str]] = {"data": {"ciphertext": text}}
    with LoopbackServer(lambda _: Answer(200, json.dumps(told).encode())) as server:
        keys = TransitKeyService(server.url, key="master", token=lambda: "a-token")
        wrapped = keys.wrap(a_key(), {"b": "", "a": "é"})
        told["data"] = {"plaintext": b64encode(bytes(32)).decode()}
        keys.unwrap(wrapped, {"b": "", "a": "é"})
        wrapping, unwrapping = (json.loads(request.body) for request in server.asked)

    bound = b"\0\0\0\1\1" + b"\0\0\0\1a" + b"\0\0\0\2\xc3\xa9" + b"\0\0\0\1b" + b"\0\0\0\0"
    assert wrapped == b"\1\0\0\1\2" + nonce_key_and_tag
    assert unwrapping["ciphertext"] == text
    assert wrapping["associated_data"] == unwrapping["associated_data"]
    assert wrapping["associated_data"] == b64encode(bound).decode()


def test_version_0_which_transit_takes_for_1_is_refused(bao: Bao) -> None:
    keys = service(bao, bao.new_key())
    wrapped = keys.wrap(a_key(), CONTEXT)

    with pytest.raises(VaultIntegrityError):
        keys.unwrap(wrapped[:1] + bytes(4) + wrapped[5:], CONTEXT)


# -- where it is -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "http://vault.example.com:8200",
        "http://10.0.0.1:8200",
        "http://localhost.example.com",
        "https://user:password@vault.example.com",
        "ftp://127.0.0.1",
        "vault.example.com",
        "https://",
        "",
    ],
)
def test_an_address_that_others_could_read_along_is_refused(address: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        TransitKeyService(address, key="master", token=lambda: "a-token")

    assert caught.value.field == "address"


@pytest.mark.parametrize(
    "address",
    ["https://vault.example.com:8200", "http://localhost:8200", "http://[::1]:8200"],
)
def test_https_and_loopback_are_taken(address: str) -> None:
    keys = TransitKeyService(address, key="master", token=lambda: "a-token")

    assert keys.describe() == {
        "adapter": "transit",
        "address": address,
        "current_master_key": "transit/master",
    }
