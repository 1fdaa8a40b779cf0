"""Why the bank said no, and what to do about it. A decline is a value, not an exception.

The law of this file: every code has exactly one row in `DECLINE_RULES`, and everything that is said
of a decline comes from there; only the network's own advice code may refine what to do next. A hard
decline never advises another attempt, whatever else the bank adds. An approval, a timeout or an
answer that cannot be read never becomes a decline.

Sources of the facts:

- ISO 8583:1987, field 39, for the meaning of the two-character response codes.
- The response codes Visa and Mastercard add or redefine, as acquirers publish them (Checkout.com
  "Visa response codes", Worldpay "Raw response codes", TabaPay "Visa Response Code Updates").
- Visa's four categories of declines, same places: category 1 is never to be attempted again;
  the others so many times in 30 days: see `limits`.
- Mastercard's Merchant Advice Codes (Braintree, Solidgate and TabaPay, "Merchant Advice Codes"),
  whose Transaction Processing Excellence programme charges for ignoring 03 or 21.

The waiting times in `DECLINE_RULES` are ours, and cautious: no network publishes one per response
code. Those in `MERCHANT_ADVICE` are Mastercard's own; 02 gives none, and acquirers advise 72 hours.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import Attribute, field, frozen

from payplatform.errors import ErrorCode, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping


class DeclineKind(StrEnum):
    """What sort of no it is: who can change it, if anybody."""

    HARD = "hard"
    SOFT = "soft"
    FIX_DATA = "fix_data"
    NEEDS_AUTH = "needs_auth"
    CONFIG = "config"
    TECHNICAL = "technical"


class DeclineCode(StrEnum):
    """Why the bank said no. Codes are API: never renamed, never given a second meaning."""

    # hard
    LOST_CARD = "lost_card"
    STOLEN_CARD = "stolen_card"
    PICKUP_CARD = "pickup_card"
    CLOSED_ACCOUNT = "closed_account"
    INVALID_ACCOUNT = "invalid_account"
    CARD_BLOCKED = "card_blocked"
    REVOCATION_OF_AUTHORIZATION = "revocation_of_authorization"
    STOP_RECURRING = "stop_recurring"
    FRAUD_CONFIRMED = "fraud_confirmed"
    DO_NOT_TRY_AGAIN = "do_not_try_again"
    # soft
    INSUFFICIENT_FUNDS = "insufficient_funds"
    LIMIT_EXCEEDED = "limit_exceeded"
    VELOCITY_EXCEEDED = "velocity_exceeded"
    DO_NOT_HONOR = "do_not_honor"
    GENERIC_DECLINE = "generic_decline"
    ISSUER_UNAVAILABLE = "issuer_unavailable"
    TRY_AGAIN_LATER = "try_again_later"
    SUSPECTED_FRAUD = "suspected_fraud"
    CALL_ISSUER = "call_issuer"
    # fix_data
    INCORRECT_NUMBER = "incorrect_number"
    INVALID_EXPIRY = "invalid_expiry"
    EXPIRED_CARD = "expired_card"
    INCORRECT_SECURITY_CODE = "incorrect_security_code"
    INCORRECT_POSTAL_CODE = "incorrect_postal_code"
    ADDRESS_MISMATCH = "address_mismatch"
    INVALID_AMOUNT = "invalid_amount"
    DUPLICATE_TRANSACTION = "duplicate_transaction"
    # needs_auth
    AUTHENTICATION_REQUIRED = "authentication_required"
    AUTHENTICATION_FAILED = "authentication_failed"
    PIN_REQUIRED = "pin_required"
    # config
    CARD_NOT_SUPPORTED = "card_not_supported"
    CURRENCY_NOT_SUPPORTED = "currency_not_supported"
    TRANSACTION_NOT_ALLOWED = "transaction_not_allowed"
    MERCHANT_MISCONFIGURED = "merchant_misconfigured"
    # technical
    PROCESSING_ERROR = "processing_error"
    BANK_ERROR = "bank_error"
    RATE_LIMITED = "rate_limited"


class Advice(StrEnum):
    """What the merchant does next. A new attempt is a new intent: it takes a new idempotency key.

    `do_not_retry`: this card will not do; ask the customer for another one.
    `retry_later`: the same card, not before `retry_after`, a limited number of times.
    `contact_issuer`: the customer talks to the card's bank first, then as `retry_later`.
    `correct_and_retry`: have the card's details, or the request's, corrected; then at once.
    `authenticate_and_retry`: have the customer prove who they are (3-D Secure); then at once.
    `contact_acquirer`: the merchant's own set-up is in the way; nothing the customer can do.
    """

    DO_NOT_RETRY = "do_not_retry"
    RETRY_LATER = "retry_later"
    CONTACT_ISSUER = "contact_issuer"
    CORRECT_AND_RETRY = "correct_and_retry"
    AUTHENTICATE_AND_RETRY = "authenticate_and_retry"
    CONTACT_ACQUIRER = "contact_acquirer"


CARD_DECLINED = "Your card was declined. Please try another card."
"""All that a customer is told where the reason is none of their business, or a thief's gain."""


