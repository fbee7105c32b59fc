"""A destination's call rate: a token bucket whose time is an argument. Pure."""

from dataclasses import dataclass


@dataclass(slots=True)
class TokenBucket:
    """``per_second`` tokens flow in, up to ``capacity``; ``at`` is the monotonic time of the last look, seconds."""

    per_second: float
    capacity: float
    tokens: float
    at: float

    @classmethod
    def full(cls, per_second: float, now: float) -> "TokenBucket":
        capacity = max(1.0, per_second)
        return cls(per_second, capacity, capacity, now)

    def take(self, now: float) -> float:
        """Takes one token; returns the seconds to wait before using it, 0 when there was one."""
        self._fill(now)
        self.tokens -= 1.0
        return max(0.0, -self.tokens / self.per_second)

    def is_full(self, now: float) -> bool:
        """Then it is as good as a new one."""
        self._fill(now)
        return self.tokens >= self.capacity

    def change(self, per_second: float, now: float) -> None:
        """Another rate from now on; what was taken stays taken."""
        self._fill(now)
        self.per_second, self.capacity = per_second, max(1.0, per_second)
        self.tokens = min(self.capacity, self.tokens)

    def _fill(self, now: float) -> None:
        self.tokens = min(self.capacity, self.tokens + (now - self.at) * self.per_second)
        self.at = now
