"""Audiences and their connections in Postgres, and what the ledger says of them."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from cdp_activation.adapters import sql
from cdp_activation.adapters.postgres_directory import breaker_of
from cdp_activation.adapters.postgres_ledger import take_turn
from cdp_activation.adapters.rows import names_of, rows_of
from cdp_activation.catalog import (
    ActivationOperation,
    Audience,
    AudienceDraft,
    DeliveryRow,
    Link,
    LinkState,
    NameTaken,
    Overlap,
    Page,
    StillThere,
    Tally,
)
from cdp_activation.ledger import ConnectionKey
from cdp_runtime.postgres import Pool

_SELECT: Final = f"""
SELECT a.audience_id, a.name, a.description, a.segment_ids, a.platforms, a.config, a.created_at, a.updated_at,
       coalesce(a.members_counted, {sql.MEMBERS}) AS members
FROM activation.audiences a WHERE a.workspace_id = %(workspace)s AND a.deleted_at IS NULL
"""  # noqa: S608 constants
_LINKS: Final = """
SELECT c.audience_id, c.destination_id, t.name AS destination_name, t.type, c.platform, c.settings, c.active,
       c.paused_class, c.paused_reason, t.throttled_until, t.breaker,
       CASE WHEN t.enabled THEN t.paused_reason ELSE 'the destination is switched off' END AS destination_paused_reason,
       c.replace_session IS NOT NULL AS replacing, c.replaced_at, c.replace_error,
       c.reconcile AND c.activated_at IS NOT NULL AS unplanned
FROM activation.connections c JOIN activation.destinations t USING (workspace_id, destination_id)
WHERE c.workspace_id = %(workspace)s AND c.audience_id = ANY(%(ids)s) AND t.deleted_at IS NULL
ORDER BY t.name, c.destination_id
"""
_OPERATE: Final = """
UPDATE activation.connections SET
    active = %(operation)s <> 'remove', reconcile = true, paused_class = NULL, paused_reason = NULL,
    guard_waived_until = CASE WHEN %(waive)s THEN now() + interval '1 hour' ELSE guard_waived_until END,
    replace_error = NULL, recheck_at = now(),
    replace_session = CASE WHEN %(operation)s = 'replace'
                      THEN (extract(epoch FROM clock_timestamp()) * 1000)::bigint END,
    replace_requested_at = CASE WHEN %(operation)s = 'replace' THEN now() ELSE replace_requested_at END,
    activated_at = CASE WHEN %(operation)s = 'remove' THEN activated_at ELSE coalesce(activated_at, now()) END
WHERE workspace_id = %(workspace)s AND audience_id = %(id)s AND destination_id = ANY(%(destinations)s)
"""
# a destination may word each refusal otherwise: beyond the most frequent reasons rows are counted without theirs
_TALLIES: Final = """
WITH told AS (
    SELECT destination_id, outcome,
           CASE WHEN outcome IN ('rejected', 'gave_up', 'retrying') OR pending THEN last_error END AS error,
           desired, sent IS NOT NULL AND acknowledged AS present, pending, count(*) AS count, min(changed_at) AS oldest
    FROM activation.deliveries WHERE workspace_id = %(workspace)s AND audience_id = %(id)s
    GROUP BY 1, 2, 3, 4, 5, 6
), ranked AS (SELECT *, row_number() OVER (ORDER BY count DESC, error) AS n FROM told)
SELECT destination_id, outcome, CASE WHEN n <= 200 THEN error END AS error, desired, present, pending,
       sum(count)::bigint AS count, min(oldest) AS oldest
FROM ranked GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY count DESC
"""
_DELIVERIES: Final = """
SELECT profile_id, destination_id, desired, acknowledged, pending, outcome, last_error AS error, attempts,
       next_attempt_at, changed_at, acknowledged_at
FROM activation.deliveries
WHERE workspace_id = %(workspace)s AND audience_id = %(id)s
  AND (%(after_profile)s::uuid IS NULL
    OR (destination_id, profile_id) > (%(after_destination)s, %(after_profile)s::uuid))
ORDER BY destination_id, profile_id LIMIT %(limit)s
"""
_OVERLAP: Final = """
WITH members AS (
    SELECT DISTINCT a.audience_id, m.profile_id
    FROM activation.audiences a
    JOIN activation.memberships m ON m.workspace_id = a.workspace_id AND m.segment_id = ANY(a.segment_ids)
    LEFT JOIN activation.profile_floors f ON f.workspace_id = m.workspace_id AND f.profile_id = m.profile_id
    WHERE a.workspace_id = %(workspace)s AND a.audience_id IN (%(one)s, %(other)s) AND m.member
      AND f.deleted IS NOT TRUE
)
SELECT count(*) FILTER (WHERE audience_id = %(one)s) AS size, count(*) FILTER (WHERE audience_id = %(other)s) AS other,
       (SELECT count(*) FROM members x JOIN members y USING (profile_id)
        WHERE x.audience_id = %(one)s AND y.audience_id = %(other)s) AS both
