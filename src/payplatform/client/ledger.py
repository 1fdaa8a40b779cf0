"""`shop.ledger`: what every account shows, at any time, and the entries that it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from payplatform._domain.ledger import Account, Entry, entries_of
from payplatform._domain.money import Money, currency_code
from payplatform._domain.statements import Month, Statement, statement
from payplatform._domain.text import clean_id, one_of
from payplatform._engine.pages import all_lines
from payplatform.client._room import Room, a_time
from payplatform.ports import LineFilter

_SUBJECTS: Final = ("pay", "po", "stl")
_MOMENT: Final = timedelta(microseconds=1)
"""The finest step of a time in the books."""


class Ledger(Room):
    """The merchant's books. They are read here and written by what happens, never by hand.

    Amounts are signed: debit positive, credit negative.
    """

    def balance(
        self, *, account: Account | str, currency: str, at: datetime | None = None
    ) -> Money:
        """What one account shows.

        Args:
            account: one of `Account`.
            currency: an ISO 4217 code.
            at: as it was then, with a time zone, that moment counting; now by default.

        Returns:
            The sum of its lines; zero where it has none.

        Raises:
            InvalidRequest: an argument breaks its rule.
            StorageUnavailable: the store failed.
        """
        currency, account = currency_code(currency), one_of(Account, account, field="account")
        totals = self._engine.storage.totals(self._merchant_id, at=a_time(at, field="at"))
        return Money.minor(totals.get((currency, account), 0), currency)

    def trial_balance(self, *, at: datetime | None = None) -> dict[str, dict[Account, Money]]:
        """What all accounts show.

        Args:
            at: as it was then, with a time zone, that moment counting; now by default.

        Returns:
            For each currency in the books, every account; those of a currency sum to zero.

        Raises:
            InvalidRequest: the time breaks its rule.
            StorageUnavailable: the store failed.
        """
        totals = self._engine.storage.totals(self._merchant_id, at=a_time(at, field="at"))
        return {
            currency: {a: Money.minor(totals.get((currency, a), 0), currency) for a in Account}
            for currency in sorted({currency for currency, _ in totals})
        }

    def entries(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        account: Account | str | None = None,
        subject: str | None = None,
    ) -> Iterator[Entry]:
        """Entries that match all that is given, oldest first, read page by page as you go.

        Args:
            since: with a time zone; this moment counts.
            until: with a time zone; this moment does not count.
            account: one of `Account`; then of each entry its lines in that account.
            subject: `pay_...`, `po_...` or `stl_...`.

        Returns:
            A lazy iterator; what is posted meanwhile does not disturb it.

        Raises:
            InvalidRequest: an argument breaks its rule.
            StorageUnavailable: the store failed, while iterating.
        """
        where = LineFilter(
            account=None if account is None else one_of(Account, account, field="account"),
            subject_id=None if subject is None else _a_subject(subject),
            since=a_time(since, field="since"),
            until=a_time(until, field="until"),
        )
        return entries_of(all_lines(self._engine.storage, self._merchant_id, where))

    def statement(self, *, month: str) -> Statement:
        """What happened in a month, and what is left at its end.

        Args:
            month: such as "2030-01"; months begin and end in UTC.

        Returns:
            The statement; for a month that is not over, as far as it goes.

        Raises:
            InvalidRequest: that is no month.
            StorageUnavailable: the store failed.
        """
        when = Month.of(month)
        return statement(
            merchant_id=self._merchant_id,
            merchant_name=self._engine.registry.merchant(self._merchant_id).name,
            month=when,
            opening=self.trial_balance(at=when.since - _MOMENT),
            entries=self.entries(since=when.since, until=when.until),
        )


def _a_subject(value: str) -> str:
    kind = value.partition("_")[0] if isinstance(value, str) else ""
    return clean_id(value, prefix=kind if kind in _SUBJECTS else "pay", field="subject")
