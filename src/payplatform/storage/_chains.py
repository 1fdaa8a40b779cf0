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
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from attrs import define, field

from payplatform._domain.audit import Chain, ChainHead, ChainReport
from payplatform._domain.changes import Changes
from payplatform.storage._rows import (
    ARCHIVED,
    ARCHIVED_LINKS,
    AUDIT_ENTRIES,
    EVENTS,
    POSTINGS,
    RECORDS,
    Layout,
    Row,
    is_receipt_as_written,
    receipt_row,
)

NO_LINK: Final = ChainHead()

_quoted: Final = json.encoder.encode_basestring_ascii

_DIGEST_AS_TEXT: Final = 64

Mark = tuple[str, str, bytes | None]
"""A table, what names a row there, and what the row is known by; None for one that is gone."""

# Links name a table by its place here: a new one comes last.
_TABLES: Final = (
    *("merchants", "customers", "payment_methods", "payments", "operations", "notices"),
    *("disputes", "settlements", "payouts", "payout_plans", "sealed_cards", "wrapped_keys"),
    *("fee_schedules", "events", "postings", "receipts", "audit_entries"),
    *("archived", "archived_links"),
)
_NUMBERS: Final = {table: number for number, table in enumerate(_TABLES)}
# The first links were JSON, which begins otherwise, and took nearly twice the room.
_PACKED: Final = b"\x02"
_LENGTHS: Final = struct.Struct(">BHB")
"""Before each mark: which table, and how long what names the row and what it is known by are."""

LAYOUTS: Final[dict[Chain, tuple[Layout[Any], ...]]] = {
    Chain.JOURNAL: (*RECORDS.values(), EVENTS, POSTINGS, ARCHIVED, ARCHIVED_LINKS),
    Chain.AUDIT: (AUDIT_ENTRIES,),
}
"""What each chain vouches for; the journal for receipts, too."""


class Link(NamedTuple):
    """One link, as stored."""

    number: int
    body: bytes
    digest: bytes


class Gap(NamedTuple):
    """Links that lie where they cannot be looked at now, and the digest of the last of them."""

    first: int
    last: int
    digest: bytes


def bodies(marks: Iterable[Mark]) -> Iterator[tuple[Chain, bytes]]:
    """What a commit adds to which chain."""
    written = list(marks)
    for chain in Chain:
        mine = [mark for mark in written if chain_of(mark) is chain]
        if mine:
            yield chain, b"".join((_PACKED, *map(_packed, mine)))


def marks_in(body: bytes) -> Iterator[Mark]:
    """What a link names, in the order in which it was written.

    Raises:
        ValueError, TypeError, LookupError, struct.error: no link has ever looked like that.
    """
    if not body.startswith(_PACKED):
        for table, place, mark in json.loads(body):
            yield table, place, None if mark is None else _from_text(mark)
        return
    at = len(_PACKED)
    while at < len(body):
        number, place_ends, mark_ends = _LENGTHS.unpack_from(body, at)
        at += _LENGTHS.size
        place, mark = body[at : (at := at + place_ends)], body[at : (at := at + mark_ends)]
        yield _TABLES[number], place.decode(), mark or None


def _packed(mark: Mark) -> bytes:
    table, place, known_by = mark
    named, known_by = place.encode(), known_by or b""
    return _LENGTHS.pack(_NUMBERS[table], len(named), len(known_by)) + named + known_by


def _from_text(mark: str) -> bytes:
    """A mark as the first links had it: a digest in hexadecimal digits, or a version."""
    return bytes.fromhex(mark) if len(mark) == _DIGEST_AS_TEXT else mark.encode()


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
    return "receipts", row[1], row[-1]


def next_link(
    chain: Chain, merchant_id: str, head: ChainHead, body: bytes, key: bytes | None = None
) -> Link:
    """The link that follows the last one."""
    number = head.number + 1
    # JSON has no raw line break, so where the first line ends is never in doubt.
    said = f'["payplatform/chain/1", "{chain}", {_quoted(merchant_id)}, {number}, "{head.digest}"]'
    linked = said.encode() + b"\n" + body
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
    links: Iterable[Link | Gap],
    rows: Iterable[Seen | Away],
    kept: ChainHead,
    expected: ChainHead | None,
    key: bytes | None = None,
) -> ChainReport:
    """Go along a chain, then along the rows it vouches for; stop at the first that is broken.

    Args:
        chain: which one.
        merchant_id: whose.
        links: as stored, in the order of their numbers, wherever they lie.
        rows: every row that the chain vouches for, in any order, wherever it lies.
        kept: the head as the store has it.
        expected: a head that was kept elsewhere, to be found somewhere in the chain.
        key: of a keyed chain.
    """
    head, comparison = NO_LINK, _Comparison()
    try:
        for link in links:
            if isinstance(link, Gap):
                head = _passed_over(head, link, expected)
                comparison = _Comparison(gap=link)
            else:
                head = _followed(chain, merchant_id, head, link, key)
                comparison.add(link)
            _require_agreement(head, expected)
        _require_end(head, kept, expected)
        if chain is Chain.JOURNAL:
            comparison.require_note()
        return comparison.report(rows, head)
    except _Broken as broken:
        return ChainReport(head=head, link=broken.link, row=broken.row, text=broken.text)


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


