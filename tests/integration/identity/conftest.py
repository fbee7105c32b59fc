"""A database of its own for the resolver's tests, migrated once per session and emptied before each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.databases import fresh_database, front_door

from cdp_clickhouse.client import ClickHouse
from cdp_identity.adapters.postgres_messages import keep_message_partitions
from cdp_runtime.postgres import Pool, front_door_statements, open_pool
from cdp_verify.checks.counting import check_conservation, check_counters
from cdp_verify.stores import PostgresReads, Scope, Stores

TABLES = "nodes, links, profiles, orders, consents, messages, partitions"


@pytest.fixture(scope="session")
async def identity_url(postgres_url: str) -> str:
    return await fresh_database(postgres_url, "identity_test")


@pytest.fixture(scope="session")
async def session_pool(identity_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(identity_url, name="test", max_size=12)
    await keep_message_partitions(pool, datetime.now(UTC), timedelta(hours=24))
    yield pool
    await pool.close()


@pytest.fixture
async def pool(session_pool: Pool) -> Pool:
    await empty(session_pool)
    return session_pool


@pytest.fixture(scope="session")
async def door(identity_url: str) -> AsyncIterator[Pool]:
    """What the API reads from: only what the caller's workspace has."""
    async with front_door(identity_url, name="test-door", make=front_door_statements) as pool:
        yield pool


async def empty(pool: Pool) -> None:
    """Deletes every row: for few rows that is quicker than TRUNCATE."""
    async with pool.connection() as connection:
        for table in TABLES.split(", "):
            await connection.execute(f"DELETE FROM identity.{table}")


async def miscounts(store: ClickHouse, postgres_url: str, workspace_id: str) -> list[str]:
    """What `cdp verify` says against the outcomes and the counters of a workspace that the recorder wrote."""
    stores = Stores(store, PostgresReads(postgres_url), scope=Scope(workspace_id))
    found = [await check_conservation(stores), await check_counters(stores)]
    return [violation for one in found for violation in one.violations]
