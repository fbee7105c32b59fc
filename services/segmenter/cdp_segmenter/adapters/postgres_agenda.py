"""What is to be built, emptied, swept and looked at again, in Postgres: the port Agenda."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from cdp_runtime.postgres import Pool

_BUILDING: Final = """
SELECT workspace_id, segment_id, build FROM segmenter.segments
WHERE status = 'building' AND deleted_at IS NULL ORDER BY workspace_id, segment_id
"""
_BUILT: Final = """
UPDATE segmenter.segments AS s SET status = 'ready', progress = 1, evaluated_at = %s
FROM unnest(%s::text[], %s::int[]) AS b (segment_id, build)
WHERE s.workspace_id = %s AND s.segment_id = b.segment_id AND s.build = b.build
"""
_DELETED: Final = "SELECT workspace_id, segment_id FROM segmenter.segments WHERE deleted_at IS NOT NULL"
# what profiles have of it without it means nothing, and goes when they change next
_FORGET: Final = """
DELETE FROM segmenter.segments WHERE workspace_id = %s AND segment_id = %s AND deleted_at IS NOT NULL
"""
_WORKSPACES: Final = """
INSERT INTO segmenter.sweeps (workspace_id, swept_through, reconciled_at)
SELECT DISTINCT workspace_id, now(), now() FROM segmenter.segments WHERE deleted_at IS NULL
ON CONFLICT DO NOTHING
"""
_SWEEPS: Final = """
SELECT workspace_id, swept_through, reconciled_at FROM segmenter.sweeps AS w
WHERE EXISTS (SELECT FROM segmenter.segments AS s WHERE s.workspace_id = w.workspace_id AND s.deleted_at IS NULL)
"""
_SWEPT: Final = """
UPDATE segmenter.sweeps SET swept_through = %s WHERE workspace_id = %s AND swept_through < %s
"""
_RECONCILED: Final = "UPDATE segmenter.sweeps SET reconciled_at = %s WHERE workspace_id = %s AND reconciled_at = %s"
# long ago, and at no time that was written before
_OVERDUE: Final = """
INSERT INTO segmenter.sweeps (workspace_id, swept_through, reconciled_at)
VALUES (%s, now(), now() - interval '100 years')
ON CONFLICT (workspace_id) DO UPDATE SET reconciled_at = excluded.reconciled_at
"""
_MOMENTS: Final = """
SELECT workspace_id, profile_id, at FROM segmenter.moments WHERE at <= %s AND workspace_id != ALL(%s)
ORDER BY at LIMIT %s
"""
# Each is looked up by its key. OFFSET 0 and ctid leave Postgres no choice: it would read all of a workspace that its
# statistics do not know yet
_DONE: Final = """
DELETE FROM segmenter.{table} AS m USING unnest(%s::uuid[], %s::timestamptz[]) AS done (profile_id, at)
CROSS JOIN LATERAL (
    SELECT x.ctid AS place FROM segmenter.{table} AS x
    WHERE x.workspace_id = %s AND x.profile_id = done.profile_id AND x.{time} = done.at OFFSET 0) AS found
WHERE m.ctid = found.place
"""
_PASSED: Final = _DONE.format(table="moments", time="at")
_REQUESTED: Final = """
SELECT workspace_id, profile_id, asked_at FROM segmenter.requests WHERE workspace_id != ALL(%s)
ORDER BY asked_at LIMIT %s
"""
_ANSWERED: Final = _DONE.format(table="requests", time="asked_at")


class PostgresAgenda:
    """Implements the port Agenda."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def building(self) -> Mapping[str, Mapping[str, int]]:
        found: dict[str, dict[str, int]] = {}
        async with self._pool.connection() as connection:
            for workspace, segment, build in await (await connection.execute(_BUILDING)).fetchall():
                found.setdefault(workspace, {})[segment] = build
        return found

    async def built(self, workspace_id: str, builds: Mapping[str, int], at: datetime) -> None:
        await self._execute(_BUILT, [at, list(builds), list(builds.values()), workspace_id])

    async def deleted(self) -> Sequence[tuple[str, str]]:
        async with self._pool.connection() as connection:
            return [(row[0], row[1]) for row in await (await connection.execute(_DELETED)).fetchall()]

    async def forget(self, workspace_id: str, segment_id: str) -> None:
        await self._execute(_FORGET, [workspace_id, segment_id])

    async def workspaces(self) -> Mapping[str, tuple[datetime, datetime]]:
        async with self._pool.connection() as connection:
            await connection.execute(_WORKSPACES)
            rows = await (await connection.execute(_SWEEPS)).fetchall()
        return {workspace: (swept, reconciled) for workspace, swept, reconciled in rows}

    async def swept(self, workspace_id: str, through: datetime) -> None:
        await self._execute(_SWEPT, [through, workspace_id, through])

    async def reconciled(self, workspace_id: str, last: datetime, at: datetime) -> None:
        await self._execute(_RECONCILED, [at, workspace_id, last])

    async def overdue(self, workspace_id: str) -> None:
        await self._execute(_OVERDUE, [workspace_id])

    async def moments(
        self, until: datetime, limit: int, but: Collection[str] = ()
    ) -> Mapping[str, Mapping[UUID, datetime]]:
        return await self._appointments(_MOMENTS, [until, list(but), limit])

    async def passed(self, workspace_id: str, moments: Mapping[UUID, datetime]) -> None:
        await self._execute(_PASSED, [list(moments), list(moments.values()), workspace_id])

    async def requested(self, limit: int, but: Collection[str] = ()) -> Mapping[str, Mapping[UUID, datetime]]:
        return await self._appointments(_REQUESTED, [list(but), limit])

    async def answered(self, workspace_id: str, requests: Mapping[UUID, datetime]) -> None:
        await self._execute(_ANSWERED, [list(requests), list(requests.values()), workspace_id])

    async def _execute(self, statement: str, parameters: Sequence[Any]) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(statement, parameters)

    async def _appointments(self, query: str, parameters: Sequence[Any]) -> Mapping[str, Mapping[UUID, datetime]]:
        found: dict[str, dict[UUID, datetime]] = {}
        async with self._pool.connection() as connection:
            for workspace, profile, at in await (await connection.execute(query, parameters)).fetchall():
                found.setdefault(workspace, {})[profile] = at
        return found
