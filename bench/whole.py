"""A whole stack on an empty folder, with five workspaces of a hundred segments each -> what is sent to it and read."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from faults.stack import HTTP
from tests.millrace import Millrace

from bench import load
from bench.generator import ALONE, DEMO, RULES, SHARES, Load, Mix, Tenant, Traffic, made
from bench.machine import family, usage
from bench.openloop import Steady
from cdp_analytics_api.adapters.postgres.tokens import NewToken, create_token
from cdp_analytics_api.adapters.postgres.workspaces import create_workspace
from cdp_ingest.adapters.postgres_sources import NewSource, create_source
from cdp_runtime.auth import SCOPES

BATCH, SEGMENTS, CONNECTIONS = 100, 100, 16
_SECONDS, _WORK = 5, 0.15  # how long an empty stack is watched at rest; cores beyond what it used then are work
_LOG_FILES = 120  # of 16 MB, as many as the local Postgres keeps
TENANTS = (
    DEMO,
    *(Tenant(f"bench-{n}", f"bench-{n}-write-key", f"bench-{n}-api-token") for n in range(1, len(SHARES))),
)


@dataclass
class Whole:
    """A running stack. ``resting``: cores that it used before it had anything to do; ``rate``: events per second at
    which P5's load was through, once that was measured."""

    stack: Millrace
    resting: float
    rate: float | None = None
    _runs: int = 0
    _done: set[str] = field(default_factory=set)

    @property
    def pids(self) -> list[int]:
        """Every process of the stack."""
        assert self.stack.process is not None
        return family(self.stack.process.pid)

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.stack.ports['KAFKA']}"

    def traffic(self, mix: Mix = RULES, tenants: Sequence[Tenant] = TENANTS) -> Traffic:
        """A stream of events that no other stream of this stack repeats."""
        self._runs += 1
        return Traffic(tenants, self._runs, mix)

    def steady(self, rate: float, tenants: Sequence[Tenant] = TENANTS, batch: int = BATCH) -> Steady:
        """A context in which so many events a second of these workspaces come in."""
        return Steady(self.stack.ports["INGEST"], self.traffic(tenants=tenants), rate, batch)

    def fill(self) -> None:
        """Workspaces, segments and a first load, which also warms everything up; once."""
        if not self.first("filled"):
            return
        self._use_log_files()
        asyncio.run(_open(self.stack.postgres_url))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda pair: _segment(self.stack, *pair), [(t, n) for t in TENANTS for n in range(SEGMENTS)]))
        self.stack.until("all segments are built", self._unbuilt, lambda count: count == 0, 120)
        there, sent = self.stored(), self.send(40, 400)
        self.recorded(there + sent.stored)
        self.rest()

    def rest(self, deadline: float = 60) -> None:
        """Returns when nothing is done any more, or after the deadline: whatever waits polls, at a cost that depends on
        the machine's day."""
        pids, end = self.pids, time.monotonic() + deadline
        while time.monotonic() < end and usage(pids) >= self.resting + _WORK:
            pass

    def first(self, what: str) -> bool:
        """Whether this stack is asked so for the first time: for what is done to it once."""
        is_first = what not in self._done
        self._done.add(what)
        return is_first

    def send(self, batches: int, singles: int) -> Load:
        """As fast as it is answered: the batches, then the events alone."""
        many, alone = made(batches, BATCH, self.traffic()), made(singles, 1, self.traffic(ALONE))
        return self.offer(many, alone)

    def offer(self, *loads: Load) -> Load:
        """Sends what is ready, one after the other. Raises AssertionError when the gateway does not answer 200."""
        for some in loads:
            result = load.run(self.stack.ports["INGEST"], some.requests, None, CONNECTIONS)
            assert result.failures == 0, f"the gateway refused {result.failures} calls of the load"
        return Load([], sum(some.events for some in loads), sum(some.stored for some in loads))

    def recorded(self, expected: int, seconds: float = 300) -> None:
        """Returns when ClickHouse holds as many events. Raises AssertionError when it holds more."""
        # a question is the store's work too, and no event's: few are asked
        there = self.stack.until("everything is recorded", self.stored, expected.__le__, seconds, every=0.5)
        assert there == expected, f"{there:,} events are stored instead of {expected:,}"

    def stored(self) -> int:
        """Events in ClickHouse, which it knows without reading any."""
        return int(self.ask("SELECT count() FROM cdp.events"))

    def ask(self, sql: str) -> str:
        """ClickHouse's answer, as text."""
        answer = HTTP.post(f"http://127.0.0.1:{self.stack.ports['CLICKHOUSE']}/", content=sql, timeout=60)
        assert answer.is_success, answer.text
        return answer.text

    def _use_log_files(self) -> None:
        """Postgres has files of its log to use again, as any that has run for a while: a new one is 16 MB of zeros,
        for which all commits wait."""
        with psycopg.connect(self.stack.postgres_url, autocommit=True) as connection:
            for _ in range(_LOG_FILES):
                connection.execute("SELECT pg_logical_emit_message(true, 'bench', ''), pg_switch_wal()")
            connection.execute("CHECKPOINT")
            (kept,) = connection.execute("SELECT count(*) FROM pg_ls_waldir()").fetchone() or (0,)
        assert kept >= _LOG_FILES, f"Postgres has kept {kept} files of its log"

    def _unbuilt(self) -> int:
        with psycopg.connect(self.stack.postgres_url) as connection:
            found = connection.execute("SELECT count(*) FROM segmenter.segments WHERE status <> 'ready'").fetchone()
        return int(found[0]) if found else 0


