"""Kills, outages and drains under load: what was answered 200 is in the log, and nothing is answered 200 in vain."""

import asyncio
import re
import signal
from collections import Counter
from dataclasses import dataclass, field
from uuid import uuid4

import httpx
import psutil
import pytest
from tests.processes import until

from cdp_devstack.background import BackgroundStack
from cdp_devstack.parts import Part

from .conftest import Gateway, GatewayProcess, Parts, ids, running, settings, stopped, track

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]


@dataclass
class Load:
    """Clients that send events one by one and in batches until they are told to stop, and remember each answer."""

    url: str
    key: str
    acknowledged: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    running: bool = True

    async def run(self, clients: int = 8) -> None:
        await asyncio.gather(*(self._client(number) for number in range(clients)))

    async def _client(self, number: int) -> None:
        async with httpx.AsyncClient(timeout=40, auth=(self.key, "")) as client:
            while self.running:
                events = [track(f"u{number}", uuid4().hex) for _ in range(1 if number % 2 else 20)]
                try:
                    answer = await client.post(f"{self.url}/v1/batch", json={"batch": events})
                except httpx.HTTPError:
                    self.unanswered += 1
                    await asyncio.sleep(0.05)
                    continue
                self.answers[answer.status_code] += 1
                kept = self.acknowledged if answer.status_code == 200 else self.refused
                kept.extend(event["messageId"] for event in events)
                if answer.status_code != 200:
                    await asyncio.sleep(0.1)

    async def answered(self, status: int, more: int = 20, seconds: float = 60) -> None:
        """Returns when so many more answers of that status have come."""
        goal = self.answers[status] + more
        async with asyncio.timeout(seconds):
            while self.answers[status] < goal:
                await asyncio.sleep(0.02)


async def test_a_broker_that_is_killed_means_503_and_then_everything_goes_on(
    broker: BackgroundStack, parts: Parts
) -> None:
    workspace, key = await parts.source()
    gateway, starting = await running(settings(parts, ingest_ack_seconds=3))
    load = Load(gateway.url, key)
    try:
        await starting
        sending = asyncio.create_task(load.run())
        await load.answered(200)
        await asyncio.to_thread(broker.kill, Part.KAFKA)
        await load.answered(503)
        assert "kafka" in gateway.service.faults()
        acknowledged_before = len(load.acknowledged)
        await load.answered(503)
        assert len(load.acknowledged) == acknowledged_before
        await asyncio.to_thread(broker.restart, Part.KAFKA)
        await load.answered(200)
        load.running = False
        await sending
        assert gateway.service.faults() == {}
        assert set(load.answers) == {200, 503}
        stored = ids(await parts.stored(workspace))
        assert set(load.acknowledged) <= set(stored)
        assert Counter(stored).most_common(1)[0][1] == 1
    finally:
        load.running = False
        await stopped(gateway, starting)


async def test_a_gateway_that_nobody_asks_is_ready_again_when_the_broker_is(
    broker: BackgroundStack, parts: Parts
) -> None:
    _, key = await parts.source()
    gateway, starting = await running(settings(parts, ingest_ack_seconds=2))
    try:
        await starting
        assert (await gateway.post("/v1/t", track("u"), key)).status_code == 200
        await asyncio.to_thread(broker.kill, Part.KAFKA)
        assert (await gateway.post("/v1/t", track("u"), key)).status_code == 503
        assert "kafka" in gateway.service.faults()
        await asyncio.to_thread(broker.restart, Part.KAFKA)
        async with asyncio.timeout(20):  # a load balancer sends nobody to whom is not ready
            while gateway.service.faults():
                await asyncio.sleep(0.1)
    finally:
        await stopped(gateway, starting)


async def test_postgres_away_in_the_middle_is_not_noticed_by_known_sources(parts: Parts, gateway: Gateway) -> None:
    _, key = await parts.source()
    other, starting = await running(settings(parts, ingest_source_cache_seconds=0))
    try:
        await starting
        assert (await other.post("/v1/t", track("u"), key)).status_code == 200
        await other.service._pool.close()
        for _ in range(3):
            assert (await other.post("/v1/t", track("u"), key)).status_code == 200
        answer = await other.post("/v1/t", track("u"), "a-key-never-seen")
        assert (answer.status_code, answer.json()["code"]) == (503, "sources_unavailable")
    finally:
        await other.client.aclose()
        await other.service._server.stop()
        await other.service._log.stop()
        for task in other.service._tasks:
            task.cancel()


