"""Pages look at recent events first and never miss older ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from cdp_analytics_api.notation import to_millis
from cdp_analytics_api.pages import EventPages
from cdp_analytics_api.periods import EPOCH, Period
from cdp_analytics_api.queries.events import EventFilter
from cdp_analytics_api.routes.events import EventQuery
from cdp_clickhouse.statement import Statement
from cdp_runtime.clock import ManualClock

NOW = datetime(2026, 2, 15, 12, 0, tzinfo=UTC)
NODE = UUID(int=7)


class Shelf:
    """An event store that holds times only and understands a page's parameters."""

    def __init__(self, *ages: timedelta) -> None:
        self.times = sorted((to_millis(NOW - age) for age in ages), reverse=True)
        self.asked = 0

    async def rows(self, statement: Statement) -> list[dict[str, Any]]:
        self.asked += 1
        p = statement.parameters
        chosen = [(at, -number) for number, at in enumerate(self.times) if p["start_ms"] <= at < p["end_ms"]]
        if "after_ms" in p:
            chosen = [place for place in chosen if place < (p["after_ms"], p["after_offset"] - 1_000_000)]
        return [self._row(at, number) for at, number in chosen[: p["rows"]]]

    def _row(self, at: int, number: int) -> dict[str, Any]:
        texts = dict.fromkeys(("message_id", "source_id", "session_id", "user_id", "anonymous_id"), "x")
        bodies = dict.fromkeys(("properties", "traits", "context"), "{}")
        places = {"received_partition": 0, "received_offset": 1_000_000 + number}
        times = {"at_ms": at, "received_ms": at, "event": "E", "call": "track", "node_id": NODE}
        return {**texts, **bodies, **places, **times}

    async def profiles_of(self, workspace_id: str, nodes: Sequence[UUID]) -> Mapping[UUID, UUID]:
        return {node: node for node in nodes}


async def test_recent_events_need_one_look() -> None:
    shelf = Shelf(*(timedelta(minutes=number) for number in range(1, 30)))
    page = await EventPages(shelf, shelf).page("acme", EventFilter(Period(EPOCH, NOW)), limit=10)
    assert (len(page.events), shelf.asked) == (10, 1)


async def test_pages_reach_back_over_any_gap_without_loss_or_repeat() -> None:
    ages = [timedelta(minutes=number % 3) for number in range(20)]  # ties
    ages += [timedelta(hours=5, seconds=number) for number in range(7)] + [timedelta(days=900)] * 3
    shelf = Shelf(*ages)
    seen: list[datetime] = []
    cursor = None
    while True:
        page = await EventPages(shelf, shelf).page("acme", EventFilter(Period(EPOCH, NOW)), limit=4, cursor=cursor)
        seen += [event.timestamp for event in page.events]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert [to_millis(at) for at in seen] == [at for at in shelf.times if at < to_millis(NOW)]


def test_without_an_end_a_list_has_events_whose_devices_are_ahead() -> None:
    """As far as the gateway believes them; the live stream and the segments have them at once, too."""
    assert EventQuery().filter(ManualClock(NOW)).period.end == NOW + timedelta(minutes=5, milliseconds=1)
    asked = EventQuery(end_date="2026-02-15T12:00:00Z").filter(ManualClock(NOW))
    assert asked.period.end == NOW + timedelta(milliseconds=1)
