"""The taxonomy of declines: the design's table written down again, and what must hold of it."""

from __future__ import annotations

import pickle
import string
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payplatform._domain.declines import (
    BANK_CODE_MAX_LENGTH,
    CARD_DECLINED,
    DECLINE_RULES,
    ISO8583_DECLINES,
    MASTERCARD_DECLINES,
    MERCHANT_ADVICE,
    NOT_DECLINES,
    Advice,
    Decline,
    DeclineCode,
    DeclineKind,
)
from payplatform.errors import ErrorCode, InvalidRequest

THE_DESIGN = {
    "hard": "lost_card stolen_card pickup_card closed_account invalid_account card_blocked "
    "revocation_of_authorization stop_recurring fraud_confirmed do_not_try_again",
    "soft": "insufficient_funds limit_exceeded velocity_exceeded do_not_honor generic_decline "
    "issuer_unavailable try_again_later suspected_fraud call_issuer",
    "fix_data": "incorrect_number invalid_expiry expired_card incorrect_security_code "
    "incorrect_postal_code address_mismatch invalid_amount duplicate_transaction",
    "needs_auth": "authentication_required authentication_failed pin_required",
    "config": "card_not_supported currency_not_supported transaction_not_allowed "
    "merchant_misconfigured",
    "technical": "processing_error bank_error rate_limited",
}
TELLS_A_THIEF = [
    DeclineCode.LOST_CARD,
    DeclineCode.STOLEN_CARD,
    DeclineCode.PICKUP_CARD,
    DeclineCode.CARD_BLOCKED,
    DeclineCode.FRAUD_CONFIRMED,
    DeclineCode.SUSPECTED_FRAUD,
    DeclineCode.VELOCITY_EXCEEDED,
    DeclineCode.DO_NOT_TRY_AGAIN,
]
# Visa's categories, as acquirers publish them: 1 is never to be attempted again, 2 may be.
VISA_NEVER_AGAIN = ["04", "07", "12", "14", "15", "41", "43", "46", "57", "R0", "R1", "R3"]
VISA_NOT_NOW = ["03", "19", "51", "59", "61", "62", "65", "75", "78", "91", "93", "96", "5C", "9G"]

ALPHANUMERIC = string.digits + string.ascii_letters
EVERY_RESPONSE_CODE = [first + second for first in ALPHANUMERIC for second in ALPHANUMERIC]

codes = st.sampled_from(DeclineCode)
raw_codes = st.from_regex(r"[A-Z0-9_.-]{1,11}", fullmatch=True)
advice_codes = st.none() | st.sampled_from(sorted(MERCHANT_ADVICE)) | raw_codes
declines = st.builds(Decline, code=codes, bank_code=st.none() | raw_codes, advice_code=advice_codes)


def may_be_tried_again_unchanged(decline: Decline) -> bool:
    return decline.advice in {Advice.RETRY_LATER, Advice.CONTACT_ISSUER}


# The table


def test_the_codes_and_kinds_are_those_of_the_design_and_no_others() -> None:
    kinds = {code: kind for kind, row in THE_DESIGN.items() for code in row.split()}
    assert {code.value: Decline(code=code).kind.value for code in DeclineCode} == kinds
    assert {kind.value for kind in DeclineKind} == set(THE_DESIGN)


def test_every_code_has_a_row() -> None:
    assert set(DECLINE_RULES) == set(DeclineCode)


def test_the_tables_cannot_be_changed() -> None:
    for table in (DECLINE_RULES, ISO8583_DECLINES, MASTERCARD_DECLINES, MERCHANT_ADVICE):
        with pytest.raises(TypeError):
            table["05"] = None  # type: ignore[index]  # what cannot be done is what is tested


@given(codes)
def test_a_waiting_time_is_there_exactly_where_waiting_is_advised(code: DeclineCode) -> None:
    decline = Decline(code=code)
    waits = decline.retry_after is not None
    assert waits == may_be_tried_again_unchanged(decline)
    assert waits == (decline.kind in {DeclineKind.SOFT, DeclineKind.TECHNICAL})
    if decline.retry_after is not None:
        assert timedelta(0) < decline.retry_after <= timedelta(days=10)


@given(codes, advice_codes)
def test_a_hard_decline_never_advises_another_attempt(
    code: DeclineCode, advice_code: str | None
) -> None:
    decline = Decline(code=code, advice_code=advice_code)
    if decline.kind is DeclineKind.HARD:
        assert (decline.advice, decline.retry_after) == (Advice.DO_NOT_RETRY, None)


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (DeclineKind.HARD, {Advice.DO_NOT_RETRY}),
        (DeclineKind.SOFT, {Advice.RETRY_LATER, Advice.CONTACT_ISSUER}),
        (DeclineKind.FIX_DATA, {Advice.CORRECT_AND_RETRY}),
        (DeclineKind.NEEDS_AUTH, {Advice.AUTHENTICATE_AND_RETRY}),
        (DeclineKind.CONFIG, {Advice.DO_NOT_RETRY, Advice.CONTACT_ACQUIRER}),
        (DeclineKind.TECHNICAL, {Advice.RETRY_LATER}),
    ],
)
def test_each_kind_has_its_advice(kind: DeclineKind, advice: set[Advice]) -> None:
    assert {rule.advice for rule in DECLINE_RULES.values() if rule.kind is kind} == advice


