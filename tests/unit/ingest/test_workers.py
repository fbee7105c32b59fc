"""The watcher of the gateway's workers asks each itself, and says what they wait for, also when none lives."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest

from cdp_ingest.workers import GatewayWorkers
from cdp_runtime.admin import AdminServer

AWAY = "Kafka at 127.0.0.1:9092 does not answer"


@pytest.fixture
async def workers() -> AsyncIterator[GatewayWorkers]:
    """None of them is started."""
    workers = GatewayWorkers("127.0.0.1", 0, 2)
    yield workers
    await workers.stop()


async def asked(workers: GatewayWorkers, faults: Mapping[str, str]) -> Mapping[str, str]:
    """What is said once a worker with these faults has been asked."""
    admin = AdminServer("127.0.0.1", 0, lambda: faults)
    watching = asyncio.create_task(workers._workers[1]._watch(await admin.start()))
    try:
        before, end = workers.faults(), asyncio.get_running_loop().time() + 3
        while workers.faults() == before and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.01)
        return workers.faults()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await admin.stop()


async def test_workers_are_asked_past_the_proxy_that_others_are_asked_through(
    workers: GatewayWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert workers.faults() != {}
    assert await asked(workers, {}) == {}


async def test_what_the_workers_wait_for_is_said(workers: GatewayWorkers) -> None:
    assert AWAY in (await asked(workers, {"kafka": AWAY})).values()


async def test_a_gateway_without_a_worker_tells_that_it_is_not_ready(workers: GatewayWorkers) -> None:
    admin = AdminServer("127.0.0.1", 0, workers.faults, metrics=workers.metrics)
    port = await admin.start()
    async with httpx.AsyncClient(trust_env=False) as client:
        told = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    await admin.stop()
    assert "\ncdp_process_ready 0.0\n" in told
