"""The test cards: card numbers that make the simulated bank do something, in one table.

Law of this file: data, and the two ways to read it. The numbers that many sandboxes share mean here
what they mean there (Stripe's "Testing" page is the best known list); for what has no well-known
number there are our own, 4000 0000 0001 0xxx. None of them is anybody's card.

A card that is not in the table is approved. So a form can be tried with any number, and generated
ones work too; but nothing that happens here ever reaches a card network.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar

from attrs import field, frozen

from payplatform._domain.brands import brand_of
from payplatform._domain.cards import Brand
from payplatform._domain.declines import DeclineCode
from payplatform._domain.records import Check
from payplatform.banks._faults import Fault


class Challenge(StrEnum):
    """When the cardholder has to prove who they are, with 3-D Secure.

    `until_on_file`: until a payment has succeeded that a later one names. `always`: each time; so
    what a merchant initiates is declined, for nobody is there to prove anything.
    """

    NEVER = "never"
    UNTIL_ON_FILE = "until_on_file"
    ALWAYS = "always"


class Refunds(StrEnum):
    """What becomes of a refund. A pending one is decided after a while, or by the test.

    `taken_back`: it is approved, and after a while the bank goes back on it.
    """

    APPROVED = "approved"
    TAKEN_BACK = "taken_back"
    DECLINED = "declined"
    PENDING_THEN_APPROVED = "pending_then_approved"
    PENDING_THEN_DECLINED = "pending_then_declined"


@frozen(kw_only=True)
class TestCard:
    """One row: a number, and what the bank does when it sees it.

    Attributes:
        words: what happens, for people.
        decline: why it is declined; None when it is not.
        advice_code: the Mastercard Merchant Advice Code that comes with the decline.
        challenge: when the cardholder is challenged.
        after_challenge: why it is declined even after a challenge that was passed.
        security_code: what the check of a security code says, if one is sent.
        postal_code: what the check of a postal code says, if one is sent.
        refunds: what becomes of refunds.
        takes_captures_back: whether a capture is approved, and after a while taken back.
        fault: what goes wrong on the wire each time this card is sent.
        country: where it was issued (ISO 3166-1 alpha-2); None where the bank does not know.
    """

    __test__: ClassVar[bool] = False  # pytest takes it for a test otherwise

    number: str = field(repr=False)  # public, yet no log should look like one with card numbers
    words: str
    decline: DeclineCode | None = None
    advice_code: str | None = None
    challenge: Challenge = Challenge.NEVER
    after_challenge: DeclineCode | None = None
    security_code: Check = Check.MATCH
    postal_code: Check = Check.MATCH
    refunds: Refunds = Refunds.APPROVED
    takes_captures_back: bool = False
    fault: Fault | None = None
    country: str | None = "US"

    @property
    def brand(self) -> Brand:
        """The brand that the number's leading digits tell."""
        return brand_of(self.number)

    @property
    def outcome(self) -> str:
        """What a payment with it comes to, in one word: `approved`, a decline's code, a fault."""
        if self.fault is not None:
            return str(self.fault)
        if self.challenge is not Challenge.NEVER:
            return "requires_action"
        return "approved" if self.decline is None else str(self.decline)


def _approved(number: str, words: str = "Approved.", country: str = "US") -> TestCard:
    return TestCard(number=number, words=words, country=country)


def _declined(
    number: str, code: DeclineCode, words: str, advice_code: str | None = None
) -> TestCard:
    return TestCard(
        number=number, decline=code, words=f"Declined: {words}.", advice_code=advice_code
    )


def _challenged(
    number: str,
    words: str,
    challenge: Challenge = Challenge.ALWAYS,
    after: DeclineCode | None = None,
) -> TestCard:
    return TestCard(number=number, words=words, challenge=challenge, after_challenge=after)


def _faulty(number: str, fault: Fault, words: str) -> TestCard:
    return TestCard(number=number, fault=fault, words=words)


