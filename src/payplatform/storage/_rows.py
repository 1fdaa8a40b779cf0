"""Value to row and back: the only place that knows the stored form.

Law of this file: a column for every field that is plain, and for every amount; JSON text for what
is nested. The columns follow from the fields' types, so a new field needs a new column in the
schema and nothing here. What cannot be read back is reported by table and id alone: the errors of
cattrs, int() and their like carry the values.

The last column of every row is a digest of all the others, so that a row which is not what was
written is refused before anything is made of it. What is NULL is not part of it: a later schema may
add a column, and the digests of the rows that do not use it stay as they are.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from operator import attrgetter, itemgetter
from types import MappingProxyType, UnionType
from typing import Any, Final, Generic, TypeVar, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from payplatform._domain.archives import ArchivedEvents, ArchivedLinks
from payplatform._domain.audit import AuditEntry
from payplatform._domain.changes import Receipt, Subject
from payplatform._domain.disputes import Dispute
from payplatform._domain.events import Event
from payplatform._domain.fees import FeeSchedule
from payplatform._domain.ledger import Posting
from payplatform._domain.money import Money
from payplatform._domain.notices import Notice
from payplatform._domain.operations import Operation
from payplatform._domain.payments import Facts, Payment
from payplatform._domain.payouts import Payout, PayoutPlan
from payplatform._domain.records import Customer, Merchant, PaymentMethod, SealedCard, WrappedKey
from payplatform._domain.settlements import Settlement
from payplatform.errors import ErrorCode, StorageUnavailable

V = TypeVar("V", bound=attrs.AttrsInstance)

Row = tuple[Any, ...]
Pairs = tuple[tuple[str, str], ...]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def stored_time(at: datetime) -> int:
    """A time as it is stored: whole microseconds since 1970, UTC."""
    return (at - _EPOCH) // _MICROSECOND


def time_of(microseconds: int) -> datetime:
    """The time that is stored so."""
    return _EPOCH + timedelta(microseconds=microseconds)


# -- digests ---------------------------------------------------------------------------------------

DIGEST: Final = "row_digest"

_DIGESTED_AS: Final = {("postings", "subject_id"): "payment_id"}
"""What a column was called when its rows first got their digests, and is called in them still."""

_plainly: Final = json.JSONEncoder(
    separators=(",", ":"), default=lambda data: {"hex": data.hex()}
).encode
# What nearly all items are: as the encoder writes them, in half the time.
_AS_JSON: Final[Mapping[type, Callable[[Any], str]]] = defaultdict(
    lambda: _plainly,
    {
        str: json.encoder.encode_basestring_ascii,
        int: int.__repr__,
        bytes: lambda data: f'{{"hex":"{data.hex()}"}}',
    },
)


def digester(table: str, columns: Sequence[str]) -> Callable[[Sequence[Any]], bytes]:
    """What makes the digest of a row as it is stored.

    Args:
        table: where the row lies.
        columns: what its items are, in their order.
    """
    named_so = {_DIGESTED_AS.get((table, column), column): column for column in columns}
    names = sorted(named_so)
    by_name = itemgetter(*(columns.index(named_so[name]) for name in names))
    begin, heads = f"[{_plainly(table)},{{", [f"{_plainly(name)}:" for name in names]

    def digest(row: Sequence[Any]) -> bytes:
        items = zip(heads, by_name(row), strict=True)
        named = [head + _AS_JSON[type(item)](item) for head, item in items if item is not None]
        return hashlib.sha256(f"{begin}{','.join(named)}}}]".encode()).digest()

    return digest


def as_mark(known_by: object) -> bytes:
    """A digest, or a version, as a link has it."""
    return known_by if isinstance(known_by, bytes) else str(known_by).encode()


# -- JSON, for what is nested ----------------------------------------------------------------------

_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _exactly(value: Any, kind: type) -> Any:
    """The value of a plain type, or a member of an enum of such values."""
    if issubclass(kind, StrEnum):
        return kind(value)
    # cattrs would turn 5 into "5"; here it means that somebody has been at the file.
    if type(value) is not kind:
        raise TypeError
    return value


def _new_converter() -> Converter:
    converter = Converter(detailed_validation=False)
    for plain in (str, int, bool):
        converter.register_structure_hook(plain, _exactly)
    converter.register_unstructure_hook(datetime, stored_time)
    converter.register_structure_hook(datetime, lambda stored, _: time_of(_exactly(stored, int)))
    converter.register_unstructure_hook(bytes, lambda data: b64encode(data).decode())
    converter.register_structure_hook(bytes, lambda text, _: b64decode(text, validate=True))
    # Made anew by its own constructor, minor units would be taken for major ones.
    converter.register_unstructure_hook(Money, lambda money: [money.amount_minor, money.currency])
    converter.register_structure_hook(Money, lambda stored, _: Money.minor(*stored))
    converter.register_unstructure_hook_factory(
        attrs.has, lambda kind: make_dict_unstructure_fn(kind, converter, **_left_out(kind))
    )
    converter.register_structure_hook_factory(
        attrs.has,
        lambda kind: make_dict_structure_fn(
            kind, converter, _cattrs_forbid_extra_keys=True, **_left_out(kind)
        ),
    )
    return converter


def _left_out(kind: type) -> dict[str, Any]:
    """`replayed` is not part of what a value is: it is never compared and never stored."""
    return {field.name: override(omit=True) for field in attrs.fields(kind) if not field.eq}


_converter: Final = _new_converter()


def _dump_pairs(pairs: Pairs) -> str:
    """Pairs as JSON, each on a line of its own.

    JSON has no raw line break inside a text, so a pair is among them if and only if the text has
    the line: that is how `line_of` finds one without reading JSON in the database.
    """
    return "[\n" + "\n,\n".join(map(_encode, pairs)) + "\n]" if pairs else "[]"


def line_of(pair: tuple[str, str]) -> str:
    """What the stored form of a metadata has exactly when `pair` is among it."""
    return f"\n{_encode(pair)}\n"


def _load_pairs(text: str) -> Pairs:
    return () if text == "[]" else _converter.structure(json.loads(text), Pairs)


def _json_codec(kind: Any) -> _Codec:
    unstructure = _converter.get_unstructure_hook(kind)
    structure = _converter.get_structure_hook(kind)

    def dump(value: Any) -> str:
        return _encode(unstructure(value))

    def load(text: str) -> Any:
        return structure(json.loads(text), kind)

    if get_origin(kind) is not tuple:
        return dump, load
    # Nearly always there are none of them.
    return (
        lambda values: dump(values) if values else "[]",
        lambda text: () if text == "[]" else load(text),
    )


# -- columns ---------------------------------------------------------------------------------------

_Dump = Callable[[Any], Any]
_Codec = tuple[_Dump, Callable[[Any], Any]]


def _codec(kind: Any) -> _Codec | None:
    """How a field of this type is written and read; None where it is stored as it is."""
    if kind in (str, int, bytes):
        return None
    if kind is bool:
        return int, bool
    if kind is datetime:
        return stored_time, time_of
    if kind == Pairs:
        return _dump_pairs, _load_pairs
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _text, kind
    return _json_codec(kind)


_text: Final = str.__str__  # of a StrEnum's member: the text it is, as a plain str


def _facts_of(stored: Sequence[int | None]) -> Facts:
    return Facts(**{name: amount or 0 for name, amount in zip(_FACTS, stored, strict=True)})


def _split_facts(facts: Facts) -> Row:
    """The amounts; what the first schema did not know is NULL where it is 0, as in rows of then."""
    amounts: Row = _amounts(facts)
    return amounts[:_FIRST_FACTS] + tuple([amount or None for amount in amounts[_FIRST_FACTS:]])


def _money_of(stored: Sequence[Any]) -> Money | None:
    amount_minor, currency = stored
    return None if amount_minor is None else Money.minor(amount_minor, currency)


def _split_money(money: Money | None) -> tuple[int | None, str | None]:
    return (None, None) if money is None else (money.amount_minor, money.currency)


_FACTS: Final = tuple(field.name for field in attrs.fields(Facts))
_FIRST_FACTS: Final = _FACTS.index("disputed") + 1
_amounts: Final = attrgetter(*_FACTS)
_Spread = tuple[Callable[[Any], Row], Callable[[Sequence[Any]], Any]]
# Amounts are columns of their own, so that the schema can guard them.
_SPREAD: Final[dict[Any, tuple[tuple[str, ...], _Spread]]] = {
    Facts: (_FACTS, (_split_facts, _facts_of)),
    Money: (("amount_minor", "currency"), (_split_money, _money_of)),
}


def _without_none(kind: Any) -> Any:
    if get_origin(kind) is not UnionType:
        return kind
    (only,) = (part for part in get_args(kind) if part is not type(None))
    return only


class Layout(Generic[V]):
    """How one kind of value lies in its table.

    Args:
        kind: the class.
        table: the table's name.
        computed: properties that are stored, so that they can be queried, and never read back;
            each with how it is written.
        prefix: what stands before the names of the columns that `Facts` is spread over.
        key: the column that names a value in an error.
        place: the columns that name it among the merchant's.
        guard: the column of its version.
        is_personal: whether it is erased one day, to the last trace. Of such a row a chain knows
            the version alone: from a digest somebody could still guess a name.
    """

    def __init__(
        self,
        kind: type[V],
        table: str,
        *,
        computed: tuple[tuple[str, _Dump], ...] = (),
        prefix: str = "",
        key: str = "id",
        place: tuple[str, ...] = ("id",),
        guard: str = "version",
        is_personal: bool = False,
    ) -> None:
        attrs.resolve_types(kind)
        fields = [field for field in attrs.fields(kind) if field.eq]
        types = {field.name: _without_none(field.type) for field in fields}
        flat = [name for name, type_ in types.items() if type_ not in _SPREAD]
        self.kind = kind
        self.table = table
        self.guard = guard
        self._flat = flat
        self._codecs = [
            (at, *codec) for at, name in enumerate(flat) if (codec := _codec(types[name]))
        ]
        self._spread: list[tuple[str, int, int, _Spread]] = []
        names = list(flat)
        for name, type_ in types.items():
            if type_ in _SPREAD:
                columns, spread = _SPREAD[type_]
                self._spread.append((name, len(names), len(names) + len(columns), spread))
                names += [prefix + column if type_ is Facts else column for column in columns]
        self._computed = computed
        told = (*names, *(name for name, _ in computed))
        self._told = len(names)
        self._digest = digester(table, told)
        self._guard_at = told.index(guard) if guard in told else -1
        self._marked_by = self._guard_at if is_personal else len(told)
        self._place = [told.index(column) for column in place]
        self.columns = (*told, DIGEST)
        self.changing = tuple(c for c in self.columns if c not in ("merchant_id", "id"))
        self._changing = itemgetter(*map(self.columns.index, self.changing))
        self._key_at = names.index(key)
        self._values = attrgetter(*flat)

    def row_of(self, value: V) -> Row:
        """The value as a row: one item for each of `columns`."""
        row = list(self._values(value))
        for at, dump, _ in self._codecs:
            if row[at] is not None:
                row[at] = dump(row[at])
        for name, _, _, (split, _) in self._spread:
            row += split(getattr(value, name))
        for name, dump in self._computed:
            item = getattr(value, name)
            row.append(None if item is None else dump(item))
        return (*row, self._digest(row))

    def place_of(self, row: Sequence[Any]) -> str:
        """What names a row among the merchant's."""
        return " ".join(str(row[at]) for at in self._place)

    def mark_of(self, row: Sequence[Any]) -> bytes:
        """What a chain knows a row by."""
        return as_mark(row[self._marked_by])

    def is_as_written(self, row: Sequence[Any]) -> bool:
        """Whether a row of `columns` is what its digest was made of."""
        return bool(row[-1] == self._digest(row))

    def changing_of(self, row: Row) -> Row:
        """What of a row a later version may change: one item for each of `changing`."""
        changed: Row = self._changing(row)
        return changed

    def value_of(self, row: Sequence[Any], latest: int = 0) -> V:
        """The value that a row of `columns` holds.

        Args:
            row: as it lies.
            latest: the version that its history tells of, where it has one.

        Raises:
            StorageUnavailable: `storage_corrupt`, naming the table and the id: it holds none, not
                what was written, or what was written before something else.
        """
        try:
            is_latest = not latest or latest <= row[self._guard_at]
            if is_latest and self.is_as_written(row):
                return self._built(list(row))
        except Exception:  # noqa: BLE001, S110  # whatever it is, it may hold what the row holds
            pass
        raise unreadable(self.table, row[self._key_at])

    def looked_at(self, row: Sequence[Any]) -> tuple[V | None, str | None]:
        """The value that a row of `columns` holds, None if it holds none, and what is wrong."""
        start = self._told
        try:
            value = self._built(list(row))
            computed = self.row_of(value)[start:-1]
        except Exception:  # noqa: BLE001  # whatever it is, it may hold what the row holds
            return None, "what is stored cannot be read"
        pairs = zip(self.columns[start:-1], computed, row[start:-1], strict=True)
        wrong = [name for name, is_, was in pairs if is_ != was]
        if wrong:
            return value, f"{' and '.join(wrong)} is not what follows from the rest"
        return value, None if self.is_as_written(row) else "the row is not what was written"

    def _built(self, items: list[Any]) -> V:
        for at, _, load in self._codecs:
            if items[at] is not None:
                items[at] = load(items[at])
        fields = dict(zip(self._flat, items, strict=False))
        for name, start, end, (_, build) in self._spread:
            fields[name] = build(items[start:end])
        return self.kind(**fields)


