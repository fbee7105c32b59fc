"""Messages about memberships and profiles -> the projection in Postgres and what the ledger desires, in one go."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

from psycopg import AsyncConnection

from cdp_activation.adapters.postgres_ledger import reconcile_in
from cdp_activation.adapters.rows import key_of, rows_in
from cdp_activation.adapters.sql import CHANGED_PRIORITY
from cdp_activation.ledger import ConnectionKey
from cdp_activation.projection import ProfileFact
from cdp_runtime.postgres import Pool
from cdp_runtime.postgres_arrays import Array, array, arrays, bigints, booleans, digests, octets, texts, times, uuids
from cdp_schemas.segments import MembershipChanged

_FOLLOWED: Final = "SELECT workspace_id, array_agg(segment_id) FROM activation.followed_segments GROUP BY workspace_id"
# the sequence makes a repeat a no-op; the answer names the connections that want what changed: mostly none
_MEMBERSHIPS: Final = """
WITH changed AS (
    INSERT INTO activation.memberships AS m
        (workspace_id, segment_id, profile_id, sequence, member, received_at)
    SELECT * FROM unnest(%(workspaces)s::text[], %(segments)s::text[], %(profiles)s::uuid[], %(sequences)s::bigint[],
                         %(members)s::boolean[], %(received)s::timestamptz[])
    ON CONFLICT (workspace_id, segment_id, profile_id) DO UPDATE
        SET sequence = excluded.sequence, member = excluded.member, received_at = excluded.received_at
        WHERE m.sequence < excluded.sequence
    RETURNING workspace_id, segment_id, profile_id
)
SELECT c.workspace_id, c.audience_id, c.destination_id, array_agg(DISTINCT changed.profile_id) AS profiles
FROM activation.connections c
JOIN activation.audiences a USING (workspace_id, audience_id)
CROSS JOIN LATERAL unnest(a.segment_ids) AS s(segment_id)
JOIN changed ON changed.workspace_id = c.workspace_id AND changed.segment_id = s.segment_id
WHERE c.active
GROUP BY c.workspace_id, c.audience_id, c.destination_id
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
# of workspaces with audiences alone
_TOLD: Final = """
INSERT INTO activation.told_versions AS t (workspace_id, profile_id, version)
SELECT u.workspace_id, u.profile_id, u.version
FROM unnest(%(workspaces)s::text[], %(profiles)s::uuid[], %(versions)s::bigint[])
    AS u(workspace_id, profile_id, version)
WHERE EXISTS (SELECT FROM activation.followed_segments f WHERE f.workspace_id = u.workspace_id)
ON CONFLICT (workspace_id, profile_id) DO UPDATE SET version = excluded.version, told_on = excluded.told_on
    WHERE t.version < excluded.version
"""
_HOLDING: Final = """
SELECT u.at::int, d.audience_id, d.destination_id, d.fingerprint
FROM unnest(%(workspaces)s::text[], %(profiles)s::uuid[], %(versions)s::bigint[])
    WITH ORDINALITY AS u(workspace_id, profile_id, version, at)
CROSS JOIN LATERAL (
    SELECT x.* FROM activation.deliveries x
    WHERE x.workspace_id = u.workspace_id AND x.profile_id = u.profile_id OFFSET 0) AS d
WHERE (d.desired OR d.sent IS NOT NULL) AND d.min_version < u.version
"""
_CHANGED: Final = f"""
UPDATE activation.deliveries d
SET pending = true, sequence = d.sequence + 1, min_version = u.version, next_attempt_at = now(), attempts = 0,
    failing_since = NULL, changed_at = now(), cause = CASE WHEN u.refused THEN 'consent' ELSE 'profile' END,
    priority = CASE WHEN u.refused THEN 0 ELSE {CHANGED_PRIORITY} END
FROM unnest(%(workspaces)s::text[], %(profiles)s::uuid[], %(versions)s::bigint[], %(fingerprints)s::bytea[],
            %(refused)s::boolean[], %(deleted)s::boolean[])
    AS u(workspace_id, profile_id, version, fingerprint, refused, deleted)
CROSS JOIN LATERAL (
    SELECT x.ctid AS place FROM activation.deliveries x
    WHERE x.workspace_id = u.workspace_id AND x.profile_id = u.profile_id OFFSET 0) AS found
WHERE d.ctid = found.place AND (d.desired OR u.refused AND d.sent IS NOT NULL) AND NOT u.deleted
  AND d.min_version < u.version AND d.fingerprint IS DISTINCT FROM u.fingerprint
"""  # noqa: S608 - a constant
_ALL_CONNECTIONS: Final = """
SELECT DISTINCT d.workspace_id, d.audience_id, d.destination_id FROM activation.deliveries d
WHERE d.workspace_id = %(workspace)s AND d.profile_id = ANY(%(profiles)s::uuid[])
UNION
SELECT c.workspace_id, c.audience_id, c.destination_id
FROM activation.connections c JOIN activation.audiences a USING (workspace_id, audience_id)
WHERE c.workspace_id = %(workspace)s AND c.active AND EXISTS (
    SELECT 1 FROM activation.memberships m
    WHERE m.workspace_id = c.workspace_id AND m.segment_id = ANY(a.segment_ids)
      AND m.profile_id = ANY(%(profiles)s::uuid[]) AND m.member)
"""


