"""What happened to old payments moves to another file, and is told and vouched for as before."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import pytest
from attrs import evolve
from counter import a_dispute, an_operation_in_review
from hypothesis import given, settings
from hypothesis import strategies as st
from sealed_again import seal_again
from till import CHALLENGED, NO_FUNDS, VISA, Till, eur

from payplatform import (
    ArchiveReport,
    Card,
    ErrorCode,
    Payment,
    PayPlatform,
    StorageUnavailable,
)
from payplatform._domain.archives import ArchivedEvents
from payplatform._domain.audit import Chain, ChainReport
from payplatform._domain.changes import Changes
from payplatform._domain.events import Event
from payplatform._domain.notices import new_notice
from payplatform.ports import BankNotice, BankReply, ReplyOutcome
from payplatform.storage import _statements as sql
from payplatform.storage._archives import OLD_EVENTS, Archive, Sort
from payplatform.storage._rows import ARCHIVED, Row
from payplatform.storage.sqlite import SQLiteStorage

NOTHING = ArchiveReport()


@pytest.fixture
def till(tmp_path: Path) -> Iterator[Till]:
    till = Till(tmp_path / "shop.db")
    yield till
    till.close()


def publish(till: Till) -> None:
    while events := till.pay.events.pending():
        till.pay.events.mark_published(events)


def archive(till: Till, name: str = "old.db", *, days: float = 0) -> ArchiveReport:
    """Move what was last changed so many days ago, or longer, to a file beside the database.

    What came of it, but for the links, which move whenever they are old enough.
    """
    before = till.now - timedelta(days=days)
    return evolve(till.pay.archive(path_of(till, name), before=before), links=0)


def path_of(till: Till, name: str = "old.db") -> Path:
    assert till.file is not None
    return till.file.with_name(name)


def archived(till: Till) -> Payment:
    """A payment whose events are in an archive."""
    payment = till.sold()
    publish(till)
    till.advance(days=1)
    assert archive(till).payments == 1
    return payment


def timelines(till: Till) -> dict[str, tuple[Event, ...]]:
    return {payment.id: till.shop.payments.timeline(payment.id) for payment in all_of(till)}


def all_of(till: Till) -> list[Payment]:
    return list(till.shop.payments.list())


def code_of(call: Callable[[], object]) -> ErrorCode:
    with pytest.raises(StorageUnavailable) as caught:
        call()
    return caught.value.code


def verified(till: Till) -> ChainReport:
    return till.shop.journal.verify()


def by_hand(path: Path, *statements: str) -> None:
    """Change a file with every wall of its schema taken down."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        walls = database.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for (name,) in walls:
            database.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            database.execute(statement)


