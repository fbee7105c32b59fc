"""Live streams against clients that open too many, read too slowly, or whose tokens end meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import psycopg
import pytest
import websockets

from cdp_analytics_api.event_view import EventView
from cdp_analytics_api.service import AnalyticsApi
from cdp_runtime.auth import hash_token

from .conftest import running

pytestmark = [pytest.mark.postgres, pytest.mark.clickhouse, pytest.mark.redis]
SSE = {"Accept": "text/event-stream"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no Kafka here: streams say so at once."""
    monkeypatch.setattr("cdp_analytics_api.routes.live._READY_S", 0.1)


def address(api: AnalyticsApi, token: str = "everything") -> str:
    return f"ws://127.0.0.1:{api.port}/api/cdp/ws/events?token={token}"


async def greeted(socket: websockets.ClientConnection) -> None:
    async with asyncio.timeout(10):
        assert json.loads(await socket.recv())["type"] == "waiting"


async def refused(api: AnalyticsApi, token: str = "everything", client: str = "127.0.0.1") -> str:
    """The reason why one more stream is not opened; of the WebSocket and of server-sent events the same."""
    headers = {"X-Forwarded-For": client}
    with pytest.raises(websockets.InvalidStatus) as found:
        await websockets.connect(address(api, token), additional_headers=headers)
    assert found.value.response.status_code == 429
    assert int(found.value.response.headers["Retry-After"]) >= 1
    async with httpx.AsyncClient() as http:
        url = f"http://127.0.0.1:{api.port}/api/cdp/events/stream?token={token}"
        answer = await http.get(url, headers={**SSE, **headers})
    assert answer.status_code == 429 and answer.json()["code"] == "too_many_streams"
    message: str = answer.json()["message"]
    return message


async def test_a_token_a_workspace_and_a_client_have_so_many_streams_and_get_them_back(urls: dict[str, str]) -> None:
    most = {"api_streams_per_token": 2, "api_streams_per_workspace": 3, "api_streams_per_client": 4}
    async with running({**urls, **most}) as (api, http), AsyncExitStack() as open_streams:

        async def opened(token: str, client: str = "127.0.0.1") -> websockets.ClientConnection:
            connecting = websockets.connect(address(api, token), additional_headers={"X-Forwarded-For": client})
            return await open_streams.enter_async_context(connecting)

        first = await opened("everything")
        stream = f"http://127.0.0.1:{api.port}/api/cdp/events/stream?token=everything"
        sse = await open_streams.enter_async_context(http.stream("GET", stream, headers=SSE))
        assert sse.status_code == 200
        assert "token has 2" in await refused(api)
        await opened("reader")
        assert "workspace has 3" in await refused(api, "reader")
        await opened("stranger")
        assert "client has 4" in await refused(api, "stranger")
        await opened("stranger", client="2001:db8::1")
        assert (await http.get("/stats")).is_success, "requests go on"
        await first.close()
        await sse.aclose()
        async with asyncio.timeout(10):
            while True:
                try:
                    await greeted(await opened("everything"))
                    break
                except websockets.InvalidStatus:
                    await asyncio.sleep(0.05)


@asynccontextmanager
async def token(postgres_url: str, expires: str = "NULL") -> AsyncIterator[str]:
    name = uuid4().hex
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute(
            "INSERT INTO front.tokens (workspace_id, token_id, name, token_hash, scopes, expires_at)"  # type: ignore[arg-type]
            f" VALUES ('acme', gen_random_uuid(), %s, %s, %s, {expires})",
            (name, hash_token(name), ["events:read"]),
        )
        yield name


async def test_revoking_a_token_ends_its_streams(urls: dict[str, str]) -> None:
    async with (
        running(urls) as (api, _),
        token(urls["postgres_url"]) as name,
        httpx.AsyncClient(timeout=20) as http,
    ):
        stream = f"http://127.0.0.1:{api.port}/api/cdp/events/stream?token={name}"
        async with (
            websockets.connect(address(api, name)) as socket,
            websockets.connect(address(api)) as other,
            http.stream("GET", stream, headers=SSE) as sse,
        ):
            await greeted(socket)
            async with await psycopg.AsyncConnection.connect(urls["postgres_url"], autocommit=True) as connection:
                await connection.execute("DELETE FROM front.tokens WHERE name = %s", (name,))
            async with asyncio.timeout(10):
                await socket.wait_closed()
                told = "".join([part async for part in sse.aiter_text()])
            assert (socket.close_code, socket.close_reason) == (
                1008,
                "the API token was revoked, has expired or has other scopes now",
            )
            assert 'event: closed\ndata: {"reason": "the API token was revoked' in told
            await greeted(other)
            await other.ping()


async def test_a_token_that_expires_ends_its_stream(urls: dict[str, str]) -> None:
    async with (
        running(urls) as (api, _),
        token(urls["postgres_url"], "now() + interval '2 seconds'") as name,
        websockets.connect(address(api, name)) as socket,
    ):
        await greeted(socket)
        async with asyncio.timeout(10):
            await socket.wait_closed()
        assert socket.close_code == 1008


def large(number: int) -> EventView:
    now = datetime.now(UTC)
    return EventView(
        id=str(number),
        profile_id="profile-a",
        type="custom",
        event="Large",
        call="track",
        timestamp=now,
        received_at=now,
        source="web",
        properties={"text": "x" * 30_000},
        traits={},
        context={},
    )


async def test_who_does_not_read_its_stream_is_told_so_and_closed(urls: dict[str, str]) -> None:
    async with (
        running({**urls, "api_stream_stall_seconds": 2.0}) as (api, _),
        websockets.connect(address(api), max_queue=1, ping_interval=None, compression=None) as stream,
    ):
        await greeted(stream)
        api._listeners.publish("acme", [large(number) for number in range(1000)], {})
        async with asyncio.timeout(20):
            await _ended(api)
            received = 0
            with pytest.raises(websockets.ConnectionClosedError):
                while await stream.recv():
                    received += 1
        assert received < 1000
        assert (stream.close_code, stream.close_reason) == (1013, "too slow: nothing was read for too long")


async def _ended(api: AnalyticsApi) -> None:
    while not any(listener.ending for listener in api._listeners._open):
        await asyncio.sleep(0.05)
