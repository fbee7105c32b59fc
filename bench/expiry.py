"""P15: events leave the window of a rule by time alone -> `exited` is told, with many more still to expire."""

import asyncio
import math
import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from aiokafka import AIOKafkaConsumer

from bench import load
from bench.generator import request
from bench.openloop import percentile
from bench.report import Row
from bench.target import Target, at_most
from bench.whole import BATCH, Whole
from cdp_runtime.parts import in_parts
from cdp_schemas.nodes import node_id
from cdp_schemas.segments import read_memberships
from cdp_schemas.topics import MEMBERSHIPS_CHANGED

P15 = Target(
    "P15", "flips by time alone → membership changed, p99", "s", release=at_most(1, "s"), floor=at_most(30, "s"),
    how="events of yesterday under a rule with a window of a day: 2,000 become too old within half a minute, 20,000 "
    "later; from the moment each is too old until `exited` is read from memberships-changed; nobody leaves sooner, or "
    "never, and the 20,000 are members to the end",
)  # fmt: skip
PENDING, DUE = 20_000, 2_000
_DAY = timedelta(days=1)
_GRAIN_S = 0.002  # of the times that events tell
_FIRST_S, _SPAN_S, _GRACE_S = 60.0, 30.0, 30.0  # from the start of sending: time enough to enter before leaving


def flipped(whole: Whole) -> Iterable[Row]:
    whole.fill()
    waits = asyncio.run(_waits(whole))
    unseen = waits.count(math.inf)
    print(f"  p50 {percentile(waits, 0.5):.2f} s, p99 {percentile(waits, 0.99):.2f} s; {unseen} never told", flush=True)
    yield P15.row(math.inf if unseen else percentile(waits, 0.99))  # a hundredth may be late, nobody forgotten


async def _waits(whole: Whole) -> list[float]:
    event = f"Clock {uuid.uuid4().hex[:8]}"
    rules = {"operator": "AND", "conditions": [{"event": event, "count": {"min": 1}, "window": "P1D"}]}
    body = {"name": event, "type": "rule-based", "rules": rules}
    segment = (await asyncio.to_thread(whole.stack.api, "POST", "/segments", json=body)).json()["data"]["id"]
    consumer = AIOKafkaConsumer(MEMBERSHIPS_CHANGED, bootstrap_servers=whole.bootstrap)
    await consumer.start()
    exited: dict[UUID, float] = {}
    watching = asyncio.create_task(_watch(consumer, segment, exited))
    start = time.time()
    due = [start + _FIRST_S + _SPAN_S * number / DUE for number in range(DUE)]
    later = [start + 3600 + number for number in range(PENDING)]
    requests = _requests(event, [*due, *later])
    result = await asyncio.to_thread(load.run, whole.stack.ports["INGEST"], requests, None, 8)
    assert result.failures == 0, "the gateway refused some of the load"
    people = {node_id("demo", "user_id", f"{event}-{number}"): at for number, at in enumerate(due)}
    while len(exited) < DUE and time.time() < start + _FIRST_S + _SPAN_S + _GRACE_S:
        await asyncio.sleep(0.1)
    if len(exited) == DUE:
        await asyncio.to_thread(_others_stay, whole, segment)
    watching.cancel()
    await consumer.stop()
    return waits_of(people, exited)


def _others_stay(whole: Whole, segment: str) -> None:
    """Returns when just those are members whose events are not too old yet: that many were still to expire."""
    segment_now = partial(whole.stack.data, f"/segments/{segment}")
    whole.stack.until("the others stay", segment_now, lambda found: found["size"] == PENDING, 30)


def waits_of(due: Mapping[UUID, float], exited: Mapping[UUID, float]) -> list[float]:
    """Seconds from when each is due, infinite for who was not told. Raises AssertionError for who left too soon."""
    undue = len(exited.keys() - due.keys())
    assert not undue, f"{undue} people left whose events are not too old"
    waits = [exited.get(profile, math.inf) - at for profile, at in due.items()]
    early = sum(wait < -_GRAIN_S for wait in waits)
    assert not early, f"{early} people left before their events were too old"
    return waits


def _requests(event: str, due: list[float]) -> list[bytes]:
    """One event for each moment, of a person of its own, that leaves the window then."""
    events = [
        {
            "type": "track",
            "userId": f"{event}-{number}",
            "messageId": f"{event}-{number}",
            "event": event,
            "timestamp": (datetime.fromtimestamp(at, UTC) - _DAY).isoformat(timespec="milliseconds"),
        }
        for number, at in enumerate(due)
    ]
    return [request("/v1/batch", {"batch": some}) for some in in_parts(events, BATCH)]


async def _watch(consumer: AIOKafkaConsumer, segment: str, exited: dict[UUID, float]) -> None:
    async for message in consumer:
        for change in read_memberships(message.value).each({segment}):
            if change.change == "exited":
                exited.setdefault(change.profile_id, time.time())
