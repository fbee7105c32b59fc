"""The recorder on the real ClickHouse and Postgres: every row once, whatever breaks in between."""

import asyncio
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import Raw
from tests.databases import all_tables, fresh_clickhouse

from cdp_clickhouse.statement import Statement
from cdp_eventlog.log import Outgoing, Partition
from cdp_eventlog.memory import MemoryLog
from cdp_identity.recording.acceptance import accepted
from cdp_identity.recording.adapters.clickhouse import ClickHouseColumns
from cdp_identity.recording.adapters.postgres import PostgresLedger
from cdp_identity.recording.flush import CHECKPOINTS, Flush, Stores
from cdp_identity.recording.ports import WAITED_FOR, Fenced
from cdp_runtime.backoff import Backoff
from cdp_runtime.clock import SystemClock
from cdp_runtime.metrics import RECORDER_ROWS_REWRITTEN
from cdp_runtime.migrate import migrate_postgres
from cdp_runtime.patience import Patience
from cdp_runtime.postgres import open_pool
from cdp_schemas.codec import Codec, encode
from cdp_schemas.events import IdentifiedEvent
from cdp_schemas.profiles import NodeMoved, ProfilesRecorded, ProfileUpdated, Revenue

from .conftest import miscounts

pytestmark = [pytest.mark.clickhouse, pytest.mark.postgres]
NOW = datetime(2026, 11, 30, 23, 59, 59, 500_000, tzinfo=UTC)
WORKSPACE = uuid.uuid4().hex
NODES = [uuid.uuid5(uuid.NAMESPACE_OID, str(number)) for number in range(5)]


@pytest.fixture(scope="module")
async def pool(postgres_url):
    await migrate_postgres(postgres_url)
    pool = await open_pool(postgres_url, name="test-recorder")
    yield pool
    await pool.close()


@pytest.fixture
async def store(clickhouse_url):
    async with fresh_clickhouse(clickhouse_url, "recorder") as url, all_tables(url) as store:
        yield store


@pytest.fixture
async def ledger(pool):
    async with pool.connection() as connection:
        await connection.execute(
            "TRUNCATE identity.recorder_partitions, identity.recorder_intents, identity.recorder_erasures"
        )
    return PostgresLedger(pool)


@pytest.fixture
def bench(ledger, store, postgres_url):
    return Bench(ledger, store, postgres_url)


class Crash(Exception):
    """The process dies here."""


class Bench:
    """Workers over one log in memory, the real ledger and the real store."""

    def __init__(self, ledger, store, postgres_url):
        self.ledger, self.store, self.log, self.postgres_url = ledger, store, MemoryLog(2), postgres_url
        self.sent = []

    def worker(self, *, window=10_000, crash_at=None):
        def checkpoint(name):
            if name == crash_at:
                raise Crash(name)

        stores = Stores(self.ledger, ClickHouseColumns(self.store), self.ledger, self.log, SystemClock())
        patience = Patience("recorder", WAITED_FOR, Backoff(base=0.05, cap=0.2))
        return Flush(stores, patience, window=window, checkpoint=checkpoint)

    async def publish(self, topic, key, message, partition=0):
        await self.log.publish([Outgoing(topic, key, encode(message), partition)])

    async def events(self, count, partition=0, **fields):
        first = sum(event.received_partition == partition for event in self.sent)
        for offset in range(first, first + count):
            event = identified(partition, offset, **fields)
            self.sent.append(event)
            await self.publish("events-identified", b"k", event, partition)

    async def drain(self, worker, count=7):
        """The worker reads all there is; a crash comes out as Crash."""
        partitions = [
            Partition(topic, number)
            for topic in ("events-identified", "profiles-updated", "profiles-merged")
            for number in (0, 1)
        ]
        positions = dict(await worker.claim(partitions, self.log))
        while True:
            batch = {p: await self.log.read(p, at, at + count - 1) for p, at in positions.items()}
            batch = {partition: records for partition, records in batch.items() if records}
            if not batch:
                return
            await worker.record(batch)
            positions.update({partition: records[-1].offset + 1 for partition, records in batch.items()})

    async def remember_blocks(self, many):
        for table in ("events", "counters", "event_outcomes"):
            sql = f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = {many}"
            await self.store.command(Statement(sql))

    async def rows(self, sql, **parameters):
        return await self.store.rows(Statement(sql, parameters))

    async def assert_exact(self):
        """Each sent event once in events, counters and outcomes; nothing else."""
        stored = [event for event in self.sent if event.outcome == "stored"]
        rows = await self.rows("SELECT received_partition, received_offset, message_id FROM events")
        assert sorted(row["message_id"] for row in rows) == sorted(event.message_id for event in stored)
        counted = await self.rows("SELECT node_id, sum(count) AS n FROM counters GROUP BY node_id")
        assert {row["node_id"]: row["n"] for row in counted} == Counter(event.node_id for event in stored)
        outcomes = await self.rows("SELECT outcome, sum(count) AS n FROM event_outcomes GROUP BY outcome")
        assert {row["outcome"]: row["n"] for row in outcomes} == Counter(event.outcome for event in self.sent)
        assert await miscounts(self.store, self.postgres_url, WORKSPACE) == []
        async with self.ledger._pool.connection() as connection:
            left = await (await connection.execute("SELECT * FROM identity.recorder_intents")).fetchall()
        assert left == []

    def told(self):
        messages = [Codec(ProfilesRecorded).decode(record.value) for record in self.log.records("profiles-recorded")]
        return {p for m in messages for p in m.profile_ids}, {p for m in messages for p in m.gone}


