"""Values as a store may be handed them: plain examples, and strategies for all that there may be.

Law of this file: what is made here could have come from the domain (amounts within their bounds,
text as `text` lets it in), and every field that a value has is drawn, also one added tomorrow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from types import MappingProxyType, UnionType
from typing import Any, Final, get_args, get_origin

import attrs
from attrs import evolve
from hypothesis import strategies as st

from payplatform._domain._iso4217 import EXPONENTS
from payplatform._domain.audit import AuditEntry, AuditKind
from payplatform._domain.cards import Brand
from payplatform._domain.disputes import Dispute, DisputeState
from payplatform._domain.events import EVENT_TYPES, Event
from payplatform._domain.fees import FeeKind, FeeRate, FeeSchedule
from payplatform._domain.ledger import Account, Posting
from payplatform._domain.messages import BankNotice, BankReply, ReplyOutcome
from payplatform._domain.money import MAX_MINOR, Money
from payplatform._domain.notices import Notice, NoticeState
from payplatform._domain.operations import Operation, OperationKind, OperationState
from payplatform._domain.payments import Facts, Payment
from payplatform._domain.payouts import Payout, PayoutInterval, PayoutPlan
from payplatform._domain.records import (
    Customer,
    KeyPurpose,
    Merchant,
    PaymentMethod,
    SealedCard,
    WrappedKey,
)
from payplatform._domain.settlements import Settlement

NOW: Final = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)

PREFIXES: Final[Mapping[type, str]] = MappingProxyType(
    {
        Merchant: "mer",
        Customer: "cus",
        PaymentMethod: "pm",
        Payment: "pay",
        Operation: "op",
        Notice: "ntc",
        Dispute: "dsp",
        Settlement: "stl",
        Payout: "po",
        SealedCard: "tok",
        WrappedKey: "dek",
        FeeSchedule: "fee",
        Event: "evt",
        AuditEntry: "aud",
    }
)


def an_id(kind: type, number: int) -> str:
    """The id of that kind with that number; greater numbers have greater ids."""
    if kind is PayoutPlan:
        return sorted(EXPONENTS)[number]
    return f"{PREFIXES[kind]}_{number:026d}"


# -- plain examples: each takes a merchant, a number, and what is to be otherwise ------------------


def a_merchant(merchant_id: str, number: int = 1, **otherwise: Any) -> Merchant:
    """The merchant with that id, of which there can be only one; `number` is its name."""
    merchant = Merchant(
        id=merchant_id, version=1, name=f"Shop {number}", created_at=NOW, updated_at=NOW
    )
    return evolve(merchant, **otherwise)


def a_customer(merchant_id: str, number: int = 1, **otherwise: Any) -> Customer:
    """A customer."""
    customer = Customer(
        id=an_id(Customer, number),
        merchant_id=merchant_id,
        version=1,
        name="Ada",
        email="ada@example.com",
        metadata=(("since", "1843"),),
        created_at=NOW,
        updated_at=NOW,
    )
    return evolve(customer, **otherwise)


def a_method(merchant_id: str, number: int = 1, **otherwise: Any) -> PaymentMethod:
    """A payment method of the first customer, with a fingerprint of its own."""
    method = PaymentMethod(
        id=an_id(PaymentMethod, number),
        merchant_id=merchant_id,
        version=1,
        token=an_id(SealedCard, number),
        customer_id=an_id(Customer, 1),
        brand=Brand.VISA,
        bin="424242",
        last4="4242",
        expiry_month=12,
        expiry_year=2030,
        fingerprint=number.to_bytes(32, "big"),
        created_at=NOW,
        updated_at=NOW,
    )
    return evolve(method, **otherwise)


def a_payment(merchant_id: str, number: int = 1, **otherwise: Any) -> Payment:
    """An authorized payment of the first customer."""
    payment = Payment(
        id=an_id(Payment, number),
        merchant_id=merchant_id,
        version=1,
        currency="EUR",
        facts=Facts(requested=1999, authorized=1999),
        intent=OperationKind.AUTHORIZE,
        payment_method_id=an_id(PaymentMethod, 1),
        customer_id=an_id(Customer, 1),
        brand=Brand.VISA,
        last4="4242",
        reference="order-1001",
        metadata=(("basket", "7"), ("colour", "blue")),
        created_at=NOW,
        updated_at=NOW,
    )
    return evolve(payment, **otherwise)


def an_operation(merchant_id: str, number: int = 1, **otherwise: Any) -> Operation:
    """An operation of the first payment, in flight, with a key of its own."""
    operation = Operation(
        id=an_id(Operation, number),
        merchant_id=merchant_id,
        subject_id=an_id(Payment, 1),
        kind=OperationKind.AUTHORIZE,
        state=OperationState.IN_FLIGHT,
        amount=Money.minor(1999, "EUR"),
        epoch=otherwise.pop("version", 1),
        idempotency_key=f"key-{number}",
        fingerprint=number.to_bytes(32, "big"),
        created_at=NOW,
        updated_at=NOW,
        lease_until=NOW + 30 * SECOND,
        next_try_at=NOW + 30 * SECOND,
    )
    return evolve(operation, **otherwise)


def a_notice(merchant_id: str, number: int = 1, **otherwise: Any) -> Notice:
    """A notice about the first operation, that waits to be looked at again."""
    operation_id = an_id(Operation, 1)
    reply = BankReply(
        operation_id=operation_id, outcome=ReplyOutcome.APPROVED, amount=Money.minor(1999, "EUR")
    )
    notice = Notice(
        id=an_id(Notice, number),
        merchant_id=merchant_id,
        version=1,
        bank="simulated",
        operation_id=operation_id,
        told=BankNotice(id=f"notice_{number}", merchant_id=merchant_id, reply=reply, at=NOW),
        state=NoticeState.WAITING,
        next_try_at=NOW,
        created_at=NOW,
        updated_at=NOW,
    )
    return evolve(notice, **otherwise)


def a_settlement(merchant_id: str, number: int = 1, **otherwise: Any) -> Settlement:
    """A settlement report of one day, none of whose lines is in suspense."""
    settlement = Settlement(
        id=an_id(Settlement, number),
        merchant_id=merchant_id,
        version=1,
        reference=f"settlement {number}",
        digest=number.to_bytes(32, "big"),
        since=NOW,
        until=NOW + 86_400 * SECOND,
        line_count=number,
        latest_event=1,
        created_at=NOW,
        updated_at=NOW,
    )
    return evolve(settlement, **otherwise)


def a_payout(merchant_id: str, number: int = 1, **otherwise: Any) -> Payout:
    """A payout that was started."""
    payout = Payout(
        id=an_id(Payout, number),
        merchant_id=merchant_id,
        version=1,
        amount=Money.minor(1999, "EUR"),
        operation_id=an_id(Operation, number),
        state=OperationState.IN_FLIGHT,
        reference="week 9",
        created_at=NOW,
        updated_at=NOW,
    )
    return evolve(payout, **otherwise)


def a_plan(merchant_id: str, number: int = 1, **otherwise: Any) -> PayoutPlan:
    """A plan of weekly payouts in one of the currencies."""
    plan = PayoutPlan(
        id=sorted(EXPONENTS)[number],
        merchant_id=merchant_id,
        version=1,
        interval=PayoutInterval.WEEKLY,
        minimum_minor=100,
        reserve_minor=5_000,
        next_at=NOW + SECOND,
        created_at=NOW,
        updated_at=NOW,
    )
    return evolve(plan, **otherwise)


def a_dispute(merchant_id: str, number: int = 1, **otherwise: Any) -> Dispute:
    """A dispute of all of the first payment, opened, with an id at the bank of its own."""
    dispute = Dispute(
        id=an_id(Dispute, number),
        merchant_id=merchant_id,
        version=1,
        payment_id=an_id(Payment, 1),
        operation_id=an_id(Operation, 1),
        bank_dispute_id=f"case-{number}",
        state=DisputeState.OPENED,
        amount=Money.minor(1999, "EUR"),
        held_minor=1999,
        brand=Brand.VISA,
        reason_code="10.4",
        evidence_due_at=NOW + 86_400 * SECOND,
        told_state=DisputeState.OPENED,
        told_at=NOW,
        next_look_at=NOW,
        created_at=NOW,
        updated_at=NOW,
    )
    return evolve(dispute, **otherwise)


def a_sealed_card(merchant_id: str, number: int = 1, **otherwise: Any) -> SealedCard:
    """A sealed card; nothing in it can be opened."""
    sealed = SealedCard(
        id=an_id(SealedCard, number),
        merchant_id=merchant_id,
        key_version=1,
        number=b"\x01sealed",
        details=b"\x01more",
    )
    return evolve(sealed, **otherwise)


def a_wrapped_key(merchant_id: str, number: int = 1, **otherwise: Any) -> WrappedKey:
    """A wrapped key; nothing in it can be unwrapped."""
    key = WrappedKey(
        id=an_id(WrappedKey, number),
        merchant_id=merchant_id,
        purpose=KeyPurpose.DATA,
        key_version=number,
        wrapped=b"\x00wrapped",
        created_at=NOW,
    )
    return evolve(key, **otherwise)


def a_fee_schedule(merchant_id: str, number: int = 1, **otherwise: Any) -> FeeSchedule:
    """A schedule with one price: 1.4 % and 25 cents."""
    rate = FeeRate(kind=FeeKind.CAPTURE, currency="EUR", share_ppm=14_000, fixed_minor=25)
    schedule = FeeSchedule(
        id=an_id(FeeSchedule, number),
        merchant_id=merchant_id,
        counts_from=NOW,
        rates=(rate,),
        created_at=NOW,
    )
    return evolve(schedule, **otherwise)


def an_event(merchant_id: str, number: int = 1, **otherwise: Any) -> Event:
    """The first payment's event with that number."""
    event = Event(
        id=an_id(Event, number),
        merchant_id=merchant_id,
        subject_id=an_id(Payment, 1),
        number=number,
        type="authorize.succeeded",
        at=NOW,
        amount=Money.minor(1999, "EUR"),
        change=Facts(authorized=1999),
        details=(("reason", "said so"),),
    )
    return evolve(event, **otherwise)


