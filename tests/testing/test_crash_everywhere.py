"""`@pay_crash_everywhere` passes a checkout that is right, and tells how a wrong one failed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from attrs import define, evolve

from payplatform import (
    BankUnavailable,
    Card,
    MerchantClient,
    Money,
    OutcomeUnknown,
    Payment,
    PayPlatformError,
)
from payplatform.banks.simulated import (
    FULL_CAPABILITIES,
    LineState,
    SimulatedBank,
    StatementLine,
)
from payplatform.ports import BankReply, BankRequest, Changes, ReplyOutcome, RequestKind
from payplatform.storage.memory import MemoryStorage
from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing import FakeClock, NamedCards, pay_crash_everywhere
from payplatform.testing.crash_everywhere import Act, World, crash_everywhere
from payplatform.testing.mortal import Fate

pytest_plugins = ["pytester", "payplatform.testing.plugin"]

TOTAL = Money("42.00", "EUR")
THANKS, LATER, PATIENCE = "Thank you!", "Please try again.", "We are looking into it."


@define
class Order:
    """What a shop keeps of an order."""

    card: str
    tries: int = 1
    payment: str | None = None

    @property
    def key(self) -> str:
        return f"order-1-try-{self.tries}"


Checkout = Callable[[MerchantClient, Order], object]


def charge(shop: MerchantClient, order: Order, key: str) -> Payment:
    return shop.payments.charge(TOTAL, payment_method=order.card, idempotency_key=key)


def right(shop: MerchantClient, order: Order) -> str:
    """One key until the try has ended, one way or the other."""
    try:
        charge(shop, order, order.key)
    except OutcomeUnknown:
        return PATIENCE
    except BankUnavailable:
        order.tries += 1
        return LATER
    return THANKS


def new_key_each_time(shop: MerchantClient, order: Order) -> str:
    order.tries += 1
    return right(shop, order)


def new_key_on_doubt(shop: MerchantClient, order: Order) -> str:
    try:
        charge(shop, order, order.key)
    except PayPlatformError:
        order.tries += 1
        return LATER
    return THANKS


def old_key_for_ever(shop: MerchantClient, order: Order) -> str:
    try:
        charge(shop, order, "order-1")
    except PayPlatformError:
        return LATER
    return THANKS


def thanks_for_nothing(shop: MerchantClient, order: Order) -> str:
    try:
        return right(shop, order)
    except PayPlatformError:
        return THANKS


def an_order(shop: MerchantClient) -> Order:
    card = Card("4242 4242 4242 4242", "12/40")
    return Order(shop.payment_methods.create(card=card).id)


def with_an_order(checkout: Checkout) -> Callable[[MerchantClient], Act]:
    def prepare(shop: MerchantClient) -> Act:
        order = an_order(shop)
        return lambda shop: checkout(shop, order)

    return prepare


def failure(checkout: Checkout, world: World) -> str:
    with pytest.raises(AssertionError) as caught:
        crash_everywhere(with_an_order(checkout), world=world)
    return str(caught.value)


# What is right passes.


@pay_crash_everywhere
def test_a_checkout_with_one_key_for_each_try_passes(shop: MerchantClient) -> Act:
    order = an_order(shop)
    return lambda shop: right(shop, order)


@pay_crash_everywhere
def test_a_payment_is_an_answer_by_its_status(shop: MerchantClient) -> Act:
    order = an_order(shop)

    def charged(shop: MerchantClient) -> Payment:
        try:
            return charge(shop, order, order.key)
        except BankUnavailable:
            order.tries += 1
            raise

    return charged


@pay_crash_everywhere
def test_an_exception_is_no_answer_even_if_there_is_none_to_give(shop: MerchantClient) -> Act:
    order = an_order(shop)

    def silent(shop: MerchantClient) -> None:
        try:
            charge(shop, order, order.key)
        except BankUnavailable:
            order.tries += 1
            raise

    return silent


@pay_crash_everywhere
def test_a_decline_is_an_answer(shop: MerchantClient, pay_cards: NamedCards) -> Act:
    order = Order(shop.payment_methods.create(card=pay_cards.declines).id)

    def declined(shop: MerchantClient) -> str:
        try:
            payment = charge(shop, order, order.key)
        except BankUnavailable:
            order.tries += 1
            raise
        assert payment.decline is not None
        return payment.decline.customer_message

    return declined


@pay_crash_everywhere
def test_a_story_of_many_calls_passes_a_challenge_among_them(
    shop: MerchantClient, pay_cards: NamedCards, pay_bank: SimulatedBank
) -> Act:
    order = Order(shop.payment_methods.create(card=pay_cards.needs_challenge).id)

    def authorize(shop: MerchantClient) -> Payment:
        try:
            return shop.payments.authorize(
                TOTAL, payment_method=order.card, idempotency_key=order.key
            )
        except BankUnavailable:
            order.tries += 1
            raise

    def shipped(shop: MerchantClient) -> str:
        payment = authorize(shop)
        if payment.action is not None:
            with suppress(LookupError):  # it may have been passed before
                pay_bank.complete_challenge(payment.action.url)
            payment = shop.payments.resume(payment.id, idempotency_key=f"{order.key}-resume")
        shop.payments.capture(payment.id, idempotency_key=f"{order.key}-capture")
        return "shipped"

    return shipped


class TestInAClass:
    """A test may be a method, with fixtures and parameters."""

    @pytest.mark.parametrize("cents", [1, 99])
    @pay_crash_everywhere
    def test_any_amount(self, shop: MerchantClient, cents: int, pay_cards: NamedCards) -> Act:
        card = shop.payment_methods.create(card=pay_cards.approves)
        order = Order(card.id)

        def small(shop: MerchantClient) -> str:
            try:
                shop.payments.charge(
                    Money.minor(cents, "EUR"), payment_method=order.card, idempotency_key=order.key
                )
            except BankUnavailable:
                order.tries += 1
                return LATER
            return THANKS

        return small


# What happens, exactly.


def test_it_dies_before_and_after_each_port_call_and_goes_on_in_three_ways(
    pay_world: World,
) -> None:
    """Each pair of a place to die and a way to go on is one order, prepared for itself."""
    prepared, runs = [], []

    def prepare(shop: MerchantClient) -> Act:
        order = an_order(shop)
        prepared.append(shop.id)

        def checked_out(shop: MerchantClient) -> str:
            runs.append(shop.id)
            return right(shop, order)

        return checked_out

    crash_everywhere(prepare, world=pay_world)

    fate = Fate()
    shop = pay_world.process().merchant(prepared[0])
    order = evolve(an_order(shop), tries=2)
    assert right(pay_world.process(fate).merchant(shop.id), order) == THANKS
    calls = fate.calls[1:]  # the first one was to find the merchant
    assert len(prepared) == len(set(prepared)) == 1 + 2 * 3 * len(calls)
    assert all(runs.count(merchant_id) >= 2 for merchant_id in prepared[1:])


def test_the_next_try_is_made_at_once_or_later_or_after_a_recovery(
    pay_world: World, pay_clock: FakeClock
) -> None:
    """Seen where it died just after the bank had done it: what the next try finds, and when."""
    found: dict[str, list[tuple[str | None, float]]] = {}

    def prepare(shop: MerchantClient) -> Act:
        order, start = an_order(shop), pay_clock()
        seen = found.setdefault(shop.id, [])

        def checked_out(shop: MerchantClient) -> str:
            known = shop.operations.find(idempotency_key=order.key)
            state = None if known is None else str(known.state)
            seen.append((state, (pay_clock() - start).total_seconds()))
            return right(shop, order)

        return checked_out

    crash_everywhere(prepare, world=pay_world)

    second_tries = {tries[1] for tries in found.values() if len(tries) > 1}
    assert second_tries == {
        (None, 0.0),
        (None, 120.0),
        ("in_flight", 0.0),
        ("in_flight", 120.0),
        ("succeeded", 0.0),
        ("succeeded", 120.0),
        ("aborted", 120.0),
    }


def test_the_sandbox_of_the_same_test_is_not_in_its_way(
    pay_world: World, pay_shop: MerchantClient
) -> None:
    order = an_order(pay_shop)
    assert right(pay_shop, order) == THANKS

    crash_everywhere(with_an_order(right), world=pay_world)

    assert len(list(pay_shop.payments.list())) == 1


def test_what_a_dead_process_still_does_reaches_nobody(pay_world: World) -> None:
    """Who catches everything, and pays again under another key, pays nothing: it is dead."""

    def stubborn(shop: MerchantClient, order: Order) -> str:
        try:
            return right(shop, order)
        except BaseException as error:
            if not isinstance(error, PayPlatformError):
                charge(shop, order, "another key")
            raise

    crash_everywhere(with_an_order(stubborn), world=pay_world)


def test_what_the_shop_keeps_survives_the_process(pay_world: World) -> None:
    """Otherwise the key could not be the same again."""
    keys: list[str] = []

    def forgetful(shop: MerchantClient, order: Order) -> str:
        order.tries = len(keys)
        keys.append(order.key)
        return right(shop, order)

    assert "Too much money moved" in failure(forgetful, pay_world)


# What is wrong is caught.


@pytest.mark.parametrize(
    ("checkout", "told"),
    [
        (new_key_each_time, "Too much money moved: 1 x sale of 42.00 EUR."),
        (new_key_on_doubt, "Too much money moved: 1 x sale of 42.00 EUR."),
        (old_key_for_ever, "It never answered 'Thank you!' again."),
        (thanks_for_nothing, "Money did not move: 1 x sale of 42.00 EUR."),
    ],
)
def test_a_checkout_that_is_wrong_is_caught(
    checkout: Checkout, told: str, pay_world: World
) -> None:
    assert failure(checkout, pay_world).splitlines()[0] == told


def test_a_failure_tells_the_whole_story(pay_world: World) -> None:
    """Where it died, each try with its key and its answer, and what the bank has booked."""
    assert failure(new_key_each_time, pay_world) == (
        "Too much money moved: 1 x sale of 42.00 EUR.\n"
        "1. A process used key order-1-try-2, and died just after bank.send (sale of 42.00 EUR), "
        "its port call 8.\n"
        "2. At once another used key order-1-try-3, and answered 'Thank you!'.\n"
        "The bank's statement:\n"
        "- sale of 42.00 EUR, booked, key order-1-try-2\n"
        "- sale of 42.00 EUR, booked, key order-1-try-3"
    )


def test_an_error_that_never_ends_is_told_and_is_the_cause(pay_world: World) -> None:
    def always_the_same(shop: MerchantClient, order: Order) -> Payment:
        return charge(shop, order, "order-1")

    with pytest.raises(AssertionError, match="raised BankUnavailable: the sale came to") as caught:
        crash_everywhere(with_an_order(always_the_same), world=pay_world)

    assert isinstance(caught.value.__cause__, BankUnavailable)


def test_a_shop_that_fails_without_any_crash_fails_as_it_does(pay_world: World) -> None:
    def broken(_: MerchantClient, __: Order) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash_everywhere(with_an_order(broken), world=pay_world)


def test_a_test_that_asks_no_bank_proves_nothing(pay_world: World) -> None:
    assert "No bank was asked" in failure(lambda _, __: THANKS, pay_world)


def test_the_shop_of_the_preparation_is_of_no_use_later(pay_world: World) -> None:
    def prepare(shop: MerchantClient) -> Act:
        order = an_order(shop)
        return lambda _: right(shop, order)

    with pytest.raises(AssertionError, match="process is over"):
        crash_everywhere(prepare, world=pay_world)


def test_a_test_without_a_shop_is_refused() -> None:
    with pytest.raises(TypeError, match="takes `shop`"):
        pay_crash_everywhere(lambda pay_cards: pay_cards)


# A store or a bank of one's own is put to the same test.


def test_a_store_in_a_file_passes(pay_world: World, tmp_path: Path) -> None:
    world = evolve(pay_world, storage=SQLiteStorage(tmp_path / "shop.db"))

    crash_everywhere(with_an_order(right), world=world)

    world.storage.close()


class LyingBank(SimulatedBank):
    """It confirms every reversal, and undoes nothing."""

    def inquire(self, merchant_id: str, operation_id: str, *, timeout_s: float) -> BankReply:
        reply = super().inquire(merchant_id, operation_id, timeout_s=timeout_s)
        return evolve(reply, outcome=ReplyOutcome.NOT_FOUND)

    def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
        if request.kind is not RequestKind.REVERSAL:
            return super().send(request, timeout_s=timeout_s)
        return BankReply(
            operation_id=request.operation_id,
            outcome=ReplyOutcome.APPROVED,
            amount=request.amount,
        )


def test_what_is_left_to_a_person_is_told(pay_world: World, pay_clock: FakeClock) -> None:
    """The money is right, and yet somebody has to look at the first try."""
    forgetful = evolve(FULL_CAPABILITIES, reversal_remembers_unknown=False)
    bank = SimulatedBank(now=pay_clock, capabilities=forgetful)
    world = evolve(pay_world, bank=bank, statement=bank.statement)

    told = failure(new_key_each_time, world)

    assert told.startswith("The sale is needs_review: the bank does not know the operation.\n1. A")
    assert told.count("sale of 42.00 EUR, booked") == 1


def test_what_was_put_back_counts_as_not_moved(pay_world: World, pay_bank: SimulatedBank) -> None:
    read: list[str] = []

    def statement(merchant_id: str) -> list[StatementLine]:
        """As the bank's; from the second merchant on with a sale that was reversed."""
        read.append(merchant_id)
        lines = list(pay_bank.statement(merchant_id))
        put_back = [evolve(line, state=LineState.REVERSED) for line in lines]
        return lines if merchant_id == read[0] else lines + put_back

    crash_everywhere(with_an_order(right), world=evolve(pay_world, statement=statement))

    assert len(set(read)) > 1


