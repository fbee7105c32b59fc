"""Segments in Postgres: the port Catalogue."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg import errors
from psycopg.types.json import Jsonb

from cdp_runtime.postgres import Pool
from cdp_segmenter.catalogue import Draft, Member, NameTaken, Segment
from cdp_segmenter.rules.scope import bucket_of

_CREATE: Final = """
INSERT INTO segmenter.segments (workspace_id, segment_id, name, description, type, rules, status, progress)
VALUES (%(workspace)s, %(segment)s, %(name)s, %(description)s, %(type)s, %(rules)s,
        CASE %(type)s WHEN 'manual' THEN 'ready' ELSE 'building' END, CASE %(type)s WHEN 'manual' THEN 1 ELSE 0 END)
"""
_UPDATE: Final = """
UPDATE segmenter.segments SET name = %(name)s, description = %(description)s, type = %(type)s, rules = %(rules)s,
    updated_at = now(),
    version = version + (rules IS DISTINCT FROM %(rules)s::jsonb)::int,
    build = build + (rules IS DISTINCT FROM %(rules)s::jsonb)::int,
    status = CASE WHEN rules IS DISTINCT FROM %(rules)s::jsonb THEN 'building' ELSE status END,
    progress = CASE WHEN rules IS DISTINCT FROM %(rules)s::jsonb THEN 0 ELSE progress END
WHERE workspace_id = %(workspace)s AND segment_id = %(segment)s AND deleted_at IS NULL
"""
_REBUILD: Final = """
UPDATE segmenter.segments SET status = 'building', progress = 0, build = build + 1
WHERE workspace_id = %s AND segment_id = ANY(%s) AND type != 'manual' AND deleted_at IS NULL
"""
_DELETE: Final = """
UPDATE segmenter.segments SET deleted_at = now() WHERE workspace_id = %s AND segment_id = %s AND deleted_at IS NULL
"""
_COLUMNS: Final = """
SELECT segment_id, name, description, type, rules, version, status, progress, size, created_at, updated_at, evaluated_at
FROM segmenter.segments WHERE workspace_id = %(workspace)s AND deleted_at IS NULL
"""
_GET: Final = f"{_COLUMNS} AND segment_id = %(segment)s"
_LIST: Final = f"""{_COLUMNS} AND (%(after)s::text IS NULL OR lower(name) > lower(%(after)s::text))
ORDER BY lower(name) LIMIT %(limit)s OFFSET %(offset)s
"""
_COUNT: Final = "SELECT count(*) FROM segmenter.segments WHERE workspace_id = %s AND deleted_at IS NULL"
_NUMBER: Final = "SELECT number FROM segmenter.segments WHERE workspace_id = %s AND segment_id = %s"
# planned for its number: so Postgres knows whether it is quicker to walk through all profiles or to look the members up
# (of ``= 1`` it would guess that one in two hundred satisfies it, of a boolean one in two)
_MEMBERS: Final = """
SELECT profile_id, to_timestamp(changed_ms[array_position(segments, %(number)s::int)] / 1000.0)
FROM segmenter.workspace_profile_segments
WHERE workspace_id = %(workspace)s AND segments @> ARRAY[%(number)s::int]
  AND (sequences[array_position(segments, %(number)s::int)] %% 2)::boolean
  AND (bucket, profile_id) > (%(bucket)s, %(after)s::uuid)
