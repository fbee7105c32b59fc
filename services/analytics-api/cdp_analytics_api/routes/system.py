"""GET /stats and /usage: how much there is, and what became of what arrived."""

from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request

from cdp_analytics_api.answers import Stats, UsageMinute
from cdp_analytics_api.door.faults import invalid
from cdp_analytics_api.periods import period
from cdp_analytics_api.reports import Reports
from cdp_runtime.auth import Principal, require
from cdp_runtime.clock import Clock
from cdp_runtime.envelope import Answer, Wire

USAGE_DEFAULT: Final = timedelta(hours=1)
USAGE_MOST: Final = timedelta(days=7)
Reader = Annotated[Principal, Depends(require("system:read"))]


class UsageList(Wire):
    items: list[UsageMinute]


def system_router(reports: Reports, clock: Clock) -> APIRouter:
    router = APIRouter(tags=["system"])

    @router.get("/stats", summary="Count profiles, events, segments and audiences")
    async def stats(request: Request, principal: Reader) -> Answer[Stats]:
        """The whole workspace in six numbers, seconds old, minutes where ClickHouse is down (`asOf`)."""
        return Answer(data=await reports.stats(principal.workspace_id, request.app.state.facets))

    @router.get("/usage", summary="Account for every accepted event, per source and minute")
    async def usage(
        request: Request,
        principal: Reader,
        start_date: Annotated[str | None, Query(alias="startDate", examples=["2026-02-15T10:00:00Z"])] = None,
        end_date: Annotated[str | None, Query(alias="endDate")] = None,
        source_id: Annotated[str | None, Query(alias="sourceId", max_length=200)] = None,
    ) -> Answer[UsageList]:
        """`accepted = stored + duplicate + quarantined + suppressed + inFlight`, by minute of arrival.

        Without dates the last hour; at most seven days at once.
        """
        chosen = period(start_date, end_date, now=clock.now(), default=USAGE_DEFAULT)
        if chosen.end - chosen.start > USAGE_MOST + timedelta(days=1):
            raise invalid("startDate", "ask for at most seven days at once")
        items = await reports.usage(principal.workspace_id, chosen, source_id, request.app.state.facets)
        return Answer(data=UsageList(items=items))

    return router
