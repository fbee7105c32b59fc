"""A running Postgres or ClickHouse -> a database of its own for a room's tests; the front door's pool, the tables."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg

from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.statement import Statement
from cdp_runtime.migrate import migrate_clickhouse, migrate_postgres
from cdp_runtime.postgres import Pool, front_door_pool
from cdp_runtime.tenancy import leave_workspace


async def fresh_database(postgres_url: str, name: str) -> str:
    """The URL of the database, made anew."""
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {name}")
    url = urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
    await migrate_postgres(url)
    return url


@asynccontextmanager
async def front_door(
    url: str, *, name: str, max_size: int = 8, make: Callable[..., Pool] = front_door_pool
) -> AsyncIterator[Pool]:
    """An open pool as the routes have them, before any login."""
    async with make(url, name=name, max_size=max_size) as pool:
        leave_workspace()
        yield pool
        leave_workspace()


@asynccontextmanager
async def clickhouse_client(url: str) -> AsyncIterator[ClickHouse]:
    store = ClickHouse(url)
    try:
        yield store
    finally:
        await store.stop()


@asynccontextmanager
async def fresh_clickhouse(clickhouse_url: str, name: str) -> AsyncIterator[str]:
    """The URL of a ClickHouse database that is empty, and gone afterwards."""
    database = f"{name}_{uuid4().hex[:8]}"
    async with clickhouse_client(clickhouse_url) as server:
        await server.command(Statement(f"CREATE DATABASE {database}"))
        try:
            yield urlunsplit(urlsplit(clickhouse_url)._replace(path=f"/{database}"))
        finally:
            await server.command(Statement(f"DROP DATABASE {database}"))


@asynccontextmanager
async def all_tables(clickhouse_url: str) -> AsyncIterator[ClickHouse]:
    """A client of the database, which has every table by then."""
    await migrate_clickhouse(clickhouse_url)
    async with clickhouse_client(clickhouse_url) as store:
        await store.start()
        yield store
