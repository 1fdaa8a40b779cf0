"""Another merchant's ids give exactly what absent ids give, for every public method there is.

How: the methods are found by introspection. Each one that takes an id is called twice by one
merchant, once with an id that belongs to another merchant and once with an id that nobody has.
Type, code, field, text, result and the calls made to the store must be the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from attrs import evolve
from counter import Counter
from counter import public_methods as public_methods_of_all
from till import Till
from typeid import TypeID

from payplatform import Card, MerchantClient, Money, PayPlatform, PayPlatformError
from payplatform._domain.changes import Changes
from payplatform.banks.simulated import SimulatedBank
from payplatform.keys.local import LocalKeyService
from payplatform.ports import BankNotice
from payplatform.storage.memory import MemoryStorage
from payplatform.testing._records import a_payout

ROOMS = (
    *("customers", "payment_methods", "payments", "operations", "disputes"),
    *("vault", "journal", "audit", "ledger", "payouts"),
)

OTHERS: dict[str, Any] = {
    "account": "fees",
    "at": None,
    "first_at": None,
    "interval": "manual",
    "minimum": Money("1.00", "EUR"),
    "reserve": None,
    "since": None,
    "until": None,
    "actor": "Ada",
    "amount": Money("1.00", "EUR"),
    "card": Card("4242424242424242", "12/40"),
    "created_before": None,
    "created_from": None,
    "currency": "EUR",
    "data": b"",
    "email": "ada@example.com",
    "evidence": None,
    "exhibits": {"tracking_number": "1Z-999"},
    "expected_head": None,
    "final": False,
    "initiated_by": "customer",
    "limit": None,
    "metadata": {"a": "b"},
    "name": "Ada",
    "older_than": timedelta(0),
    "origin": None,
    "outcome": "aborted",
    "password": None,
    "postal_code": None,
    "private_key": b"",
    "public_key": b"",
    "purpose": "moving",
    "progress": None,
    "reason": "looked it up",
    "reference": None,
    "security_code": None,
    "state": None,
    "status": None,
    "timeout_s": None,
    "unused_for": timedelta(days=1),
}
"""What to pass for each parameter that is no id. A new parameter has to be given its place."""


class Recorder:
    """A store that writes down which of its methods were called, and for which merchant."""

    def __init__(self) -> None:
        self._inner = MemoryStorage()
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            is_audit_alone = name == "commit" and args[0] == Changes(
                merchant_id=args[0].merchant_id, audit=args[0].audit
            )
            self.calls.append("audit" if is_audit_alone else name)
            return method(*args, **kwargs)

        return called


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[MerchantClient, dict[str, str], Recorder, Callable[[str], str]]]:
    """One merchant's client, ids of another merchant for every id parameter, the store, new ids."""
    storage, bank = Recorder(), SimulatedBank()
    pay = PayPlatform(
        storage=storage,
        bank=bank,
        keys=LocalKeyService.ephemeral(),
    )
    theirs = pay.merchant(pay.merchants.create(name="Theirs").id)
    customer = theirs.customers.create(name="Eve")
    method = theirs.payment_methods.create(
        customer=customer.id, card=Card("4242424242424242", "12/40")
    )
    payment = theirs.payments.authorize(
        Money("5.00", "EUR"), payment_method=method.id, idempotency_key="their-key"
    )
    theirs.payments.capture(payment.id, idempotency_key="their-capture")
    [_, capture] = theirs.payments.operations(payment.id)
    bank.disputes.open(theirs.id, capture.id)
    pay.notices.apply(bank.notices()[0])
    [dispute] = theirs.disputes.list()
    payout = a_payout(theirs.id, id=str(TypeID(prefix="po")))
    storage.commit(Changes(merchant_id=theirs.id, records=(payout,)))
    ours = pay.merchant(pay.merchants.create(name="Ours").id)
    foreign = {
        "customer": customer.id,
        "customer_id": customer.id,
        "payment_method": method.id,
        "payment_method_id": method.id,
        "payment_id": payment.id,
        "payment": payment.id,
        "dispute_id": dispute.id,
        "subject": payment.id,
        "payout_id": payout.id,
        "operation_id": payment.latest_operation_id or "",
        "idempotency_key": "their-key",
    }
    yield ours, foreign, storage, lambda prefix: str(TypeID(prefix=prefix))
    pay.close()


