"""How long things may take: data, checked when it is made."""

from __future__ import annotations

from attrs import frozen

from payplatform.errors import ErrorCode, InvalidRequest

LONGEST_TIMEOUT_S = 600.0
"""What a bank call may take at most, whoever says so."""

_LONGEST_WAIT_S = 10 * 366 * 86_400.0


@frozen(kw_only=True)
class Settings:
    """How long things may take.

    Attributes:
        timeout_s: how long a bank call may take unless the caller says otherwise.
        lease_margin_s: how much longer a caller is presumed to be alive.
        recovery_schedule_s: how long to wait before each look at an unclear operation; after the
            last it needs a person. (What Kill Bill and PayEx do with 7 and 6 attempts.)
        jitter: by which part of itself a wait varies, so that many do not come back at once.

    Raises:
        InvalidRequest: `type_invalid` or `value_invalid`: the timeout is not from 0.001 to 600, the
            margin or a wait not from 0 to ten years, the jitter not from 0 to 1, or there is no
            wait at all.
    """

    timeout_s: float = 30.0
    lease_margin_s: float = 15.0
    recovery_schedule_s: tuple[float, ...] = (
        *(0, 60, 300, 1_800, 7_200, 21_600),
        *(86_400,) * 5,
    )
    jitter: float = 0.2

    def __attrs_post_init__(self) -> None:
        _require_between("timeout_s", self.timeout_s, 0.001, LONGEST_TIMEOUT_S)
        _require_between("lease_margin_s", self.lease_margin_s, 0, _LONGEST_WAIT_S)
        _require_between("jitter", self.jitter, 0, 1)
        waits = self.recovery_schedule_s
        if not isinstance(waits, tuple) or not waits:
            raise InvalidRequest(
                "recovery_schedule_s must be a tuple of one wait or more, in seconds",
                code=ErrorCode.TYPE_INVALID,
                field="recovery_schedule_s",
            )
        for wait in waits:
            _require_between("recovery_schedule_s", wait, 0, _LONGEST_WAIT_S)


def _require_between(field: str, value: object, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequest(f"{field} must be a number", code=ErrorCode.TYPE_INVALID, field=field)
    if not least <= value <= most:
        raise InvalidRequest(
            f"{field} must be from {least:g} to {most:g}",
            code=ErrorCode.VALUE_INVALID,
            field=field,
        )
