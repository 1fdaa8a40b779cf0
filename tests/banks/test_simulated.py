"""The simulated bank's own rules: amounts, ids, reversals, cards on file, the statement."""

import time

import pytest
from bank_requests import CHALLENGE, DAY_S, HELD, SOLD, START, Clock, Counter, do, modest

from payplatform._domain.money import MAX_MINOR, Money
from payplatform._domain.operations import Initiator, StoredCredential
from payplatform.banks.simulated import (
    InquiryNotOffered,
    Position,
    SimulatedBank,
)
from payplatform.ports import BankRequest, ReplyOutcome, RequestKind

FIRST_USE = StoredCredential(initiator=Initiator.CUSTOMER, first_use=True)


# Rules, as a table: what was done before, what is asked, what comes of it.

RULES = [
    ([], ("sale", 0), "invalid_amount/not_positive"),
    ([], ("authorize", -1), "invalid_amount/not_positive"),
    ([], ("verify", 1), "invalid_amount/not_zero"),
    ([], ("capture", 1), "transaction_not_allowed/no_such_operation"),
    (HELD, ("capture", 0), "invalid_amount/not_positive"),
    (HELD, ("capture", -1), "invalid_amount/not_positive"),
    (HELD, ("capture", 100), "approved"),
    (HELD, ("capture", 101), "invalid_amount/amount_too_large"),
    (HELD, ("void", 100), "approved"),
    (HELD, ("void", 101), "invalid_amount/amount_too_large"),
    (HELD, ("refund", 1), "transaction_not_allowed/nothing_to_refund"),
    (HELD, ("increment", 1), "approved"),
    (HELD, ("increment", MAX_MINOR - 100), "approved"),
    (HELD, ("increment", MAX_MINOR - 99), "invalid_amount/amount_too_large"),
    (HELD, ("increment", 0), "invalid_amount/not_positive"),
    (HELD, ("resume", 100), "approved"),
    ([*HELD, ("capture", "c", 40)], ("capture", 60), "approved"),
    ([*HELD, ("capture", "c", 40)], ("void", 60), "approved"),
    ([*HELD, ("capture", "c", 40)], ("void", 61), "invalid_amount/amount_too_large"),
    ([*HELD, ("capture", "c", 40)], ("refund", 41), "invalid_amount/amount_too_large"),
    ([*HELD, ("capture", "c", 40)], ("refund", 40), "approved"),
    ([*HELD, ("capture", "c", 1)], ("increment", 1), "transaction_not_allowed/captured_already"),
    ([*HELD, ("void", "v", 40)], ("capture", 61), "invalid_amount/amount_too_large"),
    ([*HELD, ("void", "v", 40)], ("increment", 1), "approved"),
    ([*HELD, ("void", "v", 100)], ("capture", 1), "transaction_not_allowed/nothing_held"),
    ([*HELD, ("void", "v", 100)], ("increment", 1), "transaction_not_allowed/nothing_held"),
    ([*HELD, ("increment", "i", 50)], ("capture", 150), "approved"),
    (SOLD, ("capture", 1), "transaction_not_allowed/nothing_held"),
    (SOLD, ("void", 100), "transaction_not_allowed/nothing_held"),
    (SOLD, ("increment", 1), "transaction_not_allowed/nothing_held"),
    (SOLD, ("refund", 0), "invalid_amount/not_positive"),
    ([*SOLD, ("refund", "r", 60)], ("refund", 40), "approved"),
    ([*SOLD, ("refund", "r", 60)], ("refund", 41), "invalid_amount/amount_too_large"),
    ([*SOLD, ("refund", "r", 100)], ("refund", 1), "transaction_not_allowed/nothing_to_refund"),
]


