"""`shop.payment_methods`: stored cards behind tokens."""

from __future__ import annotations

from collections.abc import Iterator

from payplatform._domain.cards import Card, require_not_expired
from payplatform._domain.commands import Command, Verb
from payplatform._domain.messages import CardDetails
from payplatform._domain.money import Money
from payplatform._domain.records import Customer, PaymentMethod
from payplatform._domain.text import clean_id, clean_postal_code, clean_text
from payplatform._domain.text import idempotency_key as clean_key
from payplatform.client._room import (
    EXPLANATION_LENGTH,
    Room,
    an_origin,
    optional_id,
)
from payplatform.client.payments import a_secret, a_timeout
from payplatform.errors import ErrorCode, InvalidRequest


class PaymentMethods(Room):
    """The cards that the merchant's customers keep."""

    def create(
        self,
        *,
        card: Card,
        customer: str | None = None,
        postal_code: str | None = None,
        origin: str | None = None,
    ) -> PaymentMethod:
        """Replace a card by a token and keep it encrypted. No money moves, no bank is asked.

        The same card added again to the same customer gives the payment method that is there, with
        expiry, holder and postal code brought up to date. A customer's first becomes the default.

        Args:
            card: the card in clear; keep no reference to it.
            customer: whose it is, `cus_...`; None for a guest's, which nobody can list as theirs.
            postal_code: of the billing address, for the issuer to check.
            origin: where the customer comes from, as for `payments.charge`.

        Returns:
            What may be shown of the card, with the id to charge it by.

        Raises:
            InvalidRequest: an argument breaks its rule, or the card has expired.
            NotFound: this merchant has no such customer.
            LimitExceeded: `too_many_cards`: too many different ones; nothing was stored.
            VaultError: the card could not be sealed; nothing was written.
            StorageUnavailable: the store failed; nothing was written.
        """
        if not isinstance(card, Card):
            raise InvalidRequest("card must be a Card", code=ErrorCode.TYPE_INVALID, field="card")
        engine = self._engine
        require_not_expired(card, engine.now())
        return engine.registry.add_method(
            self._merchant_id,
            customer_id=optional_id(customer, prefix="cus", field="customer"),
            card=card,
            postal_code=None if postal_code is None else clean_postal_code(postal_code),
            origin=an_origin(origin),
            caller=self._caller,
        )

    def get(self, payment_method_id: str) -> PaymentMethod:
        """Read a payment method.

        Args:
            payment_method_id: `pm_...`.

        Returns:
            What may be shown of the card.

        Raises:
            InvalidRequest: that is no payment method's id.
            NotFound: this merchant has no such payment method.
            StorageUnavailable: the store failed.
        """
        return self._engine.registry.method(self._merchant_id, _id(payment_method_id))

    def list(self, *, customer: str | None = None) -> Iterator[PaymentMethod]:
        """Payment methods, newest first, read page by page as you go.

        Args:
            customer: only this customer's, `cus_...`.

        Returns:
            A lazy iterator.

        Raises:
            InvalidRequest: that is no customer's id.
            NotFound: this merchant has no such customer.
            StorageUnavailable: the store failed.
        """
        customer_id = optional_id(customer, prefix="cus", field="customer")
        return self._engine.registry.methods(self._merchant_id, customer_id)

    def set_default(self, payment_method_id: str) -> Customer:
        """Make it the one its customer pays with when only the customer is named.

        Args:
            payment_method_id: `pm_...`, of a customer's card.

        Returns:
            The customer as it is now.

        Raises:
            InvalidRequest: that is no payment method's id.
            NotFound: this merchant has no such payment method, or it belongs to no customer.
            StorageUnavailable: the store failed; nothing was changed.
        """
        return self._engine.registry.set_default(self._merchant_id, _id(payment_method_id))

    def delete(self, payment_method_id: str) -> None:
        """Destroy the stored card. Its payments stay, and its id is never given again.

        Args:
            payment_method_id: `pm_...`.

        Raises:
            InvalidRequest: that is no payment method's id.
            NotFound: this merchant has no such payment method.
            StorageUnavailable: the store failed; nothing was deleted.
        """
        self._engine.registry.delete_method(
            self._merchant_id, _id(payment_method_id), caller=self._caller
        )

    def reveal(self, payment_method_id: str, *, actor: str, purpose: str) -> CardDetails:
        """Show a stored card in clear. Refused unless `Settings(may_reveal=True)` lets it be.

        Shown or refused, it is on the audit trail before this returns (PCI DSS v4.0.1, 10.2.1.1).

        Args:
            payment_method_id: `pm_...`.
            actor: who wants to see it, at most 200 characters.
            purpose: what for, at most 500 characters.

        Returns:
            The card without a security code, which is kept nowhere; its number is in a `Secret`.

        Raises:
            InvalidRequest: an argument breaks its rule, or looks like a card number.
            NotFound: this merchant has no such payment method.
            NotAllowed: `reveal_not_allowed`.
            VaultError: the card could not be opened.
            StorageUnavailable: the store failed; nothing was shown.
        """
        return self._engine.revealing.reveal(
            self._merchant_id,
            _id(payment_method_id),
            caller=self._signed(actor),
            purpose=clean_text(purpose, field="purpose", max_length=EXPLANATION_LENGTH),
        )

    def allow_again(self, payment_method_id: str, *, actor: str, reason: str) -> PaymentMethod:
        """Let a card be tried again in spite of its declines; it goes into the card's history.

        The declines until now no longer count when this payment method is tried: neither a hard
        one nor the card network's number of attempts. Limits against card testing go on counting.

        Args:
            payment_method_id: `pm_...`.
            actor: who decides, at most 200 characters.
            reason: why, at most 500 characters.

        Returns:
            The payment method, with `allowed_again_at`.

        Raises:
            InvalidRequest: an argument breaks its rule, or looks like a card number.
            NotFound: this merchant has no such payment method.
            StorageUnavailable: the store failed; nothing was changed.
        """
        return self._engine.registry.allow_again(
            self._merchant_id,
            _id(payment_method_id),
            caller=self._signed(actor),
            reason=clean_text(reason, field="reason", max_length=EXPLANATION_LENGTH),
        )

    def verify(
        self,
        payment_method_id: str,
        *,
        idempotency_key: str,
        security_code: str | None = None,
        currency: str = "EUR",
        origin: str | None = None,
        timeout_s: float | None = None,
    ) -> PaymentMethod:
        """Ask the bank about a stored card with an amount of zero.

        Args:
            payment_method_id: `pm_...`.
            idempotency_key: 1 to 255 visible ASCII characters; the same for every try of this call.
            security_code: for the issuer to check; stored nowhere.
            currency: which the zero is in; matters to banks that verify in one currency alone.
            origin: where the customer comes from, as for `payments.charge`.
            timeout_s: how long the bank may take, in seconds.

        Returns:
            The payment method with `verification`: whether it succeeded, what the issuer said of
            the security code and the postal code, and the decline if it did not.

        Raises:
            InvalidRequest: an argument breaks its rule, or the card has expired.
            NotFound: this merchant has no such payment method.
            NotAllowed: the bank offers no verification, or one is under way.
            LimitExceeded: tried too often, or the card is refused; nothing was sent or stored.
            Conflict: the key belongs to another request, or to one that is running.
            BankUnavailable: the bank was not reached.
            OutcomeUnknown: the bank gave no clear answer. No money can have moved.
            StorageUnavailable: the store failed.
            VaultError: the card could not be opened.
        """
        command = Command(
            verb=Verb.VERIFY,
            merchant_id=self._merchant_id,
            idempotency_key=clean_key(idempotency_key),
            payment_method_id=_id(payment_method_id),
            amount=Money.zero(currency),
            origin=an_origin(origin),
        )
        code = a_secret(security_code)
        del security_code  # crash reporters print the locals of each frame
        method = self._engine.flow.run(
            command, caller=self._caller, code=code, timeout_s=a_timeout(timeout_s)
        )
        assert isinstance(method, PaymentMethod)  # noqa: S101  # what a verification is about
        return method


def _id(payment_method_id: str) -> str:
    return clean_id(payment_method_id, prefix="pm", field="payment_method_id")
