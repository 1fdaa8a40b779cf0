"""New keys: who gets them, what is brought to them, and when the old ones are gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from till import AMEX, MASTERCARD, VISA, Till, eur

from payplatform import Card, InvalidRequest, Settings, VaultError
from payplatform._domain.changes import Changes
from payplatform._domain.records import KeyPurpose, PaymentMethod, SealedCard, WrappedKey
from payplatform._engine.rotation import BATCH
from payplatform.banks.simulated import SimulatedBank
from payplatform.client.platform import PayPlatform
from payplatform.errors import Conflict, ErrorCode, NotFound, VaultUnavailable
from payplatform.keys.local import LocalKeyService

DAY_S = 86_400


@pytest.fixture(params=["memory", "sqlite"])
def till(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Till]:
    till = Till(tmp_path / "shop.db" if request.param == "sqlite" else None)
    yield till
    till.close()


def another_process(till: Till, keys: Any = None) -> PayPlatform:
    """The same store and bank as another process has them: with a vault of its own."""
    return PayPlatform(storage=till.storage, bank=till.bank, keys=keys or till.keys, now=till.clock)


def keys_of(till: Till, purpose: KeyPurpose = KeyPurpose.DATA) -> list[WrappedKey]:
    keys = till.storage.page(till.merchant_id, WrappedKey, limit=99)
    return [key for key in keys if key.purpose is purpose]


def versions(till: Till, purpose: KeyPurpose = KeyPurpose.DATA) -> list[int]:
    return sorted(key.key_version for key in keys_of(till, purpose))


def sealed(till: Till) -> list[SealedCard]:
    return list(till.storage.page(till.merchant_id, SealedCard, limit=99))


def methods(till: Till) -> list[PaymentMethod]:
    return list(till.storage.page(till.merchant_id, PaymentMethod, limit=99))


def stock(till: Till, cards: int) -> list[str]:
    return [till.card().id for _ in range(cards)]


def pays(till: Till, method_id: str) -> bool:
    return till.sold(payment_method=method_id).status == "captured"


# -- data keys -------------------------------------------------------------------------------------


def test_new_cards_are_under_the_new_key_at_once_and_old_ones_still_pay(till: Till) -> None:
    old = till.card()
    assert till.shop.vault.rotate_data_key() == 1
    new = till.card(MASTERCARD)

    assert sorted(card.key_version for card in sealed(till)) == [1, 2]
    assert [key.retired_at is None for key in keys_of(till)] == [True, False]
    assert pays(till, old.id)
    assert pays(till, new.id)


def test_a_run_brings_every_card_to_the_new_key_and_destroys_the_old_one(till: Till) -> None:
    cards = stock(till, BATCH + 3)
    tokens = {card.id for card in sealed(till)}
    till.shop.vault.rotate_data_key()
    told: list[tuple[int, int]] = []
    report = till.shop.vault.run(progress=lambda done, total: told.append((done, total)))

    assert (report.resealed, report.destroyed, report.is_done) == (len(cards), 1, True)
    assert told == [(BATCH, BATCH + 3), (BATCH + 3, BATCH + 3)]
    assert versions(till) == [2]
    assert {card.key_version for card in sealed(till)} == {2}
    assert {card.id for card in sealed(till)} == tokens
    assert all(pays(till, card) for card in cards[:3])
    assert till.pay.doctor().ok


def test_a_run_does_as_much_as_it_may_and_goes_on_next_time(till: Till) -> None:
    cards = stock(till, 5)
    till.pay.vault.rotate_data_key()
    lefts = []
    for _ in range(3):
        report = till.pay.vault.run(limit=2)
        lefts.append((report.resealed, report.left, report.destroyed))
        assert all(pays(till, card) for card in cards)

    assert lefts == [(2, 3, 0), (2, 1, 0), (1, 0, 1)]
    assert till.pay.vault.run(limit=2) == type(report)()


def test_two_rotations_before_a_run_leave_one_key(till: Till) -> None:
    cards = [till.card().id]
    for _ in range(2):
        till.shop.vault.rotate_data_key()
        cards.append(till.card(MASTERCARD).id)
    report = till.shop.vault.run()

    assert (report.resealed, report.destroyed) == (2, 2)
    assert versions(till) == [3]
    assert all(pays(till, card) for card in cards)


def test_who_still_has_the_retired_key_does_not_seal_with_it(till: Till) -> None:
    """Another process has read the keys before the rotation, and adds a card after it."""
    other = another_process(till).merchant(till.merchant_id)
    ada = till.customer()
    other.payment_methods.create(card=Card(VISA, "12/40"), customer=ada)
    till.shop.vault.rotate_data_key()
    till.shop.vault.rotate_fingerprint_key()
    till.shop.vault.run()

    added = other.payment_methods.create(card=Card(AMEX, "12/40"), customer=ada)

    assert {card.key_version for card in sealed(till)} == {2}
    assert {method.fingerprint_version for method in methods(till)} == {2}
    assert till.shop.vault.run().is_done
    assert pays(till, added.id)


def test_who_still_has_the_retired_key_does_not_bring_a_card_up_to_date_with_it(
    till: Till,
) -> None:
    other = another_process(till).merchant(till.merchant_id)
    ada = till.customer()
    first = other.payment_methods.create(card=Card(VISA, "12/40"), customer=ada)
    till.shop.vault.rotate_data_key()
    till.shop.vault.run()

    changed = other.payment_methods.create(card=Card(VISA, "11/41"), customer=ada)
    assert (changed.id, changed.expiry_year) == (first.id, 2041)
    assert [card.key_version for card in sealed(till)] == [2]
    assert pays(till, changed.id)


def test_a_run_with_old_keys_in_memory_brings_no_card_to_a_retired_key(till: Till) -> None:
    till.card()
    till.shop.vault.rotate_data_key()
    other = another_process(till).merchant(till.merchant_id)
    other.payment_methods.create(card=Card(MASTERCARD, "12/40"))
    till.shop.vault.rotate_data_key()
    before = {card.id for card in sealed(till) if card.key_version == 1}
    other.vault.run(limit=1)

    assert 2 not in {card.key_version for card in sealed(till) if card.id in before}
    assert other.vault.run().is_done
    assert {card.key_version for card in sealed(till)} == {3}


def test_a_card_that_was_read_before_its_key_was_destroyed_still_pays(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between reading the sealed card and opening it, the whole rotation takes place."""
    card = till.card()
    other = another_process(till)
    get, is_first = till.storage.get, [True]

    def get_then_rotate(merchant_id: str, kind: Any, record_id: str) -> Any:
        found = get(merchant_id, kind, record_id)
        if kind is SealedCard and is_first.pop() if is_first else False:
            till.shop.vault.rotate_data_key()
            assert till.shop.vault.run().destroyed == 1
        return found

    monkeypatch.setattr(till.storage, "get", get_then_rotate)
    paid = other.merchant(till.merchant_id).payments.charge(
        eur("1"), payment_method=card.id, idempotency_key="k"
    )

    assert not is_first
    assert paid.status == "captured"


