"""The test kit: what payplatform is tested with, for you to test your shop, bank or store with.

Law of this file: names and where they live, nothing else. Each is loaded when it is first used, so
that a clock does not need pytest, nor a contract more than the extra `testing` brings.

- `FakeClock`, `SeededIds`, `sequential_ids`: a history that repeats to the byte.
- `StorageContract`, `BankContract`, `KeyServiceContract`, `LimiterContract`: inherit one, and your
  adapter is held to its port.
- `NamedCards`: the simulated bank's test cards by what they do.
- `strategies`: hypothesis strategies for money, cards, texts and whole sequences of commands;
  `Bench` plays them on a shop whose bank and time are yours.
- `recording_disk`: what a power cut would have left of an SQLite file, and calls that fail.
- `blocking`, `AwaitedBank`, `BlockingBank`: what is written for one face, on the other.
- `pay_crash_everywhere`: has your checkout die at each of its port calls in turn.
- `payplatform.testing.plugin`: fixtures `pay_clock`, `pay_bank`, `pay_faults`, `pay_sandbox`,
  `pay_shop`, `pay_cards` and more, there as soon as the extra `testing` is installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from payplatform.testing.bank_contract import BankContract
    from payplatform.testing.bench import Bench, Command, Told
    from payplatform.testing.cards import NamedCards
    from payplatform.testing.crash_everywhere import pay_crash_everywhere
    from payplatform.testing.disk import Disk, Image, Loss, recording_disk
    from payplatform.testing.faces import AwaitedBank, BlockingBank, blocking
    from payplatform.testing.faults import BankFaults
    from payplatform.testing.keys_contract import KeyServiceContract
    from payplatform.testing.limiter_contract import LimiterContract
    from payplatform.testing.repeatable import FakeClock, SeededIds, sequential_ids
    from payplatform.testing.storage_contract import StorageContract

__all__ = [
    "AwaitedBank",
    "BankContract",
    "BankFaults",
    "Bench",
    "BlockingBank",
    "Command",
    "Disk",
    "FakeClock",
    "Image",
    "KeyServiceContract",
    "LimiterContract",
    "Loss",
    "NamedCards",
    "SeededIds",
    "StorageContract",
    "Told",
    "blocking",
    "pay_crash_everywhere",
    "recording_disk",
    "sequential_ids",
    "strategies",
]

_HOMES: Final = {
    "AwaitedBank": "faces",
    "BankContract": "bank_contract",
    "BankFaults": "faults",
    "Bench": "bench",
    "BlockingBank": "faces",
    "Command": "bench",
    "Disk": "disk",
    "FakeClock": "repeatable",
    "Image": "disk",
    "KeyServiceContract": "keys_contract",
    "LimiterContract": "limiter_contract",
    "Loss": "disk",
    "NamedCards": "cards",
    "SeededIds": "repeatable",
    "StorageContract": "storage_contract",
    "Told": "bench",
    "blocking": "faces",
    "pay_crash_everywhere": "crash_everywhere",
    "recording_disk": "disk",
    "sequential_ids": "repeatable",
}


def __getattr__(name: str) -> object:
    if name == "strategies":
        return importlib.import_module("payplatform.testing.strategies")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
