"""Messages about memberships and profiles -> the projection in Postgres and what the ledger desires, in one go."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from cdp_activation.adapters.postgres_ledger import reconcile_in
from cdp_activation.ledger import ConnectionKey
from cdp_activation.projection import ProfileFact
from cdp_runtime.postgres import Pool
from cdp_schemas.segments import MembershipChanged

_MEMBERSHIPS: Final = """
INSERT INTO activation.memberships AS m
    (workspace_id, segment_id, profile_id, sequence, member, changed_at, received_at)
SELECT * FROM unnest(%(workspaces)s::text[], %(segments)s::text[], %(profiles)s::uuid[], %(sequences)s::bigint[],
                     %(members)s::boolean[], %(times)s::timestamptz[], %(received)s::timestamptz[])
ON CONFLICT (workspace_id, segment_id, profile_id) DO UPDATE
    SET sequence = excluded.sequence, member = excluded.member, changed_at = excluded.changed_at,
        received_at = excluded.received_at
    WHERE m.sequence < excluded.sequence
RETURNING workspace_id, segment_id, profile_id
"""
_CONNECTIONS: Final = """
SELECT c.audience_id, c.destination_id, a.segment_ids
FROM activation.connections c JOIN activation.audiences a USING (workspace_id, audience_id)
WHERE c.workspace_id = %(workspace)s AND c.active AND a.segment_ids && %(segments)s::text[]
"""
_FLOORS: Final = """
WITH known AS (
    SELECT f.* FROM unnest(%(workspaces)s::text[], %(profiles)s::uuid[]) AS u(workspace_id, profile_id)
    CROSS JOIN LATERAL (
        SELECT f.workspace_id, f.profile_id, f.deleted FROM activation.profile_floors f
        WHERE f.workspace_id = u.workspace_id AND f.profile_id = u.profile_id OFFSET 0) AS f
), changed AS (
    INSERT INTO activation.profile_floors AS f (workspace_id, profile_id, version, deleted, merged)
    SELECT u.workspace_id, u.profile_id, u.version, u.deleted, u.merged
    FROM unnest(%(workspaces)s::text[], %(profiles)s::uuid[], %(versions)s::bigint[], %(deleted)s::boolean[],
                %(merged)s::boolean[], %(refused)s::boolean[])
        AS u(workspace_id, profile_id, version, deleted, merged, refused)
    WHERE u.deleted OR u.refused OR EXISTS (
        SELECT 1 FROM known k WHERE k.workspace_id = u.workspace_id AND k.profile_id = u.profile_id)
    ON CONFLICT (workspace_id, profile_id) DO UPDATE
        SET version = excluded.version, deleted = excluded.deleted, merged = excluded.merged
        WHERE f.version < excluded.version
    RETURNING f.workspace_id, f.profile_id, f.deleted
)
SELECT c.workspace_id, c.profile_id FROM changed c LEFT JOIN known k USING (workspace_id, profile_id)
WHERE c.deleted OR k.deleted
"""
_HOLDING: Final = """
SELECT DISTINCT d.workspace_id, d.audience_id, d.destination_id
FROM unnest(%(workspaces)s::text[], %(profiles)s::uuid[], %(versions)s::bigint[], %(fingerprints)s::bytea[])
    AS u(workspace_id, profile_id, version, fingerprint)
CROSS JOIN LATERAL (
    SELECT x.* FROM activation.deliveries x
    WHERE x.workspace_id = u.workspace_id AND x.profile_id = u.profile_id OFFSET 0) AS d
WHERE d.desired AND d.min_version < u.version AND d.fingerprint IS DISTINCT FROM u.fingerprint
"""
_CHANGED: Final = """
UPDATE activation.deliveries d
SET pending = true, sequence = d.sequence + 1, min_version = u.version, next_attempt_at = now(), attempts = 0,
    failing_since = NULL, changed_at = now(), cause = CASE WHEN u.refused THEN 'consent' ELSE 'profile' END,
    priority = CASE WHEN u.refused THEN 0 ELSE 2 END
FROM unnest(%(workspaces)s::text[], %(profiles)s::uuid[], %(versions)s::bigint[], %(fingerprints)s::bytea[],
            %(refused)s::boolean[], %(deleted)s::boolean[])
    AS u(workspace_id, profile_id, version, fingerprint, refused, deleted)
CROSS JOIN LATERAL (
    SELECT x.ctid AS place FROM activation.deliveries x
    WHERE x.workspace_id = u.workspace_id AND x.profile_id = u.profile_id OFFSET 0) AS found
WHERE d.ctid = found.place AND d.desired AND NOT u.deleted
  AND d.min_version < u.version AND d.fingerprint IS DISTINCT FROM u.fingerprint
