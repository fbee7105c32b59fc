"""What was committed -> the log. A message that its topic does not take is told in short, and holds nothing else up."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from cdp_eventlog.log import MessageTooLarge, Outgoing, Producer
from cdp_identity import consent, traits
from cdp_identity.changes import STATE_BYTES
from cdp_runtime.logs import get_logger
from cdp_runtime.metrics import RESOLVER_TOO_LARGE
from cdp_runtime.patience import Patience
from cdp_schemas import topics
from cdp_schemas.codec import Codec, encode
from cdp_schemas.events import EMPTY_OBJECT, IdentifiedEvent, RefusedEvent
from cdp_schemas.profiles import ProfileUpdated

_log = get_logger(__name__)
_golden: Final = Codec(ProfileUpdated)
_identified: Final = Codec(IdentifiedEvent)
_refused: Final = Codec(RefusedEvent)
_NO_OBJECTS: Final = dict.fromkeys(("properties", "traits", "context", "integrations"), EMPTY_OBJECT)


class Telling:
    """Publishes, through outages. What it is given is committed, and comes again until it is told."""

    def __init__(self, producer: Producer, patience: Patience) -> None:
        self._producer, self._patience = producer, patience

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Returns when all are told, in their order; a repeat of some is possible. Raises Stopping."""
        try:
            await self._patience.until_done(lambda: self._producer.publish(messages))
        except MessageTooLarge as error:
            if len(messages) == 1:
                await self._in_short(messages[0], error)
                return
            middle = len(messages) // 2
            await self.publish(messages[:middle])
            await self.publish(messages[middle:])

    async def _in_short(self, message: Outgoing, error: MessageTooLarge) -> None:
        place, short = shortened(message)
        told = "in short"
        try:
            await self._patience.until_done(lambda: self._producer.publish([short]))
        except MessageTooLarge:
            told = "not at all"
        RESOLVER_TOO_LARGE.labels(message.topic).inc()
        size = len(message.value)
        _log.error("message_too_large", topic=message.topic, place=place, bytes=size, told=told, reason=str(error))


def shortened(message: Outgoing) -> tuple[str, Outgoing]:
    """Where a message comes from, and the same without what may make it large: it counts, and hides older ones."""
    short: ProfileUpdated | IdentifiedEvent | RefusedEvent
    match message.topic:
        case topics.PROFILES_UPDATED:
            record = _golden.decode(message.value)
            place = f"{record.workspace_id}|{record.profile_id}, version {record.version}"
            held = traits.fitting(record.traits, STATE_BYTES)
            short = replace(record, traits=held, consent=consent.strictest(record.consent))
        case topics.EVENTS_IDENTIFIED:
            event = _identified.decode(message.value)
            place = _received(event)
            short = replace(event, **_NO_OBJECTS)
        case topics.EVENTS_RECEIVED_DLQ:
            refused = _refused.decode(message.value)
            place = _received(refused)
            short = replace(refused, raw=b"")
        case _:
            return "", message
    return place, message._replace(value=encode(short))


def _received(event: IdentifiedEvent | RefusedEvent) -> str:
    return f"{topics.EVENTS_RECEIVED}[{event.received_partition}], offset {event.received_offset}"
