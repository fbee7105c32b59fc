"""A migrated column store, and rows for it in few words."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from fastapi import APIRouter, Depends
from redis.asyncio import Redis
from tests.databases import all_tables

from cdp_analytics_api.service import AnalyticsApi
from cdp_analytics_api.settings import AnalyticsApiSettings
from cdp_clickhouse.client import ClickHouse
from cdp_eventlog.brokers import Brokers
from cdp_eventlog.topics import create_topics
from cdp_runtime.api import ApiPart
from cdp_runtime.auth import SCOPES, Principal, hash_token, require
from cdp_runtime.envelope import Answer, ApiError, Wire
from cdp_runtime.migrate import migrate_postgres
from cdp_runtime.postgres import Pool, open_pool
from cdp_schemas.profiles import profile_ref
from cdp_schemas.tables import EVENTS


@dataclass
class EventRow:
    """One stored event; what a test does not care about has a default."""

    workspace_id: str
    event: str
    node_id: UUID
    at_ms: int
    properties: dict[str, Any] = field(default_factory=dict)
    call: str = "track"
    source_id: str = "web"
    received_ms: int | None = None
    traits: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    partition: int = 0
    offset: int = 0

    def values(self) -> tuple[Any, ...]:
        arrived = self.at_ms if self.received_ms is None else self.received_ms
        texts = (json.dumps(self.properties), json.dumps(self.traits), json.dumps(self.context))
        message_id = f"m-{self.partition}-{self.offset}"
        head = (self.workspace_id, self.event, self.node_id, self.at_ms, arrived, self.call, message_id, self.source_id)
        return (*head, "", "", "", *texts, self.partition, self.offset)


async def insert_events(store: ClickHouse, rows: Sequence[EventRow]) -> None:
    columns = list(zip(*(row.values() for row in rows), strict=True))
    await store.insert(EVENTS.name, EVENTS.columns, columns, token=uuid4().hex)


async def insert_aliases(store: ClickHouse, workspace_id: str, moved: dict[UUID, UUID], version: int = 1) -> None:
    count = len(moved)
    columns = [[workspace_id] * count, list(moved), list(moved.values()), [version] * count]
    names = ("workspace_id", "node_id", "profile_id", "version")
    await store.insert("profile_aliases", names, columns, token=uuid4().hex)


@pytest.fixture(scope="session")
async def store(clickhouse_url: str) -> AsyncIterator[ClickHouse]:
    """The real ClickHouse with every table."""
    async with all_tables(clickhouse_url) as store:
        yield store


ALL_SCOPES = sorted(SCOPES)
TOKENS = {
    "everything": ("acme", ALL_SCOPES),
    "stranger": ("rival", ALL_SCOPES),
    "reader": ("acme", ["events:read", "profiles:read", "analytics:read", "system:read"]),
    "nothing": ("acme", []),
    "heavy": ("heavy", ALL_SCOPES),
}


class Widget(Wire):
    name: str
    size: int = 1


Writer = Annotated[Principal, Depends(require("segments:write"))]
Reader = Annotated[Principal, Depends(require("segments:read"))]


class TinyPart:
    """A service's part as the others bring theirs: a router, facets, a dependency that can be missing."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.ready = asyncio.Event()
        self.ready.set()
        router = APIRouter()

        @router.post("/widgets", status_code=201)
        async def make(
            widget: Widget, principal: Annotated[Principal, Depends(require("segments:write"))]
        ) -> Answer[str]:
            if widget.name == "taken":
                raise ApiError(409, "conflict", "There is a widget of that name.")
            self.made.append(widget.name)
            return Answer(data=f"widget-{len(self.made)}")

        @router.post("/widgets/search")
        async def search(principal: Reader) -> Answer[int]:
            self.made.append("searched")
            return Answer(data=len(self.made))

        @router.get("/broken")
        async def broken(principal: Reader) -> Answer[int]:
            raise RuntimeError("a bug with secret details")

        self.part = ApiPart(
            "tiny", router, self.start, facets={"counts": counts, "resolve": resolve}, faults=self.faults
        )

    async def start(self) -> None:
        await self.ready.wait()

    def faults(self) -> dict[str, str]:
        return {} if self.ready.is_set() else {"widget_store": "it does not answer"}


