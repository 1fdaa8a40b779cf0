"""A payment's events on their way out of a file: what is copied, and how it is let go of.

Law of this file: an event goes only if the payment is what it was when it was read, and only if it
is, to the byte, what was copied. With it goes a note that stays, and that the journal vouches for
like for any other row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Final

from attrs import frozen

from payplatform._domain.archives import ArchivedEvents
from payplatform._domain.payments import Payment
from payplatform.storage import _statements as sql
from payplatform.storage._chains import marked
from payplatform.storage._rows import ARCHIVED, EVENTS, Row, unreadable
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