class PostgresProjection:
    """Implements the port Projection."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def followed(self) -> dict[str, frozenset[str]]:
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_FOLLOWED)).fetchall()
        return {workspace_id: frozenset(segment_ids) for workspace_id, segment_ids in rows}

    async def apply_memberships(self, changes: Sequence[MembershipChanged]) -> int:
        async with self._pool.connection() as connection:
            wanting = {
                key_of(row): row["profiles"] for row in await rows_in(connection, _MEMBERSHIPS, _members(changes))
            }
            return sum([await _reconcile(connection, key, wanting[key]) for key in sorted(wanting)])

    async def apply_profiles(self, facts: Sequence[ProfileFact]) -> int:
        newest = _newest(facts)
        columns = _columns(newest)
        # committed before it is asked who is a member: whoever becomes one after that is claimed with what was told
        async with self._pool.connection() as connection:
            await connection.execute(_TOLD, columns)
        async with self._pool.connection() as connection:
            floors = await rows_in(connection, _FLOORS, columns)
            held = _differing(await rows_in(connection, _HOLDING, columns), newest)
            everywhere: dict[ConnectionKey, set[UUID]] = {key: set() for keys in held.values() for key in keys}
            everywhere.update(await _connections_of(connection, floors))
            for key in sorted(everywhere):
                await _reconcile(connection, key, everywhere[key])
            changed = await _make_pending(connection, [newest[at] for at in held]) if held else 0
        return changed + len(floors)


async def _connections_of(
    connection: AsyncConnection[Any], floors: Sequence[Mapping[str, Any]]
) -> dict[ConnectionKey, set[UUID]]:
    """Where profiles that are gone, or back, may be or should be."""
    gone_or_back: dict[str, set[UUID]] = defaultdict(set)
    for row in floors:
        gone_or_back[row["workspace_id"]].add(row["profile_id"])
    found: dict[ConnectionKey, set[UUID]] = {}
    for workspace, profiles in gone_or_back.items():
        parameters = {"workspace": workspace, "profiles": array(profiles, uuids)}
        found |= {key_of(row): profiles for row in await rows_in(connection, _ALL_CONNECTIONS, parameters)}
    return found


async def _reconcile(connection: AsyncConnection[Any], key: ConnectionKey, profiles: Iterable[UUID]) -> int:
    return await reconcile_in(connection, key, sorted(profiles), live=True)


async def _make_pending(connection: AsyncConnection[Any], facts: Sequence[ProfileFact]) -> int:
    columns = {**_columns(facts), "fingerprints": array([fact.fingerprint() for fact in facts], octets)}
    return (await connection.execute(_CHANGED, columns)).rowcount


def _members(changes: Sequence[MembershipChanged]) -> dict[str, Array]:
    rows = [
        (one.workspace_id, one.segment_id, one.profile_id.bytes, one.sequence, one.change == "entered", one.received_at)
        for one in changes
    ]
    # one order everywhere, so that two workers never wait for one another in a circle; the last of a name is the newest
    newest = {row[:3]: row for row in sorted(rows, key=itemgetter(0, 1, 2, 3))}
    names = ("workspaces", "segments", "profiles", "sequences", "members", "received")
    columns = arrays(newest.values(), texts, texts, digests, bigints, booleans, times)
    return dict(zip(names, columns, strict=True))


def _newest(facts: Sequence[ProfileFact]) -> list[ProfileFact]:
    named = [(fact.workspace_id, fact.profile_id.hex, fact.version, at) for at, fact in enumerate(facts)]
    return [facts[at] for at in {row[:2]: row[3] for row in sorted(named)}.values()]


def _columns(facts: Sequence[ProfileFact]) -> dict[str, Array]:
    rows = [
        (fact.workspace_id, fact.profile_id, fact.version, fact.deleted, fact.merged, fact.refused) for fact in facts
    ]
    names = ("workspaces", "profiles", "versions", "deleted", "merged", "refused")
    columns = arrays(rows, texts, uuids, bigints, booleans, booleans, booleans)
    return dict(zip(names, columns, strict=True))


def _differing(holding: Sequence[Mapping[str, Any]], facts: Sequence[ProfileFact]) -> dict[int, set[ConnectionKey]]:
    """Which facts tell something new to a connection that holds their profile: index -> connections."""
    fingerprints: dict[int, bytes] = {}
    found: dict[int, set[ConnectionKey]] = defaultdict(set)
    for row in holding:
        at = row["at"] - 1
        fact = facts[at]
        if at not in fingerprints:
            fingerprints[at] = fact.fingerprint()
        if row["fingerprint"] != fingerprints[at]:
            found[at].add(ConnectionKey(fact.workspace_id, row["audience_id"], row["destination_id"]))
    return found
