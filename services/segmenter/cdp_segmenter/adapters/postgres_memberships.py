"""Memberships, their sequences and the outbox in Postgres: the ports Ledger and Session."""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import compress
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg
import structlog

from cdp_clickhouse.client import TIMEOUT_S
from cdp_runtime.faultpoints import reach
from cdp_runtime.postgres import Pool
from cdp_runtime.postgres_arrays import array, arrays, smallints, times, uuids
from cdp_schemas.segments import MembershipsChanged
from cdp_segmenter.adapters.held import Held, columns
from cdp_segmenter.adapters.postgres_outbox import put
from cdp_segmenter.definitions import Definition, Definitions, rule_of
from cdp_segmenter.membership import Place, is_member
from cdp_segmenter.ports import OutOfStep
from cdp_segmenter.rules.check import InvalidRule
from cdp_segmenter.rules.scope import bucket_of
from cdp_segmenter.rules.times import epoch_ms

_log = structlog.get_logger(__name__)
# a worker that freezes while it holds the lock must not stop its workspace for ever; one that waits for two answers of
# ClickHouse is not frozen
_LONGEST_IDLE: Final = f"{2 * TIMEOUT_S + 60:.0f}s"
_LOCK: Final = """
SELECT set_config('idle_in_transaction_session_timeout', %s, true),
       pg_advisory_xact_lock(hashtextextended('segmenter:' || %s, 0))
"""
# deleted ones too: their members are still to leave
_WHICH: Final = """
SELECT segment_id, version, number, deleted_at IS NULL FROM segmenter.segments WHERE workspace_id = %s
ORDER BY segment_id
"""
_RULES: Final = """
SELECT segment_id, version, type, rules FROM segmenter.segments WHERE workspace_id = %s AND segment_id = ANY(%s)
"""
_HELD: Final = """
SELECT profile_id, revision, segments, sequences, changed_ms FROM segmenter.profile_segments
WHERE workspace_id = %s AND profile_id = ANY(%s::uuid[])
"""
_INSIDE: Final = """
SELECT profile_id, segments, sequences FROM segmenter.profile_segments
WHERE workspace_id = %s AND profile_id = ANY(%s::uuid[])
"""
_ROWS_AT_ONCE: Final = 500
_OF_BUCKETS: Final = """
SELECT held.number, p.profile_id, held.sequence
FROM segmenter.profile_segments AS p, unnest(p.segments, p.sequences) AS held (number, sequence)
WHERE p.workspace_id = %(workspace)s AND p.bucket BETWEEN %(first)s AND %(last)s AND held.number = ANY(%(numbers)s)
"""
# as a page of members is asked for: after the last, so that those who left before are not passed over at each step
_OF_SEGMENT: Final = """
SELECT %(number)s::int, profile_id, sequences[array_position(segments, %(number)s::int)]
FROM segmenter.profile_segments
WHERE workspace_id = %(workspace)s AND segments @> ARRAY[%(number)s::int]
  AND (sequences[array_position(segments, %(number)s::int)] %% 2)::boolean
  AND (bucket, profile_id) > (%(bucket)s, %(after)s::uuid)
ORDER BY bucket, profile_id LIMIT %(limit)s
"""
# the guard on the revision makes a change that does not follow the last one impossible, whoever writes it
_WRITE: Final = """
INSERT INTO segmenter.profile_segments AS known
    (workspace_id, profile_id, bucket, revision, segments, sequences, changed_ms)
SELECT %s, profile_id, bucket, revision, segments::int[], sequences::int[], changed_ms::bigint[]
FROM unnest(%s::uuid[], %s::smallint[], %s::int[], %s::text[], %s::text[], %s::text[])
    AS row (profile_id, bucket, revision, segments, sequences, changed_ms)
ON CONFLICT (workspace_id, profile_id) DO UPDATE
SET revision = excluded.revision, segments = excluded.segments, sequences = excluded.sequences,
    changed_ms = excluded.changed_ms
WHERE known.revision = excluded.revision - 1
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
                await connection.execute(_LOCK, [_LONGEST_IDLE, workspace_id])
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
        self._versions: dict[str, int] = {}  # of the segments that are not deleted
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._read: dict[UUID, Held] = {}

    async def definitions(self) -> Definitions:
        await self._look_up()
        stale = [one for one, version in self._versions.items() if self._version(one) != version]
        if stale:
            for segment_id, version, type_, rules in await self._rows(_RULES, [self._workspace, stale]):
                self._remember(segment_id, version, type_, rules)
        known = {one: self._parsed.get((self._workspace, one)) for one in self._versions}
        unreadable = [one for one, definition in known.items() if definition is None]
        return Definitions.of((definition for definition in known.values() if definition is not None), unreadable)

    async def of_profiles(self, profiles: Sequence[UUID]) -> dict[Place, int]:
        held = await self._held(profiles)
        return self._places(
            (number, profile_id, sequence)
            for profile_id in profiles
            for number, sequence in zip(held[profile_id].segments, held[profile_id].sequences, strict=True)
        )

    async def inside(self, profiles: Sequence[UUID]) -> dict[str, int]:
        await self._look_up()
        found: dict[int, list[int]] = {number: [] for number in self._names}
        place_of = {profile_id: place for place, profile_id in enumerate(profiles)}
        # nothing is kept of the rows: most of them will not change, and they are some kilobytes each as objects
        cursor = await self._execute(_INSIDE, profiles)
        while rows := await cursor.fetchmany(_ROWS_AT_ONCE):
            for profile_id, segments, sequences in rows:
                for number in compress(segments, map(is_member, sequences)):
                    if number in found:
                        found[number].append(place_of[profile_id])
        bits = [1 << place for place in range(len(profiles))]
        return {self._names[number]: sum(map(bits.__getitem__, places)) for number, places in found.items() if places}

    async def sequences(self, places: Sequence[Place]) -> list[int]:
        held = await self._held({place.profile_id for place in places})
        return [held[profile_id].sequence(self._numbers[segment_id]) for segment_id, profile_id in places]

    async def of_buckets(self, buckets: tuple[int, int], segment_ids: Sequence[str]) -> dict[Place, int]:
        await self._look_up()
        numbers_ = [self._numbers[one] for one in segment_ids]
        asked = {"workspace": self._workspace, "first": buckets[0], "last": buckets[1], "numbers": numbers_}
        return self._places(await self._rows(_OF_BUCKETS, asked))

    async def of_segment(self, segment_id: str, limit: int, after: UUID | None) -> dict[Place, int]:
        await self._look_up()
        number = self._numbers.get(segment_id)  # none when another process has emptied it meanwhile
        asked = {
            "workspace": self._workspace,
            "number": number,
            "limit": limit,
            "bucket": -1 if after is None else bucket_of(after),
            "after": after or UUID(int=0),
        }
        cursor = await self._connection.execute(_OF_SEGMENT, asked, prepare=False)  # planned for its number
        return self._places(await cursor.fetchall())

    async def apply(self, changes: Sequence[MembershipsChanged]) -> None:
        if not changes:
            return
        held = await self._held({one.profile_id for one in changes})
        written: dict[UUID, Held] = {}
        sizes: Counter[str] = Counter()
        for one in changes:
            row, at_ms = held[one.profile_id], epoch_ms(one.at)
            written[one.profile_id] = row
            for turned in one.changes:
                row.put(self._numbers[turned.segment_id], turned.sequence, at_ms)
                sizes[turned.segment_id] += 1 if is_member(turned.sequence) else -1
        await self._write(written)
        await put(self._connection, changes)
        await self._connection.execute(_SIZES, [list(sizes), list(sizes.values()), self._workspace])

    async def remind(self, moments: Mapping[UUID, datetime]) -> None:
        if moments:
            columns = arrays(moments.items(), uuids, times)
            await self._connection.execute(_REMIND, [self._workspace, *columns])

    async def progress(self, segment_ids: Sequence[str], share: float) -> None:
        await self._connection.execute(_PROGRESS, [share, self._workspace, list(segment_ids)])

    async def _write(self, written: Mapping[UUID, Held]) -> None:
        for row in written.values():
            row.revision += 1
            row.forget_others(self._names)
        who = [array(written, uuids), array(map(bucket_of, written), smallints)]
        cursor = await self._connection.execute(_WRITE, [self._workspace, *who, *columns(written.values())])
        if cursor.rowcount != len(written):
            raise OutOfStep(f"{len(written) - cursor.rowcount} profiles of {self._workspace} changed meanwhile")

    async def _held(self, profiles: Collection[UUID]) -> dict[UUID, Held]:
        """What is kept of these profiles, read once in a session."""
        await self._look_up()
        unread = [profile_id for profile_id in profiles if profile_id not in self._read]
        if unread:
            cursor = await self._execute(_HELD, unread)
            self._read |= {profile_id: Held() for profile_id in unread}
            self._read |= {profile_id: Held(*row) for profile_id, *row in await cursor.fetchall()}
        return self._read

    async def _look_up(self) -> None:
        if self._numbers:
            return
        for segment_id, version, number, is_there in await self._rows(_WHICH, [self._workspace]):
            self._numbers[segment_id], self._names[number] = number, segment_id
            if is_there:
                self._versions[segment_id] = version

    def _places(self, rows: Iterable[tuple[int, UUID, int]]) -> dict[Place, int]:
        """Segments that are deleted and forgotten have no name any more, and nothing is in them."""
        names = self._names
        return {Place(names[number], profile_id): sequence for number, profile_id, sequence in rows if number in names}

    async def _execute(self, query: LiteralString, profiles: Iterable[UUID]) -> psycopg.AsyncCursor[Any]:
        # in binary the arrays' numbers cost a quarter of what they cost as texts
        return await self._connection.execute(query, [self._workspace, array(profiles, uuids)], binary=True)

    async def _rows(self, query: str, parameters: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
        # every query of this class is a constant of this module
        return await (await self._connection.execute(query, parameters)).fetchall()

    def _version(self, segment_id: str) -> int | None:
        known = self._parsed.get((self._workspace, segment_id))
        return known.version if known else None

    def _remember(self, segment_id: str, version: int, type_: str, rules: Any) -> None:
        try:
            rule = rule_of(type_, rules, is_stored=True)
            self._parsed[self._workspace, segment_id] = Definition(segment_id, version, rule)
        except InvalidRule as error:
            # stored by another release: its members stay as they are, and those of segments that refer to it; the
            # workspace's other segments go on
            self._parsed.pop((self._workspace, segment_id), None)
            _log.error("rule_unreadable", workspace_id=self._workspace, segment_id=segment_id, reason=str(error))