def a_posting(merchant_id: str, number: int = 1, **otherwise: Any) -> Posting:
    """The first line of the first payment's event with that number."""
    posting = Posting(
        merchant_id=merchant_id,
        subject_id=an_id(Payment, 1),
        event_number=number,
        line=1,
        account=Account.ISSUER_HOLDS,
        amount_minor=1999,
        currency="EUR",
        at=NOW,
    )
    return evolve(posting, **otherwise)


def an_entry(merchant_id: str, number: int = 1, **otherwise: Any) -> AuditEntry:
    """An entry of the audit trail."""
    entry = AuditEntry(
        id=an_id(AuditEntry, number),
        merchant_id=merchant_id,
        kind=AuditKind.DELETE,
        at=NOW,
        actor="Ada",
        object_id=an_id(PaymentMethod, number),
        details=(("why", "asked for"),),
    )
    return evolve(entry, **otherwise)


EXAMPLES: Final[Mapping[type, Callable[..., Any]]] = MappingProxyType(
    {
        Merchant: a_merchant,
        Customer: a_customer,
        PaymentMethod: a_method,
        Payment: a_payment,
        Operation: an_operation,
        Notice: a_notice,
        Dispute: a_dispute,
        Settlement: a_settlement,
        Payout: a_payout,
        PayoutPlan: a_plan,
        SealedCard: a_sealed_card,
        WrappedKey: a_wrapped_key,
        FeeSchedule: a_fee_schedule,
    }
)
"""Who makes an example of each kind of record."""


