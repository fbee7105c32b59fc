"""Audit entries -> front.audit, for as long as they are kept."""

from collections.abc import Sequence
from dataclasses import astuple
from datetime import datetime
from typing import Final

from psycopg import sql

from cdp_analytics_api.adapters.postgres.trim import trim
from cdp_analytics_api.ports import AuditEntry
from cdp_runtime.postgres import Pool

_WRITE: Final = """
INSERT INTO front.audit (workspace_id, at, request_id, token_id, method, route, subject, scope, status)
SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
                     %s::text[], %s::int[])
"""


class PostgresAuditLog:
    """The AuditLog port."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def write(self, entries: Sequence[AuditEntry]) -> None:
        columns = [list(column) for column in zip(*map(astuple, entries), strict=True)]
        async with self._pool.connection() as connection:
            await connection.execute(_WRITE, columns)

    async def purge(self, before: datetime) -> None:
        await trim(self._pool, sql.Identifier("front", "audit"), sql.Identifier("at"), before)
