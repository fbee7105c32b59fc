"""URLs -> questions to the four stores and to processes: read only, and none of them needs a service."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.statement import Statement
from cdp_eventlog.brokers import Brokers
from cdp_eventlog.diagnosis import diagnose
from cdp_eventlog.log import Record
from cdp_eventlog.reader import to_record
from cdp_schemas.topics import all_topics

Row = dict[str, Any]
_FETCHED: Final = 2000


@dataclass(frozen=True, slots=True)
class Scope:
    """What a check looks at. ``workspace_id`` None is all of them;

    ``chunks``: into how many parts ClickHouse's large groupings are cut; more need less memory and more time.
    """

    workspace_id: str | None = None
    chunks: int = 1


class PostgresReads:
    """Postgres, read only."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def rows(self, sql: LiteralString, values: Mapping[str, Any] | None = None) -> list[Row]:
        """Every row of an answer that fits in memory."""
        return [row async for row in self.stream(sql, values)]

    async def stream(self, sql: LiteralString, values: Mapping[str, Any] | None = None) -> AsyncIterator[Row]:
        """The rows one after another, through a server-side cursor."""
        async with self._connection() as connection:
            name = f"verify_{uuid4().hex[:8]}"
            async with connection.cursor(name, row_factory=dict_row) as cursor:
                cursor.itersize = _FETCHED
                await cursor.execute(sql, dict(values or {}))
                async for row in cursor:
                    yield row

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        connection = await AsyncConnection.connect(self._url, connect_timeout=5)
        try:
            await connection.set_read_only(True)
            yield connection
        finally:
            await connection.close()


class LogReads:
    """Kafka, outside every consumer group."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers

    async def ends(self, topic: str) -> dict[int, int]:
        """Partition -> the offset that the next record gets."""
        async with self._consumer() as consumer:
            partitions = _partitions(topic)
            ends = await consumer.end_offsets(partitions)
            return {one.partition: ends[one] for one in partitions}

    async def begins(self, topic: str) -> dict[int, int]:
        """Partition -> the offset of the oldest record that is still there."""
        async with self._consumer() as consumer:
            partitions = _partitions(topic)
            begins = await consumer.beginning_offsets(partitions)
            return {one.partition: begins[one] for one in partitions}

    async def records(self, topic: str) -> AsyncIterator[Record]:
        """Every record that a topic holds now, in order within each partition."""
        async with self._consumer() as consumer:
            for partition in _partitions(topic):
                async for record in _read(consumer, partition):
                    yield record

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[Any]:
        consumer = AIOKafkaConsumer(**self._brokers.options(), enable_auto_commit=False, auto_offset_reset="earliest")
        try:
            try:
                await consumer.start()
            except KafkaError as error:
                raise KafkaConnectionError(await diagnose(self._brokers, error)) from error
            yield consumer
        finally:
            await consumer.stop()


async def _read(consumer: Any, partition: TopicPartition) -> AsyncIterator[Record]:
    consumer.assign([partition])
    ends = await consumer.end_offsets([partition])
    begins = await consumer.beginning_offsets([partition])
    consumer.seek(partition, begins[partition])
    position = begins[partition]
    while position < ends[partition]:
        polled = await consumer.getmany(partition, timeout_ms=500)
        for message in polled.get(partition, ()):
            yield to_record(message)
        # compaction leaves gaps: the position, not the count, tells the end
        position = max(position, await consumer.position(partition))


def _partitions(topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in range(all_topics()[topic].partitions)]


@dataclass(frozen=True, slots=True)
class Stores:
    """Where the truth is. A store that is None is not there, and what needs it is reported as not checked.

    ``admin_urls`` are admin ports of processes, ``standin_url`` is the stand-in for marketing platforms; ``secret_key``
    is the one under which the suppression list is kept.
    """

    clickhouse: ClickHouse
    postgres: PostgresReads
    log: LogReads | None = None
    redis_url: str | None = None
    admin_urls: Sequence[str] = ()
    standin_url: str | None = None
    scope: Scope = field(default_factory=Scope)
    secret_key: str = field(default="", repr=False)

    async def events(self, sql: str, **values: Any) -> list[Row]:
        """Rows of ClickHouse; ``{workspace}`` in the text becomes the condition of the scope, after a WHERE."""
        condition = "1" if self.scope.workspace_id is None else "workspace_id = {workspace_id:String}"
        is_bound = self.scope.workspace_id is not None and "{workspace}" in sql
        bound = {**values, "workspace_id": self.scope.workspace_id} if is_bound else values
        return await self.clickhouse.rows(Statement(sql.replace("{workspace}", condition), bound))
