"""Events of a small shop as records, and a resolver over a real Postgres and an in-process log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import msgspec

from cdp_eventlog.log import Outgoing
from cdp_eventlog.memory import MemoryConsumer, MemoryLog
from cdp_identity.adapters.postgres import PostgresStore
from cdp_identity.application import Rules
from cdp_identity.graph import Guards
from cdp_identity.resolve import Resolver
from cdp_identity.stream import WAITED_FOR, ReceivedStream
from cdp_runtime.backoff import Backoff
from cdp_runtime.clock import SystemClock
from cdp_runtime.patience import Patience
from cdp_runtime.postgres import Pool
from cdp_schemas.codec import Codec, encode
from cdp_schemas.events import IdentifiedEvent, ReceivedEvent, RefusedEvent, routing_key
from cdp_schemas.profiles import NodeMoved, ProfileUpdated
from cdp_schemas.topics import (
    EVENTS_IDENTIFIED,
    EVENTS_RECEIVED,
    EVENTS_RECEIVED_DLQ,
    PROFILES_MERGED,
    PROFILES_UPDATED,
)

START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
GUARDS = Guards({"user_id": 1, "email": 5, "phone": 5, "device_id": 50, "anonymous_id": 100})
EXACT = Rules(GUARDS, least_move=0)
_numbers = count()


def at(seconds: float) -> datetime:
    """A moment of the test's hour."""
    return START + timedelta(seconds=seconds)


def event(kind: str = "track", seconds: float = 0, **fields: Any) -> ReceivedEvent:
    """A received event; objects are given as Python values."""
    raw = {
        name: msgspec.Raw(msgspec.json.encode(fields.pop(name)))
        for name in ("properties", "traits", "context")
        if name in fields
    }
    fields.setdefault("message_id", f"m{next(_numbers)}")
    fields.setdefault("received_at", at(seconds))
    fields.setdefault("timestamp", at(seconds))
    if kind == "track":
        fields.setdefault("event", "Product Viewed")
    return ReceivedEvent("demo", fields.pop("source_id", "web"), type=kind, **fields, **raw)


def patience() -> Patience:
    """The resolver's, with pauses for tests."""
    return Patience("resolver", WAITED_FOR, Backoff(0.01, 0.05))


def outgoing(received: ReceivedEvent, partition: int | None = None) -> Outgoing:
    who = received.user_id or received.anonymous_id or received.profile_id or ""
    return Outgoing(EVENTS_RECEIVED, routing_key(received.workspace_id, who), encode(received), partition)


class Worker:
    """One resolver over a shared log and a shared Postgres."""

    def __init__(self, log: MemoryLog, pool: Pool, rules: Rules = EXACT, max_records: int = 4000) -> None:
        self.store = PostgresStore(pool)
        self.stream = ReceivedStream(
            self.store, Resolver(self.store, rules, SystemClock()), log, SystemClock(), patience()
        )
        self.consumer = MemoryConsumer(log, "resolver", [EVENTS_RECEIVED], self.stream, max_records=max_records)


async def resolve(log: MemoryLog, pool: Pool, *events: ReceivedEvent, rules: Rules = EXACT) -> None:
    """Publishes events and resolves all there is."""
    await log.publish([outgoing(one) for one in events])
    await Worker(log, pool, rules).consumer.drain()


def identified(log: MemoryLog) -> dict[str, IdentifiedEvent]:
    """Message id -> the event as identified; what is told twice must be told the same."""
    codec = Codec(IdentifiedEvent)
    told: dict[tuple[int, int], IdentifiedEvent] = {}
    for record in log.records(EVENTS_IDENTIFIED):
        one = codec.decode(record.value)
        place = (one.received_partition, one.received_offset)
        assert one.received_partition == record.partition.number
        assert told.setdefault(place, one) is one or (told[place].node_id, told[place].outcome) == (
            one.node_id,
            one.outcome,
        )
    by_id: dict[str, IdentifiedEvent] = {}
    for one in sorted(told.values(), key=lambda event: event.outcome == "stored"):
        by_id[one.message_id] = one
    return by_id


def outcomes(log: MemoryLog) -> list[str]:
    """The outcome of every offset, sorted."""
    codec = Codec(IdentifiedEvent)
    told = [codec.decode(record.value) for record in log.records(EVENTS_IDENTIFIED)]
    return sorted({(one.received_partition, one.received_offset): one.outcome for one in told}.values())


def refused(log: MemoryLog) -> list[RefusedEvent]:
    codec = Codec(RefusedEvent)
    return [codec.decode(record.value) for record in log.records(EVENTS_RECEIVED_DLQ)]


def moves(log: MemoryLog) -> list[NodeMoved]:
    codec = Codec(NodeMoved)
    return [codec.decode(record.value) for record in log.records(PROFILES_MERGED)]


def profiles(log: MemoryLog) -> dict[Any, ProfileUpdated]:
    """The golden records that a reader of profiles-updated holds: the highest version of each, without deleted ones."""
    codec = Codec(ProfileUpdated)
    newest: dict[Any, ProfileUpdated] = {}
    for record in log.records(PROFILES_UPDATED):
        update = codec.decode(record.value)
        old = newest.get(update.profile_id)
        if old is None or update.version > old.version:
            newest[update.profile_id] = update
    return {profile: update for profile, update in newest.items() if not update.deleted}