ORDER BY bucket, profile_id LIMIT %(limit)s OFFSET %(offset)s
"""
# the segments that a profile is in, from the array of their numbers
_INSIDE: Final = """
FROM segmenter.workspace_profile_segments AS p
CROSS JOIN LATERAL unnest(p.segments, p.sequences, p.changed_ms) AS held (number, sequence, changed_ms)
JOIN segmenter.segments AS s ON s.workspace_id = p.workspace_id AND s.number = held.number
WHERE p.workspace_id = %s AND p.profile_id = ANY(%s) AND held.sequence %% 2 = 1 AND s.deleted_at IS NULL
"""
_HOLDING: Final = f"""
SELECT p.profile_id, array_agg(s.segment_id ORDER BY s.segment_id) {_INSIDE} GROUP BY p.profile_id
"""
_MEMBERSHIPS: Final = f"""
SELECT s.segment_id, s.name, to_timestamp(held.changed_ms / 1000.0) {_INSIDE} ORDER BY lower(s.name)
"""
_KNOWN: Final = """
SELECT segment_id FROM segmenter.segments WHERE workspace_id = %s AND segment_id = ANY(%s) AND deleted_at IS NULL
"""
_ASK: Final = """
INSERT INTO segmenter.requests (workspace_id, profile_id) SELECT %s, * FROM unnest(%s::uuid[])
ON CONFLICT (workspace_id, profile_id) DO UPDATE SET asked_at = now()
"""

_FIRST: Final = UUID(int=0)  # before every id


class PostgresCatalogue:
    """Implements the port Catalogue."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, workspace_id: str, segment_id: str, draft: Draft) -> None:
        await self._write(_CREATE, workspace_id, segment_id, draft)

    async def update(self, workspace_id: str, segment_id: str, draft: Draft) -> None:
        await self._write(_UPDATE, workspace_id, segment_id, draft)

    async def rebuild(self, workspace_id: str, segment_ids: Sequence[str]) -> None:
        await self._rows(_REBUILD, [workspace_id, list(segment_ids)], fetch=False)

    async def delete(self, workspace_id: str, segment_id: str) -> None:
        await self._rows(_DELETE, [workspace_id, segment_id], fetch=False)

    async def get(self, workspace_id: str, segment_id: str) -> Segment | None:
        rows = await self._rows(_GET, {"workspace": workspace_id, "segment": segment_id})
        return _segment(rows[0]) if rows else None

    async def listed(self, workspace_id: str, limit: int, after: str | None, offset: int) -> tuple[list[Segment], int]:
        rows = await self._rows(_LIST, {"workspace": workspace_id, "after": after, "limit": limit, "offset": offset})
        return [_segment(row) for row in rows], await self.count(workspace_id)

    async def members(
        self, workspace_id: str, segment_id: str, limit: int, after: UUID | None, offset: int
    ) -> list[Member]:
        numbers = await self._rows(_NUMBER, [workspace_id, segment_id])
        if not numbers:
            return []
        place: dict[str, Any] = {"bucket": -1 if after is None else bucket_of(after), "after": after or _FIRST}
        place |= {"workspace": workspace_id, "number": numbers[0][0], "limit": limit, "offset": offset}
        return [Member(profile_id, since) for profile_id, since in await self._rows(_MEMBERS, place, prepare=False)]

    async def holding(self, workspace_id: str, profiles: Sequence[UUID]) -> Mapping[UUID, list[str]]:
        return {row[0]: list(row[1]) for row in await self._rows(_HOLDING, [workspace_id, list(profiles)])}

    async def memberships(self, workspace_id: str, profile_id: UUID) -> list[tuple[str, str, datetime]]:
        return [(row[0], row[1], row[2]) for row in await self._rows(_MEMBERSHIPS, [workspace_id, [profile_id]])]

    async def known(self, workspace_id: str, segment_ids: Sequence[str]) -> set[str]:
        return {row[0] for row in await self._rows(_KNOWN, [workspace_id, list(segment_ids)])}

    async def count(self, workspace_id: str) -> int:
        return int((await self._rows(_COUNT, [workspace_id]))[0][0])

    async def ask(self, workspace_id: str, profiles: Sequence[UUID]) -> None:
        await self._rows(_ASK, [workspace_id, list(profiles)], fetch=False)

    async def _write(self, query: str, workspace_id: str, segment_id: str, draft: Draft) -> None:
        parameters = {
            "workspace": workspace_id,
            "segment": segment_id,
            "name": draft.name,
            "description": draft.description,
            "type": draft.type,
            "rules": None if draft.rules is None else Jsonb(draft.rules),
        }
        try:
            await self._rows(query, parameters, fetch=False)
        except errors.UniqueViolation as error:
            raise NameTaken(draft.name) from error

    async def _rows(self, query: str, parameters: Any, *, fetch: bool = True, prepare: bool | None = None) -> list[Any]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(query, parameters, prepare=prepare)
            return await cursor.fetchall() if fetch else []


def _segment(row: Sequence[Any]) -> Segment:
    segment_id, name, description, type_, rules, *rest = row
    return Segment(segment_id, Draft(name, description, type_, rules), *rest)
