"""The story that `payplatform demo` tells, as data: scenes, made of parts, one call each.

Law of this file: what is shown is what is run. The code on the screen is the source of the function
that was called, and every figure is read from the library, the bank or a file when it is told.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from payplatform._domain.cards import Card
from payplatform._domain.money import Money, plain
from payplatform._domain.payments import Payment
from payplatform._domain.records import Customer, PaymentMethod
from payplatform.banks.simulated import Fault, SimulatedBank
from payplatform.cli import _calls as calls
from payplatform.cli._bank_books import by_authorization, compare
from payplatform.cli._calls import Clock
from payplatform.cli._screen import advice_text, effects_text
from payplatform.client.platform import MerchantClient, PayPlatform
from payplatform.errors import BankUnavailable, OutcomeUnknown, PayPlatformError

GOOD_CARD = "4242 4242 4242 4242"
POOR_CARD = "4000 0000 0000 9995"
CHALLENGED_CARD = "4000 0000 0000 3220"


@frozen
class Part:
    """One thing that happens.

    Attributes:
        said: what and why, in plain words.
        call: the function whose body is shown; it has been run.
        facts: what came of it, by name.
        columns: of the table, if there is one.
        rows: of the table; money, numbers and text.
        moral: what to keep in mind.
    """

    said: str
    call: Callable[..., Any] | None = None
    facts: Mapping[str, object] = field(factory=dict)
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    moral: str | None = None


@frozen
class Scene:
    """A few parts under one title."""

    title: str
    parts: Sequence[Part]


@define
class Tour:
    """Plays the story once, in a folder that it is given.

    Attributes:
        ended_well: whether at the end the books agreed and doctor found nothing.
    """

    folder: Path
    clock: Clock
    ended_well: bool = False

    def scenes(self) -> Iterator[Scene]:
        """Each scene as soon as it has been played."""
        with closing(SimulatedBank(self.folder / "shop.db.bank", now=self.clock)) as bank:
            pay, shop, ada = calls.open_shop(self.folder / "shop.db", bank, self.clock)
            with pay:
                yield from self._played(pay, shop, bank, ada)

    def _played(
        self, pay: PayPlatform, shop: MerchantClient, bank: SimulatedBank, ada: Customer
    ) -> Iterator[Scene]:
        yield self._opened(shop)
        card = calls.keep_card(shop, ada, GOOD_CARD, self._expiry)
        yield self._kept(card)
        yield self._charged(shop, bank, card)
        yield self._declined(shop, card, self._card(shop, ada, POOR_CARD))
        yield self._challenged(shop, bank, self._card(shop, ada, CHALLENGED_CARD))
        yield self._delivered(shop, card)
        yield self._lost(pay, shop, bank, card)
        yield self._books(pay, shop, bank)

    @property
    def _expiry(self) -> str:
        return f"12/{self.clock().year + 3}"

    def _card(self, shop: MerchantClient, customer: Customer, number: str) -> PaymentMethod:
        self.clock.move_on(minutes=3)
        return shop.payment_methods.create(customer=customer.id, card=Card(number, self._expiry))

    def _opened(self, shop: MerchantClient) -> Scene:
        roles = {
            "shop.db": "the books: payments, events, postings, sealed cards",
            "shop.db.key": "the master key, which opens the cards; for its owner alone",
            "shop.db.bank": "the simulated bank's own books, which we only see as a statement",
        }
        files = [(name, role) for name, role in roles.items() if (self.folder / name).exists()]
        part = Part(
            "Nothing to install beside it, no account, no network: SQLite, a key file and a "
            "simulated bank. One database holds as many merchants as you like; each sees only "
            "what is its own.",
            calls.open_shop,
            {"merchant": shop.id},
            columns=("file", "what it is"),
            rows=files,
        )
        return Scene("Open a shop", [part])

    def _kept(self, card: PaymentMethod) -> Scene:
        kept = Part(
            "Ada types her card. It is checked, encrypted under a key of this merchant's own, "
            "and replaced by an id. The id is all that the shop works with from here on.",
            calls.keep_card,
            {"id": card.id, "shown as": card.masked, "brand": card.brand},
        )
        searched = [
            (file.name, file.stat().st_size, _found(GOOD_CARD, file.read_bytes()))
            for file in sorted(self.folder.iterdir())
        ]
        proof = Part(
            "Is the number really nowhere? Every byte of every file was searched for it: plain, "
            "with spaces, in hexadecimal and in base64.",
            columns=("file", "bytes", "number found"),
            rows=searched,
            moral="Who takes the database without the key file has no card.",
        )
        return Scene("Keep the card, and not its number", [kept, proof])

    def _charged(self, shop: MerchantClient, bank: SimulatedBank, card: PaymentMethod) -> Scene:
        payment = calls.charge(shop, card, "123")
        told = Part(
            "The security code goes to the bank once and is stored nowhere. The idempotency key "
            "is yours: make it before the first try, and keep it with the order.",
            calls.charge,
            _facts(payment, "captured", "refundable"),
        )
        again = calls.charge(shop, card, "123")
        effects = bank.effects(shop.id, shop.payments.operations(payment.id)[0].id)
        repeated = Part(
            "Was the button pressed twice? The same call again, with the same key, tells the "
            "same and moves nothing.",
            facts={
                "same payment": again.id == payment.id,
                "told again": again.replayed,
                "charges at the bank": effects,
            },
        )
        return Scene("Charge it", [told, repeated])

    def _declined(
        self, shop: MerchantClient, card: PaymentMethod, poor_card: PaymentMethod
    ) -> Scene:
        payment = calls.charge_poor_card(shop, poor_card)
        decline = payment.decline
        no = Part(
            "A decline is an answer, not an exception: the bank said no, nothing was taken.",
            calls.charge_poor_card,
            {
                "status": payment.status,
                "the customer reads": decline and decline.customer_message,
                "your log says": decline and f"{decline.code}: {decline.message}",
                "what to do": decline and advice_text(decline),
            },
        )
        self.clock.move_on(minutes=1)
        payment = calls.try_other_card(shop, payment, card)
        other = Part(
            "Ada takes her other card. It is the same purchase, so it is the same payment; but a "
            "new try, so a new key.",
            calls.try_other_card,
            _facts(payment, "captured"),
        )
        return Scene("A card is declined", [no, other])

    def _challenged(self, shop: MerchantClient, bank: SimulatedBank, card: PaymentMethod) -> Scene:
        payment = calls.charge_challenged_card(shop, card)
        action = payment.action
        asked = Part(
            "The card's bank wants to know that it is Ada (3-D Secure). The payment waits; your "
            "page sends her to an address.",
            calls.charge_challenged_card,
            {"status": payment.status, "address": action and action.url},
        )
        if action is not None:
            bank.complete_challenge(action.url)
        self.clock.move_on(minutes=2)
        payment = calls.resume(shop, payment)
        passed = Part(
            "She has confirmed it in her banking app and is back on your page.",
            calls.resume,
            _facts(payment, "captured"),
        )
        return Scene("The bank asks who is there", [asked, passed])

    def _delivered(self, shop: MerchantClient, card: PaymentMethod) -> Scene:
        self.clock.move_on(hours=1)
        payment = calls.authorize(shop, card)
        held = Part(
            "Three books are ordered. The money is held now, and taken when the parcel leaves.",
            calls.authorize,
            _facts(payment, "authorized", "capturable"),
        )
        self.clock.move_on(days=1)
        payment = calls.capture(shop, payment)
        taken = Part(
            "One book is out of print: take what was sent, and let go of the rest, which the "
            "bank is told too.",
            calls.capture,
            _facts(payment, "captured", "voided", "capturable"),
        )
        self.clock.move_on(days=2)
        payment = calls.refund(shop, payment)
        back = Part(
            "A page is torn; some money goes back. Never more than was taken, however many ask "
            "at once: an amount is reserved before the bank is asked.",
            calls.refund,
            _facts(payment, "refunded", "refundable"),
        )
        return Scene("Hold, take a part, give a part back", [held, taken, back])

    def _lost(
        self, pay: PayPlatform, shop: MerchantClient, bank: SimulatedBank, card: PaymentMethod
    ) -> Scene:
        self.clock.move_on(hours=5)
        bank.next(Fault.LOSE_REPLY)
        trouble = _trouble(lambda: calls.charge_on_bad_line(shop, card), OutcomeUnknown)
        no_reply = Part(
            "The bank takes the money, and its answer is lost on the way. Was Ada charged? "
            "Nobody here can know, and so nobody guesses: a timeout is never a decline.",
            calls.charge_on_bad_line,
            {"raises": f"{type(trouble).__name__}: {trouble.message}"},
        )
        self.clock.move_on(seconds=20)
        payment = calls.charge_on_bad_line(shop, card)
        effects = bank.effects(shop.id, shop.payments.operations(payment.id)[0].id)
        told = Part(
            "So the same call is made again, with the same key. The bank is asked what became "
            "of the first one, and that is what is told.",
            calls.charge_on_bad_line,
            {**_facts(payment, "captured"), "charges at the bank": effects},
        )
        return Scene(
            "A reply is lost, a request is lost",
            [no_reply, told, *self._dead(pay, shop, bank, card)],
        )

    def _dead(
        self, pay: PayPlatform, shop: MerchantClient, bank: SimulatedBank, card: PaymentMethod
    ) -> Iterator[Part]:
        self.clock.move_on(minutes=10)
        bank.next(Fault.LOSE_REQUEST)
        trouble = _trouble(lambda: calls.charge_on_dead_line(shop, card), OutcomeUnknown)
        yield Part(
            "Another time the request itself is lost. From here it looks just the same, and so "
            "it is told just the same.",
            calls.charge_on_dead_line,
            {"raises": type(trouble).__name__},
        )
        first = calls.recover(pay)
        self.clock.move_on(minutes=2)
        second = calls.recover(pay)
        payment = next(shop.payments.list())
        yield Part(
            "Nobody calls again; recover() is run every minute or so. At first the bank has not "
            "heard of the charge, which proves nothing: it may be on its way. Two minutes later "
            "it can't be, and is reversed, so that the bank will never do it.",
            calls.recover,
            {
                "at once": f"{first.unresolved} still unclear",
                "two minutes later": f"{second.aborted} ended for good",
                **_facts(payment, "captured"),
                "charges at the bank": bank.effects(shop.id, _first_operation(shop, payment)),
            },
        )
        refusal = _trouble(lambda: calls.charge_on_dead_line(shop, card), BankUnavailable)
        yield Part(
            "And the shop, should it call once more with that key, is told so.",
            facts={"raises": f"{type(refusal).__name__}: {refusal.message}"},
            moral="Same key after a doubt; a new key only when you are told that it is safe.",
        )

    def _books(self, pay: PayPlatform, shop: MerchantClient, bank: SimulatedBank) -> Scene:
        self.clock.move_on(minutes=1)
        payments, lines, report = calls.read_books(shop, bank, pay)
        told = next(p for p in payments if p.voided)
        timeline = calls.read_timeline(shop, told)
        story = Part(
            "Every change to a payment is an event, numbered without a gap. This is the parcel's:",
            calls.read_timeline,
            columns=("no.", "what happened", "amounts"),
            rows=[(event.number, event.words, effects_text(event)) for event in timeline],
        )
        statement = by_authorization(lines)
        compared = [compare(shop, statement, payment) for payment in reversed(payments)]
        agree = all(comparison.are_equal for comparison in compared)
        self.ended_well = agree and report.ok
        books = Part(
            "And do we have what the bank has? Our books on the left, the bank's statement, "
            "which is kept by other code in another file, on the right.",
            calls.read_books,
            columns=("status", "we took", "gave back", "bank took", "it gave back", "equal"),
            rows=[
                (
                    comparison.payment.status,
                    _figure(comparison.ours.captured),
                    _figure(comparison.ours.refunded),
                    _figure(comparison.banks.captured),
                    _figure(comparison.banks.refunded),
                    comparison.are_equal,
                )
                for comparison in compared
            ],
            facts={"books agree": agree, "doctor finds all well": report.ok},
        )
        return Scene("The history, and the books", [story, books])


def _facts(payment: Payment, *amounts: str) -> dict[str, object]:
    return {"status": payment.status, **{name: getattr(payment, name) for name in amounts}}


def _first_operation(shop: MerchantClient, payment: Payment) -> str:
    return shop.payments.operations(payment.id)[0].id


def _figure(money: Money) -> str:
    return plain(money)


def _trouble(call: Callable[[], object], kind: type[PayPlatformError]) -> PayPlatformError:
    """The error that a call ends in.

    Raises:
        AssertionError: it ends in none; then the story is not true.
    """
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was to be raised")


def _found(number: str, content: bytes) -> bool:
    """Whether a card number stands in bytes, in any of the forms that people think of."""
    digits = number.replace(" ", "").encode()
    forms = (
        digits,
        number.encode(),
        number.replace(" ", "-").encode(),
        digits.hex().encode(),
        digits.hex().upper().encode(),
        int(digits).to_bytes(8, "big"),
        int(digits).to_bytes(8, "little"),
        digits.decode().encode("utf-16-le"),
        # In base64 three bytes are four letters, so there are three ways that it may be cut.
        *(base64.b64encode(b" " * skipped + digits)[skipped * 2 : -4] for skipped in range(3)),
    )
    return any(form in content for form in forms)
