"""The command that lists what cardholders dispute, and until when an answer is due."""

from __future__ import annotations

import click

from payplatform._domain.disputes import Dispute, DisputeState
from payplatform.cli import _forms
from payplatform.cli._exits import Exit
from payplatform.cli._screen import moment_text, plain_table
from payplatform.cli._session import (
    Session,
    common_options,
    examples,
    first_of,
    limit_option,
    pass_session,
)


@click.command(epilog=examples("payplatform disputes --state opened"))
@click.option(
    "--state",
    multiple=True,
    type=click.Choice([str(state) for state in DisputeState]),
    metavar="STATE",
    help="Only these; repeatable.",
)
@click.option("--payment", metavar="pay_...", help="Only this payment's.")
@limit_option(20)
@common_options("json", "merchant", "db")
@pass_session
def disputes(session: Session, *, state: tuple[str, ...], payment: str | None, limit: int) -> Exit:
    """Disputes, newest first, with their deadlines."""
    with session.shop() as (shop, _):
        found = shop.disputes.list(state=state or None, payment=payment)
        listed, has_more = first_of(found, limit)
    table = plain_table(
        ["dispute", "payment", "state", "held", "reason", "evidence due (UTC)"], right=["held"]
    )
    for dispute in listed:
        table.add_row(*_row(dispute))
    document = {"disputes": list(map(_forms.dispute, listed)), "has_more": has_more}
    session.answer(document, table)
    if not session.json and (has_more or not listed):
        session.note("there are more: --limit" if has_more else "no disputes")
    return Exit.OK


def _row(dispute: Dispute) -> tuple[str, ...]:
    due_at = dispute.evidence_due_at if dispute.state is DisputeState.OPENED else None
    return (
        dispute.id,
        dispute.payment_id,
        str(dispute.state),
        str(dispute.held),
        f"{dispute.reason} ({dispute.reason_code})",
        moment_text(due_at) if due_at else "",
    )
