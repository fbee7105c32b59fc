"""P20: what a quiet workspace waits for its segments while another sends twenty times as much, and without that."""

import asyncio
from collections.abc import Iterable, Sequence

from bench.freshness import SHARE, entrances, probed
from bench.generator import DEMO
from bench.openloop import Steady, percentile
from bench.pipeline import rate
from bench.report import Row
from bench.target import Target, times_bare
from bench.whole import TENANTS, Whole

FLOOD, FEW = 20, 10
P20 = Target(
    "P20", "a quiet workspace beside one that sends 20 times as much: acknowledged → entered visible, p99", "s",
    release=times_bare(1.3), floor=times_bare(5), how="60 single events of a workspace that sends a thirtieth of P5's "
    "rate, from the answer 200 until `entered` is read from memberships-changed; the baseline is the same without "
    "the other workspace, whose events make it 70 % of P5's rate",
)  # fmt: skip


def fair(whole: Whole) -> Iterable[Row]:
    quiet = rate(whole) * SHARE / (1 + FLOOD)

    def waits(*others: Steady) -> Sequence[float]:
        return entrances(asyncio.run(probed(whole, whole.steady(quiet, [DEMO], FEW), *others)))

    alone = waits()
    whole.rest()
    flooded = waits(whole.steady(quiet * FLOOD, [TENANTS[1]]))
    for name, found in (("alone", alone), ("flooded", flooded)):
        print(f"  {name}: p50 {percentile(found, 0.5):.2f} s, p99 {percentile(found, 0.99):.2f} s", flush=True)
    yield P20.row(percentile(flooded, 0.99), percentile(alone, 0.99))
