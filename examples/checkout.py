"""A small shop's checkout: a cart, a saved card, 3-D Secure, and everything that can go wrong.

The rule that the whole file serves: the idempotency key is kept with the order, and is there before
the bank is asked. A try keeps its key until it has ended; only then the next one gets a new key.

    python examples/checkout.py
"""

from __future__ import annotations

from dataclasses import dataclass, field

from payplatform import (
    Advice,
    BankUnavailable,
    Card,
    Conflict,
    Customer,
    InvalidRequest,
    MerchantClient,
    Money,
    NotAllowed,
    NotFound,
    OutcomeUnknown,
    Payment,
    PaymentStatus,
    PayPlatform,
    PayPlatformError,
    StorageUnavailable,
    VaultError,
)
from payplatform.banks.simulated import Fault, SimulatedBank
from payplatform.errors import StorageBusy
from payplatform.keys.local import LocalKeyService
from payplatform.ports import Changes
from payplatform.storage.memory import MemoryStorage

PAID = "Thank you! Your books are on their way."
CONFIRM = "Please confirm the payment with your bank."
PATIENCE = "We are looking into your payment. Please do not pay again; we write to you."
LATER = "We cannot reach the bank. You have not been charged. Please try again."
BUSY = "One moment, please."


@dataclass
class Order:
    """What the shop keeps of an order. In a real shop: a row, saved before the bank is asked."""

    number: int
    cart: dict[str, Money]
    tries: int = 1
    card_id: str | None = None
    payment_id: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def total(self) -> Money:
        return sum(self.cart.values(), Money.zero("EUR"))

    @property
    def key(self) -> str:
        """The name of what is being tried: the same until it has ended one way or the other."""
        return f"order-{self.number}-try-{self.tries}"

    def has_ended(self, payment_id: str | None) -> None:
        """There was a definite answer. Whatever comes next is something new, under a new key."""
        self.tries += 1
        self.card_id = None
        self.payment_id = payment_id


class Checkout:
    """Takes orders to their payment. Each method returns what the customer reads."""

    def __init__(self, shop: MerchantClient) -> None:
        self.shop = shop

    def pay(self, order: Order, card_id: str, security_code: str | None = "123") -> str:
        """The button "Pay now", and everything that happens when it is pressed again."""
        # Until a try has ended it stays with its card: another card would be another request.
        order.card_id = order.card_id or card_id
        try:
            if order.payment_id is None:
                payment = self.shop.payments.charge(
                    order.total,
                    payment_method=order.card_id,
                    security_code=security_code,
                    idempotency_key=order.key,
                    reference=f"Order {order.number}",
                )
            else:
                payment = self.shop.payments.retry(
                    order.payment_id,
                    payment_method=order.card_id,
                    security_code=security_code,
                    idempotency_key=order.key,
                )
        except PayPlatformError as error:
            return self._after_error(order, error)
        return self._after_answer(order, payment)

    def come_back(self, order: Order) -> str:
        """The customer returns from the bank's page."""
        assert order.payment_id is not None
        try:
            payment = self.shop.payments.resume(order.payment_id, idempotency_key=order.key)
        except PayPlatformError as error:
            return self._after_error(order, error)
        return self._after_answer(order, payment)

    def _after_answer(self, order: Order, payment: Payment) -> str:
        if payment.status is PaymentStatus.CAPTURED:
            return PAID
        if payment.status is PaymentStatus.REQUIRES_ACTION:
            order.has_ended(payment.id)
            assert payment.action is not None
            return f"{CONFIRM} ({payment.action.url.partition('challenge')[0]}...)"
        if payment.decline is None:
            return PATIENCE  # the bank will tell later
        return self._after_decline(order, payment)

    def _after_decline(self, order: Order, payment: Payment) -> str:
        """A definite no. The advice says what may help."""
        order.has_ended(payment.id)
        assert payment.decline is not None
        decline = payment.decline
        match decline.advice:
            case Advice.DO_NOT_RETRY:  # hard, or a card that is not accepted here
                order.notes.append(f"{decline.kind}: never offer this card again")
            case Advice.RETRY_LATER | Advice.CONTACT_ISSUER:  # soft, technical
                order.notes.append(f"{decline.kind}: same card not before {decline.retry_after}")
            case Advice.CORRECT_AND_RETRY:  # fix_data
                order.notes.append(f"{decline.kind}: show the card form again")
            case Advice.AUTHENTICATE_AND_RETRY:  # needs_auth
                order.notes.append(f"{decline.kind}: try again while the customer is here")
            case Advice.CONTACT_ACQUIRER:  # config
                order.notes.append(f"{decline.kind}: wake somebody up, it is our set-up")
        return decline.customer_message

    def _after_error(self, order: Order, error: PayPlatformError) -> str:
        """Nothing definite came back, or nothing was done. The class says which."""
        order.notes.append(f"{type(error).__name__} ({error.code})")
        match error:
            case OutcomeUnknown():
                return PATIENCE  # money may have moved: same key again, or recover()
            case BankUnavailable():
                order.has_ended(error.payment_id)  # no money moved: the next try is a new one
                return LATER
            case Conflict():
                return BUSY  # somebody pressed twice: keep the key
            case StorageUnavailable() | VaultError():
                return BUSY  # nothing was sent: keep the key, mend the store or the keys
            case InvalidRequest() | NotFound() | NotAllowed():
                raise error  # our own mistake: a test should have found it
            case _:
                raise error


