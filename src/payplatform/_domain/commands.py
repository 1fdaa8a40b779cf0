"""What a caller asks for, and the fingerprint by which the same request is known again.

The security code is no part of a command: it never enters a fingerprint, not even hashed, since a
stored hash of a thousand possible codes is a stored code (PCI DSS v4.0.1, 3.3.1).
"""

from __future__ import annotations

import hashlib
from enum import StrEnum

from attrs import field, frozen

from payplatform._domain.money import Money
from payplatform._domain.operations import Initiator


class Verb(StrEnum):
    """The money-moving calls of the public API."""

    CHARGE = "charge"
    AUTHORIZE = "authorize"
    RETRY = "retry"
    RESUME = "resume"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    INCREMENT = "increment"
    VERIFY = "verify"
    PAYOUT = "payout"


@frozen(kw_only=True)
class Command:
    """One call, validated.

    `amount` None means: all there is; of a payout, in that `currency`. A `customer_id` stands for
    their default payment method. `origin` is where the call comes from; the same request may come
    from elsewhere the next time, so it is no part of the fingerprint.
    """

    verb: Verb
    merchant_id: str
    idempotency_key: str
    payment_id: str | None = None
    payment_method_id: str | None = None
    customer_id: str | None = None
    amount: Money | None = None
    currency: str | None = None
    final: bool = False
    reference: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    initiator: Initiator = Initiator.CUSTOMER
    origin: str | None = field(default=None, repr=False)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 over the verb and every business parameter, each with its length before it.

        The version comes first, so that a later release can still match what an earlier one stored.
        """
        amount = self.amount
        parts = (
            "payplatform/request/v1",
            self.verb,
            self.payment_id,
            self.payment_method_id,
            self.customer_id,
            None if amount is None else str(amount.amount_minor),
            None if amount is None else amount.currency,
            "final" if self.final else None,
            self.reference,
            self.initiator,
            *(text for pair in self.metadata for text in pair),
            # Only payouts have one, and no metadata: what was stored before has the print it had.
            *(() if self.currency is None else (self.currency,)),
        )
        return hashlib.sha256(b"".join(map(_length_prefixed, parts))).digest()


def _length_prefixed(text: str | None) -> bytes:
    # Absent and empty must differ, so the length is one more than the text's.
    if text is None:
        return bytes(4)
    data = text.encode()
    return (len(data) + 1).to_bytes(4, "big") + data
