"""Tables of what must be refused, by kind of argument, each with the code that says why.

One row: a label, a value, the code, and the field that the error names where it is not the argument
itself. At the end stands what is just inside the line and must be taken.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple, NoReturn

from attrs import evolve
from typeid import TypeID

from payplatform import Account, Card, ChainHead, ErrorCode, Event, Initiator, Money, PaymentStatus
from payplatform.ports import BankNotice, BankReply, DisputeNews, DisputeState, ReplyOutcome

HUGE = "x" * 10_000_000
HUGE_MARKS = "e" + "\u0301" * 5_000_000
HUGE_DIGITS = "0" * 10_000_000
NUMBER = "4242424242424242"


class Hostile:
    """An object that fails whatever is asked of it, short of its type."""

    def _refuse(self, *_: object) -> NoReturn:
        raise RuntimeError("hostile")

    __eq__ = __bool__ = __len__ = __int__ = __float__ = __str__ = __repr__ = _refuse
    __hash__ = _refuse


class Unsettled(tzinfo):
    """A time zone that does not know its offset."""

    def utcoffset(self, _: datetime | None) -> None:
        return None

    dst = utcoffset

    def tzname(self, _: datetime | None) -> str:
        return "unsettled"


class Bad(NamedTuple):
    label: str
    value: Any
    code: ErrorCode
    field: str | None = None


def an_id(prefix: str) -> str:
    return str(TypeID(prefix=prefix))


@cache
def objects(code: ErrorCode, *, without: tuple[str, ...] = ()) -> tuple[Bad, ...]:
    """What is of no sensible type at all."""
    odd: dict[str, Any] = {
        "None": None,
        "int": 5,
        "float": 1.5,
        "True": True,
        "bytes": b"some bytes",
        "list": ["some text"],
        "dict": {"some": "text"},
        "set": {"some text"},
        "object": object(),
        "class": str,
        "hostile": Hostile(),
    }
    return tuple(Bad(label, value, code) for label, value in odd.items() if label not in without)


@cache
def text(most: int, *, optional: bool) -> tuple[Bad, ...]:
    return (
        *objects(ErrorCode.TYPE_INVALID, without=("None",) if optional else ()),
        Bad("empty", "", ErrorCode.TEXT_EMPTY),
        Bad("blank", "   \u3000 ", ErrorCode.TEXT_EMPTY),
        Bad("one too long", "x" * (most + 1), ErrorCode.TEXT_TOO_LONG),
        Bad("huge", HUGE, ErrorCode.TEXT_TOO_LONG),
        Bad("huge marks", HUGE_MARKS, ErrorCode.TEXT_TOO_LONG),
        *_unprintable("some {} text"),
        *_card_like("paid by {}"),
    )


def origin() -> tuple[Bad, ...]:
    """As text, though a device's id may look like anything: it is stored nowhere."""
    return tuple(
        bad for bad in text(200, optional=True) if bad.code is not ErrorCode.LOOKS_LIKE_CARD_NUMBER
    )


def _unprintable(frame: str) -> tuple[Bad, ...]:
    odd = {
        "NUL": "\0",
        "newline": "\n",
        "escape": "\x1b",
        "C1 control": "\x85",
        "line separator": "\u2028",
        "right to left override": "\u202e",
        "isolate": "\u2067",
        "lone surrogate": "\ud800",
    }
    return tuple(
        Bad(label, frame.format(character), ErrorCode.TEXT_NOT_PRINTABLE)
        for label, character in odd.items()
    )


def _card_like(frame: str) -> tuple[Bad, ...]:
    numbers = {
        "card number": NUMBER,
        "spaced card number": "4242 4242 4242 4242",
        "full-width card number": "".join(chr(ord(digit) + 0xFEE0) for digit in NUMBER),
    }
    return tuple(
        Bad(label, frame.format(number), ErrorCode.LOOKS_LIKE_CARD_NUMBER)
        for label, number in numbers.items()
    )


