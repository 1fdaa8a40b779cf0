"""The audit trail: who did what, written with what it did, or alone where it did nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from between import watched
from counter import an_operation_in_review
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from till import NO_FUNDS, VISA, Till, eur

from payplatform import (
    AuditEntry,
    ErrorCode,
    Limit,
    LimitExceeded,
    NotAllowed,
    NotFound,
    PaymentMethod,
    PayPlatform,
    Settings,
    StorageUnavailable,
    VaultError,
)
from payplatform.client.platform import MerchantClient
from payplatform.keys.local import LocalKeyService
from payplatform.storage.memory_limiter import MemoryLimiter

LOST = "4000000000009987"
MAY_REVEAL = Settings(may_reveal=True)


@pytest.fixture(params=[None, "shop.db"], ids=["memory", "sqlite"])
def till(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Till]:
    till = Till(tmp_path / request.param if request.param else None, settings=MAY_REVEAL)
    till.shop = till.pay.merchant(till.merchant_id, actor="Ada", origin="till 3")
    yield till
    till.close()


def newest(till: Till) -> AuditEntry:
    return next(till.shop.audit.entries())


def told(entry: AuditEntry) -> tuple[Any, ...]:
    return entry.kind, entry.outcome, entry.actor, entry.origin, entry.object_id, entry.purpose


@pytest.mark.parametrize("verb", ["charge", "authorize", "verify", "retry"])
def test_each_time_a_card_is_opened_for_the_bank_it_is_on_the_trail(verb: str, till: Till) -> None:
    method = till.card()
    declined = till.sold(number=NO_FUNDS)
    given: dict[str, Any] = {"idempotency_key": "key"}
    match verb:
        case "verify":
            till.shop.payment_methods.verify(method.id, **given)
        case "retry":
            till.shop.payments.retry(declined.id, payment_method=method.id, **given)
        case _:
            getattr(till.shop.payments, verb)(eur("5"), payment_method=method.id, **given)

    operation = till.shop.operations.find(idempotency_key="key")
    assert operation is not None
    entry = newest(till)
    assert told(entry) == ("key_used", "done", "Ada", "till 3", method.id, verb)
    assert entry.details == (("operation", operation.id),)
    assert entry.at == till.clock()


def test_what_opens_no_card_is_not_on_the_trail(till: Till) -> None:
    held = till.held()
    before = list(till.shop.audit.entries())
    till.shop.payments.capture(held.id, eur("5"), idempotency_key="capture")
    till.shop.payments.void(held.id, idempotency_key="void")
    list(till.shop.payments.timeline(held.id))
    assert list(till.shop.audit.entries()) == before


def test_a_replay_opens_no_card(till: Till) -> None:
    method = till.card().id
    for _ in range(3):
        till.sold(payment_method=method, idempotency_key="key")
    assert [entry.kind for entry in till.shop.audit.entries()] == ["key_used"]


def test_what_is_deleted_or_erased_is_on_the_trail(till: Till) -> None:
    customer, method, unused = till.customer(), till.card(), till.card()
    till.shop.payment_methods.delete(method.id)
    assert told(newest(till)) == ("delete", "done", "Ada", "till 3", method.id, None)
    till.shop.customers.erase(customer)
    assert told(newest(till)) == ("erase", "done", "Ada", "till 3", customer, None)
    till.advance(days=2)
    assert till.shop.vault.retire(unused_for=timedelta(days=1)) == 1
    assert told(newest(till)) == ("delete", "done", "Ada", "till 3", unused.id, "retention")


def test_an_erased_merchant_keeps_its_trail(till: Till) -> None:
    till.pay.merchants.erase(till.merchant_id, actor="Grace", origin="the office")
    (entry,) = till.shop.audit.entries()
    assert told(entry) == ("erase", "done", "Grace", "the office", till.merchant_id, None)
    assert till.shop.audit.verify().ok
    assert till.shop.journal.verify().ok


def test_what_a_person_decides_is_on_the_trail_and_so_is_what_they_may_not(till: Till) -> None:
    operation_id = an_operation_in_review(till)
    said = {"outcome": "aborted", "actor": "Grace", "reason": "not on the statement"}
    till.shop.operations.resolve(operation_id, **said)
    expected = ("resolve", "done", "Grace", "till 3", operation_id, "not on the statement")
    assert told(newest(till)) == expected
    with pytest.raises(NotAllowed):
        till.shop.operations.resolve(operation_id, **said)
    assert told(newest(till)) == (*expected[:1], "refused", *expected[2:])
    assert ("code", "not_in_review") in newest(till).details


@pytest.mark.parametrize("kind", ["acceptance", "evidence"])
def test_who_answers_a_dispute_is_on_the_trail_and_so_is_who_may_not(till: Till, kind: str) -> None:
    """Once, in the commit that the bank is told after, however often the same is said."""
    sale = till.sold()
    till.bank.disputes.open(till.merchant_id, till.latest(sale).id)
    for notice in till.bank.notices():
        till.pay.notices.apply(notice)
    [dispute] = till.shop.disputes.list()

    def answer(kind: str) -> None:
        if kind == "acceptance":
            till.shop.disputes.accept(dispute.id)
        else:
            till.shop.disputes.submit_evidence(dispute.id, {"tracking_number": "1Z 999"})

    for _ in range(2):
        answer(kind)
    entries = [entry for entry in till.shop.audit.entries() if entry.object_id == dispute.id]
    assert list(map(told, entries)) == [
        ("dispute_answered", "done", "Ada", "till 3", dispute.id, None)
    ]
    assert entries[0].details == (("with", kind),)
    assert "1Z 999" not in repr(entries)

    with pytest.raises(NotAllowed):
        answer("evidence" if kind == "acceptance" else "acceptance")
    refused = newest(till)
    assert told(refused) == ("dispute_answered", "refused", "Ada", "till 3", dispute.id, None)
    assert ("code", "dispute_not_open") in refused.details
    assert till.shop.audit.verify().ok


def test_who_uses_a_client_without_a_name_is_unnamed(till: Till) -> None:
    till.pay.merchant(till.merchant_id).payment_methods.delete(till.card().id)
    assert (newest(till).actor, newest(till).origin) == ("unnamed", None)


# -- revealing -------------------------------------------------------------------------------------


def reveal(till: Till, method: PaymentMethod) -> Any:
    return till.shop.payment_methods.reveal(method.id, actor="Grace", purpose="a chargeback")


def test_a_card_is_revealed_once_it_is_on_the_trail(till: Till) -> None:
    method = till.card()
    card = reveal(till, method)
    assert card.number.reveal() == VISA
    assert card.security_code is None
    assert VISA not in repr(card)
    assert told(newest(till)) == ("reveal", "done", "Grace", "till 3", method.id, "a chargeback")


def test_nobody_sees_a_card_unless_the_settings_let_it_be() -> None:
    till = Till()
    method = till.card()
    with pytest.raises(NotAllowed) as caught:
        reveal(till, method)
    assert caught.value.code is ErrorCode.REVEAL_NOT_ALLOWED
    entry = newest(till)
    assert told(entry)[:3] == ("reveal", "refused", "Grace")
    assert entry.details == (("code", "reveal_not_allowed"),)
    till.close()


def test_what_cannot_be_put_on_the_trail_is_not_revealed(till: Till) -> None:
    method = till.card()

    def fail(*_: object) -> None:
        raise StorageUnavailable("no")

    shop = watched(till, "commit", fail, settings=MAY_REVEAL).merchant(till.merchant_id)
    with pytest.raises(StorageUnavailable):
        shop.payment_methods.reveal(method.id, actor="Grace", purpose="a chargeback")


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        ("reveal", lambda shop, its: reveal_by_id(shop, its["method"])),
        ("delete", lambda shop, its: shop.payment_methods.delete(its["method"])),
        ("erase", lambda shop, its: shop.customers.erase(its["customer"])),
        ("limit_overridden", lambda shop, its: allow_again(shop, its["method"])),
        ("access_refused", lambda shop, its: charge(shop, its["method"])),
        ("access_refused", lambda shop, its: capture(shop, its["payment"])),
    ],
    ids=["reveal", "delete", "erase", "allow_again", "charge", "capture"],
)
def test_who_asks_for_what_is_another_merchants_is_on_the_trail(
    kind: str, call: Callable[[MerchantClient, dict[str, str]], Any], till: Till
) -> None:
    """As with what never was: the two cannot be told apart, by the trail neither."""
    theirs = {
        "method": till.card().id,
        "customer": till.customer(),
        "payment": till.held().id,
    }
    nowhere = {name: f"{one[:-10]}{'0' * 10}" for name, one in theirs.items()}
    other_id = till.pay.merchants.create(name="Eve's").id
    other = till.pay.merchant(other_id, actor="Eve", origin="afar")
    before = list(till.shop.audit.entries())
    for its in (theirs, nowhere):
        with pytest.raises(NotFound):
            call(other, its)
        entry = next(other.audit.entries())
        assert (entry.kind, entry.outcome, entry.actor) == (kind, "refused", "Eve")
        assert entry.object_id in its.values()
        assert ("code", "not_found") in entry.details
    assert list(till.shop.audit.entries()) == before


def reveal_by_id(shop: MerchantClient, method_id: str) -> Any:
    return shop.payment_methods.reveal(method_id, actor="Eve", purpose="curious")


def allow_again(shop: MerchantClient, method_id: str) -> Any:
    return shop.payment_methods.allow_again(method_id, actor="Eve", reason="please")


def charge(shop: MerchantClient, method_id: str) -> Any:
    return shop.payments.charge(eur("5"), payment_method=method_id, idempotency_key="key")


def capture(shop: MerchantClient, payment_id: str) -> Any:
    return shop.payments.capture(payment_id, eur("5"), idempotency_key="key")


@pytest.mark.parametrize("kind", ["reveal", "key_used"])
def test_a_card_that_cannot_be_opened_is_on_the_trail(kind: str, till: Till) -> None:
    """The error is the vault's, and the payment is as if it had never been asked for."""
    method = till.card()
    till.shop = PayPlatform(
        storage=till.storage,
        bank=till.bank,
        keys=LocalKeyService.ephemeral(),
        now=till.clock,
        settings=MAY_REVEAL,
    ).merchant(till.merchant_id)

    use: dict[str, Callable[[], Any]] = {
        "reveal": lambda: reveal(till, method),
        "key_used": lambda: till.sold(payment_method=method.id),
    }
    with pytest.raises(VaultError) as caught:
        use[kind]()
    entry = newest(till)
    assert (entry.kind, entry.outcome, entry.object_id) == (kind, "failed", method.id)
    assert ("code", str(caught.value.code)) in entry.details
    assert list(till.shop.payments.list()) == []


