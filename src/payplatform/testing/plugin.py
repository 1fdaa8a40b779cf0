"""The pytest plugin: a sandbox to test a shop with, whose time and cards are yours to choose.

Installed with `payplatform[testing]`, pytest finds it by itself. Each fixture is made anew for each
test, on the same clock, with ids that are the same on every run.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from payplatform.banks.simulated import SimulatedBank
from payplatform.client import MerchantClient, PayPlatform
from payplatform.testing.cards import NamedCards
from payplatform.testing.repeatable import FakeClock, SeededIds


@pytest.fixture
def pay_clock() -> FakeClock:
    """The time, which stands still until the test lets it pass.

    Example:
        ```python
        pay_clock.advance(days=8)
        pay_sandbox.recover()  # the authorization has expired, and is booked so
        ```
    """
    return FakeClock()


@pytest.fixture
def pay_bank(pay_clock: FakeClock) -> Iterator[SimulatedBank]:
    """The simulated bank: what it booked, and what goes wrong with the calls to come.

    Example:
        ```python
        pay_bank.next(Fault.LOSE_REPLY)
        assert len(pay_bank.statement(pay_shop.id)) == 1
        ```
    """
    bank = SimulatedBank(now=pay_clock)
    yield bank
    bank.close()


@pytest.fixture
def pay_sandbox(pay_bank: SimulatedBank, pay_clock: FakeClock) -> Iterator[PayPlatform]:
    """A platform in memory, on `pay_bank` and `pay_clock`.

    Example:
        ```python
        acme = pay_sandbox.merchants.create(name="Acme Books")
        assert pay_sandbox.doctor().ok
        ```
    """
    with PayPlatform.sandbox(bank=pay_bank, now=pay_clock, new_id=SeededIds()) as pay:
        yield pay


@pytest.fixture
def pay_shop(pay_sandbox: PayPlatform) -> MerchantClient:
    """A merchant of `pay_sandbox`, and all that is theirs.

    Example:
        ```python
        card = pay_shop.payment_methods.create(card=pay_cards.approves)
        pay_shop.payments.charge(Money("9.99", "EUR"), payment_method=card.id, idempotency_key="1")
        ```
    """
    merchant = pay_sandbox.merchants.create(name="Acme")
    return pay_sandbox.merchant(merchant.id)


@pytest.fixture
def pay_cards() -> NamedCards:
    """Cards by what the bank does with them: `approves`, `declines`, `needs_challenge`, and more.

    Example:
        ```python
        lost = pay_shop.payment_methods.create(card=pay_cards.lost)
        velocity = pay_shop.payment_methods.create(card=pay_cards.declined_as("velocity_exceeded"))
        ```
    """
    return NamedCards.from_table()
