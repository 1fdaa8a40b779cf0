"""Merchants' keys: made, wrapped, remembered for a while, forgotten; and what fails with them."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from attrs import evolve
from vault_shop import (
    ACME,
    BOOKS,
    NUMBER,
    CountingKeys,
    Shop,
    can_open,
    opens,
    refusal,
)

from payplatform._domain.cards import Card
from payplatform._domain.changes import Changes
from payplatform._domain.records import KeyPurpose, WrappedKey
from payplatform.errors import (
    ErrorCode,
    StorageUnavailable,
    VaultError,
    VaultIntegrityError,
    VaultUnavailable,
)
from payplatform.testing._reachable import reachable_text
from payplatform.testing.repeatable import START


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def card() -> Card:
    return Card(NUMBER, "12/30", "Ada Lovelace")


# -- merchants' keys -------------------------------------------------------------------------------


def test_a_new_merchant_has_two_keys_bound_to_what_they_are_for(shop: Shop) -> None:
    shop.keys.wraps.clear()
    data, fingerprint = shop.vault.new_merchant_keys("mer_new")

    assert (data.id, fingerprint.id) == ("dek-1", "fpk-1")
    assert (data.purpose, fingerprint.purpose) == (KeyPurpose.DATA, KeyPurpose.FINGERPRINT)
    for key in (data, fingerprint):
        assert (key.merchant_id, key.version, key.key_version) == ("mer_new", 1, 1)
        assert key.created_at == START
    assert shop.keys.wraps == [
        {"app": "payplatform", "purpose": purpose, "tenant": "mer_new", "version": "1"}
        for purpose in ("dek", "fpk")
    ]


def test_keys_are_drawn_for_each_merchant_and_purpose(shop: Shop) -> None:
    keys = [
        shop.keys.unwrap(
            stored.wrapped,
            {
                "app": "payplatform",
                "purpose": stored.purpose.value,
                "tenant": merchant_id,
                "version": "1",
            },
        )
        for merchant_id in (ACME, BOOKS)
        for stored in shop.storage.page(merchant_id, WrappedKey, limit=10)
    ]

    assert len(set(keys)) == 4
    assert {len(key) for key in keys} == {32}


def test_another_merchants_key_is_of_no_use(shop: Shop, card: Card) -> None:
    """Somebody who can write to the database puts a key that he has into another's place."""
    shop.commit(
        *(
            evolve(key, merchant_id="mer_victim")
            for key in shop.storage.page(ACME, WrappedKey, limit=10)
        )
    )

    attempts: list[Callable[..., object]] = [shop.vault.seal, shop.vault.fingerprints]
    for attempt in attempts:
        error = refusal(partial(attempt, "mer_victim", card))
        assert isinstance(error, VaultIntegrityError)


def test_a_key_for_one_purpose_is_of_no_use_for_another(shop: Shop, card: Card) -> None:
    data, fingerprint = shop.vault.new_merchant_keys("mer_new")
    swapped = (
        evolve(data, wrapped=fingerprint.wrapped),
        evolve(fingerprint, wrapped=data.wrapped),
    )
    shop.commit(*swapped)

    assert isinstance(refusal(lambda: shop.vault.seal("mer_new", card)), VaultIntegrityError)
    assert isinstance(
        refusal(lambda: shop.vault.fingerprints("mer_new", card)), VaultIntegrityError
    )


def test_a_merchant_without_keys_can_neither_seal_nor_open(shop: Shop, card: Card) -> None:
    sealed = shop.vault.seal(ACME, card)
    attempts: list[Callable[[], object]] = [
        lambda: shop.vault.seal("mer_none", card),
        lambda: shop.vault.fingerprints("mer_none", card),
        lambda: opens(shop.vault, sealed, "mer_none"),
    ]
    for attempt in attempts:
        error = refusal(attempt)
        assert error.code is ErrorCode.VAULT_KEY_MISSING
        assert not error.retryable


def test_erasing_the_keys_destroys_the_cards(shop: Shop, card: Card) -> None:
    sealed = shop.vault.seal(ACME, card)
    gone = tuple(shop.storage.page(ACME, WrappedKey, limit=10))
    shop.storage.commit(Changes(merchant_id=ACME, removed=gone))
    shop.vault.forget(ACME)

    assert refusal(lambda: opens(shop.vault, sealed)).code is ErrorCode.VAULT_KEY_MISSING
    assert refusal(lambda: shop.vault.seal(ACME, card)).code is ErrorCode.VAULT_KEY_MISSING
    assert can_open(shop.vault, shop.vault.seal(BOOKS, card), BOOKS)


