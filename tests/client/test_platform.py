"""Opening a platform, its clock and settings, what it says of itself, and closing it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from bad_values import Bad, Hostile, objects
from counter import Counter, public_methods
from till import START, VISA, Till, eur
from typeid import TypeID

from payplatform import (
    Card,
    ErrorCode,
    InvalidRequest,
    NotAllowed,
    NotFound,
    OutcomeUnknown,
    PayPlatform,
    PayPlatformError,
    Settings,
    StorageUnavailable,
    VaultError,
)
from payplatform._domain.limits import LIMITS, RETRY_RULES
from payplatform.banks.simulated import Call, Fault, SimulatedBank
from payplatform.keys.local import LocalKeyService
from payplatform.storage.memory import MemoryStorage
from payplatform.storage.memory_limiter import MemoryLimiter
from payplatform.storage.sqlite import SQLiteStorage

OPTIONS: dict[str, tuple[Bad, ...]] = {
    "now": (
        *objects(ErrorCode.TYPE_INVALID, without=("None",)),
        Bad("naive", lambda: datetime(2030, 1, 1), ErrorCode.TYPE_INVALID),  # noqa: DTZ001
        Bad("nothing", lambda: None, ErrorCode.TYPE_INVALID),
        Bad("time of day", lambda: time(12, tzinfo=UTC), ErrorCode.TYPE_INVALID),
        Bad("seconds", lambda: 1_900_000_000.0, ErrorCode.TYPE_INVALID),
    ),
    "new_id": objects(ErrorCode.TYPE_INVALID, without=("None", "class")),
    "settings": (
        *objects(ErrorCode.TYPE_INVALID, without=("None",)),
        Bad("the class", Settings, ErrorCode.TYPE_INVALID),
    ),
}
PORTS: dict[str, tuple[Bad, ...]] = {
    "bank": (
        *objects(ErrorCode.TYPE_INVALID, without=("None",)),
        Bad("the class", SimulatedBank, ErrorCode.TYPE_INVALID),
        Bad("a store", MemoryStorage(), ErrorCode.TYPE_INVALID),
    ),
    "keys": (
        *objects(ErrorCode.TYPE_INVALID, without=("None",)),
        Bad("the class", LocalKeyService, ErrorCode.TYPE_INVALID),
        Bad("a store", MemoryStorage(), ErrorCode.TYPE_INVALID),
    ),
}
LIMITER: dict[str, tuple[Bad, ...]] = {
    "limiter": (
        *objects(ErrorCode.TYPE_INVALID, without=("None",)),
        Bad("the class", MemoryLimiter, ErrorCode.TYPE_INVALID),
        Bad("a store", MemoryStorage(), ErrorCode.TYPE_INVALID),
    ),
}
PATH = (
    *objects(ErrorCode.TYPE_INVALID),
    Bad("empty", "", ErrorCode.VALUE_INVALID),
    Bad("NUL", "shop\0.db", ErrorCode.VALUE_INVALID),
    Bad("memory", ":memory:", ErrorCode.VALUE_INVALID),
    Bad("server", "postgresql://localhost/shop", ErrorCode.VALUE_INVALID),
    Bad("file URL", "file:shop.db?mode=memory", ErrorCode.VALUE_INVALID),
)
WAYS: dict[str, tuple[Callable[..., PayPlatform], dict[str, tuple[Bad, ...]]]] = {
    "open": (PayPlatform.open, {"path_or_url": PATH, **PORTS, **LIMITER, **OPTIONS}),
    "sandbox": (PayPlatform.sandbox, {**PORTS, **LIMITER, **OPTIONS}),
    "PayPlatform": (
        PayPlatform,
        {
            "storage": (
                *objects(ErrorCode.TYPE_INVALID),
                Bad("the class", MemoryStorage, ErrorCode.TYPE_INVALID),
            ),
            **{
                name: (*bad, Bad("None", None, ErrorCode.TYPE_INVALID))
                for name, bad in PORTS.items()
            },
            **LIMITER,
            **OPTIONS,
        },
    ),
}
"""Every way to a platform, and what each of its parameters must refuse."""


@pytest.mark.parametrize("way", WAYS)
def test_every_parameter_of_every_way_to_a_platform_has_its_place(way: str) -> None:
    function, table = WAYS[way]

    assert set(table) == set(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("way", "argument"), [(way, argument) for way, (_, table) in WAYS.items() for argument in table]
)
def test_a_wrong_part_is_refused_before_anything_is_created(
    way: str, argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name; no file is made, and nothing is left open."""
    monkeypatch.chdir(tmp_path)
    function, table = WAYS[way]
    parts: dict[str, dict[str, Any]] = {
        "open": {"path_or_url": tmp_path / "shop.db"},
        "sandbox": {},
        "PayPlatform": {
            "storage": MemoryStorage(),
            "bank": SimulatedBank(),
            "keys": LocalKeyService.ephemeral(),
        },
    }
    for row in table[argument]:
        with pytest.raises(InvalidRequest) as caught:
            function(**{**parts[way], argument: row.value})
        assert (caught.value.code, caught.value.field) == (row.code, argument), row.label
        assert argument in str(caught.value)
        assert caught.value.__context__ is None
        assert list(tmp_path.iterdir()) == [], row.label


