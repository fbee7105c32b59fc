"""A migrated Postgres and ClickHouse with the segmenter's parts wired around a clock that stands still."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec import msgpack
from tests.databases import all_tables, fresh_database, front_door
from tests.fakes.segmenter import NAMED, NOW, erase_profile, merge_away, write_events, write_profiles

from cdp_clickhouse.client import ClickHouse
from cdp_eventlog.compression import decompress
from cdp_runtime.clock import ManualClock
from cdp_runtime.postgres import Pool, front_door_statements, open_pool
from cdp_runtime.tenancy import enter_workspace
from cdp_schemas.segments import MembershipChanged, read_memberships
from cdp_segmenter.adapters.clickhouse_crowd import ClickHouseCrowd
from cdp_segmenter.adapters.postgres_agenda import PostgresAgenda
from cdp_segmenter.adapters.postgres_catalogue import PostgresCatalogue
from cdp_segmenter.adapters.postgres_memberships import PostgresLedger
from cdp_segmenter.build import Builder
from cdp_segmenter.catalogue import Draft
from cdp_segmenter.desk import Desk
from cdp_segmenter.evaluate import Evaluator, Touched
from cdp_segmenter.rules.facts import Facts
from cdp_segmenter.sweep import Sweep


@pytest.fixture(scope="session")
async def segmenter_url(postgres_url: str) -> str:
    return await fresh_database(postgres_url, "segmenter_test")


@pytest.fixture(scope="session")
async def pool(segmenter_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(segmenter_url, name="segmenter-tests", max_size=10)
    yield pool
    await pool.close()


@pytest.fixture(scope="session")
async def store(clickhouse_url: str) -> AsyncIterator[ClickHouse]:
    async with all_tables(clickhouse_url) as store:
        yield store


@dataclass
class Room:
    """One workspace of its own, and everything that works in it."""

    pool: Pool
    statements: Pool
    store: ClickHouse
    workspace: str = field(default_factory=lambda: f"w-{uuid4().hex[:8]}")
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))

    def __post_init__(self) -> None:
        self.ledger, self.agenda = PostgresLedger(self.pool), PostgresAgenda(self.pool)
        self.crowd = ClickHouseCrowd(self.store)
        self.evaluator = Evaluator(self.ledger, self.crowd, self.clock)
        self.builder = Builder(self.evaluator, self.ledger, self.crowd, self.agenda, self.clock)
        self.sweep = Sweep(self.evaluator, self.ledger, self.crowd, self.agenda, self.clock)
        self._desk = Desk(PostgresCatalogue(self.statements), self.ledger, self.crowd, self.clock)
        self._version = 1
        self._known: dict[UUID, Facts] = {}

    @property
    def desk(self) -> Desk:
        """As a request has it, that speaks for its workspace."""
        enter_workspace(self.workspace)
        return self._desk

    async def segment(self, rules: Any, name: str = "", type_: str = "rule-based", *, built: bool = True) -> str:
        """A new segment, with every profile looked at."""
        segment_id = f"segment-{name or uuid4().hex[:6]}"
        await self.desk.create(self.workspace, segment_id, Draft(name or segment_id, "", type_, rules))
        if built:
            await self.build()
        return segment_id

    async def change(self, segment_id: str, rules: Any) -> None:
        await self.desk.update(self.workspace, segment_id, Draft(segment_id, "", "rule-based", rules))
        await self.build()

    async def add(self, segment_id: str, profiles: Sequence[UUID]) -> None:
        """By hand."""

        async def resolve() -> Sequence[UUID]:
            return profiles

        await self.desk.change_members(self.workspace, segment_id, resolve, inside=True)

    async def build(self) -> None:
        builds = (await self.agenda.building()).get(self.workspace)
        if builds:
            await self.builder.build(self.workspace, builds)
        for workspace, segment_id in await self.agenda.deleted():
            if workspace == self.workspace:
                await self.builder._empty(workspace, segment_id)

    async def knows(self, *profiles: Facts) -> None:
        """These facts are in the store now: the profiles as new versions, their events as further ones."""
        self._version += 1
        self._known |= {facts.profile_id: facts for facts in profiles}
        await write_profiles(self.store, self.workspace, profiles, self._version)
        events = [(facts.profile_id, event) for facts in profiles for event in facts.events]
        await write_events(self.store, self.workspace, events, self._version * 1000)

    async def touch(self, profiles: Iterable[UUID], gone: Iterable[UUID] = (), **more: Any) -> int:
        return await self.evaluator.touched(Touched(self.workspace, frozenset(profiles), frozenset(gone), **more))

    async def members(self, segment_id: str) -> set[UUID]:
        rows = await self.desk.catalogue.members(self.workspace, segment_id, 1000, None, 0)
        return {row.profile_id for row in rows}

    async def told(self) -> list[MembershipChanged]:
        """All changes of this workspace, in the order of the outbox."""
        async with self.pool.connection() as connection:
            rows = await (
                await connection.execute("SELECT messages FROM segmenter.outbox_batches ORDER BY batch_id")
            ).fetchall()
        told = [read_memberships(message) for row in rows for _, message in msgpack.decode(decompress(row[0]))]
        return [change for message in told for change in message.each() if change.workspace_id == self.workspace]

    async def move(self, one: UUID, to: UUID) -> None:
        """A merge: whatever the one profile was known by is the other's from now on."""
        known, other = self._known[one], self._known[to]
        names = (str(to), str(one))
        await self.knows(
            replace(known, identifiers={NAMED: ()}, events=()), replace(other, identifiers={NAMED: names}, events=())
        )
        await merge_away(self.store, self.workspace, one, to, self._version)

    async def erase(self, profile: UUID) -> None:
        await erase_profile(self.store, self.workspace, profile, 99)


@pytest.fixture
async def room(pool: Pool, segmenter_url: str, store: ClickHouse) -> AsyncIterator[Room]:
    async with front_door(segmenter_url, name="segmenter-statements", make=front_door_statements) as statements:
        room = Room(pool, statements, store)
        yield room
    async with pool.connection() as connection:
        for table in ("segments", "profile_segments", "sweeps", "requests", "moments"):
            await connection.execute(f"DELETE FROM segmenter.{table} WHERE workspace_id = %s", [room.workspace])
        await connection.execute("DELETE FROM segmenter.outbox_batches")
