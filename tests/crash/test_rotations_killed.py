"""Keys are rotated while shops sell and processes are killed, and every card opens all the while.

How: processes that rotate are killed at any moment, and others take their place. Beside them lives
one that pays with cards drawn by chance and stores new ones, with keys in its memory that the
rotations retire, and with the same kills. After each kill some cards are opened as another process
sees them; at the end every card is, and each is the one that was stored.
"""

from __future__ import annotations

import os
import random
import signal
import time
from datetime import timedelta
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

from crash_size import FIGURES, how_many
from doomed import LONGEST_S, PROCESSES, open_shop

from payplatform import Card, MerchantClient, Money, PayPlatform
from payplatform._domain.card_numbers import luhn_check_digit, luhn_valid
from payplatform._domain.records import PaymentMethod, SealedCard, WrappedKey
from payplatform.ports import Filter

CARDS = how_many(full=10_000, sample=120)
KILLS = how_many(full=50, sample=4)
LOOKED_AT = how_many(full=100, sample=20)


def number_of(place: int) -> str:
    """A card number for each place, with its check digit."""
    digits = f"453201{place:09d}"  # no test card of the bank begins so
    return digits + luhn_check_digit(digits)


def rotate_for_ever(path: Path, parent: Connection) -> None:
    """Rotate every key again and again, and say of each commit that it was made."""
    signal.alarm(LONGEST_S)
    with PayPlatform.open(path) as pay:
        while True:
            report = pay.vault.run(progress=lambda *_: parent.send("commit"))
            assert report.is_done or report.left
            pay.vault.rotate_data_key()
            pay.vault.rotate_fingerprint_key()
            parent.send("rotation")


def sell_for_ever(path: Path, parent: Connection, seed: int) -> None:
    """Pay with cards drawn by chance, store new ones, and say what was done, or what went wrong."""
    signal.alarm(LONGEST_S)
    chance = random.Random(seed)  # noqa: S311  # repeatable, not unguessable
    with PayPlatform.open(path) as pay:
        shop = open_shop(pay)
        cards = [method.id for method in shop.payment_methods.list()]
        for turn in count():
            try:
                payment = shop.payments.charge(
                    Money("1", "EUR"),
                    payment_method=chance.choice(cards),
                    idempotency_key=f"sale-{seed}-{turn}",
                )
                parent.send(f"paid {payment.status}")
                if turn % 5 == 0:
                    number = number_of(CARDS + 10_000 * seed + turn)
                    shop.payment_methods.create(card=Card(number, "12/40"))
                    parent.send("stored")
            except Exception as error:  # noqa: BLE001  # told, and found by the test
                parent.send(f"failed {error!r}")


def prepare(path: Path) -> None:
    with PayPlatform.open(path) as pay:
        shop = pay.merchant(pay.merchants.create(name="Acme").id)
        for place in range(CARDS):
            shop.payment_methods.create(card=Card(number_of(place), "12/40"))


def lives(path: Path, life: int, chance: random.Random) -> list[str]:
    """One life of both processes, from their start to the kill of the one that rotates."""
    doomed = []
    for run, more in ((rotate_for_ever, ()), (sell_for_ever, (life,))):
        mine, its = PROCESSES.Pipe(duplex=False)
        process = PROCESSES.Process(target=run, args=(path, its, *more))
        process.start()
        its.close()
        doomed.append((process, mine))
    for _, pipe in doomed:
        assert pipe.poll(LONGEST_S)
    time.sleep(chance.uniform(0, 0.4))
    said = []
    for process, pipe in doomed:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        with pipe:
            said += until_its_end(pipe)
        process.join(timeout=LONGEST_S)
        assert process.exitcode == -signal.SIGKILL, said[-1:]
    return said


def until_its_end(pipe: Connection) -> list[str]:
    said = []
    while True:
        try:
            said.append(pipe.recv())
        except EOFError:
            return said


def opened(pay: PayPlatform, shop: MerchantClient, methods: list[PaymentMethod]) -> int:
    """How many of these open as the card whose last digits are shown; each has to."""
    vault = pay._engine()._vault
    for method in methods:
        card = vault.open_stored(shop.id, method.token, brand=method.brand)
        assert card is not None
        assert card.number.reveal().endswith(method.last4)
        assert luhn_valid(card.number.reveal())
    return len(methods)


def test_every_card_opens_before_during_and_after_rotations_that_are_killed(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    prepare(path)
    chance = random.Random(4)  # noqa: S311  # repeatable, not unguessable
    figures = FIGURES["rotation"]
    with PayPlatform.open(path) as pay:
        shop = open_shop(pay)
        figures["opened before"] += opened(pay, shop, list(shop.payment_methods.list()))
    for life in range(KILLS):
        said = lives(path, life, chance)
        assert not [word for word in said if word.startswith("failed")]
        assert {word for word in said if word.startswith("paid")} <= {"paid captured"}
        figures.update(
            kills=1,
            commits=said.count("commit"),
            rotations=said.count("rotation"),
            payments=said.count("paid captured"),
            stored=said.count("stored"),
        )
        with PayPlatform.open(path) as pay:
            shop = open_shop(pay)
            some = chance.sample(list(shop.payment_methods.list()), LOOKED_AT)
            figures["opened during"] += opened(pay, shop, some)

    with PayPlatform.open(path) as pay:
        shop, storage = open_shop(pay), pay._engine().storage
        pay.vault.rotate_data_key(older_than=timedelta(0))
        assert pay.vault.run().is_done
        everything = list(shop.payment_methods.list())
        figures["opened after"] += opened(pay, shop, everything)
        keys = storage.page(shop.id, WrappedKey, limit=99)
        newest = max(key.key_version for key in keys if key.purpose == "dek")
        assert len(keys) == 2
        under_it = storage.count_of(shop.id, SealedCard, Filter(key_version=newest))
        assert under_it == storage.count_of(shop.id, SealedCard) == len(everything)
        numbers = {number_of(place) for place in range(CARDS)}
        vault = pay._engine()._vault
        found = [vault.open_stored(shop.id, m.token, brand=m.brand) for m in everything]
        assert numbers <= {card.number.reveal() for card in found if card}
        pay.recover()
        assert pay.doctor().ok
    assert len(everything) >= CARDS + figures["stored"]
    assert figures["commits"] > 0
