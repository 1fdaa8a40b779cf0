"""Every public argument refuses what it must, by its own code, before anything is done.

How: the methods and their parameters are found by introspection, and each parameter must have its
place in `ARGUMENTS`. A call is made with good arguments but one. The error says which and why and
repeats nothing; the store is as it was, the bank was not asked, and the idempotency key is free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import bad_values as bad
import pytest
from bad_values import AMOUNT_OR_ALL, Bad, identifier, text
from counter import KEY, Counter, public_methods
from till import AMEX, VISA, Till

from payplatform import (
    BankUnavailable,
    ErrorCode,
    InvalidRequest,
    Money,
    NotAllowed,
)
from payplatform.banks.simulated import Fault
from payplatform.ports import BankNotice

PAYING = {
    "amount": bad.AMOUNT,
    "payment_method": identifier("pm", optional=True),
    "customer": identifier("cus", optional=True),
    "idempotency_key": bad.KEY,
    "security_code": bad.SECURITY_CODE,
    "initiated_by": bad.INITIATED_BY,
    "reference": text(100, optional=True),
    "metadata": bad.METADATA,
    "origin": bad.origin(),
    "timeout_s": bad.TIMEOUT,
}
FOLLOWING = {
    "payment_id": identifier("pay"),
    "idempotency_key": bad.KEY,
    "timeout_s": bad.TIMEOUT,
}

ANSWERING = {"dispute_id": identifier("dsp"), "timeout_s": bad.TIMEOUT}

CALLER = {"actor": text(200, optional=True), "origin": text(200, optional=True)}

ARGUMENTS: dict[str, dict[str, tuple[Bad, ...]]] = {
    "archive": {"path": bad.FILE, "before": bad.TIME_NEEDED},
    "close": {},
    "describe": {},
    "doctor": {"after": bad.POSITION, "limit": bad.PART, "progress": bad.PROGRESS},
    "merchant": {"merchant_id": identifier("mer"), **CALLER},
    "recover": {"limit": bad.LIMIT},
    "run_due": {"now": bad.NOT_TO_COME, "limit": bad.LIMIT},
    "merchants.create": {"name": text(200, optional=False), "metadata": bad.METADATA},
    "merchants.erase": {"merchant_id": identifier("mer"), **CALLER},
    "merchants.fees": {"merchant_id": identifier("mer")},
    "merchants.get": {"merchant_id": identifier("mer")},
    "merchants.list": {},
    "merchants.set_fees": {
        "merchant_id": identifier("mer"),
        "rates": bad.RATES,
        "counts_from": bad.TIME,
    },
    "events.mark_published": {"events": bad.EVENTS},
    "events.pending": {"limit": bad.LIMIT},
    "notices.apply": {"notice": bad.NOTICE},
    "notices.receive": {"raw": bad.RAW, "headers": bad.HEADERS},
    "shop.notices.get": {"notice_id": identifier("ntc")},
    "shop.notices.list": {
        "state": bad.NOTICE_STATE,
        "operation_id": identifier("op", optional=True),
    },
    "shop.customers.create": {
        "name": text(200, optional=True),
        "email": bad.EMAIL,
        "metadata": bad.METADATA,
    },
    "shop.customers.erase": {"customer_id": identifier("cus")},
    "shop.customers.get": {"customer_id": identifier("cus")},
    "shop.customers.list": {},
    "shop.customers.update": {
        "customer_id": identifier("cus"),
        "name": text(200, optional=True),
        "email": bad.EMAIL,
        "metadata": bad.METADATA,
    },
    "shop.payment_methods.allow_again": {
        "payment_method_id": identifier("pm"),
        "actor": text(200, optional=False),
        "reason": text(500, optional=False),
    },
    "shop.payment_methods.create": {
        "card": bad.CARD,
        "customer": identifier("cus", optional=True),
        "postal_code": bad.POSTAL_CODE,
        "origin": bad.origin(),
    },
    "shop.payment_methods.delete": {"payment_method_id": identifier("pm")},
    "shop.payment_methods.get": {"payment_method_id": identifier("pm")},
    "shop.payment_methods.list": {"customer": identifier("cus", optional=True)},
    "shop.payment_methods.reveal": {
        "payment_method_id": identifier("pm"),
        "actor": text(200, optional=False),
        "purpose": text(500, optional=False),
    },
    "shop.payment_methods.set_default": {"payment_method_id": identifier("pm")},
    "shop.payment_methods.verify": {
        "payment_method_id": identifier("pm"),
        "idempotency_key": bad.KEY,
        "security_code": bad.SECURITY_CODE,
        "currency": bad.CURRENCY,
        "origin": bad.origin(),
        "timeout_s": bad.TIMEOUT,
    },
    "shop.payments.authorize": PAYING,
    "shop.payments.capture": {**FOLLOWING, "amount": bad.OTHER_CURRENCY, "final": bad.FINAL},
    "shop.payments.charge": PAYING,
    "shop.payments.get": {"payment_id": identifier("pay")},
    "shop.payments.increment": {
        **FOLLOWING,
        "amount": (
            *bad.AMOUNT,
            *bad.OTHER_CURRENCY[len(AMOUNT_OR_ALL) :],
            Bad("too much in all", Money.minor(2**63 - 1, "EUR"), ErrorCode.AMOUNT_TOO_LARGE),
        ),
    },
    "shop.payments.list": {
        "customer": identifier("cus", optional=True),
        "status": bad.STATUS,
        "created_from": bad.TIME,
        "created_before": bad.TIME,
        "reference": text(100, optional=True),
        "metadata": bad.METADATA,
    },
    "shop.payments.operations": {"payment_id": identifier("pay")},
    "shop.payments.refund": {**FOLLOWING, "amount": bad.OTHER_CURRENCY},
    "shop.payments.resume": FOLLOWING,
    "shop.payments.retry": {
        **FOLLOWING,
        "payment_method": identifier("pm", optional=True),
        "security_code": bad.SECURITY_CODE,
        "origin": bad.origin(),
    },
    "shop.payments.timeline": {"payment_id": identifier("pay")},
    "shop.payments.void": {**FOLLOWING, "amount": bad.OTHER_CURRENCY},
    "shop.operations.find": {"idempotency_key": bad.KEY},
    "shop.operations.get": {"operation_id": identifier("op")},
    "shop.operations.list_unresolved": {},
    "shop.operations.resolve": {
        "operation_id": identifier("op"),
        "outcome": bad.OUTCOME,
        "actor": text(200, optional=False),
        "reason": text(500, optional=False),
        "evidence": text(500, optional=True),
    },
    "shop.disputes.accept": ANSWERING,
    "shop.disputes.get": {"dispute_id": identifier("dsp")},
    "shop.disputes.list": {
        "payment": identifier("pay", optional=True),
        "state": bad.DISPUTE_STATE,
    },
    "shop.disputes.submit_evidence": {**ANSWERING, "exhibits": bad.EXHIBITS},
    "shop.journal.head": {},
    "shop.payouts.create": {
        "amount": bad.AMOUNT,
        "idempotency_key": bad.KEY,
        "reference": text(100, optional=True),
        "timeout_s": bad.TIMEOUT,
    },
    "shop.payouts.get": {"payout_id": identifier("po")},
    "shop.payouts.list": {},
    "shop.payouts.payable": {"currency": bad.CURRENCY},
    "shop.payouts.plan": {"currency": bad.CURRENCY},
    "shop.payouts.run_due": {},
    "shop.payouts.set_plan": {
        "minimum": bad.AMOUNT,
        "reserve": bad.RESERVE,
        "interval": bad.INTERVAL,
        "first_at": bad.FIRST_AT,
    },
    "shop.payouts.sweep": {
        "currency": bad.CURRENCY,
        "idempotency_key": bad.KEY,
        "reference": text(100, optional=True),
        "timeout_s": bad.TIMEOUT,
    },
    "shop.payouts.timeline": {"payout_id": identifier("po")},
    "shop.ledger.balance": {"account": bad.ACCOUNT, "currency": bad.CURRENCY, "at": bad.TIME},
    "shop.ledger.entries": {
        "since": bad.TIME,
        "until": bad.TIME,
        "account": bad.ACCOUNT_OR_ALL,
        "subject": identifier("pay", optional=True),
    },
    "shop.ledger.statement": {"month": bad.MONTH},
    "shop.ledger.trial_balance": {"at": bad.TIME},
    "shop.journal.verify": {"expected_head": bad.EXPECTED_HEAD},
    "shop.audit.entries": {},
    "shop.audit.head": {},
    "shop.audit.verify": {"expected_head": bad.EXPECTED_HEAD},
    "shop.vault.export": {
        "public_key": bad.PEM,
        "actor": text(200, optional=False),
        "purpose": text(500, optional=False),
    },
    "shop.vault.import_": {
        "data": bad.EXPORT,
        "private_key": bad.PEM,
        "password": bad.PASSWORD,
    },
    **{
        f"{whose}vault.{name}": arguments
        for whose in ("", "shop.")
        for name, arguments in {
            "on_behalf_of": {
                "actor": text(200, optional=False),
                "origin": text(200, optional=True),
            },
            "retire": {"unused_for": bad.TIME_UNUSED, "limit": bad.PART},
            "rotate_data_key": {"older_than": bad.AGE},
            "rotate_fingerprint_key": {"older_than": bad.AGE},
            "rotate_master_key": {"older_than": bad.AGE_OR_NONE},
            "run": {"limit": bad.PART, "progress": bad.PROGRESS},
            "status": {},
        }.items()
    },
}
"""Every public method, and what each of its parameters must refuse."""


def test_every_parameter_of_every_public_method_has_its_place() -> None:
    """A new method, or a new parameter, is not done before it is said here what it refuses."""
    there = {name: set(signature.parameters) for name, signature in public_methods()}

    assert {name: set(parameters) for name, parameters in ARGUMENTS.items()} == there


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def counter(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Counter, Any, int]]:
    """A counter for all rows, what its store holds, and how often its bank was asked."""
    folder = tmp_path_factory.mktemp("bad-input")
    counter = Counter(None if request.param == "memory" else folder / "shop.db")
    yield counter, counter.till.stored(), counter.till.watched.calls
    counter.till.close()


@pytest.mark.parametrize(
    ("method", "argument"),
    [(method, argument) for method, parameters in ARGUMENTS.items() for argument in parameters],
)
def test_a_bad_argument_is_refused_by_name_and_nothing_is_done(
    method: str, argument: str, counter: tuple[Counter, Any, int]
) -> None:
    """Row by row its own code, its own field, its value nowhere; then store and bank as before."""
    desk, stored, asked = counter
    wrong = {}
    for row in ARGUMENTS[method][argument]:
        given = {argument: row.value}
        if method.endswith(("charge", "authorize")) and argument == "customer":
            given["payment_method"] = None
        told = outcome(lambda: desk.call(method, **given))  # noqa: B023
        problems = list(problems_of(told, row.field or argument, row.code, row.value))
        if problems:
            wrong[row.label] = problems

    assert wrong == {}
    assert_nothing_was_done(desk, stored, asked)


def outcome(call: Callable[[], object]) -> object:
    """What a call returned, or the error that it raised."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001  # which error it is, is the question
        return error


