"""Wrong tokens count against their address in all processes together; good ones never do."""

from __future__ import annotations

import httpx
import pytest

from .conftest import running

pytestmark = [pytest.mark.postgres, pytest.mark.clickhouse, pytest.mark.redis]


async def asked(client: httpx.AsyncClient, token: str, address: str = "203.0.113.5") -> int:
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address}
    return (await client.get("/stats", headers=headers)).status_code


async def test_processes_count_guesses_together(urls: dict[str, str]) -> None:
    limits = {"api_wrong_tokens_per_minute": 4}
    async with running({**urls, **limits}) as (_, one), running({**urls, **limits}) as (_, other):
        assert await asked(one, "reader") == 200
        statuses = [await asked(door, f"guess-{n}") for n in range(3) for door in (one, other)]
        assert statuses == [401] * 4 + [429] * 2
        assert await asked(one, "reader") == 200, "this process has seen that it is good"
        assert await asked(other, "guess-9", "203.0.113.6") == 401, "another address"


async def test_a_token_that_is_new_to_the_process_counts_only_while_it_is_asked_for(urls: dict[str, str]) -> None:
    async with running({**urls, "api_wrong_tokens_per_minute": 1}) as (_, client):
        assert [await asked(client, token) for token in ("everything", "stranger", "reader")] == [200] * 3
        assert await asked(client, "nothing") == 403, "it lacks a scope, and is no guess"
        assert [await asked(client, "wrong"), await asked(client, "wrong")] == [401, 429]
        assert [await asked(client, token) for token in ("everything", "stranger", "reader")] == [200] * 3


async def test_without_a_token_nothing_is_guessed(urls: dict[str, str]) -> None:
    async with running({**urls, "api_wrong_tokens_per_minute": 1}) as (_, client):
        for _ in range(3):
            answer = await client.get("/stats", headers={"Authorization": "", "X-Forwarded-For": "203.0.113.5"})
            assert answer.status_code == 401


async def test_who_is_no_trusted_proxy_cannot_choose_an_address(urls: dict[str, str]) -> None:
    async with running({**urls, "api_wrong_tokens_per_minute": 2, "api_trusted_proxies": "192.0.2.0/24"}) as (
        _,
        client,
    ):
        assert [await asked(client, "wrong", f"203.0.113.{n}") for n in range(4)] == [401, 401, 429, 429]
