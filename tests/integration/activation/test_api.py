"""The routers over real Postgres and the stand-in, behind the front door's own error answers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY

from cdp_activation.adapters import postgres_sweep
from cdp_activation.adapters.postgres_destinations import PostgresDestinations
from cdp_activation.adapters.postgres_ledger import reconcile_in
from cdp_activation.adapters.postgres_sweep import PostgresSweep
from cdp_activation.api.paging import encoded
from cdp_activation.breaker import BreakerPolicy
from cdp_activation.ledger import ConnectionKey
from cdp_activation.service import ActivationApi
from cdp_activation.settings import ActivationSettings
from cdp_activation.standin.app import ACCESS_TOKEN, WEBHOOK_SECRET
from cdp_analytics_api.door import faults
from cdp_runtime.auth import SCOPES, Principal
from cdp_schemas.profiles import profile_ref

from .conftest import FACEBOOK_AUDIENCE, SECRET, World, until

pytestmark = pytest.mark.postgres


class OneToken:
    """Every token is a workspace's name; ``read-`` before it leaves only the reading scopes."""

    async def principal(self, token: str) -> Principal | None:
        scopes = SCOPES if not token.startswith("read-") else {s for s in SCOPES if s.endswith(":read")}
        return Principal(token.removeprefix("read-"), "token", frozenset(scopes))


@pytest.fixture
async def door(world: World) -> AsyncIterator[httpx.AsyncClient]:
    port = world.standin.url.rpartition(":")[2]
    settings = ActivationSettings(
        postgres_url=world.postgres_url,
        secret_key=SECRET,
        activation_allowed_hosts=f"127.0.0.1:{port},localhost:{port}",
    )
    api = ActivationApi(settings)
    app = FastAPI()
    app.state.authenticator = OneToken()
    app.state.facets = {}
    faults.install(app)
    app.include_router(api.router)
    await api.start()
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
    headers = {"Authorization": f"Bearer {world.workspace}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://door", headers=headers) as client:
        client.app = app  # type: ignore[attr-defined]
        yield client
    await api.stop()


def facebook(world: World, **more: Any) -> dict[str, Any]:
    settings = {"baseUrl": world.standin.url, "consentWhenUnknown": "allow", "requestsPerSecond": 100}
    return {
        "name": "Facebook",
        "type": "facebook",
        "settings": settings,
        "credentials": {"accessToken": ACCESS_TOKEN},
        **more,
    }


def audience(**more: Any) -> dict[str, Any]:
    return {
        "name": "Retargeting",
        "segmentIds": ["segment-a", "segment-b"],
        "platforms": ["facebook"],
        "config": {"facebook": {"customAudienceId": FACEBOOK_AUDIENCE, "adAccountId": "act_1"}},
        **more,
    }


async def made(door: httpx.AsyncClient, path: str, body: dict[str, Any]) -> Any:
    answer = await door.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


async def test_the_seed_s_story(world: World, door: httpx.AsyncClient) -> None:
    await made(door, "/destinations", facebook(world))
    created = await made(door, "/audiences", audience())
    assert created["members"] == 0 and created["connections"][0]["state"] == "inactive"
    ada, bob = world.person("ada"), world.person("bob")
    await world.enter(ada, segment="segment-a")
    await world.enter(ada, bob, segment="segment-b")
    path = f"/audiences/{created['id']}"
    async with world.working():
        upkeep = world.upkeep()
        activated = await door.post(f"{path}/activate", json={"platform": "facebook", "operation": "add"})
        assert activated.status_code == 202
        assert [one["state"] for one in activated.json()["data"]["destinations"]] == ["syncing"]
        await upkeep.reconcile(flagged=True)
        await world.settled()
        (there,) = (await door.get(f"{path}/status")).json()["data"]["destinations"]
        assert (there["desired"], there["acknowledged"], there["pending"], there["state"]) == (2, 2, 0, "in_step")
        page = (await door.get(f"{path}/deliveries", params={"limit": 1})).json()["data"]
        rest = (await door.get(f"{path}/deliveries", params={"limit": 5, "cursor": page["nextCursor"]})).json()["data"]
        assert {row["profileId"] for row in page["items"] + rest["items"]} == {
            profile_ref(ada.profile_id),
            profile_ref(bob.profile_id),
        }
        removed = await door.post(f"{path}/activate", json={"platform": "facebook", "operation": "remove"})
        assert removed.status_code == 202
        assert [one["state"] for one in removed.json()["data"]["destinations"]] == ["syncing"]
        await upkeep.reconcile(flagged=True)
        await world.settled()
        (there,) = (await door.get(f"{path}/status")).json()["data"]["destinations"]
        assert (there["desired"], there["acknowledged"], there["state"]) == (0, 0, "inactive")
    assert await world.standin.members() == []