def rows_in(path: Path, table: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608  # our own names


# -- what moves, and what stays --------------------------------------------------------------------


def test_what_is_archived_is_told_as_before_and_is_here_no_more(till: Till) -> None:
    payment = till.sold()
    publish(till)
    told = till.shop.payments.timeline(payment.id)
    till.advance(days=1)

    assert archive(till) == ArchiveReport(payments=1, events=len(told))

    assert till.shop.payments.timeline(payment.id) == told
    here = {row[1] for row in rows_in(path_of(till, "shop.db"), "events")}
    assert payment.id not in here
    assert len(rows_in(path_of(till), "events")) == len(told)
    assert verified(till).ok
    till.books_agree()


def test_to_archive_again_changes_nothing(till: Till) -> None:
    archived(till)
    before = till.stored(), path_of(till).read_bytes()

    assert till.pay.archive(path_of(till), before=till.now) == NOTHING
    assert (till.stored(), path_of(till).read_bytes()) == before


def test_an_event_that_was_not_passed_on_stays(till: Till) -> None:
    payment = till.sold()
    events = till.pay.events.pending()
    till.pay.events.mark_published(event for event in events if event.subject_id != payment.id)
    till.pay.events.mark_published(events[-1:])
    till.advance(days=1)

    assert archive(till) == ArchiveReport(unpublished=1)
    assert till.pay.events.pending()[0].subject_id == payment.id
    publish(till)
    assert archive(till).payments == 1


def a_waiting_notice(till: Till) -> None:
    """The bank has told of a payment at rest what nobody has looked at yet."""
    payment = till.sold()
    reply = BankReply(
        operation_id=till.latest(payment).id, outcome=ReplyOutcome.APPROVED, amount=payment.amount
    )
    told = BankNotice(id="notice-1", merchant_id=till.merchant_id, at=till.now, reply=reply)
    notice = new_notice(told, bank="sim", now=till.now, again_at=till.now)
    till.storage.commit(Changes(merchant_id=till.merchant_id, records=(notice,)))


AT_WORK: dict[str, Callable[[Till], object]] = {
    "held": lambda till: till.held(),
    "partly captured": lambda till: till.shop.payments.capture(
        till.held().id, eur("1"), idempotency_key=till.key()
    ),
    "waiting for the cardholder": lambda till: till.sold(number=CHALLENGED),
    "in review": an_operation_in_review,
    "disputed": a_dispute,
    "told of by the bank": a_waiting_notice,
}


@pytest.mark.parametrize("make", AT_WORK.values(), ids=AT_WORK.keys())
def test_what_is_under_way_held_or_disputed_stays(
    till: Till, make: Callable[[Till], object]
) -> None:
    make(till)
    publish(till)
    till.advance(days=400)
    told = timelines(till)

    assert archive(till) == ArchiveReport(at_work=1)
    path_of(till).unlink()
    assert timelines(till) == told


def test_a_dispute_that_is_over_keeps_nothing_here(till: Till) -> None:
    dispute = a_dispute(till)
    till.shop.disputes.accept(dispute)
    for notice in till.bank.notices():
        till.pay.notices.apply(notice)
    publish(till)
    till.advance(days=400)

    assert archive(till).payments == 1
    till.books_agree()


def test_only_what_was_last_changed_before_then_moves(till: Till) -> None:
    old, changed = till.sold(), till.sold()
    till.advance(days=10)
    young = till.sold()
    till.shop.payments.refund(changed.id, eur("1"), idempotency_key=till.key())
    publish(till)

    assert archive(till, days=1).payments == 1
    path_of(till).unlink()
    assert till.events(young)
    assert till.events(changed)
    assert code_of(lambda: till.events(old)) is ErrorCode.EVENTS_ARCHIVED


def test_what_happens_later_is_told_after_what_is_archived(till: Till) -> None:
    payment = archived(till)
    till.shop.payments.refund(payment.id, eur("3"), idempotency_key=till.key())

    assert [e.number for e in till.shop.payments.timeline(payment.id)] == [1, 2, 3, 4]
    publish(till)
    till.advance(days=1)
    assert archive(till, "older.db") == ArchiveReport(payments=1, events=2)
    assert [e.number for e in till.shop.payments.timeline(payment.id)] == [1, 2, 3, 4]
    till.books_agree()


def test_a_payment_goes_on_without_its_archive(till: Till) -> None:
    payment = archived(till)
    path_of(till).unlink()

    refunded = till.shop.payments.refund(payment.id, eur("3"), idempotency_key=till.key())
    assert refunded.refunded == eur("3")
    assert till.shop.payments.get(payment.id) == refunded


def test_a_notice_waits_for_the_archive_that_it_has_to_be_compared_with(till: Till) -> None:
    payment = archived(till)
    operation = till.latest(payment)
    path_of(till).rename(path_of(till, "away.db"))
    reply = BankReply(
        operation_id=operation.id, outcome=ReplyOutcome.APPROVED, amount=payment.amount
    )
    told = BankNotice(id="notice-1", merchant_id=till.merchant_id, at=till.now, reply=reply)
    inbox = till.pay._engine().inbox

    kept = inbox.take(told)
    assert (kept.state, kept.reason) == ("waiting", "events_archived")
    till.advance(days=1)
    assert till.pay.recover().notices == 0
    path_of(till, "away.db").rename(path_of(till))
    till.advance(days=1)
    assert till.pay.recover().notices == 1


def test_an_older_row_of_an_archived_payment_is_refused(till: Till) -> None:
    """Its events are ahead of it, though none of them is here."""
    payment = till.sold()
    file = path_of(till, "shop.db")
    (older,) = rows_in(file, "payments")
    till.shop.payments.refund(payment.id, eur("3"), idempotency_key=till.key())
    publish(till)
    till.advance(days=1)
    archive(till)
    places = ", ".join("?" * len(older))
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute(f"REPLACE INTO payments VALUES ({places})", older)  # noqa: S608  # marks

    assert code_of(lambda: till.shop.payments.get(payment.id)) is ErrorCode.STORAGE_CORRUPT


def test_a_damaged_event_is_not_archived(till: Till) -> None:
    payment = till.sold()
    publish(till)
    till.advance(days=1)
    by_hand(path_of(till, "shop.db"), "UPDATE events SET at = 1 WHERE subject_id LIKE 'pay_%'")

    assert code_of(lambda: archive(till)) is ErrorCode.STORAGE_CORRUPT
    assert payment.id in {row[1] for row in rows_in(path_of(till, "shop.db"), "events")}


def test_a_payment_that_changes_meanwhile_stays(till: Till) -> None:
    payments = [till.sold(), till.sold()]
    publish(till)
    till.advance(days=1)
    storage = till.storage
    assert isinstance(storage, SQLiteStorage)
    read = storage.unarchived(till.now, limit=10)
    till.shop.payments.refund(payments[0].id, eur("1"), idempotency_key=till.key())
    publish(till)

    report = storage.archive(path_of(till), read)
    assert report == ArchiveReport(payments=1, events=2)
    assert till.shop.payments.timeline(payments[0].id)[-1].number == 4
    till.books_agree()


def test_a_payment_that_changes_after_it_was_copied_stays(till: Till) -> None:
    payments = [till.sold(), till.sold()]
    publish(till)
    till.advance(days=1)
    storage = till.storage
    assert isinstance(storage, SQLiteStorage)
    keep = storage._archives.keep

    def refund_meanwhile(into: Archive, sort: Sort, rows: Sequence[Row]) -> None:
        keep(into, sort, rows)
        if rows and sort is OLD_EVENTS:
            till.shop.payments.refund(payments[0].id, eur("1"), idempotency_key=till.key())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage._archives, "keep", refund_meanwhile)
        assert archive(till) == ArchiveReport(payments=1, events=2)
    assert len(rows_in(path_of(till), "archived")) == 0
    here = {row[1] for row in rows_in(path_of(till, "shop.db"), "events")}
    assert payments[0].id in here
    assert [e.number for e in till.shop.payments.timeline(payments[0].id)] == [1, 2, 3, 4]
    till.books_agree()


