"""What people change while calls are under way: it counts for the next call, and is not undone by the last one."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from cdp_activation.adapters.postgres_audiences import PostgresAudiences
from cdp_activation.adapters.postgres_destinations import PostgresDestinations
from cdp_activation.adapters.postgres_ledger import PostgresLedger
from cdp_activation.catalog import AudienceDraft, Link
from cdp_activation.deliver import Deliverer
from cdp_activation.destinations.destination import HttpRequest, HttpResponse
from cdp_activation.guard import GuardPolicy
from cdp_activation.standin.app import WEBHOOK_SECRET
from cdp_runtime.postgres import Pool
from cdp_runtime.tenancy import enter_workspace

from .conftest import FACEBOOK_AUDIENCE, World, until

pytestmark = pytest.mark.postgres


class Receiver:
    """A webhook's other side, which lets its first call wait."""

    def __init__(self) -> None:
        self.called, self.may_answer = asyncio.Event(), asyncio.Event()
        self.told: list[str] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.told += [member["profileId"] for member in json.loads(request.body)["data"]["members"]]
        self.called.set()
        await self.may_answer.wait()
        return HttpResponse(204, {}, b"")


async def idle(deliverer: Deliverer) -> bool:
    return not deliverer._tasks


@pytest.mark.parametrize("change", ["enabled = false", "deleted_at = now()"])
async def test_a_destination_that_is_switched_off_takes_no_more_calls_however_many_wait(
    world: World, change: str
) -> None:
    destination, receiver = await world.destination("webhook", batchSize=1), Receiver()
    await world.audience(destination)
    await world.enter(*[world.person(f"p{n}") for n in range(5)])
    async with world.working(receiver, rows_per_round=1) as deliverer:
        await receiver.called.wait()
        await world.execute(f"UPDATE activation.destinations SET {change} WHERE destination_id = %s", [destination])
        receiver.may_answer.set()
        await until(lambda: idle(deliverer))
    assert len(receiver.told) == 1


async def test_a_consent_that_a_destination_asks_for_by_now_is_asked_for_at_the_next_call(world: World) -> None:
    destination, receiver = await world.destination("webhook", batchSize=1), Receiver()
    await world.audience(destination)
    await world.enter(*[world.person(f"p{n}", consent={"ads": False}) for n in range(5)])
    async with world.working(receiver, rows_per_round=1):
        await receiver.called.wait()
        stricter: dict[str, Any] = {"consentPurposes": ["ads"]}
        await world.execute(
            "UPDATE activation.destinations SET settings = settings || %s::jsonb WHERE destination_id = %s",
            [json.dumps(stricter), destination],
        )
        receiver.may_answer.set()
        await world.settled()
    assert len(receiver.told) == 1


class Answering:
    """A webhook's other side, whose first answer comes after something else has happened."""

    def __init__(self, status: int, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self.calls, self._status, self._meanwhile = 0, status, meanwhile

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.calls += 1
        if self.calls > 1:
            return HttpResponse(204, {}, b"")
        await self._meanwhile()
        return HttpResponse(self._status, {}, b"")


async def paused(world: World) -> list[str | None]:
    """Destinations and connections."""
    rows = await world.rows(
        "SELECT paused_class FROM activation.destinations WHERE workspace_id = %(w)s UNION ALL "
        "SELECT paused_class FROM activation.connections WHERE workspace_id = %(w)s",
        {"w": world.workspace},
    )
    return [row["paused_class"] for row in rows]


@pytest.mark.parametrize("status", [401, 404])
async def test_what_was_corrected_is_not_paused_for_a_call_from_before(world: World, door: Pool, status: int) -> None:
    destination_id = await world.destination("webhook")
    await world.audience(destination_id)
    enter_workspace(world.workspace)
    store = PostgresDestinations(door, world.box)

    async def corrected() -> None:
        present = await store.get(world.workspace, destination_id)
        assert present is not None
        other = {**present.settings, "url": f"{world.standin.url}/another"}
        await store.update(world.workspace, replace(present, settings=other), {"secret": WEBHOOK_SECRET})

    async with world.working(Answering(status, corrected)):
        await world.enter(world.person("ada"))
        await world.settled(5.0)
    assert await paused(world) == [None, None]


async def test_a_pause_that_was_asked_for_is_not_taken_for_another(world: World, door: Pool) -> None:
    destination_id = await world.destination("webhook")
    audience_id = await world.audience(destination_id)
    enter_workspace(world.workspace)

    async def asked_for() -> None:
        await PostgresAudiences(door).pause(world.workspace, audience_id, [destination_id])

    async with world.working(Answering(404, asked_for)) as deliverer:
        await world.enter(world.person("ada"))
        await until(lambda: asked(world))
        await until(lambda: idle(deliverer))
    assert await paused(world) == [None, "requested"]


async def asked(world: World) -> bool:
    return any(await paused(world))


async def test_a_removal_that_is_confirmed_while_the_guard_counts_is_confirmed(
    world: World, door: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination_id = await world.destination()
    audience_id = await world.audience(destination_id)
    enter_workspace(world.workspace)
    crowd = [world.person(f"p{n}") for n in range(12)]
    async with world.working(guard=GuardPolicy()):
        await world.enter(*crowd)
        await world.settled()
    counts = PostgresLedger.counts

    async def overtaken(self: PostgresLedger, *arguments: Any) -> Any:
        found = await counts(self, *arguments)
        await PostgresAudiences(door).operate(world.workspace, audience_id, [destination_id], "add", waive=True)
        return found

    monkeypatch.setattr(PostgresLedger, "counts", overtaken)
    await world.exit(*crowd)
    async with world.working(guard=GuardPolicy()):
        await world.settled(5.0)
    assert await paused(world) == [None, None] and await world.standin.members() == []


ELSEWHERE = "12345678"  # another audience that the stand-in knows


@pytest.mark.parametrize("change", ["settings", "pause"])
async def test_what_is_asked_of_an_audience_counts_for_the_round_that_is_being_prepared(
    world: World, door: Pool, change: str
) -> None:
    destination_id = await world.destination()
    audience_id = await world.audience(destination_id)
    ada = world.person("ada")
    await world.enter(ada)
    enter_workspace(world.workspace)
    store, read, changes = PostgresAudiences(door), world.profiles.read, [change]

    async def overtaken(*arguments: Any) -> Any:
        found = await read(*arguments)
        match changes and changes.pop():
            case "settings":
                link = Link(destination_id, {"customAudienceId": ELSEWHERE})
                await store.update(
                    world.workspace, audience_id, AudienceDraft("Elsewhere", "", ["segment-a"], [], {}, [link])
                )
            case "pause":
                await store.pause(world.workspace, audience_id, [destination_id])
        return found

    world.profiles.read = overtaken  # type: ignore[method-assign]
    async with world.working() as deliverer:
        if change == "settings":
            await world.settled(5.0)
        else:
            await until(lambda: asked(world))
            await until(lambda: idle(deliverer))
    there = [len(await world.standin.members(audience)) for audience in (FACEBOOK_AUDIENCE, ELSEWHERE)]
    assert there == ([0, 1] if change == "settings" else [0, 0])
