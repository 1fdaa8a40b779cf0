"""Another merchant's ids give exactly what absent ids give, for every public method there is.

How: the methods are found by introspection. Each one that takes an id is called twice by one
merchant, once with an id that belongs to another merchant and once with an id that nobody has.
Type, code, field, text, result and the calls made to the store must be the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from typeid import TypeID

from payplatform import Card, MerchantClient, Money, PayPlatform, PayPlatformError
from payplatform.banks.simulated import SimulatedBank
from payplatform.keys.local import LocalKeyService
from payplatform.storage.memory import MemoryStorage

ROOMS = ("customers", "payment_methods", "payments", "operations", "vault", "journal", "audit")

OTHERS: dict[str, Any] = {
    "actor": "Ada",
    "amount": Money("1.00", "EUR"),
    "card": Card("4242424242424242", "12/40"),
    "created_before": None,
    "created_from": None,
    "currency": "EUR",
    "data": b"",
    "email": "ada@example.com",
    "evidence": None,
    "expected_head": None,
    "final": False,
    "initiated_by": "customer",
    "limit": None,
    "metadata": {"a": "b"},
    "name": "Ada",
    "older_than": timedelta(0),
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
            self.calls.append(name)
            return method(*args, **kwargs)

        return called


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[MerchantClient, dict[str, str], Recorder, Callable[[str], str]]]:
    """One merchant's client, ids of another merchant for every id parameter, the store, new ids."""
    storage = Recorder()
    pay = PayPlatform(
        storage=storage,
        bank=SimulatedBank(),
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
    ours = pay.merchant(pay.merchants.create(name="Ours").id)
    foreign = {
        "customer": customer.id,
        "customer_id": customer.id,
        "payment_method": method.id,
        "payment_method_id": method.id,
        "payment_id": payment.id,
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
        assert "commit" not in seen[0][1], "nothing may be written for a foreign id"


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
