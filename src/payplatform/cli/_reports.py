"""The commands that set up, read, recover and examine: no money is asked for by any of them."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import click
from attrs import frozen
from rich.console import Group, RenderableType
from rich.text import Text

from payplatform._domain.operations import Operation, OperationState
from payplatform._domain.payments import PaymentStatus
from payplatform._domain.records import Merchant
from payplatform._engine.doctor import DoctorReport
from payplatform._engine.recovery import RecoveryReport
from payplatform.banks.simulated import SimulatedBank, test_cards_table
from payplatform.cli import _forms
from payplatform.cli._bank_books import differences
from payplatform.cli._exits import Exit
from payplatform.cli._screen import (
    counted,
    facts_grid,
    payment_text,
    payments_table,
    plain_table,
    timeline_table,
)
from payplatform.cli._session import Session, common_options, examples, pass_session
from payplatform.client.platform import PayPlatform

_FIRST_NAME = "My shop"


@click.command(epilog=examples('payplatform init --name "Acme Books"'))
@click.option("--name", metavar="TEXT", help=f'Of the merchant.  [default: "{_FIRST_NAME}"]')
@common_options("json", "db")
@pass_session
def init(session: Session, *, name: str | None) -> Exit:
    """Make a database, its key file and a merchant.

    To run it again does no harm. Another --name adds another merchant.
    """
    missing = [file for file in _files_of(session) if not file.exists()]
    with session.set_up() as pay:
        merchant, is_new_merchant = _merchant_named(pay, name)
    made = [str(file) for file in missing if file.exists()]
    document = {
        "database": session.db,
        "files_made": made,
        "merchant": _forms.merchant(merchant),
        "merchant_made": is_new_merchant,
    }
    session.answer(document, _set_up_text(session, made, merchant, is_new=is_new_merchant))
    return Exit.OK


def _files_of(session: Session) -> Sequence[Path]:
    keys = [] if session.key_is_in_environment else [session.key_file]
    return [Path(session.db), *keys, session.bank_file]


def _merchant_named(pay: PayPlatform, name: str | None) -> tuple[Merchant, bool]:
    """The merchant of that name, or the newest where none is asked for; made if there is none."""
    fitting = (m for m in pay.merchants.list() if name is None or m.name == name)
    found = next(fitting, None)
    if found is not None:
        return found, False
    return pay.merchants.create(name=_FIRST_NAME if name is None else name), True


def _set_up_text(
    session: Session, made: Sequence[str], merchant: Merchant, *, is_new: bool
) -> RenderableType:
    roles = {
        session.db: "the database",
        str(session.key_file): "the master key: whoever has it and the database can read the "
        "cards. Keep a copy of it, elsewhere",
        str(session.bank_file): "the books of the simulated bank",
    }
    heading = "Made:" if made or is_new else "All was there already; nothing was made."
    rows = [(path, roles[path]) for path in made]
    rows.append((merchant.id, f"the merchant {merchant.name}" + ("" if is_new else " (was there)")))
    return Group(
        heading,
        facts_grid(rows),
        "",
        "Next:",
        facts_grid(
            [
                ("payplatform cards", "the test cards"),
                ("payplatform charge 19.99 EUR", "a first payment; it asks for the card"),
                ("payplatform list", "what there is"),
            ]
        ),
    )


@click.command(epilog=examples("payplatform cards"))
@common_options("json")
@pass_session
def cards(session: Session) -> Exit:
    """The test cards, and what each of them does.

    The simulated bank knows them. None is anybody's.
    """
    rows = test_cards_table()
    names = ("number", "brand", "outcome", "words")
    document = {"cards": [dict(zip(names, row, strict=True)) for row in rows]}
    shown = names if session.out.width >= 110 else ("number", "outcome", "words")
    table = plain_table(shown)
    for column in table.columns[:-1]:
        column.no_wrap = True
    for row in document["cards"]:
        table.add_row(*(row[name] for name in shown))
    note = "Any expiry in the future and any security code will do. Other numbers are approved."
    session.answer(document, table, "", note)
    return Exit.OK


@click.command(
    "list", epilog=examples("payplatform list --status captured --status refunded --limit 5")
)
@click.option(
    "--status",
    multiple=True,
    type=click.Choice([str(status) for status in PaymentStatus]),
    metavar="STATUS",
    help="Only these; repeatable.",
)
@click.option("--customer", metavar="cus_...", help="Only this customer's.")
@click.option("--reference", metavar="TEXT", help="Only with exactly this reference.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="At most so many.",
)
@click.option("--ids", is_flag=True, help="Only the ids, one a line, for other programs.")
@common_options("json", "merchant", "db")
@pass_session
def list_(
    session: Session,
    *,
    status: tuple[str, ...],
    customer: str | None,
    reference: str | None,
    limit: int,
    ids: bool,
) -> Exit:
    """Payments, newest first."""
    with session.shop() as (shop, _):
        found = shop.payments.list(status=status or None, customer=customer, reference=reference)
        payments = list(islice(found, limit + 1))
    has_more, payments = len(payments) > limit, payments[:limit]
    document = {"payments": list(map(_forms.payment, payments)), "has_more": has_more}
    if ids:
        session.answer(document, *(payment.id for payment in payments))
        return Exit.OK
    session.answer(document, payments_table(payments, width=session.out.width))
    if not session.json and (has_more or not payments):
        session.note("there are more: --limit" if has_more else "no payments")
    return Exit.OK


@click.command(epilog=examples('payplatform show "$PAYMENT"'))
@click.argument("payment")
@common_options("json", "merchant", "db")
@pass_session
def show(session: Session, *, payment: str) -> Exit:
    """A payment's facts, and its history in words."""
    with session.shop() as (shop, _):
        found = shop.payments.get(payment)
        events = shop.payments.timeline(payment)
        operations = shop.payments.operations(payment)
    document = {
        "payment": _forms.payment(found),
        "timeline": [_forms.event(event, found.currency) for event in events],
        "operations": list(map(_forms.operation, operations)),
    }
    timeline = timeline_table(events, found.currency)
    session.answer(document, payment_text(found), "", timeline)
    return Exit.OK


