"""No card number gets past the filter in any common spelling, and what is none is left as it is."""

from __future__ import annotations

import io
import json
import logging
import time
import traceback
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from card_digits import card_digits
from hypothesis import assume, example, given
from hypothesis import strategies as st
from typeid import TypeID

from payplatform import Card
from payplatform._domain.brands import RULES, Brand, brand_of
from payplatform._domain.card_numbers import luhn_valid
from payplatform._domain.secret import Secret
from payplatform.redaction import CardNumberFilter, redacted

NUMBER = "4000001234567899"
FULL_WIDTH = {ord("0") + digit: 0xFF10 + digit for digit in range(10)}

valid_numbers = card_digits().filter(luhn_valid)
gaps = st.sampled_from(
    [" ", "-", ".", "\u00a0", "\n", "\r\n", "  ", " - ", "\t", "/", "_", "\u2009", "\u2011", "\n  "]
)
writings = st.sampled_from([str, repr, ascii, json.dumps, quote, quote_plus])
around = st.sampled_from(["", "card ", "number=", '{"pan": "', "x", "12 ", "\u00e9", "\n", "100%"])


@st.composite
def grouped(draw: st.DrawFn, digits: str) -> list[str]:
    """The digits in groups of two to seven, as people and forms part them."""
    groups = []
    while digits:
        size = draw(st.sampled_from([4, 4, 4, 2, 3, 5, 6, 7]))
        size = len(digits) if len(digits) - size < 2 else size
        groups.append(digits[:size])
        digits = digits[size:]
    return groups


def digits_of(text: str) -> str:
    """Only its digits, full-width ones as ASCII."""
    return "".join(str(int(character)) for character in text if character.isdecimal())


# -- what is found ---------------------------------------------------------------------------------


@given(valid_numbers, around, around)
def test_a_number_in_a_row_is_masked_whatever_stands_around_it(
    digits: str, before: str, after: str
) -> None:
    text = f"{before}{digits}{after[::-1]}"

    assert digits[:-4] not in digits_of(redacted(text))
    assert redacted(digits) == f"****{digits[-4:]}"


@given(st.data(), valid_numbers, gaps, writings, around)
def test_a_number_in_groups_is_masked_however_they_are_parted_and_written(
    data: st.DataObject, digits: str, gap: str, write: Any, before: str
) -> None:
    groups = data.draw(grouped(digits))
    assume(not (gap == "." and len(groups) == 2))  # a decimal number
    text = write(before + gap.join(groups) + " was given")

    assert digits[:-4] not in digits_of(redacted(text))


@given(st.data(), valid_numbers)
def test_a_number_with_unlike_gaps_is_masked(data: st.DataObject, digits: str) -> None:
    """As a line that is broken within a number has it."""
    first, *groups = data.draw(grouped(digits))
    text = first + "".join(data.draw(gaps) + group for group in groups)
    assume(not (len(groups) == 1 and "." in text))

    assert redacted(text) == f"****{digits[-4:]}"


@given(valid_numbers, gaps)
def test_digits_one_by_one_are_masked(digits: str, gap: str) -> None:
    assert redacted(gap.join(digits)) == f"****{digits[-4:]}"


@given(valid_numbers, gaps.filter(lambda gap: gap != "."))
def test_digits_of_another_script_are_masked(digits: str, gap: str) -> None:
    wide = digits.translate(FULL_WIDTH)

    assert redacted(wide) == "****" + wide[-4:]
    assert digits[:-4] not in digits_of(redacted(f"{wide[:8]}{gap}{wide[8:]}"))


@given(st.lists(valid_numbers, min_size=2, max_size=4))
def test_each_of_several_numbers_is_masked(numbers: list[str]) -> None:
    assert redacted(", ".join(numbers)) == ", ".join(f"****{each[-4:]}" for each in numbers)


# -- what is left alone ----------------------------------------------------------------------------


@given(st.text("0123456789", min_size=1, max_size=40))
@example("4242424242424243")
@example("2" * 16)
def test_digits_are_masked_exactly_if_they_could_be_a_card_number(digits: str) -> None:
    """Order numbers, timestamps and phone numbers: a card's prefix and length, and Luhn-valid."""
    brand = brand_of(digits)
    could_be = brand is not Brand.UNKNOWN and len(digits) in RULES[brand].lengths
    expected = f"****{digits[-4:]}" if could_be and luhn_valid(digits) else digits

    assert redacted(digits) == expected
    assert redacted(f"order {digits}.") == f"order {expected}."


