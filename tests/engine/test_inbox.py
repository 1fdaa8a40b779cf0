"""A signed notice is kept first and heeded then: never lost, never twice, never unsigned.

How: the bank signs what it tells of its own accord; what no bank of ours would say is written by
hand and signed with its key.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from mortal import World, agree
from shaky import Fails, Shaky, done_but_uncertain, named, not_done_and_uncertain, stale
from test_crashes import deaths
from test_notices import (
    CAPTURES_TAKEN_BACK,
    authorized,
    history,
    the_operation,
    the_payment,
    written,
)
from verbs import KEY, eur

from payplatform import (
    Conflict,
    ErrorCode,
    InvalidRequest,
    Money,
    NotAllowed,
    NotAuthentic,
    NotFound,
    Notice,
    Operation,
    OutcomeUnknown,
    Payment,
)
from payplatform._domain.changes import Changes
from payplatform.banks import _signatures, _wire
from payplatform.banks.simulated import FULL_CAPABILITIES, Delivery, Fault
from payplatform.ports import BankNotice, ReplyOutcome
from payplatform.testing.mortal import Died, Fate, Moment

NOBODYS = "op_" + "0" * 26


@pytest.fixture(params=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(None if request.param == "memory" else tmp_path / "shop.db")


def taken_back(world: World) -> BankNotice:
    """A capture that the bank has taken back, and tells of."""
    payment_id = authorized(world, CAPTURES_TAKEN_BACK)
    world.shop.payments.capture(payment_id, eur("60"), idempotency_key=KEY)
    world.advance(hours=1)
    [notice] = world.bank.notices()
    return notice


def signed(world: World, notice: BankNotice) -> Delivery:
    """A notice that the bank did not send, under its signature."""
    return signed_raw(world, _wire.written(notice))


def signed_raw(world: World, raw: bytes) -> Delivery:
    """Any bytes under the bank's signature."""
    with world.bank._desk() as desk:  # nobody but the bank has its key
        key = desk.books.signing_key()
    return Delivery(raw, _signatures.sign(raw, name="n", at=world.now, key=key))


def receive(world: World, notice: BankNotice) -> Notice:
    return world.pay.notices.receive(*signed(world, notice))


def kept(world: World) -> list[Notice]:
    return list(world.shop.notices.list())


def test_what_the_bank_sends_is_kept_and_booked(world: World) -> None:
    told = taken_back(world)
    [delivery] = world.bank.deliveries()

    notice = world.pay.notices.receive(*delivery)

    assert (notice.state, notice.reason, notice.told) == ("applied", None, told)
    assert notice.bank == world.bank.capabilities.name
    assert the_operation(world).state == "reversed"
    assert world.shop.notices.get(notice.id) == notice
    assert kept(world) == [notice]
    assert list(world.shop.notices.list(operation_id=the_operation(world).id)) == [notice]
    assert list(world.shop.notices.list(state="waiting")) == []
    agree(world)
    world.close()


def test_the_same_notice_again_changes_nothing(world: World) -> None:
    """Signed anew, as each delivery is, and however late."""
    taken_back(world)
    first = world.pay.notices.receive(*world.bank.deliveries()[0])
    before = history(world)
    for _ in range(3):
        world.advance(days=1)

        assert world.pay.notices.receive(*world.bank.deliveries()[0]) == first

    assert history(world) == before
    assert kept(world) == [first]
    world.close()


def test_another_content_under_the_same_id_is_kept_and_not_heeded(world: World) -> None:
    """Each of them once, however often it comes; the first goes on to count."""
    told = taken_back(world)
    first = receive(world, told)
    approved = evolve(told.reply, outcome=ReplyOutcome.APPROVED, decline=None)
    others = [
        evolve(told, reply=approved),
        evolve(told, at=told.at + timedelta(seconds=1)),
        evolve(told, reply=evolve(told.reply, operation_id=NOBODYS)),
    ]
    before = history(world)

    for _ in range(2):
        for other in others:
            notice = receive(world, other)
            assert (notice.state, notice.reason) == ("discrepancy", first.id)
            assert notice.told == other

    assert receive(world, told) == first
    assert history(world) == before
    assert the_operation(world).state == "reversed"
    found = list(world.shop.notices.list(state="discrepancy"))
    assert {notice.told for notice in found} == set(others)
    assert len(found) == len(others)
    assert world.pay.recover().notices == 0
    world.close()