EXPECTED_HEAD = (
    *objects(ErrorCode.TYPE_INVALID, without=("None",)),
    *(
        Bad(f"{said[:9]!r}", said, ErrorCode.VALUE_INVALID)
        for said in ("", "7", "7:", "7:ab", f"07:{'ab' * 32}", f"0:{'ab' * 32}", f"-1:{'ab' * 32}")
    ),
    Bad("capitals", f"7:{'AB' * 32}", ErrorCode.VALUE_INVALID),
    Bad("huge", HUGE, ErrorCode.VALUE_INVALID),
    Bad("a head of nothing", ChainHead(number=-1, digest="x"), ErrorCode.VALUE_INVALID),
)


@cache
def identifier(prefix: str, *, optional: bool = False) -> tuple[Bad, ...]:
    good, malformed = an_id(prefix), ErrorCode.ID_MALFORMED
    kinds = {"mer", "cus", "pm", "pay", "op", "evt", "tok", "ntc", "dsp"} - {prefix}
    return (
        *objects(ErrorCode.TYPE_INVALID, without=("None",) if optional else ()),
        *(Bad(f"{kind}_", an_id(kind), ErrorCode.ID_WRONG_KIND) for kind in sorted(kinds)),
        Bad("empty", "", malformed),
        Bad("prefix alone", f"{prefix}_", malformed),
        Bad("no prefix", good.removeprefix(f"{prefix}_"), malformed),
        Bad("one short", good[:-1], malformed),
        Bad("one long", good + "0", malformed),
        Bad("upper case", good.upper(), malformed),
        Bad("beyond 128 bits", f"{prefix}_8{good[len(prefix) + 2 :]}", malformed),
        Bad("space before", f" {good}", malformed),
        Bad("newline after", f"{good}\n", malformed),
        Bad("NUL", f"{good[:-1]}\0", malformed),
        Bad("not ASCII", f"{good[:-1]}\u0661", malformed),
        Bad("lone surrogate", f"{good[:-1]}\ud800", malformed),
        Bad("huge", HUGE, malformed),
        Bad("huge after its prefix", f"{prefix}_{HUGE_DIGITS}", malformed),
        Bad("card number", NUMBER, malformed),
        Bad("quote", f"{prefix}_' OR 1=1 --", malformed),
    )


KEY = (
    *objects(ErrorCode.TYPE_INVALID),
    *(
        Bad(label, value, ErrorCode.IDEMPOTENCY_KEY_INVALID)
        for label, value in {
            "empty": "",
            "256 characters": "k" * 256,
            "huge": HUGE,
            "space": "some key",
            "space alone": " ",
            "NUL": "some\0key",
            "newline after": "some-key\n",
            "delete": "some\x7fkey",
            "not ASCII": "schl\u00fcssel",
            "lone surrogate": "key\ud800",
        }.items()
    ),
    Bad("card number", NUMBER, ErrorCode.LOOKS_LIKE_CARD_NUMBER),
    Bad("card number in dashes", "4242-4242-4242-4242", ErrorCode.LOOKS_LIKE_CARD_NUMBER),
)

EMAIL = (
    *objects(ErrorCode.TYPE_INVALID, without=("None",)),
    *_unprintable("ada{}@example.com"),
    *_card_like("{}@example.com"),
    Bad("empty", "", ErrorCode.TEXT_EMPTY),
    Bad("huge", f"{HUGE}@example.com", ErrorCode.TEXT_TOO_LONG),
    Bad("255 characters", "a@" + "b" * 249 + ".com", ErrorCode.TEXT_TOO_LONG),
    *(
        Bad(f"form {n}", value, ErrorCode.VALUE_INVALID)
        for n, value in enumerate(
            (
                "ada",
                "ada@",
                "@example.com",
                "a@b@c.org",
                "a b@c.org",
                "a@c..org",
                "a" * 65 + "@c.org",
            )
        )
    ),
)

