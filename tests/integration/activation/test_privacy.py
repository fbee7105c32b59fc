"""Who may no longer be sent, or no longer as planned: told at any moment, it counts for the next call."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from cdp_activation.adapters.http import HttpCalls
from cdp_activation.adapters.postgres_audiences import PostgresAudiences
from cdp_activation.adapters.postgres_destinations import PostgresDestinations
from cdp_activation.adapters.postgres_ledger import PostgresLedger
from cdp_activation.adapters.postgres_suppressions import PostgresSuppressions
from cdp_activation.adapters.sealing import FormSeal
from cdp_activation.catalog import Suppression
from cdp_activation.destinations.destination import HttpRequest, HttpResponse
from cdp_activation.guard import GuardPolicy
from cdp_activation.keys import Keyring
from cdp_activation.ledger import PRIORITIES, ConnectionKey
from cdp_activation.profile import Profile
from cdp_activation.retry import RetryPolicy
from cdp_activation.ssrf import TargetPolicy
from cdp_runtime.postgres import Pool
from cdp_runtime.tenancy import enter_workspace
from cdp_schemas.nodes import node_id
from cdp_schemas.profiles import profile_ref

from .conftest import SECRET, World, until

pytestmark = pytest.mark.postgres


class Receiver:
    """A webhook's other side: it is down while ``up`` is not set, and answers the first call when it may."""

    def __init__(self) -> None:
        self.called, self.may_answer, self.up = asyncio.Event(), asyncio.Event(), True
        self.told: list[tuple[str, str]] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        if not self.up:
            return HttpResponse(502, {}, b"")
        data = json.loads(request.body)["data"]
        self.told += [(data["action"], member["profileId"]) for member in data["members"]]
        self.called.set()
        await self.may_answer.wait()
        return HttpResponse(204, {}, b"")


async def suppress(world: World, door: Pool, kind: str, value: str) -> None:
    enter_workspace(world.workspace)
    made = Suppression(f"suppression-{uuid4().hex[:6]}", kind, "hint", None, "", datetime.now(UTC))
    await PostgresSuppressions(door).add(world.workspace, made, Keyring(SECRET, "US").identifier(kind, value))


async def members(world: World) -> set[str]:
    return {member["EXTERN_ID"] for member in await world.standin.members()}


def refs(*people: Profile) -> set[str]:
    return {profile_ref(person.profile_id) for person in people}


def there(world: World, *people: Profile) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return await members(world) == refs(*people)

    return asked


async def test_who_leaves_or_may_not_be_sent_any_more_is_not_in_later_calls_of_a_round(
    world: World, door: Pool
) -> None:
    await world.audience(await world.destination("webhook", batchSize=1, consentPurposes=["marketing"]))
    crowd = [world.person(f"p{n}", consent={"marketing": True}) for n in range(5)]
    await world.enter(*crowd)
    receiver = Receiver()
    async with world.working(receiver):
        await receiver.called.wait()
        ((_, first),) = receiver.told
        suppressed, withdrew, left, stays = (one for one in crowd if profile_ref(one.profile_id) != first)
        await suppress(world, door, "email", suppressed.identifiers["email"][0])
        name = withdrew.identifiers["user_id"][0]
        await world.update(world.person(name, version=2, consent={"marketing": False}))
        await world.exit(left)
        receiver.may_answer.set()
        await world.settled()
    assert sorted(receiver.told) == sorted(("add", ref) for ref in {first, *refs(stays)})
    outcomes = {id_: row["outcome"] for id_, row in (await world.deliveries()).items()}
    assert (outcomes[suppressed.profile_id], outcomes[withdrew.profile_id]) == ("suppressed", "no_consent")


@asynccontextmanager
async def guarded(world: World, crowd: list[Profile]) -> AsyncIterator[None]:
    """Everybody has left at once, which the guard takes for a mistake."""

    async def paused() -> bool:
        found = await world.rows(
            "SELECT paused_class FROM activation.connections WHERE workspace_id = %s", [world.workspace]
        )
        return [row["paused_class"] for row in found] == ["guard"]

    await world.audience(await world.destination())
    async with world.working(guard=GuardPolicy()):
        await world.enter(*crowd)
        await world.settled()
        await world.exit(*crowd)
        await until(paused)
        yield


async def test_privacy_does_not_wait_for_the_guard_that_holds_a_removal(world: World, door: Pool) -> None:
    crowd = [world.person(f"p{n}") for n in range(12)]
    async with guarded(world, crowd):
        await world.update(crowd[0], version=2, deleted=True)
        await until(there(world, *crowd[1:]))
        await suppress(world, door, "email", "p1@example.com")
        await until(there(world, *crowd[2:]))
        await world.update(world.person("p2", version=2, consent={"tracking": False}))
        await until(there(world, *crowd[3:]))
        # what nobody asked for waits on
        await world.update(world.person("p3", version=2, traits={"firstName": "Ada"}))
        await world.upkeep().reconcile(flagged=False)
        await world.update(world.person("p4", version=2, consent={"tracking": False}))
        await until(there(world, crowd[3], *crowd[5:]))


