"""The segments API over real stores, behind the front door's own error answers."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from tests.fakes.segmenter import did, profile

from cdp_analytics_api.door import faults
from cdp_runtime.auth import SCOPES, Principal
from cdp_runtime.postgres import front_door_pool
from cdp_schemas.profiles import parse_profile_ref, profile_ref
from cdp_segmenter.adapters.postgres_catalogue import PostgresCatalogue
from cdp_segmenter.adapters.postgres_memberships import PostgresLedger
from cdp_segmenter.api import SegmentsApi
from cdp_segmenter.desk import Desk

from .conftest import Room

pytestmark = [pytest.mark.postgres, pytest.mark.clickhouse]
ADA, BOB = profile("ada"), profile("bob")
RICH = {"operator": "AND", "conditions": [{"field": "computed.ltv", "operator": ">", "value": 100}]}


class OneToken:
    """Every token is a workspace's name; ``read-`` before it leaves only the reading scopes."""

    async def principal(self, token: str) -> Principal | None:
        scopes = SCOPES if not token.startswith("read-") else {s for s in SCOPES if s.endswith(":read")}
        return Principal(token.removeprefix("read-"), "token", frozenset(scopes))


async def resolve(workspace_id: str, refs: Sequence[str]) -> Mapping[str, UUID]:
    known = {"email:ada@example.com": ADA.profile_id, "email:bob@example.com": BOB.profile_id}
    found = {ref: known.get(ref) or parse_profile_ref(ref) for ref in refs}
    return {ref: one for ref, one in found.items() if one in (ADA.profile_id, BOB.profile_id)}


async def profiles(workspace_id: str, ids: Sequence[UUID]) -> Mapping[UUID, dict[str, Any]]:
    return {one: {"id": profile_ref(one)} for one in ids}


@pytest.fixture
async def door(room: Room, segmenter_url: str) -> AsyncIterator[httpx.AsyncClient]:
    pool = front_door_pool(segmenter_url, name="segmenter-door")
    await pool.open()
    desk = Desk(PostgresCatalogue(pool), PostgresLedger(pool), room.crowd, room.clock)
    app = FastAPI()
    app.state.authenticator = OneToken()
    app.state.facets = {"resolve": resolve, "profiles": profiles}
    faults.install(app)
    app.include_router(SegmentsApi(desk).router())
    headers = {"Authorization": f"Bearer {room.workspace}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://door", headers=headers
    ) as client:
        yield client
    await pool.close()


