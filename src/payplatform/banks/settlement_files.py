"""Settlement reports as banks send them: CSV in the simulated bank's form, or ISO 20022 camt.053.

Law of this file: a file is read whole before anything is made of it, and what is not what it has to
be is refused with its line.
"""

from __future__ import annotations

from typing import Final

from payplatform.banks import _settlement_csv
from payplatform.errors import ErrorCode, InvalidRequest
from payplatform.ports import SettlementReport

__all__ = ["LARGEST", "read_report"]

LARGEST: Final = 256 * 1024 * 1024
"""How many bytes a report may have; a line takes about 120 in CSV, and 600 in XML."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def read_report(raw: bytes) -> SettlementReport:
    """Read a bank's report, in whichever form it is.

    Args:
        raw: the file's bytes. What begins with `<` is taken for camt.053, which needs the extra
            `camt`; everything else for CSV, in UTF-8.

    Returns:
        The report, for `shop.reconcile`.

    Raises:
        InvalidRequest: `report_malformed`: that is no report, or not one whole; the message names
            the line. `type_invalid`: these are no bytes.
    """
    if not isinstance(raw, bytes):
        raise InvalidRequest(
            "report must be the bytes of a file", code=ErrorCode.TYPE_INVALID, field="report"
        )
    if len(raw) > LARGEST:
        raise InvalidRequest(
            f"a report may have at most {LARGEST} bytes. Nothing was booked",
            code=ErrorCode.REPORT_MALFORMED,
            field="report",
        )
    told = raw.removeprefix(_BYTE_ORDER_MARK)
    if told.lstrip()[:1] != b"<":
        return _settlement_csv.read(told)
    # The core needs no XML: who has no such reports has no parser either.
    from payplatform.banks import _camt053  # noqa: PLC0415

    return _camt053.read(told)