FROM members
"""
_OCCUPIED: Final = """
SELECT 1 FROM activation.deliveries WHERE workspace_id = %(workspace)s AND destination_id = %(destination)s
  AND audience_id = %(audience)s AND sent IS NOT NULL LIMIT 1
"""


class PostgresAudiences:
    """Implements the port AudienceStore."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, workspace_id: str, audience_id: str, draft: AudienceDraft) -> None:
        try:
            async with self._pool.connection() as connection:
                await connection.execute(
                    "INSERT INTO activation.audiences (workspace_id, audience_id, name, description, segment_ids, "
                    "platforms, config) VALUES (%(workspace)s, %(id)s, %(name)s, %(description)s, %(segments)s, "
                    "%(platforms)s, %(config)s)",
                    _columns(workspace_id, audience_id, draft),
                )
                for link in draft.links:
                    await _connect(connection, workspace_id, audience_id, link)
        except psycopg.errors.UniqueViolation as error:
            raise NameTaken(draft.name) from error

    async def get(self, workspace_id: str, audience_id: str) -> Audience | None:
        parameters = {"workspace": workspace_id, "id": audience_id}
        found = await self._audiences(workspace_id, _SELECT + "AND a.audience_id = %(id)s", parameters)
        return found[0] if found else None

    async def listed(self, workspace_id: str, page: Page) -> tuple[list[Audience], int]:
        after_at, after_id = page.after or (None, None)
        parameters = {
            "workspace": workspace_id,
            "at": after_at,
            "after": after_id,
            "limit": page.limit,
            "offset": page.offset,
        }
        statement = (
            _SELECT
            + "AND (%(at)s::timestamptz IS NULL OR (a.created_at, a.audience_id) < (%(at)s, %(after)s)) "
            + "ORDER BY a.created_at DESC, a.audience_id DESC LIMIT %(limit)s OFFSET %(offset)s"
        )
        return await self._audiences(workspace_id, statement, parameters), await self.count(workspace_id)

    async def update(self, workspace_id: str, audience_id: str, draft: AudienceDraft) -> bool:
        columns = _columns(workspace_id, audience_id, draft)
        try:
            async with self._pool.connection() as connection:
                done = await connection.execute(
                    "UPDATE activation.audiences SET name = %(name)s, description = %(description)s, "
                    "segment_ids = %(segments)s, platforms = %(platforms)s, config = %(config)s, updated_at = now(), "
                    "members_counted = NULL "
                    "WHERE workspace_id = %(workspace)s AND audience_id = %(id)s AND deleted_at IS NULL",
                    columns,
                )
                if done.rowcount:
                    await _reconnect(connection, workspace_id, audience_id, draft.links)
        except psycopg.errors.UniqueViolation as error:
            raise NameTaken(draft.name) from error
        return done.rowcount > 0

    async def delete(self, workspace_id: str, audience_id: str) -> bool:
        parameters = {"workspace": workspace_id, "id": audience_id}
        async with self._pool.connection() as connection:
            done = await connection.execute(
                "UPDATE activation.audiences SET deleted_at = now() "
                "WHERE workspace_id = %(workspace)s AND audience_id = %(id)s AND deleted_at IS NULL",
                parameters,
            )
            await connection.execute(
                "UPDATE activation.connections SET active = false, reconcile = true, replace_session = NULL, "
                "paused_class = NULL, paused_reason = NULL, guard_waived_until = now() + interval '1 day' "
                "WHERE workspace_id = %(workspace)s AND audience_id = %(id)s",
                parameters,
            )
        return done.rowcount > 0

    async def operate(
        self,
        workspace_id: str,
        audience_id: str,
        destinations: Sequence[str],
        operation: ActivationOperation,
        *,
        waive: bool,
    ) -> None:
        names = {"workspace": workspace_id, "id": audience_id, "destinations": list(destinations)}
        async with self._pool.connection() as connection:
            await connection.execute(_OPERATE, {**names, "operation": operation, "waive": waive})

    async def pause(self, workspace_id: str, audience_id: str, destinations: Sequence[str]) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE activation.connections SET paused_class = 'requested', paused_reason = 'paused by request' "
                "WHERE workspace_id = %(workspace)s AND audience_id = %(id)s "
                "AND destination_id = ANY(%(destinations)s)",
                {"workspace": workspace_id, "id": audience_id, "destinations": list(destinations)},
            )

    async def tallies(self, workspace_id: str, audience_id: str) -> list[Tally]:
        return [
            Tally(**row) for row in await rows_of(self._pool, _TALLIES, {"workspace": workspace_id, "id": audience_id})
        ]

    async def deliveries(
        self, workspace_id: str, audience_id: str, limit: int, after: tuple[str, UUID] | None
    ) -> list[DeliveryRow]:
        after_destination, after_profile = after or (None, None)
        parameters = {
            "workspace": workspace_id,
            "id": audience_id,
            "limit": limit,
            "after_profile": after_profile,
            "after_destination": after_destination,
        }
        return [DeliveryRow(**row) for row in await rows_of(self._pool, _DELIVERIES, parameters)]

    async def overlap(self, workspace_id: str, one: str, other: str) -> Overlap:
        (row,) = await rows_of(self._pool, _OVERLAP, {"workspace": workspace_id, "one": one, "other": other})
        return Overlap(**row)

    async def count(self, workspace_id: str) -> int:
        statement = (
            "SELECT count(*) AS n FROM activation.audiences WHERE workspace_id = %(workspace)s AND deleted_at IS NULL"
        )
        return int((await rows_of(self._pool, statement, {"workspace": workspace_id}))[0]["n"])

    async def _audiences(self, workspace_id: str, statement: str, parameters: Mapping[str, Any]) -> list[Audience]:
        rows = await rows_of(self._pool, statement, parameters)
        links = await rows_of(
            self._pool, _LINKS, {"workspace": workspace_id, "ids": [row["audience_id"] for row in rows]}
        )
        return [
            Audience(**row, links=[_link(link) for link in links if link["audience_id"] == row["audience_id"]])
            for row in rows
        ]


