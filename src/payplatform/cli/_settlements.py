"""The command that lays a bank's settlement report beside the books."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import BinaryIO

import click
from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from payplatform._domain.money import Money, as_form
from payplatform._domain.settlements import Difference, Reconciliation
from payplatform.banks.settlement_files import LARGEST, read_report
from payplatform.banks.simulated import SimulatedBank
from payplatform.cli import _forms
from payplatform.cli._exits import Exit
from payplatform.cli._screen import counted, plain_table
from payplatform.cli._session import Session, common_options, examples, pass_session
from payplatform.client.platform import MerchantClient
from payplatform.ports import SettlementReport

_MOST_SHOWN = 100


@click.command(epilog=examples("payplatform reconcile", "payplatform reconcile --day 2026-03-01"))
@click.argument("file", type=click.File("rb"), required=False)
@click.option(
    "--day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Without FILE: the simulated bank's report on this day of UTC.  [default: yesterday]",
)
@common_options("json", "merchant", "db")
@pass_session
def reconcile(session: Session, *, file: BinaryIO | None, day: datetime | None) -> Exit:
    """Book a bank's settlement report, and list what differs.

    FILE is CSV in the simulated bank's form, or ISO 20022 camt.053; - reads it from standard input.
    To reconcile a report again changes nothing, or takes up what was broken off.
    """
    with session.shop(asks_bank=file is None) as (shop, bank):
        raw = _from_bank(shop, bank, day) if file is None else file.read(LARGEST + 1)
        report = read_report(raw)
        with _bar(session, report) as show:
            found = shop.reconcile(report, progress=show)
    session.answer(_document(found), *_text(found))
    return Exit.OK if found.ok else Exit.DIFFERENCES


def _from_bank(shop: MerchantClient, bank: SimulatedBank, day: datetime | None) -> bytes:
    try:
        return bank.settlement_report(shop.id, None if day is None else day.date())
    except LookupError:
        pass
    raise click.UsageError("that day is not over yet, by UTC")


@contextmanager
def _bar(
    session: Session, report: SettlementReport
) -> Iterator[Callable[[int, int], object] | None]:
    """A bar on standard error, where a person looks."""
    if session.json or not (session.out.is_terminal and session.err.is_terminal):
        yield None
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=session.err, transient=True) as bar:
        task = bar.add_task("lines", total=len(report.lines))
        yield lambda done, _: bar.update(task, completed=done)


def _text(found: Reconciliation) -> Iterator[RenderableType]:
    lines = counted(found.line_count, "line")
    yield Text(f"{found.reference}: {lines}, {found.matched} matched, {found.booked} of them new.")
    if found.ok:
        yield "The bank and the books agree."
        return
    yield Text(f"{counted(len(found.differences), 'difference')}:", style="red")
    table = plain_table(
        ["line", "what", "operation", "ours", "the bank's"], right=["line", "ours", "the bank's"]
    )
    for difference in found.differences[:_MOST_SHOWN]:
        table.add_row(
            "" if difference.line is None else str(difference.line),
            difference.kind.words,
            difference.operation_id or "none of ours",
            _shown(difference.ours),
            _shown(difference.banks),
        )
    yield table
    if len(found.differences) > _MOST_SHOWN:
        yield f"and {len(found.differences) - _MOST_SHOWN} more: --json has them all."


def _shown(money: Money | None) -> str:
    return "" if money is None else str(money)


def _document(found: Reconciliation) -> _forms.Form:
    return {
        "ok": found.ok,
        "settlement": found.settlement_id,
        "reference": found.reference,
        "lines": found.line_count,
        "matched": found.matched,
        "booked": found.booked,
        "differences": list(map(_difference, found.differences)),
    }


def _difference(value: Difference) -> _forms.Form:
    return {
        "kind": str(value.kind),
        "line": value.line,
        "operation": value.operation_id,
        "payment": value.payment_id,
        "ours": None if value.ours is None else as_form(value.ours),
        "banks": None if value.banks is None else as_form(value.banks),
    }