# -- any history, any time -------------------------------------------------------------------------

PAYMENT = st.integers(0, 9)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["sell", "hold", "decline", "publish", "rest"])),
        st.tuples(st.sampled_from(["capture", "void", "refund"]), PAYMENT),
        st.tuples(st.just("archive"), st.sampled_from(["a.db", "b.db"]), st.integers(0, 3)),
    ),
    max_size=30,
)


def take(till: Till, step: tuple[Any, ...]) -> None:
    match step:
        case ("sell",):
            till.sold()
        case ("hold",):
            till.held()
        case ("decline",):
            till.sold(number=NO_FUNDS)
        case ("publish",):
            publish(till)
        case ("rest",):
            till.advance(days=1)
        case (verb, at):
            payments = [p for p in all_of(till) if verb in p.allowed_operations]
            if payments:
                paid = payments[at % len(payments)]
                more = {} if verb == "void" else {"amount": eur("7")}
                more = more if paid.refundable.amount_minor > 700 or verb == "capture" else {}
                call = getattr(till.shop.payments, verb)
                call(paid.id, idempotency_key=till.key(), **more)


@given(steps=STEPS)
@settings(max_examples=60)
def test_whatever_is_archived_whenever_nothing_is_told_differently(
    steps: list[tuple[Any, ...]],
) -> None:
    with TemporaryDirectory() as folder:
        till = Till(Path(folder) / "shop.db")
        for step in [*steps, ("publish",), ("rest",), ("archive", "a.db", 0)]:
            if step[0] != "archive":
                take(till, step)
                continue
            told = timelines(till)
            archive(till, step[1], days=step[2])
            assert timelines(till) == told
            again = till.pay.archive(path_of(till, step[1]), before=till.now - timedelta(step[2]))
            assert (again.payments, again.links) == (0, 0)
            assert verified(till).ok
        till.books_agree()
        for table in ("events", "links"):
            rows = [
                row
                for name in ("shop.db", "a.db", "b.db")
                if path_of(till, name).exists()
                for row in rows_in(path_of(till, name), table)
            ]
            assert len(rows) == len(set(rows))
        till.close()


# -- where the archive is --------------------------------------------------------------------------


def test_without_the_archive_it_is_said_where_the_events_are(till: Till) -> None:
    payment = archived(till)
    path_of(till).rename(path_of(till, "elsewhere.db"))

    with pytest.raises(StorageUnavailable, match=r"old\.db") as caught:
        till.shop.payments.timeline(payment.id)
    assert caught.value.code is ErrorCode.EVENTS_ARCHIVED
    assert not caught.value.retryable