@pytest.mark.parametrize(("history", "asked", "expected"), RULES)
def test_the_books_bound_what_may_follow(
    counter: Counter, history: list[tuple[str, str, int]], asked: tuple[str, int], expected: str
) -> None:
    do(counter, history)
    before = counter.bank.position("mer_1", "a")
    kind, amount_minor = asked

    assert counter.outcome(kind, "z", amount_minor, target_id="a") == expected
    if expected != "approved":
        assert counter.effects("z") == 0
        assert counter.bank.position("mer_1", "a") == before


def test_another_currency_is_declined(counter: Counter) -> None:
    do(counter, HELD)

    outcome = counter.outcome("capture", "c", 100, target_id="a", currency="JPY")

    assert outcome == "currency_not_supported/other_currency"


def test_a_final_capture_releases_the_rest_in_the_statement(counter: Counter) -> None:
    do(counter, HELD)
    counter.send("capture", "c", 60, target_id="a", final=True)

    lines = [(str(line.kind), line.amount.amount_minor) for line in counter.bank.statement()]
    assert lines == [("authorize", 100), ("capture", 60), ("release", 40)]
    assert counter.bank.position("mer_1", "a") == Position(authorized=100, captured=60, voided=40)
    assert counter.effects("c") == 1


def test_a_final_capture_of_everything_releases_nothing(counter: Counter) -> None:
    do(counter, HELD)
    counter.send("capture", "c", 100, target_id="a", final=True)

    assert [str(line.kind) for line in counter.bank.statement()] == ["authorize", "capture"]


# What a bank does not offer, it declines.

NOT_OFFERED = "transaction_not_allowed/not_offered"


@pytest.mark.parametrize(
    ("capability", "history", "asked", "expected"),
    [
        ("partial_refund", SOLD, ("refund", 99), NOT_OFFERED),
        ("partial_refund", SOLD, ("refund", 100), "approved"),
        ("partial_void", HELD, ("void", 99), NOT_OFFERED),
        ("partial_void", HELD, ("void", 100), "approved"),
        ("partial_void", [*HELD, ("capture", "c", 40)], ("void", 60), "approved"),
        ("increments", HELD, ("increment", 1), NOT_OFFERED),
        ("zero_amount_verification", [], ("verify", 0), NOT_OFFERED),
        (
            "multi_capture",
            [*HELD, ("capture", "c", 40)],
            ("capture", 1),
            "transaction_not_allowed/nothing_held",
        ),
        (
            "reversal_remembers_unknown",
            [],
            ("reversal", 100),
            "transaction_not_allowed/no_such_operation",
        ),
    ],
)
def test_what_is_switched_off_is_declined(
    clock: Clock,
    capability: str,
    history: list[tuple[str, str, int]],
    asked: tuple[str, int],
    expected: str,
) -> None:
    counter = modest(clock, **{capability: False})
    do(counter, history)
    kind, amount_minor = asked

    assert counter.outcome(kind, "z", amount_minor, target_id="a") == expected
    assert not getattr(counter.bank.capabilities, capability)


def test_without_inquiry_nothing_is_told(clock: Clock) -> None:
    counter = modest(clock, inquiry_by_operation_id=False)
    do(counter, SOLD)

    with pytest.raises(InquiryNotOffered):
        counter.inquire("a")


# One id, one effect, for as long as it is remembered.


def test_an_id_is_remembered_to_the_last_moment_of_the_window(clock: Clock) -> None:
    counter = modest(clock, dedups_operation_id_s=60.0)
    do(counter, SOLD)

    clock.forward(59.999999)
    do(counter, SOLD)
    assert counter.effects("a") == 1
    clock.forward(0.000001)
    do(counter, SOLD)

    assert counter.effects("a") == 2
    assert counter.bank.position("mer_1", "a").captured == 200


def test_without_dedup_it_is_really_done_again(clock: Clock) -> None:
    """Each time is a line of its own; an inquiry tells the first answer; a reversal undoes all."""
    counter = modest(clock, dedups_operation_id_s=0.0)
    first = counter.send("sale", "a")
    counter.send("sale", "a")

    assert [line.operation_id for line in counter.bank.statement()] == ["a", "a"]
    assert counter.effects("a") == 2
    assert counter.inquire("a") == first
    assert counter.outcome("reversal", "a") == "approved"
    assert counter.effects("a") == 0


