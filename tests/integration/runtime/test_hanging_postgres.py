"""A Postgres that stands still with its connections open is told of by all who need it, until it goes on."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.databases import fresh_database
from tests.processes import CdpProcess, environment, until

from cdp_devstack.background import BackgroundStack
from cdp_devstack.parts import Part
from cdp_eventlog.brokers import Brokers
from cdp_eventlog.topics import create_topics
from cdp_runtime.migrate import migrate_clickhouse

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.clickhouse, pytest.mark.slow]
NEED_IT = ("resolver", "recorder", "segmenter", "activation")


@contextmanager
def stopped(parts: BackgroundStack) -> Iterator[None]:
    """The server with the processes behind its connections, each of which is a session's leader."""
    server = parts.pid(Part.POSTGRES)
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    try:
        for pid in (server, *map(int, children)):
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in (*map(int, children), server):
            os.kill(pid, signal.SIGCONT)


@pytest.fixture
async def settings(kafka_url: str, postgres_url: str, clickhouse_url: str, tmp_path: Path) -> dict[str, str]:
    url = await fresh_database(postgres_url, "hanging_postgres_test")
    await migrate_clickhouse(clickhouse_url)
    await create_topics(Brokers(kafka_url))
    return environment(
        CDP_KAFKA_BOOTSTRAP_SERVERS=kafka_url,
        CDP_POSTGRES_URL=url,
        CDP_CLICKHOUSE_URL=clickhouse_url,
        CDP_DATA_DIR=str(tmp_path),
    )


def tells(process: CdpProcess) -> bool:
    return "does not answer" in httpx.get(f"{process.admin}/readyz").json()["faults"].get("postgres", "")


async def test_who_needs_a_postgres_that_stands_still_says_so(
    settings: dict[str, str], local_parts: BackgroundStack, tmp_path: Path
) -> None:
    processes = [CdpProcess(("run", name), settings, tmp_path / f"{name}.log") for name in NEED_IT]
    try:
        for process in processes:
            process.start()
        for process in processes:
            await asyncio.to_thread(process.wait_until_ready)
        with stopped(local_parts):
            await asyncio.to_thread(until, lambda: all(map(tells, processes)), 40)
        for process in processes:
            await asyncio.to_thread(process.wait_until_ready, 40)
            process.signal(signal.SIGTERM)
        assert [await asyncio.to_thread(process.ended) for process in processes] == [0] * len(NEED_IT)
    finally:
        for process in processes:
            process.close()
