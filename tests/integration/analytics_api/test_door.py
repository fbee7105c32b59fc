"""The door itself over real stores: login, scopes, one shape for every error, ids, limits, idempotency, audit."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest

from cdp_analytics_api.cursors import Place, write_cursor

from .conftest import ADA, FrontDoor

pytestmark = [pytest.mark.postgres, pytest.mark.clickhouse, pytest.mark.redis, pytest.mark.kafka]


def fault(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error, whose envelope must be whole."""
    body = answer.json()
    assert body["success"] is False
    assert body["error"]["code"] == body["code"]
    assert body["error"]["message"] == body["message"]
    return answer.status_code, body["code"]


async def test_health_needs_no_token(door: FrontDoor) -> None:
    answer = await door.get("/health", token=None)
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert answer.json()["timestamp"].endswith("Z")
    async with door.as_(None) as client:
        assert (await client.head("/health")).status_code == 200, "as some load balancers ask"


async def test_a_missing_or_wrong_token_is_401_and_a_missing_scope_403(door: FrontDoor) -> None:
    missing, wrong, narrow = [await door.get("/stats", token=token) for token in (None, "no-such-token", "nothing")]
    assert fault(missing) == (401, "unauthorized")
    assert missing.headers["WWW-Authenticate"] == "Bearer"
    assert fault(wrong) == (401, "unauthorized")
    assert fault(narrow) == (403, "forbidden")
    assert "system:read" in narrow.json()["message"]


async def test_a_revoked_token_ends_within_the_cache_time(door: FrontDoor) -> None:
    from cdp_runtime.auth import hash_token

    async with door.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO front.tokens (workspace_id, token_id, name, token_hash, scopes)"
            " VALUES ('acme', gen_random_uuid(), 'short', %s, '{system:read}')",
            (hash_token("short-lived"),),
        )
    assert (await door.get("/stats", token="short-lived")).status_code == 200
    async with door.pool.connection() as connection:
        await connection.execute("UPDATE front.tokens SET revoked_at = now() WHERE name = 'short'")
    deadline = asyncio.get_running_loop().time() + 5
    while (answer := await door.get("/stats", token="short-lived")).status_code == 200:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)
    assert fault(answer) == (401, "unauthorized")


async def test_every_kind_of_error_has_the_envelope(door: FrontDoor) -> None:
    async with door.as_() as client:
        malformed = await client.post(
            "/analytics/funnel", content=b'{"steps": [', headers={"Content-Type": "application/json"}
        )
        untold = await client.post("/analytics/funnel", content=b'{"steps": []}')
    assert fault(malformed) == (400, "malformed")
    assert fault(untold) == (415, "unsupported_media_type")
    assert fault(await door.get("/no/such/path")) == (404, "not_found")
    assert fault(await door.post("/stats", {})) == (405, "method_not_allowed")
    assert fault(await door.get("/stats/")) == (404, "not_found")  # and no way to the same by plain http
    assert fault(await door.post("/widgets", {"name": "taken"})) == (409, "conflict")
    invalid = await door.post("/analytics/funnel", {"steps": [{"event": "a"}, {"event": ""}], "colour": "red"})
    assert fault(invalid) == (422, "invalid")
    paths = {detail["path"] for detail in invalid.json()["error"]["details"]}
    assert paths == {"steps[1].event", "colour"}


@pytest.mark.parametrize("path", ["/events", "/events/quarantine"])
@pytest.mark.parametrize("place", ["9" * 17 + ".0.0", "-1.0.0", "0.9999999999.0", "0.0." + "9" * 19, "1e3.0.0"])
async def test_a_cursor_that_no_page_gave_is_refused(door: FrontDoor, path: str, place: str) -> None:
    answer = await door.get(path, cursor=base64.urlsafe_b64encode(place.encode()).decode().rstrip("="))
    assert fault(answer) == (422, "invalid")
    assert answer.json()["error"]["details"][0]["path"] == "cursor"


async def test_a_cursor_of_the_quarantine_is_none_of_events(door: FrontDoor) -> None:
    cursor = write_cursor(Place(int(datetime.now(UTC).timestamp() * 1_000_000), 0, 1))
    assert (await door.get("/events/quarantine", cursor=cursor)).status_code == 200
    assert fault(await door.get("/events", cursor=cursor)) == (422, "invalid")


async def test_a_bug_is_a_500_with_a_request_id_and_no_details(door: FrontDoor) -> None:
    answer = await door.get("/broken")
    assert fault(answer) == (500, "internal")
    assert answer.headers["X-Request-Id"] in answer.json()["message"]
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("path", "status"), [("/stats", 200), ("/broken", 500), ("/no/such/path", 404), ("/events?limit=0", 422)]
)
async def test_a_browsers_script_can_read_every_answer(door: FrontDoor, path: str, status: int) -> None:
    async with door.as_(Origin="https://shop.example") as client:
        answer = await client.get(path)
    assert answer.status_code == status
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]


async def test_request_ids_and_traces_pass_through(door: FrontDoor) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with door.as_() as client:
        kept = await client.get("/stats", headers={"X-Request-Id": "abc-1", "traceparent": trace})
        odd = await client.get("/stats", headers={"X-Request-Id": "a b\tc", "traceparent": "nonsense"})
    assert (kept.headers["X-Request-Id"], kept.headers["traceparent"]) == ("abc-1", trace)
    assert len(odd.headers["X-Request-Id"]) == 32
    assert "traceparent" not in odd.headers


