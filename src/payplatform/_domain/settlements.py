"""What a bank says that it has settled: its report, line by line, and what is kept of one.

Law of this file: a report is a value that was read whole before anything is booked of it, and is
known by the bank's own name for it. What a line names is our operation or nothing: no other text of
a bank's file is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Final

from attrs import field, frozen

from payplatform._domain.moments import is_dated
from payplatform._domain.money import Money
from payplatform._domain.text import clean_text, derived_id, looks_like_card_number
from payplatform.errors import ErrorCode, InvalidRequest


@frozen(kw_only=True)
class AcquirerFees:
    """What the acquirer keeps of one line.

    Attributes:
        interchange: goes to the cardholder's bank.
        scheme: goes to the card scheme.
        acquirer: stays with the acquirer.
    """

    interchange: Money
    scheme: Money
    acquirer: Money

    @property
    def total(self) -> Money:
        """All three."""
        return self.interchange + self.scheme + self.acquirer


@frozen(kw_only=True)
class SettlementLine:
    """One movement of money that the bank has settled.

    Attributes:
        number: where it stands in the file, from 1: a line of text, or a transaction of XML.
        operation_id: our operation that it names; None where it names none that could be ours.
        dispute_id: the bank's own id of the dispute that it names, where it names one. It is looked
            for, and never kept.
        amount: before fees, signed: what comes in is positive, what goes back is negative.
        is_reversal: whether it takes back what an earlier line of the same operation had moved.
        fees: what the acquirer keeps of it.
        booked_at: when the bank has booked it.
    """

    number: int
    operation_id: str | None
    dispute_id: str | None = None
    amount: Money
    is_reversal: bool = False
    fees: AcquirerFees
    booked_at: datetime


@frozen(kw_only=True)
class SettlementReport:
    """A bank's report, read whole.

    Attributes:
        reference: the bank's name for it, which no two reports for a merchant share.
        merchant_id: whose it says that it is; None where its form has no place for that.
        since: the moment from which it tells of everything.
        until: the moment before which it does.
        digest: SHA-256 of the file.
    """

    reference: str
    merchant_id: str | None = None
    since: datetime
    until: datetime
    lines: tuple[SettlementLine, ...]
    digest: bytes = field(repr=False)


@frozen(kw_only=True)
class Settlement:
    """What is kept of a report: that it was taken, and what it said when it was.

    Its events tell which of its lines are in suspense; the lines that were matched are among the
    events of their payments.

    Attributes:
        id: `stl_...`, from the bank's name for the report.
        latest_event: the number of its latest event; one commit may add several.
        line_count: how many lines the report has.
    """

    id: str
    merchant_id: str
    version: int
    reference: str
    digest: bytes = field(repr=False)
    since: datetime
    until: datetime
    line_count: int
    latest_event: int
    created_at: datetime
    updated_at: datetime


class DifferenceKind(StrEnum):
    """What is wrong with a line, or with the lack of one."""

    MISSING_HERE = "missing_here"
    MISSING_AT_BANK = "missing_at_bank"
    AMOUNT_DIFFERS = "amount_differs"
    CURRENCY_DIFFERS = "currency_differs"
    DUPLICATE = "duplicate"
    LATE = "late"

    @property
    def words(self) -> str:
        """What it says."""
        return _WORDS[self]

    @property
    def is_suspense(self) -> bool:
        """Whether the money of such a line is booked, and nobody can say yet what for."""
        return self in _SUSPENSE


_WORDS: Final = {
    DifferenceKind.MISSING_HERE: "the bank has settled what has not succeeded here",
    DifferenceKind.MISSING_AT_BANK: "it has succeeded here, and the bank does not settle it",
    DifferenceKind.AMOUNT_DIFFERS: "the bank has settled another amount",
    DifferenceKind.CURRENCY_DIFFERS: "the bank has settled it in another currency",
    DifferenceKind.DUPLICATE: "the bank has settled it before",
    DifferenceKind.LATE: "the bank had booked it before the time that the report is about",
}
_SUSPENSE: Final = frozenset(
    {
        DifferenceKind.MISSING_HERE,
        DifferenceKind.CURRENCY_DIFFERS,
        DifferenceKind.DUPLICATE,
    }
)


@frozen(kw_only=True)
class Difference:
    """One thing that the bank and we do not agree on.

    Attributes:
        line: where in the report; None for what is not in it.
        ours: what we have, signed as the bank would; None where we have nothing.
        banks: what the bank has.
    """

    kind: DifferenceKind
    line: int | None = None
    operation_id: str | None = None
    payment_id: str | None = None
    ours: Money | None = None
    banks: Money | None = None

    def __str__(self) -> str:
        place = "not in the report" if self.line is None else f"line {self.line}"
        named = self.operation_id or "no operation of ours"
        return f"{place}, {named}: {self.kind.words} (ours {self.ours}, the bank's {self.banks})"


@frozen(kw_only=True)
class Reconciliation:
    """What came of laying a report beside our books.

    Attributes:
        settlement_id: the report as it is kept here; the `subject` of what is in suspense.
        line_count: how many lines the report has.
        matched: how many of them are booked to the payment that they belong to.
        booked: how many of those were booked by this very call; the others were before.
        differences: in the order of the lines; what is not in the report comes last.
    """

    settlement_id: str
    reference: str
    line_count: int
    matched: int
    booked: int
    differences: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        """Whether the bank and we agree on everything in the report."""
        return not self.differences


def settlement_id(reference: str) -> str:
    """The id of a report: in the form of every id, and the same for the same name at the bank."""
    return derived_id("stl", f"payplatform/settlement/v1/{reference}")


# -- what a report has to be -----------------------------------------------------------------------

MOST_MINOR: Final = 10**15
"""No amount of one line is larger, so that what a report adds up to never fails half way."""

_OPERATION: Final = re.compile(r"op_[0-7][0-9a-hjkmnp-tv-z]{25}")
_REFERENCE_LENGTH: Final = 100
_DISPUTE_LENGTH: Final = 255
_DIGEST_LENGTH: Final = 32


def malformed(place: str, rule: str) -> InvalidRequest:
    """The error for what is no report; `place` is such as `line 3`."""
    return InvalidRequest(
        f"{place} of the report: {rule}. Nothing was booked",
        code=ErrorCode.REPORT_MALFORMED,
        field="report",
    )


def named_operation(text: str) -> str | None:
    """The operation of ours that a text names, if it can be one."""
    return text if _OPERATION.fullmatch(text) else None


def named_dispute(text: str) -> str | None:
    """The bank's id of a dispute that a text names, if it can be one that we have been told."""
    is_told = 0 < len(text) <= _DISPUTE_LENGTH and text.isprintable()
    return text if is_told and not looks_like_card_number(text) else None


