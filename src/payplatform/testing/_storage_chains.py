"""What every store must do for the audit trail and the chains.

Law of this file: as of `storage_contract`, of which it is a part. How a row could be changed behind
a store's back is its own affair, and for its own tests.
"""

# a test's name says what it shows

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from payplatform._domain.audit import AuditEntry, Chain, ChainHead
from payplatform._domain.changes import Changes, Receipt
from payplatform.ports import Storage
from payplatform.testing._records import (
    a_customer,
    a_method,
    a_payment,
    a_posting,
    a_sealed_card,
    an_entry,
    an_event,
    any_of,
)
from payplatform.testing._storage_talk import (
    MINE,
    OTHER,
    a_fresh_merchant_id,
    changes_of,
    examples,
    refuse,
    write,
)

EACH_CHAIN = pytest.mark.parametrize("chain", Chain)


def note(storage: Storage, *entries: AuditEntry) -> None:
    """Commit entries of the audit trail, and nothing else."""
    storage.commit(Changes(merchant_id=entries[0].merchant_id, audit=entries))


def both(storage: Storage, merchant_id: str = MINE) -> list[ChainHead]:
    return [storage.head(merchant_id, chain) for chain in Chain]


def several_commits(storage: Storage, merchant_id: str = MINE) -> None:
    """Each kind of thing is written, some of it changed, and some removed."""
    card, told = a_sealed_card(merchant_id), a_payment(merchant_id)
    receipt = Receipt(merchant_id=merchant_id, operation_id="op_1", subject=told)
    write(storage, told, a_customer(merchant_id), a_method(merchant_id), card)
    write(
        storage,
        a_payment(merchant_id, version=2),
        events=(an_event(merchant_id),),
        postings=(a_posting(merchant_id),),
        receipts=(receipt,),
        audit=(an_entry(merchant_id),),
    )
    again = evolve(receipt, subject=a_payment(merchant_id, version=2))
    storage.commit(
        Changes(
            merchant_id=merchant_id,
            removed=(card,),
            receipts=(again,),
            audit=(an_entry(merchant_id, 2), an_entry(merchant_id, 3)),
        )
    )


class ChainsContract:
    """A part of the contract."""

    # -- the audit trail ---------------------------------------------------------------------------

    @examples
    @given(data=st.data())
    def test_an_audit_entry_comes_back_equal(self, storage: Storage, data: st.DataObject) -> None:
        merchant_id = a_fresh_merchant_id()
        entry = evolve(data.draw(any_of(AuditEntry)), merchant_id=merchant_id)
        note(storage, entry)
        assert list(storage.audit_entries(merchant_id, limit=2)) == [entry]

    def test_audit_entries_are_paged_by_id_newest_first_and_each_merchants_alone(
        self, storage: Storage
    ) -> None:
        for number in (2, 5, 1, 4, 3):
            note(storage, an_entry(MINE, number))
        note(storage, an_entry(OTHER, 6))
        pages = [storage.audit_entries(MINE, limit=2)]
        while pages[-1] and len(pages) < 9:
            pages.append(storage.audit_entries(MINE, before=pages[-1][-1].id, limit=2))
        assert list(map(len, pages)) == [2, 2, 1, 0]
        assert [e for page in pages for e in page] == [an_entry(MINE, n) for n in (5, 4, 3, 2, 1)]

    def test_an_audit_entry_is_written_once(self, storage: Storage) -> None:
        note(storage, an_entry(MINE))
        refuse(storage, Changes(merchant_id=MINE, audit=(an_entry(MINE, actor="Eve"),)))
        note(storage, an_entry(OTHER))
        assert list(storage.audit_entries(MINE, limit=9)) == [an_entry(MINE)]

    # -- chains ------------------------------------------------------------------------------------

    @EACH_CHAIN
    def test_a_chain_of_nothing_is_sound_and_has_no_link(
        self, storage: Storage, chain: Chain
    ) -> None:
        assert storage.head(MINE, chain) == ChainHead()
        report = storage.verify(MINE, chain, ChainHead())
        assert (report.ok, report.head, report.rows) == (True, ChainHead(), 0)

    def test_each_commit_moves_the_chains_it_adds_to_by_one_link(self, storage: Storage) -> None:
        seen = [both(storage)]
        write(storage, a_payment(MINE), a_customer(MINE))
        seen.append(both(storage))
        note(storage, an_entry(MINE), an_entry(MINE, 2))
        seen.append(both(storage))
        write(storage, a_payment(MINE, version=2), audit=(an_entry(MINE, 3),))
        seen.append(both(storage))
        assert [tuple(head.number for head in heads) for heads in seen] == [
            (0, 0),
            (1, 0),
            (1, 1),
            (2, 2),
        ]
        assert len({head.digest for heads in seen for head in heads}) == 5

    def test_another_merchants_commit_moves_no_chain_of_mine(self, storage: Storage) -> None:
        several_commits(storage)
        before = both(storage)
        several_commits(storage, OTHER)
        assert both(storage) == before
        assert all(storage.verify(MINE, chain).ok for chain in Chain)

    def test_a_commit_that_is_refused_moves_no_chain(self, storage: Storage) -> None:
        several_commits(storage)
        before = both(storage)
        refuse(storage, changes_of(a_payment(MINE, version=9)))
        refuse(storage, Changes(merchant_id=MINE, audit=(an_entry(MINE),)))
        assert both(storage) == before

    @EACH_CHAIN
    def test_what_nobody_has_changed_is_sound_by_every_head_it_had(
        self, storage: Storage, chain: Chain
    ) -> None:
        heads = [storage.head(MINE, chain)]
        for version in range(1, 4):
            write(storage, a_payment(MINE, version=version), audit=(an_entry(MINE, version),))
            heads.append(storage.head(MINE, chain))
        for head in heads:
            report = storage.verify(MINE, chain, head)
            assert report.ok
            assert report.head == heads[-1]
        assert storage.verify(MINE, chain).rows == (3 if chain is Chain.AUDIT else 1)

    def test_all_there_is_of_a_merchant_is_looked_at(self, storage: Storage) -> None:
        several_commits(storage)
        reports = [storage.verify(MINE, chain) for chain in Chain]
        assert [report.ok for report in reports] == [True, True]
        assert [report.rows for report in reports] == [6, 3]

    @EACH_CHAIN
    def test_a_head_that_the_chain_never_had_is_reported(
        self, storage: Storage, chain: Chain
    ) -> None:
        several_commits(storage)
        head = storage.head(MINE, chain)
        other = evolve(head, digest="0" * 64)
        later = evolve(head, number=head.number + 2)
        reports = [storage.verify(MINE, chain, expected) for expected in (other, later)]
        assert [report.ok for report in reports] == [False, False]
        assert [report.link for report in reports] == [head.number, head.number + 1]