def test_a_port_that_lacks_something_is_told_what() -> None:
    class Lacking(SimulatedBank):
        read_notice: Any = property(lambda self: self.nothing)

    with pytest.raises(InvalidRequest) as caught:
        PayPlatform.sandbox(bank=Lacking())

    assert "a Bank as in payplatform.ports: it has no read_notice" in str(caught.value)


SETTINGS: dict[str, tuple[Bad, ...]] = {
    "timeout_s": (
        *objects(ErrorCode.TYPE_INVALID, without=("int", "float")),
        *(
            Bad(str(value), value, ErrorCode.VALUE_INVALID)
            for value in (0, -1, 600.5, float("nan"), float("inf"), 10**400)
        ),
    ),
    "lease_margin_s": (
        *objects(ErrorCode.TYPE_INVALID, without=("int", "float")),
        *(
            Bad(str(value), value, ErrorCode.VALUE_INVALID)
            for value in (-0.1, float("nan"), float("inf"), 10**400)
        ),
    ),
    "recovery_schedule_s": (
        *objects(ErrorCode.TYPE_INVALID),
        Bad("no wait", (), ErrorCode.TYPE_INVALID),
        Bad("text", ("60",), ErrorCode.TYPE_INVALID),
        Bad("hostile", (60, Hostile()), ErrorCode.TYPE_INVALID),
        Bad("negative", (0, -60), ErrorCode.VALUE_INVALID),
        Bad("NaN", (float("nan"),), ErrorCode.VALUE_INVALID),
        Bad("for ever", (float("inf"),), ErrorCode.VALUE_INVALID),
    ),
    "jitter": (
        *objects(ErrorCode.TYPE_INVALID, without=("int", "float")),
        *(
            Bad(str(value), value, ErrorCode.VALUE_INVALID)
            for value in (-0.1, 1.1, float("nan"), float("inf"))
        ),
    ),
    **{
        name: (
            *objects(ErrorCode.TYPE_INVALID, without=("int", "float")),
            *(
                Bad(str(value), value, ErrorCode.VALUE_INVALID)
                for value in (-0.1, float("nan"), float("inf"), 10**400)
            ),
        )
        for name in (
            *(f"{whose}_key_period_s" for whose in ("master", "data", "fingerprint", "retired")),
            "evidence_reminder_s",
        )
    },
    "data_key_records": (
        *objects(ErrorCode.TYPE_INVALID, without=("int", "float")),
        *(Bad(str(value)[:9], value, ErrorCode.VALUE_INVALID) for value in (0, -1, 2**32 + 1)),
    ),
    "limits": (
        *objects(ErrorCode.TYPE_INVALID),
        Bad("a rule of another sort", RETRY_RULES, ErrorCode.TYPE_INVALID),
        Bad("the same twice", (LIMITS[0], evolve(LIMITS[0], most=3)), ErrorCode.VALUE_INVALID),
    ),
    "retry_rules": (
        *objects(ErrorCode.TYPE_INVALID),
        Bad("a rule of another sort", LIMITS, ErrorCode.TYPE_INVALID),
    ),
    "hard_declines_are_final": objects(ErrorCode.TYPE_INVALID, without=("True",)),
    "refuse_uncounted": objects(ErrorCode.TYPE_INVALID, without=("True",)),
    "may_reveal": objects(ErrorCode.TYPE_INVALID, without=("True",)),
}


