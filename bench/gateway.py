"""P1 and P2: the gateway beside its bare baseline, in turn, on the same broker: rate and CPU per event."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.millrace import Millrace

from bench import load
from bench.bare import TOPIC
from bench.machine import Series, cpu_seconds, family, require_steady
from bench.report import Row
from cdp_devstack.parts import free_ports
from cdp_eventlog.topics import create_topics
from cdp_schemas.topics import Topic

ROUNDS = 5
SECONDS = 4.0
CONNECTIONS = 32
BARE = Topic(TOPIC, "bench.", "k", "M", ("a",), ("b",), (1,), 4, 1, False, 1_048_588)


@dataclass(frozen=True, slots=True)
class Measured:
    """Events per second and CPU-µs per event of each round."""

    rate: Series
    micros: Series


def rows(stack: Millrace) -> list[Row]:
    """P1 with one event a request, P2 with batches of 100."""
    bootstrap = f"127.0.0.1:{stack.ports['KAFKA']}"
    for name in ("resolver", "recorder", "segmenter", "activation", "analytics-api"):
        stack.find(name).suspend()  # the bare baseline has nobody behind it either
    asyncio.run(create_topics(bootstrap, topics=[BARE]))
    made = []
    for name, what, batch, goal in (
        ("P1", "gateway, one event a request", 1, 20_000),
        ("P2", "batches of 100", 100, 95_000),
    ):
        requests = load.requests(2000 if batch == 1 else 200, batch, run=7)
        ours, bare = _in_turn(stack, bootstrap, requests, batch)
        require_steady(f"{name}'s bare baseline", bare.micros)
        ratio = ours.rate.median / bare.rate.median
        goal_text = f"≥ 0.6 of bare (release: ≥ {goal:,}/s)"
        made.append(Row(name, what, ours.rate.median, "events/s", bare.rate.median, ratio, goal_text, ratio >= 0.6))
        cost = bare.micros.median / ours.micros.median
        made.append(
            Row(
                f"{name} CPU",
                f"{what}, CPU per event",
                ours.micros.median,
                "µs",
                bare.micros.median,
                cost,
                "≥ 0.6 of bare",
                cost >= 0.6,
            )
        )
    return made


def _in_turn(stack: Millrace, bootstrap: str, requests: list[bytes], batch: int) -> tuple[Measured, Measured]:
    """A, B, A, B ...: the machine's moods hit both alike."""
    with _bare(bootstrap, batch) as (port, pid):
        gateway = stack.find("ingest").pid
        sides = {"ours": (stack.ports["INGEST"], gateway), "bare": (port, pid)}
        found: dict[str, list[tuple[float, float]]] = {"ours": [], "bare": []}
        for side, (where, _) in sides.items():
            load.run(where, requests, 1.0, CONNECTIONS)
            del side
        for _ in range(ROUNDS):
            for side, (where, process) in sides.items():
                found[side].append(_round(where, process, requests, batch))
    return _measured(found["ours"]), _measured(found["bare"])


def _measured(rounds: list[tuple[float, float]]) -> Measured:
    return Measured(Series(tuple(rate for rate, _ in rounds)), Series(tuple(micros for _, micros in rounds)))


def _round(port: int, pid: int, requests: list[bytes], batch: int) -> tuple[float, float]:
    pids = family(pid)
    before = cpu_seconds(pids)
    result = load.run(port, requests, SECONDS, CONNECTIONS)
    if result.failures:
        raise RuntimeError(f"{result.failures} requests were not answered with 200")
    events = result.answers * batch
    return events / result.seconds, (cpu_seconds(pids) - before) / events * 1e6


@contextmanager
def _bare(bootstrap: str, batch: int) -> Iterator[tuple[int, int]]:
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "bench.bare", "--bootstrap", bootstrap, "--port", str(port), "--sends", str(batch)]
    process = subprocess.Popen(command, env=os.environ.copy())
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                load.run(port, [load._request("/", "{}")], 0.1, 1)
                break
            except OSError:
                time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(10)
