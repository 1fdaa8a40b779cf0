"""`pay.notices`: what the bank tells of its own accord, taken to the payments that it is about."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from payplatform._domain.money import Money
from payplatform._domain.operations import Operation
from payplatform._domain.text import clean_id, clean_text, cleaned
from payplatform.errors import ErrorCode, InvalidRequest
from payplatform.ports import BankNotice, BankReply, DisputeNews, DisputeState

if TYPE_CHECKING:
    from payplatform._engine.engine import Engine

_ID_LENGTH = 255
_CODE_LENGTH = 40


class Notices:
    """Takes what the bank tells later: what was left pending, arrived late, or is taken back."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    def apply(self, notice: BankNotice) -> Operation:
        """Book what a notice tells, if it is news. A second time it changes nothing.

        An operation that is open is settled. A success that the bank takes back becomes `reversed`
        and is undone in amounts and books. What it approves after it was declined or aborted goes
        to `needs_review`. Where what came after rests on what the bank takes back, its event
        `<kind>.contradicted` says so, and nothing else changes. One with a `dispute` tells where
        that stands: see `shop.disputes`. Notices may come late, more than
        once, and in any order; who answers the bank that one was taken has to have applied it.

        Args:
            notice: what the bank's adapter has read, once it is sure that it is the bank's.

        Returns:
            The operation that it is about, as it is now: for a resume that is over, the one
            that it resumed.

        Raises:
            InvalidRequest: that is no notice, or a part of it is not what it has to be.
            NotFound: the merchant has no such operation, or not yet: let the bank deliver it again.
            Conflict: what is under way on the payment has to end first: likewise.
            StorageUnavailable: the store failed: likewise.
        """
        return self._engine().notices.apply(_a_notice(notice))


def _a_notice(notice: object) -> BankNotice:
    if not isinstance(notice, BankNotice):
        raise _wrong("notice", "must be a BankNotice as in payplatform.ports")
    if not isinstance(notice.reply, BankReply):
        raise _wrong("notice.reply", "must be a BankReply as in payplatform.ports")
    if not isinstance(notice.at, datetime) or notice.at.utcoffset() is None:
        raise _wrong("notice.at", "must be a time with a time zone")
    name = cleaned(notice.id, field="notice.id", max_length=_ID_LENGTH)
    # Random digits pass for a card number now and then, and a bank's ids are not ours to choose.
    if isinstance(name, InvalidRequest) and name.code is not ErrorCode.LOOKS_LIKE_CARD_NUMBER:
        raise name
    clean_id(notice.merchant_id, prefix="mer", field="notice.merchant_id")
    clean_id(notice.reply.operation_id, prefix="op", field="notice.reply.operation_id")
    if notice.dispute is not None:
        _require_news(notice.dispute)
    return notice


def _require_news(news: object) -> None:
    """Pass where what a notice tells of a dispute is what its types promise, and fit to be stored.

    Raises:
        InvalidRequest: it is not, or looks like a card number.
    """
    if not isinstance(news, DisputeNews):
        raise _wrong("notice.dispute", "must be DisputeNews as in payplatform.ports")
    if not isinstance(news.state, DisputeState):
        raise _wrong("notice.dispute.state", "must be a DisputeState as in payplatform.ports")
    if not isinstance(news.amount, Money):
        raise _wrong("notice.dispute.amount", "must be Money")
    if news.amount.amount_minor <= 0:
        raise InvalidRequest(
            "notice.dispute.amount must be more than nothing",
            code=ErrorCode.AMOUNT_NOT_POSITIVE,
            field="notice.dispute.amount",
        )
    due_at = news.evidence_due_at
    if due_at is not None and (not isinstance(due_at, datetime) or due_at.utcoffset() is None):
        raise _wrong("notice.dispute.evidence_due_at", "must be a time with a time zone")
    for name, most in (("dispute_id", _ID_LENGTH), ("reason_code", _CODE_LENGTH)):
        clean_text(getattr(news, name), field=f"notice.dispute.{name}", max_length=most)


def _wrong(field: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {rule}", code=ErrorCode.TYPE_INVALID, field=field)
