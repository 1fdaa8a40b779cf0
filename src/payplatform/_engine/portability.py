"""A vault's cards on their way to another installation, for one receiver's eyes.

Law of this file: cards leave encrypted to the receiver's public key, or not at all, by HPKE (RFC
9180, base mode, HKDF-SHA256, AES-256-GCM; DHKEM of X25519 or P-256 by the key) with the information
`payplatform/vault-export/v1`. An export is its encapsulated key and then its ciphertext, as the RFC
puts them together. No security code is among it, since none is kept.

What is inside is JSON: customers and cards under their own ids, which the receiver keeps, so that
an import may be made again, and what the merchant has on file goes on to name the right card. It is
all in memory at once, in clear, for as long as a call takes (about a kilobyte a card).

Whoever has the public key can make an export: that it is authentic has to be known otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

from attrs import field, frozen
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)

from payplatform._domain.audit import AuditKind, Caller
from payplatform._domain.cards import Card
from payplatform._domain.records import Customer, PaymentMethod
from payplatform._domain.text import (
    Metadata,
    clean_email,
    clean_id,
    clean_metadata,
    clean_postal_code,
    clean_text,
)
from payplatform._engine.auditing import Auditing
from payplatform._engine.pages import all_records
from payplatform._engine.registry import Registry
from payplatform._engine.vault import Vault
from payplatform._engine.vault_reports import Difference, ImportReport
from payplatform.errors import ErrorCode, InvalidRequest, NotFound, VaultError
from payplatform.ports import Storage

PublicKey = X25519PublicKey | EllipticCurvePublicKey
PrivateKey = X25519PrivateKey | EllipticCurvePrivateKey
T = TypeVar("T")

_INFORMATION: Final = b"payplatform/vault-export/v1"
_FORMAT: Final = 1


@frozen(kw_only=True)
class Carried:
    """A card as it comes in, under the id it had."""

    id: str
    customer_id: str | None
    card: Card = field(repr=False)
    postal_code: str | None
    network_transaction_id: str | None = field(repr=False)


@frozen(kw_only=True)
class _Content:
    exported_at: str
    actor: str
    purpose: str
    customers: tuple[Mapping[str, Any], ...] = field(repr=False)
    cards: tuple[Carried, ...] = field(repr=False)


class Portability:
    """Lets a merchant's cards out, and takes cards in."""

    def __init__(
        self,
        *,
        storage: Storage,
        vault: Vault,
        registry: Registry,
        auditing: Auditing,
        now: Callable[[], datetime],
    ) -> None:
        self._storage = storage
        self._vault = vault
        self._registry = registry
        self._auditing = auditing
        self._now = now

    def export(
        self, merchant_id: str, *, public_key: PublicKey, caller: Caller, purpose: str
    ) -> bytes:
        """All customers and cards of a merchant, encrypted, once it is on the audit trail."""
        said = self._auditing.entry(
            merchant_id, AuditKind.EXPORT, caller, object_id=merchant_id, purpose=purpose
        )
        try:
            export = self._encrypted(merchant_id, public_key, caller.actor, purpose)
        except VaultError as error:
            self._auditing.note_failure(said, error.code)
            raise
        self._auditing.write(said)
        return export

    def _encrypted(
        self, merchant_id: str, public_key: PublicKey, actor: str, purpose: str
    ) -> bytes:
        head = {
            "format": _FORMAT,
            "exported_at": self._now().isoformat(),
            "actor": actor,
            "purpose": purpose,
        }
        # The content is named nowhere, so that no traceback of what may fail can show it.
        return _suite(public_key).encrypt(
            json.dumps(
                {
                    **head,
                    "customers": list(map(_customer_form, self._registry.customers(merchant_id))),
                    "cards": list(self._card_forms(merchant_id)),
                }
            ).encode(),
            public_key,
            info=_INFORMATION,
        )

    def _card_forms(self, merchant_id: str) -> Iterator[dict[str, Any]]:
        for method in all_records(self._storage, merchant_id, PaymentMethod):
            card = None
            if method.deleted_at is None:
                card = self._vault.open_stored(merchant_id, method.token, brand=method.brand)
            if card is not None:  # else somebody else deletes it just now
                yield {
                    "id": method.id,
                    "customer_id": method.customer_id,
                    "number": card.number.reveal(),
                    "expiry": [card.expiry_month, card.expiry_year],
                    "holder": card.holder,
                    "postal_code": card.postal_code,
                    "network_transaction_id": method.network_transaction_id,
                }

    def take_in(
        self, merchant_id: str, data: bytes, *, private_key: PrivateKey, caller: Caller
    ) -> ImportReport:
        """Add what an export holds and is not here yet. All of it is read before any is written.

        That it came is on the audit trail before what came, which takes more commits than one.
        """
        content = _content_of(data, private_key)
        self._auditing.write(
            self._auditing.entry(
                merchant_id,
                AuditKind.IMPORT,
                caller,
                object_id=merchant_id,
                purpose=content.purpose,
                details=(("exported_by", content.actor),),
            )
        )
        customers = [self._customer(merchant_id, form) for form in content.customers]
        cards = [self._card(merchant_id, card) for card in content.cards]
        found = [
            Difference(id=sent, existing_id=here, changed=changed)
            for sent, here, changed in (*customers, *cards)
            if changed is not None
        ]
        return ImportReport(
            exported_at=content.exported_at,
            exported_by=content.actor,
            purpose=content.purpose,
            customers=sum(changed is None for *_, changed in customers),
            payment_methods=sum(changed is None for *_, changed in cards),
            duplicates=tuple(found),
        )

    def _customer(
        self, merchant_id: str, given: Mapping[str, Any]
    ) -> tuple[str, str, tuple[str, ...] | None]:
        here = self._storage.get(merchant_id, Customer, given["id"])
        if here is None:
            self._registry.create_customer(merchant_id, **_renamed(given))
            return given["id"], given["id"], None
        if here.erased_at is not None:
            return here.id, here.id, ("deleted",)
        fields = ("name", "email", "metadata")
        return here.id, here.id, tuple(f for f in fields if getattr(here, f) != given[f])

    def _card(self, merchant_id: str, carried: Carried) -> tuple[str, str, tuple[str, ...] | None]:
        try:
            return self._registry.adopt_method(merchant_id, **_given(carried))
        except NotFound as error:
            if error.field != "customer":
                raise
            # The customer has been erased here: nothing of theirs comes back.
            return carried.id, carried.id, ("deleted",)