POSTAL_CODE = (
    *objects(ErrorCode.TYPE_INVALID, without=("None",)),
    *_unprintable("10{}15"),
    *_card_like("{}"),
    Bad("empty", "", ErrorCode.TEXT_EMPTY),
    Bad("blank", "  ", ErrorCode.TEXT_EMPTY),
    Bad("huge", HUGE_DIGITS, ErrorCode.TEXT_TOO_LONG),
    *(
        Bad(f"form {n}", value, ErrorCode.VALUE_INVALID)
        for n, value in enumerate(
            ("A" * 17, "101/15", "-10115", "10115-", "M\u00fcnchen", "\u0661\u0660")
        )
    ),
)

METADATA = (
    *objects(ErrorCode.TYPE_INVALID, without=("None", "dict")),
    Bad("text", "a=b", ErrorCode.TYPE_INVALID),
    Bad("pairs", [("some", "text")], ErrorCode.TYPE_INVALID),
    Bad("51 entries", {f"k{n}": "v" for n in range(51)}, ErrorCode.METADATA_TOO_LARGE),
    Bad("many entries", dict.fromkeys(map(str, range(100_000)), ""), ErrorCode.METADATA_TOO_LARGE),
    *(
        Bad(f"key: {bad.label}", {bad.value: "text"}, bad.code)
        for bad in text(40, optional=False)
        if bad.label not in ("list", "dict", "set", "hostile")  # no dict can have them for a key
    ),
    *(
        Bad(f"value: {bad.label}", {"some": bad.value}, bad.code)
        for bad in text(500, optional=False)
        if bad.label not in ("empty", "blank")  # which are values
    ),
    Bad("one key twice", {"\u00e9": "a", "e\u0301": "b"}, ErrorCode.VALUE_INVALID),
)

AMOUNT = (
    *objects(ErrorCode.TYPE_INVALID),
    *(
        Bad(label, value, ErrorCode.TYPE_INVALID)
        for label, value in {
            "0": 0,
            "negative": -500,
            "beyond 64 bits": 2**63,
            "NaN": float("nan"),
            "infinity": float("inf"),
            "text": "5.00",
            "text with its currency": "5.00 EUR",
            "Decimal": Decimal("5.00"),
            "pair": (500, "EUR"),
        }.items()
    ),
    Bad("no money", Money.zero("EUR"), ErrorCode.AMOUNT_NOT_POSITIVE),
    Bad("negative money", Money("-5.00", "EUR"), ErrorCode.AMOUNT_NOT_POSITIVE),
    Bad("least money", Money.minor(-(2**63) + 1, "EUR"), ErrorCode.AMOUNT_NOT_POSITIVE),
)

AMOUNT_OR_ALL = tuple(bad for bad in AMOUNT if bad.label != "None")

OTHER_CURRENCY = (
    *AMOUNT_OR_ALL,
    Bad("dollars", Money("1.00", "USD"), ErrorCode.CURRENCY_MISMATCH),
    Bad("yen", Money(1, "JPY"), ErrorCode.CURRENCY_MISMATCH),
)

SECURITY_CODE = (
    *objects(ErrorCode.SECURITY_CODE_INVALID, without=("None",)),
    *(
        Bad(label, value, ErrorCode.SECURITY_CODE_INVALID)
        for label, value in {
            "whole number": 123,
            "empty": "",
            "two digits": "97",
            "four digits": "9731",
            "letters": "97x",
            "space": "97 ",
            "sign": "+97",
            "other digits": "\u0669\u0667\u0663",
            "full-width digits": "\uff19\uff17\uff13",
            "NUL": "97\0",
            "newline after": "973\n",
            "lone surrogate": "97\ud800",
            "card number": NUMBER,
            "huge": HUGE_DIGITS,
        }.items()
    ),
)

TIMEOUT = (
    *objects(ErrorCode.TYPE_INVALID, without=("None", "int", "float")),
    Bad("text", "30", ErrorCode.TYPE_INVALID),
    Bad("Decimal", Decimal(30), ErrorCode.TYPE_INVALID),
    Bad("timedelta", timedelta(seconds=30), ErrorCode.TYPE_INVALID),
    *(
        Bad(label, value, ErrorCode.VALUE_INVALID)
        for label, value in {
            "0": 0,
            "-0.0": -0.0,
            "negative": -1,
            "601": 601,
            "just over": 600.0001,
            "NaN": float("nan"),
            "infinity": float("inf"),
            "negative infinity": float("-inf"),
            "beyond a float": 10**400,
        }.items()
    ),
)

