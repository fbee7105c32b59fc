"""Databases of their own for the proof: one of Postgres, one of ClickHouse, migrated once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import pytest
from tests.databases import fresh_database

from cdp_clickhouse.client import ClickHouse
from cdp_runtime.migrate import migrate_clickhouse


@pytest.fixture(scope="session")
async def proof_postgres(postgres_url: str) -> str:
    return await fresh_database(postgres_url, "verify_test")


@pytest.fixture(scope="session")
async def proof_columns(clickhouse_url: str) -> AsyncIterator[ClickHouse]:
    url = urlunsplit(urlsplit(clickhouse_url)._replace(path="/verify_test"))
    await migrate_clickhouse(url)
    store = ClickHouse(url)
    await store.start()
    yield store
    await store.stop()