def test_a_new_version_made_by_another_process_is_found(shop: Shop, card: Card) -> None:
    """Its keys are cached already when a record under a newer key turns up."""
    old = shop.vault.seal(ACME, card)
    shop.add_key(ACME, KeyPurpose.DATA, 2)
    new = shop.another_vault().seal(ACME, card)

    assert (old.key_version, new.key_version) == (1, 2)
    assert can_open(shop.vault, new)
    assert can_open(shop.vault, old)


# -- the cache -------------------------------------------------------------------------------------


def test_a_key_is_unwrapped_once_and_only_when_it_is_needed(shop: Shop, card: Card) -> None:
    sealed = [shop.vault.seal(ACME, card) for _ in range(10)]
    assert [context["purpose"] for context in shop.keys.unwraps] == ["dek"]

    for each in sealed:
        opens(shop.vault, each)
        shop.vault.fingerprints(ACME, card)

    assert [context["purpose"] for context in shop.keys.unwraps] == ["dek", "fpk"]


def test_a_key_is_unwrapped_again_when_its_time_is_over(shop: Shop, card: Card) -> None:
    shop.vault.seal(ACME, card)
    shop.clock.advance(seconds=299)
    shop.vault.seal(ACME, card)
    assert len(shop.keys.unwraps) == 1

    shop.clock.advance(seconds=1)
    shop.vault.seal(ACME, card)

    assert len(shop.keys.unwraps) == 2


def test_a_clock_that_was_set_back_gives_no_key_more_time(shop: Shop, card: Card) -> None:
    shop.clock.advance(days=1)
    shop.vault.seal(ACME, card)
    shop.clock.set(START)
    shop.vault.seal(ACME, card)

    assert len(shop.keys.unwraps) == 2


def test_only_so_many_merchants_keys_are_kept_and_the_least_used_go_first(card: Card) -> None:
    shop = Shop(None, "mer_1", "mer_2", "mer_3")
    vault = shop.another_vault(max_merchants=2)
    for merchant_id in ("mer_1", "mer_2", "mer_1", "mer_3", "mer_1", "mer_2"):
        vault.seal(merchant_id, card)

    asked = [context["tenant"] for context in shop.keys.unwraps]
    assert asked == ["mer_1", "mer_2", "mer_3", "mer_2"]
    assert len(vault._cache._rings) == 2


def test_keys_whose_time_is_over_do_not_stay_in_memory(shop: Shop, card: Card) -> None:
    shop.vault.seal(ACME, card)
    shop.clock.advance(seconds=300)
    shop.vault.seal(BOOKS, card)

    assert list(shop.vault._cache._rings) == [BOOKS]


def test_close_and_forget_leave_no_key_in_memory(shop: Shop, card: Card) -> None:
    for merchant_id in (ACME, BOOKS):
        shop.vault.seal(merchant_id, card)
        shop.vault.fingerprints(merchant_id, card)
    held = [bytes_of(ring) for ring in shop.vault._cache._rings.values()]
    assert [len(keys) for keys in held] == [2, 2]

    shop.vault.forget(ACME)
    assert not any(key in reachable_bytes(shop.vault) for key in held[0])
    assert all(key in reachable_bytes(shop.vault) for key in held[1])

    shop.vault.close()
    assert not any(key in reachable_bytes(shop.vault) for keys in held for key in keys)


def bytes_of(ring: object) -> set[str]:
    data_keys, fingerprint_keys = ring.data_keys, ring.fingerprint_keys  # type: ignore[attr-defined]  # looked into
    return {key._key.decode("latin-1") for key in (*data_keys.values(), *fingerprint_keys.values())}


def reachable_bytes(root: object) -> set[str]:
    return set(reachable_text(root))


