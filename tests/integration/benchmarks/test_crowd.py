"""What the benches write past the services -> the tables as they are now; each question answered as by hand."""

import asyncio
from uuid import uuid4

import pytest
from bench import audience, questions, segments
from bench.crowd import WORKSPACE, Crowd, fill

from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.statement import Statement
from cdp_runtime.migrate import migrate_clickhouse

PROFILES, EVENTS = 1_000, 10_000


@pytest.fixture(scope="module")
def crowd(clickhouse_url: str) -> Crowd:
    """A thousandth of the one that is measured."""

    async def filled(store: ClickHouse) -> None:
        await fill(store, PROFILES, EVENTS)

    asyncio.run(migrate_clickhouse(clickhouse_url))
    asyncio.run(_with_store(clickhouse_url, filled))
    return Crowd(clickhouse_url)


def test_the_crowd_is_written_and_counted(crowd: Crowd) -> None:
    counted: list[int] = []

    async def count(store: ClickHouse) -> None:
        for what in ("count() AS n FROM profiles", "count() AS n FROM events", "sum(count) AS n FROM counters"):
            (row,) = await store.rows(Statement(f"SELECT {what} WHERE workspace_id = '{WORKSPACE}'"))
            counted.append(int(row["n"]))

    asyncio.run(_with_store(crowd.url, count))
    assert counted == [PROFILES, EVENTS, EVENTS]


def test_a_hundred_rules_count_what_sql_by_hand_counts(crowd: Crowd) -> None:
    assert [row.id for row in segments.rows(crowd)] == ["P12"]


def test_sizes_funnels_and_retention_are_what_sql_by_hand_makes_of_them(crowd: Crowd) -> None:
    asked = [row.id for row in questions.asked(crowd)]
    assert asked == ["P16 preview", "P16 events", "P16 overlap", "P18 funnel", "P18 times", "P18 retention"]


def test_the_people_of_an_audience_are_shown(clickhouse_url: str) -> None:
    workspace, people = f"w-{uuid4().hex[:8]}", []

    async def shown(store: ClickHouse) -> None:
        await audience.show(store, workspace, 3)
        people.extend(await store.rows(Statement(f"SELECT * FROM profiles WHERE workspace_id = '{workspace}'")))

    asyncio.run(_with_store(clickhouse_url, shown))
    assert sorted(one["identifiers"]["user_id"] for one in people) == [["member-1"], ["member-2"], ["member-3"]]


async def _with_store(url, work) -> None:
    store = ClickHouse(url)
    try:
        await work(store)
    finally:
        await store.stop()
