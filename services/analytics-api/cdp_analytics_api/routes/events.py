"""GET /events, and a profile's events and timeline: filters and cursors in, pages out."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from cdp_analytics_api.door.faults import invalid
from cdp_analytics_api.event_view import EventView, TimelineEntry, timeline_entry
from cdp_analytics_api.pages import MOST_ROWS, EventPages, Page
from cdp_analytics_api.periods import period
from cdp_analytics_api.ports import Directory
from cdp_analytics_api.queries.events import EVENT_TYPES, EventFilter
from cdp_analytics_api.references import resolve
from cdp_runtime.auth import Principal, require
from cdp_runtime.clock import Clock
from cdp_runtime.envelope import Answer, Wire

EventsReader = Annotated[Principal, Depends(require("events:read"))]
ProfilesReader = Annotated[Principal, Depends(require("profiles:read"))]
# as much may an event be ahead of its arrival by the clock of its device: without an end it is listed all the same
_AHEAD: Final = timedelta(minutes=5)
_CURSOR = Field(None, description="send it as `cursor` for the next page; null after the last")


class EventList(Wire):
    items: list[EventView]
    next_cursor: str | None = _CURSOR


class Timeline(Wire):
    items: list[TimelineEntry]
    next_cursor: str | None = _CURSOR


@dataclass(frozen=True, slots=True)
class EventQuery:
    """The query parameters that all lists of events share."""

    type: Annotated[str | None, Query(description=f"one of {', '.join(EVENT_TYPES)}", examples=["purchase"])] = None
    event: Annotated[str | None, Query(max_length=200, description="the event's name")] = None
    start_date: Annotated[str | None, Query(alias="startDate", description="first day or moment")] = None
    end_date: Annotated[str | None, Query(alias="endDate", description="last day or moment, included")] = None
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 100
    cursor: Annotated[str | None, Query(max_length=200)] = None

    def filter(self, clock: Clock) -> EventFilter:
        """Raises BadPeriod, and ApiError 422 for an unknown type."""
        return EventFilter(
            period=period(self.start_date, self.end_date, now=clock.now() + _AHEAD, default=None),
            type=known_type(self.type),
            event=self.event or None,
        )


Asked = Annotated[EventQuery, Depends()]


def known_type(name: str | None) -> str | None:
    """Raises ApiError 422."""
    if name and name not in EVENT_TYPES:
        raise invalid("type", f"{name!r} is no event type; there are {', '.join(EVENT_TYPES)}")
    return name or None


def may_see_personal(principal: Principal) -> bool:
    return "profiles:pii" in principal.scopes


def events_router(pages: EventPages, directory: Directory, clock: Clock) -> APIRouter:
    router = APIRouter(tags=["events"])

    async def page(principal: Principal, asked: EventQuery, chosen: EventFilter) -> Page:
        pii = may_see_personal(principal)
        return await pages.page(principal.workspace_id, chosen, limit=asked.limit, cursor=asked.cursor, pii=pii)

    async def page_of(request: Request, ref: str, principal: Principal, asked: EventQuery) -> Page:
        profile_id = await resolve(principal.workspace_id, ref, request.app.state.facets, directory)
        return await page(principal, asked, asked.filter(clock).of(profile_id))

    @router.get("/events", summary="List events, newest first", responses={404: {"description": "No such profile."}})
    async def events(
        request: Request,
        principal: EventsReader,
        asked: Asked,
        profile: Annotated[str | None, Query(alias="profileId", max_length=500)] = None,
    ) -> Answer[EventList]:
        """Of one type, name, profile or period. Personal values are hidden without the scope `profiles:pii`."""
        chosen = asked.filter(clock)
        if profile:
            chosen = chosen.of(await resolve(principal.workspace_id, profile, request.app.state.facets, directory))
        found = await page(principal, asked, chosen)
        return Answer(data=EventList(items=found.events, next_cursor=found.next_cursor))

    @router.get("/profiles/{ref}/events", summary="List the events of a profile, newest first")
    async def profile_events(request: Request, ref: str, principal: ProfilesReader, asked: Asked) -> Answer[EventList]:
        """`ref` is a profile id or `kind:value` (`email:ada@example.com`); all nodes of the profile count."""
        found = await page_of(request, ref, principal, asked)
        return Answer(data=EventList(items=found.events, next_cursor=found.next_cursor))

    @router.get("/profiles/{ref}/timeline", summary="Tell what a profile did, newest first")
    async def timeline(request: Request, ref: str, principal: ProfilesReader, asked: Asked) -> Answer[Timeline]:
        """The events of a profile, each with a readable `summary`."""
        found = await page_of(request, ref, principal, asked)
        return Answer(data=Timeline(items=list(map(timeline_entry, found.events)), next_cursor=found.next_cursor))

    return router
