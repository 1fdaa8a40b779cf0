"""How a defect is planted: something is put in the place of something else, for a while.

Law of this file: when the block ends, everything is as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from attrs import frozen


@frozen(kw_only=True)
class Mutant:
    """One planted defect.

    Attributes:
        name: what it is called.
        words: what is wrong.
        storage: on which store it shows.
        swaps: what is put in the place of what: the owner, the attribute, and the new value.
    """

    name: str
    words: str
    storage: str = "memory"
    swaps: tuple[tuple[object, Any, object], ...]


@contextmanager
def planted(mutant: Mutant | None) -> Iterator[None]:
    """Have the defect for as long as the block lasts; None: have none."""
    with ExitStack() as undo:
        for owner, name, value in mutant.swaps if mutant else ():
            if isinstance(owner, dict):
                undo.enter_context(patch.dict(owner, {name: value}))
            else:
                undo.enter_context(patch.object(owner, name, value))
        yield
