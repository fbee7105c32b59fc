"""Topic cards -> topics at the broker: created where missing, told apart where different."""

import asyncio
import logging
from collections.abc import Iterable, Mapping

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError, NoError, TopicAlreadyExistsError, for_code

from cdp_eventlog.brokers import Brokers
from cdp_eventlog.diagnosis import diagnose
from cdp_schemas.topics import Topic, all_topics

_log = logging.getLogger(__name__)


class TopicMismatch(ValueError):
    """A topic exists with another number of partitions than its card says; keys would move between partitions."""


async def create_topics(
    brokers: Brokers,
    *,
    replication: int = 1,
    topics: Iterable[Topic] | None = None,
    partitions: dict[str, int] | None = None,
    deadline: float = 60.0,
) -> list[str]:
    """Creates the missing topics and returns their names, waiting up to ``deadline`` seconds for the broker.

    ``partitions`` overrides a card's number. Raises TopicMismatch for an existing topic with fewer partitions than
    its card, KafkaConnectionError with the reason when that time is up.
    """
    wanted = {topic.name: topic for topic in (topics if topics is not None else all_topics().values())}
    counts = {name: (partitions or {}).get(name, topic.partitions) for name, topic in wanted.items()}
    end, told = asyncio.get_running_loop().time() + deadline, ""
    while True:
        try:
            return await _created(brokers, wanted, counts, replication)
        except (KafkaError, OSError) as error:  # brokers that have just started answer before they know one another
            reason, left = await diagnose(brokers, error), end - asyncio.get_running_loop().time()
            if left < 0:
                raise KafkaConnectionError(reason) from error
            if reason != told:
                told = reason
                _log.warning("%s; trying for another %.0f s", reason, left)
            await asyncio.sleep(1.0)


async def _created(
    brokers: Brokers, wanted: Mapping[str, Topic], counts: Mapping[str, int], replication: int
) -> list[str]:
    admin = AIOKafkaAdminClient(**brokers.options())
    try:
        await admin.start()
        existing = {
            found["topic"]: len(found["partitions"])
            for found in await admin.describe_topics(list(wanted))
            if found["error_code"] == 0
        }
        for name, count in existing.items():
            if count != counts[name]:
                raise TopicMismatch(
                    f"topic {name} has {count} partitions and should have {counts[name]}: "
                    "set the number it has, or make a new topic and move the data"
                )
        missing = [
            NewTopic(name, counts[name], replication, topic_configs=topic.config)
            for name, topic in wanted.items()
            if name not in existing
        ]
        if missing:
            for name, code, *why in (await admin.create_topics(missing)).topic_errors:
                if code not in (NoError.errno, TopicAlreadyExistsError.errno):  # another process may be quicker
                    raise for_code(code)(f"topic {name}: {why[0] if why else 'not created'}")
        return [topic.name for topic in missing]
    finally:
        await admin.close()