def unreadable(table: str, record_id: object) -> StorageUnavailable:
    """The error that says which row is not what was written; it tells nothing of what it holds."""
    return StorageUnavailable(
        f"{table} {record_id}: what is stored cannot be read", code=ErrorCode.STORAGE_CORRUPT
    )


MERCHANTS: Final = Layout(
    Merchant, "merchants", computed=(("merchant_id", _text),), is_personal=True
)
CUSTOMERS: Final = Layout(Customer, "customers", is_personal=True)
PAYMENT_METHODS: Final = Layout(PaymentMethod, "payment_methods")
PAYMENTS: Final = Layout(
    Payment, "payments", computed=(("status", _text), ("lapses_at", stored_time))
)
OPERATIONS: Final = Layout(Operation, "operations", guard="epoch")
NOTICES: Final = Layout(Notice, "notices")
DISPUTES: Final = Layout(Dispute, "disputes")
SETTLEMENTS: Final = Layout(Settlement, "settlements")
PAYOUTS: Final = Layout(Payout, "payouts", computed=(("status", _text),))
PAYOUT_PLANS: Final = Layout(PayoutPlan, "payout_plans")
SEALED_CARDS: Final = Layout(SealedCard, "sealed_cards")
WRAPPED_KEYS: Final = Layout(WrappedKey, "wrapped_keys")
FEE_SCHEDULES: Final = Layout(FeeSchedule, "fee_schedules")
EVENTS: Final = Layout(Event, "events", prefix="change_", place=("subject_id", "number"))
POSTINGS: Final = Layout(
    Posting, "postings", key="subject_id", place=("subject_id", "event_number", "line")
)
AUDIT_ENTRIES: Final = Layout(AuditEntry, "audit_entries")
ARCHIVED: Final = Layout(
    ArchivedEvents, "archived", key="subject_id", place=("subject_id", "last"), guard="last"
)
ARCHIVED_LINKS: Final = Layout(
    ArchivedLinks, "archived_links", key="chain", place=("chain", "last"), guard="last"
)

