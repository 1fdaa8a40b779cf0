"""A bank's statement of account in ISO 20022, camt.053 (BankToCustomerStatement), read as a report.

What is read of it, in the words of its schema (any version, for these names have stayed):

    Stmt/Id                             the report's name
    Stmt/FrToDt/FrDtTm, ToDtTm          the time that it is about
    Stmt/Ntry                           one movement of the account, net of charges
      Amt, CdtDbtInd, RvslInd, BookgDt
      NtryDtls/TxDtls                   one payment in it
        Refs/EndToEndId                 our operation
        Amt, CdtDbtInd                  its amount before charges
        Chrgs/Rcrd: Amt, Tp/Prtry/Id    what the bank keeps: INTERCHANGE, SCHEME; others its own

Law of this file: an entry is the sum of what it details, or the file is refused. Documents that
declare entities or a type are refused by the parser.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from payplatform._domain.money import Money
from payplatform.banks._settlement_fields import (
    a_moment,
    a_reference,
    amount_of,
    fee_of,
    malformed,
    named_operation,
    plausible,
)
from payplatform.ports import AcquirerFees, SettlementLine, SettlementReport

_NAMESPACE: Final = "{urn:iso:std:iso:20022:tech:xsd:camt.053."
_KINDS: Final = {"INTERCHANGE": "interchange", "SCHEME": "scheme"}
_HEAD: Final = "the head"
_SIGNS: Final = {"CRDT": 1, "DBIT": -1}


def read(raw: bytes) -> SettlementReport:
    """The report that a file holds; the number of a line is that of a transaction.

    Raises:
        InvalidRequest: `report_malformed`: it holds none, and the message names the line of the
            file, or the transaction.
    """
    statement = _the(_parsed(raw), "BkToCstmrStmt/Stmt", _HEAD)
    return plausible(
        SettlementReport(
            reference=a_reference(_text(statement, "Id", _HEAD), _HEAD),
            since=a_moment(_text(statement, "FrToDt/FrDtTm", _HEAD), _HEAD),
            until=a_moment(_text(statement, "FrToDt/ToDtTm", _HEAD), _HEAD),
            lines=tuple(_lines(statement)),
            digest=sha256(raw).digest(),
        )
    )


def _parsed(raw: bytes) -> Element:
    """The document, without its namespace."""
    line, rule = 1, "documents with a type or entities of their own are refused"
    try:
        document = fromstring(raw, forbid_dtd=True)
    except DefusedXmlException:
        pass
    except ParseError as error:
        line, rule = error.position[0], "it is no XML"
    except (ValueError, LookupError):
        rule = "it is in an encoding that nobody knows"
    else:
        if document.tag.startswith(_NAMESPACE):
            return _bare(document)
        rule = "it is no camt.053"
    raise malformed(f"line {line}", rule)


def _bare(document: Element) -> Element:
    for element in document.iter():
        element.tag = element.tag.partition("}")[2]
    return document


def _lines(statement: Element) -> Iterator[SettlementLine]:
    number = 0
    for entry in statement.iterfind("Ntry"):
        details = entry.findall("NtryDtls/TxDtls")
        if not details:
            raise malformed(_at(number + 1), "an entry must detail its transactions")
        lines = [_line(entry, one, number + at) for at, one in enumerate(details, start=1)]
        number += len(details)
        net = sum((line.amount - line.fees.total for line in lines), Money.zero(_currency(lines)))
        if net != _signed(entry, _at(number)):
            raise malformed(_at(number), "what an entry details does not add up to it")
        yield from lines


def _currency(lines: list[SettlementLine]) -> str:
    first, *others = {line.amount.currency for line in lines}
    if others:
        raise malformed(_at(lines[-1].number), "an entry must be in one currency")
    return first


def _line(entry: Element, details: Element, number: int) -> SettlementLine:
    place = _at(number)
    amount = _signed(details, place)
    return SettlementLine(
        number=number,
        operation_id=named_operation(details.findtext("Refs/EndToEndId") or ""),
        amount=amount,
        is_reversal=entry.findtext("RvslInd") in ("true", "1"),
        fees=_fees(details, amount.currency, place),
        booked_at=a_moment(_text(entry, "BookgDt/DtTm", place), place),
    )


def _at(number: int) -> str:
    return f"transaction {number}"


def _fees(details: Element, currency: str, place: str) -> AcquirerFees:
    fees = dict.fromkeys(("interchange", "scheme", "acquirer"), Money.zero(currency))
    for record in details.iterfind("Chrgs/Rcrd"):
        charged = _the(record, "Amt", place)
        if charged.get("Ccy") != currency:
            raise malformed(place, "a charge must be in the currency of what it is for")
        kind = _KINDS.get(record.findtext("Tp/Prtry/Id") or "", "acquirer")
        fees[kind] += fee_of(charged.text or "", currency, place)
    return AcquirerFees(**fees)


def _signed(element: Element, place: str) -> Money:
    amount = _the(element, "Amt", place)
    sign = _SIGNS.get(_text(element, "CdtDbtInd", place))
    if sign is None:
        raise malformed(place, "CdtDbtInd must be CRDT or DBIT")
    return amount_of(amount.text or "", amount.get("Ccy") or "", place) * sign


def _text(element: Element, path: str, place: str) -> str:
    return _the(element, path, place).text or ""


def _the(element: Element, path: str, place: str) -> Element:
    found = element.findall(path)
    if len(found) != 1:
        raise malformed(place, f"there must be one {path}")
    return found[0]
