"""Key services outside this process: down, slow, throttled, answering nonsense; and forked."""

import json
import logging
import os
import ssl
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from fake_kms import SECRET_ACCESS_KEY, FakeKms, use_credentials
from loopback import Answer, Drop, Hang, LoopbackServer, Request
from watched_bank import WatchedBank

from payplatform import Card, Money, Payment, PayPlatform
from payplatform.banks.simulated import SimulatedBank
from payplatform.errors import ErrorCode, VaultUnavailable
from payplatform.keys import _apart
from payplatform.keys.aws import AwsKmsKeyService
from payplatform.keys.transit import TransitKeyService
from payplatform.ports import KeyService
from payplatform.storage.memory import MemoryStorage
from payplatform.testing.keys_contract import CONTEXT, a_key, shown

TOKEN = "a-token-that-nobody-may-see"
TIMEOUT_S = 0.2
# Two tries, each with a wait for the connection and one for the answer; and a slow machine.
MOST_S = 10.0

Make = Callable[[str], KeyService]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    use_credentials(monkeypatch)


def aws(url: str) -> KeyService:
    return AwsKmsKeyService("a-key", endpoint_url=url, timeout_s=TIMEOUT_S)


def transit(url: str) -> KeyService:
    return TransitKeyService(url, key="a-key", token=lambda: TOKEN, timeout_s=TIMEOUT_S)


SERVICES = pytest.mark.parametrize("make", [aws, transit])
WRAPPED = b"\1\0\0\0\1" + bytes(60)


def raises(how: type[Exception]) -> Callable[[Request], Answer]:
    def answer(_: Request) -> Answer:
        raise how

    return answer


def gives(status: int, body: bytes, **headers: str) -> Callable[[Request], Answer]:
    return lambda _: Answer(status, body, headers)


def gives_json(told: object) -> Callable[[Request], Answer]:
    return gives(200, json.dumps(told).encode(), **{"Content-Type": "application/json"})


def b64(size: int) -> str:
    return b64encode(bytes(size)).decode()


def both(key: object, wrapped: object) -> Callable[[Request], Answer]:
    """Answers of the right shape for both services, with these in the places of the results."""
    data = {"plaintext": key, "ciphertext": wrapped}
    return gives_json({"Plaintext": key, "CiphertextBlob": wrapped, "data": data})


FAULTS: dict[str, Callable[[Request], Answer]] = {
    "slow": raises(Hang),
    "cut off": raises(Drop),
    "failing": gives(500, b"{}"),
    "a bad gateway": gives(502, b"<html>bad gateway</html>"),
    "sealed": gives(503, b'{"errors": ["Vault is sealed"]}'),
    "throttled": gives(429, b'{"errors": ["too many"]}', **{"Retry-After": "3600"}),
    "throttled as AWS does": gives(400, b'{"__type": "ThrottlingException"}'),
    "refusing for no known reason": gives(400, b'{"__type": "New", "errors": ["new"]}'),
    "no text": gives(200, b"\xff\xfe\x00"),
    "no JSON": gives(200, b"<html>welcome</html>"),
    "empty": gives(200, b""),
    "cut short": gives(200, b'{"Plaintext": "AAAA'),
    "null": gives_json(None),
    "a list": gives_json([1]),
    "an empty object": gives_json({}),
    "data that is null": gives_json({"data": None}),
    "null results": both(None, None),
    "numbers": both(1, 2),
    "empty results": both("", ""),
    "a key that is too short": both(b64(31), b64(0)),
    "a key that is too long": both(b64(33), f"vault:v1:{b64(61)}"),
    "no base64": both("*" * 44, "vault:v1:" + "*" * 80),
    "a wrapped key that is too long": both(b64(64), b64(7000)),
    "another form": both(b64(0), f"vault:w1:{b64(6145)}"),
    "in several lines": both(b64(0), f"vault:v1:{b64(60)}\n" + "A" * 9000),
}