# -- all that there may be -------------------------------------------------------------------------

texts: Final = st.text(
    st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), max_size=20
)
times: Final = st.datetimes(
    datetime(1970, 1, 1),  # noqa: DTZ001  # hypothesis adds the time zone itself
    datetime(2199, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC),
)
amounts: Final = st.integers(0, MAX_MINOR) | st.sampled_from([0, 1, MAX_MINOR])
counts: Final = st.integers(1, 2**31 - 1)
_changes: Final = st.integers(-MAX_MINOR, MAX_MINOR)


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    """Facts that keep the invariants, up to the largest amount there is."""
    authorized = draw(amounts)
    captured = draw(st.integers(0, authorized))
    voided = draw(st.integers(0, authorized - captured))
    refunded = draw(st.integers(0, captured))
    disputed = draw(st.integers(0, captured - refunded))
    return Facts(
        requested=draw(amounts),
        authorized=authorized,
        captured=captured,
        voided=voided,
        expired=draw(st.integers(0, authorized - captured - voided)),
        refunded=refunded,
        disputed=disputed,
        fees=draw(amounts),
        settled=draw(_changes),
        acquirer_fees=draw(_changes),
        dispute_lost=draw(st.integers(0, disputed)),
    )


def _digits(least: int, most: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=least, max_size=most)


