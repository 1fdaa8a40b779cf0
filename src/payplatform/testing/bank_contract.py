"""The promises of the `Bank` port, as tests that an adapter inherits.

Law of this file: each promise that `ports.Bank` and the declared capabilities make has its test
here, or in `_bank_amounts` what is about amounts, in `_bank_notices` what is about notices. A test
asks the bank alone: it looks at answers, and into an adapter only for card data that must not be
there.
"""

from __future__ import annotations

import logging
import pickle  # noqa: TID251  # to see that nothing secret comes out of it
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from payplatform._domain.cards import looks_like_card_number
from payplatform._domain.messages import BankCapabilities, BankReply, ReplyOutcome, RequestKind
from payplatform._domain.money import Money
from payplatform._domain.operations import Initiator, StoredCredential
from payplatform.ports import Bank
from payplatform.testing._bank_amounts import BankAmounts
from payplatform.testing._bank_notices import BankNotices
from payplatform.testing._bank_talk import (
    APPROVED,
    AUTHORIZE,
    CAPTURE,
    DECLINED,
    REFUND,
    RESUME,
    SALE,
    VOID,
    WHOLE,
    card_details,
)
from payplatform.testing._reachable import forms_of, reachable_text

__all__ = ["BankContract", "card_details"]

T = TypeVar("T")


