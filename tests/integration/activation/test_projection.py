"""Batches of messages against the real tables: order, repeats and strangers do not matter, changes of members do."""

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from cdp_activation.profile import fingerprint
from cdp_schemas.profiles import ProfileUpdated
from cdp_schemas.segments import MembershipChanged
from cdp_schemas.topics import PROFILES_UPDATED

from .conftest import World, records

pytestmark = pytest.mark.postgres


async def wanted(world: World) -> set[bytes]:
    """The names of the members that the ledger wants at the destination."""
    return {one.bytes.rstrip(b"\0") for one, row in (await world.deliveries()).items() if row["desired"]}


def change(world: World, name: str, sequence: int, segment: str = "segment-a") -> MembershipChanged:
    kind: Any = "entered" if sequence % 2 else "exited"
    profile = world.person(name)
    return MembershipChanged(world.workspace, segment, 1, profile.profile_id, kind, sequence, datetime.now(UTC))


def told(world: World, name: str, version: int, **fields: Any) -> ProfileUpdated:
    profile = world.person(name)
    identifiers = {} if fields.get("deleted") else {k: list(v) for k, v in profile.identifiers.items()}
    fields = {"identifiers": identifiers, **fields}
    return ProfileUpdated(world.workspace, profile.profile_id, version, datetime.now(UTC), **fields)


async def test_a_batch_in_any_order_and_again_leaves_the_newest_of_each(world: World) -> None:
    await world.audience(await world.destination())
    changes = [change(world, "ada", n) for n in (1, 2, 3)] + [change(world, "bob", n) for n in (1, 2)]
    for order in itertools.islice(itertools.permutations(changes), 0, 120, 17):
        await world.tell(*order, order[0])
        assert await wanted(world) == {b"ada"}
    await world.tell(change(world, "ada", 2))
    assert await wanted(world) == {b"ada"}


async def test_an_audience_made_later_finds_the_members_of_a_segment_that_nobody_used(world: World) -> None:
    awkward = 'segment, "quoted" \\ {braced}'
    both = [change(world, name, 1, segment) for name in ("ada", "bob") for segment in (awkward, "segment-b")]
    await world.tell(*both, change(world, "bob", 2, awkward))
    assert await wanted(world) == set()
    await world.audience(await world.destination(), segment=awkward)
    await world.upkeep().reconcile(flagged=True)
    assert await wanted(world) == {b"ada"}


async def test_a_merged_member_leaves_and_comes_back_when_the_merge_is_undone(world: World) -> None:
    await world.audience(await world.destination())
    await world.audience(await world.destination(), segment="segment-b")
    await world.tell(change(world, "ada", 1), change(world, "bob", 1))
    gone = told(world, "ada", 5, deleted=True, merged_into=world.person("bob").profile_id)
    await world.planner.profiles(records(PROFILES_UPDATED, [gone, told(world, "ada", 4)]))
    assert await wanted(world) == {b"bob"}
    # as if its row had been cleaned up: only the membership tells where it belongs
    await world.execute("DELETE FROM activation.deliveries WHERE workspace_id = %s AND NOT desired", [world.workspace])
    await world.planner.profiles(records(PROFILES_UPDATED, [told(world, "ada", 6)]))
    assert await wanted(world) == {b"ada", b"bob"}


async def test_only_members_whose_data_changed_are_sent_again(world: World) -> None:
    await world.audience(await world.destination())
    names = ("ada", "bob", "cid")
    await world.tell(*(change(world, name, 1) for name in names))
    for name in names:
        person = world.person(name)
        await world.execute(
            "UPDATE activation.deliveries SET pending = false, fingerprint = %s WHERE profile_id = %s",
            [fingerprint(person), person.profile_id],
        )
    batch = [
        told(world, "ada", 2),
        told(world, "bob", 3, traits={"firstName": "Bob"}),
        told(world, "bob", 2),
        told(world, "cid", 2, consent={"ads": False}),
        told(world, "stranger", 2, traits={"firstName": "Eve"}),
    ]
    await world.planner.profiles(records(PROFILES_UPDATED, batch))
    found = {one.bytes.rstrip(b"\0"): row for one, row in (await world.deliveries()).items()}
    assert {name: row["pending"] for name, row in found.items()} == {b"ada": False, b"bob": True, b"cid": True}
    assert (found[b"bob"]["min_version"], found[b"bob"]["cause"]) == (3, "profile")
    assert (found[b"cid"]["min_version"], found[b"cid"]["cause"]) == (2, "consent")
