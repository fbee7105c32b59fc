"""A workspace's questions -> statements -> answers; the facets of other services are asked where counts are theirs."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

from cdp_analytics_api import answers
from cdp_analytics_api.freshness import FreshAnswers
from cdp_analytics_api.periods import Period, duration_ms, period
from cdp_analytics_api.ports import EventStore, Facets
from cdp_analytics_api.queries import totals
from cdp_analytics_api.queries.cohorts import DAYS, Cohorts, cohorts
from cdp_analytics_api.queries.funnel import Funnel, funnel
from cdp_analytics_api.queries.usage import outcomes
from cdp_analytics_api.questions import CohortQuestion, FunnelQuestion
from cdp_runtime.clock import Clock

FUNNEL_DAYS: Final = timedelta(days=30)


class Reports:
    """Every call raises StoreUnavailable, or StoreRefused when it is too heavy."""

    def __init__(self, store: EventStore, clock: Clock, default_currency: str) -> None:
        self._store, self._clock, self._currency = store, clock, default_currency
        self._fresh = FreshAnswers(clock)

    async def stats(self, workspace_id: str, facets: Facets) -> answers.Stats:
        return await self._fresh.get((workspace_id, "stats"), lambda: self._stats(workspace_id, facets))

    async def overview(self, workspace_id: str) -> answers.Overview:
        return await self._fresh.get((workspace_id, "overview"), lambda: self._overview(workspace_id))

    async def usage(
        self, workspace_id: str, chosen: Period, source_id: str | None, facets: Facets
    ) -> list[answers.UsageMinute]:
        decided = await self._store.rows(outcomes(workspace_id, chosen, source_id))
        facet = facets.get("accepted")
        accepted = None if facet is None else _accepted(await facet(workspace_id, [chosen.start]), chosen, source_id)
        return answers.usage(decided, accepted)

    async def funnel(self, workspace_id: str, question: FunnelQuestion, *, pii: bool) -> answers.FunnelAnswer:
        """Personal values of a breakdown are hidden without ``pii``. Raises BadPeriod as well."""
        asked = funnel_of(question, self._clock.now())
        total = self._store.rows(funnel(workspace_id, asked.without_breakdown()))
        if asked.breakdown is None:
            return answers.funnel_answer(question.name, asked, (await total)[0], [], pii=pii)
        rows, branches = await asyncio.gather(total, self._store.rows(funnel(workspace_id, asked)))
        return answers.funnel_answer(question.name, asked, rows[0], branches, pii=pii)

    async def cohorts(self, workspace_id: str, question: CohortQuestion) -> answers.CohortAnswer:
        asked = cohorts_of(question, self._clock.now())
        return answers.cohort_answer(asked, await self._store.rows(cohorts(workspace_id, asked)))

    async def _stats(self, workspace_id: str, facets: Facets) -> answers.Stats:
        now = self._clock.now()
        today = datetime.combine(now.date(), time(), UTC)
        events, profiles, counts = await asyncio.gather(
            self._store.rows(totals.event_totals(workspace_id, today)),
            self._store.rows(totals.profile_totals(workspace_id, today)),
            _counts(workspace_id, facets),
        )
        return answers.stats(events[0], profiles[0], counts, now)

    async def _overview(self, workspace_id: str) -> answers.Overview:
        now = self._clock.now()
        events, revenue, consent, countries = await asyncio.gather(
            self._store.rows(totals.event_count(workspace_id)),
            self._store.rows(totals.revenue_totals(workspace_id)),
            self._store.rows(totals.consent_totals(workspace_id)),
            self._store.rows(totals.top_countries(workspace_id)),
        )
        rows = answers.OverviewRows(events[0], revenue, consent, countries)
        return answers.overview(rows, self._currency, now)


def funnel_of(question: FunnelQuestion, now: datetime) -> Funnel:
    """The checked question. Raises BadPeriod."""
    breakdown = question.breakdown
    return Funnel(
        steps=tuple(question.steps),
        period=period(question.start_date, question.end_date, now=now, default=FUNNEL_DAYS),
        window_ms=duration_ms(question.time_window, "timeWindow"),
        order=question.order,
        breakdown=tuple(breakdown.removeprefix("properties.").split(".")) if breakdown else None,
        times=question.time_to_convert,
    )


def cohorts_of(question: CohortQuestion, now: datetime) -> Cohorts:
    """The question with its first day: given, or such that the last week ends today."""
    first = question.start_date or now.date() - timedelta(days=DAYS * question.weeks - 1)
    return Cohorts(first, question.weeks, question.start_event, question.return_event)


async def _counts(workspace_id: str, facets: Facets) -> Mapping[str, int]:
    """How many segments and audiences there are, from the services that keep them (facet ``counts``)."""
    facet = facets.get("counts")
    return await facet(workspace_id, []) if facet else {}


def _accepted(told: Mapping[str, Any], chosen: Period, source_id: str | None) -> dict[tuple[str, datetime], int]:
    """The gateway's rows (source_id, minute, count) within the period, summed over its workers."""
    sums: dict[tuple[str, datetime], int] = {}
    for row in told["rows"]:
        minute: datetime = row["minute"]
        if chosen.start <= minute < chosen.end and source_id in (None, row["source_id"]):
            place = (row["source_id"], minute.astimezone(UTC))
            sums[place] = sums.get(place, 0) + row["count"]
    return sums