@frozen
class DeclineRule:
    """One row: what holds for every decline with one code.

    Attributes:
        message: for the merchant's log, in English; not for the customer.
        customer_message: for the customer, in English; `CARD_DECLINED` unless they may be told
            the reason.
        kind: what sort of no.
        advice: what the merchant does next.
        retry_after: how long to wait before the same card is tried again; None where it must not
            be, or where waiting is not what helps.
    """

    message: str
    customer_message: str = CARD_DECLINED
    kind: DeclineKind = field(kw_only=True)
    advice: Advice = field(kw_only=True)
    retry_after: timedelta | None = field(kw_only=True, default=None)

    @property
    def code_may_be_shown(self) -> bool:
        """Whether the customer may learn the code: so wherever they are told the reason."""
        return self.customer_message != CARD_DECLINED


_hard = partial(DeclineRule, kind=DeclineKind.HARD, advice=Advice.DO_NOT_RETRY)
_soft = partial(
    DeclineRule, kind=DeclineKind.SOFT, advice=Advice.RETRY_LATER, retry_after=timedelta(days=1)
)
_fix_data = partial(DeclineRule, kind=DeclineKind.FIX_DATA, advice=Advice.CORRECT_AND_RETRY)
_needs_auth = partial(
    DeclineRule, kind=DeclineKind.NEEDS_AUTH, advice=Advice.AUTHENTICATE_AND_RETRY
)
_setup = partial(DeclineRule, kind=DeclineKind.CONFIG)
_technical = partial(DeclineRule, kind=DeclineKind.TECHNICAL, advice=Advice.RETRY_LATER)

_CARD_UNUSABLE = "This card cannot be used. Please try another card."
_NOT_PROCESSED = "Your payment could not be processed. Please try again in a while."
_PAYMENT_NOT_TAKEN = "We cannot take this payment at the moment. You have not been charged."

