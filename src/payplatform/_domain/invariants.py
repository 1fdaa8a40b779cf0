"""What must hold of all that is stored, always, and what may have been at work where it does not.

Tests check it after each step, `doctor()` on live data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from attrs import field, fields_dict, frozen

from payplatform._domain.changes import Record, Subject
from payplatform._domain.decisions import open_entry
from payplatform._domain.disputes import HOLDINGS, Dispute
from payplatform._domain.events import EVENT_TYPES, Event
from payplatform._domain.ledger import Posting, own_postings, postings_of
from payplatform._domain.operations import (
    ANSWERED_STATES,
    STARTING_KINDS,
    Operation,
    OperationKind,
    OperationState,
)
from payplatform._domain.payments import Facts, Payment, rebuild
from payplatform._domain.payouts import Payout, PayoutPlan
from payplatform._domain.records import (
    Customer,
    KeyPurpose,
    Merchant,
    PaymentMethod,
    WrappedKey,
)
from payplatform._domain.settlements import Settlement

CAUSES: Mapping[str, str] = MappingProxyType(
    {
        "bounds": "No operation leads there: the amounts were changed by hand, or by another "
        "program.",
        "reservations": "Two operations were let in for the same money: a writer without the "
        "version guard, or a list that was changed by hand.",
        "events": "A commit that was not whole: was the file edited by hand, or restored page by "
        "page? One number twice: a writer without the version guard.",
        "facts": "The amounts, or an event, were changed after they had been written together.",
        "postings": "Lines follow from events and are only added: one was changed, added or taken "
        "away by hand, or by another program.",
        "operations": "An operation, its payment and its event are written together: one of them "
        "was changed, or restored from another time, without the others.",
        "operation": "The state machine does not lead there: the row was changed by hand, or by "
        "another program.",
        "disputes": "A dispute, its payment and its event are written together: one of them was "
        "changed, or restored from another time, without the others.",
        "receipts": "An outcome and its receipt are written together: one of them was changed, or "
        "restored from another time. A repeat of the call would be told something untrue.",
        "keys": "The unique index on keys is damaged or was taken down. A repeat may have reached "
        "the bank as a second operation: look for both in its statement.",
        "references": "What it belongs to was removed by hand, or the file was put together from "
        "two.",
        "vault": "A card is stored and deleted together with its record: one of them was removed, "
        "or restored, without the other.",
        "stored_form": "A column that is computed from the others, or their digest, does not agree "
        "with them: the row was changed by hand, or by another program.",
        "chain": "What was committed is linked, and this is not what was: it was changed, added or "
        "taken away by hand, or restored from another time, or the disk has damaged it.",
        "unreadable": "The row was changed by hand, was written by a newer release, or the disk "
        "has damaged it.",
        "store": "The file is damaged: a disk that fails, or a copy made with `cp` while it was "
        "in use. Keep it as it is, and restore a backup.",
    }
)
"""Every rule, and what may have been at work where it is broken."""


@frozen(kw_only=True)
class Finding:
    """A broken rule: whose, of what, in which row, which rule, and what was found, in words.

    Attributes:
        record_id: the payment, payment method, customer or merchant that it is about; where that
            is not known, what the row itself is called. Empty for the file as a whole.
        row: the kind of row and which one: `event 2`, `posting 2.1`, `operation op_...`.
        rule: one of `CAUSES`.
    """

    merchant_id: str
    record_id: str
    row: str
    rule: str
    text: str

    @property
    def cause(self) -> str:
        """What may have been at work, and where to look."""
        return CAUSES[self.rule]


@frozen
class _Problem:
    """A finding before it is known of which record. Without a row, it is the record itself."""

    rule: str
    text: str
    row: str | None = field(default=None, kw_only=True)


def broken_in_payment(
    payment: Payment,
    *,
    operations: Sequence[Operation],
    events: Sequence[Event],
    postings: Sequence[Posting],
    disputes: Sequence[Dispute],
) -> Iterator[Finding]:
    """Every invariant that a payment breaks, with all that was committed about it at hand."""
    problems = (
        *broken_bounds(payment),
        *_broken_history(payment.version, events),
        *_broken_facts(payment.facts, events),
        *_broken_books((postings_of(event, payment.currency) for event in events), postings),
        *_broken_open_list(payment, operations),
        *_broken_outcomes(operations, events),
        *_broken_targets(payment, operations),
        *_broken_disputes(payment, operations, disputes),
    )
    return _findings(payment, problems)


def broken_in_settlement(
    settlement: Settlement, *, events: Sequence[Event], postings: Sequence[Posting]
) -> Iterator[Finding]:
    """Every invariant that a settlement report breaks, as it is kept."""
    problems = (
        *_broken_history(settlement.latest_event, events),
        *_broken_books(map(own_postings, events), postings),
    )
    return _findings(settlement, problems)


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
        *_broken_outcomes(operations, events),
    ]
    if is_sealed is (method.deleted_at is not None):
        text = "it is deleted and the vault still has its card" if is_sealed else "its card is gone"
        problems.append(_Problem("vault", text))
    return _findings(method, problems)


def broken_in_payout(
    payout: Payout,
    *,
    operations: Sequence[Operation],
    events: Sequence[Event],
    postings: Sequence[Posting],
) -> Iterator[Finding]:
    """Every invariant that a payout breaks."""
    problems = (
        *_broken_history(payout.version, events),
        *_broken_facts(payout.facts, events),
        *_broken_books((postings_of(event, payout.amount.currency) for event in events), postings),
        *_broken_open_list(payout, operations),
        *_broken_outcomes(operations, events),
    )
    return _findings(payout, problems)


def broken_in_operation(
    operation: Operation,
    subject: Subject,
    *,
    events: Sequence[Event],
    receipt: Subject | None,
    claimant: Operation | None,
) -> Iterator[Finding]:
    """Every invariant that an operation breaks.

    Args:
        operation: as stored.
        subject: its payment or payment method.
        events: the subject's.
        receipt: what its caller was told, if anything.
        claimant: the operation that its idempotency key leads to.
    """
    problems = [
        *_broken_operation(operation, subject),
        *_broken_receipt(operation, events, receipt),
    ]
    if claimant is None or claimant.id != operation.id:
        leads = "nothing" if claimant is None else f"operation {claimant.id}"
        problems.append(_Problem("keys", f"its idempotency key leads to {leads}"))
    return _findings(subject, problems, row=row_of(Operation, operation.id))


def broken_in_merchant(merchant: Merchant, keys: Sequence[WrappedKey]) -> Iterator[Finding]:
    """Every invariant that a merchant breaks: it has keys for its cards until it is erased."""
    wanted = set() if merchant.erased_at else set(KeyPurpose)
    if {key.purpose for key in keys} != wanted:
        text = "it is erased and has keys" if merchant.erased_at else "it lacks a key for its cards"
        yield from _findings(merchant, [_Problem("vault", text)])


def broken_in_customer(customer: Customer, default: PaymentMethod | None) -> Iterator[Finding]:
    """Every invariant that a customer breaks, with the payment method that is named as default."""
    named = customer.default_payment_method_id
    is_theirs = default is not None and default.customer_id == customer.id
    if named is not None and (default is None or default.deleted_at or not is_theirs):
        what = "not there" if default is None else "deleted" if is_theirs else "somebody else's"
        text = f"its default payment method {named} is {what}"
        yield from _findings(customer, [_Problem("references", text)])


def dangling(record: Record, fields: Iterable[str]) -> Iterator[Finding]:
    """What to say of a record's fields that name another record which is not there."""
    text = "{0} is {1}, which is not there"
    problems = (_Problem("references", text.format(f, getattr(record, f))) for f in fields)
    return _findings(record, problems)


