"""What must hold after each step, and what must hold in the end.

Law of this file: it looks at what is stored, at the bank's own books and at what callers were told,
never at how the engine came to it. Each rule has a name, by which a history that fails is known
again while it is cut down.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator

from attrs import frozen

from payplatform._domain.changes import Subject
from payplatform._domain.disputes import Dispute
from payplatform._domain.events import Event
from payplatform._domain.invariants import broken_in_payment
from payplatform._domain.operations import (
    STARTING_KINDS,
    TRANSITIONS,
    Operation,
    OperationKind,
    OperationState,
)
from payplatform._domain.payments import Payment
from payplatform._domain.payouts import Payout
from payplatform._domain.records import PaymentMethod
from payplatform._domain.settlements import Settlement
from payplatform._engine.pages import all_records
from payplatform.banks.simulated import TEST_CARDS, Fault, LineKind, Position
from payplatform.errors import (
    BankUnavailable,
    Conflict,
    ErrorCode,
    InvalidRequest,
    NotAllowed,
    NotFound,
    OutcomeUnknown,
    PayPlatformError,
    StorageUnavailable,
    VaultError,
)
from payplatform.ports import Changes, Filter
from payplatform.testing.simulate.callers import Caller
from payplatform.testing.simulate.world import World, is_harmless


class Violation(Exception):
    """A rule was broken.

    Args:
        rule: its name.
        text: what was found, in words.
    """

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"{rule}: {text}")
        self.rule = rule
        self.text = text


@frozen(kw_only=True)
class Ask:
    """A money-moving call that may be made again with its key.

    Attributes:
        make: makes it, in a process.
        otherwise: makes another request with the same key.
    """

    merchant_id: str
    key: str
    make: Callable[[int], object]
    otherwise: Callable[[int], object]


_CARD_NUMBER = re.compile("|".join(card.number for card in TEST_CARDS))
_LEGAL = {(state, after) for (state, _), after in TRANSITIONS.items()} | {
    (state, state) for state in OperationState
}
_FACTS = ("authorized", "captured", "voided", "expired", "refunded", "disputed")
_NOTHING_DONE = (NotAllowed, NotFound, InvalidRequest)
_NOTHING_SENT = (StorageUnavailable, VaultError)
_TAKES = {
    "authorized": (OperationKind.SALE, OperationKind.AUTHORIZE, OperationKind.INCREMENT),
    "captured": (OperationKind.SALE, OperationKind.CAPTURE),
    "refunded": (OperationKind.REFUND,),
}
_ANSWERS = {OperationState.SUCCEEDED: "yes", OperationState.DECLINED: "no"}


@frozen
class _Kept:
    """What was kept to be told, and what the operation was then."""

    subject: Subject
    state: OperationState


def require_orderly(caller: Caller) -> None:
    """What moves no money of a cardholder ends well, or in an error of ours.

    Raises:
        Violation: it ended otherwise.
    """
    told = caller.told
    if told is None or told.is_death or not isinstance(told.value, BaseException):
        return
    if not isinstance(told.value, PayPlatformError):
        raise Violation("told", f"the call ended in {told.value!r}")


class Judge:
    """Watches one world.

    Attributes:
        excused: what the bank broke a promise about: payments, payouts, payment methods.
        published: ids of events that were handed on.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._states: dict[str, list[OperationState]] = defaultdict(list)
        self._claims: dict[tuple[str, str], str] = {}
        self._touched: set[tuple[str, str]] = set()
        self._receipts: dict[str, list[_Kept]] = defaultdict(list)
        self._answers: dict[str, str] = {}
        self._subjects: dict[str, str] = {}
        self._went_back: set[str] = set()
        self.excused: set[str] = set()
        self.published: set[str] = set()
        self._problem: Violation | None = None
        world.commits.append(self._note)
        world.asked = self._note_asked

    # -- after each step

    def check(self) -> None:
        """Look at all that was touched since the last time.

        Raises:
            Violation: a rule is broken.
        """
        if self._problem is not None:
            raise self._problem
        touched, self._touched = self._touched, set()
        for merchant_id, subject_id in sorted(touched):
            payment = self._world.storage.get(merchant_id, Payment, subject_id)
            if payment is not None:
                self._check_payment(payment)

    def told_stranger(self, caller: Caller) -> None:
        """A merchant who asks for another's payment is told that there is none.

        Raises:
            Violation: they were told something else.
        """
        told = caller.told
        if told is None or told.is_death or isinstance(told.value, _NOTHING_SENT):
            return
        if not isinstance(told.value, NotFound) or caller.sent:
            raise Violation("strangers", f"another merchant was told {told.value!r}")

    def told(self, ask: Ask, caller: Caller, *, otherwise: bool = False) -> None:
        """Hold what a caller was told against what is stored, and against the bank.

        Raises:
            Violation: it was not true.
        """
        told = caller.told
        if told is None or told.is_death:
            return
        operation = self._world.storage.operation_with_key(ask.merchant_id, ask.key)
        if otherwise:
            self._require_refused(told.value, caller)
        elif isinstance(told.value, PayPlatformError):
            self._check_error(told.value, operation, caller)
        elif isinstance(told.value, Payment | PaymentMethod | Payout):
            self._check_answer(told.value, operation)
        else:
            raise Violation("told", f"the call ended in {told.value!r}")

    def _note(self, changes: Changes) -> None:
        """What was committed: its steps are legal, and a key goes on meaning one operation."""
        for record in changes.records:
            if isinstance(record, Operation):
                self._note_operation(record)
        for receipt in changes.receipts:
            kept = _Kept(receipt.subject, self._states[receipt.operation_id][-1])
            self._receipts[receipt.operation_id].append(kept)
        self._touched.update((changes.merchant_id, event.subject_id) for event in changes.events)
        self._touched.update(
            (changes.merchant_id, record.id)
            for record in changes.records
            if isinstance(record, Payment)
        )

    def _note_operation(self, operation: Operation) -> None:
        states = self._states[operation.id]
        before = states[-1] if states else OperationState.IN_FLIGHT
        states.append(operation.state)
        self._subjects[operation.id] = operation.subject_id
        claim = (operation.merchant_id, operation.idempotency_key)
        if self._claims.setdefault(claim, operation.id) != operation.id:
            self._blame("key", f"one key has two operations: {operation.idempotency_key}")
        if (before, operation.state) not in _LEGAL:
            self._blame("states", f"{operation.kind} went from {before} to {operation.state}")

    def _note_asked(self, operation_id: str, fault: Fault | None) -> None:
        """After some faults the bank's books, or its words, are not what was declared of them."""
        subject_id = self._subjects.get(operation_id, operation_id)
        if fault is Fault.TAKE_BACK:
            self._went_back.add(subject_id)
        if fault is not None and not is_harmless(fault, self._world.bank.capabilities):
            self.excused.add(subject_id)

    def _blame(self, rule: str, text: str) -> None:
        self._problem = self._problem or Violation(rule, text)

    def _check_payment(self, payment: Payment) -> None:
        operations = self._operations(payment)
        storage = self._world.storage
        disputed = Filter(payment_id=payment.id)
        for finding in broken_in_payment(
            payment,
            operations=operations,
            events=storage.events(payment.merchant_id, payment.id),
            postings=storage.postings(payment.merchant_id, payment.id),
            disputes=list(all_records(storage, payment.merchant_id, Dispute, disputed)),
        ):
            raise Violation(finding.rule, f"{finding.record_id}: {finding.text}")
        if payment.id in self.excused:
            return
        self._check_reservations(payment)
        for operation in operations:
            effects = self._world.bank.effects(operation.merchant_id, operation.id)
            if effects > 1:
                raise Violation("effects", f"the bank did one {operation.kind} {effects} times")
        theirs = self._positions(operations)
        for fact, kinds in _TAKES.items():
            under_way = sum(o.amount_minor for o in payment.open_operations if o.kind in kinds)
            ours = getattr(payment.facts, fact) + under_way
            if getattr(theirs, fact) > ours:
                raise Violation(
                    "unknown money",
                    f"{payment.id}: {fact} at the bank is {getattr(theirs, fact)}, "
                    f"and {ours} here, with all that is under way",
                )

    def _check_reservations(self, payment: Payment) -> None:
        """What is under way is spent already; added up here anew, not as the payment does it."""

        def under_way(*kinds: OperationKind) -> int:
            return sum(o.amount_minor for o in payment.open_operations if o.kind in kinds)

        facts = payment.facts
        if facts.refunded + facts.disputed + under_way(OperationKind.REFUND) > facts.captured:
            raise Violation("reservations", f"{payment.id}: refunds under way exceed the capture")
        let_go = facts.captured + facts.voided + facts.expired
        if let_go + under_way(OperationKind.CAPTURE, OperationKind.VOID) > facts.authorized:
            raise Violation("reservations", f"{payment.id}: more is under way than is authorized")

    # -- what callers are told

    def _require_refused(self, value: object, caller: Caller) -> None:
        refused = isinstance(value, Conflict) and value.code is ErrorCode.IDEMPOTENCY_KEY_REUSED
        could_not_tell = isinstance(value, _NOTHING_SENT)
        if caller.sent or not (refused or could_not_tell):
            raise Violation("told", f"another request under a used key ended in {value!r}")

    def _check_error(
        self, error: PayPlatformError, operation: Operation | None, caller: Caller
    ) -> None:
        if isinstance(error, _NOTHING_SENT) and caller.sent:
            raise Violation("told", f"told {error.code}, and the bank had been asked")
        if isinstance(error, _NOTHING_DONE) and (operation is not None or caller.sent):
            raise Violation("told", f"told {error.code}, and something was done")
        if isinstance(error, Conflict) and error.code is ErrorCode.IDEMPOTENCY_KEY_REUSED:
            raise Violation("told", "the same request was taken for another")
        if isinstance(error, BankUnavailable):
            if operation is None or OperationState.ABORTED not in self._states[operation.id]:
                raise Violation("told", f"told {error.code}, and it was never aborted")
            self._require_true(operation, "nothing")
        if isinstance(error, OutcomeUnknown):
            self._require_doubt(error, operation)

    def _require_doubt(self, error: OutcomeUnknown, operation: Operation | None) -> None:
        if operation is None or error.operation_id != operation.id:
            raise Violation("told", f"told {error.code} of an operation that is not there")

    def _check_answer(self, value: Subject, operation: Operation | None) -> None:
        """It was kept at some time, to be told again. A sleeper may tell of what was true then."""
        if operation is None:
            raise Violation("told", "told an answer, and there is no operation")
        kept = [each for each in self._receipts[operation.id] if each.subject == value]
        if not kept:
            raise Violation("told", "told something that was never kept to be told again")
        answer = _ANSWERS.get(kept[-1].state)
        if answer is not None:
            self._require_true(operation, answer)

    def _require_true(self, operation: Operation, answer: str) -> None:
        """Whoever asks is told the same yes, no or nothing for ever; and it is what the bank did.

        What a bank took back later was true when it was told.
        """
        if operation.subject_id in self.excused:
            return
        before = self._answers.setdefault(operation.id, answer)
        if before != answer and not self._is_as_good(operation, before, answer):
            raise Violation("told", f"one caller was told {before}, and another {answer}")
        effects = self._effects(operation)
        if answer != "yes" and operation.kind is OperationKind.RESUME:
            return  # that attempt is over; another one may succeed
        if effects is None or (answer == "yes" and operation.subject_id in self._went_back):
            return
        if effects != (answer == "yes"):
            raise Violation("told", f"told {answer}, and the bank did it {effects} times")

    def _is_as_good(self, operation: Operation, before: str, answer: str) -> bool:
        """Whether both mean that no money moved, of what the bank had done and then took back.

        Whoever asked later was told no by the bank, whoever had asked first has its yes: a person
        decides that it came to nothing.
        """
        return operation.subject_id in self._went_back and "yes" not in (before, answer)

    def _effects(self, operation: Operation) -> int | None:
        """How often money moved for it at the bank; None where none ever does."""
        if operation.kind is OperationKind.VERIFY:
            return None
        is_resume = operation.kind is OperationKind.RESUME
        at_bank = operation.target_id if is_resume else operation.id
        return self._world.bank.effects(operation.merchant_id, at_bank or "")

    # -- in the end

    def unresolved(self) -> list[Operation]:
        """Operations that are not final."""
        return [o for o in self._all_operations() if not o.state.is_final]

    def require_settled(self) -> None:
        """Nothing is left open but what needs a person, and for that there is a reason.

        Raises:
            Violation: something is.
        """
        for operation in self.unresolved():
            if operation.state is not OperationState.NEEDS_REVIEW:
                raise Violation(
                    "unresolved", f"the {operation.kind} {operation.id} stays {operation.state}"
                )
            if not operation.reason:
                raise Violation("unresolved", f"{operation.id} needs review, and nobody says why")

    def require_agreement(self) -> int:
        """Our books say what the bank's say.

        Returns:
            How many payments were left out, since the bank broke a promise about them.

        Raises:
            Violation: they do not.
        """
        excused = 0
        for payment in self._payments():
            if payment.id in self.excused:
                excused += 1
                continue
            theirs = self._positions(self._operations(payment))
            for fact in _FACTS:
                ours, bank = getattr(payment.facts, fact), getattr(theirs, fact)
                if ours != bank:
                    raise Violation("books", f"{payment.id}: {fact} is {ours}, at the bank {bank}")
        return excused

    def require_known(self) -> None:
        """The bank has done nothing that we know nothing of.

        Raises:
            Violation: it has.
        """
        for line in self._world.bank.statement():
            is_dispute = line.kind is LineKind.DISPUTE
            if not (is_dispute or self._states.get(line.operation_id)):
                raise Violation("unknown money", f"a {line.kind} at the bank is not in our books")

    def require_published(self) -> None:
        """Every event has been handed on, at least once.

        Raises:
            Violation: one has not.
        """
        for event in self.events():
            if event.id not in self.published:
                raise Violation("events", f"{event.type} {event.id} was never handed on")

    def events(self) -> Iterator[Event]:
        """Everything that was written, merchant by merchant, newest subject first."""
        storage = self._world.storage
        for merchant_id in self._world.merchants:
            subjects: tuple[Subject | Settlement, ...] = (
                *all_records(storage, merchant_id, Payment),
                *all_records(storage, merchant_id, PaymentMethod),
                *all_records(storage, merchant_id, Payout),
                *all_records(storage, merchant_id, Settlement),
            )
            for subject in subjects:
                yield from storage.events(merchant_id, subject.id)

    def digest(self) -> bytes:
        """A hash of every event, to the byte.

        Raises:
            Violation: an event holds the number of a card.
        """
        digest = hashlib.sha256()
        for event in self.events():
            text = repr(event)
            if _CARD_NUMBER.search(text):
                raise Violation("secrets", f"{event.type} {event.id} holds the number of a card")
            digest.update(text.encode())
        return digest.digest()

    # -- what the rules share

    def _positions(self, operations: list[Operation]) -> Position:
        """What the bank has booked for a payment, over all attempts to start it."""
        found: dict[str, int] = defaultdict(int)
        for operation in operations:
            if operation.kind in STARTING_KINDS:
                position = self._world.bank.position(operation.merchant_id, operation.id)
                for fact in _FACTS:
                    found[fact] += getattr(position, fact)
        return Position(**{fact: found[fact] for fact in _FACTS})

    def _operations(self, payment: Payment) -> list[Operation]:
        where = Filter(subject_id=payment.id)
        return list(all_records(self._world.storage, payment.merchant_id, Operation, where))

    def _payments(self) -> Iterator[Payment]:
        for merchant_id in self._world.merchants:
            yield from all_records(self._world.storage, merchant_id, Payment)

    def _all_operations(self) -> Iterator[Operation]:
        for merchant_id in self._world.merchants:
            yield from all_records(self._world.storage, merchant_id, Operation)
