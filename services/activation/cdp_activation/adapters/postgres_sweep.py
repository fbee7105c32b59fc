"""What the clock, lost messages and deletions leave in Postgres: audiences out of step or over, work not marked."""

from typing import Final

from cdp_activation.adapters import sql
from cdp_activation.adapters.postgres_ledger import take_turn
from cdp_activation.adapters.rows import key_of, names_of, rows_of
from cdp_activation.ledger import ConnectionKey
from cdp_runtime.postgres import Pool

_FEW: Final = 10_000
_CONNECTIONS: Final = """
SELECT workspace_id, audience_id, destination_id, xmin::text AS version FROM activation.connections
WHERE {which} ORDER BY workspace_id, audience_id, destination_id
"""
# what a replacement that failed, or an older version of this program, left half done
_FORGOTTEN: Final = """
UPDATE activation.deliveries SET pending = true, next_attempt_at = now()
WHERE workspace_id = %(workspace)s AND audience_id = %(audience)s AND destination_id = %(destination)s AND NOT pending
  AND ((desired AND NOT acknowledged AND outcome IN ('sending', 'delivered', 'waiting', 'retrying'))
    OR (NOT desired AND sent IS NOT NULL AND coalesce(outcome, '') NOT IN ('rejected', 'gave_up')))
"""
_TOLD_BEFORE: Final = "DELETE FROM activation.told_versions WHERE told_on < current_date - 1"
# what changed meanwhile is flagged anew. An audience with a segment that is not loaded yet was passed over: its turn
# comes once it is
_UNFLAG: Final = """
UPDATE activation.connections c SET reconcile = false
WHERE c.workspace_id = %(workspace)s AND c.audience_id = %(audience)s AND c.destination_id = %(destination)s
  AND c.xmin::text = %(version)s AND NOT EXISTS (
    SELECT FROM activation.audiences a CROSS JOIN LATERAL unnest(a.segment_ids) AS s(segment_id)
    LEFT JOIN activation.followed_segments f ON f.workspace_id = a.workspace_id AND f.segment_id = s.segment_id
    WHERE a.workspace_id = c.workspace_id AND a.audience_id = c.audience_id AND a.deleted_at IS NULL
      AND f.loaded IS NOT TRUE)
"""
_OVER: Final = """
SELECT c.workspace_id, c.audience_id, c.destination_id
FROM activation.connections c JOIN activation.audiences a USING (workspace_id, audience_id)
JOIN activation.destinations t USING (workspace_id, destination_id)
WHERE t.deleted_at IS NOT NULL OR (a.deleted_at IS NOT NULL AND NOT c.active AND NOT c.reconcile AND NOT EXISTS (
    SELECT FROM activation.deliveries d
    WHERE d.workspace_id = c.workspace_id AND d.destination_id = c.destination_id AND d.audience_id = c.audience_id
      AND (d.desired OR d.pending OR d.sent IS NOT NULL)))
"""
_ROW: Final = "workspace_id = %(workspace)s AND destination_id = %(destination)s AND audience_id = %(audience)s"
_FORGET: Final = f"""
DELETE FROM activation.deliveries WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM activation.deliveries WHERE {_ROW} LIMIT %(limit)s))
"""  # noqa: S608 - a constant
_DISCONNECT: Final = f"DELETE FROM activation.connections WHERE {_ROW}"  # noqa: S608 - a constant
_AUDIENCES: Final = "SELECT workspace_id, audience_id FROM activation.audiences WHERE deleted_at IS NULL"
# of a few thousand members they are counted when somebody looks
_COUNT: Final = f"""
WITH counted AS MATERIALIZED (
    SELECT a.segment_ids, nullif(greatest({sql.MEMBERS}, %(few)s), %(few)s) AS members FROM activation.audiences a
    WHERE a.workspace_id = %(workspace)s AND a.audience_id = %(audience)s
)
UPDATE activation.audiences a SET members_counted = counted.members FROM counted
WHERE a.workspace_id = %(workspace)s AND a.audience_id = %(audience)s AND a.segment_ids = counted.segment_ids
  AND a.members_counted IS DISTINCT FROM counted.members
"""  # noqa: S608 - a constant
_BACKLOG: Final = """
SELECT t.type, count(d.profile_id) AS pending,
       coalesce(extract(epoch FROM now() - min(d.changed_at)), 0)::float AS oldest
FROM activation.destinations t LEFT JOIN activation.deliveries d
  ON d.workspace_id = t.workspace_id AND d.destination_id = t.destination_id AND d.pending AND t.deleted_at IS NULL
GROUP BY t.type
"""

# ids are of a workspace, and two may have chosen the same one
_BREAKERS: Final = """
SELECT type, destination_id, bool_or(coalesce(breaker ->> 'state', 'closed') <> 'closed') AS open
FROM activation.destinations WHERE enabled AND deleted_at IS NULL GROUP BY type, destination_id
"""


class PostgresSweep:
    """Implements the port SweepStore."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def connections(self, *, flagged: bool) -> dict[ConnectionKey, str]:
        rows = await rows_of(self._pool, _CONNECTIONS.format(which="reconcile" if flagged else "true"), {})
        return {key_of(row): row["version"] for row in rows}

    async def unflag(self, key: ConnectionKey, version: str) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(_UNFLAG, {**names_of(key), "version": version})

    async def remind(self, key: ConnectionKey) -> int:
        async with self._pool.connection() as connection:
            return (await connection.execute(_FORGOTTEN, names_of(key))).rowcount

    async def forget_told(self) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(_TOLD_BEFORE)

    async def over(self) -> list[ConnectionKey]:
        return [ConnectionKey(*row.values()) for row in await rows_of(self._pool, _OVER, {})]

    async def forget(self, key: ConnectionKey, limit: int) -> int:
        async with self._pool.connection() as connection:
            # of a deleted destination somebody may still become a member at this moment
            await take_turn(connection, key)
            forgotten = (await connection.execute(_FORGET, {**names_of(key), "limit": limit})).rowcount
            if forgotten < limit:
                await connection.execute(_DISCONNECT, names_of(key))
        return forgotten

    async def count_members(self) -> None:
        for audience in await rows_of(self._pool, _AUDIENCES, {}):
            names = {"workspace": audience["workspace_id"], "audience": audience["audience_id"]}
            async with self._pool.connection() as connection:
                await connection.execute(_COUNT, {**names, "few": _FEW})

    async def backlog(self) -> list[tuple[str, int, float]]:
        return [(row["type"], row["pending"], row["oldest"]) for row in await rows_of(self._pool, _BACKLOG, {})]

    async def breakers(self) -> list[tuple[str, str, bool]]:
        return [(row["type"], row["destination_id"], row["open"]) for row in await rows_of(self._pool, _BREAKERS, {})]
