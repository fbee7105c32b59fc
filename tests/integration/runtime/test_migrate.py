"""`cdp migrate`: whatever form an address has, whoever else migrates, and whatever does not answer."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from alembic import command
from psycopg.conninfo import conninfo_to_dict
from tests.databases import fresh_database

from cdp_clickhouse.errors import StoreUnavailable
from cdp_identity.adapters.postgres_messages import keep_message_partitions
from cdp_runtime.migrate import _LOCK, alembic_config, migrate_clickhouse, migrate_postgres, postgres_sql
from cdp_runtime.postgres import open_pool

LOCK_TIMEOUT_S = 10


def forms(url: str) -> Iterator[str]:
    yield url.replace("postgresql://", "postgres://")
    yield " ".join(f"{name}={value}" for name, value in conninfo_to_dict(url).items())


@pytest.mark.postgres
async def test_migrations_take_every_address_that_the_services_take(postgres_url: str) -> None:
    heads = await migrate_postgres(postgres_url)
    for address in forms(postgres_url):
        assert await migrate_postgres(address) == heads


@pytest.mark.postgres
async def test_a_migration_waits_for_another_however_long_it_takes(postgres_url: str) -> None:
    await migrate_postgres(postgres_url)
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as other:
        await other.execute("SELECT pg_advisory_lock(7310001)")
        waiting = asyncio.create_task(migrate_postgres(postgres_url))
        done, _ = await asyncio.wait({waiting}, timeout=LOCK_TIMEOUT_S + 2)
        assert not done, waiting.exception()
    await waiting


@pytest.mark.postgres
async def test_what_would_run_is_what_the_database_has_not_seen(
    postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = await fresh_database(postgres_url, "migrate_sql_test")
    await asyncio.to_thread(postgres_sql, url)
    assert "UPDATE cdp_migrations" not in capsys.readouterr().out
    await asyncio.to_thread(command.downgrade, alembic_config(url), "identity@-1")
    await asyncio.to_thread(postgres_sql, url)
    told = capsys.readouterr().out
    assert "SET version_num='identity_0011'" in told and "CREATE SCHEMA" not in told
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(told)
    await asyncio.to_thread(postgres_sql, url)
    assert "UPDATE cdp_migrations" not in capsys.readouterr().out


async def test_a_clickhouse_that_does_not_answer_is_told() -> None:
    with pytest.raises(StoreUnavailable, match=r"refused|connect"):
        await migrate_clickhouse("http://127.0.0.1:1/cdp", patience_s=1)


@pytest.mark.postgres
async def test_a_resolver_starts_while_clickhouse_is_migrated(postgres_url: str) -> None:
    await migrate_postgres(postgres_url)
    pool = await open_pool(postgres_url, name="test")
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as other:
        await other.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        async with asyncio.timeout(5):
            await keep_message_partitions(pool, datetime.now(UTC), timedelta(hours=24))
    await pool.close()
