"""Another platform on the store of a till, and something that happens before it is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from faces import platform
from till import Till

from payplatform import PayPlatform, Settings
from payplatform.ports import Storage


class Between:
    """A store on which something happens each time before it is asked for this."""

    def __init__(self, storage: Storage, asked: str, happens: Callable[..., object]) -> None:
        self._storage, self._asked, self._happens = storage, asked, happens

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._storage, name)
        if name != self._asked:
            return method

        def call(*args: Any, **named: Any) -> Any:
            self._happens(*args)
            return method(*args, **named)

        return call


def watched(
    till: Till, asked: str, happens: Callable[..., object], *, settings: Settings | None = None
) -> PayPlatform:
    """Another platform on the till's store, in front of which something happens."""
    return platform(
        storage=Between(till.storage, asked, happens),
        bank=till.watched,
        keys=till.keys,
        settings=settings,
    )