def row_of(kind: type, record_id: str) -> str:
    """How findings call a row that is a record."""
    return f"{_WORDS[kind]} {record_id}"


_WORDS: Mapping[type, str] = MappingProxyType(
    {
        Merchant: "merchant",
        Customer: "customer",
        PaymentMethod: "payment method",
        Payment: "payment",
        Payout: "payout",
        PayoutPlan: "payout plan",
        Operation: "operation",
        Settlement: "settlement",
        Dispute: "dispute",
    }
)


def _findings(
    record: Record, problems: Iterable[_Problem], *, row: str | None = None
) -> Iterator[Finding]:
    """Findings about a record; in `row`, or in the record itself, where a problem names no row."""
    for problem in problems:
        yield Finding(
            merchant_id=record.merchant_id,
            record_id=record.id,
            row=problem.row or row or row_of(type(record), record.id),
            rule=problem.rule,
            text=problem.text,
        )


def has_room(subject: Subject) -> bool:
    """Whether what was booked last fits beside everything else, with what is under way counted."""
    return not isinstance(subject, Payment) or not any(broken_bounds(subject))


def broken_bounds(payment: Payment) -> Iterator[_Problem]:
    """What of its amounts is out of bounds, with what is under way counted in."""
    facts = payment.facts
    if not 0 <= facts.refunded + facts.disputed <= facts.captured <= facts.authorized:
        text = "0 <= refunded + disputed <= captured <= authorized does not hold"
        yield _Problem("bounds", text)
    never_negative = (facts.voided, facts.expired, facts.refunded, facts.disputed, facts.fees)
    if min(*never_negative, facts.uncaptured) < 0:
        text = "an amount is negative, or more was let go than authorized"
        yield _Problem("bounds", text)
    if not 0 <= facts.dispute_lost <= facts.disputed:
        yield _Problem("bounds", "0 <= dispute_lost <= disputed does not hold")
    if facts.reserved or facts.paid_out or facts.suspended:
        yield _Problem("bounds", "it has an amount that is no payment's")
    is_overdrawn = facts.uncaptured < payment.reserved_uncaptured_minor
    if is_overdrawn or facts.unreturned < payment.reserved_refunds_minor:
        yield _Problem("reservations", "more is under way than there is")


