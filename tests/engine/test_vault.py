"""Cards go in and come out, at their own merchant and under their own token, and nowhere else."""

import hmac
import inspect
import os
import pickle
import re
import struct
import unicodedata
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, product

import pytest
from attrs import evolve
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import assume, given
from hypothesis import strategies as st
from vault_shop import (
    ACME,
    BOOKS,
    DEK,
    FPK,
    NUMBER,
    CountingKeys,
    KnownKeys,
    Shop,
    can_open,
    opens,
    refusal,
)

from payplatform._domain.card_numbers import luhn_check_digit
from payplatform._domain.cards import Card
from payplatform._domain.changes import Changes
from payplatform._domain.records import KeyPurpose, SealedCard
from payplatform._domain.text import clean_id
from payplatform._engine.sealing import DataKey
from payplatform._engine.vault import Vault
from payplatform.errors import (
    ErrorCode,
    VaultIntegrityError,
)
from payplatform.ports import KeyService
from payplatform.storage.memory import MemoryStorage
from payplatform.testing._reachable import forms_of, reachable_text


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture(scope="module")
def steady() -> Shop:
    """For properties, which need no new shop for each example."""
    return Shop()


@pytest.fixture
def card() -> Card:
    return Card(NUMBER, "12/30", "Ada Lovelace")


@st.composite
def numbers(draw: st.DrawFn, lengths: range = range(12, 20)) -> str:
    """Card numbers of a brand that nobody knows, which may have any length."""
    length = draw(st.sampled_from(lengths))
    partial = "99" + draw(st.text("0123456789", min_size=length - 3, max_size=length - 3))
    return partial + luhn_check_digit(partial)


def holder_names() -> st.SearchStrategy[str]:
    letters = st.characters(categories=("Lu", "Ll", "Lo", "Lm", "Mn", "Zs"))
    names = st.text(letters, min_size=1, max_size=100)
    return names.filter(lambda name: bool(name.strip()) and len(nfc(name)) <= 100)


def nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


@st.composite
def cards(draw: st.DrawFn) -> Card:
    expiry = (draw(st.integers(1, 12)), draw(st.integers(2000, 2099)))
    return Card(draw(numbers()), expiry, draw(st.none() | holder_names()))


postal_codes = st.none() | st.from_regex(r"[0-9A-Z][0-9A-Z -]{0,14}[0-9A-Z]", fullmatch=True)


