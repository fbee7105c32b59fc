"""The funnel's SQL on the real engine against plain Python, over random small histories full of ties and edges."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from cdp_analytics_api.notation import from_millis
from cdp_analytics_api.periods import Period
from cdp_analytics_api.queries.funnel import Funnel, funnel
from cdp_analytics_api.questions import FunnelStep
from cdp_clickhouse.client import ClickHouse

from .conftest import EventRow, insert_aliases, insert_events
from .funnel_oracle import ask

pytestmark = pytest.mark.clickhouse
BEGIN_MS = 1_790_000_000_000
NAMES = ["Signed Up", "Plan Chosen", "Paid", "Invited", "Noise"]
FUNNELS = {
    "disjoint": ["Signed Up", "Plan Chosen", "Paid"],
    "repeated": ["Signed Up", "Signed Up", "Paid"],
    "all the same": ["Paid", "Paid", "Paid"],
    "back to the start": ["Signed Up", "Plan Chosen", "Signed Up", "Paid"],
}


def history(chance: random.Random, workspace: str) -> tuple[list[EventRow], dict[UUID, UUID]]:
    nodes = [UUID(int=chance.getrandbits(128)) for _ in range(30)]
    moved = {nodes[k]: nodes[k + 15] for k in range(8)}
    rows = [
        # few milliseconds, so that ties and the window's very edge are common
        EventRow(workspace, chance.choice(NAMES), chance.choice(nodes), BEGIN_MS + chance.randrange(12), offset=offset)
        for offset in range(220)
    ]
    return rows, moved


@pytest.mark.parametrize("seed", range(4))
async def test_funnels_agree_with_the_oracle(store: ClickHouse, seed: int) -> None:
    workspace = f"funnel-{seed}"
    rows, moved = history(random.Random(seed), workspace)
    await insert_events(store, rows)
    await insert_aliases(store, workspace, moved)
    period = Period(from_millis(BEGIN_MS), from_millis(BEGIN_MS) + timedelta(seconds=1))
    for label, names in FUNNELS.items():
        for window_ms in (1, 3, 7, 1000):
            for order in ("ordered", "strict"):
                asked = Funnel(tuple(FunnelStep(event=name) for name in names), period, window_ms, order)
                row = (await store.rows(funnel(workspace, asked)))[0]
                expected = ask(rows, moved, [{name} for name in names], window_ms, order == "strict")
                seen = [row[f"reached_{k}"] for k in range(1, len(names) + 1)]
                times = [row[f"times_{k}"] for k in range(2, len(names) + 1)]
                assert (seen, times) == (expected.reached, expected.times), (label, window_ms, order)
                untimed = (await store.rows(funnel(workspace, replace(asked, times=False))))[0]
                assert list(untimed.values()) == expected.reached, (label, window_ms, order)


async def reached(store: ClickHouse, workspace: str, *names: str) -> list[int]:
    period = Period(from_millis(BEGIN_MS), from_millis(BEGIN_MS) + timedelta(seconds=1))
    asked = Funnel(tuple(FunnelStep(event=name) for name in names), period, 1000, times=False)
    return list((await store.rows(funnel(workspace, asked)))[0].values())


async def test_an_event_is_one_step_and_two_of_one_moment_are_two(store: ClickHouse) -> None:
    one, two = (UUID(int=number) for number in (1, 2))
    nodes = [one, two, two]
    await insert_events(
        store, [EventRow("repeats", "Paid", node, BEGIN_MS, offset=offset) for offset, node in enumerate(nodes)]
    )
    assert await reached(store, "repeats", "Paid", "Paid", "Paid") == [2, 1, 0]


async def test_a_step_that_comes_again_at_the_end_takes_nobody_from_those_before_it(store: ClickHouse) -> None:
    rows, _ = history(random.Random(7), "prefixes")
    await insert_events(store, rows)
    names = FUNNELS["back to the start"]
    every = await reached(store, "prefixes", *names)
    for steps in range(2, len(names)):
        assert await reached(store, "prefixes", *names[:steps]) == every[:steps]
