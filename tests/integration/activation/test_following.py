"""Segments become used while members come and go: whatever the order of the steps, nobody is lost or left over."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from tests.databases import front_door

from cdp_activation.adapters import postgres_following, postgres_ledger
from cdp_activation.adapters.postgres_audiences import PostgresAudiences
from cdp_activation.adapters.postgres_following import PostgresFollowing
from cdp_activation.adapters.postgres_projection import PostgresProjection
from cdp_activation.adapters.postgres_sweep import PostgresSweep
from cdp_activation.ledger import Followed
from cdp_activation.profile import profile_of
from cdp_activation.stream import Planner
from cdp_runtime.tenancy import enter_workspace
from cdp_schemas.segments import MembershipChanged

from .conftest import World, told_of, until

pytestmark = pytest.mark.postgres
SEGMENTS = ("segment-a", "segment-b")
_MEMBERS = """
WITH segment AS (
    INSERT INTO segmenter.segments (workspace_id, segment_id, name, type, status)
    VALUES (%(workspace)s, %(segment)s, %(segment)s, 'manual', 'ready')
    ON CONFLICT (workspace_id, segment_id) DO UPDATE SET status = 'ready' RETURNING number
)
INSERT INTO segmenter.profile_segments (workspace_id, profile_id, bucket, revision, segments, sequences, changed_ms)
SELECT %(workspace)s, gen_random_uuid(), n %% 256, 1, ARRAY[number], ARRAY[1], ARRAY[0]
FROM segment, generate_series(1, {count}) AS n
"""


def change(world: World, name: str, sequence: int, segment: str = "segment-a") -> MembershipChanged:
    kind: Any = "entered" if sequence % 2 else "exited"
    profile = world.person(name)
    return MembershipChanged(world.workspace, segment, 1, profile.profile_id, kind, sequence, datetime.now(UTC))


async def wanted(world: World) -> set[str]:
    return {one.bytes.rstrip(b"\0").decode() for one, row in (await world.deliveries()).items() if row["desired"]}


async def points_at(world: World, audience: str, *segments: str) -> None:
    """As the API does it."""
    await world.execute(
        "UPDATE activation.audiences SET segment_ids = %s WHERE workspace_id = %s AND audience_id = %s",
        [list(segments), world.workspace, audience],
    )
    await world.execute("UPDATE activation.connections SET reconcile = true WHERE audience_id = %s", [audience])


class Interrupted(PostgresProjection):
    """Something happens after a batch asked which segments are followed, and before it is written."""

    def __init__(self, world: World, meanwhile: Callable[[], Awaitable[Any]]) -> None:
        super().__init__(world.pool)
        self._meanwhile = meanwhile

    async def followed(self) -> dict[str, frozenset[str]]:
        known = await super().followed()
        await self._meanwhile()
        return known


async def test_an_audience_waits_in_view_until_its_segments_are_loaded(world: World) -> None:
    audience = await world.audience(await world.destination())
    await points_at(world, audience, "segment-b")
    store = PostgresSweep(world.pool)
    flagged = await store.connections(flagged=True)
    ((key, version),) = flagged.items()
    await store.unflag(key, version)
    assert await store.connections(flagged=True) == flagged
    await world.upkeep().reconcile(flagged=True)
    assert await store.connections(flagged=True) == {}


async def test_a_batch_that_did_not_know_of_the_segment_yet_is_made_up_for_by_the_load(world: World) -> None:
    await world.enter(world.person("ada"))
    batch = [change(world, "ada", 2), change(world, "bob", 1)]
    await world.commit(*batch)

    async def somebody_asks_for_it() -> None:
        await world.audience(await world.destination())
        await world.upkeep().reconcile(flagged=True)

    await Planner(Interrupted(world, somebody_asks_for_it), lambda: None).memberships(told_of(batch))
    assert await wanted(world) == {"bob"}


async def test_a_change_told_while_members_are_loaded_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_following, "_PAGE", 1)
    await world.tell(*(change(world, name, 1) for name in ("ada", "bob", "cyd")))
    # behind the page that is to be read, and before it
    turns = iter([[], [change(world, "ada", 2), change(world, "aaa", 1)], [change(world, "cyd", 2)]])
    page = postgres_following._keep

    async def change_and_page(*arguments: Any) -> Any:
        await world.tell(*next(turns, []))
        return await page(*arguments)

    monkeypatch.setattr(postgres_following, "_keep", change_and_page)
    await world.audience(await world.destination())
    await world.upkeep().reconcile(flagged=True)
    assert await wanted(world) == {"aaa", "bob"}


async def test_what_was_told_while_nobody_followed_is_waited_for(world: World) -> None:
    ada = world.person("ada")
    await world.tell(change(world, "ada", 1))
    newer = profile_of(ada.profile_id, 2, {"email": ["new@example.com"]}, {}, {})
    await world.execute(
        "INSERT INTO identity.profiles (workspace_id, profile_id, version, created_at, updated_at) "
        "VALUES (%s, %s, 2, now(), now())",
        [world.workspace, ada.profile_id],
    )
    await world.update(newer)  # no audience wants to know
    audience = await world.audience(await world.destination("webhook"))
    async with world.working():
        await until(lambda: _waits(world, ada.profile_id))
        assert await world.standin.hooked(audience) == []
        world.profiles.put(world.workspace, newer)
        await world.settled()
    (sent,) = await world.standin.hooked(audience)
    assert "new@example.com" in str(sent)


async def _waits(world: World, profile_id: UUID) -> bool:
    await world.upkeep().reconcile(flagged=True)
    row = (await world.deliveries()).get(profile_id)
    return row is not None and row["error_class"] == "profile_pending"


async def test_deliveries_get_their_turn_while_a_large_audience_is_reconciled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_ledger, "_FIRST_ROWS", 3)
    monkeypatch.setattr(postgres_ledger, "_TURN_ROWS", 2)
    names = [f"person-{number}" for number in range(9)]
    await world.commit(*[change(world, name, 1) for name in names])
    destination = await world.destination()
    await world.audience(destination)
    key = next(iter(await world.connections(destination))).key
    wakes: list[str] = []
    found = [await world.ledger.reconcile(key, changed=lambda: wakes.append("wake")) for _ in range(2)]
    assert (found, len(wakes)) == ([9, 0], 4)  # deliveries need not wait for the rest
    assert await wanted(world) == set(names)
    turns = Counter(row["changed_at"] for row in (await world.deliveries()).values())
    assert [turns[at] for at in sorted(turns)] == [3, 2, 2, 2]


async def test_members_stay_until_those_of_the_segment_that_takes_over_are_known(world: World) -> None:
    destination = await world.destination()
    audience = await world.audience(destination)
    await world.enter(world.person("ada"), world.person("bob"))
    await world.tell(change(world, "bob", 1, "segment-b"), change(world, "cyd", 1, "segment-b"))
    await points_at(world, audience, "segment-b")
    await world.exit(world.person("bob"))
    key = next(iter(await world.connections(destination))).key
    assert await world.ledger.reconcile(key) == 0
    assert await wanted(world) == {"ada", "bob"}
    await world.upkeep().reconcile(flagged=True)
    assert await wanted(world) == {"bob", "cyd"}
    # nobody was sent away in between: bob is one and the same row
    (bob,) = [row for one, row in (await world.deliveries()).items() if one == world.person("bob").profile_id]
    assert bob["sequence"] == 1


async def test_what_was_loaded_before_a_segment_was_left_does_not_count_when_it_is_used_again(world: World) -> None:
    following = PostgresFollowing(world.pool)
    audience = await world.audience(await world.destination())
    await points_at(world, audience)
    await following.follow()
    await points_at(world, audience, "segment-a")
    (again,) = [one for one in await following.follow() if one.workspace_id == world.workspace]
    await points_at(world, audience)
    await following.follow()
    await world.enter(world.person("ada"))
    await points_at(world, audience, "segment-a")
    await following.follow()
    await following.load(again)  # it began the last time, and its process was slow
    loaded = await world.rows(
        "SELECT loaded FROM activation.followed_segments WHERE workspace_id = %s", [world.workspace]
    )
    assert [row["loaded"] for row in loaded] == [False]
    await world.upkeep().reconcile(flagged=True)
    assert await wanted(world) == {"ada"}


async def test_what_no_message_told_is_found_within_a_day(world: World) -> None:
    """As when activation was away for longer than the log keeps messages, or could not read one."""
    await world.audience(await world.destination())
    await world.enter(world.person("ada"), world.person("bob"))
    await world.upkeep().reconcile(flagged=True)
    await world.commit(change(world, "ada", 2), change(world, "cyd", 1))
    await world.upkeep().reconcile(flagged=True)
    assert await wanted(world) == {"ada", "bob"}
    await world.execute("UPDATE activation.followed_segments SET loaded_at = now() - interval '25 hours'", [])
    await world.upkeep().reconcile(flagged=True)
    assert await wanted(world) == {"bob", "cyd"}
    assert world.workspace not in {one.workspace_id for one in await PostgresFollowing(world.pool).follow()}


async def test_a_workspace_that_statistics_do_not_know_is_loaded_row_by_row(world: World) -> None:
    """Each of its members compared with each other would take minutes."""
    members = _MEMBERS.format(count=5_000)
    await world.execute(members, {"workspace": f"{world.workspace}-before", "segment": "segment-a"})
    await world.execute("ANALYZE segmenter.profile_segments", {})
    await world.execute(members, {"workspace": world.workspace, "segment": "segment-a"})
    destination = await world.destination()
    async with asyncio.timeout(10):
        await world.audience(destination, segment="segment-a")
        await world.upkeep().reconcile(flagged=True)
    assert len([row for row in (await world.deliveries()).values() if row["desired"]]) == 5_000


async def test_a_segment_that_was_deleted_meanwhile_has_no_members(world: World) -> None:
    audience = await world.audience(await world.destination())
    await world.enter(world.person("ada"))
    await points_at(world, audience)
    await world.upkeep().reconcile(flagged=True)
    assert await wanted(world) == set()
    await world.exit(world.person("ada"))
    await world.execute("DELETE FROM segmenter.segments WHERE workspace_id = %s", [world.workspace])
    await points_at(world, audience, "segment-a")
    await world.upkeep().reconcile(flagged=True)
    assert await wanted(world) == set()


@pytest.mark.parametrize("seed", range(12))
async def test_in_any_order_of_steps_the_ledger_ends_at_the_truth(
    world: World, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes are committed, told late and repeatedly; audiences change their segments; loads stop half-way."""
    monkeypatch.setattr(postgres_following, "_PAGE", 2)
    chance = random.Random(seed)
    following, page = PostgresFollowing(world.pool), postgres_following._keep
    sequences: dict[tuple[str, str], int] = {}
    committed: list[MembershipChanged] = []
    told = 0
    audience = await world.audience(await world.destination(), segment="segment-a")

    async def commit() -> None:
        name, segment = chance.choice("abcdef"), chance.choice(SEGMENTS)
        sequences[name, segment] = sequences.get((name, segment), 0) + 1
        committed.append(change(world, name, sequences[name, segment], segment))
        await world.commit(committed[-1])

    async def tell() -> None:
        nonlocal told
        begin = max(0, told - chance.randint(0, 3))
        told = min(len(committed), told + chance.randint(1, 4))
        planner = Planner(Interrupted(world, chance.choice((nothing, load, point))), lambda: None)
        await planner.memberships(told_of(committed[begin:told]))

    async def point() -> None:
        await points_at(world, audience, *chance.sample(SEGMENTS, chance.randint(0, 2)))

    async def load() -> None:
        for followed in await following.follow():
            if followed.workspace_id == world.workspace:
                await load_one(followed)

    async def load_one(followed: Followed) -> None:
        try:
            await following.load(followed)
        except ConnectionError:
            pass  # as if the process had died: it is loaded anew

    async def page_or_end(*arguments: Any) -> Any:
        await chance.choice((nothing, commit, commit))()
        if chance.random() < 0.2:
            raise ConnectionError
        return await page(*arguments)

    monkeypatch.setattr(postgres_following, "_keep", page_or_end)
    for _ in range(60):
        await chance.choice((commit, commit, commit, tell, tell, load, point, reconcile(world)))()
    monkeypatch.setattr(postgres_following, "_keep", page)
    segments = chance.sample(SEGMENTS, chance.randint(1, 2))
    await points_at(world, audience, *segments)
    await world.upkeep().reconcile(flagged=True)
    await world.planner.memberships(told_of(committed[told:]))
    await world.upkeep().reconcile(flagged=False)
    assert await wanted(world) == {name for (name, of), number in sequences.items() if number % 2 and of in segments}


async def nothing() -> None:
    return None


def reconcile(world: World) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        for row in await world.rows(
            "SELECT destination_id FROM activation.connections WHERE workspace_id = %s", [world.workspace]
        ):
            for connection in await world.connections(row["destination_id"]):
                await world.ledger.reconcile(connection.key)

    return run


async def test_what_is_asked_for_while_a_connection_is_reconciled_is_not_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = await world.destination()
    audience = await world.audience(destination)
    await world.enter(world.person("ada"))
    recheck = postgres_ledger.PostgresLedger.recheck

    async def removed_meanwhile(self: Any, key: Any, **options: Any) -> int:
        """The last step before the flag is taken off, and a request that arrives after it."""
        done = await recheck(self, key, **options)
        async with front_door(world.postgres_url, name="following-door") as door:
            enter_workspace(world.workspace)
            await PostgresAudiences(door).operate(world.workspace, audience, [destination], "remove", waive=True)
        return done

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(postgres_ledger.PostgresLedger, "recheck", removed_meanwhile)
        await world.upkeep().reconcile(flagged=True)
    assert await wanted(world) == {"ada"}
    await world.upkeep().reconcile(flagged=True)
    assert await wanted(world) == set()
