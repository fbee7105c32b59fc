"""P1 and P2: two workers of the gateway beside two bare ones, in turn, on the same broker: rate and CPU per event."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.millrace import Millrace
from tests.processes import CdpProcess, environment

from bench import load
from bench.bare import TOPIC
from bench.machine import Series, cpu_seconds, family, require_steady
from bench.report import Row
from bench.topics import written
from cdp_devstack.parts import free_ports
from cdp_eventlog.brokers import Brokers
from cdp_eventlog.topics import create_topics
from cdp_schemas.topics import EVENTS_RECEIVED, Topic

ROUNDS = 5
SECONDS = 4.0
WORKERS = 2
BARE = Topic(TOPIC, "bench.", "k", "M", ("a",), ("b",), (1,), 4, 1, False, 1_048_588)


@dataclass(frozen=True, slots=True)
class Load:
    """One row's load. ``connections`` are requests in flight: what is answered together costs less for each."""

    id: str
    what: str
    batch: int
    prepared: int
    connections: int


P1 = Load("P1", "gateway, one event a request", 1, 4000, 512)
P2 = Load("P2", "gateway, batches of 100", 100, 200, 16)


@dataclass(frozen=True, slots=True)
class Side:
    """Where the requests go, and whose CPU time counts for them. ``written``: records that the log was given so far."""

    name: str
    port: int
    pids: list[int]
    written: Callable[[], int]

    def require_written(self, before: int, events: int) -> None:
        """Raises RuntimeError unless the log was given just so many since: a 200 for nothing is quick."""
        given = self.written() - before
        if given != events:
            raise RuntimeError(f"{self.name}: {events:,} events were answered 200, and the log was given {given:,}")


@dataclass(frozen=True, slots=True)
class Round:
    """Events per second, and CPU-µs per event of the side itself, of the broker and of the load."""

    rate: float
    micros: float
    broker: float
    load: float


def rows(stack: Millrace) -> list[Row]:
    """P1 with one event a request, P2 with batches of 100."""
    made: list[Row] = []
    for each in (P1, P2):
        ours, bare = _in_turn(stack, each)
        require_steady(f"{each.id}'s bare baseline", Series(tuple(one.micros for one in bare)))
        rate, bare_rate = (_median(rounds, "rate") for rounds in (ours, bare))
        micros, bare_micros = (_median(rounds, "micros") for rounds in (ours, bare))
        made.append(Row(each.id, each.what, rate, "events/s", bare_rate, rate / bare_rate, "", False))
        cost, what = bare_micros / micros, f"{each.what}, CPU per event"
        made.append(Row(f"{each.id} CPU", what, micros, "µs", bare_micros, cost, "", False))
    return made


@contextmanager
def sides(stack: Millrace, batch: int) -> Iterator[tuple[Side, Side]]:
    """A gateway of its own over the stack's Kafka and Postgres, and a bare one; nobody reads what they write."""
    for name in ("ingest", "resolver", "recorder", "segmenter", "activation", "analytics-api"):
        stack.find(name).suspend()
    bootstrap = f"127.0.0.1:{stack.ports['KAFKA']}"
    asyncio.run(create_topics(Brokers(bootstrap), topics=[BARE]))
    with _gateway(stack, bootstrap) as ours, _bare(bootstrap, batch) as bare:
        yield ours, bare


def _in_turn(stack: Millrace, each: Load) -> tuple[list[Round], list[Round]]:
    """A, B, A, B ...: the machine's moods hit both alike."""
    requests = load.requests(each.prepared, each.batch, run=7)
    broker = stack.find("kafka").pid
    with sides(stack, each.batch) as both:
        found: dict[str, list[Round]] = {side.name: [] for side in both}
        for side in both:
            load.run(side.port, requests, 1.0, each.connections)
        for _ in range(ROUNDS):
            for side in both:
                found[side.name].append(_round(side, broker, requests, each))
    for name, rounds in found.items():
        _show(each, name, rounds)
    return found["ours"], found["bare"]


def _median(rounds: list[Round], field: str) -> float:
    return Series(tuple(getattr(one, field) for one in rounds)).median


def _round(side: Side, broker: int, requests: list[bytes], each: Load) -> Round:
    there = side.written()
    before, broker_before = cpu_seconds(side.pids), cpu_seconds([broker])
    result = load.run(side.port, requests, SECONDS, each.connections)
    if result.failures:
        raise RuntimeError(f"{result.failures} requests were not answered with 200")
    events = result.answers * each.batch
    used, broker_used = cpu_seconds(side.pids) - before, cpu_seconds([broker]) - broker_before
    side.require_written(there, events)
    return Round(events / result.seconds, *(used / events * 1e6 for used in (used, broker_used, result.cpu_seconds)))


def _show(each: Load, name: str, rounds: list[Round]) -> None:
    rate, micros = (Series(tuple(getattr(one, field) for one in rounds)) for field in ("rate", "micros"))
    broker, load = (_median(rounds, field) for field in ("broker", "load"))
    print(
        f"  {each.id} {name}, {WORKERS} workers, {each.connections} connections: {rate} events/s, {micros} µs; "
        f"beside it the broker {broker:.1f} µs, the load {load:.1f} µs"
    )


@contextmanager
def _gateway(stack: Millrace, bootstrap: str) -> Iterator[Side]:
    port = free_ports(1)[0]
    settings = environment(
        CDP_KAFKA_BOOTSTRAP_SERVERS=bootstrap,
        CDP_POSTGRES_URL=stack.postgres_url,
        CDP_INGEST_PORT=str(port),
        CDP_INGEST_WORKERS=str(WORKERS),
    )
    with tempfile.TemporaryDirectory() as folder:
        gateway = CdpProcess(("run", "ingest"), settings, Path(folder) / "gateway.log")
        gateway.start()
        try:
            gateway.wait_until_ready()
            assert gateway.process is not None
            yield _answering("ours", port, [gateway.process.pid], partial(written, bootstrap, EVENTS_RECEIVED))
        finally:
            gateway.close()


@contextmanager
def _bare(bootstrap: str, batch: int) -> Iterator[Side]:
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "bench.bare", "--bootstrap", bootstrap, "--port", str(port), "--sends", str(batch)]
    with ExitStack() as ended:
        started = []
        for _ in range(WORKERS):
            process = subprocess.Popen(command, env=os.environ.copy())
            started.append(process)
            ended.callback(process.wait, 10)
            ended.callback(process.terminate)
        pids = [process.pid for process in started]
        yield _answering("bare", port, pids, partial(written, bootstrap, BARE.name, BARE.partitions))


def _answering(name: str, port: int, pids: list[int], given: Callable[[], int]) -> Side:
    """The side once all its workers are likely to listen: many new connections in a row were answered."""
    made, deadline = load.requests(1, 1, run=8), time.monotonic() + 30
    answered = 0
    while answered < 16 and time.monotonic() < deadline:
        try:
            answered = answered + 1 if load.run(port, made, None, 1).answers else 0
        except OSError:
            answered = 0
            time.sleep(0.2)
    if answered < 16:
        raise RuntimeError(f"the {name} side does not answer")
    return Side(name, port, [one for pid in pids for one in family(pid)], given)