def identified(partition, offset, **fields):
    values = {
        "workspace_id": WORKSPACE,
        "source_id": "web",
        "message_id": f"m{partition}-{offset}",
        "type": "track",
        "event": "Order Completed",
        # a month ends in the middle
        "received_at": NOW + timedelta(milliseconds=100 * offset),
        "timestamp": NOW,
        "node_id": NODES[offset % 3],
        "received_partition": partition,
        "received_offset": offset,
        "outcome": "duplicate" if offset % 5 == 4 else "stored",
    }
    return IdentifiedEvent(**{**values, **fields})


def profile(number, version=1, **fields):
    values = {"workspace_id": WORKSPACE, "profile_id": NODES[number], "version": version, "updated_at": NOW}
    return ProfileUpdated(**{**values, **fields})


async def test_rows_arrive_as_they_were_sent(bench):
    event = identified(
        0,
        0,
        type="page",
        event="Home",
        user_id="u1",
        timestamp=datetime(2026, 1, 2, 3, 4, 5, 678_999, tzinfo=UTC),
        properties=Raw(b'{"price": 1.50, "name": "\xc3\xa9"}'),
    )
    bench.sent.append(event)
    await bench.publish("events-identified", b"k", event)
    await bench.drain(bench.worker())
    (row,) = await bench.rows("SELECT * FROM events")
    assert row["event"] == "Page Viewed"
    assert row["timestamp"] == datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    assert row["node_id"] == event.node_id
    assert (row["user_id"], row["anonymous_id"], row["session_id"]) == ("u1", "", "")
    assert row["properties"] == '{"price": 1.50, "name": "é"}'
    await bench.assert_exact()
    assert bench.told()[0] == {event.node_id}


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
async def test_a_crash_at_any_step_leaves_every_row_once(bench, checkpoint):
    await bench.events(11)
    await bench.events(6, partition=1)
    await bench.publish("profiles-updated", b"k", profile(0))
    with pytest.raises(Crash):
        await bench.drain(bench.worker(crash_at=checkpoint), count=20)
    await bench.drain(bench.worker(), count=4)
    await bench.assert_exact()
    assert {NODES[0], NODES[1], NODES[2]} <= bench.told()[0]


@pytest.mark.parametrize("checkpoint", ["after-intent", "before-insert", "after-insert", "before-close"])
async def test_two_heirs_of_one_flush_leave_every_row_once(bench, checkpoint):
    await bench.events(11)
    await bench.events(6, partition=1)
    with pytest.raises(Crash):
        await bench.drain(bench.worker(crash_at=checkpoint), count=20)
    heirs = [bench.worker(), bench.worker()]
    claims = [heir.claim([Partition("events-identified", number)], bench.log) for number, heir in enumerate(heirs)]
    await asyncio.gather(*claims)
    await bench.drain(bench.worker())
    await bench.assert_exact()


@pytest.mark.parametrize("checkpoint", ["after-intent", "after-insert", "before-close"])
async def test_offsets_keep_it_exact_when_the_store_forgot_the_token(bench, checkpoint):
    await bench.events(10)
    await _forgotten(bench, checkpoint, [[{}]] * 6)
    await bench.assert_exact()


