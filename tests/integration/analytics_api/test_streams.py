"""What comes through Kafka: live listeners by WebSocket and SSE, and the quarantine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import websockets
from msgspec import Raw

from cdp_clickhouse.client import ClickHouse
from cdp_eventlog.brokers import Brokers
from cdp_eventlog.log import Outgoing
from cdp_eventlog.producer import KafkaProducer
from cdp_schemas.codec import encode
from cdp_schemas.events import IdentifiedEvent, Outcome, RefusedEvent
from cdp_schemas.profiles import profile_ref
from cdp_schemas.topics import EVENTS_IDENTIFIED, EVENTS_RECEIVED_DLQ

from .conftest import ADA, FrontDoor, insert_aliases

pytestmark = [pytest.mark.postgres, pytest.mark.clickhouse, pytest.mark.redis, pytest.mark.kafka]
TABLET = UUID("dddddddd-0000-4000-8000-00000000000d")
_offsets = iter(range(1_000, 1_000_000))


@pytest.fixture(scope="session")
async def producer(kafka_url: str) -> AsyncIterator[KafkaProducer]:
    producer = KafkaProducer(Brokers(kafka_url), client_id="test-front-door")
    await producer.start()
    yield producer
    await producer.stop()


def identified(workspace: str, name: str, *, node: UUID = ADA, outcome: Outcome = "stored", **facts: Any) -> bytes:
    now = datetime.now(UTC)
    event = IdentifiedEvent(
        workspace_id=workspace,
        source_id="web",
        message_id=facts.get("message_id", uuid4().hex),
        type="track",
        event=name,
        received_at=now,
        timestamp=now,
        properties=Raw(json.dumps(facts.get("properties", {})).encode()),
        node_id=node,
        received_partition=0,
        received_offset=next(_offsets),
        outcome=outcome,
    )
    return encode(event)


async def publish(producer: KafkaProducer, *values: bytes) -> None:
    await producer.publish([Outgoing(EVENTS_IDENTIFIED, b"k", value, partition=0) for value in values])


def address(door: FrontDoor, path: str = "/events/stream") -> str:
    return f"ws://127.0.0.1:{door.api.port}/api/cdp{path}"


async def message(socket: websockets.ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(20):
        found: dict[str, Any] = json.loads(await socket.recv())
    return found


async def test_a_listener_sees_its_workspace_live(door: FrontDoor, producer: KafkaProducer, store: ClickHouse) -> None:
    await insert_aliases(store, "acme", {TABLET: ADA})
    headers = {"Authorization": "Bearer everything"}
    async with websockets.connect(address(door), additional_headers=headers) as socket:
        assert await message(socket) == {"type": "ready"}
        await publish(
            producer,
            identified("rival", "Secret"),
            identified("acme", "Repeated", outcome="duplicate"),
            identified("acme", "Order Completed", node=TABLET, properties={"total": 5}),
        )
        seen = await message(socket)
    assert seen["type"] == "event"
    assert (seen["data"]["event"], seen["data"]["type"]) == ("Order Completed", "purchase")
    assert seen["data"]["profileId"] == profile_ref(ADA)
    assert seen["data"]["properties"] == {"total": 5}


async def test_a_listener_filters_and_a_browser_sends_its_token_as_a_subprotocol(
    door: FrontDoor, producer: KafkaProducer
) -> None:
    other = UUID("eeeeeeee-0000-4000-8000-00000000000e")
    query = "?type=purchase&profileId=email:ada@example.com"
    subprotocols = [websockets.Subprotocol("bearer"), websockets.Subprotocol("reader")]
    async with websockets.connect(address(door, "/ws/events") + query, subprotocols=subprotocols) as socket:
        assert socket.subprotocol == "bearer"
        assert await message(socket) == {"type": "ready"}
        await publish(
            producer,
            identified("acme", "Page Viewed"),
            identified("acme", "Order Completed", node=other),
            identified("acme", "Order Completed", message_id="mine", properties={"email": "ada@example.com"}),
        )
        seen = await message(socket)
    assert seen["data"]["id"] == "mine"
    assert seen["data"]["properties"] == {"email": "***"}, "the token reader may not see personal values"


async def test_server_sent_events_carry_the_same(door: FrontDoor, producer: KafkaProducer) -> None:
    lines: list[str] = []
    async with httpx.AsyncClient(timeout=20) as client:
        url = f"{door.url}/api/cdp/events/stream?token=everything&event=Chair%20Sat%20On"
        async with client.stream("GET", url, headers={"Accept": "text/event-stream"}) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for line in answer.aiter_lines():
                lines.append(line)
                if line == "event: ready":
                    await publish(producer, identified("acme", "Chair Sat On", message_id="chair"))
                if "chair" in line:
                    break
    assert json.loads(lines[-1].removeprefix("data: "))["id"] == "chair"


@pytest.mark.parametrize(("token", "status"), [("wrong", 401), ("nothing", 403)])
async def test_a_stream_needs_a_token_with_its_scope(
    door: FrontDoor, token: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with websockets.connect(address(door) + f"?token={token}"):
            pass
    assert refused.value.response.status_code == status
    assert [record.getMessage() for record in caplog.records if record.name == "uvicorn.error"] == []
    plain = await door.get("/events/stream")
    assert (plain.status_code, plain.json()["code"]) == (406, "not_acceptable")


async def test_a_stream_that_is_refused_is_on_record_like_one_that_is_opened(door: FrontDoor) -> None:
    seen = []
    for token in ("nothing", "everything"):
        headers = {"X-Request-Id": f"{uuid4().hex}-{token}"}
        try:
            async with websockets.connect(address(door) + f"?token={token}", additional_headers=headers):
                pass
        except websockets.InvalidStatus:
            pass
        async with door.pool.connection() as connection:
            rows = await connection.execute(
                "SELECT method, status FROM front.audit WHERE request_id = %s", (headers["X-Request-Id"],)
            )
            seen += await rows.fetchall()
    assert seen == [("WEBSOCKET", 403), ("WEBSOCKET", 101)]


async def test_refused_events_are_kept_once_with_reason_and_raw_bytes(door: FrontDoor, producer: KafkaProducer) -> None:
    source, now = uuid4().hex, datetime.now(UTC)

    def refused(raw: bytes, workspace: str = "acme") -> Outgoing:
        detail = "too large for 'email:ada@example.com'"
        event = RefusedEvent(workspace, source, "ingest", "too_large", detail, now, raw, path="batch[1]")
        return Outgoing(EVENTS_RECEIVED_DLQ, source.encode(), encode(event))

    await producer.publish([refused(b'{"event": "big"}'), refused(b"\xff\x00"), refused(b"theirs", "rival")])
    deadline = asyncio.get_running_loop().time() + 30
    items: list[dict[str, Any]] = []
    while len(items) < 2:
        assert asyncio.get_running_loop().time() < deadline
        data = (await door.get("/events/quarantine", reason="too_large")).json()["data"]
        items = [item for item in data["items"] if item["sourceId"] == source]
        await asyncio.sleep(0.1)
    assert {(item["raw"], item["encoding"]) for item in items} == {('{"event": "big"}', "utf-8"), ("/wA=", "base64")}
    assert {item["path"] for item in items} == {"batch[1]"}
    assert {item["detail"] for item in items} == {"too large for 'email:ada@example.com'"}
    theirs = (await door.get("/events/quarantine", token="stranger")).json()["data"]["items"]
    assert [item["raw"] for item in theirs if item["sourceId"] == source] == ["theirs"]
    narrow = (await door.get("/events/quarantine", token="reader")).json()["data"]["items"]
    assert {item["raw"] for item in narrow} == {"***"}
    assert {item["detail"] for item in narrow if item["sourceId"] == source} == {"too large for ***"}


async def test_the_quarantine_pages(door: FrontDoor) -> None:
    first = (await door.get("/events/quarantine", limit=1)).json()["data"]
    second = (await door.get("/events/quarantine", limit=1, cursor=first["nextCursor"])).json()["data"]
    assert first["items"][0]["id"] != second["items"][0]["id"]


async def test_a_page_of_large_refused_events_ends_sooner_and_its_cursor_goes_on(door: FrontDoor) -> None:
    async with door.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO front.quarantine"
            ' (workspace_id, partition, "offset", source_id, stage, reason, detail, path, received_at, raw)'
            " SELECT 'heavy', 9, 1000000 + n, 'web', 'ingest', 'event_too_large', '', '', now(),"
            " convert_to(repeat('x', 900000), 'UTF8') FROM generate_series(1, 25) AS n"
        )
    shown: list[str] = []
    sizes, more = [], {}
    while not shown or more:
        answer = await door.get("/events/quarantine", token="heavy", **more)
        data = answer.json()["data"]
        sizes.append(len(answer.content))
        shown += [item["id"] for item in data["items"]]
        more = {"cursor": data["nextCursor"]} if data["nextCursor"] else {}
    assert shown == [f"quarantine-9-{1000000 + n}" for n in range(25, 0, -1)]
    assert max(sizes) < 10_000_000
