"""A till with something behind every id, and arguments that every public method accepts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from till import AMEX, CHALLENGED, NO_FUNDS, START, Till, book, eur

from payplatform import Card, OutcomeUnknown, PayPlatform, Settings
from payplatform.banks.simulated import Call, Fault
from payplatform.ports import BankNotice

KEY = "the-key-under-test"


_KEY = X25519PrivateKey.generate()
PUBLIC_KEY = _KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PRIVATE_KEY = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Counter:
    """A till with something behind every id, and arguments that each method accepts."""

    def __init__(self, file: Path | None = None) -> None:
        self.till = till = Till(file, settings=Settings(may_reveal=True))
        self.archive = str((file or Path("unused")).with_name("old-events.db"))
        self.disposable = till.pay.merchants.create(name="Gone soon").id
        self.customer = till.customer()
        self.method = till.card(customer=self.customer).id
        self.in_review = an_operation_in_review(till)
        self.held = till.held(payment_method=self.method).id
        self.sold = till.sold(payment_method=self.method).id
        self.declined = till.sold(number=NO_FUNDS).id
        self.waiting = a_passed_challenge(till)
        self.dispute = a_dispute(till)
        self.payout = a_payout(till)
        self.event = till.pay.events.pending(limit=1)[0]
        self.notice = a_notice(till, self.held)
        self.delivery = a_delivery(till)
        self.kept = till.pay.notices.receive(**self.delivery).id
        self.export = till.shop.vault.export(
            public_key=PUBLIC_KEY, actor="Ada", purpose="to have one"
        )

    def call(self, method: str, **given: Any) -> Any:
        """Make a call by its name, with these arguments and good ones for the rest it needs."""
        function = method_named(self.till.pay, self.till, method)
        result = function(**self.good(method) | given)
        return list(result) if isinstance(result, Iterator) else result

    def good(self, name: str) -> dict[str, Any]:
        """What a method cannot do without."""
        charge = {
            "amount": eur("5"),
            "payment_method": self.method,
            "idempotency_key": KEY,
        }
        needed: dict[str, dict[str, Any]] = {
            "archive": {"path": self.archive, "before": START},
            "merchant": {"merchant_id": self.till.merchant_id},
            "merchants.create": {"name": "Bolt"},
            "merchants.erase": {"merchant_id": self.disposable},
            "merchants.fees": {"merchant_id": self.till.merchant_id},
            "merchants.get": {"merchant_id": self.till.merchant_id},
            "merchants.set_fees": {"merchant_id": self.till.merchant_id, "rates": ()},
            "events.mark_published": {"events": [self.event]},
            "notices.apply": {"notice": self.notice},
            "notices.receive": self.delivery,
            "shop.notices.get": {"notice_id": self.kept},
            "shop.customers.erase": {"customer_id": self.customer},
            "shop.customers.get": {"customer_id": self.customer},
            "shop.customers.update": {"customer_id": self.customer, "name": "Byron"},
            "shop.payment_methods.allow_again": {
                "payment_method_id": self.method,
                "actor": "Ada",
                "reason": "the bank has said so",
            },
            "shop.payment_methods.create": {"card": Card(AMEX, "12/40")},
            "shop.payment_methods.delete": {"payment_method_id": self.method},
            "shop.payment_methods.get": {"payment_method_id": self.method},
            "shop.payment_methods.reveal": {
                "payment_method_id": self.method,
                "actor": "Ada",
                "purpose": "to look at it",
            },
            "shop.payment_methods.set_default": {"payment_method_id": self.method},
            "shop.payment_methods.verify": {
                "payment_method_id": self.method,
                "idempotency_key": KEY,
            },
            "shop.payments.authorize": charge,
            "shop.payments.capture": {"payment_id": self.held, "idempotency_key": KEY},
            "shop.payments.charge": charge,
            "shop.payments.get": {"payment_id": self.held},
            "shop.payments.increment": {
                "payment_id": self.held,
                "amount": eur("5"),
                "idempotency_key": KEY,
            },
            "shop.payments.operations": {"payment_id": self.held},
            "shop.payments.refund": {"payment_id": self.sold, "idempotency_key": KEY},
            "shop.payments.resume": {"payment_id": self.waiting, "idempotency_key": KEY},
            "shop.payments.retry": {
                "payment_id": self.declined,
                "payment_method": self.method,
                "idempotency_key": KEY,
            },
            "shop.payments.timeline": {"payment_id": self.held},
            "shop.payments.void": {"payment_id": self.held, "idempotency_key": KEY},
            "shop.disputes.accept": {"dispute_id": self.dispute},
            "shop.disputes.get": {"dispute_id": self.dispute},
            "shop.disputes.submit_evidence": {
                "dispute_id": self.dispute,
                "exhibits": {"tracking_number": "1Z-999"},
            },
            "shop.operations.find": {"idempotency_key": KEY},
            "shop.operations.get": {"operation_id": self.in_review},
            "shop.operations.resolve": {
                "operation_id": self.in_review,
                "outcome": "aborted",
                "actor": "Ada",
                "reason": "looked it up",
            },
            "vault.on_behalf_of": {"actor": "Ada"},
            "shop.vault.on_behalf_of": {"actor": "Ada"},
            "shop.payouts.create": {"amount": eur("1"), "idempotency_key": KEY},
            "shop.payouts.get": {"payout_id": self.payout},
            "shop.payouts.payable": {"currency": "EUR"},
            "shop.payouts.plan": {"currency": "EUR"},
            "shop.payouts.set_plan": {"minimum": eur("5")},
            "shop.payouts.sweep": {"currency": "EUR", "idempotency_key": KEY},
            "shop.payouts.timeline": {"payout_id": self.payout},
            "shop.ledger.balance": {"account": "fees", "currency": "EUR"},
            "shop.ledger.statement": {"month": "2030-01"},
            "vault.retire": {"unused_for": timedelta(days=1)},
            "shop.vault.retire": {"unused_for": timedelta(days=1)},
            "shop.vault.export": {"public_key": PUBLIC_KEY, "actor": "Ada", "purpose": "moving"},
            "shop.vault.import_": {"data": self.export, "private_key": PRIVATE_KEY},
        }
        return needed.get(name, {})


def a_payout(till: Till) -> str:
    """What was settled a moment ago is on its way to the merchant."""
    sold = till.sold()
    book(till, sold, settled=sold.facts.captured)
    return till.shop.payouts.create(eur("50"), idempotency_key="paid-out").id


def a_notice(till: Till, payment_id: str) -> BankNotice:
    """The bank says again what it has said."""
    operation = till.latest(till.shop.payments.get(payment_id))
    reply = till.bank.inquire(till.merchant_id, operation.id, timeout_s=1)
    return BankNotice(id="n1", merchant_id=till.merchant_id, reply=reply, at=till.clock())


def a_delivery(till: Till) -> dict[str, Any]:
    """The bank has said approved, and tells that it was not."""
    till.bank.next(Fault.CONTRADICT)
    till.sold(number=NO_FUNDS)
    [delivery] = till.bank.deliveries()
    return delivery._asdict()


def a_dispute(till: Till) -> str:
    """One that the bank has opened and told of."""
    till.bank.disputes.open(till.merchant_id, till.latest(till.sold()).id)
    [notice] = till.bank.notices()
    till.pay.notices.apply(notice)
    till.bank.acknowledge(notice.id)
    return next(till.shop.disputes.list()).id


def method_named(pay: PayPlatform, till: Till, name: str) -> Callable[..., Any]:
    found: Any = pay
    for part in name.split("."):
        found = till.shop if part == "shop" else getattr(found, part)
    assert callable(found)
    return found  # type: ignore[no-any-return]  # found by its name


def an_operation_in_review(till: Till) -> str:
    """One whose bank lost every answer, until the patience of an impatient platform had an end."""
    impatient = PayPlatform(
        storage=till.storage,
        bank=till.watched,
        keys=till.keys,
        now=till.clock,
        settings=Settings(recovery_schedule_s=(0,)),
    )
    till.bank.next(Fault.LOSE_REPLY)
    with suppress(OutcomeUnknown):
        till.sold(idempotency_key="lost")
    till.bank.next(Fault.LOSE_REPLY, on=Call.INQUIRY)
    impatient.recover()
    operation = till.shop.operations.find(idempotency_key="lost")
    assert operation is not None
    assert operation.state == "needs_review"
    return operation.id


def a_passed_challenge(till: Till) -> str:
    waiting = till.sold(number=CHALLENGED)
    till.bank.complete_challenge(till.latest(waiting).id)
    return waiting.id


def public_methods() -> Iterator[tuple[str, inspect.Signature]]:
    till = Till()
    rooms = {"": till.pay, "merchants.": till.pay.merchants, "events.": till.pay.events}
    rooms |= {"notices.": till.pay.notices, "vault.": till.pay.vault}
    rooms |= {f"shop.{name}.": room for name, room in vars(till.shop).items() if name != "id"}
    known = {name for name in vars(till.pay) if not name.startswith("_")}
    assert known == {"merchants", "events", "notices", "vault"}, (
        "a new room of the platform has to be looked at here"
    )
    for prefix, room in rooms.items():
        for name, function in inspect.getmembers(room, inspect.ismethod):
            if not name.startswith("_") and function.__self__ is room:
                yield prefix + name, inspect.signature(function)
    till.close()
