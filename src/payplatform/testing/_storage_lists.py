"""What every store must do with more than one thing: pages, what is due, history, the outbox.

Law of this file: as of `storage_contract`, of which it is a part.
"""

# a test's name says what it shows

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payplatform._domain.changes import Changes, Receipt
from payplatform._domain.disputes import Dispute, DisputeState
from payplatform._domain.ledger import Account, Posting
from payplatform._domain.money import MAX_MINOR
from payplatform._domain.notices import Notice, NoticeState
from payplatform._domain.operations import Operation, OperationState
from payplatform._domain.payments import Facts, Payment, PaymentStatus
from payplatform._domain.records import Merchant, PaymentMethod, SealedCard
from payplatform.ports import Filter, LineFilter, Storage
from payplatform.testing._records import (
    NOW,
    SECOND,
    a_customer,
    a_dispute,
    a_merchant,
    a_method,
    a_notice,
    a_payment,
    a_plan,
    a_posting,
    a_sealed_card,
    a_wrapped_key,
    an_event,
    an_id,
    an_operation,
)
from payplatform.testing._storage_talk import (
    EXPIRING,
    MINE,
    OTHER,
    examples,
    tell,
    walk,
    walk_books,
    write,
)

# -- filters, and what they mean -------------------------------------------------------------------

# Few values, so that they meet; with the marks that a stored form may use between texts.
_few = st.sampled_from([None, "a", '"', '["a","b"]'])
_word = st.text('ab,[]"\\%_', max_size=3)
_pairs = st.lists(st.tuples(_word, _word), max_size=3, unique_by=lambda pair: pair[0]).map(tuple)
_moments = st.integers(0, 3).map(lambda seconds: NOW + seconds * SECOND)
_facts = st.sampled_from([Facts(), EXPIRING, Facts(authorized=10, captured=10)])


def _several(make: Callable[..., Any], **fields: st.SearchStrategy[Any]) -> Any:
    drawn = st.lists(st.fixed_dictionaries(fields), max_size=8)
    return drawn.map(
        lambda rows: [
            make(MINE, number, **otherwise) for number, otherwise in enumerate(rows, start=1)
        ]
    )


_names: Final = st.sampled_from(["a", "b"])
_versions: Final = st.none() | st.integers(1, 3)
_cards: Final = st.sampled_from([None, b"a", b"b"])
_created: Final = {
    "created_from": st.none() | _moments,
    "created_before": st.none() | _moments,
}
filtered: Final = st.one_of(
    st.tuples(
        st.just(Payment),
        _several(
            a_payment,
            customer_id=_few,
            payment_method_id=_names,
            reference=_few,
            metadata=_pairs,
            facts=_facts,
            created_at=_moments,
        ),
        st.builds(
            Filter,
            customer_id=_few,
            payment_method_id=st.none() | _names,
            reference=_few,
            metadata=_pairs.map(lambda pairs: pairs[:1]),
            statuses=st.frozensets(
                st.sampled_from(
                    [PaymentStatus.FAILED, PaymentStatus.AUTHORIZED, PaymentStatus.CAPTURED]
                )
            ),
            **_created,
        ),
    ),
    st.tuples(
        st.just(PaymentMethod),
        _several(a_method, customer_id=_few, fingerprint_version=_versions, created_at=_moments),
        st.builds(Filter, customer_id=_few, fingerprint_version=_versions, **_created),
    ),
    st.tuples(
        st.just(SealedCard),
        _several(a_sealed_card, key_version=st.integers(1, 3)),
        st.builds(Filter, key_version=_versions),
    ),
    st.tuples(
        st.just(Notice),
        _several(
            a_notice,
            operation_id=_names,
            state=st.sampled_from(NoticeState),
            created_at=_moments,
        ),
        st.builds(
            Filter,
            operation_id=st.none() | _names,
            states=st.frozensets(st.sampled_from(NoticeState)),
            **_created,
        ),
    ),
    st.tuples(
        st.just(Dispute),
        _several(
            a_dispute,
            payment_id=_names,
            state=st.sampled_from(DisputeState),
            created_at=_moments,
        ),
        st.builds(
            Filter,
            payment_id=st.none() | _names,
            bank_dispute_id=st.sampled_from([None, "case-1", "case-2"]),
            states=st.frozensets(st.sampled_from(DisputeState)),
            **_created,
        ),
    ),
    st.tuples(
        st.just(Operation),
        _several(
            an_operation,
            subject_id=st.sampled_from(["a", "b"]),
            state=st.sampled_from(OperationState),
            card_fingerprint=_cards,
            created_at=_moments,
        ),
        st.builds(
            Filter,
            subject_id=st.sampled_from([None, "a", "b"]),
            states=st.frozensets(st.sampled_from(OperationState))
            | st.just(frozenset({OperationState.DECLINED})),
            card_fingerprint=_cards,
            **_created,
        ),
    ),
)


