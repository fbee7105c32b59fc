"""Audit entries -> front.audit, for as long as they are kept."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from psycopg import sql
from pydantic import TypeAdapter

from cdp_analytics_api.adapters.postgres.trim import trim
from cdp_analytics_api.ports import AuditEntry
from cdp_runtime.postgres import Pool

# one text, not an array for each column: psycopg looks at every element of an array twice
_ENTRIES: Final = TypeAdapter(Sequence[AuditEntry])
_WRITE: Final = """
INSERT INTO front.audit (workspace_id, at, request_id, token_id, method, route, subject, scope, status)
SELECT workspace_id, at, request_id, token_id, method, route, subject, scope, status
FROM json_populate_recordset(NULL::front.audit, %s)
"""


class PostgresAuditLog:
    """The AuditLog port."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def write(self, entries: Sequence[AuditEntry]) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(_WRITE, [_ENTRIES.dump_json(entries).decode()])

    async def purge(self, before: datetime) -> None:
        await trim(self._pool, sql.Identifier("front", "audit"), sql.Identifier("at"), before)
