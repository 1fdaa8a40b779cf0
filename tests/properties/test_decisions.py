"""`decide` and `settle` keep their promises for every payment, whatever it has been through.

They are pure, so the histories need no store, no bank and no clock: `pure_shop` makes them. The
promises are those of invariants 1 and 3 of the design: what is under way counts as spent, nothing
illegal changes anything, and silence decides nothing.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import product

import pytest
from attrs import evolve
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from pure_shop import (
    CAN_ALL,
    FACTS,
    FEES,
    FOLLOW_UPS,
    LIFETIME,
    METHOD,
    START,
    PureShop,
    capabilities,
    shops,
)

from payplatform._domain.commands import Command, Verb
from payplatform._domain.decisions import Step, World, open_entry, take_over, verify_method
from payplatform._domain.fees import CHARGED_KINDS, FeeKind
from payplatform._domain.messages import BankReply, ReplyOutcome
from payplatform._domain.money import Money
from payplatform._domain.operations import (
    STARTING_KINDS,
    TRANSITIONS,
    Doubt,
    Initiator,
    OperationKind,
    OperationState,
    Trigger,
)
from payplatform._domain.outcomes import late_answer
from payplatform._domain.payments import NO_CHANGE, Facts, rebuild
from payplatform._domain.replies import read_reply, read_reversal
from payplatform.errors import ErrorCode, InvalidRequest, NotAllowed

any_shop = shops()
amounts = st.integers(1, 400)
S, T = OperationState, Trigger

PATHS_TO_SUCCESS: dict[OperationState, tuple[Trigger, ...]] = {
    S.IN_FLIGHT: (T.APPROVED,),
    S.IN_DOUBT: (T.APPROVED,),
    S.REQUIRES_ACTION: (T.APPROVED,),
    S.PENDING: (T.APPROVED,),
    S.REVERSING: (T.GIVEN_UP, T.RESOLVED_SUCCEEDED),
    S.NEEDS_REVIEW: (T.RESOLVED_SUCCEEDED,),
}


def refusal(shop: PureShop, verb: Verb, amount: int | None, *, final: bool = False) -> ErrorCode:
    with pytest.raises((NotAllowed, InvalidRequest)) as caught:
        shop.decide(shop.command(verb, amount, final=final))
    return caught.value.code


def is_accepted(shop: PureShop, verb: Verb, amount: int | None, *, final: bool = False) -> bool:
    with suppress(NotAllowed, InvalidRequest):
        shop.decide(shop.command(verb, amount, final=final))
        return True
    return False


# -- what is under way counts as spent


@given(shop=any_shop, data=st.data())
def test_if_all_that_is_under_way_succeeds_in_any_order_the_sums_still_hold(
    shop: PureShop, data: st.DataObject
) -> None:
    """The worst case that a reservation is made for; each step on the way holds too."""
    for operation in data.draw(st.permutations(shop.open)):
        for trigger in PATHS_TO_SUCCESS.get(shop.operations[operation.id].state, ()):
            assert shop.answer(operation.id, trigger)
            assert shop.findings() == []

    assert shop.open == []


@pytest.mark.parametrize(
    ("verb", "limit", "code"),
    [
        (Verb.CAPTURE, "capturable", ErrorCode.AMOUNT_EXCEEDS_CAPTURABLE),
        (Verb.VOID, "voidable", ErrorCode.AMOUNT_EXCEEDS_VOIDABLE),
        (Verb.REFUND, "refundable", ErrorCode.AMOUNT_EXCEEDS_REFUNDABLE),
    ],
)
@given(shop=any_shop)
def test_all_that_is_left_is_accepted_and_one_minor_unit_more_is_not(
    shop: PureShop, verb: Verb, limit: str, code: ErrorCode
) -> None:
    left = getattr(shop.payment, limit).amount_minor
    kind = OperationKind(verb)
    in_time = verb is Verb.REFUND or not shop.payment.is_expired(shop.now)

    if kind in shop.payment.allowed_operations and in_time:
        assert shop.decide(shop.command(verb, left)).operation.amount == Money.minor(left, "EUR")
        assert shop.decide(shop.command(verb)).operation.amount == Money.minor(left, "EUR")
        assert refusal(shop, verb, left + 1) == code
    else:
        assert not is_accepted(shop, verb, 1)
        assert not is_accepted(shop, verb, None)


@given(shop=any_shop, data=st.data())
def test_what_is_reserved_is_gone_before_the_bank_is_asked(
    shop: PureShop, data: st.DataObject
) -> None:
    verb = data.draw(st.sampled_from([Verb.CAPTURE, Verb.VOID, Verb.REFUND]))
    limit = "refundable_minor" if verb is Verb.REFUND else "capturable_minor"
    before = getattr(shop.payment, limit)
    amount = data.draw(st.integers(1, max(before, 1)))

    if shop.ask(verb, amount):
        assert getattr(shop.payment, limit) == before - amount
        assert shop.payment.facts == rebuild(event.change for event in shop.events)


@given(shop=any_shop)
def test_a_final_capture_under_way_leaves_nothing_to_capture_or_void(shop: PureShop) -> None:
    if shop.ask(Verb.CAPTURE, 1, final=True):
        assert (shop.payment.capturable_minor, shop.payment.voidable_minor) == (0, 0)
        assert not is_accepted(shop, Verb.CAPTURE, 1)
        assert not is_accepted(shop, Verb.VOID, 1)


@given(shop=any_shop, amount=amounts)
def test_a_final_capture_releases_the_rest_when_it_succeeds_and_only_then(
    shop: PureShop, amount: int
) -> None:
    before = shop.payment.facts
    if not shop.ask(Verb.CAPTURE, amount, final=True):
        return
    *_, capture = shop.operations
    assert shop.payment.facts == before

    shop.answer(capture, Trigger.APPROVED)
    rest = before.uncaptured - amount
    fee = FEES.fee_minor(FeeKind.CAPTURE, amount, shop.payment)
    assert shop.payment.facts == before + Facts(captured=amount, voided=rest, fees=fee)
    assert shop.payment.facts.uncaptured == 0


@given(amount=amounts, more=amounts, state=st.sampled_from([T.UNCLEAR, T.LEFT_PENDING, None]))
def test_what_releases_the_rest_waits_until_an_increment_is_known(
    amount: int, more: int, state: Trigger | None
) -> None:
    """Else the bank would let go of the increment too, which our books come to hold later."""
    shop = PureShop()
    shop.ask(Verb.AUTHORIZE, amount)
    [authorization] = shop.operations
    shop.answer(authorization, Trigger.APPROVED)
    assert shop.ask(Verb.INCREMENT, more)
    *_, increment = shop.operations
    if state is not None:
        shop.answer(increment, state)

    assert refusal(shop, Verb.CAPTURE, 1, final=True) == ErrorCode.OPERATION_OPEN
    assert is_accepted(shop, Verb.CAPTURE, 1)
    shop.answer(increment, Trigger.DECLINED)
    assert is_accepted(shop, Verb.CAPTURE, 1, final=True)


# -- what may follow


@given(shop=any_shop)
def test_what_is_allowed_is_what_is_accepted_for_some_amount(shop: PureShop) -> None:
    """By the facts alone: this bank can do everything, and no authorization has expired."""
    shop.now = min(shop.now, START)
    accepted = {
        OperationKind(verb)
        for verb in FOLLOW_UPS
        if any(is_accepted(shop, verb, amount) for amount in (None, 1))
    }
    if is_accepted(shop, Verb.RETRY, None):
        accepted.add(shop.payment.intent)

    assert accepted == shop.payment.allowed_operations


@given(shop=shops(banks=capabilities()), verb=st.sampled_from(FOLLOW_UPS), amount=amounts)
def test_a_bank_that_can_less_only_takes_away(shop: PureShop, verb: Verb, amount: int) -> None:
    """And it says which: nothing is refused for want of the bank that the facts refuse anyway."""
    weak, strong = shop, evolve_bank(shop)
    if is_accepted(weak, verb, amount):
        assert is_accepted(strong, verb, amount)
    elif is_accepted(strong, verb, amount):
        once_only = ErrorCode.OPERATION_OPEN  # a bank that captures once, and does so already
        assert refusal(weak, verb, amount) in {ErrorCode.NOT_SUPPORTED_BY_BANK, once_only}


def evolve_bank(shop: PureShop) -> PureShop:
    twin = PureShop(bank=CAN_ALL, now=shop.now, operations=shop.operations)
    twin.payment = shop.payment
    return twin


@given(shop=shops(banks=capabilities()))
def test_what_the_bank_does_in_part_only_is_accepted_whole_alone(shop: PureShop) -> None:
    payment = shop.payment
    for verb, can, whole, most in (
        (Verb.VOID, shop.bank.partial_void, payment.voidable_minor, payment.voidable_minor),
        (Verb.REFUND, shop.bank.partial_refund, payment.facts.captured, payment.refundable_minor),
    ):
        if not can and is_accepted(shop, verb, whole):
            assert not any(is_accepted(shop, verb, part) for part in range(1, min(whole, 5)))
            assert most == whole


@given(amount=amounts, late=st.sampled_from([timedelta(0), timedelta(days=400)]))
def test_an_expired_authorization_moves_no_more(amount: int, late: timedelta) -> None:
    """From the very moment at which the bank lets go; a refund knows no such end."""
    shop = PureShop()
    shop.ask(Verb.AUTHORIZE, 500)
    [authorization] = shop.operations
    shop.answer(authorization, Trigger.APPROVED)
    shop.now = START + LIFETIME - timedelta(microseconds=1)
    assert all(is_accepted(shop, verb, amount) for verb in (Verb.CAPTURE, Verb.VOID))

    shop.now = START + LIFETIME + late
    for verb in (Verb.CAPTURE, Verb.VOID, Verb.INCREMENT):
        assert refusal(shop, verb, amount) == ErrorCode.AUTHORIZATION_EXPIRED


@given(shop=any_shop, verb=st.sampled_from(FOLLOW_UPS), amount=amounts)
def test_another_currency_than_the_payments_is_refused(
    shop: PureShop, verb: Verb, amount: int
) -> None:
    command = evolve(shop.command(verb), amount=Money.minor(amount, "JPY"))
    with pytest.raises(InvalidRequest) as caught:
        shop.decide(command)
    assert (caught.value.code, caught.value.field) == (ErrorCode.CURRENCY_MISMATCH, "amount")


@given(shop=any_shop, verb=st.sampled_from([Verb.RETRY, *FOLLOW_UPS]), amount=amounts)
def test_deciding_is_pure(shop: PureShop, verb: Verb, amount: int) -> None:
    """It reads its arguments and nothing else, so asked twice it answers the same."""
    command = shop.command(verb, amount)
    world = evolve(shop.world(), new_id=lambda prefix: f"{prefix}_fixed")

    assert _decided(shop, command, world) == _decided(shop, command, world)


def _decided(shop: PureShop, command: Command, world: World) -> Step | ErrorCode:
    try:
        return shop.decide(command, world)
    except (NotAllowed, InvalidRequest) as error:
        return error.code


@given(shop=any_shop)
def test_a_merchant_may_start_only_what_a_customer_agreed_to(shop: PureShop) -> None:
    command = evolve(shop.command(Verb.CHARGE, 5), initiator=Initiator.MERCHANT)
    with pytest.raises(NotAllowed) as caught:
        shop.decide(command)
    assert caught.value.code == ErrorCode.NO_STORED_CREDENTIAL


def test_a_card_is_verified_once_at_a_time() -> None:
    shop = PureShop()
    command = evolve(shop.command(Verb.CHARGE), verb=Verb.VERIFY, amount=Money.zero("EUR"))
    step = verify_method(command, METHOD, shop.world())

    assert step.subject.open_operations == (open_entry(step.operation),)
    with pytest.raises(NotAllowed) as caught:
        verify_method(command, step.subject, shop.world())  # type: ignore[arg-type]  # a method
    assert caught.value.code == ErrorCode.OPERATION_OPEN


# -- what an answer changes


@given(shop=any_shop, data=st.data())
def test_an_answer_that_is_not_in_the_table_changes_nothing(
    shop: PureShop, data: st.DataObject
) -> None:
    drawn = data.draw(st.sampled_from(list(shop.operations.values())))
    for state, trigger in product(OperationState, Trigger):
        operation = evolve(drawn, state=state)
        step = shop.settle(operation, shop.verdict(operation, trigger))
        assert (step is not None) is ((state, trigger) in TRANSITIONS)


@given(shop=any_shop, data=st.data())
def test_no_answer_lowers_a_fact_but_the_bank_taking_a_success_back(
    shop: PureShop, data: st.DataObject
) -> None:
    operation = data.draw(st.sampled_from(list(shop.operations.values())))
    trigger = data.draw(st.sampled_from(list(Trigger)))
    step = shop.settle(operation, shop.verdict(operation, trigger))
    if step is None:
        return
    [change] = [event.change for event in step.changes.events]
    moved = {name for name in FACTS if getattr(change, name)}
    lowered = {name for name in moved if getattr(change, name) < 0}

    assert not lowered or trigger is Trigger.TAKEN_BACK
    assert not moved or step.operation.state in {S.SUCCEEDED, S.REVERSED}


@given(shop=any_shop, data=st.data())
def test_nothing_is_charged_for_but_by_an_operation_that_may_be(
    shop: PureShop, data: st.DataObject
) -> None:
    """For the others nobody looks up what counts."""
    operation = data.draw(st.sampled_from(list(shop.operations.values())))
    trigger = data.draw(st.sampled_from(list(Trigger)))
    step = shop.settle(operation, shop.verdict(operation, trigger))
    if step is None:
        return
    [change] = [event.change for event in step.changes.events]

    assert change.fees <= 0 or operation.kind in CHARGED_KINDS


@given(shop=any_shop, data=st.data())
def test_a_success_taken_back_undoes_what_it_did(shop: PureShop, data: st.DataObject) -> None:
    """Seen on a refund, which may bounce at any time without touching anything else."""
    refunds = [
        o
        for o in shop.operations.values()
        if (o.kind, o.state) == (OperationKind.REFUND, S.SUCCEEDED)
    ]
    if not refunds:
        return
    refund = data.draw(st.sampled_from(refunds))
    before = shop.payment.facts

    assert shop.answer(refund.id, Trigger.TAKEN_BACK)
    assert shop.operations[refund.id].state is S.REVERSED
    amount, fee = refund.amount.amount_minor, FEES.fee_minor(FeeKind.REFUND, 1, shop.payment)
    assert shop.payment.facts == before + Facts(refunded=-amount, fees=-fee)
    assert shop.findings() == []


@given(shop=any_shop, data=st.data())
def test_every_step_is_one_event_one_version_and_an_open_list_that_is_true(
    shop: PureShop, data: st.DataObject
) -> None:
    if not shop.open:
        return
    operation = data.draw(st.sampled_from(shop.open))
    trigger = data.draw(st.sampled_from(list(Trigger)))
    before = shop.payment
    step = shop.settle(operation, shop.verdict(operation, trigger))
    if step is None:
        return
    shop.commit(step.changes)

    assert shop.payment.version == before.version + 1 == len(shop.events)
    assert step.operation.epoch == operation.epoch + 1
    is_listed = operation.id in {entry.id for entry in shop.payment.open_operations}
    assert is_listed is not step.operation.state.is_final
    assert shop.findings() == []


@given(shop=any_shop, data=st.data())
def test_a_look_that_learns_nothing_leaves_the_receipt_as_it_was(
    shop: PureShop, data: st.DataObject
) -> None:
    """So that a repeat tells the outcome as it was told first, and not a payment of later on."""
    if not shop.open:
        return
    operation = data.draw(st.sampled_from(shop.open))
    trigger = data.draw(st.sampled_from([Trigger.UNCLEAR, Trigger.LEFT_PENDING]))
    step = shop.settle(operation, shop.verdict(operation, trigger))
    if step is None:
        return
    is_told = step.operation.state in {S.PENDING, S.REQUIRES_ACTION}

    is_news = step.operation.state is not operation.state
    assert [receipt.operation_id for receipt in step.changes.receipts] == (
        [operation.id] if is_told and is_news else []
    )


@pytest.mark.parametrize("verb", [Verb.CHARGE, Verb.AUTHORIZE])
@given(amount=amounts)
def test_a_resume_decides_what_waited_for_the_cardholder_in_the_same_step(
    verb: Verb, amount: int
) -> None:
    for trigger, state in ((T.APPROVED, S.SUCCEEDED), (T.DECLINED, S.DECLINED)):
        shop, waiting = waiting_shop(verb, amount)
        assert shop.ask(Verb.RESUME)
        *_, resume = shop.operations
        shop.answer(resume, trigger)

        assert shop.operations[resume].state is shop.operations[waiting].state is state
        assert shop.payment.facts.authorized == (amount if trigger is T.APPROVED else 0)
        assert shop.payment.action is None
        assert (shop.open, shop.findings()) == ([], [])


@pytest.mark.parametrize("trigger", [T.UNCLEAR, T.LEFT_PENDING, T.NOT_SENT])
@given(amount=amounts)
def test_a_resume_that_decides_nothing_leaves_the_payment_waiting(
    trigger: Trigger, amount: int
) -> None:
    shop, waiting = waiting_shop(Verb.AUTHORIZE, amount)
    shop.ask(Verb.RESUME)
    *_, resume = shop.operations
    shop.answer(resume, trigger)

    assert shop.operations[waiting].state is S.REQUIRES_ACTION
    assert shop.payment.action is not None
    assert shop.payment.facts == Facts(requested=amount)


def waiting_shop(verb: Verb, amount: int) -> tuple[PureShop, str]:
    """A payment that waits for its cardholder, and the operation that does."""
    shop = PureShop()
    shop.ask(verb, amount)
    [waiting] = shop.operations
    shop.answer(waiting, Trigger.ACTION_REQUIRED)
    return shop, waiting


@given(shop=any_shop, data=st.data())
def test_a_late_answer_is_noted_and_changes_nothing_else(
    shop: PureShop, data: st.DataObject
) -> None:
    operation = data.draw(st.sampled_from(list(shop.operations.values())))
    verdict = shop.verdict(operation, data.draw(st.sampled_from(list(Trigger))))
    before = shop.payment
    shop.commit(late_answer(operation, shop.payment, verdict, shop.world()))

    unchanged = evolve(before, version=before.version + 1, updated_at=shop.payment.updated_at)
    assert shop.payment == unchanged
    assert (shop.events[-1].change, shop.events[-1].type) == (
        NO_CHANGE,
        f"{operation.kind}.late_answer",
    )
    assert shop.findings() == []


@given(shop=any_shop, data=st.data())
def test_taking_over_changes_who_holds_it_and_not_what_it_is(
    shop: PureShop, data: st.DataObject
) -> None:
    operation = data.draw(st.sampled_from(list(shop.operations.values())))
    taken = take_over(operation, shop.world())

    assert (taken.epoch, taken.attempts) == (operation.epoch + 1, operation.attempts + 1)
    assert open_entry(taken) == open_entry(operation)
    assert taken.lease_until == taken.next_try_at
    assert taken.lease_until > shop.now


# -- what an answer means


@given(
    shop=any_shop,
    outcome=st.sampled_from(list(ReplyOutcome)),
    wrong=st.sampled_from(["id", "amount", "currency", "no amount", "reference", "not a reply"]),
    data=st.data(),
)
def test_an_answer_that_may_be_meant_for_another_proves_nothing(
    shop: PureShop, outcome: ReplyOutcome, wrong: str, data: st.DataObject
) -> None:
    operation = data.draw(st.sampled_from(list(shop.operations.values())))
    good = BankReply(operation_id=operation.id, outcome=outcome, amount=operation.amount)
    replies: dict[str, object] = {
        "id": evolve(good, operation_id="op_other"),
        "amount": evolve(good, amount=operation.amount + Money.minor(1, "EUR")),
        "currency": evolve(good, amount=Money.minor(operation.amount.amount_minor, "USD")),
        "no amount": evolve(good, amount=None),
        "reference": evolve(good, reference="r" * 256),
        "not a reply": {"outcome": "approved"},
    }
    verdict = read_reply(operation, replies[wrong])

    if wrong == "no amount" and outcome not in {ReplyOutcome.APPROVED, ReplyOutcome.PENDING}:
        return  # who declines need not say how much
    assert verdict.trigger is Trigger.UNCLEAR
    assert verdict.reply is None


@given(shop=any_shop, data=st.data())
def test_a_reference_that_looks_like_a_card_number_is_left_out_and_the_answer_believed(
    shop: PureShop, data: st.DataObject
) -> None:
    """Random digits pass for a card now and then: no reason to doubt money that has moved."""
    operation = data.draw(st.sampled_from(list(shop.operations.values())))
    reply = BankReply(
        operation_id=operation.id,
        outcome=ReplyOutcome.APPROVED,
        amount=operation.amount,
        reference="4242424242424242",
        network_transaction_id="4242424242424242",
    )
    verdict = read_reply(operation, reply)

    assert verdict.trigger is Trigger.APPROVED
    assert "4242424242424242" not in repr(verdict)
    assert [name for name, _ in verdict.details] == ["reference", "network_transaction_id"]


@given(shop=any_shop, data=st.data())
def test_not_found_is_not_declined(shop: PureShop, data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from(list(shop.operations.values())))
    reply = BankReply(operation_id=operation.id, outcome=ReplyOutcome.NOT_FOUND)

    assert read_reply(operation, reply).trigger is Trigger.UNCLEAR
    assert read_reply(operation, reply).reason == Doubt.NOT_FOUND
    assert read_reversal(operation, reply).trigger is Trigger.UNCLEAR


@given(shop=any_shop, outcome=st.sampled_from(list(ReplyOutcome)), data=st.data())
def test_only_a_starting_operation_waits_for_the_cardholder(
    shop: PureShop, outcome: ReplyOutcome, data: st.DataObject
) -> None:
    operation = data.draw(st.sampled_from(list(shop.operations.values())))
    reply = BankReply(operation_id=operation.id, outcome=outcome, amount=operation.amount)
    verdict = read_reply(operation, reply)

    if verdict.trigger is Trigger.ACTION_REQUIRED:
        assert operation.kind in STARTING_KINDS
        assert verdict.reply is not None
        assert verdict.reply.action is not None


@given(shop=any_shop, outcome=st.sampled_from(list(ReplyOutcome)), data=st.data())
def test_a_reversal_never_ends_in_success(
    shop: PureShop, outcome: ReplyOutcome, data: st.DataObject
) -> None:
    operation = data.draw(st.sampled_from(list(shop.operations.values())))
    reply = BankReply(operation_id=operation.id, outcome=outcome)
    reversing = evolve(operation, state=S.REVERSING)
    step = shop.settle(reversing, read_reversal(reversing, reply))

    assert step is not None
    assert step.operation.state in {S.ABORTED, S.NEEDS_REVIEW, S.REVERSING}
    assert step.changes.events[-1].change == NO_CHANGE


# -- and the histories get everywhere


@pytest.mark.parametrize(
    "reached",
    [
        lambda shop: len(shop.open) > 1,
        lambda shop: shop.payment.has_open(OperationKind.RESUME),
        lambda shop: any(o.state is S.REVERSING for o in shop.open),
        lambda shop: any(o.state is S.NEEDS_REVIEW for o in shop.open),
        lambda shop: shop.payment.facts.refunded and shop.payment.has_open(OperationKind.REFUND),
        lambda shop: shop.payment.facts.captured and shop.payment.has_open(OperationKind.VOID),
        lambda shop: shop.payment.facts.voided and shop.payment.facts.captured,
        lambda shop: shop.payment.facts.expired,
        lambda shop: shop.payment.decline and shop.payment.facts.captured,
        lambda shop: shop.payment.facts.authorized > shop.payment.facts.uncaptured > 0,
    ],
)
def test_the_histories_reach_what_these_tests_are_about(
    reached: Callable[[PureShop], object],
) -> None:
    tries = settings(max_examples=5_000, database=None, derandomize=True, phases=[Phase.generate])

    find(any_shop, lambda shop: bool(reached(shop)), settings=tries)