DECLINE_RULES: Mapping[DeclineCode, DeclineRule] = MappingProxyType(
    {
        DeclineCode.LOST_CARD: _hard("The card is reported lost."),
        DeclineCode.STOLEN_CARD: _hard("The card is reported stolen."),
        DeclineCode.PICKUP_CARD: _hard("The issuer wants the card to be kept."),
        DeclineCode.CLOSED_ACCOUNT: _hard("The account behind the card is closed.", _CARD_UNUSABLE),
        DeclineCode.INVALID_ACCOUNT: _hard("No such account at the issuer.", _CARD_UNUSABLE),
        DeclineCode.CARD_BLOCKED: _hard("The issuer has blocked the card for good."),
        DeclineCode.REVOCATION_OF_AUTHORIZATION: _hard(
            "The cardholder has told the issuer to stop payments to this merchant.",
            "Your bank was told to stop payments to us. Please use another card.",
        ),
        DeclineCode.STOP_RECURRING: _hard(
            "The cardholder has ended the recurring agreement.",
            "Your bank was told to stop recurring payments to us. Please use another card.",
        ),
        DeclineCode.FRAUD_CONFIRMED: _hard("The issuer has confirmed fraud on the card."),
        DeclineCode.DO_NOT_TRY_AGAIN: _hard(
            "The issuer will never approve this card here; another attempt may cost a fee."
        ),
        DeclineCode.INSUFFICIENT_FUNDS: _soft(
            "The account has not enough money.",
            "There is not enough money on this card. Please try another card.",
        ),
        DeclineCode.LIMIT_EXCEEDED: _soft(
            "The amount is over the card's limit.",
            "This payment is over your card's limit. Please try another card.",
        ),
        DeclineCode.VELOCITY_EXCEEDED: _soft("The card was used too often in a short time."),
        DeclineCode.DO_NOT_HONOR: _soft("The issuer declined and gives no reason."),
        DeclineCode.GENERIC_DECLINE: _soft("Declined for a reason that has no code of its own."),
        DeclineCode.ISSUER_UNAVAILABLE: _soft(
            "The issuer could not be reached; nothing was approved.",
            "Your bank could not be reached. Please try again later, or use another card.",
            retry_after=timedelta(hours=1),
        ),
        DeclineCode.TRY_AGAIN_LATER: _soft(
            "The issuer cannot approve just now and asks for a later attempt.",
            "Your bank cannot approve this just now. Please try again later.",
            retry_after=timedelta(hours=1),
        ),
        DeclineCode.SUSPECTED_FRAUD: _soft("The issuer suspects fraud in this attempt."),
        DeclineCode.CALL_ISSUER: _soft(
            "The issuer wants to hear from the cardholder first.",
            "Please contact your bank about this payment, or try another card.",
            advice=Advice.CONTACT_ISSUER,
        ),
        DeclineCode.INCORRECT_NUMBER: _fix_data(
            "The card number is wrong.", "The card number is not correct. Please check it."
        ),
        DeclineCode.INVALID_EXPIRY: _fix_data(
            "The expiry date is not the card's.", "The expiry date is not correct. Please check it."
        ),
        DeclineCode.EXPIRED_CARD: _fix_data(
            "The card has expired.",
            "This card has expired. Please enter the new expiry date, or use another card.",
        ),
        DeclineCode.INCORRECT_SECURITY_CODE: _fix_data(
            "The security code is not the card's.",
            "The security code is not correct. Please check it.",
        ),
        DeclineCode.INCORRECT_POSTAL_CODE: _fix_data(
            "The postal code is not the cardholder's.",
            "The postal code does not match your card. Please check it.",
        ),
        DeclineCode.ADDRESS_MISMATCH: _fix_data(
            "The cardholder's details are not those the issuer has.",
            "Your details do not match those at your bank. Please check them.",
        ),
        DeclineCode.INVALID_AMOUNT: _fix_data(
            "The bank does not accept this amount.",
            "This amount cannot be paid. You have not been charged.",
        ),
        DeclineCode.DUPLICATE_TRANSACTION: _fix_data(
            "The bank takes this for a repetition: look for the first one before trying again.",
            "This looks like a payment you have just made. Please check before you try again.",
        ),
        DeclineCode.AUTHENTICATION_REQUIRED: _needs_auth(
            "The issuer wants the customer authenticated.",
            "Your bank asks you to confirm this payment.",
        ),
        DeclineCode.AUTHENTICATION_FAILED: _needs_auth(
            "The customer could not be authenticated.",
            "We could not confirm that it is you. Please try again, or use another card.",
        ),
        DeclineCode.PIN_REQUIRED: _needs_auth(
            "The issuer wants a correct PIN, or another proof that it is the cardholder.",
            "Your bank asks you to confirm that it is you.",
        ),
        DeclineCode.CARD_NOT_SUPPORTED: _setup(
            "This sort of card is not accepted here.",
            "This sort of card is not accepted here. Please try another card.",
            advice=Advice.DO_NOT_RETRY,
        ),
        DeclineCode.CURRENCY_NOT_SUPPORTED: _setup(
            "The bank does not take this currency for this merchant or card.",
            "This card cannot be charged in this currency. Please try another card.",
            advice=Advice.CONTACT_ACQUIRER,
        ),
        DeclineCode.TRANSACTION_NOT_ALLOWED: _setup(
            "The card is not allowed for this kind of purchase.",
            "This card cannot be used for this purchase. Please try another card.",
            advice=Advice.DO_NOT_RETRY,
        ),
        DeclineCode.MERCHANT_MISCONFIGURED: _setup(
            "The bank does not know this merchant, or has not enabled this operation for it.",
            _PAYMENT_NOT_TAKEN,
            advice=Advice.CONTACT_ACQUIRER,
        ),
        DeclineCode.PROCESSING_ERROR: _technical(
            "The payment could not be processed; nothing was approved.",
            _NOT_PROCESSED,
            retry_after=timedelta(minutes=5),
        ),
        DeclineCode.BANK_ERROR: _technical(
            "The acquiring bank has a fault of its own; nothing was approved.",
            _NOT_PROCESSED,
            retry_after=timedelta(hours=1),
        ),
        DeclineCode.RATE_LIMITED: _technical(
            "The bank was asked too often; nothing was approved.",
            _NOT_PROCESSED,
            retry_after=timedelta(minutes=1),
        ),
    }
)
"""Every code's row. Total: a code without a row is a defect that a test finds."""


