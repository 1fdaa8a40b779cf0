"""`pay_faults` makes a bad day, and sees whether it ends well."""

from __future__ import annotations

from contextlib import suppress

import pytest
from attrs import evolve

from payplatform import (
    InvalidRequest,
    MerchantClient,
    Money,
    OutcomeUnknown,
    Payment,
    PayPlatform,
    PayPlatformError,
)
from payplatform.banks.simulated import FAULTS, FULL_CAPABILITIES, Fault, SimulatedBank
from payplatform.ports import Changes
from payplatform.storage.memory import MemoryStorage
from payplatform.testing import BankFaults, FakeClock, NamedCards

pytest_plugins = ["payplatform.testing.plugin"]


@pytest.fixture
def card(pay_shop: MerchantClient, pay_cards: NamedCards) -> str:
    return pay_shop.payment_methods.create(card=pay_cards.approves).id


def charge(shop: MerchantClient, card: str, number: int = 1) -> Payment:
    return shop.payments.charge(
        Money("5", "EUR"), payment_method=card, idempotency_key=f"order-{number}"
    )


def answers(shop: MerchantClient, card: str, count: int, *, first: int = 1) -> list[str]:
    """What so many orders, from that number on, are told."""
    told = []
    for number in range(first, first + count):
        try:
            told.append(str(charge(shop, card, number).status))
        except PayPlatformError as error:
            told.append(str(error.code))
    return told


def test_a_fault_strikes_by_its_name(
    pay_shop: MerchantClient, card: str, pay_faults: BankFaults
) -> None:
    pay_faults.next("lose_reply", None, Fault.DOWN)

    assert answers(pay_shop, card, 4) == ["outcome_unknown", "captured", "not_sent", "captured"]


def test_a_fault_may_wait_for_a_sort_of_call(
    pay_shop: MerchantClient, card: str, pay_faults: BankFaults
) -> None:
    pay_faults.next("lose_reply", on="inquiry")
    assert charge(pay_shop, card).status == "captured"

    pay_faults.next("lose_reply", on="send")
    for number in (2, 2):
        with pytest.raises(OutcomeUnknown):
            charge(pay_shop, card, number)


def test_a_bank_is_down_until_it_is_up(
    pay_shop: MerchantClient, card: str, pay_faults: BankFaults
) -> None:
    pay_faults.down()
    assert answers(pay_shop, card, 2) == ["not_sent", "not_sent"]
    pay_faults.up()
    assert charge(pay_shop, card, 3).status == "captured"


def test_chance_is_the_same_for_the_same_seed(
    pay_shop: MerchantClient, card: str, pay_faults: BankFaults
) -> None:
    days = []
    for place, seed in enumerate([1, 1, 2]):
        pay_faults.at_random(seed=seed)
        days.append(answers(pay_shop, card, 40, first=1_000 * place))

    assert days[0] == days[1] != days[2]
    assert {"outcome_unknown", "captured"} <= set(days[0])


def test_rates_are_given_by_name(
    pay_shop: MerchantClient, card: str, pay_faults: BankFaults
) -> None:
    pay_faults.at_random(seed=1, down=1.0)
    assert answers(pay_shop, card, 3) == ["not_sent"] * 3


def test_a_fault_that_does_not_exist_is_refused(pay_faults: BankFaults) -> None:
    with pytest.raises(ValueError, match="bad_weather"):
        pay_faults.next("bad_weather")
    with pytest.raises(ValueError, match="bad_weather"):
        pay_faults.at_random(1, bad_weather=0.1)
    with pytest.raises(ValueError, match="telegram"):
        pay_faults.next("down", on="telegram")
    with pytest.raises(InvalidRequest):
        pay_faults.at_random(1, down=1.1)


def test_all_are_those_that_asking_again_finds_out() -> None:
    assert Fault.LOSE_REPLY in BankFaults.all
    assert not [fault for fault in BankFaults.all if FAULTS[fault].breaks_promise]