def _named_in(link: Link) -> list[Mark]:
    try:
        return list(marks_in(link.body))
    except (ValueError, TypeError, LookupError, struct.error):
        pass
    raise _broken_link(link.number, "it names nothing that can be read")


def _passed_over(head: ChainHead, gap: Gap, expected: ChainHead | None) -> ChainHead:
    """The head after links that cannot be looked at; what vouches for it comes later."""
    if gap.first != head.number + 1:
        raise _broken_link(head.number + 1, "it was written, and is gone")
    if expected is not None and gap.first <= expected.number < gap.last:
        raise _broken_link(expected.number, "it is in an archive that is not here")
    return ChainHead(number=gap.last, digest=gap.digest.hex())


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


@define
class _Comparison:
    """What links vouch for, laid beside the rows that there are.

    Attributes:
        gap: the last links that could not be looked at; it is not known what they, and those before
            them, name.
        vouched: by table and place, the number of the link that named it last, and its mark.
        away: by subject, the numbers of its events that cannot be looked at.
        unproved: the places of the notes on these that no link names which was looked at.
        broken: what is not as it has to be: the link that says so, the row, and how.
        counts: how many rows were compared, are in archives, or are vouched for there.
    """

    gap: Gap | None = None
    vouched: dict[tuple[str, str], tuple[int, bytes | None]] = field(factory=dict)
    away: dict[str, list[range]] = field(factory=dict)
    unproved: set[str] = field(factory=set)
    broken: list[tuple[int, str, str]] = field(factory=list)
    counts: Counter[str] = field(factory=Counter)

    @property
    def is_whole(self) -> bool:
        """Whether every link was looked at."""
        return self.gap is None

    def add(self, link: Link) -> None:
        """Have a link vouch for what it names."""
        for table, place, mark in _named_in(link):
            self.vouched[table, place] = (link.number, mark)

    def require_note(self) -> None:
        """Pass where a later link says that those of the gap have left: none is older than them."""
        gap = self.gap
        if gap and (ARCHIVED_LINKS.table, f"{Chain.JOURNAL} {gap.last}") not in self.vouched:
            raise _broken_link(gap.last, "it was written, and is gone")

    def report(self, rows: Iterable[Seen | Away], head: ChainHead) -> ChainReport:
        """What comes of it, where the links are sound and end there."""
        for row in rows:
            if isinstance(row, Away):
                self.away.setdefault(row.subject_id, []).append(row.numbers)
            else:
                self._compare(row, head.number + 1)
        self._look_for_the_rest()
        if self.broken:
            raise _Broken(*min(self.broken))
        return ChainReport(
            head=head,
            rows=self.counts["rows"],
            archived=self.counts["archived"],
            unvouched=self.counts["unvouched"],
        )

    def _compare(self, row: Seen, after_all: int) -> None:
        table, place, mark = row.mark
        is_known = self.is_whole or (table, place) in self.vouched
        self.counts["rows" if is_known else "unvouched"] += 1
        if table == ARCHIVED.table and not is_known:
            self.unproved.add(place)
        link, known = self.vouched.pop((table, place), (after_all, None if is_known else mark))
        if known is None:
            self.broken.append((link, f"{table} {place}", _UNWRITTEN))
        elif known != mark or not row.is_as_written:
            self.broken.append((link, f"{table} {place}", "it is not what was written"))

    def _look_for_the_rest(self) -> None:
        """Of what was not found, nothing may be missing but events that are away."""
        for (table, place), (link, known) in self.vouched.items():
            is_away = table == EVENTS.table and self._is_away(*place.rsplit(" ", 1))
            if known is not None and not is_away:
                self.broken.append((link, f"{table} {place}", "it was written, and is gone"))
        away = (numbers for ranges in self.away.values() for numbers in ranges)
        self.counts["archived"] = sum(map(len, away))

    def _is_away(self, subject_id: str, number: str) -> bool:
        """Whether an event that a link names has left: then a later link names the note, too."""
        return any(
            int(number) in numbers and f"{subject_id} {numbers[-1]}" not in self.unproved
            for numbers in self.away.get(subject_id, ())
        )


_UNWRITTEN: Final = "no commit has written it"
