"""The suppression list in Postgres, as keys that cannot be read back; changes to it reach the ledger at once."""

from typing import Final

from cdp_activation.adapters.rows import rows_of
from cdp_activation.adapters.sql import SUPPRESS_ALONE
from cdp_activation.catalog import Page, Suppression
from cdp_runtime.postgres import Pool

_ADD: Final = """
INSERT INTO activation.suppressions (workspace_id, suppression_id, destination_id, kind, value_key, hint, reason)
VALUES (%(workspace)s, %(id)s, %(destination)s, %(kind)s, %(key)s, %(hint)s, %(reason)s)
ON CONFLICT (workspace_id, value_key, destination_id) DO NOTHING
"""
# keys are found by an index that is out of use under a row policy, hence the view
_HELD_BACK: Final = """
UPDATE activation.workspace_deliveries d
SET pending = true, sequence = d.sequence + 1, priority = 0, cause = 'suppressed', next_attempt_at = now()
WHERE d.workspace_id = %(workspace)s AND d.keys @> ARRAY[%(key)s::bigint]
  AND (%(destination)s = '' OR d.destination_id = %(destination)s)
"""
_LET_GO: Final = """
UPDATE activation.deliveries d
SET pending = true, sequence = d.sequence + 1, priority = 2, cause = 'membership', next_attempt_at = now()
WHERE d.workspace_id = %(workspace)s AND d.desired AND d.outcome = 'suppressed'
"""
_LIST: Final = """
SELECT suppression_id, kind, hint, nullif(destination_id, '') AS destination_id, reason, created_at
FROM activation.suppressions WHERE workspace_id = %(workspace)s
  AND (%(at)s::timestamptz IS NULL OR (created_at, suppression_id) < (%(at)s, %(after)s))
ORDER BY created_at DESC, suppression_id DESC LIMIT %(limit)s OFFSET %(offset)s
"""


class PostgresSuppressions:
    """Implements the port SuppressionStore."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, workspace_id: str, made: Suppression, key: int) -> bool:
        parameters = {
            "workspace": workspace_id,
            "id": made.suppression_id,
            "destination": made.destination_id or "",
            "kind": made.kind,
            "key": key,
            "hint": made.hint,
            "reason": made.reason,
        }
        async with self._pool.connection() as connection:
            await connection.execute(SUPPRESS_ALONE, [workspace_id])
            added = (await connection.execute(_ADD, parameters)).rowcount
            await connection.execute(_HELD_BACK, parameters)
        return added > 0

    async def listed(self, workspace_id: str, page: Page) -> tuple[list[Suppression], int]:
        at, after = page.after or (None, None)
        parameters = {"workspace": workspace_id, "at": at, "after": after, "limit": page.limit, "offset": page.offset}
        rows = await rows_of(self._pool, _LIST, parameters)
        count = "SELECT count(*) AS n FROM activation.suppressions WHERE workspace_id = %(workspace)s"
        (total,) = await rows_of(self._pool, count, parameters)
        return [Suppression(**row) for row in rows], total["n"]

    async def remove(self, workspace_id: str, suppression_id: str) -> bool:
        parameters = {"workspace": workspace_id, "id": suppression_id}
        async with self._pool.connection() as connection:
            gone = await connection.execute(
                "DELETE FROM activation.suppressions WHERE workspace_id = %(workspace)s AND suppression_id = %(id)s",
                parameters,
            )
            if gone.rowcount:
                await connection.execute(_LET_GO, parameters)
        return gone.rowcount > 0
