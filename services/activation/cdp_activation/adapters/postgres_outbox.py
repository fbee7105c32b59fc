"""Reports in Postgres -> deliveries-reported: oldest first, at least once."""

from typing import Final

from cdp_eventlog.log import Outgoing, Producer
from cdp_runtime.faultpoints import reach
from cdp_runtime.postgres import Pool
from cdp_schemas.topics import DELIVERIES_REPORTED

_BATCH: Final = 1000
# without SKIP LOCKED: a second publisher waits for the first one's rows, so no later report overtakes an earlier one
_OLDEST: Final = "SELECT outbox_id, key, message FROM activation.outbox ORDER BY outbox_id LIMIT %s FOR UPDATE"


class PostgresOutbox:
    """Implements the port Outbox."""

    def __init__(self, pool: Pool, producer: Producer) -> None:
        self._pool, self._producer = pool, producer

    async def publish_some(self) -> int:
        """Reports published; they leave the table only when the log has acknowledged them. Raises LogUnavailable."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_OLDEST, [_BATCH])).fetchall()
            if rows:
                reach("activation.before-publish")
                await self._producer.publish(
                    [Outgoing(DELIVERIES_REPORTED, bytes(key), bytes(message)) for _, key, message in rows]
                )
                reach("activation.after-publish")
                ids = [row[0] for row in rows]
                await connection.execute("DELETE FROM activation.outbox WHERE outbox_id = ANY(%s)", [ids])
        if rows:
            reach("activation.after-delete")
        return len(rows)

    async def size(self) -> int:
        async with self._pool.connection() as connection:
            row = await (await connection.execute("SELECT count(*) FROM activation.outbox")).fetchone()
        return int(row[0]) if row else 0
