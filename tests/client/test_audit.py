"""The audit trail: who did what, written with what it did, or alone where it did nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from between import watched
from counter import an_operation_in_review
from till import NO_FUNDS, VISA, Till, eur

from payplatform import (
    AuditEntry,
    ErrorCode,
    NotAllowed,
    NotFound,
    PaymentMethod,
    PayPlatform,
    Settings,
    StorageUnavailable,
    VaultError,
)
from payplatform.keys.local import LocalKeyService

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


def test_what_is_not_there_is_neither_revealed_nor_noted(till: Till) -> None:
    method = till.card()
    till.shop.payment_methods.delete(method.id)
    before = list(till.shop.audit.entries())
    with pytest.raises(NotFound):
        reveal(till, method)
    assert list(till.shop.audit.entries()) == before


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
