"""Time alone moves profiles in and out, at the very millisecond, and the sweep looks at few."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.fakes.segmenter import DAY, MS, NOW, did, profile

from cdp_segmenter.adapters import postgres_agenda

from .conftest import Room

pytestmark = [pytest.mark.postgres, pytest.mark.clickhouse]
ADA, BOB = profile("ada"), profile("bob")
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
RECENT = {"event": "purchase", "window": "P30D"}
CASES: list[tuple[str, dict[str, Any], Any, bool]] = [
    ("a window passes", RECENT, replace(ADA, events=(did("Order Completed", 29 * DAY),)), True),
    (
        "nothing bought for 30 days",
        {"operator": "AND", "conditions": [{"event": "purchase"}, {"operator": "NOT", "conditions": [RECENT]}]},
        replace(ADA, events=(did("Order Completed", 29 * DAY),)),
        False,
    ),
    (
        "one of two leaves the count",
        {"event": "purchase", "count": {"min": 2}, "window": "P30D"},
        replace(ADA, events=(did("Order Completed", 29 * DAY), did("Order Completed"))),
        True,
    ),
    (
        "the last time gets old",
        {"event": "purchase", "last": {"operator": "within_last", "value": 30}},
        replace(ADA, events=(did("Order Completed", 29 * DAY),)),
        True,
    ),
    (
        "an instant among the traits gets old",
        {"field": "attributes.trialStart", "operator": "within_last", "value": "P30D"},
        replace(ADA, traits={"trialStart": (NOW - 29 * DAY).isoformat()}),
        True,
    ),
    (
        "an instant of the future arrives",
        {"field": "attributes.renewal", "operator": "within_last", "value": "P7D"},
        replace(ADA, traits={"renewal": (NOW + DAY).isoformat()}),
        False,
    ),
    (
        "another day since the last purchase",
        {"field": "computed.daysSinceLastPurchase", "operator": "<", "value": 30},
        replace(ADA, last_order_at=NOW - 29 * DAY),
        True,
    ),
    (
        "the last purchase gets old",
        {"field": "computed.lastPurchaseDate", "operator": "within_last", "value": "P30D"},
        replace(ADA, last_order_at=NOW - 29 * DAY),
        True,
    ),
]


@pytest.mark.parametrize(("rule", "facts", "at_first"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_the_answer_turns_at_its_moment(room: Room, rule: dict[str, Any], facts: Any, at_first: bool) -> None:
    await room.knows(facts, BOB)
    segment_id = await room.segment(rule)
    seen = [ADA.profile_id in await room.members(segment_id)]
    since = room.clock.now()
    for step in (DAY - MS, MS, MS):
        room.clock.advance(step)
        await room.sweep.workspace(room.workspace, since)
        since = room.clock.now()
        seen.append(ADA.profile_id in await room.members(segment_id))
    assert seen == [at_first, at_first, not at_first, not at_first]
    told = [c for c in await room.told() if c.cause == "clock"]
    assert len(told) == 1


async def test_a_sweep_after_a_long_pause_catches_up(room: Room) -> None:
    crowd = [replace(profile(f"p{n}"), events=(did("Order Completed", n * DAY),)) for n in range(40)]
    await room.knows(*crowd)
    segment_id = await room.segment(RECENT)
    assert len(await room.members(segment_id)) == 30
    since = room.clock.now()
    room.clock.advance(10 * DAY)
    assert await room.sweep.workspace(room.workspace, since) in (10, 11)  # one sits on the overlap
    assert await room.members(segment_id) == {facts.profile_id for facts in crowd[:20]}


async def test_nothing_due_means_nobody_is_looked_at(room: Room) -> None:
    await room.knows(replace(ADA, events=(did("Order Completed", 5 * DAY),)))
    await room.segment(RECENT)
    room.clock.advance(HOUR)
    assert await room.sweep.workspace(room.workspace, NOW) == 0


async def test_a_sweep_marks_how_far_it_came(room: Room) -> None:
    await room.segment(RECENT)
    await room.agenda.workspaces()
    room.clock.advance(timedelta(days=4000))
    await room.sweep.all()
    through, _ = (await room.agenda.workspaces())[room.workspace]
    assert through == room.clock.now()


@pytest.mark.parametrize(("rule", "facts", "at_first"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_an_evaluation_foresees_the_moment(room: Room, rule: dict[str, Any], facts: Any, at_first: bool) -> None:
    """Without any sweep: looked at 5 s before, again at the moment, and not again."""
    segment_id = await room.segment(rule)
    await room.knows(facts, BOB)
    room.clock.advance(DAY - 5 * SECOND)
    await room.touch([ADA.profile_id, BOB.profile_id])
    seen = []
    for step in (5 * SECOND - MS, MS, MS):
        room.clock.advance(step)
        seen.append((await room.sweep.moments(), ADA.profile_id in await room.members(segment_id)))
    assert seen == [(0, at_first), (1, not at_first), (0, not at_first)]


async def test_a_sweep_foresees_for_those_whom_nobody_looked_at(room: Room) -> None:
    await room.knows(replace(ADA, events=(did("Order Completed", 30 * DAY - 5 * SECOND),)))
    segment_id = await room.segment(RECENT)
    assert await room.sweep.workspace(room.workspace, room.clock.now()) == 1
    room.clock.advance(5 * SECOND)
    assert await room.sweep.moments() == 1
    assert await room.members(segment_id) == set()


async def test_one_moment_after_another(room: Room) -> None:
    """Three events leave three windows, each in its own second; every look foresees the next."""
    windows = {"PT1H": 1, "P1D": 2, "P30D": 3}
    rules = [{"event": "purchase", "count": {"min": least}, "window": window} for window, least in windows.items()]
    segments = [await room.segment(rule) for rule in rules]
    ages = (HOUR - SECOND, DAY - 2 * SECOND, 30 * DAY - 3 * SECOND)
    await room.knows(replace(ADA, events=tuple(did("Order Completed", age) for age in ages)))
    await room.touch([ADA.profile_id])
    inside = []
    for _ in range(4):
        inside.append([bool(await room.members(segment_id)) for segment_id in segments])
        room.clock.advance(SECOND)
        await room.sweep.moments()
    assert inside == [[True] * 3, [False, True, True], [False, False, True], [False] * 3]


async def test_a_moment_far_away_is_no_reminder(room: Room) -> None:
    await room.segment(RECENT)
    await room.knows(replace(ADA, events=(did("Order Completed", 20 * DAY),)))
    await room.touch([ADA.profile_id])
    assert await room.agenda.moments(NOW + 400 * DAY, 10) == {}


@pytest.mark.parametrize(
    ("table", "column", "done"),
    [("moments", "at", postgres_agenda._PASSED), ("requests", "asked_at", postgres_agenda._ANSWERED)],
)
async def test_what_is_done_is_looked_up_one_by_one_where_statistics_do_not_know_the_workspace(
    room: Room, table: str, column: str, done: str
) -> None:
    appoint = (
        f"INSERT INTO segmenter.{table} (workspace_id, profile_id, {column}) "
        "SELECT %s, gen_random_uuid(), now() FROM generate_series(1, %s) RETURNING profile_id, " + column
    )
    async with room.pool.connection() as connection:
        await connection.execute(appoint, [f"{room.workspace}-before", 2000])
        await connection.execute(f"ANALYZE segmenter.{table}")
        found = await (await connection.execute(appoint, [room.workspace, 1000])).fetchmany(10)
        told = await connection.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {done}",
            [[profile_id for profile_id, _ in found], [at for _, at in found], room.workspace],
        )
        ((plan,),) = await told.fetchall()
        await connection.rollback()
    assert max(_rows(plan[0]["Plan"])) == 10


def _rows(node: dict[str, Any]) -> list[float]:
    """What each node of a plan, and all below it, gave."""
    return [node["Actual Rows"], *(rows for child in node.get("Plans", ()) for rows in _rows(child))]
