"""``python -m bench soak``: steady load for long -> is memory flat, is disk bounded, do the stores still agree.

Samples go to bench/soak.jsonl while it runs, so that an interrupted run tells what it saw.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import generator, history, verdict
from bench.openloop import Offered, percentile
from bench.pipeline import rate
from bench.proved import PROVED, proof
from bench.samples import Sample, Sampler
from bench.whole import Whole, running

SAMPLES = Path(__file__).parent / "soak.jsonl"
_MOST_SAMPLES, _SHORTEST_S, _DRAIN_S = 240, 5.0, 900.0


def main(arguments: Sequence[str]) -> int:
    given = _arguments(arguments)
    with running() as whole:
        whole.fill()
        offered = given.rate or rate(whole) * given.share
        print(f"{offered:,.0f} events/s for {given.minutes:g} minutes, data set {generator.dataset()}", flush=True)
        sampler, there = Sampler(whole), whole.stored()
        with whole.steady(offered) as steady:
            samples = list(_kept(sampler, given.minutes * 60))
        drained = _drain(sampler)
        whole.rest()
        samples.append(sampler.sample())
        agreed = [_all_stored(whole, there, steady.offered), _proved(whole)]
    print(f"\nacknowledged within {percentile(steady.offered.latencies, 0.99) * 1e3:.0f} ms (p99, batches of 100); "
          f"at rest {drained:.0f} s after the last event\n")  # fmt: skip
    found = verdict.of(samples)
    print(history.by_minute(samples))
    print(verdict.tables(samples))
    for said, good in [*found, *agreed]:
        print(f"{ {True: 'holds', False: 'BROKEN', None: 'too short'}[good]:10} {said}")
    return 0 if all(good is not False for _, good in [*found, *agreed]) else 1


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--share", type=float, default=0.7, help="of the rate at which P5's load is through")
    parser.add_argument("--rate", type=float, help="events per second, instead of a share")
    return parser.parse_args(arguments)


def _kept(sampler: Sampler, seconds: float) -> Iterator[Sample]:
    """A sample at fixed times until the time is over; each is on disk before the next."""
    every, start, number = max(_SHORTEST_S, seconds / _MOST_SAMPLES), time.monotonic(), 0
    with SAMPLES.open("w") as file:
        while number * every <= seconds:
            time.sleep(max(0.0, start + number * every - time.monotonic()))
            sample = sampler.sample()
            file.write(json.dumps(sample.as_dict()) + "\n")
            file.flush()
            if number % max(1, round(60 / every)) == 0:
                memory, lag = sum(sample.memory.values()) / 1e6, sum(sample.lag.values())
                print(
                    f"  {sample.seconds:6,.0f} s {sample.events:12,} events {memory:6,.0f} MB, lag {lag:,}", flush=True
                )
            yield sample
            number += 1


def _drain(sampler: Sampler) -> float:
    """Seconds until nobody is behind; gives up after a quarter of an hour."""
    start = time.monotonic()
    while time.monotonic() < start + _DRAIN_S:
        if sum(sampler.sample().lag.values()) == 0:
            break
        time.sleep(2.5)  # lag is measured every two seconds
    return time.monotonic() - start


def _all_stored(whole: Whole, there: int, offered: Offered) -> tuple[str, bool]:
    stored = whole.stored() - there
    said = f"{offered.events:,} events sent, {offered.failures} calls not answered 200; {stored:,} stored"
    return f"{said} of {offered.stored:,} that are new and whole", stored == offered.stored and not offered.failures


def _proved(whole: Whole) -> tuple[str, bool]:
    found = proof(whole, chunks=4)
    print(found.said)
    return f"cdp verify of {PROVED.workspace} ended with {found.code}", found.code == 0
