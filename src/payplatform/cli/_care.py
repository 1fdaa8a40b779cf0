"""The commands for the day after: find out what is unclear, decide what nobody can, examine all."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from attrs import frozen
from rich.console import RenderableType
from rich.text import Text

from payplatform._domain.operations import Operation, OperationState
from payplatform._engine.doctor import DoctorReport
from payplatform._engine.recovery import RecoveryReport
from payplatform.banks.simulated import SimulatedBank
from payplatform.cli import _forms
from payplatform.cli._bank_books import differences
from payplatform.cli._exits import Exit
from payplatform.cli._screen import counted, facts_grid, plain_table
from payplatform.cli._session import Session, common_options, examples, pass_session
from payplatform.client.platform import PayPlatform


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
            _files_check(session.files),
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
