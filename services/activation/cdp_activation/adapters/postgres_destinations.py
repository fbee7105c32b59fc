"""Destinations in Postgres; their credentials sealed, and opened only for a call."""

from collections.abc import Mapping
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

from cdp_activation.adapters.postgres_directory import breaker_of
from cdp_activation.adapters.rows import rows_of
from cdp_activation.catalog import ChangedMeanwhile, Destination, NameTaken, Page, StillThere
from cdp_runtime.postgres import Pool
from cdp_runtime.secrets import CannotOpen, SecretBox

_ROW: Final = "workspace_id = %(workspace)s AND destination_id = %(id)s AND deleted_at IS NULL"
_SAME: Final = f"{_ROW} AND updated_at = %(seen)s"
_LIST: Final = """
SELECT *, count(*) OVER () AS total FROM activation.destinations
WHERE workspace_id = %(workspace)s AND deleted_at IS NULL
  AND (%(type)s::text IS NULL OR type = %(type)s)
ORDER BY created_at DESC, destination_id DESC
"""
# who was settled under other settings, or given up at a destination that did not work, is looked at again
_RECHECK: Final = """
UPDATE activation.connections c SET reconcile = true, recheck_at = now() FROM activation.destinations t
WHERE c.workspace_id = %(workspace)s AND c.destination_id = %(id)s
  AND t.workspace_id = c.workspace_id AND t.destination_id = c.destination_id
  AND (%(sealed)s::bytea IS NOT NULL OR t.settings <> %(settings)s OR t.enabled <> %(enabled)s)
"""
_UPDATE: Final = f"""
UPDATE activation.destinations SET
    name = %(name)s, settings = %(settings)s, enabled = %(enabled)s, credentials = coalesce(%(sealed)s, credentials),
    paused_class = NULL, paused_reason = NULL, throttled_until = NULL, breaker = '{{}}', updated_at = now()
WHERE {_SAME}
"""  # noqa: S608 constants
# corrected settings may have been what an audience waited for
_UNPAUSE: Final = """
UPDATE activation.connections SET paused_class = NULL, paused_reason = NULL
WHERE workspace_id = %(workspace)s AND destination_id = %(id)s AND paused_class = 'misconfigured'
"""
_THERE: Final = """
SELECT count(*) AS members FROM activation.deliveries
WHERE workspace_id = %(workspace)s AND destination_id = %(id)s AND sent IS NOT NULL
"""