# What is said, and to whom


@pytest.mark.parametrize("code", TELLS_A_THIEF)
def test_what_would_help_a_thief_reads_like_any_other_decline(code: DeclineCode) -> None:
    decline, any_other = Decline(code=code), Decline(code=DeclineCode.GENERIC_DECLINE)
    assert decline.customer_message == any_other.customer_message == CARD_DECLINED
    assert not decline.code_may_be_shown


@given(codes)
def test_the_code_may_be_shown_where_the_reason_is_told(code: DeclineCode) -> None:
    decline = Decline(code=code)
    assert decline.code_may_be_shown == (decline.customer_message != CARD_DECLINED)


def test_most_reasons_are_told_to_the_customer() -> None:
    assert Decline(code=DeclineCode.INSUFFICIENT_FUNDS).code_may_be_shown
    assert sum(Decline(code=code).code_may_be_shown for code in DeclineCode) > len(DeclineCode) / 2


@given(declines)
def test_no_message_holds_anything_the_bank_sent(decline: Decline) -> None:
    for text in (decline.message, decline.customer_message):
        assert text == text.strip()
        assert text.endswith(".")
        assert len(text) <= 100
        assert not any(character.isdigit() for character in text)
        assert "_" not in text


def test_the_customer_is_never_told_of_theft_loss_or_fraud() -> None:
    for code in DeclineCode:
        words = Decline(code=code).customer_message.lower()
        assert not any(word in words for word in ("fraud", "stolen", "lost", "thief", "keep"))


# ISO 8583


def refusal_of(response: Any, **more: Any) -> InvalidRequest | None:
    try:
        Decline.from_iso8583(response, **more)
    except InvalidRequest as refused:
        return refused
    return None


def test_every_response_code_is_a_decline_or_known_not_to_be_one() -> None:
    for response in EVERY_RESPONSE_CODE:
        if response.upper() in NOT_DECLINES:
            refused = refusal_of(response)
            assert refused is not None
            assert (refused.code, refused.field) == (ErrorCode.VALUE_INVALID, "code")
        else:
            expected = ISO8583_DECLINES.get(response.upper(), DeclineCode.GENERIC_DECLINE)
            decline = Decline.from_iso8583(response)
            assert decline == Decline(code=expected, bank_code=response)


@given(st.text() | st.text(min_size=2, max_size=2) | st.integers() | st.none() | st.binary())
def test_what_is_no_response_code_is_refused_and_nothing_else_is_raised(value: Any) -> None:
    refused = refusal_of(value)
    if refused is None:
        assert value in EVERY_RESPONSE_CODE
    else:
        assert refused.field == "code"
        assert refused.__context__ is None


@pytest.mark.parametrize("response", ["00", "08", "10", "11", "16", "85", "09", "68"])
def test_an_approval_or_an_open_outcome_never_becomes_a_decline(response: str) -> None:
    for brand in (None, "visa", "mastercard"):
        assert refusal_of(response, brand=brand, advice_code="03") is not None


