"""Our facts beside the simulated bank's statement, which is kept by other code in another file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve, frozen

from payplatform._domain.money import Money
from payplatform._domain.payments import Payment
from payplatform.banks.simulated import LineKind, LineState, SimulatedBank, StatementLine
from payplatform.client.platform import MerchantClient, PayPlatform

Statement = Mapping[str, Sequence[StatementLine]]
"""A merchant's statement: the lines of each sale or authorization, by our operation's id."""

_AUTHORIZED = (LineKind.SALE, LineKind.AUTHORIZE, LineKind.INCREMENT)
_CAPTURED = (LineKind.SALE, LineKind.CAPTURE)
_RELEASED = (LineKind.VOID, LineKind.RELEASE, LineKind.EXPIRY)
_REFUNDED = (LineKind.REFUND,)
_DISPUTED = (LineKind.DISPUTE,)


@frozen(kw_only=True)
class Amounts:
    """What both sides count, in one currency."""

    authorized: Money
    captured: Money
    released: Money
    refunded: Money
    disputed: Money


@frozen(kw_only=True)
class Comparison:
    """One payment, as we have it and as the bank has it."""

    payment: Payment
    ours: Amounts
    banks: Amounts

    @property
    def are_equal(self) -> bool:
        """Whether both tell the same."""
        return self.ours == self.banks

    @property
    def waits_for_expiry(self) -> bool:
        """Whether the bank has let go of the rest, which `recover` has yet to book."""
        lapsed = evolve(self.ours, released=self.ours.released + self.payment.capturable)
        return self.payment.lapses_at is not None and lapsed == self.banks


def by_authorization(lines: Iterable[StatementLine]) -> Statement:
    """A statement in an order that payments can be looked up in."""
    statement: dict[str, list[StatementLine]] = defaultdict(list)
    for line in lines:
        statement[line.authorization_id].append(line)
    return statement


def compare(shop: MerchantClient, statement: Statement, payment: Payment) -> Comparison:
    """Put a payment beside what the bank has booked for every attempt at it."""
    attempts = shop.payments.operations(payment.id)
    lines = [line for operation in attempts for line in statement.get(operation.id, ())]

    def booked(kinds: Sequence[LineKind]) -> Money:
        counted = (s.amount for s in lines if s.kind in kinds and s.state is LineState.BOOKED)
        return sum(counted, Money.zero(payment.currency))

    return Comparison(
        payment=payment,
        ours=Amounts(
            authorized=payment.authorized,
            captured=payment.captured,
            released=payment.voided + payment.expired,
            refunded=payment.refunded,
            disputed=payment.disputed,
        ),
        banks=Amounts(
            authorized=booked(_AUTHORIZED),
            captured=booked(_CAPTURED),
            released=booked(_RELEASED),
            refunded=booked(_REFUNDED),
            disputed=booked(_DISPUTED),
        ),
    )


def differences(pay: PayPlatform, bank: SimulatedBank) -> tuple[int, Sequence[str]]:
    """How many payments were compared, and the ids of those that differ.

    A payment with something under way is left out: it is about to change on one of the two sides.
    What only the bank has is told by the id that we gave it once: books that were restored from a
    backup are older than the bank's.
    """
    compared = 0
    differing: list[str] = []
    for merchant in pay.merchants.list():
        shop = pay.merchant(merchant.id)
        statement = by_authorization(bank.statement(merchant.id))
        unknown = dict(statement)
        for payment in shop.payments.list():
            for operation in shop.payments.operations(payment.id):
                unknown.pop(operation.id, None)
            if payment.open_operations:
                continue
            compared += 1
            comparison = compare(shop, statement, payment)
            if not (comparison.are_equal or comparison.waits_for_expiry):
                differing.append(payment.id)
        differing += unknown
    return compared, differing
