"""A running Postgres -> a database of its own for a room's tests, empty and migrated."""

from urllib.parse import urlsplit, urlunsplit

import psycopg

from cdp_runtime.migrate import migrate_postgres


async def fresh_database(postgres_url: str, name: str) -> str:
    """The URL of the database, made anew."""
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {name}")
    url = urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
    await migrate_postgres(url)
    return url
