"""The commands that move money: what they say in words and in JSON, and how they end."""

import shlex
from collections.abc import Callable
from typing import Any

import pytest
from command_line import (
    CHALLENGED,
    DOWN,
    GOOD,
    LOSES_REPLY,
    LOSES_REQUEST,
    POOR,
    Shell,
    typed,
)

NOBODYS = "pay_01h455vb4pex5vsknk084sn02q"


def eur(minor: int) -> dict[str, Any]:
    return {"amount": f"{minor // 100}.{minor % 100:02}", "currency": "EUR", "minor": minor}


def test_charge_takes_the_money_and_says_so(shell: Shell) -> None:
    said = shell("charge", "19.99", "EUR", "--card-stdin", typing=typed(GOOD))

    assert said.code == 0
    assert "captured    19.99 EUR" in said.out
    assert "visa ****4242" in said.out
    assert "idempotency key cli-" in said.err


def test_charge_answers_with_one_document(shell: Shell) -> None:
    document = shell.json(
        *("charge", "19.99", "EUR", "--card-stdin", "--reference", "order 7"),
        *("--metadata", "cart=17", "--metadata", "note="),
        typing=typed(GOOD),
    )

    payment = document["payment"]
    assert payment["status"] == "captured"
    assert payment["captured"] == payment["refundable"] == eur(1999)
    assert payment["card"] == {"brand": "visa", "last4": "4242", "country": "US"}
    assert payment["fees"] == eur(0)
    assert payment["reference"] == "order 7"
    assert payment["metadata"] == {"cart": "17", "note": ""}
    assert payment["allowed_operations"] == ["refund"]
    assert payment["decline"] is None
    assert document["payment_method_stored"] == payment["payment_method"]
    assert document["idempotency_key"].startswith("cli-")


def test_amounts_have_the_places_of_their_currency(shell: Shell) -> None:
    document = shell.json("charge", "1999", "JPY", "--card-stdin", typing=typed(GOOD))

    assert document["payment"]["amount"] == {"amount": "1999", "currency": "JPY", "minor": 1999}


def test_a_decline_is_exit_code_1_with_what_to_tell_and_what_to_do(shell: Shell) -> None:
    said = shell("charge", "45", "EUR", "--card-stdin", typing=typed(POOR))

    assert said.code == 1
    assert "The bank declined: insufficient_funds" in said.out
    assert "There is not enough money on this card." in said.out
    assert "try the same card again later" in said.out


def test_a_decline_is_told_whole_in_json(shell: Shell) -> None:
    said = shell("charge", "45", "EUR", "--card-stdin", "--json", typing=typed(POOR))

    assert said.code == 1
    assert said.document["payment"]["decline"] == {
        "code": "insufficient_funds",
        "kind": "soft",
        "advice": "retry_later",
        "retry_after_s": 86_400,
        "message": "The account has not enough money.",
        "customer_message": "There is not enough money on this card. Please try another card.",
        "bank_code": "51",
        "advice_code": None,
    }


def test_authorize_capture_refund_and_void_go_through_a_payments_life(shell: Shell) -> None:
    payment = shell.payment("authorize", amount="120")["id"]

    captured = shell.json("capture", payment, "80.00")["payment"]
    voided = shell.json("void", payment)["payment"]
    refunded = shell.json("refund", payment, "15", "EUR")["payment"]

    assert (captured["status"], captured["capturable"]) == ("partially_captured", eur(4000))
    assert (voided["status"], voided["voided"]) == ("captured", eur(4000))
    assert (refunded["status"], refunded["refundable"]) == ("partially_refunded", eur(6500))


def test_a_final_capture_lets_go_of_the_rest(shell: Shell) -> None:
    payment = shell.payment("authorize", amount="120")["id"]

    captured = shell.json("capture", payment, "80.00", "--final")["payment"]

    assert (captured["captured"], captured["voided"]) == (eur(8000), eur(4000))


def test_what_follows_takes_all_there_is_where_no_amount_is_given(shell: Shell) -> None:
    payment = shell.payment("authorize", amount="120")["id"]

    assert "captured    120.00 EUR" in shell("capture", payment).out
    assert "refunded    120.00 EUR" in shell("refund", payment).out
    assert "voided      7.00 EUR" in shell("void", shell.payment("authorize", amount="7")["id"]).out


def test_retry_takes_another_card_for_the_same_payment(shell: Shell) -> None:
    declined = shell.payment(number=POOR)["id"]

    again = shell("retry", declined)
    other = shell("retry", declined, "--card-stdin", typing=typed(GOOD))

    assert again.code == 1
    assert other.code == 0
    assert declined in other.out
    assert "visa ****4242" in other.out


