"""Requests of a key -> admitted or told to wait, counted in Redis for all processes together."""

import time
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from cdp_analytics_api.ports import Verdict
from cdp_runtime.logs import get_logger
from cdp_runtime.metrics import API_LIMITER_FAILURES

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


class RedisRateLimiter:
    """The RateLimiter port. Without Redis every request passes, and a metric counts it."""

    def __init__(self, url: str, per_minute: int, burst: int) -> None:
        self._redis: Redis = Redis.from_url(url, socket_timeout=0.25, socket_connect_timeout=0.25)
        self._script = self._redis.register_script(_ADMIT)
        self._step_ms = 60_000 / per_minute
        self._burst = burst
        self._paused_until = 0.0

    async def admit(self, key: str) -> Verdict:
        if time.monotonic() < self._paused_until:
            API_LIMITER_FAILURES.inc()
            return _PASS
        try:
            wait_ms = await self._script(keys=[f"front:rate:{key}"], args=[self._step_ms, self._burst])
        except (RedisError, OSError, TimeoutError) as error:
            self._paused_until = time.monotonic() + _PAUSE_S
            API_LIMITER_FAILURES.inc()
            _log.warning("rate_limiter_open", reason=str(error) or type(error).__name__)
            return _PASS
        return Verdict(False, int(wait_ms) / 1000) if wait_ms else _PASS

    async def close(self) -> None:
        await self._redis.aclose()
