"""Values as JSON on the simulated bank's wire, and back.

Law of this file: what is written follows from the types of the values, so that a part which a
notice gets one day is carried without a line here. Reading takes what writing makes and nothing
else: no field too many, no fraction, no name twice. Its error tells nothing of what came.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType, UnionType
from typing import Any, Final, TypeVar, cast, get_args

import attrs

from payplatform._domain.money import Money
from payplatform.errors import ErrorCode, InvalidRequest

V = TypeVar("V", bound=attrs.AttrsInstance)

_encode: Final = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


def written(value: attrs.AttrsInstance) -> bytes:
    """A value as the body of a message."""
    return _encode(_plain(value)).encode()


def read(kind: type[V], raw: bytes) -> V:
    """The value of that kind that a body holds.

    Raises:
        InvalidRequest: `notice_malformed`: it holds none.
    """
    try:
        return cast("V", _built(kind, json.loads(raw.decode(), object_pairs_hook=_once_each)))
    except Exception:  # noqa: BLE001, S110  # whatever it is, it may hold what came
        pass
    raise InvalidRequest(
        "raw holds no notice of this bank", code=ErrorCode.NOTICE_MALFORMED, field="raw"
    )


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) != len(pairs):
        raise ValueError
    return named


def _plain(value: Any) -> Any:
    if isinstance(value, Money):
        return {"amount_minor": value.amount_minor, "currency": value.currency}
    if isinstance(value, datetime):
        return value.isoformat()
    if attrs.has(type(value)):
        fields = ((field.name, getattr(value, field.name)) for field in attrs.fields(type(value)))
        return {name: _plain(part) for name, part in fields if part is not None}
    return value


def _built(kind: Any, data: Any) -> Any:
    if isinstance(kind, UnionType):
        (kind,) = (part for part in get_args(kind) if part is not type(None))
    if kind in _READ:
        type_, build = _READ[kind]
        return build(_exactly(type_, data))
    if issubclass(kind, StrEnum):
        return kind(_exactly(str, data))
    attrs.resolve_types(kind)
    fields = attrs.fields_dict(kind)
    parts = {name: _built(fields[name].type, part) for name, part in _exactly(dict, data).items()}
    return kind(**parts)


def _exactly(type_: type, data: Any) -> Any:
    if type(data) is not type_:
        raise TypeError
    return data


def _money(data: dict[str, Any]) -> Money:
    return Money.minor(**data)


_READ: Final[MappingProxyType[Any, tuple[type, Callable[[Any], Any]]]] = MappingProxyType(
    {
        str: (str, str),
        int: (int, int),
        bool: (bool, bool),
        datetime: (str, datetime.fromisoformat),
        Money: (dict, _money),
    }
)