@SERVICES
@pytest.mark.parametrize("fault", FAULTS)
def test_a_service_that_fails_is_unavailable_and_says_nothing(make: Make, fault: str) -> None:
    key = a_key()
    with LoopbackServer(FAULTS[fault]) as server:
        keys = make(server.url)
        for ask in (
            lambda: keys.wrap(key, CONTEXT),
            lambda: keys.unwrap(WRAPPED, CONTEXT),
            lambda: keys.rewrap(WRAPPED, CONTEXT),
        ):
            error = failure_of(ask)
            assert (error.code, error.retryable) == (ErrorCode.VAULT_UNAVAILABLE, True)
            told = [repr(error), repr(vars(error))]
            assert not any(shown(text.encode(), told) for text in (TOKEN, SECRET_ACCESS_KEY))
            assert not shown(key, told)
        keys.close()


def failure_of(ask: Callable[[], object]) -> VaultUnavailable:
    asked_at = time.monotonic()
    with pytest.raises(VaultUnavailable) as caught:
        ask()
    assert time.monotonic() - asked_at < MOST_S
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


@SERVICES
def test_a_service_that_is_down_is_unavailable(make: Make) -> None:
    with LoopbackServer(gives(200, b"")) as server:
        url = server.url
    keys = make(url)

    assert failure_of(lambda: keys.unwrap(WRAPPED, CONTEXT)).code is ErrorCode.VAULT_UNAVAILABLE


