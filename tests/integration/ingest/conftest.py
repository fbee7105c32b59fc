"""A gateway with real Kafka and Postgres behind real HTTP: in the test's own process, or as a process to be killed."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from tests.processes import CdpProcess, environment

from cdp_devstack.background import BackgroundStack
from cdp_devstack.parts import Part, free_ports
from cdp_eventlog.brokers import Brokers
from cdp_eventlog.log import Partition
from cdp_eventlog.reader import KafkaRangeReader
from cdp_eventlog.topics import create_topics
from cdp_ingest.service import IngestService
from cdp_ingest.settings import IngestSettings
from cdp_runtime.auth import hash_token
from cdp_runtime.migrate import migrate_postgres
from cdp_schemas.codec import Codec
from cdp_schemas.events import ReceivedEvent, RefusedEvent
from cdp_schemas.topics import EVENTS_RECEIVED, EVENTS_RECEIVED_DLQ, all_topics


@dataclass(frozen=True)
class Parts:
    """Where Kafka and Postgres are, with topics and tables in place."""

    kafka: str
    postgres: str

    def environment(self, **extra: str) -> dict[str, str]:
        return environment(CDP_KAFKA_BOOTSTRAP_SERVERS=self.kafka, CDP_POSTGRES_URL=self.postgres, **extra)

    async def source(self, **settings: Any) -> tuple[str, str]:
        """A new workspace with one source; returns the workspace and the write key."""
        name = f"ws-{uuid4().hex[:10]}"
        key = f"key-{name}"
        async with await psycopg.AsyncConnection.connect(self.postgres) as connection:
            await connection.execute(
                "INSERT INTO ingest.sources (workspace_id, source_id, name, write_key_hash, write_key_last4, settings)"
                " VALUES (%s, 'source', 'Shop', %s, %s, %s)",
                (name, hash_token(key), key[-4:], json.dumps(settings)),
            )
        return name, key

    async def stored(self, workspace: str) -> list[ReceivedEvent]:
        """Every event of a workspace in the log."""
        codec = Codec(ReceivedEvent)
        return [
            e for value in await self._values(EVENTS_RECEIVED) if (e := codec.decode(value)).workspace_id == workspace
        ]

    async def refused(self, workspace: str) -> list[RefusedEvent]:
        codec = Codec(RefusedEvent)
        values = await self._values(EVENTS_RECEIVED_DLQ)
        return [event for value in values if (event := codec.decode(value)).workspace_id == workspace]

    async def counted(self, workspace: str) -> int:
        """What the gateways say that they accepted."""
        async with await psycopg.AsyncConnection.connect(self.postgres) as connection:
            sql = "SELECT coalesce(sum(count), 0)::bigint FROM ingest.accepted WHERE workspace_id = %s"
            row = await (await connection.execute(sql, (workspace,))).fetchone()
        return 0 if row is None else int(row[0])

    async def _values(self, topic: str) -> list[bytes]:
        reader = KafkaRangeReader(Brokers(self.kafka))
        try:
            partitions = [Partition(topic, number) for number in range(all_topics()[topic].partitions)]
            found = [await reader.read(partition, 0, 10**12) for partition in partitions]
        finally:
            await reader.close()
        return [record.value for records in found for record in records]


@pytest.fixture(scope="session")
async def parts(kafka_url: str, postgres_url: str) -> Parts:
    await create_topics(Brokers(kafka_url))
    await migrate_postgres(postgres_url)
    return Parts(kafka_url, postgres_url)


@dataclass
class Gateway:
    """A running gateway and a client for it."""

    url: str
    service: IngestService
    client: httpx.AsyncClient

    async def post(self, path: str, body: Any, key: str | None = None, **options: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        auth = None if key is None else (key, "")
        return await self.client.post(self.url + path, content=content, auth=auth, **options)


def settings(parts: Parts, **changes: Any) -> IngestSettings:
    values = {"kafka_bootstrap_servers": parts.kafka, "postgres_url": parts.postgres, "ingest_port": 0, **changes}
    return IngestSettings(**values)


async def running(chosen: IngestSettings) -> tuple[Gateway, asyncio.Task[None]]:
    """A gateway in this process; its start may still be waiting for Kafka."""
    service = IngestService(chosen)
    starting = asyncio.create_task(service.start())
    gateway = Gateway("", service, httpx.AsyncClient(timeout=30))
    try:
        async with asyncio.timeout(10):
            while service.port == 0:
                await asyncio.sleep(0.01)
    except TimeoutError:
        await stopped(gateway, starting)
        raise
    gateway.url = f"http://127.0.0.1:{service.port}"
    return gateway, starting


async def stopped(gateway: Gateway, starting: asyncio.Task[None]) -> None:
    await gateway.client.aclose()
    await gateway.service.stop()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)


@pytest.fixture(scope="session")
async def gateway(parts: Parts) -> AsyncIterator[Gateway]:
    gateway, starting = await running(settings(parts))
    await starting
    yield gateway
    await stopped(gateway, starting)


class GatewayProcess(CdpProcess):
    """``cdp run ingest``, started until it is ready."""

    environment: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['CDP_INGEST_PORT']}"

    def start(self) -> None:
        super().start()
        self.wait_until_ready()


@pytest.fixture
def process(parts: Parts, tmp_path: Path, free_port: int) -> Iterator[GatewayProcess]:
    """Not started yet, so that a test can change its environment."""
    process = GatewayProcess(
        ("run", "ingest"), parts.environment(CDP_INGEST_PORT=str(free_port)), tmp_path / "gateway.log"
    )
    yield process
    process.close()


@pytest.fixture
def free_port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def broker(local_parts: BackgroundStack, parts: Parts) -> Iterator[BackgroundStack]:
    """The stack whose Kafka a test may kill; it runs again afterwards."""
    yield local_parts
    local_parts.restart(Part.KAFKA)


def track(user: str, message_id: str | None = None) -> dict[str, Any]:
    return {"type": "track", "event": "E", "userId": user, "messageId": message_id or uuid4().hex, "context": {}}


def ids(events: Sequence[ReceivedEvent]) -> list[str]:
    return [event.message_id for event in events]
