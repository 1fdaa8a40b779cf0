"""Where a refused value could hide in an error, searched."""

import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import payplatform

SHORTEST_TELLING = 5
OURS = Path(payplatform.__file__).parent


def hiding_places(error: BaseException) -> Iterator[str]:
    """Everything a log would show of an error and its chain."""
    yield str(error)
    yield repr(error)
    yield repr(error.args)
    yield repr(vars(error))
    # Without their source lines: those of a test may well hold what it types in.
    yield "".join(traceback.format_exception_only(error))
    for chained in (error.__cause__, error.__context__):
        if chained is not None:
            yield from hiding_places(chained)


def our_locals(trace: TracebackType | None) -> Iterator[str]:
    """The local variables of the library's own frames, as crash reporters print them."""
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).is_relative_to(OURS):
            for value in trace.tb_frame.f_locals.values():
                with suppress(AttributeError):  # a value that was refused half made
                    yield repr(value)
        trace = trace.tb_next


def told(secret: str, error: BaseException) -> list[str]:
    """The places where a telling part of `secret` stands: five characters of it, or all."""
    return [place for place in hiding_places(error) if tells(place, secret)]


def held(secret: str, error: BaseException) -> list[str]:
    """The local variables of ours in which a telling part of `secret` stands."""
    return [place for place in our_locals(error.__traceback__) if tells(place, secret)]


def tells(place: str, secret: str) -> bool:
    size = min(len(secret), SHORTEST_TELLING)
    return bool(size) and any(
        secret[start : start + size] in place for start in range(len(secret) - size + 1)
    )
