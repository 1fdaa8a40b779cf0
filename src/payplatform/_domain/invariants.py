"""What must hold of every payment, always.

Tests check it after each step, `doctor()` on live data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from payplatform._domain.decisions import open_entry
from payplatform._domain.events import Event
from payplatform._domain.ledger import Account, Posting, balances
from payplatform._domain.operations import Operation, OperationState
from payplatform._domain.payments import Facts, Payment, rebuild
from payplatform._domain.records import PaymentMethod


@frozen(kw_only=True)
class Finding:
    """A broken rule: whose, of what, which rule, and what was found, in words."""

    merchant_id: str
    record_id: str
    rule: str
    text: str


def broken_in_payment(
    payment: Payment,
    *,
    operations: Sequence[Operation],
    events: Sequence[Event],
    postings: Sequence[Posting],
) -> Iterator[Finding]:
    """Every invariant that a payment breaks, with all that was committed about it at hand."""
    problems = (
        *broken_bounds(payment),
        *_broken_history(payment.version, events),
        *_broken_facts(payment.facts, events),
        *_broken_books(payment, postings),
        *_broken_open_list(payment, operations),
    )
    return _findings(payment, problems)


def broken_in_method(
    method: PaymentMethod,
    *,
    operations: Sequence[Operation],
    events: Sequence[Event],
    is_sealed: bool,
) -> Iterator[Finding]:
    """Every invariant that a payment method breaks."""
    problems = [
        *_broken_history(method.version, events),
        *_broken_open_list(method, operations),
    ]
    if is_sealed is (method.deleted_at is not None):
        text = "it is deleted and the vault still has its card" if is_sealed else "its card is gone"
        problems.append(("vault", text))
    return _findings(method, problems)


Problem = tuple[str, str]


def _findings(record: Payment | PaymentMethod, problems: Iterable[Problem]) -> Iterator[Finding]:
    for rule, text in problems:
        yield Finding(merchant_id=record.merchant_id, record_id=record.id, rule=rule, text=text)


def broken_bounds(payment: Payment) -> Iterator[Problem]:
    """What of its amounts is out of bounds, with what is under way counted in."""
    facts = payment.facts
    if not 0 <= facts.refunded + facts.disputed <= facts.captured <= facts.authorized:
        yield "bounds", "0 <= refunded + disputed <= captured <= authorized does not hold"
    if min(facts.voided, facts.expired, facts.refunded, facts.disputed, facts.uncaptured) < 0:
        yield "bounds", "an amount is negative, or more was let go than authorized"
    if payment.capturable_minor < 0 or facts.unreturned < payment.reserved_refunds_minor:
        yield "reservations", "more is under way than there is"


def _broken_history(version: int, events: Sequence[Event]) -> Iterator[Problem]:
    numbers = [event.number for event in events]
    if numbers != list(range(1, version + 1)):
        yield "events", f"event numbers are not 1 to {version} without a gap"


def _broken_facts(facts: Facts, events: Sequence[Event]) -> Iterator[Problem]:
    if rebuild(event.change for event in events) != facts:
        yield "facts", "the events do not add up to the facts"


def _broken_books(payment: Payment, postings: Sequence[Posting]) -> Iterator[Problem]:
    per_event: Counter[tuple[int, str]] = Counter()
    per_account: Counter[Account] = Counter()
    for posting in postings:
        per_event[posting.event_number, posting.currency] += posting.amount_minor
        per_account[posting.account] += posting.amount_minor
    if any(per_event.values()):
        yield "postings", "the postings of one event do not sum to zero"
    if any(posting.currency != payment.currency for posting in postings):
        yield "postings", "a posting is in another currency than the payment"
    if {account: per_account[account] for account in Account} != balances(payment.facts):
        yield "postings", "the books do not show what the facts say"


def _broken_open_list(
    subject: Payment | PaymentMethod, operations: Sequence[Operation]
) -> Iterator[Problem]:
    open_now = {o.id: open_entry(o) for o in operations if not o.state.is_final}
    if {entry.id: entry for entry in subject.open_operations} != open_now:
        yield "operations", "its list of open operations is not what is open"
    forgotten = (o for o in operations if not o.state.is_final and o.next_try_at is None)
    if any(o.state is not OperationState.NEEDS_REVIEW for o in forgotten):
        yield "operations", "an operation is open, and nobody will ever look at it again"
