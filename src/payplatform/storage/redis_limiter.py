"""Attempts counted in Redis, for many machines at once. Needs the extra `redis`.

Law of this file: to look and to count is one script, which Redis runs by itself from beginning to
end. Times are the caller's: a counter is a sorted set of attempts, each with the microsecond from
which its place is free. What goes wrong is told by the name of its class alone, for Redis's own
texts may hold its address.
"""

# ruff: noqa: D102  # what a method promises stands at the port

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from payplatform.errors import StorageUnavailable
from payplatform.ports import Quota, UsedUp
from payplatform.storage._rows import stored_time, time_of

V = TypeVar("V")

# KEYS: the counters. ARGV: the attempt, now; then for each counter how many at most, from when its
# place would be free, and for how many milliseconds the counter is kept. Gives the number of a
# counter without room and when it has some, or nothing once the attempt is counted.
_TAKE: Final = """
local full, room_at = 0, -1
for i, counter in ipairs(KEYS) do
    redis.call('ZREMRANGEBYSCORE', counter, '-inf', ARGV[2])
    if not redis.call('ZSCORE', counter, ARGV[1]) then
        local last = tonumber(ARGV[3 * i]) - 1
        local free_first = redis.call('ZREVRANGE', counter, last, last, 'WITHSCORES')[2]
        if free_first and tonumber(free_first) > room_at then
            full, room_at = i, tonumber(free_first)
        end
    end
end
if full > 0 then
    return {full, string.format('%.0f', room_at)}
end
for i, counter in ipairs(KEYS) do
    redis.call('ZADD', counter, 'NX', ARGV[3 * i + 1], ARGV[1])
    redis.call('PEXPIRE', counter, ARGV[3 * i + 2])
end
return {}
"""
_CLOCKS_PART_S: Final = 3_600.0
"""How much longer than it counts a counter is kept: by so much the clocks may differ."""


class RedisLimiter:
    """Counts in Redis, exactly for all who share it. See `ports.Limiter`.

    Whether counts outlive a restart of the server is the server's own setting (`appendonly yes`).

    Args:
        url: as redis-py takes it: `redis://`, `rediss://` or `unix://`, credentials included.
        prefix: what the names of the counters begin with, so that others may share the server.
        timeout_s: how long a call may take to connect, and to be answered, in seconds.
    """

    def __init__(self, url: str, *, prefix: str = "payplatform", timeout_s: float = 1.0) -> None:
        # To ask again is harmless, and finds a server that was started anew.
        retry = Retry(NoBackoff(), retries=1)
        self._redis: Any = Redis.from_url(
            url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=retry
        )
        self._script = self._redis.register_script(_TAKE)
        # The braces keep all of them on one machine of a cluster, as a script needs.
        self._prefix = f"{{{prefix}}}:"

    def take(self, attempt: str, quotas: Sequence[Quota], now: datetime) -> UsedUp | None:
        keys = [self._prefix + quota.counter for quota in quotas]
        arguments: list[str | int] = [attempt, stored_time(now)]
        for quota in quotas:
            until = stored_time(now + timedelta(seconds=quota.period_s))
            arguments += [quota.most, until, int(1_000 * (quota.period_s + _CLOCKS_PART_S))]
        used = _asked(lambda: self._script(keys=keys, args=arguments))
        if not used:
            return None
        number, room_at = used
        return UsedUp(quota=quotas[number - 1], room_at=time_of(int(room_at)))

    def give_back(self, attempt: str, counters: Sequence[str]) -> None:
        def all_at_once() -> None:
            with self._redis.pipeline() as calls:
                for counter in counters:
                    calls.zrem(self._prefix + counter, attempt)
                calls.execute()

        _asked(all_at_once)

    def describe(self) -> Mapping[str, str]:
        return {"adapter": "redis", "prefix": self._prefix}

    def close(self) -> None:
        self._redis.close()


def _asked(call: Callable[[], V]) -> V:
    try:
        return call()
    except (RedisError, OSError) as error:
        name = type(error).__name__
    raise StorageUnavailable(f"Redis does not count the attempt ({name})")