def test_without_the_archive_the_rest_is_verified_and_the_archived_is_counted(till: Till) -> None:
    archived(till)
    whole = verified(till)
    path_of(till).rename(path_of(till, "elsewhere.db"))

    report = verified(till)
    assert report.ok
    assert (report.archived, report.archives) == (2, ("old.db",))
    assert report.rows + report.archived + report.unvouched == whole.rows
    assert (whole.archived, whole.unvouched, whole.archives) == (0, 0, ())
    entries = till.shop.audit.verify()
    assert entries.ok
    assert (entries.archived, entries.unvouched, entries.archives) == (0, 1, ("old.db",))


def test_without_the_archive_the_doctor_counts_what_it_could_not_compare(till: Till) -> None:
    archived(till)
    till.held()
    assert till.pay.doctor().archived == 0
    path_of(till).rename(path_of(till, "elsewhere.db"))

    report = till.pay.doctor()
    assert (report.ok, report.archived, report.payments) == (True, 1, 2)
    by_hand(path_of(till, "shop.db"), "UPDATE payments SET status = 'voided'")
    assert {f.rule for f in till.pay.doctor().findings} >= {"stored_form", "chain"}


def test_an_archive_that_was_moved_is_read_where_it_is_said_to_be(till: Till) -> None:
    payment = archived(till)
    told = till.shop.payments.timeline(payment.id)
    attic = path_of(till).parent / "attic"
    attic.mkdir()
    there = path_of(till).rename(attic / "old.db")

    with closing(SQLiteStorage(path_of(till, "shop.db"), archives=[there])) as storage:
        assert storage.events(till.merchant_id, payment.id) == list(told)
        assert storage.verify(till.merchant_id, Chain.JOURNAL).archived == 0


def test_an_archive_is_found_again_where_it_was_written_to_last(till: Till) -> None:
    payment = archived(till)
    path_of(till).rename(path_of(till, "renamed.db"))
    archive(till, "renamed.db")

    assert till.events(payment)


def test_a_whole_folder_can_be_moved(till: Till, tmp_path: Path) -> None:
    payment = archived(till)
    till.close()
    shutil.copytree(tmp_path, tmp_path / "moved" / "to")

    with closing(SQLiteStorage(tmp_path / "moved" / "to" / "shop.db")) as storage:
        path_of(till).unlink()
        assert len(storage.events(till.merchant_id, payment.id)) == 2


# -- what is no archive, or not this one -----------------------------------------------------------


def test_an_archive_is_no_store(till: Till) -> None:
    archived(till)
    assert code_of(lambda: SQLiteStorage(path_of(till))) is ErrorCode.STORAGE_SETTINGS


def test_a_store_is_no_archive(till: Till) -> None:
    other = Till(path_of(till, "other.db"))
    other.close()
    before = path_of(till, "other.db").read_bytes()

    for name in ("other.db", "shop.db"):
        assert code_of(lambda: archive(till, name)) is ErrorCode.STORAGE_SETTINGS  # noqa: B023
    assert path_of(till, "other.db").read_bytes() == before


def test_a_file_is_not_its_own_archive(tmp_path: Path) -> None:
    """Not even one that has neither a log nor anything in it, as an archive has at first."""
    path = tmp_path / "shop.db"
    with closing(SQLiteStorage(path, journal_mode="delete")) as storage:
        assert code_of(lambda: storage.archive(path, ())) is ErrorCode.STORAGE_SETTINGS
    SQLiteStorage(path, journal_mode="delete").close()


def test_the_archive_of_another_store_is_refused(till: Till) -> None:
    other = Till(path_of(till, "other.db"))
    archived(other)
    payment = till.sold()
    publish(till)
    till.advance(days=1)

    assert code_of(lambda: archive(till)) is ErrorCode.STORAGE_SETTINGS
    theirs = lambda: SQLiteStorage(path_of(till, "shop.db"), archives=[path_of(till)])  # noqa: E731
    assert code_of(theirs) is ErrorCode.STORAGE_SETTINGS
    assert till.events(payment)
    other.close()


