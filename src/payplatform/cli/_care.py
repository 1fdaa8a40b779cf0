"""The commands for the day after: find out what is unclear, decide what nobody can, examine all."""

from __future__ import annotations

import json
import signal
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from attrs import asdict, frozen
from rich.console import Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from payplatform._domain.archives import ArchiveReport
from payplatform._domain.operations import Operation, OperationState
from payplatform._engine.doctor import DoctorReport
from payplatform._engine.due import DueReport
from payplatform._engine.recovery import RecoveryReport
from payplatform.banks.simulated import SimulatedBank
from payplatform.cli import _forms
from payplatform.cli._bank_books import differences
from payplatform.cli._exits import Exit
from payplatform.cli._screen import counted, facts_grid, payment_text, plain_table
from payplatform.cli._session import (
    Session,
    common_options,
    examples,
    first_of,
    limit_option,
    pass_session,
)
from payplatform.client.platform import PayPlatform
from payplatform.errors import ErrorCode, PayPlatformError, StorageUnavailable


@click.command(epilog=examples("payplatform recover"))
@click.option(
    "--watch",
    type=click.FloatRange(min=0.1, max=86_400),
    metavar="SECONDS",
    help="Go on, at this interval, until Ctrl-C or SIGTERM; with --json, one document a line.",
)
@limit_option(1_000, words="At most so many operations a time.")
@common_options("json", "db")
@pass_session
def recover(session: Session, *, watch: float | None, limit: int) -> Exit:
    """Find out what became of unclear operations.

    An unclear operation is looked at when it is due: at once, then after a minute, after five, and
    so on. To run this often does no harm: from a cron job, or for ever with --watch. A watch that
    is asked to stop finishes its round first; when asked again, it stops at once. A round that
    fails is told on standard error, and the next one is made all the same.
    """
    with session.platform(asks_bank=True) as (pay, _):
        if watch is None:
            report = pay.recover(limit)
            session.answer(_forms.recovery(report), recovery_text(report))
            return Exit.OK
        session.note(f"recovering every {watch:g} seconds, until Ctrl-C")
        # What was being asked of the bank just now is on record as unclear: next time's work.
        with suppress(KeyboardInterrupt), interruptions() as rest:
            while True:
                _one_round(session, pay, limit)
                rest(watch)
        session.note("stopped")
        return Exit.OK


def _one_round(session: Session, pay: PayPlatform, limit: int) -> None:
    try:
        _tell_round(session, pay.recover(limit))
    except PayPlatformError as error:
        session.note(f"this round failed ({error.code}): {error.message}")


