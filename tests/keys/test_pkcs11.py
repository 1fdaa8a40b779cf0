"""What is told of a hardware security module without one: its name, and that it is not there.

On SoftHSM it keeps the contract: see pkcs11_on_softhsm.py, which `make test-services` runs.
"""

from pathlib import Path

import pytest

from payplatform.errors import ErrorCode, InvalidRequest, VaultIntegrityError, VaultUnavailable
from payplatform.keys.pkcs11 import Pkcs11KeyService
from payplatform.testing.keys_contract import CONTEXT, a_key

PIN = "a-pin-that-nobody-may-see"


def service(folder: Path, *labels: str) -> Pkcs11KeyService:
    return Pkcs11KeyService(
        folder / "vendor.so",
        token_label="shop",
        key_label=labels[0],
        older_key_labels=labels[1:],
        pin=lambda: PIN,
    )


def test_it_says_which_master_keys_it_uses_and_not_the_pin(tmp_path: Path) -> None:
    keys = service(tmp_path, "now", "before")

    assert keys.describe() == {
        "adapter": "pkcs11",
        "source": f"token shop of {tmp_path}/vendor.so",
        "current_master_key": "now",
        "master_keys": "now before",
    }
    assert PIN not in repr(keys)


@pytest.mark.parametrize("content", [None, b"", b"no library"])
def test_a_module_that_cannot_be_loaded_is_unavailable(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "vendor.so").write_bytes(content)
    keys = service(tmp_path, "now")

    with pytest.raises(VaultUnavailable) as caught:
        keys.wrap(a_key(), CONTEXT)

    assert caught.value.code is ErrorCode.VAULT_UNAVAILABLE
    assert caught.value.__context__ is None


@pytest.mark.parametrize("labels", [("",), ("now", ""), ("é" * 128,)])
def test_a_label_that_no_wrapped_key_could_name_is_refused(
    tmp_path: Path, labels: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidRequest):
        service(tmp_path, *labels)


@pytest.mark.parametrize(
    "wrapped",
    [
        b"",
        b"\1",
        b"\1\3now",
        b"\2\3now" + bytes(60),
        b"\1\4now" + bytes(60),
        b"\1\6before" + bytes(60),
    ],
)
def test_what_it_cannot_have_wrapped_is_refused_without_asking(
    tmp_path: Path, wrapped: bytes
) -> None:
    """There is nothing to ask: the module is not there."""
    with pytest.raises(VaultIntegrityError):
        service(tmp_path, "now").unwrap(wrapped, CONTEXT)


def test_a_closed_service_is_unavailable(tmp_path: Path) -> None:
    keys = service(tmp_path, "now")
    keys.close()

    with pytest.raises(VaultUnavailable, match="closed"):
        keys.wrap(a_key(), CONTEXT)
