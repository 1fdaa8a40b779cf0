"""The last line: card numbers that somebody logs all the same are masked before they are written.

Law of this file: it stands on the rules of `_domain` and on `logging`, and nothing of ours stands
on it. payplatform logs no card number; this is for what your own code and other libraries log.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Final

from payplatform._domain.card_numbers import card_number_spans

__all__ = ["CardNumberFilter", "redacted"]

# What logging itself keeps in a record; all else came by `extra`.
_LOGGINGS_OWN: Final = frozenset(vars(logging.makeLogRecord({})))
_SHOWN_DIGITS: Final = 4


def redacted(text: str) -> str:
    """Mask what may be card numbers in a text: all but their last four digits (PCI DSS 3.4.1).

    Found are 12 to 19 digits, in any common spelling, that are Luhn-valid and begin and measure
    like a card of a known brand: so an order number, a timestamp or a phone number is masked
    exactly if it could be a card number in every respect.

    Args:
        text: any text.

    Returns:
        The text, with `****4242` for each card number; the text itself where it holds none.
    """
    parts, end_of_last = [], 0
    for start, end in _merged(card_number_spans(text)):
        digits = [character for character in text[start:end] if character.isdecimal()]
        parts += [text[end_of_last:start], "****", *digits[-_SHOWN_DIGITS:]]
        end_of_last = end
    return "".join([*parts, text[end_of_last:]]) if parts else text


class CardNumberFilter(logging.Filter):
    """Masks card numbers in all that a log record holds, and lets every record pass.

    Add it to each handler. On a logger it would miss what the loggers below it hand up.

    A record is changed only where it holds a card number. Then its message is its final text,
    without arguments; its traceback is text too, so that no handler can look into the exception;
    and an `extra` that shows a number is replaced by its masked text.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the record in place.

        Args:
            record: what a handler is about to write.

        Returns:
            True: nothing is kept from being logged.
        """
        _redact_message(record)
        _redact_exception(record)
        for name, value in vars(record).items():
            if isinstance(value, str) or name not in _LOGGINGS_OWN:
                setattr(record, name, _harmless(value))
        return True


def _redact_message(record: logging.LogRecord) -> None:
    shown = f"{_text(record.msg)} {_text(record.args)}"
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001  # logging would print message and arguments as they are
        message = shown
    if redacted(message) != message or redacted(shown) != shown:
        record.msg, record.args = redacted(message), ()


def _redact_exception(record: logging.LogRecord) -> None:
    if not isinstance(record.exc_info, tuple):
        return
    text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
    if redacted(text) != text:
        record.exc_text, record.exc_info = redacted(text), None


def _harmless(value: Any) -> Any:
    """The value, or its masked text where that shows a card number."""
    text = _text(value)
    masked = redacted(text)
    return value if masked == text else masked


def _text(value: Any) -> str:
    """All that a formatter may make of a value, short of what it refuses to tell."""
    if isinstance(value, str):
        return value
    return f"{_tried(repr, value)} | {_tried(str, value)}"


def _tried(form: Callable[[Any], str], value: Any) -> str:
    try:
        return form(value)
    except Exception:  # noqa: BLE001  # a Secret, say, has no text form
        return "****"


def _merged(spans: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans that overlap become one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