async def test_sigterm_answers_what_is_open_writes_the_counts_and_ends(process: GatewayProcess, parts: Parts) -> None:
    workspace, key = await parts.source()
    await asyncio.to_thread(process.start)
    load = Load(process.url, key)
    sending = asyncio.create_task(load.run())
    await load.answered(200, more=50)
    process.signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.ended) == 0
    load.running = False
    await sending
    assert set(load.answers) == {200}
    stored = ids(await parts.stored(workspace))
    assert set(load.acknowledged) <= set(stored)
    assert await parts.counted(workspace) == len(stored)


async def test_kill_9_loses_nothing_that_was_acknowledged(process: GatewayProcess, parts: Parts) -> None:
    workspace, key = await parts.source()
    await asyncio.to_thread(process.start)
    load = Load(process.url, key)
    sending = asyncio.create_task(load.run())
    await load.answered(200, more=50)
    process.signal(signal.SIGKILL)
    await asyncio.to_thread(process.ended)
    await asyncio.to_thread(process.start)
    await load.answered(200, more=50, seconds=90)
    load.running = False
    await sending
    assert load.unanswered > 0
    assert set(load.acknowledged) <= set(ids(await parts.stored(workspace)))


async def test_two_workers_share_the_port_their_metrics_add_up_and_a_killed_one_is_replaced(
    process: GatewayProcess, parts: Parts
) -> None:
    workspace, key = await parts.source()
    process.environment["CDP_INGEST_WORKERS"] = "2"
    await asyncio.to_thread(process.start)
    workers = await asyncio.to_thread(both_workers, process)
    load = Load(process.url, key)
    sending = asyncio.create_task(load.run(clients=16))
    await load.answered(200, more=50)
    workers[0].kill()
    await load.answered(200, more=50)
    load.running = False
    await sending
    assert set(load.acknowledged) <= set(ids(await parts.stored(workspace)))
    told = (await asyncio.to_thread(httpx.get, f"{process.admin}/metrics")).text
    assert told_value(told, "cdp_ingest_events_accepted_total") >= len(load.acknowledged)
    replaced = await asyncio.to_thread(both_workers, process)
    assert workers[0].pid not in {worker.pid for worker in replaced}
    told = (await asyncio.to_thread(httpx.get, f"{process.admin}/metrics")).text
    assert re.findall(r"^(cdp_process_ready.*) 1", told, re.MULTILINE) == ["cdp_process_ready"], "of no dead process"
    assert told_value(told, "process_resident_memory_bytes") > sum(worker.memory_info().rss for worker in replaced) / 2
    assert told_value(told, "process_cpu_seconds_total") > 0 < told_value(told, "process_open_fds")
    process.signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.ended) == 0
    until(lambda: not any(worker.is_running() for worker in replaced), 10)


async def test_workers_end_with_the_process_that_watches_them(process: GatewayProcess) -> None:
    process.environment["CDP_INGEST_WORKERS"] = "2"
    await asyncio.to_thread(process.start)
    workers = await asyncio.to_thread(both_workers, process)
    process.signal(signal.SIGKILL)
    await asyncio.to_thread(process.ended)
    await asyncio.to_thread(until, lambda: not any(worker.is_running() for worker in workers), 30)


def told_value(metrics: str, name: str) -> float:
    found = re.search(rf"^{name} ([0-9.e+]+)$", metrics, re.MULTILINE)
    assert found is not None, name
    return float(found.group(1))


def both_workers(process: GatewayProcess) -> list[psutil.Process]:
    """The two worker processes, once both are there."""
    assert process.process is not None
    watcher = psutil.Process(process.process.pid)
    until(lambda: len(watcher.children()) == 2, 60)
    return watcher.children()