async def made(door: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await door.post("/segments", json={"type": "rule-based", **body})
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


async def data(door: httpx.AsyncClient, path: str, **query: Any) -> Any:
    answer = await door.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def test_a_segment_from_creation_to_deletion(room: Room, door: httpx.AsyncClient) -> None:
    await room.knows(replace(ADA, ltv_minor=20_000), BOB)
    made_now = await made(door, name="Rich", rules=RICH)
    assert (made_now["status"], made_now["progress"]) == ("building", 0)
    assert made_now["english"] == "computed.ltv is more than 100"
    await room.build()
    path = f"/segments/{made_now['id']}"
    size = await data(door, f"{path}/size")
    assert size == {"id": made_now["id"], "size": 1, "status": "ready", "progress": 1.0}
    members = await data(door, f"{path}/members", include="profile")
    assert [(row["id"], row["profile"]["id"]) for row in members["items"]] == [(profile_ref(ADA.profile_id),) * 2]
    assert [row["name"] for row in await data(door, "/profiles/email:ada@example.com/segments")] == ["Rich"]
    changed = await door.put(path, json={"name": "Richer", "rules": {**RICH, "operator": "NOT"}})
    assert (changed.json()["data"]["version"], changed.json()["data"]["status"]) == (2, "building")
    renamed = await door.put(path, json={"name": "Poor", "rules": {**RICH, "operator": "NOT"}})
    assert (renamed.json()["data"]["version"], renamed.json()["data"]["name"]) == (2, "Poor")
    retyped = await door.put(path, json={"name": "Poor", "type": "behavioral", "rules": {**RICH, "operator": "NOT"}})
    assert (retyped.json()["data"]["version"], retyped.json()["data"]["type"]) == (2, "behavioral")
    assert (await door.delete(path)).status_code == 200
    assert (await door.get(path)).status_code == 404


async def test_faults_name_their_paths(door: httpx.AsyncClient) -> None:
    conditions = [
        {"field": "computed.ltv", "operator": "~~", "value": 1},
        {"field": "computed.nope", "operator": "=", "value": 1},
        {"event": "purchase", "window": "P1M"},
        {"field": "attributes.name", "operator": "matches", "value": "("},
        {"field": "attributes.age", "operator": ">", "value": "ten", "valeu": 1},
    ]
    body = {"name": "bad", "rules": {"operator": "AND", "conditions": conditions}}
    answer = await door.post("/segments", json=body)
    assert answer.status_code == 422
    assert {detail["path"] for detail in answer.json()["error"]["details"]} == {
        "rules.conditions[0].operator",
        "rules.conditions[1].field",
        "rules.conditions[2].window",
        "rules.conditions[3].value",
        "rules.conditions[4].value",
        "rules.conditions[4].valeu",
    }
    later = await door.post("/segments", json={"name": "rfm", "type": "rfm", "rules": {"recency": {"min": 4}}})
    assert later.status_code == 422
    assert "rule-based, behavioral, manual" in later.json()["message"]


async def test_a_circle_is_refused_by_its_names(door: httpx.AsyncClient) -> None:
    first = await made(door, name="first", rules=RICH)
    second = await made(door, name="second", rules={"segment": first["id"]})
    answer = await door.put(f"/segments/{first['id']}", json={"name": "first", "rules": {"segment": second["id"]}})
    assert answer.status_code == 422
    assert f"{first['id']} -> {second['id']} -> {first['id']}" in answer.json()["message"]
    refused = await door.delete(f"/segments/{first['id']}")
    assert (refused.status_code, second["id"] in refused.json()["message"]) == (409, True)
    unknown = await door.post("/segments", json={"name": "x", "rules": {"segment": "segment-nope"}})
    assert (unknown.status_code, "segment-nope" in unknown.json()["message"]) == (422, True)


async def test_a_rule_that_unfolds_into_too_much_is_refused(door: httpx.AsyncClient) -> None:
    """When it is saved, tried, or when what it refers to grows: nothing would evaluate it."""
    tiers: list[str] = []
    for tier in range(10):
        rich = {"field": "computed.ltv", "operator": ">", "value": 1000 - tier}
        before = [{"operator": "NOT", "conditions": [{"segment": one}]} for one in tiers]
        tiers.append(
            (await made(door, name=f"tier {tier}", rules={"operator": "AND", "conditions": [rich, *before]}))["id"]
        )
    everyone = {"operator": "OR", "conditions": [{"segment": one} for one in tiers]}
    for path, more in (("/segments", {"name": "all tiers"}), ("/segments/preview", {})):
        refused = await door.post(path, json={"rules": everyone, **more})
        assert refused.status_code == 422
        assert f"({', '.join(sorted(tiers))}) costs 1023 points, at most 1000" in refused.json()["message"]
    three = {"operator": "AND", "conditions": [{**rich, "value": value} for value in range(3)]}
    grown = await door.put(f"/segments/{tiers[0]}", json={"name": "tier 0", "rules": three})
    assert (grown.status_code, tiers[9] in grown.json()["message"]) == (422, True)


async def test_a_rule_that_no_question_has_room_for_is_refused(door: httpx.AsyncClient) -> None:
    """Its price is low; saved, ClickHouse would answer no question that it is part of."""

    def spent(lists: int) -> dict[str, Any]:
        amounts = [list(range(1000 * number, 1000 * (number + 1))) for number in range(lists)]
        return {
            "operator": "OR",
            "conditions": [{"field": "computed.ltv", "operator": "in", "value": some} for some in amounts],
        }

    for path, more in (("/segments", {"name": "Spent"}), ("/segments/preview", {})):
        refused = await door.post(path, json={"rules": spent(8), **more})
        assert refused.status_code == 422, refused.text
        assert re.search(r"the rule takes \d{3},\d{3} characters to ask", refused.json()["message"])
    half = await made(door, name="Half of it", rules=spent(2))
    rest = {"operator": "OR", "conditions": [{"segment": half["id"]}, RICH]}
    whole = await made(door, name="With the rest", rules=rest)
    grown = await door.put(f"/segments/{half['id']}", json={"name": "Half of it", "rules": spent(8)})
    assert grown.status_code == 422
    assert (await door.put(f"/segments/{whole['id']}", json={"name": "With the rest", "rules": rest})).is_success


async def test_a_preview_may_name_nobody(room: Room, door: httpx.AsyncClient) -> None:
    await room.knows(replace(ADA, ltv_minor=20_000), BOB)
    answer = await door.post("/segments/preview", json={"rules": RICH, "sample": 0})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["data"]["size"], answer.json()["data"]["sample"]) == (1, [])