FORKING = """
import os, sys, threading
sys.path.insert(0, sys.argv[1])
from payplatform import Card
from vault_shop import ACME, NUMBER, Shop, opens

shop, card = Shop(), Card(NUMBER, "12/30")
sealed = shop.vault.seal(ACME, card)
lock = shop.vault._cache._lock
lock.acquire()  # as another thread may, at the moment of the fork
child = os.fork()
if child == 0:
    opens(shop.vault, sealed)
    print(len(shop.keys.unwraps), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
lock.release()
opens(shop.vault, sealed)
print(len(shop.keys.unwraps))
"""


def test_a_forked_child_starts_without_keys_and_without_a_held_lock() -> None:
    told = subprocess.run(
        [sys.executable, "-c", FORKING, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (told.stdout.split(), told.stderr) == (["2", "1"], "")


def test_many_threads_share_a_small_cache(card: Card) -> None:
    merchants = [f"mer_{number}" for number in range(8)]
    vault = Shop(None, *merchants).another_vault(max_merchants=3)

    def work(merchant_id: str) -> None:
        fingerprints = vault.fingerprints(merchant_id, card)
        for _ in range(30):
            opened = opens(vault, vault.seal(merchant_id, card), merchant_id)
            assert opened.number.reveal() == NUMBER
            assert vault.fingerprints(merchant_id, card) == fingerprints

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, merchants * 2))


# -- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "kind", "code"),
    [
        (VaultUnavailable("down"), VaultUnavailable, "vault_unavailable"),
        (ConnectionError(NUMBER), VaultUnavailable, "vault_unavailable"),
        (KeyError(NUMBER), VaultUnavailable, "vault_unavailable"),
        (StorageUnavailable("x"), VaultUnavailable, "vault_unavailable"),
        (VaultIntegrityError("altered"), VaultIntegrityError, "vault_integrity"),
        (
            VaultIntegrityError("put back mk-1", code=ErrorCode.VAULT_KEY_MISSING),
            VaultIntegrityError,
            "vault_key_missing",
        ),
        (
            VaultError("damaged", code=ErrorCode.VAULT_KEY_INVALID),
            VaultError,
            "vault_key_invalid",
        ),
    ],
    ids=repr,
)
def test_a_failure_of_the_key_service_is_told_without_its_chain(
    shop: Shop, card: Card, failure: Exception, kind: type[VaultError], code: str
) -> None:
    sealed = shop.vault.seal(ACME, card)
    shop.vault.forget(ACME)
    shop.keys.failure = failure
    attempts: list[Callable[[], object]] = [
        lambda: shop.vault.seal(ACME, card),
        lambda: opens(shop.vault, sealed),
        lambda: shop.vault.fingerprints(ACME, card),
        lambda: shop.vault.new_merchant_keys("mer_new"),
    ]
    for attempt in attempts:
        error = refusal(attempt)
        assert type(error) is kind
        assert error.code == code
        assert NUMBER not in repr(error) + repr(vars(error))
        if isinstance(failure, VaultError):
            assert str(error) == str(failure)


def test_what_stops_the_program_goes_on_doing_so(shop: Shop, card: Card) -> None:
    shop.keys.failure = KeyboardInterrupt()

    with pytest.raises(KeyboardInterrupt):
        shop.vault.seal(ACME, card)


def test_after_a_failure_it_works_again(shop: Shop, card: Card) -> None:
    shop.keys.failure = VaultUnavailable("down")
    refusal(lambda: shop.vault.seal(ACME, card))
    shop.keys.failure = None

    assert can_open(shop.vault, shop.vault.seal(ACME, card))


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_of_a_wrong_length_is_refused(shop: Shop, card: Card, size: int) -> None:
    shop.keys.inner = ShortKeys(size)  # type: ignore[assignment]  # all that is asked of it

    assert isinstance(refusal(lambda: shop.vault.seal(ACME, card)), VaultIntegrityError)


class ShortKeys:
    def __init__(self, size: int) -> None:
        self.size = size

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        assert wrapped
        assert context
        return bytes(self.size)


def test_a_key_service_that_cannot_give_back_is_found_out_before_a_card_is_sealed() -> None:
    class LosesKeys(CountingKeys):
        def wrap(self, key: bytes, context: Mapping[str, str]) -> bytes:
            return super().wrap(os.urandom(len(key)), {**context, "more": "x"})

    shop = Shop(LosesKeys())
    refusal(lambda: shop.vault.seal(ACME, Card(NUMBER, "12/30")))
