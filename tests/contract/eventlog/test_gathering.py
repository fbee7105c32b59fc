"""A consumer that gathers hands over together what came between two batches."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from cdp_eventlog.brokers import Brokers
from cdp_eventlog.consumer import KafkaConsumer
from cdp_eventlog.log import Outgoing, Partition, Record
from cdp_eventlog.producer import KafkaProducer
from cdp_eventlog.topics import create_topics
from tests.contract.eventlog.test_log import Collecting, card, until


@dataclass
class Counting(Collecting):
    """Remembers how many records each batch had."""

    sizes: list[int] = field(default_factory=list)

    async def handle(self, batch: Mapping[Partition, Sequence[Record]]) -> None:
        self.sizes.append(sum(map(len, batch.values())))
        await super().handle(batch)


@pytest.mark.kafka
async def test_what_comes_while_gathering_is_one_batch(brokers: Brokers) -> None:
    topic = f"test-{uuid.uuid4().hex[:8]}"
    await create_topics(brokers, topics=[card(topic)])
    producer, handler = KafkaProducer(brokers, client_id="test"), Counting()
    await producer.start()
    consumer = KafkaConsumer(brokers, topic, [topic], handler, gather=lambda records, seconds: 1.5)
    running = asyncio.create_task(consumer.run())
    await producer.publish([Outgoing(topic, b"first", b"0")])
    await until(lambda: handler.sizes == [1])
    for n in range(1, 9):
        await producer.publish([Outgoing(topic, b"%d" % n, b"%d" % n)])
    await until(lambda: len(handler.seen) == 9)
    assert handler.sizes == [1, 8]
    await consumer.stop()
    await running
    await producer.stop()
