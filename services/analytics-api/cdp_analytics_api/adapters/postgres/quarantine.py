"""front.quarantine <-> refused events with their place in the dead-letter topic."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from psycopg import sql

from cdp_analytics_api.adapters.postgres.trim import trim
from cdp_analytics_api.ports import Refused
from cdp_runtime.postgres import Pool
from cdp_schemas.events import RefusedEvent

_STARTS: Final = "SELECT partition, next_offset FROM front.quarantine_offsets WHERE partition = ANY(%s)"
_TAKE: Final = """
INSERT INTO front.quarantine
    (workspace_id, partition, "offset", source_id, stage, reason, detail, path, message_id, received_at, raw)
SELECT * FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
                     %s::text[], %s::timestamptz[], %s::bytea[])
ON CONFLICT DO NOTHING
"""
_ADVANCE: Final = """
INSERT INTO front.quarantine_offsets AS known (partition, next_offset)
SELECT * FROM unnest(%s::int[], %s::bigint[])
ON CONFLICT (partition) DO UPDATE SET next_offset = greatest(known.next_offset, excluded.next_offset)
"""
# a page is held several times over while it is written, and each of its events may be as large as a body
_MOST_BYTES: Final = 8 * 1024 * 1024
_PAGE: Final = """
SELECT found, workspace_id, partition, "offset", source_id, stage, reason, detail, path, message_id, received_at, raw
FROM (
    SELECT *, count(*) OVER () AS found,
        sum(octet_length(raw)) OVER (ORDER BY received_at DESC, partition DESC, "offset" DESC) AS bytes
    FROM (
        SELECT * FROM front.quarantine
        WHERE workspace_id = %(workspace)s AND (%(reason)s::text IS NULL OR reason = %(reason)s)
          AND (%(at)s::timestamptz IS NULL
               OR (received_at, partition, "offset") < (%(at)s, %(partition)s::int, %(offset)s::bigint))
        ORDER BY received_at DESC, partition DESC, "offset" DESC LIMIT %(limit)s + 1
    ) AS newest
) AS counted
WHERE bytes - octet_length(raw) < %(bytes)s
ORDER BY received_at DESC, partition DESC, "offset" DESC LIMIT %(limit)s
"""


class PostgresQuarantine:
    """The Quarantine port; ``owners`` is for what concerns all workspaces at once."""

    def __init__(self, pool: Pool, owners: Pool) -> None:
        self._pool, self._owners = pool, owners

    async def starts(self, partitions: Sequence[int]) -> Mapping[int, int]:
        async with self._owners.connection() as connection:
            rows = await (await connection.execute(_STARTS, (list(partitions),))).fetchall()
        return dict(rows)

    async def take(self, refused: Sequence[Refused], next_offsets: Mapping[int, int]) -> None:
        columns = [list(column) for column in zip(*map(_row, refused), strict=True)]
        async with self._owners.connection() as connection, connection.transaction():
            if columns:
                await connection.execute(_TAKE, columns)
            await connection.execute(_ADVANCE, (list(next_offsets), list(next_offsets.values())))

    async def page(
        self, workspace_id: str, reason: str | None, limit: int, after: tuple[datetime, int, int] | None
    ) -> tuple[list[Refused], bool]:
        at, partition, offset = after or (None, None, None)
        values = {
            "workspace": workspace_id,
            "reason": reason,
            "at": at,
            "partition": partition,
            "offset": offset,
            "limit": limit,
            "bytes": _MOST_BYTES,
        }
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_PAGE, values)).fetchall()
        return [_refused(row[1:]) for row in rows], bool(rows) and rows[0][0] > len(rows)

    async def purge(self, before: datetime) -> None:
        await trim(self._owners, sql.Identifier("front", "quarantine"), sql.Identifier("received_at"), before)


def _row(refused: Refused) -> tuple[Any, ...]:
    event = refused.event
    place = (event.workspace_id, refused.partition, refused.offset)
    # Postgres text takes no NUL; the raw bytes keep it
    texts = (event.source_id, event.stage, event.reason, event.detail, event.path, event.message_id)
    cleaned = tuple(text.replace("\0", "\N{SYMBOL FOR NULL}") if text else text for text in texts)
    return (*place, *cleaned, event.received_at, event.raw)


def _refused(row: tuple[Any, ...]) -> Refused:
    workspace_id, partition, offset, source_id, stage, reason, detail, path, message_id, received_at, raw = row
    event = RefusedEvent(
        workspace_id=workspace_id,
        source_id=source_id,
        stage=stage,
        reason=reason,
        detail=detail,
        path=path,
        message_id=message_id,
        received_at=received_at,
        raw=bytes(raw),
    )
    return Refused(partition, offset, event)