def problems_of(told: object, field: str, code: ErrorCode, value: object) -> Iterator[str]:
    """What is wrong with the way in which a bad argument was refused."""
    if type(told) is not InvalidRequest:
        yield f"not refused: {type(told).__name__}"
        return
    if (told.code, told.field) != (code, field):
        yield f"{told.code} of {told.field}"
    if field.removesuffix("_id").split("_")[-1] not in told.message:
        yield f"the text does not name {field}: {told.message}"
    if len(told.message) < len(field) + 10:
        yield f"the text does not say the rule: {told.message}"
    if told.__cause__ or told.__context__:
        yield "it has a history"
    said = f"{told} {told!r} {told.args} {vars(told)}"
    if any(secret in said for secret in texts_in(value)):
        yield "it repeats the value"


def texts_in(value: object) -> Iterator[str]:
    """What the error must not repeat: digits, and what is too long to be there by chance."""
    if isinstance(value, str | bytes):
        some = str(value[:40])
        if len(some.strip()) > len("name@example.com") or sum(map(str.isdigit, some)) >= 3:
            yield some
    elif isinstance(value, dict | list | tuple) and len(value) <= 60:
        for item in [*value, *(value.values() if isinstance(value, dict) else ())]:
            yield from texts_in(item)
    elif isinstance(value, Money):
        yield str(value)
    elif isinstance(value, BankNotice):
        yield from texts_in([value.id, value.merchant_id, getattr(value.reply, "operation_id", "")])


