"""The identity API over a real Postgres, with a resolver running behind the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from cdp_eventlog.memory import MemoryLog
from cdp_identity.adapters.postgres_reads import ProfileReads
from cdp_identity.api import IdentityApi
from cdp_identity.identifiers import Spelling
from cdp_identity.search import FIRST_END, estimate
from cdp_identity.writing import ProfileWrites
from cdp_runtime.auth import SCOPES, Principal
from cdp_runtime.clock import SystemClock
from cdp_runtime.envelope import ApiError
from cdp_runtime.postgres import Pool
from cdp_runtime.tenancy import enter_workspace
from cdp_schemas.events import ReceivedEvent
from cdp_schemas.profiles import profile_ref

from .shop import Worker, event, outgoing

pytestmark = pytest.mark.postgres
OTHER = {"Authorization": "Bearer other"}
NO_PII = {"Authorization": "Bearer masked"}
CROWD = """
INSERT INTO identity.profiles (workspace_id, profile_id, version, created_at, updated_at, traits)
SELECT 'demo', md5(n::text)::uuid, 1, now(), now(),
       jsonb_build_object('country', CASE n % 4 WHEN 0 THEN 'US' ELSE 'GB' END)
FROM generate_series(1, 2200) AS n RETURNING profile_id, traits->>'country'"""


class Tokens:
    """Three tokens: all scopes, another workspace, and all scopes but profiles:pii."""

    async def principal(self, token: str) -> Principal | None:
        scopes = SCOPES - {"profiles:pii"} if token == "masked" else SCOPES
        return Principal("other" if token == "other" else "demo", token, scopes)


def application(api: IdentityApi) -> FastAPI:
    app = FastAPI()
    app.include_router(api.router())
    app.state.authenticator = Tokens()
    app.state.facets = {"segments": lambda workspace, ids: _segments(ids)}

    async def answered(_: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body(), error.status, error.headers)

    app.add_exception_handler(ApiError, answered)  # type: ignore[arg-type]
    return app


async def _segments(ids: list) -> dict:
    return {one: ["segment-1"] for one in ids}


@pytest.fixture
async def log(pool: Pool) -> AsyncIterator[MemoryLog]:
    log = MemoryLog()
    worker = Worker(log, pool)
    work = asyncio.create_task(worker.consumer.run())
    yield log
    await worker.consumer.stop()
    await asyncio.wait_for(work, 5)


@pytest.fixture
async def api(log: MemoryLog, pool: Pool, door: Pool) -> AsyncIterator[httpx.AsyncClient]:
    reads = ProfileReads(door, SystemClock())
    writes = ProfileWrites(log, reads, SystemClock(), 5.0)
    app = application(IdentityApi(reads, writes, Spelling(), "USD"))
    headers = {"Authorization": "Bearer demo"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door", headers=headers) as client:
        yield client


async def create(api: httpx.AsyncClient, **body: object) -> dict:
    answer = await api.post("/profiles", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


async def settled(log: MemoryLog, pool: Pool, *events: ReceivedEvent) -> None:
    """Publishes events and returns when the running resolver has applied them."""
    reads = ProfileReads(pool, SystemClock())
    await log.publish([outgoing(one) for one in events])
    async with asyncio.timeout(10):
        for one in events:
            while not await reads.is_settled("demo", one.message_id):
                await asyncio.sleep(0.01)


async def test_a_created_profile_has_the_shape_that_clients_rely_on(api: httpx.AsyncClient) -> None:
    made = await create(
        api,
        email="Jane@Example.org",
        firstName="Jane",
        phone="+1 415 555 2671",
        country="US",
        customFields={"preferredLanguage": "en"},
        consent={"email": True, "sms": False},
    )
    assert made["id"].startswith("profile-")
    assert made["externalIds"] == {"email": "jane@example.org", "phone": "+14155552671"}
    assert made["attributes"] == {
        "email": "Jane@Example.org",
        "phone": "+1 415 555 2671",
        "firstName": "Jane",
        "country": "US",
        "tags": [],
        "customFields": {"preferredLanguage": "en"},
    }
    assert made["computed"]["ltv"] == 0 and made["computed"]["churnRisk"] is None
    assert made["consent"]["email"] is True and made["consent"]["sms"] is False and made["consent"]["updatedAt"]
    assert made["segments"] == ["segment-1"]
    for ref in (made["id"], "email:jane@example.org", "email:JANE@example.org", "phone:+14155552671"):
        assert (await api.get(f"/profiles/{ref}")).json()["data"] == made


async def test_a_second_profile_with_the_same_identifier_is_a_conflict(api: httpx.AsyncClient) -> None:
    made = await create(api, email="a@shop.io")
    answer = await api.post("/profiles", json={"email": "A@shop.io", "firstName": "B"})
    assert answer.status_code == 409
    assert made["id"] in answer.json()["error"]["details"][0]["message"]
    assert (await api.get("/profiles/email:a@shop.io")).json()["data"] == made


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"email": "not an email"}, "email"),
        ({"attributes": {"phone": "12"}}, "attributes.phone"),
        ({"externalIds": {"deviceIds": ["d1", "null"]}}, "externalIds.deviceIds"),
        ({"computed": {"ltv": 3}}, "computed.ltv"),
    ],
)
async def test_bad_bodies_are_answered_with_the_path_of_the_fault(
    api: httpx.AsyncClient, body: dict, path: str
) -> None:
    answer = await api.post("/profiles", json=body)
    assert answer.status_code == 422
    assert [detail["path"] for detail in answer.json()["error"]["details"]] == [path]


async def test_a_change_sets_what_it_names_and_null_removes(api: httpx.AsyncClient) -> None:
    made = await create(api, email="a@shop.io", firstName="Ada", customFields={"plan": "free"})
    changed = await api.put(
        f"/profiles/{made['id']}",
        json={"attributes": {"tags": ["vip"], "firstName": None, "customFields": {"plan": "pro"}}, "userId": "ada"},
    )
    assert changed.status_code == 200, changed.text
    data = changed.json()["data"]
    assert data["attributes"] == {
        "email": "a@shop.io",
        "phone": None,
        "tags": ["vip"],
        "customFields": {"plan": "pro"},
    }
    # with a user id the profile has another id, and the old one answers with the survivor
    assert data["externalIds"] == {"email": "a@shop.io", "userId": "ada"}
    assert data["id"] != made["id"]
    assert (await api.get(f"/profiles/{made['id']}")).json()["data"]["id"] == data["id"]


async def test_a_change_that_names_another_persons_identifier_is_a_conflict_and_changes_nobody(
    api: httpx.AsyncClient,
) -> None:
    ada = await create(api, email="ada@shop.io", userId="ada", firstName="Ada")
    bob = await create(api, email="bob@shop.io", userId="bob", firstName="Bob")
    for named, path in (
        ({"userId": "bob"}, "userId"),
        ({"userId": "nobody-yet"}, "userId"),
        ({"externalIds": {"userId": "bob", "crm": "7"}}, "externalIds.userId"),
        ({"attributes": {"email": "bob@shop.io"}}, "attributes.email"),
    ):
        body = {**named, "firstName": "Eve", "consent": {"email": True}}
        answer = await api.put("/profiles/email:ada@shop.io", json=body)
        assert answer.status_code == 409, answer.text
        (detail,) = answer.json()["error"]["details"]
        assert detail["path"] == path and "user id" in detail["message"]
        assert (bob["id"] in detail["message"]) is ("bob" in str(named))
    for made in (ada, bob):
        assert (await api.get(f"/profiles/{made['id']}")).json()["data"] == made
    same = await api.put("/profiles/email:ada@shop.io", json={"userId": "ada", "email": "ada@shop.io"})
    assert same.status_code == 200


async def test_a_change_that_meets_another_persons_new_identifier_on_its_way_stays_with_its_profile(
    api: httpx.AsyncClient, log: MemoryLog, pool: Pool
) -> None:
    ada = await create(api, userId="ada")
    await create(api, userId="bob", firstName="Bob")
    named = {"profile_id": ada["id"], "user_id": "bob", "channel": "api"}
    await settled(log, pool, event("identify", 9000, traits={"firstName": "Ada"}, **named))
    names = [(await api.get(f"/profiles/user_id:{one}")).json()["data"]["attributes"] for one in ("ada", "bob")]
    assert [one["firstName"] for one in names] == ["Ada", "Bob"]


async def test_every_identifier_of_a_body_becomes_the_profiles(api: httpx.AsyncClient) -> None:
    several = {"anonymousIds": ["a1", "a2"], "deviceIds": ["d1"], "emails": ["a@shop.io", "b@shop.io"], "crm": "7"}
    made = await create(api, externalIds=several, firstName="Eve")
    assert made["externalIds"] == {
        "anonymousIds": ["a1", "a2"],
        "crm": ["7"],
        "deviceIds": ["d1"],
        "email": "a@shop.io",
        "emails": ["a@shop.io", "b@shop.io"],
    }
    changed = await api.put("/profiles/anonymous_id:a2", json={"externalIds": {"userId": 42, "anonymousIds": ["a3"]}})
    assert changed.status_code == 200, changed.text
    found = changed.json()["data"]
    assert (found["externalIds"]["userId"], found["externalIds"]["anonymousIds"]) == ("42", ["a1", "a2", "a3"])
    assert found["attributes"]["firstName"] == "Eve"


async def test_two_user_ids_are_not_one_profile(api: httpx.AsyncClient) -> None:
    answer = await api.post("/profiles", json={"userId": "ada", "externalIds": {"userId": "bob"}})
    assert answer.status_code == 409
    assert [detail["path"] for detail in answer.json()["error"]["details"]] == ["externalIds.userId"]
    assert (await api.get("/profiles/user_id:ada")).status_code == 404


async def test_an_erased_profile_is_gone_by_every_identifier_and_stays_gone(
    api: httpx.AsyncClient, log: MemoryLog, pool: Pool
) -> None:
    made = await create(api, email="a@shop.io", userId="ada")
    answer = await api.delete("/profiles/email:a@shop.io")
    assert answer.json()["data"] == {"id": made["id"], "deleted": True}
    for ref in (made["id"], "email:a@shop.io", "user_id:ada"):
        assert (await api.get(f"/profiles/{ref}")).status_code == 404
    assert (await api.delete("/profiles/email:a@shop.io")).status_code == 404
    async with pool.connection() as connection:
        rows = await (await connection.execute("SELECT * FROM identity.nodes")).fetchall()
        assert len(rows) == 2 and "ada" not in str(rows) and "a@shop.io" not in str(rows)


async def test_search_finds_by_every_condition_and_pages(api: httpx.AsyncClient, log: MemoryLog, pool: Pool) -> None:
    await create(api, email="ada@shop.io", country="GB", tags=["vip"], consent={"email": True})
    await create(api, email="grace@shop.io", country="US", customFields={"plan": "pro"})
    await create(api, email="joan@other.io", attributes={"address": {"country": "GB", "city": "Bath"}})
    properties = {"order_id": "o1", "revenue": 250.5}
    order = event(
        "track", 5, event="Order Completed", context={"traits": {"email": "grace@shop.io"}}, properties=properties
    )

    async def found(**body: object) -> list[str]:
        answer = await api.post("/profiles/search", json=body)
        assert answer.status_code == 200, answer.text
        data = answer.json()["data"]
        assert data["total"] == len(data["profiles"])
        return sorted(profile["attributes"]["email"].split("@")[0] for profile in data["profiles"])

    await settled(log, pool, order)
    assert await found(email="@shop") == ["ada", "grace"]
    assert await found(email="ada@shop.io") == ["ada"]
    assert await found(email="%") == []
    assert await found(country="GB") == ["ada", "joan"]
    assert await found(country="GB", attributes={"country": "US"}) == []
    assert await found(country="GB", attributes={"country": "GB"}, emailConsent=True) == ["ada"]
    assert await found(attributes={"country": "GB"}) == ["ada", "joan"]
    assert await found(attributes={"city": "Bath"}) == ["joan"]
    assert await found(**{"attributes.address.city": "Bath"}) == ["joan"]
    assert await found(**{"attributes.address.city": "York"}) == []
    assert await found(tags=["vip"], emailConsent=True) == ["ada"]
    assert await found(tags=["vip"], attributes={"tags": ["vip"]}) == ["ada"]
    assert await found(tags=["vip"], attributes={"tags": ["old"]}) == []
    assert await found(emailConsent=False) == ["grace", "joan"]
    assert await found(minLtv=250.5) == ["grace"]
    assert await found(maxLtv=100) == ["ada", "joan"]
    assert await found(**{"attributes.plan": "pro"}) == ["grace"]
    assert await found(**{"attributes.customFields.plan": "free"}) == []
    first = (await api.post("/profiles/search", json={"limit": 2})).json()["data"]
    rest = (await api.post("/profiles/search", json={"limit": 2, "cursor": first["cursor"]})).json()["data"]
    assert first["total"] == rest["total"] == 3 and rest["cursor"] is None
    beyond = (await api.post("/profiles/search", json={"limit": 2, "offset": 5})).json()["data"]
    assert (beyond["total"], beyond["profiles"]) == (3, [])
    assert len({profile["id"] for profile in first["profiles"] + rest["profiles"]}) == 3
    assert (await api.post("/profiles/search", json={"colour": "red"})).status_code == 422


@pytest.mark.parametrize(
    ("common", "large", "limit"),
    [(3, 100_000, 320), (1000, 0, 100), (1000, 100_000, 300)],
    ids=["found on the way", "found among the first", "found by sorting"],
)
async def test_the_pages_of_a_search_beyond_the_bound_hold_everybody_once_and_tell_about_how_many(
    api: httpx.AsyncClient, pool: Pool, common: int, large: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdp_identity.search._COMMON", common)
    monkeypatch.setattr("cdp_identity.search._PROBED", 100)
    monkeypatch.setattr("cdp_identity.search.TOTAL_BOUND", 1000)
    monkeypatch.setattr("cdp_identity.search._LARGE", large)
    async with pool.connection() as connection:
        rows = await connection.execute(CROWD)
        expected = sorted(profile_ref(row[0]) for row in await rows.fetchall() if row[1] == "GB")
    assert len(expected) == 1650
    seen: list[str] = []
    cursor = None
    while cursor is not None or not seen:
        answer = await api.post("/profiles/search", json={"country": "GB", "limit": limit, "cursor": cursor})
        page = answer.json()["data"]
        assert abs(page["total"] / 1650 - 1) <= 4 / limit**0.5
        assert not page["totalIsExact"]
        seen += [profile["id"] for profile in page["profiles"]]
        cursor = page["cursor"]
    assert seen == expected
    if not large:
        among_first = sum(one < profile_ref(FIRST_END) for one in expected)
        page = (await api.post("/profiles/search", json={"country": "GB", "limit": 100})).json()["data"]
        assert page["total"] == estimate(among_first, FIRST_END, None)
    few = (await api.post("/profiles/search", json={"country": "US", "limit": 300})).json()["data"]
    assert (few["total"], few["totalIsExact"], len(few["profiles"])) == (550, True, 300)
    beyond = await api.post("/profiles/search", json={"country": "GB", "limit": 50, "offset": 1620})
    assert [profile["id"] for profile in beyond.json()["data"]["profiles"]] == expected[1620:]


async def test_what_every_profile_has_in_common_is_counted_exactly_up_to_the_bound(
    api: httpx.AsyncClient, pool: Pool
) -> None:
    async with pool.connection() as connection:
        await connection.execute(CROWD)
    page = (await api.post("/profiles/search", json={"country": "GB", "limit": 2})).json()["data"]
    assert (page["total"], page["totalIsExact"], len(page["profiles"])) == (1650, True, 2)


async def test_a_search_is_planned_for_what_it_asks_however_often_it_comes(api: httpx.AsyncClient, door: Pool) -> None:
    """At a million profiles a plan for all values takes 230 ms instead of 6: any amount is rare to it."""
    for amount in range(20):
        answer = await api.post("/profiles/search", json={"country": "GB", "tags": ["vip"], "minLtv": 10 + amount})
        assert answer.status_code == 200
    enter_workspace("demo")
    async with door.connection() as connection:
        rows = await connection.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%ltv%>=%'")
        assert await rows.fetchone() == (0,)


async def test_a_search_reads_little_of_what_is_new_from_one_end_to_the_other(pool: Pool) -> None:
    """What is not in order yet costs each search its whole length."""
    visited = "UPDATE identity.profiles SET traits = traits || jsonb_build_object('visits', %s::int)"
    async with pool.connection() as connection:
        await connection.execute(CROWD)
        for visits in range(10):
            await connection.execute(visited, [visits])
        found = await connection.execute("SELECT gin_clean_pending_list('identity.profiles_said')")
        (pages,) = await found.fetchone() or (None,)
    assert 0 < pages <= 128 / 8 + 1


@pytest.mark.parametrize(
    "text", ["", "ab", "abc", "aaaaa", "ada.lovelace@example.com", "žofie@příklad.cz", "a'b\\,{c}@d"]
)
async def test_an_address_is_found_by_each_three_letters_of_it(pool: Pool, text: str) -> None:
    async with pool.connection() as connection:
        (parts,) = await (await connection.execute("SELECT identity.parts(%s)", [text])).fetchone() or (None,)
    assert set(parts or ()) == {text[at : at + 3] for at in range(len(text) - 2)}


async def test_consent_has_a_history_and_the_latest_holds(api: httpx.AsyncClient) -> None:
    made = await create(api, email="a@shop.io", consent={"email": True})
    for granted in (False, True):
        answer = await api.post("/consent", json={"profileId": made["id"], "email": granted})
        assert answer.json()["data"]["consent"] == {"email": granted}
    state = (await api.get("/consent/email:a@shop.io")).json()["data"]
    assert [line["granted"] for line in state["history"]] == [True, False, True]
    assert (await api.post("/consent", json={"profileId": made["id"], "email": "yes"})).status_code == 422
    assert (await api.post("/consent", json={"profileId": "email:x@shop.io", "email": True})).status_code == 404


async def test_a_withdrawal_on_one_device_holds_and_what_is_granted_anew_is_in_the_history(
    api: httpx.AsyncClient, log: MemoryLog, pool: Pool
) -> None:
    answers = [("phone", False), ("phone", True), ("laptop", True), ("phone", False)]
    for seconds, (device, granted) in enumerate(answers):
        context = {"consent": {"categoryPreferences": {"ads": granted}}}
        await settled(log, pool, event("identify", seconds, user_id="ada", anonymous_id=device, context=context))
    assert (await api.get("/consent/user_id:ada")).json()["data"]["consent"] == {"ads": False}
    for _ in range(2):
        state = (await api.post("/consent", json={"profileId": "user_id:ada", "ads": True})).json()["data"]
        assert state["consent"] == {"ads": True}
        assert state["history"][0]["granted"] and state["history"][0]["at"] == state["updatedAt"]
    assert [line["granted"] for line in state["history"]] == [True, True, False, True, True, False]


async def test_identities_show_the_evidence_of_every_link_also_of_refused_ones(
    api: httpx.AsyncClient, log: MemoryLog, pool: Pool
) -> None:
    await settled(
        log,
        pool,
        event(seconds=1, anonymous_id="phone", user_id="ada", message_id="first"),
        event(seconds=2, anonymous_id="phone", user_id="bob", message_id="second"),
    )
    graph = (await api.get("/profiles/user_id:ada/identities")).json()["data"]
    assert [(node["kind"], node["value"], node["isCanonical"]) for node in graph["nodes"]] == [
        ("anonymous_id", "phone", False),
        ("user_id", "ada", True),
    ]
    links = {link["messageId"]: (link["status"], link["reason"], sorted(link["nodes"])) for link in graph["links"]}
    assert links == {
        "first": ("held", None, ["anonymous_id:phone", "user_id:ada"]),
        "second": ("refused", "two_user_ids", ["anonymous_id:phone", "user_id:bob"]),
    }


async def test_another_workspace_sees_nothing_and_a_token_without_pii_sees_masks(api: httpx.AsyncClient) -> None:
    made = await create(api, email="ada@shop.io", firstName="Ada", country="GB")
    for ref in (made["id"], "email:ada@shop.io"):
        assert (await api.get(f"/profiles/{ref}", headers=OTHER)).status_code == 404
    assert (await api.post("/profiles/search", json={}, headers=OTHER)).json()["data"]["profiles"] == []
    masked = await api.get(f"/profiles/{made['id']}", headers=NO_PII)
    assert "ada@" not in masked.text and "Ada" not in masked.text
    assert masked.json()["data"]["attributes"]["country"] == "GB"


async def test_a_change_that_nobody_resolves_in_time_is_answered_as_pending(door: Pool, pool: Pool) -> None:
    reads = ProfileReads(door, SystemClock())
    log = MemoryLog()
    writes = ProfileWrites(log, reads, SystemClock(), 0.05)
    app = application(IdentityApi(reads, writes, Spelling(), "USD"))
    headers = {"Authorization": "Bearer demo"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door", headers=headers) as client:
        body = {"firstName": "Eve", "externalIds": {"anonymousIds": ["a1", "a2", "a3"], "emails": ["a@shop.io"]}}
        answer = await client.post("/profiles", json=body)
        assert answer.status_code == 202
        assert answer.json()["data"]["status"] == "pending"
        await Worker(log, pool).consumer.drain()
        made = (await client.get("/profiles/anonymous_id:a1")).json()["data"]
    # the id that was told is that of the profile that came to be
    assert made["id"] == answer.json()["data"]["id"]
    assert (made["attributes"]["firstName"], made["externalIds"]["anonymousIds"]) == ("Eve", ["a1", "a2", "a3"])


@pytest.mark.parametrize("path", ["minLtv", "maxLtv"])
async def test_a_search_says_which_of_its_amounts_is_too_large(api: httpx.AsyncClient, path: str) -> None:
    answer = await api.post("/profiles/search", json={path: 1e18})
    assert answer.status_code == 422
    assert [fault["path"] for fault in answer.json()["error"]["details"]] == [path]
