"""front.idempotency <-> claims of keys and the answers that repeats get."""

from datetime import datetime, timedelta
from typing import Final

from cdp_analytics_api.ports import Claim, KeptAnswer, KeyedRequest
from cdp_runtime.postgres import Pool

KEPT_FOR: Final = timedelta(hours=24)
# an attempt that left its key open this long has died
ABANDONED_AFTER: Final = timedelta(seconds=60)
_CLAIM: Final = """
INSERT INTO front.idempotency AS kept (workspace_id, key, method, path, fingerprint, owner, started_at, expires_at)
VALUES (%(workspace_id)s, %(key)s, %(method)s, %(path)s, %(fingerprint)s, %(owner)s, %(now)s, %(expires_at)s)
ON CONFLICT (workspace_id, key) DO UPDATE
SET method = excluded.method, path = excluded.path, fingerprint = excluded.fingerprint, owner = excluded.owner,
    started_at = excluded.started_at, expires_at = excluded.expires_at, status = NULL, content_type = NULL, body = NULL
WHERE kept.expires_at <= %(now)s
   OR (kept.status IS NULL AND kept.started_at <= %(abandoned)s AND kept.fingerprint = excluded.fingerprint)
RETURNING owner
"""
_READ: Final = """
SELECT method, path, fingerprint, status, content_type, body FROM front.idempotency
WHERE workspace_id = %s AND key = %s
"""
_KEEP: Final = """
UPDATE front.idempotency SET status = %s, content_type = %s, body = %s
WHERE workspace_id = %s AND key = %s AND owner = %s
"""
_RELEASE: Final = "DELETE FROM front.idempotency WHERE workspace_id = %s AND key = %s AND owner = %s AND status IS NULL"
_PURGE: Final = "DELETE FROM front.idempotency WHERE expires_at <= %s"


class PostgresKeptAnswers:
    """The KeptAnswers port; ``owners`` is for what concerns all workspaces at once."""

    def __init__(self, pool: Pool, owners: Pool) -> None:
        self._pool, self._owners = pool, owners

    async def claim(self, request: KeyedRequest, now: datetime) -> Claim:
        values = {
            "workspace_id": request.workspace_id,
            "key": request.key,
            "method": request.method,
            "path": request.path,
            "fingerprint": request.fingerprint,
            "owner": request.owner,
            "now": now,
            "expires_at": now + KEPT_FOR,
            "abandoned": now - ABANDONED_AFTER,
        }
        async with self._pool.connection() as connection:
            if await (await connection.execute(_CLAIM, values)).fetchone() is not None:
                return Claim(is_ours=True)
            row = await (await connection.execute(_READ, (request.workspace_id, request.key))).fetchone()
        if row is None:  # released between the two statements: the client may repeat at once
            return Claim(is_ours=False)
        method, path, fingerprint, status, content_type, body = row
        same = (method, path, bytes(fingerprint)) == (request.method, request.path, request.fingerprint)
        answer = KeptAnswer(status, content_type, bytes(body)) if status is not None else None
        return Claim(is_ours=False, is_same_request=same, answer=answer)

    async def keep(self, request: KeyedRequest, answer: KeptAnswer) -> None:
        kept = (answer.status, answer.content_type, answer.body, request.workspace_id, request.key, request.owner)
        async with self._pool.connection() as connection:
            await connection.execute(_KEEP, kept)

    async def release(self, request: KeyedRequest) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(_RELEASE, (request.workspace_id, request.key, request.owner))

    async def purge(self, now: datetime) -> None:
        async with self._owners.connection() as connection:
            await connection.execute(_PURGE, (now,))
