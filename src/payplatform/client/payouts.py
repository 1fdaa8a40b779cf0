"""`shop.payouts`: the merchant's own money on its way to the merchant's own bank."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from payplatform._domain.commands import Command, Verb
from payplatform._domain.events import Event
from payplatform._domain.money import Money, currency_code, require_positive
from payplatform._domain.payouts import LAST_DAY, Payout, PayoutInterval, PayoutPlan
from payplatform._domain.text import clean_id, one_of
from payplatform._domain.text import idempotency_key as clean_key
from payplatform.client._room import REFERENCE_LENGTH, Room, a_time, optional_text
from payplatform.client.payments import a_timeout
from payplatform.errors import ErrorCode, InvalidRequest, NotFound
from payplatform.ports import EVERYTHING


class Payouts(Room):
    """The merchant's payouts: by plan, or when asked for.

    Paid out is what was earned and the acquirer has settled. A merchant that owes, for refunds and
    disputes after it was paid out, is paid nothing until it has earned more than that.
    """

    def payable(self, currency: str) -> Money:
        """What may be paid out now: what was earned and settled, less the plan's reserve.

        Args:
            currency: an ISO 4217 code.

        Returns:
            The amount; less than zero where the merchant owes, which is carried.

        Raises:
            InvalidRequest: there is no such currency.
            StorageUnavailable: the store failed.
        """
        return self._engine.payouts.payable(self._merchant_id, currency_code(currency))

    def create(
        self,
        amount: Money,
        *,
        idempotency_key: str,
        reference: str | None = None,
        timeout_s: float | None = None,
    ) -> Payout:
        """Pay an amount out.

        Args:
            amount: how much.
            idempotency_key: made before the first try; the same for every try of this call.
            reference: for the statement of the merchant's own bank, at most 100 characters.
            timeout_s: how long the bank may take, in seconds, at most 600.

        Returns:
            The payout: `paid`, `processing` if the bank tells later, or `failed` if it said no.

        Raises:
            InvalidRequest: an argument breaks its rule. Nothing was stored.
            NotAllowed: it is more than is payable (`amount_exceeds_payable`), less than the plan's
                minimum (`amount_below_minimum`), or the bank offers no payouts.
            Conflict: the key belongs to another request, or this one is running.
            BankUnavailable: it came to nothing. Try again with a new key.
            OutcomeUnknown: money may have moved: call again with the same key.
            StorageUnavailable: nothing was sent.
        """
        amount = require_positive(amount)
        return self._run(idempotency_key, reference, timeout_s, amount=amount)

    def sweep(
        self,
        currency: str,
        *,
        idempotency_key: str,
        reference: str | None = None,
        timeout_s: float | None = None,
    ) -> Payout:
        """Pay all out that is payable in a currency.

        Args:
            currency: an ISO 4217 code.
            idempotency_key: made before the first try; the same for every try of this call.
            reference: for the statement of the merchant's own bank, at most 100 characters.
            timeout_s: how long the bank may take, in seconds, at most 600.

        Returns:
            As `create`.

        Raises:
            InvalidRequest: an argument breaks its rule. Nothing was stored.
            NotAllowed: it is less than the plan's minimum (`amount_below_minimum`), or the bank
                offers no payouts.
            Conflict: as `create`; so are all others.
        """
        currency = currency_code(currency)
        return self._run(idempotency_key, reference, timeout_s, currency=currency)

    def get(self, payout_id: str) -> Payout:
        """Read a payout.

        Args:
            payout_id: `po_...`.

        Returns:
            The payout as it is now.

        Raises:
            InvalidRequest: that is no payout's id.
            NotFound: this merchant has no such payout.
            StorageUnavailable: the store failed.
        """
        found = self._engine.storage.get(self._merchant_id, Payout, _id(payout_id))
        if found is None:
            raise NotFound("no such payout", field="payout_id")
        return found

    def list(self) -> Iterator[Payout]:
        """All payouts, newest first, read page by page as you go.

        Returns:
            A lazy iterator; payouts made meanwhile do not disturb it.

        Raises:
            StorageUnavailable: the store failed, while iterating.
        """
        return self._engine.records(self._merchant_id, Payout, EVERYTHING)

    def timeline(self, payout_id: str) -> tuple[Event, ...]:
        """All that happened to a payout, in order.

        Args:
            payout_id: `po_...`.

        Returns:
            Its events.

        Raises:
            InvalidRequest: that is no payout's id.
            NotFound: this merchant has no such payout.
            StorageUnavailable: the store failed.
        """
        payout = self.get(payout_id)
        return tuple(self._engine.storage.events(self._merchant_id, payout.id))

    def plan(self, currency: str) -> PayoutPlan:
        """When payouts are made in a currency, and what stays.

        Args:
            currency: an ISO 4217 code.

        Returns:
            The plan as it is now; one that was never set pays when asked, and keeps nothing.

        Raises:
            InvalidRequest: there is no such currency.
            StorageUnavailable: the store failed.
        """
        return self._engine.payouts.plan(self._merchant_id, currency_code(currency))

    def set_plan(
        self,
        *,
        minimum: Money,
        reserve: Money | None = None,
        interval: PayoutInterval | str = PayoutInterval.MANUAL,
        first_at: datetime | None = None,
    ) -> PayoutPlan:
        """Say when payouts are made in the minimum's currency, and what stays.

        Args:
            minimum: less is not paid out but carried to the next time.
            reserve: so much of the balance always stays; none by default.
            interval: one of `PayoutInterval`.
            first_at: when the first one is due, with a time zone, and the others after it, counted
                in UTC; for a monthly one on the 28th at the latest. None for a manual one.

        Returns:
            The plan as it is now.

        Raises:
            InvalidRequest: an argument breaks its rule.
            Conflict: others kept changing the plan.
            StorageUnavailable: the store failed.
        """
        require_positive(minimum, "minimum")
        interval = one_of(PayoutInterval, interval, field="interval")
        return self._engine.payouts.set_plan(
            self._merchant_id,
            minimum=minimum,
            reserve_minor=0 if reserve is None else _a_reserve(reserve, minimum.currency),
            interval=interval,
            first_at=_a_first_time(a_time(first_at, field="first_at"), interval),
        )

    def run_due(self) -> tuple[Payout, ...]:
        """Make the payouts that are due by the plans. Run it as often as you like, anywhere.

        One whose outcome is unclear is left to `recover()`. What is less than the minimum waits for
        the next time.

        Returns:
            Those that were made, or found made by somebody else.

        Raises:
            NotAllowed: the bank offers no payouts.
            StorageUnavailable: the store failed; what was done until then is done.
        """
        return tuple(self._engine.payouts.run_due(self._merchant_id))

    def _run(
        self,
        idempotency_key: str,
        reference: str | None,
        timeout_s: float | None,
        *,
        amount: Money | None = None,
        currency: str | None = None,
    ) -> Payout:
        command = Command(
            verb=Verb.PAYOUT,
            merchant_id=self._merchant_id,
            idempotency_key=clean_key(idempotency_key),
            amount=amount,
            currency=currency,
            reference=optional_text(reference, field="reference", max_length=REFERENCE_LENGTH),
        )
        timeout_s = a_timeout(timeout_s)
        payout = self._engine.flow.run(command, caller=self._caller, timeout_s=timeout_s)
        assert isinstance(payout, Payout)  # noqa: S101  # what the verb is about
        return payout


def _id(payout_id: str) -> str:
    return clean_id(payout_id, prefix="po", field="payout_id")


def _a_reserve(reserve: object, currency: str) -> int:
    if not isinstance(reserve, Money):
        raise InvalidRequest(
            'reserve must be Money, such as Money("50.00", "EUR")',
            code=ErrorCode.TYPE_INVALID,
            field="reserve",
        )
    if reserve.currency != currency:
        raise InvalidRequest(
            f"reserve must be in {currency}, the currency of the minimum",
            code=ErrorCode.CURRENCY_MISMATCH,
            field="reserve",
        )
    if reserve.amount_minor < 0:
        raise InvalidRequest(
            "reserve must not be less than zero", code=ErrorCode.VALUE_INVALID, field="reserve"
        )
    return reserve.amount_minor


def _a_first_time(first_at: datetime | None, interval: PayoutInterval) -> datetime | None:
    if (first_at is None) is not (interval is PayoutInterval.MANUAL):
        raise InvalidRequest(
            "first_at must be given with an interval, and only then",
            code=ErrorCode.VALUE_INVALID,
            field="first_at",
        )
    first_at = None if first_at is None else first_at.astimezone(UTC)
    if interval is PayoutInterval.MONTHLY and first_at is not None and first_at.day > LAST_DAY:
        raise InvalidRequest(
            f"first_at of a monthly plan must be on the {LAST_DAY}th at the latest",
            code=ErrorCode.VALUE_INVALID,
            field="first_at",
        )
    return first_at
