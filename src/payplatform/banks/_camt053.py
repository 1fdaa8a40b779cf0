"""A bank's statement of account in ISO 20022, camt.053 (BankToCustomerStatement), read as a report.

What is read of it, in the words of its schema (any version, for these names have stayed):

    Stmt/Id                             the report's name
    Stmt/FrToDt/FrDtTm, ToDtTm          the time that it is about; else the days of its entries
    Stmt/TxsSummry/TtlNtries/NbOfNtries how many entries there have to be
    Stmt/Ntry                           one movement of the account, after charges
      Sts                               what is not BOOK has not happened yet, and is left out
      Amt, CdtDbtInd, RvslInd, BookgDt
      NtryDtls/TxDtls                   one payment in it; an entry without is one itself
        Refs/EndToEndId, InstrId, TxId  our operation, if one of them is; else the first may be the
                                        bank's id of a dispute
        Amt, CdtDbtInd                  its amount, before charges or after: the sum tells
        Chrgs/Rcrd: Amt, Tp/Prtry/Id    what the bank keeps: INTERCHANGE, SCHEME; others its own

Law of this file: an entry is the sum of what it details, or the file is refused. Documents that
declare entities or a type are refused by the parser. One entry is in memory at a time, and of what
is not named above nothing is, however much of it there is, and however deep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from attrs import frozen
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from payplatform._domain.money import Money
from payplatform._domain.settlements import malformed, named_dispute, named_operation
from payplatform.banks._settlement_fields import a_moment, a_reference, fee_of, plausible
from payplatform.errors import ErrorCode, InvalidRequest
from payplatform.ports import AcquirerFees, SettlementLine, SettlementReport

_NAMESPACE: Final = "{urn:iso:std:iso:20022:tech:xsd:camt.053."
_HEAD: Final = "the head"
_KINDS: Final = {"INTERCHANGE": "interchange", "SCHEME": "scheme"}
_SIGNS: Final = {"CRDT": 1, "DBIT": -1}
_STATEMENT: Final = ("Document", "BkToCstmrStmt", "Stmt")
_ENTRY: Final = (*_STATEMENT, "Ntry")
_KNOWN: Final = frozenset(
    {
        *_ENTRY,
        *("Id", "FrToDt", "FrDtTm", "ToDtTm", "TxsSummry", "TtlNtries", "NbOfNtries"),
        *("Sts", "Cd", "Amt", "CdtDbtInd", "RvslInd", "BookgDt", "Dt", "DtTm"),
        *("NtryDtls", "TxDtls", "Refs", "EndToEndId", "InstrId", "TxId", "AmtDtls", "TxAmt"),
        *("Chrgs", "Rcrd", "Tp", "Prtry", "ChrgInclInd"),
    }
)
_MOST_PARTS: Final = 4_000_000
"""How many elements an entry may have: those of more than 100,000 transactions."""
_CHUNK: Final = 1 << 16
_BOOKED: Final = "BOOK"
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}
_REFS: Final = ("Refs/EndToEndId", "Refs/InstrId", "Refs/TxId")
_DAY: Final = timedelta(days=1)
_LAST_SECOND: Final = 59


def read(raw: bytes) -> SettlementReport:
    """The report that a file holds; the number of a line is that of a transaction.

    Raises:
        InvalidRequest: `report_malformed`: it holds none, and the message names the line of the
            file, or the entry.
    """
    lines: list[SettlementLine] = []
    statement, entries = None, 0
    for element, line in _elements(raw):
        if statement is not None:
            raise malformed(_HEAD, "there must be one BkToCstmrStmt/Stmt")
        if element.tag == "Stmt":
            statement = _Part(element)
            continue
        entries += 1
        lines += _lines(_Part(element, f"entry {entries}, line {line}"), after=len(lines))
        element.clear()
    if statement is None:
        raise malformed(_HEAD, "there must be one BkToCstmrStmt/Stmt")
    if statement.text("TxsSummry/TtlNtries/NbOfNtries") not in (None, str(entries)):
        raise malformed(_HEAD, f"it says another number of entries than {entries}")
    since, until = _time(statement, lines)
    return plausible(
        SettlementReport(
            reference=a_reference(statement.text("Id") or "", _HEAD),
            since=since,
            until=until,
            lines=tuple(lines),
            digest=sha256(raw).digest(),
        )
    )


@frozen
class _Part:
    """An element of the document, and what an error calls the place."""

    element: Element
    place: str = _HEAD

    def text(self, *paths: str) -> str | None:
        """What stands at the first of these paths that is there."""
        found = (self.element.findtext(path) for path in paths)
        return next((text.strip() for text in found if text is not None), None)

    def all(self, path: str) -> list[_Part]:
        """Every element at a path."""
        return [_Part(element, self.place) for element in self.element.findall(path)]

    def amount(self, path: str) -> Money:
        """The amount at a path; it is never negative, for which way it went is said beside it."""
        found = self.element.find(path)
        if found is None:
            raise malformed(self.place, f"there must be {path}")
        return fee_of((found.text or "").strip(), found.get("Ccy") or "", self.place)

    def flag(self, path: str, *, otherwise: bool) -> bool:
        """Whether it says so at a path."""
        text = self.text(path)
        if text is None:
            return otherwise
        if text not in _FLAGS:
            raise malformed(self.place, f"{path} must be true or false")
        return _FLAGS[text]

    def sign(self, otherwise: str | None = None) -> int:
        """Which way its money went."""
        sign = _SIGNS.get(self.text("CdtDbtInd") or otherwise or "")
        if sign is None:
            raise malformed(self.place, "CdtDbtInd must be CRDT or DBIT")
        return sign


class _Builder:
    """Builds what is read of a document, without its namespace, and hands over what has ended."""

    def __init__(self, line: Callable[[], int]) -> None:
        self._tree = TreeBuilder()
        self._line = line
        self._namespace = ""
        self._path: list[str] = []
        self._skipped = self._parts = self._began = 0
        self._ended: list[tuple[Element, int]] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins; the first one says what the document is."""
        if not self._namespace:
            if not tag.startswith(_NAMESPACE):
                raise malformed("line 1", "it is no camt.053")
            self._namespace = tag.partition("}")[0] + "}"
        name = tag.removeprefix(self._namespace)
        if self._skipped or name not in _KNOWN:
            self._skipped += 1
            return
        self._path.append(name)
        self._parts += 1
        if self._is_at(_ENTRY):
            self._began = self._line()
        if self._parts > _MOST_PARTS:
            raise malformed(f"line {self._line()}", "there is more in one entry than any has")
        self._tree.start(name, {"Ccy": attributes["Ccy"]} if "Ccy" in attributes else {})

    def data(self, text: str) -> None:
        """What stands in an element."""
        if not self._skipped:
            self._tree.data(text)

    def end(self, _tag: str) -> None:
        """An element ends."""
        if self._skipped:
            self._skipped -= 1
            return
        element = self._tree.end(self._path[-1])
        if self._is_at(_ENTRY) or self._is_at(_STATEMENT):
            self._ended.append((element, self._began))
            self._parts = 0
        self._path.pop()

    def ended(self) -> list[tuple[Element, int]]:
        """What has ended since it was asked for last, each with the line where its entry began."""
        ended, self._ended = self._ended, []
        return ended

    def _is_at(self, place: tuple[str, ...]) -> bool:
        return len(self._path) == len(place) and tuple(self._path) == place


