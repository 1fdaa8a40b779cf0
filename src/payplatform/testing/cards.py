"""The simulated bank's test cards by what they do, ready to hand in.

Law of this file: no card number stands here; each card is looked up in the bank's own table by what
the table says of it, so the two cannot part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import fields_dict, frozen

from payplatform._domain.cards import Brand, Card
from payplatform._domain.declines import DeclineCode
from payplatform.banks.simulated import TEST_CARDS, Challenge, Fault, Refunds, TestCard

EXPIRY: Final = "12/2040"


@frozen(kw_only=True)
class NamedCards:
    """Cards that make the simulated bank do something, by the name of what it does.

    Attributes:
        approves: is approved.
        declines: is declined, and no reason is given.
        insufficient_funds: is declined: there is not enough money.
        lost: is declined as reported lost; the customer is told no more than "declined".
        stolen: is declined as reported stolen, likewise.
        expired: is declined as expired, whatever the date says.
        wrong_security_code: is declined: the security code does not match.
        needs_challenge: asks for a challenge each time; see `SimulatedBank.complete_challenge`.
        needs_challenge_once: asks for one until the card is on file.
        declines_after_challenge: asks for one, and is declined even if it is passed.
        refunds_later: a refund is pending first, and then succeeds.
        refunds_fail_later: a refund is pending first, and is then declined.
        refuses_refunds: a refund is declined.
        takes_refunds_back: a refund succeeds, and is taken back later.
        takes_captures_back: a capture succeeds, and is taken back later.
        loses_request: the request gets lost; nothing is approved.
        loses_reply: is approved, and the answer gets lost.
        answers_late: is approved too late for an answer.
        answers_after_recovery: is approved so late that recovery has asked about it before.
        contradicts: is approved, and the answer says declined; a notice tells the truth.
        unreachable: the bank cannot be reached; nothing was sent.
        approves_half: is approved for half the amount.
    """

    approves: Card
    declines: Card
    insufficient_funds: Card
    lost: Card
    stolen: Card
    expired: Card
    wrong_security_code: Card
    needs_challenge: Card
    needs_challenge_once: Card
    declines_after_challenge: Card
    refunds_later: Card
    refunds_fail_later: Card
    refuses_refunds: Card
    takes_refunds_back: Card
    takes_captures_back: Card
    loses_request: Card
    loses_reply: Card
    answers_late: Card
    answers_after_recovery: Card
    contradicts: Card
    unreachable: Card
    approves_half: Card

    @classmethod
    def from_table(cls) -> NamedCards:
        """All of them, looked up in the bank's table."""
        return cls(**{name: _first(is_meant) for name, is_meant in _MEANT.items()})

    def declined_as(self, code: DeclineCode | str) -> Card:
        """The card that is declined with this code.

        Args:
            code: any of `DeclineCode`.

        Raises:
            LookupError: there is no such code.
        """
        return _first(lambda card: card.decline == code)

    def of_brand(self, brand: Brand | str) -> Card:
        """A card of this brand that is approved.

        Args:
            brand: any of `Brand` that the table has.

        Raises:
            LookupError: the table has none.
        """
        return _first(lambda card: card.brand == brand and card.outcome == "approved")


def _declined(code: DeclineCode) -> Callable[[TestCard], bool]:
    return lambda card: card.decline is code


def _refunded(refunds: Refunds) -> Callable[[TestCard], bool]:
    return lambda card: card.refunds is refunds


def _faulty(fault: Fault) -> Callable[[TestCard], bool]:
    return lambda card: card.fault is fault


def _challenged(challenge: Challenge, *, then_declined: bool = False) -> Callable[[TestCard], bool]:
    return lambda card: (
        card.challenge is challenge and (card.after_challenge is not None) is then_declined
    )


_MEANT: Final[dict[str, Callable[[TestCard], bool]]] = {
    "approves": lambda card: card.outcome == "approved",
    "declines": _declined(DeclineCode.GENERIC_DECLINE),
    "insufficient_funds": _declined(DeclineCode.INSUFFICIENT_FUNDS),
    "lost": _declined(DeclineCode.LOST_CARD),
    "stolen": _declined(DeclineCode.STOLEN_CARD),
    "expired": _declined(DeclineCode.EXPIRED_CARD),
    "wrong_security_code": _declined(DeclineCode.INCORRECT_SECURITY_CODE),
    "needs_challenge": _challenged(Challenge.ALWAYS),
    "needs_challenge_once": _challenged(Challenge.UNTIL_ON_FILE),
    "declines_after_challenge": _challenged(Challenge.ALWAYS, then_declined=True),
    "refunds_later": _refunded(Refunds.PENDING_THEN_APPROVED),
    "refunds_fail_later": _refunded(Refunds.PENDING_THEN_DECLINED),
    "refuses_refunds": _refunded(Refunds.DECLINED),
    "takes_refunds_back": _refunded(Refunds.TAKEN_BACK),
    "takes_captures_back": lambda card: card.takes_captures_back,
    "loses_request": _faulty(Fault.LOSE_REQUEST),
    "loses_reply": _faulty(Fault.LOSE_REPLY),
    "answers_late": _faulty(Fault.DELAY_REQUEST),
    "answers_after_recovery": _faulty(Fault.DELAY_PAST_INQUIRY),
    "contradicts": _faulty(Fault.CONTRADICT),
    "unreachable": _faulty(Fault.DOWN),
    "approves_half": _faulty(Fault.APPROVE_IN_PART),
}

NAMES: Final = tuple(fields_dict(NamedCards))
"""The names of all of them."""


def _first(is_meant: Callable[[TestCard], bool]) -> Card:
    for card in TEST_CARDS:
        if is_meant(card):
            return Card(card.number, EXPIRY)
    raise LookupError("the bank's table has no such card")