def test_a_challenge_is_told_and_resumed_once_the_cardholder_has_passed_it(shell: Shell) -> None:
    said = shell("charge", "250", "EUR", "--card-stdin", typing=typed(CHALLENGED))
    payment = shell.json("list")["payments"][0]

    assert said.code == 0
    assert "requires_action" in said.out
    assert payment["action"]["url"] in said.out
    assert f"payplatform resume {payment['id']}" in said.err

    too_early = shell("resume", payment["id"])
    passed = shell("resume", payment["id"], "--play-cardholder", "pass")

    assert (too_early.code, passed.code) == (1, 0)
    assert "authentication_required" in too_early.out
    assert "captured    250.00 EUR" in passed.out


def test_a_challenge_that_is_failed_is_a_decline(shell: Shell) -> None:
    payment = shell.payment(number=CHALLENGED)["id"]

    said = shell("resume", payment, "--play-cardholder", "fail", "--json")

    assert said.code == 1
    assert said.document["payment"]["decline"]["code"] == "authentication_failed"


def test_a_customers_default_card_is_charged_without_asking(shell: Shell) -> None:
    with shell.platform() as pay:
        customer = shell.shop(pay).customers.create(name="Ada").id
    new = shell.json(
        "charge", "5", "EUR", "--customer", customer, "--card-stdin", typing=typed(GOOD)
    )
    known = shell.json("charge", "6", "EUR", "--customer", customer)

    assert new["payment"]["customer"] == known["payment"]["customer"] == customer
    assert new["payment"]["payment_method"] == known["payment"]["payment_method"]
    assert known["payment_method_stored"] is None


def test_a_merchant_may_charge_a_card_whose_holder_has_agreed(shell: Shell) -> None:
    with shell.platform() as pay:
        customer = shell.shop(pay).customers.create(name="Ada").id
    words = ("charge", "5", "EUR", "--customer", customer)
    assert shell(*words, "--card-stdin", typing=typed(GOOD)).code == 0

    payment = shell.json(*words, "--initiated-by", "merchant")["payment"]

    assert (payment["initiated_by"], payment["status"]) == ("merchant", "captured")


def test_the_same_key_tells_the_same_and_charges_once(shell: Shell) -> None:
    words = ("charge", "19.99", "EUR", "--card-stdin", "--idempotency-key", "order-1")

    first = shell.json(*words, typing=typed(GOOD))
    again = shell.json(*words, typing=typed(GOOD))

    assert again["payment"]["id"] == first["payment"]["id"]
    assert (first["payment"]["replayed"], again["payment"]["replayed"]) == (False, True)
    assert len(shell.json("list")["payments"]) == 1
    assert "told again; nothing was done now" in shell(*words, typing=typed(GOOD)).out
    with shell.platform() as pay:
        assert len(list(shell.shop(pay).payment_methods.list())) == 1


def test_the_same_key_with_another_card_is_a_conflict(shell: Shell) -> None:
    words = ("charge", "19.99", "EUR", "--card-stdin", "--idempotency-key", "order-1", "--json")
    shell(*words, typing=typed(GOOD))

    said = shell(*words, typing=typed("5555555555554444"))

    assert said.code == 5
    assert said.error["code"] == "idempotency_key_reused"
    assert said.error["repeat"] is None


@pytest.mark.parametrize(
    ("number", "code", "status"),
    [(LOSES_REPLY, 0, "captured"), (LOSES_REQUEST, 6, "unknown")],
)
def test_an_unknown_outcome_is_exit_code_6_with_the_command_that_finds_it_out(
    shell: Shell, number: str, code: int, status: str
) -> None:
    said = shell(
        *("charge", "64", "EUR", "--card-stdin", "--reference", "order 5"), typing=typed(number)
    )

    assert said.code == 6
    assert "error (outcome_unknown): " in said.err
    assert "Never with a new key." in said.err
    program, *words = shlex.split(said.err.rpartition("To repeat it:\n")[2])
    assert program == "payplatform"

    repeated = shell(*words)

    assert repeated.code == code
    assert [p["status"] for p in shell.json("list")["payments"]] == [status]


def test_the_command_to_repeat_knows_the_customers_card_too(shell: Shell) -> None:
    with shell.platform() as pay:
        customer = shell.shop(pay).customers.create(name="Ada").id
    said = shell(
        *("charge", "64", "EUR", "--customer", customer, "--card-stdin", "--json"),
        typing=typed(LOSES_REPLY),
    )

    assert said.code == 6
    assert shell(*shlex.split(said.error["repeat"])[1:]).code == 0


