"""The resolver's promises over a real Postgres: any order, any workers, any crash, the same result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest

from cdp_eventlog.log import LogUnavailable, Outgoing, Partition, Record
from cdp_eventlog.memory import MemoryConsumer, MemoryLog
from cdp_identity.adapters.postgres import PostgresStore, PostgresTransaction
from cdp_identity.application import Rules
from cdp_identity.graph import Guards
from cdp_identity.ports import Fenced, StoreUnavailable
from cdp_identity.resolve import Resolver
from cdp_identity.rows import Key, NodeRow
from cdp_identity.stream import ReceivedStream
from cdp_runtime.clock import SystemClock
from cdp_runtime.postgres import Pool
from cdp_schemas.codec import Codec
from cdp_schemas.events import ReceivedEvent
from cdp_schemas.topics import EVENTS_IDENTIFIED, EVENTS_RECEIVED

from .conftest import empty
from .shop import (
    EXACT,
    START,
    Worker,
    at,
    event,
    identified,
    moves,
    outcomes,
    outgoing,
    patience,
    profiles,
    refused,
    resolve,
)

pytestmark = pytest.mark.postgres
TIGHT = Rules(Guards({"user_id": 1, "email": 2, "anonymous_id": 3, "device_id": 2}, 2, 8), least_move=0)


def traffic(seed: int, count: int = 100) -> list[ReceivedEvent]:
    """Few people, shared devices, changing traits, orders with refunds, consent: everything that can collide."""
    random = Random(seed)
    events = []
    for number in range(count):
        seconds = random.randrange(600)
        who: dict[str, Any] = {"anonymous_id": f"a{random.randrange(8)}"}
        if random.random() < 0.5:
            who["user_id"] = f"u{random.randrange(5)}"
        context: dict[str, Any] = {}
        if random.random() < 0.3:
            context["device"] = {"id": f"d{random.randrange(3)}"}
        if random.random() < 0.2:
            context["consent"] = {"categoryPreferences": {"ads": random.random() < 0.5}}
        kind, fields = "track", {}
        if random.random() < 0.4:
            kind = "identify"
            fields["traits"] = {"plan": random.choice(["free", "pro", "team"]), "age": random.randrange(3)}
            if random.random() < 0.4:
                fields["traits"]["email"] = f"e{random.randrange(6)}@shop.io"
        elif random.random() < 0.5:
            fields["event"] = random.choice(["Order Completed", "Order Refunded", "Order Updated", "Order Cancelled"])
            fields["properties"] = {"order_id": f"o{random.randrange(12)}", "total": random.randrange(1, 500) / 10}
        fields["message_id"] = f"m{seed}-{number}"
        events.append(event(kind, seconds, context=context, **who, **fields))
    return events


async def snapshot(pool: Pool) -> dict[str, list[Any]]:
    """All that must not depend on how the events came."""
    queries = {
        "nodes": "SELECT node_id, profile_id, kind, value, first_seen, last_seen, state FROM identity.nodes",
        "links": "SELECT a, b, first_at, status, reason, message_id FROM identity.links",
        "orders": "SELECT order_id, node_id, counted, net_minor, refunded_minor, currency, placed_at"
        " FROM identity.orders",
        "profiles": "SELECT profile_id, first_seen, last_seen, traits, consent, consent_at, ltv_minor, refunded_minor,"
        " order_count, by_currency, first_order_at, last_order_at FROM identity.profiles WHERE version > 0",
        "placeholders": "SELECT profile_id FROM identity.profiles WHERE version = 0",
    }
    async with pool.connection() as connection:
        return {
            name: sorted(map(repr, await (await connection.execute(query)).fetchall()))
            for name, query in queries.items()
        }


def differences(found: dict[str, list[Any]], expected: dict[str, list[Any]]) -> dict[str, list[str]]:
    """The rows of each table that are in one snapshot only."""
    pairs = {name: set(rows) ^ set(expected[name]) for name, rows in found.items()}
    return {name: sorted(rows) for name, rows in pairs.items() if rows}


def shown(log: MemoryLog) -> dict[Any, Any]:
    """What a reader of profiles-updated knows, without versions and wall-clock times."""
    return {
        one.profile_id: (one.identifiers, one.traits, one.consent, one.revenue, one.first_seen, one.last_seen)
        for one in profiles(log).values()
    }


@pytest.mark.parametrize("seed", range(3))
async def test_order_batches_and_workers_do_not_matter(pool: Pool, seed: int) -> None:
    events = traffic(seed)
    log = MemoryLog()
    await resolve(log, pool, *events, rules=TIGHT)
    expected, told = await snapshot(pool), shown(log)
    assert expected["placeholders"] == []
    assert len(told) == len(expected["profiles"])

    random = Random(seed)
    for workers in (1, 4):
        await empty(pool)
        random.shuffle(events)
        log = MemoryLog()
        # any event may come through any partition: workers meet on the same people all the time
        await log.publish([outgoing(one, random.randrange(4)) for one in events])
        await concurrently(log, pool, workers, random)
        assert differences(await snapshot(pool), expected) == {}
        assert shown(log) == told
        assert len(identified(log)) == len(events)


def introductions(seed: int, count: int = 60) -> list[ReceivedEvent]:
    """Visitors who tell their names: mostly nobody knows any of these, now and then somebody, or a guard refuses."""
    random = Random(seed)
    return [
        event(
            "identify",
            random.randrange(600),
            anonymous_id=f"a{random.randrange(count)}",
            user_id=f"u{random.randrange(count)}",
            traits={"email": f"e{random.randrange(count)}@shop.io", "seen": number},
            context={"consent": {"categoryPreferences": {"ads": random.random() < 0.5}}},
            message_id=f"i{seed}-{number}",
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("seed", range(4))
async def test_whoever_introduces_herself_is_the_same_however_many_do_so_at_once(pool: Pool, seed: int) -> None:
    events = introductions(seed)
    log = MemoryLog()
    for one in events:
        await resolve(log, pool, one, rules=TIGHT)
    expected, told = await snapshot(pool), shown(log)
    assert expected["placeholders"] == []

    for size in (60, 7):
        await empty(pool)
        log = MemoryLog()
        for begin in range(0, len(events), size):
            await resolve(log, pool, *events[begin : begin + size], rules=TIGHT)
        assert differences(await snapshot(pool), expected) == {}
        assert shown(log) == told
        assert await homes(pool) == told_homes(log)

    random = Random(seed)
    await empty(pool)
    log = MemoryLog()
    await log.publish([outgoing(one, random.randrange(4)) for one in events])
    await concurrently(log, pool, 4, random)
    assert differences(await snapshot(pool), expected) == {}
    assert shown(log) == told
    assert await homes(pool) == told_homes(log)


async def homes(pool: Pool) -> dict[UUID, UUID]:
    """Node -> profile, of nodes that are in another's."""
    moved = "SELECT node_id, profile_id FROM identity.nodes WHERE node_id <> profile_id"
    async with pool.connection() as connection:
        return dict(await (await connection.execute(moved)).fetchall())


