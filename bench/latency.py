"""P3: at half of the gateway's highest rate, from when an event was due until its 200, beside the bare baseline."""

from collections.abc import Iterable

from bench import gateway, load
from bench.openloop import latencies, percentile
from bench.report import Row
from bench.target import Target, above_bare
from bench.whole import Whole

P3 = Target(
    "P3", "acknowledged, p99 at 50 % of the highest rate", "ms", release=above_bare(10, "ms"),
    floor=above_bare(30, "ms"), how="one event a request on a schedule fixed in advance, at half of the closed loop's "
    "rate, from the due time to the answer; the bare baseline gets the same schedule, in turn; median of the rounds",
)  # fmt: skip
ROUNDS, SECONDS = 5, 4


def acknowledged(whole: Whole) -> Iterable[Row]:
    """Suspends what is behind the gateway: the bare baseline has nobody behind it either."""
    with gateway.sides(whole.stack, 1) as both:
        highest = load.run(both[0].port, load.requests(2000, 1, run=30), 3.0, gateway.P1.connections).rate
        offered = highest / 2
        slowest: dict[str, list[float]] = {side.name: [] for side in both}
        for number in range(ROUNDS):
            requests = load.requests(int(offered * SECONDS), 1, run=31 + number)
            for side in both:
                there = side.written()
                given = latencies(side.port, requests, offered, gateway.P1.connections)
                assert given.failures == 0, f"{given.failures} requests were not answered with 200"
                side.require_written(there, len(requests))
                slowest[side.name].append(percentile(given.latencies, 0.99) * 1e3)
    ours, bare = (percentile(slowest[side.name], 0.5) for side in both)
    for name, values in slowest.items():
        print(f"  {name}, p99 of each round at {offered:,.0f}/s: {', '.join(f'{value:.1f}' for value in values)} ms")
    yield P3.row(ours, bare)