# -- limits ----------------------------------------------------------------------------------------


def test_who_tries_too_often_is_on_the_trail_and_so_is_who_lets_them() -> None:
    limits = (Limit(per="customer", counted="cards", most=1, period_s=60),)
    till = Till(settings=Settings(limits=limits), limiter=MemoryLimiter())
    customer = till.customer()
    method = till.card(LOST, customer=customer)
    with pytest.raises(LimitExceeded):
        till.card(VISA, customer=customer)
    entry = newest(till)
    assert (entry.kind, entry.outcome, entry.object_id) == ("limit_reached", "refused", customer)
    assert ("code", "too_many_cards") in entry.details

    till.sold(payment_method=method.id)
    with pytest.raises(LimitExceeded) as caught:
        till.sold(payment_method=method.id)
    entry = newest(till)
    assert told(entry)[:2] == ("limit_reached", "refused")
    assert (entry.object_id, entry.purpose) == (method.id, "charge")
    assert ("code", str(caught.value.code)) in entry.details

    till.shop.payment_methods.allow_again(method.id, actor="Grace", reason="they called")
    expected = ("limit_overridden", "done", "Grace", None, method.id, "they called")
    assert told(newest(till)) == expected
    till.close()


# -- keys, and what leaves the vault ---------------------------------------------------------------


