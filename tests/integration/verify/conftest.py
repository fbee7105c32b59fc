"""Databases of their own for the proof: one of Postgres, one of ClickHouse, migrated once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from cdp_clickhouse.client import ClickHouse
from cdp_runtime.migrate import migrate_clickhouse, migrate_postgres


@pytest.fixture(scope="session")
async def proof_postgres(postgres_url: str) -> str:
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute("DROP DATABASE IF EXISTS verify_test WITH (FORCE)")
        await connection.execute("CREATE DATABASE verify_test")
    url = urlunsplit(urlsplit(postgres_url)._replace(path="/verify_test"))
    await migrate_postgres(url)
    return url


@pytest.fixture(scope="session")
async def proof_columns(clickhouse_url: str) -> AsyncIterator[ClickHouse]:
    url = urlunsplit(urlsplit(clickhouse_url)._replace(path="/verify_test"))
    await migrate_clickhouse(url)
    store = ClickHouse(url)
    await store.start()
    yield store
    await store.stop()