def test_another_file_in_the_archives_place_is_found_out(till: Till) -> None:
    payment = archived(till)
    other = Till(path_of(till, "other.db"))
    other.sold()
    publish(other)
    other.advance(days=1)
    archive(other, "theirs.db")
    path_of(till, "theirs.db").replace(path_of(till))

    assert code_of(lambda: till.events(payment)) is ErrorCode.STORAGE_CORRUPT
    assert code_of(lambda: verified(till)) is ErrorCode.STORAGE_CORRUPT
    found = {(finding.row, finding.rule) for finding in till.pay.doctor().findings}
    assert {("archive old.db", "store"), ("journal chain", "chain")} <= found
    other.close()


def test_a_store_in_memory_says_that_it_has_no_archive() -> None:
    till = Till()
    call = lambda: till.pay.archive("old.db", before=till.now)  # noqa: E731
    assert code_of(call) is ErrorCode.STORAGE_SETTINGS


# -- whoever goes around the library ---------------------------------------------------------------


TAMPERINGS = {
    "an event is altered": "UPDATE events SET at = at + 1 WHERE number = 1",
    "an event is taken away": "DELETE FROM events WHERE number = 1",
    "all are taken away": "DELETE FROM events",
}


@pytest.mark.parametrize("resealed", [False, True])
@pytest.mark.parametrize("tampering", TAMPERINGS.values(), ids=TAMPERINGS.keys())
def test_an_archive_that_was_tampered_with_is_named(
    till: Till, tampering: str, resealed: bool
) -> None:
    payment = archived(till)
    by_hand(path_of(till), tampering)
    if resealed:
        with closing(sqlite3.connect(path_of(till))) as database:
            seal_again(database)
            database.commit()

    report = verified(till)
    assert not report.ok
    assert report.row == f"events {payment.id} 1"
    assert "old.db" in str(report.text)
    if "UPDATE" not in tampering or not resealed:
        assert code_of(lambda: till.events(payment)) is ErrorCode.STORAGE_CORRUPT
    assert not till.pay.doctor().ok


