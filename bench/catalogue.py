"""Every row of ``make bench``: what it is, what it has to reach, how it is measured, and what measures it."""

from bench import (
    audience,
    catchup,
    expiry,
    fairness,
    freshness,
    gateway,
    hotkey,
    incremental,
    latency,
    merges,
    pipeline,
    questions,
    reads,
    recovery,
    segments,
    storage,
)
from bench.crowd import filled
from bench.registry import Benchmark, Registry
from bench.target import Target, all_of, at_least, at_most, share_of_bare, times_bare
from bench.whole import running

_IN_TURN = (
    "closed loop, {} connections, {} a request, two workers; in turn with two of a plain ASGI callable that does the "
    "same sends"
)
P1 = Target(
    "P1", "gateway, one event a request", "events/s", release=all_of(at_least(20_000, "events/s"), share_of_bare(0.8)),
    floor=share_of_bare(0.6), how=_IN_TURN.format(gateway.P1.connections, "one event"),
)  # fmt: skip
P1_CPU = Target(
    "P1 CPU", "one event a request, CPU per event", "µs", release=all_of(at_most(65, "µs"), share_of_bare(0.8)),
    floor=share_of_bare(0.6), how="CPU of the gateway's processes over events; the ratio is bare / ours",
)  # fmt: skip
P2 = Target(
    "P2", "batches of 100", "events/s", release=all_of(at_least(95_000, "events/s"), share_of_bare(0.8)),
    floor=share_of_bare(0.6), how=_IN_TURN.format(gateway.P2.connections, "100 events"),
)  # fmt: skip
P2_CPU = Target(
    "P2 CPU", "batches of 100, CPU per event", "µs", release=all_of(at_most(20, "µs"), share_of_bare(0.8)),
    floor=share_of_bare(0.6), how="CPU of the gateway's processes over events; the ratio is bare / ours",
)  # fmt: skip
P12 = Target(
    "P12", "full evaluation of 100 segments, 1,000,000 profiles, 10,000,000 events", "s",
    release=all_of(at_most(1.5, "s"), times_bare(1.1)), floor=at_most(5, "s"),
    how="one query for all sizes, against one written by hand for the same rules, in turn; both must agree",
)  # fmt: skip

REGISTRY = Registry(
    [
        Benchmark([pipeline.P5, pipeline.NEWCOMERS, pipeline.P24], running, pipeline.end_to_end),
        Benchmark([freshness.P14, freshness.P11], running, freshness.freshness),
        Benchmark([incremental.P13], running, incremental.looked_at),
        Benchmark([expiry.P15], running, expiry.flipped),
        Benchmark([fairness.P20], running, fairness.fair),
        Benchmark([hotkey.P21], running, hotkey.hot),
        Benchmark([catchup.P22], running, catchup.drained),
        Benchmark([storage.P25_EVENT, storage.P25_PROFILE], running, storage.stored),
        Benchmark([recovery.P23], running, recovery.recovered, is_profiled=False),
        Benchmark([merges.P8, merges.P8_HOT], running, merges.merged, merges.again),
        # a million more profiles are not what the rows before it are about
        Benchmark(list(reads.TARGETS.values()), running, reads.answered),
        Benchmark([audience.P19, audience.P19_CALLS], running, audience.loaded),
        # last on their stack: they suspend what is behind the gateway
        Benchmark([P1, P1_CPU, P2, P2_CPU], running, lambda whole: gateway.rows(whole.stack)),
        Benchmark([latency.P3], running, latency.acknowledged),
        Benchmark([P12], filled, segments.rows),
        Benchmark(
            [
                *(questions.P16_PREVIEW, questions.P16_EVENTS, questions.P16_OVERLAP),
                *(questions.P18_FUNNEL, questions.P18_TIMES, questions.P18_RETENTION),
            ],
            filled,
            questions.asked,
        ),
    ]
)