async def test_replace_over_the_api(world: World, door: httpx.AsyncClient) -> None:
    destination = await made(door, "/destinations", facebook(world))
    created = await made(door, "/audiences", audience())
    ada = world.person("ada")
    await world.enter(ada)
    body = {"destinationId": destination["id"], "operation": "replace"}
    await door.post(f"/audiences/{created['id']}/activate", json=body)
    # who is to be there is not known yet, and a replacement by nobody would empty the audience
    assert [one.replace_session for one in await world.connections(destination["id"])] == [None]
    await world.load()
    async with world.working():
        await until(lambda: _replaced(door, created["id"]))
    assert [member["EXTERN_ID"] for member in await world.standin.members()] == [profile_ref(ada.profile_id)]


async def _replaced(door: httpx.AsyncClient, audience_id: str) -> bool:
    (there,) = (await door.get(f"/audiences/{audience_id}/status")).json()["data"]["destinations"]
    return there["replacedAt"] is not None


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"platforms": ["google"], "config": {}}, "platforms[0]"),
        ({"segmentIds": []}, "segmentIds"),
        ({"segmentIds": ["a", "a"]}, "segmentIds[1]"),
        ({"config": {}}, "config.facebook.customAudienceId"),
        ({"config": {"facebook": {"customAudienceId": "twelve"}}}, "config.facebook.customAudienceId"),
        ({"config": {"facebook": {"customAudienceId": "1", "nonsense": "1"}}}, "config.facebook.nonsense"),
        ({"connections": [{"destinationId": "nowhere"}]}, "connections[0].destinationId"),
        ({"surprise": 1}, "surprise"),
    ],
)
async def test_a_fault_of_an_audience_has_its_path(
    world: World, door: httpx.AsyncClient, change: dict[str, Any], path: str
) -> None:
    await made(door, "/destinations", facebook(world))
    answer = await door.post("/audiences", json=audience(**change))
    assert answer.status_code == 422
    assert path in [detail["path"] for detail in answer.json()["error"]["details"]]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"type": "carrier-pigeon"}, "type"),
        ({"credentials": {}}, "credentials.accessToken"),
        ({"settings": {"baseUrl": "http://10.0.0.1/"}}, "settings.baseUrl"),
        ({"settings": {"apiVersion": "26"}}, "settings.apiVersion"),
        ({"settings": {"batchSize": 20000}}, "settings.batchSize"),
        ({"type": "webhook", "settings": {}, "credentials": {"secret": WEBHOOK_SECRET}}, "settings.url"),
        (
            {"type": "webhook", "settings": {"url": "https://a.example"}, "credentials": {"secret": "whsec_short"}},
            "credentials.secret",
        ),
    ],
)
async def test_a_fault_of_a_destination_has_its_path(
    world: World, door: httpx.AsyncClient, change: dict[str, Any], path: str
) -> None:
    answer = await door.post("/destinations", json=facebook(world, **change))
    assert answer.status_code == 422
    assert path in [detail["path"] for detail in answer.json()["error"]["details"]]


async def test_credentials_never_come_out(world: World, door: httpx.AsyncClient) -> None:
    canary = "canary-credential-4711"
    destination = await made(door, "/destinations", facebook(world, credentials={"accessToken": canary}))
    path = f"/destinations/{destination['id']}"
    answers = [
        await door.get(path),
        await door.get("/destinations"),
        await door.put(path, json={"name": "Renamed"}),
        await door.post(f"{path}/test"),
        await door.put(path, json={"credentials": {"accessToken": canary, "unknown": canary}}),
    ]
    assert not any(canary in answer.text for answer in answers)
    assert answers[0].json()["data"]["credentialsSet"] == ["accessToken"]
    (row,) = await world.rows("SELECT * FROM activation.destinations WHERE destination_id = %s", [destination["id"]])
    assert canary.encode() not in bytes(row["credentials"]) and canary not in str(row)


