"""The gateway over real HTTP into real Kafka and Postgres: what is answered 200 is there, exactly as it was sent."""

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from cdp_ingest.adapters.postgres import PostgresAccepted, PostgresSources
from cdp_ingest.adapters.postgres_sources import NewSource, create_source
from cdp_ingest.adapters.redis import RedisSpending
from cdp_ingest.hot import ROUTES
from cdp_ingest.ports import AcceptedRow
from cdp_ingest.service import IngestService, seed_local
from cdp_runtime.auth import hash_token
from cdp_runtime.postgres import open_pool

from .conftest import Gateway, Parts, free_ports, ids, running, settings, stopped, track

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]


async def test_every_path_stores_what_it_acknowledged(gateway: Gateway, parts: Parts) -> None:
    workspace, key = await parts.source()
    sent = {}
    for path, route in ROUTES.items():
        event = track(f"user-{path}")
        body = {"batch": [event, event | {"messageId": uuid4().hex}]} if route.shape == "batch" else event
        answer = await gateway.post(path, body, key)
        assert (answer.status_code, answer.content) == (200, b'{"success":true}'), path
        if route.shape != "discard":
            sent[event["messageId"]] = route
    stored = {event.message_id: event for event in await parts.stored(workspace)}
    assert len(stored) == len(sent) + sum(route.shape == "batch" for route in sent.values())
    for message_id, route in sent.items():
        assert stored[message_id].channel == route.channel
        assert stored[message_id].type == (route.call or "track")


async def test_accepted_events_are_counted_in_postgres_and_bad_ones_kept_apart(gateway: Gateway, parts: Parts) -> None:
    workspace, key = await parts.source()
    good = [track(f"u{number}") for number in range(20)]
    bad = [{"type": "track"}, {"type": "track", "event": "E", "userId": "u", "properties": {"a": "\0"}}]
    answer = await gateway.post("/v1/batch", {"batch": [*good[:10], *bad, *good[10:]]}, key)
    assert answer.status_code == 200
    assert sorted(ids(await parts.stored(workspace))) == sorted(event["messageId"] for event in good)
    refused = await parts.refused(workspace)
    assert {event.reason for event in refused} == {"identity_missing", "nul_character"}
    assert [json.loads(event.raw) for event in refused] == bad
    async with asyncio.timeout(15):
        while await parts.counted(workspace) != 20:
            await asyncio.sleep(0.1)


async def test_a_source_that_needs_consent_keeps_what_was_granted_and_every_change(
    gateway: Gateway, parts: Parts
) -> None:
    workspace, key = f"ws-{uuid4().hex[:10]}", uuid4().hex
    async with await psycopg.AsyncConnection.connect(parts.postgres) as connection:
        assert await create_source(connection, NewSource(workspace, "web", "Shop", key, ("analytics",)))
    yes, no = ({"consent": {"categoryPreferences": {"analytics": granted}}} for granted in (True, False))
    sent = [
        {**track("u", "granted"), "context": yes},
        {**track("u", "denied"), "context": no},
        track("u", "silent"),
        {"type": "identify", "userId": "u", "messageId": "withdrawn", "traits": {"age": 7}, "context": no},
    ]
    assert (await gateway.post("/v1/batch", {"batch": sent}, key)).status_code == 200
    granted, withdrawn = sorted(await parts.stored(workspace), key=lambda event: event.message_id)
    assert (granted.message_id, json.loads(bytes(granted.context))) == ("granted", yes)
    assert (withdrawn.message_id, json.loads(bytes(withdrawn.context))) == ("withdrawn", no)
    assert bytes(withdrawn.traits) == b"{}"
    refused = await parts.refused(workspace)
    assert {(event.message_id, event.reason) for event in refused} == {("denied", "consent"), ("silent", "consent")}
    async with asyncio.timeout(15):
        while await parts.counted(workspace) != 2:
            await asyncio.sleep(0.1)


async def test_calls_with_an_unknown_key_are_kept_when_the_gateway_is_told_so(parts: Parts) -> None:
    gateway, starting = await running(settings(parts, ingest_unknown_keys="quarantine"))
    try:
        await starting
        body = {"batch": [track("u")], "writeKey": uuid4().hex}
        assert (await gateway.post("/v1/b", body)).status_code == 200
        assert body in [json.loads(event.raw) for event in await parts.refused("")]
    finally:
        await stopped(gateway, starting)


async def test_one_persons_events_stay_in_order(gateway: Gateway, parts: Parts) -> None:
    workspace, key = await parts.source()
    for _ in range(3):
        await gateway.post("/v1/batch", {"batch": [track("ada", uuid4().hex) for _ in range(100)]}, key)
    numbered = [track("grace", f"{number:04}") for number in range(500)]
    for start in range(0, 500, 100):
        await gateway.post("/v1/batch", {"batch": numbered[start : start + 100]}, key)
    graces = [event.message_id for event in await parts.stored(workspace) if event.user_id == "grace"]
    assert graces == [event["messageId"] for event in numbered]


async def test_gzip_and_chunked_bodies_arrive(gateway: Gateway, parts: Parts) -> None:
    workspace, key = await parts.source()
    body = gzip.compress(json.dumps({"batch": [track("u")] * 3, "writeKey": key}).encode())

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 11):
            yield body[start : start + 11]

    headers = {"content-encoding": "gzip", "content-type": "text/plain"}
    answer = await gateway.client.post(gateway.url + "/v1/b", content=chunks(), headers=headers)
    assert answer.status_code == 200
    stored = await parts.stored(workspace)
    assert len(stored) == 3
    assert json.loads(bytes(stored[0].context))["ip"] == "127.0.0.1"