def _elements(raw: bytes) -> Iterator[tuple[Element, int]]:
    """Each entry when it has ended, and the statement after its entries."""
    line, rule = 1, "documents with a type or entities of their own are refused"
    builder = _Builder(lambda: expat.CurrentLineNumber)
    parser = DefusedXMLParser(target=builder, forbid_dtd=True)
    expat = parser.parser
    try:
        for start in range(0, len(raw), _CHUNK):
            parser.feed(raw[start : start + _CHUNK])
            yield from builder.ended()
        parser.close()
    except DefusedXmlException:
        pass
    except ParseError as error:
        line, rule = error.position[0], "it is no XML"
    except (ValueError, LookupError):
        rule = "it is in an encoding that nobody knows"
    else:
        return
    raise malformed(f"line {line}", rule)


def _lines(entry: _Part, *, after: int) -> list[SettlementLine]:
    """The lines of an entry; where its amounts do not go together, that is said with its place."""
    status = entry.text("Sts/Cd", "Sts")
    if not status:
        raise malformed(entry.place, "there must be one Sts")
    if status != _BOOKED:
        return []
    try:
        return list(_booked_lines(entry, after))
    except InvalidRequest as error:
        if error.code is ErrorCode.REPORT_MALFORMED:
            raise
        rule = error.message
    raise malformed(entry.place, rule)


