"""The events of one call -> judged one by one, written to the log, counted; success only when all are acknowledged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cdp_eventlog.log import Outgoing, Producer
from cdp_ingest import clocks, hostile
from cdp_ingest.accept import Accepted, Arrival, NewId, Refused, accept
from cdp_ingest.counts import AcceptedCounts
from cdp_ingest.decode import Call
from cdp_ingest.envelope import EMPTY, is_object
from cdp_ingest.ports import Source
from cdp_ingest.publishing import TALLY, dead_letter, publish
from cdp_ingest.quota import UNLIMITED, Limiter, Rate
from cdp_ingest.refusals import BODY_TOO_LARGE, SOURCE_DISABLED, CallRefused
from cdp_runtime import metrics
from cdp_runtime.clock import Clock
from cdp_schemas.events import Channel
from cdp_schemas.topics import EVENTS_RECEIVED

_MOST_GROWTH: Final = 8  # a small body must not become many megabytes of messages
Judge = Callable[[bytes, Arrival, NewId, clocks.DeviceClocks | None], Accepted | Refused]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call and one source may have. Sizes in bytes after inflating."""

    max_body_bytes: int = 512 * 1024
    max_event_bytes: int = 32 * 1024
    max_batch_events: int = 2500
    rate: Rate = UNLIMITED


@dataclass(slots=True)
class Origin:
    """Whose call it is and how it came; ``call`` is what the path names, if it names one."""

    source: Source
    channel: Channel
    call: str | None = None
    connection: Mapping[str, str] = field(default_factory=dict)
    judge: Judge = accept
    tells_refusals: bool = False


class Taken(NamedTuple):
    """What became of a call that succeeded, event by event; ``refused`` are in the dead-letter topic.

    ``places`` tells of each of those which of the call's events it was, from 0; those that its reader could not cut out
    or had no room for come behind all others.
    """

    accepted: Sequence[Accepted]
    refused: Sequence[Refused]
    places: Sequence[int]


class Gateway:
    """The use case of every ingest path. A 2xx may be answered when :meth:`take` has returned, never before."""

    def __init__(
        self, log: Producer, counts: AcceptedCounts, limits: Limits, clock: Clock, new_id: NewId, limiter: Limiter
    ) -> None:
        self._log, self._counts, self._limits = log, counts, limits
        self._clock, self._new_id, self._limiter = clock, new_id, limiter
        self._devices = clocks.DeviceClocks()

    async def take(self, origin: Origin, call: Call, body: bytes) -> Taken:
        """Returns when the broker has every event. Raises CallRefused: then nothing may be called accepted.

        A call to an API that tells its client about each event, and of which no event can be taken, leaves no trace:
        it is the client's to send again.
        """
        source = origin.source
        if not source.enabled:
            raise CallRefused(SOURCE_DISABLED)
        rate = _rate(source, self._limits.rate)
        seconds = self._clock.monotonic()
        limit_key = f"{source.workspace_id}|{source.source_id}"
        self._limiter.check(limit_key, rate, seconds)
        arrival = self._arrival(origin, call, body)
        taken = self._judged(origin.judge, call, arrival)
        if origin.tells_refusals and not taken.accepted:
            return taken
        await self._publish(source, arrival, taken)
        self._limiter.spend(limit_key, rate, len(taken.accepted), seconds)
        self._count(arrival, taken)
        return taken

    def _arrival(self, origin: Origin, call: Call, body: bytes) -> Arrival:
        envelope = call.envelope
        context = _object(envelope.context) if call.is_batch else EMPTY
        integrations = _object(envelope.integrations) if call.is_batch else EMPTY
        if (len(context) + len(integrations)) * len(call.events) > _MOST_GROWTH * self._limits.max_body_bytes:
            raise CallRefused(BODY_TOO_LARGE, "Its envelope's context would be put under too many events.", "context")
        return Arrival(
            workspace_id=origin.source.workspace_id,
            source_id=origin.source.source_id,
            received_at=self._clock.now(),
            channel=origin.channel,
            call=origin.call,
            sent_at=clocks.parse_lenient(envelope.sent_at),
            context=context,
            integrations=integrations,
            connection=origin.connection,
            suspicious=hostile.is_suspicious(body),
            max_event_bytes=self._limits.max_event_bytes,
            required_consent=origin.source.required_consent,
        )

    def _judged(self, judge: Judge, call: Call, arrival: Arrival) -> Taken:
        accepted: list[Accepted] = []
        refused = [Refused(raw, fault) for raw, fault in call.broken]
        places = [len(call.events) + number for number in range(len(refused))]
        for place, raw in enumerate(call.events):
            verdict = judge(raw, arrival, self._new_id, self._devices)
            if type(verdict) is Accepted:
                accepted.append(verdict)
            else:
                assert isinstance(verdict, Refused)
                refused.append(verdict)
                places.append(place)
        return Taken(accepted, refused, places)

    async def _publish(self, source: Source, arrival: Arrival, taken: Taken) -> None:
        messages = [Outgoing(EVENTS_RECEIVED, event.key, event.value) for event in taken.accepted]
        messages += [
            dead_letter(source.workspace_id, source.source_id, arrival.received_at, refused)
            for refused in taken.refused
        ]
        if not messages:
            return
        await publish(self._log, messages, self._clock, accepted=len(taken.accepted))

    def _count(self, arrival: Arrival, taken: Taken) -> None:
        if taken.accepted:
            TALLY.count(metrics.INGEST_ACCEPTED, len(taken.accepted))
            self._counts.add(arrival.workspace_id, arrival.source_id, arrival.received_at, len(taken.accepted))
        if arrival.required_consent:
            metrics.INGEST_BARED.inc(sum(not event.is_whole for event in taken.accepted))
        for refused in taken.refused:
            metrics.INGEST_REFUSED.labels(refused.fault.refusal.label).inc()


def _object(raw: bytes) -> bytes:
    """An envelope's field, which only helps: anything but an object counts as absent."""
    data = bytes(raw)
    return data if is_object(data) and hostile.hidden_fault(data) is None else EMPTY


def _rate(source: Source, default: Rate) -> Rate:
    """The source's own limit (settings ``eventsPerSecond``, ``burst``), else the gateway's."""
    per_second = source.settings.get("eventsPerSecond")
    if not isinstance(per_second, int | float):
        return default
    burst = source.settings.get("burst")
    return Rate(per_second, burst if isinstance(burst, int | float) else 2 * per_second)