def public_methods() -> list[tuple[str, str]]:
    with PayPlatform.sandbox() as pay:
        shop = pay.merchant(pay.merchants.create(name="Any").id)
        rooms = {name for name in vars(shop) if not name.startswith("_")} - {"id"}
        assert rooms == set(ROOMS), "a new room of the client has to be looked at here"
        return [
            (room, name)
            for room in ROOMS
            for name, _ in inspect.getmembers(getattr(shop, room), callable)
            if not name.startswith("_")
        ]


def outcome(call: Callable[[], Any]) -> tuple[Any, ...]:
    """What a caller can see of a call: its result, or all that its error says."""
    try:
        result = call()
        if isinstance(result, Iterator):
            result = tuple(result)
    except PayPlatformError as error:
        return type(error), str(error), error.args, vars(error), error.__cause__, error.__context__
    return "returned", result


def id_parameters(signature: inspect.Signature, foreign: dict[str, str]) -> list[str]:
    unknown = set(signature.parameters) - set(foreign) - set(OTHERS)
    assert not unknown, f"say what to pass for {unknown}"
    return [name for name in signature.parameters if name in foreign]


def arguments(
    signature: inspect.Signature, ids: dict[str, str], key: str, under_test: str
) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        if name == under_test:
            given[name] = ids[name]
        elif name == "idempotency_key":
            given[name] = key
        elif name in OTHERS and (OTHERS[name] is not None):
            given[name] = OTHERS[name]
        elif parameter.default is inspect.Parameter.empty:
            given[name] = ids[name]
    return given


@pytest.mark.parametrize(("room", "name"), public_methods())
def test_a_foreign_id_is_as_an_absent_one(
    room: str,
    name: str,
    world: tuple[MerchantClient, dict[str, str], Recorder, Callable[[str], str]],
) -> None:
    """Whatever the method, a merchant cannot tell another's id from one that nobody has."""
    ours, foreign, storage, new_id = world
    method = getattr(getattr(ours, room), name)
    signature = inspect.signature(method)
    absent = {
        parameter: "nobodys-key" if parameter == "idempotency_key" else new_id(value.split("_")[0])
        for parameter, value in foreign.items()
    }
    for parameter in id_parameters(signature, foreign):
        if parameter == "idempotency_key" and name != "find":
            continue  # somebody else's key is simply a new one: see the test below
        seen = []
        for ids in (foreign, absent):
            storage.calls.clear()
            given = arguments(signature, ids, "a-key", parameter)
            seen.append((outcome(lambda: method(**given)), tuple(storage.calls)))  # noqa: B023
        assert seen[0] == seen[1], parameter
        assert "commit" not in seen[0][1], "nothing but who asked may be written for a foreign id"


def test_a_foreign_merchant_id_can_only_be_opened_by_who_holds_the_platform() -> None:
    """A merchant's client has no way to another merchant: no room leads out of it."""
    with PayPlatform.sandbox() as pay:
        shop = pay.merchant(pay.merchants.create(name="Ours").id)
        assert not hasattr(shop, "merchants")
        assert not hasattr(shop, "merchant")


def test_the_same_key_of_two_merchants_is_two_keys() -> None:
    """One merchant's idempotency key neither blocks nor replays another's."""
    with PayPlatform.sandbox() as pay:
        payments = []
        for name in ("One", "Two"):
            shop = pay.merchant(pay.merchants.create(name=name).id)
            card = shop.payment_methods.create(card=Card("4242424242424242", "12/40"))
            payments.append(
                shop.payments.charge(
                    Money("3.00", "EUR"), payment_method=card.id, idempotency_key="same"
                )
            )
        assert payments[0].id != payments[1].id
        assert not any(payment.replayed for payment in payments)


