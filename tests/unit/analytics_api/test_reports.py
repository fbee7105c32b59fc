"""The account of a minute joins what the gateway accepted with what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cdp_analytics_api.periods import Period
from cdp_analytics_api.reports import Reports
from cdp_clickhouse.statement import Statement
from cdp_runtime.clock import ManualClock

NOW = datetime(2026, 2, 15, 12, 0, tzinfo=UTC)
MINUTE = NOW - timedelta(minutes=1)


class Outcomes:
    async def rows(self, statement: Statement) -> list[dict[str, Any]]:
        return [{"source_id": "web", "minute_s": int(MINUTE.timestamp()), "outcome": "stored", "events": 5}]


async def accepted(workspace_id: str, since: Sequence[Any]) -> Mapping[str, Any]:
    """Two workers counted the same minute; other sources and minutes are there as well."""
    assert (workspace_id, since) == ("acme", [NOW - timedelta(hours=1)])
    rows = [("web", MINUTE, 4), ("web", MINUTE, 3), ("ios", MINUTE, 9), ("web", NOW, 100)]
    return {"rows": [{"source_id": source, "minute": minute, "count": count} for source, minute, count in rows]}


async def test_accepted_is_summed_over_workers_within_the_period() -> None:
    reports = Reports(Outcomes(), ManualClock(NOW), "USD")
    period = Period(NOW - timedelta(hours=1), NOW)
    (web,) = await reports.usage("acme", period, "web", {"accepted": accepted})
    assert (web.accepted, web.stored, web.in_flight) == (7, 5, 2)
    every = await reports.usage("acme", period, None, {"accepted": accepted})
    assert [(row.source_id, row.accepted) for row in every] == [("ios", 9), ("web", 7)]
