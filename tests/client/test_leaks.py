"""No card number and no security code in any file, log line, exception, repr, event or pickle.

How: 200 cards, and every card that the simulated bank treats in its own way, go through the full
workload on real files, with every fault there is and every public method. All that comes out of it
is collected and searched for each of them in every usual spelling, encoding and hash. The security
code is a long canary here, let through by a patched length check, since three digits turn up by
chance.
"""

from __future__ import annotations

import logging
import sqlite3
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta
from io import StringIO
from itertools import count, cycle
from pathlib import Path
from typing import Any

import pytest
from canaries import Search, canaries, spellings, test_card_numbers
from collector import Collector
from counter import PRIVATE_KEY, PUBLIC_KEY, Counter, public_methods

from payplatform import Card, Money, PayPlatform, PayPlatformError, _engine
from payplatform._domain.secret import Secret
from payplatform.banks.simulated import Call, Fault, SimulatedBank
from payplatform.keys.local import LocalKeyService
from payplatform.ports import BankReply, BankRequest
from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing._reachable import reachable_text
from payplatform.testing.repeatable import START, FakeClock
from payplatform.testing.simulate.__main__ import main as simulate

SECURITY_CODE = "973164825507318246059137"
NUMBERS = canaries(200)
TEST_NUMBERS = test_card_numbers()
ALL = (*NUMBERS, *TEST_NUMBERS, SECURITY_CODE)
AMOUNT = Money("10.00", "EUR")


@pytest.fixture(scope="module")
def search() -> Search:
    return Search(ALL)


# -- the search finds what there is ----------------------------------------------------------------


def test_there_are_200_canaries_and_the_cards_that_fail() -> None:
    assert len(set(NUMBERS)) == 200
    assert len(set(TEST_NUMBERS)) > 50
    assert not set(NUMBERS) & set(TEST_NUMBERS)
    assert all(Card(number, "12/40").last4 == number[-4:] for number in ALL[:-1])


@pytest.mark.parametrize("number", [*NUMBERS[:8], *NUMBERS[-8:], *TEST_NUMBERS[:4], SECURITY_CODE])
def test_a_planted_number_is_found_in_each_form(number: str, search: Search) -> None:
    """A search that could not find anything would prove nothing."""
    for name, form in spellings(number):
        found = search(b"before" + form + b"after")
        assert (number[-4:], name, 6) in found, name