@pytest.mark.parametrize("checkpoint", ["after-intent", "after-insert", "before-close"])
async def test_a_view_forgets_sooner_where_its_table_gets_blocks_of_its_own(bench, checkpoint):
    """What was not stored goes into the outcomes past the view: two blocks there for one of the events."""
    await bench.events(10)
    await _forgotten(bench, checkpoint, [[{}, {"outcome": "duplicate"}]] * 2)
    await bench.assert_exact()


async def _forgotten(bench, checkpoint, batches):
    """A worker dies; before another recovers, batches of these events pass by, and the store remembers 3 blocks."""
    await bench.remember_blocks(3)
    with pytest.raises(Crash):
        await bench.drain(bench.worker(window=3, crash_at=checkpoint), count=20)
    other, partition = bench.worker(window=3), Partition("events-identified", 1)
    await other.claim([partition], bench.log)
    for batch in batches:
        for fields in batch:
            await bench.events(1, partition=1, **fields)
        records = await bench.log.read(partition, 0, 100)
        await other.record({partition: records[-len(batch) :]})
    await bench.drain(bench.worker(window=3))


VIEWS = {"counters_from_events": "counters", "stored_outcomes_from_events": "event_outcomes"}


@pytest.mark.parametrize("checkpoint", ["after-insert", "before-close"])
@pytest.mark.parametrize("views", ["missed it", "counted it", "lost it too"])
async def test_what_the_store_lost_of_a_block_although_it_kept_its_token_is_written_again(bench, checkpoint, views):
    """As when it is killed between the two; a deleted row leaves the token behind as well."""
    told = RECORDER_ROWS_REWRITTEN.labels("events")._value.get()
    await bench.events(11)
    await bench.events(6, partition=1)
    if views == "missed it":
        for view in VIEWS:
            await bench.store.command(Statement(f"DETACH TABLE {view}"))
    with pytest.raises(Crash):
        await bench.drain(bench.worker(crash_at=checkpoint), count=20)
    for table in ["events", *VIEWS.values()] if views == "lost it too" else ["events"]:
        await bench.store.command(Statement(f"DELETE FROM {table} WHERE true"))
    if views == "missed it":
        for view in VIEWS:
            await bench.store.command(Statement(f"ATTACH TABLE {view}"))
    await bench.drain(bench.worker(), count=4)
    await bench.assert_exact()
    again = await bench.rows("SELECT countIf(rewritten) AS n FROM events")
    assert again[0]["n"] == RECORDER_ROWS_REWRITTEN.labels("events")._value.get() - told > 0


async def test_what_a_view_lost_of_one_month_is_counted_though_the_next_one_is_there(bench):
    await bench.events(11)
    with pytest.raises(Crash):
        await bench.drain(bench.worker(crash_at="before-close"), count=20)
    lost = "DELETE FROM event_outcomes WHERE outcome = 'stored' AND minute < '2026-12-01'"
    await bench.store.command(Statement(lost))
    await bench.drain(bench.worker())
    await bench.assert_exact()


async def test_a_crash_after_rows_were_written_again_leaves_every_row_once(bench):
    await bench.events(8)
    for crash_at in ("after-insert", "before-close"):
        with pytest.raises(Crash):
            await bench.drain(bench.worker(crash_at=crash_at), count=20)
        await bench.store.command(Statement("DELETE FROM events WHERE true"))
    with pytest.raises(Crash):
        await bench.drain(bench.worker(crash_at="before-close"), count=20)
    await bench.drain(bench.worker(), count=4)
    await bench.assert_exact()


async def test_repeats_of_the_resolver_are_skipped(bench):
    await bench.events(6)
    for event in bench.sent[2:6]:
        await bench.publish("events-identified", b"k", event)
    await bench.drain(bench.worker(), count=5)
    await bench.assert_exact()


async def test_a_failing_view_is_waited_out_and_loses_nothing(bench):
    await bench.store.command(
        Statement(
            "CREATE MATERIALIZED VIEW broken TO counters AS SELECT workspace_id, event, node_id,"
            " toDate(timestamp) AS day, toUInt64(throwIf(received_partition = 0)) AS count,"
            " timestamp AS first_at, timestamp AS last_at FROM events"
        )
    )
    await bench.events(8)
    work = asyncio.create_task(bench.drain(bench.worker()))
    await asyncio.sleep(1.0)
    assert not work.done()
    await bench.store.command(Statement("DROP TABLE broken"))
    await asyncio.wait_for(work, 30)
    await bench.assert_exact()


