"""Card numbers that may turn up nowhere, and a search for them in every form we could think of."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from itertools import cycle, islice

from payplatform._domain.card_numbers import luhn_check_digit
from payplatform.banks.simulated import test_cards_table

_STARTS = ("400000", "555555", "378282", "601100", "356600", "305693", "220050", "650650")
_LENGTHS = {"378282": 15}
_SHORTEST_KEY = 7


def canaries(count: int) -> tuple[str, ...]:
    """Numbers of eight brands, each unlike the others and unlike every test card."""
    return tuple(
        _numbered(start, number) for number, start in enumerate(islice(cycle(_STARTS), count))
    )


def _numbered(start: str, number: int) -> str:
    middle = str(271_828_182 + 7_919 * number)
    body = (start + middle)[: _LENGTHS.get(start, 16) - 1]
    return body + luhn_check_digit(body)


def test_card_numbers() -> tuple[str, ...]:
    """Those to which the simulated bank does all that a bank can do to a card."""
    return tuple(row[0].replace(" ", "") for row in test_cards_table())


test_card_numbers.__test__ = False  # type: ignore[attr-defined]  # no test, for all its name


def spellings(canary: str) -> Iterator[tuple[str, bytes]]:
    """The forms in which a number could be found, by name."""
    groups = [canary[start : start + 4] for start in range(0, len(canary), 4)]
    for name, gap in {"ascii": "", "spaced": " ", "dashed": "-", "dotted": "."}.items():
        text = gap.join(groups)
        yield name, text.encode()
        yield f"{name}, utf-16-le", text.encode("utf-16-le")
        yield f"{name}, utf-16-be", text.encode("utf-16-be")
    yield "spaced without a break", "\u00a0".join(groups).encode()
    yield "reversed", canary[::-1].encode()
    yield from _encoded("digits", canary.encode())
    even = canary if len(canary) % 2 == 0 else f"0{canary}"
    yield "packed decimal", bytes.fromhex(even)
    yield "packed decimal, filled", bytes.fromhex(canary if even == canary else f"{canary}f")
    yield from _encoded("packed decimal", bytes.fromhex(even))
    for hashed in ("sha1", "sha256", "md5"):
        digest = hashlib.new(hashed, canary.encode(), usedforsecurity=False).digest()
        yield hashed, digest
        yield from _encoded(hashed, digest)


def _encoded(name: str, raw: bytes) -> Iterator[tuple[str, bytes]]:
    yield f"{name} in hex", raw.hex().encode()
    yield f"{name} in capital hex", raw.hex().upper().encode()
    for offset in range(3):
        # What of it is the same whatever stands before and behind.
        whole = base64.b64encode(bytes(offset) + raw + bytes(3))
        first, last = (offset * 8 + 5) // 6, (offset + len(raw)) * 8 // 6
        yield f"{name} in base64 at {offset}", whole[first:last]


class Search:
    """Looks for all forms of all canaries at once: one look-up for each place in a text."""

    def __init__(self, numbers: Iterable[str]) -> None:
        self._forms: dict[bytes, list[tuple[str, str, bytes]]] = {}
        for number in numbers:
            for name, form in spellings(number):
                key = form[:_SHORTEST_KEY]
                assert len(key) == _SHORTEST_KEY, (name, number)
                self._forms.setdefault(key, []).append((number[-4:], name, form))

    def __call__(self, text: bytes) -> list[tuple[str, str, int]]:
        """What was found: last four digits, form, and where."""
        forms, size = self._forms, _SHORTEST_KEY
        at = (place for place in range(len(text)) if text[place : place + size] in forms)
        return [
            (last4, name, place)
            for place in at
            for last4, name, form in forms[text[place : place + size]]
            if text.startswith(form, place)
        ]
