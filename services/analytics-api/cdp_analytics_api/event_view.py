"""A stored or identified event -> the event that clients see."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from pydantic import Field, JsonValue

from cdp_analytics_api.masking import HIDDEN, masked
from cdp_analytics_api.notation import Timestamp, from_millis
from cdp_analytics_api.summaries import summary
from cdp_runtime.envelope import Wire
from cdp_schemas.event_names import event_name, event_type
from cdp_schemas.events import IdentifiedEvent
from cdp_schemas.profiles import profile_ref

Row = Mapping[str, Any]


class EventView(Wire):
    """One event. Personal values are hidden unless the caller's token has the scope ``profiles:pii``."""

    id: str = Field(description="the messageId", examples=["ajs-next-1771151400000-7f3c"])
    profile_id: str = Field(examples=["profile-5a1f8a0a3c1b4c57b2c7f3f0c1a2b3c4"])
    type: str = Field(description="page_view, purchase, ... or custom", examples=["purchase"])
    event: str = Field(examples=["Order Completed"])
    call: str = Field(examples=["track"])
    timestamp: Timestamp
    received_at: Timestamp
    source: str = Field(examples=["web"])
    session_id: str | None = None
    device_id: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    group_id: str | None = Field(None, description="the account of a group call")
    properties: dict[str, JsonValue] = Field(examples=[{"orderId": "ORD-789", "total": 249.99, "currency": "USD"}])
    traits: dict[str, JsonValue] = Field(examples=[{}])
    context: dict[str, JsonValue] = Field(examples=[{"page": {"path": "/"}}])


class TimelineEntry(EventView):
    """An event of one profile with a sentence that says what happened."""

    summary: str = Field(examples=["Bought 2 products for 249.99 USD"])


def from_row(row: Row, profile_id: UUID, *, pii: bool) -> EventView:
    """A row of the statement in ``queries.events``."""
    bodies = {name: _decoded(row[name]) for name in ("properties", "traits", "context")}
    view = EventView(
        id=row["message_id"],
        profile_id=profile_ref(profile_id),
        type=_shown_type(row["call"], row["event"]),
        event=row["event"],
        call=row["call"],
        timestamp=from_millis(row["at_ms"]),
        received_at=from_millis(row["received_ms"]),
        source=row["source_id"],
        session_id=row["session_id"] or None,
        device_id=_device(bodies["context"]),
        user_id=row["user_id"] or None,
        anonymous_id=row["anonymous_id"] or None,
        group_id=_text(bodies["context"].get("groupId")),
        **bodies,
    )
    return view if pii else hidden(view)


def from_message(event: IdentifiedEvent, profile_id: UUID) -> EventView:
    """An event that identity just placed; nothing hidden yet."""
    name = event_name(event.type, event.event)
    context = _decoded(bytes(event.context))
    return EventView(
        id=event.message_id,
        profile_id=profile_ref(profile_id),
        type=_shown_type(event.type, name),
        event=name,
        call=event.type,
        timestamp=event.timestamp,
        received_at=event.received_at,
        source=event.source_id,
        session_id=event.session_id,
        device_id=event.device_id or _device(context),
        user_id=event.user_id,
        anonymous_id=event.anonymous_id,
        group_id=event.group_id or _text(context.get("groupId")),
        properties=_decoded(bytes(event.properties)),
        traits=_decoded(bytes(event.traits)),
        context=context,
    )


def hidden(view: EventView) -> EventView:
    """The event without personal values."""
    bodies = {name: masked(getattr(view, name)) for name in ("properties", "traits", "context")}
    return view.model_copy(update={**bodies, "user_id": HIDDEN if view.user_id else None})


def timeline_entry(view: EventView) -> TimelineEntry:
    told = summary(view.event, view.type, view.call, view.properties)
    return TimelineEntry(**view.model_dump(), summary=told)


def _shown_type(call: str, name: str) -> str:
    return event_type(name) if call in ("track", "page", "screen") else call


def _decoded(text: str | bytes) -> dict[str, JsonValue]:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _device(context: Mapping[str, Any]) -> str | None:
    device = context.get("device")
    return _text(device.get("id")) if isinstance(device, dict) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
