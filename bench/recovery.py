"""P23: each process killed under load -> seconds until what its users wait for is as quick as before."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import httpx

from bench.openloop import Offered, percentile
from bench.pipeline import rate
from bench.probes import Probe, probing
from bench.proved import require_right
from bench.report import Row
from bench.target import Target, at_most
from bench.whole import Whole

P23 = Target(
    "P23", "kill -9 of a process → normal p99, the slowest of all", "s", release=at_most(5, "s"),
    floor=at_most(60, "s"), how="at 30 % of P5's rate a probe every 0.1 s, before and after the kill of each process: "
    "seconds from the kill to the last probe that takes longer than twice the p99 before it and 0.5 s; of the gateway "
    "the answer 200 counts (sent again until then), of the resolver and the recorder the counters, of the segmenter "
    "`entered`, of the front door a profile's GET, endless when one never comes; started again by the local "
    "supervisor; then every event must be stored once, and `cdp verify` of one workspace find nothing wrong",
)  # fmt: skip
SHARE, EVERY, BEFORE_S, AFTER_S = 0.3, 0.1, 6.0, 14.0
ANSWERED_S = 30.0  # after the last question, for what is still under way
Latency = Callable[[Probe], float]  # seconds from when the probe was due


def _acknowledged(probe: Probe) -> float:
    return probe.acknowledged - probe.due


def _counted(probe: Probe) -> float:
    return probe.counted - probe.due


def _entered(probe: Probe) -> float:
    return probe.entered - probe.due


WAITED_FOR: dict[str, Latency] = {
    "ingest": _acknowledged,
    "resolver": _counted,
    "recorder": _counted,
    "segmenter": _entered,
}


@dataclass(frozen=True, slots=True)
class Point:
    """A probe by when it was due and how long it took, infinitely when nothing came of it."""

    due: float
    seconds: float


def recovery(points: Sequence[Point], killed: float) -> float:
    """Seconds from the kill until the last slow probe; infinite when the last of all was slow, or one never came.

    Raises ValueError when there is no probe before the kill or none after it.
    """
    if any(math.isinf(point.seconds) for point in points):
        return math.inf  # whatever came after it, somebody waits for it still
    before = [point.seconds for point in points if point.due + point.seconds < killed]
    limit = max(0.5, 2 * percentile(before, 0.99))
    after = [point for point in points if point.due + point.seconds >= killed]
    if not after:
        raise ValueError("no probe after the kill")
    slow = [point for point in after if point.seconds > limit]
    if not slow:
        return 0.0
    if slow[-1] is after[-1]:
        return math.inf
    return max(0.0, slow[-1].due - killed) + EVERY


def recovered(whole: Whole) -> Iterable[Row]:
    load = rate(whole) * SHARE
    found = {name: asyncio.run(_killed(whole, name, load, latency)) for name, latency in WAITED_FOR.items()}
    found["analytics-api"] = asyncio.run(_door_killed(whole))
    print("  " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in found.items()), flush=True)
    whole.rest(deadline=120)
    require_right(whole)
    yield P23.row(max(found.values()))


async def _killed(whole: Whole, name: str, load: float, latency: Latency) -> float:
    await asyncio.to_thread(whole.rest)  # what was unanswered when another one was killed may still arrive
    there = await asyncio.to_thread(whole.stored)
    async with probing(whole) as probes:
        with whole.steady(load) as steady:
            await asyncio.sleep(1)
            sending = asyncio.create_task(probes.send(round((BEFORE_S + AFTER_S) / EVERY), EVERY))
            await asyncio.sleep(BEFORE_S)
            killed = time.monotonic()
            await asyncio.to_thread(whole.stack.kill, name)
            await sending
            await probes.settled(30)
    await asyncio.to_thread(require_once, whole, there + len(probes.all), steady.offered)
    return recovery([Point(probe.due, latency(probe)) for probe in probes.all], killed)


def require_once(whole: Whole, others: int, offered: Offered) -> None:
    """Raises when not every event is stored once. Of a load that was not answered whole that cannot be told."""
    if not offered.failures:
        whole.recorded(others + offered.stored)


async def _door_killed(whole: Whole) -> float:
    """The front door is asked at fixed times, each question again until it is answered."""
    url = f"http://127.0.0.1:{whole.stack.ports['API']}/api/cdp/profiles/user_id:user-0"
    points: dict[float, Point] = {}

    async def ask(http: httpx.AsyncClient, due: float) -> None:
        points[due] = Point(due, math.inf)
        while True:
            with suppress(httpx.HTTPError):
                if (await http.get(url)).is_success:
                    break
            await asyncio.sleep(0.02)
        points[due] = Point(due, time.monotonic() - due)

    headers = {"Authorization": "Bearer demo-api-token"}
    start, killed, asked = time.monotonic(), math.inf, []
    async with httpx.AsyncClient(headers=headers, timeout=5) as http:
        for number in range(round((BEFORE_S + AFTER_S) / EVERY)):
            due = start + number * EVERY
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            asked.append(asyncio.create_task(ask(http, due)))
            if killed == math.inf and due - start >= BEFORE_S:
                killed = time.monotonic()
                await asyncio.to_thread(whole.stack.kill, "analytics-api")
        _, unanswered = await asyncio.wait(asked, timeout=ANSWERED_S)
        for one in unanswered:
            one.cancel()
    return recovery(list(points.values()), killed)
