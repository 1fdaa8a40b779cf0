"""The bank's door: where a card is read, and forgotten.

Law of this file: a request goes in, an order comes out, and the order holds of the card its brand,
its last four digits and what the issuer thinks of it. Of a security code or a postal code only the
result of its check is left.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final

from attrs import evolve

from payplatform._domain.cards import expiry_moment
from payplatform._domain.declines import DeclineCode
from payplatform._domain.messages import BankRequest, CardDetails, RequestKind
from payplatform._domain.operations import Initiator, StoredCredential
from payplatform._domain.records import Check
from payplatform.banks._acquirer import issuer_code
from payplatform.banks._books import Order
from payplatform.banks._test_cards import UNLISTED, Challenge, TestCard, card_behind

_WITH_CARD: Final = frozenset({RequestKind.SALE, RequestKind.AUTHORIZE, RequestKind.VERIFY})


def card_of(request: BankRequest) -> TestCard:
    """The row of the table that a request's card stands for."""
    return UNLISTED if request.card is None else card_behind(request.card.number.reveal())


def order_of(request: BankRequest, card: TestCard, now: datetime) -> Order:
    """What is left of a request once its card was read."""
    order = Order(
        kind=request.kind,
        merchant_id=request.merchant_id,
        operation_id=request.operation_id,
        amount_minor=request.amount.amount_minor,
        currency=request.amount.currency,
        target_id=request.target_id,
        final=request.final,
        dispute_id=request.dispute_id,
        evidence=json.dumps(request.evidence) if request.evidence else None,
    )
    if request.kind not in _WITH_CARD:
        return order
    if request.card is None:
        code = DeclineCode.PROCESSING_ERROR
        return evolve(order, decline_code=code, bank_code="card_missing")
    return _with_card(order, request.card, card, request.stored_credential, now)


def _with_card(
    order: Order,
    details: CardDetails,
    card: TestCard,
    credential: StoredCredential | None,
    now: datetime,
) -> Order:
    decline, bank_code = _card_decline(details, card, credential, now)
    return evolve(
        order,
        brand=str(details.brand),
        last4=details.number.reveal()[-4:],
        decline_code=decline,
        bank_code=bank_code,
        advice_code=card.advice_code if decline is card.decline else None,
        challenged=_is_challenged(card, credential),
        after_challenge=card.after_challenge,
        security_code=Check.NOT_CHECKED if details.security_code is None else card.security_code,
        postal_code=Check.NOT_CHECKED if details.postal_code is None else card.postal_code,
        refunds=card.refunds,
        taken_back=card.takes_captures_back,
    )


def _card_decline(
    details: CardDetails, card: TestCard, credential: StoredCredential | None, now: datetime
) -> tuple[DeclineCode | None, str | None]:
    """Why this card is declined at this time, and what the issuer calls it; None for none."""
    merchant_initiates = credential is not None and credential.initiator is Initiator.MERCHANT
    if merchant_initiates and not _names_first_payment(credential):
        return DeclineCode.TRANSACTION_NOT_ALLOWED, "network_transaction_id_missing"
    decline = card.decline
    if decline is None and merchant_initiates and card.challenge is Challenge.ALWAYS:
        decline = DeclineCode.AUTHENTICATION_REQUIRED
    if decline is None and now >= expiry_moment(details.expiry_year, details.expiry_month):
        decline = DeclineCode.EXPIRED_CARD
    return decline, None if decline is None else issuer_code(decline)


def _is_challenged(card: TestCard, credential: StoredCredential | None) -> bool:
    if card.challenge is Challenge.UNTIL_ON_FILE:
        return not _names_first_payment(credential)
    return card.challenge is Challenge.ALWAYS


def _names_first_payment(credential: StoredCredential | None) -> bool:
    return credential is not None and bool(credential.network_transaction_id)
