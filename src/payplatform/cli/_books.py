"""The commands that read the books: balances, entries, a statement, charts, exports."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from payplatform._domain.ledger import Account, Entry
from payplatform._domain.money import Money, as_form, plain
from payplatform._domain.statements import Month
from payplatform.cli import _forms
from payplatform.cli._exits import Exit
from payplatform.cli._screen import moment_text, plain_table
from payplatform.cli._session import (
    Refused,
    Session,
    common_options,
    examples,
    first_of,
    limit_option,
    pass_session,
)
from payplatform.reports import (
    Figures,
    entries_csv,
    figures,
    payments_csv,
    report_html,
    statement_csv,
    statement_form,
    statement_markdown,
)

month_option = click.option(
    "--month", required=True, metavar="YYYY-MM", help="Which month; it begins and ends in UTC."
)


@click.command(epilog=examples("payplatform ledger", "payplatform ledger --account fees"))
@click.option(
    "--account",
    type=click.Choice([str(account) for account in Account]),
    metavar="ACCOUNT",
    help="The lines of this account, instead of what all of them show.",
)
@click.option("--subject", metavar="ID", help="The lines of this payment or payout, likewise.")
@limit_option(100, words="At most so many entries.")
@common_options("json", "merchant", "db")
@pass_session
def ledger(session: Session, *, account: str | None, subject: str | None, limit: int) -> Exit:
    """What every account shows; or entries, oldest first.

    Debits are positive and credits negative, so those of one currency sum to zero.
    """
    with session.shop() as (shop, _):
        if account is None and subject is None:
            balances = shop.ledger.trial_balance()
            document = {
                "balances": {
                    currency: {name: as_form(shown) for name, shown in accounts.items()}
                    for currency, accounts in balances.items()
                }
            }
            session.answer(document, _balances_table(balances))
            return Exit.OK
        entries, has_more = first_of(shop.ledger.entries(account=account, subject=subject), limit)
    listed = {"entries": list(map(_forms.entry, entries)), "has_more": has_more}
    session.answer(listed, _entries_table(entries))
    if has_more and not session.json:
        session.note("there are more: --limit")
    return Exit.OK


def _balances_table(balances: dict[str, dict[Account, Money]]) -> RenderableType:
    if not balances:
        return "nothing has moved yet"
    table = plain_table(["account", *balances], right=list(balances))
    for account in Account:
        table.add_row(str(account), *(plain(shown[account]) for shown in balances.values()))
    return table


def _entries_table(entries: Iterable[Entry]) -> Table:
    table = plain_table(["time (UTC)", "of", "event", "account", "amount"], right=["amount"])
    for entry in entries:
        for line in entry.lines:
            amount = str(Money.minor(line.amount_minor, line.currency))
            number = str(entry.event_number)
            table.add_row(
                moment_text(entry.at), entry.subject_id, number, str(line.account), amount
            )
    return table


@click.command(epilog=examples("payplatform statement --month 2030-01 --format csv"))
@month_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["markdown", "csv", "json"]),
    default="markdown",
    show_default=True,
    help="--json is --format json.",
)
@common_options("json", "merchant", "db")
@pass_session
def statement(session: Session, *, month: str, form: str) -> Exit:
    """A month's statement.

    What there was, what has moved, and what is left, for each currency.
    """
    session.json = session.json or form == "json"
    with session.shop() as (shop, _):
        told = shop.ledger.statement(month=month)
    if form == "csv" and not session.json:
        _write(statement_csv(told))
        return Exit.OK
    session.answer({"statement": statement_form(told)}, Text(statement_markdown(told).rstrip()))
    return Exit.OK


@click.command(epilog=examples("payplatform export payments"))
@click.argument("what", type=click.Choice(["payments", "entries"]))
@click.option("--month", metavar="YYYY-MM", help="Only this month's.  [default: all]")
@common_options("json", "merchant", "db")
@pass_session
def export(session: Session, *, what: str, month: str | None) -> Exit:
    """All payments, or all lines of the books, as CSV.

    They are written as they are read, however many there are; with --json, in one document. A text
    that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    when = None if month is None else Month.of(month)
    since, until = (None, None) if when is None else (when.since, when.until)
    with session.shop() as (shop, _):
        if not session.json:
            lines = payments_csv if what == "payments" else entries_csv
            _write(lines(shop, since=since, until=until))
        elif what == "payments":
            payments = shop.payments.list(created_from=since, created_before=until)
            session.answer({"payments": list(map(_forms.payment, payments))})
        else:
            entries = shop.ledger.entries(since=since, until=until)
            session.answer({"entries": list(map(_forms.entry, entries))})
    return Exit.OK


