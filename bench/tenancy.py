"""``python -m bench.tenancy``: what a read of the front door costs as the confined role, beside the same as owner."""

import asyncio
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from cdp_devstack.background import BackgroundStack
from cdp_devstack.parts import Part, Ports
from cdp_identity.adapters.postgres_reads import ProfileReads
from cdp_identity.identifiers import Spelling
from cdp_identity.search import ProfileSearch, conditions
from cdp_runtime.clock import SystemClock
from cdp_runtime.migrate import migrate_postgres
from cdp_runtime.postgres import Pool, front_door_pool, lazy_pool
from cdp_runtime.tenancy import enter_workspace

WORKSPACES, PROFILES, ROUNDS, REQUESTS = 3, 30_000, 10, 100
WORKSPACE = "workspace-1"
_TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
_FILL = """
INSERT INTO identity.profiles (workspace_id, profile_id, version, created_at, updated_at, traits, consent)
SELECT 'workspace-' || w, md5(n::text)::uuid, 1, now(), now(), jsonb_build_object('country', n %% 5000), '{}'
FROM generate_series(1, %s) AS w, generate_series(1, %s) AS n
"""
Read = Callable[[], Awaitable[object]]
Ways = dict[str, tuple[str, Callable[[Pool], Read]]]  # name -> pool, and what is read through it


@dataclass
class Cost:
    """Microseconds per request, of each round."""

    wall: list[float] = field(default_factory=list)
    client: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        wall, client, server = statistics.median(self.wall), statistics.mean(self.client), statistics.mean(self.server)
        return f"{wall:,.0f} us of wall time ({client:,.0f} us of CPU here, {server:,.0f} us in Postgres)"


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="millrace-bench-"))
    stack = BackgroundStack(folder / "data", Ports.free())
    try:
        asyncio.run(_compare(stack.url(Part.POSTGRES)))
    finally:
        stack.close()
        shutil.rmtree(folder, ignore_errors=True)


async def _compare(url: str) -> None:
    await migrate_postgres(url)
    pools = {
        "owner": lazy_pool(url, name="bench-owner", max_size=1),
        "front door": front_door_pool(url, name="bench-door", max_size=1),
    }
    for pool in pools.values():
        await pool.open()
    enter_workspace(WORKSPACE)
    async with pools["owner"].connection() as connection:
        await connection.execute(_FILL, [WORKSPACES, PROFILES])
        await connection.commit()
        await connection.set_autocommit(True)
        await connection.execute("VACUUM ANALYZE identity.profiles")
        await connection.set_autocommit(False)
        row = await (await connection.execute("SELECT profile_id FROM identity.profiles LIMIT 1")).fetchone()
    assert row is not None
    print(f"{WORKSPACES} workspaces of {PROFILES:,} profiles")
    for what, ways in (("one profile by its id", _by_id(row[0])), ("a search by a trait", _by_trait())):
        costs = {way: Cost() for way in ways}
        for _ in range(ROUNDS):  # in turn, so that whatever else the machine does meets all
            for way, (name, reader) in ways.items():
                await _measure(pools[name], reader(pools[name]), costs[way])
        for way, cost in costs.items():
            print(f"{what}, {way}: {cost}")
    for pool in pools.values():
        await pool.close()


def _by_id(profile: UUID) -> Ways:
    def reader(pool: Pool) -> Read:
        return lambda: ProfileReads(pool, SystemClock()).records(WORKSPACE, [profile])

    return {"as the owner": ("owner", reader), "as the front door": ("front door", reader)}


def _by_trait() -> Ways:
    search = conditions(WORKSPACE, ProfileSearch(attributes={"country": 7}), "USD", Spelling())
    statement, parameters = search.page(50, 0, None)

    def reading(statement: str) -> Callable[[Pool], Read]:
        return lambda pool: lambda: _rows(pool, statement, parameters)

    view, table = reading(statement), reading(statement.replace("workspace_profiles", "profiles"))
    return {
        "as the owner": ("owner", table),
        "as the front door": ("front door", view),
        "as the front door without the view": ("front door", table),
    }


async def _rows(pool: Pool, statement: Any, parameters: list[Any]) -> list[Any]:
    async with pool.connection() as connection:
        return await (await connection.execute(statement, parameters)).fetchall()


async def _measure(pool: Pool, read: Read, cost: Cost) -> None:
    async with pool.connection() as connection:
        process = connection.info.backend_pid
    assert await read()
    wall, client, server = time.perf_counter(), time.process_time(), _cpu_us(process)
    for _ in range(REQUESTS):
        await read()
    cost.wall.append((time.perf_counter() - wall) * 1e6 / REQUESTS)
    cost.client.append((time.process_time() - client) * 1e6 / REQUESTS)
    cost.server.append((_cpu_us(process) - server) / REQUESTS)


def _cpu_us(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_US


if __name__ == "__main__":
    main()
