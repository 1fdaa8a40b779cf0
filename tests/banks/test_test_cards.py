"""The table of test cards: the numbers people know mean what they mean everywhere."""

import pytest
from bank_requests import Clock, Counter
from hypothesis import given
from hypothesis import strategies as st

from payplatform._domain.card_numbers import luhn_check_digit, luhn_valid
from payplatform._domain.cards import Brand
from payplatform._domain.declines import DeclineCode
from payplatform.banks import simulated
from payplatform.banks._test_cards import card_behind
from payplatform.banks.simulated import (
    TEST_CARDS,
    Challenge,
    Fault,
    Refunds,
    SimulatedBank,
    TestCard,
)
from payplatform.ports import ReplyOutcome

# Written down again from what the public lists have in common, not read from our table.
WELL_KNOWN = {
    "4242424242424242": "approved",
    "4111111111111111": "approved",
    "5555555555554444": "approved",
    "378282246310005": "approved",
    "6011111111111117": "approved",
    "3056930009020004": "approved",
    "36227206271667": "approved",
    "3566002020360505": "approved",
    "6200000000000005": "approved",
    "4000000000000002": "generic_decline",
    "4000000000009995": "insufficient_funds",
    "4000000000009987": "lost_card",
    "4000000000009979": "stolen_card",
    "4000000000000069": "expired_card",
    "4000000000000127": "incorrect_security_code",
    "4000000000000119": "processing_error",
    "4000000000006975": "velocity_exceeded",
    "4000000000003220": "requires_action",
    "4000002500003155": "requires_action",
    "4000008260003178": "requires_action",
    "4000000000003055": "approved",
    "4000000000000101": "approved",
    "4000000000000036": "approved",
}
BRANDS = [
    Brand.VISA,
    Brand.MASTERCARD,
    Brand.MAESTRO,
    Brand.AMEX,
    Brand.DINERS,
    Brand.DISCOVER,
    Brand.JCB,
    Brand.UNIONPAY,
]
LISTED = {card.number: card for card in TEST_CARDS}

any_card = pytest.mark.parametrize("card", TEST_CARDS, ids=lambda card: card.number)


def sale(card: TestCard, counter: Counter, operation_id: str = "op_1") -> str:
    code = "1234" if card.brand is Brand.AMEX else "123"
    return counter.outcome("sale", operation_id, card=card.number, code=code).partition("/")[0]


@pytest.fixture
def counter() -> Counter:
    return Counter(SimulatedBank(now=Clock()))


@pytest.mark.parametrize(("number", "outcome"), WELL_KNOWN.items())
def test_a_well_known_number_does_what_it_is_known_for(
    counter: Counter, number: str, outcome: str
) -> None:
    assert sale(LISTED[number], counter) == outcome


@any_card
def test_a_card_does_what_its_row_says(counter: Counter, card: TestCard) -> None:
    answered: dict[Fault | None, str] = {
        None: card.outcome,
        Fault.APPROVE_IN_PART: "approved",
        Fault.CONTRADICT: "generic_decline",
    }
    if card.fault in answered:
        assert sale(card, counter) == answered[card.fault]
        return
    with pytest.raises(Exception, match="simulated bank"):
        sale(card, counter)


@any_card
def test_a_number_is_a_card_number_and_unique(card: TestCard) -> None:
    assert luhn_valid(card.number)
    assert card.brand is not Brand.UNKNOWN
    assert LISTED[card.number] is card


@any_card
def test_a_decline_brings_its_code_and_advice(counter: Counter, card: TestCard) -> None:
    if card.decline is None:
        return
    reply = counter.send("authorize", "op_1", card=card.number)

    assert reply.decline is not None
    assert reply.decline.code is card.decline
    assert reply.decline.advice_code == card.advice_code
    assert counter.effects("op_1") == 0


def test_a_decline_tells_the_issuers_own_code(counter: Counter) -> None:
    """Insufficient funds is 51 in ISO 8583, generic reasons and expiry have theirs too."""
    told = {
        number: counter.outcome("sale", number, card=number)
        for number in ("4000000000009995", "4000000000000069", "4000000000009987")
    }

    assert list(told.values()) == ["insufficient_funds/51", "expired_card/54", "lost_card/41"]


def test_every_decline_has_a_card() -> None:
    assert {card.decline for card in TEST_CARDS} >= set(DeclineCode)


def test_every_brand_with_a_well_known_number_has_a_card_that_approves() -> None:
    assert {card.brand for card in TEST_CARDS if card.outcome == "approved"} == set(BRANDS)


def test_numbers_of_our_own_are_told_by_their_beginning() -> None:
    """So that nobody takes them for numbers that other sandboxes know."""
    ours = {card.number for card in TEST_CARDS if card.number.startswith("400000000001")}
    declines = {card.number for card in TEST_CARDS if card.decline} - set(WELL_KNOWN)

    assert declines - ours == {"4100000000000019"}


@pytest.mark.parametrize(
    ("number", "code", "postal"),
    [
        ("4242424242424242", "match", "match"),
        ("4000000000000101", "mismatch", "match"),
        ("4000000000000127", "mismatch", "match"),
        ("4000000000000036", "match", "mismatch"),
        ("4000000000000010", "match", "mismatch"),
        ("4000000000010167", "match", "mismatch"),
        ("4000000000000044", "not_checked", "not_checked"),
    ],
)
def test_checks_are_told(counter: Counter, number: str, code: str, postal: str) -> None:
    for kind in ("sale", "verify"):
        amount_minor = 100 if kind == "sale" else 0
        reply = counter.send(kind, f"op_{kind}", amount_minor, card=number)

        assert (str(reply.security_code), str(reply.postal_code)) == (code, postal)


def test_without_a_security_code_none_is_checked(counter: Counter) -> None:
    for number in ("4242424242424242", "4000000000000101"):
        reply = counter.send("sale", f"op_{number}", card=number, code=None)

        assert str(reply.security_code) == "not_checked"


@any_card
def test_a_challenge_once_passed_comes_to_what_its_row_says(
    counter: Counter, card: TestCard
) -> None:
    if card.challenge is Challenge.NEVER:
        return
    sale(card, counter)
    counter.bank.complete_challenge("op_1")

    outcome = counter.outcome("resume", "op_2", target_id="op_1").partition("/")[0]

    assert outcome == ("approved" if card.after_challenge is None else card.after_challenge)


@any_card
def test_refunds_come_to_what_their_row_says(counter: Counter, card: TestCard) -> None:
    if card.refunds is Refunds.APPROVED:
        return
    sale(card, counter)

    reply = counter.send("refund", "op_2", 60, target_id="op_1")

    at_once = {Refunds.DECLINED: ReplyOutcome.DECLINED, Refunds.TAKEN_BACK: ReplyOutcome.APPROVED}
    assert reply.outcome is at_once.get(card.refunds, ReplyOutcome.PENDING)


@given(partial=st.from_regex(r"[1-9][0-9]{14}", fullmatch=True))
def test_a_card_that_is_not_listed_is_approved(partial: str) -> None:
    number = partial + luhn_check_digit(partial)
    outcome = card_behind(number).outcome

    assert outcome == ("approved" if number not in LISTED else LISTED[number].outcome)


def test_the_table_for_people_has_every_card() -> None:
    rows = simulated.test_cards_table()

    assert [row[0].replace(" ", "") for row in rows] == [card.number for card in TEST_CARDS]
    assert rows[0] == ("4242 4242 4242 4242", "visa", "approved", "Approved.")
    assert ("3782 822463 10005", "amex", "approved", "Approved.") in rows
    assert all(words.endswith(".") for *_, words in rows)