NOT_DECLINES = frozenset(
    # Approved, some of them for less than was asked: with identification (08), partly (10, 32, 87),
    # for an important person (11), updating track 3 (16), a verification without objection (85),
    # offline (Y1, Y3).
    {"00", "08", "10", "11", "16", "32", "85", "87", "Y1", "Y3"}
    # Still running (09), or answered too late for anybody to know (68): ask the bank again.
    | {"09", "68"}
)
"""ISO 8583 response codes that do not say no. Taking one for a decline loses a customer's money."""

_RESPONSE_CODES: Mapping[DeclineCode, str] = {
    DeclineCode.LOST_CARD: "41",
    DeclineCode.STOLEN_CARD: "43",
    DeclineCode.PICKUP_CARD: "04 07 34 35 36 37 38 67",  # keep the card, for various reasons
    DeclineCode.CLOSED_ACCOUNT: "46",
    DeclineCode.INVALID_ACCOUNT: "15 56",  # no issuer, or no account, has this number
    DeclineCode.REVOCATION_OF_AUTHORIZATION: "R0 R1 R3",  # one payment, this merchant's, all
    DeclineCode.INSUFFICIENT_FUNDS: "51",
    DeclineCode.LIMIT_EXCEEDED: "61 N4",
    DeclineCode.VELOCITY_EXCEEDED: "65",
    DeclineCode.DO_NOT_HONOR: "05",
    DeclineCode.GENERIC_DECLINE: "79",
    DeclineCode.ISSUER_UNAVAILABLE: "28 91 92 1Z N0",
    DeclineCode.TRY_AGAIN_LATER: "19 90",
    DeclineCode.SUSPECTED_FRAUD: "59 63 66 83",
    # Referrals; and what only the issuer can lift: 75 too many wrong PINs, 78 a card not yet
    # activated, 9G a card its holder has switched off.
    DeclineCode.CALL_ISSUER: "01 02 75 78 9G",
    DeclineCode.INCORRECT_NUMBER: "14",
    DeclineCode.EXPIRED_CARD: "33 54",
    DeclineCode.INCORRECT_SECURITY_CODE: "82 N7",
    DeclineCode.ADDRESS_MISMATCH: "6P",  # the cardholder's identification differs
    DeclineCode.INVALID_AMOUNT: "13 N8",
    DeclineCode.DUPLICATE_TRANSACTION: "94",
    DeclineCode.AUTHENTICATION_REQUIRED: "1A",  # Visa's strong customer authentication
    DeclineCode.AUTHENTICATION_FAILED: "88 Q1",
    DeclineCode.PIN_REQUIRED: "55 70 71 86 89",
    DeclineCode.CARD_NOT_SUPPORTED: "31 39 52 53",  # no account of the sort behind it
    # 12 and 40 the kind of operation, 57 the cardholder, 62 the region or trade, 64 and 93 the
    # law, 5C the issuer's own rules.
    DeclineCode.TRANSACTION_NOT_ALLOWED: "12 40 57 62 64 93 5C N3 R2",
    DeclineCode.MERCHANT_MISCONFIGURED: "03 58 60 B1",
    DeclineCode.PROCESSING_ERROR: "06 25 30 76 77 81 84 96",
    DeclineCode.BANK_ERROR: "20 22 95",
}

_MASTERCARD_RESPONSE_CODES: Mapping[DeclineCode, str] = {
    DeclineCode.AUTHENTICATION_REQUIRED: "65",  # how European issuers ask for 3-D Secure
    DeclineCode.CALL_ISSUER: "70",
    DeclineCode.INVALID_ACCOUNT: "76 77 78",
    # "Life cycle" and "policy": the advice code that comes with them tells the rest.
    DeclineCode.GENERIC_DECLINE: "79 82",
    DeclineCode.TRANSACTION_NOT_ALLOWED: "81",
}


def _by_response_code(table: Mapping[DeclineCode, str]) -> dict[str, DeclineCode]:
    return {response: code for code, responses in table.items() for response in responses.split()}