def test_every_setting_has_its_place() -> None:
    assert set(SETTINGS) == set(inspect.signature(Settings).parameters)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_no_time_could_be_computed_from_is_refused(name: str) -> None:
    for row in SETTINGS[name]:
        with pytest.raises(InvalidRequest) as caught:
            Settings(**{name: row.value})
        assert (caught.value.code, caught.value.field) == (row.code, name), row.label
        assert name in str(caught.value)


def test_opening_leaves_nothing_open_where_a_later_part_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key file that is none: the database that was opened before it is closed again."""
    (tmp_path / "shop.db.key").write_text("no key at all")
    (tmp_path / "shop.db.key").chmod(0o600)
    closed: list[SQLiteStorage] = []

    def close(storage: SQLiteStorage) -> None:
        closed.append(storage)

    monkeypatch.setattr(SQLiteStorage, "close", close)

    with pytest.raises(VaultError):
        PayPlatform.open(tmp_path / "shop.db")

    monkeypatch.undo()
    (storage,) = closed
    storage.close()


def test_what_was_stored_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    """With the default key file and the default bank beside it, under any name of a path."""
    with PayPlatform.open(tmp_path / "shop.db") as pay:
        merchant = pay.merchants.create(name="Acme")
        shop = pay.merchant(merchant.id)
        method = shop.payment_methods.create(card=Card(VISA, "12/40"))
        held = shop.payments.authorize(eur("5"), payment_method=method.id, idempotency_key="k")
    assert {file.name for file in tmp_path.iterdir()} == {
        "shop.db",
        "shop.db.key",
        "shop.db.bank",
        "shop.db.limits",
    }

    with PayPlatform.open(os.fspath(tmp_path / "shop.db")) as pay:
        shop = pay.merchant(merchant.id)
        assert shop.payments.get(held.id) == held
        assert shop.payments.capture(held.id, idempotency_key="l").status == "captured"


def test_the_master_key_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then no key file is made, and without it what is sealed stays sealed."""
    monkeypatch.setenv("PAYPLATFORM_MASTER_KEY", LocalKeyService.generate_text())
    with PayPlatform.open(tmp_path / "shop.db") as pay:
        merchant = pay.merchants.create(name="Acme")
        method = pay.merchant(merchant.id).payment_methods.create(card=Card(VISA, "12/40"))
    assert not (tmp_path / "shop.db.key").exists()

    monkeypatch.setenv("PAYPLATFORM_MASTER_KEY", LocalKeyService.generate_text())
    with PayPlatform.open(tmp_path / "shop.db") as pay:
        shop = pay.merchant(merchant.id)
        with pytest.raises(VaultError):
            shop.payments.charge(eur("5"), payment_method=method.id, idempotency_key="k")
        assert shop.operations.find(idempotency_key="k") is None, "nothing was stored, or sent"


class SummerTime(tzinfo):
    """An hour ahead of UTC, and two from the last Sunday of March 2030 at 01:00 UTC on."""

    CHANGE = datetime(2030, 3, 31, 1, tzinfo=UTC)

    def utcoffset(self, at: datetime | None) -> timedelta:
        summer = at is not None and at.replace(tzinfo=UTC) >= self.CHANGE + timedelta(hours=1)
        return timedelta(hours=2 if summer else 1)

    def dst(self, at: datetime | None) -> timedelta:
        return self.utcoffset(at) - timedelta(hours=1)

    def tzname(self, _: datetime | None) -> str:
        return "local"


