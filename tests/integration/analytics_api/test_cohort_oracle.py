"""Retention's SQL on the real engine against plain Python, over random small histories at the edges of days."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from cdp_analytics_api.answers import cohort_answer
from cdp_analytics_api.queries.cohorts import Cohorts, cohorts
from cdp_clickhouse.client import ClickHouse

from .conftest import EventRow, insert_aliases, insert_events

pytestmark = pytest.mark.clickhouse
FIRST = date(2026, 8, 3)
WEEKS = 5
NAMES = ["Signed Up", "Paid", "Noise"]


def history(chance: random.Random, workspace: str) -> tuple[list[EventRow], dict[UUID, UUID]]:
    """Events from before the first week until after the last one, most of them at midnight or a moment before."""
    nodes = [UUID(int=chance.getrandbits(128)) for _ in range(40)]
    begin = int(datetime.combine(FIRST, datetime.min.time(), UTC).timestamp() * 1000)
    rows = [
        EventRow(
            workspace,
            chance.choice(NAMES),
            chance.choice(nodes),
            begin + chance.randrange(-8, 7 * WEEKS + 9) * 86_400_000 + chance.choice([-1, 0, 1, 40_000_000]),
            offset=offset,
        )
        for offset in range(150)
    ]
    return rows, {nodes[k]: nodes[k + 20] for k in range(12)}


def expected(rows: list[EventRow], moved: dict[UUID, UUID], asked: Cohorts) -> list[list[int]]:
    """Per week: how many came first in it, then how many of them were there 0, 1, ... weeks later."""
    starts: dict[UUID, set[int]] = defaultdict(set)
    returns: dict[UUID, set[int]] = defaultdict(set)
    for row in rows:
        day = datetime.fromtimestamp(row.at_ms / 1000, UTC).date()
        week, profile = (day - asked.first_day).days // 7, moved.get(row.node_id, row.node_id)
        if not 0 <= week < asked.weeks:
            continue
        if asked.start_event in (None, row.event):
            starts[profile].add(week)
        if asked.return_event in (None, row.event):
            returns[profile].add(week)
    came = {profile: min(weeks) for profile, weeks in starts.items()}
    return [
        [
            sum(first == week for first in came.values()),
            *(
                sum(first == week and week + later in returns[profile] for profile, first in came.items())
                for later in range(asked.weeks - week)
            ),
        ]
        for week in range(asked.weeks)
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("start", [None, "Signed Up"])
@pytest.mark.parametrize("back", [None, "Signed Up", "Paid"])
async def test_cohorts_agree_with_the_oracle(store: ClickHouse, seed: int, start: str | None, back: str | None) -> None:
    workspace = f"cohorts-{seed}-{start}-{back}"
    rows, moved = history(random.Random(seed), workspace)
    await insert_events(store, rows)
    await insert_aliases(store, workspace, moved)
    asked = Cohorts(FIRST, WEEKS, start, back)
    told = await store.rows(cohorts(workspace, asked))
    assert len(told) <= WEEKS, "no row for each way to come and go: of 52 weeks there are more than may be returned"
    found = cohort_answer(asked, told)
    assert [week.start for week in found.weeks] == [FIRST + timedelta(days=7 * k) for k in range(WEEKS)]
    assert [[week.profiles, *week.retained] for week in found.weeks] == expected(rows, moved, asked)
