"""What the clock and lost messages leave behind in Postgres: audiences out of step, work not marked as pending."""

from typing import Any, Final

from psycopg.rows import dict_row

from cdp_activation.ledger import ConnectionKey
from cdp_runtime.postgres import Pool

_CONNECTIONS: Final = """
SELECT workspace_id, audience_id, destination_id FROM activation.connections
WHERE {which} ORDER BY workspace_id, audience_id, destination_id
"""
# what a replacement that failed, or an older version of this program, left half done
_FORGOTTEN: Final = """
UPDATE activation.deliveries SET pending = true, next_attempt_at = now()
WHERE workspace_id = %(workspace)s AND audience_id = %(audience)s AND destination_id = %(destination)s AND NOT pending
  AND ((desired AND NOT acknowledged AND outcome IN ('sending', 'delivered', 'waiting', 'retrying'))
    OR (NOT desired AND sent IS NOT NULL AND coalesce(outcome, '') NOT IN ('rejected', 'gave_up')))
"""
_BACKLOG: Final = """
SELECT t.type, count(d.profile_id) AS pending,
       coalesce(extract(epoch FROM now() - min(d.changed_at)), 0)::float AS oldest
FROM activation.destinations t LEFT JOIN activation.deliveries d
  ON d.workspace_id = t.workspace_id AND d.destination_id = t.destination_id AND d.pending
GROUP BY t.type
"""


class PostgresSweep:
    """Implements the port SweepStore."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def connections(self, *, flagged: bool) -> list[ConnectionKey]:
        rows = await self._rows(_CONNECTIONS.format(which="reconcile" if flagged else "true"), {})
        return [ConnectionKey(row["workspace_id"], row["audience_id"], row["destination_id"]) for row in rows]

    async def unflag(self, key: ConnectionKey) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE activation.connections SET reconcile = false WHERE workspace_id = %(workspace)s "
                "AND audience_id = %(audience)s AND destination_id = %(destination)s",
                _names(key),
            )

    async def remind(self, key: ConnectionKey) -> int:
        async with self._pool.connection() as connection:
            return (await connection.execute(_FORGOTTEN, _names(key))).rowcount

    async def backlog(self) -> list[tuple[str, int, float]]:
        return [(row["type"], row["pending"], row["oldest"]) for row in await self._rows(_BACKLOG, {})]

    async def _rows(self, statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        async with self._pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement, parameters)
            return await cursor.fetchall()


def _names(key: ConnectionKey) -> dict[str, str]:
    return {"workspace": key.workspace_id, "audience": key.audience_id, "destination": key.destination_id}
