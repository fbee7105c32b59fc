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
# generic cell rate algorithm: one value per key, the time at which the key would be idle again
_ADMIT: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local step, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local idle = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
local wait = idle + step - now - burst * step
if wait > 0 then return math.ceil(wait) end
redis.call('SET', KEYS[1], string.format('%.3f', idle + step), 'PX', math.ceil(idle + step - now) + 1000)
return 0
"""
_FORGIVE: Final = """
local idle = redis.call('GET', KEYS[1])
if idle then redis.call('SET', KEYS[1], string.format('%.3f', tonumber(idle) - ARGV[1]), 'KEEPTTL') end
return 0
"""


class RedisRateLimiter:
    """The RateLimiter port. Without Redis each process counts alone, and a metric tells so."""

    def __init__(self, url: str, what: str, per_minute: int, burst: int) -> None:
        self._redis: Redis = Redis.from_url(url, socket_timeout=0.25, socket_connect_timeout=0.25)
        self._admit, self._forgive = self._redis.register_script(_ADMIT), self._redis.register_script(_FORGIVE)
        self._prefix = f"front:{what}:"
        self._step_ms, self._burst = 60_000 / per_minute, burst
        self._alone = Rates(per_minute, burst, time.monotonic)
        self._paused_until = 0.0

    async def admit(self, key: str) -> Verdict:
        wait_ms = await self._asked(self._admit, key, self._step_ms, self._burst)
        if wait_ms is None:
            API_LIMITER_FAILURES.inc()
            wait_ms = self._alone.admit(key) * 1000
        return Verdict(False, wait_ms / 1000) if wait_ms else _PASS

    async def forgive(self, key: str) -> None:
        if await self._asked(self._forgive, key, self._step_ms) is None:
            self._alone.forgive(key)

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
