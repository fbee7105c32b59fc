"""Memberships end as members of an audience at the stand-in, over real Postgres and HTTP."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from cdp_activation.adapters.postgres_suppressions import PostgresSuppressions
from cdp_activation.catalog import Suppression
from cdp_activation.keys import Keyring
from cdp_activation.standin.app import ACCESS_TOKEN
from cdp_runtime.postgres import Pool
from cdp_runtime.tenancy import enter_workspace
from cdp_schemas.codec import Codec
from cdp_schemas.deliveries import DeliveryReported
from cdp_schemas.profiles import profile_ref

from .conftest import FACEBOOK_AUDIENCE, SECRET, World, until

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


async def test_hashes_are_what_the_platform_wants(world: World) -> None:
    await world.audience(await world.destination())
    jane = world.person(
        "jane",
        identifiers={"email": [" Jane.Doe+vip@Gmail.com "], "phone": ["(415) 555-0132"]},
        traits={"firstName": "Jane", "country": "US"},
    )
    async with world.working():
        await world.enter(jane)
        await world.settled()
    (member,) = await world.standin.members()
    assert member["EMAIL"] == "30c26380948ff6e5804337eb91073d3e3b539dff0fd625823759a65071814074"
    assert member["PHONE"] == "11072303eb5c8cb5c5a1ebb762f11b37b07131265b46fdfe1276196bfbd3ca51"


async def test_a_changed_address_takes_the_old_hash_off(world: World) -> None:
    await world.audience(await world.destination())
    ada = world.person("ada")
    async with world.working():
        await world.enter(ada)
        await world.settled()
        (before,) = await world.standin.members()
        changed = world.person("ada", version=2, identifiers={"email": ["other@example.com"], "user_id": ["ada"]})
        await world.update(changed)
        await world.settled()
        (after,) = await world.standin.members()
        assert after["EMAIL"] != before["EMAIL"] and after["EXTERN_ID"] == before["EXTERN_ID"]
    methods = [(call["method"], call["rows"]) for call in reversed(await world.standin.calls("facebook"))]
    assert methods == [("POST", 1), ("DELETE", 1), ("POST", 1)]


async def test_an_update_that_changes_nothing_the_destination_sees_sends_nothing(world: World) -> None:
    await world.audience(await world.destination())
    ada = world.person("ada")
    async with world.working():
        await world.enter(ada)
        await world.settled()
        await world.update(world.person("ada", version=2))
        await world.settled()
    assert len(await world.standin.calls("facebook")) == 1


async def test_a_profile_that_the_store_shows_too_old_waits(world: World) -> None:
    await world.audience(await world.destination())
    ada = world.person("ada")
    async with world.working():
        await world.enter(ada)
        await world.settled()
        newer = world.person("ada", version=2, consent={"tracking": False})
        world.person("ada", version=1)
        await world.update(newer)
        await until(lambda: _outcome(world, ada.profile_id, "waiting"))
        assert await extern_ids(world) == {profile_ref(ada.profile_id)}
        world.person("ada", version=2, consent={"tracking": False})
        await world.settled()
        assert await extern_ids(world) == set()
    assert (await world.deliveries())[ada.profile_id]["outcome"] == "no_consent"


async def _outcome(world: World, profile_id: UUID, outcome: str) -> bool:
    return (await world.deliveries())[profile_id]["outcome"] == outcome


async def test_consent_gates_adding_and_never_removing(world: World) -> None:
    await world.audience(await world.destination(consentWhenUnknown="deny"))
    yes, no, unknown = (
        world.person("yes", consent={"tracking": True}),
        world.person("no", consent={"tracking": False}),
        world.person("unknown"),
    )
    async with world.working():
        await world.enter(yes, no, unknown)
        await world.settled()
        assert await extern_ids(world) == {profile_ref(yes.profile_id)}
        withdrawn = world.person("yes", version=2, consent={"tracking": False})
        await world.update(withdrawn)
        await world.settled()
        assert await extern_ids(world) == set()
        again = world.person("yes", version=3, consent={"tracking": True})
        await world.update(again)
        await world.settled()
        assert await extern_ids(world) == {profile_ref(yes.profile_id)}
    outcomes = {id_: row["outcome"] for id_, row in (await world.deliveries()).items()}
    assert outcomes == {yes.profile_id: "delivered", no.profile_id: "no_consent", unknown.profile_id: "no_consent"}


async def test_the_erased_and_the_merged_are_removed_and_the_survivor_stays(world: World) -> None:
    await world.audience(await world.destination())
    ada, twin, bob = world.person("ada"), world.person("twin"), world.person("bob")
    async with world.working():
        await world.enter(ada, twin, bob)
        await world.settled()
        # twin's address now belongs to ada, who is sent with it before twin is taken off
        both = world.person("ada", version=2, identifiers={"email": ["twin@example.com"], "user_id": ["ada"]})
        await world.update(both)
        await world.settled()
        await world.update(twin, version=2, deleted=True, merged_into=ada.profile_id)
        await world.update(bob, version=2, deleted=True)
        await world.settled()
        await until(lambda: _same(world, {profile_ref(ada.profile_id)}))
    rows = await world.deliveries()
    assert rows[twin.profile_id]["cause"] == "merged" and rows[bob.profile_id]["cause"] == "erased"
    assert rows[bob.profile_id]["sent"] is None


async def _same(world: World, wanted: set[str]) -> bool:
    return await extern_ids(world) == wanted


async def test_a_late_entry_of_an_erased_profile_is_not_sent(world: World) -> None:
    await world.audience(await world.destination())
    ada = world.person("ada")
    async with world.working():
        await world.update(ada, version=2, deleted=True)
        await world.enter(ada)
        await world.settled()
    assert await world.standin.calls("facebook") == []


async def test_repeated_and_late_messages_change_nothing(world: World) -> None:
    await world.audience(await world.destination())
    ada = world.person("ada")
    async with world.working():
        await world.enter(ada)
        await world.exit(ada)
        await world.settled()
        world.sequences[("segment-a", ada.profile_id)] = 0
        await world.enter(ada)  # sequence 1 once more
        await world.settled()
    assert await world.standin.members() == []


async def test_the_webhook_receiver_has_the_same_set(world: World) -> None:
    audience = await world.audience(await world.destination("webhook"))
    people = [world.person(f"p{n}") for n in range(250)]
    async with world.working():
        await world.enter(*people)
        await world.settled()
        await world.exit(*people[:2])
        await world.settled()
    hooked = {member["profileId"] for member in await world.standin.hooked(audience)}
    assert hooked == {profile_ref(person.profile_id) for person in people[2:]}
    assert {call["status"] for call in await world.standin.calls("webhook")} == {200}


async def test_replace_leaves_exactly_the_members(world: World) -> None:
    destination = await world.destination(batchSize=40)
    audience = await world.audience(destination)
    people = [world.person(f"p{n}") for n in range(100)]
    await _add_stranger(world)
    async with world.working():
        await world.enter(*people)
        await world.settled()
        assert "stranger" in await extern_ids(world)
        await world.execute(
            "UPDATE activation.connections SET replace_session = 1 WHERE workspace_id = %s AND audience_id = %s",
            [world.workspace, audience],
        )
        await until(lambda: _same(world, {profile_ref(person.profile_id) for person in people}))
        await until(lambda: _replaced(world, audience))
    rows = (await world.deliveries()).values()
    assert all(row["acknowledged"] and not row["pending"] and row["outcome"] == "delivered" for row in rows)
    replaces = [call for call in await world.standin.calls("facebook") if call["path"].endswith("usersreplace")]
    assert [call["rows"] for call in reversed(replaces)] == [40, 40, 20]


async def _add_stranger(world: World) -> None:
    body = {"payload": {"schema": ["EXTERN_ID", "EMAIL"], "data": [["stranger", "a" * 64]]}}
    headers = {"authorization": f"Bearer {ACCESS_TOKEN}"}
    answer = await world.standin.client.post(f"/v26.0/{FACEBOOK_AUDIENCE}/users", json=body, headers=headers)
    assert answer.status_code == 200


async def _replaced(world: World, audience: str) -> bool:
    (row,) = await world.rows(
        "SELECT replace_session, replaced_at FROM activation.connections WHERE audience_id = %s", [audience]
    )
    return row["replace_session"] is None and row["replaced_at"] is not None


async def test_suppression_takes_off_and_lets_go_again(world: World, door: Pool) -> None:
    enter_workspace(world.workspace)
    await world.audience(await world.destination())
    ada, bob = world.person("ada"), world.person("bob")
    store = PostgresSuppressions(door)
    key = Keyring(SECRET, "US").identifier("email", " ADA@example.com")
    made = Suppression("suppression-1", "email", "a…@e…", None, "asked us to", datetime.now(UTC))
    async with world.working():
        await world.enter(ada, bob)
        await world.settled()
        assert await store.add(world.workspace, made, key)
        await world.settled()
        assert await extern_ids(world) == {profile_ref(bob.profile_id)}
        assert (await world.deliveries())[ada.profile_id]["outcome"] == "suppressed"
        assert await store.remove(world.workspace, "suppression-1")
        await world.settled()
        assert await extern_ids(world) == {profile_ref(ada.profile_id), profile_ref(bob.profile_id)}


async def test_reports_wait_in_the_outbox(world: World) -> None:
    await world.audience(await world.destination())
    ada = world.person("ada")
    async with world.working():
        await world.enter(ada)
        await world.settled()
        await world.exit(ada)
        await world.settled()
    rows = await world.rows("SELECT message FROM activation.outbox ORDER BY outbox_id")
    reports = [Codec(DeliveryReported).decode(bytes(row["message"])) for row in rows]
    mine = [(r.operation, r.outcome) for r in reports if r.workspace_id == world.workspace]
    assert mine == [("add", "delivered"), ("remove", "delivered")]