def test_ids_are_typeids_and_come_in_the_order_of_time() -> None:
    """What was made together lies together in a file, and newest first is the order of the ids."""
    with PayPlatform.sandbox() as pay:
        ids = [pay.merchants.create(name="Acme").id for _ in range(50)]

    assert ids == sorted(ids)
    for id_ in ids:
        read = TypeID.from_string(id_)
        assert (str(read), read.prefix, read.uuid.version) == (id_, "mer", 7)


def test_a_local_clock_is_taken_in_utc() -> None:
    """Stored times are UTC, and what is due across the change to summer time is due in time."""
    utc_now = SummerTime.CHANGE - timedelta(seconds=20)
    bank = SimulatedBank(now=lambda: utc_now)
    pay = PayPlatform.sandbox(bank=bank, now=lambda: utc_now.astimezone(SummerTime()))
    shop = pay.merchant(pay.merchants.create(name="Acme").id)
    method = shop.payment_methods.create(card=Card(VISA, "12/40"))
    bank.next(Fault.LOSE_REPLY)
    with suppress(OutcomeUnknown):
        shop.payments.charge(eur("5"), payment_method=method.id, idempotency_key="k", timeout_s=60)
    operation = shop.operations.find(idempotency_key="k")

    assert operation is not None
    assert operation.created_at.utcoffset() == timedelta(0)
    started = next(iter(shop.payments.timeline(operation.subject_id)))
    assert started.at.utcoffset() == timedelta(0)
    utc_now += timedelta(minutes=2)
    assert pay.recover().succeeded == 1
    pay.close()


def test_the_bank_is_given_the_time_that_was_asked_for() -> None:
    """The call's own timeout, else the setting's; recovery has no caller, so the setting's."""
    till = Till(settings=Settings(timeout_s=7.5))
    till.sold()
    till.sold(timeout_s=2)
    till.bank.next(Fault.LOSE_REPLY)
    with pytest.raises(OutcomeUnknown):
        till.sold(timeout_s=3)
    till.pay.recover()

    assert till.watched.timeouts == [7.5, 2.0, 3.0, 7.5]


def test_a_lease_is_as_long_as_the_timeout_and_the_margin() -> None:
    """Until then the caller is presumed to be alive, and nobody takes its operation over."""
    till = Till(settings=Settings(timeout_s=7, lease_margin_s=4))
    leases = []
    till.watched.before = lambda request: leases.append(
        till.shop.operations.get(request.operation_id).lease_until - till.now
    )
    till.sold()
    till.sold(timeout_s=100)

    assert leases == [timedelta(seconds=11), timedelta(seconds=104)]


def test_recovery_waits_as_its_schedule_says_and_then_asks_a_person() -> None:
    """Each wait once, in order; when all are used up, the operation needs review."""
    till = Till(settings=Settings(recovery_schedule_s=(5, 70, 900), jitter=0))
    till.bank.next(Fault.LOSE_REPLY)
    with pytest.raises(OutcomeUnknown):
        till.sold(idempotency_key="k")
    seen = []
    for _ in range(3):
        operation = till.shop.operations.find(idempotency_key="k")
        assert operation is not None
        assert operation.next_try_at is not None
        seen.append((operation.next_try_at - till.now).total_seconds())
        till.now = operation.next_try_at - timedelta(microseconds=1)
        assert till.pay.recover().examined == 0, "not before its time"
        till.now = operation.next_try_at
        till.bank.next(Fault.LOSE_REPLY, on=Call.INQUIRY)
        report = till.pay.recover()

    assert seen == [5, 70, 900]
    assert report.needs_review == 1