@pytest.mark.parametrize(
    ("response", "code"),
    [
        ("01", DeclineCode.CALL_ISSUER),
        ("03", DeclineCode.MERCHANT_MISCONFIGURED),
        ("04", DeclineCode.PICKUP_CARD),
        ("05", DeclineCode.DO_NOT_HONOR),
        ("07", DeclineCode.PICKUP_CARD),
        ("12", DeclineCode.TRANSACTION_NOT_ALLOWED),
        ("13", DeclineCode.INVALID_AMOUNT),
        ("14", DeclineCode.INCORRECT_NUMBER),
        ("15", DeclineCode.INVALID_ACCOUNT),
        ("19", DeclineCode.TRY_AGAIN_LATER),
        ("41", DeclineCode.LOST_CARD),
        ("43", DeclineCode.STOLEN_CARD),
        ("46", DeclineCode.CLOSED_ACCOUNT),
        ("51", DeclineCode.INSUFFICIENT_FUNDS),
        ("54", DeclineCode.EXPIRED_CARD),
        ("55", DeclineCode.PIN_REQUIRED),
        ("57", DeclineCode.TRANSACTION_NOT_ALLOWED),
        ("59", DeclineCode.SUSPECTED_FRAUD),
        ("61", DeclineCode.LIMIT_EXCEEDED),
        ("62", DeclineCode.TRANSACTION_NOT_ALLOWED),
        ("63", DeclineCode.SUSPECTED_FRAUD),
        ("65", DeclineCode.VELOCITY_EXCEEDED),
        ("75", DeclineCode.CALL_ISSUER),
        ("78", DeclineCode.CALL_ISSUER),
        ("82", DeclineCode.INCORRECT_SECURITY_CODE),
        ("91", DeclineCode.ISSUER_UNAVAILABLE),
        ("93", DeclineCode.TRANSACTION_NOT_ALLOWED),
        ("94", DeclineCode.DUPLICATE_TRANSACTION),
        ("96", DeclineCode.PROCESSING_ERROR),
        ("1A", DeclineCode.AUTHENTICATION_REQUIRED),
        ("6P", DeclineCode.ADDRESS_MISMATCH),
        ("N7", DeclineCode.INCORRECT_SECURITY_CODE),
        ("n7", DeclineCode.INCORRECT_SECURITY_CODE),
        ("R0", DeclineCode.REVOCATION_OF_AUTHORIZATION),
        ("R1", DeclineCode.REVOCATION_OF_AUTHORIZATION),
        ("R3", DeclineCode.REVOCATION_OF_AUTHORIZATION),
        ("ZZ", DeclineCode.GENERIC_DECLINE),
    ],
)
def test_known_response_codes_mean_what_the_networks_say(response: str, code: DeclineCode) -> None:
    assert Decline.from_iso8583(response) == Decline(code=code, bank_code=response)


@pytest.mark.parametrize(
    ("response", "code"),
    [
        ("65", DeclineCode.AUTHENTICATION_REQUIRED),
        ("78", DeclineCode.INVALID_ACCOUNT),
        ("79", DeclineCode.GENERIC_DECLINE),
        ("82", DeclineCode.GENERIC_DECLINE),
        ("51", DeclineCode.INSUFFICIENT_FUNDS),
        ("ZZ", DeclineCode.GENERIC_DECLINE),
    ],
)
@pytest.mark.parametrize("brand", ["mastercard", "maestro", "Mastercard"])
def test_mastercard_reads_some_response_codes_otherwise(
    response: str, code: DeclineCode, brand: str
) -> None:
    assert Decline.from_iso8583(response, brand=brand).code is code


@pytest.mark.parametrize("response", VISA_NEVER_AGAIN)
def test_what_visa_never_wants_again_is_never_tried_again_unchanged(response: str) -> None:
    decline = Decline.from_iso8583(response, brand="visa")
    assert not may_be_tried_again_unchanged(decline)
    assert decline.retry_after is None


@pytest.mark.parametrize("response", VISA_NOT_NOW)
def test_what_visa_allows_to_be_tried_again_is_not_hard(response: str) -> None:
    assert Decline.from_iso8583(response, brand="visa").kind is not DeclineKind.HARD


def test_no_response_code_has_two_meanings_in_one_table() -> None:
    from payplatform._domain import declines

    for table in (declines._RESPONSE_CODES, declines._MASTERCARD_RESPONSE_CODES):
        listed = " ".join(table.values()).split()
        assert len(listed) == len(set(listed))
        assert all(len(response) == 2 and response == response.upper() for response in listed)
        assert not NOT_DECLINES & set(listed)


# Merchant Advice Codes


@pytest.mark.parametrize(
    ("advice_code", "advice", "retry_after"),
    [
        ("01", Advice.CORRECT_AND_RETRY, None),
        ("02", Advice.RETRY_LATER, timedelta(hours=72)),
        ("03", Advice.DO_NOT_RETRY, None),
        ("04", Advice.CONTACT_ACQUIRER, None),
        ("21", Advice.DO_NOT_RETRY, None),
        ("22", Advice.CONTACT_ACQUIRER, None),
        ("24", Advice.RETRY_LATER, timedelta(hours=1)),
        ("25", Advice.RETRY_LATER, timedelta(hours=24)),
        ("26", Advice.RETRY_LATER, timedelta(days=2)),
        ("27", Advice.RETRY_LATER, timedelta(days=4)),
        ("28", Advice.RETRY_LATER, timedelta(days=6)),
        ("29", Advice.RETRY_LATER, timedelta(days=8)),
        ("30", Advice.RETRY_LATER, timedelta(days=10)),
    ],
)
def test_a_soft_decline_follows_the_networks_advice(
    advice_code: str, advice: Advice, retry_after: timedelta | None
) -> None:
    decline = Decline(code=DeclineCode.DO_NOT_HONOR, bank_code="05", advice_code=advice_code)
    assert (decline.advice, decline.retry_after) == (advice, retry_after)