def test_a_card_that_changes_meanwhile_is_left_to_the_next_run(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of a batch is deleted between being read and being written: the others are written."""
    cards = stock(till, 3)
    till.shop.vault.rotate_data_key()
    page, is_first = till.storage.page, [True]

    def page_then_delete(merchant_id: str, kind: Any, *args: Any, **kwargs: Any) -> Any:
        found = page(merchant_id, kind, *args, **kwargs)
        if kind is SealedCard and is_first:
            is_first.clear()
            till.shop.payment_methods.delete(cards[1])
        return found

    monkeypatch.setattr(till.storage, "page", page_then_delete)
    report = till.shop.vault.run()

    assert (report.resealed, report.left, report.destroyed) == (2, 0, 1)
    assert pays(till, cards[0])
    assert pays(till, cards[2])


def test_a_damaged_card_keeps_its_key_and_none_of_the_others_waits(till: Till) -> None:
    stock(till, 3)
    victim = sealed(till)[1]
    spoilt = evolve(victim, version=2, number=victim.number[:-1] + b"?")
    till.storage.commit(Changes(merchant_id=till.merchant_id, records=(spoilt,)))
    till.shop.vault.rotate_data_key()
    report = till.shop.vault.run()

    assert report.damaged == (victim.id,)
    assert (report.resealed, report.left, report.destroyed) == (2, 1, 0)
    assert versions(till) == [1, 2]


def test_two_runs_at_once_do_the_work_once(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between reading a page and sealing it anew, another run does all and destroys the key."""
    cards = stock(till, 3)
    till.shop.vault.rotate_data_key()
    other, page, is_first = another_process(till), till.storage.page, [True]

    def page_then_run(merchant_id: str, kind: Any, *args: Any, **kwargs: Any) -> Any:
        found = page(merchant_id, kind, *args, **kwargs)
        if kind is SealedCard and is_first:
            is_first.clear()
            assert other.vault.run().resealed == 3
        return found

    monkeypatch.setattr(till.storage, "page", page_then_run)
    report = till.shop.vault.run()

    assert (report.resealed, report.left, report.damaged) == (0, 0, ())
    assert versions(till) == [2]
    assert all(pays(till, card) for card in cards)


def test_a_key_that_a_card_needs_and_nobody_has_ends_the_run(till: Till) -> None:
    """Somebody has lost a key: that is told, and not taken for work that another has done."""
    till.card()
    till.shop.vault.rotate_data_key()
    lost = next(key for key in keys_of(till) if key.key_version == 1)
    till.storage.commit(Changes(merchant_id=till.merchant_id, removed=(lost,)))
    till.shop.vault.rotate_fingerprint_key()

    with pytest.raises(VaultError) as caught:
        till.shop.vault.run()
    assert caught.value.code is ErrorCode.VAULT_KEY_MISSING


# -- fingerprint keys ------------------------------------------------------------------------------


def test_a_customers_card_is_known_again_before_during_and_after(till: Till) -> None:
    ada = till.customer()
    first = till.card(customer=ada)
    stock(till, 2)
    assert till.shop.vault.rotate_fingerprint_key() == 1
    assert till.card(customer=ada).id == first.id
    report = till.shop.vault.run()

    assert (report.refingerprinted, report.resealed, report.destroyed) == (3, 0, 1)
    assert till.card(customer=ada).id == first.id
    assert {method.fingerprint_version for method in methods(till)} == {2}
    assert versions(till, KeyPurpose.FINGERPRINT) == [2]
    assert till.pay.doctor().ok


def test_a_new_fingerprint_is_an_event_and_no_change_that_a_merchant_sees(till: Till) -> None:
    card = till.card()
    till.advance(days=1)
    till.shop.vault.rotate_fingerprint_key()
    till.shop.vault.run()
    after = till.shop.payment_methods.get(card.id)

    assert after.fingerprint != card.fingerprint
    assert after.updated_at == card.updated_at
    events = till.storage.events(till.merchant_id, card.id)
    assert [event.type for event in events] == ["payment_method.created", "payment_method.rekeyed"]


def test_a_card_deleted_meanwhile_needs_no_fingerprint(till: Till) -> None:
    card = till.card()
    till.shop.vault.rotate_fingerprint_key()
    till.shop.payment_methods.delete(card.id)

    report = till.shop.vault.run()
    assert (report.refingerprinted, report.left, report.destroyed) == (0, 0, 1)


# -- master keys -----------------------------------------------------------------------------------


class TwoMasters:
    """A key service whose current master key can be changed; old ones unwrap until dropped."""

    def __init__(self) -> None:
        self.masters = [bytes(range(32))]
        self.rewraps = 0
        self.is_down = False

    def __getattr__(self, name: str) -> Any:
        if self.is_down and name != "describe":
            raise VaultUnavailable("down")
        self.rewraps += name == "rewrap"
        return getattr(LocalKeyService(self.masters, source="test"), name)

    def renew(self) -> None:
        self.masters.insert(0, bytes(range(len(self.masters), 32 + len(self.masters))))


@pytest.fixture
def masters() -> TwoMasters:
    return TwoMasters()


@pytest.fixture
def kept(till: Till, masters: TwoMasters) -> PayPlatform:
    pay = another_process(till, masters)
    shop = pay.merchant(pay.merchants.create(name="Books").id)
    till.merchant_id, till.pay, till.shop = shop.id, pay, shop
    return pay


def test_a_new_master_key_wraps_every_key_and_the_old_one_is_not_needed(
    till: Till, kept: PayPlatform, masters: TwoMasters
) -> None:
    card, before = till.card(), sealed(till)
    masters.renew()
    assert kept.merchant(till.merchant_id).vault.status().wrapped_by_others == 2
    assert kept.merchant(till.merchant_id).vault.rotate_master_key() == 2
    del masters.masters[1:]

    assert till.shop.vault.status().wrapped_by_others == 0
    assert sealed(till) == before
    assert pays(till, card.id)


@pytest.mark.usefixtures("kept")
def test_a_master_key_renewed_under_its_old_name_wraps_what_was_wrapped_before(
    till: Till, masters: TwoMasters
) -> None:
    till.advance(days=10)
    till.shop.vault.rotate_data_key()
    masters.rewraps = 0

    assert till.shop.vault.rotate_master_key() == 0
    assert till.shop.vault.rotate_master_key(older_than=timedelta(days=9)) == 2
    assert till.shop.vault.rotate_master_key(older_than=timedelta(days=9)) == 0
    assert masters.rewraps == 2
    assert till.shop.vault.status().master_key_age_s == 0


@pytest.mark.usefixtures("kept")
def test_wrapping_anew_goes_on_where_it_was_interrupted(
    till: Till, masters: TwoMasters, monkeypatch: pytest.MonkeyPatch
) -> None:
    masters.renew()
    commit = till.storage.commit

    def once(changes: Changes) -> None:
        monkeypatch.setattr(till.storage, "commit", refuse)
        commit(changes)

    def refuse(_changes: Changes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(till.storage, "commit", once)
    with pytest.raises(KeyboardInterrupt):
        till.shop.vault.rotate_master_key()
    monkeypatch.setattr(till.storage, "commit", commit)

    masters.rewraps = 0
    assert till.shop.vault.rotate_master_key() == 1
    assert till.shop.vault.rotate_master_key() == 0
    assert masters.rewraps == 1


def test_a_key_service_that_is_down_stops_a_rotation_and_harms_nothing(
    till: Till, kept: PayPlatform, masters: TwoMasters
) -> None:
    card = till.card()
    masters.is_down = True
    for call in (till.shop.vault.rotate_data_key, till.shop.vault.rotate_fingerprint_key):
        with pytest.raises(VaultUnavailable):
            call()
    masters.is_down = False
    assert kept.vault.rotate_data_key() >= 1
    assert pays(till, card.id)


# -- who, and when ---------------------------------------------------------------------------------


def test_a_rotation_that_was_interrupted_goes_on_with_those_who_have_old_keys(till: Till) -> None:
    till.advance(days=400)
    younger = till.pay.merchant(till.pay.merchants.create(name="Younger").id)

    assert till.pay.vault.rotate_data_key(older_than=timedelta(days=365)) == 1
    assert till.pay.vault.rotate_data_key(older_than=timedelta(days=365)) == 0
    assert versions(till) == [1, 2]
    assert {key.key_version for key in younger.vault.status().keys} == {1}


def test_one_merchants_rotation_leaves_the_others_alone(till: Till) -> None:
    other = till.pay.merchant(till.pay.merchants.create(name="Other").id)
    till.shop.vault.rotate_data_key()
    till.shop.vault.rotate_fingerprint_key()
    till.shop.vault.run()

    assert {key.key_version for key in other.vault.status().keys} == {1}
    assert {key.key_version for key in till.shop.vault.status().keys} == {2}
    assert len(till.pay.vault.status().keys) == 4


def test_a_rotation_at_the_same_time_as_another_is_made_once_or_twice_but_never_half(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, commit = another_process(till), till.storage.commit

    def first_the_other(changes: Changes) -> None:
        monkeypatch.setattr(till.storage, "commit", commit)
        till.advance(seconds=1)
        other.vault.rotate_data_key()
        with pytest.raises(Conflict):
            commit(changes)
        raise Conflict("as the store has just said")

    monkeypatch.setattr(till.storage, "commit", first_the_other)
    assert till.shop.vault.rotate_data_key() == 0
    assert versions(till) == [1, 2]


def test_an_erased_merchant_has_no_keys_to_rotate(till: Till) -> None:
    till.pay.merchants.erase(till.merchant_id)
    for call in (
        till.shop.vault.rotate_data_key,
        till.shop.vault.rotate_fingerprint_key,
        till.shop.vault.rotate_master_key,
        till.shop.vault.run,
        till.shop.vault.status,
    ):
        with pytest.raises(NotFound):
            call()
    assert till.pay.vault.rotate_data_key() == 0


def test_a_merchant_erased_while_a_card_is_sealed_gets_none(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys were read before the erasure; the commit finds that they are gone."""
    till.card()
    commit = till.storage.commit

    def first_erase(changes: Changes) -> None:
        monkeypatch.setattr(till.storage, "commit", commit)
        another_process(till).merchants.erase(till.merchant_id)
        commit(changes)

    monkeypatch.setattr(till.storage, "commit", first_erase)
    with pytest.raises(VaultError) as caught:
        till.card(MASTERCARD)
    assert caught.value.code is ErrorCode.VAULT_KEY_MISSING
    assert not sealed(till)


# -- status ----------------------------------------------------------------------------------------


def test_status_counts_what_is_under_each_key(till: Till) -> None:
    stock(till, 3)
    till.advance(seconds=10)
    till.shop.vault.rotate_data_key()
    stock(till, 2)
    till.advance(seconds=5)
    status = till.shop.vault.status()

    told = {
        (key.purpose.value, key.key_version): (key.records, key.age_s, key.retired_at is not None)
        for key in status.keys
    }
    assert told == {
        ("dek", 2): (2, 5, False),
        ("dek", 1): (3, 15, True),
        ("fpk", 1): (5, 15, False),
    }
    assert (status.cards, status.left, status.wrapped_by_others) == (5, 3, 0)
    assert status.master_key == till.keys.describe()["current_master_key"]
    assert status.master_key_age_s == 15
    assert not status.overdue


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, set()),
        ({"data_key_period_s": 9.5 * DAY_S}, {("dek", 2)}),
        ({"data_key_period_s": 10 * DAY_S}, set()),
        ({"fingerprint_key_period_s": 19 * DAY_S}, {("fpk", 1)}),
        ({"retired_key_period_s": 9 * DAY_S}, {("dek", 1)}),
        ({"data_key_records": 1}, {("dek", 2)}),
        ({"data_key_records": 2}, set()),
    ],
)
def test_what_is_older_or_fuller_than_the_settings_allow_is_overdue(
    settings: dict[str, Any], expected: set[tuple[str, int]], tmp_path: Path
) -> None:
    till = Till(tmp_path / "shop.db", settings=Settings(**settings))
    till.card()
    till.advance(days=10)
    till.shop.vault.rotate_data_key()
    stock(till, 2)
    till.advance(days=10)

    overdue = {(key.purpose.value, key.key_version) for key in till.shop.vault.status().overdue}
    assert overdue == expected
    assert not till.shop.vault.status().master_key_is_overdue
    till.close()


def test_a_master_key_becomes_overdue_too() -> None:
    till = Till(settings=Settings(master_key_period_s=DAY_S))
    assert not till.pay.vault.status().master_key_is_overdue
    till.advance(days=1, seconds=1)
    assert till.pay.vault.status().master_key_is_overdue
    till.close()


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("rotate_data_key", {"older_than": 5}, ErrorCode.TYPE_INVALID),
        ("rotate_fingerprint_key", {"older_than": timedelta(-1)}, ErrorCode.VALUE_INVALID),
        ("run", {"limit": 0}, ErrorCode.VALUE_INVALID),
        ("run", {"limit": "all"}, ErrorCode.TYPE_INVALID),
        ("run", {"progress": "bar"}, ErrorCode.TYPE_INVALID),
        ("retire", {"unused_for": 30}, ErrorCode.TYPE_INVALID),
        ("retire", {"unused_for": timedelta(0)}, ErrorCode.VALUE_INVALID),
        ("retire", {"unused_for": timedelta(1), "limit": 0}, ErrorCode.VALUE_INVALID),
    ],
)
def test_an_argument_that_breaks_its_rule_is_named(
    name: str, arguments: dict[str, Any], code: ErrorCode, till: Till
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        getattr(till.shop.vault, name)(**arguments)
    assert caught.value.code is code
    assert caught.value.field in arguments


def test_the_vault_may_be_asked_of_a_platform_of_any_bank(till: Till) -> None:
    with PayPlatform.sandbox(bank=SimulatedBank()) as pay:
        assert pay.vault.status().keys == ()
    assert till.pay.vault.status().cards == 0