ISO8583_DECLINES: Mapping[str, DeclineCode] = MappingProxyType(_by_response_code(_RESPONSE_CODES))
"""Field 39 to our codes, in Visa's reading where the networks differ. Others: `generic_decline`."""

MASTERCARD_DECLINES: Mapping[str, DeclineCode] = MappingProxyType(
    {**ISO8583_DECLINES, **_by_response_code(_MASTERCARD_RESPONSE_CODES)}
)
"""The same, where Mastercard gives a response code another meaning than Visa does."""

_MASTERCARD_BRANDS = frozenset({"mastercard", "maestro"})


@frozen
class AdviceRule:
    """What one Merchant Advice Code says: the advice, and how long to wait if it says that."""

    advice: Advice
    retry_after: timedelta | None = None


MERCHANT_ADVICE: Mapping[str, AdviceRule] = MappingProxyType(
    {
        "01": AdviceRule(Advice.CORRECT_AND_RETRY),  # the card has new details
        "02": AdviceRule(Advice.RETRY_LATER, timedelta(days=3)),
        "03": AdviceRule(Advice.DO_NOT_RETRY),
        "04": AdviceRule(Advice.CONTACT_ACQUIRER),  # the network token is not acceptable
        "21": AdviceRule(Advice.DO_NOT_RETRY),  # the customer has ended the agreement
        "22": AdviceRule(Advice.CONTACT_ACQUIRER),  # the merchant does not qualify
        "24": AdviceRule(Advice.RETRY_LATER, timedelta(hours=1)),
        "25": AdviceRule(Advice.RETRY_LATER, timedelta(days=1)),
        "26": AdviceRule(Advice.RETRY_LATER, timedelta(days=2)),
        "27": AdviceRule(Advice.RETRY_LATER, timedelta(days=4)),
        "28": AdviceRule(Advice.RETRY_LATER, timedelta(days=6)),
        "29": AdviceRule(Advice.RETRY_LATER, timedelta(days=8)),
        "30": AdviceRule(Advice.RETRY_LATER, timedelta(days=10)),
    }
)
"""Mastercard's Merchant Advice Codes that advise. Those that only describe the card do not."""

_FORBIDDING_ADVICE: Mapping[str, DeclineCode] = MappingProxyType(
    {"03": DeclineCode.DO_NOT_TRY_AGAIN, "21": DeclineCode.STOP_RECURRING}
)

# A card that must be corrected or a customer who must be authenticated gains nothing by waiting,
# and a hard decline may not be softened.
_KINDS_THAT_HEED_ADVICE = frozenset({DeclineKind.SOFT, DeclineKind.CONFIG, DeclineKind.TECHNICAL})

BANK_CODE_MAX_LENGTH = 32
_CARD_NUMBER_MIN_DIGITS = 12  # the shortest card numbers in use (Maestro)


def _is_known(_decline: object, _attribute: object, value: DeclineCode) -> None:
    if not isinstance(value, DeclineCode):
        raise InvalidRequest(
            "code must be a DeclineCode", code=ErrorCode.TYPE_INVALID, field="code"
        )


def _is_bounded(_decline: object, attribute: Attribute[str | None], value: object) -> None:
    broken = None if value is None else _broken_rule(value)
    if broken is not None:
        code, rule = broken
        raise InvalidRequest(f"{attribute.name} {rule}", code=code, field=attribute.name)


def _broken_rule(raw: object) -> tuple[ErrorCode, str] | None:
    if not isinstance(raw, str):
        return ErrorCode.TYPE_INVALID, "must be text"
    if not raw:
        return ErrorCode.TEXT_EMPTY, "must not be empty; leave it out instead"
    if len(raw) > BANK_CODE_MAX_LENGTH:
        return ErrorCode.TEXT_TOO_LONG, f"must be at most {BANK_CODE_MAX_LENGTH} characters"
    if not all("!" <= character <= "~" for character in raw):
        return ErrorCode.TEXT_NOT_PRINTABLE, "must be printable ASCII without spaces"
    if sum(character.isdigit() for character in raw) >= _CARD_NUMBER_MIN_DIGITS:
        return ErrorCode.LOOKS_LIKE_CARD_NUMBER, "must have fewer digits than a card number"
    return None


