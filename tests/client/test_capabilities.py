"""What the bank does not offer is refused before it is asked, and the rest works without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from till import Till, eur

from payplatform import ErrorCode, NotAllowed
from payplatform.banks.simulated import FULL_CAPABILITIES

REFUSED: dict[str, tuple[str, Callable[[Till], Any]]] = {
    "a part of the refund": (
        "partial_refund",
        lambda till: till.shop.payments.refund(till.sold().id, eur("99.99"), idempotency_key="k"),
    ),
    "a part of the void": (
        "partial_void",
        lambda till: till.shop.payments.void(till.held().id, eur("99.99"), idempotency_key="k"),
    ),
    "an increment": (
        "increments",
        lambda till: till.shop.payments.increment(till.held().id, eur("1"), idempotency_key="k"),
    ),
    "a verification": (
        "zero_amount_verification",
        lambda till: till.shop.payment_methods.verify(till.card().id, idempotency_key="k"),
    ),
}


def without(*capabilities: str) -> Till:
    off: dict[str, Any] = dict.fromkeys(capabilities, False)
    return Till(capabilities=evolve(FULL_CAPABILITIES, **off))


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_bank_does_not_offer_is_refused_and_the_key_stays_free(case: str) -> None:
    """By a code of its own; where the bank offers it, it is done."""
    capability, call = REFUSED[case]
    till = without(capability)
    with pytest.raises(NotAllowed) as caught:
        call(till)
    assert caught.value.code is ErrorCode.NOT_SUPPORTED_BY_BANK
    assert till.shop.operations.find(idempotency_key="k") is None
    assert len(till.watched.sent) <= 1, "what came before, and nothing more"
    till.close()

    able = Till()
    call(able)
    able.close()


def test_without_partial_refunds_the_whole_may_be_refunded() -> None:
    till = without("partial_refund")
    sold = till.sold()

    assert till.shop.payments.refund(sold.id, idempotency_key="a").status == "refunded"
    part = till.shop.payments.capture(till.held().id, eur("60"), idempotency_key="b")
    back = till.shop.payments.refund(part.id, eur("60"), idempotency_key="c")
    assert back.refunded == eur("60"), "all that was captured is the whole"
    till.books_agree()
    till.close()


def test_without_partial_voids_all_the_rest_may_be_voided() -> None:
    till = without("partial_void")
    held = till.held()
    till.shop.payments.capture(held.id, eur("60"), idempotency_key="a")

    done = till.shop.payments.void(held.id, idempotency_key="b")
    assert (done.voided, done.captured) == (eur("40"), eur("60"))
    till.books_agree()
    till.close()


def test_a_bank_that_captures_once_releases_the_rest() -> None:
    """Every capture is final there, said or not; our books say so too, and so does the bank's."""
    till = without("multi_capture")
    held = till.held()

    done = till.shop.payments.capture(held.id, eur("60"), idempotency_key="a")

    assert done.status == "captured"
    assert (done.captured, done.voided, done.capturable) == (eur("60"), eur("40"), eur("0"))
    assert till.watched.sent[-1].final
    with pytest.raises(NotAllowed) as caught:
        till.shop.payments.capture(held.id, eur("1"), idempotency_key="b")
    assert caught.value.code is ErrorCode.NOT_AUTHORIZED
    till.books_agree()
    till.close()


def test_a_bank_that_captures_once_lets_no_other_capture_be_under_way() -> None:
    """Its captures are final, so the second is told of the first, not that nothing is left."""
    till = without("multi_capture")
    held = till.held()
    refused: list[ErrorCode] = []

    def meanwhile(_: object) -> None:
        till.watched.before = lambda _: None
        with pytest.raises(NotAllowed) as caught:
            till.shop.payments.capture(held.id, eur("10"), idempotency_key="b")
        refused.append(caught.value.code)

    till.watched.before = meanwhile
    till.shop.payments.capture(held.id, eur("50"), idempotency_key="a")

    assert refused == [ErrorCode.OPERATION_OPEN]
    till.books_agree()
    till.close()


def test_a_final_capture_releases_the_rest_at_the_bank() -> None:
    """Not only in our books: the bank's statement has the release."""
    till = Till()
    held = till.held()
    till.shop.payments.capture(held.id, eur("50"), idempotency_key="a")
    done = till.shop.payments.capture(held.id, eur("20"), final=True, idempotency_key="b")

    assert (done.status, done.captured, done.voided) == ("captured", eur("70"), eur("30"))
    assert [(line.kind, line.amount) for line in till.bank.statement()] == [
        ("authorize", eur("100")),
        ("capture", eur("50")),
        ("capture", eur("20")),
        ("release", eur("30")),
    ]
    till.books_agree()
    till.close()


def test_a_final_capture_lets_no_other_be_under_way() -> None:
    """Nobody could say what the rest is."""
    till = Till()
    held = till.held()
    refused: list[ErrorCode] = []

    def meanwhile(_: object) -> None:
        till.watched.before = lambda _: None
        for final, key in ((True, "b"), (False, "c")):
            with pytest.raises(NotAllowed) as caught:
                till.shop.payments.capture(held.id, eur("10"), final=final, idempotency_key=key)
            refused.append(caught.value.code)

    till.watched.before = meanwhile
    till.shop.payments.capture(held.id, eur("50"), final=True, idempotency_key="a")

    assert refused == [ErrorCode.OPERATION_OPEN, ErrorCode.NOT_AUTHORIZED]
    till.books_agree()
    till.close()


def test_a_bank_without_a_lifetime_holds_for_good() -> None:
    till = Till(capabilities=evolve(FULL_CAPABILITIES, authorization_lifetime_s=None))
    held = till.held()
    assert held.expires_at is None
    till.advance(days=4_000)
    assert till.pay.recover().expired == 0

    done = till.shop.payments.capture(held.id, idempotency_key="a")
    assert done.status == "captured"
    till.books_agree()
    till.close()


def test_the_least_of_banks_takes_and_returns_money() -> None:
    """One that offers nothing beyond the verbs themselves."""
    flags = (
        "inquiry_by_operation_id",
        "reversal_remembers_unknown",
        "multi_capture",
        "partial_refund",
        "partial_void",
        "increments",
        "zero_amount_verification",
    )
    till = without(*flags)
    assert till.shop.payments.refund(till.sold().id, idempotency_key="a").status == "refunded"
    assert till.shop.payments.void(till.held().id, idempotency_key="b").status == "voided"
    assert till.shop.payments.capture(till.held().id, idempotency_key="c").status == "captured"
    till.books_agree()
    till.close()
