"""What the benches write past the services -> the tables as they are now; each question answered as by hand."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from bench import audience, questions, segments
from bench.crowd import WORKSPACE, Crowd, fill
from tests.databases import all_tables

from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.statement import Statement

PROFILES, EVENTS = 1_000, 10_000


@pytest.fixture(scope="session")
async def store(clickhouse_url: str) -> AsyncIterator[ClickHouse]:
    async with all_tables(clickhouse_url) as store:
        yield store


@pytest.fixture(scope="session")
async def crowd(store: ClickHouse, clickhouse_url: str) -> Crowd:
    """A thousandth of the one that is measured. Who asks it begins an event loop, and so needs a thread."""
    await fill(store, PROFILES, EVENTS)
    return Crowd(clickhouse_url)


@pytest.mark.usefixtures("crowd")
async def test_the_crowd_is_written_and_counted(store: ClickHouse) -> None:
    counted = []
    for what in ("count() AS n FROM profiles", "count() AS n FROM events", "sum(count) AS n FROM counters"):
        (row,) = await store.rows(Statement(f"SELECT {what} WHERE workspace_id = '{WORKSPACE}'"))
        counted.append(int(row["n"]))
    assert counted == [PROFILES, EVENTS, EVENTS]


async def test_a_hundred_rules_count_what_sql_by_hand_counts(crowd: Crowd) -> None:
    assert [row.id for row in await asyncio.to_thread(segments.rows, crowd)] == ["P12"]


async def test_sizes_funnels_and_retention_are_what_sql_by_hand_makes_of_them(crowd: Crowd) -> None:
    asked = [row.id for row in await asyncio.to_thread(questions.asked, crowd)]
    assert asked == ["P16 preview", "P16 events", "P16 overlap", "P18 funnel", "P18 times", "P18 retention"]


async def test_the_people_of_an_audience_are_shown(store: ClickHouse) -> None:
    workspace = f"w-{uuid4().hex[:8]}"
    await audience.show(store, workspace, 3)
    people = await store.rows(Statement(f"SELECT * FROM profiles WHERE workspace_id = '{workspace}'"))
    assert sorted(one["identifiers"]["user_id"] for one in people) == [["member-1"], ["member-2"], ["member-3"]]
