"""A filter and a cursor -> one page of events, newest first, with the profile of each."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from cdp_analytics_api.cursors import Place, read_cursor, write_cursor
from cdp_analytics_api.event_view import EventView, from_row
from cdp_analytics_api.notation import from_millis
from cdp_analytics_api.periods import Period
from cdp_analytics_api.ports import Directory, EventStore
from cdp_analytics_api.queries.events import EventFilter, event_page

MOST_ROWS: Final = 1000
_LOOK_BACKS: Final = (timedelta(hours=1), timedelta(days=2))
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Events and the cursor of the next page; None after the last."""

    events: list[EventView]
    next_cursor: str | None


class EventPages:
    """Raises StoreUnavailable, and BadCursor for a cursor that is not ours."""

    def __init__(self, store: EventStore, directory: Directory) -> None:
        self._store, self._directory = store, directory

    async def page(
        self, workspace_id: str, chosen: EventFilter, *, limit: int, cursor: str | None = None, pii: bool = False
    ) -> Page:
        after = read_cursor(cursor, per_second=1000) if cursor else None
        rows = await self._rows(workspace_id, chosen, limit, after)
        shown = rows[:limit]
        profiles = await self._profiles(workspace_id, chosen, [row["node_id"] for row in shown])
        views = [from_row(row, profiles[row["node_id"]], pii=pii) for row in shown]
        if len(rows) <= limit:
            return Page(views, None)
        last = shown[-1]
        return Page(views, write_cursor(Place(last["at_ms"], last["received_partition"], last["received_offset"])))

    async def _rows(self, workspace_id: str, chosen: EventFilter, limit: int, after: Place | None) -> list[Row]:
        """Looks at the last hour first: the newest events lie in few parts, all of them in many."""
        for look_back in _LOOK_BACKS if chosen.profile_id is None else ():
            recent = _recent(chosen.period, after, look_back)
            if recent is not None:
                rows = await self._store.rows(event_page(workspace_id, replace(chosen, period=recent), limit, after))
                if len(rows) > limit:
                    return rows
        return await self._store.rows(event_page(workspace_id, chosen, limit, after))

    async def _profiles(self, workspace_id: str, chosen: EventFilter, nodes: list[UUID]) -> Mapping[UUID, UUID]:
        if chosen.profile_id is not None:
            return dict.fromkeys(nodes, chosen.profile_id)
        return await self._directory.profiles_of(workspace_id, nodes)


def _recent(period: Period, after: Place | None, look_back: timedelta) -> Period | None:
    """The end of the period, or of what the cursor leaves of it; None when that is all of it."""
    end = period.end if after is None else min(period.end, from_millis(after.at + 1))
    start = end - look_back
    return Period(start, end) if period.start < start < end else None
