"""The commands that move money: each one builds one call of the public API and shows what it told.

Before anything is sent, the idempotency key and the card's new id are on the screen: whatever
happens next, the same can be asked again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import click

from payplatform._domain.money import Money
from payplatform._domain.operations import Initiator
from payplatform._domain.payments import Payment, PaymentStatus
from payplatform._domain.records import PaymentMethod
from payplatform._domain.secret import Secret
from payplatform.banks.simulated import SimulatedBank
from payplatform.cli import _forms
from payplatform.cli._card_input import read_card, read_security_code
from payplatform.cli._exits import Exit
from payplatform.cli._screen import payment_text
from payplatform.cli._session import Refused, Session, common_options, examples, pass_session
from payplatform.client.platform import MerchantClient
from payplatform.errors import InvalidRequest, NotFound

F = TypeVar("F", bound=Callable[..., Any])

_CARD_FROM_PRINTF = r"printf '4242 4242 4242 4242\n12/30\n123\n' |"


def money_options(command: F) -> F:
    """What every money-moving command takes."""
    for option in (
        click.option("--idempotency-key", "key", metavar="KEY", help="For a repeat: the same key."),
        click.option("--timeout", "timeout_s", type=float, metavar="SECONDS", help="For the bank."),
        common_options("json", "merchant", "db"),
    ):
        command = option(command)
    return command


def card_options(command: F) -> F:
    """How a card is given."""
    for option in (
        click.option(
            "--ask-security-code", is_flag=True, help="Ask for a stored card's security code."
        ),
        click.option(
            "--card-stdin",
            is_flag=True,
            help="Read a card from standard input: number, expiry and, if wanted, security code, "
            "a line each.",
        ),
        click.option("--payment-method", metavar="pm_...", help="A stored card."),
    ):
        command = option(command)
    return command


def starting_options(command: F) -> F:
    """What a new payment takes."""
    for option in (
        click.option(
            "--initiated-by",
            type=click.Choice([str(who) for who in Initiator]),
            default=str(Initiator.CUSTOMER),
            help="Who starts it: the customer, or the merchant on an agreement.",
        ),
        click.option("--metadata", multiple=True, metavar="NAME=TEXT", help="Yours; repeatable."),
        click.option("--reference", metavar="TEXT", help="Yours; the bank is told it."),
        click.option(
            "--customer",
            metavar="cus_...",
            help="Whose default card; with --card-stdin: who is to keep the new card.",
        ),
    ):
        command = option(command)
    return command


@click.command(epilog=examples(f"{_CARD_FROM_PRINTF} payplatform charge 19.99 EUR --card-stdin"))
@click.argument("amount")
@click.argument("currency")
@card_options
@starting_options
@money_options
@pass_session
def charge(session: Session, /, **given: Any) -> Exit:
    """Take money, such as 19.99 EUR.

    The card is asked for at a hidden prompt, unless one is named or comes on standard input.
    """
    return _start(session, lambda shop: shop.payments.charge, **given)


@click.command(epilog=examples(f"{_CARD_FROM_PRINTF} payplatform authorize 120 EUR --card-stdin"))
@click.argument("amount")
@click.argument("currency")
@card_options
@starting_options
@money_options
@pass_session
def authorize(session: Session, /, **given: Any) -> Exit:
    """Have money held on a card.

    capture takes it later, void lets it go. The card is given as to charge.
    """
    return _start(session, lambda shop: shop.payments.authorize, **given)


def _start(
    session: Session,
    verb: Callable[[MerchantClient], Callable[..., Payment]],
    *,
    amount: str,
    currency: str,
    payment_method: str | None,
    card_stdin: bool,
    ask_security_code: bool,
    customer: str | None,
    metadata: tuple[str, ...],
    key: str | None,
    **given: Any,
) -> Exit:
    money = Money(amount, currency)
    pairs = _pairs(metadata)
    if payment_method is not None and (card_stdin or customer is not None):
        raise _one_card_only()
    with session.shop(asks_bank=True) as (shop, _):
        code, stored = None, None
        if card_stdin or (payment_method is None and customer is None):
            stored, code = _store_card(shop, key, from_stdin=card_stdin, customer=customer)
        elif ask_security_code:
            code = read_security_code()
        return _tell(
            session,
            shop,
            lambda key: verb(shop)(
                money,
                payment_method=stored.id if stored else payment_method,
                customer=None if stored else customer,
                security_code=None if code is None else code.reveal(),
                metadata=pairs,
                idempotency_key=key,
                **given,
            ),
            key,
            stored=stored,
        )


@click.command(epilog=examples(f'{_CARD_FROM_PRINTF} payplatform retry "$PAYMENT" --card-stdin'))
@click.argument("payment")
@card_options
@click.option("--ask-card", is_flag=True, help="Ask for another card at the prompt.")
@money_options
@pass_session
def retry(
    session: Session,
    *,
    payment: str,
    payment_method: str | None,
    card_stdin: bool,
    ask_card: bool,
    ask_security_code: bool,
    key: str | None,
    timeout_s: float | None,
) -> Exit:
    """Try a declined or failed payment again.

    With the same card, unless another is named or asked for.
    """
    if payment_method is not None and (card_stdin or ask_card):
        raise _one_card_only()
    with session.shop(asks_bank=True) as (shop, _):
        shop.payments.get(payment)
        code, stored = None, None
        if card_stdin or ask_card:
            stored, code = _store_card(shop, key, from_stdin=card_stdin, customer=None)
        elif ask_security_code:
            code = read_security_code()
        return _tell(
            session,
            shop,
            lambda key: shop.payments.retry(
                payment,
                payment_method=stored.id if stored else payment_method,
                security_code=None if code is None else code.reveal(),
                idempotency_key=key,
                timeout_s=timeout_s,
            ),
            key,
            stored=stored,
        )


@click.command(epilog=examples('payplatform resume "$PAYMENT" --play-cardholder pass'))
@click.argument("payment")
@click.option(
    "--play-cardholder",
    type=click.Choice(["pass", "fail"]),
    help="First pass, or fail, the simulated bank's 3-D Secure challenge.",
)
@money_options
@pass_session
def resume(
    session: Session,
    *,
    payment: str,
    play_cardholder: str | None,
    key: str | None,
    timeout_s: float | None,
) -> Exit:
    """Go on after the cardholder's 3-D Secure challenge."""
    with session.shop(asks_bank=True) as (shop, bank):
        found = shop.payments.get(payment)
        if play_cardholder is not None:
            _play_cardholder(bank, found, succeed=play_cardholder == "pass")
        return _tell(
            session,
            shop,
            lambda key: shop.payments.resume(payment, idempotency_key=key, timeout_s=timeout_s),
            key,
        )


