"""Single events at fixed times -> when each was acknowledged, in the counters of ClickHouse, and in its segment."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import httpx
from aiokafka import AIOKafkaConsumer

from bench.whole import Whole
from cdp_schemas.nodes import node_id
from cdp_schemas.segments import read_memberships
from cdp_schemas.topics import MEMBERSHIPS_CHANGED

EVENT = "Probe Sent"
_LOOK_EVERY = 0.2  # each look costs the store as much as a small evaluation: more would slow what they watch
NEVER = float("inf")


@dataclass(slots=True)
class Probe:
    """Moments of one event; ``due`` is when it was to be sent, what has not happened is infinite."""

    due: float
    acknowledged: float = NEVER
    counted: float = NEVER
    entered: float = NEVER


@dataclass
class Probes:
    """The probes of one run, by the profile that each makes."""

    whole: Whole
    segment: str
    _tag: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    _known: dict[UUID, Probe] = field(default_factory=dict)

    @property
    def all(self) -> list[Probe]:
        return list(self._known.values())

    async def send(self, count: int, every: float) -> None:
        """Sends each at its time, and again until it is acknowledged; returns when all are."""
        start = time.monotonic()
        async with httpx.AsyncClient(base_url=self.whole.stack.gateway, auth=("demo-write-key", ""), timeout=5) as http:
            calls = []
            for number in range(count):
                at = start + number * every
                await asyncio.sleep(max(0.0, at - time.monotonic()))
                calls.append(asyncio.create_task(self._one(http, f"probe-{self._tag}-{len(self._known)}", at)))
                await asyncio.sleep(0)
            await asyncio.gather(*calls)

    async def _one(self, http: httpx.AsyncClient, user: str, at: float) -> None:
        probe = self._known[node_id("demo", "user_id", user)] = Probe(at)
        body = {"userId": user, "messageId": user, "event": EVENT, "properties": {"tag": self._tag}}
        while probe.acknowledged == NEVER:
            try:
                if (await http.post("/v1/track", json=body)).status_code == 200:
                    probe.acknowledged = time.monotonic()
            except httpx.HTTPError:
                await asyncio.sleep(0.02)  # a client tries again, and its user waits meanwhile

    async def settled(self, seconds: float = 60) -> None:
        """Returns when all have arrived everywhere, or after the deadline."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if all(probe.counted < NEVER and probe.entered < NEVER for probe in self.all):
                return
            await asyncio.sleep(0.05)

    async def _watch_segment(self, consumer: AIOKafkaConsumer) -> None:
        async for message in consumer:
            told = read_memberships(message.value)
            probe = self._known.get(told.profile_id)
            if probe and any(one.segment_id == self.segment and one.change == "entered" for one in told.changes):
                probe.entered = min(probe.entered, time.monotonic())

    async def _watch_counters(self) -> None:
        """Asks for the newest alone: what was seen is not asked for again."""
        url = f"http://127.0.0.1:{self.whole.stack.ports['CLICKHOUSE']}/"
        async with httpx.AsyncClient(timeout=10) as http:
            while True:
                await asyncio.sleep(_LOOK_EVERY)
                missing = [profile for profile, probe in self._known.items() if probe.counted == NEVER]
                if not missing:
                    continue
                ids = ", ".join(f"'{profile}'" for profile in missing)
                try:
                    answer = await http.post(
                        url,
                        content=f"""
                        SELECT DISTINCT node_id FROM cdp.counters
                        WHERE workspace_id = 'demo' AND event = '{EVENT}' AND node_id IN ({ids})""",
                    )
                except httpx.HTTPError:
                    continue  # killed on purpose
                for line in answer.text.split() if answer.is_success else ():
                    self._known[UUID(line)].counted = time.monotonic()


@asynccontextmanager
async def probing(whole: Whole) -> AsyncIterator[Probes]:
    """Probes whose segment is ready, and which are watched while the block runs."""
    segment = await asyncio.to_thread(_segment, whole)
    consumer = AIOKafkaConsumer(MEMBERSHIPS_CHANGED, bootstrap_servers=whole.bootstrap)
    await consumer.start()
    probes = Probes(whole, segment)
    watching = [asyncio.create_task(probes._watch_segment(consumer)), asyncio.create_task(probes._watch_counters())]
    try:
        yield probes
    finally:
        for task in watching:
            task.cancel()
        await consumer.stop()


def _segment(whole: Whole) -> str:
    rules = {"operator": "AND", "conditions": [{"event": EVENT, "count": {"min": 1}}]}
    body = {"name": f"probes {uuid.uuid4().hex[:6]}", "type": "rule-based", "rules": rules}
    segment: str = whole.stack.api("POST", "/segments", json=body).json()["data"]["id"]
    whole.stack.until(
        "the probes' segment is ready",
        lambda: whole.stack.data(f"/segments/{segment}"),
        lambda found: found.get("status", "ready") == "ready",
    )
    return segment
