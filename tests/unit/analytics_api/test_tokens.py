"""Tokens are looked up once, forgotten in time, and never guessed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from cdp_analytics_api.ports import StoredToken
from cdp_analytics_api.tokens import TokenAuthenticator
from cdp_runtime.auth import Principal, hash_token
from cdp_runtime.clock import ManualClock
from cdp_runtime.envelope import ApiError
from tests.fakes.analytics_api import FakeTokens

NOW = datetime(2026, 2, 15, 12, 0, tzinfo=UTC)
ADA = Principal("acme", "t-1", frozenset({"events:read"}))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


def kept(token: str, expires_at: datetime | None = None) -> StoredToken:
    return StoredToken(ADA, hash_token(token), expires_at)


async def test_many_requests_ask_the_store_once(clock: ManualClock) -> None:
    tokens = FakeTokens(kept("good"))
    door = TokenAuthenticator(tokens, clock, cache_seconds=10)
    assert await asyncio.gather(*(door.principal("good") for _ in range(20))) == [ADA] * 20
    assert await asyncio.gather(*(door.principal("bad") for _ in range(20))) == [None] * 20
    assert tokens.asked == 2


async def test_a_revoked_token_ends_with_the_cache(clock: ManualClock) -> None:
    tokens = FakeTokens(kept("good"))
    door = TokenAuthenticator(tokens, clock, cache_seconds=10)
    assert await door.principal("good") == ADA
    tokens.stored.clear()
    clock.advance(timedelta(seconds=9))
    assert await door.principal("good") == ADA
    clock.advance(timedelta(seconds=2))
    assert await door.principal("good") is None


async def test_a_token_ends_at_its_time_even_when_cached(clock: ManualClock) -> None:
    door = TokenAuthenticator(FakeTokens(kept("good", NOW + timedelta(seconds=5))), clock, cache_seconds=60)
    assert await door.principal("good") == ADA
    clock.advance(timedelta(seconds=5))
    assert await door.principal("good") is None


async def test_an_outage_is_503_and_not_401(clock: ManualClock) -> None:
    tokens = FakeTokens(kept("good"))
    tokens.failure = psycopg.OperationalError("the server is gone")
    door = TokenAuthenticator(tokens, clock, cache_seconds=10)
    with pytest.raises(ApiError) as fault:
        await door.principal("good")
    assert (fault.value.status, fault.value.code) == (503, "postgres_unavailable")
    tokens.failure = None
    assert await door.principal("good") == ADA, "an outage is not remembered as a wrong token"


async def test_uses_are_noted_later_and_survive_an_outage(clock: ManualClock) -> None:
    tokens = FakeTokens(kept("good"))
    door = TokenAuthenticator(tokens, clock, cache_seconds=10)
    await door.principal("good")
    tokens.failure = psycopg.OperationalError("gone")
    await door.note_uses()
    tokens.failure = None
    await door.note_uses()
    await door.note_uses()
    assert tokens.noted == [{("acme", "t-1"): NOW}]


@pytest.mark.parametrize("token", ["", "x" * 513])
async def test_impossible_tokens_do_not_reach_the_store(clock: ManualClock, token: str) -> None:
    tokens = FakeTokens()
    assert await TokenAuthenticator(tokens, clock, cache_seconds=1).principal(token) is None
    assert tokens.asked == 0


async def test_guesses_push_no_good_token_out(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdp_analytics_api.tokens._MOST_CACHED", 10)
    tokens = FakeTokens(kept("good"))
    door = TokenAuthenticator(tokens, clock, cache_seconds=10)
    assert not door.remembers("good")
    assert await door.principal("good") == ADA
    for number in range(100):
        assert await door.principal(f"guess-{number}") is None
    asked = tokens.asked
    assert door.remembers("good") and not door.remembers("guess-99")
    assert await door.principal("good") == ADA and tokens.asked == asked
    clock.advance(timedelta(hours=1))
    assert door.remembers("good"), "however long ago"
    tokens.stored.clear()
    assert await door.principal("good") is None and not door.remembers("good")
