"""The sources and the counts of accepted events in Postgres."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString

import psycopg
from psycopg_pool import PoolTimeout

from cdp_ingest.ports import AcceptedRow, LookupImpossible, Source
from cdp_runtime.postgres import Pool, silence

_SOURCE = """
SELECT workspace_id, source_id, name, enabled, settings, required_consent
FROM ingest.sources WHERE write_key_hash = %s
"""
_RECORD = """
INSERT INTO ingest.accepted (workspace_id, source_id, minute, run_id, count)
SELECT * FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::text[], %s::bigint[])
ON CONFLICT (workspace_id, source_id, minute, run_id) DO UPDATE SET count = greatest(accepted.count, excluded.count)
"""
_READ = """
SELECT source_id, minute, sum(count)::bigint AS count FROM ingest.accepted
WHERE workspace_id = %s AND minute >= %s GROUP BY source_id, minute ORDER BY minute DESC, source_id
"""
_FORGET = "DELETE FROM ingest.accepted WHERE minute < %s"


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
            raise LookupImpossible(silence(error)) from error
        if row is None:
            return None
        workspace_id, source_id, name, enabled, settings, required_consent = row
        return Source(workspace_id, source_id, name, enabled, settings, tuple(required_consent))


class PostgresAccepted:
    """The AcceptedTable port, and its reader."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def record(self, rows: Sequence[AcceptedRow]) -> None:
        columns = [list(column) for column in zip(*rows, strict=True)]
        await self._execute(_RECORD, columns)

    async def forget(self, before: datetime) -> None:
        await self._execute(_FORGET, (before,))

    async def read(self, workspace_id: str, since: datetime) -> list[dict[str, object]]:
        """``{source_id, minute, count}`` per source and minute from ``since`` on, newest first."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_READ, (workspace_id, since))).fetchall()
        return [{"source_id": source, "minute": minute, "count": count} for source, minute, count in rows]

    async def _execute(self, sql: LiteralString, parameters: Sequence[object]) -> None:
        try:
            async with self._pool.connection() as connection:
                await connection.execute(sql, parameters)
        except (psycopg.Error, PoolTimeout) as error:
            raise OSError(silence(error)) from error  # whatever it is: counts that nobody writes wait in memory