@frozen(kw_only=True)
class Decline:
    """The bank's no: its code, what the bank literally said, and what follows from both.

    Attributes:
        code: why.
        bank_code: the reason as the bank sent it, for support; None when it sent none. 1 to 32
            printable ASCII characters without spaces, with fewer digits than a card number.
        advice_code: the Mastercard Merchant Advice Code, where the bank sent one. An unknown one
            is kept and changes nothing. Same bounds as `bank_code`.

    Raises:
        InvalidRequest: `type_invalid`, `text_empty`, `text_too_long`, `text_not_printable` or
            `looks_like_card_number`, naming the field and never its value.
    """

    code: DeclineCode = field(validator=_is_known)
    bank_code: str | None = field(default=None, validator=_is_bounded)
    advice_code: str | None = field(default=None, validator=_is_bounded)

    @property
    def kind(self) -> DeclineKind:
        """What sort of no it is; follows from the code alone."""
        return DECLINE_RULES[self.code].kind

    @property
    def advice(self) -> Advice:
        """What to do next: the network's own advice where it gave one, else the code's."""
        return self._deciding_rule.advice

    @property
    def retry_after(self) -> timedelta | None:
        """How long to wait before the same card is tried again; None where waiting does not help.

        Counted from the decline. Present exactly when the advice is `retry_later` or
        `contact_issuer`. The networks also bound how often: see the top of this file.
        """
        return self._deciding_rule.retry_after

    @property
    def message(self) -> str:
        """One sentence for the merchant's log. Not for the customer: it tells the true reason."""
        return DECLINE_RULES[self.code].message

    @property
    def customer_message(self) -> str:
        """What the customer may read; the same for lost, stolen, fraud and no reason at all."""
        return DECLINE_RULES[self.code].customer_message

    @property
    def code_may_be_shown(self) -> bool:
        """Whether the customer may learn `code` itself; never for lost, stolen and fraud."""
        return DECLINE_RULES[self.code].code_may_be_shown

    @property
    def _deciding_rule(self) -> DeclineRule | AdviceRule:
        own = DECLINE_RULES[self.code]
        network = MERCHANT_ADVICE.get(self.advice_code or "")
        if network is None:
            return own
        if network.advice is Advice.DO_NOT_RETRY or own.kind in _KINDS_THAT_HEED_ADVICE:
            return network
        return own

    @classmethod
    def from_iso8583(
        cls, code: str, *, advice_code: str | None = None, brand: str | None = None
    ) -> Decline:
        """The decline that an ISO 8583:1987 response code stands for.

        A code we do not know is a `generic_decline`; the bank's own is kept as `bank_code`. Advice
        03 and 21 forbid every further attempt, and so decide the code, unless it is hard already.

        Args:
            code: field 39 as received: two ASCII letters or digits, in either case.
            advice_code: the Merchant Advice Code (field 48, subelement 84), where there is one.
            brand: the card's brand, where known: Mastercard and Maestro read some codes otherwise.

        Returns:
            The decline, with `bank_code` and `advice_code` as sent.

        Raises:
            InvalidRequest: `type_invalid` or `value_invalid` when the code is not a response code,
                or is one that does not say no (`NOT_DECLINES`): an adapter looks for those first,
                and to let this error escape is right, for such an outcome is not known to be a
                decline. Also as the class does, for `advice_code`.
        """
        response = _response_code(code)
        mastercard = (brand or "").lower() in _MASTERCARD_BRANDS
        meanings = MASTERCARD_DECLINES if mastercard else ISO8583_DECLINES
        meaning = meanings.get(response, DeclineCode.GENERIC_DECLINE)
        forbidding = _FORBIDDING_ADVICE.get(advice_code or "")
        if forbidding is not None and DECLINE_RULES[meaning].kind is not DeclineKind.HARD:
            meaning = forbidding
        return cls(code=meaning, bank_code=code, advice_code=advice_code)


def _response_code(code: object) -> str:
    if not isinstance(code, str):
        raise InvalidRequest(
            "the response code must be text", code=ErrorCode.TYPE_INVALID, field="code"
        )
    response = code.upper()
    if len(code) != 2 or not (code.isascii() and code.isalnum()):
        raise InvalidRequest(
            "the response code must be two ASCII letters or digits",
            code=ErrorCode.VALUE_INVALID,
            field="code",
        )
    if response in NOT_DECLINES:
        raise InvalidRequest(
            "the response code stands for an approval or an open outcome, not for a decline",
            code=ErrorCode.VALUE_INVALID,
            field="code",
        )
    return response