_EXACTLY: Final = (
    *("customer_id", "payment_method_id", "subject_id", "operation_id", "reference"),
    *("payment_id", "bank_dispute_id"),
    *("key_version", "fingerprint_version", "card_fingerprint"),
)


_accounts: Final = st.sampled_from([Account.BANK_CASH, Account.FEES])
books: Final = st.lists(
    st.builds(
        a_posting,
        st.just(MINE),
        st.integers(1, 12),
        line=st.integers(1, 2),
        subject_id=st.sampled_from(["a", "b"]),
        account=_accounts,
        currency=st.sampled_from(["EUR", "JPY"]),
        # The largest ones add up to more than a column holds.
        amount_minor=st.sampled_from([1, -1, 2**32, MAX_MINOR, -MAX_MINOR]),
        at=_moments,
    ),
    max_size=8,
    unique_by=lambda line: (line.subject_id, line.event_number, line.line),
).map(tuple)
line_filters: Final = st.builds(
    LineFilter,
    account=st.none() | _accounts,
    subject_id=st.sampled_from([None, "a", "b"]),
    since=st.none() | _moments,
    until=st.none() | _moments,
)


def is_among(line: Posting, where: LineFilter) -> bool:
    return not (
        (where.account is not None and line.account != where.account)
        or (where.subject_id is not None and line.subject_id != where.subject_id)
        or (where.since is not None and line.at < where.since)
        or (where.until is not None and line.at >= where.until)
    )


def by_time(line: Posting) -> tuple[Any, ...]:
    return line.at, line.subject_id, line.event_number, line.line


def meets(record: Any, where: Filter) -> bool:
    return not (
        any(getattr(where, name) not in (None, getattr(record, name, None)) for name in _EXACTLY)
        or (where.statuses and record.status not in where.statuses)
        or (where.states and record.state not in where.states)
        or (where.created_from is not None and record.created_at < where.created_from)
        or (where.created_before is not None and record.created_at >= where.created_before)
        or any(pair not in record.metadata for pair in where.metadata)
    )