def _play_cardholder(bank: SimulatedBank, payment: Payment, *, succeed: bool) -> None:
    if payment.action is None:
        # The library says so too, in its own words, when it is asked to resume.
        return
    with suppress(LookupError):
        bank.complete_challenge(payment.action.url, succeed=succeed)


@click.command(epilog=examples('payplatform capture "$PAYMENT" 80.00 --final'))
@click.argument("payment")
@click.argument("amount", required=False)
@click.argument("currency", required=False)
@click.option("--final", is_flag=True, help="Let go of the rest, at the bank too.")
@money_options
@pass_session
def capture(session: Session, /, *, final: bool, **given: Any) -> Exit:
    """Take held money: all of it, or AMOUNT."""
    return _follow_up(session, lambda shop: shop.payments.capture, given, final=final)


@click.command(epilog=examples('payplatform void "$PAYMENT"'))
@click.argument("payment")
@click.argument("amount", required=False)
@click.argument("currency", required=False)
@money_options
@pass_session
def void(session: Session, /, **given: Any) -> Exit:
    """Let go of held money: all of it, or AMOUNT."""
    return _follow_up(session, lambda shop: shop.payments.void, given)


@click.command(epilog=examples('payplatform refund "$PAYMENT" 5.00'))
@click.argument("payment")
@click.argument("amount", required=False)
@click.argument("currency", required=False)
@money_options
@pass_session
def refund(session: Session, /, **given: Any) -> Exit:
    """Give money back: all of it, or AMOUNT."""
    return _follow_up(session, lambda shop: shop.payments.refund, given)