def test_a_bank_that_is_down_is_exit_code_7(shell: Shell) -> None:
    said = shell("charge", "1", "EUR", "--card-stdin", typing=typed(DOWN))

    assert said.code == 7
    assert "error (not_sent): " in said.err
    assert "No money moved." in said.err
    assert "repeat" not in said.err


def test_what_the_state_does_not_allow_is_exit_code_4(shell: Shell) -> None:
    payment = shell.payment()["id"]

    for words in (("refund", payment, "20"), ("capture", payment), ("void", payment)):
        assert shell(*words).code == 4
    said = shell("refund", payment, "20", "--json")
    assert said.error["class"] == "NotAllowed"
    assert said.error["code"] == "amount_exceeds_refundable"
    assert said.error["payment_id"] in (payment, None)


@pytest.mark.parametrize("verb", ["capture", "void", "refund", "retry", "resume", "show"])
def test_an_absent_payment_is_exit_code_3_and_a_malformed_id_exit_code_2(
    shell: Shell, verb: str
) -> None:
    absent = shell(verb, NOBODYS, "--json")
    malformed = shell(verb, "pay_1", "--json")
    other_kind = shell(verb, NOBODYS.replace("pay", "cus"), "--json")

    assert (absent.code, absent.error["class"]) == (3, "NotFound")
    assert (malformed.code, malformed.error["code"]) == (2, "id_malformed")
    assert (other_kind.code, other_kind.error["code"]) == (2, "id_wrong_kind")
    assert "no such payment" in shell(verb, NOBODYS).err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("charge", "0", "EUR"), "amount_not_positive"),
        (("charge", "19.999", "EUR"), "amount_too_precise"),
        (("charge", "1e3", "EUR"), "amount_invalid"),
        (("charge", "1", "EURO"), "currency_unknown"),
        (("charge", "1", "EUR", "--idempotency-key", "a b"), "idempotency_key_invalid"),
        (("charge", "1", "EUR", "--timeout", "0"), "value_invalid"),
        (("charge", "1", "EUR", "--reference", "x" * 101), "text_too_long"),
        (("charge", "1", "EUR", "--initiated-by", "merchant"), "security_code_not_allowed"),
        (("charge", "1", "EUR", "--metadata", "cart"), "metadata_invalid"),
        (("charge", "1", "EUR", "--metadata", "a=1", "--metadata", "a=2"), "metadata_invalid"),
        (("charge", "1", "EUR", "--initiated-by", "nobody"), "usage"),
        (("charge", "1", "EUR", "--timeout", "soon"), "usage"),
        (("charge", "1"), "usage"),
        (("charge", "1", "EUR", "--payment-method", "pm_1"), "several_cards"),
    ],
)
def test_what_breaks_a_rule_is_exit_code_2_and_leaves_nothing(
    shell: Shell, words: tuple[str, ...], code: str
) -> None:
    said = shell(*words, "--card-stdin", "--json", typing=typed(GOOD))

    assert (said.code, said.error["code"]) == (2, code)
    assert shell.json("list")["payments"] == []
    with shell.platform() as pay:
        assert list(shell.shop(pay).payment_methods.list()) == []


def test_a_refused_charge_does_not_take_a_customers_card_away(shell: Shell) -> None:
    with shell.platform() as pay:
        customer = shell.shop(pay).customers.create(name="Ada").id
    words = ("charge", "1", "EUR", "--customer", customer, "--card-stdin")
    assert shell(*words, typing=typed(GOOD)).code == 0

    assert shell(*words, "--timeout", "0", typing=typed(GOOD)).code == 2

    assert shell("charge", "1", "EUR", "--customer", customer).code == 0


def test_another_currency_than_the_payments_is_refused(shell: Shell) -> None:
    said = shell("refund", shell.payment()["id"], "1", "USD", "--json")

    assert (said.code, said.error["code"]) == (2, "currency_mismatch")


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def broken(*_: object, **__: object) -> None:
    raise RuntimeError("what was typed: " + GOOD)


@pytest.mark.parametrize(("happens", "code"), [(interrupted, 130), (broken, 70)])
def test_whatever_ends_a_charge_it_tells_how_to_repeat_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, happens: Callable[..., None], code: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("payplatform.client.payments.Payments.charge", happens)
        said = shell("charge", "5", "EUR", "--card-stdin", typing=typed(GOOD))

    assert said.code == code
    assert "Traceback" not in said.err
    assert GOOD not in said.out + said.err
    assert shell(*shlex.split(said.err.rpartition("To repeat it:\n")[2])[1:]).code == 0
