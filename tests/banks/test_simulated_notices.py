"""What the bank tells of its own accord: nothing too much, and each until it is acknowledged."""

import base64
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bank_requests import CHALLENGE, HELD, Clock, Counter, do
from hypothesis import given

from payplatform.banks import _wire
from payplatform.banks._signatures import sign
from payplatform.banks.simulated import Fault, SimulatedBank
from payplatform.errors import InvalidRequest, NotAuthentic
from payplatform.ports import BankNotice, BankReply, ReplyOutcome
from payplatform.testing._records import any_of

LATE = [Fault.DELAY_REQUEST, Fault.DELAY_PAST_INQUIRY, Fault.DELAY_PAST_PROMISE]
PENDING_THEN_APPROVED, PENDING_THEN_DECLINED = "4000000000007726", "4000000000010308"


def told(counter: Counter) -> list[tuple[str, ReplyOutcome]]:
    return [(n.reply.operation_id, n.reply.outcome) for n in counter.bank.notices()]


def send_late(counter: Counter, fault: Fault, kind: str, operation_id: str) -> None:
    counter.bank.next(fault)
    with pytest.raises(TimeoutError):
        counter.send(kind, operation_id)


def test_what_was_answered_is_not_told_again(counter: Counter, clock: Clock) -> None:
    """Neither an answer that arrived nor one that was lost: who lost it can ask."""
    do(counter, [*HELD, ("capture", "c", 60), ("refund", "r", 10)])
    counter.bank.next(Fault.LOSE_REPLY)
    with suppress(TimeoutError):
        counter.send("sale", "b")
    clock.forward(6 * 86_400)

    assert counter.bank.notices() == []


@pytest.mark.parametrize("fault", LATE)
def test_a_request_that_arrived_late_is_told(counter: Counter, clock: Clock, fault: Fault) -> None:
    """As an inquiry tells it, dated when it arrived, by its own merchant."""
    send_late(counter, fault, "sale", "op_1")
    assert told(counter) == []
    clock.forward(600)

    [notice] = counter.bank.notices()

    assert notice.reply == counter.inquire("op_1")
    assert notice.merchant_id == "mer_1"
    assert [line.at for line in counter.bank.statement()] == [notice.at]


def test_a_late_reversal_is_told_as_what_it_came_to(counter: Counter) -> None:
    """The approval of a reversal would read like the approval of what it reverses."""
    counter.send("sale", "seen")
    send_late(counter, Fault.DELAY_REQUEST, "reversal", "seen")
    send_late(counter, Fault.DELAY_REQUEST, "reversal", "unseen")

    counter.bank.deliver_late()

    assert told(counter) == [("seen", ReplyOutcome.DECLINED)]


def test_what_arrives_after_its_reversal_is_told_as_declined(counter: Counter) -> None:
    send_late(counter, Fault.DELAY_REQUEST, "sale", "op_1")
    counter.send("reversal", "op_1")

    counter.bank.deliver_late()

    assert told(counter) == [("op_1", ReplyOutcome.DECLINED)]


@pytest.mark.parametrize("by", ["time", "test"])
@pytest.mark.parametrize(
    ("card", "outcome"),
    [(PENDING_THEN_APPROVED, "approved"), (PENDING_THEN_DECLINED, "declined")],
)
def test_a_pending_refund_is_told_when_it_is_decided(
    counter: Counter, clock: Clock, card: str, outcome: str, by: str
) -> None:
    counter.send("sale", "a", card=card)
    counter.send("refund", "r", 60, target_id="a")
    assert told(counter) == []
    if by == "test":
        counter.bank.finish_pending("r", succeed=outcome == "approved")
    clock.forward(3_600)

    assert told(counter) == [("r", outcome)]
    assert counter.bank.notices()[0].reply == counter.inquire("r")


def test_a_challenge_is_told_when_its_time_is_over(counter: Counter, clock: Clock) -> None:
    """One that was taken up is told by its resume."""
    for operation_id in ("taken", "left"):
        counter.send("sale", operation_id, card=CHALLENGE)
    counter.bank.complete_challenge("taken")
    counter.send("resume", "r", target_id="taken")
    clock.forward(900)

    assert told(counter) == [("left", ReplyOutcome.DECLINED)]


def expiries(counter: Counter) -> list[tuple[str, str]]:
    return [(n.reply.operation_id, str(n.expired)) for n in counter.bank.notices() if n.expired]


@pytest.mark.parametrize(
    ("before", "told_of"),
    [
        ([], [("a", "1.00 EUR")]),
        ([("capture", "c", 60)], [("a", "0.40 EUR")]),
        ([("capture", "c", 60), ("void", "v", 40)], []),
        ([("capture", "c", 100), ("refund", "r", 100)], []),
    ],
)
def test_what_is_left_of_an_authorization_is_told_when_its_time_is_over(
    counter: Counter, clock: Clock, before: list[tuple[str, str, int]], told_of: list[Any]
) -> None:
    do(counter, [*HELD, *before])
    clock.forward(7 * 86_400 - 1)
    assert expiries(counter) == []
    clock.forward(1)

    assert expiries(counter) == told_of
    clock.forward(86_400)
    assert expiries(counter) == told_of, "and once"


def test_what_comes_back_after_its_time_is_told_as_expired_in_all(
    counter: Counter, clock: Clock
) -> None:
    """Not what is added: how much of the authorization it is now."""
    do(counter, HELD)
    clock.forward(7 * 86_400 - 60)
    counter.bank.next(Fault.TAKE_BACK)
    counter.send("capture", "c", 60, target_id="a")
    clock.forward(3_600)

    assert expiries(counter) == [("a", "0.40 EUR"), ("a", "1.00 EUR")]
    assert counter.bank.position("mer_1", "a").expired == 100


