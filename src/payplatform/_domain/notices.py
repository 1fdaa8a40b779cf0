"""What the bank has told of its own accord, as it is kept: never lost, and never heeded twice.

Law of this file: a notice is known by its merchant, its bank and the bank's own id of it, and its
id here follows from these. So what comes again is found, and what comes under the same id with
other content is told from it: it is kept beside it and never heeded.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from attrs import evolve, frozen

from payplatform._domain.messages import BankNotice
from payplatform._domain.text import derived_id, looks_like_card_number


class NoticeState(StrEnum):
    """What became of a notice.

    `waiting`: it is about what is not here, or what has to end first, or is told by another notice;
    it is looked at again. `applied`: what it tells is so here. `refused`: it can be about nothing
    here, and a person has to look. `discrepancy`: an earlier one of that id says something else.
    """

    WAITING = "waiting"
    APPLIED = "applied"
    REFUSED = "refused"
    DISCREPANCY = "discrepancy"


@frozen(kw_only=True)
class Notice:
    """One notice of the bank.

    Attributes:
        id: `ntc_...`, from the bank and its own id.
        bank: the name that the bank declares.
        operation_id: the operation that it is about, which need not be here.
        told: what it tells.
        reason: the code of the error that kept it from being applied, or what it differs from.
        next_try_at: when it is looked at again; None where it is not.
        attempts: how often it was looked at.
    """

    id: str
    merchant_id: str
    version: int
    bank: str
    operation_id: str
    told: BankNotice
    state: NoticeState
    reason: str | None = None
    next_try_at: datetime | None = None
    attempts: int = 0
    created_at: datetime
    updated_at: datetime


def new_notice(told: BankNotice, *, bank: str, now: datetime, again_at: datetime) -> Notice:
    """A notice that has come for the first time, to be looked at again if nobody gets that far."""
    return Notice(
        id=notice_id(bank, told.id),
        merchant_id=told.merchant_id,
        version=1,
        bank=bank,
        operation_id=told.reply.operation_id,
        told=_fit_to_keep(told),
        state=NoticeState.WAITING,
        next_try_at=again_at,
        created_at=now,
        updated_at=now,
    )


def discrepancy(notice: Notice, first: Notice, place: str) -> Notice:
    """A notice that says something else than the first of its id, as it is kept.

    Args:
        notice: as it came.
        first: the one that counts.
        place: the id that it is kept under.
    """
    return evolve(
        notice,
        id=place,
        state=NoticeState.DISCREPANCY,
        reason=first.id,
        next_try_at=None,
    )


def after_a_look(
    notice: Notice,
    state: NoticeState,
    now: datetime,
    *,
    reason: str | None = None,
    again_in: timedelta | None = None,
) -> Notice:
    """The notice once it was looked at.

    Args:
        notice: as stored.
        state: what became of it.
        now: the time.
        reason: what kept it from being applied.
        again_in: when it is looked at again, from now; None where it is not.
    """
    return evolve(
        notice,
        version=notice.version + 1,
        state=state,
        reason=reason,
        next_try_at=None if again_in is None else now + again_in,
        attempts=notice.attempts + 1,
        updated_at=now,
    )


def _fit_to_keep(told: BankNotice) -> BankNotice:
    """What is kept of an id that looks like a card number: what it is known by here."""
    if not looks_like_card_number(told.id):
        return told
    return evolve(told, id=notice_id("", told.id))


def notice_id(bank: str, told_id: str, variant: int = 0) -> str:
    """The id of a notice: in the form of every id, and the same for the same notice.

    Args:
        bank: the name that it declares.
        told_id: the bank's own id of the notice.
        variant: which content under that id; 0 for the first.
    """
    return derived_id("ntc", f"payplatform/notice/v1/{len(bank)}/{bank}/{variant}/{told_id}")
