"""A topic -> how many records it has been given: what an answer 200 is worth, and whether anything was told."""

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition

from cdp_schemas.topics import all_topics


def written(bootstrap: str, topic: str, partitions: int | None = None) -> int:
    """Since there is the topic. ``partitions``: of one that Millrace does not know."""
    return asyncio.run(_written(bootstrap, topic, partitions or all_topics()[topic].partitions))


async def _written(bootstrap: str, topic: str, partitions: int) -> int:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        ends = await consumer.end_offsets([TopicPartition(topic, number) for number in range(partitions)])
        return sum(ends.values())
    finally:
        await consumer.stop()
