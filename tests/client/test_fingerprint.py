"""The fingerprint by which a request is known again: frozen for good, and of every parameter.

What one release has stored the next must match, or a repeat across an upgrade would be refused. So
here are known answers, and a second hand that computes them from the description alone.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest
from attrs import evolve, fields
from hypothesis import assume, given
from hypothesis import strategies as st
from till import Till, eur

from payplatform import Initiator, Money
from payplatform._domain.commands import Command, Verb

MERCHANT = "mer_01jzzzzzzzzzzzzzzzzzzzzzzz"
PAYMENT = "pay_01jzzzzzzzzzzzzzzzzzzzzzzz"
METHOD = "pm_01jzzzzzzzzzzzzzzzzzzzzzzz"
CUSTOMER = "cus_01jzzzzzzzzzzzzzzzzzzzzzzz"


def command(verb: Verb, **arguments: Any) -> Command:
    return Command(verb=verb, merchant_id=MERCHANT, idempotency_key="key", **arguments)


KNOWN: dict[str, tuple[Command, str]] = {
    "the least charge": (
        command(Verb.CHARGE, payment_method_id=METHOD, amount=Money.minor(1, "EUR")),
        "25a8c1974ebf2faef256cc44cc2b0281deff97797ca42f1303beb62350df7c65",
    ),
    "a charge with everything": (
        command(
            Verb.CHARGE,
            customer_id=CUSTOMER,
            amount=Money.minor(2**63 - 1, "JPY"),
            reference="caf\u00e9 7",
            metadata=(
                ("a", ""),
                ("b", "\U0001f600"),
            ),
            initiator=Initiator.MERCHANT,
        ),
        "67f1456a216788ebc7e5cc82ded12d7f05acb26de286790fcc5e4217ef40175b",
    ),
    "authorize": (
        command(Verb.AUTHORIZE, payment_method_id=METHOD, amount=Money.minor(1, "EUR")),
        "55d0bb081fb9f601014bcdf0fbad8b0c315f9e632436d2d9922c02b644ddfbab",
    ),
    "retry": (
        command(Verb.RETRY, payment_id=PAYMENT, payment_method_id=METHOD),
        "90fe297e54a84300c2771dbf596d206a3c36bd8cea0f427324a7934d98c110fd",
    ),
    "resume": (
        command(Verb.RESUME, payment_id=PAYMENT),
        "0f58fceda1e2e98563b6f0c8072a4b8e4bff01e5e49d3e5accf868c9285a0b1f",
    ),
    "a final capture": (
        command(Verb.CAPTURE, payment_id=PAYMENT, amount=Money.minor(60, "KWD"), final=True),
        "3f70c23a617ef3770d4fad404c1ffa4a8085ced8ece22492dce8f89263cc6738",
    ),
    "void all": (
        command(Verb.VOID, payment_id=PAYMENT),
        "cb31a444ee3c8e1a0aa0c082d3beff6969097f40eb5e7055ff2aa83f6531bc11",
    ),
    "refund all": (
        command(Verb.REFUND, payment_id=PAYMENT),
        "c5674e510e89ae9beab1e13260ee9374644b8d55c93909131e2ef8e34fb16bad",
    ),
    "increment": (
        command(Verb.INCREMENT, payment_id=PAYMENT, amount=Money.minor(5, "USD")),
        "20679899be6559dd9dbec1143e2f95f1767a226ed89874f225cbfff244238813",
    ),
    "verify": (
        command(Verb.VERIFY, payment_method_id=METHOD, amount=Money.zero("EUR")),
        "1340d53d226921cfd52b50480e4bc446856621c496e19f2a6580e17ac7453ff4",
    ),
    "pay out all": (
        command(Verb.PAYOUT, currency="EUR", reference="week 9"),
        "3e59a5539d656972ef4935875a38f7befdeea1275fd4ca12fa194f16b24223b9",
    ),
    "pay out so much": (
        command(Verb.PAYOUT, currency="EUR", amount=Money.minor(5, "EUR")),
        "7363dfca8aa579b933feeb678c80dadb902d171e6da1f79f9495ff1915b84fe0",
    ),
}
"""Commands, and what every release must compute for them. Never edit a line of these."""


@pytest.mark.parametrize("case", KNOWN)
def test_a_fingerprint_is_what_it_has_always_been(case: str) -> None:
    asked, known = KNOWN[case]

    assert asked.fingerprint.hex() == known


@pytest.mark.parametrize("case", KNOWN)
def test_the_known_answers_follow_from_the_description(case: str) -> None:
    """Version, verb and parameters, each with its length plus one before it; absent is length 0."""
    asked, known = KNOWN[case]
    amount = asked.amount
    parts: list[str | None] = [
        "payplatform/request/v1",
        asked.verb.value,
        asked.payment_id,
        asked.payment_method_id,
        asked.customer_id,
        None if amount is None else str(amount.amount_minor),
        None if amount is None else amount.currency,
        "final" if asked.final else None,
        asked.reference,
        asked.initiator.value,
    ]
    for key, value in asked.metadata:
        parts += [key, value]
    parts += [] if asked.currency is None else [asked.currency]
    encoded = b""
    for part in parts:
        if part is None:
            encoded += struct.pack(">I", 0)
        else:
            data = part.encode("utf-8")
            encoded += struct.pack(">I", len(data) + 1) + data

    assert hashlib.sha256(encoded).hexdigest() == known


def test_every_verb_has_a_known_answer() -> None:
    assert {asked.verb for asked, _ in KNOWN.values()} == set(Verb)
    assert len({known for _, known in KNOWN.values()}) == len(KNOWN)


def test_what_is_stored_is_that_fingerprint() -> None:
    till = Till()
    method = till.card()
    till.sold("19.99", payment_method=method.id, reference="r", idempotency_key="k")
    operation = till.shop.operations.find(idempotency_key="k")
    asked = Command(
        verb=Verb.CHARGE,
        merchant_id=till.merchant_id,
        idempotency_key="k",
        payment_method_id=method.id,
        amount=eur("19.99"),
        reference="r",
    )

    assert operation is not None
    assert operation.fingerprint == asked.fingerprint
    till.close()


IDS = st.none() | st.sampled_from([PAYMENT, METHOD, CUSTOMER, PAYMENT[:-1] + "0"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
BUSINESS: dict[str, st.SearchStrategy[Any]] = {
    "verb": st.sampled_from(Verb),
    "payment_id": IDS,
    "payment_method_id": IDS,
    "customer_id": IDS,
    "amount": st.none()
    | st.builds(
        Money.minor, st.integers(0, 2**63 - 1) | st.integers(0, 12), st.sampled_from(["EUR", "USD"])
    ),
    "currency": st.none() | st.sampled_from(["EUR", "USD"]),
    "final": st.booleans(),
    "reference": st.none() | TEXTS,
    "metadata": st.dictionaries(TEXTS, TEXTS, max_size=3).map(lambda d: tuple(sorted(d.items()))),
    "initiator": st.sampled_from(Initiator),
}
COMMANDS = st.builds(
    Command, merchant_id=st.just(MERCHANT), idempotency_key=st.just("key"), **BUSINESS
)


def test_every_parameter_of_a_command_is_drawn_or_is_what_a_key_is_scoped_by() -> None:
    names = {field.name for field in fields(Command)}

    # The same request may come from elsewhere the next time.
    assert names == {*BUSINESS, "merchant_id", "idempotency_key", "origin"}


@pytest.mark.parametrize("name", BUSINESS)
@given(data=st.data(), asked=COMMANDS)
def test_any_change_of_any_parameter_changes_the_fingerprint(
    name: str, data: st.DataObject, asked: Command
) -> None:
    other = evolve(asked, **{name: data.draw(BUSINESS[name])})
    assume(other != asked)

    assert other.fingerprint != asked.fingerprint


@given(asked=COMMANDS, other=COMMANDS)
def test_two_requests_have_one_fingerprint_exactly_if_they_are_the_same(
    asked: Command, other: Command
) -> None:
    assert (asked.fingerprint == other.fingerprint) is (asked == other)


@given(asked=COMMANDS, key=st.text("!~", min_size=1, max_size=5))
def test_neither_the_merchant_nor_the_key_is_part_of_it(asked: Command, key: str) -> None:
    """They are where it is looked for: a request that moved with its key would not be found."""
    other = evolve(asked, merchant_id=MERCHANT[:-1] + "0", idempotency_key=key)

    assert other.fingerprint == asked.fingerprint
