"""Why cardholders dispute: the card schemes' own codes, and the few words that they come down to.

Law of this file: data, and the one way to look it up. A code that no table knows is `general`, not
wrong: schemes add codes, and what the bank holds is held all the same.

Sources: Visa Core Rules, section 11 (dispute conditions 10.1 to 13.9); Mastercard Chargeback Guide
(message reason codes); American Express Merchant Operating Guide, chargeback codes; Discover
Network Dispute Rules. Each as acquirers publish it too (Braintree "Chargeback Reason Codes", North
"Chargeback Reason Codes", Stripe "Dispute reason code categories").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from payplatform._domain.brands import Brand


class DisputeReason(StrEnum):
    """What the cardholder, or their bank, says is wrong. Reasons are API: never renamed."""

    FRAUD = "fraud"
    UNRECOGNIZED = "unrecognized"
    NOT_AUTHORIZED = "not_authorized"
    NOT_RECEIVED = "not_received"
    NOT_AS_DESCRIBED = "not_as_described"
    CREDIT_NOT_PROCESSED = "credit_not_processed"
    CANCELED = "canceled"
    DUPLICATE = "duplicate"
    WRONG_AMOUNT = "wrong_amount"
    PROCESSING_ERROR = "processing_error"
    GENERAL = "general"

    @property
    def words(self) -> str:
        """What it says, in words."""
        return _WORDS[self]


_R = DisputeReason

_WORDS: Final[Mapping[DisputeReason, str]] = MappingProxyType(
    {
        _R.FRAUD: "the cardholder did not take part in it",
        _R.UNRECOGNIZED: "the cardholder does not recognize it",
        _R.NOT_AUTHORIZED: "it was not authorized, or not as the scheme asks",
        _R.NOT_RECEIVED: "what was bought never came",
        _R.NOT_AS_DESCRIBED: "what came is not what was described, or is broken",
        _R.CREDIT_NOT_PROCESSED: "a refund that was promised never came",
        _R.CANCELED: "it was canceled before",
        _R.DUPLICATE: "it was paid twice, or in another way too",
        _R.WRONG_AMOUNT: "the amount is not what was agreed",
        _R.PROCESSING_ERROR: "it was processed wrongly, or too late",
        _R.GENERAL: "the code says no more",
    }
)

_CODES: Final[Mapping[Brand, Mapping[DisputeReason, str]]] = MappingProxyType(
    {
        Brand.VISA: {
            _R.FRAUD: "10.1 10.2 10.3 10.4 10.5",
            _R.NOT_AUTHORIZED: "11.1 11.2 11.3",
            _R.PROCESSING_ERROR: "12.1 12.2 12.3 12.4 12.7",
            _R.WRONG_AMOUNT: "12.5",
            _R.DUPLICATE: "12.6 12.6.1 12.6.2",
            _R.NOT_RECEIVED: "13.1 13.9",
            _R.CANCELED: "13.2 13.7",
            _R.NOT_AS_DESCRIBED: "13.3 13.4 13.5",
            _R.CREDIT_NOT_PROCESSED: "13.6",
            _R.GENERAL: "13.8",
        },
        # 4853 has taken in most of what cardholders dispute, and says no more of it.
        Brand.MASTERCARD: {
            _R.FRAUD: "4837 4840 4849 4870 4871",
            _R.UNRECOGNIZED: "4863",
            _R.NOT_AUTHORIZED: "4807 4808 4812",
            _R.WRONG_AMOUNT: "4831",
            _R.PROCESSING_ERROR: "4834 4842 4846",
            _R.CANCELED: "4841",
            _R.NOT_RECEIVED: "4855",
            _R.CREDIT_NOT_PROCESSED: "4860",
            _R.GENERAL: "4853 4854 4859 4999",
        },
        Brand.AMEX: {
            _R.FRAUD: "F10 F14 F24 F29 F30 F31 FR2 FR4 FR6",
            _R.NOT_AUTHORIZED: "A01 A02 A08",
            _R.NOT_RECEIVED: "C08",
            _R.NOT_AS_DESCRIBED: "C31 C32",
            _R.CREDIT_NOT_PROCESSED: "C02 C04",
            _R.CANCELED: "C05 C18 C28",
            _R.DUPLICATE: "C14 P08",
            _R.WRONG_AMOUNT: "P05",
            _R.PROCESSING_ERROR: "P01 P03 P04 P07 P22 P23",
            _R.GENERAL: "M01 M10 M49 R03 R13",
        },
        Brand.DISCOVER: {
            _R.FRAUD: "UA01 UA02 UA05 UA06",
            _R.UNRECOGNIZED: "AA",
            _R.NOT_AUTHORIZED: "AT EX",
            _R.NOT_RECEIVED: "NF RG",
            _R.NOT_AS_DESCRIBED: "RM",
            _R.CREDIT_NOT_PROCESSED: "RN2",
            _R.CANCELED: "AP CR",
            _R.DUPLICATE: "DP PM",
            _R.WRONG_AMOUNT: "AW",
            _R.PROCESSING_ERROR: "CD IC IN LP",
        },
    }
)


def _rows() -> Iterator[tuple[tuple[Brand, str], DisputeReason]]:
    for brand, reasons in _CODES.items():
        for reason, codes in reasons.items():
            for code in codes.split():
                yield (brand, code), reason


DISPUTE_REASONS: Final[Mapping[tuple[Brand, str], DisputeReason]] = MappingProxyType(dict(_rows()))
"""Every scheme's codes that are known here, each with its reason."""


def reason_of(brand: Brand, code: str) -> DisputeReason:
    """The reason behind a scheme's own code; `general` where no table knows it."""
    return DISPUTE_REASONS.get((brand, code.strip().upper()), DisputeReason.GENERAL)