LIMIT = (
    *objects(ErrorCode.TYPE_INVALID, without=("int",)),
    Bad("text", "5", ErrorCode.TYPE_INVALID),
    Bad("NaN", float("nan"), ErrorCode.TYPE_INVALID),
    *(Bad(str(n)[:9], n, ErrorCode.VALUE_INVALID) for n in (0, -1, 10_001, 10**400)),
)

PART = (
    *objects(ErrorCode.TYPE_INVALID, without=("None", "int")),
    *(Bad(str(n)[:9], n, ErrorCode.VALUE_INVALID) for n in (0, -1, 10**9 + 1, 10**400)),
)

POSITION = (
    *objects(ErrorCode.TYPE_INVALID, without=("None",)),
    *(
        Bad(label, value, ErrorCode.VALUE_INVALID)
        for label, value in (
            ("empty", ""),
            ("no place", "payments"),
            ("half a place", f"payments {an_id('mer')}"),
            ("too much", "payments a b c"),
            ("another kind", "postings a b"),
            ("NUL", "payments a \0"),
            ("lone surrogate", "payments a \ud800"),
            ("huge", HUGE),
        )
    ),
)

AGE = (
    *objects(ErrorCode.TYPE_INVALID),
    Bad("less than nothing", timedelta(microseconds=-1), ErrorCode.VALUE_INVALID),
    Bad("least of all", timedelta.min, ErrorCode.VALUE_INVALID),
    Bad("beyond all times", timedelta.max, ErrorCode.VALUE_INVALID),
)

AGE_OR_NONE = tuple(bad for bad in AGE if bad.label != "None")

TIME_UNUSED = (*AGE, Bad("nothing", timedelta(0), ErrorCode.VALUE_INVALID))

PEM = (
    *objects(ErrorCode.TYPE_INVALID, without=("bytes",)),
    Bad("text", "-----BEGIN PUBLIC KEY-----", ErrorCode.TYPE_INVALID),
    Bad("no key", b"some bytes", ErrorCode.VALUE_INVALID),
    Bad("no bytes", b"", ErrorCode.VALUE_INVALID),
    Bad("half a key", b"-----BEGIN PUBLIC KEY-----\nMCow", ErrorCode.VALUE_INVALID),
)

EXPORT = (
    *objects(ErrorCode.TYPE_INVALID, without=("bytes",)),
    Bad("text", "some text", ErrorCode.TYPE_INVALID),
    Bad("no export", b"some bytes", ErrorCode.VALUE_INVALID),
    Bad("no bytes", b"", ErrorCode.VALUE_INVALID),
    Bad("long enough", b"\x05" * 1_000, ErrorCode.VALUE_INVALID),
)

PASSWORD = (
    *objects(ErrorCode.TYPE_INVALID, without=("None", "bytes")),
    Bad("text", "some text", ErrorCode.TYPE_INVALID),
    Bad("of a key that has none", b"some bytes", ErrorCode.VALUE_INVALID, "private_key"),
)

PROGRESS = objects(ErrorCode.TYPE_INVALID, without=("None", "class"))

INITIATED_BY = (
    *objects(ErrorCode.VALUE_INVALID),
    *(
        Bad(f"text {text!r}", text, ErrorCode.VALUE_INVALID)
        for text in ("", "bank", "CUSTOMER", "customer ")
    ),
)

STATUS = (
    *objects(ErrorCode.VALUE_INVALID, without=("None",)),
    Bad("no status", "paid", ErrorCode.VALUE_INVALID),
    Bad("other case", "Captured", ErrorCode.VALUE_INVALID),
    Bad("empty", "", ErrorCode.VALUE_INVALID),
    Bad("none of them", [], ErrorCode.VALUE_INVALID),
    Bad("one is wrong", ["captured", "paid"], ErrorCode.VALUE_INVALID),
    Bad("one is hostile", ["captured", Hostile()], ErrorCode.VALUE_INVALID),
    Bad("nested", [["captured"]], ErrorCode.VALUE_INVALID),
    Bad("card number", NUMBER, ErrorCode.VALUE_INVALID),
)

