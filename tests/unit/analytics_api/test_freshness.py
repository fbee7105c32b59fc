"""Many who ask get one computation; old answers are given only while a new one is under way."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from cdp_analytics_api.freshness import FreshAnswers
from cdp_runtime.clock import ManualClock


class Counter:
    def __init__(self) -> None:
        self.count = 0

    async def __call__(self) -> int:
        self.count += 1
        await asyncio.sleep(0)
        return self.count


async def test_answers_are_shared_then_refreshed_then_awaited() -> None:
    clock, counter = ManualClock(datetime(2026, 1, 1, tzinfo=UTC)), Counter()
    fresh = FreshAnswers(clock)
    assert await asyncio.gather(*(fresh.get("k", counter) for _ in range(10))) == [1] * 10
    clock.advance(timedelta(seconds=2))
    assert await fresh.get("k", counter) == 1, "stale, but a refresh is under way"
    await asyncio.sleep(0.01)
    assert await fresh.get("k", counter) == 2
    clock.advance(timedelta(seconds=6))
    assert await fresh.get("k", counter) == 3, "too old to be given"
    assert await fresh.get("other", counter) == 4


async def test_a_failure_reaches_who_waits_and_is_not_kept() -> None:
    fresh = FreshAnswers(ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))

    async def fails() -> int:
        raise LookupError("no")

    with pytest.raises(LookupError):
        await fresh.get("k", fails)
    assert await fresh.get("k", Counter()) == 1
