"""The people in a history: the cardholder, and whoever resolves what needs review.

Law of this file: a person knows the bank's statement, and may ask the bank to reverse something;
they know nothing of how we came to where we are.
"""

from __future__ import annotations

from attrs import evolve

from payplatform._domain.messages import reversal_of
from payplatform._domain.operations import STARTING_KINDS, Operation, OperationKind
from payplatform.banks.simulated import LineState, SimulatedBank


def take_challenge(bank: SimulatedBank, handle: str, *, passes: bool) -> None:
    """Be the cardholder, if the challenge is still there."""
    try:
        bank.complete_challenge(handle, succeed=passes)
    except LookupError:
        return


def look_up(bank: SimulatedBank, operation: Operation, *, authorization_id: str | None) -> str:
    """What has become of an operation: `succeeded` if all of it stands, else `aborted`.

    What stands in part, or started a payment that another operation has started since, is reversed
    at the bank first.

    Args:
        bank: whose statement is read.
        operation: what needs review; of a resume, what counts is the operation it resumed.
        authorization_id: what the payment's later operations work on.
    """
    is_resume = operation.kind is OperationKind.RESUME
    at_bank = (operation.target_id if is_resume else operation.id) or ""
    standing = [
        line.amount.amount_minor
        for line in bank.statement(operation.merchant_id)
        if line.operation_id == at_bank
        and line.state is LineState.BOOKED
        and line.kind not in ("release", "expiry")
    ]
    if not standing:
        return "aborted"
    is_second = operation.kind in STARTING_KINDS and authorization_id not in (None, operation.id)
    if sum(standing) == operation.amount.amount_minor and not is_second:
        return "succeeded"
    bank.send(reversal_of(evolve(operation, id=at_bank)), timeout_s=1)
    return "aborted"