def test_a_notice_of_what_is_not_here_waits_until_it_is(tmp_path: Path) -> None:
    """The file was put back from an older backup; what the bank tells is not lost."""
    world = World(tmp_path / "shop.db")
    told = taken_back(world)
    operation, subject = the_operation(world), the_payment(world)
    older = World(tmp_path / "older.db")
    notice = receive(older, evolve(told, merchant_id=older.merchant_id))
    assert (notice.state, notice.reason) == ("waiting", "not_found")
    older.advance(minutes=1)
    assert older.pay.recover().notices == 0
    assert list(older.shop.notices.list(state="waiting")) == kept(older)
    assert kept(older)[0].attempts == 2

    put_in(older, world, operation.id, subject.id)
    older.advance(days=1)

    assert older.pay.recover().notices == 1
    assert older.shop.notices.get(notice.id).state == "applied"
    assert older.shop.operations.get(operation.id).state == "reversed"
    world.close()
    older.close()


def put_in(there: World, here: World, operation_id: str, payment_id: str) -> None:
    """Have one merchant's payment in another's store, as a newer backup would bring it."""
    operation = here.storage.get(here.merchant_id, Operation, operation_id)
    payment = here.storage.get(here.merchant_id, Payment, payment_id)
    assert operation is not None
    assert payment is not None
    merchant_id = there.merchant_id
    there.storage.commit(
        Changes(
            merchant_id=merchant_id,
            records=(
                evolve(operation, merchant_id=merchant_id, epoch=1),
                evolve(payment, merchant_id=merchant_id, version=1),
            ),
        )
    )


def test_a_notice_waits_for_what_is_under_way(world: World) -> None:
    """It came too early, and is booked once what it rests on has ended."""
    taken_back(world)
    world.bank.next(Fault.LOSE_REQUEST)
    with suppress(OutcomeUnknown):
        world.shop.payments.refund(the_payment(world).id, eur("50"), idempotency_key="refund")

    notice = world.pay.notices.receive(*world.bank.deliveries()[0])
    assert (notice.state, notice.reason) == ("waiting", "operation_in_progress")
    world.advance(minutes=1)

    assert world.pay.recover().notices == 1
    assert the_operation(world).state == "reversed"
    agree(world)
    world.close()


def test_what_contradicts_the_books_is_followed_once_there_is_room(world: World) -> None:
    """A capture taken back under a refund: told once, and booked when the refund is gone too."""
    payments, payment_id = world.shop.payments, authorized(world)
    payments.capture(payment_id, eur("60"), idempotency_key=KEY)
    payments.refund(payment_id, eur("50"), idempotency_key="refund")
    captured, refunded = the_operation(world), the_operation(world, "refund")

    first = receive(world, written(world, captured, ReplyOutcome.DECLINED, "first"))
    assert (first.state, first.reason) == ("waiting", "contradicts_books")
    for _ in range(2):
        world.advance(days=1)
        assert world.pay.recover().notices == 0
    assert history(world)[-2:] == ["refund.succeeded", "capture.contradicted"], "told once"
    receive(world, written(world, refunded, ReplyOutcome.DECLINED, "second"))
    world.advance(days=1)

    assert world.pay.recover().notices == 1
    assert the_operation(world).state == "reversed"
    assert payments.get(payment_id).facts.captured == 0
    world.close()


@pytest.mark.parametrize(
    "expired", [Money("40", "USD"), Money("40", "JPY")], ids=lambda money: money.currency
)
def test_what_can_be_about_nothing_here_is_refused_and_kept(expired: Money, world: World) -> None:
    authorized(world)
    told = written(world, the_operation(world, "auth"), ReplyOutcome.APPROVED)

    notice = receive(world, evolve(told, expired=expired))

    assert (notice.state, notice.reason) == ("refused", "currency_mismatch")
    world.advance(days=8)
    assert world.pay.recover().notices == 0
    assert kept(world) == [notice]
    world.close()


# Expiries.


@pytest.mark.parametrize("before", [True, False])
def test_an_expiry_is_booked_as_the_bank_tells_it(before: bool, world: World) -> None:
    """Before our own clock has booked it, or after: once, and as much as the bank says."""
    payments, payment_id = world.shop.payments, authorized(world)
    payments.capture(payment_id, eur("60"), idempotency_key=KEY)
    world.advance(days=7)
    if not before:
        world.pay.recover()

    notice = world.pay.notices.receive(*world.bank.deliveries()[0])

    assert notice.state == "applied"
    assert notice.told.expired == eur("40")
    assert payments.get(payment_id).expired == eur("40")
    assert history(world).count("payment.expired") == 1
    world.pay.recover()
    assert history(world).count("payment.expired") == 1
    agree(world)
    world.close()


