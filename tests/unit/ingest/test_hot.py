"""The ingest paths as SDKs see them: statuses, bodies and headers, over a log that can fail."""

import asyncio
import base64
import gzip
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from cdp_ingest.answers import Cors
from cdp_ingest.callers import Callers
from cdp_ingest.counts import AcceptedCounts
from cdp_ingest.gateway import Gateway, Limits
from cdp_ingest.hot import ROUTES, HotPaths, Receive, Scope, Send
from cdp_ingest.ports import Source
from cdp_ingest.quota import InFlight, Limiter, Rate
from cdp_ingest.sources import RememberedSources
from cdp_ingest.strangers import Strangers
from cdp_ingest.web import Site, build_web
from cdp_runtime.auth import hash_token
from cdp_runtime.clients import networks
from cdp_runtime.clock import ManualClock
from cdp_runtime.rates import Rates
from cdp_runtime.server import HttpServer
from cdp_schemas.codec import Codec
from cdp_schemas.events import ReceivedEvent, RefusedEvent
from cdp_schemas.topics import EVENTS_RECEIVED, EVENTS_RECEIVED_DLQ
from tests.fakes.ingest import FakeLog, FakeSourceTable

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY, GUESSES = "key", 20
BASIC = {"authorization": "Basic " + base64.b64encode(b"key:").decode()}
TRACK: dict[str, Any] = {"type": "track", "event": "E", "userId": "u", "messageId": "m", "context": {}}
LIMITS = Limits(max_body_bytes=50_000, max_event_bytes=2_000, max_batch_events=10)


