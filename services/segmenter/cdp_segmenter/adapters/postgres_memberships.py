"""Memberships, their sequences and the outbox in Postgres: the ports Ledger and Session."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import psycopg
import structlog

from cdp_runtime.faultpoints import reach
from cdp_runtime.postgres import Pool
from cdp_runtime.postgres_arrays import array, arrays, numbers, texts, times, uuids
from cdp_schemas.segments import MembershipChanged
from cdp_segmenter.adapters.postgres_outbox import put
from cdp_segmenter.definitions import Definition, Definitions, rule_of
from cdp_segmenter.membership import Place, is_member
from cdp_segmenter.ports import OutOfStep
from cdp_segmenter.rules.check import InvalidRule
from cdp_segmenter.rules.scope import bucket_of

_log = structlog.get_logger(__name__)
# a worker that freezes while it holds the lock must not stop its workspace for ever
_LOCK: Final = """
SELECT set_config('idle_in_transaction_session_timeout', '60s', true),
       pg_advisory_xact_lock(hashtextextended('segmenter:' || %s, 0))
"""
_WHICH: Final = """
SELECT segment_id, version FROM segmenter.segments WHERE workspace_id = %s AND deleted_at IS NULL ORDER BY segment_id
"""
_RULES: Final = """
SELECT segment_id, version, type, rules FROM segmenter.segments WHERE workspace_id = %s AND segment_id = ANY(%s)
"""
_OF_PROFILES: Final = """
SELECT segment_id, profile_id, sequence FROM segmenter.memberships
WHERE workspace_id = %s AND profile_id = ANY(%s::uuid[])
"""
_INSIDE: Final = """
SELECT m.segment_id, array_agg((p.number - 1)::int)
FROM unnest(%s::uuid[]) WITH ORDINALITY AS p (profile_id, number)
JOIN segmenter.memberships AS m ON m.workspace_id = %s AND m.profile_id = p.profile_id
WHERE m.member GROUP BY m.segment_id
"""
_SEQUENCES: Final = """
SELECT m.segment_id, m.profile_id, m.sequence
FROM unnest(%s::text[], %s::uuid[]) AS p (segment_id, profile_id)
JOIN segmenter.memberships AS m
  ON m.workspace_id = %s AND m.segment_id = p.segment_id AND m.profile_id = p.profile_id
"""
_OF_BUCKETS: Final = """
SELECT segment_id, profile_id, sequence FROM segmenter.memberships
WHERE workspace_id = %s AND segment_id = ANY(%s) AND bucket BETWEEN %s AND %s
"""
_OF_SEGMENT: Final = """
SELECT segment_id, profile_id, sequence FROM segmenter.memberships
WHERE workspace_id = %s AND segment_id = %s AND member LIMIT %s
"""
# the guard on the sequence makes a change that does not follow the last one impossible, whoever writes it
_APPLY: Final = """
INSERT INTO segmenter.memberships AS known
    (workspace_id, segment_id, profile_id, bucket, sequence, segment_version, changed_at)
SELECT %s, row.*
FROM unnest(%s::text[], %s::uuid[], %s::smallint[], %s::int[], %s::int[], %s::timestamptz[]) AS row
ON CONFLICT (workspace_id, segment_id, profile_id) DO UPDATE
SET sequence = excluded.sequence, segment_version = excluded.segment_version, changed_at = excluded.changed_at
WHERE known.sequence = excluded.sequence - 1
"""
_SIZES: Final = """
UPDATE segmenter.segments AS s SET size = s.size + d.change
FROM unnest(%s::text[], %s::bigint[]) AS d (segment_id, change)
WHERE s.workspace_id = %s AND s.segment_id = d.segment_id
"""
# an evaluation knows every moment that is near, so the latest one replaces what an earlier one foresaw
_REMIND: Final = """
INSERT INTO segmenter.moments AS known (workspace_id, profile_id, at)
SELECT %s, row.* FROM unnest(%s::uuid[], %s::timestamptz[]) AS row
ON CONFLICT (workspace_id, profile_id) DO UPDATE SET at = excluded.at WHERE known.at <> excluded.at
"""
_PROGRESS: Final = """
UPDATE segmenter.segments SET progress = %s
WHERE workspace_id = %s AND segment_id = ANY(%s) AND status = 'building'
"""


class PostgresLedger:
    """Implements the port Ledger. Parsed rules are kept per version: definitions rarely change."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._parsed: dict[tuple[str, str], Definition] = {}

    @asynccontextmanager
    async def session(self, workspace_id: str, *, locked: bool = True) -> AsyncIterator["PostgresSession"]:
        async with self._pool.connection() as connection:
            if locked:
                await connection.execute(_LOCK, [workspace_id])
            yield PostgresSession(connection, workspace_id, self._parsed)
            if locked:
                reach("segmenter.before-commit")
        if locked:
            reach("segmenter.after-commit")


