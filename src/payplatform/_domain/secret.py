"""Text that must not get out by accident: card numbers and security codes.

Law of this file: only `reveal()` gives the text. Nothing that Python or a library does on its own
(repr, log, format, pickle, copy, comparison, hash, a listing of attributes) may give it.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import NoReturn, final


class Guarded:
    """Base of what can be neither changed, copied, pickled nor turned into a dict."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is immutable")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} refuses pickling and copying")

    def __getstate__(self) -> NoReturn:
        # object's own lists the slots with their values, and some serialisers ask it directly.
        raise TypeError(f"{type(self).__name__} refuses pickling and copying")


@final
class Secret(Guarded):
    """Text that only `reveal()` gives.

    Its repr is `Secret(****)`. str(), format(), ==, hash(), pickling and copying raise TypeError;
    so do len() and iteration, which it simply does not have.

    Args:
        text: the text to guard.

    Raises:
        TypeError: `text` is not a str.
    """

    # The text lives in a closure: no attribute holds it, so no walk over attributes can find it.
    __slots__ = ("__reveal",)
    __reveal: Callable[[], str]

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            del text
            raise TypeError("a Secret guards text (str)")
        object.__setattr__(self, "_Secret__reveal", lambda: text)

    def reveal(self) -> str:
        """Give the text. Keep it in as few variables, and for as short a time, as you can."""
        return self.__reveal()

    def same_as(self, other: Secret) -> bool:
        """Whether both guard the same text, in a time that does not tell where they differ.

        Raises:
            TypeError: `other` is not a Secret.
        """
        if not isinstance(other, Secret):
            del other
            raise TypeError("a Secret is compared with a Secret")
        return hmac.compare_digest(_as_bytes(self), _as_bytes(other))

    def __repr__(self) -> str:
        return "Secret(****)"

    def __str__(self) -> NoReturn:
        raise TypeError("a Secret has no text form; reveal() gives the text")

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("Secrets are compared with same_as()")

    def __hash__(self) -> NoReturn:
        raise TypeError("a Secret has no hash")

    def __dir__(self) -> list[str]:
        return ["reveal", "same_as"]


def _as_bytes(secret: Secret) -> bytes:
    return secret.reveal().encode("utf-8", "surrogatepass")
