"""A mortal process: it dies where it was told, and reaches nothing afterwards."""

from __future__ import annotations

from contextlib import suppress

import pytest

from payplatform import Card, MerchantClient, Money
from payplatform.banks.simulated import Fault, SimulatedBank
from payplatform.testing import FakeClock
from payplatform.testing.crash_everywhere import World
from payplatform.testing.mortal import Death, Died, Fate, Moment, Mortal, PortCall

pytest_plugins = ["payplatform.testing.plugin"]

NUMBER = "4242424242424242"


class Counter:
    """A port of one method, which counts, or fails."""

    name = "a counter"
    is_open = True

    def __init__(self) -> None:
        self.count = 0

    def add(self, number: int, *, fails: bool = False) -> int:
        self.count += number
        if fails:
            raise TimeoutError
        return self.count

    def close(self) -> None:
        self.is_open = False


def test_a_process_that_is_to_live_reaches_its_port() -> None:
    counter, fate = Counter(), Fate()
    port = Mortal(counter, fate, "counter")

    assert [port.add(1), port.add(2)] == [1, 3]
    assert port.name == "a counter"
    assert [str(call) for call in fate.calls] == ["counter.add", "counter.add"]
    assert not fate.is_dead


@pytest.mark.parametrize(("moment", "count"), [("before", 1), ("after", 3)])
def test_a_process_dies_on_the_side_of_the_call_that_it_was_told(
    moment: Moment, count: int
) -> None:
    counter, fate = Counter(), Fate(Death(2, moment))
    port = Mortal(counter, fate, "counter")
    port.add(1)

    with pytest.raises(Died):
        port.add(2)

    assert fate.is_dead
    assert counter.count == count


def test_a_death_just_after_a_call_strikes_even_if_the_call_failed() -> None:
    counter, fate = Counter(), Fate(Death(1, "after"))

    with pytest.raises(Died):
        Mortal(counter, fate, "counter").add(1, fails=True)

    assert counter.count == 1


def test_the_dead_reach_no_port_whatever_they_catch() -> None:
    counter, fate = Counter(), Fate(Death(1, "before"))
    port = Mortal(counter, fate, "counter")

    for _ in range(3):
        with suppress(BaseException):
            port.add(1)

    assert counter.count == 0
    assert len(fate.calls) == 1


def test_a_process_lives_again_when_it_is_told_so() -> None:
    counter, fate = Counter(), Fate(Death(1, "before"))
    port = Mortal(counter, fate, "counter")
    with suppress(Died):
        port.add(1)

    fate.await_death(None)

    assert port.add(1) == 1


def test_a_port_stays_open_when_its_process_closes_it() -> None:
    counter = Counter()

    Mortal(counter, Fate(), "counter").close()

    assert counter.is_open


@pytest.fixture
def shop(pay_world: World) -> MerchantClient:
    pay = pay_world.process()
    return pay.merchant(pay.merchants.create(name="Acme").id)


def charged(world: World, shop: MerchantClient) -> Fate:
    """The calls of a process that sells something, to a card with every secret there is."""
    fate = Fate()
    mine = world.process(fate).merchant(shop.id)
    card = mine.payment_methods.create(card=Card(NUMBER, "12/40", holder="Ada Lovelace"))
    fate.await_death(None)
    with suppress(Exception):
        mine.payments.charge(
            Money("42", "EUR"),
            payment_method=card.id,
            security_code="987",
            idempotency_key="order-1",
        )
    return fate


def test_the_calls_of_a_charge_can_be_read(pay_world: World, shop: MerchantClient) -> None:
    told = [str(call) for call in charged(pay_world, shop).calls]

    assert told[0] == "storage.operation_with_key (key order-1)"
    assert "storage.get (PaymentMethod)" in told
    order = [
        "storage.commit (Payment, sale in_flight)",
        "bank.send (sale of 42.00 EUR)",
    ]
    start = told.index(order[0])
    assert told[start : start + 2] == order
    assert any(call.startswith("storage.commit") and "sale succeeded" in call for call in told)


@pytest.mark.parametrize("fault", [None, Fault.LOSE_REPLY])
def test_what_is_kept_of_the_calls_holds_nothing_of_a_card(
    fault: Fault | None, pay_world: World, shop: MerchantClient, pay_bank: SimulatedBank
) -> None:
    pay_bank.next(fault)
    calls = charged(pay_world, shop).calls

    assert all(type(call) is PortCall for call in calls)
    for secret in (NUMBER, "987", "Lovelace"):
        assert secret not in repr(calls)


def test_a_new_process_shares_the_time(
    pay_world: World, shop: MerchantClient, pay_clock: FakeClock
) -> None:
    pay_clock.advance(days=1)

    assert pay_world.process().merchant(shop.id).customers.create().created_at == pay_clock()
