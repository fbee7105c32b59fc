"""A change asked for over HTTP -> a call on events-received, and the wait until the resolver has applied it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from uuid import uuid4

import msgspec

from cdp_eventlog.log import LogUnavailable, MessageTooLarge, Outgoing, Producer
from cdp_runtime.clock import Clock
from cdp_runtime.envelope import ApiError, unavailable
from cdp_runtime.faultpoints import reach
from cdp_schemas.codec import encode
from cdp_schemas.events import Call, ReceivedEvent, routing_key
from cdp_schemas.topics import EVENTS_RECEIVED, all_topics

SOURCE: Final = "api"
_FIRST_LOOK: Final = 0.01
_LATER_LOOK: Final = 0.05
_OVERHEAD: Final = 4096  # bytes that the broker counts besides a message's value


class SettledMessages(Protocol):
    """Tells what the resolver has applied."""

    async def is_settled(self, workspace_id: str, message_id: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one profile: who (fields of a received event) and what (Python values).

    ``key`` keeps the changes of one profile in order: they have the same one.
    """

    type: Call
    key: str
    who: Mapping[str, str]
    what: Mapping[str, Any] = field(default_factory=dict)


class ProfileWrites:
    """The API's only way to change a profile: the same one as everybody's."""

    def __init__(self, producer: Producer, settled: SettledMessages, clock: Clock, wait_seconds: float) -> None:
        self._producer, self._settled, self._clock, self._wait = producer, settled, clock, wait_seconds
        self._largest = all_topics()[EVENTS_RECEIVED].max_message_bytes - _OVERHEAD

    async def apply(self, workspace_id: str, change: Change) -> tuple[str, bool]:
        """Makes the change durable and waits for it. Returns its message id, and whether it is applied by now.

        Raises ApiError 503 when the log does not take it, 422 when it is too large.
        """
        event = self._event(workspace_id, change)
        message = Outgoing(EVENTS_RECEIVED, routing_key(workspace_id, change.key), encode(event))
        try:
            if len(message.value) > self._largest:  # the broker would refuse all that travels in the same round
                raise MessageTooLarge(f"a change of {len(message.value)} bytes")
            reach("door.before-produce")
            await self._producer.publish([message])
            reach("door.after-produce")
        except LogUnavailable as error:
            raise unavailable("kafka", "The event log does not take changes now; try again.") from error
        except MessageTooLarge as error:
            raise ApiError(422, "too_large", "This is more than one event can carry.") from error
        return event.message_id, await self._applied(workspace_id, event.message_id)

    def _event(self, workspace_id: str, change: Change) -> ReceivedEvent:
        now = self._clock.now()
        raw = {name: msgspec.Raw(encode(value)) for name, value in change.what.items() if value}
        fields: dict[str, Any] = {**change.who, **raw}
        return ReceivedEvent(workspace_id, SOURCE, str(uuid4()), change.type, now, now, channel="api", **fields)

    async def _applied(self, workspace_id: str, message_id: str) -> bool:
        end = self._clock.monotonic() + self._wait
        pause = _FIRST_LOOK
        while not await self._settled.is_settled(workspace_id, message_id):
            if self._clock.monotonic() >= end:
                return False
            await asyncio.sleep(pause)
            pause = min(_LATER_LOOK, pause * 2)
        return True
