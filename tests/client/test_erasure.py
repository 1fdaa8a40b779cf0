"""What is deleted, erased or retired is gone: from records, receipts, the file and its log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from till import AMEX, MASTERCARD, VISA, Till, eur

from payplatform._domain.records import PaymentMethod, SealedCard, WrappedKey

YEAR = timedelta(days=365)


@pytest.fixture
def till(tmp_path: Path) -> Iterator[Till]:
    till = Till(tmp_path / "shop.db")
    yield till
    till.close()


def bytes_on_disk(till: Till) -> bytes:
    assert till.file is not None
    return b"".join(file.read_bytes() for file in till.file.parent.glob("shop.db*"))


def stored(till: Till, method_id: str) -> PaymentMethod:
    found = till.storage.get(till.merchant_id, PaymentMethod, method_id)
    assert found is not None
    return found


def test_nothing_of_a_deleted_card_is_on_disk_but_that_it_was_there(till: Till) -> None:
    method = till.card()
    till.shop.payment_methods.verify(method.id, idempotency_key="check")
    sealed = till.storage.get(till.merchant_id, SealedCard, method.token)
    assert sealed is not None
    assert method.fingerprint is not None
    traces = (sealed.number, sealed.details, method.fingerprint)
    assert all(trace in bytes_on_disk(till) for trace in traces)
    till.shop.payment_methods.delete(method.id)

    assert not any(trace in bytes_on_disk(till) for trace in traces)
    tombstone = stored(till, method.id)
    assert tombstone.deleted_at == till.now
    assert (tombstone.fingerprint, tombstone.fingerprint_version) == (None, None)


def test_the_receipt_of_a_verification_forgets_the_card_and_nothing_else(till: Till) -> None:
    method = till.card()
    told = till.shop.payment_methods.verify(method.id, idempotency_key="check")
    operation = till.shop.operations.find(idempotency_key="check")
    assert operation is not None
    till.shop.payment_methods.delete(method.id)

    kept = till.storage.receipt(till.merchant_id, operation.id)
    assert isinstance(kept, PaymentMethod)
    assert (kept.token, kept.fingerprint, kept.fingerprint_version) == ("", None, None)
    assert (kept.id, kept.verification, kept.last4) == (told.id, told.verification, told.last4)
    assert till.pay.doctor().ok


def test_an_erased_customer_leaves_the_books_and_no_personal_data(till: Till) -> None:
    ada = till.shop.customers.create(name="Ada Lovelace", email="ada@example.com")
    method = till.card(customer=ada.id)
    till.shop.payment_methods.verify(method.id, idempotency_key="check")
    sold = till.sold(payment_method=method.id)
    till.shop.customers.erase(ada.id)

    on_disk = bytes_on_disk(till)
    assert b"Lovelace" not in on_disk
    assert b"ada@example.com" not in on_disk
    assert till.shop.payments.get(sold.id).captured == eur("100")
    assert till.shop.payments.refund(sold.id, idempotency_key="back").status == "refunded"
    assert till.pay.doctor().ok


def test_an_erased_merchants_keys_are_gone_from_the_disk(till: Till) -> None:
    """What is left in a copy of the file from before opens under no key of this one."""
    till.card()
    till.shop.vault.rotate_data_key()
    keys = till.storage.page(till.merchant_id, WrappedKey, limit=9)
    assert len(keys) == 3
    till.pay.merchants.erase(till.merchant_id)

    assert not any(key.wrapped in bytes_on_disk(till) for key in keys)
    assert till.storage.count_of(till.merchant_id, SealedCard) == 0


def test_a_destroyed_key_and_what_was_under_it_are_gone_from_the_disk(till: Till) -> None:
    till.card()
    (old,) = till.storage.page(till.merchant_id, SealedCard, limit=9)
    keys = {key.id: key for key in till.storage.page(till.merchant_id, WrappedKey, limit=9)}
    till.shop.vault.rotate_data_key()
    till.shop.vault.run()

    on_disk = bytes_on_disk(till)
    assert keys["dek-1"].wrapped not in on_disk
    assert old.number not in on_disk
    assert keys["fpk-1"].wrapped in on_disk


def test_cards_that_nobody_has_used_for_so_long_are_deleted(till: Till) -> None:
    forgotten, paying = till.card(VISA), till.card(MASTERCARD)
    checked = till.card(AMEX)
    till.advance(days=300)
    sold = till.sold(payment_method=paying.id)
    till.shop.payment_methods.verify(checked.id, idempotency_key="check")
    till.advance(days=65)
    assert till.shop.vault.retire(unused_for=YEAR) == 0
    till.advance(seconds=1)
    assert till.pay.vault.retire(unused_for=YEAR) == 1
    assert {m.id for m in till.shop.payment_methods.list()} == {paying.id, checked.id}
    assert stored(till, forgotten.id).deleted_at == till.now
    till.advance(days=299)
    till.shop.payments.refund(sold.id, eur("1"), idempotency_key="back")
    till.advance(days=300)
    assert till.shop.vault.retire(unused_for=YEAR) == 1
    assert [m.id for m in till.shop.payment_methods.list()] == [paying.id]


def test_no_more_are_retired_at_once_than_was_said(till: Till) -> None:
    for _ in range(3):
        till.card()
    till.advance(days=366)
    assert [till.shop.vault.retire(unused_for=YEAR, limit=2) for _ in range(3)] == [2, 1, 0]


def test_a_new_key_is_no_use_of_a_card(till: Till) -> None:
    till.card()
    till.advance(days=366)
    till.shop.vault.rotate_data_key()
    till.shop.vault.rotate_fingerprint_key()
    till.shop.vault.run()
    assert till.shop.vault.retire(unused_for=YEAR) == 1
