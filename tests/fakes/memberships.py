"""Memberships as the segmenter commits them, for tests of those who read them."""

from typing import Any, Final
from uuid import UUID

from psycopg import AsyncConnection, AsyncCursor

_SEGMENT: Final = """
INSERT INTO segmenter.segments (workspace_id, segment_id, name, type, status)
VALUES (%(workspace)s, %(segment)s, %(segment)s, 'manual', 'ready') ON CONFLICT DO NOTHING
"""
_HOLD: Final = """
INSERT INTO segmenter.profile_segments
    (workspace_id, profile_id, bucket, revision, segments, sequences, changed_ms)
SELECT %(workspace)s, %(profile)s, %(bucket)s, 1, array_agg(number), array_agg(sequence),
       array_agg((extract(epoch FROM now()) * 1000)::bigint)
FROM (
    SELECT number, max(sequence) AS sequence FROM (
        SELECT held.number, held.sequence
        FROM segmenter.profile_segments AS p, unnest(p.segments, p.sequences) AS held (number, sequence)
        WHERE p.workspace_id = %(workspace)s AND p.profile_id = %(profile)s
        UNION ALL
        SELECT number, %(sequence)s FROM segmenter.segments
        WHERE workspace_id = %(workspace)s AND segment_id = %(segment)s) AS each_change
    GROUP BY number) AS newest
ON CONFLICT (workspace_id, profile_id) DO UPDATE
SET segments = excluded.segments, sequences = excluded.sequences, changed_ms = excluded.changed_ms
"""


async def hold(
    connection: AsyncConnection[Any] | AsyncCursor[Any], workspace: str, segment: str, profile: UUID, sequence: int = 1
) -> None:
    """A membership at a sequence, or at the later one that it has; makes the segment when there is none."""
    names = {"workspace": workspace, "segment": segment, "profile": profile, "sequence": sequence}
    await connection.execute(_SEGMENT, names)
    await connection.execute(_HOLD, {**names, "bucket": profile.bytes[8]})
