"""Threads for what blocks, which go on with something else while the bank is awaited.

Law of this file: a call runs as it does without asyncio, from its first line to its last on one
thread, but on a stack of its own. Where it comes to await the bank, the stack is put aside, and the
thread is free for others. So there is one engine for both faces, and no rule of it is said twice.

What has been asked of the bank goes on before anything new is begun: its lease is running.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeVar, cast

from attrs import define
from greenlet import getcurrent, greenlet

from payplatform.errors import ErrorCode, NotAllowed, NotSent

R = TypeVar("R")

Ask = Callable[[], Coroutine[Any, Any, R]]
"""Makes, on the event loop, what is to be awaited there."""

_Answer = Callable[[], R]
"""Returns what came of it, or raises it."""


def awaited(ask: Ask[R]) -> R:
    """Await something from inside a call, whose thread is free until then.

    Args:
        ask: called on the event loop of whoever made the call.

    Returns:
        What came of it.

    Raises:
        BaseException: whatever it raised; CancelledError where the call was cancelled.
        NotSent: there is no such event loop, or no more; nothing was called.
    """
    stack = getcurrent()
    if not isinstance(stack, _Stack):
        raise NotSent("this bank can be asked by an async platform only")
    answer: _Answer[R] = cast("greenlet", stack.parent).switch(ask)
    try:
        return answer()
    finally:
        del answer  # else a failure would hold itself in memory, and the request with it


class Threads:
    """Runs calls, of which any number may be awaiting something.

    Threads begin as they are needed, and anew in the child of a fork.

    Args:
        most: how many calls may be at work at once, besides those that await something.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._is_closed = False
        self._crews: dict[int, _Crew] = {}
        # A platform that is forgotten instead of closed leaves no threads behind.
        weakref.finalize(self, _end_soon, self._crews).atexit = False

    async def run(self, do: Callable[[], R]) -> R:
        """Make a call on a thread.

        Whoever is cancelled while they wait is let go once the call is over, which is soon: what it
        awaits is cancelled with it, and what has not begun never does.

        Raises:
            NotAllowed: `client_closed`: no calls are taken any more.
            BaseException: whatever the call raises.
        """
        if self._is_closed:
            raise NotAllowed("the platform is closed", code=ErrorCode.CLIENT_CLOSED)
        loop = asyncio.get_running_loop()
        call = _Call(do, loop, copy_context(), loop.create_future())
        crew = self._crew()
        crew.take(call)
        try:
            await asyncio.shield(call.end)
        except asyncio.CancelledError:
            crew.give_back(call)
            call.cancel()
            await _over(call)
            raise
        return cast("R", call.outcome())

    async def close(self, last: Callable[[], object]) -> None:
        """Wait for the calls that were made on this event loop, make a last one, and take no more.

        A second close does nothing. One that is cancelled before the last call has begun has closed
        nothing, and can be made again.
        """
        while calls := self._crew().calls_on(asyncio.get_running_loop()):
            await asyncio.wait([call.end for call in calls])
        if self._is_closed:
            return
        try:
            await self.run(partial(self._end_with, last))
        finally:
            if self._is_closed:
                self._crew().end()

    def _end_with(self, last: Callable[[], object]) -> None:
        self._is_closed = True
        last()

    def _crew(self) -> _Crew:
        crew = self._crews.get(os.getpid())
        return crew or self._crews.setdefault(os.getpid(), _Crew(self._most))


def _end_soon(crews: dict[int, _Crew]) -> None:
    """End the threads of this process, by another thread: this one may be at work on them."""
    crew = crews.get(os.getpid())
    if crew is not None:
        threading.Thread(target=crew.end, daemon=True).start()


class _Stack(greenlet):
    """What a call runs on."""


@define(eq=False)
class _Call:
    """One call. What it awaits, and that it is over, is known on its event loop.

    Attributes:
        end: done when it is over.
        stack: what it runs on, once it has begun.
    """

    _do: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    _context: Context
    end: asyncio.Future[None]
    stack: _Stack | None = None
    _awaits: asyncio.Task[Any] | None = None
    _is_cancelled: bool = False
    _answer: _Answer[Any] | None = None

    def begin(self) -> _Stack:
        """Get ready to run on the thread that this is called on."""
        self.stack = _Stack(self._run)
        self.stack.gr_context = self._context
        return self.stack

    def _run(self) -> None:
        if self._is_cancelled:
            return
        try:
            value = self._do()
        except BaseException as error:  # noqa: BLE001  # it is raised where the call is awaited
            self._answer = partial(_raised, error)
        else:
            self._answer = lambda: value

    def outcome(self) -> Any:
        """What it returned; or raise what it raised."""
        answer, self._answer = self._answer, None
        try:
            return None if answer is None else answer()
        finally:
            del answer  # as above

    def ask(self, ask: Ask[Any], go_on: Callable[[_Answer[Any]], object]) -> None:
        """Await something, unless this was cancelled; and go on with what comes of it."""
        if self._is_cancelled:
            go_on(partial(_raised, asyncio.CancelledError()))
            return

        def answered(task: asyncio.Task[Any]) -> None:
            self._awaits = None
            go_on(task.result)

        self._awaits = self.loop.create_task(_asked(ask), context=self._context)
        self._awaits.add_done_callback(answered)

    def cancel(self) -> None:
        """End what it awaits, be it now or later."""
        self._is_cancelled = True
        if self._awaits is not None:
            self._awaits.cancel()

    def tell(self) -> None:
        """Say that it is over."""
        if not self.end.done():
            self.end.set_result(None)


