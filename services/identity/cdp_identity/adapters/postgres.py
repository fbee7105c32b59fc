"""The resolver's store in Postgres: transactions, claims and offsets, message ids."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import psycopg

from cdp_identity import orders
from cdp_identity.adapters import postgres_sql as sql
from cdp_identity.adapters.postgres_rows import link_row, node_row, order_row, profile_row, profile_updates
from cdp_identity.golden import from_micros, to_micros
from cdp_identity.graph import Pair
from cdp_identity.ports import Claim, DataRefused, Fenced, Progress, StoreUnavailable
from cdp_identity.revenue import Sum
from cdp_identity.rows import (
    ConsentEntry,
    Key,
    LinkRow,
    Message,
    NodeRow,
    OrderKey,
    OrderRow,
    ProfileRow,
)
from cdp_runtime.faultpoints import reach
from cdp_runtime.postgres import Pool, retryable
from cdp_runtime.postgres_arrays import (
    Array,
    arrays,
    bigints,
    booleans,
    characters,
    digests,
    documents,
    integers,
    moments,
    octets,
    texts,
    times,
    uuids,
)
from cdp_schemas.profiles import ProfileUpdated

_DAY: Final = timedelta(days=1)
_MESSAGE: Final = (digests, moments, bigints, integers)
_NODE: Final = (texts, uuids, uuids, texts, texts, moments, moments, octets)
_LINK: Final = (texts, uuids, uuids, moments, characters, texts, texts, texts)
_ORDER: Final = (texts, texts, uuids, moments, bigints, bigints, texts, octets)
_PROFILE: Final = (
    *(texts, uuids, bigints, times, times, times, times, times, times, times),
    *(bigints, bigints, integers, texts, documents, documents, documents),
)
_DATA: Final = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)


@asynccontextmanager
async def _faults() -> AsyncIterator[None]:
    """Postgres's errors as the port's: come again, or never."""
    try:
        yield
    except (psycopg.Error, OSError, TimeoutError) as error:
        # anything else that is refused (a missing table, say) is mended by people, not by dropping events
        if isinstance(error, _DATA) and not retryable(error):
            raise DataRefused(str(error).strip()) from error
        raise StoreUnavailable(str(error).strip() or type(error).__name__) from error


class PostgresStore:
    """ResolverStore over a pool of connections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["PostgresTransaction"]:
        async with _faults():
            async with self._pool.connection() as connection, connection.transaction():
                yield PostgresTransaction(connection)
                reach("resolver.before-commit")
            reach("resolver.after-commit")

    async def claim(self, partitions: Collection[int]) -> dict[int, Claim]:
        async with _faults(), self._pool.connection() as connection:
            rows = await connection.execute(sql.CLAIM, [sorted(partitions)])
            return {row[0]: Claim(*row[1:]) async for row in rows}

    async def positions(self, partitions: Collection[int]) -> dict[int, Claim]:
        async with _faults(), self._pool.connection() as connection:
            rows = await connection.execute(sql.POSITIONS, [sorted(partitions)])
            return {row[0]: Claim(*row[1:]) async for row in rows}

    async def golden_records(self, profiles: Collection[Key]) -> list[ProfileUpdated]:
        async with _faults(), self._pool.connection() as connection, connection.transaction():
            columns = _keys(sorted(profiles))
            rows = [profile_row(row) async for row in await connection.execute(sql.PROFILES, columns)]
            nodes = [node_row(row) async for row in await connection.execute(sql.MEMBERS, columns * 2)]
        return profile_updates(rows, nodes)


