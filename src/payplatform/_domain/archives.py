"""Which payments are at rest, so that what happened to them may lie in an archive; and what does.

Law of this file: a payment at rest is one that nothing here will touch on its own account: nothing
is under way, held, waited for, or disputed. What a person or the bank asks of it later is done as
ever, and told by new events.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from payplatform._domain.audit import Chain
from payplatform._domain.disputes import HOLDINGS, Dispute
from payplatform._domain.notices import Notice, NoticeState
from payplatform._domain.payments import Payment


@frozen(kw_only=True)
class ArchivedEvents:
    """Some of a subject's events that have left for an archive. Kept where they were.

    Attributes:
        first: the number of the first of them.
        last: the number of the last of them; all between the two have left, too.
        archive: the archive that has them, by the number that it has here.
    """

    merchant_id: str
    subject_id: str
    first: int
    last: int
    archive: int


@frozen(kw_only=True)
class ArchivedLinks:
    """Some of a chain's links that have left for an archive. Kept where they were.

    Attributes:
        first: the number of the first of them.
        last: the number of the last of them; all between the two have left, too.
        digest: of the last of them, which the next one follows.
        archive: the archive that has them, by the number that it has here.
    """

    merchant_id: str
    chain: Chain
    first: int
    last: int
    digest: bytes
    archive: int


@frozen(kw_only=True)
class ArchiveReport:
    """What was moved to an archive, and what was old enough and stays.

    Attributes:
        payments: how many payments had events moved.
        events: how many events were moved.
        links: how many links of the chains were moved.
        unpublished: how many payments stay because one of their events was not passed on yet.
        at_work: how many payments stay because something is under way, held or disputed.
    """

    payments: int = 0
    events: int = 0
    links: int = 0
    unpublished: int = 0
    at_work: int = 0


def is_at_rest(payment: Payment, disputes: Iterable[Dispute], notices: Iterable[Notice]) -> bool:
    """Whether nothing is to come of a payment but what somebody asks for.

    Args:
        payment: as stored.
        disputes: all of it.
        notices: all that the bank has told of its operations.
    """
    return not (
        payment.open_operations
        or payment.facts.uncaptured
        or any(_is_under_way(dispute) for dispute in disputes)
        or any(notice.state is NoticeState.WAITING for notice in notices)
    )


def _is_under_way(dispute: Dispute) -> bool:
    holding = HOLDINGS[dispute.state]
    return holding.held is not holding.lost or dispute.next_look_at is not None
