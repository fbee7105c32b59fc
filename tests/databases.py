"""A running Postgres -> a database of its own for a room's tests, empty and migrated, and its front door."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg

from cdp_runtime.migrate import migrate_postgres
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
