"""Threads that read wait for each other for a moment, and never for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from payplatform.storage._turns import Turns

MANY = 8


def all_at_once(do: Callable[[], object]) -> None:
    with ThreadPoolExecutor(MANY) as threads:
        for done in [threads.submit(do) for _ in range(MANY * 20)]:
            done.result(timeout=60)


def test_as_long_as_turns_are_short_one_has_its_turn_at_a_time() -> None:
    turns, inside, most = Turns(patience_s=60), 0, 0

    def turn() -> None:
        nonlocal inside, most
        with turns.mine():
            inside += 1
            most = max(most, inside)
            time.sleep(0.001)  # so that others would come in if they could
            inside -= 1

    all_at_once(turn)
    assert most == 1


def test_nobody_waits_for_one_who_takes_long() -> None:
    turns, has_begun, may_end = Turns(), threading.Event(), threading.Event()

    def long() -> None:
        with turns.mine():
            has_begun.set()
            assert may_end.wait(60)

    def short() -> None:
        with turns.mine():
            assert not may_end.is_set()

    with ThreadPoolExecutor(1) as other:
        ended = other.submit(long)
        assert has_begun.wait(60)
        all_at_once(short)
        may_end.set()
        ended.result(timeout=60)


def test_a_turn_that_never_ends_is_waited_for_once() -> None:
    """Its thread was left behind by a fork: from then on others have turns of their own."""
    turns = Turns()
    left_behind = turns.mine()
    left_behind.__enter__()
    with turns.mine():
        pass
    waited_for = turns._lock
    with turns.mine():
        pass
    assert turns._lock is waited_for


def test_whoever_fails_in_their_turn_gives_it_back() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.mine():
        _ = 1 / 0
    assert not turns._lock.locked()