def require_sound(report: SettlementReport) -> None:
    """Pass where a report, whoever has made it, can be booked whole.

    Raises:
        InvalidRequest: `report_malformed`: a part of it is not what it has to be, and the message
            names the line; `value_invalid`: two of its lines have one number.
    """
    for place, rule in _flaws(report):
        raise malformed(place, rule)
    if len({line.number for line in report.lines}) < len(report.lines):
        raise InvalidRequest(
            "report has two lines of one number", code=ErrorCode.VALUE_INVALID, field="report"
        )


def _flaws(report: SettlementReport) -> Iterator[tuple[str, str]]:
    """Where a report breaks a rule, and which; a line is looked at only after what comes before."""
    clean_text(report.reference, field="report.reference", max_length=_REFERENCE_LENGTH)
    if not (isinstance(report.digest, bytes) and len(report.digest) == _DIGEST_LENGTH):
        yield "the head", f"its digest must be {_DIGEST_LENGTH} bytes"
    if not (is_dated(report.since) and is_dated(report.until) and report.since < report.until):
        yield "the head", "since and until must be times with a time zone, in this order"
    if not isinstance(report.lines, tuple):
        yield "the head", "its lines must be a tuple"
    for at, line in enumerate(report.lines, start=1):
        broken = next((rule for rule, is_kept in _RULES if not is_kept(line)), None)
        if broken is not None:
            yield f"line {getattr(line, 'number', at)}", broken


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_amount(value: object) -> bool:
    return isinstance(value, Money) and abs(value.amount_minor) <= MOST_MINOR


def _has_fees(line: SettlementLine) -> bool:
    fees = line.fees
    if not isinstance(fees, AcquirerFees):
        return False
    kept = (fees.interchange, fees.scheme, fees.acquirer)
    return all(_is_amount(fee) and fee.currency == line.amount.currency for fee in kept)


def _names_one(line: SettlementLine) -> bool:
    named = ((line.operation_id, named_operation), (line.dispute_id, named_dispute))
    return all(
        text is None or (isinstance(text, str) and may_be(text) is not None)
        for text, may_be in named
    )


_RULES: Final[tuple[tuple[str, Callable[[SettlementLine], bool]], ...]] = (
    (
        "it must be a SettlementLine with a number from 1",
        lambda line: isinstance(line, SettlementLine) and _is_number(line.number),
    ),
    (
        f"its amount must be Money, not zero and at most {MOST_MINOR} minor units",
        lambda line: _is_amount(line.amount) and bool(line.amount),
    ),
    (f"its fees must be Money in its currency, at most {MOST_MINOR} minor units each", _has_fees),
    ("booked_at must be a time with a time zone", lambda line: is_dated(line.booked_at)),
    ("is_reversal must be a bool", lambda line: isinstance(line.is_reversal, bool)),
    ("it must name an operation of ours, the bank's id of a dispute, or neither", _names_one),
)
"""What a line has to be, each rule resting on those before it."""