def told_homes(log: MemoryLog) -> dict[UUID, UUID]:
    """The same, as readers are told of it."""
    newest = {move.node_id: move for move in sorted(moves(log), key=lambda move: move.version)}
    return {node: move.profile_id for node, move in newest.items() if move.profile_id != node}


async def concurrently(log: MemoryLog, pool: Pool, workers: int, random: Random, rules: Rules = TIGHT) -> None:
    """One worker per partition, or one for all, in small batches."""

    async def work(partitions: Sequence[int]) -> None:
        stream = Worker(log, pool, rules).stream
        mine = [Partition(EVENTS_RECEIVED, number) for number in partitions]
        await stream.assigned(mine, log)
        for partition in mine:
            records = await log.read(partition, 0, 10_000)
            while records:
                size = random.randrange(1, 12)
                await stream.handle({partition: records[:size]})
                records = records[size:]

    numbers = range(4)
    shares = [list(numbers)] if workers == 1 else [[number] for number in numbers]
    async with asyncio.timeout(60):
        await asyncio.gather(*map(work, shares))


async def test_a_hot_profile_that_all_workers_touch_neither_deadlocks_nor_loses_an_order(pool: Pool) -> None:
    log = MemoryLog()
    events = [
        event(
            "track",
            number,
            event="Order Completed",
            user_id="hot",
            anonymous_id=f"a{number % 7}",
            properties={"order_id": f"o{number}", "revenue": "0.10"},
        )
        for number in range(300)
    ]
    await log.publish([outgoing(one, number % 4) for number, one in enumerate(events)])
    await concurrently(log, pool, 4, Random(1), EXACT)
    (profile,) = shown(log).values()
    assert (profile[3].ltv_minor, profile[3].order_count) == (3000, 300)