async def test_who_leaves_because_a_consent_was_withdrawn_goes_though_the_guard_holds_the_rest(world: World) -> None:
    crowd = [world.person(f"p{n}") for n in range(12)]
    await world.audience(await world.destination())
    async with world.working(guard=GuardPolicy()):
        await world.enter(*crowd)
        await world.settled()
    await world.update(world.person("p0", version=2, consent={"tracking": False}))
    await world.exit(*crowd)
    async with world.working(guard=GuardPolicy()):
        await until(there(world, *crowd[1:]))


async def test_an_identifier_that_came_after_the_delivery_can_be_suppressed(world: World, door: Pool) -> None:
    await world.audience(await world.destination())
    ada = world.person("ada", identifiers={"email": ["ada@example.com"]})
    more = {"email": ["ada@example.com", "second@example.com"], "user_id": ["42"]}
    async with world.working():
        await world.enter(ada)
        await world.settled()
        await world.update(world.person("ada", version=2, identifiers=more))
        await world.settled()
        assert await members(world) == refs(ada)
        await suppress(world, door, "user_id", "42")
        await world.settled()
        assert await members(world) == set()


async def test_what_was_told_of_a_profile_before_it_became_a_member_is_waited_for(world: World) -> None:
    await world.audience(await world.destination())
    visitor = world.person("ada", identifiers={"anonymous_id": ["a1"]})
    known = replace(visitor, version=2, identifiers={"anonymous_id": ["a1"], "email": ["ada@example.com"]})
    async with world.working():
        await world.update(known)  # she said who she is; the page that made her a member comes the longer way
        await world.enter(visitor)

        async def waits() -> bool:
            return (await world.deliveries())[visitor.profile_id]["outcome"] == "waiting"

        await until(waits)
        world.profiles.put(world.workspace, known)
        await world.settled()
    assert await members(world) == refs(visitor)


async def test_versions_that_were_told_are_forgotten_after_a_day(world: World) -> None:
    await world.audience(await world.destination())
    old, new = world.person("old"), world.person("new")
    await world.update(old)
    await world.execute(
        "UPDATE activation.told_versions SET told_on = told_on - 2 WHERE workspace_id = %s", [world.workspace]
    )
    await world.update(new)
    await world.upkeep().reconcile(flagged=False)
    rows = await world.rows(
        "SELECT profile_id FROM activation.told_versions WHERE workspace_id = %s", [world.workspace]
    )
    assert [row["profile_id"] for row in rows] == [new.profile_id]


async def test_a_change_told_while_the_row_is_claimed_is_not_lost(world: World) -> None:
    destination = await world.destination()
    audience = await world.audience(destination)
    ada = world.person("ada")
    await world.enter(ada)
    claimed, may_commit = asyncio.Event(), asyncio.Event()

    class Slow:
        @asynccontextmanager
        async def connection(self) -> AsyncIterator[Any]:
            async with world.pool.connection() as connection:
                yield connection
                claimed.set()
                await may_commit.wait()

    async def told() -> None:
        await world.update(world.person("ada", version=2, identifiers={"email": ["new@example.com"]}))

    async def waits_for_the_claim() -> bool:
        found = await world.rows("SELECT count(*) AS n FROM pg_locks WHERE NOT granted")
        return bool(found[0]["n"])

    ledger = PostgresLedger(Slow(), FormSeal(world.box))  # type: ignore[arg-type]
    key = ConnectionKey(world.workspace, audience, destination)
    async with asyncio.TaskGroup() as both:
        both.create_task(ledger.claim(key, uuid4(), datetime.now(UTC), priorities=PRIORITIES, limit=10))
        await claimed.wait()
        both.create_task(told())
        await until(waits_for_the_claim)
        may_commit.set()
    assert (await world.deliveries())[ada.profile_id]["min_version"] == 2


