"""What AWS KMS does with our three calls, on loopback, and with master keys that can be revoked.

moto decrypts with a disabled key, and with one that is to be deleted; KMS refuses. The error codes
are those of the KMS API reference.
"""

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from loopback import Answer, LoopbackServer, Request

SECRET_ACCESS_KEY = "a-secret-access-key-that-nobody-may-see"
ID_BYTES, NONCE_BYTES = 16, 12


def use_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives boto3 credentials of the test's, and keeps it from finding any others."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    # A call that is throttled is made a second time after a random part of a second.
    backoff = "botocore.retries.standard.ExponentialBackoff.delay_amount"
    monkeypatch.setattr(backoff, lambda *_: 0)


class Refused(Exception):  # an answer, not a fault of the test's
    """A refusal with its error code."""


class FakeKms(LoopbackServer):
    """A KMS whose master keys are made with `new_key` and revoked by setting `states`."""

    def __init__(self) -> None:
        super().__init__(self.answer_as_kms)
        self.masters: dict[str, AESGCM] = {}
        self.states: dict[str, str] = {}

    def new_key(self) -> str:
        key_id = os.urandom(ID_BYTES // 2).hex()
        self.masters[key_id] = AESGCM(os.urandom(32))
        return key_id

    def answer_as_kms(self, request: Request) -> Answer:
        verb = request.headers["X-Amz-Target"].removeprefix("TrentService.")
        told: dict[str, str]
        try:
            told = getattr(self, verb)(json.loads(request.body))
        except Refused as refused:
            return Answer(400, json.dumps({"__type": str(refused), "message": "no"}).encode())
        return Answer(200, json.dumps(told).encode())

    def Encrypt(self, asked: Mapping[str, Any]) -> dict[str, str]:  # noqa: N802  # as KMS names it
        key = b64decode(asked["Plaintext"])
        return {"CiphertextBlob": self.seal(asked["KeyId"], key, asked["EncryptionContext"])}

    def Decrypt(self, asked: Mapping[str, Any]) -> dict[str, str]:  # noqa: N802  # as above
        key = self.unseal(asked["KeyId"], asked["CiphertextBlob"], asked["EncryptionContext"])
        return {"Plaintext": b64encode(key).decode(), "KeyId": asked["KeyId"]}

    def ReEncrypt(self, asked: Mapping[str, Any]) -> dict[str, str]:  # noqa: N802  # as above
        key = self.unseal(
            asked["SourceKeyId"], asked["CiphertextBlob"], asked["SourceEncryptionContext"]
        )
        context = asked["DestinationEncryptionContext"]
        return {"CiphertextBlob": self.seal(asked["DestinationKeyId"], key, context)}

    def seal(self, key_id: str, key: bytes, context: Mapping[str, str]) -> str:
        nonce = os.urandom(NONCE_BYTES)
        sealed = self.master(key_id).encrypt(nonce, key, bound_to(context))
        return b64encode(key_id.encode() + nonce + sealed).decode()

    def unseal(self, key_id: str, blob: str, context: Mapping[str, str]) -> bytes:
        content = b64decode(blob)
        named = content[:ID_BYTES].decode("latin-1")
        nonce, sealed = (
            content[ID_BYTES : ID_BYTES + NONCE_BYTES],
            content[ID_BYTES + NONCE_BYTES :],
        )
        if named not in self.masters or len(sealed) < 16:
            raise Refused("InvalidCiphertextException")
        if named != key_id:
            raise Refused("IncorrectKeyException")
        try:
            return self.master(key_id).decrypt(nonce, sealed, bound_to(context))
        except InvalidTag:
            raise Refused("InvalidCiphertextException") from None

    def master(self, key_id: str) -> AESGCM:
        if key_id not in self.masters:
            raise Refused("NotFoundException")
        if key_id in self.states:
            raise Refused(self.states[key_id])
        return self.masters[key_id]


def bound_to(encryption_context: Mapping[str, str]) -> bytes:
    return json.dumps(encryption_context, sort_keys=True).encode()
