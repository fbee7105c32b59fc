"""What destinations do to us: throttling, failing, refusing, hanging, lying; and what must hold all the same."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from cdp_activation.adapters.http import HttpCalls
from cdp_activation.adapters.postgres_ledger import PostgresLedger
from cdp_activation.breaker import BreakerPolicy
from cdp_activation.deliver import Deliverer
from cdp_activation.destinations.destination import HttpRequest, HttpResponse
from cdp_activation.guard import GuardPolicy
from cdp_activation.ledger import DestinationKey
from cdp_activation.profile import Profile
from cdp_activation.ssrf import TargetPolicy
from cdp_activation.standin.app import ACCESS_TOKEN
from cdp_schemas.profiles import profile_ref

from .conftest import World, until

pytestmark = pytest.mark.postgres


async def extern_ids(world: World) -> set[str]:
    return {member["EXTERN_ID"] for member in await world.standin.members()}


def refs(people: list[Profile]) -> set[str]:
    return {profile_ref(person.profile_id) for person in people}


def people(world: World, count: int) -> list[Profile]:
    return [world.person(f"person-{n}") for n in range(count)]


async def test_no_call_is_made_within_a_pause_that_was_asked_for(world: World) -> None:
    await world.audience(await world.destination())
    await world.standin.trouble(target="facebook", mode="throttle", times=1, retryAfter=3)
    crowd = people(world, 5)
    async with world.working():
        await world.enter(*crowd[:3])
        await until(lambda: _calls(world, 1))
        await world.enter(*crowd[3:])
        await world.settled()
    calls = list(reversed(await world.standin.calls("facebook")))
    assert calls[0]["status"] == 400 and {call["status"] for call in calls[1:]} == {200}
    assert calls[1]["at"] - calls[0]["at"] >= 3.0
    assert await extern_ids(world) == refs(crowd)
    # a pause is no failed attempt
    assert {row["attempts"] for row in (await world.deliveries()).values()} == {0}


async def _calls(world: World, count: int) -> bool:
    return len(await world.standin.calls()) >= count


async def test_a_pause_outlives_the_process(world: World) -> None:
    await world.audience(await world.destination())
    await world.standin.trouble(target="facebook", mode="throttle", times=1, retryAfter=3)
    async with world.working():
        await world.enter(world.person("ada"))
        await until(lambda: _calls(world, 1))
        await asyncio.sleep(0)
    async with world.working():
        await world.settled()
    last, first = await world.standin.calls("facebook")
    assert last["at"] - first["at"] >= 3.0


class Timed:
    """A receiver that takes everything; when it was called."""

    def __init__(self) -> None:
        self.at: list[float] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.at.append(time.monotonic())
        return HttpResponse(204, {}, b"")


async def test_a_rate_holds_over_many_small_pieces_of_work(world: World) -> None:
    destination, calls = await world.destination("webhook", requestsPerSecond=100), Timed()
    await world.audience(destination)
    async with world.working(calls) as deliverer:
        await world.enter(world.person("first"))
        await world.settled()
        await world.execute(
            "UPDATE activation.destinations SET settings = settings || '{\"requestsPerSecond\": 2}' "
            "WHERE destination_id = %s",
            [destination],
        )
        for person in people(world, 6):
            await world.enter(person)
            await world.settled()
        # two at once, and two each second after them
        assert len(calls.at) == 7 and calls.at[6] - calls.at[1] >= 1.5
        await world.audience(await world.destination("webhook"), segment="segment-b")
        await until(lambda: _forgotten(world, deliverer, destination))


async def _forgotten(world: World, deliverer: Deliverer, destination: str) -> bool:
    """Once it could make as many calls as ever, and another is called."""
    await world.enter(world.person("stranger"), segment="segment-b")
    await world.exit(world.person("stranger"), segment="segment-b")
    return DestinationKey(world.workspace, destination) not in deliverer._buckets


async def test_a_storm_of_500_ends_with_everybody_there(world: World) -> None:
    await world.audience(await world.destination(batchSize=10))
    await world.standin.trouble(target="facebook", mode="error", status=500, times=6)
    crowd = people(world, 30)
    async with world.working():
        await world.enter(*crowd)
        await world.settled(30)
    assert await extern_ids(world) == refs(crowd)


async def test_the_breaker_spares_a_destination_that_is_down(world: World) -> None:
    destination = await world.destination()
    await world.audience(destination)
    await world.standin.trouble(target="facebook", mode="html")
    crowd = people(world, 3)
    async with world.working(breaker=BreakerPolicy(consecutive=3)):
        await world.enter(*crowd)
        await until(lambda: _calls(world, 3))
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            await asyncio.sleep(0.1)
        assert len(await world.standin.calls()) == 3
        (row,) = await world.rows(
            "SELECT breaker FROM activation.destinations WHERE destination_id = %s", [destination]
        )
        assert row["breaker"]["state"] == "open"
        await world.standin.calm()
        await world.settled(20)
    assert await extern_ids(world) == refs(crowd)


async def test_a_refused_row_does_not_sink_its_neighbours(world: World) -> None:
    await world.audience(await world.destination())
    crowd = people(world, 20)
    bad = profile_ref(crowd[7].profile_id)
    await world.standin.trouble(target="facebook", mode="reject_rows", values=[bad])
    async with world.working():
        await world.enter(*crowd)
        await world.settled()
    assert await extern_ids(world) == refs(crowd) - {bad}
    row = (await world.deliveries())[crowd[7].profile_id]
    assert row["outcome"] == "rejected" and "told to refuse it" in row["last_error"] and not row["pending"]


async def test_a_batch_refused_as_a_whole_is_halved_until_the_bad_row_stands_alone(world: World) -> None:
    await world.audience(await world.destination())
    crowd = people(world, 40)
    culprit = crowd[11]

    def spoil(request: HttpRequest) -> HttpRequest:
        # one cell that the platform's own check refuses, with an error that names no row
        row = f'["{profile_ref(culprit.profile_id)}","'.encode()
        return HttpRequest(
            request.method, request.url, request.headers, request.body.replace(row, row + b"not-a-hash"), 10.0
        )

    calls = Altered(HttpCalls(TargetPolicy(allowed=frozenset({world.standin.url.removeprefix("http://")}))), spoil)
    async with world.working(calls):
        await world.enter(*crowd)
        await world.settled()
    assert await extern_ids(world) == refs(crowd) - refs([culprit])
    assert (await world.deliveries())[culprit.profile_id]["outcome"] == "rejected"
    assert len(await world.standin.calls("facebook")) <= 14


class Altered:
    """Calls whose requests are changed on their way, or that end the worker."""

    def __init__(self, calls: HttpCalls, alter: Callable[[HttpRequest], HttpRequest]) -> None:
        self._calls, self._alter = calls, alter

    async def send(self, request: HttpRequest) -> HttpResponse:
        return await self._calls.send(self._alter(request))


async def test_dead_credentials_rest_the_destination_until_others_are_entered(world: World) -> None:
    destination = await world.destination(token="revoked")
    await world.audience(destination)
    ada = world.person("ada")
    async with world.working():
        await world.enter(ada)
        await until(lambda: _paused(world, "destinations", "unauthorized"))
        await asyncio.sleep(0.3)
        assert len(await world.standin.calls()) == 1
        (row,) = await world.rows("SELECT * FROM activation.destinations WHERE destination_id = %s", [destination])
        assert "Invalid OAuth access token" in row["paused_reason"] and "revoked" not in row["paused_reason"]
        sealed = world.box.seal({"accessToken": ACCESS_TOKEN}, f"{world.workspace}|{destination}")
        await world.execute(
            "UPDATE activation.destinations SET credentials = %s, paused_class = NULL WHERE destination_id = %s",
            [sealed, destination],
        )
        await world.settled()
    assert await extern_ids(world) == refs([ada])


async def test_a_kept_token_that_cannot_be_sent_is_told_nowhere(world: World) -> None:
    # as it was entered before such tokens were refused
    destination = await world.destination(token="canary-token-4711 ")
    await world.audience(destination)
    async with world.working():
        await world.enter(world.person("ada"))
        await until(lambda: _paused(world, "connections", "misconfigured"))
    tables = ("deliveries", "connections", "destinations")
    kept = [await world.rows(f"SELECT * FROM activation.{table}") for table in tables]
    told = [bytes(row["message"]) for row in await world.rows("SELECT message FROM activation.outbox")]
    assert "the request cannot be written" in str(kept) and "canary" not in str((kept, told))


async def _paused(world: World, table: str, kind: str) -> bool:
    rows = await world.rows(f"SELECT paused_class FROM activation.{table} WHERE workspace_id = %s", [world.workspace])
    return [row["paused_class"] for row in rows] == [kind]


async def test_an_audience_that_is_gone_pauses_alone(world: World) -> None:
    destination = await world.destination()
    await world.audience(destination, segment="segment-b", customAudienceId="404404")
    await world.audience(destination, segment="segment-a")
    ada = world.person("ada")
    async with world.working():
        await world.enter(ada, segment="segment-b")
        await world.enter(ada, segment="segment-a")
        await until(lambda: _same(world, refs([ada])))
        await until(lambda: _one_misconfigured(world))


async def _one_misconfigured(world: World) -> bool:
    rows = await world.rows(
        "SELECT paused_class, paused_reason FROM activation.connections WHERE workspace_id = %s", [world.workspace]
    )
    paused = [row["paused_reason"] for row in rows if row["paused_class"] == "misconfigured"]
    return len(paused) == 1 and "404404" in paused[0]


async def _same(world: World, wanted: set[str]) -> bool:
    return await extern_ids(world) == wanted


class Crash(BaseException):
    """The worker is gone at this very moment."""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("operation", ["POST", "DELETE"])
async def test_a_worker_that_dies_in_a_call_leaves_the_set_right(world: World, moment: str, operation: str) -> None:
    await world.audience(await world.destination(batchSize=10))
    crowd = people(world, 30)
    real = HttpCalls(TargetPolicy(allowed=frozenset({world.standin.url.removeprefix("http://")})))
    if operation == "DELETE":
        async with world.working():
            await world.enter(*crowd)
            await world.settled()
            changed = [
                world.person(f"person-{n}", version=2, identifiers={"email": [f"new{n}@example.com"]})
                for n in range(30)
            ]
        for person in changed[:15]:
            await world.update(person)
        await world.exit(*crowd[15:])
    else:
        await world.enter(*crowd)
    worker = world.worker(Dying(real, moment, operation, after_calls=1))
    task = asyncio.create_task(worker.run())
    await until(lambda: _died(worker))
    await worker.stop(0.0)  # first: of a worker that wakes at this moment, Python 3.11 loses the cancellation
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with world.working():
        await world.settled()
    wanted = crowd if operation == "POST" else changed[:15]
    assert await extern_ids(world) == refs(wanted)
    if operation == "DELETE":
        hashes = {member["EMAIL"] for member in await world.standin.members()}
        assert len(hashes) == 15


async def _died(worker: Any) -> bool:
    return worker._ports.calls.died


class Dying:
    """The nth call of a kind cancels the task that makes it, before or after it arrived."""

    def __init__(self, calls: HttpCalls, moment: str, method: str, after_calls: int) -> None:
        self._calls, self._moment, self._method, self._left = calls, moment, method, after_calls
        self.died = False

    async def send(self, request: HttpRequest) -> HttpResponse:
        if self.died:
            raise asyncio.CancelledError
        if request.method != self._method:
            return await self._calls.send(request)
        self._left -= 1
        if self._left >= 0:
            return await self._calls.send(request)
        if self._moment == "after":
            await self._calls.send(request)
        self.died = True
        raise asyncio.CancelledError


async def test_a_hanging_destination_does_not_slow_another(world: World) -> None:
    hanging, healthy = await world.destination(), await world.destination("webhook")
    await world.audience(hanging)
    audience = await world.audience(healthy)
    await world.standin.trouble(target="facebook", mode="hang", seconds=20)
    crowd = people(world, 20)
    async with world.working():
        began = time.monotonic()
        await world.enter(*crowd)
        await until(lambda: _hooked(world, audience, 20), 3.0)
        assert time.monotonic() - began < 3.0
        assert await extern_ids(world) == set()


async def _hooked(world: World, audience: str, count: int) -> bool:
    return len(await world.standin.hooked(audience)) == count


async def test_an_emptied_audience_asks_before_it_is_emptied(world: World) -> None:
    await world.audience(await world.destination())
    crowd = people(world, 120)
    async with world.working(guard=GuardPolicy()):
        await world.enter(*crowd)
        await world.settled()
        await world.exit(*crowd[:60])
        await until(lambda: _paused(world, "connections", "guard"))
        # privacy is no accident: who is erased goes all the same
        await world.update(crowd[100], version=2, deleted=True)
        await until(lambda: _same(world, refs(crowd) - refs([crowd[100]])))
        await world.execute(
            "UPDATE activation.connections SET paused_class = NULL, guard_waived_until = now() + interval '1 hour' "
            "WHERE workspace_id = %s",
            [world.workspace],
        )
        await world.settled()
    assert await extern_ids(world) == refs(crowd[60:]) - refs([crowd[100]])


async def test_a_forbidden_address_is_never_called(world: World) -> None:
    destination = await world.destination("webhook", url="https://169.254.169.254/latest/meta-data")
    await world.audience(destination)
    async with world.working():
        await world.enter(world.person("ada"))
        await until(lambda: _paused(world, "connections", "misconfigured"))
    (row,) = await world.rows(
        "SELECT paused_reason FROM activation.connections WHERE workspace_id = %s", [world.workspace]
    )
    assert "not an address on the public internet" in row["paused_reason"]


async def test_the_sweep_finds_what_messages_missed(world: World) -> None:
    await world.audience(await world.destination())
    ada, bob = world.person("ada"), world.person("bob")
    async with world.working():
        await world.enter(ada, bob)
        await world.settled()
        # as if the message about bob's exit had been lost after the projection had it
        await world.execute(
            "UPDATE activation.memberships SET member = false WHERE workspace_id = %s AND profile_id = %s",
            [world.workspace, bob.profile_id],
        )
        await world.upkeep().reconcile(flagged=False)
        await world.settled()
    assert await extern_ids(world) == refs([ada])


@pytest.mark.parametrize("step", ["send_again", "record"])
async def test_a_worker_that_dies_after_a_removal_remembers_who_went_along(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await world.audience(await world.destination())
    ada, eve = (world.person(name, identifiers={"email": ["shared@example.com"]}) for name in ("ada", "eve"))
    async with world.working():
        await world.enter(ada, eve)
        await world.settled()
    died = asyncio.Event()

    async def dies(_ledger: Any, _key: Any, rows: Any, _more: Any) -> None:
        if not rows:
            return
        died.set()
        raise asyncio.CancelledError

    await world.exit(ada)
    with monkeypatch.context() as dying:
        dying.setattr(PostgresLedger, step, dies)
        worker = world.worker()
        task = asyncio.create_task(worker.run())
        await died.wait()
        await worker.stop(0.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await extern_ids(world) == set()
    async with world.working():
        await world.settled()
    assert await extern_ids(world) == refs([eve])


class Saying:
    """A receiver that takes every call and refuses its members, in words of its own."""

    def __init__(self, reason: Any) -> None:
        self.calls, self._reason = 0, reason

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.calls += 1
        told = json.loads(request.body)["data"]["members"]
        rejected = [{"profileId": member["profileId"], "reason": self._reason} for member in told]
        return HttpResponse(200, {}, json.dumps({"rejected": rejected}).encode())


@pytest.mark.parametrize("reason", ["not\x00good", "half of \ud83d", "x" * 10_000, {"code": 7}])
async def test_a_reason_that_cannot_be_kept_as_it_is_does_not_keep_the_rest_from_being_written(
    world: World, reason: Any
) -> None:
    await world.audience(await world.destination("webhook"))
    ada, receiver = world.person("ada"), Saying(reason)
    async with world.working(receiver):
        await world.enter(ada)
        await world.settled(5.0)
    row = (await world.deliveries())[ada.profile_id]
    assert (row["outcome"], receiver.calls) == ("rejected", 1) and 0 < len(row["last_error"]) <= 300
