"""GET /analytics/overview, POST /analytics/funnel and /analytics/cohorts: questions in, exact numbers out."""

from typing import Annotated

from fastapi import APIRouter, Body, Depends
from fastapi.openapi.models import Example

from cdp_analytics_api.answers import CohortAnswer, FunnelAnswer, Overview
from cdp_analytics_api.questions import CohortQuestion, FunnelQuestion
from cdp_analytics_api.reports import Reports
from cdp_analytics_api.routes.events import may_see_personal
from cdp_runtime.auth import Principal, require
from cdp_runtime.envelope import Answer

Analyst = Annotated[Principal, Depends(require("analytics:read"))]
_PURCHASE_FUNNEL = Example(
    summary="From a page view to a purchase within a day",
    value={
        "name": "Purchase Funnel",
        "steps": [
            {"event": "page_view"},
            {"event": "product_view", "filters": [{"property": "price", "operator": ">=", "value": 10}]},
            {"event": "add_to_cart"},
            {"event": "purchase"},
        ],
        "startDate": "2026-01-01",
        "endDate": "2026-02-15",
        "timeWindow": "P1D",
        "breakdown": "utm_source",
    },
)


def analytics_router(reports: Reports) -> APIRouter:
    router = APIRouter(prefix="/analytics", tags=["analytics"])

    @router.get("/overview", summary="The dashboard's numbers")
    async def overview(principal: Analyst) -> Answer[Overview]:
        """Profiles, events, exact revenue in the installation's currency, consent and countries.

        Orders in other currencies are neither converted nor added up: they count as purchases only.
        Seconds old, minutes where ClickHouse is down (`asOf`).
        """
        return Answer(data=await reports.overview(principal.workspace_id))

    @router.post("/funnel", summary="How many profiles take these steps, and how long they need")
    async def funnel(
        principal: Analyst, question: Annotated[FunnelQuestion, Body(openapi_examples={"purchase": _PURCHASE_FUNNEL})]
    ) -> Answer[FunnelAnswer]:
        """Each profile is followed from every first step it takes; its furthest step counts.

        All steps lie in the period and, from the first to the last, within the time window, to the millisecond. One
        event takes one step, even if it could be several. Times are those of the shortest way to the first completion.
        Personal values of a breakdown are hidden without the scope `profiles:pii`.
        """
        pii = may_see_personal(principal)
        return Answer(data=await reports.funnel(principal.workspace_id, question, pii=pii))

    @router.post("/cohorts", summary="How many of those who came in a week were there again later")
    async def cohorts(principal: Analyst, question: CohortQuestion) -> Answer[CohortAnswer]:
        """Retention by week: a profile belongs to the week of its first start within the weeks that are asked for.

        Weeks have seven UTC days; a profile counts once in each week it was there, whatever its number of events.
        """
        return Answer(data=await reports.cohorts(principal.workspace_id, question))

    return router