class InterruptedStore(PostgresStore):
    """A store where something happens between the first look at the batch's nodes and the first lock."""

    def __init__(self, pool: Pool, meanwhile: Callable[[], Awaitable[None]]) -> None:
        super().__init__(pool)
        self._meanwhile: Callable[[], Awaitable[None]] | None = meanwhile

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        async with super().transaction() as tx:
            looked = tx.nodes

            async def look(keys: Collection[Key]) -> dict[Key, NodeRow]:
                rows = await looked(keys)
                meanwhile, self._meanwhile = self._meanwhile, None
                if meanwhile is not None:
                    await meanwhile()
                return rows

            tx.nodes = look  # type: ignore[method-assign]
            yield tx


@pytest.mark.parametrize("others", ["alone", "with a user"])
async def test_a_visitor_whom_another_worker_meets_meanwhile_is_told_of_both(pool: Pool, others: str) -> None:
    log = MemoryLog()
    said: dict[str, Any] = {"user_id": "ada"} if others == "with a user" else {}
    theirs = event("identify", 2, anonymous_id="phone", traits={"plan": "pro"}, **said)
    ours = event("identify", 1, anonymous_id="phone", traits={"age": 7})
    await log.publish([outgoing(ours, 0), outgoing(theirs, 1)])

    async def work(number: int, store: PostgresStore) -> None:
        stream, mine = stream_of(store, log), Partition(EVENTS_RECEIVED, number)
        await stream.assigned([mine], log)
        await stream.handle({mine: await log.read(mine, 0, 10)})

    await work(0, InterruptedStore(pool, lambda: work(1, PostgresStore(pool))))
    (known,) = profiles(log).values()
    assert known.identifiers["anonymous_id"] == ["phone"]
    # what was said at the phone is the phone's, and shows in the profile that it is part of
    assert known.traits == {"plan": "pro", "age": 7}
    assert (known.first_seen, known.last_seen) == (at(1), at(2))


class Killed(BaseException):
    """kill -9, as far as one process can play it: nothing after it runs."""


class CrashingLog(MemoryLog):
    """A log whose producer dies at a given publish: before it, or after it was written."""

    def __init__(self, at: int, *, written: bool) -> None:
        super().__init__()
        self.at, self.written = at, written

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        if messages and messages[0].topic == EVENTS_IDENTIFIED:
            self.at -= 1
            if self.at == 0:
                if self.written:
                    await super().publish(messages)
                raise Killed
        await super().publish(messages)


class CrashingStore(PostgresStore):
    """A store whose process dies inside the transaction, right before the commit."""

    def __init__(self, pool: Pool, at: int) -> None:
        super().__init__(pool)
        self.at = at

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        async with super().transaction() as tx:
            yield tx
            self.at -= 1
            if self.at == 0:
                raise Killed


def stream_of(store: PostgresStore, log: MemoryLog, rules: Rules = EXACT) -> ReceivedStream:
    return ReceivedStream(store, Resolver(store, rules, SystemClock()), log, SystemClock(), patience())


@pytest.mark.parametrize("point", ["before commit", "before publish", "after publish"])
@pytest.mark.parametrize("at", [1, 2, 4])
async def test_a_crash_at_any_point_changes_nothing_in_the_end(pool: Pool, point: str, at: int) -> None:
    events = traffic(9, 60)
    calm = MemoryLog()
    await resolve(calm, pool, *events, rules=TIGHT)
    expected, told = await snapshot(pool), shown(calm)

    await empty(pool)
    log = MemoryLog() if point == "before commit" else CrashingLog(at, written=point == "after publish")
    store = CrashingStore(pool, at) if point == "before commit" else PostgresStore(pool)
    await log.publish([outgoing(one) for one in events])
    first = MemoryConsumer(log, "resolver", [EVENTS_RECEIVED], stream_of(store, log, TIGHT), max_records=4)
    with pytest.raises(Killed):
        await first.drain()
    # Kafka's own position is of no use after a crash: the resolver's is in Postgres
    log.committed.clear()
    await MemoryConsumer(
        log, "resolver", [EVENTS_RECEIVED], stream_of(PostgresStore(pool), log, TIGHT), max_records=4
    ).drain()
    assert differences(await snapshot(pool), expected) == {}
    assert shown(log) == told
    assert outcomes(log) == ["stored"] * len(events)


