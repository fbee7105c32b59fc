"""Plain events through the front door's router into real Kafka: told event by event what became of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from cdp_eventlog.log import LogUnavailable, Outgoing
from cdp_ingest.api import SOURCE_ID, events_router
from cdp_ingest.service import EventsApi
from cdp_runtime.auth import Principal
from cdp_runtime.envelope import ApiError

from .conftest import Parts, free_ports, settings

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]
PROFILE = UUID(int=9)
EVENT = {"profileId": f"profile-{PROFILE.hex}", "type": "purchase", "properties": {"orderId": "O1", "amount": 249.99}}


class Tokens:
    """Each token is the workspace it belongs to; one may only read."""

    async def principal(self, token: str) -> Principal | None:
        scope = "events:read" if token == "reader" else "events:write"
        return Principal(token, "t", frozenset({scope}))


async def resolve(workspace_id: str, refs: Sequence[Any]) -> Mapping[Any, Any]:
    return {ref: PROFILE for ref in refs if ref == "email:ada@example.com"}


@dataclass
class Door:
    part: EventsApi
    client: httpx.AsyncClient
    workspace: str

    async def post(self, path: str, body: Any, token: str | None = None, **more: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body)
        headers = {"authorization": f"Bearer {token or self.workspace}", **more}
        return await self.client.post(path, content=content, headers=headers)


def opened(part: EventsApi) -> Door:
    app = FastAPI()
    app.state.authenticator, app.state.facets = Tokens(), {"resolve": resolve}
    app.include_router(events_router(part.gateway, part.limits))

    @app.exception_handler(ApiError)
    async def answer(request: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body(), error.status, error.headers)

    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door")
    return Door(part, client, f"ws-{uuid4().hex[:8]}")


@pytest.fixture
async def door(parts: Parts) -> AsyncIterator[Door]:
    part = EventsApi(settings(parts))
    await part.start()
    door = opened(part)
    yield door
    await door.client.aclose()
    await part.stop()


async def test_an_event_is_durable_counted_and_has_an_id(door: Door, parts: Parts) -> None:
    answer = await door.post("/events", EVENT)
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    stored = await parts.stored(door.workspace)
    assert (data["accepted"], data["ids"]) == (1, [stored[0].message_id])
    assert (stored[0].event, stored[0].channel, stored[0].source_id) == ("Order Completed", "api", SOURCE_ID)
    since = datetime.now(UTC) - timedelta(hours=1)
    async with asyncio.timeout(15):
        while not (rows := (await door.part.accepted(door.workspace, [since]))["rows"]):
            await asyncio.sleep(0.1)
    assert [(row["source_id"], row["count"]) for row in rows] == [(SOURCE_ID, 1)]
    assert rows == (await door.part.accepted(door.workspace, []))["rows"]


async def test_a_batch_is_judged_event_by_event(door: Door, parts: Parts) -> None:
    bad = {**EVENT, "timestamp": "2026-02-15T101:30:00.000Z"}
    answer = await door.post("/events/batch", {"events": [EVENT, bad, {**EVENT, "profileId": "email:ada@example.com"}]})
    data = answer.json()["data"]
    assert (answer.status_code, data["accepted"]) == (200, 2)
    assert [(fault["code"], fault["path"]) for fault in data["refused"]] == [("timestamp_invalid", "timestamp")]
    assert [fault["index"] for fault in data["refused"]] == [1]
    assert {event.profile_id for event in await parts.stored(door.workspace)} == {EVENT["profileId"]}
    assert [json.loads(event.raw) for event in await parts.refused(door.workspace)] == [bad]


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "fault_path"),
    [
        ("/events", {**EVENT, "timestamp": "2026-02-15T101:30:00.000Z"}, 422, "timestamp_invalid", "timestamp"),
        ("/events", {**EVENT, "profileId": "email:nobody@example.com"}, 422, "field_invalid", "profileId"),
        ("/events/batch", {"events": [{"type": "purchase"}]}, 422, "identity_missing", "userId"),
        ("/events", {**EVENT, "event": "half an emoji: \ud83d"}, 422, "lone_surrogate", ""),
        ("/events/batch", {"batch": []}, 400, "body_unreadable", "events"),
        ("/events", b"{", 400, "body_unreadable", None),
        ("/events", b" " * 600_000, 413, "body_too_large", None),
    ],
)
async def test_what_cannot_be_taken_is_told_with_its_path_and_leaves_no_trace(
    door: Door, parts: Parts, path: str, body: Any, status: int, code: str, fault_path: str | None
) -> None:
    answer = await door.post(path, body)
    told = answer.json()
    assert (answer.status_code, told["code"], told["success"]) == (status, code, False)
    assert [detail["path"] for detail in told["error"]["details"]] == ([] if fault_path is None else [fault_path])
    assert await parts.stored(door.workspace) == []
    assert await parts.refused(door.workspace) == []


async def test_a_repeat_with_the_same_key_after_an_uncertain_503_brings_the_same_events(
    door: Door, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = door.part._log.publish

    async def unacknowledged(messages: Sequence[Outgoing]) -> None:
        await publish(messages)
        raise LogUnavailable("the acknowledgement was lost")

    body = {"events": [EVENT, EVENT, {**EVENT, "messageId": "own"}]}
    monkeypatch.setattr(door.part._log, "publish", unacknowledged)
    assert (await door.post("/events/batch", body, **{"idempotency-key": "k-1"})).status_code == 503
    monkeypatch.undo()
    repeat = (await door.post("/events/batch", body, **{"idempotency-key": "k-1"})).json()["data"]
    stored = [event.message_id for event in await parts.stored(door.workspace)]
    assert len(stored) == 6
    assert stored[:3] == stored[3:] == repeat["ids"], "the reader of the log knows them by their ids"
    assert len(set(stored)) == 3
    others = [
        await door.post("/events/batch", body, **{"idempotency-key": "k-2"}),
        await door.post("/events/batch", {"events": body["events"][:2]}, **{"idempotency-key": "k-1"}),
        await door.post("/events/batch", body),
        await door.post("/events/batch", body),
    ]
    ids = [name for answer in others for name in answer.json()["data"]["ids"] if name != "own"]
    assert len({*ids, *stored}) == len(ids) + 3, "another key, another body or no key: other events"


async def test_a_token_without_the_scope_writes_nothing(door: Door) -> None:
    assert (await door.post("/events", EVENT, token="reader")).status_code == 403


async def test_while_kafka_is_away_the_door_says_which_part_is(parts: Parts) -> None:
    part = EventsApi(settings(parts, kafka_bootstrap_servers=f"127.0.0.1:{free_ports(1)[0]}"))
    door = opened(part)
    answer = await door.post("/events", EVENT)
    assert (answer.status_code, answer.json()["code"]) == (503, "kafka_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert "kafka" in part.faults()
    await door.client.aclose()
    await part.stop()