class PostgresTransaction:
    """Transaction over one connection. Rows are locked in the order of their keys, so workers wait, never deadlock."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def fence(self, epochs: Mapping[int, int]) -> Mapping[int, int | None]:
        rows = await self._rows(sql.FENCE, [sorted(epochs)])
        stored = {row[0]: row for row in rows}
        lost = {p for p, epoch in epochs.items() if p not in stored or stored[p][1] != epoch}
        if lost:
            raise Fenced(lost)
        return {partition: row[2] for partition, row in stored.items()}

    async def nodes(self, keys: Collection[Key]) -> dict[Key, NodeRow]:
        rows = await self._rows(sql.NODES, _keys(keys))
        return {(row[0], row[1]): node_row(row) for row in rows}

    async def links(self, pairs: Mapping[Pair, str]) -> dict[Pair, LinkRow]:
        columns = arrays(((workspace, *pair) for pair, workspace in pairs.items()), texts, uuids, uuids)
        return {row.link.pair: row for row in map(link_row, await self._rows(sql.LINKS, columns))}

    async def remember(self, messages: Sequence[Message], window: timedelta) -> set[int]:
        if not messages:
            return set()
        arrivals = [message.arrived for message in messages]
        days = _days(from_micros(min(arrivals)) - window, from_micros(max(arrivals)) + window)
        asked = [*arrays(messages, *_MESSAGE), days, window, window]
        rows = await self._rows(sql.REMEMBER, [*asked, window])
        known = {position - 1 for position, _ in rows if position is not None}
        if sum(count for _, count in rows) < len(messages) - len(known):
            # a repeat of the same offset, or another worker was quicker: only a fresh look can tell
            known |= {position - 1 for (position,) in await self._rows(sql.MET, asked)}
        return known

    async def orders(self, keys: Collection[OrderKey]) -> dict[OrderKey, OrderRow]:
        columns = arrays(sorted(keys), texts, texts)
        await self._connection.execute(sql.RESERVE_ORDERS, columns)
        rows = await self._rows(sql.LOCK_ORDERS, columns)
        return {(row[0], row[1]): order_row(row) for row in rows if row[2]}

    async def make(
        self, records: Sequence[ProfileUpdated], places: Collection[Key], now: datetime
    ) -> Mapping[Key, int]:
        if not records and not places:
            return {}
        rows = [_profile_columns(record, None) for record in records]
        rows += [_profile_columns(ProfileUpdated(*key, 0, now, created_at=now), 0) for key in places]
        rows.sort(key=lambda row: row[:2])
        made = await self._rows(sql.MAKE_PROFILES, arrays(rows, *_PROFILE))
        return {(row[0], row[1]): row[2] for row in made}

    async def lock(self, profiles: Collection[Key]) -> dict[Key, ProfileRow]:
        rows = await self._rows(sql.LOCK_PROFILES, _keys(sorted(profiles))) if profiles else []
        return {(row[0], row[1]): profile_row(row) for row in rows}

    async def members(self, profiles: Collection[Key]) -> list[NodeRow]:
        rows = await self._rows(sql.MEMBERS, _keys(profiles) * 2) if profiles else []
        return [node_row(row) for row in rows]

    async def held_links(self, nodes: Collection[Key]) -> list[LinkRow]:
        return [link_row(row) for row in await self._rows(sql.HELD_LINKS, _keys(nodes))]

    async def open_links(self, since: Mapping[Key, int]) -> list[LinkRow]:
        columns = arrays(((*key, at) for key, at in since.items()), texts, uuids, moments)
        return [link_row(row) for row in await self._rows(sql.OPEN_LINKS, columns * 2)]

    async def neighbours(self, keys: Collection[Key]) -> dict[Key, UUID]:
        rows = await self._rows(sql.NODES, _keys(keys))
        return {(row[0], row[1]): row[2] for row in rows}

    async def save_orders(self, rows: Sequence[OrderRow]) -> None:
        if rows:
            await self._connection.execute(sql.SAVE_ORDERS, arrays(map(_order_columns, rows), *_ORDER))

    async def sums(self, nodes: Collection[Key]) -> dict[Key, list[Sum]]:
        found: dict[Key, list[Sum]] = {}
        for row in await self._rows(sql.SUMS, _keys(nodes)) if nodes else []:
            times = (to_micros(row[6]), to_micros(row[7]))
            found.setdefault((row[0], row[1]), []).append(Sum(row[2], int(row[3]), int(row[4]), row[5], *times))
        return found

    async def versions(self, count: int) -> list[int]:
        return [row[0] for row in await self._rows(sql.VERSIONS, [count])] if count else []

    async def add_nodes(self, rows: Sequence[NodeRow]) -> None:
        if rows:
            await self._connection.execute(sql.ADD_NODES, arrays(map(_node_columns, sorted(rows, key=_key)), *_NODE))

    async def save_nodes(self, rows: Sequence[NodeRow], moved: Mapping[Key, UUID]) -> None:
        if rows:
            await self._connection.execute(sql.SAVE_NODES, arrays(map(_node_columns, sorted(rows, key=_key)), *_NODE))
        if moved:
            columns = arrays(((*key, profile) for key, profile in moved.items()), texts, uuids, uuids)
            await self._connection.execute(sql.MOVE_NODES, columns)

    async def save_links(self, rows: Sequence[LinkRow]) -> None:
        if rows:
            columns = arrays(map(_link_columns, sorted(rows, key=lambda row: row.link.pair)), *_LINK)
            await self._connection.execute(sql.SAVE_LINKS, columns)

    async def save_profiles(self, records: Sequence[ProfileUpdated], gone: Collection[Key]) -> None:
        if gone:
            await self._connection.execute(sql.DELETE_PROFILES, _keys(gone))
        if records:
            rows = (_profile_columns(record, record.version) for record in records)
            await self._connection.execute(sql.SAVE_PROFILES, arrays(rows, *_PROFILE))

    async def save_consents(self, entries: Sequence[ConsentEntry]) -> None:
        if entries:
            await self._connection.execute(
                sql.SAVE_CONSENTS, arrays(entries, texts, uuids, texts, booleans, times, texts, texts)
            )

    async def erase(self, nodes: Sequence[NodeRow], erased_at: datetime) -> None:
        columns = _keys([(row.workspace_id, row.node_id) for row in nodes])
        await self._connection.execute(sql.ERASE_NODES, [erased_at, *columns])
        for statement in sql.ERASE_REST:
            await self._connection.execute(statement, columns)

    async def advance(self, progress: Mapping[int, Progress]) -> None:
        rows = ((partition, *done) for partition, done in sorted(progress.items()))
        await self._connection.execute(sql.ADVANCE, arrays(rows, integers, bigints, octets))

    async def _rows(self, statement: Any, parameters: Sequence[Any]) -> list[Any]:
        return await (await self._connection.execute(statement, parameters, binary=True)).fetchall()


def _keys(keys: Collection[Key]) -> list[Array]:
    return arrays(keys, texts, uuids)


def _key(row: NodeRow) -> Key:
    return row.workspace_id, row.node_id


def _days(first: datetime, last: datetime) -> list[date]:
    start = first.date()
    return [start + _DAY * step for step in range((last.date() - start).days + 1)]


def _node_columns(row: NodeRow) -> tuple[Any, ...]:
    who = (row.workspace_id, row.node_id, row.profile_id, row.kind, row.value)
    return (*who, row.first_seen, row.last_seen, row.state)


def _link_columns(row: LinkRow) -> tuple[Any, ...]:
    a, b, moment, message_id = row.link
    return row.workspace_id, a, b, moment, row.status, message_id, row.source_id, row.reason


def _order_columns(row: OrderRow) -> tuple[Any, ...]:
    total, facts = row.total, orders.encode(row.order)
    who = (row.workspace_id, row.order_id, row.order.owner.node)
    if total is None:
        return (*who, None, 0, 0, None, facts)
    return (*who, total.placed_at, total.net, total.refunded, total.currency, facts)


def _profile_columns(record: ProfileUpdated, version: int | None) -> tuple[Any, ...]:
    revenue = record.revenue
    return (
        *(record.workspace_id, record.profile_id, version, record.created_at, record.updated_at),
        *(record.first_seen, record.last_seen, record.consent_at, revenue.first_order_at, revenue.last_order_at),
        *(revenue.ltv_minor, revenue.refunded_minor, revenue.order_count, revenue.currency),
        *(record.traits or None, record.consent or None, revenue.by_currency or None),
    )