@SERVICES
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_nothing_is_sent_to_where_a_service_points(make: Make, status: int) -> None:
    with (
        LoopbackServer(gives(200, b"{}")) as elsewhere,
        LoopbackServer(gives(status, b"", Location=f"{elsewhere.url}/v1/x")) as server,
    ):
        failure_of(lambda: make(server.url).wrap(a_key(), CONTEXT))

        assert server.asked
        assert elsewhere.asked == []


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for loopback that no authority has signed, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .add_extension(here, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = tmp_path / "loopback.pem"
    file.write_bytes(made.public_bytes(Encoding.PEM) + private)
    return file


@SERVICES
def test_a_certificate_that_nobody_vouches_for_gets_no_request(
    make: Make, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_SKIP_VERIFY", "true")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    with LoopbackServer(both(b64(32), b64(100)), tls=tls) as server:
        assert server.url.startswith("https://")
        failure_of(lambda: make(server.url).unwrap(WRAPPED, CONTEXT))
        assert server.asked == []

        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        trusting = transit_trusting(server.url, certificate) if make is transit else aws(server.url)
        assert trusting.unwrap(WRAPPED, CONTEXT) == bytes(32)


def transit_trusting(url: str, ca_file: Path) -> KeyService:
    return TransitKeyService(url, key="a-key", token=lambda: TOKEN, ca_file=str(ca_file))


@SERVICES
def test_a_call_that_gets_no_answer_is_made_twice(make: Make) -> None:
    with LoopbackServer(raises(Drop)) as server:
        failure_of(lambda: make(server.url).unwrap(WRAPPED, CONTEXT))

        assert len(server.asked) == 2


@SERVICES
def test_a_closed_service_is_unavailable(make: Make) -> None:
    keys = make("http://127.0.0.1:9")
    keys.close()

    failure_of(lambda: keys.unwrap(WRAPPED, CONTEXT))


@SERVICES
def test_no_log_shows_a_key_or_a_credential_at_any_level(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    key = a_key()
    told = both(b64encode(key).decode(), f"vault:v1:{b64(60)}")
    wrapped_by_kms = both(b64encode(key).decode(), b64(100))
    caplog.set_level(logging.DEBUG)
    with LoopbackServer(wrapped_by_kms if make is aws else told) as server:
        keys = make(server.url)
        keys.wrap(key, CONTEXT)
        assert keys.unwrap(WRAPPED, CONTEXT) == key

    logged = [f"{record.getMessage()} {record.args!r}" for record in caplog.records]
    assert logged
    assert not shown(key, logged)
    assert not any(shown(text.encode(), logged) for text in (TOKEN, SECRET_ACCESS_KEY))


def test_what_others_do_with_aws_is_logged_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    with LoopbackServer(both(b64(32), b64(100))) as server:
        keys = AwsKmsKeyService("a-key", endpoint_url=server.url)
        keys.wrap(a_key(), CONTEXT)
        caplog.set_level(logging.DEBUG)
        keys._client.get().decrypt(KeyId="a-key", CiphertextBlob=b"x")

    assert "botocore.parsers" in {record.name for record in caplog.records}


# -- a charge --------------------------------------------------------------------------------------


@pytest.fixture
def kms() -> Iterator[FakeKms]:
    with FakeKms() as kms:
        yield kms


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (raises(Drop), ErrorCode.VAULT_UNAVAILABLE),
        (raises(Hang), ErrorCode.VAULT_UNAVAILABLE),
        (gives(200, b"welcome"), ErrorCode.VAULT_UNAVAILABLE),
        (gives(400, b'{"__type": "ThrottlingException"}'), ErrorCode.VAULT_UNAVAILABLE),
        (gives(400, b'{"__type": "DisabledException"}'), ErrorCode.VAULT_KEY_REFUSED),
        (gives(400, b'{"__type": "NotFoundException"}'), ErrorCode.VAULT_KEY_MISSING),
    ],
    ids=["down", "slow", "nonsense", "throttled", "revoked", "gone"],
)
def test_a_charge_that_the_key_service_fails_is_neither_sent_nor_written(
    kms: FakeKms, answer: Callable[[Request], Answer], code: ErrorCode
) -> None:
    key_id, storage, bank = kms.new_key(), MemoryStorage(), WatchedBank(SimulatedBank())

    def opened() -> PayPlatform:
        """As a later process has it, with no key in memory."""
        keys = AwsKmsKeyService(key_id, endpoint_url=kms.url, timeout_s=TIMEOUT_S)
        return PayPlatform(storage=storage, bank=bank, keys=keys)

    before = opened()
    shop = before.merchant(before.merchants.create(name="Acme Books").id)
    card = shop.payment_methods.create(card=Card("4242 4242 4242 4242", "12/30"))

    shop = opened().merchant(shop.id)
    kms.answer = answer

    def charge() -> Payment:
        return shop.payments.charge(
            Money("20.00", "EUR"), payment_method=card.id, idempotency_key="order-1"
        )

    error = failure_of(charge)
    with pytest.raises(VaultUnavailable):
        shop.payment_methods.create(card=Card("5555 5555 5555 4444", "12/30"))

    assert error.code is code
    assert bank.sent == []
    assert list(shop.payments.list()) == []
    assert [method.id for method in shop.payment_methods.list()] == [card.id]

    kms.answer = kms.answer_as_kms
    assert charge().status == "captured"


# -- one for each process --------------------------------------------------------------------------

FORKING = """
import os
from payplatform.keys._apart import PerProcess

made = []
own = PerProcess(lambda: made.append(os.getpid()) or object())
first = own.get()
own._lock.acquire()  # as another thread may, at the moment of the fork
child = os.fork()
if child == 0:
    assert own.get() is not first
    assert own.get() is own.get()
    print(len(made), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
own._lock.release()
assert own.get() is first
print(len(made))
"""


def test_a_forked_child_asks_through_a_connection_of_its_own() -> None:
    told = subprocess.run(
        [sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=60, check=False
    )

    assert (told.stdout.split(), told.stderr) == (["2", "1"], "")


def test_what_a_parent_has_is_not_ended_by_its_child(monkeypatch: pytest.MonkeyPatch) -> None:
    own = _apart.PerProcess(object)
    own.get()
    monkeypatch.setattr(os, "getpid", lambda: -1)

    assert own.take() is None


@pytest.mark.parametrize(
    ("one", "other"), [({"a": "bc"}, {"ab": "c"}), ({"a": "b", "c": "d"}, {"a": "bcd"})]
)
def test_no_two_contexts_are_bound_alike(one: dict[str, str], other: dict[str, str]) -> None:
    assert _apart.associated(b"", one) != _apart.associated(b"", other)
