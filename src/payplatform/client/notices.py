"""`pay.notices`: what the bank tells of its own accord; `shop.notices`: what it has told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from payplatform._domain.moments import END, FIRST, is_dated
from payplatform._domain.money import Money
from payplatform._domain.notices import Notice, NoticeState
from payplatform._domain.operations import Operation
from payplatform._domain.replies import is_well_formed
from payplatform._domain.text import clean_id, clean_text, cleaned, some_of
from payplatform.client._room import Room, a_time, optional_id
from payplatform.errors import ErrorCode, InvalidRequest
from payplatform.ports import BankNotice, BankReply, DisputeNews, DisputeState, Filter

if TYPE_CHECKING:
    from payplatform._engine.engine import Engine

_ID_LENGTH = 255
_MOST_BYTES = 64 * 1024
_CODE_LENGTH = 40


class Notices:
    """Takes what the bank tells later: what was left pending, arrived late, or is taken back."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    def receive(self, raw: bytes, headers: Mapping[str, str]) -> Notice:
        """Take a message that the bank has sent: verify it, keep it, and book what is news in it.

        Answer the bank that it was taken once this has returned, whatever the state: a notice that
        is kept is not lost. One about an operation that is not here, or that has to wait for what
        is under way, is `waiting`, and `recover()` looks at it again. The same one again changes
        nothing. Another content under the id of an earlier one is kept as a `discrepancy` and
        never heeded: `shop.notices.list(state="discrepancy")` has them for a person to look at.

        Args:
            raw: the body, byte for byte as it came; at most 64 KiB.
            headers: the message's headers, names in any case.

        Returns:
            The notice as it is kept.

        Raises:
            NotAuthentic: it is not proved to be the bank's: `signature_missing`,
                `signature_invalid`, `signature_stale`. Refuse it; nothing was made of it.
            InvalidRequest: it is the bank's, and tells nothing that can be kept.
            NotAllowed: `not_supported_by_bank`: this bank signs no notices.
            Conflict: others kept changing the same notice: let the bank deliver it again.
            StorageUnavailable: the store failed: likewise.
        """
        inbox = self._engine().inbox
        notice = _a_notice(inbox.read(_a_body(raw), _some_headers(headers)))
        if not is_well_formed(notice.reply):
            raise _wrong("notice.reply", "must be made as its types promise")
        return inbox.take(notice)

    def apply(self, notice: BankNotice) -> Operation:
        """Book what a notice tells, if it is news, and keep nothing of it. Again, it does nothing.

        For an adapter that reads its notices by itself; else `receive` is the better door. An
        operation that is open is settled. A success that the bank takes back becomes `reversed`
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
        return self._engine().notices.apply(_a_notice(notice)).operation


class MerchantNotices(Room):
    """What the bank has told of a merchant's operations, as it was kept."""

    def get(self, notice_id: str) -> Notice:
        """Read a notice.

        Args:
            notice_id: `ntc_...`.

        Returns:
            The notice as it is now.

        Raises:
            InvalidRequest: that is no notice's id.
            NotFound: this merchant has no such notice.
            StorageUnavailable: the store failed.
        """
        name = clean_id(notice_id, prefix="ntc", field="notice_id")
        return self._engine.inbox.get(self._merchant_id, name)

    def list(
        self, *, state: str | Iterable[str] | None = None, operation_id: str | None = None
    ) -> Iterator[Notice]:
        """Notices, read page by page as you go, in no order of time.

        Args:
            state: only those in this state, or in one of these: "waiting", "applied", "refused",
                "discrepancy".
            operation_id: those about this operation, `op_...`.

        Returns:
            A lazy iterator.

        Raises:
            InvalidRequest: there is no such state, or that is no operation's id.
            StorageUnavailable: the store failed, while iterating.
        """
        where = Filter(
            states=some_of(NoticeState, state, field="state"),
            operation_id=optional_id(operation_id, prefix="op", field="operation_id"),
        )
        return self._engine.inbox.list(self._merchant_id, where)


def _a_body(raw: object) -> bytes:
    if not isinstance(raw, bytes):
        raise _wrong("raw", "must be bytes, as they came")
    if len(raw) > _MOST_BYTES:
        raise InvalidRequest(
            f"raw may have at most {_MOST_BYTES} bytes",
            code=ErrorCode.NOTICE_TOO_LARGE,
            field="raw",
        )
    return raw


def _some_headers(headers: object) -> Mapping[str, str]:
    if not isinstance(headers, Mapping):
        raise _wrong("headers", "must be a mapping of names to values")
    if not all(isinstance(text, str) for pair in headers.items() for text in pair):
        raise _wrong("headers", "must have text for names and for values")
    return headers


def _a_notice(notice: object) -> BankNotice:
    if not isinstance(notice, BankNotice):
        raise _wrong("notice", "must be a BankNotice as in payplatform.ports")
    if not isinstance(notice.reply, BankReply):
        raise _wrong("notice.reply", "must be a BankReply as in payplatform.ports")
    if _a_date(notice.at, field="notice.at") is None:
        raise _wrong("notice.at", "must be a datetime with a time zone")
    name = cleaned(notice.id, field="notice.id", max_length=_ID_LENGTH)
    # Random digits pass for a card number now and then, and a bank's ids are not ours to choose.
    if isinstance(name, InvalidRequest) and name.code is not ErrorCode.LOOKS_LIKE_CARD_NUMBER:
        raise name
    clean_id(notice.merchant_id, prefix="mer", field="notice.merchant_id")
    clean_id(notice.reply.operation_id, prefix="op", field="notice.reply.operation_id")
    _require_total(notice.expired)
    if notice.dispute is not None:
        _require_news(notice.dispute)
    return notice


def _a_date(value: object, *, field: str) -> datetime | None:
    """`value` if it is a time that can be reckoned with, or None.

    Raises:
        InvalidRequest: it is not: `type_invalid`, `value_invalid`.
    """
    at = a_time(value, field=field)
    if at is None or is_dated(at):
        return at
    raise InvalidRequest(
        f"{field} must be between {FIRST.year} and {END.year}",
        code=ErrorCode.VALUE_INVALID,
        field=field,
    )


def _require_total(expired: object) -> None:
    """Pass where what a notice tells of an expiry can be a sum of money.

    Raises:
        InvalidRequest: it cannot.
    """
    if not isinstance(expired, Money | None):
        raise _wrong("notice.expired", "must be Money")
    if expired is not None and expired.amount_minor < 0:
        raise InvalidRequest(
            "notice.expired must not be negative",
            code=ErrorCode.AMOUNT_NOT_POSITIVE,
            field="notice.expired",
        )


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
    _a_date(news.evidence_due_at, field="notice.dispute.evidence_due_at")
    for name, most in (("dispute_id", _ID_LENGTH), ("reason_code", _CODE_LENGTH)):
        clean_text(getattr(news, name), field=f"notice.dispute.{name}", max_length=most)


def _wrong(field: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {rule}", code=ErrorCode.TYPE_INVALID, field=field)