# -- whatever a merchant does stays with that merchant ---------------------------------------------

SHOP_METHODS = [name for name, _ in public_methods_of_all() if name.startswith("shop.")]


def owner_of(given: tuple[Any, ...]) -> str | None:
    """Whose rows a call to the store is about."""
    first = given[0] if given else None
    return first.merchant_id if isinstance(first, Changes) else first


@pytest.mark.parametrize("name", SHOP_METHODS)
def test_a_merchants_call_asks_the_store_for_its_own_rows_and_no_others(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it takes no id at all, as lists and rotations do."""
    shop = Counter()
    owners: set[str | None] = set()

    def watched(method: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any, **named: Any) -> Any:
            owners.add(owner_of(given))
            return method(*given, **named)

        return called

    for method, function in inspect.getmembers(shop.till.storage, inspect.ismethod):
        if not method.startswith("_"):
            monkeypatch.setattr(shop.till.storage, method, watched(function))
    shop.call(name)

    assert owners == {shop.till.merchant_id}


def test_a_notice_about_anothers_operation_is_as_one_about_none() -> None:
    till = Till()
    there = till.latest(till.sold()).id
    notice = BankNotice(
        id="n1",
        merchant_id=till.merchant_id,
        reply=till.bank.inquire(till.merchant_id, there, timeout_s=1),
        at=till.clock(),
    )
    other = till.pay.merchants.create(name="Bolt").id
    before = till.stored()
    foreign = evolve(notice, merchant_id=other)
    absent = evolve(foreign, reply=evolve(notice.reply, operation_id=str(TypeID(prefix="op"))))

    assert outcome(lambda: till.pay.notices.apply(foreign)) == outcome(
        lambda: till.pay.notices.apply(absent)
    )
    assert till.stored() == before
    till.close()


# -- ids tell nothing ------------------------------------------------------------------------------

DRAWN_AT_NEW_MILLISECOND, DRAWN_ALWAYS = 73, 32
"""Bits of an id: a UUIDv7 (RFC 9562, 5.7 and 6.2) keeps the order within a millisecond by counting
in its upper ones from where it drew them, all but the first, and draws the lower ones each time."""


def time_and_rest(some_id: str) -> tuple[int, int]:
    value = TypeID.from_string(some_id).uuid.int
    return value >> 80, (value >> 64 & 0xFFF) << 62 | value & (1 << 62) - 1


def all_bits_vary(numbers: Collection[int], bits: int) -> bool:
    """Whether each bit is set about as often as not: six standard deviations are allowed."""
    count = len(numbers)
    set_bits = (sum(number >> bit & 1 for number in numbers) for bit in range(bits))
    return all(abs(times - count / 2) < 3 * count**0.5 for times in set_bits)


def test_ids_do_not_enumerate() -> None:
    """Who has one id, or a thousand, cannot tell the next. And to know one opens no door."""
    with PayPlatform.sandbox() as pay:
        shop = pay.merchant(pay.merchants.create(name="Any").id)
        ids = [shop.customers.create(name="Ada").id for _ in range(10_000)]

    first_of_its_time: dict[int, int] = {}
    for time, rest in map(time_and_rest, ids):
        first_of_its_time.setdefault(time, rest)
    rests = [rest for _, rest in map(time_and_rest, ids)]
    steps = {later - earlier for earlier, later in pairwise(rests)}
    assert len(set(rests)) == len(ids)
    assert len(steps) == len(ids) - 1, "no counter"
    assert len(first_of_its_time) > 60
    assert all_bits_vary(first_of_its_time.values(), DRAWN_AT_NEW_MILLISECOND)
    assert all_bits_vary(rests, DRAWN_ALWAYS)
