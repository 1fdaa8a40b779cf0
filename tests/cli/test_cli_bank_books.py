"""Our books beside the bank's: every line of the statement counts."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from payplatform import Card, MerchantClient, Money, PaymentStatus, PayPlatform
from payplatform.banks.simulated import Fault, SimulatedBank, StatementLine
from payplatform.cli._bank_books import by_authorization, compare, differences
from payplatform.keys.local import LocalKeyService
from payplatform.storage.sqlite import SQLiteStorage

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Shop:
    """A merchant with one card, and a clock to move on."""

    def __init__(self) -> None:
        self.time = NOON
        self.bank = SimulatedBank(now=lambda: self.time)
        self.pay = PayPlatform.sandbox(bank=self.bank, now=lambda: self.time)
        self.client: MerchantClient = self.pay.merchant(self.pay.merchants.create(name="Acme").id)
        card = Card("4242 4242 4242 4242", "12/30")
        self.card = self.client.payment_methods.create(card=card).id

    def authorize(self, key: str = "a") -> str:
        return self.client.payments.authorize(
            Money("120", "EUR"), payment_method=self.card, idempotency_key=key
        ).id

    def statement(self) -> list[StatementLine]:
        return list(self.bank.statement(self.client.id))


def test_each_line_of_the_statement_is_needed_for_the_books_to_agree() -> None:
    shop = Shop()
    payments = shop.client.payments
    payment = shop.authorize()
    payments.increment(payment, Money("30", "EUR"), idempotency_key="i")
    payments.capture(payment, Money("50", "EUR"), idempotency_key="c")
    payments.void(payment, Money("20", "EUR"), idempotency_key="v")
    payments.capture(payment, Money("70", "EUR"), final=True, idempotency_key="f")
    payments.refund(payment, Money("15", "EUR"), idempotency_key="r")
    found, lines = payments.get(payment), shop.statement()

    assert compare(shop.client, by_authorization(lines), found).are_equal
    assert len(lines) == 7
    for line in lines:
        others = [other for other in lines if other is not line]
        assert not compare(shop.client, by_authorization(others), found).are_equal, line.kind
    shop.pay.close()


def test_a_sale_is_authorized_and_captured_in_one_line() -> None:
    shop = Shop()
    payment = shop.client.payments.charge(
        Money("9", "EUR"), payment_method=shop.card, idempotency_key="s"
    )

    assert compare(shop.client, by_authorization(shop.statement()), payment).are_equal
    assert not compare(shop.client, {}, payment).are_equal
    shop.pay.close()


def test_what_has_lapsed_and_is_not_booked_yet_is_no_difference() -> None:
    shop = Shop()
    shop.authorize()
    shop.time += timedelta(days=30)

    before = differences(shop.pay, shop.bank)
    booked = shop.pay.recover().expired
    after = differences(shop.pay, shop.bank)

    assert (before, booked, after) == ((1, []), 1, (1, []))
    shop.pay.close()


def test_what_is_under_way_is_not_compared() -> None:
    shop = Shop()
    payment = shop.authorize()
    shop.bank.next(Fault.LOSE_REPLY)
    try:
        shop.client.payments.capture(payment, idempotency_key="c")
    except Exception:  # noqa: BLE001  # which error it is, others test
        assert shop.client.payments.get(payment).status is PaymentStatus.UNKNOWN

    assert differences(shop.pay, shop.bank) == (0, [])
    shop.pay.close()


def test_what_only_the_bank_has_is_a_difference(tmp_path: Path) -> None:
    """Books that were restored from a backup know nothing of what came after it."""
    bank, keys = SimulatedBank(), LocalKeyService.ephemeral()
    storage = SQLiteStorage(tmp_path / "shop.db")
    pay = PayPlatform(storage=storage, bank=bank, keys=keys)
    client = pay.merchant(pay.merchants.create(name="Acme").id)
    card = client.payment_methods.create(card=Card("4242424242424242", "12/40")).id
    storage.backup(tmp_path / "older.db")
    restored = PayPlatform(storage=SQLiteStorage(tmp_path / "older.db"), bank=bank, keys=keys)
    nine = Money("9", "EUR")
    forgotten = client.payments.charge(nine, payment_method=card, idempotency_key="s")

    assert differences(pay, bank) == (1, [])
    assert differences(restored, bank) == (0, [forgotten.latest_operation_id])
    restored.close()
    pay.close()
