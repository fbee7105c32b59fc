"""Failing calls -> pauses: exponential with full jitter."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Backoff:
    """``delay(attempt)`` is uniform in [0, min(cap, base * 2**attempt)], seconds; attempts count from 0."""

    base: float = 0.2
    cap: float = 15.0

    def delay(self, attempt: int) -> float:
        return random.uniform(0, min(self.cap, self.base * 2.0 ** min(attempt, 30)))


async def retry_forever(
    call: Callable[[], Awaitable[T]],
    *,
    transient: tuple[type[BaseException], ...],
    on_wait: Callable[[BaseException, float], None],
    backoff: Backoff = Backoff(),
) -> T:
    """The call's result, however many ``transient`` failures come before it; ``on_wait`` sees each with its pause."""
    attempt = 0
    while True:
        try:
            return await call()
        except transient as error:
            pause = backoff.delay(attempt)
            on_wait(error, pause)
            attempt += 1
            await asyncio.sleep(pause)