def test_expiries_are_set_and_never_added(world: World) -> None:
    """Each tells all that has expired: the largest counts, whatever order they come in."""
    payment_id = authorized(world)
    operation = the_operation(world, "auth")
    for n, (total, booked) in enumerate([("40", "40"), ("10", "40"), ("40", "40"), ("70", "70")]):
        told = written(world, operation, ReplyOutcome.APPROVED, f"notice-{n}")

        assert receive(world, evolve(told, expired=eur(total))).state == "applied"
        assert world.shop.payments.get(payment_id).expired == eur(booked)
    assert world.pay.doctor().ok
    world.close()


def test_more_than_is_left_cannot_expire(world: World) -> None:
    """It waits: another notice may have to come first, and nothing is booked by half."""
    payment_id = authorized(world)
    world.shop.payments.capture(payment_id, eur("60"), idempotency_key=KEY)
    told = written(world, the_operation(world, "auth"), ReplyOutcome.APPROVED, "expiry")

    assert receive(world, evolve(told, expired=eur("41"))).state == "waiting"
    assert world.shop.payments.get(payment_id).expired == eur("0")
    receive(world, written(world, the_operation(world), ReplyOutcome.DECLINED, "capture"))
    world.advance(minutes=1)

    assert world.pay.recover().notices == 1
    assert world.shop.payments.get(payment_id).expired == eur("41")
    world.close()


def test_an_expiry_also_tells_that_it_was_authorized(world: World) -> None:
    """Nobody has heard the bank's answer: one notice brings the approval and its end."""
    world.bank.next(Fault.LOSE_REPLY)
    with pytest.raises(OutcomeUnknown):
        authorized(world)
    world.advance(days=7)

    notice = world.pay.notices.receive(*world.bank.deliveries()[0])

    assert notice.state == "applied"
    assert the_operation(world, "auth").state == "succeeded"
    assert the_payment(world).status == "expired"
    agree(world)
    world.close()


# What is not taken.


def test_what_is_not_signed_by_the_bank_is_not_even_read(world: World) -> None:
    """One bit of body, id, time or signature; another bank's key; no signature at all."""
    taken_back(world)
    raw, headers = world.bank.deliveries()[0]
    name, time, signature = "webhook-id", "webhook-timestamp", "webhook-signature"
    another = World()
    taken_back(another)
    without = [{n: v for n, v in headers.items() if n != gone} for gone in headers]
    doctored: list[tuple[bytes, dict[str, str]]] = [
        (raw[:-1] + bytes([raw[-1] ^ 1]), headers),
        (raw + b" ", headers),
        (b"", headers),
        (raw, headers | {name: "notice_2"}),
        (raw, headers | {time: str(int(headers[time]) + 1)}),
        (raw, headers | {signature: headers[signature][:-1]}),
        (raw, headers | {signature: headers[signature].replace("v1,", "v2,")}),
        (raw, headers | {signature: "v1,\udcff"}),
        (raw, {}),
        *((raw, headers_) for headers_ in without),
        another.bank.deliveries()[0],
        (b"\x00" * 1_000, headers),
    ]
    for body, some in doctored:
        with pytest.raises(NotAuthentic) as refused:
            world.pay.notices.receive(body, some)
        expected = {ErrorCode.SIGNATURE_MISSING, ErrorCode.SIGNATURE_INVALID}
        assert refused.value.code in expected
        assert not refused.value.retryable
    assert kept(world) == []
    assert the_operation(world).state == "succeeded"
    another.close()
    world.close()