ACCOUNT = (
    *objects(ErrorCode.VALUE_INVALID),
    Bad("no account", "cash", ErrorCode.VALUE_INVALID),
    Bad("other case", "Fees", ErrorCode.VALUE_INVALID),
    Bad("card number", NUMBER, ErrorCode.VALUE_INVALID),
)

ACCOUNT_OR_ALL = tuple(bad for bad in ACCOUNT if bad.label != "None")

MONTH = (
    *objects(ErrorCode.TYPE_INVALID, without=("str", "text")),
    *(Bad(text, text, ErrorCode.VALUE_INVALID) for text in ("", "1999", "1999-13", "9999-12")),
    Bad("a line more", "2030-01\n", ErrorCode.VALUE_INVALID),
    Bad("a card number", NUMBER, ErrorCode.VALUE_INVALID),
    Bad("huge", HUGE, ErrorCode.VALUE_INVALID),
)

RATES = (
    Bad("None", None, ErrorCode.TYPE_INVALID),
    Bad("a number", 14, ErrorCode.TYPE_INVALID),
    Bad("a text", NUMBER, ErrorCode.TYPE_INVALID),
    Bad("texts", ["1.4 %"], ErrorCode.TYPE_INVALID),
)

TIME = (
    *objects(ErrorCode.TYPE_INVALID, without=("None",)),
    Bad("without a time zone", datetime(2030, 1, 1), ErrorCode.TYPE_INVALID),  # noqa: DTZ001
    Bad("offset unknown", datetime(2030, 1, 1, tzinfo=Unsettled()), ErrorCode.TYPE_INVALID),
    Bad("date", date(2030, 1, 1), ErrorCode.TYPE_INVALID),
    Bad("text", "2030-01-01T00:00:00Z", ErrorCode.TYPE_INVALID),
)

TIME_NEEDED = (*TIME, Bad("None", None, ErrorCode.TYPE_INVALID))

FILE = (
    *objects(ErrorCode.TYPE_INVALID),
    *(
        Bad(label, value, ErrorCode.VALUE_INVALID)
        for label, value in (
            ("empty", ""),
            ("NUL", "old\0.db"),
            ("memory", ":memory:"),
            ("a database's address", "postgresql://books/old"),
        )
    ),
)

NOTICE_STATE = (
    *objects(ErrorCode.VALUE_INVALID, without=("None",)),
    *(
        Bad(f"text {text!r}", text, ErrorCode.VALUE_INVALID)
        for text in ("", "new", "WAITING", "waiting ", NUMBER)
    ),
)

RAW = (
    *objects(ErrorCode.TYPE_INVALID, without=("bytes",)),
    Bad("text", "{}", ErrorCode.TYPE_INVALID),
    Bad("a view", memoryview(b"{}"), ErrorCode.TYPE_INVALID),
    Bad("one byte too long", bytes(64 * 1024 + 1), ErrorCode.NOTICE_TOO_LARGE),
    Bad("huge", bytes(10_000_000), ErrorCode.NOTICE_TOO_LARGE),
)

HEADERS = (
    *objects(ErrorCode.TYPE_INVALID, without=("dict",)),
    Bad("pairs", [("webhook-id", "notice_1")], ErrorCode.TYPE_INVALID),
    Bad("a value is no text", {"webhook-id": 1}, ErrorCode.TYPE_INVALID),
    Bad("a value is bytes", {"webhook-id": b"notice_1"}, ErrorCode.TYPE_INVALID),
    Bad("a name is no text", {1: "notice_1"}, ErrorCode.TYPE_INVALID),
    Bad("a value is hostile", {"webhook-id": Hostile()}, ErrorCode.TYPE_INVALID),
)

NOT_TO_COME = (
    *TIME,
    Bad("to come", datetime(2031, 1, 1, tzinfo=UTC), ErrorCode.VALUE_INVALID),
    Bad("the end of time", datetime.max.replace(tzinfo=UTC), ErrorCode.VALUE_INVALID),
)