@given(st.text())
def test_text_with_fewer_digits_than_a_card_is_left_alone(text: str) -> None:
    assume(sum(character.isdecimal() for character in text) < 12)

    assert redacted(text) == text


@given(st.datetimes(datetime(2000, 1, 1), datetime(2199, 1, 1)))  # noqa: DTZ001  # UTC below
def test_timestamps_are_left_alone(at: datetime) -> None:
    at = at.replace(tzinfo=UTC)
    for text in (at.isoformat(), str(at), f"{at:%Y%m%d%H%M%S}", f"{at:%Y-%m-%d %H:%M:%S,%f}"):
        assert redacted(text) == text


@given(st.datetimes(datetime(2001, 9, 10), datetime(2033, 5, 18)))  # noqa: DTZ001  # as above
def test_seconds_since_1970_are_left_alone_down_to_nanoseconds(at: datetime) -> None:
    seconds = int(at.replace(tzinfo=UTC).timestamp())
    for text in (f"{seconds}", f"{seconds}123", f"{seconds}123456", f"{seconds}123456789"):
        assert redacted(text) == text


@given(st.uuids())
@example(uuid.UUID("40000012-3456-7899-4000-001234567899"))
def test_ids_are_left_alone(some: uuid.UUID) -> None:
    for text in (str(some), str(TypeID(prefix="pay", suffix=None)), f"pay_{some}"):
        assert redacted(text) == text


@given(st.floats(0.001, 1e8, allow_nan=False))
@example(4.000001234567899)
def test_decimal_numbers_are_left_alone(number: float) -> None:
    assume("e" not in repr(number))

    assert redacted(f"took {number!r} s") == f"took {number!r} s"


@pytest.mark.parametrize(
    "text",
    [
        "order 20300101-000042, reference 2030-0001-9999",
        "called +49 30 1234567 and +1 (212) 555-0100",
        "IBAN DE89 3704 0044 0532 0130 00",
        "from 192.168.100.200:54321 to 10.0.0.1",
        "order 4242424242424243",  # a digit mistyped
        "order 9999999999999995",  # Luhn-valid, of no brand
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "counts " + " ".join("4000001234567899" * 3),
        "4000001234567899" * 3,
        "",
    ],
)
def test_what_shops_log_every_day_is_left_alone(text: str) -> None:
    assert redacted(text) == text


@given(st.text() | valid_numbers.map("paid by {}, ".format).map(lambda text: text * 3))
def test_masking_twice_is_masking_once(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)


# -- log records -----------------------------------------------------------------------------------


class Log:
    """A logger with one handler that keeps everything it can get of a record."""

    def __init__(self, *, filtered: bool = True) -> None:
        self.text = io.StringIO()
        self.records: list[logging.LogRecord] = []
        self.logger = logging.getLogger("redacted")
        self.logger.propagate = False
        handler = logging.StreamHandler(self.text)
        handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
        if filtered:
            handler.addFilter(CardNumberFilter())
        handler.addFilter(self.keep)
        self.logger.handlers = [handler]

    def keep(self, record: logging.LogRecord) -> bool:
        self.records.append(record)
        return True

    def everything(self) -> str:
        shown = [f"{value} {value!r}" for record in self.records for value in vars(record).values()]
        for record in self.records:
            if isinstance(record.exc_info, tuple):
                shown += traceback.format_exception(*record.exc_info)
        return self.text.getvalue() + "".join(shown)


class Talkative:
    """Says in its text what its repr keeps."""

    def __repr__(self) -> str:
        return "Talkative()"

    def __str__(self) -> str:
        return NUMBER


def spaced() -> str:
    return f"{NUMBER[:4]} {NUMBER[4:8]} {NUMBER[8:12]} {NUMBER[12:]}"


def failing(error: BaseException) -> None:
    try:
        raise error
    except type(error):
        raise RuntimeError("it failed") from error


def log_failure(log: Log) -> None:
    try:
        failing(ValueError(f"no such card: {spaced()}"))
    except RuntimeError:
        log.logger.exception("charging failed")


def log_note(log: Log) -> None:
    error = ValueError("no such card")
    error.add_note(f"it was {NUMBER}")
    log.logger.error("charging failed", exc_info=error)


def handle(log: Log, **attributes: str) -> None:
    log.logger.handle(logging.makeLogRecord({"msg": "here", "levelno": logging.ERROR} | attributes))


