"""The promises of a bank about amounts: it bounds them by its own books.

Law of this file: each test leaves one unit too much, or one too little, and looks which is refused.
What a bank does not offer it must decline, so these tests ask for it either way.
"""

from __future__ import annotations

import pytest

from payplatform.ports import Bank, RequestKind
from payplatform.testing._bank_talk import (
    APPROVED,
    AUTHORIZE,
    CAPTURE,
    DECLINED,
    INCREMENT,
    PAYOUT,
    REFUND,
    SALE,
    VERIFY,
    VOID,
    WHOLE,
    BankTalk,
)


class BankAmounts(BankTalk):
    """The bounds of captures, voids, refunds, increments and verifications."""

    def test_a_capture_beyond_the_authorization_is_declined(self, bank: Bank) -> None:
        """One unit too much is declined, and leaves the whole amount to be captured."""
        held = self.approved(bank, AUTHORIZE)

        assert self.outcome(bank, CAPTURE, WHOLE + 1, held) is DECLINED
        assert self.outcome(bank, CAPTURE, WHOLE, held) is APPROVED

    def test_captures_add_up_to_the_authorization(self, bank: Bank) -> None:
        """With several captures, their sum is bounded; without, the first one is the last."""
        held = self.approved(bank, AUTHORIZE)
        self.approved(bank, CAPTURE, 6_000, held)

        assert self.outcome(bank, CAPTURE, 4_001, held) is DECLINED
        second = self.outcome(bank, CAPTURE, 4_000, held)
        assert (second is APPROVED) is bank.capabilities.multi_capture

    def test_a_final_capture_releases_the_rest(self, bank: Bank) -> None:
        """After a final capture nothing is left to capture or to void."""
        held = self.approved(bank, AUTHORIZE)
        self.approved(bank, CAPTURE, 6_000, held, final=True)

        assert self.outcome(bank, CAPTURE, 1, held) is DECLINED
        assert self.outcome(bank, VOID, 4_000, held) is DECLINED

    def test_a_void_lets_go_of_everything(self, bank: Bank) -> None:
        """What was voided can be neither captured nor voided again."""
        held = self.approved(bank, AUTHORIZE)
        self.approved(bank, VOID, WHOLE, held)

        assert self.outcome(bank, CAPTURE, 1, held) is DECLINED
        assert self.outcome(bank, VOID, WHOLE, held) is DECLINED

    def test_what_was_captured_cannot_be_voided(self, bank: Bank) -> None:
        """A void lets go of what is held, never of what was taken."""
        held = self.approved(bank, AUTHORIZE)
        self.approved(bank, CAPTURE, WHOLE, held)

        assert self.outcome(bank, VOID, WHOLE, held) is DECLINED

    def test_a_partial_void_leaves_the_rest(self, bank: Bank) -> None:
        """A part is let go and the rest stays, or the bank declines and all of it stays."""
        held = self.approved(bank, AUTHORIZE)
        offered = bank.capabilities.partial_void

        assert (self.outcome(bank, VOID, 4_000, held) is APPROVED) is offered
        most = 6_000 if offered else WHOLE
        assert self.outcome(bank, CAPTURE, most + 1, held) is DECLINED
        assert self.outcome(bank, CAPTURE, most, held) is APPROVED

    def test_a_refund_needs_a_capture(self, bank: Bank) -> None:
        """What is only held cannot be given back."""
        held = self.approved(bank, AUTHORIZE)

        assert self.outcome(bank, REFUND, WHOLE, held) is DECLINED

    def test_a_refund_beyond_the_capture_is_declined(self, bank: Bank) -> None:
        """One unit too much is declined, and leaves the whole amount to be refunded, once."""
        sold = self.approved(bank, SALE)

        assert self.outcome(bank, REFUND, WHOLE + 1, sold) is DECLINED
        assert self.outcome(bank, REFUND, WHOLE, sold) is APPROVED
        assert self.outcome(bank, REFUND, WHOLE, sold) is DECLINED

    def test_partial_refunds_add_up_to_the_capture(self, bank: Bank) -> None:
        """Parts are given back up to the whole, or the bank declines every part."""
        sold = self.approved(bank, SALE)
        offered = bank.capabilities.partial_refund

        assert (self.outcome(bank, REFUND, 6_000, sold) is APPROVED) is offered
        assert self.outcome(bank, REFUND, 4_001 if offered else 1, sold) is DECLINED

    def test_an_increment_raises_what_is_held(self, bank: Bank) -> None:
        """After an increment the sum can be captured; without, no more than before."""
        held = self.approved(bank, AUTHORIZE)
        offered = bank.capabilities.increments

        assert (self.outcome(bank, INCREMENT, 5_000, held) is APPROVED) is offered
        most = WHOLE + 5_000 if offered else WHOLE
        assert self.outcome(bank, CAPTURE, most + 1, held) is DECLINED
        assert self.outcome(bank, CAPTURE, most, held) is APPROVED

    @pytest.mark.parametrize("kind", [CAPTURE, VOID, REFUND])
    def test_nothing_can_be_done_to_an_unknown_operation(
        self, bank: Bank, kind: RequestKind
    ) -> None:
        """A target that the bank has never seen is declined."""
        assert self.send(bank, kind, target=self.new_operation_id()).outcome is DECLINED

    @pytest.mark.parametrize("kind", [CAPTURE, VOID])
    def test_nothing_can_be_done_to_a_declined_operation(
        self, bank: Bank, kind: RequestKind
    ) -> None:
        """What was declined holds nothing."""
        declined = self.send(bank, AUTHORIZE, card=self.card_that_declines())

        assert self.outcome(bank, kind, WHOLE, declined) is DECLINED

    def test_a_verification_moves_nothing(self, bank: Bank) -> None:
        """A card is verified with an amount of zero, and holds nothing afterwards."""
        offered = bank.capabilities.zero_amount_verification

        verified = self.send(bank, VERIFY, 0)

        assert (verified.outcome is APPROVED) is offered
        assert self.outcome(bank, CAPTURE, 1, verified) is DECLINED

    def test_a_merchant_is_paid_out_where_that_is_offered(self, bank: Bank) -> None:
        """It needs neither card nor target, is told again, and can be captured by nobody."""
        paid = self.send(bank, PAYOUT)

        assert (paid.outcome is APPROVED) is bank.capabilities.payouts
        if bank.capabilities.inquiry_by_operation_id:
            assert self.inquire(bank, paid.operation_id).outcome is paid.outcome
        assert self.outcome(bank, CAPTURE, 1, paid) is DECLINED

    def test_a_verification_finds_a_bad_card(self, bank: Bank) -> None:
        """A card that would be declined fails its verification."""
        verified = self.send(bank, VERIFY, 0, card=self.card_that_declines())

        assert verified.outcome is DECLINED

    @pytest.mark.parametrize("kind", [RequestKind.SUBMIT_EVIDENCE, RequestKind.ACCEPT_DISPUTE])
    def test_an_answer_to_no_dispute_is_declined(self, bank: Bank, kind: RequestKind) -> None:
        """What is approved ends a dispute; so nothing is where there is none."""
        self.need(bank.capabilities.answers_disputes, "answers to disputes")
        sold = self.approved(bank, SALE)

        reply = self.send(bank, kind, target=sold, dispute_id=self.new_operation_id())

        assert reply.outcome is DECLINED
