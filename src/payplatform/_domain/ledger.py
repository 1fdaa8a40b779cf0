"""Double entry: what each change of the facts means for the books.

A posting is a signed amount in minor units, debit positive and credit negative, so the lines of one
change sum to zero in its currency. The rules are one table: each fact that grows by an amount moves
that amount from the credited to the debited account, and back when it shrinks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import NamedTuple

from attrs import frozen

from payplatform._domain.events import Event
from payplatform._domain.payments import Facts


class Account(StrEnum):
    """The chart of accounts.

    The first two are memoranda: promises, not money. They show what issuers hold for the merchant.
    The others are the merchant's books as the platform keeps them: what the acquirer owes and what
    has come in on one side, whose it is on the other.
    """

    ISSUER_HOLDS = "issuer_holds"
    UNCAPTURED = "uncaptured"
    ACQUIRER_RECEIVABLE = "acquirer_receivable"
    MERCHANT_BALANCE = "merchant_balance"
    FEES = "fees"
    ACQUIRER_FEES = "acquirer_fees"
    DISPUTES_HELD = "disputes_held"
    RESERVES = "reserves"
    BANK_CASH = "bank_cash"
    SUSPENSE = "suspense"


@frozen(kw_only=True)
class Posting:
    """One line in the books, bound to the event that made it. Never changed, never removed.

    The lines of one event are an entry.

    Attributes:
        subject_id: the payment, payout or settlement report whose event it was.
    """

    merchant_id: str
    subject_id: str
    event_number: int
    line: int
    account: Account
    amount_minor: int
    currency: str
    at: datetime

    @property
    def place(self) -> PlaceInBooks:
        """Where it stands among all lines of its merchant, which are in the order of time."""
        return PlaceInBooks(self.at, self.subject_id, self.event_number, self.line)


class PlaceInBooks(NamedTuple):
    """What lines are ordered by; no two lines of a merchant have the same."""

    at: datetime
    subject_id: str
    event_number: int
    line: int


@frozen(kw_only=True)
class Entry:
    """What one event did to the books.

    Attributes:
        subject_id: the payment, payout or settlement report whose event it was.
        event_number: the event's number among those of its subject.
        lines: all of them sum to zero; of an entry that was asked for by account, those of that
            account.
    """

    subject_id: str
    event_number: int
    at: datetime
    currency: str
    lines: tuple[Posting, ...]


RULES: tuple[tuple[str, Account, Account], ...] = (
    # fact, debited when it grows, credited when it grows
    ("authorized", Account.ISSUER_HOLDS, Account.UNCAPTURED),
    ("captured", Account.UNCAPTURED, Account.ISSUER_HOLDS),
    ("captured", Account.ACQUIRER_RECEIVABLE, Account.MERCHANT_BALANCE),
    ("voided", Account.UNCAPTURED, Account.ISSUER_HOLDS),
    ("expired", Account.UNCAPTURED, Account.ISSUER_HOLDS),
    ("refunded", Account.MERCHANT_BALANCE, Account.ACQUIRER_RECEIVABLE),
    ("disputed", Account.DISPUTES_HELD, Account.ACQUIRER_RECEIVABLE),
    ("dispute_lost", Account.MERCHANT_BALANCE, Account.DISPUTES_HELD),
    ("fees", Account.MERCHANT_BALANCE, Account.FEES),
    ("settled", Account.BANK_CASH, Account.ACQUIRER_RECEIVABLE),
    ("acquirer_fees", Account.ACQUIRER_FEES, Account.BANK_CASH),
    ("reserved", Account.MERCHANT_BALANCE, Account.RESERVES),
    ("paid_out", Account.RESERVES, Account.BANK_CASH),
    ("suspended", Account.BANK_CASH, Account.SUSPENSE),
)


def postings_of(event: Event, currency: str) -> tuple[Posting, ...]:
    """The lines that an event's change adds to the books; none when no fact changed."""
    lines = enumerate(_lines(event.change), start=1)
    return tuple(
        Posting(
            merchant_id=event.merchant_id,
            subject_id=event.subject_id,
            event_number=event.number,
            line=line,
            account=account,
            amount_minor=amount_minor,
            currency=currency,
            at=event.at,
        )
        for line, (account, amount_minor) in lines
    )


def own_postings(event: Event) -> tuple[Posting, ...]:
    """The lines of an event whose amount says which currency its change is in; else none."""
    return () if event.amount is None else postings_of(event, event.amount.currency)


def movements(entry: Entry) -> Iterator[tuple[str, int]]:
    """The facts that a whole entry says have grown, each with by how much; memoranda left out.

    Lines come in pairs, debited first, as the rules have them: a pair of accounts tells the fact.
    """
    for debited, credited in zip(entry.lines[::2], entry.lines[1::2], strict=True):
        fact = _MONEY_FACTS.get((debited.account, credited.account))
        if fact is not None:
            yield fact, debited.amount_minor


_MEMORANDA = frozenset({Account.ISSUER_HOLDS, Account.UNCAPTURED})
_MONEY_FACTS = {
    (debited, credited): fact for fact, debited, credited in RULES if debited not in _MEMORANDA
}


def balances(facts: Facts) -> dict[Account, int]:
    """What the accounts must show for these facts, in minor units."""
    totals: Counter[Account] = Counter()
    for account, amount_minor in _lines(facts):
        totals[account] += amount_minor
    return {account: totals[account] for account in Account}


def payable_minor(balances: Mapping[Account, int]) -> int:
    """What of a merchant's balance may be paid out, in minor units; less than nothing if it owes.

    Never more than what it has earned, nor more of it than the acquirer has settled. What the
    acquirer is still to take back for refunds and disputes is off already.

    Args:
        balances: what the accounts show in one currency; one that has no line may be missing.
    """
    earned = -balances.get(Account.MERCHANT_BALANCE, 0) - balances.get(Account.DISPUTES_HELD, 0)
    return earned - max(0, balances.get(Account.ACQUIRER_RECEIVABLE, 0))


def entries_of(lines: Iterable[Posting]) -> Iterator[Entry]:
    """The entries that lines belong to, in their order; those of one entry have to be together."""
    for _, group in groupby(lines, key=lambda line: line.place[:3]):
        together = tuple(group)
        first = together[0]
        yield Entry(
            subject_id=first.subject_id,
            event_number=first.event_number,
            at=first.at,
            currency=first.currency,
            lines=together,
        )


def _lines(change: Facts) -> Iterable[tuple[Account, int]]:
    for fact, debited, credited in RULES:
        amount_minor: int = getattr(change, fact)
        if amount_minor:
            yield debited, amount_minor
            yield credited, -amount_minor