def lp(*parts: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


# -- what goes in comes out ------------------------------------------------------------------------


@given(card=cards(), postal_code=postal_codes)
def test_a_sealed_card_opens_as_it_was(steady: Shop, card: Card, postal_code: str | None) -> None:
    sealed = steady.vault.seal(ACME, card, postal_code=postal_code)
    opened = steady.vault.open(ACME, sealed, brand=card.brand)

    assert opened.number.same_as(card.number)
    assert (opened.expiry_month, opened.expiry_year) == (card.expiry_month, card.expiry_year)
    assert (opened.holder, opened.postal_code) == (card.holder, postal_code)
    assert opened.brand is card.brand
    assert opened.security_code is None


def test_another_process_opens_it(shop: Shop, card: Card) -> None:
    sealed = shop.vault.seal(ACME, card)

    assert can_open(shop.another_vault(), sealed)


@given(card=cards(), postal_code=postal_codes)
def test_nothing_of_the_card_stands_in_what_is_stored(
    steady: Shop, card: Card, postal_code: str | None
) -> None:
    sealed = steady.vault.seal(ACME, card, postal_code=postal_code)
    stored = "\n".join(
        [sealed.id, sealed.number.decode("latin-1"), sealed.details.decode("latin-1")]
    )

    assert not any(form in stored for form in forms_of(card.number.reveal()))
    assert not card.holder or len(card.holder) < 5 or card.holder not in stored
    assert NUMBER not in repr(sealed)


def test_sealing_a_card_twice_has_nothing_in_common(shop: Shop, card: Card) -> None:
    one, other = shop.vault.seal(ACME, card), shop.vault.seal(ACME, card)

    assert one.id != other.id
    for first, second in ((one.number, other.number), (one.details, other.details)):
        for part in (slice(7, 39), slice(39, 71), slice(71, 83), slice(83, None)):
            assert first[part] != second[part]
    assert one.number[71:83] != one.details[71:83]


def test_it_has_no_place_for_a_security_code() -> None:
    assert set(inspect.signature(Vault.seal).parameters) == {
        "self",
        "merchant_id",
        "card",
        "postal_code",
    }


# -- lengths tell nothing --------------------------------------------------------------------------


@given(number=numbers())
def test_numbers_of_every_length_make_records_of_one_length(steady: Shop, number: str) -> None:
    assert len(steady.vault.seal(ACME, Card(number, "12/30")).number) == 123


@given(name=st.none() | st.text("ABCDEFGHIJ ", min_size=1, max_size=26), postal_code=postal_codes)
def test_details_that_fit_a_card_make_records_of_one_length(
    steady: Shop, name: str | None, postal_code: str | None
) -> None:
    assume(name is None or name.strip())
    sealed = steady.vault.seal(ACME, Card(NUMBER, "12/30", name), postal_code=postal_code)

    assert len(sealed.details) == 99 + 64


@given(card=cards(), postal_code=postal_codes)
def test_details_grow_in_steps_of_64_bytes(
    steady: Shop, card: Card, postal_code: str | None
) -> None:
    sealed = steady.vault.seal(ACME, card, postal_code=postal_code)

    assert (len(sealed.details) - 99) % 64 == 0
    assert len(sealed.details) <= 99 + 64 * 7


# -- the format is for ever ------------------------------------------------------------------------

# Under the keys above and the random bytes 0, 1, 2 and so on: the token, the salt, two nonces.
KNOWN_TOKEN = "tok_0123456789abcdefghjkmnpqrs"
KNOWN_NUMBER = (
    "01000100000001"
    "1a1b1c1d1e1f202122232425262728292a2b2c2d2e2f30313233343536373839"
    "b8d475e278d68e794674e43309c94c0e7f2ce5400596b03811eb2de6f886bfde"
    "3a3b3c3d3e3f404142434445"
    "7e685307900ea1d3338c363ce278f8e1ee6a12494e414af5df5a739029583141"
    "d80cd78cbb5fced4"
)
KNOWN_DETAILS = (
    "01000100000001"
    "1a1b1c1d1e1f202122232425262728292a2b2c2d2e2f30313233343536373839"
    "b8d475e278d68e794674e43309c94c0e7f2ce5400596b03811eb2de6f886bfde"
    "464748494a4b4c4d4e4f5051"
    "dae0746bd50ca52b0d16a2c1c22e7f789e83b9ff4f46f1791ba02ef3b6cd89af"
    "8dbee500e2ee5fcce82a67d181de13de81aac96ea42851922045bbb50da66d4c"
    "72c7612b1b53dc33f04950c8ac2c386a"
)
KNOWN_FINGERPRINT = "86837178a38ea3d1dffa1bc2c6353266d65970b1792eb55952e3b526d5381fef"


def drawn_from_a_count() -> Callable[[int], bytes]:
    numbers = count()
    return lambda size: bytes(next(numbers) % 256 for _ in range(size))


def known_card() -> SealedCard:
    return SealedCard(
        id=KNOWN_TOKEN,
        merchant_id=ACME,
        key_version=1,
        number=bytes.fromhex(KNOWN_NUMBER),
        details=bytes.fromhex(KNOWN_DETAILS),
    )


def test_a_record_of_the_first_format_still_opens() -> None:
    """A card sealed long ago, to the byte: who changes the format loses every stored card."""
    opened = opens(Shop(KnownKeys()).vault, known_card())

    assert opened.number.reveal() == NUMBER
    assert (opened.expiry_month, opened.expiry_year) == (12, 2030)
    assert (opened.holder, opened.postal_code) == ("Ada Lovelace", "SW1A 1AA")


def test_the_same_random_bytes_make_the_same_record(card: Card) -> None:
    vault = Shop(KnownKeys()).another_vault(random_bytes=drawn_from_a_count())

    assert vault.seal(ACME, card, postal_code="SW1A 1AA") == known_card()


def test_a_fingerprint_never_changes(card: Card) -> None:
    """A card stored long ago is still recognised."""
    (fingerprint,) = Shop(KnownKeys()).vault.fingerprints(ACME, card)

    assert fingerprint.hex() == KNOWN_FINGERPRINT
    assert fingerprint == hmac.digest(
        FPK, lp(b"pan-fp/v1", ACME.encode(), NUMBER.encode()), "sha256"
    )


def written_anew(
    content: bytes,
    field: str,
    *,
    merchant_id: str = ACME,
    token: str = "tok_x",  # noqa: S107  # a token is no password
    commitment: bytes | None = None,
    header: bytes = struct.pack(">BHI", 1, 1, 1),
) -> bytes:
    """A record from the format's description, with none of the library's code."""
    salt, nonce = os.urandom(32), os.urandom(12)
    info = lp(b"payplatform/vault/v1", merchant_id.encode())
    extracted = hmac.digest(salt, DEK, "sha512")
    derived = hmac.digest(extracted, info + b"\x01", "sha512")
    prefix = header + salt + (commitment or derived[32:]) + nonce
    associated = lp(prefix, merchant_id.encode(), token.encode(), field.encode())
    return prefix + AESGCM(derived[:32]).encrypt(nonce, content, associated)


NUMBER_CONTENT = bytes((16,)) + NUMBER.encode() + bytes(7)
DETAILS_CONTENT = (struct.pack(">HB", 2030, 12) + lp(b"Ada Lovelace", b"SW1A 1AA")).ljust(64, b"\0")


def sealed_anew(**how: object) -> SealedCard:
    return SealedCard(
        id="tok_x",
        merchant_id=ACME,
        key_version=1,
        number=written_anew(NUMBER_CONTENT, "number", **how),  # type: ignore[arg-type]  # by name
        details=written_anew(DETAILS_CONTENT, "details"),
    )


def test_a_record_written_from_the_description_opens() -> None:
    opened = opens(Shop(KnownKeys()).vault, sealed_anew())

    assert opened.number.reveal() == NUMBER
    assert (opened.expiry_month, opened.expiry_year) == (12, 2030)
    assert (opened.holder, opened.postal_code) == ("Ada Lovelace", "SW1A 1AA")


@pytest.mark.parametrize(
    "how",
    [
        {"commitment": bytes(32)},
        {"header": struct.pack(">BHI", 2, 1, 1)},
        {"header": struct.pack(">BHI", 1, 2, 1)},
        {"header": struct.pack(">BHI", 1, 1, 2)},
        {"merchant_id": BOOKS},
        {"token": "tok_y"},
    ],
    ids=str,
)
def test_a_record_that_is_sound_but_for_one_thing_is_refused(how: dict[str, object]) -> None:
    """Its tag is right: so each thing is checked for itself, and not by way of the tag alone."""
    assert isinstance(
        refusal(lambda: opens(Shop(KnownKeys()).vault, sealed_anew(**how))), VaultIntegrityError
    )


# -- what was altered or moved ---------------------------------------------------------------------


def altered(record: bytes) -> Iterator[bytes]:
    whole = int.from_bytes(record, "big")
    for bit in range(len(record) * 8):
        yield (whole ^ 1 << bit).to_bytes(len(record), "big")
    for size in range(len(record)):
        yield record[:size]
        yield record[size:][1:]
    yield record + b"\0"
    yield record * 2


NUMBERS = [
    start + luhn_check_digit(start)
    for start in (str(99_271_828_182_845_904_523 // 10**cut) for cut in (9, 8, 7, 6, 5, 4, 3, 2))
]
NUMBERS += [NUMBER, "378282246310005"]


def with_record(sealed: SealedCard, field: str, record: bytes) -> SealedCard:
    return evolve(sealed, number=record) if field == "number" else evolve(sealed, details=record)


@pytest.mark.parametrize("field", ["number", "details"])
@pytest.mark.parametrize("number", NUMBERS, ids=len)
def test_every_altered_bit_and_every_cut_is_refused(shop: Shop, number: str, field: str) -> None:
    """Of 20 records: number and details of ten cards, whose numbers have 12 to 19 digits."""
    sealed = shop.vault.seal(ACME, Card(number, "12/30", "Ada Lovelace"))
    for record in altered(getattr(sealed, field)):
        with pytest.raises(VaultIntegrityError) as caught:
            opens(shop.vault, with_record(sealed, field, record))
        assert str(caught.value) == f"the sealed card {sealed.id} is not what was stored"


def test_of_20_records_none_opens_in_the_place_of_another(card: Card) -> None:
    """Every one put in every other's place, under one key: what binds is the place."""
    shop = Shop(KnownKeys())
    cards = [shop.vault.seal(ACME, card) for _ in range(5)]
    cards += [shop.vault.seal(BOOKS, card) for _ in range(5)]
    places = [(sealed, field) for sealed in cards for field in ("number", "details")]
    for (sealed, field), (other, theirs) in product(places, places):
        moved = with_record(sealed, field, getattr(other, theirs))
        if (sealed, field) == (other, theirs):
            assert can_open(shop.vault, moved, sealed.merchant_id)
        else:
            error = refusal(partial(opens, shop.vault, moved, sealed.merchant_id))
            assert isinstance(error, VaultIntegrityError)


def test_records_moved_between_tokens_fields_and_merchants_are_refused(card: Card) -> None:
    """Under one key for all of them: what binds is the place."""
    shop = Shop(KnownKeys())
    one, other = shop.vault.seal(ACME, card), shop.vault.seal(ACME, card)
    moved = [
        evolve(one, number=other.number),
        evolve(one, details=other.details),
        evolve(one, id=other.id),
        evolve(one, number=one.details, details=one.number),
        evolve(one, number=one.details),
        evolve(one, details=one.number),
    ]
    for sealed in moved:
        assert isinstance(
            refusal(partial(opens, shop.vault, sealed)),
            VaultIntegrityError,
        )
    assert isinstance(
        refusal(lambda: opens(shop.vault, evolve(one, merchant_id=BOOKS), BOOKS)),
        VaultIntegrityError,
    )


def test_places_that_read_alike_in_a_row_are_told_apart() -> None:
    """Merchant m1 with token 2tok is not merchant m12 with token tok."""
    places = [("m1", "2tok", "number"), ("m12", "tok", "number"), ("m1", "2", "toknumber")]
    for merchant_id, token, field in places:
        key = DataKey(DEK, 1, merchant_id)
        records = key.seal({field: lambda: b"x"}, token=token, random_bytes=os.urandom)
        for other in places:
            (opened,) = DataKey(DEK, 1, other[0]).unseal({other[2]: records[field]}, token=other[1])
            assert opened == (b"x" if other == (merchant_id, token, field) else None)


def test_a_record_says_which_key_it_needs_and_no_other_will_do(shop: Shop, card: Card) -> None:
    shop.add_key(ACME, KeyPurpose.DATA, 2)
    sealed = shop.vault.seal(ACME, card)
    assert sealed.key_version == 2

    assert isinstance(
        refusal(lambda: opens(shop.vault, evolve(sealed, key_version=1))), VaultIntegrityError
    )
    missing = refusal(lambda: opens(shop.vault, evolve(sealed, key_version=3)))
    assert missing.code is ErrorCode.VAULT_KEY_MISSING


# -- tokens ----------------------------------------------------------------------------------------


def test_a_token_is_an_id_like_any_other(shop: Shop, card: Card) -> None:
    token = shop.vault.seal(ACME, card).id

    assert clean_id(token, prefix="tok", field="token") == token


def test_tokens_do_not_repeat_and_use_all_their_bits(shop: Shop) -> None:
    tokens = {shop.vault._new_token() for _ in range(5_000)}

    assert len(tokens) == 5_000
    for place in range(4, 30):
        assert len({token[place] for token in tokens}) == (8 if place == 4 else 32)


def drawn_next(draws: Iterator[bytes], size: int) -> bytes:
    drawn = next(draws)
    assert len(drawn) == size
    return drawn


@pytest.mark.parametrize("digits", range(12, 27))
def test_a_token_that_reads_like_a_number_is_drawn_again(shop: Shop, digits: int) -> None:
    """Drawn to have that many digits in a row first, at its beginning or at its end."""
    letter, digit = bytes((10,)), bytes((4,))
    for first in (digit * digits + letter * (26 - digits), letter * (26 - digits) + digit * digits):
        draws = iter([first, letter * 26])
        vault = shop.another_vault(random_bytes=partial(drawn_next, draws))

        assert vault._new_token() == "tok_2" + "a" * 25


@given(st.binary(min_size=26, max_size=26))
def test_no_token_has_as_many_digits_in_a_row_as_a_card(steady: Shop, drawn: bytes) -> None:
    draws = iter([drawn, bytes((10,)) * 26])
    vault = steady.another_vault(random_bytes=partial(drawn_next, draws))

    assert not re.search(r"[0-9]{12}", vault._new_token())


# -- fingerprints ----------------------------------------------------------------------------------


@given(card=cards(), other=cards())
def test_cards_have_the_same_fingerprint_when_their_numbers_are(
    steady: Shop, card: Card, other: Card
) -> None:
    """Expiry and name do not matter: a renewed card is the same card."""
    renewed = Card(card.number.reveal(), (1, 2099), "Somebody Else")
    of_card, of_other = (steady.vault.fingerprints(ACME, each) for each in (card, other))

    assert [len(each) for each in of_card] == [32]
    assert steady.vault.fingerprints(ACME, renewed) == of_card
    assert (of_card == of_other) is card.number.same_as(other.number)


def test_merchants_cannot_compare_their_cards(shop: Shop, card: Card) -> None:
    assert shop.vault.fingerprints(ACME, card) != shop.vault.fingerprints(BOOKS, card)


def test_even_with_one_key_merchants_differ(card: Card) -> None:
    vault = Shop(KnownKeys()).vault

    assert vault.fingerprints(ACME, card) != vault.fingerprints(BOOKS, card)


def test_after_a_rotation_the_newest_comes_first_and_the_older_are_still_known(
    shop: Shop, card: Card
) -> None:
    (before,) = shop.vault.fingerprints(ACME, card)
    for version in (2, 3, 10):
        shop.add_key(ACME, KeyPurpose.FINGERPRINT, version)
        newest, *_ = shop.another_vault().fingerprints(ACME, card)
    shop.vault.forget(ACME)

    now = shop.vault.fingerprints(ACME, card)
    assert len(set(now)) == 4
    assert now[-1] == before
    assert now[0] == newest


# -- leaks -----------------------------------------------------------------------------------------


def test_the_vault_keeps_nothing_of_a_card(shop: Shop, card: Card) -> None:
    sealed = shop.vault.seal(ACME, card, postal_code="SW1A 1AA")
    opens(shop.vault, sealed)
    shop.vault.fingerprints(ACME, card)
    texts = list(reachable_text(shop))

    for private in (*forms_of(NUMBER), "Ada Lovelace", "SW1A 1AA"):
        assert not any(private in text for text in texts)


def test_no_repr_shows_a_key_or_a_card(shop: Shop, card: Card) -> None:
    sealed = shop.vault.seal(ACME, card)
    opened = opens(shop.vault, sealed)
    shop.vault.fingerprints(ACME, card)
    (ring,) = shop.vault._cache._rings.values()
    shown = "".join(map(repr, [sealed, opened, ring, vars(shop.vault), vars(shop.vault._cache)]))

    assert NUMBER not in shown
    for key in (ring.data_keys[1]._key, ring.fingerprint_keys[1]._key):
        assert repr(key)[2:-1] not in shown


def test_neither_vault_nor_keys_nor_an_open_card_can_be_pickled(shop: Shop, card: Card) -> None:
    opened = opens(shop.vault, shop.vault.seal(ACME, card))
    shop.vault.fingerprints(ACME, card)
    (ring,) = shop.vault._cache._rings.values()

    for thing in (shop.vault, ring, *ring.data_keys.values(), opened):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError):
                pickle.dumps(thing, protocol)


def test_no_frame_holds_a_card_when_chance_itself_fails(shop: Shop, card: Card) -> None:
    """Whichever draw of random bytes fails, the card is not yet in any local variable."""
    for draws in range(4):
        left = iter(range(draws))

        def fails(size: int, left: Iterator[int] = left) -> bytes:
            if next(left, None) is None:
                raise OSError("no random bytes")
            return os.urandom(size)

        vault = shop.another_vault(random_bytes=fails)
        with pytest.raises(OSError, match="no random bytes") as caught:
            vault.seal(ACME, card)
        assert not list(frames_with(NUMBER, caught.value))


def test_no_frame_holds_a_card_when_a_record_is_refused(shop: Shop, card: Card) -> None:
    sealed = shop.vault.seal(ACME, card)
    broken = sealed.details[:-1] + bytes((sealed.details[-1] ^ 1,))
    error = refusal(lambda: opens(shop.vault, evolve(sealed, details=broken)))

    assert not list(frames_with(NUMBER, error))


def frames_with(text: str, error: BaseException) -> Iterator[str]:
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if "_engine" in frame.f_code.co_filename and text in repr(frame.f_locals):
            yield frame.f_code.co_name
        trace = trace.tb_next


def test_the_vault_writes_nothing_itself(card: Card) -> None:
    class ReadOnly(MemoryStorage):
        def commit(self, changes: Changes) -> None:
            if frozen:
                raise AssertionError("the vault commits nothing")
            super().commit(changes)

    frozen = False
    shop = Shop()
    shop.storage = ReadOnly()
    vault = shop.another_vault()
    shop.commit(*vault.new_merchant_keys(ACME))
    frozen = True

    assert can_open(vault, vault.seal(ACME, card))
    assert vault.fingerprints(ACME, card)
    assert vault.new_merchant_keys("mer_new")


def test_the_helpers_here_are_key_services() -> None:
    """mypy sees it; and what counts the calls must not change what they do."""
    keys: KeyService = CountingKeys()

    assert keys.unwrap(keys.wrap(DEK, {}), {}) == DEK