def test_without_dedup_an_approval_is_told_rather_than_the_decline_before_it(clock: Clock) -> None:
    counter = modest(clock, dedups_operation_id_s=0.0)
    counter.send("sale", "a", card="4000000000000002")
    counter.send("sale", "a")

    assert counter.inquire("a").outcome is ReplyOutcome.APPROVED


def test_without_dedup_a_second_full_capture_is_declined_and_the_first_told(clock: Clock) -> None:
    counter = modest(clock, dedups_operation_id_s=0.0)
    do(counter, HELD)
    first = counter.send("capture", "c", target_id="a")

    assert counter.send("capture", "c", target_id="a").outcome is ReplyOutcome.DECLINED
    assert counter.inquire("c") == first


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_minor": 101},
        {"currency": "USD"},
        {"kind": "authorize"},
        {"card": "5555555555554444"},
    ],
)
def test_an_id_with_other_content_is_declined_without_effect(
    counter: Counter, changes: dict[str, object]
) -> None:
    """Whatever differs, it is told as a duplicate, and what was first done stays as it was."""
    first = counter.send("sale", "a")
    asked = {"kind": "sale", "amount_minor": 100} | changes

    reply = counter.send(operation_id="a", **asked)  # type: ignore[arg-type]  # a table of kwargs

    assert reply.decline is not None
    assert (reply.decline.code, reply.decline.bank_code) == (
        "duplicate_transaction",
        "other_content",
    )
    assert counter.inquire("a") == first
    assert counter.effects("a") == 1


@pytest.mark.parametrize("changes", [{"target_id": "b"}, {"final": True}])
def test_a_follow_up_with_other_content_is_declined_too(
    counter: Counter, changes: dict[str, object]
) -> None:
    do(counter, [*HELD, ("authorize", "b", 100)])
    counter.send("capture", "c", 40, target_id="a")

    again = counter.outcome("capture", "c", 40, **({"target_id": "a"} | changes))

    assert again == "duplicate_transaction/other_content"
    assert counter.bank.position("mer_1", "b").captured == 0


def test_merchants_may_use_the_same_ids(bank: SimulatedBank) -> None:
    one, two = Counter(bank, "mer_1"), Counter(bank, "mer_2")
    do(one, HELD)
    do(two, SOLD)

    assert one.inquire("a").amount == two.inquire("a").amount
    assert bank.position("mer_1", "a").captured == 0
    assert bank.position("mer_2", "a").captured == 100
    assert {line.merchant_id for line in bank.statement("mer_1")} == {"mer_1"}
    assert len(bank.statement()) == 2


# Reversal.

UNDONE = [
    (HELD, "a", Position()),
    (SOLD, "a", Position()),
    ([*HELD, ("increment", "i", 50)], "i", Position(authorized=100)),
    ([*HELD, ("capture", "c", 60)], "c", Position(authorized=100)),
    ([*HELD, ("void", "v", 60)], "v", Position(authorized=100)),
    ([*SOLD, ("refund", "r", 60)], "r", Position(authorized=100, captured=100)),
]


@pytest.mark.parametrize(("history", "operation_id", "left"), UNDONE)
def test_a_reversal_undoes_any_kind(
    counter: Counter, history: list[tuple[str, str, int]], operation_id: str, left: Position
) -> None:
    do(counter, history)

    assert counter.outcome("reversal", operation_id) == "approved"
    assert counter.bank.position("mer_1", "a") == left
    assert counter.effects(operation_id) == 0
    decline = counter.inquire(operation_id).decline
    assert decline is not None
    assert (decline.code, decline.bank_code) == ("generic_decline", "reversed")