def _broken_history(version: int, events: Sequence[Event]) -> Iterator[_Problem]:
    """Numbers are 1 to the version without a gap, and of each type it is known what it says."""
    following = 1
    for event in sorted(events, key=lambda event: event.number):
        row = f"event {event.number}"
        if event.number > following:
            yield _missing(following, event.number - 1)
        elif event.number < following:
            yield _Problem("events", "there are two with this number", row=row)
        if event.number > version:
            yield _Problem("events", f"it is later than its record, version {version}", row=row)
        if event.type not in EVENT_TYPES:
            yield _Problem("events", "its type is none that this release knows", row=row)
        following = max(following, event.number + 1)
    if following <= version:
        yield _missing(following, version)


def _missing(first: int, last: int) -> _Problem:
    row = f"event {first}" if first == last else f"events {first} to {last}"
    return _Problem("events", "missing: numbers have no gap", row=row)


def _broken_facts(facts: Facts, events: Sequence[Event]) -> Iterator[_Problem]:
    told = rebuild(event.change for event in events)
    for name in fields_dict(Facts):
        stored, sum_ = getattr(facts, name), getattr(told, name)
        if stored != sum_:
            yield _Problem("facts", f"{name} is {stored}, and the events add up to {sum_}")


def _broken_books(
    entries: Iterable[tuple[Posting, ...]], postings: Sequence[Posting]
) -> Iterator[_Problem]:
    """The lines are those that the events make, to the cent. So each event's sum to zero."""
    made = {_place(line): line for entry in entries for line in entry}
    there = {_place(posting): posting for posting in postings}
    for number, line in sorted(made.keys() | there.keys()):
        wanted, found = made.get((number, line)), there.get((number, line))
        row = f"posting {number}.{line}"
        if wanted is None:
            yield _Problem("postings", "it follows from no event", row=row)
        elif found is None:
            yield _Problem("postings", f"missing: its event makes it {_in_words(wanted)}", row=row)
        elif found != wanted:
            text = f"it is {_in_words(found)}, and its event makes it {_in_words(wanted)}"
            yield _Problem("postings", text, row=row)


def _place(posting: Posting) -> tuple[int, int]:
    return posting.event_number, posting.line


def _in_words(posting: Posting) -> str:
    return f"{posting.account} {posting.amount_minor:+d} {posting.currency} at {posting.at}"


def _broken_open_list(subject: Subject, operations: Sequence[Operation]) -> Iterator[_Problem]:
    listed = {entry.id: entry for entry in subject.open_operations}
    open_now = {o.id: open_entry(o) for o in operations if not o.state.is_final}
    for operation_id in sorted(listed.keys() | open_now.keys()):
        if listed.get(operation_id) != open_now.get(operation_id):
            text = "the list of what is open, of what it is about, does not show it as it is"
            yield _Problem("operations", text, row=row_of(Operation, operation_id))
    for operation in operations:
        waits = operation.state.is_final or operation.state is OperationState.NEEDS_REVIEW
        if not waits and operation.next_try_at is None:
            text = "it is open, and nobody will ever look at it again"
            yield _Problem("operations", text, row=row_of(Operation, operation.id))


def _broken_outcomes(
    operations: Sequence[Operation], events: Sequence[Event]
) -> Iterator[_Problem]:
    """An operation is where the last event about it says, or where the resumption of it led."""
    said: dict[str, OperationState] = {}
    known = {operation.id for operation in operations}
    for event in events:
        if event.operation_id is None or event.state is None:
            continue
        said[event.operation_id] = event.state
        if event.operation_id not in known:
            text = f"it is about operation {event.operation_id}, which is not there"
            yield _Problem("operations", text, row=f"event {event.number}")
    resumed = {(o.target_id, o.state) for o in operations if o.kind is OperationKind.RESUME}
    for operation in operations:
        last = said.get(operation.id)
        waited = last is OperationState.REQUIRES_ACTION
        if operation.state is last or (waited and (operation.id, operation.state) in resumed):
            continue
        text = f"it is {operation.state}, and the last event about it says {last or 'nothing'}"
        yield _Problem("operations", text, row=row_of(Operation, operation.id))