def card_form(shop: MerchantClient, customer_id: str, number: str) -> str:
    """The page on which a card is typed. What is wrong with it is known before a bank is asked."""
    try:
        method = shop.payment_methods.create(customer=customer_id, card=Card(number, "12/30"))
    except InvalidRequest as error:
        return f"Please check the {error.field} of your card. ({error.code})"
    return method.id


def tell(what: str, order: Order, said: str) -> None:
    print(f"{what}\n    customer reads: {said}")
    for note in order.notes:
        print(f"    shop notes:     {note}")
    order.notes.clear()


BOOKS = {
    "A Mathematical Theory of Communication": Money("24.00", "EUR"),
    "Sketch of the Analytical Engine": Money("18.00", "EUR"),
}

ONE_OF_EACH_KIND = {
    "hard": "4000 0000 0000 9987",
    "soft": "4000 0000 0000 9995",
    "fix_data": "4000 0000 0000 0127",
    "needs_auth": "4000 0000 0001 0209",
    "config": "4000 0000 0001 0266",
    "technical": "4000 0000 0000 0119",
}


def the_card_form(checkout: Checkout, ada: Customer) -> str:
    said = card_form(checkout.shop, ada.id, "4242 4242 4242 4224")
    print(f"    customer reads: {said}")
    assert "card_number_check_digit" in said
    return card_form(checkout.shop, ada.id, "4242 4242 4242 4242")


def an_impatient_customer(checkout: Checkout, good: str) -> None:
    order = Order(1, BOOKS)
    assert checkout.pay(order, good) == PAID
    assert checkout.pay(order, good) == PAID  # the same key: told again, not charged again
    tell("pressed twice, charged once", order, PAID)


def a_challenge(checkout: Checkout, bank: SimulatedBank, ada: Customer) -> None:
    card = card_form(checkout.shop, ada.id, "4000 0000 0000 3220")
    order = Order(2, BOOKS)
    tell("challenged", order, checkout.pay(order, card))
    tell("back too early", order, checkout.come_back(order))
    assert order.payment_id is not None
    action = checkout.shop.payments.get(order.payment_id).action
    assert action is not None
    bank.complete_challenge(action.url)
    tell("confirmed, and back again", order, checkout.come_back(order))
    assert checkout.shop.payments.get(order.payment_id).captured == order.total


def every_kind_of_decline(checkout: Checkout, ada: Customer, good: str) -> None:
    for number, (kind, card_number) in enumerate(ONE_OF_EACH_KIND.items(), start=3):
        order = Order(number, BOOKS)
        said = checkout.pay(order, card_form(checkout.shop, ada.id, card_number))
        assert order.notes[0].startswith(kind), order.notes
        tell(kind, order, said)
        assert checkout.pay(order, good) == PAID  # a new try, of the same payment


def a_bank_that_is_down(checkout: Checkout, bank: SimulatedBank, good: str) -> None:
    order = Order(9, BOOKS)
    bank.down()
    said = checkout.pay(order, good)
    bank.up()
    tell("refused at the door", order, said)
    assert said == LATER
    assert checkout.pay(order, good) == PAID


def a_lost_answer(checkout: Checkout, bank: SimulatedBank, good: str) -> None:
    order = Order(10, BOOKS)
    bank.next(Fault.LOSE_REPLY)
    said = checkout.pay(order, good)
    tell("charged, but nobody told us", order, said)
    assert said == PATIENCE
    assert checkout.pay(order, good) == PAID


def a_busy_store(checkout: Checkout, storage: Moody, good: str) -> None:
    order = Order(11, BOOKS)
    storage.busy = True
    said = checkout.pay(order, good)
    storage.busy = False
    tell("before the bank was asked", order, said)
    assert checkout.pay(order, good) == PAID


class Moody(MemoryStorage):
    """A store that is busy when we say so, as a disk is now and then."""

    busy = False

    def commit(self, changes: Changes) -> None:
        if self.busy:
            raise StorageBusy("somebody else holds the store")
        super().commit(changes)


def main() -> None:
    bank, storage = SimulatedBank(), Moody()
    with PayPlatform(storage=storage, bank=bank, keys=LocalKeyService.ephemeral()) as pay:
        shop = pay.merchant(pay.merchants.create(name="Acme Books").id)
        checkout = Checkout(shop)
        ada = shop.customers.create(name="Ada", email="ada@example.com")

        print("== The card form")
        good = the_card_form(checkout, ada)
        print("== A saved card, and an impatient customer")
        an_impatient_customer(checkout, good)
        print("== 3-D Secure")
        a_challenge(checkout, bank, ada)
        print("== One decline of each kind, then another card")
        every_kind_of_decline(checkout, ada, good)
        print("== The bank is down: no money moved, so a new try is safe")
        a_bank_that_is_down(checkout, bank, good)
        print("== The answer is lost: the same key finds out")
        a_lost_answer(checkout, bank, good)
        print("== The store is busy: nothing was sent")
        a_busy_store(checkout, storage, good)

        sales = [line for line in bank.statement(shop.id) if line.kind == "sale"]
        paid = list(shop.payments.list(status=PaymentStatus.CAPTURED))
        print(f"== {len(paid)} orders were paid, and the bank has {len(sales)} sales: the same")
        assert len(sales) == len(paid) == 11
        assert pay.doctor().ok


if __name__ == "__main__":
    main()
