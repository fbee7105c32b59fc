"""Failing calls -> pauses: exponential with full jitter."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """``delay(attempt)`` is uniform in [0, min(cap, base * 2**attempt)], seconds; attempts count from 0."""

    base: float = 0.2
    cap: float = 15.0

    def delay(self, attempt: int) -> float:
        return random.uniform(0, min(self.cap, self.base * 2.0 ** min(attempt, 30)))