@pytest.mark.parametrize(("seconds", "taken"), [(-301, False), (-300, True), (300, True)])
def test_a_delivery_is_good_for_five_minutes(seconds: int, taken: bool, world: World) -> None:
    """Later or earlier it may be one that was kept from us: the bank signs each anew."""
    taken_back(world)
    delivery = world.bank.deliveries()[0]
    world.advance(seconds=seconds)
    if taken:
        assert world.pay.notices.receive(*delivery).state == "applied"
    else:
        with pytest.raises(NotAuthentic) as refused:
            world.pay.notices.receive(*delivery)
        assert refused.value.code is ErrorCode.SIGNATURE_STALE
        assert kept(world) == []
    world.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"{" * 60_000,
        b"[" * 60_000,
        b"\xff\xfe{}",
        '{"id": "n"}'.encode("utf-16"),
        b'{"id": "n", "id": "m"}',
        b"9" * 60_000,
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_what_is_signed_and_tells_nothing_is_refused(raw: bytes, world: World) -> None:
    with pytest.raises(InvalidRequest) as refused:
        world.pay.notices.receive(*signed_raw(world, raw))

    assert refused.value.code is ErrorCode.NOTICE_MALFORMED
    assert refused.value.__context__ is None
    assert kept(world) == []
    world.close()


def test_a_part_of_another_type_is_refused(world: World) -> None:
    """Each part of a good message in turn: no fraction, nothing unknown, nothing said twice."""
    told = taken_back(world)
    good = _wire.written(told).decode()
    for part, wrong in {
        '"amount_minor":6000': '"amount_minor":6000.0',
        '"currency":"EUR"': '"currency":"EURO"',
        '"outcome":"declined"': '"outcome":"reversed"',
        '"at":"2030-01-01T13:00:00+00:00"': '"at":1893502800',
        '{"at"': '{"more":1,"at"',
        f'"id":"{told.id}",': "",
        f'"id":"{told.id}"': f'"id":"{told.id}","id":"{told.id}"',
    }.items():
        assert good.count(part) == 1, part
        raw = good.replace(part, wrong).encode()
        with pytest.raises(InvalidRequest) as refused:
            world.pay.notices.receive(*signed_raw(world, raw))
        assert refused.value.code is ErrorCode.NOTICE_MALFORMED, part
    assert kept(world) == []
    world.close()


ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, float("nan"), 2**63 - 1, 10**400, [], {}),
    *("", "x", "\0", "\ud800", "9" * 5_000, "USD", "XAU", "4242424242424242"),
    *("0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59-23:59", "2030-01-01T12:00:00"),
    *({"amount_minor": 2**63 - 1, "currency": "EUR"}, {"amount_minor": 0, "currency": "EUR"}),
    *({"amount_minor": 100, "currency": "USD"}, {"amount_minor": -1, "currency": "EUR"}),
    *("approved", "declined", "pending", "opened", "won", "lost", "reversed"),
)


PLACES = (
    *("id", "merchant_id", "at", "expired", "reply", "dispute"),
    *("reply.operation_id", "reply.outcome", "reply.amount", "reply.amount.amount_minor"),
    *("reply.amount.currency", "reply.reference", "reply.expires_at", "reply.decline"),
    *("dispute.dispute_id", "dispute.state", "dispute.amount", "dispute.amount.amount_minor"),
    *("dispute.amount.currency", "dispute.reason_code", "dispute.evidence_due_at"),
)


@pytest.mark.parametrize("place", PLACES)
def test_whatever_a_bank_signs_the_books_stay_whole_and_all_goes_on(place: str) -> None:
    """Any part of a good message is anything at all: taken or refused, and nobody is held up."""
    world = World()
    payment_id = authorized(world, CAPTURES_TAKEN_BACK)
    capture = world.shop.payments.capture(payment_id, eur("60"), idempotency_key=KEY)
    assert capture.latest_operation_id is not None
    world.bank.disputes.open(world.merchant_id, capture.latest_operation_id, eur("20"))
    world.advance(hours=1)
    *within, name = place.split(".")
    spoilt = count(1)
    for raw, _ in world.bank.deliveries():
        for odd in ODD:
            message = part = json.loads(raw)
            message["id"] = f"n{next(spoilt)}"
            for step in within:
                part = part.setdefault(step, {})
            part[name] = odd
            with suppress(InvalidRequest):
                world.pay.notices.receive(*signed_raw(world, json.dumps(message).encode()))
    assert world.pay.doctor().ok
    world.advance(days=60)
    world.pay.run_due()
    assert world.pay.doctor().ok
    world.close()


def test_names_of_headers_are_in_any_case(world: World) -> None:
    taken_back(world)
    raw, headers = world.bank.deliveries()[0]
    capitals = {name.title(): value for name, value in headers.items()}

    assert world.pay.notices.receive(raw, capitals).state == "applied"
    world.close()


