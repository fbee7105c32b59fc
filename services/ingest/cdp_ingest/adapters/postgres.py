"""The sources and the counts of accepted events in Postgres."""

from collections.abc import Sequence

import psycopg
from psycopg_pool import PoolTimeout

from cdp_ingest.ports import AcceptedRow, LookupImpossible, Source
from cdp_runtime.postgres import Pool, retryable

_SOURCE = """
SELECT workspace_id, source_id, name, enabled, settings FROM ingest.sources WHERE write_key_hash = %s
"""
_RECORD = """
INSERT INTO ingest.accepted (workspace_id, source_id, minute, run_id, count)
SELECT * FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::text[], %s::bigint[])
ON CONFLICT (workspace_id, source_id, minute, run_id) DO UPDATE SET count = greatest(accepted.count, excluded.count)
"""
_READ = """
SELECT source_id, minute, sum(count)::bigint AS count FROM ingest.accepted
WHERE workspace_id = %s AND minute >= now() - make_interval(hours => %s)
GROUP BY source_id, minute ORDER BY minute DESC, source_id
"""


class PostgresSources:
    """The SourceTable port."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def source(self, write_key_hash: str) -> Source | None:
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_SOURCE, (write_key_hash,))
                row = await cursor.fetchone()
        except (psycopg.Error, PoolTimeout, OSError) as error:
            raise LookupImpossible(f"Postgres does not answer: {str(error).strip() or type(error).__name__}") from error
        return None if row is None else Source(*row)


class PostgresAccepted:
    """The AcceptedTable port, and its reader."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def record(self, rows: Sequence[AcceptedRow]) -> None:
        columns = [list(column) for column in zip(*rows, strict=True)]
        try:
            async with self._pool.connection() as connection:
                await connection.execute(_RECORD, columns)
        except (psycopg.Error, PoolTimeout) as error:
            if not retryable(error):
                raise
            raise OSError(f"Postgres does not answer: {error}") from error

    async def read(self, workspace_id: str, hours: int) -> list[dict[str, object]]:
        """``{sourceId, minute, count}`` of the last hours, newest first."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_READ, (workspace_id, hours))).fetchall()
        return [{"sourceId": source, "minute": minute, "count": count} for source, minute, count in rows]
