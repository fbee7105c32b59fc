"""Audiences, the segmenter's memberships and versions of profiles -> which segments are followed, and by whom now."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from psycopg import AsyncConnection

from cdp_activation.ledger import Followed
from cdp_runtime.postgres import Pool
from cdp_runtime.postgres_arrays import arrays, bigints, uuids

_PAGE: Final = 10_000
_LOAD_AGAIN: Final = timedelta(days=1)  # longer than any version takes to the column store
_WANTED: Final = """
SELECT DISTINCT a.workspace_id, s.segment_id
FROM activation.audiences a CROSS JOIN LATERAL unnest(a.segment_ids) AS s(segment_id) WHERE a.deleted_at IS NULL
"""
_FOLLOW: Final = f"""
INSERT INTO activation.followed_segments (workspace_id, segment_id)
SELECT w.workspace_id, w.segment_id FROM ({_WANTED}) AS w
LEFT JOIN activation.followed_segments f USING (workspace_id, segment_id)
WHERE f.follow_id IS NULL ORDER BY 1, 2 ON CONFLICT DO NOTHING
"""  # noqa: S608 - constants
_LEAVE: Final = f"""
DELETE FROM activation.followed_segments f WHERE NOT EXISTS (
    SELECT FROM ({_WANTED}) AS w WHERE w.workspace_id = f.workspace_id AND w.segment_id = f.segment_id)
"""  # noqa: S608 - constants
# the new ones, for which audiences wait, and then one of those that were loaded longest ago: it heals what a message
# that could not be read, or that the log no longer had after a long outage, would have told
_TO_LOAD: Final = """
(SELECT follow_id, workspace_id, segment_id FROM activation.followed_segments WHERE NOT loaded ORDER BY follow_id)
UNION ALL
(SELECT follow_id, workspace_id, segment_id FROM activation.followed_segments
 WHERE loaded AND coalesce(loaded_at, '-infinity') < now() - %s ORDER BY loaded_at NULLS FIRST LIMIT 1)
"""
_MEMBERS: Final = """
SELECT profile_id, sequence FROM segmenter.memberships WHERE workspace_id = %(workspace)s AND segment_id = %(segment)s
"""
# written in the order in which the stream locks rows. What was told of a member while nobody here listened must not be
# sent as it was before: the column store may not show it yet
_KEEP: Final = """
WITH page AS MATERIALIZED (
    SELECT * FROM unnest(%(profiles)s::uuid[], %(sequences)s::bigint[]) AS u(profile_id, sequence)
), kept AS (
    INSERT INTO activation.memberships AS m (workspace_id, segment_id, profile_id, sequence, member)
    SELECT %(workspace)s, %(segment)s, profile_id, sequence, sequence %% 2 = 1 FROM page ORDER BY profile_id
    ON CONFLICT (workspace_id, segment_id, profile_id) DO UPDATE
        SET sequence = excluded.sequence, member = excluded.member, received_at = NULL
        WHERE m.sequence < excluded.sequence
)
INSERT INTO activation.told_versions AS t (workspace_id, profile_id, version)
SELECT %(workspace)s, profile_id, changed.version FROM page CROSS JOIN LATERAL (
    SELECT p.version FROM identity.profiles p
    WHERE p.workspace_id = %(workspace)s AND p.profile_id = page.profile_id AND p.updated_at > now() - %(recent)s
    OFFSET 0) AS changed
WHERE sequence %% 2 = 1 ORDER BY profile_id
ON CONFLICT (workspace_id, profile_id) DO UPDATE SET version = excluded.version, told_on = excluded.told_on
    WHERE t.version < excluded.version
"""
_KNOWN: Final = """
SELECT EXISTS (SELECT FROM activation.memberships WHERE workspace_id = %(workspace)s AND segment_id = %(segment)s)
"""
# The segmenter forgets the members of a segment that was deleted, once their exits are told. OFFSET 0 has each looked
# up by its key: of a workspace that statistics do not know yet, the planner would compare all rows with one another
_FORGOTTEN: Final = """
UPDATE activation.memberships m SET member = false
WHERE m.workspace_id = %(workspace)s AND m.segment_id = %(segment)s AND m.member AND NOT EXISTS (
    SELECT FROM segmenter.memberships s
    WHERE s.workspace_id = m.workspace_id AND s.segment_id = m.segment_id AND s.profile_id = m.profile_id OFFSET 0)
"""
_LOADED: Final = """
WITH loaded AS (
    UPDATE activation.followed_segments SET loaded = true, loaded_at = now() WHERE follow_id = %(follow)s
    RETURNING workspace_id, segment_id
)
UPDATE activation.connections c SET reconcile = true
FROM loaded JOIN activation.audiences a ON a.workspace_id = loaded.workspace_id
    AND a.segment_ids @> ARRAY[loaded.segment_id]
WHERE c.workspace_id = a.workspace_id AND c.audience_id = a.audience_id
"""


class PostgresFollowing:
    """Implements the port Following. What the stream skipped before a segment was followed is in the segmenter's table.

    A change is committed there before it is told, and the stream looks which segments are followed after it was told;
    so whatever it skips was committed before ``follow`` was, and ``load`` reads after that. What is committed later is
    told later, and the stream takes it; of what comes both ways the higher sequence stays.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def follow(self) -> list[Followed]:
        async with self._pool.connection() as connection:
            await connection.execute(_FOLLOW)
            await connection.execute(_LEAVE)
            return [Followed(*row) for row in await (await connection.execute(_TO_LOAD, [_LOAD_AGAIN])).fetchall()]

    async def load(self, followed: Followed) -> None:
        """In one look, which nobody waits for, and pages that are committed one by one: the stream may need a row."""
        names = {"workspace": followed.workspace_id, "segment": followed.segment_id}
        async with self._pool.connection() as reading, reading.cursor(name="members") as members:
            (known,) = await (await reading.execute(_KNOWN, names)).fetchone() or (True,)
            await members.execute(_MEMBERS, names)
            while page := await members.fetchmany(_PAGE):
                async with self._pool.connection() as connection:
                    await _keep(connection, names, page)
        async with self._pool.connection() as connection:
            if known:
                await connection.execute(_FORGOTTEN, names)
            await connection.execute(_LOADED, {"follow": followed.follow_id})


async def _keep(connection: AsyncConnection[Any], names: Mapping[str, str], page: Sequence[tuple[UUID, int]]) -> None:
    profiles, sequences = arrays(page, uuids, bigints)
    await connection.execute(_KEEP, {**names, "profiles": profiles, "sequences": sequences, "recent": _LOAD_AGAIN})
