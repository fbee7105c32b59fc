"""ingest.sources <-> the sources as who runs the platform makes and changes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection

from cdp_runtime.auth import hash_token

Connection = AsyncConnection[Any]
_CREATE: Final = """
INSERT INTO ingest.sources (workspace_id, source_id, name, write_key_hash, write_key_last4, required_consent)
VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_LIST: Final = """
SELECT workspace_id, source_id, name, CASE WHEN enabled THEN 'enabled' ELSE 'disabled' END, '...' || write_key_last4,
    array_to_string(required_consent, ','), settings ->> 'eventsPerSecond', to_char(created_at, 'YYYY-MM-DD')
FROM ingest.sources WHERE %(workspace)s::text IS NULL OR workspace_id = %(workspace)s
ORDER BY workspace_id, source_id
"""
# what is null stays as it is; 0 events per second is the gateway's own limit
_UPDATE: Final = """
UPDATE ingest.sources SET
    name = coalesce(%(name)s, name),
    enabled = coalesce(%(enabled)s, enabled),
    required_consent = coalesce(%(required_consent)s::text[], required_consent),
    write_key_hash = coalesce(%(hash)s, write_key_hash),
    write_key_last4 = coalesce(%(last4)s, write_key_last4),
    settings = CASE WHEN %(rate)s::float8 IS NULL THEN settings WHEN %(rate)s = 0 THEN settings - 'eventsPerSecond'
        ELSE settings || jsonb_build_object('eventsPerSecond', %(rate)s::float8) END
WHERE workspace_id = %(workspace)s AND source_id = %(source)s
"""


@dataclass(frozen=True, slots=True)
class NewSource:
    """A source to be stored: of the write key only the hash and the last four characters are kept."""

    workspace_id: str
    source_id: str
    name: str
    write_key: str
    required_consent: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class SourceChange:
    """What is to be different; None leaves it as it is."""

    name: str | None = None
    enabled: bool | None = None
    required_consent: Sequence[str] | None = None
    write_key: str | None = None
    events_per_second: float | None = None


async def create_source(connection: Connection, new: NewSource) -> bool:
    """False when the workspace has a source of that id, or any source has that write key."""
    key = new.write_key
    values = (new.workspace_id, new.source_id, new.name, hash_token(key), key[-4:], list(new.required_consent))
    return (await connection.execute(_CREATE, values)).rowcount == 1


async def sources(connection: Connection, workspace_id: str | None) -> list[tuple[Any, ...]]:
    """Workspace, id, name, state, end of the key, consent, events per second, day; of all workspaces without one."""
    return await (await connection.execute(_LIST, {"workspace": workspace_id})).fetchall()


async def update_source(connection: Connection, workspace_id: str, source_id: str, change: SourceChange) -> bool:
    """False when there is no such source. Gateways know within CDP_INGEST_SOURCE_CACHE_SECONDS."""
    key = change.write_key
    consent = change.required_consent
    values = {
        "workspace": workspace_id,
        "source": source_id,
        "name": change.name,
        "enabled": change.enabled,
        "required_consent": None if consent is None else list(consent),
        "hash": None if key is None else hash_token(key),
        "last4": None if key is None else key[-4:],
        "rate": change.events_per_second,
    }
    return (await connection.execute(_UPDATE, values)).rowcount == 1
