"""Banks with one planted fault each, held to the contract by test_bank_contract_catches.py.

Not collected by name: the contract is to fail here. `caught_by` names the tests that must.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import evolve

from payplatform._domain.messages import BankCapabilities, BankReply, BankRequest, ReplyOutcome
from payplatform._domain.money import Money
from payplatform.banks.simulated import FULL_CAPABILITIES, SimulatedBank
from payplatform.ports import Bank, CardDetails, RequestKind
from payplatform.testing._bank_talk import WHOLE
from payplatform.testing.bank_contract import BankContract, card_details

APPROVED, DECLINED = ReplyOutcome.APPROVED, ReplyOutcome.DECLINED
UNLISTED = "4929119344365414"


class Wrapper:
    """A bank adapter that hands everything on, and has places to go wrong in."""

    offers: ClassVar[BankCapabilities] = FULL_CAPABILITIES
    declares: ClassVar[BankCapabilities] = FULL_CAPABILITIES

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inner = SimulatedBank(capabilities=self.offers)

    @property
    def capabilities(self) -> BankCapabilities:
        return self.declares

    def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
        return self.inner.send(request, timeout_s=timeout_s)

    def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> BankReply:
        return self.inner.inquire(merchant_id, operation_id, timeout_s=timeout_s)

    def describe(self) -> Mapping[str, str]:
        return self.inner.describe()

    def close(self) -> None:
        self.inner.close()


class Planted(BankContract):
    adapter: ClassVar[type[Wrapper]] = Wrapper
    caught_by: ClassVar[tuple[str, ...]] = ()
    currencies = ("EUR", "JPY")

    @pytest.fixture
    def bank(self, tmp_path: Path) -> Iterator[Wrapper]:
        bank = self.adapter(tmp_path)
        yield bank
        bank.inner.close()

    def card_that_approves(self, code: str = "123") -> CardDetails:
        return card_details(UNLISTED, code=code)

    def card_that_challenges(self) -> CardDetails:
        return card_details("4000000000003220")

    def pass_challenge(self, bank: Bank, reply: BankReply) -> None:
        assert isinstance(bank, Wrapper)
        bank.inner.complete_challenge(reply.operation_id)

    def written(self, bank: Bank) -> Iterable[bytes]:
        assert isinstance(bank, Wrapper)
        return [path.read_bytes() for path in bank.folder.iterdir()]


class TestNothingPlanted(Planted):
    """The control: what follows fails for what was planted, not for the wrapping."""


class TestModest(Planted):
    """Offers nothing but what every bank must, says so, and breaks no promise."""

    class adapter(Wrapper):  # noqa: N801  # the attribute's name
        offers = declares = BankCapabilities()


class TestDoesEverythingAgain(Planted):
    class adapter(Wrapper):  # noqa: N801
        offers = evolve(FULL_CAPABILITIES, dedups_operation_id_s=0.0)

    caught_by = (
        "test_the_same_operation_from_many_threads_has_one_effect",
        "test_an_authorization_sent_again_holds_once",
        "test_a_capture_sent_again_takes_once",
        "test_a_refund_sent_again_gives_back_once",
        "test_the_same_id_with_another_amount_does_nothing_new",
    )


class TestRefundsAgain(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            reply = super().send(request, timeout_s=timeout_s)
            if request.kind is RequestKind.REFUND:
                again = evolve(request, operation_id=f"{request.operation_id}x")
                super().send(again, timeout_s=timeout_s)
            return reply

    caught_by = ("test_a_refund_sent_again_gives_back_once",)


class TestReadsThenRefunds(Planted):
    class adapter(Wrapper):  # noqa: N801
        refunded_minor = 0

        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            if request.kind is not RequestKind.REFUND:
                return super().send(request, timeout_s=timeout_s)
            total_minor = self.refunded_minor + request.amount.amount_minor
            time.sleep(0.01)
            self.refunded_minor = total_minor
            outcome = APPROVED if total_minor <= WHOLE else DECLINED
            return BankReply(
                operation_id=request.operation_id, outcome=outcome, amount=request.amount
            )

    caught_by = ("test_refunds_at_once_never_exceed_the_capture",)


class TestDeclinesTheRepetition(Planted):
    class adapter(Wrapper):  # noqa: N801
        def __init__(self, folder: Path) -> None:
            super().__init__(folder)
            self.seen: set[str] = set()

        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            reply = super().send(request, timeout_s=timeout_s)
            if request.operation_id in self.seen:
                return evolve(reply, outcome=DECLINED)
            self.seen.add(request.operation_id)
            return reply

    caught_by = ("test_the_same_operation_again_tells_the_same", "test_a_reversal_may_be_repeated")


class TestApprovesWhatItDeclined(Planted):
    class adapter(Wrapper):  # noqa: N801
        def __init__(self, folder: Path) -> None:
            super().__init__(folder)
            self.declined: set[str] = set()

        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            reply = super().send(request, timeout_s=timeout_s)
            if request.operation_id in self.declined:
                return evolve(reply, outcome=APPROVED, decline=None)
            if reply.outcome is DECLINED:
                self.declined.add(request.operation_id)
            return reply

    caught_by = ("test_a_decline_sent_again_tells_the_same",)


class TestFindsNothing(Planted):
    class adapter(Wrapper):  # noqa: N801
        def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> BankReply:
            reply = super().inquire(merchant_id, operation_id, timeout_s=timeout_s)
            return BankReply(operation_id=reply.operation_id, outcome=ReplyOutcome.NOT_FOUND)

    caught_by = (
        "test_an_inquiry_tells_the_answer",
        "test_an_inquiry_tells_a_decline",
        "test_an_inquiry_tells_of_follow_ups",
    )


class TestTakesUnknownForDeclined(Planted):
    class adapter(Wrapper):  # noqa: N801
        def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> BankReply:
            reply = super().inquire(merchant_id, operation_id, timeout_s=timeout_s)
            if reply.outcome is ReplyOutcome.NOT_FOUND:
                return evolve(reply, outcome=DECLINED)
            return reply

    caught_by = ("test_an_unknown_operation_is_not_found",)


class TestTellsStrangers(Planted):
    class adapter(Wrapper):  # noqa: N801
        def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> BankReply:
            merchant_id = "mer_contract_one" if merchant_id else merchant_id
            return super().inquire(merchant_id, operation_id, timeout_s=timeout_s)

    caught_by = ("test_another_merchants_operation_is_not_found",)


class TestLetsStrangersCapture(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            request = evolve(request, merchant_id="mer_contract_one")
            return super().send(request, timeout_s=timeout_s)

    caught_by = ("test_another_merchants_authorization_cannot_be_used",)


class TestInquiryUsesTheIdUp(Planted):
    class adapter(Wrapper):  # noqa: N801
        def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> BankReply:
            reply = super().inquire(merchant_id, operation_id, timeout_s=timeout_s)
            reversal = BankRequest(
                kind=RequestKind.REVERSAL,
                operation_id=operation_id,
                merchant_id=merchant_id,
                amount=Money.minor(0, "EUR"),
            )
            self.send(reversal, timeout_s=timeout_s)
            return reply

    caught_by = ("test_an_inquiry_changes_nothing",)


class TestAnswersWhereItSaysItCannot(Planted):
    class adapter(Wrapper):  # noqa: N801
        declares = evolve(FULL_CAPABILITIES, inquiry_by_operation_id=False)

    caught_by = ("test_an_inquiry_not_offered_raises",)


class TestForgetsReversalsOfTheUnseen(Planted):
    class adapter(Wrapper):  # noqa: N801
        offers = evolve(FULL_CAPABILITIES, reversal_remembers_unknown=False)

        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            reply = super().send(request, timeout_s=timeout_s)
            if request.kind is RequestKind.REVERSAL:
                return evolve(reply, outcome=APPROVED, decline=None)
            return reply

    caught_by = (
        "test_a_reversal_of_the_unseen_is_kept_or_refused",
        "test_an_unseen_reversal_is_told_as_declined",
    )


class TestConfirmsReversalsAndDoesNone(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            if request.kind is RequestKind.REVERSAL:
                return BankReply(operation_id=request.operation_id, outcome=APPROVED)
            return super().send(request, timeout_s=timeout_s)

    caught_by = (
        "test_a_reversal_undoes",
        "test_what_is_reversed_is_told_as_declined",
        "test_what_is_reversed_is_not_done_again",
        "test_a_reversal_of_the_unseen_is_kept_or_refused",
    )


class TestGivesReversalsAnIdOfTheirOwn(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            reply = super().send(request, timeout_s=timeout_s)
            if request.kind is RequestKind.REVERSAL:
                return evolve(reply, operation_id=f"{reply.operation_id}/reversal")
            return reply

    caught_by = ("test_a_reversal_echoes_the_operation",)


class TestRefusesToReverseADecline(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            if request.kind is RequestKind.REVERSAL:
                found = self.inquire(request.merchant_id, request.operation_id, timeout_s=timeout_s)
                if found.outcome is DECLINED:
                    return found
            return super().send(request, timeout_s=timeout_s)

    caught_by = ("test_a_reversal_of_a_decline_is_confirmed", "test_a_reversal_may_be_repeated")


class TestChargesYenAHundredfold(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            if request.amount.currency == "JPY":
                request = evolve(request, amount=request.amount * 100)
            return super().send(request, timeout_s=timeout_s)

    caught_by = ("test_every_currency_is_echoed_in_its_own_minor_units",)


class TestAnswersForTheTarget(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            reply = super().send(request, timeout_s=timeout_s)
            return evolve(reply, operation_id=request.target_id or request.operation_id)

    caught_by = ("test_follow_ups_echo_too",)


class TestEchoesNothing(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            return evolve(super().send(request, timeout_s=timeout_s), amount=None)

    caught_by = ("test_an_approval_echoes_operation_and_amount",)


class TestDeclinesWithoutAReason(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            return evolve(super().send(request, timeout_s=timeout_s), decline=None)

    caught_by = ("test_a_decline_says_why_and_echoes",)


class TestApprovesTooMuch(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            reply = super().send(request, timeout_s=timeout_s)
            return evolve(reply, outcome=APPROVED, decline=None) if request.target_id else reply

    caught_by = (
        "test_a_capture_beyond_the_authorization_is_declined",
        "test_captures_add_up_to_the_authorization",
        "test_a_void_lets_go_of_everything",
        "test_what_was_captured_cannot_be_voided",
        "test_a_refund_needs_a_capture",
        "test_a_refund_beyond_the_capture_is_declined",
        "test_partial_refunds_add_up_to_the_capture",
        "test_nothing_can_be_done_to_an_unknown_operation",
        "test_nothing_can_be_done_to_a_declined_operation",
        "test_a_verification_moves_nothing",
        "test_a_merchant_is_paid_out_where_that_is_offered",
    )


class TestNeverReleases(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            return super().send(evolve(request, final=False), timeout_s=timeout_s)

    caught_by = ("test_a_final_capture_releases_the_rest",)


class TestOffersLessThanItDeclares(Planted):
    class adapter(Wrapper):  # noqa: N801
        offers = BankCapabilities(
            dedups_operation_id_s=60.0,
            inquiry_by_operation_id=True,
            reversal_remembers_unknown=True,
        )

    caught_by = (
        "test_captures_add_up_to_the_authorization",
        "test_a_partial_void_leaves_the_rest",
        "test_partial_refunds_add_up_to_the_capture",
        "test_an_increment_raises_what_is_held",
        "test_a_verification_moves_nothing",
        "test_a_merchant_is_paid_out_where_that_is_offered",
        "test_an_authorization_says_in_utc_until_when_it_holds",
    )


class TestDoesMoreThanItDeclares(Planted):
    class adapter(Wrapper):  # noqa: N801
        declares = BankCapabilities(dedups_operation_id_s=60.0, inquiry_by_operation_id=True)

    caught_by = (
        "test_a_reversal_of_the_unseen_is_kept_or_refused",
        "test_captures_add_up_to_the_authorization",
        "test_a_partial_void_leaves_the_rest",
        "test_partial_refunds_add_up_to_the_capture",
        "test_an_increment_raises_what_is_held",
        "test_a_verification_moves_nothing",
        "test_a_merchant_is_paid_out_where_that_is_offered",
    )


class TestVerifiesAnything(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            reply = super().send(request, timeout_s=timeout_s)
            if request.kind is RequestKind.VERIFY:
                return evolve(reply, outcome=APPROVED, decline=None)
            return reply

    caught_by = ("test_a_verification_finds_a_bad_card",)


class TestTakesAnyAnswer(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            reply = super().send(request, timeout_s=timeout_s)
            if request.dispute_id is not None:
                return evolve(reply, outcome=APPROVED, decline=None)
            return reply

    caught_by = ("test_an_answer_to_no_dispute_is_declined",)


class TestDropsTheNetworksId(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            reply = super().send(request, timeout_s=timeout_s)
            return evolve(reply, network_transaction_id=None)

    caught_by = ("test_a_card_on_file_is_charged_by_the_networks_id",)


class TestTakesAChallengeForAnApproval(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            reply = super().send(request, timeout_s=timeout_s)
            if reply.outcome is ReplyOutcome.REQUIRES_ACTION:
                return evolve(reply, outcome=APPROVED)
            return reply

    caught_by = ("test_a_challenge_is_asked_for_and_passed",)


class TestTellsTimeWithoutAZone(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            reply = super().send(request, timeout_s=timeout_s)
            expires_at = reply.expires_at or datetime(2030, 1, 1, tzinfo=UTC)
            return evolve(reply, expires_at=expires_at.replace(tzinfo=None))

    caught_by = ("test_an_authorization_says_in_utc_until_when_it_holds",)


class TestMixesThreadsUp(Planted):
    class adapter(Wrapper):  # noqa: N801
        request: BankRequest

        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            self.request = request
            time.sleep(0.01)
            return super().send(self.request, timeout_s=timeout_s)

    caught_by = ("test_many_operations_from_many_threads_do_not_mix",)


class TestChangesItsMind(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            self.__dict__["declares"] = evolve(FULL_CAPABILITIES, increments=False)
            return super().send(request, timeout_s=timeout_s)

    caught_by = ("test_capabilities_are_constant",)


class TestDescribesItselfInNumbers(Planted):
    class adapter(Wrapper):  # noqa: N801
        def describe(self) -> Any:
            return {"port": 443}

    caught_by = ("test_it_describes_itself_in_text",)


class TestClosesOnce(Planted):
    class adapter(Wrapper):  # noqa: N801
        is_closed = False

        def close(self) -> None:
            if self.is_closed:
                raise RuntimeError("closed already")
            self.is_closed = True

    caught_by = ("test_it_may_be_closed_twice",)


LEAK = "test_no_card_data_stays_or_shows"
ERROR_LEAK = "test_no_card_data_is_in_an_error"


def number_of(request: BankRequest) -> str:
    return "" if request.card is None else request.card.number.reveal()


def code_of(request: BankRequest) -> str:
    if request.card is None or request.card.security_code is None:
        return ""
    return request.card.security_code.reveal()


class TestKeepsTheRequest(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            self.last = request
            return super().send(request, timeout_s=timeout_s)

    # Asked again when closed, it still holds on to what it was last asked.
    caught_by = (LEAK, ERROR_LEAK)


class TestKeepsTheNumberAsAnInt(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            self.last = int(number_of(request) or 0)
            return super().send(request, timeout_s=timeout_s)

    caught_by = (LEAK,)


class TestKeepsTheNumberInAClosure(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            number = number_of(request)
            self.retry = lambda: number
            return super().send(request, timeout_s=timeout_s)

    caught_by = (LEAK,)


class TestKeepsSecurityCodes(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            self.__dict__.setdefault("codes", []).append(code_of(request))
            return super().send(request, timeout_s=timeout_s)

    caught_by = (LEAK,)


class TestShowsTheNumberInItsRepr(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            self.raw = [int(digit) for digit in number_of(request)]
            return super().send(request, timeout_s=timeout_s)

        def __repr__(self) -> str:
            return f"Bank(last={''.join(map(str, self.raw))})"

    caught_by = (LEAK,)


class TestPicklesTheNumber(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            self.raw = [int(digit) for digit in number_of(request)]
            return super().send(request, timeout_s=timeout_s)

        def __reduce__(self) -> Any:
            return str, ("".join(map(str, self.raw)),)

    caught_by = (LEAK,)


class TestLogsTheNumber(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            logging.getLogger("acme").debug("sending %s", number_of(request))
            return super().send(request, timeout_s=timeout_s)

    caught_by = (LEAK, ERROR_LEAK)


class TestLogsTheSecurityCode(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            logging.getLogger("acme").debug("sending", extra={"body": {"cvc": code_of(request)}})
            return super().send(request, timeout_s=timeout_s)

    caught_by = (LEAK,)


class TestWritesTheNumberInHex(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            (self.folder / "trace").write_text(number_of(request).encode().hex())
            return super().send(request, timeout_s=timeout_s)

    caught_by = (LEAK,)


class TestAnswersWithTheNumber(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            reply = super().send(request, timeout_s=timeout_s)
            return evolve(reply, reference=number_of(request))

    caught_by = (LEAK, "test_references_are_plain_text")


class TestRaisesTheNumber(Planted):
    class adapter(Wrapper):  # noqa: N801
        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            try:
                return super().send(request, timeout_s=timeout_s)
            except Exception as error:
                raise RuntimeError(f"could not send {number_of(request)}") from error

    caught_by = (ERROR_LEAK,)


class TestChainsTheSecurityCode(Planted):
    class adapter(Wrapper):  # noqa: N801
        is_closed = False

        def close(self) -> None:
            self.is_closed = True

        def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
            cause = KeyError(code_of(request))
            if self.is_closed:
                raise TimeoutError("no answer") from cause
            return super().send(request, timeout_s=timeout_s)

    caught_by = (ERROR_LEAK,)