def test_a_delivery_is_read_as_the_notice_that_it_is(counter: Counter, clock: Clock) -> None:
    """Whatever it tells: each part of it goes over the wire and comes back."""
    do(counter, HELD)
    counter.send("sale", "declined", card=CHALLENGE)
    send_late(counter, Fault.DELAY_REQUEST, "sale", "late")
    clock.forward(8 * 86_400)
    notices = counter.bank.notices()
    assert {n.reply.outcome for n in notices} == {ReplyOutcome.APPROVED, ReplyOutcome.DECLINED}

    read = [counter.bank.read_notice(*delivery) for delivery in counter.bank.deliveries()]

    assert read == notices


@given(any_of(BankNotice))
def test_any_notice_comes_through_the_wire_as_it_is(notice: BankNotice) -> None:
    assert _wire.read(BankNotice, _wire.written(notice)) == notice


def test_who_has_the_books_has_the_key(tmp_path: Path, clock: Clock) -> None:
    """Several processes of one bank sign alike; another bank does not."""
    banks = [SimulatedBank(tmp_path / name, now=clock) for name in ("bank", "bank", "other")]
    send_late(Counter(banks[0]), Fault.DELAY_REQUEST, "sale", "op_1")
    banks[0].deliver_late()
    [delivery] = banks[1].deliveries()

    assert banks[0].read_notice(*delivery) == banks[1].notices()[0]
    with pytest.raises(NotAuthentic):
        banks[2].read_notice(*delivery)
    for bank in banks:
        bank.close()


def test_a_signature_is_that_of_standard_webhooks() -> None:
    """The example of the specification's own reference library."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    raw = b'{"test": 2432232314}'
    at = datetime.fromtimestamp(1614265330, UTC)

    headers = sign(raw, name="msg_p5jXN8AQM9LWM0D4loKWxJek", at=at, key=key)

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_notices_come_in_the_order_of_what_happened(counter: Counter, clock: Clock) -> None:
    """Also where all of it fell due unobserved."""
    counter.send("sale", "first", card=CHALLENGE)
    counter.send("sale", "a", card=PENDING_THEN_APPROVED)
    counter.send("refund", "last", 60, target_id="a")
    send_late(counter, Fault.DELAY_REQUEST, "sale", "before")
    clock.forward(86_400)

    notices = counter.bank.notices()

    assert [n.reply.operation_id for n in notices] == ["before", "first", "last"]
    assert sorted(n.at for n in notices) == [n.at for n in notices]


def test_a_notice_tells_what_was_so_then(counter: Counter, clock: Clock) -> None:
    """It is no inquiry: what became of it since is told by the next."""
    send_late(counter, Fault.DELAY_REQUEST, "sale", "op_1")
    clock.forward(30)
    assert told(counter) == [("op_1", ReplyOutcome.APPROVED)]
    counter.send("reversal", "op_1")

    assert told(counter) == [("op_1", ReplyOutcome.APPROVED)]


def test_a_notice_is_told_until_it_is_acknowledged(counter: Counter) -> None:
    for operation_id in ("op_1", "op_2", "op_3"):
        send_late(counter, Fault.DELAY_REQUEST, "sale", operation_id)
    counter.bank.deliver_late()
    first, second, third = counter.bank.notices()
    assert counter.bank.notices() == [first, second, third]

    for _ in range(2):
        counter.bank.acknowledge(third.id)
        assert counter.bank.notices() == [first, second]
    send_late(counter, Fault.DELAY_REQUEST, "sale", "op_4")
    counter.bank.deliver_late()

    fourth = counter.bank.notices()[-1]
    assert fourth.id not in {first.id, second.id, third.id}, "a name is used once"


@pytest.mark.parametrize("notice_id", ["", "notice_", "notice_2", "notice_x", "notice_²", "2"])
def test_what_is_no_notice_cannot_be_acknowledged(counter: Counter, notice_id: str) -> None:
    send_late(counter, Fault.DELAY_REQUEST, "sale", "op_1")
    counter.bank.deliver_late()

    with pytest.raises(LookupError):
        counter.bank.acknowledge(notice_id)
    assert len(counter.bank.notices()) == 1


def test_notices_are_kept_with_the_books(tmp_path: Path, clock: Clock) -> None:
    with_books = tmp_path / "bank.db"
    counter = Counter(SimulatedBank(with_books, now=clock))
    for operation_id in ("op_1", "op_2"):
        send_late(counter, Fault.DELAY_REQUEST, "sale", operation_id)
    counter.bank.deliver_late()
    first, second = counter.bank.notices()
    counter.bank.acknowledge(first.id)
    counter.bank.close()

    again = SimulatedBank(with_books, now=clock)

    assert again.notices() == [second]
    again.close()


def test_books_of_a_bank_that_told_nothing_yet_are_refused(tmp_path: Path) -> None:
    """Of the first version: it says so, and leaves the file as it is."""
    with_books = tmp_path / "bank.db"
    SimulatedBank(with_books).close()
    with sqlite3.connect(with_books) as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    before = with_books.read_bytes()

    with pytest.raises(InvalidRequest) as refused:
        SimulatedBank(with_books)

    assert refused.value.field == "path"
    assert with_books.read_bytes() == before


def test_a_notice_holds_no_card(counter: Counter) -> None:
    send_late(counter, Fault.DELAY_REQUEST, "sale", "op_1")
    counter.bank.deliver_late()

    [notice] = counter.bank.notices()

    assert isinstance(notice.reply, BankReply)
    assert "4242" not in repr(notice)
