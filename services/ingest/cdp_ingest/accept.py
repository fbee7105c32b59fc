"""One event's bytes and how it arrived -> the accepted message with its key, or the reason why not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple, cast

import msgspec
from msgspec import Raw, Struct

from cdp_ingest import clocks, consent, envelope, hostile, rudder
from cdp_ingest.envelope import EMPTY
from cdp_ingest.fields import ABSENT, FaultyField, Fields, Scalar, identifier, json_object, read_fields
from cdp_ingest.refusals import (
    EVENT_NAME_MISSING,
    EVENT_TOO_LARGE,
    IDENTITY_MISSING,
    TIMESTAMP_INVALID,
    TYPE_UNKNOWN,
    Fault,
)
from cdp_schemas.codec import encode
from cdp_schemas.events import Call, Channel, ClockVerdict, ReceivedEvent, routing_key

CALLS: Final = frozenset({"track", "identify", "page", "screen", "group", "alias"})
NewId = Callable[[], str]
_scalar: Final = msgspec.json.Decoder(Scalar)


@dataclass(slots=True)  # not frozen: that would triple the cost of making one per call
class Arrival:
    """How the events of one call arrived; the same for all of them, and never changed.

    ``call`` is what the path names, else each event's own ``type`` says it. ``context`` and ``integrations`` are the
    envelope's own and go under each event's. ``connection`` has what an event's context may lack: ip, userAgent (it is
    empty for servers). ``suspicious`` is False when the body as a whole holds nothing that needs a closer look.
    """

    workspace_id: str
    source_id: str
    received_at: datetime
    channel: Channel
    call: str | None = None
    sent_at: datetime | None = None
    context: bytes = EMPTY
    integrations: bytes = EMPTY
    connection: Mapping[str, str] = field(default_factory=dict)
    suspicious: bool = True
    max_event_bytes: int = 32 * 1024
    required_consent: tuple[str, ...] = ()


class Accepted(Struct, frozen=True, gc=False):
    """The value and key of a message for ``events-received``."""

    value: bytes
    key: bytes
    message_id: str
    is_whole: bool = True  # False for a change of consent of which nothing else may be kept


class Refused(NamedTuple):
    """An event for the dead letters, with its message id where that could be read."""

    raw: bytes
    fault: Fault
    message_id: str | None = None


def accept(
    raw: bytes, arrival: Arrival, new_id: NewId, devices: clocks.DeviceClocks | None = None
) -> Accepted | Refused:
    """Judges one event. ``new_id`` names an event that brings no message id. Never raises."""
    if fault := bytes_fault(raw, arrival):
        return Refused(raw, fault)
    fields = None
    try:
        fields = read_fields(raw)
        return accept_fields(fields, arrival, new_id, devices)
    except FaultyField as faulty:
        known = fields.message_id if fields is not None else None
        return Refused(raw, faulty.fault, known if isinstance(known, str) else None)


def bytes_fault(raw: bytes, arrival: Arrival) -> Fault | None:
    """What is wrong with an event before its fields are looked at: its size, and what its JSON hides."""
    size = len(raw) + len(arrival.context) + len(arrival.integrations) - 2 * len(EMPTY)
    if size > arrival.max_event_bytes:
        return Fault(EVENT_TOO_LARGE, detail=f"It has {size} bytes, the limit is {arrival.max_event_bytes}.")
    if (arrival.suspicious and hostile.is_suspicious(raw)) or hostile.may_be_deep(raw):
        return hostile.hidden_fault(raw)
    return None


def accept_fields(
    fields: Fields, arrival: Arrival, new_id: NewId, devices: clocks.DeviceClocks | None = None
) -> Accepted:
    """The message of an event whose fields were read. Raises FaultyField."""
    call = _call(fields, arrival)
    who = _Identity.of(fields, call)
    context = bytes(json_object(fields.context, "context"))
    if arrival.context is not EMPTY:
        context = envelope.merged_under(arrival.context, context)
    kept, about, is_whole = fields, context, True
    if arrival.required_consent:
        kept, about, is_whole = consent.gated(fields, call, context, arrival.required_consent)
    if is_whole and (who.group_id or who.device_id):
        about = _placed(about, who)
    integrations = json_object(kept.integrations, "integrations")
    if arrival.integrations is not EMPTY and is_whole:
        integrations = Raw(envelope.merged_under(arrival.integrations, bytes(integrations)))
    timestamp, verdict, original, sent_at = _times(fields, arrival, who, context, devices)
    message_id = identifier(fields.message_id, "messageId") or new_id()
    # in the order of ReceivedEvent: by keyword this one call would cost more than all the rest
    message = _Written(
        arrival.workspace_id,
        arrival.source_id,
        message_id,
        call,
        arrival.received_at,
        timestamp,
        arrival.channel,
        verdict,
        original,
        sent_at,
        _event_name(fields, call),
        who.user_id,
        who.anonymous_id,
        who.previous_id,
        who.group_id,
        who.profile_id,
        who.device_id,
        _session(kept, about),
        _properties(kept, call),
        rudder.traits_of(call, json_object(kept.traits, "traits"), about),
        Raw(envelope.with_absent(about, arrival.connection) if arrival.connection and is_whole else about),
        integrations,
    )
    return Accepted(encode(message), routing_key(arrival.workspace_id, who.best or message_id), message_id, is_whole)


class _Written(ReceivedEvent, rename="camel", frozen=True, gc=False, omit_defaults=True):
    """What has its default is left out: a fifth less to write, to keep and to read, and the same to a reader."""


class _Identity(Struct, frozen=True, gc=False):
    user_id: str | None
    anonymous_id: str | None
    previous_id: str | None
    group_id: str | None
    device_id: str | None
    profile_id: str | None

    @classmethod
    def of(cls, fields: Fields, call: Call) -> "_Identity":
        """Raises FaultyField when the event names nobody (an alias may bring a previousId, a group its groupId)."""
        found = cls(
            identifier(fields.user_id, "userId"),
            identifier(fields.anonymous_id, "anonymousId"),
            None if fields.previous_id is None else identifier(fields.previous_id, "previousId"),
            None if fields.group_id is None else identifier(fields.group_id, "groupId"),
            None if fields.device_id is None else identifier(fields.device_id, "deviceId"),
            None if fields.profile_id is None else identifier(fields.profile_id, "profileId"),
        )
        if (
            found.user_id or found.anonymous_id or found.device_id or found.profile_id
            or (call == "alias" and found.previous_id) or (call == "group" and found.group_id)
        ):  # fmt: skip
            return found
        raise FaultyField(Fault(IDENTITY_MISSING, "userId"))

    @property
    def best(self) -> str | None:
        """The identifier that keeps this person's events in one partition."""
        return (
            self.user_id or self.anonymous_id or self.previous_id or self.group_id or self.device_id or self.profile_id
        )


