"""Memberships end as members of an audience at the stand-in, over real Postgres and HTTP."""

import pytest

from cdp_schemas.profiles import profile_ref

from .conftest import World

pytestmark = pytest.mark.postgres


async def extern_ids(world: World) -> set[str]:
    return {member["EXTERN_ID"] for member in await world.standin.members()}


async def test_a_member_is_added_and_removed(world: World) -> None:
    await world.audience(await world.destination())
    ada, bob = world.person("ada"), world.person("bob")
    async with world.working():
        await world.enter(ada, bob)
        await world.settled()
        assert await extern_ids(world) == {profile_ref(ada.profile_id), profile_ref(bob.profile_id)}
        await world.exit(ada)
        await world.settled()
        assert await extern_ids(world) == {profile_ref(bob.profile_id)}
    rows = await world.deliveries()
    assert rows[bob.profile_id]["acknowledged"] and rows[bob.profile_id]["outcome"] == "delivered"
    assert not rows[ada.profile_id]["acknowledged"] and rows[ada.profile_id]["sent"] is None
