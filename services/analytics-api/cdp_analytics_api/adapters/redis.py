"""Requests of a key -> admitted or told to wait, counted in Redis for all processes together."""

import time
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from cdp_analytics_api.ports import Verdict
from cdp_runtime.logs import get_logger
from cdp_runtime.metrics import API_LIMITER_FAILURES
from cdp_runtime.rates import Rates

_log = get_logger(__name__)
_PASS: Final = Verdict(True)
# after a failure Redis is left alone this long, so that its outage costs requests nothing
_PAUSE_S: Final = 1.0
# a key's burst is taken in so many parts: small ones request by request
_PARTS: Final = 60
_LEASE_S: Final = 10.0
# generic cell rate algorithm: one value per key, the time at which the key would be idle again;
# answers how many requests are let through, at most as many as were asked for, or minus the milliseconds to wait
_ADMIT: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local step, burst, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local idle = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
local wait = idle + step - now - burst * step
if wait > 0 then return -math.ceil(wait) end
local taken = math.min(most, 1 + math.floor(-wait / step))
idle = idle + taken * step
redis.call('SET', KEYS[1], string.format('%.3f', idle), 'PX', math.ceil(idle - now) + 1000)
return taken
"""
_FORGIVE: Final = """
local idle = redis.call('GET', KEYS[1])
if idle then redis.call('SET', KEYS[1], string.format('%.3f', tonumber(idle) - ARGV[1]), 'KEEPTTL') end
return 0
"""


class RedisRateLimiter:
    """The RateLimiter port. Without Redis each process counts alone, and a metric tells so.

    Where a key may make many requests at once, a process takes some in advance: asking Redis about each was a seventh
    of what a request costs the process. They count when they are taken, so that all processes together let no more
    through; those that are left after ten seconds are lost.
    """

    def __init__(self, url: str, what: str, per_minute: int, burst: int) -> None:
        self._redis: Redis = Redis.from_url(url, socket_timeout=0.25, socket_connect_timeout=0.25)
        self._admit, self._forgive = self._redis.register_script(_ADMIT), self._redis.register_script(_FORGIVE)
        self._prefix = f"front:{what}:"
        self._step_ms, self._burst = 60_000 / per_minute, burst
        self._at_once = max(1, burst // _PARTS)
        self._leased: dict[str, int] = {}
        self._leased_until = 0.0
        self._alone = Rates(per_minute, burst, time.monotonic)
        self._paused_until = 0.0

    async def admit(self, key: str) -> Verdict:
        if self._lease(key):
            return _PASS
        taken = await self._asked(self._admit, key, self._step_ms, self._burst, self._at_once)
        if taken is None:
            API_LIMITER_FAILURES.inc()
            wait = self._alone.admit(key)
            return Verdict(False, wait) if wait else _PASS
        if taken < 0:
            return Verdict(False, -taken / 1000)
        self._leased[key] = self._leased.get(key, 0) + int(taken) - 1
        return _PASS

    async def forgive(self, key: str) -> None:
        if await self._asked(self._forgive, key, self._step_ms) is None:
            self._alone.forgive(key)

    def _lease(self, key: str) -> bool:
        """Whether one of the requests that were taken in advance is left."""
        if time.monotonic() >= self._leased_until:
            self._leased, self._leased_until = {}, time.monotonic() + _LEASE_S
        left = self._leased.get(key, 0)
        if left:
            self._leased[key] = left - 1
        return left > 0

    async def _asked(self, script: Any, key: str, *arguments: float) -> float | None:
        """What the script answers; None while Redis is out of reach."""
        if time.monotonic() < self._paused_until:
            return None
        try:
            return float(await script(keys=[self._prefix + key], args=list(arguments)))
        except (RedisError, OSError, TimeoutError) as error:
            self._paused_until = time.monotonic() + _PAUSE_S
            _log.warning("rate_limiter_alone", reason=str(error) or type(error).__name__)
            return None

    async def close(self) -> None:
        await self._redis.aclose()
