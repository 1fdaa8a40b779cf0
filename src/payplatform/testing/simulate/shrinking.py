"""Cuts a history that fails down to the shortest one that fails in the same way.

Law of this file: it knows nothing of what a step does. It leaves steps out, then makes those that
are left plainer, and keeps whatever still breaks the same rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from attrs import evolve, fields_dict

from payplatform.testing.simulate.steps import NO_TROUBLE, History, Step, Trouble

_PLAIN: Final[dict[str, object]] = {
    "process": 0,
    "merchant": 0,
    "payment": 0,
    "call": 0,
    "notice": 0,
    "caller": 0,
    "dispute": 0,
    "report": 0,
    "forged": False,
    "accepts": False,
    "amount_minor": 100,
    "currency": "EUR",
    "card": "approves",
    "payer": "customer",
    "willing": False,
    "final": False,
    "passes": True,
    "stranger": False,
    "otherwise": False,
    "again": False,
    "calls": None,
    "seconds": 61,
}
"""What is easiest to read, by the name of what is drawn."""


def shrink(history: History, fails: Callable[[History], bool], *, tries: int) -> History:
    """Make a history as short and as plain as it gets.

    Args:
        history: one that fails.
        fails: whether a history fails in the same way.
        tries: how many histories may be tried.

    Returns:
        One that fails; the same again where nothing could be left out.
    """
    left = tries
    improved = True
    while improved:
        improved = False
        for shorter in (*_without_some(history), *_plainer(history)):
            if left == 0:
                return history
            left -= 1
            if fails(shorter):
                history, improved = shorter, True
                break
    return history


def _without_some(history: History) -> Iterator[History]:
    """Without a part of its steps, large parts first."""
    steps = history.steps
    size = len(steps) // 2
    while size:
        for start in range(len(steps) - size, -1, -size):
            yield evolve(history, steps=steps[:start] + steps[start + size :])
        size //= 2


def _plainer(history: History) -> Iterator[History]:
    for name, plain in (("bank", "that can everything"), ("merchants", 1), ("wakes", True)):
        if getattr(history, name) != plain:
            yield evolve(history, **{name: plain})  # type: ignore[arg-type]  # any field, by name
    for place, step in enumerate(history.steps):
        for plainer in _plainer_steps(step):
            steps = (*history.steps[:place], plainer, *history.steps[place + 1 :])
            yield evolve(history, steps=steps)


def _plainer_steps(step: Step) -> Iterator[Step]:
    """The step with one thing of it plain, or less trouble."""
    names = fields_dict(type(step))
    for name, plain in _PLAIN.items():
        if name in names and getattr(step, name) != plain:
            yield _with(step, name, plain)
    trouble = getattr(step, "trouble", NO_TROUBLE)
    for less in _less(trouble):
        yield _with(step, "trouble", less)


def _less(trouble: Trouble) -> Iterator[Trouble]:
    if trouble == NO_TROUBLE:
        return
    yield NO_TROUBLE
    for name in fields_dict(Trouble):
        parts: tuple[Any, ...] = getattr(trouble, name)
        for place in range(len(parts)):
            yield _with(trouble, name, parts[:place] + parts[place + 1 :])


def _with(value: Any, name: str, part: object) -> Any:
    return evolve(value, **{name: part})