def test_every_fault_strikes_and_ends_well(
    pay_fault: Fault,
    pay_shop: MerchantClient,
    card: str,
    pay_faults: BankFaults,
    pay_bank: SimulatedBank,
) -> None:
    """The test runs once for each; a fault that had not struck would still be on the script."""
    assert pay_fault in BankFaults.all
    assert pay_bank._plan._script == [(pay_fault, None)]
    with suppress(PayPlatformError):
        charge(pay_shop, card)
    assert pay_bank._plan._script == []

    pay_faults.end_well()

    (payment,) = pay_shop.payments.list()
    moved = [line for line in pay_bank.statement() if line.state == "booked"]
    assert len(moved) == (payment.status == "captured")


@pytest.mark.parametrize("seed", range(3))
def test_a_day_of_chance_ends_well(
    seed: int, pay_shop: MerchantClient, card: str, pay_faults: BankFaults
) -> None:
    pay_faults.at_random(seed=seed)
    answers(pay_shop, card, 30)

    pay_faults.end_well()

    assert answers(pay_shop, card, 30, first=100) == ["captured"] * 30


def test_after_a_good_end_nothing_goes_wrong_any_more(
    pay_shop: MerchantClient, card: str, pay_faults: BankFaults
) -> None:
    pay_faults.at_random(seed=1, fail_after=1.0)
    pay_faults.next("down", "down")
    pay_faults.down()

    pay_faults.end_well()

    assert charge(pay_shop, card).status == "captured"


def test_what_the_bank_takes_back_is_told_by_a_notice_in_the_end(
    pay_shop: MerchantClient, card: str, pay_faults: BankFaults, pay_bank: SimulatedBank
) -> None:
    payment = charge(pay_shop, card)
    pay_faults.next("take_back")
    refunded = pay_shop.payments.refund(payment.id, idempotency_key="refund-1")
    assert refunded.status == "refunded"

    pay_faults.end_well()

    assert pay_shop.payments.get(payment.id).status == "captured"
    assert not pay_bank.notices()


def test_an_authorization_is_not_left_to_expire(
    pay_shop: MerchantClient, card: str, pay_faults: BankFaults
) -> None:
    payment = pay_shop.payments.authorize(
        Money("5", "EUR"), payment_method=card, idempotency_key="order-1"
    )

    pay_faults.end_well()

    assert pay_shop.payments.get(payment.id).status == "authorized"


class LossyStorage(MemoryStorage):
    def commit(self, changes: Changes) -> None:
        super().commit(evolve(changes, postings=()))


def test_broken_books_are_no_good_end(pay_bank: SimulatedBank, pay_clock: FakeClock) -> None:
    from payplatform.keys.local import LocalKeyService

    pay = PayPlatform(
        storage=LossyStorage(), bank=pay_bank, keys=LocalKeyService.ephemeral(), now=pay_clock
    )
    shop = pay.merchant(pay.merchants.create(name="Acme").id)
    card = shop.payment_methods.create(card=NamedCards.from_table().approves)
    payment = charge(shop, card.id)

    with pytest.raises(AssertionError, match=f"It did not end well:\n{payment.id}: "):
        BankFaults(bank=pay_bank, pay=pay, clock=pay_clock).end_well()


def test_what_needs_a_person_is_no_good_end(pay_clock: FakeClock) -> None:
    forgetful = evolve(FULL_CAPABILITIES, reversal_remembers_unknown=False)
    bank = SimulatedBank(now=pay_clock, capabilities=forgetful)
    with PayPlatform.sandbox(bank=bank, now=pay_clock) as pay:
        faults = BankFaults(bank=bank, pay=pay, clock=pay_clock)
        shop = pay.merchant(pay.merchants.create(name="Acme").id)
        card = shop.payment_methods.create(card=NamedCards.from_table().approves)
        faults.next("lose_request")
        with pytest.raises(OutcomeUnknown):
            charge(shop, card.id)

        with pytest.raises(AssertionError, match="the sale is needs_review: the bank does not"):
            faults.end_well()
