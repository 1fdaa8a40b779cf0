"""The command `payplatform`: its parts, and the one place where a run ends.

Whatever happens, a run ends with a documented exit code, and with one line that says what happened
and one that says what to do. An error that nobody foresaw is shown by its class and place alone:
its text, and any traceback, could hold what was typed.
"""

from __future__ import annotations

import io
import json
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click
from rich.text import Text

import payplatform
from payplatform.cli._books import chart, export, ledger, report, statement
from payplatform.cli._card_input import refuse_card_numbers, without_digits
from payplatform.cli._care import archive, doctor, due, recover, resolve, unresolved
from payplatform.cli._demo import demo
from payplatform.cli._disputes import disputes
from payplatform.cli._exits import EXIT_CODES, Exit, exit_of, hint_of
from payplatform.cli._payouts import payouts
from payplatform.cli._reports import cards, init, list_, show
from payplatform.cli._screen import PipeClosed, let_go_of_stdout
from payplatform.cli._session import Refused, Session, common_options
from payplatform.cli._settlements import reconcile
from payplatform.cli._vault import vault
from payplatform.cli._verbs import authorize, capture, charge, refund, resume, retry, void
from payplatform.errors import PayPlatformError

_REPEATING_HELPS = frozenset(
    {
        Exit.CONFLICT,
        Exit.OUTCOME_UNKNOWN,
        Exit.STORAGE_UNAVAILABLE,
        Exit.VAULT_ERROR,
        Exit.DEFECT,
        Exit.INTERRUPTED,
    }
)


class App(click.Group):
    """A group of commands in which every run ends with a documented exit code."""

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> NoReturn:
        """Run with these arguments, or the process's, and exit."""
        _never_fail_to_encode()
        words = list(sys.argv[1:] if args is None else args)
        session = Session(words=words, json="--json" in words)
        try:
            code = self._run(words, session)
        except PipeClosed:
            let_go_of_stdout()
            code = Exit.PIPE_CLOSED
        sys.exit(int(code))

    def list_commands(self, _context: click.Context) -> list[str]:
        """In the order of a payment's life, which says more than the alphabet."""
        return list(self.commands)

    def invoke(self, context: click.Context) -> Any:
        """As click does it; but a closed pipe is no failure of the command."""
        try:
            return super().invoke(context)
        except BrokenPipeError:
            pass
        raise PipeClosed

    def _run(self, words: list[str], session: Session) -> Exit:
        try:
            refuse_card_numbers(words)
            # Bare `payplatform` asks for help, and gets it.
            code = super().main(
                words or ["--help"], "payplatform", standalone_mode=False, obj=session
            )
        except (click.Abort, KeyboardInterrupt):
            return _report(session, _interrupted_form(session), Exit.INTERRUPTED)
        except click.ClickException as error:
            return _report(session, _usage_form(error), Exit.USAGE)
        except PayPlatformError as error:
            return _report(session, _error_form(error), exit_of(error))
        except PipeClosed:
            raise
        except Exception as error:  # noqa: BLE001  # exit code 1 would say that the bank declined
            return _report(session, _defect_form(error), Exit.DEFECT)
        return code if isinstance(code, Exit) else Exit.OK


def _never_fail_to_encode() -> None:
    """A character that the terminal lacks is shown as `?`, and stops nothing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _report(session: Session, form: dict[str, Any], code: Exit) -> Exit:
    """Say what happened and what to do: on standard error, or with --json as the answer."""
    command = session.repeat if code in _REPEATING_HELPS else None
    if form["code"] == "idempotency_key_reused":
        command = None
    if session.json:
        more = {"idempotency_key": session.idempotency_key, "repeat": command}
        click.echo(json.dumps({"error": {**form, **more}}, indent=2))
        return code
    session.err.print(Text(f"error ({form['code']}): {form['message']}", style="red"))
    if form["hint"]:
        session.err.print(form["hint"])
    if command is not None:
        session.err.print(Text(f"To repeat it:\n  {command}"), soft_wrap=True)
    return code


def _error_form(error: PayPlatformError) -> dict[str, Any]:
    return _form(
        type(error).__name__,
        error.code,
        error.message,
        field=error.field,
        retryable=error.retryable,
        hint=hint_of(error),
        operation_id=error.operation_id,
        payment_id=error.payment_id,
    )


def _usage_form(error: click.ClickException) -> dict[str, Any]:
    if isinstance(error, Refused):
        message, code, field, hint = error.message, error.code, error.field, error.hint
    else:
        context = error.ctx if isinstance(error, click.UsageError) else None
        path = context.command_path if context else "payplatform"
        message, code, field = error.format_message().rstrip("."), "usage", None
        hint = f"{path} --help tells how."
    return _form("UsageError", code, without_digits(message), field=field, hint=hint)


def _defect_form(error: Exception) -> dict[str, Any]:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "payplatform" in f.filename]
    place = f" in {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return _form(
        type(error).__name__,
        "defect",
        f"payplatform has a defect: {type(error).__name__}{place}",
        hint="If money was being moved: look at payplatform list and run payplatform recover "
        "before anything else.",
    )


def _interrupted_form(session: Session) -> dict[str, Any]:
    hint = "What was being asked is on record: recover, or a repeat, finds out what became of it."
    return _form(
        "Interrupted", "interrupted", "interrupted", hint="" if session.repeat is None else hint
    )


def _form(
    kind: str,
    code: str,
    message: str,
    *,
    hint: str,
    field: str | None = None,
    retryable: bool = False,
    operation_id: str | None = None,
    payment_id: str | None = None,
) -> dict[str, Any]:
    return {
        "class": kind,
        "code": code,
        "field": field,
        "message": message,
        "retryable": retryable,
        "hint": hint,
        "operation_id": operation_id,
        "payment_id": payment_id,
    }


_EXIT_CODES_HELP = "\n".join(
    ["\b", "Exit codes:", *(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())]
)


@click.group(
    "payplatform",
    cls=App,
    epilog=f"{_EXIT_CODES_HELP}\n\n\b\nExample:\n  payplatform demo",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(payplatform.__version__, message="%(prog)s %(version)s")
@common_options("json", "merchant", "db", with_environment=True)
def app() -> None:
    """Take card payments, and stay right when anything fails.

    The bank here is simulated: no money moves, and its test cards make everything happen that
    happens to cards. In Python the same database takes the bank of your choice.
    """


for _command in (
    *(demo, init, cards),
    *(charge, authorize, capture, void, refund, retry, resume),
    *(list_, show, disputes, recover, due, unresolved, resolve, reconcile, doctor, archive, vault),
    *(ledger, payouts, statement, chart, report, export),
):
    app.add_command(_command)
