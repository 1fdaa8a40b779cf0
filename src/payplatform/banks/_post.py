"""What the simulated bank says: as an answer, as a notice, and as a signed message.

Law of this file: a row of its books goes in, and what the port speaks of comes out.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from payplatform._domain.messages import BankNotice, BankReply
from payplatform._domain.money import Money
from payplatform._domain.payments import Action
from payplatform.banks._disputes import news_of
from payplatform.banks._rows import Answer, Notice
from payplatform.banks._signatures import sign
from payplatform.banks._wire import written

NOTICE: Final = "notice_"


class Delivery(NamedTuple):
    """A notice as a message: `pay.notices.receive(*delivery)`.

    Attributes:
        raw: its body.
        headers: what it is signed with.
    """

    raw: bytes
    headers: dict[str, str]


def delivered(notice: Notice, *, key: bytes, at: datetime) -> Delivery:
    """A notice as it is delivered at that time."""
    raw, name = written(noticed(notice)), f"{NOTICE}{notice.number}"
    return Delivery(raw, sign(raw, name=name, at=at, key=key))


def noticed(notice: Notice) -> BankNotice:
    """A notice as the port speaks of it."""
    expired = notice.expired_minor
    return BankNotice(
        id=f"{NOTICE}{notice.number}",
        merchant_id=notice.merchant_id,
        reply=reply_of(notice),
        at=notice.told_at,
        expired=None if expired is None else Money.minor(expired, notice.currency),
        dispute=news_of(notice),
    )


def reply_of(answer: Answer) -> BankReply:
    """An answer as the port speaks of it."""
    action = None
    if answer.action_url is not None:
        action = Action(type="three_d_secure", url=answer.action_url, expires_at=answer.expires_at)
    return BankReply(
        operation_id=answer.operation_id,
        outcome=answer.outcome,
        amount=Money.minor(answer.approved_minor, answer.currency),
        reference=answer.reference,
        decline=answer.decline,
        action=action,
        expires_at=None if action else answer.expires_at,
        network_transaction_id=answer.network_transaction_id,
        card_country=answer.country,
        security_code=answer.security_code,
        postal_code=answer.postal_code,
    )