def test_a_reversed_final_capture_takes_its_release_back(counter: Counter) -> None:
    do(counter, HELD)
    counter.send("capture", "c", 60, target_id="a", final=True)
    counter.send("reversal", "c")

    assert counter.bank.position("mer_1", "a") == Position(authorized=100)
    assert [str(line.state) for line in counter.bank.statement()] == [
        "booked",
        "reversed",
        "reversed",
    ]


@pytest.mark.parametrize(
    ("history", "operation_id"),
    [
        ([*HELD, ("capture", "c", 60)], "a"),
        ([*HELD, ("void", "v", 60)], "a"),
        ([*HELD, ("increment", "i", 50), ("capture", "c", 150)], "i"),
        ([*SOLD, ("refund", "r", 60)], "a"),
        ([*HELD, ("capture", "c", 60), ("refund", "r", 60)], "c"),
    ],
)
def test_what_was_built_on_cannot_be_reversed(
    counter: Counter, history: list[tuple[str, str, int]], operation_id: str
) -> None:
    do(counter, history)
    before = counter.bank.position("mer_1", "a")

    outcome = counter.outcome("reversal", operation_id)

    assert outcome == "transaction_not_allowed/already_used"
    assert counter.bank.position("mer_1", "a") == before
    assert counter.inquire(operation_id).outcome is ReplyOutcome.APPROVED


def test_an_expired_authorization_can_be_reversed(counter: Counter, clock: Clock) -> None:
    do(counter, HELD)
    clock.forward(8 * DAY_S)

    assert counter.outcome("reversal", "a") == "approved"
    assert counter.bank.position("mer_1", "a") == Position()


def test_a_reversal_of_a_decline_leaves_its_reason(counter: Counter) -> None:
    reply = counter.send("sale", "a", card="4000000000009995")

    assert counter.outcome("reversal", "a") == "approved"
    assert counter.inquire("a") == reply


def test_a_reversed_id_is_declined_for_ever_where_reversals_are_remembered(clock: Clock) -> None:
    """Even where ids are otherwise forgotten at once."""
    counter = modest(clock, dedups_operation_id_s=0.0)
    do(counter, SOLD)
    counter.send("reversal", "a")
    clock.forward(365 * DAY_S)

    assert counter.outcome("sale", "a") == "generic_decline/reversed"
    assert counter.effects("a") == 0


def test_where_reversals_are_not_remembered_a_reversed_id_is_done_again(clock: Clock) -> None:
    """And can be undone again."""
    counter = modest(clock, reversal_remembers_unknown=False, dedups_operation_id_s=60.0)
    do(counter, SOLD)
    counter.send("reversal", "a")
    assert counter.outcome("sale", "a") == "generic_decline/reversed"
    clock.forward(61)

    assert counter.outcome("sale", "a") == "approved"
    assert counter.outcome("reversal", "a") == "approved"
    assert counter.effects("a") == 0


def test_an_unseen_reversal_is_one_merchants(bank: SimulatedBank) -> None:
    Counter(bank, "mer_1").send("reversal", "a")

    assert Counter(bank, "mer_2").outcome("sale", "a") == "approved"


# Cards on file.


def merchants_own(network_transaction_id: str | None) -> StoredCredential:
    return StoredCredential(
        initiator=Initiator.MERCHANT,
        first_use=False,
        network_transaction_id=network_transaction_id,
    )


@pytest.mark.parametrize("missing", [None, ""])
def test_what_a_merchant_initiates_names_the_first_payment(
    counter: Counter, missing: str | None
) -> None:
    first = counter.send("sale", "a", stored_credential=FIRST_USE).network_transaction_id

    unnamed = counter.outcome("sale", "b", stored_credential=merchants_own(missing))

    assert unnamed == "transaction_not_allowed/network_transaction_id_missing"
    assert counter.outcome("sale", "c", stored_credential=merchants_own(first)) == "approved"