RECORDS: Final[Mapping[type, Layout[Any]]] = MappingProxyType(
    {
        layout.kind: layout
        for layout in (
            MERCHANTS,
            CUSTOMERS,
            PAYMENT_METHODS,
            PAYMENTS,
            OPERATIONS,
            NOTICES,
            DISPUTES,
            SETTLEMENTS,
            PAYOUTS,
            PAYOUT_PLANS,
            SEALED_CARDS,
            WRAPPED_KEYS,
            FEE_SCHEDULES,
        )
    }
)
"""The layout of each kind of record."""


# -- receipts --------------------------------------------------------------------------------------

RECEIPT_FORMAT: Final = 4
"""Raised when the JSON of a payment or payment method changes; each older one stays readable.

Format 1 knows no version of a fingerprint, format 2 none that is allowed again, and format 3 no
fees and no settlement; each is read as if it said none.
"""

_SUBJECTS: Final[dict[str, type[Subject]]] = {
    "payment": Payment,
    "payment_method": PaymentMethod,
    "payout": Payout,
}
_SUBJECT_NAMES: Final = {kind: name for name, kind in _SUBJECTS.items()}


RECEIPT_COLUMNS: Final = ("merchant_id", "operation_id", "subject", "format", "body", DIGEST)
_receipt_digest: Final = digester("receipts", RECEIPT_COLUMNS[:-1])


def receipt_row(receipt: Receipt) -> Row:
    """What a caller was told, as bytes: kept as it was, never computed anew."""
    body = _encode(_converter.unstructure(receipt.subject)).encode()
    name = _SUBJECT_NAMES[type(receipt.subject)]
    row = (receipt.merchant_id, receipt.operation_id, name, RECEIPT_FORMAT, body)
    return (*row, _receipt_digest(row))


def is_receipt_as_written(row: Sequence[Any]) -> bool:
    """Whether a row of `RECEIPT_COLUMNS` is what its digest was made of."""
    return bool(row[-1] == _receipt_digest(row))


def subject_of(row: Row) -> Subject:
    """What a caller was told.

    Raises:
        StorageUnavailable: `storage_corrupt`, naming the operation: it cannot be read, or is not
            what was written.
    """
    _, operation_id, name, receipt_format, body, _ = row
    try:
        if is_receipt_as_written(row) and 1 <= receipt_format <= RECEIPT_FORMAT:
            return _converter.structure(json.loads(body), _SUBJECTS[name])
    except Exception:  # noqa: BLE001, S110  # whatever it is, it may hold what the body holds
        pass
    raise unreadable("receipts", operation_id)
