"""Whether an attempt may be made at all: asked before the intent is stored and before the bank is.

Two questions, answered from two places. What the card networks forbid follows from our own
operations, so it cannot drift. What looks like card testing is counted by the limiter, under a name
that a repeat of the call has too: a call that died after it was counted takes no second place,
which is why the count need not be in the commit of the intent. Only new requests come here, so a
replay is never refused. Nothing that is refused was counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from attrs import frozen

from payplatform._domain.commands import Command
from payplatform._domain.limits import (
    Counted,
    Limit,
    Per,
    Refusal,
    forbidden_by_network,
    used_up,
)
from payplatform._domain.operations import Operation, OperationState
from payplatform._domain.records import PaymentMethod
from payplatform._engine.pages import all_records
from payplatform._engine.sealing import length_prefixed
from payplatform._engine.settings import Settings
from payplatform._engine.vault import Vault
from payplatform.errors import ErrorCode, LimitExceeded, StorageUnavailable
from payplatform.ports import Filter, Limiter, Quota, Storage

_Whose = Mapping[Per, str | bytes | None]


@frozen(kw_only=True)
class Held:
    """The places that an attempt holds until it is known not to be a decline."""

    attempt: str
    counters: tuple[str, ...]


class Limits:
    """Admits attempts, or refuses them."""

    def __init__(
        self,
        *,
        storage: Storage,
        limiter: Limiter | None,
        vault: Vault,
        now: Callable[[], datetime],
        settings: Settings,
    ) -> None:
        self._storage = storage
        self._limiter = limiter
        self._on_attempts = _those(settings.limits, Counted.ATTEMPTS, Counted.DECLINES)
        self._on_cards = _those(settings.limits, Counted.CARDS)
        self._vault = vault
        self._now = now
        self._settings = settings

    def admit(self, command: Command, operation: Operation, method: PaymentMethod) -> Held | None:
        """Let an operation that carries a card pass, and count it.

        Returns:
            The places that it holds; None where nothing is counted.

        Raises:
            LimitExceeded: a limit is used up, or the card network forbids it.
            StorageUnavailable: `limiter_unavailable`: it cannot be counted, and has to be.
        """
        self._require_wanted(operation, method, command.payment_id)
        whose = {
            **self._merchant_and_origin(command.merchant_id, command.origin),
            Per.CARD: method.fingerprint,
            Per.CUSTOMER: method.customer_id,
        }
        attempt = ("attempt", command.merchant_id, command.idempotency_key)
        return self._counted(
            attempt, self._on_attempts, command.merchant_id, whose, command.payment_id
        )

    def admit_card(
        self, merchant_id: str, fingerprint: bytes, *, customer_id: str | None, origin: str | None
    ) -> None:
        """Let a card be stored that was not there, and count it; the same one counts once.

        Raises:
            LimitExceeded: a limit is used up.
            StorageUnavailable: `limiter_unavailable`: it cannot be counted, and has to be.
        """
        whose = {**self._merchant_and_origin(merchant_id, origin), Per.CUSTOMER: customer_id}
        self._counted(("card", merchant_id, fingerprint), self._on_cards, merchant_id, whose)

    def let_go(self, held: Held) -> None:
        """Count an attempt as a decline no more. Where that fails, it does until its time is up."""
        if self._limiter is not None and held.counters:
            with suppress(StorageUnavailable):
                self._limiter.give_back(held.attempt, held.counters)

    def _require_wanted(
        self, operation: Operation, method: PaymentMethod, payment_id: str | None
    ) -> None:
        refusal = forbidden_by_network(
            operation,
            method.brand,
            self._declined(method),
            self._settings.retry_rules,
            hard_is_final=self._settings.hard_declines_are_final,
        )
        if refusal is not None:
            raise _refused(refusal, payment_id)

    def _declined(self, method: PaymentMethod) -> Iterable[Operation]:
        """The declined operations with this card, whichever way it was stored."""
        if method.fingerprint is None:
            return ()
        allowed_at = method.allowed_again_at
        where = Filter(
            card_fingerprint=method.fingerprint,
            states=frozenset({OperationState.DECLINED}),
            created_from=allowed_at and allowed_at + timedelta.resolution,
        )
        return all_records(self._storage, method.merchant_id, Operation, where)

    def _merchant_and_origin(self, merchant_id: str, origin: str | None) -> _Whose:
        if origin is None or all(limit.per is not Per.ORIGIN for limit in self._settings.limits):
            return {Per.MERCHANT: merchant_id}
        return {Per.MERCHANT: merchant_id, Per.ORIGIN: self._vault.mark(merchant_id, origin)}

    def _counted(
        self,
        attempt: tuple[str | bytes, ...],
        limits: Iterable[Limit],
        merchant_id: str,
        whose: _Whose,
        payment_id: str | None = None,
    ) -> Held | None:
        if self._limiter is None:
            return None
        by_counter = {
            _name(merchant_id, limit.per, limit.counted, str(float(limit.period_s)), one): limit
            for limit in limits
            if (one := whose.get(limit.per)) is not None
        }
        if not by_counter:
            return None
        name = _name(*attempt)
        self._take(self._limiter, name, by_counter, payment_id)
        declines = (c for c, limit in by_counter.items() if limit.counted is Counted.DECLINES)
        return Held(attempt=name, counters=tuple(declines))

    def _take(
        self,
        limiter: Limiter,
        attempt: str,
        by_counter: Mapping[str, Limit],
        payment_id: str | None,
    ) -> None:
        quotas = [
            Quota(counter=counter, most=limit.most, period_s=limit.period_s)
            for counter, limit in by_counter.items()
        ]
        now = self._now()
        try:
            full = limiter.take(attempt, quotas, now)
        except StorageUnavailable:
            if not self._settings.refuse_uncounted:
                return
        else:
            if full is None:
                return
            raise _refused(used_up(by_counter[full.quota.counter], full.room_at, now), payment_id)
        raise StorageUnavailable(
            "the attempt cannot be counted; nothing was sent", code=ErrorCode.LIMITER_UNAVAILABLE
        )


def _those(limits: Iterable[Limit], *counted: Counted) -> tuple[Limit, ...]:
    return tuple(limit for limit in limits if limit.counted in counted)


def _refused(refusal: Refusal, payment_id: str | None) -> LimitExceeded:
    """The error of a refusal: every one comes from here."""
    return LimitExceeded(
        f"{refusal.why}; the bank was not asked",
        code=refusal.code,
        retry_after=refusal.retry_after,
        payment_id=payment_id,
    )


def _name(*parts: str | bytes) -> str:
    """A name from which nothing can be read, and that no other parts have."""
    data = (part.encode() if isinstance(part, str) else part for part in parts)
    return hashlib.sha256(length_prefixed(b"payplatform/limit/v1", *data)).hexdigest()