def test_each_step_of_a_rotation_is_on_the_trail(till: Till) -> None:
    till.card()
    shop = till.shop
    for rotate in (shop.vault.rotate_data_key, shop.vault.rotate_fingerprint_key):
        rotate()
    shop.vault.run()
    till.advance(seconds=1)
    shop.vault.rotate_master_key(older_than=timedelta(0))
    said = [
        tuple(value for name, value in entry.details if name != "cards")
        for entry in shop.audit.entries()
        if told(entry)[:4] == ("rotate", "done", "Ada", "till 3")
    ]
    steps = [(step, purpose) for step in ("made", "left", "destroyed") for purpose in PURPOSES]
    assert sorted(set(said)) == sorted([*steps, *(("wrapped", purpose) for purpose in PURPOSES)])
    left = [entry.details for entry in shop.audit.entries() if ("step", "left") in entry.details]
    assert [dict(details)["cards"] for details in left] == ["1", "1"]


PURPOSES = ("dek", "fpk")


def test_whoever_rotates_for_all_merchants_can_be_named(till: Till) -> None:
    till.pay.vault.on_behalf_of("the night job", origin="db2").rotate_data_key()
    assert told(newest(till))[:4] == ("rotate", "done", "the night job", "db2")
    till.shop.vault.on_behalf_of("Grace").rotate_data_key()
    assert told(newest(till))[:4] == ("rotate", "done", "Grace", None)