def assert_nothing_was_done(desk: Counter, stored: Any, asked: int) -> None:
    """What was written once could not be taken back, so one look at the end sees every row."""
    assert desk.till.stored() == stored
    assert desk.till.watched.calls == asked
    assert desk.till.storage.operation_with_key(desk.till.merchant_id, KEY) is None


TOGETHER: dict[str, tuple[str, dict[str, Any], ErrorCode, str]] = {
    "both a card and a customer": (
        "shop.payments.charge",
        {"customer": "{customer}"},
        ErrorCode.VALUE_INVALID,
        "payment_method",
    ),
    "neither a card nor a customer": (
        "shop.payments.authorize",
        {"payment_method": None},
        ErrorCode.VALUE_INVALID,
        "payment_method",
    ),
    "a security code from the merchant": (
        "shop.payments.charge",
        {"initiated_by": "merchant", "security_code": "973"},
        ErrorCode.SECURITY_CODE_NOT_ALLOWED,
        "security_code",
    ),
    "nothing to update": (
        "shop.customers.update",
        {"name": None},
        ErrorCode.VALUE_INVALID,
        "name",
    ),
    "three digits for an amex": (
        "shop.payments.charge",
        {"payment_method": "{amex}", "security_code": "973"},
        ErrorCode.SECURITY_CODE_INVALID,
        "security_code",
    ),
    "a stored card that has expired": (
        "shop.payments.charge",
        {"payment_method": "{expired}"},
        ErrorCode.CARD_EXPIRED,
        "payment_method",
    ),
    "an expired card to verify": (
        "shop.payment_methods.verify",
        {"payment_method_id": "{expired}"},
        ErrorCode.CARD_EXPIRED,
        "payment_method",
    ),
    "an expired card to retry with": (
        "shop.payments.retry",
        {"payment_method": "{expired}"},
        ErrorCode.CARD_EXPIRED,
        "payment_method",
    ),
    "a security code in the retry of a merchant's charge": (
        "shop.payments.retry",
        {"payment_id": "{merchants}", "security_code": "973"},
        ErrorCode.SECURITY_CODE_NOT_ALLOWED,
        "security_code",
    ),
}
"""Arguments that are good each by itself, and not together, or not now."""


