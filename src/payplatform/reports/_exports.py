"""Payments and entries as CSV, a line at a time, however many there are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from payplatform._domain.ledger import Entry
from payplatform._domain.money import Money, plain
from payplatform._domain.payments import Payment
from payplatform.client import MerchantClient
from payplatform.reports._cells import csv_lines

PAYMENT_COLUMNS = (
    *("id", "created_at", "status", "currency", "amount", "authorized", "captured", "voided"),
    *("expired", "refunded", "disputed", "fees", "brand", "last4", "card_country", "customer"),
    *("reference", "decline", "updated_at"),
)
ENTRY_COLUMNS = ("at", "subject", "event", "line", "account", "amount", "currency")


def payments_csv(
    shop: MerchantClient, *, since: datetime | None = None, until: datetime | None = None
) -> Iterator[str]:
    """A merchant's payments as CSV, newest first.

    Args:
        shop: whose.
        since: created then or later, with a time zone; by default from the first on.
        until: created before then, with a time zone; by default to the latest.

    Returns:
        A lazy iterator of lines: first the names of the columns, then a line for each payment.

    Raises:
        InvalidRequest: a time breaks its rule.
        StorageUnavailable: the store failed, while iterating.
    """
    payments = shop.payments.list(created_from=since, created_before=until)
    return csv_lines(PAYMENT_COLUMNS, map(_payment_row, payments))


def entries_csv(
    shop: MerchantClient,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    account: str | None = None,
    subject: str | None = None,
) -> Iterator[str]:
    """The lines of a merchant's books as CSV, oldest first.

    Args:
        shop: whose.
        since: posted then or later, with a time zone.
        until: posted before then, with a time zone.
        account: in this account.
        subject: of this payment, payout or settlement report.

    Returns:
        A lazy iterator of lines: first the names of the columns, then each line of the books.

    Raises:
        InvalidRequest: an argument breaks its rule.
        StorageUnavailable: the store failed, while iterating.
    """
    entries = shop.ledger.entries(since=since, until=until, account=account, subject=subject)
    return csv_lines(ENTRY_COLUMNS, (row for entry in entries for row in _entry_rows(entry)))


def _payment_row(payment: Payment) -> tuple[object, ...]:
    return (
        payment.id,
        moment(payment.created_at),
        payment.status,
        payment.currency,
        plain(payment.amount),
        plain(payment.authorized),
        plain(payment.captured),
        plain(payment.voided),
        plain(payment.expired),
        plain(payment.refunded),
        plain(payment.disputed),
        plain(payment.fees),
        payment.brand,
        payment.last4,
        payment.card_country,
        payment.customer_id,
        payment.reference,
        None if payment.decline is None else payment.decline.code,
        moment(payment.updated_at),
    )


def _entry_rows(entry: Entry) -> Iterator[tuple[object, ...]]:
    for line in entry.lines:
        amount = plain(Money.minor(line.amount_minor, line.currency))
        where = (moment(line.at), line.subject_id, line.event_number, line.line)
        yield (*where, line.account, amount, line.currency)


def moment(at: datetime) -> str:
    """A time, ISO 8601 in UTC."""
    return at.astimezone(UTC).isoformat()
