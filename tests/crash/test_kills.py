"""A process that takes payments is killed at any moment, again and again.

How: the process says on a pipe which call it is about to make, and what each call has returned.
Whoever holds the other end kills it, reads the pipe to its end, and looks into the file for what
the process has been told. After some kills time passes, recovery runs, and every call that was ever
asked for has come to an end that the bank's books agree with.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from crash_size import FIGURES, how_many
from doomed import LONGEST_S, PROCESSES, Asked, Told, open_shop, prepare, take_payments

from payplatform import MerchantClient, PayPlatform
from payplatform.banks.simulated import SimulatedBank
from payplatform.cli._bank_books import differences

KILLS_OF_ONE_FILE = 15


@pytest.mark.parametrize(("face", "tills"), [("blocking", 1), ("blocking", 8), ("async", 8)])
@pytest.mark.parametrize("file", range(how_many(full=20, sample=1)))
def test_a_killed_process_loses_nothing_that_it_was_told(
    file: int, face: str, tills: int, tmp_path: Path
) -> None:
    path = tmp_path / "shop.db"
    prepare(path)
    chance = random.Random(file)  # noqa: S311  # repeatable, not unguessable
    asked, told = set[str](), dict[str, Told]()
    for life in range(KILLS_OF_ONE_FILE):
        first = life * 10_000
        for message in said_until_killed(path, first, chance, tills=tills, face=face):
            asked.add(message.key)
            if isinstance(message, Told):
                told[message.key] = message
        with at_the_file(path, timedelta(0)) as (pay, shop):
            require_told_again(pay, shop, told)
    with at_the_file(path, timedelta(hours=1)) as (pay, shop):
        pay.recover()
        require_all_definite(pay, shop, asked, path)
        require_told_again(pay, shop, told)
    FIGURES["SIGKILL"].update(kills=KILLS_OF_ONE_FILE, asked=len(asked), acknowledged=len(told))
    assert len(told) > KILLS_OF_ONE_FILE


def said_until_killed(
    path: Path, first: int, chance: random.Random, *, tills: int, face: str
) -> Iterator[Asked | Told]:
    """All that one life of the process says; now and then it dies before it could say a word."""
    mine, its = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=take_payments, args=(path, its, first, tills, face))
    process.start()
    its.close()
    # As many messages as are drawn, however slow the machine is, and then at any moment.
    for _ in range(chance.choice([0, chance.randint(1, 8 * tills)])):
        assert mine.poll(LONGEST_S)
        yield mine.recv()
    time.sleep(chance.uniform(0, 0.02))
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    yield from until_its_end(mine)
    process.join(timeout=LONGEST_S)
    assert process.exitcode == -signal.SIGKILL


def until_its_end(pipe: Connection) -> Iterator[Asked | Told]:
    with pipe:
        while True:
            try:
                yield pipe.recv()
            except EOFError:
                return


@contextmanager
def at_the_file(path: Path, later: timedelta) -> Iterator[tuple[PayPlatform, MerchantClient]]:
    """A new process's view, once so much more time has passed."""
    with PayPlatform.open(path, now=lambda: datetime.now(UTC) + later) as pay:
        yield pay, open_shop(pay)


def require_told_again(pay: PayPlatform, shop: MerchantClient, told: dict[str, Told]) -> None:
    storage = pay._engine().storage
    for key, message in told.items():
        operation = shop.operations.find(idempotency_key=key)
        assert operation is not None, key
        assert storage.receipt(shop.id, operation.id) == message.payment


def require_all_definite(
    pay: PayPlatform, shop: MerchantClient, asked: set[str], path: Path
) -> None:
    """Nothing is open, the bank has booked what we have, and no key more than once."""
    assert pay.doctor().ok
    assert not list(shop.operations.list_unresolved())
    bank = SimulatedBank(f"{path}.bank")
    compared, differing = differences(pay, bank)
    assert compared
    assert not differing
    for key in asked:
        operation = shop.operations.find(idempotency_key=key)
        if operation is not None:
            effects = bank.effects(shop.id, operation.id)
            assert effects == int(operation.state == "succeeded"), key
    bank.close()
