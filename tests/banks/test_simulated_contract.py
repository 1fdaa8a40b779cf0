"""The simulated bank runs the suite that every bank adapter runs, in memory and in a file."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from payplatform.banks.simulated import Delivery, Fault, SimulatedBank
from payplatform.ports import Bank, BankReply, CardDetails, RequestKind
from payplatform.testing.bank_contract import BankContract, card_details


class SimulatedBankContract(BankContract):
    currencies = ("EUR", "JPY", "BHD", "CLF")

    def card_that_approves(self, code: str = "123") -> CardDetails:
        # Not of the table, so that a trace of it in memory is a trace of the request.
        return card_details("4929119344365414", code=code)

    def card_that_challenges(self) -> CardDetails:
        return card_details("4000000000003220")

    def pass_challenge(self, bank: Bank, reply: BankReply) -> None:
        assert isinstance(bank, SimulatedBank)
        bank.complete_challenge(reply.operation_id)

    def message(self, bank: Bank) -> Delivery:
        assert isinstance(bank, SimulatedBank)
        bank.next(Fault.CONTRADICT)
        self.send(bank, RequestKind.SALE)
        return bank.deliveries()[-1]


class TestInMemory(SimulatedBankContract):
    @pytest.fixture
    def bank(self) -> Iterator[SimulatedBank]:
        bank = SimulatedBank()
        yield bank
        bank.close()


class TestInAFile(SimulatedBankContract):
    @pytest.fixture
    def bank(self, tmp_path: Path) -> Iterator[SimulatedBank]:
        self.folder = tmp_path
        bank = SimulatedBank(tmp_path / "bank.db")
        yield bank
        bank.close()

    def written(self, bank: Bank) -> Iterable[bytes]:
        assert isinstance(bank, SimulatedBank)
        return [path.read_bytes() for path in self.folder.rglob("*") if path.is_file()]
