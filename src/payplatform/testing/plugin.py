"""The pytest plugin: a sandbox to test a shop with, whose time and cards are yours to choose.

Installed with `payplatform[testing]`, pytest finds it by itself. Each fixture is made anew for each
test, on the same clock, with ids that are the same on every run. Override `pay_storage`, `pay_bank`
or `pay_keys` with one of your own, and all the others are built on yours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from payplatform.banks.simulated import WIRE_FAULTS, Fault, SimulatedBank, StatementLine
from payplatform.client import MerchantClient, PayPlatform
from payplatform.ports import Bank, KeyService, Storage
from payplatform.storage.memory import MemoryStorage
from payplatform.testing.cards import NamedCards
from payplatform.testing.crash_everywhere import World
from payplatform.testing.faults import BankFaults
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
def pay_storage() -> Iterator[Storage]:
    """Where everything is kept: in memory.

    Example:
        ```python
        @pytest.fixture
        def pay_storage(tmp_path):
            return SQLiteStorage(tmp_path / "shop.db")
        ```
    """
    storage = MemoryStorage()
    yield storage
    storage.close()


@pytest.fixture
def pay_keys() -> KeyService:
    """Who keeps the master key: nobody longer than the test.

    Example:
        ```python
        @pytest.fixture
        def pay_keys(tmp_path):
            return LocalKeyService.open(tmp_path / "master.key", create=True)
        ```
    """
    # Cryptography is slow to load, and pytest loads this file whenever it starts.
    from payplatform.keys.local import LocalKeyService  # noqa: PLC0415  # as said above

    return LocalKeyService.ephemeral()


@pytest.fixture
def pay_sandbox(
    pay_storage: Storage, pay_bank: Bank, pay_keys: KeyService, pay_clock: FakeClock
) -> Iterator[PayPlatform]:
    """A platform on `pay_storage`, `pay_bank`, `pay_keys` and `pay_clock`.

    Example:
        ```python
        acme = pay_sandbox.merchants.create(name="Acme Books")
        assert pay_sandbox.doctor().ok
        ```
    """
    with PayPlatform(
        storage=pay_storage, bank=pay_bank, keys=pay_keys, now=pay_clock, new_id=SeededIds()
    ) as pay:
        yield pay


@pytest.fixture
def pay_faults(
    pay_bank: SimulatedBank, pay_sandbox: PayPlatform, pay_clock: FakeClock
) -> BankFaults:
    """What goes wrong between the shop and `pay_bank`, and a check that it ended well.

    Example:
        ```python
        pay_faults.at_random(seed=7)
        ...
        pay_faults.end_well()
        ```
    """
    return BankFaults(bank=pay_bank, pay=pay_sandbox, clock=pay_clock)


@pytest.fixture(params=WIRE_FAULTS, ids=str)
def pay_fault(request: pytest.FixtureRequest, pay_bank: SimulatedBank) -> Fault:
    """What goes wrong with the next call that it can strike: the test runs once for each fault.

    Example:
        ```python
        def test_whatever_goes_wrong(pay_shop, pay_fault, pay_faults):
            ...
            pay_faults.end_well()
        ```
    """
    fault = Fault(request.param)
    pay_bank.next(fault)
    return fault


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


@pytest.fixture
def pay_statement(pay_bank: SimulatedBank) -> Callable[[str], Sequence[StatementLine]]:
    """The bank's statement of a merchant. Override it for a bank that has no method of that name.

    Example:
        ```python
        assert [line.kind for line in pay_statement(pay_shop.id)] == ["sale"]
        ```
    """
    return pay_bank.statement


@pytest.fixture
def pay_world(
    pay_storage: Storage,
    pay_bank: Bank,
    pay_keys: KeyService,
    pay_clock: FakeClock,
    pay_statement: Callable[[str], Sequence[StatementLine]],
) -> World:
    """What outlives the processes of `@pay_crash_everywhere`: all of the above.

    Example:
        ```python
        fate = Fate(Death(3, "before"))
        pay = pay_world.process(fate)  # dies just before its third port call
        ```
    """
    return World(
        storage=pay_storage,
        bank=pay_bank,
        keys=pay_keys,
        clock=pay_clock,
        statement=pay_statement,
    )
