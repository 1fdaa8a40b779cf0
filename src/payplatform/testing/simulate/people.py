"""The people in a history: the cardholder, and whoever resolves what needs review.

Law of this file: a person knows the bank's statement, and may ask the bank to reverse something;
they know nothing of how we came to where we are.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from payplatform._domain.messages import reversal_of
from payplatform._domain.operations import Operation, OperationKind
from payplatform.banks.simulated import LineKind, LineState, SimulatedBank
from payplatform.errors import ErrorCode, NotAllowed


def take_challenge(bank: SimulatedBank, handle: str, *, passes: bool) -> None:
    """Be the cardholder, if the challenge is still there."""
    try:
        bank.complete_challenge(handle, succeed=passes)
    except LookupError:
        return


def decide(bank: SimulatedBank, operation: Operation, resolve: Callable[..., Operation]) -> str:
    """Resolve what needs review, by the bank's statement.

    What stands there in part, or cannot stand beside what has been booked since, is reversed at
    the bank first.

    Args:
        bank: whose statement is read.
        operation: what needs review; of a resume, what counts is the operation that it resumed.
        resolve: says its outcome.

    Returns:
        The outcome.
    """
    is_resume = operation.kind is OperationKind.RESUME
    at_bank = (operation.target_id if is_resume else operation.id) or ""
    standing = [
        line.amount.amount_minor
        for line in bank.statement(operation.merchant_id)
        if line.operation_id == at_bank
        and line.state is LineState.BOOKED
        and line.kind not in (LineKind.RELEASE, LineKind.EXPIRY)
    ]
    if sum(standing) == operation.amount.amount_minor:
        try:
            resolve(outcome="succeeded")
        except NotAllowed as refused:
            if refused.code is not ErrorCode.CONTRADICTS_BOOKS:
                raise
        else:
            return "succeeded"
    if standing:
        bank.send(reversal_of(evolve(operation, id=at_bank)), timeout_s=1)
    resolve(outcome="aborted")
    return "aborted"
