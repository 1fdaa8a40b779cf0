"""`shop.payments`: take money, give it back, and read it all.

Every money-moving call takes an idempotency key: make it before the first try, keep it with the
order, and use the same one for every try of that call. A repeat tells the outcome as it was then,
with `replayed` set, and moves no money.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from payplatform._domain.commands import Command, Verb
from payplatform._domain.decisions import security_code_not_allowed
from payplatform._domain.events import Event
from payplatform._domain.money import Money, require_positive
from payplatform._domain.operations import Initiator, Operation
from payplatform._domain.payments import Payment, PaymentStatus
from payplatform._domain.secret import Secret
from payplatform._domain.text import clean_id, some_of
from payplatform._domain.text import idempotency_key as clean_key
from payplatform._domain.timeline import with_totals
from payplatform._engine.settings import LONGEST_TIMEOUT_S
from payplatform.client._room import (
    REFERENCE_LENGTH,
    Room,
    a_time,
    an_origin,
    optional_id,
    optional_metadata,
    optional_text,
)
from payplatform.errors import ErrorCode, InvalidRequest, NotFound
from payplatform.ports import Filter


class Payments(Room):
    """The merchant's payments.

    Every money-moving call raises, besides what it says itself:

    - `InvalidRequest`: an argument breaks its rule. Nothing was stored.
    - `Conflict`: the idempotency key belongs to another request (`idempotency_key_reused`), the
      request is running (`operation_in_progress`), or others kept changing the same payment
      (`version_conflict`).
    - `BankUnavailable`: it came to nothing; no money moved, or it was given back. Try again with a
      new key.
    - `OutcomeUnknown`: money may have moved. Call again with the same key, or `recover()`.
    - `StorageUnavailable`: the store failed; nothing was sent.

    A decline raises nothing: look at `payment.decline`, or call `payment.raise_for_decline()`.
    """

    def charge(
        self,
        amount: Money,
        *,
        payment_method: str | None = None,
        customer: str | None = None,
        idempotency_key: str,
        security_code: str | None = None,
        initiated_by: Initiator | str = Initiator.CUSTOMER,
        reference: str | None = None,
        metadata: Mapping[str, str] | None = None,
        origin: str | None = None,
        timeout_s: float | None = None,
    ) -> Payment:
        """Take money: authorize and capture in one step (a sale).

        Args:
            amount: more than zero.
            payment_method: the card to charge, `pm_...`.
            customer: instead of it, whose default card to charge, `cus_...`.
            idempotency_key: 1 to 255 visible ASCII characters; the same for every try of this call.
            security_code: as printed on the card; sent once, stored nowhere.
            initiated_by: "customer" if they are there; "merchant" for a charge that they agreed to
                before, which needs an earlier payment with the same stored card.
            reference: the merchant's own, at most 100 characters; sent to the bank.
            metadata: at most 50 texts of the merchant's own; keys to 40, values to 500 characters.
            origin: where the customer comes from, an address or a device's id of at most 200
                characters, for the limits on attempts; stored nowhere as it is.
            timeout_s: how long the bank may take, in seconds, at most 600; 30 by default.

        Returns:
            The payment: `captured`, `declined`, `requires_action` or `processing`.

        Raises:
            NotFound: this merchant has no such payment method or customer.
            NotAllowed: initiated by the merchant, and no customer agreed: `no_stored_credential`.
            LimitExceeded: tried too often, or the card is refused; nothing was sent or stored.
            VaultError: the card could not be opened; nothing was sent.
        """
        code = a_secret(security_code)
        del security_code  # crash reporters print the locals of each frame
        return self._start(
            Verb.CHARGE,
            amount,
            payment_method=payment_method,
            customer=customer,
            idempotency_key=idempotency_key,
            code=code,
            initiated_by=initiated_by,
            reference=reference,
            metadata=metadata,
            origin=origin,
            timeout_s=timeout_s,
        )

    def authorize(
        self,
        amount: Money,
        *,
        payment_method: str | None = None,
        customer: str | None = None,
        idempotency_key: str,
        security_code: str | None = None,
        initiated_by: Initiator | str = Initiator.CUSTOMER,
        reference: str | None = None,
        metadata: Mapping[str, str] | None = None,
        origin: str | None = None,
        timeout_s: float | None = None,
    ) -> Payment:
        """Have the issuer hold the money; `capture` takes it later, `void` lets it go.

        Args:
            amount: more than zero.
            payment_method: the card, `pm_...`.
            customer: instead of it, whose default card, `cus_...`.
            idempotency_key: 1 to 255 visible ASCII characters; the same for every try of this call.
            security_code: as printed on the card; sent once, stored nowhere.
            initiated_by: "customer" or "merchant", as for `charge`.
            reference: the merchant's own, at most 100 characters; sent to the bank.
            metadata: as for `charge`.
            origin: as for `charge`.
            timeout_s: how long the bank may take, in seconds, at most 600; 30 by default.

        Returns:
            The payment: `authorized`, `declined`, `requires_action` or `processing`; `expires_at`
            says until when the bank holds the money.

        Raises:
            NotFound: this merchant has no such payment method or customer.
            NotAllowed: initiated by the merchant, and no customer agreed: `no_stored_credential`.
            LimitExceeded: tried too often, or the card is refused; nothing was sent or stored.
            VaultError: the card could not be opened; nothing was sent.
        """
        code = a_secret(security_code)
        del security_code  # crash reporters print the locals of each frame
        return self._start(
            Verb.AUTHORIZE,
            amount,
            payment_method=payment_method,
            customer=customer,
            idempotency_key=idempotency_key,
            code=code,
            initiated_by=initiated_by,
            reference=reference,
            metadata=metadata,
            origin=origin,
            timeout_s=timeout_s,
        )

    def retry(
        self,
        payment_id: str,
        *,
        idempotency_key: str,
        payment_method: str | None = None,
        security_code: str | None = None,
        origin: str | None = None,
        timeout_s: float | None = None,
    ) -> Payment:
        """Try a payment again that was declined or never got through. A new try, so a new key.

        Args:
            payment_id: `pay_...`.
            idempotency_key: a new one for each new try.
            payment_method: another card; the same one by default.
            security_code: of the card; it was stored nowhere, so it has to be asked for again.
            origin: as for `charge`.
            timeout_s: how long the bank may take, in seconds.

        Returns:
            The payment, as from `charge` or `authorize`, whichever it was.

        Raises:
            NotFound: this merchant has no such payment, or its card is no longer stored.
            NotAllowed: it is authorized, or an operation is under way.
            LimitExceeded: tried too often, or the card is refused; nothing was sent or stored.
            VaultError: the card could not be opened; nothing was sent.
        """
        method_id = optional_id(payment_method, prefix="pm", field="payment_method")
        code = a_secret(security_code)
        del security_code  # crash reporters print the locals of each frame
        return self._follow_up(
            Verb.RETRY,
            payment_id,
            idempotency_key,
            timeout_s,
            code=code,
            payment_method_id=method_id,
            origin=an_origin(origin),
        )

    def resume(
        self, payment_id: str, *, idempotency_key: str, timeout_s: float | None = None
    ) -> Payment:
        """Go on once the cardholder has done what `payment.action` asked of them.

        Args:
            payment_id: `pay_...`, in `requires_action`.
            idempotency_key: a new one for each new try.
            timeout_s: how long the bank may take, in seconds.

        Returns:
            The payment, as from `charge` or `authorize`; still `requires_action`, with a decline
            `authentication_required`, if the cardholder has not finished.

        Raises:
            NotFound: this merchant has no such payment.
            NotAllowed: it waits for no action.
        """
        return self._follow_up(Verb.RESUME, payment_id, idempotency_key, timeout_s)

    def capture(
        self,
        payment_id: str,
        amount: Money | None = None,
        *,
        idempotency_key: str,
        final: bool = False,
        timeout_s: float | None = None,
    ) -> Payment:
        """Take money that is authorized.

        Args:
            payment_id: `pay_...`.
            amount: at most `payment.capturable`; by default all of it.
            idempotency_key: 1 to 255 visible ASCII characters; the same for every try of this call.
            final: release what is left at the bank. A bank that captures only once always does.
            timeout_s: how long the bank may take, in seconds.

        Returns:
            The payment: `captured` or `partially_captured`; as it was, with a decline, if the bank
            said no.

        Raises:
            NotFound: this merchant has no such payment.
            NotAllowed: nothing is left, it expired, the amount exceeds it, or a void is under way.
        """
        if not isinstance(final, bool):
            raise InvalidRequest(
                "final must be True or False", code=ErrorCode.TYPE_INVALID, field="final"
            )
        return self._follow_up(
            Verb.CAPTURE, payment_id, idempotency_key, timeout_s, amount=amount, final=final
        )

    def void(
        self,
        payment_id: str,
        amount: Money | None = None,
        *,
        idempotency_key: str,
        timeout_s: float | None = None,
    ) -> Payment:
        """Let go of money that is authorized and not captured.

        Args:
            payment_id: `pay_...`.
            amount: at most `payment.voidable`; by default all of it.
            idempotency_key: 1 to 255 visible ASCII characters; the same for every try of this call.
            timeout_s: how long the bank may take, in seconds.

        Returns:
            The payment; as it was, with a decline, if the bank said no.

        Raises:
            NotFound: this merchant has no such payment.
            NotAllowed: nothing is left, it expired, the amount exceeds it, a capture is under way,
                or the bank voids only the whole.
        """
        return self._follow_up(Verb.VOID, payment_id, idempotency_key, timeout_s, amount=amount)

    def refund(
        self,
        payment_id: str,
        amount: Money | None = None,
        *,
        idempotency_key: str,
        timeout_s: float | None = None,
    ) -> Payment:
        """Give back money that was captured.

        Args:
            payment_id: `pay_...`.
            amount: at most `payment.refundable`; by default all of it.
            idempotency_key: 1 to 255 visible ASCII characters; the same for every try of this call.
            timeout_s: how long the bank may take, in seconds.

        Returns:
            The payment: `refunded`, `partially_refunded`, or `processing` when the bank tells the
            outcome later; as it was, with a decline, if the bank said no.

        Raises:
            NotFound: this merchant has no such payment.
            NotAllowed: nothing is captured, or the amount exceeds what is left to refund.
        """
        return self._follow_up(Verb.REFUND, payment_id, idempotency_key, timeout_s, amount=amount)

    def increment(
        self,
        payment_id: str,
        amount: Money,
        *,
        idempotency_key: str,
        timeout_s: float | None = None,
    ) -> Payment:
        """Have the issuer hold more: a longer stay, a fuller basket.

        Args:
            payment_id: `pay_...`, authorized and not captured.
            amount: how much more.
            idempotency_key: 1 to 255 visible ASCII characters; the same for every try of this call.
            timeout_s: how long the bank may take, in seconds.

        Returns:
            The payment; as it was, with a decline, if the bank said no.

        Raises:
            NotFound: this merchant has no such payment.
            NotAllowed: it is not authorized, captured already, expired, something is under way, or
                the bank offers no increments.
        """
        require_positive(amount)
        return self._follow_up(
            Verb.INCREMENT, payment_id, idempotency_key, timeout_s, amount=amount
        )

    def get(self, payment_id: str) -> Payment:
        """Read a payment.

        Args:
            payment_id: `pay_...`.

        Returns:
            The payment as it is now.

        Raises:
            InvalidRequest: that is no payment's id.
            NotFound: this merchant has no such payment.
            StorageUnavailable: the store failed.
        """
        payment = self._engine.storage.get(self._merchant_id, Payment, _id(payment_id))
        if payment is None:
            raise NotFound("no such payment", field="payment_id")
        return payment

    def list(
        self,
        *,
        customer: str | None = None,
        status: PaymentStatus | str | Iterable[PaymentStatus | str] | None = None,
        created_from: datetime | None = None,
        created_before: datetime | None = None,
        reference: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Iterator[Payment]:
        """Payments that match all that is given, newest first, read page by page as you go.

        Args:
            customer: `cus_...`.
            status: one, or any of several.
            created_from: with a time zone; this moment counts.
            created_before: with a time zone; this moment does not count.
            reference: exactly.
            metadata: each of these pairs is among the payment's own.

        Returns:
            A lazy iterator; payments made meanwhile do not disturb it.

        Raises:
            InvalidRequest: an argument breaks its rule.
            StorageUnavailable: the store failed, while iterating.
        """
        where = Filter(
            customer_id=optional_id(customer, prefix="cus", field="customer"),
            statuses=some_of(PaymentStatus, status, field="status"),
            created_from=a_time(created_from, field="created_from"),
            created_before=a_time(created_before, field="created_before"),
            reference=optional_text(reference, field="reference", max_length=REFERENCE_LENGTH),
            metadata=optional_metadata(metadata),
        )
        return self._engine.records(self._merchant_id, Payment, where)

    def timeline(self, payment_id: str) -> tuple[Event, ...]:
        """What happened to a payment, in order, and why each amount is what it is.

        `str(event)` says it in words, with the amounts that it changed; `event.totals` has what
        they had come to then, and what was left to capture and to refund.

        Args:
            payment_id: `pay_...`.

        Returns:
            Its events, numbered from 1 without a gap.

        Raises:
            InvalidRequest: that is no payment's id.
            NotFound: this merchant has no such payment.
            StorageUnavailable: the store failed.
        """
        payment = self.get(payment_id)
        events = self._engine.storage.events(self._merchant_id, payment.id)
        # Read last, so that whatever the events speak of is among them.
        return tuple(with_totals(payment, events, self.operations(payment.id)))

    def operations(self, payment_id: str) -> tuple[Operation, ...]:
        """Every request to the bank about a payment, oldest first.

        Args:
            payment_id: `pay_...`.

        Returns:
            Its operations.

        Raises:
            InvalidRequest: that is no payment's id.
            NotFound: this merchant has no such payment.
            StorageUnavailable: the store failed.
        """
        where = Filter(subject_id=self.get(payment_id).id)
        newest_first = tuple(self._engine.records(self._merchant_id, Operation, where))
        return newest_first[::-1]

    def _start(
        self,
        verb: Verb,
        amount: Money,
        *,
        payment_method: str | None,
        customer: str | None,
        idempotency_key: str,
        code: Secret | None,
        initiated_by: Initiator | str,
        reference: str | None,
        metadata: Mapping[str, str] | None,
        origin: str | None,
        timeout_s: float | None,
    ) -> Payment:
        if (payment_method is None) is (customer is None):
            raise InvalidRequest(
                "one of payment_method and customer must be given, not both",
                code=ErrorCode.VALUE_INVALID,
                field="payment_method",
            )
        initiator = _initiator(initiated_by)
        if initiator is Initiator.MERCHANT and code is not None:
            raise security_code_not_allowed()
        command = Command(
            verb=verb,
            merchant_id=self._merchant_id,
            idempotency_key=clean_key(idempotency_key),
            payment_method_id=optional_id(payment_method, prefix="pm", field="payment_method"),
            customer_id=optional_id(customer, prefix="cus", field="customer"),
            amount=require_positive(amount),
            reference=optional_text(reference, field="reference", max_length=REFERENCE_LENGTH),
            metadata=optional_metadata(metadata),
            initiator=initiator,
            origin=an_origin(origin),
        )
        return self._run(command, timeout_s, code)

    def _follow_up(
        self,
        verb: Verb,
        payment_id: str,
        idempotency_key: str,
        timeout_s: float | None,
        *,
        amount: Money | None = None,
        final: bool = False,
        payment_method_id: str | None = None,
        code: Secret | None = None,
        origin: str | None = None,
    ) -> Payment:
        command = Command(
            verb=verb,
            merchant_id=self._merchant_id,
            idempotency_key=clean_key(idempotency_key),
            payment_id=_id(payment_id),
            payment_method_id=payment_method_id,
            amount=None if amount is None else require_positive(amount),
            final=final,
            origin=origin,
        )
        return self._run(command, timeout_s, code)

    def _run(self, command: Command, timeout_s: float | None, code: Secret | None) -> Payment:
        timeout_s = a_timeout(timeout_s)
        payment = self._engine.flow.run(
            command, caller=self._caller, code=code, timeout_s=timeout_s
        )
        assert isinstance(payment, Payment)  # noqa: S101  # what every verb here is about
        return payment


def a_secret(security_code: str | None) -> Secret | None:
    """A security code out of sight; its length is checked once the card's brand is known.

    Raises:
        InvalidRequest: it is not text: `security_code_invalid`.
    """
    if security_code is None:
        return None
    if not isinstance(security_code, str):
        raise InvalidRequest(
            "security_code must be text",
            code=ErrorCode.SECURITY_CODE_INVALID,
            field="security_code",
        )
    return Secret(security_code)


def a_timeout(timeout_s: float | None) -> float | None:
    """A timeout in seconds, or None.

    Raises:
        InvalidRequest: it is no number, or not more than 0 and at most 600.
    """
    if timeout_s is None:
        return None
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float):
        raise InvalidRequest(
            "timeout_s must be a number of seconds", code=ErrorCode.TYPE_INVALID, field="timeout_s"
        )
    if not 0 < timeout_s <= LONGEST_TIMEOUT_S:
        raise InvalidRequest(
            f"timeout_s must be more than 0 and at most {LONGEST_TIMEOUT_S:.0f}",
            code=ErrorCode.VALUE_INVALID,
            field="timeout_s",
        )
    return float(timeout_s)


def _id(payment_id: str) -> str:
    return clean_id(payment_id, prefix="pay", field="payment_id")


_INITIATORS = tuple(Initiator)


def _initiator(value: object) -> Initiator:
    if isinstance(value, str) and value in _INITIATORS:
        return Initiator(value)
    raise InvalidRequest(
        'initiated_by must be "customer" or "merchant"',
        code=ErrorCode.VALUE_INVALID,
        field="initiated_by",
    )