"""
_ALL_CONNECTIONS: Final = """
SELECT DISTINCT d.workspace_id, d.audience_id, d.destination_id FROM activation.deliveries d
WHERE d.workspace_id = %(workspace)s AND d.profile_id = ANY(%(profiles)s::uuid[])
UNION
SELECT c.workspace_id, c.audience_id, c.destination_id
FROM activation.memberships m
JOIN activation.audiences a ON a.workspace_id = m.workspace_id AND m.segment_id = ANY(a.segment_ids)
JOIN activation.connections c ON c.workspace_id = a.workspace_id AND c.audience_id = a.audience_id AND c.active
WHERE m.workspace_id = %(workspace)s AND m.profile_id = ANY(%(profiles)s::uuid[]) AND m.member
"""


class PostgresProjection:
    """Implements the port Projection."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def apply_memberships(self, changes: Sequence[MembershipChanged]) -> int:
        async with self._pool.connection() as connection:
            changed = await _rows(connection, _MEMBERSHIPS, _membership_columns(changes))
            touched: dict[str, dict[str, set[UUID]]] = defaultdict(lambda: defaultdict(set))
            for row in changed:
                touched[row["workspace_id"]][row["segment_id"]].add(row["profile_id"])
            for workspace in sorted(touched):
                await _reconcile_segments(connection, workspace, touched[workspace])
        return len(changed)

    async def apply_profiles(self, facts: Sequence[ProfileFact]) -> int:
        columns = _profile_columns(facts)
        async with self._pool.connection() as connection:
            gone_or_back: dict[str, set[UUID]] = defaultdict(set)
            for row in await _rows(connection, _FLOORS, columns):
                gone_or_back[row["workspace_id"]].add(row["profile_id"])
            holding = await _rows(connection, _HOLDING, columns)
            keys = {ConnectionKey(row["workspace_id"], row["audience_id"], row["destination_id"]) for row in holding}
            everywhere: dict[ConnectionKey, set[UUID]] = {key: set() for key in keys}
            for workspace, profiles in gone_or_back.items():
                for row in await _rows(connection, _ALL_CONNECTIONS, {"workspace": workspace, "profiles": [*profiles]}):
                    everywhere[ConnectionKey(row["workspace_id"], row["audience_id"], row["destination_id"])] = profiles
            for key in sorted(everywhere):
                only = sorted(everywhere[key])
                await reconcile_in(connection, key, limit=len(only), only=only, live=True)
            changed = (await connection.execute(_CHANGED, columns)).rowcount if keys else 0
        return changed + sum(map(len, gone_or_back.values()))


async def _reconcile_segments(
    connection: AsyncConnection[Any], workspace: str, touched: Mapping[str, set[UUID]]
) -> None:
    parameters = {"workspace": workspace, "segments": list(touched)}
    connections = await _rows(connection, _CONNECTIONS, parameters)
    for row in sorted(connections, key=lambda row: (row["audience_id"], row["destination_id"])):
        profiles = set().union(*(touched.get(segment, set()) for segment in row["segment_ids"]))
        key = ConnectionKey(workspace, row["audience_id"], row["destination_id"])
        await reconcile_in(connection, key, limit=len(profiles), only=sorted(profiles), live=True)


def _membership_columns(changes: Sequence[MembershipChanged]) -> dict[str, list[Any]]:
    newest: dict[tuple[str, str, UUID], MembershipChanged] = {}
    for change in changes:
        name = (change.workspace_id, change.segment_id, change.profile_id)
        if name not in newest or newest[name].sequence < change.sequence:
            newest[name] = change
    # one order everywhere, so that two workers never wait for one another in a circle
    rows = [newest[name] for name in sorted(newest)]
    return {
        "workspaces": [row.workspace_id for row in rows],
        "segments": [row.segment_id for row in rows],
        "profiles": [row.profile_id for row in rows],
        "sequences": [row.sequence for row in rows],
        "members": [row.change == "entered" for row in rows],
        "times": [row.at for row in rows],
        "received": [row.received_at for row in rows],
    }


def _profile_columns(facts: Sequence[ProfileFact]) -> dict[str, list[Any]]:
    newest: dict[tuple[str, UUID], ProfileFact] = {}
    for fact in facts:
        name = (fact.workspace_id, fact.profile_id)
        if name not in newest or newest[name].version < fact.version:
            newest[name] = fact
    rows = [newest[name] for name in sorted(newest)]
    return {
        "workspaces": [row.workspace_id for row in rows],
        "profiles": [row.profile_id for row in rows],
        "versions": [row.version for row in rows],
        "fingerprints": [row.fingerprint for row in rows],
        "deleted": [row.deleted for row in rows],
        "merged": [row.merged for row in rows],
        "refused": [row.refused for row in rows],
    }


async def _rows(
    connection: AsyncConnection[Any], statement: str, parameters: Mapping[str, Any]
) -> list[dict[str, Any]]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement, parameters)
        return await cursor.fetchall()