class BankContract(BankAmounts, BankNotices):
    """Inherit, override the `bank` fixture, and pytest holds your adapter to the port.

    Example:
        ```python
        class TestAcmeBank(BankContract):
            currency = "EUR"

            @pytest.fixture
            def bank(self):
                bank = AcmeBank(sandbox_key="...")
                yield bank
                bank.close()
        ```

    `BankTalk`, its root, has the attributes and the hooks that tell about a sandbox: which cards it
    approves, declines and challenges, which currencies it takes, where the adapter writes.
    """

    # An answer is about what was asked.

    @pytest.mark.parametrize("kind", [SALE, AUTHORIZE])
    @pytest.mark.parametrize("amount_minor", [1, 99, WHOLE])
    def test_an_approval_echoes_operation_and_amount(
        self, bank: Bank, kind: RequestKind, amount_minor: int
    ) -> None:
        """An approval names our operation and exactly the amount we asked for."""
        operation_id = self.new_operation_id()

        reply = self.send(bank, kind, amount_minor, operation_id=operation_id)

        assert isinstance(reply, BankReply)
        assert reply.outcome is APPROVED
        assert reply.operation_id == operation_id
        assert reply.amount == Money.minor(amount_minor, self.currency)
        assert reply.decline is None

    def test_every_currency_is_echoed_in_its_own_minor_units(self, bank: Bank) -> None:
        """A bank that counts a currency differently translates it: nothing grows a hundredfold."""
        for currency in self.currencies:
            reply = self.send(bank, SALE, 500, currency=currency)

            assert reply.outcome is APPROVED
            assert reply.amount == Money.minor(500, currency)

    def test_a_decline_says_why_and_echoes(self, bank: Bank) -> None:
        """A decline is an answer like another: our id, no other amount, and the reason."""
        operation_id = self.new_operation_id()

        reply = self.send(bank, SALE, operation_id=operation_id, card=self.card_that_declines())

        assert reply.outcome is DECLINED
        assert reply.operation_id == operation_id
        assert reply.amount in (None, Money.minor(WHOLE, self.currency))
        assert reply.decline is not None

    def test_follow_ups_echo_too(self, bank: Bank) -> None:
        """Capture and refund name their own operation, not the one they work on."""
        authorized = self.approved(bank, AUTHORIZE)
        for kind in (CAPTURE, REFUND):
            operation_id = self.new_operation_id()
            reply = self.send(bank, kind, target=authorized, operation_id=operation_id)

            assert reply.outcome in (APPROVED, ReplyOutcome.PENDING)
            assert reply.operation_id == operation_id
            assert reply.amount == Money.minor(WHOLE, self.currency)

    def test_references_are_plain_text(self, bank: Bank) -> None:
        """What we are to keep is short, printable and no card number; else it is not believed."""
        reply = self.approved(bank, AUTHORIZE)

        for text in (reply.reference, reply.network_transaction_id):
            assert text is None or (0 < len(text) <= 255 and text.isprintable())
            assert text is None or not looks_like_card_number(text)

    def test_an_authorization_says_in_utc_until_when_it_holds(self, bank: Bank) -> None:
        """Where the bank says until when, it says it with a time zone, and that is to come."""
        expires_at = self.approved(bank, AUTHORIZE).expires_at

        if bank.capabilities.authorization_lifetime_s is not None:
            assert expires_at is not None
        if expires_at is not None:
            assert expires_at.utcoffset() is not None

    # One operation id, one effect.

    @pytest.mark.parametrize("kind", [SALE, AUTHORIZE])
    def test_the_same_operation_again_tells_the_same(self, bank: Bank, kind: RequestKind) -> None:
        """Sent again within the window, an operation is answered as it was."""
        self.need_dedup(bank)
        operation_id = self.new_operation_id()

        first = self.send(bank, kind, operation_id=operation_id)

        assert self.send(bank, kind, operation_id=operation_id) == first

    def test_a_decline_sent_again_tells_the_same(self, bank: Bank) -> None:
        """A decline is remembered like an approval."""
        self.need_dedup(bank)
        operation_id, card = self.new_operation_id(), self.card_that_declines()

        first = self.send(bank, SALE, operation_id=operation_id, card=card)

        assert self.send(bank, SALE, operation_id=operation_id, card=card) == first

    def test_a_capture_sent_again_takes_once(self, bank: Bank) -> None:
        """Of 100, 30 captured twice under one id leave 70, whatever the wire repeats."""
        self.need_dedup(bank)
        self.need(bank.capabilities.multi_capture, "several captures")
        authorized, operation_id = self.approved(bank, AUTHORIZE), self.new_operation_id()

        replies = [
            self.send(bank, CAPTURE, 3_000, operation_id=operation_id, target=authorized)
            for _ in range(2)
        ]

        assert replies[0] == replies[1]
        assert self.outcome(bank, CAPTURE, 7_000, authorized) is APPROVED
        assert self.outcome(bank, CAPTURE, 1, authorized) is DECLINED

    def test_a_refund_sent_again_gives_back_once(self, bank: Bank) -> None:
        """Of 100, 30 refunded twice under one id leave 70."""
        self.need_dedup(bank)
        self.need(bank.capabilities.partial_refund, "partial refunds")
        sold, operation_id = self.approved(bank, SALE), self.new_operation_id()

        replies = [
            self.send(bank, REFUND, 3_000, operation_id=operation_id, target=sold) for _ in range(2)
        ]

        assert replies[0] == replies[1]
        assert self.outcome(bank, REFUND, 7_000, sold) is APPROVED
        assert self.outcome(bank, REFUND, 1, sold) is DECLINED

    def test_an_authorization_sent_again_holds_once(self, bank: Bank) -> None:
        """Of one authorization sent twice, no more than its amount can be captured."""
        self.need_dedup(bank)
        operation_id = self.new_operation_id()
        for _ in range(2):
            authorized = self.send(bank, AUTHORIZE, operation_id=operation_id)

        assert self.outcome(bank, CAPTURE, 2 * WHOLE, authorized) is DECLINED
        assert self.outcome(bank, CAPTURE, WHOLE, authorized) is APPROVED
        assert self.outcome(bank, CAPTURE, WHOLE, authorized) is DECLINED

    def test_the_same_id_with_another_amount_does_nothing_new(self, bank: Bank) -> None:
        """An id belongs to what was first asked under it: no answer approves something else."""
        self.need_dedup(bank)
        first = self.approved(bank, AUTHORIZE)

        second = self.send(bank, AUTHORIZE, 2 * WHOLE, operation_id=first.operation_id)

        assert second.outcome is DECLINED or second == first
        assert self.outcome(bank, CAPTURE, WHOLE + 1, first) is DECLINED

    def test_the_same_operation_from_many_threads_has_one_effect(self, bank: Bank) -> None:
        """Eight at once get one answer, and one effect."""
        self.need_dedup(bank)
        operation_id = self.new_operation_id()

        replies = at_once(8, lambda _: self.send(bank, AUTHORIZE, operation_id=operation_id))

        assert all(reply == replies[0] for reply in replies)
        assert self.outcome(bank, CAPTURE, WHOLE + 1, replies[0]) is DECLINED
        assert self.outcome(bank, CAPTURE, WHOLE, replies[0]) is APPROVED

    def test_many_operations_from_many_threads_do_not_mix(self, bank: Bank) -> None:
        """Each of eight at once gets the answer to its own."""
        ids = [self.new_operation_id() for _ in range(8)]

        replies = at_once(8, lambda n: self.send(bank, SALE, 100 + n, operation_id=ids[n]))

        assert [reply.operation_id for reply in replies] == ids
        assert [reply.amount for reply in replies] == [
            Money.minor(100 + n, self.currency) for n in range(8)
        ]

    def test_refunds_at_once_never_exceed_the_capture(self, bank: Bank) -> None:
        """Of eight refunds of 30 at once on a capture of 100, at most three are approved."""
        self.need(bank.capabilities.partial_refund, "partial refunds")
        sold = self.approved(bank, SALE)

        outcomes = at_once(8, lambda _: self.outcome(bank, REFUND, 3_000, sold))

        assert outcomes.count(DECLINED) == 5

    # Inquiry.

    @pytest.mark.parametrize("kind", [SALE, AUTHORIZE])
    def test_an_inquiry_tells_the_answer(self, bank: Bank, kind: RequestKind) -> None:
        """What was answered is found again by our own id."""
        reply = self.approved(bank, kind)

        assert self.inquire(bank, reply.operation_id) == reply

    def test_an_inquiry_tells_a_decline(self, bank: Bank) -> None:
        """A decline is found again, with its reason."""
        reply = self.send(bank, SALE, card=self.card_that_declines())

        assert self.inquire(bank, reply.operation_id) == reply

    def test_an_inquiry_tells_of_follow_ups(self, bank: Bank) -> None:
        """Capture and refund are found again by ids of their own."""
        authorized = self.approved(bank, AUTHORIZE)
        for kind in (CAPTURE, REFUND):
            reply = self.send(bank, kind, target=authorized)

            assert self.inquire(bank, reply.operation_id) == reply

    def test_an_unknown_operation_is_not_found(self, bank: Bank) -> None:
        """Never seen is NOT_FOUND under the id that was asked for: no decline, no exception."""
        operation_id = self.new_operation_id()

        reply = self.inquire(bank, operation_id)

        assert reply.outcome is ReplyOutcome.NOT_FOUND
        assert reply.operation_id == operation_id

    def test_an_inquiry_changes_nothing(self, bank: Bank) -> None:
        """Asking about an id does not use it up."""
        operation_id = self.new_operation_id()
        self.inquire(bank, operation_id)

        assert self.send(bank, SALE, operation_id=operation_id).outcome is APPROVED

    def test_an_inquiry_not_offered_raises(self, bank: Bank) -> None:
        """A bank that declares no inquiry never answers one: NOT_FOUND would be taken for news."""
        if bank.capabilities.inquiry_by_operation_id:
            return
        reply = self.approved(bank, SALE)

        with pytest.raises(Exception, match=r"."):
            bank.inquire(self.merchant_id, reply.operation_id, timeout_s=self.timeout_s)

    # Merchants are apart.

    def test_another_merchants_operation_is_not_found(self, bank: Bank) -> None:
        """Who asks about a stranger's operation learns that there is none."""
        reply = self.approved(bank, SALE)

        found = self.inquire(bank, reply.operation_id, self.other_merchant_id)

        assert found.outcome is ReplyOutcome.NOT_FOUND

    @pytest.mark.parametrize("kind", [CAPTURE, VOID])
    def test_another_merchants_authorization_cannot_be_used(
        self, bank: Bank, kind: RequestKind
    ) -> None:
        """Nobody captures or voids what is held for another merchant."""
        held = self.approved(bank, AUTHORIZE)

        reply = self.send(bank, kind, target=held, merchant_id=self.other_merchant_id)

        assert reply.outcome is DECLINED
        assert self.outcome(bank, CAPTURE, WHOLE, held) is APPROVED

    # Reversal.

    @pytest.mark.parametrize(("kind", "next_kind"), [(SALE, REFUND), (AUTHORIZE, CAPTURE)])
    def test_a_reversal_undoes(self, bank: Bank, kind: RequestKind, next_kind: RequestKind) -> None:
        """What is reversed is gone: there is nothing left to capture or to refund."""
        done = self.approved(bank, kind)

        assert self.reverse(bank, done.operation_id).outcome is APPROVED
        assert self.outcome(bank, next_kind, WHOLE, done) is DECLINED

    def test_a_reversal_echoes_the_operation(self, bank: Bank) -> None:
        """The answer to a reversal names the operation that it undoes."""
        done = self.approved(bank, AUTHORIZE)

        assert self.reverse(bank, done.operation_id).operation_id == done.operation_id

    def test_a_reversal_may_be_repeated(self, bank: Bank) -> None:
        """A reversal is sent until it is confirmed: twice is as good as once."""
        done = self.approved(bank, SALE)

        assert self.reverse(bank, done.operation_id).outcome is APPROVED
        assert self.reverse(bank, done.operation_id).outcome is APPROVED

    def test_what_is_reversed_is_told_as_declined(self, bank: Bank) -> None:
        """After a reversal nobody is told that the operation was approved."""
        done = self.approved(bank, SALE)
        self.reverse(bank, done.operation_id)

        assert self.inquire(bank, done.operation_id).outcome is DECLINED

    def test_what_is_reversed_is_not_done_again(self, bank: Bank) -> None:
        """A copy of the request that comes after the reversal is declined."""
        self.need_dedup(bank)
        done = self.approved(bank, AUTHORIZE)
        self.reverse(bank, done.operation_id)

        again = self.send(bank, AUTHORIZE, operation_id=done.operation_id)

        assert again.outcome is DECLINED
        assert self.outcome(bank, CAPTURE, WHOLE, done) is DECLINED

    def test_a_reversal_of_a_decline_is_confirmed(self, bank: Bank) -> None:
        """Where nothing was done, there is nothing to undo, and that is confirmed."""
        reply = self.send(bank, SALE, card=self.card_that_declines())

        assert self.reverse(bank, reply.operation_id).outcome is APPROVED
        assert self.inquire(bank, reply.operation_id).outcome is DECLINED

    def test_a_reversal_of_the_unseen_is_kept_or_refused(self, bank: Bank) -> None:
        """Confirmed means remembered: the operation is declined should it come after all."""
        operation_id = self.new_operation_id()

        reversed_ = self.reverse(bank, operation_id)

        if not bank.capabilities.reversal_remembers_unknown:
            assert reversed_.outcome is not APPROVED
            return
        assert reversed_.outcome is APPROVED
        late = self.send(bank, AUTHORIZE, operation_id=operation_id)
        assert late.outcome is DECLINED
        assert self.outcome(bank, CAPTURE, WHOLE, late) is DECLINED

    def test_an_unseen_reversal_is_told_as_declined(self, bank: Bank) -> None:
        """An inquiry after a remembered reversal is told the end of the story."""
        self.need(bank.capabilities.reversal_remembers_unknown, "reversals of unseen ids")
        operation_id = self.new_operation_id()
        self.reverse(bank, operation_id)

        assert self.inquire(bank, operation_id).outcome is DECLINED

    # Cards on file.

    def test_a_card_on_file_is_charged_by_the_networks_id(self, bank: Bank) -> None:
        """The first payment tells an id, and the merchant's own later ones that name it pass."""
        self.need(self.keeps_cards_on_file, "cards on file")
        first_use = StoredCredential(initiator=Initiator.CUSTOMER, first_use=True)

        first = self.send(bank, SALE, credential=first_use)

        assert first.network_transaction_id is not None
        later = StoredCredential(
            initiator=Initiator.MERCHANT,
            first_use=False,
            network_transaction_id=first.network_transaction_id,
        )
        assert self.send(bank, SALE, credential=later).outcome is APPROVED

    # 3-D Secure.

    def test_a_challenge_is_asked_for_and_passed(self, bank: Bank) -> None:
        """Nothing is approved until the cardholder has acted; then each resume says so."""
        card = self.card_that_challenges()
        self.need(card is not None, "a card that challenges")

        waiting = self.send(bank, SALE, card=card)
        assert waiting.outcome is ReplyOutcome.REQUIRES_ACTION
        assert waiting.action is not None
        assert waiting.action.url.startswith("https://")
        early = self.send(bank, RESUME, target=waiting)
        assert early.outcome is ReplyOutcome.REQUIRES_ACTION

        self.pass_challenge(bank, waiting)
        resumed = self.send(bank, RESUME, target=waiting)

        assert resumed.outcome is APPROVED
        assert resumed.amount == waiting.amount
        assert self.send(bank, RESUME, target=waiting).outcome is APPROVED
        assert self.inquire(bank, waiting.operation_id).outcome is APPROVED
        assert self.outcome(bank, REFUND, WHOLE, waiting) is APPROVED

    # What an adapter says of itself.

    def test_capabilities_are_constant(self, bank: Bank) -> None:
        """What is declared stays declared, whatever happens."""
        declared = bank.capabilities
        self.approved(bank, SALE)
        self.send(bank, SALE, card=self.card_that_declines())

        assert isinstance(declared, BankCapabilities)
        assert bank.capabilities == declared
        assert declared.dedups_operation_id_s >= 0
        assert declared.max_in_flight_s >= 0

    def test_it_describes_itself_in_text(self, bank: Bank) -> None:
        """`describe()` maps text to text, and says something."""
        description = bank.describe()

        assert isinstance(description, Mapping)
        assert description
        assert all(isinstance(text, str) for item in description.items() for text in item)

    def test_it_may_be_closed_twice(self, bank: Bank) -> None:
        """A second close does nothing."""
        bank.close()
        bank.close()

    # The card in a request is not stored, not logged and not put into an error.

    def test_no_card_data_stays_or_shows(
        self, bank: Bank, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Neither number nor security code is in the adapter, its repr, pickle, files or logs."""
        codes = ("739", "846")
        with caplog.at_level(logging.DEBUG):
            replies = [
                self.send(bank, kind, card=self.card_that_approves(code))
                for kind in (SALE, AUTHORIZE)
                for code in codes
            ]
            self.send(bank, SALE, card=self.card_that_declines())

        logged = [*caplog.messages, *(repr(vars(record)) for record in caplog.records)]
        written = [data.decode("latin-1") for data in self.written(bank)]
        shown = [repr(bank), str(bank), repr(bank.describe()), repr(replies), pickled(bank)]
        self.refuse_card_data([*logged, *written, *shown, *reachable_text(bank)], codes)

    def test_no_card_data_is_in_an_error(
        self, bank: Bank, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An adapter that can no longer send fails without saying what it was to send."""
        codes = ("739", "846")
        bank.close()
        shown = []
        with caplog.at_level(logging.DEBUG):
            for code in codes:
                try:
                    reply = self.send(bank, SALE, card=self.card_that_approves(code))
                except Exception as error:  # noqa: BLE001  # whatever it raises is looked at
                    shown += list(told_by(error))
                else:
                    shown.append(repr(reply))

        self.refuse_card_data([*shown, *caplog.messages, *reachable_text(bank)], codes)

    def refuse_card_data(self, texts: list[str], codes: tuple[str, ...]) -> None:
        """Fail where the card's number is in one of these, or each of the security codes is.

        One code may be there by chance: three digits are. Several at once are not.
        """
        cards = (self.card_that_approves(), self.card_that_declines())
        for form in [form for card in cards for form in forms_of(card.number.reveal())]:
            # Not `assert form not in text`: the report of a failure would show both.
            found = any(form in text for text in texts)
            assert not found, "a card number stays or shows"
        found = all(any(re.search(rf"(?<!\d){code}(?!\d)", t) for t in texts) for code in codes)
        assert not found, "a security code stays or shows"


def at_once(count: int, call: Callable[[int], T]) -> list[T]:
    """What `call(0)`, `call(1)` ... give, all called at the same time."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def pickled(bank: Bank) -> str:
    """The adapter's pickle, or what is said where it refuses."""
    try:
        return pickle.dumps(bank).decode("latin-1")
    except Exception as error:  # noqa: BLE001  # refusing is right, however it is done
        return " ".join(told_by(error))


def told_by(error: BaseException | None) -> Iterable[str]:
    """All that a log would show of an error and its chain."""
    while error is not None:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
        error = error.__cause__ or error.__context__