def _link(row: Mapping[str, Any]) -> LinkState:
    known = {name: value for name, value in row.items() if name not in ("audience_id", "breaker")}
    return LinkState(**known, breaker=breaker_of(row["breaker"]))


def _columns(workspace_id: str, audience_id: str, draft: AudienceDraft) -> dict[str, Any]:
    return {
        "workspace": workspace_id,
        "id": audience_id,
        "name": draft.name,
        "description": draft.description,
        "segments": list(draft.segment_ids),
        "platforms": list(draft.platforms),
        "config": Jsonb(dict(draft.config)),
    }


async def _connect(connection: AsyncConnection[Any], workspace_id: str, audience_id: str, link: Link) -> None:
    await connection.execute(
        "INSERT INTO activation.connections (workspace_id, audience_id, destination_id, platform, settings) "
        "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (workspace_id, audience_id, destination_id) DO UPDATE "
        "SET platform = excluded.platform, settings = excluded.settings, reconcile = true, "
        "paused_class = nullif(connections.paused_class, 'misconfigured')",
        [workspace_id, audience_id, link.destination_id, link.platform, Jsonb(dict(link.settings))],
    )


async def _reconnect(
    connection: AsyncConnection[Any], workspace_id: str, audience_id: str, links: Sequence[Link]
) -> None:
    """Connections that are no longer asked for are emptied; one with members must not point elsewhere unnoticed."""
    cursor = await connection.execute(
        "SELECT destination_id, settings FROM activation.connections WHERE workspace_id = %s AND audience_id = %s",
        [workspace_id, audience_id],
    )
    wanted = {link.destination_id: link for link in links}
    for destination_id, settings in sorted(await cursor.fetchall(), key=itemgetter(0)):
        link = wanted.get(destination_id)
        key = ConnectionKey(workspace_id, audience_id, destination_id)
        if link is not None and dict(link.settings) != settings and await _occupied(connection, key):
            raise StillThere(f"members are at {destination_id} under the present settings")
        if link is None:
            await connection.execute(
                "UPDATE activation.connections SET active = false, reconcile = true, replace_session = NULL, "
                "paused_class = NULL, paused_reason = NULL "
                "WHERE workspace_id = %s AND audience_id = %s AND destination_id = %s",
                [workspace_id, audience_id, destination_id],
            )
    for link in links:
        await _connect(connection, workspace_id, audience_id, link)
    await connection.execute(
        "UPDATE activation.connections SET reconcile = true WHERE workspace_id = %s AND audience_id = %s",
        [workspace_id, audience_id],
    )


async def _occupied(connection: AsyncConnection[Any], key: ConnectionKey) -> bool:
    """Whether members are there, or about to be: whoever is sent after this is sent under the settings of then."""
    await take_turn(connection, key)
    cursor = await connection.execute(_OCCUPIED, names_of(key))
    return await cursor.fetchone() is not None
