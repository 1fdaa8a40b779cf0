"""What every store must do: the promises of `ports.Storage`, each as a test.

A store proves itself by inheriting this class and saying how one is made:

    class TestMyStorage(StorageContract):
        def make_storage(self, folder):
            return MyStorage(folder / "books")

        def reopen(self, storage, folder):
            storage.close()
            return MyStorage(folder / "books")

Law of this file: a test asks for what the port promises and for nothing else, and its name says the
promise. Needs the extra `testing`.
"""

# ruff: noqa: D102  # a test's name says what it shows

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from payplatform._domain.changes import Changes, Receipt
from payplatform._domain.events import Event
from payplatform._domain.ledger import Posting
from payplatform._domain.money import MAX_MINOR, Money
from payplatform._domain.operations import Operation
from payplatform._domain.payments import Facts, Payment
from payplatform._domain.records import Customer, Merchant, PaymentMethod
from payplatform.errors import Conflict
from payplatform.ports import Storage
from payplatform.testing._records import (
    EXAMPLES,
    NOW,
    a_customer,
    a_dispute,
    a_merchant,
    a_method,
    a_payment,
    a_posting,
    a_sealed_card,
    an_entry,
    an_event,
    an_id,
    an_operation,
    any_of,
    any_record,
)
from payplatform.testing._storage_talk import (
    EACH_KIND,
    KINDS,
    MINE,
    OTHER,
    a_fresh_merchant_id,
    all_of_mine,
    at_once,
    changes_of,
    examples,
    guard_of,
    method_with,
    raise_version,
    refuse,
    tell,
    until_it_fits,
    write,
)

# Its asserts are to explain themselves, as those here do.
pytest.register_assert_rewrite("payplatform.testing._storage_lists")
pytest.register_assert_rewrite("payplatform.testing._storage_chains")

from payplatform.testing._storage_chains import ChainsContract  # noqa: E402  # as said above
from payplatform.testing._storage_lists import ListsContract  # noqa: E402  # as said above


