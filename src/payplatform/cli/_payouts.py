"""The command that lists payouts, and what may be paid out now."""

from __future__ import annotations

import click

from payplatform._domain.money import Money
from payplatform._domain.payouts import Payout, PayoutPlan
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


@click.command(epilog=examples("payplatform payouts"))
@limit_option(20)
@common_options("json", "merchant", "db")
@pass_session
def payouts(session: Session, *, limit: int) -> Exit:
    """Payouts, newest first, and what may be paid out now.

    Payable in a currency is what was earned and the acquirer has settled, less what is to stay. It
    is less than zero where the merchant owes.
    """
    with session.shop() as (shop, _):
        listed, has_more = first_of(shop.payouts.list(), limit)
        currencies = sorted(shop.ledger.trial_balance())
        payable = [(shop.payouts.plan(each), shop.payouts.payable(each)) for each in currencies]
    balances = plain_table(
        ["payable", "reserve", "minimum", "paid out", "next (UTC)"],
        right=["payable", "reserve", "minimum"],
    )
    for plan, amount in payable:
        balances.add_row(*_plan_row(plan, amount))
    table = plain_table(["payout", "status", "amount", "made (UTC)", "reference"], right=["amount"])
    for payout in listed:
        table.add_row(*_row(payout))
    document = {
        "payable": [_forms.payable(plan, amount) for plan, amount in payable],
        "payouts": list(map(_forms.payout, listed)),
        "has_more": has_more,
    }
    session.answer(document, *([balances] if payable else []), *([table] if listed else []))
    if not session.json and (has_more or not listed):
        session.note("there are more: --limit" if has_more else "no payouts")
    return Exit.OK


def _plan_row(plan: PayoutPlan, payable: Money) -> tuple[str, ...]:
    next_at = moment_text(plan.next_at) if plan.next_at else ""
    return str(payable), str(plan.reserve), str(plan.minimum), str(plan.interval), next_at


def _row(payout: Payout) -> tuple[str, ...]:
    return (
        payout.id,
        str(payout.status),
        str(payout.amount),
        moment_text(payout.created_at),
        payout.reference or "",
    )