OUTCOME = (
    *objects(ErrorCode.VALUE_INVALID),
    *(
        Bad(f"text {text!r}", text, ErrorCode.VALUE_INVALID)
        for text in ("", "failed", "SUCCEEDED", "needs_review", "resolved_aborted")
    ),
)

CURRENCY = (
    *objects(ErrorCode.TYPE_INVALID),
    *(
        Bad(f"code {n}", code, ErrorCode.CURRENCY_UNKNOWN)
        for n, code in enumerate(
            ("", "EURO", "EU", "XAU", "XXX", "AAA", "\u20ac", "EUR\0", " EUR", NUMBER, "\ud800")
        )
    ),
    Bad("huge", HUGE, ErrorCode.CURRENCY_UNKNOWN),
)

RESERVE = (
    *(bad for bad in AMOUNT_OR_ALL if bad.code is ErrorCode.TYPE_INVALID),
    Bad("negative money", Money("-5.00", "EUR"), ErrorCode.VALUE_INVALID),
    Bad("dollars", Money("1.00", "USD"), ErrorCode.CURRENCY_MISMATCH),
)

INTERVAL = (
    *objects(ErrorCode.VALUE_INVALID),
    Bad("no interval", "hourly", ErrorCode.VALUE_INVALID),
    Bad("other case", "Daily", ErrorCode.VALUE_INVALID),
)

FIRST_AT = (
    *TIME,
    Bad("of no interval", datetime(2030, 1, 1, tzinfo=UTC), ErrorCode.VALUE_INVALID),
)

CARD = (
    *objects(ErrorCode.TYPE_INVALID),
    Bad("number", NUMBER, ErrorCode.TYPE_INVALID),
    Bad("fields", {"number": NUMBER, "expiry": "12/40"}, ErrorCode.TYPE_INVALID),
    Bad("expired", Card(NUMBER, "11/29"), ErrorCode.CARD_EXPIRED, "expiry"),
)

FINAL = (
    *objects(ErrorCode.TYPE_INVALID, without=("True",)),
    *(Bad(f"value {value!r}", value, ErrorCode.TYPE_INVALID) for value in (0, 1, "yes", "")),
)

EVENTS = (
    *objects(ErrorCode.TYPE_INVALID, without=("list", "dict", "set")),
    Bad("one id", an_id("evt"), ErrorCode.TYPE_INVALID),
    Bad(
        "one event",
        Event(
            id=an_id("evt"),
            merchant_id=an_id("mer"),
            subject_id=an_id("pay"),
            number=1,
            type="sale.started",
            at=datetime(2030, 1, 1, tzinfo=UTC),
        ),
        ErrorCode.TYPE_INVALID,
    ),
    *(
        Bad(f"list with {bad.label}", [an_id("evt"), bad.value], bad.code)
        for bad in identifier("evt")
    ),
)

_APPROVED = BankReply(operation_id=an_id("op"), outcome=ReplyOutcome.APPROVED)
_NOTICE = BankNotice(
    id="n1", merchant_id=an_id("mer"), reply=_APPROVED, at=datetime(2030, 1, 1, tzinfo=UTC)
)


def _noticed(part: str, rows: tuple[Bad, ...]) -> tuple[Bad, ...]:
    """A notice with each of these as one of its parts, or of its reply's."""

    def with_value(value: Any) -> BankNotice:
        if part != "reply.operation_id":
            return evolve(_NOTICE, **{part.partition(".")[0]: value})
        return evolve(_NOTICE, reply=evolve(_APPROVED, operation_id=value))

    return tuple(
        Bad(f"{part}: {row.label}", with_value(row.value), row.code, f"notice.{part}")
        for row in rows
    )


_NEWS = DisputeNews(
    dispute_id="case-1",
    state=DisputeState.OPENED,
    amount=Money("5.00", "EUR"),
    reason_code="10.4",
)


