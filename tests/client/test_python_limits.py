"""How far a traceback with local variables can see: into your frames, not into ours.

The limit is Python's: whoever holds a number in a variable shows it to a crash reporter that
collects variables. So it is measured here from both sides, as the documentation tells it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest
from no_leak import OURS
from till import VISA, Till, eur

from payplatform import Card, InvalidRequest, OutcomeUnknown, VaultError


def reported(error: BaseException) -> tuple[str, str]:
    """What a crash reporter prints of our frames, and of all the others."""
    ours, theirs = "", ""
    chained: BaseException | None = error
    while chained is not None:
        for frame in traceback.TracebackException.from_exception(
            chained, capture_locals=True
        ).stack:
            shown = " ".join((frame.locals or {}).values())
            if frame.filename.startswith(str(OURS)):
                ours += shown
            else:
                theirs += shown
        chained = chained.__cause__ or chained.__context__
    return ours, theirs


def sell(till: Till, number: str, code: str) -> None:
    """A shop that keeps what it read from the form in variables."""
    method = till.shop.payment_methods.create(card=Card(number, "12/40"))
    till.shop.payments.charge(
        eur("1"), payment_method=method.id, security_code=code, idempotency_key="k"
    )


def fails(_: object) -> None:
    raise RuntimeError("it failed in the middle of the call")


FAILURES: dict[str, tuple[Callable[[Till, pytest.MonkeyPatch], object], str, type[Exception]]] = {
    "the bank before it saw the card": (
        lambda till, patch: patch.setattr(till.watched, "before", fails),
        "864",
        OutcomeUnknown,
    ),
    "the bank after it took the money": (
        lambda till, patch: patch.setattr(till.watched, "after", fails),
        "864",
        OutcomeUnknown,
    ),
    "the store": (
        lambda till, patch: patch.setattr(till.storage, "commit", fails),
        "864",
        RuntimeError,
    ),
    "the key service": (lambda till, _: till.keys.close(), "864", VaultError),
    "a security code of a wrong length": (lambda *_: None, "8642", InvalidRequest),
}


@pytest.mark.parametrize("what", FAILURES)
def test_a_traceback_with_locals_shows_the_callers_variables_and_none_of_ours(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    till = Till()
    spoil, code, error = FAILURES[what]
    spoil(till, monkeypatch)
    with pytest.raises(error) as caught:
        sell(till, VISA, code)
    ours, theirs = reported(caught.value)

    assert "mer_" in ours, "our frames are in it"
    assert VISA not in ours
    assert repr(code) not in ours
    assert VISA in theirs, "the limit"
    assert repr(code) in theirs, "the limit"