async def test_browsers_of_any_origin_may_ask(door: FrontDoor) -> None:
    headers = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    async with door.as_(token=None) as client:
        answer = await client.options("/stats", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_body_that_is_too_large_is_refused(door: FrontDoor) -> None:
    async def endless() -> object:
        for _ in range(20):
            yield b"x" * 1_000_000

    async with door.as_() as client:
        told = await client.post("/analytics/funnel", content=b"x" * 9_000_000)
        chunked = await client.post("/analytics/funnel", content=endless())  # type: ignore[arg-type]
        keyed = await client.post("/widgets", content=endless(), headers={"Idempotency-Key": "k"})  # type: ignore[arg-type]
    assert [fault(answer) for answer in (told, chunked, keyed)] == [(413, "too_large")] * 3
    assert told.json()["message"] == chunked.json()["message"] == keyed.json()["message"]


async def test_a_repeated_post_runs_once_and_answers_the_same(door: FrontDoor) -> None:
    key, body = uuid4().hex, {"name": "lamp"}
    before = len(door.tiny.made)
    first = await door.post("/widgets", body, **{"Idempotency-Key": key})
    again = await door.post("/widgets", body, **{"Idempotency-Key": key})
    other = await door.post("/widgets", {"name": "desk"}, **{"Idempotency-Key": key})
    stranger = await door.post("/widgets", body, token="stranger", **{"Idempotency-Key": key})
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    assert fault(other) == (409, "conflict")
    assert stranger.status_code == 201, "another workspace's key is another key"
    assert len(door.tiny.made) == before + 2


async def test_a_token_without_the_scope_is_not_told_the_answer_that_another_token_got(door: FrontDoor) -> None:
    key, body = uuid4().hex, {"name": "lamp"}
    assert (await door.post("/widgets", body, **{"Idempotency-Key": key})).status_code == 201
    assert fault(await door.post("/widgets", body, token="reader", **{"Idempotency-Key": key})) == (403, "forbidden")


async def test_a_question_with_a_key_is_asked_again(door: FrontDoor) -> None:
    key = uuid4().hex
    first = await door.post("/widgets/search", {}, **{"Idempotency-Key": key})
    again = await door.post("/widgets/search", {}, **{"Idempotency-Key": key})
    assert again.json()["data"] == first.json()["data"] + 1


async def test_many_repeats_at_once_run_once(door: FrontDoor) -> None:
    key, name = uuid4().hex, uuid4().hex
    answers = await asyncio.gather(
        *(door.post("/widgets", {"name": name}, **{"Idempotency-Key": key}) for _ in range(8))
    )
    assert door.tiny.made.count(name) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}


async def test_access_to_personal_data_is_on_record_before_the_answer(door: FrontDoor) -> None:
    request_id = uuid4().hex
    async with door.as_("reader", **{"X-Request-Id": request_id}) as client:
        await client.get("/profiles/email:ada@example.com/events")
        await client.get("/stats")
    async with door.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT workspace_id, method, route, subject, scope, status FROM front.audit WHERE request_id = %s",
            (request_id,),
        )
        rows = await cursor.fetchall()
    (row,) = rows
    assert row[:3] == ("acme", "GET", "/api/cdp/profiles/{ref}/events")
    assert row[4:] == ("profiles:read", 200)
    assert row[3].startswith("node-") and "ada" not in row[3]


async def test_facets_of_all_parts_answer_together(door: FrontDoor) -> None:
    data = (await door.get("/stats")).json()["data"]
    assert (data["totalSegments"], data["totalAudiences"]) == (3, 2)


async def test_another_workspace_sees_no_profile(door: FrontDoor) -> None:
    assert (await door.get(f"/profiles/profile-{ADA.hex}/events")).status_code == 200
    assert fault(await door.get(f"/profiles/profile-{ADA.hex}/events", token="stranger")) == (404, "not_found")


async def test_a_part_whose_store_is_away_answers_503_and_names_it(door: FrontDoor) -> None:
    from cdp_analytics_api.parts import RunningPart

    tiny = door.api._parts[1]
    assert isinstance(tiny, RunningPart)
    tiny._started = False
    door.tiny.ready.clear()
    try:
        answer = await door.post("/widgets", {"name": "lamp"})
        assert fault(answer) == (503, "widget_store_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert "widget_store" in door.api.faults()
        assert (await door.get("/stats")).status_code == 200, "the other parts go on"
    finally:
        door.tiny.ready.set()
        tiny._started = True


async def test_the_document_tells_scopes_errors_and_keys(door: FrontDoor) -> None:
    async with httpx.AsyncClient(base_url=door.url) as client:
        document = (await client.get("/openapi.json")).json()
        docs = await client.get("/docs")
        asset = await client.get("/docs/assets/swagger-ui-bundle.js")
        home = await client.get("/")
    funnel = document["paths"]["/api/cdp/analytics/funnel"]["post"]
    assert funnel["x-required-scope"] == "analytics:read"
    assert {"200", "400", "401", "403", "413", "415", "422", "429", "503"} <= set(funnel["responses"])
    assert not {"413", "415"} & set(document["paths"]["/api/cdp/stats"]["get"]["responses"])
    made = document["paths"]["/api/cdp/widgets"]["post"]
    assert [p["name"] for p in made["parameters"]] == ["Idempotency-Key"]
    for path, item in document["paths"].items():
        for method, entry in item.items():
            assert entry.get("summary"), f"{method} {path} has no summary"
    assert "http://" not in docs.text and "https://" not in docs.text, "the docs load nothing from elsewhere"
    assert asset.status_code == 200 and len(asset.content) > 100_000
    assert "/docs" in home.text