def test_waits_vary_by_the_jitter_and_repeat_with_the_same_ids() -> None:
    """Many that were lost at once do not all come back at once; a replayed history is the same."""

    def waits() -> list[float]:
        numbers = iter(range(10**6))
        bank = SimulatedBank(now=lambda: START)
        pay = PayPlatform.sandbox(
            bank=bank,
            now=lambda: START,
            new_id=lambda prefix: f"{prefix}_{next(numbers):026d}",
            settings=Settings(recovery_schedule_s=(1000,), jitter=0.25, limits=()),
        )
        shop = pay.merchant(pay.merchants.create(name="Acme").id)
        method = shop.payment_methods.create(card=Card(VISA, "12/40"))
        for n in range(20):
            bank.next(Fault.LOSE_REPLY)
            with suppress(OutcomeUnknown):
                shop.payments.charge(eur("5"), payment_method=method.id, idempotency_key=f"k{n}")
        due = [o.next_try_at or START for o in shop.operations.list_unresolved()]
        pay.close()
        return [(at - START).total_seconds() for at in due]

    first = waits()
    assert all(750 <= wait <= 1250 for wait in first)
    assert len(set(first)) == 20
    assert min(first) < 900
    assert max(first) > 1100
    assert waits() == first


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_after_close_every_call_is_refused(store: str, tmp_path: Path) -> None:
    """By a code of its own; closing again does nothing."""
    desk = Counter(None if store == "memory" else tmp_path / "shop.db")
    desk.till.close()
    told = {}
    for name, _ in public_methods():
        try:
            desk.call(name)
        except PayPlatformError as error:
            told[name] = (type(error), error.code)

    names = {name for name, _ in public_methods()} - {"close"}
    assert told == dict.fromkeys(names, (NotAllowed, ErrorCode.CLIENT_CLOSED))


def test_a_platform_closes_when_its_block_ends_however_it_ends() -> None:
    def leave_in_a_hurry() -> None:
        with platform:
            raise ZeroDivisionError

    platform = PayPlatform.sandbox()
    with pytest.raises(ZeroDivisionError):
        leave_in_a_hurry()
    with pytest.raises(NotAllowed) as caught:
        platform.doctor()
    assert caught.value.code is ErrorCode.CLIENT_CLOSED


def test_closing_lets_go_of_every_port() -> None:
    """Also of those that were handed in."""
    closed = []

    class Port:
        def __init__(self, port: Any, name: str) -> None:
            self._port, self._name = port, name

        def __getattr__(self, attribute: str) -> Any:
            if attribute == "close":
                closed.append(self._name)
            return getattr(self._port, attribute)

    pay = PayPlatform(
        storage=Port(MemoryStorage(), "storage"),
        bank=Port(SimulatedBank(), "bank"),
        keys=Port(LocalKeyService.ephemeral(), "keys"),
        limiter=Port(MemoryLimiter(), "limiter"),
    )
    closed.clear()
    pay.close()
    pay.close()

    assert sorted(closed) == ["bank", "keys", "limiter", "storage"]


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_platform_says_what_it_is_made_of(store: str, tmp_path: Path) -> None:
    """Names and texts, part by part, and no key."""
    till = Till(None if store == "memory" else tmp_path / "shop.db")
    told = till.pay.describe()

    assert set(told) == {"payplatform", "storage", "bank", "keys", "limiter"}
    assert told["storage"]["adapter"] == store
    assert told["payplatform"]["version"]
    assert all(isinstance(value, str) for part in told.values() for value in part.values())
    till.close()


def test_an_unknown_merchant_has_no_client() -> None:
    till = Till()
    other = PayPlatform.sandbox()
    stranger = other.merchants.create(name="Elsewhere").id
    with pytest.raises(NotFound) as caught:
        till.pay.merchant(stranger)

    assert caught.value.field == "merchant_id"
    assert till.pay.merchant(till.merchant_id).id == till.merchant_id
    other.close()


def test_a_folder_or_a_strange_file_is_no_store(tmp_path: Path) -> None:
    """The error is the store's own, and nothing is done to the file."""
    strange = tmp_path / "notes.txt"
    strange.write_text("remember the milk\n" * 100)
    for path in (tmp_path, strange):
        with pytest.raises(StorageUnavailable):
            PayPlatform.open(path)

    assert strange.read_text() == "remember the milk\n" * 100
    assert {file.name for file in tmp_path.iterdir()} == {"notes.txt"}