async def test_a_worker_that_lost_its_partitions_writes_nothing(bench):
    await bench.events(4)
    zombie = bench.worker()
    partition = Partition("events-identified", 0)
    await zombie.claim([partition], bench.log)
    await bench.drain(bench.worker())
    await bench.events(3)
    records = await bench.log.read(partition, 4, 6)
    try:
        await zombie.record({partition: records})
    except Fenced:
        pass
    assert (await bench.rows("SELECT count() AS n FROM events"))[0]["n"] == 4
    await bench.drain(bench.worker())
    await bench.assert_exact()


async def test_profiles_keep_the_highest_version_and_odd_traits(bench):
    traits = {
        "plan.tier": "gold",
        "plan": {"tier": "x"},
        "born": "1990-01-01",
        "": 1,
        "we`ird": [1, "a", None],
        "n": 2**70,
    }
    revenue = Revenue("EUR", 13009, 2, 500, NOW, NOW)
    await bench.publish("profiles-updated", b"k", profile(0, 3, traits=traits, revenue=revenue, consent={"ads": True}))
    await bench.publish("profiles-updated", b"k", profile(0, 2, traits={"old": 1}), partition=1)
    await bench.publish("profiles-updated", b"k", profile(1, 1, deleted=True, merged_into=NODES[0]))
    await bench.publish("profiles-merged", b"k", NodeMoved(WORKSPACE, NODES[1], NODES[1], NODES[0], 4, NOW))
    await bench.drain(bench.worker(), count=1)
    rows = await bench.rows("SELECT *, traits.born AS born, traits.`plan%2Etier` AS tier FROM profiles FINAL")
    (row,) = rows
    assert (row["profile_id"], row["version"], row["currency"]) == (NODES[0], 3, "EUR")
    assert (row["ltv_minor"], row["refunded_minor"], row["order_count"]) == (13009, 500, 2)
    assert row["first_order_at"] == NOW
    assert row["consent"] == {"ads": True}
    assert (row["born"], row["tier"]) == ("1990-01-01", "gold")
    (alias,) = await bench.rows("SELECT * FROM profile_aliases FINAL")
    assert (alias["node_id"], alias["profile_id"]) == (NODES[1], NODES[0])
    changed, gone = bench.told()
    assert changed == {NODES[0]}
    assert gone == {NODES[1]}


async def test_traits_are_kept_however_long_they_are_together(bench):
    large = profile(0, traits={f"note {number}": '"ж' * 1000 for number in range(100)})
    updates = [large, profile(1, traits={"plan": "a\nb"})]
    assert await accepted(updates, ClickHouseColumns(bench.store)) == updates


async def test_a_node_that_came_back_is_its_own_profile_again(bench):
    await bench.publish("profiles-merged", b"k", NodeMoved(WORKSPACE, NODES[1], NODES[1], NODES[0], 1, NOW))
    await bench.drain(bench.worker())
    await bench.publish("profiles-merged", b"k", NodeMoved(WORKSPACE, NODES[1], NODES[0], NODES[1], 2, NOW, "unmerge"))
    await bench.drain(bench.worker())
    (alias,) = await bench.rows("SELECT * FROM profile_aliases FINAL")
    assert alias["profile_id"] == NODES[1]
    assert bench.told() == ({NODES[0], NODES[1]}, set()), "whoever a node came to has its events"