@pytest.mark.parametrize("case", TOGETHER)
def test_arguments_that_do_not_go_together_are_refused(case: str, tmp_path: Path) -> None:
    method, given, code, field = TOGETHER[case]
    desk = Counter(tmp_path / "shop.db")
    till = desk.till
    ids = {
        "customer": desk.customer,
        "amex": till.card(AMEX).id,
        "expired": till.card(VISA, expiry="03/30").id,
        "merchants": a_merchants_decline(till),
    }
    till.now = till.now.replace(month=4, day=2)
    before, asked = till.stored(), till.watched.calls
    given = {
        name: value.format(**ids) if isinstance(value, str) else value
        for name, value in given.items()
    }

    told = outcome(lambda: desk.call(method, **given))

    assert list(problems_of(told, field, code, given.get("security_code"))) == []
    assert_nothing_was_done(desk, before, asked)
    till.close()


def a_merchants_decline(till: Till) -> str:
    """A payment that the merchant started, and that needs to be tried again."""
    method = till.card(customer=till.customer())
    till.sold(payment_method=method.id)
    till.bank.next(Fault.DOWN)
    with suppress(BankUnavailable):
        till.sold(payment_method=method.id, initiated_by="merchant", reference="later")
    (payment,) = till.shop.payments.list(reference="later")
    assert payment.status == "failed"
    return payment.id


@pytest.mark.parametrize("method", ARGUMENTS)
def test_the_good_arguments_are_good(method: str, tmp_path: Path) -> None:
    """So it is the one bad argument that the rows above were refused for."""
    needs_a_file = method == "archive"
    desk = Counter(tmp_path / "shop.db" if needs_a_file else None)
    desk.call(method)
    desk.till.close()


def edges_of(method: str, argument: str) -> tuple[Any, ...]:
    """Those of this method's own argument, else of all that are called so."""
    return bad.EDGES.get(f"{method}.{argument}", bad.EDGES.get(argument, ()))


def edges() -> Iterator[tuple[str, str, int]]:
    for method, parameters in ARGUMENTS.items():
        for argument in parameters:
            for n in range(len(edges_of(method, argument))):
                yield method, argument, n


@pytest.mark.parametrize(("method", "argument", "n"), list(edges()))
def test_what_is_just_inside_the_line_is_taken(method: str, argument: str, n: int) -> None:
    """Where valid turns into invalid: the longest, the least, the earliest, the oddest there is."""
    desk = Counter()
    told = outcome(lambda: desk.call(method, **{argument: edges_of(method, argument)[n]}))
    if argument in ("amount", "currency") and isinstance(told, NotAllowed | InvalidRequest):
        assert told.code in BEYOND_WHAT_IS_THERE
    else:
        assert not isinstance(told, Exception), told
    desk.till.close()


BEYOND_WHAT_IS_THERE = {
    ErrorCode.AMOUNT_EXCEEDS_CAPTURABLE,
    ErrorCode.AMOUNT_EXCEEDS_VOIDABLE,
    ErrorCode.AMOUNT_EXCEEDS_REFUNDABLE,
    ErrorCode.AMOUNT_EXCEEDS_PAYABLE,
    ErrorCode.AMOUNT_BELOW_MINIMUM,
    ErrorCode.AMOUNT_TOO_LARGE,
    ErrorCode.CURRENCY_MISMATCH,
}