def test_what_leaves_the_vault_and_comes_into_it_is_on_the_trail(till: Till) -> None:
    till.card()
    key = X25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    data = till.shop.vault.export(public_key=public, actor="Grace", purpose="to another platform")
    of_all = (till.merchant_id, "to another platform")
    assert told(newest(till)) == ("export", "done", "Grace", "till 3", *of_all)
    till.shop.vault.import_(data, private_key=private)
    assert told(newest(till)) == ("import", "done", "Ada", "till 3", *of_all)
    assert newest(till).details == (("exported_by", "Grace"),)


def test_an_export_that_cannot_be_put_on_the_trail_does_not_leave(till: Till) -> None:
    till.card()

    def fail(*_: object) -> None:
        raise StorageUnavailable("no")

    shop = watched(till, "commit", fail).merchant(till.merchant_id)
    public = X25519PrivateKey.generate().public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(StorageUnavailable):
        shop.vault.export(public_key=pem, actor="Grace", purpose="to another platform")


# -- chains ----------------------------------------------------------------------------------------


def test_a_head_that_was_kept_is_found_again_as_text(till: Till) -> None:
    heads = {room: str(room.head()) for room in (till.shop.journal, till.shop.audit)}
    till.sold()
    for room, head in heads.items():
        report = room.verify(expected_head=head)
        assert report.ok
        assert report.head == room.head()
        assert str(report.head) != head
    wrong = till.shop.journal.verify(expected_head=f"1:{'0' * 64}")
    assert (wrong.ok, wrong.link) == (False, 1)


def test_entries_are_listed_newest_first_page_after_page(till: Till) -> None:
    method = till.card().id
    for _ in range(205):
        reveal(till, till.shop.payment_methods.get(method))
    ids = [entry.id for entry in till.shop.audit.entries()]
    assert len(ids) == 205
    assert ids == sorted(ids, reverse=True)


def test_no_entry_shows_a_card(till: Till) -> None:
    till.sold()
    reveal(till, till.card())
    said = repr(list(till.shop.audit.entries())) + "".join(map(str, till.shop.audit.entries()))
    assert VISA not in said
    assert "reveal done by Grace from till 3" in said