@contextmanager
def interruptions() -> Iterator[Callable[[float], None]]:
    """Hold Ctrl-C and SIGTERM back, but while resting; a second one is not held back.

    Yields:
        What rests for so many seconds, and raises KeyboardInterrupt when asked to stop.
    """
    asked, is_resting = False, False

    def heed(*_: object) -> None:
        nonlocal asked
        if asked or is_resting:
            raise KeyboardInterrupt
        asked = True

    def rest(seconds: float) -> None:
        nonlocal is_resting
        # In this order, so that none falls between the two.
        is_resting = True
        if asked:
            raise KeyboardInterrupt
        time.sleep(seconds)
        is_resting = False

    before = [(sign, signal.signal(sign, heed)) for sign in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield rest
    finally:
        for sign, handler in before:
            signal.signal(sign, handler)


def _tell_round(session: Session, report: RecoveryReport) -> None:
    if session.json:
        click.echo(json.dumps(_forms.recovery(report)))
    elif report != RecoveryReport():
        session.out.print(recovery_text(report))


@click.command(epilog=examples("payplatform due"))
@limit_option(1_000, words="At most so many of each sort.")
@common_options("json", "db")
@pass_session
def due(session: Session, *, limit: int) -> Exit:
    """Do whatever is due, for a cron job.

    What recover does; answers to disputes that may not have arrived; reminders of deadlines for
    evidence; payouts by plan. To run this often does no harm.
    """
    with session.platform(asks_bank=True) as (pay, _):
        report = pay.run_due(limit=limit)
    session.answer(_forms.due(report), _due_text(report))
    return Exit.OK


_DONE = {
    "reminded": "deadlines for evidence told to be near, or to have passed",
    "answered": "answers to disputes that the bank has, or has refused",
    "unanswered": "answers to disputes of which nobody knows yet",
    "made": "payouts made by plan",
    "unclear": "payouts of which nobody knows yet: recover finds out",
    "carried": "payouts by plan that wait for their next time",
}


def _due_text(report: DueReport) -> RenderableType:
    counts = {**asdict(report.disputes), **asdict(report.payouts)}
    rows = [(str(count), _DONE[name]) for name, count in counts.items() if count]
    if not rows:
        return recovery_text(report.recovered)
    is_all = report.recovered == RecoveryReport()
    return Group(*([] if is_all else [recovery_text(report.recovered)]), facts_grid(rows))


_REPORTED = {
    "examined": "looked at",
    "succeeded": "found to have succeeded",
    "declined": "found to have been declined",
    "aborted": "reversed: no money moved",
    "needs_review": "left to a person: see payplatform unresolved",
    "unresolved": "still unclear: looked at again when due",
    "expired": "authorizations booked as expired",
    "notices": "notices of the bank that had waited, and were applied",
}


def recovery_text(report: RecoveryReport) -> RenderableType:
    """What a run of recovery found out, in words."""
    counts = _forms.recovery(report)
    if not any(counts.values()):
        return Text("Nothing was due.")
    rows = [(str(count), _REPORTED[name]) for name, count in counts.items() if count]
    return facts_grid(rows)


@click.command(epilog=examples("payplatform unresolved"))
@limit_option(100)
@common_options("json", "merchant", "db")
@pass_session
def unresolved(session: Session, *, limit: int) -> Exit:
    """What nobody knows the outcome of, and what to do.

    The operations of every merchant, unless one is named; newest first.
    """
    with session.platform() as (pay, _):
        operations, has_more = first_of(_unresolved(pay, session.merchant), limit)
    document = {"unresolved": list(map(_forms.operation, operations)), "has_more": has_more}
    session.answer(document, *(text for o in operations for text in _operation_text(o)))
    if not session.json and (has_more or not operations):
        session.note("there are more: --limit" if has_more else "nothing is unclear")
    return Exit.OK


def _unresolved(pay: PayPlatform, merchant_id: str | None = None) -> Iterator[Operation]:
    everybody = (merchant.id for merchant in pay.merchants.list())
    for merchant in everybody if merchant_id is None else (merchant_id,):
        yield from pay.merchant(merchant).operations.list_unresolved()


def _operation_text(operation: Operation) -> Iterable[RenderableType]:
    yield Text(f"{operation.id} {operation.state}", style="bold")
    rows = [("known" if at == 0 else "", said) for at, said in enumerate(operation.known)]
    yield facts_grid([("merchant", operation.merchant_id), *rows, ("to do", operation.next_step)])
    yield ""


@click.command(
    epilog=examples(
        'payplatform resolve "$OPERATION" --outcome aborted --actor bea@acme.example '
        '--reason "not on the statement"'
    )
)
@click.argument("operation")
@click.option(
    "--outcome",
    type=click.Choice(["succeeded", "declined", "aborted"]),
    required=True,
    help="What became of it; aborted: no money moved, or it was given back.",
)
@click.option("--actor", metavar="TEXT", required=True, help="Who decides.")
@click.option("--reason", metavar="TEXT", required=True, help="Why.")
@click.option("--evidence", metavar="TEXT", help="What it rests on: a line of a statement.")
@common_options("json", "merchant", "db")
@pass_session
def resolve(session: Session, /, operation: str, **said: Any) -> Exit:
    """Record what became of an operation in review.

    Ask the bank first: payplatform unresolved says what to look for. Who decides, why, and on what
    grounds goes into the payment's history. A decision stands.
    """
    with session.shop(asks_bank=True) as (shop, _):
        decided = shop.operations.resolve(operation, **said)
        payment_id = decided.payment_id
        payment = None if payment_id is None else shop.payments.get(payment_id)
    document = {
        "operation": _forms.operation(decided),
        "payment": None if payment is None else _forms.payment(payment),
    }
    shown = [Text(f"{decided.id} is on record as {decided.state}.")]
    session.answer(document, *shown, *([] if payment is None else ["", payment_text(payment)]))
    return Exit.OK


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
        report = _examined(session, pay)
        unclear = list(_unresolved(pay))
        checks = [
            _settings_check(pay.describe()["storage"]),
            _files_check(session.files),
            _invariants_check(report),
            _books_check(session, pay, bank),
            _review_check(unclear),
        ]
    is_ok = all(check.is_ok for check in checks)
    document = {
        **_forms.health(report),
        "ok": is_ok,
        "checks": [{"name": c.name, "ok": c.is_ok, "text": c.text} for c in checks],
        "unresolved": list(map(_forms.operation, unclear)),
    }
    session.answer(document, _checks_text(checks), *_findings_text(report, unclear))
    return Exit.OK if is_ok else Exit.DOCTOR_FOUND


@click.command(epilog=examples("payplatform archive old-events.db --before 2025-01-01"))
@click.argument("file", type=click.Path(dir_okay=False))
@click.option(
    "--before",
    type=click.DateTime(["%Y-%m-%d"]),
    required=True,
    help="Of payments that were last changed before this day of UTC.",
)
@common_options("json", "db")
@pass_session
def archive(session: Session, *, file: str, before: datetime) -> Exit:
    """Move what happened to old payments to another file.

    And the links of the chains from then. Keep FILE: payplatform show and doctor read it where it
    is. The payments themselves and the books stay in the database. What was broken off is taken up
    by the same command.
    """
    with session.platform() as (pay, _):
        report = pay.archive(file, before=before.replace(tzinfo=UTC))
    moved = f"{counted(report.events, 'event')} of {counted(report.payments, 'payment')}"
    moved += f" and {counted(report.links, 'link')}"
    session.answer(asdict(report), Text(f"{moved} moved to {file}."), *_stayed(report))
    return Exit.OK


def _stayed(report: ArchiveReport) -> Iterator[RenderableType]:
    why = {
        "with an event that was not passed on yet": report.unpublished,
        "with something under way, held or disputed": report.at_work,
    }
    rows = [(str(count), f"stay, {words}") for words, count in why.items() if count]
    if rows:
        yield facts_grid(rows)


def _examined(session: Session, pay: PayPlatform) -> DoctorReport:
    """The doctor's report, with a bar on standard error while it is made, where a person looks."""
    if session.json or not (session.out.is_terminal and session.err.is_terminal):
        return pay.doctor()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=session.err, transient=True) as bar:
        task = bar.add_task("the file itself", total=None)

        def show(done: int, total: int | None, kind: str) -> None:
            words = kind.replace("_", " ")
            bar.update(task, completed=done, total=total, description=words)

        return pay.doctor(progress=show)


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
    absent = f"; {report.archived} of them in an archive that is not here" * bool(report.archived)
    return Check(name="invariants", is_ok=report.ok, text=f"{broken}: {seen}{absent}")


def _books_check(session: Session, pay: PayPlatform, bank: SimulatedBank) -> Check:
    if not session.bank_file.is_file():
        return Check(name="bank", is_ok=True, text="not compared: the simulated bank has no books")
    try:
        compared, differing = differences(pay, bank)
    except StorageUnavailable as error:
        if error.code is not ErrorCode.STORAGE_CORRUPT:
            raise
        return Check(name="bank", is_ok=False, text=f"not compared: {error.message}")
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


def _findings_text(report: DoctorReport, unclear: Iterable[Operation]) -> Iterable[RenderableType]:
    for finding in report.findings:
        yield ""
        yield Text(f"{finding.row}: {finding.rule}", style="red")
        yield facts_grid(
            [
                ("merchant", finding.merchant_id or None),
                ("of", finding.record_id or None),
                ("found", finding.text),
                ("may be", finding.cause),
            ]
        )
    for operation in unclear:
        yield ""
        yield from _operation_text(operation)
