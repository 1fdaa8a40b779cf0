"""A process that dies at any of its port calls.

Law of this file: death strikes just before a port call or just after it, whatever came of it, and
it is for good. A dead process reaches no port any more, whatever it catches and however it goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NoReturn, TypeVar

from attrs import frozen

from payplatform._domain.changes import Changes
from payplatform._domain.messages import BankRequest
from payplatform._domain.operations import Operation

Moment = Literal["before", "after"]

T = TypeVar("T")


class Died(BaseException):
    """The process is gone: nothing that it has not written is left, and nothing more happens."""


@frozen
class Death:
    """Where a process dies.

    Attributes:
        at_call: at which of its port calls, counted from 1.
        moment: just before that call, or just after it, whatever came of it.
    """

    at_call: int
    moment: Moment


@frozen
class PortCall:
    """A port call that was made, for people to read. It holds nothing of a card.

    Attributes:
        name: of the port and its method, such as `bank.send`.
        about: what it was about, such as `sale of 42.00 EUR`; may be empty.
    """

    name: str
    about: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.about})" if self.about else self.name


class Fate:
    """Counts the port calls of a process, and ends it at the one it was told.

    Args:
        death: where; None lets it live.

    Attributes:
        calls: those that were made, or died at, since it was told.
        is_dead: whether it has struck.
    """

    def __init__(self, death: Death | None = None) -> None:
        self.await_death(death)

    def await_death(self, death: Death | None) -> None:
        """Count from here on, and strike there.

        Args:
            death: where; None lets the process live.
        """
        self._death = death
        self.calls: list[PortCall] = []
        self.is_dead = False

    def meet(self, port_call: PortCall, make: Callable[[], T]) -> T:
        """Have a port call made, or die at it.

        Args:
            port_call: which.
            make: makes it.

        Returns:
            What it returned.

        Raises:
            Died: now, or long ago.
        """
        if self.is_dead:
            raise Died
        self.calls.append(port_call)
        if self._strikes("before"):
            self.strike()
        try:
            return make()
        finally:
            if self._strikes("after"):
                self.strike()

    def strike(self) -> NoReturn:
        """End the process here.

        Raises:
            Died: always.
        """
        self.is_dead = True
        raise Died

    def _strikes(self, moment: Moment) -> bool:
        return self._death == Death(len(self.calls), moment)


class Mortal:
    """A port as a mortal process reaches it. Closing it is the process's affair: it stays open.

    Args:
        port: a store, a bank, a key service.
        fate: of the process.
        name: what its calls are called.
    """

    def __init__(self, port: Any, fate: Fate, name: str) -> None:
        self._port, self._fate, self._name = port, fate, name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._port, attribute)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            port_call = PortCall(f"{self._name}.{attribute}", _about(attribute, args))
            return self._fate.meet(port_call, lambda: value(*args, **kwargs))

        return call

    def close(self) -> None:
        """Leave it open."""


def _about(method: str, args: tuple[Any, ...]) -> str:
    match method, args:
        case "send", (BankRequest() as request,):
            return f"{request.kind} of {request.amount}"
        case "commit", (Changes() as changes,):
            return ", ".join(_written(record) for record in changes.records)
        case "operation_with_key", (_, key):
            return f"key {key}"
        case "get", (_, kind, _):
            return str(kind.__name__)
        case _:
            return ""


def _written(record: object) -> str:
    if isinstance(record, Operation):
        return f"{record.kind} {record.state}"
    return type(record).__name__