@contextmanager
def running() -> Iterator[Whole]:
    """A whole stack on an empty folder, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="millrace-bench-"))
    stack = Millrace(folder / "data")
    try:
        stack.start()
        assert stack.process is not None
        yield Whole(stack, min(usage(family(stack.process.pid)) for _ in range(_SECONDS)))
    finally:
        if stack.process is not None and stack.process.poll() is None:
            _resume(family(stack.process.pid))
            stack.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _resume(pids: list[int]) -> None:
    """Lets what a measurement suspended go on: it could not end otherwise."""
    for pid in pids:
        try:
            psutil.Process(pid).resume()
        except psutil.Error:
            continue


async def _open(postgres_url: str) -> None:
    """The workspaces beside the demo's, with a source and a token each."""
    async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
        for tenant in TENANTS[1:]:
            await open_workspace(connection, tenant)
            await create_source(connection, NewSource(tenant.workspace, "web", "Web", tenant.write_key))


async def open_workspace(connection: psycopg.AsyncConnection[Any], tenant: Tenant) -> None:
    """A workspace and the token that may do everything in it."""
    await create_workspace(connection, tenant.workspace, tenant.workspace)
    await create_token(connection, NewToken(tenant.workspace, "bench", tenant.token, sorted(SCOPES)))


def _segment(stack: Millrace, tenant: Tenant, number: int) -> None:
    answer = api(stack, tenant, "POST", "/segments", json=_rule(number))
    assert answer.is_success, answer.text


def api(stack: Millrace, tenant: Tenant, method: str, path: str, **options: Any) -> httpx.Response:
    """A call of the front door with this workspace's token."""
    return stack.api(method, path, headers={"Authorization": f"Bearer {tenant.token}"}, **options)


def _rule(number: int) -> dict[str, Any]:
    """The usual kinds: traits, revenue, counts in windows, NOT; two conditions each."""
    conditions: list[Any] = [
        {"field": "attributes.country", "operator": "=", "value": ["GB", "US", "DE", "FR"][number % 4]},
        {"field": "computed.ltv", "operator": ">", "value": 10 * number},
        {"event": "Product Viewed", "count": {"min": 1 + number % 7}, "window": f"P{1 + number % 30}D"},
        {
            "operator": "NOT",
            "conditions": [{"event": "purchase", "count": {"min": 1}, "window": f"P{1 + number % 9}D"}],
        },
        {"field": "attributes.plan", "operator": "in", "value": ["a", "b"]},
    ]
    chosen = [conditions[number % 5], conditions[(number // 5 + 2) % 5]]
    rules = {"operator": ("AND", "OR")[number % 2], "conditions": chosen}
    return {"name": f"bench {number}", "type": "rule-based", "rules": rules}