def _booked_lines(entry: _Part, after: int) -> Iterator[SettlementLine]:
    at = a_moment(entry.text("BookgDt/DtTm", "BookgDt/Dt") or "", entry.place, otherwise=UTC)
    details = entry.all("NtryDtls/TxDtls") or [entry]
    currency = entry.amount("Amt").currency
    fees = [_fees(one, currency) for one in details]
    amounts = _before_charges(entry, details, fees)
    for number, (one, amount, kept) in enumerate(zip(details, amounts, fees, strict=True), 1):
        operation_id = _operation(one)
        yield SettlementLine(
            number=after + number,
            operation_id=operation_id,
            dispute_id=None if operation_id else named_dispute(one.text(_REFS[0]) or ""),
            amount=amount,
            is_reversal=entry.flag("RvslInd", otherwise=False),
            fees=kept,
            booked_at=at,
        )


def _before_charges(
    entry: _Part, details: Sequence[_Part], fees: Sequence[AcquirerFees]
) -> list[Money]:
    """What each transaction has moved before charges.

    Some banks tell it so, others after charges: what the entry comes to tells which.
    """
    net = _moved(entry, entry)
    is_one = len(details) == 1 and details[0].text("Amt") is None
    told = [net] if is_one else [_moved(one, entry) for one in details]
    nothing = Money.zero(net.currency)
    kept = sum((fee.total for fee in fees), nothing)
    if sum(told, nothing) - kept == net:
        return told
    if sum(told, nothing) == net:
        return [amount + fee.total for amount, fee in zip(told, fees, strict=True)]
    raise malformed(entry.place, "what an entry details does not add up to it")


def _moved(part: _Part, entry: _Part) -> Money:
    amount = part.amount("Amt" if part.text("Amt") is not None else "AmtDtls/TxAmt/Amt")
    if not amount:
        raise malformed(entry.place, "the amount must be more than zero")
    return amount * part.sign(entry.text("CdtDbtInd"))


def _fees(part: _Part, currency: str) -> AcquirerFees:
    """What was kept of a transaction; version 02 has charges without records."""
    fees = dict.fromkeys(("interchange", "scheme", "acquirer"), Money.zero(currency))
    charges = part.all("Chrgs/Rcrd") or [
        one for one in part.all("Chrgs") if one.text("Amt") is not None
    ]
    for charge in charges:
        if not charge.flag("ChrgInclInd", otherwise=True):
            continue  # It is an entry of its own.
        kind = _KINDS.get(charge.text("Tp/Prtry/Id") or "", "acquirer")
        fees[kind] -= charge.amount("Amt") * charge.sign("DBIT")
    return AcquirerFees(**fees)


def _operation(part: _Part) -> str | None:
    named = (named_operation(part.text(path) or "") for path in _REFS)
    return next((operation_id for operation_id in named if operation_id is not None), None)


def _time(statement: _Part, lines: Sequence[SettlementLine]) -> tuple[datetime, datetime]:
    """The time that a statement is about; where it does not say, the days of its entries."""
    if statement.text("FrToDt/FrDtTm") is None and lines:
        days = [line.booked_at.replace(hour=0, minute=0, second=0, microsecond=0) for line in lines]
        return min(days), max(days) + _DAY
    told = (statement.text(f"FrToDt/{name}") for name in ("FrDtTm", "ToDtTm"))
    since, until = (a_moment(text or "", _HEAD, otherwise=UTC) for text in told)
    # Many a bank writes 23:59:59 for the end of a day: that second counts.
    is_last = until.second == _LAST_SECOND
    return since, until.replace(microsecond=0) + timedelta(seconds=1) if is_last else until