async def test_a_preview_stores_nothing(room: Room, door: httpx.AsyncClient) -> None:
    await room.knows(replace(ADA, events=(did("Order Completed"),)), BOB)
    body = {"rules": {"event": "purchase", "count": {"min": 1}, "timeWindow": 90}}
    answer = await door.post("/segments/preview", json=body)
    assert answer.json()["data"] == {
        "size": 1,
        "sample": [profile_ref(ADA.profile_id)],
        "english": 'did "purchase" at least 1 time in the last 90 days',
    }
    assert (await data(door, "/segments"))["total"] == 0


async def test_an_explanation_tells_nothing_personal_without_its_scope(room: Room, door: httpx.AsyncClient) -> None:
    conditions = [
        {"field": "computed.ltv", "operator": ">", "value": 100},
        {"field": "attributes.birthday", "operator": "exists"},
        {"operator": "NOT", "conditions": [{"field": "identifiers.email", "operator": "contains", "value": "x.org"}]},
    ]
    person = {"traits": {"birthday": "1815-12-10"}, "identifiers": {"email": ("ada@example.com",)}}
    await room.knows(replace(ADA, ltv_minor=12_345, **person))
    segment = await made(door, name="Personal", rules={"operator": "AND", "conditions": conditions})
    path = f"/segments/{segment['id']}/members/email:ada@example.com/explain"
    full = (await door.get(path)).text
    narrow = (await door.get(path, headers={"Authorization": f"Bearer read-{room.workspace}"})).text
    for told in ("1815-12-10", "ada@example.com"):
        assert told in full and told not in narrow
    assert '"seen":"123.45"' in narrow


async def test_a_preview_of_a_manual_segment_holds_nobody_yet(room: Room, door: httpx.AsyncClient) -> None:
    await room.knows(ADA, BOB)
    answer = await door.post("/segments/preview", json={"type": "manual"})
    assert answer.json()["data"] == {"size": 0, "sample": [], "english": "members are added by hand"}


async def test_an_explanation_shows_what_was_seen(room: Room, door: httpx.AsyncClient) -> None:
    conditions = [*RICH["conditions"], {"event": "purchase", "count": {"min": 2}}]  # type: ignore[misc]
    await room.knows(replace(ADA, ltv_minor=12_345, events=(did("Order Completed"),)))
    segment = await made(door, name="Regulars", rules={"operator": "AND", "conditions": conditions})
    await room.build()
    why = await data(door, f"/segments/{segment['id']}/members/email:ada@example.com/explain")
    assert (why["member"], why["holds"]) == (False, False)
    assert [(one["holds"], one["seen"]) for one in why["because"]["conditions"]] == [(True, "123.45"), (False, "1")]
    nobody = await door.get(f"/segments/{segment['id']}/members/email:nobody@example.com/explain")
    assert nobody.status_code == 404


async def test_manual_members_come_and_go_by_hand(room: Room, door: httpx.AsyncClient) -> None:
    await room.knows(ADA, BOB)
    segment = await made(door, name="Friends", type="manual")
    path = f"/segments/{segment['id']}/members"
    added = await door.post(path, json={"profileIds": ["email:ada@example.com", profile_ref(BOB.profile_id)]})
    assert added.json()["data"]["size"] == 2
    assert (await door.post(path, json={"profileIds": ["email:ada@example.com"]})).json()["data"]["size"] == 2
    unknown = await door.post(path, json={"profileIds": ["email:nobody@example.com"]})
    assert unknown.json()["error"]["details"][0]["path"] == "profileIds[0]"
    several = ["email:nobody@example.com", "email:ada@example.com", "profile-1"]
    faults_of = (await door.post(path, json={"profileIds": several})).json()["error"]["details"]
    assert [detail["path"] for detail in faults_of] == ["profileIds[0]", "profileIds[2]"]
    assert (await door.delete(f"{path}/email:ada@example.com")).json()["data"]["size"] == 1
    assert [row["id"] for row in (await data(door, path))["items"]] == [profile_ref(BOB.profile_id)]
    rules = await made(door, name="Rich", rules=RICH)
    refused = await door.post(f"/segments/{rules['id']}/members", json={"profileIds": ["email:ada@example.com"]})
    assert refused.status_code == 409
    assert (await door.put(f"/segments/{segment['id']}", json={"name": "x", "rules": RICH})).status_code == 422


