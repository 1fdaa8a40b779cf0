"""The test kit: what payplatform is tested with, for you to test your shop, bank or store with.

Law of this file: names and where they live, nothing else. Each is loaded when it is first used, so
that a clock does not need pytest, nor a contract more than the extra `testing` brings.

- `FakeClock`, `SeededIds`, `sequential_ids`: a history that repeats to the byte.
- `StorageContract`, `BankContract`, `KeyServiceContract`: inherit one, and your adapter is held to
  its port.
- `strategies`: hypothesis strategies for money, cards, texts and whole command sequences; `play`
  carries a command out.
- `payplatform.testing.plugin`: fixtures `pay_clock`, `pay_bank`, `pay_sandbox`, `pay_shop` and
  `pay_cards`, there as soon as the extra `testing` is installed.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from payplatform.testing import strategies
    from payplatform.testing.bank_contract import BankContract
    from payplatform.testing.commands import Bench, Command, Told, play
    from payplatform.testing.keys_contract import KeyServiceContract
    from payplatform.testing.repeatable import FakeClock, SeededIds, sequential_ids
    from payplatform.testing.storage_contract import StorageContract

__all__ = [
    "BankContract",
    "Bench",
    "Command",
    "FakeClock",
    "KeyServiceContract",
    "SeededIds",
    "StorageContract",
    "Told",
    "play",
    "sequential_ids",
    "strategies",
]

_HOMES: Final = {
    "BankContract": "bank_contract",
    "Bench": "commands",
    "Command": "commands",
    "FakeClock": "repeatable",
    "KeyServiceContract": "keys_contract",
    "SeededIds": "repeatable",
    "StorageContract": "storage_contract",
    "Told": "commands",
    "play": "commands",
    "sequential_ids": "repeatable",
}


def __getattr__(name: str) -> object:
    if name == "strategies":
        return importlib.import_module("payplatform.testing.strategies")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_home(f"{__name__}.{_HOMES[name]}"), name)


def _home(module: str) -> object:
    """The module, with pytest told to explain its asserts if it is a contract and pytest runs."""
    if module.endswith("_contract") and module not in sys.modules and "pytest" in sys.modules:
        sys.modules["pytest"].register_assert_rewrite(module)
    return importlib.import_module(module)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
