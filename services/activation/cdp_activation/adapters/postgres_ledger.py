"""The ledger in Postgres: claims, what was sent, results. Writers of one connection take turns under a lock."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from cdp_activation.adapters import sql
from cdp_activation.adapters.rows import names_of, rows_in
from cdp_activation.adapters.sealing import FormSeal
from cdp_activation.destinations.destination import Cells
from cdp_activation.guard import AudienceCounts
from cdp_activation.ledger import Claimed, Connection, ConnectionKey, DestinationKey, Result
from cdp_activation.plan import Entry
from cdp_activation.retry import Progress
from cdp_runtime.faultpoints import reach
from cdp_runtime.postgres import Pool
from cdp_runtime.postgres_arrays import array, uuids
from cdp_schemas.codec import encode
from cdp_schemas.deliveries import DeliveryReported
from cdp_schemas.events import routing_key

# reconciled at first: nothing can be sent before, and the largest call is to be full
_FIRST_ROWS: Final = 10_000
# then at a time: each call waits twice for so many
_TURN_ROWS: Final = 500


class PostgresLedger:
    """Implements the port Ledger."""

    def __init__(self, pool: Pool, seal: FormSeal, told: Callable[[], None] = lambda: None) -> None:
        """``told`` is called when reports were written."""
        self._pool, self._seal, self._told = pool, seal, told

    async def claim(
        self, key: ConnectionKey, claim: UUID, now: datetime, *, priorities: Sequence[int], limit: int
    ) -> list[Claimed]:
        claimed: list[Claimed] = []
        async with self._pool.connection() as connection:
            await take_turn(connection, key)
            for priority in priorities:
                parameters = {**names_of(key), "claim": claim, "now": now, "priority": priority}
                rows = await rows_in(connection, sql.CLAIM, {**parameters, "limit": limit - len(claimed)})
                claimed += [self._claimed(key, row) for row in rows]
                if len(claimed) >= limit:
                    break
        return claimed

    async def page(self, key: ConnectionKey, claim: UUID, after: UUID | None, limit: int) -> list[Claimed]:
        parameters = {**names_of(key), "claim": claim, "after": after or UUID(int=0), "limit": limit}
        async with self._pool.connection() as connection:
            await take_turn(connection, key)
            rows = await rows_in(connection, sql.PAGE, parameters)
        claimed = [self._claimed(key, row) for row in rows]
        return sorted(claimed, key=lambda row: row.entry.profile_id)

    async def leaving(self, key: ConnectionKey, now: datetime, limit: int) -> list[Claimed]:
        async with self._pool.connection() as connection:
            rows = await rows_in(connection, sql.LEAVING, {**names_of(key), "now": now, "limit": limit})
        return [self._claimed(key, row) for row in rows]

    async def write_ahead(
        self, connection: Connection, forms: Sequence[tuple[Claimed, Sequence[Cells], Sequence[int]]]
    ) -> frozenset[UUID]:
        if not forms:
            return frozenset()
        key = connection.key
        parameters = {
            **names_of(key),
            "settings": Jsonb(connection.settings),
            "claim": forms[0][0].claim,
            "profiles": [row.entry.profile_id for row, _, _ in forms],
            "sent": [self._seal.close(key, row.entry.profile_id, cells) for row, cells, _ in forms],
            "keys": [_array(keys) for _, _, keys in forms],
        }
        async with self._pool.connection() as writing:
            await writing.execute(sql.WHILE_NOBODY_IS_SUPPRESSED, [key.workspace_id])
            await take_turn(writing, key)
            return frozenset(row["profile_id"] for row in await rows_in(writing, sql.WRITE_AHEAD, parameters))

    async def record(self, key: ConnectionKey, results: Sequence[Result], reports: Sequence[DeliveryReported]) -> None:
        async with self._pool.connection() as connection:
            if results:
                await take_turn(connection, key)
                await connection.execute(sql.RECORD, {**names_of(key), **self._columns(key, results)})
            if reports:
                await connection.execute(sql.REPORT, _reports(reports))
            reach("activation.before-outcome")
        reach("activation.after-outcome")
        if reports:
            self._told()

    async def send_again(self, key: ConnectionKey, removed: Sequence[UUID], keys: Sequence[int]) -> int:
        if not keys:
            return 0
        async with self._pool.connection() as connection:
            await take_turn(connection, key)
            parameters = {**names_of(key), "removed": list(removed), "keys": list(keys)}
            return (await connection.execute(sql.SEND_AGAIN, parameters)).rowcount

    async def finish_replacement(self, key: ConnectionKey, claim: UUID, now: datetime) -> None:
        async with self._pool.connection() as connection:
            await take_turn(connection, key)
            parameters = {**names_of(key), "claim": claim, "now": now}
            await connection.execute(sql.REPLACED_PRESENT, parameters)
            await connection.execute(sql.REPLACED_ABSENT, parameters)

    async def counts(self, key: ConnectionKey, since: datetime) -> AudienceCounts:
        async with self._pool.connection() as connection:
            (row,) = await rows_in(connection, sql.GUARD_COUNTS, {**names_of(key), "since": since})
        return AudienceCounts(**row)

    async def suppressed(self, key: DestinationKey, keys: Mapping[UUID, Sequence[int]]) -> frozenset[UUID]:
        wanted = sorted({number for numbers in keys.values() for number in numbers})
        if not wanted:
            return frozenset()
        parameters = {"workspace": key.workspace_id, "destination": key.destination_id, "keys": wanted}
        async with self._pool.connection() as connection:
            rows = await rows_in(connection, sql.SUPPRESSED, parameters)
        found = {row["value_key"] for row in rows}
        return frozenset(profile for profile, numbers in keys.items() if found.intersection(numbers))

    async def reconcile(
        self,
        key: ConnectionKey,
        *,
        stopping: Callable[[], bool] = lambda: False,
        changed: Callable[[], None] = lambda: None,
    ) -> int:
        count, rows = 0, _FIRST_ROWS
        async with self._pool.connection() as reading, reading.cursor(name="out_of_step") as out_of_step:
            await out_of_step.execute(sql.OUT_OF_STEP, names_of(key))
            while not stopping() and (found := await out_of_step.fetchmany(rows)):
                async with self._pool.connection() as connection:
                    await reconcile_in(connection, key, [profile_id for (profile_id,) in found])
                changed()
                count, rows = count + len(found), _TURN_ROWS
        return count

    async def recheck(self, key: ConnectionKey, *, limit: int) -> int:
        async with self._pool.connection() as connection:
            await take_turn(connection, key)
            return (await connection.execute(sql.RECHECK, {**names_of(key), "limit": limit})).rowcount

    def _claimed(self, key: ConnectionKey, row: Mapping[str, Any]) -> Claimed:
        sent = self._seal.open(key, row["profile_id"], row["sent"])
        entry = Entry(row["profile_id"], row["sequence"], row["desired"], row["acknowledged"], sent, row["min_version"])
        progress = Progress(row["attempts"], row["failing_since"])
        times = (row["changed_at"], row["received_at"])
        return Claimed(entry, progress, row["cause"], row["claim"], *times, row["outcome"])

    def _columns(self, key: ConnectionKey, results: Sequence[Result]) -> dict[str, Any]:
        entries = [result.claimed.entry for result in results]
        return {
            "claim": results[0].claimed.claim,
            "profiles": [entry.profile_id for entry in entries],
            "sequences": [entry.sequence for entry in entries],
            "acknowledged": [result.acknowledged for result in results],
            "sent": [
                self._seal.close(key, result.claimed.entry.profile_id, result.sent) if result.sent else None
                for result in results
            ],
            "keys": [_array(result.keys) for result in results],
            "at": [result.at for result in results],
            "attempts": [result.progress.attempts for result in results],
            "since": [result.progress.failing_since for result in results],
            "outcomes": [result.outcome for result in results],
            "classes": [result.error_class or None for result in results],
            "errors": [result.error[:500] or None for result in results],
            "fingerprints": [result.fingerprint for result in results],
        }


async def reconcile_in(
    connection: AsyncConnection[Any], key: ConnectionKey, only: Sequence[UUID], *, live: bool = False
) -> int:
    """Desired := what the segments say, for these profiles, within the caller's transaction; returns how many rows
    changed. Lock connections in the order of their keys."""
    await take_turn(connection, key)
    parameters = {**names_of(key), "only": array(only, uuids), "priority": 2 if live else 3}
    return (await connection.execute(sql.RECONCILE, parameters)).rowcount


async def take_turn(connection: AsyncConnection[Any], key: ConnectionKey) -> None:
    """Until the transaction ends, nobody else writes rows of this connection."""
    # a statement of its own, so that what follows sees everything that the previous holder committed
    await connection.execute(sql.TAKE_TURN, ["\x1f".join(key)])


def _array(numbers: Iterable[int] | None) -> str | None:
    return None if numbers is None else "{" + ",".join(map(str, numbers)) + "}"


def _reports(reports: Sequence[DeliveryReported]) -> dict[str, Any]:
    return {
        "keys": [routing_key(report.workspace_id, str(report.profile_id)) for report in reports],
        "messages": [encode(report) for report in reports],
    }
