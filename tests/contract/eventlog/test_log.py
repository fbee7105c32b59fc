"""The promises of the log's ports, on the memory log and on real Kafka."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError

from cdp_eventlog.brokers import Brokers
from cdp_eventlog.consumer import KafkaConsumer
from cdp_eventlog.log import MessageTooLarge, Outgoing, Partition, Producer, RangeReader, Record
from cdp_eventlog.memory import MemoryConsumer, MemoryLog
from cdp_eventlog.producer import KafkaProducer
from cdp_eventlog.reader import KafkaRangeReader
from cdp_eventlog.topics import TopicMismatch, create_topics
from cdp_schemas.topics import Topic

PARTITIONS = 3


@dataclass
class Collecting:
    """A handler that remembers, keeps its own positions, and fails when told to."""

    positions: dict[Partition, int] = field(default_factory=dict)
    seen: list[Record] = field(default_factory=list)
    fail_on: bytes | None = None

    async def assigned(self, partitions: Sequence[Partition], reader: RangeReader) -> Mapping[Partition, int | None]:
        return {partition: self.positions.get(partition) for partition in partitions}

    async def handle(self, batch: Mapping[Partition, Sequence[Record]]) -> None:
        if any(record.value == self.fail_on for records in batch.values() for record in records):
            raise RuntimeError("the store refused")
        for partition, records in batch.items():
            self.seen.extend(records)
            self.positions[partition] = records[-1].offset + 1

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        return None


@dataclass
class Log:
    topic: str
    producer: Producer
    reader: RangeReader
    consumer: Callable[[Collecting], KafkaConsumer | MemoryConsumer]


def card(name: str, partitions: int = PARTITIONS) -> Topic:
    return Topic(name, "test.", "k", "M", ("a",), ("b",), (1,), partitions, 1, False, 1_048_588)


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
async def log(request: pytest.FixtureRequest) -> AsyncIterator[Log]:
    topic = f"test-{uuid.uuid4().hex[:8]}"
    if request.param == "memory":
        memory = MemoryLog(PARTITIONS)
        yield Log(topic, memory, memory, lambda handler: MemoryConsumer(memory, "group", [topic], handler))
        return
    brokers = request.getfixturevalue("brokers")
    await create_topics(brokers, topics=[card(topic)])
    producer, reader = KafkaProducer(brokers, client_id="test"), KafkaRangeReader(brokers)
    await producer.start()
    group = f"group-{topic}"
    yield Log(topic, producer, reader, lambda handler: KafkaConsumer(brokers, group, [topic], handler))
    await reader.close()
    await producer.stop()


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def consume(consumer: KafkaConsumer | MemoryConsumer, done: Callable[[], bool]) -> None:
    """Runs a consumer until ``done``, then stops it; raises what it raised."""
    task = asyncio.create_task(consumer.run())
    waiting = asyncio.create_task(until(done))
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    await consumer.stop()
    await task


async def test_what_was_published_arrives_in_order_per_key(log: Log) -> None:
    await log.producer.publish([Outgoing(log.topic, b"k%d" % (n % 5), b"%d" % n) for n in range(100)])
    handler = Collecting()
    await consume(log.consumer(handler), lambda: len(handler.seen) == 100)
    for key in range(5):
        numbers = [int(record.value) for record in handler.seen if record.key == b"k%d" % key]
        assert numbers == list(range(key, 100, 5))


async def test_a_message_goes_to_the_partition_it_names(log: Log) -> None:
    await log.producer.publish([Outgoing(log.topic, b"same", b"x", partition) for partition in range(PARTITIONS)])
    handler = Collecting()
    await consume(log.consumer(handler), lambda: len(handler.seen) == PARTITIONS)
    assert sorted(record.partition.number for record in handler.seen) == list(range(PARTITIONS))


async def test_the_handlers_own_positions_decide_where_to_start(log: Log) -> None:
    await log.producer.publish([Outgoing(log.topic, None, b"%d" % n, 0) for n in range(10)])
    handler = Collecting(positions={Partition(log.topic, 0): 7})
    await consume(log.consumer(handler), lambda: len(handler.seen) >= 3)
    assert [record.value for record in handler.seen] == [b"7", b"8", b"9"]


@dataclass
class Hesitating(Collecting):
    """Takes its time to say where it begins, as one does that first finishes what its predecessor left."""

    async def assigned(self, partitions: Sequence[Partition], reader: RangeReader) -> Mapping[Partition, int | None]:
        await asyncio.sleep(1.0)
        return await super().assigned(partitions, reader)


async def test_nothing_is_read_before_the_handler_has_said_where_it_begins(log: Log) -> None:
    await log.producer.publish([Outgoing(log.topic, None, b"%d" % n, n % 2) for n in range(10)])
    handler = Hesitating(positions={Partition(log.topic, 0): 3})
    await consume(log.consumer(handler), lambda: len(handler.seen) >= 7)
    assert sorted(record.value for record in handler.seen) == [b"1", b"3", b"5", b"6", b"7", b"8", b"9"]


async def test_a_failed_batch_ends_the_consumer_and_is_read_again_by_the_next(log: Log) -> None:
    await log.producer.publish([Outgoing(log.topic, None, b"%d" % n, 0) for n in range(4)])
    failing = Collecting(fail_on=b"2")
    with pytest.raises(RuntimeError, match="refused"):
        await consume(log.consumer(failing), lambda: False)
    handler = Collecting(positions=failing.positions)
    await consume(log.consumer(handler), lambda: len(failing.seen) + len(handler.seen) >= 4)
    assert [record.value for record in [*failing.seen, *handler.seen]] == [b"0", b"1", b"2", b"3"]


async def test_a_range_can_be_read_again(log: Log) -> None:
    await log.producer.publish([Outgoing(log.topic, None, b"%d" % n, 1) for n in range(20)])
    records = await log.reader.read(Partition(log.topic, 1), 5, 8)
    assert [(record.offset, record.value) for record in records] == [(5, b"5"), (6, b"6"), (7, b"7"), (8, b"8")]
    assert await log.reader.read(Partition(log.topic, 1), 8, 7) == []
    assert [r.offset for r in await log.reader.read(Partition(log.topic, 1), 18, 99)] == [18, 19]


@pytest.mark.kafka
async def test_a_message_over_the_limit_is_refused_before_anything_is_sent(brokers: Brokers) -> None:
    producer = KafkaProducer(brokers, client_id="test", max_request_size=64 * 1024)
    await producer.start()
    with pytest.raises(MessageTooLarge):
        await producer.publish([Outgoing("any", None, b"x" * 100_000)])
    await producer.stop()


@pytest.mark.kafka
async def test_after_a_message_that_the_broker_refuses_the_next_ones_are_taken(brokers: Brokers) -> None:
    name = f"test-{uuid.uuid4().hex[:8]}"
    await create_topics(brokers, topics=[card(name, 1)])
    producer, reader = KafkaProducer(brokers, client_id="test"), KafkaRangeReader(brokers)
    await producer.start()
    with pytest.raises(MessageTooLarge):
        await producer.publish([Outgoing(name, None, random.randbytes(2_000_000), 0)])
    for value in (b"1", b"2", b"3"):
        await producer.publish([Outgoing(name, None, value, 0)])
    records = await reader.read(Partition(name, 0), 0, 99)
    assert [record.value for record in records] == [b"1", b"2", b"3"]
    await reader.close()
    await producer.stop()


@pytest.mark.kafka
async def test_a_topic_with_another_number_of_partitions_is_refused_by_name(brokers: Brokers) -> None:
    name = f"test-{uuid.uuid4().hex[:8]}"
    assert await create_topics(brokers, topics=[card(name, 2)]) == [name]
    assert await create_topics(brokers, topics=[card(name, 2)]) == []
    with pytest.raises(TopicMismatch, match=f"{name} has 2 partitions and should have 3"):
        await create_topics(brokers, topics=[card(name, 3)])


@pytest.mark.kafka
async def test_a_topic_that_the_broker_does_not_create_is_named_with_the_reason(brokers: Brokers) -> None:
    name = f"test-{uuid.uuid4().hex[:8]}"
    with pytest.raises(KafkaConnectionError, match=rf"Kafka at \S+ answers: .*InvalidReplication.* topic {name}: "):
        await create_topics(brokers, topics=[card(name)], replication=3, deadline=0)


@pytest.mark.kafka
async def test_a_broker_that_does_not_know_itself_yet_is_asked_again(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, describe = f"test-{uuid.uuid4().hex[:8]}", AIOKafkaAdminClient.describe_topics
    answers = iter([NodeNotReadyError("no node")])

    async def asked(admin: AIOKafkaAdminClient, topics: list[str]) -> Any:
        for error in answers:
            raise error
        return await describe(admin, topics)

    monkeypatch.setattr(AIOKafkaAdminClient, "describe_topics", asked)
    assert await create_topics(brokers, topics=[card(name)]) == [name]


@pytest.mark.kafka
async def test_two_workers_share_the_partitions_and_lose_nothing_when_one_leaves(brokers: Brokers) -> None:
    topic = f"test-{uuid.uuid4().hex[:8]}"
    await create_topics(brokers, topics=[card(topic)])
    producer = KafkaProducer(brokers, client_id="test")
    await producer.start()
    positions: dict[Partition, int] = {}
    handlers = [Collecting(positions), Collecting(positions)]
    workers = [KafkaConsumer(brokers, f"group-{topic}", [topic], handler) for handler in handlers]
    tasks: list[Awaitable[None]] = [asyncio.create_task(worker.run()) for worker in workers]
    for n in range(60):
        await producer.publish([Outgoing(topic, b"%d" % n, b"%d" % n)])
        if n == 30:
            await workers[0].stop()
    await until(lambda: {r.value for h in handlers for r in h.seen} == {b"%d" % n for n in range(60)})
    await workers[1].stop()
    await asyncio.gather(*tasks)
    await producer.stop()
