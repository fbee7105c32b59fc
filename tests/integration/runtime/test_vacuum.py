"""Queues in Postgres are vacuumed though little of them is dead; otherwise their space is used again much later."""

import asyncio

import pytest
from psycopg import AsyncConnection

from cdp_runtime.migrate import migrate_postgres

pytestmark = pytest.mark.stack
LONG, GONE = 3000, 400  # of a table of that length a fifth would have to be dead


@pytest.mark.parametrize("schema", ["segmenter", "activation"])
async def test_an_outbox_is_vacuumed_while_it_is_long(postgres_url: str, schema: str) -> None:
    await migrate_postgres(postgres_url)
    async with await AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        count = f"SELECT autovacuum_count FROM pg_stat_user_tables WHERE relid = '{schema}.outbox'::regclass"
        fill = f"INSERT INTO {schema}.outbox (key, message) SELECT 'k', 'm' FROM generate_series(1, {LONG})"
        await connection.execute(fill)
        # counted before the vacuum, or the new rows are a reason for another one
        await connection.execute("SELECT pg_stat_force_next_flush()")
        await connection.execute(f"VACUUM ANALYZE {schema}.outbox")
        before = (await (await connection.execute(count)).fetchone() or (0,))[0]
        gone = f"SELECT outbox_id FROM {schema}.outbox ORDER BY outbox_id LIMIT {GONE}"
        await connection.execute(f"DELETE FROM {schema}.outbox WHERE outbox_id IN ({gone})")
        try:
            async with asyncio.timeout(45):
                while (await (await connection.execute(count)).fetchone() or (0,))[0] == before:
                    await asyncio.sleep(0.5)
        finally:
            await connection.execute(f"DELETE FROM {schema}.outbox")


LARGE = ("identity.nodes", "identity.links", "identity.profiles", "segmenter.profile_segments")


async def test_large_tables_are_learned_anew_when_they_have_doubled(postgres_url: str) -> None:
    """At the usual tenth ANALYZE takes a third of Postgres while a table grows from nothing."""
    await migrate_postgres(postgres_url)
    options = "SELECT coalesce(reloptions, '{}') FROM pg_class WHERE oid = %s::regclass"
    async with await AsyncConnection.connect(postgres_url) as connection:
        found = [await (await connection.execute(options, [table])).fetchone() for table in LARGE]
    assert all(row is not None and "autovacuum_analyze_scale_factor=1" in row[0] for row in found), found