WAYS: dict[str, Any] = {
    "msg": lambda log: log.logger.warning(spaced()),
    "an int for msg": lambda log: log.logger.warning(int(NUMBER)),
    "args": lambda log: log.logger.warning("charging %s", NUMBER),
    "args in parts": lambda log: log.logger.warning("%s-%s", NUMBER[:8], NUMBER[8:]),
    "args that show a part only": lambda log: log.logger.warning("charging %.6s", NUMBER),
    "an int in args": lambda log: log.logger.warning("charging %d", int(NUMBER)),
    "bytes in args": lambda log: log.logger.warning("charging %r", NUMBER.encode()),
    "a dict for args": lambda log: log.logger.warning("charging %(pan)s", {"pan": spaced()}),
    "a dict whose key it is": lambda log: log.logger.warning("charging %s", {NUMBER: 1}),
    "args that do not fit": lambda log: log.logger.warning("charging %d", spaced()),
    "args that talk": lambda log: log.logger.warning("charging %s", Talkative()),
    "exc_info": log_failure,
    "a note of exc_info": log_note,
    "stack_info": lambda log: handle(log, stack_info=f"Stack:\n  charge({NUMBER!r})"),
    "exc_text of another handler": lambda log: handle(log, exc_text=f"ValueError: {NUMBER}"),
    "the name of a logger": lambda log: handle(log, name=f"shop.{NUMBER}"),
    "extra": lambda log: log.logger.warning("charging", extra={"card": spaced()}),
    "an int in extra": lambda log: log.logger.warning("charging", extra={"card": int(NUMBER)}),
    "extra, deeper": lambda log: log.logger.warning(
        "charging", extra={"body": {"cards": [{"number": NUMBER}]}}
    ),
    "extra that talks": lambda log: log.logger.warning("charging", extra={"card": Talkative()}),
}


def shows_the_number(text: str) -> bool:
    return NUMBER in digits_of(text)


@pytest.mark.parametrize("way", WAYS)
def test_no_part_of_a_record_gets_a_card_number_past_the_filter(
    way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    WAYS[way](unfiltered := Log(filtered=False))
    without_filter = unfiltered.everything() + capsys.readouterr().err
    WAYS[way](log := Log())

    assert shows_the_number(without_filter), "else there was nothing to mask"
    assert log.records
    assert not shows_the_number(log.everything() + capsys.readouterr().err)


def test_a_traceback_is_still_there_when_it_was_masked() -> None:
    log = Log()
    log_failure(log)

    written = log.text.getvalue()
    assert "ValueError: no such card: ****7899" in written
    assert "RuntimeError: it failed" in written
    assert "in failing" in written


def test_a_record_without_a_card_number_stays_as_it_is() -> None:
    """So that handlers which group by the unformatted message, or read the exception, still can."""
    log = Log()
    extra = {"order": {"id": 7}, "at": datetime(2030, 1, 1, tzinfo=UTC), "token": Secret(NUMBER)}
    error = RuntimeError("no such order")
    log.logger.error("order %s of %d", "A-7", 3, exc_info=error, extra=extra)

    (record,) = log.records
    assert record.exc_info == (RuntimeError, error, None)
    assert (record.msg, record.args) == ("order %s of %d", ("A-7", 3))
    assert all(vars(record)[name] is value for name, value in extra.items())


def test_a_card_and_a_secret_may_be_logged() -> None:
    log = Log()
    log.logger.warning("charging %s with %r", Card(NUMBER, "12/40"), Secret("123"))

    assert "charging visa ****7899 with Secret(****)" in log.text.getvalue()


def test_what_cannot_be_shown_stops_nothing() -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError("hostile")

    log = Log()
    log.logger.warning("charging", extra={"card": Hostile()})

    assert "charging" in log.text.getvalue()


def test_on_a_logger_it_misses_what_the_loggers_below_hand_up() -> None:
    """The limit that the documentation tells, and why it belongs to the handlers."""
    log, on_logger = Log(filtered=False), CardNumberFilter()
    log.logger.addFilter(on_logger)
    log.logger.warning(NUMBER)
    assert not shows_the_number(log.everything())

    logging.getLogger("redacted.below").warning(NUMBER)
    assert shows_the_number(log.everything())
    log.logger.removeFilter(on_logger)


def test_a_long_text_takes_a_time_that_grows_with_its_length_alone() -> None:
    """Each of these makes a careless pattern try everything again from every place."""
    for text in ("4 " * 200_000, "4" * 500_000, "4242 " * 100_000, "12345678901 x " * 50_000):
        began = time.process_time()
        redacted(text)
        assert time.process_time() - began < 5, text[:20]