@click.command(epilog=examples("payplatform recover"))
@click.option(
    "--watch",
    type=click.FloatRange(min=0.1, max=86_400),
    metavar="SECONDS",
    help="Go on, at this interval, until Ctrl-C; with --json, one document a line.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=1_000,
    show_default=True,
    help="At most so many operations a time.",
)
@common_options("json", "db")
@pass_session
def recover(session: Session, *, watch: float | None, limit: int) -> Exit:
    """Find out what became of unclear operations.

    An unclear operation is looked at when it is due: at once, then after a minute, after five, and
    so on. To run this often does no harm.
    """
    with session.platform(asks_bank=True) as (pay, _):
        if watch is None:
            report = pay.recover(limit)
            session.answer(_forms.recovery(report), recovery_text(report))
            return Exit.OK
        session.note(f"recovering every {watch:g} seconds, until Ctrl-C")
        try:
            while True:
                _tell_round(session, pay.recover(limit))
                time.sleep(watch)
        except KeyboardInterrupt:
            # What was being asked of the bank just now is on record as unclear: next time's work.
            session.note("stopped")
            return Exit.OK


def _tell_round(session: Session, report: RecoveryReport) -> None:
    if session.json:
        click.echo(json.dumps(_forms.recovery(report)))
    elif report != RecoveryReport():
        session.out.print(recovery_text(report))


_REPORTED = {
    "examined": "looked at",
    "succeeded": "found to have succeeded",
    "declined": "found to have been declined",
    "aborted": "reversed: no money moved",
    "needs_review": "left to a person: see payplatform doctor",
    "unresolved": "still unclear: looked at again when due",
    "expired": "authorizations booked as expired",
}


def recovery_text(report: RecoveryReport) -> RenderableType:
    """What a run of recovery found out, in words."""
    counts = _forms.recovery(report)
    if not any(counts.values()):
        return Text("Nothing was due.")
    rows = [(str(count), _REPORTED[name]) for name, count in counts.items() if count]
    return facts_grid(rows)


@frozen(kw_only=True)
class Check:
    """One thing doctor looked at."""

    name: str
    is_ok: bool
    text: str