class PostgresDestinations:
    """Implements the port DestinationStore."""

    def __init__(self, pool: Pool, box: SecretBox) -> None:
        self._pool, self._box = pool, box

    async def create(self, workspace_id: str, made: Destination, credentials: Mapping[str, Any]) -> None:
        parameters = {
            "workspace": workspace_id,
            "id": made.destination_id,
            "name": made.name,
            "type": made.type,
            "settings": Jsonb(dict(made.settings)),
            "sealed": self._seal(workspace_id, made.destination_id, credentials),
            "enabled": made.enabled,
        }
        try:
            await self._execute(
                "INSERT INTO activation.destinations "
                "(workspace_id, destination_id, name, type, settings, credentials, enabled) VALUES "
                "(%(workspace)s, %(id)s, %(name)s, %(type)s, %(settings)s, %(sealed)s, %(enabled)s)",
                parameters,
            )
        except psycopg.errors.UniqueViolation as error:
            raise NameTaken(made.name) from error

    async def get(self, workspace_id: str, destination_id: str) -> Destination | None:
        statement = f"SELECT * FROM activation.destinations WHERE {_ROW}"  # noqa: S608 constants
        rows = await rows_of(self._pool, statement, {"workspace": workspace_id, "id": destination_id})
        return self._destination(workspace_id, rows[0]) if rows else None

    async def listed(self, workspace_id: str, page: Page) -> tuple[list[Destination], int]:
        # a workspace has few destinations: the page is cut here
        rows = await rows_of(self._pool, _LIST, {"workspace": workspace_id, "type": None})
        places = [(row["created_at"], row["destination_id"]) for row in rows]
        begin = page.offset if page.after is None else sum(place >= page.after for place in places)
        shown = [self._destination(workspace_id, row) for row in rows[begin : begin + page.limit]]
        return shown, len(rows)

    async def of_type(self, workspace_id: str, type_name: str) -> list[Destination]:
        rows = await rows_of(self._pool, _LIST, {"workspace": workspace_id, "type": type_name})
        return [self._destination(workspace_id, row) for row in rows]

    async def update(self, workspace_id: str, changed: Destination, credentials: Mapping[str, Any] | None) -> None:
        sealed = None if credentials is None else self._seal(workspace_id, changed.destination_id, credentials)
        parameters = {
            "workspace": workspace_id,
            "id": changed.destination_id,
            "name": changed.name,
            "settings": Jsonb(dict(changed.settings)),
            "enabled": changed.enabled,
            "sealed": sealed,
            "seen": changed.updated_at,
        }
        try:
            async with self._pool.connection() as connection:
                await connection.execute(_RECHECK, parameters)
                if (await connection.execute(_UPDATE, parameters)).rowcount == 0:
                    raise ChangedMeanwhile(changed.name)
                await connection.execute(_UNPAUSE, parameters)
        except psycopg.errors.UniqueViolation as error:
            raise NameTaken(changed.name) from error

    async def delete(self, workspace_id: str, destination_id: str, *, force: bool) -> bool:
        parameters = {"workspace": workspace_id, "id": destination_id}
        (there,) = await rows_of(self._pool, _THERE, parameters)
        if there["members"] and not force:
            raise StillThere(f"{there['members']} members are still at this destination")
        # the sealed credentials go with it
        sealed = self._seal(workspace_id, destination_id, {})
        statement = f"UPDATE activation.destinations SET deleted_at = now(), credentials = %(sealed)s WHERE {_ROW}"  # noqa: S608 constants
        return await self._execute(statement, {**parameters, "sealed": sealed}) > 0

    async def credentials(self, workspace_id: str, destination: Destination) -> dict[str, Any]:
        statement = f"SELECT credentials FROM activation.destinations WHERE {_SAME}"  # noqa: S608 constants
        parameters = {"workspace": workspace_id, "id": destination.destination_id, "seen": destination.updated_at}
        rows = await rows_of(self._pool, statement, parameters)
        if not rows:
            raise ChangedMeanwhile(destination.name)
        return self._box.open(bytes(rows[0]["credentials"]), f"{workspace_id}|{destination.destination_id}")

    async def resume(self, workspace_id: str, destination_id: str) -> None:
        statement = f"UPDATE activation.destinations SET paused_class = NULL, paused_reason = NULL WHERE {_ROW}"  # noqa: S608 constants
        await self._execute(statement, {"workspace": workspace_id, "id": destination_id})

    def _seal(self, workspace_id: str, destination_id: str, credentials: Mapping[str, Any]) -> bytes:
        return self._box.seal(credentials, f"{workspace_id}|{destination_id}")

    def _destination(self, workspace_id: str, row: Mapping[str, Any]) -> Destination:
        try:
            opened = self._box.open(bytes(row["credentials"]), f"{workspace_id}|{row['destination_id']}")
            paused = (row["paused_class"], row["paused_reason"])
        except CannotOpen as fault:
            opened, paused = {}, ("unauthorized", str(fault))
        return Destination(
            row["destination_id"],
            row["name"],
            row["type"],
            row["settings"],
            sorted(opened),
            row["enabled"],
            *paused,
            row["throttled_until"],
            breaker_of(row["breaker"]),
            row["created_at"],
            row["updated_at"],
        )

    async def _execute(self, statement: str, parameters: Mapping[str, Any]) -> int:
        async with self._pool.connection() as connection:
            return (await connection.execute(statement, parameters)).rowcount
