"""Both kinds of books for every test of the simulated bank."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from bank_requests import Clock, Counter

from payplatform.banks.simulated import SimulatedBank


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "file"])
def bank(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> Iterator[SimulatedBank]:
    bank = SimulatedBank(None if request.param == "memory" else tmp_path / "bank.db", now=clock)
    yield bank
    bank.close()


@pytest.fixture
def counter(bank: SimulatedBank) -> Counter:
    return Counter(bank)
