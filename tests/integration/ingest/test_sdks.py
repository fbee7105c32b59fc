"""The unmodified SDKs against the running gateway: every event once, as it was sent."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import rudderstack.analytics as rudder
import segment.analytics as segment

from .conftest import Gateway, Parts

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]


class Failures:
    """What an SDK reports as failed."""

    def __init__(self) -> None:
        self.errors: list[object] = []

    def __call__(self, error: object, items: object) -> None:
        self.errors.append(error)


def send(client: segment.Client | rudder.Client) -> None:
    client.identify("u-1", {"email": "ada@example.com"})
    client.alias("anonymous-1", "u-1")
    client.group("u-1", "g-1", {"plan": "pro"})
    client.page("u-1", "Docs", "Home", {"path": "/"})
    client.screen("u-1", "Docs", "Start")
    for number in range(240):
        client.track(
            f"u-{number % 7}", "Product Viewed", {"n": number, "text": "grüße 😀"}, timestamp=datetime.now(UTC)
        )
    client.flush()
    client.join()


@pytest.mark.parametrize("gzip", [False, True])
@pytest.mark.parametrize("make", [segment.Client, rudder.Client], ids=["segment", "rudder"])
async def test_a_python_sdk_delivers_every_event_once(
    gateway: Gateway, parts: Parts, make: Callable[..., segment.Client | rudder.Client], gzip: bool
) -> None:
    workspace, key = await parts.source()
    failures = Failures()
    client = make(key, host=gateway.url, gzip=gzip, on_error=failures, max_retries=1, sync_mode=False)
    await asyncio.to_thread(send, client)
    assert failures.errors == []
    stored = await parts.stored(workspace)
    assert len(stored) == 245
    assert len({event.message_id for event in stored}) == 245
    assert await parts.refused(workspace) == []
    calls = {event.type: event for event in stored}
    assert set(calls) == {"identify", "alias", "group", "page", "screen", "track"}
    assert json.loads(bytes(calls["identify"].traits)) == {"email": "ada@example.com"}
    assert (calls["alias"].previous_id, calls["group"].group_id) == ("anonymous-1", "g-1")
    assert json.loads(bytes(calls["page"].properties)) == {"category": "Docs", "name": "Home", "path": "/"}
    tracks = [json.loads(bytes(event.properties)) for event in stored if event.type == "track"]
    assert sorted(properties["n"] for properties in tracks) == list(range(240))
    assert {properties["text"] for properties in tracks} == {"grüße 😀"}
    assert all(abs((event.timestamp - event.received_at).total_seconds()) < 300 for event in stored)


async def test_an_sdk_with_a_wrong_key_is_told_so_in_words_it_can_read(gateway: Gateway) -> None:
    failures = Failures()
    client = segment.Client("no-such-key", host=gateway.url, on_error=failures, max_retries=1)
    client.track("u", "E")
    await asyncio.to_thread(client.flush)
    await asyncio.to_thread(client.join)
    assert [getattr(error, "status", None) for error in failures.errors] == [401]
    assert getattr(failures.errors[0], "code", None) == "write_key_unknown"