async def test_the_test_tells_what_is_wrong(world: World, door: httpx.AsyncClient) -> None:
    destination = await made(door, "/destinations", facebook(world, credentials={"accessToken": "wrong"}))
    path = f"/destinations/{destination['id']}"
    bad = (await door.post(f"{path}/test")).json()["data"]
    assert (bad["ok"], bad["outcome"]) == (False, "unauthorized") and "Invalid OAuth access token" in bad["message"]
    await door.put(path, json={"credentials": {"accessToken": ACCESS_TOKEN}})
    good = (await door.post(f"{path}/test")).json()["data"]
    assert (good["ok"], good["outcome"]) == (True, "ok")
    hook = {"name": "Hook", "type": "webhook", "settings": {"url": f"{world.standin.url}/webhook"}}
    secret = "whsec_" + "A" * 40
    destination = await made(door, "/destinations", {**hook, "credentials": {"secret": secret}})
    unsigned = (await door.post(f"/destinations/{destination['id']}/test")).json()["data"]
    assert unsigned["outcome"] == "unauthorized"


@pytest.mark.parametrize("type_name", ["facebook", "webhook"])
async def test_kept_credentials_are_sent_nowhere_else(world: World, door: httpx.AsyncClient, type_name: str) -> None:
    name, path, credentials = {
        "facebook": ("baseUrl", "", {"accessToken": ACCESS_TOKEN}),
        "webhook": ("url", "/webhook", {"secret": WEBHOOK_SECRET}),
    }[type_name]
    here = {name: f"{world.standin.url}{path}"}
    there = {name: here[name].replace("127.0.0.1", "localhost")}
    draft = {"name": "Somewhere", "type": type_name, "settings": here, "credentials": credentials}
    route = f"/destinations/{(await made(door, '/destinations', draft))['id']}"
    moved = await door.put(route, json={"settings": there})
    assert moved.status_code == 422
    assert [detail["path"] for detail in moved.json()["error"]["details"]] == ["credentials"]
    kept = await door.put(route, json={"settings": {**here, "batchSize": 7}})
    assert kept.status_code == 200 and kept.json()["data"]["settings"][name] == here[name]
    assert (await door.post(f"{route}/test")).json()["data"]["ok"]
    entered = await door.put(route, json={"settings": there, "credentials": credentials})
    assert entered.status_code == 200 and entered.json()["data"]["settings"][name] == there[name]
    assert (await door.post(f"{route}/test")).json()["data"]["ok"]


