"""A million profiles and ten million events, made by ClickHouse itself -> a store to ask questions of."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.statement import Statement
from cdp_devstack.background import BackgroundStack
from cdp_devstack.parts import Part, Ports
from cdp_runtime.migrate import migrate_clickhouse
from cdp_schemas import tables

WORKSPACE, PROFILES, EVENTS = "bench", 1_000_000, 10_000_000
SLICES = 10  # inserts of each table: one would need more memory than this machine has to spare
NAMES = [
    "Page Viewed",
    "Product Added",
    "Email Opened",
    "Email Link Clicked",
    "Signed In",
    "Checkout Started",
    "Search",
]

_PROFILES = """
SELECT {workspace:String}, reinterpretAsUUID(sipHash128(number)), 1, 0, now64(3), now64(3),
    now64(3) - toIntervalSecond(rand(1) % (86400 * 400)), now64(3) - toIntervalSecond(rand(2) % (86400 * 60)),
    map('email', [concat('p', toString(number), '@example.com')]),
    concat('{"country":"', ['US', 'DE', 'FR', 'GB', 'IN'][1 + rand(3) % 5], '","age":', toString(18 + rand(4) % 60),
           ',"plan":"', ['free', 'pro', 'team'][1 + rand(5) % 3], '"}')::JSON(max_dynamic_paths = 256),
    map('email', rand(6) % 2 = 0), 'USD', rand(7) % 200000, 0, rand(8) % 10, NULL, NULL
FROM numbers({from:UInt64}, {count:UInt64})
"""
# every tenth event arrived at another node of its profile, half of which are known by now to belong to it
_EVENTS = """
SELECT 'bench', {names:Array(String)}[1 + rand(1) % length({names:Array(String)})],
    reinterpretAsUUID(sipHash128(toUInt64(if(rand(2) % 10 = 0, 1000000000, 0) + rand(3) % {profiles:UInt64}))),
    now64(3) - toIntervalMillisecond(rand64(4) % (toUInt64(86400000) * 180)), now64(3), 'track', toString(number),
    's', '', '', '', concat('{"revenue":', toString(rand(5) % 30000 / 100), '}'), '{}', '{}', 0, number
FROM numbers({from:UInt64}, {count:UInt64})
"""
_ALIASES = """
SELECT 'bench', reinterpretAsUUID(sipHash128(toUInt64(1000000000 + number))),
    reinterpretAsUUID(sipHash128(toUInt64(number))), 1 FROM numbers({profiles:UInt64}) WHERE number % 2 = 0
"""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Where the store is. Each measurement connects anew: a client belongs to one event loop."""

    url: str

    def store(self) -> ClickHouse:
        return ClickHouse(self.url, timeout_s=600)


@contextmanager
def filled() -> Iterator[Crowd]:
    """The environment: a ClickHouse of its own, filled and merged, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="millrace-bench-"))
    stack = BackgroundStack(folder / "data", Ports.free())
    try:
        crowd = Crowd(stack.url(Part.CLICKHOUSE))
        asyncio.run(_migrated_and_filled(crowd))
        yield crowd
    finally:
        stack.close()
        shutil.rmtree(folder, ignore_errors=True)


async def _migrated_and_filled(crowd: Crowd) -> None:
    await migrate_clickhouse(crowd.url)
    store = crowd.store()
    await fill(store)
    await store.stop()


async def fill(store: ClickHouse, profiles: int = PROFILES, events: int = EVENTS) -> None:
    """Rows into empty tables; the counters follow from the events."""
    await insert_profiles(store, WORKSPACE, profiles)
    await _sliced(store, tables.EVENTS, _EVENTS, events, {"names": NAMES, "profiles": profiles})
    await insert(store, tables.PROFILE_ALIASES, _ALIASES, {"profiles": profiles})
    for table in ("events", "counters", "profile_aliases"):
        await store.command(Statement(f"OPTIMIZE TABLE {table} FINAL"))
    await require_filled(store, profiles, events)


async def require_filled(store: ClickHouse, profiles: int, events: int) -> None:
    """Raises AssertionError when there are less than everybody and everything: two queries agree on nothing, too."""
    where = f"WHERE workspace_id = '{WORKSPACE}'"
    counts = f"(SELECT count() FROM profiles FINAL {where}) AS profiles, (SELECT count() FROM events {where}) AS events"
    (row,) = await store.rows(Statement(f"SELECT {counts}"))
    found = (row["profiles"], row["events"])
    assert found == (profiles, events), f"the crowd has {found[0]:,} profiles and {found[1]:,} events"


async def insert_profiles(store: ClickHouse, workspace: str, profiles: int = PROFILES) -> None:
    """Rows for a workspace that has none, merged."""
    await _sliced(store, tables.PROFILES, _PROFILES, profiles, {"workspace": workspace})
    await store.command(Statement("OPTIMIZE TABLE profiles FINAL"))


async def insert(store: ClickHouse, table: tables.Table, rows: str, parameters: dict[str, Any]) -> None:
    """The rows of a SELECT of the columns that readers rely on; what a migration adds has its default."""
    await store.command(Statement(f"INSERT INTO {table.name} ({', '.join(table.columns)}) {rows}", parameters))


async def _sliced(store: ClickHouse, table: tables.Table, rows: str, total: int, parameters: dict[str, Any]) -> None:
    count = total // SLICES
    for number in range(SLICES):
        await insert(store, table, rows, {"from": number * count, "count": count, **parameters})
