"""The SQL of docs/operations.md, run as it stands there: after each recovery every event is stored once."""

import re
from contextlib import AsyncExitStack

import pytest
from tests.architecture.repository import ROOT
from tests.databases import all_tables, fresh_clickhouse
from tests.integration.identity.test_recorder import Bench, profile

from cdp_clickhouse.statement import Statement
from cdp_eventlog.memory import MemoryLog
from cdp_identity.recording.adapters.postgres import PostgresLedger
from cdp_runtime.migrate import migrate_postgres
from cdp_runtime.postgres import open_pool

pytestmark = [pytest.mark.clickhouse, pytest.mark.postgres]
TABLES = ("events", "counters", "event_outcomes", "profiles", "profile_aliases")


def playbook(name):
    """The statements below its mark, with psql's :name as psycopg's parameters."""
    text = (ROOT / "docs" / "operations.md").read_text()
    (sql,) = re.findall(rf"<!-- playbook: {name} -->\n```sql\n(.*?)```", text, re.DOTALL)
    return [re.sub(r":(\w+)", r"%(\1)s", each) for each in sql.split(";\n") if each.strip()]


@pytest.fixture(scope="module")
async def pool(postgres_url):
    await migrate_postgres(postgres_url)
    pool = await open_pool(postgres_url, name="test-playbooks")
    yield pool
    await pool.close()


@pytest.fixture
async def ledger(pool):
    await run(
        pool, ["TRUNCATE identity.recorder_partitions, identity.recorder_intents, identity.recorder_erasures"], {}
    )
    return PostgresLedger(pool)


@pytest.fixture
async def stores(clickhouse_url):
    """Makes empty, migrated databases; all are gone afterwards."""
    async with AsyncExitStack() as made:

        async def make():
            url = await made.enter_async_context(fresh_clickhouse(clickhouse_url, "playbook"))
            return await made.enter_async_context(all_tables(url))

        yield make


async def run(pool, statements, values):
    async with pool.connection() as connection:
        for statement in statements:
            await connection.execute(statement, {name: values[name] for name in re.findall(r"%\((\w+)\)s", statement)})


async def restored(store, backup):
    """A copy of all tables as they are now, without the views noticing."""
    for table in TABLES:
        source = (await store.rows(Statement("SELECT currentDatabase() AS name")))[0]["name"]
        await backup.command(Statement(f"ALTER TABLE {table} ATTACH PARTITION ALL FROM {source}.{table}"))


async def recorded(bench, worker=None):
    await bench.drain(worker or bench.worker())
    await bench.assert_exact()


async def test_clickhouse_is_rebuilt_from_the_log(ledger, pool, stores, postgres_url):
    bench = Bench(ledger, await stores(), postgres_url)
    await bench.events(11)
    await bench.events(6, partition=1)
    await bench.publish("profiles-updated", b"k", profile(0, traits={"plan": "gold"}))
    await recorded(bench)
    bench.store = await stores()
    await run(pool, playbook("rebuild"), {})
    await recorded(bench)
    assert len(await bench.rows("SELECT * FROM profiles FINAL")) == 1


async def test_a_restored_clickhouse_gets_what_the_backup_lacks_once(ledger, pool, stores, postgres_url):
    bench, backup = Bench(ledger, await stores(), postgres_url), await stores()
    await bench.events(6)
    await bench.events(4, partition=1)
    await recorded(bench)
    await restored(bench.store, backup)
    await bench.events(7)
    await recorded(bench)
    bench.store = backup
    reset, forget, at_partition = playbook("restored")
    await run(pool, [reset, forget], {})
    has = "SELECT received_partition, max(last_offset) + 1 AS next FROM event_outcomes GROUP BY received_partition"
    for row in await bench.rows(has):
        await run(pool, [at_partition], {"partition": row["received_partition"], "next": row["next"]})
    await bench.events(3, partition=1)
    await recorded(bench)


async def test_a_new_log_is_read_from_its_beginning(ledger, pool, stores, postgres_url):
    bench = Bench(ledger, await stores(), postgres_url)
    await bench.events(8)
    await recorded(bench)
    store = bench.store
    bench.log, bench.sent = MemoryLog(2), []
    await run(pool, playbook("new-log"), {})
    await bench.events(5)
    await bench.drain(bench.worker())
    assert (await store.rows(Statement("SELECT count() AS n FROM events")))[0]["n"] == 7 + 4


async def test_versions_go_on_above_those_that_were_given_out(pool):
    await run(pool, playbook("versions"), {"newest": 41_000_000})
    async with pool.connection() as connection:
        (next_version,) = await (await connection.execute("SELECT nextval('identity.profile_versions')")).fetchone()
        await connection.execute("SELECT setval('identity.profile_versions', 1)")
    assert next_version > 41_000_000