def test_one_good_signature_of_several_is_enough(world: World) -> None:
    """As long as a bank replaces its key it signs with both."""
    taken_back(world)
    raw, headers = world.bank.deliveries()[0]
    several = f"v1,AAAA {headers['webhook-signature']} v1a,BBBB"

    notice = world.pay.notices.receive(raw, headers | {"webhook-signature": several})

    assert notice.state == "applied"
    world.close()


def test_a_bank_that_signs_nothing_is_never_asked() -> None:
    world = World(capabilities=evolve(FULL_CAPABILITIES, signed_notices=False))
    with pytest.raises(NotAllowed) as refused:
        world.pay.notices.receive(b"{}", {})
    assert refused.value.code is ErrorCode.NOT_SUPPORTED_BY_BANK
    world.close()


def test_an_adapter_that_fails_to_read_shows_nothing_of_what_came(world: World) -> None:
    def fails(raw: bytes, _: object) -> BankNotice:
        raise ValueError(raw)

    world.bank.read_notice = fails  # type: ignore[assignment, method-assign]  # an adapter with a bug
    with pytest.raises(InvalidRequest) as refused:
        world.pay.notices.receive(b"4242424242424242", {})

    assert refused.value.code is ErrorCode.NOTICE_MALFORMED
    assert refused.value.__context__ is None
    assert "4242" not in str(refused.value)
    world.close()


def test_nothing_that_looks_like_a_card_number_is_kept(world: World) -> None:
    """Neither as the bank's id of a notice nor as a reference: it is heeded all the same."""
    told = taken_back(world)
    number = "4242424242424242"
    reply = evolve(told.reply, reference=number, network_transaction_id=number)

    for _ in range(2):
        notice = receive(world, evolve(told, id=number, reply=reply))
        assert notice.state == "applied"

    assert number not in repr(kept(world))
    assert len(kept(world)) == 1
    world.close()


def test_a_notice_is_its_merchants_alone(world: World) -> None:
    taken_back(world)
    notice = world.pay.notices.receive(*world.bank.deliveries()[0])
    other = world.pay.merchant(world.pay.merchants.create(name="Other").id)

    assert list(other.notices.list()) == []
    with pytest.raises(NotFound):
        other.notices.get(notice.id)
    world.close()


# Whatever happens.


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("again", ["delivered", "looked at"])
def test_a_death_at_any_port_call_loses_no_notice(again: str, moment: Moment) -> None:
    """The bank delivers it again, or it was kept and is looked at: it is booked once."""

    def play(fate: Fate) -> World:
        world = World()
        taken_back(world)
        world.start(fate)
        with suppress(Died):
            world.pay.notices.receive(*world.bank.deliveries()[0])
        world.start()
        was_kept = bool(kept(world))
        world.advance(minutes=2)
        if again == "looked at" and was_kept:
            world.pay.recover()
        else:
            world.pay.notices.receive(*world.bank.deliveries()[0])
        assert [notice.state for notice in kept(world)] == ["applied"]
        assert history(world).count("capture.reversed") == 1
        agree(world)
        return world

    assert deaths(moment, play) >= 8, "reads, two commits for the notice, one for what it tells"


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("fault", [stale, done_but_uncertain, not_done_and_uncertain], ids=named)
def test_a_commit_that_fails_for_once_costs_nothing(fault: Fails, at: int) -> None:
    """To keep it, to book it, or to say that it was booked."""
    world = World()
    taken_back(world)
    store = Shaky(world.storage)
    world.through = lambda _: store
    world.start()
    store.fail(at, fault)

    world.pay.notices.receive(*world.bank.deliveries()[0])
    world.advance(minutes=2)
    world.pay.recover()

    assert [notice.state for notice in kept(world)] == ["applied"]
    assert history(world).count("capture.reversed") == 1
    agree(world)
    world.close()


def test_a_store_that_fails_keeps_the_bank_delivering() -> None:
    world = World()
    taken_back(world)
    store = Shaky(world.storage)
    world.through = lambda _: store
    world.start()
    store.fail(1, stale, times=1_000)
    with pytest.raises(Conflict) as refused:
        world.pay.notices.receive(*world.bank.deliveries()[0])
    assert refused.value.retryable
    store.get_well()
    assert kept(world) == []

    assert world.pay.notices.receive(*world.bank.deliveries()[0]).state == "applied"
    world.close()
