"""P5 and P24: CPU per event, by stage, from HTTP to both stores and a hundred segments; the memory it takes."""

import time
from collections.abc import Iterable, Mapping

import psutil

from bench import stages
from bench.generator import ALONE, Load, introductions, made
from bench.machine import Series
from bench.proved import require_right
from bench.report import Row
from bench.stages import SERVICES, Spent
from bench.target import Target, at_most
from bench.whole import BATCH, TENANTS, Whole

PEOPLE, BATCHES, SINGLES, ROUNDS = 80_000, 270, 3_000, 5
P5 = Target(
    "P5", "end to end, total CPU per event", "µs", release=at_most(160, "µs"), floor=at_most(400, "µs"),
    how="27,000 events in batches of 100 and 3,000 alone to five workspaces of 100 segments each, to which the "
    f"{PEOPLE:,} commonest people are known and all others of the million are not; CPU of every process "
    "of the stack from the first request until all are stored, evaluated and everything is idle, over events; median "
    f"of {ROUNDS} rounds; then `cdp verify` of one workspace must find nothing wrong",
)  # fmt: skip
NEWCOMERS = Target(
    "P5 newcomers", "the same when every event is a new person's first", "µs", release=at_most(400, "µs"),
    floor=at_most(1_000, "µs"), how=f"the {PEOPLE:,} identifies, in batches of 100, by which these people become known",
)  # fmt: skip
P24 = Target(
    "P24", "resident memory of all services' processes after P5", "GB", release=at_most(0.8, "GB"),
    floor=at_most(4, "GB"), how="sum of RSS of the six services; whether it is flat is told by the long run",
)  # fmt: skip


def end_to_end(whole: Whole) -> Iterable[Row]:
    """Leaves in ``whole`` the rate at which everything was through."""
    whole.fill()
    if whole.first("the commonest people"):
        cost, _ = through(whole, introductions(TENANTS, PEOPLE, BATCH))
        yield NEWCOMERS.row(cost)
    rounds = [through(whole, *_known(whole)) for _ in range(ROUNDS)]
    costs, rates = map(Series, zip(*rounds, strict=True))
    print(f"  µs per event of the rounds: {costs}, events/s: {rates}", flush=True)
    whole.rate = whole.rate or rates.median  # a repetition under the profiler is slower
    yield P5.row(costs.median)
    memory = resident(whole)  # before anybody asks anything else of them
    require_right(whole)
    print("  MB resident: " + ", ".join(f"{name} {size / 1e6:.0f}" for name, size in memory.items()), flush=True)
    yield P24.row(held(memory) / 1e9)


def _known(whole: Whole) -> tuple[Load, Load]:
    """The load of a round, of which no other has an event."""
    return made(BATCHES, BATCH, whole.traffic()), made(SINGLES, 1, whole.traffic(ALONE))


def held(memory: Mapping[str, int]) -> int:
    """Bytes of all services. Raises AssertionError when one of them is not there: who is dead holds nothing."""
    assert not (dead := [name for name in SERVICES if not memory.get(name)]), f"no process {', '.join(dead)} runs"
    return sum(memory[name] for name in SERVICES)


def through(whole: Whole, *loads: Load) -> tuple[float, float]:
    """CPU-µs per event and events per second until the loads are stored, evaluated and all is idle.

    Raises AssertionError when a service ended meanwhile: what is measured is no load, but a recovery.
    """
    lives = _lives(whole)
    spent, there, start = Spent(lambda: whole.pids), whole.stored(), time.perf_counter()
    sent = whole.offer(*loads)
    whole.recorded(there + sent.stored)
    whole.rest(deadline=120)  # the segmenter is the last to be through
    taken = time.perf_counter() - start - 1.0  # the second in which it was seen to be idle
    seconds = spent.seconds()
    assert (now := _lives(whole)) == lives, f"services ended under load: {lives} are {now} now"
    print(f"  through at {sent.events / taken:,.0f} events/s\n{stages.table(seconds, sent.events)}", flush=True)
    return seconds.total() / sent.events * 1e6, sent.events / taken


def _lives(whole: Whole) -> dict[str, int]:
    return {name: whole.stack.find(name).pid for name in SERVICES}


def rate(whole: Whole) -> float:
    """Events per second at which P5's load is through, measured now if it has not been."""
    if whole.rate is None:
        list(end_to_end(whole))
    assert whole.rate is not None
    return whole.rate


def resident(whole: Whole) -> dict[str, int]:
    """Bytes by stage. What processes share is counted with each: an upper bound."""
    found: dict[str, int] = {}
    for pid, name in stages.by_stage(whole.pids).items():
        try:
            found[name] = found.get(name, 0) + psutil.Process(pid).memory_info().rss
        except psutil.Error:
            continue
    return found
