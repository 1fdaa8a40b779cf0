"""`shop.operations`: the requests to the bank, and the way out for those that need a person."""

from __future__ import annotations

from collections.abc import Iterator

from payplatform._domain.declines import Decline, DeclineCode
from payplatform._domain.operations import UNRESOLVED_STATES, Operation, Trigger
from payplatform._domain.replies import Verdict
from payplatform._domain.text import clean_id, clean_text
from payplatform._domain.text import idempotency_key as clean_key
from payplatform.client._room import EXPLANATION_LENGTH, Room, optional_text
from payplatform.errors import ErrorCode, InvalidRequest, NotFound
from payplatform.ports import Filter

_OUTCOMES = {
    "succeeded": Trigger.RESOLVED_SUCCEEDED,
    "declined": Trigger.RESOLVED_DECLINED,
    "aborted": Trigger.RESOLVED_ABORTED,
}


class Operations(Room):
    """The merchant's operations."""

    def get(self, operation_id: str) -> Operation:
        """Read an operation.

        Args:
            operation_id: `op_...`.

        Returns:
            The operation as it is now.

        Raises:
            InvalidRequest: that is no operation's id.
            NotFound: this merchant has no such operation.
            StorageUnavailable: the store failed.
        """
        found = self._engine.storage.get(self._merchant_id, Operation, _id(operation_id))
        if found is None:
            raise NotFound("no such operation", field="operation_id")
        return found

    def find(self, *, idempotency_key: str) -> Operation | None:
        """The operation that a key was used for.

        Args:
            idempotency_key: as given to the money-moving call.

        Returns:
            The operation, or None if this merchant never used that key.

        Raises:
            InvalidRequest: that can be no key.
            StorageUnavailable: the store failed.
        """
        key = clean_key(idempotency_key)
        return self._engine.storage.operation_with_key(self._merchant_id, key)

    def list_unresolved(self) -> Iterator[Operation]:
        """Operations whose outcome is not known, newest first, read page by page as you go.

        `recover()` looks after those that are `in_doubt` or `reversing`; those that
        `needs_review` wait for `resolve`, with what is known in `reason`.

        Returns:
            A lazy iterator.

        Raises:
            StorageUnavailable: the store failed, while iterating.
        """
        return self._engine.records(self._merchant_id, Operation, Filter(states=UNRESOLVED_STATES))

    def resolve(
        self,
        operation_id: str,
        *,
        outcome: str,
        actor: str,
        reason: str,
        evidence: str | None = None,
    ) -> Operation:
        """Say what became of an operation that needs review; it goes into the payment's history.

        Args:
            operation_id: `op_...`, in `needs_review`.
            outcome: "succeeded", "declined" or "aborted" (no money moved, or it was given back).
            actor: who decides, at most 200 characters.
            reason: why, at most 500 characters.
            evidence: what it rests on: a line of the bank's statement, a ticket.

        Returns:
            The operation as it is now; its payment's amounts and books have followed.

        Raises:
            InvalidRequest: an argument breaks its rule, or looks like a card number.
            NotFound: this merchant has no such operation.
            NotAllowed: `not_in_review`: it needs no review, or not any more.
                `contradicts_books`: it cannot have succeeded beside what has been booked since:
                have the bank reverse it, then resolve it as aborted.
            OutcomeUnknown: the decision could not be stored.
        """
        if not isinstance(outcome, str) or outcome not in _OUTCOMES:
            raise InvalidRequest(
                "outcome must be one of " + ", ".join(_OUTCOMES),
                code=ErrorCode.VALUE_INVALID,
                field="outcome",
            )
        caller = self._signed(actor)
        said = {
            "actor": caller.actor,
            "reason": clean_text(reason, field="reason", max_length=EXPLANATION_LENGTH),
            "evidence": optional_text(evidence, field="evidence", max_length=EXPLANATION_LENGTH),
        }
        details = tuple((name, text) for name, text in said.items() if text is not None)
        decline = Decline(code=DeclineCode.GENERIC_DECLINE) if outcome == "declined" else None
        verdict = Verdict(trigger=_OUTCOMES[outcome], decline=decline, details=details)
        return self._engine.flow.resolve(self.get(operation_id), verdict, caller)


def _id(operation_id: str) -> str:
    return clean_id(operation_id, prefix="op", field="operation_id")
