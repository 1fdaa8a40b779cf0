"""A vault that somebody has altered by hand: nothing is revealed, sent or half written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sealed_again import seal_again
from till import AMEX, VISA, Till, eur

from payplatform import Card, ErrorCode, PaymentMethod, PayPlatform, VaultError
from payplatform.keys.local import LocalKeyService
from payplatform.storage.sqlite import SQLiteStorage


@pytest.fixture
def till(tmp_path: Path) -> Iterator[Till]:
    till = Till(tmp_path / "shop.db")
    yield till
    till.close()


Row = tuple[bytes, bytes]


APPEND_ONLY = ("events", "postings", "audit_entries")


class ByHand:
    """The sealed cards as somebody changes them who has the file, knows its form, and has no key.

    The row's digest is made anew, or no record would get as far as to be opened.
    """

    def __init__(self, till: Till) -> None:
        assert till.file is not None
        self._file = till.file

    def read(self, method: PaymentMethod) -> Row:
        with closing(sqlite3.connect(self._file)) as database:
            (row,) = database.execute(
                "SELECT number, details FROM sealed_cards WHERE id = ?", (method.token,)
            )
        return row[0], row[1]

    def write(self, method: PaymentMethod, row: Row) -> None:
        with closing(sqlite3.connect(self._file)) as database, database:
            changed = database.execute(
                "UPDATE sealed_cards SET number = ?, details = ? WHERE id = ?", (*row, method.token)
            )
            assert changed.rowcount == 1
            seal_again(database, but=APPEND_ONLY)


def flipped(record: bytes) -> bytes:
    return record[:-1] + bytes((record[-1] ^ 1,))


Tampering = Callable[[Row, Row], Row]
TAMPERINGS: dict[str, Tampering] = {
    "a bit of the number": lambda ours, _: (flipped(ours[0]), ours[1]),
    "a bit of the details": lambda ours, _: (ours[0], flipped(ours[1])),
    "a number cut short": lambda ours, _: (ours[0][:-1], ours[1]),
    "details cut short": lambda ours, _: (ours[0], ours[1][:40]),
    "another card's number": lambda ours, theirs: (theirs[0], ours[1]),
    "another card's details": lambda ours, theirs: (ours[0], theirs[1]),
    "another card altogether": lambda _, theirs: theirs,
    "number and details swapped": lambda ours, _: (ours[1], ours[0]),
    "the key version of the record": lambda ours, _: (ours[0][:3] + b"\1" + ours[0][4:], ours[1]),
    "something else altogether": lambda _, __: (b"x", b"y" * 200),
}


def refused_and_nothing_done(till: Till, method: PaymentMethod) -> VaultError:
    """A charge with it is refused before the bank is asked, and leaves the store as it was."""
    before, asked = till.stored(), till.watched.calls
    with pytest.raises(VaultError) as caught:
        till.shop.payments.charge(eur("1"), payment_method=method.id, idempotency_key="k")

    assert till.stored() == before
    assert till.watched.calls == asked
    assert till.shop.operations.find(idempotency_key="k") is None
    assert VISA not in repr((caught.value, caught.value.args, vars(caught.value)))
    assert caught.value.__cause__ is caught.value.__context__ is None
    return caught.value


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_a_card_whose_records_were_altered_pays_nothing(till: Till, tampering: str) -> None:
    by_hand, method, other = ByHand(till), till.card(VISA), till.card(AMEX)
    ours, theirs = by_hand.read(method), by_hand.read(other)
    by_hand.write(method, TAMPERINGS[tampering](ours, theirs))

    assert refused_and_nothing_done(till, method).code is ErrorCode.VAULT_INTEGRITY

    by_hand.write(method, ours)
    assert till.sold(payment_method=method.id).status == "captured"


def test_a_record_of_another_merchant_opens_at_none(till: Till) -> None:
    by_hand, method = ByHand(till), till.card(VISA)
    other = till.pay.merchant(till.pay.merchants.create(name="Bolt").id)
    theirs = other.payment_methods.create(card=Card(VISA, "12/40"), postal_code="10115")
    by_hand.write(method, by_hand.read(theirs))

    assert refused_and_nothing_done(till, method).code is ErrorCode.VAULT_INTEGRITY


def test_a_record_from_before_the_card_was_renewed_is_refused_when_it_is_put_back(
    till: Till,
) -> None:
    """Each change of a card has a token of its own: yesterday's record fits no row of today's."""
    by_hand, customer = ByHand(till), till.customer()
    old = by_hand.read(till.card(VISA, customer=customer, expiry="12/39"))
    renewed = till.card(VISA, customer=customer, expiry="12/41")
    by_hand.write(renewed, old)

    assert refused_and_nothing_done(till, renewed).code is ErrorCode.VAULT_INTEGRITY


def test_a_record_from_before_a_rotation_is_refused_when_its_key_is_destroyed(till: Till) -> None:
    by_hand, method = ByHand(till), till.card(VISA)
    old = by_hand.read(method)
    till.shop.vault.rotate_data_key()
    till.shop.vault.run()
    by_hand.write(method, old)

    assert refused_and_nothing_done(till, method).code is ErrorCode.VAULT_INTEGRITY


def test_under_another_master_key_no_card_pays(till: Till) -> None:
    """The file is right and the key is another's."""
    method = till.card(VISA)
    till.pay.close()
    assert till.file is not None
    till.pay = PayPlatform(
        storage=SQLiteStorage(till.file),
        bank=till.watched,
        keys=LocalKeyService.ephemeral(),
        now=till.clock,
    )
    till.shop = till.pay.merchant(till.merchant_id)

    refused_and_nothing_done(till, method)
