"""Who and what is on file: merchants, customers, payment methods, from creation to erasure.

Every change here is one commit. A stale guard means that somebody else was first: read again,
decide again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Any, Final, TypeVar

from attrs import evolve

from payplatform._domain.audit import UNNAMED, AuditKind, Caller
from payplatform._domain.cards import Card
from payplatform._domain.changes import Changes, Receipt, Record
from payplatform._domain.events import Event
from payplatform._domain.operations import FINAL_STATES, Operation, OperationState
from payplatform._domain.payments import Payment
from payplatform._domain.records import (
    Customer,
    Merchant,
    PaymentMethod,
    SealedCard,
    WrappedKey,
)
from payplatform._engine.auditing import Auditing
from payplatform._engine.exchange import TRIES
from payplatform._engine.limits import Limits
from payplatform._engine.pages import all_merchants, all_records
from payplatform._engine.vault import Prepared, Vault
from payplatform.errors import (
    CommitUncertain,
    Conflict,
    ErrorCode,
    LimitExceeded,
    NotAllowed,
    NotFound,
)
from payplatform.ports import Filter, Storage

S = TypeVar("S", Merchant, Customer, PaymentMethod)


class Registry:
    """Keeps the records that are not payments."""

    def __init__(
        self,
        *,
        storage: Storage,
        vault: Vault,
        limits: Limits,
        auditing: Auditing,
        now: Callable[[], datetime],
        new_id: Callable[[str], str],
    ) -> None:
        self._storage = storage
        self._vault = vault
        self._limits = limits
        self._auditing = auditing
        self._now = now
        self._new_id = new_id

    def create_merchant(self, *, name: str, metadata: tuple[tuple[str, str], ...]) -> Merchant:
        """A new merchant with keys of its own."""
        now = self._now()
        merchant = Merchant(
            id=self._new_id("mer"),
            version=1,
            name=name,
            metadata=metadata,
            created_at=now,
            updated_at=now,
        )
        keys = self._vault.new_merchant_keys(merchant.id)
        return self._commit(lambda: (merchant, _changes(merchant, *keys)))

    def merchant(self, merchant_id: str) -> Merchant:
        """The merchant, unless erased.

        Raises:
            NotFound: there is none.
        """
        merchant = self._storage.get(merchant_id, Merchant, merchant_id)
        if merchant is None or merchant.erased_at is not None:
            raise NotFound("no such merchant", field="merchant_id")
        return merchant

    def merchants(self) -> Iterator[Merchant]:
        """All merchants, newest first."""
        return (m for m in all_merchants(self._storage) if m.erased_at is None)

    def erase_merchant(self, merchant_id: str, *, caller: Caller = UNNAMED) -> None:
        """Destroy a merchant's keys, cards and customers' data. Its books stay.

        Raises:
            NotFound: there is no such merchant.
            NotAllowed: money is under way: `operation_open`.
        """

        def attempt() -> tuple[Merchant, Changes]:
            merchant = self.merchant(merchant_id)
            self._require_idle(merchant_id)
            erased = _next(merchant, self._now(), name="erased", metadata=(), erased_at=self._now())
            gone: list[Record] = list(all_records(self._storage, merchant_id, WrappedKey))
            gone += all_records(self._storage, merchant_id, SealedCard)
            changes = self._without_people(merchant_id)
            said = self._auditing.entry(merchant_id, AuditKind.ERASE, caller, object_id=merchant_id)
            return erased, evolve(
                changes,
                records=(erased, *changes.records),
                removed=tuple(gone),
                audit=(said,),
            )

        self._commit(attempt)
        self._vault.forget(merchant_id)

    def create_customer(
        self,
        merchant_id: str,
        *,
        name: str | None,
        email: str | None,
        metadata: tuple[tuple[str, str], ...],
        customer_id: str | None = None,
    ) -> Customer:
        """A new customer, under a new id unless it brings one.

        Raises:
            NotFound: the merchant has been erased.
        """
        self.merchant(merchant_id)
        now = self._now()
        customer = Customer(
            id=customer_id or self._new_id("cus"),
            merchant_id=merchant_id,
            version=1,
            name=name,
            email=email,
            metadata=metadata,
            created_at=now,
            updated_at=now,
        )
        return self._commit(lambda: (customer, _changes(customer)))

    def customer(self, merchant_id: str, customer_id: str) -> Customer:
        """The customer, unless erased.

        Raises:
            NotFound: there is none.
        """
        customer = self._storage.get(merchant_id, Customer, customer_id)
        if customer is None or customer.erased_at is not None:
            raise NotFound("no such customer", field="customer")
        return customer

    def customers(self, merchant_id: str) -> Iterator[Customer]:
        """The merchant's customers, newest first."""
        everybody = all_records(self._storage, merchant_id, Customer)
        return (customer for customer in everybody if customer.erased_at is None)

    def update_customer(self, merchant_id: str, customer_id: str, **fields: object) -> Customer:
        """The customer with these fields changed.

        Raises:
            NotFound: there is none.
        """

        def attempt() -> tuple[Customer, Changes]:
            customer = self.customer(merchant_id, customer_id)
            changed = _next(customer, self._now(), **fields)
            return changed, _changes(changed)

        return self._commit(attempt)

    def erase_customer(
        self, merchant_id: str, customer_id: str, *, caller: Caller = UNNAMED
    ) -> None:
        """Blank a customer's data and delete their cards. Their payments stay.

        Raises:
            NotFound: there is none.
        """
        said = self._auditing.entry(merchant_id, AuditKind.ERASE, caller, object_id=customer_id)

        def attempt() -> tuple[Customer, Changes]:
            customer = self.customer(merchant_id, customer_id)
            erased = _blank(customer, self._now())
            changes = Changes(merchant_id=merchant_id, records=(erased,), audit=(said,))
            where = Filter(customer_id=customer_id)
            for method in all_records(self._storage, merchant_id, PaymentMethod, where):
                if method.deleted_at is None:
                    changes = self._with_deletion(changes, method)
            return erased, changes

        with self._auditing.refusals(said):
            self._commit(attempt)

    def add_method(
        self,
        merchant_id: str,
        *,
        customer_id: str | None,
        card: Card,
        postal_code: str | None,
        origin: str | None = None,
        caller: Caller = UNNAMED,
    ) -> PaymentMethod:
        """Seal a card and keep it; a customer's same card is kept once, brought up to date.

        Raises:
            LimitExceeded: too many different cards.
            NotFound: there is no such customer, or the merchant has been erased.
            VaultError: the card could not be sealed; nothing was written.
        """
        self.merchant(merchant_id)

        def attempt() -> tuple[PaymentMethod, Changes]:
            customer = None if customer_id is None else self.customer(merchant_id, customer_id)
            prepared = self._vault.prepare(merchant_id, card, postal_code=postal_code)
            known = None
            if customer is not None:
                known = self._storage.payment_method_with(
                    merchant_id, customer.id, prepared.fingerprints
                )
            if known is not None:
                return self._renewed_method(known, prepared, card, postal_code)
            try:
                self._limits.admit_card(
                    merchant_id, prepared.fingerprints[0], customer_id=customer_id, origin=origin
                )
            except LimitExceeded as error:
                said = self._auditing.entry(
                    merchant_id, AuditKind.LIMIT_REACHED, caller, object_id=customer_id
                )
                self._auditing.note_refusal(said, error.code)
                raise
            return self._new_method(prepared, card, customer)

        return self._commit(attempt)

    def adopt_method(
        self,
        merchant_id: str,
        *,
        method_id: str,
        customer_id: str | None,
        card: Card,
        postal_code: str | None,
        network_transaction_id: str | None,
    ) -> tuple[str, str, tuple[str, ...] | None]:
        """Keep a card from elsewhere under the id it had there; one that is here stays as it is.

        Returns:
            The id it came with, the id of the method that has the card here, and what of that one
            differs; None when the card was added.
        """
        self.merchant(merchant_id)
        differences: list[tuple[str, ...]] = []

        def attempt() -> tuple[PaymentMethod, Changes]:
            differences.clear()
            prepared = self._vault.prepare(merchant_id, card, postal_code=postal_code)
            known = self._storage.get(merchant_id, PaymentMethod, method_id)
            if known is None and customer_id is not None:
                known = self._storage.payment_method_with(
                    merchant_id, customer_id, prepared.fingerprints
                )
            if known is not None:
                differences.append(self._differences(known, prepared, card, postal_code))
                return known, Changes(merchant_id=merchant_id)
            customer = None if customer_id is None else self.customer(merchant_id, customer_id)
            return self._new_method(
                prepared,
                card,
                customer,
                method_id=method_id,
                network_transaction_id=network_transaction_id,
            )

        method = self._commit(attempt)
        return method_id, method.id, differences[0] if differences else None

    def _differences(
        self, known: PaymentMethod, prepared: Prepared, card: Card, postal_code: str | None
    ) -> tuple[str, ...]:
        """What of a card that is here is not as it comes in, by name."""
        kept = self._vault.open_stored(known.merchant_id, known.token, brand=known.brand)
        if known.deleted_at is not None or kept is None:
            return ("deleted",)
        pairs = {
            "number": known.fingerprint in prepared.fingerprints,
            "expiry": (kept.expiry_month, kept.expiry_year)
            == (card.expiry_month, card.expiry_year),
            "holder": kept.holder == card.holder,
            "postal_code": kept.postal_code == postal_code,
        }
        return tuple(name for name, is_same in pairs.items() if not is_same)

    def method(self, merchant_id: str, method_id: str) -> PaymentMethod:
        """The payment method, unless deleted.

        Raises:
            NotFound: there is none.
        """
        method = self._storage.get(merchant_id, PaymentMethod, method_id)
        if method is None or method.deleted_at is not None:
            raise NotFound("no such payment method", field="payment_method")
        return method

    def methods(self, merchant_id: str, customer_id: str | None) -> Iterator[PaymentMethod]:
        """The merchant's payment methods, or one customer's, newest first.

        Raises:
            NotFound: there is no such customer.
        """
        if customer_id is not None:
            self.customer(merchant_id, customer_id)
        where = Filter(customer_id=customer_id)
        stored = all_records(self._storage, merchant_id, PaymentMethod, where)
        return (method for method in stored if method.deleted_at is None)

    def set_default(self, merchant_id: str, method_id: str) -> Customer:
        """Make it the one that its customer pays with unless told otherwise.

        Raises:
            NotFound: there is no such payment method, or it has no customer.
        """

        def attempt() -> tuple[Customer, Changes]:
            method = self.method(merchant_id, method_id)
            customer = self.customer(merchant_id, method.customer_id or "")
            changed = _next(customer, self._now(), default_payment_method_id=method_id)
            return changed, _changes(changed)

        return self._commit(attempt)

    def allow_again(
        self, merchant_id: str, method_id: str, *, caller: Caller, reason: str
    ) -> PaymentMethod:
        """Forget the declines that stand in a card's way.

        Raises:
            NotFound: there is none.
        """
        said = self._auditing.entry(
            merchant_id, AuditKind.LIMIT_OVERRIDDEN, caller, object_id=method_id, purpose=reason
        )

        def attempt() -> tuple[PaymentMethod, Changes]:
            now = self._now()
            allowed = _next(self.method(merchant_id, method_id), now, allowed_again_at=now)
            details = (("actor", caller.actor), ("reason", reason))
            event = evolve(self._event(allowed, "allowed_again"), details=details)
            return allowed, evolve(_changes(allowed), events=(event,), audit=(said,))

        with self._auditing.refusals(said):
            return self._commit(attempt)

    def delete_method(
        self,
        merchant_id: str,
        method_id: str,
        *,
        caller: Caller = UNNAMED,
        purpose: str | None = None,
    ) -> None:
        """Destroy the sealed card; what is left is that it once was there.

        Raises:
            NotFound: there is none.
        """
        said = self._auditing.entry(
            merchant_id, AuditKind.DELETE, caller, object_id=method_id, purpose=purpose
        )

        def attempt() -> tuple[PaymentMethod, Changes]:
            method = self.method(merchant_id, method_id)
            changes = self._with_deletion(Changes(merchant_id=merchant_id, audit=(said,)), method)
            gone = changes.records[0]
            assert isinstance(gone, PaymentMethod)  # noqa: S101  # the one just put there
            customer = self._storage.get(merchant_id, Customer, method.customer_id or "")
            if customer is not None and customer.default_payment_method_id == method_id:
                changed = _next(customer, self._now(), default_payment_method_id=None)
                changes = evolve(changes, records=(*changes.records, changed))
            return gone, changes

        with self._auditing.refusals(said):
            self._commit(attempt)

    def retire(
        self,
        merchant_id: str,
        *,
        unused_since: datetime,
        limit: int | None,
        caller: Caller = UNNAMED,
    ) -> int:
        """Delete cards that were last stored, changed or paid with before that; tells how many."""
        unused = (m for m in self.methods(merchant_id, None) if self._is_unused(m, unused_since))
        retired = 0
        for method in islice(unused, limit):
            with suppress(NotFound):  # somebody else deleted it just now
                self.delete_method(merchant_id, method.id, caller=caller, purpose="retention")
                retired += 1
        return retired

    def _is_unused(self, method: PaymentMethod, since: datetime) -> bool:
        if method.updated_at >= since or method.open_operations:
            return False
        where = Filter(payment_method_id=method.id)
        payments = all_records(self._storage, method.merchant_id, Payment, where)
        return all(payment.updated_at < since for payment in payments)

    def _new_method(
        self,
        prepared: Prepared,
        card: Card,
        customer: Customer | None,
        *,
        method_id: str | None = None,
        network_transaction_id: str | None = None,
    ) -> tuple[PaymentMethod, Changes]:
        now, sealed = self._now(), prepared.sealed
        method = PaymentMethod(
            id=method_id or self._new_id("pm"),
            merchant_id=sealed.merchant_id,
            version=1,
            token=sealed.id,
            customer_id=customer.id if customer else None,
            brand=card.brand,
            bin=card.bin,
            last4=card.last4,
            expiry_month=card.expiry_month,
            expiry_year=card.expiry_year,
            fingerprint=prepared.fingerprints[0],
            fingerprint_version=prepared.fingerprint_version,
            network_transaction_id=network_transaction_id,
            created_at=now,
            updated_at=now,
        )
        changes = Changes(
            merchant_id=sealed.merchant_id,
            records=(method, sealed),
            needed=prepared.keys,
            events=(self._event(method, "created"),),
        )
        if customer is None:
            return method, changes
        # Written with every new card, so that adding and erasing exclude each other.
        default = customer.default_payment_method_id or method.id
        customer = _next(customer, now, default_payment_method_id=default)
        return method, evolve(changes, records=(*changes.records, customer))

    def _renewed_method(
        self, known: PaymentMethod, prepared: Prepared, card: Card, postal_code: str | None
    ) -> tuple[PaymentMethod, Changes]:
        merchant_id, sealed = known.merchant_id, prepared.sealed
        kept = self._vault.open_stored(merchant_id, known.token, brand=known.brand)
        old = self._storage.get(merchant_id, SealedCard, known.token)
        if kept is None or old is None:
            raise Conflict("the card is being changed by somebody else")
        same_expiry = (kept.expiry_year, kept.expiry_month) == (card.expiry_year, card.expiry_month)
        if same_expiry and (kept.holder, kept.postal_code) == (card.holder, postal_code):
            return known, Changes(merchant_id=merchant_id)
        renewed = _next(
            known,
            self._now(),
            token=sealed.id,
            expiry_month=card.expiry_month,
            expiry_year=card.expiry_year,
            fingerprint=prepared.fingerprints[0],
            fingerprint_version=prepared.fingerprint_version,
        )
        return renewed, Changes(
            merchant_id=merchant_id,
            records=(renewed, sealed),
            removed=(old,),
            needed=prepared.keys,
            events=(self._event(renewed, "updated"),),
        )

    def _with_deletion(self, changes: Changes, method: PaymentMethod) -> Changes:
        now = self._now()
        gone = _next(method, now, deleted_at=now, **_FORGOTTEN)
        sealed = self._storage.get(method.merchant_id, SealedCard, method.token)
        return evolve(
            changes,
            records=(*changes.records, gone),
            removed=changes.removed if sealed is None else (*changes.removed, sealed),
            events=(*changes.events, self._event(gone, "deleted")),
            receipts=(*changes.receipts, *self._receipts_without_the_card(method)),
        )

    def _receipts_without_the_card(self, method: PaymentMethod) -> Iterator[Receipt]:
        """What the callers of its verifications were told, without what names the card."""
        about = Filter(subject_id=method.id)
        for operation in all_records(self._storage, method.merchant_id, Operation, about):
            told = self._storage.receipt(method.merchant_id, operation.id)
            if isinstance(told, PaymentMethod):
                yield Receipt(
                    merchant_id=method.merchant_id,
                    operation_id=operation.id,
                    subject=evolve(told, token="", **_FORGOTTEN),
                )

    def _without_people(self, merchant_id: str) -> Changes:
        """The deletion of every card and the blanking of every customer of a merchant."""
        changes = Changes(merchant_id=merchant_id)
        for method in all_records(self._storage, merchant_id, PaymentMethod):
            if method.deleted_at is None:
                changes = self._with_deletion(changes, method)
        blank = tuple(
            _blank(customer, self._now())
            for customer in all_records(self._storage, merchant_id, Customer)
            if customer.erased_at is None
        )
        return evolve(changes, records=(*changes.records, *blank))

    def _require_idle(self, merchant_id: str) -> None:
        where = Filter(states=frozenset(OperationState) - FINAL_STATES)
        if self._storage.page(merchant_id, Operation, where, limit=1):
            raise NotAllowed(
                "the merchant has operations that are not finished: recover() first",
                code=ErrorCode.OPERATION_OPEN,
            )

    def _event(self, method: PaymentMethod, what: str) -> Event:
        return Event(
            id=self._new_id("evt"),
            merchant_id=method.merchant_id,
            subject_id=method.id,
            number=method.version,
            type=f"payment_method.{what}",
            at=method.updated_at,
        )

    def _commit(self, attempt: Callable[[], tuple[S, Changes]]) -> S:
        for _ in range(TRIES):
            record, changes = attempt()
            try:
                self._storage.commit(changes)
            except Conflict:
                if changes.needed:
                    # A key may have been retired by another process: read the keys anew.
                    self._vault.forget(changes.merchant_id)
                continue
            except CommitUncertain:
                # The guards make a second try harmless: it takes place once, or it is a conflict.
                if self._is_stored(record):
                    return record
                continue
            return record
        raise Conflict("others kept changing the same record; nothing was done")

    def _is_stored(self, record: S) -> bool:
        return self._storage.get(record.merchant_id, type(record), record.id) == record


_FORGOTTEN: Final[dict[str, Any]] = {
    "fingerprint": None,
    "fingerprint_version": None,
    "network_transaction_id": None,
}
"""What of a payment method could still tell its card, once the card is gone."""


def _changes(*records: Record) -> Changes:
    return Changes(merchant_id=records[0].merchant_id, records=records)


def _next(record: S, now: datetime, **fields: Any) -> S:
    return evolve(record, version=record.version + 1, updated_at=now, **fields)


def _blank(customer: Customer, now: datetime) -> Customer:
    return _next(
        customer,
        now,
        name=None,
        email=None,
        metadata=(),
        default_payment_method_id=None,
        erased_at=now,
    )