@click.command(epilog=examples("payplatform doctor"))
@common_options("json", "db")
@pass_session
def doctor(session: Session) -> Exit:
    """Check the database, its payments and the bank's books."""
    with session.platform() as (pay, bank):
        report = pay.doctor()
        unresolved = [
            operation
            for merchant in pay.merchants.list()
            for operation in pay.merchant(merchant.id).operations.list_unresolved()
        ]
        checks = [
            _settings_check(pay.describe()["storage"]),
            _files_check(_files_of(session)),
            _invariants_check(report),
            _books_check(session, pay, bank),
            _review_check(unresolved),
        ]
    is_ok = all(check.is_ok for check in checks)
    document = {
        **_forms.health(report),
        "ok": is_ok,
        "checks": [{"name": c.name, "ok": c.is_ok, "text": c.text} for c in checks],
        "unresolved": list(map(_forms.operation, unresolved)),
    }
    session.answer(document, _checks_text(checks), *_findings_text(report, unresolved))
    return Exit.OK if is_ok else Exit.DOCTOR_FOUND


def _settings_check(settings: dict[str, str]) -> Check:
    text = ", ".join(f"{name} {settings[name]}" for name in ("journal_mode", "synchronous"))
    return Check(name="database", is_ok=True, text=f"schema {settings['schema']}, {text}")


def _files_check(files: Sequence[Path]) -> Check:
    """The database and the key are for their owner alone; the bank's books hold no card."""
    database, *keys = (file for file in files if file.suffix != ".bank")
    logs = [Path(f"{database}{suffix}") for suffix in ("-wal", "-shm")]
    others_may = stat.S_IRWXG | stat.S_IRWXO
    private = [file for file in (database, *logs, *keys) if file.exists()]
    open_ones = [str(file) for file in private if file.stat().st_mode & others_may]
    text = "others may read " + ", ".join(open_ones) if open_ones else "their owner's alone"
    return Check(name="files", is_ok=not open_ones, text=text)


def _invariants_check(report: DoctorReport) -> Check:
    counts = (
        (report.merchants, "merchant"),
        (report.payments, "payment"),
        (report.payment_methods, "card"),
    )
    seen = ", ".join(counted(count, noun) for count, noun in counts)
    broken = counted(len(report.findings), "broken rule") if report.findings else "all rules hold"
    return Check(name="invariants", is_ok=report.ok, text=f"{broken}: {seen}")


def _books_check(session: Session, pay: PayPlatform, bank: SimulatedBank) -> Check:
    if not session.bank_file.is_file():
        return Check(name="bank", is_ok=True, text="not compared: the simulated bank has no books")
    compared, differing = differences(pay, bank)
    text = f"{counted(compared, 'payment')} compared with the simulated bank's statement"
    text += f": {', '.join(differing)} differ" if differing else ": equal"
    return Check(name="bank", is_ok=not differing, text=text)


def _review_check(unresolved: Iterable[Operation]) -> Check:
    states = [operation.state for operation in unresolved]
    waiting = states.count(OperationState.NEEDS_REVIEW)
    text = f"unclear ones: {waiting} for a person, {len(states) - waiting} for payplatform recover"
    return Check(name="operations", is_ok=not waiting, text=text)


def _checks_text(checks: Iterable[Check]) -> RenderableType:
    table = plain_table(["", "check", ""])
    table.show_header = False
    for check in checks:
        verdict = Text("ok", style="green") if check.is_ok else Text("look", style="bold red")
        table.add_row(verdict, check.name, check.text)
    return table


def _findings_text(
    report: DoctorReport, unresolved: Iterable[Operation]
) -> Iterable[RenderableType]:
    for finding in report.findings:
        yield ""
        yield Text(f"{finding.record_id}: {finding.rule}", style="red")
        yield facts_grid([("merchant", finding.merchant_id), ("found", finding.text)])
    for operation in unresolved:
        yield ""
        yield f"{operation.id}: {operation.kind} of {operation.amount}, {operation.state}"
        told: list[tuple[str, Any]] = [
            ("merchant", operation.merchant_id),
            ("of", operation.subject_id),
            ("reason", operation.reason),
        ]
        yield facts_grid(told)
