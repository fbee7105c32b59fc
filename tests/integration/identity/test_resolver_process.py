"""The real process over the real Kafka and Postgres: killed in the middle, it ends exactly where it should."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.processes import CdpProcess, environment

from cdp_eventlog.brokers import Brokers
from cdp_eventlog.producer import KafkaProducer
from cdp_eventlog.topics import create_topics
from cdp_runtime.postgres import Pool
from cdp_schemas.codec import Codec
from cdp_schemas.events import IdentifiedEvent
from cdp_schemas.topics import EVENTS_IDENTIFIED

from .shop import event, outgoing

pytestmark = [pytest.mark.postgres, pytest.mark.kafka]
EVENTS = 1500


@pytest.fixture
def resolver(kafka_url: str, identity_url: str, tmp_path: Path) -> Iterator[CdpProcess]:
    settings = environment(
        CDP_KAFKA_BOOTSTRAP_SERVERS=kafka_url,
        CDP_POSTGRES_URL=identity_url,
        CDP_IDENTITY_BATCH_EVENTS="50",
    )
    process = CdpProcess(("run", "resolver"), settings, tmp_path / "resolver.log")
    yield process
    process.close()


async def until(claim: Callable[[], Any], deadline: float = 90) -> None:
    async with asyncio.timeout(deadline):
        while not await claim():
            await asyncio.sleep(0.1)


async def test_killed_and_started_again_it_resolves_every_event_once(
    pool: Pool, kafka_url: str, resolver: CdpProcess
) -> None:
    await create_topics(Brokers(kafka_url))
    producer = KafkaProducer(Brokers(kafka_url), client_id="test")
    await producer.start()
    prefix = f"p{os.getpid()}"
    orders = [
        event(
            "track",
            number / 10,
            event="Order Completed",
            message_id=f"{prefix}-{number}",
            user_id=f"{prefix}-{number % 50}",
            anonymous_id=f"{prefix}-a{number % 80}",
            properties={"order_id": f"{prefix}-{number}", "revenue": "1.01"},
        )
        for number in range(EVENTS)
    ]

    async def revenue() -> int:
        async with pool.connection() as connection:
            found = await connection.execute(
                "SELECT coalesce(sum(net_minor), 0) FROM identity.orders WHERE counted AND order_id LIKE %s",
                [f"{prefix}-%"],
            )
            return int((await found.fetchone())[0])

    async def under_way() -> bool:
        return await revenue() > 0

    async def complete() -> bool:
        return await revenue() >= EVENTS * 101

    try:
        resolver.start()
        await producer.publish([outgoing(one) for one in orders])
        await until(under_way)
        await asyncio.to_thread(resolver.end, signal.SIGKILL)
        resolver.start()
        await until(complete)
        assert await asyncio.to_thread(resolver.end, signal.SIGTERM) == 0
    finally:
        await producer.stop()

    async with pool.connection() as connection:
        found = await connection.execute(
            "SELECT sum(ltv_minor), sum(order_count) FROM identity.profiles JOIN identity.nodes AS n"
            " USING (workspace_id, profile_id) WHERE n.node_id = profile_id AND n.value LIKE %s",
            [f"{prefix}-%"],
        )
        assert await found.fetchone() == (EVENTS * 101, EVENTS)
    told = await identified(kafka_url, prefix)
    assert Counter(outcome for _, _, outcome in told) == {"stored": EVENTS}
    assert {message for message, _, _ in told} == {one.message_id for one in orders}


async def identified(kafka_url: str, prefix: str) -> set[tuple[str, tuple[int, int], str]]:
    """(message id, place in events-received, outcome) of all that was told; repeats of an offset fall together."""
    codec = Codec(IdentifiedEvent)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_url, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(EVENTS_IDENTIFIED, number) for number in range(4)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found = set()
        while any([await consumer.position(one) < ends[one] for one in partitions]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    if prefix.encode() in record.value:
                        one = codec.decode(record.value)
                        assert one.received_partition == record.partition
                        found.add((one.message_id, (one.received_partition, one.received_offset), one.outcome))
        return found
    finally:
        await consumer.stop()
