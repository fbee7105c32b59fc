"""What the identity API reads from Postgres: profiles, references, searches, the graph of a profile, consents."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg_pool import PoolTimeout

from cdp_identity.adapters.postgres_rows import link_row, node_row, read_record
from cdp_identity.adapters.postgres_sql import LINK_COLUMNS, MEMBERS, NODES, PROFILE_COLUMNS
from cdp_identity.batch import message_key
from cdp_identity.rows import ConsentEntry, LinkRow, NodeRow
from cdp_identity.search import (
    FIRST_END,
    Conditions,
    Found,
    Probed,
    Query,
    estimate,
    estimate_beyond,
    is_beyond,
    tells,
)
from cdp_runtime.clock import Clock
from cdp_runtime.envelope import unavailable
from cdp_runtime.postgres import Pool, retryable
from cdp_schemas.profiles import ProfileUpdated

_LINKS_SHOWN: Final = 1000
_HISTORY_SHOWN: Final = 1000
_SETTLED: Final = "SELECT 1 FROM identity.messages WHERE id = %s AND day = ANY(%s)"
# the columns of a profile, then its identifiers side by side; a node that is its own profile is found by its key
_IDENTIFIERS: Final = """
CROSS JOIN LATERAL (
    SELECT array_agg(n.kind) AS kinds, array_agg(n.value) AS texts, array_agg(n.first_seen) AS firsts FROM (
        SELECT kind, value, first_seen FROM identity.nodes AS own
        WHERE own.workspace_id = p.workspace_id AND own.node_id = p.profile_id AND own.profile_id = own.node_id
        UNION ALL
        SELECT kind, value, first_seen FROM identity.nodes AS moved
        WHERE moved.workspace_id = p.workspace_id AND moved.profile_id = p.profile_id
          AND moved.profile_id <> moved.node_id) AS n
    WHERE n.kind <> '') AS said"""
_RECORD_COLUMNS: Final = f"{PROFILE_COLUMNS}, said.kinds, said.texts, said.firsts"
_RECORDS: Final = f"""
SELECT {_RECORD_COLUMNS} FROM identity.profiles AS p {_IDENTIFIERS}
WHERE p.workspace_id = %s AND p.profile_id = ANY(%s) AND p.version > 0"""  # noqa: S608 -- own constants
_RECORD_OF: Final = f"""
SELECT {_RECORD_COLUMNS} FROM identity.nodes AS asked
JOIN identity.profiles AS p USING (workspace_id, profile_id) {_IDENTIFIERS}
WHERE asked.workspace_id = %s AND asked.node_id = %s AND asked.kind <> '' AND p.version > 0"""  # noqa: S608
_GRAPH: Final = f"""
SELECT {LINK_COLUMNS} FROM identity.links AS l WHERE l.workspace_id = %s AND l.a = ANY(%s)
UNION
SELECT {LINK_COLUMNS} FROM identity.links AS l WHERE l.workspace_id = %s AND l.b = ANY(%s) AND l.status <> 'h'
ORDER BY 4 LIMIT %s"""  # noqa: S608 -- own constants
_CONSENTS: Final = """
SELECT workspace_id, node_id, purpose, granted, at, message_id, source_id FROM identity.consents
WHERE workspace_id = %s AND node_id = ANY(%s) ORDER BY at DESC, purpose LIMIT %s"""


class ProfileReads:
    """Each statement reads one committed moment. Raises ApiError 503 while Postgres is down."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool, self._clock = pool, clock

    async def profiles_of(self, workspace_id: str, nodes: Collection[UUID]) -> dict[UUID, UUID]:
        """Node -> the profile it belongs to; unknown and erased nodes are missing."""
        rows = await self._nodes(workspace_id, nodes)
        return {row.node_id: row.profile_id for row in rows if row.is_live}

    async def records(self, workspace_id: str, profiles: Collection[UUID]) -> dict[UUID, ProfileUpdated]:
        """Golden records of the profiles that exist."""
        async with self._connection() as connection:
            rows = await connection.execute(_RECORDS, [workspace_id, list(profiles)])
            return {record.profile_id: record for record in map(read_record, await rows.fetchall())}

    async def record_of(self, workspace_id: str, node: UUID) -> ProfileUpdated | None:
        """The golden record of the profile that the node belongs to."""
        async with self._connection() as connection:
            row = await (await connection.execute(_RECORD_OF, [workspace_id, node])).fetchone()
        return None if row is None else read_record(row)

    async def search(self, conditions: Conditions, limit: int, offset: int, after: UUID | None) -> Found:
        """Whom many satisfy is met on a walk in the order of the ids, whom some satisfy among the first of them.

        All others are fetched at once and counted.
        """
        wanted = offset + limit + 1
        async with self._connection() as connection:
            if not conditions.has_address:
                probed = Probed(*await _row(connection, conditions.probe(after)))
                met = probed.ids
                if probed.promises(wanted, after):
                    met = met + await _ids(connection, conditions.walk(wanted - len(met), probed.last))
                if len(met) >= wanted and is_beyond(total := estimate(wanted, met[wanted - 1], after)):
                    return Found(met[offset : wanted - 1], total, is_exact=False, is_more=True)
                if probed.is_of_many(after):
                    count, ids = await _row(connection, conditions.first(limit, offset, after))
                    if tells(count, wanted):
                        return Found(ids[:limit], estimate(count, FIRST_END, after), is_exact=False, is_more=True)
            total, ids = await _row(connection, conditions.some(limit, offset, after))
            if not is_beyond(total):
                return Found(ids[:limit], total, is_exact=True, is_more=len(ids) > limit)
            ids = await _ids(connection, conditions.page(limit, offset, after))
        total = estimate_beyond(offset + len(ids), ids[-1] if ids else None, after)
        return Found(ids[:limit], total, is_exact=False, is_more=len(ids) > limit)

    async def graph(self, workspace_id: str, profile: UUID) -> tuple[list[NodeRow], list[LinkRow]]:
        """The nodes of a profile, and its links: those that hold and those that do not."""
        async with self._connection() as connection:
            rows = await connection.execute(MEMBERS, [[workspace_id], [profile]] * 2)
            nodes = [node_row(row) async for row in rows]
            ids = [node.node_id for node in nodes]
            found = await connection.execute(_GRAPH, [workspace_id, ids, workspace_id, ids, _LINKS_SHOWN])
            links = [link_row(row) async for row in found]
        return nodes, links

    async def names(self, workspace_id: str, nodes: Collection[UUID]) -> Mapping[UUID, NodeRow]:
        """The nodes themselves."""
        return {row.node_id: row for row in await self._nodes(workspace_id, nodes)}

    async def consents(self, workspace_id: str, nodes: Sequence[UUID]) -> list[ConsentEntry]:
        """The history of consent of these nodes, the latest first."""
        async with self._connection() as connection:
            rows = await connection.execute(_CONSENTS, [workspace_id, list(nodes), _HISTORY_SHOWN])
            return [ConsentEntry(*row) async for row in rows]

    async def is_settled(self, workspace_id: str, message_id: str) -> bool:
        """Whether the resolver has applied the message."""
        today = self._clock.now().date()
        days = [today + timedelta(days=step) for step in (-1, 0, 1)]
        async with self._connection() as connection:
            found = await connection.execute(_SETTLED, [UUID(bytes=message_key(workspace_id, message_id)), days])
            return await found.fetchone() is not None

    async def _nodes(self, workspace_id: str, nodes: Collection[UUID]) -> list[NodeRow]:
        if not nodes:
            return []
        async with self._connection() as connection:
            rows = await connection.execute(NODES, [[workspace_id] * len(nodes), list(nodes)])
            return [node_row(row) async for row in rows]

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (psycopg.Error, PoolTimeout, OSError) as error:
            if retryable(error):
                raise unavailable("postgres", "Postgres does not answer; try again.") from error
            raise


async def _row(connection: psycopg.AsyncConnection[Any], statement: Query) -> Any:
    """The one row of a statement that always has one."""
    return await (await _searched(connection, statement)).fetchone()


async def _ids(connection: psycopg.AsyncConnection[Any], statement: Query) -> list[UUID]:
    rows = await _searched(connection, statement)
    return [one for (one,) in await rows.fetchall()]


async def _searched(connection: psycopg.AsyncConnection[Any], statement: Query) -> psycopg.AsyncCursor[Any]:
    # psycopg asks for literal SQL; these texts are put together in cdp_identity.search from its own constants
    sql: Any
    sql, parameters = statement
    # planned for its values each time: without them any range of ids or amounts is a narrow one to the planner
    return await connection.execute(sql, parameters, prepare=False)
