"""Values as people read them: tables, words and colours. Nothing here is for programs to parse."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from payplatform._domain.declines import Advice, Decline
from payplatform._domain.events import Event, signed
from payplatform._domain.money import Money
from payplatform._domain.operations import OperationKind, OperationState
from payplatform._domain.payments import Payment, PaymentStatus

PIPED_WIDTH = 200
"""Columns where nobody says how many: enough that no line of ours is broken in a pipe."""


class PipeClosed(Exception):
    """Whoever read our output stopped reading."""


class Screen(Console):
    """A console that prints text as it is: no markup, no emoji, and no colours in a pipe.

    Args:
        stderr: whether it is standard error.
        width: columns; else the terminal's, or where there is none COLUMNS, or plenty.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)
        if width is None and not self.is_terminal and not os.environ.get("COLUMNS"):
            self.width = PIPED_WIDTH

    def on_broken_pipe(self) -> NoReturn:
        """Leave it to the one place that knows how this process ends."""
        self.quiet = True
        raise PipeClosed


def let_go_of_stdout() -> None:
    """Write nowhere from now on: Python would complain at exit about what nobody reads."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_COLOURS = {
    PaymentStatus.UNKNOWN: "bold yellow",
    PaymentStatus.REQUIRES_ACTION: "yellow",
    PaymentStatus.PROCESSING: "yellow",
    PaymentStatus.DISPUTED: "red",
    PaymentStatus.DECLINED: "red",
    PaymentStatus.FAILED: "red",
    PaymentStatus.VOIDED: "dim",
    PaymentStatus.EXPIRED: "dim",
}

_NEXT = {
    OperationKind.SALE: "retry",
    OperationKind.AUTHORIZE: "retry",
}

_ON_THE_COMMAND_LINE = frozenset({"retry", "resume", "capture", "void", "refund"})


def status_text(status: PaymentStatus) -> Text:
    """A status in its colour."""
    return Text(str(status), style=_COLOURS.get(status, "green"))


def moment_text(moment: datetime) -> str:
    """A time in UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def span_text(span: timedelta) -> str:
    """A length of time in its largest whole unit."""
    seconds = int(span.total_seconds())
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size and seconds % size == 0:
            return counted(seconds // size, unit)
    return counted(seconds, "second")


def counted(count: int, noun: str) -> str:
    """A count and what is counted: `1 card`, `2 cards`."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def facts_grid(rows: Iterable[tuple[str, RenderableType | None]]) -> Table:
    """Names and values in two columns; what is None is left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        if value is not None:
            grid.add_row(name, value)
    return grid


def plain_table(columns: Sequence[str], *, right: Sequence[str] = ()) -> Table:
    """A table without lines down its sides, which also reads well in a pipe."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def payment_text(payment: Payment) -> RenderableType:
    """A payment's facts; after a decline, what it means."""
    facts = facts_grid(_payment_rows(payment))
    if payment.decline is None:
        return facts
    return Group(facts, Text(), decline_text(payment.decline))


def _payment_rows(payment: Payment) -> Iterable[tuple[str, RenderableType | None]]:
    yield "payment", payment.id
    yield "status", _status_line(payment)
    yield "amount", str(payment.amount)
    for name in _AMOUNTS:
        money: Money = getattr(payment, name)
        yield name, str(money) if money else None
    yield "card", f"{payment.brand} ****{payment.last4}, {payment.payment_method_id}"
    yield "customer", payment.customer_id
    yield "reference", payment.reference
    for name, value in payment.metadata:
        yield f"metadata {name}", value
    yield "created", f"{moment_text(payment.created_at)} UTC"
    if payment.expires_at is not None and payment.facts.uncaptured:
        yield "held until", f"{moment_text(payment.expires_at)} UTC"
    if payment.action is not None:
        yield "cardholder", f"has to open {payment.action.url}"
    yield "next", _next_words(payment)


_AMOUNTS = ("authorized", "captured", "voided", "expired", "refunded", "disputed", "fees")


def _status_line(payment: Payment) -> Text:
    line = status_text(payment.status)
    return (
        line.append(" (told again; nothing was done now)", style="dim")
        if payment.replayed
        else line
    )


def _next_words(payment: Payment) -> str | None:
    if any(o.state is OperationState.NEEDS_REVIEW for o in payment.open_operations):
        return "payplatform unresolved"
    if payment.status is PaymentStatus.UNKNOWN:
        return "payplatform recover"
    verbs = {_NEXT.get(kind, str(kind)) for kind in payment.allowed_operations}
    return ", ".join(sorted(verbs & _ON_THE_COMMAND_LINE)) or None


def decline_text(decline: Decline) -> RenderableType:
    """Why the bank said no, what to tell the customer, and what to do."""
    bank_code = f" (the bank's code: {decline.bank_code})" if decline.bank_code else ""
    return Group(
        Text(f"The bank declined: {decline.code}{bank_code}", style="red"),
        facts_grid(
            [
                ("for your log", decline.message),
                ("to the customer", decline.customer_message),
                ("what to do", advice_text(decline)),
            ]
        ),
    )


_ADVICE = {
    Advice.DO_NOT_RETRY: "do not try this card again; ask for another one",
    Advice.RETRY_LATER: "try the same card again later, or ask for another one",
    Advice.CONTACT_ISSUER: "the customer talks to the card's bank first; then try again",
    Advice.CORRECT_AND_RETRY: "have the details corrected, then try again",
    Advice.AUTHENTICATE_AND_RETRY: "have the customer prove who they are, then try again",
    Advice.CONTACT_ACQUIRER: "talk to your acquirer: your own set-up is in the way",
}


def advice_text(decline: Decline) -> str:
    """What the merchant does next, in words."""
    if decline.retry_after is None:
        return _ADVICE[decline.advice]
    return f"{_ADVICE[decline.advice]} (the wait: {span_text(decline.retry_after)})"


def payments_table(payments: Sequence[Payment], *, width: int) -> Table:
    """Payments, one a line; on a wide screen also with card and reference."""
    wide = width >= 120
    columns = ["payment", "created (UTC)", "status", "amount"]
    table = plain_table([*columns, "card", "reference"] if wide else columns, right=["amount"])
    for payment in payments:
        created = f"{payment.created_at.astimezone(UTC):%Y-%m-%d %H:%M}"
        more = (f"{payment.brand} ****{payment.last4}", payment.reference or "") if wide else ()
        status = status_text(payment.status)
        table.add_row(payment.id, created, status, str(payment.amount), *more)
    return table


def timeline_table(events: Sequence[Event]) -> Table:
    """What happened, in words: number, time, words, how the amounts changed, and what was left."""
    table = plain_table(["no.", "time (UTC)", "what happened", "amounts", "left"], right=["no."])
    for column in table.columns[3:]:
        column.no_wrap = True
    for event in events:
        words = moment_text(event.at), event.words, effects_text(event), _left_text(event)
        table.add_row(str(event.number), *words)
    return table


def effects_text(event: Event) -> str:
    """Each amount that changed, with its sign, a line each: `captured +19.99`."""
    return "\n".join(f"{name} {signed(money)}" for name, money in event.effects)


def _left_text(event: Event) -> str:
    """What was left to capture and to refund, a line each: `refundable 14.99`."""
    left = ((name, getattr(event.totals, name)) for name in ("capturable", "refundable"))
    return "\n".join(f"{name} {str(money).partition(' ')[0]}" for name, money in left if money)
