"""The plain event shape of the HTTP API (type, profileId, properties) -> the same messages as the SDKs' calls."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from cdp_ingest import envelope
from cdp_ingest.accept import CALLS, Accepted, Arrival, NewId, Refused, accept_fields, bytes_fault
from cdp_ingest.clocks import DeviceClocks
from cdp_ingest.fields import ABSENT, FaultyField, Fields, Scalar, field_fault
from cdp_ingest.refusals import EVENT_MALFORMED, FIELD_INVALID, TYPE_UNKNOWN, Fault
from cdp_schemas.event_names import TYPE_NAMES
from cdp_schemas.profiles import parse_profile_ref, profile_ref

_SCREENS: Final = frozenset({"app", "mobile"})


class _PlainEvent(Struct, rename="camel", frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    type: str
    profile_id: str | None = None
    user_id: Scalar = None
    anonymous_id: Scalar = None
    device_id: Scalar = None
    session_id: Scalar = None
    message_id: Scalar = None
    id: Scalar = None
    event: str | None = None
    name: str | None = None
    previous_id: Scalar = None
    group_id: Scalar = None
    timestamp: Scalar = None
    source: str | None = None
    write_key: str | UnsetType = UNSET
    properties: Raw = ABSENT
    traits: Raw = ABSENT
    context: Raw = ABSENT


_decoder: Final = msgspec.json.Decoder(_PlainEvent)


class _Ref(Struct, rename="camel"):
    profile_id: str | None = None


_ref_decoder: Final = msgspec.json.Decoder(_Ref)


def references(events: Sequence[bytes]) -> list[str]:
    """The profiles that events name by ``kind:value`` instead of by id; they are to be looked up before judging."""
    found = set()
    for raw in events:
        try:
            ref = _ref_decoder.decode(raw).profile_id or ""
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        if ":" in ref:
            found.add(ref)
    return sorted(found)


class PlainJudge:
    """Judges the plain events of one call in their order.

    ``profiles`` has the profile of each reference that could be resolved. ``ids`` has an id for each event, for those
    that bring none; without it they get new ones.
    """

    def __init__(self, profiles: Mapping[str, UUID], ids: Iterator[str] | None = None) -> None:
        self._profiles, self._ids = profiles, ids

    def __call__(
        self, raw: bytes, arrival: Arrival, new_id: NewId, devices: DeviceClocks | None = None
    ) -> Accepted | Refused:
        """An unknown field is refused with its name, since it is a typing error. Never raises."""
        if self._ids is not None:
            new_id = partial(str, next(self._ids))
        fault = bytes_fault(raw, arrival)
        return _judged(raw, arrival, new_id, self._profiles) if fault is None else Refused(raw, fault)


def _judged(raw: bytes, arrival: Arrival, new_id: NewId, profiles: Mapping[str, UUID]) -> Accepted | Refused:
    try:
        return accept_fields(_fields(_decoder.decode(raw), profiles), arrival, new_id)
    except FaultyField as faulty:
        return Refused(raw, faulty.fault)
    except msgspec.ValidationError as error:
        return Refused(raw, field_fault(error))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Refused(raw, Fault(EVENT_MALFORMED, detail=f"{error}."))


def _fields(event: _PlainEvent, profiles: Mapping[str, UUID]) -> Fields:
    call, name = _call_and_name(event)
    return Fields(
        type=call,
        message_id=event.message_id if event.message_id is not None else event.id,
        event=name,
        user_id=event.user_id,
        anonymous_id=event.anonymous_id,
        previous_id=event.previous_id,
        group_id=event.group_id,
        profile_id=_profile(event.profile_id, profiles),
        device_id=event.device_id,
        session_id=event.session_id,
        timestamp=event.timestamp,
        properties=event.properties,
        traits=event.traits,
        context=_context(event),
    )


def _call_and_name(event: _PlainEvent) -> tuple[str, str | None]:
    """``purchase`` -> a track call named Order Completed; a page_view is a page call (a screen call in an app)."""
    if event.type in CALLS:
        return event.type, event.event or event.name
    if event.type == "page_view":
        return ("screen" if event.source in _SCREENS else "page"), None
    if event.type == "custom":
        return "track", event.event or event.name or "custom"
    if event.type in TYPE_NAMES:
        return "track", event.event or TYPE_NAMES[event.type][0]
    known = ", ".join((*TYPE_NAMES, "custom", *sorted(CALLS)))
    raise FaultyField(Fault(TYPE_UNKNOWN, "type", f"It is {event.type!r:.80}; there are {known}."))


def _profile(ref: str | None, profiles: Mapping[str, UUID]) -> str | None:
    if not ref:
        return None
    known = profiles.get(ref) or parse_profile_ref(ref)
    if known is None:
        detail = f"There is no profile {ref!r:.120}. A device or person not known yet is named by userId or deviceId."
        raise FaultyField(Fault(FIELD_INVALID, "profileId", detail))
    return profile_ref(known)


def _context(event: _PlainEvent) -> Raw:
    """The context, with the seed's ``source`` (web, app, email, ...) as its channel."""
    if event.source is None or (event.context and not envelope.is_object(bytes(event.context))):
        return event.context
    return Raw(envelope.with_absent(bytes(event.context) or envelope.EMPTY, {"source": event.source}))