def _disputed(part: str, rows: tuple[Bad, ...]) -> tuple[Bad, ...]:
    """A notice of a dispute with each of these as one of its parts."""
    return _noticed(
        f"dispute.{part}",
        tuple(row._replace(value=evolve(_NEWS, **{part: row.value})) for row in rows),
    )


NOTICE = (
    *objects(ErrorCode.TYPE_INVALID),
    Bad("a reply", _APPROVED, ErrorCode.TYPE_INVALID),
    *_noticed(
        "id",
        tuple(
            row
            for row in text(255, optional=False)
            if row.code is not ErrorCode.LOOKS_LIKE_CARD_NUMBER
        ),
    ),
    *_noticed("merchant_id", identifier("mer")),
    *_noticed("reply", objects(ErrorCode.TYPE_INVALID)),
    *_noticed("reply.operation_id", identifier("op")),
    *_noticed("at", (*TIME, Bad("None", None, ErrorCode.TYPE_INVALID))),
    *_noticed("expired", objects(ErrorCode.TYPE_INVALID, without=("None",))),
    *_noticed(
        "expired",
        (Bad("below nothing", Money.minor(-1, "EUR"), ErrorCode.AMOUNT_NOT_POSITIVE),),
    ),
    *_noticed("dispute", objects(ErrorCode.TYPE_INVALID, without=("None",))),
    *_disputed("dispute_id", text(255, optional=False)),
    *_disputed(
        "state", (*objects(ErrorCode.TYPE_INVALID), Bad("text", "opened", ErrorCode.TYPE_INVALID))
    ),
    *_disputed("amount", AMOUNT),
    *_disputed("reason_code", text(40, optional=False)),
    *_disputed("evidence_due_at", TIME),
)

EXHIBITS = (
    *METADATA,
    Bad("None", None, ErrorCode.VALUE_INVALID),
    Bad("nothing", {}, ErrorCode.VALUE_INVALID),
)

DISPUTE_STATE = (
    *objects(ErrorCode.VALUE_INVALID, without=("None",)),
    Bad("no state", "closed", ErrorCode.VALUE_INVALID),
    Bad("none of them", [], ErrorCode.VALUE_INVALID),
    Bad("one is hostile", ["won", Hostile()], ErrorCode.VALUE_INVALID),
)

EDGES: dict[str, tuple[Any, ...]] = {
    "shop.notices.list.state": (None, "waiting", "discrepancy"),
    "account": (Account.FEES, "bank_cash"),
    "amount": (Money.minor(1, "EUR"), Money.minor(2**63 - 1, "EUR"), Money(7, "JPY")),
    "created_before": (datetime(2030, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),
    "created_from": (
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-23, minutes=-59))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=23, minutes=59))),
    ),
    "currency": ("usd", "JPY"),
    "email": ("a@b", "a" * 64 + "@" + "b" * 189, "\u00fc@b\u00fccher.example"),
    "evidence": ("e" * 500,),
    "exhibits": ({"e" * 40: "e" * 500}, {f"n{n}": "" for n in range(50)}),
    "final": (True, False),
    "idempotency_key": ("!", "~" * 255),
    "initiated_by": (Initiator.CUSTOMER, "customer"),
    "limit": (1, 10_000),
    "metadata": (
        {},
        {f"{n:040}x"[1:]: "v" * 500 for n in range(50)},
        {"\u200d": ""},
    ),
    "origin": ("o" * 200, "2001:db8::1"),
    "name": ("n" * 200, "e\u0301" * 200, "\u05d0\u05d3\u05d4 \U0001f600"),
    "actor": ("a" * 200,),
    "postal_code": ("1", "sw1a 1aa", "A" * 16),
    "reason": ("r" * 500,),
    "reference": ("r" * 100, "2030/0001"),
    "security_code": ("000", "999"),
    "state": ("won", DisputeState.LOST, ["opened", "submitted"], iter(["accepted"])),
    "status": ("captured", PaymentStatus.VOIDED, ["captured", "voided"], iter(["failed"])),
    "timeout_s": (600, 600.0, 0.001, 1),
}
"""What is just inside the line, by argument."""
