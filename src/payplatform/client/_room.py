"""What all parts of a merchant's client share: whose it is, and an engine that is still open."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from attrs import evolve

from payplatform._domain.audit import UNNAMED, Caller
from payplatform._domain.moments import is_moment
from payplatform._domain.text import clean_id, clean_metadata, clean_text
from payplatform.errors import ErrorCode, InvalidRequest

if TYPE_CHECKING:
    from payplatform._engine.engine import Engine

NAME_LENGTH = 200
REFERENCE_LENGTH = 100
ORIGIN_LENGTH = 200
EXPLANATION_LENGTH = 500


class Room:
    """One merchant's view on one kind of thing."""

    def __init__(
        self, engine: Callable[[], Engine], merchant_id: str, caller: Caller = UNNAMED
    ) -> None:
        self._open_engine = engine
        self._merchant_id = merchant_id
        self._caller = caller

    @property
    def _engine(self) -> Engine:
        return self._open_engine()

    def _signed(self, actor: str) -> Caller:
        """The caller of a call that asks for its actor.

        Raises:
            InvalidRequest: the actor breaks its rule, or looks like a card number.
        """
        return evolve(self._caller, actor=clean_text(actor, field="actor", max_length=NAME_LENGTH))


def optional_text(value: str | None, *, field: str, max_length: int) -> str | None:
    """`value` in its normal form, or None."""
    return None if value is None else clean_text(value, field=field, max_length=max_length)


def optional_id(value: str | None, *, prefix: str, field: str) -> str | None:
    """`value` if it is an id of that kind, or None."""
    return None if value is None else clean_id(value, prefix=prefix, field=field)


def optional_metadata(value: Any) -> tuple[tuple[str, str], ...]:
    """Metadata in its normal form; none is empty."""
    return () if value is None else clean_metadata(value)


def an_origin(value: object) -> str | None:
    """Where a call comes from, as it was given: it is never stored, only compared.

    Raises:
        InvalidRequest: it is no text of 1 to 200 characters: `type_invalid`, `text_empty`,
            `text_too_long`, `text_not_printable`.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise _no_origin("must be text", ErrorCode.TYPE_INVALID)
    if not value.strip():
        raise _no_origin("must not be empty", ErrorCode.TEXT_EMPTY)
    if len(value) > ORIGIN_LENGTH:
        raise _no_origin(f"must have at most {ORIGIN_LENGTH} characters", ErrorCode.TEXT_TOO_LONG)
    if not value.isprintable():
        raise _no_origin("must be printable", ErrorCode.TEXT_NOT_PRINTABLE)
    return value


def _no_origin(rule: str, code: ErrorCode) -> InvalidRequest:
    return InvalidRequest(f"origin {rule}", code=code, field="origin")


def a_caller(actor: str | None, origin: str | None) -> Caller:
    """Who calls, and from where, in their normal forms.

    Raises:
        InvalidRequest: one of them breaks its rule, or looks like a card number.
    """
    return Caller(
        actor=UNNAMED.actor
        if actor is None
        else clean_text(actor, field="actor", max_length=NAME_LENGTH),
        origin=optional_text(origin, field="origin", max_length=NAME_LENGTH),
    )


def a_time(value: object, *, field: str) -> datetime | None:
    """`value` if it is a time with a time zone, or None.

    Raises:
        InvalidRequest: it is not: `type_invalid`.
    """
    if value is None or is_moment(value):
        return value
    raise InvalidRequest(
        f"{field} must be a datetime with a time zone", code=ErrorCode.TYPE_INVALID, field=field
    )


def a_count(value: object, *, field: str, most: int = 10_000) -> int:
    """`value` if it is a whole number from 1 to `most`.

    Raises:
        InvalidRequest: it is not: `type_invalid`, `value_invalid`.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(
            f"{field} must be a whole number", code=ErrorCode.TYPE_INVALID, field=field
        )
    if not 1 <= value <= most:
        raise InvalidRequest(
            f"{field} must be from 1 to {most}", code=ErrorCode.VALUE_INVALID, field=field
        )
    return value