class PostgresSession:
    """Implements the port Session."""

    def __init__(
        self, connection: psycopg.AsyncConnection[Any], workspace_id: str, parsed: dict[tuple[str, str], Definition]
    ) -> None:
        self._connection, self._workspace, self._parsed = connection, workspace_id, parsed

    async def definitions(self) -> Definitions:
        versions = dict(await self._rows(_WHICH, [self._workspace]))
        stale = [one for one, version in versions.items() if self._version(one) != version]
        if stale:
            for segment_id, version, type_, rules in await self._rows(_RULES, [self._workspace, stale]):
                self._remember(segment_id, version, type_, rules)
        known = (self._parsed.get((self._workspace, one)) for one in versions)
        return Definitions.of(definition for definition in known if definition is not None)

    async def of_profiles(self, profiles: Sequence[UUID]) -> dict[Place, int]:
        if not profiles:
            return {}
        return _places(await self._rows(_OF_PROFILES, [self._workspace, array(profiles, uuids)]))

    async def inside(self, profiles: Sequence[UUID]) -> dict[str, int]:
        bits = [1 << number for number in range(len(profiles))]
        rows = await self._rows(_INSIDE, [array(profiles, uuids), self._workspace])
        return {segment_id: sum(map(bits.__getitem__, numbers_)) for segment_id, numbers_ in rows}

    async def sequences(self, places: Sequence[Place]) -> dict[Place, int]:
        if not places:
            return {}
        return _places(await self._rows(_SEQUENCES, [*arrays(places, texts, uuids), self._workspace]))

    async def of_buckets(self, buckets: tuple[int, int], segment_ids: Sequence[str]) -> dict[Place, int]:
        return _places(await self._rows(_OF_BUCKETS, [self._workspace, list(segment_ids), *buckets]))

    async def of_segment(self, segment_id: str, limit: int) -> dict[Place, int]:
        return _places(await self._rows(_OF_SEGMENT, [self._workspace, segment_id, limit]))

    async def apply(self, changes: Sequence[MembershipChanged]) -> None:
        if not changes:
            return
        cursor = await self._connection.execute(_APPLY, [self._workspace, *_columns(changes)])
        if cursor.rowcount != len(changes):
            raise OutOfStep(f"{len(changes) - cursor.rowcount} memberships of {self._workspace} changed meanwhile")
        await put(self._connection, changes)
        sizes: Counter[str] = Counter()
        for change in changes:
            sizes[change.segment_id] += 1 if is_member(change.sequence) else -1
        await self._connection.execute(_SIZES, [list(sizes), list(sizes.values()), self._workspace])

    async def remind(self, moments: Mapping[UUID, datetime]) -> None:
        if moments:
            columns = arrays(moments.items(), uuids, times)
            await self._connection.execute(_REMIND, [self._workspace, *columns])

    async def progress(self, segment_ids: Sequence[str], share: float) -> None:
        await self._connection.execute(_PROGRESS, [share, self._workspace, list(segment_ids)])

    async def _rows(self, query: str, parameters: Sequence[Any]) -> list[Any]:
        # every query of this class is a constant of this module
        return await (await self._connection.execute(query, parameters)).fetchall()

    def _version(self, segment_id: str) -> int | None:
        known = self._parsed.get((self._workspace, segment_id))
        return known.version if known else None

    def _remember(self, segment_id: str, version: int, type_: str, rules: Any) -> None:
        try:
            self._parsed[self._workspace, segment_id] = Definition(segment_id, version, rule_of(type_, rules))
        except InvalidRule as error:
            # stored by another release: its members stay as they are, the workspace's other segments go on
            self._parsed.pop((self._workspace, segment_id), None)
            _log.error("rule_unreadable", workspace_id=self._workspace, segment_id=segment_id, reason=str(error))


def _columns(changes: Sequence[MembershipChanged]) -> list[str]:
    """One array literal per column; a row object per change would cost as much as all of them."""
    written = {at: times(at) for at in {change.at for change in changes}}  # one evaluation, one moment
    return [
        array([change.segment_id for change in changes], texts),
        array([change.profile_id for change in changes], uuids),
        array([bucket_of(change.profile_id) for change in changes], numbers),
        array([change.sequence for change in changes], numbers),
        array([change.segment_version for change in changes], numbers),
        array([change.at for change in changes], written.__getitem__),
    ]


def _places(rows: Sequence[Any]) -> dict[Place, int]:
    return {Place(segment_id, profile_id): sequence for segment_id, profile_id, sequence in rows}
