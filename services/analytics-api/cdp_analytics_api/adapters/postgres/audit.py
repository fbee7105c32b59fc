"""Audit entries -> front.audit."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Final

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
