"""Requests that are taken in advance: Redis is asked rarely, and all processes together let through no more."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import pytest

from cdp_analytics_api.adapters import redis as adapter
from cdp_analytics_api.adapters.redis import RedisRateLimiter


@asynccontextmanager
async def limiter(redis_url: str, per_minute: int, burst: int) -> AsyncIterator[RedisRateLimiter]:
    made = RedisRateLimiter(redis_url, "test", per_minute, burst)
    try:
        yield made
    finally:
        await made.close()


async def admitted(made: RedisRateLimiter, key: str, most: int) -> int:
    """How many are let through one after another until one is refused."""
    for number in range(most):
        if not (await made.admit(key)).allowed:
            return number
    return most


async def asked(made: RedisRateLimiter, monkeypatch: pytest.MonkeyPatch, requests: int) -> int:
    """How often Redis is asked for so many requests."""
    questions, ask = 0, made._asked

    async def counted(script: object, key: str, *arguments: float) -> float | None:
        nonlocal questions
        questions += 1
        return await ask(script, key, *arguments)

    monkeypatch.setattr(made, "_asked", counted)
    assert await admitted(made, uuid4().hex, requests) == requests
    return questions


async def test_one_process_lets_the_whole_burst_through(redis_url: str) -> None:
    async with limiter(redis_url, 1, 600) as made:
        assert await admitted(made, uuid4().hex, 700) == 600


async def test_several_together_let_through_no_more_than_one(redis_url: str) -> None:
    key = uuid4().hex
    async with AsyncExitStack() as stack:
        several = [await stack.enter_async_context(limiter(redis_url, 1, 600)) for _ in range(3)]
        through = 0
        for made in several * 100:
            through += await admitted(made, key, 7)
        assert through == 600


@pytest.mark.parametrize(("burst", "questions"), [(600, 10), (60, 60)])
async def test_a_large_burst_is_taken_in_parts_and_a_small_one_request_by_request(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, burst: int, questions: int
) -> None:
    async with limiter(redis_url, 1, burst) as made:
        assert await asked(made, monkeypatch, min(burst, 100)) == questions


async def test_what_was_taken_in_advance_lapses(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_LEASE_S", 0.0)
    async with limiter(redis_url, 1, 600) as made:
        assert await admitted(made, uuid4().hex, 100) == 60
