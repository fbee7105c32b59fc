"""Time alone moves profiles in and out, at the very millisecond, and the sweep looks at few."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.fakes.segmenter import DAY, MS, NOW, did, profile

from .conftest import Room

pytestmark = [pytest.mark.postgres, pytest.mark.clickhouse]
ADA, BOB = profile("ada"), profile("bob")
HOUR = timedelta(hours=1)
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
