"""Defects planted on purpose, to see that the simulator would find them.

Law of this file: each is one that somebody could really make, in one place of our own engine or
adapters; it is planted for the length of a block and leaves nothing behind. A simulator that lets
one pass would let the real one pass.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from attrs import evolve

import payplatform._engine.exchange as exchange_module
import payplatform._engine.recovery as recovery_module
from payplatform._domain import outcomes, replies
from payplatform._domain.changes import Changes
from payplatform._domain.commands import Command
from payplatform._domain.decisions import take_over
from payplatform._domain.declines import Decline, DeclineCode
from payplatform._domain.ledger import postings_of
from payplatform._domain.messages import ReplyOutcome
from payplatform._domain.operations import TRANSITIONS, Doubt, Operation, OperationState, Trigger
from payplatform._domain.payments import Facts, Payment
from payplatform._domain.replies import Verdict
from payplatform._engine.exchange import Exchange
from payplatform._engine.flow import Flow
from payplatform._engine.recovery import Recovery
from payplatform.errors import BankUnavailable, CommitUncertain, Conflict
from payplatform.storage import _opening
from payplatform.storage.memory import MemoryStorage, Undo, _put
from payplatform.testing.simulate.book_mutants import BOOK_MUTANTS
from payplatform.testing.simulate.planting import Mutant
from payplatform.testing.simulate.world import card_named

# -- in the store ----------------------------------------------------------------------------------

_write = MemoryStorage._write  # noqa: SLF001  # a defect is planted where it would be made
_append = MemoryStorage._append  # noqa: SLF001  # as above


def _write_any_epoch(self: Any, record: Any, undo: Undo) -> None:
    stored = self._all(type(record)).get((record.merchant_id, record.id))
    if isinstance(record, Operation) and stored is not None:
        _put(self._all(Operation), (record.merchant_id, record.id), record, undo)
    else:
        _write(self, record, undo)


def _commit_in_part(self: Any, changes: Changes) -> None:
    """What was written before a guard fails stays."""
    with self._lock:
        kept = Undo()
        for write, things in (
            (self._remove, changes.removed),
            (self._write, changes.records),
            (self._append, changes.events),
            (self._post, changes.postings),
            (self._keep, changes.receipts),
        ):
            for thing in things:
                write(thing, kept)


def _append_unpublished(self: Any, event: Any, undo: Undo) -> None:
    _append(self, event, undo)
    if event.type.endswith(".in_doubt"):
        self._outbox.pop((event.merchant_id, event.subject_id, event.number))


def _get_of_anybody(self: Any, merchant_id: str, kind: type, record_id: str) -> Any:
    del merchant_id
    return next((r for (_, id_), r in self._all(kind).items() if id_ == record_id), None)


# -- in the engine ---------------------------------------------------------------------------------

_LOST = Verdict(trigger=Trigger.DECLINED, decline=Decline(code=DeclineCode.PROCESSING_ERROR))


def _finish_whoever_has_it(self: Recovery, operation: Operation) -> Operation | None:
    """Take over without looking whether what was read is still so."""
    asked = self._exchange
    epoch = asked.stored(operation).epoch + 1
    taken = evolve(take_over(operation, asked.world()), epoch=epoch)
    asked.storage.commit(Changes(merchant_id=taken.merchant_id, records=(taken,)))
    return self._book(taken, self._ask(taken))


def _reverse_first(self: Recovery, taken: Operation) -> Verdict:
    verdict = _not_found(self, taken)
    if verdict.trigger is Trigger.REVERSAL_DECIDED:
        self._exchange.reverse(taken)
    return verdict


_not_found = Recovery._not_found  # noqa: SLF001  # as above


def _not_found_is_failed(self: Recovery, taken: Operation) -> Verdict:
    del self, taken
    return _LOST


def _run_claiming_late(self: Flow, command: Command, **given: Any) -> Any:
    """Ask the bank, then claim the key."""
    known = self._storage.operation_with_key(command.merchant_id, command.idempotency_key)
    if known is not None:
        return self._replay(command, known)
    step, method = self._decide(command, self._exchange.world())
    card = self._open_card(step.operation, method, given["code"])
    target = self._exchange.target(step.operation)
    verdict = self._exchange.send(step.operation, step.subject, target=target, card=card)
    self._storage.commit(step.changes)
    booked = self._exchange.book(step.operation, verdict, step.subject)
    return outcomes.as_told(booked.operation, booked.subject) if booked else None


def _take_it_to_be_stored(self: Flow, step: Any) -> None:
    """Ask nobody."""


def _tell_as_it_is_now(self: Flow, operation: Operation) -> Any:
    if operation.state is OperationState.SUCCEEDED and operation.payment_id is not None:
        return self._storage.get(operation.merchant_id, Payment, operation.payment_id)
    return _tell(self, operation)


_tell = Flow._tell  # noqa: SLF001  # as above


def _ask_twice(
    self: Exchange, operation: Operation, call: Any, *rest: Any, **given: Any
) -> Verdict:
    def call_again(timeout_s: float) -> Any:
        try:
            return call(timeout_s)
        except TimeoutError:
            return call(timeout_s)

    return _ask(self, operation, call_again, *rest, **given)


_ask = Exchange._ask  # noqa: SLF001  # as above


def _book_or_fail(
    self: Exchange, operation: Operation, verdict: Verdict, subject: Any = None, audit: Any = ()
) -> Any:
    """Take a commit that nobody knows of for one that did not take place."""
    try:
        step = self.settled(operation, verdict, subject)
        if step is not None:
            self.storage.commit(evolve(step.changes, audit=audit))
            return step
    except CommitUncertain:
        raise BankUnavailable("nothing was done") from None
    except Conflict:
        pass
    return _book(self, operation, verdict, None, audit)


_book = Exchange._book  # noqa: SLF001  # as above


def _send_after_the_lease(self: Exchange, operation: Operation, subject: Any, **given: Any) -> Any:
    return _send(
        self, evolve(operation, lease_until=self.now() + timedelta(days=99)), subject, **given
    )


_send = Exchange.send


def _unclear_is_declined(reason: str) -> Verdict:
    del reason
    return _LOST


def _doubt_nothing(operation: Operation, reply: Any) -> Doubt | None:
    del operation
    return Doubt.NOT_FOUND if reply.outcome is ReplyOutcome.NOT_FOUND else None


def _postings_but_the_last(event: Any, currency: str) -> Any:
    return postings_of(event, currency)[:-1]


def _number_used_before(*given: Any, **more: Any) -> Any:
    event = _event(*given, **more)
    return evolve(event, number=max(1, event.number - 1))


def _with_the_card(*given: Any, **more: Any) -> Any:
    event = _event(*given, **more)
    return evolve(event, details=(*event.details, ("card", card_named("approves").number.reveal())))


_event = outcomes._event  # noqa: SLF001  # as above


def _effect_without_the_rest(operation: Operation, payment: Payment) -> Facts:
    return evolve(
        _effect(operation, payment),
        voided=0 if operation.final else _effect(operation, payment).voided,
    )


_effect = outcomes._effect  # noqa: SLF001  # as above


def _nothing_reserved(self: Payment, *kinds: object) -> int:
    del self, kinds
    return 0


MUTANTS: Final = (
    Mutant(
        name="epoch-unchecked",
        words="the store takes an operation whatever epoch its writer holds",
        swaps=((MemoryStorage, "_write", _write_any_epoch),),
    ),
    Mutant(
        name="takeover-unchecked",
        words="recovery takes an operation over without comparing the epoch it has read",
        swaps=((Recovery, "finish", _finish_whoever_has_it),),
    ),
    Mutant(
        name="reversal-before-decision",
        words="the reversal is sent before the decision to reverse is stored",
        swaps=((Recovery, "_not_found", _reverse_first),),
    ),
    Mutant(
        name="not-found-is-failed",
        words='"not found" is taken for "failed"',
        swaps=((Recovery, "_not_found", _not_found_is_failed),),
    ),
    Mutant(
        name="nothing-reserved",
        words="what is under way does not count as spent",
        swaps=((Payment, "_reserved", _nothing_reserved),),
    ),
    Mutant(
        name="key-claimed-late",
        words="the idempotency key is claimed after the bank was asked",
        swaps=((Flow, "run", _run_claiming_late),),
    ),
    Mutant(
        name="key-of-anything",
        words="another request under a used key is taken for the same",
        swaps=((Command, "fingerprint", b"same"),),
    ),
    Mutant(
        name="unclear-is-declined",
        words="an ambiguous answer is kept as the outcome",
        swaps=((exchange_module, "unclear", _unclear_is_declined),),
    ),
    Mutant(
        name="retry-around-the-bank",
        words="a bank call that timed out is made again at once",
        swaps=((Exchange, "_ask", _ask_twice),),
    ),
    Mutant(
        name="echo-unchecked",
        words="an answer is believed though it names another operation or amount",
        swaps=((replies, "_doubt", _doubt_nothing),),
    ),
    Mutant(
        name="not-sent-is-proof",
        words="recovery takes it for proof that its own message did not leave",
        swaps=((recovery_module, "_no_proof", lambda verdict: verdict),),
    ),
    Mutant(
        name="sent-after-the-lease",
        words="a caller that was stalled for longer than its lease sends all the same",
        swaps=((Exchange, "send", _send_after_the_lease),),
    ),
    Mutant(
        name="patience-is-failure",
        words="an operation that stays unclear for long is booked as aborted",
        swaps=(
            (TRANSITIONS, (OperationState.IN_DOUBT, Trigger.GIVEN_UP), OperationState.ABORTED),
            (TRANSITIONS, (OperationState.IN_FLIGHT, Trigger.GIVEN_UP), OperationState.ABORTED),
        ),
    ),
    Mutant(
        name="intent-unread",
        words="after an uncertain commit the intent is taken to be stored",
        swaps=((Flow, "_require_stored", _take_it_to_be_stored),),
    ),
    Mutant(
        name="outcome-unread",
        words="after an uncertain commit the outcome is told to be nothing",
        swaps=((Exchange, "_book", _book_or_fail),),
    ),
    Mutant(
        name="replay-of-today",
        words="a repeat is told how the payment is now, and not what was told",
        swaps=((Flow, "_tell", _tell_as_it_is_now),),
    ),
    Mutant(
        name="commit-in-part",
        words="what a commit wrote before its guard failed stays",
        swaps=((MemoryStorage, "commit", _commit_in_part),),
    ),
    Mutant(
        name="synchronous-normal",
        words="SQLite does not wait for the disk at a commit",
        storage="sqlite",
        swaps=((_opening, "_SYNCHRONOUS", {"wal": (1, "normal"), "delete": (1, "normal")}),),
    ),
    Mutant(
        name="ledger-line-dropped",
        words="the last line of each posting is left out",
        swaps=((outcomes, "postings_of", _postings_but_the_last),),
    ),
    Mutant(
        name="event-number-reused",
        words="an outcome's event has the number of the event before",
        swaps=((outcomes, "_event", _number_used_before),),
    ),
    Mutant(
        name="card-in-an-event",
        words="an event tells the number of the card",
        swaps=((outcomes, "_event", _with_the_card),),
    ),
    Mutant(
        name="event-unpublished",
        words="an event does not enter the outbox",
        swaps=((MemoryStorage, "_append", _append_unpublished),),
    ),
    Mutant(
        name="rest-not-released",
        words="a final capture leaves the rest of the authorization in our books",
        swaps=((outcomes, "_effect", _effect_without_the_rest),),
    ),
    Mutant(
        name="pending-is-done",
        words="what the bank will decide later is booked as done",
        swaps=((replies._TRIGGERS, ReplyOutcome.PENDING, Trigger.APPROVED),),  # noqa: SLF001
    ),
    Mutant(
        name="expired-meanwhile",
        words="an authorization is booked as expired while a capture of it is under way",
        swaps=(
            (
                Payment,
                "lapses_at",
                property(lambda p: p.expires_at if p.facts.uncaptured else None),
            ),
        ),
    ),
    Mutant(
        name="merchants-mixed",
        words="a store finds a record whoever's it is",
        swaps=((MemoryStorage, "get", _get_of_anybody),),
    ),
    *BOOK_MUTANTS,
)
"""Every planted defect."""


def mutant_named(name: str) -> Mutant:
    """The mutant of that name.

    Raises:
        KeyError: there is none.
    """
    return {mutant.name: mutant for mutant in MUTANTS}[name]