@pytest.mark.parametrize("number", NUMBERS[:8])
def test_a_planted_number_is_found_in_files_pickles_and_errors(
    number: str, search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All the way that a leak would take."""
    plants: tuple[Callable[[Collector], object], ...] = (
        lambda out: out.see({"card": number}),
        lambda out: out.trying(lambda: int(number + "x")),
        lambda out: out.trying(lambda: noted(number)),
        lambda _: sqlite3.connect(":memory:").execute("SELECT ?", (number,)).close(),
        lambda _: warnings.warn(number, stacklevel=1),
        lambda _: logging.getLogger("deep.inside").debug("charging %s", number),
        lambda _: (Path(tempfile.gettempdir()) / "leak").write_bytes(number.encode("utf-16")),
    )
    for place, plant in enumerate(plants):
        out = Collector(tmp_path / str(place))
        with out.listening(monkeypatch):
            assert not leaks(out, search)
            plant(out)
        assert leaks(out, search), place


def noted(number: str) -> None:
    error = RuntimeError("it failed")
    error.add_note(f"with {number}")
    raise ValueError("no") from error


def leaks(out: Collector, search: Search) -> list[tuple[object, list[tuple[str, str, int]]]]:
    """Where what was found: in what came out until now, and in the files as they are."""
    places: list[tuple[object, bytes]] = [(text[:80], text) for text in out.heap]
    places += list(out.files().items())
    return [(place, found) for place, text in places if (found := search(text))]


# -- the workload ----------------------------------------------------------------------------------


class Nosy(SimulatedBank):
    """Has the stacks of all threads written while it holds a card."""

    def __init__(self, file: Path, out: Collector, clock: FakeClock) -> None:
        super().__init__(file, now=clock)
        self._out = out
        self._stacks = count()

    def send(self, request: BankRequest, *, timeout_s: float) -> BankReply:
        self._out.see(request)
        if next(self._stacks) % 100 == 0:
            self._out.stacks()
        return super().send(request, timeout_s=timeout_s)


class Workload:
    """Every verb, with every kind of answer and failure."""

    def __init__(self, folder: Path, out: Collector) -> None:
        self.folder, self.out, self.clock = folder, out, FakeClock(START)
        self.bank = Nosy(folder / "bank", out, self.clock)
        self.pay = PayPlatform.open(folder / "shop.db", bank=self.bank, now=self.clock)
        self.shop = self.pay.merchant(self.pay.merchants.create(name="Acme").id)
        self.keys = (f"key-{n}" for n in count())
        self.faults = cycle([None, *Fault])

    def run(self) -> None:
        for number in NUMBERS:
            self.pay_with(number, next(self.faults))
        for number in TEST_NUMBERS:
            self.pay_with(number, None)
        self.misuse()
        self.clock.advance(timedelta(days=2))
        self.out.trying(self.pay.recover)
        self.hear_the_bank()
        self.care_for_the_vault()
        self.read_everything()

    def pay_with(self, number: str, fault: Fault | None) -> None:
        shop, out = self.shop, self.out
        customer = shop.customers.create(name="Ada", email="ada@example.com")
        card = Card(" ".join(number[i : i + 4] for i in range(0, len(number), 4)), "12/40", "Ada L")
        out.see(card)
        method = out.trying(
            lambda: shop.payment_methods.create(
                customer=customer.id, card=card, postal_code="10115"
            )
        )
        for taking in (shop.payments.charge, shop.payments.authorize):
            self.twice(fault, taking, AMOUNT, payment_method=method.id, security_code=SECURITY_CODE)
        self.twice(fault, shop.payment_methods.verify, method.id, security_code=SECURITY_CODE)
        for payment in list(shop.payments.list(customer=customer.id)):
            for verb in (shop.payments.refund, shop.payments.capture, shop.payments.resume):
                self.twice(fault, verb, payment.id)
        if int(number[-2]) % 2:
            out.trying(lambda: shop.payment_methods.delete(method.id))
            self.twice(None, shop.payments.charge, AMOUNT, payment_method=method.id)

    def twice(self, fault: Fault | None, verb: Any, *given: Any, **named: Any) -> None:
        """A call, and if it goes wrong, once more, with recovery going wrong as well."""
        key = next(self.keys)
        for call in (Call.SEND, Call.INQUIRY)[: 1 if fault is None else 2]:
            if fault is not None:
                self.bank.next(fault, on=call)
            self.out.trying(lambda: verb(*given, idempotency_key=key, **named))
        if fault is not None:
            self.clock.advance(timedelta(minutes=5))
            self.out.trying(self.pay.recover)

    def misuse(self) -> None:
        """Card numbers and codes where they do not belong, and cards that are none."""
        shop, out, number = self.shop, self.out, NUMBERS[0]
        mistyped = number[:-1] + str((int(number[-1]) + 1) % 10)
        spaced = " ".join(number[i : i + 4] for i in range(0, len(number), 4))
        method = shop.payment_methods.create(card=Card(number, "12/40"))
        charge = shop.payments.charge
        good: dict[str, Any] = {"payment_method": method.id, "idempotency_key": "k"}
        for call in (
            lambda: Card(mistyped, "12/40"),
            lambda: Card(number, "13/40"),
            lambda: Card(number, number),
            lambda: Card(number + "x", "12/40"),
            lambda: Card(number, "12/40", holder=number),
            lambda: Card(int(number), "12/40"),  # type: ignore[arg-type]  # misuse
            lambda: Money("1.00", number),
            lambda: shop.customers.create(name=number),
            lambda: shop.customers.create(email=f"{number}@example.com"),
            lambda: shop.customers.create(metadata={"card": spaced}),
            lambda: shop.customers.create(metadata={number: "card"}),
            lambda: shop.customers.get(number),
            lambda: shop.payments.get(number),
            lambda: shop.payments.list(reference=number),
            lambda: shop.payments.list(status=number),
            lambda: shop.operations.find(idempotency_key=number),
            lambda: shop.payment_methods.create(card=number),  # type: ignore[arg-type]  # misuse
            lambda: shop.payment_methods.create(card=Card(number, "12/40"), postal_code=number),
            lambda: charge(AMOUNT, **good | {"payment_method": number}),
            lambda: charge(AMOUNT, **good | {"idempotency_key": number}),
            lambda: charge(AMOUNT, **good, reference=spaced),
            lambda: charge(AMOUNT, **good | {"security_code": int(SECURITY_CODE)}),
            lambda: charge(AMOUNT, **good, initiated_by=number),
            lambda: charge(AMOUNT, **good, initiated_by="merchant", security_code=SECURITY_CODE),
            lambda: shop.vault.export(public_key=PUBLIC_KEY, actor=number, purpose=spaced),
            lambda: shop.vault.export(public_key=number.encode(), actor="Ada", purpose="none"),
            lambda: shop.vault.import_(number.encode(), private_key=PRIVATE_KEY),
            lambda: self.pay.merchants.create(name=number),
            lambda: self.pay.merchant(number),
        ):
            # What is given for a name or a key stands in every frame down to where it is refused.
            assert out.trying(call, with_locals=False) is None, call

    def hear_the_bank(self) -> None:
        for notice in self.out.trying(self.bank.notices):
            self.out.trying(lambda: self.pay.notices.apply(notice))  # noqa: B023
        self.out.trying(self.bank.statement)

    def care_for_the_vault(self) -> None:
        """New keys, an export, an import, a backup, another master key."""
        out, vault = self.out, self.pay.vault
        out.trying(vault.rotate_data_key)
        out.trying(vault.rotate_fingerprint_key)
        out.trying(lambda: vault.run(limit=100))
        exported = out.trying(
            lambda: self.shop.vault.export(public_key=PUBLIC_KEY, actor="Ada", purpose="moving")
        )
        with PayPlatform.open(
            self.folder / "other.db", bank=self.bank, keys=LocalKeyService.ephemeral()
        ) as other:
            there = other.merchant(other.merchants.create(name="Bolt").id)
            out.trying(lambda: there.vault.import_(exported, private_key=PRIVATE_KEY))
            assert len(list(there.payment_methods.list())) > 100
        store = SQLiteStorage(self.folder / "shop.db")
        store.backup(self.folder / "backup.db")
        store.close()

    def read_everything(self) -> None:
        for payment in self.shop.payments.list():
            self.out.trying(lambda: self.shop.payments.timeline(payment.id))  # noqa: B023
            self.out.trying(lambda: self.shop.payments.operations(payment.id))  # noqa: B023
        for call in (
            lambda: self.pay.events.pending(limit=10_000),
            self.pay.doctor,
            self.pay.describe,
            self.pay.vault.status,
            self.shop.payment_methods.list,
            self.shop.operations.list_unresolved,
        ):
            self.out.trying(call)
        engine = self.pay._engine()
        for thing in (
            self.pay,
            self.shop,
            self.bank,
            self.shop.payments,
            engine,
            *vars(engine).values(),
        ):
            self.out.see(thing)


@pytest.fixture
def long_security_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_engine.flow, "security_code", lambda text, _brand: Secret(text))


@pytest.mark.usefixtures("long_security_codes")
def test_the_full_workload_leaves_no_canary_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, search: Search
) -> None:
    """Neither in what is stored, nor in what is said, nor in what can be made of an object."""
    out, said = Collector(tmp_path), StringIO()
    with out.listening(monkeypatch), redirect_stdout(said), redirect_stderr(said):
        work = Workload(tmp_path, out)
        work.run()
        while_open = out.files()
        out.heap |= set(while_open.values())
        for text in reachable_text(work.pay):
            out.hear(text)
        work.pay.close()
    out.hear(said.getvalue())

    assert leaks(out, search) == []
    names = {path.name for path in while_open}
    assert {"shop.db", "shop.db-wal", "shop.db.key", "bank", "backup.db", "debug.log"} <= names
    assert out.calls > 3_000
    assert out.statements > 10_000
    assert {error.__name__ for error in out.errors} >= {
        "BankUnavailable",
        "InvalidRequest",
        "NotAllowed",
        "NotFound",
        "OutcomeUnknown",
    }


def test_no_public_method_lets_a_canary_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, search: Search
) -> None:
    """Each is called at least once, on a file, and all it gives is searched."""
    out = Collector(tmp_path)
    with out.listening(monkeypatch):
        for name, _ in public_methods():
            shop = Counter(tmp_path / f"{name}.db")
            out.trying(lambda: shop.call(name))  # noqa: B023
            shop.till.close()

    assert leaks(out, search) == []
    assert not out.errors, "good arguments are good"


@pytest.mark.usefixtures("long_security_codes")
def test_a_rollback_journal_holds_no_canary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, search: Search
) -> None:
    """Where there is no write-ahead log: read while it is there, in the middle of commits."""
    out = Collector(tmp_path)
    with out.listening(monkeypatch):
        storage = SQLiteStorage(tmp_path / "shop.db", journal_mode="delete")
        bank = SimulatedBank(tmp_path / "bank")
        with PayPlatform(storage=storage, bank=bank, keys=LocalKeyService.ephemeral()) as pay:
            shop = pay.merchant(pay.merchants.create(name="Acme").id)
            for number in NUMBERS[:40]:
                method = shop.payment_methods.create(card=Card(number, "12/40"))
                shop.payments.charge(
                    AMOUNT,
                    payment_method=method.id,
                    security_code=SECURITY_CODE,
                    idempotency_key=method.id,
                )
                shop.payment_methods.delete(method.id)

    assert leaks(out, search) == []
    assert "shop.db-journal" in out.journals


def test_the_simulator_tells_its_stories_without_a_card_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, search: Search
) -> None:
    """It plays with the test cards, on files."""
    out, said = Collector(tmp_path), StringIO()
    with out.listening(monkeypatch), redirect_stdout(said), redirect_stderr(said):
        simulate(["--histories", "40", "--seed", "7", "--storage", "sqlite", "--jobs", "1"])

    out.hear(said.getvalue())
    assert " 0 violations" in said.getvalue()
    assert leaks(out, search) == []


def test_a_wrong_length_of_security_code_is_told_without_it(tmp_path: Path, search: Search) -> None:
    """The real check, not the patched one, repeats nothing."""
    with PayPlatform.sandbox() as pay:
        shop = pay.merchant(pay.merchants.create(name="Acme").id)
        method = shop.payment_methods.create(card=Card(NUMBERS[0], "12/40"))
        out = Collector(tmp_path)
        with pytest.raises(PayPlatformError) as caught:
            shop.payments.charge(
                AMOUNT,
                payment_method=method.id,
                idempotency_key="k",
                security_code=SECURITY_CODE,
            )
        out.see_error(caught.value)
        assert not leaks(out, search)
        assert shop.operations.find(idempotency_key="k") is None, "nothing was stored"
