"""What a bank says that it has settled: its report, line by line, and what is kept of one.

Law of this file: a report is a value that was read whole before anything is booked of it, and is
known by the bank's own name for it. What a line names is our operation or nothing: no other text of
a bank's file is kept.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Final

from attrs import field, frozen

from payplatform._domain.money import Money

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH: Final = 26


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
    digest = hashlib.sha256(f"payplatform/settlement/v1/{reference}".encode()).digest()
    number = int.from_bytes(digest[:16], "big")
    digits = (_ALPHABET[number >> 5 * at & 31] for at in reversed(range(_LENGTH)))
    return "stl_" + "".join(digits)
