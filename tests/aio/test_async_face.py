"""The async face has every verb of the blocking one, as it is, and none of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from inspect import (
    getdoc,
    getmembers,
    isasyncgenfunction,
    iscoroutinefunction,
    isfunction,
    signature,
)
from typing import Any, get_type_hints

import pytest

import payplatform
from payplatform import AsyncMerchantClient, AsyncPayPlatform, MerchantClient, PayPlatform
from payplatform.aio import rooms
from payplatform.aio._verbs import AsyncRoom

SYNC = {"on_behalf_of"}
"""What waits for nothing, and so is not awaited."""

NOT_COPIED = {"open", "sandbox", "close", "merchant"}
"""What gives something of its own face, or is no verb."""


def twins() -> Iterator[tuple[type, type]]:
    """Each class of the async face with its blocking twin."""
    yield AsyncPayPlatform, PayPlatform
    yield AsyncMerchantClient, MerchantClient
    for _, room in getmembers(rooms, lambda member: isinstance(member, type)):
        if issubclass(room, AsyncRoom) and room is not AsyncRoom:
            yield room, room.__orig_bases__[0].__args__[0]


def verbs(face: type) -> dict[str, Any]:
    """Its public methods."""
    return {name: it for name, it in getmembers(face, isfunction) if not name.startswith("_")}


PAIRS = list(twins())


@pytest.mark.parametrize(("face", "twin"), PAIRS, ids=[face.__name__ for face, _ in PAIRS])
def test_both_faces_have_the_same_verbs(face: type, twin: type) -> None:
    assert set(verbs(face)) == set(verbs(twin))


@pytest.mark.parametrize(("face", "twin"), PAIRS, ids=[face.__name__ for face, _ in PAIRS])
def test_a_verb_takes_what_its_twin_takes_and_says_the_same_of_itself(
    face: type, twin: type
) -> None:
    for name, verb in verbs(face).items():
        its = verbs(twin)[name]
        assert list(signature(verb).parameters.values()) == list(
            signature(its).parameters.values()
        ), name
        assert name in NOT_COPIED | SYNC or getdoc(verb) == getdoc(its), name


@pytest.mark.parametrize(("face", "twin"), PAIRS, ids=[face.__name__ for face, _ in PAIRS])
def test_what_gives_many_is_a_stream_and_all_else_is_awaited(face: type, twin: type) -> None:
    for name, verb in verbs(face).items():
        if name in SYNC:
            continue
        gives_many = str(signature(verbs(twin)[name]).return_annotation).startswith("Iterator")
        assert isasyncgenfunction(verb) == gives_many, name
        assert iscoroutinefunction(verb) != gives_many, name


def test_every_room_of_a_client_is_there() -> None:
    """By the names that the blocking client has for its own."""

    async def rooms_of() -> tuple[set[str], set[str], set[str], set[str]]:
        async with AsyncPayPlatform.sandbox() as pay:
            blocking: Any = pay._room
            shop = await pay.merchant((await pay.merchants.create(name="Acme")).id)
            return public(pay), public(blocking), public(shop), public(shop._room)

    def public(it: object) -> set[str]:
        return {name for name in vars(it) if not name.startswith("_")}

    pay, its, shop, the_shops = asyncio.run(rooms_of())
    assert pay == its
    assert shop == the_shops


def test_types_are_those_of_the_twin() -> None:
    """As type checkers and editors read them: not `Any` on the way."""
    assert get_type_hints(rooms.AsyncPayments.charge)["return"] is payplatform.Payment


def test_the_async_face_is_loaded_when_it_is_named() -> None:
    program = (
        "import sys, payplatform; assert 'greenlet' not in sys.modules;"
        "assert 'asyncio' not in sys.modules; payplatform.AsyncPayPlatform;"
        "assert 'greenlet' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_without_its_extra_it_tells_how_to_install_it() -> None:
    program = "import sys; sys.modules['greenlet'] = None; from payplatform import AsyncPayPlatform"
    ended = subprocess.run(
        [sys.executable, "-c", program], check=False, timeout=60, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert 'pip install "payplatform[async]"' in ended.stderr


def test_no_other_name_is_made_up() -> None:
    with pytest.raises(AttributeError, match="AsyncNothing"):
        payplatform.AsyncNothing  # noqa: B018  # the look is the test
