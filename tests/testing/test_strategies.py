"""The strategies draw what their names say, and everything that they are there to draw."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from typeid import TypeID

from payplatform import Card, InvalidRequest, Money
from payplatform._domain._iso4217 import EXPONENTS
from payplatform._domain.brands import RULES, Brand, brand_of
from payplatform._domain.card_numbers import luhn_valid
from payplatform._domain.cards import card_expiry, security_code
from payplatform._domain.money import MAX_MINOR
from payplatform._domain.text import (
    ID_PREFIXES,
    clean_id,
    clean_metadata,
    clean_text,
    idempotency_key,
)
from payplatform.banks.simulated import Fault
from payplatform.testing import Bench, Command, FakeClock, SeededIds, sequential_ids, strategies

BRANDS = [brand for brand in Brand if brand is not Brand.UNKNOWN]


def reaches(strategy: st.SearchStrategy[Any], is_wanted: Callable[[Any], bool]) -> bool:
    """Whether a strategy draws such a thing: raises NoSuchExample where it does not."""
    tries = settings(max_examples=3_000, database=None, phases=[Phase.generate], derandomize=True)
    find(strategy, is_wanted, settings=tries)
    return True


def _drawn(strategy: st.SearchStrategy[str]) -> set[str]:
    """Several hundred that a strategy draws."""
    drawn: set[str] = set()

    @settings(max_examples=400, database=None, phases=[Phase.generate], derandomize=True)
    @given(strategy)
    def draw(value: str) -> None:
        drawn.add(value)

    draw()
    return drawn


# -- money, cards, texts


@given(money=strategies.money())
def test_money_is_something_and_can_be_added_up(money: Money) -> None:
    assert 1 <= money.amount_minor <= 1_000_000
    assert money * 1_000 > money


@given(
    money=strategies.money(strategies.currencies([0]), min_minor=-MAX_MINOR, max_minor=MAX_MINOR)
)
def test_money_may_be_any_money_there_is(money: Money) -> None:
    assert EXPONENTS[money.currency] == 0


def test_money_reaches_every_exponent_and_both_ends() -> None:
    assert {EXPONENTS[code] for code in _drawn(strategies.currencies())} == {0, 2, 3, 4}
    wide = strategies.money(min_minor=-MAX_MINOR, max_minor=MAX_MINOR)
    assert reaches(wide, lambda money: money.amount_minor == MAX_MINOR)
    assert reaches(wide, lambda money: money.amount_minor < 0)


@pytest.mark.parametrize("brand", BRANDS)
@given(data=st.data())
@settings(max_examples=20)
def test_card_numbers_are_of_the_brand_and_right(brand: Brand, data: st.DataObject) -> None:
    digits = data.draw(strategies.card_numbers(brand))

    assert brand_of(digits) is brand
    assert luhn_valid(digits)
    assert len(digits) in RULES[brand].lengths
    assert Card(digits, "12/30").brand is brand


@pytest.mark.parametrize("brand", BRANDS)
def test_card_numbers_have_every_length_of_the_brand(brand: Brand) -> None:
    assert {len(digits) for digits in _drawn(strategies.card_numbers(brand))} == RULES[
        brand
    ].lengths


def test_card_numbers_are_of_every_brand() -> None:
    assert {brand_of(digits) for digits in _drawn(strategies.card_numbers())} == set(BRANDS)


def test_the_plainest_card_is_not_one_that_the_simulated_bank_declines() -> None:
    """Hypothesis shrinks a visa to 4, zeros and a check digit: the best known declined card."""
    simplest = find(strategies.card_numbers("visa"), lambda digits: len(digits) == 16)

    assert simplest != "4000000000000002"
    with Bench() as bench:
        method = bench.shop.payment_methods.create(card=Card(simplest, "12/30"))
        payment = bench.shop.payments.charge(
            Money("1", "EUR"), payment_method=method.id, idempotency_key="1"
        )
    assert payment.status == "captured"


@given(card=strategies.cards(), amount=strategies.money())
def test_every_card_is_approved_by_the_simulated_bank(card: Card, amount: Money) -> None:
    with Bench() as bench:
        method = bench.shop.payment_methods.create(card=card)
        payment = bench.shop.payments.charge(
            amount, payment_method=method.id, idempotency_key="order-1"
        )
    assert payment.status == "captured"
    assert payment.captured == amount


@given(expiry=strategies.expiries(2040, 2042))
def test_expiries_are_read_whatever_their_form(expiry: str) -> None:
    assert 2040 <= card_expiry(expiry).year <= 2042


@given(data=st.data(), brand=st.sampled_from(Brand))
def test_security_codes_fit_the_brand(data: st.DataObject, brand: Brand) -> None:
    code = data.draw(strategies.security_codes(brand))
    assert security_code(code, brand).reveal() == code


@given(key=strategies.idempotency_keys())
def test_idempotency_keys_are_taken(key: str) -> None:
    assert idempotency_key(key) == key


@given(text=strategies.plain_text(max_size=30))
def test_plain_text_is_taken(text: str) -> None:
    assert clean_text(text, field="name", max_length=30)


@given(metadata=strategies.metadata())
def test_metadata_is_taken(metadata: dict[str, str]) -> None:
    assert len(clean_metadata(metadata)) == len(metadata)


def test_hostile_text_is_of_every_sort() -> None:
    hostile = strategies.hostile_text()
    assert reaches(hostile, lambda text: "\0" in text)
    assert reaches(hostile, lambda text: any("\ud800" <= letter <= "\udfff" for letter in text))
    assert reaches(hostile, lambda text: "\u202e" in text)
    assert reaches(hostile, lambda text: not text)
    assert reaches(hostile, lambda text: len(text) > 5_000)
    assert reaches(hostile, lambda text: "DROP TABLE" in text)
    assert reaches(hostile, lambda text: text.isdigit() and luhn_valid(text) and len(text) > 12)


@given(text=strategies.hostile_text())
def test_hostile_text_is_kept_as_it_is_or_refused_by_name(text: str) -> None:
    with Bench() as bench:
        refused = None
        try:
            bench.shop.customers.create(name=text)
        except InvalidRequest as error:
            refused = error.field
        names = [customer.name for customer in bench.shop.customers.list()]
    assert (refused, names) in [("name", []), (None, [unicodedata.normalize("NFC", text)])]


# -- commands, and the bench that plays them


@given(commands=strategies.commands())
@settings(max_examples=40)
def test_a_shop_on_the_bench_agrees_with_its_bank_after_any_commands(
    commands: list[Command],
) -> None:
    with Bench() as bench:
        for command in commands:
            bench.play(command)
        bench.settle()
        unresolved = list(bench.shop.operations.list_unresolved())
        differences = bench.differences()
    assert {operation.state for operation in unresolved} <= {"needs_review"}
    unclear = {operation.subject_id for operation in unresolved}
    assert [words for words in differences if words.partition(":")[0] not in unclear] == []


def test_a_bench_has_settled_when_even_an_authorization_is_over() -> None:
    with Bench() as bench:
        bench.play(Command(verb="authorize", amount_minor=100))
        bench.settle()
        (payment,) = bench.shop.payments.list()
    assert payment.status == "expired"


@given(commands=strategies.commands(faults=(), cards=["approves"]))
@settings(max_examples=20)
def test_without_faults_nothing_is_ever_unclear(commands: list[Command]) -> None:
    with Bench() as bench:
        told = [bench.play(command) for command in commands]
    assert not any(each.error is not None and each.error.retryable for each in told)


@pytest.mark.parametrize(
    "reached",
    [
        lambda seen: seen["captured"] > 1,
        lambda seen: seen["partially_refunded"],
        lambda seen: seen["refunded"],
        lambda seen: seen["voided"],
        lambda seen: seen["partially_captured"],
        lambda seen: seen["expired"],
        lambda seen: seen["declined"],
        lambda seen: seen["requires_action"],
        lambda seen: seen["outcome_unknown"],
        lambda seen: seen["not_sent"],
        lambda seen: seen["amount_exceeds_refundable"],
        lambda seen: seen["replayed"],
    ],
)
def test_commands_get_everywhere(reached: Callable[[Counter[str]], bool]) -> None:
    def gets_there(commands: list[Command]) -> bool:
        seen = Counter[str]()
        with Bench() as bench:
            for command in commands:
                told = bench.play(command)
                if told.error is not None:
                    seen[str(told.error.code)] += 1
                if told.payment is not None:
                    seen["replayed"] += told.payment.replayed
            seen.update(str(payment.status) for payment in bench.shop.payments.list())
        return bool(reached(seen))

    assert reaches(strategies.commands(), gets_there)


def test_the_bench_sees_books_that_part() -> None:
    """Else the property above could not fail: here time has passed, and recovery has not run."""
    with Bench() as bench:
        bench.play(Command(verb="authorize", amount_minor=100))
        assert bench.differences() == []
        payment = bench.shop.payments.get(bench.payments[0])
        bench.clock.advance(days=8)
        [difference] = bench.differences()
    assert difference == f"{payment.id}: expired is 0, at the bank 100"


def test_a_fault_of_a_command_strikes_no_other_command() -> None:
    with Bench() as bench:
        bench.play(Command(verb="capture", fault=Fault.LOSE_REPLY))
        assert bench.play(Command(verb="charge", amount_minor=100)).error is None
        told = bench.play(Command(verb="refund", amount_minor=1, fault=Fault.LOSE_REPLY))
        assert told.error is not None
        assert told.error.code == "outcome_unknown"
        assert bench.play(Command(verb="repeat")).payment is not None


def test_a_verb_that_is_none_is_refused() -> None:
    with Bench() as bench, pytest.raises(ValueError, match="no verb"):
        bench.play(Command(verb="chargeback"))


# -- the clock and the ids


def test_a_fake_clock_stands_still_until_it_is_told_otherwise() -> None:
    clock = FakeClock()
    start = clock()

    assert clock() == start
    assert start.utcoffset() == timedelta(0)
    assert clock.advance(timedelta(minutes=1), seconds=1, hours=1, days=1) == clock()
    assert clock() - start == timedelta(days=1, hours=1, minutes=1, seconds=1)


def test_a_fake_clock_goes_back_only_when_it_is_set() -> None:
    clock = FakeClock(datetime(2030, 1, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="forward"):
        clock.advance(seconds=-1)
    assert clock() == datetime(2030, 1, 1, tzinfo=UTC)

    clock.set(datetime(2029, 12, 31, tzinfo=UTC))
    assert clock() == datetime(2029, 12, 31, tzinfo=UTC)


def test_a_fake_clock_wants_a_time_zone() -> None:
    for call in (FakeClock, FakeClock().set):
        with pytest.raises(ValueError, match="time zone"):
            call(datetime(2030, 1, 1))  # noqa: DTZ001  # a time without one is the point


@given(seed=st.integers(), prefixes=st.lists(st.sampled_from(sorted(ID_PREFIXES)), min_size=1))
def test_seeded_ids_are_the_same_for_the_same_seed(seed: int, prefixes: list[str]) -> None:
    one, two = SeededIds(seed), SeededIds(seed)
    assert [one(prefix) for prefix in prefixes] == [two(prefix) for prefix in prefixes]


@pytest.mark.parametrize("maker", [SeededIds, sequential_ids])
def test_made_up_ids_are_ids_and_grow(maker: Callable[[], Callable[[str], str]]) -> None:
    new_id = maker()
    made = [new_id("pay") for _ in range(500)]

    assert made == sorted(set(made))
    for id_ in made:
        assert clean_id(id_, prefix="pay", field="payment_id") == id_
        assert str(TypeID.from_string(id_)) == id_


def test_seeded_ids_differ_between_seeds_and_are_of_version_7() -> None:
    assert SeededIds(1)("pay") != SeededIds(2)("pay")
    assert TypeID.from_string(SeededIds(1)("pay")).uuid.version == 7


# -- the package


def test_every_name_of_the_test_kit_leads_somewhere() -> None:
    import payplatform.testing as kit

    for name in kit.__all__:
        assert getattr(kit, name) is not None
        assert name in dir(kit)
    with pytest.raises(AttributeError, match="no attribute 'storage'"):
        getattr(kit, "storage")  # noqa: B009  # as an attribute, mypy would refuse it
