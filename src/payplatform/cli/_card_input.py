"""How a card comes in: at hidden prompts, or line by line on standard input. Never in an argument.

Whatever stands in an argument is in the shell's history and in every listing of processes. So
anything there that looks like a card number is refused before it is even parsed, unseen.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

import click

from payplatform._domain.cards import Card
from payplatform._domain.secret import Secret
from payplatform._domain.text import looks_like_card_number
from payplatform.cli._session import Refused

_LONGEST_LINE = 256
# What may be a card number mistyped: it fails the check digit, and is no less somebody's.
_MANY_DIGITS = re.compile(r"[0-9](?:[ .\-]?[0-9]){11,}")


def refuse_card_numbers(words: Sequence[str]) -> None:
    """Pass when nothing among the arguments looks like a card number, whole or in groups.

    Raises:
        Refused: something does.
    """
    if looks_like_card_number(" ".join(words)) or any(map(looks_like_card_number, words)):
        raise Refused(
            "an argument looks like a card number; whatever is typed here stays in the shell's "
            "history and shows in the list of processes",
            code="card_number_in_arguments",
            field=None,
            hint="Delete the line from the history. Give the number at the prompt, or on standard "
            "input with --card-stdin.",
        )


def without_digits(text: str) -> str:
    """`text` with every run of digits as long as a card number struck out."""
    return _MANY_DIGITS.sub("****", text)


def read_card(*, from_stdin: bool) -> tuple[Card, Secret | None]:
    """Ask for a card, and for its security code.

    Args:
        from_stdin: whether to read it from standard input, if that is no terminal: first line the
            number, second the expiry, third, if there is one, the security code.

    Raises:
        InvalidRequest: that is no card.
        Refused: nobody is there to ask.
    """
    if from_stdin and not sys.stdin.isatty():
        return _card(_line(), _line(), _line())
    _require_somebody("--card-stdin reads it from standard input, --payment-method names one.")
    number = click.prompt("Card number", hide_input=True, err=True)
    expiry = click.prompt("Expiry (MM/YY)", err=True)
    return _card(number, expiry, _hidden_code())


def read_security_code() -> Secret | None:
    """Ask for the security code of a stored card; without a terminal it is one line of input."""
    return _guarded(_hidden_code() if sys.stdin.isatty() else _line())


def _card(number: str, expiry: str, code: str) -> tuple[Card, Secret | None]:
    return Card(number, expiry), _guarded(code)


def _guarded(code: str) -> Secret | None:
    return Secret(code) if code else None


def _hidden_code() -> str:
    text = "Security code (Enter for none)"
    return str(click.prompt(text, hide_input=True, default="", show_default=False, err=True))


def _line() -> str:
    """The next line; what is not text in it does not become an error that would show it."""
    line = sys.stdin.buffer.readline(_LONGEST_LINE)
    return line.decode("utf-8", errors="replace").strip()


def _require_somebody(hint: str) -> None:
    if not sys.stdin.isatty():
        raise Refused(
            "a card has to be asked for, and standard input is no terminal",
            code="no_terminal",
            field="card",
            hint=hint,
        )