class Door:
    """The application over fakes, and a client for it."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.log, self.clock = FakeLog(), ManualClock(NOW)
        self.table = FakeSourceTable({KEY: Source("demo", "s1", "Shop"), "off": Source("demo", "s2", "Off", False)})
        self.counts = AcceptedCounts("run")
        self.in_flight = InFlight(200_000, 100_000)
        sources = RememberedSources(self.table, self.clock.monotonic)
        callers = Callers(sources, Rates(GUESSES, GUESSES, self.clock.monotonic), networks(["8.8.4.0/24"]))
        gateway = Gateway(self.log, self.counts, limits, self.clock, lambda: "new-id", Limiter())
        self.app = HotPaths(gateway, callers, limits, self.in_flight, build_web(callers, Site()))
        transport = httpx.ASGITransport(self.app, client=("8.8.4.4", 1234))  # type: ignore[arg-type]
        self.client = httpx.AsyncClient(transport=transport, base_url="http://cdp.example")

    async def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.client.post(path, content=content, headers=headers or {})

    def accepted(self) -> list[ReceivedEvent]:
        return [Codec(ReceivedEvent).decode(message.value) for message in self.log.of(EVENTS_RECEIVED)]

    def refused(self) -> list[RefusedEvent]:
        return [Codec(RefusedEvent).decode(message.value) for message in self.log.of(EVENTS_RECEIVED_DLQ)]


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    yield door
    await door.client.aclose()


def is_success(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.headers["content-type"], answer.content) == (
        200,
        "application/json",
        b'{"success":true}',
    )


def code(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert body["success"] is False
    assert body["message"]
    assert body["error"]["code"] == body["code"]
    return answer.status_code, body["code"]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("slash", ["", "/"])
async def test_every_path_answers_200_with_success(door: Door, path: str, slash: str) -> None:
    route = ROUTES[path]
    body = {"batch": [TRACK]} if route.shape == "batch" else {**TRACK, "previousId": "p", "groupId": "g"}
    assert is_success(await door.post(path + slash, body, BASIC))
    assert len(door.accepted()) == (0 if route.shape == "discard" else 1)
    if route.call is not None:
        assert door.accepted()[0].type == route.call


async def test_the_write_key_is_found_wherever_an_sdk_puts_it(door: Door) -> None:
    places = [
        (await door.post("/v1/batch", {"batch": [TRACK]}, BASIC)),
        (
            await door.post(
                "/v1/batch", {"batch": [TRACK]}, {"authorization": "Basic " + base64.b64encode(b"key").decode()}
            )
        ),
        (await door.post("/v1/batch", {"batch": [TRACK]}, {"authorization": "Bearer key"})),
        (await door.post("/v1/batch", {"batch": [TRACK], "writeKey": KEY}, {"authorization": "Bearer an.oauth.token"})),
        (await door.post("/v1/b", {"batch": [TRACK], "writeKey": KEY})),
        (await door.post("/v1/b", {"batch": [{**TRACK, "writeKey": KEY}]})),
        (await door.post("/v1/t", {**TRACK, "writeKey": KEY})),
        (await door.post("/beacon/v1/batch?writeKey=key", {"batch": [TRACK]})),
    ]
    assert all(is_success(answer) for answer in places)
    assert len(door.accepted()) == len(places)


async def test_calls_with_an_unknown_key_can_be_kept_instead(door: Door) -> None:
    door.app.strangers = Strangers(door.log, door.clock, Rate(10, 1000))
    body = {"batch": [TRACK, "broken"], "writeKey": "soon-to-be"}
    assert is_success(await door.post("/v1/b", body))
    packed = gzip.compress(json.dumps(body).encode())
    assert is_success(await door.post("/v1/b", packed, {"content-encoding": "gzip"}))
    first, second = door.refused()
    assert (first.workspace_id, first.reason, first.path) == ("", "write_key_unknown", "writeKey")
    assert json.loads(first.raw) == json.loads(second.raw) == body
    assert first.source_id == second.source_id and "soon" not in first.source_id + first.detail
    assert door.accepted() == [] and door.counts.changed() == []
    assert code(await door.post("/v1/b", {"batch": [TRACK]})) == (401, "write_key_missing")
    assert is_success(await door.post("/v1/t", TRACK, BASIC))
    assert len(door.accepted()) == 1


async def test_strangers_together_have_a_budget_of_bytes(door: Door) -> None:
    door.app.strangers = Strangers(door.log, door.clock, Rate(10, 1000))
    large = {**TRACK, "properties": {"text": "x" * 2000}}
    assert is_success(await door.post("/v1/t", {**large, "writeKey": "one"}))
    answer = await door.post("/v1/t", {**large, "writeKey": "another"})
    assert code(answer) == (429, "unknown_keys_limited")
    assert 100 < int(answer.headers["retry-after"]) <= 300
    assert is_success(await door.post("/v1/t", TRACK, BASIC)), "sources are not strangers"
    door.clock.advance(timedelta(seconds=300))
    assert is_success(await door.post("/v1/t", {**large, "writeKey": "another"}))
    assert len(door.refused()) == 2


async def test_small_bodies_cost_strangers_what_they_take_in_the_log(door: Door) -> None:
    door.app.strangers = Strangers(door.log, door.clock, Rate(10, 1000))
    answers = [(await door.post("/v1/b?writeKey=no", {})).status_code for _ in range(20)]
    assert answers == sorted(answers) and {200, 429} == set(answers)
    assert sum(len(letter.value) for letter in door.log.published) < 1500


async def test_a_strangers_call_is_no_success_while_the_log_or_the_table_is_away(door: Door) -> None:
    door.app.strangers = Strangers(door.log, door.clock, Rate(10, 1000))
    door.log.down = True
    assert code(await door.post("/v1/t", {**TRACK, "writeKey": "no"})) == (503, "log_unavailable")
    door.table.down = True
    assert code(await door.post("/v1/t", {**TRACK, "writeKey": "nor this"})) == (503, "sources_unavailable")
    assert door.log.published == []


async def test_an_event_without_the_sources_consent_is_set_apart_with_200(door: Door) -> None:
    door.table.sources[hash_token("strict")] = Source("demo", "s3", "Shop", required_consent=("analytics",))
    preferences = {"consent": {"categoryPreferences": {"analytics": True}}}
    events = [TRACK, {**TRACK, "messageId": "m2", "context": preferences}]
    assert is_success(await door.post("/v1/batch", {"batch": events, "writeKey": "strict"}))
    assert [event.message_id for event in door.accepted()] == ["m2"]
    (refused,) = door.refused()
    assert (refused.reason, refused.source_id, refused.message_id) == ("consent", "s3", "m")
    assert (refused.path, json.loads(refused.raw)) == ("context.consent.categoryPreferences", TRACK)
    assert refused.detail.endswith("Its source needs analytics; not granted: analytics.")


async def test_a_batchs_own_context_grants_for_all_its_events(door: Door) -> None:
    door.table.sources[hash_token("strict")] = Source("demo", "s3", "Shop", required_consent=("analytics",))
    context = {"consent": {"categoryPreferences": {"analytics": True}}}
    assert is_success(await door.post("/v1/batch", {"batch": [TRACK], "writeKey": "strict", "context": context}))
    assert len(door.accepted()) == 1 and door.refused() == []


async def test_a_call_without_or_with_a_wrong_key_is_401_and_stores_nothing(door: Door) -> None:
    assert code(await door.post("/v1/batch", {"batch": [TRACK]})) == (401, "write_key_missing")
    assert code(await door.post("/v1/batch", {"batch": [TRACK], "writeKey": "no"})) == (401, "write_key_unknown")
    assert code(await door.post("/v1/batch", {"batch": [TRACK], "writeKey": "off"})) == (401, "source_disabled")
    wrong = {"authorization": "Basic " + base64.b64encode(b"no:").decode()}
    assert code(await door.post("/v1/t", {**TRACK, "writeKey": KEY}, wrong)) == (401, "write_key_unknown")
    assert door.log.published == []


async def test_no_answer_makes_a_browser_ask_for_a_password(door: Door) -> None:
    answer = await door.post("/v1/t", {**TRACK, "writeKey": "off"})
    assert answer.headers["www-authenticate"].partition(" ")[0].lower() not in ("basic", "digest", "negotiate", "ntlm")


async def test_no_error_says_what_makes_an_sdk_drop_its_queue(door: Door) -> None:
    answers = [await door.post("/v1/batch", {"batch": []}), await door.post("/v1/batch", b"{", BASIC)]
    for answer in answers:
        assert "invalid write key" not in answer.text.lower()
        assert "neither has anonymousid" not in answer.text.lower()
        assert answer.status_code not in (404, 410, 413, 501, 505, 511)


async def test_when_the_table_of_sources_is_away_nobody_is_refused_as_unknown(door: Door) -> None:
    door.table.down = True
    answer = await door.post("/v1/batch", {"batch": [TRACK]}, BASIC)
    assert code(answer) == (503, "sources_unavailable")
    assert int(answer.headers["retry-after"]) >= 1


async def test_when_the_log_is_away_the_answer_is_503_and_nothing_is_counted(door: Door) -> None:
    door.log.down = True
    answer = await door.post("/v1/t", TRACK, BASIC)
    assert code(answer) == (503, "log_unavailable")
    assert answer.headers["retry-after"] == "3"
    assert "broker" not in answer.text
    assert door.counts.changed() == []
    door.log.down = False
    assert is_success(await door.post("/v1/t", TRACK, BASIC))
    assert [row.total for row in door.counts.changed()] == [1]


async def test_success_waits_for_the_log(door: Door) -> None:
    door.log.gate = asyncio.Event()
    waiting = asyncio.create_task(door.post("/v1/t", TRACK, BASIC))
    done, _ = await asyncio.wait({waiting}, timeout=0.1)
    assert not done
    door.log.gate.set()
    assert is_success(await waiting)


async def test_one_bad_event_goes_to_the_dead_letters_and_its_neighbours_are_stored(door: Door) -> None:
    bad = b'{"type":"track","event":"E","userId":"u","properties":{"a":"\\u0000"}}'
    good = json.dumps(TRACK).encode()
    large = json.dumps({**TRACK, "properties": {"a": "x" * 3000}}).encode()
    body = b'{"batch":[' + b",".join([good, bad, good, b'{"type":"x"}', large, b"{]}", good]) + b"]}"
    assert is_success(await door.post("/v1/batch", body, BASIC))
    assert len(door.accepted()) == 3
    assert door.log.calls == 1
    by_reason = {refused.reason: refused for refused in door.refused()}
    assert set(by_reason) == {"nul_character", "type_unknown", "event_too_large", "event_malformed"}
    assert by_reason["nul_character"].raw == bad
    assert by_reason["type_unknown"].path == "type"
    assert {(r.workspace_id, r.source_id, r.stage) for r in door.refused()} == {("demo", "s1", "ingest")}
    assert [row.total for row in door.counts.changed()] == [3]


async def test_half_an_emoji_costs_its_own_event_alone(door: Door) -> None:
    halved = b'{"type":"track","event":"E","userId":"u","properties":{"a":"cut \\ud83d"}}'
    assert is_success(await door.post("/v1/t", halved, BASIC))
    body = b'{"batch":[' + b",".join([*[halved] * 4, json.dumps(TRACK).encode(), halved]) + b"]}"
    assert is_success(await door.post("/v1/batch", body, BASIC))
    assert [event.message_id for event in door.accepted()] == ["m"]
    assert {(refused.reason, refused.raw) for refused in door.refused()} == {("lone_surrogate", halved)}
    assert len(door.refused()) == 6


async def test_gzip_text_plain_and_an_empty_batch_are_fine(door: Door) -> None:
    zipped = gzip.compress(json.dumps({"batch": [TRACK]}).encode())
    assert is_success(await door.post("/v1/batch", zipped, {**BASIC, "content-encoding": "gzip"}))
    assert is_success(await door.post("/v1/b", {"batch": [TRACK]}, {**BASIC, "content-type": "text/plain"}))
    assert is_success(await door.post("/v1/batch", {"batch": []}, BASIC))
    assert len(door.accepted()) == 2


async def test_chunked_bodies_are_put_together(door: Door) -> None:
    async def parts() -> AsyncIterator[bytes]:
        body = json.dumps({"batch": [TRACK]}).encode()
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    assert is_success(await door.client.post("/v1/batch", content=parts(), headers=BASIC))
    assert len(door.accepted()) == 1


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b"x" * 60_000, {}, (400, "body_too_large")),
        (gzip.compress(b"x" * 60_000), {"content-encoding": "gzip"}, (400, "body_too_large")),
        (b"nonsense", {}, (400, "body_unreadable")),
        (b"{}", {"content-encoding": "br"}, (400, "body_encoding")),
    ],
)
async def test_a_body_that_cannot_be_used_is_400(
    door: Door, body: bytes, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    assert code(await door.post("/v1/batch", body, {**BASIC, **headers})) == expected
    assert door.in_flight.total == 0


async def test_a_large_chunked_body_is_given_up_at_the_limit(door: Door) -> None:
    sent = 0

    async def parts() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(10_000):
            sent += 1000
            yield b"x" * 1000

    answer = await door.client.post("/v1/batch", content=parts(), headers=BASIC)
    assert code(answer) == (400, "body_too_large")
    assert sent <= 52_000


async def test_a_body_that_never_ends_is_timed_out(door: Door) -> None:
    door.app.body_timeout = 0.05

    async def parts() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)

    assert code(await door.client.post("/v1/batch", content=parts(), headers=BASIC)) == (408, "body_timeout")
    assert door.in_flight.total == 0


async def test_a_full_buffer_is_503_at_once_and_free_again_afterwards(door: Door) -> None:
    door.in_flight.reserve(199_990)
    answer = await door.post("/v1/t", TRACK, BASIC)
    assert code(answer) == (503, "buffer_full")
    assert answer.headers["retry-after"] == "1"
    door.in_flight.release(199_990)
    assert is_success(await door.post("/v1/t", TRACK, BASIC))
    assert door.in_flight.total == 0


async def test_sources_of_two_workspaces_that_are_called_the_same_have_room_each(door: Door) -> None:
    door.table.sources[hash_token("theirs")] = Source("other", "s1", "Shop")
    door.log.gate = asyncio.Event()
    large = {**TRACK, "properties": {"a": "x" * 40_000}}
    calls = [asyncio.create_task(door.post("/v1/t", large, BASIC)) for _ in range(2)]
    async with asyncio.timeout(5):
        while door.log.calls < 2:
            await asyncio.sleep(0.01)
    theirs = asyncio.create_task(door.post("/v1/t", {**large, "writeKey": "theirs"}))
    await asyncio.wait({theirs}, timeout=0.1)
    door.log.gate.set()
    assert is_success(await theirs)
    assert all(is_success(answer) for answer in await asyncio.gather(*calls))


async def test_bodies_that_are_only_announced_take_nothing_of_the_buffer(door: Door) -> None:
    opened = 0

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal opened
        opened += 1
        await door.app(scope, receive, send)

    server = HttpServer(counted, "127.0.0.1", 0, variable="PORT", direct=door.app)
    port, head = server.start(), b"POST /v1/t HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 50000\r\n\r\n"
    writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(10)]
    try:
        for writer in writers:
            writer.write(head)
        async with asyncio.timeout(10):
            while opened < len(writers):
                await asyncio.sleep(0.01)
        assert door.in_flight.total == 0
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert is_success(await client.post("/v1/t", json=TRACK, headers=BASIC))
    finally:
        for writer in writers:
            writer.close()
        await server.stop()


async def test_a_source_beyond_its_rate_gets_429_with_whole_seconds() -> None:
    door = Door(Limits(rate=Rate(10, 10)))
    assert is_success(await door.post("/v1/batch", {"batch": [TRACK] * 40}, BASIC))
    answer = await door.post("/v1/t", TRACK, BASIC)
    assert code(answer) == (429, "rate_limited")
    assert answer.headers["retry-after"] == "4"
    assert len(door.accepted()) == 40


async def test_a_source_may_have_a_limit_of_its_own(door: Door) -> None:
    own = Source("demo", "s3", "Small", settings={"eventsPerSecond": 1, "burst": 1})
    door.table.sources.update(FakeSourceTable({"small": own}).sources)
    assert is_success(await door.post("/v1/t", {**TRACK, "writeKey": "small"}))
    assert code(await door.post("/v1/t", {**TRACK, "writeKey": "small"})) == (429, "rate_limited")
    assert is_success(await door.post("/v1/t", {**TRACK, "writeKey": KEY}))


async def test_client_paths_learn_address_and_agent_from_the_connection_and_server_paths_do_not(door: Door) -> None:
    agent = {**BASIC, "user-agent": "Browser/1"}
    await door.post("/v1/t", TRACK, agent)
    await door.post("/v1/b", {"batch": [{**TRACK, "context": {"ip": "1.1.1.1"}}]}, agent)
    await door.post("/v1/batch", {"batch": [TRACK]}, agent)
    contexts = [json.loads(bytes(event.context)) for event in door.accepted()]
    assert contexts == [
        {"ip": "8.8.4.4", "userAgent": "Browser/1"},
        {"userAgent": "Browser/1", "ip": "1.1.1.1"},
        {},
    ]
    assert [event.channel for event in door.accepted()] == ["client", "client", "server"]


@pytest.mark.parametrize(("path", "body"), [("/v1/batch", {"batch": [TRACK]}), ("/v1/track", TRACK)])
async def test_rudderstacks_devices_tell_their_address_on_paths_of_servers(door: Door, path: str, body: Any) -> None:
    device = {**BASIC, "anonymousid": "YS0x", "user-agent": "Browser/1"}
    assert is_success(await door.post(path, body, device))
    (event,) = door.accepted()
    assert event.channel == "client"
    assert json.loads(bytes(event.context))["userAgent"] == "Browser/1"


async def test_a_small_body_cannot_grow_into_a_large_one_by_its_envelope(door: Door) -> None:
    body = {"batch": [{"type": "track"}] * 1000, "context": {"a": "x" * 1500}}
    limits = Limits(max_body_bytes=50_000, max_batch_events=2500)
    assert code(await Door(limits).post("/v1/batch", body, BASIC)) == (400, "body_too_large")


async def test_preflights_allow_what_they_ask_for(door: Door) -> None:
    asked = {"origin": "https://shop", "access-control-request-headers": "authorization,x-retry-count"}
    answer = await door.client.options("/v1/t", headers=asked)
    assert answer.status_code in (200, 204)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"] == "authorization,x-retry-count"
    assert answer.headers["access-control-allow-methods"] == "POST, GET, OPTIONS"
    assert answer.headers["access-control-max-age"] == "86400"


async def test_browsers_may_read_every_answer_also_errors(door: Door) -> None:
    origin = {"origin": "https://shop"}
    good = await door.post("/v1/t", TRACK, {**BASIC, **origin})
    bad = await door.post("/v1/t", TRACK, origin)
    assert is_success(good)
    assert [answer.headers["access-control-allow-origin"] for answer in (good, bad)] == ["*", "*"]
    door.app.cors = Cors(frozenset({b"https://shop"}))
    with_cookies = await door.post("/v1/t", TRACK, {**BASIC, **origin})
    assert with_cookies.headers["access-control-allow-origin"] == "https://shop"
    assert with_cookies.headers["access-control-allow-credentials"] == "true"
    for answer in (good, with_cookies):
        assert answer.headers["access-control-expose-headers"] == "Retry-After"


async def test_a_get_of_an_ingest_path_is_told_to_post(door: Door) -> None:
    assert code(await door.client.get("/v1/batch")) == (405, "method_not_allowed")
    assert code(await door.client.get("/nothing")) == (404, "not_found")


def wrong(number: int) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"guess-{number}:".encode()).decode()}


async def test_an_address_that_guesses_keys_is_told_to_wait_and_asks_the_table_no_more(door: Door) -> None:
    statuses = [(await door.post("/v1/track", TRACK, wrong(number))).status_code for number in range(GUESSES + 5)]
    assert statuses == [401] * GUESSES + [429] * 5
    looks = door.table.looks
    answer = await door.post("/v1/track", TRACK, wrong(0))
    assert code(answer) == (429, "keys_guessed") and int(answer.headers["retry-after"]) >= 1
    assert code(await door.post("/v1/track?writeKey=other", TRACK)) == (429, "keys_guessed")
    for path in ("/v1/projects/guess/settings", "/sourceConfig?writeKey=guess"):
        answer = await door.client.get(path)
        assert code(answer) == (429, "keys_guessed") and int(answer.headers["retry-after"]) >= 1
    assert door.table.looks == looks, "nobody is asked"
    door.clock.advance(timedelta(seconds=60 / GUESSES))
    assert code(await door.post("/v1/track", TRACK, wrong(99)))[0] == 401, "the wait that was told is enough"


async def test_who_shares_an_address_with_a_guesser_goes_on(door: Door) -> None:
    assert is_success(await door.post("/v1/track", TRACK, BASIC))
    for number in range(2 * GUESSES):
        await door.post("/v1/track", TRACK, wrong(number))
    assert is_success(await door.post("/v1/track", TRACK, BASIC))
    bearer = {"authorization": "Bearer an.oauth.token"}
    assert is_success(await door.post("/v1/batch", {"batch": [TRACK], "writeKey": KEY}, bearer))
    elsewhere = {**wrong(1), "x-forwarded-for": "1.1.1.1"}
    assert code(await door.post("/v1/track", TRACK, elsewhere))[0] == 401, "another address behind the same proxy"
    door.clock.advance(timedelta(seconds=60))
    for number in range(2 * GUESSES):
        await door.post("/v1/track", TRACK, wrong(number))
    assert is_success(await door.post("/v1/track", TRACK, BASIC)), "a key that was known is no guess after a silence"


async def test_an_outage_of_the_table_is_nobodys_guess(door: Door) -> None:
    door.table.down = True
    for number in range(2 * GUESSES):
        assert code(await door.post("/v1/track", TRACK, wrong(number)))[0] == 503
    door.table.down = False
    assert code(await door.post("/v1/track", TRACK, wrong(0)))[0] == 401