async def counts(workspace_id: str, ids: Sequence[Any]) -> dict[str, int]:
    return {"segments": 3, "audiences": 2}


async def resolve(workspace_id: str, refs: Sequence[str]) -> dict[str, UUID]:
    known = {profile_ref(ADA): ADA, "email:ada@example.com": ADA}
    return {ref: known[ref] for ref in refs if workspace_id == "acme" and ref in known}


ADA = UUID("aaaaaaaa-0000-4000-8000-00000000000a")


@dataclass
class FrontDoor:
    """A running front door and a client per token."""

    api: AnalyticsApi
    tiny: TinyPart
    pool: Pool

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api.port}"

    def as_(self, token: str | None = "everything", **headers: str) -> httpx.AsyncClient:
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return httpx.AsyncClient(base_url=f"{self.url}/api/cdp", headers=headers, timeout=20)

    async def get(self, path: str, token: str | None = "everything", **query: Any) -> httpx.Response:
        async with self.as_(token) as client:
            return await client.get(path, params=query)

    async def post(self, path: str, body: Any, token: str | None = "everything", **headers: str) -> httpx.Response:
        async with self.as_(token, **headers) as client:
            return await client.post(path, json=body)


@pytest.fixture(scope="session")
async def front_tables(postgres_url: str) -> None:
    await migrate_postgres(postgres_url)
    async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
        for token, (workspace, scopes) in TOKENS.items():
            await connection.execute(
                "INSERT INTO front.tokens (workspace_id, token_id, name, token_hash, scopes)"
                " VALUES (%s, gen_random_uuid(), %s, %s, %s)",
                (workspace, token, hash_token(token), scopes),
            )


def settings(**changes: Any) -> AnalyticsApiSettings:
    return AnalyticsApiSettings(api_port=0, api_token_cache_seconds=0.2, **changes)


@pytest.fixture(scope="session")
async def door(
    front_tables: None, store: ClickHouse, postgres_url: str, clickhouse_url: str, redis_url: str, kafka_url: str
) -> AsyncIterator[FrontDoor]:
    """The real front door over the real stores, with one tiny service behind it."""
    await create_topics(Brokers(kafka_url))
    tiny = TinyPart()
    api = AnalyticsApi(
        settings(
            postgres_url=postgres_url,
            clickhouse_url=clickhouse_url,
            redis_url=redis_url,
            kafka_bootstrap_servers=kafka_url,
        ),
        [tiny.part],
    )
    await api.start()
    pool = await open_pool(postgres_url, name="test")
    yield FrontDoor(api, tiny, pool)
    await pool.close()
    await api.stop()


def nobody() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
async def urls(
    front_tables: None, store: ClickHouse, postgres_url: str, clickhouse_url: str, redis_url: str
) -> dict[str, str]:
    """All there but Kafka; and from this address nobody has guessed a token yet."""
    async with Redis.from_url(redis_url) as redis:
        async for key in redis.scan_iter("front:guesses:*"):
            await redis.delete(key)
    return {
        "postgres_url": postgres_url,
        "clickhouse_url": clickhouse_url,
        "redis_url": redis_url,
        "kafka_bootstrap_servers": nobody(),
    }


@asynccontextmanager
async def running(urls: dict[str, Any]) -> AsyncIterator[tuple[AnalyticsApi, httpx.AsyncClient]]:
    api = AnalyticsApi(settings(**urls), [])
    await api.start()
    base = f"http://127.0.0.1:{api.port}/api/cdp"
    try:
        async with httpx.AsyncClient(
            base_url=base, headers={"Authorization": "Bearer everything"}, timeout=20
        ) as client:
            yield api, client
    finally:
        await api.stop()
