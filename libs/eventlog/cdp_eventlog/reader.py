"""A range of offsets -> its records, read from Kafka outside any consumer group."""

from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from cdp_eventlog.brokers import Brokers
from cdp_eventlog.log import Partition, Record


class KafkaRangeReader:
    """The RangeReader port; connects at the first read."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers
        self._consumer: AIOKafkaConsumer | None = None

    async def read(self, partition: Partition, first: int, last: int) -> list[Record]:
        if last < first:
            return []
        consumer = await self._connected()
        tp = TopicPartition(*partition)
        consumer.assign([tp])
        begins, ends = await consumer.beginning_offsets([tp]), await consumer.end_offsets([tp])
        position, stop = max(first, begins[tp]), min(last + 1, ends[tp])
        consumer.seek(tp, position)
        records: list[Record] = []
        while position < stop:
            polled = await consumer.getmany(tp, timeout_ms=500)
            messages = polled.get(tp, [])
            records.extend(to_record(message) for message in messages if message.offset <= last)
            # compaction and transaction markers leave gaps: the position, not the count, tells the end
            position = max(position, await consumer.position(tp))
        return records

    async def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def _connected(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                **self._brokers.options(), enable_auto_commit=False, auto_offset_reset="earliest"
            )
            await consumer.start()
            self._consumer = consumer
        return self._consumer


def to_record(message: Any) -> Record:
    """aiokafka's ConsumerRecord as ours; a tombstone has an empty value."""
    return Record(
        Partition(message.topic, message.partition),
        message.offset,
        message.key,
        message.value if message.value is not None else b"",
        message.timestamp,
    )
