"""The commands that set up and read: no money is asked for by any of them."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.console import Group, RenderableType

from payplatform._domain.payments import PaymentStatus
from payplatform._domain.records import Merchant
from payplatform.banks.simulated import test_cards_table
from payplatform.cli import _forms
from payplatform.cli._exits import Exit
from payplatform.cli._screen import (
    facts_grid,
    payment_text,
    payments_table,
    plain_table,
    timeline_table,
)
from payplatform.cli._session import (
    Session,
    common_options,
    examples,
    first_of,
    limit_option,
    pass_session,
)
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
    missing = [file for file in session.files if not file.exists()]
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
@limit_option(20)
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
        payments, has_more = first_of(found, limit)
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
        "timeline": list(map(_forms.event, events)),
        "operations": list(map(_forms.operation, operations)),
    }
    timeline = timeline_table(events)
    session.answer(document, payment_text(found), "", timeline)
    return Exit.OK
