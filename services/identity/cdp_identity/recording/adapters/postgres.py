"""The recorder's ledger in Postgres: claims with epochs, open intents, erasures."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from cdp_eventlog.log import Partition
from cdp_identity.recording.ports import Erasure, Fenced, LedgerUnavailable
from cdp_identity.recording.protocol import Claim, Intent
from cdp_runtime.postgres import Pool, retryable
from cdp_runtime.postgres_arrays import array, uuids

_CLAIM: Final = """
INSERT INTO identity.recorder_partitions AS owned (topic, partition, epoch)
SELECT topic, partition, 1 FROM unnest(%s::text[], %s::int[]) AS wanted (topic, partition) ORDER BY topic, partition
ON CONFLICT (topic, partition) DO UPDATE SET epoch = owned.epoch + 1, claimed_at = now()
RETURNING topic, partition, epoch, next_offset, next_received_offset, generation
"""
_OPEN: Final = """
SELECT topic, partition, first_offset, last_offset, records, from_received, generation, flush
FROM identity.recorder_intents JOIN unnest(%s::text[], %s::int[]) AS mine (topic, partition) USING (topic, partition)
"""
_LOCK: Final = """
SELECT owned.topic, owned.partition
FROM identity.recorder_partitions AS owned
JOIN unnest(%s::text[], %s::int[], %s::bigint[]) AS mine (topic, partition, epoch) USING (topic, partition, epoch)
ORDER BY owned.topic, owned.partition FOR UPDATE OF owned
"""
_INTEND: Final = """
INSERT INTO identity.recorder_intents AS open
    (topic, partition, first_offset, last_offset, records, from_received, generation, flush)
SELECT *, %s::jsonb
FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::int[])
ON CONFLICT (topic, partition) DO UPDATE SET
    first_offset = excluded.first_offset, last_offset = excluded.last_offset, records = excluded.records,
    from_received = excluded.from_received, generation = excluded.generation, flush = excluded.flush, opened_at = now()
"""
_ADVANCE: Final = """
UPDATE identity.recorder_partitions AS owned
SET next_offset = done.next_offset, next_received_offset = done.next_received_offset, recorded_at = now()
FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::bigint[])
    AS done (topic, partition, next_offset, next_received_offset)
WHERE owned.topic = done.topic AND owned.partition = done.partition
"""
_CLOSE: Final = """
DELETE FROM identity.recorder_intents AS open USING unnest(%s::text[], %s::int[]) AS done (topic, partition)
WHERE open.topic = done.topic AND open.partition = done.partition
"""
# one writer at a time, so that sequences become visible in their order
_ERASE_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('identity.recorder_erasures'))"
_ERASE: Final = """
INSERT INTO identity.recorder_erasures (workspace_id, node_id, until)
SELECT * FROM unnest(%s::text[], %s::uuid[], %s::timestamptz[])
"""
_ERASURES: Final = """
SELECT workspace_id, node_id, until, sequence FROM identity.recorder_erasures
WHERE sequence > %s AND until >= %s ORDER BY sequence
"""
_OWNERS: Final = """
SELECT node_id, profile_id FROM identity.nodes
WHERE workspace_id = %s AND node_id = ANY(%s::uuid[]) AND profile_id <> node_id
"""


class PostgresLedger:
    """The Ledger port. Each method is one transaction, and safe to repeat when its reply was lost."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self, partitions: Sequence[Partition]) -> list[tuple[Claim, tuple[Intent, ...]]]:
        topics, numbers = _split(partitions)
        async with self._transaction() as connection:
            claims = await (await connection.execute(_CLAIM, (topics, numbers))).fetchall()
            intents = await (await connection.execute(_OPEN, (topics, numbers))).fetchall()
        left_open = {Partition(row[0], row[1]): _flush(row[:7], row[7]) for row in intents}
        mine = [Claim(Partition(row[0], row[1]), *row[2:]) for row in claims]
        return [(claim, left_open.get(claim.partition, ())) for claim in mine]

    async def intend(self, claims: Sequence[Claim], intents: Sequence[Intent]) -> None:
        claimed = {claim.partition for claim in claims}
        rows = [_columns(intent) for intent in intents if intent.partition in claimed]
        flush = Jsonb([_columns(intent) for intent in intents])
        async with self._transaction() as connection:
            await _lock(connection, claims)
            await connection.execute(_INTEND, (flush, *map(list, zip(*rows, strict=True))))

    async def close(self, claims: Sequence[Claim]) -> None:
        topics, numbers = _split([claim.partition for claim in claims])
        offsets = [claim.next_offset for claim in claims]
        received = [claim.next_received_offset for claim in claims]
        async with self._transaction() as connection:
            await _lock(connection, claims)
            await connection.execute(_ADVANCE, (topics, numbers, offsets, received))
            await connection.execute(_CLOSE, (topics, numbers))

    async def erase(self, erasures: Sequence[Erasure]) -> None:
        columns = zip(*((erasure.workspace_id, erasure.node_id, erasure.until) for erasure in erasures), strict=True)
        async with self._transaction() as connection:
            await connection.execute(_ERASE_LOCK)
            await connection.execute(_ERASE, tuple(map(list, columns)))

    async def erasures(self, after: int, since: datetime) -> list[Erasure]:
        async with self._transaction() as connection:
            rows = await (await connection.execute(_ERASURES, (after, since))).fetchall()
        return [Erasure(*row) for row in rows]

    async def owners(self, workspace_id: str, nodes: Sequence[UUID]) -> Mapping[UUID, UUID]:
        """The NodeOwners port: the resolver's own table, so never behind what it published."""
        async with self._transaction() as connection:
            asked = workspace_id, array(nodes, uuids)
            return dict(await (await connection.execute(_OWNERS, asked, binary=True)).fetchall())

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection[Any]]:
        try:
            async with self._pool.connection() as connection, connection.transaction():
                yield connection
        except Exception as error:
            if not retryable(error):
                raise
            raise LedgerUnavailable(str(error).strip() or type(error).__name__) from error


def _columns(intent: Intent) -> tuple[Any, ...]:
    topic, number = intent.partition
    return (topic, number, intent.first, intent.last, intent.records, intent.from_received, intent.generation)


def _flush(row: Sequence[Any], flush: Sequence[Sequence[Any]] | None) -> tuple[Intent, ...]:
    """All ranges of the flush that a row belongs to; before there were flushes of several ranges, its own."""
    return tuple(Intent(Partition(one[0], one[1]), *one[2:]) for one in flush or [row])


async def _lock(connection: AsyncConnection[Any], claims: Sequence[Claim]) -> None:
    """Lock the claims' rows in one order for all workers. Raises Fenced when an epoch is not the newest."""
    topics, numbers = _split([claim.partition for claim in claims])
    epochs = [claim.epoch for claim in claims]
    rows = await (await connection.execute(_LOCK, (topics, numbers, epochs))).fetchall()
    lost = {claim.partition for claim in claims} - {Partition(*row) for row in rows}
    if lost:
        raise Fenced(lost)


def _split(partitions: Sequence[Partition]) -> tuple[list[str], list[int]]:
    return [partition.topic for partition in partitions], [partition.number for partition in partitions]
