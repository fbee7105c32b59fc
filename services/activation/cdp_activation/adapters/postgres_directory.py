"""Destinations and connections in Postgres, as the worker sees them: who is due, who rests, who is paused."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

import structlog
from psycopg.types.json import Jsonb

from cdp_activation.adapters.rows import names_of, rows_of
from cdp_activation.breaker import Breaker
from cdp_activation.ledger import PRIORITIES, Connection, ConnectionKey, DestinationKey, DestinationState, PauseClass
from cdp_runtime.postgres import Pool
from cdp_runtime.secrets import CannotOpen, SecretBox

_log = structlog.get_logger(__name__)

# a breaker that is open counts as throttled until its rest is over; a replacement waits until all members are known.
# In order, the first of a priority comes from the index of what is due: for any one Postgres read the whole ledger
_DUE: Final = """
SELECT DISTINCT c.workspace_id, c.destination_id
FROM activation.connections c JOIN activation.destinations t USING (workspace_id, destination_id)
WHERE t.enabled AND t.deleted_at IS NULL AND t.paused_class IS NULL
  AND coalesce(t.throttled_until, %(now)s) <= %(now)s
  AND coalesce((t.breaker ->> 'until')::timestamptz, %(now)s) <= %(now)s
  AND (c.paused_class IS NULL OR c.paused_class = 'guard')
  AND ((c.replace_session IS NOT NULL AND c.paused_class IS NULL AND NOT EXISTS (
        SELECT FROM activation.audiences_loading l
        WHERE l.workspace_id = c.workspace_id AND l.audience_id = c.audience_id)) OR EXISTS (
    SELECT 1 FROM unnest(%(priorities)s::smallint[]) AS p(priority) CROSS JOIN LATERAL (
        SELECT 1 FROM activation.deliveries d
        WHERE d.workspace_id = c.workspace_id AND d.destination_id = c.destination_id
          AND d.audience_id = c.audience_id AND d.pending AND d.priority = p.priority
          AND d.next_attempt_at <= %(now)s AND (c.paused_class IS NULL OR p.priority = 0)
        ORDER BY d.next_attempt_at LIMIT 1) AS due))
"""
_CONNECTIONS: Final = """
SELECT c.audience_id, c.settings, c.active, c.paused_class, c.guard_waived_until,
       CASE WHEN l.audience_id IS NULL THEN c.replace_session END AS replace_session
FROM activation.connections c LEFT JOIN activation.audiences_loading l USING (workspace_id, audience_id)
WHERE c.workspace_id = %(workspace)s AND c.destination_id = %(destination)s
  AND (c.paused_class IS NULL OR c.paused_class = 'guard')
ORDER BY c.replace_session IS NULL, c.audience_id
"""
_DESTINATION: Final = """
SELECT type, settings, credentials, enabled AND deleted_at IS NULL AND paused_class IS NULL AS ready,
       throttled_until, breaker, updated_at