async def test_an_erased_profile_leaves_no_events_and_no_traits(bench):
    await bench.events(9)
    await bench.publish("profiles-updated", b"k", profile(0, 1, traits={"email": "canary@example.com"}))
    await bench.publish("profiles-merged", b"k", NodeMoved(WORKSPACE, NODES[1], NODES[1], NODES[0], 1, NOW))
    await bench.drain(bench.worker())
    until = NOW + timedelta(hours=1)
    await bench.publish("profiles-updated", b"k", profile(0, 2, deleted=True, updated_at=until))
    for node in NODES[:2]:
        await bench.publish("profiles-merged", b"k", NodeMoved(WORKSPACE, node, NODES[0], node, 2, until, "erased"))
    await bench.drain(bench.worker())
    # older events of the erased nodes come late, from a partition that lagged behind; a new one was allowed again
    await bench.events(4, partition=1)
    back = identified(1, 4, node_id=NODES[0], received_at=until + timedelta(seconds=1), outcome="stored")
    await bench.publish("events-identified", b"k", back, 1)
    await bench.drain(bench.worker())
    left = await bench.rows("SELECT node_id, max(received_at) AS last, count() AS n FROM events GROUP BY node_id")
    assert {row["node_id"] for row in left} == {NODES[0], NODES[2]}
    assert [(row["n"], row["last"]) for row in left if row["node_id"] == NODES[0]] == [(1, back.received_at)]
    counted = await bench.rows("SELECT node_id, sum(count) AS n FROM counters GROUP BY node_id")
    assert {row["node_id"]: row["n"] for row in counted} == {row["node_id"]: row["n"] for row in left}
    assert await bench.rows("SELECT * FROM profiles WHERE toJSONString(traits) LIKE '%canary%'") == []
    assert bench.told()[1] == {NODES[0]}
    assert await miscounts(bench.store, bench.postgres_url, WORKSPACE) == []


async def test_who_comes_back_in_the_flush_of_an_erasure_is_erased_nevertheless(bench):
    """Also what a profile knew that had been merged into the erased one before."""
    await bench.publish("profiles-updated", b"k", profile(1, 1, traits={"email": "canary@guest.example"}))
    await bench.drain(bench.worker())
    await bench.events(3, outcome="stored")
    merged = NodeMoved(WORKSPACE, NODES[1], NODES[1], NODES[0], 3, NOW)
    await bench.publish("profiles-merged", b"k", merged)
    await bench.publish("profiles-updated", b"k", profile(1, 2, deleted=True, merged_into=NODES[0]))
    await bench.publish("profiles-updated", b"k", profile(0, 3, traits={"email": "canary@example.com"}))
    await bench.publish("profiles-updated", b"k", profile(2, 4, traits={"plan": "another's"}))
    await bench.drain(bench.worker())
    until = NOW + timedelta(hours=1)
    await bench.publish("profiles-updated", b"k", profile(0, 5, deleted=True, updated_at=until))
    for node, version in ((NODES[0], 6), (NODES[1], 7)):
        erased = NodeMoved(WORKSPACE, node, NODES[0], node, version, until, "erased")
        await bench.publish("profiles-merged", b"k", erased)
    await bench.publish("profiles-merged", b"k", NodeMoved(WORKSPACE, NODES[1], NODES[1], NODES[0], 8, until))
    await bench.publish("profiles-updated", b"k", profile(0, 8, traits={"plan": "new"}))
    back = identified(0, 3, node_id=NODES[1], received_at=until + timedelta(seconds=1))
    await bench.publish("events-identified", b"k", back)
    await bench.drain(bench.worker(), count=100)
    left = await bench.rows("SELECT node_id, received_at FROM events ORDER BY node_id = {own:UUID}", own=NODES[1])
    assert [row["node_id"] for row in left] == [NODES[2], NODES[1]]
    assert left[1]["received_at"] == back.received_at
    known = await bench.rows("SELECT profile_id, toJSONString(traits) AS traits FROM profiles WHERE NOT deleted")
    assert {row["profile_id"]: row["traits"] for row in known} == {
        NODES[0]: '{"plan":"new"}',
        NODES[2]: '{"plan":"another\'s"}',
    }


async def test_a_flush_moves_many_events_in_one_block(bench):
    worker = bench.worker()
    await bench.events(3000, received_at=NOW)
    await bench.drain(worker, count=5000)
    parts = await bench.rows(
        "SELECT count() AS n FROM system.parts WHERE database = currentDatabase() AND table = 'events' AND active"
    )
    assert parts[0]["n"] == 1
    await bench.assert_exact()


async def test_the_partitions_of_a_flush_share_one_block(bench):
    await bench.events(20, received_at=NOW)
    await bench.events(20, partition=1, received_at=NOW)
    await bench.drain(bench.worker(), count=50)
    parts = await bench.rows(
        "SELECT sum(rows) AS rows, max(level) AS merged FROM system.parts"
        " WHERE database = currentDatabase() AND table = 'events' AND active"
    )
    assert parts == [{"rows": 32, "merged": 0}]
    assert len(await bench.rows("SELECT DISTINCT _part FROM events")) == 1
    await bench.assert_exact()
