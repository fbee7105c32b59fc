"""P5 and P14: CPU per event from HTTP to both stores and 100 segments; event acknowledged -> entered visible."""

import asyncio
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from aiokafka import AIOKafkaConsumer
from tests.millrace import Millrace

from bench import load
from bench.machine import cpu_seconds, family, wait_idle
from bench.report import Row
from cdp_schemas.codec import Codec
from cdp_schemas.nodes import node_id
from cdp_schemas.segments import MembershipChanged
from cdp_schemas.topics import MEMBERSHIPS_CHANGED

BATCHES, SINGLES, BATCH = 270, 3_000, 100
WARMUP_RUN, MEASURED_RUN = 1, 2
PROBES = 50


@contextmanager
def running() -> Iterator[Millrace]:
    """A whole stack on an empty folder."""
    folder = Path(tempfile.mkdtemp(prefix="millrace-bench-"))
    stack = Millrace(folder / "data")
    try:
        stack.start()
        yield stack
    finally:
        if stack.process is not None and stack.process.poll() is None:
            stack.stop()
        shutil.rmtree(folder, ignore_errors=True)


def segments(stack: Millrace, count: int) -> list[str]:
    """A hundred rules of the usual kinds: traits, revenue, counts in windows, products, NOT."""
    made = []
    for number in range(count):
        conditions: list[Any] = [
            {"field": "attributes.country", "operator": "=", "value": ["GB", "US", "DE", "FR"][number % 4]},
            {"field": "computed.ltv", "operator": ">", "value": 10 * number},
            {"event": "Product Viewed", "count": {"min": 1 + number % 7}, "window": f"P{1 + number % 30}D"},
            {
                "operator": "NOT",
                "conditions": [{"event": "purchase", "count": {"min": 1}, "window": f"P{1 + number % 9}D"}],
            },
            {"field": "attributes.plan", "operator": "in", "value": ["a", "b"]},
        ]
        chosen = [conditions[number % 5], conditions[(number // 5 + 2) % 5]]
        rules = {"operator": ("AND", "OR")[number % 2], "conditions": chosen}
        answer = stack.api("POST", "/segments", json={"name": f"bench {number}", "type": "rule-based", "rules": rules})
        assert answer.is_success, answer.text
        made.append(answer.json()["data"]["id"])
    return made


def end_to_end(stack: Millrace) -> tuple[Row, float]:
    """P5. Returns the row and the rate in events per second at which everything was through."""
    _send_all(stack, WARMUP_RUN, 40, 400)
    pids = _pids(stack)
    wait_idle(pids)
    before = cpu_seconds(pids)
    there = _rows(stack)
    start = time.perf_counter()
    sent = _send_all(stack, MEASURED_RUN, BATCHES, SINGLES)
    _recorded(stack, there + sent)
    rate = sent / (time.perf_counter() - start)
    wait_idle(pids, below=0.25)
    micros = (cpu_seconds(pids) - before) / sent * 1e6
    _by_process(stack)
    row = Row("P5", "end to end, total CPU per event", micros, "µs", None, None, "≤ 400 µs", micros <= 400)
    return row, rate


async def freshness(stack: Millrace, rate: float) -> Row:
    """P14 at 70 % of ``rate``: seconds from the 200 of a probe's event to its entered message, p99."""
    segment = stack.api(
        "POST",
        "/segments",
        json={
            "name": f"probe {uuid.uuid4().hex[:6]}",
            "type": "rule-based",
            "rules": {"operator": "AND", "conditions": [{"event": "Probe Sent", "count": {"min": 1}}]},
        },
    ).json()["data"]["id"]
    consumer = AIOKafkaConsumer(MEMBERSHIPS_CHANGED, bootstrap_servers=f"127.0.0.1:{stack.ports['KAFKA']}")
    await consumer.start()
    await asyncio.to_thread(stack.until, "the segment is ready", lambda: stack.data(f"/segments/{segment}"), bool)
    acknowledged: dict[Any, float] = {}
    seen: dict[Any, float] = {}
    watching = asyncio.create_task(_watch(consumer, segment, seen))
    over = asyncio.Event()
    background = asyncio.create_task(_steady(stack, rate * 0.7, over))
    async with httpx.AsyncClient(base_url=stack.gateway, auth=("demo-write-key", "")) as http:
        for number in range(PROBES):
            user = f"probe-{uuid.uuid4().hex[:10]}"
            answer = await http.post(
                "/v1/track", json={"userId": user, "event": "Probe Sent", "properties": {"n": number}}
            )
            assert answer.status_code == 200, answer.text
            acknowledged[node_id("demo", "user_id", user)] = time.monotonic()
            await asyncio.sleep(0.3)
    deadline = time.monotonic() + 60
    while len(seen) < len(acknowledged) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    over.set()
    await background
    watching.cancel()
    await consumer.stop()
    waits = sorted(seen.get(profile, float("inf")) - at for profile, at in acknowledged.items())
    p99 = waits[min(len(waits) - 1, int(len(waits) * 0.99))]
    return Row("P14", "acknowledged → entered visible, p99 at 70 % load", p99, "s", None, None, "≤ 5 s", p99 <= 5)


async def _watch(consumer: AIOKafkaConsumer, segment: str, seen: dict[Any, float]) -> None:
    codec = Codec(MembershipChanged)
    async for message in consumer:
        change = codec.decode(message.value)
        if change.segment_id == segment and change.change == "entered":
            seen.setdefault(change.profile_id, time.monotonic())


async def _steady(stack: Millrace, rate: float, over: asyncio.Event) -> None:
    """Batches of 100 on a schedule fixed in advance."""
    made = load.requests(max(1, int(rate * 0.5)), BATCH, run=int(time.time()) % 100_000)
    pause, number = BATCH / rate, 0
    start = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.ports["INGEST"])
    while not over.is_set() and number < len(made):
        await asyncio.sleep(max(0.0, start + number * pause - time.perf_counter()))
        writer.write(made[number])
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        number += 1
    writer.close()


def _send_all(stack: Millrace, run: int, batches: int, singles: int) -> int:
    """90 % of the events in batches of 100, 10 % alone; returns how many were accepted."""
    port = stack.ports["INGEST"]
    many = load.run(port, load.requests(batches, BATCH, run=run), None, 8)
    alone = load.run(port, load.requests(singles, 1, run=run + 100), None, 16)
    assert many.failures == alone.failures == 0, "the gateway refused some of the load"
    return many.answers * BATCH + alone.answers


def _recorded(stack: Millrace, expected: int) -> None:
    """Returns when ClickHouse holds as many events."""
    stack.until("everything is recorded", lambda: _rows(stack), lambda rows: rows >= expected, 300)


def _rows(stack: Millrace) -> int:
    """Events in ClickHouse, which it knows without reading any."""
    sql = "SELECT count() FROM cdp.events"
    return int(httpx.post(f"http://127.0.0.1:{stack.ports['CLICKHOUSE']}/", content=sql, timeout=30).text)


def _pids(stack: Millrace) -> list[int]:
    assert stack.process is not None
    return family(stack.process.pid)


def _by_process(stack: Millrace) -> None:
    """Where the time goes, for the reader of the output."""
    for pid in _pids(stack):
        try:
            process = psutil.Process(pid)
            name = " ".join(process.cmdline())[-48:]
            used = process.cpu_times()
        except psutil.Error:
            continue
        if used.user + used.system > 1:
            print(f"    {used.user + used.system:8.1f} s CPU since start  {name}")