async def test_the_answer_to_a_much_too_large_body_can_be_read(gateway: Gateway, parts: Parts) -> None:
    _, key = await parts.source()
    answer = await gateway.post("/v1/batch", b"x" * 3_000_000, key)
    assert (answer.status_code, answer.json()["code"]) == (400, "body_too_large")
    assert (await gateway.post("/v1/t", track("u"), key)).status_code == 200


async def test_a_client_that_goes_away_in_the_middle_costs_nothing(gateway: Gateway, parts: Parts) -> None:
    _, key = await parts.source()
    host, port = gateway.url.removeprefix("http://").split(":")
    for _ in range(20):
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\n\r\n{" + b" " * 50_000)
    assert (await gateway.post("/v1/t", track("u"), key)).status_code == 200
    async with asyncio.timeout(10):
        while gateway.service._in_flight.total:
            await asyncio.sleep(0.05)


async def test_wrong_keys_and_preflights_over_the_wire(gateway: Gateway) -> None:
    assert (await gateway.post("/v1/t", track("u"), "nobody")).status_code == 401
    preflight = await gateway.client.options(gateway.url + "/v1/t", headers={"origin": "https://shop"})
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"


async def test_while_kafka_is_away_from_the_start_the_answer_is_503_within_seconds(parts: Parts) -> None:
    _, key = await parts.source()
    nowhere = f"127.0.0.1:{free_ports(1)[0]}"
    gateway, starting = await running(settings(parts, kafka_bootstrap_servers=nowhere))
    try:
        async with asyncio.timeout(15):
            answers = await asyncio.gather(*(gateway.post("/v1/t", track("u"), key) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {503}
        assert {answer.json()["code"] for answer in answers} == {"log_unavailable"}
        assert all(1 <= int(answer.headers["retry-after"]) <= 300 for answer in answers)
        assert "kafka" in gateway.service.faults()
    finally:
        await stopped(gateway, starting)


async def test_while_postgres_is_away_from_the_start_no_key_is_called_unknown(parts: Parts) -> None:
    nowhere = f"postgresql://cdp:cdp@127.0.0.1:{free_ports(1)[0]}/cdp"
    gateway, starting = await running(settings(parts, postgres_url=nowhere))
    try:
        await starting
        # side by side: each waits for Postgres as long as it may
        answer, document = await asyncio.gather(
            gateway.post("/v1/t", track("u"), "any-key"),
            gateway.client.get(gateway.url + "/v1/projects/another-key/settings"),
        )
        assert (answer.status_code, answer.json()["code"]) == (503, "sources_unavailable")
        assert document.status_code == 200
    finally:
        await stopped(gateway, starting)


async def test_a_taken_port_is_told_at_once(gateway: Gateway, parts: Parts) -> None:
    second = IngestService(settings(parts, ingest_port=gateway.service.port))
    with pytest.raises(OSError, match="in use"):
        await second.start()
    await second.stop()


async def test_the_local_source_is_made_once(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    await seed_local(parts.postgres)
    await seed_local(parts.postgres)
    async with await psycopg.AsyncConnection.connect(parts.postgres) as connection:
        sql = "SELECT workspace_id, enabled FROM ingest.sources WHERE write_key_hash = %s"
        rows = await (await connection.execute(sql, (hash_token("demo-write-key"),))).fetchall()
    assert rows == [("demo", True)]


async def test_counts_are_set_not_added_and_read_back_per_minute(parts: Parts) -> None:
    pool = await open_pool(parts.postgres, name="test")
    try:
        table, workspace = PostgresAccepted(pool), f"ws-{uuid4().hex}"
        minute = datetime.now(UTC).replace(second=0, microsecond=0)
        rows = [AcceptedRow(workspace, "s", minute, run, total) for run, total in (("a", 5), ("b", 2))]
        for _ in range(2):
            await table.record(rows)
        await table.record([AcceptedRow(workspace, "s", minute, "a", 4)])  # a late repeat never takes back
        assert await table.read(workspace, minute) == [{"source_id": "s", "minute": minute, "count": 7}]
        await table.forget(minute + timedelta(minutes=1))
        assert await table.read(workspace, minute) == []
        assert await PostgresSources(pool).source("no such hash") is None
    finally:
        await pool.close()


@pytest.mark.parametrize("option", ["default_transaction_read_only=on", "role=cdp_front_door"])
async def test_counts_wait_for_a_postgres_that_does_not_take_them(parts: Parts, option: str) -> None:
    pool = await open_pool(f"{parts.postgres}?options=-c%20{option.replace('=', '%3D')}", name="test")
    try:
        row = AcceptedRow("ws-refused", "source", datetime(2026, 11, 20, tzinfo=UTC), "run", 1)
        with pytest.raises(OSError, match=r"read-only|permission denied"):
            await PostgresAccepted(pool).record([row])
    finally:
        await pool.close()


@pytest.mark.redis
async def test_gateways_share_what_sources_spend_through_redis(redis_url: str) -> None:
    one, two = RedisSpending(redis_url), RedisSpending(redis_url)
    source = uuid4().hex
    assert await one.exchange({source: 3}) == {}
    assert await two.exchange({}) == {}
    assert await one.exchange({source: 4}) == {}
    assert await two.exchange({source: 10}) == {source: 4}
    assert await one.exchange({}) == {source: 10}
    await one.stop()
    await two.stop()
    nowhere = RedisSpending(f"redis://127.0.0.1:{free_ports(1)[0]}/0")
    with pytest.raises(OSError, match="Redis"):
        await nowhere.exchange({})
    await nowhere.stop()