class LossyStorage(MemoryStorage):
    """It drops what the books say of a commit."""

    def commit(self, changes: Changes) -> None:
        super().commit(evolve(changes, postings=()))


def test_a_bank_that_goes_back_on_its_word_is_caught(
    pay_world: World, pay_clock: FakeClock
) -> None:
    bank = LyingBank(now=pay_clock)
    world = evolve(pay_world, bank=bank, statement=bank.statement)

    assert "Too much money moved" in failure(right, world)


def test_a_store_that_loses_something_is_caught(pay_world: World) -> None:
    world = evolve(pay_world, storage=LossyStorage())

    assert "The doctor found" in failure(right, world)


SOMEBODYS_SHOP = """
import pytest
from payplatform import Money
from payplatform.banks.simulated import SimulatedBank
from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing import pay_crash_everywhere

asked = []


class MyBank:
    def __init__(self, clock):
        self.theirs = SimulatedBank(now=clock)
        self.capabilities = self.theirs.capabilities

    def send(self, request, *, timeout_s):
        asked.append(request.kind)
        return self.theirs.send(request, timeout_s=timeout_s)

    def inquire(self, merchant_id, operation_id, *, timeout_s):
        return self.theirs.inquire(merchant_id, operation_id, timeout_s=timeout_s)

    def read_notice(self, raw, headers):
        return self.theirs.read_notice(raw, headers)

    def describe(self):
        return {}

    def close(self):
        self.theirs.close()


@pytest.fixture
def pay_storage(tmp_path):
    return SQLiteStorage(tmp_path / "shop.db")


@pytest.fixture
def pay_bank(pay_clock):
    return MyBank(pay_clock)


@pytest.fixture
def pay_statement(pay_bank):
    return pay_bank.theirs.statement


@pay_crash_everywhere
def test_the_wrong_way(shop, pay_cards):
    card = shop.payment_methods.create(card=pay_cards.approves)
    keys = iter(range(99))
    return lambda shop: shop.payments.charge(
        Money("9.99", "EUR"), payment_method=card.id, idempotency_key=f"key-{next(keys)}"
    )


def test_all_of_it_went_through_my_adapters(pay_shop, pay_cards, tmp_path):
    assert len(asked) > 10
    pay_shop.payment_methods.create(card=pay_cards.approves)
    assert (tmp_path / "shop.db").exists()
"""


def test_in_somebodys_project_the_story_is_all_that_is_shown(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a store, a bank and a statement of their own, by overriding the fixtures."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    pytester.makepyfile(SOMEBODYS_SHOP)

    result = pytester.runpytest_subprocess("-Werror")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["E*Too much money moved: 1 x sale of 9.99 EUR.", "*1. A process *"]
    )
    assert "crash_everywhere.py" not in result.stdout.str()
