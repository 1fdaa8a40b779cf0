"""CSV, a line at a time, and safe to open with a spreadsheet.

A spreadsheet takes a cell that begins with one of `= + - @`, a tab or a line break for a formula,
which may then do anything ("CSV injection", OWASP). Such a text gets an apostrophe in front. A
number of ours is no formula, and stays what it is.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_WIDE_FORMULA: Final = ("\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The same signs as East Asian keyboards write them; spreadsheets take them for the same."""

_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def harmless(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula."""
    is_formula = text.lstrip(" ").startswith((*_FORMULA, *_WIDE_FORMULA))
    return f"'{text}" if is_formula and not _NUMBER.fullmatch(text) else text


def csv_lines(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a CSV file (RFC 4180), made as they are asked for.

    Args:
        head: the names of the columns.
        rows: their cells; None is empty.

    Returns:
        A lazy iterator of lines, each with its line end.
    """
    line = _Line()
    writer = csv.writer(line, lineterminator="\r\n")
    writer.writerow(head)
    yield line.text
    for row in rows:
        writer.writerow("" if cell is None else harmless(str(cell)) for cell in row)
        yield line.text


class _Line:
    """What a CSV writer writes to: it keeps the line that was written last."""

    text = ""

    def write(self, text: str) -> None:
        self.text = text
