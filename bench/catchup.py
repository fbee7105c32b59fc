"""P22: nothing is resolved for a while, then everything at once -> events per second beside those of P5."""

import time
from collections.abc import Iterable

from bench.pipeline import rate
from bench.proved import require_right
from bench.report import Row
from bench.target import Target, share_of_bare
from bench.whole import BATCH, Whole

P22 = Target(
    "P22", "catching up after an outage; the baseline is P5's live rate", "events/s",
    release=share_of_bare(2, "× live"), floor=share_of_bare(1.2, "× live"),
    how="the resolver is stopped while the gateway takes 20,000 events or what P5 takes in "
    "half a minute, the larger; from its continuation until all are stored and evaluated, as P5",
)  # fmt: skip
LEAST, SECONDS = 20_000, 30


def drained(whole: Whole) -> Iterable[Row]:
    live = rate(whole)
    whole.rest()
    resolver, there = whole.stack.find("resolver"), whole.stored()
    resolver.suspend()
    try:
        sent = whole.send(int(max(LEAST, live * SECONDS)) // BATCH, 0)
        during = whole.stored() - there
    finally:
        resolver.resume()
    start = time.perf_counter()
    whole.recorded(there + sent.stored)
    whole.rest(deadline=120)
    taken = time.perf_counter() - start - 1.0  # the second in which it was seen to be idle
    print(f"  a backlog of {sent.events - during:,} events in {taken:.1f} s", flush=True)
    require_right(whole)
    yield P22.row((sent.stored - during) / taken, live)
