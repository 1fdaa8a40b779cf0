"""How the bank contract speaks to an adapter, and what it has to be told about a sandbox.

Law of this file: no promise is tested here. It asks as the engine asks, and reads the answers.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import pytest

from payplatform._domain.cards import Card, security_code
from payplatform._domain.messages import (
    BankReply,
    BankRequest,
    CardDetails,
    ReplyOutcome,
    RequestKind,
)
from payplatform._domain.money import Money
from payplatform._domain.operations import StoredCredential
from payplatform.ports import Bank

APPROVED, DECLINED = ReplyOutcome.APPROVED, ReplyOutcome.DECLINED
AUTHORIZE, SALE, VERIFY = RequestKind.AUTHORIZE, RequestKind.SALE, RequestKind.VERIFY
CAPTURE, VOID, REFUND = RequestKind.CAPTURE, RequestKind.VOID, RequestKind.REFUND
INCREMENT, RESUME, REVERSAL = RequestKind.INCREMENT, RequestKind.RESUME, RequestKind.REVERSAL
PAYOUT = RequestKind.PAYOUT

WHOLE = 10_000
"""What most tests ask for, in minor units: a sandbox may not like much more."""


def card_details(number: str, *, code: str | None = "123") -> CardDetails:
    """A card as a bank request carries it: good until 12/2030, for Ada, with a security code.

    Args:
        number: the card number.
        code: its security code; None sends none. Four digits for an amex.
    """
    card = Card(number, "12/30", "Ada Lovelace")
    return CardDetails(
        number=card.number,
        brand=card.brand,
        expiry_month=card.expiry_month,
        expiry_year=card.expiry_year,
        holder=card.holder,
        postal_code="10115",
        security_code=None if code is None else security_code(code, card.brand),
    )


class BankTalk:
    """What a bank's tests have in common.

    Attributes:
        merchant_id: a merchant the bank knows.
        other_merchant_id: another one.
        currency: one that it takes.
        currencies: more of them, with other numbers of decimals where it can.
        timeout_s: how long a call may take.
        keeps_cards_on_file: whether an approval tells the card network's id of it, so that the
            merchant may charge the card later on its own account.
    """

    merchant_id = "mer_contract_one"
    other_merchant_id = "mer_contract_two"
    currency = "EUR"
    currencies: tuple[str, ...] = ("EUR", "USD")
    timeout_s = 30.0
    keeps_cards_on_file = True

    # What an adapter tells about its sandbox.

    @pytest.fixture
    def bank(self) -> Iterable[Bank]:
        """The adapter under test; override it."""
        raise NotImplementedError("override the fixture `bank`")

    def card_that_approves(self, code: str = "123") -> CardDetails:
        """A card that is always approved, with this security code."""
        return card_details("4242424242424242", code=code)

    def card_that_declines(self) -> CardDetails:
        """A card that is always declined."""
        return card_details("4000000000000002")

    def card_that_challenges(self) -> CardDetails | None:
        """A card whose holder has to prove who they are; None where the sandbox has none."""
        return None

    def pass_challenge(self, bank: Bank, reply: BankReply) -> None:
        """Be the cardholder, and pass the challenge that `reply` asks for."""
        raise NotImplementedError("override pass_challenge together with card_that_challenges")

    def written(self, bank: Bank) -> Iterable[bytes]:  # noqa: ARG002  # for those who override
        """Whatever the adapter has written anywhere, to be searched for card data."""
        return ()

    def new_operation_id(self) -> str:
        """An id as the engine makes them: never used before."""
        return f"op_{secrets.token_hex(13)}"

    # How the tests speak.

    def send(
        self,
        bank: Bank,
        kind: RequestKind,
        amount_minor: int = WHOLE,
        *,
        operation_id: str | None = None,
        merchant_id: str | None = None,
        currency: str | None = None,
        target: BankReply | str | None = None,
        card: CardDetails | None = None,
        final: bool = False,
        credential: StoredCredential | None = None,
        dispute_id: str | None = None,
    ) -> BankReply:
        """Send one request; the card that approves where the kind needs one and none is given."""
        if card is None and kind in (SALE, AUTHORIZE, VERIFY):
            card = self.card_that_approves()
        request = BankRequest(
            kind=kind,
            operation_id=operation_id or self.new_operation_id(),
            merchant_id=merchant_id or self.merchant_id,
            amount=Money.minor(amount_minor, currency or self.currency),
            target_id=target.operation_id if isinstance(target, BankReply) else target,
            target_reference=target.reference if isinstance(target, BankReply) else None,
            final=final,
            card=card,
            stored_credential=credential,
            reference="order 1001",
            dispute_id=dispute_id,
        )
        return bank.send(request, timeout_s=self.timeout_s)

    def approved(
        self,
        bank: Bank,
        kind: RequestKind,
        amount_minor: int = WHOLE,
        target: BankReply | None = None,
        *,
        final: bool = False,
    ) -> BankReply:
        """As `send`, for what has to succeed before a test begins."""
        reply = self.send(bank, kind, amount_minor, target=target, final=final)
        assert reply.outcome is APPROVED, f"a plain {kind} was not approved"
        return reply

    def outcome(
        self,
        bank: Bank,
        kind: RequestKind,
        amount_minor: int,
        target: BankReply,
        *,
        final: bool = False,
    ) -> ReplyOutcome:
        """What becomes of one more operation on `target`, under an id of its own."""
        return self.send(bank, kind, amount_minor, target=target, final=final).outcome

    def inquire(self, bank: Bank, operation_id: str, merchant_id: str | None = None) -> BankReply:
        """What the bank knows."""
        if not bank.capabilities.inquiry_by_operation_id:
            pytest.skip("this bank declares no inquiry by operation id")
        merchant_id = merchant_id or self.merchant_id
        return bank.inquire(merchant_id, operation_id, timeout_s=self.timeout_s)

    def reverse(self, bank: Bank, operation_id: str, amount_minor: int = WHOLE) -> BankReply:
        """Ask for an operation to be undone."""
        return self.send(bank, REVERSAL, amount_minor, operation_id=operation_id)

    # What is asked only of a bank that offers it.

    def need(self, offered: bool, what: str) -> None:
        """Skip where the bank does not offer what a test is about."""
        if not offered:
            pytest.skip(f"this bank does not offer {what}")

    def need_dedup(self, bank: Bank) -> None:
        """Skip where an operation id is not remembered."""
        self.need(bank.capabilities.dedups_operation_id_s > 0, "to do one operation id once")
