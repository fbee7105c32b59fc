"""Statements -> rows, read-only and within limits; nodes -> profiles."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from cdp_analytics_api.queries.nodes import profiles_of
from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.statement import Statement


class ClickHouseEventStore:
    """The EventStore port."""

    def __init__(self, store: ClickHouse, *, seconds: float, rows: int) -> None:
        self._store = store
        # readonly=2: these settings themselves may be given, nothing may be written
        self._guards: Mapping[str, Any] = {
            "readonly": 2,
            "max_execution_time": seconds,
            "max_rows_to_read": rows,
            "max_result_rows": 100_000,
            "result_overflow_mode": "throw",
        }

    async def rows(self, statement: Statement) -> list[dict[str, Any]]:
        return await self._store.rows(statement, settings=self._guards)


class ClickHouseDirectory:
    """The Directory port."""

    def __init__(self, events: ClickHouseEventStore) -> None:
        self._events = events

    async def profiles_of(self, workspace_id: str, nodes: Sequence[UUID]) -> Mapping[UUID, UUID]:
        distinct = sorted(set(nodes))
        rows = await self._events.rows(profiles_of(workspace_id, distinct)) if distinct else []
        return dict(zip(distinct, distinct, strict=True)) | {row["node_id"]: row["profile_id"] for row in rows}