async def test_older_settings_do_not_meet_newer_credentials(
    world: World, door: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = f"/destinations/{(await made(door, '/destinations', facebook(world)))['id']}"
    get = PostgresDestinations.get
    changes = [{"credentials": {"accessToken": "newer"}, "settings": {"baseUrl": f"{world.standin.url}/newer"}}]

    async def overtaken(self: PostgresDestinations, workspace_id: str, destination_id: str) -> Any:
        seen = await get(self, workspace_id, destination_id)
        if changes:
            assert (await door.put(route, json=changes.pop())).status_code == 200
        return seen

    monkeypatch.setattr(PostgresDestinations, "get", overtaken)
    renamed = await door.put(route, json={"name": "Renamed"})
    assert (renamed.status_code, renamed.json()["code"]) == (409, "changed_meanwhile")
    changes.append({"credentials": {"accessToken": "newest"}})
    assert (await door.post(f"{route}/test")).status_code == 409
    now = (await door.get(route)).json()["data"]
    assert (now["name"], now["settings"]["baseUrl"]) == ("Facebook", f"{world.standin.url}/newer")
    assert await world.standin.calls() == []


async def test_what_is_not_there_is_404_and_what_is_taken_is_409(world: World, door: httpx.AsyncClient) -> None:
    for method, path in (
        ("GET", "/audiences/none"),
        ("DELETE", "/audiences/none"),
        ("GET", "/audiences/none/status"),
        ("GET", "/destinations/none"),
        ("POST", "/destinations/none/test"),
        ("DELETE", "/suppressions/none"),
    ):
        assert (await door.request(method, path)).status_code == 404, path
    await made(door, "/destinations", facebook(world))
    assert (await door.post("/destinations", json=facebook(world))).status_code == 409
    created = await made(door, "/audiences", audience())
    assert (await door.post("/audiences", json=audience())).status_code == 409
    elsewhere = await door.post(f"/audiences/{created['id']}/activate", json={"platform": "webhook"})
    assert elsewhere.status_code == 422
    other = {"Authorization": "Bearer another-workspace"}
    assert (await door.get(f"/audiences/{created['id']}", headers=other)).status_code == 404
    reader = {"Authorization": f"Bearer read-{world.workspace}"}
    assert (await door.get("/audiences", headers=reader)).json()["data"]["total"] == 1
    assert (await door.delete(f"/audiences/{created['id']}", headers=reader)).status_code == 403


async def test_a_destination_with_members_is_not_deleted_unnoticed(world: World, door: httpx.AsyncClient) -> None:
    destination = await made(door, "/destinations", facebook(world))
    created = await made(door, "/audiences", audience())
    await world.enter(world.person("ada"))
    async with world.working():
        await door.post(f"/audiences/{created['id']}/activate", json={"operation": "add"})
        await world.upkeep().reconcile(flagged=True)
        await world.settled()
        assert (await door.delete(f"/destinations/{destination['id']}")).status_code == 409
        moved = audience(config={"facebook": {"customAudienceId": "999"}})
        assert (await door.put(f"/audiences/{created['id']}", json=moved)).status_code == 409
        assert (await door.delete(f"/audiences/{created['id']}")).status_code == 200
        await world.upkeep().reconcile(flagged=True)
        await world.settled()
        assert await world.standin.members() == []
        assert (await door.delete(f"/destinations/{destination['id']}")).status_code == 200


async def test_a_deleted_audience_is_forgotten_with_its_last_member(world: World, door: httpx.AsyncClient) -> None:
    await made(door, "/destinations", facebook(world))
    over, kept = [await made(door, "/audiences", audience(name=name)) for name in ("over", "kept")]
    await world.enter(world.person("ada"), world.person("bob"))

    async def ledger() -> set[str]:
        rows = await world.rows(
            "SELECT audience_id FROM activation.deliveries WHERE workspace_id = %(w)s UNION "
            "SELECT audience_id FROM activation.connections WHERE workspace_id = %(w)s",
            {"w": world.workspace},
        )
        return {row["audience_id"] for row in rows}

    async with world.working():
        for one in (over, kept):
            await door.post(f"/audiences/{one['id']}/activate", json={"operation": "add"})
        await world.upkeep().reconcile(flagged=True)
        await world.settled()
        await door.delete(f"/audiences/{over['id']}")
        await world.upkeep().reconcile(flagged=False)
        assert await ledger() == {over["id"], kept["id"]}, "its members are not removed yet"
        await world.upkeep().reconcile(flagged=True)
        await world.settled()
    await world.upkeep().reconcile(flagged=False)
    assert await ledger() == {kept["id"]}


async def test_a_deleted_destination_leaves_nothing_in_the_ledger(world: World, door: httpx.AsyncClient) -> None:
    async def backlog() -> int:
        return sum(pending for _, pending, _ in await PostgresSweep(world.pool).backlog())

    before = await backlog()
    destination = await made(door, "/destinations", facebook(world))
    created = await made(door, "/audiences", audience())
    await world.enter(world.person("ada"))
    async with world.working():
        await door.post(f"/audiences/{created['id']}/activate", json={"operation": "add"})
        await world.upkeep().reconcile(flagged=True)
        await world.settled()
    await world.enter(world.person("bob"))
    route = f"/destinations/{destination['id']}"
    assert (await door.delete(route, params={"force": True})).status_code == 200
    await world.enter(world.person("cyd"))
    waiting = [row for row in (await world.deliveries()).values() if row["pending"]]
    assert len(waiting) == 2 and await backlog() == before
    await world.upkeep().reconcile(flagged=False)
    await world.enter(world.person("dan"))
    assert await world.deliveries() == {} and await world.connections(destination["id"]) == []
    assert (await door.get(f"/audiences/{created['id']}")).json()["data"]["members"] == 4


async def test_members_of_a_large_audience_are_counted_ahead_of_whoever_looks(
    world: World, door: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_sweep, "_FEW", 2)
    await made(door, "/destinations", facebook(world))
    route = f"/audiences/{(await made(door, '/audiences', audience()))['id']}"

    async def members() -> int:
        return (await door.get(route)).json()["data"]["members"]

    people = [world.person(name) for name in ("ada", "bob", "cyd")]
    await world.upkeep().reconcile(flagged=True)
    await world.enter(*people)
    await world.upkeep().reconcile(flagged=False)
    await world.exit(people[0])
    assert await members() == 3, "as they were counted"
    assert (await door.put(route, json=audience(segmentIds=["segment-a"]))).is_success
    assert await members() == 2, "of other segments nobody has counted them"
    await world.upkeep().reconcile(flagged=False)
    await world.exit(people[1])
    assert await members() == 1, "of a few it is cheap to say"


async def test_who_becomes_a_member_while_a_destination_is_forgotten_is_forgotten_too(
    world: World, door: httpx.AsyncClient
) -> None:
    destination = await world.destination()
    key = ConnectionKey(world.workspace, await world.audience(destination), destination)
    await world.enter(world.person("ada"))
    assert (await door.delete(f"/destinations/{destination}")).status_code == 200
    async with world.pool.connection() as entering:
        bob = world.person("bob").profile_id
        await entering.execute(
            "INSERT INTO activation.memberships (workspace_id, segment_id, profile_id, sequence, member) "
            "VALUES (%s, 'segment-a', %s, 1, true)",
            [world.workspace, bob],
        )
        assert await reconcile_in(entering, key, [bob]) == 1
        forgetting = asyncio.create_task(PostgresSweep(world.pool).forget(key, 10))
        await until(lambda: _one_waits(world))
    assert await forgetting == 2
    assert await world.deliveries() == {} and await world.connections(destination) == []


async def _one_waits(world: World) -> bool:
    return bool(await world.rows("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))


async def test_lists_page_without_gap_or_repeat(world: World, door: httpx.AsyncClient) -> None:
    await made(door, "/destinations", facebook(world))
    for n in range(5):
        await made(door, "/audiences", audience(name=f"a{n}"))
    names: list[str] = []
    cursor = None
    while True:
        parameters = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await door.get("/audiences", params=parameters)).json()["data"]
        names += [item["name"] for item in page["items"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert names == ["a4", "a3", "a2", "a1", "a0"] and page["total"] == 5
    assert (await door.get("/audiences", params={"cursor": "x"})).status_code == 422


async def test_overlap_and_suppression(world: World, door: httpx.AsyncClient) -> None:
    await made(door, "/destinations", facebook(world))
    one = await made(door, "/audiences", audience(name="one", segmentIds=["segment-a"]))
    two = await made(door, "/audiences", audience(name="two", segmentIds=["segment-b"]))
    await world.load()
    ada, bob, cyd = world.person("ada"), world.person("bob"), world.person("cyd")
    await world.enter(ada, bob, segment="segment-a")
    await world.enter(bob, cyd, segment="segment-b")
    found = (await door.get(f"/audiences/{one['id']}/overlap", params={"compareWith": two["id"]})).json()["data"]
    assert (found["size"], found["compareSize"], found["overlap"], found["union"]) == (2, 2, 1, 3)
    assert found["overlapPercentage"] == 50.0
    listed = await made(door, "/suppressions", {"kind": "email", "value": "Ada@Example.com"})
    assert listed["hint"] == "A…@E…"
    again = await door.post("/suppressions", json={"kind": "email", "value": "ada@example.com"})
    assert again.status_code == 409
    assert (await door.post("/suppressions", json={"kind": "profile_id", "value": "ada"})).status_code == 422
    assert (await door.delete(f"/suppressions/{listed['id']}")).status_code == 200


async def test_every_operation_is_described(door: httpx.AsyncClient) -> None:
    document = door.app.openapi()  # type: ignore[attr-defined]
    operations = [o for methods in document["paths"].values() for o in methods.values()]
    assert all(operation.get("summary") for operation in operations)
    bare = [
        name
        for name, schema in document["components"]["schemas"].items()
        if schema.get("type") == "object" and not schema.get("properties")
    ]
    assert bare == []
    catalog = (await door.get("/destinations/catalog")).json()["data"]
    assert {entry["type"] for entry in catalog} == {"facebook_custom_audiences", "webhook"}


async def test_a_breaker_that_the_api_closed_is_not_shown_as_open(world: World, door: httpx.AsyncClient) -> None:
    created = await made(door, "/destinations", facebook(world))
    path = f"/destinations/{created['id']}"

    async def shown() -> float | None:
        await world.upkeep()._measure()
        labels = {"type": "facebook_custom_audiences", "destination": created["id"]}
        return REGISTRY.get_sample_value("cdp_activation_breaker_open", labels)

    assert await shown() == 0
    await world.audience(created["id"])
    await world.standin.trouble(target="facebook", mode="html")
    async with world.working(breaker=BreakerPolicy(consecutive=1)):
        await world.enter(world.person("ada"))
        await until(lambda: opened(world, created["id"]))
    assert await shown() == 1
    assert (await door.put(path, json={"credentials": {"accessToken": ACCESS_TOKEN}})).is_success
    assert await shown() == 0
    assert (await door.put(path, json={"enabled": False})).is_success
    assert await shown() is None


async def opened(world: World, destination_id: str) -> bool:
    rows = await world.rows("SELECT breaker FROM activation.destinations WHERE destination_id = %s", [destination_id])
    return rows[0]["breaker"].get("state") == "open"


async def test_an_id_from_before_a_merge_suppresses_who_the_profile_became(
    world: World, door: httpx.AsyncClient
) -> None:
    ada = world.person("ada")
    before = "profile-" + "0" * 31 + "7"

    async def resolve(workspace_id: str, refs: list[str]) -> dict[str, Any]:
        return {ref: ada.profile_id for ref in refs if ref == before}

    door.app.state.facets = {"resolve": resolve}  # type: ignore[attr-defined]
    await world.audience(await world.destination())
    async with world.working():
        await world.enter(ada)
        await world.settled()
        await made(door, "/suppressions", {"kind": "profile_id", "value": before})
        await world.settled()
    assert await world.standin.members() == []


async def test_members_are_counted_however_many_reasons_there_are(world: World, door: httpx.AsyncClient) -> None:
    destination = await world.destination("webhook")
    audience_id = await world.audience(destination)
    await world.execute(
        "INSERT INTO activation.deliveries (workspace_id, destination_id, audience_id, profile_id, desired, pending, "
        "outcome, last_error) SELECT %s, %s, %s, gen_random_uuid(), true, false, 'rejected', "
        "CASE WHEN n <= 50 THEN 'unknown' ELSE 'there is no member ' || n END FROM generate_series(1, 450) AS n",
        [world.workspace, destination, audience_id],
    )
    (there,) = (await door.get(f"/audiences/{audience_id}/status")).json()["data"]["destinations"]
    assert there["desired"] == sum(failure["count"] for failure in there["failed"]) == 450
    assert there["failed"][0] == {"outcome": "rejected", "reason": None, "count": 201}
    assert {"outcome": "rejected", "reason": "unknown", "count": 50} in there["failed"]


async def test_nobody_is_suppressed_at_a_destination_that_is_not_there(world: World, door: httpx.AsyncClient) -> None:
    somewhere = {"kind": "email", "value": "ada@example.com", "destinationId": "destination-typo"}
    answer = await door.post("/suppressions", json=somewhere)
    assert answer.status_code == 422
    assert [detail["path"] for detail in answer.json()["error"]["details"]] == ["destinationId"]
    there = await world.destination()
    assert (await made(door, "/suppressions", {**somewhere, "destinationId": there}))["destinationId"] == there


async def test_a_connection_that_is_left_out_is_emptied_though_it_was_paused(
    world: World, door: httpx.AsyncClient
) -> None:
    await made(door, "/destinations", facebook(world))
    route = f"/audiences/{(await made(door, '/audiences', audience()))['id']}"
    await world.enter(world.person("ada"))
    async with world.working():
        await door.post(f"{route}/activate", json={"operation": "add"})
        await world.upkeep().reconcile(flagged=True)
        await world.settled()
        assert (await door.post(f"{route}/pause", json={})).is_success
        assert (await door.put(route, json=audience(platforms=[], config={}))).is_success
        await world.upkeep().reconcile(flagged=True)
        await world.settled(5.0)
    assert await world.standin.members() == []


@pytest.mark.parametrize("path", ["/destinations", "/audiences", "/suppressions"])
async def test_a_cursor_without_a_time_zone_is_none_of_ours(world: World, door: httpx.AsyncClient, path: str) -> None:
    await made(door, "/destinations", facebook(world))
    answer = await door.get(path, params={"cursor": encoded("2026-01-01T00:00:00", "destination-1")})
    assert answer.status_code == 422


async def test_an_audience_at_a_destination_that_is_switched_off_says_so(world: World, door: httpx.AsyncClient) -> None:
    destination = await made(door, "/destinations", facebook(world))
    created = await made(door, "/audiences", audience())
    await door.post(f"/audiences/{created['id']}/activate", json={"operation": "add"})
    assert (await door.put(f"/destinations/{destination['id']}", json={"enabled": False})).is_success
    (there,) = (await door.get(f"/audiences/{created['id']}/status")).json()["data"]["destinations"]
    assert (there["state"], there["reason"]) == ("paused", "the destination is switched off")
