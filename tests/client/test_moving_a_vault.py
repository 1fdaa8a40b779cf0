"""Cards that move to another installation: all of them, once, and for the receiver alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as a_curve_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from till import AMEX, MASTERCARD, VISA, Till, eur

from payplatform import Card, InvalidRequest, NotFound
from payplatform.errors import ErrorCode

INFORMATION = b"payplatform/vault-export/v1"


def pem_of(key: Any, password: bytes | None = None) -> tuple[bytes, bytes]:
    """The public half of a key, and the private one."""
    locked = NoEncryption() if password is None else BestAvailableEncryption(password)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)


RECEIVER = X25519PrivateKey.generate()
PUBLIC, PRIVATE = pem_of(RECEIVER)


@pytest.fixture
def here() -> Iterator[Till]:
    till = Till()
    yield till
    till.close()


@pytest.fixture
def there() -> Iterator[Till]:
    till = Till()
    yield till
    till.close()


def stocked(till: Till) -> dict[str, Any]:
    """A customer with two cards, and a guest's card."""
    ada = till.shop.customers.create(name="Ada", email="ada@example.com", metadata={"vip": "yes"})
    create = till.shop.payment_methods.create
    first = create(card=Card(VISA, "12/40", "Ada L"), customer=ada.id, postal_code="10115")
    second = create(card=Card(AMEX, "11/41"), customer=ada.id)
    guest = create(card=Card(MASTERCARD, "10/42"))
    return {"ada": ada.id, "first": first.id, "second": second.id, "guest": guest.id}


def exported(till: Till, public: bytes = PUBLIC) -> bytes:
    return till.shop.vault.export(public_key=public, actor="bea@acme.example", purpose="moving out")


def sent_to_bank(till: Till, method_id: str) -> tuple[Any, ...]:
    till.shop.payments.charge(eur("1"), payment_method=method_id, idempotency_key=till.key())
    card = till.watched.sent[-1].card
    assert card is not None
    return card.number.reveal(), card.expiry_month, card.expiry_year, card.holder, card.postal_code


def changed_in(export: bytes, **changes: Any) -> bytes:
    """The same export with something else in it, encrypted anew."""
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    content = json.loads(suite.decrypt(export, RECEIVER, info=INFORMATION))
    content |= {key: change(content.get(key)) for key, change in changes.items()}
    return suite.encrypt(json.dumps(content).encode(), RECEIVER.public_key(), info=INFORMATION)


@pytest.mark.parametrize(
    ("key", "password"),
    [
        pytest.param(RECEIVER, None, id="X25519"),
        pytest.param(a_curve_key(SECP256R1()), None, id="P-256"),
        pytest.param(X25519PrivateKey.generate(), b"hunter2", id="a locked key"),
    ],
)
def test_every_card_arrives_under_its_id_and_pays_as_before(
    key: Any, password: bytes | None, here: Till, there: Till
) -> None:
    public, private = pem_of(key, password)
    ids = stocked(here)
    report = there.shop.vault.import_(
        exported(here, public), private_key=private, password=password
    )

    assert (report.customers, report.payment_methods, report.duplicates) == (1, 3, ())
    assert (report.exported_by, report.purpose) == ("bea@acme.example", "moving out")
    for name in ("first", "second", "guest"):
        assert sent_to_bank(there, ids[name]) == sent_to_bank(here, ids[name])
    ada = there.shop.customers.get(ids["ada"])
    assert (ada.name, ada.email, ada.metadata) == ("Ada", "ada@example.com", (("vip", "yes"),))
    assert ada.default_payment_method_id is not None
    assert there.pay.doctor().ok


def test_only_the_receiver_can_read_it(here: Till, there: Till) -> None:
    stocked(here)
    export = exported(here)

    assert VISA.encode() not in export
    with pytest.raises(InvalidRequest) as caught:
        there.shop.vault.import_(export, private_key=pem_of(X25519PrivateKey.generate())[1])
    assert (caught.value.code, caught.value.field) == (ErrorCode.VALUE_INVALID, "data")
    assert list(there.shop.payment_methods.list()) == []


def test_an_export_is_hpke_as_anybody_has_it(here: Till) -> None:
    """Read with the library's own primitives and nothing of ours: RFC 9180, and JSON in it."""
    ids = stocked(here)
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    content = json.loads(suite.decrypt(exported(here), RECEIVER, info=INFORMATION))

    assert {card["id"]: card["number"] for card in content["cards"]} == {
        ids["first"]: VISA,
        ids["second"]: AMEX,
        ids["guest"]: MASTERCARD,
    }
    with pytest.raises(InvalidTag):
        suite.decrypt(exported(here), RECEIVER, info=b"something else")


@pytest.mark.parametrize(
    "spoil", [lambda e: e[:-1], lambda e: e[:40] + bytes((e[40] ^ 1,)) + e[41:], lambda _: b""]
)
def test_an_export_that_was_altered_is_refused_whole(spoil: Any, here: Till, there: Till) -> None:
    stocked(here)
    with pytest.raises(InvalidRequest) as caught:
        there.shop.vault.import_(spoil(exported(here)), private_key=PRIVATE)
    assert caught.value.field == "data"
    assert list(there.shop.payment_methods.list()) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"format": lambda _: 2},
        {"exported_at": lambda _: "yesterday"},
        {"actor": lambda _: ""},
        {"cards": lambda _: None},
        {"cards": lambda cards: [*cards, {**cards[0], "number": "4242424242424241"}]},
        {"cards": lambda cards: [*cards, {**cards[0], "id": "pm_1"}]},
        {"cards": lambda cards: [*cards, {"id": cards[0]["id"]}]},
        {"customers": lambda them: [*them, {**them[0], "name": VISA}]},
    ],
)
def test_content_that_breaks_a_rule_is_refused_whole_and_shown_nowhere(
    changes: dict[str, Any], here: Till, there: Till
) -> None:
    stocked(here)
    with pytest.raises(InvalidRequest) as caught:
        there.shop.vault.import_(changed_in(exported(here), **changes), private_key=PRIVATE)

    assert caught.value.field == "data"
    assert "42424242" not in f"{caught.value!r}{caught.value.__cause__}{caught.value.__context__}"
    assert list(there.shop.payment_methods.list()) == []
    assert list(there.shop.customers.list()) == []


