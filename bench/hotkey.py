"""P21: P5's rate where half of all events are one person's, beside its rate with ordinary traffic, in turn."""

from collections.abc import Iterable
from statistics import median

from bench.generator import DEMO, RULES, Mix, made
from bench.pipeline import rate, through
from bench.report import Row
from bench.target import Target, share_of_bare
from bench.whole import BATCH, Whole

BATCHES, ROUNDS = 150, 3
HOT = Mix(hot=0.5)
P21 = Target(
    "P21", "a hot key: half of all events are one person's; the baseline is ordinary traffic", "events/s",
    release=share_of_bare(1), floor=share_of_bare(0.5), how="15,000 events in batches of 100 to one workspace of 100 "
    "segments, from the first request until all are stored and evaluated, in turn with as many of the usual people; "
    "median of three rounds each",
)  # fmt: skip


def hot(whole: Whole) -> Iterable[Row]:
    rate(whole)  # by which the commonest people are known
    whole.rest()  # what others sent is not counted with these
    rates: dict[Mix, list[float]] = {RULES: [], HOT: []}
    for _ in range(ROUNDS):
        for mix, found in rates.items():
            found.append(through(whole, made(BATCHES, BATCH, whole.traffic(mix, [DEMO])))[1])
    yield P21.row(median(rates[HOT]), median(rates[RULES]))
