"""3-D Secure: the cardholder is asked to prove who they are, and does, or does not, or forgets."""

from __future__ import annotations

from datetime import timedelta

import pytest
from attrs import evolve
from till import CHALLENGED, Till, eur

from payplatform import ErrorCode, NotAllowed, OutcomeUnknown, Payment
from payplatform.banks.simulated import FULL_CAPABILITIES, Fault

UNTIL_ON_FILE = "4000002500003155"
PASSED_IN_VAIN = "4000008260003178"


def answered(till: Till, payment: Payment, *, succeed: bool = True) -> None:
    """What the cardholder does at the address of the action."""
    assert payment.action is not None
    till.bank.complete_challenge(payment.action.url, succeed=succeed)


def resumed(till: Till, payment: Payment) -> Payment:
    return till.shop.payments.resume(payment.id, idempotency_key=till.key())


def test_a_challenge_says_where_to_go_and_until_when() -> None:
    """No money has moved, and nothing but resuming is possible."""
    till = Till()
    waiting = till.sold(number=CHALLENGED)

    assert waiting.status == "requires_action"
    assert waiting.decline is None
    assert waiting.action is not None
    assert waiting.action.type == "three_d_secure"
    assert waiting.action.url.startswith("https://")
    assert waiting.action.expires_at == till.now + timedelta(minutes=15)
    assert waiting.captured == eur("0")
    assert till.bank.statement() == []
    till.close()


@pytest.mark.parametrize(("verb", "status"), [("sold", "captured"), ("held", "authorized")])
def test_a_passed_challenge_goes_on_to_what_was_asked_for(verb: str, status: str) -> None:
    till = Till()
    waiting = getattr(till, verb)(number=CHALLENGED)
    answered(till, waiting)

    done = resumed(till, waiting)

    assert (done.id, done.status, done.action) == (waiting.id, status, None)
    assert done.authorized == eur("100")
    assert [o.state for o in till.shop.payments.operations(done.id)] == ["succeeded"] * 2
    till.books_agree()
    till.close()


def test_a_failed_challenge_is_a_decline() -> None:
    till = Till()
    waiting = till.sold(number=CHALLENGED)
    answered(till, waiting, succeed=False)

    done = resumed(till, waiting)

    assert (done.status, done.action) == ("declined", None)
    assert done.decline is not None
    assert done.decline.code == "authentication_failed"
    assert till.shop.payments.get(done.id).decline == done.decline
    assert [o.state for o in till.shop.payments.operations(done.id)] == ["declined"] * 2
    till.books_agree()
    till.close()


def test_a_passed_challenge_may_still_be_declined() -> None:
    till = Till()
    waiting = till.sold(number=PASSED_IN_VAIN)
    answered(till, waiting)
    done = resumed(till, waiting)

    assert done.status == "declined"
    assert done.decline is not None
    assert done.decline.code == "insufficient_funds"
    till.close()


def test_who_has_not_finished_may_go_on() -> None:
    """This attempt is told as a decline; the challenge stays, and the next attempt may pass."""
    till = Till()
    waiting = till.sold(number=CHALLENGED)
    early = resumed(till, waiting)
    assert early.status == "requires_action"
    assert early.action == waiting.action
    assert early.decline is not None
    assert early.decline.code == "authentication_required"

    answered(till, waiting)
    assert resumed(till, waiting).status == "captured"
    assert len(till.bank.statement()) == 1
    till.books_agree()
    till.close()


@pytest.mark.parametrize("passed", [True, False])
def test_a_challenge_that_nobody_resumes_ends_with_its_time(passed: bool) -> None:
    """Recovery does not look before, and then books what the bank says: declined."""
    till = Till()
    waiting = till.sold(number=CHALLENGED)
    if passed:
        answered(till, waiting)
    till.advance(minutes=15, microseconds=-1)
    assert till.pay.recover().examined == 0
    till.advance(minutes=5)
    report = till.pay.recover()

    payment = till.shop.payments.get(waiting.id)
    assert (report.examined, report.declined) == (1, 1)
    assert (payment.status, payment.action) == ("declined", None)
    assert payment.decline is not None
    assert payment.decline.code == "authentication_failed"
    assert till.bank.statement() == []
    till.books_agree()
    till.close()


def test_resuming_after_the_time_is_a_decline() -> None:
    till = Till()
    waiting = till.sold(number=CHALLENGED)
    answered(till, waiting)
    till.advance(minutes=15)

    assert resumed(till, waiting).status == "declined"
    with pytest.raises(NotAllowed) as caught:
        resumed(till, waiting)
    assert caught.value.code is ErrorCode.NO_ACTION_REQUIRED
    till.books_agree()
    till.close()