def test_an_import_made_again_adds_nothing_and_reports_no_difference(
    here: Till, there: Till
) -> None:
    ids, export = stocked(here), exported(here)
    there.shop.vault.import_(export, private_key=PRIVATE)
    before = list(there.shop.payment_methods.list())
    report = there.shop.vault.import_(export, private_key=PRIVATE)

    assert (report.customers, report.payment_methods) == (0, 0)
    assert {found.id for found in report.duplicates} == set(ids.values())
    assert {found.changed for found in report.duplicates} == {()}
    assert list(there.shop.payment_methods.list()) == before


def test_what_is_here_stays_as_it_is_and_what_differs_is_told(here: Till, there: Till) -> None:
    ids = stocked(here)
    there.shop.vault.import_(exported(here), private_key=PRIVATE)
    there.shop.customers.update(ids["ada"], name="Ada Lovelace")
    newer = there.shop.payment_methods.create(
        card=Card(VISA, "01/45", "Ada Lovelace"), customer=ids["ada"], postal_code="20095"
    )
    there.shop.payment_methods.delete(ids["guest"])
    report = there.shop.vault.import_(exported(here), private_key=PRIVATE)

    assert {found.id: found.changed for found in report.duplicates} == {
        ids["ada"]: ("name",),
        ids["first"]: ("expiry", "holder", "postal_code"),
        ids["second"]: (),
        ids["guest"]: ("deleted",),
    }
    assert there.shop.payment_methods.get(ids["first"]) == newer
    assert there.shop.customers.get(ids["ada"]).name == "Ada Lovelace"
    with pytest.raises(NotFound):
        there.shop.payment_methods.get(ids["guest"])


def test_a_customers_card_that_is_here_under_another_id_is_a_duplicate(
    here: Till, there: Till
) -> None:
    ids = stocked(here)
    without = changed_in(exported(here), cards=lambda _: [])
    there.shop.vault.import_(without, private_key=PRIVATE)
    known = there.shop.payment_methods.create(card=Card(VISA, "12/40"), customer=ids["ada"])
    report = there.shop.vault.import_(exported(here), private_key=PRIVATE)

    found = {found.id: found for found in report.duplicates}
    assert found[ids["first"]].existing_id == known.id
    assert found[ids["first"]].changed == ("holder", "postal_code")
    assert report.payment_methods == 2


def test_nothing_of_an_erased_customer_comes_back(here: Till, there: Till) -> None:
    ids = stocked(here)
    there.shop.vault.import_(exported(here), private_key=PRIVATE)
    there.shop.customers.erase(ids["ada"])
    added_since = here.shop.payment_methods.create(
        card=Card("4000056655665556", "12/40"), customer=ids["ada"]
    )
    report = there.shop.vault.import_(exported(here), private_key=PRIVATE)

    changed = {found.id: found.changed for found in report.duplicates}
    assert changed[ids["ada"]] == changed[ids["first"]] == ("deleted",)
    assert changed[added_since.id] == ("deleted",)
    assert [method.id for method in there.shop.payment_methods.list()] == [ids["guest"]]


def test_a_deleted_card_is_not_exported(here: Till, there: Till) -> None:
    ids = stocked(here)
    here.shop.payment_methods.delete(ids["first"])
    report = there.shop.vault.import_(exported(here), private_key=PRIVATE)
    assert report.payment_methods == 2


OTHER_CURVE = pem_of(a_curve_key(SECP384R1()))


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("export", {"public_key": "text"}, ErrorCode.TYPE_INVALID),
        ("export", {"public_key": b"no key"}, ErrorCode.VALUE_INVALID),
        ("export", {"public_key": PRIVATE}, ErrorCode.VALUE_INVALID),
        ("export", {"public_key": OTHER_CURVE[0]}, ErrorCode.VALUE_INVALID),
        ("export", {"actor": ""}, ErrorCode.TEXT_EMPTY),
        ("export", {"purpose": " "}, ErrorCode.TEXT_EMPTY),
        ("import_", {"data": "text"}, ErrorCode.TYPE_INVALID),
        ("import_", {"private_key": "text"}, ErrorCode.TYPE_INVALID),
        ("import_", {"private_key": PUBLIC}, ErrorCode.VALUE_INVALID),
        ("import_", {"private_key": OTHER_CURVE[1]}, ErrorCode.VALUE_INVALID),
        ("import_", {"password": "text"}, ErrorCode.TYPE_INVALID),
        ("import_", {"password": b"not locked"}, ErrorCode.VALUE_INVALID),
    ],
)
def test_an_argument_that_breaks_its_rule_is_named_when_moving(
    name: str, arguments: dict[str, Any], code: ErrorCode, here: Till
) -> None:
    sound: dict[str, dict[str, Any]] = {
        "export": {"public_key": PUBLIC, "actor": "Bea", "purpose": "moving"},
        "import_": {"data": exported(here), "private_key": PRIVATE},
    }
    with pytest.raises(InvalidRequest) as caught:
        getattr(here.shop.vault, name)(**(sound[name] | arguments))
    assert caught.value.code is code
    assert caught.value.field == (
        "private_key" if arguments == {"password": b"not locked"} else next(iter(arguments))
    )
