"""Events and bytes of a source -> whether it may have them now, and if not, in how many whole seconds."""

import math
from dataclasses import dataclass
from typing import Final

from cdp_ingest.refusals import BUFFER_FULL, RATE_LIMITED, SOURCE_BUFFER_FULL, CallRefused

MOST_SECONDS: Final = 300  # SDKs do not wait longer than this
_FORGET_AT: Final = 50_000


@dataclass(frozen=True, slots=True)
class Rate:
    """A source's limit: ``per_second`` events, and ``burst`` at once. 0 per second means no limit."""

    per_second: float
    burst: float


UNLIMITED: Final = Rate(0, 0)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Limiter:
    """A token bucket per source. A call that finds a token is let in whole, however many events it has: the debt is
    paid before the next one, so a batch is never cut and the rate holds over time."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}
        self._spent: dict[str, int] = {}

    def check(self, source: str, rate: Rate, now: float) -> None:
        """``now`` is a monotonic time in seconds. Raises CallRefused with the seconds until there is a token again."""
        if rate.per_second <= 0:
            return
        bucket = self._bucket(source, rate, now)
        if bucket.tokens < 1:
            raise limited((1 - bucket.tokens) / rate.per_second)

    def spend(self, source: str, rate: Rate, events: int, now: float) -> None:
        """Takes the tokens of an accepted call."""
        if rate.per_second > 0:
            self._bucket(source, rate, now).tokens -= events
            self._spent[source] = self._spent.get(source, 0) + events

    def take_spent(self) -> dict[str, int]:
        """What was spent per source since the last call: to be told to the other gateways."""
        spent, self._spent = self._spent, {}
        return spent

    def charge(self, source: str, events: int) -> None:
        """Takes the tokens that other gateways spent; a source unknown here owes nothing yet."""
        if source in self._buckets:
            self._buckets[source].tokens -= events

    def _bucket(self, source: str, rate: Rate, now: float) -> _Bucket:
        burst = max(1.0, rate.burst)  # with less there never is a token, and the source would be shut out for ever
        bucket = self._buckets.get(source)
        if bucket is None:
            if len(self._buckets) >= _FORGET_AT:
                self._buckets.clear()
            bucket = self._buckets[source] = _Bucket(burst, now)
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.at) * rate.per_second)
        bucket.at = now
        return bucket


class InFlight:
    """The bytes of all bodies between their arrival and their answer, bounded for the worker and for each source.

    A source is its workspace and its id: each workspace may call one of its own ``web``.
    """

    def __init__(self, limit: int, source_limit: int) -> None:
        self._limit, self._source_limit = limit, source_limit
        self._by_source: dict[tuple[str, str], int] = {}
        self.total = 0

    def reserve(self, size: int) -> None:
        """Raises CallRefused when the worker is full; else the bytes are held until :meth:`release`."""
        if self.total + size > self._limit:
            raise CallRefused(BUFFER_FULL)
        self.total += size

    def release(self, size: int) -> None:
        self.total -= size

    def enter(self, source: tuple[str, str], size: int) -> None:
        """Raises CallRefused when the source alone has too many bytes in flight."""
        held = self._by_source.get(source, 0)
        if held and held + size > self._source_limit:
            raise CallRefused(SOURCE_BUFFER_FULL)
        self._by_source[source] = held + size

    def leave(self, source: tuple[str, str], size: int) -> None:
        held = self._by_source[source] - size
        if held:
            self._by_source[source] = held
        else:
            del self._by_source[source]


def limited(seconds: float) -> CallRefused:
    """429 with the wait, at least one second and at most five minutes."""
    return CallRefused(RATE_LIMITED, retry_after=min(MOST_SECONDS, max(1, math.ceil(seconds))))
