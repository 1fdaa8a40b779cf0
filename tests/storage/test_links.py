"""What a link names can be read again, in the form of today and in that of the first links."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payplatform._domain.audit import Chain
from payplatform.storage import _chains
from payplatform.storage._chains import LAYOUTS, NO_LINK, Mark, bodies, chain_of, head_at, marks_in

TABLES = sorted({layout.table for chain in LAYOUTS.values() for layout in chain} | {"receipts"})
PLACES = st.text(min_size=1, max_size=90)
DIGESTS = st.binary(min_size=32, max_size=32)
VERSIONS = st.integers(1, 10**6).map(lambda number: str(number).encode())
MARKS = st.lists(
    st.tuples(st.sampled_from(TABLES), PLACES, st.none() | DIGESTS | VERSIONS), max_size=20
)


@given(MARKS)
def test_a_link_names_what_was_written_in_its_order(marks: Sequence[Mark]) -> None:
    read = {chain: list(marks_in(body)) for chain, body in bodies(marks)}

    for chain in Chain:
        assert read.get(chain, []) == [mark for mark in marks if chain_of(mark) is chain]


@given(MARKS)
def test_a_link_of_the_first_form_is_read_as_well(marks: Sequence[Mark]) -> None:
    """It was JSON, with a digest in hexadecimal digits."""
    shown = [
        (table, place, mark.hex() if len(mark) == 32 else mark.decode())
        if mark
        else (table, place, None)
        for table, place, mark in marks
    ]

    assert list(marks_in(json.dumps(shown, separators=(",", ":")).encode())) == marks


def test_every_table_that_a_chain_vouches_for_has_a_number_of_its_own() -> None:
    """Stored links have them: no table changes its own, and a new one comes last."""
    assert _chains._TABLES[:17] == (
        *("merchants", "customers", "payment_methods", "payments", "operations", "notices"),
        *("disputes", "settlements", "payouts", "payout_plans", "sealed_cards", "wrapped_keys"),
        *("fee_schedules", "events", "postings", "receipts", "audit_entries"),
    )
    assert set(_chains._TABLES) == set(TABLES)


@pytest.mark.parametrize(
    "body",
    [
        b"[1]",
        b"[[1, 2]]",
        b"{",
        b"\xff",
        b"\x02\xff\x00\x01\x01ab",
        b"\x02\x00",
        b"\x02\x00\x00\x01\x00\xff",
    ],
    ids=repr,
)
def test_a_link_that_names_nothing_is_told_by_its_number(body: bytes) -> None:
    """Whoever makes a chain anew can put in it what they like."""
    link = _chains.next_link(Chain.JOURNAL, "mer_1", NO_LINK, body)

    report = _chains.look_through(
        Chain.JOURNAL, "mer_1", links=[link], rows=(), kept=head_at(link), expected=None
    )

    assert not report.ok
    assert (report.link, report.row) == (1, "link 1")


def test_a_link_takes_little_more_than_half_the_room_of_the_first_form() -> None:
    marks = [("payments", f"pay_{number:026}", sha256(b"x").digest()) for number in range(10)]
    shown = json.dumps([(table, place, mark.hex()) for table, place, mark in marks])
    ((_, body),) = bodies(marks)

    assert len(body) < 0.6 * len(shown)