@pytest.mark.parametrize("kind", ["sale", "authorize", "verify"])
def test_every_first_approval_tells_the_networks_id(counter: Counter, kind: str) -> None:
    reply = counter.send(kind, "a", 0 if kind == "verify" else 100, stored_credential=FIRST_USE)

    assert reply.network_transaction_id is not None


@pytest.mark.parametrize(
    ("number", "credential", "expected"),
    [
        (CHALLENGE, merchants_own("net_x"), "authentication_required/1A"),
        ("4000002500003155", merchants_own("net_x"), "approved"),
        ("4000002500003155", FIRST_USE, "requires_action"),
        ("4000002500003155", None, "requires_action"),
    ],
)
def test_a_challenge_knows_a_card_on_file(
    counter: Counter, number: str, credential: StoredCredential | None, expected: str
) -> None:
    outcome = counter.outcome("sale", "a", card=number, stored_credential=credential)

    assert outcome == expected


def test_a_sale_without_a_card_is_declined(bank: SimulatedBank) -> None:
    request = BankRequest(
        kind=RequestKind.SALE,
        operation_id="a",
        merchant_id="mer_1",
        amount=Money.minor(100, "EUR"),
    )

    decline = bank.send(request, timeout_s=1).decline

    assert decline is not None
    assert decline.bank_code == "card_missing"


# The statement.


def test_the_statement_tells_what_money_did_and_nothing_else(counter: Counter) -> None:
    do(counter, [*HELD, ("capture", "c", 60), ("refund", "r", 10)])
    counter.send("sale", "declined", card="4000000000000002")
    counter.send("verify", "v", 0)

    told = [
        (line.operation_id, line.authorization_id, str(line.kind), str(line.amount))
        for line in counter.bank.statement("mer_1")
    ]

    assert told == [
        ("a", "a", "authorize", "1.00 EUR"),
        ("c", "a", "capture", "0.60 EUR"),
        ("r", "a", "refund", "0.10 EUR"),
    ]
    lines = counter.bank.statement()
    assert {(line.card_brand, line.card_last4, line.at) for line in lines} == {
        ("visa", "4242", START)
    }
    assert counter.bank.statement("mer_2") == []


def test_nothing_is_known_of_nothing(counter: Counter) -> None:
    assert counter.effects("a") == 0
    assert counter.bank.position("mer_1", "a") == Position()
    assert counter.bank.statement() == []


# The rest of the port.


def test_a_latency_is_waited_and_may_be_too_long(clock: Clock) -> None:
    """It is done all the same when the caller has stopped waiting."""
    counter = Counter(SimulatedBank(now=clock, latency_s=0.05))
    started = time.monotonic()
    counter.send("sale", "a", timeout_s=5)
    assert time.monotonic() - started >= 0.05

    started = time.monotonic()
    with pytest.raises(TimeoutError):
        counter.send("sale", "b", timeout_s=0.01)
    assert time.monotonic() - started < 0.05
    with pytest.raises(TimeoutError):
        counter.bank.inquire("mer_1", "b", timeout_s=0.01)
    assert counter.effects("b") == 1


def test_it_says_what_it_is(bank: SimulatedBank) -> None:
    described = bank.describe()

    assert described["bank"].startswith("simulated")
    assert described["unlisted_cards"] == "approved"
    in_memory = described["books"] == "memory"
    assert repr(bank).endswith("(memory)" if in_memory else "bank.db)")


def test_the_real_clock_is_used_where_none_is_given() -> None:
    counter = Counter(SimulatedBank())
    counter.send("sale", "a")

    [line] = counter.bank.statement()
    assert abs(line.at.timestamp() - time.time()) < 60
    assert line.at.utcoffset() is not None


def test_the_same_history_has_the_same_answers() -> None:
    """References follow from the ids: a replay is equal to the byte."""
    replies = [
        Counter(SimulatedBank(now=Clock())).send("authorize", "a", card=CHALLENGE) for _ in range(2)
    ]

    assert replies[0] == replies[1]
