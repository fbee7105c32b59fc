"""Changes in Postgres -> memberships-changed: oldest first, at least once."""

from typing import Final

from cdp_eventlog.log import Outgoing, Producer
from cdp_runtime.faultpoints import reach
from cdp_runtime.postgres import Pool
from cdp_runtime.postgres_arrays import array, numbers
from cdp_schemas.topics import MEMBERSHIPS_CHANGED

_BATCH: Final = 2000
# without SKIP LOCKED: a second publisher waits for the first one's rows, so no later change overtakes an earlier one
_OLDEST: Final = "SELECT outbox_id, key, message FROM segmenter.outbox ORDER BY outbox_id LIMIT %s FOR UPDATE"
_TOLD: Final = "DELETE FROM segmenter.outbox WHERE outbox_id = ANY(%s::bigint[])"


class PostgresOutbox:
    """Several processes may publish at once; each row leaves the table only when the log has acknowledged it."""

    def __init__(self, pool: Pool, producer: Producer) -> None:
        self._pool, self._producer = pool, producer

    async def publish_some(self) -> int:
        """Changes published. Raises LogUnavailable: then nothing left the table and the same come again."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_OLDEST, [_BATCH])).fetchall()
            if rows:
                reach("segmenter.before-publish")
                await self._producer.publish(
                    [Outgoing(MEMBERSHIPS_CHANGED, bytes(key), bytes(message)) for _, key, message in rows]
                )
                reach("segmenter.after-publish")
                await connection.execute(_TOLD, [array((row[0] for row in rows), numbers)])
        if rows:
            reach("segmenter.after-delete")
        return len(rows)

    async def size(self) -> int:
        """Changes that wait."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute("SELECT count(*) FROM segmenter.outbox")).fetchone()
        return int(row[0]) if row else 0
