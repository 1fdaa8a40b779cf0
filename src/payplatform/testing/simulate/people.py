"""The people in a history: the cardholder and their bank, and whoever resolves what needs review.

Law of this file: a person knows the bank's statement, and may ask the bank to reverse something;
they know nothing of how we came to where we are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from attrs import evolve

from payplatform._domain.messages import reversal_of
from payplatform._domain.money import Money
from payplatform._domain.operations import Operation, OperationKind
from payplatform.banks.simulated import LineKind, LineState, SimulatedBank
from payplatform.errors import ErrorCode, NotAllowed


def take_challenge(bank: SimulatedBank, handle: str, *, passes: bool) -> None:
    """Be the cardholder, if the challenge is still there."""
    try:
        bank.complete_challenge(handle, succeed=passes)
    except LookupError:
        return


def dispute(
    bank: SimulatedBank, operations: Iterable[Operation], amount_minor: int | None
) -> str | None:
    """Be the cardholder's bank: dispute the first of these that it can.

    What was approved in part is left alone: it has to be reversed, and with a dispute about it no
    person could put it right.

    Args:
        bank: where.
        operations: what may be disputed.
        amount_minor: how much; None for all there is.

    Returns:
        The bank's id of the dispute; None where nothing can be disputed.
    """
    moved = {(line.operation_id, line.amount) for line in bank.statement()}
    for operation in operations:
        currency = operation.amount.currency
        amount = None if amount_minor is None else Money.minor(amount_minor, currency)
        if (operation.id, operation.amount) not in moved:
            continue
        with suppress(LookupError):
            return bank.disputes.open(operation.merchant_id, operation.id, amount)
    return None


def decide_dispute(bank: SimulatedBank, dispute_id: str, outcome: str) -> None:
    """Be the cardholder's bank: decide a dispute, if the money is still there."""
    with suppress(LookupError):
        if outcome == "reversed":
            bank.disputes.reverse(dispute_id)
        else:
            bank.disputes.decide(dispute_id, merchant_wins=outcome == "won")


def forged(raw: bytes, headers: Mapping[str, str]) -> tuple[bytes, Mapping[str, str]]:
    """Be somebody who has seen a message of the bank, and has it say something else."""
    return raw.replace(b"approved", b"declined") + b" ", headers


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
