"""The chains of a merchant: what each commit wrote, and a proof that nobody has rewritten it since.

Law of this file: a link is the bytes that were stored, and its digest is made of them as they lie,
with its number and the digest of the link before; nothing is ever serialised a second time. Each
commit adds one link to the journal, which names every row that the commit has written or removed;
one with audit entries adds one to the audit chain, too. A row is named with a mark that is made of
what it holds, so the chain vouches for all of it.

An outbox is a list of what is still to be done, and no part of what has happened: it is in no link.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from payplatform._domain.audit import Chain, ChainHead, ChainReport
from payplatform._domain.changes import Changes
from payplatform.storage._rows import (
    ARCHIVED,
    AUDIT_ENTRIES,
    EVENTS,
    POSTINGS,
    RECORDS,
    Layout,
    Row,
    is_receipt_as_written,
    receipt_row,
    shown,
)

NO_LINK: Final = ChainHead()

Mark = tuple[str, str, str | None]
"""A table, what names a row there, and what the row is known by; None for one that is gone."""

LAYOUTS: Final[dict[Chain, tuple[Layout[Any], ...]]] = {
    Chain.JOURNAL: (*RECORDS.values(), EVENTS, POSTINGS, ARCHIVED),
    Chain.AUDIT: (AUDIT_ENTRIES,),
}
"""What each chain vouches for; the journal for receipts, too."""


class Link(NamedTuple):
    """One link, as stored."""

    number: int
    body: bytes
    digest: bytes


def bodies(marks: Iterable[Mark]) -> Iterator[tuple[Chain, bytes]]:
    """What a commit adds to which chain."""
    written = list(marks)
    for chain in Chain:
        mine = [mark for mark in written if chain_of(mark) is chain]
        if mine:
            yield chain, json.dumps(mine, separators=(",", ":")).encode()


def chain_of(mark: Mark) -> Chain:
    """Which chain vouches for a row."""
    return Chain.AUDIT if mark[0] == AUDIT_ENTRIES.table else Chain.JOURNAL


def marks_of(changes: Changes) -> Iterator[Mark]:
    """Every row that a commit writes or removes, in that store's order which keeps no rows."""
    for record in changes.removed:
        yield RECORDS[type(record)].table, record.id, None
    for record in changes.records:
        yield marked(layout := RECORDS[type(record)], layout.row_of(record))
    yield from (marked(EVENTS, EVENTS.row_of(event)) for event in changes.events)
    yield from (marked(POSTINGS, POSTINGS.row_of(posting)) for posting in changes.postings)
    yield from (marked_receipt(receipt_row(receipt)) for receipt in changes.receipts)
    yield from (marked(AUDIT_ENTRIES, AUDIT_ENTRIES.row_of(entry)) for entry in changes.audit)


def marked(layout: Layout[Any], row: Row) -> Mark:
    """A row of a layout, as a link names it."""
    return layout.table, layout.place_of(row), layout.mark_of(row)


def marked_receipt(row: Row) -> Mark:
    """A receipt, as a link names it."""
    return "receipts", row[1], shown(row[-1])


def next_link(
    chain: Chain, merchant_id: str, head: ChainHead, body: bytes, key: bytes | None = None
) -> Link:
    """The link that follows the last one."""
    number = head.number + 1
    # JSON has no raw line break, so where the first line ends is never in doubt.
    said = json.dumps(["payplatform/chain/1", chain, merchant_id, number, head.digest]).encode()
    linked = said + b"\n" + body
    digest = hashlib.sha256(linked).digest() if key is None else hmac.digest(key, linked, "sha256")
    return Link(number, body, digest)


def key_check(key: bytes) -> bytes:
    """What a file keeps to know its chain key by; the key cannot be found from it."""
    return hmac.digest(key, b"payplatform/chain-key/1", "sha256")


def head_at(link: Link) -> ChainHead:
    """The head of a chain that ends with this link."""
    return ChainHead(number=link.number, digest=link.digest.hex())


# -- looking through -------------------------------------------------------------------------------


class Seen(NamedTuple):
    """A row as it lies: its mark made anew, and whether its own digest agrees."""

    mark: Mark
    is_as_written: bool


class Away(NamedTuple):
    """Events of a subject that lie where they cannot be looked at now."""

    subject_id: str
    numbers: range


