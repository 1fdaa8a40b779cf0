"""Everything text-like that an object still holds on to, however deep.

Law of this file: to look, not to touch. It follows references as the garbage collector does, so
that no clever attribute hides anything; it does not follow into modules, classes and the globals of
functions, which belong to the program and not to the object.
"""

from __future__ import annotations

import base64
import gc
from collections.abc import Iterator
from types import CodeType, FrameType, FunctionType, ModuleType

_PROGRAM = (ModuleType, type, FrameType, CodeType)
_SMALLEST_NUMBER = 10**9


def reachable_text(root: object) -> Iterator[str]:
    """Every str, bytes and large int that `root` leads to, as text."""
    seen: dict[int, object] = {}
    to_visit: list[object] = [root]
    while to_visit:
        found = to_visit.pop()
        if id(found) in seen or isinstance(found, _PROGRAM):
            continue
        seen[id(found)] = found
        if isinstance(found, str):
            yield found
        elif isinstance(found, bytes | bytearray):
            yield found.decode("latin-1")
        elif isinstance(found, int):
            if found >= _SMALLEST_NUMBER:
                yield str(found)
        else:
            to_visit += _held_by(found)


def _held_by(found: object) -> list[object]:
    if isinstance(found, FunctionType):
        return [found.__closure__, found.__defaults__, found.__kwdefaults__, found.__dict__]
    return gc.get_referents(found)


def forms_of(digits: str) -> tuple[str, ...]:
    """How a number may look where it should not be: plain, in groups, hex, base64."""
    raw = digits.encode("ascii")
    groups = [digits[start : start + 4] for start in range(0, len(digits), 4)]
    return (
        digits,
        " ".join(groups),
        "-".join(groups),
        raw.hex(),
        # Base64 of the same bytes differs by where in a longer text they stood.
        *(base64.b64encode(b"x" * lead + raw)[lead + 2 : -4].decode() for lead in range(3)),
    )