class LosingReplies(PostgresStore):
    """Every second commit happens, but its reply is lost."""

    commits = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        async with super().transaction() as tx:
            yield tx
        self.commits += 1
        if self.commits % 2 == 1:
            raise StoreUnavailable("the connection broke before the reply to COMMIT")


async def test_a_lost_reply_to_a_commit_is_neither_repeated_nor_forgotten(pool: Pool) -> None:
    events = traffic(5, 60)
    calm = MemoryLog()
    await resolve(calm, pool, *events, rules=TIGHT)
    expected, told = await snapshot(pool), shown(calm)
    await empty(pool)
    log = MemoryLog()
    await log.publish([outgoing(one) for one in events])
    stream = stream_of(LosingReplies(pool), log, TIGHT)
    await MemoryConsumer(log, "resolver", [EVENTS_RECEIVED], stream, max_records=5).drain()
    assert differences(await snapshot(pool), expected) == {}
    assert shown(log) == told
    assert outcomes(log) == ["stored"] * len(events)


class FlakyLog(MemoryLog):
    """Refuses every other publish of the resolver."""

    turns = 0

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        self.turns += 1
        if self.turns % 2 == 0:
            raise LogUnavailable("no broker", 0.01)
        await super().publish(messages)


async def test_a_broker_that_is_down_is_waited_out(pool: Pool) -> None:
    log = FlakyLog()
    await log.publish([outgoing(event(user_id=f"u{number}")) for number in range(20)])
    await MemoryConsumer(log, "resolver", [EVENTS_RECEIVED], stream_of(PostgresStore(pool), log), max_records=3).drain()
    assert outcomes(log) == ["stored"] * 20


async def test_a_zombie_writes_nothing(pool: Pool) -> None:
    log = MemoryLog(partitions=1)
    await log.publish([outgoing(event(user_id=f"u{number}"), 0) for number in range(6)])
    partition = Partition(EVENTS_RECEIVED, 0)
    records = await log.read(partition, 0, 10)
    zombie, heir = Worker(log, pool).stream, Worker(log, pool).stream
    await zombie.assigned([partition], log)
    await zombie.handle({partition: records[:2]})
    assert await heir.assigned([partition], log) == {partition: 2}
    before = await snapshot(pool)
    published = len(log.records(EVENTS_IDENTIFIED))
    await zombie.handle({partition: records[2:]})
    assert differences(await snapshot(pool), before) == {}
    assert len(log.records(EVENTS_IDENTIFIED)) == published
    await heir.handle({partition: records[2:]})
    assert outcomes(log) == ["stored"] * 6

    resolver = Resolver(PostgresStore(pool), EXACT, SystemClock())
    with pytest.raises(Fenced):
        await resolver.resolve([record_after(records[-1])], {0: 1})


def record_after(record: Record) -> Record:
    return record._replace(offset=record.offset + 1)


async def test_a_message_id_counts_once_also_across_restarts_but_a_repeated_offset_is_no_duplicate(pool: Pool) -> None:
    log = MemoryLog()
    order = {"event": "Order Completed", "properties": {"order_id": "o1", "revenue": 10}}
    await resolve(log, pool, event(user_id="ada", message_id="m1", **order))
    # the same bytes again, as a client's retry; and twice more in one batch
    await resolve(log, pool, event(user_id="ada", message_id="m1", **order))
    again = event(user_id="ada", message_id="m2")
    await resolve(log, pool, again, again)
    assert outcomes(log) == ["duplicate", "duplicate", "stored", "stored"]
    before = await snapshot(pool)

    # an operator rewinds: the same offsets are the same events
    async with pool.connection() as connection:
        await connection.execute("UPDATE identity.partitions SET next_offset = 0, decisions = NULL")
    rewound = MemoryLog()
    codec = Codec(ReceivedEvent)
    for record in log.records(EVENTS_RECEIVED):
        await rewound.publish([outgoing(codec.decode(record.value))])
    await Worker(rewound, pool).consumer.drain()
    assert outcomes(rewound) == ["duplicate", "duplicate", "stored", "stored"]
    assert differences(await snapshot(pool), before) == {}


