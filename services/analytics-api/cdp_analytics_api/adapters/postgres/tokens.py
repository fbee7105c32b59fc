"""front.tokens <-> API tokens."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection

from cdp_analytics_api.ports import StoredToken
from cdp_runtime.auth import SCOPES, Principal, hash_token
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
_SEED: Final = """
INSERT INTO front.tokens (workspace_id, token_id, name, token_hash, scopes)
VALUES (%s, gen_random_uuid(), %s, %s, %s)
ON CONFLICT (token_hash) DO UPDATE SET scopes = excluded.scopes
"""


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


async def seed_token(postgres_url: str, workspace_id: str, name: str, token: str) -> None:
    """Makes sure that this token exists with every scope."""
    async with await AsyncConnection.connect(postgres_url) as connection:
        await connection.execute(_SEED, (workspace_id, name, hash_token(token), sorted(SCOPES)))
