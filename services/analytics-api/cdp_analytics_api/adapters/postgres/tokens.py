"""front.tokens <-> API tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg import AsyncConnection

from cdp_analytics_api.ports import StoredToken
from cdp_runtime.auth import Principal, hash_token
from cdp_runtime.postgres import Pool

_FIND: Final = """
SELECT workspace_id, token_id::text, scopes, token_hash, expires_at
FROM front.tokens WHERE token_hash = %s AND revoked_at IS NULL
"""
_USED: Final = """
UPDATE front.tokens SET last_used_at = greatest(last_used_at, used.at)
FROM unnest(%s::text[], %s::uuid[], %s::timestamptz[]) AS used (workspace_id, token_id, at)
WHERE tokens.workspace_id = used.workspace_id AND tokens.token_id = used.token_id
"""
_CREATE: Final = """
INSERT INTO front.tokens (workspace_id, token_id, name, token_hash, scopes, expires_at)
VALUES (%s, gen_random_uuid(), %s, %s, %s, %s)
ON CONFLICT (token_hash) DO UPDATE SET scopes = excluded.scopes
"""
_LIST: Final = """
SELECT workspace_id, token_id::text, name,
    CASE WHEN revoked_at IS NOT NULL THEN 'revoked'
         WHEN expires_at <= now() THEN 'expired'
         WHEN expires_at IS NOT NULL THEN 'until ' || to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
         ELSE 'works' END,
    to_char(last_used_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'), array_to_string(scopes, ',')
FROM front.tokens WHERE %(workspace)s::text IS NULL OR workspace_id = %(workspace)s
ORDER BY workspace_id, created_at
"""
_REVOKE: Final = """
UPDATE front.tokens SET revoked_at = now() WHERE workspace_id = %s AND token_id = %s AND revoked_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token to be stored: of the secret itself only the hash is kept."""

    workspace_id: str
    name: str
    token: str
    scopes: Sequence[str]
    expires_at: datetime | None = None


class PostgresTokens:
    """The Tokens port."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, token_hash: str) -> StoredToken | None:
        # every request begins here: an outage must be told soon
        async with self._pool.connection(timeout=2) as connection:
            row = await (await connection.execute(_FIND, (token_hash,))).fetchone()
        if row is None:
            return None
        workspace_id, token_id, scopes, stored_hash, expires_at = row
        return StoredToken(Principal(workspace_id, token_id, frozenset(scopes)), stored_hash, expires_at)

    async def used(self, tokens: Mapping[tuple[str, str], datetime]) -> None:
        workspaces = [workspace for workspace, _ in tokens]
        ids = [token_id for _, token_id in tokens]
        async with self._pool.connection() as connection:
            await connection.execute(_USED, (workspaces, ids, list(tokens.values())))


async def create_token(connection: AsyncConnection[Any], new: NewToken) -> None:
    """Stores a token; one that is there already has its scopes set."""
    values = (new.workspace_id, new.name, hash_token(new.token), list(new.scopes), new.expires_at)
    await connection.execute(_CREATE, values)


async def tokens(connection: AsyncConnection[Any], workspace_id: str | None) -> list[tuple[Any, ...]]:
    """Workspace, id, name, state, day of last use, scopes; of all workspaces when none is given."""
    return await (await connection.execute(_LIST, {"workspace": workspace_id})).fetchall()


async def revoke_token(connection: AsyncConnection[Any], workspace_id: str, token_id: UUID) -> bool:
    """False when the workspace has no such token, or it was revoked before."""
    return (await connection.execute(_REVOKE, (workspace_id, token_id))).rowcount == 1