def public_key_in(pem: bytes) -> PublicKey | None:
    """The X25519 or P-256 public key in a PEM file, or None."""
    key = _or_none(lambda: load_pem_public_key(pem))
    is_p256 = isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    return key if is_p256 or isinstance(key, X25519PublicKey) else None  # type: ignore[return-value]  # mypy loses the first half


def private_key_in(pem: bytes, password: bytes | None) -> PrivateKey | None:
    """The X25519 or P-256 private key in a PEM file, or None."""
    key = _or_none(lambda: load_pem_private_key(pem, password))
    is_p256 = isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1)
    return key if is_p256 or isinstance(key, X25519PrivateKey) else None  # type: ignore[return-value]  # mypy loses the first half


def _or_none(load: Callable[[], T]) -> T | None:
    try:
        return load()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _suite(key: PublicKey | PrivateKey) -> Suite:
    kem = KEM.X25519 if isinstance(key, X25519PublicKey | X25519PrivateKey) else KEM.P256
    return Suite(kem, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def _customer_form(customer: Customer) -> dict[str, Any]:
    return {
        "id": customer.id,
        "name": customer.name,
        "email": customer.email,
        "metadata": dict(customer.metadata),
    }


def _content_of(data: bytes, private_key: PrivateKey) -> _Content:
    """What an export holds, each value in its normal form.

    Raises:
        InvalidRequest: it is none for this key, was altered, or a value breaks its rule; the
            error's chain holds nothing of it.
    """
    try:
        return _read(json.loads(_suite(private_key).decrypt(data, private_key, info=_INFORMATION)))
    except InvalidTag:
        rule = "is no export to this private key, or was altered"
    except InvalidRequest as error:
        rule = f"holds something that breaks a rule: {error.message}"
    except Exception:  # noqa: BLE001  # whatever it is, it may hold what the export holds
        rule = "is no export of a vault that this release knows"
    raise InvalidRequest(f"data {rule}", code=ErrorCode.VALUE_INVALID, field="data")


def _read(content: Any) -> _Content:
    if content["format"] != _FORMAT:
        raise ValueError
    return _Content(
        exported_at=datetime.fromisoformat(content["exported_at"]).isoformat(),
        actor=clean_text(content["actor"], field="actor", max_length=200),
        purpose=clean_text(content["purpose"], field="purpose", max_length=500),
        customers=tuple(map(_customer_in, content["customers"])),
        cards=tuple(map(_card_in, content["cards"])),
    )


def _customer_in(form: Any) -> dict[str, Any]:
    metadata: Metadata = clean_metadata(form["metadata"])
    return {
        "id": clean_id(form["id"], prefix="cus", field="customer"),
        "name": _maybe(form["name"], lambda v: clean_text(v, field="name", max_length=200)),
        "email": _maybe(form["email"], clean_email),
        "metadata": metadata,
    }


def _card_in(form: Any) -> Carried:
    expiry_month, expiry_year = form["expiry"]
    network_id = form["network_transaction_id"]
    return Carried(
        id=clean_id(form["id"], prefix="pm", field="payment_method"),
        customer_id=_maybe(
            form["customer_id"], lambda v: clean_id(v, prefix="cus", field="customer")
        ),
        card=Card(form["number"], (expiry_month, expiry_year), form["holder"]),
        postal_code=_maybe(form["postal_code"], clean_postal_code),
        network_transaction_id=_maybe(
            network_id, lambda v: clean_text(v, field="network_transaction_id", max_length=100)
        ),
    )


def _maybe(value: Any, clean: Callable[[Any], T]) -> T | None:
    return None if value is None else clean(value)


def _renamed(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"customer_id": given["id"], **{k: v for k, v in given.items() if k != "id"}}


def _given(carried: Carried) -> dict[str, Any]:
    return {
        "method_id": carried.id,
        "customer_id": carried.customer_id,
        "card": carried.card,
        "postal_code": carried.postal_code,
        "network_transaction_id": carried.network_transaction_id,
    }
