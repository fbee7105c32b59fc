"""events-identified from its end -> batches of events, for live listeners."""

from collections.abc import Callable, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from cdp_analytics_api.ports import OnEvents
from cdp_eventlog.brokers import Brokers
from cdp_eventlog.diagnosis import diagnose
from cdp_eventlog.log import LogUnavailable
from cdp_schemas.codec import Codec, InvalidMessage
from cdp_schemas.events import IdentifiedEvent
from cdp_schemas.topics import EVENTS_IDENTIFIED


class KafkaEventTail:
    """The EventTail port: no group, no committed position, nothing is left behind in Kafka."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers
        self._codec: Codec[IdentifiedEvent] = Codec(IdentifiedEvent)

    async def follow(self, on_events: OnEvents, ready: Callable[[], None]) -> None:
        consumer = AIOKafkaConsumer(
            EVENTS_IDENTIFIED,
            **self._brokers.options(),
            group_id=None,
            auto_offset_reset="latest",
            enable_auto_commit=False,
            fetch_max_wait_ms=100,
        )
        try:
            await consumer.start()
            for partition in consumer.assignment():
                await consumer.position(partition)  # looks the end up now, not at the first poll
            ready()
            await self._poll(consumer, on_events)
        except (KafkaError, OSError) as error:
            raise LogUnavailable(await diagnose(self._brokers, error)) from error
        finally:
            await consumer.stop()

    async def _poll(self, consumer: AIOKafkaConsumer, on_events: OnEvents) -> None:
        seen: dict[tuple[int, int], int] = {}
        while True:
            polled = await consumer.getmany(timeout_ms=250, max_records=2000)
            events = [event for messages in polled.values() for event in self._events(messages, seen)]
            if events:
                await on_events(events)

    def _events(self, messages: Iterable[Any], seen: dict[tuple[int, int], int]) -> Iterable[IdentifiedEvent]:
        """Stored events only, each once: after a crash the resolver may repeat a range."""
        for message in messages:
            try:
                event = self._codec.decode(message.value)
            except InvalidMessage:
                continue  # the recorder dead-letters it
            place = (message.partition, event.received_partition)
            if event.outcome == "stored" and event.received_offset > seen.get(place, -1):
                seen[place] = event.received_offset
                yield event