class _Crew:
    """The threads of one process, and the calls that wait for one of them.

    Attributes:
        lock: held by whoever looks at any of this.
        new: calls that came when every thread was at work.
        idle: threads that are not.
        is_over: whether threads are to end when there is nothing left to do.
        threads: how many there are.
    """

    def __init__(self, most: int) -> None:
        self.lock = threading.Lock()
        self.new: deque[_Call] = deque()
        self.idle: list[_Thread] = []
        self.is_over = False
        self.threads = 0
        self._most = most
        self._calls: set[_Call] = set()

    def take(self, call: _Call) -> None:
        """Have a call made; as long as there are enough threads, by one that has no other."""
        with self.lock:
            thread = min(self.idle, key=lambda idle: idle.begun, default=None)
            if self.threads < self._most and (thread is None or thread.begun):
                thread = _Thread(self)
                self.threads += 1
            self._calls.add(call)
            if thread is None:
                self.new.append(call)
            else:
                thread.give(call)

    def give_back(self, call: _Call) -> None:
        """Never make a call that waits for a thread; any other goes on."""
        with self.lock:
            if call in self.new:
                self.new.remove(call)
                self._calls.discard(call)
                call.tell()

    def let_go(self, call: _Call) -> None:
        """A call is over."""
        with self.lock:
            self._calls.discard(call)
        with suppress(RuntimeError):  # that event loop is closed: nobody waits there any more
            call.loop.call_soon_threadsafe(call.tell)

    def calls_on(self, loop: asyncio.AbstractEventLoop) -> list[_Call]:
        """The calls of an event loop that are not over."""
        with self.lock:
            return [call for call in self._calls if call.loop is loop]

    def end(self) -> None:
        """Let the threads end when there is nothing left to do."""
        with self.lock:
            self.is_over = True
            for thread in tuple(self.idle):
                thread.wake()


_Step = tuple[_Call] | tuple[_Call, _Answer[Any]]
"""A call to begin, or one to go on with."""


class _Thread:
    """A thread, and those of its calls that can go on.

    Attributes:
        begun: how many calls are on it, most of which await something.
    """

    def __init__(self, crew: _Crew) -> None:
        self.begun = 0
        self._crew = crew
        self._ready: deque[_Step] = deque()
        self._woken = threading.Condition(crew.lock)
        # What it is in the middle of when the program ends is what a crash would leave.
        threading.Thread(target=self._work, name="payplatform", daemon=True).start()

    def give(self, *step: Any) -> None:
        """Have it take a step. Called with the lock held."""
        self._ready.append(step)
        self.begun += len(step) == 1
        self.wake()

    def wake(self) -> None:
        """Wake it, if it waits. Called with the lock held."""
        if self in self._crew.idle:
            self._crew.idle.remove(self)
            self._woken.notify()

    def _work(self) -> None:
        # Each step has a frame of its own: nothing of a call stays with a thread that waits.
        while self._goes_on():
            continue

    def _goes_on(self) -> bool:
        """Take the next step; whether there was one."""
        step = self._next()
        if step is None:
            return False
        call, *answer = step
        stack = call.stack or call.begin()
        ask = stack.switch(*answer)
        if stack.dead:
            self._end(call)
        else:
            self._have_asked(call, ask)
        return True

    def _next(self) -> _Step | None:
        """What can go on comes before what is new; None when there will be nothing any more."""
        with self._crew.lock:
            while not self._ready:
                if self._crew.new:
                    self.give(self._crew.new.popleft())
                elif self._crew.is_over and not self.begun:
                    self._crew.threads -= 1
                    return None
                else:
                    self._crew.idle.append(self)
                    self._woken.wait()
            return self._ready.popleft()

    def _end(self, call: _Call) -> None:
        with self._crew.lock:
            self.begun -= 1
        self._crew.let_go(call)

    def _have_asked(self, call: _Call, ask: Ask[Any]) -> None:
        go_on = partial(self._go_on, call)
        try:
            call.loop.call_soon_threadsafe(call.ask, ask, go_on)
        except RuntimeError:
            go_on(partial(_raised, NotSent("the event loop is closed")))

    def _go_on(self, call: _Call, answer: _Answer[Any]) -> None:
        with self._crew.lock:
            self.give(call, answer)


async def _asked(ask: Ask[R]) -> R:
    """Whatever goes wrong when it is called goes wrong where it is awaited."""
    return await ask()


def _raised(error: BaseException) -> Any:
    try:
        raise error
    finally:
        del error  # as above


async def _over(call: _Call) -> None:
    """Wait until a call is over, however often this is cancelled meanwhile."""
    while not call.end.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([call.end])
