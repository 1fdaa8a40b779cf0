"""The master key in AWS KMS: the contract on moto and on our own fake, and what KMS refuses."""

# ruff: noqa: ARG002  # a hook need not heed all it is given

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import moto
import moto.kms.models
import moto.kms.utils
import pytest
from fake_kms import SECRET_ACCESS_KEY, FakeKms, bound_to, use_credentials
from moto.kms.exceptions import AccessDeniedException, InvalidCiphertextException

from payplatform.errors import (
    ErrorCode,
    InvalidRequest,
    VaultError,
    VaultIntegrityError,
    VaultUnavailable,
)
from payplatform.keys.aws import AwsKmsKeyService
from payplatform.ports import KeyService
from payplatform.testing.keys_contract import CONTEXT, KeyServiceContract, a_key

REGION, OTHER_REGION = "eu-central-1", "eu-west-1"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    use_credentials(monkeypatch)


@pytest.fixture
def kms() -> Iterator[FakeKms]:
    with FakeKms() as kms:
        yield kms


def service(kms: FakeKms, key_id: str, *older: str) -> AwsKmsKeyService:
    return AwsKmsKeyService(key_id, older_key_ids=older, endpoint_url=kms.url)


class TestMotoKeepsTheContract(KeyServiceContract):
    """On moto, mended where it is unlike KMS.

    moto runs the pairs of a context together, and says of an altered blob whose key it cannot find
    that access is denied.
    """

    most_flips = 200
    key_ids: Mapping[str, str]

    @pytest.fixture(autouse=True)
    def aws(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        decrypt: Any = moto.kms.models.decrypt  # type: ignore[attr-defined]  # as it is used there

        def decrypt_as_kms(**asked: Any) -> Any:
            try:
                return decrypt(**asked)
            except AccessDeniedException:
                raise InvalidCiphertextException from None

        monkeypatch.setattr(moto.kms.models, "decrypt", decrypt_as_kms)
        monkeypatch.setattr(moto.kms.utils, "_serialize_encryption_context", bound_to)
        with moto.mock_aws():
            self.key_ids = {region: new_moto_key(region) for region in (REGION, OTHER_REGION)}
            yield

    def make_keys(self, folder: Path) -> KeyService:
        return AwsKmsKeyService(self.key_ids[REGION], region=REGION)

    def reopen(self, keys: KeyService, folder: Path) -> KeyService:
        keys.close()
        return self.make_keys(folder)

    def make_strangers(self, folder: Path) -> Sequence[KeyService]:
        return [AwsKmsKeyService(self.key_ids[OTHER_REGION], region=OTHER_REGION)]

    def master_secrets(self, folder: Path) -> Sequence[bytes]:
        return [SECRET_ACCESS_KEY.encode()]


def new_moto_key(region: str) -> str:
    made = boto3.session.Session().client("kms", region_name=region).create_key()
    return str(made["KeyMetadata"]["KeyId"])


class TestFakeKmsKeepsTheContract(KeyServiceContract):
    most_flips = 200

    @pytest.fixture(autouse=True)
    def aws(self, kms: FakeKms, monkeypatch: pytest.MonkeyPatch) -> None:
        # To read what AWS offers takes boto3 a fourth of a second, so it is done once.
        session = boto3.session.Session()
        monkeypatch.setattr(boto3.session, "Session", lambda: session)
        self.kms, self.key_id = kms, kms.new_key()

    def make_keys(self, folder: Path) -> KeyService:
        return service(self.kms, self.key_id)

    def reopen(self, keys: KeyService, folder: Path) -> KeyService:
        keys.close()
        return self.make_keys(folder)

    def make_strangers(self, folder: Path) -> Sequence[KeyService]:
        return [service(self.kms, self.kms.new_key())]

    def master_secrets(self, folder: Path) -> Sequence[bytes]:
        return [SECRET_ACCESS_KEY.encode()]


# -- replacing and revoking the master key ---------------------------------------------------------


def test_an_older_master_key_unwraps_until_all_is_rewrapped(kms: FakeKms) -> None:
    old, new, key = kms.new_key(), kms.new_key(), a_key()
    wrapped = service(kms, old).wrap(key, CONTEXT)

    both = service(kms, new, old)
    rewrapped = both.rewrap(wrapped, CONTEXT)
    assert both.unwrap(wrapped, CONTEXT) == both.unwrap(rewrapped, CONTEXT) == key

    after = service(kms, new)
    assert after.unwrap(rewrapped, CONTEXT) == key
    with pytest.raises(VaultIntegrityError):
        after.unwrap(wrapped, CONTEXT)


def test_rewrapping_keeps_the_key_inside_kms(kms: FakeKms) -> None:
    keys = service(kms, kms.new_key())
    wrapped = keys.wrap(a_key(), CONTEXT)
    kms.asked.clear()
    keys.rewrap(wrapped, CONTEXT)

    assert [request.headers["X-Amz-Target"] for request in kms.asked] == ["TrentService.ReEncrypt"]


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("DisabledException", ErrorCode.VAULT_KEY_REFUSED),
        ("KMSInvalidStateException", ErrorCode.VAULT_KEY_REFUSED),
        ("AccessDeniedException", ErrorCode.VAULT_KEY_REFUSED),
        ("NotFoundException", ErrorCode.VAULT_KEY_MISSING),
    ],
)
def test_a_revoked_master_key_is_refused_and_reveals_nothing(
    kms: FakeKms, state: str, code: ErrorCode
) -> None:
    key_id, key = kms.new_key(), a_key()
    keys = service(kms, key_id)
    wrapped = keys.wrap(key, CONTEXT)
    kms.states[key_id] = state

    refusing: tuple[Callable[[], bytes], ...] = (
        lambda: keys.unwrap(wrapped, CONTEXT),
        lambda: keys.rewrap(wrapped, CONTEXT),
        lambda: keys.wrap(key, CONTEXT),
    )
    for refuse in refusing:
        with pytest.raises(VaultUnavailable) as caught:
            refuse()
        assert (caught.value.code, caught.value.retryable) == (code, False)

    del kms.states[key_id]
    assert keys.unwrap(wrapped, CONTEXT) == key


# -- where it is -----------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["http://kms.example.com", "http://10.0.0.1", "ftp://[::1]"])
def test_plain_http_is_refused_but_on_loopback(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    with pytest.raises((InvalidRequest, VaultError)):
        AwsKmsKeyService("a-key", endpoint_url=address)

    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", address)
    with pytest.raises((InvalidRequest, VaultError)):
        AwsKmsKeyService("a-key")


def test_without_an_endpoint_it_is_the_regions_own_over_https() -> None:
    keys = AwsKmsKeyService("alias/payplatform", region="eu-west-3")

    assert keys._client.get().meta.endpoint_url == "https://kms.eu-west-3.amazonaws.com"
    keys.close()


def test_what_boto3_is_not_configured_for_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    with pytest.raises(VaultUnavailable):
        AwsKmsKeyService("a-key")


def test_it_says_which_master_keys_it_uses(kms: FakeKms) -> None:
    assert service(kms, "alias/now", "alias/before").describe() == {
        "adapter": "aws",
        "current_master_key": "alias/now",
        "master_keys": "alias/now alias/before",
    }