def _follow_up(
    session: Session,
    verb: Callable[[MerchantClient], Callable[..., Payment]],
    given: dict[str, Any],
    **more: Any,
) -> Exit:
    payment, amount, currency = given["payment"], given["amount"], given["currency"]
    with session.shop(asks_bank=True) as (shop, _):
        currency = currency or shop.payments.get(payment).currency
        money = None if amount is None else Money(amount, currency)
        return _tell(
            session,
            shop,
            lambda key: verb(shop)(
                payment, money, idempotency_key=key, timeout_s=given["timeout_s"], **more
            ),
            given["key"],
        )


def _tell(
    session: Session,
    shop: MerchantClient,
    call: Callable[[str], Payment],
    key: str | None,
    *,
    stored: PaymentMethod | None = None,
) -> Exit:
    """Make the call under its key, and show the payment.

    A guest's card that was stored for a call that breaks a rule is not kept.
    """
    is_fresh = key is None
    key = f"cli-{secrets.token_hex(16)}" if key is None else key
    stored_id = None if stored is None else stored.id
    session.will_ask(key=key, is_fresh=is_fresh, stored_card=stored_id)
    try:
        payment = call(key)
    except InvalidRequest:
        if stored is not None and stored.customer_id is None:
            shop.payment_methods.delete(stored.id)
        raise
    document = {
        "payment": _forms.payment(payment),
        "idempotency_key": key,
        "payment_method_stored": stored_id,
    }
    session.answer(document, payment_text(payment))
    if payment.status is PaymentStatus.REQUIRES_ACTION and not session.json:
        session.note(f"then: payplatform resume {payment.id}")
    return Exit.OK if payment.decline is None else Exit.DECLINED


def _store_card(
    shop: MerchantClient, key: str | None, *, from_stdin: bool, customer: str | None
) -> tuple[PaymentMethod, Secret | None]:
    """Replace a card by a token.

    A customer's card is known again, a guest's is not. So with a key that was used before for a
    payment with this very card, it is the token from then: with a new one the library would take
    the repeat for another request.
    """
    card, code = read_card(from_stdin=from_stdin)
    method = shop.payment_methods.create(card=card, customer=customer)
    del card
    known = _method_under(shop, key) if customer is None else None
    if known is not None and known.fingerprint == method.fingerprint:
        shop.payment_methods.delete(method.id)
        return known, code
    return method, code


def _method_under(shop: MerchantClient, key: str | None) -> PaymentMethod | None:
    """The guest's card of the payment that this key was used for, if it was and is still stored."""
    if key is None:
        return None
    with suppress(NotFound, InvalidRequest):
        operation = shop.operations.find(idempotency_key=key)
        if operation is not None:
            payment = shop.payments.get(operation.subject_id)
            return shop.payment_methods.get(payment.payment_method_id)
    return None


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    """NAME=TEXT, each of them."""
    pairs = dict(text.partition("=")[::2] for text in texts)
    if not all("=" in text for text in texts) or len(pairs) != len(texts):
        raise Refused(
            "--metadata is NAME=TEXT, and each name comes once",
            code="metadata_invalid",
            field="metadata",
            hint="For example: --metadata cart=17 --metadata channel=phone",
        )
    return pairs


def _one_card_only() -> Refused:
    return Refused(
        "several cards are given",
        code="several_cards",
        field="payment_method",
        hint="Give one of --payment-method, --customer, and a card on standard input or at the "
        "prompt.",
    )