async def test_somebody_who_is_merged_while_she_is_added_is_added_as_the_survivor(
    room: Room, door: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The segmenter was told of the merge before her id was in the segment: there it would stay."""
    await room.knows(ADA, BOB)
    segment = await made(door, name="Friends", type="manual")
    path = f"/segments/{segment['id']}/members"
    ada = [ADA.profile_id]

    async def merging(workspace_id: str, refs: Sequence[str]) -> Mapping[str, UUID]:
        return dict.fromkeys(refs, ada[-1])

    monkeypatch.setitem(door._transport.app.state.facets, "resolve", merging)  # type: ignore[attr-defined]
    async with room.ledger.session(room.workspace):
        adding = asyncio.create_task(door.post(path, json={"profileIds": ["email:ada@example.com"]}))
        await asyncio.sleep(0.3)
        ada.append(BOB.profile_id)
    assert (await adding).json()["data"]["size"] == 1
    assert [row["id"] for row in (await data(door, path))["items"]] == [profile_ref(BOB.profile_id)]


async def test_pages_follow_one_another(room: Room, door: httpx.AsyncClient) -> None:
    crowd = [replace(profile(f"p{n}"), ltv_minor=20_000) for n in range(5)]
    await room.knows(*crowd)
    segment = await made(door, name="Rich", rules=RICH)
    await room.build()
    path, seen, cursor = f"/segments/{segment['id']}/members", [], None
    while True:
        page = await data(door, path, limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [row["id"] for row in page["items"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(profile_ref(facts.profile_id) for facts in crowd)
    assert [row["id"] for row in (await data(door, path, limit=10, offset=3))["items"]] == seen[3:]
    assert (await door.get(path, params={"cursor": "!"})).status_code == 422


async def test_the_last_page_says_so_also_when_it_is_full(room: Room, door: httpx.AsyncClient) -> None:
    await room.knows(*(replace(profile(f"p{n}"), ltv_minor=20_000) for n in range(4)))
    for name in ("Rich", "Richer"):
        segment = await made(door, name=name, rules=RICH)
    await room.build()
    for path, limits in (("/segments", (1, 2)), (f"/segments/{segment['id']}/members", (2, 4))):
        pages = [await data(door, path, limit=limit) for limit in limits]
        assert [(len(page["items"]), page["nextCursor"] is None) for page in pages] == [
            (limits[0], False),
            (limits[1], True),
        ]
        last = await data(door, path, limit=limits[0], cursor=pages[0]["nextCursor"])
        assert (len(last["items"]), last["nextCursor"]) == (limits[0], None)


async def test_segments_are_listed_once_whatever_their_letters(door: httpx.AsyncClient) -> None:
    """What is a lower-case letter is for Postgres to say: Python's differ (a final sigma, a dotted capital I)."""
    names = ["ΠΕΛΑΤΕΣ", "Άλλο", "ψ last", "İstanbul", "Izmir", "italy", "ÉTÉ", "Rich", "rich too", "🛒" * 200]
    for name in names:
        await made(door, name=name, type="manual")
    whole = [row["name"] for row in (await data(door, "/segments"))["items"]]
    assert sorted(whole) == sorted(names)
    seen, cursor = [], None
    for _ in range(len(names) + 1):
        page = await data(door, "/segments", limit=1, **({"cursor": cursor} if cursor else {}))
        seen += [row["name"] for row in page["items"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert seen == whole
    assert (await door.get("/segments", params={"cursor": "AAA"})).status_code == 422


async def test_a_name_is_taken_once_and_tokens_have_their_scopes(room: Room, door: httpx.AsyncClient) -> None:
    await made(door, name="Rich", rules=RICH)
    assert (await door.post("/segments", json={"name": "RICH", "rules": RICH})).status_code == 409
    reader = {"Authorization": f"Bearer read-{room.workspace}"}
    assert (await door.post("/segments", json={"name": "x", "rules": RICH}, headers=reader)).status_code == 403
    assert (await door.get("/segments", headers={"Authorization": "Bearer another"})).json()["data"]["total"] == 0