async def test_a_record_that_is_read_twice_is_no_duplicate_of_itself(pool: Pool) -> None:
    log = MemoryLog(partitions=1)
    await log.publish([outgoing(event(user_id=f"u{number}"), 0) for number in range(3)])
    partition = Partition(EVENTS_RECEIVED, 0)
    records = await log.read(partition, 0, 10)
    stream = Worker(log, pool).stream
    await stream.assigned([partition], log)
    await stream.handle({partition: [*records, *records[1:]]})
    assert outcomes(log) == ["stored"] * 3


async def test_a_message_id_counts_again_after_the_window(pool: Pool) -> None:
    log = MemoryLog()
    day = 24 * 3600
    await resolve(log, pool, event(seconds=-day - 1, user_id="ada", message_id="m1"))
    await resolve(log, pool, event(seconds=-1, user_id="ada", message_id="m1"))
    await resolve(log, pool, event(seconds=0, user_id="ada", message_id="m1"))
    assert outcomes(log) == ["duplicate", "stored", "stored"]


class SlowCommit(PostgresStore):
    """The connection breaks with the first COMMIT on its way, and the server is done with it a moment later."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.committing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        if self.committing is not None:
            async with super().transaction() as tx:
                yield tx
            return
        under_way = super().transaction()
        yield await under_way.__aenter__()
        self.committing = asyncio.create_task(self._commit(under_way))
        raise StoreUnavailable("the connection broke before the reply to COMMIT")

    async def _commit(self, under_way: AbstractAsyncContextManager[PostgresTransaction]) -> None:
        await asyncio.sleep(0.3)
        await under_way.__aexit__(None, None, None)


async def test_a_commit_that_is_still_under_way_when_it_is_asked_for_is_told(pool: Pool) -> None:
    log = MemoryLog()
    await log.publish([outgoing(event(user_id=f"u{number}")) for number in range(8)])
    store = SlowCommit(pool)
    await MemoryConsumer(log, "resolver", [EVENTS_RECEIVED], stream_of(store, log)).drain()
    assert store.committing is not None
    await store.committing
    assert outcomes(log) == ["stored"] * 8
    assert len(profiles(log)) == 8


async def test_a_lost_reply_to_the_commit_of_a_quarantine_loses_no_dead_letter(pool: Pool) -> None:
    log = MemoryLog()
    await resolve(log, pool, event(user_id="ada"))  # LosingReplies loses the replies to its own commits alone
    await log.publish([outgoing(event("identify", user_id="ada", traits={"plan": "pro\0"}, message_id="poison"))])
    await MemoryConsumer(log, "resolver", [EVENTS_RECEIVED], stream_of(LosingReplies(pool), log)).drain()
    assert [(one.message_id, one.reason) for one in refused(log)] == [("poison", "refused_by_store")]
    assert outcomes(log) == ["quarantined", "stored"]


class LosingAPartition(PostgresStore):
    """The first commit happens, its reply is lost, and another worker takes partition 1 before anybody asks."""

    is_new = True

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        async with super().transaction() as tx:
            yield tx
        if self.is_new:
            self.is_new = False
            await PostgresStore(self._pool).claim([1])
            raise StoreUnavailable("the connection broke before the reply to COMMIT")


async def test_a_lost_reply_is_made_up_for_in_the_partitions_that_are_left(pool: Pool) -> None:
    log = MemoryLog(partitions=2)
    await log.publish([outgoing(event(user_id=f"u{number}"), number % 2) for number in range(6)])
    partitions = [Partition(EVENTS_RECEIVED, number) for number in range(2)]
    stream, heir = stream_of(LosingAPartition(pool), log), Worker(log, pool).stream
    await stream.assigned(partitions, log)
    await stream.handle({one: await log.read(one, 0, 10) for one in partitions})
    assert [record.partition.number for record in log.records(EVENTS_IDENTIFIED)] == [0] * 3
    await heir.assigned(partitions[1:], log)  # what is lost there its heir tells
    assert outcomes(log) == ["stored"] * 6


async def test_a_message_id_that_counted_again_on_the_same_day_is_met_by_its_later_arrival(pool: Pool) -> None:
    log = MemoryLog()
    an_hour = replace(EXACT, window=timedelta(hours=1))
    noon = START.replace(hour=12, minute=0, second=0)
    for minutes in (0, 120, 130):
        one = event(user_id="ada", message_id="m1", received_at=noon + timedelta(minutes=minutes))
        await resolve(log, pool, one, rules=an_hour)
    assert outcomes(log) == ["duplicate", "stored", "stored"]