def _write(lines: Iterator[str]) -> None:
    for line in lines:
        click.echo(line, nl=False)


@click.command(epilog=examples("payplatform chart --month 2030-01"))
@month_option
@common_options("json", "merchant", "db")
@pass_session
def chart(session: Session, *, month: str) -> Exit:
    """What was taken, approved and declined, day by day.

    A payment counts on the day on which it was made.
    """
    when = Month.of(month)
    with session.shop() as (shop, _):
        told = figures(shop, since=when.since, until=when.until)
    session.answer({"figures": _forms.figures(told)}, *_chart(told, width=session.out.width))
    return Exit.OK


def _chart(told: Figures, *, width: int) -> Iterator[RenderableType]:
    size = max(8, min(40, (width - 44) // 2))
    for currency, all_taken in told.captured.items():
        yield Group(
            Text(f"Taken each day: {all_taken}", style="bold"), _volume(told, currency, size)
        )
        yield ""
    if told.approval_rate is None:
        yield "no payment of this month was decided"
        return
    heading = f"Payments each day: {told.approval_rate:.1%} approved"
    yield Group(Text(heading, style="bold"), _approvals(told, size))
    if told.declines:
        yield ""
        yield Group(Text("Why payments were declined", style="bold"), _reasons(told, size))


def _volume(told: Figures, currency: str, size: int) -> Table:
    nothing = Money.zero(currency)
    taken = [day.captured.get(currency, nothing) for day in told.days]
    most = max(money.amount_minor for money in taken)
    table = _bars()
    for day, money in zip(told.days, taken, strict=True):
        bar = Bar(most, 0, money.amount_minor, width=size, color="blue")
        table.add_row(f"{day.date:%a %d}", bar, plain(money) if money else "")
    return table


def _approvals(told: Figures, size: int) -> Table:
    most = max(day.approved + day.declined for day in told.days)
    table = _bars()
    for day in told.days:
        bar = Text("█" * round(size * day.approved / most), style="green")
        bar.append("▒" * round(size * day.declined / most), style="red")
        rate = "" if day.approval_rate is None else f"{day.approval_rate:.0%}"
        words = f"{day.approved} of {day.approved + day.declined}" if rate else ""
        table.add_row(f"{day.date:%a %d}", bar, rate, words)
    return table


def _reasons(told: Figures, size: int) -> Table:
    most = max(told.declines.values())
    table = _bars()
    for code, count in told.declines.items():
        table.add_row(str(code), Bar(most, 0, count, width=size, color="red"), str(count))
    return table


def _bars() -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    return grid


@click.command(epilog=examples("payplatform report --month 2030-01 --output january.html"))
@month_option
@click.option(
    "--output", required=True, type=click.Path(dir_okay=False, writable=True), help="The file."
)
@common_options("json", "merchant", "db")
@pass_session
def report(session: Session, *, month: str, output: str) -> Exit:
    """A month as one HTML file: charts and statement. It needs the extra report."""
    if importlib.util.find_spec("matplotlib") is None:
        raise Refused(
            "matplotlib is not installed, and the charts are drawn by it",
            code="extra_missing",
            field=None,
            hint='pip install "payplatform[report]"',
        )
    with session.shop() as (shop, _):
        page = report_html(shop, month=month)
    Path(output).write_text(page, encoding="utf-8")
    session.answer({"file": output, "month": month}, f"written: {output}")
    return Exit.OK