def test_after_a_failed_challenge_another_card_may_be_tried() -> None:
    till = Till()
    waiting = till.sold(number=CHALLENGED)
    answered(till, waiting, succeed=False)
    declined = resumed(till, waiting)

    taken = till.shop.payments.retry(
        declined.id, payment_method=till.card().id, idempotency_key=till.key()
    )
    assert (taken.id, taken.status) == (waiting.id, "captured")
    till.books_agree()
    till.close()


@pytest.mark.parametrize("fault", [Fault.LOSE_REQUEST, Fault.LOSE_REPLY, Fault.DELAY_REQUEST])
def test_a_resumption_that_was_lost_is_found_out(fault: Fault) -> None:
    """The payment is unknown until then, and comes to what the bank has booked."""
    till = Till()
    waiting = till.sold(number=CHALLENGED)
    answered(till, waiting)
    till.bank.next(fault)
    with pytest.raises(OutcomeUnknown):
        till.shop.payments.resume(waiting.id, idempotency_key="go")
    assert till.shop.payments.get(waiting.id).status == "unknown"

    till.advance(minutes=2)
    till.pay.recover()
    told = till.shop.payments.resume(waiting.id, idempotency_key="go")
    assert (told.status, told.decline, told.replayed) == ("captured", None, True)
    till.books_agree()
    till.close()


@pytest.mark.parametrize("target_first", [True, False])
def test_a_lost_resumption_and_its_target_may_be_found_out_in_any_order(
    target_first: bool,
) -> None:
    """Both are due: whichever recovery takes first, the payment comes to the same end."""
    till = Till()
    waiting = till.sold(number=CHALLENGED)
    answered(till, waiting)
    till.bank.next(Fault.LOSE_REPLY, Fault.LOSE_REPLY)
    with pytest.raises(OutcomeUnknown):
        till.shop.payments.resume(waiting.id, idempotency_key="go")
    if target_first:
        till.pay.recover()  # loses the answer, and puts the resumption off
    till.advance(minutes=20)
    for _ in range(2):
        till.pay.recover(limit=1)
        till.advance(minutes=20)
    till.pay.recover()

    payment = till.shop.payments.get(waiting.id)
    assert (payment.status, payment.decline, payment.open_operations) == ("captured", None, ())
    told = till.shop.payments.resume(waiting.id, idempotency_key="go")
    assert (told.status, told.decline) == ("captured", None)
    till.books_agree()
    till.close()


def test_a_card_on_file_is_challenged_once() -> None:
    """Its customer proves who they are the first time; what follows names that first payment."""
    till = Till()
    customer = till.customer()
    method = till.card(UNTIL_ON_FILE, customer=customer)
    first = till.sold(payment_method=method.id)
    assert first.status == "requires_action"
    answered(till, first)
    assert resumed(till, first).status == "captured"

    assert till.sold(payment_method=method.id).status == "captured"
    assert till.sold(payment_method=method.id, initiated_by="merchant").status == "captured"
    till.books_agree()
    till.close()


def test_nobody_is_there_to_prove_anything_when_the_merchant_charges() -> None:
    """A card that is challenged each time declines, and asks for its cardholder."""
    till = Till()
    method = till.card(CHALLENGED, customer=till.customer())
    first = till.sold(payment_method=method.id)
    answered(till, first)
    resumed(till, first)

    later = till.sold(payment_method=method.id, initiated_by="merchant")
    assert later.status == "declined"
    assert later.decline is not None
    assert later.decline.code == "authentication_required"
    till.close()


def test_what_a_person_found_to_be_held_lapses_like_everything_else() -> None:
    """The resumption got no answer, and the bank cannot be asked: nothing is held for ever."""
    blind = evolve(FULL_CAPABILITIES, inquiry_by_operation_id=False, dedups_operation_id_s=0.0)
    till = Till(capabilities=blind)
    waiting = till.held(number=CHALLENGED)
    answered(till, waiting)
    till.bank.next(Fault.LOSE_REPLY)
    with pytest.raises(OutcomeUnknown):
        resumed(till, waiting)
    till.advance(minutes=2)
    till.pay.recover()
    [in_review] = till.shop.operations.list_unresolved()
    till.shop.operations.resolve(
        in_review.id, outcome="succeeded", actor="Ada", reason="on the statement"
    )
    assert till.shop.payments.get(waiting.id).status == "authorized"

    till.advance(days=7)
    till.pay.recover()

    assert till.shop.payments.get(waiting.id).status == "expired"
    till.books_agree()
    till.close()
