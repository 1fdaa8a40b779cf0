"""How a verb of the blocking face becomes one that is awaited, with its name, signature and types.

Law of this file: nothing is said of what a verb does. It is made on a thread, as it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial, wraps
from itertools import islice
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from payplatform.aio._threads import Threads

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")

_AT_ONCE = 100


class AsyncRoom(Generic[S]):
    """A room of the blocking face, whose verbs are made on threads."""

    def __init__(self, room: S, threads: Threads) -> None:
        self._room = room
        self._threads = threads


def awaited_verb(
    verb: Callable[Concatenate[S, P], R],
) -> Callable[Concatenate[AsyncRoom[S], P], Coroutine[Any, Any, R]]:
    """The same verb, to be awaited."""

    @wraps(verb)
    async def awaiting(self: AsyncRoom[S], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._threads.run(partial(verb, self._room, *args, **kwargs))

    return awaiting


def streamed_verb(
    verb: Callable[Concatenate[S, P], Iterator[R]],
) -> Callable[Concatenate[AsyncRoom[S], P], AsyncIterator[R]]:
    """The same verb, to go through with `async for`; what is read ahead is at most 100."""

    @wraps(verb)
    async def streaming(
        self: AsyncRoom[S], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator[R]:
        everything = await self._threads.run(partial(verb, self._room, *args, **kwargs))
        is_over = False
        while not is_over:
            some, error = await self._threads.run(partial(_some, everything))
            is_over = len(some) < _AT_ONCE
            for each in some:
                yield each
            if error is not None:
                raise error

    return streaming


def _some(everything: Iterator[R]) -> tuple[list[R], Exception | None]:
    """What comes next; and why no more does, if that is a failure."""
    some: list[R] = []
    try:
        some.extend(islice(everything, _AT_ONCE))
    except Exception as error:  # noqa: BLE001  # it is raised once what came before it is told
        return some, error
    return some, None
