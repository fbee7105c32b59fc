"""Received events for the tests of pure modules; objects are given as Python values."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from cdp_eventlog.log import Partition, Record
from cdp_schemas.codec import encode
from cdp_schemas.events import ReceivedEvent
from cdp_schemas.topics import EVENTS_RECEIVED

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def event(kind: str = "track", seconds: float = 0, **fields: Any) -> ReceivedEvent:
    names = ("properties", "traits", "context")
    raw = {name: msgspec.Raw(msgspec.json.encode(fields.pop(name))) for name in names if name in fields}
    at = NOON + timedelta(seconds=seconds)
    fields = {"message_id": "m1", "received_at": at, "timestamp": at, "source_id": "web", **fields}
    if kind == "track":
        fields.setdefault("event", "Product Viewed")
    return ReceivedEvent(fields.pop("workspace_id", "demo"), type=kind, **fields, **raw)


def record(received: ReceivedEvent | bytes, offset: int = 0, partition: int = 0) -> Record:
    value = received if isinstance(received, bytes) else encode(received)
    return Record(Partition(EVENTS_RECEIVED, partition), offset, b"demo|ada", value, 0)