TEST_CARDS: tuple[TestCard, ...] = (
    # Approved, one or more of each brand that has a well-known number.
    _approved("4242424242424242"),
    _approved("4111111111111111"),
    _approved("4012888888881881"),
    _approved("4000056655665556", "Approved; a debit card."),
    _approved("5555555555554444"),
    _approved("2223003122003222", "Approved; a number of the newer Mastercard range."),
    _approved("5200828282828210", "Approved; a debit card."),
    _approved("5105105105105100", "Approved; a prepaid card."),
    _approved("6759649826438453"),
    _approved("378282246310005"),
    _approved("371449635398431"),
    _approved("6011111111111117"),
    _approved("6011000990139424"),
    _approved("3056930009020004"),
    _approved("36227206271667", "Approved; a number of 14 digits."),
    _approved("3566002020360505"),
    _approved("6200000000000005"),
    # Approved, and issued elsewhere than the others.
    _approved("4000002760000016", "Approved; issued in Germany.", "DE"),
    _approved("4000002500000003", "Approved; issued in France.", "FR"),
    _approved("4000008260000000", "Approved; issued in the United Kingdom.", "GB"),
    _approved("4000000760000002", "Approved; issued in Brazil.", "BR"),
    # Declined, under the well-known numbers.
    _declined("4000000000000002", DeclineCode.GENERIC_DECLINE, "no reason given"),
    _declined("4000000000009995", DeclineCode.INSUFFICIENT_FUNDS, "not enough money"),
    _declined("4000000000009987", DeclineCode.LOST_CARD, "reported lost"),
    _declined("4000000000009979", DeclineCode.STOLEN_CARD, "reported stolen"),
    _declined("4000000000000069", DeclineCode.EXPIRED_CARD, "expired, whatever the date says"),
    _declined("4000000000000119", DeclineCode.PROCESSING_ERROR, "an error on the way"),
    _declined("4000000000006975", DeclineCode.VELOCITY_EXCEEDED, "used too often"),
    _declined("4100000000000019", DeclineCode.SUSPECTED_FRAUD, "suspected fraud"),
    TestCard(
        number="4000000000000127",
        decline=DeclineCode.INCORRECT_SECURITY_CODE,
        security_code=Check.MISMATCH,
        words="Declined: the security code does not match.",
    ),
    # Declined, under numbers of our own: together with those above, every code there is.
    _declined("4000000000010019", DeclineCode.PICKUP_CARD, "the issuer wants the card kept"),
    _declined("4000000000010027", DeclineCode.CLOSED_ACCOUNT, "the account is closed"),
    _declined("4000000000010035", DeclineCode.INVALID_ACCOUNT, "no such account"),
    _declined("4000000000010043", DeclineCode.CARD_BLOCKED, "blocked for good"),
    _declined(
        "4000000000010050",
        DeclineCode.REVOCATION_OF_AUTHORIZATION,
        "the cardholder stops payments to this merchant",
    ),
    _declined(
        "4000000000010068", DeclineCode.STOP_RECURRING, "the agreement was ended", advice_code="21"
    ),
    _declined("4000000000010076", DeclineCode.FRAUD_CONFIRMED, "confirmed fraud"),
    _declined(
        "4000000000010084", DeclineCode.DO_NOT_TRY_AGAIN, "never try again", advice_code="03"
    ),
    _declined("4000000000010092", DeclineCode.LIMIT_EXCEEDED, "over the card's limit"),
    _declined("4000000000010100", DeclineCode.DO_NOT_HONOR, "do not honor"),
    _declined("4000000000010118", DeclineCode.ISSUER_UNAVAILABLE, "the issuer is not reachable"),
    _declined("4000000000010126", DeclineCode.TRY_AGAIN_LATER, "try again later"),
    _declined("4000000000010134", DeclineCode.CALL_ISSUER, "the cardholder is to call the issuer"),
    _declined("4000000000010142", DeclineCode.INCORRECT_NUMBER, "no card has this number"),
    _declined("4000000000010159", DeclineCode.INVALID_EXPIRY, "the expiry is not the card's"),
    TestCard(
        number="4000000000010167",
        decline=DeclineCode.INCORRECT_POSTAL_CODE,
        postal_code=Check.MISMATCH,
        words="Declined: the postal code does not match.",
    ),
    _declined("4000000000010175", DeclineCode.ADDRESS_MISMATCH, "the address does not match"),
    _declined("4000000000010183", DeclineCode.INVALID_AMOUNT, "the issuer refuses the amount"),
    _declined("4000000000010191", DeclineCode.DUPLICATE_TRANSACTION, "taken for a repetition"),
    _declined(
        "4000000000010209",
        DeclineCode.AUTHENTICATION_REQUIRED,
        "the issuer wants the cardholder authenticated, and no challenge is at hand",
    ),
    _declined(
        "4000000000010217", DeclineCode.AUTHENTICATION_FAILED, "authentication failed at once"
    ),
    _declined("4000000000010225", DeclineCode.PIN_REQUIRED, "a PIN is required"),
    _declined("4000000000010233", DeclineCode.CARD_NOT_SUPPORTED, "this sort of card is not taken"),
    _declined("4000000000010241", DeclineCode.CURRENCY_NOT_SUPPORTED, "not in this currency"),
    _declined(
        "4000000000010258", DeclineCode.TRANSACTION_NOT_ALLOWED, "not for this kind of purchase"
    ),
    _declined("4000000000010266", DeclineCode.MERCHANT_MISCONFIGURED, "the merchant is not set up"),
    _declined("4000000000010274", DeclineCode.BANK_ERROR, "a fault of the bank's own"),
    _declined("4000000000010282", DeclineCode.RATE_LIMITED, "asked too often"),
    # 3-D Secure.
    _challenged("4000000000003220", "A challenge each time; approved once it is passed."),
    _challenged("4000002760003184", "A challenge each time; approved once it is passed."),
    _challenged(
        "4000002500003155",
        "A challenge until the card is on file; approved once it is passed.",
        Challenge.UNTIL_ON_FILE,
    ),
    _challenged(
        "4000008260003178",
        "A challenge; declined after it is passed: not enough money.",
        after=DeclineCode.INSUFFICIENT_FUNDS,
    ),
    _challenged(
        "4000008400001629",
        "A challenge; declined after it is passed: no reason given.",
        after=DeclineCode.GENERIC_DECLINE,
    ),
    _approved("4000000000003055", "3-D Secure without a challenge (frictionless): approved."),
    # Checks that fail, are not made, and do not decline.
    TestCard(
        number="4000000000000101",
        security_code=Check.MISMATCH,
        words="Approved, though the security code does not match.",
    ),
    TestCard(
        number="4000000000000036",
        postal_code=Check.MISMATCH,
        words="Approved, though the postal code does not match.",
    ),
    TestCard(
        number="4000000000000010",
        postal_code=Check.MISMATCH,
        words="Approved, though address and postal code do not match.",
    ),
    TestCard(
        number="4000000000000044",
        security_code=Check.NOT_CHECKED,
        postal_code=Check.NOT_CHECKED,
        words="Approved; the issuer checks neither security code nor postal code.",
    ),
    # Captures and refunds.
    TestCard(
        number="4000000000007726",
        refunds=Refunds.PENDING_THEN_APPROVED,
        words="Approved; a refund is pending first, and succeeds.",
    ),
    TestCard(
        number="4000000000010308",
        refunds=Refunds.PENDING_THEN_DECLINED,
        words="Approved; a refund is pending first, and is declined.",
    ),
    TestCard(
        number="4000000000010316",
        refunds=Refunds.DECLINED,
        words="Approved; a refund is declined, since the account has been closed.",
    ),
    TestCard(
        number="4000000000010324",
        refunds=Refunds.TAKEN_BACK,
        words="Approved; a refund is approved too, and taken back later.",
    ),
    TestCard(
        number="4000000000010332",
        takes_captures_back=True,
        words="Approved; a capture is approved too, and taken back later.",
    ),
    # Trouble on the wire.
    _faulty("4000000000010407", Fault.LOSE_REQUEST, "The request is lost: nothing is approved."),
    _faulty("4000000000010415", Fault.LOSE_REPLY, "Approved, and the answer is lost."),
    _faulty("4000000000010423", Fault.DELAY_REQUEST, "Approved too late for an answer."),
    _faulty("4000000000010431", Fault.DOWN, "The bank is not reachable: nothing was sent."),
    _faulty("4000000000010449", Fault.APPROVE_IN_PART, "Approved for half the amount."),
    _faulty(
        "4000000000010456",
        Fault.DELAY_PAST_INQUIRY,
        "Approved so late that recovery has asked before.",
    ),
    _faulty("4000000000010464", Fault.CONTRADICT, "Approved, and the answer says declined."),
)
"""Every test card. Numbers are unique, Luhn-valid, and nobody's."""

UNLISTED = TestCard(number="", words="Approved, like every card that is not listed.", country=None)

_BY_NUMBER: Mapping[str, TestCard] = MappingProxyType({card.number: card for card in TEST_CARDS})


def card_behind(number: str) -> TestCard:
    """The test card with this number, or `UNLISTED`."""
    return _BY_NUMBER.get(number, UNLISTED)


def test_cards_table() -> list[tuple[str, str, str, str]]:
    """The table for people: number in groups, brand, outcome in a word, and in words."""
    return [(_grouped(c.number), str(c.brand), c.outcome, c.words) for c in TEST_CARDS]


# pytest takes a function of this name for a test wherever it is imported.
test_cards_table.__test__ = False  # type: ignore[attr-defined]  # functions take any attribute


def _grouped(number: str) -> str:
    """In fours; 14 and 15 digits as they stand on the card: 4-6-4 or 4-6-5."""
    if len(number) < 16:
        return f"{number[:4]} {number[4:10]} {number[10:]}"
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4))
