"""Changes -> batches of messages in Postgres -> memberships-changed: oldest first, at least once."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import psycopg

from cdp_eventlog.compression import compress, decompress
from cdp_eventlog.log import Outgoing, Producer
from cdp_runtime.faultpoints import reach
from cdp_runtime.parts import in_parts
from cdp_runtime.postgres import Pool
from cdp_runtime.postgres_arrays import array, bigints
from cdp_schemas.codec import encode
from cdp_schemas.segments import MembershipsChanged
from cdp_schemas.topics import MEMBERSHIPS_CHANGED
from cdp_segmenter.membership import count, keyed

_PROFILES_PER_BATCH, _BATCHES, _SINGLES = 250, 4, 2000
_PUT: Final = "INSERT INTO segmenter.outbox_batches (changes, messages) VALUES (%s, %b)"
# without SKIP LOCKED: a second publisher waits for the first one's rows, so no later change overtakes an earlier one
_OLDEST: Final = "SELECT batch_id, messages FROM segmenter.outbox_batches ORDER BY batch_id LIMIT %s FOR UPDATE"
_TOLD: Final = "DELETE FROM segmenter.outbox_batches WHERE batch_id = ANY(%s::bigint[])"
_WAITING: Final = """
SELECT (SELECT coalesce(sum(changes), 0) FROM segmenter.outbox_batches) + (SELECT count(*) FROM segmenter.outbox)
"""
# what processes of the release before batches wrote, and may still write
_OLDEST_SINGLES: Final = "SELECT outbox_id, key, message FROM segmenter.outbox ORDER BY outbox_id LIMIT %s FOR UPDATE"
_TOLD_SINGLES: Final = "DELETE FROM segmenter.outbox WHERE outbox_id = ANY(%s::bigint[])"
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[tuple[bytes, bytes]])


async def put(connection: psycopg.AsyncConnection[Any], messages: Sequence[MembershipsChanged]) -> None:
    """Has these told after the commit of the caller's transaction, in their order."""
    for some in in_parts(messages, _PROFILES_PER_BATCH):
        encoded = _encoder.encode([(key, encode(message)) for key, message in keyed(some)])
        # Postgres would compress it by itself, ten times as slowly
        await connection.execute(_PUT, [count(some), compress(encoded)])


class PostgresOutbox:
    """Several processes may publish at once; a batch leaves the table only when the log has acknowledged all of it."""

    def __init__(self, pool: Pool, producer: Producer) -> None:
        self._pool, self._producer = pool, producer

    async def publish_some(self) -> int:
        """Messages published. Raises LogUnavailable: then nothing left the table and the same come again."""
        async with self._pool.connection() as connection:
            batches = await (await connection.execute(_OLDEST, [_BATCHES], binary=True)).fetchall()
            # read after the batches, so that it shows every single change that came before one of them
            singles = await (await connection.execute(_OLDEST_SINGLES, [_SINGLES])).fetchall()
            waiting = [(bytes(key), bytes(message)) for _, key, message in singles]
            for _, messages in batches:
                waiting += _decoder.decode(decompress(messages))  # those of the release before are no frames
            if waiting:
                reach("segmenter.before-publish")
                await self._producer.publish([Outgoing(MEMBERSHIPS_CHANGED, *pair) for pair in waiting])
                reach("segmenter.after-publish")
            for statement, rows in ((_TOLD, batches), (_TOLD_SINGLES, singles)):
                if rows:
                    await connection.execute(statement, [array((row[0] for row in rows), bigints)])
        if waiting:
            reach("segmenter.after-delete")
        return len(waiting)

    async def size(self) -> int:
        """Changes that wait."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(_WAITING)).fetchone()
        return int(row[0]) if row else 0