def _call(fields: Fields, arrival: Arrival) -> Call:
    call = arrival.call or fields.type
    if call not in CALLS:
        raise FaultyField(Fault(TYPE_UNKNOWN, "type", f"It is {call!r:.80}; there are {', '.join(sorted(CALLS))}."))
    return cast(Call, call)


def _event_name(fields: Fields, call: Call) -> str | None:
    name = identifier(fields.event, "event") if call == "track" else None
    if name is None and call == "track":
        raise FaultyField(Fault(EVENT_NAME_MISSING, "event"))
    return name


def _properties(fields: Fields, call: Call) -> Raw:
    """The properties; a page's or screen's name and category go into them, as the browser library does it."""
    properties = json_object(fields.properties, "properties")
    if call not in ("page", "screen") or (fields.name is None and fields.category is None):
        return properties
    beside = {"name": identifier(fields.name, "name"), "category": identifier(fields.category, "category")}
    said = {key: text for key, text in beside.items() if text is not None}
    return Raw(envelope.with_absent(bytes(properties), said))


def _placed(context: bytes, who: _Identity) -> bytes:
    """The context with the group and the device, which events are stored with nowhere else."""
    if who.group_id:
        context = envelope.with_absent(context, {"groupId": who.group_id})
    device = envelope.field(context, "device") or envelope.EMPTY
    if who.device_id and envelope.is_object(bytes(device)):
        named = envelope.with_absent(bytes(device), {"id": who.device_id})
        context = envelope.merged_under(context, encode({"device": Raw(named)}))
    return context


def _session(fields: Fields, context: bytes) -> str | None:
    """The session of the event; RudderStack's libraries keep it in the context, as a number."""
    if fields.session_id is None and b'"sessionId"' in context:
        found = envelope.field(context, "sessionId")
        try:
            return identifier(_scalar.decode(found or b"null"), "context.sessionId")
        except msgspec.ValidationError:
            return None
    return identifier(fields.session_id, "sessionId")


_Times = tuple[datetime, ClockVerdict, datetime | None, datetime | None]


def _times(
    fields: Fields, arrival: Arrival, who: _Identity, context: bytes, devices: clocks.DeviceClocks | None
) -> _Times:
    """The event's time with the verdict on it, its original time, and when it was sent."""
    received_at, original, sent_at = arrival.received_at, _time(fields), arrival.sent_at
    if fields.sent_at is not ABSENT:
        sent_at = clocks.parse_lenient(fields.sent_at) or sent_at
    if sent_at is None:
        return (*clocks.event_times(original, None, received_at), original, None)
    lag = received_at - sent_at
    usual = None
    if devices is not None and arrival.channel == "client" and who.anonymous_id:
        usual = devices.observe((arrival.workspace_id, who.anonymous_id), lag, received_at)
    honest = lag <= clocks.TOLERANCE or _library(context) in clocks.HONEST_LIBRARIES
    times = clocks.event_times(original, sent_at, received_at, honest=honest, usual_offset=usual)
    return (*times, original, sent_at)


def _time(fields: Fields) -> datetime | None:
    path, value = ("timestamp", fields.timestamp)
    if value is None or value == "":
        path, value = ("originalTimestamp", fields.original_timestamp)
    if value is None or value == "":
        return None
    try:
        return clocks.parse_time(value)
    except ValueError as error:
        detail = f"{value!r:.80} is not a time in RFC 3339."
        raise FaultyField(Fault(TIMESTAMP_INVALID, path, detail)) from error


def _library(context: bytes) -> str | None:
    """``context.library.name``."""
    library = envelope.field(context, "library")
    if library is None or not envelope.is_object(bytes(library)):
        return None
    name = envelope.field(bytes(library), "name")
    try:
        return None if name is None else msgspec.json.decode(name, type=str)
    except msgspec.ValidationError:
        return None
