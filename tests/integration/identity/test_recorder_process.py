"""`cdp run recorder` between the real Kafka, Postgres and ClickHouse, killed with -9 in the middle of its work."""

import asyncio
import random
import signal
import uuid
from collections import Counter
from datetime import UTC, datetime

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.databases import all_tables, fresh_clickhouse
from tests.processes import CdpProcess, environment

from cdp_clickhouse.statement import Statement
from cdp_eventlog.brokers import Brokers
from cdp_eventlog.log import Outgoing
from cdp_eventlog.producer import KafkaProducer
from cdp_eventlog.topics import create_topics
from cdp_runtime.migrate import migrate_postgres
from cdp_runtime.postgres import open_pool
from cdp_schemas.codec import Codec, encode
from cdp_schemas.events import IdentifiedEvent
from cdp_schemas.profiles import ProfilesRecorded, ProfileUpdated

from .conftest import miscounts

pytestmark = [pytest.mark.clickhouse, pytest.mark.postgres, pytest.mark.kafka, pytest.mark.slow]
TOPICS = ("events-identified", "profiles-updated", "profiles-merged")
PARTITIONS = range(4)
NODES = [uuid.uuid4() for _ in range(200)]


@pytest.fixture
async def store(clickhouse_url):
    async with fresh_clickhouse(clickhouse_url, "recorder") as url, all_tables(url) as store:
        store.url = url
        yield store


@pytest.fixture
async def settings(kafka_url, postgres_url, store):
    """The recorder's settings; it starts at the present end of the topics."""
    await create_topics(Brokers(kafka_url))
    await migrate_postgres(postgres_url)
    ends = await end_offsets(kafka_url, TOPICS)
    pool = await open_pool(postgres_url, name="test-recorder")
    async with pool.connection() as connection:
        await connection.execute("TRUNCATE identity.recorder_partitions, identity.recorder_intents")
        for (topic, number), end in ends.items():
            await connection.execute(
                "INSERT INTO identity.recorder_partitions (topic, partition, next_offset, epoch)"
                " VALUES (%s, %s, %s, 1)",
                (topic, number, end),
            )
    yield {
        "CDP_KAFKA_BOOTSTRAP_SERVERS": kafka_url,
        "CDP_POSTGRES_URL": postgres_url,
        "CDP_CLICKHOUSE_URL": store.url,
        "CDP_RECORDER_GROUP": f"recorder-{uuid.uuid4().hex[:8]}",
        "CDP_RECORDER_FLUSH_SECONDS": "0.05",
    }
    await pool.close()


@pytest.fixture
def recorder(settings, tmp_path):
    process = CdpProcess(("run", "recorder"), environment(**settings), tmp_path / "recorder.log")
    yield process
    process.close()


async def end_offsets(kafka_url, topics):
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_url)
    await consumer.start()
    try:
        return await consumer.end_offsets([TopicPartition(topic, n) for topic in topics for n in PARTITIONS])
    finally:
        await consumer.stop()


def event(partition, offset, workspace):
    now = datetime.now(UTC)
    return IdentifiedEvent(
        workspace_id=workspace,
        source_id="web",
        message_id=f"{partition}-{offset}",
        type="track",
        event=f"Event {offset % 7}",
        received_at=now,
        timestamp=now,
        node_id=NODES[(partition * 31 + offset) % len(NODES)],
        received_partition=partition,
        received_offset=offset,
        outcome="duplicate" if offset % 50 == 0 else "stored",
    )


async def count(store, workspace):
    rows = await store.rows(
        Statement("SELECT count() AS n FROM events WHERE workspace_id = {w:String}", {"w": workspace})
    )
    return rows[0]["n"]


async def until(claim, seconds=60.0):
    deadline = asyncio.get_running_loop().time() + seconds
    while not await claim():
        assert asyncio.get_running_loop().time() < deadline, "it did not come true in time"
        await asyncio.sleep(0.1)


async def test_kill_9_again_and_again_loses_and_doubles_nothing(recorder, store, kafka_url, postgres_url):
    workspace, each, rounds = uuid.uuid4().hex, 100, 40
    chance = random.Random(20261120)
    producer = KafkaProducer(Brokers(kafka_url), client_id="test")
    await producer.start()
    sent = []
    recorder.start()
    strikes = set(chance.sample(range(5, rounds), 4))
    for number in range(rounds):
        batch = [event(p, o, workspace) for p in PARTITIONS for o in range(number * each, (number + 1) * each)]
        sent.extend(batch)
        # what the resolver's own recovery repeats
        repeated = sent[-each // 2 :] if number % 7 == 3 else []
        await producer.publish(
            [Outgoing("events-identified", b"k", encode(e), e.received_partition) for e in [*batch, *repeated]]
        )
        await asyncio.sleep(chance.uniform(0.05, 0.15))
        if number in strikes:
            recorder.end(signal.SIGKILL)
            recorder.start()
    stored = [e for e in sent if e.outcome == "stored"]

    async def complete():
        return await count(store, workspace) >= len(stored)

    await until(complete)
    recorder.end(signal.SIGTERM)  # a drain, so that nothing is under way
    await producer.stop()
    assert await count(store, workspace) == len(stored)
    assert await miscounts(store, postgres_url, workspace) == []
    rows = await store.rows(Statement("SELECT node_id, sum(count) AS n FROM counters GROUP BY node_id"))
    assert {row["node_id"]: row["n"] for row in rows} == Counter(e.node_id for e in stored)
    rows = await store.rows(Statement("SELECT outcome, sum(count) AS n FROM event_outcomes GROUP BY outcome"))
    assert {row["outcome"]: row["n"] for row in rows} == Counter(e.outcome for e in sent)


async def test_what_is_recorded_is_told_when_it_can_be_read(recorder, store, kafka_url):
    workspace = uuid.uuid4().hex
    before = await end_offsets(kafka_url, ["profiles-recorded"])
    producer = KafkaProducer(Brokers(kafka_url), client_id="test")
    await producer.start()
    recorder.start()
    golden = ProfileUpdated(workspace, NODES[0], 1, datetime.now(UTC), traits={"plan": "gold"})
    known = event(0, 1, workspace)
    await producer.publish(
        [
            Outgoing("profiles-updated", b"k", encode(golden), 0),
            Outgoing("events-identified", b"k", encode(known), 0),
        ]
    )
    await producer.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_url)
    await consumer.start()
    consumer.assign(list(before))
    for partition, offset in before.items():
        consumer.seek(partition, offset)
    told = set()

    async def heard():
        for messages in (await consumer.getmany(timeout_ms=200)).values():
            recorded = [Codec(ProfilesRecorded).decode(message.value) for message in messages]
            for message in recorded:
                if message.workspace_id == workspace:
                    told.update(message.profile_ids)
        return {golden.profile_id, known.node_id} <= told

    await until(heard)
    await consumer.stop()
    assert await count(store, workspace) == 1
    statement = Statement(
        "SELECT traits.plan AS plan FROM profiles FINAL WHERE workspace_id = {w:String}", {"w": workspace}
    )
    assert (await store.rows(statement))[0]["plan"] == "gold"