class StorageContract(ListsContract, ChainsContract):
    """Inherit, and override `make_storage`; also `reopen`, where the store outlives a process."""

    def make_storage(self, folder: Path) -> Storage:
        """A new, empty store; it may keep files in `folder`, which is its own."""
        raise NotImplementedError

    def reopen(self, storage: Storage, folder: Path) -> Storage:  # noqa: ARG002  # others need it
        """The store as a later process finds it. One that keeps nothing gives back `storage`."""
        return storage

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[Storage]:
        storage = self.make_storage(tmp_path)
        yield storage
        storage.close()

    # -- what goes in comes out --------------------------------------------------------------------

    @EACH_KIND
    @examples
    @given(data=st.data())
    def test_a_record_comes_back_equal(
        self, storage: Storage, kind: type, data: st.DataObject
    ) -> None:
        merchant_id = a_fresh_merchant_id()
        record = data.draw(any_record(kind, merchant_id))
        write(storage, record)
        assert storage.get(merchant_id, kind, record.id) == record
        assert list(storage.page(merchant_id, kind, limit=2)) == [record]

    @EACH_KIND
    @examples
    @given(data=st.data())
    def test_a_later_version_replaces_all_of_the_one_before(
        self, storage: Storage, kind: type, data: st.DataObject
    ) -> None:
        merchant_id = a_fresh_merchant_id()
        first, second = (data.draw(any_record(kind, merchant_id)) for _ in range(2))
        second = evolve(second, **{guard_of(kind): 2})
        write(storage, first)
        write(storage, second)
        assert storage.get(merchant_id, kind, first.id) == second

    @examples
    @given(data=st.data())
    def test_what_is_told_of_a_subject_comes_back_equal(
        self, storage: Storage, data: st.DataObject
    ) -> None:
        merchant_id, subject_id = a_fresh_merchant_id(), an_id(Payment, 1)
        mine = {"merchant_id": merchant_id}
        event = evolve(data.draw(any_of(Event)), subject_id=subject_id, **mine)
        posting = evolve(data.draw(any_of(Posting)), subject_id=subject_id, **mine)
        told = data.draw(any_record(data.draw(st.sampled_from([Payment, PaymentMethod])), "m"))
        receipt = Receipt(merchant_id=merchant_id, operation_id="op_1", subject=told)
        changes = Changes(
            merchant_id=merchant_id, events=(event,), postings=(posting,), receipts=(receipt,)
        )
        storage.commit(changes)
        assert list(storage.events(merchant_id, subject_id)) == [event]
        assert list(storage.postings(merchant_id, subject_id)) == [posting]
        assert storage.receipt(merchant_id, "op_1") == told

    def test_the_largest_amounts_come_back_to_the_last_unit(self, storage: Storage) -> None:
        most = Facts(requested=MAX_MINOR, authorized=MAX_MINOR, captured=MAX_MINOR)
        payment = a_payment(MINE, facts=most)
        operation = an_operation(MINE, amount=Money.minor(MAX_MINOR, "EUR"))
        event = an_event(MINE, change=-most, amount=operation.amount)
        posting = a_posting(MINE, amount_minor=-MAX_MINOR)
        write(storage, payment, operation, events=(event,), postings=(posting,))
        assert storage.get(MINE, Payment, payment.id) == payment
        assert storage.get(MINE, Operation, operation.id) == operation
        assert list(storage.events(MINE, payment.id)) == [event]
        assert list(storage.postings(MINE, payment.id)) == [posting]

    def test_that_it_was_a_replay_is_never_stored(self, storage: Storage) -> None:
        payment = a_payment(MINE, replayed=True)
        receipt = Receipt(merchant_id=MINE, operation_id="op_1", subject=payment)
        write(storage, payment, a_method(MINE, replayed=True), receipts=(receipt,))
        found = (
            storage.get(MINE, Payment, payment.id),
            storage.get(MINE, PaymentMethod, an_id(PaymentMethod, 1)),
            storage.receipt(MINE, "op_1"),
        )
        assert [subject is not None and subject.replayed for subject in found] == [False] * 3

    def test_what_is_not_there_is_none_or_empty(self, storage: Storage) -> None:
        assert [storage.get(MINE, kind, an_id(kind, 1)) for kind in KINDS] == [None] * len(KINDS)
        assert [list(storage.page(MINE, kind, limit=9)) for kind in KINDS] == [[]] * len(KINDS)
        assert storage.operation_with_key(MINE, "key-1") is None
        assert storage.payment_method_with(MINE, an_id(Customer, 1), [b"1" * 32]) is None
        assert storage.receipt(MINE, an_id(Operation, 1)) is None
        assert not list(storage.events(MINE, an_id(Payment, 1)))
        assert not list(storage.postings(MINE, an_id(Payment, 1)))
        assert not list(storage.merchants(limit=9))
        assert not list(storage.due_operations(NOW, limit=9))
        assert not list(storage.lapsed_payments(NOW, limit=9))
        assert not list(storage.due_notices(NOW, limit=9))
        assert not list(storage.due_disputes(NOW, limit=9))
        assert not list(storage.due_payouts(NOW, limit=9))
        assert not list(storage.outbox(limit=9))

    def test_no_fingerprints_match_no_payment_method(self, storage: Storage) -> None:
        write(storage, a_method(MINE))
        assert storage.payment_method_with(MINE, an_id(Customer, 1), []) is None

    def test_a_read_sees_every_commit_before_it_whoever_made_it(self, storage: Storage) -> None:
        with ThreadPoolExecutor(1) as another:
            for version in range(1, 6):
                write(storage, a_payment(MINE, version=version))
                for read in (storage.get, lambda *key: another.submit(storage.get, *key).result()):
                    found = read(MINE, Payment, an_id(Payment, 1))
                    assert found is not None
                    assert found.version == version

    # -- guards ------------------------------------------------------------------------------------

    @EACH_KIND
    @pytest.mark.parametrize(
        ("stored", "written"), [(0, 2), (1, 1), (1, 3), (2, 1), (2, 2), (3, 2)]
    )
    def test_a_record_whose_version_does_not_follow_is_refused(
        self, storage: Storage, kind: type, stored: int, written: int
    ) -> None:
        example = EXAMPLES[kind]
        for version in range(1, stored + 1):
            write(storage, example(MINE, version=version))
        before = storage.get(MINE, kind, example(MINE).id)
        refuse(storage, Changes(merchant_id=MINE, records=(example(MINE, version=written),)))
        assert storage.get(MINE, kind, example(MINE).id) == before

    @EACH_KIND
    def test_a_removed_record_is_gone(self, storage: Storage, kind: type) -> None:
        record = EXAMPLES[kind](MINE)
        write(storage, record)
        storage.commit(Changes(merchant_id=MINE, removed=(record,)))
        assert storage.get(MINE, kind, record.id) is None
        assert not list(storage.page(MINE, kind, limit=9))

    @EACH_KIND
    def test_a_removed_record_can_be_written_again(self, storage: Storage, kind: type) -> None:
        record = EXAMPLES[kind](MINE)
        write(storage, record)
        storage.commit(Changes(merchant_id=MINE, removed=(record,)))
        write(storage, record)
        assert storage.get(MINE, kind, record.id) == record

    @EACH_KIND
    @pytest.mark.parametrize(("stored", "removed"), [(0, 1), (2, 1), (1, 2)])
    def test_a_removal_is_refused_unless_it_names_the_stored_version(
        self, storage: Storage, kind: type, stored: int, removed: int
    ) -> None:
        example = EXAMPLES[kind]
        for version in range(1, stored + 1):
            write(storage, example(MINE, version=version))
        refuse(storage, Changes(merchant_id=MINE, removed=(example(MINE, version=removed),)))
        assert (storage.get(MINE, kind, example(MINE).id) is None) is (stored == 0)

    @EACH_KIND
    @pytest.mark.parametrize(("stored", "needed"), [(0, 1), (2, 1), (1, 2)])
    def test_a_commit_is_refused_unless_what_it_needs_is_there_as_it_was(
        self, storage: Storage, kind: type, stored: int, needed: int
    ) -> None:
        example = EXAMPLES[kind]
        for version in range(1, stored + 1):
            write(storage, example(MINE, version=version))
        written = a_payment(MINE, 9)
        refuse(storage, Changes(**_needing(written, example(MINE, version=needed))))
        assert storage.get(MINE, Payment, written.id) is None

    @EACH_KIND
    def test_what_a_commit_needs_stays_as_it_is(self, storage: Storage, kind: type) -> None:
        needed, written = EXAMPLES[kind](MINE), a_payment(MINE, 9)
        write(storage, needed)
        storage.commit(Changes(**_needing(written, needed)))
        assert storage.get(MINE, kind, needed.id) == needed
        assert storage.get(MINE, Payment, written.id) == written

    def test_what_another_merchant_has_is_not_what_a_commit_needs(self, storage: Storage) -> None:
        write(storage, a_sealed_card(OTHER))
        refuse(storage, Changes(**_needing(a_payment(MINE), a_sealed_card(MINE))))

    # -- all or nothing ----------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "last_straw",
        [
            pytest.param({"records": (a_payment(MINE, version=3),)}, id="a stale record"),
            pytest.param({"removed": (a_payment(MINE, version=2),)}, id="a stale removal"),
            pytest.param({"needed": (a_payment(MINE, version=2),)}, id="a stale need"),
            pytest.param(
                {"records": (an_operation(MINE, 3, idempotency_key="key-1"),)}, id="a key"
            ),
            pytest.param(
                {"records": (a_method(MINE, 3, fingerprint=a_method(MINE, 2).fingerprint),)},
                id="a fingerprint",
            ),
            pytest.param({"events": (an_event(MINE),)}, id="an event"),
            pytest.param({"audit": (an_entry(MINE),)}, id="an audit entry"),
        ],
    )
    def test_a_commit_that_is_refused_leaves_nothing(
        self, storage: Storage, last_straw: dict[str, Any]
    ) -> None:
        sealed, told = a_sealed_card(MINE), a_payment(MINE)
        receipt = Receipt(merchant_id=MINE, operation_id=an_id(Operation, 1), subject=told)
        stored = (told, an_operation(MINE), a_method(MINE), sealed)
        write(storage, *stored, events=(an_event(MINE),), audit=(an_entry(MINE),))
        good: dict[str, tuple[Any, ...]] = {
            "records": (
                a_customer(MINE),
                a_payment(MINE, 2),
                an_operation(MINE, version=2, next_try_at=None),
                an_operation(MINE, 2),
                a_method(MINE, version=2, fingerprint=None),
                a_method(MINE, 2),
            ),
            "removed": (sealed,),
            "needed": (told,),
            "events": (evolve(an_event(MINE, 2), subject_id=an_id(Payment, 2), number=1),),
            "postings": (a_posting(MINE),),
            "receipts": (receipt,),
            "audit": (an_entry(MINE, 2),),
        }
        (part, added), *_ = last_straw.items()
        before = all_of_mine(storage)
        refuse(storage, Changes(merchant_id=MINE, **(good | {part: good[part] + added})))
        assert all_of_mine(storage) == before
        storage.commit(Changes(merchant_id=MINE, **good))
        assert all_of_mine(storage) != before

    # -- what is unique ----------------------------------------------------------------------------

    def test_an_idempotency_key_leads_to_its_operation(self, storage: Storage) -> None:
        write(storage, an_operation(MINE, 1), an_operation(MINE, 2))
        write(storage, an_operation(MINE, 1, version=2))
        for number, version in ((1, 2), (2, 1)):
            found = storage.operation_with_key(MINE, f"key-{number}")
            assert found == an_operation(MINE, number, version=version)

    def test_an_idempotency_key_is_claimed_once(self, storage: Storage) -> None:
        write(storage, an_operation(MINE, 1))
        refuse(storage, changes_of(an_operation(MINE, 2, idempotency_key="key-1")))
        refuse(storage, changes_of(*(an_operation(MINE, n, idempotency_key="new") for n in (3, 4))))
        assert storage.operation_with_key(MINE, "key-1") == an_operation(MINE, 1)
        assert storage.operation_with_key(MINE, "new") is None

    def test_a_dispute_at_the_bank_is_kept_once(self, storage: Storage) -> None:
        write(storage, a_dispute(MINE))
        refuse(storage, changes_of(a_dispute(MINE, 2, bank_dispute_id="case-1")))
        write(storage, a_dispute(OTHER, 3, bank_dispute_id="case-1"))
        write(storage, a_dispute(MINE, version=2))

    def test_merchants_do_not_share_idempotency_keys(self, storage: Storage) -> None:
        mine, other = an_operation(MINE), an_operation(OTHER, subject_id="another")
        write(storage, mine)
        write(storage, other)
        assert storage.operation_with_key(MINE, "key-1") == mine
        assert storage.operation_with_key(OTHER, "key-1") == other

    def test_a_fingerprint_leads_to_the_customers_payment_method(self, storage: Storage) -> None:
        first, second = a_method(MINE, 1), a_method(MINE, 2)
        write(storage, first, second)
        assert method_with(storage, b"unknown", first.fingerprint) == first
        assert method_with(storage, second.fingerprint) == second
        assert method_with(storage, b"unknown") is None
        assert method_with(storage, first.fingerprint, customer=2) is None

    def test_a_customer_has_a_fingerprint_once(self, storage: Storage) -> None:
        fingerprint = a_method(MINE).fingerprint
        write(storage, a_method(MINE))
        refuse(storage, changes_of(a_method(MINE, 2, fingerprint=fingerprint)))
        write(storage, a_method(MINE, 3))
        refuse(storage, changes_of(a_method(MINE, 3, version=2, fingerprint=fingerprint)))

    def test_customers_and_merchants_do_not_share_fingerprints(self, storage: Storage) -> None:
        fingerprint = a_method(MINE).fingerprint
        write(storage, a_method(MINE))
        write(storage, a_method(OTHER))
        others = {"fingerprint": fingerprint, "customer_id": an_id(Customer, 2)}
        write(storage, a_method(MINE, 2, **others))
        assert method_with(storage, fingerprint) == a_method(MINE)
        assert method_with(storage, fingerprint, customer=2) == a_method(MINE, 2, **others)

    @pytest.mark.parametrize("missing", ["customer_id", "fingerprint"])
    def test_without_a_customer_or_a_fingerprint_nothing_is_unique(
        self, storage: Storage, missing: str
    ) -> None:
        alike = {"fingerprint": b"f", missing: None}
        write(storage, *(a_method(MINE, number, **alike) for number in (1, 2, 3)))
        assert len(storage.page(MINE, PaymentMethod, limit=9)) == 3

    def test_a_fingerprint_that_is_given_up_is_free_again(self, storage: Storage) -> None:
        first = a_method(MINE, 1)
        write(storage, first)
        write(storage, evolve(first, version=2, fingerprint=None, deleted_at=NOW))
        assert method_with(storage, first.fingerprint) is None
        write(storage, a_method(MINE, 2, fingerprint=first.fingerprint))
        storage.commit(Changes(merchant_id=MINE, removed=(a_method(MINE, 2),)))
        assert method_with(storage, first.fingerprint) is None
        write(storage, a_method(MINE, 3, fingerprint=first.fingerprint))

    def test_an_event_number_is_taken_once_for_each_subject_and_merchant(
        self, storage: Storage
    ) -> None:
        tell(storage, an_event(MINE))
        refuse(storage, Changes(merchant_id=MINE, events=(an_event(MINE, id="evt_2"),)))
        tell(storage, an_event(MINE, id="evt_3", subject_id="pay_2"))
        tell(storage, an_event(OTHER, id="evt_4"))
        assert [event.id for event in storage.outbox(limit=9)] == [
            an_event(MINE).id,
            "evt_3",
            "evt_4",
        ]

    def test_a_line_is_posted_once_for_each_event_subject_and_merchant(
        self, storage: Storage
    ) -> None:
        posting = a_posting(MINE)
        storage.commit(Changes(merchant_id=MINE, postings=(posting,)))
        again = evolve(posting, amount_minor=1)
        refuse(storage, Changes(merchant_id=MINE, postings=(again,)))
        for other in (evolve(again, line=2), evolve(again, subject_id="pay_2"), a_posting(OTHER)):
            storage.commit(Changes(merchant_id=other.merchant_id, postings=(other,)))
        found = storage.postings(MINE, posting.subject_id)
        assert list(found) == [posting, evolve(again, line=2)]

    # -- merchants apart ---------------------------------------------------------------------------

    @EACH_KIND
    def test_the_same_id_of_two_merchants_is_two_records(
        self, storage: Storage, kind: type
    ) -> None:
        if kind is Merchant:
            assert storage.get(OTHER, Merchant, MINE) is None
            return
        mine, other = EXAMPLES[kind](MINE), EXAMPLES[kind](OTHER)
        write(storage, mine)
        assert storage.get(OTHER, kind, mine.id) is None
        write(storage, other)
        storage.commit(Changes(merchant_id=MINE, removed=(mine,)))
        assert storage.get(MINE, kind, mine.id) is None
        assert storage.get(OTHER, kind, mine.id) == other

    def test_a_merchant_is_its_own_and_nobody_elses(self, storage: Storage) -> None:
        write(storage, a_merchant(MINE))
        assert storage.get(MINE, Merchant, MINE) == a_merchant(MINE)
        assert storage.get(OTHER, Merchant, MINE) is None
        assert storage.get(MINE, Merchant, OTHER) is None
        assert not list(storage.page(OTHER, Merchant, limit=9))

    @EACH_KIND
    def test_a_page_holds_nothing_of_another_merchant(self, storage: Storage, kind: type) -> None:
        write(storage, EXAMPLES[kind](MINE, 2))
        write(storage, EXAMPLES[kind](OTHER, 1))
        assert [r.merchant_id for r in storage.page(MINE, kind, limit=9)] == [MINE]

    def test_nothing_that_is_told_of_a_subject_is_another_merchants(self, storage: Storage) -> None:
        receipt = Receipt(merchant_id=MINE, operation_id="op_1", subject=a_payment(MINE))
        write(
            storage,
            an_operation(MINE),
            a_method(MINE),
            events=(an_event(MINE),),
            postings=(a_posting(MINE),),
            receipts=(receipt,),
        )
        subject_id = an_event(MINE).subject_id
        assert storage.operation_with_key(OTHER, "key-1") is None
        assert method_with(storage, a_method(MINE).fingerprint, merchant_id=OTHER) is None
        assert storage.receipt(OTHER, "op_1") is None
        assert not list(storage.events(OTHER, subject_id))
        assert not list(storage.postings(OTHER, subject_id))

    # -- many at once ------------------------------------------------------------------------------

    def test_no_update_is_lost_between_threads(self, storage: Storage) -> None:
        write(storage, a_payment(MINE))

        def raise_it() -> None:
            for _ in range(5):
                until_it_fits(lambda: raise_version(storage))

        at_once([raise_it] * 4)
        payment = storage.get(MINE, Payment, an_id(Payment, 1))
        assert payment is not None
        assert payment.version == 21

    def test_one_of_many_threads_claims_a_key(self, storage: Storage) -> None:
        won: list[int] = []

        def claim(number: int) -> None:
            with suppress(Conflict):
                write(storage, an_operation(MINE, number, idempotency_key="one"))
                won.append(number)

        at_once([partial(claim, number) for number in range(8)])
        assert len(won) == 1
        assert storage.operation_with_key(MINE, "one") == an_operation(
            MINE, won[0], idempotency_key="one"
        )

    # -- the store itself --------------------------------------------------------------------------

    def test_what_was_committed_is_there_after_reopening(
        self, storage: Storage, tmp_path: Path
    ) -> None:
        receipt = Receipt(merchant_id=MINE, operation_id="op_1", subject=a_payment(MINE))
        told = {"events": (an_event(MINE),), "postings": (a_posting(MINE),), "receipts": (receipt,)}
        records = [EXAMPLES[kind](MINE) for kind in KINDS]
        write(storage, *records, **told)
        everything = all_of_mine(storage)
        again = self.reopen(storage, tmp_path)
        assert all_of_mine(again) == everything
        refuse(again, changes_of(a_payment(MINE)))
        again.close()

    def test_a_second_close_does_nothing(self, storage: Storage) -> None:
        storage.close()
        storage.close()

    def test_it_describes_itself_in_words(self, storage: Storage) -> None:
        words = storage.describe()
        assert words
        assert all(isinstance(text, str) for pair in words.items() for text in pair)


def _needing(written: Payment, needed: Any) -> dict[str, Any]:
    return {"merchant_id": MINE, "records": (written,), "needed": (needed,)}
