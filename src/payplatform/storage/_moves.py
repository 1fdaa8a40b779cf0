"""Events and links on their way out of a file: which are old enough, and how they are let go of.

Law of this file: a row goes only if it is, to the byte, what was copied; an event, only if its
payment is what it was when it was read. For what goes there is a note that stays, and that the
journal vouches for like for any other row.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Final

from attrs import frozen

from payplatform._domain.archives import ArchivedEvents, ArchivedLinks
from payplatform._domain.audit import Chain
from payplatform._domain.payments import Payment
from payplatform.storage import _statements as sql
from payplatform.storage._chains import marked, marks_in
from payplatform.storage._rows import (
    ARCHIVED,
    ARCHIVED_LINKS,
    AUDIT_ENTRIES,
    EVENTS,
    Row,
    stored_time,
    unreadable,
)
from payplatform.storage._transactions import Step, Work, linked

_NUMBER: Final = EVENTS.columns.index("number")
_ID: Final = EVENTS.columns.index("id")
_LET_GO: Final = itemgetter(
    *map(EVENTS.columns.index, ("merchant_id", "subject_id", "number", "row_digest"))
)


@frozen
class Move:
    """All events of a payment that are in its file, and the archive that they are to go to."""

    payment: Payment
    rows: Sequence[Row]
    archive: int

    @property
    def event_ids(self) -> Sequence[str]:
        """Which events they are."""
        return [row[_ID] for row in self.rows]


def move_of(payment: Payment, rows: Sequence[Row], archive: int) -> Move | None:
    """The move of a payment's events; None if they are not those of this version of it.

    Args:
        payment: as it was read.
        rows: all its events that are in the file, in their order.
        archive: where to, by its number.

    Raises:
        StorageUnavailable: `storage_corrupt`: one is not what was written, or is not there.
    """
    numbers = [row[_NUMBER] for row in rows]
    if not numbers or numbers[-1] != payment.version:
        return None
    if numbers != [*range(numbers[0], payment.version + 1)] or not all(
        map(EVENTS.is_as_written, rows)
    ):
        raise unreadable(EVENTS.table, payment.id)
    return Move(payment, rows, archive)


def removal(moves: Sequence[Move]) -> Work:
    """What it takes to let go of events of one merchant, once an archive has them."""
    return linked(
        moves[0].payment.merchant_id, tuple(step for move in moves for step in _steps(move))
    )


def _steps(move: Move) -> Iterator[Step]:
    payment = move.payment
    stored = (payment.merchant_id, payment.id, payment.version)
    yield Step(sql.OF[Payment].stands, stored, f"payments {payment.id}")
    note = ARCHIVED.row_of(
        ArchivedEvents(
            merchant_id=payment.merchant_id,
            subject_id=payment.id,
            first=move.rows[0][_NUMBER],
            last=payment.version,
            archive=move.archive,
        )
    )
    yield Step(sql.NOTE_ARCHIVED, note, mark=marked(ARCHIVED, note))
    for row in move.rows:
        yield Step(sql.LET_GO, _LET_GO(row), f"events {payment.id} {row[_NUMBER]}")


# -- links -----------------------------------------------------------------------------------------

Read = Callable[[str, Row], Sequence[Row]]
"""Asks a statement of the file."""


def old_links(read: Read, merchant_id: str, chain: Chain, before: datetime) -> range:
    """The numbers of those links of a chain, from the oldest on, that are from before a time.

    A link has no time of its own: it has that of the first event, or audit entry, that it names;
    one that names none has the next one's. An event that is archived was old already.
    """
    whose, until = (merchant_id, chain), stored_time(before)
    ((oldest,),) = read(sql.OLDEST_LINK, whose)
    ((newest, _),) = read(sql.HEAD, whose) or ((0, b""),)
    if oldest is None:
        return range(0)

    def is_young(number: int) -> bool:
        for at in range(number, newest + 1):
            for *_, body, _ in read(sql.LINKS_BETWEEN, (*whose, at, at)):
                time = _time_of(read, merchant_id, body)
                if time is not None:
                    return time >= until
        return True

    numbers = range(oldest, newest + 1)
    return numbers[: bisect_left(numbers, True, key=is_young)]


def _time_of(read: Read, merchant_id: str, body: bytes) -> int | None:
    for table, place, _ in marks_in(body):
        if table == EVENTS.table:
            subject_id, _, number = place.partition(" ")
            found = read(sql.TIME_OF_EVENT, (merchant_id, subject_id, int(number)))
            return found[0][0] if found else 0
        if table == AUDIT_ENTRIES.table:
            found = read(sql.TIME_OF_AUDIT_ENTRY, (merchant_id, place))
            return found[0][0] if found else 0
    return None


def removal_of_links(rows: Sequence[Row], archive: int) -> Work:
    """What it takes to let go of links that follow each other, once an archive has them.

    Args:
        rows: merchant, chain, number, body and digest of each.
        archive: which one, by its number.
    """
    merchant_id, chain, first, *_ = rows[0]
    *_, last, _, digest = rows[-1]
    note = ARCHIVED_LINKS.row_of(
        ArchivedLinks(
            merchant_id=merchant_id,
            chain=Chain(chain),
            first=first,
            last=last,
            digest=digest,
            archive=archive,
        )
    )
    steps = [Step(sql.NOTE_ARCHIVED_LINKS, note, mark=marked(ARCHIVED_LINKS, note))]
    for *place, _, digest in rows:
        steps.append(Step(sql.LET_GO_OF_LINK, (*place, digest), f"link {chain} {place[-1]}"))
    return linked(merchant_id, tuple(steps))