def _broken_targets(payment: Payment, operations: Sequence[Operation]) -> Iterator[_Problem]:
    known = {operation.id: operation for operation in operations}
    for name in ("latest_operation_id", "authorization_id"):
        operation_id = getattr(payment, name)
        if operation_id is not None and operation_id not in known:
            yield _Problem("references", f"{name} is {operation_id}, which is not there")
    for operation in operations:
        target = known.get(operation.target_id or "")
        starts = operation.kind in STARTING_KINDS
        right = target is not None and target.kind in STARTING_KINDS
        if (operation.target_id is not None) if starts else not right:
            text = f"it works on {operation.target_id}, which is not what it can work on"
            yield _Problem("references", text, row=row_of(Operation, operation.id))


def _broken_disputes(
    payment: Payment, operations: Sequence[Operation], disputes: Sequence[Dispute]
) -> Iterator[_Problem]:
    """What disputes hold adds up to what the payment says is disputed, and is lost."""
    held = rebuild(dispute.facts for dispute in disputes)
    for name in ("disputed", "dispute_lost"):
        stored, sum_ = getattr(payment.facts, name), getattr(held, name)
        if stored != sum_:
            text = f"{name} is {stored}, and its disputes add up to {sum_}"
            yield _Problem("disputes", text)
    known = {operation.id for operation in operations}
    for dispute in disputes:
        row = row_of(Dispute, dispute.id)
        if dispute.operation_id not in known:
            text = f"it is about operation {dispute.operation_id}, which is not there"
            yield _Problem("references", text, row=row)
        if dispute.held_minor and not HOLDINGS[dispute.state].held:
            yield _Problem("disputes", f"it is {dispute.state}, and something is held", row=row)


_SUBJECT_KINDS: Mapping[OperationKind, type[Any]] = MappingProxyType(
    {OperationKind.VERIFY: PaymentMethod, OperationKind.PAYOUT: Payout}
)


def subject_kind(operation: Operation) -> type[Any]:
    """What an operation is about: a payment, for most."""
    return _SUBJECT_KINDS.get(operation.kind, Payment)


def _broken_operation(operation: Operation, subject: Subject) -> Iterator[_Problem]:
    state = operation.state
    if not isinstance(subject, subject_kind(operation)):
        yield _Problem("operation", f"a {operation.kind.noun} is not about such a thing")
    if isinstance(subject, Payment) and operation.amount.currency != subject.currency:
        yield _Problem("operation", "its amount is in another currency than the payment")
    if operation.final and operation.kind is not OperationKind.CAPTURE:
        yield _Problem("operation", f"a {operation.kind.noun} is never final")
    if state is OperationState.DECLINED and operation.decline is None:
        yield _Problem("operation", "it is declined, and not said why")
    if state is OperationState.SUCCEEDED and operation.decline is not None:
        yield _Problem("operation", "it has succeeded, and has a decline")
    if state.is_final and operation.next_try_at is not None:
        yield _Problem("operation", "it is final, and is to be looked at again")


def _broken_receipt(
    operation: Operation, events: Sequence[Event], receipt: Subject | None
) -> Iterator[_Problem]:
    """The caller was told what was true at the time: the sum of the events until then."""
    row = f"receipt of {operation.id}"
    if receipt is None:
        if operation.state in ANSWERED_STATES:
            text = f"missing: the operation is {operation.state}"
            yield _Problem("receipts", text, row=row)
        return
    if receipt.id != operation.subject_id:
        yield _Problem("receipts", f"it is about {receipt.id}", row=row)
        return
    if not isinstance(receipt, Payment):
        return
    until_then = (event.change for event in events if event.number <= receipt.version)
    if rebuild(until_then) != receipt.facts:
        text = f"its amounts are not what events 1 to {receipt.version} add up to"
        yield _Problem("receipts", text, row=row)
    was_declined = receipt.decline is not None
    if operation.state in _DECIDED and was_declined is not _DECIDED[operation.state]:
        said = "declined" if was_declined else f"{receipt.status}"
        text = f"it says {said}, and the operation is {operation.state}"
        yield _Problem("receipts", text, row=row)


_DECIDED = {OperationState.SUCCEEDED: False, OperationState.DECLINED: True}
"""States that a receipt has to agree with, each with whether it tells of a decline."""
