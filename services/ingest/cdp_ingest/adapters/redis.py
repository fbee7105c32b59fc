"""What each gateway spent of the sources' limits, in one Redis hash of running totals."""

from collections.abc import Mapping

from redis.asyncio import Redis
from redis.exceptions import RedisError

_KEY = "cdp:ingest:spent"
_LIFETIME_SECONDS = 3600


class RedisSpending:
    """The SharedSpending port. Losing Redis, or its content, only means that gateways limit alone for a moment."""

    def __init__(self, url: str) -> None:
        self._redis: Redis = Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)
        self._totals: dict[str, int] | None = None

    async def exchange(self, spent: Mapping[str, int]) -> Mapping[str, int]:
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for source, events in spent.items():
                    pipeline.hincrby(_KEY, source, events)
                pipeline.expire(_KEY, _LIFETIME_SECONDS)
                pipeline.hgetall(_KEY)
                answers = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise OSError(f"Redis does not answer: {error}") from error
        totals = {source.decode(): int(total) for source, total in answers[-1].items()}
        before, self._totals = self._totals, totals
        if before is None:
            return {}
        grown = {source: total - before.get(source, 0) - spent.get(source, 0) for source, total in totals.items()}
        return {source: events for source, events in grown.items() if events > 0}

    async def stop(self) -> None:
        await self._redis.aclose()
