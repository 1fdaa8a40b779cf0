"""A bad day at the bank, for a test of your shop: what goes wrong, and that it ends well.

Law of this file: it invents no fault. The bank plays them; here they have names, and an end.
"""

from __future__ import annotations

from typing import Final

from payplatform.banks.simulated import WIRE_FAULTS, Call, Fault, Faults, SimulatedBank
from payplatform.client import PayPlatform
from payplatform.testing.bench import differences, is_open, settle
from payplatform.testing.repeatable import FakeClock


class BankFaults:
    """What goes wrong between your shop and the bank. The fixture `pay_faults`.

    Each fault may be given by its name; `payplatform.banks.simulated.FAULTS` has all of them.

    Attributes:
        all: those whose truth comes out by asking again. The fixture `pay_fault` is each in turn.

    Args:
        bank: whose calls go wrong.
        pay: who calls it.
        clock: the time of both.
    """

    all: Final = WIRE_FAULTS

    def __init__(self, *, bank: SimulatedBank, pay: PayPlatform, clock: FakeClock) -> None:
        self._bank = bank
        self._pay = pay
        self._clock = clock

    def next(self, *faults: Fault | str | None, on: Call | str | None = None) -> None:
        """Say what goes wrong with the calls to come, one for each; None lets one pass.

        Args:
            faults: in the order of the calls; each waits for the first one that it can strike.
            on: wait for this sort of call: `send`, `reversal` or `inquiry`.

        Raises:
            ValueError: there is no such fault, or no such call.
        """
        named = (None if fault is None else Fault(fault) for fault in faults)
        self._bank.next(*named, on=None if on is None else Call(on))

    def at_random(self, seed: int, **rates: float) -> None:
        """Let things go wrong at random from here on, the same each time for the same seed.

        Args:
            seed: where the sequence starts.
            rates: which share of the calls each fault strikes, by its name, such as
                `lose_reply=0.2`; without any, `all` together strike one call in five.

        Raises:
            ValueError: there is no such fault.
            InvalidRequest: `value_invalid`, field `rates`: they are no shares.
        """
        chosen = {Fault(name): rate for name, rate in rates.items()}
        self._bank.set_faults(Faults(seed=seed, rates=chosen) if rates else Faults.mixed(seed))

    def down(self) -> None:
        """Have the bank refuse every connection until `up()`."""
        self._bank.down()

    def up(self) -> None:
        """Have it take connections again."""
        self._bank.up()

    def end_well(self) -> None:
        """See that it all ends well once the bank is well again.

        What was on its way arrives, recovery runs for as many days as it has something to find out,
        and the bank's notices are delivered. Then our books have to say what the bank's say, and
        nothing may need a person.

        Raises:
            AssertionError: with each difference in words.
        """
        self._bank.set_faults(None)
        settle(self._pay, self._clock, self._has_open_payments, bank=self._bank)
        wrong = [*differences(self._pay, self._bank), *self._unresolved()]
        if wrong:
            raise AssertionError("\n".join(["It did not end well:", *wrong]))

    def _has_open_payments(self) -> bool:
        merchants = map(self._pay.merchant, (m.id for m in self._pay.merchants.list()))
        return any(is_open(payment) for shop in merchants for payment in shop.payments.list())

    def _unresolved(self) -> list[str]:
        return [
            f"{operation.id}: the {operation.kind.noun} is {operation.state}: {operation.reason}"
            for merchant in self._pay.merchants.list()
            for operation in self._pay.merchant(merchant.id).operations.list_unresolved()
        ]