class ListsContract:
    """The part of `StorageContract` that is about lists."""

    def make_storage(self, folder: Path) -> Storage:
        """As `StorageContract.make_storage`."""
        raise NotImplementedError

    # -- pages -------------------------------------------------------------------------------------

    def test_a_page_is_newest_first_and_ends_before(self, storage: Storage) -> None:
        write(storage, *(a_payment(MINE, number) for number in (2, 5, 1, 4, 3)))
        for before, limit, expected in (
            (None, 9, [5, 4, 3, 2, 1]),
            (None, 2, [5, 4]),
            (an_id(Payment, 4), 2, [3, 2]),
            (an_id(Payment, 4) + "x", 2, [4, 3]),
            (an_id(Payment, 1), 9, []),
            ("zzz", 1, [5]),
            ("", 9, []),
        ):
            page = storage.page(MINE, Payment, before=before, limit=limit)
            assert [payment.id for payment in page] == [an_id(Payment, n) for n in expected]

    @pytest.mark.parametrize(("added", "removed"), [(1, 0), (0, 1), (2, 1)])
    def test_what_is_added_or_removed_meanwhile_does_not_disturb_the_walk(
        self, storage: Storage, added: int, removed: int
    ) -> None:
        write(storage, *(a_payment(MINE, number) for number in range(100, 200, 10)))
        seen: list[str] = []
        for payment in walk(storage, Payment, Filter(), 3):
            newer = 1000 + 10 * len(seen)
            storage.commit(
                Changes(
                    merchant_id=MINE,
                    records=tuple(a_payment(MINE, newer + number) for number in range(added)),
                    removed=(payment,) * removed,
                )
            )
            seen.append(payment.id)
        assert seen == [an_id(Payment, number) for number in range(190, 90, -10)]

    @examples
    @given(data=st.data())
    def test_a_walk_gives_each_match_once_and_nothing_else(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        kind, records, where = data.draw(filtered)
        storage = self.make_storage(tmp_path_factory.mktemp("pages"))
        write(storage, a_customer(OTHER), a_payment(OTHER), an_operation(OTHER))
        if records:
            write(storage, *records)
        expected = [record for record in reversed(records) if meets(record, where)]
        assert list(walk(storage, kind, where, data.draw(st.integers(1, 3)))) == expected
        storage.close()

    def test_a_merchants_count_is_of_its_records_that_match(self, storage: Storage) -> None:
        write(storage, *(a_sealed_card(MINE, n, key_version=n % 2) for n in (1, 2, 3)))
        write(storage, a_sealed_card(OTHER, 4, key_version=1))
        write(storage, *(a_method(MINE, n, fingerprint_version=n) for n in (1, 2)))
        assert storage.count_of(MINE, SealedCard) == 3
        assert storage.count_of(MINE, SealedCard, Filter(key_version=1)) == 2
        assert storage.count_of(MINE, PaymentMethod, Filter(fingerprint_version=2)) == 1
        assert storage.count_of(MINE, SealedCard, Filter(fingerprint_version=1)) == 0
        assert storage.count_of(MINE, Payment) == 0

    def test_merchants_are_listed_newest_first(self, storage: Storage) -> None:
        for number in (2, 1, 3):
            write(storage, a_merchant(an_id(Merchant, number)))
        everybody = [an_id(Merchant, number) for number in (3, 2, 1)]
        assert [m.id for m in storage.merchants(limit=9)] == everybody
        assert [m.id for m in storage.merchants(limit=1)] == everybody[:1]
        assert [m.id for m in storage.merchants(before=everybody[0], limit=1)] == everybody[1:2]
        assert [m.id for m in storage.merchants(before=everybody[2], limit=9)] == []

    # -- what is due -------------------------------------------------------------------------------

    def test_operations_of_all_merchants_are_due_longest_due_first(self, storage: Storage) -> None:
        for number, seconds in ((1, -5), (2, 0), (3, -10), (4, 1), (5, None)):
            at = None if seconds is None else NOW + seconds * SECOND
            merchant_id = OTHER if number == 3 else MINE
            write(storage, an_operation(merchant_id, number, next_try_at=at))
        due = [an_id(Operation, number) for number in (3, 1, 2)]
        assert [o.id for o in storage.due_operations(NOW, limit=9)] == due
        assert [o.id for o in storage.due_operations(NOW, limit=2)] == due[:2]
        assert storage.due_operations(NOW, limit=1)[0].merchant_id == OTHER
        assert not list(storage.due_operations(NOW - 11 * SECOND, limit=9))

    def test_notices_of_all_merchants_are_due_longest_due_first(self, storage: Storage) -> None:
        for number, seconds in ((1, -5), (2, 0), (3, -10), (4, 1), (5, None)):
            at = None if seconds is None else NOW + seconds * SECOND
            write(storage, a_notice(OTHER if number == 3 else MINE, number, next_try_at=at))
        due = [an_id(Notice, number) for number in (3, 1, 2)]
        assert [n.id for n in storage.due_notices(NOW, limit=9)] == due
        assert [n.id for n in storage.due_notices(NOW, limit=2)] == due[:2]
        assert not list(storage.due_notices(NOW - 11 * SECOND, limit=9))

    def test_a_notice_is_due_by_its_latest_version(self, storage: Storage) -> None:
        write(storage, a_notice(MINE))
        assert len(storage.due_notices(NOW, limit=9)) == 1
        write(storage, a_notice(MINE, version=2, next_try_at=None))
        assert not list(storage.due_notices(NOW, limit=9))

    def test_an_operation_is_due_by_its_latest_version(self, storage: Storage) -> None:
        write(storage, an_operation(MINE, next_try_at=NOW))
        write(storage, an_operation(MINE, version=2, next_try_at=NOW + SECOND))
        assert not list(storage.due_operations(NOW, limit=9))
        assert len(storage.due_operations(NOW + SECOND, limit=9)) == 1
        write(storage, an_operation(MINE, version=3, next_try_at=None))
        assert not list(storage.due_operations(NOW + SECOND, limit=9))

    def test_payments_of_all_merchants_lapse_longest_due_first(self, storage: Storage) -> None:
        for number, seconds in ((1, -5), (2, 0), (3, -10), (4, 1)):
            at = NOW + seconds * SECOND
            merchant_id = OTHER if number == 3 else MINE
            write(storage, a_payment(merchant_id, number, expires_at=at, facts=EXPIRING))
        write(storage, a_payment(MINE, 5, expires_at=NOW, facts=Facts(authorized=10, captured=10)))
        write(storage, a_payment(MINE, 6, expires_at=None, facts=EXPIRING))
        lapsed = [an_id(Payment, number) for number in (3, 1, 2)]
        assert [p.id for p in storage.lapsed_payments(NOW, limit=9)] == lapsed
        assert [p.id for p in storage.lapsed_payments(NOW, limit=2)] == lapsed[:2]
        assert not list(storage.lapsed_payments(NOW - 11 * SECOND, limit=9))

    def test_a_payment_lapses_by_its_latest_version(self, storage: Storage) -> None:
        write(storage, a_payment(MINE, expires_at=NOW, facts=EXPIRING))
        write(storage, a_payment(MINE, version=2, expires_at=NOW, facts=Facts()))
        assert not list(storage.lapsed_payments(NOW, limit=9))

    def test_disputes_of_all_merchants_are_due_longest_due_first(self, storage: Storage) -> None:
        for number, seconds in ((1, -5), (2, 0), (3, -10), (4, 1), (5, None)):
            at = None if seconds is None else NOW + seconds * SECOND
            merchant_id = OTHER if number == 3 else MINE
            write(storage, a_dispute(merchant_id, number, next_look_at=at))
        due = [an_id(Dispute, number) for number in (3, 1, 2)]
        assert [d.id for d in storage.due_disputes(NOW, limit=9)] == due
        assert [d.id for d in storage.due_disputes(NOW, limit=2)] == due[:2]
        assert not list(storage.due_disputes(NOW - 11 * SECOND, limit=9))

    def test_a_dispute_is_due_by_its_latest_version(self, storage: Storage) -> None:
        write(storage, a_dispute(MINE))
        assert len(storage.due_disputes(NOW, limit=9)) == 1
        write(storage, a_dispute(MINE, version=2, next_look_at=None))
        assert not list(storage.due_disputes(NOW, limit=9))

    def test_payouts_of_all_merchants_are_due_longest_due_first(self, storage: Storage) -> None:
        for currency, seconds in (("CHF", -5), ("EUR", 0), ("SEK", 1), ("USD", None)):
            at = None if seconds is None else NOW + seconds * SECOND
            write(storage, a_plan(MINE, id=currency, next_at=at))
        for currency, seconds in (("CHF", -5), ("EUR", -10)):
            write(storage, a_plan(OTHER, id=currency, next_at=NOW + seconds * SECOND))
        due = [(OTHER, "EUR"), *sorted([(MINE, "CHF"), (OTHER, "CHF")]), (MINE, "EUR")]
        found = [(p.merchant_id, p.id) for p in storage.due_payouts(NOW, limit=9)]
        assert found == due
        assert [(p.merchant_id, p.id) for p in storage.due_payouts(NOW, limit=2)] == due[:2]
        assert not list(storage.due_payouts(NOW - 11 * SECOND, limit=9))

    def test_a_payout_is_due_by_the_latest_version_of_its_plan(self, storage: Storage) -> None:
        write(storage, a_plan(MINE, next_at=NOW))
        assert len(storage.due_payouts(NOW, limit=9)) == 1
        write(storage, a_plan(MINE, version=2, next_at=None))
        assert not list(storage.due_payouts(NOW, limit=9))

    # -- history -----------------------------------------------------------------------------------

    def test_events_are_in_the_order_of_their_numbers(self, storage: Storage) -> None:
        tell(storage, *(an_event(MINE, number) for number in (2, 11, 1)))
        for number in (10, 3, 9):
            tell(storage, an_event(MINE, number))
        tell(storage, an_event(MINE, 4, subject_id="pay_2"))
        found = storage.events(MINE, an_event(MINE).subject_id)
        assert [event.number for event in found] == [1, 2, 3, 9, 10, 11]

    def test_postings_are_in_the_order_of_event_and_line(self, storage: Storage) -> None:
        places = [(2, 1), (10, 2), (1, 10), (1, 9), (10, 1)]
        postings = tuple(a_posting(MINE, number, line=line) for number, line in places)
        storage.commit(Changes(merchant_id=MINE, postings=postings[:3]))
        storage.commit(Changes(merchant_id=MINE, postings=postings[3:]))
        found = storage.postings(MINE, postings[0].subject_id)
        assert [(posting.event_number, posting.line) for posting in found] == sorted(places)

    def test_the_books_are_in_the_order_of_time_then_of_subject_event_and_line(
        self, storage: Storage
    ) -> None:
        in_order = (
            a_posting(MINE, 9, subject_id="b", at=NOW - SECOND),
            a_posting(MINE, 2, subject_id="a"),
            a_posting(MINE, 10, subject_id="a", line=1),
            a_posting(MINE, 10, subject_id="a", line=2),
            a_posting(MINE, 1, subject_id="b"),
        )
        storage.commit(Changes(merchant_id=MINE, postings=in_order[::-1]))
        assert list(storage.ledger(MINE, limit=9)) == list(in_order)
        assert list(storage.ledger(MINE, after=in_order[1].place, limit=2)) == list(in_order[2:4])

    @examples
    @given(data=st.data())
    def test_the_books_give_each_line_that_matches_once_in_the_order_of_time(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        lines, where = data.draw(books), data.draw(line_filters)
        storage = self.make_storage(tmp_path_factory.mktemp("books"))
        write(storage, a_customer(MINE), postings=lines[::2])
        write(storage, a_customer(OTHER), postings=(a_posting(OTHER),))
        write(storage, a_customer(MINE, 2), postings=lines[1::2])
        expected = sorted((line for line in lines if is_among(line, where)), key=by_time)
        assert list(walk_books(storage, where, data.draw(st.integers(1, 3)))) == expected
        storage.close()

    @examples
    @given(data=st.data())
    def test_totals_are_what_the_lines_until_then_add_up_to(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        lines, at = data.draw(books), data.draw(st.none() | _moments)
        storage = self.make_storage(tmp_path_factory.mktemp("totals"))
        write(storage, a_customer(MINE), postings=lines)
        write(storage, a_customer(OTHER), postings=(a_posting(OTHER),))
        expected: dict[Any, int] = {}
        for line in lines:
            if at is None or line.at <= at:
                key = (line.currency, line.account)
                expected[key] = expected.get(key, 0) + line.amount_minor
        assert dict(storage.totals(MINE, at=at)) == expected
        storage.close()

    def test_the_outbox_holds_events_in_the_order_of_their_commits(self, storage: Storage) -> None:
        tell(storage, an_event(MINE, 3), an_event(MINE, 1))
        tell(storage, an_event(OTHER, 2))
        tell(storage, an_event(MINE, 9, subject_id="pay_0"))
        numbers = [3, 1, 2, 9]
        assert [event.number for event in storage.outbox(limit=9)] == numbers
        assert [event.number for event in storage.outbox(limit=2)] == numbers[:2]

    def test_a_published_event_leaves_the_outbox_and_stays_in_history(
        self, storage: Storage
    ) -> None:
        events = [an_event(MINE, number) for number in (1, 2, 3)]
        tell(storage, *events)
        storage.mark_published([events[0].id, events[2].id])
        storage.mark_published([events[0].id, "evt_of_nobody"])
        storage.mark_published([])
        assert list(storage.outbox(limit=9)) == [events[1]]
        assert list(storage.events(MINE, events[0].subject_id)) == events
        tell(storage, an_event(MINE, 4))
        assert list(storage.outbox(limit=9)) == [events[1], an_event(MINE, 4)]

    def test_a_receipt_tells_what_was_told_until_a_later_one_replaces_it(
        self, storage: Storage
    ) -> None:
        def told(subject: Any, operation_id: str = "op_1") -> tuple[Receipt, ...]:
            return (Receipt(merchant_id=MINE, operation_id=operation_id, subject=subject),)

        first = a_payment(MINE)
        write(storage, first, receipts=told(first))
        write(storage, a_payment(MINE, version=2), receipts=told(a_method(MINE), "op_2"))
        assert storage.receipt(MINE, "op_1") == first
        assert storage.receipt(MINE, "op_2") == a_method(MINE)
        storage.commit(Changes(merchant_id=MINE, receipts=told(a_payment(MINE, version=3))))
        assert storage.receipt(MINE, "op_1") == a_payment(MINE, version=3)

    # -- for the doctor ----------------------------------------------------------------------------

    def test_a_survey_gives_every_record_of_all_merchants_once_in_order(
        self, storage: Storage
    ) -> None:
        written = [a_payment(owner, n) for owner in (OTHER, MINE) for n in (2, 3, 1)]
        for payment in written:
            write(storage, payment)
        write(storage, a_customer(MINE))
        seen: list[Any] = []
        after = ("", "")
        while page := storage.survey(Payment, after=after, limit=2):
            assert len(page) <= 2
            seen += [(p.merchant_id, p.record_id, p.record, p.damage) for p in page]
            after = (page[-1].merchant_id, page[-1].record_id)
        in_order = sorted(written, key=lambda payment: (payment.merchant_id, payment.id))
        assert seen == [(p.merchant_id, p.id, p, None) for p in in_order]

    def test_a_count_is_of_the_records_of_all_merchants(self, storage: Storage) -> None:
        assert storage.count(Payment) == 0
        write(storage, a_payment(MINE), a_payment(MINE, 2), a_customer(MINE))
        write(storage, a_payment(OTHER))
        assert storage.count(Payment) == 3

    def test_a_sound_store_finds_nothing_wrong_with_itself(self, storage: Storage) -> None:
        assert list(storage.self_check()) == []
        payment, operation = a_payment(MINE), an_operation(MINE)
        write(
            storage,
            *(a_merchant(MINE), a_wrapped_key(MINE), a_customer(MINE)),
            *(a_method(MINE), a_sealed_card(MINE), payment, operation),
            events=(an_event(MINE),),
            postings=(a_posting(MINE),),
            receipts=(Receipt(merchant_id=MINE, operation_id=operation.id, subject=payment),),
        )
        assert list(storage.self_check()) == []
