"""A settlement report as CSV, in the form of the simulated bank: written and read here.

The first row names the report, the last one says how many lines stood between, so that a file which
was cut off is known by its end. Amounts are in major units, before fees, and more than nothing:
which way the money goes is said by what moved it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from payplatform._domain.money import plain
from payplatform._domain.settlements import malformed, named_dispute, named_operation
from payplatform.banks._settlement_fields import (
    a_moment,
    a_reference,
    amount_of,
    fee_of,
    plausible,
)
from payplatform.errors import InvalidRequest
from payplatform.ports import AcquirerFees, SettlementLine, SettlementReport

FORM: Final = "payplatform-settlement-1"
COLUMNS: Final = (
    *("movement", "operation_id", "currency", "amount"),
    *("interchange", "scheme_fee", "acquirer_fee", "booked_at"),
)

_MOVEMENTS: Final[Mapping[str, tuple[int, bool]]] = MappingProxyType(
    {
        "capture": (1, False),
        "refund": (-1, False),
        "capture_reversed": (-1, True),
        "refund_reversed": (1, True),
        "dispute": (-1, False),
        "dispute_reversed": (1, True),
    }
)
"""What moved the money: which way it goes, and whether it takes something back."""
_DISPUTES: Final = ("dispute", "dispute_reversed")
"""The movements that name a dispute, by the bank's own id of it, where others name an operation."""


def written(report: SettlementReport) -> bytes:
    """A report as the simulated bank sends it."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(
        [FORM, report.reference, report.merchant_id, _told(report.since), _told(report.until)]
    )
    rows.writerow(COLUMNS)
    rows.writerows(_row(line) for line in report.lines)
    rows.writerow(["end", len(report.lines)])
    return out.getvalue().encode()


def read(raw: bytes) -> SettlementReport:
    """The report that a file holds.

    Raises:
        InvalidRequest: `report_malformed`: it holds none, and the message names the line.
    """
    rows = _rows(raw)
    number, head = next(rows, (1, []))
    if len(head) != 5 or head[0] != FORM:
        raise _wrong(number, f"a report of the form {FORM} begins with its name and time")
    reference, merchant_id = a_reference(head[1], "line 1"), head[2]
    since, until = a_moment(head[3], "line 1"), a_moment(head[4], "line 1")
    number, names = next(rows, (number + 1, []))
    if tuple(names) != COLUMNS:
        raise _wrong(number, "the columns are not " + ",".join(COLUMNS))
    return plausible(
        SettlementReport(
            reference=reference,
            merchant_id=merchant_id,
            since=since,
            until=until,
            lines=tuple(_lines(rows, number)),
            digest=sha256(raw).digest(),
        )
    )


def _rows(raw: bytes) -> Iterator[tuple[int, list[str]]]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line, text = raw.count(b"\n", 0, error.start) + 1, ""
    else:
        line = 0
    if line:
        raise _wrong(line, "it is not UTF-8")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error:
            row = []
        if row is None:
            return
        if not row:
            raise _wrong(number, "it is no row of values")
        yield number, row


def _lines(rows: Iterable[tuple[int, list[str]]], number: int) -> Iterator[SettlementLine]:
    """The lines up to the row that counts them, after which nothing may come."""
    count, is_over = 0, False
    for number, row in rows:  # noqa: PLR1704  # the last one is where a file was cut off
        if is_over:
            raise _wrong(number, "there is more after the end")
        if row[0] == "end":
            is_over = row == ["end", str(count)]
            if not is_over:
                raise _wrong(number, f"the file says another number of lines than {count}")
            continue
        yield _line(row, number)
        count += 1
    if not is_over:
        raise _wrong(number + 1, "the file is cut off: its last row is missing")


def _line(row: Sequence[str], number: int) -> SettlementLine:
    if len(row) != len(COLUMNS) or row[0] not in _MOVEMENTS:
        raise _wrong(number, f"it is none of {', '.join(_MOVEMENTS)} with {len(COLUMNS)} values")
    _, named, currency, amount, interchange, scheme, acquirer, booked_at = row
    sign, is_reversal = _MOVEMENTS[row[0]]
    place = f"line {number}"
    return SettlementLine(
        number=number,
        operation_id=None if row[0] in _DISPUTES else named_operation(named),
        dispute_id=named_dispute(named) if row[0] in _DISPUTES else None,
        amount=amount_of(amount, currency, place) * sign,
        is_reversal=is_reversal,
        fees=AcquirerFees(
            interchange=fee_of(interchange, currency, place),
            scheme=fee_of(scheme, currency, place),
            acquirer=fee_of(acquirer, currency, place),
        ),
        booked_at=a_moment(booked_at, place),
    )


def _wrong(number: int, rule: str) -> InvalidRequest:
    return malformed(f"line {number}", rule)


def _row(line: SettlementLine) -> list[str | None]:
    fees = (line.fees.interchange, line.fees.scheme, line.fees.acquirer)
    sign = 1 if line.amount.is_positive else -1
    return [
        _name(line, sign),
        line.dispute_id or line.operation_id,
        line.amount.currency,
        plain(line.amount * sign),
        *map(plain, fees),
        _told(line.booked_at),
    ]


def _name(line: SettlementLine, sign: int) -> str:
    """What moved the money of a line."""
    fitting = (name for name, moves in _MOVEMENTS.items() if moves == (sign, line.is_reversal))
    is_dispute = line.dispute_id is not None
    return next(name for name in fitting if (name in _DISPUTES) is is_dispute)


def _told(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
