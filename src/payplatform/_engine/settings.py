"""How long things may take, how long keys may be used, how often is too often: checked data."""

from __future__ import annotations

from attrs import frozen

from payplatform._domain.limits import LIMITS, RETRY_RULES, Limit, RetryRule
from payplatform.errors import ErrorCode, InvalidRequest

LONGEST_TIMEOUT_S = 600.0
"""What a bank call may take at most, whoever says so."""

_LONGEST_WAIT_S = 10 * 366 * 86_400.0


@frozen(kw_only=True)
class Settings:
    """How long things may take, how long keys may be used, and how often is too often.

    Attributes:
        timeout_s: how long a bank call may take unless the caller says otherwise.
        lease_margin_s: how much longer a caller is presumed to be alive.
        recovery_schedule_s: how long to wait before each look at an unclear operation; after the
            last it needs a person. (What Kill Bill and PayEx do with 7 and 6 attempts.)
        jitter: by which part of itself a wait varies, so that many do not come back at once.
        master_key_period_s: how old the master key may become before `vault.status()` says that it
            is overdue (PCI DSS v4.0.1, 3.7.4 asks for such a period; a year is common).
        data_key_period_s: the same of the keys that seal cards.
        fingerprint_key_period_s: the same of the keys that make fingerprints.
        retired_key_period_s: how long a retired key may wait for `vault.run()` to destroy it.
        data_key_records: how many cards one key may seal before it is overdue.
        evidence_reminder_s: how long before its deadline `run_due()` reminds of evidence that a
            dispute waits for.
        limits: what is too often, against card testing; an empty tuple for no limit at all.
        retry_rules: how often the card networks let a declined payment be tried again.
        hard_declines_are_final: whether a card that had a hard decline is refused from then on.
        refuse_uncounted: whether to refuse what cannot be counted while the limiter fails. By
            default it is let through: a shop that cannot sell loses more than a while of card
            testing costs it, and what the networks forbid is refused all the same.
        may_reveal: whether `payment_methods.reveal` shows cards in clear to whoever calls it. A
            bank adapter gets them without.

    Raises:
        InvalidRequest: `type_invalid` or `value_invalid`: the timeout is not from 0.001 to 600, the
            margin, a wait or a period not from 0 to ten years, the jitter not from 0 to 1, the
            records not from 1 to 2**32, there is no wait at all, or two limits count the same over
            the same period; or something is of another type.
    """

    timeout_s: float = 30.0
    lease_margin_s: float = 15.0
    recovery_schedule_s: tuple[float, ...] = (
        *(0, 60, 300, 1_800, 7_200, 21_600),
        *(86_400,) * 5,
    )
    jitter: float = 0.2
    master_key_period_s: float = 365 * 86_400.0
    data_key_period_s: float = 365 * 86_400.0
    fingerprint_key_period_s: float = 365 * 86_400.0
    retired_key_period_s: float = 30 * 86_400.0
    data_key_records: int = 2**31
    evidence_reminder_s: float = 3 * 86_400.0
    limits: tuple[Limit, ...] = LIMITS
    retry_rules: tuple[RetryRule, ...] = RETRY_RULES
    hard_declines_are_final: bool = True
    refuse_uncounted: bool = False
    may_reveal: bool = False

    def __attrs_post_init__(self) -> None:
        _require_between("timeout_s", self.timeout_s, 0.001, LONGEST_TIMEOUT_S)
        _require_between("lease_margin_s", self.lease_margin_s, 0, _LONGEST_WAIT_S)
        _require_between("jitter", self.jitter, 0, 1)
        for whose in ("master_key", "data_key", "fingerprint_key", "retired_key"):
            period = f"{whose}_period_s"
            _require_between(period, getattr(self, period), 0, _LONGEST_WAIT_S)
        _require_between("evidence_reminder_s", self.evidence_reminder_s, 0, _LONGEST_WAIT_S)
        _require_between("data_key_records", self.data_key_records, 1, 2**32)
        waits = self.recovery_schedule_s
        if not isinstance(waits, tuple) or not waits:
            raise InvalidRequest(
                "recovery_schedule_s must be a tuple of one wait or more, in seconds",
                code=ErrorCode.TYPE_INVALID,
                field="recovery_schedule_s",
            )
        for wait in waits:
            _require_between("recovery_schedule_s", wait, 0, _LONGEST_WAIT_S)
        _require_all("limits", self.limits, Limit)
        _require_all("retry_rules", self.retry_rules, RetryRule)
        counted = [(limit.per, limit.counted, limit.period_s) for limit in self.limits]
        if len(set(counted)) < len(counted):
            raise InvalidRequest(
                "limits must not count the same over the same period twice",
                code=ErrorCode.VALUE_INVALID,
                field="limits",
            )
        for name in ("hard_declines_are_final", "refuse_uncounted", "may_reveal"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidRequest(
                    f"{name} must be True or False", code=ErrorCode.TYPE_INVALID, field=name
                )


def _require_all(field: str, values: object, kind: type) -> None:
    if not (isinstance(values, tuple) and all(isinstance(value, kind) for value in values)):
        raise InvalidRequest(
            f"{field} must be a tuple of {kind.__name__}", code=ErrorCode.TYPE_INVALID, field=field
        )


def _require_between(field: str, value: object, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequest(f"{field} must be a number", code=ErrorCode.TYPE_INVALID, field=field)
    if not least <= value <= most:
        raise InvalidRequest(
            f"{field} must be from {least:g} to {most:g}",
            code=ErrorCode.VALUE_INVALID,
            field=field,
        )
