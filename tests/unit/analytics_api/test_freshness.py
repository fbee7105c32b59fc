"""Many who ask get one computation; old answers are given only while a new one is under way."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from cdp_analytics_api.freshness import FreshAnswers, Freshness
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


@pytest.mark.parametrize(
    ("took", "seconds"),
    [(0.01, 1.0), (0.6, 2.4), (5.0, 20.0), (50.0, 30.0)],
    ids=["quick", "three times as long again", "a busy machine", "at most half a minute"],
)
def test_an_answer_lasts_the_longer_the_more_it_cost(took: float, seconds: float) -> None:
    assert Freshness().lasts(took) == pytest.approx(seconds)


async def test_a_costly_answer_is_computed_less_often() -> None:
    clock, counter = ManualClock(datetime(2026, 1, 1, tzinfo=UTC)), Counter()

    async def costly() -> int:
        clock.advance(timedelta(seconds=0.6))
        return await counter()

    fresh = FreshAnswers(clock)
    computed = []
    for _ in range(4):
        await fresh.get("k", costly)
        await asyncio.sleep(0.01)
        computed.append(counter.count)
        clock.advance(timedelta(seconds=0.7))
    assert computed == [1, 1, 1, 2], "asked for 0, 1.3, 2.0 and 2.7 seconds after it was begun"


async def test_nobody_waits_for_what_took_long_and_it_is_computed_a_quarter_of_the_time() -> None:
    clock, may_end = ManualClock(datetime(2026, 1, 1, tzinfo=UTC)), asyncio.Event()

    async def costly() -> str:
        clock.advance(timedelta(seconds=5))
        return "old"

    async def slow() -> str:
        await may_end.wait()
        return "new"

    fresh = FreshAnswers(clock, Freshness(patience=60))
    assert await fresh.get("k", costly) == "old"
    clock.advance(timedelta(seconds=14))
    assert await fresh.get("k", fails) == "old", "19 s old: not computed"
    for seconds in (2, 8):
        clock.advance(timedelta(seconds=seconds))
        assert await fresh.get("k", slow) == "old", "due for less than twice the 5 s: given at once"
    may_end.set()
    await asyncio.sleep(0.01)
    assert await fresh.get("k", fails) == "new"


async def test_nobody_waits_long_for_what_is_computed_slowly_until_the_old_answer_is_too_old() -> None:
    clock, may_end = ManualClock(datetime(2026, 1, 1, tzinfo=UTC)), asyncio.Event()
    fresh = FreshAnswers(clock, Freshness(patience=0.01, most_patience=0.05))

    async def slow() -> str:
        await may_end.wait()
        return "new"

    async def first() -> str:
        return "old"

    assert await fresh.get("k", first) == "old"
    clock.advance(timedelta(seconds=20))
    assert await fresh.get("k", slow) == "old"
    clock.advance(timedelta(seconds=11))
    assert await fresh.get("k", slow) == "old"
    clock.advance(timedelta(seconds=270))
    waiting = asyncio.create_task(fresh.get("k", slow))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    may_end.set()
    assert await waiting == "new"


async def fails() -> int:
    raise LookupError("no")


async def test_a_failure_reaches_who_waits_and_is_not_kept() -> None:
    fresh = FreshAnswers(ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))
    with pytest.raises(LookupError):
        await fresh.get("k", fails)
    assert await fresh.get("k", Counter()) == 1


@pytest.mark.parametrize("age", [6, 40, 299])
async def test_where_no_new_answer_can_be_had_the_last_one_serves_for_some_minutes(age: int) -> None:
    clock, counter = ManualClock(datetime(2026, 1, 1, tzinfo=UTC)), Counter()
    fresh = FreshAnswers(clock)
    assert await fresh.get("k", counter) == 1
    clock.advance(timedelta(seconds=age))
    assert await fresh.get("k", fails) == 1
    clock.advance(timedelta(seconds=301 - age))
    with pytest.raises(LookupError):
        await fresh.get("k", fails)
    assert await fresh.get("k", counter) == 2
