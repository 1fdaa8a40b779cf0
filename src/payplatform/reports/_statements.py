"""A statement as Markdown for people, CSV for spreadsheets, and plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from payplatform._domain.money import Money, as_form, plain
from payplatform._domain.statements import CurrencyStatement, Statement
from payplatform.reports._cells import csv_lines

LINES: Final = (
    # name, words, the sign it has in what the merchant has coming
    ("opening", "Coming to you at the beginning", 1),
    ("captured", "Taken from cardholders", 1),
    ("refunded", "Given back to cardholders", -1),
    ("disputes_lost", "Lost in disputes", -1),
    ("fees", "Fees", -1),
    ("set_aside", "Set aside for payouts", -1),
    ("closing", "Coming to you at the end", 1),
)
"""What makes up a statement, in its order."""

BESIDES: Final = (
    ("settled", "Settled by the acquirer"),
    ("acquirer_fees", "Kept of it by the acquirer"),
    ("paid_out", "Paid out to your bank"),
)
"""What happened at the bank meanwhile, each with its words."""


def statement_markdown(statement: Statement) -> str:
    """A statement as Markdown.

    Args:
        statement: from `shop.ledger.statement`.

    Returns:
        A heading, and for each currency two tables.
    """
    name = _in_markdown(statement.merchant_name)
    parts = [f"# {name}: statement for {statement.month}", f"`{statement.merchant_id}`, UTC"]
    if not statement.currencies:
        parts.append("Nothing has moved yet.")
    for part in statement.currencies:
        parts += [f"## {part.currency}", *_tables(part)]
    return "\n\n".join(parts) + "\n"


def statement_csv(statement: Statement) -> Iterator[str]:
    """A statement as CSV: a line for each amount; what is taken off is negative.

    Args:
        statement: from `shop.ledger.statement`.

    Returns:
        A lazy iterator of lines.
    """
    return csv_lines(("month", "currency", "line", "amount"), _rows(statement))


def statement_form(statement: Statement) -> dict[str, Any]:
    """A statement as plain values, ready for JSON: amounts as text and in minor units.

    Args:
        statement: from `shop.ledger.statement`.
    """
    return {
        "merchant": {"id": statement.merchant_id, "name": statement.merchant_name},
        "month": str(statement.month),
        "currencies": [
            {
                "currency": part.currency,
                **{name: as_form(getattr(part, name)) for name in _names()},
                "balances": {account: as_form(shown) for account, shown in part.balances.items()},
            }
            for part in statement.currencies
        ],
    }


def _names() -> Iterator[str]:
    yield from (name for name, _, _ in LINES)
    yield from (name for name, _ in BESIDES)


def _tables(part: CurrencyStatement) -> Iterator[str]:
    yield _table(("", part.currency), [(words, plain(m)) for words, m in _signed(part)])
    besides = [(words, plain(getattr(part, name))) for name, words in BESIDES]
    yield _table(("At the bank", part.currency), besides)
    shown = [(f"`{account}`", plain(money)) for account, money in part.balances.items() if money]
    yield _table(("Account at the end (a credit is negative)", part.currency), shown)


def _signed(part: CurrencyStatement) -> Iterator[tuple[str, Money]]:
    for name, words, sign in LINES:
        yield words, getattr(part, name) * sign


def _rows(statement: Statement) -> Iterator[tuple[object, ...]]:
    for part in statement.currencies:
        head = (statement.month, part.currency)
        for name, _, sign in LINES:
            yield (*head, name, plain(getattr(part, name) * sign))
        for name, _ in BESIDES:
            yield (*head, name, plain(getattr(part, name)))
        for account, money in part.balances.items():
            yield (*head, f"balance of {account}", plain(money))


def _table(head: Sequence[str], rows: Sequence[tuple[str, str]]) -> str:
    first, second = head
    lines = [f"| {first} | {second} |", "| --- | ---: |"]
    return "\n".join([*lines, *(f"| {words} | {amount} |" for words, amount in rows)])


def _in_markdown(text: str) -> str:
    """Text that Markdown shows as it is, whatever its signs mean there."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>()#+-.!|&~" else sign for sign in text)
