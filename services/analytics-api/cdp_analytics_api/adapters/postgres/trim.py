"""A table of workspaces' rows and a moment -> the rows from before are gone, some at a time."""

from datetime import datetime
from typing import Final

from psycopg import sql

from cdp_runtime.postgres import Pool

STEP: Final = 2000
# both tables have an index by workspace and time and none by time: the workspaces in it are found by hopping through it
_STEP: Final = sql.SQL("""
WITH RECURSIVE held AS (
    (SELECT workspace_id FROM {table} ORDER BY workspace_id LIMIT 1)
    UNION ALL
    SELECT (SELECT t.workspace_id FROM {table} AS t WHERE t.workspace_id > held.workspace_id
            ORDER BY t.workspace_id LIMIT 1)
    FROM held WHERE held.workspace_id IS NOT NULL
)
DELETE FROM {table} WHERE ctid = ANY(ARRAY(
    SELECT old.ctid FROM held CROSS JOIN LATERAL (
        SELECT t.ctid FROM {table} AS t WHERE t.workspace_id = held.workspace_id AND t.{time} < {before}
        ORDER BY t.{time} LIMIT {step}
    ) AS old LIMIT {step}
))
""")


async def trim(owners: Pool, table: sql.Identifier, time: sql.Identifier, before: datetime) -> None:
    """Each step is a transaction of its own, so that nobody waits and no vacuum is held up by a large one."""
    step = _STEP.format(table=table, time=time, before=sql.Literal(before), step=sql.Literal(STEP))
    removed = STEP
    while removed == STEP:
        async with owners.connection() as connection:
            removed = (await connection.execute(step)).rowcount
