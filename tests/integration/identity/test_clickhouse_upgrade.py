"""Rows that an older release stored are the same after the upgrade, before and after their parts are rewritten."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from asyncio.subprocess import PIPE
from urllib.parse import urlsplit, urlunsplit

import pytest
from tests.databases import clickhouse_client, fresh_clickhouse

from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.statement import Statement
from cdp_runtime.migrate import all_migrations, migrate_clickhouse, statements
from cdp_schemas.tables import EVENTS

pytestmark = pytest.mark.clickhouse
OLD_ROWS = f"""
INSERT INTO events ({", ".join(EVENTS.columns)})
SELECT 'acme', ['A', 'B'][1 + number % 2], reinterpretAsUUID(sipHash128(number % 40)),
    fromUnixTimestamp64Milli(1790000000000 + rand(1) % 9000000000), fromUnixTimestamp64Milli(1799000000000 + rand(2)),
    'track', toString(generateUUIDv4()), 'web', '', '', toString(number % 7), '{{"n":1}}', '{{}}', '{{}}', number % 3,
    number
FROM numbers(3000)
"""
FINGERPRINTS = {
    "events": f"SELECT count(), groupBitXor(cityHash64({', '.join(EVENTS.columns)})) FROM events",
    "counters": "SELECT sum(count), groupBitXor(cityHash64(event, node_id, day, count, first_at, last_at)) FROM ("
    "SELECT event, node_id, day, sum(count) AS count, min(first_at) AS first_at, max(last_at) AS last_at FROM counters "
    "GROUP BY event, node_id, day)",
}


async def test_stored_rows_survive_the_upgrade(clickhouse_url: str) -> None:
    async with fresh_clickhouse(clickhouse_url, "upgrade") as url, clickhouse_client(url) as store:
        await _first_release(store)
        await store.command(Statement(OLD_ROWS), settings=_once("before"))
        before = await _fingerprints(store)
        assert before["events"][0] == before["counters"][0] == 3000
        applied = await migrate_clickhouse(url)
        assert {"cdp_identity/0002_codecs.sql", "cdp_identity/0003_rewritten.sql"} <= set(applied)
        assert await _fingerprints(store) == before
        await store.command(Statement(OLD_ROWS), settings=_once("before"))
        assert await _fingerprints(store) == before, "an insert that was in doubt is sent again after the upgrade"
        for table in FINGERPRINTS:
            await store.command(Statement(f"ALTER TABLE {table} REWRITE PARTS SETTINGS mutations_sync = 2"))
            await store.command(Statement(f"OPTIMIZE TABLE {table} FINAL"))
        assert await _fingerprints(store) == before
        # the previous release's recorder, at work for a moment longer, knows no new columns
        for _ in range(2):
            await store.command(Statement(OLD_ROWS), settings=_once("after"))
        after = await _fingerprints(store)
        assert after["events"][0] == after["counters"][0] == 6000


@pytest.mark.parametrize("view", ["counters_from_events", "stored_outcomes_from_events"])
async def test_an_upgrade_that_ended_while_a_view_was_detached_is_run_again(clickhouse_url: str, view: str) -> None:
    async with fresh_clickhouse(clickhouse_url, "halfway") as url, clickhouse_client(url) as store:
        await _first_release(store)
        for statement in _until_detached(view):
            await store.command(Statement(statement))
        assert "cdp_identity/0003_rewritten.sql" in await migrate_clickhouse(url)
        await store.command(Statement(OLD_ROWS), settings=_once("after"))
        fingerprints = await _fingerprints(store)
        assert fingerprints["events"][0] == fingerprints["counters"][0] == 3000


def _until_detached(view: str) -> list[str]:
    """What `0003_rewritten` does until this view is away."""
    ours = next(one for one in all_migrations() if one.package == "cdp_identity")
    found = statements(ours.clickhouse[2].read_text())
    return found[: found.index(f"DETACH TABLE IF EXISTS {view}") + 1]


@pytest.mark.postgres
async def test_of_several_processes_that_migrate_at_once_one_runs_each_file(
    clickhouse_url: str, postgres_url: str
) -> None:
    database = f"together_{uuid.uuid4().hex[:8]}"
    server = ClickHouse(clickhouse_url)
    try:
        url = urlunsplit(urlsplit(clickhouse_url)._replace(path=f"/{database}"))
        environment = {**os.environ, "CDP_POSTGRES_URL": postgres_url, "CDP_CLICKHOUSE_URL": url}
        command = [sys.executable, "-m", "cdp_runtime.start", "migrate"]
        both = [await asyncio.create_subprocess_exec(*command, stdout=PIPE, env=environment) for _ in range(2)]
        told = sorted([(await process.communicate())[0].decode() for process in both], key=len)
        assert told[0].endswith("; ClickHouse: nothing new.\n")
        assert told[1].count(".sql") == sum(len(one.clickhouse) for one in all_migrations())
    finally:
        await server.command(Statement(f"DROP DATABASE IF EXISTS {database}"))
        await server.stop()


async def _first_release(store: ClickHouse) -> None:
    """The tables as the first release made them; the later files are the upgrade."""
    ours = next(one for one in all_migrations() if one.package == "cdp_identity")
    for statement in statements(ours.clickhouse[0].read_text()):
        await store.command(Statement(statement))


def _once(token: str) -> dict[str, str]:
    return {"insert_deduplication_token": token}


async def _fingerprints(store: ClickHouse) -> dict[str, tuple[int, int]]:
    return {name: tuple((await store.rows(Statement(sql)))[0].values()) for name, sql in FINGERPRINTS.items()}
