"""Only reveal() gives a secret's text."""

import copy
import inspect
import logging
import pickle
from collections.abc import Callable
from typing import Any

import attrs
import cattrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from payplatform._domain.secret import Secret

TEXT = "4242424242424242"

texts = st.text(st.characters(codec=None))


@attrs.frozen
class Holder:
    secret: Secret


@given(texts)
def test_reveal_gives_back_the_text(text: str) -> None:
    assert Secret(text).reveal() == text


@given(texts, texts)
def test_secrets_are_the_same_when_their_texts_are(one: str, other: str) -> None:
    assert Secret(one).same_as(Secret(one))
    assert Secret(one).same_as(Secret(other)) is (one == other)


def test_the_repr_is_always_the_same() -> None:
    assert repr(Secret(TEXT)) == repr(Secret("")) == "Secret(****)"


@pytest.mark.parametrize(
    "attempt",
    [
        str,
        format,
        len,
        list,
        iter,
        hash,
        vars,
        dict,
        sorted,
        bytes,
        int,
        float,
        copy.copy,
        copy.deepcopy,
        pickle.dumps,
        lambda secret: f"{secret}",
        lambda secret: f"{secret:>20}",
        lambda secret: "%s" % secret,  # noqa: UP031  # old formatting is one more way out
        "".join,
        lambda secret: "x" + secret,
        lambda secret: secret[0],
        lambda secret: "4" in secret,
        lambda secret: secret == TEXT,
        lambda secret: TEXT == secret,  # noqa: SIM300  # here the str is asked first
        lambda secret: secret != TEXT,
        lambda secret: secret == Secret(TEXT),
        lambda secret: secret < Secret(TEXT),
        lambda secret: {secret},
        lambda secret: secret.same_as(TEXT),
        lambda secret: secret.__getstate__(),
        lambda secret: secret.__reduce__(),
        lambda secret: pickle.dumps(secret, 0),
        lambda secret: pickle.dumps(Holder(secret)),
        lambda secret: copy.deepcopy(Holder(secret)),
        lambda secret: setattr(secret, "text", "x"),
        lambda secret: setattr(secret, "reveal", "x"),
        lambda secret: delattr(secret, "_Secret__reveal"),
    ],
)
def test_whatever_else_would_use_or_change_the_text_is_refused(
    attempt: Callable[[Secret], Any],
) -> None:
    with pytest.raises(TypeError) as caught:
        attempt(Secret(TEXT))

    assert TEXT not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize(
    "look",
    [
        repr,
        dir,
        inspect.getmembers,
        ascii,
        lambda secret: repr([secret, {"key": secret}]),
        lambda secret: repr(Holder(secret)),
        lambda secret: repr(attrs.asdict(Holder(secret))),
        lambda secret: repr(attrs.astuple(Holder(secret))),
        lambda secret: repr(cattrs.unstructure(Holder(secret))),
        lambda secret: repr(cattrs.unstructure(secret)),
        lambda secret: [getattr(secret, slot, None) for slot in secret.__slots__],
        lambda secret: [
            getattr(secret, name) for name in object.__dir__(secret) if name != "__class__"
        ],
    ],
)
def test_no_way_of_looking_shows_the_text(look: Callable[[Secret], Any]) -> None:
    assert TEXT not in repr(look(Secret(TEXT)))


def test_a_log_line_that_is_handed_a_secret_does_not_tell_it(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("shop").warning("card %r", Secret(TEXT))

    assert "card Secret(****)" in caplog.text
    assert TEXT not in caplog.text + "".join(capsys.readouterr())


@pytest.mark.parametrize("text", [None, 123, b"123", ["1"], Secret("1")])
def test_a_secret_guards_text_only(text: Any) -> None:
    with pytest.raises(TypeError):
        Secret(text)
