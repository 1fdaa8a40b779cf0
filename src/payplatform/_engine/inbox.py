"""What the bank sends of its own accord: kept first, then heeded, and looked at again until it is.

A notice is stored before anything is made of it, so that none is lost with the process that took
it. To heed one twice does no harm, so a death between the two is mended by the next look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta

from attrs import evolve

from payplatform._domain.changes import Changes
from payplatform._domain.messages import BankNotice
from payplatform._domain.notices import (
    Notice,
    NoticeState,
    after_a_look,
    discrepancy,
    new_notice,
    notice_id,
)
from payplatform._domain.replies import without_card_numbers
from payplatform._engine.exchange import TRIES, Exchange
from payplatform._engine.notices import Notices
from payplatform._engine.pages import all_records
from payplatform.errors import (
    CommitUncertain,
    Conflict,
    ErrorCode,
    InvalidRequest,
    NotAllowed,
    NotFound,
    PayPlatformError,
    StorageUnavailable,
)
from payplatform.ports import Filter


class Inbox:
    """Keeps the bank's notices."""

    def __init__(self, exchange: Exchange, notices: Notices) -> None:
        self._exchange = exchange
        self._storage = exchange.storage
        self._notices = notices

    def read(self, raw: bytes, headers: Mapping[str, str]) -> BankNotice:
        """What a message tells, once it is proved to be the bank's.

        Raises:
            NotAllowed: the bank signs no notices.
            NotAuthentic: it is not proved to be the bank's.
            InvalidRequest: it tells nothing that is known.
        """
        bank = self._exchange.bank
        if not bank.capabilities.signed_notices:
            raise NotAllowed("this bank signs no notices", code=ErrorCode.NOT_SUPPORTED_BY_BANK)
        try:
            return bank.read_notice(raw, headers)
        except PayPlatformError:
            raise
        except Exception as error:  # noqa: BLE001  # its text may hold what came
            ended_in = type(error).__name__
        raise InvalidRequest(
            f"the bank's adapter cannot read it: it ended in {ended_in}",
            code=ErrorCode.NOTICE_MALFORMED,
            field="raw",
        )

    def take(self, told: BankNotice) -> Notice:
        """Keep a notice, and heed it if it is news.

        Args:
            told: as the bank's adapter has read it, and known to be the bank's.

        Returns:
            It as it is kept now. One that says something else than the first of its id is kept too,
            and not heeded.

        Raises:
            StorageUnavailable: the store failed: have it delivered again.
        """
        reply, _ = without_card_numbers(told.reply)
        notice = self._kept(evolve(told, reply=reply))
        return self._looked_at(notice) if notice.state is NoticeState.WAITING else notice

    def look(self, *, limit: int) -> int:
        """Look again at what waits and is due: at most `limit`. How many were applied."""
        due = self._storage.due_notices(self._exchange.now(), limit=limit)
        looked_at = [self._looked_at(notice) for notice in due]
        return sum(notice.state is NoticeState.APPLIED for notice in looked_at)

    def get(self, merchant_id: str, notice_id_: str) -> Notice:
        """The notice.

        Raises:
            NotFound: the merchant has none of that id.
        """
        notice = self._storage.get(merchant_id, Notice, notice_id_)
        if notice is None:
            raise NotFound("no such notice", field="notice_id")
        return notice

    def list(self, merchant_id: str, where: Filter) -> Iterator[Notice]:
        """The notices that match, in no order of time: their ids are the bank's."""
        return all_records(self._storage, merchant_id, Notice, where)

    def _kept(self, told: BankNotice) -> Notice:
        """The notice of that id and content, stored now or before."""
        for _ in range(TRIES):
            wanted = self._wanted(told)
            stored = self._storage.get(told.merchant_id, Notice, wanted.id)
            if stored is not None:
                return stored
            with suppress(Conflict, CommitUncertain):
                self._storage.commit(_written(wanted))
        raise Conflict("others kept changing the same notice; have it delivered again")

    def _wanted(self, told: BankNotice) -> Notice:
        """How a notice is to be kept: as the first of its id, or as another that differs from it.

        Where its content is there already, its place is that one.
        """
        world = self._exchange.world()
        bank = self._exchange.bank.capabilities.name
        notice = new_notice(told, bank=bank, now=world.now, again_at=world.now + world.lease)
        place, variant = notice.id, 0
        first = stored = self._storage.get(told.merchant_id, Notice, place)
        while stored is not None and stored.told != notice.told:
            variant += 1
            place = notice_id(bank, told.id, variant)
            stored = self._storage.get(told.merchant_id, Notice, place)
        return notice if first is None or not variant else discrepancy(notice, first, place)

    def _looked_at(self, notice: Notice) -> Notice:
        """The notice once it was heeded, or has to wait."""
        after = self._heeded(notice)
        with suppress(Conflict, CommitUncertain):
            self._storage.commit(_written(after))
            return after
        # Somebody else has looked at it too: what is stored counts.
        return self.get(notice.merchant_id, notice.id)

    def _heeded(self, notice: Notice) -> Notice:
        now = self._exchange.now()
        try:
            heard = self._notices.apply(notice.told)
        except InvalidRequest as error:
            return after_a_look(notice, NoticeState.REFUSED, now, reason=error.code)
        except (NotFound, Conflict) as error:
            reason = error.code
        except StorageUnavailable as error:
            # Somebody has to bring the archive back; what else is due must not wait for that.
            if error.code is not ErrorCode.EVENTS_ARCHIVED:
                raise
            reason = error.code
        else:
            if heard.is_followed:
                return after_a_look(notice, NoticeState.APPLIED, now)
            reason = ErrorCode.CONTRADICTS_BOOKS
        wait = self._wait(notice)
        return after_a_look(notice, NoticeState.WAITING, now, reason=reason, again_in=wait)

    def _wait(self, notice: Notice) -> timedelta:
        """How long until it is looked at again: as long as recovery waits, and never for good."""
        waits = self._exchange.settings.recovery_schedule_s
        return timedelta(seconds=waits[min(notice.attempts, len(waits) - 1)])


def _written(notice: Notice) -> Changes:
    return Changes(merchant_id=notice.merchant_id, records=(notice,))