def test_an_archive_that_was_cut_short_is_found_out(till: Till) -> None:
    archived(till)
    data = path_of(till).read_bytes()
    path_of(till).write_bytes(data[: len(data) // 2])

    assert code_of(lambda: verified(till)) is ErrorCode.STORAGE_CORRUPT
    assert not till.pay.doctor().ok


def test_an_older_copy_of_the_archive_is_found_out(till: Till) -> None:
    archived(till)
    older = path_of(till).read_bytes()
    later = archived(till)
    path_of(till).write_bytes(older)

    assert not verified(till).ok
    assert code_of(lambda: till.events(later)) is ErrorCode.STORAGE_CORRUPT


def test_an_event_that_is_noted_as_archived_by_hand_is_missed(till: Till) -> None:
    """Who notes it, and takes the event away, has the schema let go of it, and nothing else."""
    archived(till)
    payment = till.sold()
    note = ArchivedEvents(
        merchant_id=till.merchant_id, subject_id=payment.id, first=1, last=2, archive=1
    )
    with closing(sqlite3.connect(path_of(till, "shop.db"), isolation_level=None)) as database:
        database.execute("DELETE FROM outbox")
        database.execute(sql.NOTE_ARCHIVED, ARCHIVED.row_of(note))
        database.execute("DELETE FROM events WHERE subject_id = ?", (payment.id,))

    assert not verified(till).ok
    path_of(till).unlink()
    report = verified(till)
    assert report.row == f"events {payment.id} 1"


def test_a_note_that_speaks_of_too_much_is_found_out_at_once(till: Till) -> None:
    archived(till)
    path_of(till).unlink()
    by_hand(path_of(till, "shop.db"), "UPDATE archived SET last = 1000000000000000000")
    with closing(sqlite3.connect(path_of(till, "shop.db"))) as database:
        seal_again(database)
        database.commit()

    assert not verified(till).ok


def test_a_note_that_names_no_archive_is_damage(till: Till) -> None:
    payment = archived(till)
    by_hand(path_of(till, "shop.db"), "UPDATE archived SET archive = 7")
    with closing(sqlite3.connect(path_of(till, "shop.db"))) as database:
        seal_again(database)
        database.commit()

    assert code_of(lambda: till.events(payment)) is ErrorCode.STORAGE_CORRUPT
    assert not verified(till).ok


def test_an_event_that_was_not_passed_on_stays_even_by_hand(till: Till) -> None:
    archived(till)
    payment = till.sold()
    note = ArchivedEvents(
        merchant_id=till.merchant_id, subject_id=payment.id, first=1, last=2, archive=1
    )
    with closing(sqlite3.connect(path_of(till, "shop.db"), isolation_level=None)) as database:
        database.execute(sql.NOTE_ARCHIVED, ARCHIVED.row_of(note))
        with pytest.raises(sqlite3.IntegrityError, match="events can only be added"):
            database.execute("DELETE FROM events WHERE subject_id = ?", (payment.id,))


def test_what_waits_in_the_outbox_does_not_make_it_slower(till: Till) -> None:
    """Others wait while events are let go of, and there may be a million in the outbox."""

    storage = till.storage
    assert isinstance(storage, SQLiteStorage)

    def work() -> int:
        payment = till.sold()
        waiting = [e for e in till.pay.events.pending(limit=500) if e.subject_id == payment.id]
        till.pay.events.mark_published(waiting)
        steps = count()
        with storage._connections.mine() as connection:
            connection.set_progress_handler(lambda: next(steps) < 0, 10)
        assert storage.archive(path_of(till), [payment]).payments == 1
        with storage._connections.mine() as connection:
            connection.set_progress_handler(None, 0)
        return next(steps)

    work()
    few = work()
    for _ in range(100):
        till.card()
    assert work() < 1.2 * few


@pytest.mark.parametrize("change", ["UPDATE archived SET last = 9", "DELETE FROM archived"])
def test_notes_can_only_be_added_even_by_hand(till: Till, change: str) -> None:
    archived(till)
    with (
        closing(sqlite3.connect(path_of(till, "shop.db"))) as database,
        pytest.raises(sqlite3.IntegrityError, match="archived can only be added"),
    ):
        database.execute(change)


def test_nothing_leaves_an_archive_even_by_hand(till: Till) -> None:
    archived(till)
    with (
        closing(sqlite3.connect(path_of(till))) as database,
        pytest.raises(sqlite3.IntegrityError, match="events can only be added"),
    ):
        database.execute("DELETE FROM events")


def test_an_archived_event_that_is_put_back_by_hand_is_found_out(till: Till) -> None:
    payment = archived(till)
    event = next(row for row in rows_in(path_of(till), "events") if row[1] == payment.id)
    insert = f"INSERT INTO events VALUES ({', '.join('?' * len(event))})"  # noqa: S608  # marks
    with closing(sqlite3.connect(path_of(till, "shop.db"))) as database:
        database.execute(insert, event)
        database.commit()

    assert verified(till).row == f"events {payment.id} 1"


# -- links -----------------------------------------------------------------------------------------


def links_in(path: Path, chain: str = "journal") -> list[int]:
    return [number for _, of, number, *_ in rows_in(path, "links") if of == chain]


@pytest.fixture
def long_ago(till: Till) -> Payment:
    """A payment whose events and links are in an archive, with a younger one here."""
    payment = till.sold()
    till.advance(days=10)
    till.sold()
    publish(till)
    till.pay.archive(path_of(till), before=till.now - timedelta(days=1))
    return payment


def test_links_from_before_then_move_and_younger_ones_stay(till: Till, long_ago: Payment) -> None:
    here, there = path_of(till, "shop.db"), path_of(till)
    for chain in Chain:
        moved, left = links_in(there, chain), links_in(here, chain)
        assert moved == [*range(1, moved[-1] + 1)]
        assert left[0] == moved[-1] + 1
    old = {body for _, of, _, body, _ in rows_in(there, "links") if of == "journal"}
    assert any(long_ago.id.encode() in body for body in old)
    (young,) = (payment for payment in all_of(till) if payment.id != long_ago.id)
    assert not any(young.id.encode() in body for body in old)
    assert verified(till).ok
    assert till.shop.audit.verify().ok
    assert till.shop.journal.verify(expected_head=till.shop.journal.head()).ok
    till.books_agree()


def test_many_links_move_a_part_at_a_time(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("payplatform.storage.sqlite._LINKS_AT_ONCE", 2)
    head = till.shop.journal.head()
    for _ in range(3):
        till.sold()
    publish(till)
    till.advance(days=1)

    report = till.pay.archive(path_of(till), before=till.now)
    assert report.links == len(rows_in(path_of(till), "links")) > 5
    assert till.shop.journal.verify(expected_head=head).ok
    till.books_agree()


def test_links_go_to_two_archives_and_one_is_not_here(till: Till, long_ago: Payment) -> None:
    till.shop.payments.refund(long_ago.id, eur("1"), idempotency_key=till.key())
    till.advance(days=10)
    recent = till.sold()
    publish(till)
    till.pay.archive(path_of(till, "second.db"), before=till.now - timedelta(days=1))
    assert verified(till).ok
    whole = verified(till).rows
    for name in ("old.db", "second.db"):
        path_of(till, name).rename(path_of(till, "away.db"))
        report = verified(till)
        assert report.ok
        assert report.archives == (name,)
        assert 0 < report.unvouched < report.unvouched + report.rows + report.archived == whole
        path_of(till, "away.db").rename(path_of(till, name))
    path_of(till, "second.db").unlink()
    by_hand(path_of(till, "shop.db"), f"DELETE FROM payments WHERE id = '{recent.id}'")  # noqa: S608  # an id
    assert verified(till).row == f"payments {recent.id}"


@pytest.mark.usefixtures("long_ago")
def test_a_note_on_links_that_is_taken_away_is_missed_where_no_link_names_it(till: Till) -> None:
    till.advance(days=10)
    till.sold()
    publish(till)
    till.pay.archive(path_of(till, "second.db"), before=till.now - timedelta(days=1))
    for name in ("old.db", "second.db"):
        path_of(till, name).unlink()
    assert verified(till).ok
    first = "SELECT min(last) FROM archived_links WHERE chain = 'journal'"
    by_hand(path_of(till, "shop.db"), f"DELETE FROM archived_links WHERE last = ({first})")  # noqa: S608  # ours

    assert verified(till).row == "link 1"


def test_a_chain_with_a_key_has_it_in_the_archive_too(tmp_path: Path) -> None:
    till = Till(tmp_path / "unused.db")
    till.storage = SQLiteStorage(tmp_path / "shop.db", chain_key=bytes(32))
    pay = PayPlatform(storage=till.storage, bank=till.bank, keys=till.keys, now=till.clock)
    shop = pay.merchant(pay.merchants.create(name="Acme").id)
    shop.customers.create(name="Ada")
    shop.payment_methods.create(card=Card(VISA, "12/40"))
    till.advance(days=1)

    assert pay.archive(tmp_path / "old.db", before=till.now).links > 0
    assert shop.journal.verify().ok
    pay.close()
    till.close()


WITHOUT_THE_ARCHIVE = {
    "a young row is changed": "UPDATE payments SET reference = 'x' WHERE id = '{young}'",
    "a young row is taken away": "DELETE FROM receipts WHERE operation_id = '{operation}'",
    "a young event is taken away": "DELETE FROM events WHERE subject_id = '{young}'",
    "young links are taken away": (
        "DELETE FROM links WHERE number < (SELECT max(number) FROM links)"
    ),
    "young links are said to be archived": (
        "INSERT INTO archived_links SELECT merchant_id, chain, number - 1, number, digest, 1, x'00'"
        " FROM links WHERE chain = 'journal' AND number - 2 = (SELECT max(last)"
        " FROM archived_links WHERE chain = 'journal');"
        "DELETE FROM links WHERE chain = 'journal'"
        " AND number <= (SELECT max(last) FROM archived_links WHERE chain = 'journal')"
    ),
    "the note on links is altered": "UPDATE archived_links SET digest = zeroblob(32)",
    "the note on links is taken away": "DELETE FROM archived_links",
}


@pytest.mark.parametrize("tampering", WITHOUT_THE_ARCHIVE.values(), ids=WITHOUT_THE_ARCHIVE.keys())
def test_without_the_archive_what_is_younger_is_vouched_for_all_the_same(
    till: Till, long_ago: Payment, tampering: str
) -> None:
    path_of(till).unlink()
    assert verified(till).ok
    (young,) = (payment for payment in all_of(till) if payment.id != long_ago.id)
    change = tampering.format(young=young.id, operation=young.latest_operation_id)
    by_hand(path_of(till, "shop.db"), *change.split(";"))
    with closing(sqlite3.connect(path_of(till, "shop.db"))) as database:
        seal_again(database)
        database.commit()

    assert not verified(till).ok


def test_without_the_archive_an_old_row_has_its_own_digest_alone(
    till: Till, long_ago: Payment
) -> None:
    path_of(till).unlink()
    assert verified(till).unvouched > 0
    change = f"UPDATE payments SET reference = 'x' WHERE id = '{long_ago.id}'"  # noqa: S608  # an id
    by_hand(path_of(till, "shop.db"), change)

    report = verified(till)
    assert (report.row, report.text) == (f"payments {long_ago.id}", "it is not what was written")


@pytest.mark.usefixtures("long_ago")
def test_a_head_that_was_kept_is_compared_wherever_its_link_is(till: Till) -> None:
    links = {
        number: f"{number}:{digest.hex()}"
        for name in ("old.db", "shop.db")
        for _, chain, number, _, digest in rows_in(path_of(till, name), "links")
        if chain == "journal"
    }
    last = links_in(path_of(till))[-1]
    verify = till.shop.journal.verify
    assert all(verify(expected_head=head).ok for head in links.values())
    path_of(till).unlink()

    assert [number for number, head in links.items() if verify(expected_head=head).ok] == [
        number for number in links if number >= last
    ]
    assert verify(expected_head=links[1]).text == "it is in an archive that is not here"
    assert not verify(expected_head=f"{last}:{'0' * 64}").ok


@pytest.mark.usefixtures("long_ago")
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("UPDATE links SET body = '[]' WHERE number = 2", "it is not what was written"),
        ("DELETE FROM links WHERE number = 2", "it was written, and is gone"),
    ],
)
def test_a_link_in_an_archive_that_was_tampered_with_is_named(
    till: Till, change: str, text: str
) -> None:
    by_hand(path_of(till), change.replace("'[]'", "CAST('[]' AS BLOB)"))

    report = verified(till)
    assert (report.row, report.text) == ("link 2", text)


@pytest.mark.usefixtures("long_ago")
def test_links_can_only_be_added_even_by_hand(till: Till) -> None:
    for name in ("shop.db", "old.db"):
        with (
            closing(sqlite3.connect(path_of(till, name))) as database,
            pytest.raises(sqlite3.IntegrityError, match="links can only be added"),
        ):
            database.execute("DELETE FROM links")


# -- what was copied, and not let go of ------------------------------------------------------------


@pytest.fixture
def copied(till: Till, monkeypatch: pytest.MonkeyPatch) -> Payment:
    """A payment whose events and links are in both files: whoever copied them has died."""

    class Died(BaseException):
        pass

    def die(_: object) -> None:
        raise Died

    payment = till.sold()
    publish(till)
    till.advance(days=1)
    assert isinstance(till.storage, SQLiteStorage)
    with monkeypatch.context() as patch:
        patch.setattr(till.storage._sharing, "write", die)
        with pytest.raises(Died):
            archive(till)
        with pytest.raises(Died):
            till.storage.archive_links(path_of(till), till.merchant_id, Chain.JOURNAL, till.now)
    return payment


def test_what_is_in_both_files_is_told_once_and_taken_up(till: Till, copied: Payment) -> None:
    assert rows_in(path_of(till), "events")
    assert rows_in(path_of(till), "links")
    assert len(till.events(copied)) == 2
    assert verified(till).ok

    assert archive(till).payments == 1
    assert len(till.events(copied)) == 2
    till.books_agree()


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("events", "UPDATE events SET at = 1 WHERE number = 2"),
        ("links", "UPDATE links SET digest = zeroblob(32) WHERE number = 2"),
    ],
)
def test_nothing_is_let_go_of_that_the_archive_has_otherwise(
    till: Till, table: str, change: str
) -> None:
    by_hand(path_of(till), change)
    before = set(rows_in(path_of(till, "shop.db"), table))

    assert code_of(lambda: archive(till)) is ErrorCode.STORAGE_CORRUPT
    assert set(rows_in(path_of(till, "shop.db"), table)) >= before
    assert verified(till).ok


# -- many at once ----------------------------------------------------------------------------------


def test_two_archivers_at_once_move_each_event_once(till: Till) -> None:
    for _ in range(12):
        till.sold()
    publish(till)
    till.advance(days=1)
    told = timelines(till)
    reports: list[ArchiveReport] = []

    def archive_too() -> None:
        with closing(SQLiteStorage(path_of(till, "shop.db"))) as storage:
            while page := storage.unarchived(till.now, limit=3):
                reports.append(storage.archive(path_of(till), page))
                for chain in Chain:
                    storage.archive_links(path_of(till), till.merchant_id, chain, till.now)

    threads = [Thread(target=archive_too) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        till.sold()
    for thread in threads:
        thread.join()

    assert sum(report.payments for report in reports) == 12
    assert {key: value for key, value in timelines(till).items() if key in told} == told
    assert len(rows_in(path_of(till), "events")) == 24
    links = [rows_in(path_of(till, name), "links") for name in ("shop.db", "old.db")]
    assert not set(links[0]) & set(links[1])
    till.books_agree()