def seen(layout: Layout[Any], row: Row) -> Seen:
    """A row of a layout."""
    is_as_written = layout.is_as_written(row)
    return Seen(marked(layout, row), is_as_written)


def seen_receipt(row: Row) -> Seen:
    """A row of receipts."""
    return Seen(marked_receipt(row), is_receipt_as_written(row))


class _Broken(Exception):
    def __init__(self, link: int, row: str, text: str) -> None:
        super().__init__(text)
        self.link, self.row, self.text = link, row, text


def look_through(
    chain: Chain,
    merchant_id: str,
    *,
    links: Iterable[Link],
    rows: Iterable[Seen | Away],
    kept: ChainHead,
    expected: ChainHead | None,
    key: bytes | None = None,
) -> ChainReport:
    """Go along a chain, then along the rows it vouches for; stop at the first that is broken.

    Args:
        chain: which one.
        merchant_id: whose.
        links: as stored, in the order of their numbers.
        rows: every row that the chain vouches for, in any order, wherever it lies.
        kept: the head as the store has it.
        expected: a head that was kept elsewhere, to be found somewhere in the chain.
        key: of a keyed chain.
    """
    head = NO_LINK
    vouched: dict[tuple[str, str], tuple[int, str | None]] = {}
    try:
        for link in links:
            head = _followed(chain, merchant_id, head, link, key)
            _require_agreement(head, expected)
            for table, place, mark in json.loads(link.body):
                vouched[table, place] = (link.number, mark)
        _require_end(head, kept, expected)
        compared, away = _compared(vouched, rows, head)
    except _Broken as broken:
        return ChainReport(head=head, link=broken.link, row=broken.row, text=broken.text)
    return ChainReport(head=head, rows=compared, archived=away)


def _followed(
    chain: Chain, merchant_id: str, head: ChainHead, link: Link, key: bytes | None
) -> ChainHead:
    """The head after one more link."""
    if link.number != head.number + 1:
        raise _broken_link(head.number + 1, "it was written, and is gone")
    made = next_link(chain, merchant_id, head, link.body, key)
    if not hmac.compare_digest(made.digest, link.digest):
        raise _broken_link(link.number, "it is not what was written")
    return head_at(link)


def _require_agreement(head: ChainHead, expected: ChainHead | None) -> None:
    if expected is not None and expected.number == head.number and expected != head:
        raise _broken_link(head.number, "it is not the one that is expected")


def _require_end(head: ChainHead, kept: ChainHead, expected: ChainHead | None) -> None:
    if max(kept.number, 0 if expected is None else expected.number) > head.number:
        raise _broken_link(head.number + 1, "the links from here on are gone")
    if kept != head:
        raise _Broken(head.number, "head", "it is not the last link's")


def _broken_link(number: int, text: str) -> _Broken:
    return _Broken(number, f"link {number}", text)


def _compared(
    vouched: dict[tuple[str, str], tuple[int, str | None]],
    rows: Iterable[Seen | Away],
    head: ChainHead,
) -> tuple[int, int]:
    """How many rows there are, all of them as they were written; and how many are out of reach."""
    compared, away, broken = 0, 0, []
    unwritten = (head.number + 1, None)
    for row in rows:
        if isinstance(row, Away):
            before = len(vouched)
            broken += [(head.number + 1, place, _UNWRITTEN) for place in _excused(vouched, row)]
            away += before - len(vouched)
            continue
        compared += 1
        table, place, mark = row.mark
        link, known = vouched.pop((table, place), unwritten)
        if known is None:
            broken.append((link, f"{table} {place}", _UNWRITTEN))
        elif known != mark or not row.is_as_written:
            broken.append((link, f"{table} {place}", "it is not what was written"))
    for (table, place), (link, known) in vouched.items():
        if known is not None:
            broken.append((link, f"{table} {place}", "it was written, and is gone"))
    if broken:
        raise _Broken(*min(broken))
    return compared, away


def _excused(vouched: dict[tuple[str, str], tuple[int, str | None]], row: Away) -> Iterator[str]:
    """Ask for nothing that is out of reach; give the first event of it that nobody has written."""
    for number in row.numbers:
        place = f"{row.subject_id} {number}"
        if vouched.pop((EVENTS.table, place), (0, None))[1] is None:
            yield f"{EVENTS.table} {place}"
            return


_UNWRITTEN: Final = "no commit has written it"
