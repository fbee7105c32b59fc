"""A migrated column store, and rows for it in few words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from cdp_clickhouse.client import ClickHouse
from cdp_runtime.migrate import migrate_clickhouse

EVENT_COLUMNS = (
    *("workspace_id", "event", "node_id", "timestamp", "received_at", "call", "message_id", "source_id"),
    *("session_id", "user_id", "anonymous_id", "properties", "traits", "context"),
    *("received_partition", "received_offset"),
)


@dataclass
class EventRow:
    """One stored event; what a test does not care about has a default."""

    workspace_id: str
    event: str
    node_id: UUID
    at_ms: int
    properties: dict[str, Any] = field(default_factory=dict)
    call: str = "track"
    source_id: str = "web"
    received_ms: int | None = None
    traits: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    partition: int = 0
    offset: int = 0

    def values(self) -> tuple[Any, ...]:
        arrived = self.at_ms if self.received_ms is None else self.received_ms
        texts = (json.dumps(self.properties), json.dumps(self.traits), json.dumps(self.context))
        message_id = f"m-{self.partition}-{self.offset}"
        head = (self.workspace_id, self.event, self.node_id, self.at_ms, arrived, self.call, message_id, self.source_id)
        return (*head, "", "", "", *texts, self.partition, self.offset)


async def insert_events(store: ClickHouse, rows: Sequence[EventRow]) -> None:
    columns = list(zip(*(row.values() for row in rows), strict=True))
    await store.insert("events", EVENT_COLUMNS, columns, token=uuid4().hex)


async def insert_aliases(store: ClickHouse, workspace_id: str, moved: dict[UUID, UUID], version: int = 1) -> None:
    count = len(moved)
    columns = [[workspace_id] * count, list(moved), list(moved.values()), [version] * count]
    names = ("workspace_id", "node_id", "profile_id", "version")
    await store.insert("profile_aliases", names, columns, token=uuid4().hex)


@pytest.fixture(scope="session")
async def store(clickhouse_url: str) -> AsyncIterator[ClickHouse]:
    """The real ClickHouse with every table."""
    await migrate_clickhouse(clickhouse_url)
    store = ClickHouse(clickhouse_url)
    await store.start()
    yield store
    await store.stop()
