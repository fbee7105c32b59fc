"""P11 and P14: an event is acknowledged -> it is in the counters, and its person in the segment, under 70 % load."""

import asyncio
from collections.abc import Iterable
from contextlib import ExitStack

from bench.openloop import Steady, percentile
from bench.pipeline import rate
from bench.probes import Probe, probing
from bench.report import Row
from bench.target import Target, at_most
from bench.whole import Whole

_HOW = "60 single events under a steady load of 70 % of P5's rate, from the answer 200 until {}"
P11 = Target(
    "P11", "acknowledged → visible in counters, p99 at 70 % load", "s", release=at_most(2, "s"), floor=at_most(5, "s"),
    how=_HOW.format("ClickHouse's counters, asked every 200 ms, have it"),
)  # fmt: skip
P14 = Target(
    "P14", "acknowledged → entered visible, p99 at 70 % load", "s", release=at_most(1, "s"), floor=at_most(5, "s"),
    how=_HOW.format("`entered` is read from memberships-changed"),
)  # fmt: skip
PROBES, EVERY, SHARE = 60, 0.3, 0.7


def freshness(whole: Whole) -> Iterable[Row]:
    load = rate(whole) * SHARE
    probes = asyncio.run(probed(whole, whole.steady(load)))
    counted, entered = ([probe.counted - probe.acknowledged for probe in probes], entrances(probes))
    for target, waits in ((P11, counted), (P14, entered)):
        print(
            f"  {target.id}: p50 {percentile(waits, 0.5):.2f} s, p99 {percentile(waits, 0.99):.2f} s at {load:,.0f}/s"
        )
        yield target.row(percentile(waits, 0.99))


async def probed(whole: Whole, *loads: Steady) -> list[Probe]:
    """Probes that were sent beside these loads, and have arrived everywhere or never will."""
    async with probing(whole) as probes:
        with ExitStack() as offered:
            for load in loads:
                offered.enter_context(load)
            await asyncio.sleep(2)  # the load's own start is no steady state
            await probes.send(PROBES, EVERY)
            await probes.settled()
    assert not any(load.offered.failures for load in loads), "the gateway refused some of the load"
    return probes.all


def entrances(probes: Iterable[Probe]) -> list[float]:
    """Seconds from each answer 200 until the person was in the segment."""
    return [probe.entered - probe.acknowledged for probe in probes]
