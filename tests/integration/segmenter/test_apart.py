"""A workspace about which ClickHouse refuses to answer: the leader's work for the others goes on, of every kind."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.fakes.segmenter import DAY, did, profile

from cdp_clickhouse.client import TIMEOUT_S
from cdp_clickhouse.errors import StoreRefused
from cdp_clickhouse.statement import Statement
from cdp_eventlog.log import Partition, Record
from cdp_schemas.codec import encode
from cdp_schemas.profiles import ProfilesRecorded
from cdp_schemas.topics import PROFILES_RECORDED
from cdp_segmenter import sweep
from cdp_segmenter.adapters.clickhouse_crowd import ClickHouseCrowd
from cdp_segmenter.build import Builder
from cdp_segmenter.evaluate import Evaluator
from cdp_segmenter.rules.scope import Scope
from cdp_segmenter.stream import RecordedStream
from cdp_segmenter.sweep import Sweep

from .conftest import Room

pytestmark = [pytest.mark.postgres, pytest.mark.clickhouse]
RICH = {"field": "computed.ltv", "operator": ">", "value": 100}
RECENT = {"event": "purchase", "window": "P30D"}
ADA, BOB = profile("ada"), profile("bob")


class Refusing(ClickHouseCrowd):
    """Refuses every question about one workspace, once that is named."""

    heavy: str | None = None

    async def members(self, rules: Any, scope: Scope, manual: Any) -> Any:
        self._look(scope.workspace_id)
        return await super().members(rules, scope, manual)

    async def decided(self, decider: Any, scope: Scope, manual: Any) -> Any:
        self._look(scope.workspace_id)
        return await super().decided(decider, scope, manual)

    async def due(self, statement: Statement) -> Any:
        self._look(next(value for value in statement.parameters.values() if isinstance(value, str)))
        return await super().due(statement)

    def _look(self, workspace_id: str) -> None:
        if workspace_id == self.heavy:
            raise StoreRefused("AST is too big. Maximum: 50000. (TOO_BIG_AST)", 168)


@pytest.fixture
async def rooms(room: Room) -> AsyncIterator[tuple[Room, Room, Refusing]]:
    """The one that is refused, which comes first, another, and who refuses."""
    crowd = Refusing(room.store)
    heavy, light = room, Room(room.pool, room.statements, room.store, room.workspace + "-too")
    for one in (heavy, light):
        one.crowd, one.clock = crowd, room.clock
        one.evaluator = Evaluator(one.ledger, crowd, room.clock)
        one.builder = Builder(one.evaluator, one.ledger, crowd, one.agenda, room.clock)
        one.sweep = Sweep(one.evaluator, one.ledger, crowd, one.agenda, room.clock)
    yield heavy, light, crowd
    async with room.pool.connection() as connection:
        for table in ("segments", "profile_segments", "sweeps", "requests", "moments"):
            await connection.execute(f"DELETE FROM segmenter.{table} WHERE workspace_id = %s", [light.workspace])


async def test_the_others_are_built_and_it_is_when_it_can_be(rooms: tuple[Room, Room, Refusing]) -> None:
    heavy, light, crowd = rooms
    for one in (heavy, light):
        await one.knows(replace(ADA, ltv_minor=20_000))
    segments = [await one.segment(RICH, built=False) for one in (heavy, light)]
    crowd.heavy = heavy.workspace
    assert await heavy.builder.pending() == 1
    assert [await heavy.members(segments[0]), await light.members(segments[1])] == [set(), {ADA.profile_id}]
    crowd.heavy = None
    assert await heavy.builder.pending() == 0  # it rests
    heavy.clock.advance(timedelta(seconds=5))
    assert await heavy.builder.pending() == 1
    assert await heavy.members(segments[0]) == {ADA.profile_id}


async def test_the_others_are_reconciled(rooms: tuple[Room, Room, Refusing]) -> None:
    heavy, light, crowd = rooms
    segments = [await one.segment(RICH) for one in (heavy, light)]
    for one in (heavy, light):
        await one.knows(replace(ADA, ltv_minor=20_000))
    async with heavy.pool.connection() as connection:
        await connection.execute("DELETE FROM segmenter.sweeps")
    await heavy.agenda.workspaces()
    heavy.clock.advance(4000 * DAY)
    crowd.heavy = heavy.workspace
    assert await heavy.builder.reconcile_all(every=0.001) == 1
    assert [await heavy.members(segments[0]), await light.members(segments[1])] == [set(), {ADA.profile_id}]


async def test_time_goes_on_for_the_others(rooms: tuple[Room, Room, Refusing], monkeypatch: pytest.MonkeyPatch) -> None:
    """Swept, foreseen and asked for: also where what waits for the refused one would fill every look."""
    monkeypatch.setattr(sweep, "_REQUESTS", 1)
    heavy, light, crowd = rooms
    for one in (heavy, light):
        await one.knows(replace(ADA, events=(did("Order Completed", 30 * DAY - timedelta(seconds=20)),)), BOB)
    segments = [await one.segment(RECENT) for one in (heavy, light)]
    for one in (heavy, light):
        await one.touch([ADA.profile_id])  # foresees
        await one.desk.catalogue.ask(one.workspace, [BOB.profile_id])
    heavy.clock.advance(timedelta(seconds=21))
    crowd.heavy = heavy.workspace
    assert [await heavy.sweep.moments(), await heavy.sweep.moments()] == [0, 1]
    assert [await heavy.sweep.requests(), await heavy.sweep.requests()] == [0, 1]
    assert [await heavy.members(segments[0]), await light.members(segments[1])] == [{ADA.profile_id}, set()]
    before = await heavy.agenda.workspaces()
    heavy.clock.advance(4000 * DAY)
    await heavy.sweep.all()
    after = await heavy.agenda.workspaces()
    assert after[heavy.workspace] == before[heavy.workspace]
    assert after[light.workspace][0] > before[light.workspace][0]


async def test_what_changes_meanwhile_is_made_up_for(rooms: tuple[Room, Room, Refusing]) -> None:
    """The log goes on, and so do those who are gone; a reconciliation is due at once."""
    heavy, light, crowd = rooms
    segments = [await one.segment(RICH) for one in (heavy, light)]
    for one in (heavy, light):
        await one.knows(replace(ADA, ltv_minor=20_000), replace(BOB, ltv_minor=20_000))
        await one.touch([BOB.profile_id])
        await one.erase(BOB.profile_id)
    known = await heavy.agenda.workspaces()
    for one in (heavy, light):
        await one.agenda.reconciled(one.workspace, known[one.workspace][1], heavy.clock.now())
    crowd.heavy = heavy.workspace
    recorded = [
        ProfilesRecorded(one.workspace, [ADA.profile_id], heavy.clock.now(), gone=[BOB.profile_id])
        for one in (heavy, light)
    ]
    stream = RecordedStream(heavy.evaluator, heavy.agenda, lambda: None, heavy.clock)
    await stream.handle(
        [Record(Partition(PROFILES_RECORDED, 0), place, b"", encode(one), 0) for place, one in enumerate(recorded)]
    )
    assert [await heavy.members(segments[0]), await light.members(segments[1])] == [set(), {ADA.profile_id}]
    crowd.heavy = None
    await heavy.builder.reconcile_all(every=3600)
    assert await heavy.members(segments[0]) == {ADA.profile_id}
    (_, reconciled_at) = (await heavy.agenda.workspaces())[heavy.workspace]
    assert reconciled_at == heavy.clock.now()


async def test_what_is_refused_during_a_reconciliation_makes_the_next_one_due(room: Room) -> None:
    await room.segment(RICH)
    await room.agenda.overdue(room.workspace)
    (_, last) = (await room.agenda.workspaces())[room.workspace]
    await room.agenda.overdue(room.workspace)
    await room.builder.reconcile(room.workspace, last)
    (_, last) = (await room.agenda.workspaces())[room.workspace]
    assert last < room.clock.now() - 4000 * DAY
    await room.builder.reconcile(room.workspace, last)
    assert (await room.agenda.workspaces())[room.workspace][1] == room.clock.now()


async def test_a_worker_may_wait_for_two_answers_of_the_store(room: Room) -> None:
    async with room.ledger.session(room.workspace) as session:
        rows = await session._rows(  # type: ignore[attr-defined]
            "SELECT setting::int FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'", []
        )
    assert rows[0][0] / 1000 > 2 * TIMEOUT_S