@given(codes, st.sampled_from(["40", "41", "43", "99", "zz"]))
def test_an_advice_code_that_advises_nothing_changes_nothing(
    code: DeclineCode, advice_code: str
) -> None:
    plain, described = Decline(code=code), Decline(code=code, advice_code=advice_code)
    assert (described.advice, described.retry_after) == (plain.advice, plain.retry_after)


@given(codes, st.sampled_from(["03", "21"]))
def test_forbidding_advice_forbids_whatever_the_code(code: DeclineCode, advice_code: str) -> None:
    decline = Decline(code=code, advice_code=advice_code)
    assert (decline.advice, decline.retry_after) == (Advice.DO_NOT_RETRY, None)


@given(st.sampled_from(sorted(ISO8583_DECLINES)), st.sampled_from(["03", "21"]))
def test_forbidding_advice_makes_a_response_code_hard(response: str, advice_code: str) -> None:
    decline = Decline.from_iso8583(response, advice_code=advice_code)
    assert decline.kind is DeclineKind.HARD
    assert (decline.bank_code, decline.advice_code) == (response, advice_code)


@pytest.mark.parametrize(
    ("response", "advice_code", "code"),
    [
        ("05", "03", DeclineCode.DO_NOT_TRY_AGAIN),
        ("05", "21", DeclineCode.STOP_RECURRING),
        ("41", "03", DeclineCode.LOST_CARD),
        ("05", "02", DeclineCode.DO_NOT_HONOR),
    ],
)
def test_forbidding_advice_decides_the_code_unless_it_is_hard_already(
    response: str, advice_code: str, code: DeclineCode
) -> None:
    assert Decline.from_iso8583(response, advice_code=advice_code).code is code


@given(st.sampled_from(["01", "02", "04", "24", "30"]))
def test_waiting_cures_neither_wrong_data_nor_a_missing_authentication(advice_code: str) -> None:
    expired = Decline(code=DeclineCode.EXPIRED_CARD, advice_code=advice_code)
    unproved = Decline(code=DeclineCode.AUTHENTICATION_REQUIRED, advice_code=advice_code)
    assert (expired.advice, expired.retry_after) == (Advice.CORRECT_AND_RETRY, None)
    assert (unproved.advice, unproved.retry_after) == (Advice.AUTHENTICATE_AND_RETRY, None)


# The value


@given(declines)
def test_a_decline_survives_pickling_and_hashes_by_value(decline: Decline) -> None:
    copy = pickle.loads(pickle.dumps(decline))  # noqa: S301  # our own bytes, just made
    assert copy == decline
    assert len({copy, decline}) == 1


def test_a_decline_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Decline(code=DeclineCode.DO_NOT_HONOR).bank_code = "51"  # type: ignore[misc]  # refused


@pytest.mark.parametrize("field", ["bank_code", "advice_code"])
@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", ErrorCode.TEXT_EMPTY),
        ("x" * (BANK_CODE_MAX_LENGTH + 1), ErrorCode.TEXT_TOO_LONG),
        ("5 1", ErrorCode.TEXT_NOT_PRINTABLE),
        ("51\x00", ErrorCode.TEXT_NOT_PRINTABLE),
        ("５１", ErrorCode.TEXT_NOT_PRINTABLE),  # noqa: RUF001  # full-width digits
        ("\ud800", ErrorCode.TEXT_NOT_PRINTABLE),
        ("4242424242424242", ErrorCode.LOOKS_LIKE_CARD_NUMBER),
        ("4242-4242-4242-4242", ErrorCode.LOOKS_LIKE_CARD_NUMBER),
        ("pan=501800000009", ErrorCode.LOOKS_LIKE_CARD_NUMBER),
        (51, ErrorCode.TYPE_INVALID),
        (b"51", ErrorCode.TYPE_INVALID),
    ],
)
def test_an_odd_raw_code_is_refused_by_name_and_never_repeated(
    field: str, value: Any, code: ErrorCode
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Decline(code=DeclineCode.DO_NOT_HONOR, **{field: value})
    assert (refused.value.code, refused.value.field) == (code, field)
    assert refused.value.__context__ is None
    assert "4242" not in str(refused.value) + repr(refused.value.__dict__)


def test_the_longest_raw_code_is_kept() -> None:
    longest = "insufficient_funds_".ljust(BANK_CODE_MAX_LENGTH, "x")
    assert Decline(code=DeclineCode.INSUFFICIENT_FUNDS, bank_code=longest).bank_code == longest


@pytest.mark.parametrize("code", ["lost_card", "no_such_code", None, 5])
def test_a_code_must_be_one_of_ours(code: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Decline(code=code)
    assert (refused.value.code, refused.value.field) == (ErrorCode.TYPE_INVALID, "code")