_countries: Final = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=2, max_size=2)
_bank_codes: Final = st.none() | st.text("ABCdef059-", min_size=1, max_size=8)

_BY_NAME: Final[Mapping[str, st.SearchStrategy[Any]]] = MappingProxyType(
    {
        "version": st.just(1),
        "epoch": st.just(1),
        "number": counts,
        "event_number": counts,
        "line": counts,
        "line_count": st.integers(0, 2**31 - 1),
        "latest_event": counts,
        "digest": st.binary(min_size=32, max_size=32),
        "key_version": counts,
        "minimum_minor": st.integers(1, MAX_MINOR),
        "attempts": st.integers(0, 2**31 - 1),
        "facts": facts(),
        "change": st.builds(Facts, **dict.fromkeys(attrs.fields_dict(Facts), _changes)),
        "currency": st.sampled_from(sorted(EXPONENTS)),
        "type": st.sampled_from(sorted(EVENT_TYPES)),
        "expiry_month": st.integers(1, 12),
        "expiry_year": st.integers(2000, 2199),
        "bin": _digits(6, 8),
        "last4": _digits(4, 4),
        "card_country": st.none() | _countries,
        "countries": st.lists(_countries, max_size=3).map(tuple),
        "share_ppm": st.integers(0, 1_000_000),
        "bank_code": _bank_codes,
        "advice_code": _bank_codes,
    }
)
"""What the type alone does not tell; a name means the same in every value."""


@cache
def any_of(kind: type) -> st.SearchStrategy[Any]:
    """Any value of an attrs class, every field drawn that makes two values differ."""
    attrs.resolve_types(kind)
    drawn = {
        field.name: _BY_NAME.get(field.name, _of_type(field.type))
        for field in attrs.fields(kind)
        if field.eq
    }
    # A sealed card's number is not a count.
    if kind is SealedCard:
        drawn["number"] = st.binary()
    # And a payout is of more than nothing.
    if kind is Payout:
        drawn["amount"] = drawn["amount"].filter(bool)
    # And a dispute costs no share of itself.
    if kind is FeeRate:
        fixed = {"kind": st.just(FeeKind.DISPUTE), "share_ppm": st.just(0)}
        drawn["kind"] = st.sampled_from(sorted(set(FeeKind) - {FeeKind.DISPUTE}))
        return st.builds(kind, **drawn) | st.builds(kind, **drawn | fixed)
    return st.builds(kind, **drawn)


def _of_type(kind: Any) -> st.SearchStrategy[Any]:
    if get_origin(kind) is UnionType:
        return st.one_of(*(map(_of_type, get_args(kind))))
    if get_origin(kind) is tuple:
        parts = [_of_type(part) for part in get_args(kind) if part is not Ellipsis]
        if get_args(kind)[-1] is Ellipsis:
            return st.lists(parts[0], max_size=3).map(tuple)
        return st.tuples(*parts)
    if kind is Money:
        return st.builds(Money.minor, amounts, _BY_NAME["currency"])
    if attrs.has(kind):
        return any_of(kind)
    if issubclass(kind, StrEnum):
        return st.sampled_from(kind)
    return _PLAIN[kind]


_PLAIN: Final[Mapping[type, st.SearchStrategy[Any]]] = MappingProxyType(
    {
        str: texts,
        int: amounts,
        bool: st.booleans(),
        bytes: st.binary(max_size=40),
        datetime: times,
        type(None): st.none(),
    }
)


def any_record(kind: type, merchant_id: str, number: int = 1) -> st.SearchStrategy[Any]:
    """Any first version of a record of that kind, under a given id."""
    names = {"id": an_id(kind, number), "merchant_id": merchant_id}
    if kind is Merchant:
        names = {"id": merchant_id}
    return any_of(kind).map(lambda record: evolve(_within(record), **names))


def _within(record: Any) -> Any:
    """Of a dispute, no more is held than is disputed."""
    if not isinstance(record, Dispute):
        return record
    return evolve(record, held_minor=min(record.held_minor, record.amount.amount_minor))