async def test_other_settings_of_a_destination_count_for_everybody_who_is_there(world: World, door: Pool) -> None:
    destination_id = await world.destination(consentPurposes=["tracking"], consentWhenUnknown="deny")
    await world.audience(destination_id)
    ada = world.person("ada", consent={"tracking": True})
    bob = world.person("bob", consent={"tracking": False, "ads": True})
    async with world.working():
        await world.enter(ada, bob)
        await world.settled()
        assert await members(world) == refs(ada)
        enter_workspace(world.workspace)
        store = PostgresDestinations(door, world.box)
        present = await store.get(world.workspace, destination_id)
        assert present is not None
        stricter = {**present.settings, "consentPurposes": ["ads"]}
        await store.update(world.workspace, replace(present, settings=stricter), None)
        changed = await store.get(world.workspace, destination_id)
        assert changed is not None
        await world.upkeep().reconcile(flagged=True)
        await until(there(world, bob))
        calls = len(await world.standin.calls())
        await store.update(world.workspace, replace(changed, name="another name"), None)
        await world.upkeep().reconcile(flagged=True)
        await world.settled()
    assert len(await world.standin.calls()) == calls


async def test_what_was_given_up_is_tried_anew_when_the_audience_is_activated_again(world: World, door: Pool) -> None:
    destination_id = await world.destination("webhook")
    audience_id = await world.audience(destination_id)
    ada, bob = world.person("ada"), world.person("bob")
    receiver = Receiver()
    receiver.may_answer.set()
    soon = RetryPolicy(timedelta(seconds=0.05), timedelta(seconds=0.1), timedelta(seconds=0.3))
    async with world.working(receiver, retry=soon):
        await world.enter(bob)
        await world.settled()
        receiver.up = False
        await world.enter(ada)
        await world.exit(bob)
        await world.settled()
        assert {row["outcome"] for row in (await world.deliveries()).values()} == {"gave_up"}
        receiver.up = True
        enter_workspace(world.workspace)
        await PostgresAudiences(door).operate(world.workspace, audience_id, [destination_id], "add", waive=True)
        await world.upkeep().reconcile(flagged=True)
        await world.settled()
    assert receiver.told == [("add", *refs(bob)), ("remove", *refs(bob)), ("add", *refs(ada))]


class Interrupted:
    """The stand-in, which is told what happens ``meanwhile`` in the first call that removes somebody."""

    def __init__(self, world: World, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self._calls = HttpCalls(TargetPolicy(allowed=frozenset({world.standin.url.removeprefix("http://")})))
        self._meanwhile: Callable[[], Awaitable[None]] | None = meanwhile
        self.added: list[str] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        if request.method == "POST":
            self.added += [row[0] for row in json.loads(request.body)["payload"]["data"]]
        elif self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            await meanwhile()
        return await self._calls.send(request)


@pytest.mark.parametrize("comes_back", [False, True])
async def test_a_consent_withdrawn_in_a_round_counts_whatever_else_happens_to_the_row(
    world: World, comes_back: bool
) -> None:
    await world.audience(await world.destination(consentPurposes=["tracking"]))
    # they share an address: who is removed takes the other one along, who is then sent again
    shared = {"email": ["shared@example.com"]}
    ada, eve = (world.person(name, identifiers=shared, consent={"tracking": True}) for name in ("ada", "eve"))
    async with world.working():
        await world.enter(ada, eve)
        await world.settled()

    async def withdraw() -> None:
        await world.update(world.person("eve", version=3, identifiers=shared, consent={"tracking": False}))
        if comes_back:
            await world.exit(eve)
            await world.enter(eve)

    named = {"firstName": "Eve"}
    await world.update(world.person("eve", version=2, identifiers=shared, traits=named, consent={"tracking": True}))
    await world.exit(ada)
    calls = Interrupted(world, withdraw)
    async with world.working(calls):
        await world.settled()
    assert calls.added == [] and await members(world) == set()


async def test_who_is_suppressed_goes_though_the_guard_holds_the_rest_and_their_profile_changes(
    world: World, door: Pool
) -> None:
    audience = await world.audience(await world.destination())
    ada, eve = world.person("ada"), world.person("eve")
    async with world.working():
        await world.enter(ada, eve)
        await world.settled()
    await world.execute("UPDATE activation.connections SET paused_class = 'guard' WHERE audience_id = %s", [audience])
    await suppress(world, door, "email", "eve@example.com")
    await world.update(world.person("eve", version=2, traits={"firstName": "Eve"}))
    async with world.working():
        await until(there(world, ada), 5.0)


async def test_who_is_suppressed_by_profile_id_stays_so_under_the_id_of_a_sign_in(world: World, door: Pool) -> None:
    await world.audience(await world.destination())
    visitor = node_id(world.workspace, "anonymous_id", "a1")
    await suppress(world, door, "profile_id", str(visitor))
    known = {"anonymous_id": ["a1"], "email": ["ada@example.com"], "user_id": ["ada"]}
    ada = world.person("ada", identifiers=known)
    async with world.working():
        await world.enter(ada)
        await world.settled()
    assert await members(world) == set()
    assert (await world.deliveries())[ada.profile_id]["outcome"] == "suppressed"
