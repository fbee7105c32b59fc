"""Each dependency away, at the start: the door opens all the same and says what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from cdp_analytics_api.service import AnalyticsApi
from cdp_clickhouse.client import ClickHouse
from cdp_runtime.metrics import API_LIMITER_FAILURES

from .conftest import ADA, EventRow, insert_events, nobody, running, settings

pytestmark = [pytest.mark.postgres, pytest.mark.clickhouse, pytest.mark.redis]


async def test_without_postgres_no_token_can_be_checked(urls: dict[str, str]) -> None:
    async with running({**urls, "postgres_url": f"postgresql://cdp@{nobody()}/cdp"}) as (api, client):
        assert (await client.get("/health")).status_code == 200
        answer = await client.get("/stats")
        assert (answer.status_code, answer.json()["code"]) == (503, "postgres_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        assert "postgres" in api.faults()


async def test_without_clickhouse_questions_are_503_and_the_rest_goes_on(urls: dict[str, str]) -> None:
    async with running({**urls, "clickhouse_url": f"http://default:@{nobody()}/cdp"}) as (api, client):
        answer = await client.get("/stats")
        assert (answer.status_code, answer.json()["code"]) == (503, "clickhouse_unavailable")
        assert "clickhouse" in api.faults()
        assert (await client.get("/events/quarantine")).status_code == 200


async def test_without_redis_the_process_counts_alone(urls: dict[str, str]) -> None:
    before = API_LIMITER_FAILURES._value.get()
    limits = {"api_rate_per_minute": 1, "api_rate_burst": 3, "api_wrong_tokens_per_minute": 2}
    async with running({**urls, **limits, "redis_url": f"redis://{nobody()}/0"}) as (api, client):
        answers = [await client.get("/stats") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        guesses = [await client.get("/stats", headers={"Authorization": f"Bearer {n}"}) for n in range(4)]
        assert [answer.status_code for answer in guesses] == [401, 401, 429, 429]
        assert "redis" not in api.faults()
    assert API_LIMITER_FAILURES._value.get() > before


async def test_without_kafka_a_listener_is_told_to_wait(urls: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdp_analytics_api.routes.live._READY_S", 0.5)
    async with running(urls) as (api, client):
        url = "/events/stream"
        async with client.stream("GET", url, headers={"Accept": "text/event-stream"}) as answer:
            first = [line async for line in _first_lines(answer, 1)]
        assert first == ["event: waiting"]
        assert "kafka" in api.faults()


async def _first_lines(answer: httpx.Response, count: int) -> AsyncIterator[str]:
    async for line in answer.aiter_lines():
        yield line
        count -= 1
        if not count:
            return


async def test_an_open_stream_does_not_hold_up_the_end(urls: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdp_analytics_api.routes.live._READY_S", 0.2)
    api = AnalyticsApi(settings(**urls), [])
    await api.start()
    url = f"http://127.0.0.1:{api.port}/api/cdp/events/stream?token=everything"
    async with (
        httpx.AsyncClient(timeout=20) as client,
        client.stream("GET", url, headers={"Accept": "text/event-stream"}) as answer,
    ):
        lines = answer.aiter_lines()
        assert await anext(lines) == "event: waiting"
        async with asyncio.timeout(8):
            await api.stop()
            assert [line async for line in lines][-1] == ""


async def test_a_token_that_asks_too_often_is_told_when_to_come_back(urls: dict[str, str]) -> None:
    async with running({**urls, "api_rate_per_minute": 60, "api_rate_burst": 3}) as (_, client):
        headers = {"Authorization": "Bearer nothing"}
        answers = [await client.get("/stats", headers=headers) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [403, 403, 403, 429, 429]
        assert answers[-1].json()["code"] == "rate_limited"
        assert answers[-1].headers["Retry-After"] == "1"
        assert (await client.get("/stats")).status_code == 200, "another token has its own allowance"


async def test_a_question_that_reads_too_much_is_422(urls: dict[str, str], store: ClickHouse) -> None:
    rows = [EventRow("heavy", "Page Viewed", ADA, 1_700_000_000_000 + k, offset=k) for k in range(50)]
    await insert_events(store, rows)
    async with running({**urls, "api_query_rows": 10}) as (_, client):
        answer = await client.get("/events", headers={"Authorization": "Bearer heavy"})
        assert (answer.status_code, answer.json()["code"]) == (422, "too_heavy")