FROM activation.destinations WHERE workspace_id = %(workspace)s AND destination_id = %(destination)s
"""
# somebody's own pause stays one
_PAUSE: Final = """
UPDATE activation.connections SET paused_class = %(kind)s, paused_reason = %(reason)s
WHERE workspace_id = %(workspace)s AND audience_id = %(audience)s AND destination_id = %(destination)s
  AND paused_class IS DISTINCT FROM 'requested' """
_AS_SEEN: Final = """
SELECT FROM activation.destinations t
WHERE t.workspace_id = %(workspace)s AND t.destination_id = %(destination)s AND t.updated_at = %(seen)s"""


class PostgresDirectory:
    """Implements the port Directory."""

    def __init__(self, pool: Pool, box: SecretBox) -> None:
        self._pool, self._box = pool, box

    async def due(self, now: datetime) -> Sequence[DestinationKey]:
        rows = await rows_of(self._pool, _DUE, {"now": now, "priorities": list(PRIORITIES)})
        return [DestinationKey(row["workspace_id"], row["destination_id"]) for row in rows]

    async def destination(self, key: DestinationKey) -> DestinationState | None:
        rows = await rows_of(self._pool, _DESTINATION, _destination(key))
        if not rows:
            return None
        row = rows[0]
        credentials, opened = self._opened(key, row["credentials"])
        return DestinationState(
            key,
            row["type"],
            row["settings"],
            credentials,
            ready=row["ready"] and opened,
            throttled_until=row["throttled_until"],
            breaker=breaker_of(row["breaker"]),
            updated_at=row["updated_at"],
        )

    async def connections(self, key: DestinationKey) -> Sequence[Connection]:
        rows = await rows_of(self._pool, _CONNECTIONS, _destination(key))
        return [
            Connection(
                ConnectionKey(key.workspace_id, row["audience_id"], key.destination_id),
                row["settings"],
                row["active"],
                row["paused_class"],
                row["guard_waived_until"],
                row["replace_session"],
            )
            for row in rows
        ]

    async def pause_destination(self, state: DestinationState, kind: PauseClass, reason: str) -> None:
        await self._execute(
            "UPDATE activation.destinations SET paused_class = %(kind)s, paused_reason = %(reason)s "
            "WHERE workspace_id = %(workspace)s AND destination_id = %(destination)s AND updated_at = %(seen)s",
            {**_destination(state.key), "kind": kind, "reason": reason[:500], "seen": state.updated_at},
        )

    async def guard(self, connection: Connection, reason: str) -> None:
        await self._execute(
            _PAUSE + "AND guard_waived_until IS NOT DISTINCT FROM %(waived)s::timestamptz",
            {**names_of(connection.key), "kind": "guard", "reason": reason, "waived": connection.guard_waived_until},
        )

    async def misconfigured(self, connection: Connection, state: DestinationState, reason: str) -> None:
        await self._execute(
            _PAUSE + "AND settings = %(settings)s AND EXISTS (" + _AS_SEEN + ")",
            {
                **names_of(connection.key),
                "kind": "misconfigured",
                "reason": reason[:500],
                "settings": Jsonb(connection.settings),
                "seen": state.updated_at,
            },
        )

    async def rest(self, key: DestinationKey, until: datetime) -> None:
        await self._execute(
            "UPDATE activation.destinations SET throttled_until = greatest(throttled_until, %(until)s) "
            "WHERE workspace_id = %(workspace)s AND destination_id = %(destination)s",
            {**_destination(key), "until": until},
        )

    async def keep_breaker(self, key: DestinationKey, breaker: Breaker) -> None:
        await self._execute(
            "UPDATE activation.destinations SET breaker = %(breaker)s "
            "WHERE workspace_id = %(workspace)s AND destination_id = %(destination)s",
            {**_destination(key), "breaker": Jsonb(breaker_json(breaker))},
        )

    async def replaced(self, key: ConnectionKey, session: int, error: str | None) -> None:
        await self._execute(
            "UPDATE activation.connections SET replace_session = NULL, replace_error = %(error)s, "
            "replaced_at = CASE WHEN %(error)s::text IS NULL THEN now() ELSE replaced_at END "
            "WHERE workspace_id = %(workspace)s AND destination_id = %(destination)s AND audience_id = %(audience)s "
            "AND replace_session = %(session)s",
            {**_destination(key.destination), "audience": key.audience_id, "session": session, "error": error},
        )

    def _opened(self, key: DestinationKey, sealed: bytes) -> tuple[dict[str, Any], bool]:
        try:
            return self._box.open(bytes(sealed), "|".join(key)), True
        except CannotOpen as fault:
            _log.error("credentials_unreadable", destination=key.destination_id, reason=str(fault))
            return {}, False

    async def _execute(self, statement: str, parameters: Mapping[str, Any]) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(statement, parameters)


def breaker_of(kept: Mapping[str, Any]) -> Breaker:
    """A breaker from its stored form; an empty form is a closed one."""
    until = kept.get("until")
    return Breaker(**{**kept, "until": datetime.fromisoformat(until) if until else None})


def breaker_json(breaker: Breaker) -> dict[str, Any]:
    """The stored form."""
    return {**asdict(breaker), "until": breaker.until.isoformat() if breaker.until else None}


def _destination(key: DestinationKey) -> dict[str, Any]:
    return {"workspace": key.workspace_id, "destination": key.destination_id}
